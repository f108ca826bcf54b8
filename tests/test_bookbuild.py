"""The build is honest: it runs again what has changed, and stops at whatever is wrong."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sphinxcontrib.katex
import yaml
from bs4 import BeautifulSoup

from bookbuild import execute
from bookbuild.extension import mend
from bookbuild.key import cache_key

ROOT = Path(__file__).parents[1]

FRONT_MATTER = """---
file_format: mystnb
kernelspec:
  name: python3
  display_name: Python 3
---
"""

# A cell that leaves a trace each time it runs, and one whose numbers come from a sampler.
MODEL_CHAPTER = f"""{FRONT_MATTER}
# A chapter

```{{code-cell}} python
import os
from funnel import data, fitting, models
with open(os.environ["TRACE"], "a") as trace:
    trace.write("model\\n")
draws = fitting.fit(models.eight_schools(data.load_eight_schools(), effects="noncentered"), seed=1)
print(draws.posterior.dataset["theta"].values[:, -1])
```
"""
DATA_CHAPTER = f"""{FRONT_MATTER}
# Another chapter

```{{code-cell}} python
import os
from funnel import data
with open(os.environ["TRACE"], "a") as trace:
    trace.write("data\\n")
len(data.load_radon())
```
"""
TOC = """format: jb-book
root: index
parts:
  - caption: Course
    numbered: true
    chapters: [{file: model}, {file: numbers}]
"""


class Course:
    """A small course in a folder of its own, with the real code, data and configuration."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trace = root / "trace"
        self.trace.touch()

    def build(self) -> subprocess.CompletedProcess[str]:
        """Run the build, as `make book` does."""
        return subprocess.run(
            [sys.executable, "-m", "bookbuild"],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.root / "code"), "TRACE": str(self.trace)},
            capture_output=True,
            text=True,
            check=False,
        )

    def executed(self) -> list[str]:
        """Name the chapters that ran since the last time this was asked."""
        ran = sorted(self.trace.read_text().split())
        self.trace.write_text("")
        return ran

    @property
    def site(self) -> Path:
        return self.root / "_build" / "html"


