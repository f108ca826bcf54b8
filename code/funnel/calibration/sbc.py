"""Simulation-based calibration of two samplers, with the exact posterior beside it.

Draw parameters from the prior and homes from the parameters, fit, and count how
many draws lie below the parameters that made the homes. If the draws come from
the posterior, this *rank* is uniform: Talts, Betancourt, Simpson, Vehtari and
Gelman (2018), arXiv:1804.06788, theorem 1. In *posterior* calibration the
parameters come from the posterior given the real homes, and the fit is to real
and simulated homes together: Säilynoja, Schmitt, Bürkner and Vehtari (2025),
arXiv:2502.03279.

The model is :func:`funnel.models.varying_slopes` on the design of the Minnesota
survey, its slopes centered or noncentered. For every simulated data set the exact
posterior is known. So each fit is also told how wrong it is, which calibration on
its own, being a statement about many fits, cannot do.

The study is run by ``make study``, its result is in ``data/sbc``, and
:func:`load_fits` and :func:`load_simulations` read it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import arviz as az
import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import special

from funnel import exact, fitting, models
from funnel.calibration.mapping import run_tasks, write_result
from funnel.data import DATA, load_radon
from funnel.priors import ESSAY, HalfNormal, Hyperpriors, LogNormal, Normal, ScalePrior

__all__ = [
    "ALIKE",
    "KINDS",
    "LARGE",
    "QUANTITIES",
    "RADON_LIKE",
    "RANKED",
    "SAMPLERS",
    "SMALL",
    "TOP_LEVEL",
    "Simulation",
    "calibrate",
    "count_below",
    "diagnose_run",
    "draw_prior",
    "draw_top",
    "ecdf_difference",
    "fit_slopes",
    "load_fits",
    "load_simulations",
    "log_likelihood",
    "make_swappable",
    "measure",
    "simulate",
    "simulations_needed",
    "spread_ranks",
    "study",
]

Array = NDArray[np.float64]
Kind = Literal["prior", "posterior"]
Sampler = Literal["exact", "centered", "noncentered"]

#: What the parameters of a simulation are drawn from.
KINDS: tuple[Kind, ...] = ("prior", "posterior")
#: Where the draws of a fit come from; the last two name the parameterization of the slopes.
SAMPLERS: tuple[Sampler, ...] = ("exact", "centered", "noncentered")
#: Simulations of each kind in the study.
SIMULATIONS = 400

#: Counties whose slopes are ranked: without a first-floor home, and with the most of them.
SMALL, LARGE = "Steele", "St. Louis"
TOP_LEVEL = ("mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y")
#: What is ranked: parameters, two slopes, and the log likelihood of the homes.
QUANTITIES = (*TOP_LEVEL, "b_small", "b_large", "log_likelihood")
#: Counties count as alike if `sigma_b` is below it, as in the chapter *The funnel*.
ALIKE = 0.05

#: Draws that a truth is ranked among, evenly spaced among all draws of a fit.
RANKED = 99
#: The quantiles that a fit reports, which the exact distribution function then judges.
REPORTED = (0.05, 0.5, 0.95)

_CHAINS, _TUNE, _DRAWS, _TARGET_ACCEPT = 4, 500, 1000, 0.9
_FOLDER = DATA / "sbc"


#: Other surveys like Minnesota's. The four parameters that its homes pin down vary by as
#: much as they might from state to state, around their posterior means there; `sigma_b`,
#: which the homes leave open, may be anything from zero to where two counties in three
#: differ by a factor of two. Under half-normal(1) scales most simulated surveys look like no
#: survey of radon.
RADON_LIKE = Hyperpriors(
    mu_a=Normal(1.5, 0.3),
    sigma_a=LogNormal(0.33, 0.25),
    mu_b=Normal(-0.7, 0.3),
    sigma_b=HalfNormal(0.35),
    sigma_y=LogNormal(0.75, 0.15),
)


@dataclass(frozen=True)
class Simulation:
    """Parameters that are known because they were drawn, and homes to recover them from.

    Attributes
    ----------
    truth : xarray.Dataset
        The parameters, with dimensions ``chain`` and ``draw`` of length 1, as draws have
        them; ``a`` and ``b`` have one value per county as well.
    homes : pandas.DataFrame
        The homes to fit. In posterior calibration, the real ones and the simulated ones.
    priors : Hyperpriors
        The prior to fit with.
    """

    truth: xr.Dataset
    homes: pd.DataFrame
    priors: Hyperpriors


def simulate(kind: Kind, number: int) -> Simulation:
    """Draw parameters, and then the log radon of every home of the survey from them.

    Parameters
    ----------
    kind : {"prior", "posterior"}
        Draw the parameters from the prior `RADON_LIKE`, or from the exact posterior given
        the real homes and the priors `ESSAY`.
    number : int
        Which simulation, from 0. It is the seed: the same number gives the same homes.

    Returns
    -------
    Simulation

    Raises
    ------
    ValueError
        If there is no such kind, or `number` is negative.
    """
    rng = np.random.default_rng(_seed(kind, number, "simulation"))
    homes = load_radon()
    if kind == "prior":
        truth = draw_prior(RADON_LIKE, rng)
    else:
        seed = _seed(kind, number, "truth")
        truth = _minnesota().draws(4, seed).posterior.dataset.isel(chain=[0], draw=[0])
    effects = {name: truth[name].to_numpy().ravel() for name in ("a", "b")}
    county, floor = homes["county"].cat.codes.to_numpy(), homes["floor"].to_numpy()
    mean = effects["a"][county] + effects["b"][county] * floor
    simulated = homes.assign(log_radon=rng.normal(mean, truth["sigma_y"].item()))
    if kind == "prior":
        return Simulation(truth, simulated, RADON_LIKE)
    return Simulation(truth, pd.concat([homes, simulated], ignore_index=True), ESSAY)


@lru_cache(maxsize=1)
def _minnesota() -> exact.ExactPosterior:
    return exact.varying_slopes(load_radon(), ESSAY)


def draw_prior(priors: Hyperpriors, seed: int | np.random.Generator, n: int = 1) -> xr.Dataset:
    """Draw all parameters from the prior, for the counties of the survey.

    Parameters
    ----------
    priors : Hyperpriors
        Prior of the top-level parameters.
    seed : int or Generator
        The same seed gives the same draws; a generator goes on from where it is.
    n : int
        Number of draws.

    Returns
    -------
    xarray.Dataset
        Dimensions ``chain``, of length 1, and ``draw``; for ``a`` and ``b`` the counties too.
    """
    rng = np.random.default_rng(seed)
    counties = load_radon()["county"].cat.categories.to_numpy()
    values = {name: draw_top(getattr(priors, name), rng, n) for name in TOP_LEVEL}
    for name in ("a", "b"):
        z = rng.standard_normal((n, len(counties)))
        values[name] = values[f"mu_{name}"][:, None] + values[f"sigma_{name}"][:, None] * z
    dims = ("chain", "draw", "county")
    return xr.Dataset(
        {name: (dims[: 1 + value.ndim], value[None]) for name, value in values.items()},
        coords={"county": counties},
    )


def draw_top(prior: Normal | ScalePrior, rng: np.random.Generator, n: int = 1) -> Array:
    """Draw a top-level parameter from its prior.

    Parameters
    ----------
    prior : Normal or ScalePrior
        Of a mean, or of a scale.
    rng : Generator
        It goes on from where it is.
    n : int
        Number of draws.

    Returns
    -------
    ndarray
        Shape ``(n,)``.
    """
    if isinstance(prior, Normal):
        return rng.normal(prior.mean, prior.sd, n)
    return prior.quantile(rng.uniform(size=n))


def log_likelihood(homes: pd.DataFrame, draws: xr.Dataset) -> xr.DataArray:
    """Log density of all homes given the parameters, for every draw.

    It depends on the homes as well as on the parameters, and that is what makes it worth
    ranking: Modrák and others (2025), *Bayesian Analysis* 20(2), section 3.

    Parameters
    ----------
    homes : pandas.DataFrame
        The homes that were fitted.
    draws : xarray.Dataset
        Draws of ``a``, ``b`` (with the counties of `homes`) and ``sigma_y``.

    Returns
    -------
    xarray.DataArray
        Dimensions ``chain`` and ``draw``.
    """
    cells = homes.groupby(["county", "floor"], observed=False)["log_radon"]
    count, mean = cells.size().to_xarray(), cells.mean().fillna(0.0).to_xarray()
    within = float(((homes["log_radon"] - cells.transform("mean")) ** 2).sum())
    # Around the line of its county, a home has the deviation of its cell's mean and its own.
    miss = mean - (draws["a"] + mean["floor"] * draws["b"])
    square = within + (count * miss**2).sum(["county", "floor"])
    variance = draws["sigma_y"] ** 2
    return -0.5 * (len(homes) * np.log(2 * math.pi * variance) + square / variance)


def measure(homes: pd.DataFrame, draws: xr.Dataset) -> xr.Dataset:
    """Compute everything that is ranked, for every draw.

    Parameters
    ----------
    homes : pandas.DataFrame
        The homes that were fitted.
    draws : xarray.Dataset
        Draws of all parameters, or the one draw that made the homes.

    Returns
    -------
    xarray.Dataset
        The `QUANTITIES`, with dimensions ``chain`` and ``draw``.
    """
    table = {name: draws[name] for name in TOP_LEVEL}
    for name, county in (("b_small", SMALL), ("b_large", LARGE)):
        table[name] = draws["b"].sel(county=county, drop=True)
    table["log_likelihood"] = log_likelihood(homes, draws)
    return xr.Dataset(table)


def count_below(draws: ArrayLike, truth: float) -> int:
    """Rank a truth among draws that are far enough apart to be nearly independent.

    `RANKED` draws, evenly spaced among all of them, are compared with the truth. They are
    as good as independent if the effective sample size is well above `RANKED`.

    Parameters
    ----------
    draws : array_like
        Draws of one quantity, of shape (chains, draws); more than `RANKED` in all.
    truth : float
        The value that made the data.

    Returns
    -------
    int
        How many of the draws lie below, from 0 to `RANKED`.

    Raises
    ------
    ValueError
        If there are too few draws.
    """
    flat = np.ravel(draws)
    step = flat.size // (RANKED + 1)
    if step < 1:
        raise ValueError(f"a rank needs more than {RANKED} draws, got {flat.size}")
    return int((flat[step // 2 :: step][:RANKED] < truth).sum())


def fit_slopes(
    simulation: Simulation, slopes: Literal["centered", "noncentered"], seed: int
) -> xr.DataTree:
    """Fit the model to simulated homes: NUTS, one thread, compiled once for all of a kind.

    The intercepts are centered. There are 4 chains of 500 tuning and 1,000 kept draws with
    a target acceptance of 0.9.

    Parameters
    ----------
    simulation : Simulation
        What to fit.
    slopes : {"centered", "noncentered"}
        Parameterization of the slopes.
    seed : int
        Seed of the sampler.

    Returns
    -------
    xarray.DataTree
        With ``posterior`` and ``sample_stats``, as the sampler names them.
    """
    compiled = _compile(simulation.priors, len(simulation.homes), slopes)
    return nutpie.sample(
        compiled.with_data(log_radon=simulation.homes["log_radon"].to_numpy(float)),
        seed=seed,
        chains=_CHAINS,
        cores=1,
        tune=_TUNE,
        draws=_DRAWS,
        target_accept=_TARGET_ACCEPT,
        save_warmup=False,
        progress_bar=False,
    )


@lru_cache(maxsize=4)
def _compile(
    priors: Hyperpriors, size: int, slopes: Literal["centered", "noncentered"]
) -> nutpie.sample.CompiledModel:
    homes = load_radon()
    homes = pd.concat([homes] * (size // len(homes)), ignore_index=True)
    return nutpie.compile_pymc_model(_swappable(homes, priors, slopes))


def _swappable(homes: pd.DataFrame, priors: Hyperpriors, slopes: str) -> pm.Model:
    """Build the model with its measurements in a variable whose value can be exchanged."""
    model = models.varying_slopes(homes, priors, intercepts="centered", slopes=slopes)
    make_swappable(model, "y", "log_radon")
    return model


def make_swappable(model: pm.Model, observed: str, name: str) -> None:
    """Keep what was observed in a variable whose value can be exchanged after compiling.

    Parameters
    ----------
    model : pymc.Model
        It is changed.
    observed : str
        Name of the observed variable.
    name : str
        Name of the new ``pm.Data``.
    """
    variable = model[observed]
    fixed = model.rvs_to_values[variable]
    with model:
        measured = pm.Data(name, fixed.data)
    del model.values_to_rvs[fixed]
    model.rvs_to_values[variable] = measured
    model.values_to_rvs[measured] = variable


def calibrate(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Simulate once, and fit what was simulated in every way.

    Parameters
    ----------
    task : mapping
        ``kind`` and ``number``, as for :func:`simulate`.

    Returns
    -------
    list of dict
        A row for each of the `SAMPLERS`; the columns are described in
        ``data/sbc/README.md``. The first also has what is known of the simulation itself.
    """
    kind, number = task["kind"], task["number"]
    simulation = simulate(kind, number)
    homes = simulation.homes
    posterior = exact.varying_slopes(homes, simulation.priors)
    truth = {k: v.item() for k, v in measure(homes, simulation.truth).items()}
    rows = []
    for sampler in SAMPLERS:
        seed = _seed(kind, number, sampler)
        row: dict[str, Any] = {"sampler": sampler}
        if sampler == "exact":
            run = posterior.draws(_CHAINS * _DRAWS, seed)
        else:
            run = fit_slopes(simulation, sampler, int(seed.generate_state(1)[0]))
        draws = measure(homes, run["posterior"].dataset)
        for name in QUANTITIES:
            row[f"rank_{name}"] = count_below(draws[name], truth[name])
        row |= diagnose_run(run, draws.drop_vars("log_likelihood")) | _judge(posterior, draws)
        if sampler == "exact":
            row |= {f"truth_{name}": value for name, value in truth.items()}
            row |= _positions(posterior, truth)
        rows.append(row)
    return rows


