"""From the master of a problem set to what students, instructors and the grader get.

The master is one MyST file, `assignments/NAME/master.md`, with solutions and public checks in the
format of otter-grader, and places ``{{ like_this }}`` for the numbers of the class. Beside it stand
`questions.py`, which asks and scores, `answers.py`, honest submissions of five kinds with the
scores that they must get, and `rubric.md`, by which people mark.

``python -m grading.making`` makes all sets, for the class whose key is in ``CLASS_KEY``. The same
key gives the same bytes.
"""

import argparse
import importlib.util
import io
import json
import pprint
import re
import shutil
import sys
import tempfile
import textwrap
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import jupytext
import nbformat
import yaml
from nbclient import NotebookClient
from nbformat import NotebookNode
from otter.assign import Assignment
from otter.assign.notebook_transformer import NotebookTransformer
from otter.assign.solutions import ANSWER_CELL_TAG, SOLUTION_CELL_TAG
from otter.assign.tests_manager import AssignmentTestsManager

from grading import guard, key
from grading.questions import ALWAYS, Numbers, Question

__all__ = [
    "Archetype",
    "ProblemSet",
    "SetError",
    "archetype",
    "bundle",
    "load",
    "make",
    "names",
    "numbers",
    "page",
    "write_pages",
]

ROOT = Path(__file__).resolve().parents[2]
#: What came of scoring the full solutions at many keys.
CHECKED = ROOT / "data" / "benchmarks" / "class_keys.json"
KINDS = ("full", "blank", "half", "wrong_idea", "unusual")
ORDER = ("pooling", "hyperpriors", "diagnostics", "reparameterization", "expectations", "project")
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
#: What a question must allow.
ASKED = ("funnel.models", "funnel.exact")
#: Our own corner of a notebook's metadata.
CORNER = "hierarchical_models"
#: The one setting of otter with which the student's version works as a notebook and as a page.
OTTER = {
    "init_cell": False,
    "export_cell": False,
    "tests": {"ok_format": False, "files": True},
}
TITLE = re.compile(r"^# ((?:Problem set|Project): .+)$", re.M)
#: What otter puts around answers that go into a PDF, which we do not make.
EXPORT = re.compile(r"<!-- (BEGIN|END) QUESTION -->\s*")
BLOCK = re.compile(r"^# (BEGIN|END) (QUESTION|SOLUTION|PROMPT|TESTS)\b", re.M)


class SetError(ValueError):
    """A problem set is not as it must be."""


@dataclass(frozen=True)
class Archetype:
    """An honest submission of one kind, and what it must score.

    Parameters
    ----------
    scores : dict
        Points for each question that is not marked by a person; what is not named gets none.
    answers : dict
        For each question the source of its answer, with places for the numbers of the class; None
        stands for the solution. What is not named stays blank.
    """

    scores: dict[str, float]
    answers: dict[str, str | None]


@dataclass(frozen=True)
class ProblemSet:
    """A problem set, as its folder has it.

    Parameters
    ----------
    name : str
        Name of the folder.
    folder : Path
        Where it is.
    master : str
        The master, with places for the numbers of the class.
    title : str
        Its title.
    questions : tuple of Question
        What is asked.
    draw : callable
        Makes the numbers of a class from a random generator.
    archetypes : dict
        By kind, an :class:`Archetype`.
    """

    name: str
    folder: Path
    master: str
    title: str
    questions: tuple[Question, ...]
    draw: Callable[..., Numbers]
    archetypes: dict[str, Archetype]


@dataclass(frozen=True)
class Views:
    """What becomes of a master.

    Parameters
    ----------
    master : NotebookNode
        The master with the numbers of the class, as the guard looks at it.
    student, solution : NotebookNode
        The notebooks.
    tests : dict
        Name and source of the files of public checks.
    """

    master: NotebookNode
    student: NotebookNode
    solution: NotebookNode
    tests: dict[str, str]


# --- Reading a set -------------------------------------------------------------------------


