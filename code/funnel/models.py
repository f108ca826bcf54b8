"""The course's models in PyMC.

Every effect that varies between groups comes in a family of *parameterizations*
of one and the same model. Write ``a`` for the effects, ``mu`` and ``sigma`` for
their mean and standard deviation. With centeredness λ the sampler sees

    z ~ Normal(λ mu, sigma^λ),        a = mu + sigma^(1-λ) (z - λ mu).

At λ = 1, *centered*, z is ``a`` itself. At λ = 0, *noncentered*, z is standard
normal whatever ``mu`` and ``sigma`` are. This is the family of Gorinova, Moore and
Hoffman (2020), "Automatic reparameterisation of probabilistic programs", *ICML*;
between the two ends are partially noncentered parameterizations in the sense of
Papaspiliopoulos, Roberts and Sköld (2007), "A general framework for the
parametrization of hierarchical models", *Statistical Science* 22(1).

Names of the variables are the same everywhere: ``mu_a sigma_a a`` for the county
intercepts, ``mu_b sigma_b b`` for the county slopes, ``sigma_y`` for the homes
within a county. ``a`` and ``b`` exist in every parameterization; unless the
effect is centered, the sampler moves ``a_offset`` or ``b_offset``, the z above.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Literal

import numpy as np
import pandas as pd
import pymc as pm
from numpy.typing import ArrayLike, NDArray
from pytensor.graph.basic import Variable
from pytensor.tensor import TensorVariable

from funnel.data import check_homes, check_schools, check_states
from funnel.priors import (
    EIGHT_SCHOOLS,
    EightSchoolsPriors,
    HalfNormal,
    Hyperpriors,
    Normal,
    ScalePrior,
    check_priors,
)

__all__ = [
    "Parameterization",
    "add_effects",
    "centeredness_of",
    "correlated_slopes",
    "eight_schools",
    "marginal_slopes",
    "neal_funnel",
    "pooled",
    "three_level",
    "unpooled",
    "varying_intercepts",
    "varying_slopes",
]

#: ``"centered"``, ``"noncentered"``, or a centeredness between 0 and 1: one for all
#: groups, or one per group.
Parameterization = Literal["centered", "noncentered"] | float | ArrayLike

#: Priors of what only :func:`three_level` has, unless others are given: the scale of the
#: states, that of the logarithms of their noises, and the slope over log uranium.
BETWEEN_STATES, BETWEEN_NOISES, URANIUM = HalfNormal(1), HalfNormal(0.5), Normal(0, 1)


def pooled(homes: pd.DataFrame, priors: Hyperpriors) -> pm.Model:
    """One regression line for all counties.

    Parameters
    ----------
    homes : pandas.DataFrame
        One row per home, with columns ``county``, ``floor`` and ``log_radon``
        (see :func:`funnel.data.check_homes`).
    priors : Hyperpriors
        `mu_a` is the prior of the intercept, `mu_b` that of the slope,
        `sigma_y` that of the noise. The other two are not used.

    Returns
    -------
    pymc.Model
        Variables ``mu_a``, ``mu_b``, ``sigma_y`` and the observed ``y``, in log
        pCi/L.

    Raises
    ------
    ValueError
        If `homes` is not a table of homes.
    TypeError
        If `priors` is not a `Hyperpriors`.
    """
    homes = _check_radon(homes, priors)
    with pm.Model(coords=_radon_coords(homes)) as model:
        mu_a = priors.mu_a.to_pymc("mu_a")
        mu_b = priors.mu_b.to_pymc("mu_b")
        sigma_y = priors.sigma_y.to_pymc("sigma_y")
        _observe(homes, mu_a + mu_b * homes["floor"].to_numpy(), sigma_y)
    return model


def unpooled(homes: pd.DataFrame, priors: Hyperpriors) -> pm.Model:
    """One regression line per county, each from that county's homes alone.

    Nothing is shared but the noise ``sigma_y``. The slope of a county without a
    first-floor measurement keeps its prior.

    Parameters
    ----------
    homes : pandas.DataFrame
        As in :func:`pooled`.
    priors : Hyperpriors
        `mu_a` is the prior of every county's intercept, `mu_b` that of every
        county's slope, `sigma_y` that of the noise. The other two are not used.

    Returns
    -------
    pymc.Model
        Variables ``a`` and ``b`` (one per county), ``sigma_y`` and the observed
        ``y``, in log pCi/L.

    Raises
    ------
    ValueError
        If `homes` is not a table of homes.
    TypeError
        If `priors` is not a `Hyperpriors`.
    """
    homes = _check_radon(homes, priors)
    county, floor = homes["county"].cat.codes.to_numpy(), homes["floor"].to_numpy()
    with pm.Model(coords=_radon_coords(homes)) as model:
        a = pm.Normal("a", priors.mu_a.mean, priors.mu_a.sd, dims="county")
        b = pm.Normal("b", priors.mu_b.mean, priors.mu_b.sd, dims="county")
        sigma_y = priors.sigma_y.to_pymc("sigma_y")
        _observe(homes, a[county] + b[county] * floor, sigma_y)
    return model


def varying_intercepts(
    homes: pd.DataFrame, priors: Hyperpriors, *, intercepts: Parameterization
) -> pm.Model:
    """County intercepts that share a hierarchical prior, and one common slope.

    Parameters
    ----------
    homes : pandas.DataFrame
        As in :func:`pooled`.
    priors : Hyperpriors
        Priors of the top-level parameters; `mu_b` is the prior of the common
        slope, `sigma_b` is not used.
    intercepts : {"centered", "noncentered"}, float or array
        Parameterization of ``a``, as in :func:`varying_slopes`.

    Returns
    -------
    pymc.Model
        Variables ``mu_a``, ``sigma_a``, ``a`` (one per county), ``mu_b`` (the
        common slope), ``sigma_y`` and the observed ``y``, in log pCi/L.

    Raises
    ------
    ValueError
        If `homes` is not a table of homes, or `intercepts` no parameterization.
    TypeError
        If `priors` is not a `Hyperpriors`.
    """
    homes = _check_radon(homes, priors)
    county, floor = homes["county"].cat.codes.to_numpy(), homes["floor"].to_numpy()
    with pm.Model(coords=_radon_coords(homes)) as model:
        mu_a = priors.mu_a.to_pymc("mu_a")
        sigma_a = priors.sigma_a.to_pymc("sigma_a")
        a = add_effects("a", mu_a, sigma_a, intercepts, dims="county")
        mu_b = priors.mu_b.to_pymc("mu_b")
        sigma_y = priors.sigma_y.to_pymc("sigma_y")
        _observe(homes, a[county] + mu_b * floor, sigma_y)
    return model


def varying_slopes(
    homes: pd.DataFrame,
    priors: Hyperpriors,
    *,
    intercepts: Parameterization,
    slopes: Parameterization,
) -> pm.Model:
    """County intercepts and county slopes, each with a hierarchical prior.

    Parameters
    ----------
    homes : pandas.DataFrame
        As in :func:`pooled`.
    priors : Hyperpriors
        Priors of the five top-level parameters.
    intercepts, slopes : {"centered", "noncentered"}, float or array
        Parameterization of ``a`` and of ``b``: by name, or a centeredness
        between 0 (noncentered) and 1 (centered), or an array with one for each
        county, in the order of the categories. There is no default, because
        the choice is what the course is about. It changes how the sampler moves,
        never the model.

    Returns
    -------
    pymc.Model
        Variables ``mu_a``, ``sigma_a``, ``mu_b``, ``sigma_b``, ``a`` and ``b``
        (one per county), ``sigma_y`` and the observed ``y``, in log pCi/L.

    Raises
    ------
    ValueError
        If `homes` is not a table of homes, or `intercepts` or `slopes` no
        parameterization.
    TypeError
        If `priors` is not a `Hyperpriors`.
    """
    homes = _check_radon(homes, priors)
    county, floor = homes["county"].cat.codes.to_numpy(), homes["floor"].to_numpy()
    with pm.Model(coords=_radon_coords(homes)) as model:
        # Between counties
        mu_a, sigma_a, mu_b, sigma_b = _between_counties(priors)
        # One intercept and one slope per county
        a = add_effects("a", mu_a, sigma_a, intercepts, dims="county")
        b = add_effects("b", mu_b, sigma_b, slopes, dims="county")
        # Homes within a county
        sigma_y = priors.sigma_y.to_pymc("sigma_y")
        _observe(homes, a[county] + b[county] * floor, sigma_y)
    return model


def correlated_slopes(
    homes: pd.DataFrame,
    priors: Hyperpriors,
    *,
    intercepts: Parameterization,
    slopes: Parameterization,
    eta: float = 2.0,
) -> pm.Model:
    """County intercepts and slopes that are correlated with each other.

    The pair ``(a, b)`` of a county is bivariate normal, with means ``mu_a`` and
    ``mu_b``, standard deviations ``sigma_a`` and ``sigma_b`` and correlation
    ``rho``. The Cholesky factor of its covariance,

        L = [[sigma_a, 0], [rho sigma_b, sqrt(1 - rho^2) sigma_b]],

    says how to build the pair in two steps: first ``a``, then ``b`` around a mean
    that depends on ``a``,

        b ~ Normal(mu_b + rho sigma_b (a - mu_a) / sigma_a, sqrt(1 - rho^2) sigma_b).

    Parameters
    ----------
    homes : pandas.DataFrame
        As in :func:`pooled`.
    priors : Hyperpriors
        Priors of the five top-level parameters of :func:`varying_slopes`.
    intercepts, slopes : {"centered", "noncentered"}, float or array
        Parameterization of ``a``, and of ``b`` given ``a``, as in
        :func:`varying_slopes`. With both noncentered, ``(a, b) = mu + L z``.
    eta : float
        Parameter of the LKJ prior, under which ``rho`` has a density proportional
        to ``(1 - rho^2)^(eta - 1)``: flat at 1, closer to no correlation the larger
        `eta`. Lewandowski, Kurowicka and Joe (2009), "Generating random correlation
        matrices based on vines and extended onion method", *Journal of Multivariate
        Analysis* 100(9). For two effects it is a beta distribution, and is written
        as one; ``pymc.LKJCholeskyCov`` is for any number.

    Returns
    -------
    pymc.Model
        Variables as in :func:`varying_slopes`, and ``rho``, for which the sampler
        moves ``rho_share``, the same on the scale from 0 to 1.

    Raises
    ------
    ValueError
        If `homes` is not a table of homes, `intercepts` or `slopes` no
        parameterization, or `eta` no positive number.
    TypeError
        If `priors` is not a `Hyperpriors`.
    """
    homes = _check_radon(homes, priors)
    _check_eta(eta)
    county, floor = homes["county"].cat.codes.to_numpy(), homes["floor"].to_numpy()
    with pm.Model(coords=_radon_coords(homes)) as model:
        # Between counties
        mu_a, sigma_a, mu_b, sigma_b = _between_counties(priors)
        rho = pm.Deterministic("rho", 2 * pm.Beta("rho_share", float(eta), float(eta)) - 1)
        # One pair per county
        a = add_effects("a", mu_a, sigma_a, intercepts, dims="county")
        mean_b = mu_b + rho * sigma_b * (a - mu_a) / sigma_a
        b = add_effects("b", mean_b, sigma_b * pm.math.sqrt(1 - rho**2), slopes, dims="county")
        # Homes within a county
        sigma_y = priors.sigma_y.to_pymc("sigma_y")
        _observe(homes, a[county] + b[county] * floor, sigma_y)
    return model


def marginal_slopes(homes: pd.DataFrame, priors: Hyperpriors) -> pm.Model:
    """Model of :func:`varying_slopes` with intercepts and slopes integrated out.

    Only the five top-level parameters are left. Take a county with mean ``m0`` of
    its ``n0`` basement homes and mean ``m1`` of its ``n1`` first-floor homes. With
    its effects integrated out, ``(sqrt(n0) m0, sqrt(n1) m1)`` is bivariate normal
    with covariance

        sigma_y^2 I + sigma_a^2 u u' + sigma_b^2 w w',
        u = (sqrt(n0), sqrt(n1)),    w = (0, sqrt(n1)),

    and the deviations of the homes from these means depend on ``sigma_y`` alone.

    Parameters
    ----------
    homes : pandas.DataFrame
        As in :func:`pooled`.
    priors : Hyperpriors
        Priors of the five top-level parameters.

    Returns
    -------
    pymc.Model
        Variables ``mu_a``, ``sigma_a``, ``mu_b``, ``sigma_b`` and ``sigma_y``. The
        measurements enter through the potential ``log_likelihood``, with every
        constant kept: the log density of all measurements, in log pCi/L.

    Raises
    ------
    ValueError
        If `homes` is not a table of homes.
    TypeError
        If `priors` is not a `Hyperpriors`.
    """
    homes = _check_radon(homes, priors)
    cells = homes.groupby(["county", "floor"], observed=False)["log_radon"]
    count = cells.size().unstack(fill_value=0).reindex(columns=[0, 1], fill_value=0).to_numpy(float)
    mean = cells.mean().unstack().reindex(columns=[0, 1]).fillna(0.0).to_numpy()
    within = float(((homes["log_radon"] - cells.transform("mean")) ** 2).sum())
    (n0, n1), (m0, m1) = count.T, mean.T
    with pm.Model() as model:
        mu_a, sigma_a, mu_b, sigma_b = _between_counties(priors)
        sigma_y = priors.sigma_y.to_pymc("sigma_y")
        va, vb, vy = sigma_a**2, sigma_b**2, sigma_y**2
        # Deviations of the two means, and their covariance.
        d0, d1 = np.sqrt(n0) * (m0 - mu_a), np.sqrt(n1) * (m1 - mu_a - mu_b)
        v0, v1, v01 = vy + n0 * va, vy + n1 * (va + vb), np.sqrt(n0 * n1) * va
        # Their determinant, as a sum in which nothing cancels.
        det = vy * (vy + n0 * va + n1 * (va + vb)) + n0 * n1 * va * vb
        square = (v1 * d0**2 - 2 * v01 * d0 * d1 + v0 * d1**2) / det
        # A floor without homes adds a zero of variance vy, and its degree of freedom.
        rest = (len(homes) - 2 * len(n0)) * pm.math.log(vy) + within / vy
        total = pm.math.sum(pm.math.log(det) + square) + rest
        constant = len(homes) * math.log(2 * math.pi)
        pm.Potential("log_likelihood", -0.5 * (total + constant))
    return model


def three_level(
    homes: pd.DataFrame,
    priors: Hyperpriors,
    *,
    states: Parameterization,
    intercepts: Parameterization,
    slopes: Parameterization,
    noise: Literal["common", "state"] = "common",
    between_states: ScalePrior = BETWEEN_STATES,
    between_noises: ScalePrior = BETWEEN_NOISES,
    uranium: Normal = URANIUM,
    eta: float = 2.0,
) -> pm.Model:
    """Homes in counties in states, with uranium in the soil to tell counties apart.

    State ``s`` has the effect ``alpha``, drawn around ``mu_a`` with standard deviation
    ``sigma_s``. The pair ``(a, b)`` of a county is that of :func:`correlated_slopes`,
    only that the mean of its intercept is

        alpha[state] + gamma (log_uranium - log_uranium_mean),

    where the mean is over counties.

    The homes enter through what is sufficient for them, so that a gradient costs a sum
    over counties and not over homes: the mean of each county's homes on each floor,
    which is ``Normal(a + b floor, sigma_y / sqrt(n))``, and the sum of their squared
    deviations from it, whose density is proportional to
    ``sigma_y^-df exp(-sum / (2 sigma_y^2))`` with df homes less means. The posterior is
    that of the homes one by one.

    Parameters
    ----------
    homes : pandas.DataFrame
        One row per home, with the columns of :func:`funnel.data.check_homes`,
        ``state`` and ``log_uranium`` (see :func:`funnel.data.check_states`).
    priors : Hyperpriors
        Priors of ``mu_a``, ``sigma_a``, ``mu_b``, ``sigma_b`` and ``sigma_y``.
    states, intercepts, slopes : {"centered", "noncentered"}, float or array
        Parameterization of ``alpha``, of ``a``, and of ``b`` given ``a``.
    noise : {"common", "state"}
        Whether the homes of all states share one standard deviation, ``sigma_y``, or
        each state has its own, ``sigma_home``, whose logarithm is drawn around that
        of ``sigma_y`` with standard deviation ``omega``.
    between_states, between_noises : ScalePrior
        Prior of ``sigma_s``, and of ``omega``.
    uranium : Normal
        Prior of ``gamma``.
    eta : float
        As in :func:`correlated_slopes`.

    Returns
    -------
    pymc.Model
        Variables ``mu_a``, ``sigma_s``, ``alpha`` (one per state), ``gamma``,
        ``sigma_a``, ``a``, ``mu_b``, ``sigma_b``, ``rho``, ``b`` and ``sigma_y``, with
        noise by state ``omega`` and ``sigma_home`` too, the observed ``cell_mean`` and
        the potential ``within``.

    Raises
    ------
    ValueError
        If `homes` is not such a table, or an argument not one of its values.
    TypeError
        If a prior is not of its kind.
    """
    check_priors(priors, Hyperpriors)
    homes = check_states(homes)
    if noise not in ("common", "state"):
        raise ValueError(f"noise must be 'common' or 'state', got {noise!r}")
    for name, prior, kind in (
        ("between_states", between_states, ScalePrior),
        ("between_noises", between_noises, ScalePrior),
        ("uranium", uranium, Normal),
    ):
        if not isinstance(prior, kind):
            raise TypeError(f"{name} must be a {kind.__name__}, got {prior!r}")
    _check_eta(eta)
    counties, cells, rest = _sufficient(homes)
    state = counties["state"].cat.codes.to_numpy()
    soil = (counties["log_uranium"] - counties["log_uranium"].mean()).to_numpy()
    county, floor = cells["county"].cat.codes.to_numpy(), cells["floor"].to_numpy()
    coords = {"state": rest.index.to_numpy(), "county": counties.index.to_numpy()}
    with pm.Model(coords=coords | {"cell": np.arange(len(cells))}) as model:
        # Between states
        mu_a = priors.mu_a.to_pymc("mu_a")
        sigma_s = between_states.to_pymc("sigma_s")
        alpha = add_effects("alpha", mu_a, sigma_s, states, dims="state")
        # Between the counties of a state
        gamma = uranium.to_pymc("gamma")
        sigma_a = priors.sigma_a.to_pymc("sigma_a")
        mu_b = priors.mu_b.to_pymc("mu_b")
        sigma_b = priors.sigma_b.to_pymc("sigma_b")
        rho = pm.Deterministic("rho", 2 * pm.Beta("rho_share", float(eta), float(eta)) - 1)
        mean_a = alpha[state] + gamma * soil
        a = add_effects("a", mean_a, sigma_a, intercepts, dims="county")
        mean_b = mu_b + rho * sigma_b * (a - mean_a) / sigma_a
        b = add_effects("b", mean_b, sigma_b * pm.math.sqrt(1 - rho**2), slopes, dims="county")
        # Homes within a county, on one floor: a standard deviation per state
        sigma_y = priors.sigma_y.to_pymc("sigma_y")
        log_sigma = pm.math.log(sigma_y) * np.ones(len(rest))
        if noise == "state":
            omega = between_noises.to_pymc("omega")
            log_sigma = pm.Normal("log_sigma_home", log_sigma, omega, dims="state")
            pm.Deterministic("sigma_home", pm.math.exp(log_sigma), dims="state")
        sigma_home = pm.math.exp(log_sigma)
        pm.Normal(
            "cell_mean",
            a[county] + b[county] * floor,
            sigma_home[state[county]] / np.sqrt(cells["size"].to_numpy()),
            observed=cells["mean"].to_numpy(),
            dims="cell",
        )
        df, squares = (rest[column].to_numpy(float) for column in ("df", "squares"))
        pm.Potential("within", -pm.math.sum(df * log_sigma + squares / (2 * sigma_home**2)))
    return model


def _sufficient(homes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Reduce homes to a table of counties, one of cells, and one of what is left per state."""
    counties = homes.groupby("county", observed=False)[["state", "log_uranium"]].first()
    counties["state"] = counties["state"].astype(homes["state"].dtype)
    grouped = homes.groupby(["county", "floor"], observed=True)["log_radon"]
    cells = grouped.agg(["size", "mean"]).reset_index()
    squares = (homes["log_radon"] - grouped.transform("mean")) ** 2
    means = cells["county"].map(counties["state"]).value_counts()
    by_state = squares.groupby(homes["state"], observed=False).agg(["size", "sum"])
    rest = pd.DataFrame({"df": by_state["size"] - means, "squares": by_state["sum"]})
    return counties, cells, rest


