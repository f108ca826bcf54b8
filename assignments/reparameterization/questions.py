"""Reparameterization: what is asked of a submission, and the truth beside it."""

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
    same,
    table,
)

HOSPITALS = 10  # in the table of question 7
PRIORS = {"mu_a", "sigma_a", "mu_b", "delta", "sigma_b", "sigma_y"}


def numbers(rng: np.random.Generator) -> Numbers:
    """Draw what differs between classes: units, scales, priors, and a report."""
    patients = np.sort(np.exp(rng.uniform(np.log(8), np.log(4000), HOSPITALS)).astype(int))
    rates = rng.choice([1, 2, 3, 4, 5, 6, 8], 2, replace=False)
    low = rng.uniform(0.02, 0.06)
    return {
        "middle": round(rng.uniform(0.3, 2.5), 2),
        "unit": round(rng.uniform(1.3, 3.0), 2),
        "sigma_y": round(rng.uniform(0.55, 0.95), 3),
        "low": round(rng.uniform(0.04, 0.09), 3),
        "high": round(rng.uniform(0.35, 0.7), 3),
        "mean_mu_a": round(rng.uniform(0.5, 1.5), 2),
        "sd_mu_a": round(rng.uniform(0.6, 1.9), 2),
        "size_sigma_a": round(rng.uniform(0.3, 0.9), 2),
        "mean_mu_b": round(rng.uniform(-0.9, -0.3), 2),
        "sd_mu_b": round(rng.uniform(0.4, 1.3), 2),
        "sd_delta": round(rng.uniform(0.3, 0.9), 2),
        "mean_sigma_b": round(rng.uniform(0.2, 0.8), 2),
        "size_sigma_y": round(rng.uniform(0.6, 1.4), 2),
        "intercept": round(rng.uniform(0.8, 1.9), 2),
        "sd_mu": round(rng.uniform(0.6, 2.4), 2),
        "hospitals": {"hospital": list("ABCDEFGHIJ"), "patients": patients.tolist()},
        "noise": round(rng.uniform(0.8, 1.2), 2),
        "tau_low": round(low, 3),
        "tau_high": round(rng.uniform(0.15, 0.3), 3),
        "rate_before": int(min(rates)),
        "rate_after": int(max(rates)),
        "diverged": int(rng.integers(12, 90)),
        "rhat": round(rng.uniform(1.03, 1.12), 2),
        "ess_before": int(rng.integers(70, 220)),
        "ess_after": int(rng.integers(900, 2200)),
        "below_before": int(rng.integers(4, 9)),
        "below_after": int(rng.integers(18, 30)),
    }


# --- q1: two seats -------------------------------------------------------------------------


