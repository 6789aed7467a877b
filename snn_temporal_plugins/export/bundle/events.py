"""Exact event counts of an emulated network: what a chip would have done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.integer import SILENT

__all__ = ["EventCounts", "count_spikes"]


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


def count_spikes(ticks: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Count the spikes of a batch.

    Args:
        ticks: of the input, then of each layer, `(batch, *shape)`.

    Returns:
        `(batch, layers + 1)`.
    """
    return np.stack(
        [np.count_nonzero(t != SILENT, axis=tuple(range(1, t.ndim))) for t in ticks],
        axis=1,
    )
