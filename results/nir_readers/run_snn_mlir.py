"""Check NIR files with snn-mlir; started by nir_conformance.py with its own Python.

python run_snn_mlir.py FOLDER

It says whether it would compile a graph; running one takes its compiler, which is no
Python package.
"""

import sys
from pathlib import Path

import numpy as np
from jobs import run_all
from snn_mlir import check


class Refused(ValueError):
    """The first thing that the check reports."""


def accepted(path: Path, ticks: np.ndarray, num_ticks: int) -> np.ndarray:
    """Nothing, if the graph would compile."""
    report = check(path)
    if not report.ok:
        finding = report.errors[0]
        raise Refused(f"{finding.kind}: {finding.message}")
    return np.empty(0)


run_all(Path(sys.argv[1]), accepted, ("snn-mlir", "nir"))
