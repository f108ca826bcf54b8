"""The shared figures: what they draw, the style, and the format they are stored in."""

import gzip

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure
from scipy import stats

from funnel import figures


class LogNormalPosterior:
    """Stands in for an exact posterior: `density` is all that a figure asks for."""

    prior = stats.lognorm(s=0.5, scale=0.1)

    def density(self, name, x):
        assert name == "sigma_b"
        return self.prior.pdf(x)


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.fixture
def shell():
    with mpl.rc_context():
        yield InteractiveShell.instance()
        InteractiveShell.clear_instance()


def test_equal_areas_are_equal_probabilities(ax):
    draws = LogNormalPosterior.prior.rvs(20_000, random_state=1).reshape(4, -1)
    figures.plot_scale(ax, "sigma_b", LogNormalPosterior(), draws, limits=(0.005, 2.0))
    x, y = ax.lines[0].get_data()
    assert np.trapezoid(y, np.log(x)) == pytest.approx(1, abs=1e-3)
    values, edges, _ = ax.patches[0].get_data()
    assert np.sum(values * np.diff(np.log(edges))) == pytest.approx(1, abs=1e-3)
    assert ax.get_xscale() == "log"


def test_a_draw_outside_the_limits_is_missing_from_the_histogram(ax):
    figures.plot_scale(
        ax, "sigma_b", LogNormalPosterior(), [0.01, 0.1, 5.0, 0.2], limits=(0.005, 2)
    )
    values, edges, _ = ax.patches[0].get_data()
    assert np.sum(values * np.diff(np.log(edges))) == pytest.approx(3 / 4)


def test_without_draws_only_the_exact_density_is_drawn(ax):
    figures.plot_scale(ax, "sigma_b", LogNormalPosterior())
    assert len(ax.lines) == 1
    assert not ax.patches


def test_divergent_draws_are_marked_and_the_axis_is_logarithmic(ax):
    effect, scale = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    hit = np.array([[False, True], [False, False]])
    figures.plot_funnel(ax, effect, scale, color="k", divergent=hit)
    cloud, crosses = ax.lines
    assert len(cloud.get_xdata()) == 4
    assert (crosses.get_xdata().tolist(), crosses.get_ydata().tolist()) == ([1.0], [2.0])
    assert ax.get_yscale() == "log"


def test_effect_and_scale_must_have_one_shape(ax):
    with pytest.raises(ValueError, match=r"effect has shape \(2,\), scale has shape \(3,\)"):
        figures.plot_funnel(ax, [0.0, 1.0], [1.0, 2.0, 3.0], color="k")


def test_every_meaning_has_a_color_of_its_own():
    assert len(set(figures.COLORS.values())) == len(figures.COLORS)


def test_outside_a_notebook_the_style_is_set_and_nothing_else():
    with mpl.rc_context():
        figures.use_style()
        assert mpl.rcParams["savefig.facecolor"] == "white"


@pytest.mark.parametrize(("points", "mime"), [(3, "image/svg+xml"), (20_000, "image/png")])
def test_a_notebook_stores_each_figure_once_in_the_lighter_format(shell, points, mime):
    figures.use_style()
    figure = Figure()
    rng = np.random.default_rng(1)
    figure.subplots().plot(*rng.normal(size=(2, points)), ".")
    formats, _ = shell.display_formatter.format(figure)
    assert [m for m in formats if m.startswith("image/")] == [mime]


def test_an_svg_is_the_same_each_time(shell):
    figures.use_style()

    def draw():
        figure = Figure()
        figure.subplots().plot([1, 2, 3])
        return shell.display_formatter.format(figure)[0]["image/svg+xml"]

    assert gzip.compress(draw().encode(), mtime=0) == gzip.compress(draw().encode(), mtime=0)
