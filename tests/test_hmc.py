"""The plain HMC: an integrator with the right geometry, and a sampler with the right answer."""

import arviz as az
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from funnel import hmc


def normal(sd):
    """Log density and gradient of independent normals."""
    sd = np.asarray(sd, dtype=float)
    return (
        lambda q: -0.5 * np.sum((q / sd) ** 2, axis=-1),
        lambda q: -q / sd**2,
    )


def noncentered_funnel():
    """Neal's funnel in the coordinates (v, x exp(-v/2)): a normal."""
    return normal([3.0] + [1.0] * 9)


seeds = st.integers(0, 2**32 - 1)
widths = st.floats(0.01, 100)


# ---- leapfrog


def test_one_step_by_hand():
    path = hmc.leapfrog([1.0], [0.5], lambda q: -q, 0.2, 1)
    # p: 0.5 - 0.1; q: 1 + 0.2 * 0.4; p: 0.4 - 0.1 * 1.08
    np.testing.assert_allclose(path.positions, [[1.0], [1.08]])
    np.testing.assert_allclose(path.momenta, [[0.5], [0.292]])


@settings(deadline=None)
@given(seed=seeds, step_size=st.floats(0.001, 0.3), n_steps=st.integers(1, 30))
def test_leapfrog_is_reversible(seed, step_size, n_steps):
    q, p = np.random.default_rng(seed).normal(size=(2, 4))
    there = hmc.leapfrog(q, p, hmc.neal_funnel_gradient, step_size, n_steps)
    back = hmc.leapfrog(
        there.positions[-1], -there.momenta[-1], hmc.neal_funnel_gradient, step_size, n_steps
    )
    if np.abs(there.positions).max() < 1e3:  # beyond it is rounding that is not reversible
        np.testing.assert_allclose(back.positions[::-1], there.positions, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(-back.momenta[::-1], there.momenta, rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(seed=seeds, step_size=st.floats(0.01, 0.3))
def test_leapfrog_preserves_volume(seed, step_size):
    state = np.random.default_rng(seed).normal(size=6)

    def flow(states):
        path = hmc.leapfrog(states[:, :3], states[:, 3:], hmc.neal_funnel_gradient, step_size, 5)
        return np.concatenate([path.positions[-1], path.momenta[-1]], axis=-1)

    h = 1e-5 * np.eye(6)
    jacobian = (flow(state + h) - flow(state - h)) / 2e-5
    assert np.linalg.det(jacobian) == pytest.approx(1, rel=1e-4)


def test_energy_error_is_of_second_order():
    q, p = np.random.default_rng(1).normal(size=(2, 10))
    errors = []
    for n_steps in (50, 100, 200, 400):
        path = hmc.leapfrog(q, p, hmc.neal_funnel_gradient, 2 / n_steps, n_steps)
        energy = hmc.hamiltonian(hmc.neal_funnel_logpdf, path.positions, path.momenta)
        errors.append(np.abs(energy - energy[0]).max())
    order = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(order, 2, atol=0.05)


@settings(deadline=None)
@given(sd=widths, share=st.floats(0.05, 0.99), seed=seeds)
def test_stable_below_the_limit(sd, share, seed):
    log_density, gradient = normal(sd)
    q, p = np.random.default_rng(seed).normal(size=(2, 1)) * [[sd], [1]]
    step_size = share * float(hmc.stability_limit(1 / sd**2))
    path = hmc.leapfrog(q, p, gradient, step_size, 100)
    # What leapfrog keeps exactly on a normal: an ellipse, and within it everything stays.
    kept = path.momenta**2 + (1 - share**2) * (path.positions / sd) ** 2
    np.testing.assert_allclose(kept / kept[0], 1, rtol=1e-6)
    energy = hmc.hamiltonian(log_density, path.positions, path.momenta)
    assert energy.max() <= energy[0] / (1 - share**2) * (1 + 1e-6)


@settings(deadline=None)
@given(sd=widths, share=st.floats(1.05, 5), seed=seeds)
def test_unstable_above_the_limit(sd, share, seed):
    log_density, gradient = normal(sd)
    q, p = np.random.default_rng(seed).normal(size=(2, 1)) * [[sd], [1]]
    step_size = share * float(hmc.stability_limit(1 / sd**2))
    path = hmc.leapfrog(q, p, gradient, step_size, 100)
    energy = hmc.hamiltonian(log_density, path.positions, path.momenta)
    assert not energy[-1] <= energy[0] + hmc.DIVERGENCE_THRESHOLD


def test_a_trajectory_out_of_range_is_not_an_error():
    path = hmc.leapfrog(np.zeros(3), np.ones(3), hmc.neal_funnel_gradient, 50, 50)
    assert not np.all(np.isfinite(path.positions))
    assert path.positions.shape == path.momenta.shape == (51, 3)


def test_particles_move_independently():
    q, p = np.random.default_rng(3).normal(size=(2, 7, 5))
    together = hmc.leapfrog(q, p, hmc.neal_funnel_gradient, 0.1, 8)
    for i in range(7):
        alone = hmc.leapfrog(q[i], p[i], hmc.neal_funnel_gradient, 0.1, 8)
        np.testing.assert_allclose(together.positions[:, i], alone.positions)


# ---- the sampler


def check_moments(draws, sd, n_mcse=4.0):
    """Mean and second moment of every coordinate are those of N(0, sd), within n_mcse.

    The Monte Carlo error is that of the true distribution: the sample's own would grow
    with the error it is to judge.
    """
    for i, s in enumerate(np.broadcast_to(sd, draws.shape[-1])):
        x = draws[..., i] / s
        assert abs(x.mean()) < n_mcse * np.sqrt(1 / az.ess(x))
        assert abs(np.mean(x**2) - 1) < n_mcse * np.sqrt(2 / az.ess(x**2))


def sample(target, d, *, step_size, n_steps, draws, seed):
    start = np.random.default_rng(seed).normal(size=(4, d))
    return hmc.hmc(*target, start, step_size=step_size, n_steps=n_steps, draws=draws, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("step_size", [0.3, 1.4])
def test_moments_of_normals(seed, step_size):
    sd = np.array([1.0, 2.0, 0.8])
    result = sample(normal(sd), 3, step_size=step_size, n_steps=5, draws=3000, seed=seed)
    check_moments(result.draws, sd)
    assert not result.divergent.any()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noncentered_funnel(seed):
    sd = [3.0] + [1.0] * 9
    result = sample(noncentered_funnel(), 10, step_size=0.5, n_steps=7, draws=2500, seed=seed)
    check_moments(result.draws, sd)
    assert not result.divergent.any()
    # and so the lower tail of v, which is the neck
    below = result.draws[..., 0] < 3 * stats.norm.ppf(0.05)
    assert abs(below.mean() - 0.05) < 4 * float(az.mcse(below.astype(float)))


@pytest.mark.slow
def test_the_centered_funnel_keeps_the_sampler_out_of_the_neck():
    """At every seed the draws stop short of the neck, where exact draws do go."""
    target = (hmc.neal_funnel_logpdf, hmc.neal_funnel_gradient)
    limit = 3 * stats.norm.ppf(0.01)  # v is below it once in a hundred exact draws
    for seed in range(5):
        result = sample(target, 10, step_size=0.5, n_steps=10, draws=1000, seed=seed)
        assert np.mean(result.draws[..., 0] < limit) < 0.002
        assert result.divergent.any()


@pytest.mark.slow
def test_planted_faults_are_caught(monkeypatch):
    """The moment checks above fail when the sampler is wrong."""
    sd = np.ones(3)
    settings = {"step_size": 1.4, "n_steps": 5, "draws": 3000, "seed": 1}
    check_moments(sample(normal(sd), 3, **settings).draws, sd)

    right = hmc.hamiltonian
    with monkeypatch.context() as patch:
        patch.setattr(hmc, "hamiltonian", lambda f, q, p: right(lambda q: -f(q), q, p))
        with pytest.raises(AssertionError):
            check_moments(sample(normal(sd), 3, **settings).draws, sd)
    with monkeypatch.context() as patch:
        patch.setattr(hmc, "acceptance_probability", np.ones_like)  # accepts everything
        with pytest.raises(AssertionError):
            check_moments(sample(normal(sd), 3, **settings).draws, sd)


def test_bookkeeping():
    result = sample(normal(1.0), 2, step_size=1.9, n_steps=3, draws=200, seed=5)
    assert result.draws.shape == (4, 200, 2)
    for statistic in result[1:]:
        assert statistic.shape == (4, 200)
    np.testing.assert_allclose(
        result.acceptance_probability, np.minimum(1, np.exp(-result.energy_error))
    )
    moved = np.any(np.diff(result.draws, axis=1) != 0, axis=-1)
    np.testing.assert_array_equal(moved, result.accepted[:, 1:])
    assert 0 < result.accepted.mean() < 1


def test_one_chain_and_the_same_seed_twice():
    one, two = (
        hmc.hmc(*normal(1.0), [0.0, 0.0], step_size=0.5, n_steps=4, draws=10, seed=s)
        for s in (7, 7)
    )
    assert one.draws.shape == (10, 2)
    np.testing.assert_array_equal(one.draws, two.draws)
    other = hmc.hmc(*normal(1.0), [0.0, 0.0], step_size=0.5, n_steps=4, draws=10, seed=8)
    assert not np.array_equal(one.draws, other.draws)


def test_a_divergent_chain_stays_where_it_is():
    start = np.zeros(10)
    result = hmc.hmc(
        hmc.neal_funnel_logpdf,
        hmc.neal_funnel_gradient,
        start,
        step_size=3,
        n_steps=50,
        draws=20,
        seed=1,
    )
    assert result.divergent.all()
    assert not result.accepted.any()
    np.testing.assert_array_equal(result.acceptance_probability, 0)
    np.testing.assert_array_equal(result.draws, np.zeros((20, 10)))


@pytest.mark.parametrize(
    ("error", "probability"), [(-1.0, 1.0), (0.0, 1.0), (np.log(2), 0.5), (np.inf, 0), (np.nan, 0)]
)
def test_acceptance_probability(error, probability):
    assert hmc.acceptance_probability(np.float64(error)) == pytest.approx(probability)


# ---- densities and curvatures


@settings(deadline=None)
@given(seed=seeds, d=st.integers(2, 12))
def test_funnel_density_is_the_one_defined(seed, d):
    rng = np.random.default_rng(seed)
    v, x = rng.normal(0, 3), rng.normal(size=d - 1)
    expected = stats.norm.logpdf(v, 0, 3) + stats.norm.logpdf(x, 0, np.exp(v / 2)).sum()
    assert hmc.neal_funnel_logpdf([v, *x]) == pytest.approx(expected, rel=1e-10)


@settings(deadline=None)
@given(seed=seeds)
def test_funnel_gradient_against_finite_differences(seed):
    q = np.random.default_rng(seed).normal(size=(3, 5))
    h = 1e-6 * np.eye(5)
    points = q[:, np.newaxis]
    numeric = (hmc.neal_funnel_logpdf(points + h) - hmc.neal_funnel_logpdf(points - h)) / 2e-6
    scale = 1 + np.abs(numeric).max()
    np.testing.assert_allclose(hmc.neal_funnel_gradient(q), numeric, atol=1e-5 * scale)


@settings(deadline=None, max_examples=25)
@given(v=st.floats(-6, 6))
def test_funnel_curvature_is_that_of_the_gradient(v):
    q = np.array([v, 0.3, -0.2])
    h = 1e-5 * np.array([0, 1.0, 0])
    numeric = -(hmc.neal_funnel_gradient(q + h) - hmc.neal_funnel_gradient(q - h))[1] / 2e-5
    assert hmc.neal_funnel_curvature(v) == pytest.approx(numeric, rel=1e-5)
    assert hmc.stability_limit(hmc.neal_funnel_curvature(v)) == pytest.approx(2 * np.exp(v / 2))


@settings(deadline=None)
@given(n=st.integers(0, 50), sigma_y=st.floats(0.1, 2), sigma_b=st.floats(0.01, 2))
def test_slope_curvature_is_that_of_the_log_density(n, sigma_y, sigma_b):
    y = np.linspace(-1, 1, n)

    def log_density(b):
        return stats.norm.logpdf(y, b, sigma_y).sum() + stats.norm.logpdf(b, 0.1, sigma_b)

    h = 0.01
    numeric = -(log_density(h) - 2 * log_density(0.0) + log_density(-h)) / h**2
    assert hmc.slope_curvature(n, sigma_y, sigma_b) == pytest.approx(numeric, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hmc.leapfrog([0.0], [0.0, 1.0], np.negative, 0.1, 1), r"\(1,\) and \(2,\)"),
        (lambda: hmc.leapfrog([0.0], [1.0], np.negative, -0.1, 1), "step_size .* -0.1"),
        (lambda: hmc.leapfrog([0.0], [1.0], np.negative, np.nan, 1), "step_size .* nan"),
        (lambda: hmc.leapfrog([0.0], [1.0], np.negative, 0.1, 0), "n_steps .* 0"),
        (lambda: hmc.stability_limit([1.0, 0.0]), "curvature .* 0"),
        (lambda: hmc.slope_curvature(-1, 1, 1), "n_first_floor .* -1"),
        (lambda: hmc.slope_curvature(1, 0, 1), "sigma_y .* 0"),
        (lambda: hmc.slope_curvature(1, 1, np.nan), "sigma_b .* nan"),
        (lambda: hmc.neal_funnel_logpdf([1.0]), r"shape \(1,\)"),
        (lambda: hmc.neal_funnel_gradient(1.0), r"shape \(\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seed": None}, TypeError, "NoneType"),
        ({"seed": 1.5}, TypeError, "float"),
        ({"draws": 0}, ValueError, "draws .* 0"),
        ({"start": [np.nan]}, ValueError, "nan"),
    ],
)
def test_bad_input_of_the_sampler(change, error, message):
    arguments = {"start": [0.0], "step_size": 0.1, "n_steps": 1, "draws": 1, "seed": 1} | change
    with pytest.raises(error, match=message):
        hmc.hmc(*normal(1.0), arguments.pop("start"), **arguments)


def test_seed_is_required():
    with pytest.raises(TypeError, match="seed"):
        hmc.hmc(*normal(1.0), [0.0], step_size=0.1, n_steps=1, draws=1)
