"""The project: what is asked of the tools of an analysis, and the truth beside it."""

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
    same,
    table,
)

GROUPS = 14  # in the trial that the class key simulates


def numbers(rng: np.random.Generator) -> Numbers:
    """Draw what differs between classes: an origin, priors, and a data set of its own."""
    origin, unit = rng.uniform(0.2, 0.8), rng.uniform(0.6, 1.8)
    level = rng.normal(rng.uniform(1, 3), rng.uniform(0.4, 0.8), GROUPS)
    slope = rng.normal(rng.uniform(-0.25, -0.1), rng.uniform(0.02, 0.1), GROUPS)
    group, week = [], []
    for g in range(GROUPS):
        weeks = np.sort(rng.choice(8, int(rng.integers(2, 9)), replace=False))
        group += [g] * len(weeks)
        week += weeks.tolist()
    score = rng.normal(level[group] + slope[group] * np.array(week), rng.uniform(0.3, 0.6))
    return {
        "origin": round(origin, 2),
        "unit": round(unit, 2),
        "crossing": round(rng.uniform(1.0, 3.0), 2),
        "mean_mu_a": round(rng.uniform(0.5, 2.5), 2),
        "sd_mu_a": round(rng.uniform(0.6, 1.9), 2),
        "sd_mu_b": round(rng.uniform(0.4, 1.3), 2),
        "size_sigma_a": round(rng.uniform(0.4, 1.2), 2),
        "mean_sigma_b": round(rng.uniform(0.2, 0.8), 2),
        "size_sigma_y": round(rng.uniform(0.6, 1.4), 2),
        "place": round(rng.uniform(0.5, 4.0), 2),
        "bins": int(rng.integers(4, 9)),
        "trial": {"group": group, "x": week, "y": [round(float(value), 2) for value in score]},
    }


def _rescaled(x: Sequence[float], given: Numbers) -> np.ndarray:
    return (np.asarray(x, dtype=float) - given["origin"]) / given["unit"]


def _some_table(rng: np.random.Generator, groups: int, rows: int) -> dict:
    """Make a table in which each group has a row."""
    group = rng.permutation(np.concatenate([np.arange(groups), rng.integers(0, groups, rows)]))
    x = np.round(rng.uniform(0, 4, len(group)), 1)
    return table(group=group, x=x, y=rng.normal(1.5, 1.0, len(group)))


# --- q1: which coordinates? ----------------------------------------------------------------


