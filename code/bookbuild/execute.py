"""Execute the chapters that the cache does not know, in parallel, each in a kernel of its own."""

import os
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import nbformat
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.read import is_myst_markdown_notebook, myst_nb_reader_plugin
from sphinx_external_toc.parsing import parse_toc_yaml


def chapters(root: Path) -> list[Path]:
    """List the pages of the table of contents that have cells to execute.

    Parameters
    ----------
    root : Path
        The repository.

    Returns
    -------
    list of Path
        MyST Markdown files, in the order of `_toc.yml`.

    Raises
    ------
    FileNotFoundError
        If the table of contents names a page that does not exist.
    """
    pages = [root / "book" / f"{name}.md" for name in parse_toc_yaml(root / "_toc.yml")]
    return [page for page in pages if is_myst_markdown_notebook(page.read_text(encoding="utf-8"))]


def is_cached(notebook: nbformat.NotebookNode, cache: JupyterCacheAbstract) -> bool:
    """Tell whether the cache holds the outputs of just these cells."""
    try:
        cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    return True


def kernel_environment(fits: Path, kernels: int) -> dict[str, str]:
    """Give the variables under which a chapter computes the same numbers every time.

    Parameters
    ----------
    fits : Path
        Folder of the fits that chapters share.
    kernels : int
        How many chapters run at a time; they share the cores.

    Returns
    -------
    dict
        Names and values of environment variables. Compiling for a generic processor, and never
        from a cache of compiled code, is what makes two builds agree to the last digit.
    """
    threads = max(1, (os.cpu_count() or 1) // kernels)
    flags = [os.environ.get("PYTENSOR_FLAGS", ""), "numba__cache=False"]
    return {
        "FUNNEL_FIT_CACHE": str(fits),
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTENSOR_FLAGS": ",".join(flag for flag in flags if flag),
        # The kernel imports the code that the cache's key was made from.
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }


def run(
    notebook: nbformat.NotebookNode, page: Path, timeout: int, environment: dict[str, str]
) -> tuple[nbformat.NotebookNode, float, str]:
    """Execute a chapter in a kernel of its own.

    Parameters
    ----------
    notebook : NotebookNode
        The chapter, read.
    page : Path
        Its file; the kernel works in the folder of it.
    timeout : int
        The longest that one cell may take, in seconds.
    environment : dict
        Variables to set for the kernel.

    Returns
    -------
    notebook : NotebookNode
        The chapter with outputs.
    seconds : float
        How long it took.
    failure : str
        The source of the failing cell and the traceback; empty if all went well.
    """
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    # One write, or two chapters that start together would share a line.
    sys.stdout.write(f"  {page.stem}: executing {cells} cells\n")
    sys.stdout.flush()
    os.environ.update(environment)
    start = time.monotonic()
    try:
        result = single_nb_execution(
            notebook,
            cwd=str(page.parent),
            timeout=timeout,
            allow_errors=False,
            # One line of the kernel's own about its transport is no news to the reader.
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
    except Exception:  # the kernel died, or never came up: the chapter failed all the same
        return notebook, time.monotonic() - start, traceback.format_exc()
    # The state of widgets, which a page without a kernel has no use for.
    result.nb.metadata.pop("widgets", None)
    return result.nb, result.time, str(result.err) if result.err else ""


def execute(
    pages: Sequence[Path], cache: JupyterCacheAbstract, *, fits: Path, timeout: int
) -> list[Path]:
    """Execute every chapter whose outputs are not in the cache, and cache those that succeed.

    Parameters
    ----------
    pages : sequence of Path
        Chapters.
    cache : JupyterCacheAbstract
        Where outputs are kept.
    fits : Path
        Folder of the fits that chapters share.
    timeout : int
        The longest that one cell may take, in seconds.

    Returns
    -------
    list of Path
        The chapters that failed. They are not in the cache, so they fail again next time.
    """
    notebooks = {page: myst_nb_reader_plugin(str(page)) for page in pages}
    todo = {page: nb for page, nb in notebooks.items() if not is_cached(nb, cache)}
    print(f"Chapters: {len(todo)} to execute, {len(pages) - len(todo)} unchanged.", flush=True)
    if not todo:
        return []
    kernels = min(len(todo), os.cpu_count() or 1)
    environment = kernel_environment(fits, kernels)
    failed = []
    with ProcessPoolExecutor(kernels, mp_context=get_context("spawn")) as pool:
        futures = {
            pool.submit(run, notebook, page, timeout, environment): page
            for page, notebook in todo.items()
        }
        for future in as_completed(futures):
            page = futures[future]
            notebook, seconds, failure = future.result()
            if failure:
                failed.append(page)
                print(f"  {page.stem}: FAILED after {seconds:.0f} s\n{failure}", flush=True)
            else:
                cache.cache_notebook_bundle(
                    CacheBundleIn(notebook, str(page), data={"execution_seconds": seconds}),
                    check_validity=False,
                    overwrite=True,
                )
                print(f"  {page.stem}: done in {seconds:.0f} s", flush=True)
    return failed
