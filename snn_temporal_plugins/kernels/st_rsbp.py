"""Leaky integrate-and-fire neurons with delayed synapses, and the sums of ST-RSBP.

Forward, per sample and neuron i, t = 0..T-1 (v membrane, q synaptic current, both 0
before, as are the spikes s before the first step):

    q    = (1 - 1/tau_syn) q + sum_j W_ij s_j[t-1] + sum_p R_ip s_p[t-1]
    v    = (1 - 1/tau_mem) v + q / tau_syn    0 for `refractory` steps after a spike
    s[t] = v > v_th - 1e-6, then v = 0

Effect (S-PSP) of an input j of unit weight on the membrane of i at the spikes of i:

    e_ij = 1/tau_syn sum_t m_i[t] p_j[t]
    p_j[t] = (1 - 1/tau_syn) p_j[t-1] + s_j[t-1]
    m_i[t] = s_i[t] + (1 - s_i[t]) (1 - 1/tau_mem) m_i[t+1], 0 while i is refractory

With M_i[t] = m_i[t] + (1 - 1/tau_syn) M_i[t+1] this is e_ij = 1/tau_syn sum over the
spikes t_j of M_i[t_j + 1]: a spike costs a row, silence costs nothing, there and back.

Source: Zhang and Li, NeurIPS 2019; the form with M is ours.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from snn_temporal_plugins.kernels.threads import split

TOLERANCE = 1e-6  # a neuron fires from v_th - 1e-6 on, as in the released code

# No fused multiply-add: a membrane that rounds differently may miss its threshold.
jit: Callable[..., Any] = numba.njit(cache=True, nogil=True, error_model="numpy")
jit_loose: Callable[..., Any] = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"}
)


def raise_not_binary() -> None:
    """Raise the error of spikes that are neither 0 nor 1."""
    raise ValueError(
        "spikes holds other values than 0 and 1; ST-RSBP takes spike trains. Encode "
        "images with rate_encode, events as 0 and 1, and pool by SpikeTrainPool2d."
    )


def require_binary(spikes: Tensor) -> None:
    """Raise unless every value is 0 or 1.

    Args:
        spikes: Spikes of any shape.

    Raises:
        ValueError: one is another, or NaN.
    """
    if bool((spikes * (spikes - 1)).any()):  # NaN and inf give NaN, which is not 0
        raise_not_binary()


def require_finite(state: Tensor) -> None:
    """Raise unless the state of the neurons holds numbers.

    Args:
        state: State at the end of a window.

    Raises:
        ValueError: one is NaN or infinite.
    """
    if not bool(state.isfinite().all()):  # once NaN or inf, q stays so to the end
        raise ValueError(
            "weight or state holds NaN or inf, or the synaptic current overflows. If "
            "training has diverged, lower the learning rate."
        )


# --- reference bodies: plain torch, any device, any float dtype -------------------


def _window_reference(
    x, last, weight, recurrent, state, v_th, tau_mem, tau_syn, refractory
):
    keep_mem, keep_syn = 1 - 1 / tau_mem, 1 - 1 / tau_syn
    if len(weight):
        require_binary(x)
        require_binary(last)
    v, q, wait, own = state.contiguous().unbind()
    spikes, drive = [], torch.zeros_like(v)
    for step in delayed(x, last):
        q = keep_syn * q + (step @ weight.t() if len(weight) else step)
        if len(recurrent):
            q = q + own @ recurrent.t()
        v = torch.where(wait > 0, 0, keep_mem * v + q / tau_syn)
        wait = (wait - 1).clamp(min=0)
        own = (v > v_th - TOLERANCE).to(v.dtype)
        drive = drive + v * own
        wait = torch.where(own > 0, refractory, wait)
        v = v * (1 - own)
        spikes.append(own)
    end = torch.stack([v, q, wait, own])
    require_finite(end)
    return torch.stack(spikes), drive, end


def delayed(x: Tensor, last: Tensor) -> Tensor:
    """What arrives in every step: x one step later.

    Args:
        x: (time, ...).
        last: The step before the first, (...).

    Returns:
        The shape of `x`.
    """
    return torch.cat([last[None], x])[:-1]


def survival(spikes: Tensor, tau_mem: float, refractory: int) -> Tensor:
    """How much of a step's potential the next spike sees: m of the module docstring.

    Args:
        spikes: (time, ...), 0 or 1.
        tau_mem: Membrane time constant, in steps.
        refractory: Steps after a spike in which the membrane is 0.

    Returns:
        m, the shape of `spikes`.
    """
    wait = torch.zeros_like(spikes[0])
    active = torch.empty_like(spikes)
    for t, step in enumerate(spikes):
        active[t] = wait == 0
        wait = torch.where(step > 0, refractory, (wait - 1).clamp(min=0))
    m = torch.zeros_like(spikes)
    later = torch.zeros_like(wait)
    for t in reversed(range(len(spikes))):
        later = active[t] * (spikes[t] + (1 - spikes[t]) * (1 - 1 / tau_mem) * later)
        m[t] = later
    return m


def trace(spikes: Tensor, tau_syn: float) -> Tensor:
    """What the spikes of the steps before have left: p of the module docstring.

    Args:
        spikes: (time, ...), 0 or 1.
        tau_syn: Synaptic time constant, in steps.

    Returns:
        p, the shape of `spikes`.
    """
    p, all_p = torch.zeros_like(spikes[0]), []
    for step in delayed(spikes, p):
        p = (1 - 1 / tau_syn) * p + step
        all_p.append(p)
    return torch.stack(all_p)


def _effect_reference(x, spikes, tau_mem, tau_syn, refractory):
    p, m = trace(x, tau_syn), survival(spikes, tau_mem, refractory)
    # in memory as the compiled body has it: (batch, in, out)
    effect = torch.einsum("tbi,tbj->bji", m, p).contiguous() / tau_syn
    return effect.transpose(1, 2)


def _gradient_reference(x, spikes, weight, error, passed, tau_mem, tau_syn, refractory):
    effect = _effect_reference(x, spikes, tau_mem, tau_syn, refractory)
    ratio = effect_ratio(effect, x.sum(0), spikes.sum(0))
    grad_in = torch.einsum("bi,ij,bij->bj", passed, weight, ratio)
    grad = torch.einsum("bi,bij->ij", error, effect)
    return grad_in.contiguous(), grad.contiguous()


def _weighted_reference(x, spikes, weight, error, sample, tau_mem, tau_syn, refractory):
    x, spikes, error = x[:, sample], spikes[:, sample], error[sample]
    effect = _effect_reference(x, spikes, tau_mem, tau_syn, refractory)
    ratio = effect_ratio(effect, x.sum(0), spikes.sum(0))
    weighted, grad = weight * ratio, torch.einsum("bi,bij->ij", error, effect)
    return weighted.mT.contiguous().mT, grad.t().contiguous().t()  # as the kernel has


def effect_ratio(effect: Tensor, count_in: Tensor, count: Tensor) -> Tensor:
    """The ratio rho_ij = e_ij / o_j, 0.5 where i or j is silent.

    Args:
        effect: e, (..., out, in).
        count_in: o_j, (..., in).
        count: o_i, (..., out).

    Returns:
        rho, (..., out, in).
    """
    ratio = effect / count_in.clamp(min=1).unsqueeze(-2)
    silent = (count_in == 0).unsqueeze(-2) | (count == 0).unsqueeze(-1)
    return ratio.masked_fill_(silent, 0.5)


# --- Numba bodies ------------------------------------------------------------------


@jit
def _add_in_order(rows, index, n, total):
    """Add rows[index[0]], rows[index[1]], ... to total, n of them, in this order."""
    k = 0
    while k + 4 <= n:  # four at a time: total is read and written less often
        a, b = rows[index[k]], rows[index[k + 1]]
        c, d = rows[index[k + 2]], rows[index[k + 3]]
        for i in range(len(total)):
            total[i] = total[i] + a[i] + b[i] + c[i] + d[i]
        k += 4
    while k < n:
        a = rows[index[k]]
        for i in range(len(total)):
            total[i] += a[i]
        k += 1


@jit
def fire(v, q, wait, s, total, keep_mem, tau_syn, threshold, refractory):
    """Let neurons with the current q go one step on; fill s, add v at spikes to total.

    Args:
        v: Membranes, changed.
        q: Synaptic currents of this step.
        wait: Steps that they are still refractory, changed.
        s: Spikes, filled with 0 and 1.
        total: What v at the spikes is added to.
        keep_mem: 1 - 1/tau_mem; all numbers are of the arrays' type.
        tau_syn: Synaptic time constant.
        threshold: What v must be above.
        refractory: Steps after a spike in which the membrane is 0.
    """
    zero, one = q.dtype.type(0), q.dtype.type(1)
    # few arrays a loop: LLVM vectorises only what it can prove apart
    for i in range(len(v)):
        u = keep_mem * v[i] + q[i] / tau_syn
        v[i] = zero if wait[i] > zero else u
    for i in range(len(v)):
        s[i] = one if v[i] > threshold else zero
    for i in range(len(v)):
        left = wait[i] - one if wait[i] > zero else zero
        wait[i] = refractory if s[i] > zero else left
    for i in range(len(v)):
        total[i] += v[i] * s[i]
    for i in range(len(v)):
        v[i] *= one - s[i]


@jit
def _window(
    x, last, rows, own_rows, v_th, tau_mem, tau_syn, refractory, state, spikes, drive,
    start, stop,
):  # fmt: skip
    """Run the samples start..stop; rows (in, out), or none and x is a current.

    False if an input spike is neither 0 nor 1.
    """
    steps, neurons = x.shape[0], spikes.shape[2]
    real = spikes.dtype.type
    zero, one = real(0), real(1)
    keep_mem, keep_syn = one - one / tau_mem, one - one / tau_syn
    threshold = v_th - real(TOLERANCE)
    binary = True
    dense, recurrent = rows.shape[0] > 0, own_rows.shape[0] > 0
    inputs = x.shape[2]
    event, fired = np.empty(inputs + 1, np.int64), np.empty(neurons + 1, np.int64)
    for b in range(start, stop):
        v, q, wait, own = state[0, b], state[1, b], state[2, b], state[3, b]
        total = drive[b]
        total[:] = zero
        for t in range(steps):
            arriving = x[t - 1, b] if t else last[b]
            s = spikes[t, b]
            for i in range(neurons):
                q[i] *= keep_syn
            if dense:
                m = 0
                for j in range(inputs):  # no branch: hard to predict
                    event[m] = j
                    m += arriving[j] != zero
                for k in range(m):
                    binary &= arriving[event[k]] == one
                _add_in_order(rows, event, m, q)
            else:
                for i in range(neurons):
                    q[i] += arriving[i]
            if recurrent:
                n = 0
                for i in range(neurons):
                    fired[n] = i
                    n += own[i] != zero
                _add_in_order(own_rows, fired, n, q)
            fire(v, q, wait, s, total, keep_mem, tau_syn, threshold, refractory)
            own = s
        state[3, b] = own
        if dense:  # the last step arrives in the next window
            arriving = x[steps - 1, b]
            for j in range(inputs):
                binary &= (arriving[j] == zero) | (arriving[j] == one)
    return binary


@jit_loose
def _kernel_rows(spikes, b, tau_mem, tau_syn, refractory, kernel, total):
    """Fill kernel[t, i] = M_i[t], a row of zeros behind the end, and total spikes."""
    steps, neurons = spikes.shape[0], spikes.shape[2]
    one = spikes.dtype.type(1)
    keep_mem, keep_syn = one - one / tau_mem, one - one / tau_syn
    m = np.zeros(neurons, spikes.dtype)
    total[:] = m
    kernel[steps] = m
    for t in range(steps - 1, -1, -1):
        s, row, later = spikes[t, b], kernel[t], kernel[t + 1]
        for i in range(neurons):
            m[i] = s[i] + (one - s[i]) * keep_mem * m[i]
        for i in range(neurons):
            total[i] += s[i]
        for k in range(1, min(refractory, t) + 1):
            s = spikes[t - k, b]
            for i in range(neurons):
                m[i] *= one - s[i]
        for i in range(neurons):
            row[i] = m[i] + keep_syn * later[i]


@jit
def _arrivals(spikes, b, time, count):
    """Fill time[j, :count[j]] with the steps in which spikes of j arrive."""
    steps, inputs = spikes.shape[0], spikes.shape[2]
    zero = spikes.dtype.type(0)
    event = np.empty(inputs + 1, np.int64)
    count[:] = 0
    for t in range(steps):
        x = spikes[t, b]
        n = 0
        for j in range(inputs):  # no branch: which inputs spike is hard to predict
            event[n] = j
            n += x[j] > zero
        for k in range(n):
            j = event[k]
            time[j, count[j]] = t + 1
            count[j] += 1


@jit_loose
def _sum_rows(kernel, time, row):
    """row[i] = sum of kernel[t, i] over the times."""
    row[:] = 0
    n, k = len(time), 0
    while k + 4 <= n:
        a, b = kernel[time[k]], kernel[time[k + 1]]
        c, d = kernel[time[k + 2]], kernel[time[k + 3]]
        for i in range(len(row)):
            row[i] += (a[i] + b[i]) + (c[i] + d[i])
        k += 4
    while k < n:
        a = kernel[time[k]]
        for i in range(len(row)):
            row[i] += a[i]
        k += 1


@jit_loose
def _effect(x, spikes, tau_mem, tau_syn, refractory, effect, start, stop):
    """Fill effect[b, j, i] = e_ij for the samples start..stop."""
    steps, _, inputs = x.shape
    neurons, real = spikes.shape[2], spikes.dtype
    kernel, total = np.empty((steps + 1, neurons), real), np.empty(neurons, real)
    time, count = np.empty((inputs, steps), np.int32), np.empty(inputs, np.int64)
    gain = real.type(1) / tau_syn
    for b in range(start, stop):
        _kernel_rows(spikes, b, tau_mem, tau_syn, refractory, kernel, total)
        _arrivals(x, b, time, count)
        for j in range(inputs):
            row = effect[b, j]
            _sum_rows(kernel, time[j, : count[j]], row)
            for i in range(neurons):
                row[i] *= gain


@jit_loose
def _gradient(
    x, spikes, rows, error, passed, tau_mem, tau_syn, refractory, need_in,
    grad_in, start, stop,
):  # fmt: skip
    """Fill grad_in for the samples start..stop; return their gradient of rows."""
    steps, _, inputs = x.shape
    neurons, real = spikes.shape[2], spikes.dtype
    zero, half = real.type(0), real.type(0.5)
    kernel, total = np.empty((steps + 1, neurons), real), np.empty(neurons, real)
    time, count = np.empty((inputs, steps), np.int32), np.empty(inputs, np.int64)
    row, silent = np.empty(neurons, real), np.empty(neurons, real)
    grad = np.zeros((inputs, neurons), real)
    for b in range(start, stop):
        d, back = error[b], passed[b]
        active = False
        for i in range(neurons):
            active |= (d[i] != zero) | (back[i] != zero)
        if not active:  # nothing to learn from this sample
            if need_in:
                grad_in[b] = zero
            continue
        _kernel_rows(spikes, b, tau_mem, tau_syn, refractory, kernel, total)
        _arrivals(x, b, time, count)
        for i in range(neurons):
            silent[i] = half * back[i] if total[i] == zero else zero
        for j in range(inputs):
            gain = real.type(1) / tau_syn
            w, g, through = rows[j], grad[j], zero
            if count[j] > 0:
                _sum_rows(kernel, time[j, : count[j]], row)  # 0 for a silent neuron
                for i in range(neurons):
                    g[i] += d[i] * (gain * row[i])
                if need_in:
                    gain /= real.type(count[j])
                    for i in range(neurons):
                        through += w[i] * (back[i] * (gain * row[i]) + silent[i])
            elif need_in:
                for i in range(neurons):
                    through += w[i] * (half * back[i])
            if need_in:
                grad_in[b, j] = through
    return grad


@jit_loose
def _weighted(
    x, spikes, rows, error, sample, tau_mem, tau_syn, refractory,
    weighted, start, stop,
):  # fmt: skip
    """Fill weighted[k, j, i] = W_ij rho_ij; return the gradient of rows."""
    steps, _, inputs = x.shape
    neurons, real = spikes.shape[2], spikes.dtype
    zero, half = real.type(0), real.type(0.5)
    kernel, total = np.empty((steps + 1, neurons), real), np.empty(neurons, real)
    time, count = np.empty((inputs, steps), np.int32), np.empty(inputs, np.int64)
    row, silent = np.empty(neurons, real), np.empty(neurons, real)
    grad = np.zeros((inputs, neurons), real)
    for k in range(start, stop):
        b = sample[k]
        d = error[b]
        _kernel_rows(spikes, b, tau_mem, tau_syn, refractory, kernel, total)
        _arrivals(x, b, time, count)
        for i in range(neurons):
            silent[i] = half if total[i] == zero else zero
        for j in range(inputs):
            gain = real.type(1) / tau_syn
            w, g, out = rows[j], grad[j], weighted[k, j]
            if count[j] > 0:
                _sum_rows(kernel, time[j, : count[j]], row)
                for i in range(neurons):
                    g[i] += d[i] * (gain * row[i])
                gain /= real.type(count[j])
                for i in range(neurons):
                    out[i] = w[i] * (gain * row[i] + silent[i])
            else:
                for i in range(neurons):
                    out[i] = w[i] * half
    return grad


# --- the ops -----------------------------------------------------------------------


@torch.library.custom_op("snn_temporal_plugins::spike_train_window", mutates_args=())
def spike_train_window(
    x: Tensor,
    last: Tensor,
    weight: Tensor,
    recurrent_weight: Tensor,
    state: Tensor,
    v_th: float,
    tau_mem: float,
    tau_syn: float,
    refractory: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes of leaky integrate-and-fire neurons with delayed synapses over a window.

    Args:
        x: Input spikes, (time, batch, in), 0 or 1; weighted sums (time, batch, out) if
            `weight` is empty.
        last: The step of `x` before the first, (batch, ...).
        weight: W, (out, in), or empty.
        recurrent_weight: R, (out, out), column p from neuron p; or empty.
        state: v, q, steps that it is still refractory, and its spikes of the step
            before, each (batch, out), stacked.
        v_th: Threshold > 0.
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        refractory: Steps after a spike in which the membrane is 0.

    Returns:
        spikes: (time, batch, out), 0 or 1.
        drive: sum of v at the spikes, (batch, out).
        state: that of the end.

    Raises:
        ValueError: x or last holds other values than 0 and 1, or the weights or the
            state NaN or inf.
    """
    return _window_reference(
        x, last, weight, recurrent_weight, state, v_th, tau_mem, tau_syn, refractory
    )


