"""What a page and a chapter of the book must be, checked on the source.

The rules, and why each is there, are in CONTRIBUTING.md. Run on one file::

    python tests/chapter_lint.py book/funnel.md

A page is parsed by MyST's own parser into blocks; a rule is a function from a page to findings.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from docutils.parsers.rst.directives.misc import TestDirective
from markdown_it.renderer import RendererHTML
from markdown_it.tree import SyntaxTreeNode
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.directives import parse_directive_text
from myst_parser.parsers.mdit import create_md_parser
from pybtex.database import parse_file

BOOK = Path(__file__).resolve().parents[1] / "book"
TOC = yaml.safe_load((BOOK.parent / "_toc.yml").read_text(encoding="utf-8"))

GOALS = "What you will be able to do"
TIME = "Time to read"
NEEDS = "What you need first"
CLOSING_SECTIONS = ["Check yourself", "Exercises", "What to remember", "Next", "Sources"]
GRADES = {"easy", "medium", "hard"}
MAX_CELL_LINES = 15

# Words that read a minute of technical text: the stated time must lie between the two.
WORDS_PER_MINUTE = (100, 250)

# Directives whose content is not prose.
LITERAL = {"code-block", "code", "literalinclude", "math", "mermaid", "raw", "image", "toctree"}
GATES = {"exercise-start", "exercise-end", "solution-start", "solution-end"}

PLACES = {"section", "chapter", "equation", "page", "figure", "table"}
COUNTED = {"draws", "samples", "homes", "counties", "seeds", "chains", "steps", "gradients"}
SEED_KEYWORDS = {"seed", "random_seed", "random_state", "rng"}
# Calls that draw at random, and where the seed may stand without its keyword.
RANDOM_CALLS: dict[str, int | None] = {
    "fit": None,
    "hmc": None,
    "sample": None,
    "sample_prior_predictive": None,
    "sample_posterior_predictive": None,
    "pm.draw": None,
    "rvs": None,
    "draws": 1,
    "default_rng": 0,
}
GENERATORS = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "BitGenerator"}
CONFIG = yaml.safe_load((BOOK.parent / "_config.yml").read_text(encoding="utf-8"))
EXTENSIONS = set(CONFIG["parse"]["myst_enable_extensions"])
PARSER = create_md_parser(MdParserConfig(enable_extensions=EXTENSIONS), RendererHTML)
PLOTTING = re.compile(r"figures\.plot_\w+|plt\.(subplots|figure)|az\.plot_\w+")


@dataclass(frozen=True)
class Finding:
    """A rule broken, and where."""

    line: int
    rule: str
    message: str


@dataclass
class Block:
    """A block of a page: its kind, where it starts, what it says and what it holds."""

    kind: str  # heading, prose, list, table, cell, directive, math, other
    line: int
    text: str = ""  # without math, code and roles, unless they are nothing but a number
    roles: list[tuple[str, str]] = field(default_factory=list)
    links: int = 0
    level: int = 0
    name: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    body: str = ""
    children: list[Block] = field(default_factory=list)

    def walk(self) -> Iterator[Block]:
        """This block and all inside it."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def classes(self) -> set[str]:
        """The classes that the source gives the block."""
        return set(str(self.options.get("class", "")).split())

    @property
    def tags(self) -> set[str]:
        """The tags of a code cell."""
        return set(self.options.get("tags", []))


@dataclass
class Page:
    """A page of the book, parsed."""

    name: str
    description: str
    blocks: list[Block]
    keys: frozenset[str]  # of the bibliography

    def walk(self) -> Iterator[Block]:
        """Every block, nested ones too, in the order of the source."""
        for block in self.blocks:
            yield from block.walk()

    @property
    def cells(self) -> list[Block]:
        """The code cells."""
        return [block for block in self.walk() if block.kind == "cell"]

    @property
    def sections(self) -> list[tuple[Block | None, list[Block]]]:
        """What stands before the first ``##``, then each ``##`` with what follows it."""
        sections: list[tuple[Block | None, list[Block]]] = [(None, [])]
        for block in self.blocks:
            if block.kind == "heading" and block.level == 2:
                sections.append((block, []))
            else:
                sections[-1][1].append(block)
        return sections

    def section(self, title: str) -> list[Block]:
        """What stands in the section of that title: nothing if there is none."""
        for heading, blocks in self.sections:
            if heading is not None and heading.text == title:
                return blocks
        return []


# Parsing ------------------------------------------------------------------------------------


