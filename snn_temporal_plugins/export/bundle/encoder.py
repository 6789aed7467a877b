"""From pixels and real spike times to input ticks."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from snn_temporal_plugins.export.bundle.integer import SILENT, IntegerNetwork
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.functional import latency_encode, latency_ticks
from snn_temporal_plugins.functional.rounding import nearest_tick

__all__ = ["encode_pixels", "latency_lut", "latency_ticks_lut", "to_ticks"]


def to_ticks(
    spike_time: Tensor | ArrayLike, network: IntegerNetwork
) -> NDArray[np.int32]:
    """Put real spike times on the grid of a network.

    Times go to the nearest tick; a time past the last tick is silent.

    Args:
        spike_time: any shape, in the unit of time in which the network was trained,
            `inf` where silent.
        network: the network whose grid is meant.

    Returns:
        Ticks of the same shape, `SILENT` (65535) where silent.

    Raises:
        ValueError: if a time is NaN or negative.
    """
    if isinstance(spike_time, Tensor):
        spike_time = spike_time.detach().cpu().numpy()
    times = np.asarray(spike_time, dtype=np.float64)
    if not (times >= 0).all():
        bad = times[~(times >= 0)].flat[0]
        raise ValueError(
            f"spike time {bad} is not on the grid; allowed: 0 to {network.num_ticks} "
            f"ticks of {network.tick:g}, or inf for silence"
        )
    ticks = nearest_tick(torch.tensor(times), network.num_ticks, network.tick).numpy()
    return np.where(ticks == math.inf, SILENT, ticks).astype(np.int32)


def latency_lut(
    network: IntegerNetwork, *, window: float = 1.0, silent_zero: bool = True
) -> NDArray[np.uint16]:
    """Tick of each pixel value, brighter is earlier.

        t = window * (1 - pixel / 255)

    It is the tick of `latency_encode` of `pixel / 255` in float32, bit for bit.

    Args:
        network: the network whose grid is meant.
        window: length of the input window, in the network's unit of time.
        silent_zero: whether pixel 0 is silent instead of a spike at `window`.

    Returns:
        `(256,)` ticks, `SILENT` (65535) for none.

    Raises:
        ExportError: if the window is not positive and finite.
    """
    if not 0 < window < math.inf:
        raise ExportError(
            ExportCode.PARAMETER, f"window is {window}; allowed: above 0 and finite"
        )
    intensity = torch.arange(256, dtype=torch.float32) / 255
    times = latency_encode(intensity, window=window, silent_zero=silent_zero)
    return to_ticks(times, network).astype(np.uint16)


def latency_ticks_lut(
    network: IntegerNetwork, *, x_min: float = 0.0
) -> NDArray[np.uint16]:
    """Tick of each pixel value in the code of SSTDP, brighter is earlier.

        t = round((1 - pixel / 255) (T - 1)), half to even, T ticks of the network

    It is `latency_ticks` of `pixel / 255` in float32, bit for bit.

    Args:
        network: the network whose ticks are meant.
        x_min: pixels up to `255 x_min` are silent; below 0: none.

    Returns:
        `(256,)` ticks, `SILENT` (65535) for none.
    """
    intensity = torch.arange(256, dtype=torch.float32) / 255
    times = latency_ticks(intensity, network.num_ticks, x_min=x_min).numpy()
    return np.where(times == math.inf, SILENT, times).astype(np.uint16)


def encode_pixels(lut: NDArray[np.uint16], pixels: ArrayLike) -> NDArray[np.int32]:
    """Look up the tick of every pixel.

    Args:
        lut: `(256,)` ticks.
        pixels: uint8, any shape.

    Returns:
        Ticks of the same shape.

    Raises:
        ValueError: if the pixels are not uint8.
    """
    array = np.asarray(pixels)
    if array.dtype != np.uint8:
        raise ValueError(
            f"pixels have dtype {array.dtype}; allowed: uint8. Use "
            "(255 * image).round() as uint8"
        )
    return lut.astype(np.int32)[array]
