"""The exact posterior of the course's hierarchical models.

Given its standard deviations (the *scales*), the model is linear and Gaussian:
every mean, intercept and slope can be integrated out on paper. What is left is
a density of one to three scales, and that is integrated by quadrature
(:mod:`funnel.quadrature`). No sampling is involved, so there is nothing to
converge and nothing to diagnose but the quadrature, which reports its own error.

The algebra is short because *two means per county say it all*. Take a county
with mean ``m0`` of its ``n0`` basement homes and mean ``m1`` of its ``n1``
first-floor homes. With its intercept and slope integrated out, it enters the
likelihood of ``(mu_a, mu_b)`` through three squares,

``g (m0 - mu_a)**2 + p (m1 - mu_a - mu_b)**2 + h (m1 - m0 - mu_b)**2``,

whose weights depend on the counts and the scales and are never negative
(`_weights`). So the precision of ``(mu_a, mu_b)`` is a sum of positive numbers,
``[[p + g, p], [p, p + h]]``, to which the normal priors add their own g and h.
Nothing cancels and nothing is divided by a scale between counties, which may be
as small as one likes, or zero.
"""

from __future__ import annotations

import math
import operator
import warnings
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import special

from funnel.data import check_homes, check_schools
from funnel.priors import (
    EIGHT_SCHOOLS,
    EightSchoolsPriors,
    Hyperpriors,
    Normal,
    ScalePrior,
    check_priors,
)
from funnel.quadrature import TOLERANCE, integrate

__all__ = [
    "ExactPosterior",
    "MomentWarning",
    "QuadratureWarning",
    "eight_schools",
    "varying_intercepts",
    "varying_slopes",
]

Array = NDArray[np.float64]

CHAINS = 4
#: Nodes with less than this share, all together, are left out of mixtures.
_DROPPED = 1e-9


class QuadratureWarning(UserWarning):
    """The quadrature did not reach the promised accuracy."""


class MomentWarning(UserWarning):
    """A mean or a standard deviation that was asked for does not exist."""


# --- The Gaussian part: kernels for one group at given scales --------------------------
# va, vb, vy are the squares of sigma_a, sigma_b, sigma_y.


@numba.njit(error_model="numpy")
def _weights(n0, n1, va, vb, vy):
    """Weights p, g, h of a group's three squares, and the determinant they share.

    The determinant is that of the covariance of (sqrt(n0) m0, sqrt(n1) m1) with
    intercept and slope integrated out. Only sums of products of positive numbers
    occur: nothing cancels.
    """
    det = vy * (vy + n0 * va + n1 * (va + vb)) + n0 * n1 * va * vb
    share = 1 / det
    return n1 * vy * share, n0 * (vy + n1 * vb) * share, n0 * n1 * va * share, det


@numba.njit(error_model="numpy")
def _invert_precision(p, g, h):
    """Variances and covariance of (mu_a, mu_b) whose precision is [[p+g, p], [p, p+h]]."""
    det = p * g + p * h + g * h
    return (p + h) / det, -p / det, (p + g) / det


