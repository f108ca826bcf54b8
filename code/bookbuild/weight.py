"""Make the pages of the built site light, and put each under its policy.

What a page needs to be shown is in the page: its style, without the rules that it has no use for.
Scripts wait until it is read, images until the reader comes near.
"""

import io
import logging
import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bs4 import BeautifulSoup, Tag
from fontTools import subset
from PIL import Image
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from bookbuild.policy import PLACE, hashes, policy
from bookbuild.purge import Part, Seen, parse, purge, words

#: What the theme writes as inline handlers, and what `course.js` knows the same as.
HANDLERS = {"window.print()": "print", "toggleFullScreen()": "fullscreen"}
HANDLER = re.compile(r'\s(on[a-z]+)="([^"]*)"')
#: Only the page of the search needs these.
SEARCH = ("searchtools.js", "language_data.js", "searchindex.js")
#: Scripts that have nothing to do on a page without what is named.
NEEDS = {
    "design-tabs.js": ".sd-tab-set",
    "clipboard.min.js": ".highlight",
    "copybutton.js": ".highlight",
}
SCRIPT = re.compile(r"<script\b[^>]*\bsrc=[^>]*>\s*</script>")
MODULE = re.compile(r'data-module="([^"?]+)')
OPTION = re.compile(r"DOCUMENTATION_OPTIONS\.(\w+) = (.*);")
OPTIONS = "documentation_options.js"
#: Where the theme asks every element that may scroll for its size, which lays out the whole chapter
#: before anything of it is read. `course.js` asks each when the reader comes near.
THEME = "_static/scripts/pydata-sphinx-theme.js"
LOOKS = "e.tabIndex=e.scrollWidth>e.clientWidth||e.scrollHeight>e.clientHeight?0:-1"
ICONS = re.compile(r"_static/vendor/fontawesome/webfonts/([\w-]+)\.woff2")
PIXELS_PER_POINT = 96 / 72
# It tells of every table of a font.
logging.getLogger("fontTools").setLevel(logging.WARNING)


def local(tag: Tag, name: str) -> str:
    """Give the address of a file of the site from its top, without what tells its version."""
    path = urlsplit(tag[name]).path
    return path[path.index("_static") :] if "_static" in path else path


