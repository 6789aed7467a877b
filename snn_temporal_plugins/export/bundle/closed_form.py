"""First spikes by the event-driven closed form: solved for, and not stepped to.

Between two arrivals the potential of a ramp neuron is a straight line. With the sums
over the spikes that have come,

    A = sum w_i        C = threshold + sum w_i t_i        V(t) - threshold = A t - C

it meets its threshold at tick ceil(C / A) if A > 0. A neuron takes the spikes of tick
`t` while `A t < C`. One that has crossed keeps A > 0 and C, so that `A t < C` never
holds again and no flag is needed; when the last spike has come, one division gives its
tick, and that of a neuron that crosses later. The potential of a step neuron moves with
arrivals alone: all spikes of a tick are added before it is compared.

No sum overflows: `IntegerNetwork` holds slopes and thresholds below 2**31 and ticks
below 2**16, so `|A| < 2**31`, `|A t| < 2**47` and `|C| < 2**48`.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.integer import (
    SILENT,
    IntegerConv,
    IntegerDense,
)
from snn_temporal_plugins.export.layers import PoolLayer
from snn_temporal_plugins.kernels.threads import split

__all__ = ["LayerEvents", "run_neurons", "run_pool"]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")


class LayerEvents(NamedTuple):
    """What one layer of neurons did.

    Attributes:
        ticks: `(batch, *shape)` int32 first-spike ticks.
        operations: `(batch,)` int64 synaptic additions.
        updates: `(batch,)` int64 visits to neurons that had not fired before.
    """

    ticks: NDArray[np.int32]
    operations: NDArray[np.int64]
    updates: NDArray[np.int64]


def run_neurons(
    layer: IntegerDense | IntegerConv,
    ticks: NDArray[np.int32],
    shape: tuple[int, ...],
    num_ticks: int,
    *,
    step: bool,
) -> LayerEvents:
    """First spikes of a layer of neurons, on as many threads as torch uses.

    Args:
        layer: the layer.
        ticks: `(batch, *input_shape)` int32 ticks of its input.
        shape: of one sample of its output.
        num_ticks: number of ticks.
        step: whether the neurons are steps; otherwise they are ramps.

    Returns:
        First-spike ticks and event counts.
    """
    batch, outputs = len(ticks), shape[0]
    if isinstance(layer, IntegerConv):
        geometry = layer.weight.shape[2], layer.stride, layer.padding
    else:  # a 1x1 kernel on a 1x1 image
        geometry, ticks = (1, 1, 0), ticks.reshape(batch, layer.weight.shape[1], 1, 1)
    rows = layer.weight.reshape(outputs, -1).T
    small = np.iinfo(np.int8).min <= rows.min() and rows.max() <= np.iinfo(np.int8).max
    weight = np.ascontiguousarray(rows, np.int8 if small else np.int32)
    threshold = np.ascontiguousarray(layer.threshold, np.int64)
    fired = np.empty((batch, *shape), np.int32)
    maps = fired.reshape(batch, outputs, *(shape[1:] or (1, 1)))
    operations, updates = np.empty((2, batch), np.int64)

    def run(start: int, stop: int) -> None:
        given = ticks, weight, threshold, geometry, num_ticks, step
        _neurons(*given, maps, operations, updates, start, stop)

    split(run, batch, fired.size * len(weight))
    return LayerEvents(fired, operations, updates)


def run_pool(
    layer: PoolLayer, ticks: NDArray[np.int32], shape: tuple[int, ...]
) -> NDArray[np.int32]:
    """Earliest spike of each window.

    Args:
        layer: the pool.
        ticks: `(batch, channels, rows, columns)` int32 ticks of its input.
        shape: of one sample of its output.

    Returns:
        `(batch, *shape)` int32 ticks.
    """
    earliest = np.empty((len(ticks), *shape), np.int32)
    geometry = layer.kernel_size, layer.stride, layer.padding
    split(
        lambda start, stop: _pool(ticks, geometry, earliest, start, stop),
        len(ticks),
        earliest.size * layer.kernel_size**2,
    )
    return earliest


@_jit
def _sort(ticks, num_ticks, order, head, busy):
    """Indices of the spikes in order of their ticks; their number.

    busy[t] becomes the number of ticks up to and with t in which a spike comes.
    """
    head[:] = 0
    for i in range(ticks.size):
        if ticks[i] != SILENT:
            head[ticks[i] + 1] += 1
    different = 0
    for t in range(num_ticks):
        different += head[t + 1] > 0
        busy[t] = different
        head[t + 1] += head[t]
    number = head[num_ticks]
    for i in range(ticks.size):
        t = ticks[i]
        if t != SILENT:
            order[head[t]] = i
            head[t] += 1
    return number


@_jit
def _add_tick(row, tick, k, n, weight, total):
    """Sum the weights of all spikes of one tick; return the first spike after it."""
    t = tick[k]
    first = weight[row[k]]
    for j in range(total.size):
        total[j] = first[j]
    k += 1
    while k + 2 < n and tick[k + 2] == t:  # three a pass: fewer loads of the sum
        one, two, three = weight[row[k]], weight[row[k + 1]], weight[row[k + 2]]
        for j in range(total.size):
            total[j] += np.int32(one[j]) + np.int32(two[j]) + np.int32(three[j])
        k += 3
    while k < n and tick[k] == t:
        one = weight[row[k]]
        for j in range(total.size):
            total[j] += one[j]
        k += 1
    return k


@_jit
def _ramps(row, tick, n, weight, threshold, num_ticks, slope, level, total, fired):
    """First crossings of neurons that all see the same n spikes, sorted by tick."""
    slope[:] = 0
    level[:] = threshold
    k = 0
    while k < n:
        t = np.int64(tick[k])
        k = _add_tick(row, tick, k, n, weight, total)
        waiting = 0
        for j in range(total.size):
            a, c = np.int64(slope[j]), level[j]
            waits = a * t < c
            w = np.int64(total[j]) if waits else 0
            slope[j] = a + w
            level[j] = c + w * t
            waiting += waits
        if waiting == 0:
            break
    for j in range(total.size):
        a, c = np.int64(slope[j]), level[j]
        crosses = a > 0 and c <= a * (num_ticks - 1)
        fired[j] = (c + a - 1) // a if crosses else SILENT


@_jit
def _steps(row, tick, n, weight, threshold, potential, total, fired):
    """The same of steps: a neuron takes the spikes of a tick while V < threshold."""
    potential[:] = 0
    fired[:] = SILENT
    k = 0
    while k < n:
        t = tick[k]
        k = _add_tick(row, tick, k, n, weight, total)
        waiting = 0
        for j in range(total.size):
            waits = potential[j] < threshold[j]
            potential[j] += total[j] if waits else 0
            fired[j] = t if waits else fired[j]
            waiting += waits
        if waiting == 0:
            break
    for j in range(total.size):
        fired[j] = fired[j] if potential[j] >= threshold[j] else SILENT


@_jit
def _neurons(
    ticks,
    weight,
    threshold,
    geometry,
    num_ticks,
    step,
    fired,
    operations,
    updates,
    start,
    stop,
):
    """Fill the results of the samples start..stop; weight is (in, out)."""
    kernel, stride, padding = geometry
    down, across = fired.shape[2:]
    channels, height, width = ticks.shape[1:]
    inputs, outputs = weight.shape
    order = np.empty(channels * height * width, np.int32)
    head = np.empty(num_ticks + 1, np.int32)
    busy = np.empty(num_ticks, np.int32)
    # the spikes that each place sees, in order of their ticks
    number = np.empty(down * across, np.int32)
    row = np.empty((down * across, inputs), np.int32)
    tick = np.empty((down * across, inputs), np.int32)
    slope = np.empty(outputs, np.int32)
    total = np.empty(outputs, np.int32)
    level = np.empty(outputs, np.int64)
    first = np.empty(outputs, np.int32)
    for b in range(start, stop):
        flat = ticks[b].reshape(-1)
        spikes = _sort(flat, num_ticks, order, head, busy)
        number[:] = 0
        for s in range(spikes):
            i = order[s]
            c, y, x = i // (height * width), i // width % height, i % width
            for p in range(kernel):
                above = y + padding - p
                if above < 0 or above % stride or above // stride >= down:
                    continue
                for q in range(kernel):
                    left = x + padding - q
                    if left < 0 or left % stride or left // stride >= across:
                        continue
                    place = above // stride * across + left // stride
                    k = number[place]
                    row[place, k] = (c * kernel + p) * kernel + q
                    tick[place, k] = flat[i]
                    number[place] = k + 1
        visits = additions = 0
        for place in range(down * across):
            n = number[place]
            rows, times = row[place], tick[place]
            if step:
                _steps(rows, times, n, weight, threshold, level, total, first)
            else:
                _ramps(
                    rows,
                    times,
                    n,
                    weight,
                    threshold,
                    num_ticks,
                    slope,
                    level,
                    total,
                    first,
                )
            additions += n * outputs
            for j in range(outputs):
                fired[b, j, place // across, place % across] = first[j]
                last = min(first[j], num_ticks - 1)
                visits += busy[last] if step else last + 1
        operations[b] = additions
        updates[b] = visits


@_jit
def _pool(ticks, geometry, earliest, start, stop):
    """Earliest spikes of the samples start..stop."""
    kernel, stride, padding = geometry
    channels, height, width = ticks.shape[1:]
    for b in range(start, stop):
        for c in range(channels):
            image = ticks[b, c]
            for y in range(earliest.shape[2]):
                top = y * stride - padding
                for x in range(earliest.shape[3]):
                    left = x * stride - padding
                    first = np.int32(SILENT)
                    for p in range(max(0, top), min(height, top + kernel)):
                        for q in range(max(0, left), min(width, left + kernel)):
                            first = min(first, image[p, q])
                    earliest[b, c, y, x] = first
