"""The Sphinx extension: what the theme leaves to mend, and checks that Sphinx does not make."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import sphinxcontrib.bibtex.plugin
from bs4 import BeautifulSoup
from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

from bookbuild import exhibits, katex, live, notebooks, weight

LOGGER = logging.getLogger(__name__)

# What a reader who wants the same numbers needs to know.
PACKAGES = (
    "pymc", "pytensor", "nutpie", "arviz", "numba", "numpy", "scipy", "pandas", "xarray",
    "matplotlib", "jupyter-book", "Sphinx", "myst-nb",
)  # fmt: skip
# KaTeX shows what it does not know in this color, and says nothing.
KATEX_RED = "#cc0000"


def derive(app: Sphinx, config: Config) -> None:
    """Take what depends on the address of the site from that address."""
    config.ogp_site_url = config.html_baseurl
    config.ogp_site_name = config.html_title
    config.notfound_urls_prefix = urlsplit(config.html_baseurl).path
    home = config.notfound_urls_prefix
    config.notfound_context = {
        "title": "Page not found",
        "body": "<h1>Page not found</h1><p>There is no page at this address. The "
        f'<a href="{home}index.html">first page</a> has the map of the course, and '
        f'<a href="{home}search.html">the search</a> finds words in it.</p>',
    }


def mend(page: BeautifulSoup) -> list[str]:
    """Make the body of a page accessible, in place, and say what only its author can mend.

    Parameters
    ----------
    page : BeautifulSoup
        The body.

    Returns
    -------
    list of str
        One sentence for each fault.
    """
    faults = []
    for image in page.find_all("img"):
        alt = image.get("alt", "")
        if not alt or alt == image["src"] or alt.endswith((".png", ".svg", ".jpg")):
            faults.append(f"image without alt text: {image['src']}")
    for formula in page.find_all("span", class_="katex-error"):
        faults.append(f"formula that KaTeX cannot read: {formula.get_text()}")
    for part in page.find_all(style=lambda style: style and KATEX_RED in style):
        faults.append(f"formula with an unknown macro: {part.get_text()}")

    # A folded answer is a native disclosure: it works without scripts, and search in page opens it.
    for box in page.select("div.admonition.dropdown"):
        box.name = "details"
        title = box.find("p", class_="admonition-title")
        title.name = "summary"
        for link in title.find_all("a"):
            link.unwrap()
    # sphinx-exercise gives all exercises of a page the same identifier.
    for section in page.select("section#exercise-content, section#solution-content"):
        section.name = "div"
        del section["id"]
    for box in page.select("div.exercise"):
        level = next((name for name in ("easy", "medium", "hard") if name in box["class"]), None)
        if level is None:
            faults.append(f"exercise that is not easy, medium or hard: {box.get('id')}")
        else:
            badge = page.new_tag("span", attrs={"class": "level"})
            badge.string = level
            box.find("p", class_="admonition-title").append(badge)
    # pandas leaves the corner of a table empty: a header cell that heads nothing.
    for cell in page.find_all("th"):
        if not cell.get_text(strip=True):
            cell.name = "td"
    for style in page.select("style[scoped]"):
        style.decompose()
    # Sources are cited by author and year: no numbers, and no roles that browsers have given up.
    for entry in page.select(".citation-list, .citation"):
        entry.attrs.pop("role", None)
    for label in page.select(".citation > .label"):
        label.decompose()
    return faults


def on_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Mend the body of a page and warn of each fault, which fails the build."""
    if not context.get("body"):
        return
    page = BeautifulSoup(context["body"], "html.parser")
    root = context["pathto"]("", resource=True)
    faults = mend(page)
    if doctree and (fault := live.enliven(app, pagename, root, page, doctree)):
        faults.append(fault)
    for fault in faults:
        LOGGER.warning(fault, location=pagename, type="bookbuild")
    context["body"] = str(page)
    if page.select_one(".exhibit"):
        context["metatags"] = context.get("metatags", "") + exhibits.scripts(root)
    # One description for search engines and for previews of links.
    for node in doctree.findall(nodes.meta) if doctree else ():
        if node.get("name") == "description":
            context["meta"] = {**(context["meta"] or {}), "og:description": node["content"]}


