"""Hamiltonian Monte Carlo in plain NumPy, to be read.

The sampler that a library runs is adapted, compiled and long. This one is what
is left without that: a leapfrog integrator, an energy and an accept step, with
unit masses, a step size and a number of steps that you choose. It is slow, it
does not tune itself, and it fails in a funnel the same way as the others do.

The names are those of Neal (2011), "MCMC using Hamiltonian dynamics", in
*Handbook of Markov Chain Monte Carlo*, chapter 5; sections are numbered as in
arXiv:1206.1901. A *position* is a point in parameter space, an array of shape
``(..., d)``: any leading axes are independent particles, moved all at once. Log
densities take positions of shape ``(..., d)`` to shape ``(...)``, gradients to
shape ``(..., d)``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DIVERGENCE_THRESHOLD",
    "HMCResult",
    "Trajectory",
    "acceptance_probability",
    "hamiltonian",
    "hmc",
    "leapfrog",
    "neal_funnel_curvature",
    "neal_funnel_gradient",
    "neal_funnel_logpdf",
    "slope_curvature",
    "stability_limit",
]

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]

#: Energy error beyond which a trajectory counts as divergent; Stan's and PyMC's threshold.
DIVERGENCE_THRESHOLD = 1000.0


class Trajectory(NamedTuple):
    """A leapfrog trajectory, its start included.

    Attributes
    ----------
    positions, momenta : ndarray, shape (n_steps + 1, ..., d)
    """

    positions: Floats
    momenta: Floats


class HMCResult(NamedTuple):
    """What :func:`hmc` returns; the leading axes are those of its `start`.

    Attributes
    ----------
    draws : ndarray, shape (..., draws, d)
        The Markov chain. With a `start` of shape ``(chains, d)`` this is ArviZ's order.
    energy_error : ndarray, shape (..., draws)
        Energy at the end of each trajectory minus energy at its start.
    acceptance_probability : ndarray, shape (..., draws)
        ``min(1, exp(-energy_error))``, and 0 where the energy is not finite.
    accepted : ndarray of bool, shape (..., draws)
        Whether the chain moved to the end of the trajectory.
    divergent : ndarray of bool, shape (..., draws)
        Whether the energy error passed `DIVERGENCE_THRESHOLD` anywhere along the trajectory.
    """

    draws: Floats
    energy_error: Floats
    acceptance_probability: Floats
    accepted: NDArray[np.bool_]
    divergent: NDArray[np.bool_]


def leapfrog(
    position: ArrayLike,
    momentum: ArrayLike,
    gradient: Function,
    step_size: float,
    n_steps: int,
) -> Trajectory:
    """Follow Hamilton's equations for `n_steps` leapfrog steps.

    A step is half a step of the momentum, a whole step of the position, half a
    step of the momentum (Neal 2011, section 2.3). It is reversible and keeps
    volume, whatever the step size. The energy it keeps only roughly.

    Parameters
    ----------
    position, momentum : array_like, shape (..., d)
        Where the particle starts, and how fast (masses are 1).
    gradient : callable
        Gradient of the *log density*: the force that pulls the particle uphill.
    step_size : float
        Length of a step in time.
    n_steps : int
        Number of steps; the cost is ``n_steps + 1`` gradients.

    Returns
    -------
    Trajectory
        All ``n_steps + 1`` states. A trajectory that leaves the range of floating
        point numbers goes on as infinities and NaN.

    Raises
    ------
    ValueError
        If position and momentum differ in shape, or the step size or the number
        of steps is not positive.
    """
    q, p = np.asarray(position, dtype=float), np.asarray(momentum, dtype=float)
    if q.shape != p.shape:
        raise ValueError(f"position and momentum must have one shape, got {q.shape} and {p.shape}")
    step_size = _positive("step_size", step_size)
    n_steps = _count("n_steps", n_steps)

    positions, momenta = [q], [p]
    with np.errstate(over="ignore", invalid="ignore"):
        force = gradient(q)
        for _ in range(n_steps):
            p_half = p + step_size / 2 * force
            q = q + step_size * p_half
            force = gradient(q)
            p = p_half + step_size / 2 * force
            positions.append(q)
            momenta.append(p)
    return Trajectory(np.stack(positions), np.stack(momenta))


def hamiltonian(log_density: Function, position: Floats, momentum: Floats) -> Floats:
    """Energy: potential ``-log_density(position)`` plus kinetic ``|momentum|^2 / 2``.

    Parameters
    ----------
    log_density : callable
        Log density, up to a constant.
    position, momentum : ndarray, shape (..., d)
        For instance the two arrays of a `Trajectory`.

    Returns
    -------
    ndarray, shape (...)
        Energy; infinite or NaN where the trajectory has left the range of numbers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return 0.5 * np.sum(np.square(momentum), axis=-1) - log_density(position)


