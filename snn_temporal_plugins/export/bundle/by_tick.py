"""The tick-driven integer emulator: the registers and phases of SPEC.md, literally.

Slower than the closed form of `emulate`, and independent of it. Potentials of ramps
saturate at the lowest value of their register and freeze when the neuron fires, as in
hardware, so that wherever the two agree, the proof of the widths has been tried too.
Spikes of one tick are added in the row-major order of their sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from snn_temporal_plugins.export.bundle.emulate import Emulation, check_ticks
from snn_temporal_plugins.export.bundle.events import EventCounts, count_spikes
from snn_temporal_plugins.export.bundle.integer import (
    MAX_REGISTER_BITS,
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    Widths,
    widths,
)
from snn_temporal_plugins.export.layers import PoolLayer
from snn_temporal_plugins.kernels.threads import split

__all__ = ["RegisterUse", "emulate_by_tick", "register_use", "tick_windows"]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")


@dataclass(frozen=True)
class RegisterUse:
    """How far the registers of one layer went, over all samples of some input.

    Attributes:
        slope_bits: width of `G`, sign included; 0 if the neurons have none.
        slope: lowest and highest `G`.
        slope_overflow: sticky flag, must be False: `G` left its register.
        potential_bits: width of `V`.
        potential: lowest and highest `V`, of ramps saturated and frozen.
        potential_overflow: sticky flag, must be False: `V` left its register, of ramps
            at the upper end.
        saturated: whether the `V` of a ramp met its lowest value, which is harmless in
            a register of the proved width.
    """

    slope_bits: int
    slope: tuple[int, int]
    slope_overflow: bool
    potential_bits: int
    potential: tuple[int, int]
    potential_overflow: bool
    saturated: bool


def emulate_by_tick(network: IntegerNetwork, input_ticks: ArrayLike) -> Emulation:
    """Run an integer network tick by tick, with registers of the proved widths.

    Args:
        network: the network.
        input_ticks: as for `emulate`.

    Returns:
        What `emulate` returns, found in another way.

    Raises:
        ValueError: if the ticks have the wrong type, shape or range.
    """
    return _run(network, input_ticks, None)[0]


def register_use(
    network: IntegerNetwork, input_ticks: ArrayLike, registers: Widths | None = None
) -> tuple[RegisterUse | None, ...]:
    """Run an integer network tick by tick and watch its registers.

    Args:
        network: the network.
        input_ticks: as for `emulate`.
        registers: widths in every layer, as on a chip; `None`: those that `widths`
            proves, layer by layer.

    Returns:
        The use of each layer's registers; `None` for pools, which have none.

    Raises:
        ValueError: if the ticks have the wrong type, shape or range, or the registers
            a width that no register of the format has.
    """
    step = network.response == "step"
    wanted = registers[step:] if registers else ()
    if not all(1 <= bits <= MAX_REGISTER_BITS for bits in wanted):
        raise ValueError(
            f"registers are {registers}; allowed: 1 to {MAX_REGISTER_BITS} bits"
        )
    return _run(network, input_ticks, registers)[1]


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


def _run(
    network: IntegerNetwork, input_ticks: ArrayLike, registers: Widths | None
) -> tuple[Emulation, tuple[RegisterUse | None, ...]]:
    ticks = check_ticks(network, input_ticks)
    all_ticks: list[NDArray[np.int32]] = [ticks]
    uses: list[RegisterUse | None] = []
    operations, updates = np.zeros((2, len(ticks), len(network.layers)), np.int64)
    for index, layer in enumerate(network.layers):
        shape, source = network.shapes[index], all_ticks[-1]
        if isinstance(layer, PoolLayer):
            kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
            windows = tick_windows(source, kernel, stride, padding)
            earliest = windows.min(axis=(-2, -1)).transpose(0, 3, 1, 2)
            all_ticks.append(np.ascontiguousarray(earliest))
            uses.append(None)
            continue
        bits = registers or widths(layer, network.num_ticks, network.response)
        fired = np.full((len(ticks), *shape), SILENT, np.int32)
        of_layer = operations[:, index], updates[:, index]
        uses.append(_run_layer(network, layer, bits, source, fired, *of_layer))
        all_ticks.append(fired)
    counts = EventCounts(count_spikes(all_ticks), operations, updates)
    return Emulation(ticks, tuple(all_ticks[1:]), counts), tuple(uses)


def _run_layer(
    network: IntegerNetwork,
    layer: IntegerDense | IntegerConv,
    bits: Widths,
    source: NDArray[np.int32],
    fired: NDArray[np.int32],
    operations: NDArray[np.int64],
    updates: NDArray[np.int64],
) -> RegisterUse:
    """Fill ticks and counts of a layer of neurons; a dense one has 1x1 kernels."""
    step = network.response == "step"
    weight, geometry = layer.weight, (1, 0)
    if isinstance(layer, IntegerConv):
        geometry = layer.stride, layer.padding
    else:
        weight = weight[:, :, None, None]
        source = source.reshape(len(source), weight.shape[1], 1, 1)
    # one run of output channels for each source and element of the kernel
    weight = np.ascontiguousarray(weight.transpose(1, 2, 3, 0))
    threshold = np.ascontiguousarray(layer.threshold, np.int64)
    maps = fired.reshape(*fired.shape, *(1,) * (4 - fired.ndim))
    lowest = -(1 << (bits.potential_bits - 1))

    def run(start: int, stop: int) -> object:
        given = source, weight, threshold, geometry, network.num_ticks, step, lowest
        return _samples(*given, maps, operations, updates, start, stop)

    parts = split(run, len(source), fired.size * network.num_ticks)
    ranges = np.array(parts)  # (part, slope or potential, lowest or highest)
    slope, potential = (
        (int(low), int(high))
        for low, high in zip(
            ranges[:, :, 0].min(axis=0), ranges[:, :, 1].max(axis=0), strict=True
        )
    )
    return RegisterUse(
        slope_bits=bits.slope_bits,
        slope=slope,
        slope_overflow=not step and _leaves(slope, bits.slope_bits),
        potential_bits=bits.potential_bits,
        potential=potential,
        potential_overflow=_leaves(potential, bits.potential_bits),
        saturated=not step and potential[0] == lowest,
    )


def _leaves(reach: tuple[int, int], bits: int) -> bool:
    """Whether a range is not one of a two's-complement register."""
    return reach[0] < -(1 << (bits - 1)) or reach[1] >= 1 << (bits - 1)


