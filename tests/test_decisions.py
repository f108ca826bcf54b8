"""Predictions and decisions, exact against closed forms, evidence ratios and draws."""

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from funnel import data, decisions, exact, priors
from funnel.decisions import Predictive, Stakes


@pytest.fixture(scope="module")
def few_homes(homes):
    """The homes of twelve counties, some of them without a first floor."""
    few = homes[homes["county"].cat.codes < 12].copy()
    few["county"] = few["county"].cat.remove_unused_categories()
    return few.reset_index(drop=True)


@pytest.fixture(scope="module")
def truth(few_homes):
    return exact.varying_slopes(few_homes, priors.WEAKLY_INFORMATIVE)


@pytest.fixture(scope="module")
def without_slopes(few_homes):
    return exact.varying_intercepts(few_homes, priors.WEAKLY_INFORMATIVE)


def one_normal(mean, sd):
    return Predictive(np.array([mean]), np.array([sd]), np.array([1.0]))


means = st.floats(-2, 4)
sds = st.floats(0.05, 2)


# ---- the mixture


@st.composite
def mixtures(draw):
    k = draw(st.integers(1, 5))
    floats = {"min_size": k, "max_size": k}
    weight = np.array(draw(st.lists(st.floats(0.1, 1), **floats)))
    mean, sd = (np.array(draw(st.lists(each, **floats))) for each in (means, sds))
    return Predictive(mean, sd, weight / weight.sum())


@settings(deadline=None)
@given(mixture=mixtures(), p=st.floats(0.001, 0.999))
def test_density_cdf_and_quantile_agree(mixture, p):
    x = mixture.quantile(p)
    assert float(mixture.cdf(x)) == pytest.approx(p, abs=1e-9)
    h = 1e-4
    slope = (mixture.cdf(x + h) - mixture.cdf(x - h)) / (2 * h)
    assert float(mixture.density(x)) == pytest.approx(float(slope), rel=1e-3, abs=1e-6)
    assert mixture.density([[x, x]]).shape == mixture.cdf([[x, x]]).shape == (1, 2)


@settings(deadline=None)
@given(mixture=mixtures(), activity=st.floats(0, 50))
def test_probability_above_subtracts_the_tenth(mixture, activity):
    assert float(mixture.probability_above(activity)) == pytest.approx(
        1 - float(mixture.cdf(math.log(activity + 0.1))), abs=1e-12
    )


def test_four_is_log_four_point_one():
    assert float(one_normal(math.log(4.1), 0.8).probability_above(4)) == pytest.approx(0.5)


@settings(deadline=None)
@given(mixture=mixtures(), at_most=st.floats(0.1, 100))
def test_expected_activity_against_the_survival_function(mixture, at_most):
    """E min(max(X, 0), c) is the integral of P(X > x) from 0 to c."""
    expected = integrate.quad(
        lambda t: float(mixture.probability_above(math.expm1(t))) * math.exp(t),
        0,
        math.log1p(at_most),
        limit=200,
    )[0]
    assert mixture.expected_activity(at_most) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_expected_activity_of_a_wide_component_does_not_overflow():
    assert 0 < one_normal(0.0, 60.0).expected_activity(1000) < 1000


@settings(deadline=None)
@given(mean=means, sd=sds)
def test_expected_activity_tends_to_the_lognormal_mean(mean, sd):
    value = one_normal(mean, sd).expected_activity(1e12)
    # All but the part of the readings between -0.1 and 0.
    assert math.exp(mean + sd**2 / 2) - 0.1 <= value + 1e-9 <= math.exp(mean + sd**2 / 2) + 1e-6


# ---- predictions


