"""Integrate-and-fire layers on whole windows in Norse's call protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from snn_temporal_plugins import neurons
from snn_temporal_plugins.adapters.norse_window import WindowProtocol
from snn_temporal_plugins.adapters.window import IFWindow


class IFParameters(NamedTuple):
    """Parameters of integrate-and-fire neurons; checked by the layer.

    They are plain numbers: they pickle, and nothing of them is learned. The step form
    takes `v_th` alone, because the other settings need the whole window.

    Attributes:
        v_th: threshold > 0, in the unit of the weights.
        a: strengthening of inputs at or before the output spike.
        b: weakening of later and silent inputs.
        compat: "released" for the numbers of SSTDP's released code.
        method_options: further settings of `sstdp`, such as `tau_stdp` or `normalize`.
    """

    v_th: float = 1.0
    a: float = 1.0
    b: float = 0.0
    compat: Literal["released"] | None = None
    method_options: Mapping[str, Any] | None = None


def require_if_parameters(p: object) -> IFParameters:
    """Return the parameters, the defaults for None.

    Args:
        p: what a user passed.

    Returns:
        The parameters.

    Raises:
        TypeError: it is something else, such as Norse's `IAFParameters`.
    """
    if p is None:
        return IFParameters()
    if not isinstance(p, IFParameters):
        raise TypeError(
            f"p is a {type(p).__name__}; integrate-and-fire neurons that spike once "
            "take IFParameters, e.g. IFParameters(v_th=1.0)"
        )
    return p


class IFLinear(WindowProtocol, IFWindow):
    """Fully connected integrate-and-fire layer that learns by SSTDP.

    It takes and gives whole trains (time, batch, features); the number of ticks of the
    rule is the length of the train.

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        p: parameters; None: `IFParameters()`.
        weight_mean: mean of the start weights.
        weight_gain: their standard deviation times sqrt(fan-in).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: IFParameters | None = None,
        *,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
    ) -> None:
        core = neurons.IFLinear(
            in_features,
            out_features,
            weight_mean=weight_mean,
            weight_gain=weight_gain,
            **_neuron(p),
        )
        super().__init__(core)


class IFConv2d(WindowProtocol, IFWindow):
    """Integrate-and-fire convolution that learns by SSTDP.

    It takes and gives whole trains (time, batch, channel, height, width).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        p: parameters; None: `IFParameters()`.
        stride: step between patches.
        padding: silent rows and columns on each side.
        weight_mean: mean of the start weights.
        weight_gain: their standard deviation times sqrt(fan-in).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        p: IFParameters | None = None,
        *,
        stride: int = 1,
        padding: int = 0,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
    ) -> None:
        core = neurons.IFConv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            weight_mean=weight_mean,
            weight_gain=weight_gain,
            **_neuron(p),
        )
        super().__init__(core)


def _neuron(p: IFParameters | None) -> dict[str, Any]:
    """What the core calls the parameters."""
    options = require_if_parameters(p)._asdict()
    options["rule_options"] = options.pop("method_options")
    return options
