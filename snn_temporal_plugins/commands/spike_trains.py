"""A network of spike trains: measured as trained, and as NIR."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snn_temporal_plugins import export, viz
from snn_temporal_plugins.commands.measured import Measured
from snn_temporal_plugins.commands.operations import count_operations
from snn_temporal_plugins.export.command import percent
from snn_temporal_plugins.export.train_readers import TRAIN_READERS
from snn_temporal_plugins.functional import psp_filter
from snn_temporal_plugins.training import (
    SpikeCountClassifier,
    SpikeTrainClassifier,
    SpikeTrains,
    record_spike_trains,
)
from snn_temporal_plugins.training.counting import SpikeTrainCount
from snn_temporal_plugins.training.data import TensorData
from snn_temporal_plugins.training.recording import without_repeat
from snn_temporal_plugins.viz.numbers import LatencyCurve

_TIMES = 40  # at which the answer so far is looked at

NOTES = """\
Accuracies are on the test samples. The output neuron with the largest sum of
postsynaptic potentials is the answer, the first of them in a tie. Where no output
spikes there is no decision, which counts as wrong.

The NIR file was read back and run by each library named in the table, on input that was
normalised as in training. A bundle holds networks of first spikes alone.

Where a PSP is below 1/(4 tau_syn), TSSL-BP learns by its surrogate, else by timing.

