"""The set on the funnel: its truths agree with simulation, with `funnel.hmc` and with ArviZ."""

import math

import arviz as az
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from funnel import hmc
from grading import key, making, rehearsal
from grading.questions import Answer

SET = making.load("diagnostics")
GIVEN = making.numbers(SET, key.DEMONSTRATION)
Q1, Q2, Q3, Q4, Q5 = SET.questions[:5]
TRUTH = Q2.score.__globals__


def passed(question, answers, seed=0):
    """Which checks pass, if the answers are made from the requests."""
    requests = question.draw(np.random.default_rng(seed), GIVEN)
    replies = [Answer(answers(request)) for request in requests]
    return [check.passed for check in question.score(requests, replies, GIVEN)]


def test_the_lowest_of_many_is_that_of_simulated_draws():
    rng = np.random.default_rng(0)
    n = 40
    smallest = np.abs(rng.normal(0, GIVEN["size"], (20_000, n))).min(axis=1)
    truth = GIVEN["size"] * stats.halfnorm.isf(0.5 ** (1 / n))
    assert (smallest < truth).mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(20_000))


def test_paths_are_those_of_the_course():
    width, bump, mass = GIVEN["width"], GIVEN["bump"], GIVEN["mass"]

    def gradient(q):
        return -(q / width**2 + 2 * bump * q / (1 + q**2)) / math.sqrt(mass)

    def answers(request):
        q, p, step, steps = request.arguments
        # A mass is a change of scale of the position: q' = sqrt(m) q, p' = p / sqrt(m).
        root = math.sqrt(mass)
        position, momentum = hmc.leapfrog(
            [q * root], [p / root], lambda x: gradient(x / root), step, steps
        )
        at = position[:, 0] / root
        energy = at**2 / (2 * width**2) + bump * np.log1p(at**2) + momentum[:, 0] ** 2 / 2
        error = np.abs(energy[1:] - energy[0]).max()
        return {"q": float(at[-1]), "p": float(momentum[-1, 0] * root), "error": float(error)}

    assert passed(Q2, answers) == [True, True]


def test_the_limit_is_where_paths_explode():
    request = Q3.draw(np.random.default_rng(0), GIVEN)[0]
    scale, homes, widths = request.arguments
    homes, widths = np.array(homes["array"]), np.array(widths["array"])
    curvature = homes / GIVEN["sigma_y"] ** 2 + 1 / scale**2

    truth = (2 / (widths * np.sqrt(curvature))).min()

    def furthest(step):
        path = hmc.leapfrog(
            np.ones(8), np.zeros(8), lambda x: -curvature * widths**2 * x, step, 1000
        )
        return np.abs(path[0]).max()

    assert furthest(0.995 * truth) < 100
    assert furthest(1.005 * truth) > 1e20
    assert Q3.score([request], [Answer(float(truth))], GIVEN)[0].passed
    assert not Q3.score([request], [Answer(float(0.999 * truth))], GIVEN)[0].passed


def test_no_answer_is_not_the_answer_none():
    requests = Q3.draw(np.random.default_rng(0), GIVEN)
    missing = [Answer(status="missing")] * len(requests)
    assert not any(check.passed for check in Q3.score(requests, missing, GIVEN))
    nothing = [Answer(None)] * len(requests)
    assert not any(check.passed for check in Q3.score(requests, nothing, GIVEN))


def test_bfmi_is_that_of_arviz():
    def answers(request):
        if request.function == "kicks":
            return {}
        energy = np.array(request.arguments[0]["array"])
        stats_of_run = xr.Dataset({"energy": (("chain", "draw"), energy)})
        run = xr.DataTree.from_dict({"sample_stats": stats_of_run})
        ratio = az.bfmi(run)["energy"].to_numpy()
        # ArviZ divides by a mean over draws, and by a mean over steps, of which there is one less.
        flagged = np.flatnonzero(ratio < GIVEN["rule"]).tolist()
        return {"bfmi": ratio.tolist(), "flagged": flagged}

    requests = Q4.draw(np.random.default_rng(0), GIVEN)
    for request in requests[:3]:
        ours = np.array(request.arguments[0]["array"])
        kicks = (np.diff(ours) ** 2).sum(axis=1)
        truth = kicks / ((ours - ours.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        np.testing.assert_allclose(answers(request)["bfmi"], truth, rtol=1 / 200)


def test_biases_are_those_of_weighted_draws():
    rng = np.random.default_rng(0)
    sigma = np.abs(rng.normal(0, GIVEN["size"], 2_000_000))
    wall, share = 0.7 * GIVEN["limit"], 0.3
    low = sigma < wall
    for i, value in enumerate([sigma < GIVEN["limit"], sigma, np.log(sigma)]):
        run = share * value[low].mean() + (1 - share) * value[~low].mean()
        error = 5 * value.std() / math.sqrt(low.sum())
        bias = TRUTH["_biases"](wall, share, GIVEN)[i]
        assert run - value.mean() == pytest.approx(bias, abs=error)


def test_a_guess_of_signs_earns_nothing():
    one_sign = dict.fromkeys(("probability", "mean", "log"), "too low")
    answers = {"predict": one_sign, "measure": dict.fromkeys(one_sign, 0.0)}
    assert passed(Q5, lambda request: answers[request.function]) == [False] * 3


@pytest.mark.slow
def test_the_report_is_wrong_and_the_wall_is_where_it_must_be():
    for text in ("9a7c1f60d2b84e35a1c09e7f5b6d2384", "e41b7d9066fa2c58b3907d1e8ac4f512"):
        class_key = key.read(text)
        given = making.numbers(SET, class_key)
        space = rehearsal.execute(making.archetype(SET, "blank", class_key))
        runs = [space["run"](seed) for seed in range(8)]
        assert sum(bad.sum() for _, _, bad in runs) > 100
        truth = stats.norm.cdf((math.log(given["alike"]) - given["center"]) / given["spread"])
        told = np.array([(np.exp(v) < given["alike"]).mean() for v, _, _ in runs])
        assert np.median(told) < 0.7 * truth
        assert given["said"] / 100 < 0.7 * truth
        # Half of the chains never come far below the wall, and independent draws would.
        lowest = np.array([v.min(axis=1) for v, _, _ in runs]).ravel()
        wall = math.log(given["step"] / 2)
        assert np.median(lowest) > wall - 1
        independent = given["center"] + given["spread"] * stats.norm.ppf(1 - 0.5 ** (1 / 1500))
        assert np.median(lowest) > independent
