"""Honest submissions, scored in this process: for authors and for tests, never for strangers.

A submission that is handed in runs in a box. The submissions of `answers.py` are our own, and many
are scored at many class keys, so these take the short way: the cells are executed here, and the
requests of each question answered by calling what they define.
"""

import contextlib
import io
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from nbformat import NotebookNode

from grading import key, runner
from grading.making import CORNER, ProblemSet, archetype, numbers
from grading.questions import Answer, Check, Question, Request, earned

__all__ = ["check_keys", "execute", "reply", "score", "scores"]


def execute(notebook: NotebookNode) -> dict[str, Any]:
    """Execute the cells of a notebook, but for those of otter, and give what they define.

    Parameters
    ----------
    notebook : NotebookNode
        Ours, not a stranger's.

    Returns
    -------
    dict
        Names and objects. A cell that fails defines what it had defined until then.
    """
    space: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook.cells:
        ours = cell.metadata.get(CORNER, {}).get("role") == "check" or "import otter" in cell.source
        if cell.cell_type == "code" and not ours:
            with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
                exec(compile(cell.source, cell.id, "exec"), space)
    plt.close("all")
    return space


def reply(space: dict[str, Any], request: Request) -> Answer:
    """Answer a request from what a notebook has defined.

    Parameters
    ----------
    space : dict
        From :func:`execute`.
    request : Request
        What is asked.

    Returns
    -------
    Answer
        As the box would give it.
    """
    return Answer(**runner.reply(space, asdict(request)))


def score(
    question: Question, space: dict[str, Any], given: dict[str, Any], rng: np.random.Generator
) -> list[Check]:
    """Ask one question of a notebook and score what comes back.

    Parameters
    ----------
    question : Question
        One that no person marks.
    space : dict
        From :func:`execute`.
    given : dict
        Numbers of the class.
    rng : numpy.random.Generator
        Where the requests come from.

    Returns
    -------
    list of Check
        What was checked.
    """
    if question.draw is None or question.score is None:
        raise ValueError(f"{question.name} is marked by a person")
    requests = question.draw(rng, given)
    return question.score(requests, [reply(space, request) for request in requests], given)


def scores(
    problems: ProblemSet, kind: str, class_key: bytes, *, seed: int, as_class: bytes | None = None
) -> dict[str, float]:
    """Score an honest submission.

    Parameters
    ----------
    problems : ProblemSet
        The set.
    kind : str
        Its kind.
    class_key : bytes
        The class that it was written for.
    seed : int
        Of the requests.
    as_class : bytes, optional
        The class in which it is handed in, if that is another one.

    Returns
    -------
    dict
        Points by question, for those that no person marks.
    """
    space = execute(archetype(problems, kind, class_key))
    return marks(problems, space, as_class or class_key, seed)


def marks(
    problems: ProblemSet, space: dict[str, Any], class_key: bytes, seed: int
) -> dict[str, float]:
    """Score what a notebook has defined, by question, for the class of this key."""
    given, rng = numbers(problems, class_key), np.random.default_rng(seed)
    return {
        question.name: earned(score(question, space, given, rng))
        for question in problems.questions
        if not question.manual
    }


def expected(problems: ProblemSet, kind: str) -> dict[str, float]:
    """Say what an honest submission must score, by question."""
    named = problems.archetypes[kind].scores
    return {q.name: named.get(q.name, 0.0) for q in problems.questions if not q.manual}


def asked_of(cell: NotebookNode) -> str | None:
    """Tell which question a cell belongs to."""
    return cell.metadata.get(CORNER, {}).get("question")


def check_keys(sets: Sequence[ProblemSet], count: int, report: Path) -> int:
    """Hand in the full solution at random class keys: in its own class, and in another one.

    Parameters
    ----------
    sets : sequence of ProblemSet
        The sets.
    count : int
        How many keys.
    report : Path
        A JSON file, in which the lines of these sets are replaced.

    Returns
    -------
    int
        The exit code: 0 if every solution had full marks in its class and none in the other.
    """
    found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    failed = 0
    for problems in sets:
        full, none = 0, 0
        manual = {question.name for question in problems.questions if question.manual}
        for _ in range(count):
            text, seed = key.make(), secrets.randbits(32)
            notebook = archetype(problems, "full", key.read(text))
            # Figures and texts, which people mark, need not be made each time.
            notebook.cells = [cell for cell in notebook.cells if asked_of(cell) not in manual]
            space = execute(notebook)
            own = marks(problems, space, key.read(text), seed)
            elsewhere = marks(problems, space, key.read(key.make()), seed)
            full += int(own == expected(problems, "full"))
            none += int(not any(elsewhere.values()))
            if own != expected(problems, "full") or any(elsewhere.values()):
                print(f"{problems.name}: key {text}, seed {seed}: {own}, elsewhere {elsewhere}")
        found[problems.name] = {"keys": count, "full marks": full, "nothing elsewhere": none}
        print(f"{problems.name}: {found[problems.name]}", flush=True)
        failed += 2 * count - full - none
    report.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return int(failed > 0)
