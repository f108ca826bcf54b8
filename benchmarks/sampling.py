r"""Effective draws of `sigma_b` per second and per gradient, by sampler and parameterization.

    make benchmark                                            # this one among others
    .venv-benchmarks/bin/python benchmarks/sampling.py --write    # with PYTHONPATH=code

The model is the course's varying slopes, with the essay's priors. Every sampler makes
four chains of 1,000 tuning and 2,000 kept draws, as `funnel.fitting.fit` does:

- `pymc`: `pm.sample` with the sampler that PyMC has built in, as the essay ran it;
- `nutpie`: what `fit` calls;
- `numpyro` and `blackjax`: the same PyMC model, translated to JAX by PyMC;
- `fit`: the course's default, which is nutpie at a higher target acceptance;
- `exact`: the exact posterior, computed anew, and as many draws from it.

All but `fit` aim at the acceptance that they aim at by default, 0.8.

Every sampler lives in a process of its own, compiles before its clock starts, and has
both cores: PyMC runs two chains at a time, each in a process, nutpie four threads,
NumPyro and BlackJAX one device for each chain (`pmap`). The processes take turns, one
seed after the other, so that a change in the load of the machine meets all alike.
`seconds` is tuning and sampling alone, and `cpu_seconds` the time that the cores worked
for it, which other work on the machine disturbs less; `call_seconds` is the whole call
that a user makes, with all that PyMC or `fit` do before and after (where there is one).
Gradients are those that the samplers report, tuning included.

An estimated number of effective draws says nothing where a chain misses the neck. So
each row has the error of the mean of log(sigma_b) and of P(sigma_b < 0.05) too, and
the mean squared error of the four chains, from which the summary computes how many
independent draws have the same error: the exact variance over it, for each chain, times
four.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import results

CHAINS, TUNE, DRAWS = 4, 1000, 2000
TARGET = 0.8
SMALL = 0.05  # below this scale, counties are alike for all practical purposes

#: Parameterization of intercepts and of slopes.
PARAMETERIZATIONS = {
    "centered": ("centered", "centered"),
    "noncentered": ("noncentered", "noncentered"),
    "mixed": ("centered", "noncentered"),
}
MODELS = [*PARAMETERIZATIONS, "marginal"]

#: What runs, in turns: sampler and model.
SAMPLERS = ("pymc", "nutpie", "numpyro", "blackjax")
PLAN = [(sampler, model) for model in MODELS for sampler in SAMPLERS]
PLAN += [("nutpie", "bambi"), ("fit", "mixed"), ("exact", "exact")]


# --- What is sampled --------------------------------------------------------------------


def make_model(name: str) -> Any:
    """Build a PyMC model of the radon regression."""
    from funnel import data, models, priors

    homes = data.load_radon()
    if name == "marginal":
        return models.marginal_slopes(homes, priors.ESSAY)
    if name == "bambi":
        return bambi_model(homes)
    intercepts, slopes = PARAMETERIZATIONS[name]
    return models.varying_slopes(homes, priors.ESSAY, intercepts=intercepts, slopes=slopes)


def bambi_model(homes: pd.DataFrame) -> Any:
    """Let Bambi build the same regression: noncentered, `sigma_b` under its own name."""
    import bambi
    import pymc as pm

    wide, long = {"mu": 0, "sigma": 100**2}, {"beta": 5}
    between = bambi.Prior("Normal", mu=0, sigma=bambi.Prior("HalfCauchy", **long))
    found = bambi.Model(
        "log_radon ~ 1 + floor + (1 | county) + (0 + floor | county)",
        homes,
        priors={
            "Intercept": bambi.Prior("Normal", **wide),
            "floor": bambi.Prior("Normal", **wide),
            "1|county": between,
            "floor|county": between,
            "sigma": bambi.Prior("HalfCauchy", **long),
        },
        center_predictors=False,
    )
    found.build()
    model = found.backend.model
    with model:
        pm.Deterministic("sigma_b", model["floor|county_sigma"])
    return model


# --- Samplers: compile, then sample with a seed -----------------------------------------
# Each returns log(sigma_b) by chain and draw, and what it cost.

Sampled = tuple[np.ndarray, dict[str, Any]]


def counts(tree: Any) -> dict[str, int]:
    """Gradients, tuning included, and kept draws that diverged."""
    steps = [tree[group]["n_steps"].sum() for group in ("warmup_sample_stats", "sample_stats")]
    diverged = int(tree["sample_stats"]["diverging"].sum())
    return {"gradients": int(sum(steps)), "divergences": diverged}


def clock() -> tuple[float, float, float]:
    """Wall time, CPU time of this process, CPU time of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), time.process_time(), children.ru_utime + children.ru_stime


