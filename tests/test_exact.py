"""The exact posterior against dense algebra, brute force, NUTS and itself."""

import itertools
import math

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, interpolate, stats

from funnel import data, exact, fitting, models
from funnel.priors import (
    EIGHT_SCHOOLS,
    ESSAY,
    WEAKLY_INFORMATIVE,
    EightSchoolsPriors,
    Exponential,
    Gamma2,
    HalfCauchy,
    HalfNormal,
    Hyperpriors,
    Normal,
)

# Priors with which dense algebra is well conditioned.
MODERATE = Hyperpriors(
    mu_a=Normal(1, 2),
    sigma_a=HalfNormal(1),
    mu_b=Normal(-0.5, 1.5),
    sigma_b=HalfNormal(0.7),
    sigma_y=HalfNormal(1.3),
)
FAMILIES = [HalfCauchy(0.8), HalfNormal(0.8), Exponential(1.5), Gamma2(3)]


def make_homes(rows):
    return pd.DataFrame(rows, columns=["county", "floor", "log_radon"])


def simulate(n0, n1, seed):
    """Counties with `n0` basement and `n1` first-floor homes each."""
    rng = np.random.default_rng(seed)
    rows = []
    for j, homes_on in enumerate(zip(n0, n1, strict=True)):
        a, b = 1 + 0.4 * rng.standard_normal(), -0.6 + 0.5 * rng.standard_normal()
        for floor in (0, 1):
            noise = 0.7 * rng.standard_normal(homes_on[floor])
            rows += [(f"county {j}", floor, a + b * floor + e) for e in noise]
    return make_homes(rows)


def design(homes):
    """Same-county indicator and floor."""
    code = homes["county"].astype("category").cat.codes.to_numpy()
    return (code[:, None] == code).astype(float), homes["floor"].to_numpy(dtype=float), code


def dense(homes, priors, sa, sb, sy):
    """Mean and covariance of log_radon, everything Gaussian integrated out; scales broadcast."""
    same, x, _ = design(homes)
    sa, sb, sy = (np.asarray(s, dtype=float)[..., None, None] for s in (sa, sb, sy))
    mean = priors.mu_a.mean + priors.mu_b.mean * x
    cov = priors.mu_a.sd**2 + priors.mu_b.sd**2 * np.outer(x, x)
    cov = cov + same * (sa**2 + sb**2 * np.outer(x, x)) + sy**2 * np.eye(len(x))
    return mean, cov


def dense_log_likelihood(homes, priors, sa, sb, sy):
    mean, cov = dense(homes, priors, sa, sb, sy)
    root = np.linalg.cholesky(cov)
    residual = np.broadcast_to(homes["log_radon"].to_numpy() - mean, cov.shape[:-1])
    z = np.linalg.solve(root, residual[..., None])[..., 0]
    log_det = 2 * np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(axis=-1)
    return -0.5 * ((z**2).sum(axis=-1) + log_det + len(mean) * math.log(2 * math.pi))


def dense_effects(homes, priors, sa, sb, sy):
    """Mean and covariance of (mu_a, mu_b, a..., b...) given the homes and the scales."""
    _, x, code = design(homes)
    groups = code.max() + 1
    # Each unknown as a combination of independent mu_a, mu_b, a - mu_a, b - mu_b.
    loading = np.zeros((2 + 2 * groups, 2 + 2 * groups))
    loading[0, 0] = loading[1, 1] = 1
    loading[2 : 2 + groups, 0] = loading[2 + groups :, 1] = 1
    loading[2:, 2:] = np.eye(2 * groups)
    spread = [priors.mu_a.sd, priors.mu_b.sd] + [sa] * groups + [sb] * groups
    prior_cov = (loading * np.square(spread)) @ loading.T
    prior_mean = loading[:, 0] * priors.mu_a.mean + loading[:, 1] * priors.mu_b.mean
    observe = np.zeros((len(x), len(prior_mean)))
    observe[np.arange(len(x)), 2 + code] = 1
    observe[np.arange(len(x)), 2 + groups + code] = x
    mean, cov = dense(homes, priors, sa, sb, sy)
    gain = np.linalg.solve(cov, observe @ prior_cov).T
    return prior_mean + gain @ (homes["log_radon"] - mean), prior_cov - gain @ observe @ prior_cov


small_tables = st.lists(
    st.tuples(st.sampled_from("ABCD"), st.integers(0, 1), st.floats(-3, 4)),
    min_size=1,
    max_size=9,
).map(make_homes)
scales = st.one_of(st.just(0.0), st.just(1e-12), st.floats(0.01, 5))
noise = st.floats(0.05, 5)


# --- Given the scales: dense algebra ------------------------------------------------------


