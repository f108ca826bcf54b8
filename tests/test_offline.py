"""The zip for a classroom without network, unpacked and served by a plain file server."""

import zipfile
from pathlib import Path

import pytest
import yaml

from bookbuild import offline
from bookbuild.pdf import served

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def unpacked(site, tmp_path_factory):
    """Pages in a sub-folder of what is served, as on a stick."""
    folder = tmp_path_factory.mktemp("stick")
    offline.pack(site, CONFIG, folder / "course.zip")
    with zipfile.ZipFile(folder / "course.zip") as archive:
        archive.extractall(folder / "some" / "where")
    with served(folder) as address:
        yield folder / "some/where" / offline.NAME, f"{address}some/where/{offline.NAME}/"


def test_every_file_of_the_site_is_in_it(site, unpacked):
    folder, _ = unpacked
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert files == {path.relative_to(site) for path in site.rglob("*") if path.is_file()} | {
        Path("README.txt")
    }
    readme = (folder / "README.txt").read_text()
    assert CONFIG["title"] in readme
    assert "python3 -m http.server" in readme


@pytest.mark.browser
@pytest.mark.parametrize("name", ["index.html", "pooling.html", "404.html"])
def test_a_page_asks_nobody_else(unpacked, browser, name):
    _, address = unpacked
    page = browser.new_page()
    asked, failed = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: failed.append(answer.url) if answer.status > 399 else None)
    page.goto(address + name)
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert failed == []
    page.close()


@pytest.mark.browser
def test_the_page_for_what_is_missing_leads_back(unpacked, browser):
    _, address = unpacked
    page = browser.new_page()
    page.goto(f"{address}404.html")
    page.locator("article a").first.click()
    page.wait_for_url(f"{address}index.html")
    page.close()


@pytest.mark.browser
def test_search_works(unpacked, browser):
    _, address = unpacked
    page = browser.new_page()
    page.goto(f"{address}search.html?q=leapfrog")
    found = page.locator("ul.search li a")
    found.first.wait_for()
    found.first.click()
    page.wait_for_url(f"{address}*.html*")
    page.close()


def test_it_needs_a_site(tmp_path, capsys):
    assert offline.main(tmp_path) == 1
    assert "make book" in capsys.readouterr().err
