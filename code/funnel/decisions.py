"""From a posterior to a decision: predictions for homes, and what they cost.

The posterior is over counties. A decision is about one home, which nobody has
measured yet. Between the two lies the predictive distribution of the home's
log radon: normal once every parameter is known, so over the posterior it is a
mixture of normals. :class:`Predictive` is that mixture, from exact quadrature
nodes or from a sampler's draws, and its probabilities and expected losses are
sums of closed forms. Nothing is simulated on top.

What the predictions are of, and what they are not. The survey's readings are
short-term screening measurements, most of them in basements. The action level
of 4 pCi/L is about the exposure of people, over years, where they live. In Iowa
60% of short-term basement readings and 30% of year-long upper-floor readings
were above it (Barros et al. 2016, *Radiation Protection Dosimetry* 171(3)), and
one reading predicts a home's annual average poorly (Price and Nero 1996,
*Environment International* 22). The survey cannot tell the one from the other.
:class:`Stakes` therefore has a conversion that you must own, `long_term_ratio`,
and a single number for it is itself a simplification: homes differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

from funnel import exact
from funnel.data import ACTIVITY_OFFSET, to_log_radon

__all__ = [
    "ACTION_LEVEL",
    "ExpectedLoss",
    "Predictive",
    "Stakes",
    "as_if_known",
    "expected_loss",
    "expected_loss_if_measured",
    "predict",
    "predict_in_state",
    "probability_above_action_level",
]

Floats = NDArray[np.float64]

#: Long-term exposure, in pCi/L, from which the EPA advises to fix a home (*A Citizen's
#: Guide to Radon*, EPA 402/K-12/002, 2016).
ACTION_LEVEL = 4.0


@dataclass(frozen=True)
class Predictive:
    """Predictive distribution of one home's log radon, a mixture of normals.

    Attributes
    ----------
    mean, sd, weight : ndarray, shape (K,)
        Of each component, in log pCi/L; the weights sum to 1.
    """

    mean: Floats
    sd: Floats
    weight: Floats

    def density(self, log_radon: ArrayLike) -> Floats:
        """Density at `log_radon`, any shape."""
        z = (np.asarray(log_radon, dtype=float)[..., np.newaxis] - self.mean) / self.sd
        return np.exp(-0.5 * z**2) @ (self.weight / self.sd) / math.sqrt(2 * math.pi)

    def cdf(self, log_radon: ArrayLike) -> Floats:
        """Probability of at most `log_radon`, any shape."""
        z = (np.asarray(log_radon, dtype=float)[..., np.newaxis] - self.mean) / self.sd
        return ndtr(z) @ self.weight

    def quantile(self, p: float) -> float:
        """Log radon that is exceeded with probability ``1 - p``.

        Raises
        ------
        ValueError
            If `p` is not between 0 and 1.
        """
        if not 0 < p < 1:
            raise ValueError(f"a probability must be between 0 and 1, got {p!r}")
        ends = self.mean + self.sd * ndtri(p)  # the mixture's lies among its components'
        low, high = float(ends.min()), float(ends.max())
        return brentq(lambda x: float(self.cdf(x)) - p, low - 1e-9, high + 1e-9)

    def probability_above(self, activity: ArrayLike) -> Floats:
        """Probability that a reading exceeds `activity`, in pCi/L."""
        z = (self.mean - to_log_radon(activity)[..., np.newaxis]) / self.sd
        return ndtr(z) @ self.weight

    def expected_activity(self, at_most: float) -> float:
        """Average the reading in pCi/L, where every reading above `at_most` counts as that.

        The bound is not a nicety. With a half-Cauchy prior the posterior of a scale
        falls like a power, and the mean of exp(log radon) over it is infinite, however
        many homes were measured. Readings below 0 count as 0.

        Parameters
        ----------
        at_most : float
            Bound in pCi/L, positive and finite.

        Returns
        -------
        float
            In pCi/L.

        Raises
        ------
        ValueError
            If the bound is not a positive finite number.
        """
        if not (math.isfinite(at_most) and at_most > 0):
            raise ValueError(f"at_most must be a positive finite number, got {at_most!r}")
        return self._expected_minimum(at_most) - self._expected_minimum(0.0)

    def _expected_minimum(self, bound: float) -> float:
        """E min(activity, bound): lognormal partial expectations."""
        z = (math.log(bound + ACTIVITY_OFFSET) - self.mean) / self.sd
        grown = np.exp(self.mean + self.sd**2 / 2 + log_ndtr(z - self.sd))
        return float(self.weight @ (grown - ACTIVITY_OFFSET * ndtr(z) + bound * ndtr(-z)))


def predict(
    posterior: exact.ExactPosterior | xr.DataTree, *, floor: int, county: str | None
) -> Predictive:
    """Predict the log radon that would be read in one more home.

    Parameters
    ----------
    posterior : ExactPosterior or xarray.DataTree
        Of the radon regression with varying intercepts, with varying slopes or
        without: exact, or draws from any sampler (group ``posterior``).
    floor : int
        Where the detector stands: 0 for the basement, 1 for the first floor.
    county : str or None
        Name of a county in the survey, or None for one that is not in it: its
        intercept and slope come from the distribution of counties.

    Returns
    -------
    Predictive
        From an exact posterior, exact up to its quadrature; from draws, with one
        component per draw and the draws' Monte Carlo error.

    Raises
    ------
    ValueError
        If the floor is neither 0 nor 1, or the county not in the survey.
    TypeError
        If `posterior` is not a posterior of the radon regression.
    """
    if floor not in (0, 1):
        raise ValueError(f"floor must be 0 (basement) or 1 (first floor), got {floor!r}")
    if isinstance(posterior, exact.ExactPosterior) and "mu_a" in posterior.parameters:
        return Predictive(*posterior.predict_home(floor, county))
    if isinstance(posterior, xr.DataTree) and "posterior" in posterior.children:
        draws = posterior["posterior"].dataset
        if "mu_a" in draws and "a" in draws:
            return _predict_from_draws(draws, floor, county)
    raise TypeError(f"not a posterior of the radon regression: {type(posterior).__name__}")


def _predict_from_draws(draws: xr.Dataset, floor: int, county: str | None) -> Predictive:
    varying = "b" in draws
    if county is None:
        mean = draws["mu_a"] + floor * draws["mu_b"]
        variance = draws["sigma_a"] ** 2 + draws["sigma_y"] ** 2
        if varying:
            variance = variance + floor * draws["sigma_b"] ** 2
    else:
        _check_county(county, draws["county"].to_numpy())
        slope = draws["b"].sel(county=county) if varying else draws["mu_b"]
        mean = draws["a"].sel(county=county) + floor * slope
        variance = draws["sigma_y"] ** 2
    n = mean.size
    return Predictive(
        mean.to_numpy().ravel(), np.sqrt(variance).to_numpy().ravel(), np.full(n, 1 / n)
    )


def predict_in_state(
    posterior: xr.DataTree,
    *,
    floor: int,
    state: str,
    county: str | None = None,
    soil: float | None = None,
) -> Predictive:
    """Predict the log radon of one more home, from the three-level model.

    Parameters
    ----------
    posterior : xarray.DataTree
        Draws of :func:`funnel.models.three_level` (group ``posterior``), or a single
        point as the only draw.
    floor : int
        Where the detector stands: 0 for the basement, 1 for the first floor.
    state : str
        Name of the state.
    county : str, optional
        Name of a county of that state in the survey. Without it, the county is one
        that no home of the survey lies in.
    soil : float, optional
        For such a county, its log uranium less the mean over the survey's counties.

    Returns
    -------
    Predictive
        One component per draw.

    Raises
    ------
    ValueError
        If the floor is neither 0 nor 1, if the state or the county is not in the
        survey, or if not exactly one of `county` and `soil` is given.
    TypeError
        If `posterior` is not a posterior of the three-level model.
    """
    if floor not in (0, 1):
        raise ValueError(f"floor must be 0 (basement) or 1 (first floor), got {floor!r}")
    if (county is None) == (soil is None):
        raise ValueError("give either a county of the survey or the soil of a new one")
    is_tree = isinstance(posterior, xr.DataTree) and "posterior" in posterior.children
    draws = posterior["posterior"].dataset if is_tree else xr.Dataset()
    if "alpha" not in draws or "gamma" not in draws:
        raise TypeError(f"not a posterior of the three-level model: {type(posterior).__name__}")
    if state not in draws["state"].to_numpy():
        raise ValueError(f"the survey has no state {state!r}")
    has_own = "sigma_home" in draws
    variance = (draws["sigma_home"].sel(state=state) if has_own else draws["sigma_y"]) ** 2
    if county is not None:
        _check_county(county, draws["county"].to_numpy())
        mean = draws["a"].sel(county=county) + floor * draws["b"].sel(county=county)
    else:
        mean = draws["alpha"].sel(state=state) + draws["gamma"] * soil + floor * draws["mu_b"]
        both = 2 * draws["rho"] * draws["sigma_a"] * draws["sigma_b"] + draws["sigma_b"] ** 2
        variance = variance + draws["sigma_a"] ** 2 + floor * both
    n = mean.size
    return Predictive(
        mean.to_numpy().ravel(), np.sqrt(variance).to_numpy().ravel(), np.full(n, 1 / n)
    )


def _check_county(county: str, counties: ArrayLike) -> None:
    if county not in np.asarray(counties):
        raise ValueError(f"the survey has no county {county!r}; use None for a new one")


def as_if_known(point: Mapping[str, ArrayLike], counties: Sequence[str]) -> xr.DataTree:
    """Turn a single point into a posterior that is sure of it: draws, but only one.

    This is what plugging in an estimate means. Everything that takes draws, such as
    :func:`predict`, then treats the point as known.

    Parameters
    ----------
    point : mapping
        A value for each parameter of the radon regression with varying slopes, such as
        ``JointMode.point`` of :mod:`funnel.modes`.
    counties : sequence of str
        Names of the counties, in the order of ``a`` and ``b``.

    Returns
    -------
    xarray.DataTree
        Group ``posterior``, with one chain of one draw.

    Raises
    ------
    ValueError
        If a parameter is missing or not finite, or has no value for each county, or if
        a scale is negative, or that of the homes 0.
    """
    numbers = ("mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y")
    dims: dict[str, tuple[str, ...]] = dict.fromkeys(numbers, ())
    dims |= dict.fromkeys(("a", "b"), ("county",))
    values = {}
    for name, dim in dims.items():
        if name not in point:
            raise ValueError(f"the point has no {name!r}; it has {list(point)}")
        value = np.asarray(point[name], dtype=float)
        if value.shape != (len(counties),) * len(dim) or not np.all(np.isfinite(value)):
            wanted = f"{len(counties)} finite numbers" if dim else "a finite number"
            raise ValueError(f"{name} must be {wanted}, got {point[name]!r}")
        if name.startswith("sigma") and (value < 0 or (name == "sigma_y" and value == 0)):
            raise ValueError(f"{name} is a standard deviation, got {point[name]!r}")
        values[name] = (("chain", "draw", *dim), value[np.newaxis, np.newaxis])
    draw = xr.Dataset(values, coords={"chain": [0], "draw": [0], "county": list(counties)})
    return xr.DataTree.from_dict({"posterior": draw})


@dataclass(frozen=True)
class Stakes:
    """What is at stake in one home. Every number is yours to change.

    The loss grows in proportion to long-term exposure. Leaving a home as it is costs
    `harm` for each pCi/L of exposure. Remediation costs `remediation` at once, and
    `harm` for what exposure is left: `residual`, or less if there was less. Lin,
    Gelman, Price and Krantz (1999), *Statistical Science* 14(3), analyze such decisions
    for all of the United States, with a dollar value of the harm that varies from
    person to person.

    Parameters
    ----------
    remediation : float
        Cost of fixing a home, in dollars. The default is the EPA's average, within a
        range of $800 to $2,500 (EPA, *A Consumer's Guide to Radon Reduction*).
    harm : float
        Cost of living with 1 pCi/L, in dollars. *An assumption*: by default the value
        with which fixing a home pays from exactly 4 pCi/L on, so that someone who
        knew the exposure would follow the EPA's advice.
    residual : float
        Exposure after remediation, in pCi/L. *An assumption.*
    long_term_ratio : float
        Long-term exposure in the living area for each pCi/L of reading. *An
        assumption*: 1 takes readings at face value; for basement readings the truth is
        lower on average (see the module).
    highest : float
        Exposure above this counts as this much, in pCi/L. *An assumption*, and one
        that must be made: see :meth:`Predictive.expected_activity`.

    Raises
    ------
    ValueError
        If a number is not positive and finite, or `highest` is below `residual`.
    """

    remediation: float = 1200.0
    harm: float = 600.0
    residual: float = 2.0
    long_term_ratio: float = 1.0
    highest: float = 1000.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{field.name} must be a positive finite number, got {value!r}")
        if self.highest < self.residual:
            raise ValueError(f"highest must be at least residual, got {self.highest!r}")

    @property
    def break_even(self) -> float:
        """Exposure, in pCi/L, from which remediation pays for someone who knows it."""
        return self.residual + self.remediation / self.harm


@dataclass(frozen=True)
class ExpectedLoss:
    """Expected loss of each action, in dollars."""

    remediate: float
    leave: float

    @property
    def best(self) -> str:
        """The action with the smaller expected loss, ``"remediate"`` or ``"leave"``."""
        return "remediate" if self.remediate < self.leave else "leave"


def expected_loss(predictive: Predictive, stakes: Stakes) -> ExpectedLoss:
    """Average the loss of remediating a home unmeasured, and of leaving it as it is.

    Parameters
    ----------
    predictive : Predictive
        Of the home, from :func:`predict`.
    stakes : Stakes
        Costs, harm and conversion.

    Returns
    -------
    ExpectedLoss
        In dollars.
    """
    ratio = stakes.long_term_ratio
    exposure = ratio * predictive.expected_activity(stakes.highest / ratio)
    left = ratio * predictive.expected_activity(stakes.residual / ratio)
    return ExpectedLoss(
        remediate=stakes.remediation + stakes.harm * left, leave=stakes.harm * exposure
    )


def expected_loss_if_measured(predictive: Predictive, stakes: Stakes, price: float) -> float:
    """Average the loss of measuring a home first, and then doing what is best for it.

    The measurement is taken to tell the exposure: whoever reads more than
    ``stakes.break_even`` remediates, all others leave the home as it is. So the loss is
    the price and the harm of the exposure, where exposure above the break-even counts as
    the break-even: E min(exposure, break-even). A reading that tells less is worth less.

    Parameters
    ----------
    predictive : Predictive
        Of the home.
    stakes : Stakes
        Costs, harm and conversion.
    price : float
        Of the measurement, in dollars.

    Returns
    -------
    float
        In dollars.

    Raises
    ------
    ValueError
        If the price is negative or not finite.
    """
    if not (math.isfinite(price) and price >= 0):
        raise ValueError(f"price must be 0 or more and finite, got {price!r}")
    ratio = stakes.long_term_ratio
    return price + stakes.harm * ratio * predictive.expected_activity(stakes.break_even / ratio)


def probability_above_action_level(predictive: Predictive, stakes: Stakes) -> float:
    """Probability that a home's long-term exposure is above 4 pCi/L.

    Parameters
    ----------
    predictive : Predictive
        Of the home, from :func:`predict`.
    stakes : Stakes
        Only the conversion, `long_term_ratio`, is used. With 1 it is the probability
        of a reading above 4 pCi/L, which is log 4.1 on the scale of the model.

    Returns
    -------
    float
    """
    return float(predictive.probability_above(ACTION_LEVEL / stakes.long_term_ratio))
