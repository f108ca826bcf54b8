"""The exhibit `centering`: its closed forms against the exact posterior, its map, its use."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import traitlets
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import norm

from funnel import exact, priors
from funnel.calibration import centering, efficiency
from funnel.exhibits import Centering
from funnel.exhibits.centering import conditional, log_scale_density

PLACES = [(0.03, 1.0, "8"), (0.3, 0.5, "25"), (3.0, 0.35, "85"), (300.0, 0.0, "85")]


@pytest.fixture(scope="module")
def exhibit(homes):
    return Centering(homes)


@pytest.fixture
def at(homes, exhibit):
    """Bring the exhibit to a state, and back after the test."""

    def bring(**state):
        for name, value in state.items():
            setattr(exhibit, name, value)
        return exhibit

    yield bring
    for name, control in exhibit.controls.items():
        setattr(exhibit, name, control["default"])


def weights(log_tau, r, groups):
    log_density = log_scale_density(log_tau, r, groups)
    weight = np.exp(log_density - log_density.max())
    return weight / weight.sum()


@pytest.mark.parametrize(("r", "groups"), [(0.1, 8), (3.0, 25), (100.0, 85)])
def test_closed_forms_are_those_of_the_exact_posterior(r, groups):
    """Of groups one standard deviation from a mean that is practically known."""
    known = priors.EightSchoolsPriors(
        mu=priors.Normal(0, 1e-4), tau=centering.HYPERPRIORS["HalfNormal(1)"].tau
    )
    away = np.sqrt(1 + 1 / r) * np.resize([1.0, -1.0], groups)
    table = pd.DataFrame({"school": range(groups), "effect": away, "se": 1 / np.sqrt(r)})
    truth = exact.eight_schools(table.astype({"school": str}), known)
    log_tau = np.linspace(-12, 3, 6001)
    weight = weights(log_tau, r, groups)
    below = np.cumsum(weight) - weight / 2
    quantiles = np.interp([0.05, 0.5, 0.95], below, log_tau)
    np.testing.assert_allclose(truth.cdf("tau", np.exp(quantiles)), [0.05, 0.5, 0.95], atol=2e-4)
    mean, sd = conditional(log_tau, r, 1.0)
    of_theta = weight @ mean
    np.testing.assert_allclose(of_theta, truth.mean("theta").iloc[0], rtol=1e-3)
    variance = weight @ (sd**2 + (mean - of_theta) ** 2)
    np.testing.assert_allclose(np.sqrt(variance), truth.sd("theta").iloc[0], rtol=1e-3)


def test_other_coordinates_are_the_effect_divided():
    log_tau = np.array([-2.0, 0.0, 1.0])
    for one, other in zip(
        conditional(log_tau, 3.0, 1.0), conditional(log_tau, 3.0, 0.3), strict=True
    ):
        np.testing.assert_allclose(other, one / np.exp(0.7 * log_tau))


@pytest.mark.parametrize(("r", "centeredness", "groups"), PLACES)
def test_contours_are_levels_that_hold_their_probability(at, r, centeredness, groups):
    here = at(informativeness=r, centeredness=centeredness, groups=groups)
    log_tau, _, reach = here.contours()
    log_tau, reach = log_tau[::5], [k[::5] for k in reach]
    weight = weights(log_tau, r, int(groups))
    sd = conditional(log_tau, r, centeredness)[1]
    z = np.linspace(-6, 6, 2401)
    density = weight[:, None] / sd[:, None] * norm.pdf(z)
    for inside, k in zip((0.5, 0.9, 0.99), reach, strict=True):
        within = np.abs(z) < k[:, None]
        held = (weight[:, None] * norm.pdf(z) * within).sum() * (z[1] - z[0])
        assert held == pytest.approx(inside, abs=0.004)
        assert density[within].min() > 0.98 * density[~within].max()


def test_map_is_that_of_the_study(exhibit):
    fits = centering.load_fits()
    equal = fits[fits["design"] == "balanced"]
    table = efficiency.true_efficiency(equal, ["groups", "centeredness", "informativeness"])
    for groups in centering.GROUPS:
        for quantity in centering.QUANTITIES:
            found = exhibit.data["maps"][str(groups)][quantity]
            truth = table.loc[groups, quantity].unstack("informativeness")
            np.testing.assert_allclose(found["draws"], truth, rtol=1e-3)
            best = np.array(exhibit.data["centeredness"])[truth.to_numpy().argmax(axis=0)]
            low, high = found["best"]
            # The data sets as they are lie well within what their resamples say.
            assert np.mean((low <= best) & (best <= high)) > 0.8
    assert len(json.dumps(exhibit.data)) < 60_000


def test_counties_stand_where_their_data_put_them(homes, truth, exhibit):
    for effect, scale in {"intercepts": "sigma_a", "slopes": "sigma_b"}.items():
        ratio = float(truth.mean(scale) / truth.mean("sigma_y")) ** 2
        found = exhibit.data["r"][effect]
        for county, group in homes.groupby("county", observed=True):
            up = int(group["floor"].sum())
            down = len(group) - up
            n = len(group) if effect == "intercepts" else up * down / (up + down)
            assert found[county] == pytest.approx(n * ratio, rel=0.005)
    assert sum(r == 0 for r in exhibit.data["r"]["slopes"].values()) == 25


def test_a_county_sets_the_informativeness(homes, exhibit):
    louis = Centering(homes, county="St. Louis", effect="slopes")
    assert louis.informativeness == exhibit.data["r"]["slopes"]["St. Louis"]
    assert Centering(homes, county="Steele", effect="slopes").informativeness == 0.03
    with pytest.raises(ValueError, match="a county sets the informativeness"):
        Centering(homes, county="Anoka", informativeness=1.0)
    with pytest.raises(traitlets.TraitError, match="try Anoka"):
        Centering(homes, county="Anok")


def test_still_picture_is_of_the_state(at):
    here = at(informativeness=3.0, centeredness=0.35, groups="8", quantity="small_tau")
    _, middle, bottom, *_ = here.still().axes
    draws = np.array(here.data["maps"]["8"]["small_tau"]["draws"])
    shown = middle.collections[0].get_array()
    np.testing.assert_allclose(np.reshape(shown, draws.shape), 100 * draws / draws.max(axis=0))
    assert [line.get_xydata().tolist() for line in middle.lines] == 2 * [[[3.0, 0.35]]]
    r = [value for value in here.data["r"]["slopes"].values() if value > 0]
    np.testing.assert_allclose(bottom.lines[1].get_xdata(), r)


def test_script_computes_as_python_does(at, run_node):
    script = """
        import { readFileSync } from "node:fs";
        import * as they from "exhibits/centering.js";
        const { places, logTau } = JSON.parse(readFileSync(process.argv[2]));
        console.log(JSON.stringify(places.map(([r, way, groups]) => {
          const lattice = they.geometry(r, way, Number(groups));
          return {
            scale: logTau.map((t) => they.logScaleDensity(t, r, Number(groups))),
            given: logTau.map((t) => they.conditional(t, r, way)),
            ratio: they.widthRatio(lattice),
            correlation: they.correlation(lattice),
            lattice: lattice.map((place) => place.logTau),
            reach: [0.5, 0.9, 0.99].map((inside) => they.contour(lattice, inside)),
          };
        })));
    """
    log_tau = np.linspace(-3, 1, 9)
    found = run_node(script, {"places": PLACES, "logTau": log_tau.tolist()})
    fine = np.linspace(-12, 3, 6001)
    for (r, way, groups), theirs in zip(PLACES, found, strict=True):
        here = at(informativeness=r, centeredness=way, groups=groups)
        ours = log_scale_density(log_tau, r, int(groups))
        np.testing.assert_allclose(np.diff(theirs["scale"]), np.diff(ours), rtol=1e-9)
        given = np.array([[place["mean"], place["sd"]] for place in theirs["given"]]).T
        np.testing.assert_allclose(given, conditional(log_tau, r, way), rtol=1e-9)

        weight = weights(fine, r, int(groups))
        mean, sd = conditional(fine, r, way)
        below = np.cumsum(weight)
        middle = sd[(below >= 0.05) & (below <= 0.95)]
        assert theirs["ratio"] == pytest.approx(middle.max() / middle.min(), rel=0.02)
        x, y = weight @ fine, weight @ mean
        spread = np.sqrt(weight @ (fine - x) ** 2 * (weight @ ((mean - y) ** 2 + sd**2)))
        correlation = weight @ ((fine - x) * (mean - y)) / spread
        assert theirs["correlation"] == pytest.approx(correlation, abs=1e-4)

        lattice, _, reach = here.contours()
        for one, other in zip(reach, theirs["reach"], strict=True):
            squares = np.interp(theirs["lattice"], lattice, one**2)
            inner = squares > 0.2  # clear of the ends
            np.testing.assert_allclose(np.array(other)[inner] ** 2, squares[inner], atol=0.005)


def test_script_reads_the_map_between_its_points(exhibit, run_node):
    script = """
        import { readFileSync } from "node:fs";
        import { best, worth } from "exhibits/centering.js";
        const { axes, draws, places } = JSON.parse(readFileSync(process.argv[2]));
        console.log(JSON.stringify(places.map(([r, way]) => ({
          worth: worth(axes, draws, r, way), best: best(axes, draws, r),
        }))));
    """
    draws = exhibit.data["maps"]["85"]["log_tau"]["draws"]
    axes = {name: exhibit.data[name] for name in ("informativeness", "centeredness")}
    places = [[0.03, 0.0], [300.0, 1.0], [1.0, 0.5], [1.7, 0.45], [100.0, 0.05], [40.0, 1.0]]
    found = run_node(script, {"axes": axes, "draws": draws, "places": places})
    ways, r = axes["centeredness"], np.log(axes["informativeness"])
    ours = RegularGridInterpolator((ways, r), np.log(draws))
    for (at_r, way), theirs in zip(places, found, strict=True):
        assert theirs["worth"] == pytest.approx(np.exp(ours([way, np.log(at_r)])[0]), rel=1e-9)
        column = np.exp(ours([[each, np.log(at_r)] for each in ways]))
        assert theirs["best"]["worth"] == pytest.approx(column.max(), rel=1e-9)
        assert theirs["best"]["way"] == ways[column.argmax()]


def test_script_settles_county_and_informativeness(run_node):
    script = """
        import { settle } from "exhibits/centering.js";
        const r = { intercepts: { A: 2, B: 5 }, slopes: { A: 0, B: 1 } };
        const control = { low: 0.03, high: 300 };
        const state = (county, effect, informativeness) => ({ county, effect, informativeness });
        console.log(JSON.stringify([
          settle(state("", "slopes", 7), undefined, r, control),
          settle(state("A", "intercepts", 7), undefined, r, control),
          settle(state("B", "slopes", 5), state("B", "intercepts", 5), r, control),
          settle(state("A", "slopes", 5), state("B", "slopes", 5), r, control),
          settle(state("B", "slopes", 3), state("B", "slopes", 1), r, control),
          settle(state("B", "slopes", 1), state("B", "slopes", 1), r, control),
        ]));
    """
    one, low = {"informativeness": 1}, {"informativeness": 0.03}
    assert run_node(script) == [{}, {"informativeness": 2}, one, low, {"county": ""}, {}]


def test_normal_tails(run_node):
    script = """
        import { normalAbove } from "exhibits/shared/normal.js";
        console.log(JSON.stringify([-4, -1, 0, 0.5, 2, 5].map(normalAbove)));
    """
    np.testing.assert_allclose(run_node(script), norm.sf([-4, -1, 0, 0.5, 2, 5]), atol=1.5e-7)


@pytest.mark.browser
def test_opens_as_a_funnel_with_the_numbers_of_python(exhibit, open_exhibit):
    page = open_exhibit(exhibit)
    assert [label.inner_text() for label in page.locator(".exhibit-control > label").all()][:2] == [
        "Informativeness of the data, r",
        "Centeredness, λ",
    ]
    draws = np.array(exhibit.data["maps"]["85"]["log_tau"]["draws"])[:, 2]  # at r = 0.3
    said = words(page)
    assert f"worth {float(f'{draws[-1]:.2g}'):g} draws for the mean of log τ" in said
    assert f"the best here, {float(f'{draws.max():.2g}'):g}, is at 0." in said
    log_tau = np.linspace(-12, 3, 6001)
    below = np.cumsum(weights(log_tau, 0.3, 85))
    sd = conditional(log_tau, 0.3, 1.0)[1][(below >= 0.05) & (below <= 0.95)]
    factor = float(re.search(r"a factor of ([\d.]+)", said)[1])
    assert factor == pytest.approx(sd.max() / sd.min(), abs=0.1)
    assert factor > 5  # a funnel
    assert page.complaints == []


@pytest.mark.browser
def test_map_is_dragged_and_sliders_take_keys(exhibit, open_exhibit):
    page = open_exhibit(exhibit)
    grip = page.locator("svg.map rect.grip")
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9444 * box["width"], box["y"] + 0.93 * box["height"], steps=4)
    page.mouse.up()
    page.mouse.move(box["x"], box["y"])  # let go: this changes nothing
    page.wait_for_timeout(100)
    r, way = place(page)
    # The middles of the last column and of the lowest row.
    assert r == pytest.approx(300, rel=0.1)
    assert way == 0
    page.get_by_label("Centeredness, λ").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_label("Informativeness of the data, r").focus()
    page.keyboard.press("Home")
    page.wait_for_timeout(100)
    assert place(page) == (0.03, 0.05)
    page.get_by_label("8", exact=True).focus()
    page.keyboard.press("Space")
    page.get_by_label("P(τ small)").check()
    page.wait_for_timeout(100)
    assert "with 8 groups" in words(page)
    assert "draws for P(τ small)" in words(page)
    page.get_by_role("button", name="Reset").click()
    page.wait_for_timeout(100)
    assert place(page) == (0.3, 1)
    assert page.complaints == []


@pytest.mark.browser
def test_a_county_is_picked_by_name_or_by_its_dot(exhibit, open_exhibit):
    page = open_exhibit(exhibit, "#exhibit-centering?county=St.+Louis&centeredness=0.5")
    r = exhibit.data["r"]
    assert place(page) == (r["intercepts"]["St. Louis"], 0.5)
    assert "That is the intercept of St. Louis." in words(page)
    page.get_by_label("slope", exact=True).check()
    page.wait_for_timeout(100)
    assert place(page)[0] == r["slopes"]["St. Louis"]
    page.get_by_label("County that sets r").select_option("Steele")
    page.wait_for_timeout(100)
    assert place(page)[0] == 0.03
    assert "The slope of Steele has r = 0, beyond this end of the map." in words(page)
    page.get_by_label("Informativeness of the data, r").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(150)
    assert page.get_by_label("County that sets r").input_value() == ""
    assert "Steele" not in words(page)
    county = max(r["intercepts"], key=r["intercepts"].get)
    dot = page.locator("g.counties circle", has=page.locator("title", has_text=county)).first
    dot.click()
    page.wait_for_timeout(150)
    assert f"the intercept of {county}" in words(page)
    assert page.complaints == []


@pytest.mark.browser
def test_nothing_overflows_on_a_phone(exhibit, open_exhibit):
    page = open_exhibit(exhibit, viewport={"width": 360, "height": 700}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    edge = page.locator(".exhibit-live").bounding_box()
    for text in page.locator(".exhibit-stage text").all():
        box = text.bounding_box()
        assert edge["x"] <= box["x"]
        assert box["x"] + box["width"] <= edge["x"] + edge["width"]
    grip = page.locator("svg.map rect.grip")
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    page.touchscreen.tap(box["x"] + 0.05 * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_for_timeout(100)
    r, way = place(page)
    assert r < 0.05
    assert way == pytest.approx(0.5, abs=0.051)


def words(page):
    return page.locator(".exhibit-words").inner_text()


def place(page):
    """What the words say of r and the centeredness."""
    r, way = re.search(r"At r = ([\d.]+) and centeredness ([\d.]+),", words(page)).groups()
    return float(r), float(way)
