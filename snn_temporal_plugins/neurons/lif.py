"""Layers of leaky integrate-and-fire neurons on spike trains."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_temporal_plugins.functional.arguments import require_slide
from snn_temporal_plugins.functional.lif import (
    psp_filter,
    require_time_constant,
    require_window,
)
from snn_temporal_plugins.neurons.geometry import require_sizes
from snn_temporal_plugins.rules import get_rule


class _LIF(nn.Module, ABC):
    """What the dense and the convolutional layer share."""

    weight: nn.Parameter

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        num_steps: int | None,
        tau_mem: float,
        tau_syn: float,
        v_th: float,
        reset: str,
        weight_scale: float,
        rule: str,
        rule_options: Mapping[str, Any] | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        require_sizes(weight_shape)
        if num_steps is not None and num_steps < 1:
            raise ValueError(
                f"num_steps is {num_steps}; it must be at least 1, or None for input "
                "that comes step by step."
            )
        require_time_constant("tau_mem", tau_mem)
        require_time_constant("tau_syn", tau_syn)
        info = get_rule(rule)
        if info.domain != "spike train":
            raise ValueError(
                f"rule {rule!r} learns on {info.domain}s; LIF layers need a rule on "
                "spike trains, such as 'tssl_bp'."
            )
        if info.takes != "current":
            raise ValueError(
                f"rule {rule!r} takes spikes and weights; LIF layers need a rule on "
                "spike trains that takes currents, such as 'tssl_bp'. 'st_rsbp' has "
                "layers of its own: SpikeTrainLinear, SpikeTrainConv2d, RecurrentLIF."
            )
        self.num_steps = num_steps
        self.tau_mem = tau_mem
        self.tau_syn = tau_syn
        self.v_th = v_th
        self.reset = reset
        self.weight_scale = weight_scale
        self.rule = rule
        self.rule_options = dict(rule_options or {})
        self.weight = nn.Parameter(
            torch.empty(weight_shape, device=device, dtype=dtype)
        )
        self.reset_parameters()
        # one silent step: an option that the rule does not know fails here
        self.fire(self.weight.detach().new_zeros(1, 1, 1))

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draw the weights anew."""

    @abstractmethod
    def synapses(self, x: Tensor) -> Tensor:
        """Weighted sums of merged steps and samples, (time * batch, ...)."""

    def current(self, psp: Tensor) -> Tensor:
        """Synaptic currents I = W a.

        Args:
            psp: PSPs (time, batch, ...); with `num_steps` a constant current
                (batch, ...).

        Returns:
            Currents (time, batch, ...), in thresholds.
        """
        if self.num_steps is None:
            require_window("psp", psp)
            merged = self.synapses(psp.flatten(0, 1))
            return merged.unflatten(0, psp.shape[:2])
        if not psp.is_floating_point():
            raise TypeError(
                f"psp is {psp.dtype}; it must be a floating-point tensor. Scale "
                "images, for example by 1/255."
            )
        # The PSP of a constant current x is c[t] x, so the synapses act once, not in
        # every step: W (c[t] x) = c[t] (W x).
        once = self.synapses(psp)
        gain = psp_filter(once.new_ones(self.num_steps, 1), self.tau_syn)
        # a matrix product, whose backward is one too: a third of the time of gain * x
        return (gain @ once.reshape(1, -1)).view(self.num_steps, *once.shape)

    @property
    def settings(self) -> dict[str, Any]:
        """The constants and options that the rule is called with."""
        return {
            "tau_mem": self.tau_mem,
            "tau_syn": self.tau_syn,
            "v_th": self.v_th,
            "reset": self.reset,
            **self.rule_options,
        }

    def fire(self, current: Tensor) -> Tensor:
        """PSPs of the neurons that get these currents, both (time, batch, ...)."""
        return get_rule(self.rule).function(current, **self.settings)

    def forward(self, psp: Tensor) -> Tensor:
        """PSPs of the layer before to PSPs of this one, (time, batch, ...)."""
        return self.fire(self.current(psp))

    def extra_repr(self) -> str:
        """Constants, for print(network)."""
        encoding = "" if self.num_steps is None else f"num_steps={self.num_steps}, "
        return (
            f"{encoding}tau_mem={self.tau_mem}, tau_syn={self.tau_syn}, "
            f"v_th={self.v_th}, reset={self.reset!r}, rule={self.rule!r}"
        )


