"""Time the engine of the exhibits in Chromium, and Python on the way to the same draws.

    python benchmarks/browser.py --write

The model is the course's radon regression with the essay's priors, 4 chains of 1,000 tuning
and 1,000 kept draws, target acceptance 0.8. Four things are measured:

- `gradient`: microseconds of one gradient of the log density, in a loop;
- `diagnose`: seconds of R-hat, both effective sample sizes and the Monte Carlo error of one
  parameter with 4 chains of 2,000 draws, the median of 50 times in a row;
- `chains`: seconds of four chains in workers, by number of workers, with the seconds until the
  first progress and the longest time for which the page did not answer;
- `cold`: seconds to the first 4,000 draws from nothing: for Chromium from opening an empty page
  in a browser that runs, or from starting the browser; for Python from starting it, imports
  and compilation included, with an empty cache of compiled code.

The ways take turns, so that a change in the load of the machine meets all alike.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import results
import sampling
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

ENGINE = results.ROOT / "code" / "funnel" / "exhibits" / "engine"
CHAINS, TUNE, DRAWS, TARGET = 4, 1000, 1000, 0.8

#: Centeredness of intercepts and of slopes.
MODELS = {"noncentered": (0, 0), "mixed": (1, 0), "centered": (1, 1)}

NUTPIE = """
import nutpie
from funnel import data, models, priors
kinds = {"intercepts": "noncentered", "slopes": "noncentered"}
model = models.varying_slopes(data.load_radon(), priors.ESSAY, **kinds)
nutpie.sample(nutpie.compile_pymc_model(model), draws=DRAWS, tune=TUNE, chains=4, seed=SEED,
              target_accept=TARGET, progress_bar=False)
"""
PYTHON = {"pymc": sampling.COLD["essay"], "nutpie": NUTPIE}

GRADIENT = """async ({ density, count }) => {
    const { makeDensity } = await import("/densities.js");
    const { Random } = await import("/random.js");
    const { dimension, logDensity } = makeDensity(density);
    const random = new Random(1);
    const q = Float64Array.from({ length: dimension }, () => 0.3 * random.normal());
    const gradient = new Float64Array(dimension);
    const start = performance.now();
    for (let i = 0; i < count; i++) {
        q[i % dimension] += 1e-9;
        logDensity(q, gradient);
    }
    return (1000 * (performance.now() - start)) / count;
}"""

DIAGNOSE = """async () => {
    const { diagnose } = await import("/diagnostics.js");
    const { Random } = await import("/random.js");
    const random = new Random(1);
    const chains = [0, 1, 2, 3].map(() => {
        let x = 0;
        return Float64Array.from({ length: 2000 }, () => (x = 0.9 * x + random.normal()));
    });
    const seconds = [];
    for (let i = 0; i < 50; i++) {
        const start = performance.now();
        diagnose(chains);
        seconds.push((performance.now() - start) / 1000);
    }
    return seconds.sort((a, b) => a - b)[25];
}"""

CHAINS_IN_PAGE = """async ({ request, workers }) => {
    Object.defineProperty(navigator, "hardwareConcurrency", { value: workers, configurable: true });
    const { sample } = await import("/client.js");
    let first;
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
        longest = Math.max(longest, performance.now() - last - 10);
        last = performance.now();
    }, 10);
    const start = performance.now();
    const onProgress = () => (first ??= performance.now() - start);
    const source = `import "${location.origin}/worker.js"`;
    const result = await sample(source, request, { onProgress });
    clearInterval(timer);
    return {
        seconds: result.seconds,
        first: first / 1000,
        stall: longest / 1000,
        gradients: result.gradients.reduce((sum, count) => sum + count),
    };
}"""

PAGE = """<!doctype html><title>Cold</title><script type="module">
import { sample } from "/client.js";
const request = await (await fetch("/request.json")).json();
const result = await sample(`import "${location.origin}/worker.js"`, request);
window.draws = result.values.sigma_b.reduce((sum, draws) => sum + draws.length, 0);
</script>"""


def density(model: str) -> dict[str, Any]:
    """Describe the radon regression to the engine."""
    from funnel import data, priors

    homes = data.load_radon()
    intercepts, slopes = MODELS[model]
    return {
        "kind": "radon",
        "data": {
            "county": homes["county"].cat.codes.tolist(),
            "floor": homes["floor"].tolist(),
            "logRadon": homes["log_radon"].tolist(),
            "counties": len(homes["county"].cat.categories),
        },
        "priors": {
            name: {"family": type(prior).__name__, **asdict(prior)}
            for name, prior in vars(priors.ESSAY).items()
        },
        "intercepts": intercepts,
        "slopes": slopes,
    }


def request(model: str, seed: int, tune: int, draws: int) -> dict[str, Any]:
    """Ask for the chains of a model, and for what its exhibit shows of them."""
    settings = {
        "sampler": "nuts",
        "tune": tune,
        "draws": draws,
        "chains": CHAINS,
        "seed": seed,
        "adapt": True,
        "targetAccept": TARGET,
    }
    keep = ["mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y", "b[25]"]
    return {"density": density(model), "settings": settings, "keep": keep}


class Files(http.server.SimpleHTTPRequestHandler):
    """Serve files, and say nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serve(first: dict[str, Any]) -> Iterator[str]:
    """Serve the engine, an empty page, and one that samples what `first` asks for."""
    with tempfile.TemporaryDirectory() as folder:
        for module in ENGINE.glob("*.js"):
            shutil.copy(module, folder)
        pages = {"empty.html": "<!doctype html><title>Empty</title>", "cold.html": PAGE}
        for name, text in {**pages, "request.json": json.dumps(first)}.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        handler = functools.partial(Files, directory=folder)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/"
            server.shutdown()


