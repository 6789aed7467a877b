"""Leaky integrate-and-fire neurons with delayed synapses, and the sums of ST-RSBP.

Forward, per sample and neuron i, t = 0..T-1 (v membrane, q synaptic current, both 0
before, as are the spikes s before the first step):

    q    = (1 - 1/tau_syn) q + sum_j W_ij s_j[t-1] + sum_p R_ip s_p[t-1]
    v    = (1 - 1/tau_mem) v + q / tau_syn           0 for `refractory` steps after a spike
    s[t] = v > v_th - 1e-6, then v = 0

Effect (S-PSP) of an input j of unit weight on the membrane of i at the spikes of i:

    e_ij = 1/tau_syn sum_t m_i[t] p_j[t]
    p_j[t] = (1 - 1/tau_syn) p_j[t-1] + s_j[t-1]
    m_i[t] = 0 while i is refractory, else s_i[t] + (1 - s_i[t]) (1 - 1/tau_mem) m_i[t+1]

With M_i[t] = m_i[t] + (1 - 1/tau_syn) M_i[t+1] this is e_ij = 1/tau_syn sum over the
spikes t_j of M_i[t_j + 1]: a spike costs one row, silence costs nothing, there and back.

Source: Zhang and Li, NeurIPS 2019; the form with M is ours.
"""

import numba
import numpy as np
import torch
from torch import Tensor

from snn_temporal_plugins.kernels.threads import split

TOLERANCE = 1e-6  # a neuron fires from v_th - 1e-6 on, as in the released code

# No fused multiply-add: a membrane that rounds differently may miss its threshold.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy")
_jit_contract = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"contract"}
)


def _raise_not_binary() -> None:
    raise ValueError(
        "spikes holds other values than 0 and 1; ST-RSBP takes spike trains. Encode "
        "images with rate_encode, and events as 0 and 1."
    )


# --- reference bodies: plain torch, any device, any float dtype -------------------


def _window_reference(
    x, last, weight, recurrent, state, v_th, tau_mem, tau_syn, refractory
):
    keep_mem, keep_syn = 1 - 1 / tau_mem, 1 - 1 / tau_syn
    if len(weight) and bool((x * (x - 1)).any() | x.isnan().any()):
        _raise_not_binary()
    v, q, wait, own = state.unbind()
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
    return torch.stack(spikes), drive, torch.stack([v, q, wait, own])


def delayed(x: Tensor, last: Tensor) -> Tensor:
    """x one step later: what arrives in every step.

    Args:
        x: (time, ...).
        last: The step before the first, (...).

    Returns:
        The shape of `x`.
    """
    return torch.cat([last[None], x])[:-1]


def survival(spikes: Tensor, tau_mem: float, refractory: int) -> Tensor:
    """m of the module docstring: how much of a step's potential the next spike sees.

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
    """p of the module docstring: what the spikes of the steps before have left.

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
    return torch.einsum("tbi,tbj->bij", m, p) / tau_syn


def _gradient_reference(
    x, spikes, weight, error, passed, tau_mem, tau_syn, refractory
):
    effect = _effect_reference(x, spikes, tau_mem, tau_syn, refractory)
    ratio = effect_ratio(effect, x.sum(0), spikes.sum(0))
    grad_in = torch.einsum("bi,ij,bij->bj", passed, weight, ratio)
    return grad_in, torch.einsum("bi,bij->ij", error, effect)


