"""The first crossing behind a convolution: `first_crossing` on every patch of a map.

No patch is stored. The spikes of a sample are sorted once; a row of places takes from
them those that it sees, and a place from these, in time order. As many neighbouring
places as have 64 neurons sweep the list of all their inputs together; to a place that
does not see an input its weight is 0. Times and levels are those of
`first_crossing` on patches, up to rounding, and so are the causal sets, though the
bound may be the time of an input that a neighbour sees.

The backward visits only the pairs of place and map that have an error, which after a
pool are few:

    grad_time_i   =  sum_pj delta_pj w_j(i - p)            [t_i < bound_pj]
    grad_weight_j = -sum_bp delta_pj (t_pj - t_i)          [t_i < bound_pj]

Source: as in `first_crossing`; the walk over a map is ours.
"""

import functools
from typing import Any

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snn_temporal_plugins.kernels.event_sort import sort_events
from snn_temporal_plugins.kernels.first_crossing import (
    _raise_if,
    _require_response,
    first_crossing,
    first_crossing_backward,
)
from snn_temporal_plugins.kernels.image_runs import slid
from snn_temporal_plugins.kernels.lanes import (
    WIDTH,
    above,
    add,
    anywhere,
    fused,
    load,
    negative,
    splat,
    store,
    store_where,
    subtract,
    unless,
    where,
)
from snn_temporal_plugins.kernels.threads import split

LANES = 8  # patches are padded to a multiple: no scalar rest of the inner loops
# Neurons that share a list of inputs, as long as they have places enough. It does not
# follow the width of the registers, so that bounds are the same on all machines.
_SHARING = 64
# places of the state that a tile of neurons leaves behind
_LEVEL, _POTENTIAL, _LAST, _BOUND = range(0, 4 * WIDTH, WIDTH)
_PARTS = 8  # of the batch, each with a sum of its own: threads do not change the order


def unfold(spike_time: Tensor, side: int, stride: int, padding: int) -> Tensor:
    """Cut spike times into the patches of a convolution; the border is silent.

    Args:
        spike_time: Spike times, (batch, channel, height, width).
        side: Side of the square kernel.
        stride: Step between patches.
        padding: Silent border on every side.

    Returns:
        Patches, (batch, place, channel * side * side).
    """
    padded = F.pad(spike_time, (padding,) * 4, value=float("inf"))
    return F.unfold(padded, side, stride=stride).transpose(1, 2)


def kernel_of(sums: Tensor, channels: int, side: int) -> Tensor:
    """The sum over all parts of a gradient, in the order of the weights.

    Args:
        sums: One gradient for each part, (part, map, column * channel * row), padded.
        channels: Number of input maps.
        side: Side of the kernel.

    Returns:
        (map, channel, side, side).
    """
    total = functools.reduce(torch.add, sums.unbind())[:, : channels * side * side]
    return total.unflatten(1, (side, channels, side)).permute(0, 2, 3, 1).contiguous()


def parts_of(batch: int) -> list[int]:
    """Edges of the parts of a batch that have a sum of their own.

    They do not depend on the number of threads, and so neither does the total.

    Args:
        batch: Number of samples.
    """
    parts = max(1, min(_PARTS, batch))
    return [batch * part // parts for part in range(parts + 1)]


def _shape_of_maps(spike_time, weight, stride, padding) -> tuple[int, int, int, int]:
    down, across = slid(spike_time.shape[2:], weight.shape[2:], stride, padding)
    return spike_time.shape[0], weight.shape[0], down, across


# --- reference bodies: the dense op on patches ------------------------------------


def _forward_reference(
    spike_time, weight, v_th, stride, padding, t_max, response="ramp", leak=1.0
):
    shape = _shape_of_maps(spike_time, weight, stride, padding)
    cut = unfold(spike_time, weight.shape[2], stride, padding).flatten(0, 1)
    flat = first_crossing(cut, weight.flatten(1), v_th, t_max, response, leak)
    places = (shape[0], *shape[2:], shape[1])
    return tuple(x.view(places).movedim(3, 1).contiguous() for x in flat)


def _backward_reference(
    delta,
    spike_time,
    weight,
    post_spike_time,
    bound,
    stride,
    padding,
    need_time,
    need_weight,
):
    side = weight.shape[2]
    cut = unfold(spike_time, side, stride, padding)
    delta, post, bound = (
        x.movedim(1, 3).flatten(0, 2) for x in (delta, post_spike_time, bound)
    )
    grad_time, grad_weight = first_crossing_backward(
        delta, cut.flatten(0, 1), weight.flatten(1), post, bound, need_time, need_weight
    )
    if need_time:
        patches = grad_time.view_as(cut).transpose(1, 2)
        image = spike_time.shape[2:]
        grad_time = F.fold(patches, image, side, padding=padding, stride=stride)
    return grad_time, grad_weight.view_as(weight) if need_weight else grad_weight


# --- Numba bodies: one sample after the other on the CPU --------------------------

# contract: v + a * d may become one fused multiply-add. NaN and inf stay exact.
jit: Any = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"contract"}
)


