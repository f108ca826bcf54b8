"""The project: tools of five honest submissions, and what they must score."""

from grading.making import Archetype

FULL = dict.fromkeys(["q1", "q2", "q3", "q4", "q5"])

MODEL = """
    def model(table):
        group, u = table["group"].to_numpy(), U
        groups = int(group.max()) + 1
        with pm.Model() as m:
            mu_a = pm.Normal("mu_a", {{ mean_mu_a }}, {{ sd_mu_a }})
            sigma_a = pm.HalfNormal("sigma_a", {{ size_sigma_a }})
            mu_b = pm.Normal("mu_b", 0, {{ sd_mu_b }})
            sigma_b = pm.Exponential("sigma_b", RATE)
            a = pm.Normal("a", mu_a, sigma_a, shape=groups)
            b = pm.Normal("b", mu_b, sigma_b, shape=groups)
            sigma_y = pm.HalfNormal("sigma_y", {{ size_sigma_y }})
            pm.Normal("y", a[group] + b[group] * u, sigma_y, observed=table["y"])
        return m
"""
RESCALED = '(table["x"].to_numpy() - {{ origin }}) / {{ unit }}'

# Takes the mean of an exponential for its rate, forgets that a group shares its effects, and
# bins of unequal size.
HALF = {
    "q1": None,
    "q2": MODEL.replace("U\n", f"{RESCALED}\n").replace("RATE", "{{ mean_sigma_b }}"),
    "q3": """
        def predict(top, a, b, group, x, edge):
            u = (x - {{ origin }}) / {{ unit }}
            known = stats.norm.sf(edge, a[:, group] + b[:, group] * u, top[:, 4]).mean()
            sd = np.sqrt(top[:, 1] ** 2 + top[:, 3] ** 2 * u**2 + top[:, 4] ** 2)
            new = stats.norm.sf(edge, top[:, 0] + top[:, 2] * u, sd).mean()
            return {"known": known, "new": new}

        def surprise(top, x, mean):
            u = np.mean((x - {{ origin }}) / {{ unit }})
            return stats.norm.cdf(mean, top[:, 0] + top[:, 2] * u, top[:, 4] / len(x)**0.5).mean()
    """,
    "q4": """
        def ranks(truths, draws):
            u = ({{ place }} - {{ origin }}) / {{ unit }}
            return (draws @ [1, u] < (truths @ [1, u])[:, None]).sum(axis=1)

        def uneven(truths, draws):
            return stats.kstest(ranks(truths, draws) / draws.shape[1], "uniform").pvalue
    """,
}

# Raw x, whole sums of squares, means plugged in, one parameter for the quantity.
WRONG = {
    "q1": """
        def inform(table, sigma_a, sigma_b, sigma_y):
            g = table.groupby("group")
            a = g.size() * sigma_a / sigma_y
            b = g["x"].apply(lambda x: (x**2).sum()) * sigma_b / sigma_y
            n = len(a)
            return {"a": a, "b": b, "write_a": ["noncentered"] * n, "write_b": ["noncentered"] * n}
    """,
    "q2": MODEL.replace("U\n", 'table["x"].to_numpy()\n').replace("RATE", "1 / {{ mean_sigma_b }}"),
    "q3": """
        def predict(top, a, b, group, x, edge):
            u = (x - {{ origin }}) / {{ unit }}
            m = a.mean(axis=0)[group] + b.mean(axis=0)[group] * u
            known = stats.norm.sf(edge, m, top[:, 4].mean())
            t = top.mean(axis=0)
            return {"known": known, "new": stats.norm.sf(edge, t[0] + t[2] * u, t[4])}

        def surprise(top, x, mean):
            t = top.mean(axis=0)
            u = (x.mean() - {{ origin }}) / {{ unit }}
            return stats.norm.cdf(mean, t[0] + t[2] * u, t[1])
    """,
    "q4": """
        def ranks(truths, draws):
            return (draws[:, :, 0] < truths[:, [0]]).sum(axis=1)

        def uneven(truths, draws):
            return stats.chisquare(np.histogram(ranks(truths, draws), {{ bins }})[0]).pvalue
    """,
}

