"""Hyperpriors: what is asked of a submission, and the truth beside it."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import integrate, stats

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
    table,
)

WARDS = 5  # in the study of question 7


def numbers(rng: np.random.Generator) -> Numbers:
    """Draw what differs between classes: sentences about homes, priors, a small study."""
    errors = rng.uniform(0.5, 1.4, WARDS)
    effects = rng.normal(rng.uniform(1, 3), 0.9, WARDS) + errors * rng.normal(size=WARDS)
    return {
        "offset": round(rng.uniform(0.03, 0.25), 3),
        "chance": round(rng.uniform(2.0, 12.0), 2),
        "mark": int(rng.integers(150, 900)),
        "noise": round(rng.uniform(0.5, 1.1), 2),
        "limit": round(rng.uniform(2.5, 7.0), 2),
        "mean_mu_a": round(rng.uniform(0.3, 1.5), 2),
        "precision_mu_a": round(rng.uniform(0.2, 2.5), 2),
        "sd_mu_b": round(rng.uniform(0.3, 1.3), 2),
        "mean_sigma_a": round(rng.uniform(0.2, 0.45), 2),
        "mean_sigma_b": round(rng.uniform(0.6, 0.9), 2),
        "median_sigma_y": round(rng.uniform(0.4, 1.2), 2),
        "mean_mu": round(rng.uniform(-3.0, 3.0), 1),
        "sd_mu": round(rng.uniform(2.0, 6.0), 1),
        "unit": str(rng.choice(["days in hospital", "points of a pain score", "hours of sleep"])),
        "study": {
            "ward": list("ABCDE"),
            "effect": [round(float(value), 2) + 0.0 for value in effects],
            "error": [round(float(value), 2) for value in errors],
        },
    }


# --- q1: from a sentence to a prior --------------------------------------------------------

SIZES, RATES = ("HalfNormal", "HalfCauchy"), ("Exponential", "Gamma")


def draw_size(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask for each family at two factors, in random order."""
    asked = [(family, float(rng.uniform(1.3, 9))) for family in (*SIZES, *RATES) for _ in range(2)]
    return [Request("q1", "size", asked[place]) for place in rng.permutation(len(asked))]


def _size(family: str, factor: float, given: Numbers) -> float:
    upper, scale = 1 - given["chance"] / 100, math.log(factor)
    at_one = {
        "HalfNormal": stats.halfnorm.ppf(upper),
        "HalfCauchy": stats.halfcauchy.ppf(upper),
        "Exponential": stats.expon.ppf(upper),
        "Gamma": stats.gamma.ppf(upper, 2),
    }[family]
    return scale / at_one if family in SIZES else at_one / scale


