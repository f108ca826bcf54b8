"""The built site, as a reader meets it: in a browser, in both themes, on a desk and on a phone."""

import gzip
import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from chapter_lint import chapters
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
PAGES = list(parse_toc_yaml(ROOT / "_toc.yml"))
READ = """async () => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  for (let y = 0; y < document.documentElement.scrollHeight; y += window.innerHeight) {
    window.scrollTo(0, y);
    for (let i = 0; i < 4; i += 1) await frame();  // what comes near is laid out, and looked at
  }
  await new Promise((done) => setTimeout(done, 100));
}"""
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


@cache
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


class Visit:
    """A page in a browser, with all that went wrong and all that was asked for on the way."""

    def __init__(self, browser, address: str, *, theme: str = "light", viewport=DESK, **options):
        self.context = browser.new_context(viewport=viewport, color_scheme=theme, **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self.on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.response = self.page.goto(address)
        self.page.wait_for_load_state("networkidle")

    def on_console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@pytest.fixture
def visit(browser, server):
    """Open a page of the site, by default in a folder that it was not built for."""
    visits = []

    def open_page(name: str, folder: str = "else/where/", **options) -> Visit:
        visits.append(Visit(browser, f"{server}{folder}{name}", **options))
        return visits[-1]

    yield open_page
    for opened in visits:
        opened.context.close()


@pytest.mark.browser
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES, "search", "404"])
def test_page_is_sound(visit, server, name, theme, viewport):
    folder = "course/" if name == "404" else "else/where/"
    opened = visit(f"{name}.html", folder, theme=theme, viewport=viewport)
    page = opened.page
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith((server, "data:"))] == []
    assert page.locator("html").get_attribute("data-theme") == theme

    page.evaluate("document.querySelectorAll('details').forEach(box => box.open = true)")
    page.evaluate(READ)  # what scrolls is marked when the reader comes near
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    # Without preloading: axe would ask for a style sheet at an address that it gets wrong.
    results = Axe().run(page, options={"resultTypes": ["violations"], "preload": False})
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.browser
def test_what_scrolls_is_reached_by_key_once_the_reader_is_near(visit):
    page = visit("funnel.html", viewport=PHONE).page
    boxes = """() => [...document.querySelectorAll("pre")].filter((box) => box.checkVisibility())
        .map((box) => [box.scrollWidth > box.clientWidth, box.getAttribute("tabindex")])"""
    assert page.evaluate(boxes)[-1][1] is None
    page.evaluate(READ)
    found = page.evaluate(boxes)
    assert any(scrolls for scrolls, _ in found)
    assert any(not scrolls for scrolls, _ in found)
    assert all(stop == ("0" if scrolls else "-1") for scrolls, stop in found)


@pytest.mark.browser
def test_icons_and_formulas_have_their_fonts(visit):
    page = visit("notation.html").page
    loaded = page.evaluate(
        "[...document.fonts].filter(f => f.status == 'loaded').map(f => f.family)"
    )
    families = {family.strip('"') for family in loaded}
    assert {"Font Awesome 6 Free", "KaTeX_Main", "KaTeX_Math"} <= families


@pytest.mark.browser
def test_search_finds_a_chapter(visit):
    page = visit("index.html").page
    page.keyboard.press("Control+k")
    page.keyboard.type("leapfrog")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?*")
    found = page.locator("ul.search li a")
    found.first.wait_for()
    assert any("funnel.html" in link.get_attribute("href") for link in found.all())


@pytest.mark.browser
def test_the_theme_can_be_chosen_and_stays(visit):
    page = visit("index.html").page
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    switch = page.locator("button.theme-switch-button:visible").first
    for _ in range(3):  # auto, light, dark
        if page.locator("html").get_attribute("data-mode") == "dark":
            break
        switch.click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    dark = page.evaluate(background)
    assert dark != light
    page.goto(page.url.replace("index", "notation"))
    assert page.evaluate(background) == dark


@pytest.mark.browser
def test_next_leads_through_the_book_and_previous_back(visit):
    page = visit("index.html").page
    seen = ["index"]
    while page.locator("a.right-next").count():
        page.locator("a.right-next").click()
        page.wait_for_load_state()
        seen.append(Path(urlsplit(page.url).path).stem)
    assert seen == PAGES
    page.locator("a.left-prev").click()
    page.wait_for_url(f"**/{PAGES[-2]}.html")


