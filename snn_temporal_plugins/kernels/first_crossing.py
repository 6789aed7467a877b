"""The exact first crossing of a sum of ramps, for real-valued spike times.

    V_j(t) = sum_i w_ji max(0, t - t_i),      t_j = min { t : V_j(t) >= v_th_j }

V_j is piecewise linear, so between two input spikes the crossing has a closed form.
Both bodies sweep the input spikes of a sample in time order and keep, per output, the
slope A (weight sum of the inputs that have arrived) and the potential V:

    V <- V + A (t_k - t_{k-1});   V >= v_th: fired, t = t_{k-1} + (v_th - V_{k-1}) / A
    A <- A + w_k                  otherwise

Besides the spike time the op returns the slope at the crossing and the *bound*: the
time of the first input that came too late. `t_i < bound_j` is the causal set exactly as
the sweep saw it; comparing `t_i < t_j` again would flip pairs by rounding.

Source: Zhang et al., arXiv 2003.11837 (ReL-PSP); event sweep and bound are ours.
"""

import itertools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch
from torch import Tensor

_STRIP = 256  # outputs whose slope and potential stay in the L1 cache together
_BLOCK = 12  # samples whose backward state stays in the L1 cache together
_OUTPUTS_PER_PASS = 64  # bounds the reference backward's (batch, outputs, in) mask
_MIN_WORK_PER_THREAD = 1 << 20  # synapses below which a second thread costs more

_ALLOWED = {
    1: ("spike_time holds NaN or -inf", "finite times, or inf for a silent input"),
    2: ("weight holds NaN or inf", "finite weights"),
    3: ("v_th holds a value that is not > 0 and finite", "positive thresholds"),
}


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
    spike_time: Tensor, weight: Tensor, v_th: Tensor, t_max: float
) -> tuple[Tensor, Tensor, Tensor]:
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
    batch, outputs = spike_time.shape[0], weight.shape[0]
    time, order = torch.sort(spike_time, dim=1, stable=True)
    slope = spike_time.new_zeros(batch, outputs)
    v = torch.zeros_like(slope)
    last = torch.zeros_like(slope)  # the time up to which v has been integrated
    bound = torch.full_like(slope, math.inf)
    waiting = torch.ones_like(slope, dtype=torch.bool)
    for k in range(spike_time.shape[1]):
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
    return post.to(dtype), slope.to(dtype), bound.to(dtype)


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
    time = torch.where(spike_time < math.inf, spike_time, 0)
    delta = torch.where(post_spike_time < math.inf, delta, 0)
    moment = delta * torch.where(post_spike_time < math.inf, post_spike_time, 0)
    grad_time = torch.zeros_like(time) if need_time else time.new_empty(0)
    rows = []
    for start in range(0, weight.shape[0], _OUTPUTS_PER_PASS):
        part = slice(start, start + _OUTPUTS_PER_PASS)
        # in the dtype of the op: both sides are stored values, compared exactly
        causal = (spike_time.to(dtype)[:, None, :] < bound[:, part, None]).to(time)
        if need_time:
            grad_time += torch.einsum(
                "bo,oi,boi->bi", delta[:, part], weight[part], causal
            )
        if need_weight:
            rows.append(
                torch.einsum("bo,bi,boi->io", delta[:, part], time, causal)
                - torch.einsum("bo,boi->io", moment[:, part], causal)
            )
    if not need_weight:
        grad_weight = weight.new_empty(0)
    elif rows:
        grad_weight = torch.cat(rows, dim=1).to(dtype).t()
    else:
        grad_weight = weight.new_zeros(weight.shape[1], 0).to(dtype).t()
    return grad_time.to(dtype), grad_weight.to(dtype)


# --- Numba bodies: one sample (or one input) after the other on the CPU -----------

# contract: v + a * d may become one fused multiply-add. NaN and inf stay exact.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
# reassoc: sums over outputs may be split over SIMD lanes
_jit_sum = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"}
)


