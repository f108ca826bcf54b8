"""The gradebook: what counts, what is open, and what becomes of failed runs."""

import csv
import json
import subprocess

import numpy as np
import pytest
from grading_class import png, result, write_class
from hypothesis import given
from hypothesis import strategies as st

from grading import gradebook, manual
from grading.gradebook import GradebookError

MARKED = "student,question,points\n"


def read(out, results, students=None, **files):
    book = gradebook.read(write_class(out, results, students, **files))
    return book, {entry.key: entry for entry in book.entries}


def table(out):
    with (out / "private" / "gradebook.csv").open(newline="", encoding="utf-8") as file:
        return {(row["student"], row["question"]): row for row in csv.DictReader(file)}


def test_points_add_up_when_everything_is_marked(tmp_path):
    book, entries = read(tmp_path, [result("s1"), result("s2")], marks=MARKED + "s1,q3,4.5\n")
    assert book.max == 10
    assert (entries["s1"].score, entries["s1"].final) == (8.0, 8.0)
    assert (entries["s2"].score, entries["s2"].final) == (3.5, None)
    assert entries["s2"].open == ("to be marked: q3",)


@pytest.mark.parametrize("status", gradebook.FAILED)
def test_a_failed_run_is_no_zero_until_a_person_decides(tmp_path, status):
    results = [result("s1", status=status, reasons=["why"]), result("s2")]
    marks = MARKED + "s1,q3,4\ns2,q3,4\n"
    _, entries = read(tmp_path, results, marks=marks)
    assert entries["s1"].final is None
    assert status in entries["s1"].open
    gradebook.write(tmp_path)
    line = table(tmp_path)["s1", "total"]
    assert (line["status"], line["open"]) == (status, status)
    exported = (tmp_path / "private" / "export" / "canvas.csv").read_text()
    assert "s1,,s1,s1,,\n" in exported
    assert "s2,,s2,s2,,7.5\n" in exported
    # Accepted, it stands; or points by hand take its place.
    _, entries = read(tmp_path, results, marks=marks, settings='accept = ["s1"]\n')
    assert entries["s1"].final == (4 if status == "unreadable" else 7.5)
    by_hand = marks + "s1,q1,1\ns1,q2,0\n"
    _, entries = read(tmp_path, results, marks=by_hand, settings="")
    assert entries["s1"].final == 5


def test_an_unreadable_file_has_no_points_at_all(tmp_path):
    broken = result("s1", status="unreadable", questions=[], manual=[], reasons=["no JSON"])
    _, entries = read(tmp_path, [broken, result("s2")])
    assert {row.points for row in entries["s1"].rows} == {None}
    assert {row.status for row in entries["s1"].rows} == {"not run"}
    assert entries["s1"].open == ("unreadable",)


@pytest.mark.parametrize("status", ["unreadable", "crashed", "timed out"])
def test_what_was_never_asked_is_no_blank_answer(tmp_path, status):
    stopped = result("s1", points=(0.0, 0.0), status=status)
    for question in stopped["questions"][:2]:
        question |= {"status": "missing", "points": 0.0}
    blank = result("s2", points=(0.0, 0.0))
    blank["questions"][0] |= {"status": "missing", "points": 0.0}
    book, entries = read(tmp_path, [stopped, blank])
    assert [row.points for row in entries["s1"].rows[:2]] == [None, None]
    assert [row.status for row in entries["s1"].rows[:2]] == ["not run", "not run"]
    assert entries["s2"].rows[0].points == 0
    assert (gradebook.items(book)[0].n, gradebook.items(book)[0].failed) == (1, 1)
    # Accepted, it is what it has: here nothing but what a person gave.
    if status != "unreadable":
        marks = MARKED + "s1,q3,4\n"
        _, entries = read(tmp_path, [stopped], marks=marks, settings="accept = ['s1']\n")
        assert entries["s1"].final == 4


def test_a_class_in_which_nothing_could_be_read_is_reported(tmp_path):
    broken = result("s1", status="unreadable", questions=[], manual=[])
    gradebook.write(write_class(tmp_path, [broken]))
    assert "unreadable" in (tmp_path / "private" / "index.html").read_text()