def parse(text: str, *, name: str = "chapter", keys: Iterable[str] = ()) -> Page:
    """Parse the source of a page."""
    front: dict[str, Any] = {}

    def blocks(source: str, offset: int) -> list[Block]:
        found = []
        for node in SyntaxTreeNode(PARSER.parse(source)).children:
            if node.type == "front_matter":
                front.update(yaml.safe_load(node.content) or {})
            elif node.map is not None:
                found.append(block(node, offset + node.map[0] + 1))
        return found

    def block(node: SyntaxTreeNode, line: int) -> Block:
        if node.type in ("fence", "colon_fence") and (
            directive := re.match(r"\{([\w:-]+)\}\s*(.*)", node.info.strip())
        ):
            return from_directive(directive[1], directive[2], node.content, line)
        if node.type in ("bullet_list", "ordered_list"):
            items = [with_inlines(item, Block("prose", line)) for item in node.children]
            return Block("list", line, children=items)
        if node.type == "heading":
            return with_inlines(node, Block("heading", line, level=int(node.tag[1:])))
        kind = {"paragraph": "prose", "blockquote": "prose", "table": "table"}.get(node.type)
        if kind is None:
            kind = "math" if node.type.startswith("math_block") else "other"
        return with_inlines(node, Block(kind, line))

    def from_directive(name: str, argument: str, content: str, line: int) -> Block:
        is_cell = name == "code-cell"
        parsed = parse_directive_text(
            TestDirective, argument, content, validate_options=not is_cell
        )
        result = Block("cell" if is_cell else "directive", line, name=name)
        result.options, result.body = parsed.options, "\n".join(parsed.body)
        if name in LITERAL or is_cell:
            return result
        if name in GATES - {"exercise-start"}:  # their argument is a label
            result.text = argument
            return result
        # The title of an admonition is prose, and so is the name of an exercise.
        for title in SyntaxTreeNode(PARSER.parse(argument)).children:
            result.children.append(with_inlines(title, Block("prose", line)))
        result.text = " ".join(child.text for child in result.children)
        result.children += blocks(result.body, line + parsed.body_offset)
        return result

    def with_inlines(node: SyntaxTreeNode, into: Block) -> Block:
        tokens = [inline.to_tokens()[0] for inline in node.walk() if inline.type == "inline"]
        texts = []
        quiet = False  # inside a bare address, which is no prose
        for token in (part for inline in tokens for part in [*(inline.children or []), inline]):
            if token.type == "link_open":
                into.links += 1
                quiet = token.markup in ("autolink", "linkify")
            elif token.type == "link_close":
                quiet = False
            elif token.type == "text" and not quiet:
                texts.append(token.content)
            elif token.type in ("softbreak", "hardbreak", "inline"):
                texts.append(" ")
            elif token.type == "myst_role":
                into.roles.append((token.meta["name"], token.content))
                texts.append("\ufffc")
            elif token.type in ("math_inline", "math_inline_double", "code_inline"):
                texts.append(token.content if _is_bare_number(token.content) else "\ufffc")
            elif token.type == "image":
                into.children.append(Block("directive", into.line, name="markdown image"))
        into.text = "".join(texts).strip()
        return into

    parsed = blocks(text, 0)
    description = front.get("myst", {}).get("html_meta", {}).get("description", "")
    return Page(name, description, parsed, frozenset(keys))


def _is_bare_number(content: str) -> bool:
    """Whether math or code holds nothing but a number: ``0.03``, ``\\approx 3\\,\\%``."""
    rest = re.sub(r"\\(approx|sim|pm|leq?|geq?|[,;%!])", "", content)
    return re.fullmatch(r"[-+−±~≈<>=\s]*\d[\d.,\s]*%?\s*", rest) is not None


def calls(cell: Block) -> list[tuple[str, ast.Call]]:
    """The calls in a code cell with their dotted names; none if the cell is no Python."""
    try:
        tree = ast.parse(cell.body)
    except SyntaxError:
        return []
    return [(ast.unparse(n.func), n) for n in ast.walk(tree) if isinstance(n, ast.Call)]


# Rules for every page -----------------------------------------------------------------------


def cells_are_short_python(page: Page) -> Iterator[Finding]:
    """A cell is Python, no magics, and at most 15 lines long."""
    for cell in page.cells:
        count = sum(bool(line.strip()) for line in cell.body.splitlines())
        if count > MAX_CELL_LINES:
            yield Finding(cell.line, "cell", f"{count} lines; at most {MAX_CELL_LINES}")
        try:
            ast.parse(cell.body)
        except SyntaxError as error:
            yield Finding(cell.line, "cell", f"not Python: {error.msg}")


