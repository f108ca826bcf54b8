"""Notebooks of the pages: references, citations and glued numbers resolved, in plain Markdown.

JupyterLab and Colab do not know what `{numref}`, `{cite}` or `{glue}` mean. So a notebook is not
made from a page's source, but from what Sphinx made of it, when every reference is resolved.
"""

import re
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import nbformat
from docutils import nodes
from jupyter_cache import get_cache
from myst_nb.core.read import myst_nb_reader_plugin
from myst_nb.sphinx_ import NbMetadataCollector
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx_exercise.nodes import exercise_enumerable_node, solution_node

from funnel.exhibits import MIME

LOGGER = logging.getLogger(__name__)

#: Where the site keeps them: as they are, with their results, and for Colab.
FOLDERS = {"clean": "notebooks", "executed": "notebooks/executed", "colab": "notebooks/colab"}
#: The branch to which publishing pushes that folder: Colab opens what is on GitHub.
BRANCH = "notebooks"
TAG = "v" + version("hierarchical-models-course")

# The tags of cells whose code the page folds away or leaves out.
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}
# What JupyterLab cannot show without the kernel that made it, or not at all.
NOT_KEPT = (MIME, "application/vnd.jupyter.widget-view+json", "application/papermill.record/")

GLUE = '''\
def glue(*_, **__):
    """Do nothing: the text of this notebook has its numbers already."""'''
COLAB = """\
#@title Set up: the course's package and its data (about a minute)
import os
import sys

if not os.path.exists("course"):
    !git clone --quiet --depth 1 --branch {tag} {repository} course
    %pip install --quiet ./course
sys.path.insert(0, os.path.abspath("course/code"))
"""


def escape(text: str) -> str:
    """Keep Markdown from reading text as markup."""
    return re.sub(r"([\\`*_\[\]<$~])", r"\\\1", text)


def indent(text: str, by: str) -> str:
    """Indent all lines but the first, so that they belong to a list item."""
    return textwrap.indent(text, by).removeprefix(by)


