"""Quadrature for densities of one to three scales, to a stated error.

A *scale* is a parameter on the half line, such as a standard deviation. Two
ideas carry the module.

1. *A scale is a half line bent into an interval.* With
   ``sigma = unit (1 + t) / (1 - t)**2`` a density that is smooth at zero and
   falls like a power of sigma far out is smooth on all of -1 < t < 1, both ends
   included. The rule of Gauss and Legendre then needs few nodes, and a long
   tail is not cut off where some grid ends. The map is a relative of
   ``L (1 + t) / (1 - t)`` in Boyd (1987), "Orthogonal rational functions on a
   semi-infinite interval", *Journal of Computational Physics* 70, equation 1.2;
   the square brings far larger scales within reach of the same nodes.
2. *The same nodes give everything.* The density at the nodes fixes a series of
   Legendre polynomials. Integrated it is the distribution function; inverted,
   it draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numba
import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import optimize

__all__ = ["TOLERANCE", "Axis", "Grid", "integrate"]

Array = NDArray[np.float64]

#: Promised error: see `integrate`.
TOLERANCE = 1e-4
#: Refinement ends with a grid of more nodes than this, or with more along one axis.
MAX_NODES = 600_000
MAX_NODES_OF_AXIS = 250
#: An axis may end where the log density is this far below its peak.
NEGLIGIBLE = -20.0
#: A mode this far from where the search began, on the log scale, is no mode.
RUNAWAY = 50.0


@dataclass(frozen=True)
class Axis:
    """A scale on the interval ``low < t < high``, ``sigma = unit (1 + t) / (1 - t)**2``.

    ``low = -1`` is a scale of zero and ``high = 1`` an infinite one. Inside,
    ``-1 < z < 1`` runs linearly from `low` to `high`: the nodes and the series are
    those of Legendre in z.

    Parameters
    ----------
    unit : float
        The scale at ``t = 0``.
    low, high : float
        Ends of the interval.
    n : int
        Number of Gauss-Legendre nodes.
    """

    unit: float
    low: float = -1.0
    high: float = 1.0
    n: int = 24

    @cached_property
    def _rule(self) -> tuple[Array, Array]:
        return legendre.leggauss(self.n)

    @property
    def t(self) -> Array:
        """Nodes in t."""
        return self.t_at(self._rule[0])

    @property
    def weights(self) -> Array:
        """Weights of the nodes in z; they sum to 2."""
        return self._rule[1]

    @cached_property
    def to_series(self) -> Array:
        """Matrix from masses at the nodes to the Legendre series of their density in z."""
        # Coefficient k is (k + 1/2) times the integral of density times P_k.
        half_norm = np.arange(self.n)[:, None] + 0.5
        return half_norm * legendre.legvander(self._rule[0], self.n - 1).T

    def t_at(self, z: Array) -> Array:
        """Go from z to t."""
        return 0.5 * (self.high + self.low + (self.high - self.low) * z)

    def sigma(self, t: Array) -> Array:
        """Scale at `t`."""
        return self.unit * (1 + t) / (1 - t) ** 2

    def slope(self, t: Array) -> Array:
        """Differentiate the scale with respect to z, at `t`."""
        return 0.5 * (self.high - self.low) * self.unit * (3 + t) / (1 - t) ** 3

    def locate(self, sigma: Array) -> tuple[Array, Array]:
        """Find t and z of a scale; z is clipped to the axis."""
        t = 1 - 4 / (1 + np.sqrt(1 + 8 * sigma / self.unit))
        return t, np.clip((2 * t - self.high - self.low) / (self.high - self.low), -1, 1)


def _along(k: int, dims: int) -> tuple[int, ...]:
    """Shape that lets a vector run along axis `k` of a tensor."""
    return tuple(-1 if i == k else 1 for i in range(dims))


def _but(k: int, dims: int) -> tuple[int, ...]:
    """Every axis except `k`."""
    return tuple(i for i in range(dims) if i != k)


def _tabulate(
    log_density: Callable[[Array], Array], axes: Sequence[Axis], t: Sequence[Array]
) -> tuple[Array, Array]:
    """Log density in z on every combination of nodes `t`, one dimension an axis; and the scales."""
    columns = [axis.sigma(nodes) for axis, nodes in zip(axes, t, strict=True)]
    points = np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1).reshape(-1, len(axes))
    table = log_density(points).reshape([len(nodes) for nodes in t])
    for k, (axis, nodes) in enumerate(zip(axes, t, strict=True)):
        table = table + np.log(axis.slope(nodes)).reshape(_along(k, len(axes)))
    return table, points


@dataclass(frozen=True)
class Grid:
    """A density of scales on a tensor of Gauss-Legendre nodes.

    Attributes
    ----------
    axes : tuple of Axis
        One for each scale.
    points : (nodes, scales) array
        Scales at the nodes.
    mass : array, one dimension per scale
        Probability of each node: density in z times weight. Sums to one.
    log_total : float
        Log of the integral of the density as it was given.
    """

    axes: tuple[Axis, ...]
    points: Array
    mass: Array
    log_total: float

    @classmethod
    def evaluate(cls, log_density: Callable[[Array], Array], axes: Sequence[Axis]) -> Grid:
        """Evaluate a log density of points (n, scales) on the nodes of `axes`."""
        table, points = _tabulate(log_density, axes, [axis.t for axis in axes])
        peak = float(table.max())
        mass = np.exp(table - peak)
        for k, axis in enumerate(axes):
            mass *= axis.weights.reshape(_along(k, len(axes)))
        total = float(mass.sum())
        return cls(tuple(axes), points, mass / total, peak + math.log(total))

    def marginal(self, k: int) -> tuple[Array, Array]:
        """Nodes of scale `k` and the probability of each."""
        axis = self.axes[k]
        return axis.sigma(axis.t), self.mass.sum(axis=_but(k, self.mass.ndim))

    def _series(self, k: int) -> Array:
        return self.axes[k].to_series @ self.marginal(k)[1]

    def cdf(self, k: int, x: Array) -> Array:
        """Distribution function of scale `k`."""
        z = self.axes[k].locate(np.maximum(x, 0))[1]
        return np.clip(legendre.legval(z, legendre.legint(self._series(k), lbnd=-1)), 0, 1)

    def density(self, k: int, x: Array) -> Array:
        """Marginal density of scale `k`; zero where the axis does not reach."""
        axis = self.axes[k]
        t, z = axis.locate(np.maximum(x, 0))
        inside = (x >= 0) & (t >= axis.low) & (t <= axis.high)
        height = np.maximum(legendre.legval(z, self._series(k)), 0) / axis.slope(t)
        return np.where(inside, height, 0.0)

    def quantile(self, k: int, p: Array) -> Array:
        """Quantile of scale `k`, the inverse of `cdf`."""
        series = self._series(k)
        z = np.array([_invert_series(series, each) for each in p.ravel()]).reshape(p.shape)
        return self.axes[k].sigma(self.axes[k].t_at(z))

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Draw all scales `n` times, (n, scales): independent, continuous."""
        # The kernel wants three axes: those that lack have one node.
        lacking = 3 - len(self.axes)
        mass = self.mass.reshape(self.mass.shape + (1,) * lacking)
        to_series = [axis.to_series for axis in self.axes] + [np.array([[0.5]])] * lacking
        z = _draw_on_grid(mass, *to_series, rng.random((n, 3)))
        columns = [axis.sigma(axis.t_at(z[:, k])) for k, axis in enumerate(self.axes)]
        return np.stack(columns, axis=1)

    def error(self, k: int, moments: int) -> float:
        """Estimate the error along axis `k` from the last coefficients of series.

        The last coefficients of the density, absolute and summed over the other
        axes, are the error of its series in total variation. Those of the density
        times ``sigma`` or ``(sigma - mean)**2``, relative to the integral, are
        squared: integrals over the nodes converge twice as fast as series.
        """
        axis = self.axes[k]
        sigma, mass = self.marginal(k)
        table = np.moveaxis(self.mass, k, 0).reshape(axis.n, -1)

        def last(factor: Array) -> float:
            terms = (axis.to_series[-3:] * (factor / (mass @ factor))) @ table
            return float(np.abs(terms).sum(axis=1).max())

        error = last(np.ones(axis.n))
        if moments >= 1:
            error = max(error, last(sigma) ** 2)
        if moments >= 2:
            error = max(error, last((sigma - mass @ sigma) ** 2) ** 2)
        return error

    def edge(self, k: int) -> float:
        """Density in z where axis `k` ends before the half line does."""
        axis = self.axes[k]
        density = self.marginal(k)[1] / axis.weights
        low = density[0] if axis.low > -1 else 0.0
        high = density[-1] if axis.high < 1 else 0.0
        return float(max(low, high))

    def summary(self, finite: Sequence[int]) -> Array:
        """Log of the integral, then log of mean and sd of each scale as far as they exist."""
        out = [self.log_total]
        for k, moments in enumerate(finite):
            sigma, mass = self.marginal(k)
            if moments >= 1:
                out.append(math.log(mass @ sigma))
            if moments >= 2:
                out.append(0.5 * math.log(mass @ (sigma - mass @ sigma) ** 2))
        return np.array(out)


