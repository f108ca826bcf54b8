"""Measure what a reader on Binder meets: the size of the image, the wait, the memory.

    python benchmarks/binder.py --write

The image is made here as Binder makes it, without Docker (`bookbuild.binder`); what is executed in
it has no network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import results

from bookbuild import binder

DRAWS = 4000
# What the reader who opens a notebook waits for: a kernel, the imports, and the radon model.
FIRST = f"""
from funnel import data, fitting, models, priors

homes = data.load_radon()
model = models.varying_slopes(homes, priors.ESSAY, intercepts="noncentered", slopes="noncentered")
fit = fitting.fit(model, seed=1, draws={DRAWS // 4}, expect_failure=None)
assert fit.posterior["sigma_b"].size == {DRAWS}
"""


def size(folder: Path) -> int:
    """Size of all files in a folder, in megabytes; links count once."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return round(sum(path.stat().st_size for path in files) / 1e6)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write to data/benchmarks")
    parser.add_argument("--folder", type=Path, help="write there instead")
    arguments = parser.parse_args()

    image = binder.replay(results.ROOT, results.ROOT / "_build" / "binder")
    notes = results.conditions(
        ["jupyter-repo2docker", "pymc", "nutpie", "numba"],
        repeats=arguments.repeats,
        draws=DRAWS,
        base=binder.pins()[0],
        megabytes={"packages": size(image.prefix), "repository": size(image.home)},
    )
    first = image.home / "first.py"
    first.write_text(FIRST, encoding="utf-8")
    rows = [
        {"what": "first draws", "repeat": repeat, **image.execute(first)}
        for repeat in range(arguments.repeats)
    ]
    table = pd.DataFrame(rows).groupby("what", sort=False)[
        ["seconds", "processor_seconds", "megabytes"]
    ]
    print(notes["megabytes"], table.agg(["median", "max"]).to_string(), sep="\n")
    if arguments.write or arguments.folder:
        results.write("binder", rows, notes, arguments.folder)


if __name__ == "__main__":
    main()
