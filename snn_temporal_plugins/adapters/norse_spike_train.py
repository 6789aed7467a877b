"""ST-RSBP layers on whole windows in Norse's call protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from snn_temporal_plugins import neurons
from snn_temporal_plugins.adapters.spike_train_window import (
    SpikeTrainWindowLayer,
    require_rule,
)
from snn_temporal_plugins.rules import SpikeTrainState


class SpikeTrainParameters(NamedTuple):
    """Parameters of a layer that learns by ST-RSBP; checked by the layer.

    They are plain numbers in steps, where Norse's `LIFParameters` are tensors per
    second: tau_mem = 1 / (tau_mem_inv dt). Unlike those they pickle.

    Attributes:
        tau_mem: membrane time constant >= 1, in steps.
        tau_syn: synaptic time constant >= 1, in steps.
        v_th: threshold > 0.
        refractory: steps after a spike in which the membrane is 0.
        method: "st_rsbp".
        method_options: further options of the rule, such as `side` or `solver`.
    """

    tau_mem: float = 64.0
    tau_syn: float = 8.0
    v_th: float = 20.0
    refractory: int = 2
    method: str = "st_rsbp"
    method_options: Mapping[str, Any] | None = None


class _Window(SpikeTrainWindowLayer):
    """Call protocol: `z, state = layer(x, state=None)`."""

    def forward(
        self, input_tensor: Tensor, state: SpikeTrainState | None = None
    ) -> tuple[Tensor, SpikeTrainState]:
        """Compute a whole window.

        Args:
            input_tensor: spikes (time, batch, ...), 0/1.
            state: where the window before has ended; None starts a new sequence.

        Returns:
            spikes (time, batch, ...), and the state to go on from; each window learns
            on its own.
        """
        window = self.run_window(input_tensor, state)
        return window.spikes, window.state

    def step(
        self, input_tensor: Tensor, state: SpikeTrainState | None = None
    ) -> tuple[Tensor, SpikeTrainState]:
        """Advance by one step, as Norse's cells do; for inference.

        The spikes have no gradient: the law needs the whole window. A loop of steps
        gives the very spikes of one window.

        Args:
            input_tensor: spikes (batch, ...), 0/1.
            state: where the step before has ended; None starts a new sequence.

        Returns:
            spikes (batch, ...), and the state after the step.
        """
        return self.run_step(input_tensor, state)


class SpikeTrainLinear(_Window):
    """Fully connected ST-RSBP layer on whole spike trains (time, batch, in_features).

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        p: parameters; None: `SpikeTrainParameters()`.
        lateral: strength of lateral inhibition, 1 in the paper's output layers.
        desired_count: spikes forced upon the label's neuron where it is silent.
        weight_bound: start weights are uniform in +-weight_bound.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: SpikeTrainParameters | None = None,
        *,
        lateral: float = 0.0,
        desired_count: int = 35,
        weight_bound: float = 1.0,
    ) -> None:
        core = neurons.SpikeTrainLinear(
            in_features,
            out_features,
            lateral=lateral,
            desired_count=desired_count,
            weight_bound=weight_bound,
            **_neuron(p),
        )
        super().__init__(core)

    def forward(
        self,
        input_tensor: Tensor,
        state: SpikeTrainState | None = None,
        label: Tensor | None = None,
    ) -> tuple[Tensor, SpikeTrainState]:
        """Compute a whole window.

        Args:
            input_tensor: spikes (time, batch, in_features), 0/1.
            state: where the window before has ended; None starts a new sequence.
            label: output layer in training: class indices (batch,), so that the label's
                neuron learns even where it is silent. `SequentialState` passes none:
                call the layer behind it.

        Returns:
            spikes (time, batch, out_features), and the state to go on from.
        """
        window = self.run_window(input_tensor, state, label)
        return window.spikes, window.state


class SpikeTrainConv2d(_Window):
    """ST-RSBP convolution on whole spike trains (time, batch, channel, height, width).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        p: parameters; None: `SpikeTrainParameters(v_th=5.0)`.
        stride: step between patches.
        padding: silent rows and columns on each side.
        weight_bound: start weights are uniform in +-weight_bound.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        p: SpikeTrainParameters | None = None,
        *,
        stride: int = 1,
        padding: int = 0,
        weight_bound: float = 1.0,
    ) -> None:
        core = neurons.SpikeTrainConv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            weight_bound=weight_bound,
            **_neuron(SpikeTrainParameters(v_th=5.0) if p is None else p),
        )
        super().__init__(core)


class SpikeTrainPool2d(_Window):
    """Pool of spiking neurons on whole spike trains (time, batch, channel, H, W).

    Unlike `nn.AvgPool2d` it gives spikes, as the layer behind it wants them.

    Args:
        kernel_size: side of the window, and the step between windows.
        p: parameters, of which `method_options` do not matter; None:
            `SpikeTrainParameters(v_th=2.0)`.
    """

    def __init__(self, kernel_size: int, p: SpikeTrainParameters | None = None) -> None:
        neuron = _neuron(SpikeTrainParameters(v_th=2.0) if p is None else p)
        del neuron["rule_options"]
        super().__init__(neurons.SpikeTrainPool2d(kernel_size, **neuron))


class RecurrentLIF(_Window):
    """Recurrent ST-RSBP layer on whole spike trains (time, batch, in_features).

    Like Norse's `LIFRecurrent`, with another rule, self-connections (its autapses) and
    a refractory time.

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        p: parameters; None: `SpikeTrainParameters()`.
        grid: sides of the grid of a reservoir's neurons; None: all-to-all.
        weight_bound: start weights, recurrent ones too, are uniform in +-weight_bound.
    """

    core: neurons.RecurrentLIF

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: SpikeTrainParameters | None = None,
        *,
        grid: tuple[int, int, int] | None = None,
        weight_bound: float = 1.0,
    ) -> None:
        core = neurons.RecurrentLIF(
            in_features,
            out_features,
            grid=grid,
            weight_bound=weight_bound,
            **_neuron(p),
        )
        super().__init__(core)

    @property
    def recurrent_weight(self) -> Tensor:
        """Recurrent weights, (out, out), from column to row."""
        return self.core.recurrent_weight


def _neuron(p: SpikeTrainParameters | None) -> dict[str, Any]:
    """What the core calls the parameters."""
    p = SpikeTrainParameters() if p is None else p
    if not isinstance(p, SpikeTrainParameters):
        raise TypeError(
            f"p is a {type(p).__name__}; these layers take SpikeTrainParameters, whose "
            "time constants are in steps: tau_mem = 1 / (tau_mem_inv dt)"
        )
    options = p._asdict()
    require_rule(options.pop("method"), "method")
    options["rule_options"] = options.pop("method_options")
    return options
