"""Where benchmarks put their numbers, and what they note beside them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "data" / "benchmarks"


def processor() -> str:
    """Name of the processor, as far as the system tells it."""
    lines = Path("/proc/cpuinfo")
    if lines.exists():
        for line in lines.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def conditions(packages: Iterable[str], **others: object) -> dict[str, object]:
    """Note the machine, the versions, the commit and the load under which something ran.

    Parameters
    ----------
    packages : iterable of str
        Distributions whose versions matter.
    **others
        Settings of the benchmark, such as its seeds.

    Returns
    -------
    dict
        Ready for JSON.
    """
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit.stdout.strip() or "unknown",
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} on {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        **others,
    }


def write(
    name: str, rows: list[dict], notes: dict[str, object], folder: Path | None = None
) -> None:
    """Write the rows of a benchmark to `NAME.csv` and its conditions to `NAME.json`.

    Parameters
    ----------
    name : str
        Name of the benchmark.
    rows : list of dict
        One for each measurement.
    notes : dict
        Its conditions.
    folder : Path, optional
        Where to; `data/benchmarks` if it is not given.
    """
    folder = folder or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    text = json.dumps(notes, indent=2, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def read(name: str, folder: Path | None = None) -> pd.DataFrame:
    """Read the rows of a benchmark."""
    return pd.read_csv((folder or FOLDER) / f"{name}.csv")
