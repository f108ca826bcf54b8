"""Fixtures that more than one test file uses."""

import functools
import http.server
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from filelock import FileLock

from funnel import data

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from funnel.exact import ExactPosterior

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def homes() -> pd.DataFrame:
    """The 919 Minnesota homes."""
    return data.load_radon()


@pytest.fixture(scope="session")
def truth(homes: pd.DataFrame) -> "ExactPosterior":
    """The exact posterior that the chapters judge by: varying slopes, the essay's hyperpriors."""
    from funnel import exact, priors  # compiled code, which other tests do without

    return exact.varying_slopes(homes, priors.ESSAY)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of a run share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def site(shared: Path) -> Path:
    """The built site, up to date: built once for all processes of a run, which share it."""
    with FileLock(shared / "site.lock"):
        if not (shared / "site.built").exists():
            result = subprocess.run(
                [sys.executable, "-m", "bookbuild"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, result.stdout + result.stderr
            (shared / "site.built").touch()
    return ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def packages(shared: Path) -> Path:
    """Node, with the packages of JavaScript that the exhibits' scripts import."""
    from bookbuild import bundle

    with FileLock(shared / "packages.lock"):
        return bundle.install()


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    """Serve files, and say nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class StaticFiles(QuietFiles):
    """Serve files as GitHub Pages does, with the site's own page for what is missing."""

    def send_error(self, code: int, *_: object) -> None:
        """Answer with the page for what is missing."""
        page = (Path(self.directory) / "course" / "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


@pytest.fixture(scope="session")
def server(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the site from `course/`, which it was built for, and from `else/where/`."""
    root = tmp_path_factory.mktemp("server")
    (root / "else").mkdir()
    (root / "course").symlink_to(site)
    (root / "else" / "where").symlink_to(site)
    handler = functools.partial(StaticFiles, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Chromium: Debian's, or else Playwright's own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        debian = shutil.which("chromium")
        own = playwright.chromium.executable_path
        if not debian and not Path(own).exists():
            pytest.skip("no Chromium: apt-get install chromium, or playwright install chromium")
        # Chromium's own sandbox does not start for root, who runs the tests in containers.
        chromium = playwright.chromium.launch(executable_path=debian or own, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_exhibit(browser: "Browser", tmp_path: Path) -> Iterator[Callable[..., "Page"]]:
    """Open an exhibit on a page of its own, as in the book; `page.complaints` lists errors."""
    from bookbuild import exhibits as book
    from funnel.exhibits import MIME

    for source in (*(book.FOLDER / "bundles").iterdir(), book.FOLDER / "exhibit.css", book.LOADER):
        shutil.copy(source, tmp_path)
    handler = functools.partial(QuietFiles, directory=str(tmp_path))
    contexts = []

    def open_page(
        exhibit: Any, fragment: str = "", *, theme: str = "light", **options: Any
    ) -> "Page":
        bundle = exhibit._repr_mimebundle_()
        shown = (bundle[0] if isinstance(bundle, tuple) else bundle)[MIME]
        start, end = book.around(shown)
        still = f'<img src="data:image/png;base64,{shown["still"]}" alt="Still picture">'
        head = f"{book.scripts('').replace(book.STATIC + '/', '')}<title>Exhibit</title>"
        head += '<link rel="icon" href="data:,"><meta charset="utf-8">'
        head += '<meta name="viewport" content="width=device-width">'
        body = f"<main><h1>Exhibit</h1>{start}{still}{end}</main>"
        page_text = f'<!doctype html><html lang="en" data-theme="{theme}">{head}{body}</html>'
        (tmp_path / "page.html").write_text(page_text, encoding="utf-8")
        contexts.append(
            browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        )
        page = contexts[-1].new_page()
        page.complaints = []
        page.on("console", lambda said: page.complaints.append(said.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(f"http://127.0.0.1:{running.server_port}/page.html{fragment}")
        page.wait_for_selector(".exhibit-words:not(:empty)")
        return page

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield open_page
        for context in contexts:
            context.close()
        running.shutdown()


@pytest.fixture
def run_node(packages: Path, tmp_path: Path) -> Callable[..., Any]:
    """Run a module of JavaScript that may import from `exhibits/`; what it prints is JSON."""
    exhibits = ROOT / "code" / "funnel" / "exhibits"

    def run(script: str, given: Any = None) -> Any:
        text = script.replace('"exhibits/', f'"{exhibits.as_uri()}/')
        (tmp_path / "script.mjs").write_text(text, encoding="utf-8")
        (tmp_path / "given.json").write_text(json.dumps(given))
        done = subprocess.run(
            [packages, tmp_path / "script.mjs", tmp_path / "given.json"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def boxes() -> Iterator[str]:
    """Folder of what goes into boxes; where there can be none, tests of them are skipped."""
    from grading import box

    with tempfile.TemporaryDirectory(prefix="boxes-") as folder:
        Path(folder).chmod(0o755)
        try:
            box.check(Path(folder))
        except box.Refusal as refusal:
            pytest.skip(str(refusal).splitlines()[0])
        yield folder


@pytest.fixture
def run_engine(run_node: Callable[..., Any]) -> Callable[..., list[dict[str, Any]]]:
    """Run the exhibit `sampler` with given controls; what it says of each run, and its scales."""
    script = """
        import { readFileSync } from "node:fs";
        import { add, emptyResult } from "exhibits/engine/client.js";
        import { run } from "exhibits/engine/run.js";
        import { isWrong, report, request, scaleOf, warnings } from "exhibits/shared/sampling.js";
        const { data, states } = JSON.parse(readFileSync(process.argv[2]));
        console.log(JSON.stringify(states.map((state) => {
          const asked = request(data, state);
          const result = emptyResult(asked.settings);
          run({ ...asked, indices: [0, 1, 2, 3] }, (message) => {
            if (message.type === "batch") add(result, message);
          });
          const found = report(data.exact[state.model], state.model, result);
          const scale = scaleOf(state.model, result.values).map((chain) => Array.from(chain));
          return { ...found, warnings: warnings(found), wrong: isWrong(found), scale };
        })));
    """

    def run(sampler: Any, states: list[dict[str, Any]]) -> list[dict[str, Any]]:
        given = {"data": sampler.data, "states": [sampler.state | state for state in states]}
        return run_node(script, given)

    return run
