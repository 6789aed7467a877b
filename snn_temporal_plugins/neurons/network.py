"""Networks from the papers' architecture strings."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from snn_temporal_plugins.neurons.architecture import (
    Architecture,
    Convolution,
    Dense,
    Pool,
    read_architecture,
)
from snn_temporal_plugins.neurons.integrate_fire import IFConv2d, IFLinear
from snn_temporal_plugins.neurons.lif import LIFConv2d, LIFLinear
from snn_temporal_plugins.neurons.psp import (
    PSPDropout,
    PSPFilter,
    PSPPool2d,
    TimeFlatten,
)
from snn_temporal_plugins.neurons.relpsp import ReLPSPConv2d, ReLPSPLinear
from snn_temporal_plugins.neurons.shaping import EarliestSpikePool2d, SilenceDropout
from snn_temporal_plugins.rules import get_rule

# Initial weights of ReL-PSP layers, found by trial. Each layer takes a part of the time
# and must fire before the horizon. The first may be choosy (weight sum 0); a later one
# sees few and late spikes, so it gets steeper weights and a positive sum; the output
# starts with every class firing. Mean weight = weight sum / fan_in.
_RELPSP_STARTS = (2.0, 0.0), (4.0, 4.0), (1.4, 12.0)  # gain, weight sum
_IF_STARTS = (1.4, 8.0), (1.4, 8.0), (0.5, 1.5)  # the same, in thresholds


def build_network(
    spec: str,
    *,
    rule: str = "stdbp",
    v_th: float = 1.0,
    dropout: float = 0.0,
    t_max: float = 2.0,
    slope_clip: float | None = 5.0,
    learn_threshold: bool = False,
    num_ticks: int = 256,
    num_steps: int | None = 5,
    tau_mem: float = 5.0,
    tau_syn: float = 3.0,
    reset: str = "hard",
    conv_weight_scale: float = 1.0,
    rule_options: Mapping[str, Any] | None = None,
) -> nn.Sequential:
    """Build a network from an architecture string.

    `"28x28-16C5-P2-32C5-P2-800-128-10"` is two valid 5x5 convolutions, each followed by
    2x2 pooling, and three dense layers; `"784-400-10"` is two dense layers. A string
    that starts with a convolution means images of 28x28. The rule decides the layers.

    Rules on spike times: ReL-PSP layers, for SSTDP integrate-and-fire layers on ticks;
    spike times (batch, ...) in, spike times (batch, class) out. Rules on spike trains:
    LIF layers; images (batch, ...) in, or with num_steps=None events (time, batch,
    ...); PSPs (time, batch, class) out.

    Args:
        spec: Architecture string.
        rule: Name of the learning rule.
        v_th: Threshold of every neuron, unitless.
        dropout: Probability that a hidden neuron is cut off in training.
        t_max: ReL-PSP: horizon of every layer, in input windows.
        slope_clip: ReL-PSP: upper limit of the factor 1/slope in the backward; None =
            exact.
        learn_threshold: ReL-PSP: whether thresholds are parameters.
        num_ticks: SSTDP: number of ticks T of every layer.
        num_steps: Spike trains: steps for which an image is shown as a constant
            current; None: the input already is a train of spikes.
        tau_mem: Spike trains: membrane time constant, in steps.
        tau_syn: Spike trains: synaptic time constant, in steps.
        reset: Spike trains: "hard" or "soft".
        conv_weight_scale: Spike trains: factor of the convolutions' initial weights.
        rule_options: SSTDP and spike trains: further options of the rule, such as `b`
            or `decision`.

    Returns:
        The layers in an `nn.Sequential`. Its attribute `input_shape` is the shape of
        one sample; of one step of it where that is a train.

    Raises:
        ValueError: the string cannot be read, a layer does not fit, or the rule is
            unknown.
    """
    architecture = read_architecture(spec)
    options: dict[str, Any]
    if get_rule(rule).response == "step":
        options = {"num_steps": num_ticks, "v_th": v_th, "rule_options": rule_options}
        kinds = (IFLinear, IFConv2d)
        layers = _first_spike_layers(
            architecture, dropout, kinds, _IF_STARTS, v_th, options
        )
    elif get_rule(rule).domain == "spike time":
        options = {
            "v_th": v_th,
            "t_max": t_max,
            "slope_clip": slope_clip,
            "learn_threshold": learn_threshold,
            "rule": rule,
        }
        ramps = (ReLPSPLinear, ReLPSPConv2d)
        layers = _first_spike_layers(
            architecture, dropout, ramps, _RELPSP_STARTS, 1.0, options
        )
    else:
        options = {
            "tau_mem": tau_mem,
            "tau_syn": tau_syn,
            "v_th": v_th,
            "reset": reset,
            "rule": rule,
            "rule_options": rule_options,
        }
        layers = _lif_layers(
            architecture, dropout, num_steps, conv_weight_scale, options
        )
    network = nn.Sequential(*layers)
    network.input_shape = architecture.input_shape  # type: ignore[assignment]  # export
    return network


def _first_spike_layers(
    architecture: Architecture,
    dropout: float,
    kinds: tuple[Callable[..., nn.Module], Callable[..., nn.Module]],
    starts: tuple[tuple[float, float], ...],
    unit: float,
    options: dict[str, Any],
) -> list[nn.Module]:
    """Layers of one kind of neurons; how the first, later and last ones start."""
    dense, convolution = kinds
    first, later, out = starts
    layers: list[nn.Module] = []
    last = architecture.parts[-1]
    for part in architecture.parts:
        gain, weight_sum = out if part is last else later if layers else first
        start = {"weight_gain": gain * unit}
        match part:
            case Pool(side):
                layers.append(EarliestSpikePool2d(side))
                continue  # pooling has no neurons to silence
            case Convolution(channels, maps, side, padding):
                start["weight_mean"] = unit * weight_sum / (channels * side * side)
                layers.append(
                    convolution(
                        channels, maps, side, padding=padding, **start, **options
                    )
                )
            case Dense(inputs, neurons, flatten):
                if flatten:
                    layers.append(nn.Flatten())
                start["weight_mean"] = unit * weight_sum / inputs
                layers.append(dense(inputs, neurons, **start, **options))
        if dropout > 0 and part is not last:
            layers.append(SilenceDropout(dropout))
    return layers


def _lif_layers(
    architecture: Architecture,
    dropout: float,
    num_steps: int | None,
    conv_weight_scale: float,
    options: dict[str, Any],
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    parts = architecture.parts
    if num_steps is None:
        layers.append(PSPFilter(options["tau_syn"]))
    timeless = num_steps is not None  # until the first synapses show an image in steps
    for position, part in enumerate(parts):
        encoded = num_steps if timeless else None
        match part:
            case Pool(side):
                layers.append(PSPPool2d(side))
            case Convolution(channels, maps, side, padding):
                layers.append(
                    LIFConv2d(
                        channels,
                        maps,
                        side,
                        padding=padding,
                        weight_scale=conv_weight_scale,
                        num_steps=encoded,
                        **options,
                    )
                )
                timeless = False
            case Dense(inputs, neurons, flatten):
                if flatten:
                    layers.append(nn.Flatten() if timeless else TimeFlatten())
                layers.append(LIFLinear(inputs, neurons, num_steps=encoded, **options))
                timeless = False
        # after the pool where one follows, as the authors place it
        following = parts[position + 1 : position + 2]
        if dropout > 0 and following and not isinstance(following[0], Pool):
            layers.append(PSPDropout(dropout))
    return layers
