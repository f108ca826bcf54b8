"""What the chapter *Calibration* claims: of the committed study, and of other surveys."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from funnel import exact
from funnel.calibration import sbc
from funnel.priors import HalfNormal


@pytest.fixture(scope="module")
def fits():
    return sbc.load_fits()


def uniformity(ranks):
    return stats.kstest(sbc.spread_ranks(ranks, seed=3), "uniform").pvalue


def is_wrong(fits):
    return ~fits["cdf_05_sigma_b"].between(0.025, 0.1)


def of(fits, kind, sampler):
    return fits[(fits["kind"] == kind) & (fits["sampler"] == sampler)]


@pytest.mark.parametrize("kind", sbc.KINDS)
def test_noncentered_fits_pass_calibration(fits, kind):
    for name in sbc.QUANTITIES:
        assert uniformity(of(fits, kind, "noncentered")[f"rank_{name}"]) > 1e-3, name


def test_centered_fits_put_too_many_truths_below_all_draws(fits):
    for kind in sbc.KINDS:
        zeros = {s: (of(fits, kind, s)["rank_sigma_b"] == 0).sum() for s in sbc.SAMPLERS}
        expected = stats.binom(sbc.SIMULATIONS, 1 / (sbc.RANKED + 1))
        assert expected.sf(zeros["centered"] - 1) < 1e-3, kind
        for sampler in ("exact", "noncentered"):
            assert expected.sf(zeros[sampler] - 1) > 1e-3, (kind, sampler)


def test_diagnostics_warned_of_nearly_every_wrong_fit(fits):
    for kind in sbc.KINDS:
        centered = of(fits, kind, "centered")
        assert is_wrong(centered).mean() > 0.2
        missed = is_wrong(centered) & ~centered["warned"]
        assert missed.sum() <= 0.05 * is_wrong(centered).sum()
        for sampler in ("exact", "noncentered"):
            assert is_wrong(of(fits, kind, sampler)).mean() < 0.03
    exact_draws = fits[fits["sampler"] == "exact"]
    assert exact_draws["warned"].mean() < 0.02


def test_the_old_limit_of_r_hat_lets_wrong_fits_pass(fits):
    wrong = fits[is_wrong(fits) & (fits["sampler"] == "centered")]
    assert (wrong["r_hat"] < 1.1).mean() > 0.2
    assert (wrong["r_hat"] > 1.01).mean() > 0.95
    # Divergences alone do not see all of them.
    assert (wrong["divergences"] > 0).mean() < 0.99


def test_an_exact_answer_tells_the_samplers_apart_sooner_than_ranks(fits):
    wide = fits[fits["kind"] == "prior"].pivot(index="number", columns="sampler")
    rng = np.random.default_rng(8)
    by_truth, by_ranks = [], []
    for _ in range(40):
        some = rng.choice(len(wide), 30, replace=False)
        error = abs(np.log(wide["cdf_05_sigma_b"].iloc[some].clip(1e-4) / 0.05))
        by_truth.append(stats.wilcoxon(error["centered"] - error["noncentered"]).pvalue < 0.05)
        by_ranks.append(uniformity(wide["rank_sigma_b"]["centered"].iloc[some]) < 0.05)
    assert np.mean(by_truth) > np.mean(by_ranks) + 0.3


def test_a_sampler_that_never_looks_passes_with_every_parameter_and_fails_with_the_likelihood():
    rows = []
    for number in range(1000, 1060):
        survey = sbc.simulate("prior", number)
        lazy = sbc.draw_prior(sbc.RADON_LIKE, seed=number, n=sbc.RANKED + 1)
        draws = sbc.measure(survey.homes, lazy)
        truth = sbc.measure(survey.homes, survey.truth)
        rows.append({q: sbc.count_below(draws[q], truth[q].item()) for q in sbc.QUANTITIES})
    ranks = pd.DataFrame(rows)
    assert all(uniformity(ranks[q]) > 1e-3 for q in sbc.QUANTITIES if q != "log_likelihood")
    assert uniformity(ranks["log_likelihood"]) < 1e-10
    assert ranks["log_likelihood"].median() > 95


@pytest.mark.slow
def test_a_sampler_that_sees_only_basements_passes_but_for_the_likelihood_of_all_homes():
    rows = []
    for number in range(1000, 1060):
        survey = sbc.simulate("prior", number)
        basements = survey.homes[survey.homes["floor"] == 0]
        run = exact.varying_slopes(basements, survey.priors).draws(4 * sbc.RANKED, seed=number)
        draws = sbc.measure(survey.homes, run.posterior.dataset)
        truth = sbc.measure(survey.homes, survey.truth)
        rows.append({q: sbc.count_below(draws[q], truth[q].item()) for q in sbc.QUANTITIES})
    ranks = pd.DataFrame(rows)
    assert all(uniformity(ranks[q]) > 1e-3 for q in sbc.QUANTITIES if q != "log_likelihood")
    assert ranks["log_likelihood"].median() > 90


@pytest.mark.slow
def test_a_prior_that_is_too_narrow_shows_in_the_ranks_of_its_parameter():
    mistaken = replace(sbc.RADON_LIKE, sigma_b=HalfNormal(0.1))
    ranks = {"sigma_b": [], "sigma_y": []}
    for number in range(1000, 1060):
        survey = sbc.simulate("prior", number)
        run = exact.varying_slopes(survey.homes, mistaken).draws(4 * sbc.RANKED, seed=number)
        draws = sbc.measure(survey.homes, run.posterior.dataset)
        truth = sbc.measure(survey.homes, survey.truth)
        for name, found in ranks.items():
            found.append(sbc.count_below(draws[name], truth[name].item()))
    # Draws that are too low put the truth above them.
    assert np.mean(ranks["sigma_b"]) > 60
    assert uniformity(ranks["sigma_b"]) < 1e-3
    assert uniformity(ranks["sigma_y"]) > 1e-3


def test_the_power_that_the_page_computes():
    """What the band sees of three errors, at the number that the formula asks for the first."""
    n = int(sbc.simulations_needed(0.2))
    errors = {
        "none": lambda u: u,
        "shifted": lambda u: stats.norm.cdf(stats.norm.ppf(u) + 0.2),
        "narrow": lambda u: stats.norm.cdf(stats.norm.ppf(u) / 0.8),
        "cut": lambda u: np.clip((u - 0.05) / 0.95, 0, 1),
    }

    def power(error, n, repeats=200):
        rng = np.random.default_rng(4)
        ranks = rng.binomial(sbc.RANKED, error(rng.uniform(size=(repeats, n))))
        spread = [sbc.spread_ranks(row, 1) for row in ranks]
        return np.mean([sbc.ecdf_difference(row)["outside"].any() for row in spread])

    noticed = {name: power(error, n) for name, error in errors.items()}
    # The band looks for any error, and so is weaker than the test for a shift.
    assert 0.5 < noticed["shifted"] < 0.78
    assert noticed["none"] < 0.12
    assert min(noticed["narrow"], noticed["cut"]) > noticed["shifted"]
    # A few dozen simulations see none of them.
    assert all(power(error, 36) < 0.4 for error in errors.values())
