"""What an instructor decides about a class, in a file of a few lines, `OUT/private/class.toml`.

Every line may be missing::

    accept = ["s17"]           # the score of this failed or suspicious run stands as it is
    missing_is_zero = true     # who handed in nothing gets zero points, not an empty field

    [questions.q3]
    weight = 0.5               # counts half

    [questions.q5]
    drop = true                # counts for nobody

    [late]
    due = 2026-10-05T23:59:00+02:00
    percent_per_day = 10       # of what was earned
    grace_hours = 1
    most_percent = 50

    [duplicates]
    s4 = "s4_second.ipynb"     # which of two uploads counts

    [export]
    canvas_assignment = "Pooling (4711)"
"""

import datetime
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Late", "Settings", "SettingsError", "read"]

LARGEST = 1_000_000


class SettingsError(ValueError):
    """A setting is not as it must be."""


@dataclass(frozen=True)
class Late:
    """What late work costs.

    Parameters
    ----------
    due : datetime, optional
        With its time zone. Without it, only days that are given in a table count.
    percent_per_day : float
        Of what was earned, for each day that has begun.
    grace_hours : float
        So much after the time nothing is late.
    most_percent : float
        It never costs more.
    """

    due: datetime.datetime | None = None
    percent_per_day: float = 0.0
    grace_hours: float = 0.0
    most_percent: float = 100.0

    def days(self, modified: float) -> int:
        """Count the days that have begun since the work was due.

        Parameters
        ----------
        modified : float
            Time of the file, in seconds since 1970.

        Returns
        -------
        int
            None that lie within the grace; without a due time, 0.
        """
        if self.due is None:
            return 0
        late = modified - self.due.timestamp()
        return 0 if late <= self.grace_hours * 3600 else math.ceil(late / 86400)

    def share(self, days: float) -> float:
        """Say what part of the points work of so many late days loses, between 0 and 1."""
        return min(days * self.percent_per_day, self.most_percent) / 100


@dataclass(frozen=True)
class Settings:
    """What an instructor decides.

    Parameters
    ----------
    weights : dict
        By question, what its points are multiplied with; 1 if it is not named, 0 if dropped.
    late : Late
        What late work costs.
    accept : frozenset of str
        Students whose failed or suspicious run stands.
    missing_is_zero : bool
        Whether nothing handed in is zero points.
    duplicates : dict
        By student, the upload that counts.
    canvas_assignment : str, optional
        Name of the column in Canvas.
    """

    weights: dict[str, float] = field(default_factory=dict)
    late: Late = Late()
    accept: frozenset[str] = frozenset()
    missing_is_zero: bool = False
    duplicates: dict[str, str] = field(default_factory=dict)
    canvas_assignment: str | None = None


def _known(table: dict[str, Any], names: tuple[str, ...], place: str) -> None:
    if unknown := [name for name in table if name not in names]:
        raise SettingsError(f"{place}: unknown {unknown[0]!r}; there are: {', '.join(names)}")


def _table(settings: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    value = settings.get(name, {})
    if not isinstance(value, dict):
        raise SettingsError(f"{place}: {name} must be a table, [{name}]")
    return value


def _number(table: dict[str, Any], name: str, default: float, place: str, most: float) -> float:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise SettingsError(f"{place}: {name} must be between 0 and {most:g}, got {value!r}")
    return float(value)


def _flag(table: dict[str, Any], name: str, place: str) -> bool:
    value = table.get(name, False)
    if not isinstance(value, bool):
        raise SettingsError(f"{place}: {name} must be true or false, got {value!r}")
    return value


def read(path: Path) -> Settings:
    """Read the settings.

    Parameters
    ----------
    path : Path
        The file; if there is none, nothing is changed.

    Returns
    -------
    Settings
        What it says.

    Raises
    ------
    SettingsError
        If it is no TOML, has a word that means nothing, or a value out of range.
    """
    if not path.exists():
        return Settings()
    if path.stat().st_size > LARGEST:
        raise SettingsError(f"{path} has more than {LARGEST:,} bytes")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    place = str(path)
    names = ("accept", "missing_is_zero", "questions", "late", "duplicates", "export")
    _known(given, names, place)
    accept = given.get("accept", [])
    if not isinstance(accept, list) or not all(isinstance(name, str) for name in accept):
        raise SettingsError(f"{place}: accept must be a list of students, got {accept!r}")
    duplicates = _table(given, "duplicates", place)
    if not all(isinstance(name, str) for name in duplicates.values()):
        raise SettingsError(f"{place}: [duplicates] gives each student the name of a file")
    exported = _table(given, "export", place)
    _known(exported, ("canvas_assignment",), f"{place}, [export]")
    assignment = exported.get("canvas_assignment")
    if assignment is not None and (not isinstance(assignment, str) or not assignment.strip()):
        raise SettingsError(f"{place}: canvas_assignment must be a name, got {assignment!r}")
    return Settings(
        weights=_weights(_table(given, "questions", place), place),
        late=_late(_table(given, "late", place), place),
        accept=frozenset(accept),
        missing_is_zero=_flag(given, "missing_is_zero", place),
        duplicates=duplicates,
        canvas_assignment=assignment,
    )


def _weights(questions: dict[str, Any], place: str) -> dict[str, float]:
    weights = {}
    for name, table in questions.items():
        here = f"{place}, [questions.{name}]"
        if not isinstance(table, dict):
            raise SettingsError(f"{here} must be a table")
        _known(table, ("weight", "drop"), here)
        if "weight" in table and "drop" in table:
            raise SettingsError(f"{here}: give weight or drop, not both")
        weight = _number(table, "weight", 1.0, here, 100.0)
        weights[name] = 0.0 if _flag(table, "drop", here) else weight
    return weights


def _late(table: dict[str, Any], place: str) -> Late:
    here = f"{place}, [late]"
    _known(table, ("due", "percent_per_day", "grace_hours", "most_percent"), here)
    due = table.get("due")
    if due is not None and (not isinstance(due, datetime.datetime) or due.tzinfo is None):
        raise SettingsError(
            f"{here}: due must be a time with its zone, such as 2026-10-05T23:59:00+02:00"
        )
    return Late(
        due,
        _number(table, "percent_per_day", 0.0, here, 100.0),
        _number(table, "grace_hours", 0.0, here, 1000.0),
        _number(table, "most_percent", 100.0, here, 100.0),
    )
