"""Grade a synthetic class of 200, hostile notebooks among them, from the documented commands.

    python benchmarks/classroom.py --write

A clone of the last commit makes its own environment, a class key and the sets. The class hands in:
honest submissions of every kind, notebooks that attack the box or the scores (those of
`tests/hostile.py`), two uploads of one student, a stranger, a link, files that are no notebooks.
Two worker processes grade it, and one of them is killed midway. Then every upload must have been
reported once, with the status and the points that it deserves.

Beside it: the time that a full solution of each set takes, and honest submissions per minute by
one worker and by two.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import results

from grading import key, making, rehearsal

sys.path.insert(0, str(results.ROOT / "tests"))
from hostile import RIGHT_ANSWERS, WRONG_ANSWERS

SET = "pooling"


def upload(kind: str, class_key: bytes, before: tuple[str, ...] = (), after: tuple[str, ...] = ()):
    """Write what a student of one kind hands in, with cells of an attacker around it."""
    content = json.loads(making.write_notebook(making.archetype(making.load(SET), kind, class_key)))

    def cells(sources: tuple[str, ...]) -> list[dict[str, Any]]:
        return [
            {"cell_type": "code", "metadata": {}, "source": each, "outputs": []} for each in sources
        ]

    content["cells"] = [*cells(before), *content["cells"], *cells(after)]
    return json.dumps(content).encode()


def hand_in(class_key: bytes, count: int) -> Iterator[dict[str, Any]]:
    """Yield the uploads of a class: name, content, and what is to be found.

    A status of None may be any; `most` is the most that there may be.
    """
    problems = making.load(SET)
    points = {kind: rehearsal.expected(problems, kind) for kind in making.KINDS}
    nothing = dict.fromkeys(points["full"], 0.0)

    def student(number: int, content: bytes | None, **wanted: Any) -> dict[str, Any]:
        return {"name": f"s{number:03d}.ipynb", "content": content, **wanted}

    number = itertools.count()
    for before, after, status, worth in RIGHT_ANSWERS.values():
        yield student(
            next(number),
            upload("full", class_key, tuple(before), tuple(after)),
            status=status if isinstance(status, tuple) else status and (status,),
            points=None if worth is None else points["full"] if any(worth.values()) else nothing,
        )
    for attack in WRONG_ANSWERS.values():
        content = upload("wrong_idea", class_key, (attack,))
        # An attack may spoil the answers that it comes with.
        yield student(next(number), content, status=None, most=points["wrong_idea"], points=None)
    broken = [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"x" * 200_000_000, b'{"nbformat": NaN}']
    for content in broken:
        yield student(next(number), content, status=("unreadable",), points=nothing)
    yield student(
        next(number), upload("full", key.DEMONSTRATION), status=("suspicious",), points=nothing
    )
    yield student(next(number), None, status=("unreadable",), points=nothing)  # a link
    yield {
        "name": "nobody.ipynb", "content": upload("full", class_key), "status": ("graded",),
        "points": points["full"], "identity": "stranger",
    }  # fmt: skip
    twice = next(number)
    half = {"status": ("graded",), "points": points["half"], "identity": "duplicate"}
    for name in (f"s{twice:03d}.ipynb", f"s{twice:03d}-2.ipynb"):
        yield {"name": name, "content": upload("half", class_key), **half}
    made = len(RIGHT_ANSWERS) + len(WRONG_ANSWERS) + len(broken) + 5
    for kind in itertools.islice(itertools.cycle(making.KINDS), count - made):
        yield student(
            next(number), upload(kind, class_key), status=("graded",), points=points[kind]
        )


def write_class(folder: Path, uploads: list[dict[str, Any]]) -> tuple[Path, Path]:
    """Write the uploads, and the roster of those who are students."""
    place = folder / "uploads"
    names = set()
    for each in uploads:
        path = place / each["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if each["content"] is None:
            path.symlink_to("/etc/passwd")
        else:
            path.write_bytes(each["content"])
        names |= {path.stem.partition("-")[0]} - {"nobody"}
    roster = folder / "class.csv"
    lines = [f'{name},"Student {name}",{name}@example.org' for name in sorted(names)]
    roster.write_text("\n".join(["student,name,email", *lines]) + "\n", encoding="utf-8")
    return place, roster


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Find the processes in which Dask grades, among all that a command has started."""
    found = []
    for each in process.children(recursive=True):
        try:
            if "spawn_main" in " ".join(each.cmdline()) and each.name() != "bwrap":
                found.append(each)
        except psutil.Error:
            continue
    return found