def effect_ratio(effect: Tensor, count_in: Tensor, count: Tensor) -> Tensor:
    """rho_ij = e_ij / o_j, 0.5 where i or j is silent.

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


@_jit
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
    threshold = v_th - real(1e-6)
    binary = True
    dense, recurrent = rows.shape[0] > 0, own_rows.shape[0] > 0
    inputs = x.shape[2]
    event, fired = np.empty(inputs + 1, np.int64), np.empty(neurons + 1, np.int64)
    for b in range(start, stop):
        v, q, wait, own = state[0, b], state[1, b], state[2, b], state[3, b]
        total = drive[b]
        total[:] = zero
        n = 0
        for j in range(neurons):
            fired[n] = j
            n += own[j] > zero
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
                    row = rows[event[k]]
                    for i in range(neurons):
                        q[i] += row[i]
            else:
                for i in range(neurons):
                    q[i] += arriving[i]
            if recurrent:
                for k in range(n):
                    row = own_rows[fired[k]]
                    for i in range(neurons):
                        q[i] += row[i]
            # few arrays a loop: LLVM vectorises only what it can prove apart
            for i in range(neurons):
                u = keep_mem * v[i] + q[i] / tau_syn
                v[i] = zero if wait[i] > zero else u
            for i in range(neurons):
                s[i] = one if v[i] > threshold else zero
            for i in range(neurons):
                left = wait[i] - one if wait[i] > zero else zero
                wait[i] = refractory if s[i] > zero else left
            n = 0
            for i in range(neurons):
                fired[n] = i
                n += s[i] > zero
            for k in range(n):
                total[fired[k]] += v[fired[k]]
                v[fired[k]] = zero
        own[:] = spikes[steps - 1, b]
    return binary


@_jit_contract
def _kernel_rows(spikes, b, keep_mem, keep_syn, refractory, kernel):
    """Fill kernel[t, i] = M_i[t], with a row of zeros behind the end."""
    steps, neurons = spikes.shape[0], spikes.shape[2]
    real = spikes.dtype.type
    zero, one = real(0), real(1)
    wait = np.zeros(neurons, spikes.dtype)
    for t in range(steps):  # first whether the neuron is not refractory
        s, row = spikes[t, b], kernel[t]
        for i in range(neurons):
            row[i] = zero if wait[i] > zero else one
        for i in range(neurons):
            left = wait[i] - one if wait[i] > zero else zero
            wait[i] = refractory if s[i] > zero else left
    m = wait
    m[:] = zero
    kernel[steps] = zero
    for t in range(steps - 1, -1, -1):
        s, row, later = spikes[t, b], kernel[t], kernel[t + 1]
        for i in range(neurons):
            x = one if s[i] > zero else keep_mem * m[i]
            m[i] = x * row[i]
        for i in range(neurons):
            row[i] = m[i] + keep_syn * later[i]


@_jit
def _arrivals(spikes, b, head, event, time):
    """Sort the spikes of a sample by neuron: they arrive at time[head[j]:head[j+1]]."""
    steps, inputs = spikes.shape[0], spikes.shape[2]
    zero = spikes.dtype.type(0)
    head[:] = 0
    n = 0
    for t in range(steps):
        if n + inputs > len(event):  # room for a step in which all spike
            event, old = np.empty(2 * (n + inputs), np.int64), event
            event[:n] = old[:n]
        x = spikes[t, b]
        for j in range(inputs):  # no branch: which inputs spike is hard to predict
            event[n] = t * inputs + j
            n += x[j] > zero
    if n > len(time):
        time = np.empty(2 * n, np.int32)
    for k in range(n):
        head[event[k] % inputs + 1] += 1
    for j in range(inputs):
        head[j + 1] += head[j]
    for k in range(n):
        j = event[k] % inputs
        time[head[j]] = event[k] // inputs + 1
        head[j] += 1
    for j in range(inputs, 0, -1):
        head[j] = head[j - 1]
    head[0] = 0
    return event, time


@_jit_contract
def _add_rows(kernel, time, first, last, row):
    """row[i] = sum of kernel[t, i] over the times."""
    neurons = row.shape[0]
    row[:] = 0
    k = first
    while k + 2 <= last:
        a, b = kernel[time[k]], kernel[time[k + 1]]
        for i in range(neurons):
            row[i] += a[i] + b[i]
        k += 2
    if k < last:
        a = kernel[time[k]]
        for i in range(neurons):
            row[i] += a[i]


@_jit_contract
def _effect(x, spikes, tau_mem, tau_syn, refractory, effect, start, stop):
    """Fill effect[b, j, i] = e_ij for the samples start..stop."""
    steps, _, inputs = x.shape
    one = spikes.dtype.type(1)
    kernel = np.empty((steps + 1, spikes.shape[2]), spikes.dtype)
    head = np.empty(inputs + 1, np.int64)
    event, time = np.empty(1, np.int64), np.empty(1, np.int32)
    gain = one / tau_syn
    for b in range(start, stop):
        _kernel_rows(
            spikes, b, one - one / tau_mem, one - one / tau_syn, refractory, kernel
        )
        event, time = _arrivals(x, b, head, event, time)
        for j in range(inputs):
            row = effect[b, j]
            _add_rows(kernel, time, head[j], head[j + 1], row)
            for i in range(row.shape[0]):
                row[i] *= gain


@_jit_contract
def _gradient(
    x, spikes, rows, error, passed, tau_mem, tau_syn, refractory, need_in,
    grad_in, start, stop,
):  # fmt: skip
    """Fill grad_in for the samples start..stop; return their gradient of rows."""
    steps, _, inputs = x.shape
    neurons = spikes.shape[2]
    real = spikes.dtype.type
    zero, one, half = real(0), real(1), real(0.5)
    kernel = np.empty((steps + 1, neurons), spikes.dtype)
    head = np.empty(inputs + 1, np.int64)
    event, time = np.empty(1, np.int64), np.empty(1, np.int32)
    grad = np.zeros((inputs, neurons), spikes.dtype)
    row = np.empty(neurons, spikes.dtype)
    fired, silent = np.empty(neurons, spikes.dtype), np.empty(neurons, spikes.dtype)
    for b in range(start, stop):
        active = False
        for i in range(neurons):
            active |= (error[b, i] != zero) | (passed[b, i] != zero)
        if not active:  # nothing to learn from this sample
            if need_in:
                grad_in[b] = zero
            continue
        _kernel_rows(
            spikes, b, one - one / tau_mem, one - one / tau_syn, refractory, kernel
        )
        event, time = _arrivals(x, b, head, event, time)
        fired[:] = zero
        for t in range(steps):
            s = spikes[t, b]
            for i in range(neurons):
                fired[i] += s[i]
        for i in range(neurons):
            quiet = fired[i] == zero
            fired[i] = zero if quiet else passed[b, i]
            silent[i] = half * passed[b, i] if quiet else zero
        d = error[b]
        for j in range(inputs):
            count = head[j + 1] - head[j]
            w, g = rows[j], grad[j]
            back = zero
            if count > 0:
                _add_rows(kernel, time, head[j], head[j + 1], row)
                gain = one / tau_syn
                for i in range(neurons):
                    g[i] += d[i] * gain * row[i]
                if need_in:
                    gain = gain / real(count)
                    for i in range(neurons):
                        back += w[i] * (fired[i] * (gain * row[i]) + silent[i])
            elif need_in:
                for i in range(neurons):
                    back += w[i] * (half * passed[b, i])
            if need_in:
                grad_in[b, j] = back
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
    spikes, drive = x.new_empty(steps, batch, neurons), x.new_empty(batch, neurons)
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
        _raise_not_binary()
    return spikes, drive, end


@spike_train_window.register_fake
def _(x, last, weight, recurrent_weight, state, *_):
    spikes = x.new_empty(*x.shape[:2], state.shape[2])
    return spikes, torch.empty_like(state[0]), torch.empty_like(state)


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
    numbers = tuple(map(real, (tau_mem, tau_syn, refractory)))
    split(lambda a, b: _effect(*arrays, *numbers, out, a, b), batch, spikes.numel() * 16)
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
    numbers = tuple(map(real, (tau_mem, tau_syn, refractory)))
    parts = split(
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