# Right, by other roads: least squares, other coordinates and distributions, loops, sorting.
UNUSUAL = {
    "q1": """
        def inform(table, sigma_a, sigma_b, sigma_y):
            out = {"a": [], "b": [], "write_b": [], "write_a": []}
            for g in range(table["group"].max() + 1):
                u = (table.loc[table["group"] == g, "x"].to_numpy() - {{ origin }}) / {{ unit }}
                design = np.column_stack([np.ones_like(u), u])
                information = design.T @ design / sigma_y**2
                alone = information[0, 0]
                # What is left about the slope when the intercept is free (a Schur complement).
                left = information[1, 1] - information[0, 1] ** 2 / alone
                out["a"].append(alone * sigma_a**2)
                out["b"].append(max(left, 0) * sigma_b**2)
                for name in "ab":
                    high = out[name][-1] > {{ crossing }}
                    out["write_" + name].append("Centered" if high else "noncentered")
            return out
    """,
    "q2": """
        def model(table):
            u = table["x"] / {{ unit }} - {{ origin }} / {{ unit }}
            codes = table["group"].to_numpy()
            with pm.Model(coords={"group": np.unique(codes)}) as m:
                sigma_y = pm.TruncatedNormal("sigma_y", 0, {{ size_sigma_y }}, lower=0)
                a_offset = pm.Normal("a_offset", dims="group")
                mu_a = pm.Normal("mu_a", mu={{ mean_mu_a }}, tau={{ sd_mu_a }} ** -2)
                sigma_a = pm.TruncatedNormal("sigma_a", 0, {{ size_sigma_a }}, lower=0)
                a = pm.Deterministic("a", mu_a + a_offset * sigma_a, dims="group")
                mu_b = pm.Normal("mu_b", mu=0, tau={{ sd_mu_b }} ** -2)
                sigma_b = pm.Gamma("sigma_b", alpha=1, beta=1 / {{ mean_sigma_b }})
                b = pm.Normal("b", mu_b, sigma_b, dims="group")
                mean = (a + 0)[codes] + (b * 1)[codes] * u.to_numpy()
                pm.Normal("y", mean, sigma_y, observed=table["y"].to_numpy())
            return m
    """,
    "q3": """
        def predict(top, a, b, group, x, edge):
            u = (x - {{ origin }}) / {{ unit }}
            known, new = [], []
            for t, aj, bj in zip(top, a[:, group], b[:, group]):
                known.append(stats.norm.cdf((aj + bj * u - edge) / t[4]))
                direction = np.array([t[1], t[3] * u, t[4]])
                new.append(stats.norm.cdf((t[0] + t[2] * u - edge) / np.linalg.norm(direction)))
            return {"new": sum(new) / len(new), "known": sum(known) / len(known)}

        def surprise(top, x, mean):
            u = (np.asarray(x) - {{ origin }}) / {{ unit }}
            out = []
            for m_a, s_a, m_b, s_b, s_y in top:
                covariance = s_a**2 + s_b**2 * np.outer(u, u) + s_y**2 * np.eye(len(u))
                w = np.ones(len(u)) / len(u)
                out.append(stats.norm(w @ (m_a + m_b * u), (w @ covariance @ w) ** 0.5).cdf(mean))
            return np.mean(out)
    """,
    "q4": """
        def ranks(truths, draws):
            u = ({{ place }} - {{ origin }}) / {{ unit }}
            found = []
            for truth, some in zip(truths, draws):
                level = np.sort(some[:, 0] + some[:, 1] * u)
                found.append(int(np.searchsorted(level, truth[0] + truth[1] * u)))
            return found

        def uneven(truths, draws):
            size = draws.shape[1] + 1
            expected, seen = np.zeros({{ bins }}), np.zeros({{ bins }})
            for k in range(size):
                expected[int({{ bins }} * k // size)] += len(truths) / size
            for k in ranks(truths, draws):
                seen[int({{ bins }} * k // size)] += 1
            return stats.chi2({{ bins }} - 1).sf((seen**2 / expected).sum() - len(truths))
    """,
}

ARCHETYPES = {
    "full": Archetype({"q1": 4, "q2": 4, "q3": 6, "q4": 4}, FULL),
    "blank": Archetype({}, {}),
    "half": Archetype({"q1": 4, "q3": 4, "q4": 2}, HALF),
    "wrong_idea": Archetype({}, WRONG),
    "unusual": Archetype({"q1": 4, "q2": 4, "q3": 6, "q4": 4}, UNUSUAL),
}
