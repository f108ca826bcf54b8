"""Measure the throughput of the study of when to center.

    python benchmarks/study.py

Computes the same sample of the study's data sets with one worker and with two, in
turn, and prints fits per second and the ratio. Compiling is in it, once per worker
and model, as in the study. `--write` keeps the result under data/benchmarks.
"""

import argparse
import tempfile
import time
from pathlib import Path

from results import conditions, write

from funnel.calibration.centering import fit_data_set, make_tasks
from funnel.calibration.mapping import VERSIONS, run_tasks


def measure(tasks: list[dict], workers: int) -> dict:
    """Compute the tasks; the row says how many fits a second."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        fits = run_tasks(fit_data_set, tasks, Path(folder) / "store.jsonl", workers=workers)
        seconds = time.perf_counter() - start
    rate = len(fits) / seconds
    return {"workers": workers, "fits": len(fits), "seconds": seconds, "fits_per_second": rate}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=120, help="data sets of each run")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each kind, in turn")
    parser.add_argument("--write", action="store_true", help="keep the result")
    arguments = parser.parse_args()
    notes = conditions(VERSIONS, repeats=arguments.repeats)
    # One model; in the study its compilation is spread over three times as many data sets.
    tasks = [task for task in make_tasks() if task["groups"] == 25][: arguments.tasks]
    rows = []
    for _ in range(arguments.repeats):
        for workers in (1, 2):
            rows.append(measure(tasks, workers))
            print(f"{workers} worker(s): {rows[-1]['fits_per_second']:.2f} fits per second")
    seconds = {n: sum(row["seconds"] for row in rows if row["workers"] == n) for n in (1, 2)}
    print(f"two workers over one: {seconds[1] / seconds[2]:.2f}")
    if arguments.write:
        write("study", rows, notes)


if __name__ == "__main__":
    main()
