"""The guard: nothing that students get holds a solution, a hidden test or an expected value.

Three lines of defense, each against a slip of an author:

- the *master* has only markers that exist, in pairs, and every answer lies between them
  (:func:`check_master`);
- the *student's notebook* has no output, no metadata but our own, and in the cells to be filled in
  nothing but scaffolding (:func:`check_notebook`); its public checks are not told to be hidden and
  hold no number that could be an answer (:func:`check_tests`);
- no line of a solution or a hidden test, and no value that the solution puts out, is found again
  in *anything made from it*: files, pages, sources beside the pages, the search index
  (:func:`check_folder`, :func:`check_site`).
"""

import ast
import difflib
import html
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import snowballstemmer
import yaml
from nbformat import NotebookNode
from otter.assign.solutions import ANSWER_CELL_TAG, replace_solutions

__all__ = [
    "GuardError",
    "Secrets",
    "check_folder",
    "check_master",
    "check_notebook",
    "check_site",
    "check_tests",
    "check_text",
    "secrets",
]

BLOCKS = ("QUESTION", "SOLUTION", "PROMPT", "TESTS")
#: What an author may write into a cell of markers, and into a comment of a cell of code.
CELL_MARKERS = {f"{end} {block}" for end in ("BEGIN", "END") for block in BLOCKS}
CODE_MARKERS = {"BEGIN SOLUTION", "END SOLUTION", "SOLUTION", "HIDDEN", "IGNORE"}
CODE_MARKERS |= {"BEGIN TEST CONFIG", "END TEST CONFIG"}
TEST_OPTIONS = {"points", "hidden", "success_message", "failure_message"}
#: Metadata of cells that we and otter put there.
CELL_METADATA = {"hierarchical_models", "tags", "editable", "deletable", "otter"}
#: A line of code, or a part of a sentence, of fewer letters and digits says nothing of its own.
DISTINCT_CODE, DISTINCT_WORDS = 12, 24
#: Sphinx's, for a site in English.
STEMMER = snowballstemmer.stemmer("porter")
#: Where a sentence or a formula falls into parts.
PARTS = re.compile(r"[.,:;$\n]")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?!\w|\.\d)")


class GuardError(ValueError):
    """Students would get what they must not."""


def _refuse(faults: list[str]) -> None:
    if faults:
        raise GuardError("\n".join(faults))


# --- The master ----------------------------------------------------------------------------


def _comments(source: str) -> Iterator[str]:
    """Yield the words of comments, whole lines and ends of lines."""
    for line in source.splitlines():
        if "#" in line:
            yield line.rsplit("#", 1)[1].strip()


def _misspelt(words: str, known: set[str]) -> str | None:
    """Tell which marker the words may have been meant for, if they are none themselves."""
    if words in known or len(words) > 24:
        return None
    near = difflib.get_close_matches(words.upper(), sorted(known), n=1, cutoff=0.7)
    return near[0] if near else None


def _check_code(source: str, where: str) -> Iterator[str]:
    """Yield what is wrong with markers in a cell of code."""
    depth = 0
    for words in _comments(source):
        if meant := _misspelt(words, CODE_MARKERS):
            yield f"{where}: '# {words}' is no marker; is '# {meant}' meant?"
        depth += (words == "BEGIN SOLUTION") - (words == "END SOLUTION")
        if not 0 <= depth <= 1:
            yield f"{where}: BEGIN SOLUTION and END SOLUTION are not in pairs"
            return
    if depth:
        yield f"{where}: BEGIN SOLUTION without END SOLUTION"


def _check_test(source: str, where: str) -> Iterator[str]:
    """Yield what is wrong with the head of a test: it decides whether the test is public."""
    first = source.splitlines()[0].strip() if source.strip() else ""
    if first.startswith("#") and first != "# HIDDEN":
        yield f"{where}: a test begins with '# HIDDEN' or with no comment, got {first!r}"
    if "BEGIN TEST CONFIG" in source:
        config = source.split("BEGIN TEST CONFIG", 1)[1].split('"""', 1)[0]
        options = yaml.safe_load(config) or {}
        if unknown := set(options) - TEST_OPTIONS:
            yield f"{where}: a test has no option {', '.join(sorted(map(str, unknown)))}"


