"""The printed book, before Chromium prints it: nothing folded, every link with a target."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from pypdf import PdfReader

from bookbuild import pdf

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("solutions", [True, False])
def test_all_is_in_it_once_and_nothing_is_folded(site, solutions):
    book, articles, parts = pdf.join(site, ROOT, solutions=solutions)
    assert bool(book.select(".solution")) == solutions
    assert bool(book.select("#answers--")) == (not solutions)
    assert book.select("details, summary, script, button, form, .live") == []
    names = [element["id"] for element in book.select("[id]")]
    assert len(names) == len(set(names))
    assert {article["id"] for article in articles} >= set(parts)


def test_a_lost_link_is_a_fault_unless_its_target_is_in_a_solution():
    book = BeautifulSoup('<a href="#p--x">see</a>', "html.parser")
    with pytest.raises(pdf.PrintError, match="p--x"):
        pdf.mend_links(book, set())
    pdf.mend_links(book, {"p--x"})
    assert str(book) == "see"


@pytest.mark.slow
@pytest.mark.browser
def test_a_finished_book_has_contents_page_numbers_and_links(site, tmp_path):
    """Of two pages, one of which has exercises and an exhibit."""
    toc = {"format": "jb-book", "root": "index", "chapters": [{"file": "priors"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copytree(site, tmp_path / "_build" / "html", copy_function=os.link)
    # In a process of its own: the tests' browser has this one's loop.
    code = "import pathlib, sys; from bookbuild import pdf; pdf.main(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    texts = {}
    for name in pdf.EDITIONS:
        book = PdfReader(tmp_path / "_build" / "print" / f"{name}.pdf")
        pages = [page.extract_text() for page in book.pages]
        texts[name] = "\n".join(pages)
        places = {item.title: book.get_destination_page_number(item) for item in flat(book.outline)}
        chapter = places["2. What did your model believe about homes before it saw one?"]
        (contents,) = (page for page in pages if page.startswith("Contents"))
        # As the contents say it, and as the page itself does, in its last line.
        assert re.search(rf"2\. What did .* {chapter + 1}\b", contents, re.S)
        assert pages[chapter].strip().splitlines()[-1].strip() == str(chapter + 1)
        links = [a.get_object() for page in book.pages for a in page.get("/Annots", [])]
        inside = [link for link in links if "/Dest" in link]
        assert len(inside) > 20
        assert {str(link["/Dest"]) for link in inside} <= {*map(str, book.named_destinations)}
        assert any(len(page.images) for page in book.pages)
        assert "Live code" not in texts[name]
    assert "Solution to Exercise" in texts["with-solutions"]
    assert "Solution to Exercise" not in texts["without-solutions"]


def flat(outline):
    for item in outline:
        yield from flat(item) if isinstance(item, list) else [item]


def test_it_needs_a_site(tmp_path, capsys):
    assert pdf.main(tmp_path) == 1
    assert "make book" in capsys.readouterr().err