def randomness_is_seeded(page: Page) -> Iterator[Finding]:
    """Every random call has a seed, and none goes through NumPy's or Python's global state."""
    for cell in page.cells:
        for name, call in calls(cell):
            last = name.rpartition(".")[2]
            position = RANDOM_CALLS.get(name, RANDOM_CALLS.get(last, ...))
            given = {k.arg for k in call.keywords if not _is_none(k.value)} & SEED_KEYWORDS
            positional = isinstance(position, int) and len(call.args) > position
            if position is not ... and not given and not positional:
                yield Finding(cell.line, "seed", f"`{name}` has no seed")
            if re.match(r"(np|numpy)\.random\.", name) and last not in GENERATORS:
                yield Finding(cell.line, "random", f"`{name}` uses NumPy's global state")
        for module in _imports(cell):
            if module == "random" or module.startswith("numpy.random"):
                yield Finding(cell.line, "random", f"imports `{module}`; use np.random.default_rng")


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _imports(cell: Block) -> Iterator[str]:
    try:
        tree = ast.parse(cell.body)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{node.module}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def figures_are_described(page: Page) -> Iterator[Finding]:
    """A figure has a caption, a label and a text that says what to see."""
    for block in page.walk():
        if block.kind == "cell":
            draws = any(PLOTTING.fullmatch(name) for name, _ in calls(block))
            if not draws and "mystnb" not in block.options:
                continue
            options = block.options.get("mystnb", {})
            figure = options.get("figure", {})
            parts = {
                "label": figure.get("name"),
                "caption": figure.get("caption"),
                "alt text": options.get("image", {}).get("alt"),
            }
        elif block.name == "figure":
            parts = {
                "label": block.options.get("name"),
                "caption": block.body.strip(),
                "alt text": block.options.get("alt"),
            }
        elif block.name in ("image", "markdown image"):
            yield Finding(block.line, "figure", "use {figure}: it has a caption and a label")
            continue
        else:
            continue
        for part, value in parts.items():
            if not value:
                yield Finding(block.line, "figure", f"no {part}")
        if parts["label"] and not str(parts["label"]).startswith("fig-"):
            yield Finding(block.line, "figure", f"label {parts['label']!r} must start with 'fig-'")


def citations_resolve(page: Page) -> Iterator[Finding]:
    """Every key cited is in the bibliography."""
    for block in page.walk():
        for key in _cited(block):
            if key not in page.keys:
                yield Finding(block.line, "citation", f"{key!r} is not in references.bib")


def _cited(block: Block) -> list[str]:
    return [
        key.strip()
        for role, content in block.roles
        if role.split(":")[0] == "cite"
        for key in content.split(",")
    ]


def numbers_come_from_the_run(page: Page) -> Iterator[Finding]:
    """A number in prose is glued, or of a kind that no run decides."""
    texts = [(1, page.description, False)]
    for block in page.walk():
        texts.append((block.line, block.text, bool(_cited(block))))
        figure = block.options.get("mystnb", {}) if block.kind == "cell" else {}
        caption = str(figure.get("figure", {}).get("caption", ""))
        caption_blocks = parse(caption).blocks
        texts += [(block.line, b.text, bool(_cited(b))) for b in caption_blocks]
        alt = figure.get("image", {}).get("alt", block.options.get("alt", ""))
        texts.append((block.line, str(alt), False))
    for line, text, cites in texts:
        if text.startswith(TIME):
            continue
        for number in bare_numbers(text, cites=cites):
            yield Finding(line, "number", f"{number!r} in {text[:60]!r}: glue it")


def bare_numbers(text: str, *, cites: bool = False) -> list[str]:
    """The numbers in a prose that are of no kind that a chapter may state by itself."""
    if cites:  # a number that a cited source reports stands in quotation marks
        text = re.sub(r"[“\"][^”\"]*[”\"]", "", text)
    found = []
    for match in re.finditer(r"(?<!\w)(?<!\w[.,])\d(?:[\d.,]*\d)?", text):
        before, after = text[: match.start()], text[match.end() :]
        word = re.findall(r"(\w+)\.? $", before)
        place = bool(word) and word[0].lower().removesuffix("s") in PLACES
        noun = re.match(r" (\w+)", after)
        year = re.fullmatch(r"(1[6-9]|20)\d\d", match[0]) and not re.match(r"[\w%]", after)
        ordinal = re.match(r"(st|nd|rd|th)\b", after)
        action_level = match[0] == "4" and after.startswith(" pCi/L")
        setting = re.match(r"% (interval|quantile)", after)
        if place or ordinal or action_level or setting:
            continue
        if year and not (noun and noun[1] in COUNTED):
            continue
        found.append(match[0])
    return found


