"""Pooling and shrinkage: what is asked of a submission, and the truth beside it."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from grading.questions import (
    Answer,
    Check,
    Numbers,
    Question,
    Request,
    all_close,
    close,
    entries,
    table,
)

COUNTIES = 14  # in the survey of question 7


def numbers(rng: np.random.Generator) -> Numbers:
    """Draw what differs between classes: a population of counties, a survey, a limit."""
    mu, sigma_a = rng.uniform(0.9, 1.8), rng.uniform(0.25, 0.5)
    sigma_y = rng.uniform(0.6, 0.9)
    homes = np.sort(rng.choice([1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 14, 20, 30, 45], COUNTIES, False))
    level = rng.normal(mu, sigma_a, COUNTIES)
    special = int(rng.integers(4, 8))
    level[special] = mu + rng.choice([-1, 1]) * rng.uniform(3.2, 3.8) * sigma_a
    mean = rng.normal(level, sigma_y / np.sqrt(homes))
    return {
        "offset": round(rng.uniform(0.03, 0.25), 3),
        "limit": round(rng.uniform(3.0, 6.0), 2),
        "mu": round(mu, 3),
        "sigma_a": round(sigma_a, 3),
        "sigma_y": round(sigma_y, 3),
        "top": int(rng.integers(2, 5)),
        "mean_mu_a": round(rng.uniform(0.5, 1.5), 2),
        "sd_mu_a": round(rng.uniform(0.6, 1.9), 2),
        "sd_gamma": round(rng.uniform(0.3, 0.9), 2),
        "size_sigma_a": round(rng.uniform(0.2, 0.8), 2),
        "mean_sigma_y": round(rng.uniform(0.5, 1.4), 2),
        "sd_mu_b": round(rng.uniform(0.4, 1.3), 2),
        "special": "ABCDEFGHIJKLMN"[special],
        "survey": {
            "county": list("ABCDEFGHIJKLMN"),
            "homes": homes.tolist(),
            "mean": [round(float(value), 2) + 0.0 for value in mean],
        },
    }


# --- q1: units -----------------------------------------------------------------------------


def draw_units(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about homes of eight counties."""
    levels, scatter = rng.uniform(0.3, 2.2, 8), rng.uniform(0.3, 1.1, 8)
    pairs = zip(levels.tolist(), scatter.tolist(), strict=True)
    return [Request("q1", "home", pair) for pair in pairs]