def draw_inform(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about tables with small and large groups."""
    requests = []
    for groups, rows in ((4, 30), (6, 12), (9, 60)):
        homes = _some_table(rng, groups, rows)
        x = np.array(homes["table"]["x"])
        # Scales for which groups stand on both sides of the crossing.
        sigma_y = rng.uniform(0.4, 1.2)
        size = len(x) / groups
        sigma_a = sigma_y * math.sqrt(given["crossing"] / size) * rng.uniform(0.9, 1.1)
        sigma_b = sigma_y * math.sqrt(given["crossing"] / (size * x.var())) * given["unit"]
        requests.append(Request("q1", "inform", (homes, sigma_a, float(sigma_b), sigma_y)))
    return requests


def score_inform(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare informativeness of both effects, and the coordinates that it asks for."""
    truth_a, truth_b, ways_a, ways_b = [], [], [], []

    def ways(r: np.ndarray) -> list[str]:
        return np.where(r > given["crossing"], "centered", "noncentered").tolist()

    for request in requests:
        homes, sigma_a, sigma_b, sigma_y = request.arguments
        group = np.array(homes["table"]["group"])
        u = _rescaled(homes["table"]["x"], given)
        n = np.bincount(group)
        around = u - (np.bincount(group, u) / n)[group]
        truth_a.append(n * sigma_a**2 / sigma_y**2)
        truth_b.append(np.bincount(group, around**2) * sigma_b**2 / sigma_y**2)
        ways_a.append(ways(truth_a[-1]))
        ways_b.append(ways(truth_b[-1]))
    right = all_close(entries(answers, "a"), truth_a)
    right = right and all_close(entries(answers, "b"), truth_b)
    words = all(
        same(told, wanted)
        for name, all_wanted in [("write_a", ways_a), ("write_b", ways_b)]
        for told, wanted in zip(entries(answers, name), all_wanted, strict=True)
    )
    return [
        Check("The informativeness of intercepts and slopes", right, 2),
        Check("The coordinates that it asks for, group by group", right and words, 2),
    ]


# --- q2: the model -------------------------------------------------------------------------


def draw_model(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask for log densities, in whatever coordinates the effects are."""
    homes = _some_table(rng, 5, 17)

    def point() -> dict:
        top = {
            "mu_a": rng.normal(1.5, 0.5),
            "sigma_a": rng.uniform(0.2, 1.0),
            "mu_b": rng.normal(0, 0.5),
            "sigma_b": rng.uniform(0.1, 0.9),
            "sigma_y": rng.uniform(0.3, 1.4),
        }
        effects = {}
        for name in "ab":
            z = rng.normal(0, 1, 5)
            effects[f"{name}_offset"] = z.tolist()
            effects[name] = (top[f"mu_{name}"] + top[f"sigma_{name}"] * z).tolist()
        return top | effects

    return [Request("q2", "model", (homes,), "model", tuple(point() for _ in range(6)), seconds=60)]


def _log_densities(homes: dict, point: dict, free: set[str], given: Numbers) -> float:
    """Log density in the coordinates that the free variables show."""
    group, u = np.array(homes["group"]), _rescaled(homes["x"], given)
    a, b = np.array(point["a"]), np.array(point["b"])
    norm = stats.norm.logpdf
    total = (
        norm(point["mu_a"], given["mean_mu_a"], given["sd_mu_a"])
        + norm(point["mu_b"], 0, given["sd_mu_b"])
        + stats.halfnorm.logpdf(point["sigma_a"], scale=given["size_sigma_a"])
        + stats.expon.logpdf(point["sigma_b"], scale=given["mean_sigma_b"])
        + stats.halfnorm.logpdf(point["sigma_y"], scale=given["size_sigma_y"])
        + norm(homes["y"], a[group] + b[group] * u, point["sigma_y"]).sum()
    )
    for name, effects in (("a", a), ("b", b)):
        total += norm(effects, point[f"mu_{name}"], point[f"sigma_{name}"]).sum()
        if f"{name}_offset" in free:
            total += len(effects) * math.log(point[f"sigma_{name}"])
    return float(total)


def score_model(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare log densities, and differences of them, in the coordinates of the answer."""
    (request,), (answer,) = requests, answers
    homes = request.arguments[0]["table"]
    value = answer.value if type(answer.value) is dict else {}
    free, found = value.get("free"), value.get("logp")
    named = type(free) is list and all(type(name) is str for name in free)
    chosen = set(free) if named else set()
    effects = chosen - {"mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y"}
    ours = named and len(free) == 7 and any(
        effects == {a, b} for a in ("a", "a_offset") for b in ("b", "b_offset")
    )  # fmt: skip
    truth = np.array([_log_densities(homes, at, chosen, given) for at in request.points])
    complete = type(found) is list and len(found) == len(truth)
    numeric = ours and complete and all(type(each) is float for each in found)

    def agree(got: Sequence, wanted: Sequence[float]) -> bool:
        return all(close(g, w, rtol=1e-6, atol=1e-6) for g, w in zip(got, wanted, strict=True))

    moves = numeric and agree([each - found[0] for each in found[1:]], truth[1:] - truth[0])
    return [
        Check("The log density changes from place to place as it must", moves, 3),
        Check("It is the normalized one", numeric and agree(found, truth), 1),
    ]


# --- q3: predictions -----------------------------------------------------------------------


def draw_predict(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about groups that were seen, one that was not, and a mean of several."""
    requests = []
    for groups in (4, 7, 5):
        n = 50
        top = np.column_stack([
            rng.normal(1.5, 0.2, n), rng.uniform(0.2, 0.9, n),
            rng.normal(-0.3, 0.1, n), rng.uniform(0.05, 0.6, n), rng.uniform(0.4, 0.9, n),
        ])  # fmt: skip
        a = rng.normal(top[:, [0]], top[:, [1]], (n, groups))
        b = rng.normal(top[:, [2]], top[:, [3]], (n, groups))
        at, edge = round(rng.uniform(0, 4), 2), round(rng.normal(1.2, 0.6), 2)
        arrays = [{"array": np.round(each, 6).tolist()} for each in (top, a, b)]
        arguments = (*arrays, int(rng.integers(groups)), at, edge)
        requests.append(Request("q3", "predict", arguments))
        places = np.round(rng.uniform(0, 4, int(rng.integers(2, 9))), 2)
        mean = rng.normal(1.2, 0.5)
        arguments = (arrays[0], {"array": places.tolist()}, mean)
        requests.append(Request("q3", "surprise", arguments))
    return requests


def score_predict(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare predictive probabilities, averaged over draws."""
    known, new, surprise = [], [], []
    for request, answer in zip(requests, answers, strict=True):
        value = answer.value if type(answer.value) is dict else {}
        mu_a, sigma_a, mu_b, sigma_b, sigma_y = np.array(request.arguments[0]["array"]).T
        if request.function == "surprise":
            u = _rescaled(request.arguments[1]["array"], given)
            variance = sigma_a**2 + sigma_b**2 * u.mean() ** 2 + sigma_y**2 / len(u)
            below = stats.norm.cdf(request.arguments[2], mu_a + mu_b * u.mean(), variance**0.5)
            surprise.append(close(answer.value, below.mean()))
            continue
        a, b = (np.array(each["array"]) for each in request.arguments[1:3])
        group, x, edge = request.arguments[3:]
        u = float(_rescaled([x], given)[0])
        above = stats.norm.sf(edge, a[:, group] + b[:, group] * u, sigma_y)
        known.append(close(value.get("known"), above.mean()))
        spread = np.sqrt(sigma_a**2 + sigma_b**2 * u**2 + sigma_y**2)
        new.append(close(value.get("new"), stats.norm.sf(edge, mu_a + mu_b * u, spread).mean()))
    return [
        Check("One more measurement in a group that was seen", all(known), 2),
        Check("One in a group that was not", all(new), 2),
        Check("How surprising the mean of a whole group is to the others", all(surprise), 2),
    ]


# --- q4: would you have noticed? -----------------------------------------------------------


def draw_ranks(rng: np.random.Generator, given: Numbers) -> list[Request]:
    """Ask about simulations of a sampler that is right, too narrow, or shifted."""
    requests = []
    for narrow, shift in rng.permutation([(1.0, 0.0), (0.6, 0.0), (1.0, 0.7)]):
        truths = rng.normal([1.0, -0.3], [0.6, 0.4], (80, 2))
        center = rng.normal(truths, 0.3)
        draws = rng.normal(center[:, None] + shift * 0.3, 0.3 * narrow, (80, 39, 2))
        arrays = [{"array": np.round(each, 5).tolist()} for each in (truths, draws)]
        requests += [Request("q4", "ranks", tuple(arrays)), Request("q4", "uneven", tuple(arrays))]
    return requests


def score_ranks(
    requests: Sequence[Request], answers: Sequence[Answer], given: Numbers
) -> list[Check]:
    """Compare ranks of a derived quantity, and how uneven they are."""
    ranks, uneven = [], []
    for request, answer in zip(requests, answers, strict=True):
        truths, draws = (np.array(each["array"]) for each in request.arguments)
        weights = np.array([1.0, float(_rescaled([given["place"]], given)[0])])
        rank = ((draws @ weights) < (truths @ weights)[:, None]).sum(axis=1)
        if request.function == "ranks":
            ranks.append(close(answer.value, rank))
        else:
            seen = np.bincount(
                rank * given["bins"] // (draws.shape[1] + 1), minlength=given["bins"]
            )
            # A bin holds as many of the possible ranks as fall into it.
            possible = np.arange(draws.shape[1] + 1) * given["bins"] // (draws.shape[1] + 1)
            expected = len(rank) * np.bincount(possible) / len(possible)
            statistic = ((seen - expected) ** 2 / expected).sum()
            uneven.append(close(answer.value, stats.chi2.sf(statistic, given["bins"] - 1)))
    return [
        Check("The rank of the truth among the draws, for what is asked", all(ranks), 2),
        Check("The probability of ranks at least as uneven", all(ranks) and all(uneven), 2),
    ]


QUESTIONS = [
    Question("q1", "Ask before you sample", 4, "easy",
             "capstone.html#which-coordinates-ask-before-you-sample",
             draw=draw_inform, score=score_inform),
    Question("q2", "The model", 4, "medium", "capstone.html#the-model-level-by-level",
             draw=draw_model, score=score_model),
    Question("q3", "Seen, not seen, surprising", 6, "medium",
             "capstone.html#leave-one-out-homes-then-counties",
             draw=draw_predict, score=score_predict),
    Question("q4", "Would you have noticed?", 4, "hard",
             "calibration.html#the-idea-the-truth-is-one-more-draw",
             draw=draw_ranks, score=score_ranks),
    Question("q5", "The data, and what they say by themselves", 6, "medium",
             "capstone.html#the-data-as-they-were",
             ("funnel.models", "funnel.exact"), manual=True),
    Question("q6", "The fit, and why it is to be trusted", 8, "hard",
             "calibration.html#is-this-fit-to-be-trusted",
             ("funnel.models", "funnel.exact"), manual=True),
    Question("q7", "The answer", 8, "hard", "capstone.html#the-letter",
             ("funnel.models", "funnel.exact"), manual=True),
]  # fmt: skip
