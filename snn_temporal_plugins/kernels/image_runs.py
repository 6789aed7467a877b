"""Synapses of images as runs: where the spikes of a pixel act, and with which weights.

Held as (height, width, map), the neurons that a row of a kernel reaches from one pixel
lie side by side in memory. So do their weights, held as (channel, row, column, map), if
the columns are sorted by their remainder by the stride, and backwards: the next neuron
to the right sees the pixel through a column so many places to the left.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Runs(NamedTuple):
    """Where the spikes of each pixel act; neurons in the order (height, width, map).

    Attributes:
        start: First neuron of each run, (pixels, runs).
        offset: Its weight, (pixels, runs).
        length: Neurons in the run, 0 where there is none, (pixels, runs).
        place: Of each neuron in the order (map, height, width), (neurons,).
        column: Order of a kernel's columns, by their remainder, then backwards.
    """

    start: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    place: np.ndarray
    column: np.ndarray


@lru_cache(maxsize=32)
def _convolution(
    image: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: int
) -> Runs:
    """Runs of a convolution: one for each row of the kernel that meets the pixel."""
    outputs, _, rows, columns = kernel
    height, width = slid(image[1:], kernel[2:], stride, padding)
    column = np.array(sorted(range(columns), key=lambda x: (x % stride, -x)))
    position = np.argsort(column)
    c, y, x, row = np.indices((*image, rows)).reshape(4, -1)
    above, left = y + padding - row, x + padding
    down = above // stride
    first = np.maximum(0, -((columns - 1 - left) // stride))
    last = np.minimum(width - 1, left // stride)
    meets = (above % stride == 0) & (0 <= down) & (down < height) & (first <= last)
    first = np.where(meets, first, 0)
    nearest = position[np.where(meets, left - first * stride, 0)]
    start = (down * width + first) * outputs
    offset = ((c * rows + row) * columns + nearest) * outputs
    length = np.where(meets, last - first + 1, 0) * outputs
    place = np.arange(outputs * height * width).reshape(outputs, height, width)
    return Runs(
        np.where(meets, start, 0).reshape(-1, rows),
        offset.reshape(-1, rows),
        length.reshape(-1, rows),
        place.transpose(1, 2, 0).ravel(),
        column,
    )


@lru_cache(maxsize=32)
def _pool(image: tuple[int, ...], side: int) -> Runs:
    """Runs of a pool: one neuron and the weight 1, or none behind the last window."""
    height, width = (n // side for n in image[1:])
    c, y, x = np.indices(image)
    inside = (y // side < height) & (x // side < width)
    neuron = (c * height + y // side) * width + x // side
    start = np.where(inside, neuron, 0).reshape(-1, 1)
    place = np.arange(image[0] * height * width)
    length = inside.reshape(-1, 1).astype(np.int64)
    return Runs(start, np.zeros_like(start), length, place, np.arange(1))


def slid(
    image: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: int
) -> list[int]:
    """Places of a kernel that slides over an image, down and across.

    Args:
        image: Height and width.
        kernel: Rows and columns.
        stride: Step between places.
        padding: Border on every side.
    """
    return [
        (n + 2 * padding - side) // stride + 1
        for n, side in zip(image, kernel, strict=True)
    ]


def runs_of(x: Tensor, weight: Tensor, stride: int, padding: int) -> Runs:
    """Runs of a convolution or a pool.

    Args:
        x: Input, (time, batch, channel, height, width).
        weight: Kernel, (out, channel, rows, columns), or empty, a pool.
        stride: Step between patches; of a pool the side of its windows.
        padding: Silent border on every side.

    Returns:
        The runs; the same for all inputs of this shape.
    """
    image = tuple(x.shape[2:])
    if not len(weight):
        return _pool(image, stride)
    return _convolution(image, tuple(weight.shape), stride, padding)


def to_table(weight: Tensor, runs: Runs) -> np.ndarray:
    """Weights in the order of the runs.

    Args:
        weight: Kernel, or empty, a pool.
        runs: Its runs.

    Returns:
        (channel, row, column, out) flat; 1 for a pool.
    """
    if not len(weight):
        return np.ones(1, weight.numpy().dtype)
    column = torch.from_numpy(runs.column)
    return weight.permute(1, 2, 3, 0)[:, :, column].contiguous().view(-1).numpy()


def from_table(table: np.ndarray, weight: Tensor, runs: Runs) -> Tensor:
    """What has the order of the runs in the order of the weights.

    Args:
        table: As `to_table` gives it.
        weight: Kernel, for its shape.
        runs: Its runs.

    Returns:
        The shape of `weight`.
    """
    outputs, channels, *kernel = weight.shape
    ordered = torch.from_numpy(table).view(channels, *kernel, outputs)
    back = ordered[:, :, torch.from_numpy(np.argsort(runs.column))]
    return back.permute(3, 0, 1, 2).contiguous()
