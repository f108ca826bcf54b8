"""The funnel and its diagnostics: honest submissions of five kinds, and what they must score."""

from grading.making import Archetype

FULL = dict.fromkeys(["q1", "q2", "q3", "q4", "q5", "q7"])

# Errors of draws, not of chains; counts no data; knows the biggest bias only.
HALF = {
    "q1": """
        def below(draws):
            hit = (draws < {{ limit }}).ravel()
            return {"probability": hit.mean(), "error": hit.std() / np.sqrt(hit.size)}

        def lowest(n):
            return stats.halfnorm.ppf(1 - 0.5 ** (1 / n), scale={{ size }})
    """,
    "q2": None,
    "q3": """
        def limit(sigma_b, homes, widths):
            return (2 / widths / np.sqrt(homes / {{ sigma_y }} ** 2 + 1 / sigma_b**2)).min()

        def wall(step, homes, widths):
            return (step * widths / 2).max()
    """,
    "q5": """
        def measure(wall, share):
            low = stats.halfnorm.cdf(wall, scale={{ size }})
            up = stats.halfnorm.cdf({{ limit }}, scale={{ size }})
            told = share + (1 - share) * (up - low) / (1 - low)
            return {"probability": told - up, "mean": 0.0, "log": 0.0}
    """,
}

# Takes the mean for the middle of everything, whole kicks, the mean curvature, one sign for all.
WRONG = {
    "q1": """
        def below(draws):
            return {"probability": float(draws.mean() < {{ limit }}), "error": draws.std()}

        def lowest(n):
            return {{ size }} / n
    """,
    "q2": """
        def path(q, p, step, steps):
            def energy():
                landscape = q**2 / 2 / {{ width }} ** 2 + {{ bump }} * np.log(1 + q**2)
                return landscape + p**2 / 2 / {{ mass }}

            start = energy()
            for _ in range(steps):
                p = p - step * (q / {{ width }}**2 + 2 * {{ bump }} * q / (1 + q**2))
                q = q + step * p / {{ mass }}
            return {"q": q, "p": p, "error": abs(energy() - start)}
    """,
    "q3": """
        def limit(sigma_b, homes, widths):
            return 2 / np.mean(widths * np.sqrt(homes / {{ sigma_y }} ** 2 + 1 / sigma_b**2))

        def wall(step, homes, widths):
            return step / 2
    """,
    "q4": """
        def bfmi(energy):
            ratio = np.diff(energy, axis=1).var(axis=1) / energy.var(axis=1)
            return {"bfmi": ratio, "flagged": np.flatnonzero(ratio > {{ rule }})}

        def kicks(groups, parameters):
            n = groups * np.log({{ mouth }} / {{ neck }}) / np.sqrt(parameters)
            return {"straight": n, "walk": np.sqrt(n)}
    """,
    "q5": """
        def predict(wall, share):
            return {"probability": "too low", "mean": "too low", "log": "too low"}

        def measure(wall, share):
            low = stats.halfnorm.cdf(wall, scale={{ size }})
            return {"probability": share - low, "mean": low - share, "log": low - share}
    """,
}

# Right, by other roads: integrals of densities, merged kicks, searching, loops, sums on a grid.
UNUSUAL = {
    "q1": """
        def below(draws):
            frame = pd.DataFrame(draws).lt({{ limit }}).mean(axis="columns")
            return {"probability": frame.mean(), "error": frame.sem()}

        def lowest(n):
            from scipy.optimize import brentq

            def above(x):
                return n * stats.halfnorm.logsf(x, scale={{ size }}) - np.log(0.5)

            return brentq(above, 0, 9, xtol=1e-15, rtol=1e-14)
    """,
    "q2": """
        def path(q, p, step, steps):
            def slope(x):
                return x / {{ width }} ** 2 + {{ bump }} * 2 / (x + 1 / x)

            def energy(x, y):
                landscape = x * x / (2 * {{ width }} ** 2) + {{ bump }} * np.log1p(x * x)
                return landscape + y * y / (2 * {{ mass }})

            first, worst = energy(q, p), 0.0
            p = p - step / 2 * slope(q)
            for i in range(steps):
                q = q + step / {{ mass }} * p
                kick = step * slope(q)
                worst = max(worst, abs(energy(q, p - kick / 2) - first))
                p = p - (kick if i < steps - 1 else kick / 2)
            return {"q": np.float64(q), "p": np.float64(p), "error": worst}
    """,
    "q3": """
        def limit(sigma_b, homes, widths):
            curvature = np.diag(homes / {{ sigma_y }} ** 2 + sigma_b**-2)
            scaled = np.diag(widths) @ curvature @ np.diag(widths)
            return 2 / np.sqrt(np.linalg.eigvalsh(scaled)[-1])

        def wall(step, homes, widths):
            from scipy.optimize import brentq

            def gap(log_scale):
                return np.log(limit(np.exp(log_scale), homes, widths) / step)

            if gap(25) <= 0:
                return None
            return float(np.exp(brentq(gap, -25, 25, xtol=1e-13)))
    """,
    "q4": """
        def bfmi(energy):
            out = []
            for chain in energy:
                kicks = [(b - a) ** 2 for a, b in zip(chain[:-1], chain[1:])]
                out.append(sum(kicks) / (len(chain) * np.var(chain)))
            return {"flagged": [i for i, e in enumerate(out) if e < {{ rule }}], "bfmi": out}

        def kicks(groups, parameters):
            deeper = np.diff(stats.norm.logpdf(0, scale=[{{ mouth }}, {{ neck }}]))[0]
            n = groups * deeper * parameters**-0.5
            return dict(walk=n * n, straight=n)
    """,
    "q5": """
        def predict(wall, share):
            sizes = measure(wall, share)
            return {name: " Too High" if size > 0 else "too low" for name, size in sizes.items()}

        def measure(wall, share):
            true = stats.halfnorm(scale={{ size }})
            below = true.cdf(wall)
            # Means of the two halves, by quantiles and Gauss's rule; the log by parts.
            x, w = np.polynomial.legendre.leggauss(200)

            def middle(function, low, high):
                s = low + (high - low) * (x + 1) / 2
                return np.sum(w * function(s) * true.pdf(s)) * (high - low) / 2

            def log_below():
                u = np.log(wall) - 45 * (x + 1) / 2
                return np.sum(w * u * np.exp(u) * true.pdf(np.exp(u))) * 45 / 2

            cut = true.cdf({{ limit }})
            top = 10 * {{ size }}
            low = [below, middle(lambda s: s, 0, wall), log_below()]
            high = [cut - below, middle(lambda s: s, wall, top), middle(np.log, wall, top)]
            found = [
                share / below * a + (1 - share) / (1 - below) * b - a - b for a, b in zip(low, high)
            ]
            return dict(zip(["probability", "mean", "log"], found))
    """,
}

ARCHETYPES = {
    "full": Archetype({"q1": 3, "q2": 4, "q3": 5, "q4": 4, "q5": 5}, FULL),
    "blank": Archetype({}, {}),
    "half": Archetype({"q1": 2, "q2": 4, "q3": 2, "q5": 1.5}, HALF),
    "wrong_idea": Archetype({}, WRONG),
    "unusual": Archetype({"q1": 3, "q2": 4, "q3": 5, "q4": 4, "q5": 5}, UNUSUAL),
}
