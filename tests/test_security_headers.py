"""The whole site works under its Content-Security-Policy, as a header and in the page."""

import functools
import http.server
import re
import threading
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from sphinx.errors import ExtensionError
from sphinx_external_toc.parsing import parse_toc_yaml

from bookbuild import policy, weight

ROOT = Path(__file__).parents[1]
PAGES = [*parse_toc_yaml(ROOT / "_toc.yml"), "search", "404"]


def directives(text: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (part.split() for part in text.split(";"))}


def own(site: Path, name: str) -> dict[str, list[str]]:
    """The policy that a page carries."""
    head = (site / f"{name}.html").read_text().partition("</head>")[0]
    (meta,) = BeautifulSoup(head, "html.parser").select(
        'meta[http-equiv="Content-Security-Policy"]'
    )
    return directives(meta["content"])


def published(site: Path) -> str:
    """The policy for all pages, as the page on hosting gives it."""
    article = BeautifulSoup((site / "hosting.html").read_text(), "html.parser").article.get_text()
    (found,) = re.findall(r'"(default-src .*); frame-ancestors', article)
    return found


@pytest.fixture(scope="module")
def guarded(site):
    """Serve the site with the headers that the page on hosting tells to send."""
    headers = {
        "Content-Security-Policy": f"{published(site)}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "strict-origin-when-cross-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }

    class Files(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def end_headers(self) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

    handler = functools.partial(Files, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.fixture
def opened(browser, guarded):
    """Open a page and note every violation of its policy."""
    contexts = []

    def go(name: str):
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        page.violations = []
        page.on(
            "console",
            lambda said: said.type == "error" and page.violations.append(said.text),
        )
        page.on("pageerror", lambda error: page.violations.append(str(error)))
        page.goto(f"{guarded}{name}.html")
        page.wait_for_load_state("networkidle")
        return page

    yield go
    for context in contexts:
        context.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", [name for name in PAGES if name != "404"])
def test_page_works_under_the_policy(opened, name):
    page = opened(name)
    # Everything that waits for the reader: exhibits, images, folded answers.
    page.evaluate(
        """async () => {
            document.querySelectorAll("details").forEach((box) => (box.open = true));
            document.querySelectorAll("img").forEach((image) => (image.loading = "eager"));
            for (const place of document.querySelectorAll(".exhibit, img, h2")) {
                place.scrollIntoView();
                await new Promise((resolve) => setTimeout(resolve, 30));
            }
        }"""
    )
    page.wait_for_load_state("networkidle")
    count = page.locator(".exhibit").count()
    page.wait_for_function(
        "count => document.querySelectorAll('.exhibit.live').length == count", arg=count
    )
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    assert page.evaluate(broken) == []
    assert page.violations == []


@pytest.mark.browser
def test_the_policy_stops_what_it_is_there_to_stop(opened):
    page = opened("index")
    done = page.evaluate(
        """async () => {
            window.ran = [];
            const script = document.createElement("script");
            script.textContent = "window.ran.push('inline')";
            document.body.append(script);
            const button = document.createElement("button");
            button.setAttribute("onclick", "window.ran.push('handler')");
            document.body.append(button);
            button.click();
            // Out of the reach of the debugger, which may evaluate.
            await new Promise((resolve) => setTimeout(() => {
                try { new Function("window.ran.push('eval')")(); } catch {}
                resolve();
            }));
            try { await fetch("https://example.org/"); window.ran.push("fetch"); } catch {}
            return window.ran;
        }"""
    )
    assert done == []
    assert len(page.violations) >= 3


@pytest.mark.browser
def test_print_and_full_screen_are_pressed_without_inline_handlers(opened):
    page = opened("funnel")
    page.evaluate("window.print = () => (window.printed = true)")
    page.locator("[data-press=print]").evaluate("button => button.click()")
    assert page.evaluate("window.printed")
    page.evaluate("document.documentElement.requestFullscreen = () => (window.full = true)")
    page.locator("[data-press=fullscreen]").first.click()
    assert page.evaluate("window.full")


@pytest.mark.parametrize("name", PAGES)
def test_page_carries_its_policy(site, name):
    found = own(site, name)
    assert found["default-src"] == ["'none'"]
    assert "'unsafe-inline'" not in found["script-src"]
    assert "'unsafe-eval'" not in found["script-src"]
    html = (site / f"{name}.html").read_text()
    assert set(found["script-src"][1:]) == policy.hashes(html)
    assert len(found["script-src"]) <= 3
    page = BeautifulSoup(html, "html.parser")
    assert [
        tag for tag in page.find_all(True) if any(key.startswith("on") for key in tag.attrs)
    ] == []
    if not page.select_one(".live-start"):
        assert found["connect-src"] == ["'self'"]


def test_the_published_policy_allows_what_every_page_needs(site):
    everywhere = directives(published(site))
    for name in PAGES:
        for directive, values in own(site, name).items():
            assert set(values) <= set(everywhere[directive]), f"{name}: {directive}"


def test_an_unknown_handler_is_refused():
    with pytest.raises(ExtensionError, match="onclick"):
        weight.free_of_handlers('<button onclick="steal()">x</button>')
    text = '<p>write <code>onclick="steal()"</code></p>'
    assert weight.free_of_handlers(text) == text
