"""The gradebook: results of the box, points given by people and settings, put together.

:func:`write` reads from a folder of results

- `private/results/*.json`, one for each submission, which the box's side wrote;
- `private/bundle.json` and `private/roster.csv`, if they are there;
- what the instructor keeps there: `private/class.toml` (see :mod:`grading.settings`),
  `private/marks/*.csv` and `private/late.csv` (see :mod:`grading.manual`);

and makes everything else anew: `private/index.html` to browse, tables, pages to mark by, and in
`return/` one page for each student, which holds nothing about anybody else.

A run that failed is a status. Its points, if it got any before, are not final: they reach no
export until a person accepts them or gives points by hand.
"""

import hashlib
import json
import math
import os
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grading import export, manual, pages, roster, settings

__all__ = ["Entry", "Gradebook", "GradebookError", "Item", "Row", "items", "read", "write"]

#: A result holds figures; a larger one was not written by the box's side.
LARGEST = 64_000_000
#: Of a question: what it got is what it is worth getting.
RAN = ("graded", "missing", "marked")
#: Of a submission.
STATUSES = ("graded", "timed out", "crashed", "suspicious", "unreadable", "not submitted")
FAILED = ("timed out", "crashed", "suspicious", "unreadable")


class GradebookError(ValueError):
    """A folder of results cannot be read."""


@dataclass(frozen=True)
class Row:
    """One question of one submission.

    Parameters
    ----------
    question, title, section : str
        As the set has them.
    points : float or None
        None if nobody has marked it yet, or nothing was run.
    max : float
        What it is worth, before its weight.
    weight : float
        What points and `max` count for; 0 if it is dropped.
    status : str
        ``"graded"``, ``"marked"`` (by a person), ``"to be marked"``, ``"missing"``, ``"timed
        out"``, ``"crashed"``, or ``"not run"``.
    seconds : float or None
        How long it took.
    checks : tuple of dict
        Text, whether it passed, points.
    comment : str
        From the person who marked.
    """

    question: str
    title: str
    section: str
    points: float | None
    max: float
    weight: float
    status: str
    seconds: float | None = None
    checks: tuple[dict[str, Any], ...] = ()
    comment: str = ""


@dataclass(frozen=True)
class Entry:
    """One submission, or a student without one.

    Parameters
    ----------
    key : str
        The student; or, where that is not sure, the name of the result.
    person : roster.Student
        From the list of the class.
    file : str
        Name of the upload; empty if there is none.
    identity : str
        ``"ok"``, or why it is not known whose this is.
    status : str
        One of :data:`STATUSES`.
    reasons : tuple of str
        Why.
    seconds : float or None
        How long the run took.
    late_days : float
        Days late.
    modified : str
        When the file was last written, UTC.
    rows : tuple of Row
        The questions.
    answers : dict
        By question, figure and text for a person to mark.
    earned : float
        Weighted points so far, without what being late costs.
    penalty : float
        What being late costs.
    open : tuple of str
        What keeps the score from being final.
    boxed : bool
        Whether it ran in a box.
    page : str
        Name of its page.
    """

    key: str
    person: roster.Student
    file: str
    identity: str
    status: str
    reasons: tuple[str, ...]
    seconds: float | None
    late_days: float
    modified: str
    rows: tuple[Row, ...]
    answers: dict[str, dict[str, Any]]
    earned: float
    penalty: float
    open: tuple[str, ...]
    boxed: bool
    page: str

    @property
    def score(self) -> float:
        """Points so far."""
        return self.earned - self.penalty

    @property
    def final(self) -> float | None:
        """Points if nothing about them is open."""
        return None if self.open else self.score


@dataclass(frozen=True)
class Gradebook:
    """All of a class, for one set.

    Parameters
    ----------
    set, title : str
        The set.
    questions : tuple of Row
        The questions, with no points.
    entries : tuple of Entry
        Students in the order of the list, then submissions that belong to nobody.
    settings : settings.Settings
        What the instructor decided.
    demonstration : bool
        Whether it was made with the public key.
    """

    set: str
    title: str
    questions: tuple[Row, ...]
    entries: tuple[Entry, ...]
    settings: settings.Settings
    demonstration: bool

    @property
    def max(self) -> float:
        """What everything is worth."""
        return sum(row.max * row.weight for row in self.questions)

    def students(self) -> list[Entry]:
        """List the entries of which it is known whose they are."""
        return [entry for entry in self.entries if entry.identity == "ok"]


