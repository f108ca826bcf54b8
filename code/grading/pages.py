"""Pages of HTML: for students, for who marks, and for the instructor.

Everything that a student had a hand in goes through autoescaping; a paragraph goes through
Markdown without HTML and then through bleach; a figure is decoded and written again by Pillow. On
top of that each page has a Content-Security-Policy that lets nothing be fetched, and runs no
script; on the page for marking exactly one, which is named by its hash.
"""

import base64
import binascii
import hashlib
import io
import re
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bleach
import jinja2
import yaml
from markupsafe import Markup
from PIL import Image

from grading import maths
from grading.export import neutral
from grading.roster import plain

if TYPE_CHECKING:
    from grading.gradebook import Entry, Gradebook, Item, Row

__all__ = ["feedback", "figure", "index", "marking", "paragraph", "read_rubric", "submission",
           "summary"]  # fmt: skip

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = Path(__file__).parent / "templates"
#: Characters of a paragraph, and of any other text, that are shown.
PARAGRAPH, TEXT = 20_000, 500
#: Characters of a figure in base64, its pixels, and its longest side on the page.
FIGURE, PIXELS, SIDE = 8_000_000, 40_000_000, 1400
TAGS = {
    "a", "blockquote", "br", "code", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul", *maths.TAGS,
}  # fmt: skip
ATTRIBUTES = {"a": ["href"], **maths.ATTRIBUTES}
SECTION = re.compile(r"[\w-]+\.html(#[\w:.-]+)?")
#: What students are told about a run; what made it suspicious is for the instructor.
TOLD = {
    "timed out": "The notebook took too long, and was stopped. "
    "What it answered before that is counted.",
    "crashed": "The notebook stopped before its end. What it answered before that is counted.",
    "suspicious": "Something about this notebook needs a person to look at it. "
    "Your instructor will get back to you.",
    "unreadable": "The file could not be read as a notebook of this set.",
}


# --- What comes from a student -----------------------------------------------------------------


def short(text: Any, most: int = TEXT) -> str:
    """Write a text for display: no hidden characters, and no more than fits."""
    shown = plain(str(text))
    return shown if len(shown) <= most else f"{shown[:most]} … ({len(shown):,} characters)"


def paragraph(text: str) -> Markup:
    """Render a student's Markdown.

    Parameters
    ----------
    text : str
        Raw Markdown.

    Returns
    -------
    Markup
        HTML without scripts, styles, images and odd links. Headings rank below those of the page.
        Formulas are MathML; one that cannot be read stays as it was typed.
    """
    shown = plain(text)
    cut = len(shown) > PARAGRAPH
    html = maths.markdown().render(shown[:PARAGRAPH])
    html = re.sub(r"<(/?)h([1-6])>", lambda tag: f"<{tag[1]}h{min(int(tag[2]) + 2, 6)}>", html)
    clean = bleach.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        protocols={"http", "https", "mailto"},
        strip=True,
        strip_comments=True,
    )
    if cut:
        clean += f"<p><strong>Cut off: there are {len(shown):,} characters.</strong></p>"
    return Markup(clean)


def figure(encoded: Any) -> str | None:
    """Decode a student's figure and write it again.

    Parameters
    ----------
    encoded : str
        PNG in base64.

    Returns
    -------
    str or None
        A data URI of a PNG that Pillow wrote, with pixels and nothing else; None if this is no
        PNG, or too large. It is never an SVG, which could hold a script.
    """
    if not isinstance(encoded, str) or len(encoded) > FIGURE:
        return None
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                if image.width * image.height > PIXELS:
                    return None
                pixels = image.convert("RGBA")
        pixels.thumbnail((SIDE, SIDE))
        # On white, as in the notebook: a transparent figure would be unreadable in the dark.
        flat = Image.new("RGB", pixels.size, "white")
        flat.paste(pixels, mask=pixels.getchannel("A"))
        buffer = io.BytesIO()
        flat.save(buffer, format="PNG")
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError,
            Warning):  # fmt: skip
        return None
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


# --- Templates ---------------------------------------------------------------------------------


def _points(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 2):g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}%"


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


@cache
def _site() -> str:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    return str(config["html"]["baseurl"])


