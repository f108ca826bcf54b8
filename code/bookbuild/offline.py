"""The site for a classroom without network: `make offline` zips it, with a note on how to serve it.

Everything that a page needs lies beside it, and links are relative, so that any file server will
do, from any folder. Only the page for what is missing was made for one address; here its links
are made relative, too.
"""

import sys
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
NAME = "hierarchical-models"
README = """{title}

This folder is the whole course, for a computer without network.

1. Unzip it, on the disk or on a USB stick.
2. Open a terminal in this folder and start a file server. With Python:
       python3 -m http.server --bind 127.0.0.1 8000
   For a classroom, on the teacher's computer, without `--bind 127.0.0.1`.
3. Open http://127.0.0.1:8000/ in a browser, or on the students' computers
   the address of the teacher's.

Opening index.html by a double click is not enough: browsers refuse search and
exhibits to pages that no server has sent.

Pages, search and exhibits need nothing else. Links to other sites do, and so
do the buttons that open a chapter as a notebook.

The course on the web: {address}
"""


def local(page: str, prefix: str) -> str:
    """Make the links of a page relative that start with the folder it was made for."""
    soup = BeautifulSoup(page, "html.parser")
    for element in soup.find_all(True):
        for name in ("href", "src", "action", "data-content_root"):
            if str(element.get(name, "")).startswith(prefix):
                element[name] = "./" + element[name].removeprefix(prefix)
    return str(soup).replace(f"url({prefix}", "url(./")


def pack(site: Path, config: dict, target: Path) -> None:
    """Zip a site.

    Parameters
    ----------
    site : Path
        The built site.
    config : dict
        What `_config.yml` holds.
    target : Path
        The zip to write.
    """
    address = config["html"]["baseurl"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        readme = README.format(title=config["title"], address=address)
        archive.writestr(f"{NAME}/README.txt", readme)
        for path in sorted(site.rglob("*")):
            name = f"{NAME}/{path.relative_to(site)}"
            if path == site / "404.html":
                page = path.read_text(encoding="utf-8")
                archive.writestr(name, local(page, urlsplit(address).path))
            elif path.is_file():
                archive.write(path, name)


def main(root: Path = ROOT) -> int:
    """Zip the built site; return the exit code, 1 if there is none."""
    site = root / "_build" / "html"
    if not (site / "index.html").exists():
        print("There is no site yet: make book", file=sys.stderr)
        return 1
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    target = root / "_build" / "offline" / f"{NAME}.zip"
    pack(site, config, target)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
