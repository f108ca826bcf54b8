"""What the chapter *Expectations* claims, with starts and seeds that it does not use.

Nearly everything here is exact: modes, heights, expectations and decisions come from algebra
and quadrature. Where an optimizer or draws decide, the bounds leave room for chance.
"""

import math
import warnings

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import stats

from funnel import data, decisions, exact, models, modes, priors

SCALES = ("sigma_a", "sigma_b", "sigma_y")
GROUPS = 85


@pytest.fixture(scope="module")
def joint(homes):
    """The joint density in the chapter's three coordinate systems."""
    ways = {
        "centered": ("centered", False),
        "noncentered": ("noncentered", False),
        "log": ("noncentered", True),
    }
    return {
        name: modes.varying_slopes(
            homes, priors.ESSAY, intercepts="noncentered", slopes=slopes, jacobian=jacobian
        )
        for name, (slopes, jacobian) in ways.items()
    }


@pytest.fixture(scope="module")
def tops(joint):
    return {name: density.mode() for name, density in joint.items()}


@pytest.fixture(scope="module")
def middle(truth):
    return {name: float(truth.quantile(name, 0.5)) for name in SCALES}


# ---- no maximum


@pytest.fixture(scope="module")
def fully_centered(homes):
    return modes.varying_slopes(
        homes, priors.ESSAY, intercepts="centered", slopes="centered", jacobian=False
    )


def further(point):
    b = point["mu_b"] + (point["b"] - point["mu_b"]) / 10
    return {**point, "sigma_b": point["sigma_b"] / 10, "b": b}


def test_wherever_an_optimizer_stops_the_density_still_rises(homes, fully_centered):
    model = models.varying_slopes(homes, priors.ESSAY, intercepts="centered", slopes="centered")
    stops = []
    for method, start in [("L-BFGS-B", 0.4), ("L-BFGS-B", 3.0), ("CG", 0.4)]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pm.find_MAP(
                method,
                model=model,
                initvals={"sigma_b": start},
                jitter=False,
                progressbar=False,
                return_inferencedata=True,
            )
        values = found.posterior.data_vars.items()
        point = {name: value.to_numpy()[0, 0] for name, value in values}
        gain = fully_centered(further(point)) - fully_centered(point)
        assert gain == pytest.approx(GROUPS * math.log(10), abs=1)
        assert np.ptp(point["b"]) < 1e-3
        stops.append(float(point["sigma_b"]))
    assert max(stops) < 1e-3
    assert max(stops) > 1.5 * min(stops), "they stop at different places"


def test_the_ridge_gains_j_log_ten_for_every_tenth(fully_centered):
    for value in (1e-2, 1e-6, 1e-10):
        gain = fully_centered.ridge("sigma_b", value / 10) - fully_centered.ridge("sigma_b", value)
        assert gain == pytest.approx(GROUPS * math.log(10), abs=1e-3)


# ---- height times volume is mass


def log_mass(truth, middle, scale):
    return truth.log_density_of_scales(**middle | {"sigma_b": scale}) + np.log(scale)


def log_height(homes, middle, scale, slopes):
    density = modes.varying_slopes(
        homes, priors.ESSAY, intercepts="noncentered", slopes=slopes, jacobian=True
    )
    best = [density.given(**middle | {"sigma_b": s}) for s in scale]
    return np.array([density(point) for point in best])


def log_volume(homes, middle, sigma_b):
    """Half the log determinant of 2 pi Sigma in noncentered coordinates, by dense algebra."""
    county = homes["county"].cat.codes.to_numpy()
    x = homes["floor"].to_numpy(float)
    member = (county[:, None] == np.arange(GROUPS)).astype(float)
    design = np.hstack(
        [
            np.ones((len(x), 1)),
            x[:, None],
            middle["sigma_a"] * member,
            sigma_b * member * x[:, None],
        ]
    )
    prior = np.r_[1e-8, 1e-8, np.ones(2 * GROUPS)]
    precision = design.T @ design / middle["sigma_y"] ** 2 + np.diag(prior)
    d = len(prior)
    return 0.5 * (d * math.log(2 * math.pi) - np.linalg.slogdet(precision)[1])


def test_mass_is_height_times_volume(homes, truth, middle):
    scale = np.array([1e-3, 0.05, 0.3, 2.0])
    between = log_mass(truth, middle, scale) - log_height(homes, middle, scale, "noncentered")
    volume = np.array([log_volume(homes, middle, s) for s in scale])
    np.testing.assert_allclose(np.diff(between), np.diff(volume), atol=1e-6)


