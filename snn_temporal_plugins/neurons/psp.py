"""Layers without weights on PSPs: input filter, pooling, dropout, flattening."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from snn_temporal_plugins.functional.lif import (
    psp_filter,
    require_time_constant,
    require_window,
)


class PSPFilter(nn.Module):
    """Input filter: spikes, or a current, become postsynaptic potentials.

        a[t] = a[t-1] + (x[t] - a[t-1]) / tau_syn,   a[-1] = 0

    Args:
        tau_syn: Synaptic time constant >= 1, in steps.

    Raises:
        ValueError: tau_syn is below 1.
    """

    def __init__(self, tau_syn: float = 3.0) -> None:
        super().__init__()
        require_time_constant("tau_syn", tau_syn)
        self.tau_syn = tau_syn

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (time, batch, ...) to PSPs of the same shape."""
        return psp_filter(x, self.tau_syn)

    def extra_repr(self) -> str:
        """Time constant, for print(network)."""
        return f"tau_syn={self.tau_syn}"


class _SumPoolFunction(torch.autograd.Function):
    # Sums of strided views: several times faster than avg_pool2d on the CPU.
    @staticmethod
    def forward(x, side, gain):
        height, width = (n // side * side for n in x.shape[-2:])
        x = x[..., :height, :width]
        rows = x[..., ::side, :]
        for k in range(1, side):
            rows = rows + x[..., k::side, :]
        total = rows[..., ::side]
        for k in range(1, side):
            total = total + rows[..., k::side]
        return total * gain

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.side, ctx.gain = inputs
        ctx.shape = x.shape

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        *outer, height, width = grad.shape
        side = ctx.side
        # every value widened to a row of its window, then the row to its window
        grad_x = grad.new_empty(*outer, height, side, width * side)
        grad = grad * ctx.gain
        for k in range(side):
            grad_x[..., 0, k::side] = grad
        grad_x[..., 1:, :] = grad_x[..., :1, :]
        grad_x = grad_x.view(*outer, height * side, width * side)
        rows, columns = (n % side for n in ctx.shape[-2:])
        if rows or columns:  # what filled no window
            grad_x = F.pad(grad_x, (0, columns, 0, rows))
        return grad_x, None, None


class PSPPool2d(nn.Module):
    """Sum pooling of PSPs, times a gain: the synapses of a pool with equal weights.

        a_out = gain * sum over the window of a_in

    Not an average: with the gain 1.1 of the released code a 2x2 window amplifies by
    4.4, which is part of the working recipe. There are no neurons in it.

    Args:
        kernel_size: Side of the square window, and the step between windows; rows and
            columns that fill no window are left out.
        gain: Weight of every input.

    Raises:
        ValueError: kernel_size is below 1.

    Reference:
        Zhang and Li, NeurIPS 2020 (TSSL-BP), released code.
    """

    def __init__(self, kernel_size: int, *, gain: float = 1.1) -> None:
        super().__init__()
        if kernel_size < 1:
            raise ValueError(f"kernel_size is {kernel_size}; it must be at least 1.")
        self.kernel_size = kernel_size
        self.gain = gain

    def forward(self, psp: Tensor) -> Tensor:
        """PSPs (..., H, W) to (..., H', W')."""
        if psp.dim() < 2 or min(psp.shape[-2:]) < self.kernel_size:
            raise ValueError(
                f"input has shape {tuple(psp.shape)}; it must end in (height, width), "
                f"each at least the kernel of side {self.kernel_size}."
            )
        return _SumPoolFunction.apply(psp, self.kernel_size, self.gain)

    def extra_repr(self) -> str:
        """Sizes, for print(network)."""
        return f"{self.kernel_size}, gain={self.gain}"


class PSPDropout(nn.Module):
    """Dropout of PSPs: in training a neuron is cut off for the whole window.

    One draw per sample, channel and row of an image, shared over its columns and over
    time, as the released code had it with the PyTorch of 2020; per sample and neuron
    for vectors. What is kept is scaled by 1 / (1 - p).

    Args:
        p: Probability that a row or neuron is dropped, 0 <= p < 1.

    Raises:
        ValueError: p is out of range.

    Reference:
        Zhang and Li, NeurIPS 2020 (TSSL-BP), released code.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}; it must be at least 0 and below 1.")
        self.p = p

    def forward(self, psp: Tensor) -> Tensor:
        """PSPs (time, batch, ...) in, PSPs of the same shape out."""
        if not self.training or self.p == 0:
            return psp
        require_window("psp", psp)
        drawn = psp[0].detach() if psp.dim() < 5 else psp[0, ..., :1].detach()
        keep = (torch.rand_like(drawn) >= self.p).to(psp.dtype) / (1 - self.p)
        return psp * keep

    def extra_repr(self) -> str:
        """Probability, for print(network)."""
        return f"p={self.p}"


class TimeFlatten(nn.Module):
    """Flatten what each step holds: (time, batch, ...) to (time, batch, neurons)."""

    def forward(self, psp: Tensor) -> Tensor:
        """PSPs (time, batch, ...) to (time, batch, neurons)."""
        return psp.flatten(2)