def diagnose_run(run: xr.DataTree, draws: xr.Dataset) -> dict[str, Any]:
    """Ask what one would ask of a single fit.

    Parameters
    ----------
    run : DataTree
        What the sampler returned. Without ``sample_stats``, as of exact draws, there are
        no divergences and no energy.
    draws : Dataset
        The quantities to ask about, for every draw.

    Returns
    -------
    dict
        The worst ``r_hat``, ``ess_bulk`` and ``ess_tail`` of the quantities;
        ``divergences``, ``e_bfmi`` (the smallest of a chain) and ``gradients`` of the kept
        draws; ``warned``, whether one of the thresholds of :func:`funnel.fitting.fit` is
        missed.
    """
    table = fitting.diagnose(xr.DataTree.from_dict({"posterior": draws}))
    diverged, bfmi, gradients = 0, math.nan, 0
    if "sample_stats" in run:
        diverged = fitting.divergences(run)
        bfmi = float(az.bfmi(run)["energy"].min())
        gradients = int(run["sample_stats"]["n_steps"].sum())
    return {
        "r_hat": float(table["r_hat"].max(skipna=False)),
        "ess_bulk": float(table["ess_bulk"].min(skipna=False)),
        "ess_tail": float(table["ess_tail"].min(skipna=False)),
        "divergences": diverged,
        "e_bfmi": bfmi,
        "gradients": gradients,
        "warned": not (bool(table["passed"].all()) and diverged == 0),
    }