def integrate(
    log_density: Callable[[Array], Array], start: float, finite: Sequence[int]
) -> tuple[Grid, Grid, float]:
    """Integrate a density of scales, refining each axis by its own need.

    Parameters
    ----------
    log_density : callable
        From points (n, scales) to their log density (n,), up to a constant.
    start : float
        Rough size of the scales, where the search for the bulk begins.
    finite : sequence of int
        How many moments of each scale are finite: 0, 1, or 2 for two and more.

    Returns
    -------
    coarse, fine : Grid
        The last two grids. The rule of Gauss with n nodes is right for polynomials
        of degree 2n - 1, the series through the same nodes for degree n - 1: so the
        coarse grid is good enough for averages, the fine one serves the series.
    error : float
        Estimated error: the largest of what the last refinement changed (log of the
        integral; mean and sd of each scale, relative), of the last coefficients of
        the series, and of the density where an axis was cut. Above `TOLERANCE` if
        that could not be reached.

    Raises
    ------
    ValueError
        If the density grows without bound towards the end of the half line.
    """
    coarse = Grid.evaluate(log_density, _find_bulk(log_density, start, len(finite)))
    errors = [coarse.error(k, moments) for k, moments in enumerate(finite)]
    while True:
        axes = [
            _refine(axis, error) if error > TOLERANCE / 10 else axis
            for axis, error in zip(coarse.axes, errors, strict=True)
        ]
        fine = Grid.evaluate(log_density, axes)
        errors = [fine.error(k, moments) for k, moments in enumerate(finite)]
        change = float(np.abs(fine.summary(finite) - coarse.summary(finite)).max())
        error = max(change, sum(errors), *(fine.edge(k) for k in range(len(finite))))
        if (
            error < TOLERANCE
            or fine.axes == coarse.axes  # what is left is not for more nodes to mend
            or fine.mass.size > MAX_NODES
            or max(fine.mass.shape) > MAX_NODES_OF_AXIS
        ):
            return coarse, fine, error
        coarse = fine


