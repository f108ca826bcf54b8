"""The exhibit `typical-set`: its closed forms against SciPy's, and as a reader uses it."""

import re

import numpy as np
import pytest
from scipy import stats

from funnel.exhibits import TypicalSet


def test_script_has_the_chi_distribution(run_node):
    script = """
        import { readFileSync } from "node:fs";
        import { distance, nearer } from "exhibits/typical-set.js";
        const { dimensions, radii, chances } = JSON.parse(readFileSync(process.argv[2]));
        console.log(JSON.stringify(dimensions.map((d) => ({
            nearer: radii.map((r) => nearer(d, r)),
            distance: chances.map((p) => distance(d, p, 13.5)),
        }))));
    """
    dimensions, radii, chances = (
        [1, 2, 3, 9, 30, 99, 100],
        [0.1, 1, 4, 10, 13.5],
        [0.001, 0.5, 0.99],
    )
    given = {"dimensions": dimensions, "radii": radii, "chances": chances}
    for d, found in zip(dimensions, run_node(script, given), strict=True):
        # Of a tail of 1e-100 as many digits as of a half.
        np.testing.assert_allclose(found["nearer"], stats.chi2(d).cdf(np.square(radii)), rtol=1e-11)
        np.testing.assert_allclose(found["distance"], stats.chi(d).ppf(chances), atol=1e-7)


@pytest.mark.parametrize("d", [1, 2, 30])
def test_heights_multiply_to_the_mass(run_node, d):
    script = f"""
        import {{ heights }} from "exhibits/typical-set.js";
        console.log(JSON.stringify([0.5, 2, 6].map((r) => heights({d}, r))));
    """
    found = [each["density"] + each["volume"] for each in run_node(script)]
    peak = max(np.sqrt(d - 1), 1e-9)
    expected = stats.chi(d).logpdf([0.5, 2, 6]) - stats.chi(d).logpdf(peak)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_draws_are_those_of_a_normal():
    for d in (1, 10, 100):
        far = TypicalSet(dimension=d).distances()
        normal = np.random.default_rng(7).standard_normal((4000, d))
        assert stats.ks_2samp(far, np.linalg.norm(normal, axis=1)).pvalue > 0.001


def test_heights_in_the_still_picture_are_those_of_the_script(run_node):
    script = """
        import { heights } from "exhibits/typical-set.js";
        console.log(JSON.stringify(heights(30, 2.7)));
    """
    theirs = run_node(script)
    ax = TypicalSet(logs=True).still().axes[1]
    for name in ("density", "volume"):
        [line] = [each for each in ax.lines if each.get_label() == name]
        height = np.interp(2.7, line.get_xdata(), line.get_ydata())
        assert height == pytest.approx(theirs[name], abs=0.01)


@pytest.mark.browser
def test_words_and_dots_are_pythons_numbers(open_exhibit):
    page = open_exhibit(TypicalSet(), "#exhibit-typical-set?dimension=9&radius=2")
    there, chi = TypicalSet(dimension=9), stats.chi(9)
    low, half, high = chi.ppf([0.025, 0.5, 0.975])
    words = page.locator(".exhibit-words").inner_text()
    assert f"In 9 dimensions half of all draws are farther from the mode than {half:.2f}" in words
    assert f"between {low:.2f} and {high:.2f}" in words
    assert f"is {100 * chi.cdf(2):.2f}%" in words
    hits = int((there.distances() < 2).sum())
    assert hits > 0
    assert f"of the 300 draws shown, {hits}." in words
    dots = page.locator("circle.draw").evaluate_all(
        "dots => dots.map((dot) => Math.hypot(dot.cx.baseVal.value, dot.cy.baseVal.value))"
    )
    np.testing.assert_allclose(
        np.array(dots) / dots[0], there.distances() / there.distances()[0], rtol=1e-5
    )
    ring = page.locator("circle.within").get_attribute("r")
    assert dots[0] / float(ring) == pytest.approx(there.distances()[0] / 2, rel=1e-5)
    assert page.complaints == []


@pytest.mark.browser
def test_dimension_and_radius_by_keyboard_and_mouse(open_exhibit):
    from playwright.sync_api import expect

    page = open_exhibit(TypicalSet())
    words = page.locator(".exhibit-words")
    expect(words).to_contain_text("of the 300 draws shown, none")
    page.get_by_label("Dimensions, d").focus()
    for _ in range(3):
        page.keyboard.press("PageDown")
    expect(words).to_contain_text("In one dimension")
    expect(words).to_contain_text(f"is {100 * stats.chi(1).cdf(1):.1f}%")
    expect(page.locator("circle.draw")).to_have_count(300)
    page.keyboard.press("ArrowRight")
    expect(words).to_contain_text("In 2 dimensions")
    handle = page.locator(".handle-radius")
    handle.scroll_into_view_if_needed()
    knob, box = handle.locator(".knob").bounding_box(), page.locator("svg.heights").bounding_box()
    page.mouse.move(knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 80, steps=4)
    page.mouse.up()
    expect(words).to_have_text(re.compile(r"Nearer than (6\.\d+|7) is"))
    page.get_by_role("button", name="Reset").click()
    expect(words).to_contain_text("In 30 dimensions")
    page.get_by_label("Heights as logarithms").check()
    expect(page).to_have_url(re.compile("#exhibit-typical-set[?]logs=true$"))
    expect(page.locator("svg.heights").get_by_text("logarithm, from")).to_be_visible()
    assert page.complaints == []
