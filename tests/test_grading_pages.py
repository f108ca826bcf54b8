"""Pages: nothing that a student wrote runs, and everybody can read them."""

import base64
import csv
import html
import io
import json
import re
import zlib

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from grading_class import png, result, write_class
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from grading import gradebook, pages

SCRIPT = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
HOSTILE = [
    SCRIPT,
    "[press](javascript:window.hacked=1) [here](JaVaScRiPt:alert(1)) <javascript:alert(1)>",
    "[x](data:text/html;base64,PHNjcmlwdD4=) [y](vbscript:x) [z](file:///etc/passwd)",
    "![pixel](https://tracker.example/p.png) <svg onload='window.hacked = 1'><script>1</script>",
    "<style>body { display: none }</style><iframe src='https://e.example'></iframe>",
    "[a]: javascript:alert(1)\n\n[a]",
    "`</code><script>window.hacked = 1</script>`",
    "```\n</pre><script>window.hacked = 1</script>\n```",
    "| a |\n|---|\n| <script>window.hacked = 1</script> |",
    "<a href='https://e.example' style='position:fixed;inset:0'>x</a>",
    '<a href="&#106;avascript:alert(1)">x</a>',
    "{{ 7 * 7 }} {% raw %}",
    "\u202egnp.exe \0 \x1b[31m",
    ">" * 5000 + "x",
    "[" * 5000,
    "*" * 20_000,
    "# Title\n## Two\n###### Six",
    r"$\text{<script>window.hacked = 1</script>}$ $$\href{javascript:alert(1)}{x}$$",
    r"$\htmlStyle{position:fixed}{x} \htmlClass{a}{x} \includegraphics{https://e.example/p.png}$",
    r"$\color{red}\def\a{\a}\a$ $\rule{99999em}{99999em}$ $\kern{99999em}$",
    "$" + "{" * 1900 + "}" * 100 + "$",
    "$$\\begin{matrix}" + "&" * 1950 + "\\end{matrix}$$",
]
ALLOWED = pages.TAGS


def tree(text):
    return BeautifulSoup(text, "html.parser")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_paragraph_holds_only_harmless_html(text):
    check_paragraph(text)


@given(
    st.lists(
        st.sampled_from(
            [
                "<script>",
                "</",
                "javascript:",
                "](",
                "[",
                "![",
                "`",
                "<svg onload=x>",
                "&#106;",
                "<!--",
                "-->",
                "\n",
                "> ",
                "|",
                "---",
                "a",
                "<a href=",
                "style=",
                '"',
                "'",
                "\0",
                "\u202e",
                "$",
                r"\text{",
                r"\href{",
                "}",
            ]
        ),
        max_size=12,
    )
)
def test_no_mixture_gets_through(parts):
    check_paragraph("".join(parts))


def check_paragraph(text):
    for tag in tree(str(pages.paragraph(text))).find_all(True):
        assert tag.name in ALLOWED
        assert set(tag.attrs) <= set(pages.ATTRIBUTES.get(tag.name, []))
        assert tag.name == "a" or set(tag.attrs).isdisjoint({"href", "src", "style", "class"})
        assert not any(name.startswith("on") for name in tag.attrs)
        link = tag.attrs.get("href", "https:")
        # A relative link leads nowhere on a page that lies alone.
        assert re.match(r"https?:|mailto:|[^:]*$", link), link


