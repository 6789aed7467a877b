"""One layer of neurons copied out of torch, or a refusal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import ConvLayer, DenseLayer
from snn_temporal_plugins.neurons import (
    IFConv2d,
    IFLinear,
    ReLPSPConv2d,
    ReLPSPLinear,
)
from snn_temporal_plugins.rules import get_rule

__all__ = [
    "check_numbers",
    "check_ramp",
    "check_step",
    "check_values",
    "spiking_layer",
    "square",
    "to_array",
]


def spiking_layer(
    label: str, module: nn.Module, weight: Tensor, v_th: Tensor | float
) -> DenseLayer | ConvLayer:
    """Copy weights and thresholds out of torch, checked."""
    weights = to_array(weight)
    thresholds = np.broadcast_to(to_array(v_th).reshape(-1), (len(weights),)).copy()
    check_values(label, weights, thresholds)
    if weights.ndim == 2:
        return DenseLayer(weights, thresholds)
    _check_geometry(label, module, weights.shape)
    return ConvLayer(
        weights,
        thresholds,
        stride=square(module.stride, label, "stride"),
        padding=square(module.padding, label, "padding"),
    )


def check_ramp(label: str, core: ReLPSPLinear | ReLPSPConv2d) -> None:
    """Refuse a rule whose neuron is another one than the layer's name says.

    Args:
        label: name of the layer, for the error.
        core: the layer.

    Raises:
        ExportError: if the rule's neuron is no ramp.
    """
    if get_rule(core.rule).response != "ramp":
        raise ExportError(
            ExportCode.RULE,
            f"{label} uses rule {core.rule!r}, whose neuron is no ramp; allowed: rules "
            "such as 'stdbp'",
        )


def check_step(label: str, core: IFLinear | IFConv2d) -> None:
    """Refuse settings of the rule that make another neuron.

    Args:
        label: name of the layer, for the error.
        core: the layer.

    Raises:
        ExportError: for a leak and for the released code's window.
    """
    if core.rule_options.get("tau_mem") is not None:
        raise ExportError(
            ExportCode.LEAK,
            f"{label} has tau_mem={core.rule_options['tau_mem']}, and an exported "
            "neuron does not leak; train with tau_mem=None",
        )
    if core.rule_options.get("compat") is not None:
        raise ExportError(
            ExportCode.RULE,
            f"{label} has compat={core.rule_options['compat']!r}, which drops the "
            "inputs of the last two ticks; allowed: None. The same weights give the "
            "same spikes with compat=None, num_steps 2 lower and those inputs silent",
        )


def check_values(
    label: str, weights: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> None:
    """Refuse numbers that no exported format can hold, or that never fire.

    Args:
        label: name of the layer, for the error.
        weights: `(out, ...)`.
        thresholds: `(out,)`.

    Raises:
        ExportError: for NaN, infinity, thresholds not above 0, rows of zeros.
    """
    check_numbers(label, weights, thresholds)
    zero = ~weights.reshape(len(weights), -1).any(axis=1)
    if zero.any():
        raise ExportError(
            ExportCode.ZERO_ROW,
            f"{label}: all weights of neuron {int(zero.argmax())} (and "
            f"{int(zero.sum()) - 1} others) are 0, it can never fire; remove it",
        )


def check_numbers(
    label: str, weights: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> None:
    """Refuse numbers that no exported format can hold.

    Args:
        label: name of the layer, for the error.
        weights: `(out, ...)`.
        thresholds: `(out,)`.

    Raises:
        ExportError: for NaN, infinity, thresholds not above 0.
    """
    for what, values in (("weight", weights), ("v_th", thresholds)):
        if not np.isfinite(values).all():
            raise ExportError(
                ExportCode.NOT_FINITE,
                f"{label}: {what} holds NaN or infinity; allowed: finite numbers. "
                "Load an earlier checkpoint",
            )
    if not (thresholds > 0).all():
        raise ExportError(
            ExportCode.THRESHOLD,
            f"{label}: v_th {thresholds.min():g} is not above 0",
        )


def _check_geometry(label: str, module: nn.Module, shape: tuple[int, ...]) -> None:
    """Refuse convolutions that the exported formats do not describe."""
    if getattr(module, "groups", 1) != 1:
        raise ExportError(
            ExportCode.GROUPS, f"{label} has groups={module.groups}; allowed: 1"
        )
    if shape[2] != shape[3]:
        raise ExportError(
            ExportCode.KERNEL,
            f"{label} has a {shape[2]}x{shape[3]} kernel; allowed: square kernels",
        )
    if square(getattr(module, "dilation", 1), label, "dilation") != 1:
        raise ExportError(
            ExportCode.GEOMETRY, f"{label} has dilation {module.dilation}; allowed: 1"
        )
    mode = getattr(module, "padding_mode", "zeros")
    if mode != "zeros":
        raise ExportError(
            ExportCode.GEOMETRY,
            f"{label} has padding_mode {mode!r}; allowed: 'zeros', which is silence",
        )


def square(value: object, label: str, what: str) -> int:
    """One integer out of an int or a pair of equal ints."""
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2 or pair[0] != pair[1] or not isinstance(pair[0], int):
        raise ExportError(
            ExportCode.GEOMETRY,
            f"{label} has {what}={value!r}; allowed: one number for both directions",
        )
    return pair[0]


def to_array(value: Tensor | float) -> NDArray[np.float64]:
    """Copy a number or a tensor of any float type out of torch."""
    if isinstance(value, Tensor):
        return value.detach().cpu().double().numpy().copy()
    return np.asarray(value, dtype=np.float64)