def _blocks(cells: Iterable[NotebookNode]) -> Iterator[tuple[NotebookNode, list[str], str, str]]:
    """Yield each cell with the blocks it stands in, its place, and a fault of markers if any."""
    inside: list[str] = []
    question = "before the questions"
    for place, cell in enumerate(cells, start=1):
        fault = ""
        lines = cell.source.splitlines()
        if lines and lines[0] == "```otter":
            for line in lines[1:-1]:
                words = line.lstrip("#").strip()
                if line.startswith("#") and words != "ASSIGNMENT CONFIG":
                    if words not in CELL_MARKERS:
                        fault = f"'{line}' is no marker"
                        continue
                    end, block = words.split()
                    if end == "BEGIN":
                        inside.append(block)
                    elif inside and inside[-1] == block:
                        inside.pop()
                    else:
                        fault = f"'{line}' ends what was not begun"
                elif line.startswith("name:"):
                    question = line.split(":", 1)[1].strip()
        yield cell, list(inside), f"{question}, cell {place}", fault


def check_master(master: NotebookNode) -> None:
    """Refuse a master whose markers would let a solution through.

    Parameters
    ----------
    master : NotebookNode
        Split at its markers: each a Markdown cell of its own.

    Raises
    ------
    GuardError
        With one line for each fault: a marker that does not exist or has no partner, an answer
        outside of a solution, a test that is neither public nor hidden.
    """
    faults: list[str] = []
    inside: list[str] = []
    for cell, inside, where, fault in _blocks(master.cells):
        if fault:
            faults.append(f"{where}: {fault}")
        if cell.get("outputs"):
            faults.append(f"{where}: a master has no outputs")
        if cell.cell_type != "code":
            if not cell.source.startswith("```otter") and re.search(
                r"^#? ?(BEGIN|END) [A-Z]{4,}$", cell.source, re.M
            ):
                faults.append(f"{where}: a marker stands in the text")
            continue
        faults += _check_code(cell.source, where)
        if inside[-1:] == ["TESTS"]:
            faults += _check_test(cell.source, where)
        elif inside[-1:] == ["SOLUTION"]:
            if not any(words.endswith("SOLUTION") for words in _comments(cell.source)):
                faults.append(f"{where}: code of a solution without # BEGIN SOLUTION in it")
        elif inside == ["QUESTION"] and "given" not in cell.metadata.get("tags", []):
            faults.append(f"{where}: code in a question that is neither solution, test nor given")
        elif any(words.endswith("SOLUTION") for words in _comments(cell.source)):
            faults.append(f"{where}: # SOLUTION outside of a solution")
    if inside:
        faults.append(f"at the end: {inside[-1]} was not ended")
    _refuse(faults)


# --- The student's notebook and checks -----------------------------------------------------


