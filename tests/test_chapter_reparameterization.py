"""What the chapter *Reparameterization* claims, over seeds that the chapter does not use.

Claims about the models themselves (one density, one posterior) are exact, and tested in
`test_models.py`; here are those about samplers, and those about the exact posterior.
"""

import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from funnel import data, exact, fitting, models, priors
from funnel.calibration import centering, efficiency
from funnel.calibration.efficiency import estimated_efficiency, is_healthy
from funnel.exhibits import Sampler

pytestmark = pytest.mark.slow

ALIKE = 0.05
SEEDS = (1000, 1001)
LOOSE = priors.EightSchoolsPriors(mu=priors.Normal(0, 5), tau=priors.HalfCauchy(5))


def make_groups(r, groups=30, se=1.0, seed=1):
    rng = np.random.default_rng(seed)
    effect = rng.normal(0, np.sqrt(r) * se, groups) + rng.normal(0, se, groups)
    return pd.DataFrame({"school": range(groups), "effect": effect, "se": se})


def schools(table, effects):
    model = models.eight_schools(table, LOOSE, effects=effects)
    return [fitting.fit(model, seed=seed, expect_failure=None) for seed in SEEDS]


def below(runs):
    """Estimates of P(sigma_b < 0.05), and their Monte Carlo standard errors."""
    tails = [
        (run.posterior["sigma_b"] < ALIKE).astype(float).to_dataset(name="below") for run in runs
    ]
    answers = [float(tail.below.mean()) for tail in tails]
    return np.array(answers), np.array([float(az.mcse(tail).below) for tail in tails])


@pytest.fixture(scope="module")
def radon(homes):
    """Runs of the radon model in any parameterization, made once each."""
    made = {}

    def runs(intercepts, slopes, seeds=SEEDS):
        if (intercepts, slopes) not in made:
            model = models.varying_slopes(homes, priors.ESSAY, intercepts=intercepts, slopes=slopes)
            made[intercepts, slopes] = [
                fitting.fit(model, seed=seed, target_accept=0.95, expect_failure=None)
                for seed in seeds
            ]
        return made[intercepts, slopes]

    return runs


def test_offsets_and_scale_are_tied_by_the_data_of_a_county(truth):
    draws = truth.draws(40_000, seed=3).posterior
    z = (draws["b"] - draws["mu_b"]) / draws["sigma_b"]
    low, high = draws["sigma_b"] < 0.1, draws["sigma_b"] > 0.4
    steele, louis = z.sel(county="Steele"), z.sel(county="St. Louis")
    assert float(steele.where(high).std() / steele.where(low).std()) == pytest.approx(1, abs=0.05)
    assert float(louis.where(high).std() / louis.where(low).std()) < 0.6
    leaning = z.sel(county="Marshall").to_numpy().ravel()
    assert abs(stats.spearmanr(leaning, draws["sigma_b"].to_numpy().ravel()).statistic) > 0.2


def test_the_density_of_centered_slopes_is_nearly_a_function_of_their_scale(truth):
    draws = truth.draws(4000, seed=3).posterior
    log_scale = np.log(draws["sigma_b"]).to_numpy()
    z = (draws["b"] - draws["mu_b"]) / draws["sigma_b"]
    log_z = stats.norm.logpdf(z).sum(-1)
    log_b = log_z - 85 * log_scale
    assert np.corrcoef(log_b.ravel(), log_scale.ravel())[0, 1] < -0.95
    assert abs(np.corrcoef(log_z.ravel(), log_scale.ravel())[0, 1]) < 0.5


def test_noncentered_slopes_get_the_tail_right_and_centered_ones_fail(truth, radon):
    alike = truth.cdf("sigma_b", ALIKE)
    answers, errors = below(radon("centered", "noncentered"))
    assert np.all(np.abs(answers - alike) < 4 * errors)
    assert np.all(errors < 0.02)
    assert all(map(is_healthy, radon("centered", "noncentered")))
    assert not any(map(is_healthy, radon("centered", "centered")))
    assert not any(map(is_healthy, radon("noncentered", "centered")))


def test_noncentered_slopes_reach_far_below_the_wall(radon):
    lowest = [float(run.posterior["sigma_b"].min()) for run in radon("centered", "noncentered")]
    assert max(lowest) < 0.005


