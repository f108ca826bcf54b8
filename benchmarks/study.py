"""Measure the throughput of the study of when to center.

    python benchmarks/study.py

Computes the same sample of the study's data sets with one worker and with two, in
turn, and prints fits per second and the ratio. Compiling is in it, once per worker
and model, as in the study; a run of one data set for each worker beside it tells how
much of the time that is. What two cores of this machine are worth is measured beside
it: the same fits by one process and by two that know nothing of each other, without
Dask. `--write` keeps the result under data/benchmarks.
"""

import argparse
import os
import tempfile
import time
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from results import conditions, write

from funnel.calibration.centering import fit_data_set, make_tasks
from funnel.calibration.mapping import REPEATABLE, VERSIONS, run_tasks


def by_dask(tasks: list[dict], workers: int) -> int:
    """Compute the tasks as the study does; how many fits that was."""
    with tempfile.TemporaryDirectory() as folder:
        return len(run_tasks(fit_data_set, tasks, Path(folder) / "store.jsonl", workers=workers))


def fit_all(tasks: list[dict]) -> int:
    """Compute the tasks one after the other; how many fits that was."""
    return sum(len(fit_data_set(task)) for task in tasks)


def by_processes(tasks: list[dict], workers: int) -> int:
    """Compute the tasks in processes that share nothing, each its part; how many fits that was."""
    os.environ.update(REPEATABLE)  # before they start: one thread each, as in the study
    with get_context("spawn").Pool(workers) as pool:
        return sum(pool.map(fit_all, [tasks[i::workers] for i in range(workers)], chunksize=1))


WAYS = {"dask": by_dask, "processes": by_processes}


def measure(part: str, way: str, tasks: list[dict], workers: int) -> dict:
    """Compute the tasks; the row says how many fits a second."""
    start = time.perf_counter()
    fits = WAYS[way](tasks, workers)
    seconds = time.perf_counter() - start
    return {
        "part": part,
        "way": way,
        "workers": workers,
        "fits": fits,
        "seconds": round(seconds, 1),
        "fits_per_second": round(fits / seconds, 3),
    }


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
    for _, way, workers in product(range(arguments.repeats), WAYS, (1, 2)):
        rows.append(measure("start", way, tasks[:workers], workers))
        rows.append(measure("all", way, tasks, workers))
    table = pd.DataFrame(rows)
    rate = table.groupby(["part", "way", "workers"])["fits_per_second"].mean().unstack()
    print(table.to_string(index=False), (rate[2] / rate[1]).round(2).to_string(), sep="\n")
    if arguments.write:
        write("study", rows, notes)


if __name__ == "__main__":
    main()
