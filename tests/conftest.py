"""Fixtures that more than one test file uses."""

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from funnel import data

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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
def site() -> Path:
    """The built site, up to date: a build with nothing changed takes seconds."""
    result = subprocess.run(
        [sys.executable, "-m", "bookbuild"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return ROOT / "_build" / "html"


class StaticFiles(http.server.SimpleHTTPRequestHandler):
    """Serve files as GitHub Pages does: quietly, with the site's own page for what is missing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

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
