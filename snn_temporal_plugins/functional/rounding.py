"""Rounding to the integers of a chip: one free step per neuron, and whole ticks.

Spike times do not change when the weights and the threshold of one neuron are
multiplied by the same positive number. So each neuron j has a step s_j of its own:

    weight_int = clip(round(w / s_j), -largest, largest),   largest = 2^(bits-1) - 1

    ramp, fires at V >= v_th    threshold_int = round(v_th / (dt * s_j))
    step, fires at V > v_th     threshold_int = floor(v_th / s_j) + 1

with dt the length of a tick; all rounding is half to even. A sum of integer weights
times s_j exceeds v_th exactly where the sum reaches threshold_int, so a step's
threshold loses nothing. Activations are spike times, so nothing else is scaled.

The export rounds by these functions, and so do layers in quantisation-aware training,
whose gradients go straight through the rounding (Bengio et al., arXiv 1308.3432).
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snn_temporal_plugins.kernels import rounding_error

_CLIPS = torch.from_numpy(np.linspace(0.3, 1.0, 29))
"""Candidate full scales, as fractions of a neuron's largest weight."""

_NEAR = 1e-9  # a quotient this close to a whole number is worked out exactly


class RoundingError(ValueError):
    """Rounding would silence a neuron, or let it fire for nothing."""


class Rounding(NamedTuple):
    """How a layer rounds.

    Attributes:
        bits: Width of a weight, 2 to 8.
        num_ticks: Number of ticks T; a spike has a tick from 0 to T-1.
        tick: Length of a tick in the layer's unit of time.
        shared_step: Whether all neurons have one step, as those of a last layer do, so
            that their potentials can be compared.
        weights: Whether weights are rounded.
        thresholds: Whether thresholds are.
        ticks: Whether spike times are.
    """

    bits: int
    num_ticks: int
    tick: float
    shared_step: bool = False
    weights: bool = True
    thresholds: bool = True
    ticks: bool = True


def largest_weight(bits: int) -> int:
    """Largest magnitude of an integer weight: the range is symmetric.

    Args:
        bits: Width of a weight in two's complement.

    Raises:
        ValueError: bits is not a whole number from 2 to 8.
    """
    if bits not in range(2, 9):
        raise ValueError(f"bits is {bits}; allowed: 2 to 8")
    return (1 << (int(bits) - 1)) - 1


@torch.no_grad()
def weight_steps(weight: Tensor, bits: int, *, shared: bool = False) -> Tensor:
    """Step of each neuron with the least squared rounding error of its weights.

    A few full scales up to the largest weight are tried.

    Args:
        weight: Weights, (out, ...), floating point.
        bits: Width of an integer weight, 2 to 8.
        shared: Give all neurons the one step that is best for them together.

    Returns:
        Steps > 0, (out,), float64; 1 where all weights are 0.
    """
    rows = weight.flatten(1).double()
    groups = rows.reshape(1, -1) if shared else rows
    largest = largest_weight(bits)
    full = groups.abs().amax(1) / largest
    full = torch.where(full > 0, full, 1.0)
    clips = _CLIPS.to(rows.device)
    best = rounding_error(groups / full[:, None], clips, largest).argmin(1)
    return (full * clips[best]).expand(len(rows)).clone()


@torch.no_grad()
def integer_weights(weight: Tensor, step: Tensor, largest: int) -> Tensor:
    """Weights in whole steps.

    Args:
        weight: Weights, (out, ...), floating point.
        step: Steps, (out,), float64.
        largest: Largest magnitude of a whole number; larger ones are clipped.

    Returns:
        Whole numbers of the shape of `weight`, float64.
    """
    rows = weight.flatten(1).double() / step[:, None]
    return rows.round_().clamp_(-largest, largest).reshape(weight.shape)


@torch.no_grad()
def ramp_thresholds(v_th: Tensor, step: Tensor, tick: float) -> Tensor:
    """Thresholds of ramps in whole steps and ticks: round(v_th / (tick * step)).

    Args:
        v_th: Thresholds, (out,), floating point, in weights times time.
        step: Steps, (out,), float64.
        tick: Length of a tick.

    Returns:
        Whole numbers, (out,), float64.
    """
    return (v_th.double() / (tick * step)).round()


