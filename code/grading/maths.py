"""Markdown with formulas, for people who mark.

A formula becomes MathML, which a browser shows without scripts, styles or fonts. KaTeX makes it,
as it does on the site: https://katex.org/docs/options.html. A formula may come from a student, so
it is short, its macros and sizes are limited, and what is made of it has to go through bleach.
"""

from functools import cache
from html import escape

from markdown_it import MarkdownIt
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from sphinxcontrib.katex import KaTeXError, render_latex

from bookbuild import katex

__all__ = ["ATTRIBUTES", "TAGS", "formula", "markdown"]

#: Characters of a formula; a longer one is shown as it was typed.
LONGEST = 2_000
OPTIONS = {"output": "mathml", "throwOnError": True, "trust": False, "strict": "ignore",
           "maxSize": 5, "maxExpand": 200}  # fmt: skip
#: What a formula is made of. Colors are not among it: they would be unreadable in the dark.
TAGS = {
    "annotation", "math", "menclose", "mfrac", "mi", "mn", "mo", "mover", "mpadded", "mphantom",
    "mroot", "mrow", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd",
    "mtext", "mtr", "munder", "munderover", "semantics",
}  # fmt: skip
ATTRIBUTES = {
    "annotation": ["encoding"],
    "math": ["display"],
    "menclose": ["notation"],
    "mfrac": ["linethickness"],
    "mi": ["mathvariant"],
    "mo": ["fence", "lspace", "maxsize", "minsize", "rspace", "separator", "stretchy"],
    "mover": ["accent"],
    "mspace": ["width"],
    "mstyle": ["displaystyle", "scriptlevel"],
    "mtable": ["columnalign", "columnspacing", "rowspacing"],
    "munder": ["accentunder"],
}


def formula(tex: str, display: bool) -> str:
    """Render a formula.

    Parameters
    ----------
    tex : str
        TeX, without dollars.
    display : bool
        Whether it stands on a line of its own.

    Returns
    -------
    str
        MathML; of a formula that KaTeX cannot read, or that is too long, what was typed.
    """
    if len(tex) <= LONGEST:
        katex.prepare()
        try:
            return str(render_latex(tex, {**OPTIONS, "displayMode": display}))
        except KaTeXError:
            pass
    typed = f"<code>{escape(tex)}</code>"
    return f"<p>{typed}</p>" if display else typed


@cache
def markdown() -> MarkdownIt:
    """Make the parser: no HTML, tables, and formulas as in a notebook."""
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
    dollarmath_plugin(
        parser,
        allow_labels=False,
        double_inline=True,
        renderer=lambda tex, how: formula(tex, how["display_mode"]),
    )
    amsmath_plugin(parser, renderer=lambda tex: formula(tex, True))
    return parser
