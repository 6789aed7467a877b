"""A window of leaky integrate-and-fire neurons, and TSSL-BP's recursion back over it.

Forward, per neuron, t = 0..T-1 (v membrane after reset, a postsynaptic potential):

    d[t] = I[t] - v / tau_mem            u[t] = v + d[t]
    s[t] = u[t] > v_th                   v = 0, or u[t] - v_th if soft, where s[t]
    a[t] = a[t-1] + (s[t] - a[t-1]) / tau_syn

Backward, t = T-1..0, with g = dL/da, h = dL/ds, P[T] = theta[T] = 0:

    P[t] = g[t] / tau_syn + (1 - 1/tau_syn) P[t+1]          A[t] = P[t] + h[t]
    theta[t] = clip(1/d[t], 0, clip) (A[t] + theta[t+1] r[t] / tau_mem)     at a spike
               (1 - 1/tau_mem) theta[t+1]                                otherwise
    dL/dI[t] = A[t] sig'(z) / alpha      where a[t] < limit,  z = (u[t] - v_th) / alpha
               theta[t]                  otherwise

r[t] is what the reset removed: u[t], or v_th if soft, where the rest of the membrane
leaks on and adds (1 - 1/tau_mem) theta[t+1]. The authors sum over all pairs of steps;
the recursion does the same in O(T).

Source: Zhang and Li, NeurIPS 2020, in the form of their released code.
"""

from functools import partial

import numba
import numpy as np
import torch
from torch import Tensor

from snn_temporal_plugins.kernels.threads import split

_STRIP = 512  # neurons whose state stays in the L1 cache together
_COST = 16  # operations per neuron and step, for the decision on threads
_Z_MAX = 8.0  # where the surrogate's exponent is cut off


def _raise_not_finite() -> None:
    raise ValueError(
        "current or state holds NaN or inf; allowed are finite values. Check the input "
        "and the layer before, or lower the learning rate if training diverged."
    )


# --- reference bodies: plain torch, any device, any float dtype -------------------


def _after_reset(u: Tensor, v_th: float, soft: bool) -> Tensor:
    return torch.where(u > v_th, u - v_th if soft else 0, u)


def _forward_reference(current, v, psp, tau_mem, tau_syn, v_th, soft):
    if not all(bool(torch.isfinite(x).all()) for x in (current, v, psp)):
        _raise_not_finite()
    all_psp, all_u = [], []
    for step in current:
        u = v + (step + (-1 / tau_mem) * v)
        v = _after_reset(u, v_th, soft)
        psp = psp + ((u > v_th).to(psp.dtype) - psp) / tau_syn
        all_psp.append(psp)
        all_u.append(u)
    return torch.stack(all_psp), torch.stack(all_u)


def _backward_reference(
    grad_psp, grad_spikes, psp, u, v, tau_mem, tau_syn, v_th, soft, limit, clip, alpha
):
    filtered = torch.zeros_like(v)
    theta = torch.zeros_like(v)
    grad = torch.empty_like(u)
    leak_mem, leak_syn = 1 - 1 / tau_mem, 1 - 1 / tau_syn
    for t in reversed(range(len(u))):
        total = filtered = leak_syn * filtered
        if len(grad_psp):
            total = filtered = filtered + grad_psp[t] / tau_syn
        if len(grad_spikes):
            total = filtered + grad_spikes[t]
        d = u[t] - (_after_reset(u[t - 1], v_th, soft) if t else v)
        removed = v_th if soft else u[t]
        fired = d.reciprocal().clamp(0, clip) * (total + theta * removed / tau_mem)
        carried = leak_mem * theta
        theta = torch.where(u[t] > v_th, fired + carried if soft else fired, carried)
        z = ((u[t] - v_th) / alpha).clamp(-_Z_MAX, _Z_MAX)
        surrogate = torch.sigmoid(z) * torch.sigmoid(-z) / alpha
        grad[t] = torch.where(psp[t] < limit, total * surrogate, theta)
    return grad


# --- Numba bodies: a strip of neurons after the other, all steps ------------------

# No fused multiply-add: a membrane that rounds differently may miss its threshold.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy")
_jit_contract = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"contract"}
)