def eight_schools(
    schools: pd.DataFrame,
    priors: EightSchoolsPriors = EIGHT_SCHOOLS,
    *,
    effects: Parameterization,
) -> pm.Model:
    """Rubin's eight schools: effects with known standard errors.

    Rubin (1981), "Estimation in parallel randomized experiments", *Journal of
    Educational Statistics* 6(4).

    Parameters
    ----------
    schools : pandas.DataFrame
        One row per school, with columns ``school``, ``effect`` and ``se``.
    priors : EightSchoolsPriors
        Priors of the two top-level parameters.
    effects : {"centered", "noncentered"}, float or array
        Parameterization of ``theta``, as in :func:`varying_slopes`. Unless it is
        centered, the sampler moves ``theta_offset``.

    Returns
    -------
    pymc.Model
        Variables ``mu``, ``tau``, ``theta`` (one per school) and the observed
        ``y``, in points of the test.

    Raises
    ------
    ValueError
        If `schools` is not a table of schools, or `effects` no parameterization.
    TypeError
        If `priors` is not an `EightSchoolsPriors`.
    """
    check_priors(priors, EightSchoolsPriors)
    schools = check_schools(schools)
    with pm.Model(coords={"school": schools["school"].to_numpy()}) as model:
        mu = priors.mu.to_pymc("mu")
        tau = priors.tau.to_pymc("tau")
        theta = add_effects("theta", mu, tau, effects, dims="school")
        pm.Normal(
            "y",
            mu=theta,
            sigma=schools["se"].to_numpy(),
            observed=schools["effect"].to_numpy(),
            dims="school",
        )
    return model