PAGE_RULES = [
    cells_are_short_python,
    randomness_is_seeded,
    figures_are_described,
    citations_resolve,
    numbers_come_from_the_run,
]


# Rules for a chapter ------------------------------------------------------------------------


def top_is_in_order(page: Page) -> Iterator[Finding]:
    """Title, goals, time to read and what is needed first, in that order."""
    titles = [b for b in page.blocks if b.kind == "heading" and b.level == 1]
    if len(titles) != 1:
        yield Finding(1, "anatomy", f"{len(titles)} titles (`#`); one is wanted")
    lead = [b.text for b in page.sections[0][1] if b.name == "admonition" or b.kind == "prose"]
    marks = [GOALS, TIME, NEEDS]
    found = [mark for text in lead for mark in marks if text.startswith(mark)]
    if found != marks:
        yield Finding(1, "anatomy", f"before the first `##` stand {found}; wanted are {marks}")
    for block in page.sections[0][1]:
        if block.text.startswith(NEEDS) and not (block.links or block.roles):
            yield Finding(block.line, "anatomy", "what you need first: no link")


def sections_are_in_order(page: Page) -> Iterator[Finding]:
    """Free sections, then the five closing ones, each with what belongs in it."""
    titles = [heading.text for heading, _ in page.sections if heading is not None]
    if titles[-5:] != CLOSING_SECTIONS:
        yield Finding(1, "anatomy", f"the last sections are {titles[-5:]}, not {CLOSING_SECTIONS}")
    if len(titles) < 3 + len(CLOSING_SECTIONS):
        yield Finding(1, "anatomy", "fewer than three sections before 'Check yourself'")
    elif not any("figure" in b.options.get("mystnb", {}) for b in page.sections[1][1]):
        yield Finding(1, "anatomy", "the question (the first section) has no picture")

    equations = [b.line for b in page.walk() if b.name == "math" and "label" in b.options]
    fits = [c.line for c in page.cells if any(n.split(".")[-1] == "fit" for n, _ in calls(c))]
    if not equations or (fits and min(fits) < min(equations)):
        yield Finding(1, "anatomy", "no labelled equation before the computation")

    answers = [b for b in page.section("Check yourself") if "dropdown" in b.classes]
    if len(answers) not in (2, 3):
        yield Finding(1, "anatomy", f"{len(answers)} folded answers to check; two or three")
    for answer in answers:
        if words(answer.children) < 15:
            yield Finding(answer.line, "anatomy", "the answer does not explain")
    remembered = [len(b.children) for b in page.section("What to remember") if b.kind == "list"]
    if remembered != [5]:
        yield Finding(1, "anatomy", "'What to remember' is not one list of five lines")
    if not words(page.section("Next")):
        yield Finding(1, "anatomy", "'Next' says nothing")
    if not any(_cited(b) for top in page.section("Sources") for b in top.walk()):
        yield Finding(1, "anatomy", "'Sources' cites nothing")


def time_to_read_is_true(page: Page) -> Iterator[Finding]:
    """The stated minutes fit the number of words."""
    for block in page.sections[0][1]:
        if block.text.startswith(TIME):
            stated = re.findall(r"(\d+) minutes", block.text)
            slow, fast = WORDS_PER_MINUTE
            count = words(page.blocks)
            if not stated or not count / fast <= int(stated[0]) <= count / slow:
                yield Finding(
                    block.line,
                    "time",
                    f"{count} words take {count // fast} to {count // slow} minutes",
                )


def words(blocks: list[Block]) -> int:
    """How many words of prose the blocks hold."""
    return sum(
        len(re.findall(r"[^\W\d_]{2,}", inner.text))
        for block in blocks
        for inner in block.walk()
        if inner.kind in ("prose", "table")
    )


def cells_are_talked_about(page: Page) -> Iterator[Finding]:
    """Prose stands directly before each cell that is shown and directly after it."""
    shown = [b for b in page.blocks if not _is_transparent(b)]
    for before, cell, after in zip([None, *shown], shown, [*shown[1:], None], strict=False):
        if cell.kind == "cell":
            for side, neighbor in (("before", before), ("after", after)):
                if neighbor is None or not _is_prose(neighbor):
                    yield Finding(cell.line, "prose", f"no sentence directly {side} the cell")


def _is_transparent(block: Block) -> bool:
    hidden = block.kind == "cell" and "remove-cell" in block.tags
    return hidden or block.kind in ("math", "other") or block.name == "math"


def _is_prose(block: Block) -> bool:
    if block.kind == "directive":
        return block.name not in LITERAL | GATES
    return block.kind in ("prose", "list", "table")


