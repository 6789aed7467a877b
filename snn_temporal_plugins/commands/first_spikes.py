"""A network of first spikes: measured as trained, as integers and as NIR."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snn_temporal_plugins import export, viz
from snn_temporal_plugins.commands.measured import Measured
from snn_temporal_plugins.export.command import (
    cost_rows,
    decide,
    mean_tick,
    percent,
)
from snn_temporal_plugins.export.readers import READERS
from snn_temporal_plugins.functional import (
    decision_time,
    first_spike_class,
    first_spike_tied,
)
from snn_temporal_plugins.training import (
    TickClassifier,
    TickOutput,
    quantisation_sweep,
    record_spike_times,
    rounding_errors,
)
from snn_temporal_plugins.training.additions import record_layer_inputs
from snn_temporal_plugins.training.classifier import Classifier
from snn_temporal_plugins.training.counting import SpikeTimeCount
from snn_temporal_plugins.training.data import TensorData
from snn_temporal_plugins.training.recording import FirstSpikes
from snn_temporal_plugins.viz.numbers import latency_curve

_CHUNK = 500  # samples that run at once
_TIES_ARE_WRONG = export.Decoding(tie="reject", no_output="reject")  # real times

NOTES = """\
Accuracies are on the test samples. Silence and ties count as wrong everywhere; on whole
ticks a tie is broken by the larger potential, and counts as wrong if that is tied too.

The rows of single roundings say where the integers lose: spike times rounded up to
ticks, weights rounded to their bits, thresholds rounded; the others stay real.

The integer emulator ran the bundle of this folder, bit by bit as hardware would. The
NIR file was read back and run by each library named in the table.

