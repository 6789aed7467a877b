"""The folder that `fit` makes for a run, read back."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import ArgumentParser
from lightning import LightningDataModule

from snn_temporal_plugins.training.data import TensorData
from snn_temporal_plugins.viz.numbers import epoch_means


class Run(NamedTuple):
    """A run of `fit`.

    Attributes:
        folder: `runs/NAME/version_N`.
        checkpoint: in that folder.
    """

    folder: Path
    checkpoint: Path


def find_run(path: str) -> Run:
    """Find the run that a user means.

    Args:
        path: its checkpoint, or its folder: then `last.ckpt` is meant.
    """
    place = Path(path)
    checkpoint = place / "checkpoints" / "last.ckpt" if place.is_dir() else place
    return Run(checkpoint.absolute().parent.parent, checkpoint)


def load_config(folder: Path) -> dict[str, Any]:
    """Read the settings of a run.

    Args:
        folder: of the run.

    Raises:
        ValueError: there are none.
    """
    file = folder / "config.yaml"
    if not file.is_file():
        raise ValueError(
            f"{file} is missing: it names the data of the run. Give the checkpoint in "
            "the folder where `snn-temporal fit` wrote it"
        )
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def load_data(config: dict[str, Any]) -> TensorData:
    """Make the data module of a run.

    Args:
        config: settings of the run.

    Raises:
        ValueError: it is none of this package.
    """
    parser = ArgumentParser()
    parser.add_subclass_arguments(LightningDataModule, "data")
    data = parser.instantiate_classes(
        parser.parse_object({"data": config["data"]})
    ).data
    if not isinstance(data, TensorData):
        raise ValueError(
            f"the run's data are a {type(data).__name__}; report works on the data "
            "modules of this package"
        )
    return data


def load_metrics(folder: Path) -> list[dict[str, str]]:
    """Read what was logged, from the first epoch on.

    A resumed run begins where its checkpoint stood; what was logged before stands in
    the folder of the run that it goes on from.

    Args:
        folder: of the run.

    Returns:
        Rows of `metrics.csv`, as `csv.DictReader` gives them; none without the file.
    """
    rows: list[dict[str, str]] = []
    seen: set[Path] = set()
    at: Path | None = folder
    while at is not None and at not in seen:
        seen.add(at)
        file = at / "metrics.csv"
        if file.is_file():
            with file.open(newline="", encoding="utf-8") as lines:
                rows = _before(list(csv.DictReader(lines)), rows) + rows
        at = _goes_on_from(at)
    return rows


def _before(
    earlier: list[dict[str, str]], later: list[dict[str, str]]
) -> list[dict[str, str]]:
    """Rows of epochs that were not run again."""
    epochs = [epoch for curve in epoch_means(later).values() for epoch in curve]
    first = min(epochs, default=None)
    return [
        row
        for row in earlier
        if first is None or not row.get("epoch") or int(row["epoch"]) < first
    ]


def _goes_on_from(folder: Path) -> Path | None:
    """The folder of the run that this one resumed."""
    file = folder / "config.yaml"
    if not file.is_file():
        return None
    checkpoint = yaml.safe_load(file.read_text(encoding="utf-8")).get("ckpt_path")
    if not checkpoint:
        return None
    before = Path(checkpoint).parent.parent
    # A path from where `fit` was called; the runs may have been moved since, together.
    beside = folder.parent / before.name
    return beside if before.parent.name == folder.parent.name else before