@spike_train_window.register_kernel("cpu")
def _(x, last, weight, recurrent_weight, state, v_th, tau_mem, tau_syn, refractory):
    if x.dtype not in (torch.float32, torch.float64):
        return _window_reference(
            x, last, weight, recurrent_weight, state, v_th, tau_mem, tau_syn, refractory
        )
    (steps, batch, inputs), neurons = x.shape, state.shape[2]
    drive = x.new_empty(batch, neurons)
    # of NumPy, which asks for huge pages: faults of small ones cost a tenth of a step
    spikes = torch.from_numpy(np.empty((steps, batch, neurons), drive.numpy().dtype))
    end = state.clone(memory_format=torch.contiguous_format)
    # a spike reads one row of (in, out)
    tables = tuple(
        w.t().contiguous().numpy() if w.dim() == 2 else x.new_empty(0, 0).numpy()
        for w in (weight, recurrent_weight)
    )
    arrays = (x.contiguous().numpy(), last.contiguous().numpy(), *tables)
    real = arrays[0].dtype.type
    numbers = tuple(map(real, (v_th, tau_mem, tau_syn, refractory)))
    results = end.numpy(), spikes.numpy(), drive.numpy()
    good = split(
        lambda a, b: _window(*arrays, *numbers, *results, a, b),
        batch,
        steps * batch * neurons * (8 + inputs // 16),
    )
    if not all(good):
        raise_not_binary()
    require_finite(end)
    return spikes, drive, end


@spike_train_window.register_fake
def _(x, last, weight, recurrent_weight, state, *_):
    spikes = x.new_empty(*x.shape[:2], state.shape[2])
    return spikes, state.new_empty(state.shape[1:]), state.new_empty(state.shape)


@torch.library.custom_op("snn_temporal_plugins::synaptic_effect", mutates_args=())
def synaptic_effect(
    x: Tensor, spikes: Tensor, tau_mem: float, tau_syn: float, refractory: int
) -> Tensor:
    """e_ij: what input j of unit weight adds to the potentials at which i fires.

    Args:
        x: Input spikes, (time, batch, in), 0 or 1.
        spikes: Output spikes, (time, batch, out), 0 or 1.
        tau_mem: Membrane time constant, in steps.
        tau_syn: Synaptic time constant, in steps.
        refractory: Steps after a spike in which the membrane is 0.

    Returns:
        e, (batch, out, in).
    """
    return _effect_reference(x, spikes, tau_mem, tau_syn, refractory)


@synaptic_effect.register_kernel("cpu")
def _(x, spikes, tau_mem, tau_syn, refractory):
    if x.dtype not in (torch.float32, torch.float64):
        return _effect_reference(x, spikes, tau_mem, tau_syn, refractory)
    (_, batch, inputs), neurons = x.shape, spikes.shape[2]
    effect = x.new_empty(batch, inputs, neurons)
    arrays = x.contiguous().numpy(), spikes.contiguous().numpy()
    real, out = arrays[0].dtype.type, effect.numpy()
    numbers = (real(tau_mem), real(tau_syn), refractory)
    split(
        lambda a, b: _effect(*arrays, *numbers, out, a, b), batch, spikes.numel() * 16
    )
    return effect.transpose(1, 2)


@synaptic_effect.register_fake
def _(x, spikes, *_):
    return x.new_empty(x.shape[1], x.shape[2], spikes.shape[2]).transpose(1, 2)


@torch.library.custom_op("snn_temporal_plugins::effect_gradient", mutates_args=())
def effect_gradient(
    x: Tensor,
    spikes: Tensor,
    weight: Tensor,
    error: Tensor,
    passed: Tensor,
    tau_mem: float,
    tau_syn: float,
    refractory: int,
    need_in: bool,
) -> tuple[Tensor, Tensor]:
    """The sums over all synapses of a layer; e is never held for a batch.

        grad_in_bj = sum_i passed_bi W_ij rho_bij      rho = e_ij / o_j, 0.5 if silent
        grad_weight_ij = sum_b error_bi e_bij

    Args:
        x: Input spikes, (time, batch, in), 0 or 1.
        spikes: Output spikes, (time, batch, out), 0 or 1.
        weight: W, (out, in).
        error: Error for the weights, (batch, out).
        passed: Error for the layer before, (batch, out). A sample in which both are 0
            throughout costs nothing.
        tau_mem: Membrane time constant, in steps.
        tau_syn: Synaptic time constant, in steps.
        refractory: Steps after a spike in which the membrane is 0.
        need_in: Whether grad_in is wanted; otherwise it is empty.

    Returns:
        grad_in (batch, in) and grad_weight (out, in).
    """
    constants = tau_mem, tau_syn, refractory
    grad_in, grad = _gradient_reference(x, spikes, weight, error, passed, *constants)
    return grad_in if need_in else x.new_empty(0), grad


@effect_gradient.register_kernel("cpu")
def _(x, spikes, weight, error, passed, tau_mem, tau_syn, refractory, need_in):
    if x.dtype not in (torch.float32, torch.float64):
        constants = tau_mem, tau_syn, refractory
        grad_in, grad = _gradient_reference(
            x, spikes, weight, error, passed, *constants
        )
        return grad_in if need_in else x.new_empty(0), grad
    _, batch, inputs = x.shape
    grad_in = x.new_empty((batch, inputs) if need_in else (0, 0))
    arrays = tuple(
        a.contiguous().numpy() for a in (x, spikes, weight.t(), error, passed)
    )
    real, out = arrays[0].dtype.type, grad_in.numpy()
    numbers = (real(tau_mem), real(tau_syn), refractory)
    parts: list[Any] = split(
        lambda a, b: _gradient(*arrays, *numbers, need_in, out, a, b),
        batch,
        spikes.numel() * 16,
    )
    grad = torch.from_numpy(sum(parts[1:], parts[0])).t().contiguous()
    return grad_in if need_in else x.new_empty(0), grad


@effect_gradient.register_fake
def _(x, spikes, weight, error, passed, tau_mem, tau_syn, refractory, need_in):
    grad = torch.empty_like(weight, memory_format=torch.contiguous_format)
    return x.new_empty((x.shape[1], x.shape[2]) if need_in else 0), grad


@torch.library.custom_op("snn_temporal_plugins::weighted_ratio", mutates_args=())
def weighted_ratio(
    x: Tensor,
    spikes: Tensor,
    weight: Tensor,
    error: Tensor,
    sample: Tensor,
    tau_mem: float,
    tau_syn: float,
    refractory: int,
) -> tuple[Tensor, Tensor]:
    """W rho of some samples, for systems of equations, and the gradient of W.

        weighted_kij = W_ij rho_bij, b = sample_k      rho as in `effect_gradient`
        grad_weight_ij = sum_k error_bi e_bij

    Args:
        x: Input spikes, (time, batch, in), 0 or 1.
        spikes: Output spikes, (time, batch, out), 0 or 1.
        weight: W, (out, in).
        error: Error for the weights, (batch, out).
        sample: Indices of the samples, (samples,), int64.
        tau_mem: Membrane time constant, in steps.
        tau_syn: Synaptic time constant, in steps.
        refractory: Steps after a spike in which the membrane is 0.

    Returns:
        weighted (samples, out, in) and grad_weight (out, in).
    """
    return _weighted_reference(
        x, spikes, weight, error, sample, tau_mem, tau_syn, refractory
    )


@weighted_ratio.register_kernel("cpu")
def _(x, spikes, weight, error, sample, tau_mem, tau_syn, refractory):
    if x.dtype not in (torch.float32, torch.float64):
        return _weighted_reference(
            x, spikes, weight, error, sample, tau_mem, tau_syn, refractory
        )
    inputs, neurons = x.shape[2], spikes.shape[2]
    weighted = x.new_empty(len(sample), inputs, neurons)
    arrays = tuple(
        a.contiguous().numpy() for a in (x, spikes, weight.t(), error, sample)
    )
    real, out = arrays[0].dtype.type, weighted.numpy()
    numbers = (real(tau_mem), real(tau_syn), refractory)
    parts: list[Any] = split(
        lambda a, b: _weighted(*arrays, *numbers, out, a, b),
        len(sample),
        len(x) * weighted.numel() // 8,
    )
    grad = torch.from_numpy(sum(parts[1:], parts[0])).t()
    return weighted.transpose(1, 2), grad


@weighted_ratio.register_fake
def _(x, spikes, weight, error, sample, *_):
    weighted = x.new_empty(len(sample), x.shape[2], spikes.shape[2])
    return weighted.transpose(1, 2), x.new_empty(weighted.shape[1:]).t()