def _is_scaffold(node: ast.stmt) -> bool:
    """Tell whether a statement gives nothing away: signature, import, `...`, `name = ...`."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Pass):
        return True
    if isinstance(node, ast.FunctionDef | ast.With):
        return all(_is_scaffold(inner) for inner in node.body)
    if isinstance(node, ast.Expr | ast.Return | ast.Assign) and isinstance(
        node.value, ast.Constant
    ):
        held = node.value.value
        return held is ... or (isinstance(node, ast.Expr) and isinstance(held, str))
    return False


def check_notebook(student: NotebookNode) -> None:
    """Refuse a student's notebook that has outputs, foreign metadata, or more than scaffolding.

    Parameters
    ----------
    student : NotebookNode
        As students would get it.

    Raises
    ------
    GuardError
        With one line for each fault.
    """
    faults = []
    for name in set(student.metadata) - {"kernelspec", "language_info", "hierarchical_models"}:
        faults.append(f"the notebook has metadata {name!r}")
    for place, cell in enumerate(student.cells, start=1):
        where = f"cell {place} of the student's notebook"
        if cell.get("outputs") or cell.get("execution_count"):
            faults.append(f"{where} has output")
        if cell.get("attachments"):
            faults.append(f"{where} has an attachment")
        for name in set(cell.metadata) - CELL_METADATA:
            faults.append(f"{where} has metadata {name!r}")
        if ANSWER_CELL_TAG not in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "code":
            try:
                tree = ast.parse(cell.source)
            except SyntaxError:
                faults.append(f"{where} is no Python")
                continue
            faults += [
                f"{where}, line {node.lineno}: more than scaffolding"
                for node in tree.body
                if not _is_scaffold(node)
            ]
        elif cell.source.strip() != "_Type your answer here, replacing this text._":
            faults.append(f"{where}: a text to be filled in is not empty")
    _refuse(faults)


def significant(text: str) -> int:
    """Count the significant digits of a number as it is written."""
    digits = re.sub(r"[eE].*", "", text).lstrip("-").replace(".", "").lstrip("0")
    return len(digits) if "." in text else len(digits.rstrip("0"))


def _numbers_in(value: Any) -> Iterator[float]:
    """Yield every number of a JSON value."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _numbers_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers_in(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def check_tests(tests: dict[str, str], *, given: dict[str, Any]) -> None:
    """Refuse public checks that are hidden ones, or hold a number that could be an answer.

    Parameters
    ----------
    tests : dict
        Name and source of each file.
    given : dict
        Numbers of the class, which may occur.

    Raises
    ------
    GuardError
        With one line for each fault. A number with four significant digits or more, which is not
        one of the class, counts as an answer: a public check asks for properties, not for values.
    """
    known = set(_numbers_in(given))
    faults = []
    for name, source in tests.items():
        if "hidden=True" in source:
            faults.append(f"{name}: a hidden test")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Constant) or isinstance(node.value, bool):
                continue
            if isinstance(node.value, int | float):
                written = ast.get_source_segment(source, node) or ""
                if significant(written) >= 4 and abs(float(node.value)) not in known:
                    faults.append(f"{name}, line {node.lineno}: {written} could be an answer")
    _refuse(faults)


# --- What is made from it ------------------------------------------------------------------


@dataclass(frozen=True)
class Secrets:
    """What must not be found in anything that students get.

    Parameters
    ----------
    lines : frozenset of str
        Lines of code and parts of sentences of solutions and hidden tests, without blanks.
    values : frozenset of str
        Numbers that the solution puts out, as written, with four significant digits or more.
    words : frozenset of str
        Words that only the solution has, as the search index writes them.
    """

    lines: frozenset[str] = field(default_factory=frozenset)
    values: frozenset[str] = field(default_factory=frozenset)
    words: frozenset[str] = field(default_factory=frozenset)


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _words(text: str, least: int) -> set[str]:
    """Take the words of a text as Sphinx's search does: in lower case, without their endings."""
    words = re.findall(rf"[A-Za-z_]{{{least},}}", text)
    return set(STEMMER.stemWords(word.lower() for word in words))


def secrets(master: NotebookNode, *, outputs: list[str], given: dict[str, Any]) -> Secrets:
    """Gather what a master and its executed solution must keep to themselves.

    Parameters
    ----------
    master : NotebookNode
        Split at its markers.
    outputs : list of str
        What the cells of the solution put out.
    given : dict
        Numbers of the class, which are no secret.

    Returns
    -------
    Secrets
        What students' code has anyway is no secret of a solution's code, nor are words of the text
        one of its words.
    """
    code: list[str] = []  # of solutions and hidden tests
    prose: list[str] = []  # of solutions
    open_code: list[str] = []
    open_prose: list[str] = []
    for cell, inside, _, _ in _blocks(master.cells):
        lines = cell.source.splitlines()
        solution = inside[-1:] == ["SOLUTION"]
        if cell.source.startswith("```otter"):
            continue
        if cell.cell_type != "code":
            (prose if solution else open_prose).append(cell.source)
        elif solution:
            shown = replace_solutions(list(lines), "python")
            code += [line for line in lines if line not in shown]
            open_code += shown
        elif inside[-1:] == ["TESTS"] and lines[:1] == ["# HIDDEN"]:
            code += lines[1:]
        else:
            open_code += lines
    # A line of code is public if other code that students see has it; words, if the text has them.
    parts = [(re.sub(r"# .*$", "", line), open_code, DISTINCT_CODE) for line in code]
    sentences = [part for text in prose for part in PARTS.split(text)]
    parts += [(part, open_prose, DISTINCT_WORDS) for part in sentences]
    distinct = {
        _squeeze(part)
        for part, public, least in parts
        if len(re.sub(r"\W", "", part)) >= least
        and _squeeze(part) not in _squeeze("\n".join(public))
    }
    known = {f"{value:.12g}" for value in _numbers_in(given)}
    values = {
        number.lstrip("-")
        for text in outputs
        for number in NUMBER.findall(text)
        if significant(number) >= 4 and f"{abs(float(number)):.12g}" not in known
    }
    # Short words of the text count as well: without its ending, a longer one may be one of them.
    only = _words("\n".join(code + prose), 4) - _words("\n".join(open_code + open_prose), 2)
    return Secrets(frozenset(distinct), frozenset(values), frozenset(only))


