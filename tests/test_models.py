"""The models against densities written by hand, and every parameterization against every other."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import beta, halfnorm, multivariate_normal, norm

from funnel import data, exact, models, priors

# Three counties; the last one has no first-floor measurement.
SMALL = pd.DataFrame(
    {
        "county": pd.Categorical(list("AAABBBBCC")),
        "floor": [0, 1, 1, 0, 0, 0, 1, 0, 0],
        "log_radon": [1.2, 0.3, 0.9, 2.0, 1.1, -2.3, 0.4, 1.7, 1.6],
    }
)
COUNTY, FLOOR, Y = SMALL["county"].cat.codes, SMALL["floor"], SMALL["log_radon"]
SCHOOLS = data.load_eight_schools()
# No constant twice: a prior on the wrong parameter cannot go unnoticed.
PRIORS = priors.Hyperpriors(
    mu_a=priors.Normal(1.0, 2.5),
    sigma_a=priors.HalfCauchy(0.7),
    mu_b=priors.Normal(-0.5, 1.5),
    sigma_b=priors.Exponential(1.3),
    sigma_y=priors.Gamma2(2.1),
)
ENDS_AND_BETWEEN = [0.0, 0.3, 0.9, 1.0]
UNKNOWN = ["Centered", "non-centered", "", None, True, -0.1, 1.1, float("nan"), float("inf")]

Point = dict[str, float | np.ndarray]
number, scale = st.floats(-3, 3), st.floats(0.01, 5)


def effects_of(size: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(number, min_size=size, max_size=size).map(np.array)


def compiled(model: pm.Model, *names: str) -> Callable[[Point], list[np.ndarray]]:
    """Log density, and the named variables, as a function of the free variables.

    Scales and shares are given as such and the density is with respect to them, although
    the sampler moves on logarithms and log odds.
    """
    outputs = [model.logp(jacobian=False), *model.replace_rvs_by_values([model[n] for n in names])]
    function = model.compile_fn(
        outputs, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )

    def evaluate(point: Point) -> list[np.ndarray]:
        values = {}
        for variable in model.free_RVs:
            value = np.asarray(point[variable.name], dtype=float)
            if model.rvs_to_transforms[variable] is not None:
                value = logit(value) if variable.name == "rho_share" else np.log(value)
            values[model.rvs_to_values[variable].name] = value
        return function(values)

    return evaluate


def offset(effect: np.ndarray, mu: float, sigma: float, centeredness: float) -> np.ndarray:
    """The z at which a model of the given centeredness has the given effects."""
    return centeredness * mu + (effect - mu) / sigma ** (1 - centeredness)


def agree(ours: float, theirs: float) -> bool:
    # Rounding is relative to the largest squared deviation, which is below 1e6 here.
    return ours == pytest.approx(theirs, rel=1e-9, abs=1e-7)


@cache
def slopes_model(intercepts: float, slopes: float) -> Callable[[Point], list[np.ndarray]]:
    model = models.varying_slopes(SMALL, PRIORS, intercepts=intercepts, slopes=slopes)
    return compiled(model, "a", "b")


@settings(deadline=None)
@given(
    # Each centeredness on both sides, without all 16 pairs.
    pair=st.sampled_from(list(zip(ENDS_AND_BETWEEN, [0.9, 1.0, 0.3, 0.0], strict=True))),
    top=st.fixed_dictionaries(
        {"mu_a": number, "sigma_a": scale, "mu_b": number, "sigma_b": scale, "sigma_y": scale}
    ),
    a=effects_of(3),
    b=effects_of(3),
)
def test_every_centeredness_is_the_same_model(pair, top, a, b):
    intercepts, slopes = pair
    z = {
        "a": a,
        "b": b,
        "a_offset": offset(a, top["mu_a"], top["sigma_a"], intercepts),
        "b_offset": offset(b, top["mu_b"], top["sigma_b"], slopes),
    }
    log_density, a_back, b_back = slopes_model(intercepts, slopes)(top | z)
    centered, *_ = slopes_model(1.0, 1.0)(top | {"a": a, "b": b})
    jacobian = 3 * (1 - intercepts) * np.log(top["sigma_a"])
    jacobian += 3 * (1 - slopes) * np.log(top["sigma_b"])
    assert agree(log_density, centered + jacobian)
    np.testing.assert_allclose(a_back, a, atol=1e-9)
    np.testing.assert_allclose(b_back, b, atol=1e-9)


@cache
def intercepts_model(intercepts: float) -> Callable[[Point], list[np.ndarray]]:
    return compiled(models.varying_intercepts(SMALL, PRIORS, intercepts=intercepts))


@settings(deadline=None, max_examples=50)
@given(
    intercepts=st.sampled_from(ENDS_AND_BETWEEN),
    top=st.fixed_dictionaries({"mu_a": number, "sigma_a": scale, "mu_b": number, "sigma_y": scale}),
    a=effects_of(3),
)
def test_every_centeredness_of_the_intercepts_alone_is_the_same_model(intercepts, top, a):
    z = {"a": a, "a_offset": offset(a, top["mu_a"], top["sigma_a"], intercepts)}
    (log_density,) = intercepts_model(intercepts)(top | z)
    (centered,) = intercepts_model(1.0)(top | {"a": a})
    assert agree(log_density, centered + 3 * (1 - intercepts) * np.log(top["sigma_a"]))


@cache
def schools_model(effects: float) -> Callable[[Point], list[np.ndarray]]:
    return compiled(models.eight_schools(SCHOOLS, effects=effects))


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(ENDS_AND_BETWEEN), number, scale, effects_of(8))
def test_every_centeredness_of_the_schools_is_the_same_model(effects, mu, tau, theta):
    z = {"theta": theta, "theta_offset": offset(theta, mu, tau, effects)}
    (log_density,) = schools_model(effects)({"mu": mu, "tau": tau} | z)
    (centered,) = schools_model(1.0)({"mu": mu, "tau": tau, "theta": theta})
    assert agree(log_density, centered + 8 * (1 - effects) * np.log(tau))


@cache
def funnel_model(x: float) -> Callable[[Point], list[np.ndarray]]:
    return compiled(models.neal_funnel(3, x=x))


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(ENDS_AND_BETWEEN), number, effects_of(3))
def test_every_centeredness_of_the_funnel_is_the_same_model(centeredness, v, x):
    z = {"v": v, "x": x, "x_offset": offset(x, 0, np.exp(v / 2), centeredness)}
    (log_density,) = funnel_model(centeredness)(z)
    (centered,) = funnel_model(1.0)({"v": v, "x": x})
    assert agree(log_density, centered + 3 * (1 - centeredness) * v / 2)


def test_every_centeredness_is_the_same_model_on_the_radon_data(homes):
    rng = np.random.default_rng(85)
    top = {"mu_a": 1.4, "sigma_a": 0.3, "mu_b": -0.7, "sigma_b": 0.2, "sigma_y": 0.7}
    a, b = rng.normal(1.4, 0.3, 85), rng.normal(-0.7, 0.2, 85)

    def log_density(intercepts: models.Parameterization, slopes: models.Parameterization) -> float:
        model = models.varying_slopes(homes, priors.ESSAY, intercepts=intercepts, slopes=slopes)
        return compiled(model)(point)[0]

    point = top | {"a": a, "b": b}
    centered = log_density("centered", "centered")
    point |= {"a_offset": offset(a, 1.4, 0.3, 0), "b_offset": offset(b, -0.7, 0.2, 0.6)}
    jacobian = 85 * (np.log(0.3) + 0.4 * np.log(0.2))
    assert log_density("noncentered", 0.6) == pytest.approx(centered + jacobian, rel=1e-10)


def test_each_county_may_have_a_centeredness_of_its_own(homes):
    rng = np.random.default_rng(3)
    top = {"mu_a": 1.4, "sigma_a": 0.3, "mu_b": -0.7, "sigma_b": 0.2, "sigma_y": 0.7}
    a, b = rng.normal(1.4, 0.3, 85), rng.normal(-0.7, 0.2, 85)
    each = rng.choice([0.0, 0.3, 1.0], 85)

    def log_density(slopes: models.Parameterization) -> float:
        model = models.varying_slopes(homes, priors.ESSAY, intercepts="centered", slopes=slopes)
        assert {"b"} <= set(model.named_vars)
        return compiled(model)(point)[0]

    point = top | {"a": a, "b": b}
    centered = log_density("centered")
    point["b_offset"] = -0.7 * each + (b + 0.7) / 0.2 ** (1 - each)
    jacobian = (1 - each).sum() * np.log(0.2)
    assert log_density(each) == pytest.approx(centered + jacobian, rel=1e-10)
    assert log_density(list(each)) == pytest.approx(centered + jacobian, rel=1e-10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.ones(2), r"one number or one per county, 3 in all, got float64 of shape \(2,\)"),
        (np.ones((3, 1)), r"shape \(3, 1\)"),
        (["centered", "centered", "noncentered"], "got <U11 of shape"),
        ([0.5, 1.5, 0.1], "between 0 and 1, got 1.5"),
        ([0.5, np.nan, 0.1], "between 0 and 1, got nan"),
    ],
)
def test_a_wrong_centeredness_of_the_counties_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        models.varying_slopes(SMALL, PRIORS, intercepts=wrong, slopes="centered")


def test_data_may_hold_the_centeredness():
    """It can then be another one without compiling the model anew."""
    with pm.Model(coords={"group": range(3)}) as model:
        each = pm.Data("each", np.ones(3))
        mu, sigma = pm.Normal("mu"), pm.HalfNormal("sigma")
        models.add_effects("x", mu, sigma, each, dims="group")
    density = compiled(model)
    point = {"mu": 0.5, "sigma": 0.7, "x_offset": np.array([0.1, -2.0, 1.3])}
    (before,) = density(point)
    expected = norm.logpdf(0.5) + np.log(2) + norm.logpdf(0.7)
    assert before == pytest.approx(expected + norm.logpdf(point["x_offset"], 0.5, 0.7).sum())
    with model:
        pm.set_data({"each": np.zeros(3)})
    assert density(point)[0] == pytest.approx(expected + norm.logpdf(point["x_offset"]).sum())


def log_prior(point: Point, *names: str) -> float:
    return sum(float(getattr(PRIORS, name).logpdf(point[name])) for name in names)


POINT: Point = {
    "mu_a": 1.1,
    "sigma_a": 0.6,
    "mu_b": -0.4,
    "sigma_b": 0.3,
    "sigma_y": 0.8,
    "a": np.array([1.3, 0.2, 2.1]),
    "b": np.array([-0.9, 0.4, -0.2]),
}


def test_pooled_is_one_line():
    expected = log_prior(POINT, "mu_a", "mu_b", "sigma_y")
    expected += norm.logpdf(Y, POINT["mu_a"] + POINT["mu_b"] * FLOOR, POINT["sigma_y"]).sum()
    assert agree(compiled(models.pooled(SMALL, PRIORS))(POINT)[0], expected)


def test_unpooled_is_one_line_per_county():
    mean = POINT["a"][COUNTY] + POINT["b"][COUNTY] * FLOOR
    expected = log_prior(POINT, "sigma_y") + norm.logpdf(Y, mean, POINT["sigma_y"]).sum()
    expected += PRIORS.mu_a.logpdf(POINT["a"]).sum() + PRIORS.mu_b.logpdf(POINT["b"]).sum()
    assert agree(compiled(models.unpooled(SMALL, PRIORS))(POINT)[0], expected)


def test_varying_intercepts_share_a_prior_and_a_slope():
    mean = POINT["a"][COUNTY] + POINT["mu_b"] * FLOOR
    expected = log_prior(POINT, "mu_a", "sigma_a", "mu_b", "sigma_y")
    expected += norm.logpdf(POINT["a"], POINT["mu_a"], POINT["sigma_a"]).sum()
    expected += norm.logpdf(Y, mean, POINT["sigma_y"]).sum()
    model = models.varying_intercepts(SMALL, PRIORS, intercepts="centered")
    assert agree(compiled(model)(POINT)[0], expected)


def test_varying_slopes_share_a_prior_too():
    mean = POINT["a"][COUNTY] + POINT["b"][COUNTY] * FLOOR
    expected = log_prior(POINT, "mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y")
    expected += norm.logpdf(POINT["a"], POINT["mu_a"], POINT["sigma_a"]).sum()
    expected += norm.logpdf(POINT["b"], POINT["mu_b"], POINT["sigma_b"]).sum()
    expected += norm.logpdf(Y, mean, POINT["sigma_y"]).sum()
    assert agree(slopes_model(1.0, 1.0)(POINT)[0], expected)


def test_eight_schools_have_known_standard_errors():
    theta = np.linspace(-5, 15, 8)
    expected = norm.logpdf(3, 0, 5) + float(priors.HalfCauchy(5).logpdf(4))
    expected += norm.logpdf(theta, 3, 4).sum()
    expected += norm.logpdf(SCHOOLS["effect"], theta, SCHOOLS["se"]).sum()
    found = schools_model(1.0)({"mu": 3, "tau": 4, "theta": theta})[0]
    # PyTensor takes the logarithm of the whole numbers in the priors in single precision.
    assert found == pytest.approx(expected, abs=1e-5)


def test_neals_funnel_has_nine_dimensions_of_standard_deviation_exp_half_v():
    x = np.linspace(-2, 2, 9)
    expected = norm.logpdf(1.5, 0, 3) + norm.logpdf(x, 0, np.exp(0.75)).sum()
    found = compiled(models.neal_funnel(x="centered"))({"v": 1.5, "x": x})[0]
    assert found == pytest.approx(expected, abs=1e-5)


# The correlated and the marginal model ------------------------------------------------------


@cache
def correlated_model(intercepts: float, slopes: float) -> Callable[[Point], list[np.ndarray]]:
    model = models.correlated_slopes(SMALL, PRIORS, intercepts=intercepts, slopes=slopes, eta=1.7)
    return compiled(model, "a", "b", "rho")


def mean_and_sd_of_b(point: Point) -> tuple[np.ndarray, float]:
    """Of the slopes given the intercepts, from the covariance by Gaussian conditioning."""
    rho, sigma_a, sigma_b = 2 * point["rho_share"] - 1, point["sigma_a"], point["sigma_b"]
    covariance = rho * sigma_a * sigma_b
    mean = point["mu_b"] + covariance / sigma_a**2 * (point["a"] - point["mu_a"])
    return mean, float(np.sqrt(sigma_b**2 - covariance**2 / sigma_a**2))


def test_correlated_effects_are_bivariate_normal_under_an_lkj_prior():
    point = POINT | {"rho_share": 0.3}
    sigma, rho = np.array([0.6, 0.3]), 2 * 0.3 - 1
    covariance = np.outer(sigma, sigma) * np.array([[1, rho], [rho, 1]])
    pairs = np.column_stack([point["a"], point["b"]])
    mean = point["a"][COUNTY] + point["b"][COUNTY] * FLOOR
    expected = log_prior(point, "mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y")
    expected += multivariate_normal([1.1, -0.4], covariance).logpdf(pairs).sum()
    expected += norm.logpdf(Y, mean, point["sigma_y"]).sum() + beta.logpdf(0.3, 1.7, 1.7)
    found, *_, found_rho = correlated_model(1.0, 1.0)(point)
    assert found == pytest.approx(expected, abs=1e-6)
    assert found_rho == pytest.approx(rho)


@settings(deadline=None, max_examples=50)
@given(
    pair=st.sampled_from([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.3, 0.6)]),
    top=st.fixed_dictionaries(
        {"mu_a": number, "sigma_a": scale, "mu_b": number, "sigma_b": scale, "sigma_y": scale}
    ),
    share=st.floats(0.02, 0.98),
    a=effects_of(3),
    b=effects_of(3),
)
def test_every_centeredness_of_correlated_effects_is_the_same_model(pair, top, share, a, b):
    intercepts, slopes = pair
    point = top | {"rho_share": share, "a": a, "b": b}
    mean_b, sd_b = mean_and_sd_of_b(point)
    z = {
        "a_offset": offset(a, top["mu_a"], top["sigma_a"], intercepts),
        "b_offset": offset(b, mean_b, sd_b, slopes),
    }
    log_density, a_back, b_back, _ = correlated_model(intercepts, slopes)(point | z)
    centered, *_ = correlated_model(1.0, 1.0)(point)
    jacobian = 3 * (1 - intercepts) * np.log(top["sigma_a"]) + 3 * (1 - slopes) * np.log(sd_b)
    assert log_density == pytest.approx(centered + jacobian, rel=1e-7, abs=1e-5)
    np.testing.assert_allclose(a_back, a, atol=1e-8)
    np.testing.assert_allclose(b_back, b, atol=1e-8)


def test_without_correlation_the_correlated_model_is_the_other_one():
    log_density, *_ = correlated_model(1.0, 1.0)(POINT | {"rho_share": 0.5})
    expected, *_ = slopes_model(1.0, 1.0)(POINT)
    assert log_density == pytest.approx(expected + beta.logpdf(0.5, 1.7, 1.7), abs=1e-6)


def test_noncentered_correlated_effects_are_the_cholesky_factor_times_z():
    z = np.array([[0.4, -1.2], [-0.3, 0.8], [1.5, 0.1]])
    point = POINT | {"rho_share": 0.8, "a_offset": z[:, 0], "b_offset": z[:, 1]}
    _, a, b, rho = correlated_model(0.0, 0.0)(point)
    covariance = np.array([[0.36, rho * 0.18], [rho * 0.18, 0.09]])
    pairs = [1.1, -0.4] + z @ np.linalg.cholesky(covariance).T
    np.testing.assert_allclose(np.column_stack([a, b]), pairs, rtol=1e-9)


@pytest.mark.parametrize("eta", [0, -1, float("nan"), float("inf"), True, "2"])
def test_eta_is_checked(eta):
    with pytest.raises(ValueError, match="eta must be a positive finite number") as refusal:
        models.correlated_slopes(SMALL, PRIORS, intercepts=1, slopes=1, eta=eta)
    assert repr(eta) in str(refusal.value)


@cache
def marginal_model() -> Callable[[Point], list[np.ndarray]]:
    return compiled(models.marginal_slopes(SMALL, PRIORS))


TOPS = st.fixed_dictionaries(
    {"mu_a": number, "sigma_a": scale, "mu_b": number, "sigma_b": scale, "sigma_y": scale}
)


@settings(deadline=None, max_examples=50)
@given(TOPS)
def test_the_marginal_model_is_the_multivariate_normal_of_each_county(top):
    expected = log_prior(top, "mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y")
    for _, county in SMALL.groupby("county", observed=True):
        x, ones = county["floor"].to_numpy(), np.ones(len(county))
        covariance = (
            top["sigma_y"] ** 2 * np.eye(len(x))
            + top["sigma_a"] ** 2 * np.outer(ones, ones)
            + top["sigma_b"] ** 2 * np.outer(x, x)
        )
        # By its own algebra: SciPy refuses what is nearly singular.
        deviation = county["log_radon"].to_numpy() - top["mu_a"] - top["mu_b"] * x
        _, log_det = np.linalg.slogdet(covariance)
        square = deviation @ np.linalg.solve(covariance, deviation)
        expected -= 0.5 * (len(x) * np.log(2 * np.pi) + log_det + square)
    (found,) = marginal_model()(top)
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-6)


def log_integral_over_the_means(log_density: Callable[[float, float], float]) -> float:
    """Integrate exp(log_density) over two arguments in which it is a quadratic."""
    xy = [(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1), (1, 1)]
    rows = [(1, x, y, x * x, x * y, y * y) for x, y in xy]
    c, x, y, xx, xy_, yy = np.linalg.solve(rows, [log_density(*point) for point in xy])
    precision = -np.array([[2 * xx, xy_], [xy_, 2 * yy]])
    right = np.array([x, y])
    square = right @ np.linalg.solve(precision, right)
    return c + 0.5 * (square - np.linalg.slogdet(precision)[1]) + np.log(2 * np.pi)


@pytest.mark.parametrize("seed", range(5))
def test_the_marginal_model_has_the_exact_density_of_the_scales(homes, seed):
    rng = np.random.default_rng(seed)
    scales = dict(
        zip(["sigma_a", "sigma_b", "sigma_y"], rng.uniform([0.1, 0, 0.5], [1, 1, 1]), strict=True)
    )
    density = compiled(models.marginal_slopes(homes, PRIORS))
    ours = log_integral_over_the_means(
        lambda mu_a, mu_b: float(density(scales | {"mu_a": mu_a, "mu_b": mu_b})[0])
    )
    truth = exact.varying_slopes(homes, PRIORS)
    theirs = truth.log_density_of_scales(**scales) + truth.log_evidence
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_the_marginal_model_has_five_parameters_and_takes_counties_of_one_floor():
    names = {variable.name for variable in models.marginal_slopes(SMALL, PRIORS).free_RVs}
    assert names == {"mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y"}
    basements = SMALL[SMALL["floor"] == 0]
    (log_density,) = compiled(models.marginal_slopes(basements, PRIORS))(POINT)
    assert np.isfinite(log_density)


@pytest.mark.parametrize(
    ("intercepts", "slopes", "free"),
    [
        ("centered", "centered", {"a", "b"}),
        (1, 1.0, {"a", "b"}),
        ("centered", "noncentered", {"a", "b_offset"}),
        ("noncentered", "centered", {"a_offset", "b"}),
        (0, np.float64(0), {"a_offset", "b_offset"}),
        (0.5, "centered", {"a_offset", "b"}),
    ],
)
def test_the_sampler_moves_the_effect_or_its_offset(intercepts, slopes, free):
    model = models.varying_slopes(SMALL, PRIORS, intercepts=intercepts, slopes=slopes)
    top = {"mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y"}
    assert {variable.name for variable in model.free_RVs} == top | free
    # The effects are there under the same names and labels, whatever moves.
    assert {"a", "b"} <= set(model.named_vars)
    assert model.named_vars_to_dims["a"] == model.named_vars_to_dims["b"] == ("county",)
    assert model.coords["county"] == ("A", "B", "C")
    assert [variable.name for variable in model.observed_RVs] == ["y"]


@pytest.mark.parametrize("unknown", UNKNOWN)
@pytest.mark.parametrize(
    "build",
    [
        lambda p: models.varying_slopes(SMALL, PRIORS, intercepts=p, slopes="centered"),
        lambda p: models.varying_slopes(SMALL, PRIORS, intercepts="centered", slopes=p),
        lambda p: models.varying_intercepts(SMALL, PRIORS, intercepts=p),
        lambda p: models.correlated_slopes(SMALL, PRIORS, intercepts=p, slopes="centered"),
        lambda p: models.eight_schools(SCHOOLS, effects=p),
        lambda p: models.neal_funnel(x=p),
    ],
    ids=["intercepts", "slopes", "intercepts alone", "correlated", "schools", "funnel"],
)
def test_an_unknown_parameterization_is_named(build, unknown):
    with pytest.raises(ValueError, match="between 0 and 1, got ") as refusal:
        build(unknown)
    assert repr(unknown) in str(refusal.value)


BUILDERS = [
    models.pooled,
    models.unpooled,
    lambda homes, p: models.varying_intercepts(homes, p, intercepts="centered"),
    lambda homes, p: models.varying_slopes(homes, p, intercepts="centered", slopes="centered"),
    lambda homes, p: models.correlated_slopes(homes, p, intercepts="centered", slopes="centered"),
    models.marginal_slopes,
]


@pytest.mark.parametrize("build", BUILDERS)
def test_homes_are_checked(build):
    with pytest.raises(ValueError, match="floor must be 0 or 1; row 2 has 9"):
        build(SMALL.assign(floor=[0, 1, 9, 0, 0, 0, 1, 0, 0]), PRIORS)


@pytest.mark.parametrize(
    "build", [*BUILDERS, lambda _, p: models.eight_schools(SCHOOLS, p, effects=0)]
)
def test_priors_are_checked(build):
    with pytest.raises(TypeError, match=r"priors must be .*Priors|priors must be Hyperpriors"):
        build(SMALL, {"mu_a": 3})


def test_schools_are_checked():
    with pytest.raises(ValueError, match="se must be positive and finite; row 7 has 0"):
        models.eight_schools(SCHOOLS.assign(se=[15, 10, 16, 11, 9, 11, 10, 0]), effects="centered")


@pytest.mark.parametrize("dimensions", [0, -1, 2.5, True, "9"])
def test_the_funnel_needs_dimensions(dimensions):
    with pytest.raises(ValueError, match=f"got {dimensions!r}"):
        models.neal_funnel(dimensions, x="centered")


# Homes in counties in states


def few_states():
    homes = data.load_radon_us()
    homes = homes[homes["state"].isin(["MA", "MI", "WI"])]
    return homes.assign(county=homes["county"].cat.remove_unused_categories())


def three(homes, **changes):
    ways = {"states": "centered", "intercepts": "centered", "slopes": "centered"}
    return models.three_level(homes, priors.WEAKLY_INFORMATIVE, **(ways | changes))


@pytest.mark.parametrize("noise", ["common", "state"])
def test_sufficient_statistics_have_the_density_of_the_homes(noise):
    """The log density, home by home, differs from the model's by a constant."""
    homes = few_states()
    model = three(homes, noise=noise)
    names = {v.name: v for v in model.value_vars}
    logp = model.compile_logp()
    states = homes["state"].cat.remove_unused_categories()
    soil = homes.groupby("county", observed=True)["log_uranium"].first()
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(3):
        point = {k: rng.normal(0, 0.3, np.shape(v)) for k, v in model.initial_point().items()}
        assert set(point) == set(names)
        p = {k.removesuffix("_log__").removesuffix("_logodds__"): v for k, v in point.items()}
        rho = np.tanh(p["rho_share"] / 2)
        s, a_sd, b_sd, y_sd = (np.exp(p[f"sigma_{k}"]) for k in "saby")
        state_of = homes.groupby("county", observed=True)["state"].first()
        state_of = state_of.astype(states.dtype).cat.codes.to_numpy()
        mean_a = p["alpha"][state_of] + p["gamma"] * (soil - soil.mean()).to_numpy()
        pair = np.stack([p["a"] - mean_a, p["b"] - p["mu_b"]], axis=1)
        cov = rho * a_sd * b_sd
        total = multivariate_normal([0, 0], [[a_sd**2, cov], [cov, b_sd**2]]).logpdf(pair).sum()
        total += norm(p["mu_a"], s).logpdf(p["alpha"]).sum()
        sd = y_sd * np.ones(3)
        if noise == "state":
            omega = np.exp(p["omega"])
            total += norm(np.log(y_sd), omega).logpdf(p["log_sigma_home"]).sum()
            total += halfnorm(0, 0.5).logpdf(omega) + p["omega"]
            sd = np.exp(p["log_sigma_home"])
        code, x = homes["county"].cat.codes.to_numpy(), homes["floor"].to_numpy()
        mean = p["a"][code] + p["b"][code] * x
        total += norm(mean, sd[states.cat.codes]).logpdf(homes["log_radon"]).sum()
        total += norm(0, 10).logpdf([p["mu_a"], p["mu_b"]]).sum()
        total += norm(0, 1).logpdf(p["gamma"])
        for k in "saby":
            total += halfnorm(0, 1).logpdf(np.exp(p[f"sigma_{k}"])) + p[f"sigma_{k}"]
        share = (rho + 1) / 2
        total += beta(2, 2).logpdf(share) + np.log(share * (1 - share))
        differences.append(logp(point) - total)
    np.testing.assert_allclose(differences, differences[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"noise": "own"}, ValueError, "noise must be"),
        ({"eta": 0}, ValueError, "eta must be"),
        ({"between_states": 1.0}, TypeError, "between_states must be"),
        ({"between_noises": priors.Normal(0, 1)}, TypeError, "between_noises must be"),
        ({"uranium": priors.HalfNormal(1)}, TypeError, "uranium must be"),
    ],
)
def test_three_level_refuses(changes, error, match):
    with pytest.raises(error, match=match):
        three(few_states(), **changes)