class Writer:
    """Write a page as cells.

    Parameters
    ----------
    page : str
        The address of the page: links lead there.
    numbers : dict
        Numbers of figures, exercises and equations, by kind and identifier.
    source : NotebookNode
        The executed cells.
    """

    def __init__(
        self, page: str, numbers: dict[str, dict[str, tuple[int, ...]]], source: NotebookNode
    ) -> None:
        self.page = page
        self.numbers = numbers
        self.source = source
        self.cells: list[NotebookNode] = []
        self.text: list[str] = []
        self.taken = 0

    def number(self, kind: str, node: nodes.Element) -> str:
        """Give the number of a figure, an exercise or an equation."""
        return ".".join(map(str, self.numbers[kind][node["ids"][0]]))

    # Cells -------------------------------------------------------------------------------------

    def flush(self, **metadata: Any) -> None:
        """End a cell of text."""
        text = "\n\n".join(part for part in self.text if part)
        if text:
            self.cells.append(nbformat.v4.new_markdown_cell(text, metadata=metadata))
        self.text = []

    def take(self, last: int) -> None:
        """Take over the code up to a cell of the source, those that the page leaves out too."""
        for cell in self.source.cells[self.taken : last + 1]:
            if cell.cell_type == "code":
                self.flush()
                hidden = HIDDEN & set(cell.metadata.get("tags", ()))
                copy = nbformat.v4.new_code_cell(
                    cell.source.replace("from myst_nb import glue\n", ""),
                    outputs=[kept for output in cell.outputs if (kept := shown(output))],
                    execution_count=cell.execution_count,
                    metadata=FOLDED if hidden else {},
                )
                self.cells.append(copy)
        self.taken = last + 1

    def take_left_out(self) -> None:
        """Take over the code that the page leaves out and that comes next in its source."""
        while self.taken < len(self.source.cells):
            cell = self.source.cells[self.taken]
            if cell.cell_type != "code" or "remove-cell" not in cell.metadata.get("tags", ()):
                break
            self.take(self.taken)

    # Blocks ------------------------------------------------------------------------------------

    def walk(self, node: nodes.Element, depth: int) -> None:
        """Write the parts of a section, an exercise or a solution."""
        for child in node.children:
            if isinstance(child, nodes.section):
                self.walk(child, depth + ("-content" not in child["ids"][0]))
            elif isinstance(child, nodes.title):
                if isinstance(node, nodes.section):
                    self.text.append(f"{'#' * depth} {self.inline(child)}")
            elif isinstance(child, exercise_enumerable_node):
                number = self.number("exercise", child)
                title = self.inline(child.next_node(nodes.title)).strip()
                level = next(name for name in child["classes"] if name != "exercise")
                self.text.append(f"{'#' * (depth + 1)} Exercise {number} {title}: {level}")
                self.walk(child, depth + 1)
            elif isinstance(child, solution_node):
                # JupyterLab folds what is under a heading that is marked so.
                self.flush()
                title = child.next_node(nodes.title).astext()
                self.text.append(f"{'#' * (depth + 2)} {escape(' '.join(title.split()))}")
                self.flush(**{"jp-MarkdownHeadingCollapsed": True})
                self.walk(child, depth + 2)
            elif isinstance(child, nodes.container) and child.get("nb_element") == "cell_code":
                self.take(child["cell_index"])
                for figure in child.findall(nodes.figure):
                    caption = self.inline(figure.next_node(nodes.caption))
                    self.text.append(f"**Fig. {self.number('figure', figure)}.** {caption}")
                self.take_left_out()
            else:
                self.text.append(self.block(child))

    def block(self, node: nodes.Node) -> str:
        """Write a paragraph, a list, a formula, a box or a table."""
        match node:
            case nodes.paragraph() | nodes.term():
                return re.sub(r"^(\s*)(\d+)([.)] )", r"\1\2\\\3", self.inline(node))
            case nodes.target() | nodes.meta() | nodes.comment():
                return ""
            case nodes.compound() if "toctree-wrapper" in node["classes"]:
                return ""
            case nodes.bullet_list():
                return "\n".join(f"- {indent(self.blocks(item), '  ')}" for item in node.children)
            case nodes.enumerated_list():
                return "\n".join(
                    f"{place}. {indent(self.blocks(item), '   ')}"
                    for place, item in enumerate(node.children, start=1)
                )
            case nodes.definition_list():
                return "\n\n".join(
                    f"**{self.inline(item[0])}**\n\n{self.blocks(item[-1])}"
                    for item in node.children
                )
            case nodes.literal_block():
                return f"```{node.get('language', '')}\n{node.astext()}\n```"
            case nodes.math_block() if not node["nowrap"]:
                tag = ""
                if node["number"]:
                    tag = f" \\tag{{{self.number('displaymath', node)}}}"
                return f"$$\n{node.astext()}{tag}\n$$"
            case nodes.block_quote():
                return quote(self.blocks(node))
            case nodes.table():
                return self.table(node)
            case nodes.Admonition():
                if isinstance(node.children[0], nodes.title):
                    title, rest = self.inline(node.children[0]), node.children[1:]
                else:
                    title, rest = node.tagname.capitalize(), node.children
                body = "\n\n".join(self.block(child) for child in rest)
                if "dropdown" in node["classes"]:
                    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
                return quote(f"**{title}**\n\n{body}")
        return self.unknown(node)

    def blocks(self, node: nodes.Node) -> str:
        """Write what a list item or a quotation holds."""
        return "\n\n".join(self.block(child) for child in node.children)

    def table(self, node: nodes.table) -> str:
        """Write a table; a cell is one line."""
        rows = [
            [" ".join(self.blocks(entry).split()).replace("|", "\\|") for entry in row.children]
            for row in node.findall(nodes.row)
        ]
        rows.insert(1, ["---"] * len(rows[0]))
        title = node.next_node(nodes.title)
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([*([f"**{self.inline(title)}**", ""] if title else []), *lines])

    # Text --------------------------------------------------------------------------------------

    def inline(self, node: nodes.Node) -> str:
        """Write the text in a paragraph."""
        return "".join(self.part(child) for child in node.children)

    def part(self, node: nodes.Node) -> str:
        """Write a piece of text."""
        match node:
            case nodes.Text():
                return escape(node.astext())
            case nodes.emphasis() | nodes.title_reference():
                return f"*{self.inline(node)}*"
            case nodes.strong():
                return f"**{self.inline(node)}**"
            case nodes.literal():
                text = node.astext()
                return f"`` {text} ``" if "`" in text else f"`{text}`"
            case nodes.math():
                return f"${node.astext()}$"
            case nodes.reference() | nodes.Element(tagname="number_reference"):
                place = node["refuri"] if "refuri" in node else f"#{node['refid']}"
                return f"[{self.inline(node).strip()}]({urljoin(self.page, place)})"
            case nodes.inline():
                return self.inline(node)
            case nodes.target():
                return ""
        return self.unknown(node)

    def unknown(self, node: nodes.Node) -> str:
        """Warn of what has no form in a notebook yet, which fails the build."""
        LOGGER.warning(
            "a notebook cannot show this: %s",
            node.asdom().nodeName,
            location=node,
            type="bookbuild",
        )
        return ""


