"""Every problem set: its five honest submissions score what they must, and last year's nothing."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from grading import key, making, rehearsal

SETS = making.names()
# Three classes, drawn once.
KEYS = ["9a7c1f60d2b84e35a1c09e7f5b6d2384", "e41b7d9066fa2c58b3907d1e8ac4f512",
        "0c5f92e8b7a14d63f8217be09d4a6c35"]  # fmt: skip
BOOK = making.ROOT / "book"
TOC = yaml.safe_load((making.ROOT / "_toc.yml").read_text(encoding="utf-8"))


@functools.cache
def submission(name, kind, class_key):
    return rehearsal.execute(making.archetype(making.load(name), kind, class_key))


def slug(heading):
    text = re.sub(r"[^\w\s-]", "", heading.lower())
    return re.sub(r"[\s_]+", "-", text).strip("-")


@pytest.mark.parametrize("name", SETS)
def test_set_is_in_the_contents(name):
    (part,) = [part for part in TOC["parts"] if part["caption"] == "Problem sets"]
    assert {"file": making.page_name(name)} in part["chapters"]


@pytest.mark.parametrize("name", SETS)
def test_questions_go_from_easy_to_hard_and_lead_to_places_that_exist(name):
    questions = making.load(name).questions
    assert 5 <= len(questions) <= 7
    assert {question.level for question in questions} == {"easy", "medium", "hard"}
    assert any(question.manual for question in questions)
    marked = [question.level for question in questions if not question.manual]
    assert marked == sorted(marked, key=["easy", "medium", "hard"].index)
    for question in questions:
        page, _, place = question.section.partition(".html#")
        text = (BOOK / f"{page}.md").read_text(encoding="utf-8")
        headings = {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.M)}
        labels = set(re.findall(r"^\((.+)\)=$|^:label: (\S+)$", text, re.M))
        assert place in headings | {label for pair in labels for label in pair}, question.section


@pytest.mark.parametrize("name", SETS)
def test_public_checks_say_what_they_do_not_check_and_where_to_read_on(name):
    problems = making.load(name)
    made = making.views(problems, key.DEMONSTRATION)
    automatic = {f"{q.name}.py": q for q in problems.questions if not q.manual}
    assert set(made.tests) == set(automatic)
    for file, source in made.tests.items():
        checks = source.split("@test_case")[1:]
        assert checks
        for check in checks:
            assert re.search(r'success_message="[^"]*Not checked: [^"]+"', check), file
            failure = re.search(r'failure_message="([^"]*)"', check)[1]
            assert f"{automatic[file].section}'" in failure
            assert "Idea to revisit: " in failure


@pytest.mark.parametrize("name", SETS)
def test_rubric_has_levels_and_an_example_of_each_manual_question(name):
    problems = making.load(name)
    text = making.rubric(problems, key.DEMONSTRATION)
    for question in problems.questions:
        assert (f"Question {question.name[1:]}:" in text) == question.manual
    assert text.count("<th>Example</th>") >= sum(question.manual for question in problems.questions)
    # A formula that KaTeX cannot read would stand there as it was typed.
    assert "$" not in text
    assert not re.search(r"<code>[^<]*\\", text)


@pytest.mark.parametrize("text", KEYS)
@pytest.mark.parametrize("name", SETS)
@pytest.mark.slow
def test_full_solution_scores_full_marks(name, text):
    problems, class_key = making.load(name), key.read(text)
    given = making.numbers(problems, class_key)
    space = submission(name, "full", class_key)
    rng = np.random.default_rng(1)
    for question in problems.questions:
        if question.manual:
            continue
        checks = rehearsal.score(question, space, given, rng)
        assert all(check.passed for check in checks), (question.name, checks)
        assert sum(check.points for check in checks) == pytest.approx(question.points)


@pytest.mark.parametrize("kind", making.KINDS)
@pytest.mark.parametrize("name", SETS)
@pytest.mark.slow
def test_honest_submission_scores_what_it_must(name, kind):
    problems = making.load(name)
    found = rehearsal.scores(problems, kind, key.DEMONSTRATION, seed=2)
    assert found == pytest.approx(rehearsal.expected(problems, kind))


@pytest.mark.parametrize("name", SETS)
def test_kinds_of_submissions_differ_in_what_they_score(name):
    problems = making.load(name)
    total = {k: sum(rehearsal.expected(problems, k).values()) for k in making.KINDS}
    most = sum(question.points for question in problems.questions if not question.manual)
    assert total["full"] == total["unusual"] == most
    assert total["blank"] == 0
    assert total["wrong_idea"] < 0.4 * most < 0.8 * most > total["half"] > 0.2 * most


@pytest.mark.parametrize("name", SETS)
@pytest.mark.slow
def test_full_solution_of_another_class_scores_nothing(name):
    problems = making.load(name)
    for text in KEYS[:2]:
        found = rehearsal.scores(
            problems, "full", key.read(text), seed=3, as_class=key.read(KEYS[2])
        )
        assert sum(found.values()) == 0, found


@pytest.mark.parametrize("name", SETS)
@pytest.mark.slow
def test_the_same_key_gives_the_same_bytes_and_another_key_others(name, tmp_path):
    problems = making.load(name)

    def made(folder, text, **options):
        making.make(problems, key.read(text), tmp_path / folder, **options)
        files = (tmp_path / folder / name).rglob("*.*")
        return {p.relative_to(tmp_path / folder): p.read_bytes() for p in files if p.is_file()}

    # Whether the solution is tried out changes nothing.
    first, again = made("first", KEYS[0]), made("again", KEYS[0], execute=False)
    other = made("other", KEYS[1], execute=False)
    assert first == again
    assert first.keys() == other.keys()
    for path in [f"{name}.zip", f"student/{name}.ipynb", "probes/bundle.json"]:
        place = Path(name) / path
        assert first[place] != other[place]


@pytest.mark.parametrize("name", SETS)
def test_nothing_that_is_made_holds_the_key(name, tmp_path):
    making.make(making.load(name), key.read(KEYS[0]), tmp_path, execute=False)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert KEYS[0].encode() not in path.read_bytes().lower()
            assert bytes.fromhex(KEYS[0]) not in path.read_bytes()


@pytest.mark.parametrize("name", SETS)
def test_a_class_is_told_from_the_demonstration(name):
    problems = making.load(name)
    for class_key, demonstration in [(key.DEMONSTRATION, True), (key.read(KEYS[0]), False)]:
        made = making.views(problems, class_key)
        bundle = making.bundle(problems, class_key)
        corner = made.student.metadata["hierarchical_models"]
        assert corner["demonstration"] is bundle["demonstration"] is demonstration
        assert corner["key_check"] == bundle["key_check"]
        assert ("demonstration key" in made.student.cells[0].source) is demonstration
        json.dumps(bundle, allow_nan=False)


@pytest.mark.parametrize("name", SETS)
def test_the_report_of_many_keys_is_clean(name):
    report = json.loads(making.CHECKED.read_text(encoding="utf-8"))
    if name not in report:
        pytest.skip(f"not scored at many keys yet: python -m grading.making {name} --check-keys 50")
    keys = report[name]["keys"]
    assert keys >= 50
    assert report[name] == {"keys": keys, "full marks": keys, "nothing elsewhere": keys}
