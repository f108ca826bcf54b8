"""Reparameterization: honest submissions of five kinds, and what they must score."""

from grading.making import Archetype

FULL = dict.fromkeys(["q1", "q2", "q3", "q4", "q5", "q7"])

MODEL = """
    def noncentered(homes):
        county, floor = homes["county"].to_numpy(), homes["floor"].to_numpy()
        soil = homes.groupby("county")["soil"].first().to_numpy()
        with pm.Model() as model:
            mu_a = pm.Normal("mu_a", {{ mean_mu_a }}, {{ sd_mu_a }})
            sigma_a = pm.HalfNormal("sigma_a", {{ size_sigma_a }})
            a = pm.Normal("a", mu_a, sigma_a, shape=len(soil))
            mu_b = pm.Normal("mu_b", {{ mean_mu_b }}, {{ sd_mu_b }})
            delta = pm.Normal("delta", 0, {{ sd_delta }})
            sigma_b = pm.Exponential("sigma_b", RATE)
            b_offset = pm.Normal("b_offset", 0, 1, shape=len(soil))
            b = pm.Deterministic("b", mu_b + delta * soil + sigma_b * b_offset)
            EXTRA
            sigma_y = pm.HalfNormal("sigma_y", {{ size_sigma_y }})
            pm.Normal("y", a[county] + b[county] * floor, sigma_y, observed=homes["log_radon"])
        return model
"""

# The prior of sigma_b has changed on the way; and a sign is lost.
HALF = {
    "q1": """
        def offsets(effects, mu, sigma):
            return {{ middle }} + {{ unit }} * (effects - mu) / sigma

        def difference(sigma, groups):
            return -groups * np.log(sigma / {{ unit }})
    """,
    "q2": None,
    "q3": MODEL.replace("RATE", "{{ mean_sigma_b }}").replace("EXTRA", ""),
    "q4": """
        def recover(y, x, mu_b, sigma_b):
            precision = (x @ x) / {{ sigma_y }} ** 2 + 1 / sigma_b**2
            pull = x @ (y - {{ intercept }}) / {{ sigma_y }} ** 2 + mu_b / sigma_b**2
            return {"mean": pull / precision, "sd": precision**-0.5}
    """,
}

# Always noncenters; adds the Jacobian once more; homes without a shared slope; width for variance.
WRONG = {
    "q1": """
        def offsets(effects, mu, sigma):
            return (np.asarray(effects) - mu) / sigma

        def difference(sigma, groups):
            return 0.0
    """,
    "q2": """
        def place(n):
            ends = np.array([{{ low }}, {{ high }}])
            r = n * ends**2 / {{ sigma_y }} ** 2
            b = ends / (1 + r)
            return {"r": r, "b": b.max() / b.min(), "z": (1 + r[1]) / (1 + r[0]),
                    "write": "noncentered"}
    """,
    "q3": MODEL.replace("RATE", "1 / {{ mean_sigma_b }}").replace(
        "EXTRA", 'pm.Potential("jacobian", len(soil) * pm.math.log(sigma_b))'
    ),
    "q4": """
        def log_marginal(y, x, mu_b, sigma_b):
            sd = np.sqrt({{ sigma_y }} ** 2 + sigma_b**2 * x**2)
            return stats.norm.logpdf(y, {{ intercept }} + mu_b * x, sd).sum()

        def recover(y, x, mu_b, sigma_b):
            return {"mean": mu_b, "sd": sigma_b}
    """,
    "q5": """
        def geometry(groups, se, tau):
            r = tau**2 / se**2
            return {"noncentered": 0.0, "centered": 1 / (1 + r), "fixed": (1 + r) ** -0.5,
                    "whole": 1.0}
    """,
}

