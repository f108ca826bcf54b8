"""The project: truths of its tools agree with simulation and with PyMC, and its data load."""

import math

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import stats

from grading import key, making, rehearsal, runner
from grading.questions import Answer

SET = making.load("project")
GIVEN = making.numbers(SET, key.DEMONSTRATION)
Q1, Q2, Q3, Q4 = SET.questions[:4]
TRUTH = Q2.score.__globals__


def passed(question, answers, seed=0):
    """Which checks pass, if the answers are made from the requests."""
    requests = question.draw(np.random.default_rng(seed), GIVEN)
    replies = [Answer(answers(request)) for request in requests]
    return [check.passed for check in question.score(requests, replies, GIVEN)]


def test_informativeness_is_what_least_squares_knows_and_both_sides_occur():
    seen = set()

    def answers(request):
        rows, sigma_a, sigma_b, sigma_y = request.arguments
        rows = pd.DataFrame(rows["table"])
        out = {"a": [], "b": [], "write_a": [], "write_b": []}
        for _, some in rows.groupby("group"):
            u = (some["x"] - GIVEN["origin"]) / GIVEN["unit"]
            out["a"].append(len(some) * sigma_a**2 / sigma_y**2)
            design = np.column_stack([np.ones(len(u)), u])
            # The precision of a slope whose intercept is free: one over its variance.
            left = np.linalg.det(design.T @ design) / len(u)
            out["b"].append(float(left) * sigma_b**2 / sigma_y**2)
        for name in "ab":
            words = ["centered" if r > GIVEN["crossing"] else "noncentered" for r in out[name]]
            out[f"write_{name}"] = words
            seen.update((name, word) for word in words)
        return out

    assert passed(Q1, answers) == [True, True]
    assert len(seen) == 4


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [("a", "b"), ("a", "b_offset"), ("a_offset", "b_offset")])
def test_the_density_is_that_of_pymc_in_whatever_coordinates(chosen):
    requests = Q2.draw(np.random.default_rng(0), GIVEN)
    (request,) = requests
    rows = pd.DataFrame(request.arguments[0]["table"])
    u = ((rows["x"] - GIVEN["origin"]) / GIVEN["unit"]).to_numpy()
    with pm.Model() as model:
        top = {
            "mu_a": pm.Normal("mu_a", GIVEN["mean_mu_a"], GIVEN["sd_mu_a"]),
            "mu_b": pm.Normal("mu_b", 0, GIVEN["sd_mu_b"]),
            "sigma_a": pm.HalfNormal("sigma_a", GIVEN["size_sigma_a"]),
            "sigma_b": pm.Exponential("sigma_b", 1 / GIVEN["mean_sigma_b"]),
        }
        effects = {}
        for name, free in zip("ab", chosen, strict=True):
            mu, sigma = top[f"mu_{name}"], top[f"sigma_{name}"]
            if free == name:
                effects[name] = pm.Normal(name, mu, sigma, shape=5)
            else:
                effects[name] = mu + sigma * pm.Normal(free, 0, 1, shape=5)
        sigma_y = pm.HalfNormal("sigma_y", GIVEN["size_sigma_y"])
        codes = rows["group"].to_numpy()
        pm.Normal("y", effects["a"][codes] + effects["b"][codes] * u, sigma_y, observed=rows["y"])
    value = runner.describe(model, request.points)
    assert all(check.passed for check in Q2.score(requests, [Answer(value)], GIVEN))
    # The same numbers in the name of other coordinates, or with one too many, are wrong.
    other = {"a": "a_offset", "a_offset": "a"}[chosen[0]]
    for free in (
        [other if name == chosen[0] else name for name in value["free"]],
        [*value["free"], other],
    ):
        answer = Answer({**value, "free": free})
        assert not any(check.passed for check in Q2.score(requests, [answer], GIVEN))


def test_predictions_are_those_of_simulated_groups():
    rng = np.random.default_rng(0)
    solution = rehearsal.execute(making.archetype(SET, "unusual", key.DEMONSTRATION))
    top = np.array([[1.2, 0.6, -0.3, 0.4, 0.7], [1.0, 0.3, -0.2, 0.2, 0.5]])
    n, x, edge = 200_000, np.array([0.5, 2.0, 3.0]), 0.9
    u = (x - GIVEN["origin"]) / GIVEN["unit"]
    above, below = [], []
    for mu_a, sigma_a, mu_b, sigma_b, sigma_y in top:
        a, b = rng.normal(mu_a, sigma_a, (n, 1)), rng.normal(mu_b, sigma_b, (n, 1))
        y = rng.normal(a + b * u, sigma_y)
        above.append((y[:, 0] > edge).mean())
        below.append((y.mean(axis=1) < edge).mean())
    error = 4 * 0.5 / math.sqrt(2 * n)
    found = solution["predict"](top, np.ones((2, 3)), np.ones((2, 3)), 0, x[0], edge)
    assert found["new"] == pytest.approx(np.mean(above), abs=error)
    assert solution["surprise"](top, x, edge) == pytest.approx(np.mean(below), abs=error)


def test_a_right_sampler_is_rarely_called_uneven_and_a_narrow_one_is():
    rng = np.random.default_rng(0)
    solution = rehearsal.execute(making.archetype(SET, "unusual", key.DEMONSTRATION))
    right, narrow = [], []
    for _ in range(150):
        truths, draws = rng.normal(0, 1, (120, 2)), rng.normal(0, 1, (120, 29, 2))
        right.append(solution["uneven"](truths, draws))
        narrow.append(solution["uneven"](truths, 0.5 * draws))
    assert stats.binomtest(int(np.sum(np.array(right) < 0.1)), 150, 0.1).pvalue > 1e-3
    assert np.mean(np.array(narrow) < 0.01) > 0.9


@pytest.mark.parametrize(
    ("name", "rows", "groups"), [("radon", 12_124, 463), ("sleep", 180, 18), ("trial", None, 14)]
)
def test_all_three_data_sets_load_as_one_kind_of_table(name, rows, groups):
    space = rehearsal.execute(making.archetype(SET, "blank", key.DEMONSTRATION))
    table = space["load"](name)
    assert list(table.columns) == ["group", "x", "y"]
    assert sorted(set(table["group"])) == list(range(groups))
    assert rows is None or len(table) == rows
    assert np.isfinite(table.to_numpy(float)).all()
