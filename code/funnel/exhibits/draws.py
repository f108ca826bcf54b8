"""One run of a sampler from four sides at once: its trace, the funnel, its ranks, its energies."""

from __future__ import annotations

import base64
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from funnel.exhibits.base import Choice, Exhibit, Slider, rounded
from funnel.figures import COLORS

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["Draws"]

Array = NDArray[np.float64]

#: Draws of each chain that a page holds, and the fewest that a run must have.
SHOWN, FEWEST = 250, 100
#: Bars of ranks and of energies.
RANKS, ENERGIES = 20, 40
#: Percent of a chain that the exhibit opens with: the stretch in which it is lowest.
OPENING = 12
#: Which part of all draws counts as low.
LOW = 0.1


class Draws(Exhibit):
    """A stretch of a chain, in its trace, in the funnel, among the ranks, among the energies.

    It opens with the stretch of any chain in which most draws are among the lowest tenth of
    those of all chains.

    Parameters
    ----------
    run : DataTree
        As :func:`funnel.fitting.fit` returns, or any with the groups `posterior` and, with
        `diverging` and `energy`, `sample_stats`. Of each few draws one is shown, a divergent one
        if there is one; bars of ranks and energies are those of all.
    scale : str
        A positive parameter, whose draws have the dimensions chain and draw alone.
    effect : str
        A parameter with one dimension more, with a coordinate.
    **state
        `effect_of`, one of that coordinate; `chain`, counted from 1; `first` and `last`, the
        stretch, and `at`, one draw, in percent of a chain.

    Raises
    ------
    ValueError
        If the run has no such groups, parameters or statistics, or too few draws or chains, or
        if `scale` is not positive.
    """

    name = "draws"
    title = "One run from four sides"

    effect_of = Choice(label="Effect of")
    chain = Choice(label="Chain")
    first = Slider(0.0, 0.0, 99.0, label="Stretch from", unit="% of the chain", step=1)
    last = Slider(100.0, 1.0, 100.0, label="Stretch to", unit="% of the chain", step=1)
    at = Slider(50.0, 0.0, 100.0, label="One draw, in every view", unit="% of the chain", step=0.4)

    def __init__(
        self, run: xr.DataTree, scale: str = "sigma_b", effect: str = "b", **state: Any
    ) -> None:
        values, effects, diverging, energy = _read(run, scale, effect)
        chains, draws = values.shape
        # A chain that stays where it is has ties: in the order of its draws, each has a rank.
        ranks = rankdata(values, method="ordinal").reshape(values.shape) / values.size
        kept = _keep(diverging)
        rows = np.arange(chains)[:, None]
        low, high = float(effects.min()), float(effects.max())
        steps = np.round(255 * (effects.to_numpy()[rows, kept] - low) / (high - low))
        (of,) = (name for name in effects.dims if name not in ("chain", "draw"))
        names = [str(name) for name in effects[of].to_numpy()]
        kicks = np.diff(energy, axis=1)
        reach = 1.05 * float(max(np.abs(energy).max(), np.abs(kicks).max()))
        edges = np.linspace(-reach, reach, ENERGIES + 1)
        data = {
            "names": names,
            "of": str(of),
            "scale_name": scale,
            "effect_name": effect,
            "draws": draws,
            "scale": rounded(values[rows, kept], 4),
            "rank": rounded(ranks[rows, kept], 4),
            "energy": rounded(energy[rows, kept], 4),
            "diverging": [np.flatnonzero(each).tolist() for each in diverging[rows, kept]],
            "divergences": diverging.sum(axis=1).tolist(),
            # A byte for each draw of each effect: chain, draw, effect.
            "effects": base64.b64encode(steps.astype(np.uint8).tobytes()).decode(),
            "effect_range": [rounded(low), rounded(high)],
            "ranks": [np.histogram(each, RANKS, (0, 1))[0].tolist() for each in ranks],
            "energies": rounded(np.histogram(energy, edges, density=True)[0], 4),
            "kicks": rounded(np.histogram(kicks, edges, density=True)[0], 4),
            "edges": rounded(edges, 7),
        }
        options = {
            "effect_of": {name: name for name in names},
            "chain": {str(c + 1): str(c + 1) for c in range(chains)},
        }
        if not {"chain", "first", "last"} & set(state):
            state |= _lowest(np.array(data["rank"]))
        super().__init__(data, options, **state)

    @property
    def stretch(self) -> slice:
        """The stretch, as places among the draws that are shown."""
        shown = len(self.data["rank"][0])
        first = min(round(self.first / 100 * shown), shown - 1)
        return slice(first, max(first + 1, round(self.last / 100 * shown)))

    def report(self) -> dict[str, float]:
        """Describe the stretch.

        Returns
        -------
        dict
            `low`, the percentage of its draws that are among the lowest tenth of all chains';
            `median`, of the scale, in its unit; `energy`, the mean distance of its energies from
            those of the run, in standard deviations; `divergences`, among those shown.
        """
        chain, part = int(self.chain) - 1, self.stretch
        energy = np.array(self.data["energy"])
        inside = [i for i in self.data["diverging"][chain] if part.start <= i < part.stop]
        return {
            "low": 100 * float((np.array(self.data["rank"][chain][part]) <= LOW).mean()),
            "median": float(np.median(self.data["scale"][chain][part])),
            "energy": float((energy[chain, part].mean() - energy.mean()) / energy.std()),
            "divergences": float(len(inside)),
        }

    def effects(self) -> Array:
        """Draws of the chosen effect: chain, draw; to a part in 255 of the range of all."""
        low, high = self.data["effect_range"]
        shape = (*np.shape(self.data["scale"]), len(self.data["names"]))
        steps = np.frombuffer(base64.b64decode(self.data["effects"]), np.uint8).reshape(shape)
        chosen = steps[..., self.data["names"].index(self.effect_of)]
        return low + (high - low) * chosen.astype(float) / 255

    def still(self) -> Figure:
        """Draw the trace and, below it, the funnel, the ranks and the energies."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter

        scale, chain, part = np.array(self.data["scale"]), int(self.chain) - 1, self.stretch
        percent = 100 * np.arange(scale.shape[1]) / scale.shape[1]
        figure = Figure(figsize=(6.4, 5.6), layout="constrained")
        axes = figure.subplot_mosaic("TTT;PRE", height_ratios=[1, 1.4], width_ratios=[1.3, 1, 1])
        mark = {"color": COLORS["centered"]}
        for each in scale:
            axes["T"].plot(percent, each, color=COLORS["muted"], lw=0.6)
        axes["T"].plot(percent[part], scale[chain, part], lw=1.6, **mark)
        axes["T"].set(yscale="log", xlabel="percent of the chain", ylabel=self.data["scale_name"])
        x = self.effects()
        axes["P"].plot(x.ravel(), scale.ravel(), ".", color=COLORS["muted"], ms=2)
        axes["P"].plot(x[chain, part], scale[chain, part], ".", ms=4, **mark)
        for c, places in enumerate(self.data["diverging"]):
            axes["P"].plot(x[c, places], scale[c, places], "x", color=COLORS["divergent"], ms=5)
        axes["P"].set(yscale="log", xlabel=f"{self.data['effect_name']} of {self.effect_of}")
        for log in (axes["T"].yaxis, axes["P"].yaxis):
            log.set_major_locator(LogLocator(subs=(1, 2, 5)))
            log.set_major_formatter("{x:g}")
            log.set_minor_formatter(NullFormatter())
        edges = np.linspace(0, 1, RANKS + 1)
        bars = np.array(self.data["ranks"][chain]) * RANKS / self.data["draws"]
        axes["R"].stairs(bars, edges, **mark)
        axes["R"].axhline(1, color=COLORS["exact"], ls=":")
        axes["R"].set(xlabel="rank, 0 to 1", ylabel="share of the chain, 1 is even")
        for name, color in [("energies", "muted"), ("kicks", "noncentered")]:
            axes["E"].stairs(self.data[name], self.data["edges"], color=COLORS[color])
        inside = np.array(self.data["energy"])[chain, part]
        axes["E"].plot(inside, 0 * inside, "|", ms=9, **mark)
        axes["E"].set(xlabel="energy $-$ mean", yticks=[])
        return figure


def _read(run: xr.DataTree, scale: str, effect: str) -> tuple[Any, ...]:
    """Take what is shown out of a run, or say what is missing."""
    for group, names in [("posterior", (scale, effect)), ("sample_stats", ("diverging", "energy"))]:
        if group not in run.children:
            raise ValueError(f"the run has no group {group}; it has {', '.join(run.children)}")
        for name in names:
            if name not in run[group].data_vars:
                has = ", ".join(map(str, run[group].data_vars))
                raise ValueError(f"{group} has no {name}; it has {has}")
    values = run["posterior"][scale]
    if set(values.dims) != {"chain", "draw"}:
        raise ValueError(f"{scale} has the dimensions {values.dims}: take one without others")
    effects = run["posterior"][effect]
    others = [name for name in effects.dims if name not in ("chain", "draw")]
    if len(others) != 1 or others[0] not in effects.coords:
        raise ValueError(f"{effect} must have one dimension with a coordinate, not {others}")
    values = values.transpose("chain", "draw").to_numpy().astype(float)
    if values.shape[0] < 2 or values.shape[1] < FEWEST:
        raise ValueError(f"two chains of {FEWEST} draws are the least, not {values.shape}")
    if not (values > 0).all():
        raise ValueError(f"{scale} must be positive: it is shown on a log axis")
    statistics = run["sample_stats"]
    energy = statistics["energy"].transpose("chain", "draw").to_numpy().astype(float)
    diverging = statistics["diverging"].transpose("chain", "draw").to_numpy().astype(bool)
    effects = effects.transpose("chain", "draw", others[0])
    # Each chain's energy may carry a constant of its own.
    return values, effects, diverging, energy - energy.mean(axis=1, keepdims=True)


def _keep(diverging: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Choose a draw from each block of a chain: the first that diverged, or else the first."""
    draws = diverging.shape[1]
    blocks = list(pairwise(np.linspace(0, draws, min(SHOWN, draws) + 1).astype(int)))
    return np.array([[a + int(row[a:b].argmax()) for a, b in blocks] for row in diverging])


def _lowest(rank: Array) -> dict[str, Any]:
    """Find the stretch with most of the lowest draws."""
    shown = rank.shape[1]
    length = max(1, round(OPENING / 100 * shown))
    starts = [round(first / 100 * shown) for first in range(0, 101 - OPENING)]
    share = np.array([[(row[s : s + length] <= LOW).mean() for s in starts] for row in rank])
    chain, first = np.unravel_index(share.argmax(), share.shape)
    return {
        "chain": str(chain + 1),
        "first": float(first),
        "last": float(first + OPENING),
        "at": round((first + OPENING / 2) / 0.4) * 0.4,
    }
