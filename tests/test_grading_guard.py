"""The guard refuses every slip that an author has been seen to make."""

import json
import zipfile

import nbformat
import pytest

from grading import guard, key, making

NAME = "pooling"
PROBLEMS = making.load(NAME)


def broken(old, new, count=1):
    """The set with a master in which something was changed."""
    assert old in PROBLEMS.master
    master = PROBLEMS.master.replace(old, new, count)
    return making.ProblemSet(**{**vars(PROBLEMS), "master": master})


def make(problems, tmp_path, **options):
    return making.make(problems, key.DEMONSTRATION, tmp_path, execute=False, **options)


@pytest.fixture(scope="module")
def made():
    return making.views(PROBLEMS, key.DEMONSTRATION)


@pytest.fixture(scope="module")
def hidden(made):
    given = making.numbers(PROBLEMS, key.DEMONSTRATION)
    return guard.secrets(made.master, outputs=["estimate 1.8374\n"], given=given)


def test_the_set_as_it_is_passes(tmp_path):
    make(PROBLEMS, tmp_path)


# Slips in the master -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        # A solution without its beginning, in a cell and as a block.
        ("    # BEGIN SOLUTION\n", "", "not in pairs"),
        ("    # BEGIN SOLUTION\n", "    # BEGIN SOLUTIONS\n", "'# BEGIN SOLUTIONS' is no marker"),
        ("    # END SOLUTION\n", "", "BEGIN SOLUTION without END SOLUTION"),
        ("```otter\n# BEGIN SOLUTION\n```\n", "", "'# END SOLUTION' ends what was not begun"),
        ("```otter\n# END SOLUTION\n```\n", "", "ends what was not begun"),
        ("```otter\n# BEGIN SOLUTION\n", "```otter\n# BEGIN ANSWER\n", "'# BEGIN ANSWER' is no"),
        ("```otter\n# BEGIN TESTS\n```\n", "", "neither solution, test nor given"),
        ("# END QUESTION\n", "", "QUESTION was not ended"),
        # A hidden test that would be public.
        ('""" # BEGIN TEST CONFIG', '# HIDDN\n""" # BEGIN TEST CONFIG', "is '# HIDDEN' meant?"),
        ('""" # BEGIN TEST CONFIG', '# Secret\n""" # BEGIN TEST CONFIG', "begins with '# HIDDEN'"),
        ("success_message:", "hiddn: true\nsuccess_message:", "no option hiddn"),
        # Markers in the wrong kind of cell.
        (
            "import numpy as np\n",
            "import numpy as np\nx = 1  # SOLUTION\n",
            "outside of a solution",
        ),
        ("## Question 1:", "# BEGIN SOLUTION\n\n## Question 1:", "stands in the text"),
    ],
)
def test_a_slip_in_the_master_is_refused(old, new, fault, tmp_path):
    with pytest.raises((guard.GuardError, making.SetError), match=fault):
        make(broken(old, new), tmp_path)
    assert not list(tmp_path.rglob("*.ipynb"))


def test_both_markers_of_a_solution_forgotten(tmp_path):
    inside = PROBLEMS.master.split("    # BEGIN SOLUTION\n")[1].split("    # END SOLUTION\n")[0]
    whole = f"    # BEGIN SOLUTION\n{inside}    # END SOLUTION\n"
    with pytest.raises(guard.GuardError, match="without # BEGIN SOLUTION in it"):
        make(broken(whole, inside), tmp_path)


def test_solution_that_begins_too_late(tmp_path):
    late = broken(
        "    # BEGIN SOLUTION\n    shift = {{ offset }}\n",
        "    shift = {{ offset }}\n    # BEGIN SOLUTION\n",
    )
    with pytest.raises(guard.GuardError, match="more than scaffolding"):
        make(late, tmp_path)


def test_expected_value_in_a_public_check(tmp_path):
    told = broken(
        'assert low["median"] < low["mean"]',
        'assert abs(low["mean"] - 2.9542) < 0.001 < low["mean"]',
    )
    with pytest.raises(guard.GuardError, match=r"q1.py, line \d+: 2.9542 could be an answer"):
        make(told, tmp_path)


def test_solution_told_in_the_text(tmp_path):
    line = '"mean": np.exp(level + sigma**2 / 2) - shift,'
    told = broken("## Question 2:", f"Hint: `{line}`\n\n## Question 2:")
    with pytest.raises(guard.GuardError, match=r"pooling\.ipynb.*sigma"):
        make(told, tmp_path)


def test_a_hidden_test_reaches_the_instructor_only(tmp_path):
    secret = broken(
        "```otter\n# END TESTS\n",
        "```{code-cell} python\n# HIDDEN\ndef test_values_of_homes(home):\n"
        '    assert abs(home(0.25, 0.75)["median"] - 1.2345) < 10\n```\n\n```otter\n# END TESTS\n',
    )
    made = make(secret, tmp_path)
    assert "test_values_of_homes" not in "".join(made.tests.values())
    assert "1.2345" not in (tmp_path / NAME / "student" / f"{NAME}.ipynb").read_text()


# Slips in what is made from it -----------------------------------------------------------------