def make_course(root: Path) -> Course:
    root.mkdir()
    for folder in ("code", "data", "book/assets", "book/_templates"):
        shutil.copytree(
            ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("requirements.txt", "_config.yml", "book/references.bib"):
        shutil.copy(ROOT / name, root / name)
    (root / "_toc.yml").write_text(TOC)
    (root / "book" / "index.md").write_text("# A course\n\n```{bibliography}\n```\n")
    (root / "book" / "model.md").write_text(MODEL_CHAPTER)
    (root / "book" / "numbers.md").write_text(DATA_CHAPTER)
    return Course(root)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Course:
    """A course built once, in a folder with a space in its name."""
    course = make_course(tmp_path_factory.mktemp("books") / "a course")
    course.first = course.build()
    assert course.first.returncode == 0, course.first.stdout + course.first.stderr
    assert course.executed() == ["data", "model"]
    return course


@pytest.fixture
def course(built, tmp_path) -> Course:
    """A copy of that course to change and to break; its cache is as warm."""
    copy = tmp_path / "a copy"
    shutil.copytree(built.root, copy)
    return Course(copy)


def page_text(path: Path) -> str:
    return BeautifulSoup(path.read_text(), "html.parser").find("article").get_text()


@pytest.mark.slow
def test_progress_is_told_and_the_site_is_where_it_says(built):
    for line in ("2 to execute, 0 unchanged", "model: executing 1 cells", "numbers: done in"):
        assert line in built.first.stdout
    assert f"The site is in {built.site}; read it: make serve" in built.first.stdout
    assert built.first.stderr == ""
    assert (built.site / "index.html").exists()


@pytest.mark.slow
def test_nothing_changed_executes_nothing(course):
    result = course.build()
    assert result.returncode == 0, result.stderr
    assert "0 to execute, 2 unchanged" in result.stdout
    assert course.executed() == []
    assert "919" in page_text(course.site / "numbers.html")


@pytest.mark.slow
def test_a_changed_chapter_alone_runs_again(course):
    chapter = course.root / "book" / "numbers.md"
    chapter.write_text(DATA_CHAPTER.replace("load_radon()", "load_radon()) + len('x'"))
    result = course.build()
    assert result.returncode == 0, result.stderr
    assert course.executed() == ["data"]
    assert "920" in page_text(course.site / "numbers.html")


@pytest.mark.slow
def test_a_change_in_the_models_runs_every_chapter_again(course):
    with (course.root / "code" / "funnel" / "models.py").open("a") as module:
        module.write("\nraise RuntimeError('planted in the models')\n")
    result = course.build()
    assert result.returncode == 1
    assert "planted in the models" in result.stdout
    # The chapter on data does not import the models, and runs again all the same.
    assert course.executed() == ["data"]
    assert "numbers: done in" in result.stdout


@pytest.mark.slow
def test_a_raising_cell_and_a_dying_kernel_fail_the_build_every_time(course):
    for name, cell in (("numbers", "1 / (2 - 2)"), ("model", "import os; os._exit(1)")):
        (course.root / "book" / f"{name}.md").write_text(
            f"{FRONT_MATTER}\n# Fails\n\n```{{code-cell}} python\n{cell}\n```\n"
        )
    for _ in range(2):
        result = course.build()
        assert result.returncode == 1
        for text in ("numbers: FAILED", "1 / (2 - 2)", "ZeroDivisionError"):
            assert text in result.stdout
        for text in ("model: FAILED", "DeadKernelError"):
            assert text in result.stdout
        assert "a cell failed in" in result.stderr
        assert not course.site.exists()


@pytest.mark.slow
def test_data_that_were_tampered_with_fail_the_build(course):
    (course.root / "book" / "model.md").write_text("# No cells\n")
    table = course.root / "data" / "radon" / "radon.csv"
    table.write_text(table.read_text().replace("2", "3", 1))
    result = course.build()
    assert result.returncode == 1
    assert "radon.csv" in result.stdout
    assert not course.site.exists()


FAULTS = {
    "See {ref}`nowhere`.": "nowhere",
    "See {cite:t}`nobody1900`.": "nobody1900",
    "See {py:func}`funnel.data.load_nothing`.": "load_nothing",
    "The formula $\\nomacro{x}$.": "unknown macro: \\nomacro",
    "![](favicon.svg)": "image without alt text",
}


@pytest.mark.slow
def test_each_warning_fails_the_build_every_time(course):
    shutil.copy(ROOT / "book" / "assets" / "favicon.svg", course.root / "book")
    with (course.root / "book" / "index.md").open("a") as page:
        page.write("\n\n".join(["", *FAULTS, ""]))
    for _ in range(2):
        result = course.build()
        assert result.returncode == 1
        assert [warning for warning in FAULTS.values() if warning not in result.stderr] == []
        assert not course.site.exists()


@pytest.mark.slow
def test_two_cold_builds_give_the_same_numbers(built, course):
    shutil.rmtree(course.root / "_build")
    assert course.build().returncode == 0
    assert course.executed() == ["data", "model"]
    assert page_text(course.site / "model.html") == page_text(built.site / "model.html")


@pytest.fixture
def sources(tmp_path) -> Path:
    """A repository of five files, to hash."""
    for name, text in {
        "code/bookbuild/execute.py": "run = 1",
        "code/funnel/a.py": "a = 1",
        "code/funnel/b.py": "b = 1",
        "data/x.csv": "x",
        "requirements.txt": "numpy==2",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["code/bookbuild/execute.py", "code/funnel/a.py", "data/x.csv", "requirements.txt"]
)
def test_the_key_changes_with_every_source(sources, name):
    before = cache_key(sources)
    (sources / name).write_text("other")
    assert cache_key(sources) != before


def test_the_key_changes_with_names_and_with_new_and_missing_files(sources):
    keys = {cache_key(sources)}
    (sources / "code/funnel/a.py").rename(sources / "code/funnel/c.py")
    keys.add(cache_key(sources))
    (sources / "data/y.csv").touch()
    keys.add(cache_key(sources))
    (sources / "data/x.csv").unlink()
    keys.add(cache_key(sources))
    assert len(keys) == 4


def test_the_key_changes_with_python(sources, monkeypatch):
    before = cache_key(sources)
    monkeypatch.setattr("platform.python_version", lambda: "3.12.99")
    assert cache_key(sources) != before


@pytest.mark.parametrize(
    "name",
    ["code/funnel/__pycache__/a.pyc", "code/funnel/x.egg-info/SOURCES.txt", "code/grading/box.py"],
)
def test_the_key_does_not_change_with_what_no_chapter_reads(sources, name):
    before = cache_key(sources)
    (sources / name).parent.mkdir()
    (sources / name).write_text("made")
    assert cache_key(sources) == before


def test_kernels_share_the_cores_and_keep_the_flags_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTENSOR_FLAGS", "floatX=float64")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    environment = execute.kernel_environment(tmp_path, kernels=3)
    assert environment["NUMBA_NUM_THREADS"] == "2"
    assert environment["PYTENSOR_FLAGS"] == "floatX=float64,numba__cache=False"
    assert environment["FUNNEL_FIT_CACHE"] == str(tmp_path)
    assert execute.kernel_environment(tmp_path, kernels=20)["NUMBA_NUM_THREADS"] == "1"


def mended(html: str) -> tuple[BeautifulSoup, list[str]]:
    page = BeautifulSoup(html, "html.parser")
    return page, mend(page)


@pytest.mark.parametrize("alt", ["", 'alt=""', 'alt="a.png"', 'alt="other/b.svg"'])
def test_an_image_needs_words(alt):
    assert mended(f'<img src="a.png" {alt}>')[1] == ["image without alt text: a.png"]
    assert mended('<img src="a.png" alt="Points on a line.">')[1] == []


def test_an_exercise_needs_a_grade_and_shows_it():
    box = (
        '<div class="exercise admonition {}" id="ex"><p class="admonition-title">Exercise</p></div>'
    )
    assert mended(box.format(""))[1] == ["exercise that is not easy, medium or hard: ex"]
    page, faults = mended(box.format("hard"))
    assert faults == []
    assert page.select_one(".admonition-title .level").get_text() == "hard"


def test_a_folded_answer_opens_without_scripts():
    page, _ = mended(
        '<div class="admonition dropdown"><p class="admonition-title">To<a href="#x"> it</a></p>'
        '<section id="solution-content"><p>Two.</p></section></div>'
    )
    assert page.select_one("details > summary").get_text() == "To it"
    assert page.find("a") is None
    assert page.find(id="solution-content") is None
    assert page.find("p").get_text() == "Two."


def test_an_empty_header_cell_is_no_header():
    page, _ = mended("<table><thead><tr><th></th><th>x</th></tr></thead></table>")
    assert [cell.name for cell in page.find_all(["td", "th"])] == ["td", "th"]


def test_the_vendored_style_sheet_is_of_the_katex_that_renders():
    style = (ROOT / "book/assets/vendor/katex/katex.min.css").read_text()
    assert f'katex-version:after{{content:"{sphinxcontrib.katex.katex_version}"}}' in style


def test_a_page_missing_from_the_book_is_named(tmp_path):
    (tmp_path / "_toc.yml").write_text(TOC)
    with pytest.raises(FileNotFoundError, match=r"index\.md"):
        execute.chapters(tmp_path)


# The environment: a stand-in for Python notes how it is called.

STAND_IN = """#!/bin/sh
echo "$0 $*" >>"$LOG"
case "$*" in
*"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
*--version*) echo Python 3.13.1 ;;
esac
"""


@pytest.fixture
def bare(tmp_path) -> Path:
    """A clone without an environment, in a folder with a space in its name."""
    root = tmp_path / "a clone"
    (root / "code" / "bookbuild").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "code/bookbuild/make_venv.sh"):
        shutil.copy(ROOT / name, root / name)
    return root