@dataclass(frozen=True)
class Item:
    """How a question did, over the submissions in which it ran.

    Parameters
    ----------
    question, title : str
        The question.
    n : int
        Submissions in which it ran or was marked.
    failed : int
        In which it timed out, crashed or was not run. They are no zeros, and not counted.
    open : int
        In which it is still to be marked.
    difficulty : float or None
        Mean share of its points: 1 if everybody has it right.
    discrimination : float or None
        Correlation of its points with the points of all other questions; None with fewer than
        three submissions, or if all have the same.
    seconds, longest : float or None
        Median and longest time.
    """

    question: str
    title: str
    n: int
    failed: int
    open: int
    difficulty: float | None
    discrimination: float | None
    seconds: float | None
    longest: float | None


# --- Reading ---------------------------------------------------------------------------------


def _json(path: Path) -> dict[str, Any]:
    if path.is_symlink():
        raise GradebookError(f"{path} is a symbolic link")
    if path.stat().st_size > LARGEST:
        raise GradebookError(f"{path} has more than {LARGEST:,} bytes")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise GradebookError(f"{path} is damaged ({error}); delete it and grade again") from None
    if not isinstance(value, dict):
        raise GradebookError(f"{path} is damaged; delete it and grade again")
    return value


def _result(path: Path) -> dict[str, Any]:
    result = _json(path)
    if result.get("version") != 1:
        raise GradebookError(f"{path} has version {result.get('version')!r}, and not 1")
    needed = ("set", "file", "student", "identity", "status", "reasons", "questions", "manual")
    if missing := [name for name in needed if name not in result]:
        raise GradebookError(f"{path} has no {missing[0]!r}; delete it and grade again")
    if result["status"] not in STATUSES:
        raise GradebookError(f"{path}: unknown status {result['status']!r}")
    return result


def _questions(
    bundle: dict[str, Any], results: Sequence[dict[str, Any]], weights: Mapping[str, float]
) -> tuple[Row, ...]:
    """List what is asked: from the bundle, or else as the most complete result has it."""
    if "questions" in bundle:
        asked = [
            (q["name"], q["title"], q["section"], q["points"], q["manual"])
            for q in bundle["questions"]
        ]
    else:
        longest: list[dict[str, Any]] = max((r["questions"] for r in results), key=len, default=[])
        asked = [
            (q["name"], q["title"], q["section"], q["max"], q["status"] == "manual")
            for q in longest
        ]
    return tuple(
        Row(
            name,
            title,
            section,
            None,
            float(points),
            weights.get(name, 1.0),
            "to be marked" if by_hand else "not run",
        )
        for name, title, section, points, by_hand in asked
    )


def _row(
    asked: Row, given: Mapping[str, Any] | None, mark: manual.Mark | None, *, handed_in: bool
) -> Row:
    """Fill in what a submission got for a question."""
    row = asked if handed_in else replace(asked, status="not run")
    if given is not None and given["status"] != "manual":
        points = given["points"] if given["status"] in RAN else given["points"] or 0.0
        row = replace(
            row,
            points=points,
            status=given["status"],
            seconds=given.get("seconds"),
            checks=tuple(given.get("checks", ())),
        )
    if mark is not None:
        row = replace(row, points=mark.points, status="marked", comment=mark.comment)
    return row


def _ran(question: Mapping[str, Any], status: str) -> bool:
    """Tell whether a question was put to a submission: one that stopped early is no blank one."""
    if status == "unreadable":
        return False
    return question["status"] != "missing" or status not in ("crashed", "timed out")


def _page(key: str) -> str:
    """Name a page so that the name is harmless, and no two are the same."""
    letters = unicodedata.normalize("NFKD", key).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9]+", "-", letters).strip("-")[:40]
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{readable}-{digest}.html" if readable else f"{digest}.html"


