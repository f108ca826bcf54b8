"""Whose an upload is: names that systems write, names that students write, and odd files."""

import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading import roster
from grading.roster import Claim, RosterError, Student, claim

CLASS = {
    "s1": Student("s1", "Jane Doe", "jane@example.edu", canvas_id="12345"),
    "s2": Student("s2", "Núñez Prado, María José", "mj@example.edu"),
    "s3": Student("s3", "Li Wei"),
    "s4": Student("s4", "Wei Li"),
}


def whose(names, students=CLASS, folder=Path("/in")):
    files = [folder / name for name in names]
    found = roster.identify(files, students, folder)
    return {str(file.relative_to(folder)): answer for file, answer in found.items()}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("doejane_12345_67890_my_work.ipynb", Claim("doejane", "canvas", "12345")),
        ("doejane_LATE_12345_67890_work-1.ipynb", Claim("doejane", "canvas", "12345")),
        ("Jane Doe_77_assignsubmission_file_/x.ipynb", Claim("Jane Doe", "moodle", "77")),
        ("Jane Doe_77_assignsubmission_file/x.ipynb", Claim("Jane Doe", "moodle", "77")),
        ("Jane Doe_77_assignsubmission_file_x.ipynb", Claim("Jane Doe", "moodle", "77")),
        ("s1/deep/down/x.ipynb", Claim("s1", "folder")),
        ("s1.IPYNB", Claim("s1", "file")),
    ],
)
def test_claims_of_the_names_of_uploads(name, wanted):
    assert claim(PurePosixPath(name)) == wanted


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("s1.ipynb", "s1"),
        ("S1.ipynb", "s1"),
        ("s1_pooling.ipynb", "s1"),
        ("s1 (2).ipynb", "s1"),
        ("jane@example.edu.ipynb", "s1"),
        ("Jane Doe.ipynb", "s1"),
        ("Jane Doe_77_assignsubmission_file_/pooling.ipynb", "s1"),
        ("s1/pooling.ipynb", "s1"),
        ("marianose_1_2_x.ipynb", None),
        ("nunezpradomariajose_1_2_x.ipynb", "s2"),
        ("somebodyelse_12345_2_x.ipynb", "s1"),  # Canvas' own number goes before the name
    ],
)
def test_uploads_find_their_students(name, student):
    wanted = (student, "ok") if student else (None, "stranger")
    assert whose([name]) == {name: wanted}


@pytest.mark.parametrize(
    "name",
    [
        "doejane_12345_67890_s2.ipynb",
        "doejane_12345_67890_Li Wei_9_assignsubmission_file_.ipynb",
        "Jane Doe_77_assignsubmission_file_/s2.ipynb",
        "Jane Doe_77_assignsubmission_file_/nunezpradomariajose_1_2_x.ipynb",
        "Jane Doe_77_assignsubmission_file_s2_1_2_x.ipynb",
        "s1/s2.ipynb",
    ],
)
def test_what_the_student_writes_into_a_name_claims_nothing(name):
    assert whose([name])[name] == ("s1", "ok")


def test_two_of_one_identity_are_both_reported():
    found = whose(["s1.ipynb", "Jane Doe_77_assignsubmission_file_/x.ipynb", "s2.ipynb"])
    assert list(found.values()) == [("s1", "duplicate"), ("s1", "duplicate"), ("s2", "ok")]


def test_a_name_that_two_could_have_is_not_guessed():
    name = "Li Wei_3_assignsubmission_file_/x.ipynb"
    assert whose([name])[name] == (None, "ambiguous")


def test_strangers_are_reported():
    assert whose(["zorro.ipynb"])["zorro.ipynb"] == (None, "stranger")


def test_without_a_list_the_name_is_the_identity():
    found = whose(
        ["ann.ipynb", "Ann/x.ipynb", "doejane_1_2_x.ipynb", "Jo_7_assignsubmission_file_/x.ipynb"],
        None,
    )
    wanted = [("ann", "duplicate"), ("Ann", "duplicate"), ("doejane_1", "ok"), ("Jo_7", "ok")]
    assert list(found.values()) == wanted


def test_the_folder_is_found_when_it_is_not_given(tmp_path):
    alone = tmp_path / "Jane Doe_77_assignsubmission_file_" / "x.ipynb"
    assert roster.identify([alone], CLASS) == {alone: ("s1", "ok")}
    two = [tmp_path / "s1" / "x.ipynb", tmp_path / "s2" / "x.ipynb"]
    assert [how for how, _ in roster.identify(two, CLASS).values()] == ["s1", "s2"]


