"""LIF layers on whole windows in snnTorch's call protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from snn_temporal_plugins import neurons
from snn_temporal_plugins.adapters.lif_window import LIFWindowLayer, LIFWindowState

_RESET = {"zero": "hard", "subtract": "soft"}  # snnTorch's words for ours


class _Window(LIFWindowLayer):
    """Call protocol: (spikes, PSPs) like `LinearLeaky`, or spikes for `Sequential`."""

    def __init__(
        self,
        core: neurons.LIFLinear | neurons.LIFConv2d,
        graded: bool,
        stream: bool,
        output: bool,
    ) -> None:
        super().__init__(core, graded)
        self.stream = stream
        self.output = output
        self.state: LIFWindowState | None = None

    def forward(self, input_: Tensor, state: LIFWindowState | None = None) -> Any:
        """Compute a whole window.

        Args:
            input_: spikes (time, batch, ...), 0/1; with `num_steps` a constant current
                (batch, ...).
            state: where another window has ended; None: at rest, or with `stream` where
                the last window of this layer has ended.

        Returns:
            (spk, psp), or spk alone with `output=False`: spikes and PSPs, (time, batch,
            ...). Where the window has ended is the attribute `state`.
        """
        if state is None and self.stream:
            state = self.state
        window, self.state = self.run_window(input_, state)
        return (window.spikes, window.psp) if self.output else window.spikes

    def reset_mem(self) -> None:
        """Forget where the last window has ended: the next one starts at rest."""
        self.state = None

    def extra_repr(self) -> str:
        """Show the protocol."""
        return f"{super().extra_repr()}, stream={self.stream}, output={self.output}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": None}


class LIFLinear(_Window):
    """Fully connected LIF layer on whole spike trains (time, batch, in_features).

    Like `LinearLeaky` a call is a whole sequence and starts at rest. With `stream` it
    goes on where the last call has ended, until `reset_mem()`; learning is truncated
    between the calls.

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        tau_mem: membrane time constant >= 1, in steps; beta = 1 - 1/tau_mem.
        tau_syn: synaptic time constant >= 1, in steps.
        threshold: v_th.
        reset_mechanism: "zero" or "subtract".
        num_steps: for a first layer: the input is a constant current (batch,
            in_features), shown for so many steps. None: spikes.
        graded: input spikes may carry any weight, as behind `PSPPool2d`.
        stream: go on from the last call.
        rule: name of a learning rule on spike trains.
        rule_options: further options of the rule, such as `alpha`.
        output: give (spk, psp); False gives spk alone, for `nn.Sequential`.
        weight_scale: factor of the start weights, N(0, 2 / in_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        tau_mem: float = 5.0,
        tau_syn: float = 3.0,
        threshold: float = 1.0,
        reset_mechanism: str = "zero",
        num_steps: int | None = None,
        graded: bool = False,
        stream: bool = False,
        rule: str = "tssl_bp",
        rule_options: Mapping[str, Any] | None = None,
        output: bool = True,
        weight_scale: float = 1.0,
    ) -> None:
        core = neurons.LIFLinear(
            in_features,
            out_features,
            num_steps=num_steps,
            tau_mem=tau_mem,
            tau_syn=tau_syn,
            v_th=threshold,
            reset=_reset(reset_mechanism),
            weight_scale=weight_scale,
            rule=rule,
            rule_options=rule_options,
        )
        super().__init__(core, graded, stream, output)


class LIFConv2d(_Window):
    """LIF convolution on whole spike trains (time, batch, channel, height, width).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        stride: step between patches.
        padding: silent rows and columns on each side.
        tau_mem: as in `LIFLinear`, like all that follow.
        tau_syn: synaptic time constant.
        threshold: v_th.
        reset_mechanism: "zero" or "subtract".
        num_steps: for a constant input (batch, channel, height, width).
        graded: input spikes may carry any weight.
        stream: go on from the last call.
        rule: learning rule.
        rule_options: its further options.
        output: give (spk, psp) or spk alone.
        weight_scale: factor of the start weights, uniform in +-1/sqrt(fan_in).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        tau_mem: float = 5.0,
        tau_syn: float = 3.0,
        threshold: float = 1.0,
        reset_mechanism: str = "zero",
        num_steps: int | None = None,
        graded: bool = False,
        stream: bool = False,
        rule: str = "tssl_bp",
        rule_options: Mapping[str, Any] | None = None,
        output: bool = True,
        weight_scale: float = 1.0,
    ) -> None:
        core = neurons.LIFConv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            num_steps=num_steps,
            tau_mem=tau_mem,
            tau_syn=tau_syn,
            v_th=threshold,
            reset=_reset(reset_mechanism),
            weight_scale=weight_scale,
            rule=rule,
            rule_options=rule_options,
        )
        super().__init__(core, graded, stream, output)


def _reset(mechanism: str) -> str:
    if mechanism not in _RESET:
        raise ValueError(
            f"reset_mechanism={mechanism!r}; allowed are 'zero' and 'subtract'"
        )
    return _RESET[mechanism]
