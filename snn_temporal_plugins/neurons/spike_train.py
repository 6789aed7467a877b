"""Layers of leaky neurons with delayed synapses, spike trains in and out: ST-RSBP."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snn_temporal_plugins.functional.arguments import require_slide
from snn_temporal_plugins.neurons.geometry import require_sizes
from snn_temporal_plugins.rules import (
    SpikeTrainState,
    SpikeTrainWindow,
    st_rsbp_window,
)


class _SpikeTrainLayer(nn.Module, ABC):
    """Constants, weights and calls that the layers share."""

    weight: nn.Parameter

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        v_th: float,
        tau_mem: float,
        tau_syn: float,
        refractory: int,
        weight_bound: float,
        rule_options: Mapping[str, Any] | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        require_sizes(weight_shape)
        if not 0 < weight_bound < math.inf:
            raise ValueError(
                f"weight_bound is {weight_bound}; it must be positive and finite."
            )
        self.v_th = v_th
        self.tau_mem = tau_mem
        self.tau_syn = tau_syn
        self.refractory = refractory
        self.weight_bound = weight_bound
        self.rule_options = dict(rule_options or {})
        self.weight = nn.Parameter(
            torch.empty(weight_shape, device=device, dtype=dtype)
        )

    def _start(self) -> None:
        self.reset_parameters()
        # no sample: a setting that the rule does not take fails here
        with torch.no_grad():
            self.window(self.weight.new_zeros(1, 0, *self._smallest_input()))

    @abstractmethod
    def _smallest_input(self) -> tuple[int, ...]:
        """Shape of the smallest sample that the layer takes."""

    def reset_parameters(self) -> None:
        """Draw the weights anew, uniform in +-weight_bound."""
        for weight in self.parameters():
            nn.init.uniform_(weight, -self.weight_bound, self.weight_bound)

    @property
    def settings(self) -> dict[str, Any]:
        """The constants and options that the rule is called with."""
        return {
            "v_th": self.v_th,
            "tau_mem": self.tau_mem,
            "tau_syn": self.tau_syn,
            "refractory": self.refractory,
            **self.rule_options,
        }

    def window(
        self, spikes: Tensor, state: SpikeTrainState | None = None
    ) -> SpikeTrainWindow:
        """Spikes, activity and state at the end of a window of a stream.

        Args:
            spikes: Input spikes, (time, batch, ...).
            state: Where the window before has ended; None = at rest.

        Returns:
            The window.
        """
        return st_rsbp_window(spikes, self.weight, None, state, **self.settings)

    def forward(self, spikes: Tensor) -> Tensor:
        """Input spikes to output spikes, both (time, batch, ...), 0 or 1."""
        return self.window(spikes).spikes

    def extra_repr(self) -> str:
        """Constants, for print(network)."""
        return (
            f"v_th={self.v_th}, tau_mem={self.tau_mem}, tau_syn={self.tau_syn}, "
            f"refractory={self.refractory}"
        )


class SpikeTrainLinear(_SpikeTrainLayer):
    """Dense layer of leaky integrate-and-fire neurons that learns by ST-RSBP.

        q = (1 - 1/tau_syn) q + W s_in[t-1],   v = (1 - 1/tau_mem) v + q / tau_syn
        s[t] = [v > v_th - 1e-6], then v = 0 for `refractory` steps

    With `lateral` it is an output layer, whose neurons inhibit each other; in training
    it may be called with the labels, as `layer(spikes, label)`.

    Args:
        in_features: Number of inputs.
        out_features: Number of neurons.
        v_th: Threshold > 0.
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        refractory: Steps after a spike in which the membrane is 0.
        lateral: Strength of lateral inhibition; 1 in the paper's output layers.
        desired_count: Spikes forced upon the label's neuron where it is silent; none in
            a window of fewer steps.
        weight_bound: Initial weights are uniform in +-weight_bound.
        rule_options: Further options of `st_rsbp`, such as `side`.
        device: Device of the weights.
        dtype: Floating-point type of the weights.

    Raises:
        ValueError: a size or constant is out of range.

    Reference:
        Zhang and Li, NeurIPS 2019.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        v_th: float = 20.0,
        tau_mem: float = 64.0,
        tau_syn: float = 8.0,
        refractory: int = 2,
        lateral: float = 0.0,
        desired_count: int = 35,
        weight_bound: float = 1.0,
        rule_options: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            (out_features, in_features),
            v_th,
            tau_mem,
            tau_syn,
            refractory,
            weight_bound,
            {
                "lateral": lateral,
                "desired_count": desired_count,
                **(rule_options or {}),
            },
            device,
            dtype,
        )
        self.in_features = in_features
        self.out_features = out_features
        self._start()

    def _smallest_input(self) -> tuple[int, ...]:
        return (self.in_features,)

    def window(
        self,
        spikes: Tensor,
        state: SpikeTrainState | None = None,
        label: Tensor | None = None,
    ) -> SpikeTrainWindow:
        """Spikes, activity and state at the end of a window of a stream.

        Args:
            spikes: Input spikes, (time, batch, in).
            state: Where the window before has ended; None = at rest.
            label: Output layer in training: class indices, (batch,).

        Returns:
            The window.
        """
        return st_rsbp_window(
            spikes, self.weight, None, state, label=label, **self.settings
        )

    def forward(self, spikes: Tensor, label: Tensor | None = None) -> Tensor:
        """Input spikes to output spikes, both (time, batch, ...), 0 or 1.

        Args:
            spikes: Input spikes, (time, batch, in).
            label: Output layer in training: class indices, (batch,).
        """
        return self.window(spikes, label=label).spikes

    def extra_repr(self) -> str:
        """Sizes and constants, for print(network)."""
        lateral = self.rule_options["lateral"]
        return (
            f"{self.in_features}, {self.out_features}, {super().extra_repr()}, "
            f"lateral={lateral}"
        )


