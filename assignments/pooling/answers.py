"""Pooling and shrinkage: honest submissions of five kinds, and what they must score."""

from grading.making import Archetype

FULL = dict.fromkeys(["q1", "q2", "q3", "q4", "q5", "q7"])

# Knows the formulas of one county, and takes a variance for a standard deviation.
HALF = {
    "q1": None,
    "q2": None,
    "q3": """
        def risk(d, n):
            w = {{ sigma_a }}**2 / ({{ sigma_a }}**2 + {{ sigma_y }}**2 / n)
            bias, variance = (1 - w) * d, w**2 * {{ sigma_y }}**2 / n
            return {
                "none": {{ sigma_y }}**2 / n,
                "partial": bias**2 + variance,
                "complete": d**2,
            }
    """,
    "q5": """
        def model(homes):
            first = homes.drop_duplicates("county").sort_values("county")
            with pm.Model() as m:
                mu_a = pm.Normal("mu_a", {{ mean_mu_a }}, {{ sd_mu_a }} ** 2)
                gamma = pm.Normal("gamma", 0, {{ sd_gamma }})
                sigma_a = pm.HalfNormal("sigma_a", {{ size_sigma_a }})
                a = pm.Normal("a", mu_a + gamma * first["log_uranium"].to_numpy(), sigma_a)
                mu_b = pm.Normal("mu_b", 0, {{ sd_mu_b }})
                sigma_y = pm.Exponential("sigma_y", 1 / {{ mean_sigma_y }})
                mean = a[homes["county"].to_numpy()] + mu_b * homes["floor"].to_numpy()
                pm.Normal("y", mean, sigma_y, observed=homes["log_radon"].to_numpy())
            return m
    """,
}

# Mixes up means and medians, weighs by standard deviations, averages before asking.
WRONG = {
    "q1": """
        def home(level, sigma):
            typical = np.exp(level) - {{ offset }}
            above = 1 - stats.norm.cdf((np.log({{ limit }}) - level) / sigma)
            return {"median": typical, "mean": typical, "above": above}
    """,
    "q2": """
        def county(readings):
            n = len(readings)
            w = n / (n + {{ sigma_y }} / {{ sigma_a }})
            own = np.mean(readings) if n else 0.0
            return {"estimate": w * own + (1 - w) * {{ mu }}, "sd": {{ sigma_a }} * (1 - w)}

        def homes_needed(share):
            return int(np.ceil(share / (1 - share) * {{ sigma_y }} / {{ sigma_a }}))
    """,
    "q3": """
        def risk(d, n):
            w = n / (n + {{ sigma_y }} / {{ sigma_a }})
            none = {{ sigma_y }}**2 / n
            return {"none": none, "partial": w * none + (1 - w) * d**2, "complete": d**2}

        def break_even(d):
            return None if d < {{ sigma_a }} else 2
    """,
    "q4": """
        def worst(levels):
            mean = np.asarray(levels).mean(axis=0)
            best = np.argsort(mean)[-{{ top }}:]
            out = np.zeros(len(mean))
            out[best] = mean[best] > np.log({{ limit }} + {{ offset }})
            return out

        def chance(levels, sigma_y, county):
            level = levels[:, county].mean()
            return stats.norm.sf(np.log({{ limit }} + {{ offset }}), level, np.mean(sigma_y))
    """,
    "q5": """
        def model(homes):
            with pm.Model() as m:
                mu_a = pm.Normal("mu_a", {{ mean_mu_a }}, {{ sd_mu_a }})
                gamma = pm.Normal("gamma", 0, {{ sd_gamma }})
                sigma_a = pm.HalfNormal("sigma_a", {{ size_sigma_a }})
                a = pm.Normal("a", mu_a, sigma_a, shape=homes["county"].nunique())
                mu_b = pm.Normal("mu_b", 0, {{ sd_mu_b }})
                sigma_y = pm.Exponential("sigma_y", {{ mean_sigma_y }})
                mean = a[homes["county"].to_numpy()] + mu_b * homes["floor"].to_numpy()
                mean = mean + gamma * homes["log_uranium"].to_numpy()
                pm.Normal("y", mean, sigma_y, observed=homes["log_radon"].to_numpy())
            return m
    """,
}