def test_who_has_handed_in_nothing_is_listed(tmp_path):
    students = ["s1,A,", "s2,B,"]
    book, entries = read(tmp_path, [result("s2")], students, marks=MARKED + "s2,q3,1\n")
    assert [entry.key for entry in book.entries] == ["s1", "s2"]
    assert entries["s1"].final is None
    assert entries["s1"].status == "not submitted"
    _, entries = read(tmp_path, [result("s2")], students, settings="missing_is_zero = true\n")
    assert entries["s1"].final == 0


def test_strangers_and_duplicates_get_no_page_and_no_export(tmp_path):
    results = [
        result("s1", identity="duplicate", file="one.ipynb"),
        result("s1", identity="duplicate", file="two.ipynb"),
        result(None, identity="stranger", file="zorro.ipynb"),
        result("s9", file="not_on_the_list.ipynb"),
        result("s2"),
    ]
    students = ["s1,A,", "s2,B,"]
    out = write_class(tmp_path, results, students, marks=MARKED + "s2,q3,1\n")
    gradebook.write(out)
    assert [page.name.split("-")[0] for page in (out / "return").iterdir()] == ["s2"]
    for name in ("canvas", "moodle", "nbgrader"):
        text = (out / "private" / "export" / f"{name}.csv").read_text()
        assert "zorro" not in text
        assert "r000" not in text
    identities = {key[0]: row["identity"] for key, row in table(out).items()}
    assert identities == {
        "s2": "ok", "r000": "duplicate", "r001": "duplicate", "r002": "stranger",
        "r003": "stranger",
    }  # fmt: skip
    # Marks go to one of the two by the name of its result; the choice makes it the student's.
    settings = '[duplicates]\ns1 = "two.ipynb"\n'
    _, entries = read(out, results, students, settings=settings)
    assert entries["s1"].file == "two.ipynb"
    assert entries["s1"].identity == "ok"
    assert entries["r000"].identity == "replaced"


def test_two_results_that_both_claim_to_be_sure_are_both_in_doubt(tmp_path):
    _, entries = read(tmp_path, [result("s1"), result("s1"), result("s2")])
    assert [entries[key].identity for key in ("r000", "r001", "s2")] == [
        "duplicate", "duplicate", "ok"
    ]  # fmt: skip


def test_a_student_who_is_called_like_another_result(tmp_path):
    _, entries = read(tmp_path, [result(None, identity="stranger"), result("r000")])
    assert len(entries) == 2
    assert sorted(entry.identity for entry in entries.values()) == ["ok", "stranger"]


def test_weights_and_dropped_questions(tmp_path):
    settings = "[questions.q1]\nweight = 0.5\n[questions.q3]\ndrop = true\n"
    book, entries = read(tmp_path, [result("s1")], settings=settings)
    assert book.max == 4
    assert entries["s1"].final == 2.5


def test_a_mark_takes_the_place_of_a_score(tmp_path):
    _, entries = read(tmp_path, [result("s1")], marks=MARKED + "s1,q1,0.5\ns1,q3,1\n")
    assert entries["s1"].final == 0.5 + 1.5 + 1
    assert entries["s1"].rows[0].status == "marked"


LATE = "[late]\ndue = 2026-09-20T00:00:00Z\npercent_per_day = 10\nmost_percent = 30\n"
DUE = 1789862400.0


def test_late_work(tmp_path):
    hours = {"s1": 0, "s2": 1, "s3": 25, "s4": 1000, "s5": 1000}
    results = [result(key, modified=DUE + 3600 * late) for key, late in hours.items()]
    marks = MARKED + "".join(f"{key},q3,1.5\n" for key in hours)
    late = "student,days\ns5,0\n"
    _, entries = read(tmp_path, results, marks=marks, settings=LATE, late=late)
    scores = {key: entry.final for key, entry in entries.items()}
    assert scores == pytest.approx({"s1": 5, "s2": 4.5, "s3": 4, "s4": 3.5, "s5": 5})


def test_without_a_due_time_the_days_are_those_of_the_result(tmp_path):
    settings = "[late]\npercent_per_day = 10\n"
    _, entries = read(tmp_path, [result("s1", late_days=2)], settings=settings)
    assert entries["s1"].penalty == pytest.approx(0.7)


