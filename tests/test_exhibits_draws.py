"""The exhibit `draws`: what it shows is what the run holds, in Python and in the browser."""

import re

import numpy as np
import pytest
import xarray as xr
from scipy.stats import rankdata

from funnel.exhibits import Draws
from funnel.exhibits.draws import RANKS, SHOWN

COUNTIES = ["Aitkin", "Steele", "St. Louis"]


def make_run(chains=4, draws=1000, seed=0):
    """A run of a funnel, whose second chain lies low for a while and diverges there, once."""
    rng = np.random.default_rng(seed)
    log_scale = rng.normal(-1.5, 0.6, (chains, draws))
    log_scale[1, 300:500] -= 3
    scale = np.exp(log_scale)
    effects = rng.normal(size=(chains, draws, 3)) * scale[..., None] - 0.7
    diverging = np.zeros((chains, draws), bool)
    diverging[1, 403] = True
    energy = 900 + 8 * log_scale + rng.normal(size=(chains, draws))
    dims = ("chain", "draw")
    posterior = xr.Dataset(
        {"sigma_b": (dims, scale), "b": ((*dims, "county"), effects)}, {"county": COUNTIES}
    )
    statistics = xr.Dataset({"diverging": (dims, diverging), "energy": (dims, energy)})
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": statistics})


@pytest.fixture(scope="module")
def run():
    return make_run()


@pytest.fixture(scope="module")
def draws(run):
    return Draws(run, effect_of="Steele")


def test_it_opens_where_a_chain_lies_low(draws):
    assert draws.chain == "2"
    assert 28 <= draws.first < draws.last <= 52
    found = draws.report()
    assert found["low"] > 90
    assert found["energy"] < -1
    assert found["divergences"] == 1
    assert draws.first < draws.at < draws.last


def test_bars_are_those_of_all_draws(run, draws):
    scale = run.posterior["sigma_b"].to_numpy()
    ranks = rankdata(scale).reshape(scale.shape) / scale.size
    for chain, counts in enumerate(draws.data["ranks"]):
        np.testing.assert_array_equal(counts, np.histogram(ranks[chain], RANKS, (0, 1))[0])
    energy = run.sample_stats["energy"].to_numpy()
    energy = energy - energy.mean(axis=1, keepdims=True)
    edges = np.array(draws.data["edges"])
    assert edges[0] < energy.min() < energy.max() < edges[-1]
    for name, values in [("energies", energy), ("kicks", np.diff(energy, axis=1))]:
        area = np.sum(draws.data[name]) * (edges[1] - edges[0])
        assert area == pytest.approx(1, abs=1e-3)
        mean = np.sum(draws.data[name] * (edges[1:] + edges[:-1]) / 2) * (edges[1] - edges[0])
        assert mean == pytest.approx(values.mean(), abs=(edges[1] - edges[0]) / 2)


def test_divergent_draws_are_kept_when_others_are_not(run, draws):
    assert [len(each) for each in draws.data["diverging"]] == [0, 1, 0, 0]
    assert draws.data["divergences"] == [0, 1, 0, 0]
    (place,) = draws.data["diverging"][1]
    assert draws.data["scale"][1][place] == pytest.approx(
        float(run.posterior["sigma_b"][1, 403]), rel=1e-3
    )
    assert len(draws.data["scale"][0]) == SHOWN


def test_effects_come_back_to_a_part_of_their_range(run):
    here = Draws(run, effect_of="St. Louis")
    effects = run.posterior["b"].sel(county="St. Louis").to_numpy()
    everything = run.posterior["b"].to_numpy()
    step = (everything.max() - everything.min()) / 255
    # Every fourth draw is shown.
    np.testing.assert_allclose(here.effects()[0], effects[0, ::4], atol=0.51 * step)