Energy and latency are an estimate, not a measurement; its assumptions:
""" + "\n".join(f"• {sentence}" for sentence in export.yoso_point().assumptions)


def measure(
    classifier: FirstSpikes,
    data: TensorData,
    out: Path,
    settings: argparse.Namespace,
) -> Measured:
    """Measure on the test samples; write the bundle and the NIR file.

    Args:
        classifier: the network as trained.
        data: of the run.
        out: folder of the report; made once nothing can be refused any more.
        settings: `bits`, `ticks`, `nir_samples` and `sweep_samples`.
    """
    x, label = _intensities(data), data.splits.test.label

    run = _run(classifier, x)
    post = run.times["output"]
    integer, lut = integer_network(classifier, settings.bits, settings.ticks)
    ticks = integer.num_ticks
    out.mkdir(parents=True, exist_ok=True)  # only now: a refused report leaves nothing
    export.write_bundle(integer, out / "network.bundle", lut=lut, overwrite=True)
    bundle = export.read_bundle(out / "network.bundle")
    on_ticks = isinstance(classifier, TickClassifier)
    rule = bundle.decoding if on_ticks else _TIES_ARE_WRONG
    answers = decide(bundle, _pixels(x), rule)
    decision = answers.decision
    predicted = np.where(decision.unbroken, -1, decision.label)
    costs = cost_rows(bundle.network, answers)
    rows: dict[str, object] = {
        "test samples": len(label),
        "accuracy, float": percent(run.predicted == label),
        integer_row(settings.bits, ticks): percent(predicted == label.numpy()),
        **_rounding_rows(classifier, x, label, settings.bits, ticks),
        **_nir_rows(classifier, out, x, label, settings),
        "no decision, float": percent(run.predicted == -1),
        "no decision, integer": percent(predicted == -1),
        "tied, float": percent(first_spike_tied(post)),
        "tied, integer": percent(decision.tied),
        "silent outputs, float": percent(post.isinf()),
        "spikes per neuron": _spikes_per_neuron(run.times),
        "spikes per sample": f"{_spikes_per_sample(run.times):,.1f}",
        "first output spike, input windows": f"{_mean_time(post):.3f}",
        "first output spike, ticks": mean_tick(decision),
        "additions per sample": f"{run.additions:,.0f}",
        "additions up to the decision": f"{run.additions_to_decision:,.0f}",
        **{name: str(cost) for name, cost in costs.items()},
        **_register_rows(bundle, x[: settings.nir_samples]),
    }
    figures = _figures(run, label)
    figures["Energy"] = _energy_picture(costs["energy and latency per sample"])
    count = min(settings.sweep_samples, len(x))
    if count > 0:
        rows["samples of the bits and ticks picture"] = count
        accuracy = quantisation_sweep(classifier, x[:count], label[:count])
        real = float((run.predicted == label)[:count].float().mean())
        figures["Bits and ticks"] = viz.quantisation_sweep(accuracy, real=real)
    curve = latency_curve(post, label, run.potential)
    return Measured(rows, figures, label, run.predicted, curve)


def integer_row(bits: int, ticks: int) -> str:
    """Return the name of the row with the accuracy as integers.

    Args:
        bits: of a weight.
        ticks: of the exported network, see `num_ticks`.
    """
    return f"accuracy, integer emulator ({bits} bits, {ticks} ticks)"


def _rounding_rows(
    classifier: FirstSpikes, x: Tensor, label: Tensor, bits: int, ticks: int
) -> dict[str, object]:
    """Accuracy with each source of rounding error alone."""
    errors = rounding_errors(classifier, x, label, bits=bits, num_ticks=ticks)
    return {
        f"accuracy, {part} alone rounded": f"{100 * share:.2f} %"
        for part, share in errors.items()
        if part not in ("float", "all")  # the rows above
    }


def _register_rows(bundle: export.Bundle, x: Tensor) -> dict[str, object]:
    """How far the registers of each layer go on these samples."""
    assert bundle.lut is not None  # measure() has just written it
    entering = export.encode_pixels(bundle.lut, _pixels(x))
    rows: dict[str, object] = {}
    for index, use in enumerate(export.register_use(bundle.network, entering)):
        if use is None:  # a pool
            continue
        parts = [f"V {use.potential[0]:,} to {use.potential[1]:,} in"]
        parts += [f"{use.potential_bits} bits"]
        if use.slope_bits:
            low, high = use.slope
            parts[:0] = [f"G {low:,} to {high:,} in {use.slope_bits} bits,"]
        if use.slope_overflow or use.potential_overflow:
            parts.append("OVERFLOW")
        rows[f"registers of layer {index + 1} ({len(x)} samples)"] = " ".join(parts)
    return rows


def _energy_picture(cost: export.CostEstimate) -> Any:
    layers = len(next(iter(cost.breakdown_uj.values()))) - 1
    low, high = cost.energy_interval_uj
    return viz.energy_breakdown(
        {
            term: [1e-6 * part for part in parts]
            for term, parts in cost.breakdown_uj.items()
        },
        ["input", *(f"layer {index + 1}" for index in range(layers))],
        (1e-6 * low, 1e-6 * high),
    )


def _intensities(data: TensorData) -> Tensor:
    return torch.cat([x for x, _ in data.test_dataloader()])


def integer_network(
    classifier: Classifier, bits: int, ticks: int
) -> tuple[export.IntegerNetwork, NDArray[np.uint16]]:
    """Round a network, and make the pixel table that encodes as it was trained.

    Args:
        classifier: a `TemporalClassifier` or `TickClassifier`; the export refuses
            others.
        bits: of a weight.
        ticks: up to the horizon; a network on ticks has its own number.
    """
    ticks = num_ticks(classifier, ticks)
    integer = export.quantise(classifier.network, bits=bits, num_ticks=ticks)
    return integer, _lut(classifier, integer)


def num_ticks(classifier: Classifier, asked: int) -> int:
    """Return the number of ticks of the exported network.

    Args:
        classifier: the network; one on ticks has its own number.
        asked: the setting `ticks`.
    """
    return classifier.hparams.get("num_ticks", asked)


def _lut(classifier: Classifier, network: export.IntegerNetwork) -> NDArray[np.uint16]:
    if isinstance(classifier, TickClassifier):
        return export.latency_ticks_lut(network, x_min=classifier.hparams["x_min"])
    silent_zero = classifier.hparams["silent_zero"]
    return export.latency_lut(network, silent_zero=silent_zero)


def _pixels(x: Tensor) -> NDArray[np.uint8]:
    return (255 * x).round().numpy().astype(np.uint8)


class _Run(NamedTuple):
    """What a network did with all samples, times in input windows."""

    times: dict[str, Tensor]
    predicted: Tensor
    potential: Tensor | None
    additions: float
    additions_to_decision: float


@torch.no_grad()
def _run(classifier: FirstSpikes, x: Tensor) -> _Run:
    parts: list[dict[str, Tensor]] = []
    predicted, potentials = [], []
    window = classifier.hparams.get("num_ticks", 1)
    with (
        record_spike_times(classifier) as times,
        record_layer_inputs(classifier) as entered,
    ):
        count = SpikeTimeCount(entered)
        for part in x.split(_CHUNK):
            output = classifier(part)
            predicted.append(classifier.answer(output).predicted_class)
            if isinstance(output, TickOutput):
                potentials.append(output.potential)
            count.add(times)
            parts.append({name: time / window for name, time in times.items()})
    means = count.means(torch.as_tensor)
    return _Run(
        {name: torch.cat([part[name] for part in parts]) for name in parts[0]},
        torch.cat(predicted),
        torch.cat(potentials) if potentials else None,
        float(means["additions"]),
        float(means["additions_to_decision"]),
    )


def _nir_rows(
    classifier: FirstSpikes,
    out: Path,
    x: Tensor,
    label: Tensor,
    settings: argparse.Namespace,
) -> dict[str, object]:
    """Accuracy of the NIR file in each reader that is installed."""
    ticks = num_ticks(classifier, settings.ticks)
    network = export.quantise_uniform(classifier.network, num_ticks=ticks)
    path = out / "network.nir"
    export.write_nir(network, path, overwrite=True)
    lut = _lut(classifier, network)
    count = min(settings.nir_samples, len(x))
    entering = export.encode_pixels(lut, _pixels(x[:count]))
    truth = export.emulate(network, entering).output_ticks
    rows: dict[str, object] = {}
    for reader, run in READERS.items():
        name = f"accuracy, NIR read by {reader} ({count} samples)"
        try:
            first = run(path, entering)
        except ImportError as error:
            rows[name] = f"left out: {error}"
            continue
        if not isinstance(classifier, TickClassifier):  # a reader gives no potentials
            time = torch.from_numpy(np.where(first == export.SILENT, np.inf, first))
            rows[name] = percent(first_spike_class(time) == label[:count])
        rows[f"first spikes that differ, {reader}"] = int((first != truth).sum())
    return rows


def _spikes_per_neuron(times: Mapping[str, Tensor]) -> str:
    return ", ".join(
        f"{name} {time.isfinite().float().mean():.3f}"
        for name, time in times.items()
        if name.startswith("layer")
    )


def _spikes_per_sample(times: Mapping[str, Tensor]) -> float:
    """Spikes of all neurons; those of the input are not theirs."""
    layers = [time for name, time in times.items() if name.startswith("layer")]
    spikes = sum(int(time.isfinite().sum()) for time in layers)
    return spikes / max(1, len(times["output"]))


def _mean_time(post: Tensor) -> float:
    first = decision_time(post)
    return float(first[first.isfinite()].mean())


def _figures(run: _Run, label: Tensor) -> dict[str, Any]:
    names = [name for name in run.times if name != "output"]
    layers = [run.times[name] for name in names]
    post = run.times["output"]
    latency = viz.accuracy_against_latency(post, label, run.potential)
    return {
        "Raster": viz.raster(layers, names=names),
        "Spike times": viz.spike_time_histogram(layers, names=names),
        "Accuracy against latency": latency,
        "Confusion": viz.confusion(run.predicted, label, post.shape[1]),
    }
