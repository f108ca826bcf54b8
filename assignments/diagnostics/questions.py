"""The funnel and its diagnostics: what is asked of a submission, and the truth beside it."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import integrate, optimize, stats

from grading.questions import (
    Answer,
    Check,
    Numbers,
    Question,
    Request,
    all_close,
    close,
    entries,
    same,
    split,
)

EXPECTATIONS = ("probability", "mean", "log")


def numbers(rng: np.random.Generator) -> Numbers:
    """Draw what differs between classes: a limit, a posterior, a landscape, a funnel."""
    center, spread = rng.uniform(-1.4, -1.0), rng.uniform(0.9, 1.2)
    edge = rng.uniform(1.1, 1.4)
    return {
        "limit": round(rng.uniform(0.04, 0.09), 5),
        "size": round(rng.uniform(0.15, 0.5), 3),
        "width": round(rng.uniform(0.5, 2.0), 2),
        "bump": round(rng.uniform(0.2, 1.5), 2),
        "mass": round(rng.uniform(0.5, 3.0), 2),
        "sigma_y": round(rng.uniform(0.5, 1.0), 3),
        "mouth": round(rng.uniform(0.25, 0.6), 3),
        "neck": round(rng.uniform(0.01, 0.05), 4),
        "rule": round(rng.uniform(0.2, 0.45), 4),
        "center": round(center, 2),
        "spread": round(spread, 2),
        "effects": int(rng.integers(7, 12)),
        "step": round(2 * math.exp(center - edge * spread), 3),
        "alike": round(math.exp(center - rng.uniform(1.1, 1.4) * spread), 3),
        "said": round(rng.uniform(2.0, 5.0), 1),
        "removed": int(rng.integers(140, 420)),
    }


# --- q1: what a run says -------------------------------------------------------------------


def draw_run(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about runs of four to eight chains, and about independent draws."""
    requests = []
    for chains in (4, 6, 8):
        level = rng.normal(math.log(given["limit"]), 0.4, (chains, 1))
        draws = np.exp(rng.normal(level, 0.6, (chains, 500)))
        requests.append(Request("q1", "below", ({"array": draws.tolist()},)))
    sizes = np.exp(rng.uniform(2, 10, 4)).astype(int)
    return requests + [Request("q1", "lowest", (int(n),)) for n in sizes]


