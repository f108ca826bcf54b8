"""What the build puts beside the pages: addresses of old pages, and the list of editions."""

import json
from html import escape
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

from bookbuild.editions import versions

LOGGER = logging.getLogger(__name__)

REDIRECT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>This page has moved</title>
<link rel="canonical" href="{canonical}">
<meta http-equiv="refresh" content="0; url={target}">
<meta name="robots" content="noindex">
</head>
<body><p>This page has moved: <a href="{target}">{target}</a>.</p></body>
</html>
"""


def write_redirects(site: Path, table: dict[str, str], address: str) -> list[str]:
    """Leave a page at each old address that leads to the new one.

    Parameters
    ----------
    site : Path
        The site.
    table : dict of str
        New name of each page that was renamed, by its old one; without `.html`.
    address : str
        Where the site is published.

    Returns
    -------
    list of str
        One sentence for each entry that makes no sense; nothing is written for it.
    """
    faults = []
    for old, new in table.items():
        if (site / f"{old}.html").exists():
            faults.append(f"redirect from a page that is there: {old}")
        elif not (site / f"{new}.html").exists():
            faults.append(f"redirect to a page that is not there: {old} to {new}")
        else:
            target = escape(f"{new}.html")
            text = REDIRECT.format(target=target, canonical=escape(f"{address}{new}.html"))
            (site / f"{old}.html").write_text(text, encoding="utf-8")
    return faults


def finish(app: Sphinx, failure: Exception | None) -> None:
    """Write the redirects and a list of editions that knows none, when the pages are there."""
    if failure is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for fault in write_redirects(site, app.config.redirects, app.config.html_baseurl):
        LOGGER.warning(fault, type="bookbuild")
    (site / "versions.json").write_text(json.dumps(versions([])) + "\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_config_value("redirects", {}, "html", dict)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