@settings(deadline=None)
@given(small_tables, scales, scales, noise)
def test_likelihood_is_that_of_a_multivariate_normal(homes, sa, sb, sy):
    mean, cov = dense(homes, MODERATE, sa, sb, sy)
    expected = stats.multivariate_normal(mean, cov).logpdf(homes["log_radon"])
    model = exact._radon_model(homes, MODERATE, slopes=True)
    assert model.given_scales(np.array([[sa, sb, sy]]))[0, 0] == pytest.approx(
        expected, rel=1e-9, abs=1e-9
    )
    without = exact._radon_model(homes, MODERATE, slopes=False)
    mean, cov = dense(homes, MODERATE, sa, 0, sy)
    expected = stats.multivariate_normal(mean, cov).logpdf(homes["log_radon"])
    assert without.given_scales(np.array([[sa, sy]]))[0, 0] == pytest.approx(
        expected, rel=1e-9, abs=1e-9
    )


@settings(deadline=None)
@given(small_tables, scales, scales, noise)
def test_effects_are_those_of_gaussian_conditioning(homes, sa, sb, sy):
    mean, cov = dense_effects(homes, MODERATE, sa, sb, sy)
    sd = np.sqrt(np.diag(cov).clip(0))
    model = exact._radon_model(homes, MODERATE, slopes=True)
    point = np.array([[sa, sb, sy]])
    given_scales = model.given_scales(point)
    mean_a, var_a, mean_b, var_b = exact._effect_moments(
        model.table, model.squares(point)[0], given_scales[0]
    )
    center_a, center_b = model.center
    variances = exact._invert_precision(*given_scales[0, 3:])
    np.testing.assert_allclose(
        np.concatenate([given_scales[0, 1:3] + model.center, mean_a + center_a, mean_b + center_b]),
        mean,
        rtol=1e-8,
        atol=1e-8,
    )
    np.testing.assert_allclose(
        np.sqrt([variances[0], variances[2], *var_a, *var_b]), sd, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("sa", [0.3, 1e-12])
def test_a_noise_of_almost_nothing_is_the_limit_of_none(sa):
    """One home per county: the homes are the intercepts, and sigma_y may vanish."""
    homes = make_homes([("A", 0, 0.4), ("B", 0, 1.1), ("C", 1, 0.2), ("D", 1, 0.9)])
    model = exact._radon_model(homes, MODERATE, slopes=True)
    found = model.given_scales(np.array([[0.4, sa, 1e-12]]))[0, 0]
    mean, cov = dense(homes, MODERATE, 0.4, sa, 0)
    assert found == pytest.approx(stats.multivariate_normal(mean, cov).logpdf(homes["log_radon"]))


@settings(deadline=None, max_examples=50)
@given(small_tables, scales, scales, noise)
def test_the_unit_of_the_data_does_not_matter(homes, sa, sb, sy):
    """In units of 1e12 all scales are tiny; the density is the same but for the unit."""
    unit = 1e-12
    tiny = Hyperpriors(
        mu_a=Normal(1 * unit, 2 * unit),
        sigma_a=HalfNormal(1),
        mu_b=Normal(-0.5 * unit, 1.5 * unit),
        sigma_b=HalfNormal(1),
        sigma_y=HalfNormal(1),
    )
    point = np.array([[sa, sb, sy]])
    plain = exact._radon_model(homes, MODERATE, slopes=True).given_scales(point)[0, 0]
    homes_tiny = homes.assign(log_radon=homes["log_radon"] * unit)
    small = exact._radon_model(homes_tiny, tiny, slopes=True).given_scales(point * unit)[0, 0]
    assert small + len(homes) * math.log(unit) == pytest.approx(plain, rel=1e-9, abs=1e-8)


def test_the_cost_grows_with_the_groups_not_with_the_homes(homes):
    ten_times = pd.concat([homes] * 10)
    table = exact._radon_model(homes, ESSAY, slopes=True).table
    larger = exact._radon_model(ten_times, ESSAY, slopes=True).table
    assert table.shape == larger.shape == (4, 85)
    np.testing.assert_allclose(larger[:2], 10 * table[:2])


def test_draws_given_the_scales_have_the_covariance_of_the_effects():
    homes = simulate([3, 1, 0], [2, 0, 1], seed=3)
    point = np.array([[0.5, 0.8, 0.6]])
    model = exact._radon_model(homes, MODERATE, slopes=True)
    n = 40_000
    rng = np.random.default_rng(5)
    mu, a, b = exact._draw_gaussians(
        model.table,
        np.repeat(model.squares(point), n, axis=0),
        np.repeat(model.given_scales(point), n, axis=0),
        rng.standard_normal((n, 2)),
        rng.standard_normal((n, 3)),
        rng.standard_normal((n, 3)),
    )
    draws = np.hstack([mu + model.center, a + model.center[0], b + model.center[1]])
    mean, cov = dense_effects(homes, MODERATE, *point[0])
    sd = np.sqrt(np.diag(cov))
    assert np.abs((draws.mean(axis=0) - mean) / sd).max() < 4.5 / math.sqrt(n)
    # A product of two standardized draws has a variance of at most 2.
    error = (np.cov(draws.T) - cov) / np.outer(sd, sd)
    assert np.abs(error).max() < 4.5 * math.sqrt(2 / n)


# --- All of it: brute force in log scales -------------------------------------------------


def brute_force(log_joint, log_scales):
    """Trapezoid rule in the log scales, on a tensor grid: log evidence, and a summary by scale.

    Returns the summary of each scale as (mean, sd, cdf).
    """
    grids = np.meshgrid(*[np.exp(u) for u in log_scales], indexing="ij")
    log_mass = log_joint(*grids) + sum(np.log(grid) for grid in grids)
    peak = log_mass.max()
    mass = np.exp(log_mass - peak)
    steps = [u[1] - u[0] for u in log_scales]
    log_evidence = peak + math.log(mass.sum() * math.prod(steps))
    out = []
    for k, u in enumerate(log_scales):
        marginal = mass.sum(axis=tuple(i for i in range(mass.ndim) if i != k)) / mass.sum()
        mean = marginal @ np.exp(u)
        sd = math.sqrt(marginal @ (np.exp(u) - mean) ** 2)
        spline = interpolate.make_interp_spline(u, marginal / steps[k], k=9).antiderivative()
        out.append((mean, sd, lambda x, spline=spline: spline(np.log(x))))
    return log_evidence, out


def assert_matches(truth, names, reference, *, moments=(2, 2, 2)):
    """Match the promise: 1e-4 for mean, sd and cdf, 1e-3 for the log evidence. In fact far more."""
    log_evidence, summaries = reference
    assert truth.log_evidence == pytest.approx(log_evidence, abs=1e-5)
    for name, (mean, sd, cdf), finite in zip(names, summaries, moments, strict=False):
        if finite >= 1:
            assert truth.mean(name) == pytest.approx(mean, rel=2e-5)
        if finite >= 2:
            assert truth.sd(name) == pytest.approx(sd, rel=2e-5)
        x = truth.quantile(name, [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
        np.testing.assert_allclose(truth.cdf(name, x), cdf(x), atol=5e-5)


FEW_HOMES = simulate([2, 2, 1], [1, 0, 2], seed=11)


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise([*FAMILIES, FAMILIES[0]])))
def test_varying_intercepts_against_brute_force(first, second):
    priors = Hyperpriors(
        mu_a=Normal(1, 2),
        sigma_a=first,
        mu_b=Normal(-0.5, 1.5),
        sigma_b=HalfNormal(1),
        sigma_y=second,
    )

    def log_joint(sa, sy):
        likelihood = dense_log_likelihood(FEW_HOMES, priors, sa, 0 * sa, sy)
        return likelihood + first.logpdf(sa) + second.logpdf(sy)

    truth = exact.varying_intercepts(FEW_HOMES, priors)
    u = np.linspace(-18, 9, 180)
    assert_matches(truth, ["sigma_a", "sigma_y"], brute_force(log_joint, [u, u[90:]]))


@pytest.fixture(scope="module")
def few():
    return exact.varying_slopes(FEW_HOMES, MODERATE)


def test_varying_slopes_against_brute_force(few):
    def log_joint(sa, sb, sy):
        likelihood = dense_log_likelihood(FEW_HOMES, MODERATE, sa, sb, sy)
        return likelihood + sum(
            getattr(MODERATE, name).logpdf(s)
            for name, s in zip(["sigma_a", "sigma_b", "sigma_y"], [sa, sb, sy], strict=True)
        )

    u = np.linspace(-14, 2.5, 56)
    y = np.linspace(-3.5, 2.5, 36)
    assert_matches(few, ["sigma_a", "sigma_b", "sigma_y"], brute_force(log_joint, [u, u, y]))


def test_gaussian_parameters_against_brute_force(few):
    """Averages over the scales, on a grid of another kind; given the scales, see above."""
    u = [np.linspace(-14, 2.5, 56), np.linspace(-14, 2.5, 56), np.linspace(-3.5, 2.5, 36)]
    points = np.stack(np.meshgrid(*map(np.exp, u), indexing="ij"), axis=-1).reshape(-1, 3)
    names = ["sigma_a", "sigma_b", "sigma_y"]
    scales = dict(zip(names, points.T, strict=True))
    mass = np.exp(few.log_density_of_scales(**scales)) * points.prod(axis=1)
    mass /= mass.sum()
    model = few._model
    squares, given_scales = model.squares(points), model.given_scales(points)
    variances = exact._invert_precision(*given_scales[:, 3:].T)
    center_a, center_b = model.center
    components = {
        "mu_a": (given_scales[:, [1]] + center_a, np.sqrt(variances[0])[:, None]),
        "mu_b": (given_scales[:, [2]] + center_b, np.sqrt(variances[2])[:, None]),
    }
    for i, name in enumerate(("a", "b")):
        means, sds = exact._effect_components(model.table, squares, given_scales, i)
        components[name] = means + model.center[i], sds
    for name, (means, sds) in components.items():
        mean = mass @ means
        sd = np.sqrt(mass @ (sds**2 + (means - mean) ** 2))
        np.testing.assert_allclose(np.ravel(few.mean(name)), mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(np.ravel(few.sd(name)), sd, rtol=1e-5)
        for x in (-1.0, 0.3, 1.2):
            cdf, density = stats.norm.cdf(x, means, sds), stats.norm.pdf(x, means, sds)
            np.testing.assert_allclose(np.ravel(few.cdf(name, x)), mass @ cdf, atol=1e-5)
            np.testing.assert_allclose(np.ravel(few.density(name, x)), mass @ density, atol=5e-5)


@pytest.mark.parametrize("floor", [0, 1])
def test_one_more_home_against_gaussian_conditioning(few, floor):
    """At some of the nodes: the line a + b floor of each county, the new one's, and the noise."""
    line = np.zeros((4, 8))  # of (mu_a, mu_b, a..., b...)
    line[:3, 2:5] = np.eye(3)
    line[:3, 5:] = floor * np.eye(3)
    line[3, :2] = 1, floor
    predictions = [few.predict_home(floor, county) for county in (*few.groups, None)]
    for i in range(0, len(few._mass), len(few._mass) // 7):
        sa, sb, sy = np.sqrt(few._squares[i])
        mean, cov = dense_effects(FEW_HOMES, MODERATE, sa, sb, sy)
        variance = np.diag(line @ cov @ line.T) + sy**2
        variance[3] += sa**2 + floor * sb**2
        np.testing.assert_allclose([p[0][i] for p in predictions], line @ mean, rtol=1e-7)
        np.testing.assert_allclose([p[1][i] for p in predictions], np.sqrt(variance), rtol=1e-7)
    assert predictions[0][2] @ predictions[0][0] == pytest.approx(
        few.mean("a").iloc[0] + floor * few.mean("b").iloc[0]
    )
    with pytest.raises(ValueError, match="no county 'Nowhere' among the 3"):
        few.predict_home(floor, "Nowhere")
    with pytest.raises(ValueError, match="only the radon regression"):
        exact.eight_schools(data.load_eight_schools()).predict_home(floor, None)


@pytest.mark.parametrize("priors", [ESSAY, WEAKLY_INFORMATIVE], ids=["essay", "weak"])
def test_radon_against_a_grid_refined_until_nothing_changes(homes, priors):
    truth = exact.varying_slopes(homes, priors)
    names = ["sigma_a", "sigma_b", "sigma_y"]

    def reference(factor):
        log_scales = [
            np.linspace(math.log(low), math.log(high), int(factor * n))
            for low, high, n in ((0.05, 1.5, 50), (1e-9, 3, 110), (0.58, 0.9, 30))
        ]
        return brute_force(
            lambda *s: (
                truth.log_density_of_scales(**dict(zip(names, s, strict=True))) + truth.log_evidence
            ),
            log_scales,
        )

    coarse, fine = reference(1), reference(1.4)
    assert coarse[0] == pytest.approx(fine[0], abs=1e-7)
    for (mean, sd, _), (mean_fine, sd_fine, _) in zip(coarse[1], fine[1], strict=True):
        assert (mean, sd) == pytest.approx((mean_fine, sd_fine), rel=1e-6)
    assert_matches(truth, names, fine)
    assert truth.quadrature_error < 1e-4
    # What it costs: the evaluations of the finest grid.
    assert truth._grid.mass.size < 100_000


def test_eight_schools_against_adaptive_quadrature():
    schools = data.load_eight_schools()
    y, se = schools["effect"].to_numpy(), schools["se"].to_numpy()
    truth = exact.eight_schools(schools)

    def joint(tau):
        cov = np.diag(se**2 + tau**2) + EIGHT_SCHOOLS.mu.sd**2
        density = stats.multivariate_normal(np.zeros(8), cov).pdf(y)
        return 1e13 * density * stats.halfcauchy(scale=5).pdf(tau)

    def mean_theta(tau):
        prior = np.eye(8) * tau**2 + EIGHT_SCHOOLS.mu.sd**2
        return prior @ np.linalg.solve(prior + np.diag(se**2), y)

    def integral(f):
        pieces = ((0, 5), (5, 20), (20, 100), (100, np.inf))
        return sum(integrate.quad(f, *ends, epsrel=1e-10)[0] for ends in pieces)

    total = integral(joint)
    mean = integral(lambda t: t * joint(t)) / total
    square = integral(lambda t: t**2 * joint(t)) / total
    assert truth.log_evidence == pytest.approx(math.log(total / 1e13), abs=1e-6)
    assert truth.mean("tau") == pytest.approx(mean, rel=1e-6)
    assert truth.sd("tau") == pytest.approx(math.sqrt(square - mean**2), rel=1e-6)
    assert truth.cdf("tau", 5.0) == pytest.approx(integrate.quad(joint, 0, 5)[0] / total, abs=1e-5)
    theta = [integral(lambda t, j=j: mean_theta(t)[j] * joint(t)) / total for j in range(8)]
    np.testing.assert_allclose(truth.mean("theta"), theta, rtol=1e-5)
    assert list(truth.mean("theta").index) == list("ABCDEFGH")
    assert truth.mean("theta").index.name == "school"


# --- Few groups: which moments exist ------------------------------------------------------


def test_with_no_group_the_scale_keeps_its_prior_and_has_no_mean():
    homes = simulate([3, 2, 4], [0, 0, 0], seed=1)
    truth = exact.varying_slopes(homes, ESSAY)
    x = np.array([0.01, 1, 5, 50, 1000])
    np.testing.assert_allclose(truth.cdf("sigma_b", x), stats.halfcauchy(scale=5).cdf(x), atol=1e-6)
    np.testing.assert_allclose(
        truth.density("sigma_b", x), stats.halfcauchy(scale=5).pdf(x), rtol=1e-3
    )
    for what in (truth.mean, truth.sd):
        with pytest.warns(exact.MomentWarning, match="sigma_b does not exist"):
            assert what("sigma_b") == math.inf
    # No county has a slope of its own: they have no more moments than their scale.
    with pytest.warns(exact.MomentWarning, match="mean of b"):
        assert truth.mean("b").isna().all()
    with pytest.warns(exact.MomentWarning, match="sd of b"):
        assert np.isinf(truth.sd("b")).all()
    assert np.isfinite([truth.mean("sigma_a"), truth.sd("sigma_a")]).all()
    assert np.isfinite(truth.quantile("b", 0.9)).all()


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_with_few_groups_moments_are_those_of_the_whole_tail(groups):
    """The mean of mu_b may be anywhere within 10,000: the tail is long before it is steep."""
    homes = simulate([2, 2, 2, 2], [1] * groups + [0] * (4 - groups), seed=2)
    truth = exact.varying_slopes(homes, ESSAY)
    names = ["sigma_a", "sigma_b", "sigma_y"]
    log_scales = [
        np.linspace(-15, 9, 80),
        np.linspace(-15, 30, 150),
        np.linspace(-3, 4, 45),
    ]
    reference = brute_force(
        lambda *s: (
            truth.log_density_of_scales(**dict(zip(names, s, strict=True))) + truth.log_evidence
        ),
        log_scales,
    )
    assert_matches(truth, names, reference, moments=(2, min(groups, 2), 2))
    if groups == 1:
        with pytest.warns(exact.MomentWarning, match="sd of sigma_b"):
            assert truth.sd("sigma_b") == math.inf
        with pytest.warns(exact.MomentWarning, match="sd of b"):
            infinite = np.isinf(truth.sd("b"))
        assert list(infinite) == [False, True, True, True]
        assert np.isfinite(truth.mean("b")).all()


@pytest.mark.parametrize("count", [1, 2])
def test_with_few_schools_moments_are_those_of_the_whole_tail(count):
    priors = EightSchoolsPriors(Normal(0, 1e4), HalfCauchy(5))
    schools = data.load_eight_schools().head(count)
    y, se = schools["effect"].to_numpy(), schools["se"].to_numpy()
    truth = exact.eight_schools(schools, priors)

    def log_joint(tau):
        cov = np.eye(count) * (se**2 + tau[:, None, None] ** 2) + 1e4**2
        solved = np.linalg.solve(cov, np.broadcast_to(y, (len(tau), count))[..., None])
        quadratic = solved[..., 0] @ y
        log_det = np.linalg.slogdet(2 * math.pi * cov)[1]
        return -0.5 * (quadratic + log_det) + priors.tau.logpdf(tau)

    reference = brute_force(log_joint, [np.linspace(-12, 34, 2000)])
    assert_matches(truth, ["tau"], reference, moments=(count,))


LONELY = {
    "one county": simulate([3], [2], seed=4),
    "one home": make_homes([("A", 1, 0.3)]),
    "one home per county": simulate([1, 0, 1, 0, 1], [0, 1, 0, 1, 0], seed=6),
    "only basements": simulate([3, 1, 2], [0, 0, 0], seed=7),
    "only first floors": simulate([0, 0, 0], [3, 1, 2], seed=8),
}


@pytest.mark.parametrize("case", LONELY)
def test_poor_data_against_brute_force(case):
    truth = exact.varying_slopes(LONELY[case], WEAKLY_INFORMATIVE)
    names = ["sigma_a", "sigma_b", "sigma_y"]
    u = np.linspace(-15, 2.6, 80)
    reference = brute_force(
        lambda *s: (
            truth.log_density_of_scales(**dict(zip(names, s, strict=True))) + truth.log_evidence
        ),
        [u, u, u],
    )
    assert_matches(truth, names, reference)


# --- The quadrature says when it fails ----------------------------------------------------


def test_an_improper_posterior_is_refused_or_warned_of():
    same = simulate([3, 3, 3], [0, 1, 1], seed=9).assign(log_radon=1.0)
    with pytest.raises(ValueError, match="improper"):
        exact.varying_slopes(same, ESSAY)
    pair = make_homes([("A", 0, 1.0), ("A", 0, 1.0)])
    with pytest.warns(exact.QuadratureWarning, match="improper"):
        truth = exact.varying_intercepts(pair, ESSAY)
    assert truth.quadrature_error > 1e-4


# --- Answers: consistency, shapes, labels -------------------------------------------------


def test_quantile_inverts_the_cdf_and_density_is_its_slope(truth, few):
    p = [0.001, 0.05, 0.5, 0.95, 0.999]
    for posterior, name in itertools.product((truth, few), truth.parameters):
        x = posterior.quantile(name, p)
        if isinstance(x, pd.DataFrame):
            x = x.iloc[1]
            name_x = lambda f, at, n=name, post=posterior: getattr(post, f)(n, at).iloc[1]  # noqa: E731
        else:
            name_x = lambda f, at, n=name, post=posterior: getattr(post, f)(n, at)  # noqa: E731
        np.testing.assert_allclose(name_x("cdf", list(x)), p, atol=1e-8)
        h = 1e-4 * np.diff(x).min()
        slope = (
            np.asarray(name_x("cdf", list(np.asarray(x) + h)))
            - np.asarray(name_x("cdf", list(np.asarray(x) - h)))
        ) / (2 * h)
        np.testing.assert_allclose(name_x("density", list(x)), slope, rtol=1e-3, atol=1e-6)


def test_scales_live_on_the_half_line(truth):
    assert truth.cdf("sigma_b", [-1, 0, 100]) == pytest.approx([0, 0, 1])
    assert truth.density("sigma_b", [-1.0, 100.0]).tolist() == [0, 0]
    assert truth.density("sigma_b", 0.0) > 1
    assert truth.density("sigma_y", 0.1) == 0


def test_shapes_and_labels(truth, homes):
    counties = list(homes["county"].cat.categories)
    assert isinstance(truth.mean("sigma_b"), float)
    assert isinstance(truth.cdf("mu_b", 0.0), float)
    assert truth.cdf("sigma_b", np.full((2, 3), 0.1)).shape == (2, 3)
    assert truth.density("mu_a", np.full((2, 3), 0.1)).shape == (2, 3)
    for series in (truth.mean("b"), truth.sd("a"), truth.cdf("b", 0.0), truth.quantile("a", 0.5)):
        assert list(series.index) == counties
        assert series.index.name == "county"
    table = truth.cdf("b", [-1.0, 0.0])
    assert list(table.index) == counties
    assert list(table.columns) == [-1.0, 0.0]
    with pytest.raises(ValueError, match="flat list"):
        truth.cdf("b", [[0.0]])


def test_a_county_slope_is_not_its_offset(truth, homes):
    """E[b_j | y] has mu_b in it; where there is no first-floor home it is mu_b."""
    silent = homes.groupby("county", observed=True)["floor"].sum() == 0
    assert silent.sum() == 25
    slopes = truth.mean("b")
    assert (slopes[silent] - truth.mean("mu_b")).abs().max() < 0.1
    assert truth.sd("b")[silent].min() > truth.sd("mu_b")


def test_the_order_of_homes_and_the_names_of_counties_do_not_matter(few):
    shuffled = FEW_HOMES.sample(frac=1, random_state=1)
    renamed = shuffled.assign(county=shuffled["county"].map(lambda name: "x" + name[::-1]))
    other = exact.varying_slopes(renamed, MODERATE)
    assert other.log_evidence == pytest.approx(few.log_evidence)
    np.testing.assert_allclose(sorted(other.mean("b")), sorted(few.mean("b")))


def test_the_joint_density_of_the_scales(few):
    point = {"sigma_a": 0.4, "sigma_b": [0.0, 0.3], "sigma_y": 0.8}
    found = few.log_density_of_scales(**point)
    expected = [
        dense_log_likelihood(FEW_HOMES, MODERATE, 0.4, sb, 0.8)
        + MODERATE.sigma_a.logpdf(0.4)
        + MODERATE.sigma_b.logpdf(sb)
        + MODERATE.sigma_y.logpdf(0.8)
        - few.log_evidence
        for sb in (0.0, 0.3)
    ]
    np.testing.assert_allclose(found, expected)
    assert isinstance(few.log_density_of_scales(**point | {"sigma_b": 0.1}), float)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"sigma_a": 1, "sigma_y": 1}, "the scales are"),
        ({"sigma_a": -1, "sigma_b": 1, "sigma_y": 1}, "sigma_a .* got -1"),
        ({"sigma_a": 1, "sigma_b": math.nan, "sigma_y": 1}, "sigma_b .* got nan"),
        ({"sigma_a": 1, "sigma_b": 1, "sigma_y": [1, 0]}, "sigma_y .* positive, got 0"),
    ],
)
def test_bad_scales_are_refused(few, point, message):
    with pytest.raises(ValueError, match=message):
        few.log_density_of_scales(**point)


