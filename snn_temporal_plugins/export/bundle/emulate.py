"""The integer emulator: exact first-spike ticks and exact event counts of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snn_temporal_plugins.export.bundle.closed_form import run_neurons, run_pool
from snn_temporal_plugins.export.bundle.events import EventCounts, count_spikes
from snn_temporal_plugins.export.bundle.integer import SILENT, IntegerNetwork
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = ["Emulation", "check_ticks", "emulate", "spike_difference"]


@dataclass(frozen=True, eq=False)
class Emulation:
    """First-spike ticks of every layer; `SILENT` (65535) where none came.

    Attributes:
        input_ticks: `(batch, *input_shape)` int32.
        layer_ticks: one `(batch, *shape)` int32 array per layer.
        counts: events per sample.
    """

    input_ticks: NDArray[np.int32]
    layer_ticks: tuple[NDArray[np.int32], ...]
    counts: EventCounts

    @property
    def output_ticks(self) -> NDArray[np.int32]:
        """`(batch, out)` first-spike ticks of the last layer."""
        return self.layer_ticks[-1]


def emulate(network: IntegerNetwork, input_ticks: ArrayLike) -> Emulation:
    """Run an integer network event by event, in closed form.

    On as many threads as torch uses: `torch.set_num_threads`.

    Args:
        network: the network.
        input_ticks: `(batch, *input_shape)` integers, tick of each input's spike,
            `0 .. num_ticks - 1`, or `SILENT` (65535) for none.

    Returns:
        First-spike ticks of every layer and the event counts.

    Raises:
        ValueError: if the ticks have the wrong type, shape or range.
    """
    ticks = check_ticks(network, input_ticks)
    all_ticks = [ticks]
    operations, updates = np.zeros((2, len(ticks), len(network.layers)), np.int64)
    for index, layer in enumerate(network.layers):
        shape, source = network.shapes[index], all_ticks[-1]
        if isinstance(layer, PoolLayer):
            all_ticks.append(run_pool(layer, source, shape))
            continue
        step = network.response == "step"
        found = run_neurons(layer, source, shape, network.num_ticks, step=step)
        all_ticks.append(found.ticks)
        operations[:, index], updates[:, index] = found.operations, found.updates
    counts = EventCounts(count_spikes(all_ticks), operations, updates)
    return Emulation(ticks, tuple(all_ticks[1:]), counts)


def spike_difference(
    wanted: Sequence[NDArray[np.int32]],
    found: Sequence[NDArray[np.int32]],
    program: str,
) -> str | None:
    """The first spike that another program has at another tick, in words.

    Args:
        wanted: `layer_ticks` of the emulator.
        found: those of the program.
        program: its name.

    Returns:
        A sentence; None if all spikes are equal.
    """
    for index, (ours, theirs) in enumerate(zip(wanted, found, strict=True)):
        wrong = np.argwhere(ours != theirs)
        if len(wrong):
            place = tuple(wrong[0].tolist())
            return (
                f"sample {place[0]}, layer {index}, neuron {place[1:]}: {program} "
                f"spikes at tick {theirs[place]}, the emulator at {ours[place]} "
                f"({SILENT}: never)"
            )
    return None


def check_ticks(network: IntegerNetwork, ticks: ArrayLike) -> NDArray[np.int32]:
    """Input ticks as int32, or an error that says what is allowed.

    Args:
        network: the network that will read them.
        ticks: `(batch, *input_shape)` integers.

    Raises:
        ValueError: if the type, the shape or a value is wrong.
    """
    array = np.asarray(ticks)
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"input ticks have dtype {array.dtype}; allowed: integers. "
            "to_ticks() turns spike times into ticks"
        )
    if array.shape[1:] != network.input_shape or array.ndim == 0:
        raise ValueError(
            f"input ticks have shape {array.shape}; allowed: "
            f"(batch, {', '.join(map(str, network.input_shape))})"
        )
    valid = ((array >= 0) & (array < network.num_ticks)) | (array == SILENT)
    if not valid.all():
        raise ValueError(
            f"input tick {array[~valid][0]} is not allowed; allowed: 0 to "
            f"{network.num_ticks - 1}, or {SILENT} for silence"
        )
    return array.astype(np.int32, order="C")
