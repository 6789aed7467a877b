"""Checks of arguments that several rules and functions share."""

import math

import torch
from torch import Tensor


def require_floating(name: str, value: object) -> None:
    """Raise unless a value is a floating-point tensor.

    Args:
        name: What the error calls it.
        value: The value.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} is {kind}; it must be a floating-point tensor.")


def require_synapses(spike_time: Tensor, weight: Tensor) -> None:
    """Raise unless spike times and weights are floating point, and weights (out, in).

    Args:
        spike_time: Input spike times.
        weight: Synaptic weights.

    Raises:
        TypeError: one is not a floating-point tensor.
        ValueError: weight is not (out, in).
    """
    require_floating("spike_time", spike_time)
    require_floating("weight", weight)
    if weight.dim() != 2:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}; it must be (out, in)."
        )


def require_convolution(
    spike_time: Tensor, weight: Tensor, stride: int, padding: int
) -> None:
    """Raise unless a square kernel can slide over maps of spike times.

    Args:
        spike_time: Input spike times.
        weight: Synaptic weights.
        stride: Step between places.
        padding: Silent border on every side.

    Raises:
        TypeError: one is not a floating-point tensor, or their types differ.
        ValueError: spike_time is not (batch, channel, height, width), weight not (map,
            channel, side, side), the map is smaller than the kernel, or stride or
            padding is out of range.
    """
    require_floating("spike_time", spike_time)
    require_floating("weight", weight)
    if weight.dim() != 4 or weight.shape[2] != weight.shape[3]:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}; expected (map, channel, side, "
            "side)."
        )
    if spike_time.dim() != 4 or spike_time.shape[1] != weight.shape[1]:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)}; expected "
            f"(batch, {weight.shape[1]}, height, width)."
        )
    require_slide(stride, padding)
    if min(spike_time.shape[2:]) + 2 * padding < weight.shape[2]:
        raise ValueError(
            f"input of {tuple(spike_time.shape[2:])} with padding {padding} is "
            f"smaller than the kernel of side {weight.shape[2]}."
        )
    require_one_kind(spike_time, weight)


def require_slide(stride: int, padding: int) -> None:
    """Raise unless a kernel can slide with this stride and padding.

    Args:
        stride: Step between places.
        padding: Border on every side.

    Raises:
        ValueError: one is out of range.
    """
    if stride < 1 or padding < 0:
        raise ValueError(
            f"stride is {stride} and padding {padding}; allowed are stride >= 1 "
            "and padding >= 0."
        )


def require_one_kind(spike_time: Tensor, weight: Tensor) -> None:
    """Raise unless spike times and weights have one dtype and one device.

    Args:
        spike_time: Input spike times.
        weight: Synaptic weights.

    Raises:
        TypeError: the dtypes differ.
        ValueError: the devices differ.
    """
    if spike_time.dtype != weight.dtype:
        raise TypeError(
            f"spike_time is {spike_time.dtype} but weight is {weight.dtype}; convert "
            "one, for example spike_time.to(weight.dtype)."
        )
    if spike_time.device != weight.device:
        raise ValueError(
            f"spike_time is on {spike_time.device} but weight is on {weight.device}; "
            "move one with .to(device)."
        )


def threshold_per_neuron(v_th: float | Tensor, weight: Tensor) -> Tensor:
    """Thresholds of a layer, one for each neuron.

    Args:
        v_th: A number > 0, or a tensor () or (out,).
        weight: Synaptic weights, (out, in).

    Returns:
        Thresholds, (out,), dtype and device of the weights.

    Raises:
        ValueError: the number is not positive and finite, or the shape does not fit.
    """
    outputs = weight.shape[0]
    if not isinstance(v_th, Tensor):
        if not 0 < v_th < math.inf:
            raise ValueError(f"v_th is {v_th}; it must be positive and finite.")
        v_th = torch.full((outputs,), v_th, dtype=weight.dtype, device=weight.device)
    elif v_th.shape not in ((), (outputs,)):
        raise ValueError(
            f"v_th has shape {tuple(v_th.shape)}; allowed are () or ({outputs},), "
            "one threshold per output neuron."
        )
    return v_th.to(weight).expand(outputs)
