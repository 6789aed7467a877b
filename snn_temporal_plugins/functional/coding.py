"""The bridge between intensities, spike times and spike trains.

A spike train is a 0/1 tensor with time first; a spike time is the index of the tick (or
a real number before rounding), inf = silent. Moving a spike one tick later takes 1 from
one tick and gives it to the next, so both directions use dt/ds = -1 in the backward.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from snn_temporal_plugins.functional.arguments import require_floating


def latency_encode(
    intensity: Tensor, *, window: float = 1.0, silent_zero: bool = True
) -> Tensor:
    """Encode intensities as first-spike times: brighter is earlier.

        t = window * (1 - x)

    Args:
        intensity: Values x in [0, 1], any shape.
        window: Length > 0 of the input window, in the unit of time.
        silent_zero: Whether x = 0 is silent (inf) instead of a spike at `window`.

    Returns:
        Spike times of the shape of `intensity`, inf = silent.

    Raises:
        TypeError: intensity is not a floating-point tensor.
        ValueError: a value lies outside [0, 1] or is NaN, or window is not positive.

    Reference:
        Linear latency code with silent zeros as in T2FSNN (arXiv 2003.11741), without
        its mean/std normalisation, which would push times out of the window.
    """
    if not intensity.is_floating_point():
        raise TypeError(
            f"intensity is {intensity.dtype}; convert it first, for example "
            "image.float() / 255."
        )
    if not 0 < window < math.inf:
        raise ValueError(f"window is {window}; it must be positive and finite.")
    if intensity.numel():
        low, high = (x.item() for x in torch.aminmax(intensity.detach()))
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"intensity spans [{low}, {high}]; allowed is [0, 1]. "
                "Scale the data (image / 255) and drop any mean/std normalisation."
            )
    if silent_zero:  # vectorised, where torch.where with a number is not
        time = F.threshold(intensity, 0.0, -math.inf).neg_().add_(1)
    else:
        time = 1 - intensity
    return time if window == 1 else window * time


def latency_ticks(intensity: Tensor, t_max: int, *, x_min: float = 0.0) -> Tensor:
    """Encode intensities as whole ticks of a window: brighter is earlier.

        t = round((1 - x) (T - 1)), half to even

    Args:
        intensity: Values x in [0, 1], any shape.
        t_max: Number of ticks T >= 1.
        x_min: Values up to this are silent; below 0: none.

    Returns:
        Ticks from 0 to T-1 of the shape and dtype of `intensity`, inf = silent.

    Raises:
        TypeError: intensity is not a floating-point tensor.
        ValueError: a value lies outside [0, 1] or is NaN, or t_max is no whole
            number >= 1.

    Reference:
        Liu et al. 2021 (SSTDP), released code; there the last ticks are silent because
        they are not simulated.
    """
    if t_max < 1 or t_max != int(t_max):
        raise ValueError(f"t_max is {t_max}; it must be a whole number of ticks >= 1.")
    if math.isnan(x_min):
        raise ValueError(f"x_min is {x_min}; it must be a number, below 0 for none.")
    time = (latency_encode(intensity, silent_zero=False) * (t_max - 1)).round()
    return torch.where(intensity > x_min, time, math.inf)


def rate_encode(
    intensity: Tensor,
    num_steps: int,
    *,
    max_rate: float = 1 / 5.5,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Encode intensities as random spike trains: brighter is more often.

        P(s[t] = 1) = max_rate x   for t = 1..T-1, independently;   s[0] = 0

    Args:
        intensity: x in [0, 1], (batch, ...), floating point.
        num_steps: Number of steps T >= 1.
        max_rate: Spikes per step at full intensity, in (0, 1].
        generator: Source of the random numbers; None = torch's own. Processors and
            accelerators draw different trains.

    Returns:
        Spikes, 0 or 1, (time, batch, ...), in the dtype of the input.

    Raises:
        TypeError: intensity is not a floating-point tensor.
        ValueError: an intensity is outside [0, 1] or NaN, or a setting is out of range.

    Reference:
        Zhang and Li, NeurIPS 2019 (ST-RSBP), released code: rate x / 5.5.
    """
    require_floating("intensity", intensity)
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}; it must be at least 1.")
    if not 0 < max_rate <= 1:
        raise ValueError(
            f"max_rate is {max_rate}; it must be above 0 and at most 1 spike per step."
        )
    inside = (intensity >= 0) & (intensity <= 1)
    if not bool(inside.all()):
        raise ValueError(
            f"intensity holds {intensity[~inside][0].item()}; allowed are 0 to 1. "
            "Scale images, for example by 1/255."
        )
    rate = max_rate * intensity.detach()
    if rate.device.type == "cpu" and rate.dtype in (torch.float32, torch.float64):
        # half the time of torch's own draws; one of those is the seed
        seed = int(torch.randint(2**62, (), generator=generator))
        random = np.random.Generator(np.random.SFC64(seed))
        draw = random.random((num_steps, *rate.shape), rate.numpy().dtype)
        np.less(draw, rate.numpy(), out=draw, casting="unsafe")
        spikes = torch.from_numpy(draw)
    else:
        rate = rate.expand(num_steps, *rate.shape)
        spikes = torch.bernoulli(rate, generator=generator)
    spikes[0] = 0
    return spikes