@jit
def _check(weight, v_th):
    """The code of what is wrong with an (in, out) array and its thresholds, or 0."""
    finite = True
    for i in range(weight.shape[0]):
        row = weight[i]
        for j in range(row.shape[0]):
            finite &= abs(row[j]) < np.inf
    if not finite:
        return 2
    for j in range(v_th.shape[0]):
        if not 0 < v_th[j] < np.inf:
            return 3
    return 0


@jit
def _coordinates(index, n, shape, span, padding, row, column, base):
    """Where each event lies on the padded map, and its weight at the first places."""
    _, height, width, side = shape
    for e in range(n):
        i = index[e]
        y, x = i // width, i % width
        c = y // height
        row[e] = y = y - c * height + padding
        column[e] = x = x + padding
        base[e] = (c * side + y) * span + x


@jit
def _take(
    position, start, side, n, time, base, column, shift, lanes, times, bases, columns
):
    """Copy the events in side rows (or columns) from start on; return their number."""
    m = 0
    for e in range(n):  # no branch: they come in any order
        times[m], columns[m], bases[m] = time[e], column[e], (base[e] - shift) * lanes
        behind = position[e] - start
        m += (behind >= 0) & (behind < side)
    return m


@jit
def _sweep_ramps(time, offset, n, t_max, weight, v_th, state):
    """Sweep a tile of neurons over ramps; V counts from the threshold, so fires at 0.

    A neuron leaves the state in which its last causal input left it, and the times of
    that input and of the next, its bound.
    """
    real = state.dtype.type
    dead = splat(real(-np.inf))  # will not cross (again)
    a = splat(real(0))
    v = subtract(a, load(v_th, 0))
    store(state, _LEVEL, a)  # who gets lost in NaN has no slope: silent
    last = time[0]
    k = 0
    while k < n and time[k] <= t_max:
        t = time[k]
        risen = fused(a, t - last, v)
        crosses = unless(negative(risen))
        if anywhere(crosses):
            store_where(state, _LEVEL, a, crosses)
            store_where(state, _POTENTIAL, v, crosses)
            store_where(state, _LAST, splat(last), crosses)
            store_where(state, _BOUND, splat(t), crosses)
            risen = where(crosses, dead, risen)
            if not anywhere(above(risen, dead)):
                return
        v = risen
        a = add(a, load(weight, offset[k]))
        last = t
        k += 1
    waits = above(v, dead)  # the last ramp has no end
    store_where(state, _LEVEL, a, waits)
    store_where(state, _POTENTIAL, v, waits)
    store_where(state, _LAST, splat(last), waits)
    store_where(state, _BOUND, splat(time[k] if k < n else real(np.inf)), waits)


@jit
def _cross_ramps(t_max, state, post, level, bound):
    """When the neurons of a tile cross that `_sweep_ramps` left behind."""
    for j in range(WIDTH):
        a, q = state[_LEVEL + j], state[_BOUND + j]
        t = min(q, state[_LAST + j] - state[_POTENTIAL + j] / a)
        fires = (a > 0) & (t <= t_max) & (t < np.inf)
        post[j] = t if fires else np.inf
        level[j] = a if fires else 0
        bound[j] = q if fires else -np.inf


@jit
def _sweep_steps(time, offset, n, t_max, leak, weight, v_th, post, level, bound):
    """Sweep a tile of neurons over the steps; all of one tick come before V > v_th."""
    real = post.dtype.type
    zero, dead, threshold = splat(real(0)), splat(real(-np.inf)), load(v_th, 0)
    v = zero
    last = time[0]
    k = 0
    while k < n and time[k] <= t_max:
        t = time[k]
        if leak < 1:
            v = fused(v, leak ** (t - last), zero)
        while k < n and time[k] == t:
            v = add(v, load(weight, offset[k]))
            k += 1
        fires = above(v, threshold)
        if anywhere(fires):
            store_where(post, 0, splat(t), fires)
            store_where(level, 0, v, fires)
            store_where(bound, 0, splat(time[k] if k < n else real(np.inf)), fires)
            v = where(fires, dead, v)
            if not anywhere(above(v, dead)):
                return
        last = t


