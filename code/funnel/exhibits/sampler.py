"""Run the sampler on the page, and let the exact posterior judge what comes back."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import traitlets
from scipy.stats import norm

from funnel import exact
from funnel.exhibits.base import Choice, Exhibit, Slider, rounded
from funnel.figures import COLORS
from funnel.priors import ESSAY, Hyperpriors

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from funnel.exact import ExactPosterior

__all__ = ["OPENINGS", "Sampler", "fingerprint"]

#: Runs that were made before, so that the exhibit opens with one: `python -m bookbuild.openings`.
OPENINGS = Path(__file__).parent / "openings.json"
#: Transitions that each chain makes: those that tune it, and those that are kept.
TUNE, DRAWS = 1000, 1000
#: Slopes are practically alike if their scale is below this, in log pCi/L.
ALIKE = 0.05
#: How often each home counts where there are to be more data than any sampler needs.
COPIES = 30
#: Where nothing else is asked, it is for the lowest tenth; the standard deviation of Neal's v.
TENTH, NEAL_SD = 0.1, 3.0


def fingerprint(data: dict[str, Any]) -> str:
    """Tell apart the posteriors of two surveys, or of two sets of priors."""
    text = json.dumps([data["homes"], data["priors"]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _judge(posterior: ExactPosterior, limit: float | None = None) -> dict[str, Any]:
    """Gather what is exact of sigma_b; `limit` is its lowest tenth unless it is given."""
    with warnings.catch_warnings():
        # A mean that does not exist is shown as such.
        warnings.simplefilter("ignore", exact.MomentWarning)
        mean, *others = (float(posterior.mean(f"sigma_{of}")) for of in "bay")
    limit = limit or rounded(float(posterior.quantile("sigma_b", TENTH)), 3)
    low, high = (float(posterior.quantile("sigma_b", p)) for p in (0.0015, 0.9999))
    scale = np.geomspace(low, high, 121)
    return {
        "scale": rounded(scale),
        "density": rounded(scale * posterior.density("sigma_b", scale)),
        "mean": rounded(mean, 8) if np.isfinite(mean) else None,
        "limit": limit,
        "below": rounded(float(posterior.cdf("sigma_b", limit)), 8),
        "others": others,
    }


class Sampler(Exhibit):
    """NUTS and HMC on the reader's own machine, judged by the exact posterior.

    Parameters
    ----------
    homes : DataFrame
        As :func:`funnel.data.load_radon` returns, of any survey with counties.
    priors : Hyperpriors
        Those of the regression.
    **state
        `model`, `method`, `slopes` and `intercepts` (centeredness), `target_accept` of NUTS,
        `step_size` and `path_length` of HMC, `dimensions` of Neal's funnel, `county` and `seed`.

    Raises
    ------
    ValueError, TypeError
        As :func:`funnel.exact.varying_slopes`.
    """

    name = "sampler"
    title = "Run the sampler"

    model = Choice(
        {"radon": "radon", "many": f"radon, each home {COPIES} times", "neal": "Neal’s funnel"},
        label="Model",
    )
    method = Choice({"nuts": "NUTS", "hmc": "HMC, fixed path"}, label="Sampler")
    slopes = Slider(1.0, 0.0, 1.0, label="Centeredness of the slopes (Neal: of x)", step=0.05)
    intercepts = Slider(1.0, 0.0, 1.0, label="Centeredness of the intercepts", step=0.05)
    target_accept = Slider(0.8, 0.6, 0.99, label="Target acceptance", step=0.01)
    step_size = Slider(0.01, 0.005, 1.0, label="Step size ε", log=True)
    path_length = Slider(1.0, 0.1, 5.0, label="Path length, in time", step=0.1)
    dimensions = Slider(9, 1, 50, label="Number of x", step=1)
    county = Choice(label="County of the slope")
    seed = Slider(0, 0, 99, label="Seed", step=1)
    run = traitlets.Dict().tag(sync=True)

    def __init__(self, homes: pd.DataFrame, priors: Hyperpriors = ESSAY, **state: Any) -> None:
        posterior = exact.varying_slopes(homes, priors)
        widest = float(np.exp(norm.ppf(0.9995) * NEAL_SD / 2))
        neal = np.geomspace(1 / widest, widest, 121)
        county = homes["county"].cat
        data: dict[str, Any] = {
            "homes": {
                "county": county.codes.tolist(),
                "floor": homes["floor"].astype(int).tolist(),
                "logRadon": rounded(homes["log_radon"].to_numpy(float), 6),
                "counties": len(county.categories),
            },
            "priors": {
                name: {"family": type(prior).__name__, **asdict(prior)}
                for name, prior in vars(priors).items()
            },
            "counties": [str(name) for name in county.categories],
            "tune": TUNE,
            "draws": DRAWS,
            "copies": COPIES,
            "exact": {
                "radon": _judge(posterior, ALIKE),
                "many": _judge(exact.varying_slopes(pd.concat([homes] * COPIES), priors)),
                "neal": {
                    "scale": rounded(neal),
                    # Of log exp(v / 2), which is normal with half of v's standard deviation.
                    "density": rounded(norm.pdf(np.log(neal), 0, NEAL_SD / 2)),
                    "mean": 0.0,
                    "limit": float(np.exp(norm.ppf(TENTH) * NEAL_SD / 2)),
                    "below": TENTH,
                },
            },
        }
        kept = json.loads(OPENINGS.read_text(encoding="utf-8")) if OPENINGS.exists() else []
        data["runs"] = [each for each in kept if each["survey"] == fingerprint(data)]
        options = {"county": {name: name for name in data["counties"]}}
        if "Steele" in options["county"]:  # no first-floor home: the barest funnel
            state.setdefault("county", "Steele")
        super().__init__(data, options, **state)

    @property
    def draws(self) -> xr.DataTree:
        """The draws of the last run that was made here, for ArviZ.

        Raises
        ------
        RuntimeError
            If nothing has been run yet.
        """
        import arviz as az

        run: dict[str, Any] = self.run
        if not run:
            raise RuntimeError("there are no draws yet: show the exhibit and press Run")
        shape = (run["chains"], -1)

        def read(buffer: Any, kind: str) -> Any:
            return np.frombuffer(buffer, dtype=kind).reshape(shape)

        values, statistics = run["values"], run["statistics"]
        return az.from_dict(
            {
                "posterior": {name: read(v, "<f8") for name, v in values.items()},
                "sample_stats": {
                    "diverging": read(statistics["diverging"], "u1").astype(bool),
                    "energy": read(statistics["energy"], "<f8"),
                    "acceptance_rate": read(statistics["acceptance_rate"], "<f8"),
                    "tree_depth": read(statistics["tree_depth"], "u1"),
                },
            }
        )

    def opening(self) -> dict[str, Any] | None:
        """Find the run that was made before with these controls, whatever the county."""
        for kept in self.data["runs"]:
            if kept["state"] | {"county": self.county} == self.state:
                return kept
        return None

    def still(self) -> Figure:
        """Draw the run that the exhibit opens with, and the exact density of the scale."""
        from matplotlib.figure import Figure

        truth = self.data["exact"][self.model]
        scale, opening = np.array(truth["scale"]), self.opening()
        figure = Figure(figsize=(6, 4.4))
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.6, 1])
        if opening:
            self._draw_run(left, right, opening["digest"])
        right.plot(truth["density"], scale, color=COLORS["exact"])
        for ax in (left, right):
            ax.axhline(truth["limit"], color=COLORS["muted"], ls=":")
        neal = self.model == "neal"
        left.set(yscale="log", ylim=(scale[0], scale[-1]))
        left.set(xlabel="x" if neal else f"slope of {self.county}, log pCi/L")
        left.set(ylabel="scale exp(v/2)" if neal else r"$\sigma_b$, log pCi/L")
        right.set(xlabel="density per unit of log", xlim=(0, None), xticks=[])
        return figure

    def _draw_run(self, left: Any, right: Any, digest: dict[str, Any]) -> None:
        from matplotlib.colors import to_rgb

        truth = self.data["exact"][self.model]
        counts = np.array(digest["counts"])
        edges = np.geomspace(truth["scale"][0], truth["scale"][-1], len(counts) + 1)
        heights = counts / (4 * DRAWS * np.diff(np.log(edges)))
        ends = [np.array(to_rgb(COLORS[name])) for name in ("noncentered", "centered")]
        color = tuple(ends[0] + self.slopes * (ends[1] - ends[0]))
        right.stairs(heights, edges, orientation="horizontal", fill=True, color=color, alpha=0.45)
        name = "x[0]" if self.model == "neal" else f"b[{self.data['counties'].index(self.county)}]"
        if name not in digest["effects"]:
            return
        for x, y in zip(digest["effects"][name], digest["scale"], strict=True):
            left.plot(x, y, ".", ms=3)
        where = digest["where"]
        x, y = (np.concatenate(part) for part in (where["effects"][name], where["scale"]))
        left.plot(x, y, "x", color=COLORS["divergent"], ms=6)
