"""Weight gradient of a window of spike-timing-dependent plasticity (STDP).

    grad_ji = -sum_b error_bj s(t_bi, u_bj)     D = t_bi - u_bj  (input minus output)

    step window          s = a  where t_bi is finite and t_bi <= u_bj,   -b elsewhere
    exponential window   s = a (exp(D/tau) - offset)     where D < 0
                         s = -b (exp(-D/tau) - offset)   where D > 0
                         s = at_zero                     where D = 0 or inf - inf

A silent spike is inf. The (batch, out, in) table of s is never made: the bodies go
through it one output, or one strip, at a time.

Source: Liu et al., Front. Neurosci. 15 (2021), SSTDP.
"""

from collections.abc import Callable

import numba
import numpy as np
import torch
from torch import Tensor

from snn_temporal_plugins.kernels.threads import split

_OUTPUTS_PER_PASS = 64  # bounds the reference body's (batch, outputs, in) table
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


def _reference(error, spike_time, post, a, b, tau, at_zero, offset):
    grad = error.new_zeros(post.shape[1], spike_time.shape[1])
    for start in range(0, post.shape[1], _OUTPUTS_PER_PASS):
        part = slice(start, start + _OUTPUTS_PER_PASS)
        before, after = spike_time[:, None, :], post[:, part, None]
        if tau == 0:
            causal = (before <= after) & torch.isfinite(before)
            window = torch.where(causal, error.new_tensor(a), -b)
        else:
            lag = torch.where(before == after, 0, before - after)
            size = torch.exp(-lag.abs() / tau) - offset
            window = torch.where(lag < 0, a * size, -b * size)
            window = torch.where(lag == 0, at_zero, window)
        grad[part] = -torch.einsum("bo,boi->oi", error[:, part], window.to(error))
    return grad


@_jit
def _step_window(error, spike_time, post, a, b, grad, start, stop):
    """Fill the rows start..stop of grad."""
    batch, inputs = spike_time.shape
    largest = np.finfo(grad.dtype).max
    for j in range(start, stop):
        row = grad[j]
        row[:] = 0
        for n in range(batch):
            e = error[n, j]
            if e == 0:
                continue
            # finite and <= u, for a silent output too
            u = min(post[n, j], largest)
            strengthen, weaken = -e * a, e * b
            t = spike_time[n]
            for i in range(inputs):
                row[i] += strengthen if t[i] <= u else weaken


@_jit
def _exponential_window(
    error, spike_time, post, a, b, tau, at_zero, offset, grad, start, stop
):
    """Fill the rows start..stop of grad."""
    batch, inputs = spike_time.shape
    for j in range(start, stop):
        row = grad[j]
        row[:] = 0
        for n in range(batch):
            e, u = error[n, j], post[n, j]
            if e == 0:
                continue
            t = spike_time[n]
            for i in range(inputs):
                if t[i] == u:
                    row[i] -= e * at_zero
                elif t[i] < u:
                    row[i] -= e * a * (np.exp((t[i] - u) / tau) - offset)
                else:
                    row[i] += e * b * (np.exp((u - t[i]) / tau) - offset)


@torch.library.custom_op("snn_temporal_plugins::stdp_weight_gradient", mutates_args=())
def stdp_weight_gradient(
    error: Tensor,
    spike_time: Tensor,
    post_spike_time: Tensor,
    a: float,
    b: float,
    tau: float,
    at_zero: float,
    offset: float,
) -> Tensor:
    """Weight gradient of an STDP window, summed over the batch.

    Args:
        error: Error of the output times, (batch, out).
        spike_time: Input spike times, (batch, in), inf = silent.
        post_spike_time: Output spike times, (batch, out), inf = silent.
        a: Size of the causal side.
        b: Size of the anti-causal side.
        tau: Time constant of the exponential window; 0 = the step window.
        at_zero: Exponential window: value where both spike together.
        offset: Exponential window: what is taken off the exponential.

    Returns:
        The gradient, (out, in).
    """
    return _reference(error, spike_time, post_spike_time, a, b, tau, at_zero, offset)


@stdp_weight_gradient.register_kernel("cpu")
def _(error, spike_time, post_spike_time, a, b, tau, at_zero, offset):
    if error.dtype not in (torch.float32, torch.float64):
        return _reference(
            error, spike_time, post_spike_time, a, b, tau, at_zero, offset
        )
    outputs, inputs = post_spike_time.shape[1], spike_time.shape[1]
    grad = error.new_empty(outputs, inputs)
    errors, times, posts, out = (
        x.contiguous().numpy() for x in (error, spike_time, post_spike_time, grad)
    )
    real = errors.dtype.type
    body: Callable = _step_window if tau == 0 else _exponential_window
    numbers = (a, b) if tau == 0 else (a, b, tau, at_zero, offset)
    arguments = (errors, times, posts, *map(real, numbers), out)
    split(
        lambda start, stop: body(*arguments, start, stop),
        outputs,
        errors.size * inputs,
    )
    return grad


@stdp_weight_gradient.register_fake
def _(error, spike_time, post_spike_time, *_):
    return error.new_empty(post_spike_time.shape[1], spike_time.shape[1])