def _judge(posterior: exact.ExactPosterior, draws: xr.Dataset) -> dict[str, float]:
    """Report quantiles and the chance of alike counties; say where the quantiles really are."""
    row = {"alike": float((draws["sigma_b"] < ALIKE).mean())}
    for name in TOP_LEVEL:
        error = float(draws[name].mean()) - posterior.mean(name)
        row[f"shift_{name}"] = float(error / posterior.sd(name))
        quantiles = np.quantile(draws[name], REPORTED)
        for level, value in zip(REPORTED, posterior.cdf(name, quantiles), strict=True):
            row[f"cdf_{100 * level:02.0f}_{name}"] = float(value)
    return row


def _positions(posterior: exact.ExactPosterior, truth: Mapping[str, float]) -> dict[str, float]:
    """Give the exact posterior probability of less than the truth: a rank without noise."""
    row = {"alike_exact": float(posterior.cdf("sigma_b", ALIKE))}
    for name in TOP_LEVEL:
        row[f"position_{name}"] = float(posterior.cdf(name, truth[name]))
    for name, county in (("b_small", SMALL), ("b_large", LARGE)):
        row[f"position_{name}"] = float(posterior.cdf("b", truth[name])[county])
    return row


def study(*, scheduler: str | None = None, workers: int | None = None) -> None:
    """Run the whole study, and write its result to ``data/sbc``.

    Parameters
    ----------
    scheduler, workers
        As in :func:`funnel.calibration.mapping.run_tasks`.
    """
    begin = time.monotonic()
    tasks = [{"kind": kind, "number": n} for n in range(SIMULATIONS) for kind in KINDS]
    store = DATA.parent / "_build" / "study" / "sbc.jsonl"
    _write(run_tasks(calibrate, tasks, store, scheduler=scheduler, workers=workers))
    print(f"{len(tasks):,} simulations, {time.monotonic() - begin:.0f} s: {_FOLDER}")


