"""Questions of a problem set: what is asked of a submission, and how answers are compared.

A question *draws* requests with fresh random inputs. A box in which the submission runs answers
them, as plain JSON. Back outside, the question *scores* the answers: it computes the truth itself,
from the same inputs, so that no expected value ever enters the box.

What comes back was made by a stranger. The comparisons below look only at numbers, strings, lists
and dictionaries, by their exact types, so that nothing an answer brings along is ever called.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = [
    "ALWAYS",
    "Answer",
    "Check",
    "Question",
    "Request",
    "all_close",
    "close",
    "earned",
    "entries",
    "number",
    "same",
    "split",
    "table",
]

#: What every answer may import of the course, whatever its question says.
ALWAYS = ("funnel.data", "funnel.priors", "funnel.figures")
#: What JSON can hold. Numbers are finite: the box refuses NaN and infinity.
JSON = Any
#: What the class key changes in a set: names and JSON values.
Numbers = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One thing that is asked of the box.

    Parameters
    ----------
    question : str
        Name of the question, such as ``"q1"``.
    function : str
        What the student was asked to define, by its name in the notebook.
    arguments : tuple
        JSON values, one for each positional argument. A dictionary with the only key ``"table"``
        (see :func:`table`) reaches the function as a data frame, one with the only key ``"array"``
        (a list, perhaps of lists) as a NumPy array.
    kind : {"value", "variable", "model"}
        Call the function and send back what it returns; send back the variable of that name; or
        call the function, which returns a PyMC model, and send back what is described in
        :class:`Answer`.
    points : tuple of dict
        For a model: where its log density is wanted. Each dictionary gives every free variable,
        by its name, a value on the scale of the model (a standard deviation is positive).
    seconds : float
        The longest that the answer may take.
    """

    question: str
    function: str
    arguments: tuple[JSON, ...] = ()
    kind: Literal["value", "variable", "model"] = "value"
    points: tuple[dict[str, JSON], ...] = ()
    seconds: float = 10.0


@dataclass(frozen=True)
class Answer:
    """What the box sent back.

    Parameters
    ----------
    value : JSON
        The answer, if the status is ``"ok"``. Of a model it is a dictionary with lists of names
        ``"free"``, ``"deterministic"`` and ``"observed"``, and ``"logp"``: at each point the log
        density of free and observed variables together, on the scale of the model, that is,
        without the Jacobian of any transform that the sampler uses.
    error : str or None
        Otherwise: what went wrong, in words that came from the submission.
    status : {"ok", "error", "timeout", "missing"}
        ``"missing"`` if there is no function or variable of that name.
    """

    value: JSON = None
    error: str | None = None
    status: Literal["ok", "error", "timeout", "missing"] = "ok"


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Parameters
    ----------
    text : str
        What was checked, for the student to read. It never holds an expected value.
    passed : bool
        Whether it is right.
    points : float
        What it is worth: all of it if right, else nothing.
    """

    text: str
    passed: bool
    points: float


Draw = Callable[[np.random.Generator, Numbers], list[Request]]
Score = Callable[[Sequence[Request], Sequence[Answer], Numbers], list[Check]]


@dataclass(frozen=True)
class Question:
    """One question of a set.

    Parameters
    ----------
    name, title : str
        ``"q1"``, and a few words.
    points : float
        What it is worth.
    level : {"easy", "medium", "hard"}
        How hard it is meant to be.
    section : str
        Where to read on: page and label of the course's site, ``"pooling.html#eq-pooling-log"``.
    may_use : tuple of str
        Modules that the answer may import beyond ``funnel.data``, ``funnel.priors`` and
        ``funnel.figures``, such as ``"funnel.models"``. Others are not in the box.
    manual : bool
        Whether a person marks it: a figure, a derivation or a paragraph.
    draw : callable, optional
        Make requests from a random generator and the numbers of the class.
    score : callable, optional
        Make checks from the requests, their answers in the same order, and the numbers of the
        class. What the checks are worth adds up to `points`.

    Raises
    ------
    ValueError
        If the level is none of the three, or the question has no way to be marked.
    """

    name: str
    title: str
    points: float
    level: Literal["easy", "medium", "hard"]
    section: str
    may_use: tuple[str, ...] = ()
    manual: bool = False
    draw: Draw | None = None
    score: Score | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be marked."""
        if self.level not in ("easy", "medium", "hard"):
            raise ValueError(f"{self.name}: level must be easy, medium or hard, got {self.level!r}")
        if self.manual != (self.draw is None) or self.manual != (self.score is None):
            raise ValueError(f"{self.name}: a question is manual, or has both draw and score")
        if not self.points > 0:
            raise ValueError(f"{self.name}: points must be positive, got {self.points!r}")