def _refine(axis: Axis, error: float) -> Axis:
    """Give the axis as many nodes as it should need."""
    # The terms of a smooth bump fall like a Gaussian: their logarithm as n squared.
    growth = math.sqrt(math.log(TOLERANCE / 20) / math.log(min(error, 0.5)))
    return replace(axis, n=math.ceil(axis.n * min(max(growth, 1.2), 1.8)))


def _find_bulk(log_density: Callable[[Array], Array], start: float, dims: int) -> list[Axis]:
    """Find where the density lives: one axis per scale, not yet refined.

    The mode of the log scales gives the units. Then a coarse grid over the whole
    half lines is narrowed to where some node is not negligible, until it stays.
    """

    def loss(log_scales: Array) -> float:
        value = log_density(np.exp(log_scales)[None])[0] + log_scales.sum()
        return -float(value) if np.isfinite(value) else math.inf

    begin = np.full(dims, math.log(start))
    mode = optimize.minimize(
        loss,
        begin,
        method="Nelder-Mead",
        options={
            "initial_simplex": np.vstack([begin, begin + 0.5 * np.eye(dims)]),
            "fatol": 0.01,
            "xatol": 0.01,
        },
    ).x
    if np.abs(mode - begin).max() > RUNAWAY:
        raise ValueError(
            f"the density has no peak: it still grows where the scales are {np.exp(mode)}. "
            "The posterior is improper; are the data all equal?"
        )
    axes = [Axis(float(unit)) for unit in np.exp(mode)]
    search = -np.cos(np.pi * (np.arange(16) + 0.5) / 16)
    for _ in range(8):
        # The mode, t = 0, is always a node: narrow peaks do not slip through.
        t = [np.union1d(axis.t_at(search), 0.0) for axis in axes]
        table = _tabulate(log_density, axes, t)[0]
        narrowed = []
        for k, axis in enumerate(axes):
            # Far out, what counts is what a node adds to the second moment.
            profile = table.max(axis=_but(k, dims)) - table.max()
            profile += np.log1p((axis.sigma(t[k]) / axis.unit) ** 2)
            kept = np.flatnonzero(profile > NEGLIGIBLE)
            ends = np.concatenate([[axis.low], t[k], [axis.high]])
            low, high = ends[kept[0]], ends[kept[-1] + 2]
            narrowed.append(replace(axis, low=float(low), high=float(high)))
        widths = [
            (new.high - new.low) / (old.high - old.low)
            for new, old in zip(narrowed, axes, strict=True)
        ]
        axes = narrowed
        if min(widths) > 0.9:
            break
    return axes