def neal_funnel(dimensions: int = 9, *, x: Parameterization) -> pm.Model:
    """Neal's funnel: a hierarchical prior and no data.

    ``v ~ Normal(0, 3)`` and, for each dimension, ``x ~ Normal(0, exp(v / 2))``,
    both written mean, standard deviation. From Neal (2003), "Slice sampling",
    *Annals of Statistics* 31(3), section 8.

    Parameters
    ----------
    dimensions : int
        Number of ``x``; Neal has nine.
    x : {"centered", "noncentered"}, float or array
        Parameterization of ``x``, as in :func:`varying_slopes`. Neal's is the
        centered one. Unless it is centered, the sampler moves ``x_offset``.

    Returns
    -------
    pymc.Model
        Variables ``v`` and ``x``.

    Raises
    ------
    ValueError
        If `dimensions` is not a positive whole number, or `x` no
        parameterization.
    """
    if isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions < 1:
        raise ValueError(f"dimensions must be a positive whole number, got {dimensions!r}")
    with pm.Model(coords={"dimension": np.arange(1, dimensions + 1)}) as model:
        v = pm.Normal("v", 0, 3)
        add_effects("x", 0.0, pm.math.exp(v / 2), x, dims="dimension")
    return model


def add_effects(
    name: str,
    mu: TensorVariable | float,
    sigma: TensorVariable,
    parameterization: Parameterization | Variable,
    *,
    dims: str,
) -> TensorVariable:
    """Add the effects ``name ~ Normal(mu, sigma)``, one per group, to the model in context.

    Parameters
    ----------
    name : str
        Name of the effects. Unless all are centered, the sampler moves
        ``name_offset``, the z at the head of this module.
    mu, sigma : tensor or float
        Their mean, of one value or one per group, and their standard deviation.
    parameterization : {"centered", "noncentered"}, float, array or pymc.Data
        As in :func:`varying_slopes`. Given as ``pymc.Data`` it is not checked, and can
        be another one without compiling the model anew.
    dims : str
        The dimension of the groups.

    Returns
    -------
    tensor
        The effects, shape (groups,).

    Raises
    ------
    ValueError
        If `parameterization` is none, or does not have one value per group.
    """
    if isinstance(parameterization, Variable):
        centeredness = parameterization
    elif np.ndim(parameterization):
        centeredness = _one_per_group(parameterization, dims)
    else:
        centeredness = centeredness_of(parameterization)
        if centeredness == 1:
            return pm.Normal(name, mu, sigma, dims=dims)
        if centeredness == 0:
            z = pm.Normal(f"{name}_offset", 0, 1, dims=dims)
            return pm.Deterministic(name, mu + sigma * z, dims=dims)
    # Powers of sigma, by its logarithm: several times faster than `**` for one per group.
    log_sigma = pm.math.log(sigma)
    spread = pm.math.exp(centeredness * log_sigma)
    z = pm.Normal(f"{name}_offset", centeredness * mu, spread, dims=dims)
    rest = pm.math.exp((1 - centeredness) * log_sigma)
    return pm.Deterministic(name, mu + rest * (z - centeredness * mu), dims=dims)


