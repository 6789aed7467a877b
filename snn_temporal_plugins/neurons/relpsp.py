"""Layers of ReL-PSP neurons: parameters and one call into a learning rule."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from snn_temporal_plugins.functional.arguments import require_slide
from snn_temporal_plugins.functional.rounding import (
    Rounding,
    integer_weights,
    largest_weight,
    nearest_tick,
    ramp_thresholds,
    require_integers,
    round_up,
    straight_through,
    weight_steps,
)
from snn_temporal_plugins.neurons.geometry import patches, require_sizes
from snn_temporal_plugins.rules import get_rule


class _ReLPSP(nn.Module):
    """What the dense and the convolutional layer share."""

    weight: nn.Parameter
    v_th: Tensor
    rounding: Rounding | None = None
    """Set by `rounded` while the layer is to fire as its integers will."""

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        v_th: float,
        t_max: float,
        slope_clip: float | None,
        learn_threshold: bool,
        weight_mean: float,
        weight_gain: float,
        rule: str,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        require_sizes(weight_shape)
        if not 0 < v_th < math.inf:
            raise ValueError(f"v_th is {v_th}; it must be positive and finite.")
        if not t_max > 0:
            raise ValueError(f"t_max is {t_max}; it must be > 0, or inf for none.")
        info = get_rule(rule)
        if info.domain != "spike time":
            raise ValueError(
                f"rule {rule!r} learns on {info.domain}s; ReL-PSP layers need a rule "
                "on spike times, such as 'stdbp'."
            )
        if info.response != "ramp":
            raise ValueError(
                f"rule {rule!r} is for neurons whose input spikes add a step, not a "
                "ramp; take IFLinear or IFConv2d, or a rule such as 'stdbp'."
            )
        self.rule = rule
        self.t_max = t_max
        self.slope_clip = slope_clip
        self.weight_mean = weight_mean
        self.weight_gain = weight_gain
        self.weight = nn.Parameter(
            torch.empty(weight_shape, device=device, dtype=dtype)
        )
        threshold = torch.full(weight_shape[:1], v_th, device=device, dtype=dtype)
        if learn_threshold:
            self.v_th = nn.Parameter(threshold)
        else:
            self.register_buffer("v_th", threshold)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew from N(mean, (gain / sqrt(fan_in))^2).

        A ReL-PSP neuron fires for certain only if its weight sum is positive, so the
        mean decides how many neurons speak. With mean 0 about half of a layer fires at
        first, which trains best in hidden layers; output layers want a positive mean,
        or some classes start silent and never learn (`build_network` sets it).
        """
        fan_in = self.weight[0].numel()
        nn.init.normal_(self.weight, self.weight_mean, self.weight_gain / fan_in**0.5)

    def _rule(
        self, spike_time: Tensor, weight: Tensor, v_th: Tensor, **limits: Any
    ) -> Tensor:
        """The learning rule; weight is (out, in)."""
        return get_rule(self.rule).function(spike_time, weight, v_th, **limits)

    def _fire(self, spike_time: Tensor) -> Tensor:
        spike_time = self._enter(spike_time)
        if self.rounding is not None:
            return self._fire_rounded(spike_time, self.rounding)
        return self._rule(
            spike_time,
            self.weight.flatten(1),
            self.v_th,
            t_max=self.t_max,
            slope_clip=self.slope_clip,
        )

    def _enter(self, spike_time: Tensor) -> Tensor:
        """Spike times in the unit in which the layer computes: ticks if it rounds."""
        if self.rounding is None:
            return spike_time
        _, num_ticks, tick, *_ = self.rounding
        if self.rounding.ticks:
            return nearest_tick(spike_time, num_ticks, tick)
        return spike_time / tick

    def _fire_rounded(self, ticks: Tensor, rounding: Rounding) -> Tensor:
        """Fire in whole steps and ticks, as the integer network does, spike by spike.

        Spike times do not depend on the unit of weights and time, nor does the
        gradient; the limit of 1/slope has to follow the unit.
        """
        num_ticks, tick = rounding.num_ticks, rounding.tick
        weight, v_th = self.weight.flatten(1), self.v_th
        largest = largest_weight(rounding.bits)
        step = weight_steps(weight, rounding.bits, shared=rounding.shared_step)
        whole = integer_weights(weight, step, largest)
        threshold = ramp_thresholds(v_th, step, tick)
        if rounding.weights:
            require_integers(whole, threshold)
        else:
            whole = weight.detach() / step[:, None]
        if not rounding.thresholds:
            threshold = v_th.detach() / (tick * step)
        # With P the largest sum of one sign, potentials stay below num_ticks * P, and a
        # crossing that is no whole tick is 1/P away from one: all of that is exact in
        # float32 up to 2^23.
        rise = whole.clamp(min=0).sum(1)
        reach = num_ticks * float(torch.maximum(rise, rise - whole.sum(1)).max())
        dtype = torch.promote_types(
            weight.dtype, torch.float32 if reach < 1 << 23 else torch.float64
        )
        post = self._rule(
            ticks.to(dtype),
            straight_through(weight, whole.to(dtype), step),
            straight_through(v_th, threshold.to(dtype), tick * step),
            t_max=num_ticks - 1 if rounding.ticks else num_ticks,
            slope_clip=self.slope_clip and self.slope_clip * step.to(dtype),
        )
        return (tick * (round_up(post) if rounding.ticks else post)).to(ticks)


