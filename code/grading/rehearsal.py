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
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from nbformat import NotebookNode

from grading import key
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


def _argument(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"table"}:
        return pd.DataFrame(value["table"])
    if isinstance(value, dict) and value.keys() == {"array"}:
        return np.array(value["array"])
    return json.loads(json.dumps(value))  # a copy


def _plain(value: Any) -> Any:
    """Make JSON of what an answer may be: NumPy's numbers and arrays, pandas's columns."""
    if isinstance(value, pd.Series | pd.Index):
        value = value.to_numpy()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and np.isfinite(value):
        return value
    raise TypeError(f"{type(value).__name__} is no plain value")


def describe(model: Any, points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Say what the box says of a PyMC model; see :class:`grading.questions.Answer`.

    Parameters
    ----------
    model : pymc.Model
        The model.
    points : sequence of dict
        Values of the free variables, on the scale of the model.

    Returns
    -------
    dict
        Names of the variables, and the log density at each point.
    """
    # Compiling takes longer than all else: without C or numba it is done in a moment.
    logp = model.compile_logp(jacobian=False, mode="FAST_COMPILE")
    described = []
    for point in points:
        place = {}
        for variable in model.free_RVs:
            value = model.rvs_to_values[variable]
            transform = model.rvs_to_transforms[variable]
            at = np.asarray(point[variable.name], dtype=float)
            if transform is not None:
                at = transform.forward(at, *variable.owner.inputs).eval(mode="FAST_COMPILE")
            place[value.name] = at
        described.append(float(logp(place)))
    return {
        "free": [variable.name for variable in model.free_RVs],
        "deterministic": [variable.name for variable in model.deterministics],
        "observed": [variable.name for variable in model.observed_RVs],
        "logp": _plain(described),
    }


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
    if request.function not in space:
        return Answer(status="missing")
    asked = space[request.function]
    try:
        if request.kind != "variable":
            asked = asked(*map(_argument, request.arguments))
        value = describe(asked, request.points) if request.kind == "model" else _plain(asked)
    except Exception as error:  # whatever an answer may do wrong
        return Answer(error=f"{type(error).__name__}: {error}", status="error")
    return Answer(value)


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
        for _ in range(count):
            text, seed = key.make(), secrets.randbits(32)
            space = execute(archetype(problems, "full", key.read(text)))
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
