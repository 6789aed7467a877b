"""Pooling in ST-RSBP: neurons that add up the spikes of a window of one map.

Paper: W. Zhang, P. Li, "Spike-Train Level Backpropagation for Training Deep Recurrent
Spiking Neural Networks", NeurIPS 2019; released code stonezwr/ST-RSBP, commit 4d15a90.

The neuron i is that of `rules.st_rsbp`, (1)-(3), with the weight 1 from every input j
of its window and a threshold of its own; windows lie side by side. Nothing is learnt.
Backward, with the effect e_ij and the counts o of that file:

    (10) rho_ij  = e_ij / o_j, 0 where i or j is silent
    (11) dE/do_j = rho_ij dE/do_i

The error is neither divided by the threshold nor by an S, as in the released code.

Departures: e is that of the dense layers, not the continuous one of the code, and the
threshold counts as crossed 1e-6 below, as in our convolutions.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snn_temporal_plugins.functional.lif import require_window
from snn_temporal_plugins.functional.spike_train import (
    SpikeTrainState,
    SpikeTrainWindow,
    error_of_counts,
    require_neuron,
    require_settings,
    spike_counts,
    state_or_rest,
    whole,
)
from snn_temporal_plugins.kernels import image_effects, image_window


class _PoolFunction(torch.autograd.Function):
    @staticmethod
    def forward(x, last, neurons, side, v_th, *constants):
        return image_window(x, last, x.new_empty(0), neurons, v_th, *constants, side, 0)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, _, _, ctx.side, _, *ctx.constants = inputs
        spikes, activity, state = output
        ctx.mark_non_differentiable(activity, state)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, spikes)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _grad_activity, _grad_state):
        if grad is None:
            return (None,) * 8
        x, spikes = ctx.saved_tensors
        none, error = x.new_empty(0), error_of_counts(grad)
        through, _ = image_effects(
            x, spikes, none, error, *ctx.constants, ctx.side, 0, True
        )
        grad_in = through / spike_counts(x).clamp(min=1)  # (10), (11)
        return grad_in.expand_as(x), *(None,) * 7


def st_rsbp_pool(
    spikes: Tensor,
    side: int,
    *,
    v_th: float = 2.0,
    tau_mem: float = 64.0,
    tau_syn: float = 8.0,
    refractory: int = 2,
) -> Tensor:
    """Spikes of neurons that pool the windows of an image, over a window of time.

    Args:
        spikes: Input spikes, 0 or 1, (time, batch, channel, height, width).
        side: Side of the square windows, and the step between them; rows and columns
            that fill no window are left out, and get no gradient.
        v_th: Threshold > 1e-6.
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        refractory: Steps >= 0 after a spike in which the membrane is 0.

    Returns:
        Output spikes, 0 or 1, (time, batch, channel, height // side, width // side).

    Raises:
        TypeError: spikes is not a floating-point tensor.
        ValueError: the shape does not fit, an input is neither 0 nor 1, or a setting is
            out of range.

    Reference:
        Zhang and Li, NeurIPS 2019; equations (10) and (11) of this module.
    """
    return st_rsbp_pool_window(
        spikes,
        side,
        v_th=v_th,
        tau_mem=tau_mem,
        tau_syn=tau_syn,
        refractory=refractory,
    ).spikes


def st_rsbp_pool_window(
    spikes: Tensor,
    side: int,
    state: SpikeTrainState | None = None,
    *,
    v_th: float = 2.0,
    tau_mem: float = 64.0,
    tau_syn: float = 8.0,
    refractory: int = 2,
) -> SpikeTrainWindow:
    """`st_rsbp_pool` with the activity, going on from the window before.

    Args:
        spikes: As in `st_rsbp_pool`, like all but `state`.
        side: Side of the windows.
        state: Where the window before has ended; None = at rest.
        v_th: Threshold.
        tau_mem: Membrane time constant.
        tau_syn: Synaptic time constant.
        refractory: Refractory steps.

    Returns:
        Spikes, activity and the state at the end.

    Raises:
        TypeError: as in `st_rsbp_pool`.
        ValueError: as in `st_rsbp_pool`, or state does not fit.
    """
    require_window("spikes", spikes)
    require_neuron(v_th, tau_mem, tau_syn, refractory)
    require_settings(("side", side, whole(side, 1), "a whole number, 1 or more"))
    if spikes.dim() != 5 or min(spikes.shape[3:]) < side:
        raise ValueError(
            f"spikes has shape {tuple(spikes.shape)}; expected (time, batch, channel, "
            f"height, width), height and width at least the side {side} of the windows."
        )
    size = spikes.shape[2], *(n // side for n in spikes.shape[3:])
    state = state_or_rest(state, spikes, math.prod(size))
    out, activity, end = _PoolFunction.apply(
        *(spikes, state.last_input, state.neurons, side),
        *(float(v_th), float(tau_mem), float(tau_syn), refractory),
    )
    return SpikeTrainWindow(
        out.unflatten(2, size),
        activity.unflatten(1, size),
        SpikeTrainState(end, spikes[-1].detach().clone()),
    )
