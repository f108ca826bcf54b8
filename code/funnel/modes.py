"""Modes: where a posterior density is highest, if it is highest anywhere.

A mode belongs to a density, and a density to coordinates. The same posterior,
written centered or noncentered, in a scale or in its logarithm, has different
joint modes, or none. This module finds them, and says where there is none.

With every scale held fixed the models of this course are normal, so the best
means and effects come from linear algebra. What is left is a function of the
scales alone: three for the radon regression, one for the eight schools.

Coordinates enter through the scales only. Write ``z`` for the sampler's
coordinates of J effects with scale ``sigma`` and centeredness λ (see
:mod:`funnel.models`). Their log density is the noncentered one minus
``λ J log sigma``, and ``log sigma`` instead of ``sigma`` adds ``log sigma``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.differentiate import hessian
from scipy.optimize import minimize, minimize_scalar
from scipy.special import ndtr

from funnel.data import check_homes, check_schools
from funnel.exact import ExactPosterior
from funnel.models import Parameterization, centeredness_of
from funnel.priors import EIGHT_SCHOOLS, EightSchoolsPriors, Gamma2, Hyperpriors, check_priors

__all__ = [
    "JointDensity",
    "JointMode",
    "Laplace",
    "eight_schools",
    "laplace",
    "marginal_mode",
    "varying_slopes",
]

Floats = NDArray[np.float64]
#: A value for each variable of the model: floats, and arrays with one entry per group.
Point = dict[str, float | Floats]

LOG_2PI = math.log(2 * math.pi)
_SCALES = ("sigma_a", "sigma_b", "sigma_y", "tau")
_TO_THE_TOP = {"xatol": 1e-8, "fatol": 1e-11}


@dataclass(frozen=True)
class JointMode:
    """The highest point of a joint density, or the reason why there is none.

    Attributes
    ----------
    exists : bool
        Whether the density has a maximum.
    point : dict or None
        Where it is: ``mu_a``, ``sigma_a``, ``a`` and so on, in the natural
        coordinates. A scale of 0 is a maximum on the boundary.
    log_density : float
        Log density there, with every constant; infinite if unbounded.
    rates : dict
        For each scale between groups, how fast the log density grows as the scale
        goes to 0 with all its effects at their mean: by this much for every unit
        that the scale's logarithm falls. Positive means unbounded.
    ridge : callable
        ``ridge("sigma_b", 0.01)`` is the log density at ``sigma_b = 0.01`` with every
        ``b`` at ``mu_b`` and the rest held fixed: the way up that has no top.
    """

    exists: bool
    point: Point | None
    log_density: float
    rates: dict[str, float]
    ridge: Callable[[str, float], float] = field(repr=False)


@dataclass(frozen=True)
class _Effect:
    """Names of an effect that varies between groups, of its mean and of its scale."""

    name: str
    mean: str
    scale: str


@dataclass(frozen=True)
class _Data:
    """The data by group: all that the likelihood needs of them.

    X and y are the design and the measurements of one group. If the noise is known
    they are divided by it, and `n` is 0: there is no noise to estimate.
    """

    gram: Floats  # (J, K, K): X'X of each group
    score: Floats  # (J, K): X'y of each group
    square: float  # y'y, summed over groups
    n: int  # measurements whose noise is a parameter
    log_constant: float  # what is left of the normal densities
    spread: float  # rough size of the scales, where the search starts


@dataclass(frozen=True)
class JointDensity:
    """The joint posterior density of a model in chosen coordinates, not normalized.

    Made by :func:`varying_slopes` and :func:`eight_schools`. Call it with a point
    for the log density there; ask it for its :meth:`mode`.
    """

    data: _Data = field(repr=False)
    priors: Hyperpriors | EightSchoolsPriors
    effects: tuple[_Effect, ...]
    noise: str | None
    centeredness: tuple[float, ...]
    jacobian: bool

    def __call__(self, point: Mapping[str, ArrayLike]) -> float:
        """Log density at a point given in natural coordinates.

        Parameters
        ----------
        point : mapping
            A value for each mean, scale and effect, as in :class:`JointMode`. The
            density is that of the chosen coordinates at this same point.

        Returns
        -------
        float
            Log of prior times likelihood, with every constant.

        Raises
        ------
        ValueError
            If a variable is missing or a scale is not positive.
        """
        for name in (*self.scales, *(name for e in self.effects for name in (e.mean, e.name))):
            if name not in point:
                raise ValueError(f"the point has no {name!r}; it has {list(point)}")
        scales = np.array([float(point[name]) for name in self.scales])  # type: ignore[arg-type]
        for name, value in zip(self.scales, scales.tolist(), strict=True):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive finite number, got {value!r}")
        mu = np.array([float(point[e.mean]) for e in self.effects])  # type: ignore[arg-type]
        values = np.stack([np.asarray(point[e.name], dtype=float) for e in self.effects], axis=-1)
        return self._log_density(scales, mu, (values - mu) / scales[: len(self.effects)])

    @property
    def scales(self) -> tuple[str, ...]:
        """Names of the scales: one per effect, then that of the noise if it is unknown."""
        return (*(e.scale for e in self.effects), *([self.noise] if self.noise else []))

    @property
    def rates(self) -> dict[str, float]:
        """How fast the log density grows up each ridge; see :class:`JointMode`."""
        groups = len(self.data.score)
        return {
            effect.scale: weight * groups - self.jacobian - self._prior_order(effect.scale)
            for effect, weight in zip(self.effects, self.centeredness, strict=True)
        }

    def ridge(self, scale: str, value: float) -> float:
        """Log density with one scale at `value` and all its effects at their mean.

        Everything else stays where the noncentered density (of log scales) is highest.

        Parameters
        ----------
        scale : str
            Name of a scale between groups.
        value : float
            Its value, positive.

        Returns
        -------
        float
            Log density in the chosen coordinates.

        Raises
        ------
        ValueError
            If there is no such scale, or `value` is not positive.
        """
        by_scale = {e.scale: e for e in self.effects}
        if scale not in by_scale:
            raise ValueError(f"a ridge is along one of {list(by_scale)}, got {scale!r}")
        effect, point = by_scale[scale], dict(self._foot_of_the_ridges)
        point[scale] = value
        point[effect.name] = np.full(len(self.data.score), point[effect.mean])
        return self(point)

    def mode(self) -> JointMode:
        """Find the highest point of the density.

        Returns
        -------
        JointMode
            Without a point if the density is unbounded.

        Raises
        ------
        RuntimeError
            If the density rises to the edge of the range searched for the scales.
        """
        if any(rate > 0 for rate in self.rates.values()):
            return JointMode(False, None, math.inf, self.rates, self.ridge)
        scales = self._best_scales()
        for k, rate in enumerate(self.rates.values()):
            if rate == 0:  # the density is finite at a scale of 0, and may be highest there
                boundary = scales.copy()
                boundary[k] = 0.0
                if self._profile(boundary) >= self._profile(scales) - 1e-9:
                    scales = boundary
        point = self._point(scales, *self._best(scales))
        return JointMode(True, point, self._profile(scales), self.rates, self.ridge)

    def given(self, **scales: float) -> Point:
        """Take the best means and effects for given scales.

        Given the scales they are normal, so the point is their mean as well, and it is
        the same in all coordinates. This is what one plugs in after estimating scales.

        Parameters
        ----------
        **scales : float
            Each scale by name, as in ``sigma_a=0.3, sigma_b=0.2, sigma_y=0.7``. Those
            between groups may be 0.

        Returns
        -------
        dict
            A value for each variable, as in :class:`JointMode`.

        Raises
        ------
        ValueError
            If the names are not those of the scales, or a scale is negative or not
            finite, or that of the noise is 0.
        """
        if set(scales) != set(self.scales):
            raise ValueError(f"the scales are {list(self.scales)}, got {list(scales)}")
        for name, value in scales.items():
            if not (math.isfinite(value) and value >= 0) or (name == self.noise and value == 0):
                bound = "positive" if name == self.noise else "at least 0"
                raise ValueError(f"{name} must be finite and {bound}, got {value!r}")
        values = np.array([scales[name] for name in self.scales], dtype=float)
        return self._point(values, *self._best(values))

    # What follows works in noncentered coordinates: scales (..), means mu (K), offsets z (J, K),
    # effects mu + s z. They exist at a scale of 0 too.

    def _split(self, scales: Floats) -> tuple[Floats, float]:
        return scales[: len(self.effects)], float(scales[-1]) if self.noise else 1.0

    def _log_density(self, scales: Floats, mu: Floats, z: Floats) -> float:
        s, noise = self._split(scales)
        effects = mu + s * z
        residual = (
            self.data.square
            - 2 * np.sum(self.data.score * effects)
            + np.einsum("jk,jkl,jl->", effects, self.data.gram, effects)
        )
        log_p = self.data.log_constant - self.data.n * math.log(noise) - residual / (2 * noise**2)
        log_p += -0.5 * np.sum(z**2) - 0.5 * z.size * LOG_2PI
        for effect, value in zip(self.effects, mu, strict=True):
            log_p += float(getattr(self.priors, effect.mean).logpdf(value))
        for name, value in zip(self.scales, scales, strict=True):
            log_p += float(getattr(self.priors, name).logpdf(value))
        # Coordinates: a power of each scale.
        powers = np.full(len(scales), float(self.jacobian))
        powers[: len(s)] -= len(z) * np.array(self.centeredness)
        moved = powers != 0
        return float(log_p + np.sum(powers[moved] * np.log(scales[moved])))

    def _profile(self, scales: Floats) -> float:
        """Log density at the best means and effects for given scales."""
        return self._log_density(scales, *self._best(scales))

    def _best(self, scales: Floats) -> tuple[Floats, Floats]:
        """Means and offsets at which the density is highest, for given scales."""
        s, noise = self._split(scales)
        gram, score = self.data.gram / noise**2, self.data.score / noise**2
        shrunk = np.linalg.inv(np.eye(len(s)) + gram * s**2)  # (I + A S^2)^-1, well-behaved at 0
        priors = [getattr(self.priors, e.mean) for e in self.effects]
        precision = np.array([1 / p.sd**2 for p in priors])
        pull = np.einsum("jkl,jl->k", shrunk, score) + precision * [p.mean for p in priors]
        mu = np.linalg.solve(np.sum(shrunk @ gram, axis=0) + np.diag(precision), pull)
        return mu, s * np.einsum("jkl,jl->jk", shrunk, score - gram @ mu)

    def _best_scales(self) -> Floats:
        """Scales at which the profile is highest, searched from several starts."""
        center = math.log(self.data.spread)
        low, high = center - 15.0, center + 15.0
        bounds = [(low, high)] * len(self.scales)

        def loss(log_scales: Floats) -> float:
            return -self._profile(np.exp(log_scales))

        # Effects that vary little or much; noise starts at the spread of the data.
        starts = product((center - 2, center + 1), repeat=len(self.effects))
        noise = (center,) if self.noise else ()
        tops = [minimize(loss, start + noise, method="L-BFGS-B", bounds=bounds) for start in starts]
        best = minimize(
            loss,
            min(tops, key=lambda top: top.fun).x,
            method="Nelder-Mead",
            bounds=bounds,
            options=_TO_THE_TOP,
        )
        for name, log_scale in zip(self.scales, best.x, strict=True):
            if not low + 1 <= log_scale <= high - 1 and self.rates.get(name) != 0:
                raise RuntimeError(f"the density still rises at {name} = {math.exp(log_scale):g}")
        return np.exp(best.x)

    @cached_property
    def _foot_of_the_ridges(self) -> Point:
        noncentered = replace(self, centeredness=(0.0,) * len(self.effects), jacobian=True)
        point = noncentered.mode().point
        assert point is not None
        return point

    def _point(self, scales: Floats, mu: Floats, z: Floats) -> Point:
        point: Point = {name: float(v) for name, v in zip(self.scales, scales, strict=True)}
        for k, effect in enumerate(self.effects):
            point[effect.mean] = float(mu[k])
            point[effect.name] = mu[k] + scales[k] * z[:, k]
        return point

    def _prior_order(self, scale: str) -> int:
        """Power with which the prior of a scale goes to 0 at 0."""
        return 1 if isinstance(getattr(self.priors, scale), Gamma2) else 0


def varying_slopes(
    homes: pd.DataFrame,
    priors: Hyperpriors,
    *,
    intercepts: Parameterization,
    slopes: Parameterization,
    jacobian: bool,
) -> JointDensity:
    """Joint density of the radon regression with varying intercepts and slopes.

    Parameters
    ----------
    homes : pandas.DataFrame
        One row per home (see :func:`funnel.data.check_homes`).
    priors : Hyperpriors
        Priors of the top-level parameters.
    intercepts, slopes : {"centered", "noncentered"} or float
        Coordinates of the effects, as in :func:`funnel.models.varying_slopes`.
    jacobian : bool
        True for the density of the logarithms of the three scales, in which samplers
        move; False for that of the scales themselves, as PyMC's ``find_MAP`` has it.

    Returns
    -------
    JointDensity

    Raises
    ------
    ValueError
        If `homes` is not a table of homes, or a parameterization is unknown.
    TypeError
        If `priors` is not a `Hyperpriors`.
    """
    check_priors(priors, Hyperpriors)
    homes = check_homes(homes)
    y = homes["log_radon"].to_numpy()
    design = np.stack([np.ones(len(y)), homes["floor"].to_numpy(float)], axis=1)
    county = homes["county"].cat.codes.to_numpy()
    gram = np.zeros((county.max() + 1, 2, 2))
    score = np.zeros((county.max() + 1, 2))
    np.add.at(gram, county, design[:, :, np.newaxis] * design[:, np.newaxis, :])
    np.add.at(score, county, design * y[:, np.newaxis])
    return JointDensity(
        data=_Data(
            gram, score, float(y @ y), len(y), -0.5 * len(y) * LOG_2PI, float(np.std(y)) or 1.0
        ),
        priors=priors,
        effects=(_Effect("a", "mu_a", "sigma_a"), _Effect("b", "mu_b", "sigma_b")),
        noise="sigma_y",
        centeredness=(centeredness_of(intercepts), centeredness_of(slopes)),
        jacobian=bool(jacobian),
    )


def eight_schools(
    schools: pd.DataFrame,
    priors: EightSchoolsPriors = EIGHT_SCHOOLS,
    *,
    effects: Parameterization,
    jacobian: bool,
) -> JointDensity:
    """Joint density of the eight schools.

    Parameters
    ----------
    schools : pandas.DataFrame
        One row per school, with columns ``school``, ``effect`` and ``se``.
    priors : EightSchoolsPriors
        Priors of the top-level parameters.
    effects : {"centered", "noncentered"} or float
        Coordinates of ``theta``, as in :func:`funnel.models.eight_schools`.
    jacobian : bool
        True for the density of ``log tau``, False for that of ``tau``.

    Returns
    -------
    JointDensity

    Raises
    ------
    ValueError
        If an effect is not finite, a standard error not positive, or the
        parameterization unknown.
    TypeError
        If `priors` is not an `EightSchoolsPriors`.
    """
    check_priors(priors, EightSchoolsPriors)
    schools = check_schools(schools)
    y, se = schools["effect"].to_numpy(), schools["se"].to_numpy()
    constant = float(-np.sum(np.log(se)) - 0.5 * len(y) * LOG_2PI)
    return JointDensity(
        data=_Data(
            gram=(1 / se**2)[:, np.newaxis, np.newaxis],
            score=(y / se**2)[:, np.newaxis],
            square=float(np.sum((y / se) ** 2)),
            n=0,
            log_constant=constant,
            spread=float(np.mean(se)),
        ),
        priors=priors,
        effects=(_Effect("theta", "mu", "tau"),),
        noise=None,
        centeredness=(centeredness_of(effects),),
        jacobian=bool(jacobian),
    )


@dataclass(frozen=True)
class Laplace:
    """Normal approximation of the posterior of the log scales.

    Attributes
    ----------
    names : tuple of str
        The scales, in the order of the arrays.
    mean : ndarray, shape (K,)
        Marginal mode of the log scales, jointly.
    covariance : ndarray, shape (K, K)
        Inverse of minus the Hessian there.
    log_evidence : float
        Log evidence by Laplace's method.
    """

    names: tuple[str, ...]
    mean: Floats
    covariance: Floats
    log_evidence: float

    def cdf(self, name: str, x: ArrayLike) -> Floats:
        """Approximate probability that a scale is at most `x`.

        Parameters
        ----------
        name : str
            Name of the scale.
        x : array_like
            Positive values.

        Returns
        -------
        ndarray
            Probabilities, the shape of `x`.

        Raises
        ------
        ValueError
            If there is no such scale or `x` is not positive.
        """
        x = np.asarray(x, dtype=float)
        if name not in self.names:
            raise ValueError(f"there is no scale {name!r}; there are {list(self.names)}")
        if not np.all(x > 0):
            raise ValueError(f"a scale must be positive, got {x}")
        i = self.names.index(name)
        return ndtr((np.log(x) - self.mean[i]) / math.sqrt(self.covariance[i, i]))


def laplace(posterior: ExactPosterior) -> Laplace:
    """Approximate the posterior of the log scales by a normal at its mode.

    Means and effects are integrated out exactly first, so the result does not depend
    on the coordinates of the effects.

    Parameters
    ----------
    posterior : ExactPosterior
        Exact posterior from :mod:`funnel.exact`.

    Returns
    -------
    Laplace
    """
    names = tuple(name for name in posterior.parameters if name in _SCALES)

    def log_density(log_scales: Floats) -> Floats:
        scales = dict(zip(names, np.exp(log_scales), strict=True))
        return posterior.log_density_of_scales(**scales) + np.sum(log_scales, axis=0)

    start = np.log([posterior.quantile(name, 0.5) for name in names])
    top = minimize(lambda x: -log_density(x), start, method="Nelder-Mead", options=_TO_THE_TOP)
    covariance = np.linalg.inv(-hessian(log_density, top.x).ddf)
    volume = 0.5 * len(names) * LOG_2PI + 0.5 * np.linalg.slogdet(covariance)[1]
    return Laplace(names, top.x, covariance, float(posterior.log_evidence - top.fun + volume))


def marginal_mode(posterior: ExactPosterior, scale: str, *, log: bool) -> float:
    """Mode of the marginal posterior of one scale, every other variable integrated out.

    Parameters
    ----------
    posterior : ExactPosterior
        Exact posterior from :mod:`funnel.exact`.
    scale : str
        Name of a scale, such as ``"sigma_b"``.
    log : bool
        False for the mode of the density of the scale, True for the scale at which
        the density of its logarithm is highest. They are two different values.

    Returns
    -------
    float
        The scale; 0 if its density is highest on the boundary, as far as the
        quadrature can tell.
    """

    def height(x: ArrayLike) -> Floats:
        x = np.asarray(x, dtype=float)
        return posterior.density(scale, x) * (x if log else 1.0)

    grid = np.asarray(posterior.quantile(scale, np.linspace(0.001, 0.999, 200)))
    best = int(np.argmax(height(grid)))
    low = grid[best - 1] if best else 0.0
    high = grid[min(best + 1, len(grid) - 1)]
    inside = minimize_scalar(
        lambda x: -float(height([x])[0]),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6 * high},
    )
    # A rise from the boundary by no more than rounding in the series is no rise.
    rounding = 10 * posterior.quadrature_error
    if not best and not log and float(height([0.0])[0]) >= -inside.fun * (1 - rounding):
        return 0.0
    return float(inside.x)