@pytest.mark.browser
def test_a_reader_with_a_keyboard_sees_where_they_are(visit):
    page = visit("index.html").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to main content"
    hidden = []
    for _ in range(25):
        page.keyboard.press("Tab")
        hidden += page.evaluate(
            """() => {
                const element = document.activeElement, style = getComputedStyle(element);
                const outline = style.outlineStyle != 'none' && style.outlineWidth != '0px';
                const shadow = !/^(none|rgba\\(0, 0, 0, 0\\))/.test(style.boxShadow);
                return outline || shadow ? [] : [element.outerHTML.slice(0, 120)];
            }"""
        )
    assert hidden == []


@pytest.mark.browser
def test_a_folded_answer_opens_with_the_keyboard_and_without_scripts(visit):
    page = visit("funnel.html", java_script_enabled=False).page
    answer = page.locator("details.admonition").first
    body = answer.locator("> :not(summary)").first
    assert not body.is_visible()
    answer.locator("summary").focus()
    page.keyboard.press("Enter")
    assert body.is_visible()


@pytest.mark.browser
def test_a_missing_page_says_so_and_leads_back(visit):
    opened = visit("no/such/page.html", "course/")
    assert opened.response.status == 404
    assert opened.page.locator("article h1").inner_text() == "Page not found"
    styled = "[...document.styleSheets].every(sheet => sheet.cssRules.length > 0)"
    assert opened.page.evaluate(styled)
    opened.page.locator("article a").first.click()
    opened.page.wait_for_url("**/course/index.html")


def test_links_within_the_site_lead_somewhere(site):
    broken = []
    for path in sorted(site.glob("*.html")):
        for element in parsed(path).select("a[href], link[href], script[src], img[src]"):
            address = element.get("href") or element.get("src")
            base = urlsplit(CONFIG["html"]["baseurl"]).path + path.name
            parts = urlsplit(urljoin(base, address))
            if parts.scheme or parts.netloc or address in ("#", ""):
                continue
            root = urlsplit(CONFIG["html"]["baseurl"]).path
            target = site / unquote(parts.path).removeprefix(root)
            target = target / "index.html" if target.is_dir() else target
            fragment = unquote(parts.fragment)
            if not target.exists():
                broken.append(f"{path.name}: {address}")
            elif fragment and target.suffix == ".html" and not parsed(target).find(id=fragment):
                broken.append(f"{path.name}: {address} (no such place)")
    assert broken == []


@pytest.mark.parametrize("name", PAGES)
def test_identifiers_are_unique(site, name):
    identifiers = [element["id"] for element in parsed(site / f"{name}.html").select("[id]")]
    assert sorted(identifiers) == sorted(set(identifiers))


@pytest.mark.parametrize("name", PAGES)
def test_page_introduces_itself(site, name):
    head = parsed(site / f"{name}.html").head
    address = f"{CONFIG['html']['baseurl']}{name}.html"
    assert head.select_one('link[rel="canonical"]')["href"] == address
    assert head.select_one('meta[property="og:url"]')["content"] == address
    assert head.select_one('meta[property="og:title"]')["content"]
    assert head.select_one('meta[property="og:site_name"]')["content"] == CONFIG["title"]
    descriptions = head.select('meta[name="description"]')
    assert len(descriptions) == 1
    assert (
        head.select_one('meta[property="og:description"]')["content"]
        == (descriptions[0]["content"])
    )


@pytest.mark.parametrize("name", PAGES)
def test_page_can_be_mended_by_its_readers(site, name):
    page = parsed(site / f"{name}.html")
    repository = CONFIG["repository"]
    source = f"{repository['path_to_book']}/{name}.md"
    if name.startswith("set-"):  # made from its master
        source = f"assignments/{name.removeprefix('set-')}/master.md"
    edit = page.select_one(".btn-source-edit-button")["href"]
    assert edit == f"{repository['url']}/edit/{repository['branch']}/{source}"
    assert (ROOT / source).exists()
    issue = page.select_one(".btn-source-issues-button")["href"]
    assert issue.startswith(f"{repository['url']}/issues/new")