def _link(section: str) -> str | None:
    """Say where a section is, if that is a page of the course's site."""
    return _site() + section if SECTION.fullmatch(section) else None


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "points": _points,
        "percent": _percent,
        "decimal": _decimal,
        "short": short,
        "paragraph": paragraph,
        "figure": figure,
        "neutral": neutral,
        "link": _link,
    }
    return environment


def _render(template: str, book: "Gradebook", *, script: str = "", **names: Any) -> str:
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src {_hash(style)}; img-src data:; base-uri 'none'; "
    policy += "form-action 'none'"
    if script:
        policy += f"; script-src {_hash(script)}"
    return (
        _environment()
        .get_template(template)
        .render(
            book=book,
            policy=policy,
            style=Markup(style),
            script=Markup(script),
            **names,
        )
    )


# --- Pages -------------------------------------------------------------------------------------


def feedback(book: "Gradebook", entry: "Entry") -> str:
    """Make the page that goes back to a student."""
    reasons = () if entry.status in ("graded", "suspicious") else entry.reasons
    told = TOLD.get(entry.status)
    return _render("feedback.html", book, entry=entry, told=told, reasons=reasons, private=False)


def submission(book: "Gradebook", entry: "Entry") -> str:
    """Make the instructor's page of a submission."""
    return _render(
        "feedback.html",
        book,
        entry=entry,
        told=None,
        reasons=entry.reasons,
        private=True,
    )


def index(book: "Gradebook") -> str:
    """Make the page to browse from."""
    asked = [row for row in book.questions if row.status == "to be marked"]
    waiting = Counter(
        row.question
        for entry in book.entries
        for row in entry.rows
        if row.status == "to be marked" and entry.status != "not submitted"
    )
    return _render("index.html", book, asked=asked, waiting=waiting)


def summary(book: "Gradebook", items: list["Item"]) -> str:
    """Make the page about the class."""
    students = book.students()
    final = sorted(entry.final for entry in students if entry.final is not None)
    width = book.max / 10 or 1.0
    bins = [0] * 10
    for score in final:
        bins[min(int(score / width), 9)] += 1
    return _render(
        "summary.html",
        book,
        items=items,
        statuses=Counter(entry.status for entry in students),
        identities=Counter(e.identity for e in book.entries if e.identity != "ok"),
        final=final,
        bins=[(place * width, (place + 1) * width, count) for place, count in enumerate(bins)],
        unboxed=sum(not entry.boxed for entry in book.entries),
    )


def marking(book: "Gradebook", asked: "Row", rubric: str | None) -> str:
    """Make the page on which a question is marked.

    Submissions stand in an order that says nothing about their authors, whose names are folded
    away.
    """
    place = [row.question for row in book.questions].index(asked.question)
    shown = [entry for entry in book.entries if entry.status not in ("not submitted", "unreadable")]
    shown.sort(key=lambda e: hashlib.sha256(f"{asked.question}{e.key}".encode()).digest())
    return _render(
        "marking.html",
        book,
        script=(TEMPLATES / "marking.js").read_text(encoding="utf-8"),
        asked=asked,
        place=place,
        entries=shown,
        rubric=_rubric_of(asked.question, rubric),
    )


def read_rubric(out: Path, name: str) -> str | None:
    """Read the rubric of a set, as made for the class.

    Parameters
    ----------
    out : Path
        The folder of results, in which grading has put it.
    name : str
        The set.

    Returns
    -------
    str or None
        HTML; None if there is none.
    """
    path = out / "private" / "rubric.html"
    if not path.is_file() and re.fullmatch(r"[a-z_]+", name):
        path = ROOT / "_build" / "assignments" / name / "rubric.html"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _rubric_of(question: str, page: str | None) -> Markup | None:
    """Cut the part about a question out of the rubric: what follows "Question 6"."""
    body = re.search(r"<main>(.*)</main>", page or "", re.S)
    if body is None:
        return None
    parts = re.split(r"(?=<h2>)", body[1])
    number = question.removeprefix("q")
    own = [part for part in parts if re.match(rf"<h2>Question {number}\b", part)]
    clean = bleach.clean("".join(own or parts), tags=TAGS | {"h2"}, attributes=ATTRIBUTES)
    return Markup(clean.replace("<h2>", "<h3>").replace("</h2>", "</h3>"))
