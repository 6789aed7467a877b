"""Normalise intensities, by one mean for all pixels or by one per channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def normalised(
    x: Tensor, mean: float | Sequence[float], std: float | Sequence[float]
) -> Tensor:
    """Return (x - mean) / std.

    Args:
        x: Intensities; where a value per channel is given, images `(..., channel,
            height, width)`.
        mean: One number, or one per channel.
        std: One number, or one per channel.

    Returns:
        The same shape; x itself where there is nothing to do.

    Raises:
        ValueError: If the images have another number of channels.
    """
    if not isinstance(mean, Sequence) and not isinstance(std, Sequence):
        return x if mean == 0 and std == 1 else (x - mean) / std
    channels = _channels(mean) or _channels(std)
    if x.dim() < 4 or x.shape[-3] != channels:
        raise ValueError(
            f"mean and std are given for {channels} channels, but x has the shape "
            f"{tuple(x.shape)}: expected (batch, {channels}, height, width), or one "
            f"number for all"
        )
    shift, scale = (
        torch.as_tensor(value, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
        for value in (mean, std)
    )
    return (x - shift) / scale


def require_mean_and_std(
    mean: float | Sequence[float], std: float | Sequence[float]
) -> None:
    """Raise unless x can be normalised by these.

    Args:
        mean: One number, or one per channel.
        std: One number, or one per channel.

    Raises:
        ValueError: If one is out of range, or they are for different numbers of
            channels.
    """
    for name, value in (("mean", mean), ("std", std)):
        values = value if isinstance(value, Sequence) else [value]
        good = [math.isfinite(one) and (name == "mean" or one > 0) for one in values]
        if not good or not all(good):
            raise ValueError(
                f"{name} is {value}, allowed is "
                f"{'a number' if name == 'mean' else 'a number above 0'}, or one per "
                f"channel"
            )
    counts = {_channels(mean), _channels(std)} - {None}
    if len(counts) > 1:
        raise ValueError(
            f"mean is {mean} and std is {std}: give both for the same channels"
        )


def _channels(value: float | Sequence[float]) -> int | None:
    return len(value) if isinstance(value, Sequence) else None
