"""Exact event counts of an emulated network: what a chip would have done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.integer import (
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerLayer,
    IntegerNetwork,
)
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = ["EventCounts", "count_events"]


@dataclass(frozen=True, eq=False)
class EventCounts:
    """What a chip would have done, per sample.

    Attributes:
        spikes: `(batch, layers + 1)` spikes of the input and of each layer.
        operations: `(batch, layers)` synaptic additions into each layer; fired
            neurons are counted too, they sit on the same bus.
        updates: `(batch, layers)` visits to neurons that have not fired before, one
            per neuron and tick: of ramps in every tick, to integrate; of steps in
            ticks in which a spike reaches the layer, to test the potential.
    """

    spikes: NDArray[np.int64]
    operations: NDArray[np.int64]
    updates: NDArray[np.int64]

    @property
    def packets(self) -> NDArray[np.int64]:
        """`(batch,)` messages sent: every spike is one."""
        return self.spikes.sum(axis=1)


def count_events(
    network: IntegerNetwork, ticks: Sequence[NDArray[np.int32]]
) -> EventCounts:
    """Count the events of a batch from its first-spike ticks.

    Args:
        network: the network.
        ticks: of the input, then of each layer, `(batch, *shape)`.

    Returns:
        The counts per sample.
    """
    steps = list(zip(network.layers, pairwise(ticks), strict=True))
    return EventCounts(
        spikes=np.stack([_fired(spikes) for spikes in ticks], axis=1),
        operations=np.stack([_operations(one, *two) for one, two in steps], axis=1),
        updates=np.stack(
            [_updates(network, layer, *ticks) for layer, ticks in steps], axis=1
        ),
    )


def _fired(ticks: NDArray[np.int32]) -> NDArray[np.int64]:
    """Spikes per sample."""
    return (ticks != SILENT).sum(axis=tuple(range(1, ticks.ndim)), dtype=np.int64)


def _operations(
    layer: IntegerLayer, source: NDArray[np.int32], ticks: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Synaptic additions per sample: each input spike times the neurons it reaches."""
    if isinstance(layer, PoolLayer):
        return np.zeros(len(source), dtype=np.int64)
    if isinstance(layer, IntegerDense):
        return _fired(source) * len(layer.weight)
    kernel = layer.weight.shape[2]
    touched = [
        _windows_over(source.shape[axis], ticks.shape[axis], kernel, layer)
        for axis in (2, 3)
    ]
    reach = np.outer(*touched) * len(layer.weight)
    return ((source != SILENT) * reach).sum(axis=(1, 2, 3), dtype=np.int64)


def _windows_over(
    size: int, outputs: int, kernel: int, layer: IntegerConv
) -> NDArray[np.int64]:
    """`(size,)` number of windows along one axis that cover each pixel."""
    offset = (
        np.arange(size)[:, None]
        + layer.padding
        - layer.stride * np.arange(outputs)[None, :]
    )
    return ((offset >= 0) & (offset < kernel)).sum(axis=1, dtype=np.int64)


def _updates(
    network: IntegerNetwork,
    layer: IntegerLayer,
    source: NDArray[np.int32],
    ticks: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Visits per sample: in all busy ticks up to and with the one that fires."""
    if isinstance(layer, PoolLayer):
        return np.zeros(len(ticks), dtype=np.int64)
    busy = np.ones((len(ticks), network.num_ticks), dtype=np.int64)
    if network.response == "step":
        busy[:] = 0
        spikes = source != SILENT
        busy[np.nonzero(spikes)[0], source[spikes]] = 1
    last = np.minimum(ticks, network.num_ticks - 1)
    last = last.reshape(len(ticks), math.prod(ticks.shape[1:]))
    visits = np.take_along_axis(busy.cumsum(axis=1), last, axis=1)
    return visits.sum(axis=1, dtype=np.int64)