@jit
def _sweep(
    spike_time,
    tiles,
    v_th,
    shape,
    slide,
    group,
    t_max,
    step,
    leak,
    post,
    level,
    bound,
    start,
    stop,
):
    """First crossings of the samples start..stop. False if a time is NaN or -inf.

    Neighbouring places, a group, sweep one list, that of all their inputs. To a place
    that does not see an input its weight is 0.
    """
    inputs = spike_time.shape[1]
    side, (stride, padding) = shape[3], slide
    span = side + (group - 1) * stride
    maps, down, across = post.shape[1:]
    index = np.empty(inputs, np.int32)
    head = np.empty(2 * inputs + 1, np.int32)
    finite = np.empty(inputs + 1, np.int32)
    place = np.empty(inputs, np.int32)
    time = np.empty(inputs, tiles.dtype)
    row = np.empty(inputs, np.int32)
    # of the events of a sample, of a row of places, of a group of places
    column = np.empty((3, inputs + 1), np.int32)
    base = np.empty((3, inputs + 1), np.int32)
    times = np.empty((2, inputs + 1), tiles.dtype)
    state = np.empty(4 * WIDTH, tiles.dtype)
    offset = base[2]
    found = np.empty((3, v_th.shape[0]), tiles.dtype)  # of a group: (place, map)
    for b in range(start, stop):
        n = sort_events(spike_time[b], index, time, head, finite, place)
        if n < 0:
            return False
        _coordinates(index, n, shape, span, padding, row, column[0], base[0])
        for y in range(down):
            top = y * stride
            m = _take(
                *(row, top, side, n, time, base[0], column[0]),
                *(top * span, 1, times[0], base[1], column[1]),
            )
            for x in range(0, across, group):
                left = x * stride
                events = _take(
                    *(column[1], left, span, m, times[0], base[1], column[1]),
                    *(left, WIDTH, times[1], offset, column[2]),
                )
                places = min(group, across - x)
                for tile in range(tiles.shape[0]):
                    lanes = slice(tile * WIDTH, (tile + 1) * WIDTH)
                    results = found[0, lanes], found[1, lanes], found[2, lanes]
                    inputs_of = times[1], offset, events, t_max
                    weights_of = tiles[tile], v_th[lanes]
                    if step or events == 0:
                        results[0][:], results[1][:], results[2][:] = np.inf, 0, -np.inf
                    if step and events > 0:
                        _sweep_steps(*inputs_of, leak, *weights_of, *results)
                    elif events > 0:
                        _sweep_ramps(*inputs_of, *weights_of, state)
                        _cross_ramps(t_max, state, *results)
                for j in range(maps):
                    for p in range(places):
                        post[b, j, y, x + p] = found[0, p * maps + j]
                        level[b, j, y, x + p] = found[1, p * maps + j]
                        bound[b, j, y, x + p] = found[2, p * maps + j]
    return True


@jit
def read_band(image, shape, padding, top, band):
    """Write the rows of the map that a row of places sees, column by column."""
    channels, height, width, side = shape
    size = channels * side
    for c in range(channels):
        for y in range(max(0, -top), min(side, height - top)):
            start = (c * height + top + y) * width
            to = padding * size + c * side + y
            for x in range(width):
                band[to + x * size] = image[start + x]


@jit
def _add_band(band, shape, padding, top, image):
    """Add a band to the rows of the map from which it came."""
    channels, height, width, side = shape
    size = channels * side
    for c in range(channels):
        for y in range(max(0, -top), min(side, height - top)):
            to = (c * height + top + y) * width
            start = padding * size + c * side + y
            for x in range(width):
                image[to + x] += band[start + x * size]


@jit
def _add_to_both(t, d, p, q, w, grad_time, grad_weight):
    for i in range(w.shape[0]):
        x, y, g, h = t[i], w[i], grad_time[i], grad_weight[i]
        grad_time[i] = g + d * y if x < q else g
        grad_weight[i] = h + d * (x - p) if x < q else h


@jit
def _add_to_time(t, d, q, w, grad_time):
    for i in range(w.shape[0]):
        x, y, g = t[i], w[i], grad_time[i]
        grad_time[i] = g + d * y if x < q else g


@jit
def _add_to_weight(t, d, p, q, grad_weight):
    for i in range(grad_weight.shape[0]):
        x, h = t[i], grad_weight[i]
        grad_weight[i] = h + d * (x - p) if x < q else h