def test_script_finds_what_python_finds(draws, run_node):
    script = """
        import { readFileSync } from "node:fs";
        import { effectOf, report, stretch } from "exhibits/draws.js";
        const { data, states } = JSON.parse(readFileSync(process.argv[2]));
        console.log(JSON.stringify({
          effects: effectOf(data, "Steele"),
          reports: states.map((state) =>
            report(data, Number(state.chain) - 1, stretch(state, data.scale[0].length))),
        }));
    """
    begun = draws.state
    states = [begun, begun | {"chain": "1", "first": 0.0, "last": 100.0}]
    states.append(begun | {"chain": "4", "first": 99.0, "last": 100.0})
    found = run_node(script, {"data": draws.data, "states": states})
    np.testing.assert_allclose(found["effects"], draws.effects(), rtol=1e-9)
    try:
        for state, theirs in zip(states, found["reports"], strict=True):
            for name in ("chain", "first", "last"):
                setattr(draws, name, state[name])
            assert theirs == pytest.approx(draws.report(), rel=1e-9, abs=1e-12)
    finally:
        for name, value in begun.items():
            setattr(draws, name, value)


def without(run, group, name):
    return xr.DataTree.from_dict(
        {key: tree.dataset.drop_vars(name if key == group else []) for key, tree in run.items()}
    )


def negative(run):
    below = run["posterior"].dataset * -1
    return xr.DataTree.from_dict({"posterior": below, "sample_stats": run["sample_stats"].dataset})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: xr.DataTree.from_dict({"posterior": run["posterior"].dataset}),
         "no group sample_stats"),
        (lambda run: without(run, "posterior", "sigma_b"), "posterior has no sigma_b; it has b"),
        (lambda run: without(run, "sample_stats", "energy"), "sample_stats has no energy"),
        (lambda run: run.isel(draw=slice(50)), "100 draws are the least"),
        (lambda run: run.isel(chain=slice(1)), "two chains"),
        (negative, "must be positive"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_shown_is_refused(run, change, message):
    with pytest.raises(ValueError, match=message):
        Draws(change(run))


def test_parameters_of_other_shapes_are_refused(run):
    with pytest.raises(ValueError, match="take one without others"):
        Draws(run, scale="b")
    with pytest.raises(ValueError, match="one dimension with a coordinate"):
        Draws(run, effect="sigma_b")


def test_the_still_picture_has_all_four_sides(draws):
    assert len(draws.still().axes) == 4


def said(page):
    page.wait_for_timeout(150)
    return page.locator(".exhibit-words").inner_text()


@pytest.mark.browser
def test_the_stretch_follows_mouse_and_keys(draws, open_exhibit):
    page = open_exhibit(draws)
    assert f"Chain 2, {draws.first:.0f} to {draws.last:.0f}%" in said(page)
    found = draws.report()
    assert f"{found['low']:.0f}% of its draws" in said(page)
    handle = page.locator(".handle-last")
    handle.focus()
    page.keyboard.press("End")
    assert re.search(r"to 100%", said(page))
    page.locator("input[name=first]").focus()
    page.keyboard.press("ArrowRight")
    assert f"Chain 2, {draws.first + 1:.0f} to 100%" in said(page)
    page.get_by_role("radio", name="4", exact=True).check()
    assert "Chain 4" in said(page)
    page.get_by_role("button", name="Reset").click()
    assert f"Chain 2, {draws.first:.0f} to {draws.last:.0f}%" in said(page)
    assert page.complaints == []


@pytest.mark.browser
def test_a_draw_under_the_pointer_is_marked_in_every_view(draws, open_exhibit):
    page = open_exhibit(draws)
    box = page.locator("svg.trace").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 80)
    percent = float(re.search(r"draw at ([\d.]+)%", said(page))[1])
    assert 70 < percent < 80
    assert page.locator("circle.at").count() == 4
    place = min(SHOWN - 1, round(percent / 100 * SHOWN))
    scale = draws.data["scale"][1][place]
    assert f"sigma_b {float(f'{scale:.3g}'):g}, b of Steele" in said(page)


@pytest.mark.browser
def test_a_county_is_chosen_by_name(draws, open_exhibit):
    page = open_exhibit(draws, viewport={"width": 360, "height": 740}, has_touch=True)
    page.get_by_label("Effect of").focus()
    page.get_by_role("radio", name="St. Louis").check()
    assert "b of St. Louis" in said(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.complaints == []
