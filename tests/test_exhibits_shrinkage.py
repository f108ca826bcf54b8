"""The exhibit `shrinkage`: its numbers against the exact posterior, and as a reader uses it."""

import re

import numpy as np
import pytest

from funnel.exhibits import Shrinkage


@pytest.fixture(scope="module")
def shrinkage(homes):
    return Shrinkage(homes, county="Lac qui Parle")


def test_curve_is_the_exact_posterior(homes, shrinkage):
    from funnel import exact, priors

    truth = exact.varying_intercepts(homes, priors.ESSAY)
    scale = np.array(shrinkage.data["scale"])
    np.testing.assert_allclose(shrinkage.data["below"], truth.cdf("sigma_a", scale), atol=1e-4)
    density = scale * truth.density("sigma_a", scale)
    np.testing.assert_allclose(shrinkage.data["density"], density, atol=1e-4 * density.max())


def test_script_pools_as_python_does(shrinkage, run_node):
    script = """
        import { readFileSync } from "node:fs";
        import { pool } from "exhibits/shrinkage.js";
        const { own, homes, sigma_y, scales } = JSON.parse(readFileSync(process.argv[2]));
        console.log(JSON.stringify(scales.map((s) => pool(own, homes, sigma_y, s))));
    """
    scales = [0.01, 0.3, 10.0]
    found = run_node(script, {**shrinkage.data, "scales": scales})
    for scale, theirs in zip(scales, found, strict=True):
        shrinkage.sigma_a = scale
        levels, mean = shrinkage.estimates()
        np.testing.assert_allclose(theirs["levels"], levels, rtol=1e-9)
        np.testing.assert_allclose(theirs["mean"], mean, rtol=1e-9)
    shrinkage.sigma_a = 0.3


def test_levels_at_the_posterior_scale_are_near_the_exact_means(homes, shrinkage):
    from funnel import exact, priors

    truth = exact.varying_intercepts(homes, priors.ESSAY)
    here = Shrinkage(homes, sigma_a=truth.mean("sigma_a"))
    levels, _ = here.estimates()
    # Conditional at the mean of the scale, against averaged over the scale.
    assert np.abs(levels - truth.mean("a").to_numpy()).max() < 0.1 * truth.sd("a").max()


@pytest.mark.browser
def test_dragging_and_keys_move_the_scale(shrinkage, open_exhibit):
    page = open_exhibit(shrinkage)
    words, handle = page.locator(".exhibit-words"), page.locator(".handle-sigma_a")
    assert "At σₐ = 0.3 log pCi/L" in words.inner_text()
    handle.scroll_into_view_if_needed()
    box = page.locator("svg.scale").bounding_box()
    page.mouse.move(*center(handle))
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.up()
    dragged = value(words)
    assert dragged < 0.03
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(100)
    assert value(words) == pytest.approx(dragged * 1000**0.01, rel=0.02)
    page.keyboard.press("End")
    page.wait_for_timeout(100)
    assert value(words) == 10
    assert handle.get_attribute("aria-valuetext") == "10 log pCi/L"
    page.get_by_role("button", name="Reset").click()
    page.wait_for_timeout(100)
    assert value(words) == 0.3
    assert page.complaints == []


@pytest.mark.browser
def test_shown_numbers_are_those_of_python(homes, shrinkage, open_exhibit):
    page = open_exhibit(shrinkage, "#exhibit-shrinkage?sigma_a=0.1&county=St.+Louis")
    there = Shrinkage(homes, sigma_a=0.1, county="St. Louis")
    levels, _ = there.estimates()
    index = there.data["counties"].index("St. Louis")
    words = page.locator(".exhibit-words").inner_text()
    assert f"alone {there.data['own'][index]:.2f}, now {levels[index]:.2f}" in words
    worth = (there.data["sigma_y"] / 0.1) ** 2
    assert float(re.search(r"as much as ([\d.]+) homes", words)[1]) == pytest.approx(
        worth, rel=0.01
    )


@pytest.mark.browser
def test_a_county_is_followed_by_a_click(shrinkage, open_exhibit):
    page = open_exhibit(shrinkage)
    page.locator("g.county", has_text="St. Louis").locator("circle.level").click()
    page.wait_for_timeout(100)
    assert "St. Louis, with 116" in page.locator(".exhibit-words").inner_text()
    assert page.get_by_label("County to follow").input_value() == "St. Louis"


def center(part):
    box = part.locator(".knob").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def value(words):
    return float(re.search(r"At σₐ = ([\d.]+) log", words.inner_text())[1])