def compile_pymc(model: Any, tune: int, draws: int) -> Callable[[int], Sampled]:
    """PyMC compiles in every call; it reports the seconds of tuning and sampling apart."""
    import pymc as pm

    def run(seed: int) -> Sampled:
        start, _, chains = clock()
        with model:
            tree = pm.sample(
                nuts_sampler="pymc",
                tune=tune,
                draws=draws,
                chains=CHAINS,
                cores=min(CHAINS, os.cpu_count() or 1),
                # As in a program of its own on Linux. This process was spawned, and chains that
                # are spawned too would compile again, each by itself.
                mp_ctx="fork",
                random_seed=seed,
                target_accept=TARGET,
                discard_tuned_samples=False,
                progressbar=False,
                quiet=True,
            )
        end, _, chains_end = clock()  # each chain is a process
        costs = {
            "seconds": tree["posterior"].attrs["sampling_time"],
            "cpu_seconds": chains_end - chains,
            "call_seconds": end - start,
            **counts(tree),
        }
        return np.log(tree["posterior"]["sigma_b"].to_numpy()), costs

    # What a call compiles, before its chains start and in them, is then in PyTensor's cache.
    with model:
        pm.sample(
            nuts_sampler="pymc", tune=10, draws=10, chains=1, progressbar=False, quiet=True,
            random_seed=1, mp_ctx="fork", compute_convergence_checks=False,
        )  # fmt: skip
    return run


def compile_nutpie(
    model: Any, tune: int, draws: int, target: float = TARGET
) -> Callable[[int], Sampled]:
    """Compile once, as `fit` does."""
    import nutpie

    compiled = nutpie.compile_pymc_model(model)

    def run(seed: int) -> Sampled:
        start, cpu, _ = clock()
        tree = nutpie.sample(
            compiled,
            tune=tune,
            draws=draws,
            chains=CHAINS,
            seed=seed,
            target_accept=target,
            progress_bar=False,
        )
        end, cpu_end, _ = clock()
        costs = {"seconds": end - start, "cpu_seconds": cpu_end - cpu, **counts(tree)}
        return np.log(tree["posterior"]["sigma_b"].to_numpy()), costs

    return run


def compile_fit(model: Any, tune: int, draws: int) -> Callable[[int], Sampled]:
    """Take the course's default: nutpie as `fit` calls it, and `fit` with all that it checks."""
    from funnel import fitting

    sample = compile_nutpie(model, tune, draws, target=0.97)
    fitting.fit(model, seed=1, tune=100, draws=100, expect_failure=None)

    def run(seed: int) -> Sampled:
        log_scale, costs = sample(seed)
        start = time.perf_counter()
        tree = fitting.fit(model, seed=seed, tune=tune, draws=draws, expect_failure=None)
        healthy = fitting.diagnose(tree)["passed"].all() and not fitting.divergences(tree)
        costs |= {"call_seconds": time.perf_counter() - start, "passed": bool(healthy)}
        return log_scale, costs

    return run


