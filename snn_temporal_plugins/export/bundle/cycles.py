"""The clock cycles of the reference core, in closed form.

With `s_l` neurons in the longest slice of layer `l`, `T` ticks and `b(i)` the longest
burst of source `i` over the PEs:

    cycles = sum over layers (s_l + 1)              CLEAR
           + T * (2 + sum over layers (s_l + 3))    every tick visits every neuron
           + sum over spikes (2 + b(i))             ACCUMULATE
           + spikes of the last layer               events that leave the core
           + 1

The spikes are those of the input and of all layers but the last, each counted once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.emulate import Emulation
from snn_temporal_plugins.export.bundle.integer import SILENT
from snn_temporal_plugins.export.bundle.mapping import Mapping
from snn_temporal_plugins.export.bundle.memory import longest_bursts

__all__ = ["core_cycles"]


def core_cycles(mapping: Mapping, emulation: Emulation) -> NDArray[np.int64]:
    """Cycles of the reference core, from the start of a sample to its end.

    The equation stands on top of this file. The host is taken to be always ready.

    Args:
        mapping: the network on the chip.
        emulation: spikes of a batch of the same network, from `emulate`.

    Returns:
        `(batch,)` cycles.
    """
    slices = np.array(mapping.slices, dtype=np.int64)
    clear = (slices + 1).sum()
    ticks = mapping.network.num_ticks * (2 + (slices + 3).sum())
    batch = len(emulation.input_ticks)
    cycles = np.full(batch, clear + ticks + 1, dtype=np.int64)
    spiking = (emulation.input_ticks, *emulation.layer_ticks[:-1])
    for ticks, bursts in zip(spiking, longest_bursts(mapping), strict=True):
        flat = ticks.reshape(batch, math.prod(ticks.shape[1:]))
        cycles += (flat != SILENT) @ (2 + bursts)
    return cycles + (emulation.output_ticks != SILENT).sum(axis=1)