def test_bad_questions_are_refused(few):
    for ask in (few.mean, few.sd, lambda n: few.cdf(n, 1), lambda n: few.density(n, 1)):
        with pytest.raises(ValueError, match="no parameter 'eps'; there are mu_a, mu_b, sigma_a"):
            ask("eps")
    for p in (0, 1, 1.5, math.nan):
        with pytest.raises(ValueError, match=f"between 0 and 1, got {float(p)}"):
            few.quantile("sigma_b", [0.5, p])


def test_bad_input_is_refused(homes):
    with pytest.raises(ValueError, match="floor must be 0 or 1"):
        exact.varying_slopes(homes.assign(floor=2), ESSAY)
    with pytest.raises(TypeError, match="priors must be"):
        exact.varying_slopes(homes, EIGHT_SCHOOLS)
    schools = data.load_eight_schools()
    with pytest.raises(TypeError, match="priors must be"):
        exact.eight_schools(schools, ESSAY)
    with pytest.raises(ValueError, match="no column 'se'"):
        exact.eight_schools(schools.drop(columns="se"))
    with pytest.raises(ValueError, match="empty"):
        exact.eight_schools(schools.head(0))
    with pytest.raises(ValueError, match=r"se must be positive.*row 2 has -1"):
        exact.eight_schools(schools.assign(se=[1.0, 2.0, -1.0, 1, 1, 1, 1, 1]))


