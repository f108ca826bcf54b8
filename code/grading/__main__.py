"""Grade the submissions of a class: `python -m grading SUBMISSIONS OUT`.

``python -m grading report OUT`` writes the reports again, after marks, weights or late days have
been changed. `make grade` calls the first.
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from grading import box, gradebook, jobs, making, roster, scoring

ROOT = Path(__file__).resolve().parents[2]
#: Where `make assignments` puts what it makes.
MADE = ROOT / "_build" / "assignments"
#: What is printed as it is, without a traceback: it says what to do.
PLAIN = (ValueError, OSError, box.Refusal)


def read_bundle(path: Path) -> dict[str, Any]:
    """Read what `make assignments` wrote for grading.

    Parameters
    ----------
    path : Path
        The file ``bundle.json``.

    Returns
    -------
    dict
        See :func:`grading.making.bundle`.

    Raises
    ------
    FileNotFoundError
        If it has not been made.
    ValueError
        If it is none of ours, or of another edition of the set.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}: make the sets with the key of the class, make assignments "
            "CLASS_KEY_FILE=..., or name the bundle with --bundle"
        )
    bundle = json.loads(path.read_text(encoding="utf-8"))
    if type(bundle) is not dict or not {"set", "numbers", "key_check", "questions"} <= set(bundle):
        raise ValueError(f"{path} is no bundle of `make assignments`")
    questions = [(q.name, q.points) for q in making.load(bundle["set"]).questions]
    if questions != [(q["name"], q["points"]) for q in bundle["questions"]]:
        raise ValueError(
            f"{path} was made from another edition of the set {bundle['set']!r}: check out the "
            "edition that the class has, or make the sets again with the same key"
        )
    return bundle


def find_bundle(submissions: Sequence[Path], named: str | None, bundle: Path | None) -> Path:
    """Decide which set is graded: the one that is named, or else the one that most files claim.

    Parameters
    ----------
    submissions : sequence of Path
        Files.
    named : str, optional
        A set.
    bundle : Path, optional
        A bundle, or the folder that it is in.

    Returns
    -------
    Path
        Of the bundle.

    Raises
    ------
    ValueError
        If no file says which set it is of.
    """
    if bundle:
        return bundle / "bundle.json" if bundle.is_dir() else bundle
    if named is None:
        claims: Counter[str] = Counter()
        for path in submissions:
            with path.open("rb") as file:
                content = file.read(scoring.LARGEST)
            claims.update(re.findall(r'"set": "([a-z_]+)"', content.decode("utf-8", "replace"))[:1])
        known = [name for name, _ in claims.most_common() if name in making.names()]
        if not known:
            raise ValueError(
                f"no submission says which set it is of; name one with --set: "
                f"{', '.join(making.names())}"
            )
        named = known[0]
    return MADE / named / "probes" / "bundle.json"


