"""Live code: cells of a page run on a real Jupyter server, and whatever happens, the page stays."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup

from bookbuild import live
from bookbuild.execute import myst_nb_reader_plugin

ROOT = Path(__file__).parents[1]
THEBE = ROOT / "book" / "assets" / "vendor" / "thebe"
TOKEN = "a-token-of-the-tests"
CELLS = [
    "import matplotlib.pyplot as plt",
    "scale = 2  # of the prior",
    "hidden = 10 * scale",
    "print('scale is', hidden)",
    "plt.plot([0, hidden]);",
]
PAGE = """<!doctype html><html lang="en" data-theme="light"><head><title>Page</title>
<meta http-equiv="Content-Security-Policy" content="{policy}">
<script src="course.js" defer></script></head><body><main><article>
<section><h1>A chapter</h1>{button}<p>To read.</p>{cells}</section></article></main></body>
</html>"""
CELL = """<div class="cell" data-cell="{index}"><div class="cell_input">
<div class="highlight-ipython3"><div class="highlight"><pre>{source}</pre></div></div></div>
<div class="cell_output"><div class="output">as in the book {index}</div></div></div>"""


class Jupyter:
    """A Jupyter server of its own, which a test may stop."""

    def __init__(self, home: Path, origin: str, root: Path | None = None) -> None:
        runtime = home / "runtime"
        shutil.rmtree(runtime, ignore_errors=True)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyter_server",
                "--allow-root",
                "--ServerApp.port=0",
                "--ServerApp.open_browser=False",
                f"--ServerApp.root_dir={root or home}",
                f"--ServerApp.allow_origin={origin}",
                f"--IdentityProvider.token={TOKEN}",
            ],
            env={**os.environ, "JUPYTER_RUNTIME_DIR": str(runtime), "IPYTHONDIR": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while True:
            assert time.monotonic() < deadline, "the Jupyter server did not start"
            found = list(runtime.glob("jpserver-*.json"))
            try:
                self.address = json.loads(found[0].read_text())["url"]
                urllib.request.urlopen(f"{self.address}api/status?token={TOKEN}", timeout=5)
                break
            except (IndexError, OSError, ValueError):
                time.sleep(0.2)

    def kernels(self) -> list[dict]:
        with urllib.request.urlopen(f"{self.address}api/kernels?token={TOKEN}") as answer:
            return json.load(answer)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A chapter of five cells, one of which its page does not show."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("course.js", "live.js", "live.css"):
        shutil.copy(ROOT / "book" / "assets" / name, folder)
    shutil.copytree(THEBE, folder / "thebe")
    cells = [{"index": 2 * k, "source": source} for k, source in enumerate(CELLS)]
    (folder / "cells.json").write_text(json.dumps(cells))
    shown = "".join(
        CELL.format(**cell) for cell in cells if not cell["source"].startswith("hidden")
    )
    button = (
        '<div class="live"><button class="live-start" type="button" data-cells="cells.json" '
        'data-script="live.js" data-style="live.css" data-thebe="thebe/index.js" '
        'data-path="book/page.ipynb" data-repository="someone/course" data-ref="main" '
        'data-binder="BINDER">Live code</button><form class="live-elsewhere">'
        '<input name="address" type="url"><input name="token"><button>Connect</button></form></div>'
    )
    from bookbuild.policy import policy

    content = policy(hosts=live.hosts(""))
    page = PAGE.format(policy=content, button=button, cells=shown)
    (folder / "index.html").write_text(page)
    return folder


@pytest.fixture(scope="module")
def origin(files):
    handler = functools.partial(Files, directory=str(files))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(scope="module")
def jupyter(origin, tmp_path_factory):
    running = Jupyter(tmp_path_factory.mktemp("jupyter"), origin)
    yield running
    running.stop()


class Reader:
    """A page with live code in a browser, and all that it asked for."""

    def __init__(self, browser, address: str) -> None:
        self.context = browser.new_context()
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.goto(address)

    def connect(self, jupyter: Jupyter, token: str = TOKEN) -> None:
        self.page.fill("[name=address]", jupyter.address)
        self.page.fill("[name=token]", token)
        self.page.click(".live-elsewhere button")

    def says(self, text: str) -> None:
        self.page.wait_for_function(
            "text => document.querySelector('.live-status')?.textContent.includes(text)", arg=text
        )

    def cell(self, index: int):
        return self.page.locator(f"[data-cell='{index}']")

    def write(self, index: int, source: str) -> None:
        self.cell(index).locator(".CodeMirror").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)

    def run(self, index: int) -> None:
        self.cell(index).locator(".live-run").click()


@pytest.fixture
def reader(browser, origin):
    opened = Reader(browser, f"{origin}/index.html")
    yield opened
    if opened.page.locator(".live-bar button:text('Stop')").count():
        opened.page.evaluate("document.querySelector('.live-bar button:last-child').click()")
        opened.page.wait_for_timeout(300)
    opened.context.close()


@pytest.mark.browser
def test_nothing_is_loaded_before_it_is_asked_for(reader):
    assert [url for url in reader.requests if "thebe" in url or "live" in url] == []


@pytest.mark.browser
def test_a_prior_is_edited_and_the_figure_changes(reader, jupyter, origin):
    reader.connect(jupyter)
    reader.says("Ready")
    # What comes before runs first, with the cell that the page does not show.
    reader.run(8)
    figure = reader.cell(8).locator(".live-output img, .live-output svg").first
    figure.wait_for()
    reader.says("Ready.")
    assert "scale is 20" in reader.cell(6).locator(".live-output").inner_text()
    assert not reader.cell(6).locator(".cell_output").is_visible()
    before = figure.evaluate("image => image.src ?? image.outerHTML")

    reader.write(2, "scale = 7")
    assert "live-stale" in reader.cell(6).get_attribute("class")
    reader.run(8)
    reader.says("Running")
    reader.says("Ready.")
    assert "scale is 70" in reader.cell(6).locator(".live-output").inner_text()
    after = reader.cell(8).locator(".live-output img, .live-output svg").first
    assert after.evaluate("image => image.src ?? image.outerHTML") != before
    assert "live-stale" not in reader.cell(6).get_attribute("class")
    # Nobody was asked but this site and the kernel's server.
    near = (origin, jupyter.address, jupyter.address.replace("http", "ws"), "data:")
    assert [url for url in reader.requests if not url.startswith(near)] == []
    assert reader.faults == []


@pytest.mark.browser
def test_an_error_is_shown_and_stops_what_follows(reader, jupyter):
    reader.connect(jupyter)
    reader.says("Ready")
    reader.write(2, "scale = 1 / 0")
    reader.page.click(".live-bar button:text('Run all')")
    reader.says("ZeroDivisionError")
    assert "ZeroDivisionError" in reader.cell(2).locator(".live-output").inner_text()
    assert reader.cell(6).locator(".cell_output").is_visible()
    reader.write(2, "scale = 3")
    reader.run(6)
    reader.says("Ready.")
    assert "scale is 30" in reader.cell(6).locator(".live-output").inner_text()


@pytest.mark.browser
def test_a_kernel_is_restarted_by_hand_and_after_its_death(reader, jupyter):
    reader.connect(jupyter)
    reader.says("Ready")
    reader.run(6)
    reader.says("Ready.")
    reader.page.click(".live-bar button:text('Restart')")
    reader.says("all variables are gone")
    reader.run(6)  # all before it runs again, or `scale` would not be known
    reader.says("Ready.")
    assert "scale is 20" in reader.cell(6).locator(".live-output").inner_text()

    reader.write(2, "import os; os._exit(1)")
    reader.run(2)
    reader.page.wait_for_function(
        "() => /died|stopped/.test(document.querySelector('.live-status').textContent)"
    )
    reader.write(2, "scale = 4")
    reader.page.wait_for_function("() => !document.querySelector('.live-run').disabled")
    reader.run(6)
    reader.says("Ready.")
    assert "scale is 40" in reader.cell(6).locator(".live-output").inner_text()


@pytest.mark.browser
def test_a_server_that_goes_leaves_the_page_to_read(reader, origin, tmp_path):
    own = Jupyter(tmp_path, origin)
    try:
        reader.connect(own)
        reader.says("Ready")
        reader.run(6)
        reader.says("Ready.")
    finally:
        own.stop()
    reader.says("can be read on")
    assert "scale is 20" in reader.cell(6).locator(".live-output").inner_text()
    assert reader.cell(8).locator(".cell_output").is_visible()
    assert reader.page.locator(".live-start").is_enabled()


@pytest.mark.browser
@pytest.mark.parametrize("fault", ["token", "nobody"])
def test_a_server_that_does_not_let_in_is_named(reader, jupyter, fault):
    if fault == "token":
        reader.connect(jupyter, token="wrong")
    else:
        reader.page.fill("[name=address]", "http://127.0.0.1:9/")
        reader.page.click(".live-elsewhere button")
    reader.says("There is no kernel")
    assert reader.page.locator("p:text('To read.')").is_visible()
    assert reader.cell(6).locator(".cell_output").is_visible()
    # Pressed again, with what is right, it works.
    reader.connect(jupyter)
    reader.says("Ready")


@pytest.mark.browser
def test_stop_ends_the_kernel(reader, jupyter):
    reader.connect(jupyter)
    reader.says("Ready")
    running = len(jupyter.kernels())
    reader.page.click(".live-bar button:text('Stop')")
    reader.says("Stopped")
    deadline = time.monotonic() + 30
    while len(jupyter.kernels()) != running - 1:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.browser
def test_binder_is_asked_for_this_repository(browser, origin, files, jupyter):
    """A stand-in for Binder says where the server is, as Binder does."""
    asked = []

    class Binder(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            for message in (
                {"phase": "building", "message": "Building."},
                {"phase": "ready", "message": "", "url": jupyter.address, "token": TOKEN},
            ):
                self.wfile.write(f"data: {json.dumps(message)}\n\n".encode())
                self.wfile.flush()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Binder) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        page = (files / "index.html").read_text()
        address = f"http://127.0.0.1:{running.server_port}"
        (files / "binder.html").write_text(page.replace("BINDER", address))
        reader = Reader(browser, f"{origin}/binder.html")
        reader.page.click(".live-start")
        reader.says("Ready")
        reader.run(6)
        reader.says("Ready.")
        reader.page.click(".live-bar button:text('Stop')")
        reader.says("Stopped")
        reader.context.close()
        running.shutdown()
    assert asked == ["/build/gh/someone/course/main"]


def test_the_client_is_the_published_one():
    """Nothing in it is changed: `SHA256SUMS` was made from the package of npm."""
    import hashlib

    listed = dict(
        reversed(line.split("  ")) for line in (THEBE / "SHA256SUMS").read_text().splitlines()
    )
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in THEBE.iterdir()
        if path.name not in ("SHA256SUMS", "README.md", "LICENSE")
    }
    assert found == listed
    version = (THEBE / "README.md").read_text().splitlines()[0].split()[-1]
    assert version in (THEBE / "index.js").read_text()
    assert "Redistribution" in (THEBE / "LICENSE").read_text()


def test_every_chapter_has_the_button_and_all_its_cells(site):
    from chapter_lint import chapters

    for name in chapters():
        page = BeautifulSoup((site / f"{name}.html").read_text(), "html.parser")
        button = page.select_one(".live-start")
        cells = json.loads((site / button["data-cells"]).read_text())
        notebook = myst_nb_reader_plugin(str(ROOT / "book" / f"{name}.md"))
        wanted = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell["source"] for cell in cells] == wanted
        sources = {str(cell["index"]): cell["source"] for cell in cells}
        for cell in page.select("div.cell"):
            shown = cell.select_one(".cell_input pre")
            if shown:
                assert shown.get_text().strip() == sources[cell["data-cell"]].strip()
        for name in ("data-script", "data-style", "data-thebe"):
            assert (site / button[name].partition("?")[0]).exists()


def test_hosts_of_live_code():
    named = live.hosts("https://hub.example.org/user/")
    assert {"https://hub.example.org", "wss://hub.example.org"} <= set(named)
    assert not any("mybinder" in host for host in named)
    with pytest.raises(ValueError, match="not an address"):
        live.hosts("hub.example.org")


# The pages of the site ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def course(server, tmp_path_factory):
    """A Jupyter server in a clone of the course, as Binder's is."""
    parts = urlsplit(server)
    running = Jupyter(tmp_path_factory.mktemp("course"), f"{parts.scheme}://{parts.netloc}", ROOT)
    yield running
    running.stop()


