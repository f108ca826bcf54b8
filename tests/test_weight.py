"""What makes pages light leaves what they need."""

import pytest
from PIL import Image
from sphinx.errors import ExtensionError

from bookbuild import policy, purge, weight

SHEET = """
@charset "utf-8";
@import "other.css";
/* A comment. */
:root { --used: #123; --through: var(--used); --idle: 1px }
.seen > p, .unseen p { color: var(--through); font-family: Shown }
.made-by-script { margin: 0 }
.unseen { padding: 0 }
a:not(.unseen):hover { color: red !important }
details[open] summary { display: block }
.seen { animation: turn 1s; background: url(pictures/a.png) }
@media print { .unseen { display: none } .seen { display: block } }
@media screen { .unseen { display: none } }
@font-face { font-family: Shown; src: url(a.woff2) format("woff2"), url(a.ttf) }
@font-face { font-family: Hidden; src: url(b.woff2) }
@keyframes turn { to { color: blue } }
@keyframes never { to { color: blue } }
"""
HTML = '<div class="seen"><p>x <a href="#">y</a></p><details><summary>z</summary></details></div>'


@pytest.fixture
def purged(tmp_path):
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "main.css").write_text(SHEET)
    (tmp_path / "styles" / "other.css").write_text("p { margin: 1px } h6 { margin: 2px }")
    parts = purge.parse(tmp_path, "styles/main.css")
    names = purge.Seen(HTML).names
    found = purge.words("element.classList.add('made-by-script')")
    return purge.purge(parts, lambda name: name in names or name.lstrip(".#[") in found, HTML)


@pytest.mark.parametrize(
    "kept",
    [
        "p{margin:1px}",
        ":root{--used:#123;--through:var(--used)}",
        ".seen > p{color:var(--through);font-family:Shown}",
        ".made-by-script{margin:0}",
        "a:not(.unseen):hover{color:red!important}",
        "details[open] summary{display:block}",
        "url(styles/pictures/a.png)",
        "@media print{.seen{display:block}}",
        '@font-face{font-family:Shown;src:url(styles/a.woff2) format("woff2")}',
        "@keyframes turn{",
    ],
)
def test_what_a_page_needs_is_kept(purged, kept):
    assert kept in purged


@pytest.mark.parametrize("gone", ["h6", "--idle", "padding", "@media screen", "Hidden", "never"])
def test_what_a_page_has_no_use_for_is_not(purged, gone):
    assert gone not in purged


def test_a_sheet_that_is_not_understood_is_refused(tmp_path):
    (tmp_path / "a.css").write_text("@property --x { syntax: '*' }")
    with pytest.raises(ValueError, match=r"a\.css.*@property"):
        purge.parse(tmp_path, "a.css")


def test_sizes_of_images(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    assert weight.size(tmp_path / "a.png") == (30, 20)
    for text, wanted in {
        '<svg width="72pt" height="36pt">': (96, 48),
        '<svg viewBox="0 0 32 16">': (32, 16),
        '<svg width="10" height="20px">': (10, 20),
    }.items():
        (tmp_path / "a.svg").write_text(text)
        assert weight.size(tmp_path / "a.svg") == wanted
    (tmp_path / "a.svg").write_text("<svg>")
    with pytest.raises(ExtensionError, match="does not say its size"):
        weight.size(tmp_path / "a.svg")


def test_webp_is_taken_only_if_it_is_smaller(tmp_path):
    Image.effect_mandelbrot((300, 200), (-2, -1.5, 1, 1.5), 50).save(tmp_path / "a.png")
    name = weight.smaller(tmp_path / "a.png")
    if name:
        assert (tmp_path / name).stat().st_size < (tmp_path / "a.png").stat().st_size
        assert Image.open(tmp_path / name).convert("L").tobytes() == (
            Image.open(tmp_path / "a.png").convert("L").tobytes()
        )
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "b.webp").write_bytes(bytes(10**6))
    assert weight.smaller(tmp_path / "b.png") is None


def test_a_theme_that_has_changed_is_noticed(tmp_path):
    script = tmp_path / weight.THEME
    script.parent.mkdir(parents=True)
    script.write_text(f"boxes.forEach(e=>{{{weight.LOOKS}}})")
    weight.spare_layout(tmp_path)
    assert script.read_text() == "boxes.forEach(e=>{})"
    with pytest.raises(ExtensionError, match="as it did"):
        weight.spare_layout(tmp_path)


def test_an_inline_script_is_named_by_its_hash_and_data_are_not():
    html = '<script>run()</script><script type="application/json">{}</script><script src="a.js">'
    # By `printf 'run()' | openssl dgst -sha256 -binary | base64`.
    assert policy.hashes(html) == {"'sha256-AvyuiL0SD1mVY3NNxR+V2uo+lhk6RMFrytWmRt6CrJQ='"}