class LIFLinear(_LIF):
    """Dense layer of leaky integrate-and-fire neurons, PSPs in, PSPs out.

        I[t] = W a_pre[t],   u[t] = (1 - 1/tau_mem) v[t-1] + I[t]
        s[t] = [u[t] > v_th],   v[t] = u[t] (1 - s[t])
        a[t] = a[t-1] + (s[t] - a[t-1]) / tau_syn

    There is no bias. Input spikes become PSPs by `PSPFilter`; a real-valued image needs
    no encoder: with `num_steps` it is a constant input current (direct encoding).

    Args:
        in_features: Number of inputs.
        out_features: Number of neurons.
        num_steps: For the first layer: the input is a constant current (batch, in) that
            is filtered for so many steps. None: PSPs (time, batch, in).
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        v_th: Threshold, unitless.
        reset: "hard" or "soft".
        weight_scale: Factor of the initial weights, N(0, 2 / in_features).
        rule: Name of the learning rule, one on spike trains.
        rule_options: Further options of the rule, for `tssl_bp` those from `decision`
            on.
        device: Device of the weights.
        dtype: Floating-point type of the weights.

    Raises:
        ValueError: a size or constant is out of range, or the rule is unknown.

    Reference:
        Zhang and Li, NeurIPS 2020; initial weights of the released code.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        num_steps: int | None = None,
        tau_mem: float = 5.0,
        tau_syn: float = 3.0,
        v_th: float = 1.0,
        reset: str = "hard",
        weight_scale: float = 1.0,
        rule: str = "tssl_bp",
        rule_options: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.in_features = in_features
        self.out_features = out_features
        super().__init__(
            (out_features, in_features),
            num_steps,
            tau_mem,
            tau_syn,
            v_th,
            reset,
            weight_scale,
            rule,
            rule_options,
            device,
            dtype,
        )

    def reset_parameters(self) -> None:
        """Draw the weights anew from N(0, 2 / in_features), times `weight_scale`."""
        nn.init.kaiming_normal_(self.weight)
        with torch.no_grad():
            self.weight.mul_(self.weight_scale)

    def synapses(self, x: Tensor) -> Tensor:
        """Weighted sums, (samples, in) to (samples, out)."""
        if x.dim() != 2 or x.shape[1] != self.in_features:
            raise ValueError(
                f"a step of the input has shape {tuple(x.shape)}; expected (batch, "
                f"{self.in_features}). Time comes first; flatten images before."
            )
        return F.linear(x, self.weight)

    def extra_repr(self) -> str:
        """Sizes and constants, for print(network)."""
        return f"{self.in_features}, {self.out_features}, {super().extra_repr()}"


class LIFConv2d(_LIF):
    """Convolutional layer of leaky integrate-and-fire neurons, PSPs in, PSPs out.

    Args:
        in_channels: Number of input maps.
        out_channels: Number of output maps.
        kernel_size: Side of the square kernel.
        stride: Step between patches.
        padding: Border of zeros on every side.
        num_steps: For the first layer: the input is a constant current (batch, channel,
            H, W). None: PSPs (time, batch, channel, H, W).
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        v_th: Threshold, unitless.
        reset: "hard" or "soft".
        weight_scale: Factor of the initial weights, uniform in +-1/sqrt(fan_in).
        rule: Name of the learning rule, one on spike trains.
        rule_options: Further options of the rule.
        device: Device of the weights.
        dtype: Floating-point type of the weights.

    Raises:
        ValueError: a size or constant is out of range, or the rule is unknown.

    Reference:
        Zhang and Li, NeurIPS 2020; initial weights of the released code.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        num_steps: int | None = None,
        tau_mem: float = 5.0,
        tau_syn: float = 3.0,
        v_th: float = 1.0,
        reset: str = "hard",
        weight_scale: float = 1.0,
        rule: str = "tssl_bp",
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
            tau_mem,
            tau_syn,
            v_th,
            reset,
            weight_scale,
            rule,
            rule_options,
            device,
            dtype,
        )

    def reset_parameters(self) -> None:
        """Draw the weights anew, uniform in +-weight_scale / sqrt(fan_in)."""
        bound = self.weight_scale / self.weight[0].numel() ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def synapses(self, x: Tensor) -> Tensor:
        """Weighted sums, (samples, in, H, W) to (samples, out, H', W')."""
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"a step of the input has shape {tuple(x.shape)}; expected (batch, "
                f"{self.in_channels}, height, width). Time comes first."
            )
        return F.conv2d(x, self.weight, stride=self.stride, padding=self.padding)

    def extra_repr(self) -> str:
        """Sizes and constants, for print(network)."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, {super().extra_repr()}"
        )
