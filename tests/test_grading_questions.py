"""Answers of strangers are compared as plain values, and nothing that they bring is called."""

import math

import numpy as np
import pytest

from grading.questions import Check, Question, close, earned, number, same, table


def draw(rng, numbers):
    return []


def score(requests, answers, numbers):
    return []


@pytest.mark.parametrize("answer", [True, "1.0", None, [1.0], {"a": 1.0}, math.nan, math.inf])
def test_what_is_no_number_is_not_close_to_one(answer):
    assert number(answer) is None
    assert not close(answer, 1.0, atol=1e6)


def test_a_whole_number_too_large_for_a_float_is_no_number():
    assert number(10**400) is None


def test_objects_that_lie_are_not_asked():
    class Liar(float):
        def __float__(self):
            raise AssertionError("was asked")

        def __sub__(self, other):
            raise AssertionError("was asked")

    class Text(str):
        def casefold(self):
            raise AssertionError("was asked")

    assert not close(Liar(1.0), 1.0)
    assert not same(Text("partial"), "partial")


@pytest.mark.parametrize(
    ("answer", "truth", "agrees"),
    [
        (1, 1.0, True),
        (1.0 + 1e-8, 1.0, True),
        (1.0 + 1e-6, 1.0, False),
        (0.0, 0.0, True),
        ([1.0, 2.0], [1.0, 2.0], True),
        ([2.0, 1.0], [1.0, 2.0], False),
        ([1.0, 2.0, 3.0], [1.0, 2.0], False),
        ([[1.0], [2.0]], np.array([[1.0], [2.0]]), True),
        ([1.0, [2.0]], [1.0, 2.0], False),
        (1.0, [1.0], False),
        ({"a": 1.0}, {"a": 1.0}, True),
        ({"a": 1.0, "b": 1.0}, {"a": 1.0}, False),
        ({}, {"a": 1.0}, False),
        ({"a": [1.0, 2.0]}, {"a": [1.0, 2.0]}, True),
    ],
)
def test_close(answer, truth, agrees):
    assert close(answer, truth) is agrees


def test_a_truth_that_is_not_finite_is_an_error_of_the_author():
    with pytest.raises(ValueError, match="finite"):
        close(1.0, math.nan)


def test_words_may_differ_in_case_and_blanks():
    assert same(" Partial ", "partial")
    assert same(["none", "COMPLETE"], ["none", "complete"])
    assert not same(["complete", "none"], ["none", "complete"])
    assert not same(["none"], ["none", "complete"])
    assert not same(1, "1")
    assert not same("none", ["none"])


def test_only_what_passed_is_earned():
    assert earned([Check("a", True, 1.5), Check("b", False, 2.0), Check("c", True, 0.5)]) == 2.0
    assert earned([]) == 0.0


def test_a_table_holds_plain_columns_of_one_length():
    assert table(x=np.array([1.0, 2.0]), name=["a", "b"]) == {
        "table": {"x": [1.0, 2.0], "name": ["a", "b"]}
    }
    with pytest.raises(ValueError, match="one length"):
        table(x=[1.0], y=[1.0, 2.0])


def test_a_question_can_be_marked():
    Question("q1", "One", 1.0, "easy", "pooling.html", draw=draw, score=score)
    Question("q1", "One", 1.0, "hard", "pooling.html", manual=True)
    with pytest.raises(ValueError, match="manual, or has both"):
        Question("q1", "One", 1.0, "easy", "pooling.html", draw=draw)
    with pytest.raises(ValueError, match="manual, or has both"):
        Question("q1", "One", 1.0, "easy", "pooling.html", manual=True, draw=draw, score=score)
    with pytest.raises(ValueError, match="easy, medium or hard"):
        Question("q1", "One", 1.0, "simple", "pooling.html", manual=True)
    with pytest.raises(ValueError, match="positive"):
        Question("q1", "One", 0.0, "easy", "pooling.html", manual=True)
