"""Style sheets without the rules that a page has no use for.

A rule stays if every class, identifier, element and attribute that one of its selectors names
occurs on the page, or as a word in a script of the page, which may put it there. What is inside of
`:not()`, `:is()` and the like is not looked at, so that in doubt a rule stays.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

import tinycss2

#: At-rules whose content is rules.
NESTING = ("media", "supports", "layer", "container")
VARIABLE = re.compile(r"--[\w-]+")
ADDRESS = re.compile(r"""url\(\s*["']?(?!data:|https?:|\#|/)([^"')]+)["']?\s*\)""")


@dataclass(frozen=True)
class Rule:
    """Selectors, each with what it needs to be on the page, and declarations by name."""

    selectors: tuple[tuple[str, frozenset[str]], ...]
    declarations: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Block:
    """An at-rule that holds rules."""

    prelude: str
    parts: tuple["Part", ...]


@dataclass(frozen=True)
class Named:
    """A font or an animation: it stays if a declaration that stays has its name."""

    name: str
    text: str


Part = Rule | Block | Named


class Seen(HTMLParser):
    """All that selectors can name in a page: `.class`, `#identifier`, `element`, `[attribute`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        # A reader opens and closes what can be opened.
        self.names = {"html", "head", "body", "[open"}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.names.add(tag)
        for name, value in attrs:
            self.names.add(f"[{name}")
            if name == "class":
                self.names.update(f".{part}" for part in (value or "").split())
            elif name == "id":
                self.names.add(f"#{value}")


def squeeze(tokens: Sequence[Any]) -> str:
    """Write tokens with single spaces and without comments."""

    def simplify(tokens: Sequence[Any]) -> list[Any]:
        kept = [token for token in tokens if token.type != "comment"]
        for token in kept:
            if token.type == "whitespace":
                token.value = " "
            for inner in ("content", "arguments"):
                if isinstance(getattr(token, inner, None), list):
                    setattr(token, inner, simplify(getattr(token, inner)))
        return kept

    return tinycss2.serialize(simplify(tokens)).strip()


def needs(selector: Sequence[Any]) -> frozenset[str]:
    """Name what must be on a page for a selector to select anything.

    Parameters
    ----------
    selector : sequence of tinycss2 nodes
        One selector, without commas.

    Returns
    -------
    frozenset of str
        As in `Seen.names`.
    """
    found, before = set(), ""
    for token in selector:
        if token.type == "hash":
            found.add(f"#{token.value}")
        elif token.type == "[] block":
            found.add(f"[{next(t.lower_value for t in token.content if t.type == 'ident')}")
        elif token.type == "ident" and before == ".":
            found.add(f".{token.value}")
        elif token.type == "ident" and before != ":":
            found.add(token.lower_value)
        before = token.value if token.type == "literal" else ""
    return frozenset(found)


def split(prelude: Sequence[Any]) -> Iterator[tuple[str, frozenset[str]]]:
    """Give the selectors of a rule, with what each needs."""
    selector: list[Any] = []
    for token in [*prelude, None]:
        if token is None or token == ",":
            yield squeeze(selector), needs(selector)
            selector = []
        else:
            selector.append(token)


