"""Drag the scale between counties, and see every estimate slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from funnel import exact
from funnel.exhibits.base import Choice, Exhibit, Slider, rounded
from funnel.figures import COLORS
from funnel.priors import ESSAY, Hyperpriors

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Shrinkage"]

LOW, HIGH = 0.01, 10.0


class Shrinkage(Exhibit):
    """County levels for any scale between counties, beside the exact posterior of that scale.

    Slope and noise stand at their exact posterior means; given those and `sigma_a`, the
    levels and their common mean are closed forms (Gelman and Hill 2007, section 12.2).

    Parameters
    ----------
    homes : DataFrame
        As :func:`funnel.data.load_radon` returns, of any survey with counties.
    priors : Hyperpriors
        Those of :func:`funnel.exact.varying_intercepts`.
    **state
        `sigma_a`, in log pCi/L, and `county`, the one to follow.

    Raises
    ------
    ValueError, TypeError
        As :func:`funnel.exact.varying_intercepts`.
    """

    name = "shrinkage"
    title = "How much to pool"

    sigma_a = Slider(0.3, LOW, HIGH, label="Scale between counties, σₐ", unit="log pCi/L", log=True)
    county = Choice(label="County to follow")

    def __init__(self, homes: pd.DataFrame, priors: Hyperpriors = ESSAY, **state: Any) -> None:
        posterior = exact.varying_intercepts(homes, priors)
        by_county = homes.groupby("county", observed=True)
        slope, noise = posterior.mean("mu_b"), posterior.mean("sigma_y")
        own = by_county["log_radon"].mean() - slope * by_county["floor"].mean()
        scale = np.geomspace(LOW, HIGH, 201)
        data = {
            "counties": [str(county) for county in own.index],
            "homes": by_county.size().tolist(),
            "own": rounded(own.to_numpy()),
            "complete": rounded(float((homes["log_radon"] - slope * homes["floor"]).mean())),
            "sigma_y": rounded(float(noise)),
            "scale": rounded(scale),
            "density": rounded(scale * posterior.density("sigma_a", scale)),
            "below": rounded(posterior.cdf("sigma_a", scale)),
        }
        options = {"county": {name: name for name in data["counties"]}}
        super().__init__(data, options, **state)

    def estimates(self) -> tuple[np.ndarray, float]:
        """Levels of the counties and their mean, for the scale at hand."""
        n, own = np.array(self.data["homes"]), np.array(self.data["own"])
        own_variance = self.data["sigma_y"] ** 2 / n
        precision = 1 / (self.sigma_a**2 + own_variance)
        mean = float((precision * own).sum() / precision.sum())
        share = self.sigma_a**2 * precision
        return share * own + (1 - share) * mean, mean

    def still(self) -> Figure:
        """Draw the estimates above the posterior of the scale."""
        from matplotlib.figure import Figure

        n, own = np.array(self.data["homes"]), np.array(self.data["own"])
        level, mean = self.estimates()
        figure = Figure(figsize=(6, 5))
        top, bottom = figure.subplots(2, height_ratios=[2.2, 1])
        top.axhline(self.data["complete"], color=COLORS["muted"], lw=2)
        top.axhline(mean, color=COLORS["exact"], ls=":")
        top.vlines(n, own, level, color=COLORS["data"], lw=0.7, alpha=0.6)
        top.plot(n, own, "o", color=COLORS["data"], ms=3.5, label="alone")
        top.plot(n, level, "o", color=COLORS["exact"], ms=3.5, label="pooled in part")
        top.set(xscale="log", xticks=[1, 3, 10, 30, 100], xticklabels=[1, 3, 10, 30, 100])
        top.set(xlabel="homes in the county", ylabel="basement level, log pCi/L")
        top.legend(loc="upper right")
        bottom.fill_between(
            self.data["scale"], self.data["density"], color=COLORS["exact"], alpha=0.15
        )
        bottom.plot(self.data["scale"], self.data["density"], color=COLORS["exact"])
        bottom.axvline(self.sigma_a, color=COLORS["noncentered"], lw=2)
        bottom.set(xscale="log", xlabel=r"$\sigma_a$, log pCi/L", ylabel="density", yticks=[])
        bottom.set(xlim=(LOW, HIGH), ylim=(0, None))
        return figure
