"""Expectations and decisions: what is asked of a submission, and the truth beside it."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats

from grading.questions import (
    Answer,
    Check,
    Numbers,
    Question,
    Request,
    all_close,
    close,
    entries,
    number,
    same,
    split,
)

CLINICS = 8  # in the study of question 7


def numbers(rng: np.random.Generator) -> Numbers:
    """Draw what differs between classes: coordinates, prices, priors, and a study."""
    error = rng.uniform(3.0, 6.0)
    tau = rng.uniform(0.4, 0.7) * error
    while True:  # until the estimate of the standard deviation between clinics is zero
        effects = np.round(rng.normal(rng.normal(8, 2), math.hypot(tau, error), CLINICS), 1)
        if 0.4 < effects.var(ddof=1) / error**2 < 0.95:
            break
    return {
        "power": round(rng.uniform(1.3, 2.6), 2),
        "limit": round(rng.uniform(0.4, 1.6), 2),
        "under": round(rng.uniform(3.0, 9.0), 2),
        "over": round(rng.uniform(1.0, 2.9), 2),
        "weight": round(rng.uniform(0.5, 2.5), 3),
        "root": round(rng.uniform(0.3, 0.8), 4),
        "se": round(rng.uniform(0.6, 1.9), 2),
        "sd_mu": round(rng.uniform(2.0, 6.0), 2),
        "shape": round(rng.uniform(1.2, 2.8), 3),
        "rate": round(rng.uniform(0.4, 1.8), 2),
        "width": round(rng.uniform(0.5, 2.0), 2),
        "drop": round(rng.uniform(4.0, 12.0), 2),
        "price": int(rng.integers(1100, 2900)),
        "harm": round(rng.uniform(300, 700), 1),
        "after": round(rng.uniform(1.2, 2.4), 2),
        "study": {"clinic": list("ABCDEFGH"), "effect": effects.tolist()},
        "error": round(error, 2),
        "size": round(rng.uniform(3.0, 8.0), 1),
    }


# --- q1: the mode moves --------------------------------------------------------------------


def draw_modes(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about posteriors with a top in all, some or one of the coordinates."""
    shapes = [
        *rng.uniform(0.2, 0.95, 2),
        *rng.uniform(1.05, given["power"] - 0.05, 2),
        *rng.uniform(given["power"] + 0.05, 6, 3),
    ]
    requests = []
    for shape in rng.permutation(shapes):
        arguments = (float(shape), rng.uniform(0.5, 4.0))
        requests += [Request("q1", "modes", arguments), Request("q1", "probability", arguments)]
    return requests


