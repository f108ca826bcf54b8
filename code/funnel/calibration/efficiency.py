"""What a sampler gets for its gradients: by its own estimate, and by the truth.

A gradient of the log density is what every sampler of this course spends its time on,
so *effective draws per 1,000 gradients* compares them on any machine. Of effective
draws there are two kinds.

- The effective sample size that chains estimate of themselves, by how much they agree
  (Vehtari et al. 2021, *Bayesian Analysis* 16(2)). It knows only where they have been.
- Effective draws *by truth*: the independent draws that would err as much. They are the
  exact posterior variance of a quantity over the mean squared error of a chain's mean,
  and few if the chain never goes where it ought to.
"""

from __future__ import annotations

from collections.abc import Sequence

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import isotonic_regression

from funnel import fitting
from funnel.calibration.centering import CHAINS, QUANTITIES

__all__ = [
    "best_centeredness",
    "crossover",
    "estimated_efficiency",
    "is_healthy",
    "resample",
    "true_efficiency",
]


def estimated_efficiency(draws: xr.DataTree, name: str) -> float:
    """Effective sample size of a mean, by the chains' own estimate, per 1,000 gradients.

    Parameters
    ----------
    draws : xarray.DataTree
        A fit.
    name : str
        A scalar parameter. Of a scale, whose name begins with ``sigma`` or is ``tau``,
        it is its logarithm that is judged, on which the neck takes up its room.

    Returns
    -------
    float
        Over the gradients of the kept draws.
    """
    values = draws["posterior"].dataset[[name]]
    values = np.log(values) if name.startswith("sigma") or name == "tau" else values
    gradients = int(draws["sample_stats"]["n_steps"].sum())
    return 1000 * float(az.ess(values, method="mean")[name]) / gradients


def is_healthy(draws: xr.DataTree) -> bool:
    """Say whether the top-level parameters pass the diagnostics, and nothing diverged.

    Parameters
    ----------
    draws : xarray.DataTree
        A fit.

    Returns
    -------
    bool
        By the thresholds of :func:`funnel.fitting.fit`, which asks all parameters.
    """
    posterior = draws["posterior"].dataset
    top = posterior[[name for name, values in posterior.items() if values.ndim == 2]]
    table = fitting.diagnose(xr.DataTree.from_dict({"posterior": top}))
    return bool(table["passed"].all()) and not fitting.divergences(draws)


def true_efficiency(fits: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Effective draws per 1,000 gradients, by truth, of each cell of the study.

    Parameters
    ----------
    fits : pandas.DataFrame
        Rows of :func:`funnel.calibration.centering.load_fits`.
    by : sequence of str
        Columns that make a cell.

    Returns
    -------
    pandas.DataFrame
        Indexed by `by`. For each of ``log_tau``, ``small_tau`` and ``theta`` the
        effective draws per 1,000 gradients, by truth, and its relative standard error,
        estimated over data sets, as ``log_tau_error``; ``ess``, the bulk ESS of tau that
        the chains estimate themselves, per 1,000 gradients; ``divergent``, the share of
        fits with a divergence; and ``fits``, their number.

    Raises
    ------
    ValueError
        If a column is missing.

    Notes
    -----
    With z^2 the squared error of a chain's mean over the exact variance, a chain is
    worth ``1 / E[z^2]`` independent draws. The mean is taken over the chains and data
    sets of the cell, before its reciprocal: one chain in ten that goes astray counts.
    """
    errors = [f"error_{name}" for name in QUANTITIES]
    _check_columns(fits, [*by, *errors, "gradients", "ess_bulk", "divergences"])
    cells = fits.groupby(list(by))
    thousands = cells["gradients"].mean() / CHAINS / 1000
    table = pd.DataFrame({"fits": cells.size()})
    for name in QUANTITIES:
        error = cells[f"error_{name}"]
        table[name] = 1 / error.mean() / thousands
        table[f"{name}_error"] = error.sem() / error.mean()
    table["ess"] = cells["ess_bulk"].mean() / CHAINS / thousands
    table["divergent"] = cells["divergences"].agg(lambda count: (count > 0).mean())
    return table


def resample(fits: pd.DataFrame, quantity: str, *, seed: int, resamples: int = 200) -> xr.DataArray:
    """Draw the data sets anew, with replacement, and work out the true efficiencies.

    The bootstrap of Efron (1979), *Annals of Statistics* 7(1), with data sets for units.

    Parameters
    ----------
    fits : pandas.DataFrame
        As in :func:`true_efficiency`. Rows that differ in other columns than
        ``informativeness``, ``centeredness`` and ``data_set`` are averaged.
    quantity : {"log_tau", "small_tau", "theta"}
        What the chains are asked for.
    seed : int
        Seed of the resampling.
    resamples : int
        How many times.

    Returns
    -------
    xarray.DataArray
        Effective draws per 1,000 gradients, with dimensions ``resample``,
        ``centeredness`` and ``informativeness``. The first resample is the data
        sets as they are.

    Raises
    ------
    ValueError
        If a column is missing, or there is not every data set in every cell.
    """
    axes = ["centeredness", "informativeness", "data_set"]
    _check_columns(fits, [*axes, "gradients", f"error_{quantity}"])
    means = fits.groupby(axes)[[f"error_{quantity}", "gradients"]].mean().to_xarray()
    if int(means["gradients"].isnull().sum()):
        raise ValueError("every cell needs every data set, and some are missing")
    count = means.sizes["data_set"]
    chosen = np.random.default_rng(seed).integers(count, size=(resamples, count))
    chosen[0] = np.arange(count)
    drawn = means.isel(data_set=xr.DataArray(chosen, dims=("resample", "data_set")))
    drawn = drawn.mean("data_set")
    worth = 1 / drawn[f"error_{quantity}"]
    efficiency = worth / (drawn["gradients"] / CHAINS / 1000)
    return efficiency.transpose("resample", "centeredness", "informativeness")


def crossover(efficiency: xr.DataArray) -> np.ndarray:
    """Informativeness at which centered effects become the better choice.

    Parameters
    ----------
    efficiency : xarray.DataArray
        As :func:`resample` returns it.

    Returns
    -------
    array, shape (resamples,)
        Where the ratio of the efficiencies of noncentered and centered effects passes
        one, on a straight line in log-log between the two values of the study on its
        sides. The ratio is first made to fall with informativeness (isotonic
        regression), so that there is one crossing; it is at the end of the range if the
        ratio does not pass one within it.
    """
    ratio = np.log(efficiency.sel(centeredness="0.0") / efficiency.sel(centeredness="1.0"))
    log_r = np.log(efficiency["informativeness"].to_numpy())
    crossings = []
    for row in ratio.to_numpy():
        falling = isotonic_regression(row, increasing=False).x
        # From above to below zero: turned around, it is an increasing function of the ratio.
        crossings.append(np.exp(np.interp(0.0, falling[::-1], log_r[::-1])))
    return np.array(crossings)


def best_centeredness(efficiency: xr.DataArray) -> xr.DataArray:
    """Centeredness with the highest efficiency.

    Parameters
    ----------
    efficiency : xarray.DataArray
        As :func:`resample` returns it, with numbers for centeredness only.

    Returns
    -------
    xarray.DataArray
        With dimensions ``resample`` and ``informativeness``: how much it scatters over the
        resamples is how far it is known.
    """
    ways = efficiency["centeredness"].astype(float)
    return ways[efficiency.argmax("centeredness")].drop_vars("centeredness")


def _check_columns(fits: pd.DataFrame, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in fits]
    if missing:
        raise ValueError(f"fits have no column {missing[0]!r}; they have {list(fits)}")
