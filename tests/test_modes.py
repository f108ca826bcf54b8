"""Modes of the joint density, judged by PyMC's own log densities and by dense algebra."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from funnel import data, exact, models, modes, priors

LAMBDAS = [0.0, 0.3, 1.0]
FAST = "FAST_COMPILE"  # PyMC's log densities are called a few times only


@pytest.fixture(scope="module")
def schools():
    return data.load_eight_schools()


@pytest.fixture(scope="module")
def few_homes(homes):
    """The homes of eight counties, one of them without a first floor."""
    names = homes["county"].cat.categories[:8]
    few = homes[homes["county"].isin(names)].copy()
    few["county"] = few["county"].cat.remove_unused_categories()
    return few.reset_index(drop=True)


def value_point(model, point):
    """The point in the coordinates of a PyMC model: z for effects, logs for scales."""
    values = {}
    for variable in model.free_RVs:
        name, value = variable.name, model.rvs_to_values[variable]
        if value.name.endswith("_log__"):
            values[value.name] = np.log(point[name])
        elif not name.endswith("_offset"):
            values[name] = point[name]
    return values


def offsets(point, effect, mean, scale, centeredness):
    """z of the parameterization that models.py defines."""
    mu, sigma = point[mean], point[scale]
    return (point[effect] - mu) / sigma ** (1 - centeredness) + centeredness * mu


def random_point(rng, groups):
    scales = {name: float(np.exp(rng.normal(-1, 1))) for name in ("sigma_a", "sigma_b", "sigma_y")}
    means = {"mu_a": rng.normal(1.5), "mu_b": rng.normal(-0.6)}
    return {**scales, **means, "a": rng.normal(1.5, 0.5, groups), "b": rng.normal(-0.6, 1, groups)}


# ---- the density is that of the PyMC model


@pytest.mark.parametrize(
    ("prior", "lambda_a", "lambda_b"),
    [
        (priors.ESSAY, 0.0, 0.0),
        (priors.ESSAY, 1.0, 1.0),
        (priors.WEAKLY_INFORMATIVE, 0.3, 1.0),
        (priors.WEAKLY_INFORMATIVE, 1.0, 0.7),
    ],
)
def test_log_density_is_that_of_the_pymc_model(few_homes, prior, lambda_a, lambda_b):
    model = models.varying_slopes(few_homes, prior, intercepts=lambda_a, slopes=lambda_b)
    rng = np.random.default_rng(1)
    for jacobian in (False, True):
        log_p = model.compile_logp(jacobian=jacobian, mode=FAST)
        density = modes.varying_slopes(
            few_homes, prior, intercepts=lambda_a, slopes=lambda_b, jacobian=jacobian
        )
        for _ in range(3):
            point = random_point(rng, 8)
            values = value_point(model, point)
            if lambda_a < 1:
                values["a_offset"] = offsets(point, "a", "mu_a", "sigma_a", lambda_a)
            if lambda_b < 1:
                values["b_offset"] = offsets(point, "b", "mu_b", "sigma_b", lambda_b)
            assert density(point) == pytest.approx(float(log_p(values)), abs=1e-5)


@pytest.mark.parametrize("centeredness", LAMBDAS)
@pytest.mark.parametrize("jacobian", [False, True])
def test_log_density_of_the_schools_is_that_of_the_pymc_model(schools, centeredness, jacobian):
    model = models.eight_schools(schools, effects=centeredness)
    density = modes.eight_schools(schools, effects=centeredness, jacobian=jacobian)
    rng = np.random.default_rng(2)
    point = {"mu": 3.0, "tau": 7.0, "theta": rng.normal(5, 10, 8)}
    values = value_point(model, point)
    if centeredness < 1:
        values["theta_offset"] = offsets(point, "theta", "mu", "tau", centeredness)
    expected = float(model.compile_logp(jacobian=jacobian, mode=FAST)(values))
    assert density(point) == pytest.approx(expected, abs=1e-5)


# ---- where there is no maximum


@pytest.mark.parametrize("jacobian", [False, True])
@pytest.mark.parametrize("centeredness", [0.05, 0.5, 1.0])
def test_every_centeredness_above_zero_is_unbounded(homes, schools, centeredness, jacobian):
    for density in (
        modes.varying_slopes(
            homes, priors.ESSAY, intercepts="noncentered", slopes=centeredness, jacobian=jacobian
        ),
        modes.varying_slopes(
            homes, priors.ESSAY, intercepts=centeredness, slopes="noncentered", jacobian=jacobian
        ),
    ):
        mode = density.mode()
        assert not mode.exists
        assert mode.point is None
        assert mode.log_density == math.inf
        assert max(mode.rates.values()) == pytest.approx(85 * centeredness - jacobian)
    school = modes.eight_schools(schools, effects=centeredness, jacobian=False).mode()
    assert not school.exists


@given(
    lambda_a=st.floats(0, 1),
    lambda_b=st.floats(0, 1),
    jacobian=st.booleans(),
    gamma=st.booleans(),
    scale=st.sampled_from(["sigma_a", "sigma_b"]),
)
@settings(max_examples=30, deadline=None)
def test_the_rate_is_the_slope_of_the_ridge(homes, lambda_a, lambda_b, jacobian, gamma, scale):
    """However far down: the log density gains `rate` for every unit of log sigma lost."""
    prior = priors.ESSAY
    if gamma:
        prior = dataclasses.replace(prior, sigma_a=priors.Gamma2(2.0), sigma_b=priors.Gamma2(2.0))
    density = _density(homes, prior, lambda_a, lambda_b, jacobian)
    steps = np.exp(-np.arange(12.0, 30.0, 3.0))
    heights = [density.ridge(scale, s) for s in steps]
    np.testing.assert_allclose(np.diff(heights) / 3.0, density.rates[scale], atol=1e-3)


_densities: dict = {}


def _density(homes, prior, lambda_a, lambda_b, jacobian):
    """The densities of one prior share the foot of their ridges: find it once."""
    if prior not in _densities:
        _densities[prior] = modes.varying_slopes(
            homes, prior, intercepts=0.0, slopes=0.0, jacobian=True
        )._foot_of_the_ridges
    density = modes.varying_slopes(
        homes, prior, intercepts=lambda_a, slopes=lambda_b, jacobian=jacobian
    )
    density.__dict__["_foot_of_the_ridges"] = _densities[prior]
    return density


def test_the_ridge_passes_every_height(homes):
    density = modes.varying_slopes(
        homes, priors.ESSAY, intercepts="noncentered", slopes="centered", jacobian=True
    )
    mode = modes.varying_slopes(
        homes, priors.ESSAY, intercepts="noncentered", slopes="noncentered", jacobian=True
    ).mode()
    assert density.mode().ridge("sigma_b", 1e-100) > mode.log_density + 10_000


def test_in_log_coordinates_a_little_centering_still_has_a_mode(few_homes):
    """The rate is J λ - 1 there: bounded up to λ = 1/J, whatever the data."""
    below, above = (
        modes.varying_slopes(
            few_homes, priors.ESSAY, intercepts=0.0, slopes=share / 8, jacobian=True
        ).mode()
        for share in (0.5, 1.5)
    )
    assert below.exists
    assert not above.exists


# ---- where there is one


@pytest.mark.parametrize(
    ("prior", "jacobian"), [(priors.ESSAY, False), (priors.WEAKLY_INFORMATIVE, True)]
)
def test_the_mode_is_a_stationary_point_of_the_pymc_model(homes, prior, jacobian):
    density = modes.varying_slopes(homes, prior, intercepts=0.0, slopes=0.0, jacobian=jacobian)
    mode = density.mode()
    model = models.varying_slopes(homes, prior, intercepts=0.0, slopes=0.0)
    values = value_point(model, mode.point)
    values["a_offset"] = offsets(mode.point, "a", "mu_a", "sigma_a", 0)
    values["b_offset"] = offsets(mode.point, "b", "mu_b", "sigma_b", 0)
    assert mode.exists
    assert float(model.compile_logp(jacobian=jacobian, mode=FAST)(values)) == pytest.approx(
        mode.log_density
    )
    gradient = model.compile_dlogp(jacobian=jacobian, mode=FAST)(values)
    assert np.abs(gradient).max() < 1e-3
    # And not by chance: a small step away the gradient is another.
    values["sigma_b_log__"] += 0.1
    assert np.abs(model.compile_dlogp(jacobian=jacobian, mode=FAST)(values)).max() > 0.1


def compile_both(model, jacobian):
    """PyMC's log density and its gradient, as one function of a dict of values."""
    outputs = [model.logp(jacobian=jacobian), model.dlogp(jacobian=jacobian)]
    return model.compile_fn(outputs, mode=FAST)


