"""From a master to notebooks and pages: what is wrong is refused early, in words that help."""

import json
import shutil
import zipfile
from dataclasses import replace

import jupytext
import pytest

from grading import guard, key, making, rehearsal
from grading.questions import Question

PROBLEMS = making.load("pooling")
KEY = "9a7c1f60d2b84e35a1c09e7f5b6d2384"


def changed(old, new):
    assert old in PROBLEMS.master
    return replace(PROBLEMS, master=PROBLEMS.master.replace(old, new, 1))


def test_unknown_sets_are_refused_with_those_that_exist():
    for name in ("nothing", "../pooling", "pooling/../pooling"):
        with pytest.raises(making.SetError, match=r"there is no set .*pooling"):
            making.load(name)


@pytest.mark.parametrize(
    ("problems", "fault"),
    [
        (changed("{{ offset }}", "{{ ofst }}"), "'ofst' is undefined"),
        (changed("{{ offset }}", "{{ offset"), "pooling: expected token"),
        (changed("name: q2", "name: q9"), "master asks q1, q9.*questions.py q1, q2"),
        (changed("name: q6\nmanual: true", "name: q6"), "q6 is manual in one place only"),
        (replace(PROBLEMS, questions=PROBLEMS.questions[:-1]), "no attribute 'q7'"),
        (replace(PROBLEMS, draw=lambda rng: {"a": (1, 2)}), "no JSON value"),
        (replace(PROBLEMS, draw=lambda rng: {1: 2}), "no JSON value"),
    ],
)
def test_a_set_that_does_not_fit_together_is_refused(problems, fault):
    with pytest.raises(making.SetError, match=fault):
        making.views(problems, key.DEMONSTRATION)


def test_a_number_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        making.numbers(replace(PROBLEMS, draw=lambda rng: {"a": float("nan")}), key.DEMONSTRATION)


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("master.md", "# Problem set:", "# Set:", "has no title"),
        ("questions.py", 'Question("q2"', 'Question("q3"', "questions must be q1, q2"),
        ("answers.py", '"unusual": Arch', '"strange": Arch', "must have the archetypes"),
        ("answers.py", '{"q1": 1, "q2": 1', '{"q1": 1, "q8": 1', "wrong_idea answers q8"),
    ],
)
def test_a_folder_that_does_not_fit_together_is_refused(file, old, new, fault, tmp_path):
    shutil.copytree(making.ROOT / "assignments", tmp_path / "assignments")
    path = tmp_path / "assignments" / "pooling" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(making.SetError, match=fault):
        making.load("pooling", tmp_path)


@pytest.mark.slow
def test_a_solution_that_fails_its_own_public_check_is_refused(tmp_path):
    wrong = changed('"median": np.exp(level) - shift', '"median": np.exp(level) * 9 - shift')
    with pytest.raises(making.SetError, match="fails its public checks of q1"):
        making.make(wrong, key.DEMONSTRATION, tmp_path)


@pytest.mark.slow
def test_a_solution_that_raises_is_refused(tmp_path):
    wrong = changed("import numpy as np\n", "import numpy as np\nraise SystemError('broken')\n")
    with pytest.raises(making.SetError, match=r"(?s)the solution fails: .*broken"):
        making.make(wrong, key.DEMONSTRATION, tmp_path)


@pytest.mark.slow
def test_a_value_that_the_solution_puts_out_is_kept_from_students(tmp_path):
    put_out = "    # END SOLUTION\n\n\ndef homes_needed"
    telling = changed(put_out, f"{put_out.removesuffix('def homes_needed')}def homes_needed")
    telling = replace(
        telling,
        master=telling.master.replace(
            "ax.legend();\n", "ax.legend();\nprint(f'{shrunk.max():.5f}')\n"
        ),
    )
    made = making.views(telling, key.DEMONSTRATION)
    (text,) = [text for text in making.try_solution(made) if "." in text and "Axes" not in text]
    value = text.split()[0]
    with pytest.raises(guard.GuardError, match=f"the value {value}"):
        making.make(
            replace(
                telling,
                master=telling.master.replace("Then write one", f"(It is {value}.) Then write one"),
            ),
            key.DEMONSTRATION,
            tmp_path,
        )


def test_every_cell_of_a_question_knows_its_question_and_its_role():
    made = making.views(PROBLEMS, key.DEMONSTRATION)
    for notebook in (made.student, made.solution):
        roles = {}
        for cell in notebook.cells:
            corner = cell.metadata.get("hierarchical_models", {})
            if "role" in corner:
                roles.setdefault(corner["question"], []).append((corner["role"], cell.cell_type))
        for question in PROBLEMS.questions:
            if question.manual:
                assert ("answer", "markdown") in roles[question.name]
            else:
                assert roles[question.name][-1] == ("check", "code")
                assert ("answer", "code") in roles[question.name]
    assert made.student.metadata["hierarchical_models"]["set"] == "pooling"