def names(root: Path = ROOT) -> list[str]:
    """List the sets in the order in which they are worked through."""
    found = {path.parent.name for path in (root / "assignments").glob("*/master.md")}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def _module(path: Path) -> ModuleType:
    """Import a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(
        f"assignment_{path.parent.name}_{path.stem}", path
    )
    if spec is None or spec.loader is None:
        raise SetError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def load(name: str, root: Path = ROOT) -> ProblemSet:
    """Read a set from its folder.

    Parameters
    ----------
    name : str
        Name of the folder in `assignments`.
    root : Path
        The repository.

    Returns
    -------
    ProblemSet
        The set.

    Raises
    ------
    SetError
        If there is no such set, or a part of it is missing or fits no other.
    """
    folder = root / "assignments" / name
    if not re.fullmatch(r"[a-z_]+", name) or not (folder / "master.md").exists():
        raise SetError(f"there is no set {name!r}; there are: {', '.join(names(root))}")
    master = (folder / "master.md").read_text(encoding="utf-8")
    title = TITLE.search(master)
    if title is None:
        raise SetError(f"{name}: the master has no title '# Problem set: ...' or '# Project: ...'")
    module, answers = _module(folder / "questions.py"), _module(folder / "answers.py")
    questions = tuple(module.QUESTIONS)
    asked = [question.name for question in questions]
    if asked != [f"q{place}" for place in range(1, len(asked) + 1)]:
        raise SetError(f"{name}: questions must be q1, q2 and so on, got {', '.join(asked)}")
    archetypes: dict[str, Archetype] = answers.ARCHETYPES
    if set(archetypes) != set(KINDS):
        raise SetError(f"{name}: answers.py must have the archetypes {', '.join(KINDS)}")
    for kind, submission in archetypes.items():
        if unknown := (set(submission.scores) | set(submission.answers)) - set(asked):
            raise SetError(f"{name}: archetype {kind} answers {', '.join(sorted(unknown))}")
    return ProblemSet(name, folder, master, title[1], questions, module.numbers, archetypes)


def numbers(problems: ProblemSet, class_key: bytes) -> Numbers:
    """Draw the numbers of a class.

    Parameters
    ----------
    problems : ProblemSet
        The set.
    class_key : bytes
        The class key.

    Returns
    -------
    dict
        Names and JSON values.

    Raises
    ------
    SetError
        If a value is not what JSON gives back unchanged.
    """
    drawn = problems.draw(key.rng(class_key, problems.name))
    if json.loads(json.dumps(drawn, allow_nan=False)) != drawn:
        raise SetError(f"{problems.name}: a number of the class is no JSON value")
    return drawn


# --- Filling in ----------------------------------------------------------------------------


def _literal(value: Any) -> str:
    """Write a value as Python source, in lines that fit a screen."""
    return pprint.pformat(value, width=76, compact=True, sort_dicts=False)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # what is filled in is our own, and no HTML
        comment_start_string="{##",
        comment_end_string="##}",
    )
    environment.filters["literal"] = _literal
    return environment


def _site(root: Path) -> str:
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["html"]["baseurl"]


def about(question: Question) -> str:
    """Say in a line how hard a question is, what it is worth, and what its answer may use."""
    points = f"{question.points:g} point{'s' * (question.points != 1)}"
    if question.manual:
        return f"*{question.level.capitalize()}, {points}, marked by a person.*"
    allowed = ", ".join(f"`{module}`" for module in (*ALWAYS, *question.may_use))
    refused = " or ".join(f"`{module}`" for module in ASKED if module not in question.may_use)
    without = f", not {refused}" if refused else ""
    return f"*{question.level.capitalize()}, {points}. May use {allowed}{without}.*"


def fill(text: str, problems: ProblemSet, class_key: bytes, **more: Any) -> str:
    """Put the numbers of the class into a text of the set.

    Parameters
    ----------
    text : str
        With places such as ``{{ mu_a }}``. Besides the numbers there are ``site``, the address
        of the site, ``section.q1`` and so on, where to read on, ``points.q1``, and ``about.q1``,
        a line about the question; the filter ``literal`` writes a list or a dictionary as Python.
    problems : ProblemSet
        The set.
    class_key : bytes
        The class key.
    **more
        More names to fill in.

    Returns
    -------
    str
        The text.

    Raises
    ------
    SetError
        If there is a place for what nobody knows.
    """
    site = _site(problems.folder.parents[1])
    names_of = {
        "site": site,
        "section": {q.name: site + q.section for q in problems.questions},
        "points": {q.name: f"{q.points:g}" for q in problems.questions},
        "about": {q.name: about(q) for q in problems.questions},
    }
    try:
        template = _environment().from_string(text)
        return template.render(names_of | numbers(problems, class_key) | more)
    except jinja2.TemplateError as error:
        raise SetError(f"{problems.name}: {error}") from error


# --- The two notebooks ---------------------------------------------------------------------


def _split(text: str) -> Iterator[str]:
    """Split a text at its blocks of markers, and these so that each has one marker."""
    for piece in re.split(r"^(```otter\n.*?^```)$", text, flags=re.M | re.S):
        if piece.startswith("```otter"):
            inner = "\n".join(piece.splitlines()[1:-1])
            for marker in re.split(r"^(?=# )", inner, flags=re.M):
                if marker.strip():
                    yield f"```otter\n{marker.strip()}\n```"
        elif piece.strip():
            yield piece.strip("\n")


def _mark_questions(notebook: NotebookNode) -> NotebookNode:
    """Split the master at its markers, and note in each cell which question it belongs to."""
    cells, question = [], None
    for cell in notebook.cells:
        parts = [cell]
        if cell.cell_type == "markdown" and "```otter" in cell.source:
            parts = [nbformat.v4.new_markdown_cell(piece) for piece in _split(cell.source)]
        for part in parts:
            if part.source.startswith("```otter") and (begun := BLOCK.search(part.source)):
                config = yaml.safe_load("\n".join(part.source.splitlines()[1:-1])) or {}
                if begun.group() == "# BEGIN QUESTION":
                    question = config.get("name")
                elif begun.group() == "# END QUESTION":
                    question = None
            elif question:
                part.metadata[CORNER] = {"question": question}
            cells.append(part)
    notebook.cells = cells
    return notebook


def _clean(notebook: NotebookNode, problems: ProblemSet, class_key: bytes) -> NotebookNode:
    """Give a notebook metadata and identifiers that depend on nothing but set and class."""
    _, notebook = nbformat.validator.normalize(notebook)
    for cell in notebook.cells:
        cell.source = EXPORT.sub("", cell.source)
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    notebook.metadata = NotebookNode(
        kernelspec=NotebookNode(KERNEL),
        language_info=NotebookNode(name="python"),
    )
    notebook.metadata[CORNER] = NotebookNode(
        set=problems.name,
        key_check=key.tag(class_key, problems.name),
        demonstration=class_key == key.DEMONSTRATION,
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for place, cell in enumerate(notebook.cells):
        cell.id = f"{problems.name}-{place}"
        # Tags of otter's own trade, which mean nothing to a reader.
        tags = cell.metadata.pop("tags", [])
        answer = ANSWER_CELL_TAG in tags or SOLUTION_CELL_TAG in tags
        if ANSWER_CELL_TAG in tags:
            cell.metadata.tags = [ANSWER_CELL_TAG]
        if cell.source.lstrip().startswith("grader."):
            cell.metadata.setdefault(CORNER, NotebookNode())["role"] = "check"
        elif answer:
            cell.metadata.setdefault(CORNER, NotebookNode())["role"] = "answer"
    return notebook


def _name_questions(notebook: NotebookNode) -> None:
    """Tell check cells, which otter adds, which question they belong to."""
    for cell in notebook.cells:
        if found := re.match(r"""grader\.check\(["'](\w+)["']\)""", cell.source):
            cell.metadata[CORNER] = NotebookNode(question=found[1])


def _fill_blanks(notebook: NotebookNode) -> None:
    """Give otter's empty place for a text the question that it stands in."""
    question = None
    for cell in notebook.cells:
        question = cell.metadata.get(CORNER, {}).get("question", question)
        if ANSWER_CELL_TAG in cell.metadata.get("tags", []) and question:
            cell.metadata[CORNER] = NotebookNode(question=question)


def views(problems: ProblemSet, class_key: bytes) -> Views:
    """Make the notebooks of a class from the master.

    Parameters
    ----------
    problems : ProblemSet
        The set.
    class_key : bytes
        The class key.

    Returns
    -------
    Views
        Student's and instructor's.

    Raises
    ------
    SetError
        If the master is not in otter's format, or its questions are not those of `questions.py`.
    guard.GuardError
        If it would hand a solution to students.
    """
    demonstration = class_key == key.DEMONSTRATION
    text = fill(problems.master, problems, class_key, demonstration=demonstration)
    master = _mark_questions(jupytext.reads(text, fmt="md:myst"))
    guard.check_master(master)
    assignment = Assignment(OTTER | {"name": problems.name})
    assignment.lang, assignment.master = "python", Path(f"{problems.name}.ipynb")
    tests_manager = AssignmentTestsManager(assignment)
    transformer = NotebookTransformer(assignment, tests_manager)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=nbformat.warnings.MissingIDFieldWarning)
            both = transformer.transform_notebook(master)
            _name_questions(both.transformed_nb)
            _fill_blanks(both.transformed_nb)
            student = both._get_sanitized_nb()
            _fill_blanks(student)
        with tempfile.TemporaryDirectory() as folder:
            both.write_tests(folder, include_hidden=False, force_files=True)
            tests = {
                path.name: path.read_text(encoding="utf-8").rstrip() + "\n"
                for path in sorted(Path(folder).iterdir())
            }
    except Exception as error:  # otter raises whatever comes
        raise SetError(f"{problems.name}: otter cannot read the master: {error}") from error
    asked = [q.name for q in problems.questions]
    if list(tests_manager._questions) != asked:
        found = ", ".join(tests_manager._questions)
        raise SetError(f"{problems.name}: master asks {found}; questions.py {', '.join(asked)}")
    for question in problems.questions:
        if question.manual != bool(tests_manager._questions[question.name].manual):
            raise SetError(f"{problems.name}: {question.name} is manual in one place only")
    return Views(
        master,
        _clean(student, problems, class_key),
        _clean(both.transformed_nb, problems, class_key),
        tests,
    )


def write_notebook(notebook: NotebookNode) -> str:
    """Write a notebook as JSON, always in the same order."""
    nbformat.validate(notebook)
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


# --- Trying the solution -------------------------------------------------------------------

_REPORT = "results of public checks: "


def try_solution(made: Views, *, timeout: int = 300) -> list[str]:
    """Execute the solution with its public checks in a kernel, and take what it puts out.

    Parameters
    ----------
    made : Views
        The set.
    timeout : int
        Seconds that one cell may take.

    Returns
    -------
    list of str
        Texts that the cells put out: values that no student is to be told.

    Raises
    ------
    SetError
        If a cell fails or a public check does not pass.
    """
    notebook = nbformat.from_dict(json.loads(write_notebook(made.solution)))
    report = nbformat.v4.new_code_cell(
        "import json\n"
        "_failed = [name for name, test in grader.check_all().results.items()"
        " if not test.passed_all]\n"
        f"print({_REPORT!r} + json.dumps(_failed))"
    )
    notebook.cells.append(report)
    name = made.solution.metadata[CORNER]["set"]
    with tempfile.TemporaryDirectory() as folder:
        _write_tests(Path(folder), made.tests)
        client = NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
        try:
            client.execute()
        except Exception as error:
            raise SetError(f"{name}: the solution fails: {error}") from error
    texts = []
    for cell in notebook.cells[:-1]:
        if cell.cell_type == "code" and cell.metadata.get(CORNER, {}).get("role") == "answer":
            for output in cell.outputs:
                data = output.get("data", {})
                texts.append(output.get("text", "") + data.get("text/plain", ""))
    (last,) = (o.text for o in notebook.cells[-1].outputs if _REPORT in o.get("text", ""))
    failed = json.loads(last.split(_REPORT)[1])
    if failed:
        raise SetError(f"{name}: the solution fails its public checks of {', '.join(failed)}")
    return texts


# --- Writing -------------------------------------------------------------------------------


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_tests(folder: Path, tests: dict[str, str]) -> None:
    for name, source in tests.items():
        _write(folder / "tests" / name, source)


def packed(name: str, made: Views) -> bytes:
    """Pack what is handed out: the notebook and its public checks, in a folder of their own."""
    files = {f"{name}/{name}.ipynb": write_notebook(made.student)}
    files |= {f"{name}/tests/{test}": source for test, source in made.tests.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            info = zipfile.ZipInfo(path, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, text)
    return buffer.getvalue()


def bundle(problems: ProblemSet, class_key: bytes) -> dict[str, Any]:
    """Gather what grading needs to know of a class: its numbers, and how to tell its notebooks.

    Parameters
    ----------
    problems : ProblemSet
        The set.
    class_key : bytes
        The class key. It does not go into the bundle.

    Returns
    -------
    dict
        JSON values.
    """
    return {
        "set": problems.name,
        "title": problems.title,
        "key_check": key.tag(class_key, problems.name),
        "demonstration": class_key == key.DEMONSTRATION,
        "numbers": numbers(problems, class_key),
        "questions": [
            {
                "name": q.name,
                "title": q.title,
                "points": q.points,
                "level": q.level,
                "section": q.section,
                "may_use": list(q.may_use),
                "manual": q.manual,
            }
            for q in problems.questions
        ],
    }


RUBRIC = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { border: 1px solid gray; padding: 0.4rem 0.6rem; text-align: left; vertical-align: top; }
blockquote { margin-left: 0; padding-left: 1rem; border-left: 3px solid gray; }
</style>
</head>
<body>
<main>
{{ body }}</main>
</body>
</html>
"""


def rubric(problems: ProblemSet, class_key: bytes) -> str:
    """Make the page by which people mark."""
    text = fill(
        (problems.folder / "rubric.md").read_text(encoding="utf-8"),
        problems,
        class_key,
        demonstration=class_key == key.DEMONSTRATION,
    )
    if class_key == key.DEMONSTRATION:
        text += "\nMade with the public demonstration key, for no class.\n"
    # Not at the top: Binder makes the problem sets too, and has no KaTeX.
    from grading.maths import markdown

    body = markdown().render(text)
    title = f"Rubric: {problems.title}"
    return _environment().from_string(RUBRIC).render(title=title, body=body)


def make(problems: ProblemSet, class_key: bytes, out: Path, *, execute: bool = True) -> Views:
    """Make what students get of one set, its solution and its probes.

    Parameters
    ----------
    problems : ProblemSet
        The set.
    class_key : bytes
        The class key.
    out : Path
        Folder of all sets; the one of this set in it is made anew.
    execute : bool
        Whether to execute the solution, which takes seconds to a minute.

    Returns
    -------
    Views
        The notebooks.

    Raises
    ------
    SetError
        If the set is not as it must be, or its solution does not pass its public checks.
    guard.GuardError
        If what students get would hold a solution, a hidden test or an expected value.
    """
    made = views(problems, class_key)
    shown = try_solution(made) if execute else []
    given = numbers(problems, class_key)
    hidden = guard.secrets(made.master, outputs=shown, given=given)
    folder = out / problems.name
    shutil.rmtree(folder, ignore_errors=True)
    _write(folder / "student" / f"{problems.name}.ipynb", write_notebook(made.student))
    _write_tests(folder / "student", made.tests)
    guard.check_notebook(made.student)
    guard.check_tests(made.tests, given=given)
    guard.check_folder(folder / "student", hidden)
    (folder / f"{problems.name}.zip").write_bytes(packed(problems.name, made))
    _write(folder / "solution" / f"{problems.name}.ipynb", write_notebook(made.solution))
    _write_tests(folder / "solution", made.tests)
    text = json.dumps(bundle(problems, class_key), indent=1, sort_keys=True, ensure_ascii=False)
    _write(folder / "probes" / "bundle.json", text + "\n")
    return made


# --- Pages of the site ---------------------------------------------------------------------

FRONT = """---
file_format: mystnb
kernelspec:
  name: python3
  display_name: Python 3
language_info:
  name: python
  pygments_lexer: ipython3
mystnb:
  execution_mode: "off"
myst:
  html_meta:
    description: {description}
---

(set-{name})=
"""
HAND_OUT = """
:::{{admonition}} Work on it
:class: tip
*Live code*, above, makes the cells of this page editable, and the checks answer; what you write
there goes when you leave. To keep it and hand it in,
{{download}}`download the notebook and its checks <sets/{name}.zip>`, unpack them, and open
`{name}.ipynb` with the course's environment. This page was made with the public demonstration key:
a class gets other numbers, and data of its own.
:::
"""


def page(problems: ProblemSet, made: Views) -> str:
    """Write the student's notebook as a page of the site, which is not executed.

    Parameters
    ----------
    problems : ProblemSet
        The set.
    made : Views
        Its notebooks.

    Returns
    -------
    str
        MyST Markdown.
    """
    description = f"Problem set of the course, with checks that answer at once. {problems.title}."
    parts = [FRONT.format(name=problems.name, description=json.dumps(description))]
    for place, cell in enumerate(made.student.cells):
        if cell.cell_type == "code":
            source = cell.source.replace(
                "otter.Notebook()", f'otter.Notebook(tests_dir="sets/{problems.name}/tests")'
            )
            parts.append(f"```{{code-cell}} python\n{source}\n```\n\n")
        elif place == 0:
            title, _, rest = cell.source.partition("\n")
            parts.append(f"{title}\n{HAND_OUT.format(name=problems.name)}{rest}\n\n")
        else:
            parts.append(f"{cell.source}\n\n")
    return "".join(parts).rstrip() + "\n"


def page_name(name: str) -> str:
    """Give the page of a set its name."""
    return f"set-{name}"


def write_pages(root: Path = ROOT) -> dict[str, guard.Secrets]:
    """Write the pages of all sets into the book's sources, with the public demonstration key.

    Parameters
    ----------
    root : Path
        The repository.

    Returns
    -------
    dict
        By page, what must not be found on it.
    """
    book = root / "book"
    wanted = {page_name(name) for name in names(root)}
    for stale in book.glob("set-*.md"):
        if stale.stem not in wanted:
            stale.unlink()
    for stale in (book / "sets").glob("*"):
        if page_name(stale.stem) not in wanted:
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    hidden = {}
    for name in names(root):
        problems = load(name, root)
        made = make(problems, key.DEMONSTRATION, root / "_build" / "demonstration", execute=False)
        given = numbers(problems, key.DEMONSTRATION)
        hidden[page_name(name)] = guard.secrets(made.master, outputs=[], given=given)
        text = page(problems, made)
        guard.check_text(f"{page_name(name)}.md", text, hidden[page_name(name)])
        _write(book / f"{page_name(name)}.md", text)
        _write_tests(book / "sets" / name, made.tests)
        (book / "sets" / f"{name}.zip").write_bytes(packed(name, made))
    return hidden


# --- Honest submissions --------------------------------------------------------------------


def archetype(problems: ProblemSet, kind: str, class_key: bytes) -> NotebookNode:
    """Make the notebook that an honest student of one kind hands in.

    Parameters
    ----------
    problems : ProblemSet
        The set.
    kind : str
        One of ``full``, ``blank``, ``half``, ``wrong_idea`` and ``unusual``.
    class_key : bytes
        The class key.

    Returns
    -------
    NotebookNode
        The student's notebook with the answers of this kind in it, not executed.

    Raises
    ------
    SetError
        If an answer has no place in the notebook.
    """
    made = views(problems, class_key)
    solutions: dict[str, str] = {}
    for cell in _answers(made.solution):
        question = cell.metadata[CORNER]["question"]
        solutions[question] = f"{solutions.get(question, '')}\n\n{cell.source}".strip()
    student, left = made.student, dict(problems.archetypes[kind].answers)
    answered: set[str] = set()
    for cell in _answers(student):
        question = cell.metadata[CORNER]["question"]
        if question in left:
            answer = left.pop(question)
            cell.source = (
                solutions[question]
                if answer is None
                else fill(textwrap.dedent(answer).strip(), problems, class_key)
            )
            answered.add(question)
        elif question in answered:
            cell.source = ""  # all of the answer stands in the first cell
    if left:
        raise SetError(f"{problems.name}: no place for {kind}'s answer to {', '.join(left)}")
    return student


def _answers(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """Yield the code cells that a student fills in."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.get(CORNER, {}).get("role") == "answer":
            yield cell


# --- The command ---------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the sets from the command line."""
    parser = argparse.ArgumentParser(prog="python -m grading.making", description=main.__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help="which sets; all, if none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "assignments")
    parser.add_argument(
        "--check-keys",
        type=int,
        metavar="N",
        help=f"instead: score the full solution at N random class keys, and note it in {CHECKED}",
    )
    options = parser.parse_args(arguments)
    try:
        sets = [load(name) for name in options.sets or names()]
        if options.check_keys:
            from grading import rehearsal

            return rehearsal.check_keys(sets, options.check_keys, CHECKED)
        class_key = key.from_environment()
        if class_key == key.DEMONSTRATION:
            print("No CLASS_KEY: made with the public demonstration key, for no class.")
        for problems in sets:
            make(problems, class_key, options.out)
            marked_by = rubric(problems, class_key)
            _write(options.out / problems.name / "rubric.html", marked_by)
            print(f"{problems.name}: {options.out / problems.name}", flush=True)
    except (SetError, key.ClassKeyError, guard.GuardError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
