"""When to center: what a parameterization is worth, measured against the truth.

Groups are measured with known noise,

    y_j ~ Normal(theta_j, sigma / sqrt(n_j)),      theta_j ~ Normal(mu, tau),

with ``tau = 1``. What decides is the *informativeness* ``r = n tau^2 / sigma^2``, how
strongly a group's own data speak compared with the hierarchical prior
(Papaspiliopoulos, Roberts and Sköld 2007, *Statistical Science* 22(1); Betancourt and
Girolami 2015, "Hamiltonian Monte Carlo for hierarchical models"). The study simulates
data sets over r, the number of groups, the balance of their sizes and the hyperprior
of ``tau``, samples each in several parameterizations, and compares what a chain says
with the exact posterior of the same data set.

What its result says is for :mod:`funnel.calibration.efficiency` to work out.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache
from typing import Any

import arviz as az
import numpy as np
import nutpie
import pandas as pd
import pymc as pm

from funnel import exact
from funnel.calibration.mapping import run_tasks, write_result
from funnel.data import DATA
from funnel.models import add_effects
from funnel.priors import EightSchoolsPriors, Gamma2, HalfCauchy, HalfNormal, Normal

__all__ = [
    "CENTEREDNESS",
    "DESIGNS",
    "GROUPS",
    "HYPERPRIORS",
    "INFORMATIVENESS",
    "QUANTITIES",
    "effective_homes",
    "fit_data_set",
    "load_fits",
    "make_tasks",
    "simulate",
    "study",
]

#: Whether all groups are measured alike, or from eight times less to eight times more.
DESIGNS = ("balanced", "unbalanced")
GROUPS = (8, 25, 85)
#: r, of the group in the middle.
INFORMATIVENESS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
#: The same for all groups, from noncentered to centered.
CENTEREDNESS = (0.0, 1 / 6, 1 / 3, 0.5, 2 / 3, 5 / 6, 1.0)
HYPERPRIORS = {
    "HalfCauchy(5)": EightSchoolsPriors(mu=Normal(0, 5), tau=HalfCauchy(5)),
    "HalfNormal(1)": EightSchoolsPriors(mu=Normal(0, 5), tau=HalfNormal(1)),
    "Gamma2(2)": EightSchoolsPriors(mu=Normal(0, 5), tau=Gamma2(2)),
}
DATA_SETS = 20
#: What a chain is asked for.
QUANTITIES = ("log_tau", "small_tau", "theta")
#: The tail of tau that is called small: its exact posterior probability.
SMALL = 0.05

CHAINS, TUNE, DRAWS, TARGET_ACCEPT = 4, 500, 1000, 0.8
FILE = DATA / "centering" / "fits.csv.gz"


def make_tasks() -> list[dict[str, Any]]:
    """List the data sets of the study, one task each.

    Returns
    -------
    list of dict
        Arguments of :func:`fit_data_set`.
    """
    return [
        {
            "groups": groups,
            "hyperprior": hyperprior,
            "design": design,
            "informativeness": informativeness,
            "data_set": data_set,
        }
        # The model of the outer two is compiled anew, that of the inner three is not.
        for groups in GROUPS
        for hyperprior in HYPERPRIORS
        for design in DESIGNS
        for informativeness in INFORMATIVENESS
        for data_set in range(DATA_SETS)
    ]


def simulate(design: str, groups: int, informativeness: float, data_set: int) -> pd.DataFrame:
    """Draw the groups' effects around 0 with standard deviation 1, and measure them.

    Parameters
    ----------
    design : {"balanced", "unbalanced"}
        Whether every group has the same standard error, or sizes that grow by equal
        factors from one eighth to eight times that of the group in the middle.
    groups : int
        Number of groups.
    informativeness : float
        r of the group in the middle.
    data_set : int
        Number of the data set, from which, with the other arguments, its seed is made:
        all hyperpriors and parameterizations are tried on the same data.

    Returns
    -------
    pandas.DataFrame
        One row per group, with columns ``school``, ``effect`` and ``se`` as in
        :func:`funnel.models.eight_schools`.

    Raises
    ------
    ValueError
        If `design` is not one of the two, or `informativeness` not positive.
    """
    if design not in DESIGNS:
        raise ValueError(f"design must be one of {DESIGNS}, got {design!r}")
    if not 0 < informativeness < np.inf:
        raise ValueError(f"informativeness must be positive, got {informativeness!r}")
    rng = np.random.default_rng(_seed(design, groups, informativeness, data_set))
    spread = 8.0 if design == "unbalanced" else 1.0
    size = spread ** np.linspace(-1, 1, groups)
    se = 1 / np.sqrt(informativeness * size)
    theta = rng.normal(size=groups)
    return pd.DataFrame(
        {
            "school": [str(j) for j in range(groups)],
            "effect": rng.normal(theta, se),
            "se": se,
        }
    )


def fit_data_set(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Sample one data set of the study in every parameterization.

    Parameters
    ----------
    task : dict
        ``design``, ``groups``, ``informativeness`` and ``data_set`` as in
        :func:`simulate`, and ``hyperprior``, a key of `HYPERPRIORS`. Each fit's seed
        is made from these and its centeredness.

    Returns
    -------
    list of dict
        One row per parameterization: ``centeredness``, a number of `CENTEREDNESS` or, in
        the unbalanced design, ``"by group"``, where a group's is ``r_j / (1 + r_j)``, and
        ``"either"``, where it is 1 for groups with ``r_j > 1`` and 0 for others. For
        each of `QUANTITIES`, the squared error of a chain's mean over the exact posterior
        variance, mean over chains (``theta``: and over groups), as ``error_log_tau`` and
        so on. ``gradients`` and ``tuning_gradients``, of all chains; ``divergences``;
        and what the chains say of ``tau`` themselves: ``r_hat``, ``ess_bulk`` and
        ``ess_tail``.
    """
    where = {name: task[name] for name in ("design", "groups", "informativeness", "data_set")}
    data = simulate(**where)
    truth = _exact_answers(data, HYPERPRIORS[task["hyperprior"]])
    r = 1 / data["se"].to_numpy() ** 2
    ways: dict[float | str, np.ndarray] = {c: np.full(len(data), c) for c in CENTEREDNESS}
    if task["design"] == "unbalanced":
        ways |= {"by group": r / (1 + r), "either": (r > 1).astype(float)}
    model = _compiled(task["groups"], task["hyperprior"])
    return [
        {
            "centeredness": way if isinstance(way, str) else round(way, 3),
            **_fit(
                model.with_data(
                    effect=data["effect"].to_numpy(), se=data["se"].to_numpy(), centeredness=values
                ),
                truth,
                _seed(*where.values(), task["hyperprior"], way),
            ),
        }
        for way, values in ways.items()
    ]


