"""Grade one submission: read it as a stranger's, run it in boxes, ask it, compare outside.

What grading finds out about a submission is one dictionary of plain values, the *result*, which
:mod:`grading.gradebook` reads; its form is described there.
"""

import base64
import hashlib
import io
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from grading import box
from grading.making import CORNER, load
from grading.questions import Answer, Check, Question, Request, earned

__all__ = ["Task", "Unreadable", "grade", "read", "unreadable"]

#: The largest notebook that is read, in bytes.
LARGEST = 20_000_000
#: Of a figure, in pixels.
WIDEST = 2000
#: Of a paragraph, in characters.
LONGEST = 20_000


class Unreadable(ValueError):
    """What was handed in is no notebook of this set."""


@dataclass(frozen=True)
class Task:
    """All that it takes to grade one submission, wherever that is done.

    Parameters
    ----------
    set : str
        The set, a folder of `assignments`.
    numbers : dict
        Of the class, from the bundle of the set.
    key_check : str
        Tells the notebooks of this class.
    name : str
        Of the file, as it was handed in.
    content : bytes
        Of the file.
    seed : int
        Of the requests; it is kept, so that a score can be reproduced.
    only : str, optional
        The one question to grade.
    boxed : bool
        False grades without a box.
    boxes : str
        Folder for what goes into the boxes.
    limits : box.Limits
        What a box may take.
    """

    set: str
    numbers: dict[str, Any]
    key_check: str
    name: str
    content: bytes
    seed: int
    only: str | None = None
    boxed: bool = True
    boxes: str = ""
    limits: box.Limits = field(default_factory=box.Limits)


@dataclass(frozen=True)
class Submission:
    """A notebook, as far as grading looks at it.

    Parameters
    ----------
    cells : list of box.Cell
        Its code.
    texts : dict
        By question, what was written for it in words.
    remarks : list of str
        What is odd about it.
    suspicious : bool
        Whether a remark is a reason for a person to look.
    """

    cells: list[box.Cell]
    texts: dict[str, str]
    remarks: list[str]
    suspicious: bool


def read(task: Task, questions: Sequence[Question]) -> Submission:
    """Read a notebook without believing it.

    Parameters
    ----------
    task : Task
        With the content.
    questions : sequence of Question
        Of the set.

    Returns
    -------
    Submission
        Code, texts and remarks.

    Raises
    ------
    Unreadable
        If it is too large, no notebook, or the notebook of another set.
    """
    if not task.content:
        raise Unreadable("the file is empty, or a symbolic link, which is not followed")
    if len(task.content) > LARGEST:
        raise Unreadable(f"the file has more than {LARGEST // 1_000_000} MB")
    try:
        notebook = box.parse(task.content)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the file is no notebook: {error}") from error
    cells, metadata = notebook.get("cells"), notebook.get("metadata")
    if notebook.get("nbformat") != 4 or type(cells) is not list or type(metadata) is not dict:
        raise Unreadable("the file is no notebook of version 4")
    claims = _corner(metadata)
    remarks, suspicious = [], False
    if claims.get("set") not in (None, task.set):
        raise Unreadable(f"it is a notebook of another set than {task.set}")
    if claims.get("key_check") not in (None, task.key_check):
        remarks.append("its metadata are those of another class")
        suspicious = True
    elif not claims:
        remarks.append("the metadata of the set are missing")
    manual = {question.name for question in questions if question.manual}
    code, texts, seen = [], dict[str, str](), list[str]()
    for cell in cells:
        source = _source(cell)
        about = _corner(cell.get("metadata")) if type(cell) is dict else {}
        if source is None or about.get("role") == "check":
            continue
        question = about.get("question") if about.get("question") in manual else None
        if cell.get("cell_type") == "code":
            code.append(box.Cell(source, question if about.get("role") == "answer" else None))
        elif question and about.get("role") == "answer":
            texts[question] = (texts.get(question, "") + "\n\n" + source).strip()[:LONGEST]
        if about.get("role") == "answer" and type(about.get("question")) is str:
            seen.append(about["question"])
    if gone := [q.name for q in questions if q.name not in seen] if claims else []:
        remarks.append(f"cells of {', '.join(gone)} are missing")
    return Submission(code, texts, remarks, suspicious)


def _corner(metadata: Any) -> dict[str, Any]:
    corner = metadata.get(CORNER) if type(metadata) is dict else None
    return corner if type(corner) is dict else {}


def _source(cell: Any) -> str | None:
    """Give the text of a cell; in a file it may be a list of lines."""
    source = cell.get("source") if type(cell) is dict else None
    if type(source) is list and all(type(line) is str for line in source):
        source = "".join(source)
    return source if type(source) is str else None