# --- Draws --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def draws(truth):
    return truth.draws(20_000, seed=8).posterior.dataset


def test_draws_have_the_form_that_arviz_wants(truth, homes):
    tree = truth.draws(400, seed=1)
    assert isinstance(tree, xr.DataTree)
    posterior = tree["posterior"].dataset
    assert set(posterior) == set(truth.parameters)
    assert dict(posterior.sizes) == {"chain": 4, "draw": 100, "county": 85}
    assert list(posterior["county"].to_numpy()) == list(homes["county"].cat.categories)
    summary = az.summary(tree, var_names=["sigma_b", "mu_b"])
    assert list(summary.index) == ["sigma_b", "mu_b"]
    again = truth.draws(400, seed=1)["posterior"].dataset
    assert posterior.equals(again)
    assert not posterior.equals(truth.draws(400, seed=2)["posterior"].dataset)


def test_draws_of_the_other_models(few):
    tree = exact.eight_schools(data.load_eight_schools()).draws(40, seed=1)
    assert set(tree["posterior"].dataset) == {"mu", "tau", "theta"}
    assert tree["posterior"].dataset["theta"].dims == ("chain", "draw", "school")
    tree = exact.varying_intercepts(FEW_HOMES, MODERATE).draws(40, seed=1)
    assert set(tree["posterior"].dataset) == {"mu_a", "mu_b", "sigma_a", "sigma_y", "a"}


