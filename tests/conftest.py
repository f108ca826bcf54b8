"""Fixtures that more than one test file uses."""

import pandas as pd
import pytest

from funnel import data


@pytest.fixture(scope="session")
def homes() -> pd.DataFrame:
    """The 919 Minnesota homes."""
    return data.load_radon()
