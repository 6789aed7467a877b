"""ST-RSBP layers on whole windows in snnTorch's call protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from snn_temporal_plugins import neurons
from snn_temporal_plugins.adapters.spike_train_window import (
    SpikeTrainWindowLayer,
    require_rule,
)
from snn_temporal_plugins.rules import SpikeTrainState, SpikeTrainWindow


class _Window(SpikeTrainWindowLayer):
    """Call protocol: (spikes, state), or spikes for `Sequential`."""

    def __init__(
        self,
        core: neurons.SpikeTrainLinear
        | neurons.SpikeTrainConv2d
        | neurons.SpikeTrainPool2d
        | neurons.RecurrentLIF,
        stream: bool,
        output: bool,
    ) -> None:
        super().__init__(core)
        self.stream = stream
        self.output = output
        self.state: SpikeTrainState | None = None

    def forward(self, input_: Tensor, state: SpikeTrainState | None = None) -> Any:
        """Compute a whole window.

        Args:
            input_: spikes (time, batch, ...), 0/1.
            state: where another window has ended; None: at rest, or with `stream` where
                the last window of this layer has ended.

        Returns:
            (spk, state), or spk alone with `output=False`: spikes (time, batch, ...),
            and where the window has ended, also kept as the attribute `state`.
        """
        return self._given(self.run_window(input_, self._start(state)))

    def step(
        self, input_: Tensor, state: SpikeTrainState | None = None
    ) -> tuple[Tensor, SpikeTrainState]:
        """Advance by one step, in a loop over steps; for inference.

        The spikes have no gradient: the law needs the whole window. A loop of steps
        gives the very spikes of one window. As in every snnTorch neuron, a call without
        a state goes on from the layer's own one, until `reset_mem()`.

        Args:
            input_: spikes (batch, ...), 0/1.
            state: state after the step before; None: the layer's own.

        Returns:
            Spikes (batch, ...), and the state after the step, whatever `output` is.
        """
        start = self.state if state is None else state
        spk, self.state = self.run_step(input_, start)
        return spk, self.state

    def reset_mem(self) -> None:
        """Forget where the last window has ended: the next one starts at rest."""
        self.state = None

    def extra_repr(self) -> str:
        """Show the protocol."""
        return f"stream={self.stream}, output={self.output}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": None}

    def _start(self, state: SpikeTrainState | None) -> SpikeTrainState | None:
        return self.state if state is None and self.stream else state

    def _given(self, window: SpikeTrainWindow) -> Any:
        self.state = window.state
        return (window.spikes, window.state) if self.output else window.spikes


class SpikeTrainLinear(_Window):
    """Fully connected ST-RSBP layer on whole spike trains (time, batch, in_features).

    Like `LinearLeaky` a call is a whole sequence and starts at rest. With `stream` it
    goes on where the last call has ended, until `reset_mem()`; each call learns on its
    own.

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        tau_mem: membrane time constant >= 1, in steps; beta = 1 - 1/tau_mem.
        tau_syn: synaptic time constant >= 1, in steps; alpha = 1 - 1/tau_syn.
        threshold: v_th > 0.
        refractory: steps after a spike in which the membrane is 0.
        lateral: strength of lateral inhibition, 1 in the paper's output layers.
        desired_count: spikes forced upon the label's neuron where it is silent.
        stream: go on from the last call.
        rule: "st_rsbp".
        rule_options: further options of the rule, such as `side`.
        output: give (spk, state); False gives spk alone, for `nn.Sequential`.
        weight_bound: start weights are uniform in +-weight_bound.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        tau_mem: float = 64.0,
        tau_syn: float = 8.0,
        threshold: float = 20.0,
        refractory: int = 2,
        lateral: float = 0.0,
        desired_count: int = 35,
        stream: bool = False,
        rule: str = "st_rsbp",
        rule_options: Mapping[str, Any] | None = None,
        output: bool = True,
        weight_bound: float = 1.0,
    ) -> None:
        require_rule(rule, "rule")
        core = neurons.SpikeTrainLinear(
            in_features,
            out_features,
            v_th=threshold,
            tau_mem=tau_mem,
            tau_syn=tau_syn,
            refractory=refractory,
            lateral=lateral,
            desired_count=desired_count,
            weight_bound=weight_bound,
            rule_options=rule_options,
        )
        super().__init__(core, stream, output)

    def forward(
        self,
        input_: Tensor,
        state: SpikeTrainState | None = None,
        label: Tensor | None = None,
    ) -> Any:
        """Compute a whole window.

        Args:
            input_: spikes (time, batch, in_features), 0/1.
            state: where another window has ended; None: at rest, or with `stream` where
                the last window of this layer has ended.
            label: output layer in training: class indices (batch,), so that the label's
                neuron learns even where it is silent.

        Returns:
            (spk, state), or spk alone with `output=False`.
        """
        return self._given(self.run_window(input_, self._start(state), label))