def test_draws_are_continuous_and_independent(truth, draws):
    assert len(np.unique(draws["sigma_b"])) == draws["sigma_b"].size
    for name in ("sigma_a", "sigma_b", "sigma_y", "mu_b"):
        assert float(az.ess(draws[name].to_numpy())) > 0.9 * draws[name].size


def test_draws_have_the_moments_of_the_quadrature(truth, draws):
    n = draws["mu_a"].size
    for name in truth.parameters:
        x = draws[name].to_numpy().reshape(n, -1)
        z = (x.mean(axis=0) - np.asarray(truth.mean(name))) / np.asarray(truth.sd(name))
        assert np.abs(z).max() < 4.5 / math.sqrt(n), name
        kurtosis = stats.kurtosis(x, fisher=False)
        error = x.std(axis=0) / np.asarray(truth.sd(name)) - 1
        assert (np.abs(error) < 4.5 * np.sqrt((kurtosis - 1) / (4 * n))).all(), name


def test_draws_are_uniform_under_their_cdf(truth, draws, few):
    for name in ("mu_a", "mu_b", "sigma_a", "sigma_b", "sigma_y"):
        p = truth.cdf(name, draws[name].to_numpy().ravel()[:8000])
        assert stats.kstest(p, "uniform").pvalue > 1e-3, name
    some = few.draws(600, seed=9)["posterior"].dataset
    for name, county in itertools.product(("a", "b"), few.groups):
        p = few.cdf(name, some[name].sel(county=county).to_numpy().ravel()).loc[county]
        assert stats.kstest(p, "uniform").pvalue > 1e-3, (name, county)