class _TrainToTimes(torch.autograd.Function):
    @staticmethod
    def forward(spikes):
        steps = spikes.shape[0]
        # weights T, T-1, ..., 1: the largest product belongs to the first spike
        rank = torch.arange(steps, 0, -1, device=spikes.device, dtype=spikes.dtype)
        rank = rank.reshape(-1, *[1] * (spikes.dim() - 1))
        first = steps - ((spikes != 0) * rank).amax(0)
        return torch.where(first < steps, first, math.inf)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)
        ctx.steps = inputs[0].shape[0]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (time,) = ctx.saved_tensors
        return _scatter(grad, time, ctx.steps)


class _TimesToTrain(torch.autograd.Function):
    @staticmethod
    def forward(spike_time, num_steps):
        tick = spike_time.ceil()
        return _scatter(-torch.ones_like(tick), tick, num_steps)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0].ceil())
        ctx.num_steps = inputs[1]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (tick,) = ctx.saved_tensors
        fires = tick < ctx.num_steps
        index = torch.where(fires, tick, 0).long()[None]
        return torch.where(fires, -grad.gather(0, index)[0], 0), None


def _scatter(value: Tensor, tick: Tensor, num_steps: int) -> Tensor:
    """A train of zeros that holds -value at each tick; dt/ds = -1."""
    fires = tick < num_steps
    train = value.new_zeros(num_steps, *value.shape)
    index = torch.where(fires, tick, 0).long()[None]
    return train.scatter_(0, index, torch.where(fires, -value, 0)[None])


def train_to_times(spikes: Tensor) -> Tensor:
    """First-spike times of spike trains.

        t = min { n : s[n] != 0 },    dL/ds[t] = -dL/dt, 0 elsewhere

    Args:
        spikes: Spike trains, (time, batch, ...), floating point.

    Returns:
        Index of the first spike in ticks, (batch, ...), inf = silent.

    Raises:
        TypeError: spikes is not a floating-point tensor.
        ValueError: spikes has no time step.
    """
    if not spikes.is_floating_point():
        raise TypeError(f"spikes is {spikes.dtype}; convert it with .float().")
    if spikes.dim() < 1 or spikes.shape[0] < 1:
        raise ValueError(
            f"spikes has shape {tuple(spikes.shape)}; time comes first, with at least "
            "one step."
        )
    return _TrainToTimes.apply(spikes)


def times_to_train(spike_time: Tensor, num_steps: int) -> Tensor:
    """Spike trains with one spike at each time, rounded up to the next tick.

        s[n] = 1 if n = ceil(t) else 0,    dL/dt = -dL/ds[ceil(t)]

    Args:
        spike_time: Times in ticks, (batch, ...), inf = silent; at least -1 exclusive.
        num_steps: Number of ticks T >= 1; a spike after tick T - 1 is lost (silent).

    Returns:
        Spike trains of 0 and 1, (num_steps, batch, ...), in the dtype of the input.

    Raises:
        TypeError: spike_time is not a floating-point tensor.
        ValueError: num_steps < 1, or a spike lies before tick 0 or is NaN.
    """
    if not spike_time.is_floating_point():
        raise TypeError(f"spike_time is {spike_time.dtype}; convert it with .float().")
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}; it must be at least 1.")
    if spike_time.numel() and not bool((spike_time.detach() > -1).all()):
        raise ValueError(
            f"spike_time holds {float(spike_time.detach().min())}, which lies before "
            "tick 0 or is NaN; shift the times so that the window starts at 0."
        )
    return _TimesToTrain.apply(spike_time, num_steps)