def earned(checks: Sequence[Check]) -> float:
    """Add up what the passed checks are worth."""
    return sum((check.points for check in checks if check.passed), 0.0)


def table(**columns: Sequence[JSON]) -> dict[str, dict[str, list[JSON]]]:
    """Write a table as an argument of a request.

    Parameters
    ----------
    **columns : sequence
        The columns, all of one length.

    Returns
    -------
    dict
        ``{"table": {name: list}}``, with numbers as plain Python ones.

    Raises
    ------
    ValueError
        If the columns differ in length.
    """
    lists = {name: np.asarray(column).tolist() for name, column in columns.items()}
    if len({len(column) for column in lists.values()}) > 1:
        raise ValueError("the columns of a table must have one length")
    return {"table": lists}


def number(answer: JSON) -> float | None:
    """Take an answer as a number.

    Parameters
    ----------
    answer : JSON
        Anything that JSON can hold.

    Returns
    -------
    float or None
        The number; None for everything else, also for True and False, and for infinity and NaN.
    """
    if type(answer) not in (int, float):
        return None
    try:
        value = float(answer)
    except OverflowError:  # a whole number with hundreds of digits
        return None
    return value if math.isfinite(value) else None


def close(answer: JSON, truth: Any, *, rtol: float = 1e-7, atol: float = 1e-9) -> bool:
    """Compare an answer with the truth, number by number.

    Parameters
    ----------
    answer : JSON
        Number, or lists or dictionaries of numbers.
    truth : float, array, list or dict
        What it should be. A list or an array asks for a list of that length in that order, a
        dictionary for one with just these keys.
    rtol, atol : float
        A number may differ by ``atol + rtol * abs(truth)``.

    Returns
    -------
    bool
        Whether all of it agrees. Anything else than what the truth has is a no.
    """
    if isinstance(truth, dict):
        return (
            type(answer) is dict
            and answer.keys() == truth.keys()
            and all(close(answer[key], truth[key], rtol=rtol, atol=atol) for key in truth)
        )
    truth = np.asarray(truth, dtype=float)
    if not np.isfinite(truth).all():
        raise ValueError("the truth of a question must be finite")
    if truth.ndim:
        return (
            type(answer) is list
            and len(answer) == len(truth)
            and all(
                close(given, wanted, rtol=rtol, atol=atol)
                for given, wanted in zip(answer, truth, strict=True)
            )
        )
    value = number(answer)
    return value is not None and abs(value - float(truth)) <= atol + rtol * abs(float(truth))


def all_close(
    given: Sequence[JSON], wanted: Sequence[Any], *, rtol: float = 1e-7, atol: float = 1e-9
) -> bool:
    """Compare answers with truths, each by :func:`close`.

    Parameters
    ----------
    given : sequence of JSON
        Answers.
    wanted : sequence
        What they should be.
    rtol, atol : float
        As for :func:`close`.

    Returns
    -------
    bool
        Whether all of them agree.
    """
    return all(close(g, w, rtol=rtol, atol=atol) for g, w in zip(given, wanted, strict=True))


def entries(answers: Sequence[Answer], name: str) -> list[JSON]:
    """Take one entry of each answer that is a dictionary.

    Parameters
    ----------
    answers : sequence of Answer
        Answers.
    name : str
        The entry.

    Returns
    -------
    list
        None for an answer that has no such entry.
    """
    return [a.value.get(name) if type(a.value) is dict else None for a in answers]


def split(
    requests: Sequence[Request], answers: Sequence[Answer], function: str
) -> tuple[list[Request], list[Answer]]:
    """Take the requests of one function, and their answers.

    Parameters
    ----------
    requests, answers : sequence
        Of a question that asks for several functions.
    function : str
        Name of the function.

    Returns
    -------
    tuple of list
        Requests and answers.
    """
    pairs = zip(requests, answers, strict=True)
    mine = [(request, answer) for request, answer in pairs if request.function == function]
    return [request for request, _ in mine], [answer for _, answer in mine]


def same(answer: JSON, truth: str | Sequence[str]) -> bool:
    """Compare a word, or a list of words in order, with the truth; case and outer blanks aside."""
    if isinstance(truth, str):
        return type(answer) is str and answer.strip().casefold() == truth.strip().casefold()
    return (
        type(answer) is list
        and len(answer) == len(truth)
        and all(same(given, wanted) for given, wanted in zip(answer, truth, strict=True))
    )
