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

from snn_temporal_plugins.kernels.threads import split

_LANES = 8  # outputs are padded to a multiple: no scalar rest of the inner loops
_STRIP = 448  # outputs whose state stays in the L1 cache together
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
def _sort_events(spike_time, index, time, head, finite, place):
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
    scale = (2 * n - 1) / (last - first) if last > first else 0.0
    if not scale < np.inf:
        scale = 0.0
    head[: 2 * n + 1] = 0
    for k in range(n):
        place[k] = int((spike_time[finite[k]] - first) * scale)
        head[place[k] + 1] += 1
    for k in range(2 * n):
        head[k + 1] += head[k]
    for k in range(n):
        p = head[place[k]]
        head[place[k]] = p + 1
        index[p], time[p] = finite[k], spike_time[finite[k]]
    if not _insert(time, index, n, 1, 16 * n):
        gap = n
        while gap > 1:
            gap = max(1, gap * 5 // 11)
            _insert(time, index, n, gap, n * n)
    return n


@_jit
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
def _add_ramps(time, index, n, t_max, weight, state, s, width):
    """Sweep a strip of outputs over the ramps; return how many inputs it took."""
    one = weight.dtype.type(1)
    k = 0
    before = time[0] if n > 0 else one
    while k < n and time[k] <= t_max:
        if k + 4 <= n:  # four a pass: fewer loads and stores of the state
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
    return k


@_jit
def _add_steps(time, index, n, t_max, leak, weight, state, s, width):
    """Sweep a strip of outputs over the steps; row 2 counts inputs up to firing."""
    zero = weight.dtype.type(0)
    k = 0
    while k < n and time[k] <= t_max:
        if k > 0 and leak < 1:
            decay = leak ** (time[k] - time[k - 1])
            for j in range(width):
                waits = state[2 * _STRIP + j] == zero
                v = state[_STRIP + j]
                state[_STRIP + j] = v * decay if waits else v
        tick = time[k]
        while k < n and time[k] == tick:
            row = weight[index[k], s : s + width]
            for j in range(width):
                waits = state[2 * _STRIP + j] == zero
                v, x = state[_STRIP + j], row[j]
                state[_STRIP + j] = v + x if waits else v
            k += 1
        arrived = weight.dtype.type(k)
        waiting = 0
        for j in range(width):
            r = state[2 * _STRIP + j]
            fires = (state[_STRIP + j] > state[3 * _STRIP + j]) & (r == zero)
            r = arrived if fires else r
            state[2 * _STRIP + j] = r
            waiting += r == zero
        if waiting == 0:
            break


@_jit
def _sweep(
    spike_time, weight, v_th, t_max, step, leak, post, level, bound, start, stop
):
    """First crossings of the samples start..stop; weight is (in, out). False if bad."""
    inputs, outputs = weight.shape
    index = np.empty(inputs, np.int32)
    head = np.empty(2 * inputs + 1, np.int32)
    finite = np.empty(inputs + 1, np.int32)
    place = np.empty(inputs, np.int32)
    time = np.empty(inputs, weight.dtype)
    k = 0
    # rows: slope A, potential V, arrived inputs, threshold. One array at constant
    # distances, so that LLVM can prove the rows apart and vectorise the inner loop.
    state = np.empty(4 * _STRIP, weight.dtype)
    for b in range(start, stop):
        n = _sort_events(spike_time[b], index, time, head, finite, place)
        if n < 0:
            return False
        for s in range(0, outputs, _STRIP):
            width = min(_STRIP, outputs - s)
            state[: 3 * _STRIP] = 0
            state[3 * _STRIP : 3 * _STRIP + width] = v_th[s : s + width]
            if step:
                _add_steps(time, index, n, t_max, leak, weight, state, s, width)
            else:
                k = _add_ramps(time, index, n, t_max, weight, state, s, width)
            width = min(width, post.shape[1] - s)  # without the padding
            post_row, level_row = post[b, s : s + width], level[b, s : s + width]
            bound_row = bound[b, s : s + width]
            post_row[:] = np.inf
            level_row[:] = 0
            bound_row[:] = -np.inf
            if step:
                for j in range(width):
                    arrived = int(state[2 * _STRIP + j])
                    if arrived > 0:
                        post_row[j] = time[arrived - 1]
                        level_row[j] = state[_STRIP + j]
                        bound_row[j] = time[arrived] if arrived < n else np.inf
                continue
            too_late = time[k] if k < n else np.inf
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
                    post_row[j], level_row[j], bound_row[j] = t, a, limit
    return True


@_jit
def _weight_gradient(spike_time, delta, post, bound, grad, start, stop):
    """grad[j, i] = -sum_b delta_bj (t_bj - t_bi) [t_bi < bound_bj], start <= j < stop.

    Only the samples in which output j fired cost anything, four of them a pass.
    """
    batch, inputs = spike_time.shape
    fired = np.empty(batch + 1, np.int64)
    for j in range(start, stop):
        n = 0
        for b in range(batch):
            fired[n] = b
            n += bound[b, j] > -np.inf
        row = grad[j]
        row[:] = 0
        m = 0
        while m + 4 <= n:
            b0, b1, b2, b3 = fired[m], fired[m + 1], fired[m + 2], fired[m + 3]
            t0, t1 = spike_time[b0], spike_time[b1]
            t2, t3 = spike_time[b2], spike_time[b3]
            d0, d1, d2, d3 = delta[b0, j], delta[b1, j], delta[b2, j], delta[b3, j]
            p0, p1, p2, p3 = post[b0, j], post[b1, j], post[b2, j], post[b3, j]
            q0, q1, q2, q3 = bound[b0, j], bound[b1, j], bound[b2, j], bound[b3, j]
            for i in range(inputs):
                g = row[i]
                x0, x1, x2, x3 = t0[i], t1[i], t2[i], t3[i]
                g = g + d0 * (x0 - p0) if x0 < q0 else g
                g = g + d1 * (x1 - p1) if x1 < q1 else g
                g = g + d2 * (x2 - p2) if x2 < q2 else g
                g = g + d3 * (x3 - p3) if x3 < q3 else g
                row[i] = g
            m += 4
        while m < n:
            b0 = fired[m]
            t0, d0, p0, q0 = spike_time[b0], delta[b0, j], post[b0, j], bound[b0, j]
            for i in range(inputs):
                x0 = t0[i]
                row[i] = row[i] + d0 * (x0 - p0) if x0 < q0 else row[i]
            m += 1


@_jit
def _time_gradient(spike_time, delta, bound, weight, grad, start, stop):
    """grad[b, i] = sum_j delta_bj w_ji [t_bi < bound_bj] for start <= b < stop."""
    outputs, inputs = weight.shape
    fired = np.empty(outputs + 1, np.int64)
    for b in range(start, stop):
        n = 0
        for j in range(outputs):
            fired[n] = j
            n += bound[b, j] > -np.inf
        t, d, q, row = spike_time[b], delta[b], bound[b], grad[b]
        row[:] = 0
        m = 0
        while m + 4 <= n:
            j0, j1, j2, j3 = fired[m], fired[m + 1], fired[m + 2], fired[m + 3]
            w0, w1, w2, w3 = weight[j0], weight[j1], weight[j2], weight[j3]
            d0, d1, d2, d3 = d[j0], d[j1], d[j2], d[j3]
            q0, q1, q2, q3 = q[j0], q[j1], q[j2], q[j3]
            for i in range(inputs):
                g, x = row[i], t[i]
                y0, y1, y2, y3 = w0[i], w1[i], w2[i], w3[i]
                g = g + d0 * y0 if x < q0 else g
                g = g + d1 * y1 if x < q1 else g
                g = g + d2 * y2 if x < q2 else g
                g = g + d3 * y3 if x < q3 else g
                row[i] = g
            m += 4
        while m < n:
            w0, d0, q0 = weight[fired[m]], d[fired[m]], q[fired[m]]
            for i in range(inputs):
                y0 = w0[i]
                row[i] = row[i] + d0 * y0 if t[i] < q0 else row[i]
            m += 1


# --- the ops ----------------------------------------------------------------------


@torch.library.custom_op("snn_temporal_plugins::first_crossing", mutates_args=())
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
    return _forward_reference(spike_time, weight, v_th, t_max, response, leak)


@first_crossing.register_kernel("cpu")
def _(spike_time, weight, v_th, t_max, response="ramp", leak=1.0):
    if spike_time.dtype not in (torch.float32, torch.float64):
        return _forward_reference(spike_time, weight, v_th, t_max, response, leak)
    _require_response(response, leak)
    batch, outputs = spike_time.shape[0], weight.shape[0]
    results = tuple(spike_time.new_empty(batch, outputs) for _ in range(3))
    # an input spike reads one row of (in, out); whole SIMD registers of outputs.
    # threshold below 0: the padding does not wait, and never holds up the end
    lacking = -outputs % _LANES
    padded = F.pad(weight, (0, 0, 0, lacking)) if lacking else weight
    rows = padded.t().contiguous().numpy()
    _raise_if(_check(rows, v_th.contiguous().numpy()))
    threshold = F.pad(v_th, (0, lacking), value=-1.0).numpy()
    time = spike_time.contiguous().numpy()
    real = rows.dtype.type
    settings = real(t_max), response == "step", real(leak)
    post, level, bound = (result.numpy() for result in results)
    good = split(
        lambda a, b: _sweep(time, rows, threshold, *settings, post, level, bound, a, b),
        batch,
        batch * weight.numel(),
    )
    if not all(good):
        _raise_if(1)
    return results


@first_crossing.register_fake
def _(spike_time, weight, v_th, t_max, response="ramp", leak=1.0):
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
        w, out = weight.contiguous().numpy(), grad_time.numpy()
        split(
            lambda a, b: _time_gradient(time, delta, limit, w, out, a, b), batch, work
        )
    grad_weight = weight.new_empty((outputs, inputs) if need_weight else 0)
    if need_weight:
        grad = grad_weight.numpy()
        split(
            lambda a, b: _weight_gradient(time, delta, post, limit, grad, a, b),
            outputs,
            work,
        )
    return grad_time, grad_weight


@first_crossing_backward.register_fake
def _(delta, spike_time, weight, post_spike_time, bound, need_time, need_weight):
    grad_time = torch.empty_like(spike_time, memory_format=torch.contiguous_format)
    grad_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
    return (
        grad_time if need_time else spike_time.new_empty(0),
        grad_weight if need_weight else weight.new_empty(0),
    )