def run(clone: Path, *words: str, kill_after: int | None = None, out: Path | None = None) -> float:
    """Run a target of make in the clone; kill a worker once so many have been graded.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    start = time.perf_counter()
    process = subprocess.Popen(["make", *words], cwd=clone, env={**os.environ, "COLUMNS": "80"})
    killed = threading.Event()
    while process.poll() is None:
        time.sleep(0.5)
        if kill_after is None or killed.is_set() or out is None:
            continue
        if len(list((out / "private" / "results").glob("*.json"))) >= kill_after:
            victim = workers_of(psutil.Process(process.pid))[0]
            victim.kill()
            killed.set()
            print(f"worker {victim.pid} is killed", flush=True)
    if process.returncode:
        raise RuntimeError(f"make {' '.join(words)} ended with {process.returncode}")
    if kill_after is not None and not killed.is_set():
        raise RuntimeError("the class was graded before a worker was killed")
    return time.perf_counter() - start


def faults(uploads: list[dict[str, Any]], out: Path) -> list[str]:
    """Say what is not as it should be."""
    files = [json.loads(p.read_text()) for p in (out / "private" / "results").glob("*.json")]
    found: dict[str, list[dict[str, Any]]] = {}
    for each in files:
        found.setdefault(each["file"], []).append(each)
    said = [f"{name} was not handed in" for name in set(found) - {e["name"] for e in uploads}]
    for each in uploads:
        if len(mine := found.get(each["name"], [])) != 1:
            said.append(f"{each['name']} is reported {len(mine)} times")
            continue
        (one,) = mine
        points = {q["name"]: q["points"] for q in one["questions"] if q["status"] != "manual"}
        told = {"status": one["status"], "points": points, "identity": one["identity"]}
        if each["status"] and one["status"] not in each["status"]:
            said.append(f"{each['name']}: {told}, but {each['status']} was expected")
        if each["points"] is not None and points != each["points"]:
            said.append(f"{each['name']}: {told}, but {each['points']} was expected")
        if any(points[q] > most for q, most in each.get("most", {}).items()):
            said.append(f"{each['name']}: {told}, but {each['most']} is the most")
        if one["identity"] != each.get("identity", one["identity"]):
            said.append(f"{each['name']}: {told}, but {each['identity']} was expected")
    return said


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write to data/benchmarks")
    parser.add_argument("--folder", type=Path, help="write there instead")
    parser.add_argument("--class", dest="size", type=int, default=200, help="submissions")
    parser.add_argument("--rate", type=int, default=24, help="submissions whose pace is measured")
    parser.add_argument("--keep", type=Path, help="keep the graded class here, to look at")
    arguments = parser.parse_args()
    notes = results.conditions(["distributed", "otter-grader", "pymc"], set=SET)
    rows: list[dict[str, Any]] = []

    def note(part: str, workers: int, count: int, seconds: float) -> None:
        pace = round(60 * count / seconds, 2)
        row = {"part": part, "workers": workers, "submissions": count, "seconds": round(seconds, 1)}
        rows.append(row | {"per_minute": pace})
        print(rows[-1], flush=True)

    with tempfile.TemporaryDirectory(prefix="a class ") as name:
        place = Path(name)
        clone = place / "the course"
        subprocess.run(["git", "clone", "--quiet", str(results.ROOT), str(clone)], check=True)
        run(clone, ".venv/.ready")
        text = subprocess.run(
            [str(clone / ".venv/bin/python"), "-m", "grading.key"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        (place / "class.key").write_text(text)
        run(clone, "assignments", f"CLASS_KEY_FILE={place / 'class.key'}")
        class_key = key.read(text)

        for each in making.names():
            folder = place / f"one-{each}"
            folder.mkdir()
            notebook = making.archetype(making.load(each), "full", class_key)
            (folder / "s000.ipynb").write_text(making.write_notebook(notebook))
            out = place / f"out-{each}"
            run(clone, "grade", f"SUBMISSIONS={folder}", f"OUT={out}")
            (only,) = (out / "private" / "results").glob("*.json")
            note(each, 1, 1, json.loads(only.read_text())["seconds"])

        honest = [
            {"name": f"h{i:03d}.ipynb", "content": upload(kind, class_key)}
            for i, kind in zip(range(arguments.rate), itertools.cycle(making.KINDS), strict=False)
        ]
        uploads, _ = write_class(place / "honest", honest)
        for workers in (1, 2):
            words = [f"SUBMISSIONS={uploads}", f"OUT={place / f'rate-{workers}'}"]
            seconds = run(clone, "grade", *words, f"GRADING_OPTIONS=--workers {workers}")
            note("pace", workers, arguments.rate, seconds)

        whole = list(hand_in(class_key, arguments.size))
        uploads, roster = write_class(place / "class", whole)
        out = place / "graded"
        words = [f"SUBMISSIONS={uploads}", f"OUT={out}", f"ROSTER={roster}", f"SET={SET}"]
        seconds = run(
            clone, "grade", *words, "GRADING_OPTIONS=--workers 2",
            kill_after=arguments.size // 3, out=out,
        )  # fmt: skip
        note("class", 2, len(whole), seconds)
        wrong = faults(whole, out)
        print(*wrong or ["every submission is reported once, and as it should be"], sep="\n")
        notes |= {"hostile": len(RIGHT_ANSWERS) + len(WRONG_ANSWERS), "faults": len(wrong)}
        if arguments.keep:
            shutil.copytree(out, arguments.keep, dirs_exist_ok=True)
    if arguments.write or arguments.folder:
        results.write("classroom", rows, notes, arguments.folder)
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
