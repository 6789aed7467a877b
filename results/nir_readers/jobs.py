"""Jobs of nir_conformance.py, run with a Python that has one reader and NumPy alone.

A folder holds `N.nir` with its input `N.npz`; beside them come `N.out.npz`, with the
first spikes or the words of an error, and `versions.json`.
"""

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np


def run_all(
    folder: Path,
    first_ticks: Callable[[Path, np.ndarray, int], np.ndarray],
    packages: Sequence[str],
) -> None:
    """Run every file of a folder.

    Args:
        folder: the jobs.
        first_ticks: what the reader makes of a file: first-spike ticks (batch, ...).
        packages: whose versions count.
    """
    for path in sorted(folder.glob("*.nir"), key=lambda path: int(path.stem)):
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as job:
            ticks, num_ticks = job["ticks"], int(job["num_ticks"])
        result = {}
        with (
            warnings.catch_warnings(),
            Path(os.devnull).open("w") as nowhere,
            contextlib.redirect_stdout(nowhere),
        ):
            warnings.simplefilter("ignore")
            try:
                result["first"] = first_ticks(path, ticks, num_ticks)
            except Exception as error:  # whatever a reader raises is its answer
                result["error"] = np.array([type(error).__name__, str(error)[:300]])
        np.savez(path.with_suffix(".out.npz"), **result)
    versions = {name: version(name) for name in packages}
    (folder / "versions.json").write_text(json.dumps(versions), encoding="utf-8")