@torch.no_grad()
def step_thresholds(v_th: Tensor, step: Tensor) -> Tensor:
    """Smallest whole numbers n with n * step > v_th, exactly.

    Args:
        v_th: Thresholds, (out,), floating point, in weights.
        step: Steps, (out,), float64.

    Returns:
        Whole numbers, (out,), float64.
    """
    quotient = v_th.double() / step
    threshold = quotient.floor() + 1
    # where the quotient's own rounding could decide
    unsure = (quotient - quotient.round()).abs() <= _NEAR * quotient.abs()
    for j in unsure.nonzero().flatten().tolist():
        exact = Fraction(v_th[j].item()) / Fraction(step[j].item())
        threshold[j] = float(math.floor(exact) + 1)
    return threshold


def require_integers(weight: Tensor, threshold: Tensor) -> None:
    """Raise where rounding would silence a neuron, or let it fire for nothing.

    Args:
        weight: Whole numbers, (out, ...).
        threshold: Whole numbers, (out,).

    Raises:
        RoundingError: all weights of a neuron are 0, or a threshold is below 1.
    """
    dead = ~weight.flatten(1).any(1)
    if dead.any():
        raise RoundingError(
            f"all weights of neuron {int(dead.int().argmax())} (and "
            f"{int(dead.sum()) - 1} others) round to 0; use more bits, or remove the "
            "neuron"
        )
    if not bool((threshold >= 1).all()):
        raise RoundingError(
            f"the threshold of neuron {int((threshold < 1).int().argmax())} rounds to "
            "0 steps; allowed: at least 1. Use more ticks or more bits"
        )


def nearest_tick(spike_time: Tensor, num_ticks: int, tick: float) -> Tensor:
    """Spike times in whole ticks, half to even; the gradient goes straight through.

    Args:
        spike_time: Any shape, floating point, in the unit of `tick`; inf = silent.
        num_ticks: Number of ticks T; a later spike is silent.
        tick: Length of a tick.

    Returns:
        Whole ticks from 0 to T-1, or inf, of the shape and dtype of `spike_time`.
    """
    return _NearestTick.apply(spike_time, num_ticks, tick)


def round_up(spike_time: Tensor) -> Tensor:
    """Spike times at the next whole tick; the gradient goes straight through.

    Args:
        spike_time: Any shape, in ticks; inf = silent.

    Returns:
        Whole ticks, or inf, of the same shape.
    """
    return _RoundUp.apply(spike_time)


def straight_through(value: Tensor, rounded: Tensor, unit: Tensor) -> Tensor:
    """What a value was rounded to, with the gradient of the value counted in units.

    Args:
        value: Real numbers, (out, ...).
        rounded: `value / unit` rounded, of the same shape.
        unit: (out,), without a gradient.

    Returns:
        `rounded`; its gradient divided by the unit goes to `value`.
    """
    return _StraightThrough.apply(value, rounded, unit)


class _NearestTick(torch.autograd.Function):
    @staticmethod
    def forward(spike_time, num_ticks, tick):
        whole = (spike_time.double() / tick).round()
        return torch.where(whole < num_ticks, whole, math.inf).to(spike_time)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.tick = inputs[2]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, grad):
        (whole,) = ctx.saved_tensors
        return torch.where(whole < math.inf, grad / ctx.tick, 0), None, None


class _RoundUp(torch.autograd.Function):
    @staticmethod
    def forward(spike_time):
        return spike_time.ceil()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return grad


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(value, rounded, unit):
        return rounded.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        value, _, unit = inputs
        ctx.dtype = value.dtype
        ctx.save_for_backward(unit)

    @staticmethod
    def backward(ctx, grad):
        (unit,) = ctx.saved_tensors
        unit = unit.to(grad.dtype).view(-1, *[1] * (grad.dim() - 1))
        return (grad / unit).to(ctx.dtype), None, None