class SpikeTrainConv2d(_Window):
    """ST-RSBP convolution on whole spike trains (time, batch, channel, height, width).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        stride: step between patches.
        padding: silent rows and columns on each side.
        tau_mem: as in `SpikeTrainLinear`, like all that follow.
        tau_syn: synaptic time constant.
        threshold: v_th.
        refractory: refractory steps.
        stream: go on from the last call.
        rule: "st_rsbp".
        rule_options: its further options.
        output: give (spk, state) or spk alone.
        weight_bound: start weights.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        tau_mem: float = 64.0,
        tau_syn: float = 8.0,
        threshold: float = 5.0,
        refractory: int = 2,
        stream: bool = False,
        rule: str = "st_rsbp",
        rule_options: Mapping[str, Any] | None = None,
        output: bool = True,
        weight_bound: float = 1.0,
    ) -> None:
        require_rule(rule, "rule")
        core = neurons.SpikeTrainConv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            v_th=threshold,
            tau_mem=tau_mem,
            tau_syn=tau_syn,
            refractory=refractory,
            weight_bound=weight_bound,
            rule_options=rule_options,
        )
        super().__init__(core, stream, output)


class SpikeTrainPool2d(_Window):
    """Pool of spiking neurons on whole spike trains (time, batch, channel, H, W).

    Unlike `nn.AvgPool2d` it gives spikes, as the layer behind it wants them.

    Args:
        kernel_size: side of the window, and the step between windows.
        tau_mem: as in `SpikeTrainLinear`, like all that follow.
        tau_syn: synaptic time constant.
        threshold: v_th, in spikes.
        refractory: refractory steps.
        stream: go on from the last call.
        output: give (spk, state) or spk alone.
    """

    def __init__(
        self,
        kernel_size: int,
        *,
        tau_mem: float = 64.0,
        tau_syn: float = 8.0,
        threshold: float = 2.0,
        refractory: int = 2,
        stream: bool = False,
        output: bool = True,
    ) -> None:
        core = neurons.SpikeTrainPool2d(
            kernel_size,
            v_th=threshold,
            tau_mem=tau_mem,
            tau_syn=tau_syn,
            refractory=refractory,
        )
        super().__init__(core, stream, output)


class RecurrentLIF(_Window):
    """Recurrent ST-RSBP layer on whole spike trains (time, batch, in_features).

    Like `RSynaptic` behind an `nn.Linear`, over all steps at once. Its synapses are a
    step slower: a spike acts in the next step.

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        grid: sides of the grid of a reservoir's neurons; None: all-to-all.
        tau_mem: as in `SpikeTrainLinear`, like all that follow.
        tau_syn: synaptic time constant.
        threshold: v_th.
        refractory: refractory steps.
        stream: go on from the last call.
        rule: "st_rsbp".
        rule_options: its further options, such as `solver`.
        output: give (spk, state) or spk alone.
        weight_bound: start weights, recurrent ones too.
    """

    core: neurons.RecurrentLIF

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        grid: tuple[int, int, int] | None = None,
        tau_mem: float = 64.0,
        tau_syn: float = 8.0,
        threshold: float = 20.0,
        refractory: int = 2,
        stream: bool = False,
        rule: str = "st_rsbp",
        rule_options: Mapping[str, Any] | None = None,
        output: bool = True,
        weight_bound: float = 1.0,
    ) -> None:
        require_rule(rule, "rule")
        core = neurons.RecurrentLIF(
            in_features,
            out_features,
            grid=grid,
            v_th=threshold,
            tau_mem=tau_mem,
            tau_syn=tau_syn,
            refractory=refractory,
            weight_bound=weight_bound,
            rule_options=rule_options,
        )
        super().__init__(core, stream, output)

    @property
    def recurrent_weight(self) -> Tensor:
        """Recurrent weights, (out, out), from column to row."""
        return self.core.recurrent_weight
