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
    require_convolution,
    require_one_kind,
    require_synapses,
    threshold_per_neuron,
)
from snn_temporal_plugins.kernels import (
    first_crossing,
    first_crossing_backward,
    first_crossing_conv2d,
    first_crossing_conv2d_backward,
)


class _STDBPFunction(torch.autograd.Function):
    # with the context: torch would inspect the signature at every call of a forward
    # without, which takes longer than the op itself
    @staticmethod
    def forward(ctx, spike_time, weight, v_th, t_max, slope_clip, slide):
        if slide:  # (stride, padding) of a convolution
            results = first_crossing_conv2d(spike_time, weight, v_th, *slide, t_max)
        else:
            results = first_crossing(spike_time, weight, v_th, t_max)  # (1), (2)
        ctx.mark_non_differentiable(*results[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(spike_time, weight, *results)
        ctx.slope_clip, ctx.slide = slope_clip, slide
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _grad_slope, _grad_bound):
        if grad is None:
            return None, None, None, None, None, None
        spike_time, weight, post_spike_time, slope, bound = ctx.saved_tensors
        # (3); anything where silent, which the kernel leaves out
        clip = ctx.slope_clip
        delta = grad / (slope if clip is None else slope.clamp(min=1 / clip))
        need_time, need_weight, need_v_th = ctx.needs_input_grad[:3]
        grad_time = grad_weight = None
        if need_time or need_weight:
            pairs = delta, spike_time, weight, post_spike_time, bound
            needs = need_time, need_weight
            if ctx.slide:
                sums = first_crossing_conv2d_backward(*pairs, *ctx.slide, *needs)
            else:
                sums = first_crossing_backward(*pairs, *needs)
            grad_time, grad_weight = sums  # (4), (5)
        grad_v_th = None
        if need_v_th:  # (6); of a map, over all places
            grad_v_th = torch.where(post_spike_time < math.inf, delta, 0)
            grad_v_th = grad_v_th.transpose(0, 1).flatten(1).sum(1)
        return (
            grad_time if need_time else None,
            grad_weight if need_weight else None,
            grad_v_th,
            None,
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
    post_spike_time = _STDBPFunction.apply(flat, weight, v_th, t_max, slope_clip, ())[0]
    return post_spike_time.reshape(*spike_time.shape[:-1], weight.shape[0])


def stdbp_conv2d(
    spike_time: Tensor,
    weight: Tensor,
    v_th: float | Tensor,
    *,
    stride: int = 1,
    padding: int = 0,
    t_max: float = math.inf,
    slope_clip: float | Tensor | None = None,
) -> Tensor:
    """`stdbp` of the patches that a kernel sees as it slides over maps of spike times.

    No patch is stored: the spikes of a sample are sorted once for all places.

    Args:
        spike_time: Input spike times, (batch, channel, height, width), in any unit of
            time; inf = silent, as is the border.
        weight: Synaptic weights, (map, channel, side, side).
        v_th: Threshold > 0, unitless; a number, or a tensor () or (map,).
        stride: Step between places.
        padding: Silent border on every side.
        t_max: Horizon > 0 in the unit of time; a later spike counts as silent.
        slope_clip: Upper limit > 0 of the factor 1/W_j in the backward, a number or one
            per map, (map,); None = the exact gradient.

    Returns:
        Output spike times, (batch, map, down, across), inf = silent (gradient exactly
        0).

    Raises:
        TypeError: an argument is not a floating-point tensor, or dtypes differ.
        ValueError: shapes or devices do not fit; NaN or infinite values; v_th, t_max or
            slope_clip not positive; stride or padding out of range.

    Reference:
        As `stdbp`.
    """
    require_convolution(spike_time, weight, stride, padding)
    _check_limits(t_max, slope_clip)
    v_th = threshold_per_neuron(v_th, weight)
    if isinstance(slope_clip, Tensor) and slope_clip.dim():
        slope_clip = slope_clip[:, None, None]
    slide = stride, padding
    return _STDBPFunction.apply(spike_time, weight, v_th, t_max, slope_clip, slide)[0]


def _check(spike_time, weight, t_max, slope_clip) -> None:
    require_synapses(spike_time, weight)
    if spike_time.dim() < 1 or spike_time.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)}, but weight has "
            f"{weight.shape[1]} inputs: the last dimension must be {weight.shape[1]}."
        )
    require_one_kind(spike_time, weight)
    _check_limits(t_max, slope_clip)


def _check_limits(t_max, slope_clip) -> None:
    if not t_max > 0:
        raise ValueError(f"t_max is {t_max}; the horizon must be > 0, or inf for none.")
    positive = slope_clip is None or slope_clip > 0
    if not (positive.all() if isinstance(positive, Tensor) else positive):
        raise ValueError(f"slope_clip is {slope_clip}; it must be > 0, or None.")