def test_heights_and_volumes_cancel_in_the_neck(homes, truth, middle):
    scale = np.array([0.1, 0.01])
    height = np.diff(log_height(homes, middle, scale, "centered"))[0]
    mass = np.diff(log_mass(truth, middle, scale))[0]
    assert height > 150
    assert abs(mass) < 5


def test_noncentered_the_height_rises_to_the_right_and_the_volume_falls(homes, truth, middle):
    scale = np.geomspace(0.1, 3, 12)
    height = log_height(homes, middle, scale, "noncentered")
    volume = log_mass(truth, middle, scale) - height
    assert np.all(np.diff(height) > 0)
    assert np.all(np.diff(volume) < 0)
    left = np.array([1e-3, 1e-2])
    mass = log_mass(truth, middle, left)
    still = mass - log_height(homes, middle, left, "noncentered")
    falls = np.diff(log_height(homes, middle, left, "noncentered"))
    assert falls[0] == pytest.approx(np.diff(mass)[0], abs=0.1)
    assert abs(np.diff(still)[0]) < 0.1


# ---- three coordinates


def test_modes_of_one_model_in_three_coordinates(truth, tops):
    assert not tops["centered"].exists
    plain, log = (tops[name].point["sigma_b"] for name in ("noncentered", "log"))
    assert log > 1.3 * plain > 15 * truth.mean("sigma_b")
    assert 1 - truth.cdf("sigma_b", 1) < 1e-6


def test_only_the_hyperprior_holds_the_joint_mode(homes, truth, tops):
    def mode_under(prior):
        density = modes.varying_slopes(
            homes, prior, intercepts="noncentered", slopes="noncentered", jacobian=False
        )
        return density.mode().point["sigma_b"]

    here = tops["noncentered"].point["sigma_b"]
    assert mode_under(priors.WEAKLY_INFORMATIVE) < here / 2
    wide = priors.HalfCauchy(50)
    wider = priors.Hyperpriors(
        mu_a=priors.ESSAY.mu_a, sigma_a=wide, mu_b=priors.ESSAY.mu_b, sigma_b=wide, sigma_y=wide
    )
    assert mode_under(wider) > 2 * here
    for other in (priors.WEAKLY_INFORMATIVE, wider):
        mean = exact.varying_slopes(homes, other).mean("sigma_b")
        assert mean == pytest.approx(truth.mean("sigma_b"), rel=0.05)


def test_a_probability_is_the_same_in_all_coordinates(truth):
    s = np.geomspace(1e-6, 0.05, 4000)
    for u in (s, np.log(s), s**2):
        density_of_u = truth.density("sigma_b", s) * np.gradient(s, u)
        assert np.trapezoid(density_of_u, u) == pytest.approx(truth.cdf("sigma_b", 0.05), abs=1e-4)


def test_the_density_of_the_variance_has_no_top(truth):
    s = np.geomspace(1e-8, 1.5, 2000)
    in_the_variance = truth.density("sigma_b", s) / s
    assert in_the_variance.argmax() == 0
    assert in_the_variance[0] > 1e4 * in_the_variance[s > 0.1].max()
    tops = [s[(truth.density("sigma_b", s) * s ** (1 - k)).argmax()] for k in (-2, -1, 1)]
    assert tops[0] > tops[1] > tops[2] > 0.25


# ---- losses


def test_each_loss_has_its_own_best_number_and_none_wants_the_joint_mode(truth, tops):
    nodes = truth.quantile("sigma_b", (np.arange(4000) + 0.5) / 4000)

    def losses(report):
        error, ratio = np.abs(report - nodes), np.abs(np.log(report / nodes))
        return {
            "squared": np.mean(error**2),
            "absolute": np.mean(error),
            "log": np.mean(ratio**2),
            "difference": np.mean(error > 0.02),
            "factor": np.mean(ratio > 0.08),
        }

    wanted = {
        "squared": truth.mean("sigma_b"),
        "absolute": truth.quantile("sigma_b", 0.5),
        "log": math.exp(np.log(nodes).mean()),
        "difference": modes.marginal_mode(truth, "sigma_b", log=False),
        "factor": modes.marginal_mode(truth, "sigma_b", log=True),
    }
    report = np.geomspace(0.1, 1, 2000)
    curves = pd.DataFrame([losses(r) for r in report], index=report)
    for name, number in wanted.items():
        assert curves[name].idxmin() == pytest.approx(number, rel=0.03)
        own = [losses(other)[name] for other in wanted.values()]
        assert min(own) == losses(number)[name]
        for mode in (tops["noncentered"], tops["log"]):
            assert losses(mode.point["sigma_b"])[name] > max(own)
    assert losses(tops["noncentered"].point["sigma_b"])["squared"] > 500 * curves["squared"].min()
    assert wanted["log"] < 0.9 * wanted["squared"], "means are not invariant"


