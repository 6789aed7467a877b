"""Window form of ReL-PSP layers, encoder and decoder in Norse's call protocol."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snn_temporal_plugins import neurons
from snn_temporal_plugins.adapters.trains import latency
from snn_temporal_plugins.adapters.window import ReLPSPWindow, SpikeTimes, WindowLayer
from snn_temporal_plugins.functional.coding import train_to_times
from snn_temporal_plugins.rules import get_rule


class ReLPSPParameters(nn.Module):
    """Parameters of a ReL-PSP neuron; a module, so that they move, save and learn.

    Args:
        v_th: threshold > 0, a number or one per neuron.
        method: name of the learning rule, as `get_rule` lists them.
        slope_clip: largest 1/slope in the gradient; None: no limit.
        learn_threshold: make `v_th` a parameter.
    """

    v_th: Tensor

    def __init__(
        self,
        v_th: float | Tensor = 1.0,
        *,
        method: str = "stdbp",
        slope_clip: float | None = None,
        learn_threshold: bool = False,
    ) -> None:
        super().__init__()
        get_rule(method)  # an unknown name fails here, with the known ones listed
        v_th = torch.as_tensor(v_th).detach().clone()
        if not v_th.is_floating_point():
            v_th = v_th.to(torch.get_default_dtype())
        if not (v_th > 0).all():
            raise ValueError(f"v_th={v_th.tolist()}: a threshold must be above 0")
        if learn_threshold:
            self.v_th = nn.Parameter(v_th)
        else:
            self.register_buffer("v_th", v_th)
        self.method = method
        self.learn_threshold = learn_threshold
        self.slope_clip = slope_clip

    def extra_repr(self) -> str:
        """Show the values."""
        return f"v_th={self.v_th.tolist()}, method={self.method!r}"


class WindowProtocol(WindowLayer):
    """Call protocol: `z, state = layer(x, state=None)`."""

    def forward(
        self, input_tensor: Tensor, state: SpikeTimes | None = None
    ) -> tuple[Tensor, SpikeTimes]:
        """Compute a whole window.

        Args:
            input_tensor: (time, batch, ...), 0/1; only each input's first spike acts.
            state: None; a window is a whole sequence and cannot be gone on with.

        Returns:
            spikes (time, batch, ...) in the dtype of the input, and the exact spike
            times (batch, ...) in ticks.

        Raises:
            ValueError: a state was passed.
        """
        if state is not None:
            raise ValueError(
                "a window layer computes a whole sequence at once and cannot go on "
                "from a state: call it with state=None, or use the step form, "
                "ReLPSPCell or IFCell"
            )
        spikes, times = self.run_window(input_tensor)
        return spikes, SpikeTimes(times)


class _ReLPSP(WindowProtocol, ReLPSPWindow):
    """The thresholds start at those of `p`."""

    def __init__(
        self,
        core: neurons.ReLPSPLinear | neurons.ReLPSPConv2d,
        p: ReLPSPParameters,
        dt: float,
    ) -> None:
        super().__init__(core, dt)
        with torch.no_grad():
            core.v_th.copy_(p.v_th)


class ReLPSPLinear(_ReLPSP):
    """Fully connected ReL-PSP layer on whole trains (time, batch, in_features).

    The thresholds start at `p.v_th`, one per neuron; with `learn_threshold` of `p`
    each neuron learns its own.

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        p: parameters; None: `ReLPSPParameters()`.
        dt: length of a tick in the unit of time of `p.v_th`; with inputs spread over
            1 and answers until 2, a window of T ticks has dt = 2/T.
        weight_mean: mean of the start weights.
        weight_gain: their standard deviation times sqrt(fan-in).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: ReLPSPParameters | None = None,
        dt: float = 0.01,
        *,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
    ) -> None:
        p = ReLPSPParameters() if p is None else p
        core = neurons.ReLPSPLinear(
            in_features,
            out_features,
            slope_clip=p.slope_clip,
            learn_threshold=p.learn_threshold,
            weight_mean=weight_mean,
            weight_gain=weight_gain,
            rule=p.method,
        )
        super().__init__(core, p, dt)


class ReLPSPConv2d(_ReLPSP):
    """ReL-PSP convolution on whole trains (time, batch, channel, height, width).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        p: parameters as in `ReLPSPLinear`, one threshold per channel.
        dt: length of a tick.
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
        p: ReLPSPParameters | None = None,
        dt: float = 0.01,
        *,
        stride: int = 1,
        padding: int = 0,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
    ) -> None:
        p = ReLPSPParameters() if p is None else p
        core = neurons.ReLPSPConv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            slope_clip=p.slope_clip,
            learn_threshold=p.learn_threshold,
            weight_mean=weight_mean,
            weight_gain=weight_gain,
            rule=p.method,
        )
        super().__init__(core, p, dt)


class LatencyEncoder(nn.Module):
    """Encode intensities in [0, 1] as one spike each, brighter is earlier.

    Args:
        seq_length: length of the train in ticks.
        window: ticks over which the code spreads; None: `seq_length // 2`.
    """

    def __init__(self, seq_length: int, window: float | None = None) -> None:
        super().__init__()
        self.seq_length = seq_length
        self.window = window

    def forward(self, input_tensor: Tensor) -> Tensor:
        """Encode a batch.

        Args:
            input_tensor: (batch, ...), intensities in [0, 1]; 0 stays silent.

        Returns:
            spikes (seq_length, batch, ...), 0 or 1 in the dtype of the input.
        """
        return latency(input_tensor, self.seq_length, window=self.window)


class SpikesToTimesDecoder(nn.Module):
    """Decode first-spike times; unlike Norse's own, backward accepts silent neurons.

    Args:
        dt: length of a tick, as in the layers.
    """

    def __init__(self, dt: float = 0.01) -> None:
        super().__init__()
        self.dt = dt

    def forward(self, spike_input: Tensor) -> Tensor:
        """Decode a train.

        Args:
            spike_input: (time, batch, ...), 0/1.

        Returns:
            times (1, batch, ...) as Norse's decoder for one spike, in the unit of
            `dt`, `inf` where silent.
        """
        return train_to_times(spike_input).unsqueeze(0) * self.dt
