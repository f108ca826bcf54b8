"""The course's data sets, checked each time they are loaded.

A loader trusts nothing. It compares the file with the checksums that lie beside
it, checks every line against the schema below, and says what is wrong, where,
and which command restores the file.

The survey gives radon as an activity in pCi/L, and the course models its
logarithm. Both directions of that transform are here, once.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ACTIVITY_OFFSET",
    "DataError",
    "check_homes",
    "check_schools",
    "check_states",
    "checksums",
    "load_eight_schools",
    "load_radon",
    "load_radon_us",
    "load_radon_us_counties",
    "load_sleepstudy",
    "to_activity",
    "to_log_radon",
]

#: Where the data lie: the folder `data` of the repository that this file is in.
DATA = Path(__file__).resolve().parents[2] / "data"

#: Added to an activity before the logarithm is taken, in pCi/L. Some detectors
#: read 0, and 0.1 is the step of the scale.
ACTIVITY_OFFSET = 0.1


class DataError(ValueError):
    """A data file is not the published one; the message says where and what to do."""


def to_log_radon(activity: ArrayLike) -> NDArray[np.float64]:
    """Transform an activity to the scale of the models, log(activity + 0.1).

    Parameters
    ----------
    activity : array_like
        Radon activity in pCi/L, any shape.

    Returns
    -------
    ndarray
        The same shape.

    Raises
    ------
    ValueError
        If an activity is not a number above -0.1.

    See Also
    --------
    to_activity : The way back.
    """
    activity = np.asarray(activity, dtype=float)
    bad = ~(activity > -ACTIVITY_OFFSET)
    if bad.any():
        raise ValueError(
            f"an activity in pCi/L must be above {-ACTIVITY_OFFSET}, got {activity[bad][0]}"
        )
    return np.log(activity + ACTIVITY_OFFSET)


def to_activity(log_radon: ArrayLike) -> NDArray[np.float64]:
    """Transform log radon back to an activity, exp(log_radon) - 0.1.

    Parameters
    ----------
    log_radon : array_like
        Values on the scale of the models, any shape.

    Returns
    -------
    ndarray
        Activity in pCi/L, the same shape. Values below log(0.1), which a model
        can predict and a detector cannot read, come out between -0.1 and 0.
    """
    return np.exp(np.asarray(log_radon, dtype=float)) - ACTIVITY_OFFSET


def load_radon() -> pd.DataFrame:
    """Load the radon survey of Minnesota.

    Returns
    -------
    DataFrame
        One row for each of 919 homes, in the order of the survey, with columns

        - ``county`` : categorical, 85 names in alphabetical order;
        - ``floor`` : 0 if measured in the basement, 1 if on the first floor;
        - ``activity`` : radon in pCi/L;
        - ``log_radon`` : log(activity + 0.1);
        - ``log_uranium`` : log of the uranium in the county's soil, in parts
          per million.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    DataError
        If it is not the published file.
    """
    return _load_homes("radon", _RADON)


def load_radon_us() -> pd.DataFrame:
    """Load the radon survey of all its states.

    Returns
    -------
    DataFrame
        One row for each of 12,124 homes, in the order of the survey, with the
        columns of `load_radon` and ``state``, a categorical of postal codes.
        Counties carry their state, as in ``Lake (IN)``, because names recur.
        ``floor`` is 1 on the first floor and on those above it.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    DataError
        If it is not the published file.
    """
    homes = _load_homes("radon_us", _RADON_US)
    return homes.assign(state=homes["state"].astype("category"))


def load_radon_us_counties() -> pd.DataFrame:
    """Load all counties of the survey's nine states, those without a home too.

    Returns
    -------
    DataFrame
        One row for each of 593 counties, in the order of their federal codes, with
        columns ``fips`` (that code), ``state`` and ``county``, with the categories of
        :func:`load_radon_us` and, for ``county``, those without a home after them;
        ``longitude`` and ``latitude`` in degrees; ``log_uranium`` as there.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    DataError
        If it is not the published file.
    """
    counties = _load("radon_us", _RADON_US_COUNTIES, file="counties")
    surveyed = load_radon_us()
    names = surveyed["county"].cat.categories
    names = names.append(pd.Index(counties["county"]).difference(names))
    return counties.assign(
        state=counties["state"].astype(surveyed["state"].dtype),
        county=pd.Categorical(counties["county"], names),
    )


def load_eight_schools() -> pd.DataFrame:
    """Load the eight coaching experiments of Rubin (1981).

    Returns
    -------
    DataFrame
        One row for each of 8 schools, with columns ``school`` (A to H),
        ``effect`` (estimated effect of coaching, in points of the SAT-V) and
        ``se`` (its standard error, in points).

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    DataError
        If it is not the published file.
    """
    return _load("eight_schools", _EIGHT_SCHOOLS)


def load_sleepstudy() -> pd.DataFrame:
    """Load the reaction times of people who were let sleep too little.

    Returns
    -------
    DataFrame
        One row for each of 180 measurements, with columns ``subject`` (categorical,
        the numbers of 18 people), ``days`` (day of the study, 0 to 9) and
        ``reaction`` (average reaction time on that day, in milliseconds).

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    DataError
        If it is not the published file.
    """
    times = _load("sleepstudy", _SLEEPSTUDY)
    return times.assign(subject=times["subject"].astype("category"))


def check_homes(homes: pd.DataFrame) -> pd.DataFrame:
    """Check a table of homes before a model sees it.

    Parameters
    ----------
    homes : DataFrame
        One row per home, with columns ``county`` (categorical, or values to
        make one of), ``floor`` (0 or 1) and ``log_radon``. Others are left alone.

    Returns
    -------
    DataFrame
        A copy with ``county`` categorical, ``floor`` of integers and
        ``log_radon`` of floats.

    Raises
    ------
    TypeError
        If `homes` is not a table.
    ValueError
        If a column is missing, if there are no homes, if a county category has
        no home, if a value is missing or no finite number, or if a floor is
        neither 0 nor 1. The message names the value and its row.
    """
    _check_table("homes", homes, ("county", "floor", "log_radon"))
    county = homes["county"].astype("category")
    _refuse(county.isna(), homes["county"], "a county is missing")
    homes_per_county = county.value_counts(sort=False)
    empty = homes_per_county.index[homes_per_county == 0]
    if len(empty):
        raise ValueError(
            f"homes has no home in {len(empty)} of its county categories, {empty[0]!r} among "
            "them; drop them with homes['county'].cat.remove_unused_categories()"
        )
    floor = pd.to_numeric(homes["floor"], errors="coerce").astype(np.float64)
    _refuse(~floor.isin([0, 1]), homes["floor"], "floor must be 0 or 1")
    log_radon = pd.to_numeric(homes["log_radon"], errors="coerce").astype(np.float64)
    _refuse(~np.isfinite(log_radon), homes["log_radon"], "log_radon must be a finite number")
    return homes.assign(county=county, floor=floor.astype(np.int64), log_radon=log_radon)


def check_states(homes: pd.DataFrame) -> pd.DataFrame:
    """Check a table of homes in counties in states before a model sees it.

    Parameters
    ----------
    homes : DataFrame
        One row per home, with the columns of :func:`check_homes`, ``state``
        (categorical, or values to make one of) and ``log_uranium``.

    Returns
    -------
    DataFrame
        What :func:`check_homes` returns, with ``state`` categorical, without states
        that have no home.

    Raises
    ------
    TypeError
        If `homes` is not a table.
    ValueError
        As :func:`check_homes`, and if a state is missing, if ``log_uranium`` is no
        finite number, or if a county has two states or two values of uranium.
    """
    homes = check_homes(homes)
    _check_table("homes", homes, ("state", "log_uranium"))
    state = homes["state"].astype("category").cat.remove_unused_categories()
    _refuse(state.isna(), homes["state"], "a state is missing")
    soil = pd.to_numeric(homes["log_uranium"], errors="coerce").astype(np.float64)
    _refuse(~np.isfinite(soil), homes["log_uranium"], "log_uranium must be a finite number")
    homes = homes.assign(state=state, log_uranium=soil)
    for column in ("state", "log_uranium"):
        values = homes.groupby("county", observed=True)[column].nunique()
        if (values > 1).any():
            raise ValueError(f"county {values.idxmax()!r} has more than one {column}")
    return homes


def check_schools(schools: pd.DataFrame) -> pd.DataFrame:
    """Check a table of schools before a model sees it.

    Parameters
    ----------
    schools : DataFrame
        One row per school, with columns ``school``, ``effect`` and ``se``.

    Returns
    -------
    DataFrame
        A copy with ``effect`` and ``se`` of floats.

    Raises
    ------
    TypeError
        If `schools` is not a table.
    ValueError
        If a column is missing, if there are no schools, if a name is missing or
        there twice, if an effect is no finite number, or if a standard error is
        not positive. The message names the value and its row.
    """
    _check_table("schools", schools, ("school", "effect", "se"))
    names = schools["school"]
    _refuse(names.isna() | names.duplicated(), names, "every school needs a name of its own")
    effect = pd.to_numeric(schools["effect"], errors="coerce").astype(np.float64)
    _refuse(~np.isfinite(effect), schools["effect"], "effect must be a finite number")
    se = pd.to_numeric(schools["se"], errors="coerce").astype(np.float64)
    _refuse(~(np.isfinite(se) & (se > 0)), schools["se"], "se must be positive and finite")
    return schools.assign(effect=effect, se=se)


def _check_table(name: str, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{name} must be a pandas DataFrame, got {type(table).__name__}")
    for column in columns:
        if column not in table.columns:
            raise ValueError(f"{name} has no column {column!r}; it has {list(table.columns)}")
    if table.empty:
        raise ValueError(f"{name} is empty: it has no row")


def _refuse(bad: ArrayLike, values: pd.Series, rule: str) -> None:
    if np.any(bad):
        row = int(np.argmax(bad))
        raise ValueError(f"{rule}; row {values.index[row]} has {values.tolist()[row]!r}")


def checksums(content: bytes) -> dict[str, Any]:
    """Compute what `checksums.json` beside a data file says of the file.

    Parameters
    ----------
    content : bytes
        A table of comma-separated values without quotes, its first line the
        names of the columns.

    Returns
    -------
    dict
        ``sha256`` of the file, number of ``rows``, and the sha256 of each of
        the ``columns``, by which an edit is traced to its column.
    """
    header, *rows = (line.split(",") for line in _lines(content)[:-1])
    columns = zip(header, zip(*rows, strict=True), strict=True)
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": len(rows),
        "columns": {
            name: hashlib.sha256("\n".join(values).encode()).hexdigest() for name, values in columns
        },
    }


def _lines(content: bytes) -> list[str]:
    # The last one is empty, unless the file is cut off in the middle of a line.
    return content.decode(errors="replace").split("\n")


# The schema of a file: its columns in order, each with the function that reads
# one value of it, or raises a ValueError that says what the value must be.
Schema = Mapping[str, Callable[[str], object]]


def _name(text: str) -> str:
    if not text or text != text.strip():
        raise ValueError("a name without blanks around it")
    return text


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("a finite number")
    return number


def _activity(text: str) -> float:
    if _number(text) < 0:
        raise ValueError("an activity of 0 or more")
    return _number(text)


def _positive(text: str) -> float:
    if _number(text) <= 0:
        raise ValueError("a positive number")
    return _number(text)


def _day(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number of days")
    return int(text)


def _floor(text: str) -> int:
    if text not in ("0", "1"):
        raise ValueError("0 or 1")
    return int(text)


_RADON: Schema = {
    "county": _name,
    "floor": _floor,
    "activity": _activity,
    "log_radon": _number,
    "log_uranium": _number,
}
_RADON_US: Schema = {"state": _name, **_RADON}
_RADON_US_COUNTIES: Schema = {
    "fips": int,
    "state": _name,
    "county": _name,
    "longitude": _number,
    "latitude": _number,
    "log_uranium": _number,
}
_EIGHT_SCHOOLS: Schema = {"school": _name, "effect": _number, "se": _positive}
_SLEEPSTUDY: Schema = {"subject": int, "days": _day, "reaction": _positive}


def _load_homes(name: str, schema: Schema) -> pd.DataFrame:
    homes = _load(name, schema)
    return homes.assign(county=homes["county"].astype("category"))


def _load(name: str, schema: Schema, file: str = "") -> pd.DataFrame:
    path = DATA / name / f"{file or name}.csv"
    content = _read(path)
    sums = f"{file}_checksums.json" if file else "checksums.json"
    published = _published(path.with_name(sums), schema)
    table = _parse(path, content, schema, published["rows"])
    found = checksums(content)
    if found["sha256"] != published["sha256"]:
        columns = [c for c in schema if found["columns"][c] != published["columns"][c]]
        _fail(path, f", column {', '.join(map(repr, columns))}: edited, its checksum differs")
    return table


def _published(path: Path, schema: Schema) -> dict[str, Any]:
    try:
        published = json.loads(_read(path))
        if set(published["columns"]) == set(schema) and {"sha256", "rows"} < set(published):
            return published
    except (KeyError, TypeError, ValueError):
        pass
    _fail(path, ": these are not the checksums of the table beside it")


def _read(path: Path) -> bytes:
    if not DATA.is_dir():
        raise FileNotFoundError(
            f"{DATA} does not exist. The data are read from the repository: install the course "
            "from its root with `pip install --no-deps -e .`"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {_remedy(path)}")
    return path.read_bytes()


def _parse(path: Path, content: bytes, schema: Schema, rows: int) -> pd.DataFrame:
    before, carriage_return, _ = content.partition(b"\r")
    if carriage_return:
        line = before.count(b"\n") + 1
        _fail(path, f", line {line}: a carriage return; lines must end in LF, not in CR LF")
    *lines, cut = _lines(content)
    header = (lines or [cut])[0].split(",")
    if header != list(schema):
        _fail(path, f", line 1: columns are {header}, expected {list(schema)}")
    whole = max(len(lines) - 1, 0)
    if whole < rows:
        _fail(path, f", line {whole + 1}: truncated after it, {whole} of {rows} rows are whole")
    if cut or whole > rows:
        _fail(path, f", line {rows + 2}: there should be no more than {rows} rows")
    table = [
        _parse_line(path, number, line, schema) for number, line in enumerate(lines[1:], start=2)
    ]
    return pd.DataFrame(table, columns=list(schema))


def _parse_line(path: Path, number: int, line: str, schema: Schema) -> list[object]:
    texts = line.split(",")
    if len(texts) != len(schema):
        _fail(path, f", line {number}: {len(texts)} values, expected {len(schema)}: {line!r}")
    values = []
    for (column, read), text in zip(schema.items(), texts, strict=True):
        try:
            values.append(read(text))
        except ValueError as error:
            _fail(path, f", line {number}, column {column!r}: expected {error}, got {text!r}")
    return values


def _fail(path: Path, problem: str) -> NoReturn:
    raise DataError(f"{path}{problem}. {_remedy(path)}")


def _remedy(path: Path) -> str:
    root = shlex.quote(str(DATA.parent))
    remedy = f"Restore it: git -C {root} checkout -- {path.relative_to(DATA.parent).as_posix()}"
    script = path.with_name("make_data.py")
    if script.is_file():
        remedy += f" (or rebuild it: python {shlex.quote(str(script))})"
    return remedy