def test_scales_are_drawn_jointly(truth, draws):
    """Products of scales, and what only the conditional draws can get right."""
    grid = truth._grid
    drawn = np.stack([draws[name].to_numpy().ravel() for name in truth._axis], axis=1)
    mass = grid.mass.ravel()
    center = mass @ grid.points
    for i, j in itertools.combinations_with_replacement(range(3), 2):
        product = (grid.points[:, i] - center[i]) * (grid.points[:, j] - center[j])
        found = (drawn[:, i] - center[i]) * (drawn[:, j] - center[j])
        error = found.mean() - mass @ product
        assert abs(error) < 4 * found.std() / math.sqrt(len(found))


def test_where_no_home_speaks_of_it_a_slope_is_a_draw_from_its_prior(truth, draws, homes):
    silent = homes.groupby("county", observed=True)["floor"].sum() == 0
    county = silent.index[silent][0]
    z = ((draws["b"].sel(county=county) - draws["mu_b"]) / draws["sigma_b"]).to_numpy().ravel()
    assert stats.kstest(z, "norm").pvalue > 1e-3
    correlation = stats.pearsonr(z**2, draws["sigma_b"].to_numpy().ravel())
    assert correlation.pvalue > 1e-3


@pytest.mark.parametrize(
    ("n", "seed", "error", "message"),
    [
        (10, 1, ValueError, "multiple of 4, got 10"),
        (0, 1, ValueError, "got 0"),
        (-4, 1, ValueError, "got -4"),
        (4.0, 1, TypeError, "integer"),
        (4, None, TypeError, "seed"),
    ],
)
def test_bad_requests_for_draws_are_refused(few, n, seed, error, message):
    with pytest.raises(error, match=message):
        few.draws(n, seed)


