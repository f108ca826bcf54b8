"""Many submissions: each reported once, whatever becomes of the workers."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from distributed import LocalCluster

from grading import jobs, key, making, rehearsal, scoring


@pytest.fixture(scope="module")
def problems():
    return making.load("pooling")


@pytest.fixture(scope="module")
def bundle(problems):
    return making.bundle(problems, key.DEMONSTRATION)


def task(problems, bundle, kind, boxes, name="x.ipynb", before=()):
    notebook = making.archetype(problems, kind, key.DEMONSTRATION)
    content = json.loads(making.write_notebook(notebook))
    cells = [{"cell_type": "code", "metadata": {}, "source": source} for source in before]
    content["cells"] = cells + content["cells"]
    return scoring.Task(
        set="pooling", numbers=bundle["numbers"], key_check=bundle["key_check"], name=name,
        content=json.dumps(content).encode(), seed=1, boxes=boxes,
    )  # fmt: skip


def points(result):
    return {q["name"]: q["points"] for q in result["questions"] if q["status"] != "manual"}


def results(out):
    folder = out / "private" / "results"
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.mark.parametrize(
    "address",
    ["tcp://10.0.0.5:8786", "tcp://example.org:1", "ws://127.0.0.1:1", "127.0.0.1:8786", "tcp://"],
)
def test_schedulers_in_the_clear_are_refused(address):
    with pytest.raises(ValueError, match="unpickles"):
        jobs.security_for(address, None, None, None)


def test_loopback_may_be_plain_and_tls_needs_its_files(tmp_path):
    assert jobs.security_for("tcp://127.0.0.1:8786", None, None, None) is None
    assert jobs.security_for("tcp://localhost:8786", None, None, None) is None
    with pytest.raises(ValueError, match="--tls-ca"):
        jobs.security_for("tls://10.0.0.5:8786", "ca.pem", None, None)
    security = jobs.security_for("tls://10.0.0.5:8786", "ca.pem", "cert.pem", "key.pem")
    assert security.require_encryption


def test_seeds_are_drawn_once_and_kept(tmp_path):
    path = tmp_path / "seeds.json"
    first = jobs.seeds(path, ["a", "b"])
    assert jobs.seeds(path, ["b", "c"])["b"] == first["b"]
    assert set(json.loads(path.read_text())) == {"a", "b", "c"}
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("[]")
    with pytest.raises(ValueError, match="seeds"):
        jobs.seeds(path, ["a"])


def test_a_question_graded_again_takes_the_place_of_the_old_one():
    old = {
        "status": "crashed", "reasons": ["x"], "manual": [],
        "questions": [{"name": "q1", "points": 0}, {"name": "q2", "points": 2}],
    }  # fmt: skip
    new = {"status": "graded", "reasons": [], "manual": [],
           "questions": [{"name": "q1", "points": 3}]}  # fmt: skip
    merged = jobs.with_one_anew(old, new)
    assert [q["points"] for q in merged["questions"]] == [3, 2]
    assert jobs.with_one_anew(None, new) == new


@pytest.mark.slow
@pytest.mark.parametrize("kind", making.KINDS)
def test_honest_submissions_score_in_a_box_what_they_score_outside(problems, bundle, boxes, kind):
    result = scoring.grade(task(problems, bundle, kind, boxes))
    assert result["status"] == "graded", result["reasons"]
    assert points(result) == rehearsal.expected(problems, kind)


@pytest.mark.slow
def test_a_class_is_graded_once_and_again_only_where_it_changed(problems, bundle, boxes, tmp_path):
    tasks = {
        f"s{i}": task(problems, bundle, kind, boxes, f"s{i}.ipynb")
        for i, kind in enumerate(["full", "half", "blank", "wrong_idea"])
    }
    tasks["hostile"] = task(
        problems, bundle, "full", boxes, "hostile.ipynb", ["import os\nos._exit(1)"]
    )
    about = {name: {"student": name, "identity": "ok"} for name in tasks}
    seen = []
    count = jobs.grade_all(
        tasks, tmp_path, about=about, workers=2, progress=lambda name, _: seen.append(name)
    )
    assert count == 5
    assert sorted(seen) == sorted(tasks)
    found = results(tmp_path)
    for i, kind in enumerate(["full", "half", "blank", "wrong_idea"]):
        assert points(found[f"s{i}"]) == rehearsal.expected(problems, kind)
        assert found[f"s{i}"]["student"] == f"s{i}"
    assert found["hostile"]["status"] == "crashed"

    times = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "private/results").iterdir()}
    assert jobs.grade_all(tasks, tmp_path, about=about, workers=2) == 0
    assert times == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "private/results").iterdir()}
    changed = tasks | {"s2": task(problems, bundle, "half", boxes, "s2.ipynb")}
    (tmp_path / "private/results/s3.json").write_text('{"cut sh')
    assert jobs.grade_all(changed, tmp_path, about=about, workers=2) == 2
    assert points(results(tmp_path)["s2"]) == rehearsal.expected(problems, "half")
    # One question again: the others keep their scores.
    again = {"s0": replace(tasks["s0"], only="q2", seed=9)}
    assert jobs.grade_all(again, tmp_path, about=about, workers=1) == 1
    assert points(results(tmp_path)["s0"]) == rehearsal.expected(problems, "full")


def give_up(task):
    """Stand for a submission that takes its worker down, as none can from its box."""
    import os
    import signal

    if task.name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    questions = making.load(task.set).questions
    return scoring.unreadable(task, "not looked at", questions)


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_one_that_kills_two_is_crashed(
    problems, bundle, tmp_path, monkeypatch
):
    monkeypatch.setattr(jobs, "here", give_up)
    empty = scoring.Task("pooling", bundle["numbers"], bundle["key_check"], "x", b"", 1)
    tasks = {f"s{i}": replace(empty, name=f"s{i}") for i in range(20)}
    tasks["deadly"] = replace(empty, name="deadly")
    about = {name: {} for name in tasks}
    seen = []
    with (
        jobs.config.set(jobs.DEATHS),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        victim = next(iter(cluster.workers.values()))

        def tell(name, _):
            seen.append(name)
            if len(seen) == 3:
                subprocess.run(["kill", "-9", str(victim.pid)], check=False)

        count = jobs.grade_all(
            tasks, tmp_path, about=about, scheduler=cluster.scheduler_address, progress=tell
        )
    assert count == 21
    assert sorted(seen) == sorted(tasks)
    found = results(tmp_path)
    assert found.pop("deadly")["status"] == "crashed"
    assert {each["status"] for each in found.values()} == {"unreadable"}


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "grading", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--unsafe-no-box" in done.stdout