def _seed(*parts: object) -> int:
    """Make a seed from what identifies a data set or a fit."""
    words = np.frombuffer(json.dumps(parts).encode(), dtype=np.uint8)
    return int(np.random.SeedSequence(words.tolist()).generate_state(1)[0])


def _exact_answers(data: pd.DataFrame, priors: EightSchoolsPriors) -> dict[str, Any]:
    """Mean and variance of each of `QUANTITIES`, and where the small tau begin."""
    posterior = exact.eight_schools(data, priors)
    low, high = np.log(posterior.quantile("tau", [1e-9, 1 - 1e-9]))
    log_tau = np.linspace(low, high, 4001)
    # On an even grid, of a density that vanishes at both ends, a sum is a good integral.
    density = posterior.density("tau", np.exp(log_tau)) * np.exp(log_tau)
    weights = density / density.sum()
    mean = weights @ log_tau
    return {
        "log_tau": (mean, weights @ (log_tau - mean) ** 2),
        "small_tau": (SMALL, SMALL * (1 - SMALL)),
        "theta": (np.asarray(posterior.mean("theta")), np.asarray(posterior.sd("theta")) ** 2),
        "threshold": float(posterior.quantile("tau", SMALL)),
    }


@lru_cache(maxsize=2)
def _compiled(groups: int, hyperprior: str) -> nutpie.sample.CompiledModel:
    """Compile the model once for all data of this many groups, and all parameterizations."""
    priors = HYPERPRIORS[hyperprior]
    with pm.Model(coords={"group": np.arange(groups)}) as model:
        effect = pm.Data("effect", np.zeros(groups))
        se = pm.Data("se", np.ones(groups))
        centeredness = pm.Data("centeredness", np.zeros(groups))
        mu, tau = priors.mu.to_pymc("mu"), priors.tau.to_pymc("tau")
        theta = add_effects("theta", mu, tau, centeredness, dims="group")
        pm.Normal("y", theta, se, observed=effect, dims="group")
    return nutpie.compile_pymc_model(model)