@pytest.mark.parametrize("floor", [0, 1])
@pytest.mark.parametrize("county", [None, "Anoka", "Brown"])
@pytest.mark.parametrize("slopes", [True, False])
def test_exact_predictive_density_is_a_ratio_of_evidences(few_homes, floor, county, slopes):
    """p(new home | homes) = p(homes, new home) / p(homes): no formula in common."""
    model = exact.varying_slopes if slopes else exact.varying_intercepts
    before = model(few_homes, priors.WEAKLY_INFORMATIVE)
    predictive = decisions.predict(before, floor=floor, county=county)
    new = {"county": county or "Elsewhere", "floor": floor, "log_radon": 2.2}
    more = pd.concat([few_homes.astype({"county": str}), pd.DataFrame([new])], ignore_index=True)
    after = model(more, priors.WEAKLY_INFORMATIVE)
    ratio = math.exp(after.log_evidence - before.log_evidence)
    assert float(predictive.density(2.2)) == pytest.approx(ratio, rel=3e-4)


@pytest.mark.parametrize("floor", [0, 1])
@pytest.mark.parametrize("county", [None, "Anoka", "Brown"])
@pytest.mark.parametrize("slopes", [True, False])
def test_draws_give_the_exact_prediction(truth, without_slopes, floor, county, slopes):
    posterior = truth if slopes else without_slopes
    right = decisions.predict(posterior, floor=floor, county=county)
    n = 8000
    drawn = decisions.predict(posterior.draws(n, seed=4), floor=floor, county=county)
    assert drawn.weight.sum() == pytest.approx(1)
    for activity in (0.5, 4.0, 20.0):
        each = 1 - stats.norm.cdf(math.log(activity + 0.1), drawn.mean, drawn.sd)
        error = each.std() / math.sqrt(n)
        assert abs(each.mean() - right.probability_above(activity)) < 4 * error
        assert float(drawn.probability_above(activity)) == pytest.approx(each.mean())
    each = [
        one_normal(m, s).expected_activity(100)
        for m, s in zip(drawn.mean[:2000], drawn.sd[:2000], strict=True)
    ]
    error = np.std(each) / math.sqrt(len(each))
    assert abs(np.mean(each) - right.expected_activity(100)) < 4 * error


def test_a_new_county_is_less_certain_than_an_old_one(truth):
    old, new = (decisions.predict(truth, floor=0, county=county) for county in ("Anoka", None))
    assert new.quantile(0.95) - new.quantile(0.05) > old.quantile(0.95) - old.quantile(0.05)


def test_a_county_without_a_first_floor_has_a_prediction_there(homes):
    truth = exact.varying_slopes(homes, priors.ESSAY)
    silent = homes.groupby("county", observed=True)["floor"].sum().idxmin()
    predictive = decisions.predict(truth, floor=1, county=silent)
    draws = decisions.predict(truth.draws(4000, seed=5), floor=1, county=silent)
    each = 1 - stats.norm.cdf(math.log(4.1), draws.mean, draws.sd)
    error = each.std() / math.sqrt(len(each))
    assert abs(float(predictive.probability_above(4)) - each.mean()) < 4 * error


# ---- expected loss


positive = st.floats(0.1, 10)


@settings(deadline=None)
@given(mixture=mixtures(), harm=st.floats(10, 2000), ratio=st.floats(0.2, 2), residual=positive)
def test_loss_of_leaving_grows_with_harm_and_that_of_fixing_with_cost(
    mixture, harm, ratio, residual
):
    stakes = Stakes(harm=harm, long_term_ratio=ratio, residual=residual)
    loss = decisions.expected_loss(mixture, stakes)
    dearer = decisions.expected_loss(mixture, dataclasses.replace(stakes, remediation=1300))
    assert dearer.remediate - loss.remediate == pytest.approx(100, abs=1e-6)
    assert dearer.leave == loss.leave
    worse = decisions.expected_loss(mixture, dataclasses.replace(stakes, harm=2 * harm))
    assert worse.leave == pytest.approx(2 * loss.leave)
    # Remediation never adds exposure.
    assert loss.remediate - stakes.remediation <= loss.leave * (1 + 1e-9)


