"""The notebooks of the pages: nothing left to resolve, the page's code, and buttons to them."""

import ast
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jupytext
import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from chapter_lint import chapters, pages
from docutils import nodes
from nbclient import NotebookClient

from bookbuild import notebooks
from bookbuild.execute import chapters as pages_with_cells

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
KINDS = notebooks.FOLDERS


@pytest.fixture(scope="module")
def executed(site):
    """Names of the pages whose cells are executed: all with cells, but the problem sets."""
    return [page.stem for page in pages_with_cells(ROOT) if not page.stem.startswith("set-")]


@functools.cache
def read(site, kind, name):
    return nbformat.read(site / KINDS[kind] / f"{name}.ipynb", as_version=4)


@functools.cache
def html(site, name):
    return BeautifulSoup((site / f"{name}.html").read_text(), "html.parser")


def texts(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


# What is in them --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_with_cells_has_its_notebook(site, executed, kind):
    assert len(executed) >= 10
    assert sorted(path.stem for path in (site / KINDS[kind]).glob("*.ipynb")) == sorted(executed)
    for name in executed:
        nbformat.validate(read(site, kind, name))


def test_nothing_is_left_to_resolve(site, executed):
    for name in executed:
        text = "\n".join(texts(read(site, "clean", name)))
        assert re.findall(r"\{[a-z:-]+\}`|:::|^```\{|%s|\[\]\(", text, re.M) == []


def test_every_cell_of_the_page_is_there_in_order(site, executed):
    for name in executed:
        page = jupytext.read(ROOT / "book" / f"{name}.md")
        wanted = [source.replace("from myst_nb import glue\n", "") for source in code(page)]
        for kind in KINDS:
            assert code(read(site, kind, name))[1:] == wanted


def test_figures_formulas_and_exercises_have_the_numbers_of_the_page(site):
    for name in chapters():
        page, text = html(site, name), "\n".join(texts(read(site, "clean", name)))
        figures = [tag.get_text().strip() for tag in page.select("figcaption .caption-number")]
        assert re.findall(r"^\*\*(Fig\. [\d.]+)\.\*\*", text, re.M) == figures != []
        formulas = [tag.get_text().strip("#()") for tag in page.select("div.math > .eqno")]
        assert re.findall(r"\\tag\{([\d.]+)\}", text) == formulas
        titles = [box.get_text() for box in page.select("div.exercise > .admonition-title")]
        numbers = [re.search(r"Exercise ([\d.]+)", title)[1] for title in titles]
        assert re.findall(r"^###+ Exercise ([\d.]+) ", text, re.M) == numbers != []
        assert len(re.findall(r"^#+ Solution to Exercise ", text, re.M)) == len(numbers)


def test_numbers_in_the_text_are_those_of_the_page(site):
    for name in chapters():
        glued = [tag.get_text() for tag in html(site, name).select("article .pasted-text")]
        text = "\n".join(texts(read(site, "clean", name)))
        assert glued
        for number in glued:
            assert notebooks.escape(number) in text


def test_links_lead_to_places_on_the_site(site):
    home, known = CONFIG["html"]["baseurl"], {}
    for name in chapters():
        for link in re.findall(
            rf"\]\({home}([^)]*)\)", "\n".join(texts(read(site, "clean", name)))
        ):
            page, _, fragment = link.partition("#")
            if page not in known:
                known[page] = {tag["id"] for tag in html(site, page[:-5]).select("[id]")}
            assert not fragment or fragment in known[page], f"{name}: {link}"


def test_solutions_are_folded_in_jupyterlab(site):
    for name in chapters():
        for cell in read(site, "clean", name).cells:
            folded = cell.metadata.get("jp-MarkdownHeadingCollapsed", False)
            assert folded == cell.source.startswith(("#### Solution", "##### Solution"))
            assert "\n" not in cell.source or not folded


def test_only_the_executed_ones_have_results(site, executed):
    for name in executed:
        clean, full = (read(site, kind, name) for kind in ("clean", "executed"))
        for cell in clean.cells:
            assert not cell.get("outputs")
        images = sum(
            any(kind.startswith("image/") for kind in output.get("data", ()))
            for cell in full.cells
            for output in cell.get("outputs", ())
        )
        assert images >= len(html(site, name).select("article .cell_output img"))


def test_no_result_needs_a_kernel_or_tells_a_path(site, executed):
    for name in executed:
        text = (site / KINDS["executed"] / f"{name}.ipynb").read_text()
        assert "vnd.jupyter.widget" not in text
        assert "vnd.funnel" not in text
        assert str(ROOT) not in text


def test_first_cell_on_colab_installs_the_tagged_package(site, executed):
    tag = "v" + yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    for name in executed:
        first = next(cell for cell in read(site, "colab", name).cells if cell.cell_type == "code")
        assert f"--branch {tag} {CONFIG['repository']['url']} course" in first.source
        assert first.source.startswith("#@title")
        assert first.metadata["cellView"] == "form"


def test_builds_agree(site):
    """Identifiers of cells are no random numbers."""
    found = read(site, "clean", chapters()[0]).cells
    assert [cell["id"] for cell in found] == [f"cell-{place}" for place in range(len(found))]


@pytest.mark.slow
def test_a_notebook_runs_elsewhere(site, tmp_path):
    """In another folder, in which nothing of the book is."""
    target = tmp_path / "index.ipynb"
    target.write_bytes((site / KINDS["clean"] / "index.ipynb").read_bytes())
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace"]
    done = subprocess.run([*command, str(target)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = [
        out for cell in json.loads(target.read_text())["cells"] for out in cell.get("outputs", [])
    ]
    assert shown


@pytest.mark.slow
def test_set_up_on_colab(site, tmp_path):
    """The tag is fetched from a copy of the repository here, and no other package is installed."""
    origin, home = tmp_path / "origin", tmp_path / "home"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(origin)], check=True)
    subprocess.run(["git", "-C", str(origin), "tag", "--force", notebooks.TAG], check=True)
    home.mkdir()
    setup = next(c for c in read(site, "colab", "index").cells if c.cell_type == "code")
    where = nbformat.v4.new_code_cell("import funnel; print(funnel.__file__, glue('a', 1))")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(setup.source), where])
    environment = {
        **os.environ,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{origin.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": CONFIG["repository"]["url"],
        "PIP_NO_DEPS": "1",
        "PIP_TARGET": str(tmp_path / "installed"),
    }
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(home)}})
    client.execute(env=environment)
    assert where_is(notebook.cells[1]) == f"{home}/course/code/funnel/__init__.py None"
    assert (tmp_path / "installed" / "funnel").is_dir()


