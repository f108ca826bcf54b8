"""Raise the dimension of a normal, and see its draws leave the most probable point."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from funnel.exhibits.base import Exhibit, Slider, Switch, rounded
from funnel.figures import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["TypicalSet"]

DRAWS = 300
#: The largest dimension, and a radius, in standard deviations, that holds its draws.
MOST, EDGE = 100, 13.5


class TypicalSet(Exhibit):
    """Density, volume and mass of a standard normal by the distance from its mode.

    The distance of a draw from the mode has the chi distribution with as many degrees of
    freedom as there are dimensions (Betancourt 2017, section 2). All draws are made once:
    each is a probability and a direction, and lies where the chi distribution of the
    dimension at hand has this probability.

    Parameters
    ----------
    **state
        `dimension`; `radius`, in standard deviations; and `logs`, whether the heights are
        drawn as logarithms.
    """

    name = "typical-set"
    title = "Where the draws are"

    dimension = Slider(30.0, 1.0, float(MOST), label="Dimensions, d", step=1.0)
    radius = Slider(1.0, 0.1, EDGE, label="Radius, r", unit="SD", step=0.1)
    logs = Switch(label="Heights as logarithms: the mass is then the sum")

    def __init__(self, **state: Any) -> None:
        rng = np.random.default_rng(1)
        data = {
            "probability": rounded(rng.random(DRAWS)),
            "turn": rounded(rng.random(DRAWS), 3),
            "edge": EDGE,
        }
        super().__init__(data, **state)

    def distances(self) -> np.ndarray:
        """Distances of the draws from the mode, in standard deviations."""
        return stats.chi(self.dimension).ppf(self.data["probability"])

    def still(self) -> Figure:
        """Draw the draws around the mode, and the three heights."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 6.6))
        top, bottom = figure.subplots(2, height_ratios=[1.5, 1])
        far, turn = self.distances(), 2 * np.pi * np.array(self.data["turn"])
        top.plot(far * np.cos(turn), far * np.sin(turn), ".", color=COLORS["exact"], alpha=0.5)
        top.plot(0, 0, "+", color=COLORS["centered"], ms=12, mew=2)
        around = np.linspace(0, 2 * np.pi, 200)
        for r, color, style in [
            (math.sqrt(self.dimension), "muted", ":"),
            (self.radius, "noncentered", "-"),
        ]:
            top.plot(r * np.cos(around), r * np.sin(around), style, color=COLORS[color])
        top.set(aspect="equal", xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), xticks=[], yticks=[])
        top.set(title=f"{DRAWS} draws in {self.dimension:g} dimensions, around the mode")
        top.spines[:].set_visible(False)
        self._heights(bottom)
        bottom.axvline(self.radius, color=COLORS["noncentered"], lw=2)
        bottom.set(xlim=(0, EDGE), xlabel="distance from the mode, standard deviations")
        bottom.legend(loc="upper right")
        return figure

    def _heights(self, ax: Axes) -> None:
        """Draw density, volume and mass, each relative to its value where the mass is largest."""
        r = np.linspace(EDGE / 400, EDGE, 400)
        peak = math.sqrt(self.dimension - 1)
        volume = (self.dimension - 1) * np.log(r / peak) if peak else np.zeros_like(r)
        density = (peak**2 - r**2) / 2
        rows = [
            ("density", density - (0 if self.logs else peak**2 / 2), "centered", "-"),
            ("volume", volume, "muted", "--"),
            ("mass", density + volume, "exact", "-"),
        ]
        for label, row, color, style in rows:
            height = row if self.logs else np.exp(row)
            ax.plot(r, height, style, color=COLORS[color], label=label)
        reach = 4 + peak**2 / 2
        ax.set(ylim=(-reach, reach) if self.logs else (0, 1.15), ylabel="relative height")
