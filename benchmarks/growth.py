"""How the cost of an answer grows with the number of groups and of homes.

    python benchmarks/growth.py --write

Homes are simulated from the course's regression, every point in a process of its own, so
that the most memory it ever held is its own too. What is measured:

- `exact`: the exact posterior, with the mean and sd of every parameter, compiled before;
- `draws`: 4,000 independent draws of all parameters from it, up to 1,000 groups;
- `fit`: `funnel.fitting.fit` at its defaults, compilation apart;
- `scales`: the same sampler, keeping nothing but the five top-level parameters, in chains
  of 500 tuning and 500 kept draws: `fit` would keep two billion numbers.

Intercepts are centered and slopes noncentered, as in the course's own regression.
Memory is the peak of the resident set, the libraries included: the row `imports` is theirs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import results

#: Groups by homes for the exact posterior: more groups, more homes, then most of both.
EXACT = [(groups, 100_000) for groups in (10, 100, 1_000, 10_000, 100_000)]
EXACT += [(1_000, homes) for homes in (1_000, 10_000, 1_000_000)] + [(100_000, 1_000_000)]
#: For draws and fits: ten homes a group.
DRAWS = FIT = [(groups, 10 * groups) for groups in (10, 100, 1_000)]
SCALES = [(10_000, 100_000)]
#: Tuning and kept draws of a chain where only the scales are kept.
SHORT = 500
TOP = ["mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y"]


def simulate(groups: int, homes: int, seed: int) -> pd.DataFrame:
    """Simulate homes of a state: every group has one, the others fall anywhere."""
    import numpy as np

    rng = np.random.default_rng(seed)
    group = np.concatenate([np.arange(groups), rng.integers(groups, size=homes - groups)])
    floor = (rng.random(homes) < 0.2).astype(int)
    a, b = rng.normal(1.5, 0.3, groups), rng.normal(-0.65, 0.3, groups)
    y = a[group] + b[group] * floor + rng.normal(0, 0.75, homes)
    county = pd.Categorical.from_codes(group, [f"G{j:06d}" for j in range(groups)])
    return pd.DataFrame({"county": county, "floor": floor, "log_radon": y})


def peak_mb() -> float:
    """Return the most memory that this process has held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def timed(task: Callable[[], Any]) -> tuple[Any, float, float]:
    """Do a task; what it returns, its wall seconds and its CPU seconds."""
    cpu, start = time.process_time(), time.perf_counter()
    found = task()
    return found, time.perf_counter() - start, time.process_time() - cpu


def point(what: str, groups: int, homes: int, seed: int) -> dict:
    """Measure one point, in this process."""
    from funnel import exact, fitting, models, priors

    if what == "imports":
        return {"peak_mb": peak_mb()}
    table = simulate(groups, homes, seed)
    if what in ("exact", "draws"):
        exact.varying_slopes(simulate(4, 40, seed), priors.ESSAY).draws(4, seed=seed)
        posterior, seconds, cpu = timed(lambda: exact.varying_slopes(table, priors.ESSAY))
        if what == "draws":
            _, seconds, cpu = timed(lambda: posterior.draws(4_000, seed=seed))
        return {
            "seconds": seconds,
            "cpu_seconds": cpu,
            "peak_mb": peak_mb(),
            "mean_sigma_b": posterior.mean("sigma_b"),
        }
    kinds = {"intercepts": "centered", "slopes": "noncentered"}
    model = models.varying_slopes(table, priors.ESSAY, **kinds)
    if what == "fit":
        start = time.perf_counter()
        fitting.fit(model, seed=seed, tune=100, draws=100, expect_failure=None)
        compiled = time.perf_counter() - start
        tree, seconds, cpu = timed(lambda: fitting.fit(model, seed=seed, expect_failure=None))
        gradients = fitting.gradients(tree)
    else:
        import nutpie

        ready, compiled, _ = timed(lambda: nutpie.compile_pymc_model(model, var_names=TOP))
        # As `fit` samples.
        settings = {"chains": 4, "tune": SHORT, "draws": SHORT, "target_accept": 0.97}
        tree, seconds, cpu = timed(
            lambda: nutpie.sample(ready, seed=seed, progress_bar=False, **settings)
        )
        groups_of = ("warmup_sample_stats", "sample_stats")
        gradients = int(sum(tree[group]["n_steps"].sum() for group in groups_of))
    top = fitting.diagnose(tree).loc[TOP]
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "compile_seconds": compiled,
        "peak_mb": peak_mb(),
        "mean_sigma_b": float(tree["posterior"]["sigma_b"].mean()),
        "gradients": gradients,
        "divergences": fitting.divergences(tree),
        "least_ess": top[["ess_bulk", "ess_tail"]].min().min(),
        "r_hat": top["r_hat"].max(),
    }


def apart(what: str, groups: int, homes: int, seed: int) -> dict:
    """Measure one point in a process of its own."""
    command = [sys.executable, __file__, "--point", what, str(groups), str(homes), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True)
    row = {"what": what, "groups": groups, "homes": homes, "seed": seed}
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        return {**row, "failure": lines[-1][:200]}
    found = json.loads(done.stdout.splitlines()[-1])
    return {**row, **{k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write to data/benchmarks")
    parser.add_argument("--folder", type=Path, help="write there instead")
    parser.add_argument("--quick", action="store_true", help="the smallest points: a trial")
    parser.add_argument("--only", choices=["exact", "draws", "fit", "scales"])
    parser.add_argument("--point", nargs=4, metavar=("WHAT", "GROUPS", "HOMES", "SEED"))
    arguments = parser.parse_args()
    if arguments.point:
        what, *numbers = arguments.point
        print(json.dumps(point(what, *map(int, numbers))))
        return
    plan = [("imports", 0, 0)]
    plan += [("exact", *pair) for pair in EXACT] + [("draws", *pair) for pair in DRAWS]
    plan += [("fit", *pair) for pair in FIT] + [("scales", *pair) for pair in SCALES]
    if arguments.quick:
        plan = [("imports", 0, 0), ("exact", 10, 1_000), ("draws", 10, 1_000)]
    if arguments.only:
        plan = [each for each in plan if each[0] == arguments.only]
    notes = results.conditions(["pymc", "nutpie", "numba", "numpy"], seed=arguments.seed)
    rows = []
    for each in plan:
        rows.append(apart(*each, arguments.seed))
        print(rows[-1], flush=True)
    print(pd.DataFrame(rows).to_string(index=False))
    if arguments.write or arguments.folder:
        results.write("growth", rows, notes, arguments.folder)


if __name__ == "__main__":
    main()
