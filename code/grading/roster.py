"""Who handed in what: the list of the class, and what the name of an upload claims.

Learning management systems put a name and a number of their own before the name that the student
gave the file. Only their part is believed, never what the student wrote after it:

- Canvas: ``doejane_12345_67890_my work.ipynb``, or ``doejane_LATE_12345_67890_...``: the name
  without blanks, the user's number, the number of the upload;
- Moodle: a folder ``Jane Doe_12345_assignsubmission_file_``, or a file whose name begins so; the
  number is that of the participant in this one assignment;
- a folder for each student, of any name, however deep the file is inside;
- else a file for each student, which is called after the student.
"""

import csv
import io
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

__all__ = ["Claim", "RosterError", "Student", "claim", "find", "identify", "plain", "read", "table"]

#: The largest table, in bytes, that is read: that of 10,000 students has 1 MB.
LARGEST = 5_000_000
COLUMNS = ("student", "name", "email", "canvas_id", "section")
CANVAS = re.compile(r"(?P<name>[^_]+)_(?:LATE_)?(?P<number>\d+)_\d+_.+")
MOODLE = re.compile(r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_file(?:_.*)?", re.S)
#: Folders that an archive or an editor leaves behind.
DEBRIS = {"__MACOSX", ".ipynb_checkpoints", "__pycache__"}
#: They turn the direction in which what follows is read.
TURNS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}


class RosterError(ValueError):
    """A table that the instructor gave is not as it must be."""


@dataclass(frozen=True)
class Student:
    """One line of the list of the class.

    Parameters
    ----------
    student : str
        Whatever tells students apart: a number, a login.
    name, email : str
        As the learning management system has them.
    canvas_id : str
        The user's number in Canvas.
    section : str
        The section in Canvas.
    """

    student: str
    name: str = ""
    email: str = ""
    canvas_id: str = ""
    section: str = ""


@dataclass(frozen=True)
class Claim:
    """What the name of an upload says.

    Parameters
    ----------
    name : str
        Name of a person, a folder or a file.
    form : {"canvas", "moodle", "folder", "file"}
        Who wrote it.
    number : str
        Number of the user in Canvas, of the participant in Moodle; else empty.
    """

    name: str
    form: str
    number: str = ""


def plain(text: str) -> str:
    """Replace characters that are not to be seen, and those that turn the direction of reading.

    Parameters
    ----------
    text : str
        From a stranger.

    Returns
    -------
    str
        With U+FFFD in place of control characters, lone surrogates, and marks such as the
        right-to-left override. Line ends and tabs stay.
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if (unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t") or ord(char) in TURNS
        else char
        for char in text
    )


def table(path: Path, needed: Iterable[str], allowed: Iterable[str]) -> list[tuple[int, dict]]:
    """Read a table that the instructor wrote: CSV with a header, UTF-8, commas or semicolons.

    Parameters
    ----------
    path : Path
        The file.
    needed, allowed : iterable of str
        Columns that must be there, and all that may be.

    Returns
    -------
    list of (int, dict)
        Number of the line and its fields, with outer blanks cut off. Empty lines are left out.

    Raises
    ------
    RosterError
        If it cannot be read. The message names file, line or column.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise RosterError(
                f"{path} has more than {LARGEST:,} bytes: that is no table of a class"
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RosterError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RosterError(f"{path} is not in UTF-8: save it as CSV UTF-8 ({error})") from None
    if "\0" in text:
        raise RosterError(f"{path} holds a NUL character: it is no table in UTF-8")
    head = text.partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=";" if head.count(";") > head.count(",") else ","
    )
    try:
        header = [name.strip().casefold() for name in next(reader, [])]
        lines = [(reader.line_num, fields) for fields in reader if any(map(str.strip, fields))]
    except csv.Error as error:
        raise RosterError(f"{path}, line {reader.line_num}: {error}") from None
    needed, allowed = tuple(needed), tuple(allowed)
    if missing := [name for name in needed if name not in header]:
        raise RosterError(
            f"{path} has no column {missing[0]!r}; its first line is {head.strip()!r}"
        )
    if unknown := [name for name in header if name not in allowed]:
        raise RosterError(
            f"{path} has a column {unknown[0]!r}; there may be: {', '.join(map(repr, allowed))}"
        )
    if len(set(header)) < len(header):
        raise RosterError(f"{path} has a column twice")
    rows = []
    for number, fields in lines:
        if len(fields) != len(header):
            raise RosterError(
                f"{path}, line {number}: {len(fields)} fields under {len(header)} columns"
            )
        rows.append((number, dict(zip(header, (field.strip() for field in fields), strict=True))))
    return rows


def read(path: Path) -> dict[str, Student]:
    """Read the list of the class.

    Parameters
    ----------
    path : Path
        CSV with the columns ``student,name,email``, of which the first is needed, and perhaps
        ``canvas_id`` and ``section``.

    Returns
    -------
    dict
        By the first column, in the order of the file.

    Raises
    ------
    RosterError
        If the file cannot be read, or a student has no identity or that of another.
    """
    students: dict[str, Student] = {}
    seen: dict[str, int] = {}
    for number, row in table(path, ("student",), COLUMNS):
        student = Student(**{name: plain(field) for name, field in row.items()})
        same = _folded(student.student)
        if not student.student:
            raise RosterError(f"{path}, line {number}: no student")
        if same in seen:
            raise RosterError(
                f"{path}, line {number}: {student.student!r} stands already in line {seen[same]}"
            )
        seen[same] = number
        students[student.student] = student
    if not students:
        raise RosterError(f"{path} lists no students")
    return students


