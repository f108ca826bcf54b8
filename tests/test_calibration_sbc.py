"""Simulation-based calibration: simulations, ranks, bands, and the committed study."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from funnel import data
from funnel.calibration import sbc
from funnel.priors import ESSAY


@pytest.mark.parametrize("kind", sbc.KINDS)
def test_a_simulation_is_its_number(kind):
    one, same, other = (sbc.simulate(kind, n) for n in (3, 3, 4))
    pd.testing.assert_frame_equal(one.homes, same.homes)
    xr.testing.assert_identical(one.truth, same.truth)
    assert not np.allclose(one.homes["log_radon"].tail(919), other.homes["log_radon"].tail(919))


def test_simulated_homes_stand_where_the_real_ones_do():
    homes = data.load_radon()
    prior, posterior = sbc.simulate("prior", 0), sbc.simulate("posterior", 0)
    pd.testing.assert_frame_equal(
        prior.homes.drop(columns="log_radon"), homes.drop(columns="log_radon")
    )
    assert prior.priors == sbc.RADON_LIKE
    assert posterior.priors == ESSAY
    # The real homes, and as many simulated ones.
    pd.testing.assert_frame_equal(posterior.homes.head(919), homes, check_index_type=False)
    assert len(posterior.homes) == 2 * 919


def test_a_home_scatters_around_the_line_of_its_county():
    z = []
    for number in range(20):
        simulation = sbc.simulate("prior", number)
        truth = simulation.truth.isel(chain=0, draw=0)
        county = simulation.homes["county"].cat.codes.to_numpy()
        mean = truth["a"].to_numpy()[county]
        mean = mean + truth["b"].to_numpy()[county] * simulation.homes["floor"].to_numpy()
        z.append((simulation.homes["log_radon"] - mean) / truth["sigma_y"].item())
    z = np.concatenate(z)
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / z.size)


def test_prior_draws_come_from_the_prior():
    draws = sbc.draw_prior(sbc.RADON_LIKE, seed=1, n=4000)
    for name in ("sigma_a", "sigma_b", "sigma_y"):
        u = getattr(sbc.RADON_LIKE, name).cdf(draws[name].to_numpy().ravel())
        assert stats.kstest(u, "uniform").pvalue > 1e-4, name
    z = ((draws["b"] - draws["mu_b"]) / draws["sigma_b"]).to_numpy().ravel()
    assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / z.size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("data", 0), "kind must be one of"), (("prior", -1), "number must be at least 0, got -1")],
)
def test_what_cannot_be_simulated_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        sbc.simulate(*arguments)


@pytest.mark.parametrize("kind", sbc.KINDS)
def test_the_log_likelihood_is_a_sum_over_homes(kind):
    simulation = sbc.simulate(kind, 1)
    homes, truth = simulation.homes, simulation.truth.isel(chain=0, draw=0)
    county = homes["county"].cat.codes.to_numpy()
    mean = truth["a"].to_numpy()[county] + truth["b"].to_numpy()[county] * homes["floor"]
    expected = stats.norm.logpdf(homes["log_radon"], mean, truth["sigma_y"].item()).sum()
    assert sbc.log_likelihood(homes, simulation.truth).item() == pytest.approx(expected)


def test_a_rank_counts_among_evenly_spaced_draws():
    draws = np.arange(4000.0).reshape(4, 1000)
    assert sbc.count_below(draws, -1) == 0
    assert sbc.count_below(draws, 1e4) == sbc.RANKED
    assert sbc.count_below(draws, 2000) == 50
    with pytest.raises(ValueError, match="more than 99 draws, got 99"):
        sbc.count_below(np.zeros(99), 0)


def test_spread_ranks_are_uniform_if_the_ranks_are():
    u = sbc.spread_ranks(np.repeat(np.arange(100), 50), seed=1)
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    with pytest.raises(ValueError, match="from 0 to 99, got 100"):
        sbc.spread_ranks([0, 100], seed=1)


def test_uniform_values_leave_the_band_once_in_twenty_times():
    rng = np.random.default_rng(1)
    outside = [sbc.ecdf_difference(rng.uniform(size=100))["outside"].any() for _ in range(400)]
    error = np.sqrt(0.05 * 0.95 / 400)
    assert abs(np.mean(outside) - 0.05) < 5 * error
    assert sbc.ecdf_difference(rng.uniform(size=100) ** 2)["outside"].any()
    for wrong in (np.ones(9), np.full(10, 1.1), np.full(10, np.nan)):
        with pytest.raises(ValueError, match="at least 10 values"):
            sbc.ecdf_difference(wrong)


def test_a_wider_band_is_left_as_rarely_as_it_says():
    prob = 1 - 0.05 / 14
    rng = np.random.default_rng(2)
    outside = [
        sbc.ecdf_difference(rng.uniform(size=100), prob)["outside"].any() for _ in range(3000)
    ]
    # The band itself is found by simulation, fifty of which lie outside.
    error = (1 - prob) * np.sqrt(1 / 50 + 1 / (3000 * (1 - prob)))
    assert abs(np.mean(outside) - (1 - prob)) < 4 * error


def test_the_number_of_simulations_shows_the_shift_it_was_asked_for():
    n = int(np.ceil(sbc.simulations_needed(0.5)))
    scores = np.random.default_rng(1).normal(0.5, 1, size=(4000, n)).mean(axis=1) * np.sqrt(n)
    power = (np.abs(scores) > 1.96).mean()
    assert abs(power - 0.8) < 0.03
    np.testing.assert_allclose(sbc.simulations_needed([0.1]) / sbc.simulations_needed([0.2]), 4)
    with pytest.raises(ValueError, match="shift of 0"):
        sbc.simulations_needed(0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        sbc.simulations_needed(1, power=1)


@pytest.fixture(scope="module")
def fits():
    return sbc.load_fits()


def test_the_committed_study_is_complete(fits):
    cells = fits.groupby(["kind", "sampler"]).size()
    assert len(cells) == len(sbc.KINDS) * len(sbc.SAMPLERS)
    assert (cells == sbc.SIMULATIONS).all()
    simulations = sbc.load_simulations()
    assert len(simulations) == len(sbc.KINDS) * sbc.SIMULATIONS
    assert not simulations.duplicated(["kind", "number"]).any()
    assert simulations.notna().all().all()


def test_exact_positions_of_the_truth_are_uniform():
    """Calibration of the exact posterior, without a draw: each at one in a thousand."""
    for kind, group in sbc.load_simulations().groupby("kind"):
        for name in (*sbc.TOP_LEVEL, "b_small", "b_large"):
            p = stats.kstest(group[f"position_{name}"], "uniform").pvalue
            assert p > 1e-3, (kind, name)


def test_ranks_among_exact_draws_are_uniform(fits):
    for kind, group in fits[fits["sampler"] == "exact"].groupby("kind"):
        for name in sbc.QUANTITIES:
            u = sbc.spread_ranks(group[f"rank_{name}"], seed=2)
            assert stats.kstest(u, "uniform").pvalue > 1e-3, (kind, name)


def test_the_study_writes_what_its_tasks_return(fits, monkeypatch, tmp_path):
    """Fed with the committed rows in the order of the tasks, it writes the committed files."""
    rows = fits.merge(sbc.load_simulations(), on=["kind", "number"])
    known = [name for name in rows if name not in fits]
    rows.loc[rows["sampler"] != "exact", known] = np.nan

    def run_tasks(work, tasks, store, *, scheduler, workers):
        assert (work, scheduler, workers) == (sbc.calibrate, None, 2)
        return pd.DataFrame(tasks).merge(rows, on=["kind", "number"])

    monkeypatch.setattr(sbc, "run_tasks", run_tasks)
    monkeypatch.setattr(sbc, "_FOLDER", tmp_path / "sbc")
    sbc.study(workers=2)
    pd.testing.assert_frame_equal(sbc.load_fits(), fits)
    written = json.loads((tmp_path / "sbc" / "versions.json").read_text())
    assert written["simulations"] == 2 * sbc.SIMULATIONS
    assert written.keys() == json.loads((data.DATA / "sbc" / "versions.json").read_text()).keys()
    again = sbc.load_simulations()
    monkeypatch.undo()
    pd.testing.assert_frame_equal(again, sbc.load_simulations())


@pytest.mark.slow
def test_a_sample_of_the_study_computed_anew_agrees(fits):
    """Exact parts are the same; of the sampled ones, healthy fits agree within their error."""
    for task in ({"kind": "prior", "number": 5}, {"kind": "posterior", "number": 17}):
        live = pd.DataFrame(sbc.calibrate(task)).set_index("sampler")
        stored = fits[(fits["kind"] == task["kind"]) & (fits["number"] == task["number"])]
        stored = stored.set_index("sampler")
        ranks = [f"rank_{name}" for name in sbc.QUANTITIES]
        assert (live.loc["exact", ranks] == stored.loc["exact", ranks]).all()
        exact_columns = [c for c in stored if c.startswith(("cdf_", "shift_"))]
        np.testing.assert_allclose(
            live.loc["exact", exact_columns].astype(float),
            stored.loc["exact", exact_columns].astype(float),
            rtol=1e-3,
            atol=1e-5,
        )
        for name in sbc.TOP_LEVEL:
            # Errors of two means of some 400 or more effective draws.
            gap = live.loc["noncentered", f"shift_{name}"]
            gap -= stored.loc["noncentered", f"shift_{name}"]
            assert abs(gap) < 4 * np.sqrt(2 / 400), name
