"""Window form of ReL-PSP layers in snnTorch's call protocol."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from snn_temporal_plugins import neurons
from snn_temporal_plugins.adapters.window import ReLPSPWindow, WindowLayer


class WindowProtocol(WindowLayer):
    """Call protocol: (spikes, times) like `LinearLeaky`, or spikes for `Sequential`."""

    output: bool
    spike_times: Tensor | None = None

    def forward(self, input_: Tensor) -> Any:
        """Compute a whole window.

        Args:
            input_: (time, batch, ...), 0/1; only each input's first spike acts.

        Returns:
            (spk, spike_times), or spk alone with `output=False`: spk (time, batch,
            ...) in the dtype of the input, spike_times (batch, ...) the exact times
            in ticks, `inf` where silent, also kept as the attribute `spike_times`.
        """
        spk, self.spike_times = self.run_window(input_)
        return (spk, self.spike_times) if self.output else spk

    def reset_mem(self) -> None:
        """Forget the spike times of the last window; nothing else is kept."""
        self.spike_times = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "spike_times": None}


class ReLPSPLinear(WindowProtocol, ReLPSPWindow):
    """Fully connected ReL-PSP layer on whole trains (time, batch, in_features).

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        threshold: v_th > 0.
        dt: length of a tick in the unit of time of the threshold; with inputs spread
            over 1 and answers until 2, a window of T ticks has dt = 2/T.
        rule: name of a learning rule on spike times.
        slope_clip: largest 1/slope in the gradient; None: no limit.
        learn_threshold: make the thresholds a parameter.
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
        dt: float = 0.01,
        rule: str = "stdbp",
        slope_clip: float | None = None,
        learn_threshold: bool = False,
        output: bool = True,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
    ) -> None:
        core = neurons.ReLPSPLinear(
            in_features,
            out_features,
            v_th=threshold,
            slope_clip=slope_clip,
            learn_threshold=learn_threshold,
            weight_mean=weight_mean,
            weight_gain=weight_gain,
            rule=rule,
        )
        super().__init__(core, dt)
        self.output = output


class ReLPSPConv2d(WindowProtocol, ReLPSPWindow):
    """ReL-PSP convolution on whole trains (time, batch, channel, height, width).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        stride: step between patches.
        padding: silent rows and columns on each side.
        threshold: as in `ReLPSPLinear`, like all that follow.
        dt: length of a tick.
        rule: learning rule.
        slope_clip: largest 1/slope in the gradient.
        learn_threshold: make the thresholds a parameter.
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
        dt: float = 0.01,
        rule: str = "stdbp",
        slope_clip: float | None = None,
        learn_threshold: bool = False,
        output: bool = True,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
    ) -> None:
        core = neurons.ReLPSPConv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            v_th=threshold,
            slope_clip=slope_clip,
            learn_threshold=learn_threshold,
            weight_mean=weight_mean,
            weight_gain=weight_gain,
            rule=rule,
        )
        super().__init__(core, dt)
        self.output = output