def score_size(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare the sizes and the rates."""
    right = {
        kind: all(
            close(answer.value, _size(*request.arguments, given), rtol=1e-5)
            for request, answer in zip(requests, answers, strict=True)
            if request.arguments[0] in kind
        )
        for kind in (SIZES, RATES)
    }
    return [
        Check("The sizes of half-normal and half-Cauchy", right[SIZES], 1.5),
        Check("The rates of exponential and gamma", right[RATES], 1.5),
    ]


# --- q2: impossible homes ------------------------------------------------------------------


def draw_beyond(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask for hyperpriors from firm to wide."""
    return [
        Request("q2", "beyond", tuple(rng.uniform([0, 0.5, size], [1.5, 3, size + 1]).tolist()),
                seconds=20)
        for size in (0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
    ]  # fmt: skip


def score_beyond(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare probabilities, to three in ten thousand, and the order of firm and wide."""
    edge, truth = math.log(given["mark"] + given["offset"]), []
    for mean, sd, size in (request.arguments for request in requests):

        def at(u: float, mean: float = mean, sd: float = sd, size: float = size) -> float:
            between = stats.halfnorm.ppf(u, scale=size)
            return stats.norm.sf(edge, mean, math.hypot(sd, between, given["noise"]))

        truth.append(integrate.quad(at, 0, 1, limit=200, epsabs=1e-7)[0])
    values = [answer.value for answer in answers]
    firm = all_close(values[:3], truth[:3], rtol=0, atol=3e-4)
    wide = all_close(values[3:], truth[3:], rtol=0, atol=3e-4)
    return [
        Check("How many impossible homes wide hyperpriors imagine", wide, 2),
        Check("The same for wide and firm ones", wide and firm, 1),
    ]


# --- q3: the colleague's file --------------------------------------------------------------


def draw_model(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask for log densities at a point, and where a part of it has moved."""
    county = rng.permutation(np.concatenate([np.arange(4), rng.integers(0, 4, 10)]))
    homes = table(county=county, floor=rng.integers(0, 2, 14), log_radon=rng.normal(1.2, 0.9, 14))

    def means() -> dict:
        return {"mu_a": rng.normal(1, 0.8), "mu_b": rng.normal(-0.6, 0.6)}

    def scales() -> dict:
        return {name: rng.uniform(0.3, 1.4) for name in ("sigma_a", "sigma_b", "sigma_y")}

    def effects() -> dict:
        return {"a": rng.normal(1, 0.6, 4).tolist(), "b": rng.normal(-0.6, 0.5, 4).tolist()}

    start = means() | scales() | effects()
    points = [start, *({**start, **means()} for _ in range(3))]
    points += [{**start, **scales()} for _ in range(3)]
    points += [means() | scales() | effects() for _ in range(3)]
    return [Request("q3", "model", (homes,), "model", tuple(points), seconds=60)]


def _log_density(homes: dict, point: dict, given: Numbers) -> float:
    norm = stats.norm.logpdf
    county, floor = np.array(homes["county"]), np.array(homes["floor"])
    a, b = np.array(point["a"]), np.array(point["b"])
    size_y = given["median_sigma_y"] / stats.halfnorm.median()
    return float(
        norm(point["mu_a"], given["mean_mu_a"], given["precision_mu_a"] ** -0.5)
        + norm(point["mu_b"], 0, given["sd_mu_b"])
        + stats.expon.logpdf(point["sigma_a"], scale=given["mean_sigma_a"])
        + stats.gamma.logpdf(point["sigma_b"], 2, scale=given["mean_sigma_b"] / 2)
        + stats.halfnorm.logpdf(point["sigma_y"], scale=size_y)
        + norm(a, point["mu_a"], point["sigma_a"]).sum()
        + norm(b, point["mu_b"], point["sigma_b"]).sum()
        + norm(homes["log_radon"], a[county] + b[county] * floor, point["sigma_y"]).sum()
    )


def score_model(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare differences of log densities, part by part, and the log densities themselves."""
    (request,), (answer,) = requests, answers
    homes = request.arguments[0]["table"]
    truth = np.array([_log_density(homes, point, given) for point in request.points])
    value = answer.value if type(answer.value) is dict else {}
    found = value.get("logp")
    found = found if type(found) is list and len(found) == len(truth) else [None] * len(truth)
    numeric = all(type(each) is float for each in found)
    change = [each - found[0] for each in found] if numeric else found

    def moves(places: slice) -> bool:
        # Half the size of the smallest change that one wrong prior makes.
        return all_close(change[places], (truth - truth[0])[places], rtol=1e-6, atol=1e-5)

    return [
        Check("The log density moves as it must with mu_a and mu_b", moves(slice(1, 4)), 1),
        Check("The log density moves as it must with the scales", moves(slice(4, 7)), 2),
        Check("The log density itself, at fresh points",
              all_close(found, truth, rtol=1e-6, atol=1e-6), 1),
    ]  # fmt: skip


# --- q4: a home in a new county ------------------------------------------------------------


def draw_new_home(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about six posteriors, half of them with the edge above the middle."""
    requests, edge = [], math.log(given["limit"] + given["offset"])
    for place in rng.permutation(6):
        floor = int(rng.integers(0, 2))
        middle = edge + (0.5 if place % 2 else -0.5) * rng.uniform(0.7, 1.6)
        mu_b = rng.normal(-0.6, 0.05, 50)
        draws = table(
            mu_a=rng.normal(middle, 0.05, 50) - floor * mu_b,
            sigma_a=rng.uniform(0.2, 0.8, 50),
            mu_b=mu_b,
            sigma_b=rng.uniform(0.2, 0.8, 50),
            sigma_y=rng.uniform(0.4, 0.9, 50),
        )
        requests.append(Request("q4", "new_home", (draws, floor)))
    return requests


def score_new_home(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare the probability, what is left when counties are forgotten, and the sign of that."""
    home, forgot, edge = [], [], math.log(given["limit"] + given["offset"])
    for draws, floor in (request.arguments for request in requests):
        d = {name: np.array(column) for name, column in draws["table"].items()}
        center = d["mu_a"] + floor * d["mu_b"]
        spread = np.sqrt(d["sigma_a"] ** 2 + floor * d["sigma_b"] ** 2 + d["sigma_y"] ** 2)
        home.append(float(stats.norm.sf(edge, center, spread).mean()))
        forgot.append(float(stats.norm.sf(edge, center, d["sigma_y"]).mean()))
    signs = ["too low" if f < h else "too high" for f, h in zip(forgot, home, strict=True)]
    one = all_close(entries(answers, "home"), home)
    two = all_close(entries(answers, "forgot"), forgot)
    told = all(same(a, b) for a, b in zip(entries(answers, "forgot_is"), signs, strict=True))
    return [
        Check("The probability for a home in a new county", one, 2),
        Check("The probability if one forgets that counties differ", two, 1),
        Check("Both, and in which direction the second is wrong", one and two and told, 1),
    ]


# --- q5: evidence --------------------------------------------------------------------------


def draw_evidence(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about studies of few and of more groups, alike and different, at sizes far apart."""
    requests = []
    for groups, spread in [(3, 0.0), (5, 2.0), (9, 0.5), (6, 4.0)]:
        errors = rng.uniform(0.5, 2.5, groups)
        effects = rng.normal(given["mean_mu"] + rng.normal(0, 1), np.hypot(spread, errors))
        size = float(np.exp(rng.uniform(math.log(0.5), math.log(20))))
        requests.append(
            Request("q5", "evidence", (effects.tolist(), errors.tolist(), size), seconds=30)
        )
    return requests


def _evidence(
    effects: list[float], errors: list[float], size: float, given: Numbers
) -> tuple[float, float, float]:
    """Log evidence, the same at tau = 0, and the posterior mean of tau."""
    y, variance = np.array(effects) - given["mean_mu"], np.array(errors) ** 2
    # Groups' variances with tau, then the mean integrated out: a rank-one matrix more.
    tau = np.linspace(0, 12 * size, 40_001)
    w = 1 / (variance + tau[:, None] ** 2)
    total, linear = w.sum(axis=1), w @ y
    log_p = -0.5 * (
        len(y) * math.log(2 * math.pi)
        - np.log(w).sum(axis=1)
        + np.log1p(given["sd_mu"] ** 2 * total)
        + w @ y**2
        - linear**2 / (total + given["sd_mu"] ** -2)
    )
    log_p0, log_p = log_p[0], log_p + stats.halfnorm.logpdf(tau, scale=size)
    top = log_p.max()
    p = np.exp(log_p - top)
    area = np.trapezoid(p, tau)
    return float(top + np.log(area)), float(log_p0), float(np.trapezoid(p * tau, tau) / area)


def score_evidence(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare two evidences and a posterior mean, to a thousandth."""
    truth = np.array([_evidence(*request.arguments, given) for request in requests])
    right = [
        all_close(entries(answers, name), truth[:, place], rtol=1e-3, atol=1e-3)
        for place, name in enumerate(["log_evidence", "alike", "mean_tau"])
    ]
    return [
        Check("The log evidence if all groups are alike", right[1], 1),
        Check("The log evidence if groups may differ", right[0], 2),
        # By itself it hardly tells one class's prior of mu from another's.
        Check(
            "The posterior mean of tau, if the evidence of alike groups is right",
            right[1] and right[2],
            2,
        ),
    ]


QUESTIONS = [
    Question("q1", "From a sentence to a prior", 3, "easy",
             "priors.html#choosing-from-factors-to-a-prior", draw=draw_size, score=score_size),
    Question("q2", "Impossible homes", 3, "easy", "priors.html#a-question-to-put-to-every-model",
             draw=draw_beyond, score=score_beyond),
    Question("q3", "The colleague's file", 4, "medium", "priors.html#four-families",
             draw=draw_model, score=score_model),
    Question("q4", "A home in a new county", 4, "medium", "priors.html#a-home-in-a-new-county",
             draw=draw_new_home, score=score_new_home),
    Question("q5", "Are the groups alike?", 5, "hard",
             "priors.html#a-ladder-of-sizes-and-the-evidence",
             draw=draw_evidence, score=score_evidence),
    Question("q6", "Why a vague prior loses", 4, "medium",
             "priors.html#a-ladder-of-sizes-and-the-evidence", manual=True),
    Question("q7", "A prior that you would defend", 6, "hard", "priors.html#few-counties",
             manual=True),
]  # fmt: skip
