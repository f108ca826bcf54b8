"""Live code: the cells of a page run in the page, on a kernel elsewhere."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bs4 import BeautifulSoup, Tag
from docutils import nodes
from myst_nb.core.read import myst_nb_reader_plugin
from sphinx.application import Sphinx
from sphinx.config import Config

from bookbuild.exhibits import versioned

#: Where the site keeps the cells of its pages.
CELLS = "_live"
#: A public BinderHub, and the members of its federation that it passes readers on to.
BINDER = "https://mybinder.org"
FEDERATION = ("mybinder.org", "*.mybinder.org", "notebooks.gesis.org")
#: A server on the reader's own machine.
LOOPBACK = ("127.0.0.1:*", "localhost:*")


def hosts(server: str) -> list[str]:
    """Name whom live code may talk to, as a policy names them.

    Parameters
    ----------
    server : str
        Address of the Jupyter server of a class; empty for Binder.

    Returns
    -------
    list of str
        Sources for `connect-src`, with a server on the reader's own machine among them.

    Raises
    ------
    ValueError
        If the address is not one of a web server.
    """
    named = [f"{scheme}://{host}" for host in LOOPBACK for scheme in ("http", "ws")]
    if not server:
        return named + [f"{scheme}://{host}" for host in FEDERATION for scheme in ("https", "wss")]
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"live_code_server is not an address of a server: {server!r}")
    return [
        *named,
        f"{parts.scheme}://{parts.netloc}",
        f"{parts.scheme.replace('http', 'ws')}://{parts.netloc}",
    ]


def configure(app: Sphinx, config: Config) -> None:
    """Take whom live code may talk to from where it runs."""
    config.live_code_hosts = hosts(config.live_code_server)


def sources(path: Path) -> list[dict[str, Any]]:
    """Give the code cells of a chapter, those too that its page does not show.

    Parameters
    ----------
    path : Path
        MyST Markdown.

    Returns
    -------
    list of dict
        `index`, its place among all cells, and `source`.
    """
    cells = myst_nb_reader_plugin(str(path)).cells
    return [
        {"index": index, "source": cell.source}
        for index, cell in enumerate(cells)
        if cell.cell_type == "code"
    ]


def button(app: Sphinx, pagename: str, root: str) -> Tag:
    """Make what starts live code, with all that the script has to know."""
    theme = app.config.html_theme_options
    here = Path(app.srcdir) / "assets"
    settings = {
        "data-cells": f"{root}{CELLS}/{pagename}.json",
        "data-script": f"{root}_static/{versioned(here / 'live.js')}",
        "data-style": f"{root}_static/{versioned(here / 'live.css')}",
        "data-thebe": f"{root}_static/vendor/thebe/index.js",
        "data-path": f"{theme['path_to_docs']}/{pagename}.ipynb",
        "data-repository": urlsplit(theme["repository_url"]).path.strip("/"),
        "data-ref": theme["repository_branch"],
        "data-binder": BINDER,
        "data-server": app.config.live_code_server,
    }
    where = "a server of this class" if app.config.live_code_server else "Binder, a free service"
    box = BeautifulSoup(
        '<div class="live pst-js-only"><p><button class="live-start" type="button">Live code'
        f"</button> Change and run the code of this page, on {where}.</p><details><summary>Run it "
        'on a Jupyter server of yours</summary><form class="live-elsewhere"><label>Address <input '
        'name="address" type="url" required value="http://127.0.0.1:8888/"/></label><label>Token '
        '<input name="token" type="password" autocomplete="off"/></label><button type="submit">'
        "Connect</button></form></details></div>",
        "html.parser",
    )
    box.button.attrs.update({name: value for name, value in settings.items() if value})
    return box.div


def enliven(
    app: Sphinx, pagename: str, root: str, page: BeautifulSoup, doctree: nodes.document
) -> str | None:
    """Mark the cells of a page, write their sources beside it, and put the button on it.

    Parameters
    ----------
    app : Sphinx
        The application.
    pagename : str
        Name of the page.
    root : str
        The way to the top of the site.
    page : BeautifulSoup
        The body of the page; it is changed.
    doctree : document
        What the body was written from.

    Returns
    -------
    str or None
        A fault.
    """
    cells = [
        node for node in doctree.findall(nodes.container) if node.get("nb_element") == "cell_code"
    ]
    heading = page.find("h1")
    if not cells or heading is None:
        return None
    shown = page.select("div.cell")
    if len(shown) != len(cells):
        return f"{len(cells)} cells in the chapter and {len(shown)} on its page"
    for cell, node in zip(shown, cells, strict=True):
        cell["data-cell"] = str(node["cell_index"])
    target = Path(app.outdir) / CELLS / f"{pagename}.json"
    target.parent.mkdir(exist_ok=True)
    text = json.dumps(sources(Path(app.env.doc2path(pagename))), ensure_ascii=False)
    target.write_text(text, encoding="utf-8")
    heading.insert_after(button(app, pagename, root))
    return None
