"""A hostile corpus: whatever a submission tries, it gets what its answers are worth, and no more.

The problem set is a small one of its own, so that a box stands for a second or two. Each entry of
the corpus is a cell that comes before or after the honest ones.
"""

import base64
import dataclasses
import json
import math
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from hostile import FULL, NOTHING, RIGHT_ANSWERS, WRONG_ANSWERS
from scipy import stats

from grading import box, making, scoring
from grading.questions import Check, Question, Request, close

pytestmark = pytest.mark.slow

LIMITS = box.Limits(memory=1500, processes=40, file=20, scratch=60, cell=3, wall=60)
KEY = "the class"

HONEST = {
    "q1": "def triple(x):\n    return 3 * x + 1",
    "q2": "import numpy as np\n\ndef sums(xs):\n    return np.cumsum(xs)",
    "q3": """
import pymc as pm

def model(y):
    with pm.Model() as m:
        s = pm.HalfNormal("s", 2)
        pm.Normal("y", 0, s, observed=y)
    return m
""",
}
POINTS = {"q1": 2.0, "q2": 3.0, "q3": 4.0}
NONE = dict.fromkeys(POINTS, 0.0)


def ask_triple(rng, given):
    return [Request("q1", "triple", (float(x),), seconds=3) for x in rng.uniform(-5, 5, 3)]


def score_triple(requests, answers, given):
    right = [close(a.value, 3 * r.arguments[0] + 1) for r, a in zip(requests, answers, strict=True)]
    return [Check("Three times a number, plus one", all(right), POINTS["q1"])]


def ask_sums(rng, given):
    return [Request("q2", "sums", ({"array": rng.normal(size=6).tolist()},), seconds=3)]


def score_sums(requests, answers, given):
    truth = np.cumsum(requests[0].arguments[0]["array"])
    return [Check("The running sums", close(answers[0].value, truth), POINTS["q2"])]


def ask_model(rng, given):
    y = {"array": rng.normal(size=5).tolist()}
    points = tuple({"s": s} for s in rng.uniform(0.5, 3, 3).tolist())
    return [Request("q3", "model", (y,), "model", points, seconds=40)]


def score_model(requests, answers, given):
    y = np.array(requests[0].arguments[0]["array"])
    truth = [
        stats.halfnorm.logpdf(p["s"], scale=2) + stats.norm.logpdf(y, 0, p["s"]).sum()
        for p in requests[0].points
    ]
    value = answers[0].value if type(answers[0].value) is dict else {}
    right = close(value.get("logp"), truth, rtol=1e-6)
    return [Check("The log density at fresh points", right, POINTS["q3"])]


QUESTIONS = (
    Question("q1", "A line", 2, "easy", "x.html#x", draw=ask_triple, score=score_triple),
    Question("q2", "Sums", 3, "easy", "x.html#x", draw=ask_sums, score=score_sums),
    Question("q3", "A model", 4, "hard", "x.html#x", draw=ask_model, score=score_model),
    Question("q4", "A figure", 1, "easy", "x.html#x", manual=True),
)


@pytest.fixture(autouse=True)
def small_set(monkeypatch):
    """Grade the questions above, whatever the set is called."""
    whole = making.load("pooling")
    small = dataclasses.replace(whole, name="small", questions=QUESTIONS)
    monkeypatch.setattr(scoring, "load", lambda name: small)


def cell(source, question=None, role="answer", kind="code"):
    corner = {"question": question, "role": role} if question else {}
    return {
        "cell_type": kind,
        "metadata": {making.CORNER: corner},
        "source": source,
        "outputs": [],
    }


def notebook(*before, after=(), answers=HONEST, questions=("q1", "q2"), claims=True):
    cells = [cell(source) for source in before]
    cells += [cell(answers[name], name) for name in questions]
    cells += [cell(source) for source in after]
    corner = {"set": "small", "key_check": KEY} if claims else {}
    return {"nbformat": 4, "metadata": {making.CORNER: corner}, "cells": cells}


def grade(content, boxes, questions=("q1", "q2"), limits=LIMITS):
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    task = scoring.Task("small", {}, KEY, "x.ipynb", content, 7, boxes=boxes, limits=limits)
    result = scoring.grade(task)
    json.dumps(result, allow_nan=False)
    found = {each["name"]: each["points"] for each in result["questions"]}
    return result, {name: found[name] for name in questions}


WRONG = {
    **HONEST,
    "q1": "def triple(x):\n    return 0.0",
    "q2": "def sums(xs):\n    return [0.0] * len(xs)",
}


@pytest.mark.parametrize("name", RIGHT_ANSWERS)
def test_what_right_answers_get(boxes, name):
    before, after, status, points = RIGHT_ANSWERS[name]
    result, found = grade(notebook(*before, after=after), boxes)
    wanted = status if isinstance(status, tuple) else (status,)
    assert status is None or result["status"] in wanted, (result["status"], result["reasons"])
    assert points is None or found == points
    if result["status"] != "graded":
        assert result["reasons"]
    if result["status"] == "timed out" and points == NOTHING:
        assert {each["status"] for each in result["questions"][:2]} == {"timed out"}


