"""What the chapter *Pooling* claims, asserted over seeds that the chapter does not use.

Most of the chapter is exact, and is asserted exactly. What it does by hand is
tested as it stands on the page: the cells are taken from there and run. Tolerances
of what is sampled are multiples of its Monte Carlo error.
"""

import re
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import stats

from funnel import data, decisions, exact, fitting, models, priors

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[1] / "book" / "pooling.md"
YOURS = "Lac qui Parle"
LEVEL_4 = np.log(4.1)


def cell_of_the_page(mark):
    """The one code cell of the chapter that holds `mark`."""
    cells = re.findall(r"^```\{code-cell\} python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    found = [re.sub(r"\A---\n.*?^---\n", "", c, flags=re.M | re.S) for c in cells if mark in c]
    assert len(found) == 1, mark
    return found[0]


@pytest.fixture(scope="module")
def truth(homes):
    return exact.varying_intercepts(homes, priors.ESSAY)


@pytest.fixture(scope="module")
def page(homes, truth):
    """The chapter's own names: what it computes by hand."""
    names = {
        "np": np,
        "pd": pd,
        "pm": pm,
        "norm": stats.norm,
        "exact": exact,
        "priors": priors,
        "homes": homes,
        "truth": truth,
        "yours": YOURS,
    }
    for mark in ["by_hand = ", "def given_scales", "def your_level", "a_grid, y_grid = "]:
        exec(cell_of_the_page(mark), names)
    return names


@pytest.fixture(scope="module")
def shared(homes):
    return models.varying_intercepts(homes, priors.ESSAY, intercepts="centered")


@pytest.fixture(scope="module")
def held_out(homes):
    """Squared errors of homes that were held out, for seeds that are not the chapter's."""
    names = {"np": np, "exact": exact, "priors": priors, "homes": homes}
    exec(cell_of_the_page("def predict(train, test)"), names)
    exec(cell_of_the_page("def hold_out(seed)").split("parts = ")[0], names)
    parts = [part for seed in range(100, 103) for part in names["hold_out"](seed)]
    guesses = pd.concat(parts)
    ways = ["none", "complete", "partial"]
    squared = guesses[ways].sub(guesses["log_radon"], axis=0) ** 2
    return squared.assign(homes=guesses["homes"], county=guesses["county"])


def excess(held_out, way):
    """Mean excess over partial pooling, and its standard error with counties as units."""
    difference = held_out[way] - held_out["partial"]
    mistakes = (difference - difference.mean()).groupby(held_out["county"], observed=True).sum()
    return difference.mean(), np.sqrt((mistakes**2).sum()) / len(difference)


# --- The question -----------------------------------------------------------------------


def test_your_county_is_the_highest_of_all_and_has_two_homes(homes):
    counties = homes.groupby("county", observed=True)["log_radon"].agg(["size", "mean"])
    assert counties["mean"].idxmax() == YOURS
    assert counties.loc[YOURS, "size"] == 2
    assert sorted(homes.loc[homes["county"] == YOURS, "floor"]) == [0, 1]
    assert (homes.loc[homes["county"] == YOURS, "activity"] > 8).all()


def test_the_logarithm_makes_the_basements_symmetric_and_its_mean_a_median(homes):
    basements = homes[homes["floor"] == 0]
    assert stats.skew(basements["activity"]) > 2
    assert abs(stats.skew(basements["log_radon"])) < 0.2
    back = float(data.to_activity(basements["log_radon"].mean()))
    assert back == pytest.approx(basements["activity"].median(), rel=0.05)
    assert basements["activity"].mean() > 1.25 * back


# --- No, complete and partial pooling ---------------------------------------------------


def test_the_two_easy_answers_are_least_squares_and_far_apart(homes):
    slope, line = np.polyfit(homes["floor"], homes["log_radon"], 1)
    complete = fitting.fit(models.pooled(homes, priors.ESSAY), seed=11).posterior
    assert abs(complete["mu_a"].mean() - line) < 5 * az.mcse(complete.dataset[["mu_a"]]).mu_a
    assert abs(complete["mu_b"].mean() - slope) < 5 * az.mcse(complete.dataset[["mu_b"]]).mu_b
    none = fitting.fit(models.unpooled(homes, priors.ESSAY), seed=11).posterior.dataset
    here = none.sel(county=[YOURS])
    reading = homes.query("county == @YOURS and floor == 0")["log_radon"].item()
    # The line of two homes runs through both of them.
    error = float(here["a"].mean()) - reading
    assert abs(error) < 5 * float(az.mcse(here[["a"]]).a.item())
    chances = [
        stats.norm.sf(LEVEL_4, complete["mu_a"], complete["sigma_y"]).mean(),
        stats.norm.sf(LEVEL_4, here["a"].squeeze("county"), here["sigma_y"]).mean(),
    ]
    assert chances[0] < 0.5
    assert chances[1] > 0.88
    louis = none["a"].sel(county="St. Louis")
    assert line - louis.mean() > 5 * louis.std()


def test_the_ends_of_sigma_a_are_complete_and_no_pooling(page, homes):
    slope, line = np.polyfit(homes["floor"], homes["log_radon"], 1)
    mean, variance, _ = page["your_level"](1e-6, 0.7)
    assert mean == pytest.approx(line, abs=1e-6)
    assert variance < 0.01
    # Far out the county keeps its own mean; the slope is learned within counties.
    within = homes[["log_radon", "floor"]].astype(float)
    within -= within.groupby(homes["county"], observed=True).transform("mean")
    slope = (within["floor"] @ within["log_radon"]) / (within["floor"] @ within["floor"])
    here = homes[homes["county"] == YOURS]
    mean, variance, _ = page["your_level"](1e4, 0.7)
    assert mean == pytest.approx(here["log_radon"].mean() - slope * 0.5, abs=1e-6)
    assert variance > 0.7**2 / 2


def test_partial_pooling_is_precision_weighting_at_any_scales(page):
    rng = np.random.default_rng(2)
    for _ in range(20):
        r, mu, sigma_a, sigma_y, n = (
            *rng.normal(0, 2, 2),
            *rng.uniform(0.1, 2, 2),
            rng.integers(1, 50),
        )
        x = np.linspace(-40, 40, 400_001)
        density = stats.norm.pdf(x, r, sigma_y / np.sqrt(n)) * stats.norm.pdf(x, mu, sigma_a)
        density /= density.sum()
        w = n / (n + sigma_y**2 / sigma_a**2)
        mean = density @ x
        assert mean == pytest.approx(w * r + (1 - w) * mu, abs=1e-6)
        assert np.sqrt(density @ (x - mean) ** 2) == pytest.approx(
            np.sqrt(w) * sigma_y / np.sqrt(n), rel=1e-5
        )


def test_by_hand_at_fixed_scales_is_close_for_every_county(page, truth):
    error = (page["by_hand"] - truth.mean("a")).abs()
    assert error.max() < 0.03
    assert error[YOURS] < 0.001


def test_by_hand_over_the_grid_is_exact(page, truth):
    weight, mean, variance = page["weight"], page["mean"], page["variance"]
    level = weight @ mean
    assert level == pytest.approx(truth.mean("a")[YOURS], abs=5e-9)
    spread = np.sqrt(weight @ (variance + (mean - level) ** 2))
    assert spread == pytest.approx(truth.sd("a")[YOURS], abs=5e-9)
    sigma_y = page["grid"][:, 1]
    above = weight @ stats.norm.sf(LEVEL_4, mean, np.sqrt(variance + sigma_y**2))
    home = decisions.predict(truth, floor=0, county=YOURS)
    assert above == pytest.approx(float(home.probability_above(4)), abs=5e-9)
    assert 0.65 < above < 0.8


@pytest.mark.parametrize("hyperpriors", [priors.ESSAY, priors.WEAKLY_INFORMATIVE])
def test_the_data_decide_how_much_to_pool(homes, hyperpriors):
    posterior = exact.varying_intercepts(homes, hyperpriors)
    assert posterior.cdf("sigma_a", 0.15) < 1e-5
    assert posterior.cdf("sigma_a", 0.6) > 1 - 1e-5


# --- The model in PyMC ------------------------------------------------------------------


def test_the_model_of_the_page_is_the_shared_one(homes, shared):
    names = {"pm": pm, "homes": homes}
    exec(cell_of_the_page("def varying_intercepts(homes)"), names)
    ours = names["varying_intercepts"](homes).compile_logp()
    theirs = shared.compile_logp()
    point, rng = shared.initial_point(), np.random.default_rng(3)
    for _ in range(20):
        point = {name: rng.normal(size=np.shape(value)) for name, value in point.items()}
        assert float(ours(point)) == pytest.approx(float(theirs(point)), rel=1e-10)


@pytest.mark.parametrize("seed", [1000, 1001, 1002, 1003])
def test_the_sampler_passes_and_agrees_with_the_exact_posterior(shared, truth, seed):
    draws = fitting.fit(shared, seed=seed).posterior.dataset
    errors = az.mcse(draws)
    scalars = [
        float((draws[name].mean() - truth.mean(name)) / errors[name])
        for name in ["mu_a", "sigma_a", "mu_b", "sigma_y"]
    ]
    levels = (draws["a"].mean(("chain", "draw")) - truth.mean("a").to_numpy()) / errors["a"]
    assert np.abs(scalars).max() < 4
    assert float(abs(levels).max()) < 4.5
    assert 0.4 < float((levels**2).mean()) < 2.5


# --- All counties -----------------------------------------------------------------------


def test_raw_means_spread_more_than_counties_and_shrunken_ones_less(page, truth):
    level, own, n = truth.mean("a"), page["own"], page["n"]
    assert level.std() < truth.mean("sigma_a") < own.std()
    moved = (own - level).abs()
    assert moved[n <= 2].mean() > 10 * moved[n >= 20].mean()
    # Each level lies between its own mean and the population's, or nearly.
    assert np.corrcoef(own - truth.mean("mu_a"), level - truth.mean("mu_a"))[0, 1] > 0.85


def test_counties_shrink_to_the_typical_county_and_not_to_the_typical_home(homes, page, truth):
    _, line = np.polyfit(homes["floor"], homes["log_radon"], 1)
    assert truth.mean("mu_a") - line > 2 * truth.sd("mu_a")
    large = page["n"].nlargest(8).index
    assert page["own"][large].mean() < line


def test_the_ranking_changes_and_nobody_is_known_to_be_the_worst(page, truth):
    assert page["own"].idxmax() == YOURS
    assert truth.mean("a").idxmax() != YOURS
    levels = truth.draws(8000, seed=30).posterior["a"]
    worst = np.bincount(levels.argmax("county").to_numpy().ravel(), minlength=85) / 8000
    assert worst.max() < 0.2
    assert 0.1 < worst[list(truth.groups).index(YOURS)] < worst.max() + 0.02


def test_eight_schools_do_not_decide_how_much_to_pool(truth):
    schools = data.load_eight_schools()
    flat = priors.EightSchoolsPriors(mu=priors.Normal(0, 10_000), tau=priors.HalfCauchy(5))
    eight = exact.eight_schools(schools, flat)
    precision = schools["se"] ** -2
    together = (precision @ schools["effect"]) / precision.sum()
    alone = schools.set_index("school")["effect"]["A"]
    assert together < eight.mean("theta")["A"] < (together + alone) / 2
    schools_ratio = np.divide(*eight.quantile("tau", [0.975, 0.025]))
    counties_ratio = np.divide(*truth.quantile("sigma_a", [0.975, 0.025]))
    assert schools_ratio > 20 * counties_ratio


# --- Which is right ---------------------------------------------------------------------


@pytest.mark.parametrize(("least", "most"), [(1, 4), (5, 19), (20, 200)])
def test_partial_pooling_predicts_held_out_homes_best_in_counties_of_every_size(
    held_out, least, most
):
    some = held_out[held_out["homes"].between(least, most)]
    assert some["partial"].mean() < min(some["none"].mean(), some["complete"].mean()) + 5e-4
    for way in ("none", "complete"):
        mean, error = excess(some, way)
        assert mean > -2 * error


def test_each_easy_answer_loses_where_it_should(held_out):
    for way in ("none", "complete"):
        mean, error = excess(held_out, way)
        assert mean > 2 * error
    small, large = held_out[held_out["homes"] <= 4], held_out[held_out["homes"] >= 20]
    assert excess(small, "none")[0] > 2 * excess(small, "none")[1]
    assert abs(excess(large, "none")[0]) < 0.005
    assert excess(large, "complete")[0] > 0.03


def test_the_excess_is_what_theory_predicts(held_out, truth):
    va, vy = truth.mean("sigma_a") ** 2, truth.mean("sigma_y") ** 2
    bins = pd.cut(held_out["homes"], [0, 2, 5, 10, 25, 200])
    for _, some in held_out.groupby(bins, observed=True):
        partial = 1 / (some["homes"] / vy + 1 / va)
        for way, risk in [("none", vy / some["homes"]), ("complete", va)]:
            mean, error = excess(some, way)
            assert abs(mean - (risk - partial).mean()) < 3 * error


# --- When it hurts ----------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 10, 50])
@pytest.mark.parametrize("sigma_a", [0.1, 0.3, 1.0])
def test_a_county_loses_by_partial_pooling_exactly_beyond_the_threshold(sigma_a, n):
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    weights /= weights.sum()
    se = 0.73 / np.sqrt(n)
    w = sigma_a**2 / (sigma_a**2 + se**2)
    threshold = sigma_a * np.sqrt(1 + 1 / w)
    assert threshold >= np.sqrt(2) * sigma_a
    for factor, sign in [(0.999, -1), (1.001, 1)]:
        d = factor * threshold
        mean = d + se * nodes  # of the homes, in many surveys
        loss = weights @ ((w * mean - d) ** 2 - (mean - d) ** 2)
        assert np.sign(loss) == sign
        assert weights @ (w * mean - d) == pytest.approx(-(1 - w) * d)  # the bias


def test_st_louis_gains_from_its_neighbors_with_two_homes_and_loses_with_ten(homes, page, truth):
    louis = homes[homes["county"] == "St. Louis"]
    corrected = (louis["log_radon"] - truth.mean("mu_b") * louis["floor"]).to_numpy()
    m = truth.mean("sigma_y") ** 2 / truth.mean("sigma_a") ** 2
    rng = np.random.default_rng(70)
    for n, sign in [(2, -1), (10, 1), (20, 1)]:
        alone = np.array([rng.choice(corrected, n, replace=False).mean() for _ in range(10_000)])
        shrunken = (n * alone + m * truth.mean("mu_a")) / (n + m)
        difference = (shrunken - corrected.mean()) ** 2 - (alone - corrected.mean()) ** 2
        error = difference.std() / np.sqrt(len(difference))
        assert sign * difference.mean() > 4 * error, n


def test_picking_the_highest_mean_fools_raw_means_only(page, truth):
    rng, n, w = np.random.default_rng(170), page["n"].to_numpy(), page["w"].to_numpy()
    mu, sigma_a, sigma_y = (truth.mean(name) for name in ["mu_a", "sigma_a", "sigma_y"])
    levels = rng.normal(mu, sigma_a, (20_000, len(n)))
    means = rng.normal(levels, sigma_y / np.sqrt(n))
    rows, best = np.arange(len(means)), means.argmax(axis=1)
    raw = (means - levels)[rows, best]
    shrunken = (w * means + (1 - w) * mu - levels)[rows, best]
    assert raw.mean() > 0.75
    assert abs(shrunken.mean()) < 4 * shrunken.std() / np.sqrt(len(means))


# --- Exchangeability, and slopes --------------------------------------------------------


def test_a_thousand_more_homes_of_st_louis_hardly_change_your_answer(homes, truth):
    louis = homes[homes["county"] == "St. Louis"]
    more = pd.concat([homes, louis.sample(1000, replace=True, random_state=1)], ignore_index=True)
    level = exact.varying_intercepts(more, priors.ESSAY).mean("a")[YOURS]
    assert abs(level - truth.mean("a")[YOURS]) < 0.2 * truth.sd("a")[YOURS]
    lines = [np.polynomial.Polynomial.fit(h["floor"], h["log_radon"], 1)(0) for h in (homes, more)]
    assert lines[0] - lines[1] > 0.2


def test_uranium_halves_how_counties_differ_and_moves_your_level_little(homes, page, truth):
    uranium = homes.groupby("county", observed=True)["log_uranium"].first()
    assert 0.5 < np.corrcoef(uranium, truth.mean("a"))[0, 1] < 0.7
    home = decisions.predict(truth, floor=0, county=YOURS)
    names = dict(page, uranium=uranium, home=home, level=truth.mean("a"))
    exec(cell_of_the_page("def with_uranium"), names)
    exec(cell_of_the_page("values = np.array([with_uranium"), names)
    assert 0.35 < names["new_sigma"] / truth.mean("sigma_a") < 0.6
    assert names["median_m"] > 3 * names["sigma_y"] ** 2 / names["sigma_a"] ** 2
    assert abs(names["new_level"] - truth.mean("a")[YOURS]) < truth.sd("a")[YOURS] / 2
    # Rock County reads low although its soil is rich: there both pull up.
    rock = dict(names, yours="Rock", home=decisions.predict(truth, floor=0, county="Rock"))
    rock["j"] = list(page["n"].index).index("Rock")
    rock["y_mean"], rock["x_mean"] = page["by_county"][["log_radon", "floor"]].mean().loc["Rock"]
    exec(cell_of_the_page("def with_uranium"), rock)
    exec(cell_of_the_page("values = np.array([with_uranium"), rock)
    assert rock["new_level"] - truth.mean("a")["Rock"] > 0.2
    # The grid reaches far enough: its edges hold nothing, but for that at zero.
    edge = np.isclose(names["values"][:, 0], 0.6)
    assert edge.sum() == 41
    assert names["p"][edge].sum() < 1e-6


@pytest.mark.parametrize(("sigma_a", "sigma_y"), [(0.02, 0.7), (0.15, 0.73), (2.0, 0.6)])
def test_by_hand_is_least_squares_for_correlated_homes(homes, page, sigma_a, sigma_y):
    """Against the normal distribution of all homes at once, with a uranium column or without."""
    county = homes["county"].cat.codes.to_numpy()
    covariance = sigma_a**2 * (county[:, None] == county) + sigma_y**2 * np.eye(len(homes))
    with_uranium = np.column_stack([page["Z"], homes["log_uranium"]])
    for Z in (page["Z"], with_uranium):
        whitened = np.linalg.solve(covariance, Z)
        precision = Z.T @ whitened + np.eye(Z.shape[1]) * 1e-8
        coefficients = np.linalg.solve(precision, whitened.T @ page["y"])
        mean, spread, log_density = page["given_scales"](Z, sigma_a, sigma_y)
        assert np.allclose(mean, coefficients, rtol=1e-8)
        assert np.allclose(spread, np.linalg.inv(precision), rtol=1e-8)
        # The density of the homes, by conditioning: at the coefficients, prior over posterior.
        residual = page["y"] - Z @ mean
        log_homes = -0.5 * (np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(precision)[1])
        log_homes -= 0.5 * (residual @ np.linalg.solve(covariance, residual) + 1e-8 * mean @ mean)
        log_homes -= np.log1p(sigma_a**2 / 25) + np.log1p(sigma_y**2 / 25)
        assert log_density == pytest.approx(log_homes, abs=1e-6)


def test_a_county_without_first_floors_has_the_slope_of_the_population(homes):
    slopes = exact.varying_slopes(homes, priors.ESSAY)
    firsts = homes.groupby("county", observed=True)["floor"].sum()
    silent = firsts.index[firsts == 0]
    assert len(silent) == 25
    assert np.allclose(slopes.mean("b")[silent], slopes.mean("mu_b"), rtol=0, atol=1e-9)
    assert np.ptp(slopes.sd("b")[silent]) < 1e-9
    assert slopes.sd("b")[silent].min() > slopes.mean("sigma_b")
    assert slopes.sd("b")[silent].min() > 1.3 * slopes.sd("b")[firsts.nlargest(3).index].max()
    # The scale of the slopes is hardly known, that of the levels well.
    assert slopes.sd("sigma_b") > 0.4 * slopes.mean("sigma_b")
    assert slopes.sd("sigma_a") < 0.2 * slopes.mean("sigma_a")
