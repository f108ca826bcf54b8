"""Change the coordinates, and the mode jumps; change the loss, and the best report does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import CubicHermiteSpline, CubicSpline
from scipy.optimize import minimize, minimize_scalar

from funnel import exact, modes
from funnel.exhibits.base import Choice, Exhibit, Slider, rounded
from funnel.figures import COLORS
from funnel.priors import ESSAY, Hyperpriors

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Modes"]

#: The axis of `sigma_b`, in log pCi/L, and the part of it on which profiles are computed:
#: below it a profile is a straight line in the logarithm.
LOW, LATTICE_LOW, HIGH = 1e-6, 1e-3, 100.0
POINTS = 61
LATTICE = np.linspace(math.log(LATTICE_LOW), math.log(HIGH), POINTS)
#: A step of the climb changes `sigma_b` by a factor of two at most, and these are all steps.
LONGEST, STEPS = math.log(2), 20
#: How far off a report may be before it costs a fee: in log pCi/L, and in its logarithm.
NEAR, FACTOR = 0.02, 0.08


class Modes(Exhibit):
    """An optimizer's climb along `sigma_b`, above the posterior and the report that is best.

    The climb is on the profile of the joint density: for each `sigma_b` the highest value
    that it has for any means, effects and other scales. Where the profile is highest, there
    is the joint mode. The optimizer is Newton's method in the logarithm of `sigma_b`, with
    steps of bounded length that go uphill (Nocedal and Wright 2006, chapter 3).

    Parameters
    ----------
    homes : DataFrame
        As :func:`funnel.data.load_radon` returns, of any survey with counties.
    priors : Hyperpriors
        Those of :func:`funnel.exact.varying_slopes`.
    **state
        `coordinates` of the climb, its `start`, in log pCi/L, and its `steps`; the `loss`
        that makes a report best.

    Raises
    ------
    ValueError, TypeError
        As :func:`funnel.exact.varying_slopes`.
    """

    name = "modes"
    title = "The mode moves with the coordinates, the best report with the loss"

    coordinates = Choice(
        {
            "centered": "centered",
            "noncentered": "noncentered",
            "log": "noncentered, log scales",
        },
        label="Coordinates of the climb",
    )
    loss = Choice(
        {
            "squared": "squared error",
            "absolute": "absolute error",
            "log": "squared error of the logarithm",
            "near": f"a fee if off by more than {NEAR}",
            "factor": f"a fee if off by more than {FACTOR:.0%}",
            "low": "too low costs three times as much",
        },
        label="What a wrong report costs",
    )
    start = Slider(1.0, 0.003, 50.0, label="Start of the climb", unit="log pCi/L", log=True)
    steps = Slider(12.0, 0.0, float(STEPS), label="Steps of the climb", step=1.0)

    def __init__(self, homes: pd.DataFrame, priors: Hyperpriors = ESSAY, **state: Any) -> None:
        posterior = exact.varying_slopes(homes, priors)
        scale = np.geomspace(LOW, 10, 281)
        nodes = posterior.quantile("sigma_b", (np.arange(1000) + 0.5) / 1000)
        data = {
            "low": LOW,
            "high": HIGH,
            "lattice": rounded(LATTICE, 12),
            "longest": LONGEST,
            "most": STEPS,
            "near": NEAR,
            "factor": FACTOR,
            "climbs": _climbs(homes, priors),
            "scale": rounded(scale),
            "density": rounded(scale * posterior.density("sigma_b", scale)),
            "nodes": rounded(nodes),
            "best": rounded(_best_reports(posterior)),
        }
        super().__init__(data, **state)

    def profile(self, log_scale: Any, order: int = 0) -> np.ndarray:
        """Log density of the climb, from its value at a `sigma_b` of one, or a derivative of it.

        Parameters
        ----------
        log_scale : array_like
            Logarithm of `sigma_b`.
        order : {0, 1, 2}
            Which derivative.

        Returns
        -------
        ndarray
            The shape of `log_scale`.
        """
        climb = self.data["climbs"][self.coordinates]
        curve = CubicHermiteSpline(LATTICE, climb["height"], climb["slope"])
        t = np.asarray(log_scale, dtype=float)
        inside = np.clip(t, LATTICE[0], LATTICE[-1])
        # Beyond the lattice a straight line.
        if order == 0:
            return curve(inside) + (t - inside) * curve(inside, 1) - climb["rate"] * t
        if order == 1:
            return curve(inside, 1) - climb["rate"]
        return np.where(t == inside, curve(inside, 2), 0.0)

    def climb(self) -> list[float]:
        """Take the steps at hand, fewer if the top is reached, from the start.

        Returns
        -------
        list of float
            `sigma_b` at the start and after each step.
        """
        t = math.log(self.start)
        path = [self.start]
        while len(path) <= self.steps:
            slope, bend = float(self.profile(t, 1)), float(self.profile(t, 2))
            step = -slope / bend if bend < 0 else math.copysign(LONGEST, slope)
            if abs(step) < 1e-6:
                break
            t += min(LONGEST, max(-LONGEST, step))
            path.append(math.exp(t))
        return path

    def still(self) -> Figure:
        """Draw the climb above the posterior and the best report."""
        from matplotlib.figure import Figure

        color = COLORS["centered" if self.coordinates == "centered" else "noncentered"]
        path = np.array(self.climb())
        x = np.geomspace(LOW, HIGH, 400)
        figure = Figure(figsize=(6, 5.4))
        top, bottom = figure.subplots(2, sharex=True, height_ratios=[1.3, 1])
        top.plot(x, self.profile(np.log(x)), color=color)
        seen = np.maximum(path, LOW)
        top.plot(seen, self.profile(np.log(seen)), "o", color=color, ms=4)
        top.plot(seen[-1], self.profile(np.log(seen[-1])), "o", color=color, ms=9)
        top.axvline(self.start, color=COLORS["noncentered"], lw=2)
        top.set(xscale="log", xlim=(LOW, HIGH), ylabel="highest log\njoint density")
        top.set(title=self.controls["coordinates"]["options"][self.coordinates])
        bottom.fill_between(
            self.data["scale"], self.data["density"], color=COLORS["exact"], alpha=0.15
        )
        bottom.plot(self.data["scale"], self.data["density"], color=COLORS["exact"])
        bottom.axvline(self.data["best"][self.loss], color=COLORS["exact"], ls="--", label="best")
        bottom.axvline(seen[-1], color=color, label="climb")
        bottom.set(xlabel=r"$\sigma_b$, log pCi/L", ylabel="posterior,\nper unit of log")
        bottom.set(yticks=[], ylim=(0, None))
        bottom.legend(loc="upper left")
        return figure


def _climb_noncentered(
    homes: pd.DataFrame, priors: Hyperpriors, *, jacobian: bool
) -> dict[str, Any]:
    """Profile of the noncentered joint density of the scales, or of their logarithms.

    Towards zero the log density falls by `rate` for each unit of ``log sigma_b``; `height`
    is what is left without that, `slope` its derivative.
    """
    joint = modes.varying_slopes(
        homes, priors, intercepts="noncentered", slopes="noncentered", jacobian=jacobian
    )
    top = joint.mode().point
    assert top is not None  # nothing is centered, so that nothing runs away
    others = np.array([np.log(top[name]) for name in ("sigma_a", "sigma_y")])
    rate = joint.rates["sigma_b"]
    height = np.empty(POINTS)
    # From above, each search starting where the last one ended.
    for i in reversed(range(POINTS)):
        t = LATTICE[i]

        def loss(others: np.ndarray, t: float = t) -> float:
            a, y = np.exp(others)
            return -joint(joint.given(sigma_a=a, sigma_b=math.exp(t), sigma_y=y))

        best = minimize(loss, others, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-3})
        others, height[i] = best.x, rate * t - best.fun
    height -= np.interp(0.0, LATTICE, height)
    return {
        "rate": rate,
        "top": rounded(top["sigma_b"], 6),
        "height": rounded(height, 10),
        "slope": rounded(CubicSpline(LATTICE, height)(LATTICE, 1), 10),
    }


def _climbs(homes: pd.DataFrame, priors: Hyperpriors) -> dict[str, dict[str, Any]]:
    """Give what the climb needs to know in each coordinate system.

    To center the slopes adds a multiple of ``log sigma_b`` to the log density, whatever the
    other parameters are (see :mod:`funnel.modes`): its profile is the noncentered one with
    another rate. The rate is positive, so that there is no top.
    """
    climbs = {
        "noncentered": _climb_noncentered(homes, priors, jacobian=False),
        "log": _climb_noncentered(homes, priors, jacobian=True),
    }
    centered = modes.varying_slopes(
        homes, priors, intercepts="noncentered", slopes="centered", jacobian=False
    )
    rate = centered.rates["sigma_b"]
    return climbs | {"centered": climbs["noncentered"] | {"rate": rate, "top": None}}


def _best_reports(posterior: exact.ExactPosterior) -> dict[str, float]:
    """Report with the smallest expected loss, for each loss (Berger 1985, section 4.4)."""
    nodes = posterior.quantile("sigma_b", (np.arange(4000) + 0.5) / 4000)
    middle = posterior.quantile("sigma_b", [0.02, 0.98])

    def densest(window: Callable[[float], tuple[float, float]]) -> float:
        def outside(report: float) -> float:
            low, high = posterior.cdf("sigma_b", np.maximum(window(report), 0))
            return float(1 - high + low)

        return float(minimize_scalar(outside, bounds=middle, method="bounded").x)

    return {
        "squared": float(posterior.mean("sigma_b")),
        "absolute": float(posterior.quantile("sigma_b", 0.5)),
        "log": float(np.exp(np.mean(np.log(nodes)))),
        "near": densest(lambda report: (report - NEAR, report + NEAR)),
        "factor": densest(lambda report: (report * math.exp(-FACTOR), report * math.exp(FACTOR))),
        "low": float(posterior.quantile("sigma_b", 0.75)),
    }
