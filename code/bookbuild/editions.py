"""Editions: a class keeps the book that it started with, while main moves on.

`make editions` lays out what is published, in `_build/pages`: the built site at the top, and
under `editions/vX.Y/` the site of each tag vX.Y. An edition is built once, in a work tree of its
tag with the lock of its tag, and kept as `_build/editions/vX.Y.zip`; where that file is there
already (the workflow takes it from the release) nothing is built. `versions.json` lists them for
the switcher in the pages.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TAG = re.compile(r"v(\d+)\.(\d+)")


def tags(root: Path) -> list[str]:
    """List the tags that name an edition, newest first."""
    command = ["git", "-C", str(root), "tag", "--list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    found = [match for tag in listed if (match := TAG.fullmatch(tag))]
    return [m[0] for m in sorted(found, key=lambda m: (int(m[1]), int(m[2])), reverse=True)]


def build(root: Path, tag: str, target: Path) -> None:
    """Build the site of a tag in a work tree of its own, and zip it."""
    with tempfile.TemporaryDirectory(prefix=f"edition-{tag}-") as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(root), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), tag], check=True)
        try:
            subprocess.run(["make", "book"], cwd=tree, check=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_suffix(".draft")
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
                site = tree / "_build" / "html"
                for path in sorted(site.rglob("*")):
                    if path.is_file():
                        archive.write(path, path.relative_to(site))
            draft.rename(target)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def versions(editions: list[str]) -> list[dict[str, str]]:
    """List what there is to read, each with its folder below the top of what is published."""
    return [{"name": "main", "folder": ""}] + [
        {"name": tag, "folder": f"editions/{tag}/"} for tag in editions
    ]


def assemble(root: Path, target: Path) -> list[str]:
    """Lay out the site and its editions.

    Parameters
    ----------
    root : Path
        The repository, with a built site.
    target : Path
        The folder to write; what is in it is removed.

    Returns
    -------
    list of str
        The editions, newest first.
    """
    kept = root / "_build" / "editions"
    editions = tags(root)
    # An edition stays, even if its tag has gone: somebody's class reads it.
    for path in kept.glob("v*.zip"):
        if path.stem not in editions and TAG.fullmatch(path.stem):
            editions.append(path.stem)
    editions.sort(key=lambda tag: [int(part) for part in tag[1:].split(".")], reverse=True)
    for tag in editions:
        if not (kept / f"{tag}.zip").exists():
            build(root, tag, kept / f"{tag}.zip")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "_build" / "html", target)
    for tag in editions:
        with zipfile.ZipFile(kept / f"{tag}.zip") as archive:
            archive.extractall(target / "editions" / tag)
    text = json.dumps(versions(editions), indent=2)
    (target / "versions.json").write_text(text + "\n", encoding="utf-8")
    return editions


def main(root: Path = ROOT) -> int:
    """Lay out what is published in `_build/pages`; return the exit code, 1 if there is no site."""
    if not (root / "_build" / "html" / "index.html").exists():
        print("There is no site yet: make book", file=sys.stderr)
        return 1
    target = root / "_build" / "pages"
    editions = assemble(root, target)
    print(f"{target}: main, {', '.join(editions) or 'no edition yet'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
