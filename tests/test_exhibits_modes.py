"""The exhibit `modes`: its profiles and losses against `funnel`, and as a reader uses it."""

import math
import re

import numpy as np
import pytest

from funnel import modes as joint_modes
from funnel import priors
from funnel.exhibits import Modes

WAYS = {
    "centered": ("centered", False),
    "noncentered": ("noncentered", False),
    "log": ("noncentered", True),
}
LOSSES = ("squared", "absolute", "log", "near", "factor", "low")


@pytest.fixture(scope="module")
def made(homes):
    return Modes(homes)


@pytest.fixture
def modes(made):
    """Give the exhibit in the state that it opens in."""
    for name, control in made.controls.items():
        setattr(made, name, control["default"])
    return made


def densities(homes):
    return {
        name: joint_modes.varying_slopes(
            homes, priors.ESSAY, intercepts="noncentered", slopes=slopes, jacobian=jacobian
        )
        for name, (slopes, jacobian) in WAYS.items()
    }


def test_profile_is_the_joint_density_at_its_highest(homes, modes):
    """No point with this `sigma_b` is higher, and one is as high."""
    from scipy.optimize import minimize

    for name, joint in densities(homes).items():
        modes.coordinates = name

        def highest(sigma_b, joint=joint):
            def loss(others):
                a, y = np.exp(others)
                return -joint(joint.given(sigma_a=a, sigma_b=sigma_b, sigma_y=y))

            return -minimize(loss, (1.0, -0.4), method="Nelder-Mead", options={"xatol": 1e-7}).fun

        # Between points of the lattice, on one, and below all of them.
        for sigma_b in (1e-5, 0.0123, 0.31, 7.7):
            expected = highest(sigma_b) - highest(1.0)
            assert modes.profile(math.log(sigma_b)) == pytest.approx(expected, abs=2e-3), name


def test_tops_are_the_joint_modes(homes, modes):
    for name, joint in densities(homes).items():
        top, climb = joint.mode(), modes.data["climbs"][name]
        modes.set_trait("coordinates", name)
        modes.steps = 20
        path = modes.climb()
        assert climb["rate"] == top.rates["sigma_b"]
        if top.exists:
            assert climb["top"] == pytest.approx(top.point["sigma_b"], rel=1e-5)
            assert path[-1] == pytest.approx(climb["top"], rel=1e-3)
            assert len(path) < 12
        else:
            assert climb["top"] is None
            assert path[-1] == pytest.approx(2.0**-20)


@pytest.mark.parametrize("coordinates", WAYS)
def test_every_step_goes_up(modes, coordinates):
    modes.coordinates, modes.steps = coordinates, 20
    for start in np.geomspace(0.003, 50, 23):
        modes.start = start
        path = modes.climb()
        heights = modes.profile(np.log(path))
        assert (np.diff(heights) > -1e-9).all()
        assert np.abs(np.diff(np.log(path))).max() <= math.log(2) + 1e-12


def test_other_priors_have_other_tops(homes):
    weak = Modes(homes, priors.WEAKLY_INFORMATIVE, coordinates="noncentered", steps=20)
    joint = joint_modes.varying_slopes(
        homes, priors.WEAKLY_INFORMATIVE, intercepts="noncentered", slopes="noncentered",
        jacobian=False,
    )  # fmt: skip
    assert weak.climb()[-1] == pytest.approx(joint.mode().point["sigma_b"], rel=1e-3)


def test_script_climbs_as_python_does(modes, run_node):
    script = """
        import { readFileSync } from "node:fs";
        import { climbFrom, profile } from "exhibits/modes.js";
        const { data, cases, places } = JSON.parse(readFileSync(process.argv[2]));
        console.log(JSON.stringify(cases.map(([name, start]) => ({
            path: climbFrom(start, 20, data.climbs[name], data),
            profile: places.map((t) => profile(data.climbs[name], data.lattice, t)),
        }))));
    """
    cases = [(name, start) for name in WAYS for start in (0.003, 0.2, 50.0)]
    places = [-13.0, -6.9, -1.234, 0.0, 1.7, 4.6, 5.0]
    found = run_node(script, {"data": modes.data, "cases": cases, "places": places})
    modes.steps = 20
    for (name, start), theirs in zip(cases, found, strict=True):
        modes.coordinates, modes.start = name, start
        np.testing.assert_allclose(theirs["path"]["path"], modes.climb(), rtol=1e-7)
        assert theirs["path"]["arrived"] == (name != "centered")
        for order in range(3):
            ours = [float(modes.profile(t, order)) for t in places]
            theirs_here = [each[order] for each in theirs["profile"]]
            np.testing.assert_allclose(theirs_here, ours, rtol=1e-6, atol=1e-6)


def test_posterior_and_best_reports_are_exact(truth, modes):
    scale = np.array(modes.data["scale"])
    density = scale * truth.density("sigma_b", scale)
    np.testing.assert_allclose(modes.data["density"], density, atol=1e-4 * density.max())
    best = modes.data["best"]
    assert best["squared"] == pytest.approx(truth.mean("sigma_b"), rel=1e-4)
    assert best["absolute"] == pytest.approx(truth.quantile("sigma_b", 0.5), rel=1e-4)
    # With narrow windows a fee is for missing the mode of the density in its coordinate.
    for name, log in [("near", False), ("factor", True)]:
        mode = joint_modes.marginal_mode(truth, "sigma_b", log=log)
        assert best[name] == pytest.approx(mode, rel=0.02)