Operations are counts, not a measurement. A synaptic operation is one spike that reaches
one neuron. An image is a constant current: its weighted sum is formed once. The dense
pass is what a network without spikes would multiply on the same weights, once.
"""


@dataclass
class _Seen:
    """What came out of all test samples, and what the pictures show of the first."""

    label: Tensor
    answer: Tensor
    tied: Tensor
    count: SpikeTrainCount
    curve: LatencyCurve
    events: Tensor | None
    first: dict[str, SpikeTrains]


def measure(
    classifier: SpikeTrainClassifier | SpikeCountClassifier,
    data: TensorData,
    out: Path,
    settings: argparse.Namespace,
) -> Measured:
    """Measure on the test samples; write the NIR file.

    Args:
        classifier: the network as trained.
        data: of the run.
        out: folder of the report.
        settings: `nir_samples`.
    """
    seen = _run(classifier, data)
    samples = len(seen.label)
    means = seen.count.means(torch.as_tensor)
    spikes = {name: count / samples for name, count in seen.count.spikes.items()}
    if seen.events is not None:
        spikes["input"] = seen.events / samples
    network: Any = classifier.network
    operations = count_operations(network, network.input_shape, spikes)
    steps = seen.count.steps // samples
    out.mkdir(parents=True, exist_ok=True)
    of_surrogate: dict[str, object] = {}
    of_image: dict[str, object] = {}
    if isinstance(classifier, SpikeTrainClassifier):
        of_surrogate = {"PSPs below 1/(4 tau_syn)": _of(means, "surrogate", percent)}
        sums = 1 if seen.events is None else steps
        with_image = round(sums * operations.image)
        of_image = {"multiplications with the image per sample": with_image}
    rows: dict[str, object] = {
        "test samples": samples,
        "accuracy, float": percent(seen.answer == seen.label),
        **_nir_rows(classifier, out, data, settings.nir_samples),
        "no decision, float": percent(seen.answer == -1),
        "tied, the first class taken": percent(seen.tied),
        "steps": steps,
        "spikes per neuron": _per_layer(
            {name: f"{value.mean():.3f}" for name, value in spikes.items()}
        ),
        "spikes per sample": f"{_spikes_per_sample(spikes):,.1f}",
        "spikes per neuron and step": _of(means, "rate", "{:.4f}".format),
        "neurons that never spiked": _of(means, "dead", percent),
        **of_surrogate,
        "synaptic operations per sample": round(operations.synaptic),
        **of_image,
        "multiplications of one dense pass": round(operations.dense),
    }
    return Measured(rows, _figures(seen), seen.label, seen.answer, seen.curve)


@torch.inference_mode()
def _run(
    classifier: SpikeTrainClassifier | SpikeCountClassifier, data: TensorData
) -> _Seen:
    count = SpikeTrainCount(surrogate=isinstance(classifier, SpikeTrainClassifier))
    labels: list[Tensor] = []
    answers: list[Tensor] = []
    ties: list[Tensor] = []
    early: list[Tensor] = []  # per batch and time: decided rightly, decided
    time = torch.empty(0, dtype=torch.double)
    events: Tensor | None = None
    first: dict[str, SpikeTrains] = {}
    with record_spike_trains(classifier) as trains:
        for x, label in data.test_dataloader():
            output = classifier(x)
            answer = classifier.answer(output)
            count.add(trains)
            labels.append(label)
            answers.append(answer.predicted_class)
            ties.append(_tied(output) if answer.tied is None else answer.tied)
            steps = torch.linspace(1, len(output), min(len(output), _TIMES)).round()
            time = steps.double() / len(output)
            early.append(_so_far(classifier, output, label, steps.int().tolist()))
            first = first or dict(trains)
            if "input" in trains:
                arrived = trains["input"].spikes.sum((0, 1)).double()
                events = arrived if events is None else events + arrived
    label, predicted, tied = map(torch.cat, (labels, answers, ties))
    right, decided = torch.stack(early).sum(0).double().T / len(label)
    curve = LatencyCurve(time, right, decided)
    return _Seen(label, predicted, tied, count, curve, events, first)


def _so_far(
    classifier: SpikeTrainClassifier | SpikeCountClassifier,
    output: Tensor,
    label: Tensor,
    steps: list[int],
) -> Tensor:
    """Samples decided rightly, and decided, by what came out up to each step."""
    answers = [classifier.answer(output[:step]).predicted_class for step in steps]
    counts = [[int((a == label).sum()), int((a >= 0).sum())] for a in answers]
    return torch.tensor(counts)


def _tied(psp: Tensor) -> Tensor:
    """Where the largest sum of PSPs is not that of one output alone."""
    total = psp.sum(0)
    largest = total.amax(1)
    return (largest > 0) & ((total == largest[:, None]).sum(1) > 1)


@torch.inference_mode()
def _nir_rows(
    classifier: SpikeTrainClassifier | SpikeCountClassifier,
    out: Path,
    data: TensorData,
    wanted: int,
) -> dict[str, object]:
    """Accuracy of the NIR file in each reader that is installed."""
    path = out / "network.nir"
    try:
        export.write_nir(classifier.network, path, overwrite=True)
    except (ImportError, export.ExportError) as error:
        return {"accuracy, NIR": f"left out: {error}"}
    x, label = _first_samples(data, wanted)
    with record_spike_trains(classifier) as trains:
        classifier(x)
    truth = trains["output"].spikes
    taken = classifier.network_input(x).numpy()
    rows: dict[str, object] = {}
    for reader, run in TRAIN_READERS.items():
        name = f"accuracy, NIR read by {reader} ({len(label)} samples)"
        try:
            spikes = torch.from_numpy(run(path, taken))
        except ImportError as error:
            rows[name] = f"left out: {error}"
            continue
        if isinstance(classifier, SpikeTrainClassifier):
            decisive = psp_filter(spikes, classifier.hparams["tau_syn"])
        else:
            decisive = spikes
        rows[name] = percent(classifier.answer(decisive).predicted_class == label)
        rows[f"output spikes that differ, {reader}"] = int((spikes != truth).sum())
    return rows


def _first_samples(data: TensorData, wanted: int) -> tuple[Tensor, Tensor]:
    batches = []
    for batch in data.test_dataloader():
        batches.append(batch)
        if sum(len(label) for _, label in batches) >= wanted:
            break
    x, label = (torch.cat(parts)[:wanted] for parts in zip(*batches, strict=True))
    return x, label


def _of(means: Mapping[str, Tensor], what: str, text: Callable[[float], str]) -> str:
    """The means of all layers under one heading."""
    return _per_layer(
        {
            name.removeprefix(f"{what}/"): text(float(mean))
            for name, mean in means.items()
            if name.startswith(f"{what}/")
        }
    )


def _spikes_per_sample(spikes: Mapping[str, Tensor]) -> float:
    """Spikes of all neurons; those of the input are not theirs."""
    return sum(
        float(count.sum()) for name, count in spikes.items() if name.startswith("layer")
    )


def _per_layer(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _figures(seen: _Seen) -> dict[str, Any]:
    layers, rates = without_repeat(seen.first), seen.count.rates()
    psp = seen.first["output"].psp
    return {
        "Raster": viz.train_raster(
            [train.spikes for train in layers.values()], names=list(layers)
        ),
        "Output PSPs": viz.psp_traces(psp, seen.label[: psp.shape[1]]),
        "Firing rates": viz.rate_histogram(list(rates.values()), names=list(rates)),
        "Confusion": viz.confusion(seen.answer, seen.label, psp.shape[2]),
    }
