"""Priors of the top-level parameters, each written once.

A prior is a small frozen object that knows its log density (used by
:mod:`funnel.exact`) and its PyMC distribution (used by :mod:`funnel.models`).
Because both take it from here, the sampled model and the exact posterior
cannot drift apart.

Scale priors live on the positive half line. What tells them apart is how they
treat the two ends: their height at zero, and how fast they fall far out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

if TYPE_CHECKING:
    from pytensor.tensor import TensorVariable

__all__ = [
    "EIGHT_SCHOOLS",
    "ESSAY",
    "WEAKLY_INFORMATIVE",
    "EightSchoolsPriors",
    "Exponential",
    "Gamma2",
    "HalfCauchy",
    "HalfNormal",
    "Hyperpriors",
    "LogNormal",
    "Normal",
    "ScalePrior",
    "check_priors",
]


def _check_positive(prior: object, name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(
            f"{type(prior).__name__}: {name} must be a positive finite number, got {value!r}"
        )


@dataclass(frozen=True)
class Normal:
    """Normal prior of a mean.

    Parameters
    ----------
    mean, sd : float
        Mean and standard deviation (not variance, not precision).

    Raises
    ------
    ValueError
        If `mean` is not finite or `sd` is not a positive finite number.
    """

    mean: float
    sd: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            raise ValueError(f"Normal: mean must be finite, got {self.mean!r}")
        _check_positive(self, "sd", self.sd)

    def logpdf(self, x: ArrayLike) -> NDArray[np.float64]:
        """Log density at `x`, any shape."""
        z = (np.asarray(x, dtype=float) - self.mean) / self.sd
        return -0.5 * z**2 - math.log(self.sd) - 0.5 * math.log(2 * math.pi)

    def to_pymc(self, name: str) -> TensorVariable:
        """Add the prior to the PyMC model in context, as the variable `name`."""
        import pymc as pm

        return pm.Normal(name, mu=self.mean, sigma=self.sd)


class ScalePrior:
    """Prior of a standard deviation; the base of the families.

    Attributes
    ----------
    tail_power : float
        The density falls as ``x ** -tail_power`` far out; infinite if it falls
        faster than every power. It decides which posterior moments exist.
    """

    tail_power: float = math.inf

    def _log_density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def logpdf(self, x: ArrayLike) -> NDArray[np.float64]:
        """Log density at `x`, any shape; minus infinity below zero."""
        x = np.asarray(x, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(x >= 0, self._log_density(np.maximum(x, 0)), -np.inf)

    def _cdf(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def cdf(self, x: ArrayLike) -> NDArray[np.float64]:
        """Probability of at most `x`, any shape."""
        return self._cdf(np.maximum(np.asarray(x, dtype=float), 0))

    def _quantile(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def quantile(self, p: ArrayLike) -> NDArray[np.float64]:
        """Value that is exceeded with probability ``1 - p``, any shape.

        Quantiles of uniform random numbers are draws from the prior.

        Raises
        ------
        ValueError
            If a probability is not at least 0 and below 1.
        """
        p = np.asarray(p, dtype=float)
        outside = ~((p >= 0) & (p < 1))
        if outside.any():
            raise ValueError(f"a probability must be at least 0 and below 1, got {p[outside][0]}")
        return self._quantile(p)

    def to_pymc(self, name: str) -> TensorVariable:
        """Add the prior to the PyMC model in context, as the variable `name`."""
        raise NotImplementedError


@dataclass(frozen=True)
class HalfCauchy(ScalePrior):
    """Half-Cauchy prior: flat at zero, and a tail so long that it has no mean.

    Proposed for scales by Gelman (2006), *Bayesian Analysis* 1(3), section 3.2.

    Parameters
    ----------
    beta : float
        Scale, which is also the median.
    """

    beta: float

    tail_power = 2.0

    def __post_init__(self) -> None:
        _check_positive(self, "beta", self.beta)

    def _log_density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return math.log(2 / (math.pi * self.beta)) - np.log1p((x / self.beta) ** 2)

    def _cdf(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2 / math.pi * np.arctan(x / self.beta)

    def _quantile(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.beta * np.tan(math.pi / 2 * p)

    def to_pymc(self, name: str) -> TensorVariable:
        """Add the prior to the PyMC model in context, as the variable `name`."""
        import pymc as pm

        return pm.HalfCauchy(name, beta=self.beta)


@dataclass(frozen=True)
class HalfNormal(ScalePrior):
    """Half-normal prior: flat at zero, light tail.

    Parameters
    ----------
    sd : float
        Standard deviation of the normal that is folded at zero.
    """

    sd: float

    def __post_init__(self) -> None:
        _check_positive(self, "sd", self.sd)

    def _log_density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return 0.5 * math.log(2 / math.pi) - math.log(self.sd) - 0.5 * (x / self.sd) ** 2

    def _cdf(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return special.erf(x / self.sd / math.sqrt(2))

    def _quantile(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.sd * math.sqrt(2) * special.erfinv(p)

    def to_pymc(self, name: str) -> TensorVariable:
        """Add the prior to the PyMC model in context, as the variable `name`."""
        import pymc as pm

        return pm.HalfNormal(name, sigma=self.sd)


@dataclass(frozen=True)
class Exponential(ScalePrior):
    """Exponential prior: highest at zero.

    Parameters
    ----------
    rate : float
        One over the mean.
    """

    rate: float

    def __post_init__(self) -> None:
        _check_positive(self, "rate", self.rate)

    def _log_density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return math.log(self.rate) - self.rate * x

    def _cdf(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.expm1(-self.rate * x)

    def _quantile(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.log1p(-p) / self.rate

    def to_pymc(self, name: str) -> TensorVariable:
        """Add the prior to the PyMC model in context, as the variable `name`."""
        import pymc as pm

        return pm.Exponential(name, lam=self.rate)


@dataclass(frozen=True)
class Gamma2(ScalePrior):
    """Gamma prior of shape 2: zero at zero, so that a mode avoids the boundary.

    Chung et al. (2013), *Psychometrika* 78(4), recommend it for that purpose.

    Parameters
    ----------
    rate : float
        Two over the mean; the mode is ``1 / rate``.
    """

    rate: float

    def __post_init__(self) -> None:
        _check_positive(self, "rate", self.rate)

    def _log_density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2 * math.log(self.rate) + np.log(x) - self.rate * x

    def _cdf(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return special.gammainc(2, self.rate * x)

    def _quantile(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        return special.gammaincinv(2, p) / self.rate

    def to_pymc(self, name: str) -> TensorVariable:
        """Add the prior to the PyMC model in context, as the variable `name`."""
        import pymc as pm

        return pm.Gamma(name, alpha=2, beta=self.rate)


@dataclass(frozen=True)
class LogNormal(ScalePrior):
    """Log-normal prior of a scale whose size is known, from other surveys like this one, say.

    Not for an analysis whose scale may be zero, for it rules zero out.

    Parameters
    ----------
    median : float
        Value with half of the probability on either side.
    sd : float
        Standard deviation of the logarithm.
    """

    median: float
    sd: float

    def __post_init__(self) -> None:
        _check_positive(self, "median", self.median)
        _check_positive(self, "sd", self.sd)

    def _standardized(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore"):
            return (np.log(x) - math.log(self.median)) / self.sd

    def _log_density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        # Zero, where the logarithm is minus infinity, has no density.
        positive = np.where(x > 0, x, 1.0)
        z = self._standardized(positive)
        density = -0.5 * z**2 - np.log(positive) - math.log(self.sd * math.sqrt(2 * math.pi))
        return np.where(x > 0, density, -np.inf)

    def _cdf(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return special.ndtr(self._standardized(x))

    def _quantile(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.median * np.exp(self.sd * special.ndtri(p))

    def to_pymc(self, name: str) -> TensorVariable:
        """Add the prior to the PyMC model in context, as the variable `name`."""
        import pymc as pm

        return pm.LogNormal(name, mu=math.log(self.median), sigma=self.sd)


def _check_fields(priors: object, means: tuple[str, ...]) -> None:
    for field in fields(priors):  # type: ignore[arg-type]
        value = getattr(priors, field.name)
        wanted = Normal if field.name in means else ScalePrior
        if not isinstance(value, wanted):
            raise TypeError(
                f"{type(priors).__name__}: {field.name} must be a {wanted.__name__}, got {value!r}"
            )


@dataclass(frozen=True)
class Hyperpriors:
    """Priors of the five top-level parameters of the radon regression.

    Parameters
    ----------
    mu_a, mu_b : Normal
        Mean of the county intercepts and of the county slopes, in log pCi/L.
    sigma_a, sigma_b : ScalePrior
        Standard deviation of intercepts and slopes between counties.
    sigma_y : ScalePrior
        Standard deviation of the homes within a county.

    Raises
    ------
    TypeError
        If a mean has a prior that is not normal, or a scale one that is not a
        scale prior.

    Notes
    -----
    Models without slopes that vary use `mu_b` for the common slope and leave
    `sigma_b` aside.
    """

    mu_a: Normal
    sigma_a: ScalePrior
    mu_b: Normal
    sigma_b: ScalePrior
    sigma_y: ScalePrior

    def __post_init__(self) -> None:
        _check_fields(self, means=("mu_a", "mu_b"))


@dataclass(frozen=True)
class EightSchoolsPriors:
    """Priors of the two top-level parameters of the eight schools.

    Parameters
    ----------
    mu : Normal
        Mean effect over schools, in points of the test.
    tau : ScalePrior
        Standard deviation of the effects between schools.

    Raises
    ------
    TypeError
        If `mu` is not a `Normal` or `tau` not a `ScalePrior`.
    """

    mu: Normal
    tau: ScalePrior

    def __post_init__(self) -> None:
        _check_fields(self, means=("mu",))


def check_priors(priors: object, wanted: type) -> None:
    """Refuse what is not a set of priors of the wanted kind.

    Parameters
    ----------
    priors : object
        What was given as priors.
    wanted : type
        `Hyperpriors` or `EightSchoolsPriors`.

    Raises
    ------
    TypeError
        If `priors` is something else.
    """
    if not isinstance(priors, wanted):
        raise TypeError(f"priors must be {wanted.__name__}, got {priors!r}")


#: The essay's priors: almost flat means, half-Cauchy(5) scales.
ESSAY = Hyperpriors(
    mu_a=Normal(0, 100**2),
    sigma_a=HalfCauchy(5),
    mu_b=Normal(0, 100**2),
    sigma_b=HalfCauchy(5),
    sigma_y=HalfCauchy(5),
)

#: Priors on the scale of log radon: nothing beyond a factor of e^20 is plausible.
WEAKLY_INFORMATIVE = Hyperpriors(
    mu_a=Normal(0, 10),
    sigma_a=HalfNormal(1),
    mu_b=Normal(0, 10),
    sigma_b=HalfNormal(1),
    sigma_y=HalfNormal(1),
)

#: The usual weakly informative priors of the eight schools.
EIGHT_SCHOOLS = EightSchoolsPriors(mu=Normal(0, 5), tau=HalfCauchy(5))