# --- Kernels ----------------------------------------------------------------------------


@numba.njit(error_model="numpy")
def _polynomials(z, n):
    """Legendre polynomials P_0 ... P_n at z, n >= 1, by their three-term recurrence."""
    out = np.empty(n + 1)
    out[0], out[1] = 1.0, z
    for k in range(1, n):
        out[k + 1] = ((2 * k + 1) * z * out[k] - k * out[k - 1]) / (k + 1)
    return out


@numba.njit(error_model="numpy")
def _invert_series(series, probability):
    """Quantile in (-1, 1) of the density sum c_n P_n, whose coefficients are `series`.

    Newton steps on the distribution function, kept inside a shrinking bracket.
    """
    # The integral of P_n is (P_(n+1) - P_(n-1)) / (2n + 1), and that of P_0 is 1 + z.
    terms = len(series)
    target = probability * 2 * series[0]
    low, high, z = -1.0, 1.0, 0.0
    for _ in range(100):
        values = _polynomials(z, terms)
        density, cdf = series[0], series[0] * (1 + z)
        for k in range(1, terms):
            density += series[k] * values[k]
            cdf += series[k] * (values[k + 1] - values[k - 1]) / (2 * k + 1)
        if cdf < target:
            low = z
        else:
            high = z
        step = z - (cdf - target) / density
        if not low <= step <= high:
            step = 0.5 * (low + high)
        moved = abs(step - z)
        z = step
        if moved < 1e-12:
            break
    return z


@numba.njit(error_model="numpy", fastmath={"reassoc", "contract"})
def _apply(matrix, vector):
    """Matrix times vector, on one core: BLAS would call up threads for each small product."""
    out = np.zeros(matrix.shape[0])
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            out[i] += matrix[i, j] * vector[j]
    return out


@numba.njit(error_model="numpy", fastmath={"reassoc", "contract"})
def _draw_on_grid(mass, first, second, third, uniform):
    """Draw from a density on (-1, 1)^3 that is known by its masses at the nodes.

    Parameters
    ----------
    mass : (k, m, n) array
        Masses of the nodes.
    first, second, third : arrays, (k, k), (m, m) and (n, n)
        From masses to Legendre series along each axis, see `_Axis.to_series`.
    uniform : (draws, 3) array
        Uniform random numbers.

    Returns
    -------
    (draws, 3) array
        Each coordinate by inverting its distribution function given those before.
    """
    # Masses summed over the axes still to come: what the first two draws see.
    plane = np.zeros((len(second), len(first)))
    edge = np.zeros(len(first))
    for i in range(len(first)):
        for j in range(len(second)):
            for k in range(len(third)):
                plane[j, i] += mass[i, j, k]
            edge[i] += plane[j, i]
    first_series = _apply(first, edge)
    first_at, second_at = first.T.copy(), second.T.copy()
    out = np.empty(uniform.shape)
    for d in range(len(uniform)):
        x = _invert_series(first_series, uniform[d, 0])
        # Summing nodes with these weights interpolates at x.
        at_x = _apply(first_at, _polynomials(x, len(first))[:-1])
        y = _invert_series(_apply(second, _apply(plane, at_x)), uniform[d, 1])
        at_y = _apply(second_at, _polynomials(y, len(second))[:-1])
        line = np.zeros(len(third))
        for i in range(len(at_x)):
            for j in range(len(at_y)):
                if plane[j, i] > 1e-12:  # most of the grid's corners are empty
                    weight = at_x[i] * at_y[j]
                    for k in range(len(line)):
                        line[k] += weight * mass[i, j, k]
        out[d, 0], out[d, 1] = x, y
        out[d, 2] = _invert_series(_apply(third, line), uniform[d, 2])
    return out