def where_is(cell):
    return "".join(output.text for output in cell.outputs).strip()


# Markdown -----------------------------------------------------------------------------------------


def writer():
    return notebooks.Writer("https://example.org/page.html", {}, nbformat.v4.new_notebook())


def test_text_is_no_markup():
    text = nodes.paragraph("", "", nodes.Text("a_b * c [d] <e> $5 `f` \\g"))
    assert writer().block(text) == r"a\_b \* c \[d\] \<e> \$5 \`f\` \\g"


def test_a_paragraph_that_starts_like_a_list_is_none():
    assert writer().block(nodes.paragraph("", "", nodes.Text("2017. A year."))) == r"2017\. A year."


def test_lists_and_boxes():
    one, two = (nodes.paragraph("", "", nodes.Text(word)) for word in ("one", "two"))
    item = nodes.list_item("", one, two)
    assert writer().block(nodes.bullet_list("", item)) == "- one\n\n  two"
    box = nodes.admonition("", nodes.title("", "", nodes.Text("Why?")), classes=["dropdown"])
    box += nodes.paragraph("", "", nodes.Text("So."))
    wanted = "<details><summary>Why?</summary>\n\nSo.\n\n</details>"
    assert writer().block(box) == wanted


def test_links_are_whole():
    link = nodes.reference("", "", nodes.Text("there"), refuri="funnel.html#fig")
    text = nodes.paragraph("", "", link, nodes.reference("", "", nodes.Text("here"), refid="x"))
    wanted = "[there](https://example.org/funnel.html#fig)[here](https://example.org/page.html#x)"
    assert writer().block(text) == wanted


def test_what_has_no_form_is_reported(monkeypatch):
    """A warning stops the build."""
    said = []
    monkeypatch.setattr(
        notebooks.LOGGER, "warning", lambda text, *args, **_: said.append(text % args)
    )
    writer().block(nodes.sidebar())
    writer().part(nodes.image(uri="x.png"))
    assert said == ["a notebook cannot show this: sidebar", "a notebook cannot show this: image"]


def test_stub_for_glue_takes_what_pages_give_it():
    scope = {}
    exec(compile(ast.parse(notebooks.GLUE), "glue", "exec"), scope)
    assert scope["glue"]("name", 1.0, display=False) is None