def test_every_page_names_authors_and_rights(site):
    for name in PAGES:
        footer = parsed(site / f"{name}.html").select_one("footer.bd-footer-content").get_text()
        for text in (CONFIG["author"], CONFIG["copyright"], "CC BY 4.0", "BSD-3-Clause"):
            assert text in footer


def test_the_sitemap_has_every_page_and_nothing_else(site):
    tree = ET.parse(site / "sitemap.xml")
    found = [element.text for element in tree.findall(".//{*}loc")]
    assert sorted(found) == sorted(f"{CONFIG['html']['baseurl']}{name}.html" for name in PAGES)


def test_chapters_are_numbered(site):
    for number, name in enumerate(chapters(), start=1):
        heading = parsed(site / f"{name}.html").select_one("h1 .section-number")
        assert heading.get_text() == f"{number}. "


def test_local_paths_stay_at_home(site):
    home = str(ROOT)
    assert [path.name for path in site.rglob("*.html") if home in path.read_text()] == []


def style(page: BeautifulSoup) -> str:
    return "".join(tag.get_text() for tag in page.head.select("style"))


def weight(site: Path, name: str) -> int:
    """Bytes over the wire, gzipped, of a page and all that it may load besides images."""
    page = parsed(site / f"{name}.html")
    assert page.select('link[rel="stylesheet"]') == []
    files = {site / f"{name}.html"}
    files |= {site / urlsplit(tag["src"]).path for tag in page.select("script[src]")}
    fonts = {site / address for address in re.findall(r"url\((_static/[^)]*woff2?)\)", style(page))}
    # Fonts are compressed already.
    return sum(len(gzip.compress(path.read_bytes())) for path in files) + sum(
        path.stat().st_size for path in fonts
    )


@pytest.mark.parametrize("name", PAGES)
def test_page_is_light(site, name):
    assert weight(site, name) < 400_000


@pytest.mark.parametrize("name", PAGES)
def test_nothing_blocks_a_page_from_being_shown(site, name):
    page = parsed(site / f"{name}.html")
    for script in page.select("script[src]"):
        assert script.has_attr("defer") or script.get("type") == "module", script["src"]
    assert not page.select('script[src*="search"]')


@pytest.mark.parametrize("name", PAGES)
def test_images_hold_their_place_and_wait(site, name):
    images = parsed(site / f"{name}.html").select('img[src^="_images"]')
    for image in images:
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0
    assert all(image["loading"] == "lazy" for image in images[1:])


@pytest.mark.browser
def test_no_rule_that_shows_was_purged(site, browser, server, tmp_path):
    """Every element looks as it does with the whole style sheets."""
    look = """() => [...document.querySelectorAll("body *")].map((element) => {
        const style = getComputedStyle(element);
        return [element.tagName, element.className.toString(), style.display, style.color,
            style.fontSize, style.fontWeight, style.padding, style.margin, style.position,
            style.backgroundColor, style.border].join();
    })"""
    names = [
        "styles/theme.css", "styles/pydata-sphinx-theme.css", "pygments.css",
        "styles/sphinx-book-theme.css", next((site / "_static").glob("mystnb.*.css")).name,
        "copybutton.css", "exercise.css", "sphinx-design.min.css", "vendor/katex/katex.min.css",
        "katex-math.css", "course.css",
    ]  # fmt: skip
    # Where the reader is not, a change of color would not come to its end.
    links = "<style>* { transition: none !important }</style>"
    links += "".join(f'<link rel="stylesheet" href="_static/{name}">' for name in names)
    context = browser.new_context()
    page = context.new_page()
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.goto(f"{server}else/where/funnel.html")
        page.wait_for_load_state("networkidle")
        purged = page.evaluate(look)
        page.evaluate(
            """async (links) => {
                document.head.querySelectorAll("style").forEach((tag) => {
                    if (!tag.closest("noscript")) tag.remove();
                });
                document.head.insertAdjacentHTML("beforeend", links);
                await Promise.all([...document.querySelectorAll("head link[rel=stylesheet]")].map(
                    (link) => new Promise((resolve) => (link.onload = resolve))));
            }""",
            links,
        )
        page.wait_for_timeout(500)
        whole = page.evaluate(look)
        assert [pair for pair in zip(purged, whole, strict=True) if pair[0] != pair[1]] == []
    context.close()