def test_noncentering_the_slopes_pays_and_the_intercepts_are_about_even(radon):
    def rate(intercepts, slopes, name):
        return np.mean([estimated_efficiency(run, name) for run in radon(intercepts, slopes)])

    assert rate("centered", "noncentered", "sigma_b") > 4 * rate("centered", "centered", "sigma_b")
    for name in ["sigma_a", "sigma_b"]:
        ratio = rate("noncentered", "noncentered", name) / rate("centered", "noncentered", name)
        assert 0.5 < ratio < 2, name
    ratio = rate("noncentered", "noncentered", "mu_a") / rate("centered", "noncentered", "mu_a")
    assert 0.3 < ratio < 0.95
    assert all(map(is_healthy, radon("noncentered", "noncentered")))


@pytest.mark.parametrize("centeredness", [0.25, 0.5])
def test_partly_centered_slopes_fail_and_yield_less(centeredness, radon):
    runs = radon("centered", centeredness, SEEDS[:1])
    assert not any(map(is_healthy, runs))
    best = np.mean(
        [estimated_efficiency(run, "sigma_b") for run in radon("centered", "noncentered")]
    )
    assert max(estimated_efficiency(run, "sigma_b") for run in runs) < 0.7 * best


@pytest.mark.parametrize(
    ("r", "better"), [(0.1, "noncentered"), (1, "noncentered"), (10, "centered"), (100, "centered")]
)
def test_the_better_way_depends_on_the_data(r, better):
    worse = "centered" if better == "noncentered" else "noncentered"
    runs = {way: schools(make_groups(r), way) for way in (better, worse)}
    rates = {way: np.mean([estimated_efficiency(run, "tau") for run in runs[way]]) for way in runs}
    assert rates[better] > 2 * rates[worse]
    assert all(map(is_healthy, runs[better]))
    if r in (0.1, 1, 100):
        assert not any(map(is_healthy, runs[worse]))
    if r == 100:
        posterior = runs[worse][0].posterior
        mean_z, mu = posterior["theta_offset"].mean("school"), posterior["mu"]
        assert np.corrcoef(mu.to_numpy().ravel(), mean_z.to_numpy().ravel())[0, 1] < -0.9
        assert float(mean_z.std()) > 5 / np.sqrt(101 * 30)
        gain = estimated_efficiency(runs[better][0], "mu") / estimated_efficiency(
            runs[worse][0], "mu"
        )
        assert gain > 10


def test_a_scale_that_reaches_zero_is_the_trouble_and_not_weak_data_alone():
    many = make_groups(1, groups=300)
    assert exact.eight_schools(many, LOOSE).cdf("tau", 0.25) < 1e-4
    assert all(map(is_healthy, schools(many, "centered")))
    precise = make_groups(0, se=0.1)
    assert exact.eight_schools(precise, LOOSE).cdf("tau", 0.025) > 0.2
    assert not any(map(is_healthy, schools(precise, "centered")))


def test_the_marginal_model_gets_the_tail_right_for_fewer_gradients(homes, truth, radon):
    model = models.marginal_slopes(homes, priors.ESSAY)
    runs = [
        fitting.fit(model, seed=seed, target_accept=0.95, expect_failure=None) for seed in SEEDS
    ]
    answers, errors = below(runs)
    assert np.all(np.abs(answers - truth.cdf("sigma_b", ALIKE)) < 4 * errors)
    rate = np.mean([estimated_efficiency(run, "sigma_b") for run in runs])
    best = np.mean(
        [estimated_efficiency(run, "sigma_b") for run in radon("centered", "noncentered")]
    )
    assert rate > 1.5 * best


def test_two_parameterizations_of_correlated_effects_agree(homes, truth):
    found = {}
    for intercepts in ("centered", "noncentered"):
        model = models.correlated_slopes(
            homes, priors.ESSAY, intercepts=intercepts, slopes="noncentered"
        )
        run = fitting.fit(model, seed=1000, expect_failure=None)
        assert is_healthy(run)
        found[intercepts] = run.posterior["rho"]
        assert abs(below([run])[0][0] - truth.cdf("sigma_b", ALIKE)) < 0.03
    error = np.hypot(*[float(az.mcse(rho.to_dataset(name="rho")).rho) for rho in found.values()])
    means = [float(rho.mean()) for rho in found.values()]
    assert abs(means[0] - means[1]) < 4 * error
    rho = np.concatenate([rho.to_numpy() for rho in found.values()])
    low, high = np.quantile(rho, [0.025, 0.975])
    # The data say little about it.
    assert low < -0.5
    assert high > 0.2
    assert 0.65 < (rho < 0).mean() < 0.9