@pytest.mark.parametrize("name", WRONG_ANSWERS)
def test_wrong_answers_get_nothing(boxes, name):
    after = [WRONG_ANSWERS[name]]
    _, found = grade(notebook(after=after, answers=WRONG), boxes)
    assert found == NOTHING


def test_the_box_holds_nothing_that_is_worth_reading(boxes):
    """Looks everywhere for tests, expected values, keys, other files, other processes."""
    spy = """
import os
def triple(x):
    found, seen = [], 0
    for place, folders, files in os.walk("/"):
        if place.startswith(("/proc", "/sys", "/dev", "/packages", "/usr")):
            continue
        seen += len(files)
        found += [f"{place}/{name}" for name in files if name in
                  ("questions.py", "bundle.json", "scoring.py", "master.md", "seeds.json",
                   "models.py", "exact.py", "x.ipynb", "shadow", "id_rsa")]
    return {"files": [f for f in found if "funnel" in f or "/course" in f], "seen": seen}
def sums(xs):
    pids = [p for p in os.listdir("/proc") if p.isdigit()]
    lines = [open(f"/proc/{p}/cmdline").read() for p in pids]
    secrets = [v for p in pids for v in open(f"/proc/{p}/environ").read().split("\\0")
               if "KEY" in v or "TOKEN" in v]
    return [len(pids), secrets, sorted(os.environ), lines]
"""
    answers = HONEST | {"q1": spy, "q2": ""}
    task = scoring.Task(
        "small", {"secret": 4711}, KEY, "x.ipynb", json.dumps(notebook(answers=answers)).encode(),
        7, boxes=boxes, limits=LIMITS,
    )  # fmt: skip
    requests = [Request("q1", "triple", (1.0,)), Request("q2", "sums", ([1.0],))]
    cells = scoring.read(task, QUESTIONS).cells
    out = box.run(cells, requests, box.prepare(Path(boxes)), limits=LIMITS)
    files, (count, secrets, names, lines) = (answer.value for answer in out.answers)
    assert files["files"] == []
    assert files["seen"] > 0
    assert count <= 3
    assert secrets == []
    assert set(names) <= {*box.environment("", "", ""), "PWD", "LC_CTYPE"}
    assert not any("4711" in line or "pytest" in line for line in lines)


def test_there_is_no_network_and_no_other_user(boxes):
    probe = """
import os, socket, subprocess
def triple(x):
    def reach(where):
        with socket.socket() as s:
            s.settimeout(1)
            return s.connect_ex(where) == 0
    return {"uid": os.getuid(), "out": reach(("192.0.2.1", 80)), "host": reach(("127.0.0.1", %d))}
def sums(xs):
    libc = __import__("ctypes").CDLL(None, use_errno=True)
    return [libc.unshare(0x10000000), libc.setuid(0), libc.mount(b"x", b"/work", b"tmpfs", 0, None)]
"""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        cells = [box.Cell(probe % port)]
        requests = [Request("q1", "triple", (1.0,)), Request("q2", "sums", ([1.0],))]
        out = box.run(cells, requests, box.prepare(Path(boxes)), limits=LIMITS)
    assert out.answers[0].value == {"uid": 1000, "out": False, "host": False}
    assert out.answers[1].value == [-1, -1, -1]


def test_nothing_outlives_the_box(boxes):
    leave = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for each in (signal.SIGTERM, signal.SIGHUP): signal.signal(each, signal.SIG_IGN)
        while True: time.sleep(0.1)
    os._exit(0)