@jit
def _gradients(
    delta,
    spike_time,
    weight,
    post,
    bound,
    shape,
    slide,
    need_time,
    need_weight,
    grad_time,
    grad_weight,
    start,
    stop,
):
    """Add to both gradients what the samples start..stop give.

    Held column by column, the inputs of a place lie side by side in the rows of the map
    that its row of places sees, the band; weight is (out, column, channel, row).
    """
    stride, padding = slide
    channels, _, width, side = shape
    maps, down, across = post.shape[1:]
    inputs = weight.shape[1]  # padded: what it adds behind a place is 0
    band = np.empty((width + 2 * padding) * channels * side + LANES, weight.dtype)
    grad_band = np.empty(band.shape, weight.dtype)
    active = np.empty((across, maps), np.int32)
    pairs = np.empty((across, maps, 3), weight.dtype)
    count = np.empty(across, np.int64)
    for b in range(start, stop):
        for y in range(down):
            count[:] = 0
            for j in range(maps):
                for x in range(across):
                    d, q = delta[b, j, y, x], bound[b, j, y, x]
                    if d != 0 and q > -np.inf:
                        n = count[x]
                        active[x, n] = j
                        pairs[x, n, 0], pairs[x, n, 1] = d, post[b, j, y, x]
                        pairs[x, n, 2] = q
                        count[x] = n + 1
            if count.max() == 0:
                continue
            top = y * stride - padding
            band[:] = np.inf
            read_band(spike_time[b], shape, padding, top, band)
            if need_time:
                grad_band[:] = 0
            for x in range(across):
                left = x * stride * channels * side
                t, g = band[left : left + inputs], grad_band[left : left + inputs]
                for k in range(count[x]):
                    j = active[x, k]
                    d, p, q = pairs[x, k, 0], pairs[x, k, 1], pairs[x, k, 2]
                    if need_time and need_weight:
                        _add_to_both(t, d, p, q, weight[j], g, grad_weight[j])
                    elif need_time:
                        _add_to_time(t, d, q, weight[j], g)
                    else:
                        _add_to_weight(t, d, p, q, grad_weight[j])
            if need_time:
                _add_band(grad_band, shape, padding, top, grad_time[b])


# --- the ops ----------------------------------------------------------------------


def _tiles(weight: Tensor, group: int, stride: int) -> Tensor:
    """Weights from the inputs of a group of places to WIDTH lanes at a time.

    Args:
        weight: Synaptic weights, (map, channel, side, side).
        group: Neighbouring places, each with all its maps.
        stride: Step between places.

    Returns:
        (tile, input * WIDTH): the inputs (channel, row, column) of all places of the
        group, for each WIDTH lanes (place, map).
    """
    maps, channels, side, _ = weight.shape
    span = side + (group - 1) * stride
    table = weight.new_zeros(channels, side, span, group, maps)
    for place in range(group):
        columns = slice(place * stride, place * stride + side)
        table[:, :, columns, place] = weight.permute(1, 2, 3, 0)
    rows = table.view(-1, group * maps)
    rows = F.pad(rows, (0, -rows.shape[1] % WIDTH)).unflatten(1, (-1, WIDTH))
    return rows.transpose(0, 1).flatten(1).contiguous()