def test_pinned_to_zero_the_correlated_model_has_the_exact_posterior(homes, truth):
    model = models.correlated_slopes(
        homes, priors.ESSAY, intercepts="centered", slopes="noncentered", eta=1e6
    )
    run = fitting.fit(model, seed=1000, expect_failure=None)
    answers, errors = below([run])
    assert abs(answers[0] - truth.cdf("sigma_b", ALIKE)) < 4 * errors[0]


def test_the_primers_second_prior_puts_about_twice_as_much_near_zero(homes):
    below_a_tenth = []
    for rate in (1, 5):
        scale = priors.Exponential(rate)
        hyperpriors = priors.Hyperpriors(
            mu_a=priors.Normal(0, 10),
            sigma_a=scale,
            mu_b=priors.Normal(0, 10),
            sigma_b=scale,
            sigma_y=scale,
        )
        below_a_tenth.append(exact.varying_slopes(homes, hyperpriors).cdf("sigma_b", 0.1))
    assert 1.7 < below_a_tenth[1] / below_a_tenth[0] < 2.2


def test_what_the_chapter_says_of_the_methods_that_adapt_by_themselves():
    table = pd.read_csv(data.DATA / "automatic" / "automatic.csv")
    alike = table["exact_percent_below"].iloc[0]
    by_method = table.groupby("method")
    passed = by_method["passed"].sum()
    assert passed.pop("noncentered by hand") == 3
    assert not passed.any()
    assert set(passed.index) == {"NUTS, diagonal masses", "NUTS, low-rank masses", "WALNUTS"}
    assert by_method.size().eq(3).all()
    walnuts = by_method["percent_below"].get_group("WALNUTS")
    assert walnuts.min() < alike < walnuts.max()
    assert by_method["ess_per_1000_gradients"].mean().idxmin() == "WALNUTS"
    ratio = table["ess_log_sigma_b"] / table["gradients"] * 1000
    np.testing.assert_allclose(table["ess_per_1000_gradients"], ratio, atol=1e-3)


@pytest.fixture(scope="module")
def fits():
    return centering.load_fits()


def test_centered_wins_with_much_data_and_noncentered_with_little_in_every_case(fits):
    """For every number of groups, hyperprior and design, by the middle of the resamples."""
    for case, part in fits.groupby(["groups", "hyperprior", "design"]):
        table = efficiency.resample(part, "log_tau", seed=2)
        ratio = table.sel(centeredness="0.0") / table.sel(centeredness="1.0")
        assert (ratio.sel(informativeness=[0.03, 0.1, 0.3]).quantile(0.05, "resample") > 3).all(), (
            case
        )
        assert (ratio.sel(informativeness=[30, 100, 300]).quantile(0.95, "resample") < 0.5).all(), (
            case
        )


def test_the_number_of_groups_moves_the_crossing_most(fits):
    found = {
        case: np.log(efficiency.crossover(efficiency.resample(part, "log_tau", seed=2)))
        for case, part in fits.groupby(["groups", "design", "hyperprior"])
    }
    middle = pd.Series({case: np.median(values) for case, values in found.items()})
    spread = pd.Series({case: values.std() for case, values in found.items()})
    of_groups = middle.groupby(level=0).mean()
    assert of_groups.is_monotonic_decreasing
    assert 1 < np.exp(of_groups[85]) < 3
    # The three hyperpriors of a case agree within their errors, or nearly.
    by_case = middle.groupby(level=[0, 1])
    assert (by_case.max() - by_case.min()).max() < of_groups[8] - of_groups[85]
    errors = np.sqrt((spread**2).groupby(level=0).mean() / 6)
    assert of_groups[8] - of_groups[85] > 4 * np.hypot(errors[8], errors[85])
    tail = [
        efficiency.crossover(efficiency.resample(part, "small_tau", seed=2))[0]
        for _, part in fits[fits["groups"] == 8].groupby(["hyperprior", "design"])
    ]
    assert 5 < min(tail) < max(tail) < 20


def test_chains_that_miss_the_neck_flatter_themselves(fits):
    part = fits[
        (fits["design"] == "balanced")
        & (fits["groups"] == 8)
        & (fits["centeredness"] == "1.0")
        & (fits["informativeness"] == 1.0)
    ]
    row = efficiency.true_efficiency(part, ["groups"]).loc[8]
    assert row["ess"] > (3 + 4 * row["small_tau_error"]) * row["small_tau"]


