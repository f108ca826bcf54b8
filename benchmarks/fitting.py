"""Count how often fits pass, and what they cost.

    python benchmarks/fitting.py --seeds 100

Fits each model with the seeds 0, 1, 2, ... at the defaults of `funnel.fitting.fit`
and prints one line per model: how many passed the diagnostics, and the medians of
what the others say. `--csv` keeps one line per fit.
"""

import argparse
import time
from collections.abc import Iterator

import pandas as pd
import pymc as pm

from funnel import data, fitting, models, priors


def build_models() -> dict[str, tuple[pm.Model, str]]:
    """Each model with the parameter at the top of its funnel."""
    homes, schools = data.load_radon(), data.load_eight_schools()

    def radon(intercepts: str, slopes: str) -> tuple[pm.Model, str]:
        model = models.varying_slopes(homes, priors.ESSAY, intercepts=intercepts, slopes=slopes)
        return model, "sigma_b"

    return {
        "radon, intercepts centered, slopes noncentered": radon("centered", "noncentered"),
        "radon, both noncentered": radon("noncentered", "noncentered"),
        "eight schools, noncentered": (models.eight_schools(schools, effects="noncentered"), "tau"),
        "radon, both centered": radon("centered", "centered"),
        "radon, intercepts noncentered, slopes centered": radon("noncentered", "centered"),
        "eight schools, centered": (models.eight_schools(schools, effects="centered"), "tau"),
    }


def fits(name: str, model: pm.Model, top: str, seeds: int, sampler: str) -> Iterator[dict]:
    """Fit one model with many seeds; one row per fit."""
    for seed in range(seeds):
        start = time.perf_counter()
        draws = fitting.fit(model, seed=seed, sampler=sampler, expect_failure=None)
        seconds = time.perf_counter() - start
        table = fitting.diagnose(draws)
        divergences = fitting.divergences(draws)
        yield {
            "model": name,
            "seed": seed,
            "passed": bool(table["passed"].all()) and divergences == 0,
            "missed": " ".join(table.index[~table["passed"]]),
            "divergences": divergences,
            "r_hat": table["r_hat"].max(),
            "ess_bulk": table["ess_bulk"].min(),
            "ess_tail": table["ess_tail"].min(),
            "ess_bulk_of_top": table.loc[top, "ess_bulk"],
            "ess_tail_of_top": table.loc[top, "ess_tail"],
            "gradients": fitting.gradients(draws),
            "seconds": seconds,
        }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--sampler", choices=["nutpie", "pymc"], default="nutpie")
    parser.add_argument("--model", help="only models with this in their name", default="")
    parser.add_argument("--csv", help="file for one line per fit")
    arguments = parser.parse_args()
    rows: list[dict] = []
    for name, (model, top) in build_models().items():
        if arguments.model not in name:
            continue
        for row in fits(name, model, top, arguments.seeds, arguments.sampler):
            rows.append(row)
            if arguments.csv:
                pd.DataFrame(rows).to_csv(arguments.csv, index=False)
        table = pd.DataFrame(row for row in rows if row["model"] == name)
        first, others = table["seconds"].iloc[0], table["seconds"].iloc[1:].median()
        print(
            f"{name}: {table['passed'].sum()} of {len(table)} passed\n"
            f"  {(table['divergences'] > 0).sum()} with divergences (median "
            f"{table['divergences'].median():.0f}), R-hat up to {table['r_hat'].max():.4f}, "
            f"least bulk ESS {table['ess_bulk'].min():.0f}, "
            f"least tail ESS {table['ess_tail'].min():.0f}\n"
            f"  medians: bulk ESS of {top} {table['ess_bulk_of_top'].median():.0f}, "
            f"{table['gradients'].median():,.0f} gradients\n"
            f"  {first:.1f} s for the first fit, compiling, {others:.1f} s for each further one",
            flush=True,
        )


if __name__ == "__main__":
    main()