@torch.library.custom_op("snn_temporal_plugins::first_crossing_conv2d", mutates_args=())
def first_crossing_conv2d(
    spike_time: Tensor,
    weight: Tensor,
    v_th: Tensor,
    stride: int,
    padding: int,
    t_max: float,
    response: str = "ramp",
    leak: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """`first_crossing` of the patches that a square kernel sees; the border is silent.

    Args:
        spike_time: Input spike times, (batch, channel, height, width), any unit; inf =
            silent.
        weight: Synaptic weights, (map, channel, side, side).
        v_th: Thresholds > 0, (map,).
        stride: Step between places.
        padding: Silent border on every side.
        t_max: Horizon in the unit of time; a later crossing counts as silent.
        response: What an input spike adds, "ramp" or "step".
        leak: Factor by which a step decays in a unit of time; 1 = not at all.

    Returns:
        post_spike_time, level and bound of `first_crossing`, each (batch, map, down,
        across).

    Raises:
        ValueError: a time is NaN or -inf, a weight is not finite, a threshold not > 0.
    """
    return _forward_reference(
        spike_time, weight, v_th, stride, padding, t_max, response, leak
    )


@first_crossing_conv2d.register_kernel("cpu")
def _(spike_time, weight, v_th, stride, padding, t_max, response="ramp", leak=1.0):
    if spike_time.dtype not in (torch.float32, torch.float64):
        return _forward_reference(
            spike_time, weight, v_th, stride, padding, t_max, response, leak
        )
    _require_response(response, leak)
    channels, height, width = spike_time.shape[1:]
    side = weight.shape[2]
    found = _shape_of_maps(spike_time, weight, stride, padding)
    results = tuple(spike_time.new_empty(found) for _ in range(3))
    _raise_if(_check(weight.flatten(1).contiguous().numpy(), v_th.contiguous().numpy()))
    group = min(max(1, _SHARING // weight.shape[0]), results[0].shape[3])
    tiles = _tiles(weight, group, stride)
    threshold = F.pad(v_th.repeat(group), (0, -group * len(v_th) % WIDTH), value=-1.0)
    time = spike_time.flatten(1).contiguous().numpy()
    real = time.dtype.type
    settings = (
        (channels, height, width, side),
        (stride, padding),
        group,
        real(t_max),
        response == "step",
        real(leak),
    )
    out = tuple(result.numpy() for result in results)
    good = split(
        lambda start, stop: _sweep(
            *(time, tiles.numpy(), threshold.numpy()), *settings, *out, start, stop
        ),
        len(time),
        results[0].numel() * weight[0].numel(),
    )
    if not all(good):
        _raise_if(1)
    return results


@first_crossing_conv2d.register_fake
def _(spike_time, weight, v_th, stride, padding, t_max, response="ramp", leak=1.0):
    shape = _shape_of_maps(spike_time, weight, stride, padding)
    return tuple(spike_time.new_empty(shape) for _ in range(3))


@torch.library.custom_op(
    "snn_temporal_plugins::first_crossing_conv2d_backward", mutates_args=()
)
def first_crossing_conv2d_backward(
    delta: Tensor,
    spike_time: Tensor,
    weight: Tensor,
    post_spike_time: Tensor,
    bound: Tensor,
    stride: int,
    padding: int,
    need_time: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    """`first_crossing_backward` of a convolution, summed over the places.

    Args:
        delta: Error over slope, (batch, map, down, across); ignored where the output is
            silent.
        spike_time: As given to `first_crossing_conv2d`.
        weight: As given to `first_crossing_conv2d`.
        post_spike_time: As returned by `first_crossing_conv2d`.
        bound: As returned by `first_crossing_conv2d`.
        stride: Step between places.
        padding: Silent border on every side.
        need_time: Whether grad_time is wanted; otherwise it is empty.
        need_weight: Whether grad_weight is wanted; otherwise it is empty.

    Returns:
        grad_time (batch, channel, height, width) and grad_weight (map, channel, side,
        side).
    """
    return _backward_reference(
        delta,
        spike_time,
        weight,
        post_spike_time,
        bound,
        stride,
        padding,
        need_time,
        need_weight,
    )


@first_crossing_conv2d_backward.register_kernel("cpu")
def _(
    delta,
    spike_time,
    weight,
    post_spike_time,
    bound,
    stride,
    padding,
    need_time,
    need_weight,
):
    if spike_time.dtype not in (torch.float32, torch.float64):
        return _backward_reference(
            delta,
            spike_time,
            weight,
            post_spike_time,
            bound,
            stride,
            padding,
            need_time,
            need_weight,
        )
    (batch, *image), size = spike_time.shape, weight[0].numel()
    columns = weight.permute(0, 3, 1, 2)  # (out, column, channel, row)
    rows = F.pad(columns.flatten(1), (0, -size % LANES))  # whole SIMD registers
    edges = parts_of(batch)
    parts = len(edges) - 1
    sums = rows.new_zeros(parts, *(rows.shape if need_weight else (1, 1)))
    grad_time = rows.new_zeros(spike_time.shape if need_time else (1, 1))
    arrays = [
        x.contiguous().numpy()
        for x in (delta, spike_time.flatten(1), rows, post_spike_time, bound)
    ]
    settings = (*image, weight.shape[2]), (stride, padding), need_time, need_weight
    times, weights = grad_time.flatten(1).numpy(), sums.numpy()

    def of_parts(first: int, last: int) -> None:
        for part in range(first, last):
            _gradients(
                *arrays, *settings, times, weights[part], *edges[part : part + 2]
            )

    split(of_parts, parts, delta.numel() * size)
    if not need_time:
        grad_time = spike_time.new_empty(0)
    if not need_weight:
        return grad_time, weight.new_empty(0)
    return grad_time, kernel_of(sums, *weight.shape[1:3])


@first_crossing_conv2d_backward.register_fake
def _(
    delta,
    spike_time,
    weight,
    post_spike_time,
    bound,
    stride,
    padding,
    need_time,
    need_weight,
):
    grad_time = torch.empty_like(spike_time, memory_format=torch.contiguous_format)
    grad_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
    return (
        grad_time if need_time else spike_time.new_empty(0),
        grad_weight if need_weight else weight.new_empty(0),
    )