def _time(modified: Any) -> str:
    if not isinstance(modified, int | float):
        return ""
    return datetime.fromtimestamp(modified, UTC).isoformat(sep=" ", timespec="seconds")


@dataclass
class _Source:
    """A result on its way into the gradebook."""

    key: str
    person: roster.Student
    identity: str
    result: dict[str, Any]


def _kept(result: dict[str, Any], chosen: Mapping[str, str]) -> str:
    """Decide about one of several uploads of a student."""
    wanted = chosen.get(result["student"])
    if result["identity"] != "duplicate" or wanted is None:
        return str(result["identity"])
    return "ok" if result["file"] == wanted else "replaced"


def _sources(
    results: Mapping[str, dict[str, Any]],
    students: Mapping[str, roster.Student] | None,
    given: settings.Settings,
    place: Path,
) -> list[_Source]:
    """Say under which name each result goes."""
    sources = []
    found: Counter[str] = Counter()
    for name, result in results.items():
        identity, student = _kept(result, given.duplicates), result["student"]
        if student is not None and students is not None and student not in students:
            identity, student = "stranger", None
        if student is None and identity == "ok":
            identity = "stranger"
        sure = identity == "ok"
        person = (students or {}).get(student or "", roster.Student(plain_key(student or name)))
        found[student or ""] += sure
        key = plain_key(student) if sure else name
        sources.append(_Source(key, person, identity, result))
    for student, wanted in given.duplicates.items():
        if not found[student]:
            raise settings.SettingsError(
                f"{place}, [duplicates]: {student!r} has no upload {wanted!r} to choose from"
            )
    for source in sources:  # two results that say "ok" for one student are both in doubt
        if source.identity == "ok" and found[source.result["student"]] > 1:
            source.identity = "duplicate"
    keys = Counter(source.key for source in sources)
    for source, name in zip(sources, results, strict=True):
        if source.identity != "ok" or keys[source.key] > 1:
            source.key = name
    return sources


def plain_key(student: str) -> str:
    """Write an identity without characters that cannot be seen."""
    return roster.plain(student)


def _entry(
    source: _Source,
    questions: tuple[Row, ...],
    marks: Mapping[tuple[str, str], manual.Mark],
    days: Mapping[str, float],
    given: settings.Settings,
) -> Entry:
    """Put one entry together."""
    key, result = source.key, source.result
    status = result["status"]
    handed_in = status not in ("not submitted", "unreadable")
    by_name = {
        question["name"]: question for question in result["questions"] if _ran(question, status)
    }
    rows = tuple(
        _row(asked, by_name.get(asked.question), marks.get((key, asked.question)),
             handed_in=handed_in)
        for asked in questions
    )  # fmt: skip
    earned = math.fsum((row.points or 0.0) * row.weight for row in rows)
    modified = result.get("modified")
    late = (
        given.late.days(modified)
        if given.late.due and isinstance(modified, int | float)
        else float(result.get("late_days") or 0)
    )
    late = days.get(key, late)
    by_hand = all(row.status == "marked" for row in rows if row.weight)
    doubts = []
    if source.identity != "ok":
        doubts.append(source.identity)
    stands = key in given.accept or (by_hand and rows)
    missing = status == "not submitted" and not given.missing_is_zero
    if (status in FAILED or missing) and not stands:
        doubts.append(status)
    waiting = ", ".join(r.question for r in rows if r.weight and r.status == "to be marked")
    if handed_in and waiting:
        doubts.append(f"to be marked: {waiting}")
    return Entry(
        key=key,
        person=source.person,
        file=result["file"],
        identity=source.identity,
        status=status,
        reasons=tuple(str(reason) for reason in result["reasons"]),
        seconds=result.get("seconds"),
        late_days=late,
        modified=_time(modified),
        rows=rows,
        answers={answer["name"]: answer for answer in result["manual"]},
        earned=earned,
        penalty=earned * given.late.share(late),
        open=tuple(doubts),
        boxed=bool(result.get("boxed", True)),
        page=_page(key),
    )