def test_what_is_handed_out_is_one_folder_with_the_checks():
    made = making.views(PROBLEMS, key.DEMONSTRATION)
    with zipfile.ZipFile(rehearsal.io.BytesIO(making.packed("pooling", made))) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert names == ["pooling/pooling.ipynb", *(f"pooling/tests/q{n}.py" for n in range(1, 6))]


def test_a_line_about_a_question():
    def about(**options):
        question = Question("q1", "One", options.pop("points", 2), "easy", "a.html", **options)
        return making.about(question)

    marks = {"draw": lambda rng, given: [], "score": lambda requests, answers, given: []}
    assert about(manual=True) == "*Easy, 2 points, marked by a person.*"
    assert about(points=1, **marks) == (
        "*Easy, 1 point. May use `funnel.data`, `funnel.priors`, `funnel.figures`, "
        "not `funnel.models` or `funnel.exact`.*"
    )
    assert "`funnel.exact`, not `funnel.models`" in about(may_use=("funnel.exact",), **marks)
    assert "not" not in about(may_use=("funnel.exact", "funnel.models"), **marks)


# The command ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_command_makes_a_class(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLASS_KEY", KEY)
    assert making.main(["pooling", "--out", str(tmp_path)]) == 0
    assert "demonstration" not in capsys.readouterr().out
    bundle = json.loads((tmp_path / "pooling" / "probes" / "bundle.json").read_text())
    assert bundle["numbers"] == making.numbers(PROBLEMS, key.read(KEY))
    assert not bundle["demonstration"]
    rubric = (tmp_path / "pooling" / "rubric.html").read_text(encoding="utf-8")
    assert rubric == making.rubric(PROBLEMS, key.read(KEY))


def test_command_says_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLASS_KEY", KEY[:20])
    assert making.main(["pooling", "--out", str(tmp_path)]) == 1
    assert "needs 32" in capsys.readouterr().err
    monkeypatch.delenv("CLASS_KEY")
    assert making.main(["nothing", "--out", str(tmp_path)]) == 1
    assert "there is no set 'nothing'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_many_keys_are_checked_and_a_wrong_score_is_told(capsys, monkeypatch, tmp_path):
    report = tmp_path / "checked.json"
    report.write_text('{"other": 1}')
    monkeypatch.setattr(making, "CHECKED", report)
    assert making.main(["pooling", "--check-keys", "1"]) == 0
    right = {"keys": 1, "full marks": 1, "nothing elsewhere": 1}
    assert json.loads(report.read_text()) == {"other": 1, "pooling": right}
    capsys.readouterr()
    monkeypatch.setattr(rehearsal, "expected", lambda problems, kind: {"q1": -1})
    assert rehearsal.check_keys([PROBLEMS], 1, report) == 1
    assert json.loads(report.read_text())["pooling"]["full marks"] == 0
    assert "seed" in capsys.readouterr().out


# Pages ------------------------------------------------------------------------------------------


def course(root):
    (root / "book").mkdir(parents=True)
    shutil.copytree(making.ROOT / "assignments" / "pooling", root / "assignments" / "pooling")
    shutil.copy(making.ROOT / "_config.yml", root)
    return root


def test_pages_are_made_anew_and_without_answers(tmp_path):
    root = course(tmp_path / "course")
    (root / "book" / "set-old.md").write_text("stale")
    (root / "book" / "sets").mkdir()
    (root / "book" / "sets" / "stale.zip").write_text("stale")
    hidden = making.write_pages(root)
    assert list(hidden) == ["set-pooling"]
    made = sorted(str(p.relative_to(root / "book")) for p in (root / "book").rglob("*.*"))
    checks = [f"sets/pooling/tests/q{n}.py" for n in range(1, 6)]
    assert made == ["set-pooling.md", "sets/pooling.zip", *checks]
    page = (root / "book" / "set-pooling.md").read_text()
    assert 'execution_mode: "off"' in page
    assert "SOLUTION" not in page
    notebook = jupytext.reads(page, fmt="md:myst")
    given = making.numbers(making.load("pooling", root), key.DEMONSTRATION)
    guard.check_tests({p: (root / "book" / p).read_text() for p in checks}, given=given)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    student = making.views(PROBLEMS, key.DEMONSTRATION).student
    assert cells[1:] == [c.source for c in student.cells if c.cell_type == "code"][1:]
    assert 'tests_dir="sets/pooling/tests"' in cells[0]
    assert "demonstration key" in page


def test_a_slip_leaves_no_page(tmp_path):
    root = course(tmp_path / "course")
    master = root / "assignments" / "pooling" / "master.md"
    master.write_text(master.read_text().replace("    # BEGIN SOLUTION\n", "", 1))
    with pytest.raises(guard.GuardError, match="q1"):
        making.write_pages(root)
    assert not list((root / "book").glob("*.md"))


def test_no_sets_no_pages(tmp_path):
    (tmp_path / "book").mkdir()
    assert making.write_pages(tmp_path) == {}
