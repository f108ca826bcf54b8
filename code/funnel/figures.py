"""Figures that more than one chapter draws, and the one style of the book.

A color means the same thing on every page: see :data:`COLORS`. The colors are
those of Okabe and Ito, which readers with any common kind of color blindness
can tell apart (Wong 2011, *Nature Methods* 8, 441).
"""

from __future__ import annotations

import gzip
import io
import sys
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from funnel.exact import ExactPosterior

__all__ = ["COLORS", "plot_funnel", "plot_scale", "use_style"]

#: What each color stands for, in every figure of the book.
COLORS = {
    "centered": "#D55E00",
    "noncentered": "#0072B2",
    "exact": "#000000",
    "data": "#009E73",
    "divergent": "#CC79A7",
    "muted": "#999999",
}

# Colors of things without a meaning of their own, such as the chains of a run.
_CYCLE = ["#56B4E9", "#E69F00", "#7F7F7F", "#6F4E9C"]

_STYLE = {
    "axes.prop_cycle": mpl.cycler(color=_CYCLE),
    "figure.figsize": (6.0, 3.6),
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "svg.hashsalt": "funnel",
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.5,
}


def use_style() -> None:
    """Draw every figure from here on in the book's style.

    In a notebook it also stores each figure in the lighter of two formats:
    SVG (compressed, as web servers send it) or PNG at 200 dots per inch.
    """
    mpl.rcParams.update(_STYLE)
    ipython = sys.modules.get("IPython")  # loaded, if this is a notebook
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats()
        shell.display_formatter.mimebundle_formatter.for_type(Figure, _lighter_format)


def _lighter_format(
    figure: Figure, include: object = None, exclude: object = None
) -> dict[str, bytes | str]:
    svg, raster, png = io.BytesIO(), io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", bbox_inches="tight", metadata={"Date": None})
    figure.savefig(raster, format="png", bbox_inches="tight")
    # A figure has few colors: a palette of them makes a cloud of points half as heavy.
    palette = Image.open(raster).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    palette.save(png, format="png", optimize=True)
    if len(gzip.compress(svg.getvalue())) < len(png.getvalue()):
        return {"image/svg+xml": svg.getvalue().decode()}
    return {"image/png": png.getvalue()}


def plot_scale(
    ax: Axes,
    name: str,
    posterior: ExactPosterior,
    draws: ArrayLike | None = None,
    *,
    color: str = COLORS["centered"],
    label: str | None = None,
    limits: tuple[float, float] = (0.003, 1.0),
) -> None:
    """Draw the posterior of a scale parameter on a log axis.

    The exact density is a line; draws, if given, are a histogram behind it.
    Both are densities *per unit of log scale*, ``x * p(x)``, so that equal
    areas in the figure are equal probabilities.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    name : str
        Name of the scale parameter, for example ``"sigma_b"``.
    posterior : ExactPosterior
        Exact posterior of the model.
    draws : array_like, optional
        Draws of the parameter from a sampler, of any shape.
    color, label : str, optional
        Color and legend entry of the histogram.
    limits : tuple of float
        Smallest and largest value shown, both positive.
    """
    edges = np.geomspace(*limits, 61)
    if draws is not None:
        draws = np.ravel(draws)
        counts, _ = np.histogram(draws, edges)
        heights = counts / (draws.size * np.diff(np.log(edges)))
        ax.stairs(heights, edges, fill=True, color=color, alpha=0.45, label=label)
    x = np.geomspace(*limits, 301)
    ax.plot(x, x * posterior.density(name, x), color=COLORS["exact"], label="exact")
    ax.set(xscale="log", xlim=limits, ylim=(0, None), ylabel="density per unit of log")
    ax.legend(loc="upper left")


def plot_funnel(
    ax: Axes,
    effect: ArrayLike,
    scale: ArrayLike,
    *,
    color: str,
    divergent: ArrayLike | None = None,
    label: str | None = None,
) -> None:
    """Scatter one group's effect against the scale of all groups, on a log axis.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    effect, scale : array_like
        Draws of the effect and of the scale, of one shape.
    color : str
        Color of the draws.
    divergent : array_like of bool, optional
        Which draws ended in a divergence; drawn on top, as crosses.
    label : str, optional
        Legend entry of the draws.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    effect, scale = np.asarray(effect), np.asarray(scale)
    if effect.shape != scale.shape:
        raise ValueError(f"effect has shape {effect.shape}, scale has shape {scale.shape}")
    style = {"ms": 2, "alpha": 0.35, "color": color, "rasterized": True}
    ax.plot(effect.ravel(), scale.ravel(), ".", label=label, **style)
    if divergent is not None:
        hit = np.asarray(divergent)
        ax.plot(
            effect[hit], scale[hit], "x", ms=5, mew=1, color=COLORS["divergent"], label="divergence"
        )
    ax.set(yscale="log")
