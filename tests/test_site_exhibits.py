"""The exhibits on the built site, as every one of them has to be: light, lazy, usable by all."""

import gzip

import pytest
from axe_playwright_python.sync_playwright import Axe

from bookbuild import exhibits as book

pytestmark = pytest.mark.browser

#: Page and exhibit.
PLACES = [
    ("pooling", "shrinkage"),
    ("priors", "hyperprior"),
    ("funnel", "draws"),
    ("funnel", "sampler"),
    ("reparameterization", "centering"),
    ("reparameterization", "sampler"),
    ("expectations", "modes"),
    ("expectations", "typical-set"),
]
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
LIMIT = 250_000  # bytes, gzipped, of all that the exhibits of a page bring

places = pytest.mark.parametrize(("name", "exhibit"), PLACES)


@pytest.fixture
def open_page(browser, server):
    """Open a page of the site; the list `complaints` of the page has what went wrong."""
    contexts = []

    def go(name, fragment="", viewport=DESK, **options):
        contexts.append(browser.new_context(viewport=viewport, **options))
        page = contexts[-1].new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda said: said.type != "log" and page.complaints.append(said.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(f"{server}else/where/{name}.html{fragment}")
        return page

    yield go
    for context in contexts:
        context.close()


def live(page, exhibit):
    """Scroll to an exhibit until it speaks: sections on the way there get their height late."""
    place = page.locator(f"#exhibit-{exhibit}")
    spoken = place.locator(".exhibit-words:not(:empty)")
    for _ in range(40):
        place.scroll_into_view_if_needed()
        page.wait_for_timeout(500)
        if spoken.count():
            break
    spoken.wait_for(timeout=1000)
    return place


def words(place):
    place.page.wait_for_timeout(200)
    return place.locator(".exhibit-words").inner_text()


def move(slider, steps):
    """Move a slider by its keys, to the right, or to the left if it stands at its right end."""
    before = slider.get_attribute("aria-valuetext")
    for key in ("ArrowRight", "ArrowLeft"):
        slider.focus()
        for _ in range(steps):
            slider.press(key)
        slider.page.wait_for_timeout(500)
        if slider.get_attribute("aria-valuetext") != before:
            return
    raise AssertionError(f"{before} stays, whichever key is pressed")


@places
def test_scripts_come_from_here_and_only_when_near(open_page, server, name, exhibit):
    page = open_page(name)
    page.wait_for_load_state("networkidle")
    assert not any(f"exhibits/{exhibit}.js" in url for url in page.asked)
    assert page.locator(f"#exhibit-{exhibit} img").get_attribute("alt")
    place = live(page, exhibit)
    assert any(f"exhibits/{exhibit}.js" in url for url in page.asked)
    assert [u for u in page.asked if not u.startswith((server, "data:", "blob:"))] == []
    assert not place.locator("img").is_visible()
    assert page.complaints == []


@pytest.mark.parametrize("name", sorted({name for name, _ in PLACES}))
def test_scripts_are_light(name):
    bundles = [
        book.FOLDER / "bundles" / f"{exhibit}.js" for page, exhibit in PLACES if page == name
    ]
    files = [*bundles, book.LOADER, book.FOLDER / "exhibit.css"]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < LIMIT


@places
def test_every_slider_obeys_the_keyboard(open_page, name, exhibit):
    place = live(open_page(name), exhibit)
    sliders = place.locator('input[type="range"], [role="slider"]')
    for slider in sliders.all():
        if slider.is_disabled() or slider.is_hidden():
            continue
        move(slider, 1)
    assert place.page.complaints == []


@places
def test_state_goes_into_the_address_and_back(open_page, name, exhibit):
    page = open_page(name)
    place = live(page, exhibit)
    begun = words(place)
    slider = place.locator('input[type="range"]').first
    move(slider, 3)
    address = page.evaluate("location.hash")
    assert address.startswith(f"#exhibit-{exhibit}?")
    told = slider.get_attribute("aria-valuetext")
    place.get_by_role("button", name="Reset").click()
    assert words(place) == begun
    again = live(open_page(name, address), exhibit)
    assert again.locator('input[type="range"]').first.get_attribute("aria-valuetext") == told


@places
@pytest.mark.parametrize("text", ["x=1", "<img src=x onerror=alert(1)>", "__proto__[x]=1", "=&=&"])
def test_a_bad_address_falls_back_and_never_runs(open_page, name, exhibit, text):
    begun = words(live(open_page(name), exhibit))
    page = open_page(name, f"#exhibit-{exhibit}?{text}")
    assert words(live(page, exhibit)) == begun
    assert page.complaints == []


@places
def test_link_to_the_state_is_copied(open_page, name, exhibit):
    page = open_page(name, permissions=["clipboard-read", "clipboard-write"])
    place = live(page, exhibit)
    place.get_by_role("button", name="Copy link to this state").click()
    page.wait_for_timeout(200)
    assert f"{name}.html#exhibit-{exhibit}" in page.evaluate("navigator.clipboard.readText()")


@places
def test_a_picture_stands_in_without_scripts_and_on_paper(open_page, name, exhibit):
    plain = open_page(name, java_script_enabled=False)
    assert plain.locator(f"#exhibit-{exhibit} img").is_visible()
    page = open_page(name)
    place = live(page, exhibit)
    page.emulate_media(media="print")
    assert place.locator("img").is_visible()
    assert not place.locator(".exhibit-live").is_visible()


@places
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_exhibit_is_accessible_and_fits(open_page, name, exhibit, theme, viewport):
    page = open_page(name, viewport=viewport, color_scheme=theme)
    live(page, exhibit)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    results = Axe().run(
        page,
        context=f"#exhibit-{exhibit}",
        options={"resultTypes": ["violations"], "preload": False},
    )
    assert results.violations_count == 0, results.generate_report()


@places
def test_a_finger_moves_what_a_mouse_moves(open_page, name, exhibit):
    page = open_page(name, viewport=PHONE, has_touch=True)
    place = live(page, exhibit)
    slider = place.locator('input[type="range"]').first
    before = slider.get_attribute("aria-valuetext")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + 0.85 * box["width"], box["y"] + box["height"] / 2)
    page.wait_for_timeout(200)
    assert slider.get_attribute("aria-valuetext") != before