def test_no_report_is_better_than_the_best(truth, modes, run_node):
    script = """
        import { readFileSync } from "node:fs";
        import { expectedLoss } from "exhibits/modes.js";
        const { data, losses, reports } = JSON.parse(readFileSync(process.argv[2]));
        console.log(JSON.stringify(losses.map((loss) => [...reports, data.best[loss]].map(
            (report) => expectedLoss(loss, report, data)))));
    """
    reports = [float(r) for r in np.geomspace(0.05, 10, 150)]
    given = {"data": modes.data, "losses": LOSSES, "reports": reports}
    nodes = truth.quantile("sigma_b", (np.arange(4000) + 0.5) / 4000)
    r = np.array([*reports])[:, None]
    ours = {
        "squared": (r - nodes) ** 2,
        "absolute": abs(r - nodes),
        "log": np.log(r / nodes) ** 2,
        "near": abs(r - nodes) > 0.02,
        "factor": abs(np.log(r / nodes)) > 0.08,
        "low": np.where(r > nodes, r - nodes, 3 * (nodes - r)),
    }
    for loss, theirs in zip(LOSSES, run_node(script, given), strict=True):
        *elsewhere, best = theirs
        # A fee is counted in whole nodes, of which there are a thousand.
        assert best <= min(elsewhere) + (3e-3 if loss in ("near", "factor") else 1e-9), loss
        np.testing.assert_allclose(elsewhere, ours[loss].mean(axis=1), rtol=5e-3, atol=2e-3)


@pytest.mark.browser
def test_it_opens_with_a_climb_that_has_no_top(modes, open_exhibit):
    page = open_exhibit(modes)
    words = said(page)
    at = modes.climb()[-1]
    assert at == pytest.approx(2.0**-12)
    gain = float(modes.profile(math.log(at / 2)) - modes.profile(math.log(at)))
    assert "σ_b = 2.44 × 10⁻⁴ after 12 steps" in words
    assert f"gains {gain:.1f}, and so on without end" in words
    assert f"best report is σ_b = {modes.data['best']['squared']:.3g};" in words
    assert page.complaints == []


@pytest.mark.browser
@pytest.mark.parametrize(("coordinates", "loss"), [("noncentered", "low"), ("log", "near")])
def test_the_mode_follows_the_coordinates_and_the_report_the_loss(
    modes, open_exhibit, coordinates, loss
):
    page = open_exhibit(modes, f"#exhibit-modes?coordinates={coordinates}&loss={loss}&steps=20")
    words = said(page)
    assert f"joint mode is at σ_b = {modes.data['climbs'][coordinates]['top']:.2f}." in words
    assert f"best report is σ_b = {modes.data['best'][loss]:.3g};" in words


@pytest.mark.browser
def test_reader_walks_steps_drags_and_chooses(modes, open_exhibit):
    from playwright.sync_api import expect

    page = open_exhibit(modes, "#exhibit-modes?steps=0")
    words = page.locator(".exhibit-words")
    expect(words).to_contain_text("is at σ_b = 1 after 0 steps")
    page.get_by_role("button", name="One step").click()
    expect(words).to_contain_text("is at σ_b = 0.5 after one step")
    page.get_by_role("button", name="Walk").click()
    page.get_by_role("button", name="Pause").click()
    expect(words).to_have_text(re.compile(r"after 1?\d steps"))
    page.get_by_text("noncentered", exact=True).click()
    page.get_by_role("button", name="Walk").click()
    expect(words).to_contain_text("has arrived after 6 steps: the joint mode is at σ_b = 5.39")
    expect(page.get_by_role("button", name="Walk")).to_be_visible()
    handle = page.locator(".handle-start")
    handle.scroll_into_view_if_needed()
    knob, box = handle.locator(".knob").bounding_box(), page.locator("svg.climb").bounding_box()
    page.mouse.move(knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.65 * box["width"], box["y"] + 90, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"start=0\.\d+"))
    page.get_by_label("Steps of the climb").focus()
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")
    expect(words).to_contain_text("the joint mode is at σ_b = 5.39")
    handle.focus()
    page.keyboard.press("End")
    expect(handle).to_have_attribute("aria-valuetext", "50 log pCi/L")
    page.get_by_label("What a wrong report costs").select_option("absolute")
    expect(words).to_contain_text(f"best report is σ_b = {modes.data['best']['absolute']:.3g};")
    page.get_by_role("button", name="Reset").click()
    expect(words).to_contain_text("The climb, centered, is at")
    assert page.complaints == []


@pytest.mark.browser
def test_nothing_moves_for_readers_who_want_less_motion(modes, open_exhibit):
    from playwright.sync_api import expect

    page = open_exhibit(modes, "#exhibit-modes?steps=0", reduced_motion="reduce")
    page.get_by_role("button", name="Walk").click()
    # Far sooner than a walk of twenty steps takes.
    expect(page.locator(".exhibit-words")).to_contain_text("after 20 steps", timeout=2000)
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)


def said(page):
    """What the exhibit says, with spaces that may break."""
    return page.locator(".exhibit-words").inner_text().replace("\u00a0", " ")