def compile_jax(
    model: Any, one_chain: Callable[..., Any], tune: int, draws: int
) -> Callable[[int], Sampled]:
    """Compile a chain for as many devices as there are chains, ahead of time.

    `one_chain(key, start)` returns the positions, gradients of tuning, gradients of the kept
    draws, and which of those diverged.
    """
    import jax
    from pymc.sampling.jax import _get_batched_jittered_initial_points

    names = [variable.name for variable in model.value_vars]

    def begin(seed: int) -> tuple[Any, Any]:
        points = _get_batched_jittered_initial_points(model, CHAINS, None, seed)
        return jax.random.split(jax.random.PRNGKey(seed), CHAINS), points

    compiled = jax.pmap(one_chain).lower(*begin(0)).compile()

    def run(seed: int) -> Sampled:
        keys, points = begin(seed)
        start, cpu, _ = clock()
        positions, tuning, kept, diverged = jax.block_until_ready(compiled(keys, points))
        end, cpu_end, _ = clock()
        scale = np.asarray(positions[names.index("sigma_b_log__")])
        gradients = int(np.asarray(tuning).sum() + np.asarray(kept).sum())
        costs = {"gradients": gradients, "divergences": int(np.asarray(diverged).sum())}
        return scale, {"seconds": end - start, "cpu_seconds": cpu_end - cpu, **costs}

    return run


def compile_numpyro(model: Any, tune: int, draws: int) -> Callable[[int], Sampled]:
    """NumPyro's NUTS with diagonal masses, as `pm.sample(nuts_sampler="numpyro")` sets it up."""
    import jax
    from numpyro.infer import NUTS
    from pymc.sampling.jax import get_jaxified_logp

    kernel = NUTS(
        potential_fn=get_jaxified_logp(model, negative_logp=False), target_accept_prob=TARGET
    )

    def one_chain(key: Any, start: Any) -> Any:
        state = kernel.init(key, tune, start, (), {})

        def step(state: Any, _: Any) -> Any:
            state = kernel.sample(state, (), {})
            return state, (state.z, state.num_steps, state.diverging)

        _, (positions, steps, diverged) = jax.lax.scan(step, state, None, length=tune + draws)
        kept = jax.tree.map(lambda values: values[tune:], positions)
        return kept, steps[:tune].sum(), steps[tune:].sum(), diverged[tune:].sum()

    return compile_jax(model, one_chain, tune, draws)


def compile_blackjax(model: Any, tune: int, draws: int) -> Callable[[int], Sampled]:
    """BlackJAX's NUTS with its window adaptation, as PyMC sets it up."""
    import blackjax
    import jax
    from pymc.sampling.jax import get_jaxified_logp

    log_density = get_jaxified_logp(model)

    def one_chain(key: Any, start: Any) -> Any:
        warm, sample = jax.random.split(key)
        adapt = blackjax.window_adaptation(
            blackjax.nuts, log_density, target_acceptance_rate=TARGET
        )
        (state, tuned), history = adapt.run(warm, start, num_steps=tune)
        kernel = blackjax.nuts(log_density, **tuned).step

        def step(state: Any, key: Any) -> Any:
            state, info = kernel(key, state)
            return state, (state.position, info.num_integration_steps, info.is_divergent)

        keys = jax.random.split(sample, draws)
        _, (positions, steps, diverged) = jax.lax.scan(step, state, keys)
        return positions, history.info.num_integration_steps.sum(), steps.sum(), diverged.sum()

    return compile_jax(model, one_chain, tune, draws)


def compile_exact(_: Any, tune: int, draws: int) -> Callable[[int], Sampled]:
    """Compute the exact posterior from the homes, and draw as often as samplers keep draws."""
    from funnel import data, exact, priors

    homes = data.load_radon()

    def run(seed: int) -> Sampled:
        start, cpu, _ = clock()
        tree = exact.varying_slopes(homes, priors.ESSAY).draws(CHAINS * draws, seed=seed)
        end, cpu_end, _ = clock()
        costs = {"seconds": end - start, "cpu_seconds": cpu_end - cpu, "call_seconds": end - start}
        return np.log(tree["posterior"]["sigma_b"].to_numpy()), costs

    run(0)
    return run


COMPILE = {
    "pymc": compile_pymc,
    "nutpie": compile_nutpie,
    "numpyro": compile_numpyro,
    "blackjax": compile_blackjax,
    "fit": compile_fit,
    "exact": compile_exact,
}
_READY: dict[tuple[str, str], Callable[[int], Sampled]] = {}


def prepare(sampler: str, model: str, tune: int, draws: int) -> float:
    """Build and compile, in the process of the sampler; seconds."""
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    built = None if sampler == "exact" else make_model(model)
    _READY[sampler, model] = COMPILE[sampler](built, tune, draws)
    return time.perf_counter() - start