@pytest.mark.slow
def test_no_climb_from_anywhere_gets_higher(few_homes):
    """What find_MAP does, from several starts, on the whole noncentered density."""
    three = few_homes[few_homes["county"].cat.codes < 3].copy()
    three["county"] = three["county"].cat.remove_unused_categories()
    prior = priors.WEAKLY_INFORMATIVE
    mode = modes.varying_slopes(three, prior, intercepts=0.0, slopes=0.0, jacobian=False).mode()
    model = models.varying_slopes(three, prior, intercepts=0.0, slopes=0.0)
    log_p_and_gradient = compile_both(model, jacobian=False)
    names = [value.name for value in model.value_vars]
    shapes = [np.shape(model.initial_point()[name]) for name in names]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])

    def loss(x):
        parts = zip(names, shapes, ends, ends[1:], strict=False)
        log_p, gradient = log_p_and_gradient({n: x[i:j].reshape(s) for n, s, i, j in parts})
        return -float(log_p), -gradient

    rng = np.random.default_rng(3)
    starts = rng.normal(0, 1, (8, ends[-1]))
    heights = [-optimize.minimize(loss, start, jac=True, method="L-BFGS-B").fun for start in starts]
    assert max(heights) == pytest.approx(mode.log_density, abs=1e-3)


