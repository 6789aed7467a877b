"""The first crossing of a sum of ramps or of steps, one per input spike.

    ramp  V_j(t) = sum_i w_ji max(0, t - t_i)          t_j = min { t : V_j(t) >= v_th }
    step  V_j(t) = sum_{t_i <= t} w_ji leak^(t - t_i)  t_j = min { t : V_j(t) > v_th }

A sum of ramps is piecewise linear: between two input spikes its crossing, at any real
time, has a closed form. Both bodies sweep the input spikes of a sample in time order
and keep, per output, the slope A (weight sum of the inputs that have arrived) and the
potential V:

    V <- V + A (t_k - t_{k-1});   V >= v_th: fired, t = t_{k-1} + (v_th - V_{k-1}) / A
    A <- A + w_k                  otherwise

Steps cross when an input comes; all that come at one time are added before V is
compared. Besides the spike time the op returns the level of the crossing (slope of the
ramps, potential of the steps) and the *bound*: the time of the first input that came
too late. `t_i < bound_j` is the causal set exactly as the sweep saw it; comparing
`t_i < t_j` again would flip pairs by rounding.

Source: Zhang et al., arXiv 2003.11837 (ReL-PSP ramps); Liu et al., Front. Neurosci. 15
(2021) (SSTDP's integrate-and-fire neurons); event sweep and bound are ours.
"""

import math

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snn_temporal_plugins.kernels.event_sort import sort_events
from snn_temporal_plugins.kernels.lanes import (
    WIDTH,
    above,
    add,
    anywhere,
    divide,
    fused,
    load,
    splat,
    store,
    store_where,
    subtract,
    unless,
    where,
)
from snn_temporal_plugins.kernels.threads import split

_BLOCK = 32  # events between two looks at whether anybody still waits
_TILE = 4096 // WIDTH  # outputs whose weights and sums fit into the nearest cache
_SAMPLES = 128  # that are sorted before they are swept, which bounds the memory
# places of the state that a tile of outputs leaves behind
_LEVEL, _POTENTIAL, _UNTIL, _WHEN, _FAR = range(0, 5 * WIDTH, WIDTH)
_OUTPUTS_PER_PASS = 64  # bounds the reference backward's (batch, outputs, in) mask

_ALLOWED = {
    1: ("spike_time holds NaN or -inf", "finite times, or inf for a silent input"),
    2: ("weight holds NaN or inf", "finite weights"),
    3: ("v_th holds a value that is not > 0 and finite", "positive thresholds"),
}


def _require_response(response: str, leak: float) -> None:
    if response not in ("ramp", "step"):
        raise ValueError(f"response is {response!r}; allowed are 'ramp' and 'step'.")
    if not (leak == 1 if response == "ramp" else 0 <= leak <= 1):
        raise ValueError(
            f"leak is {leak} with response {response!r}; it must be 1 for ramps, and "
            "from 0 to 1 for steps."
        )


def _raise_if(code: int) -> None:
    if code:
        found, allowed = _ALLOWED[code]
        raise ValueError(
            f"{found}; allowed are {allowed}. Check the layer before this one, "
            "or lower the learning rate if training diverged."
        )


# --- reference bodies: plain torch, any device, any float dtype -------------------


def _working_dtype(tensor: Tensor) -> torch.dtype:
    """Half precision sums in float32; its ten bits would not survive 784 terms."""
    return torch.promote_types(tensor.dtype, torch.float32)


