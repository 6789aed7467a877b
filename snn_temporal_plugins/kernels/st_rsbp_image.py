"""The neurons of ST-RSBP behind a convolution or a pool, and the sums of its backward.

The equations are those of `kernels.st_rsbp`. There a spike acts on all neurons, here on
some runs of them (`kernels.image_runs`): in either direction it costs one loop over
each run, and silence costs nothing.

    forward     q[run]    += W[run]
    backward    dW[run]   += G[run],   through_j += W[run] . G[run]

    G_i[t] = g_i[t] + (1 - 1/tau_syn) G_i[t+1]         error_i M_i of `kernels.st_rsbp`
    g_i[t] = error_i at a spike, else (1 - 1/tau_mem) g_i[t+1], 0 while i is refractory

The backward goes back in time and holds G of one step alone.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from snn_temporal_plugins.kernels.image_runs import (
    from_table,
    runs_of,
    slid,
    to_table,
)
from snn_temporal_plugins.kernels.st_rsbp import (
    TOLERANCE,
    fire,
    jit,
    jit_loose,
    raise_not_binary,
    require_binary,
    require_finite,
    spike_train_window,
    survival,
    trace,
)
from snn_temporal_plugins.kernels.threads import split

# --- reference bodies: plain torch, any device, any float dtype -------------------


def _window_reference(
    x, last, weight, state, v_th, tau_mem, tau_syn, refractory, stride, padding
):
    require_binary(x)
    require_binary(last)
    current = _synaptic_sum(x, weight, stride, padding)
    before = _synaptic_sum(last[None], weight, stride, padding)[0]
    none = x.new_empty(0, 0)
    constants = v_th, tau_mem, tau_syn, refractory
    return spike_train_window(current, before, none, none, state, *constants)


def _synaptic_sum(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """What the synapses make of (time, batch, ...): (time, batch, neurons)."""
    if len(weight):
        merged = F.conv2d(x.flatten(0, 1), weight, stride=stride, padding=padding)
        return merged.unflatten(0, x.shape[:2]).flatten(2)
    return _windows(x, stride).sum((-3, -1)).flatten(2)


def _windows(x: Tensor, side: int) -> Tensor:
    """(..., height, width) cut to (..., down, side, across, side)."""
    down, across = (n // side for n in x.shape[-2:])
    cut = x[..., : down * side, : across * side]
    return cut.unflatten(-2, (down, side)).unflatten(-1, (across, side))


def _effects_reference(
    x, spikes, weight, error, tau_mem, tau_syn, refractory, stride, padding
):
    p = trace(x, tau_syn)
    kernel = survival(spikes, tau_mem, refractory) * error / tau_syn
    if not len(weight):
        height, width = (n // stride for n in x.shape[3:])
        kernel = kernel.unflatten(2, (x.shape[2], height, 1, width, 1))
        through = (_windows(p, stride) * kernel).sum(0).flatten(-2).flatten(-3, -2)
        right, below = x.shape[4] - width * stride, x.shape[3] - height * stride
        return F.pad(through, (0, right, 0, below)), weight.clone()
    slide = {"stride": stride, "padding": padding}
    size = slid(x.shape[3:], weight.shape[2:], stride, padding)
    kernel = kernel.reshape(-1, len(weight), *size)
    grad = conv2d_weight(p.flatten(0, 1), list(weight.shape), kernel, **slide)
    back = conv2d_input([len(kernel), *x.shape[2:]], weight, kernel, **slide)
    return (back.view_as(p) * p).sum(0), grad.contiguous()


# --- Numba bodies ------------------------------------------------------------------


@jit
def _image_window(
    x, last, table, start, offset, length, place, v_th, tau_mem, tau_syn, refractory,
    state, spikes, drive, begin, end,
):  # fmt: skip
    """Run the samples begin..end; spikes holds zeros.

    False if an input spike is neither 0 nor 1.
    """
    steps, inputs, neurons = x.shape[0], x.shape[2], spikes.shape[2]
    real = spikes.dtype.type
    zero, one = real(0), real(1)
    keep_mem, keep_syn = one - one / tau_mem, one - one / tau_syn
    threshold = v_th - real(TOLERANCE)
    binary = True
    event, fired = np.empty(inputs + 1, np.int64), np.empty(neurons + 1, np.int64)
    s, total = np.empty(neurons, spikes.dtype), np.empty(neurons, spikes.dtype)
    for b in range(begin, end):
        v, q, wait = state[0, b][place], state[1, b][place], state[2, b][place]
        total[:] = zero
        for t in range(steps):
            arriving = x[t - 1, b] if t else last[b]
            for i in range(neurons):
                q[i] *= keep_syn
            m = 0
            for j in range(inputs):  # no branch: hard to predict
                event[m] = j
                m += arriving[j] != zero
            for k in range(m):
                j = event[k]
                binary &= arriving[j] == one
                for r in range(start.shape[1]):
                    n = length[j, r]
                    current = q[start[j, r] : start[j, r] + n]
                    row = table[offset[j, r] : offset[j, r] + n]
                    for i in range(n):
                        current[i] += row[i]
            fire(v, q, wait, s, total, keep_mem, tau_syn, threshold, refractory)
            m = 0
            for i in range(neurons):
                fired[m] = place[i]
                m += s[i] != zero
            for k in range(m):
                spikes[t, b, fired[k]] = one
        for i in range(neurons):
            j = place[i]
            state[0, b, j], state[1, b, j], state[2, b, j] = v[i], q[i], wait[i]
            state[3, b, j], drive[b, j] = spikes[steps - 1, b, j], total[i]
        for j in range(inputs):  # the last step arrives in the next window
            one_or_zero = x[steps - 1, b, j]
            binary &= (one_or_zero == zero) | (one_or_zero == one)
    return binary


@jit
def _spikes_of(spikes, b, inside, event, first):
    """Write inside[i] of the spikes of step t to event[first[t] : first[t + 1]]."""
    n = 0
    for t in range(spikes.shape[0]):
        first[t] = n
        s = spikes[t, b]
        for i in range(len(s)):
            event[n] = inside[i]
            n += s[i] != 0
    first[spikes.shape[0]] = n


@jit_loose
def _image_effects(
    x, spikes, table, start, offset, length, inside, error, tau_mem, tau_syn,
    refractory, need_in, through, begin, end,
):  # fmt: skip
    """Fill through for the samples begin..end; return their gradient of the table."""
    steps, _, inputs = x.shape
    neurons, real = spikes.shape[2], spikes.dtype
    zero, one = real.type(0), real.type(1)
    keep_mem, keep_syn = one - one / tau_mem, one - one / tau_syn
    grad, of_sample = np.zeros(len(table), real), np.empty(len(table), real)
    event, first = (
        np.empty(steps * neurons + 1, np.int32),
        np.empty(steps + 1, np.int64),
    )
    arriving = np.empty(inputs + 1, np.int64)
    d, g, later = (
        np.empty(neurons, real),
        np.empty(neurons, real),
        np.empty(neurons, real),
    )
    for b in range(begin, end):
        active = False
        for i in range(neurons):
            d[inside[i]] = error[b, i]
            active |= error[b, i] != zero
        if need_in:
            through[b] = zero
        if not active:  # nothing to learn from this sample
            continue
        _spikes_of(spikes, b, inside, event, first)
        of_sample[:] = g[:] = later[:] = zero
        for t in range(steps - 1, -1, -1):
            m = 0
            for j in range(inputs):
                arriving[m] = j
                m += x[t, b, j] != zero
            for k in range(m):
                j = arriving[k]
                total = zero
                for r in range(start.shape[1]):
                    n = length[j, r]
                    seen = later[start[j, r] : start[j, r] + n]
                    row = of_sample[offset[j, r] : offset[j, r] + n]
                    for i in range(n):
                        row[i] += seen[i]
                    if need_in:
                        row = table[offset[j, r] : offset[j, r] + n]
                        for i in range(n):
                            total += row[i] * seen[i]
                if need_in:
                    through[b, j] += total
            for i in range(neurons):
                g[i] *= keep_mem
            for k in range(first[t], first[t + 1]):
                g[event[k]] = d[event[k]]
            for k in range(first[max(t - refractory, 0)], first[t]):
                g[event[k]] = zero
            for i in range(neurons):
                later[i] = g[i] + keep_syn * later[i]
        for i in range(len(grad)):
            grad[i] += of_sample[i] / tau_syn
        for j in range(inputs):
            if need_in:
                through[b, j] /= tau_syn
    return grad


# --- the ops -----------------------------------------------------------------------


@torch.library.custom_op("snn_temporal_plugins::image_window", mutates_args=())
def image_window(
    x: Tensor,
    last: Tensor,
    weight: Tensor,
    state: Tensor,
    v_th: float,
    tau_mem: float,
    tau_syn: float,
    refractory: int,
    stride: int,
    padding: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes of neurons behind a convolution or a pool over a window.

    Args:
        x: Input spikes, (time, batch, channel, height, width), 0 or 1.
        last: The step of `x` before the first, (batch, channel, height, width).
        weight: Kernel, (out, channel, rows, columns); or empty, a pool: the weight 1
            from all of a window of side `stride` in one map.
        state: v, q, steps that it is still refractory, and its spikes of the step
            before, each (batch, neurons), stacked.
        v_th: Threshold > 0.
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        refractory: Steps after a spike in which the membrane is 0.
        stride: Step between patches; of a pool the side of its windows.
        padding: Silent border on every side; of a pool 0.

    Returns:
        spikes: (time, batch, neurons), 0 or 1.
        drive: sum of v at the spikes, (batch, neurons).
        state: that of the end.

    Raises:
        ValueError: x or last holds other values than 0 and 1, or the weights or the
            state NaN or inf.
    """
    constants = v_th, tau_mem, tau_syn, refractory
    return _window_reference(x, last, weight, state, *constants, stride, padding)