def draw_seats(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask for offsets of effects, and for the difference of two log densities."""
    requests = []
    for groups in (3, 7, 12):
        mu, sigma = rng.normal(0, 1), float(np.exp(rng.uniform(-4, 1)))
        effects = rng.normal(mu, sigma, groups).tolist()
        requests.append(Request("q1", "offsets", ({"array": effects}, mu, sigma)))
    for _ in range(4):
        sigma, groups = float(np.exp(rng.uniform(-4, 1))), int(rng.integers(2, 90))
        requests.append(Request("q1", "difference", (sigma, groups)))
    return requests


def score_seats(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare offsets, and logarithms of volumes."""
    offsets, differences = [], []
    for request, answer in zip(requests, answers, strict=True):
        if request.function == "offsets":
            effects, mu, sigma = request.arguments
            z = given["middle"] + given["unit"] * (np.array(effects["array"]) - mu) / sigma
            offsets.append(close(answer.value, z))
        else:
            sigma, groups = request.arguments
            differences.append(close(answer.value, groups * np.log(sigma / given["unit"])))
    return [
        Check("The offsets of given effects", all(offsets), 1),
        Check("The difference of the two log densities", all(differences), 2),
    ]


# --- q2: a place on the map ----------------------------------------------------------------


def draw_map(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about ten counties on both sides of the crossing, and one without homes."""
    crossing = given["sigma_y"] ** 2 / (given["low"] * given["high"])
    below = np.floor(crossing * np.exp(rng.uniform(-1.6, -0.2, 5)))
    above = np.ceil(crossing * np.exp(rng.uniform(0.2, 2.5, 5)))
    homes = rng.permutation(np.concatenate([[0], below, above])).astype(int)
    return [Request("q2", "place", (int(n),)) for n in homes]


def score_map(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare informativeness, change of widths, and the choice that follows."""
    n = np.array([request.arguments[0] for request in requests])
    ends = np.array([given["low"], given["high"]])
    r = n[:, None] * ends**2 / given["sigma_y"] ** 2
    b, z = ends / np.sqrt(1 + r), 1 / np.sqrt(1 + r)
    change_b, change_z = b[:, 1] / b[:, 0], z[:, 0] / z[:, 1]
    told = all_close(entries(answers, "r"), r)
    widths = all_close(entries(answers, "b"), change_b)
    widths = widths and all_close(entries(answers, "z"), change_z)
    choice = np.where(change_b < change_z, "centered", "noncentered").tolist()
    return [
        Check("The informativeness at both ends", told, 1),
        Check("By which factor the two widths change", widths, 1.5),
        Check("Which coordinate that gives to which county, for all counties asked",
              widths and same(entries(answers, "write"), choice), 1.5),
    ]  # fmt: skip


# --- q3: the noncentered model -------------------------------------------------------------


def draw_model(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask for log densities at a point, and where a part of it has moved."""
    soil = rng.normal(0, 0.6, 5)
    county = rng.permutation(np.concatenate([np.arange(5), rng.integers(0, 5, 15)]))
    homes = table(
        county=county,
        floor=rng.integers(0, 2, 20),
        log_radon=rng.normal(1.2, 0.9, 20),
        soil=soil[county],
    )

    def first() -> dict:
        z = rng.normal(0, 1, 5).tolist()
        return {"mu_b": rng.normal(-0.6, 0.4), "delta": rng.normal(0, 0.5), "b_offset": z}

    def spread() -> dict:
        return {"sigma_b": rng.uniform(0.05, 0.9)}

    def others() -> dict:
        return {
            "mu_a": rng.normal(1, 0.5),
            "sigma_a": rng.uniform(0.2, 0.9),
            "a": rng.normal(1.2, 0.6, 5).tolist(),
            "sigma_y": rng.uniform(0.4, 1.3),
        }

    start = first() | spread() | others()
    points = [start, *({**start, **first()} for _ in range(3))]
    points += [{**start, **spread()} for _ in range(3)]
    points += [first() | spread() | others() for _ in range(3)]
    return [Request("q3", "noncentered", (homes,), "model", tuple(points), seconds=60)]


def _centered_log_density(homes: dict, point: dict, b: np.ndarray, given: Numbers) -> float:
    """Log density of the centered model of the set, at the same place."""
    county = np.array(homes["county"])
    soil = np.zeros(len(b))
    soil[county] = homes["soil"]
    a = np.array(point["a"])
    norm = stats.norm.logpdf
    return float(
        norm(point["mu_a"], given["mean_mu_a"], given["sd_mu_a"])
        + stats.halfnorm.logpdf(point["sigma_a"], scale=given["size_sigma_a"])
        + norm(point["mu_b"], given["mean_mu_b"], given["sd_mu_b"])
        + norm(point["delta"], 0, given["sd_delta"])
        + stats.expon.logpdf(point["sigma_b"], scale=given["mean_sigma_b"])
        + stats.halfnorm.logpdf(point["sigma_y"], scale=given["size_sigma_y"])
        + norm(a, point["mu_a"], point["sigma_a"]).sum()
        + norm(b, point["mu_b"] + point["delta"] * soil, point["sigma_b"]).sum()
        + norm(homes["log_radon"], a[county] + b[county] * homes["floor"], point["sigma_y"]).sum()
    )


def _noncentered_log_density(homes: dict, point: dict, given: Numbers) -> float:
    z = np.array(point["b_offset"])
    soil = np.zeros(len(z))
    soil[np.array(homes["county"])] = homes["soil"]
    b = point["mu_b"] + point["delta"] * soil + point["sigma_b"] * z
    # The volume of a box of effects over that of the same box of offsets.
    return _centered_log_density(homes, point, b, given) + len(z) * np.log(point["sigma_b"])


def score_model(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare log densities with those of the centered model at the same places."""
    (request,), (answer,) = requests, answers
    homes = {k: np.array(v) for k, v in request.arguments[0]["table"].items()}
    truth = np.array([_noncentered_log_density(homes, point, given) for point in request.points])
    value = answer.value if type(answer.value) is dict else {}
    found, free = value.get("logp"), value.get("free")
    named = type(free) is list and all(type(name) is str for name in free)
    ours = named and set(free) == PRIORS | {"a", "b_offset"}
    deterministic = value.get("deterministic")
    kept = type(deterministic) is list and "b" in deterministic
    complete = type(found) is list and len(found) == len(truth)
    numeric = complete and all(type(each) is float for each in found)
    change = [each - found[0] for each in found] if numeric else [None] * len(truth)

    def agree(got: Sequence, wanted: Sequence[float]) -> bool:
        return all(close(g, w, rtol=1e-6, atol=1e-6) for g, w in zip(got, wanted, strict=True))

    change_truth = truth - truth[0]
    offsets = ours and kept and agree(change[1:4], change_truth[1:4])
    spread = ours and agree(change[4:7], change_truth[4:7])
    equal = ours and numeric and agree(found, truth)
    return [
        Check("Its free variables are the noncentered ones, and the log density moves as it must "
              "with mu_b, delta and b_offset", offsets, 1),
        Check("The log density moves as it must with sigma_b, offsets held", spread, 2),
        Check("It equals the centered model at fresh points, but for the volume", equal, 2),
    ]  # fmt: skip


# --- q4: no effect at all ------------------------------------------------------------------


def draw_marginal(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about groups of several sizes, one without any slope to see."""
    requests = []
    for n in (1, 2, 6, 15, 9):
        x = rng.integers(0, 2, n).astype(float) if n < 9 else rng.normal(0, 1, n)
        if n == 6:
            x = np.zeros(n)  # basements only
        mu_b, sigma_b = rng.normal(-0.6, 0.3), rng.uniform(0.05, 1.2)
        b = rng.normal(mu_b, sigma_b)
        y = rng.normal(given["intercept"] + b * x, given["sigma_y"])
        arguments = ({"array": y.tolist()}, {"array": x.tolist()}, mu_b, sigma_b)
        requests += [
            Request("q4", "log_marginal", arguments),
            Request("q4", "recover", arguments),
        ]
    return requests


def score_marginal(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare log densities without the slope, and the slope got back."""
    marginal, back = [], []
    for request, answer in zip(requests, answers, strict=True):
        y, x = (np.array(each["array"]) for each in request.arguments[:2])
        mu_b, sigma_b = request.arguments[2:]
        variance = given["sigma_y"] ** 2
        if request.function == "log_marginal":
            mean = given["intercept"] + mu_b * x
            covariance = variance * np.eye(len(x)) + sigma_b**2 * np.outer(x, x)
            truth = stats.multivariate_normal(mean, covariance).logpdf(y)
            marginal.append(close(answer.value, truth))
        else:
            precision = x @ x / variance + 1 / sigma_b**2
            total = x @ (y - given["intercept"]) / variance + mu_b / sigma_b**2
            back.append(close(answer.value, {"mean": total / precision, "sd": precision**-0.5}))
    return [
        Check("The log density of a county's homes with the slope integrated out",
              all(marginal), 2),
        Check("Mean and standard deviation of the slope, got back", all(back), 2),
    ]  # fmt: skip


# --- q5: it got worse ----------------------------------------------------------------------


def draw_worse(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about strong and weak data."""
    return [
        Request("q5", "geometry", (int(rng.integers(4, 60)), rng.uniform(0.3, 1.5), float(tau)))
        for tau in rng.permutation(np.exp([*rng.uniform(-3, -0.7, 4), *rng.uniform(0.7, 2.5, 4)]))
    ]


def _geometry(groups: int, se: float, tau: float, given: Numbers) -> dict:
    data, weak = groups / se**2, 1 / given["sd_mu"] ** 2
    noncentered = np.array([[data + weak, data * tau], [data * tau, data * tau**2 + groups]])
    between = groups / tau**2
    centered = np.array([[weak + between, -between], [-between, between + data]])

    def correlation(precision: np.ndarray) -> float:
        return float(-precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1]))

    return {
        "noncentered": correlation(noncentered),
        "centered": correlation(centered),
        "fixed": float(noncentered[1, 1] ** -0.5),
        "whole": float(np.linalg.inv(noncentered)[1, 1] ** 0.5),
    }


def score_worse(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare correlations in both coordinates, and the two widths."""
    truth = [_geometry(*request.arguments, given) for request in requests]

    def right(*names: str) -> bool:
        return all(
            all_close(entries(answers, name), [each[name] for each in truth]) for name in names
        )

    return [
        Check("The correlation of mu with the mean offset", right("noncentered"), 1),
        Check("The correlation of mu with the mean effect", right("centered"), 1),
        Check("The two widths of the mean offset", right("fixed", "whole"), 2),
    ]


QUESTIONS = [
    Question("q1", "Two seats, one cloud", 3, "easy",
             "reparameterization.html#the-proof-that-it-is-the-same-model",
             draw=draw_seats, score=score_seats),
    Question("q2", "A place on the map", 4, "easy",
             "reparameterization.html#the-space-that-the-sampler-sees",
             draw=draw_map, score=score_map),
    Question("q3", "The same model, noncentered", 5, "medium",
             "reparameterization.html#the-model-noncentered",
             draw=draw_model, score=score_model),
    Question("q4", "No effect at all, and back", 4, "medium",
             "reparameterization.html#no-effects-at-all-integrate-them-out",
             draw=draw_marginal, score=score_marginal),
    Question("q5", "It got worse", 4, "hard",
             "reparameterization.html#strong-data-the-funnel-turns-over",
             draw=draw_worse, score=score_worse),
    Question("q6", "The centeredness that fits", 4, "hard",
             "reparameterization.html#between-the-two-ends", manual=True),
    Question("q7", "What is wrong with this report?", 6, "hard",
             "reparameterization.html#what-to-do-in-order", manual=True),
]  # fmt: skip