def test_partial_centering_pays_near_the_crossing_and_not_in_the_neck(fits):
    part = fits[(fits["design"] == "balanced") & (fits["groups"] == 85)]
    table = efficiency.resample(part, "log_tau", seed=2)
    gain = table.max("centeredness") / table.sel(centeredness=["0.0", "1.0"]).max("centeredness")
    assert (gain.sel(informativeness=[1, 3]).quantile(0.05, "resample") > 1.3).all()
    loss = table.sel(centeredness="0.0") / table.sel(centeredness="0.5")
    assert loss.sel(informativeness=0.1).quantile(0.05, "resample") > 5


def test_each_group_its_own_pays_with_many_groups_and_not_with_few(fits):
    def gain(groups):
        part = fits[(fits["design"] == "unbalanced") & (fits["groups"] == groups)]
        table = efficiency.resample(part, "log_tau", seed=2)
        ends = table.sel(centeredness=["0.0", "1.0"]).max("centeredness")
        return table.sel(centeredness="by group") / ends

    assert gain(85).sel(informativeness=3).quantile(0.05, "resample") > 2
    assert (gain(85).sel(informativeness=[1, 3, 10]).quantile(0.05, "resample") > 1).all()
    assert (gain(8).min("informativeness").quantile(0.95, "resample")) < 0.5


def test_where_the_counties_stand(homes, truth):
    floors = homes.groupby("county", observed=False)["floor"].agg(["size", "sum"])
    known = floors["sum"] * (floors["size"] - floors["sum"]) / floors["size"]
    assert (known == 0).sum() == (floors["sum"] == 0).sum() == 25
    r_slope = known * (truth.mean("sigma_b") / truth.mean("sigma_y")) ** 2
    r_intercept = floors["size"] * (truth.mean("sigma_a") / truth.mean("sigma_y")) ** 2
    assert (r_slope > 1.7).sum() <= 2
    assert 20 < (r_intercept > 1.7).sum() < 40
    ratio = {s: truth.quantile(s, 0.95) / truth.quantile(s, 0.05) for s in ("sigma_a", "sigma_b")}
    assert ratio["sigma_b"] > 3 * ratio["sigma_a"]


def test_each_intercept_its_own_beats_both_ends(homes, truth, radon):
    r = homes.groupby("county", observed=False).size().to_numpy()
    r = r * (truth.mean("sigma_a") / truth.mean("sigma_y")) ** 2
    model = models.varying_slopes(homes, priors.ESSAY, intercepts=r / (1 + r), slopes="noncentered")
    runs = [
        fitting.fit(model, seed=seed, target_accept=0.95, expect_failure=None) for seed in SEEDS
    ]
    assert all(map(is_healthy, runs))
    for name in ("sigma_a", "mu_a"):
        ends = [
            np.mean([estimated_efficiency(run, name) for run in radon(way, "noncentered")])
            for way in ("centered", "noncentered")
        ]
        assert np.mean([estimated_efficiency(run, name) for run in runs]) > 1.5 * max(ends)


def test_with_many_homes_the_exhibit_passes_only_with_both_effects_centered(homes, run_engine):
    sampler = Sampler(homes, model="many", slopes=0.0, intercepts=0.0)
    shown = sampler.opening()["report"]
    assert shown["bulk"] < 400
    assert shown["divergences"] == 0
    ways = {
        "noncentered": (0.0, 0.0),
        "half": (0.5, 0.5),
        "intercepts": (0.0, 1.0),
        "slopes": (1.0, 0.0),
        "both": (1.0, 1.0),
    }
    found = {
        name: run_engine(
            sampler,
            [{"slopes": slopes, "intercepts": intercepts, "seed": n} for n in range(30, 33)],
        )
        for name, (slopes, intercepts) in ways.items()
    }
    for name, runs in found.items():
        assert max(run["divergences"] for run in runs) == 0, name
        worth = np.median([run["bulk"] for run in runs])
        if name == "both":
            assert not any(run["warnings"] for run in runs)
            assert worth > 0.75 * runs[0]["draws"]
        else:
            assert sum(bool(run["warnings"]) for run in runs) >= 2, name
            assert worth < 500, name