@image_window.register_kernel("cpu")
def _(x, last, weight, state, v_th, tau_mem, tau_syn, refractory, stride, padding):
    constants = v_th, tau_mem, tau_syn, refractory
    if x.dtype not in (torch.float32, torch.float64):
        return _window_reference(x, last, weight, state, *constants, stride, padding)
    runs = runs_of(x, weight, stride, padding)
    (steps, batch), neurons = x.shape[:2], state.shape[2]
    drive = x.new_empty(batch, neurons)
    # of NumPy, which asks for huge pages: faults of small ones cost a tenth of a step
    spikes = torch.from_numpy(np.zeros((steps, batch, neurons), drive.numpy().dtype))
    end = state.clone(memory_format=torch.contiguous_format)
    arrays = x.contiguous().flatten(2).numpy(), last.contiguous().flatten(1).numpy()
    numbers = tuple(map(arrays[0].dtype.type, constants))
    results = end.numpy(), spikes.numpy(), drive.numpy()
    table = to_table(weight, runs)
    good = split(
        lambda a, b: _image_window(*arrays, table, *runs[:4], *numbers, *results, a, b),
        batch,
        steps * batch * neurons * 8,
    )
    if not all(good):
        raise_not_binary()
    require_finite(end)
    return spikes, drive, end


