"""The set on expectations: its truths agree with simulation, optimization and PyMC."""

import math

import numpy as np
import pymc as pm
import pytest
from scipy import optimize, stats

from grading import key, making, rehearsal, runner
from grading.questions import Answer

SET = making.load("expectations")
GIVEN = making.numbers(SET, key.DEMONSTRATION)
Q1, Q2, Q3, Q4, Q5 = SET.questions[:5]
TRUTH = Q5.score.__globals__
KEYS = ["9a7c1f60d2b84e35a1c09e7f5b6d2384", "e41b7d9066fa2c58b3907d1e8ac4f512"]


def passed(question, answers, seed=0):
    """Which checks pass, if the answers are made from the requests."""
    requests = question.draw(np.random.default_rng(seed), GIVEN)
    replies = [Answer(answers(request)) for request in requests]
    return [check.passed for check in question.score(requests, replies, GIVEN)]


def test_modes_are_tops_of_transformed_densities():
    def answers(request):
        shape, rate = request.arguments
        posterior = stats.gamma(shape, scale=1 / rate)
        if request.function == "probability":
            return float(posterior.cdf(GIVEN["limit"]))
        found = {}
        for name, exponent in [("plain", 1.0), ("log", 0.0), ("power", GIVEN["power"])]:
            s = np.geomspace(1e-9, 50, 400_001)
            density = posterior.logpdf(s) + (1 - exponent) * np.log(s)
            top = np.argmax(density)
            if top == 0:
                found[name] = None
                continue
            # Between the neighbors of the highest, a derivative of zero.
            ends = s[top - 1], s[top + 1]
            found[name] = optimize.brentq(
                lambda x, e=exponent: (shape - e) / x - rate, *ends, xtol=1e-14
            )
        return found

    assert passed(Q1, answers) == [True, True]


def test_a_mode_that_is_none_has_to_be_said():
    # No dictionary, an empty one, one of zeros: nothing.
    for answer in ({}, None, {"plain": 0.0, "log": 0.0, "power": 0.0}):
        assert passed(Q1, lambda request, answer=answer: answer) == [False, False]


def test_best_reports_have_the_smallest_expected_loss():
    under, over, weight, root = (GIVEN[n] for n in ("under", "over", "weight", "root"))

    def answers(request):
        draws = np.array(request.arguments[0]["array"])

        def best(loss):
            found = optimize.minimize_scalar(
                loss, bounds=(draws.min(), draws.max()), options={"xatol": 1e-12}, method="bounded"
            )
            return float(found.x)

        def prices(a):
            return np.where(draws > a, under * (draws - a), over * (a - draws)).mean()

        return {
            "prices": best(prices),
            "weighted": best(lambda a: (draws**weight * (a - draws) ** 2).mean()),
            "root": best(lambda a: ((a**root - draws**root) ** 2).mean()),
        }

    requests = Q2.draw(np.random.default_rng(0), GIVEN)
    for request in requests:
        draws, found = np.array(request.arguments[0]["array"]), answers(request)
        mean = (draws ** (weight + 1)).mean() / (draws**weight).mean()
        assert found["weighted"] == pytest.approx(mean, rel=1e-6)
        assert found["root"] == pytest.approx((draws**root).mean() ** (1 / root), rel=1e-6)
    assert passed(Q2, answers)[0]
    turned = dict.fromkeys(("weighted", "root"), 0.0)
    wrong = over / (under + over)
    assert not passed(
        Q2, lambda r: {**turned, "prices": float(np.quantile(r.arguments[0]["array"], wrong))}
    )[0]


@pytest.mark.parametrize("method", ["inverted_cdf", "linear", "median_unbiased", "hazen"])
def test_every_definition_of_a_quantile_is_right(method):
    level = GIVEN["under"] / (GIVEN["under"] + GIVEN["over"])

    def answers(request):
        return {"prices": float(np.quantile(request.arguments[0]["array"], level, method=method))}

    assert all(passed(Q2, answers, seed)[0] for seed in range(20))