def test_links_are_listed_and_refused_and_never_followed(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "in"
    (outside / "deep").mkdir(parents=True)
    (outside / "secret.ipynb").write_text("{}")
    (folder / "s3").mkdir(parents=True)
    (folder / "s1.ipynb").symlink_to(outside / "secret.ipynb")
    (folder / "s2").symlink_to(outside)
    (folder / "s3" / "x.ipynb").write_text("{}")
    (folder / "s4.txt").symlink_to("/etc/passwd")
    (folder / "s2.ipynb").symlink_to("nowhere")
    found = roster.find(folder)
    names = [str(path.relative_to(folder)) for path in found]
    assert names == ["s1.ipynb", "s2", "s2.ipynb", "s3/x.ipynb", "s4.txt"]
    how = dict(zip(names, roster.identify(found, CLASS, folder).values(), strict=True))
    assert how.pop("s3/x.ipynb") == ("s3", "ok")
    assert set(how.values()) == {(None, "symlink")}
    inside = folder / "s2" / "secret.ipynb"
    assert roster.identify([inside], CLASS, folder) == {inside: (None, "symlink")}


def test_debris_of_archives_and_editors_is_no_upload(tmp_path):
    for name in ("__MACOSX/._s1.ipynb", "._s1.ipynb", ".ipynb_checkpoints/s1.ipynb", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "s1.ipynb").write_text("")
    assert roster.find(tmp_path) == [tmp_path / "s1.ipynb"]


def test_no_folder():
    with pytest.raises(RosterError, match="is no folder"):
        roster.find(Path("/nowhere/at/all"))


# The list of the class ---------------------------------------------------------------------------


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_a_list_from_a_spreadsheet(tmp_path):
    text = "﻿Student; Name ;email\r\ns1;Doe, Jane;jane@example.edu\r\n;;\r\n\r\ns2;;\r\n"
    found = roster.read(write(tmp_path / "r.csv", text))
    assert found == {
        "s1": Student("s1", "Doe, Jane", "jane@example.edu"),
        "s2": Student("s2"),
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no column 'student'"),
        ("name,email\nA,b\n", "no column 'student'"),
        ("student,phone\ns1,1\n", "a column 'phone'"),
        ("student,student\ns1,s1\n", "a column twice"),
        ("student,name\n", "lists no students"),
        ("student,name\ns1,A,b\n", "line 2: 3 fields under 2 columns"),
        ("student,name\ns1,A\n,B\n", "line 3: no student"),
        ("student,name\ns1,A\nS1,B\n", "line 3: 'S1' stands already in line 2"),
        ("student,name\ns1,A\0\n", "NUL"),
        ("student\n" + "x" * 140_000, "line 2: field larger"),
    ],
)
def test_a_wrong_list_is_refused_with_its_place(tmp_path, text, complaint):
    path = write(tmp_path / "r.csv", text)
    with pytest.raises(RosterError, match=complaint) as refused:
        roster.read(path)
    assert str(path) in str(refused.value)


def test_a_list_in_another_encoding_or_too_large_or_missing(tmp_path):
    with pytest.raises(RosterError, match="not in UTF-8"):
        roster.read(write(tmp_path / "r.csv", "student\nMüller\n", "latin-1"))
    with pytest.raises(RosterError, match="more than"):
        roster.read(write(tmp_path / "r.csv", "student\n" + "s\n" * 3_000_000))
    with pytest.raises(RosterError, match="cannot read"):
        roster.read(tmp_path / "none.csv")


# Whatever a name may be --------------------------------------------------------------------------


@given(st.text(min_size=1).filter(lambda name: "/" not in name and name not in (".", "..")))
def test_no_name_breaks_it_and_none_is_taken_for_a_student(name):
    found = whose([name + ".ipynb"])
    ((student, how),) = found.values()
    assert (student is None) == (how in ("stranger", "ambiguous"))
    ((student, how),) = whose([name + ".ipynb"], None).values()
    assert student is None or not any(
        unicodedata.category(char) in ("Cc", "Cs") or char in "\u202e\u2066"
        for char in student.replace("\n", "").replace("\t", "")
    )


@pytest.mark.parametrize("char", ["\0", "\x1b", "\u202e", "\u2066", "\udc80", "\x85"])
def test_hidden_characters_are_shown(char):
    assert roster.plain(f"a{char}b\n\tc") == "a\ufffdb\n\tc"
