r"""What samplers and tools that adapt by themselves make of the centered radon model.

    python -m venv /tmp/automatic
    /tmp/automatic/bin/pip install -e . "pymc==6.4.0" "nutpie[pymc-jax]==0.16.11" \
        "flowjax==19.1.2" "owalnuts==0.3.0"
    /tmp/automatic/bin/python benchmarks/automatic.py --seeds 3 --csv data/automatic/automatic.csv

The packages are wanted by this benchmark alone, so they are not in the lock: make an
environment for it. Each method is given the *centered* varying-slopes model (but one,
for comparison), four chains, and no more advice. One line per run is
printed and written: the estimate of P(sigma_b < 0.05), effective draws of
log(sigma_b) per thousand gradients, divergences, and whether the top-level parameters
pass the thresholds of `funnel.fitting`. Gradients are those of the kept draws; where
a method does not count them, the entry is empty. Seconds include compilation and
tuning and depend on the machine.

Tried and left out: `vip_reparametrize` of pymc-extras 0.12.1, which learns a
centeredness for every effect, stops on PyMC 6.4.0 with a TypeError (it calls
`model_named` without the name that PyMC asks for since then).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import arviz as az
import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import xarray as xr

from funnel import data, exact, fitting, models, priors

TOP = ["mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y"]
#: Posterior, gradients of the kept draws (or None) and divergences (or None).
Result = tuple[xr.Dataset, int | None, int | None]


def centered() -> pm.Model:
    """Build the model that every method starts from."""
    homes = data.load_radon()
    return models.varying_slopes(homes, priors.ESSAY, intercepts="centered", slopes="centered")


def noncentered() -> pm.Model:
    """Build the same model with its slopes noncentered by hand."""
    homes = data.load_radon()
    return models.varying_slopes(homes, priors.ESSAY, intercepts="centered", slopes="noncentered")


def sample_nutpie(model: pm.Model, seed: int, *, jax: bool = False, **options: object) -> Result:
    """Sample with nutpie's NUTS or one of its adaptations."""
    backend = {"backend": "jax", "gradient_backend": "jax"} if jax else {}
    compiled = nutpie.compile_pymc_model(model, **backend)
    settings = {"chains": 4, "tune": 1000, "draws": 2000, "target_accept": 0.95} | options
    tree = nutpie.sample(compiled, seed=seed, progress_bar=False, **settings)
    stats = tree["sample_stats"].dataset
    return tree["posterior"].dataset, int(stats["n_steps"].sum()), int(stats["diverging"].sum())


def sample_walnuts(seed: int) -> Result:
    """Sample with oWALNUTS, which adapts the step along each path, at its own defaults."""
    import owalnuts

    target, dim, _, _, unravel = owalnuts.from_pymc(centered())
    run = owalnuts.sample(target, dim, chains=4, warmup=1000, draws=2000, seed=seed)
    draws: dict[str, list[list[float]]] = {name: [] for name in TOP}
    for chain in np.asarray(run.samples):  # (draws, dim)
        values = [unravel(position) for position in chain]
        for name, kept in draws.items():
            on_log = f"{name}_log__"
            found = [np.exp(v[on_log]) if on_log in v else v[name] for v in values]
            kept.append([np.asarray(value).item() for value in found])
    dataset = xr.Dataset({name: (("chain", "draw"), kept) for name, kept in draws.items()})
    return dataset, int(np.sum(run.retained_target_calls)), int(np.sum(run.divergent))


METHODS: dict[str, Callable[[int], Result]] = {
    "NUTS, diagonal masses": lambda seed: sample_nutpie(centered(), seed),
    "NUTS, low-rank masses": lambda seed: sample_nutpie(centered(), seed, adaptation="low_rank"),
    "WALNUTS": sample_walnuts,
    "noncentered by hand": lambda seed: sample_nutpie(noncentered(), seed),
    "NUTS, normalizing flow": lambda seed: sample_nutpie(
        centered(), seed, jax=True, adaptation="flow"
    ),
}


def measure(name: str, seed: int, alike: float) -> dict[str, object]:
    """Run one method with one seed; one row of the table."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        posterior, gradients, divergences = METHODS[name](seed)
    seconds = time.perf_counter() - start
    top = posterior[TOP]
    table = fitting.diagnose(xr.DataTree.from_dict({"posterior": top}))
    ess = float(az.ess(np.log(top[["sigma_b"]]), method="mean")["sigma_b"])
    return {
        "method": name,
        "seed": seed,
        "percent_below": round(100 * float((top["sigma_b"] < 0.05).mean()), 2),
        "exact_percent_below": round(100 * alike, 2),
        "ess_log_sigma_b": round(ess, 1),
        "gradients": gradients,
        "ess_per_1000_gradients": None if gradients is None else round(1000 * ess / gradients, 3),
        "divergences": divergences,
        "passed": bool(table["passed"].all()) and not divergences,
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Print one row for each method and seed, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments = parser.parse_args()
    packages = ["pymc", "pytensor", "nutpie", "jax", "flowjax", "owalnuts"]
    print("Python", platform.python_version())
    print(*(f"{name} {importlib.metadata.version(name)}" for name in packages), sep="\n")
    alike = exact.varying_slopes(data.load_radon(), priors.ESSAY).cdf("sigma_b", 0.05)
    rows: list[dict[str, object]] = []
    for name in arguments.methods:
        for seed in range(arguments.seeds):
            rows.append(measure(name, seed, alike))
            print(rows[-1], flush=True)
            if arguments.csv:
                arguments.csv.parent.mkdir(parents=True, exist_ok=True)
                pd.DataFrame(rows).to_csv(arguments.csv, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
