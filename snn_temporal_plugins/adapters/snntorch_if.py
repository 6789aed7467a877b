"""Integrate-and-fire layers on whole windows in snnTorch's call protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from snn_temporal_plugins import neurons
from snn_temporal_plugins.adapters.snntorch_window import WindowProtocol
from snn_temporal_plugins.adapters.window import IFWindow


class IFLinear(WindowProtocol, IFWindow):
    """Fully connected integrate-and-fire layer that learns by SSTDP.

    It takes and gives whole trains (time, batch, features); the number of ticks of the
    rule is the length of the train.

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        threshold: v_th > 0, in the unit of the weights.
        a: strengthening of inputs at or before the output spike.
        b: weakening of later and silent inputs.
        compat: "released" for the numbers of the released code.
        rule_options: further settings of `sstdp`, such as `tau_stdp` or `normalize`.
        output: give (spk, spike_times); False gives spk alone, for `nn.Sequential`.
        weight_mean: mean of the start weights.
        weight_gain: their standard deviation times sqrt(fan-in).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        threshold: float = 1.0,
        a: float = 1.0,
        b: float = 0.0,
        compat: Literal["released"] | None = None,
        rule_options: Mapping[str, Any] | None = None,
        output: bool = True,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
    ) -> None:
        core = neurons.IFLinear(
            in_features,
            out_features,
            v_th=threshold,
            a=a,
            b=b,
            compat=compat,
            weight_mean=weight_mean,
            weight_gain=weight_gain,
            rule_options=rule_options,
        )
        super().__init__(core)
        self.output = output


class IFConv2d(WindowProtocol, IFWindow):
    """Integrate-and-fire convolution that learns by SSTDP.

    It takes and gives whole trains (time, batch, channel, height, width).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        stride: step between patches.
        padding: silent rows and columns on each side.
        threshold: as in `IFLinear`, like all that follow.
        a: strengthening.
        b: weakening.
        compat: numbers of the released code.
        rule_options: further settings of `sstdp`.
        output: give (spk, spike_times) or spk alone.
        weight_mean: mean of the start weights.
        weight_gain: their standard deviation times sqrt(fan-in).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        threshold: float = 1.0,
        a: float = 1.0,
        b: float = 0.0,
        compat: Literal["released"] | None = None,
        rule_options: Mapping[str, Any] | None = None,
        output: bool = True,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
    ) -> None:
        core = neurons.IFConv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            v_th=threshold,
            a=a,
            b=b,
            compat=compat,
            weight_mean=weight_mean,
            weight_gain=weight_gain,
            rule_options=rule_options,
        )
        super().__init__(core)
        self.output = output
