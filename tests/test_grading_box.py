"""Reading what comes out of a box, and what goes into one."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading import box, runner

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


def depth(value):
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, inner), default=0)


@given(JSON)
def test_nesting_is_counted_outside_of_texts(value):
    assert box.nesting(json.dumps(value)) == depth(value)
    assert box.nesting(json.dumps(value, ensure_ascii=False)) == depth(value)


@given(st.dictionaries(st.text(), JSON, max_size=3))
def test_what_is_written_is_read(value):
    if depth(value) <= box.DEPTH:
        assert box.parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "line", [b"", b"3", b"[1]", b'{"a": NaN}', b'{"a": -Infinity}', b"\xff", b'{"a": ' + b"[" * 99]
)
def test_other_lines_are_refused(line):
    with pytest.raises(ValueError):  # noqa: PT011 - of many kinds
        box.parse(line)


@given(JSON)
def test_plain_values_stay_what_they_are(value):
    if depth(value) <= runner.DEPTH:
        assert runner.plain(value) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1j, object(), {1, 2}, b"x", type])
def test_other_values_are_refused(value):
    with pytest.raises((TypeError, ValueError), match="answer"):
        runner.plain([value])


def test_modules_that_a_question_may_not_use_are_not_in_its_box():
    assert box.modules(()) == {"funnel.data", "funnel.priors", "funnel.figures"}
    with_models = box.modules(("funnel.models",))
    assert "funnel.models" in with_models
    assert "funnel.exact" not in with_models
    assert {"funnel.exact", "funnel.quadrature"} <= box.modules(("funnel.exact",))


@pytest.mark.slow
def test_the_course_in_the_box_is_read_only_and_small(tmp_path):
    course = box.prepare(tmp_path, ("funnel.exact",))
    names = {path.relative_to(course / "code").as_posix() for path in (course / "code").rglob("*")}
    assert names == {
        "funnel", "funnel/__init__.py", "funnel/data.py", "funnel/priors.py", "funnel/figures.py",
        "funnel/exact.py", "funnel/quadrature.py",
    }  # fmt: skip
    assert box.prepare(tmp_path, ("funnel.exact",)) == course  # made once
    assert (course / "data" / "radon" / "radon.csv").exists()
    assert not list(course.rglob("make_data.py"))
    assert not any(path.stat().st_mode & 0o022 for path in course.rglob("*"))


def test_the_command_binds_nothing_of_the_repository(tmp_path):
    command = box.bwrap(tmp_path, box.Limits(), 5)
    binds = [
        command[i + 1] for i, word in enumerate(command) if word.endswith(("bind", "bind-try"))
    ]
    assert not any(
        bind.startswith(str(box.ROOT / part))
        for bind in binds
        for part in ("code", "assignments", "data", "tests", ".git")
    )
    assert str(box.ROOT) not in binds
    assert not any(word == "--bind" for word in command)  # all read-only
    for promise in ("--unshare-all", "--disable-userns", "--die-with-parent", "--new-session"):
        assert promise in command
    assert command[command.index("--cap-drop") + 1] == "ALL"


@pytest.mark.slow
def test_a_run_answers_in_order_and_says_how_long_it_took(boxes, tmp_path):
    from pathlib import Path

    from grading.questions import Request

    cells = [box.Cell("def f(x):\n    return [x, x * 2]\ny = 'word'")]
    requests = [Request("q1", "f", (3,)), Request("q2", "y", kind="variable"), Request("q3", "g")]
    out = box.run(cells, requests, box.prepare(Path(boxes)))
    assert [a.status for a in out.answers] == ["ok", "ok", "missing"]
    assert [a.value for a in out.answers] == [[3, 6], "word", None]
    assert len(out.waited) == 3
    assert min(out.waited) >= 0
    assert sum(out.waited) < out.seconds


def test_refusals_say_what_to_change():
    text = box.ADVICE.format(reason="x.")
    for word in ("apt-get install bubblewrap", "apparmor", "Kubernetes", "--unsafe-no-box"):
        assert word in text


def test_the_runner_needs_nothing_of_grading():
    source = box.RUNNER.read_text(encoding="utf-8")
    assert "import grading" not in source
    assert "from grading" not in source
    assert sys.version_info >= (3, 12)
