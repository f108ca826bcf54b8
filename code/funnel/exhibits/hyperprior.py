"""Choose a prior of the scale between slopes, and see posterior and imagined homes follow."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import interpolate, stats

from funnel import exact
from funnel.data import to_log_radon
from funnel.exhibits.base import Choice, Exhibit, Slider, rounded
from funnel.figures import COLORS
from funnel.priors import (
    Exponential,
    Gamma2,
    HalfCauchy,
    HalfNormal,
    Hyperpriors,
    ScalePrior,
    check_priors,
)
from funnel.quadrature import integrate

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from matplotlib.figure import Figure

    from funnel.exact import ExactPosterior

__all__ = ["Hyperprior", "log_likelihood"]

Array = NDArray[np.float64]

#: Lower end of the lattice of sigma_b, in log pCi/L, and the steps of log sigma_b on it.
LOW, STEP = 1e-4, 0.02
#: Below the first, counties are practically alike; above the second, they differ much.
ALIKE, APART = 0.05, 0.3
#: Highest radon in a home, pCi/L, that Pennsylvania had measured by December 2014 (Lehigh
#: Valley Health Network 2014).
RECORD = 3715.0
#: Radon that the survey would round to zero, pCi/L.
NOTHING = 0.05
#: What the axis of imagined homes shows, in log pCi/L, and its ticks, in pCi/L.
SHOWN = (-6.0, 14.0)
TICKS = (0, 1, 10, 100, 10_000)
#: Nodes of the rule of Gauss and Legendre for a scale, on its probability; for each other scale.
NODES, OTHER_NODES = 24, 8

#: Label of each family; its PyMC name; and 1 if its parameter is a size, -1 if it is a rate.
FAMILIES: dict[str, tuple[Callable[[float], ScalePrior], str, str, int]] = {
    "HalfCauchy": (HalfCauchy, "half-Cauchy", "HalfCauchy(beta=?)", 1),
    "HalfNormal": (HalfNormal, "half-normal", "HalfNormal(sigma=?)", 1),
    "Exponential": (Exponential, "exponential", "Exponential(lam=?)", -1),
    "Gamma2": (Gamma2, "Gamma2", "Gamma(alpha=2, beta=?)", -1),
}


def log_likelihood(homes: pd.DataFrame, priors: Hyperpriors, scale: Array) -> Array:
    """Log of the likelihood of `sigma_b`, with everything else integrated out.

    Parameters
    ----------
    homes : DataFrame
        As :func:`funnel.data.load_radon` returns.
    priors : Hyperpriors
        Those of everything else; its `sigma_b` is left aside.
    scale : (n,) array
        Values of `sigma_b`, in log pCi/L, rising.

    Returns
    -------
    (n,) array
        Relative to the highest, which is 0.

    Notes
    -----
    Means, intercepts and slopes are integrated out on paper (:mod:`funnel.exact`), the two
    other scales by quadrature, anew for each value. So the tails are as good as the bulk,
    which the marginal density of one posterior, divided by its prior, would not give. It is
    so smooth in log `sigma_b` that every fourth value is enough for a spline.
    """
    reference = replace(priors, sigma_b=HalfCauchy(1))
    posterior = exact.varying_slopes(homes, reference)
    start = float(homes["log_radon"].std())

    def total(sigma_b: float) -> float:
        def log_density(points: Array) -> Array:
            return posterior.log_density_of_scales(
                sigma_a=points[:, 0], sigma_b=sigma_b, sigma_y=points[:, 1]
            )

        _, grid, _ = integrate(log_density, start, [0, 0])
        return grid.log_total

    knots = np.union1d(scale[::4], scale[-1:])
    at_knots = np.array([total(sigma_b) for sigma_b in knots]) - reference.sigma_b.logpdf(knots)
    found = interpolate.CubicSpline(np.log(knots), at_knots)(np.log(scale))
    return found - found.max()


def _lattice(priors: Hyperpriors) -> Array:
    """Choose values of sigma_b, equal factors apart.

    Below them the likelihood is flat. Above them prior and likelihood fall like powers, which
    they do only far beyond the median and what the prior of `mu_b` leaves open.
    """
    high = 1000 * max(1.0, priors.mu_b.sd)
    return np.geomspace(LOW, high, 1 + round(np.log(high / LOW) / STEP))


def _gauss(n: int) -> tuple[Array, Array]:
    """Nodes and weights of the rule of Gauss and Legendre on (0, 1)."""
    nodes, weights = legendre.leggauss(n)
    return (1 + nodes) / 2, weights / 2


class Hyperprior(Exhibit):
    """Posterior of `sigma_b`, and first floors imagined before any data, for any of its priors.

    Two families are compared at one median. The posterior is the likelihood of `sigma_b`,
    from :func:`log_likelihood`, times the prior.

    Parameters
    ----------
    homes : DataFrame
        As :func:`funnel.data.load_radon` returns, of any survey with counties.
    priors : Hyperpriors
        Of everything but `sigma_b`, whose own prior is left aside.
    **state
        `family` and `other`, each one of HalfCauchy, HalfNormal, Exponential and Gamma2; and
        `median`, in log pCi/L.

    Raises
    ------
    ValueError
        If no home is a first floor: then nothing speaks of `sigma_b`.
    TypeError
        If `priors` is no :class:`funnel.priors.Hyperpriors`.
    """

    name = "hyperprior"
    title = "Which prior lets the data decide"
    _labels: ClassVar[dict[str, str]] = {name: label for name, (_, label, *_) in FAMILIES.items()}

    family = Choice(_labels, label="Prior of σ_b", default="Exponential")
    other = Choice(_labels, label="Compare with, dashed", default="Gamma2")
    median = Slider(0.5, 0.02, 20.0, label="Median of both priors", unit="log pCi/L", log=True)

    def __init__(self, homes: pd.DataFrame, priors: Hyperpriors, **state: Any) -> None:
        check_priors(priors, Hyperpriors)
        first = homes[homes["floor"] == 1]
        if first.empty:
            raise ValueError("homes has no first floor: nothing in it speaks of sigma_b")
        self.homes, self.priors = homes, priors
        probability, weight = _gauss(NODES)
        families = {
            name: {
                "parameter": fields(family)[0].name,  # type: ignore[arg-type]
                "pymc": pymc,
                "at_median_one": float(family(1).quantile(0.5)) ** -power,
                "power": power,
                "quantiles": rounded(
                    family(1).quantile(probability) / float(family(1).quantile(0.5)), 7
                ),
            }
            for name, (family, _, pymc, power) in FAMILIES.items()
        }
        scale = _lattice(priors)
        heights, edges = np.histogram(first["log_radon"], bins=12, density=True)
        variance, share = self._rest()
        data = {
            "ends": scale[[0, -1]].tolist(),
            "log_likelihood": rounded(log_likelihood(homes, priors, scale), 7),
            "informing": int(first["county"].nunique()),
            "families": families,
            "weight": rounded(weight, 7),
            "rest": {
                "mean": priors.mu_a.mean + priors.mu_b.mean,
                "variance": rounded(variance, 7),
                "weight": rounded(share, 7),
            },
            "survey": {"edges": rounded(edges), "heights": rounded(heights)},
            "shown": SHOWN,
            "ticks": [[tick, rounded(float(to_log_radon(tick)))] for tick in TICKS],
            "nothing": rounded(float(to_log_radon(NOTHING)), 7),
            "record": rounded(float(to_log_radon(RECORD)), 7),
            "alike": ALIKE,
            "apart": APART,
        }
        super().__init__(data, **state)

    def _rest(self) -> tuple[Array, Array]:
        """Variance of a first floor given all scales but sigma_b, and the weight of each."""
        priors = self.priors
        probability, weight = _gauss(OTHER_NODES)
        county, home = priors.sigma_a.quantile(probability), priors.sigma_y.quantile(probability)
        means = priors.mu_a.sd**2 + priors.mu_b.sd**2
        variance = means + np.add.outer(county**2, home**2)
        return variance.ravel(), np.outer(weight, weight).ravel()

    def prior(self, name: str) -> ScalePrior:
        """Give the prior of one of the families that has the median at hand."""
        family, _, _, power = FAMILIES[name]
        return family((self.median / float(family(1).quantile(0.5))) ** power)

    def posterior(self, name: str) -> ExactPosterior:
        """Compute the exact posterior under one of the families, with the median at hand."""
        return exact.varying_slopes(self.homes, replace(self.priors, sigma_b=self.prior(name)))

    def imagined(self, name: str, log_radon: Array) -> tuple[Array, Array]:
        """Density of log radon on an imagined first floor, and the probability of more.

        A first floor of a county of its own: ``mu_a + mu_b`` plus normal deviations with
        scales `sigma_a`, `sigma_b` and `sigma_y`, so normal given the scales.
        """
        probability, weight = _gauss(NODES)
        variance, share = self._rest()
        mean = self.priors.mu_a.mean + self.priors.mu_b.mean
        sd = np.sqrt(np.add.outer(self.prior(name).quantile(probability) ** 2, variance)).ravel()
        z = (np.asarray(log_radon)[..., None] - mean) / sd
        weights = np.outer(weight, share).ravel()
        return stats.norm.pdf(z) / sd @ weights, stats.norm.sf(z) @ weights

    def still(self) -> Figure:
        """Draw prior, likelihood and posterior above the imagined first floors."""
        from matplotlib.figure import Figure

        lattice = _lattice(self.priors)
        scale = np.geomspace(0.003, 30, 301)
        y = np.linspace(*SHOWN, 201)
        figure = Figure(figsize=(6, 6))
        top, bottom = figure.subplots(2)
        for name, style in [(self.family, "-"), (self.other, "--")]:
            prior = scale * np.exp(self.prior(name).logpdf(scale))
            posterior = scale * self.posterior(name).density("sigma_b", scale)
            label = FAMILIES[name][1]
            top.plot(scale, prior, style, color=COLORS["muted"], label=f"prior, {label}")
            top.plot(scale, posterior, style, color=COLORS["exact"], label=f"posterior, {label}")
            bottom.plot(y, self.imagined(name, y)[0], style, color=COLORS["muted"])
        peak = max(line.get_ydata().max() for line in top.lines)
        likelihood = peak * np.exp(self.data["log_likelihood"])
        top.plot(lattice, likelihood, color=COLORS["data"], label="likelihood")
        top.axvline(ALIKE, color=COLORS["muted"], lw=1, ls=":")
        top.set(xscale="log", xlim=(0.003, 30), ylim=(0, None), xlabel=r"$\sigma_b$, log pCi/L")
        top.set(ylabel="density per unit of log")
        top.legend(loc="upper right", fontsize=9)
        survey = self.data["survey"]
        bottom.stairs(
            survey["heights"], survey["edges"], fill=True, color=COLORS["data"], alpha=0.35
        )
        for mark in (NOTHING, RECORD):
            bottom.axvline(to_log_radon(mark), color=COLORS["muted"], lw=1, ls=":")
        bottom.set(xlim=SHOWN, ylim=(0, None), ylabel="density per unit of log")
        bottom.set_xticks(to_log_radon(TICKS), [f"{tick:g}" for tick in TICKS])
        bottom.set_xlabel("radon of a first floor, pCi/L")
        return figure