def lead_to_master(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Let the edit button of a problem set, whose page is made, lead to what it is made from."""
    name = pagename.removeprefix("set-")
    if name == pagename:
        return
    made, master = f"/book/{pagename}.md", f"/assignments/{name}/master.md"
    for button in context["header_buttons"]:
        for each in (button, *button.get("buttons", ())):
            if each.get("url", "").endswith(made):
                each["url"] = each["url"].removesuffix(made) + master


class RoundAuthorYear(AuthorYearReferenceStyle):
    """Cite as Neal (2003) and (Neal, 2003)."""

    def __init__(self) -> None:
        round_brackets = BracketStyle(left="(", right=")")
        super().__init__(
            bracket_textual=round_brackets,
            bracket_parenthetical=round_brackets,
            bracket_year=round_brackets,
        )


def table(header: tuple[str, ...], rows: Sequence[tuple[str | nodes.Node, ...]]) -> nodes.table:
    """Make a table of texts and links."""
    group = nodes.tgroup(cols=len(header))
    group += [nodes.colspec(colwidth=1) for _ in header]
    for part, lines in ((nodes.thead(), [header]), (nodes.tbody(), rows)):
        for line in lines:
            row = nodes.row()
            for cell in line:
                content = nodes.Text(cell) if isinstance(cell, str) else cell
                row += nodes.entry("", nodes.paragraph("", "", content))
            part += row
        group += part
    return nodes.table("", group, classes=["colwidths-auto"])


class Versions(SphinxDirective):
    """A table of the versions that the page was made with."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        packages = [(package, version(package)) for package in PACKAGES]
        system = f"{platform.system()} on {platform.machine()}"
        rows = [("Python", platform.python_version()), *packages, ("System", system)]
        return [table(("What", "Version"), rows)]


class Times(nodes.General, nodes.Element):
    """The place of the table of execution times."""


class ExecutionTimes(SphinxDirective):
    """A table of how long each chapter took to execute."""

    def run(self) -> list[nodes.Node]:
        """Hold the place: the other chapters are not read yet."""
        return [Times()]


class FillTimes(SphinxPostTransform):
    """Put the table of execution times in its place."""

    default_priority = 8

    def run(self, **_: Any) -> None:
        """Make the table, in the order of the book."""
        for place in list(self.document.findall(Times)):
            executed = NbMetadataCollector.get_doc_data(self.env)
            rows = []
            for docname in self.env.config.external_site_map:
                if runtime := executed.get(docname, {}).get("exec_data", {}).get("runtime"):
                    title = self.env.titles[docname].astext()
                    link = make_refnode(
                        self.app.builder, self.env.docname, docname, "", nodes.Text(title)
                    )
                    rows.append((link, f"{runtime:.0f}"))
            place.replace_self(table(("Chapter", "Seconds"), rows))


class Runs(nodes.General, nodes.Element):
    """The place of the table of notebooks."""


class RunLinks(SphinxDirective):
    """A table of where each page with cells can be run."""

    def run(self) -> list[nodes.Node]:
        """Hold the place: the other pages are not read yet."""
        return [Runs()]


class FillRuns(SphinxPostTransform):
    """Put the table of notebooks in its place."""

    default_priority = 8

    def run(self, **_: Any) -> None:
        """Make the table, in the order of the book."""
        for place in list(self.document.findall(Runs)):
            rows = []
            for docname in self.env.config.external_site_map:
                if "kernelspec" in self.env.metadata[docname]:
                    title = nodes.Text(self.env.titles[docname].astext())
                    page = make_refnode(self.app.builder, self.env.docname, docname, "", title)
                    links = [
                        nodes.reference("", name, refuri=address)
                        for name, address in notebooks.addresses(self.app, docname).items()
                    ]
                    rows.append((page, *links, *[""] * (4 - len(links))))
            place.replace_self(table(("Page", "Binder", "Colab", "Notebook", "With results"), rows))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_node(Times)
    app.add_directive("versions", Versions)
    app.add_directive("execution-times", ExecutionTimes)
    app.add_post_transform(FillTimes)
    app.add_node(Runs)
    app.add_directive("run-links", RunLinks)
    app.add_post_transform(FillRuns)
    katex.prepare()
    app.connect("config-inited", derive, priority=100)
    sphinxcontrib.bibtex.plugin.register_plugin(
        "sphinxcontrib.bibtex.style.referencing", "author_year_round", RoundAuthorYear
    )
    app.connect("html-page-context", on_page, priority=100)
    # After the theme, which makes the buttons.
    app.connect("html-page-context", lead_to_master, priority=900)
    app.connect("html-page-context", notebooks.offer, priority=950)
    app.connect("doctree-resolved", notebooks.write)
    app.connect("build-finished", exhibits.copy_scripts)
    app.connect("build-finished", notebooks.remove_sources)
    app.add_config_value("live_code_server", "", "html", [str])
    app.add_config_value("live_code_hosts", [], "html", [list])
    app.connect("config-inited", live.configure, priority=100)
    # After all that writes files of the site.
    app.connect("build-finished", weight.lighten, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
