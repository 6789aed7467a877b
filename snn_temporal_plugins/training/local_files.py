"""Where a data set lies that the user brings: named by a setting or by the shell."""

from __future__ import annotations

import os
from pathlib import Path


def named_path(name: str, root: str | None, variable: str, cure: str) -> Path:
    """Return what was named, whether or not something is there.

    Args:
        name: Name of the data set, for messages.
        root: The file or folder; if None, the one that the environment variable names.
        variable: Name of the environment variable.
        cure: What to get and where to put it, for messages.

    Raises:
        FileNotFoundError: If none is named.
    """
    named = root or os.environ.get(variable)
    if not named:
        raise FileNotFoundError(f"{name}: no folder is named. {cure}")
    return Path(named).expanduser()


def local_path(name: str, root: str | None, variable: str, cure: str) -> Path:
    """Return the file or folder of a data set.

    Args:
        name: Name of the data set, for messages.
        root: The file or folder; if None, the one that the environment variable names.
        variable: Name of the environment variable.
        cure: What to get and where to put it, for messages.

    Returns:
        The path; something is there.

    Raises:
        FileNotFoundError: If none is named, or nothing is there.
    """
    place = named_path(name, root, variable, cure)
    if not place.exists():
        raise FileNotFoundError(f"{name} is not in {place}: nothing is there. {cure}")
    return place