# Sums over groups may be reordered, so that they run on vector instructions.
@numba.njit(error_model="numpy", fastmath={"reassoc", "contract"})
def _integrate_gaussians(table, constants, squares):
    """Integrate intercepts, slopes and their means out, at many points.

    Parameters
    ----------
    table : (4, groups) array
        Rows n0, n1, m0, m1.
    constants : (7,) array
        Observations, squares within cells, constant of the log density, and
        means and precisions of the priors of mu_a and mu_b.
    squares : (points, 3) array
        Squares of sigma_a, sigma_b, sigma_y.

    Returns
    -------
    (points, 6) array
        Log likelihood of the scales; conditional means of mu_a and mu_b; p, g, h
        of their conditional precision.
    """
    n_obs, within, constant, da, db, ka, kb = constants
    n0, n1, m0, m1 = table[0], table[1], table[2], table[3]
    ratio = np.empty(table.shape[1])
    out = np.empty((len(squares), 6))
    for i in range(len(squares)):
        va, vb, vy = squares[i]
        # The priors act like one more group, with g = ka, h = kb.
        sum_p, sum_g, sum_h = 0.0, ka, kb
        right_a, right_b = ka * da, kb * db
        square = ka * da * da + kb * db * db
        for j in range(len(ratio)):
            p, g, h, det = _weights(n0[j], n1[j], va, vb, vy)
            step = m1[j] - m0[j]
            sum_p += p
            sum_g += g
            sum_h += h
            right_a += g * m0[j] + p * m1[j]
            right_b += h * step + p * m1[j]
            square += g * m0[j] * m0[j] + p * m1[j] * m1[j] + h * step * step
            ratio[j] = det / (vy * vy)
        # Each ratio is at least 1: one logarithm for as many as do not overflow.
        log_det, product = 0.0, 1.0
        for j in range(len(ratio)):
            product *= ratio[j]
            if product > 1e100:
                log_det += math.log(product)
                product = 1.0
        log_det += math.log(product)
        log_det += math.log((sum_p * sum_g + sum_p * sum_h + sum_g * sum_h) / (ka * kb))
        aa, ab, bb = _invert_precision(sum_p, sum_g, sum_h)
        mean_a = aa * right_a + ab * right_b
        mean_b = ab * right_a + bb * right_b
        square -= mean_a * right_a + mean_b * right_b
        out[i, 0] = constant - 0.5 * (
            n_obs * math.log(2 * math.pi * vy) + within / vy + log_det + square
        )
        out[i, 1], out[i, 2] = mean_a, mean_b
        out[i, 3], out[i, 4], out[i, 5] = sum_p, sum_g, sum_h
    return out


@numba.njit(error_model="numpy")
def _effects(n0, n1, m0, m1, va, vb, vy, mu_a, mu_b):
    """Means of a group's a and b given mu, and the matrix [[aa, ab], [ba, bb]] of d(a, b)/d mu."""
    p, g, h, det = _weights(n0, n1, va, vb, vy)
    basement, first, step = m0 - mu_a, m1 - mu_a - mu_b, m1 - m0 - mu_b
    mean_a = mu_a + va * (g * basement + p * first)
    mean_b = mu_b + vb * (h * step + p * first)
    aa = vy * (vy + n1 * vb) / det
    bb = vy * (vy + (n0 + n1) * va) / det
    return mean_a, mean_b, aa, -va * p, -vb * p, bb


@numba.njit(error_model="numpy")
def _effect_moments(table, square, given):
    """Mean and variance of every a and b given the scales, mu integrated out: (4, groups)."""
    va, vb, vy = square
    _, mu_a, mu_b, p, g, h = given
    maa, mab, mbb = _invert_precision(p, g, h)
    n0, n1, m0, m1 = table[0], table[1], table[2], table[3]
    out = np.empty(table.shape)
    for j in range(table.shape[1]):
        mean_a, mean_b, aa, ab, ba, bb = _effects(
            n0[j], n1[j], m0[j], m1[j], va, vb, vy, mu_a, mu_b
        )
        out[0, j] = mean_a
        out[1, j] = va * aa + aa * aa * maa + 2 * aa * ab * mab + ab * ab * mbb
        out[2, j] = mean_b
        out[3, j] = vb * bb + ba * ba * maa + 2 * ba * bb * mab + bb * bb * mbb
    return out


@numba.njit(error_model="numpy")
def _average_effects(table, squares, given, mass):
    """First and second moments of every a and b, averaged over the nodes: (4, groups)."""
    out = np.zeros(table.shape)
    for i in range(len(mass)):
        moments = _effect_moments(table, squares[i], given[i])
        for j in range(table.shape[1]):
            out[0, j] += mass[i] * moments[0, j]
            out[1, j] += mass[i] * (moments[1, j] + moments[0, j] ** 2)
            out[2, j] += mass[i] * moments[2, j]
            out[3, j] += mass[i] * (moments[3, j] + moments[2, j] ** 2)
    return out


@numba.njit(error_model="numpy")
def _effect_components(table, squares, given, which):
    """Means and sds of every a (which = 0) or b (which = 1) at every node: (nodes, groups)."""
    means = np.empty((len(squares), table.shape[1]))
    sds = np.empty((len(squares), table.shape[1]))
    for i in range(len(squares)):
        moments = _effect_moments(table, squares[i], given[i])
        for j in range(table.shape[1]):
            means[i, j] = moments[2 * which, j]
            sds[i, j] = math.sqrt(moments[2 * which + 1, j])
    return means, sds