def test_markdown_that_means_no_harm_is_rendered():
    text = (
        "# Title\n\nSee **this** and [that](https://e.example).\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    )
    shown = tree(str(pages.paragraph(text)))
    assert [tag.name for tag in shown.find_all(True)][:4] == ["h3", "p", "strong", "a"]
    assert [cell.text for cell in shown.find_all(["th", "td"])] == ["a", "b", "1", "2"]


def test_formulas_are_shown():
    parts = (r"For $2\sigma$:", r"$$\frac{a}{b}$$", r"\begin{align}x&=1\end{align}")
    text = "\n\n".join(parts)
    first, second, third = tree(str(pages.paragraph(text))).find_all("math")
    assert first.get("display") is None
    assert [tag.name for tag in first.semantics.mrow.find_all(True)] == ["mn", "mi"]
    assert second["display"] == third["display"] == "block"
    assert second.mfrac is not None
    assert third.mtable is not None


def test_a_formula_that_cannot_be_read_stays_as_it_was_typed():
    for typed in (r"\frac{1", r"\undefined", "x" * 3000):
        shown = tree(str(pages.paragraph(f"So ${typed}$.")))
        assert shown.code.text == typed
        assert shown.text.strip() == f"So {typed}."


def test_sizes_of_a_formula_are_limited():
    space = tree(str(pages.paragraph(r"$a\kern{9999em}b$"))).mspace
    assert space["width"] == "5em"


def test_a_huge_text_is_cut_off_and_says_so():
    shown = str(pages.paragraph("word " * 1_000_000))
    assert len(shown) < 2 * pages.PARAGRAPH
    assert "Cut off: there are 5,000,000 characters." in shown
    assert pages.short("x" * 600).endswith("(600 characters)")


# Figures -----------------------------------------------------------------------------------------


def decoded(uri):
    head, _, content = uri.partition(",")
    assert head == "data:image/png;base64"
    return base64.b64decode(content)


def test_a_figure_is_written_anew():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", "<script>alert(1)</script>")
    buffer = io.BytesIO()
    Image.new("RGBA", (3000, 20), (0, 0, 0, 0)).save(buffer, format="PNG", pnginfo=info)
    dirty = buffer.getvalue() + b"<script>alert(1)</script>"
    assert b"script" in dirty
    clean = decoded(pages.figure(base64.b64encode(dirty).decode()))
    assert b"script" not in clean
    with Image.open(io.BytesIO(clean)) as image:
        assert image.width == pages.SIDE
        assert image.getpixel((0, 0)) == (255, 255, 255)


def chunk(kind, content):
    crc = zlib.crc32(kind + content).to_bytes(4)
    return len(content).to_bytes(4) + kind + content + crc


def bomb(width, height):
    """A PNG of a few bytes which says that it is huge."""
    head = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    "figure",
    [
        base64.b64encode(SVG.encode()).decode(),
        SVG,
        "not base64!",
        "",
        base64.b64encode(b"\x89PNG\r\n\x1a\nrubbish").decode(),
        bomb(100_000, 100_000),
        bomb(12_000, 12_000),
        bomb(2**31 - 1, 2**31 - 1),
        bomb(10, 10),
        png()[: len(png()) // 2],
        "A" * (pages.FIGURE + 1),
        7,
        {"a": 1},
        None,
    ],
)
def test_what_is_no_figure_is_refused(figure):
    assert pages.figure(figure) is None


def test_a_figure_of_too_many_pixels_is_not_decoded(monkeypatch):
    assert pages.figure(png()) is not None
    monkeypatch.setattr(pages, "PIXELS", 60 * 40 - 1)
    assert pages.figure(png()) is None


@given(st.binary(max_size=200))
def test_no_bytes_break_it(content):
    real = base64.b64decode(png())
    broken = base64.b64encode(real[:30] + content + real[40:]).decode()
    uri = pages.figure(broken)
    assert uri is None or decoded(uri).startswith(b"\x89PNG")


# Whole pages -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A class in which every place that a student can write to is hostile."""
    results = []
    for number, text in enumerate(HOSTILE):
        each = result(
            f"{number}{text[:200]}",
            file=f"{text[:100]}.ipynb",
            reasons=[text],
            status="crashed",
            manual=[{"name": "q3", "figure": SVG if number % 2 else png(), "text": text}],
        )
        each["questions"][0]["checks"][0]["text"] = text
        each["questions"][1]["section"] = "javascript:alert(1)"
        results.append(each)
    results.append(result(SCRIPT, identity="duplicate"))
    results.append(result(None, identity=SCRIPT, file=SCRIPT))
    quoted = [text[:200].replace('"', '""') for text in HOSTILE]
    lines = [
        f'"{number}{text}","{SCRIPT}",'
        for number, text in enumerate(quoted)
        if "\0" not in text and "\n" not in text
    ]
    out = write_class(tmp_path_factory.mktemp("hostile"), results, lines)
    gradebook.write(out)
    return out


def test_no_page_holds_what_could_run(hostile):
    made = sorted(hostile.rglob("*.html"))
    assert len(made) > 30
    for path in made:
        page = tree(path.read_text(encoding="utf-8"))
        marking = path.parent.name == "marking"
        assert len(page.find_all("script")) == marking
        for tag in page.find_all(True):
            assert tag.name not in ("iframe", "object", "embed", "form", "base")
            assert not [name for name in tag.attrs if name.startswith("on") or name == "style"]
            for name in ("src", "href"):
                link = tag.attrs.get(name, "")
                assert not re.match(r"\s*(javascript|vbscript|file):", link, re.I)
                if tag.name != "link":
                    assert not link.startswith("data:") or link.startswith("data:image/png;base64,")
        assert not set("\0\x1b\u202e") & set(path.read_text(encoding="utf-8"))
        policy = page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert ("script-src 'sha256-" in policy) == marking


def test_a_page_for_a_student_says_nothing_about_others_or_how_they_were_found_out(tmp_path):
    results = [
        result("alice", status="suspicious", reasons=["opened the grader's files"]),
        result("bob", seed=987654321),
    ]
    out = write_class(tmp_path, results, ["alice,Alice A,a@example.edu", "bob,Bob B,"])
    gradebook.write(out)
    (alice,) = (out / "return").glob("alice-*")
    (bob,) = (out / "return").glob("bob-*")
    first, second = alice.read_text(), bob.read_text()
    assert "opened the grader" not in first
    assert "needs a person to look at it" in html.unescape(first)
    assert "Bob" not in first
    assert "Alice" not in second
    for hidden in ("987654321", "a@example.edu", "private", "Say **", "seed"):
        assert hidden not in first + second
    assert "../" not in second
    assert "opened the grader" in html.unescape(
        next((out / "private" / "submissions").glob("alice-*")).read_text()
    )


def test_a_page_says_what_was_checked_and_where_to_read_on(tmp_path):
    results = [result("s1", points=(2.0, 0.0), late_days=1)]
    out = write_class(
        tmp_path, results,
        marks="student,question,points,comment\ns1,q3,4,Say *why* <b>\n",
        settings="[late]\npercent_per_day = 10\n",
    )  # fmt: skip
    gradebook.write(out)
    (path,) = (out / "return").iterdir()
    page = tree(path.read_text())
    words = " ".join(page.find("main").get_text(" ").split())
    assert "5.4 of 10 points" in words
    assert "1 day late cost 0.6" in words
    assert "right The mean is right 2 of 2" in words
    assert "not yet The mean is right 0 of 3" in words
    assert "Say *why* <b>" in words
    links = [a["href"] for a in page.find_all("a")]
    assert links == [pages._site() + "pooling.html#pooling"] * 3


def test_without_a_box_every_page_says_so(tmp_path):
    out = write_class(tmp_path, [result("s1", boxed=False)])
    gradebook.write(out)
    for path in out.rglob("*.html"):
        if path.parent.name != "marking":
            assert "without a box" in path.read_text(), path


def test_the_rubric_stands_beside_the_answers(tmp_path):
    out = write_class(tmp_path, [result("s1")])
    text = "<main><h1>R</h1><h2>Question 3: x (5 points)</h2><p>Sees it<script>1</script></p>"
    text += "<h2>Question 33: y</h2><p>Other</p></main>"
    (out / "private" / "rubric.html").write_text(text)
    gradebook.write(out)
    aside = tree((out / "private" / "marking" / "q3.html").read_text()).find("aside")
    assert "Sees it" in aside.text
    assert "Other" not in aside.text
    assert aside.find("h3").text == "Question 3: x (5 points)"


def test_without_a_rubric_the_page_says_how_to_make_one(tmp_path):
    results = [result("s1", set="no_such_set")]
    gradebook.write(write_class(tmp_path, results))
    assert "make assignments" in (tmp_path / "private" / "marking" / "q3.html").read_text()


# In a browser ------------------------------------------------------------------------------------


@pytest.fixture
def visit(browser):
    contexts = []

    def open_page(path, width=1280, theme="light"):
        contexts.append(
            browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
        )
        page = contexts[-1].new_page()
        page.complaints, page.requests = [], []
        page.on("console", lambda said: page.complaints.append(said.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda asked: page.requests.append(asked.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.browser
def test_nothing_hostile_runs_or_is_fetched(hostile, visit):
    made = [*sorted(hostile.glob("private/*.html")), *hostile.glob("private/marking/*.html")]
    made += sorted(hostile.glob("private/submissions/*.html"))[:6]
    made += sorted(hostile.glob("return/*.html"))[:6]
    for path in made:
        page = visit(path)
        assert page.evaluate("window.hacked") is None
        assert page.complaints == []
        assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_pages_are_accessible_and_fit(tmp_path, visit, width, theme):
    results = [result(f"s{i}", points=(i % 3, i % 4 * 0.7)) for i in range(8)]
    results[1] |= {"status": "crashed", "reasons": ["cell 4 stopped"]}
    results[2]["questions"][1] |= {"status": "timed out", "points": 0.0}
    results[3]["boxed"] = False
    results[4]["manual"][0]["text"] = (
        "# Big\n\n`" + "x" * 300 + "`\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    )
    results.append(result(None, identity="stranger", file="a" * 200))
    out = write_class(
        tmp_path, results, [f"s{i},Name {i},s{i}@example.edu" for i in range(9)],
        marks="student,question,points,comment\ns0,q3,4,Good\ns5,q3,2,\n",
    )  # fmt: skip
    (out / "private" / "rubric.html").write_text(
        "<main><h2>Question 3</h2><table><tr><th>Level</th></tr><tr><td>All</td></tr></table>"
        "</main>"
    )
    gradebook.write(out)
    made = [out / "private" / name for name in ("index.html", "summary.html", "marking/q3.html")]
    made += [next(out.glob(f"return/s{i}-*")) for i in (0, 1)]
    made += [next(out.glob(f"private/submissions/s{i}-*")) for i in (4,)]
    for path in made:
        page = visit(path, width, theme)
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) == 0, path
        results = Axe().run(page, options={"resultTypes": ["violations"], "preload": False})
        assert results.violations_count == 0, f"{path}: {results.generate_report()}"
        assert page.complaints == []


@pytest.mark.browser
def test_marks_are_typed_kept_downloaded_and_read(tmp_path, visit):
    names = ["=cmd", "s2", "s3, the third", 's4 "x"']
    out = write_class(tmp_path, [result(name) for name in names])
    gradebook.write(out)
    path = out / "private" / "marking" / "q3.html"
    page = visit(path)

    def type_in(student, points, comment):
        card = page.locator(
            "section", has=page.locator(f"input[data-student={json.dumps(student)}]")
        )
        card.locator("input").fill(points)
        card.locator("textarea").fill(comment)

    assert page.locator("#progress").inner_text() == "0 of 4 marked."
    type_in("'=cmd", "4.5", '=HYPERLINK("x"), well')
    type_in("s3, the third", "2", "Two lines\nhere; =1")
    type_in("s2", "7", "")
    assert page.locator("#download").is_disabled()
    assert "out of range" in page.locator("#progress").inner_text()
    type_in("s2", "0", "")
    type_in('s4 "x"', "", "Later")
    assert page.locator("#progress").inner_text() == "3 of 4 marked."
    page.reload()  # what was typed is kept
    assert page.locator("#progress").inner_text() == "3 of 4 marked."
    with page.expect_download() as waiting:
        page.locator("#download").click()
    assert waiting.value.suggested_filename == "q3.csv"
    waiting.value.save_as(out / "private" / "marks" / "q3.csv")
    assert page.complaints == []
    text = (out / "private" / "marks" / "q3.csv").read_text()
    rows = list(csv.reader(io.StringIO(text)))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]
    gradebook.write(out)
    marked = {e.key: (e.rows[2].points, e.rows[2].comment) for e in gradebook.read(out).entries}
    assert marked == {
        "=cmd": (4.5, '=HYPERLINK("x"), well'),
        "s2": (0.0, ""),
        "s3, the third": (2.0, "Two lines here; =1"),
        's4 "x"': (None, ""),
    }
    page.goto(path.as_uri())  # the new page starts from the marks
    assert page.locator("#progress").inner_text() == "3 of 4 marked."
