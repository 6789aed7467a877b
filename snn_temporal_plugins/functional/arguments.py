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
