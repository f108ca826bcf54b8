"""Time the exact posterior of the radon model, and set it against sampling.

    python benchmarks/exact.py --repeats 7

Every repeat is on data not seen before: the homes with new noise. Seconds depend on
the machine, so each line also has them as a multiple of something done in the same
run: a matrix product of 400 million multiplications, and one fit with NUTS.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from funnel import data, exact, fitting, models, priors


def best(repeats: int, task: Callable[[int], object]) -> float:
    """Shortest time of `repeats` runs, in seconds."""
    seconds = []
    for repeat in range(repeats):
        start = time.perf_counter()
        task(repeat)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Print one line for each task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--draws", type=int, default=4000)
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    homes = data.load_radon()
    model = models.varying_slopes(homes, priors.ESSAY, intercepts="centered", slopes="noncentered")

    def new_homes() -> object:
        noise = 0.1 * rng.standard_normal(len(homes))
        return homes.assign(log_radon=homes["log_radon"] + noise)

    unseen = [new_homes() for _ in range(3 * arguments.repeats + 1)]
    start = time.perf_counter()
    posterior = exact.varying_slopes(unseen.pop(), priors.ESSAY)
    posterior.draws(4, seed=1)
    compilation = time.perf_counter() - start
    nodes = posterior._grid.mass.shape

    square = rng.standard_normal((737, 737))
    tasks = {
        "posterior": lambda _: exact.varying_slopes(unseen.pop(), priors.ESSAY),
        "draws": lambda seed: posterior.draws(arguments.draws, seed=seed),
        "posterior and draws": lambda seed: exact.varying_slopes(unseen.pop(), priors.ESSAY).draws(
            arguments.draws, seed=seed
        ),
    }
    product = best(20, lambda _: square @ square)
    fit = best(1, lambda _: fitting.fit(model, seed=1))
    print(f"{'':<30} {'seconds':>8} {'products':>9} {'of a fit':>9}")
    print(f"{'matrix product':<30} {product:8.3f}")
    print(f"{'NUTS, compilation included':<30} {fit:8.3f}")
    print(f"{'first posterior, compiling':<30} {compilation:8.3f}")
    for name, task in tasks.items():
        seconds = best(arguments.repeats, task)
        print(f"{name:<30} {seconds:8.3f} {seconds / product:9.1f} {seconds / fit:9.4f}")
    print(f"{arguments.draws} draws of 175 parameters; finest grid {' x '.join(map(str, nodes))}")


if __name__ == "__main__":
    main()
