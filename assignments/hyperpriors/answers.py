"""Hyperpriors: honest submissions of five kinds, and what they must score."""

from grading.making import Archetype

FULL = dict.fromkeys(["q1", "q2", "q3", "q4", "q5", "q7"])

# Takes a rate for a mean, knows the variances that add, and stops at the evidence.
HALF = {
    "q1": """
        def size(family, factor):
            upper = 1 - {{ chance }} / 100
            at_one = {
                "HalfNormal": stats.halfnorm.ppf(upper),
                "HalfCauchy": stats.halfcauchy.ppf(upper),
                "Exponential": stats.expon.ppf(upper),
                "Gamma": stats.gamma.ppf(upper, 2),
            }
            return np.log(factor) / at_one[family]
    """,
    "q2": None,
    "q3": """
        def model(homes):
            county, floor = homes["county"].to_numpy(), homes["floor"].to_numpy()
            with pm.Model() as radon:
                mu_a = pm.Normal("mu_a", {{ mean_mu_a }}, tau={{ precision_mu_a }})
                mu_b = pm.Normal("mu_b", 0, {{ sd_mu_b }})
                sigma_a = pm.Exponential("sigma_a", {{ mean_sigma_a }})
                sigma_b = pm.Gamma("sigma_b", 2, {{ mean_sigma_b }})
                sigma_y = pm.HalfNormal("sigma_y", {{ median_sigma_y }})
                a = pm.Normal("a", mu_a, sigma_a, shape=homes["county"].nunique())
                b = pm.Normal("b", mu_b, sigma_b, shape=homes["county"].nunique())
                mean = a[county] + b[county] * floor
                pm.Normal("y", mean, sigma_y, observed=homes["log_radon"])
            return radon
    """,
    "q4": None,
    "q5": """
        def evidence(effects, errors, size):
            cov = np.diag(np.array(errors) ** 2) + {{ sd_mu }} ** 2
            mean = np.full(len(effects), {{ mean_mu }})
            alike = stats.multivariate_normal(mean, cov).logpdf(effects)
            return {"alike": float(alike)}
    """,
}

# Reads every number in its own way: a chance for a level, a variance for a standard deviation;
# puts in typical values for unknown ones; adds standard deviations.
WRONG = {
    "q1": """
        def size(family, factor):
            return {"HalfNormal": factor / 2, "HalfCauchy": factor / 2}.get(family, 2 / factor)
    """,
    "q2": """
        def beyond(mean, sd, size):
            typical = size * stats.halfnorm.median()
            edge = np.log({{ mark }} + {{ offset }})
            return stats.norm.sf(edge, mean, np.sqrt(sd**2 + typical**2 + {{ noise }} ** 2))
    """,
    "q3": """
        def model(homes):
            county, floor = homes["county"].to_numpy(), homes["floor"].to_numpy()
            with pm.Model() as radon:
                mu_a = pm.Normal("mu_a", {{ mean_mu_a }}, {{ precision_mu_a }})
                mu_b = pm.Normal("mu_b", 0, {{ sd_mu_b }} ** 2)
                sigma_a = pm.Exponential("sigma_a", {{ mean_sigma_a }})
                sigma_b = pm.Gamma("sigma_b", 2, {{ mean_sigma_b }})
                sigma_y = pm.HalfNormal("sigma_y", {{ median_sigma_y }})
                a = pm.Normal("a", mu_a, sigma_a, shape=homes["county"].nunique())
                b = pm.Normal("b", mu_b, sigma_b, shape=homes["county"].nunique())
                mean = a[county] + b[county] * floor
                pm.Normal("y", mean, sigma_y, observed=homes["log_radon"])
            return radon
    """,
    "q4": """
        def new_home(draws, floor):
            edge, mean = np.log({{ limit }} + {{ offset }}), draws.mean()
            center = mean["mu_a"] + floor * mean["mu_b"]
            spread = mean["sigma_a"] + floor * mean["sigma_b"] + mean["sigma_y"]
            return {
                "home": stats.norm.sf(edge, center, spread),
                "forgot": stats.norm.sf(edge, center, mean["sigma_y"]),
                "forgot_is": "too low",
            }
    """,
    "q5": """
        def evidence(effects, errors, size):
            y, se = np.array(effects), np.array(errors)
            alike = stats.norm({{ mean_mu }}, np.sqrt(se**2 + {{ sd_mu }} ** 2)).logpdf(y).sum()
            spread = np.sqrt(se**2 + {{ sd_mu }} ** 2 + size**2)
            different = stats.norm({{ mean_mu }}, spread).logpdf(y).sum()
            return {"log_evidence": different, "alike": alike, "mean_tau": size * 0.8}
    """,
}

