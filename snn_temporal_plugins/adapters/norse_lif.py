"""LIF layers on whole windows in Norse's call protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from snn_temporal_plugins import neurons
from snn_temporal_plugins.adapters.lif_window import LIFWindowLayer, LIFWindowState
from snn_temporal_plugins.functional.lif import psp_filter


class LIFWindowParameters(NamedTuple):
    """Parameters of a layer of LIF neurons on whole windows; checked by the layer.

    They are plain numbers in steps, where Norse's `LIFParameters` are tensors per
    second: tau_mem = 1 / (tau_mem_inv dt). Unlike those they pickle.

    Attributes:
        tau_mem: membrane time constant >= 1, in steps.
        tau_syn: synaptic time constant >= 1, in steps.
        v_th: threshold.
        reset: "hard" sets the membrane to 0, "soft" subtracts v_th.
        method: name of a learning rule on spike trains.
        method_options: further options of the rule, such as `alpha`.
    """

    tau_mem: float = 5.0
    tau_syn: float = 3.0
    v_th: float = 1.0
    reset: str = "hard"
    method: str = "tssl_bp"
    method_options: Mapping[str, Any] | None = None


class _Window(LIFWindowLayer):
    """Call protocol: `z, state = layer(x, state=None)`."""

    def forward(
        self, input_tensor: Tensor, state: LIFWindowState | None = None
    ) -> tuple[Tensor, LIFWindowState]:
        """Compute a whole window.

        Args:
            input_tensor: spikes (time, batch, ...), 0/1; with `num_steps` a constant
                current (batch, ...).
            state: where the window before has ended; None starts a new sequence.

        Returns:
            spikes (time, batch, ...), and the state to go on from; it is detached, so
            learning is truncated between windows.
        """
        window, state = self.run_window(input_tensor, state)
        return window.spikes, state


class LIFLinear(_Window):
    """Fully connected LIF layer on whole spike trains (time, batch, in_features).

    Args:
        in_features: number of inputs.
        out_features: number of neurons.
        p: parameters; None: `LIFWindowParameters()`.
        num_steps: for a first layer: the input is a constant current (batch,
            in_features), shown for so many steps. None: spikes.
        graded: input spikes may carry any weight, as behind `PSPPool2d`.
        weight_scale: factor of the start weights, N(0, 2 / in_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: LIFWindowParameters | None = None,
        *,
        num_steps: int | None = None,
        graded: bool = False,
        weight_scale: float = 1.0,
    ) -> None:
        core = neurons.LIFLinear(
            in_features,
            out_features,
            num_steps=num_steps,
            weight_scale=weight_scale,
            **_neuron(p),
        )
        super().__init__(core, graded)


class LIFConv2d(_Window):
    """LIF convolution on whole spike trains (time, batch, channel, height, width).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        p: parameters; None: `LIFWindowParameters()`.
        stride: step between patches.
        padding: silent rows and columns on each side.
        num_steps: for a constant input (batch, channel, height, width).
        graded: input spikes may carry any weight.
        weight_scale: factor of the start weights, uniform in +-1/sqrt(fan_in).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        p: LIFWindowParameters | None = None,
        *,
        stride: int = 1,
        padding: int = 0,
        num_steps: int | None = None,
        graded: bool = False,
        weight_scale: float = 1.0,
    ) -> None:
        core = neurons.LIFConv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            num_steps=num_steps,
            weight_scale=weight_scale,
            **_neuron(p),
        )
        super().__init__(core, graded)


class PSPFilter(neurons.PSPFilter):
    """Readout: the PSPs of a spike train, for the losses on PSPs; like Norse's `LI`.

    Args:
        tau_syn: synaptic time constant >= 1, in steps.
    """

    def forward(  # type: ignore[override]  # Norse's protocol
        self, x: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Filter a whole window.

        Args:
            x: spikes (time, batch, ...).
            state: PSPs (batch, ...) at the end of the window before; None: 0.

        Returns:
            PSPs (time, batch, ...), and those of the last step, detached.
        """
        psp = psp_filter(x, self.tau_syn, state)
        return psp, psp[-1].detach().clone()


def _neuron(p: LIFWindowParameters | None) -> dict[str, Any]:
    """What the core calls the parameters."""
    p = LIFWindowParameters() if p is None else p
    if not isinstance(p, LIFWindowParameters):
        raise TypeError(
            f"p is a {type(p).__name__}; a window layer takes LIFWindowParameters, "
            "whose time constants are in steps: tau_mem = 1 / (tau_mem_inv dt)"
        )
    options = p._asdict()
    options["rule"] = options.pop("method")
    options["rule_options"] = options.pop("method_options")
    return options