def check_text(name: str, text: str, hidden: Secrets) -> None:
    """Refuse a text in which a secret is found.

    Parameters
    ----------
    name : str
        What to call it in the error.
    text : str
        JSON, HTML or plain.
    hidden : Secrets
        What to look for.

    Raises
    ------
    GuardError
        With one line for each find. It names the place, and the secret, for the author to find it.
    """
    seen = text
    if name.endswith((".ipynb", ".json")):
        seen = "\n".join(_strings(json.loads(text)))
    elif name.endswith(".html"):
        seen = html.unescape(re.sub(r"<[^>]*>", "", text)) + html.unescape(text)
    squeezed = _squeeze(seen)
    faults = [f"{name}: {line}" for line in sorted(hidden.lines) if line in squeezed]
    found = {number.lstrip("-") for number in NUMBER.findall(seen)}
    faults += [f"{name}: the value {value}" for value in sorted(hidden.values & found)]
    _refuse(faults)


def _strings(value: Any) -> Iterator[str]:
    """Yield every text of a JSON value, names too."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    else:
        yield str(value)


def check_folder(folder: Path, hidden: Secrets) -> None:
    """Refuse a folder with a file, perhaps packed in an archive, in which a secret is found.

    Parameters
    ----------
    folder : Path
        What students get.
    hidden : Secrets
        What to look for.

    Raises
    ------
    GuardError
        From the first file with a find.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _check_bytes(path.name, path.read_bytes(), hidden)


def _check_bytes(name: str, content: bytes, hidden: Secrets) -> None:
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for inner in archive.namelist():
                _check_bytes(inner, archive.read(inner), hidden)
        return
    check_text(name, content.decode("utf-8", errors="replace"), hidden)


def check_site(site: Path, pages: dict[str, Secrets]) -> None:
    """Refuse a site in which a solution is found: in pages, their sources, downloads or search.

    Parameters
    ----------
    site : Path
        The built site.
    pages : dict
        By name of the page, what must not be found.

    Raises
    ------
    GuardError
        From the first find.
    """
    texts = {".html", ".ipynb", ".md", ".py", ".txt", ".zip"}
    for path in sorted(site.rglob("*")):
        if not path.is_file() or path.suffix not in texts:
            continue
        # The page of a set, its sources and its archive; one set may show what another one asks.
        name = path.name.split(".")[0]
        if "_downloads" in path.parts:
            own = pages.get(f"set-{name}")
            looked_for = [own] if own else list(pages.values())
        else:
            looked_for = [pages[name]] if name in pages else []
        for hidden in looked_for:
            _check_bytes(path.name, path.read_bytes(), hidden)
    for path in site.rglob("master*"):
        raise GuardError(f"{path.relative_to(site)}: a master in the site")
    check_search(site / "searchindex.js", pages)


def check_search(index: Path, pages: dict[str, Secrets]) -> None:
    """Refuse a search index that finds a page by a word that only its solution has.

    Parameters
    ----------
    index : Path
        Sphinx's `searchindex.js`.
    pages : dict
        By name of the page, what must not be found.

    Raises
    ------
    GuardError
        With one line for each find.
    """
    text = index.read_text(encoding="utf-8")
    found = json.loads(text.removeprefix("Search.setIndex(").rstrip().removesuffix(")"))
    faults = []
    for term, where in (found["terms"] | found["titleterms"]).items():
        documents = [where] if isinstance(where, int) else where
        for document in documents:
            page = pages.get(found["docnames"][document])
            if page and term in page.words:
                faults.append(f"search: {found['docnames'][document]} is found by {term!r}")
    _refuse(faults)