def safe(name: str) -> str:
    """Name the files that belong to a submission, whatever the name of the upload."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem).strip("-")[:40]
    return f"{stem or 'upload'}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def grade(arguments: argparse.Namespace) -> int:
    """Grade a folder of submissions and write the reports.

    Parameters
    ----------
    arguments : argparse.Namespace
        From the command line.

    Returns
    -------
    int
        The exit code.
    """
    folder, out = Path(arguments.submissions), Path(arguments.out)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder of submissions")
    if out.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{out} is inside of {folder}: reports would be graded the next time")
    security = None
    if arguments.scheduler:
        security = jobs.security_for(
            arguments.scheduler, arguments.tls_ca, arguments.tls_cert, arguments.tls_key
        )
    files = roster.find(folder)
    if not files:
        raise ValueError(f"{folder} holds no notebook")
    who = roster.identify(files, arguments.roster, folder)
    opened = [path for path in files if who[path][1] != "symlink"]
    path = find_bundle(opened, arguments.set, arguments.bundle)
    bundle = read_bundle(path)
    asked = [q["name"] for q in bundle["questions"]]
    if arguments.question not in (None, *asked):
        raise ValueError(f"the set has no {arguments.question}; it has {', '.join(asked)}")
    private = out / "private"
    private.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, private / "bundle.json")
    for source, name in [
        (arguments.roster, "roster.csv"),
        (path.parent.parent / "rubric.html", "rubric.html"),
    ]:
        if source and Path(source).is_file():
            shutil.copy(source, private / name)

    names = {path: safe(path.relative_to(folder).as_posix()) for path in files}
    seeds = jobs.seeds(private / "seeds.json", list(names.values()))
    with tempfile.TemporaryDirectory(prefix="boxes-") as boxes:
        Path(boxes).chmod(0o755)
        if not arguments.scheduler and not arguments.unsafe_no_box:
            box.check(Path(boxes))
        tasks, about = {}, {}
        for each in files:
            student, identity = who[each]
            link = identity == "symlink"
            tasks[names[each]] = scoring.Task(
                set=bundle["set"],
                numbers=bundle["numbers"],
                key_check=bundle["key_check"],
                name=each.relative_to(folder).as_posix(),
                content=b"" if link else content_of(each),
                seed=seeds[names[each]],
                only=arguments.question,
                boxed=not arguments.unsafe_no_box,
                boxes="" if arguments.scheduler else boxes,
            )
            about[names[each]] = {
                "student": student,
                "identity": identity,
                "modified": each.lstat().st_mtime,
            }
        done = run(tasks, about, out, arguments, security)
    for stale in set((private / "results").glob("*.json")) - {
        private / "results" / f"{name}.json" for name in tasks
    }:
        stale.unlink()  # of an upload that was taken back
    gradebook.write(out)
    print(f"{done} graded, {len(tasks) - done} unchanged. Begin with {out / 'private/index.html'}.")
    return 0


def content_of(path: Path) -> bytes:
    """Read a file, but no more of it than is looked at."""
    with path.open("rb") as file:
        return file.read(scoring.LARGEST + 1)


def run(
    tasks: dict[str, scoring.Task],
    about: dict[str, dict[str, Any]],
    out: Path,
    arguments: argparse.Namespace,
    security: Any,
) -> int:
    """Grade, and show how far it is."""
    columns = (
        TextColumn("grading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=None)

        def tell(name: str, result: dict[str, Any]) -> None:
            progress.advance(bar)

        return jobs.grade_all(
            tasks,
            out,
            about=about,
            scheduler=arguments.scheduler,
            security=security,
            workers=arguments.workers,
            progress=tell,
        )


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m grading",
        description="Grade a folder of submissions, each in a box, and write reports.",
        epilog="python -m grading report OUT writes the reports again, after new marks.",
    )
    made.add_argument("submissions", help="folder of notebooks, as the learning platform gives it")
    made.add_argument("out", help="folder for results and reports")
    made.add_argument("--set", help="the set; without it, the one that most notebooks name")
    made.add_argument("--bundle", type=Path, help="bundle.json, if it is not in _build/assignments")
    made.add_argument("--roster", type=Path, help="the class: CSV with student, name, email")
    made.add_argument("--question", help="grade only this one again")
    made.add_argument("--workers", type=int, help="processes on this machine; one a core")
    made.add_argument("--scheduler", help="a Dask scheduler whose workers grade, tls://...")
    for name in ("ca", "cert", "key"):
        made.add_argument(f"--tls-{name}", help=f"file with the {name} for tls://")
    made.add_argument(
        "--unsafe-no-box",
        action="store_true",
        help="run submissions with your own rights: every report says so",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Its arguments; those of the process, if none are given.

    Returns
    -------
    int
        The exit code: 1 if something was wrong, which is then said.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["report"]:
            if len(given) != 2:
                parser().error("report takes the folder of the reports")
            gradebook.write(Path(given[1]))
            return 0
        return grade(parser().parse_args(given))
    except PLAIN as error:
        print(f"Nothing more was graded: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