def _forward_reference(
    spike_time: Tensor,
    weight: Tensor,
    v_th: Tensor,
    t_max: float,
    response: str = "ramp",
    leak: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    _require_response(response, leak)
    dtype = spike_time.dtype
    spike_time, weight, v_th = (
        x.to(_working_dtype(x)) for x in (spike_time, weight, v_th)
    )
    if bool((torch.isnan(spike_time) | (spike_time == -math.inf)).any()):
        _raise_if(1)
    if not bool(torch.isfinite(weight).all()):
        _raise_if(2)
    if not bool(((v_th > 0) & torch.isfinite(v_th)).all()):
        _raise_if(3)
    time, order = torch.sort(spike_time, dim=1, stable=True)
    sweep = _ramps_reference if response == "ramp" else _steps_reference
    results = sweep(time, order, weight, v_th, t_max, leak)
    return results[0].to(dtype), results[1].to(dtype), results[2].to(dtype)


def _ramps_reference(time, order, weight, v_th, t_max, _leak):
    slope = time.new_zeros(time.shape[0], weight.shape[0])
    v = torch.zeros_like(slope)
    last = torch.zeros_like(slope)  # the time up to which v has been integrated
    bound = torch.full_like(slope, math.inf)
    waiting = torch.ones_like(slope, dtype=torch.bool)
    for k in range(time.shape[1]):
        t_k = time[:, k : k + 1]
        arrives = waiting & (t_k < math.inf)
        v_k = v + slope * torch.where(arrives, t_k - last, 0)
        fires = arrives & (v_k >= v_th)
        bound = torch.where(fires, t_k, bound)
        waiting = waiting & ~fires
        arrives = arrives & ~fires
        v = torch.where(arrives, v_k, v)
        last = torch.where(arrives, t_k, last)
        slope = slope + torch.where(arrives, weight.t()[order[:, k]], 0)
    rising = slope > 0
    post = last + (v_th - v) / torch.where(rising, slope, 1)
    post = torch.where(rising & (post <= t_max), post, math.inf)
    silent = post == math.inf
    slope = torch.where(silent, 0, slope)
    bound = torch.where(silent, -math.inf, bound)
    return post, slope, bound


def _steps_reference(time, order, weight, v_th, t_max, leak):
    v = time.new_zeros(time.shape[0], weight.shape[0])
    post = torch.full_like(v, math.inf)
    bound = torch.full_like(v, -math.inf)
    last = torch.zeros_like(v)
    after = F.pad(time[:, 1:], (0, 1), value=math.inf)
    for k in range(time.shape[1]):
        t_k = time[:, k : k + 1]
        arrives = (post == math.inf) & (t_k <= t_max) & (t_k < math.inf)
        lag = torch.where(arrives, t_k - last, 0)
        v = torch.where(arrives, v * leak**lag + weight.t()[order[:, k]], v)
        last = torch.where(arrives, t_k, last)
        t_next = after[:, k : k + 1]
        fires = arrives & (t_next > t_k) & (v > v_th)  # all that come together are in
        post = torch.where(fires, t_k, post)
        bound = torch.where(fires, t_next, bound)
    return post, torch.where(post < math.inf, v, 0), bound


def _backward_reference(
    delta: Tensor,
    spike_time: Tensor,
    weight: Tensor,
    post_spike_time: Tensor,
    bound: Tensor,
    need_time: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    dtype = spike_time.dtype
    delta, spike_time, weight, post_spike_time = (
        x.to(_working_dtype(x)) for x in (delta, spike_time, weight, post_spike_time)
    )
    # mask before multiplying: inf * 0 would be NaN
    fired = post_spike_time < math.inf
    post = torch.where(fired, post_spike_time, 0)[:, :, None]
    delta = torch.where(fired, delta, 0)
    # contiguous whatever the inputs are, as register_fake promises
    grad_time = spike_time.new_zeros(spike_time.shape if need_time else 0)
    grad_weight = weight.new_zeros(weight.shape if need_weight else 0)
    for start in range(0, weight.shape[0], _OUTPUTS_PER_PASS):
        part = slice(start, start + _OUTPUTS_PER_PASS)
        # in the dtype of the op: both sides are stored values, compared exactly
        causal = spike_time.to(dtype)[:, None, :] < bound[:, part, None]
        if need_time:
            share = torch.where(causal, weight[part], 0)
            grad_time += torch.einsum("bo,boi->bi", delta[:, part], share)
        if need_weight:
            lag = torch.where(causal, spike_time[:, None, :] - post[:, part], 0)
            grad_weight[part] = torch.einsum("bo,boi->oi", delta[:, part], lag)
    return grad_time.to(dtype), grad_weight.to(dtype)


# --- Numba bodies: one sample (or one input) after the other on the CPU -----------

# contract: v + a * d may become one fused multiply-add. NaN and inf stay exact.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@_jit
def _cut(weight, first, used, tile):
    """Lay WIDTH outputs of (out, in) weights side by side; False if one is not finite.

    An input spike then reads whole lanes. Inputs that spike in no sample stay out.
    """
    outputs, inputs = weight.shape
    width = min(WIDTH, outputs - first)
    finite = True
    for j in range(width):
        row = weight[first + j]
        for i in range(inputs):
            finite &= abs(row[i]) < np.inf
    for i in range(inputs):
        if used[i] and width == WIDTH:
            for j in range(WIDTH):  # a constant: no loop is left
                tile[i * WIDTH + j] = weight[first + j, i]
        elif used[i]:
            for j in range(WIDTH):
                tile[i * WIDTH + j] = weight[first + j, i] if j < width else 0
    return finite


@_jit
def _sweep_ramps(index, time, gap, events, weight, v_th, state):
    """Sweep a tile of outputs over ramps; V counts from the threshold, so fires at 0.

    What an output leaves is A, V and the time of the event at which V has reached 0, or
    of the first event that was not swept.
    """
    a = zero = splat(state.dtype.type(0))
    v = subtract(zero, load(v_th, 0))
    until = splat(time[0])
    one = np.uint64(1)  # without a sign: no care of negative ones
    k, n = one, np.uint64(events)
    while k < n:
        stop = min(k + np.uint64(_BLOCK), n)
        while k < stop:
            waits = above(zero, v)
            # of all lanes: V need not wait for a choice
            steeper = add(a, load(weight, np.int64(index[k - one]) * WIDTH))
            v = where(waits, fused(steeper, gap[k], v), v)
            a = where(waits, steeper, a)
            until = where(waits, splat(time[k]), until)
            k += one
        if not anywhere(above(zero, v)):
            break
    if events > 0:
        waits = above(zero, v)
        last = load(weight, np.int64(index[events - 1]) * WIDTH)
        a = where(waits, add(a, last), a)
        until = where(waits, splat(time[events]), until)
    store(state, _LEVEL, a)
    store(state, _POTENTIAL, v)
    store(state, _UNTIL, until)


@_jit
def _ramp_before(index, time, gap, weight, v_th, j, until):
    """A, V and time of output j at its last event before `until`."""
    a, v, k = v_th.dtype.type(0), -v_th[j], 0
    while True:
        v += a * gap[k]
        a += weight[index[k] * WIDTH + j]
        k += 1
        if not time[k] < until:
            return a, v, time[k - 1]


@_jit
def _cross_ramps(
    index, time, gap, events, weight, v_th, state, t_max, inside, at, post, level, bound
):
    """Write spike times, slopes and bounds of the outputs inside, from `at` on."""
    real = state.dtype.type
    zero, silent = splat(real(0)), splat(real(np.inf))
    a, v, until = load(state, _LEVEL), load(state, _POTENTIAL), load(state, _UNTIL)
    last = splat(time[max(events - 1, 0)])
    t = subtract(where(above(zero, v), last, until), divide(v, a))
    t = where(above(t, until), until, t)
    t = where(above(a, zero), t, silent)
    t = where(above(t, splat(t_max)), silent, t)
    fires = above(silent, t)  # not so what got lost in NaN
    store_where(post, at, where(fires, t, silent), inside)
    store_where(level, at, where(fires, a, zero), inside)
    store_where(bound, at, where(fires, until, splat(real(-np.inf))), inside)
    far = where(above(v, load(v_th, 0)), t, silent)
    if anywhere(above(silent, far)):  # the way back from there would cost digits
        store(state, _FAR, far)
        for j in range(WIDTH):
            if state[_FAR + j] < np.inf:
                q = state[_UNTIL + j]
                a, v, t = _ramp_before(index, time, gap, weight, v_th, j, q)
                post[at + j] = min(q, t - v / a)


@_jit
def _sweep_steps(index, time, decay, events, weight, v_th, state):
    """Sweep a tile of outputs over the steps.

    What an output leaves is V, the time of the last inputs that it has seen, and that
    of the next.
    """
    real = state.dtype.type
    v, threshold = splat(real(0)), load(v_th, 0)
    when = until = splat(time[0])
    k, n = np.uint64(0), np.uint64(events)
    while k < n:
        waits = unless(above(v, threshold))
        if decay[k] < 1:
            v = where(waits, fused(v, decay[k], splat(real(0))), v)
        tick = time[k]
        while k < n and time[k] == tick:
            v = where(waits, add(v, load(weight, np.int64(index[k]) * WIDTH)), v)
            k += np.uint64(1)
        when = where(waits, splat(tick), when)
        until = where(waits, splat(time[k]), until)
    store(state, _LEVEL, v)
    store(state, _WHEN, when)
    store(state, _UNTIL, until)


@_jit
def _cross_steps(v_th, state, inside, at, post, level, bound):
    """Write spike times, potentials and bounds of the outputs inside."""
    real = state.dtype.type
    v = load(state, _LEVEL)
    fires, silent = above(v, load(v_th, 0)), splat(real(np.inf))
    store_where(post, at, where(fires, load(state, _WHEN), silent), inside)
    store_where(level, at, where(fires, v, splat(real(0))), inside)
    until = where(fires, load(state, _UNTIL), splat(real(-np.inf)))
    store_where(bound, at, until, inside)


@_jit
def _sort(spike_time, t_max, step, leak, begin, size, index, time, gap, used):
    """Spikes of all samples in time order, one sample behind the other; False if bad.

    `size` counts the spikes up to t_max. Behind them is the time of the next, or inf.
    `gap` is the time since the spike before, or what this leaves of a step.
    """
    inputs = spike_time.shape[1]
    head = np.empty(2 * inputs + 1, np.int32)
    finite = np.empty(inputs + 1, np.int32)
    place = np.empty(inputs, np.int32)
    at = 0
    for b in range(spike_time.shape[0]):
        indices, times, gaps = index[at:], time[at:], gap[at:]
        n = sort_events(spike_time[b], indices, times, head, finite, place)
        if n < 0:
            return False
        times[n] = np.inf
        gaps[0] = 0
        events = 0
        while events < n and times[events] <= t_max:
            used[indices[events]] = True
            if events > 0:
                since = times[events] - times[events - 1]
                if step:
                    gaps[events] = leak**since if leak < 1 else 1
                else:
                    gaps[events] = since
            events += 1
        begin[b], size[b] = at, events
        at += events + 1
    return True


@_jit
def _sweep(
    spike_time, weight, v_th, t_max, step, leak, tile, post, level, bound, start, stop
):
    """First crossings of the samples start..stop; the code of what is wrong, or 0."""
    inputs, outputs = spike_time.shape[1], post.shape[1]
    rows = min(_SAMPLES, stop - start)
    begin, size = np.empty(rows, np.int64), np.empty(rows, np.int64)
    index = np.empty(rows * (inputs + 1), np.int32)
    time = np.empty(rows * (inputs + 1), spike_time.dtype)
    gap = np.empty(rows * (inputs + 1), spike_time.dtype)
    used = np.empty(inputs, np.bool_)
    threshold = np.empty(WIDTH, v_th.dtype)
    state = np.empty(5 * WIDTH, v_th.dtype)
    flat = post.reshape(-1), level.reshape(-1), bound.reshape(-1)
    for first in range(start, stop, _SAMPLES):
        last = min(first + _SAMPLES, stop)
        used[:] = False
        part = spike_time[first:last]
        if not _sort(part, t_max, step, leak, begin, size, index, time, gap, used):
            return 1
        for s in range(0, outputs, WIDTH):
            if not _cut(weight, s, used, tile):
                return 2
            width = min(WIDTH, outputs - s)
            threshold[:] = -1  # the padding fires at once and holds nobody up
            for j in range(width):
                threshold[j] = v_th[s + j]
                if not 0 < threshold[j] < np.inf:
                    return 3
            inside = above(load(threshold, 0), splat(v_th.dtype.type(0)))
            for b in range(first, last):
                at, n = begin[b - first], size[b - first]
                events = index[at:], time[at:], gap[at:], n
                results = inside, b * outputs + s, *flat
                if step:
                    _sweep_steps(*events, tile, threshold, state)
                    _cross_steps(threshold, state, *results)
                else:
                    _sweep_ramps(*events, tile, threshold, state)
                    _cross_ramps(*events, tile, threshold, state, t_max, *results)
    return 0


@_jit
def _list_fired(delta, post, bound):
    """Which outputs fired: per tile, per sample of the tile, one behind the other.

    A delta of 0 is left out: it adds nothing.

    Returns:
        begin: where the lists of (tile, sample) begin and the last one ends.
        latest: the latest bound in each list.
        lists: place in the tile, delta, spike time and bound of the outputs.
    """
    batch, outputs = delta.shape
    tiles = (outputs + _TILE - 1) // _TILE
    total = 0
    for b in range(batch):
        for j in range(outputs):
            total += (bound[b, j] > -np.inf) & (delta[b, j] != 0)
    begin = np.empty(tiles * batch + 1, np.int64)
    place = np.empty(total, np.int32)
    error, when = np.empty(total, delta.dtype), np.empty(total, delta.dtype)
    limit = np.empty(total, delta.dtype)
    fired = np.empty(_TILE + 1, np.int64)
    latest = np.full(tiles * batch, -np.inf, delta.dtype)
    n = 0
    for c in range(tiles):
        first, last = c * _TILE, min((c + 1) * _TILE, outputs)
        for b in range(batch):
            m = np.uint64(0)
            for j in range(first, last):  # no branch: what is silent is written over
                fired[m] = j
                m += np.uint64((bound[b, j] > -np.inf) & (delta[b, j] != 0))
            k = c * batch + b
            begin[k] = n
            for j in fired[:m]:
                place[n], error[n] = (j - first) * WIDTH, delta[b, j]
                when[n], limit[n] = post[b, j], bound[b, j]
                latest[k] = max(latest[k], bound[b, j])
                n += 1
    begin[tiles * batch] = n
    return begin, latest, (place, error, when, limit)


@_jit
def _add_to_both(time, lists, k, end, tile, sums, total):
    """Add a list to the sums of the weights; return the total for the inputs' times."""
    place, error, when, limit = lists
    zero = splat(error.dtype.type(0))
    while k < end:
        causal, at = above(splat(limit[k]), time), np.int64(place[k])
        total = where(causal, fused(load(tile, at), error[k], total), total)
        lead = where(causal, subtract(time, splat(when[k])), zero)
        store(sums, at, fused(lead, error[k], load(sums, at)))
        k += np.uint64(1)
    return total


@_jit
def _add_to_weight(time, lists, k, end, sums):
    """Add a list to the sums of the weights."""
    place, error, when, limit = lists
    zero = splat(error.dtype.type(0))
    while k < end:
        causal, at = above(splat(limit[k]), time), np.int64(place[k])
        lead = where(causal, subtract(time, splat(when[k])), zero)
        store(sums, at, fused(lead, error[k], load(sums, at)))
        k += np.uint64(1)


@_jit
def _gradients(
    delta,
    spike_time,
    weight,
    post,
    bound,
    need_time,
    grad_time,
    grad_weight,
    tile,
    sums,
    start,
    stop,
):
    """Both gradients of the inputs start..stop, WIDTH at a time; there are as many.

    Only the outputs that fired cost anything, and inputs that came in time for one. The
    weights of a tile and their sums stay in the nearest cache.
    """
    (batch, inputs), outputs = spike_time.shape, weight.shape[0]
    begin, latest, lists = _list_fired(delta, post, bound)
    times, weights = spike_time.reshape(-1), weight.reshape(-1)
    by_time, by_weight = grad_time.reshape(-1), grad_weight.reshape(-1)
    totals = np.empty(batch * WIDTH, weight.dtype)
    zero = splat(weight.dtype.type(0))
    for i in range(start, stop, WIDTH):
        first = min(i, inputs - WIDTH)  # the last lanes may overlap those before
        totals[:] = 0
        lists_before = 0
        for c in range(0, outputs, _TILE):
            width = min(_TILE, outputs - c)
            for j in range(width):
                store(tile, j * WIDTH, load(weights, (c + j) * inputs + first))
                store(sums, j * WIDTH, zero)
            for b in range(batch):
                time, of = load(times, b * inputs + first), lists_before + b
                if not anywhere(above(splat(latest[of]), time)):
                    continue
                k, end = np.uint64(begin[of]), np.uint64(begin[of + 1])
                if need_time:
                    total = load(totals, b * WIDTH)
                    total = _add_to_both(time, lists, k, end, tile, sums, total)
                    store(totals, b * WIDTH, total)
                else:
                    _add_to_weight(time, lists, k, end, sums)
            lists_before += batch
            for j in range(width):
                store(by_weight, (c + j) * inputs + first, load(sums, j * WIDTH))
        if need_time:
            for b in range(batch):
                store(by_time, b * inputs + first, load(totals, b * WIDTH))


# --- the ops ----------------------------------------------------------------------


# defined in the library itself: the wrapper of `torch.library.custom_op` takes as long
# as a small layer
_LIBRARY = torch.library.Library("snn_temporal_plugins", "FRAGMENT")
_LIBRARY.define(
    "first_crossing(Tensor spike_time, Tensor weight, Tensor v_th, float t_max, "
    "str response='ramp', float leak=1.0) -> (Tensor, Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)
_LIBRARY.define(
    "first_crossing_backward(Tensor delta, Tensor spike_time, Tensor weight, "
    "Tensor post_spike_time, Tensor bound, bool need_time, bool need_weight) "
    "-> (Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)
_forward_op = torch.ops.snn_temporal_plugins.first_crossing.default
_backward_op = torch.ops.snn_temporal_plugins.first_crossing_backward.default
_LIBRARY.impl(_forward_op, _forward_reference, "CompositeExplicitAutograd")
_LIBRARY.impl(_backward_op, _backward_reference, "CompositeExplicitAutograd")


def first_crossing(
    spike_time: Tensor,
    weight: Tensor,
    v_th: Tensor,
    t_max: float,
    response: str = "ramp",
    leak: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """First time at which each output's sum of responses crosses its threshold.

    Args:
        spike_time: Input spike times, (batch, in), any unit; inf = silent.
        weight: Synaptic weights, (out, in), in thresholds per unit of time for ramps.
        v_th: Thresholds > 0, (out,).
        t_max: Horizon in the unit of time; a later crossing counts as silent.
        response: What an input spike adds, "ramp" (fires at V >= v_th) or "step" (fires
            at V > v_th).
        leak: Factor by which a step decays in a unit of time; 1 = not at all.

    Returns:
        post_spike_time: (batch, out), inf = silent.
        level: at the crossing dV/dt > 0 (ramp) or V (step), (batch, out); 0 where
            silent.
        bound: time of the first input outside the causal set, (batch, out); inf if all
            inputs are causal, -inf where silent.

    Raises:
        ValueError: a time is NaN or -inf, a weight is not finite, a threshold not > 0.
    """
    return _forward_op(spike_time, weight, v_th, t_max, response, leak)


def _forward_numba(spike_time, weight, v_th, t_max, response="ramp", leak=1.0):
    if spike_time.dtype not in (torch.float32, torch.float64):
        return _forward_reference(spike_time, weight, v_th, t_max, response, leak)
    _require_response(response, leak)
    batch, (outputs, inputs) = spike_time.shape[0], weight.shape
    results = tuple(spike_time.new_empty(batch, outputs) for _ in range(3))
    time, synapses, threshold = (
        x.contiguous().numpy() for x in (spike_time, weight, v_th)
    )
    real = synapses.dtype.type
    settings = real(t_max), response == "step", real(leak)
    post, level, bound = (result.numpy() for result in results)

    def body(start: int, stop: int) -> int:
        tile = weight.new_empty(inputs * WIDTH).numpy()  # torch aligns it to the lanes
        return _sweep(
            *(time, synapses, threshold, *settings, tile, post, level, bound),
            *(start, stop),
        )

    _raise_if(max(split(body, batch, batch * weight.numel())))
    return results


_LIBRARY.impl(_forward_op, _forward_numba, "CPU")


@torch.library.register_fake(_forward_op, lib=_LIBRARY)
def _(spike_time, weight, v_th, t_max, response="ramp", leak=1.0):
    shape = (spike_time.shape[0], weight.shape[0])
    return tuple(spike_time.new_empty(shape) for _ in range(3))


def first_crossing_backward(
    delta: Tensor,
    spike_time: Tensor,
    weight: Tensor,
    post_spike_time: Tensor,
    bound: Tensor,
    need_time: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Sums over the causal pairs that every first-crossing gradient is made of.

        grad_time_bi   =  sum_j delta_bj w_ji               [t_bi < bound_bj]
        grad_weight_ji = -sum_b delta_bj (t_bj - t_bi)      [t_bi < bound_bj]

    Args:
        delta: Error over slope, (batch, out); ignored where the output is silent.
        spike_time: As given to `first_crossing`, (batch, in).
        weight: As given to `first_crossing`, (out, in).
        post_spike_time: As returned by `first_crossing`, (batch, out).
        bound: As returned by `first_crossing`, (batch, out).
        need_time: Whether grad_time is wanted; otherwise it is empty.
        need_weight: Whether grad_weight is wanted; otherwise it is empty.

    Returns:
        grad_time (batch, in) and grad_weight (out, in).
    """
    return _backward_op(
        delta, spike_time, weight, post_spike_time, bound, need_time, need_weight
    )


def _backward_numba(
    delta, spike_time, weight, post_spike_time, bound, need_time, need_weight
):
    if spike_time.dtype not in (torch.float32, torch.float64):
        return _backward_reference(
            delta, spike_time, weight, post_spike_time, bound, need_time, need_weight
        )
    batch, inputs = spike_time.shape
    missing = max(0, WIDTH - inputs)
    if missing:  # silent inputs up to the width of the lanes
        spike_time = F.pad(spike_time, (0, missing), value=math.inf)
        weight = F.pad(weight, (0, missing))
    # delta of a silent output may be anything: its bound of -inf leaves it out
    pairs = delta, spike_time, weight, post_spike_time, bound
    error, time, synapses, post, limit = (x.contiguous().numpy() for x in pairs)
    grad_time = spike_time.new_empty(spike_time.shape if need_time else 0)
    grad_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
    by_time, by_weight = grad_time.numpy(), grad_weight.numpy()

    def body(start: int, stop: int) -> None:
        tile, sums = weight.new_empty(2, _TILE * WIDTH).numpy()  # aligned to the lanes
        _gradients(
            *(error, time, synapses, post, limit, need_time, by_time, by_weight),
            *(tile, sums, start * WIDTH, stop * WIDTH),
        )

    # over the inputs: no sum depends on the number of threads
    split(body, -(-spike_time.shape[1] // WIDTH), batch * weight.numel())
    if need_time:
        grad_time = grad_time[:, :inputs].contiguous()
    if not need_weight:
        return grad_time, weight.new_empty(0)
    return grad_time, grad_weight[:, :inputs].contiguous()


_LIBRARY.impl(_backward_op, _backward_numba, "CPU")


@torch.library.register_fake(_backward_op, lib=_LIBRARY)
def _(delta, spike_time, weight, post_spike_time, bound, need_time, need_weight):
    grad_time = torch.empty_like(spike_time, memory_format=torch.contiguous_format)
    grad_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
    return (
        grad_time if need_time else spike_time.new_empty(0),
        grad_weight if need_weight else weight.new_empty(0),
    )