@numba.njit(error_model="numpy")
def _draw_gaussians(table, squares, given, normal_mu, normal_a, normal_b):
    """Draw mu_a, mu_b, a and b given the scales, from standard normal numbers."""
    n, groups = normal_a.shape
    mu = np.empty((n, 2))
    a = np.empty((n, groups))
    b = np.empty((n, groups))
    for i in range(n):
        va, vb, vy = squares[i]
        maa, mab, _ = _invert_precision(given[i, 3], given[i, 4], given[i, 5])
        mu_a = given[i, 1] + math.sqrt(maa) * normal_mu[i, 0]
        mu_b = given[i, 2] + mab / maa * (mu_a - given[i, 1])
        mu_b += normal_mu[i, 1] / math.sqrt(given[i, 3] + given[i, 5])
        mu[i, 0], mu[i, 1] = mu_a, mu_b
        for j in range(groups):
            n0, n1, m0, m1 = table[:, j]
            mean_a, mean_b, aa, _, ba, _ = _effects(n0, n1, m0, m1, va, vb, vy, mu_a, mu_b)
            sd_a = math.sqrt(va * aa)
            a[i, j] = mean_a + sd_a * normal_a[i, j]
            # cov(a, b) is va * ba; given a, only the first-floor homes speak of b.
            slope = va * ba / sd_a if sd_a > 0 else 0.0
            rest = math.sqrt(vb * vy / (vy + n1 * vb))
            b[i, j] = mean_b + slope * normal_a[i, j] + rest * normal_b[i, j]
    return mu, a, b


@numba.njit(error_model="numpy")
def _mixture(mass, means, sds, points):
    """Distribution function and density of mixtures of normals: points and result (groups, k)."""
    cdf = np.zeros(points.shape)
    density = np.zeros(points.shape)
    for i in range(len(mass)):
        for j in range(points.shape[0]):
            for k in range(points.shape[1]):
                z = (points[j, k] - means[i, j]) / sds[i, j]
                cdf[j, k] += mass[i] * 0.5 * math.erfc(-z / math.sqrt(2))
                density[j, k] += mass[i] * math.exp(-0.5 * z * z) / sds[i, j]
    return cdf, density / math.sqrt(2 * math.pi)


# --- The model: sufficient statistics and priors ----------------------------------------

_SLOTS = {"sigma_a": 0, "tau": 0, "sigma_b": 1, "sigma_y": 2}


@dataclass(frozen=True)
class _Model:
    """What the quadrature has to know of a model and its data.

    Scales that a model lacks stay at a constant: no `sigma_b` is a `sigma_b` of
    zero, and known standard errors are a `sigma_y` of one with counts
    ``1 / se**2``.
    """

    table: Array  # (4, groups): n0, n1, m0, m1, the means relative to `center`
    constants: Array  # see _integrate_gaussians
    center: tuple[float, float]
    priors: dict[str, ScalePrior]
    informing: dict[str, int]  # groups or homes that inform a scale
    start: float  # rough size of the scales
    means: tuple[str, ...]
    effects: tuple[str, ...]
    groups: pd.Index

    def squares(self, points: Array) -> Array:
        """Squares of (sigma_a, sigma_b, sigma_y) at `points`, shape (n, scales)."""
        full = np.tile([0.0, 0.0, 1.0], (len(points), 1))
        full[:, [_SLOTS[name] for name in self.priors]] = points
        return full**2

    def given_scales(self, points: Array) -> Array:
        """Integrate the Gaussians out at `points`; see `_integrate_gaussians`."""
        return _integrate_gaussians(self.table, self.constants, self.squares(points))

    def log_prior(self, points: Array) -> Array:
        """Log prior density of the scales at `points`."""
        columns = zip(self.priors.values(), points.T, strict=True)
        return np.sum([prior.logpdf(column) for prior, column in columns], axis=0)

    def log_joint(self, points: Array) -> Array:
        """Log likelihood plus log prior of the scales at `points`."""
        return self.given_scales(points)[:, 0] + self.log_prior(points)

    def finite_moments(self, name: str) -> int:
        """Count the finite moments, at most 2, of a scale.

        Far out the likelihood falls as ``sigma**-K`` with K groups that inform the
        scale, on top of the prior's tail.
        """
        power = self.priors[name].tail_power + self.informing[name]
        return 2 if power > 3 else 1 if power > 2 else 0


