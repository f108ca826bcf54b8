"""Spread many small tasks over processes and machines, and keep what is done.

Dask moves the tasks. What it does not do is done here: results are written to a
file as they come, so that a run that was stopped goes on where it was, and every
process computes under the same settings, so that the result depends neither on how
many there are nor on their order.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from dask import config
from distributed import Client, LocalCluster, WorkerPlugin, as_completed
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["REPEATABLE", "VERSIONS", "run_tasks", "write_result"]

Task = dict[str, Any]
Rows = list[dict[str, Any]]

#: Environment of a process that computes. Code compiled for a generic processor, and
#: never taken from a cache of compiled code, gives the same draws in each; one thread
#: a task leaves the cores to the tasks.
REPEATABLE = {
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTENSOR_FLAGS": "numba__cache=False",
}

#: Versions of what the draws of a task depend on.
VERSIONS = {name: version(name) for name in ("numba", "numpy", "nutpie", "pymc", "pytensor")}


class _Environment(WorkerPlugin):
    """Set `REPEATABLE` in a worker before it loads what reads it."""

    name = "funnel-environment"

    def setup(self, worker: object) -> None:
        changed = {key for key, value in REPEATABLE.items() if os.environ.get(key) != value}
        if changed and "pytensor" in sys.modules:
            raise RuntimeError(
                f"this worker had loaded PyTensor with other settings of {sorted(changed)}; "
                "start a fresh one"
            )
        os.environ.update(REPEATABLE)


def run_tasks(
    work: Callable[[Task], Rows],
    tasks: Sequence[Task],
    store: Path,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """Call a function on every task, in parallel, and collect the rows that it returns.

    Parameters
    ----------
    work : callable
        Function of one task that returns its rows. It has to be importable by its
        name, to use nothing but the task (which holds the seed, or what a seed is
        made of), and to return plain numbers and texts.
    tasks : sequence of dict
        Plain numbers and texts by name; no two alike.
    store : Path
        File of the results so far, one line a task. A run that was stopped, by
        whatever, goes on from it.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://10.0.0.5:8786``, whose workers
        have this package, of this version, and one thread each. The default is one
        process per core of this machine.
    workers : int, optional
        Number of processes on this machine; not with `scheduler`.

    Returns
    -------
    pandas.DataFrame
        For each task, in the order of `tasks`, its rows: the task's columns, then
        those of the row.

    Raises
    ------
    ValueError
        If `store` holds results of another function or version, if two tasks are
        alike, if workers have more than one thread, or if both `scheduler` and
        `workers` are given.
    OSError
        If there is no scheduler at that address.
    RuntimeError
        If a task failed, with the task; what is done by then is kept.
    """
    keys = [_key(task) for task in tasks]
    if len(set(keys)) != len(keys):
        raise ValueError("two of the tasks are alike, and would share their seed")
    if scheduler and workers is not None:
        raise ValueError("give the address of a scheduler or a number of workers, not both")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    done = _read(store, _header(work))
    todo = [task for key, task in zip(keys, tasks, strict=True) if key not in done]
    if todo:
        with _client(scheduler, min(workers or os.cpu_count() or 1, len(todo))) as client:
            _compute(client, work, todo, store, done)
    return pd.DataFrame(
        {**task, **row} for key, task in zip(keys, tasks, strict=True) for row in done[key]
    )


def write_result(
    folder: Path, tables: Mapping[str, pd.DataFrame], *, digits: int = 5, **count: int
) -> None:
    """Write the result of a study, and what it depends on.

    Parameters
    ----------
    folder : Path
        Where; it is made if need be.
    tables : mapping of str to DataFrame
        Each becomes ``NAME.csv.gz``, the same file if it has the same content.
    digits : int
        Significant digits of its numbers.
    **count : int
        One number and its name, such as ``fits=800``: it heads ``versions.json``, before
        the versions and the machine.
    """
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.to_csv(
            folder / f"{name}.csv.gz",
            index=False,
            float_format=f"%.{digits}g",
            compression={"method": "gzip", "mtime": 0},
        )
    about = {
        **count,
        "python": platform.python_version(),
        "machine": platform.machine(),
        **VERSIONS,
    }
    (folder / "versions.json").write_text(json.dumps(about, indent=2) + "\n")


def _compute(
    client: Client,
    work: Callable[[Task], Rows],
    todo: Sequence[Task],
    store: Path,
    done: dict[str, Rows],
) -> None:
    columns = (
        TextColumn(work.__module__.rpartition(".")[2]),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    futures = client.map(work, list(todo), pure=False)
    tasks = {future.key: task for future, task in zip(futures, todo, strict=True)}
    waiting = as_completed(futures, raise_errors=False)
    del futures  # only those that wait, so that a finished one is forgotten
    with store.open("a") as file, Progress(*columns) as progress:
        bar = progress.add_task("", total=len(todo))
        for future in waiting:
            task = tasks.pop(future.key)
            if future.status != "finished":
                reason = future.exception() if future.status == "error" else future.status
                raise RuntimeError(
                    f"{work.__qualname__} failed for {task}: {reason}. "
                    f"What was done before is kept in {store}."
                ) from future.exception()
            rows = future.result()
            # Written and read back, so that a run in one go and one with stops agree.
            line = json.dumps([task, rows])
            file.write(line + "\n")
            file.flush()
            done[_key(task)] = json.loads(line)[1]
            progress.advance(bar)


@contextmanager
def _client(scheduler: str | None, workers: int) -> Iterator[Client]:
    if scheduler:
        with Client(scheduler, timeout="10s") as client:
            client.get_versions(check=True)
            _prepare(client)
            yield client
        return
    with (
        config.set({"distributed.nanny.pre-spawn-environ": REPEATABLE}),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        _prepare(client)
        yield client


def _prepare(client: Client) -> None:
    crowded = {address: n for address, n in client.nthreads().items() if n != 1}
    if crowded:
        raise ValueError(
            f"workers must have one thread each, start them with --nthreads 1: {crowded}"
        )
    client.register_plugin(_Environment())


def _key(task: Task) -> str:
    return json.dumps(task, sort_keys=True)


def _header(work: Callable[[Task], Rows]) -> dict[str, str]:
    """Say what the results depend on, besides the tasks."""
    source = Path(inspect.getfile(work)).read_bytes()
    name = f"{work.__module__}.{work.__qualname__}"
    return {"work": name, "code": hashlib.sha256(source).hexdigest(), **VERSIONS}


def _read(store: Path, header: dict[str, str]) -> dict[str, Rows]:
    """Return the rows in the file by task; begin the file if there is none."""
    if not store.exists():
        store.parent.mkdir(parents=True, exist_ok=True)
        store.write_text(json.dumps(header) + "\n")
        return {}
    first, *lines = store.read_text().splitlines(keepends=True)
    found = json.loads(first)
    if found != header:
        differs = sorted(key for key in header if found.get(key) != header[key])
        raise ValueError(
            f"{store} holds results of another version (of {', '.join(differs)}); "
            "move it away to begin anew"
        )
    # A line that was cut short by the end of the last run is dropped, and computed again.
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        store.write_text("".join([first, *lines]))
    return {_key(task): rows for task, rows in map(json.loads, lines)}