@settings(deadline=None)
@given(
    mixture=mixtures(),
    stakes=st.builds(Stakes, remediation=st.floats(100, 3000), long_term_ratio=st.floats(0.2, 2)),
)
def test_expected_loss_is_the_integral_of_the_loss(mixture, stakes):
    """Difference of the two losses, by Gauss-Legendre between the kinks of the loss."""

    def advantage(x):
        exposure = stakes.long_term_ratio * np.maximum(np.exp(x) - 0.1, 0)
        exposure = np.minimum(exposure, stakes.highest)
        return stakes.harm * (exposure - np.minimum(exposure, stakes.residual)) - stakes.remediation

    nodes, weights = np.polynomial.legendre.leggauss(100)
    kinks = [math.log(v / stakes.long_term_ratio + 0.1) for v in (0, stakes.residual, 1000)]
    expected = 0.0
    for m, s, w in zip(mixture.mean, mixture.sd, mixture.weight, strict=True):
        edges = np.clip([-np.inf, *kinks, np.inf], m - 9 * s, m + 9 * s)
        for low, high in itertools.pairwise(edges):
            x = (low + high) / 2 + (high - low) / 2 * nodes
            expected += w * (high - low) / 2 * weights @ (advantage(x) * stats.norm.pdf(x, m, s))
    loss = decisions.expected_loss(mixture, stakes)
    assert loss.leave - loss.remediate == pytest.approx(expected, rel=1e-5, abs=1e-3)


@settings(deadline=None)
@given(
    remediation=st.floats(100, 5000),
    harm=st.floats(50, 2000),
    residual=positive,
    share=st.floats(0.3, 3),
)
def test_who_knows_the_exposure_fixes_from_break_even_on(remediation, harm, residual, share):
    stakes = Stakes(remediation=remediation, harm=harm, residual=residual, highest=1e5)
    exposure = share * stakes.break_even
    known = one_normal(math.log(exposure + 0.1), 1e-6)
    best = decisions.expected_loss(known, stakes).best
    if share > 1.001:
        assert best == "remediate"
    if share < 0.999:
        assert best == "leave"


def test_the_default_break_even_is_the_action_level():
    assert Stakes().break_even == decisions.ACTION_LEVEL == 4


def test_the_unknown_tail_can_make_fixing_worth_it():
    """The median is below the action level; the expected exposure is not."""
    stakes = Stakes()
    sure, unsure = (one_normal(math.log(3.6), sd) for sd in (0.01, 1.0))
    assert decisions.expected_loss(sure, stakes).best == "leave"
    assert decisions.expected_loss(unsure, stakes).best == "remediate"


def test_the_conversion_matters_and_the_bound_does_not(homes):
    truth = exact.varying_slopes(homes, priors.ESSAY)
    predictive = decisions.predict(truth, floor=0, county=None)
    face_value, half = Stakes(), Stakes(long_term_ratio=0.5)
    above = [decisions.probability_above_action_level(predictive, s) for s in (face_value, half)]
    assert above[0] == pytest.approx(1 - float(predictive.cdf(data.to_log_radon(4.0))))
    assert above[1] == pytest.approx(1 - float(predictive.cdf(data.to_log_radon(8.0))))
    assert decisions.expected_loss(predictive, face_value).best == "remediate"
    assert decisions.expected_loss(predictive, half).best == "leave"
    higher = decisions.expected_loss(predictive, Stakes(highest=10_000))
    assert higher.leave == pytest.approx(
        decisions.expected_loss(predictive, face_value).leave, rel=1e-3
    )


# ---- bad input


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Stakes)])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_stakes_must_be_positive(name, value):
    with pytest.raises(ValueError, match=f"{name} .* {value}"):
        Stakes(**{name: value})


def test_the_bound_must_be_above_the_residual():
    with pytest.raises(ValueError, match=r"highest .* 1\.0"):
        Stakes(highest=1.0)


@pytest.mark.parametrize("p", [0, 1, -0.5, math.nan])
def test_bad_probability(p):
    with pytest.raises(ValueError, match=f"got {p}"):
        one_normal(0, 1).quantile(p)