"""
    result, found = grade(notebook(leave), boxes)
    assert (result["status"], found) == ("graded", FULL)
    time.sleep(0.5)
    mine = [
        p for p in psutil.process_iter(["cmdline"]) if boxes in " ".join(p.info["cmdline"] or [])
    ]
    assert mine == []
    for kind, folder in box._hierarchies().items():
        left = [path.name for path in folder.glob(f"submission-{os.getpid()}-*")]
        assert left == [], kind


def test_a_model_of_the_right_shape_with_another_density(boxes):
    patient = dataclasses.replace(LIMITS, cell=60)  # to load PyMC
    right, found = grade(notebook(questions=("q3",)), boxes, ("q3",), patient)
    assert found == {"q3": 4.0}, right["reasons"]
    variance = HONEST["q3"].replace('pm.HalfNormal("s", 2)', 'pm.HalfNormal("s", 4)')
    _, found = grade(notebook(answers={"q3": variance}, questions=("q3",)), boxes, ("q3",), patient)
    assert found == {"q3": 0.0}
    nothing = "class M:\n    free_RVs = []\ndef model(y): return M()"
    _, found = grade(notebook(answers={"q3": nothing}, questions=("q3",)), boxes, ("q3",), patient)
    assert found == {"q3": 0.0}


def test_cells_deleted_doubled_and_in_another_order(boxes):
    less = notebook(questions=("q2",))
    result, found = grade(less, boxes)
    assert found == {"q1": 0.0, "q2": 3.0}
    assert result["questions"][0]["status"] == "missing"
    assert any("q1" in reason for reason in result["reasons"])
    twice = notebook(questions=("q2", "q1", "q1", "q2"))
    assert grade(twice, boxes)[1] == FULL
    later = notebook(after=[WRONG["q1"]])  # the last definition is the answer
    assert grade(later, boxes)[1] == {"q1": 0.0, "q2": 3.0}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"{", "no notebook"),
        (b"\xff\xfe\x00", "no notebook"),
        (b"[" * 100_000, "nested"),
        (b'{"nbformat": 4, "cells": 3, "metadata": {}}', "version 4"),
        (b'{"nbformat": NaN}', "no notebook"),
        (b"x" * (scoring.LARGEST + 1), "MB"),
        (json.dumps({**notebook(), "metadata": {making.CORNER: {"set": "priors"}}}).encode(),
         "another set"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_to_be_so(boxes, content, reason):
    result, found = grade(content, boxes)
    assert result["status"] == "unreadable"
    assert reason in result["reasons"][0]
    assert found == NOTHING


def test_odd_cells_are_passed_over(boxes):
    odd = notebook()
    odd["cells"] = [
        None, 3, {"cell_type": "code"}, {"source": {"a": 1}, "cell_type": "code"},
        {"cell_type": "code", "source": ["x = ", "1"], "metadata": []}, *odd["cells"],
    ]  # fmt: skip
    assert grade(odd, boxes)[1] == FULL


def test_another_class_is_looked_at(boxes):
    other = notebook()
    other["metadata"][making.CORNER]["key_check"] = "another"
    result, found = grade(other, boxes)
    assert (result["status"], found) == ("suspicious", FULL)


def test_figures_are_drawn_anew_and_texts_are_kept(boxes):
    draw = """
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(2, 2)); ax.plot([1, 2])
"""
    made = notebook()
    made["cells"] += [cell(draw, "q4"), cell("My **view**.", "q4", kind="markdown")]
    (manual,) = grade(made, boxes)[0]["manual"]
    assert manual["text"] == "My **view**."
    assert base64.b64decode(manual["figure"]).startswith(b"\x89PNG")
    svg = base64.b64encode(b"<svg onload='alert(1)'/>").decode()
    say = f"import os, sys, json\nos.write(int(sys.argv[-1]), json.dumps({{'figure': {svg!r}, "
    say += "'question': 'q4'}).encode() + b'\\n')"
    (manual,) = grade(notebook(say), boxes)[0]["manual"]
    assert manual["figure"] is None


def test_the_same_seed_gives_the_same_score(boxes):
    guess = notebook(answers=HONEST | {"q1": "import random\ndef triple(x): return 3 * x + 1"})
    first, second = (grade(guess, boxes)[0] for _ in range(2))
    for each in (first, second):
        del each["seconds"]
        for question in each["questions"]:
            del question["seconds"]
    assert first == second


def test_without_a_box_the_result_says_so(boxes):
    task = scoring.Task(
        "small", {}, KEY, "x.ipynb", json.dumps(notebook()).encode(), 7,
        boxes=boxes, boxed=False, limits=LIMITS,
    )  # fmt: skip
    result = scoring.grade(task)
    assert not result["boxed"]
    assert [q["points"] for q in result["questions"][:2]] == [2.0, 3.0]


def readable_by_nobody():
    """Tell whether a user without rights can start the interpreter."""
    command = ["setpriv", f"--reuid={box.NOBODY}", f"--regid={box.NOBODY}", "--clear-groups"]
    return subprocess.run([*command, box.interpreter()[0], "-c", ""], cwd="/").returncode == 0


def test_without_control_groups_the_box_is_watched(boxes, monkeypatch):
    def none():
        raise OSError("no control groups")

    monkeypatch.setattr(box, "_hierarchies", none)
    if os.geteuid() == 0 and not readable_by_nobody():
        # Root's own interpreter: refused, rather than run with more rights.
        with pytest.raises(box.Refusal, match="Permission denied"):
            grade(notebook(), boxes)
        return
    result, found = grade(notebook(), boxes)
    assert (result["status"], found) == ("graded", FULL)
    eats = "x = []\nwhile True: x.append(b'x' * 10_000_000)"
    assert grade(notebook(eats), boxes)[0]["status"] == "crashed"


def test_no_bubblewrap_no_grading(boxes, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(box.Refusal, match="apt-get install bubblewrap"):
        grade(notebook(), boxes)


def test_points_are_never_invented():
    assert math.isclose(sum(POINTS.values()), sum(q.points for q in QUESTIONS if not q.manual))