@_jit
def _samples(
    ticks,
    weight,
    threshold,
    geometry,
    num_ticks,
    step,
    lowest,
    fired,
    operations,
    updates,
    start,
    stop,
):
    """Run the samples start..stop; return the ranges of slopes and potentials."""
    stride, padding = geometry
    _, height, width = ticks.shape[1:]
    outputs, down, across = fired.shape[1:]
    inputs = ticks[0].size
    head = np.empty(num_ticks, np.int64)  # first spike of each tick, -1 if none
    following = np.empty(inputs, np.int64)  # the next one of the same tick
    # neurons in the order (row, column, channel)
    slope = np.empty(down * across * outputs, np.int64)
    potential = np.empty_like(slope)
    first = np.empty(slope.size, np.int32)
    limit = np.empty_like(slope)
    for place in range(down * across):
        limit[place * outputs : (place + 1) * outputs] = threshold
    slope_range, potential_range = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for b in range(start, stop):
        source = ticks[b].reshape(-1)
        head[:] = -1
        for i in range(inputs - 1, -1, -1):
            if source[i] != SILENT:
                following[i] = head[source[i]]
                head[source[i]] = i
        slope[:] = 0
        potential[:] = 0
        first[:] = SILENT
        for tick in range(num_ticks):
            if not step:
                _integrate(slope, potential, first, lowest, potential_range)
                updates[b] += _fire(potential, limit, first, tick)
            target, reach = slope, slope_range
            if step:
                target, reach = potential, potential_range
            i = head[tick]
            while i >= 0:
                c, y, x = i // (height * width), i // width % height, i % width
                operations[b] += _accumulate(
                    weight[c],
                    y + padding,
                    x + padding,
                    stride,
                    down,
                    across,
                    target,
                    reach,
                )
                i = following[i]
            if step and head[tick] >= 0:
                updates[b] += _fire(potential, limit, first, tick)
        for n in range(first.size):
            place, o = n // outputs, n % outputs
            fired[b, o, place // across, place % across] = first[n]
    return (
        (slope_range[0], slope_range[1]),
        (potential_range[0], potential_range[1]),
    )


@_jit
def _integrate(slope, potential, first, lowest, reach):
    """V += G, saturating low, of neurons that have not fired."""
    low, high = reach
    for n in range(potential.size):
        v = max(potential[n] + slope[n], lowest)
        v = v if first[n] == SILENT else potential[n]
        potential[n] = v
        low, high = min(low, v), max(high, v)
    reach[0], reach[1] = low, high


@_jit
def _fire(potential, threshold, first, tick):
    """Fire at V >= threshold, once; return how many neurons were visited."""
    visits = 0
    for n in range(potential.size):
        waits = first[n] == SILENT
        first[n] = tick if waits and potential[n] >= threshold[n] else first[n]
        visits += waits
    return visits


@_jit
def _accumulate(weight, row, column, stride, down, across, target, reach):
    """Add the weights of one spike; return how many additions that took.

    weight is (k, k, out), and row and column those of the spike in the padded image.
    """
    kernel, _, outputs = weight.shape
    low, high = reach
    additions = 0
    for p in range(kernel):
        for q in range(kernel):
            y, x = (row - p) // stride, (column - q) // stride
            meets = y * stride == row - p and x * stride == column - q
            if not (meets and 0 <= y < down and 0 <= x < across):
                continue
            start = (y * across + x) * outputs
            for o in range(outputs):
                total = target[start + o] + weight[p, q, o]
                target[start + o] = total
                low, high = min(low, total), max(high, total)
            additions += outputs
    reach[0], reach[1] = low, high
    return additions