def exercises_have_solutions(page: Page) -> Iterator[Finding]:
    """Graded, labelled exercises, each followed by its executed, folded solution."""
    exercises = page.section("Exercises")
    gates = [b for b in page.walk() if b.name in GATES | {"exercise", "solution"}]
    for gate in gates:
        if gate not in exercises or gate.name not in GATES:
            yield Finding(gate.line, "exercise", "only gated, at top level of 'Exercises'")
    inside: dict[int, list[Block]] = {}
    opened: Block | None = None
    grades: list[set[str]] = []
    unsolved: str | None = None
    for block in exercises:
        if block.name in ("exercise-start", "solution-start"):
            if opened is not None:
                yield Finding(block.line, "exercise", "starts inside another one")
            opened = block
            inside[block.line] = []
        elif block.name in ("exercise-end", "solution-end"):
            if opened is None or opened.name.split("-")[0] != block.name.split("-")[0]:
                yield Finding(block.line, "exercise", f"`{block.name}` closes nothing")
            opened = None
        elif opened is not None:
            inside[opened.line].append(block)
        label = str(block.options.get("label", ""))
        if block.name == "exercise-start":
            if unsolved:
                yield Finding(block.line, "exercise", f"{unsolved!r} has no solution")
            unsolved = label
            if not label.startswith(f"ex-{page.name}-"):
                yield Finding(block.line, "exercise", f"label {label!r}; wanted ex-{page.name}-…")
            if len(block.classes & GRADES) != 1:
                yield Finding(block.line, "exercise", "is not easy, medium or hard")
            grades.append(block.classes & GRADES)
        elif block.name == "solution-start":
            if block.text.strip() != unsolved:
                yield Finding(block.line, "exercise", f"solves {block.text!r}, not {unsolved!r}")
            unsolved = None
            if "dropdown" not in block.classes:
                yield Finding(block.line, "exercise", "the solution is not folded")
    for block in exercises:
        if block.name == "solution-start":
            cells = [b for b in inside[block.line] if b.kind == "cell"]
            if not [c for c in cells if "skip-execution" not in c.tags]:
                yield Finding(block.line, "exercise", "the solution executes nothing")
    if unsolved:
        yield Finding(1, "exercise", f"{unsolved!r} has no solution")
    if len(grades) < 4 or set().union(*grades) != GRADES:
        yield Finding(1, "exercise", "wanted: four or more, easy, medium and hard among them")


def goals_are_exercised(page: Page) -> Iterator[Finding]:
    """Three to five goals, each naming an exercise of this chapter that checks it."""
    labels = {str(b.options.get("label")) for b in page.walk() if b.name == "exercise-start"}
    for admonition in page.sections[0][1]:
        if admonition.text != GOALS:
            continue
        goals = [goal for b in admonition.children if b.kind == "list" for goal in b.children]
        if not 3 <= len(goals) <= 5:
            yield Finding(admonition.line, "goal", f"{len(goals)} goals; three to five")
        for goal in goals:
            named = {content.strip() for role, content in goal.roles if role == "ref"}
            if not named & labels:
                yield Finding(admonition.line, "goal", f"no exercise checks {goal.text[:50]!r}")


CHAPTER_RULES = [
    *PAGE_RULES,
    top_is_in_order,
    sections_are_in_order,
    time_to_read_is_true,
    cells_are_talked_about,
    exercises_have_solutions,
    goals_are_exercised,
]


def pages() -> list[str]:
    """The written pages of the table of contents, the first one included; sets are generated."""
    parts = [part["chapters"] for part in TOC["parts"] if part["caption"] != "Problem sets"]
    return [TOC["root"], *(page["file"] for part in parts for page in part)]


def chapters() -> list[str]:
    """The pages that are chapters: those of the part "The course"."""
    parts = [part["chapters"] for part in TOC["parts"] if part["caption"] == "The course"]
    return [chapter["file"] for part in parts for chapter in part]


def load(path: Path) -> Page:
    """Read a page of the book and the keys that it may cite."""
    keys = parse_file(BOOK / "references.bib").entries
    return parse(path.read_text(encoding="utf-8"), name=path.stem, keys=keys)


def lint(page: Page) -> list[Finding]:
    """Everything on the page that breaks a rule, in the order of the source."""
    rules = CHAPTER_RULES if page.name in chapters() else PAGE_RULES
    return sorted((f for rule in rules for f in rule(page)), key=lambda f: f.line)


if __name__ == "__main__":
    problems = [
        f"{path}:{finding.line}: {finding.rule}: {finding.message}"
        for path in sys.argv[1:]
        for finding in lint(load(Path(path)))
    ]
    print("\n".join(problems))
    sys.exit(bool(problems))