# Right, by other roads: the course's own priors, another order of integration, other names of the
# same distributions, sums over draws, an adaptive quadrature.
UNUSUAL = {
    "q1": """
        def size(family, factor):
            from funnel import priors

            course = {
                "HalfNormal": priors.HalfNormal,
                "HalfCauchy": priors.HalfCauchy,
                "Exponential": priors.Exponential,
                "Gamma": priors.Gamma2,
            }[family]
            at_one = float(course(1).quantile(1 - {{ chance }} / 100))
            ratio = np.log(factor) / at_one
            return 1 / ratio if family in ("Exponential", "Gamma") else ratio
    """,
    "q2": """
        def beyond(mean, sd, size):
            known = stats.norm(mean, (sd**2 + {{ noise }} ** 2) ** 0.5)

            def density(z):
                # A county's deviation, with its scale integrated out on a grid.
                scales = size * stats.halfnorm.ppf((np.arange(4000) + 0.5) / 4000)
                return known.sf(np.log({{ mark }} + {{ offset }}) - scales * z).mean()

            nodes, weights = np.polynomial.hermite_e.hermegauss(80)
            values = [density(z) for z in nodes]
            return float(weights @ values / weights.sum())
    """,
    "q3": """
        def model(homes):
            county = homes.county.astype(int).values
            with pm.Model(coords={"county": np.unique(county)}) as m:
                size_y = {{ median_sigma_y }} / stats.norm.ppf(0.75)
                sigma_y = pm.TruncatedNormal("sigma_y", 0, size_y, lower=0)
                sigma_b = pm.Gamma("sigma_b", mu={{ mean_sigma_b }},
                                   sigma={{ mean_sigma_b }} / np.sqrt(2))
                sigma_a = pm.Exponential("sigma_a", scale={{ mean_sigma_a }})
                mu_b = pm.Normal("mu_b", tau={{ sd_mu_b }} ** -2)
                mu_a = pm.Normal("mu_a", {{ mean_mu_a }}, tau={{ precision_mu_a }})
                b = pm.Normal("b", mu_b, sigma_b, dims="county")
                a = pm.Normal("a", mu_a, sigma_a, dims="county")
                level = pm.Deterministic("level", a[county] + b[county] * homes.floor.values)
                pm.Normal("y", level, sigma_y, observed=homes.log_radon.values)
            return m
    """,
    "q4": """
        def new_home(draws, floor):
            chances, narrow = [], []
            for draw in draws.to_dict("records"):
                z = np.log({{ limit }} + {{ offset }}) - draw["mu_a"] - floor * draw["mu_b"]
                variance = draw["sigma_y"] ** 2
                narrow.append(1 - stats.norm.cdf(z / variance**0.5))
                variance += draw["sigma_a"] ** 2 + (floor * draw["sigma_b"]) ** 2
                chances.append(1 - stats.norm.cdf(z / variance**0.5))
            home, forgot = np.mean(chances), np.mean(narrow)
            return {"forgot_is": "Too low" if home > forgot else "too HIGH",
                    "home": home, "forgot": forgot}
    """,
    "q5": """
        def evidence(effects, errors, size):
            y, se = np.array(effects) - {{ mean_mu }}, np.array(errors)

            def likelihood(tau):
                # mu integrated out by its conditional normal, group by group.
                precision = 1 / (se**2 + tau**2)
                total = precision.sum() + {{ sd_mu }} ** -2
                best = (precision * y).sum() / total
                log_p = stats.norm.logpdf(y, best, precision**-0.5).sum()
                log_p += stats.norm.logpdf(best, 0, {{ sd_mu }})
                return log_p + 0.5 * np.log(2 * np.pi / total)

            top = max(likelihood(tau) for tau in np.linspace(0, 3 * size, 200))
            edges = np.concatenate([[0], np.geomspace(0.01, 12 * size, 25)])

            def integral(power):
                def f(tau):
                    prior = stats.halfnorm.pdf(tau, scale=size)
                    return tau**power * np.exp(likelihood(tau) - top) * prior

                parts = zip(edges[:-1], edges[1:])
                return sum(integrate.fixed_quad(np.vectorize(f), a, b, n=8)[0] for a, b in parts)

            area = integral(0)
            return {"mean_tau": integral(1) / area, "alike": likelihood(0.0),
                    "log_evidence": top + np.log(area)}
    """,
}

ARCHETYPES = {
    "full": Archetype({"q1": 3, "q2": 3, "q3": 4, "q4": 4, "q5": 5}, FULL),
    "blank": Archetype({}, {}),
    "half": Archetype({"q1": 1.5, "q2": 3, "q3": 1, "q4": 4, "q5": 1}, HALF),
    "wrong_idea": Archetype({}, WRONG),
    "unusual": Archetype({"q1": 3, "q2": 3, "q3": 4, "q4": 4, "q5": 5}, UNUSUAL),
}