def _write(rows: pd.DataFrame) -> None:
    """Write what is known of a simulation once, and what each fit said of it."""
    about = [name for name in rows if name.startswith(("truth_", "position_", "alike_exact"))]
    rows = rows.sort_values(["kind", "number"], kind="stable", ascending=[False, True])
    tables = {
        "simulations": rows.loc[rows["sampler"] == "exact", ["kind", "number", *about]],
        "fits": rows.drop(columns=about),
    }
    write_result(_FOLDER, tables, simulations=len(tables["simulations"]))


def load_fits() -> pd.DataFrame:
    """Load what every fit of the committed study said.

    Returns
    -------
    pandas.DataFrame
        One row per fit; the columns are described in ``data/sbc/README.md``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    return pd.read_csv(_FOLDER / "fits.csv.gz")


def load_simulations() -> pd.DataFrame:
    """Load what is known of every simulation of the committed study.

    Returns
    -------
    pandas.DataFrame
        One row per simulated survey: its truth, and where the truth lies in the exact
        posterior; the columns are described in ``data/sbc/README.md``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    return pd.read_csv(_FOLDER / "simulations.csv.gz")


def spread_ranks(ranks: ArrayLike, seed: int) -> Array:
    """Turn ranks into numbers between 0 and 1 that are uniform if the ranks are.

    A rank is a whole number; each is spread evenly over its share of the interval, so that
    what holds for continuous uniform numbers holds exactly.

    Parameters
    ----------
    ranks : array_like of int
        From 0 to `RANKED`.
    seed : int
        Of the numbers that spread them.

    Returns
    -------
    ndarray
        Of the shape of `ranks`.

    Raises
    ------
    ValueError
        If a rank is not between 0 and `RANKED`.
    """
    ranks = np.asarray(ranks)
    outside = (ranks < 0) | (ranks > RANKED)
    if outside.any():
        raise ValueError(f"a rank is from 0 to {RANKED}, got {ranks[outside].ravel()[0]}")
    return (ranks + np.random.default_rng(seed).uniform(size=ranks.shape)) / (RANKED + 1)