class Page:
    """A page while it is changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        html = path.read_text(encoding="utf-8")
        self.start, rest = html.split("<head>", 1)
        head, self.body = rest.split("</head>", 1)
        self.head = BeautifulSoup(head, "html.parser")
        self.names = Seen(html).names
        #: Where the top of the site is, from the page: other than here for the page of the 404.
        sheet = self.head.select_one('link[rel="stylesheet"]')
        root = str(sheet["href"]).partition("_static")[0] if sheet else ""
        self.root = root.removeprefix("./")

    def html(self) -> str:
        """Write the page."""
        return f"{self.start}<head>{self.head}</head>{self.body}"


def defer_scripts(page: Page, options: dict[str, str]) -> None:
    """Let all scripts wait, leave out those without work, and move settings to their file.

    Parameters
    ----------
    page : Page
        It is changed.
    options : dict
        The settings that the page had as inline scripts are added.
    """
    for script in page.head.find_all("script"):
        if not script.get("src"):
            if found := OPTION.fullmatch((script.string or "").strip()):
                name, value = found.groups()
                if name == "pagename":
                    tag = f'<html data-pagename="{escape(value.strip(chr(39)))}"'
                    page.start = page.start.replace("<html", tag, 1)
                else:
                    options[name] = value
                script.decompose()
            continue
        name = Path(local(script, "src")).name
        idle = name in NEEDS and NEEDS[name] not in page.names
        if idle or (name in SEARCH and page.path.name != "search.html"):
            script.decompose()
        elif script.get("type") != "module":
            script["defer"] = ""


def free_of_handlers(html: str) -> str:
    """Write inline handlers as attributes that `course.js` reads.

    Raises
    ------
    ExtensionError
        If there is one that it does not know.
    """

    def attribute(found: re.Match[str]) -> str:
        if found[1] != "onclick" or found[2] not in HANDLERS:
            raise ExtensionError(f"an inline handler that no policy allows: {found[0].strip()}")
        return f' data-press="{HANDLERS[found[2]]}"'

    # Only in tags: a chapter may show the text of a handler.
    return re.sub(r"<[a-z][^<>]*>", lambda tag: HANDLER.sub(attribute, tag[0]), html)


def size(path: Path) -> tuple[int, int]:
    """Give width and height of an image, in pixels of CSS.

    Raises
    ------
    ExtensionError
        If a drawing does not say its size.
    """
    if path.suffix != ".svg":
        with Image.open(path) as image:
            return image.size
    opening = re.search(r"<svg[^>]*>", path.read_text(encoding="utf-8"))
    tag = opening[0] if opening else ""
    sides = re.findall(r'\b(?:width|height)="([\d.]+)(pt|px)?"', tag)
    if len(sides) != 2:
        box = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', tag)
        if not box:
            raise ExtensionError(f"an image that does not say its size: {path.name}")
        sides = [(side, "px") for side in box.groups()]
    width, height = (
        round(float(number) * (PIXELS_PER_POINT if unit == "pt" else 1)) for number, unit in sides
    )
    return width, height


def smaller(path: Path) -> str | None:
    """Write a picture made of pixels once more as WebP, without loss, if that is smaller.

    Returns
    -------
    str or None
        Name of the new file.
    """
    target = path.with_suffix(".webp")
    if not target.exists():
        with Image.open(path) as image:
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", lossless=True, method=4)
        target.write_bytes(buffer.getvalue())
    return target.name if target.stat().st_size < path.stat().st_size else None


def light_images(page: Page, site: Path) -> None:
    """Give images their size, so that text does not jump, and let them wait for the reader.

    The first image of a page does not wait: it may be what the reader sees first.
    """
    number = 0

    def attributes(found: re.Match[str]) -> str:
        nonlocal number
        tag = BeautifulSoup(found[0], "html.parser").img
        if tag is None or not tag["src"].startswith(f"{page.root}_images/"):
            return found[0]
        number += 1
        path = site / tag["src"].removeprefix(page.root)
        if not tag.get("width") and not tag.get("style"):
            tag["width"], tag["height"] = map(str, size(path))
        if number > 1:
            tag["loading"] = "lazy"
        tag["decoding"] = "async"
        if path.suffix == ".png" and (name := smaller(path)):
            source = f'<source srcset="{page.root}_images/{name}" type="image/webp"/>'
            return f"<picture>{source}{tag}</picture>"
        return str(tag)

    page.body = re.sub(r"<img\b[^>]*>", attributes, page.body)


def subset_icons(site: Path, css: str) -> dict[str, str]:
    """Write the fonts of icons with only those that the site shows.

    Parameters
    ----------
    site : Path
        The top of the site.
    css : str
        The style of all pages.

    Returns
    -------
    dict
        From the address of a font to that of the small one.
    """
    shown = {int(code, 16) for code in re.findall(r'"\\(f[0-9a-f]{3})"', css)}
    shown |= {ord(sign) for sign in re.findall(r'"([\uf000-\uf8ff])"', css)}
    made = {}
    for address in {found[0] for found in ICONS.finditer(css)}:
        font = site / address
        options = subset.Options(flavor="woff", layout_features=[], notdef_outline=True)
        with subset.load_font(font.with_suffix(".ttf"), options) as loaded:
            cut = subset.Subsetter(options)
            cut.populate(unicodes=shown)
            cut.subset(loaded)
            small = font.with_name(f"{font.stem}.shown.woff")
            subset.save_font(loaded, small, options)
        made[address] = str(small.relative_to(site))
    return made


def styles(page: Page, site: Path, sheets: dict[str, tuple[Part, ...]]) -> str:
    """Take the links to style sheets out of a page and give what it needs of them.

    Parameters
    ----------
    page : Page
        It is changed.
    site : Path
        The top of the site.
    sheets : dict
        The sheets that were read before, by address; others are added.

    Returns
    -------
    str
        The style, with addresses from the top of the site.
    """
    parts: list[Part] = []
    for link in page.head.select('link[rel="stylesheet"]'):
        address = local(link, "href")
        if address not in sheets:
            sheets[address] = parse(site, address)
        parts += sheets[address]
        link.decompose()
    html = page.html()
    tags = BeautifulSoup("".join(SCRIPT.findall(html)), "html.parser")
    scripts = [site / local(tag, "src") for tag in tags.find_all("script")]
    scripts += [site / "_static/exhibits" / module for module in MODULE.findall(html)]
    texts = [script.read_text(encoding="utf-8") for script in scripts if script.name not in SEARCH]
    in_scripts = words("\n".join(texts))

    def known(name: str) -> bool:
        return name in page.names or name.lstrip(".#[") in in_scripts

    return purge(parts, known, "\n".join([html, *texts]))


def finish_head(page: Page, css: str, hosts: list[str]) -> set[str]:
    """Put style and policy into the head of a page, each thing once.

    Returns
    -------
    set of str
        The hashes of its inline scripts.
    """
    for name in ("viewport", "docsearch:language", "docsearch:version"):
        found = page.head.select(f'meta[name="{name}"]')
        for tag in found[1:] if name == "viewport" else found:
            tag.decompose()
    style = page.head.new_tag("style")
    style.string = re.sub(r"url\((?=_)", f"url({page.root}", css)
    page.head.append(style)
    used = hashes(page.html())
    meta = page.head.new_tag("meta", attrs={"http-equiv": "Content-Security-Policy"})
    meta["content"] = policy(used, hosts if ".live-start" in page.names else [])
    page.head.select_one("meta[charset]").insert_after(meta)
    return used


def spare_layout(site: Path) -> None:
    """Take from the theme's script what lays out a whole page at once.

    Raises
    ------
    ExtensionError
        If it is not there: the theme has changed.
    """
    script = site / THEME
    text = script.read_text(encoding="utf-8")
    if text.count(LOOKS) != 1:
        raise ExtensionError(f"{THEME} does not look for what scrolls as it did")
    script.write_text(text.replace(LOOKS, ""), encoding="utf-8")


def lighten(app: Sphinx, failure: Exception | None) -> None:
    """Rewrite all pages of the site."""
    if failure is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    spare_layout(site)
    hosts = app.config.live_code_hosts
    sheets: dict[str, tuple[Part, ...]] = {}
    options: dict[str, str] = {}
    done: list[tuple[Page, str]] = []
    for path in sorted(site.glob("*.html")):
        page = Page(path)
        defer_scripts(page, options)
        page.body = free_of_handlers(page.body)
        light_images(page, site)
        done.append((page, styles(page, site, sheets)))

    icons = subset_icons(site, "".join(css for _, css in done))
    used: set[str] = set()
    for page, css in done:
        for font, small in icons.items():
            css = css.replace(f'{font}) format("woff2")', f'{small}) format("woff")')
        used |= finish_head(page, css, hosts)
    everywhere = escape(policy(used, hosts))
    for page, _ in done:
        page.path.write_text(page.html().replace(PLACE, everywhere), encoding="utf-8")

    settings: dict[str, Any] = {"pagename": "document.documentElement.dataset.pagename", **options}
    with (site / "_static" / OPTIONS).open("a", encoding="utf-8") as file:
        file.write("".join(f"\nDOCUMENTATION_OPTIONS.{k} = {v};" for k, v in settings.items()))
