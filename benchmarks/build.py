"""Time the build of the book against a plain one.

    python benchmarks/build.py --write

The chapters of the last commit are built in copies of the repository:

- `ours`: as `make book` does it, cold (no cache of any kind), then warm;
- `plain`: one after the other by `jupyter-book build`, with the sampler that `pm.sample`
  has built in, no fits shared, cold. In that copy `funnel.fitting.fit` takes
  `sampler="pymc"` and does not assert: with another sampler other fits pass. A build that
  takes `LIMIT` times as long as ours is stopped: the ratio is then at least that.

CPU seconds are noted beside wall seconds, and the most memory that the processes of the
build held at a time: pages that they share count once for each of them.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from io import BytesIO
from pathlib import Path

import pandas as pd
import psutil
import results
import yaml
from jupyter_cache import get_cache

#: What is different in the copy that stands for a plain build: old text, new text.
CHANGES = [
    (
        'sampler: Literal["nutpie", "pymc"] = "nutpie"',
        'sampler: Literal["nutpie", "pymc"] = "pymc"',
    ),
    (
        "    if expect_failure is None:\n        return draws\n    table",
        "    return draws\n    table",
    ),
]

#: A plain build is stopped when it has taken this many times as long as ours.
LIMIT = 3.5

TINY = """---
file_format: mystnb
kernelspec:
  name: python3
  display_name: Python 3
---
# One small fit

```{code-cell} python
from funnel import data, fitting, models

schools = models.eight_schools(data.load_eight_schools(), effects="noncentered")
few = fitting.fit(schools, seed=1, tune=100, draws=100, expect_failure=None)
```
"""


def copy_of(repository: Path, folder: Path) -> Path:
    """Unpack what the last commit holds."""
    packed = subprocess.run(["git", "archive", "HEAD"], cwd=repository, capture_output=True)
    packed.check_returncode()
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def shrink(copy: Path) -> None:
    """Leave one page with one small fit: enough to try the benchmark itself."""
    for page in (copy / "book").glob("*.md"):
        page.unlink()
    (copy / "book" / "index.md").write_text("# Index\n", encoding="utf-8")
    (copy / "book" / "page.md").write_text(TINY, encoding="utf-8")
    toc = {"format": "jb-book", "root": "index", "chapters": [{"file": "page"}]}
    (copy / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")


def make_plain(copy: Path) -> None:
    """Turn the default sampler to PyMC's own, assert nothing, and run all cells come what may."""
    source = copy / "code" / "funnel" / "fitting.py"
    text = source.read_text(encoding="utf-8")
    for old, new in CHANGES:
        if text.count(old) != 1:
            raise ValueError(f"{source.name} has changed: {old!r} is in it {text.count(old)} times")
        text = text.replace(old, new)
    source.write_text(text, encoding="utf-8")
    config = yaml.safe_load((copy / "_config.yml").read_text(encoding="utf-8"))
    config["execute"] |= {"allow_errors": True, "raise_on_error": False, "timeout": 3600}
    (copy / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")


class Memory(threading.Thread):
    """The most memory that a process and its descendants hold at a time, in megabytes."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process(process)
        self.peak = 0.0
        self.done = threading.Event()

    def run(self) -> None:
        """Look four times a second."""
        while not self.done.wait(0.25):
            held = 0
            try:
                for each in [self.process, *self.process.children(recursive=True)]:
                    held += each.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self.peak = max(self.peak, held / 1e6)


def cpu_seconds() -> float:
    """CPU time of the processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def build(kind: str, copy: Path, scratch: Path, limit: float | None) -> dict[str, float]:
    """Build the book in a copy; wall and CPU seconds, the peak of memory, and whether it ended."""
    bin_folder = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(copy / "code"),
        # Nothing that was compiled for an earlier build.
        "PYTENSOR_FLAGS": f"base_compiledir={scratch}",
    }
    environment.pop("FUNNEL_FIT_CACHE", None)
    if kind == "ours":
        command = [sys.executable, "-m", "bookbuild"]
    else:
        command = [str(bin_folder / "jupyter-book"), "build", "book/", "--config", "_config.yml"]
        command += ["--toc", str(copy / "_toc.yml"), "--path-output", "."]
    log = copy / "build.log"
    with log.open("a", encoding="utf-8") as output:
        cpu, start = cpu_seconds(), time.perf_counter()
        process = subprocess.Popen(
            command, cwd=copy, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        memory = Memory(process.pid)
        memory.start()
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
            for each in [*psutil.Process(process.pid).children(recursive=True), process]:
                each.kill()
            process.wait()
        seconds = time.perf_counter() - start
        memory.done.set()
    if status not in (0, None):
        tail = log.read_text(encoding="utf-8")[-3000:]
        raise RuntimeError(f"the {kind} build ended with {status}:\n{tail}")
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds() - cpu, 1),
        "peak_mb": round(memory.peak),
        "finished": status == 0,
    }


def executed(copy: Path) -> dict[str, tuple[float, int]]:
    """Seconds that each page took to execute, and how many of its cells failed."""
    folders = [path.parent for path in (copy / "_build").rglob("global.db")]
    if len(folders) != 1:
        raise ValueError(f"one execution cache expected, found {folders}")
    cache = get_cache(folders[0])
    found = {}
    for record in cache.list_cache_records():
        cells = cache.get_cache_bundle(record.pk).nb.cells
        outputs = [out for cell in cells for out in cell.get("outputs", [])]
        failed = sum(out["output_type"] == "error" for out in outputs)
        found[Path(record.uri).stem] = (round(record.data["execution_seconds"], 1), failed)
    return found


def measure(scratch: Path, *, quick: bool) -> list[dict]:
    """Run the builds one after the other; a row for each build and each page in it."""
    rows: list[dict] = []
    copies = {}
    limit = None
    for kind, state in [("ours", "cold"), ("ours", "warm"), ("plain", "cold")]:
        if kind not in copies:
            copies[kind] = copy_of(results.ROOT, scratch / kind)
            if quick:
                shrink(copies[kind])
            if kind == "plain":
                make_plain(copies[kind])
                limit = LIMIT * rows[0]["seconds"]
        load = os.getloadavg()[0]
        whole = build(kind, copies[kind], scratch / f"compiled-{kind}", limit)
        pages = executed(copies[kind])
        shared = {"build": kind, "state": state, "load_before": round(load, 2)}
        failed = sum(failed for _, failed in pages.values())
        rows.append({**shared, "what": "book", **whole, "failed_cells": failed})
        print(rows[-1], flush=True)
        if state == "cold":
            for page, (seconds, failed) in sorted(pages.items()):
                rows.append({**shared, "what": page, "seconds": seconds, "failed_cells": failed})
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write to data/benchmarks")
    parser.add_argument("--quick", action="store_true", help="a book of one page: a trial")
    parser.add_argument("--folder", type=Path, help="write there instead")
    arguments = parser.parse_args()
    notes = results.conditions(["jupyter-book", "pymc", "pytensor", "nutpie", "numba"])
    scratch = Path(tempfile.mkdtemp(prefix="build-"))
    try:
        rows = measure(scratch, quick=arguments.quick)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    cold = table[(table["what"] == "book") & (table["state"] == "cold")]
    seconds, ended = cold.set_index("build")["seconds"], cold.set_index("build")["finished"]
    words = "takes" if ended["plain"] else "was stopped after"
    print(f"cold: plain {words} {seconds['plain'] / seconds['ours']:.1f} times as long as ours")
    if arguments.write or arguments.folder:
        results.write("build", rows, notes, arguments.folder)


if __name__ == "__main__":
    main()
