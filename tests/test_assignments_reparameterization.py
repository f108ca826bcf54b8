"""The set on reparameterization: its truths agree with simulation, quadrature and PyMC."""

import re

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import integrate, stats

from grading import key, making, runner
from grading.questions import Answer

SET = making.load("reparameterization")
GIVEN = making.numbers(SET, key.DEMONSTRATION)
(Q1, Q2, Q3, Q4, Q5), MANUAL = SET.questions[:5], SET.questions[5:]


def passed(question, answers, seed=0):
    """Which checks pass, if the answers are made from the requests."""
    requests = question.draw(np.random.default_rng(seed), GIVEN)
    return [check.passed for check in question.score(requests, answers(requests), GIVEN)]


def test_difference_is_that_of_two_densities():
    b, z = stats.norm(0.3, 0.2), stats.norm(GIVEN["middle"], GIVEN["unit"])

    def answers(requests):
        out = []
        for request in requests:
            if request.function == "offsets":
                effects, mu, sigma = request.arguments
                place = stats.norm(mu, sigma).cdf(effects["array"])
                out.append(Answer(z.ppf(place).tolist()))
            else:
                sigma, groups = request.arguments
                at = b.ppf(0.7), z.ppf(0.7)
                one = z.logpdf(at[1]) - b.logpdf(at[0]) - np.log(b.std() / sigma)
                out.append(Answer(float(groups * one)))
        return out

    assert passed(Q1, answers) == [True, True]


def test_the_choice_turns_where_informativeness_is_one_in_the_middle():
    crossing = GIVEN["sigma_y"] ** 2 / (GIVEN["low"] * GIVEN["high"])

    def answers(requests):
        out = []
        for (n,) in (request.arguments for request in requests):
            ends = np.array([GIVEN["low"], GIVEN["high"]])
            sd_b = (1 / ends**2 + n / GIVEN["sigma_y"] ** 2) ** -0.5
            sd_z = sd_b / ends
            out.append(Answer({
                "r": (n * ends**2 / GIVEN["sigma_y"] ** 2).tolist(),
                "b": float(np.ptp(np.log(sd_b))),
                "z": float(sd_z[0] / sd_z[1]),
                "write": "centered" if n > crossing else "noncentered",
            }))  # fmt: skip
            out[-1].value["b"] = float(np.exp(out[-1].value["b"]))
        return out

    assert passed(Q2, answers) == [True, True, True]
    guess = [{"write": "noncentered"}, {"write": "centered"}]
    for each in guess:
        assert passed(Q2, lambda requests, each=each: [Answer(each)] * len(requests)) == [False] * 3


def given_model(homes):
    """The centered model that the master gives to students."""
    cell = re.search(r"(def centered\(homes\):.*?)\n```", SET.master, re.S)[1]
    space = {"pm": pm}
    exec(making.fill(cell, SET, key.DEMONSTRATION), space)
    return space["centered"](homes)


@pytest.mark.slow
def test_noncentered_truth_is_the_given_model_but_for_the_volume():
    requests = Q3.draw(np.random.default_rng(0), GIVEN)
    (request,) = requests
    homes = pd.DataFrame(request.arguments[0]["table"])
    soil = homes.groupby("county")["soil"].first().to_numpy()
    at_b, volume = [], []
    for point in request.points:
        line = point["mu_b"] + point["delta"] * soil
        at_b.append({**point, "b": line + point["sigma_b"] * np.array(point["b_offset"])})
        volume.append(len(soil) * np.log(point["sigma_b"]))
    centered = runner.describe(given_model(homes), at_b)["logp"]
    value = {
        "free": ["mu_a", "sigma_a", "a", "mu_b", "delta", "sigma_b", "b_offset", "sigma_y"],
        "deterministic": ["b"],
        "observed": ["y"],
        "logp": [float(logp + v) for logp, v in zip(centered, volume, strict=True)],
    }
    score = Q3.score
    assert all(check.passed for check in score(requests, [Answer(value)], GIVEN))
    # Another shape, or off by a millionth part of what is there: nothing for that.
    wrong = {**value, "free": [*value["free"], "b"]}
    assert not any(check.passed for check in score(requests, [Answer(wrong)], GIVEN))
    off = {**value, "logp": [1.00001 * logp for logp in value["logp"]]}
    assert not any(check.passed for check in score(requests, [Answer(off)], GIVEN))


def test_marginal_is_an_integral_over_the_slope():
    def answers(requests):
        out = []
        for request in requests:
            y, x = (np.array(each["array"]) for each in request.arguments[:2])
            mu_b, sigma_b = request.arguments[2:]

            def density(b, power=0, y=y, x=x, mu_b=mu_b, sigma_b=sigma_b):
                homes = stats.norm.logpdf(y, GIVEN["intercept"] + b * x, GIVEN["sigma_y"]).sum()
                return np.exp(homes + 20) * stats.norm.pdf(b, mu_b, sigma_b) * b**power

            def moment(power, mu_b=mu_b, sigma_b=sigma_b, density=density):
                ends = mu_b - 9 * sigma_b, mu_b + 9 * sigma_b
                options = {"epsabs": 0, "epsrel": 1e-11, "limit": 400}
                return integrate.quad(density, *ends, args=(power,), **options)[0]

            mass = moment(0)
            mean = moment(1) / mass
            sd = np.sqrt(moment(2) / mass - mean**2)
            marginal = float(np.log(mass) - 20)
            asked = request.function == "log_marginal"
            out.append(Answer(marginal if asked else {"mean": float(mean), "sd": float(sd)}))
        return out

    assert passed(Q4, answers) == [True, True]


def test_geometry_is_that_of_simulated_posteriors():
    rng = np.random.default_rng(0)
    groups, se, tau, n = 6, 0.8, 1.7, 200_000
    truth = Q5.score.__globals__["_geometry"](groups, se, tau, GIVEN)
    # A draw of everything, moved by what its data and the observed zero differ (Matheron's rule).
    mu = rng.normal(0, GIVEN["sd_mu"], n)
    theta = rng.normal(mu, tau, (groups, n))
    y = rng.normal(theta, se)
    prior = GIVEN["sd_mu"] ** 2 * np.ones((groups, groups))
    covariance = prior + (tau**2 + se**2) * np.eye(groups)
    gain_mu = GIVEN["sd_mu"] ** 2 * np.ones(groups) @ np.linalg.inv(covariance)
    gain_theta = (prior + tau**2 * np.eye(groups)) @ np.linalg.inv(covariance)
    mu, theta = mu - gain_mu @ y, theta - gain_theta @ y
    offset = ((theta - mu) / tau).mean(axis=0)
    error = 5 / np.sqrt(n)
    assert np.corrcoef(mu, offset)[0, 1] == pytest.approx(truth["noncentered"], abs=error)
    assert np.corrcoef(mu, theta.mean(axis=0))[0, 1] == pytest.approx(truth["centered"], abs=error)
    assert offset.std() == pytest.approx(truth["whole"], rel=error)
    fixed = offset.std() * np.sqrt(1 - np.corrcoef(mu, offset)[0, 1] ** 2)
    assert fixed == pytest.approx(truth["fixed"], rel=2 * error)
    # Strong data: worse noncentered; weak data: worse centered; and the signs are opposite.
    geometry = Q5.score.__globals__["_geometry"]
    strong, weak = geometry(30, 1.0, 10.0, GIVEN), geometry(30, 1.0, 0.1, GIVEN)
    assert -strong["noncentered"] > 2 * strong["centered"] > 0
    assert weak["centered"] > -2 * weak["noncentered"] > 0
