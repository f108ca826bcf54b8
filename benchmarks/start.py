"""Time what a reader waits for before anything is computed: imports.

    python benchmarks/start.py --write

Each import is made by a Python that has imported nothing, in turns, and compared with a
Python that imports nothing at all. (The peak memory of a build is measured by `build.py`.)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import results

PACKAGE = results.ROOT / "code" / "funnel"
WAYS = {
    "nothing": "pass",
    "funnel.data": "import funnel.data",
    "pandas alone": "import pandas",
    "pymc alone": "import pymc",
    "whole package": "import {}",
}


def modules() -> list[str]:
    """List the modules of the package: a file each, or a folder."""
    files = [path.stem for path in PACKAGE.glob("[!_]*.py")]
    folders = [path.parent.name for path in PACKAGE.glob("[!_]*/__init__.py")]
    return [f"funnel.{name}" for name in sorted(files + folders)]


def measure(repeats: int, ways: list[str]) -> list[dict]:
    """Start Python over and over; one row for each start."""
    rows = []
    for repeat in range(repeats):
        for way in ways:
            script = WAYS[way].format(", ".join(modules()))
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", script], check=True)
            seconds = time.perf_counter() - start
            rows.append({"what": way, "repeat": repeat, "seconds": round(seconds, 3)})
    return rows


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write to data/benchmarks")
    parser.add_argument("--folder", type=Path, help="write there instead")
    parser.add_argument("--quick", action="store_true", help="once, the small ones: a trial")
    arguments = parser.parse_args()
    ways, repeats = list(WAYS), arguments.repeats
    if arguments.quick:
        ways, repeats = ["nothing", "funnel.data"], 1
    notes = results.conditions(["pymc", "numba", "arviz", "pandas"], repeats=repeats)
    rows = measure(repeats, ways)
    table = pd.DataFrame(rows).groupby("what", sort=False)["seconds"]
    print(table.agg(["median", "min", "max"]).to_string())
    if arguments.write or arguments.folder:
        results.write("start", rows, notes, arguments.folder)


if __name__ == "__main__":
    main()
