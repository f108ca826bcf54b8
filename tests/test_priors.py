"""Each prior against SciPy's density and against the PyMC variable that it makes."""

import math

import numpy as np
import pymc as pm
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from funnel import priors

SIZES = st.floats(0.05, 50)
SCALES = {
    "HalfCauchy": (priors.HalfCauchy, lambda s: stats.halfcauchy(scale=s)),
    "HalfNormal": (priors.HalfNormal, lambda s: stats.halfnorm(scale=s)),
    "Exponential": (priors.Exponential, lambda s: stats.expon(scale=1 / s)),
    "Gamma2": (priors.Gamma2, lambda s: stats.gamma(2, scale=1 / s)),
    "LogNormal": (
        lambda s: priors.LogNormal(median=s, sd=0.25),
        lambda s: stats.lognorm(0.25, scale=s),
    ),
}


@pytest.mark.parametrize("family", SCALES)
@given(size=SIZES, x=st.lists(st.floats(1e-12, 1e4), min_size=1, max_size=5))
def test_scale_priors_have_the_density_of_their_name(family, size, x):
    ours, theirs = SCALES[family]
    np.testing.assert_allclose(ours(size).logpdf(x), theirs(size).logpdf(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", SCALES)
@given(size=SIZES, x=st.floats(1e-9, 1e4), p=st.floats(1e-9, 0.9999))
def test_scale_priors_have_the_probabilities_of_their_name(family, size, x, p):
    ours, theirs = SCALES[family]
    np.testing.assert_allclose(ours(size).cdf([-x, 0, x]), theirs(size).cdf([-x, 0, x]), rtol=1e-9)
    np.testing.assert_allclose(ours(size).quantile(p), theirs(size).ppf(p), rtol=1e-7)


@pytest.mark.parametrize("bad", [-0.1, 1.0, math.nan])
def test_a_quantile_has_a_probability(bad):
    with pytest.raises(ValueError, match=f"at least 0 and below 1, got {bad}"):
        priors.HalfNormal(1).quantile([0.5, bad])


@given(mean=st.floats(-50, 50), sd=SIZES, x=st.floats(-100, 100))
def test_normal_is_written_mean_and_standard_deviation(mean, sd, x):
    assert priors.Normal(mean, sd).logpdf(x) == pytest.approx(stats.norm(mean, sd).logpdf(x))


@pytest.mark.parametrize("family", SCALES)
def test_nothing_below_zero_and_one_in_all(family):
    prior = SCALES[family][0](2.0)
    assert prior.logpdf(-1e-9) == -math.inf
    mass, _ = integrate.quad(lambda x: np.exp(prior.logpdf(x)), 0, math.inf)
    assert mass == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("family", SCALES)
def test_tail_power_is_how_the_density_falls(family):
    prior = SCALES[family][0](2.0)
    far = np.array([1e3, 1e4])
    fall = -np.diff(prior.logpdf(far))[0] / math.log(10)
    if math.isinf(prior.tail_power):
        assert fall > 100
    else:
        assert fall == pytest.approx(prior.tail_power, abs=1e-3)


@pytest.mark.parametrize(
    "prior",
    [priors.Normal(1.5, 0.7), *(family(1.7) for family, _ in SCALES.values())],
    ids=lambda prior: type(prior).__name__,
)
def test_the_model_gets_the_same_prior(prior):
    with pm.Model() as model:
        variable = prior.to_pymc("x")
    at = np.array([0.01, 0.5, 1.0, 4.0])
    assert model.free_RVs == [variable]
    # PyMC rounds a constant of its half-Cauchy to single precision.
    np.testing.assert_allclose(pm.logp(variable, at).eval(), prior.logpdf(at), rtol=1e-8)


@pytest.mark.parametrize("bad", [0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize(
    "family",
    [
        *(f for f, _ in SCALES.values()),
        lambda sd: priors.Normal(0, sd),
        lambda sd: priors.LogNormal(1, sd),
    ],
)
def test_a_size_that_is_not_positive_is_refused(family, bad):
    with pytest.raises(ValueError, match=f"must be a positive finite number, got {bad}"):
        family(bad)


def test_a_log_normal_scale_is_not_zero():
    assert priors.LogNormal(0.3, 0.25).logpdf([0, 0.3])[0] == -math.inf


def test_a_mean_must_be_finite():
    with pytest.raises(ValueError, match="mean must be finite, got nan"):
        priors.Normal(math.nan, 1)


def test_a_mean_has_a_normal_prior_and_a_scale_a_scale_prior():
    normal, scale = priors.Normal(0, 1), priors.HalfNormal(1)
    with pytest.raises(TypeError, match="mu_a must be a Normal, got HalfNormal"):
        priors.Hyperpriors(mu_a=scale, sigma_a=scale, mu_b=normal, sigma_b=scale, sigma_y=scale)
    with pytest.raises(TypeError, match=r"sigma_b must be a ScalePrior, got 1\.0"):
        priors.Hyperpriors(mu_a=normal, sigma_a=scale, mu_b=normal, sigma_b=1.0, sigma_y=scale)
    with pytest.raises(TypeError, match="tau must be a ScalePrior, got Normal"):
        priors.EightSchoolsPriors(mu=normal, tau=normal)


def test_the_essays_priors_are_the_essays():
    assert priors.ESSAY.mu_a == priors.ESSAY.mu_b == priors.Normal(0, 10_000)
    assert {priors.ESSAY.sigma_a, priors.ESSAY.sigma_b, priors.ESSAY.sigma_y} == {
        priors.HalfCauchy(5)
    }