def _absent(student: str) -> dict[str, Any]:
    return {
        "file": "", "student": student, "identity": "ok", "status": "not submitted",
        "reasons": [], "questions": [], "manual": [], "boxed": True,
    }  # fmt: skip


def read(out: Path) -> Gradebook:
    """Read a folder of results.

    Parameters
    ----------
    out : Path
        The folder.

    Returns
    -------
    Gradebook
        Everything, put together.

    Raises
    ------
    GradebookError
        If there are no results, or one is damaged.
    settings.SettingsError, manual.MarksError, roster.RosterError
        If a file that the instructor keeps is not as it must be.
    """
    private = out / "private"
    files = sorted((private / "results").glob("*.json"))
    if not files:
        raise GradebookError(f"{private / 'results'} holds no results: grade first")
    results = {path.stem: _result(path) for path in files}
    of_set = Counter(result["set"] for result in results.values())
    bundle = _json(private / "bundle.json") if (private / "bundle.json").exists() else {}
    name = bundle.get("set") or max(of_set, key=lambda each: of_set[each])
    listed = private / "roster.csv"
    students = roster.read(listed) if listed.exists() else None
    given = settings.read(private / "class.toml")
    questions = _questions(bundle, list(results.values()), given.weights)
    known = [row.question for row in questions]
    if unknown := [question for question in given.weights if question not in known]:
        raise settings.SettingsError(
            f"{private / 'class.toml'}: there is no question {unknown[0]!r}; "
            f"there are: {', '.join(known)}"
        )
    sources = _sources(results, students, given, private / "class.toml")
    if students is not None:
        place = {student: number for number, student in enumerate(students)}
        seen = {source.result["student"] for source in sources}
        sources += [
            _Source(student, person, "ok", _absent(student))
            for student, person in students.items()
            if student not in seen
        ]
        sources.sort(key=lambda s: (s.identity != "ok", place.get(s.key, len(place)), s.key))
    else:
        sources.sort(key=lambda source: (source.identity != "ok", source.key))
    names = {source.key: source.key for source in sources}
    if unknown := sorted(given.accept - set(names)):
        raise settings.SettingsError(
            f"{private / 'class.toml'}: accept names {unknown[0]!r}, of whom there is no submission"
        )
    marks = manual.read(private / "marks", names, {row.question: row.max for row in questions})
    days = manual.late_days(private / "late.csv", names)
    return Gradebook(
        set=name,
        title=bundle.get("title", name),
        questions=questions,
        entries=tuple(_entry(source, questions, marks, days, given) for source in sources),
        settings=given,
        demonstration=bool(bundle.get("demonstration", False)),
    )


# --- Statistics --------------------------------------------------------------------------------


def _correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    if len(x) < 3 or len(set(x)) < 2 or len(set(y)) < 2:
        return None
    try:
        return statistics.correlation(x, y)
    except statistics.StatisticsError:  # differences smaller than rounding
        return None


def items(book: Gradebook) -> list[Item]:
    """Say how each question did.

    Parameters
    ----------
    book : Gradebook
        The class.

    Returns
    -------
    list of Item
        The discrimination is the corrected one: the question itself is not in the points that it
        is compared with, else it would correlate with itself. Questions that are dropped, or not
        marked for everybody, are not in them either.
    """
    handed_in = [entry for entry in book.students() if entry.status != "not submitted"]
    waiting = {r.question for e in handed_in for r in e.rows if r.status == "to be marked"}
    counted = [
        place
        for place, asked in enumerate(book.questions)
        if asked.weight and asked.question not in waiting
    ]
    result = []
    for place, asked in enumerate(book.questions):
        rows = [entry.rows[place] for entry in handed_in]
        ran = [row for row in rows if row.status in RAN]
        others = [other for other in counted if other != place]
        complete = [
            entry.rows
            for entry in handed_in
            if all(entry.rows[each].status in RAN for each in (place, *others))
        ]
        rest = [
            math.fsum((row[each].points or 0.0) * row[each].weight for each in others)
            for row in complete
        ]
        seconds = [row.seconds for row in rows if row.seconds is not None]
        result.append(
            Item(
                question=asked.question,
                title=asked.title,
                n=len(ran),
                failed=sum(row.status in ("timed out", "crashed", "not run") for row in rows),
                open=sum(row.status == "to be marked" for row in rows),
                difficulty=statistics.fmean((row.points or 0.0) / row.max for row in ran)
                if ran
                else None,
                discrimination=_correlation([row[place].points or 0.0 for row in complete], rest),
                seconds=statistics.median(seconds) if seconds else None,
                longest=max(seconds, default=None),
            )
        )
    return result