@image_window.register_fake
def _(x, last, weight, state, *_):
    spikes = x.new_empty(*x.shape[:2], state.shape[2])
    return spikes, state.new_empty(state.shape[1:]), state.new_empty(state.shape)


@torch.library.custom_op("snn_temporal_plugins::image_effects", mutates_args=())
def image_effects(
    x: Tensor,
    spikes: Tensor,
    weight: Tensor,
    error: Tensor,
    tau_mem: float,
    tau_syn: float,
    refractory: int,
    stride: int,
    padding: int,
    need_in: bool,
) -> tuple[Tensor, Tensor]:
    """The sums over all synapses of a convolution or a pool; e is never held.

        through_bj = sum_i error_bi W_ij e_bij
        grad_weight = sum_b error_bi e_bij over all i, j that share the weight

    Args:
        x: Input spikes, (time, batch, channel, height, width), 0 or 1.
        spikes: Output spikes, (time, batch, neurons), 0 or 1.
        weight: Kernel, or empty, a pool, as in `image_window`.
        error: (batch, neurons). A sample in which it is 0 throughout costs nothing.
        tau_mem: Membrane time constant, in steps.
        tau_syn: Synaptic time constant, in steps.
        refractory: Steps after a spike in which the membrane is 0.
        stride: Step between patches; of a pool the side of its windows.
        padding: Silent border on every side; of a pool 0.
        need_in: Whether through is wanted; otherwise it is empty.

    Returns:
        through (batch, channel, height, width), and grad_weight, the shape of `weight`.
    """
    constants = tau_mem, tau_syn, refractory, stride, padding
    through, grad = _effects_reference(x, spikes, weight, error, *constants)
    return through if need_in else x.new_empty(0), grad


@image_effects.register_kernel("cpu")
def _(x, spikes, weight, error, tau_mem, tau_syn, refractory, stride, padding, need_in):
    if x.dtype not in (torch.float32, torch.float64):
        constants = tau_mem, tau_syn, refractory, stride, padding
        through, grad = _effects_reference(x, spikes, weight, error, *constants)
        return through if need_in else x.new_empty(0), grad
    runs = runs_of(x, weight, stride, padding)
    batch, sample = x.shape[1], x.shape[2:]
    through = x.new_empty((batch, sample.numel()) if need_in else (0, 0))
    arrays = tuple(a.contiguous().numpy() for a in (x.flatten(2), spikes))
    real, out = arrays[0].dtype.type, through.numpy()
    inside, errors = np.argsort(runs.place), error.contiguous().numpy()
    numbers = real(tau_mem), real(tau_syn), refractory
    table = to_table(weight, runs)
    parts: list[Any] = split(
        lambda a, b: _image_effects(
            *arrays, table, *runs[:3], inside, errors, *numbers, need_in, out, a, b
        ),
        batch,
        spikes.numel() * 8,
    )
    total = sum(parts[1:], parts[0])
    grad = from_table(total, weight, runs) if len(weight) else weight.clone()
    return through.view(batch, *sample) if need_in else x.new_empty(0), grad


@image_effects.register_fake
def _(x, spikes, weight, error, tau_mem, tau_syn, refractory, stride, padding, need_in):
    grad = torch.empty_like(weight, memory_format=torch.contiguous_format)
    return x.new_empty(x.shape[1:] if need_in else 0), grad
