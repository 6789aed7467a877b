"""`snn-temporal report`: measure a checkpoint, write a table, pictures and a page."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from lightning import LightningDataModule

from snn_temporal_plugins import viz
from snn_temporal_plugins.commands import first_spikes, spike_counts, spike_trains
from snn_temporal_plugins.commands.checkpoint import load_model, new_parser
from snn_temporal_plugins.export.command import print_table
from snn_temporal_plugins.training import SpikeCountClassifier, SpikeTrainClassifier
from snn_temporal_plugins.training.data import TensorData
from snn_temporal_plugins.viz.render import write_whole


def run(arguments: Sequence[str]) -> None:
    """Measure a checkpoint every way there is; write a table, pictures and a page."""
    parser = new_parser(
        "report",
        "Test a network as trained, as NIR and, for first spikes, as integers; write "
        "an HTML report.",
        "snn-temporal report --ckpt_path runs/digits/version_0/checkpoints/last.ckpt",
    )
    parser.add_argument("--out", help="folder; default: report/ beside checkpoints/")
    parser.add_argument(
        "--nir_samples",
        type=int,
        default=500,
        help="test samples for Norse and snnTorch, which take seconds per hundred",
    )
    parser.add_argument(
        "--sweep_samples",
        type=int,
        default=500,
        help="first spikes: test samples for the picture of bits and ticks, which "
        "measures up to 49 integer networks; 0: no such picture",
    )
    settings = parser.parse_args(arguments)
    checkpoint = Path(settings.ckpt_path)
    folder = checkpoint.parent.parent
    out = Path(settings.out) if settings.out else folder / "report"
    model, config = load_model(checkpoint), _config(folder)
    kind: ModuleType = first_spikes
    if isinstance(model, SpikeTrainClassifier):
        kind = spike_trains
    elif isinstance(model, SpikeCountClassifier):
        kind = spike_counts
    rows, figures = kind.measure(model, _data(config), out, settings)
    metrics = folder / "metrics.csv"
    if metrics.is_file():
        with metrics.open(newline="", encoding="utf-8") as file:
            figures["Learning curve"] = viz.learning_curve(list(csv.DictReader(file)))
    for name, figure in figures.items():
        viz.save_picture(figure, out / f"{name.lower().replace(' ', '_')}.png")
    viz.write_report(
        out / "report.html",
        title=f"{config.get('name', folder.name)}: {model.hparams['network']}",
        table=rows,
        figures=figures,
        notes=kind.NOTES,
        settings=config,
    )
    write_whole(out / "results.json", (json.dumps(rows, indent=1) + "\n").encode())
    print_table(rows)
    sys.stdout.write(f"report: {out / 'report.html'}\n")


def _config(run: Path) -> dict[str, Any]:
    file = run / "config.yaml"
    if not file.is_file():
        raise ValueError(
            f"{file} is missing: it names the data of the run. Give the checkpoint in "
            "the folder where `snn-temporal fit` wrote it"
        )
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def _data(config: Mapping[str, Any]) -> TensorData:
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
