"""The key of the execution cache: what, besides a chapter's own cells, its outputs depend on."""

import hashlib
import platform
from collections.abc import Iterator
from pathlib import Path

# Chapters import `funnel` alone; the rest of `code` works on what they have put out.
FOLDERS = ("code/funnel", "data")
FILES = ("code/bookbuild/execute.py", "requirements.txt")
# What runs in the reader's browser: no cell sees it.
SCRIPTS = (".js", ".mjs", ".css")


def sources(root: Path) -> Iterator[Path]:
    """Yield every file of the shared code and data, of what executes, and the lock, in order.

    Parameters
    ----------
    root : Path
        The repository.

    Yields
    ------
    Path
        A file; what Python and setuptools write beside the sources is left out, and scripts.
    """
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            made = any(part == "__pycache__" or part.endswith(".egg-info") for part in path.parts)
            if path.is_file() and not made and path.suffix not in SCRIPTS:
                yield path
    for name in FILES:
        yield root / name


def cache_key(root: Path) -> str:
    """Hash everything that chapters import or read, the lock, and the version of Python.

    Parameters
    ----------
    root : Path
        The repository.

    Returns
    -------
    str
        16 hexadecimal digits; another name, another byte or another Python gives another key.
    """
    digest = hashlib.sha256(
        f"{platform.python_implementation()} {platform.python_version()}".encode()
    )
    for path in sources(root):
        content = hashlib.sha256(path.read_bytes()).digest()
        digest.update(str(path.relative_to(root)).encode() + b"\0" + content)
    return digest.hexdigest()[:16]