@pytest.mark.slow
def test_the_density_of_a_point_is_that_of_the_model_in_pymc():
    y = np.array([0.3, 2.0, -0.7, 1.1, 0.4])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, GIVEN["sd_mu"])
        tau = pm.Gamma("tau", alpha=GIVEN["shape"], beta=GIVEN["rate"])
        theta = pm.Normal("theta", mu, tau, shape=5)
        pm.Normal("y", theta, GIVEN["se"], observed=y)
    point = {"mu": 0.4, "tau": 0.3, "theta": [0.1, 0.9, 0.2, 0.7, 0.5]}
    (found,) = runner.describe(model, [point])["logp"]
    assert TRUTH["_log_density"](y, point, GIVEN) == pytest.approx(found, rel=1e-9)
    # Along the ridge it grows by J - (shape - 1) for each unit of log tau.
    on_ridge = [
        TRUTH["_log_density"](y, {"mu": 0.4, "tau": math.exp(t), "theta": [0.4] * 5}, GIVEN)
        for t in (-40.0, -41.0)
    ]
    assert on_ridge[1] - on_ridge[0] == pytest.approx(5 - (GIVEN["shape"] - 1), rel=1e-9)


@pytest.mark.parametrize(
    "point",
    [
        None,
        {},
        {"mu": 0.0, "tau": 0.0, "theta": [0.0] * 5},
        {"mu": 0.0, "tau": -1.0, "theta": [0.0] * 5},
        {"mu": 0.0, "tau": 1e-300, "theta": [0.0] * 4},
        {"mu": 0.0, "tau": 1e-300, "theta": [0.0, 0.0, 0.0, 0.0, "0"]},
        {"mu": 0.0, "tau": 1e-300, "theta": [0.0, 0.0, 0.0, 0.0, 1.0]},
        {"mu": True, "tau": 1.0, "theta": [0.0] * 5},
    ],
)
def test_what_is_no_point_has_no_density(point):
    assert TRUTH["_log_density"](np.zeros(5), point, GIVEN) is None


def test_a_point_that_is_far_above_the_bound_shows_nothing():
    requests = Q3.draw(np.random.default_rng(0), GIVEN)
    points = [
        Answer({"mu": 0.0, "tau": 1e-300, "theta": [0.0] * len(request.arguments[0]["array"])})
        if request.function == "higher"
        else Answer(None)
        for request in requests
    ]
    assert not any(check.passed for check in Q3.score(requests, points, GIVEN))


def test_shares_and_zeros_are_those_of_simulated_studies():
    rng = np.random.default_rng(0)
    n, groups, tau, se = 40_000, 6, 0.5 * GIVEN["se"], GIVEN["se"]
    y = rng.normal(0, math.hypot(tau, se), (n, groups))
    zero = {
        "reml": (y.var(axis=1, ddof=1) <= se**2).mean(),
        "ml": (y.var(axis=1) <= se**2).mean(),
    }
    x = rng.normal(0, GIVEN["width"], (n, groups))
    radius = GIVEN["width"] * math.sqrt(groups)
    drop = (x**2).sum(axis=1) / (2 * GIVEN["width"] ** 2)
    ball = {
        "inside": (np.linalg.norm(x, axis=1) < radius).mean(),
        "below": (drop > GIVEN["drop"]).mean(),
    }
    solution = rehearsal.execute(making.archetype(SET, "full", key.DEMONSTRATION))
    error = 4 * 0.5 / math.sqrt(n)
    assert solution["zero"](groups, tau) == pytest.approx(zero, abs=error)
    assert solution["ball"](groups, radius) == pytest.approx(ball, abs=error)


def test_costs_are_those_of_simulated_homes_and_points_do_cost():
    rng = np.random.default_rng(0)
    level, sigma = rng.normal(1, 0.6, 50), rng.uniform(0.4, 0.9, 50)
    radon = np.exp(rng.normal(level, sigma, (200_000, 50)))
    leave, fix = TRUTH["_costs"](level, sigma, GIVEN)
    assert GIVEN["harm"] * radon.mean() == pytest.approx(leave, rel=0.01)
    kept = np.minimum(radon, GIVEN["after"]).mean()
    assert GIVEN["price"] + GIVEN["harm"] * kept == pytest.approx(fix, rel=0.01)
    # Where the decision has just turned, the point leaves homes that should be fixed.
    right = passed(Q5, lambda request: 0.0)
    assert right == [False, False, False]


@pytest.mark.parametrize("text", KEYS)
def test_the_study_has_an_estimate_of_zero(text):
    given = making.numbers(SET, key.read(text))
    assert np.var(given["study"]["effect"], ddof=1) < given["error"] ** 2
