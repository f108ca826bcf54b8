"""Tables of scores: for spreadsheets, and for what Canvas, Moodle and nbgrader read.

The columns are those that each program looks for:

- Canvas, *Grades, Import*: first ``Student`` and ``ID`` (the user's number), then ``SIS User ID``,
  ``SIS Login ID`` and ``Section``, then a column for each assignment; a line ``Points Possible``
  under the header. See "How do I import grades in the Gradebook?" in Canvas' guide for
  instructors, and `lib/gradebook_importer.rb` of instructure/canvas-lms. A column that is called
  as an existing assignment with its number, ``Pooling (4711)``, goes to that one.
- Moodle, *Assignment, Upload grading worksheet*: ``Identifier``, ``Grade`` and
  ``Last modified (grade)`` must be there, ``Feedback comments`` may; see
  `mod/assign/feedback/offline/importgradeslib.php` of moodle/moodle. The identifier is
  ``Participant`` with the number that Moodle puts into the name of a downloaded folder. Uploads
  that came another way have none: the same file is read by *Grades, Import, CSV file*, with
  ``Email address`` as the map to a user.
- nbgrader: ``assignment,duedate,timestamp,student_id,last_name,first_name,email,raw_score,
  late_submission_penalty,score,max_score``, the columns of ``nbgrader export``; see
  `nbgrader/plugins/export.py` of jupyter/nbgrader. nbgrader has no command that reads scores: this
  is for programs that read its exports.

A cell that a spreadsheet would take for a formula is written with an apostrophe before it.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from grading import roster

if TYPE_CHECKING:
    from grading.gradebook import Entry, Gradebook

__all__ = ["CANVAS", "MOODLE", "NBGRADER", "canvas", "moodle", "nbgrader", "neutral", "original"]

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
MOODLE = (
    "Identifier",
    "Full name",
    "Email address",
    "Grade",
    "Maximum Grade",
    "Last modified (grade)",
    "Feedback comments",
)
NBGRADER = (
    "assignment",
    "duedate",
    "timestamp",
    "student_id",
    "last_name",
    "first_name",
    "email",
    "raw_score",
    "late_submission_penalty",
    "score",
    "max_score",
)
#: Where a spreadsheet begins a formula: at the start of a cell, and after what it may take for the
#: end of one. The signs also in their wide form.
FORMULA = re.compile(r"(?:(?<=[;,|])|\A)(\s*)('*[=+\-@＝＋－＠])")
NEUTRAL = re.compile(r"(?:(?<=[;,|])|\A)(\s*)'('*[=+\-@＝＋－＠])")


def neutral(text: str) -> str:
    """Write a text so that no spreadsheet takes it for a formula.

    Parameters
    ----------
    text : str
        From a stranger.

    Returns
    -------
    str
        In one line, without control characters; an apostrophe stands before ``=``, ``+``, ``-``
        and ``@`` at the start, or after a comma, a semicolon or a bar.
    """
    line = " ".join(roster.plain(text).split())
    return FORMULA.sub(r"\1'\2", line)


def original(text: str) -> str:
    """Take back what :func:`neutral` put in."""
    return NEUTRAL.sub(r"\1\2", text)


def written(header: Sequence[str], rows: Iterable[Sequence[str | float | int | None]]) -> str:
    """Write a table.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    rows : iterable of sequence
        Texts, which are neutralized, numbers, and None for an empty cell.

    Returns
    -------
    str
        CSV.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return buffer.getvalue()


def _cell(value: str | float | int | None) -> str:
    if value is None:
        return ""
    return neutral(value) if isinstance(value, str) else f"{round(value, 4):.10g}"


def _numbers(entry: "Entry") -> dict[str, str]:
    """Take the numbers that Canvas and Moodle wrote into the name of the upload."""
    said = roster.claim(PurePosixPath(entry.file))
    return {said.form: said.number} if said.number else {}


def canvas(book: "Gradebook") -> str:
    """Write the table for Canvas; a score that is not final leaves its cell empty."""
    title = book.settings.canvas_assignment or book.title
    rows: list[list[str | float | None]] = [
        ["Points Possible", None, None, None, None, book.max],
    ]
    for entry in book.students():
        number = entry.person.canvas_id or _numbers(entry).get("canvas", "")
        rows.append(
            [
                entry.person.name or entry.key,
                number,
                entry.key,
                entry.key,
                entry.person.section,
                entry.final,
            ]
        )
    return written([*CANVAS, neutral(title)], rows)


def moodle(book: "Gradebook") -> str:
    """Write the table for Moodle; a score that is not final leaves its cell empty."""
    rows: list[list[str | float | None]] = []
    for entry in book.students():
        number = _numbers(entry).get("moodle")
        rows.append(
            [
                f"Participant {number}" if number else None,
                entry.person.name or entry.key,
                entry.person.email,
                entry.final,
                book.max,
                None,
                "; ".join(f"{row.title}: {row.comment}" for row in entry.rows if row.comment),
            ]
        )
    return written(MOODLE, rows)


def nbgrader(book: "Gradebook") -> str:
    """Write the table of nbgrader; students whose score is not final are left out.

    nbgrader writes zero for who has handed in nothing, and so has no way to say "not yet known".
    """
    due = book.settings.late.due
    rows: list[list[str | float | None]] = []
    for entry in book.students():
        if entry.final is None:
            continue
        first, last = _names(entry.person.name)
        rows.append(
            [
                book.set,
                due.isoformat() if due else None,
                entry.modified,
                entry.key,
                last,
                first,
                entry.person.email,
                entry.earned,
                entry.earned - entry.final,
                entry.final,
                book.max,
            ]
        )
    return written(NBGRADER, rows)


def _names(name: str) -> tuple[str, str]:
    """Split a name into first and last: at a comma if there is one, else at the last blank."""
    if "," in name:
        last, _, first = name.partition(",")
    else:
        first, _, last = name.rpartition(" ")
    return first.strip(), last.strip()
