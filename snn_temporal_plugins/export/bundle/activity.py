"""What a network does up to a tick, and which memory words it moves: exact counts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.emulate import Emulation
from snn_temporal_plugins.export.bundle.events import EventCounts, count_spikes
from snn_temporal_plugins.export.bundle.integer import (
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
)
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = ["MemoryWords", "count_until", "early_exit", "memory_words"]


class MemoryWords(NamedTuple):
    """Words of one memory that a layer moves, `(batch, layers)` int64 each."""

    read: NDArray[np.int64]
    written: NDArray[np.int64]


def early_exit(
    network: IntegerNetwork, emulation: Emulation
) -> tuple[EventCounts, NDArray[np.int64]]:
    """Events of a chip that stops after the tick of the first output spike.

    Args:
        network: the network.
        emulation: of the network, from `emulate`.

    Returns:
        The events, and `(batch,)` the ticks that are run; all `num_ticks` of a sample
        whose outputs stay silent.
    """
    first = emulation.output_ticks.reshape(len(emulation.output_ticks), -1).min(axis=1)
    last = np.minimum(first, network.num_ticks - 1).astype(np.int64)
    return count_until(network, emulation, last), last + 1


def count_until(
    network: IntegerNetwork, emulation: Emulation, last: NDArray[np.int64]
) -> EventCounts:
    """Count the events of each sample up to and with a tick.

    Args:
        network: the network.
        emulation: of the network, from `emulate`.
        last: `(batch,)` the last tick that counts; with `num_ticks - 1` the result is
            that of the emulation.

    Returns:
        The counts per sample.
    """
    ticks = [emulation.input_ticks, *emulation.layer_ticks]
    past = [layer > last.reshape(-1, *[1] * (layer.ndim - 1)) for layer in ticks]
    cut = [np.where(a, SILENT, b) for a, b in zip(past, ticks, strict=True)]
    operations = np.zeros((len(last), len(network.layers)), dtype=np.int64)
    updates = np.zeros_like(operations)
    for index, (source, fired) in enumerate(pairwise(cut)):
        layer = network.layers[index]
        if isinstance(layer, PoolLayer):
            continue
        reach = _fan_out(layer, source.shape[1:], fired.shape[1:])
        operations[:, index] = (
            ((source != SILENT) * reach).reshape(len(last), -1).sum(1)
        )
        busy = np.ones((len(last), network.num_ticks), dtype=np.int64)
        if network.response == "step":
            busy[:] = 0
            spikes = source != SILENT
            busy[np.nonzero(spikes)[0], source[spikes]] = 1
        visited = np.minimum(fired.reshape(len(last), -1), last[:, None])
        updates[:, index] = np.take_along_axis(busy.cumsum(1), visited, axis=1).sum(1)
    return EventCounts(count_spikes(cut), operations, updates)


def memory_words(
    network: IntegerNetwork, counts: EventCounts
) -> Mapping[str, MemoryWords]:
    """Memory words that each layer reads and writes, by kind.

    For a core that stores what SPEC.md describes: an operation reads its weight (and,
    if the layer is no dense one, its target) and adds it to the slope, of steps to the
    potential; an update reads the potential and the threshold and, of ramps, reads the
    slope and writes the potential; a spike is queued, read once, and reads one route.

    Args:
        network: the network.
        counts: its events.

    Returns:
        Words of "weights", "targets", "routes", "slopes", "potentials", "thresholds"
        and "queues".
    """
    none = np.zeros_like(counts.operations)
    operations, updates = counts.operations, counts.updates
    listed = [isinstance(layer, IntegerConv) for layer in network.layers]
    into, out = counts.spikes[:, :-1], counts.spikes[:, 1:]
    if network.response == "ramp":
        slopes = MemoryWords(operations + updates, operations)
        potentials = MemoryWords(updates, updates)
    else:
        slopes = MemoryWords(none, none)
        potentials = MemoryWords(operations + updates, operations)
    return {
        "weights": MemoryWords(operations, none),
        "targets": MemoryWords(operations * listed, none),
        "routes": MemoryWords(into, none),
        "slopes": slopes,
        "potentials": potentials,
        "thresholds": MemoryWords(updates, none),
        "queues": MemoryWords(into, out),
    }


def _fan_out(
    layer: IntegerDense | IntegerConv, shape: tuple[int, ...], outputs: tuple[int, ...]
) -> NDArray[np.int64]:
    """Neurons that each input reaches, of a shape that broadcasts."""
    if isinstance(layer, IntegerDense):
        return np.array(len(layer.weight))
    rows, columns = (
        _windows_over(shape[axis], outputs[axis], layer) for axis in (1, 2)
    )
    return np.outer(rows, columns) * len(layer.weight)


def _windows_over(size: int, outputs: int, layer: IntegerConv) -> NDArray[np.int64]:
    """`(size,)` number of windows along one axis that cover each pixel."""
    corners = layer.stride * np.arange(outputs) - layer.padding
    tap = np.arange(size)[:, None] - corners
    return ((tap >= 0) & (tap < layer.weight.shape[2])).sum(axis=1)