@_jit
def _forward(current, v, psp, leak, tau_syn, v_th, soft, all_psp, all_u, start, end):
    """Fill all_psp and all_u for the neurons start..end. False if not finite."""
    state = np.empty(2 * _STRIP, current.dtype)
    zero, one = current.dtype.type(0), current.dtype.type(1)
    finite = True
    for s in range(start, end, _STRIP):
        width = min(_STRIP, end - s)
        state[:width] = v[s : s + width]
        state[_STRIP : _STRIP + width] = psp[s : s + width]
        for j in range(width):
            finite &= abs(state[j]) < np.inf
            finite &= abs(state[_STRIP + j]) < np.inf
        for t in range(current.shape[0]):
            inputs = current[t, s : s + width]
            psps, us = all_psp[t, s : s + width], all_u[t, s : s + width]
            for j in range(width):
                vj, aj = state[j], state[_STRIP + j]
                u = vj + (inputs[j] + leak * vj)
                finite &= abs(inputs[j]) < np.inf
                fires = u > v_th
                state[j] = (u - v_th if soft else zero) if fires else u
                aj = aj + ((one if fires else zero) - aj) / tau_syn
                state[_STRIP + j] = aj
                psps[j] = aj
                us[j] = u
    return finite


@_jit_contract
def _backward(
    grad_psp,
    grad_spikes,
    psp,
    u,
    v,
    tau_mem,
    tau_syn,
    v_th,
    soft,
    limit,
    clip,
    alpha,
    grad,
    start,
    end,
):
    """Fill grad = dL/dI for the neurons start..end."""
    real = u.dtype.type
    zero, one = real(0), real(1)
    leak_mem, leak_syn = one - one / tau_mem, one - one / tau_syn
    over_syn, over_mem, over_alpha = one / tau_syn, one / tau_mem, one / alpha
    z_max, part = real(_Z_MAX), real(-1 / 32)
    c2, c3, c4, c5, c6 = real(1 / 2), real(1 / 3), real(1 / 4), real(1 / 5), real(1 / 6)
    c7, c8, c9, c10 = real(1 / 7), real(1 / 8), real(1 / 9), real(1 / 10)
    c11 = real(1 / 11)
    from_psp, from_spikes = grad_psp.shape[0] > 0, grad_spikes.shape[0] > 0
    # rows: P, A, theta, v before the step. One array at constant distances, so that
    # LLVM can prove the rows apart and vectorise the loops.
    state = np.empty(4 * _STRIP, u.dtype)
    for s in range(start, end, _STRIP):
        width = min(_STRIP, end - s)
        state[:] = 0
        for t in range(u.shape[0] - 1, -1, -1):
            if from_psp:
                row = grad_psp[t, s : s + width]
                for j in range(width):
                    state[j] = row[j] * over_syn + leak_syn * state[j]
                    state[_STRIP + j] = state[j]
            if from_spikes:
                row = grad_spikes[t, s : s + width]
                for j in range(width):
                    state[_STRIP + j] = row[j] + state[j]
            if t > 0:
                row = u[t - 1, s : s + width]
                for j in range(width):
                    before = row[j]
                    reset = before - v_th if soft else zero
                    state[3 * _STRIP + j] = reset if before > v_th else before
            else:
                state[3 * _STRIP : 3 * _STRIP + width] = v[s : s + width]
            us, psps = u[t, s : s + width], psp[t, s : s + width]
            out = grad[t, s : s + width]
            for j in range(width):
                total, theta = state[_STRIP + j], state[2 * _STRIP + j]
                uj = us[j]
                slope = one / (uj - state[3 * _STRIP + j])
                slope = slope if slope > zero else zero
                slope = slope if slope < clip else clip
                removed = v_th if soft else uj
                carried = leak_mem * theta
                fired = slope * (total + theta * removed * over_mem)
                fired = fired + (carried if soft else zero)
                theta = fired if uj > v_th else carried
                state[2 * _STRIP + j] = theta
                # sig'(z) = e / (1 + e)^2 with e = exp(-|z|); exp by its Taylor series
                # at -|z|/32, squared five times, because a call would not vectorise
                z = abs(uj - v_th) * over_alpha
                x = (z if z < z_max else z_max) * part
                e = one + x * c11
                e = one + x * e * c10
                e = one + x * e * c9
                e = one + x * e * c8
                e = one + x * e * c7
                e = one + x * e * c6
                e = one + x * e * c5
                e = one + x * e * c4
                e = one + x * e * c3
                e = one + x * e * c2
                e = one + x * e
                e = e * e
                e = e * e
                e = e * e
                e = e * e
                e = e * e
                surrogate = total * e * over_alpha / ((one + e) * (one + e))
                out[j] = surrogate if psps[j] < limit else theta


# --- the ops ----------------------------------------------------------------------


def _compiled(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.float32, torch.float64)


