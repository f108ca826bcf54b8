"""The quadrature against densities whose integrals are known."""

import math

import numpy as np
import pytest
from scipy import stats

from funnel import quadrature
from funnel.quadrature import Axis, Grid, integrate


def log_density_of(*distributions):
    return lambda points: sum(d.logpdf(x) for d, x in zip(distributions, points.T, strict=True))


LIGHT = [stats.halfnorm(scale=0.3), stats.gamma(2, scale=4.0), stats.gamma(1600, scale=5e-4)]


@pytest.fixture(scope="module")
def light():
    log_density = log_density_of(*LIGHT)
    return integrate(lambda points: 7 + log_density(points), 1.0, [2, 2, 2])


def test_moments_and_total_of_known_densities(light):
    coarse, fine, error = light
    assert error < quadrature.TOLERANCE
    for grid in (coarse, fine):
        assert grid.log_total == pytest.approx(7, abs=1e-6)
        for k, known in enumerate(LIGHT):
            sigma, mass = grid.marginal(k)
            mean = mass @ sigma
            assert mean == pytest.approx(known.mean(), rel=1e-6)
            assert mass @ (sigma - mean) ** 2 == pytest.approx(known.var(), rel=1e-5)


def test_functions_of_known_densities(light):
    grid = light[1]
    for k, known in enumerate(LIGHT):
        p = np.array([1e-3, 0.1, 0.5, 0.9, 0.999])
        x = known.ppf(p)
        np.testing.assert_allclose(grid.cdf(k, x), p, atol=2e-6)
        np.testing.assert_allclose(grid.quantile(k, p), x, rtol=5e-5)
        np.testing.assert_allclose(grid.density(k, x), known.pdf(x), rtol=2e-3)
        np.testing.assert_allclose(grid.density(k, np.array([-1.0])), 0)


def test_draws_of_known_densities(light):
    drawn = light[1].draw(np.random.default_rng(1), 8000)
    for k, known in enumerate(LIGHT):
        assert stats.kstest(drawn[:, k], known.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("distribution", "finite"),
    [
        (stats.halfcauchy(scale=3.0), 0),
        (stats.betaprime(1, 2, scale=3.0), 1),
        (stats.betaprime(1, 3, scale=3.0), 2),
    ],
)
def test_long_tails_are_not_cut_off(distribution, finite):
    coarse, fine, error = integrate(log_density_of(distribution), 1.0, [finite])
    assert fine.axes[0].high == 1
    assert error < quadrature.TOLERANCE
    x = np.array([0.01, 1, 100, 1e4])
    np.testing.assert_allclose(fine.cdf(0, x), distribution.cdf(x), atol=1e-6)
    sigma, mass = coarse.marginal(0)
    if finite >= 1:
        assert mass @ sigma == pytest.approx(distribution.mean(), rel=1e-5)
    if finite >= 2:
        variance = mass @ (sigma - mass @ sigma) ** 2
        # The variance of betaprime(1, 3) is 3/4, its scale apart.
        assert variance == pytest.approx(9 * 0.75, rel=1e-5)


def test_a_ridge_is_resolved():
    """Two scales of which only the sum of squares is known, to 5%."""

    def log_density(points):
        radius = np.hypot(*points.T)
        return stats.norm(2, 0.1).logpdf(radius) - np.log(np.pi / 2 * radius)

    _, fine, error = integrate(log_density, 1.0, [2, 2])
    assert error < quadrature.TOLERANCE
    assert fine.log_total == pytest.approx(0, abs=1e-6)
    drawn = fine.draw(np.random.default_rng(2), 4000)
    assert stats.kstest(np.hypot(*drawn.T), stats.norm(2, 0.1).cdf).pvalue > 1e-3
    angle = np.arctan2(drawn[:, 1], drawn[:, 0]) / (np.pi / 2)
    assert stats.kstest(angle, "uniform").pvalue > 1e-3