def test_the_noncentered_mode_lies_far_above_the_mean_and_moves_with_the_hyperprior(homes):
    truth = exact.varying_slopes(homes, priors.ESSAY)
    tops = []
    for beta in (5, 50, 500):
        wide = priors.HalfCauchy(beta)
        prior = dataclasses.replace(priors.ESSAY, sigma_a=wide, sigma_b=wide)
        density = modes.varying_slopes(homes, prior, intercepts=0.0, slopes=0.0, jacobian=False)
        tops.append(density.mode().point["sigma_b"])
    assert tops[0] > truth.quantile("sigma_b", 0.9999)
    assert tops[0] > 10 * truth.mean("sigma_b")
    # A hundredfold wider hyperprior moves the mean by little and the mode by a lot.
    wide = exact.varying_slopes(homes, prior)
    assert wide.mean("sigma_b") == pytest.approx(truth.mean("sigma_b"), rel=0.05)
    assert tops[1] > 2 * tops[0]
    assert tops[2] > 2 * tops[1]


def test_the_mode_moves_with_the_coordinates(homes, schools):
    plain, log = (
        modes.varying_slopes(homes, priors.ESSAY, intercepts=0.0, slopes=0.0, jacobian=j).mode()
        for j in (False, True)
    )
    assert log.point["sigma_b"] > 1.2 * plain.point["sigma_b"]
    plain, log = (modes.eight_schools(schools, effects=0.0, jacobian=j).mode() for j in (0, 1))
    assert plain.point["tau"] == 0  # on the boundary: all schools alike
    assert np.ptp(plain.point["theta"]) == 0
    assert log.point["tau"] > 10