def score_modes(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare modes in three coordinates, and a probability that needs none."""
    asked, told = split(requests, answers, "modes")
    right = []
    for request, answer in zip(asked, told, strict=True):
        shape, rate = request.arguments
        # A change to sigma^p divides the density by sigma^(p - 1).
        for name, power in [("plain", 1.0), ("log", 0.0), ("power", given["power"])]:
            value = answer.value if type(answer.value) is dict else {}
            if shape > power:
                right.append(close(value.get(name), (shape - power) / rate))
            else:
                right.append(name in value and value[name] is None)
    asked, told = split(requests, answers, "probability")
    truth = [stats.gamma.cdf(given["limit"], k, scale=1 / rate) for k, rate in
             (request.arguments for request in asked)]  # fmt: skip
    return [
        Check("The modes in three coordinates, and where there is none", all(right), 2),
        Check("The probability, which needs no coordinates",
              all_close([answer.value for answer in told], truth), 1),
    ]  # fmt: skip


# --- q2: what an error costs ---------------------------------------------------------------


def draw_report(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask for reports from skewed draws."""
    return [
        Request("q2", "report", ({"array": np.exp(rng.normal(m, s, 12_001)).tolist()},))
        for m, s in zip(rng.normal(-1, 0.7, 4), rng.uniform(0.4, 1.0, 4), strict=True)
    ]


def score_report(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare the best reports for three losses."""
    lines, weighted, rooted = [], [], []
    for request, answer in zip(requests, answers, strict=True):
        draws = np.sort(request.arguments[0]["array"])
        value = answer.value if type(answer.value) is dict else {}
        told = number(value.get("prices"))
        # Quantiles of draws have several definitions, which differ by less than a draw.
        place = given["under"] / (given["under"] + given["over"]) * len(draws)
        low, high = draws[math.floor(place) - 2], draws[math.floor(place) + 1]
        lines.append(told is not None and low <= told <= high)
        weight = draws ** given["weight"]
        best = (weight * draws).sum() / weight.sum()
        weighted.append(close(value.get("weighted"), best))
        best = (draws ** given["root"]).mean() ** (1 / given["root"])
        rooted.append(close(value.get("root"), best))
    return [
        Check("The best report for two prices", all(lines), 2),
        Check("The best report for a weighted squared error", all(weighted), 2),
        Check("The best report for a squared error of a root", all(rooted), 1),
    ]


# --- q3: no top ----------------------------------------------------------------------------


def draw_higher(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask for points that are higher than any bound, and for rates."""
    requests = []
    for bound in np.exp(rng.uniform(4, 7.2, 4)):
        groups = int(rng.integers(5, 13))
        y = rng.normal(rng.normal(0, 2), 1.5 * given["se"], groups)
        requests.append(Request("q3", "higher", ({"array": y.tolist()}, float(bound))))
    for jacobian in (True, False, True, False, True):
        centeredness = float(rng.choice([0.0, 1.0, rng.uniform(0.05, 0.95)]))
        arguments = (int(rng.integers(2, 40)), centeredness, jacobian)
        requests.append(Request("q3", "growth", arguments))
    return requests


def _log_density(y: np.ndarray, value: object, given: Numbers) -> float | None:
    """Log density of the centered model at a point that was sent; None if it is no point."""
    if type(value) is not dict or type(value.get("theta")) is not list:
        return None
    mu, tau = number(value.get("mu")), number(value.get("tau"))
    theta = [number(each) for each in value["theta"]]
    if mu is None or tau is None or not tau > 0 or len(theta) != len(y) or None in theta:
        return None
    with np.errstate(over="ignore"):
        scaled = (np.array(theta, dtype=float) - mu) / tau
        squares = (scaled**2).sum() / 2
    if not math.isfinite(squares):
        return None
    normal = math.log(2 * math.pi) / 2
    return float(
        stats.norm.logpdf(mu, 0, given["sd_mu"])
        + stats.gamma.logpdf(tau, given["shape"], scale=1 / given["rate"])
        - len(y) * (math.log(tau) + normal)
        - squares
        + stats.norm.logpdf(y, theta, given["se"]).sum()
    )


def score_higher(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Ask whether the points are just above their bounds, and compare rates."""
    asked, told = split(requests, answers, "higher")
    above = []
    for request, answer in zip(asked, told, strict=True):
        y, bound = np.array(request.arguments[0]["array"]), request.arguments[1]
        found = _log_density(y, answer.value, given)
        above.append(found is not None and bound < found < bound + 0.01)
    asked, told = split(requests, answers, "growth")
    rates = [
        groups * centeredness - (given["shape"] - 1) - jacobian
        for groups, centeredness, jacobian in (request.arguments for request in asked)
    ]
    return [
        Check("Points just above each bound that was set", all(above), 3),
        Check("How fast the log density grows, in any coordinates",
              all_close([answer.value for answer in told], rates), 2),
    ]  # fmt: skip


# --- q4: two uses of one distribution ------------------------------------------------------


def draw_squares(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about dimensions and about numbers of groups."""
    requests = []
    for d in rng.integers(1, 40, 5):
        radius = given["width"] * math.sqrt(d) * rng.uniform(0.5, 1.3)
        requests.append(Request("q4", "ball", (int(d), float(radius))))
    for _ in range(5):
        tau = given["se"] * rng.uniform(0.0, 1.5)
        requests.append(Request("q4", "zero", (int(rng.integers(3, 40)), float(tau))))
    return requests


def score_squares(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare shares of draws, and probabilities of an estimate of zero."""
    asked, told = split(requests, answers, "ball")
    d, radius = np.array([request.arguments for request in asked]).T
    inside = stats.chi2.cdf((radius / given["width"]) ** 2, d)
    below = stats.chi2.sf(2 * given["drop"], d)
    typical = all_close(entries(told, "inside"), inside)
    typical = typical and all_close(entries(told, "below"), below)
    asked, told = split(requests, answers, "zero")
    groups, tau = np.array([request.arguments for request in asked]).T
    share = given["se"] ** 2 / (given["se"] ** 2 + tau**2)
    reml = stats.chi2.cdf((groups - 1) * share, groups - 1)
    ml = stats.chi2.cdf(groups * share, groups - 1)
    return [
        Check("How many draws are near the mode, and how many far below it", typical, 2),
        Check("How often REML says zero", all_close(entries(told, "reml"), reml), 1.5),
        Check("How often maximum likelihood does", all_close(entries(told, "ml"), ml), 1.5),
    ]


# --- q5: the price of a point --------------------------------------------------------------


def _costs(level: np.ndarray, sigma: np.ndarray, given: Numbers) -> tuple[float, float]:
    """Compute the expected cost of leaving a home as it is, and of fixing it."""
    mean = np.exp(level + sigma**2 / 2)
    c = math.log(given["after"])
    capped = mean * stats.norm.cdf((c - level - sigma**2) / sigma)
    capped = capped + given["after"] * stats.norm.sf((c - level) / sigma)
    return given["harm"] * mean.mean(), given["price"] + given["harm"] * capped.mean()


def draw_price(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about counties near the place where the decision turns."""
    requests = []
    for side in rng.permutation([1, 1, 1, -1, -1, -1]):
        level = rng.normal(0, rng.uniform(0.4, 0.8), 80)
        sigma = np.exp(rng.normal(-0.5, 0.2, 80))

        def gap(shift: float, level: np.ndarray = level, sigma: np.ndarray = sigma) -> float:
            leave, fix = _costs(level + shift, sigma, given)
            return leave - fix

        turn = optimize.brentq(gap, -10, 10)
        level = level + turn + side * rng.uniform(0.02, 0.08)
        arguments = ({"array": level.tolist()}, {"array": sigma.tolist()})
        requests += [Request("q5", "costs", arguments), Request("q5", "regret", arguments)]
    return requests


def score_price(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare expected costs, decisions, and what a point costs."""
    asked, told = split(requests, answers, "costs")
    draws = [[np.array(each["array"]) for each in request.arguments] for request in asked]
    truth = np.array([_costs(*pair, given) for pair in draws])
    leave = all_close(entries(told, "leave"), truth[:, 0])
    fix = all_close(entries(told, "fix"), truth[:, 1])
    best = np.where(truth[:, 0] < truth[:, 1], "leave", "fix").tolist()
    decided = leave and fix and same(entries(told, "best"), best)
    plugged = [_costs(np.mean(a, keepdims=True), np.mean(s, keepdims=True), given)
               for a, s in draws]  # fmt: skip
    chosen = [pair[int(np.argmin(point))] for pair, point in zip(truth, plugged, strict=True)]
    _, regrets = split(requests, answers, "regret")
    regret = np.array(chosen) - truth.min(axis=1)
    return [
        Check("The expected cost of leaving", leave, 1),
        Check("The expected cost of fixing, and the decision", decided, 2),
        Check("What a decision by plugged-in means costs",
              all_close([answer.value for answer in regrets], regret), 2),
    ]  # fmt: skip


QUESTIONS = [
    Question("q1", "The mode moves, a probability does not", 3, "easy",
             "expectations.html#ex-expectations-jacobian",
             draw=draw_modes, score=score_modes),
    Question("q2", "What does an error cost?", 5, "easy",
             "expectations.html#marginal-modes-means-medians-what-is-each-of-them-good-for",
             draw=draw_report, score=score_report),
    Question("q3", "Higher than any bound", 5, "medium",
             "expectations.html#one-number-for-steele", draw=draw_higher, score=score_higher),
    Question("q4", "Two uses of one distribution", 5, "medium",
             "expectations.html#an-estimate-of-exactly-zero",
             draw=draw_squares, score=score_squares),
    Question("q5", "The price of a point", 5, "hard",
             "expectations.html#the-decision-made-both-ways", draw=draw_price, score=score_price),
    Question("q6", "Two prices", 4, "medium",
             "expectations.html#marginal-modes-means-medians-what-is-each-of-them-good-for",
             manual=True),
    Question("q7", "Are all clinics alike?", 6, "hard",
             "expectations.html#an-estimate-of-exactly-zero", ("funnel.exact",), manual=True),
]  # fmt: skip
