"""Expectations and decisions: honest submissions of five kinds, and what they must score."""

from grading.making import Archetype

FULL = dict.fromkeys(["q1", "q2", "q3", "q4", "q5", "q7"])

# Turns the two prices around, stays within the formulas it knows, and averages before it asks.
HALF = {
    "q1": None,
    "q2": """
        def report(draws):
            w = draws ** {{ weight }}
            return {
                "prices": np.quantile(draws, {{ over }} / ({{ under }} + {{ over }})),
                "weighted": (w * draws).sum() / w.sum(),
                "root": draws.mean(),
            }
    """,
    "q3": """
        def growth(groups, centeredness, jacobian):
            return centeredness * groups - {{ shape }} + 1 - int(jacobian)
    """,
    "q4": """
        def ball(d, radius):
            return {"inside": stats.chi2.cdf((radius / {{ width }}) ** 2, d),
                    "below": stats.chi2.sf(2 * {{ drop }}, d)}

        def zero(groups, tau):
            chance = stats.chi2.cdf(
                (groups - 1) * {{ se }} ** 2 / ({{ se }} ** 2 + tau**2), groups - 1
            )
            return {"reml": chance, "ml": chance}
    """,
    "q5": """
        def costs(levels, sigmas):
            leave = {{ harm }} * np.exp(levels + sigmas**2 / 2).mean()
            fix = {{ price }} + {{ harm }} * {{ after }}
            return {"leave": leave, "fix": fix, "best": "leave" if leave < fix else "fix"}

        def regret(levels, sigmas):
            return 0.0
    """,
}

# Without a Jacobian, with means for all losses, a fixed tiny tau, normal tails, plugged in.
WRONG = {
    "q1": """
        def modes(shape, rate):
            top = (shape - 1) / rate
            return {"plain": top, "log": top, "power": top}

        def probability(shape, rate):
            return stats.norm.cdf({{ limit }}, shape / rate, shape**0.5 / rate)
    """,
    "q2": """
        def report(draws):
            return dict.fromkeys(["prices", "weighted", "root"], draws.mean())
    """,
    "q3": """
        def higher(y, bound):
            return {"mu": y.mean(), "tau": np.exp(-bound / len(y)), "theta": [y.mean()] * len(y)}

        def growth(groups, centeredness, jacobian):
            return groups if centeredness > 0 else 0
    """,
    "q4": """
        def ball(d, radius):
            return {"inside": 2 * stats.norm.cdf(radius / {{ width }}) - 1,
                    "below": np.exp(-{{ drop }})}

        def zero(groups, tau):
            return {"reml": float(tau == 0), "ml": float(tau == 0)}
    """,
    "q5": """
        def costs(levels, sigmas):
            radon = np.exp(np.mean(levels))
            leave = {{ harm }} * radon
            fix = {{ price }} + {{ harm }} * min(radon, {{ after }})
            return {"leave": leave, "fix": fix, "best": "leave" if leave < fix else "fix"}

        def regret(levels, sigmas):
            both = costs(levels, sigmas)
            return both[both["best"]] - min(both["leave"], both["fix"])
    """,
}

# Right, by other roads: searching, sorting, solving for the scale, noncentral and gamma
# distributions, quadrature.
UNUSUAL = {
    "q1": """
        def modes(shape, rate):
            out = {}
            for name, p in (("plain", 1), ("log", 0), ("power", {{ power }})):
                top = (shape - p) / rate
                out[name] = np.float64(top) if top > 0 else None
            return out

        def probability(shape, rate):
            from scipy import special

            return special.gammainc(shape, {{ limit }} * rate)
    """,
    "q2": """
        def report(draws):
            x = np.sort(draws)
            n = len(x)
            sums = np.r_[0, np.cumsum(x)]
            k = np.arange(n)
            high = {{ over }} * (k * x - sums[:-1])
            low = {{ under }} * ((sums[-1] - sums[1:]) - (n - 1 - k) * x)
            w = pd.Series(draws).pow({{ weight }})
            power = pd.Series(draws).pow({{ root }}).mean()
            return {
                "root": np.exp(np.log(power) / {{ root }}),
                "prices": x[np.argmin(high + low)],
                "weighted": float((w * draws).mean() / w.mean()),
            }
    """,
    "q3": """
        def higher(y, bound):
            from scipy.optimize import brentq

            mu = float(np.median(y))

            def excess(t):
                tau = np.exp(-t)
                total = stats.norm.logpdf(mu, 0, {{ sd_mu }})
                total += stats.gamma.logpdf(tau, {{ shape }}, scale=1 / {{ rate }})
                total += sum(stats.norm.logpdf(each, mu, {{ se }}) for each in y)
                return total + len(y) * stats.norm.logpdf(0) + len(y) * t - bound - 0.004

            t = brentq(excess, 0, 700)
            return {"theta": np.full(len(y), mu), "mu": mu, "tau": np.exp(-t)}

        def growth(groups, centeredness, jacobian):
            prior = {{ shape }} - 1  # log density of the gamma per log tau
            return float(groups * centeredness) - prior - 1.0 * jacobian
    """,
    "q4": """
        def ball(d, radius):
            x = stats.gamma(a=d / 2, scale=2 * {{ width }} ** 2)  # the squared radius
            return {"below": x.sf(2 * {{ width }} ** 2 * {{ drop }}), "inside": x.cdf(radius**2)}

        def zero(groups, tau):
            s = stats.gamma(a=(groups - 1) / 2, scale=2 * ({{ se }} ** 2 + tau**2))
            at = {"ml": groups, "reml": groups - 1}
            return {name: s.cdf(n * {{ se }} ** 2) for name, n in at.items()}
    """,
    "q5": """
        def costs(levels, sigmas):
            from scipy.integrate import quad

            left, kept = [], []
            for m, s in zip(levels, sigmas):
                y = stats.norm(m, s)
                edge = min(max(np.log({{ after }}), m - 11 * s), m + 13 * s)

                def part(a, b):
                    return quad(lambda v: np.exp(v) * y.pdf(v), a, b, epsrel=1e-11, limit=200)[0]

                low, high = part(m - 11 * s, edge), part(edge, m + 13 * s)
                left.append(low + high)
                kept.append(low + {{ after }} * y.sf(np.log({{ after }})))
            both = {
                "leave": {{ harm }} * np.mean(left),
                "fix": {{ price }} + {{ harm }} * np.mean(kept),
            }
            return {**both, "best": min(both, key=both.get)}

        def regret(levels, sigmas):
            whole = costs(levels, sigmas)
            point = costs([levels.mean()], [sigmas.mean()])
            if point["best"] == whole["best"]:
                return 0
            return abs(whole["leave"] - whole["fix"])
    """,
}

ARCHETYPES = {
    "full": Archetype({"q1": 3, "q2": 5, "q3": 5, "q4": 5, "q5": 5}, FULL),
    "blank": Archetype({}, {}),
    "half": Archetype({"q1": 3, "q2": 2, "q3": 2, "q4": 3.5, "q5": 1}, HALF),
    "wrong_idea": Archetype({}, WRONG),
    "unusual": Archetype({"q1": 3, "q2": 5, "q3": 5, "q4": 5, "q5": 5}, UNUSUAL),
}
