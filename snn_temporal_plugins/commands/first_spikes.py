"""A network of first spikes: measured as trained, as integers and as NIR."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snn_temporal_plugins import export, viz
from snn_temporal_plugins.export.command import decide, mean_tick, percent
from snn_temporal_plugins.export.readers import READERS
from snn_temporal_plugins.functional import decision_time, first_spike_class
from snn_temporal_plugins.training import TemporalClassifier, record_spike_times
from snn_temporal_plugins.training.classifier import Classifier
from snn_temporal_plugins.training.data import TensorData

_CHUNK = 500  # samples that run at once
_HONEST = export.Decoding(tie="reject", no_output="reject")

NOTES = """\
Accuracies are on the test samples. Silence and ties count as wrong everywhere.

The integer emulator ran the bundle of this folder, bit by bit as hardware would. The
NIR file was read back and run by each library named in the table.

Energy and latency are an estimate, not a measurement: exact event counts times
constants calibrated to one published operating point.
"""


def measure(
    classifier: TemporalClassifier,
    data: TensorData,
    out: Path,
    settings: argparse.Namespace,
) -> tuple[dict[str, object], dict[str, Any]]:
    """Measure on the test samples; write the bundle and the NIR file.

    Args:
        classifier: the network as trained.
        data: of the run.
        out: folder of the report; made once nothing can be refused any more.
        settings: `bits`, `ticks` and `nir_samples`.

    Returns:
        The rows of the table and the pictures, by name.
    """
    x, label = _intensities(data), data.splits.test.label

    times = _spike_times(classifier, x)
    post = times["output"]
    answer = first_spike_class(post)
    integer, lut = integer_network(classifier, settings.bits, settings.ticks)
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
    return rows, _figures(times, label)


def _intensities(data: TensorData) -> Tensor:
    return torch.cat([x for x, _ in data.test_dataloader()])


def integer_network(
    classifier: Classifier, bits: int, ticks: int
) -> tuple[export.IntegerNetwork, NDArray[np.uint16]]:
    """Round a network, and make the pixel table that encodes as it was trained.

    Args:
        classifier: a `TemporalClassifier`; the export refuses others.
        bits: of a weight.
        ticks: up to the horizon.
    """
    integer = export.quantise(classifier.network, bits=bits, num_ticks=ticks)
    return integer, _lut(classifier, integer)


def _lut(classifier: Classifier, network: export.IntegerNetwork) -> NDArray[np.uint16]:
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


def _figures(times: Mapping[str, Tensor], label: Tensor) -> dict[str, Any]:
    names = [name for name in times if name != "output"]
    layers = [times[name] for name in names]
    post = times["output"]
    return {
        "Raster": viz.raster(layers, names=names),
        "Spike times": viz.spike_time_histogram(layers, names=names),
        "Accuracy against latency": viz.accuracy_against_latency(post, label),
        "Confusion": viz.confusion(first_spike_class(post), label, post.shape[1]),
    }
