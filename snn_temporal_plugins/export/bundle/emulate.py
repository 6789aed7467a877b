"""The tick-driven integer emulator: exact first-spike ticks and exact event counts.

Matrix products run in floating point, where integers below 2**24 (float32) or 2**53
(float64) are exact in any order of summation; the bound is proved from the weights.
A convolution is a dense layer over the windows of its input.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from snn_temporal_plugins.export.bundle.events import EventCounts, count_events
from snn_temporal_plugins.export.bundle.integer import (
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerLayer,
    IntegerNetwork,
    weight_sums,
)
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = ["Emulation", "check_ticks", "emulate", "tick_windows"]

_ROW_ELEMENTS = 1 << 15  # potentials of one chunk stay in the second-level cache
_WINDOW_ELEMENTS = 1 << 22  # window entries of one chunk of images


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
    """Run an integer network tick by tick.

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
    for layer in network.layers:
        all_ticks.append(_layer_ticks(network, layer, all_ticks[-1]))
    return Emulation(
        input_ticks=ticks,
        layer_ticks=tuple(all_ticks[1:]),
        counts=count_events(network, all_ticks),
    )


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
    return array.astype(np.int32)


def tick_windows(
    ticks: NDArray[np.int32], kernel: int, stride: int, padding: int
) -> NDArray[np.int32]:
    """Windows of a sliding square kernel; padding is silent.

    Args:
        ticks: `(batch, channels, rows, columns)`.
        kernel: side of the window.
        stride: pixels between two windows.
        padding: silent pixels added on each side.

    Returns:
        `(batch, rows', columns', channels, kernel, kernel)`.
    """
    sides = (padding, padding)
    padded = np.pad(ticks, ((0, 0), (0, 0), sides, sides), constant_values=SILENT)
    windows = sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    return windows[:, :, ::stride, ::stride].transpose(0, 2, 3, 1, 4, 5)


def _layer_ticks(
    network: IntegerNetwork, layer: IntegerLayer, ticks: NDArray[np.int32]
) -> NDArray[np.int32]:
    """First-spike ticks of one layer."""
    if isinstance(layer, PoolLayer):
        windows = tick_windows(ticks, layer.kernel_size, layer.stride, layer.padding)
        return windows.min(axis=(-2, -1)).transpose(0, 3, 1, 2)
    if isinstance(layer, IntegerDense):
        flat = ticks.reshape(len(ticks), layer.weight.shape[1])
        return _first_ticks(network, layer, flat)
    maps = []
    channels, inputs, kernel, _ = layer.weight.shape
    for part in _image_chunks(ticks, layer):
        windows = tick_windows(part, kernel, layer.stride, layer.padding)
        count, rows, columns = windows.shape[:3]
        flat = windows.reshape(count * rows * columns, inputs * kernel * kernel)
        fired = _first_ticks(network, layer, flat)
        maps.append(fired.reshape(count, rows, columns, channels).transpose(0, 3, 1, 2))
    return np.concatenate(maps)


def _image_chunks(ticks: NDArray, layer: IntegerConv) -> Iterator[NDArray]:
    """Images in chunks whose windows fit into memory; one empty chunk for none."""
    per_image = math.prod(ticks.shape[1:]) * math.prod(layer.weight.shape[2:])
    step = max(1, _WINDOW_ELEMENTS // per_image)
    for start in range(0, max(1, len(ticks)), step):
        yield ticks[start : start + step]


def _first_ticks(
    network: IntegerNetwork,
    layer: IntegerDense | IntegerConv,
    ticks: NDArray[np.int32],
) -> NDArray[np.int32]:
    """First-spike ticks `(row, out)` of neurons that see `(row, in)` ticks."""
    weight = layer.weight.reshape(len(layer.weight), -1)
    rise, fall = weight_sums(weight)
    terms = network.num_ticks if network.response == "ramp" else 1
    bound = terms * int((rise + fall).max()) + int(layer.threshold.max())
    dtype = np.float32 if bound < 1 << 24 else np.float64
    source_major = np.ascontiguousarray(weight.T, dtype=dtype)
    threshold = layer.threshold.astype(dtype)
    fired = np.full((len(ticks), len(weight)), SILENT, dtype=np.int32)
    step = max(1, _ROW_ELEMENTS // len(weight))
    for start in range(0, len(ticks), step):
        rows = slice(start, start + step)
        _run_rows(network, ticks[rows], source_major, threshold, fired[rows])
    return fired


def _run_rows(
    network: IntegerNetwork,
    ticks: NDArray[np.int32],
    source_major: NDArray,
    threshold: NDArray,
    fired: NDArray[np.int32],
) -> None:
    """Fill `fired` by the phases of each tick.

    Ramps too ACCUMULATE before they FIRE here: a slope acts in the next tick anyway.
    """
    potential = np.zeros(fired.shape, dtype=source_major.dtype)
    ramp = network.response == "ramp"
    total = np.zeros_like(potential) if ramp else potential  # what spikes add to
    waiting = np.ones(fired.shape, dtype=bool)
    events = _Events(ticks, network.num_ticks)
    for tick in range(network.num_ticks):
        if ramp:
            potential += total
        rows, columns = events.at(tick)
        if len(rows):
            sources, position = np.unique(columns, return_inverse=True)
            spikes = np.zeros((len(ticks), len(sources)), dtype=total.dtype)
            spikes[rows, position] = 1
            total += spikes @ source_major[sources]
        hit = potential >= threshold
        hit &= waiting
        if hit.any():
            fired[hit] = tick
            waiting ^= hit
            if not waiting.any():
                return


class _Events:
    """The spikes of a chunk, sorted by tick."""

    def __init__(self, ticks: NDArray[np.int32], num_ticks: int) -> None:
        rows, columns = np.nonzero(ticks != SILENT)
        times = ticks[rows, columns]
        order = np.argsort(times, kind="stable")
        self._rows, self._columns = rows[order], columns[order]
        self._bounds = np.searchsorted(times[order], np.arange(num_ticks + 1))

    def at(self, tick: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the spikes of one tick."""
        spikes = slice(self._bounds[tick], self._bounds[tick + 1])
        return self._rows[spikes], self._columns[spikes]
