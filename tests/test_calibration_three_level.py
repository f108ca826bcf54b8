"""Calibration of the three-level model: its survey, its simulations, and the committed study."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

from funnel import data, priors
from funnel.calibration import sbc, three_level


def test_the_survey_follows_its_rule():
    homes, whole = three_level.survey(), data.load_radon_us()
    assert set(three_level.STATES) == set(whole["state"].value_counts().index[:4])
    assert tuple(homes["state"].cat.categories) == three_level.STATES
    counties = homes.groupby("county", observed=True)["state"].agg(["first", "size"])
    assert (counties["first"].value_counts() == 8).all()
    assert counties["size"].max() <= 20
    # All homes of a county, and of those to choose from the ends of the range of uranium.
    kept = whole[whole["county"].isin(counties.index)]
    assert sorted(kept["log_radon"]) == sorted(homes["log_radon"])
    size = whole["county"].map(whole["county"].value_counts()).astype(int)
    for state in three_level.STATES:
        soil = whole[(whole["state"] == state) & (size <= 20)]["log_uranium"]
        ours = homes.loc[homes["state"] == state, "log_uranium"]
        assert (ours.min(), ours.max()) == (soil.min(), soil.max())
    # Some have no first floor: their slope is known from the others alone.
    assert (homes.groupby("county", observed=True)["floor"].max() == 0).sum() >= 3


def test_a_simulation_is_its_number():
    (truth, homes), (same, again), (_, other) = (
        three_level.simulate("right", n) for n in (3, 3, 4)
    )
    pd.testing.assert_frame_equal(homes, again)
    xr.testing.assert_identical(truth, same)
    assert not np.allclose(homes["log_radon"], other["log_radon"])
    real = three_level.survey()
    pd.testing.assert_frame_equal(homes.drop(columns="log_radon"), real.drop(columns="log_radon"))


def residuals(kind, numbers):
    """Standardize everything that is random given the top level."""
    z = {name: [] for name in ("alpha", "a", "b", "noise", "home")}
    for number in numbers:
        truth, homes = three_level.simulate(kind, number)
        t = truth.isel(chain=0, draw=0)
        top = {name: t[name].item() for name in (*three_level.PRIORS, "rho")}
        place = homes.drop_duplicates("county").set_index("county").loc[t["county"].to_numpy()]
        soil = place["log_uranium"] - place["log_uranium"].mean()
        alpha = t["alpha"].to_series()
        a = (t["a"].to_series() - place["state"].astype(str).map(alpha)) - top["gamma"] * soil
        a /= top["sigma_a"]
        z["a"] += list(a)
        b = (t["b"].to_series() - top["mu_b"]) / top["sigma_b"] - top["rho"] * a
        z["b"] += list(b / np.sqrt(1 - top["rho"] ** 2))
        z["alpha"] += list((alpha - top["mu_a"]) / top["sigma_s"])
        z["noise"] += list(np.log(t["sigma_home"] / top["sigma_y"]).to_numpy() / top["omega"])
        mean = homes["county"].map(t["a"].to_series()).astype(float)
        mean += homes["county"].map(t["b"].to_series()).astype(float) * homes["floor"]
        sd = homes["state"].map(t["sigma_home"].to_series()).astype(float)
        z["home"] += list((homes["log_radon"] - mean) / sd)
    return {name: np.array(values) for name, values in z.items()}


def test_simulations_are_of_the_model_and_faults_are_not():
    for name, z in residuals("right", range(60)).items():
        assert stats.kstest(z, "norm").pvalue > 1e-3, name
        assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / z.size), name
    assert stats.kstest(residuals("flipped", range(60))["b"], "norm").pvalue < 1e-4
    assert stats.kstest(residuals("no uranium", range(60))["a"], "norm").pvalue < 1e-4


def test_a_fault_changes_one_thing():
    right, homes = three_level.simulate("right", 7)
    for kind, changed in (("flipped", ["b"]), ("no uranium", ["a"])):
        truth, other = three_level.simulate(kind, 7)
        assert [k for k in right if not np.array_equal(right[k], truth[k])] == changed
        assert not np.allclose(homes["log_radon"], other["log_radon"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("left", 0), "kind must be one of"), (("right", -1), "number must be at least 0, got -1")],
)
def test_what_cannot_be_simulated_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        three_level.simulate(*arguments)


def test_truths_come_from_the_priors_that_are_fitted():
    truths = [three_level.simulate("right", n)[0] for n in range(400)]
    model = three_level._model(three_level.survey())
    at = np.array([0.05, 0.3, 1.0])
    for name, prior in three_level.PRIORS.items():
        drawn = np.array([truth[name].item() for truth in truths])
        normal = isinstance(prior, priors.Normal)
        cdf = stats.norm(prior.mean, prior.sd).cdf if normal else prior.cdf
        assert stats.kstest(drawn, cdf).pvalue > 1e-3, name
        np.testing.assert_allclose(pm.logp(model[name], at).eval(), prior.logpdf(at), rtol=1e-8)
    share = [(truth["rho"].item() + 1) / 2 for truth in truths]
    assert stats.kstest(share, stats.beta(2, 2).cdf).pvalue > 1e-3
    at = np.array([0.1, 0.5, 0.8])
    expected = stats.beta(2, 2).logpdf(at)
    np.testing.assert_allclose(pm.logp(model["rho_share"], at).eval(), expected, rtol=1e-5)


def test_data_swapped_in_are_the_model_of_those_homes():
    _, homes = three_level.simulate("right", 11)
    swapped, fresh = three_level._swappable(), three_level._model(homes)
    with swapped:
        pm.set_data(three_level._sufficient(homes))
    rng = np.random.default_rng(1)
    start = fresh.initial_point()
    ours, theirs = swapped.compile_logp(), fresh.compile_logp()
    for _ in range(3):
        point = {k: v + 0.3 * rng.normal(size=np.shape(v)) for k, v in start.items()}
        assert ours(point) == pytest.approx(theirs(point), rel=1e-12)


def test_the_log_likelihood_is_a_sum_over_homes():
    truth, homes = three_level.simulate("right", 2)
    t = truth.isel(chain=0, draw=0)
    mean = [t["a"].sel(county=c).item() for c in homes["county"]]
    mean += [t["b"].sel(county=c).item() for c in homes["county"]] * homes["floor"].to_numpy()
    sd = [t["sigma_home"].sel(state=s).item() for s in homes["state"]]
    measured = three_level.measure(homes, truth)
    expected = stats.norm.logpdf(homes["log_radon"], mean, sd).sum()
    assert measured["log_likelihood"].item() == pytest.approx(expected)
    assert measured["alpha_ND"].item() == t["alpha"].sel(state="ND").item()
    assert tuple(measured) == three_level.QUANTITIES


def uniform_ranks(rng, size):
    ranks = {f"rank_{q}": rng.integers(0, 100, size) for q in three_level.QUANTITIES}
    return pd.DataFrame(ranks)


def test_uniform_ranks_leave_any_band_once_in_twenty_times():
    rng = np.random.default_rng(3)
    any_left = [three_level.leaves_band(uniform_ranks(rng, 100), 1).any() for _ in range(300)]
    error = 0.05 * np.sqrt(1 / 50) + np.sqrt(0.05 * 0.95 / 300)
    assert abs(np.mean(any_left) - 0.05) < 4 * error


def test_ranks_that_are_not_uniform_are_named():
    rng = np.random.default_rng(4)
    fits = uniform_ranks(rng, 400)
    u = stats.norm.cdf(rng.normal(0.3, 1, 400))
    fits["rank_rho"] = (100 * u).astype(int)
    left = three_level.leaves_band(fits, seed=1)
    assert list(left[left].index) == ["rho"]


@pytest.fixture(scope="module")
def fits():
    return three_level.load_fits()


def test_the_committed_study_is_complete(fits):
    assert (fits.groupby("kind").size()[list(three_level.KINDS)] == 400).all()
    assert three_level.SIMULATIONS == 400
    assert not fits.duplicated(["kind", "number"]).any()
    assert fits.notna().all().all()


def test_the_model_is_calibrated(fits):
    """All quantities at once, at a level of 5% or less, whatever spreads the ranks."""
    right = fits[fits["kind"] == "right"]
    for seed in (1, 2, 3):
        left = three_level.leaves_band(right, seed)
        assert not left.any(), left[left].index


@pytest.mark.parametrize(("kind", "name"), [("flipped", "rho"), ("no uranium", "gamma")])
def test_a_fault_is_found_in_every_hundred_and_named(fits, kind, name):
    faulty = fits[fits["kind"] == kind]
    left = three_level.leaves_band(faulty, seed=1)
    assert list(left[left].index) == [name]
    for hundred in range(4):
        part = faulty[faulty["number"] // 100 == hundred]
        assert three_level.leaves_band(part, seed=1)[name]


def test_the_fits_of_the_study_are_healthy(fits):
    assert fits["divergences"].sum() == 0
    assert fits["warned"].mean() < 0.1
    # Well above the number of draws that are ranked among.
    assert fits["ess_bulk"].quantile(0.01) > 2 * sbc.RANKED


def test_the_study_writes_what_its_tasks_return(fits, monkeypatch, tmp_path):
    def run_tasks(work, tasks, store, *, scheduler, workers):
        assert (work, scheduler, workers) == (three_level.calibrate, None, 2)
        return pd.DataFrame(tasks).merge(fits, on=["kind", "number"])

    monkeypatch.setattr(three_level, "run_tasks", run_tasks)
    monkeypatch.setattr(three_level, "_FOLDER", tmp_path / "result")
    three_level.study(workers=2)
    pd.testing.assert_frame_equal(three_level.load_fits(), fits)


@pytest.mark.slow
def test_a_sample_of_the_study_computed_anew_agrees(fits):
    """Other draws of the same posterior give ranks that differ as two binomial counts do."""
    for task in [{"kind": kind, "number": 31} for kind in three_level.KINDS]:
        (live,) = three_level.calibrate(task)
        (row,) = fits[(fits["kind"] == task["kind"]) & (fits["number"] == task["number"])].index
        for name in three_level.QUANTITIES:
            ranks = np.array([live[f"rank_{name}"], fits.loc[row, f"rank_{name}"]])
            p = (ranks.mean() + 1) / (sbc.RANKED + 2)
            error = np.sqrt(2 * sbc.RANKED * p * (1 - p))
            assert abs(np.diff(ranks)[0]) < 4 * error, (task, name)


@pytest.mark.slow
def test_scales_near_zero_are_why_the_priors_are_not_the_chapters(monkeypatch):
    """Under half-normal priors of the scales most fits are warned: here, 5 of 6 or more."""
    small = dict.fromkeys(("sigma_s", "sigma_a", "omega"), priors.HalfNormal(0.5))
    chapters = three_level.PRIORS | small | {"sigma_y": priors.HalfNormal(1)}
    monkeypatch.setattr(three_level, "PRIORS", chapters)
    three_level._compile.cache_clear()
    try:
        rows = [three_level.calibrate({"kind": "right", "number": n})[0] for n in range(6)]
    finally:
        three_level._compile.cache_clear()
    assert sum(row["warned"] for row in rows) >= 5