# Right, by other roads: integrals, updating home by home, searching, counting, other names of
# the same distributions.
UNUSUAL = {
    "q1": """
        def home(level, sigma):
            from scipy.integrate import quad

            y = stats.norm(level, sigma)
            low, high = level - 12 * sigma, level + 12 * sigma
            mean, _ = quad(lambda x: np.exp(x) * y.pdf(x), low, high, epsabs=1e-12, limit=200)
            return {
                "median": np.exp(y.ppf(0.5)) - {{ offset }},
                "mean": mean - {{ offset }},
                "above": 1 - y.cdf(np.log({{ limit }} + {{ offset }})),
            }
    """,
    "q2": """
        def county(readings):
            mean, variance = {{ mu }}, {{ sigma_a }} ** 2
            for reading in readings:
                gain = variance / (variance + {{ sigma_y }} ** 2)
                mean, variance = mean + gain * (reading - mean), (1 - gain) * variance
            return {"sd": np.sqrt(variance), "estimate": np.float64(mean)}

        def homes_needed(share):
            n = 1
            while n * {{ sigma_a }} ** 2 < share * (n * {{ sigma_a }} ** 2 + {{ sigma_y }} ** 2):
                n += 1
            return n
    """,
    "q3": """
        def risk(d, n):
            w = n / (n + ({{ sigma_y }} / {{ sigma_a }}) ** 2)
            return dict(
                complete=float(d) ** 2,
                none={{ sigma_y }} ** 2 / n,
                partial=d**2 + w**2 * (d**2 + {{ sigma_y }} ** 2 / n) - 2 * w * d**2,
            )

        def break_even(d):
            for n in range(1, 5000):
                errors = risk(d, n)
                if errors["none"] < errors["partial"]:
                    return n
    """,
    "q4": """
        def worst(levels):
            frame = pd.DataFrame(levels)
            chosen = frame.rank(axis=1, ascending=False) <= {{ top }}
            above = frame.map(lambda y: np.exp(y) - {{ offset }} > {{ limit }})
            return (chosen & above).mean().tolist()

        def chance(levels, sigma_y, county):
            z = [
                (row[county] - np.log({{ limit }} + {{ offset }})) / s
                for row, s in zip(levels, sigma_y)
            ]
            return sum(stats.norm.cdf(each) for each in z) / len(z)
    """,
    "q5": """
        def model(homes):
            soil = homes.groupby("county").log_uranium.mean()
            with pm.Model(coords={"county": soil.index}) as m:
                sigma_y = pm.Gamma("sigma_y", alpha=1, beta=1 / {{ mean_sigma_y }})
                sigma_a = pm.TruncatedNormal("sigma_a", 0, {{ size_sigma_a }}, lower=0)
                gamma = pm.Normal("gamma", mu=0, tau={{ sd_gamma }} ** -2)
                mu_b = pm.Normal("mu_b", mu=0, tau={{ sd_mu_b }} ** -2)
                mu_a = pm.Normal("mu_a", mu={{ mean_mu_a }}, tau={{ sd_mu_a }} ** -2)
                line = pm.Deterministic("line", mu_a + gamma * soil.to_numpy(), dims="county")
                a = pm.Normal("a", line, sigma_a, dims="county")
                first = homes["floor"].to_numpy() == 1
                slope = pm.math.switch(first, mu_b, 0.0)
                pm.Normal("y", a[homes["county"].to_numpy()] + slope, sigma_y,
                          observed=homes["log_radon"])
            return m
    """,
}

ARCHETYPES = {
    "full": Archetype({"q1": 3, "q2": 4, "q3": 4, "q4": 4, "q5": 5}, FULL),
    "blank": Archetype({}, {}),
    "half": Archetype({"q1": 3, "q2": 4, "q3": 2, "q5": 1.5}, HALF),
    "wrong_idea": Archetype({"q1": 1, "q2": 1, "q3": 1}, WRONG),
    "unusual": Archetype({"q1": 3, "q2": 4, "q3": 4, "q4": 4, "q5": 5}, UNUSUAL),
}
