"""Points by hand and the instructor's settings: what is read, and what is refused."""

import math

import pytest
from grading_class import result, write_class
from hypothesis import given
from hypothesis import strategies as st

from grading import gradebook, manual, settings
from grading.manual import Mark, MarksError
from grading.settings import Late, Settings, SettingsError

NAMES = {"s1": "s1", "=s2": "=s2"}
MOST = {"q1": 2.0, "q3": 5.0}


def marks(tmp_path, *texts):
    for number, text in enumerate(texts):
        (tmp_path / f"m{number}.csv").write_text("student,question,points,comment\n" + text)
    return manual.read(tmp_path, NAMES, MOST)


def test_marks_are_read(tmp_path):
    found = marks(tmp_path, "s1,q3,4.5,\"Good, but\"\n'=s2,q3,0,'=no\n", "s1,q1,2,\ns1,q3,,\n")
    place = f"{tmp_path / 'm0.csv'}, line"
    assert found == {
        ("s1", "q3"): Mark(4.5, "Good, but", f"{place} 2"),
        ("=s2", "q3"): Mark(0.0, "=no", f"{place} 3"),
        ("s1", "q1"): Mark(2.0, "", f"{tmp_path / 'm1.csv'}, line 2"),
    }


def test_without_tables_there_are_no_marks(tmp_path):
    assert manual.read(tmp_path / "none", NAMES, MOST) == {}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("s9,q3,1,", "line 2: there is no submission of 's9'"),
        ("s1,q9,1,", "line 2: there is no question 'q9'; there are: q1, q3"),
        ("s1,q3,six,", "line 2: points must be a number from 0 to 5, got 'six'"),
        ("s1,q3,5.1,", "from 0 to 5, got '5.1'"),
        ("s1,q3,-1,", "got '-1'"),
        ("s1,q3,nan,", "got 'nan'"),
        ("s1,q3,inf,", "got 'inf'"),
        ("s1,q3,1,a,b", "5 fields under 4 columns"),
        (f"s1,q3,1,{'x' * 5001}", "more than 5000 characters"),
    ],
)
def test_wrong_marks_are_refused_with_their_place(tmp_path, line, complaint):
    with pytest.raises(MarksError, match=complaint):
        marks(tmp_path, line + "\n")


def test_marks_that_contradict_each_other(tmp_path):
    marks(tmp_path, "s1,q3,4,\n", "s1,q3,4,\n")  # twice the same is once
    with pytest.raises(MarksError, match=r"m1.csv, line 2: 's1' gets 3 for q3, and 4 in .*m0.csv"):
        marks(tmp_path, "s1,q3,4,\n", "s1,q3,3,\n")


def test_a_table_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "m.csv").symlink_to("/etc/passwd")
    with pytest.raises(MarksError, match="symbolic link"):
        manual.read(tmp_path, NAMES, MOST)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("student,days\ns9,1\n", "no submission of 's9'"),
        ("student,days\ns1,soon\n", "days must be a number"),
        ("student,days\ns1,1\ns1,2\n", "line 3: 's1' stands twice"),
        ("student,hours\ns1,1\n", "no column 'days'"),
    ],
)
def test_wrong_late_days_are_refused(tmp_path, text, complaint):
    (tmp_path / "late.csv").write_text(text)
    with pytest.raises(MarksError, match=complaint):
        manual.late_days(tmp_path / "late.csv", NAMES)


# Settings ----------------------------------------------------------------------------------------


def read(tmp_path, text):
    (tmp_path / "class.toml").write_text(text)
    return settings.read(tmp_path / "class.toml")


def test_the_example_of_the_docstring_is_read(tmp_path):
    text = settings.__doc__.partition("::\n\n")[2].replace("\n    ", "\n").strip()
    found = read(tmp_path, text)
    assert found.weights == {"q3": 0.5, "q5": 0.0}
    assert found.accept == {"s17"}
    assert found.missing_is_zero
    assert found.duplicates == {"s4": "s4_second.ipynb"}
    assert found.canvas_assignment == "Pooling (4711)"
    assert (found.late.percent_per_day, found.late.grace_hours, found.late.most_percent) == (
        10, 1, 50
    )  # fmt: skip


def test_no_settings(tmp_path):
    assert settings.read(tmp_path / "class.toml") == Settings() == read(tmp_path, "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("late = 3", r"late must be a table, \[late\]"),
        ("[grace]", "unknown 'grace'; there are: accept"),
        ("[late]\nper_day = 3", "unknown 'per_day'; there are: due, percent_per_day"),
        ("[late]\npercent_per_day = 101", "between 0 and 100, got 101"),
        ("[late]\npercent_per_day = nan", "between 0 and 100, got nan"),
        ("[late]\npercent_per_day = true", "got True"),
        ("[late]\npercent_per_day = '10'", "got '10'"),
        ("[late]\ndue = 2026-10-05T23:59:00", "a time with its zone"),
        ("[late]\ndue = 2026-10-05", "a time with its zone"),
        ("[questions.q1]\nweight = -1", r"\[questions.q1\]: weight must be between 0"),
        ("[questions.q1]\nweight = 1\ndrop = true", "weight or drop, not both"),
        ("[questions.q1]\ndrop = 1", "drop must be true or false"),
        ("[questions]\nq1 = 2", r"\[questions.q1\] must be a table"),
        ("missing_is_zero = 1", "must be true or false"),
        ("accept = 's1'", "must be a list of students"),
        ("[duplicates]\ns1 = 3", "name of a file"),
        ("[export]\ncanvas_assignment = ' '", "must be a name"),
        ("a = ", "class.toml: Invalid value"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, text, complaint):
    with pytest.raises(SettingsError, match=complaint):
        read(tmp_path, text)


def test_days_that_have_begun_count_and_grace_is_free(tmp_path):
    late = read(
        tmp_path,
        "[late]\ndue = 2026-10-05T12:00:00Z\ngrace_hours = 1\npercent_per_day = 10\n"
        "most_percent = 25",
    ).late
    due = late.due.timestamp()
    hours = (-5, 0, 1, 1.01, 24, 24.01, 100)
    assert [late.days(due + 3600 * hour) for hour in hours] == [0, 0, 0, 1, 1, 2, 5]
    assert [late.share(days) for days in (0, 1, 2, 5)] == [0, 0.1, 0.2, 0.25]


@given(st.floats(0, 3650), st.floats(0, 100), st.floats(0, 100))
def test_being_late_never_costs_more_than_everything(days, percent, most):
    share = Late(percent_per_day=percent, most_percent=most).share(days)
    assert 0 <= share <= most / 100 <= 1
    assert not math.isnan(share)


def test_settings_about_nobody_or_nothing_are_refused(tmp_path):
    for text, complaint in (
        ("[questions.q9]\ndrop = true\n", "no question 'q9'; there are: q1, q2, q3"),
        ("accept = ['s9']\n", "accept names 's9'"),
        ("[duplicates]\ns1 = 'other.ipynb'\n", "no upload 'other.ipynb' to choose from"),
    ):
        results = [result("s1", identity="duplicate") if "dup" in text else result("s1")]
        with pytest.raises(SettingsError, match=complaint):
            gradebook.read(write_class(tmp_path, results, settings=text))