@_jit
def _insert(time, index, n, gap, budget):
    """Insertion sort of every gap-th element; False once it has moved too many."""
    moves = 0
    for k in range(gap, n):
        t, i, p = time[k], index[k], k
        while p >= gap and time[p - gap] > t:
            time[p], index[p] = time[p - gap], index[p - gap]
            p -= gap
            moves += 1
        time[p], index[p] = t, i
        if moves > budget:
            return False
    return True


@_jit
def _sort_events(spike_time, index, time, head, finite):
    """Write the spikes of one sample in time order; return their number, -1 if bad.

    Bins of equal width, then insertion: O(n) for the times that occur in practice. When
    the bins turn out to be uneven, Shell's sort takes over.
    """
    n = 0
    bad = False
    for i in range(spike_time.shape[0]):  # no branch: silence has no pattern to predict
        t = spike_time[i]
        bad |= not t > -np.inf
        finite[n] = i
        n += t < np.inf
    if bad:
        return -1
    first, last = np.inf, -np.inf
    for k in range(n):
        t = spike_time[finite[k]]
        first, last = min(first, t), max(last, t)
    scale = (n - 1) / (last - first) if last > first else 0.0
    if not scale < np.inf:
        scale = 0.0
    head[: n + 1] = 0
    for k in range(n):
        head[int((spike_time[finite[k]] - first) * scale) + 1] += 1
    for k in range(n):
        head[k + 1] += head[k]
    for k in range(n):
        i = finite[k]
        t = spike_time[i]
        bin_of_t = int((t - first) * scale)
        p = head[bin_of_t]
        head[bin_of_t] = p + 1
        index[p], time[p] = i, t
    if not _insert(time, index, n, 1, 16 * n):
        gap = n
        while gap > 1:
            gap = max(1, gap * 5 // 11)
            _insert(time, index, n, gap, n * n)
    return n


@_jit
def _all_finite(weight):
    """Whether no value of a (in, out) array is NaN or infinite."""
    finite = True
    for i in range(weight.shape[0]):
        row = weight[i]
        for j in range(row.shape[0]):
            finite &= abs(row[j]) < np.inf
    return finite


@_jit
def _replay(time, index, weight, arrived, j):
    """V of one output when its last causal input arrived."""
    a = v = weight.dtype.type(0)
    for k in range(arrived):
        if k > 0:
            v += a * (time[k] - time[k - 1])
        a += weight[index[k], j]
    return v


@_jit
def _sweep(spike_time, weight, v_th, t_max, post, slope, bound, start, stop):
    """First crossings of the samples start..stop; weight is (in, out). False if bad."""
    inputs, outputs = weight.shape
    index = np.empty(inputs, np.int64)
    head = np.empty(inputs + 1, np.int64)
    finite = np.empty(inputs + 1, np.int64)
    time = np.empty(inputs, weight.dtype)
    # rows: slope A, potential V, arrived inputs, threshold. One array at constant
    # distances, so that LLVM can prove the rows apart and vectorise the inner loop.
    state = np.empty(4 * _STRIP, weight.dtype)
    one = weight.dtype.type(1)
    for b in range(start, stop):
        n = _sort_events(spike_time[b], index, time, head, finite)
        if n < 0:
            return False
        for s in range(0, outputs, _STRIP):
            width = min(_STRIP, outputs - s)
            state[: 3 * _STRIP] = 0
            state[3 * _STRIP : 3 * _STRIP + width] = v_th[s : s + width]
            k = 0
            before = time[0] if n > 0 else one
            while k < n and time[k] <= t_max:
                if (
                    k + 4 <= n
                ):  # four inputs a pass: fewer loads and stores of the state
                    d0, d1 = time[k] - before, time[k + 1] - time[k]
                    d2, d3 = time[k + 2] - time[k + 1], time[k + 3] - time[k + 2]
                    w0 = weight[index[k], s : s + width]
                    w1 = weight[index[k + 1], s : s + width]
                    w2 = weight[index[k + 2], s : s + width]
                    w3 = weight[index[k + 3], s : s + width]
                    before = time[k + 3]
                    for j in range(width):
                        a, v = state[j], state[_STRIP + j]
                        r, th = state[2 * _STRIP + j], state[3 * _STRIP + j]
                        x0, x1, x2, x3 = w0[j], w1[j], w2[j], w3[j]
                        waits = v < th
                        v = v + a * d0 if waits else v
                        waits = v < th
                        a = a + x0 if waits else a
                        r = r + one if waits else r
                        v = v + a * d1 if waits else v
                        waits = v < th
                        a = a + x1 if waits else a
                        r = r + one if waits else r
                        v = v + a * d2 if waits else v
                        waits = v < th
                        a = a + x2 if waits else a
                        r = r + one if waits else r
                        v = v + a * d3 if waits else v
                        waits = v < th
                        a = a + x3 if waits else a
                        r = r + one if waits else r
                        state[j], state[_STRIP + j] = a, v
                        state[2 * _STRIP + j] = r
                    k += 4
                else:
                    d0 = time[k] - before
                    w0 = weight[index[k], s : s + width]
                    before = time[k]
                    for j in range(width):
                        a, v = state[j], state[_STRIP + j]
                        r, th = state[2 * _STRIP + j], state[3 * _STRIP + j]
                        x0 = w0[j]
                        v = v + a * d0 if v < th else v
                        waits = v < th
                        state[j] = a + x0 if waits else a
                        state[_STRIP + j] = v
                        state[2 * _STRIP + j] = r + one if waits else r
                    k += 1
                if k % 32 == 0:
                    waiting = 0
                    for j in range(width):
                        waiting += state[_STRIP + j] < state[3 * _STRIP + j]
                    if waiting == 0:
                        break
            too_late = time[k] if k < n else np.inf
            post_row, slope_row = post[b, s : s + width], slope[b, s : s + width]
            bound_row = bound[b, s : s + width]
            post_row[:] = np.inf
            slope_row[:] = 0
            bound_row[:] = -np.inf
            for j in range(width):
                a = state[j]
                if not a > 0:
                    continue
                v, th = state[_STRIP + j], state[3 * _STRIP + j]
                arrived = int(state[2 * _STRIP + j])
                limit = time[arrived] if v >= th else too_late
                if v > 8 * th:  # far above: go back for the digits that v has lost
                    v = _replay(time, index, weight, arrived, s + j)
                    t = time[arrived - 1] + (th - v) / a
                elif v >= th:
                    t = limit - (v - th) / a
                else:
                    t = time[arrived - 1] + (th - v) / a
                if t <= t_max and t < np.inf:
                    post_row[j], slope_row[j], bound_row[j] = t, a, limit
    return True


@_jit_sum
def _weight_gradient(spike_time, delta, post, bound, grad, start, stop):
    """grad[i, j] = -sum_b delta_bj (t_bj - t_bi) [t_bi < bound_bj], start <= i < stop.

    Blocks of samples and strips of outputs outside, inputs inside: what is packed for a
    block stays in the L1 cache while all inputs pass by.
    """
    batch = spike_time.shape[0]
    outputs = grad.shape[1]
    dtype = grad.dtype
    packed = np.empty((_BLOCK, 3 * _STRIP), dtype)  # per sample: delta, post, bound
    head = np.empty(stop - start + 1, np.int64)
    sample = np.empty((stop - start) * _BLOCK + 1, np.int64)
    time = np.empty((stop - start) * _BLOCK + 1, dtype)
    grad[start:stop] = 0
    for b0 in range(0, batch, _BLOCK):
        block = min(_BLOCK, batch - b0)
        n = 0
        for i in range(start, stop):  # the block's spikes, input after input
            head[i - start] = n
            for b in range(block):
                t = spike_time[b0 + b, i]
                sample[n], time[n] = b, t
                n += t < np.inf
        head[stop - start] = n
        for s in range(0, outputs, _STRIP):
            width = min(_STRIP, outputs - s)
            for b in range(block):
                packed[b, :width] = delta[b0 + b, s : s + width]
                packed[b, _STRIP : _STRIP + width] = post[b0 + b, s : s + width]
                packed[b, 2 * _STRIP : 2 * _STRIP + width] = bound[
                    b0 + b, s : s + width
                ]
            for i in range(start, stop):
                row = grad[i, s : s + width]
                m, n = head[i - start], head[i - start + 1]
                while m + 4 <= n:
                    p0, p1 = packed[sample[m]], packed[sample[m + 1]]
                    p2, p3 = packed[sample[m + 2]], packed[sample[m + 3]]
                    t0, t1, t2, t3 = time[m], time[m + 1], time[m + 2], time[m + 3]
                    for j in range(width):
                        g = row[j]
                        x0 = p0[j] * (t0 - p0[_STRIP + j])
                        x1 = p1[j] * (t1 - p1[_STRIP + j])
                        x2 = p2[j] * (t2 - p2[_STRIP + j])
                        x3 = p3[j] * (t3 - p3[_STRIP + j])
                        g = g + x0 if p0[2 * _STRIP + j] > t0 else g
                        g = g + x1 if p1[2 * _STRIP + j] > t1 else g
                        g = g + x2 if p2[2 * _STRIP + j] > t2 else g
                        g = g + x3 if p3[2 * _STRIP + j] > t3 else g
                        row[j] = g
                    m += 4
                while m < n:
                    p0, t0 = packed[sample[m]], time[m]
                    for j in range(width):
                        g = row[j]
                        x0 = p0[j] * (t0 - p0[_STRIP + j])
                        row[j] = g + x0 if p0[2 * _STRIP + j] > t0 else g
                    m += 1


@_jit_sum
def _time_gradient(spike_time, delta, bound, weight, grad, start, stop):
    """grad[b, i] = sum_j delta_bj w_ij [t_bi < bound_bj] for start <= b < stop."""
    inputs, outputs = weight.shape
    event = np.empty(inputs + 3, np.int64)
    for b in range(start, stop):
        n = 0
        for i in range(inputs):
            grad[b, i] = 0
            if spike_time[b, i] < np.inf:
                event[n] = i
                n += 1
        if n == 0:
            continue
        event[n : n + 3] = event[n - 1]  # the padding repeats the last input
        d, limit = delta[b], bound[b]
        for k in range(0, n, 4):
            i0, i1, i2, i3 = event[k], event[k + 1], event[k + 2], event[k + 3]
            t0, t1 = spike_time[b, i0], spike_time[b, i1]
            t2, t3 = spike_time[b, i2], spike_time[b, i3]
            w0, w1, w2, w3 = weight[i0], weight[i1], weight[i2], weight[i3]
            zero = weight.dtype.type(0)
            g0, g1, g2, g3 = zero, zero, zero, zero
            for j in range(outputs):
                x, y = d[j], limit[j]
                g0 += x * w0[j] if y > t0 else zero
                g1 += x * w1[j] if y > t1 else zero
                g2 += x * w2[j] if y > t2 else zero
                g3 += x * w3[j] if y > t3 else zero
            grad[b, i0], grad[b, i1], grad[b, i2], grad[b, i3] = g0, g1, g2, g3


# --- threads: torch.set_num_threads is the one knob -------------------------------

_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)  # threads do not survive a fork