def test_a_mode_at_the_boundary_is_the_limit(schools):
    density = modes.eight_schools(schools, effects="noncentered", jacobian=False)
    mode = density.mode()
    near = dict(mode.point, tau=1e-9)
    assert density(near) == pytest.approx(mode.log_density, rel=1e-9)


def test_homes_that_are_fitted_exactly_have_no_mode():
    """Two homes per county, one on each floor: the noise may go to zero."""
    county = pd.Categorical(np.repeat(list("abc"), 2))
    few = pd.DataFrame({"county": county, "floor": [0, 1] * 3, "log_radon": [1.0, 0, 2, 1, 0, 3]})
    density = modes.varying_slopes(few, priors.ESSAY, intercepts=0.0, slopes=0.0, jacobian=False)
    with pytest.raises(RuntimeError, match="sigma_y"):
        density.mode()


# ---- Laplace and marginal modes


class LogNormals:
    """Stands in for an exact posterior: log scales that are normal, so Laplace is exact."""

    parameters = ("mu_a", "mu_b", "sigma_a", "sigma_b", "sigma_y", "a", "b")
    log_evidence = -17.0

    def __init__(self, mean, covariance):
        self.law = stats.multivariate_normal(mean, covariance)
        self.medians = dict(zip(self.parameters[2:5], np.exp(np.add(mean, 0.3)), strict=True))

    def quantile(self, name, p):
        return self.medians[name]

    def log_density_of_scales(self, sigma_a, sigma_b, sigma_y):
        logs = np.log([sigma_a, sigma_b, sigma_y])
        return self.law.logpdf(np.moveaxis(logs, 0, -1)) - logs.sum(axis=0)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_laplace_of_a_normal_is_exact(seed):
    rng = np.random.default_rng(seed)
    mean, root = rng.normal(-1, 1, 3), rng.normal(size=(3, 3))
    covariance = 0.1 * (root @ root.T + np.eye(3))
    approximation = modes.laplace(LogNormals(mean, covariance))
    assert approximation.names == ("sigma_a", "sigma_b", "sigma_y")
    np.testing.assert_allclose(approximation.mean, mean, atol=1e-4)
    np.testing.assert_allclose(approximation.covariance, covariance, rtol=1e-3, atol=1e-5)
    assert approximation.log_evidence == pytest.approx(-17, abs=1e-3)
    x = np.exp(mean[1] + math.sqrt(covariance[1, 1]))
    assert float(approximation.cdf("sigma_b", x)) == pytest.approx(stats.norm.cdf(1), abs=1e-3)


def test_laplace_of_the_radon_posterior(homes):
    """Close where the posterior is nearly normal, blind to the neck of the funnel."""
    truth = exact.varying_slopes(homes, priors.ESSAY)
    approximation = modes.laplace(truth)
    assert approximation.log_evidence == pytest.approx(truth.log_evidence, abs=0.5)
    for p in (0.05, 0.5, 0.95):
        x = truth.quantile("sigma_y", p)
        assert float(approximation.cdf("sigma_y", x)) == pytest.approx(p, abs=0.1)
    low = truth.quantile("sigma_b", 0.05)
    assert float(approximation.cdf("sigma_b", low)) < 1e-4  # the truth is 0.05


def test_laplace_is_the_normal_at_the_marginal_mode(schools):
    """One scale: mode and curvature of the exact density of log tau."""
    truth = exact.eight_schools(schools)
    approximation = modes.laplace(truth)
    mode = float(np.exp(approximation.mean[0]))
    assert mode == pytest.approx(modes.marginal_mode(truth, "tau", log=True), rel=1e-3)
    h = 0.05
    x = mode * np.exp([-h, 0, h])
    left, middle, right = np.log(truth.density("tau", x) * x)
    assert -1 / approximation.covariance[0, 0] == pytest.approx(
        (left - 2 * middle + right) / h**2, rel=0.01
    )


