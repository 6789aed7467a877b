"""Layers of integrate-and-fire neurons on ticks: parameters and a call of SSTDP."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from snn_temporal_plugins.functional.arguments import (
    require_slide,
    threshold_per_neuron,
)
from snn_temporal_plugins.functional.rounding import (
    Rounding,
    integer_weights,
    largest_weight,
    require_integers,
    step_thresholds,
    straight_through,
    weight_steps,
)
from snn_temporal_plugins.neurons.geometry import require_sizes
from snn_temporal_plugins.rules import sstdp_conv2d, sstdp_with_potential


class _IF(nn.Module, ABC):
    """What the dense and the convolutional layer share."""

    weight: nn.Parameter
    rounding: Rounding | None = None
    """Set by `rounded` while the layer is to fire as its integers will."""

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        num_steps: int,
        v_th: float,
        a: float,
        b: float,
        compat: Literal["released"] | None,
        weight_mean: float,
        weight_gain: float,
        rule_options: Mapping[str, Any] | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        require_sizes(weight_shape)
        if not 0 < v_th < math.inf:
            raise ValueError(f"v_th is {v_th}; it must be positive and finite.")
        self.num_steps = num_steps
        self.v_th = v_th
        self.weight_mean = weight_mean
        self.weight_gain = weight_gain
        self.rule_options = {"a": a, "b": b, "compat": compat, **(rule_options or {})}
        self.weight = nn.Parameter(
            torch.empty(weight_shape, device=device, dtype=dtype)
        )
        self.reset_parameters()
        # one silent sample: a setting that the rule does not take fails here
        silence = self.weight.detach().new_full((1, *weight_shape[1:]), math.inf)
        self._fire(silence)

    def reset_parameters(self) -> None:
        """Draw the weights anew from N(mean, (gain / sqrt(fan_in))^2).

        Some neurons should fire early, some late and some not at all: where all weights
        are positive, as in the released code, all fire in the first ticks, and it takes
        long until their times say anything.
        """
        fan_in = self.weight[0].numel()
        nn.init.normal_(self.weight, self.weight_mean, self.weight_gain / fan_in**0.5)

    def _rule(
        self, spike_time: Tensor, weight: Tensor, v_th: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """The learning rule; weight is (out, in)."""
        return sstdp_with_potential(
            spike_time, weight, v_th, t_max=self.num_steps, **self.rule_options
        )

    def _fire(self, spike_time: Tensor) -> tuple[Tensor, Tensor]:
        if self.rounding is not None and self.rounding.weights:
            return self._fire_rounded(spike_time, self.rounding)
        return self._rule(spike_time, self.weight.flatten(1), self.v_th)

    def _fire_rounded(
        self, spike_time: Tensor, rounding: Rounding
    ) -> tuple[Tensor, Tensor]:
        """Fire as the integer network does, spike by spike; ticks are whole already.

        In the unit of the weights, on which the learning law depends. A threshold half
        an integer below that of the integers is met by no rounding error.
        """
        weight = self.weight.flatten(1)
        step = weight_steps(weight, rounding.bits, shared=rounding.shared_step)
        whole = integer_weights(weight, step, largest_weight(rounding.bits))
        threshold = step_thresholds(threshold_per_neuron(self.v_th, weight), step)
        require_integers(whole, threshold)
        # n sums of numbers that add up to R are wrong by n R 2^-24 at most in float32
        reach = whole.shape[1] * float(whole.abs().sum(1).max())
        small = reach < 1 << 23
        dtype = torch.promote_types(
            weight.dtype, torch.float32 if small else torch.float64
        )
        one = torch.ones_like(step)
        post, potential = self._rule(
            spike_time.to(dtype),
            straight_through(weight, (step[:, None] * whole).to(dtype), one),
            (step * (threshold - 0.5)).to(dtype),
        )
        step = step.view(-1, *(1,) * (potential.dim() - 2))
        potential = (potential / step).round() * step  # equal where the integers are
        return post.to(spike_time), potential.to(spike_time)

    @abstractmethod
    def with_potential(self, spike_time: Tensor) -> tuple[Tensor, Tensor]:
        """Output spike times, and the potential of every neuron when it fired."""

    def forward(self, spike_time: Tensor) -> Tensor:
        """Input ticks to output ticks, inf = silent."""
        return self.with_potential(spike_time)[0]

    def extra_repr(self) -> str:
        """Constants, for print(network)."""
        options = self.rule_options
        return (
            f"num_steps={self.num_steps}, v_th={self.v_th}, a={options['a']}, "
            f"b={options['b']}"
        )


class IFLinear(_IF):
    """Dense layer of integrate-and-fire neurons that spike at most once, on ticks.

        V_j(k) = sum_{t_i <= k} w_ji,      u_j = min { k : V_j(k) > v_th }

    Args:
        in_features: Number of inputs.
        out_features: Number of neurons.
        num_steps: Number of ticks T; spike times lie in 0..T-1.
        v_th: Threshold > 0.
        a: Strengthening of inputs at or before the output spike.
        b: Weakening of later and silent inputs.
        compat: "released" for the numbers of the released code.
        weight_mean: Mean of the initial weights (see `reset_parameters`).
        weight_gain: Initial standard deviation times sqrt(fan_in).
        rule_options: Further settings of `sstdp`, such as `tau_mem`.
        device: Device of the weights.
        dtype: Floating-point type of the weights.

    Raises:
        ValueError: a size or setting is out of range.

    Reference:
        Liu et al., Front. Neurosci. 15:756876 (2021), SSTDP.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        num_steps: int = 256,
        v_th: float = 1.0,
        a: float = 1.0,
        b: float = 0.0,
        compat: Literal["released"] | None = None,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
        rule_options: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.in_features = in_features
        self.out_features = out_features
        super().__init__(
            (out_features, in_features),
            num_steps,
            v_th,
            a,
            b,
            compat,
            weight_mean,
            weight_gain,
            rule_options,
            device,
            dtype,
        )

    def with_potential(self, spike_time: Tensor) -> tuple[Tensor, Tensor]:
        """Ticks (batch, in) to ticks and potentials (batch, out)."""
        return self._fire(spike_time)

    def extra_repr(self) -> str:
        """Sizes and constants, for print(network)."""
        return f"{self.in_features}, {self.out_features}, {super().extra_repr()}"


