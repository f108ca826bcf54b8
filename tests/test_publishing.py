"""What is published: editions side by side, old addresses, metadata, workflows, the audit."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bookbuild import audit, editions, publishing

ROOT = Path(__file__).parents[1]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
ZENODO = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


# Metadata ------------------------------------------------------------------------------------


def test_zenodo_says_what_the_citation_says():
    assert ZENODO["title"] == CITATION["title"]
    assert ZENODO["version"] == CITATION["version"]
    assert ZENODO["description"] == CITATION["abstract"]
    assert ZENODO["keywords"] == CITATION["keywords"]
    assert [creator["name"] for creator in ZENODO["creators"]] == [
        author["name"] for author in CITATION["authors"]
    ]
    assert ZENODO["license"] in CITATION["license"]
    linked = {each["identifier"] for each in ZENODO["related_identifiers"]}
    assert linked == {CITATION["url"], CITATION["repository-code"]}


# Workflows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(path):
    used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_one_action_has_one_version():
    used = [re.findall(r"uses: ([^@]+)@(\w+)", path.read_text()) for path in WORKFLOWS]
    pins = {pin for found in used for pin in found}
    assert len({name for name, _ in pins}) == len(pins)


# Editions ------------------------------------------------------------------------------------


def git(repository, *arguments):
    names = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(repository), *names, *arguments]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    """A repository with two editions, whose book is one page that says its version."""
    root = tmp_path / "repository"
    root.mkdir()
    git(tmp_path, "init", "--quiet", "repository")
    recipe = "book:\n\t@mkdir -p _build/html && cp page.html _build/html/index.html\n"
    (root / "Makefile").write_text(recipe)
    (root / ".gitignore").write_text("_build\n")
    for version in ("v0.9", "v0.10", "other"):
        (root / "page.html").write_text(f"<p>{version}</p>")
        git(root, "add", ".")
        git(root, "commit", "--quiet", "--message", version)
        git(root, "tag", version)
    (root / "page.html").write_text("<p>main</p>")
    subprocess.run(["make", "book"], cwd=root, check=True)
    return root


def test_editions_stand_beside_main(repository, capsys):
    assert editions.main(repository) == 0
    assert "main, v0.10, v0.9" in capsys.readouterr().out
    pages = repository / "_build" / "pages"
    assert (pages / "index.html").read_text() == "<p>main</p>"
    for tag in ("v0.9", "v0.10"):
        assert (pages / "editions" / tag / "index.html").read_text() == f"<p>{tag}</p>"
    listed = json.loads((pages / "versions.json").read_text())
    assert [each["name"] for each in listed] == ["main", "v0.10", "v0.9"]
    assert all((pages / each["folder"] / "index.html").exists() for each in listed)
    trees = subprocess.run(
        ["git", "worktree", "list"], cwd=repository, capture_output=True, text=True
    )
    assert len(trees.stdout.splitlines()) == 1


def test_an_edition_is_kept_and_not_built_again(repository):
    editions.assemble(repository, repository / "_build" / "pages")
    git(repository, "tag", "--force", "v0.9", "other")
    git(repository, "tag", "--delete", "v0.10")
    editions.assemble(repository, repository / "_build" / "pages")
    for tag in ("v0.9", "v0.10"):
        page = repository / "_build" / "pages" / "editions" / tag / "index.html"
        assert page.read_text() == f"<p>{tag}</p>"


def test_an_edition_that_does_not_build_stops_it(repository):
    (repository / "Makefile").write_text("book:\n\t@false\n")
    git(repository, "commit", "--quiet", "--all", "--message", "broken")
    git(repository, "tag", "v1.0")
    with pytest.raises(subprocess.CalledProcessError):
        editions.assemble(repository, repository / "_build" / "pages")
    assert not (repository / "_build" / "editions" / "v1.0.zip").exists()


def test_editions_need_a_site(tmp_path, capsys):
    assert editions.main(tmp_path) == 1
    assert "make book" in capsys.readouterr().err


@pytest.mark.browser
def test_the_reader_switches_editions_and_stays_on_the_page(site, browser, tmp_path):
    from bookbuild.pdf import served

    top = tmp_path / "course"
    shutil.copytree(site, top)
    old = top / "editions" / "v0.1"
    shutil.copytree(site, old)
    (old / "capstone.html").unlink()
    (top / "versions.json").write_text(json.dumps(editions.versions(["v0.1"])))
    with served(tmp_path) as address:
        page = browser.new_page()
        page.goto(f"{address}course/funnel.html")
        switch = page.get_by_label("Edition")
        assert switch.input_value() == ""
        switch.select_option("v0.1")
        page.wait_for_url("**/course/editions/v0.1/funnel.html")
        switch = page.get_by_label("Edition")
        switch.wait_for()
        assert switch.input_value() == "editions/v0.1/"
        switch.select_option("newest")
        page.wait_for_url("**/course/funnel.html")
        page.goto(f"{address}course/capstone.html")
        page.get_by_label("Edition").select_option("v0.1")
        page.wait_for_url("**/course/editions/v0.1/index.html")
        page.close()


# Redirects -----------------------------------------------------------------------------------


@pytest.mark.browser
def test_an_old_address_leads_to_the_page(browser, tmp_path):
    from bookbuild.pdf import served

    (tmp_path / "new.html").write_text("<title>New</title>")
    faults = publishing.write_redirects(tmp_path, {"old": "new"}, "https://example.org/course/")
    assert faults == []
    text = (tmp_path / "old.html").read_text()
    assert '<link rel="canonical" href="https://example.org/course/new.html">' in text
    with served(tmp_path) as address:
        page = browser.new_page()
        page.goto(f"{address}old.html")
        page.wait_for_url("**/new.html")
        page.close()


def test_a_redirect_that_makes_no_sense_is_told(tmp_path):
    (tmp_path / "here.html").write_text("here")
    table = {"here": "here", "old": "nowhere"}
    faults = publishing.write_redirects(tmp_path, table, "https://example.org/")
    assert len(faults) == 2
    assert (tmp_path / "here.html").read_text() == "here"
    assert not (tmp_path / "old.html").exists()


# Audit ---------------------------------------------------------------------------------------


def package(*found, **others):
    return {"name": "p", "version": "1", "vulns": list(found), **others}


def test_audit_fails_on_a_finding_and_on_nothing_else():
    bad = package({"id": "X-1", "fix_versions": ["2"]})
    code, lines = audit.judge(json.dumps({"dependencies": [bad, package()]}))
    assert code == 1
    assert lines[0] == "p 1: X-1, mended in 2"
    assert audit.judge(json.dumps({"dependencies": [package()]}))[0] == 0


@pytest.mark.parametrize(
    "answer",
    ["", "no route to host", json.dumps({"dependencies": [{"name": "p", "skip_reason": "no"}]})],
)
def test_audit_that_could_not_look_says_so(answer):
    code, lines = audit.judge(answer)
    assert code == 0
    assert lines[0].startswith("Audit skipped")


def test_ci_audits():
    assert "make audit" in (ROOT / ".ci" / "run").read_text().splitlines()
