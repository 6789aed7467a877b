"""STDBP: spike-timing-dependent back-propagation for ReL-PSP neurons.

Paper: M. Zhang et al., "Rectified Linear Postsynaptic Potential Function for
Backpropagation in Deep Spiking Neural Networks", arXiv 2003.11837, IEEE TNNLS 33(5).

Forward, for t_i < t (w_ji is the weight from input i to neuron j):

    (1) V_j(t) = sum_i w_ji (t - t_i)
    (2) t_j = min { t : V_j(t) >= v_th }, silent = inf if there is none up to t_max

Backward, with e_j = dL/dt_j, the causal set C_j = { i : t_i < t_j } and the slope
W_j = sum_{i in C_j} w_ji:

    (3) delta_j    =  e_j / W_j                         0 where j is silent
    (4) dL/dw_ji   = -sum_batch delta_j (t_j - t_i)     i in C_j, otherwise 0
    (5) dL/dt_i    =  sum_j delta_j w_ji                i in C_j, otherwise 0
    (6) dL/dv_th_j =  sum_batch delta_j

This is the true derivative of (2); with `slope_clip` it is not.

Departures from the paper, whose settings are not published: the crossing is exact for
real-valued times (no time grid), and the factor 1/W_j of (3) can be clipped element by
element, as the group's later code does, since it grows without bound near W_j = 0.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snn_temporal_plugins.functional.arguments import (
    require_synapses,
    threshold_per_neuron,
)
from snn_temporal_plugins.kernels import first_crossing, first_crossing_backward


class _STDBPFunction(torch.autograd.Function):
    @staticmethod
    def forward(spike_time, weight, v_th, t_max, slope_clip):
        return first_crossing(spike_time, weight, v_th, t_max)  # (1), (2)

    @staticmethod
    def setup_context(ctx, inputs, output):
        spike_time, weight, _, _, slope_clip = inputs
        post_spike_time, slope, bound = output
        ctx.mark_non_differentiable(slope, bound)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(spike_time, weight, post_spike_time, slope, bound)
        ctx.slope_clip = slope_clip

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _grad_slope, _grad_bound):
        if grad is None:
            return None, None, None, None, None
        spike_time, weight, post_spike_time, slope, bound = ctx.saved_tensors
        gain = slope.reciprocal()
        if ctx.slope_clip is not None:
            gain = gain.clamp(max=ctx.slope_clip)
        delta = grad * gain  # (3); anything where silent, which the kernel leaves out
        need_time, need_weight, need_v_th = ctx.needs_input_grad[:3]
        grad_time = grad_weight = None
        if need_time or need_weight:
            grad_time, grad_weight = first_crossing_backward(  # (4), (5)
                delta,
                spike_time,
                weight,
                post_spike_time,
                bound,
                need_time,
                need_weight,
            )
        return (
            grad_time if need_time else None,
            grad_weight if need_weight else None,
            torch.where(slope > 0, delta, 0).sum(0) if need_v_th else None,  # (6)
            None,
            None,
        )


def stdbp(
    spike_time: Tensor,
    weight: Tensor,
    v_th: float | Tensor,
    *,
    t_max: float = math.inf,
    slope_clip: float | Tensor | None = None,
) -> Tensor:
    """First spike times of a layer of ReL-PSP neurons, differentiable by STDBP.

        t_j = (v_th + sum_{t_i < t_j} w_ji t_i) / sum_{t_i < t_j} w_ji

    Args:
        spike_time: Input spike times, (..., in), in any unit of time; inf = silent.
            Negative times are allowed.
        weight: Synaptic weights, (out, in), in thresholds per unit of time.
        v_th: Threshold > 0, unitless; a number, or a tensor () or (out,).
        t_max: Horizon > 0 in the unit of time; a later spike counts as silent.
        slope_clip: Upper limit > 0 of the factor 1/W_j in the backward, a number or one
            per neuron, (out,); None = the exact gradient.

    Returns:
        Output spike times, (..., out), inf = silent (gradient exactly 0).

    Raises:
        TypeError: an argument is not a floating-point tensor, or dtypes differ.
        ValueError: shapes or devices do not fit; NaN or infinite values; v_th, t_max or
            slope_clip not positive.

    Reference:
        Zhang et al., arXiv 2003.11837; equations (1)-(6) of this module.
    """
    _check(spike_time, weight, t_max, slope_clip)
    v_th = threshold_per_neuron(v_th, weight)
    flat = spike_time.reshape(-1, spike_time.shape[-1])
    post_spike_time = _STDBPFunction.apply(flat, weight, v_th, t_max, slope_clip)[0]
    return post_spike_time.reshape(*spike_time.shape[:-1], weight.shape[0])


def _check(spike_time, weight, t_max, slope_clip) -> None:
    require_synapses(spike_time, weight)
    if spike_time.dim() < 1 or spike_time.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)}, but weight has "
            f"{weight.shape[1]} inputs: the last dimension must be {weight.shape[1]}."
        )
    if spike_time.dtype != weight.dtype:
        raise TypeError(
            f"spike_time is {spike_time.dtype} but weight is {weight.dtype}; convert "
            "one, for example spike_time.to(weight.dtype)."
        )
    if spike_time.device != weight.device:
        raise ValueError(
            f"spike_time is on {spike_time.device} but weight is on {weight.device}; "
            "move one with .to(device)."
        )
    if not t_max > 0:
        raise ValueError(f"t_max is {t_max}; the horizon must be > 0, or inf for none.")
    positive = slope_clip is None or slope_clip > 0
    if not (positive.all() if isinstance(positive, Tensor) else positive):
        raise ValueError(f"slope_clip is {slope_clip}; it must be > 0, or None.")