def score_units(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare median, mean and probability, a point each."""
    level, sigma = np.array([request.arguments for request in requests]).T
    median = np.exp(level) - given["offset"]
    mean = np.exp(level + sigma**2 / 2) - given["offset"]
    above = stats.norm.sf(math.log(given["limit"] + given["offset"]), level, sigma)
    return [
        Check("The median of homes, in pCi/L", all_close(entries(answers, "median"), median), 1),
        Check("Their mean, in pCi/L", all_close(entries(answers, "mean"), mean), 1),
        Check("The probability of a home above the limit",
              all_close(entries(answers, "above"), above), 1),
    ]  # fmt: skip


# --- q2: one county ------------------------------------------------------------------------


def draw_county(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about counties with homes, one without, and about shares."""
    counties = [
        rng.normal(given["mu"] + rng.normal(0, 0.6), given["sigma_y"], n).tolist()
        for n in rng.permutation([1, 2, 3, 5, 9, 24])
    ]
    shares = [*rng.uniform(0.15, 0.9, 3).tolist(), *rng.uniform(0.98, 0.998, 3).tolist()]
    return [
        *(Request("q2", "county", (readings,)) for readings in [*counties, []]),
        *(Request("q2", "homes_needed", (share,)) for share in shares),
    ]


def score_county(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare estimates, their standard deviations, and what neighbors are worth."""
    worth = given["sigma_y"] ** 2 / given["sigma_a"] ** 2
    readings = [request.arguments[0] for request in requests if request.function == "county"]
    n = np.array([len(each) for each in readings])
    own = np.array([np.mean(each) if each else 0.0 for each in readings])
    w = n / (n + worth)
    estimate = w * own + (1 - w) * given["mu"]
    sd = given["sigma_a"] * np.sqrt(1 - w)
    asked = answers[: len(n)]
    estimates, sds = entries(asked, "estimate"), entries(asked, "sd")
    shares = np.array([r.arguments[0] for r in requests if r.function == "homes_needed"])
    needed = np.ceil(shares / (1 - shares) * worth)
    return [
        Check("The estimate of a county with homes", all_close(estimates[:-1], estimate[:-1]), 1),
        Check("Its standard deviation", all_close(sds[:-1], sd[:-1]), 1),
        Check("Estimate and standard deviation of a county without homes",
              close(estimates[-1], estimate[-1]) and close(sds[-1], sd[-1]), 1),
        Check("How many homes it takes to keep a share",
              all_close([answer.value for answer in answers[len(n):]], needed), 1),
    ]  # fmt: skip


# --- q3: when to listen --------------------------------------------------------------------


def draw_risk(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about counties at many distances, near and far."""
    distances = given["sigma_a"] * rng.uniform(0.1, 4.0, 8)
    homes = rng.integers(1, 40, 8)
    near = given["sigma_a"] * rng.uniform(0.2, 1.3, 3)
    # Distances at which the order turns between three homes and three hundred.
    turn = np.exp(rng.uniform(math.log(3), math.log(300), 6))
    worth = given["sigma_y"] ** 2 / given["sigma_a"] ** 2
    far = given["sigma_a"] * np.sqrt(2 + worth / turn)
    return [
        *(Request("q3", "risk", (float(d), int(n))) for d, n in zip(distances, homes, strict=True)),
        *(Request("q3", "break_even", (float(d),)) for d in rng.permutation([*near, *far])),
    ]


def _break_even(distance: float, given: Numbers) -> int | None:
    excess = distance**2 / given["sigma_a"] ** 2 - 2
    if excess <= 0:
        return None
    return math.floor(given["sigma_y"] ** 2 / given["sigma_a"] ** 2 / excess) + 1


def score_risk(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare the three errors, and the number of homes at which the order turns."""
    pairs = list(zip(requests, answers, strict=True))
    risks = [(r.arguments, a) for r, a in pairs if r.function == "risk"]
    distance, n = np.array([arguments for arguments, _ in risks]).T
    w = n / (n + given["sigma_y"] ** 2 / given["sigma_a"] ** 2)
    none = given["sigma_y"] ** 2 / n
    partial = (1 - w) ** 2 * distance**2 + w**2 * none
    asked = [answer for _, answer in risks]
    easy = all_close(entries(asked, "none"), none)
    easy = easy and all_close(entries(asked, "complete"), distance**2)
    turns = [
        (a.value, _break_even(r.arguments[0], given), a.status == "ok")
        for r, a in pairs
        if r.function == "break_even"
    ]
    right = [
        ok and (got is None if wanted is None else close(got, wanted)) for got, wanted, ok in turns
    ]
    return [
        Check("The errors of no and of complete pooling", easy, 1),
        Check("The error of partial pooling", all_close(entries(asked, "partial"), partial), 1),
        Check("From how many homes on no pooling is better, if ever", all(right), 2),
    ]


# --- q4: questions to draws ----------------------------------------------------------------


def draw_ranks(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about three posteriors, each with counties of its own."""
    requests = []
    middle = math.log(given["limit"] + given["offset"])
    for counties in (6, 9, 7):
        centers = rng.normal(middle, 0.4, counties)
        spreads = rng.uniform(0.1, 0.7, counties)
        levels = rng.normal(centers, spreads, (300, counties))
        scatter = np.exp(rng.normal(math.log(0.7), 0.3, 300))
        place = int(rng.integers(counties))
        array = {"array": levels.tolist()}
        requests.append(Request("q4", "worst", (array,)))
        requests.append(Request("q4", "chance", (array, {"array": scatter.tolist()}, place)))
    return requests


def score_ranks(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare probabilities of an event about all counties, and of one about a home."""
    worst, chance = [], []
    edge = math.log(given["limit"] + given["offset"])
    for request, answer in zip(requests, answers, strict=True):
        levels = np.array(request.arguments[0]["array"])
        if request.function == "worst":
            place = (-levels).argsort(axis=1).argsort(axis=1)
            event = (place < given["top"]) & (levels > edge)
            worst.append(close(answer.value, event.mean(axis=0)))
        else:
            scatter = np.array(request.arguments[1]["array"])
            above = stats.norm.sf(edge, levels[:, request.arguments[2]], scatter)
            chance.append(close(answer.value, above.mean()))
    return [
        Check("The probability of each county to be among the worst and above", all(worst), 2),
        Check("The probability of a home above the limit", all(chance), 2),
    ]


# --- q5: a model that knows the soil -------------------------------------------------------


def draw_model(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask for log densities at a point, and where a part of it has moved."""
    uranium = rng.normal(0, 0.6, 5)
    county = rng.permutation(np.concatenate([np.arange(5), rng.integers(0, 5, 13)]))
    floor = rng.integers(0, 2, 18)
    homes = table(
        county=county,
        floor=floor,
        log_radon=rng.normal(1.2, 0.9, 18),
        log_uranium=uranium[county],
    )

    def population() -> dict:
        return {
            "mu_a": rng.normal(1, 0.5),
            "gamma": rng.normal(0.3, 0.5),
            "sigma_a": rng.uniform(0.2, 0.9),
        }

    def within() -> dict:
        return {"mu_b": rng.normal(-0.6, 0.3), "sigma_y": rng.uniform(0.4, 1.3)}

    level = {"a": rng.normal(1.2, 0.6, 5).tolist()}
    start = population() | within() | level
    points = [start, *({**start, **population()} for _ in range(3))]
    points += [{**start, **within()} for _ in range(3)]
    points += [population() | within() | {"a": rng.normal(1.2, 0.6, 5).tolist()} for _ in range(3)]
    return [Request("q5", "model", (homes,), "model", tuple(points), seconds=60)]


def _log_density(homes: dict, point: dict, given: Numbers) -> float:
    county = np.array(homes["county"])
    uranium = np.zeros(len(point["a"]))
    uranium[county] = homes["log_uranium"]
    a = np.array(point["a"])
    mean = a[county] + point["mu_b"] * np.array(homes["floor"])
    norm = stats.norm.logpdf
    return float(
        norm(point["mu_a"], given["mean_mu_a"], given["sd_mu_a"])
        + norm(point["gamma"], 0, given["sd_gamma"])
        + stats.halfnorm.logpdf(point["sigma_a"], scale=given["size_sigma_a"])
        + norm(point["mu_b"], 0, given["sd_mu_b"])
        + stats.expon.logpdf(point["sigma_y"], scale=given["mean_sigma_y"])
        + norm(a, point["mu_a"] + point["gamma"] * uranium, point["sigma_a"]).sum()
        + norm(homes["log_radon"], mean, point["sigma_y"]).sum()
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
    change_truth = truth - truth[0]

    def agree(given_: Sequence, wanted: Sequence[float]) -> bool:
        return all(close(g, w, rtol=1e-6, atol=1e-6) for g, w in zip(given_, wanted, strict=True))

    population = agree(change[1:4], change_truth[1:4])
    homes_right = agree(change[4:7], change_truth[4:7])
    return [
        Check("The log density moves as it must with mu_a, gamma and sigma_a", population, 1.5),
        Check("The log density moves as it must with mu_b and sigma_y", homes_right, 1.5),
        Check("The log density itself, at fresh points", agree(found, truth), 2),
    ]


QUESTIONS = [
    Question("q1", "From logs to homes", 3, "easy", "pooling.html#your-basement-and-two-others",
             draw=draw_units, score=score_units),
    Question("q2", "One county", 4, "easy", "pooling.html#the-mathematics-shrinkage",
             draw=draw_county, score=score_county),
    Question("q3", "When not to listen", 4, "medium",
             "pooling.html#when-believing-the-neighbors-hurts",
             draw=draw_risk, score=score_risk),
    Question("q4", "Two questions to the same draws", 4, "medium",
             "pooling.html#two-easy-answers-and-why-both-are-wrong",
             draw=draw_ranks, score=score_ranks),
    Question("q5", "A model that knows the soil", 5, "hard",
             "pooling.html#the-same-model-in-pymc",
             draw=draw_model, score=score_model),
    Question("q6", "Two kinds of detectors", 4, "medium", "pooling.html#the-mathematics-shrinkage",
             manual=True),
    Question("q7", "Which county would you not shrink?", 6, "hard",
             "pooling.html#what-it-assumes-exchangeability", manual=True),
]  # fmt: skip
