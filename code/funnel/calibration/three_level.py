"""Simulation-based calibration of the three-level model, which has no exact posterior.

The method is that of :mod:`funnel.calibration.sbc`. The model is
:func:`funnel.models.three_level` as the chapter *Twelve thousand homes* ends with it, with
its parameterization and a noise for each state, on a survey that is small enough to be
fitted many times, :func:`survey`.

A check that never fails has shown nothing. So the same fits are also made to homes that
another model has made, one that differs in a single place: they must fail.

The study is run by ``make study``, its result is in ``data/sbc_three_level``, and
:func:`load_fits` reads it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import xarray as xr
from numpy.typing import NDArray
from pytensor.graph.basic import Constant
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import graph_inputs

from funnel import checking, models
from funnel.calibration import sbc
from funnel.calibration.mapping import run_tasks, write_result
from funnel.data import DATA, load_radon_us
from funnel.priors import HalfNormal, Hyperpriors, LogNormal, Normal

__all__ = [
    "KINDS",
    "PRIORS",
    "PROB",
    "QUANTITIES",
    "STATES",
    "calibrate",
    "fit_homes",
    "leaves_band",
    "load_fits",
    "measure",
    "simulate",
    "study",
    "survey",
]

Kind = Literal["right", "flipped", "no uranium"]

#: What makes the homes: the model that is fitted; the same with the sign of the correlation
#: between intercepts and slopes flipped; the same with intercepts that ignore uranium.
KINDS: tuple[Kind, ...] = ("right", "flipped", "no uranium")
#: Simulations of each kind in the study.
SIMULATIONS = 400

#: States of the small survey: the four with the most homes.
STATES = ("IN", "MO", "ND", "PA")
_COUNTIES, _AT_MOST = 8, 20

#: Priors of the top-level parameters, of the simulation as well as of the fit. Means,
#: `gamma` and `sigma_b` have those of the chapter. The scales of what is centered vary around
#: their posterior means in the chapter: centered coordinates were chosen because those scales
#: are not near zero, so that they have to be calibrated where that is so. The correlation,
#: `rho`, is ``2 Beta(2, 2) - 1``.
PRIORS: dict[str, Any] = {
    "mu_a": Normal(0.3, 1),
    "sigma_s": LogNormal(0.5, 0.3),
    "gamma": Normal(0, 1),
    "sigma_a": LogNormal(0.34, 0.25),
    "mu_b": Normal(0, 1),
    "sigma_b": HalfNormal(0.5),
    "sigma_y": LogNormal(0.83, 0.15),
    "omega": LogNormal(0.15, 0.3),
}
_ETA = 2.0

#: What is ranked: parameters, the effects of the states, and the log likelihood of the homes.
QUANTITIES = (*PRIORS, "rho", *(f"alpha_{state}" for state in STATES), "log_likelihood")
#: Probability of the band of a single quantity: those of all hold their curves at once with
#: a probability of at least 0.95 (Bonferroni's inequality).
PROB = 1 - 0.05 / len(QUANTITIES)

#: As in the chapter, but for the number of kept draws, which is half of it there.
_COORDINATES: dict[str, Any] = {
    "states": "centered",
    "intercepts": "centered",
    "slopes": "noncentered",
}
_SETTINGS: dict[str, Any] = {"chains": 4, "tune": 1000, "draws": 1000, "target_accept": 0.97}
#: Of so many draws one is ranked among; those that are used are evenly spaced among these.
_EVERY = 10
_FOLDER = DATA / "sbc_three_level"


@lru_cache(maxsize=1)
def survey() -> pd.DataFrame:
    """Scale the survey of nine states down.

    Of each of the `STATES`, the counties with at most 20 homes are put in the order of
    their uranium, and eight of them taken, evenly spaced. All their homes are taken, on the
    floors on which they are.

    Returns
    -------
    pandas.DataFrame
        One row per home: ``state``, ``county``, ``floor``, ``log_radon`` (in log pCi/L)
        and ``log_uranium`` (in log ppm).
    """
    homes = load_radon_us()[["state", "county", "floor", "log_radon", "log_uranium"]]
    counties = homes.groupby("county", observed=True).agg(
        state=("state", "first"), soil=("log_uranium", "first"), homes=("floor", "size")
    )
    chosen: list[str] = []
    for state in STATES:
        small = counties[(counties["state"] == state) & (counties["homes"] <= _AT_MOST)]
        places = np.linspace(0, len(small) - 1, _COUNTIES).round().astype(int)
        chosen += list(small.sort_values("soil").index[places])
    homes = homes[homes["county"].isin(chosen)].reset_index(drop=True)
    for column in ("state", "county"):
        homes[column] = homes[column].cat.remove_unused_categories()
    return homes


def simulate(kind: Kind, number: int) -> tuple[xr.Dataset, pd.DataFrame]:
    """Draw all parameters from their priors, and the log radon of every home from them.

    Parameters
    ----------
    kind : {"right", "flipped", "no uranium"}
        What makes the homes, see `KINDS`.
    number : int
        Which simulation, from 0. It is the seed: the same number gives the same random
        numbers, for every kind.

    Returns
    -------
    truth : xarray.Dataset
        The parameters, with dimensions ``chain`` and ``draw`` of length 1, as draws have
        them, and ``state`` or ``county`` where there are several.
    homes : pandas.DataFrame
        :func:`survey` with other log radon.

    Raises
    ------
    ValueError
        If there is no such kind, or `number` is negative.
    """
    rng = np.random.default_rng(_seed(kind, number, fit=False))
    homes = survey()
    counties = homes.groupby("county", observed=True)[["state", "log_uranium"]].first()
    state = counties["state"].cat.codes.to_numpy()
    soil = (counties["log_uranium"] - counties["log_uranium"].mean()).to_numpy()
    top = {name: sbc.draw_top(prior, rng).item() for name, prior in PRIORS.items()}
    rho = 2 * rng.beta(_ETA, _ETA) - 1
    used = -rho if kind == "flipped" else rho
    gamma = 0.0 if kind == "no uranium" else top["gamma"]
    alpha = top["mu_a"] + top["sigma_s"] * rng.standard_normal(len(STATES))
    first, second = rng.standard_normal((2, len(counties)))
    a = alpha[state] + gamma * soil + top["sigma_a"] * first
    b = top["mu_b"] + top["sigma_b"] * (used * first + np.sqrt(1 - used**2) * second)
    sigma_home = top["sigma_y"] * np.exp(top["omega"] * rng.standard_normal(len(STATES)))
    county, floor = homes["county"].cat.codes.to_numpy(), homes["floor"].to_numpy()
    log_radon = rng.normal(a[county] + b[county] * floor, sigma_home[state[county]])
    values: dict[str, Any] = {**top, "rho": rho}
    values |= {"alpha": ("state", alpha), "sigma_home": ("state", sigma_home)}
    values |= {"a": ("county", a), "b": ("county", b)}
    coords = {"state": list(STATES), "county": counties.index.to_numpy(str)}
    truth = xr.Dataset(values, coords=coords).expand_dims(["chain", "draw"])
    return truth, homes.assign(log_radon=log_radon)


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
    table = {name: draws[name] for name in (*PRIORS, "rho")}
    for state in STATES:
        table[f"alpha_{state}"] = draws["alpha"].sel(state=state, drop=True)
    tree = xr.DataTree.from_dict({"posterior": draws})
    table["log_likelihood"] = checking.home_log_likelihood(homes, tree).sum("home")
    return xr.Dataset(table)


def fit_homes(homes: pd.DataFrame, seed: int) -> xr.DataTree:
    """Fit the model to simulated homes: NUTS, one thread, compiled once for all.

    Parameters
    ----------
    homes : pandas.DataFrame
        From :func:`simulate`.
    seed : int
        Seed of the sampler.

    Returns
    -------
    xarray.DataTree
        With ``posterior`` and ``sample_stats``, as the sampler names them.
    """
    compiled = _compile().with_data(**_sufficient(homes))
    return nutpie.sample(
        compiled, seed=seed, cores=1, save_warmup=False, progress_bar=False, **_SETTINGS
    )


@lru_cache(maxsize=1)
def _compile() -> nutpie.sample.CompiledModel:
    return nutpie.compile_pymc_model(_swappable())


def _model(homes: pd.DataFrame) -> pm.Model:
    names = ("mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y")
    return models.three_level(
        homes,
        Hyperpriors(**{name: PRIORS[name] for name in names}),
        **_COORDINATES,
        noise="state",
        between_states=PRIORS["sigma_s"],
        between_noises=PRIORS["omega"],
        uranium=PRIORS["gamma"],
        eta=_ETA,
    )


def _swappable() -> pm.Model:
    """Build the model with what it takes from homes in variables that can be exchanged."""
    model = _model(survey())
    sbc.make_swappable(model, "cell_mean", "mean")
    # The sums of squares stand in a potential, as a constant.
    squares = _sufficient(survey())["squares"]
    (fixed,) = (
        node
        for node in graph_inputs(model.potentials)
        if isinstance(node, Constant) and np.array_equal(node.data, squares)
    )
    with model:
        measured = pm.Data("squares", squares)
    model.potentials = graph_replace(model.potentials, {fixed: measured})
    return model


def _sufficient(homes: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Reduce homes to what the model takes: cell means, and what is left in each state."""
    cells = homes.groupby(["county", "floor"], observed=True)["log_radon"]
    squares = (homes["log_radon"] - cells.transform("mean")) ** 2
    by_state = squares.groupby(homes["state"], observed=True).sum()
    return {"mean": cells.mean().to_numpy(), "squares": by_state.to_numpy()}