class ReLPSPLinear(_ReLPSP):
    """Dense layer of ReL-PSP neurons, spike times in, first-spike times out.

        V_j(t) = sum_i w_ji max(0, t - t_i),      t_j = min { t : V_j(t) >= v_th_j }

    Args:
        in_features: Number of inputs.
        out_features: Number of neurons.
        v_th: Threshold > 0, unitless.
        t_max: Horizon in the unit of time; a later spike counts as silent.
        slope_clip: Upper limit of the factor 1/slope in the backward; None = exact.
        learn_threshold: Whether `v_th` is a parameter, one value per neuron.
        weight_mean: Mean of the initial weights (see `reset_parameters`).
        weight_gain: Initial standard deviation times sqrt(fan_in).
        rule: Name of the learning rule.
        device: Device of the parameters.
        dtype: Floating-point type of the parameters.

    Raises:
        ValueError: a size, v_th or t_max is not positive, or the rule is unknown.

    Reference:
        Zhang et al., arXiv 2003.11837.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        v_th: float = 1.0,
        t_max: float = math.inf,
        slope_clip: float | None = None,
        learn_threshold: bool = False,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
        rule: str = "stdbp",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.in_features = in_features
        self.out_features = out_features
        super().__init__(
            (out_features, in_features),
            v_th,
            t_max,
            slope_clip,
            learn_threshold,
            weight_mean,
            weight_gain,
            rule,
            device,
            dtype,
        )

    def forward(self, spike_time: Tensor) -> Tensor:
        """Spike times (batch, in) to first-spike times (batch, out), inf = silent."""
        return self._fire(spike_time)

    def extra_repr(self) -> str:
        """Sizes and horizon, for print(network)."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"t_max={self.t_max}, rule={self.rule!r}"
        )


class ReLPSPConv2d(_ReLPSP):
    """Convolutional layer of ReL-PSP neurons: the dense law on every patch.

    Padding is silence (inf), never time 0, which would mean full intensity.

    Args:
        in_channels: Number of input maps.
        out_channels: Number of output maps.
        kernel_size: Side of the square kernel.
        stride: Step between patches.
        padding: Silent border added on every side.
        v_th: Threshold > 0, unitless.
        t_max: Horizon in the unit of time; a later spike counts as silent.
        slope_clip: Upper limit of the factor 1/slope in the backward; None = exact.
        learn_threshold: Whether `v_th` is a parameter, one value per output map.
        weight_mean: Mean of the initial weights (see `reset_parameters`).
        weight_gain: Initial standard deviation times sqrt(fan_in).
        rule: Name of the learning rule.
        device: Device of the parameters.
        dtype: Floating-point type of the parameters.

    Raises:
        ValueError: a size, v_th or t_max is not positive, or the rule is unknown.

    Reference:
        Zhang et al., arXiv 2003.11837; silent padding as in the group's DTA-TTFS code.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        v_th: float = 1.0,
        t_max: float = math.inf,
        slope_clip: float | None = None,
        learn_threshold: bool = False,
        weight_mean: float = 0.0,
        weight_gain: float = 1.4,
        rule: str = "stdbp",
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
            v_th,
            t_max,
            slope_clip,
            learn_threshold,
            weight_mean,
            weight_gain,
            rule,
            device,
            dtype,
        )

    def forward(self, spike_time: Tensor) -> Tensor:
        """Spike times (batch, in, H, W) to (batch, out, H', W'), inf = silent."""
        return self._fire(spike_time)

    def _rule(
        self, spike_time: Tensor, weight: Tensor, v_th: Tensor, **limits: Any
    ) -> Tensor:
        """The learning rule on every patch; weight is (out, in)."""
        kernel = weight.view_as(self.weight)
        slide = {"stride": self.stride, "padding": self.padding}
        info = get_rule(self.rule)
        if info.conv2d is not None:
            return info.conv2d(spike_time, kernel, v_th, **slide, **limits)
        cut, size = patches(spike_time, kernel, **slide)
        post = info.function(cut, weight, v_th, **limits)  # (batch, place, out)
        return post.transpose(1, 2).unflatten(2, size)

    def extra_repr(self) -> str:
        """Sizes and horizon, for print(network)."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, t_max={self.t_max}, "
            f"rule={self.rule!r}"
        )