def sample(sampler: str, model: str, seed: int) -> Sampled:
    """Sample with what was compiled, in the process of the sampler."""
    return _READY[sampler, model](seed)


# --- The benchmark ----------------------------------------------------------------------


def truth() -> dict[str, float]:
    """Mean and variance of log(sigma_b), and P(sigma_b < 0.05), from the exact posterior."""
    from funnel import data, exact, priors

    posterior = exact.varying_slopes(data.load_radon(), priors.ESSAY)
    log_scale = np.log(posterior.quantile("sigma_b", (np.arange(20_000) + 0.5) / 20_000))
    below = posterior.cdf("sigma_b", SMALL)
    return {"mean": log_scale.mean(), "variance": log_scale.var(), "below": below}


def row(sampler: str, model: str, seed: int, found: Sampled, exact: dict[str, float]) -> dict:
    """One line of the table."""
    import arviz as az

    log_scale, costs = found
    by_chain = log_scale.mean(axis=1)
    below = (log_scale < np.log(SMALL)).mean()
    bulk = float(az.ess(log_scale, method="bulk"))
    tail = float(az.ess(log_scale, method="tail", prob=(0.05, 0.95)))
    seconds, gradients = costs["seconds"], costs.get("gradients")
    return {
        "sampler": sampler,
        "model": model,
        "seed": seed,
        "seconds": round(seconds, 4),
        "cpu_seconds": round(costs["cpu_seconds"], 4),
        "call_seconds": round(costs["call_seconds"], 4) if "call_seconds" in costs else None,
        "gradients": gradients,
        "divergences": costs.get("divergences"),
        "ess_bulk": round(bulk, 1),
        "ess_tail": round(tail, 1),
        "ess_bulk_per_second": round(bulk / seconds, 2),
        "ess_tail_per_second": round(tail / seconds, 2),
        "ess_bulk_per_cpu_second": round(bulk / max(costs["cpu_seconds"], 1e-3), 2),
        "ess_bulk_per_1000_gradients": round(1000 * bulk / gradients, 4) if gradients else None,
        "error_of_mean": round(float(by_chain.mean() - exact["mean"]), 5),
        "squared_error_of_chains": round(float(((by_chain - exact["mean"]) ** 2).mean()), 6),
        "below": round(float(below), 5),
        "passed": costs.get("passed"),
    }


def summarize(rows: pd.DataFrame, exact: dict[str, float]) -> pd.DataFrame:
    """Medians over the seeds, the range of ESS per second, and effective draws by truth."""
    found = []
    for (sampler, model), group in rows.groupby(["sampler", "model"], sort=False):
        medians = group.select_dtypes("number").drop(columns="seed").median()
        by_truth = CHAINS * exact["variance"] / group["squared_error_of_chains"].mean()
        found.append(
            {
                "sampler": sampler,
                "model": model,
                **medians.round(3).to_dict(),
                "least_per_second": group["ess_bulk_per_second"].min(),
                "most_per_second": group["ess_bulk_per_second"].max(),
                "draws_by_truth": round(by_truth, 1),
                "draws_by_truth_per_second": round(by_truth / medians["seconds"], 2),
            }
        )
    return pd.DataFrame(found)


