"""Sizes of layers, and the patches over which a convolution on spike times slides."""

import math

import torch.nn.functional as F
from torch import Tensor


def require_sizes(weight_shape: tuple[int, ...]) -> None:
    """Raise unless every size of the weights is at least 1.

    Args:
        weight_shape: Shape of the weights.

    Raises:
        ValueError: one is smaller.
    """
    if min(weight_shape) < 1:
        raise ValueError(
            f"layer sizes are {weight_shape}; every one must be at least 1."
        )


def require_slide(stride: int, padding: int) -> None:
    """Raise unless a kernel can slide with this stride and padding.

    Args:
        stride: Step between patches.
        padding: Border on every side.

    Raises:
        ValueError: one is out of range.
    """
    if stride < 1 or padding < 0:
        raise ValueError(
            f"stride is {stride} and padding {padding}; allowed are stride >= 1 "
            "and padding >= 0."
        )


def patches(
    spike_time: Tensor, channels: int, kernel_size: int, stride: int, padding: int
) -> tuple[Tensor, tuple[int, int]]:
    """Cut spike times into the patches of a convolution; the border is silent.

    Args:
        spike_time: Spike times, (batch, channel, height, width), inf = silent.
        channels: Number of maps that the layer takes.
        kernel_size: Side of the square kernel.
        stride: Step between patches.
        padding: Silent border on every side.

    Returns:
        Patches, (batch, place, channel * side * side), and the number of places down
        and across.

    Raises:
        ValueError: the input has another shape, or is smaller than the kernel.
    """
    if spike_time.dim() != 4 or spike_time.shape[1] != channels:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)}; expected "
            f"(batch, {channels}, height, width)."
        )
    padded = F.pad(spike_time, (padding, padding, padding, padding), value=math.inf)
    height, width = ((n - kernel_size) // stride + 1 for n in padded.shape[2:])
    if height < 1 or width < 1:
        raise ValueError(
            f"input of {tuple(spike_time.shape[2:])} with padding {padding} is "
            f"smaller than the kernel of side {kernel_size}."
        )
    cut = F.unfold(padded, kernel_size, stride=stride)
    return cut.transpose(1, 2), (height, width)