def hmc(
    log_density: Function,
    gradient: Function,
    start: ArrayLike,
    *,
    step_size: float,
    n_steps: int,
    draws: int,
    seed: int,
) -> HMCResult:
    """Sample with Hamiltonian Monte Carlo (Neal 2011, section 3.2).

    Each draw has a fresh standard normal momentum, one leapfrog trajectory, and
    one decision: to go to its end with probability ``min(1, exp(-energy_error))``
    or to stay. The decision is what makes the draws exact, whatever the step size.

    Parameters
    ----------
    log_density, gradient : callable
        Log density up to a constant, and its gradient.
    start : array_like, shape (..., d)
        First position of each chain; not part of the draws.
    step_size, n_steps : float, int
        Of every trajectory.
    draws : int
        Number of draws per chain; nothing is discarded as warm-up.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    HMCResult

    Raises
    ------
    TypeError
        If the seed is missing or not an integer.
    ValueError
        If the log density at `start` is not finite, or `step_size`, `n_steps`
        or `draws` is not positive.
    """
    q = np.asarray(start, dtype=float)
    if not np.all(np.isfinite(log_density(q))):
        raise ValueError(f"the log density at start must be finite, got {log_density(q)!r}")
    rng = np.random.default_rng(operator.index(seed))

    rows = []
    for _ in range(_count("draws", draws)):
        momentum = rng.standard_normal(q.shape)
        path = leapfrog(q, momentum, gradient, step_size, n_steps)
        energy = hamiltonian(log_density, path.positions, path.momenta)
        with np.errstate(invalid="ignore"):
            error = energy - energy[0]
        probability = acceptance_probability(error[-1])
        accepted = rng.uniform(size=probability.shape) < probability
        divergent = ~np.all(error <= DIVERGENCE_THRESHOLD, axis=0)  # NaN is not below it either
        q = np.where(accepted[..., np.newaxis], path.positions[-1], q)
        rows.append((q, error[-1], probability, accepted, divergent))

    positions, *statistics = zip(*rows, strict=True)
    return HMCResult(np.stack(positions, axis=-2), *(np.stack(s, axis=-1) for s in statistics))


def acceptance_probability(energy_error: Floats) -> Floats:
    """Metropolis probability ``min(1, exp(-energy_error))``; 0 if the error is NaN."""
    error = np.where(np.isnan(energy_error), np.inf, energy_error)
    return np.exp(-np.maximum(error, 0.0))


def stability_limit(curvature: ArrayLike) -> Floats:
    """Largest step size with which leapfrog is stable: ``2 / sqrt(curvature)``.

    On a normal density with standard deviation ``s`` the curvature of the log
    density is ``1 / s**2``, and the energy error stays bounded for steps below
    ``2 s`` and grows exponentially with every step above it (Neal 2011, section
    4.2). In several dimensions the largest curvature decides. On a density that is
    not normal the limit is local: it is that of the normal with this curvature.

    Parameters
    ----------
    curvature : array_like
        Minus the second derivative of the log density, positive.

    Returns
    -------
    ndarray
        Step sizes, same shape.

    Raises
    ------
    ValueError
        If a curvature is not positive.
    """
    return 2 / np.sqrt(_all_positive("curvature", curvature))


