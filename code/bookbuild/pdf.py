"""The printed book: `make pdf` puts the whole site into one PDF, twice.

The pages of the built site are joined to one document, in which links lead from page to page of
paper, and Chromium prints it. `with-solutions.pdf` holds the solution of every exercise below
it; `without-solutions.pdf` holds none, and its quick questions are answered at its end.
Exhibits are their still pictures. Code that the site folds away is left out.

Chromium prints what the site's readers see: the formulas, the tables of pandas, the boxes. By way
of TeX those would be made anew from sources that hold HTML.
"""

import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import yaml
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Browser, sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import NameObject, TextStringObject
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[2]
STYLE = Path(__file__).parent / "assets" / "print.css"
EDITIONS = {"with-solutions": True, "without-solutions": False}
#: Milliseconds that Chromium may take to load the book.
PATIENCE = 600_000
FOOTER = (
    '<div style="font: 8pt sans-serif; width: 100%; text-align: center; color: #555">'
    '<span class="pageNumber"></span></div>'
)


class PrintError(RuntimeError):
    """The book cannot be printed as it is."""


class Files(http.server.SimpleHTTPRequestHandler):
    """Serve files, and say nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on 127.0.0.1; yield its address, which ends in a slash."""
    handler = functools.partial(Files, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def place(page: str, fragment: str = "") -> str:
    """Name a place of a page in the joined document, in which names are unique."""
    return f"{page}--{fragment}"


def relink(article: Tag, page: str, pages: list[str], baseurl: str) -> None:
    """Let the links of a page lead to places of the joined document, or to the web."""
    for element in article.select("[id]"):
        element["id"] = place(page, element["id"])
    article["id"] = place(page)
    for link in article.select("a[href]"):
        address, fragment = urldefrag(link["href"])
        target = address.removesuffix(".html") if address else page
        if target in pages:
            link["href"] = f"#{place(target, unquote(fragment))}"
        else:
            link["href"] = urljoin(f"{baseurl}{page}.html", link["href"])


def flatten(article: Tag, gone: set[str], *, solutions: bool) -> list[Tag]:
    """Take from a page what only a screen can do, in place.

    Parameters
    ----------
    article : Tag
        The body of a page of the site.
    gone : set of str
        Identifiers that are printed nowhere; what is found here is added.
    solutions : bool
        Whether solutions stay, and quick answers where they are.

    Returns
    -------
    list of Tag
        The answers that have been taken out, to be printed elsewhere.
    """
    # `annotation` and its like are a second copy of each formula, for screen readers.
    screen_only = "a.headerlink, script, style, button, .live, .katex-mathml, details.hide"
    for element in article.select(screen_only):
        element.decompose()
    moved = []
    for box in article.select("details"):
        if "solution" in box.get("class", []) and not solutions:
            # What is in a solution goes with it, and so do links to it.
            for element in [box, *box.select("[id]")]:
                gone.add(element.get("id"))
            box.decompose()
            continue
        title = box.find("summary", recursive=False)
        title.name, box.name = "p", "div"
        if "solution" not in box.get("class", []) and not solutions:
            answer = BeautifulSoup(str(box), "html.parser").div
            answer["id"] = f"{box['id']}-answer"
            moved.append(answer)
            for part in list(title.next_siblings):
                part.extract()
            see = BeautifulSoup(
                f'<p><a href="#{answer["id"]}">The answer is at the end of the book.</a></p>',
                "html.parser",
            )
            box.append(see)
    return moved


def mend_links(book: BeautifulSoup, gone: set[str]) -> None:
    """Unlink what leads to a solution that is not printed; what else is lost is a fault."""
    names = {element["id"] for element in book.select("[id]")}
    lost = []
    for link in book.select('a[href^="#"]'):
        target = link["href"][1:]
        if target in names:
            continue
        if target in gone:
            link.unwrap()
        else:
            lost.append(target)
    if lost:
        raise PrintError(f"links of the printed book lead nowhere: {', '.join(sorted(set(lost)))}")


def contents(articles: list[Tag], parts: dict[str, str], pages: dict[str, int]) -> str:
    """Write the table of contents: chapters and sections, with the page of each if it is known."""
    lines = []
    for article in articles:
        if caption := parts.get(article["id"]):
            lines.append(f'<li class="part-name">{escape(caption)}</li>')
        for heading in article.select("h1, h2"):
            target = article["id"]
            if heading.name == "h2":
                target = heading.find_parent("section")["id"]
            kind = "chapter" if heading.name == "h1" else "section"
            number = pages.get(target, "")
            lines.append(
                f'<li class="{kind}"><a href="#{target}">{heading.decode_contents()}</a>'
                f"<span>{number}</span></li>"
            )
    return f'<nav class="contents"><h1>Contents</h1><ol>{"".join(lines)}</ol></nav>'


def join(site: Path, root: Path, *, solutions: bool) -> tuple[BeautifulSoup, list[Tag], dict]:
    """Join the pages of the site to one document, without its contents.

    Parameters
    ----------
    site : Path
        The built site.
    root : Path
        The repository.
    solutions : bool
        Whether solutions are printed.

    Returns
    -------
    book : BeautifulSoup
        The document.
    articles : list of Tag
        What the contents list, in order.
    parts : dict of str
        The caption of the part that starts with an article, by the article's identifier.
    """
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    toc = parse_toc_yaml(root / "_toc.yml")
    pages = list(toc)
    parts = {place(str(part.items[0])): part.caption for part in toc[toc.root.docname].subtrees}
    title, baseurl = config["title"], config["html"]["baseurl"]
    kind = "With solutions" if solutions else "Without solutions"
    book = BeautifulSoup(
        f'<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        '<link rel="stylesheet" href="_static/pygments.css">'
        '<link rel="stylesheet" href="_static/vendor/katex/katex.min.css">'
        '<link rel="stylesheet" href="print.css"></head><body>'
        f'<section class="title-page"><h1>{escape(title)}</h1><p>{escape(config["author"])}</p>'
        f"<p>{kind}. Figures that move, and the code of figures, are at "
        f'<a href="{baseurl}">{baseurl}</a>.</p>'
        f"<p>{config['html']['extra_footer']}</p></section></body></html>",
        "html.parser",
    )
    answers = BeautifulSoup(
        '<article id="answers--"><h1>Answers to the quick questions</h1></article>', "html.parser"
    ).article
    articles = []
    gone: set[str] = set()
    for page in pages:
        source = BeautifulSoup((site / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
        article = source.select_one("article.bd-article")
        for number, box in enumerate(article.select("details:not(.hide, [id])")):
            box["id"] = f"question-{number}"
        relink(article, page, pages, baseurl)
        moved = flatten(article, gone, solutions=solutions)
        if moved:
            heading = BeautifulSoup(
                f'<section id="{place(page, "answers")}"><h2>'
                f"{article.h1.decode_contents()}</h2></section>",
                "html.parser",
            ).section
            heading.extend(moved)
            answers.append(heading)
        if caption := parts.get(place(page)):
            part = BeautifulSoup(f'<div class="part"><p>{escape(caption)}</p></div>', "html.parser")
            book.body.append(part)
        book.body.append(article)
        articles.append(article)
    if answers.section:
        book.body.append(answers)
        articles.append(answers)
    mend_links(book, gone)
    return book, articles, parts


def page_numbers(pdf: bytes) -> dict[str, int]:
    """Tell on which page each place is that a link leads to."""
    reader = PdfReader(BytesIO(pdf))
    found = {}
    for name, target in reader.named_destinations.items():
        number = reader.get_destination_page_number(target)
        if number is not None:
            found[unquote(name.removeprefix("/"))] = number + 1
    return found


def print_book(
    browser: Browser, site: Path, root: Path, *, solutions: bool
) -> tuple[bytes, list[str]]:
    """Print the joined document, twice: the first time tells the page numbers of the contents.

    Returns
    -------
    bytes
        The PDF.
    list of str
        The headings in it.
    """
    book, articles, parts = join(site, root, solutions=solutions)
    numbers: dict[str, int] = {}
    front = book.select_one(".title-page")
    draft = site / "print.html"
    shutil.copy(STYLE, site / "print.css")
    try:
        with served(site) as address:
            page = browser.new_page()
            for _ in range(2):
                for old in book.select("nav.contents"):
                    old.decompose()
                listing = BeautifulSoup(contents(articles, parts, numbers), "html.parser")
                front.insert_after(listing)
                draft.write_text(str(book), encoding="utf-8")
                page.goto(f"{address}print.html", wait_until="load", timeout=PATIENCE)
                page.evaluate("document.fonts.ready")
                pdf = page.pdf(
                    prefer_css_page_size=True,
                    print_background=True,
                    display_header_footer=True,
                    header_template="<span></span>",
                    footer_template=FOOTER,
                    outline=True,
                    tagged=True,
                )
                before, numbers = numbers, page_numbers(pdf)
            page.close()
    finally:
        draft.unlink(missing_ok=True)
        (site / "print.css").unlink(missing_ok=True)
    if before != numbers:
        raise PrintError("the contents moved the pages that they list")
    return pdf, [" ".join(each.get_text().split()) for each in book.select("h1, h2, h3, h4")]


def mend_outline(writer: PdfWriter, headings: list[str]) -> None:
    """Write the titles of the outline as the headings are: Chromium drops spaces at line ends."""
    wanted = {"".join(heading.split()): heading for heading in headings}
    waiting: list[Any] = [writer.get_outline_root()]
    while waiting:
        node = waiting.pop()
        if heading := wanted.get("".join(str(node.get("/Title", "")).split())):
            node[NameObject("/Title")] = TextStringObject(heading)
        waiting += [node[key].get_object() for key in ("/First", "/Next") if key in node]


def sign(pdf: bytes, headings: list[str], config: dict, target: Path) -> None:
    """Write the PDF, with the book's title and authors in it."""
    writer = PdfWriter(clone_from=BytesIO(pdf))
    mend_outline(writer, headings)
    writer.add_metadata({"/Title": config["title"], "/Author": config["author"]})
    writer.write(target)


def main(root: Path = ROOT) -> int:
    """Print both editions to `_build/print`.

    Parameters
    ----------
    root : Path
        The repository, with a built site.

    Returns
    -------
    int
        The exit code: 0, or 1 if there is no site or no Chromium.
    """
    site = root / "_build" / "html"
    if not (site / "index.html").exists():
        print("There is no site yet: make book", file=sys.stderr)
        return 1
    folder = root / "_build" / "print"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or playwright.chromium.executable_path
        if not Path(program).exists():
            print(
                "No Chromium: apt-get install chromium, or .venv/bin/playwright install chromium",
                file=sys.stderr,
            )
            return 1
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, solutions in EDITIONS.items():
            target = folder / f"{name}.pdf"
            pdf, headings = print_book(browser, site, root, solutions=solutions)
            sign(pdf, headings, config, target)
            print(f"{target}: {len(PdfReader(target).pages)} pages")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
