"""Checks of a three-level model that need its counties integrated out.

Given everything but its own two effects, a county of :func:`funnel.models.three_level`
is normal, so that its homes have a density in closed form. With that density a county
can be left out of a fit without fitting again: by importance weights, over the draws at
hand, that take back what the county's homes said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logsumexp, ndtr

from funnel.data import check_states

__all__ = [
    "LeftOut",
    "county_log_likelihood",
    "floor_means",
    "home_log_likelihood",
    "leave_counties_out",
    "sigma_home",
]

_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class LeftOut:
    """What a model says of each county after all homes of that county were left out.

    Attributes
    ----------
    summary : DataFrame
        One row per county: ``homes``; ``elpd``, the log density of its homes, together,
        as the others predict them; ``pareto_k``, by which the weights are judged.
    log_weights : xarray.DataArray
        Dimensions ``chain``, ``draw`` and ``county``: the smoothed weights of the draws,
        as logarithms; for each county they sum to 1.
    """

    summary: pd.DataFrame
    log_weights: xr.DataArray


def county_log_likelihood(homes: pd.DataFrame, draws: xr.DataTree) -> xr.DataArray:
    """Log density of each county's homes, the county's own effects integrated out.

    Parameters
    ----------
    homes : DataFrame
        The homes that the model was fitted to, or others of the same counties.
    draws : DataTree
        A fit of :func:`funnel.models.three_level` (group ``posterior``).

    Returns
    -------
    DataArray
        Dimensions ``chain``, ``draw``, ``county``, in the order of the categories.

    Raises
    ------
    ValueError
        If `homes` is not a table of homes in counties in states.
    TypeError
        If `draws` is not such a fit.

    Notes
    -----
    As in :func:`funnel.models.marginal_slopes`, for two effects with correlation: take
    ``d = (sqrt(n0) (m0 - mean0), sqrt(n1) (m1 - mean1))``, with ``n`` homes of mean ``m``
    on each floor. It is normal with covariance ``sigma^2 I + A S A'``, where ``S`` is the
    covariance of intercept and slope and ``A = [[sqrt(n0), 0], [sqrt(n1), sqrt(n1)]]``,
    and the deviations of the homes from ``m`` depend on ``sigma`` alone.
    """
    homes, post = check_states(homes), _posterior(draws)
    table = _counties(homes)
    n0, n1, m0, m1, within = (
        xr.DataArray(table[column].to_numpy(float), dims="county", coords={"county": table.index})
        for column in ("n0", "n1", "m0", "m1", "within")
    )
    mean = _county_mean(table, post)
    va, vb = post["sigma_a"] ** 2, post["sigma_b"] ** 2
    cov = post["rho"] * post["sigma_a"] * post["sigma_b"]
    vy = sigma_home(table["state"], post) ** 2
    d0, d1 = np.sqrt(n0) * (m0 - mean), np.sqrt(n1) * (m1 - mean - post["mu_b"])
    v0, v1, v01 = vy + n0 * va, vy + n1 * (va + 2 * cov + vb), np.sqrt(n0 * n1) * (va + cov)
    # The determinant, as a sum in which nothing cancels.
    det = vy * (vy + n0 * va + n1 * (va + 2 * cov + vb)) + n0 * n1 * (va * vb - cov**2)
    square = (v1 * d0**2 - 2 * v01 * d0 * d1 + v0 * d1**2) / det
    n = n0 + n1
    result = -0.5 * (n * _LOG_2PI + np.log(det) + square + (n - 2) * np.log(vy) + within / vy)
    return result.transpose("chain", "draw", "county").rename("county_log_likelihood")


def home_log_likelihood(homes: pd.DataFrame, draws: xr.DataTree) -> xr.DataArray:
    """Log density of each home, given its county's effects.

    Parameters
    ----------
    homes, draws
        As in :func:`county_log_likelihood`. The result has a number for each draw and
        home: thin the draws of a large survey.

    Returns
    -------
    DataArray
        Dimensions ``chain``, ``draw``, ``home``.

    Raises
    ------
    ValueError, TypeError
        As :func:`county_log_likelihood`.
    """
    homes, post = check_states(homes), _posterior(draws)
    county = xr.DataArray(homes["county"].to_numpy(str), dims="home")
    floor = xr.DataArray(homes["floor"].to_numpy(float), dims="home")
    y = xr.DataArray(homes["log_radon"].to_numpy(float), dims="home")
    mean = post["a"].sel(county=county) + post["b"].sel(county=county) * floor
    sd = sigma_home(homes["state"], post, dim="home")
    result = -0.5 * (((y - mean) / sd) ** 2 + _LOG_2PI) - np.log(sd)
    result = result.drop_vars(["county", "state"], errors="ignore")
    result = result.assign_coords(home=np.arange(len(homes)))
    return result.transpose("chain", "draw", "home").rename("y")


def leave_counties_out(homes: pd.DataFrame, draws: xr.DataTree) -> LeftOut:
    """Leave out each county in turn, without fitting again.

    The draws without county ``j`` are those at hand with weights proportional to
    ``1 / p(homes of j | parameters)``, the county's effects integrated out: Merkle, Furr
    and Rabe-Hesketh (2019), "Bayesian comparison of latent variable models: Conditional
    versus marginal likelihoods", *Psychometrika* 84. The weights are Pareto-smoothed:
    Vehtari, Simpson, Gelman, Yao and Gabry (2024), "Pareto smoothed importance
    sampling", *Journal of Machine Learning Research* 25(72).

    Parameters
    ----------
    homes, draws
        As in :func:`county_log_likelihood`: the homes must be those of the fit.

    Returns
    -------
    LeftOut

    Raises
    ------
    ValueError, TypeError
        As :func:`county_log_likelihood`.
    """
    import arviz  # noqa: F401  (gives arrays the accessor azstats)

    log_lik = county_log_likelihood(homes, draws)
    # ArviZ takes log likelihoods here, and weights by their inverse.
    log_weights, k = log_lik.azstats.psislw(dim=["chain", "draw"])
    log_weights = log_weights.transpose("chain", "draw", "county")
    terms = log_weights + log_lik
    elpd = xr.apply_ufunc(
        logsumexp, terms, input_core_dims=[["chain", "draw"]], kwargs={"axis": (-2, -1)}
    )
    table = _counties(check_states(homes))
    summary = pd.DataFrame(
        {"homes": table["n0"] + table["n1"], "elpd": elpd.to_series(), "pareto_k": k.to_series()}
    )
    return LeftOut(summary, log_weights)


def floor_means(homes: pd.DataFrame, draws: xr.DataTree, left_out: LeftOut) -> pd.DataFrame:
    """Compare each county's mean reading on each floor with what the other counties say.

    Parameters
    ----------
    homes, draws
        As in :func:`county_log_likelihood`.
    left_out : LeftOut
        From :func:`leave_counties_out`, of the same two.

    Returns
    -------
    DataFrame
        One row per county and floor with a home: ``county``, ``floor``, ``homes``, their
        ``mean`` (in log pCi/L), the ``predicted`` mean, and ``below``, the probability
        that the prediction gives to a mean below the one seen. If the model is right,
        it is uniform.

    Raises
    ------
    ValueError, TypeError
        As :func:`county_log_likelihood`.
    """
    homes, post = check_states(homes), _posterior(draws)
    table = _counties(homes)
    weight = np.exp(left_out.log_weights)
    base, vy = _county_mean(table, post), sigma_home(table["state"], post) ** 2
    cov = post["rho"] * post["sigma_a"] * post["sigma_b"]
    rows = []
    for floor in (0, 1):
        variance = post["sigma_a"] ** 2 + floor * (2 * cov + post["sigma_b"] ** 2)
        n = xr.DataArray(table[f"n{floor}"].to_numpy(float), dims="county")
        seen = xr.DataArray(table[f"m{floor}"].to_numpy(float), dims="county")
        mean = base + floor * post["mu_b"]
        z = (seen - mean) / np.sqrt(variance + vy / n.where(n > 0, 1))
        below = (weight * xr.apply_ufunc(ndtr, z)).sum(["chain", "draw"])
        columns = {"homes": table[f"n{floor}"], "mean": table[f"m{floor}"]}
        columns["predicted"] = (weight * mean).sum(["chain", "draw"]).to_series()
        columns["below"] = below.to_series()
        rows.append(pd.DataFrame(columns).assign(floor=floor).query("homes > 0").reset_index())
    return pd.concat(rows, ignore_index=True)


def sigma_home(states: pd.Series, posterior: xr.Dataset, *, dim: str = "county") -> xr.DataArray:
    """Look up the standard deviation of the homes of each of `states`.

    Parameters
    ----------
    states : Series
        Names of states; its index labels `dim`.
    posterior : Dataset
        Draws of :func:`funnel.models.three_level`.
    dim : str
        Name of the result's dimension.

    Returns
    -------
    DataArray
        Of the draws' dimensions and, if the noise is that of the state, `dim`.
    """
    if "sigma_home" not in posterior:
        return posterior["sigma_y"]
    names = xr.DataArray(states.to_numpy(str), dims=dim, coords={dim: np.asarray(states.index)})
    return posterior["sigma_home"].sel(state=names).drop_vars("state")


def _posterior(draws: xr.DataTree) -> xr.Dataset:
    if isinstance(draws, xr.DataTree) and "posterior" in draws.children:
        posterior = draws["posterior"].dataset
        if {"alpha", "gamma", "rho"} <= set(posterior):
            return posterior
    raise TypeError(f"not a fit of the three-level model: {type(draws).__name__}")


def _county_mean(table: pd.DataFrame, posterior: xr.Dataset) -> xr.DataArray:
    """Mean of each county's intercept, before its homes are seen."""
    index = {"county": np.asarray(table.index)}
    states = xr.DataArray(table["state"].to_numpy(str), dims="county", coords=index)
    soil = xr.DataArray(table["soil"].to_numpy(), dims="county", coords=index)
    return posterior["alpha"].sel(state=states).drop_vars("state") + posterior["gamma"] * soil


def _counties(homes: pd.DataFrame) -> pd.DataFrame:
    """Reduce each county to its homes, means and sum of squares."""
    table = homes.groupby("county", observed=False)[["state", "log_uranium"]].first()
    table["soil"] = table["log_uranium"] - table["log_uranium"].mean()
    cells = homes.groupby(["county", "floor"], observed=True)["log_radon"]
    squares = (homes["log_radon"] - cells.transform("mean")) ** 2
    table["within"] = squares.groupby(homes["county"], observed=False).sum()
    for name, values in (("n", cells.size()), ("m", cells.mean())):
        by_floor = values.unstack().reindex(table.index).reindex(columns=[0, 1]).fillna(0)
        table[[f"{name}0", f"{name}1"]] = by_floor.to_numpy()
    table.index = table.index.astype(str).rename("county")
    return table
