"""Build the course: `python -m bookbuild`."""

import shutil
import sys
import time
from pathlib import Path

import yaml
from jupyter_book.sphinx import build_sphinx
from jupyter_cache import get_cache

from bookbuild.execute import chapters, execute
from bookbuild.key import cache_key
from grading import guard, making

ROOT = Path(__file__).resolve().parents[2]


def keep_only(folder: Path) -> Path:
    """Make a folder and remove its siblings, which were made from other code, data or versions."""
    folder.mkdir(parents=True, exist_ok=True)
    for sibling in folder.parent.iterdir():
        if sibling != folder:
            shutil.rmtree(sibling)
    return folder


def main(root: Path = ROOT) -> int:
    """Execute what has changed, then write the site to `_build/html`.

    Parameters
    ----------
    root : Path
        The repository.

    Returns
    -------
    int
        The exit code: 0, or 1 if a cell failed, anything warned, or a page of a problem set would
        give an answer away. There is then no site.
    """
    start = time.monotonic()
    build = root / "_build"
    site, draft = build / "html", build / "draft"
    for stale in (site, draft):
        shutil.rmtree(stale, ignore_errors=True)

    key = cache_key(root)
    outputs = keep_only(build / ".jupyter_cache" / key)
    fits = keep_only(build / ".fits" / key)
    cache = get_cache(outputs)
    config = root / "_config.yml"
    timeout = yaml.safe_load(config.read_text(encoding="utf-8"))["execute"]["timeout"]
    try:
        hidden = making.write_pages(root)
    except (making.SetError, guard.GuardError) as error:
        print(f"No site was written: {error}", file=sys.stderr)
        return 1
    pages = [page for page in chapters(root) if page.stem not in hidden]
    failed = execute(pages, cache, fits=fits, timeout=timeout)
    if failed:
        names = ", ".join(page.stem for page in failed)
        print(f"No site was written: a cell failed in {names}.", file=sys.stderr)
        return 1

    print("Writing the site.", flush=True)
    status = build_sphinx(
        root / "book",
        draft / "html",
        noconfig=True,
        path_config=config,
        confoverrides={
            "external_toc_path": str(root / "_toc.yml"),
            "nb_execution_cache_path": str(outputs),
            "latex_individualpages": False,
        },
        doctreedir=draft / "doctrees",
        warningiserror=True,
        keep_going=True,
        quiet=True,
    )
    if status != 0:
        print("No site was written: see the warnings above.", file=sys.stderr)
        return 1
    try:
        guard.check_site(draft / "html", hidden)
    except guard.GuardError as error:
        print(f"No site was written: {error}", file=sys.stderr)
        return 1
    # Only a site that is whole gets the name of one.
    (draft / "html").rename(site)
    shutil.rmtree(draft)
    print(f"Done in {time.monotonic() - start:.0f} s. The site is in {site}; read it: make serve")
    return 0


if __name__ == "__main__":
    sys.exit(main())