def test_a_new_run_keeps_what_people_did(tmp_path):
    out = write_class(
        tmp_path, [result("s1")], marks=MARKED + "s1,q3,4\n", settings=LATE, late="student,days\n"
    )
    mine = [out / "private" / name for name in ("marks/marks.csv", "class.toml", "late.csv")]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in mine]
    gradebook.write(out)
    write_class(out, [result("s1", points=(0.0, 0.0)), result("s2")])
    gradebook.write(out)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in mine] == before
    assert table(out)["s1", "q3"]["points"] == "4"
    assert table(out)["s1", "total"]["points"] == "4"


def test_pages_that_are_out_of_date_go_and_the_rest_stays(tmp_path):
    out = write_class(tmp_path, [result("s1"), result("s2")])
    gradebook.write(out)
    (out / "private" / "results" / "r001.json").unlink()
    (out / "return" / "mine.txt").write_text("kept")
    gradebook.write(out)
    names = sorted(path.name.split("-")[0] for path in (out / "return").iterdir())
    assert names == ["mine.txt", "s1"]
    assert not list(out.rglob("*.new"))


def test_the_same_results_give_the_same_files(tmp_path):
    made = []
    for name in ("a", "b"):
        out = write_class(tmp_path / name, [result("s1"), result("s2")])
        gradebook.write(out)
        made.append({str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.*")
                     if p.is_file()})  # fmt: skip
    assert made[0] == made[1]


def test_reports_are_ignored_by_git_and_closed_to_others(tmp_path):
    out = write_class(tmp_path / "out", [result("s1")])
    gradebook.write(out)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    status = subprocess.run(
        ["git", "status", "--porcelain", "-uall"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert status.stdout == ""
    assert (out / "private").stat().st_mode & 0o077 == 0


def test_the_json_holds_what_the_table_holds(tmp_path):
    out = write_class(tmp_path, [result("s1"), result("s2", status="crashed")])
    gradebook.write(out)
    content = json.loads((out / "private" / "gradebook.json").read_text())
    lines = table(out)
    for each in content["submissions"]:
        for row in each["rows"]:
            line = lines[each["key"], row["question"]]
            assert line["points"] == ("" if row["points"] is None else f"{row['points']:g}")
            assert line["status"] == row["status"]
        assert float(lines[each["key"], "total"]["points"]) == each["score"]
    assert content["submissions"][1]["final"] is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda path: path.write_text("{"), "is damaged .*; delete it and grade again"),
        (lambda path: path.write_text("[" * 100_000), "is damaged"),
        (lambda path: path.write_text("[]"), "is damaged"),
        (lambda path: path.write_text('{"version": 2}'), "has version 2, and not 1"),
        (lambda path: path.write_text('{"version": 1}'), "has no 'set'"),
        (lambda path: path.write_text(json.dumps(result("s1", status="fine"))), "status 'fine'"),
        (lambda path: path.unlink(), "holds no results: grade first"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "symbolic link"),
    ],
)
def test_a_damaged_result_is_named(tmp_path, change, complaint):
    out = write_class(tmp_path, [result("s1")])
    change(out / "private" / "results" / "r000.json")
    with pytest.raises(GradebookError, match=complaint):
        gradebook.write(out)
    assert not (out / "private" / "gradebook.csv").exists()


def test_a_result_that_is_too_large_is_not_parsed(tmp_path, monkeypatch):
    out = write_class(tmp_path, [result("s1")])
    monkeypatch.setattr(gradebook, "LARGEST", 100)
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(GradebookError, match="more than 100 bytes"):
        gradebook.write(out)


@pytest.mark.parametrize("name", ["return", "private/submissions", "private/marking"])
def test_nothing_is_written_through_a_link(tmp_path, name):
    out = write_class(tmp_path / "out", [result("s1")])
    (tmp_path / "elsewhere").mkdir()
    (out / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GradebookError, match="symbolic link"):
        gradebook.write(out)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("wrong", ["marks", "settings", "late"])
def test_a_wrong_file_of_the_instructor_stops_it_before_anything_is_written(tmp_path, wrong):
    out = write_class(tmp_path, [result("s1")], **{wrong: "no, such, thing\n"})
    with pytest.raises(ValueError, match=r"marks\.csv|class\.toml|late\.csv"):
        gradebook.write(out)
    assert not (out / "private" / "gradebook.csv").exists()