class LogNormal:
    """Stands in for an exact posterior, with modes known in closed form."""

    quadrature_error = 1e-9

    def __init__(self, m, s):
        self.law = stats.lognorm(s, scale=np.exp(m))

    def quantile(self, name, p):
        return self.law.ppf(p)

    def density(self, name, x):
        return self.law.pdf(x)


@given(m=st.floats(-3, 3), s=st.floats(0.1, 1.5))
@settings(deadline=None)
def test_marginal_modes_of_a_lognormal(m, s):
    posterior = LogNormal(m, s)
    assert modes.marginal_mode(posterior, "x", log=True) == pytest.approx(np.exp(m), rel=1e-3)
    assert modes.marginal_mode(posterior, "x", log=False) == pytest.approx(
        np.exp(m - s**2), rel=1e-3
    )


def test_marginal_modes_of_the_radon_scales(homes):
    """Two modes for one posterior, and both within it: unlike the joint modes."""
    truth = exact.varying_slopes(homes, priors.ESSAY)
    for scale in ("sigma_a", "sigma_b", "sigma_y"):
        plain, log = (modes.marginal_mode(truth, scale, log=log) for log in (False, True))
        assert truth.quantile(scale, 0.05) < plain < log < truth.quantile(scale, 0.95)


def test_a_boundary_avoiding_prior_moves_the_mode_off_zero(schools):
    """Chung et al. (2013): the marginal mode of tau is 0 with a prior that is flat there."""
    flat = exact.eight_schools(schools)
    assert modes.marginal_mode(flat, "tau", log=False) == 0
    avoiding = dataclasses.replace(priors.EIGHT_SCHOOLS, tau=priors.Gamma2(0.1))
    posterior = exact.eight_schools(schools, avoiding)
    assert modes.marginal_mode(posterior, "tau", log=False) > 1
    # It is the marginal mode that it helps: the centered joint density has none still.
    joint = modes.eight_schools(schools, avoiding, effects="centered", jacobian=False).mode()
    assert not joint.exists
    assert joint.rates["tau"] == 7