def quote(text: str) -> str:
    """Set text as a quotation."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def shown(output: NotebookNode) -> NotebookNode | None:
    """Leave out of an output what a notebook without its kernel cannot show."""
    if output.output_type not in ("display_data", "execute_result"):
        return output if output.get("name") != "stderr" else None
    data = {kind: v for kind, v in output.data.items() if not kind.startswith(NOT_KEPT)}
    if MIME in output.data:
        data = {"image/png": output.data[MIME]["still"]}
    elif len(data) < len(output.data) and set(data) <= {"text/plain"}:
        return None
    return nbformat.from_dict({**output, "data": data, "metadata": {}})


def is_executed(app: Sphinx, name: str) -> bool:
    """Tell whether a page has cells with results; those of a problem set have none."""
    return "exec_data" in NbMetadataCollector.get_doc_data(app.env).get(name, {})


def write(app: Sphinx, tree: nodes.document, name: str) -> None:
    """Write the notebooks of a page that has cells."""
    if app.builder.name != "html" or not is_executed(app, name):
        return
    cache = get_cache(app.config.nb_execution_cache_path)
    _, source = cache.merge_match_into_notebook(myst_nb_reader_plugin(app.env.doc2path(name)))
    page = urljoin(app.config.html_baseurl, app.builder.get_target_uri(name))
    writer = Writer(page, app.env.toc_fignumbers.get(name, {}), source)
    writer.walk(tree, 0)
    writer.take(len(source.cells) - 1)
    writer.flush()

    running = urljoin(page, app.builder.get_target_uri("running"))
    note = (
        f"*A copy of the page <{page}>. It needs the course's package: [how to run it]({running}).*"
    )
    repository = app.config.html_theme_options["repository_url"]
    setups = dict.fromkeys(FOLDERS, GLUE)
    setups["colab"] = COLAB.format(tag=TAG, repository=repository) + "\n\n" + GLUE
    for kind, folder in FOLDERS.items():
        cells = [
            nbformat.v4.new_markdown_cell(note),
            nbformat.v4.new_code_cell(setups[kind], metadata=FOLDED),
            *(cell if kind == "executed" else without_outputs(cell) for cell in writer.cells),
        ]
        for place, cell in enumerate(cells):
            cell["id"] = f"cell-{place}"  # the same in every build
        notebook = nbformat.v4.new_notebook(
            cells=cells,
            metadata={
                "kernelspec": {
                    "name": "python3",
                    "display_name": "Python 3",
                    "language": "python",
                },
                "language_info": {"name": "python"},
            },
        )
        path = Path(app.outdir) / folder / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)


def link(text: str, url: str, icon: str, tooltip: str) -> dict[str, str]:
    """Describe an entry of a menu to the theme."""
    return {"type": "link", "text": text, "url": url, "icon": icon, "tooltip": tooltip}


def offer(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Let the menus of a page with cells lead to its notebooks, and to how one runs them."""
    if "kernelspec" not in app.env.metadata.get(pagename, {}):
        return
    groups = (button for button in context["header_buttons"] if button["type"] == "group")
    menus = {group["label"]: group["buttons"] for group in groups}
    launch, downloads = menus["launch-buttons"], menus["download-buttons"]
    places = addresses(app, pagename)
    for menu in (launch, downloads):
        # The theme offers what it knows for every page with cells, whether it is there or not.
        menu[:] = [
            button for button in menu if button["text"] not in {"Colab", ".ipynb"} - {*places}
        ]
        for button in menu:
            if place := places.get(button["text"]):
                button["url"] = place if ":" in place else context["pathto"](place, 1)
    if pagename != "running":
        running = context["pathto"]("running")
        tooltip = "How to keep your work"
        launch.append(link("How to run it", running, "fas fa-circle-question", tooltip))
    if executed := places.get(".ipynb, executed"):
        tooltip = "Download notebook with its results"
        address = context["pathto"](executed, 1)
        downloads.insert(1, link(".ipynb, executed", address, "fas fa-code", tooltip))


def addresses(app: Sphinx, pagename: str) -> dict[str, str]:
    """Give, by name, the addresses at which a page can be run, or taken home."""
    theme = app.config.html_theme_options
    launch = theme["launch_buttons"]
    repository = urlsplit(theme["repository_url"]).path
    source = f"{theme['path_to_docs']}/{pagename}.md"
    binder = f"{launch['binderhub_url']}/v2/gh{repository}/{theme['repository_branch']}"
    places = {"Binder": f"{binder}?urlpath=lab/tree/{source}"}
    if not is_executed(app, pagename):
        return places
    # Colab opens what GitHub has on a branch.
    branch = f"{launch['colab_url']}/github{repository}/blob/{BRANCH}"
    folder = FOLDERS["colab"].removeprefix(FOLDERS["clean"] + "/")
    return places | {
        "Colab": f"{branch}/{folder}/{pagename}.ipynb",
        ".ipynb": f"{FOLDERS['clean']}/{pagename}.ipynb",
        ".ipynb, executed": f"{FOLDERS['executed']}/{pagename}.ipynb",
    }


def remove_sources(app: Sphinx, failure: Exception | None) -> None:
    """Remove the notebooks in which nothing is resolved, which the theme offers by itself."""
    if failure is None and app.builder.name == "html":
        for path in (Path(app.outdir) / "_sources").rglob("*.ipynb"):
            path.unlink()


def without_outputs(cell: NotebookNode) -> NotebookNode:
    """Copy a cell as it is before it has run."""
    if cell.cell_type == "code":
        return nbformat.from_dict({**cell, "outputs": [], "execution_count": None})
    return nbformat.from_dict(dict(cell))