@pytest.mark.slow
@pytest.mark.parametrize("priors", [ESSAY, WEAKLY_INFORMATIVE], ids=["essay", "weak"])
def test_nuts_agrees_within_its_monte_carlo_error(homes, priors):
    truth = exact.varying_slopes(homes, priors)
    model = models.varying_slopes(homes, priors, intercepts="centered", slopes="noncentered")
    posterior = fitting.fit(model, seed=31)["posterior"].dataset

    def z(draws, exact_value):
        return abs(float(draws.mean()) - exact_value) / float(az.mcse(draws.to_numpy()))

    for name in ("mu_a", "mu_b", "sigma_a", "sigma_b", "sigma_y"):
        draws = posterior[name]
        assert z(draws, truth.mean(name)) < 4, name
        assert z((draws - truth.mean(name)) ** 2, truth.sd(name) ** 2) < 4, name
        for p in (0.05, 0.5, 0.95):
            below = (draws < truth.quantile(name, p)).astype(float)
            assert z(below, p) < 4, (name, p)
    for name in ("a", "b"):
        for county, mean in truth.mean(name).iloc[::9].items():
            assert z(posterior[name].sel(county=county), mean) < 4, (name, county)


@pytest.mark.slow
def test_nuts_agrees_on_the_other_models(homes):
    schools = data.load_eight_schools()
    cases = [
        (
            exact.varying_intercepts(homes, ESSAY),
            models.varying_intercepts(homes, ESSAY, intercepts="centered"),
        ),
        (exact.eight_schools(schools), models.eight_schools(schools, effects="noncentered")),
    ]
    for truth, model in cases:
        posterior = fitting.fit(model, seed=32)["posterior"].dataset
        for name in truth.parameters:
            if name in ("a", "theta"):
                continue
            draws = posterior[name]
            error = abs(float(draws.mean()) - truth.mean(name))
            assert error < 4 * float(az.mcse(draws.to_numpy())), name