def test_mass_at_an_edge_is_part_of_the_error(monkeypatch):
    log_density = log_density_of(stats.gamma(4))
    good = integrate(log_density, 1.0, [2])[2]
    assert good < quadrature.TOLERANCE
    for low, high in ((-1.0, 0.1), (-0.3, 1.0)):
        monkeypatch.setattr(
            quadrature, "_find_bulk", lambda *_, ends=(low, high): [Axis(4.0, *ends)]
        )
        assert integrate(log_density, 1.0, [2])[2] > 10 * quadrature.TOLERANCE


def test_what_cannot_be_resolved_is_reported():
    # The density is 1 / x near zero: its integral diverges, however slowly.
    assert integrate(lambda x: -np.log(x[:, 0]) - x[:, 0], 1.0, [2])[2] > quadrature.TOLERANCE

    def steeper(x):
        with np.errstate(divide="ignore"):
            return -3 * np.log(x[:, 0]) - x[:, 0]

    with pytest.raises(ValueError, match="no peak"):
        integrate(steeper, 1.0, [2])


def test_the_largest_grid_is_kept_within_bounds(monkeypatch):
    monkeypatch.setattr(quadrature, "MAX_NODES", 1000)
    log_density = log_density_of(stats.halfnorm(), stats.lognorm(3))
    _, fine, error = integrate(log_density, 1.0, [2, 2])
    assert fine.mass.size < 1000 * 1.8**2
    assert error > quadrature.TOLERANCE


def test_axis_runs_between_its_ends():
    axis = Axis(unit=2.5, low=-1.0, high=0.8, n=9)
    z = np.linspace(-1, 1, 11)
    sigma = axis.sigma(axis.t_at(z))
    assert sigma[0] == 0
    t, back = axis.locate(sigma)
    np.testing.assert_allclose(back, z, atol=1e-12)
    np.testing.assert_allclose(t, axis.t_at(z), atol=1e-12)
    np.testing.assert_allclose(
        axis.slope(axis.t_at(z[1:-1])),
        (axis.sigma(axis.t_at(z[1:-1] + 1e-6)) - axis.sigma(axis.t_at(z[1:-1] - 1e-6))) / 2e-6,
        rtol=1e-6,
    )
    # The series through the nodes is exact for polynomials of degree below n.
    nodes = np.polynomial.legendre.leggauss(9)[0]
    series = axis.to_series @ (axis.weights * (nodes**8 - nodes))
    np.testing.assert_allclose(
        np.polynomial.legendre.legval(0.37, series), 0.37**8 - 0.37, rtol=1e-12
    )


def test_kernels_are_plain_python_underneath():
    rng = np.random.default_rng(3)
    series = np.array([0.5, 0.1, -0.2, 0.05])
    axes = [Axis(1.0, n=n) for n in (4, 3, 5)]
    grid = Grid.evaluate(log_density_of(*[stats.halfnorm()] * 3), axes)
    matrices = [axis.to_series for axis in axes]
    cases = [
        (quadrature._polynomials, (0.3, 5)),
        (quadrature._invert_series, (series, 0.01)),
        (quadrature._invert_series, (series, 0.97)),
        # A density that is almost zero in the middle: Newton leaves the bracket.
        (quadrature._invert_series, (np.array([0.5, 0.1, 0.999]), 0.4)),
        (quadrature._apply, (matrices[0], rng.random(4))),
        (quadrature._draw_on_grid, (grid.mass, *matrices, rng.random((5, 3)))),
    ]
    for kernel, arguments in cases:
        np.testing.assert_allclose(kernel(*arguments), kernel.py_func(*arguments), rtol=1e-9)
    z = quadrature._invert_series(series, 0.3)
    cdf = np.polynomial.legendre.legint(series, lbnd=-1)
    assert np.polynomial.legendre.legval(z, cdf) == pytest.approx(0.3)
    assert math.isclose(quadrature._polynomials(0.3, 2)[2], 1.5 * 0.09 - 0.5)