class IFConv2d(_IF):
    """Convolution of integrate-and-fire neurons: the dense law on every patch.

    The weight gradient sums over places and averages over samples. Padding is silence.

    Args:
        in_channels: Number of input maps.
        out_channels: Number of output maps.
        kernel_size: Side of the square kernel.
        stride: Step between patches.
        padding: Silent border on every side.
        num_steps: Number of ticks T.
        v_th: Threshold > 0.
        a: Strengthening.
        b: Weakening.
        compat: "released" for the numbers of the released code (with T, where that has
            a fixed 256).
        weight_mean: Mean of the initial weights.
        weight_gain: Initial standard deviation times sqrt(fan_in).
        rule_options: Further settings of `sstdp`.
        device: Device of the weights.
        dtype: Floating-point type of the weights.

    Raises:
        ValueError: a size or setting is out of range.

    Reference:
        Liu et al., Front. Neurosci. 15:756876 (2021), SSTDP, released code.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        num_steps: int = 256,
        v_th: float = 1.0,
        a: float = 1.0,
        b: float = 0.0,
        compat: Literal["released"] | None = None,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
        rule_options: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        require_slide(stride, padding)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        super().__init__(
            (out_channels, in_channels, kernel_size, kernel_size),
            num_steps,
            v_th,
            a,
            b,
            compat,
            weight_mean,
            weight_gain,
            rule_options,
            device,
            dtype,
        )

    def with_potential(self, spike_time: Tensor) -> tuple[Tensor, Tensor]:
        """Ticks (batch, in, H, W) to ticks and potentials (batch, out, H', W')."""
        return self._fire(spike_time)

    def _rule(
        self, spike_time: Tensor, weight: Tensor, v_th: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """The learning rule on every patch; weight is (out, in)."""
        return sstdp_conv2d(
            spike_time,
            weight.view_as(self.weight),
            v_th,
            stride=self.stride,
            padding=self.padding,
            t_max=self.num_steps,
            **self.rule_options,
        )

    def extra_repr(self) -> str:
        """Sizes and constants, for print(network)."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, {super().extra_repr()}"
        )