# --- Writing -----------------------------------------------------------------------------------


def _csv(book: Gradebook) -> str:
    header = (
        "student", "name", "set", "question", "title", "points", "max", "weight", "status",
        "identity", "file", "late_days", "open",
    )  # fmt: skip
    rows: list[list[str | float | None]] = []
    for entry in book.entries:
        who: list[str | float | None] = [entry.key, entry.person.name, book.set]
        what: list[str | float | None] = [entry.identity, entry.file]
        rows += [
            [*who, r.question, r.title, r.points, r.max, r.weight, r.status, *what, None, None]
            for r in entry.rows
        ]
        total = [
            "total", book.title, entry.score if entry.file or not entry.open else None, book.max,
            None, entry.status, *what, entry.late_days, "; ".join(entry.open),
        ]  # fmt: skip
        rows.append([*who, *total])
    return export.written(header, rows)


def _as_json(book: Gradebook) -> str:
    entries = []
    for entry in book.entries:
        value = asdict(entry)
        value.pop("answers")
        value |= {"score": entry.score, "final": entry.final, "max": book.max}
        entries.append(value)
    content = {
        "version": 1,
        "set": book.set,
        "title": book.title,
        "demonstration": book.demonstration,
        "max": book.max,
        "items": [asdict(item) for item in items(book)],
        "submissions": entries,
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _files(book: Gradebook, rubric: str | None) -> Iterator[tuple[str, str]]:
    """Make everything that is written, with its place."""
    yield "private/gradebook.csv", _csv(book)
    yield "private/gradebook.json", _as_json(book)
    yield "private/export/canvas.csv", export.canvas(book)
    yield "private/export/moodle.csv", export.moodle(book)
    yield "private/export/nbgrader.csv", export.nbgrader(book)
    numbers = items(book)
    yield "private/index.html", pages.index(book)
    yield "private/summary.html", pages.summary(book, numbers)
    for asked in book.questions:
        if asked.status == "to be marked":
            yield f"private/marking/{asked.question}.html", pages.marking(book, asked, rubric)
    for entry in book.entries:
        yield f"private/submissions/{entry.page}", pages.submission(book, entry)
        if entry.identity == "ok" and entry.status != "not submitted":
            yield f"return/{entry.page}", pages.feedback(book, entry)


def _put(path: Path, text: str) -> None:
    """Write a file in one step, so that whoever reads sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8", newline="\n")
    os.replace(fresh, path)


def write(out: Path) -> None:
    """Make tables and pages from the results, the marks and the settings.

    Parameters
    ----------
    out : Path
        The folder of results. What is the instructor's there stays as it is.

    Raises
    ------
    GradebookError
        If there are no results, one is damaged, or a folder to write to is a symbolic link.
    settings.SettingsError, manual.MarksError, roster.RosterError
        If a file that the instructor keeps is not as it must be. Then nothing is written.
    """
    ours = ("return", "private/submissions", "private/marking", "private/export")
    for folder in ("private", *ours):
        if (out / folder).is_symlink():
            raise GradebookError(
                f"{out / folder} is a symbolic link: reports are not written there"
            )
    book = read(out)
    made = dict(_files(book, pages.read_rubric(out, book.set)))
    _put(out / ".gitignore", "*\n")
    (out / "private").chmod(0o700)
    for name, text in made.items():
        _put(out / name, text)
    for folder in ours:
        for path in (out / folder).glob("*.html" if folder != "private/export" else "*.csv"):
            if f"{folder}/{path.name}" not in made:
                path.unlink()
