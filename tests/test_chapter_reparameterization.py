"""What the chapter *Reparameterization* claims, over seeds that the chapter does not use.

Claims about the models themselves (one density, one posterior) are exact, and tested in
`test_models.py`; here are those about samplers, and those about the exact posterior.
"""

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from funnel import data, exact, fitting, models, priors

pytestmark = pytest.mark.slow

ALIKE = 0.05
SEEDS = (1000, 1001)
LOOSE = priors.EightSchoolsPriors(mu=priors.Normal(0, 5), tau=priors.HalfCauchy(5))


def efficiency(run, name):
    draws = run.posterior.dataset[[name]]
    draws = np.log(draws) if name in ("sigma_a", "sigma_b", "tau") else draws
    steps = int(run.sample_stats["n_steps"].sum())
    return 1000 * float(az.ess(draws, method="mean")[name]) / steps


def healthy(run):
    top = [name for name, v in run.posterior.data_vars.items() if v.ndim == 2]
    table = fitting.diagnose(xr.DataTree.from_dict({"posterior": run.posterior.dataset[top]}))
    return bool(table["passed"].all()) and not fitting.divergences(run)


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
    assert all(map(healthy, radon("centered", "noncentered")))
    assert not any(map(healthy, radon("centered", "centered")))
    assert not any(map(healthy, radon("noncentered", "centered")))


def test_noncentered_slopes_reach_far_below_the_wall(radon):
    lowest = [float(run.posterior["sigma_b"].min()) for run in radon("centered", "noncentered")]
    assert max(lowest) < 0.005


def test_noncentering_the_slopes_pays_and_the_intercepts_are_about_even(radon):
    def rate(intercepts, slopes, name):
        return np.mean([efficiency(run, name) for run in radon(intercepts, slopes)])

    assert rate("centered", "noncentered", "sigma_b") > 4 * rate("centered", "centered", "sigma_b")
    for name in ["sigma_a", "sigma_b"]:
        ratio = rate("noncentered", "noncentered", name) / rate("centered", "noncentered", name)
        assert 0.5 < ratio < 2, name
    ratio = rate("noncentered", "noncentered", "mu_a") / rate("centered", "noncentered", "mu_a")
    assert 0.3 < ratio < 0.95
    assert all(map(healthy, radon("noncentered", "noncentered")))


@pytest.mark.parametrize("centeredness", [0.25, 0.5])
def test_partly_centered_slopes_fail_and_yield_less(centeredness, radon):
    runs = radon("centered", centeredness, SEEDS[:1])
    assert not any(map(healthy, runs))
    best = np.mean([efficiency(run, "sigma_b") for run in radon("centered", "noncentered")])
    assert max(efficiency(run, "sigma_b") for run in runs) < 0.7 * best


@pytest.mark.parametrize(
    ("r", "better"), [(0.1, "noncentered"), (1, "noncentered"), (10, "centered"), (100, "centered")]
)
def test_the_better_way_depends_on_the_data(r, better):
    worse = "centered" if better == "noncentered" else "noncentered"
    runs = {way: schools(make_groups(r), way) for way in (better, worse)}
    rates = {way: np.mean([efficiency(run, "tau") for run in runs[way]]) for way in runs}
    assert rates[better] > 2 * rates[worse]
    assert all(map(healthy, runs[better]))
    if r in (0.1, 1, 100):
        assert not any(map(healthy, runs[worse]))
    if r == 100:
        posterior = runs[worse][0].posterior
        mean_z, mu = posterior["theta_offset"].mean("school"), posterior["mu"]
        assert np.corrcoef(mu.to_numpy().ravel(), mean_z.to_numpy().ravel())[0, 1] < -0.9
        assert float(mean_z.std()) > 5 / np.sqrt(101 * 30)
        gain = efficiency(runs[better][0], "mu") / efficiency(runs[worse][0], "mu")
        assert gain > 10


def test_a_scale_that_reaches_zero_is_the_trouble_and_not_weak_data_alone():
    many = make_groups(1, groups=300)
    assert exact.eight_schools(many, LOOSE).cdf("tau", 0.25) < 1e-4
    assert all(map(healthy, schools(many, "centered")))
    precise = make_groups(0, se=0.1)
    assert exact.eight_schools(precise, LOOSE).cdf("tau", 0.025) > 0.2
    assert not any(map(healthy, schools(precise, "centered")))


def test_the_marginal_model_gets_the_tail_right_for_fewer_gradients(homes, truth, radon):
    model = models.marginal_slopes(homes, priors.ESSAY)
    runs = [
        fitting.fit(model, seed=seed, target_accept=0.95, expect_failure=None) for seed in SEEDS
    ]
    answers, errors = below(runs)
    assert np.all(np.abs(answers - truth.cdf("sigma_b", ALIKE)) < 4 * errors)
    rate = np.mean([efficiency(run, "sigma_b") for run in runs])
    best = np.mean([efficiency(run, "sigma_b") for run in radon("centered", "noncentered")])
    assert rate > 1.5 * best


def test_two_parameterizations_of_correlated_effects_agree(homes, truth):
    found = {}
    for intercepts in ("centered", "noncentered"):
        model = models.correlated_slopes(
            homes, priors.ESSAY, intercepts=intercepts, slopes="noncentered"
        )
        run = fitting.fit(model, seed=1000, expect_failure=None)
        assert healthy(run)
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