def neal_funnel_logpdf(position: ArrayLike) -> Floats:
    """Log density of Neal's funnel: ``v ~ N(0, 3)``, ``x_i ~ N(0, exp(v / 2))``.

    The second argument is a standard deviation. From Neal (2003), "Slice
    sampling", *Annals of Statistics* 31(3), section 8, who has nine x.

    Parameters
    ----------
    position : array_like, shape (..., d)
        ``v`` first, then the ``d - 1`` values of ``x``.

    Returns
    -------
    ndarray, shape (...)
        Log density, normalized.
    """
    v, x = _split(position)
    d = x.shape[-1]
    log_v = -0.5 * (v / 3) ** 2 - math.log(3)
    log_x = -0.5 * np.sum(x**2, axis=-1) * np.exp(-v) - 0.5 * d * v
    return log_v + log_x - 0.5 * (d + 1) * math.log(2 * math.pi)


def neal_funnel_gradient(position: ArrayLike) -> Floats:
    """Gradient of :func:`neal_funnel_logpdf`, shape ``(..., d)``.

    Parameters
    ----------
    position : array_like, shape (..., d)
        ``v`` first, then ``x``.

    Returns
    -------
    ndarray, shape (..., d)
        The derivative by ``v`` first, then those by ``x``.
    """
    v, x = _split(position)
    by_x = -x * np.exp(-v)[..., np.newaxis]
    by_v = -v / 9 - 0.5 * np.sum(x * by_x, axis=-1) - 0.5 * x.shape[-1]
    return np.concatenate([by_v[..., np.newaxis], by_x], axis=-1)


def neal_funnel_curvature(v: ArrayLike) -> Floats:
    """Curvature of Neal's funnel across, in any direction of x: ``exp(-v)``.

    In the neck it is the largest by far, so ``stability_limit`` of it is the
    largest step that works there: ``2 * exp(v / 2)``, which goes to 0 down the neck.

    Parameters
    ----------
    v : array_like
        Log variance of x.

    Returns
    -------
    ndarray
        Curvatures, same shape.
    """
    return np.exp(-np.asarray(v, dtype=float))


def slope_curvature(n_first_floor: ArrayLike, sigma_y: ArrayLike, sigma_b: ArrayLike) -> Floats:
    """Curvature of the radon posterior along one county's centered slope ``b_j``.

    With everything else held fixed the slope is normal, with precision ``n /
    sigma_y**2 + 1 / sigma_b**2``: the data's part and the prior's. Where a county
    has no first-floor home only the prior's is left.

    Parameters
    ----------
    n_first_floor : array_like
        Number of measurements in the county that inform its slope: first floor ones.
    sigma_y, sigma_b : array_like
        Standard deviations of homes within a county and of slopes between counties.

    Returns
    -------
    ndarray
        Curvatures, in the shape of the arguments broadcast against each other.

    Raises
    ------
    ValueError
        If a scale is not positive or a number negative.
    """
    n = np.asarray(n_first_floor, dtype=float)
    if not np.all(n >= 0):
        raise ValueError(f"n_first_floor must not be negative, got {n_first_floor!r}")
    sigma_y, sigma_b = _all_positive("sigma_y", sigma_y), _all_positive("sigma_b", sigma_b)
    return n / sigma_y**2 + 1 / sigma_b**2


def _split(position: ArrayLike) -> tuple[Floats, Floats]:
    q = np.asarray(position, dtype=float)
    if q.ndim == 0 or q.shape[-1] < 2:
        raise ValueError(f"a position in the funnel is (v, x_1, ...), got shape {q.shape}")
    return q[..., 0], q[..., 1:]


def _positive(name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive finite number, got {value!r}")
    return value


def _all_positive(name: str, value: ArrayLike) -> Floats:
    array = np.asarray(value, dtype=float)
    if not np.all(array > 0):
        raise ValueError(f"{name} must be positive, got {value!r}")
    return array


def _count(name: str, value: int) -> int:
    if operator.index(value) < 1:
        raise ValueError(f"{name} must be at least 1, got {value!r}")
    return value
