"""The numbers behind the pictures: tensors and log rows in, plain values out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from snn_temporal_plugins.functional.decoding import first_spike_class

_STAGES = {"train": "train", "training": "train"} | dict.fromkeys(
    ("val", "valid", "validation"), "validation"
)
_METRICS = {"loss": "loss", "acc": "accuracy", "accuracy": "accuracy"}


class Layer(NamedTuple):
    """Spike times of one layer, flattened.

    Attributes:
        name: for titles.
        spike_time: ``(batch, neuron)`` in input windows, float64, on the CPU;
            ``inf`` = silent.
    """

    name: str
    spike_time: Tensor


def flat_layers(
    layer_times: Sequence[Tensor], names: Sequence[str] | None, t_max: float | None
) -> list[Layer]:
    """Return each layer as ``(batch, neuron)``; spikes after ``t_max`` become silent.

    Raises:
        ValueError: no layer, another number of names than layers, a tensor without a
            neuron dimension, or a NaN.
    """
    names = layer_names(layer_times, names)
    layers = []
    for name, times in zip(names, layer_times, strict=True):
        if times.dim() < 2:
            raise ValueError(
                f"spike times of {name!r} have shape {tuple(times.shape)}; "
                "pass (batch, neuron) or (batch, channel, height, width)"
            )
        flat = _plain(times, name).flatten(1)
        if t_max is not None:
            flat = flat.masked_fill(flat > t_max, math.inf)
        layers.append(Layer(name, flat))
    return layers


def layer_names(layers: Sequence[Tensor], names: Sequence[str] | None) -> Sequence[str]:
    """Return the names of layers, made up where there are none.

    Raises:
        ValueError: no layer, or another number of names than layers.
    """
    if len(layers) == 0:
        raise ValueError("no layer to draw: pass at least one tensor")
    if names is None:
        return [f"layer {i + 1}" for i in range(len(layers))]
    if len(names) != len(layers):
        raise ValueError(
            f"{len(names)} names for {len(layers)} layers: give one name per layer"
        )
    return names


def time_range(layers: Sequence[Layer], t_max: float | None) -> tuple[float, float]:
    """Return the span of time that shows every spike, starting at 0 or before."""
    spikes = torch.cat([layer.spike_time.flatten() for layer in layers])
    spikes = spikes[spikes.isfinite()]
    low = min(0.0, spikes.min().item()) if len(spikes) else 0.0
    if t_max is not None and math.isfinite(t_max):
        return low, max(t_max, low + 1e-9)
    high = spikes.max().item() if len(spikes) else 1.0
    return low, high if high > low else low + 1.0


def _plain(spike_time: Tensor, name: str) -> Tensor:
    times = spike_time.detach().cpu().double()
    if not (times > -math.inf).all():
        raise ValueError(
            f"spike times of {name!r} contain NaN or -inf; a silent neuron is inf"
        )
    return times


class LatencyCurve(NamedTuple):
    """Two step functions of the time at which the decision is cut off.

    Attributes:
        time: ``(step,)`` in input windows, increasing, every one a decision time.
        accuracy: ``(step,)`` share of all samples decided rightly by then.
        decided: ``(step,)`` share of all samples decided by then.
    """

    time: Tensor
    accuracy: Tensor
    decided: Tensor


def latency_curve(
    spike_time: Tensor,
    target: Tensor,
    potential: Tensor | None = None,
    *,
    max_steps: int = 400,
) -> LatencyCurve:
    """Return accuracy and decided share at each time at which a decision falls.

    A sample is decided at its first output spike; a silent or tied sample never is.

    Args:
        spike_time: ``(batch, class)`` in input windows.
        target: ``(batch,)`` class indices.
        potential: ``(batch, class)`` at which the outputs fired: the largest breaks a
            tie; ``None``: nothing does.
        max_steps: more decision times than these are thinned; those kept stay exact.

    Raises:
        ValueError: shapes that do not match, or a NaN.
    """
    times = _plain(spike_time, "the output layer")
    target = target.detach().cpu()
    if times.dim() != 2 or target.shape != times.shape[:1]:
        raise ValueError(
            f"spike times of shape {tuple(times.shape)} with targets of shape "
            f"{tuple(target.shape)}; pass (batch, class) and (batch,)"
        )
    batch = len(target)
    if times.numel() == 0:
        empty = times.new_empty(0)
        return LatencyCurve(empty, empty, empty)
    winner = first_spike_class(times, None if potential is None else potential.cpu())
    decision = times.min(dim=1).values.masked_fill(winner < 0, math.inf)
    decided = decision[winner >= 0].sort().values
    right = decision[(winner >= 0) & (winner == target)].sort().values
    time = decided.unique()
    if len(time) > max_steps:
        time = time[torch.linspace(0, len(time) - 1, max_steps).round().long()]
    return LatencyCurve(
        time,
        torch.searchsorted(right, time, right=True).double() / batch,
        torch.searchsorted(decided, time, right=True).double() / batch,
    )


def confusion_counts(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Return how often each class was decided for each target.

    Args:
        predicted: ``(batch,)`` class indices, -1 = no decision.
        target: ``(batch,)`` class indices.
        num_classes: number of classes.

    Returns:
        ``(num_classes, num_classes + 1)`` counts; the last column is no decision.

    Raises:
        ValueError: no class, shapes differ, or an index is out of range.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes={num_classes}; a network has at least one class")
    predicted, target = predicted.detach().cpu().long(), target.detach().cpu().long()
    if predicted.dim() != 1 or predicted.shape != target.shape:
        raise ValueError(
            f"predictions of shape {tuple(predicted.shape)} with targets of shape "
            f"{tuple(target.shape)}; pass two tensors of shape (batch,)"
        )
    for name, index, low in (("predicted", predicted, -1), ("target", target, 0)):
        outside = index[(index < low) | (index >= num_classes)]
        if len(outside):
            raise ValueError(
                f"{name} class {outside[0].item()} is not in "
                f"{low}..{num_classes - 1}; check num_classes={num_classes}"
            )
    column = torch.where(predicted < 0, num_classes, predicted)
    cells = target * (num_classes + 1) + column
    counts = torch.bincount(cells, minlength=num_classes * (num_classes + 1))
    return counts.reshape(num_classes, num_classes + 1)


def epoch_means(
    rows: Iterable[Mapping[str, object]],
) -> dict[tuple[str, str], dict[int, float]]:
    """Return loss and accuracy of training and validation, one mean per epoch.

    Args:
        rows: as ``csv.DictReader`` reads Lightning's ``metrics.csv``: a column
            ``epoch`` and columns such as ``train_loss`` or ``val/acc``; an empty cell
            was not logged in that row. Other columns are passed over.

    Returns:
        ``{(metric, stage): {epoch: mean}}`` with metric ``"loss"`` or ``"accuracy"``
        and stage ``"train"`` or ``"validation"``.

    Raises:
        ValueError: a loss or accuracy without an epoch.
    """
    cells: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in rows:
        for column, value in row.items():
            key = _metric_and_stage(column, row)
            if key is None or value in (None, ""):
                continue
            if row.get("epoch") in (None, ""):
                raise ValueError(
                    f"{column} = {value} has no epoch, only the columns {sorted(row)}; "
                    "pass the rows of Lightning's metrics.csv"
                )
            epochs = cells.setdefault(key, {})
            epochs.setdefault(int(float(str(row["epoch"]))), []).append(
                float(str(value))
            )
    return {
        key: {epoch: sum(v) / len(v) for epoch, v in sorted(epochs.items())}
        for key, epochs in cells.items()
    }


def _metric_and_stage(column: str, row: Mapping[str, object]) -> tuple[str, str] | None:
    # Lightning logs x_step beside x_epoch when asked for both: the mean is logged then.
    if column.endswith("_step") and column.removesuffix("step") + "epoch" in row:
        return None
    words = set(re.findall("[a-z]+", column.lower())) - {"step", "epoch"}
    stage = {_STAGES[word] for word in words if word in _STAGES}
    metric = {_METRICS[word] for word in words if word in _METRICS}
    if len(words) == 2 and stage and metric:
        return metric.pop(), stage.pop()
    return None