# --- The kernels as plain Python ----------------------------------------------------------


def test_kernels_are_plain_python_underneath(few):
    """Run each kernel uncompiled: the same numbers, and every line is executed."""
    model, some = few._model, slice(0, 3)
    squares, given_scales = few._squares[some], few._given[some]
    mass = np.array([0.2, 0.3, 0.5])
    rng = np.random.default_rng(1)
    normals = rng.standard_normal((3, 2)), rng.standard_normal((3, 3)), rng.standard_normal((3, 3))
    crowded = np.repeat(model.table, 300, axis=1)  # enough groups to overflow a product
    means, sds = rng.standard_normal((3, 2)), rng.random((3, 2)) + 0.5
    group = (*model.table[:, 0], *squares[0], 0.1, 0.2)
    without = squares * [0, 1, 1]
    cases = [
        (exact._weights, (2.0, 1.0, 0.3, 0.2, 0.4)),
        (exact._invert_precision, (2.0, 1.0, 0.3)),
        (exact._integrate_gaussians, (model.table, model.constants, squares)),
        (exact._integrate_gaussians, (crowded, model.constants, 0 * squares + [1, 1, 0.01])),
        (exact._effects, group),
        (exact._effect_moments, (model.table, squares[0], given_scales[0])),
        (exact._average_effects, (model.table, squares, given_scales, mass)),
        (exact._effect_components, (model.table, squares, given_scales, 1)),
        (exact._draw_gaussians, (model.table, squares, given_scales, *normals)),
        (exact._draw_gaussians, (model.table, without, given_scales, *normals)),
        (exact._mixture, (mass, means, sds, rng.standard_normal((2, 4)))),
    ]
    for kernel, arguments in cases:
        compiled, plain = kernel(*arguments), kernel.py_func(*arguments)
        if not isinstance(compiled, tuple):
            compiled, plain = (compiled,), (plain,)
        for one, other in zip(compiled, plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