def parse(site: Path, home: str) -> tuple[Part, ...]:
    """Read a style sheet, and those that it imports.

    Parameters
    ----------
    site : Path
        The top of the site.
    home : str
        Address of the sheet from there; addresses in it become addresses from there, too.

    Returns
    -------
    tuple of Part
        What it says, in its order.

    Raises
    ------
    ValueError
        If it cannot be read, or has a kind of rule that is not known here.
    """

    def addressed(text: str) -> str:
        return ADDRESS.sub(lambda found: f"url({normpath(join(dirname(home), found[1]))})", text)

    def declarations(content: Sequence[Any]) -> Iterator[tuple[str, str]]:
        for line in tinycss2.parse_declaration_list(content, True, True):
            if line.type == "declaration":
                important = "!important" if line.important else ""
                yield line.name, addressed(squeeze(line.value)) + important

    def part(rule: Any) -> Iterator[Part]:
        if rule.type == "qualified-rule":
            yield Rule(tuple(split(rule.prelude)), tuple(declarations(rule.content)))
            return
        keyword = rule.lower_at_keyword
        prelude = squeeze(rule.prelude)
        if keyword in NESTING:
            inner = tinycss2.parse_rule_list(rule.content, True, True)
            yield Block(f"@{keyword} {prelude}", tuple(p for each in inner for p in part(each)))
        elif keyword == "font-face":
            lines = dict(declarations(rule.content))
            # Every browser that the site works in reads the first, which is woff2.
            lines["src"] = lines["src"].partition(",")[0]
            text = ";".join(f"{name}:{value}" for name, value in lines.items())
            yield Named(lines["font-family"].strip("\"'"), f"@font-face{{{text}}}")
        elif keyword.endswith("keyframes"):
            yield Named(prelude, f"@{keyword} {prelude}{{{addressed(squeeze(rule.content))}}}")
        elif keyword == "page":
            yield Block(f"@page {prelude}", (Rule((), tuple(declarations(rule.content))),))
        elif keyword == "import":
            (address,) = (token.value for token in rule.prelude if token.type in ("string", "url"))
            yield from parse(site, normpath(join(dirname(home), address)))
        elif keyword != "charset":
            raise ValueError(f"{home}: a style sheet with @{keyword} cannot be purged")

    css = (site / home).read_text(encoding="utf-8")
    rules = tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True)
    for rule in rules:
        if rule.type == "error":
            raise ValueError(f"{home}, line {rule.source_line}: {rule.message}")
    return tuple(p for each in rules for p in part(each))


def keep(parts: Sequence[Part], known: Callable[[str], bool]) -> Iterator[Part]:
    """Leave out the rules that nothing on the page is meant by."""
    for part in parts:
        if isinstance(part, Block):
            inner = tuple(keep(part.parts, known))
            if inner:
                yield Block(part.prelude, inner)
        elif isinstance(part, Rule) and part.selectors:
            chosen = tuple(pair for pair in part.selectors if all(map(known, pair[1])))
            if chosen and part.declarations:
                yield Rule(chosen, part.declarations)
        else:
            yield part


def lines(parts: Sequence[Part]) -> Iterator[tuple[str, str]]:
    """Give all declarations."""
    for part in parts:
        if isinstance(part, Block):
            yield from lines(part.parts)
        elif isinstance(part, Rule):
            yield from part.declarations


def used_variables(parts: Sequence[Part], used: set[str]) -> set[str]:
    """Name the variables that something refers to, directly or through another variable."""
    refers: dict[str, set[str]] = {}
    used = set(used)
    for name, value in lines(parts):
        names = set(VARIABLE.findall(value))
        if name.startswith("--"):
            refers.setdefault(name, set()).update(names)
        else:
            used |= names
    todo = list(used)
    while todo:
        new = refers.get(todo.pop(), set()) - used
        used |= new
        todo += new
    return used


def purge(parts: Sequence[Part], known: Callable[[str], bool], text: str) -> str:
    """Write what a page has a use for.

    Parameters
    ----------
    parts : sequence of Part
        Style sheets, read.
    known : callable
        Tells whether a name, as in `Seen.names`, may be on the page.
    text : str
        The page and its scripts, for the variables that they use.

    Returns
    -------
    str
        One style sheet.
    """
    kept = list(keep(parts, known))
    variables = used_variables(kept, set(VARIABLE.findall(text)))
    values = " ".join(value for name, value in lines(kept) if "font" in name or "anim" in name)

    def write(parts: Sequence[Part]) -> Iterator[str]:
        for part in parts:
            if isinstance(part, Block):
                inner = "".join(write(part.parts))
                if inner:
                    yield f"{part.prelude}{{{inner}}}"
            elif isinstance(part, Named):
                if part.name in values:
                    yield part.text
            else:
                declared = [
                    f"{name}:{value}"
                    for name, value in part.declarations
                    if not name.startswith("--") or name in variables
                ]
                if declared and not part.selectors:
                    yield ";".join(declared)
                elif declared:
                    selectors = ",".join(selector for selector, _ in part.selectors)
                    yield f"{selectors}{{{';'.join(declared)}}}"

    return "".join(write(kept))


def words(scripts: str) -> set[str]:
    """Name the words of scripts: what they may put on a page is among them."""
    return set(re.findall(r"[A-Za-z][\w-]*", scripts))