def test_three_dollars_against_one_ask_for_the_upper_quartile(truth):
    nodes = truth.quantile("sigma_b", (np.arange(4000) + 0.5) / 4000)
    report = np.geomspace(0.1, 1, 4000)[:, None]
    cost = 3 * np.maximum(nodes - report, 0) + np.maximum(report - nodes, 0)
    best = report[cost.mean(axis=1).argmin(), 0]
    assert best == pytest.approx(truth.quantile("sigma_b", 0.75), rel=2e-3)


def test_the_mean_of_a_new_home_is_well_above_its_median(truth):
    home = decisions.predict(truth, floor=0, county=None)
    assert home.expected_activity(1000) > 1.3 * data.to_activity(home.quantile(0.5))
    # Any bound from a hundred on gives nearly the same number.
    assert home.expected_activity(100) == pytest.approx(home.expected_activity(1e9), rel=2e-3)


# ---- typical draws


def test_draws_lie_half_a_chi_square_below_the_best_point(truth, joint, tops):
    density, d = joint["log"], 2 + 2 * GROUPS
    draws = truth.draws(400, seed=77).posterior.dataset.stack(sample=("chain", "draw"))
    below_best, below_mode, offsets = [], [], []
    for i in range(draws.sizes["sample"]):
        draw = {name: v.to_numpy() for name, v in draws.isel(sample=i).data_vars.items()}
        best = density.given(**{name: float(draw[name]) for name in SCALES})
        below_best.append(density(best) - density(draw))
        below_mode.append(tops["log"].log_density - density(draw))
        offsets.append((draw["b"] - draw["mu_b"]) / draw["sigma_b"])
    assert stats.kstest(2 * np.array(below_best), stats.chi2(d).cdf).pvalue > 0.001
    assert min(below_mode) > 100
    assert np.mean(below_mode) > 1.7 * np.mean(below_best)
    # Neither the mode nor the means are among the draws.
    sizes = np.sum(np.square(offsets), axis=1)
    mode = tops["log"].point
    at_mode = np.sum(((mode["b"] - mode["mu_b"]) / mode["sigma_b"]) ** 2)
    assert at_mode < 2 < np.sum(np.mean(offsets, axis=0) ** 2) < sizes.min() / 2
    assert float(draws["b"].max("county").mean()) > truth.mean("b").max() + 0.2


# ---- exactly zero


def test_the_likelihood_of_the_eight_schools_is_highest_at_zero():
    prior = priors.EightSchoolsPriors(mu=priors.Normal(0, 1e4), tau=priors.HalfCauchy(5))
    eight = exact.eight_schools(data.load_eight_schools(), prior)
    tau = np.linspace(0, 30, 301)
    log_likelihood = eight.log_density_of_scales(tau=tau) - prior.tau.logpdf(tau)
    assert np.all(np.diff(log_likelihood) < 0)
    penalized = tau * np.exp(log_likelihood - log_likelihood[0])
    assert 5 < tau[penalized.argmax()] < 10
    assert eight.quantile("tau", 0.5) > 2
    theta = eight.draws(20_000, seed=7).posterior["theta"]
    assert float((theta.sel(school="A") - theta.sel(school="C") > 5).mean()) > 0.15


@pytest.mark.parametrize(("groups", "true"), [(3, 1.0), (8, 0.5), (30, 0.25)])
def test_how_often_the_estimate_is_zero(groups, true):
    n = 20_000
    rng = np.random.default_rng(groups)
    y = rng.normal(rng.normal(0, true, (n, groups)), 1)
    share = np.mean(y.var(axis=1, ddof=1) <= 1)
    expected = stats.chi2(groups - 1).cdf((groups - 1) / (1 + true**2))
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / n))


