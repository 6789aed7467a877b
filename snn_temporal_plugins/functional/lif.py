"""State and input filter of leaky integrate-and-fire neurons on spike trains."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snn_temporal_plugins.functional.arguments import require_floating


class LIFState(NamedTuple):
    """Where a window of leaky integrate-and-fire neurons has ended.

    Attributes:
        v: Membrane potential after the reset, (batch, ...).
        psp: Postsynaptic potential of the neuron's own spikes, (batch, ...).
    """

    v: Tensor
    psp: Tensor


class _PSPFilterFunction(torch.autograd.Function):
    # In place, step by step: half the time of new tensors and a stack of them.
    @staticmethod
    def forward(x, psp, tau_syn):
        filtered = torch.empty_like(x, memory_format=torch.contiguous_format)
        for step, row in zip(x, filtered, strict=True):
            # in the very order of `lif_window`, so that results are equal
            psp = row.copy_(step).sub_(psp).div_(tau_syn).add_(psp)
        return filtered

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.tau_syn = inputs[2]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        leak = 1 - 1 / ctx.tau_syn
        error = torch.zeros_like(grad[0])
        grad_x = torch.empty_like(grad, memory_format=torch.contiguous_format)
        for t in reversed(range(len(grad))):  # the same filter, backwards in time
            error = error.mul_(leak).add_(grad[t])
            grad_x[t] = error
        return grad_x.div_(ctx.tau_syn), leak * error, None


def psp_filter(x: Tensor, tau_syn: float, psp: Tensor | None = None) -> Tensor:
    """Postsynaptic potential of a spike train or of a current.

        a[t] = a[t-1] + (x[t] - a[t-1]) / tau_syn

    Args:
        x: Spikes or current, (time, batch, ...), floating point.
        tau_syn: Synaptic time constant >= 1, in steps.
        psp: Potential before the first step, (batch, ...); None = 0.

    Returns:
        The potential, the shape of x; a spike at t already acts at t.

    Raises:
        ValueError: there is no step, tau_syn is below 1, or psp has another shape.

    Reference:
        Zhang and Li, NeurIPS 2020 (TSSL-BP), the PSP kernel of the released code.
    """
    require_window("x", x)
    require_time_constant("tau_syn", tau_syn)
    if psp is None:
        psp = torch.zeros_like(x[0])
    elif psp.shape != x.shape[1:]:
        raise ValueError(
            f"psp has shape {tuple(psp.shape)}; it must be that of one step, "
            f"{tuple(x.shape[1:])}."
        )
    return _PSPFilterFunction.apply(x, psp, tau_syn)


def require_window(name: str, x: Tensor) -> None:
    """Raise unless x is a floating-point tensor (time, batch, ...) with a step in it.

    Args:
        name: What the error calls it.
        x: The tensor.

    Raises:
        TypeError: it is not a floating-point tensor.
        ValueError: it has fewer than two dimensions, or no step.
    """
    require_floating(name, x)
    if x.dim() < 2 or len(x) == 0:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; it must be (time, batch, ...) with at "
            "least one step."
        )


def require_time_constant(name: str, tau: float) -> None:
    """Raise unless a time constant is at least one step.

    Args:
        name: What the error calls it.
        tau: Time constant in steps.

    Raises:
        ValueError: it is below 1 or not finite; the leak 1 - 1/tau would be negative.
    """
    if not 1 <= tau < math.inf:
        raise ValueError(
            f"{name} is {tau}; a time constant is counted in steps and must be at "
            "least 1. For a constant in seconds divide by the length of a step."
        )


def require_spikes(spikes: Tensor, name: str = "spikes") -> None:
    """Raise unless every value is 0 or 1.

    Args:
        spikes: Spike train, any shape.
        name: What the error calls it.

    Raises:
        ValueError: some value is neither.
    """
    if bool((spikes * (spikes - 1)).any()):  # half the time of the mask below
        wrong = spikes[(spikes != 0) & (spikes != 1)]
        raise ValueError(
            f"{name} holds {wrong[0].item()}; a spike train holds 0 and 1 only. For "
            "real-valued input give the first layer num_steps (direct encoding), or "
            "filter it with PSPFilter."
        )