@pytest.fixture
def open_page(browser, server, course):
    """Open a page of the site and connect it."""
    opened = []

    def go(name: str) -> Reader:
        reader = Reader(browser, f"{server}else/where/{name}.html")
        opened.append(reader)
        reader.page.get_by_text("Run it on a Jupyter server of yours").click()
        reader.connect(course)
        reader.says("Ready")
        return reader

    yield go
    for reader in opened:
        reader.page.click(".live-bar button:text('Stop')")
        reader.says("Stopped")
        reader.context.close()


def find(name: str, text: str) -> int:
    """The place of the cell with a text in a page of the site."""
    (found,) = (
        cell["index"]
        for cell in live.sources(ROOT / "book" / f"{name}.md")
        if text in cell["source"]
    )
    return found


@pytest.mark.slow
@pytest.mark.browser
def test_a_prior_of_a_chapter_is_edited_and_its_figure_changes(open_page, server, course):
    reader = open_page("priors")
    figure, table = find("priors", "candidates = {"), find("priors", "factors.set_index")
    assert reader.cell(figure).locator("details").count()  # its code is folded away, Run is not
    reader.run(figure)
    image = reader.cell(figure).locator(".live-output img").first
    image.wait_for()
    reader.says("Ready.")
    before = image.get_attribute("src")
    assert reader.cell(table).locator(".live-output table").is_visible()

    reader.page.evaluate("document.querySelectorAll('details').forEach(box => box.open = true)")
    editor = reader.cell(figure).locator(".CodeMirror").first
    edit = "(e, [old, made]) => e.CodeMirror.setValue(e.CodeMirror.getValue().replace(old, made))"
    editor.evaluate(edit, ["priors.HalfCauchy(5)", "priors.HalfCauchy(0.05)"])
    reader.run(figure)
    reader.says("Running")
    reader.says("Ready.")
    after = reader.cell(figure).locator(".live-output img").first.get_attribute("src")
    assert after != before
    for theme in ("light", "dark"):
        reader.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        found = Axe().run(reader.page, options={"resultTypes": ["violations"], "preload": False})
        assert found.violations_count == 0, (theme, found.generate_report())
    near = (server, course.address, course.address.replace("http", "ws"), "data:", "blob:")
    assert [url for url in reader.requests if not url.startswith(near)] == []
    assert reader.faults == []


@pytest.mark.slow
@pytest.mark.browser
def test_checks_of_a_problem_set_answer_in_the_page(open_page):
    reader = open_page("set-pooling")
    check = find("set-pooling", 'grader.check("q1")')
    reader.run(check)
    reader.says("Ready.")
    told = reader.cell(check).locator(".live-output").inner_text()
    assert "q1 results" in told