def calibrate(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Simulate once, fit, and rank the truth among the draws.

    Parameters
    ----------
    task : mapping
        ``kind`` and ``number``, as for :func:`simulate`.

    Returns
    -------
    list of dict
        One row; the columns are described in ``data/sbc_three_level/README.md``.
    """
    kind, number = task["kind"], task["number"]
    truth, homes = simulate(kind, number)
    run = fit_homes(homes, int(_seed(kind, number, fit=True).generate_state(1)[0]))
    posterior = run["posterior"].dataset
    draws = measure(homes, posterior.isel(draw=slice(None, None, _EVERY)))
    true = measure(homes, truth)
    ranks = {f"rank_{q}": sbc.count_below(draws[q], true[q].item()) for q in QUANTITIES}
    return [ranks | sbc.diagnose_run(run, posterior[[*PRIORS, "rho", "alpha"]])]


def study(*, scheduler: str | None = None, workers: int | None = None) -> None:
    """Run the whole study, and write its result to ``data/sbc_three_level``.

    Parameters
    ----------
    scheduler, workers
        As in :func:`funnel.calibration.mapping.run_tasks`.
    """
    begin = time.monotonic()
    tasks = [{"kind": kind, "number": n} for kind in KINDS for n in range(SIMULATIONS)]
    store = DATA.parent / "_build" / "study" / "three_level.jsonl"
    fits = run_tasks(calibrate, tasks, store, scheduler=scheduler, workers=workers)
    write_result(_FOLDER, {"fits": fits}, fits=len(fits))
    print(f"{len(fits):,} fits, {time.monotonic() - begin:.0f} s: {_FOLDER}")


def load_fits() -> pd.DataFrame:
    """Load what every fit of the committed study said.

    Returns
    -------
    pandas.DataFrame
        One row per fit; the columns are described in ``data/sbc_three_level/README.md``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    return pd.read_csv(_FOLDER / "fits.csv.gz")


def leaves_band(fits: pd.DataFrame, seed: int) -> pd.Series:
    """Say of which quantities the ranks are not uniform.

    Parameters
    ----------
    fits : DataFrame
        Rows of :func:`load_fits` of one kind.
    seed : int
        Of :func:`funnel.calibration.sbc.spread_ranks`.

    Returns
    -------
    Series of bool
        For each of the `QUANTITIES`, whether its ECDF difference leaves its band. If all
        ranks are uniform, any is true at most once in twenty times, see `PROB`.
    """
    return pd.Series(
        {
            name: sbc.ecdf_difference(sbc.spread_ranks(fits[f"rank_{name}"], seed), PROB)[
                "outside"
            ].any()
            for name in QUANTITIES
        }
    )


def _seed(kind: Kind, number: int, *, fit: bool) -> np.random.SeedSequence:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    if number < 0:
        raise ValueError(f"number must be at least 0, got {number!r}")
    return np.random.SeedSequence([number, 1 + KINDS.index(kind) if fit else 0])
