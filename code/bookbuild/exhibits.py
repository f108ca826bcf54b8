"""Exhibits on a page of the book: a still picture, and beside it what brings it to life."""

import hashlib
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from myst_nb.core.render import MimeData, MimeRenderPlugin, NbElementRenderer
from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset

from funnel import exhibits

FOLDER = Path(exhibits.__file__).parent
LOADER = Path(__file__).parent / "assets" / "loader.js"
#: Where the site keeps the scripts.
STATIC = "_static/exhibits"


def versioned(path: Path) -> str:
    """Name a file so that no browser takes an old one for it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return f"{path.name}?v={digest}"


class ExhibitRenderer(MimeRenderPlugin):
    """Turn what an exhibit shows in a cell into a part of the page."""

    mime_priority_overrides: ClassVar[Sequence[tuple[str, str, int | None]]] = [
        ("*", exhibits.MIME, 1),
    ]

    @staticmethod
    def handle_mime(
        renderer: NbElementRenderer, data: MimeData, inline: bool
    ) -> list[nodes.Element] | None:
        """Write the still picture to its file, and put the data beside it."""
        if data.mime_type != exhibits.MIME:
            return None
        still = MimeData(
            "image/png",
            data.content["still"],
            cell_metadata=data.cell_metadata,
            cell_index=data.cell_index,
            line=data.line,
        )
        start, end = (nodes.raw("", text, format="html") for text in around(data.content))
        return [start, *renderer.render_image(still), end]


def around(shown: dict[str, Any]) -> tuple[str, str]:
    """Write what stands before and after the still picture of an exhibit.

    Parameters
    ----------
    shown : dict
        What the exhibit shows itself as in a cell.

    Returns
    -------
    start, end : str
        HTML.
    """
    name = shown["exhibit"]
    module = escape(versioned(FOLDER / "bundles" / f"{name}.js"))
    # No text of the data can end the element that holds it.
    island = shown["description"].replace("<", "\\u003c")
    start = f'<div class="exhibit" id="exhibit-{name}" data-module="{module}">'
    return start, f'<script type="application/json">{island}</script></div>'


def scripts(root: str) -> str:
    """Give the elements that a page with exhibits needs, `root` being the way to the site's top."""
    style, loader = (
        f"{root}{STATIC}/{versioned(path)}" for path in (FOLDER / "exhibit.css", LOADER)
    )
    link = f'<link rel="stylesheet" href="{style}">'
    return f'{link}<script type="module" src="{loader}"></script>'


def copy_scripts(app: Sphinx, failure: Exception | None) -> None:
    """Put the scripts of all exhibits on the site."""
    if failure is None and app.builder.format == "html":
        target = app.outdir / STATIC
        for source in (FOLDER / "bundles", FOLDER / "exhibit.css", LOADER):
            copy_asset(source, target)
