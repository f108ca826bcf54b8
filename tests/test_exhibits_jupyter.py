"""The exhibits in a real JupyterLab: the same figures, with controls that Python reads and sets."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHOW = """\
from funnel import data, exhibits, fitting, models, priors
homes = data.load_radon()
figure = exhibits.{call}
figure
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own: address and folder."""
    folder = tmp_path_factory.mktemp("lab")
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "code"),
        "JUPYTER_CONFIG_DIR": str(folder / ".config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces"),
        "IPYTHONDIR": str(folder / ".ipython"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--IdentityProvider.token=", "--ServerApp.ip=127.0.0.1"]
    command += [
        f"--ServerApp.root_dir={folder}",
        "--LabApp.news_url=",
        "--ServerApp.port_retries=0",
    ]
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{address}/api").close()
            break
        except OSError:
            assert server.poll() is None, (folder / "log.txt").read_text()
            assert time.monotonic() < deadline, "JupyterLab did not come up"
            time.sleep(0.3)
    yield address, folder
    server.terminate()
    server.wait(20)


def open_notebook(browser, lab, name, *cells):
    address, folder = lab
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / f"{name}.ipynb")
    page = browser.new_context(viewport={"width": 1280, "height": 1100}).new_page()
    page.goto(f"{address}/lab/tree/{name}.ipynb?reset")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=60_000)
    # A cell that is run before there is a kernel is not run at all.
    page.get_by_text("| Idle").wait_for(timeout=60_000)
    return page


def run_cell(page, number):
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    return cell


CASES = [
    ("Shrinkage(homes, county='Lac qui Parle')", "sigma_a", "Scale between counties"),
    ("Hyperprior(homes, priors.WEAKLY_INFORMATIVE)", "median", "Median"),
    ("Centering(homes)", "informativeness", "Informativeness"),
    ("Modes(homes)", "start", "Start"),
    (
        "Draws(fitting.fit(models.eight_schools(data.load_eight_schools(), effects='noncentered'),"
        " seed=1), 'tau', 'theta')",
        "first",
        "Stretch from",
    ),
]


@pytest.mark.parametrize(("call", "trait", "label"), CASES, ids=[case[0][:12] for case in CASES])
def test_controls_are_traits_both_ways(browser, lab, call, trait, label):
    name = re.match(r"\w+", call)[0]
    cells = [SHOW.format(call=call), f"print('now', figure.{trait})", f"figure.{trait} = 2.0"]
    page = open_notebook(browser, lab, name, *cells)
    shown = run_cell(page, 0)
    exhibit = shown.locator(".exhibit-live")
    exhibit.locator(".exhibit-words:not(:empty)").wait_for(timeout=120_000)
    assert exhibit.get_by_role("button", name="Copy link").count() == 0  # there is no address

    slider = exhibit.get_by_label(label).first
    slider.focus()
    before = slider.get_attribute("aria-valuetext")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    after = slider.get_attribute("aria-valuetext")
    assert after != before
    printed = run_cell(page, 1).locator(".jp-OutputArea-output", has_text="now")
    printed.wait_for()
    value = float(printed.inner_text().removeprefix("now"))
    assert value == pytest.approx(float(after.split()[0]), rel=1e-3)

    run_cell(page, 2)
    page.wait_for_timeout(500)
    assert slider.get_attribute("aria-valuetext").split()[0] == "2"
    page.context.close()


def test_draws_come_back_to_python(browser, lab):
    """Of a reader's own homes: run in the page, read as a DataTree."""
    own = SHOW.format(call="Sampler(own, slopes=0.0)").replace(
        "figure =",
        "own = homes[homes['county'] != 'St. Louis']\n"
        "own = own.assign(county=own['county'].cat.remove_unused_categories())\nfigure =",
    )
    ask = """\
draws = figure.draws
b = draws.posterior['sigma_b']
print('now', dict(draws.posterior.sizes), bool((b > 0).all()), len(figure.data['counties']))
print(int(draws.sample_stats['diverging'].sum()) < 50, list(draws.children))"""
    page = open_notebook(browser, lab, "draws", own, ask, "figure.draws")
    shown = run_cell(page, 0)
    exhibit = shown.locator(".exhibit-live")
    exhibit.locator(".exhibit-words", has_text="press Run").wait_for(timeout=120_000)
    exhibit.get_by_role("button", name="Run", exact=True).click()
    exhibit.locator(".exhibit-words", has_text="exact is").wait_for(timeout=120_000)
    printed = run_cell(page, 1).locator(".jp-OutputArea-output", has_text="now")
    printed.wait_for()
    told = printed.inner_text()
    assert "{'chain': 4, 'draw': 1000} True 84" in told
    assert "True ['posterior', 'sample_stats']" in told
    page.context.close()
