"""The printed book, before Chromium prints it: nothing folded, every link with a target."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from bookbuild import pdf

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("solutions", [True, False])
def test_all_is_in_it_once_and_nothing_is_folded(site, solutions):
    book, articles, parts = pdf.join(site, ROOT, solutions=solutions)
    assert bool(book.select(".solution")) == solutions
    assert bool(book.select("#answers--")) == (not solutions)
    assert book.select("details, summary, script, button") == []
    names = [element["id"] for element in book.select("[id]")]
    assert len(names) == len(set(names))
    assert {article["id"] for article in articles} >= set(parts)


def test_a_lost_link_is_a_fault_unless_its_target_is_in_a_solution():
    book = BeautifulSoup('<a href="#p--x">see</a>', "html.parser")
    with pytest.raises(pdf.PrintError, match="p--x"):
        pdf.mend_links(book, set())
    pdf.mend_links(book, {"p--x"})
    assert str(book) == "see"


def test_it_needs_a_site(tmp_path, capsys):
    assert pdf.main(tmp_path) == 1
    assert "make book" in capsys.readouterr().err