def test_questions_come_from_the_bundle_if_there_is_one(tmp_path):
    out = write_class(tmp_path, [result("s1", status="unreadable", questions=[], manual=[])])
    questions = [
        {"name": "q1", "title": "One", "points": 4.0, "section": "a.html", "manual": False},
        {"name": "q2", "title": "Two", "points": 2.0, "section": "a.html", "manual": True},
    ]
    bundle = {"set": "pooling", "title": "Pooling", "demonstration": True, "questions": questions}
    (out / "private" / "bundle.json").write_text(json.dumps(bundle))
    book = gradebook.read(out)
    assert (book.title, book.max, book.demonstration) == ("Pooling", 6, True)
    gradebook.write(out)
    assert "demonstration key" in (out / "private" / "index.html").read_text()
    assert (out / "private" / "marking" / "q2.html").exists()


# Names of pages --------------------------------------------------------------------------------


@given(st.text(), st.text())
def test_names_of_pages_are_harmless_and_all_different(one, other):
    name = gradebook._page(one)
    assert name.isascii()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
    assert len(name) < 80
    assert not name.startswith((".", "-"))
    assert (one == other) == (name == gradebook._page(other))


HOSTILE = [
    "../../etc/passwd", "/etc/passwd", "..", "a/b", "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "\u202egnp.exe", "a\0b", "con", "x" * 5000, "\udcff", "{{ 7*7 }}", '"><img src=x>', "-rf",
]  # fmt: skip


def test_hostile_identities_stay_inside_the_folder(tmp_path):
    out = tmp_path / "out"
    write_class(out, [result(name, file=f"{name}.ipynb") for name in HOSTILE])
    gradebook.write(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(list((out / "return").iterdir())) == len(HOSTILE)
    for (student, _), row in table(out).items():
        assert not student.startswith(("=", "+", "-", "@"))
        assert not row["file"].startswith(("=", "+", "-", "@"))
        assert not set("\0\u202e\udcff") & set(student + row["file"])


# Statistics --------------------------------------------------------------------------------------


def test_items_agree_with_numpy(tmp_path):
    rng = np.random.default_rng(4)
    ability = rng.normal(size=40)
    scores = np.clip(1 + 0.5 * ability[:, None] + rng.normal(size=(40, 2)), 0, 2)
    hand = np.clip(2 + ability + rng.normal(size=40), 0, 5)
    results = [result(f"s{i:02d}", points=row.tolist()) for i, row in enumerate(scores)]
    for number, each in enumerate(results):
        each["questions"][0]["seconds"] = number / 10
    marks = MARKED + "".join(f"s{i:02d},q3,{points}\n" for i, points in enumerate(hand))
    book, _ = read(tmp_path, results, marks=marks)
    points = np.column_stack([scores, hand])
    for place, item in enumerate(gradebook.items(book)):
        own, rest = points[:, place], np.delete(points, place, axis=1).sum(axis=1)
        assert item.difficulty == pytest.approx(own.mean() / book.questions[place].max)
        assert item.discrimination == pytest.approx(np.corrcoef(own, rest)[0, 1])
        # With itself among the points it would look better.
        assert item.discrimination < np.corrcoef(own, points.sum(axis=1))[0, 1]
    first = gradebook.items(book)[0]
    assert (first.seconds, first.longest) == (pytest.approx(1.95), pytest.approx(3.9))


def test_failed_runs_are_no_zeros_in_the_statistics(tmp_path):
    results = [result(f"s{i}", points=(float(i % 3), 1.0)) for i in range(6)]
    results[5]["questions"][0] |= {"status": "timed out", "points": 0.0}
    results.append(result("s6", status="unreadable", questions=[], manual=[]))
    book, _ = read(tmp_path, results, ["s1,,", *(f"s{i},," for i in (0, 2, 3, 4, 5, 6, 7))])
    first, second, third = gradebook.items(book)
    assert (first.n, first.failed) == (5, 2)
    assert first.difficulty == pytest.approx((0 + 1 + 2 + 0 + 1) / 5 / 2)
    assert (second.n, second.failed, second.discrimination) == (6, 1, None)
    assert (third.n, third.open, third.difficulty) == (0, 6, None)


def test_marks_of_nobody_are_refused(tmp_path):
    write_class(tmp_path, [result("s1", manual=[{"name": "q3", "figure": png(), "text": ""}])],
                marks=MARKED + "s7,q3,1\n")  # fmt: skip
    with pytest.raises(manual.MarksError, match="no submission of 's7'"):
        gradebook.read(tmp_path)