def measure(seeds: range, plan: list[tuple[str, str]], tune: int, draws: int) -> dict[str, Any]:
    """Compile everything, then let the samplers take turns."""
    exact = truth()
    pools = {
        sampler: ProcessPoolExecutor(1, mp_context=get_context("spawn")) for sampler in dict(plan)
    }
    compiled, rows = [], []
    for sampler, model in plan:
        compiled.append({"sampler": sampler, "model": model})
        try:
            seconds = pools[sampler].submit(prepare, sampler, model, tune, draws).result()
            compiled[-1]["compile_seconds"] = round(seconds, 2)
        except Exception as error:  # what a peer cannot do is a result
            compiled[-1]["failure"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        print(compiled[-1], flush=True)
    ready = [(each["sampler"], each["model"]) for each in compiled if "failure" not in each]
    for seed in seeds:
        for sampler, model in ready:
            found = pools[sampler].submit(sample, sampler, model, seed).result()
            rows.append(row(sampler, model, seed, found, exact))
            print(rows[-1], flush=True)
    for pool in pools.values():
        pool.shutdown()
    return {"exact": exact, "compiled": compiled, "rows": rows}


COLD = {
    "essay": """
import pymc as pm
from funnel import data, models, priors
kinds = {"intercepts": "noncentered", "slopes": "noncentered"}
with models.varying_slopes(data.load_radon(), priors.ESSAY, **kinds):
    pm.sample(nuts_sampler="pymc", draws=DRAWS, tune=TUNE, chains=4, random_seed=SEED,
              progressbar=False, quiet=True)
""",
    "course": """
from funnel import data, fitting, models, priors
kinds = {"intercepts": "centered", "slopes": "noncentered"}
model = models.varying_slopes(data.load_radon(), priors.ESSAY, **kinds)
fitting.fit(model, seed=SEED, draws=DRAWS, tune=TUNE, expect_failure=None)
""",
    "exact": """
from funnel import data, exact, priors
exact.varying_slopes(data.load_radon(), priors.ESSAY).draws(4 * DRAWS, seed=SEED)
""",
}


def cold(repeats: int, tune: int, draws: int) -> list[dict]:
    """Seconds from a Python that has imported nothing to the first draws, compiled code unknown."""
    rows = []
    for seed in range(repeats):
        for way, script in COLD.items():
            for word, value in (("SEED", seed), ("DRAWS", draws), ("TUNE", tune)):
                script = script.replace(word, str(value))
            with tempfile.TemporaryDirectory() as folder:
                environment = {**os.environ, "PYTENSOR_FLAGS": f"base_compiledir={folder}"}
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", script], env=environment, check=True)
                seconds = time.perf_counter() - start
            rows.append({"way": way, "repeat": seed, "seconds": round(seconds, 2)})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2, help="of each start from nothing")
    parser.add_argument("--write", action="store_true", help="write to data/benchmarks")
    parser.add_argument("--folder", type=Path, help="write there instead")
    parser.add_argument("--quick", action="store_true", help="short chains, no peers: a trial")
    parser.add_argument("--samplers", nargs="+", choices=COMPILE, default=list(COMPILE))
    parser.add_argument("--models", nargs="+", choices=[*MODELS, "bambi", "exact"])
    arguments = parser.parse_args()
    plan = [p for p in PLAN if p[0] in arguments.samplers]
    if arguments.models:
        plan = [p for p in plan if p[1] in arguments.models]
    seeds, tune, draws, repeats = range(arguments.seeds), TUNE, DRAWS, arguments.repeats
    packages = ["pymc", "pytensor", "nutpie", "numba", "arviz", "numpy"]
    if arguments.quick:
        plan = [("nutpie", "marginal"), ("fit", "mixed"), ("exact", "exact")]
        seeds, tune, draws, repeats = range(1), 100, 100, 1
    else:
        packages += ["numpyro", "blackjax", "jax", "bambi"]
    # One device for each chain; the processes of the samplers inherit it.
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={CHAINS}"
    os.environ["JAX_PLATFORMS"] = "cpu"
    notes = results.conditions(
        packages, seeds=list(seeds), chains=CHAINS, tune=tune, draws=draws, target_accept=TARGET
    )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTENSOR_FLAGS"] = f"base_compiledir={folder}"
        found = measure(seeds, plan, tune, draws)
    starts = cold(repeats, tune, draws // 2)
    summary = summarize(pd.DataFrame(found["rows"]), found["exact"])
    summary = pd.DataFrame(found["compiled"]).merge(summary, how="left")
    print(summary.to_string(index=False))
    print(pd.DataFrame(starts).groupby("way", sort=False)["seconds"].median().to_string())
    if arguments.write or arguments.folder:
        notes["exact"] = found["exact"]
        results.write("sampling", found["rows"], notes, arguments.folder)
        for name, rows in (("sampling_summary", summary), ("sampling_cold", starts)):
            table = pd.DataFrame(rows)
            folder = arguments.folder or results.FOLDER
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
