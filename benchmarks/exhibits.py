"""Measure what exhibits cost the page that they are on, and how smoothly one moves.

    make book && python benchmarks/exhibits.py --write

- `paint`: milliseconds to the largest contentful paint of each page with exhibits, and of the same
  page with the scripts and the data of its exhibits taken out, in turns, on a processor slowed down
  four times and a connection like a telephone's;
- `frames`: while `sampler` follows one trajectory: how many frames were drawn, and how many of
  sixty a second were not.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pandas as pd
import results
from browser import start_browser, version
from lighthouse import SITE, serve
from playwright.sync_api import Browser, Page, sync_playwright

#: What brings an exhibit: the loader, and each one's data.
BROUGHT = re.compile(
    r'<script[^>]*exhibits/loader\.js[^>]*></script>|<script type="application/json">.*?</script>',
    re.S,
)
PHONE = {"width": 412, "height": 823}
NETWORK = {
    "offline": False,
    "latency": 150,
    "downloadThroughput": 1.6e6 / 8,
    "uploadThroughput": 0.75e6 / 8,
}
PAINT = """() => new Promise((done) => {
    let last = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) last = entry.startTime;
    }).observe({ type: "largest-contentful-paint", buffered: true });
    setTimeout(() => done(last), 1500);
})"""
FRAMES = """() => new Promise((done) => {
    const times = [];
    const begin = performance.now();
    const frame = (now) => {
        times.push(now);
        if (now - begin < 2500) requestAnimationFrame(frame);
        else done(times);
    };
    requestAnimationFrame(frame);
})"""


def pages() -> list[str]:
    """List the pages of the site that exhibits are on."""
    found = (path for path in sorted(SITE.glob("*.html")) if 'class="exhibit"' in path.read_text())
    return [path.stem for path in found]


def strip(folder: Path) -> Path:
    """Copy the site without the scripts and the data of its exhibits."""
    copy = folder / "without"
    shutil.copytree(SITE, copy)
    for name in pages():
        page = copy / f"{name}.html"
        page.write_text(BROUGHT.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
    return copy


def time_paint(browser: Browser, address: str, name: str) -> float:
    """Load a page; milliseconds to its largest contentful paint."""
    page = browser.new_context(viewport=PHONE).new_page()
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", NETWORK)
    page.goto(f"{address}{name}.html")
    found = float(page.evaluate(PAINT))
    page.context.close()
    return found


def count_frames(page: Page) -> dict[str, int]:
    """Follow one trajectory and count its frames."""
    page.get_by_role("button", name="Follow one trajectory").click()
    times = page.evaluate(FRAMES)
    gaps = [1e-3 * (after - before) for before, after in pairwise(times)]
    return {"frames": len(gaps), "dropped": sum(max(0, round(60 * gap) - 1) for gap in gaps)}


def measure(repeats: int) -> Iterator[dict[str, Any]]:
    """Measure both, in turns; one row for each measurement."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(SITE) as address,
        serve(strip(Path(folder))) as bare,
        sync_playwright() as playwright,
    ):
        browser = start_browser(playwright)
        ways = [("with", address), ("without", bare)]
        for repeat, name in product(range(repeats), pages()):
            for way, place in ways if repeat % 2 else reversed(ways):
                found = round(time_paint(browser, place, name), 1)
                row = {"what": "paint", "page": name, "exhibits": way, "repeat": repeat}
                yield {**row, "milliseconds": found}
        for repeat in range(repeats):
            page = browser.new_page()
            page.goto(f"{address}funnel.html#exhibit-sampler")
            exhibit = page.locator("#exhibit-sampler")
            for _ in range(20):
                exhibit.scroll_into_view_if_needed()
                page.wait_for_timeout(250)
            exhibit.locator(".exhibit-words:not(:empty)").wait_for()
            for _ in range(3):
                row = {"what": "frames", "page": "funnel", "repeat": repeat}
                yield {**row, **count_frames(page)}
                page.wait_for_timeout(1500)
            page.context.close()
        browser.close()


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write to data/benchmarks")
    arguments = parser.parse_args()
    notes = results.conditions(["playwright"], chromium=version(), repeats=arguments.repeats)
    rows = []
    for row in measure(arguments.repeats):
        rows.append(row)
        print(row, flush=True)
    table = pd.DataFrame(rows)
    paint = table[table["what"] == "paint"].pivot_table(
        "milliseconds", "page", "exhibits", aggfunc="median"
    )
    print(paint.assign(ratio=paint["with"] / paint["without"]).to_string())
    print(table.query("what == 'frames'")[["frames", "dropped"]].describe().to_string())
    if arguments.write:
        results.write("exhibits", rows, notes)


if __name__ == "__main__":
    main()
