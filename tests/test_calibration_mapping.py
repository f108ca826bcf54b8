"""Tasks over processes: nothing is lost, and the result does not depend on who computed it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from distributed import Client, LocalCluster

from funnel.calibration import mapping
from funnel.calibration.__main__ import main

pytestmark = pytest.mark.slow


def square(task):
    """One row, two rows, one row, ...; leaves a trace of each call in the task's folder."""
    if task["folder"]:
        name = f"{task['n']}-{time.monotonic_ns()}"
        (Path(task["folder"]) / name).touch()
    time.sleep(task.get("seconds", 0))
    if task.get("broken") and Path(task["broken"]).exists():
        raise ZeroDivisionError("the task is broken")
    return [{"square": task["n"] ** 2, "part": part} for part in range(1 + task["n"] % 2)]


def settings(task):
    import numba.core.config as numba
    import pytensor

    return [
        {
            "cache": str(pytensor.config.numba__cache),
            "cpu": str(numba.CPU_NAME),
            "threads": os.environ["OMP_NUM_THREADS"],
        }
    ]


def process(task):
    time.sleep(0.3)
    return [{"process": os.getpid()}]


def make_tasks(count, folder="", **more):
    return [{"n": n, "folder": str(folder), **more} for n in range(count)]


def calls(folder):
    return sorted(int(path.name.split("-")[0]) for path in Path(folder).iterdir())


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store" / "results.jsonl"


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_come_back_in_the_order_of_the_tasks(store, workers):
    table = mapping.run_tasks(square, make_tasks(5)[::-1], store, workers=workers)
    assert table["n"].tolist() == [4, 3, 3, 2, 1, 1, 0]
    assert table["square"].tolist() == [16, 9, 9, 4, 1, 1, 0]
    assert table["part"].tolist() == [0, 0, 1, 0, 0, 1, 0]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_as_many_processes_compute_as_were_asked_for(store, workers):
    table = mapping.run_tasks(process, make_tasks(8), store, workers=workers)
    assert table["process"].nunique() == workers


def test_workers_compute_under_the_same_settings(store):
    (row,) = mapping.run_tasks(settings, [{"n": 0}], store, workers=1).to_dict("records")
    assert row == {"n": 0, "cache": "False", "cpu": "generic", "threads": "1"}


def test_a_task_that_fails_is_named_and_the_others_are_kept(store, tmp_path):
    seen, broken = tmp_path / "seen", tmp_path / "broken"
    seen.mkdir()
    broken.touch()
    tasks = make_tasks(6, seen)
    tasks[3]["broken"] = str(broken)
    with pytest.raises(RuntimeError, match=r"square failed for .*'n': 3.*broken.*kept in"):
        mapping.run_tasks(square, tasks, store, workers=1)
    broken.unlink()
    before = {json.dumps(json.loads(line)[0]) for line in store.read_text().splitlines()[1:]}
    count = len(calls(seen))
    table = mapping.run_tasks(square, tasks, store, workers=1)
    assert table["n"].tolist() == [0, 1, 1, 2, 3, 3, 4, 5, 5]
    assert before
    # What was kept is not computed again.
    assert len(calls(seen)) == count + len(tasks) - len(before)


def test_a_finished_run_computes_nothing(store, tmp_path):
    first = mapping.run_tasks(square, make_tasks(3, tmp_path / "store"), store, workers=1)
    again = mapping.run_tasks(
        square, make_tasks(3, tmp_path / "store"), store, scheduler="tcp://127.0.0.1:1"
    )
    pd.testing.assert_frame_equal(first, again)


def test_a_line_that_was_cut_short_is_computed_again(store):
    first = mapping.run_tasks(square, make_tasks(3), store, workers=1)
    store.write_text(store.read_text()[:-9])
    assert len(store.read_text().splitlines()) == 4
    pd.testing.assert_frame_equal(first, mapping.run_tasks(square, make_tasks(3), store, workers=1))
    assert store.read_text().count("\n") == 4


def test_results_of_another_version_are_not_mixed_in(store, monkeypatch):
    mapping.run_tasks(square, make_tasks(1), store, workers=1)
    with pytest.raises(ValueError, match=r"another version \(of work\); move it away"):
        mapping.run_tasks(settings, [{"n": 0}], store)
    monkeypatch.setitem(mapping.VERSIONS, "pymc", "5")
    with pytest.raises(ValueError, match=r"another version \(of pymc\)"):
        mapping.run_tasks(square, make_tasks(2), store)


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        ([{"n": 1}, {"n": 1}], {}, "alike"),
        ([{"n": 1}], {"workers": 0}, "at least 1, got 0"),
        ([{"n": 1}], {"workers": 1, "scheduler": "tcp://127.0.0.1:1"}, "not both"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(store, tasks, options, message):
    with pytest.raises(ValueError, match=message):
        mapping.run_tasks(square, tasks, store, **options)
    assert not store.exists()


def test_a_scheduler_that_is_not_there(store):
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1"):
        mapping.run_tasks(square, make_tasks(1), store, scheduler="tcp://127.0.0.1:1")


def test_workers_with_two_threads_are_refused(store):
    with (
        LocalCluster(1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as cluster,
        pytest.raises(ValueError, match=r"one thread each.*--nthreads 1"),
    ):
        mapping.run_tasks(square, make_tasks(1), store, scheduler=cluster.scheduler_address)


def test_a_worker_that_computed_under_other_settings_is_refused(monkeypatch):
    import pytensor  # noqa: F401

    for name, value in mapping.REPEATABLE.items():
        monkeypatch.setenv(name, value)
    mapping._Environment().setup(None)
    monkeypatch.setenv("NUMBA_CPU_NAME", "host")
    with pytest.raises(RuntimeError, match=r"NUMBA_CPU_NAME.*fresh one"):
        mapping._Environment().setup(None)


@pytest.fixture
def cluster():
    """A scheduler and two workers, each a process of its own, on 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    nowhere = ["--dashboard-address", "127.0.0.1:0"]
    commands = [[*dask, "--host", address, *nowhere]]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address]
    commands += [[*worker, "--nthreads", "1", "--no-nanny", *nowhere]] * 2
    processes = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for command in commands
    ]
    try:
        with Client(address, timeout="60s") as client:
            client.wait_for_workers(2, timeout=60)
        yield address, processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_worker_that_is_killed_loses_nothing(cluster, store, tmp_path):
    address, workers = cluster
    seen = tmp_path / "seen"
    seen.mkdir()
    tasks = make_tasks(40, seen, seconds=0.1)
    killer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import os, signal, time\n"
            f"while len(os.listdir({str(seen)!r})) < 8: time.sleep(0.01)\n"
            f"os.kill({workers[0].pid}, {int(signal.SIGKILL)})",
        ]
    )
    table = mapping.run_tasks(square, tasks, store, scheduler=address)
    assert killer.wait(timeout=60) == 0
    assert workers[0].wait(timeout=60) == -signal.SIGKILL
    assert workers[1].poll() is None
    assert table["square"].tolist() == [n**2 for n in range(40) for _ in range(1 + n % 2)]
    # It died over a task, which another one did again.
    assert set(calls(seen)) == set(range(40))


def test_the_command_line_names_what_it_does_not_know(capsys):
    with pytest.raises(SystemExit):
        main(["cantering"])
    assert "no study 'cantering', only centering, " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"])
    assert "not allowed with" in capsys.readouterr().err