def _make_model(
    table: Array,
    *,
    n_obs: float,
    within: float,
    constant: float,
    mean_priors: tuple[Normal, Normal],
    **rest: Any,
) -> _Model:
    n0, n1, m0, m1 = table
    # Only differences from a common line matter for rounding: subtract it here.
    center_a = float(np.average(m0, weights=n0)) if n0.sum() > 0 else 0.0
    center_b = float(np.average(m1, weights=n1)) - center_a if n1.sum() > 0 else 0.0
    centered = np.array(
        [n0, n1, np.where(n0 > 0, m0 - center_a, 0), np.where(n1 > 0, m1 - center_a - center_b, 0)]
    )
    mu_a, mu_b = mean_priors
    constants = np.array(
        [
            n_obs,
            within,
            constant,
            mu_a.mean - center_a,
            mu_b.mean - center_b,
            mu_a.sd**-2,
            mu_b.sd**-2,
        ]
    )
    return _Model(centered, constants, (center_a, center_b), **rest)


def _radon_model(homes: pd.DataFrame, priors: Hyperpriors, *, slopes: bool) -> _Model:
    check_priors(priors, Hyperpriors)
    homes = check_homes(homes)
    county = homes["county"].cat
    cell = 2 * county.codes.to_numpy(dtype=np.int64) + homes["floor"].to_numpy(dtype=np.int64)
    y = homes["log_radon"].to_numpy(dtype=float)
    cells = 2 * len(county.categories)
    count = np.bincount(cell, minlength=cells).astype(float)
    mean = np.bincount(cell, y, minlength=cells) / np.maximum(count, 1)
    residual = y - mean[cell]
    table = np.vstack([count.reshape(-1, 2).T, mean.reshape(-1, 2).T])
    scales = ("sigma_a", "sigma_b", "sigma_y") if slopes else ("sigma_a", "sigma_y")
    informing = {
        "sigma_a": table.shape[1],
        "sigma_b": int((table[1] > 0).sum()),
        "sigma_y": len(y),
    }
    return _make_model(
        table,
        n_obs=len(y),
        within=float(residual @ residual),
        constant=0.0,
        mean_priors=(priors.mu_a, priors.mu_b),
        priors={name: getattr(priors, name) for name in scales},
        informing=informing,
        start=float(y.std()) or 1.0,
        means=("mu_a", "mu_b"),
        effects=("a", "b") if slopes else ("a",),
        groups=pd.Index(county.categories, name="county"),
    )


def _schools_model(schools: pd.DataFrame, priors: EightSchoolsPriors) -> _Model:
    check_priors(priors, EightSchoolsPriors)
    schools = check_schools(schools)
    effect, se = schools["effect"].to_numpy(), schools["se"].to_numpy()
    nothing = np.zeros(len(se))
    return _make_model(
        np.array([se**-2, nothing, effect, nothing]),
        n_obs=len(se),
        within=0.0,
        constant=-float(np.log(se).sum()),
        # No home has floor 1: whatever the prior of a slope, it drops out.
        mean_priors=(priors.mu, Normal(0, 1)),
        priors={"tau": priors.tau},
        informing={"tau": len(se)},
        start=float(np.median(se)),
        means=("mu",),
        effects=("theta",),
        groups=pd.Index(schools["school"].to_numpy(), name="school"),
    )


# --- The posterior ----------------------------------------------------------------------


