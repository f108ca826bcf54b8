"""The exhibit `hyperprior`: its posterior against the exact one, and as a reader uses it."""

import re
from dataclasses import replace

import numpy as np
import pytest
import traitlets
from scipy import stats

from funnel import priors
from funnel.data import to_log_radon
from funnel.exhibits import Hyperprior
from funnel.exhibits.hyperprior import FAMILIES

ABOUT_HOMES = priors.Hyperpriors(
    mu_a=priors.Normal(0.3, 1),
    sigma_a=priors.HalfNormal(0.74),
    mu_b=priors.Normal(0, 1),
    sigma_b=priors.HalfNormal(0.74),
    sigma_y=priors.HalfNormal(1),
)
MEDIANS = [0.02, 0.1, 0.5, 3.0, 20.0]
POINTS = [0.003, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 5.0]


@pytest.fixture(scope="module")
def hyperprior(homes):
    return Hyperprior(homes, ABOUT_HOMES)


@pytest.fixture(scope="module")
def few(homes):
    """Three counties: the posterior has a tail like a power."""
    part = homes[homes["county"].isin(["Hennepin", "Itasca", "Steele"])].copy()
    part["county"] = part["county"].cat.remove_unused_categories()
    return part


POSTERIORS = """
    import { readFileSync } from "node:fs";
    import { posteriorOf, parameterOf } from "exhibits/hyperprior.js";
    const { data, medians, points } = JSON.parse(readFileSync(process.argv[2]));
    console.log(JSON.stringify(Object.keys(data.families).map((family) => medians.map((median) => {
        const { cdf, mean } = posteriorOf(data, family, median);
        return { number: parameterOf(data.families[family], median), mean, cdf: points.map(cdf) };
    }))));
"""


def compare_with_exact(exhibit, run_node, medians):
    """Yield posteriors of the script and of Python, for all families and medians."""
    found = run_node(POSTERIORS, {"data": exhibit.data, "medians": medians, "points": POINTS})
    for name, by_median in zip(FAMILIES, found, strict=True):
        for median, theirs in zip(medians, by_median, strict=True):
            exhibit.median = median
            yield exhibit.prior(name), theirs, exhibit.posterior(name)
    exhibit.median = 0.5


def test_priors_have_the_median(hyperprior):
    for median in MEDIANS:
        hyperprior.median = median
        for name in FAMILIES:
            assert float(hyperprior.prior(name).cdf(median)) == pytest.approx(0.5)
    hyperprior.median = 0.5


def test_posterior_agrees_with_the_exact_one(hyperprior, run_node):
    """For every family, from a prior that decides to one that is silent."""
    for prior, theirs, truth in compare_with_exact(hyperprior, run_node, MEDIANS):
        assert theirs["number"] == pytest.approx(next(iter(vars(prior).values())))
        np.testing.assert_allclose(theirs["cdf"], truth.cdf("sigma_b", POINTS), atol=3e-4)
        assert theirs["mean"] == pytest.approx(truth.mean("sigma_b"), abs=3e-4)


def test_silent_data_give_back_the_prior(hyperprior, run_node):
    """On a short lattice: the mass of the prior at both ends counts."""
    silent = {"ends": [0.004, 2.0], "log_likelihood": [0.0] * 201, "informing": 0}
    data = {**hyperprior.data, **silent}
    points = [0.004, 0.02, 0.1, 1.0, 2.0]
    found = run_node(POSTERIORS, {"data": data, "medians": [0.1], "points": points})
    hyperprior.median = 0.1
    for name, (theirs,) in zip(FAMILIES, found, strict=True):
        np.testing.assert_allclose(theirs["cdf"], hyperprior.prior(name).cdf(points), atol=1e-3)
    hyperprior.median = 0.5


@pytest.mark.parametrize("others", [ABOUT_HOMES, priors.ESSAY])
def test_tail_beyond_the_lattice_counts(few, run_node, others):
    """Of three counties, one with a first floor: no variance, and a mean that is far out."""
    exhibit = Hyperprior(few, others)
    assert exhibit.data["informing"] == 1
    for _, theirs, truth in compare_with_exact(exhibit, run_node, [5.0, 20.0]):
        np.testing.assert_allclose(theirs["cdf"], truth.cdf("sigma_b", POINTS), atol=3e-4)
        assert theirs["mean"] == pytest.approx(truth.mean("sigma_b"), rel=1e-3)