def ecdf_difference(values: ArrayLike, prob: float = 0.95) -> pd.DataFrame:
    """Compare the distribution of values with the uniform one.

    The band holds the whole curve at once with probability `prob` if the values are
    independent and uniform: Säilynoja, Bürkner and Vehtari (2022), *Statistics and
    Computing* 32, 32. ArviZ computes it.

    Parameters
    ----------
    values : array_like
        Numbers between 0 and 1, such as ranks after :func:`spread_ranks`.
    prob : float
        Probability of the band.

    Returns
    -------
    pandas.DataFrame
        Columns ``x``; ``difference``, the share of values up to ``x`` minus ``x``; ``low``
        and ``high``, the band; and ``outside``, where the difference leaves it.

    Raises
    ------
    ValueError
        If there are fewer than 10 values, or one is not between 0 and 1.
    """
    values = np.ravel(np.asarray(values, dtype=float))
    if values.size < 10 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("at least 10 values are needed, all between 0 and 1")
    x, low, high = _band(values.size, prob)
    difference = np.searchsorted(np.sort(values), x, side="right") / values.size - x
    outside = (difference < low) | (difference > high)
    return pd.DataFrame(
        {"x": x, "difference": difference, "low": low, "high": high, "outside": outside}
    )


@lru_cache(maxsize=64)
def _band(n: int, prob: float) -> tuple[Array, Array, Array]:
    """Give where to compare, and the band of the difference there; 0 and 1 are left out."""
    # Here, because Sphinx cannot import it when it reads the docstrings.
    from arviz_stats.ecdf_utils import get_pointwise_confidence_band, simulate_confidence_bands

    x = np.arange(1, n) / n
    rng = np.random.default_rng(1)
    # So many that fifty of them leave the band.
    trials = round(50 / (1 - prob))
    pointwise = simulate_confidence_bands(n, 1, x, prob, trials, rng)
    low, high = get_pointwise_confidence_band(pointwise, n, x)
    return x, low - x, high - x


