"""Where the real data sets lie that some tests read, or skip."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared" / "data"


def folder(variable: str, name: str, *others: Path) -> str:
    """The folder that the environment variable names, else one that is there, or skip.

    A folder that is named wrongly is an error of the test, not a reason to skip it.
    """
    if given := os.environ.get(variable):
        return given
    for place in (BESIDE / name, *others):
        if place.is_dir():
            return str(place)
    pytest.skip(f"no data: name the folder by the environment variable {variable}")