def test_an_estimate_of_zero_is_too_sure():
    groups, n = 8, 20_000
    rng = np.random.default_rng(99)
    theta = rng.normal(0, 0.5, (n, groups))
    y = rng.normal(theta, 1)
    square = (groups - 1) * y.var(axis=1, ddof=1)
    zero = square <= groups - 1

    def covered(v):
        share = 1 / v[:, None]
        center = (1 - share) * y + share * y.mean(axis=1, keepdims=True)
        inside = np.abs(theta - center) < 1.96 * np.sqrt(1 - share + share / groups)
        return inside[zero].mean(), inside.mean()

    half = (groups - 1 + square) / (2 * (groups - 2))
    root = half + np.sqrt(half**2 - square / (groups - 2))
    # The larger root is where likelihood times tau is highest.
    tau = np.linspace(0.01, 5, 5000)
    v = 1 + tau**2
    top = np.log(tau) - (groups - 1) / 2 * np.log(v) - square[0] / (2 * v)
    assert math.sqrt(root[0] - 1) == pytest.approx(tau[top.argmax()], abs=2e-3)
    assert covered(np.maximum(square / (groups - 1), 1))[0] < 0.85
    assert covered(np.maximum(square / (groups - 1), 1))[1] < 0.92
    assert min(covered(root)) > 0.94


# ---- when a mode is fine


def test_laplace_is_fine_for_two_scales_and_blind_for_the_third(truth):
    approximation = modes.laplace(truth)
    fifth = {n: float(approximation.cdf(n, truth.quantile(n, 0.05))) for n in SCALES}
    assert 0.02 < fifth["sigma_y"] < 0.08
    assert 0.02 < fifth["sigma_a"] < 0.08
    assert fifth["sigma_b"] < 1e-6


# ---- the decision


@pytest.fixture(scope="module")
def predictions(homes, truth, joint, tops):
    density = joint["log"]
    good = {name: modes.marginal_mode(truth, name, log=False) for name in SCALES}
    points = {
        "joint mode": tops["noncentered"].point,
        "identical slopes": density.given(**good | {"sigma_b": 0.0}),
        "marginal modes": density.given(**good),
    }
    counties = list(homes["county"].cat.categories)
    sources = {"posterior": truth} | {
        name: decisions.as_if_known(point, counties) for name, point in points.items()
    }
    index = pd.MultiIndex.from_product([[*counties, "new"], [0, 1]], names=["county", "floor"])
    return {
        name: pd.Series(
            [
                decisions.predict(source, floor=f, county=None if c == "new" else c)
                for c, f in index
            ],
            index=index,
        )
        for name, source in sources.items()
    }


def gains(predictions, stakes):
    def gain(home):
        loss = decisions.expected_loss(home, stakes)
        return loss.leave - loss.remediate

    return pd.DataFrame({name: homes.map(gain) for name, homes in predictions.items()})


def total_cost(gain):
    wrong = gain.gt(0).ne(gain["posterior"].gt(0), axis=0)
    return wrong.mul(gain["posterior"].abs(), axis=0).sum(), wrong


def test_what_the_wrong_decisions_cost(predictions):
    gain = gains(predictions, decisions.Stakes())
    cost, wrong = total_cost(gain)
    assert wrong["joint mode"].sum() > 2 * wrong["marginal modes"].sum() > 0
    assert cost["joint mode"] > 8 * cost["marginal modes"]
    assert gain["posterior"][wrong["marginal modes"]].abs().max() < 150, "close calls"
    assert gain.loc[("new", 1), "joint mode"] > 0 > gain.loc[("new", 1), "posterior"]
    exposure = predictions["joint mode"]["new", 1].expected_activity(1000)
    assert exposure > 20 * predictions["posterior"]["new", 1].expected_activity(1000)
    # Identical slopes leave first floors that should be fixed.
    missed = gain["posterior"][wrong["identical slopes"]]
    assert (gain["identical slopes"] <= 0)[wrong["identical slopes"]].all()
    assert missed.xs(1, level="floor").abs().sum() > 0.8 * missed.abs().sum()


def test_the_joint_mode_hardly_shrinks(homes, tops):
    point = tops["noncentered"].point
    assert point["sigma_a"] ** 2 / (point["sigma_a"] ** 2 + point["sigma_y"] ** 2) > 0.95
    basements = homes[homes["floor"] == 0].groupby("county", observed=True)["log_radon"].mean()
    assert np.median(np.abs(point["a"] - basements.to_numpy())) < 0.02


def test_the_joint_mode_is_the_most_expensive_under_all_stakes(predictions):
    for repair in (1200, 2500):
        for ratio in np.linspace(0.3, 1.2, 7):
            stakes = decisions.Stakes(remediation=repair, long_term_ratio=ratio)
            cost, _ = total_cost(gains(predictions, stakes))
            assert cost["joint mode"] > 2 * cost.drop("joint mode").max()
    free = gains(predictions, decisions.Stakes(remediation=1))
    assert (free > 0).all(axis=None)