# ---- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma_b": 0.0}, r"sigma_b .* 0\.0"),
        ({"sigma_b": -1.0}, r"sigma_b .* -1\.0"),
        ({"sigma_y": np.nan}, "sigma_y .* nan"),
        ({"b": None}, "no 'b'"),
    ],
)
def test_bad_points(few_homes, change, message):
    density = modes.varying_slopes(
        few_homes, priors.ESSAY, intercepts=0.0, slopes=1.0, jacobian=False
    )
    point = random_point(np.random.default_rng(0), 8) | change
    point = {name: value for name, value in point.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        density(point)


def test_bad_arguments(few_homes, schools):
    arguments = {"intercepts": 0.0, "slopes": 0.0, "jacobian": False}
    with pytest.raises(TypeError, match="Hyperpriors"):
        modes.varying_slopes(few_homes, priors.EIGHT_SCHOOLS, **arguments)
    with pytest.raises(ValueError, match="uncentered"):
        modes.varying_slopes(few_homes, priors.ESSAY, **(arguments | {"slopes": "uncentered"}))
    with pytest.raises(ValueError, match="2"):
        modes.varying_slopes(few_homes.assign(floor=2), priors.ESSAY, **arguments)
    with pytest.raises(ValueError, match="sigma_y"):
        modes.varying_slopes(few_homes, priors.ESSAY, **arguments).ridge("sigma_y", 0.1)
    with pytest.raises(ValueError, match=r"sigma_b .* -0\.1"):
        modes.varying_slopes(few_homes, priors.ESSAY, **arguments).ridge("sigma_b", -0.1)
    with pytest.raises(TypeError, match="EightSchoolsPriors"):
        modes.eight_schools(schools, priors.ESSAY, effects=0.0, jacobian=False)
    for column, value in (("effect", np.nan), ("se", 0.0), ("se", np.inf)):
        bad = schools.assign(**{column: [value, *schools[column][1:]]})
        with pytest.raises(ValueError, match=rf"{column} must be .*; row .* has {value}"):
            modes.eight_schools(bad, effects=0.0, jacobian=False)
    approximation = modes.Laplace(("tau",), np.zeros(1), np.eye(1), 0.0)
    with pytest.raises(ValueError, match="sigma_b"):
        approximation.cdf("sigma_b", 1.0)
    with pytest.raises(ValueError, match=r"-1\."):
        approximation.cdf("tau", -1.0)


# ---- the best for given scales


def test_given_scales_the_point_is_the_mean_and_the_mode(few_homes):
    scales = {"sigma_a": 0.3, "sigma_b": 0.2, "sigma_y": 0.7}
    build = {"intercepts": "centered", "slopes": 0.5, "jacobian": True}
    density = modes.varying_slopes(few_homes, priors.WEAKLY_INFORMATIVE, **build)
    point = density.given(**scales)
    rng = np.random.default_rng(3)
    for _ in range(20):
        near = dict(point)
        for name in ("mu_a", "mu_b", "a", "b"):
            near[name] = point[name] + 0.05 * rng.normal(size=np.shape(point[name]))
        assert density(near) < density(point)
    # The mean of b given the scales, by dense algebra: prior covariance and design.
    county = few_homes["county"].cat.codes.to_numpy()
    x = few_homes["floor"].to_numpy(float)
    member = (county[:, None] == np.arange(8)).astype(float)
    design = np.hstack([np.ones((len(x), 1)), x[:, None], member, member * x[:, None]])
    variance = np.r_[100.0, 100.0, np.full(8, 0.3**2), np.full(8, 0.2**2)]
    precision = design.T @ design / 0.7**2 + np.diag(1 / variance)
    mean = np.linalg.solve(precision, design.T @ few_homes["log_radon"].to_numpy() / 0.7**2)
    np.testing.assert_allclose(point["b"], mean[1] + mean[10:], atol=1e-10)
    np.testing.assert_allclose(point["a"], mean[0] + mean[2:10], atol=1e-10)


def test_a_scale_of_zero_gives_one_slope_to_all(few_homes):
    density = modes.varying_slopes(
        few_homes, priors.ESSAY, intercepts="centered", slopes="centered", jacobian=False
    )
    point = density.given(sigma_a=0.3, sigma_b=0.0, sigma_y=0.7)
    np.testing.assert_array_equal(point["b"], np.full(8, point["mu_b"]))


def test_given_the_scales_of_the_mode_it_is_the_mode(few_homes):
    density = modes.varying_slopes(
        few_homes, priors.ESSAY, intercepts=0.0, slopes=0.0, jacobian=True
    )
    mode = density.mode()
    point = density.given(**{name: mode.point[name] for name in density.scales})
    assert density(point) == pytest.approx(mode.log_density, abs=1e-6)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ({"sigma_a": 0.3, "sigma_b": 0.2}, "the scales are"),
        ({"sigma_a": 0.3, "sigma_b": -0.2, "sigma_y": 0.7}, r"sigma_b .* at least 0"),
        ({"sigma_a": np.nan, "sigma_b": 0.2, "sigma_y": 0.7}, r"sigma_a .* at least 0"),
        ({"sigma_a": 0.3, "sigma_b": 0.2, "sigma_y": 0.0}, r"sigma_y .* positive"),
    ],
)
def test_bad_scales_are_refused(few_homes, scales, message):
    density = modes.varying_slopes(
        few_homes, priors.ESSAY, intercepts=0.0, slopes=0.0, jacobian=False
    )
    with pytest.raises(ValueError, match=message):
        density.given(**scales)