@pytest.mark.parametrize("bound", [0, -1, math.inf, math.nan])
def test_bad_bound(bound):
    with pytest.raises(ValueError, match=f"at_most .* {bound}"):
        one_normal(0, 1).expected_activity(bound)


def test_bad_arguments(truth):
    draws = truth.draws(8, seed=1)
    for posterior in (truth, draws):
        with pytest.raises(ValueError, match=r"floor .* 2"):
            decisions.predict(posterior, floor=2, county=None)
        with pytest.raises(ValueError, match="'Atlantis'"):
            decisions.predict(posterior, floor=0, county="Atlantis")
    schools = exact.eight_schools(data.load_eight_schools())
    for wrong in (schools, schools.draws(8, seed=1), xr.DataTree(), None):
        with pytest.raises(TypeError, match="radon"):
            decisions.predict(wrong, floor=0, county=None)


# ---- a point as if it were known


def known_point(groups=3):
    effects = {"a": np.linspace(1, 2, groups), "b": np.linspace(-1, 0, groups)}
    return {"mu_a": 1.5, "sigma_a": 0.3, "mu_b": -0.5, "sigma_b": 0.4, "sigma_y": 0.7, **effects}


@pytest.mark.parametrize("floor", [0, 1])
def test_a_point_predicts_with_one_normal(floor):
    names = ["Aitkin", "Anoka", "Steele"]
    known = decisions.as_if_known(known_point(), names)
    old = decisions.predict(known, floor=floor, county="Anoka")
    assert old.mean == pytest.approx([1.5 - 0.5 * floor])
    assert old.sd == pytest.approx([0.7])
    new = decisions.predict(known, floor=floor, county=None)
    assert new.mean == pytest.approx([1.5 - 0.5 * floor])
    assert new.sd == pytest.approx([math.sqrt(0.3**2 + 0.7**2 + floor * 0.4**2)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": None}, "no 'b'"),
        ({"a": np.zeros(2)}, "a must be 3 finite numbers"),
        ({"mu_a": np.nan}, "mu_a must be a finite number"),
        ({"sigma_b": -0.1}, r"sigma_b is a standard deviation, got -0\.1"),
        ({"sigma_y": 0.0}, r"sigma_y is a standard deviation, got 0\.0"),
    ],
)
def test_points_that_cannot_be_known(change, message):
    point = {k: v for k, v in (known_point() | change).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        decisions.as_if_known(point, ["Aitkin", "Anoka", "Steele"])


@pytest.fixture(scope="module")
def states_fit():
    """A made-up posterior of the three-level model: two states, two counties."""
    rng = np.random.default_rng(0)
    draw = ("chain", "draw")
    scales = {k: (draw, rng.uniform(0.2, 0.6, (2, 50))) for k in ("sigma_a", "sigma_b", "sigma_y")}
    one = {k: (draw, rng.normal(size=(2, 50))) for k in ("gamma", "mu_b")}
    many = {
        "alpha": ((*draw, "state"), rng.normal(size=(2, 50, 2))),
        "sigma_home": ((*draw, "state"), rng.uniform(0.5, 1, (2, 50, 2))),
        "a": ((*draw, "county"), rng.normal(size=(2, 50, 2))),
        "b": ((*draw, "county"), rng.normal(size=(2, 50, 2))),
    }
    rho = {"rho": (draw, rng.uniform(-0.5, 0.5, (2, 50)))}
    coords = {"state": ["AZ", "MN"], "county": ["Pima (AZ)", "Lake (MN)"]}
    return xr.DataTree.from_dict({"posterior": xr.Dataset(scales | one | many | rho, coords)})


def test_a_county_of_the_three_level_survey_is_its_own_line(states_fit):
    post = states_fit.posterior
    home = decisions.predict_in_state(states_fit, floor=1, state="MN", county="Lake (MN)")
    line = (post["a"] + post["b"]).sel(county="Lake (MN)")
    np.testing.assert_allclose(home.mean, line.to_numpy().ravel())
    sigma_home = post["sigma_home"].sel(state="MN")
    np.testing.assert_allclose(home.sd, sigma_home.to_numpy().ravel())
    assert home.weight.sum() == pytest.approx(1)


@pytest.mark.parametrize("floor", [0, 1])
def test_a_new_county_of_a_state_is_drawn_from_its_counties(states_fit, floor):
    """Draw many new counties by the Cholesky factor, for one draw of the parameters."""
    tree = states_fit.copy()
    tree["posterior"] = xr.DataTree(states_fit.posterior.dataset.isel(chain=[0], draw=[3]))
    home = decisions.predict_in_state(tree, floor=floor, state="AZ", soil=0.7)
    p = {k: v.item() for k, v in tree.posterior.dataset.sel(state="AZ").items() if v.size == 1}
    rng = np.random.default_rng(1)
    z = rng.normal(size=(3, 400_000))
    a = p["alpha"] + 0.7 * p["gamma"] + p["sigma_a"] * z[0]
    slope = p["rho"] * z[0] + np.sqrt(1 - p["rho"] ** 2) * z[1]
    y = a + floor * (p["mu_b"] + p["sigma_b"] * slope) + p["sigma_home"] * z[2]
    assert home.mean[0] == pytest.approx(y.mean(), abs=5 * y.std() / np.sqrt(y.size))
    assert home.sd[0] == pytest.approx(y.std(), rel=5 / np.sqrt(2 * y.size))


def test_with_one_noise_the_new_county_has_it(states_fit):
    tree = states_fit.copy()
    tree["posterior"] = xr.DataTree(states_fit.posterior.dataset.drop_vars("sigma_home"))
    home = decisions.predict_in_state(tree, floor=0, state="MN", county="Lake (MN)")
    np.testing.assert_allclose(home.sd, tree.posterior["sigma_y"].to_numpy().ravel())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"floor": 2, "state": "MN", "soil": 0.0}, "floor must be"),
        ({"floor": 0, "state": "MN"}, "either a county"),
        ({"floor": 0, "state": "MN", "soil": 0.0, "county": "Lake (MN)"}, "either a county"),
        ({"floor": 0, "state": "TX", "soil": 0.0}, "no state 'TX'"),
        ({"floor": 0, "state": "MN", "county": "Lake"}, "no county 'Lake'"),
    ],
)
def test_predictions_in_a_state_refuse(states_fit, arguments, match):
    with pytest.raises(ValueError, match=match):
        decisions.predict_in_state(states_fit, **arguments)