def grade(task: Task) -> dict[str, Any]:
    """Grade a submission.

    Parameters
    ----------
    task : Task
        What to grade, and how.

    Returns
    -------
    dict
        The result. Whatever the submission is or does, there is one.

    Raises
    ------
    box.Refusal
        If there can be no box on this machine.
    """
    begun = time.monotonic()
    problems = load(task.set)
    questions = [q for q in problems.questions if task.only in (None, q.name)]
    try:
        submission = read(task, problems.questions)
    except Unreadable as error:
        return unreadable(task, str(error), questions)
    status = "suspicious" if submission.suspicious else "graded"
    reasons, figures = list(submission.remarks), dict[str, str]()
    graded = {q.name: _manual(q) for q in questions if q.manual}
    policies = sorted({q.may_use for q in questions if not q.manual}) or [()]
    for policy in policies:
        asked = [q for q in questions if not q.manual and q.may_use == policy]
        requests = {q.name: _draw(task, q) for q in asked}
        flat = [request for q in asked for request in requests[q.name]]
        course = box.prepare(Path(task.boxes), policy)
        out = box.run(submission.cells, flat, course, limits=task.limits, boxed=task.boxed)
        answers = list(zip(flat, out.answers, out.waited, strict=True))
        for question in asked:
            mine = [each for each in answers if each[0].question == question.name]
            graded[question.name] = _scored(task, question, mine)
        status = box.worse(status, out.status)
        reasons += [reason for reason in out.reasons if reason not in reasons]
        figures |= out.figures
    manual = [q.name for q in questions if q.manual]
    return _result(task) | {
        "status": status,
        "reasons": reasons[:20],
        "seconds": round(time.monotonic() - begun, 2),
        "questions": [graded[q.name] for q in questions],
        "manual": [
            {
                "name": name,
                "figure": _figure(figures.get(name)),
                "text": submission.texts.get(name, ""),
            }
            for name in manual
        ],
    }


def unreadable(
    task: Task, reason: str, questions: Sequence[Question], status: str = "unreadable"
) -> dict[str, Any]:
    """Give the result of a submission of which nothing could be asked.

    Parameters
    ----------
    task : Task
        What was to be graded.
    reason : str
        Why not.
    questions : sequence of Question
        That were to be asked.
    status : {"unreadable", "crashed"}
        What to call it.

    Returns
    -------
    dict
        A result without points.
    """
    kind = "crashed" if status == "crashed" else "missing"
    rows = [_manual(q) if q.manual else _row(q, kind, 0.0, []) for q in questions]
    return _result(task) | {
        "status": status,
        "reasons": [reason],
        "seconds": 0.0,
        "questions": rows,
        "manual": [{"name": q.name, "figure": None, "text": ""} for q in questions if q.manual],
    }


def _result(task: Task) -> dict[str, Any]:
    return {
        "version": 1,
        "set": task.set,
        "file": task.name,
        "sha256": hashlib.sha256(task.content).hexdigest(),
        "boxed": task.boxed,
        "seed": task.seed,
    }


def _row(
    question: Question, status: str, seconds: float, checks: Sequence[Check]
) -> dict[str, Any]:
    return {
        "name": question.name,
        "title": question.title,
        "section": question.section,
        "points": round(earned(checks), 6),
        "max": question.points,
        "status": status,
        "seconds": round(seconds, 3),
        "checks": [{"text": c.text, "passed": c.passed, "points": c.points} for c in checks],
    }


def _manual(question: Question) -> dict[str, Any]:
    return _row(question, "manual", 0.0, []) | {"points": None}


def _draw(task: Task, question: Question) -> list[Request]:
    """Draw the requests of a question; they depend on no other question."""
    assert question.draw is not None
    digest = hashlib.sha256(f"{task.seed} {question.name}".encode()).digest()
    return question.draw(np.random.default_rng(list(digest)), task.numbers)


def _scored(
    task: Task, question: Question, asked: Sequence[tuple[Request, Answer, float]]
) -> dict[str, Any]:
    assert question.score is not None
    requests, answers = [each[0] for each in asked], [each[1] for each in asked]
    seconds = sum(each[2] for each in asked)
    found = {answer.status for answer in answers}
    status = "graded"
    if "timeout" in found:
        status = "timed out"
    elif found == {"missing"}:
        status = "missing"
    elif found == {"error"}:
        status = "crashed"
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            checks = question.score(requests, answers, task.numbers)
    except Exception:  # an answer that no author thought of is a wrong answer
        checks = [Check("The answer has a form that can be compared", False, question.points)]
    return _row(question, status, seconds, checks)


def _figure(text: str | None) -> str | None:
    """Draw a figure anew, so that nothing but pixels is left of it; None if it is none."""
    if not text or len(text) > 2_000_000:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"])
            if max(image.size) > WIDEST:
                return None
            pixels = image.convert("RGB")
    except Exception:  # a stranger's file, and an image library
        return None
    buffer = io.BytesIO()
    pixels.save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def digest(task: Task) -> str:
    """Name everything that a result depends on, but for the seed.

    Parameters
    ----------
    task : Task
        What to grade.

    Returns
    -------
    str
        Another one if the file, the class or the question changes.
    """
    parts = [task.set, task.key_check, task.only, task.boxed, task.name]
    parts += [json.dumps(task.numbers, sort_keys=True), hashlib.sha256(task.content).hexdigest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
