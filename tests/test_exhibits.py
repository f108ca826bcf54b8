"""What all exhibits share: their controls in Python, their frame in the browser, their bundles."""

import filecmp
import json

import pytest
import traitlets

from bookbuild import bundle
from bookbuild import exhibits as book
from funnel import exhibits
from funnel.exhibits import base

FOLDER = book.FOLDER


class Toy(base.Exhibit):
    """An exhibit with a control of every kind, behind a script that exists."""

    name = "shrinkage"
    title = "A toy </script><b>"
    scale = base.Slider(0.5, 0.1, 10, label="Scale", unit="m", log=True)
    turns = base.Slider(3, 0, 10, label="Turns", step=0.5)
    kind = base.Choice({"a": "An a", "b": "A b"}, label="Kind")
    word = base.Choice(label="Word")
    grid = base.Switch(label="Grid")

    def still(self):
        from matplotlib.figure import Figure

        return Figure(figsize=(1, 1))


@pytest.fixture
def toy():
    return Toy({"x": [1]}, {"word": {"one": "1", "two": "2"}})


def test_controls_are_what_python_says(toy):
    assert toy.state == {"scale": 0.5, "turns": 3, "kind": "a", "word": "one", "grid": False}
    assert toy.controls["scale"]["unit"] == "m"
    assert toy.controls["word"]["options"] == {"one": "1", "two": "2"}


def test_the_state_it_begins_with_is_what_reset_returns_to():
    toy = Toy({}, {"word": {"one": "1", "two": "2"}}, scale=2, word="two")
    assert toy.controls["scale"]["default"] == 2
    assert toy.controls["word"]["default"] == "two"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale", 0.01),
        ("scale", 11),
        ("scale", float("nan")),
        ("scale", "x"),
        ("kind", "c"),
        ("word", "on"),
        ("grid", 2),
    ],
)
def test_bad_values_are_refused_and_leave_the_state_alone(toy, name, value):
    before = toy.state
    with pytest.raises(traitlets.TraitError, match=name):
        setattr(toy, name, value)
    assert toy.state == before


def test_what_is_no_control_is_refused():
    with pytest.raises(TypeError, match="no control size; it has"):
        Toy({}, {"word": {"one": "1"}}, size=1)


def test_a_range_that_is_none_is_refused():
    with pytest.raises(ValueError, match="Scale"):
        base.Slider(1, 0, 10, label="Scale", log=True)
    with pytest.raises(ValueError, match="Scale"):
        base.Slider(11, 0, 10, label="Scale")


def test_data_cannot_end_the_element_that_holds_it(toy):
    start, end = book.around(shown(toy))
    assert end.count("</script>") == 1
    island = end.removeprefix('<script type="application/json">').removesuffix("</script></div>")
    assert json.loads(island)["caption"] == toy.title
    assert start.startswith(
        '<div class="exhibit" id="exhibit-shrinkage" data-module="shrinkage.js?v='
    )


def test_jupyter_gets_a_widget_and_the_book_a_description(toy):
    bundle_ = toy._repr_mimebundle_()
    bundle_ = bundle_[0] if isinstance(bundle_, tuple) else bundle_
    assert "application/vnd.jupyter.widget-view+json" in bundle_
    assert set(bundle_[exhibits.MIME]) == {"exhibit", "description", "still"}


def test_a_notebook_keeps_the_order_of_the_controls(toy, tmp_path):
    import nbformat

    output = nbformat.v4.new_output("display_data", {exhibits.MIME: shown(toy)})
    cell = nbformat.v4.new_code_cell("", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "kept.ipynb")
    kept = nbformat.read(tmp_path / "kept.ipynb", 4).cells[0].outputs[0].data[exhibits.MIME]
    controls = json.loads(kept["description"])["controls"]
    assert list(controls) == ["scale", "turns", "kind", "word", "grid"]
    assert list(controls["word"]["options"]) == ["one", "two"]


def test_rounding_keeps_what_is_shown():
    assert base.rounded([1 / 3, [2e-9 / 3]]) == [0.33333, [6.6667e-10]]
    assert base.rounded(7) == 7


def test_bundles_are_made_from_their_sources(packages, tmp_path):
    """And from the locked packages: an edited script, or library, is bundled anew."""
    bundle.bundle(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    committed = FOLDER / "bundles"
    assert names == sorted(path.name for path in committed.iterdir()), "run: make exhibits"
    _, different, missing = filecmp.cmpfiles(committed, tmp_path, names, shallow=False)
    assert different + missing == [], "run: make exhibits"


def test_a_mistake_in_a_script_fails_the_bundling(packages, tmp_path):
    import subprocess

    with pytest.raises(subprocess.CalledProcessError):
        bundle.bundle(tmp_path, ["no-such-exhibit"])


def test_every_exhibit_has_one_class_and_one_script():
    scripts = {path.stem for path in FOLDER.glob("*.js")}
    classes = {
        getattr(exhibits, name) for name in exhibits.__all__ if name not in ("MIME", "Exhibit")
    }
    assert {each.name for each in classes} == scripts
    assert {path.stem for path in (FOLDER / "bundles").glob("*.js")} == scripts


STATES = """
    import { readFileSync } from "node:fs";
    import { parseState, writeState, atPosition } from "exhibits/shared/frame.js";
    const { controls, texts, states } = JSON.parse(readFileSync(process.argv[2]));
    console.log(JSON.stringify({
        parsed: texts.map((text) => parseState(controls, text)),
        back: states.map((state) => parseState(controls, writeState(controls, state))),
        stops: [-5, 0, 100, 200, 300].map((stop) => atPosition(controls.scale, stop)),
        steps: [-1, 0.2, 0.3, 9.9, 12].map((at) => atPosition(controls.turns, at)),
    }));
"""

HOSTILE = [
    "scale=1e9", "scale=", "scale=NaN", "scale=Infinity", "scale=0x1", "scale=1&scale=2",
    "kind=<img src=x onerror=alert(1)>", "kind=toString", "__proto__=1", "constructor=a",
    "grid=1", "size=3", "scale=1" + "0" * 3000,
]  # fmt: skip


def test_states_go_through_addresses_and_back(toy, run_node):
    states = [
        toy.state,
        {**toy.state, "scale": 0.123, "grid": True},
        {**toy.state, "turns": 9.5, "kind": "b", "word": "two"},
    ]
    texts = ["scale=2&grid=true", "", *HOSTILE]
    found = run_node(STATES, {"controls": toy.controls, "texts": texts, "states": states})
    assert found["parsed"][:2] == [{"scale": 2, "grid": True}, {}]
    assert found["parsed"][2:] == [None] * len(HOSTILE)
    for state, back in zip(states, found["back"], strict=True):
        assert {**toy.state, **back} == state
    assert found["stops"] == [0.1, 0.1, 1, 10, 10]
    assert found["steps"] == [0, 0, 0.5, 10, 10]


def shown(exhibit):
    bundle_ = exhibit._repr_mimebundle_()
    return (bundle_[0] if isinstance(bundle_, tuple) else bundle_)[exhibits.MIME]