def score_run(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare probability and error of a run, and how far down draws should come."""
    runs, told = split(requests, answers, "below")
    share = [(np.array(run.arguments[0]["array"]) < given["limit"]).mean(axis=1) for run in runs]
    error = [each.std(ddof=1) / math.sqrt(len(each)) for each in share]
    sizes, lowest = split(requests, answers, "lowest")
    n = np.array([request.arguments[0] for request in sizes])
    # The smallest of n is above x with probability (1 - F(x))^n.
    median = given["size"] * stats.halfnorm.isf(0.5 ** (1 / n))
    return [
        Check("The probability that the draws give",
              all_close(entries(told, "probability"), [each.mean() for each in share]), 1),
        Check("Its standard error, from the chains",
              all_close(entries(told, "error"), error), 1),
        Check("How low as many independent draws would come",
              all_close([answer.value for answer in lowest], median), 1),
    ]  # fmt: skip


# --- q2: a path ----------------------------------------------------------------------------


def draw_path(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask for paths with steps on both sides of the limit."""
    curvature = 1 / given["width"] ** 2
    limit = 2 * math.sqrt(given["mass"] / curvature)
    steps = limit * rng.permutation([*rng.uniform(0.1, 0.7, 3), *rng.uniform(1.05, 1.5, 3)])
    return [
        Request("q2", "path", (rng.normal(), rng.normal(), float(step), int(rng.integers(8, 25))))
        for step in steps
    ]


def _path(q: float, p: float, step: float, steps: int, given: Numbers) -> dict:
    width, bump, mass = given["width"], given["bump"], given["mass"]

    def energy() -> float:
        return q**2 / (2 * width**2) + bump * math.log1p(q**2) + p**2 / (2 * mass)

    def slope() -> float:
        return q / width**2 + 2 * bump * q / (1 + q**2)

    start = energy()
    worst = 0.0
    for _ in range(steps):
        p -= step / 2 * slope()
        q += step * p / mass
        p -= step / 2 * slope()
        worst = max(worst, abs(energy() - start))
    return {"q": q, "p": p, "error": worst}


def score_path(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare ends of paths, and energy errors."""
    truth = [_path(*request.arguments, given) for request in requests]
    ends = all(
        all_close(entries(answers, name), [each[name] for each in truth]) for name in ("q", "p")
    )
    error = all_close(entries(answers, "error"), [each["error"] for each in truth])
    return [
        Check("Where the path ends", ends, 2),
        Check("The largest energy error on the way", error, 2),
    ]


# --- q3: limit and wall --------------------------------------------------------------------


def draw_limit(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about surveys of several counties, and steps that some of them never survive."""
    requests = []
    for _ in range(5):
        homes = rng.permutation([0, *rng.integers(1, 60, 7)])
        widths = rng.uniform(0.1, 0.3, 8)
        arguments = ({"array": homes.tolist()}, {"array": widths.tolist()})
        scale = given["sigma_y"] * math.exp(rng.uniform(-2, 0))
        requests.append(Request("q3", "limit", (scale, *arguments)))
        # With no end of sigma_b only the data are left, and their curvature has a limit too.
        survives = (2 * given["sigma_y"] / (widths * np.sqrt(np.maximum(homes, 1)))).min()
        requests += [
            Request("q3", "wall", (float(survives * factor), *arguments))
            for factor in (rng.uniform(0.3, 0.95), rng.uniform(1.05, 2))
        ]
    return requests


def score_limit(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare the largest stable steps, and the walls that steps build."""
    limits, walls = [], []
    for request, answer in zip(requests, answers, strict=True):
        homes, widths = (np.array(each["array"]) for each in request.arguments[1:])
        data = homes / given["sigma_y"] ** 2
        if request.function == "limit":
            curvature = data + 1 / request.arguments[0] ** 2
            limits.append(close(answer.value, (2 / (widths * np.sqrt(curvature))).min()))
            continue
        room = 4 / (request.arguments[0] * widths) ** 2 - data
        if (room <= 0).any():
            walls.append(answer.status == "ok" and answer.value is None)
        else:
            walls.append(close(answer.value, (room**-0.5).max()))
    return [
        Check("The largest stable step, with data and with scaled coordinates", all(limits), 2),
        Check("The wall of a step, and when no scale is stable", all(walls), 3),
    ]


# --- q4: kicks -----------------------------------------------------------------------------


def _with_bfmi(target: float, rng: np.random.Generator) -> np.ndarray:
    """Make energies of one chain whose E-BFMI is the target: slow waves, and the noise it takes."""
    wave = 20 * np.sin(np.linspace(0, rng.uniform(3, 9), 250))
    noise = rng.normal(size=250)

    def excess(amount: float) -> float:
        energy = wave + amount * noise
        return float((np.diff(energy) ** 2).sum() / (energy.size * energy.var()) - target)

    return 900 + wave + optimize.brentq(excess, 0, 1000) * noise


def draw_kicks(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about energies of many chains, some close to the rule, and about the way down."""
    requests = []
    for _ in range(3):
        away = rng.choice([-1, 1], 10) * np.exp(rng.uniform(np.log(1e-4), np.log(0.5), 10))
        chains = [_with_bfmi(target, rng) for target in given["rule"] * np.exp(away)]
        requests.append(Request("q4", "bfmi", ({"array": np.array(chains).tolist()},)))
    for _ in range(4):
        groups = int(rng.integers(8, 400))
        requests.append(Request("q4", "kicks", (groups, groups + int(rng.integers(2, 300)))))
    return requests


def score_kicks(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare E-BFMI and what it flags, and the number of kicks."""
    runs, told = split(requests, answers, "bfmi")
    right = []
    for run, answer in zip(runs, told, strict=True):
        energy = np.array(run.arguments[0]["array"])
        kicks = (np.diff(energy) ** 2).sum(axis=1)
        ratio = kicks / ((energy - energy.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        flagged = np.flatnonzero(ratio < given["rule"])
        value = answer.value if type(answer.value) is dict else {}
        right.append(close(value.get("bfmi"), ratio) and close(value.get("flagged"), flagged))
    asked, ways = split(requests, answers, "kicks")
    groups, parameters = np.array([request.arguments for request in asked]).T
    straight = groups * math.log(given["mouth"] / given["neck"]) / np.sqrt(parameters)
    down = all_close(entries(ways, "straight"), straight)
    down = down and all_close(entries(ways, "walk"), straight**2)
    return [
        Check("E-BFMI of each chain, and which chains it flags", all(right), 2),
        Check("How many kicks lead down the funnel", down, 2),
    ]


# --- q5: the sign, and then the size -------------------------------------------------------


def draw_bias(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about runs that are too rarely, and too often, below the wall."""
    requests = []
    for side in rng.permutation([-1, -1, -1, 1, 1, 1]):
        wall = given["limit"] * rng.uniform(0.3, 0.95)
        below = 2 * stats.norm.cdf(wall / given["size"]) - 1
        share = float(below * math.exp(side * rng.uniform(0.02, 1.2)))
        arguments = (float(wall), share)
        requests += [Request("q5", "predict", arguments), Request("q5", "measure", arguments)]
    arguments = (given["limit"] * rng.uniform(0.5, 0.9), 0.0)
    return [*requests, Request("q5", "predict", arguments), Request("q5", "measure", arguments)]


def _biases(wall: float, share: float, given: Numbers) -> list[float]:
    posterior = stats.halfnorm(scale=given["size"])
    below = posterior.cdf(wall)

    def split(function: object) -> tuple[float, float]:
        ends = [(0, wall), (wall, 12 * given["size"])]
        return tuple(
            integrate.quad(lambda s: function(s) * posterior.pdf(s), *end, limit=200,
                           epsabs=1e-13, epsrel=1e-11)[0]
            for end in ends
        )  # fmt: skip

    def bias(low: float, high: float) -> float:
        return share * low / below + (1 - share) * high / (1 - below) - low - high

    return [
        bias(below, posterior.cdf(given["limit"]) - below),
        bias(*split(lambda s: s)),
        bias(*split(math.log)),
    ]


def score_bias(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare signs, and sizes."""
    asked, signs = split(requests, answers, "predict")
    _, sizes = split(requests, answers, "measure")
    truth = np.array([_biases(*request.arguments, given) for request in asked])
    words = np.where(truth > 0, "too high", "too low")
    signs_right = all(
        same(entries(signs, name), words[:, i].tolist()) for i, name in enumerate(EXPECTATIONS)
    )
    close_to = [all_close(entries(sizes, name), truth[:, i]) for i, name in enumerate(EXPECTATIONS)]
    return [
        Check("The bias of the probability", close_to[0], 1.5),
        Check("The biases of the two means", close_to[1] and close_to[2], 1.5),
        Check("Its sign, predicted, for all three, and the size of one of them",
              signs_right and any(close_to), 2),
    ]  # fmt: skip


QUESTIONS = [
    Question("q1", "What a run says of itself", 3, "easy", "funnel.html#ten-runs",
             draw=draw_run, score=score_run),
    Question("q2", "Follow the path", 4, "easy",
             "funnel.html#the-mathematics-curvature-and-the-largest-step",
             draw=draw_path, score=score_path),
    Question("q3", "The limit, and the wall that it builds", 5, "medium",
             "funnel.html#the-mathematics-curvature-and-the-largest-step",
             draw=draw_limit, score=score_limit),
    Question("q4", "Kicks", 4, "medium", "funnel.html#the-second-cause-the-energy-of-a-funnel",
             draw=draw_kicks, score=score_kicks),
    Question("q5", "The sign first, then the size", 5, "hard",
             "funnel.html#wrong-and-right-by-luck", draw=draw_bias, score=score_bias),
    Question("q6", "Where the limit comes from", 4, "hard",
             "funnel.html#the-mathematics-curvature-and-the-largest-step", manual=True),
    Question("q7", "What is wrong with this report?", 6, "hard",
             "funnel.html#which-diagnostic-notices", manual=True),
]  # fmt: skip
