"""Layers without weights on spike times: pooling, silence dropout, grid of ticks."""

import math

import torch
from torch import Tensor, nn

from snn_temporal_plugins.functional.rounding import round_up
from snn_temporal_plugins.kernels import earliest_spike


class EarliestSpikePool2d(nn.Module):
    """The earliest spike of each window passes: one spike per output by construction.

        t_out = min over the window of t_in

    The gradient goes to the earliest input only (to the first in memory order if tied);
    a silent window stays silent.

    Args:
        kernel_size: Side of the square window.
        stride: Step between windows; None = kernel_size.
        padding: Silent border on every side, at most half the window.

    Raises:
        ValueError: a size is out of range.
    """

    def __init__(
        self, kernel_size: int, *, stride: int | None = None, padding: int = 0
    ) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        if kernel_size < 1 or stride < 1 or not 0 <= padding <= kernel_size // 2:
            raise ValueError(
                f"kernel_size is {kernel_size}, stride {stride}, padding {padding}; "
                "allowed are kernel_size >= 1, stride >= 1 and padding from 0 to "
                "kernel_size // 2."
            )
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding

    def forward(self, spike_time: Tensor) -> Tensor:
        """Spike times (batch, channel, H, W) to (batch, channel, H', W')."""
        image = tuple(spike_time.shape[-2:])
        if min(image) + 2 * self.padding < self.kernel_size:
            raise ValueError(
                f"input of {image} with padding {self.padding} is smaller than the "
                f"window of side {self.kernel_size}."
            )
        slide = self.kernel_size, self.stride, self.padding
        return earliest_spike(spike_time, *slide)[0]

    def extra_repr(self) -> str:
        """Sizes, for print(network)."""
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"


class SilenceDropout(nn.Module):
    """Dropout for spike times: in training each spike is made silent by chance.

    Nothing is rescaled: a ReL-PSP neuron with fewer inputs fires later, not less.

    Args:
        p: Probability of silence, 0 <= p < 1.

    Raises:
        ValueError: p is out of range.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}; it must be at least 0 and below 1.")
        self.p = p

    def forward(self, spike_time: Tensor) -> Tensor:
        """Spike times in, spike times of the same shape out."""
        if not self.training or self.p == 0:
            return spike_time
        kept = (torch.rand_like(spike_time) >= self.p).to(spike_time.dtype)
        # + 0 or + inf: no mask is kept for the backward, where a silent input of the
        # next layer gets no gradient anyway
        return spike_time + (kept.reciprocal() - 1)

    def extra_repr(self) -> str:
        """Probability, for print(network)."""
        return f"p={self.p}"


class TickGrid(nn.Module):
    """Spike times in ticks are rounded up to whole ticks, as hardware sees them.

        t_out = ceil(t) where ceil(t) <= T - 1, else inf;   dL/dt = dL/dt_out

    Between ReL-PSP layers it gives the spike times of an integer network. The backward
    is straight through; where the output is silent the gradient is 0.

    Args:
        num_ticks: Number of ticks T; the last is T - 1.

    Raises:
        ValueError: num_ticks is below 1.
    """

    def __init__(self, num_ticks: int) -> None:
        super().__init__()
        if num_ticks < 1:
            raise ValueError(f"num_ticks is {num_ticks}; it must be at least 1.")
        self.num_ticks = num_ticks

    def forward(self, spike_time: Tensor) -> Tensor:
        """Spike times (batch, ...) to whole ticks of the same shape, inf = silent."""
        tick = round_up(spike_time)
        return torch.where(tick < self.num_ticks, tick, math.inf)

    def extra_repr(self) -> str:
        """Number of ticks, for print(network)."""
        return f"num_ticks={self.num_ticks}"
