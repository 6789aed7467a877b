"""What `report` finds out about a network, and what it keeps for comparisons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snn_temporal_plugins.viz.numbers import LatencyCurve
from snn_temporal_plugins.viz.render import write_whole

RESULTS = "results.json"
ANSWERS = "answers.json"


class Measured(NamedTuple):
    """One network on the test samples, as trained unless a row says otherwise.

    Attributes:
        rows: the table, name to value.
        figures: the pictures, by name; none where it was read from files.
        label: `(samples,)` class indices.
        predicted: `(samples,)` class indices; -1: no decision.
        curve: accuracy, if every decision is cut off at a time.
    """

    rows: dict[str, Any]
    figures: dict[str, Any]
    label: Tensor
    predicted: Tensor
    curve: LatencyCurve


def write_measured(measured: Measured, folder: Path) -> None:
    """Write the table to `results.json` and what each sample got to `answers.json`.

    Args:
        measured: what was found out.
        folder: of the report.
    """
    curve = {name: part.tolist() for name, part in measured.curve._asdict().items()}
    answers = {
        "label": measured.label.tolist(),
        "predicted": measured.predicted.tolist(),
        "accuracy over time, input windows": curve,
    }
    write_whole(folder / ANSWERS, (json.dumps(answers) + "\n").encode())
    rows = json.dumps(measured.rows, indent=1) + "\n"
    write_whole(folder / RESULTS, rows.encode())


def read_measured(folder: Path) -> Measured:
    """Read what `write_measured` has written.

    Args:
        folder: of the report.

    Raises:
        ValueError: a file is not as it was written.
    """
    try:
        rows = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        answers = json.loads((folder / ANSWERS).read_text(encoding="utf-8"))
        label, predicted = (
            torch.tensor(answers[name], dtype=torch.long)
            for name in ("label", "predicted")
        )
        curve = answers["accuracy over time, input windows"]
        times = (
            torch.tensor(curve[n], dtype=torch.double) for n in LatencyCurve._fields
        )
        return Measured(dict(rows), {}, label, predicted, LatencyCurve(*times))
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{folder} holds no whole report ({error}); delete it, and it is made anew"
        ) from None


def is_newer(folder: Path, checkpoint: Path) -> bool:
    """Return whether a report is there that was made after its checkpoint."""
    files = (folder / RESULTS, folder / ANSWERS)
    if not all(file.is_file() for file in files):
        return False
    made = checkpoint.stat().st_mtime
    return all(file.stat().st_mtime >= made for file in files)