def centeredness_of(parameterization: Parameterization) -> float:
    """Turn a parameterization, given by name or number, into a centeredness.

    Parameters
    ----------
    parameterization : {"centered", "noncentered"} or float
        As in :func:`varying_slopes`, one for all groups.

    Returns
    -------
    float
        Between 0 (noncentered) and 1 (centered).

    Raises
    ------
    ValueError
        If it is neither one of the names nor a number between 0 and 1.
    """
    named = {"centered": 1.0, "noncentered": 0.0}
    if isinstance(parameterization, str) and parameterization in named:
        return named[parameterization]
    if isinstance(parameterization, Real) and not isinstance(parameterization, bool):
        value = float(parameterization)
        if math.isfinite(value) and 0 <= value <= 1:
            return value
    raise ValueError(
        "a parameterization is 'centered', 'noncentered' or a centeredness between 0 and 1, "
        f"got {parameterization!r}"
    )


def _one_per_group(centeredness: ArrayLike, dims: str) -> NDArray[np.float64]:
    values, groups = np.asarray(centeredness), len(pm.modelcontext(None).coords[dims])
    if values.shape != (groups,) or values.dtype.kind not in "fiu":
        raise ValueError(
            f"centeredness must be one number or one per {dims}, {groups} in all, got "
            f"{values.dtype} of shape {values.shape}"
        )
    wrong = values[~((values >= 0) & (values <= 1))]
    if len(wrong):
        raise ValueError(f"every centeredness must be between 0 and 1, got {wrong[0]}")
    return values.astype(np.float64)