def test_likelihood_does_not_depend_on_the_prior_that_is_left_aside(homes, hyperprior):
    other = Hyperprior(homes, replace(ABOUT_HOMES, sigma_b=priors.Gamma2(30)))
    assert other.data["log_likelihood"] == hyperprior.data["log_likelihood"]


IMAGINED = """
    import { readFileSync } from "node:fs";
    import { imagine } from "exhibits/hyperprior.js";
    const { data, medians, places } = JSON.parse(readFileSync(process.argv[2]));
    console.log(JSON.stringify(Object.keys(data.families).map((family) => medians.map((median) => {
        const { density, above } = imagine(data, family, median);
        return { density: places.map(density), above: places.map(above) };
    }))));
"""


def test_script_imagines_as_python_does(hyperprior, run_node):
    places = [-5.0, hyperprior.data["nothing"], 0.0, 1.0, hyperprior.data["record"], 20.0]
    given = {"data": hyperprior.data, "medians": MEDIANS, "places": places}
    found = run_node(IMAGINED, given)
    for name, by_median in zip(FAMILIES, found, strict=True):
        for median, theirs in zip(MEDIANS, by_median, strict=True):
            hyperprior.median = median
            density, above = hyperprior.imagined(name, np.array(places))
            np.testing.assert_allclose(theirs["density"], density, atol=1e-6)
            np.testing.assert_allclose(theirs["above"], above, atol=1e-6)
    hyperprior.median = 0.5


def test_imagined_homes_are_those_of_the_priors(hyperprior):
    """Against a much finer rule: a sorted sample of each scale, at equal probabilities."""
    p = (np.arange(120) + 0.5) / 120
    county, home = np.meshgrid(ABOUT_HOMES.sigma_a.quantile(p), ABOUT_HOMES.sigma_y.quantile(p))
    rest = (2 + county**2 + home**2).ravel()
    fine = (np.arange(1000) + 0.5) / 1000
    for name in FAMILIES:
        for median in (0.1, 0.5, 5.0):
            hyperprior.median = median
            for log_radon in (to_log_radon(0.05), to_log_radon(3715)):
                slopes = hyperprior.prior(name).quantile(fine)
                spread = np.sqrt(np.add.outer(slopes**2, rest))
                share = stats.norm.sf((log_radon - 0.3) / spread).mean()
                found = float(hyperprior.imagined(name, log_radon)[1])
                assert found == pytest.approx(share, abs=3e-4)
    hyperprior.median = 0.5


def test_the_chapters_pair_of_priors(hyperprior):
    """At a median of 0.2 they agree about large scales, and disagree threefold about small."""
    hyperprior.median = 0.2
    flat, avoiding = hyperprior.posterior("Exponential"), hyperprior.posterior("Gamma2")
    assert flat.cdf("sigma_b", 0.3) == pytest.approx(avoiding.cdf("sigma_b", 0.3), abs=0.01)
    assert flat.cdf("sigma_b", 0.05) > 2.5 * avoiding.cdf("sigma_b", 0.05)
    # Where the prior is vague, three families give way to the data and Gamma2 does not.
    hyperprior.median = 20.0
    alike = {name: hyperprior.posterior(name).cdf("sigma_b", 0.05) for name in FAMILIES}
    three = [alike.pop(name) for name in ("HalfCauchy", "HalfNormal", "Exponential")]
    assert max(three) - min(three) < 0.002
    assert min(three) > 5 * alike["Gamma2"]
    record = to_log_radon(3715)
    assert float(hyperprior.imagined("HalfCauchy", record)[1]) > 0.25
    hyperprior.median = 0.5
    sensible = hyperprior.posterior("HalfNormal").cdf("sigma_b", 0.05)
    assert sensible == pytest.approx(np.mean(three), abs=0.01)
    assert float(hyperprior.imagined("HalfNormal", record)[1]) < 1e-3
    # Where it is firm, the choice of the family decides about large scales.
    hyperprior.median = 0.02
    assert min(hyperprior.posterior(name).cdf("sigma_b", 0.05) for name in FAMILIES) > 0.7
    hyperprior.median = 0.5