def find(folder: Path) -> list[Path]:
    """Find the uploads in a folder.

    Parameters
    ----------
    folder : Path
        With a file for each student, or folders.

    Returns
    -------
    list of Path
        Notebooks, sorted. Symbolic links are among them, of whatever name and also those to
        folders, so that :func:`identify` reports them; they are never followed.

    Raises
    ------
    RosterError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise RosterError(f"{folder} is no folder")
    found = []
    for place, folders, files in os.walk(folder, followlinks=False):
        here = Path(place)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = [name for name in folders if name not in DEBRIS and name not in links]
        found += [here / name for name in links]
        found += [
            here / name
            for name in files
            if (name.lower().endswith(".ipynb") and not name.startswith("._"))
            or (here / name).is_symlink()
        ]
    return sorted(found)


def claim(path: PurePath) -> Claim:
    """Read the name of an upload.

    Parameters
    ----------
    path : PurePath
        Relative to the folder of all uploads.

    Returns
    -------
    Claim
        What it says.
    """
    top = path.parts[0] if path.parts else ""
    if len(path.parts) > 1:
        if match := MOODLE.fullmatch(top):
            return Claim(match["name"], "moodle", match["number"])
        return Claim(top, "folder")
    stem = top[: -len(path.suffix)] if path.suffix.lower() == ".ipynb" else top
    for form, pattern in (("canvas", CANVAS), ("moodle", MOODLE)):
        if match := pattern.fullmatch(stem):
            return Claim(match["name"], form, match["number"])
    return Claim(stem, "file")


def _folded(text: str) -> str:
    """Make what differs only in case, or in how accents are stored, the same."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _letters(text: str) -> str:
    """Keep letters and digits, without accents: Canvas' way to write a name."""
    bare = unicodedata.normalize("NFKD", text).casefold()
    return "".join(char for char in bare if char.isalnum())


def _orders(name: str) -> set[str]:
    """Write a name with first names first, and with last names first."""
    words = re.split(r"[\s,]+", name.strip())
    return {_letters("".join(words[cut:] + words[:cut])) for cut in range(len(words))} - {""}


class _Matcher:
    """Find students by what a claim says; an answer is one student, or none, or several."""

    def __init__(self, students: Mapping[str, Student]) -> None:
        self.exact: dict[str, set[str]] = defaultdict(set)
        self.numbers: dict[str, set[str]] = defaultdict(set)
        self.names: dict[str, set[str]] = defaultdict(set)
        for key, student in students.items():
            self.exact[_folded(key)].add(key)
            if student.email:
                self.exact[_folded(student.email)].add(key)
            if student.canvas_id:
                self.numbers[student.canvas_id].add(key)
            for name in _orders(student.name):
                self.names[name].add(key)

    def __call__(self, said: Claim) -> set[str]:
        if said.form == "canvas" and (found := self.numbers.get(said.number)):
            return found
        if found := self.exact.get(_folded(said.name)):
            return found
        if said.form == "file":  # s123_pooling.ipynb, s123-2.ipynb
            heads = [m.start() for m in re.finditer(r"[-_ .(]", said.name)]
            for end in reversed(heads):
                if found := self.exact.get(_folded(said.name[:end])):
                    return found
        return self.names.get(_letters(said.name), set())


def identify(
    files: Iterable[Path],
    roster: Path | Mapping[str, Student] | None = None,
    folder: Path | None = None,
) -> dict[Path, tuple[str | None, str]]:
    """Tell whose each upload is.

    Parameters
    ----------
    files : iterable of Path
        The uploads, as :func:`find` lists them.
    roster : Path or mapping, optional
        The list of the class. Without it, everybody is who the name of the upload says.
    folder : Path, optional
        The folder of all uploads; the deepest that holds them all, if it is not given.

    Returns
    -------
    dict
        For each file the student, or None, and how that is known: ``"ok"``; ``"stranger"``, if
        nobody on the list fits; ``"ambiguous"``, if several do; ``"duplicate"``, for all uploads
        of a student who has more than one; ``"symlink"``, which must not be opened.

    Raises
    ------
    RosterError
        If the list of the class cannot be read.
    """
    paths = [Path(file) for file in files]
    students = read(roster) if isinstance(roster, Path) else roster
    match = None if students is None else _Matcher(students)
    if folder is None and paths:
        folder = Path(os.path.commonpath([path.parent for path in paths]))
        if MOODLE.fullmatch(folder.name):
            folder = folder.parent
    result: dict[Path, tuple[str | None, str]] = {}
    for path in paths:
        if path.is_symlink() or (folder and _leads_out(path, folder)):
            result[path] = (None, "symlink")
            continue
        said = claim(path.relative_to(folder) if folder else path)
        if match is None:
            name = plain(said.name).strip() + (f"_{said.number}" if said.number else "")
            result[path] = (name, "ok") if name else (None, "stranger")
            continue
        found = match(said)
        if len(found) == 1:
            result[path] = (next(iter(found)), "ok")
        else:
            result[path] = (None, "ambiguous" if found else "stranger")
    count = Counter(_folded(student) for student, _ in result.values() if student)
    return {
        path: (student, "duplicate" if student and count[_folded(student)] > 1 else how)
        for path, (student, how) in result.items()
    }


def _leads_out(path: Path, folder: Path) -> bool:
    """Tell whether a folder on the way to a file is a symbolic link."""
    inner = path.relative_to(folder).parents
    return any((folder / part).is_symlink() for part in inner if part.parts)