class ExactPosterior:
    """Exact posterior of a hierarchical model.

    Made by `varying_intercepts`, `varying_slopes` and `eight_schools`. Nothing
    in it is sampled; `draws` samples *from* it.

    Attributes
    ----------
    parameters : tuple of str
        Names of the parameters. ``a``, ``b`` and ``theta`` are effects, with one
        value per group; the others are scalars.
    groups : pandas.Index
        Names of the groups (counties or schools), which label the effects.
    log_evidence : float
        Log of the prior predictive density of the data, every constant kept.
    quadrature_error : float
        Estimated error of the quadrature: absolute for distribution functions and
        the log evidence, relative for means and standard deviations of scales.

    Notes
    -----
    Scales are answered by their Legendre series, everything else by a mixture of
    normal distributions over the nodes of the quadrature.

    For a scalar parameter, `cdf`, `quantile` and `density` return a float for a
    number and an array of the same shape for an array. For an effect they return
    a Series over the groups for a number, and a DataFrame, groups by points, for
    a list of numbers.
    """

    def __init__(self, model: _Model) -> None:
        self._model = model
        finite = [model.finite_moments(name) for name in model.priors]
        coarse, self._grid, self.quadrature_error = integrate(model.log_joint, model.start, finite)
        self.log_evidence = self._grid.log_total
        self.groups = model.groups
        self.parameters = (*model.means, *model.priors, *model.effects)
        if not self.quadrature_error < TOLERANCE:
            warnings.warn(
                f"the estimated error of the quadrature is {self.quadrature_error:.1e}, above the "
                f"promised {TOLERANCE:.0e}: the posterior is improper, or nearly so",
                QuadratureWarning,
                stacklevel=3,
            )
        self._axis = {name: k for k, name in enumerate(model.priors)}
        # The Gaussian parameters are averaged over the nodes that count.
        mass = coarse.mass.ravel()
        units = [axis.unit for axis in coarse.axes]
        share = mass * (1 + ((coarse.points / units) ** 2).sum(axis=1))
        counts = share > _DROPPED / len(share)
        self._mass = mass[counts] / mass[counts].sum()
        self._squares = model.squares(coarse.points[counts])
        self._given = model.given_scales(coarse.points[counts])
        self._means, self._sds = self._moments()

    def mean(self, name: str) -> float | pd.Series:
        """Posterior mean.

        Parameters
        ----------
        name : str
            A parameter. ``mean("b")`` is E[b_j | y], the county's own slope with
            `mu_b` in it.

        Returns
        -------
        float or Series
            A Series over the groups for an effect. A scale without a mean has
            inf, an effect without a mean nan.

        Raises
        ------
        ValueError
            If there is no such parameter.

        Warns
        -----
        MomentWarning
            If the mean does not exist.
        """
        return self._moment(self._means, name, "mean")

    def sd(self, name: str) -> float | pd.Series:
        """Posterior standard deviation.

        Parameters
        ----------
        name : str
            A parameter.

        Returns
        -------
        float or Series
            A Series over the groups for an effect; inf where it does not exist.

        Raises
        ------
        ValueError
            If there is no such parameter.

        Warns
        -----
        MomentWarning
            If the standard deviation does not exist.
        """
        return self._moment(self._sds, name, "sd")

    def cdf(self, name: str, x: ArrayLike) -> Any:
        """Posterior probability that a parameter is at most `x`.

        Parameters
        ----------
        name : str
            A parameter.
        x : array_like
            Points, in the parameter's unit; at most one-dimensional for an effect.

        Returns
        -------
        float, ndarray, Series or DataFrame
            See the notes of `ExactPosterior`.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        self._check_name(name)
        points = np.asarray(x, dtype=float)
        if name in self._axis:
            return _plain(self._grid.cdf(self._axis[name], points))
        return self._evaluate_mixture(name, points)[0]

    def density(self, name: str, x: ArrayLike) -> Any:
        """Posterior density of a parameter at `x`.

        Parameters
        ----------
        name : str
            A parameter.
        x : array_like
            Points, in the parameter's unit; at most one-dimensional for an effect.

        Returns
        -------
        float, ndarray, Series or DataFrame
            See the notes of `ExactPosterior`.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        self._check_name(name)
        points = np.asarray(x, dtype=float)
        if name in self._axis:
            return _plain(self._grid.density(self._axis[name], points))
        return self._evaluate_mixture(name, points)[1]

    def quantile(self, name: str, p: ArrayLike) -> Any:
        """Posterior quantile, the inverse of `cdf`.

        Parameters
        ----------
        name : str
            A parameter.
        p : array_like
            Probabilities between 0 and 1, both excluded; at most one-dimensional
            for an effect.

        Returns
        -------
        float, ndarray, Series or DataFrame
            See the notes of `ExactPosterior`.

        Raises
        ------
        ValueError
            If there is no such parameter, or if a probability is not inside (0, 1).
        """
        self._check_name(name)
        p = np.asarray(p, dtype=float)
        outside = ~((p > 0) & (p < 1))
        if outside.any():
            raise ValueError(f"a probability must be between 0 and 1, got {p[outside][0]}")
        if name in self._axis:
            return _plain(self._grid.quantile(self._axis[name], p))
        return self._invert_mixture(name, p)

    def log_density_of_scales(self, **scales: ArrayLike) -> Any:
        """Log of the joint posterior density of the scales, all else integrated out.

        Parameters
        ----------
        **scales : array_like
            Every scale of the model by name, as in ``sigma_a=0.3, sigma_b=[0, 0.1],
            sigma_y=0.7``. They are broadcast against each other. All may be zero
            but `sigma_y`.

        Returns
        -------
        float or ndarray
            Normalized: its exponential integrates to one over the scales.

        Raises
        ------
        ValueError
            If the names are not those of the scales, or a scale is negative or
            not finite, or `sigma_y` is zero.
        """
        if set(scales) != set(self._axis):
            raise ValueError(f"the scales are {list(self._axis)}, got {list(scales)}")
        columns = np.broadcast_arrays(*[np.asarray(scales[k], dtype=float) for k in self._axis])
        for name, column in zip(self._axis, columns, strict=True):
            bad = ~(np.isfinite(column) & (column >= 0))
            if name == "sigma_y":
                bad |= column == 0
            if bad.any():
                bound = "positive" if name == "sigma_y" else "at least 0"
                raise ValueError(f"{name} must be finite and {bound}, got {column[bad][0]}")
        points = np.stack([column.ravel() for column in columns], axis=1)
        return _plain((self._model.log_joint(points) - self.log_evidence).reshape(columns[0].shape))

    def draws(self, n: int, seed: int | np.random.SeedSequence) -> xr.DataTree:
        """Draw from the posterior, every draw independent of the others.

        Parameters
        ----------
        n : int
            Number of draws, a multiple of 4.
        seed : int or SeedSequence
            The same seed gives the same draws.

        Returns
        -------
        xarray.DataTree
            Group ``posterior`` with all parameters, as ArviZ wants it: dimensions
            ``chain`` (4) and ``draw`` (n / 4), and for effects the groups.

        Raises
        ------
        ValueError
            If `n` is not a positive multiple of 4.
        TypeError
            If `n` is no integer or `seed` is None.

        Notes
        -----
        Scales are drawn one after the other, each by inverting the distribution
        function of its conditional density given those before; the Gaussian
        parameters then follow from the scales.
        """
        n = operator.index(n)
        if n <= 0 or n % CHAINS:
            raise ValueError(f"n must be a positive multiple of {CHAINS}, got {n}")
        if seed is None:
            raise TypeError("draws needs a seed, got None")
        rng = np.random.default_rng(seed)
        model = self._model
        scales = self._grid.draw(rng, n)
        mu, a, b = _draw_gaussians(
            model.table,
            model.squares(scales),
            model.given_scales(scales),
            rng.standard_normal((n, 2)),
            rng.standard_normal((n, len(self.groups))),
            rng.standard_normal((n, len(self.groups))),
        )
        values = dict(zip(model.means, (mu + model.center).T, strict=False))
        values |= dict(zip(model.priors, scales.T, strict=True))
        values |= {
            name: e + c for name, e, c in zip(model.effects, (a, b), model.center, strict=False)
        }
        group = str(self.groups.name)
        dims = {name: ["chain", "draw"] for name in values}
        dims |= {name: ["chain", "draw", group] for name in model.effects}
        posterior = xr.Dataset(
            {
                name: (dims[name], v.reshape(CHAINS, n // CHAINS, *v.shape[1:]))
                for name, v in values.items()
            },
            coords={
                "chain": np.arange(CHAINS),
                "draw": np.arange(n // CHAINS),
                group: self.groups.to_numpy(),
            },
        )
        return xr.DataTree.from_dict({"posterior": posterior})

    def predict_home(self, floor: int, county: str | None) -> tuple[Array, Array, Array]:
        """Predict the log radon of one more home: a mixture of normals.

        At each node of the quadrature everything Gaussian is integrated out. Given
        the scales and the means, the county's line ``a + floor * b`` is normal with a
        mean that is linear in ``(mu_a, mu_b)``; those are normal given the scales.

        Parameters
        ----------
        floor : int
            0 for the basement, 1 for the first floor.
        county : str or None
            One of `groups`, or None for a county that is not in the data.

        Returns
        -------
        means, sds, weights : (nodes,) arrays
            Of the components, in log pCi/L; the weights sum to 1.

        Raises
        ------
        ValueError
            If this is not the posterior of the radon regression, or if there is
            no such county.
        """
        if "mu_a" not in self.parameters:
            raise ValueError("only the radon regression predicts homes")
        if county is not None and county not in self.groups:
            raise ValueError(f"no county {county!r} among the {len(self.groups)} in the data")
        model = self._model
        va, vb, vy = self._squares.T
        _, mu_a, mu_b, *precision = self._given.T
        var_a, cov_ab, var_b = _invert_precision.py_func(*precision)
        if county is None:
            mean, by_a, by_b = mu_a + floor * mu_b, 1.0, float(floor)
            variance = va + floor * vb
        else:
            n0, n1, m0, m1 = model.table[:, self.groups.get_loc(county)]
            mean_a, mean_b, aa, ab, ba, bb = _effects.py_func(
                n0, n1, m0, m1, va, vb, vy, mu_a, mu_b
            )
            mean, by_a, by_b = mean_a + floor * mean_b, aa + floor * ba, ab + floor * bb
            # Given the means, var(a) = va aa, cov(a, b) = va ba and var(b) = vb bb.
            variance = va * aa + floor * (2 * va * ba + vb * bb)
        variance = variance + by_a**2 * var_a + 2 * by_a * by_b * cov_ab + by_b**2 * var_b
        center_a, center_b = model.center
        return mean + center_a + floor * center_b, np.sqrt(variance + vy), self._mass

    def _check_name(self, name: str) -> None:
        if name not in self.parameters:
            raise ValueError(f"no parameter {name!r}; there are {', '.join(self.parameters)}")

    def _moment(self, moments: dict[str, Any], name: str, what: str) -> Any:
        self._check_name(name)
        if not np.all(np.isfinite(moments[name])):
            warnings.warn(
                f"the {what} of {name} does not exist: too few groups inform the scale for the "
                "long tail of its prior",
                MomentWarning,
                stacklevel=3,
            )
        return moments[name]

    def _moments(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Mean and sd of every parameter."""
        model = self._model
        means: dict[str, Any] = {}
        sds: dict[str, Any] = {}
        for name, k in self._axis.items():
            sigma, mass = self._grid.marginal(k)
            finite = model.finite_moments(name)
            mean = float(mass @ sigma)
            means[name] = mean if finite >= 1 else math.inf
            sds[name] = math.sqrt(mass @ (sigma - mean) ** 2) if finite == 2 else math.inf
        for name in model.means:
            at, spread = (column[:, 0] for column in self._components(name))
            means[name] = float(self._mass @ at)
            sds[name] = math.sqrt(self._mass @ (spread**2 + (at - means[name]) ** 2))
        averages = _average_effects(model.table, self._squares, self._given, self._mass)
        for i, name in enumerate(model.effects):
            mean, square = averages[2 * i], averages[2 * i + 1]
            sd = np.sqrt(square - mean**2)
            if name == "b":
                # Where no home speaks of the slope it has the moments of its scale.
                silent = model.table[1] == 0
                finite = model.finite_moments("sigma_b")
                sd[silent & (finite < 2)] = np.inf
                mean[silent & (finite < 1)] = np.nan
            means[name] = pd.Series(mean + model.center[i], self.groups, name=name)
            sds[name] = pd.Series(sd, self.groups, name=name)
        return means, sds

    def _components(self, name: str) -> tuple[Array, Array]:
        """Means and sds of a Gaussian parameter at the nodes, (nodes, 1 or groups)."""
        model = self._model
        if name in model.means:
            i = model.means.index(name)
            variance = _invert_precision(*self._given[:, 3:].T)[2 * i]
            return self._given[:, [1 + i]] + model.center[i], np.sqrt(variance)[:, None]
        i = model.effects.index(name)
        means, sds = _effect_components(model.table, self._squares, self._given, i)
        return means + model.center[i], sds

    def _evaluate_mixture(self, name: str, points: Array) -> tuple[Any, Any]:
        means, sds = self._components(name)
        grid = np.ascontiguousarray(np.broadcast_to(points.ravel(), (means.shape[1], points.size)))
        cdf, density = _mixture(self._mass, means, sds, grid)
        return self._label(name, points, cdf), self._label(name, points, density)

    def _invert_mixture(self, name: str, p: Array) -> Any:
        means, sds = self._components(name)
        # A quantile of the mixture lies among those of its components.
        z = special.ndtri(p.ravel())
        low = np.stack([(means + sds * each).min(axis=0) for each in z], axis=1)
        high = np.stack([(means + sds * each).max(axis=0) for each in z], axis=1)
        x = np.stack([self._mass @ (means + sds * each) for each in z], axis=1)
        for _ in range(100):
            cdf, density = _mixture(self._mass, means, sds, x)
            low, high = np.where(cdf < p.ravel(), x, low), np.where(cdf < p.ravel(), high, x)
            with np.errstate(divide="ignore", invalid="ignore"):
                newton = x - (cdf - p.ravel()) / density
            before, x = x, np.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
            if np.all(np.abs(x - before) <= 1e-10 * (1 + np.abs(x))):
                break
        return self._label(name, p, x)

    def _label(self, name: str, points: Array, values: Array) -> Any:
        """Give values, (1 or groups, points), the form that the points ask for."""
        if name in self._model.means:
            return _plain(values.reshape(points.shape))
        if points.ndim == 0:
            return pd.Series(values[:, 0], self.groups, name=name)
        if points.ndim == 1:
            return pd.DataFrame(values, self.groups, points)
        raise ValueError(f"{name} has one value per group: points must be a number or a flat list")


def _plain(values: Array) -> Any:
    return float(values) if values.ndim == 0 else values


def varying_intercepts(homes: pd.DataFrame, priors: Hyperpriors) -> ExactPosterior:
    """Exact posterior of the radon regression with county intercepts and one slope.

    ``log_radon ~ Normal(a[county] + mu_b * floor, sigma_y)``,
    ``a ~ Normal(mu_a, sigma_a)``.

    Parameters
    ----------
    homes : DataFrame
        One row per home, with columns ``county``, ``floor`` (0 or 1) and
        ``log_radon``; see `funnel.data.check_homes`.
    priors : Hyperpriors
        Priors of `mu_a`, `sigma_a`, `mu_b` (the common slope) and `sigma_y`.

    Returns
    -------
    ExactPosterior
        Parameters ``mu_a mu_b sigma_a sigma_y a``, in log pCi/L.

    Raises
    ------
    ValueError
        If `homes` is not a table of homes.
    TypeError
        If `priors` are not `Hyperpriors`.

    Warns
    -----
    QuadratureWarning
        If the promised accuracy was not reached.
    """
    return ExactPosterior(_radon_model(homes, priors, slopes=False))


def varying_slopes(homes: pd.DataFrame, priors: Hyperpriors) -> ExactPosterior:
    """Exact posterior of the radon regression with county intercepts and slopes.

    ``log_radon ~ Normal(a[county] + b[county] * floor, sigma_y)``,
    ``a ~ Normal(mu_a, sigma_a)``, ``b ~ Normal(mu_b, sigma_b)``.

    Parameters
    ----------
    homes : DataFrame
        One row per home, with columns ``county``, ``floor`` (0 or 1) and
        ``log_radon``; see `funnel.data.check_homes`.
    priors : Hyperpriors
        Priors of the five top-level parameters.

    Returns
    -------
    ExactPosterior
        Parameters ``mu_a mu_b sigma_a sigma_b sigma_y a b``, in log pCi/L.

    Raises
    ------
    ValueError
        If `homes` is not a table of homes.
    TypeError
        If `priors` are not `Hyperpriors`.

    Warns
    -----
    QuadratureWarning
        If the promised accuracy was not reached.
    """
    return ExactPosterior(_radon_model(homes, priors, slopes=True))


def eight_schools(
    schools: pd.DataFrame, priors: EightSchoolsPriors = EIGHT_SCHOOLS
) -> ExactPosterior:
    """Exact posterior of effects that were measured with known standard errors.

    ``effect ~ Normal(theta, se)``, ``theta ~ Normal(mu, tau)``.

    Parameters
    ----------
    schools : DataFrame
        One row per school, with columns ``school``, ``effect`` and ``se``.
    priors : EightSchoolsPriors
        Priors of `mu` and `tau`.

    Returns
    -------
    ExactPosterior
        Parameters ``mu tau theta``, in the unit of the effects.

    Raises
    ------
    ValueError
        If `schools` is not a table of schools.
    TypeError
        If `priors` are not `EightSchoolsPriors`.

    Warns
    -----
    QuadratureWarning
        If the promised accuracy was not reached.
    """
    return ExactPosterior(_schools_model(schools, priors))