@torch.library.custom_op("snn_temporal_plugins::lif_window", mutates_args=())
def lif_window(
    current: Tensor,
    v: Tensor,
    psp: Tensor,
    tau_mem: float,
    tau_syn: float,
    v_th: float,
    soft: bool,
) -> tuple[Tensor, Tensor]:
    """Run leaky integrate-and-fire neurons over a window of T steps.

    Args:
        current: Synaptic current I, (T, neurons).
        v: Membrane potential before the window, (neurons,).
        psp: Postsynaptic potential before the window, (neurons,).
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        v_th: Threshold; a neuron fires where u > v_th.
        soft: Whether the reset subtracts v_th instead of setting v = 0.

    Returns:
        The postsynaptic potential a and the membrane potential u before the reset, both
        (T, neurons).

    Raises:
        ValueError: a current or the state is not finite.
    """
    return _forward_reference(current, v, psp, tau_mem, tau_syn, v_th, soft)


@lif_window.register_kernel("cpu")
def _(current, v, psp, tau_mem, tau_syn, v_th, soft):
    if not _compiled(current):
        return _forward_reference(current, v, psp, tau_mem, tau_syn, v_th, soft)
    all_psp = torch.empty_like(current, memory_format=torch.contiguous_format)
    all_u = torch.empty_like(all_psp)
    current, v, psp, psps, us = (
        x.contiguous().numpy() for x in (current, v, psp, all_psp, all_u)
    )
    real = current.dtype.type
    scalars = real(-1 / tau_mem), real(tau_syn), real(v_th), soft
    good = split(
        lambda a, b: _forward(current, v, psp, *scalars, psps, us, a, b),
        current.shape[1],
        current.size * _COST,
    )
    if not all(good):
        _raise_not_finite()
    return all_psp, all_u


@lif_window.register_fake
def _(current, v, psp, tau_mem, tau_syn, v_th, soft):
    all_psp = torch.empty_like(current, memory_format=torch.contiguous_format)
    return all_psp, torch.empty_like(all_psp)


@torch.library.custom_op("snn_temporal_plugins::tssl_bp_backward", mutates_args=())
def tssl_bp_backward(
    grad_psp: Tensor,
    grad_spikes: Tensor,
    psp: Tensor,
    u: Tensor,
    v: Tensor,
    tau_mem: float,
    tau_syn: float,
    v_th: float,
    soft: bool,
    limit: float,
    clip: float,
    alpha: float,
) -> Tensor:
    """Error of the currents of a window by TSSL-BP.

    Args:
        grad_psp: dL/da, (T, neurons), or empty (0, 0) for none.
        grad_spikes: dL/ds beside what passes through a, (T, neurons), or empty.
        psp: As returned by `lif_window`, (T, neurons).
        u: As returned by `lif_window`, (T, neurons).
        v: As given to `lif_window`, (neurons,).
        tau_mem: As given to `lif_window`, like tau_syn, v_th and soft.
        tau_syn: Synaptic time constant.
        v_th: Threshold.
        soft: Kind of reset.
        limit: PSP below which the surrogate is used; -inf for never, inf for always.
        clip: Upper limit of 1/d.
        alpha: Width of the surrogate.

    Returns:
        dL/dI, (T, neurons).
    """
    return _backward_reference(
        grad_psp,
        grad_spikes,
        psp,
        u,
        v,
        tau_mem,
        tau_syn,
        v_th,
        soft,
        limit,
        clip,
        alpha,
    )


@tssl_bp_backward.register_kernel("cpu")
def _(grad_psp, grad_spikes, psp, u, v, *scalars):
    if not _compiled(u):
        return _backward_reference(grad_psp, grad_spikes, psp, u, v, *scalars)
    grad = torch.empty_like(u, memory_format=torch.contiguous_format)
    grad_psp, grad_spikes, psp, us, v, out = (
        x.contiguous().numpy() for x in (grad_psp, grad_spikes, psp, u, v, grad)
    )
    real = us.dtype.type
    typed = [x if isinstance(x, bool) else real(x) for x in scalars]
    # mypy takes the compiled function for a method without arguments
    body = partial(_backward, grad_psp, grad_spikes, psp, us, v, *typed, out)  # type: ignore[call-arg]
    split(body, us.shape[1], us.size * _COST)
    return grad


@tssl_bp_backward.register_fake
def _(grad_psp, grad_spikes, psp, u, v, *scalars):
    return torch.empty_like(u, memory_format=torch.contiguous_format)