def start_browser(playwright: Playwright) -> Browser:
    """Start Debian's Chromium, or else Playwright's own."""
    return playwright.chromium.launch(
        executable_path=shutil.which("chromium") or playwright.chromium.executable_path,
        args=["--no-sandbox"],
    )


def time_gradients(page: Page, repeat: int, count: int) -> Iterator[dict]:
    """Time the gradient of each model in a page."""
    for model in MODELS:
        found = page.evaluate(GRADIENT, {"density": density(model), "count": count})
        row = {"what": "gradient", "way": "chromium", "model": model, "repeat": repeat}
        yield {**row, "microseconds_per_gradient": round(found, 3)}


def time_diagnostics(page: Page, repeat: int) -> Iterator[dict]:
    """Time the diagnostics of one parameter in a page."""
    seconds = round(page.evaluate(DIAGNOSE), 5)
    yield {"what": "diagnose", "way": "chromium", "repeat": repeat, "seconds": seconds}


def time_chains(
    page: Page, repeat: int, workers: list[int], tune: int, draws: int
) -> Iterator[dict]:
    """Time four chains of each model, by number of workers."""
    for model in MODELS:
        for count in workers:
            asked = {"request": request(model, repeat, tune, draws), "workers": count}
            found = page.evaluate(CHAINS_IN_PAGE, asked)
            yield {
                "what": "chains",
                "way": "chromium",
                "model": model,
                "workers": count,
                "repeat": repeat,
                "seconds": round(found["seconds"], 3),
                "first_progress": round(found["first"], 3),
                "longest_stall": round(found["stall"], 3),
                "gradients": found["gradients"],
                "microseconds_per_gradient": round(1e6 * found["seconds"] / found["gradients"], 3),
            }


def open_page(browser: Browser, address: str, draws: int) -> None:
    """Open the page that samples by itself, and wait until it has."""
    page = browser.new_page()
    page.goto(f"{address}cold.html")
    page.wait_for_function("window.draws !== undefined", polling=20)
    found = page.evaluate("window.draws")
    if found != CHAINS * draws:
        raise RuntimeError(f"the page made {found} draws, not {CHAINS * draws}")
    page.context.close()


def run_python(script: str, seed: int, tune: int, draws: int) -> None:
    """Run a script in a Python that has imported nothing, and compiled nothing before."""
    words = {"SEED": seed, "DRAWS": draws, "TUNE": tune, "TARGET": TARGET}
    for word, value in words.items():
        script = script.replace(word, str(value))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTENSOR_FLAGS": f"base_compiledir={folder}"}
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def time_cold(
    playwright: Playwright, browser: Browser, address: str, repeat: int, tune: int, draws: int
) -> Iterator[dict]:
    """Time the way from nothing to the first draws of the noncentered model."""

    def start_and_open() -> None:
        fresh = start_browser(playwright)
        open_page(fresh, address, draws)
        fresh.close()

    ways = {
        "chromium, page": lambda: open_page(browser, address, draws),
        "chromium, browser and page": start_and_open,
        **{
            name: functools.partial(run_python, script, repeat, tune, draws)
            for name, script in PYTHON.items()
        },
    }
    for way, act in ways.items():
        start = time.perf_counter()
        act()
        seconds = time.perf_counter() - start
        row = {"what": "cold", "way": way, "model": "noncentered", "repeat": repeat}
        yield {**row, "seconds": round(seconds, 3)}


def measure(repeats: int, workers: list[int], count: int, tune: int, draws: int) -> list[dict]:
    """Measure everything, in turns; one row for each measurement."""
    rows = []
    with serve(request("noncentered", 1, tune, draws)) as address, sync_playwright() as playwright:
        browser = start_browser(playwright)
        for repeat in range(repeats):
            page = browser.new_page()
            page.goto(f"{address}empty.html")
            for found in (
                time_gradients(page, repeat, count),
                time_diagnostics(page, repeat),
                time_chains(page, repeat, workers, tune, draws),
                time_cold(playwright, browser, address, repeat, tune, draws),
            ):
                for row in found:
                    rows.append(row)
                    print(row, flush=True)
            page.context.close()
        browser.close()
    return rows


def version() -> str:
    """Version of Chromium."""
    with sync_playwright() as playwright:
        browser = start_browser(playwright)
        found = browser.version
        browser.close()
    return found


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write to data/benchmarks")
    parser.add_argument("--folder", type=Path, help="write there instead")
    parser.add_argument("--quick", action="store_true", help="once, short chains: a trial")
    arguments = parser.parse_args()
    repeats, workers, count, tune, draws = arguments.repeats, [1, 2, 4], 100_000, TUNE, DRAWS
    if arguments.quick:
        repeats, workers, count, tune, draws = 1, [2], 1000, 100, 100
    notes = results.conditions(
        ["pymc", "pytensor", "nutpie", "numba"],
        chromium=version(),
        repeats=repeats,
        chains=CHAINS,
        tune=tune,
        draws=draws,
        target_accept=TARGET,
    )
    rows = measure(repeats, workers, count, tune, draws)
    table = pd.DataFrame(rows).groupby(
        ["what", "way", "model", "workers"], sort=False, dropna=False
    )
    numbers = ["seconds", "first_progress", "longest_stall", "microseconds_per_gradient"]
    print(table[numbers].median().to_string())
    if arguments.write or arguments.folder:
        results.write("browser", rows, notes, arguments.folder)


if __name__ == "__main__":
    main()