def test_bad_input_is_refused(homes):
    with pytest.raises(ValueError, match="no first floor"):
        Hyperprior(homes[homes["floor"] == 0], ABOUT_HOMES)
    with pytest.raises(TypeError, match="Hyperpriors"):
        Hyperprior(homes, priors.HalfCauchy(5))
    with pytest.raises(traitlets.TraitError, match="family"):
        Hyperprior(homes, ABOUT_HOMES, family="Uniform")


def test_still_picture_shows_the_exact_posterior(hyperprior):
    top, bottom = hyperprior.still().axes
    x, y = top.lines[1].get_data()
    np.testing.assert_allclose(y, x * hyperprior.posterior("Exponential").density("sigma_b", x))
    assert bottom.get_xlabel().endswith("pCi/L")


@pytest.mark.browser
def test_shown_numbers_are_those_of_python(homes, hyperprior, open_exhibit):
    fragment = "#exhibit-hyperprior?family=HalfNormal&other=HalfCauchy&median=2"
    page = open_exhibit(hyperprior, fragment)
    there = Hyperprior(homes, ABOUT_HOMES, family="HalfNormal", other="HalfCauchy", median=2)
    words = text(page)
    assert "Under HalfNormal(sigma=2.97) " in words
    assert "under HalfCauchy(beta=2), dashed" in words
    for name, numbers in zip(("HalfNormal", "HalfCauchy"), shown(words), strict=True):
        truth = there.posterior(name)
        wanted = [
            100 * truth.cdf("sigma_b", 0.05),
            100 * (1 - truth.cdf("sigma_b", 0.3)),
            truth.mean("sigma_b"),
            100 * float(there.imagined(name, to_log_radon(3715))[1]),
        ]
        assert (np.abs(np.subtract(numbers, wanted)) < [0.1, 0.1, 1e-3, 0.06]).all()
    assert page.complaints == []


@pytest.mark.browser
def test_families_and_median_by_mouse_and_keyboard(hyperprior, open_exhibit):
    page = open_exhibit(hyperprior)
    first = page.get_by_role("radiogroup", name="Prior of σ_b")
    first.get_by_label("half-normal").click()
    page.wait_for_timeout(100)
    assert "Under HalfNormal(sigma=0.741)" in text(page)
    page.keyboard.press("ArrowRight")  # to the next family of the group
    page.wait_for_timeout(100)
    assert "Under Exponential(lam=1.39)" in text(page)
    handle = page.locator(".handle-median")
    handle.scroll_into_view_if_needed()
    knob, box = handle.locator(".knob").bounding_box(), page.locator("svg.scale").bounding_box()
    page.mouse.move(knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 30, box["y"] + 150)
    page.mouse.up()
    page.wait_for_timeout(100)
    dragged = float(handle.get_attribute("aria-valuenow"))
    assert 10 < dragged <= 20
    handle.focus()
    page.keyboard.press("Home")
    page.wait_for_timeout(100)
    assert handle.get_attribute("aria-valuetext") == "0.02 log pCi/L"
    assert "Under Exponential(lam=34.7)" in text(page)
    page.get_by_label("Median of both priors").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(100)
    assert float(handle.get_attribute("aria-valuenow")) > 0.02
    page.get_by_role("button", name="Reset").click()
    page.wait_for_timeout(100)
    assert "Under Exponential(lam=1.39)" in text(page)
    assert page.complaints == []


@pytest.mark.browser
def test_one_family_is_not_compared_with_itself(hyperprior, open_exhibit):
    page = open_exhibit(hyperprior, "#exhibit-hyperprior?other=Exponential")
    assert "dashed" not in text(page)
    assert page.locator("path.second-posterior").get_attribute("d") is None


def text(page):
    return page.locator(".exhibit-words").inner_text().replace("\u00a0", " ")


def shown(words):
    """Probability of alike, of apart, mean and share beyond the record, of each prior."""
    pattern = r"([\d.]+)%, that they .*? is ([\d.]+)%, and the mean of σ_b is ([\d.]+)"
    other = r"they are ([\d.]+)%, ([\d.]+)% and ([\d.]+)\."
    beyond = re.findall(r"([\d.]+)%", words.split("before any data")[1])
    both = [re.search(pattern, words), re.search(other, words)]
    return [[*map(float, m.groups()), float(b)] for m, b in zip(both, beyond, strict=True)]