# Right, by other roads: finite differences, precisions, a transformed prior, all groups at once.
UNUSUAL = {
    "q1": """
        def offsets(effects, mu, sigma):
            b = stats.norm(mu, sigma)
            z = stats.norm({{ middle }}, {{ unit }})
            return [z.ppf(p) if p < 0.5 else z.isf(q)
                    for p, q in zip(b.cdf(effects), b.sf(effects))]

        def difference(sigma, groups):
            at_b = stats.norm.logpdf(0.0, 0.0, sigma)
            at_z = stats.norm.logpdf({{ middle }}, {{ middle }}, {{ unit }})
            return np.float64(at_z - at_b) * groups
    """,
    "q2": """
        def place(n):
            ends = [{{ low }}, {{ high }}]
            r = [(s / {{ sigma_y }}) ** 2 * n for s in ends]
            sd_b = [(n / {{ sigma_y }} ** 2 + s**-2) ** -0.5 for s in ends]
            sd_z = [w / s for w, s in zip(sd_b, ends)]
            b, z = max(sd_b) / min(sd_b), max(sd_z) / min(sd_z)
            return dict(r=r, b=b, z=z, write=["noncentered", "centered"][int(b < z)])
    """,
    "q3": """
        def noncentered(homes):
            soil = homes.groupby("county").soil.mean()
            with pm.Model(coords={"county": soil.index}) as model:
                sigma_y = pm.TruncatedNormal("sigma_y", 0, {{ size_sigma_y }}, lower=0)
                b_offset = pm.Normal("b_offset", dims="county")
                sigma_b = pm.Gamma("sigma_b", alpha=1, beta=1 / {{ mean_sigma_b }})
                mu_b = pm.Normal("mu_b", mu={{ mean_mu_b }}, tau={{ sd_mu_b }} ** -2)
                delta = pm.Normal("delta", mu=0, tau={{ sd_delta }} ** -2)
                line = delta * soil.to_numpy() + mu_b
                b = pm.Deterministic("b", b_offset * sigma_b + line, dims="county")
                sigma_a = pm.TruncatedNormal("sigma_a", 0, {{ size_sigma_a }}, lower=0)
                mu_a = pm.Normal("mu_a", mu={{ mean_mu_a }}, tau={{ sd_mu_a }} ** -2)
                a = pm.Normal("a", mu_a, sigma_a, dims="county")
                which = homes["county"].to_numpy()
                first = homes["floor"].to_numpy() == 1
                mean = pm.math.switch(first, a[which] + b[which], a[which])
                pm.Normal("y", mean, sigma_y, observed=homes["log_radon"].to_numpy())
            return model
    """,
    "q4": """
        def log_marginal(y, x, mu_b, sigma_b):
            at = recover(y, x, mu_b, sigma_b)
            b = at["mean"]  # Bayes' rule, at one place
            joint = stats.norm.logpdf(y, {{ intercept }} + b * x, {{ sigma_y }}).sum()
            joint += stats.norm.logpdf(b, mu_b, sigma_b)
            return joint - stats.norm.logpdf(b, at["mean"], at["sd"])

        def recover(y, x, mu_b, sigma_b):
            mean, variance = mu_b, sigma_b**2
            for yi, xi in zip(y, x):  # one home after the other
                gain = variance * xi / (variance * xi**2 + {{ sigma_y }} ** 2)
                mean = mean + gain * (yi - {{ intercept }} - xi * mean)
                variance = (1 - gain * xi) * variance
            return {"sd": np.sqrt(variance), "mean": np.float64(mean)}
    """,
    "q5": """
        def geometry(groups, se, tau):
            out = {}
            mean = np.vstack([np.r_[1.0, np.zeros(groups)], np.r_[0.0, np.ones(groups) / groups]])
            for way in ("noncentered", "centered"):
                rows = []
                for j in range(groups):
                    e = np.zeros(groups + 1)
                    e[j + 1] = 1.0
                    mu = np.r_[1.0, np.zeros(groups)]
                    if way == "centered":
                        rows += [e / se, (e - mu) / tau]
                    else:
                        rows += [(mu + tau * e) / se, e]
                rows.append(np.r_[1.0 / {{ sd_mu }}, np.zeros(groups)])
                precision = np.array(rows).T @ np.array(rows)
                cov = mean @ np.linalg.inv(precision) @ mean.T
                out[way] = cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])
                if way == "noncentered":
                    out["whole"] = np.sqrt(cov[1, 1])
                    out["fixed"] = np.sqrt(cov[1, 1] * (1 - out[way] ** 2))
            return out
    """,
}

ARCHETYPES = {
    "full": Archetype({"q1": 3, "q2": 4, "q3": 5, "q4": 4, "q5": 4}, FULL),
    "blank": Archetype({}, {}),
    "half": Archetype({"q1": 1, "q2": 4, "q3": 1, "q4": 2}, HALF),
    "wrong_idea": Archetype({"q2": 1, "q3": 1}, WRONG),
    "unusual": Archetype({"q1": 3, "q2": 4, "q3": 5, "q4": 4, "q5": 4}, UNUSUAL),
}
