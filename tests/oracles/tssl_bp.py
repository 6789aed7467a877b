"""TSSL-BP, literally: one neuron, and one pair of time steps, at a time.

Where the kernel runs one recursion back in time, this file writes the sums out: the
error A as a sum over all later steps, and the intra-neuron dependency as a walk from
spike to spike. Arrays are float64 and time first, (time, ...).
"""

from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    u: np.ndarray  # membrane before reset
    d: np.ndarray  # its increment in this step
    s: np.ndarray  # spikes
    a: np.ndarray  # PSP, the output
    v: np.ndarray  # membrane after the last reset, without time


def forward(current, *, tau_mem, tau_syn, v_th, reset="hard", v=0.0, psp=0.0):
    """A window of LIF neurons from membrane v and PSP psp on."""
    u, d, s, a = (np.zeros_like(current) for _ in range(4))
    end = np.zeros(current.shape[1:])
    for n in np.ndindex(current.shape[1:]):
        membrane = np.broadcast_to(v, end.shape)[n]
        trace = np.broadcast_to(psp, end.shape)[n]
        for t in range(len(current)):
            d[t][n] = current[t][n] - membrane / tau_mem
            u[t][n] = membrane + d[t][n]
            s[t][n] = u[t][n] > v_th  # strict: equality does not fire
            left = 0.0 if reset == "hard" else u[t][n] - v_th
            membrane = left if s[t][n] else u[t][n]
            trace = trace + (s[t][n] - trace) / tau_syn
            a[t][n] = trace
        end[n] = membrane
    return Window(u, d, s, a, end)


def backward(
    window,
    grad_psp,
    grad_spikes=None,
    *,
    tau_mem,
    tau_syn,
    v_th,
    reset="hard",
    decision="element",
    rate_threshold=0.05,
    clip=8.0,
    alpha=0.2,
):
    """Gradient of the current for the errors dL/da and dL/ds."""
    u, d, s, a, _ = window
    steps = len(u)
    level = 1 / (4 * tau_syn)
    rate = s.mean() if s.size else 0.0
    grad = np.zeros_like(u)
    for n in np.ndindex(u.shape[1:]):
        error = np.zeros(steps)
        for t in range(steps):
            for k in range(t, steps):  # A, a sum over all later steps
                eps = (1 / tau_syn) * (1 - 1 / tau_syn) ** (k - t)
                error[t] += eps * grad_psp[k][n]
            if grad_spikes is not None:
                error[t] += grad_spikes[t][n]
        timing = _timing(u, d, s, n, error, tau_mem, v_th, reset, clip)
        for t in range(steps):
            z = np.clip((u[t][n] - v_th) / alpha, -8, 8)
            sigmoid = 1 / (1 + np.exp(-z))
            surrogate = error[t] * sigmoid * (1 - sigmoid) / alpha
            by_timing = {
                "element": a[t][n] >= level,
                "layer_rate": rate > rate_threshold,
                "always_timing": True,
                "always_surrogate": False,
            }[decision]
            grad[t][n] = timing[t] if by_timing else surrogate
    return grad


def _timing(u, d, s, n, error, tau_mem, v_th, reset, clip):
    """theta of one neuron: from each spike, look for the next one and its theta."""
    leak = 1 - 1 / tau_mem
    steps = len(u)
    theta = np.zeros(steps)
    for t in reversed(range(steps)):  # later spikes first: they are looked up
        later = [p for p in range(t + 1, steps) if s[p][n]]
        next_spike = later[0] if later else None
        if not s[t][n]:
            if later:
                theta[t] = leak ** (next_spike - t) * theta[next_spike]
            continue
        with np.errstate(divide="ignore"):
            kappa = np.clip(1 / d[t][n], 0, clip)
        theta[t] = kappa * error[t]
        if later:
            removed = u[t][n] if reset == "hard" else v_th
            shift = removed / tau_mem * leak ** (next_spike - t - 1)
            theta[t] += kappa * shift * theta[next_spike]
            if reset == "soft":  # what the reset leaves behind leaks on
                theta[t] += leak ** (next_spike - t) * theta[next_spike]
    return theta


def psp_filter(x, tau_syn, psp=0.0):
    """The convolution with eps[k] = lam_s^k / tau_s, plus what is left of psp."""
    lam = 1 - 1 / tau_syn
    out = np.zeros_like(x)
    for t in range(len(x)):
        out[t] = lam ** (t + 1) * psp
        for k in range(t + 1):
            out[t] += lam ** (t - k) / tau_syn * x[k]
    return out


def desired_spikes(label, classes, steps):
    pattern = [0, 1, 1, 1, 1] if steps < 10 else [0, 1] * 5
    train = np.zeros((steps, len(label), classes))
    for b, c in enumerate(label):
        train[:, b, c] = [pattern[t % len(pattern)] for t in range(steps)]
    return train


def kernel_loss(psp, label, tau_syn, target_filter):
    """Loss and gradient, (time, batch, class)."""
    target = psp_filter(desired_spikes(label, psp.shape[2], len(psp)), tau_syn)
    if target_filter == "double":
        target = psp_filter(target, tau_syn)
    return 0.5 * ((psp - target) ** 2).sum(), psp - target


def count_loss(psp, label, desired, undesired):
    steps = len(psp)
    count = psp.sum(0)
    grad = np.zeros_like(psp)
    loss = 0.0
    for b, c in np.ndindex(count.shape):
        if c == label[b]:
            delta = min((count[b, c] - desired) / steps, 0)
        else:
            delta = max((count[b, c] - undesired) / steps, 0)
        loss += 0.5 * steps * delta**2
        grad[:, b, c] = delta
    return loss, grad


def softmax_loss(psp, label):
    count = psp.sum(0)
    p = np.exp(count - count.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    rows = np.arange(len(label))
    loss = -np.log(p[rows, label]).mean()
    p[rows, label] -= 1
    return loss, np.broadcast_to(p / len(label), psp.shape)


def pool(psp, side, gain):
    """Sum over windows of side x side, times gain; (time, batch, channel, H, W)."""
    height, width = psp.shape[3] // side, psp.shape[4] // side
    out = np.zeros((*psp.shape[:3], height, width))
    for y, x in np.ndindex(height, width):
        patch = psp[..., y * side : (y + 1) * side, x * side : (x + 1) * side]
        out[..., y, x] = gain * patch.sum((3, 4))
    return out