def _split(body: Callable[[int, int], object], length: int, work: int) -> list[object]:
    """Run body(start, stop) over 0..length, in as many threads as torch uses."""
    global _pool
    threads = min(torch.get_num_threads(), length, work // _MIN_WORK_PER_THREAD)
    if threads <= 1:
        return [body(0, length)]
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count() or 1, "first_crossing")
    edges = [length * part // threads for part in range(threads + 1)]
    first, *others = itertools.pairwise(edges)
    jobs = [_pool.submit(body, *part) for part in others]
    return [body(*first), *(job.result() for job in jobs)]


# --- the ops ----------------------------------------------------------------------


@torch.library.custom_op("snn_temporal_plugins::first_crossing", mutates_args=())
def first_crossing(
    spike_time: Tensor, weight: Tensor, v_th: Tensor, t_max: float
) -> tuple[Tensor, Tensor, Tensor]:
    """First time at which each output's sum of ramps reaches its threshold.

    Args:
        spike_time: Input spike times, (batch, in), any unit; inf = silent.
        weight: Synaptic weights, (out, in), in thresholds per unit of time.
        v_th: Thresholds > 0, (out,).
        t_max: Horizon in the unit of time; a later crossing counts as silent.

    Returns:
        post_spike_time: (batch, out), inf = silent.
        slope: dV/dt at the crossing, (batch, out), > 0; 0 where silent.
        bound: time of the first input outside the causal set, (batch, out); inf if all
            inputs are causal, -inf where silent.

    Raises:
        ValueError: a time is NaN or -inf, a weight is not finite, a threshold not > 0.
    """
    return _forward_reference(spike_time, weight, v_th, t_max)


@first_crossing.register_kernel("cpu")
def _(spike_time, weight, v_th, t_max):
    if spike_time.dtype not in (torch.float32, torch.float64):
        return _forward_reference(spike_time, weight, v_th, t_max)
    if not bool(((v_th > 0) & (v_th < math.inf)).all()):
        _raise_if(3)
    batch, outputs = spike_time.shape[0], weight.shape[0]
    results = tuple(spike_time.new_empty(batch, outputs) for _ in range(3))
    rows = weight.t().contiguous().numpy()  # no copy if the layer stores it so
    if not _all_finite(rows):
        _raise_if(2)
    time = spike_time.contiguous().numpy()
    threshold = v_th.contiguous().numpy()
    horizon = rows.dtype.type(t_max)
    post, slope, bound = (result.numpy() for result in results)
    good = _split(
        lambda a, b: _sweep(time, rows, threshold, horizon, post, slope, bound, a, b),
        batch,
        batch * weight.numel(),
    )
    if not all(good):
        _raise_if(1)
    return results


@first_crossing.register_fake
def _(spike_time, weight, v_th, t_max):
    shape = (spike_time.shape[0], weight.shape[0])
    return tuple(spike_time.new_empty(shape) for _ in range(3))


@torch.library.custom_op(
    "snn_temporal_plugins::first_crossing_backward", mutates_args=()
)
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
    return _backward_reference(
        delta, spike_time, weight, post_spike_time, bound, need_time, need_weight
    )


@first_crossing_backward.register_kernel("cpu")
def _(delta, spike_time, weight, post_spike_time, bound, need_time, need_weight):
    if spike_time.dtype not in (torch.float32, torch.float64):
        return _backward_reference(
            delta, spike_time, weight, post_spike_time, bound, need_time, need_weight
        )
    batch, (outputs, inputs) = spike_time.shape[0], weight.shape
    # delta of a silent output may be anything: its bound of -inf leaves it out
    delta, time, post, limit = (
        x.contiguous().numpy() for x in (delta, spike_time, post_spike_time, bound)
    )
    work = batch * weight.numel()
    grad_time = spike_time.new_empty((batch, inputs) if need_time else 0)
    if need_time:
        rows = weight.t().contiguous().numpy()
        out = grad_time.numpy()
        _split(
            lambda a, b: _time_gradient(time, delta, limit, rows, out, a, b),
            batch,
            work,
        )
    if not need_weight:
        return grad_time, weight.new_empty(0)
    grad_weight = weight.new_empty(inputs, outputs)
    grad = grad_weight.numpy()
    _split(
        lambda a, b: _weight_gradient(time, delta, post, limit, grad, a, b),
        inputs,
        work,
    )
    return grad_time, grad_weight.t()


@first_crossing_backward.register_fake
def _(delta, spike_time, weight, post_spike_time, bound, need_time, need_weight):
    grad_time = torch.empty_like(spike_time, memory_format=torch.contiguous_format)
    grad_weight = weight.new_empty(weight.shape[1], weight.shape[0]).t()
    return (
        grad_time if need_time else spike_time.new_empty(0),
        grad_weight if need_weight else weight.new_empty(0),
    )
