"""Sample a model, and say so if the sample cannot be trusted.

:func:`fit` runs NUTS and then *asserts* that the chains agree: a fit that comes
back without an error has passed the diagnostics, and a fit that is meant to fail
has failed them. :func:`diagnose` is the table that it looks at.

Two runs with the same seed give the same draws on the same machine in the same
state. Another machine, or a numba cache that was cold before and is warm now,
rounds differently and gives other draws; each is repeatable. So a statement about
a sampler that fails is made over several seeds, and never over one.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from functools import lru_cache
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import arviz as az
import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import pytensor
import xarray as xr
from filelock import FileLock
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import graph_inputs

__all__ = [
    "MIN_ESS",
    "R_HAT_BELOW",
    "ConvergenceError",
    "diagnose",
    "divergences",
    "fingerprint",
    "fit",
    "gradients",
]

#: R-hat of every parameter must be below this value (Vehtari et al. 2021).
R_HAT_BELOW = 1.01
#: Bulk and tail ESS of every parameter must be above it (the same).
MIN_ESS = 400

#: Environment variable that names the folder in which fits are kept.
CACHE_VARIABLE = "FUNNEL_FIT_CACHE"

# What is kept of the sampler's statistics, by its name in ArviZ's schema, and
# nutpie's name for it. PyMC uses those of the schema.
_STATISTICS = {
    "diverging": "diverging",
    "energy": "energy",
    "lp": "logp",
    "step_size": "step_size",
    "n_steps": "n_steps",
    "tree_depth": "depth",
    "reached_max_treedepth": "maxdepth_reached",
    "acceptance_rate": "mean_tree_accept",
}


class ConvergenceError(RuntimeError):
    """A fit failed its diagnostics, or passed them although it was meant to fail."""


@dataclass(frozen=True)
class _Settings:
    """The arguments of a fit that decide on its draws."""

    seed: int
    sampler: str
    chains: int
    tune: int
    draws: int
    target_accept: float

    def __post_init__(self) -> None:
        if not _is_whole(self.seed) or not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be a whole number from 0 to 2**32 - 1, got {self.seed!r}")
        if self.sampler not in ("nutpie", "pymc"):
            raise ValueError(f"sampler must be 'nutpie' or 'pymc', got {self.sampler!r}")
        for name, least in (("chains", 4), ("tune", 100), ("draws", 100)):
            value = getattr(self, name)
            if not _is_whole(value) or value < least:
                raise ValueError(
                    f"{name} must be a whole number of at least {least}, got {value!r}"
                )
        if not isinstance(self.target_accept, Real) or not 0 < self.target_accept < 1:
            raise ValueError(f"target_accept must be between 0 and 1, got {self.target_accept!r}")

    def __str__(self) -> str:
        return (
            f"{self.sampler}, seed {self.seed}, {self.chains} chains of {self.tune} tuning and "
            f"{self.draws} kept draws, target_accept {self.target_accept:g}"
        )


def fit(
    model: pm.Model,
    *,
    seed: int,
    sampler: Literal["nutpie", "pymc"] = "nutpie",
    chains: int = 4,
    tune: int = 1000,
    draws: int = 2000,
    target_accept: float = 0.97,
    expect_failure: bool | None = False,
) -> xr.DataTree:
    """Sample a model with NUTS and assert that the sample passes its diagnostics.

    R-hat (rank-normalized, split, the larger of bulk and folded) must be below
    1.01 and bulk and tail ESS above 400 for every parameter, deterministic ones
    included, and no transition may diverge. Vehtari, Gelman, Simpson, Carpenter
    and Bürkner (2021), "Rank-normalization, folding, and localization", *Bayesian
    Analysis* 16(2), give the two thresholds.

    Parameters
    ----------
    model : pymc.Model
        The model, with its data.
    seed : int
        Seed of the sampler, from 0 to 2**32 - 1. There is no default.
    sampler : {"nutpie", "pymc"}
        Which NUTS to run. nutpie's adapts faster and runs its chains in threads.
    chains : int
        Number of chains, at least 4: with fewer, R-hat sees too little.
    tune, draws : int
        Tuning draws, which are thrown away, and kept draws, of every chain.
    target_accept : float
        Mean acceptance probability that the step size is tuned to. The default is
        above what samplers take by default, because in the narrow part of a
        hierarchical posterior a step can be too long that is right elsewhere:
        ``benchmarks/fitting.py`` counts how often healthy models pass.
    expect_failure : bool or None
        True for a fit that is meant to fail: it must then fail at least one
        diagnostic. None if either outcome is a result, to be read from
        :func:`diagnose` and :func:`divergences`.

    Returns
    -------
    xarray.DataTree
        ``posterior``: every free and deterministic variable, with dimensions
        ``chain``, ``draw`` and its own. ``sample_stats``: ``diverging``, ``energy``
        and ``lp`` (log posterior density), ``step_size``, ``n_steps`` (gradients
        evaluated for the draw), ``tree_depth``, ``reached_max_treedepth`` and
        ``acceptance_rate``, under the same names whichever sampler ran. (PyMC counts
        a last doubling that was cut short in ``tree_depth``, nutpie does not; both
        count its gradients.)
        ``warmup_sample_stats``: the same of the tuning draws. A draw of
        ``posterior`` at which ``diverging`` is true is where a trajectory that
        diverged left the chain.

    Raises
    ------
    ConvergenceError
        If the fit fails a diagnostic; the message names the parameters and what
        to try. With `expect_failure` true, if it passes them all.
    ValueError
        If an argument is out of its range.
    TypeError
        If `model` is not a PyMC model.

    Notes
    -----
    The same model is compiled once, however many seeds it is fitted with. If the
    environment variable ``FUNNEL_FIT_CACHE`` names a folder, a fit that it holds
    is read rather than computed; it is diagnosed all the same. Fits that raise
    are not stored.
    """
    if not isinstance(model, pm.Model):
        raise TypeError(f"model must be a pymc.Model, got {type(model).__name__}")
    if expect_failure not in (True, False, None):
        raise ValueError(f"expect_failure must be True, False or None, got {expect_failure!r}")
    settings = _Settings(seed, sampler, chains, tune, draws, target_accept)

    key = fingerprint(model)
    folder = os.environ.get(CACHE_VARIABLE)
    if not folder:
        return _checked(_sample(model, key, settings), settings, expect_failure)
    path = Path(folder) / f"{_digest([key, repr(astuple(settings))])}.nc"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Who comes second waits here, and then finds the file.
    with FileLock(path.with_suffix(".lock")):
        stored = _read(path)
        if stored is not None:
            return _checked(stored, settings, expect_failure)
        _write(_checked(_sample(model, key, settings), settings, expect_failure), path)
        # Read back, so that whoever computed it and whoever finds it hold the same.
        return xr.load_datatree(path, engine="h5netcdf")


def diagnose(draws: xr.DataTree) -> pd.DataFrame:
    """Convergence diagnostics of every parameter.

    Parameters
    ----------
    draws : xarray.DataTree
        A fit, or anything with a group ``posterior`` of at least 4 chains.

    Returns
    -------
    pandas.DataFrame
        One row per scalar parameter, named as in ``b[AITKIN]``, with columns
        ``r_hat`` (rank-normalized, split, the larger of bulk and folded),
        ``ess_bulk`` and ``ess_tail`` (the smaller of the ESS of the 5% and of the
        95% quantile), in numbers of independent draws, and ``passed``, whether they
        are all within the thresholds of :func:`fit`. A parameter that does not move
        has no R-hat: NaN, which does not pass.

    Notes
    -----
    The definitions are those of Vehtari et al. (2021), *Bayesian Analysis* 16(2).
    ArviZ computes them. Its own default for the tail is another pair of
    quantiles, 11% and 89%, so that ``az.summary`` shows other numbers there.
    """
    posterior = draws["posterior"].dataset
    with warnings.catch_warnings():
        # Of a constant, ArviZ divides 0 by 0.
        warnings.simplefilter("ignore", RuntimeWarning)
        columns = {
            "r_hat": az.rhat(posterior, method="rank"),
            "ess_bulk": az.ess(posterior, method="bulk"),
            "ess_tail": az.ess(posterior, method="tail", prob=(0.05, 0.95)),
        }
    table = pd.DataFrame({name: _by_parameter(values) for name, values in columns.items()})
    table["passed"] = (
        (table["r_hat"] < R_HAT_BELOW)
        & (table["ess_bulk"] > MIN_ESS)
        & (table["ess_tail"] > MIN_ESS)
    )
    return table


def divergences(draws: xr.DataTree) -> int:
    """Count the kept draws whose trajectory diverged.

    Parameters
    ----------
    draws : xarray.DataTree
        A fit.

    Returns
    -------
    int
    """
    return int(draws["sample_stats"]["diverging"].sum())


def gradients(draws: xr.DataTree) -> int:
    """Count the gradient evaluations that a fit took, tuning included.

    The cost of a fit that depends neither on the machine nor on the sampler's
    implementation.

    Parameters
    ----------
    draws : xarray.DataTree
        A fit.

    Returns
    -------
    int
        Leapfrog steps of all chains. Each takes one gradient.
    """
    return sum(
        int(draws[group]["n_steps"].sum()) for group in ("warmup_sample_stats", "sample_stats")
    )


def fingerprint(model: pm.Model) -> str:
    """Digest of everything about a model that decides on its draws.

    Parameters
    ----------
    model : pymc.Model
        The model, with its data.

    Returns
    -------
    str
        The same for the same model in another process; another one if a prior,
        a datum, a name, a label or a parameterization differs.
    """
    outputs = [model.logp(), *model.unobserved_value_vars]
    parts: list[object] = [
        pytensor.dprint(outputs, file="str", print_type=True),
        [variable.name for variable in model.unobserved_value_vars],
        sorted(model.named_vars_to_dims.items()),
        sorted((name, list(values or [])) for name, values in model.coords.items()),
        *model.rvs_to_initial_values.values(),
    ]
    # The text shortens arrays, and leaves shared variables out: add them in full.
    for variable in graph_inputs(outputs):
        if isinstance(variable, Constant):
            parts.append(variable.data)
        elif hasattr(variable, "get_value"):
            parts.append(variable.get_value())
    return _digest(parts)


def _digest(parts: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape} ".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _by_parameter(values: xr.Dataset) -> pd.Series:
    """One number per scalar parameter, labeled as in ``b[AITKIN]``."""
    flat = {}
    for name, array in values.data_vars.items():
        for label, value in array.to_series().items() if array.ndim else [(None, array.item())]:
            labels = label if isinstance(label, tuple) else (label,)
            index = "" if label is None else f"[{', '.join(map(str, labels))}]"
            flat[f"{name}{index}"] = value
    return pd.Series(flat, dtype=float)


def _checked(draws: xr.DataTree, settings: _Settings, expect_failure: bool | None) -> xr.DataTree:
    """Return the draws, or raise if the diagnostics say what was not expected."""
    if expect_failure is None:
        return draws
    table = diagnose(draws)
    diverged = divergences(draws)
    healthy = bool(table["passed"].all()) and diverged == 0
    if expect_failure and healthy:
        raise ConvergenceError(
            f"this fit was expected to fail a diagnostic, and passed them all ({settings})"
        )
    if not expect_failure and not healthy:
        raise ConvergenceError(_complaint(table, diverged, settings))
    return draws


def _complaint(table: pd.DataFrame, diverged: int, settings: _Settings) -> str:
    """Say what is wrong with a fit, worst first, and what to try."""
    failed = table[~table["passed"]].sort_values("r_hat", ascending=False, na_position="first")
    lines = [f"the fit did not converge ({settings})"]
    if diverged:
        lines.append(f"  {diverged} of {settings.chains * settings.draws} transitions diverged")
    if len(failed):
        lines.append(
            f"  {len(failed)} of {len(table)} parameters miss R-hat < {R_HAT_BELOW} "
            f"or bulk and tail ESS > {MIN_ESS}:"
        )
        lines += [
            f"    {name}: R-hat {row.r_hat:.3f}, bulk ESS {row.ess_bulk:.0f}, "
            f"tail ESS {row.ess_tail:.0f}"
            for name, row in failed.head(10).iterrows()
        ]
        if len(failed) > 10:
            lines.append(f"    and {len(failed) - 10} more: {', '.join(failed.index[10:])}")
    lines.append("Try another parameterization of the effects that are named or of their scale,")
    lines.append("a higher target_accept against divergences, more draws if only ESS is short.")
    lines.append("Another seed is no remedy.")
    return "\n".join(lines)


def _sample(model: pm.Model, key: str, settings: _Settings) -> xr.DataTree:
    run = {"nutpie": _sample_nutpie, "pymc": _sample_pymc}[settings.sampler]
    with warnings.catch_warnings():
        # What the samplers warn of, the diagnostics measure.
        warnings.simplefilter("ignore")
        with _Progress(settings) as progress:
            tree = run(model, key, settings, progress)
    names = [variable.name for variable in (*model.free_RVs, *model.deterministics)]
    return xr.DataTree.from_dict(
        {
            "posterior": _plain(tree["posterior"].dataset[names]),
            "sample_stats": _plain(tree["sample_stats"].dataset[list(_STATISTICS)]),
            "warmup_sample_stats": _plain(tree["warmup_sample_stats"].dataset[list(_STATISTICS)]),
        }
    )


def _plain(dataset: xr.Dataset) -> xr.Dataset:
    """Whole numbers as int64 and no time stamps, so that equal fits are identical."""
    whole = ("n_steps", "tree_depth")
    return dataset.assign(
        {name: dataset[name].astype(np.int64) for name in whole if name in dataset}
    ).drop_attrs()


def _sample_nutpie(
    model: pm.Model, key: str, settings: _Settings, progress: _Progress
) -> xr.DataTree:
    compiled = _compiled(_Keyed(key, model))
    # In the background, because interrupted in the foreground it returns what it has by
    # then as if that were the whole fit.
    run = nutpie.sample(
        compiled,
        blocking=False,
        seed=settings.seed,
        chains=settings.chains,
        tune=settings.tune,
        draws=settings.draws,
        target_accept=settings.target_accept,
        progress_bar=False,
        progress_callback=progress.nutpie,
        progress_rate=200,
    )
    try:
        tree = run.wait()
    except BaseException:
        run.cancel()
        raise
    to_schema = {ours: name for name, ours in _STATISTICS.items() if ours != name}
    for group in ("sample_stats", "warmup_sample_stats"):
        tree[group] = xr.DataTree(tree[group].dataset.rename(to_schema))
    stats = tree["sample_stats"].dataset
    # nutpie's energy has a constant of its own in every chain, which comes from the
    # chain's mass matrix and can be hundreds. Kinetic energy averages half the dimension.
    kinetic = stats["energy"] + stats["lp"]
    tree["sample_stats"] = xr.DataTree(
        stats.assign(energy=stats["energy"] - kinetic.mean("draw") + compiled.n_dim / 2)
    )
    return tree


@dataclass(frozen=True)
class _Keyed:
    """A model that is equal to another one if their fingerprints are."""

    key: str
    model: pm.Model = field(compare=False)


@lru_cache(maxsize=8)
def _compiled(keyed: _Keyed) -> nutpie.sample.CompiledModel:
    return nutpie.compile_pymc_model(keyed.model)


def _sample_pymc(
    model: pm.Model, key: str, settings: _Settings, progress: _Progress
) -> xr.DataTree:
    with model:
        tree = pm.sample(
            nuts_sampler="pymc",
            random_seed=settings.seed,
            chains=settings.chains,
            cores=min(settings.chains, os.cpu_count() or 1),
            tune=settings.tune,
            draws=settings.draws,
            target_accept=settings.target_accept,
            discard_tuned_samples=False,
            compute_convergence_checks=False,
            progressbar=False,
            quiet=True,
            callback=progress.pymc,
        )
    # PyMC, too, returns what it has when it is interrupted.
    wanted = {"chain": settings.chains, "draw": settings.draws}
    if "posterior" not in tree or not wanted.items() <= tree["posterior"].sizes.items():
        raise KeyboardInterrupt("sampling was interrupted")
    return tree


class _Progress:
    """One line on the terminal while a sampler runs; nothing anywhere else."""

    def __init__(self, settings: _Settings) -> None:
        self.total = settings.chains * (settings.tune + settings.draws)
        self.sampler = settings.sampler
        self.done = self.diverged = 0
        self.shown = -math.inf
        self.terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        self._show("compiling")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.terminal:
            sys.stderr.write("\n")

    def nutpie(self, chains: list[nutpie.ChainProgress]) -> None:
        self.done = sum(chain.finished_draws for chain in chains)
        self._show(f"{self.done:,} of {self.total:,} draws")

    def pymc(self, trace: object, draw: object) -> None:
        self.done += 1
        if time.monotonic() - self.shown > 0.2 or self.done == self.total:
            self._show(f"{self.done:,} of {self.total:,} draws")

    def _show(self, text: str) -> None:
        self.shown = time.monotonic()
        if self.terminal:
            sys.stderr.write(f"\rsampling with {self.sampler}: {text}\033[K")
            sys.stderr.flush()


def _read(path: Path) -> xr.DataTree | None:
    """Return the fit in the file, or None if there is none that can be read."""
    try:
        return xr.load_datatree(path, engine="h5netcdf")
    except Exception:  # whatever is wrong with the file, the answer is to sample again
        return None


def _write(draws: xr.DataTree, path: Path) -> None:
    """Write the fit under another name, then move it: no reader sees half a file."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        draws.to_netcdf(name, engine="h5netcdf")
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
