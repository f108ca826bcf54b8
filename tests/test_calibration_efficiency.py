"""Effective draws by truth and by estimate, their bootstrap, and the crossover."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from funnel.calibration import efficiency
from funnel.calibration.centering import QUANTITIES


def test_efficiency_is_what_independent_draws_would_err():
    """Chains whose error is that of 50 independent draws are worth 50 draws."""
    rng = np.random.default_rng(1)
    count = 4000
    fits = pd.DataFrame(
        {
            "cell": rng.permuted(np.repeat(["a", "b"], count // 2)),
            "gradients": 4 * 2000,
            "ess_bulk": 4 * 100.0,
            "divergences": np.arange(count) % 4 == 0,
        }
    )
    worth = np.where(fits["cell"] == "a", 50.0, 5.0)
    for name in QUANTITIES:
        fits[f"error_{name}"] = rng.chisquare(4, count) / 4 / worth
    table = efficiency.true_efficiency(fits, ["cell"])
    for name in QUANTITIES:
        assert abs(table.loc["a", name] / 25 - 1) < 4 * table.loc["a", f"{name}_error"]
        assert abs(table.loc["b", name] / 2.5 - 1) < 4 * table.loc["b", f"{name}_error"]
        # The relative error of a mean of 2000 times 4 squares.
        np.testing.assert_allclose(table[f"{name}_error"], np.sqrt(2 / 8000), rtol=0.15)
    np.testing.assert_allclose(table["ess"], 50)
    np.testing.assert_allclose(table["divergent"], 0.25, atol=0.05)
    assert table["fits"].sum() == count


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="no column 'error_log_tau'"):
        efficiency.true_efficiency(pd.DataFrame({"cell": [1]}), ["cell"])


def make_fits(crossing, data_sets=20, noise=0.0, seed=1):
    """Efficiencies that cross at `crossing`: noncentered falls as 1/r, centered is flat."""
    rng = np.random.default_rng(seed)
    rows = []
    for r in (0.1, 1.0, 10.0, 100.0):
        for way, worth in (("0.0", 100 * crossing / r), ("1.0", 100.0)):
            for k in range(data_sets):
                error = np.exp(noise * rng.normal()) / worth
                row = {"informativeness": r, "centeredness": way, "data_set": k}
                rows.append({**row, "error_log_tau": error, "gradients": 4 * 1000})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("crossing", [0.5, 2.0, 30.0])
def test_the_crossover_is_found_between_the_values_of_the_study(crossing):
    found = efficiency.crossover(efficiency.resample(make_fits(crossing), "log_tau", seed=1))
    np.testing.assert_allclose(found, crossing, rtol=1e-9)


@pytest.mark.parametrize(("crossing", "end"), [(0.01, 0.1), (1e4, 100.0)])
def test_a_crossover_outside_the_range_is_at_its_end(crossing, end):
    found = efficiency.crossover(efficiency.resample(make_fits(crossing), "log_tau", seed=1))
    np.testing.assert_allclose(found, end)


def test_the_bootstrap_begins_with_the_data_and_spreads_as_their_error():
    fits = make_fits(2.0, data_sets=400, noise=0.5)
    table = efficiency.resample(fits, "log_tau", seed=1, resamples=1000)
    assert table.dims == ("resample", "centeredness", "informativeness")
    errors = fits.groupby(["centeredness", "informativeness"])["error_log_tau"]
    np.testing.assert_allclose(table.isel(resample=0).to_series(), 1 / errors.mean(), rtol=1e-12)
    relative = (table.std("resample") / table.isel(resample=0)).to_series()
    np.testing.assert_allclose(relative, errors.sem() / errors.mean(), rtol=0.15)
    found = efficiency.crossover(table)
    assert abs(np.log(found[0] / 2)) < 4 * np.log(found).std()


def test_a_cell_without_a_data_set_is_refused():
    with pytest.raises(ValueError, match="every cell needs every data set"):
        efficiency.resample(make_fits(2.0).iloc[1:], "log_tau", seed=1)
    with pytest.raises(ValueError, match="no column 'error_theta'"):
        efficiency.resample(make_fits(2.0), "theta", seed=1)


def fake_run(posterior, steps, diverging=False):
    chains, draws = next(iter(posterior.values())).shape[:2]
    stats = {"n_steps": np.full((chains, draws), steps), "diverging": np.zeros((chains, draws))}
    stats["diverging"][0, 0] = diverging
    groups = {"posterior": posterior, "sample_stats": stats}
    return xr.DataTree.from_dict(
        {
            group: xr.Dataset(
                {
                    name: (("chain", "draw", "county")[: values.ndim], values)
                    for name, values in variables.items()
                }
            )
            for group, variables in groups.items()
        }
    )


def test_independent_draws_are_worth_themselves():
    rng = np.random.default_rng(1)
    posterior = {"tau": np.exp(3 * rng.normal(size=(4, 1000))), "mu": rng.normal(size=(4, 1000))}
    run = fake_run(posterior, steps=5)
    for name in posterior:
        np.testing.assert_allclose(efficiency.estimated_efficiency(run, name), 1000 / 5, rtol=0.1)


def test_only_the_top_level_decides_on_health():
    rng = np.random.default_rng(1)
    good = {"tau": rng.normal(size=(4, 1000)), "theta": rng.normal(size=(4, 1000, 2))}
    assert efficiency.is_healthy(fake_run(good, 5))
    assert not efficiency.is_healthy(fake_run(good, 5, diverging=True))
    bad_group = good["theta"] + np.arange(4)[:, None, None]
    assert efficiency.is_healthy(fake_run({**good, "theta": bad_group}, 5))
    bad_top = good["tau"] + np.arange(4)[:, None]
    assert not efficiency.is_healthy(fake_run({**good, "tau": bad_top}, 5))


def test_the_best_centeredness_is_found_in_every_resample():
    table = xr.DataArray(
        [[[1.0, 9.0], [5.0, 2.0], [4.0, 1.0]], [[1.0, 2.0], [5.0, 3.0], [6.0, 9.0]]],
        dims=("resample", "centeredness", "informativeness"),
        coords={"centeredness": ["0.0", "0.5", "1.0"], "informativeness": [1.0, 3.0]},
    )
    best = efficiency.best_centeredness(table)
    assert best.dims == ("resample", "informativeness")
    np.testing.assert_array_equal(best, [[0.5, 0.0], [1.0, 1.0]])
