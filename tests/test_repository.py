"""What several files say about the repository agrees, and what they point to exists."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from chapter_lint import BOOK, chapters, load, pages
from identify.vendor.licenses import LICENSES

ROOT = BOOK.parent
GUIDES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


CONFIG = yaml.safe_load(text("_config.yml"))
CITATION = yaml.safe_load(text("CITATION.cff"))
PROJECT = tomllib.loads(text("pyproject.toml"))["project"]
TITLE, AUTHOR, YEAR = CONFIG["title"], CONFIG["author"], CONFIG["copyright"]
REPOSITORY, SITE = CONFIG["repository"]["url"], CONFIG["html"]["baseurl"]


# One title, one author, one address ----------------------------------------------------------


def test_title():
    assert CITATION["title"] == TITLE
    assert text("README.md").splitlines()[0] == f"# {TITLE}"
    assert f"\n# {TITLE}\n" in text("book/index.md")
    assert PROJECT["description"].startswith(TITLE)


def test_author():
    assert CITATION["authors"] == [{"name": AUTHOR}]


def test_addresses():
    assert CITATION["repository-code"] == REPOSITORY
    assert CITATION["url"] == SITE
    files = [*GUIDES, "CITATION.cff", "pyproject.toml", "Makefile"]
    files += [str(page.relative_to(ROOT)) for page in BOOK.glob("*.md")]
    ours = re.compile(r"https://(?:github\.com/hierarchical-models|hierarchical-models\.)[^\s>)]*")
    for name in files:
        for address in ours.findall(text(name)):
            assert address.startswith((REPOSITORY, SITE)), f"{name}: {address}"


def test_version():
    assert CITATION["version"] == PROJECT["version"]
    assert re.search(rf"^## (Unreleased|{PROJECT['version']})$", text("CHANGELOG.md"), re.M)


# Licenses --------------------------------------------------------------------------------------


def test_text_is_under_the_full_cc_by():
    assert text("LICENSE") == dict(LICENSES)["CC-BY-4.0"]
    assert "CC-BY-4.0" in CITATION["license"]


def test_code_is_under_the_full_bsd_license():
    wanted = dict(LICENSES)["BSD-3-Clause"].replace("[year], [fullname]", f"{YEAR}, {AUTHOR}")
    assert text("LICENSE-CODE") == wanted
    assert PROJECT["license"] == "BSD-3-Clause"
    assert PROJECT["license-files"] == ["LICENSE-CODE"]
    assert "BSD-3-Clause" in CITATION["license"]


# What a guide points to --------------------------------------------------------------------------


@pytest.mark.parametrize("name", GUIDES)
def test_local_links_lead_somewhere(name):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text(name)):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("name", GUIDES)
def test_links_to_the_site_lead_to_pages(name):
    for page in re.findall(rf"{re.escape(SITE)}(\w+)\.html", text(name)):
        assert page in pages()


TARGETS = set(re.findall(r"^([a-z]+):", text("Makefile"), re.M))


@pytest.mark.parametrize("name", [*GUIDES, "book/index.md"])
def test_make_targets_exist(name):
    code = re.findall(r"^```sh$.*?^```$|`[^`\n]+`", text(name), re.M | re.S)
    named = re.findall(r"\bmake ([a-z]+)", "\n".join(code))
    assert set(named) <= TARGETS
    if name != "CHANGELOG.md":
        assert {"book", "test"} <= set(named)


@pytest.mark.parametrize("name", ["README.md", "book/code.md"])
def test_python_in_it_runs(name):
    blocks = re.findall(r"^```python\n(.*?)^```$", text(name), re.M | re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), {})


def test_modules_use_only_those_above_them_on_the_page():
    names = re.findall(r"^\* - \{mod\}`funnel\.(\w+)`$", text("book/code.md"), re.M)
    files = {path.stem: path for path in (ROOT / "code/funnel").glob("[!_]*.py")}
    assert set(names) == set(files)
    for place, name in enumerate(names):
        nodes = ast.walk(ast.parse(files[name].read_text(encoding="utf-8")))
        imports = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module]
        used = [n.module for n in imports]
        used += [
            f"funnel.{alias.name}" for n in imports if n.module == "funnel" for alias in n.names
        ]
        ours = {module.split(".")[1] for module in used if module.startswith("funnel.")}
        assert ours <= set(names[:place]), f"{name} uses {ours - set(names[:place])}"


def test_folders_in_the_readme_exist():
    folders = re.findall(r"^\| `([\w/]+)/` \|", text("README.md"), re.M)
    assert folders
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_each_common_confusion_is_settled_by_a_picture_and_an_exercise():
    answers = [line for line in text("book/confusions.md").splitlines() if line.startswith(": ")]
    assert len(answers) >= 9
    for answer in answers:
        (picture,) = re.findall(r"{numref}`fig-(\w+)-", answer)
        (exercise,) = re.findall(r"{ref}`ex-(\w+)-", answer)
        assert picture == exercise in chapters()


def test_map_links_exactly_the_chapters_that_are_written():
    index = load(BOOK / "index.md")
    (table,) = [block for block in index.walk() if block.options.get("name") == "tab-index-map"]
    roles = [pair for block in table.walk() for pair in block.roles]
    linked = [re.search(r"<(\w+)>", name)[1] for role, name in roles if role == "doc"]
    assert linked == chapters()
    planned = re.findall(r"\* - (\w+) \(planned\)", table.body)
    assert not {name.lower() for name in planned} & set(chapters())


# What runs where ---------------------------------------------------------------------------------


def test_python_of_the_repository_is_allowed():
    minor = int(text(".python-version").strip().removeprefix("3."))
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    assert int(low) <= minor < int(high)


def test_lint_uses_only_the_locked_tools():
    tools = []
    for repo in yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]:
        assert repo["repo"] == "local"
        for hook in repo["hooks"]:
            assert hook["language"] == "system"
            tools.append(hook["entry"].split()[0])
    assert all(tool.startswith(".venv/bin/") for tool in tools)
    named = {Path(tool).name for tool in tools}
    assert named == {"ruff", "codespell", "pymarkdown", "actionlint", "mypy"}
    assert "pre-commit run --all-files" in text("Makefile")


WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in ROOT.glob(".github/*/*.yml")}


def commands(workflow):
    return [
        step["run"]
        for job in WORKFLOWS[workflow]["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]


def test_workflows_run_what_a_person_runs():
    assert set(WORKFLOWS) == {"tests", "publish", "newest"}
    assert "bash .ci/run" in commands("tests")
    made = [c for c in commands("publish") if c.startswith(("make", "bash"))]
    assert made == ["make book", "make editions", "bash .ci/notebooks"]
    assert [c for c in commands("newest") if c in ("make lock", "bash .ci/run")] == [
        "make lock",
        "bash .ci/run",
    ]
    script = text(".ci/run").splitlines()
    assert {"make lint", "make book", "make test"} <= set(script)


def test_what_is_published_has_passed_the_tests():
    # YAML reads the key `on` as true.
    assert WORKFLOWS["publish"][True]["workflow_run"]["workflows"] == [WORKFLOWS["tests"]["name"]]
    assert "conclusion == 'success'" in WORKFLOWS["publish"]["jobs"]["build"]["if"]
