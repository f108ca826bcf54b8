"""Move a group's data and its coordinate, and see the funnel turn over; where to stand is a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from funnel import exact
from funnel.calibration import efficiency
from funnel.calibration.centering import (
    CENTEREDNESS,
    GROUPS,
    HYPERPRIORS,
    INFORMATIVENESS,
    QUANTITIES,
    effective_homes,
    load_fits,
)
from funnel.exhibits.base import Choice, Exhibit, Slider, rounded
from funnel.figures import COLORS
from funnel.priors import ESSAY, Hyperpriors

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Centering", "conditional", "log_scale_density"]

Array = NDArray[np.float64]

LOW, HIGH = min(INFORMATIVENESS), max(INFORMATIVENESS)
#: The scale of each effect.
SCALES = {"intercepts": "sigma_a", "slopes": "sigma_b"}
#: Prior of tau in the drawing of one group; the map is a mean over the three of the study.
TAU = HYPERPRIORS["HalfNormal(1)"].tau
#: What the drawing shows of the probability of tau.
SHOWN = (0.002, 0.9999)
#: Probabilities inside the contours.
INSIDE = (0.5, 0.9, 0.99)


def log_scale_density(log_tau: Array, r: float, groups: int) -> Array:
    """Log posterior density of log tau, up to a constant, if the measurements are typical.

    Parameters
    ----------
    log_tau : array
        Of the scale between groups, in units of the one that the data were made with.
    r : float
        Informativeness at that scale: ``1 / r`` is the variance of a measurement.
    groups : int
        How many, each measured one standard deviation, ``sqrt(1 + 1 / r)``, from the known
        mean 0.

    Returns
    -------
    array
        With the effects integrated out (Gelman et al. 2013, *Bayesian Data Analysis*, 3rd
        edition, section 5.4), times ``tau``, for the density of its logarithm.
    """
    tau = np.exp(log_tau)
    variance = tau**2 + 1 / r
    likelihood = -groups / 2 * (np.log(variance) + (1 + 1 / r) / variance)
    return log_tau + TAU.logpdf(tau) + likelihood


def conditional(log_tau: Array, r: float, centeredness: float) -> tuple[Array, Array]:
    """Mean and standard deviation of a group's coordinate, given tau.

    Parameters
    ----------
    log_tau, r
        As in :func:`log_scale_density`.
    centeredness : float
        From 0 to 1; the coordinate is ``theta / tau ** (1 - centeredness)``.

    Returns
    -------
    mean, sd : array
        Those of the effect, a precision-weighted mean (Gelman et al. 2013, section 5.4),
        divided by ``tau ** (1 - centeredness)``.
    """
    tau = np.exp(log_tau)
    precision = 1 / tau**2 + r
    size = tau ** (1 - centeredness)
    return r * np.sqrt(1 + 1 / r) / precision / size, 1 / np.sqrt(precision) / size


class Centering(Exhibit):
    """One group's geometry in any coordinates, beside the map of what they are worth.

    Parameters
    ----------
    homes : DataFrame
        As :func:`funnel.data.load_radon` returns, of any survey with counties: they are
        marked on the map, their scales at the exact posterior means.
    priors : Hyperpriors
        Those of :func:`funnel.exact.varying_slopes`.
    **state
        `informativeness` or `county`, which sets it; `effect` of that county,
        `centeredness`, `groups` and `quantity`.

    Raises
    ------
    ValueError
        If both `informativeness` and `county` are given, and as
        :func:`funnel.exact.varying_slopes`.
    """

    name = "centering"
    title = "When to center"

    informativeness = Slider(0.3, LOW, HIGH, label="Informativeness of the data, r", log=True)
    centeredness = Slider(1.0, 0.0, 1.0, label="Centeredness, λ", step=0.05)
    county = Choice(label="County that sets r")
    effect = Choice({"intercepts": "intercept", "slopes": "slope"}, label="Its effect")
    groups = Choice(
        {str(n): str(n) for n in GROUPS}, label="Number of groups", default=str(max(GROUPS))
    )
    quantity = Choice(
        dict(zip(QUANTITIES, ["the mean of log τ", "P(τ small)", "the effects"], strict=True)),
        label="What the chains are asked for",
    )

    def __init__(self, homes: pd.DataFrame, priors: Hyperpriors = ESSAY, **state: Any) -> None:
        posterior = exact.varying_slopes(homes, priors)
        known = effective_homes(homes)
        counties = [str(county) for county in known.index]
        r = {}
        for effect, scale in SCALES.items():
            ratio = float(posterior.mean(scale) / posterior.mean("sigma_y"))
            r[effect] = dict(zip(counties, rounded(known[effect] * ratio**2, 3), strict=True))
        if state.get("county") in counties:
            if "informativeness" in state:
                raise ValueError("a county sets the informativeness: give one or the other")
            found = r[state.get("effect", "intercepts")][state["county"]]
            state["informativeness"] = min(max(found, LOW), HIGH)
        data = {
            "informativeness": list(INFORMATIVENESS),
            "centeredness": rounded(list(CENTEREDNESS), 3),
            "maps": _maps(),
            "r": r,
        }
        options = {"county": {"": "none", **{county: county for county in counties}}}
        super().__init__(data, options, **state)

    def still(self) -> Figure:
        """Draw the geometry above the map, and the counties below."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 7.6))
        top, middle, bottom = figure.subplots(3, height_ratios=[1.5, 1.3, 0.6])
        self._draw_group(top)
        self._draw_map(middle)
        self._draw_counties(bottom, middle)
        return figure

    def contours(self) -> tuple[Array, Array, list[Array]]:
        """Contours of the density of log tau and the group's coordinate.

        Returns
        -------
        log_tau : array
        below : array
            Probability of a smaller tau.
        reach : list of array
            For each of `INSIDE` the distance of the contour from the conditional mean, in
            conditional standard deviations; 0 where the density is lower than on it.
        """
        r, groups = self.informativeness, int(self.groups)
        log_tau = np.linspace(-12, 3, 15_001)
        log_density = log_scale_density(log_tau, r, groups)
        weight = np.exp(log_density - log_density.max())
        weight /= weight.sum()
        # Given tau the coordinate is normal: its density falls from a ridge.
        ridge = log_density - np.log(conditional(log_tau, r, self.centeredness)[1])
        reach = []
        for inside in INSIDE:
            low, high = ridge.max() - 60, ridge.max()
            for _ in range(30):  # halvings
                level = (low + high) / 2
                k = np.sqrt(2 * np.maximum(ridge - level, 0))
                if weight @ (1 - 2 * norm.sf(k)) > inside:
                    low = level
                else:
                    high = level
            reach.append(k)
        return log_tau, np.cumsum(weight), reach

    def _draw_group(self, ax: Axes) -> None:
        blue, red = (
            np.array([int(COLORS[end][k : k + 2], 16) for k in (1, 3, 5)]) / 255
            for end in ("noncentered", "centered")
        )
        color = tuple(blue + self.centeredness * (red - blue))
        log_tau, below, reach = self.contours()
        shown = (below >= SHOWN[0]) & (below <= SHOWN[1])
        tau = np.exp(log_tau)[shown]
        mean, sd = conditional(log_tau[shown], self.informativeness, self.centeredness)
        for k in reach:
            half = k[shown] * sd
            ax.fill_betweenx(
                tau, mean - half, mean + half, where=half > 0, color=color, alpha=0.3, lw=0
            )
        ax.set(yscale="log", ylabel=r"$\tau$, in units of the true one")
        ax.set_xlabel(r"the sampler's coordinate $z = \theta / \tau^{1-\lambda}$")
        ax.set_title(f"r = {self.informativeness:g}, centeredness {self.centeredness:g}")
        ax.yaxis.set_major_formatter("{x:g}")

    def _draw_map(self, ax: Axes) -> None:
        found = self.data["maps"][self.groups][self.quantity]
        table, r = np.array(found["draws"]), self.data["informativeness"]
        percent = 100 * table / table.max(axis=0)
        rows, columns = _edges(np.array(CENTEREDNESS)), np.exp(_edges(np.log(r)))
        image = ax.pcolormesh(columns, rows, percent, cmap="cividis", vmin=0, vmax=100)
        low, high = np.array(found["best"])
        ax.vlines(r, low - 0.03, high + 0.03, color="white", lw=4)
        for edge, width in [("black", 5), ("white", 2)]:
            here = (self.informativeness, self.centeredness)
            ax.plot(*here, "o", ms=11, mfc="none", mec=edge, mew=width)
        ax.set(xscale="log", xticklabels=[])
        ax.set(yticks=[0, 0.5, 1], ylabel=r"centeredness $\lambda$")
        bar = ax.figure.colorbar(image, ax=ax, location="top", aspect=40)
        bar.set_label(f"{self.groups} groups: percent of the best at its $r$")

    def _draw_counties(self, ax: Axes, share: Axes) -> None:
        for row, r in enumerate(self.data["r"].values()):
            values = np.array(list(r.values()))
            seen = values[values > 0]
            ax.plot(seen, np.full(len(seen), row), "|", color=COLORS["data"], ms=14, alpha=0.7)
            if silent := int((values == 0).sum()):
                words = f"and {silent} with r = 0"
                ax.text(HIGH, row, words, ha="right", va="center", color=COLORS["data"])
        ax.axvline(self.informativeness, color="black", lw=1, ls=":")
        ax.set(xscale="log", xlim=share.get_xlim(), ylim=(1.6, -0.6), xlabel="informativeness $r$")
        ax.set_yticks([0, 1], list(self.data["r"]))
        ax.xaxis.set_major_formatter("{x:g}")


def _edges(values: Array) -> Array:
    """Middles between values, and as far again beyond the outer ones."""
    middles = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middles[0]], middles, [2 * values[-1] - middles[-1]]])


def _maps() -> dict[str, dict[str, Any]]:
    """Effective draws per 1,000 gradients, and the best centeredness, of the study's equal groups.

    By number of groups and quantity: ``draws``, one row per centeredness and one column per
    informativeness, mean over the hyperpriors; ``best``, per column the ends of the middle
    nine tenths over resamples of the data sets.
    """
    fits = load_fits()
    maps: dict[str, dict[str, Any]] = {}
    for groups, part in fits[fits["design"] == "balanced"].groupby("groups"):
        maps[str(groups)] = {}
        for quantity in QUANTITIES:
            table = efficiency.resample(part, quantity, seed=1)
            best = efficiency.best_centeredness(table).quantile([0.05, 0.95], "resample")
            maps[str(groups)][quantity] = {
                "draws": rounded(table[0].to_numpy(), 4),
                "best": rounded(best.to_numpy(), 3),
            }
    return maps