def simulations_needed(shift: ArrayLike, power: float = 0.8, level: float = 0.05) -> Array:
    """Count the simulations that show a posterior to be shifted.

    If every posterior is normal and reported `shift` standard deviations too low, the
    normal scores of the ranks have mean `shift` and variance 1, so that
    ``n = ((z_power + z_(1 - level / 2)) / shift)**2`` of them suffice for a test of that
    mean, where ``z`` are quantiles of the standard normal distribution.

    Parameters
    ----------
    shift : array_like
        Error of location, in posterior standard deviations.
    power : float
        Wanted probability that the test notices.
    level : float
        Probability that it cries wolf.

    Returns
    -------
    ndarray
        Number of simulations, of the shape of `shift`.

    Raises
    ------
    ValueError
        If a shift is 0, or a probability not between 0 and 1.
    """
    if not (0 < power < 1 and 0 < level < 1):
        raise ValueError("power and level are probabilities between 0 and 1")
    shift = np.asarray(shift, dtype=float)
    if (shift == 0).any():
        raise ValueError("no number of simulations shows a shift of 0")
    return ((special.ndtri(power) + special.ndtri(1 - level / 2)) / shift) ** 2


_STREAMS = ("simulation", "truth", *SAMPLERS)


def _seed(kind: Kind, number: int, stream: str) -> np.random.SeedSequence:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    if number < 0:
        raise ValueError(f"number must be at least 0, got {number!r}")
    return np.random.SeedSequence([KINDS.index(kind), number, _STREAMS.index(stream)])
