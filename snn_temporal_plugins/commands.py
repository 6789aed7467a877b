"""`snn-temporal export` and `report`: from a checkpoint to hardware and to a page."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor

from snn_temporal_plugins import export, viz
from snn_temporal_plugins.export.command import (
    decide,
    mean_tick,
    percent,
    print_table,
)
from snn_temporal_plugins.export.readers import READERS
from snn_temporal_plugins.functional import decision_time, first_spike_class
from snn_temporal_plugins.training import TemporalClassifier, record_spike_times
from snn_temporal_plugins.training.data import TensorData
from snn_temporal_plugins.viz.render import write_whole

_CHUNK = 500  # samples that run at once
_HONEST = export.Decoding(tie="reject", no_output="reject")


def run_export(arguments: Sequence[str]) -> None:
    """Write the network of a checkpoint as a ttfs-bundle or a NIR file."""
    parser = _parser(
        "export",
        "Write a trained network for hardware (bundle) or other simulators (nir).",
        "snn-temporal export --ckpt_path runs/digits/version_0/checkpoints/last.ckpt "
        "--to bundle --out digits.bundle",
    )
    _add_checkpoint(parser)
    parser.add_argument("--to", required=True, choices=("bundle", "nir"))
    parser.add_argument("--out", required=True, help="folder (bundle) or file (nir)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what is at --out"
    )
    settings = parser.parse_args(arguments)
    classifier = _classifier(settings.ckpt_path)
    if settings.to == "bundle":
        integer, lut = _integer_network(classifier, settings.bits, settings.ticks)
        export.write_bundle(
            integer, settings.out, lut=lut, overwrite=settings.overwrite
        )
    else:
        uniform = export.quantise_uniform(classifier.network, num_ticks=settings.ticks)
        export.write_nir(uniform, settings.out, overwrite=settings.overwrite)
    sys.stdout.write(f"{settings.to} is in {settings.out}\n")


def run_report(arguments: Sequence[str]) -> None:
    """Measure a checkpoint every way there is; write a table, pictures and a page."""
    parser = _parser(
        "report",
        "Test a network as trained, as integers and as NIR; write an HTML report.",
        "snn-temporal report --ckpt_path runs/digits/version_0/checkpoints/last.ckpt",
    )
    _add_checkpoint(parser)
    parser.add_argument("--out", help="folder; default: report/ beside checkpoints/")
    parser.add_argument(
        "--nir_samples",
        type=int,
        default=500,
        help="test samples for Norse and snnTorch, which take seconds per hundred",
    )
    settings = parser.parse_args(arguments)
    checkpoint = Path(settings.ckpt_path)
    run = checkpoint.parent.parent
    out = Path(settings.out) if settings.out else run / "report"
    classifier, config = _classifier(checkpoint), _config(run)
    data = _data(config)
    x, label = _intensities(data), data.splits.test.label

    times = _spike_times(classifier, x)
    post = times["output"]
    answer = first_spike_class(post)
    integer, lut = _integer_network(classifier, settings.bits, settings.ticks)
    out.mkdir(parents=True, exist_ok=True)  # only now: a refused report leaves nothing
    export.write_bundle(integer, out / "network.bundle", lut=lut, overwrite=True)
    bundle = export.read_bundle(out / "network.bundle")
    decision, counts = decide(bundle, _pixels(x), _HONEST)
    rows: dict[str, object] = {
        "test samples": len(label),
        "accuracy, float": percent(answer == label),
        f"accuracy, integer emulator ({settings.bits} bits, {settings.ticks} ticks)": (
            percent(decision.label == label.numpy())
        ),
        **_nir_rows(classifier, out, x, label, settings),
        "no decision, float": percent(answer == -1),
        "no decision, integer": percent(decision.label == -1),
        "of these tied": percent(decision.tied),
        "silent outputs, float": percent(post.isinf()),
        "spikes per neuron": _spikes_per_neuron(times),
        "first output spike, input windows": f"{_mean_time(post):.3f}",
        "first output spike, ticks": mean_tick(decision),
        "energy and latency per sample": str(
            export.estimate_cost(counts, settings.ticks)
        ),
    }
    figures = _figures(times, label, run)
    for name, figure in figures.items():
        viz.save_picture(figure, out / f"{name.lower().replace(' ', '_')}.png")
    viz.write_report(
        out / "report.html",
        title=f"{config.get('name', run.name)}: {classifier.hparams['network']}",
        table=rows,
        figures=figures,
        notes=_NOTES,
        settings=config,
    )
    write_whole(out / "results.json", (json.dumps(rows, indent=1) + "\n").encode())
    print_table(rows)
    sys.stdout.write(f"report: {out / 'report.html'}\n")


_NOTES = """\
Accuracies are on the test samples. Silence and ties count as wrong everywhere.

