"""Points that a person gives: tables `OUT/private/marks/*.csv`, which nothing here ever writes to.

The columns are ``student,question,points`` and perhaps ``comment``, which the student reads. The
page of a question makes such a table in the browser. A line for a question that is scored by
itself takes the place of its score.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from grading import export, roster

__all__ = ["Mark", "MarksError", "late_days", "read"]

COLUMNS = ("student", "question", "points", "comment")
#: Characters of a comment.
LONGEST = 5000


class MarksError(ValueError):
    """A table of marks is not as it must be."""


@dataclass(frozen=True)
class Mark:
    """What a person gave.

    Parameters
    ----------
    points : float
        Between 0 and what the question is worth.
    comment : str
        For the student.
    place : str
        File and line.
    """

    points: float
    comment: str
    place: str


def _number(text: str, most: float, what: str, place: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise MarksError(f"{place}: {what} must be a number from 0 to {most:g}, got {text!r}")
    return value


def read(
    folder: Path, students: Mapping[str, str], most: Mapping[str, float]
) -> dict[tuple[str, str], Mark]:
    """Read all tables of marks.

    Parameters
    ----------
    folder : Path
        With any number of tables; it may be missing.
    students : mapping
        The names under which submissions may be marked, and what each stands for.
    most : mapping
        By question, what it is worth.

    Returns
    -------
    dict
        By student and question. A line without points is a question that is still to be marked.

    Raises
    ------
    MarksError
        If a line is about nobody or nothing, its points are out of range, or two lines
        contradict each other. The message names file and line.
    """
    marks: dict[tuple[str, str], Mark] = {}
    for path in sorted(folder.glob("*.csv")):
        if path.is_symlink():
            raise MarksError(f"{path} is a symbolic link")
        try:
            rows = roster.table(path, COLUMNS[:3], COLUMNS)
        except roster.RosterError as error:
            raise MarksError(str(error)) from None
        for number, row in rows:
            place = f"{path}, line {number}"
            student, question = export.original(row["student"]), row["question"]
            if student not in students:
                raise MarksError(f"{place}: there is no submission of {student!r}")
            if question not in most:
                raise MarksError(
                    f"{place}: there is no question {question!r}; there are: {', '.join(most)}"
                )
            if not row["points"]:
                continue
            points = _number(row["points"], most[question], "points", place)
            comment = roster.plain(export.original(row.get("comment", "")))
            if len(comment) > LONGEST:
                raise MarksError(f"{place}: the comment has more than {LONGEST} characters")
            key = (students[student], question)
            mark = Mark(points, comment, place)
            if (other := marks.get(key)) and (other.points, other.comment) != (points, comment):
                raise MarksError(
                    f"{place}: {student!r} gets {points:g} for {question}, and {other.points:g} "
                    f"in {other.place}: delete one of the two"
                )
            marks[key] = mark
    return marks


def late_days(path: Path, students: Mapping[str, str]) -> dict[str, float]:
    """Read the table ``student,days``, which goes before what the time of a file says.

    Parameters
    ----------
    path : Path
        The table; it may be missing.
    students : mapping
        The names under which submissions go, and what each stands for.

    Returns
    -------
    dict
        Days late, by student; 0 excuses.

    Raises
    ------
    MarksError
        If a line is about nobody, stands twice, or has no number of days.
    """
    if not path.exists():
        return {}
    days: dict[str, float] = {}
    try:
        rows = roster.table(path, ("student", "days"), ("student", "days"))
    except roster.RosterError as error:
        raise MarksError(str(error)) from None
    for number, row in rows:
        place = f"{path}, line {number}"
        student = export.original(row["student"])
        if student not in students:
            raise MarksError(f"{place}: there is no submission of {student!r}")
        if students[student] in days:
            raise MarksError(f"{place}: {student!r} stands twice")
        days[students[student]] = _number(row["days"], 3650, "days", place)
    return days