# Buttons -----------------------------------------------------------------------------------------


def menu(site, name):
    buttons = html(site, name).select(".dropdown-launch-buttons a, .dropdown-download-buttons a")
    return {button.get_text(strip=True): button["href"] for button in buttons}


def test_pages_with_cells_and_no_others_can_be_launched(site):
    with_cells = {page.stem for page in pages_with_cells(ROOT)}
    assert {"code", "bibliography", "notation"} <= set(pages()) - with_cells
    for name in pages():
        assert ("Binder" in menu(site, name)) == (name in with_cells), name


def test_binder_opens_the_page_as_a_notebook(site):
    for page in pages_with_cells(ROOT):
        address = urlsplit(menu(site, page.stem)["Binder"])
        branch = CONFIG["repository"]["branch"]
        repository = urlsplit(CONFIG["repository"]["url"]).path
        assert address.netloc + address.path == f"mybinder.org/v2/gh{repository}/{branch}"
        (place,) = parse_qs(address.query)["urlpath"]
        assert place == f"lab/tree/book/{page.name}"
        assert (ROOT / place.removeprefix("lab/tree/")).exists()


def test_other_buttons_lead_to_the_notebooks(site, executed):
    for name in executed:
        found = menu(site, name)
        assert (site / found[".ipynb"]).is_file()
        assert (site / found[".ipynb, executed"]).is_file()
        repository = CONFIG["repository"]["url"].removeprefix("https://github.com")
        colab = f"https://colab.research.google.com/github{repository}/blob/{notebooks.BRANCH}/"
        assert found["Colab"].startswith(colab)
        assert (site / "notebooks" / found["Colab"].removeprefix(colab)).is_file()


def test_every_launch_menu_says_how_to_keep_ones_work(site):
    for page in pages_with_cells(ROOT):
        if page.stem != "running":
            assert menu(site, page.stem)["How to run it"] == "running.html"
    assert "expires" in html(site, "running").select_one("div.warning").get_text()


def test_problem_sets_have_no_notebook_without_their_checks(site):
    sets = [page.stem for page in pages_with_cells(ROOT) if page.stem.startswith("set-")]
    assert sets
    for name in sets:
        assert set(menu(site, name)) == {"Binder", "How to run it", ".md"}


def test_the_table_has_every_page(site):
    rows = html(site, "running").select("article table tr:has(a)")
    found = [[link["href"] for link in row.select("a")] for row in rows]
    for links in found:  # a page's link to itself is "#"
        links[0] = "running.html" if links[0] == "#" else links[0]
    assert [links[0] for links in found] == [f"{page.stem}.html" for page in pages_with_cells(ROOT)]
    for page, *links in found:
        buttons = menu(site, page.removesuffix(".html"))
        names = ("Binder", "Colab", ".ipynb", ".ipynb, executed")
        assert links == [buttons[name] for name in names if name in buttons]


def test_what_is_not_resolved_is_not_on_the_site(site):
    assert list((site / "_sources").glob("*.ipynb")) == []


def test_branch_for_colab_has_the_notebooks_and_no_history(tmp_path):
    def git(*words, where=tmp_path / "clone"):
        done = subprocess.run(["git", *words], cwd=where, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    git("init", "--quiet", "--bare", "origin.git", where=tmp_path)
    git("clone", "--quiet", str(ROOT), "clone", where=tmp_path)
    git("remote", "set-url", "origin", str(tmp_path / "origin.git"))
    (tmp_path / "clone" / ".ci").mkdir(exist_ok=True)
    script = tmp_path / "clone" / ".ci" / "notebooks"
    script.write_bytes((ROOT / ".ci" / "notebooks").read_bytes())
    for content in ("one", "two"):  # published again
        path = tmp_path / "clone" / "_build" / "html" / "notebooks" / "colab" / f"{content}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        subprocess.run(["bash", str(script)], check=True)
    origin = tmp_path / "origin.git"
    names = git("ls-tree", "-r", "--name-only", notebooks.BRANCH, where=origin).split()
    assert names == ["colab/one.ipynb", "colab/two.ipynb"]
    assert git("rev-list", "--count", notebooks.BRANCH, where=origin).strip() == "1"
    assert git("show", f"{notebooks.BRANCH}:colab/two.ipynb", where=origin) == "two"
    assert git("status", "--porcelain", "--untracked-files=no") in ("", " M .ci/notebooks\n")