def _fit(model: nutpie.sample.CompiledModel, truth: dict[str, Any], seed: int) -> dict[str, Any]:
    run = nutpie.sample(
        model,
        seed=seed,
        chains=CHAINS,
        cores=1,
        tune=TUNE,
        draws=DRAWS,
        target_accept=TARGET_ACCEPT,
        progress_bar=False,
    )
    tau = run.posterior["tau"].to_numpy()
    said = {
        "log_tau": np.log(tau).mean(axis=1),
        "small_tau": (tau < truth["threshold"]).mean(axis=1),
        "theta": run.posterior["theta"].to_numpy().mean(axis=1),
    }
    errors = {
        f"error_{name}": float(np.mean((said[name] - truth[name][0]) ** 2 / truth[name][1]))
        for name in QUANTITIES
    }
    return {
        **errors,
        "gradients": int(run.sample_stats["n_steps"].sum()),
        "tuning_gradients": int(run.warmup_sample_stats["n_steps"].sum()),
        "divergences": int(run.sample_stats["diverging"].sum()),
        "r_hat": float(az.rhat(tau)),
        "ess_bulk": float(az.ess(tau)),
        "ess_tail": float(az.ess(tau, method="tail", prob=(0.05, 0.95))),
    }


def study(*, scheduler: str | None = None, workers: int | None = None) -> None:
    """Run the whole study, and write its result to ``data/centering``.

    Parameters
    ----------
    scheduler, workers
        As in :func:`funnel.calibration.mapping.run_tasks`.
    """
    begin = time.monotonic()
    store = DATA.parent / "_build" / "study" / "centering.jsonl"
    tasks = make_tasks()
    fits = run_tasks(fit_data_set, tasks, store, scheduler=scheduler, workers=workers)
    write_result(FILE.parent, {"fits": fits}, digits=4, fits=len(fits))
    print(f"{len(fits):,} fits, {time.monotonic() - begin:.0f} s: {FILE}")


def load_fits() -> pd.DataFrame:
    """Load the committed result of the study.

    Returns
    -------
    pandas.DataFrame
        One row per fit: the columns of :func:`make_tasks`, then those of
        :func:`fit_data_set`; ``centeredness`` is text, ``"0.0"`` to ``"1.0"``, ``"by
        group"`` or ``"either"``.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    return pd.read_csv(FILE, dtype={"centeredness": str})


def effective_homes(homes: pd.DataFrame) -> pd.DataFrame:
    """Count the homes that speak about each county's intercept and about its slope.

    Parameters
    ----------
    homes : pandas.DataFrame
        As :func:`funnel.data.load_radon` returns.

    Returns
    -------
    pandas.DataFrame
        One row per county, with columns ``intercepts`` and ``slopes``. Times the squared
        scale of the effects, over that of the noise, they are the informativeness r.

    Notes
    -----
    A slope is known as the difference of two means, of ``n_0`` homes with a basement and
    ``n_1`` without. Its variance is ``sigma_y^2 (1 / n_0 + 1 / n_1)``, that of a mean of
    ``n_0 n_1 / (n_0 + n_1)`` homes.
    """
    floors = homes.groupby("county", observed=False)["floor"].agg(["size", "sum"])
    n, n1 = floors["size"], floors["sum"]
    return pd.DataFrame({"intercepts": n, "slopes": n1 * (n - n1) / n})