def _check_eta(eta: float) -> None:
    if isinstance(eta, bool) or not isinstance(eta, Real) or not 0 < eta < math.inf:
        raise ValueError(f"eta must be a positive finite number, got {eta!r}")


def _check_radon(homes: pd.DataFrame, priors: Hyperpriors) -> pd.DataFrame:
    check_priors(priors, Hyperpriors)
    return check_homes(homes)


def _radon_coords(homes: pd.DataFrame) -> dict[str, np.ndarray]:
    return {
        "county": homes["county"].cat.categories.to_numpy(),
        "home": np.arange(len(homes)),
    }


def _between_counties(
    priors: Hyperpriors,
) -> tuple[TensorVariable, TensorVariable, TensorVariable, TensorVariable]:
    """Add mean and scale of the intercepts, and of the slopes, to the model in context."""
    return (
        priors.mu_a.to_pymc("mu_a"),
        priors.sigma_a.to_pymc("sigma_a"),
        priors.mu_b.to_pymc("mu_b"),
        priors.sigma_b.to_pymc("sigma_b"),
    )


def _observe(homes: pd.DataFrame, mean: TensorVariable, sigma_y: TensorVariable) -> None:
    """Add the measurements ``y`` to the model in context."""
    pm.Normal("y", mean, sigma_y, observed=homes["log_radon"].to_numpy(float), dims="home")