def test_the_student_notebook_as_it_is_passes(made):
    guard.check_notebook(made.student)


@pytest.mark.parametrize(
    ("slip", "fault"),
    [
        (lambda nb: nb.metadata.update(solution="w = n / (n + m)"), "metadata 'solution'"),
        (lambda nb: nb.cells[5].metadata.update(answer=1.83), "metadata 'answer'"),
        (
            lambda nb: nb.cells[4].update(
                outputs=[nbformat.v4.new_output("stream", text="1.8374\n")]
            ),
            "has output",
        ),
        (lambda nb: nb.cells[4].update(execution_count=7), "has output"),
        (lambda nb: nb.cells[0].update(attachments={"a.png": {}}), "attachment"),
        (lambda nb: nb.cells[4].update(source="def home(x):\n    return x + 1"), "scaffolding"),
        (lambda nb: nb.cells[4].update(source="shift = 0.126"), "scaffolding"),
        (lambda nb: nb.cells[4].update(source="def home(x:"), "no Python"),
    ],
)
def test_a_slip_in_the_notebook_is_refused(made, slip, fault):
    student = nbformat.from_dict(json.loads(making.write_notebook(made.student)))
    assert student.cells[4].metadata["hierarchical_models"]["role"] == "answer"
    slip(student)
    with pytest.raises(guard.GuardError, match=fault):
        guard.check_notebook(student)


def test_an_answer_in_text_is_refused(made):
    student = nbformat.from_dict(json.loads(making.write_notebook(made.student)))
    student.cells[-1].source = "The county should not be shrunk."
    with pytest.raises(guard.GuardError, match="is not empty"):
        guard.check_notebook(student)


def test_hidden_tests_are_refused_among_public_ones():
    with pytest.raises(guard.GuardError, match="a hidden test"):
        guard.check_tests({"q1.py": "@test_case(points=None, hidden=True)\ndef t(): ..."}, given={})


SECRET = "squared_bias = ((1 - keeps) * d) ** 2"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", f"x = 1\n{SECRET}\n"),
        ("a.md", f"Text, and `{SECRET.replace(' ', '')}`."),
        ("a.ipynb", json.dumps({"metadata": {"deep": [{"note": f"see {SECRET}"}]}})),
        ("a.ipynb", json.dumps({"metadata": {SECRET: 1}})),
        ("a.html", "<p>squared_bias = <span>((1</span> - keeps) <b>*</b> d) ** 2</p>"),
        ("a.html", f'<p data-source="{SECRET}">nothing</p>'),
        ("a.md", "The answer is 1.8374."),
        ("a.ipynb", json.dumps({"cells": [{"outputs": [{"value": 1.8374}]}]})),
        ("a.md", "since the homes of a group enter through their mean alone"),
    ],
)
def test_a_secret_is_found_wherever_it_hides(hidden, name, text, tmp_path):
    with pytest.raises(guard.GuardError, match=name):
        guard.check_text(name, text, hidden)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_text(text)
    with pytest.raises(guard.GuardError, match=name):
        guard.check_folder(tmp_path, hidden)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr(name, text)
    (tmp_path / "sub" / name).unlink()
    with pytest.raises(guard.GuardError, match=name):
        guard.check_folder(tmp_path, hidden)


def test_what_is_no_secret_is_not_found(hidden):
    guard.check_text("a.md", "w = 1, sd 0.742, mean 1.288, and 11.8374 is another number", hidden)


# The site ---------------------------------------------------------------------------------------


def site(folder, *, page="", source="", download="", term=None):
    (folder / "_sources").mkdir()
    (folder / "_downloads" / "abc").mkdir(parents=True)
    (folder / "set-pooling.html").write_text(f"<p>{page}</p>")
    (folder / "_sources" / "set-pooling.md").write_text(source)
    (folder / "_downloads" / "abc" / "notes.txt").write_text(download)
    terms = {"counti": [0, 1], term or "shrink": 1}
    index = {"docnames": ["index", "set-pooling"], "terms": terms, "titleterms": {"pool": 1}}
    (folder / "searchindex.js").write_text(f"Search.setIndex({json.dumps(index)})")
    return folder


def test_a_sound_site_passes(hidden, tmp_path):
    guard.check_site(site(tmp_path), {"set-pooling": hidden})


@pytest.mark.parametrize("place", ["page", "source", "download"])
def test_a_solution_in_the_site_is_refused(hidden, place, tmp_path):
    with pytest.raises(guard.GuardError, match="squared_bias"):
        guard.check_site(site(tmp_path, **{place: SECRET}), {"set-pooling": hidden})


def test_a_word_of_the_solution_in_the_search_index_is_refused(hidden, tmp_path):
    with pytest.raises(guard.GuardError, match="found by 'squared_bia'"):
        guard.check_site(site(tmp_path, term="squared_bia"), {"set-pooling": hidden})


def test_a_master_in_the_site_is_refused(hidden, tmp_path):
    (site(tmp_path) / "_sources" / "master.md").write_text("Question")
    with pytest.raises(guard.GuardError, match="a master in the site"):
        guard.check_site(tmp_path, {"set-pooling": hidden})