The integer emulator ran the bundle of this folder, bit by bit as hardware would. The
NIR file was read back and run by each library named in the table.

Energy and latency are an estimate, not a measurement: exact event counts times
constants calibrated to one published operating point.
"""


def _parser(name: str, purpose: str, example: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"snn-temporal {name}", description=purpose, epilog=f"example: {example}"
    )


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ckpt_path", required=True, help="checkpoint of a run")
    parser.add_argument("--bits", type=int, default=6, help="weight bits, 2 to 8")
    parser.add_argument("--ticks", type=int, default=256, help="ticks up to t_max")


def _classifier(checkpoint: str | Path) -> TemporalClassifier:
    if not Path(checkpoint).is_file():
        raise ValueError(
            f"no checkpoint at {checkpoint}; `snn-temporal fit` writes one to "
            "runs/NAME/version_N/checkpoints/last.ckpt"
        )
    classifier = TemporalClassifier.load_from_checkpoint(checkpoint, map_location="cpu")
    return classifier.eval()


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


def _intensities(data: TensorData) -> Tensor:
    return torch.cat([x for x, _ in data.test_dataloader()])


def _integer_network(
    classifier: TemporalClassifier, bits: int, ticks: int
) -> tuple[export.IntegerNetwork, NDArray[np.uint16]]:
    integer = export.quantise(classifier.network, bits=bits, num_ticks=ticks)
    return integer, _lut(classifier, integer)


def _lut(
    classifier: TemporalClassifier, network: export.IntegerNetwork
) -> NDArray[np.uint16]:
    """The pixel table that encodes as the classifier was trained."""
    silent_zero = classifier.hparams["silent_zero"]
    return export.latency_lut(network, silent_zero=silent_zero)


def _pixels(x: Tensor) -> NDArray[np.uint8]:
    return (255 * x).round().numpy().astype(np.uint8)


@torch.no_grad()
def _spike_times(classifier: TemporalClassifier, x: Tensor) -> dict[str, Tensor]:
    parts: list[dict[str, Tensor]] = []
    with record_spike_times(classifier) as times:
        for part in x.split(_CHUNK):
            classifier(part)
            parts.append(dict(times))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _nir_rows(
    classifier: TemporalClassifier,
    out: Path,
    x: Tensor,
    label: Tensor,
    settings: argparse.Namespace,
) -> dict[str, object]:
    """Accuracy of the NIR file in each reader that is installed."""
    network = export.quantise_uniform(classifier.network, num_ticks=settings.ticks)
    path = out / "network.nir"
    export.write_nir(network, path, overwrite=True)
    lut = _lut(classifier, network)
    count = min(settings.nir_samples, len(x))
    ticks = export.encode_pixels(lut, _pixels(x[:count]))
    truth = export.emulate(network, ticks).output_ticks
    rows: dict[str, object] = {}
    for reader, run in READERS.items():
        name = f"accuracy, NIR read by {reader} ({count} samples)"
        try:
            first = run(path, ticks)
        except ImportError as error:
            rows[name] = f"left out: {error}"
            continue
        time = torch.from_numpy(np.where(first == export.SILENT, np.inf, first))
        rows[name] = percent(first_spike_class(time) == label[:count])
        rows[f"first spikes that differ, {reader}"] = int((first != truth).sum())
    return rows


def _spikes_per_neuron(times: Mapping[str, Tensor]) -> str:
    layers = [name for name in times if name.startswith("layer")]
    return ", ".join(
        f"{name} {times[name].isfinite().float().mean():.3f}" for name in layers
    )


def _mean_time(post: Tensor) -> float:
    first = decision_time(post)
    return float(first[first.isfinite()].mean())


def _figures(times: Mapping[str, Tensor], label: Tensor, run: Path) -> dict[str, Any]:
    names = [name for name in times if name != "output"]
    layers = [times[name] for name in names]
    post = times["output"]
    figures = {
        "Raster": viz.raster(layers, names=names),
        "Spike times": viz.spike_time_histogram(layers, names=names),
        "Accuracy against latency": viz.accuracy_against_latency(post, label),
        "Confusion": viz.confusion(first_spike_class(post), label, post.shape[1]),
    }
    metrics = run / "metrics.csv"
    if metrics.is_file():
        with metrics.open(newline="", encoding="utf-8") as file:
            figures["Learning curve"] = viz.learning_curve(list(csv.DictReader(file)))
    return figures