def stand_in(path: Path, text: str = STAND_IN) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def make(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(root),
        "LOG": str(root / "log"),
        **variables,
    }
    return subprocess.run(
        ["make", *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def test_make_installs_the_lock_once_and_again_when_it_changes(bare):
    python = stand_in(bare / "elsewhere" / "python")
    for _ in range(2):
        result = make(bare, "book", PYTHON=str(python))
        assert result.returncode == 0, result.stderr
    calls = (bare / "log").read_text().splitlines()
    installs = [call for call in calls if "--require-hashes -r requirements.txt" in call]
    assert len(installs) == 1
    assert all(call.startswith(".venv/bin/python") for call in installs)
    assert [call for call in calls if call.endswith("-m bookbuild")] == [
        ".venv/bin/python -m bookbuild"
    ] * 2
    os.utime(bare / "requirements.txt", (2e9, 2e9))
    make(bare, "book", PYTHON=str(python))
    assert (bare / "log").read_text().count("--require-hashes") == 2


def test_make_finds_a_python_of_pyenv_behind_shims_that_fail(bare):
    shims = bare / "shims"
    for name in ("python3.13", "python3.12", "python3"):
        stand_in(shims / name, "#!/bin/sh\nexit 127\n")
    stand_in(bare / ".pyenv" / "versions" / "3.12.1" / "bin" / "python")
    result = make(bare, "book", PATH=f"{shims}:/usr/bin:/bin")
    assert result.returncode == 0, result.stderr
    assert "versions/3.12.1/bin/python -m venv" in (bare / "log").read_text()


@pytest.mark.parametrize("named", ["", "/no/such/python3.13"])
def test_without_a_suitable_python_one_line_says_what_was_looked_for(bare, named):
    shims = bare / "shims"
    for name in ("python3.13", "python3.12", "python3"):
        stand_in(shims / name, "#!/bin/sh\nexit 127\n")
    result = make(
        bare, "book", PATH=f"{shims}:/usr/bin:/bin", **({"PYTHON": named} if named else {})
    )
    assert result.returncode != 0
    line, *rest = result.stderr.splitlines()
    assert "No Python 3.12 or 3.13" in line
    assert (named or "pyenv") in line
    assert "make PYTHON=/path/to/python3.13" in line
    assert [other for other in rest if not other.startswith("make: ***")] == []


def test_serve_wants_a_site(bare):
    result = make(bare, "serve")
    assert result.returncode != 0
    assert "There is no site yet: make book" in result.stderr


def test_addresses_agree_with_the_configuration():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["repository-code"] == config["repository"]["url"]
    assert citation["url"] == config["html"]["baseurl"]
