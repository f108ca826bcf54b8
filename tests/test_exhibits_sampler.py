"""The exhibit `sampler`: real chains in the page, and judged as Python would judge them."""

import json
import re

import arviz as az
import numpy as np
import pytest

from bookbuild import openings as book_openings
from funnel import exact, priors
from funnel.exhibits import Sampler
from funnel.exhibits.sampler import ALIKE, COPIES, OPENINGS, fingerprint


@pytest.fixture(scope="module")
def made(homes):
    return Sampler(homes)


@pytest.fixture
def sampler(made):
    """Give the exhibit in the state that it opens in."""
    for name, control in made.controls.items():
        setattr(made, name, control["default"])
    return made


def words(page):
    return page.locator(".exhibit-words").inner_text()


def wait_for(page, text, seconds=60):
    page.locator(".exhibit-words", has_text=text).wait_for(timeout=1000 * seconds)


def cells(page, table):
    rows = page.locator(f"table.{table} tr").all()
    return {row.locator("td").first.inner_text(): row for row in rows[1:]}


def test_exact_answers_are_those_of_the_posterior(truth, sampler):
    radon = sampler.data["exact"]["radon"]
    assert radon["limit"] == ALIKE
    assert radon["mean"] == pytest.approx(truth.mean("sigma_b"), rel=1e-7)
    assert radon["below"] == pytest.approx(truth.cdf("sigma_b", ALIKE), rel=1e-7)
    scale = np.array(radon["scale"])
    expected = scale * truth.density("sigma_b", scale)
    np.testing.assert_allclose(radon["density"], expected, rtol=1e-4, atol=1e-6)
    neal = sampler.data["exact"]["neal"]
    assert 2 * np.log(neal["limit"]) / 3 == pytest.approx(-1.2815515655446004)


def test_many_homes_are_each_home_many_times(homes, sampler):
    many = sampler.data["exact"]["many"]
    repeated = homes.loc[homes.index.repeat(COPIES)]
    posterior = exact.varying_slopes(repeated, priors.ESSAY)
    assert many["mean"] == pytest.approx(posterior.mean("sigma_b"), rel=1e-6)
    assert many["below"] == pytest.approx(0.1, abs=0.01)


def test_a_mean_that_does_not_exist_is_none(homes):
    """Basements say nothing of slopes, so that their scale keeps its half-Cauchy prior."""
    assert Sampler(homes[homes["floor"] == 0]).data["exact"]["radon"]["mean"] is None


def test_other_homes_have_no_run_made_before(homes, sampler):
    assert len(sampler.data["runs"]) == len(book_openings.STATES)
    other = Sampler(homes.assign(log_radon=homes["log_radon"] + 1))
    assert other.data["runs"] == []
    assert fingerprint(other.data) != fingerprint(sampler.data)


@pytest.mark.slow
def test_runs_made_before_are_what_the_engine_makes():
    """But for the time that they took."""
    kept = json.loads(OPENINGS.read_text(encoding="utf-8"))
    anew = book_openings.openings()
    for each in (*kept, *anew):
        each["report"].pop("seconds")
    assert anew == kept


@pytest.mark.slow
def test_report_agrees_with_arviz(truth, sampler, run_engine):
    """Worst of the five top-level parameters; here the scale is the worst."""
    (found,) = run_engine(sampler, [{}])
    draws = np.array(found["scale"])
    assert found["rhatOf"] == "sigma_b"
    assert found["rhat"] == pytest.approx(az.rhat(draws), abs=1e-3)
    assert found["bulk"] == pytest.approx(az.ess(draws, method="bulk"), rel=1e-2)
    mean, below = found["expectations"]
    assert mean["found"] == pytest.approx(draws.mean())
    assert mean["error"] == pytest.approx(az.mcse(draws, method="mean"), rel=1e-2)
    assert below["found"] == pytest.approx((draws < ALIKE).mean())
    assert below["exact"] == pytest.approx(truth.cdf("sigma_b", ALIKE))
    # What the exhibit is about: no divergence, and the neck is missing.
    assert found["divergences"] == 0
    assert found["warnings"] == ["rhat", "bulk", "tail", "bfmi"]
    assert found["wrong"]