@pytest.mark.parametrize("wrong", [None, xr.DataTree()])
def test_predictions_in_a_state_need_the_three_level_model(wrong):
    with pytest.raises(TypeError, match="three-level"):
        decisions.predict_in_state(wrong, floor=0, state="MN", soil=0.0)


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_measuring_first_is_simulated(ratio):
    home = decisions.Predictive(np.array([0.5, 1.5]), np.array([0.8, 1.0]), np.array([0.3, 0.7]))
    stakes = decisions.Stakes(long_term_ratio=ratio)
    rng = np.random.default_rng(0)
    pick = rng.choice(2, 400_000, p=home.weight)
    y = np.exp(rng.normal(home.mean[pick], home.sd[pick])) - 0.1
    x = ratio * y.clip(0)
    fix = stakes.remediation + stakes.harm * np.minimum(x, stakes.residual)
    loss = 25 + np.minimum(fix, stakes.harm * x)
    found = decisions.expected_loss_if_measured(home, stakes, 25)
    assert found == pytest.approx(loss.mean(), abs=5 * loss.std() / np.sqrt(loss.size))


@pytest.mark.parametrize("price", [-1, np.inf, np.nan])
def test_a_price_is_a_number(price):
    home = decisions.Predictive(np.zeros(1), np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="price must be"):
        decisions.expected_loss_if_measured(home, decisions.Stakes(), price)