class RecurrentLIF(_SpikeTrainLayer):
    """Recurrent layer of leaky integrate-and-fire neurons that learns by ST-RSBP.

        q = (1 - 1/tau_syn) q + W s_in[t-1] + R s[t-1],   else as `SpikeTrainLinear`

    All neurons are connected with all, themselves too. With a `grid` it is a reservoir:
    neurons sit on a grid, and near ones are connected with a higher probability,

        P(p -> i) = C exp(-D^2 / 4),   C = 1.5 (.3 EE, .2 EI, .4 IE, .1 II)

    D the distance, C by whether p and i are excitatory or, one in five, inhibitory
    (which does not set the sign of their weights). Connections are drawn with the seed
    5, so that all reservoirs of one grid have the same; only those learn.

    Args:
        in_features: Number of inputs.
        out_features: Number of neurons.
        grid: Sides of the grid, three numbers with the product `out_features`; None:
            all-to-all.
        v_th: Threshold > 0.
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        refractory: Steps after a spike in which the membrane is 0.
        weight_bound: Initial weights are uniform in +-weight_bound.
        rule_options: Further options of `st_rsbp`, such as `solver`.
        device: Device of the weights.
        dtype: Floating-point type of the weights.

    Raises:
        ValueError: a size or constant is out of range.

    Reference:
        Zhang and Li, NeurIPS 2019; reservoir of the released code.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        grid: tuple[int, int, int] | None = None,
        v_th: float = 20.0,
        tau_mem: float = 64.0,
        tau_syn: float = 8.0,
        refractory: int = 2,
        weight_bound: float = 1.0,
        rule_options: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            (out_features, in_features),
            v_th,
            tau_mem,
            tau_syn,
            refractory,
            weight_bound,
            rule_options,
            device,
            dtype,
        )
        if grid is not None and (len(grid) != 3 or math.prod(grid) != out_features):
            raise ValueError(
                f"grid is {tuple(grid)}; it must be three sides whose product is the "
                f"number of neurons, {out_features}."
            )
        self.in_features = in_features
        self.out_features = out_features
        self.grid = grid
        self.recurrent_weight = nn.Parameter(
            torch.empty(out_features, out_features, device=device, dtype=dtype)
        )
        self._start()

    def _smallest_input(self) -> tuple[int, ...]:
        return (self.in_features,)

    def reset_parameters(self) -> None:
        """Draw the weights anew, uniform in +-weight_bound; no new connections."""
        super().reset_parameters()
        if self.grid is not None:
            with torch.no_grad():
                connected = reservoir_connections(self.grid)
                self.recurrent_weight.mul_(connected.to(self.recurrent_weight))

    def window(
        self, spikes: Tensor, state: SpikeTrainState | None = None
    ) -> SpikeTrainWindow:
        """Spikes, activity and state at the end of a window of a stream.

        Args:
            spikes: Input spikes, (time, batch, in).
            state: Where the window before has ended; None = at rest.

        Returns:
            The window.
        """
        return st_rsbp_window(
            spikes, self.weight, self.recurrent_weight, state, **self.settings
        )

    def extra_repr(self) -> str:
        """Sizes and constants, for print(network)."""
        grid = "" if self.grid is None else f"grid={tuple(self.grid)}, "
        return f"{self.in_features}, {self.out_features}, {grid}{super().extra_repr()}"


class SpikeTrainConv2d(_SpikeTrainLayer):
    """Convolution of leaky integrate-and-fire neurons that learns by ST-RSBP.

    Args:
        in_channels: Number of input maps.
        out_channels: Number of output maps.
        kernel_size: Side of the square kernel.
        stride: Step between patches.
        padding: Silent border on every side.
        v_th: Threshold > 0.
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        refractory: Steps after a spike in which the membrane is 0.
        weight_bound: Initial weights are uniform in +-weight_bound.
        rule_options: Further options of `st_rsbp`.
        device: Device of the weights.
        dtype: Floating-point type of the weights.

    Raises:
        ValueError: a size or constant is out of range.

    Reference:
        Zhang and Li, NeurIPS 2019.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        v_th: float = 5.0,
        tau_mem: float = 64.0,
        tau_syn: float = 8.0,
        refractory: int = 2,
        weight_bound: float = 1.0,
        rule_options: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        require_slide(stride, padding)
        super().__init__(
            (out_channels, in_channels, kernel_size, kernel_size),
            v_th,
            tau_mem,
            tau_syn,
            refractory,
            weight_bound,
            {"stride": stride, "padding": padding, **(rule_options or {})},
            device,
            dtype,
        )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self._start()

    def _smallest_input(self) -> tuple[int, ...]:
        return self.in_channels, self.kernel_size, self.kernel_size

    def extra_repr(self) -> str:
        """Sizes and constants, for print(network)."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, {super().extra_repr()}"
        )


def reservoir_connections(grid: tuple[int, int, int]) -> Tensor:
    """Which neurons of a reservoir are connected; see `RecurrentLIF`.

    Args:
        grid: Sides of the grid.

    Returns:
        True where p is connected to i, bool (i, p).
    """
    generator = torch.Generator().manual_seed(5)  # the released code's seed
    neurons = math.prod(grid)
    place = torch.cartesian_prod(*(torch.arange(side) for side in grid)).double()
    inhibitory = torch.rand(neurons, generator=generator) < 0.2
    strength = torch.tensor([[0.3, 0.2], [0.4, 0.1]]).double() * 1.5  # [from, to]
    kind = inhibitory.long()
    c = strength[kind[None, :], kind[:, None]]
    probability = c * torch.exp(-torch.cdist(place, place).square() / 4)
    draw = torch.rand(neurons, neurons, generator=generator, dtype=torch.float64)
    return draw < probability