@pytest.mark.slow
def test_neals_funnel_is_missed_centered_and_found_noncentered(sampler, run_engine):
    states = [
        {"model": "neal", "slopes": way, "seed": seed} for way in (0.0, 1.0) for seed in range(4)
    ]
    found = run_engine(sampler, states)
    assert not any(each["wrong"] for each in found[:4])
    assert all(each["warnings"] for each in found[4:])


def test_draws_before_a_run_are_asked_for_in_vain(sampler):
    with pytest.raises(RuntimeError, match="press Run"):
        _ = sampler.draws


def test_draws_come_back_for_arviz(homes):
    """As the script hands them over: bytes, chain after chain."""
    sampler = Sampler(homes)
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 50))
    sampler.run = {
        "chains": 4,
        "values": {"sigma_b": memoryview(values.tobytes())},
        "statistics": {
            "diverging": memoryview((values > 2).astype("u1").tobytes()),
            "energy": memoryview(values.tobytes()),
            "acceptance_rate": memoryview(values.tobytes()),
            "tree_depth": memoryview(np.full((4, 50), 3, "u1").tobytes()),
        },
    }
    draws = sampler.draws
    np.testing.assert_array_equal(draws.posterior["sigma_b"], values)
    np.testing.assert_array_equal(draws.sample_stats["diverging"], values > 2)
    assert draws.sample_stats["tree_depth"].dtype == np.dtype("u1")


def test_still_picture_needs_no_run(homes):
    figure = Sampler(homes, seed=7).still()
    assert figure.axes[0].get_xlabel() == "slope of Steele, log pCi/L"


@pytest.mark.browser
def test_opens_with_the_run_that_has_no_divergence_and_no_neck(sampler, open_exhibit):
    page = open_exhibit(sampler)
    report = sampler.opening()["report"]
    exact_below = sampler.data["exact"]["radon"]["below"]
    assert words(page) == (
        f"Diagnostics warn: no divergences, R-hat {report['rhat']:.3f}. The run gives σ_b below "
        f"{ALIKE} a probability of {100 * report['expectations'][1]['found']:.1f}%; "
        f"exact is {100 * exact_below:.1f}%."
    )
    answer = cells(page, "answers")[f"P(σ_b < {ALIKE})"]
    assert answer.locator("td").nth(1).inner_text() == f"{exact_below:.4f}"
    assert answer.locator("td.bad").count() == 1
    assert page.locator("svg.cloud path.chain").count() == 4
    assert page.locator(".strips svg").count() == 4
    assert page.complaints == []


@pytest.mark.browser
def test_runs_show_progress_and_end_with_an_answer_that_is_right(sampler, open_exhibit):
    page = open_exhibit(sampler)
    page.get_by_role("button", name="Noncentered", exact=True).click()
    wait_for(page, "Diagnostics pass, and the answer is right")
    assert page.get_by_label("Centeredness of the slopes").get_attribute("aria-valuetext") == "0"
    page.get_by_label("Seed").focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, "Nothing has been run")
    page.get_by_role("button", name="Run", exact=True).press("Enter")
    wait_for(page, "The chains are running")
    page.locator(".bar", has_text=" of 8,000 transitions").wait_for()
    wait_for(page, "exact is")
    exact_below = sampler.data["exact"]["radon"]["below"]
    answer = cells(page, "answers")[f"P(σ_b < {ALIKE})"].locator("td").all_inner_texts()
    assert answer[1] == f"{exact_below:.4f}"
    assert abs(float(answer[3].replace("−", "-"))) < 5
    assert f"a probability of {100 * float(answer[2]):.1f}%" in words(page)
    assert page.complaints == []


@pytest.mark.browser
def test_a_run_is_canceled(sampler, open_exhibit):
    page = open_exhibit(sampler)
    page.get_by_role("button", name="Smaller steps").click()
    wait_for(page, "The chains are running")
    page.get_by_role("button", name="Cancel").click()
    wait_for(page, "Nothing has been run")
    assert page.get_by_role("button", name="Cancel").is_disabled()
    assert page.complaints == []


@pytest.mark.browser
def test_a_trajectory_is_followed_with_its_energy_error(sampler, open_exhibit):
    page = open_exhibit(sampler, reduced_motion="reduce")
    assert page.locator("svg.error").count() == 0
    page.get_by_role("button", name="Follow one trajectory").click()
    page.locator("svg.error path.error").wait_for()
    first = page.locator("svg.cloud path.walk").get_attribute("d")
    # Without motion the whole path is there at once: more than one step.
    assert first.count("L") > 1
    page.get_by_role("button", name="Follow one trajectory").click()
    page.wait_for_timeout(200)
    assert page.locator("svg.cloud path.walk").get_attribute("d") != first
    page.get_by_role("button", name="Noncentered", exact=True).click()
    wait_for(page, "Diagnostics pass")
    assert page.locator("svg.cloud path.walk[d]:not([d=''])").count() == 0
    assert page.complaints == []


@pytest.mark.browser
def test_other_models_have_other_controls(sampler, open_exhibit):
    page = open_exhibit(sampler)
    page.get_by_label("Neal’s funnel").check()
    page.get_by_label("HMC, fixed path").check()
    page.wait_for_timeout(150)
    assert page.get_by_label("Number of x").is_visible()
    assert page.get_by_label("Step size ε").is_visible()
    assert page.get_by_label("Path length, in time").is_visible()
    assert not page.get_by_label("County of the slope").is_visible()
    assert not page.get_by_label("Target acceptance").is_visible()
    page.get_by_role("button", name="Run", exact=True).click()
    wait_for(page, "the lowest tenth of v")
    assert "exact is 10.0%" in words(page)
    assert page.complaints == []


@pytest.mark.browser
@pytest.mark.parametrize(
    "fragment",
    [
        "#exhibit-sampler?seed=1e9&slopes=NaN&model=<script>alert(1)</script>",
        "#exhibit-sampler?county=%22onload%3Dalert(1)&target_accept=1.5",
        "#exhibit-sampler?__proto__=x&constructor=y&seed=-1",
    ],
)
def test_a_hostile_address_opens_as_if_there_were_none(sampler, open_exhibit, fragment):
    page = open_exhibit(sampler, fragment)
    assert "no divergences" in words(page)
    assert page.complaints == []


@pytest.mark.browser
def test_an_address_chooses_and_does_not_run(sampler, open_exhibit):
    page = open_exhibit(sampler, "#exhibit-sampler?county=St.+Louis&slopes=0.5&seed=3")
    assert page.get_by_label("County of the slope").input_value() == "St. Louis"
    assert "press Run" in words(page)
    assert page.get_by_label("Seed").get_attribute("aria-valuetext") == "3"
    assert page.complaints == []


@pytest.mark.browser
def test_nothing_overflows_on_a_phone(sampler, open_exhibit):
    page = open_exhibit(sampler, viewport={"width": 360, "height": 740}, has_touch=True)
    page.get_by_role("button", name="Follow one trajectory").tap()
    page.locator("svg.error").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    edge = page.locator(".exhibit-live").bounding_box()
    for text in page.locator(".exhibit-stage text").all():
        box = text.bounding_box()
        assert edge["x"] <= box["x"]
        assert box["x"] + box["width"] <= edge["x"] + edge["width"] + 0.5
    sizes = page.locator(".exhibit-stage text").evaluate_all(
        "all => all.map(text => parseFloat(getComputedStyle(text).fontSize))"
    )
    assert min(sizes) >= 12
    assert not re.search(r"NaN|undefined|Infinity", page.locator(".exhibit-live").inner_text())
