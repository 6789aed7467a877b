"""Networks from the papers' architecture strings."""

import math
from collections.abc import Callable, Mapping, Sequence
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
from snn_temporal_plugins.neurons.spike_train import (
    RecurrentLIF,
    SpikeTrainConv2d,
    SpikeTrainLinear,
)
from snn_temporal_plugins.neurons.spike_train_pool import SpikeTrainPool2d
from snn_temporal_plugins.rules import get_rule

# Initial weights of ReL-PSP layers, found by trial. Each layer takes a part of the time
# and must fire before the horizon. The first may be choosy (weight sum 0); a later one
# sees few and late spikes, so it gets steeper weights and a positive sum; the output
# starts with every class firing. Mean weight = weight sum / fan_in.
_RELPSP_STARTS = (2.0, 0.0), (4.0, 4.0), (1.4, 12.0)  # gain, weight sum
# The same in thresholds. A convolution must be choosy: with few and selective spikes
# the layers behind it learn several times faster.
_IF_STARTS = (1.4, 8.0), (1.4, 8.0), (0.5, 1.5)
_IF_CONV_STARTS = (1.2, 1.0), (1.4, 0.0), (0.5, 1.5)


def build_network(
    spec: str,
    *,
    rule: str = "stdbp",
    v_th: float | Sequence[float] | None = None,
    dropout: float = 0.0,
    t_max: float = 2.0,
    slope_clip: float | None = 5.0,
    learn_threshold: bool = False,
    hidden_weight_scale: float = 1.0,
    num_ticks: int = 256,
    num_steps: int | None = 5,
    tau_mem: float | None = None,
    tau_syn: float | None = None,
    reset: str = "hard",
    refractory: int = 2,
    conv_weight_scale: float = 1.0,
    grid: tuple[int, int, int] | None = None,
    weight_bound: float = 1.0,
    desired_count: int = 35,
    rule_options: Mapping[str, Any] | None = None,
) -> nn.Sequential:
    """Build a network from an architecture string.

    `"28x28-16C5-P2-32C5-P2-800-128-10"` is two valid 5x5 convolutions, each followed by
    2x2 pooling, and three dense layers; `"784-400-10"` is two dense layers. A string
    that starts with a convolution means images of 28x28. The rule decides the layers.

    Rules on spike times: ReL-PSP layers, for SSTDP integrate-and-fire layers on ticks;
    spike times (batch, ...) in, spike times (batch, class) out. Rules on spike trains:
    LIF layers; images (batch, ...) in, or with num_steps=None events (time, batch,
    ...); PSPs (time, batch, class) out. ST-RSBP: spikes (time, batch, ...) in, spikes
    (time, batch, class) out; `"784-400-R400-10"` has a recurrent layer.

    Args:
        spec: Architecture string.
        rule: Name of the learning rule.
        v_th: Threshold of every neuron, unitless; None = 1. ST-RSBP: also one for each
            layer, pools too; None = 20, 2 for pools, and 15 for the last layer.
        dropout: Probability that a hidden neuron is cut off in training; ReL-PSP: in
            dense layers only, since pooling lets a hole in a map through.
        t_max: ReL-PSP: horizon of every layer, in input windows.
        slope_clip: ReL-PSP: upper limit of the factor 1/slope in the backward; None =
            exact.
        learn_threshold: ReL-PSP: whether thresholds are parameters.
        hidden_weight_scale: ReL-PSP: factor of the hidden layers' initial weights.
            Below 1 they fire later and by more inputs, and t_max has to be longer: deep
            networks learn better so.
        num_ticks: SSTDP: number of ticks T of every layer.
        num_steps: Spike trains: steps for which an image is shown as a constant
            current; None: the input already is a train of spikes.
        tau_mem: Spike trains: membrane time constant, in steps; None = 5, for ST-RSBP
            64.
        tau_syn: Spike trains: synaptic time constant, in steps; None = 3, for ST-RSBP
            8.
        reset: Spike trains: "hard" or "soft".
        refractory: ST-RSBP: steps after a spike in which the membrane is 0; NIR holds
            networks with 0 only.
        conv_weight_scale: Spike trains: factor of the convolutions' initial weights.
        grid: ST-RSBP: sides of the grid of a reservoir's neurons; None = recurrent
            layers are connected all-to-all.
        weight_bound: ST-RSBP: initial weights are uniform in +-weight_bound.
        desired_count: ST-RSBP: spikes forced upon a label's neuron that is silent.
        rule_options: SSTDP and spike trains: further options of the rule, such as `b`
            or `decision`.

    Returns:
        The layers in an `nn.Sequential`. Its attribute `input_shape` is the shape of
        one sample; of one step of it where that is a train.

    Raises:
        ValueError: the string cannot be read, a layer does not fit, the rule is
            unknown, or hidden_weight_scale is not positive.
    """
    architecture = read_architecture(spec)
    info = get_rule(rule)
    if info.takes == "spikes":
        if v_th is None:  # of the paper's networks; a pool adds up spikes of weight 1
            pools = (isinstance(part, Pool) for part in architecture.parts[:-1])
            v_th = [*(2.0 if pool else 20.0 for pool in pools), 15.0]
        elif isinstance(v_th, (int, float)):
            v_th = [v_th] * len(architecture.parts)
        options: dict[str, Any] = {
            "tau_mem": 64.0 if tau_mem is None else tau_mem,
            "tau_syn": 8.0 if tau_syn is None else tau_syn,
            "refractory": refractory,
        }
        synapses = {"weight_bound": weight_bound, "rule_options": rule_options}
        return _network(
            architecture,
            _spike_train_layers(
                architecture, v_th, grid, desired_count, options, synapses
            ),
        )
    v_th = 1.0 if v_th is None else v_th
    if not isinstance(v_th, (int, float)):
        raise ValueError(
            f"v_th is {v_th}; rule {rule!r} takes one threshold for all layers."
        )
    if info.response == "step":
        options = {"num_steps": num_ticks, "v_th": v_th, "rule_options": rule_options}
        kinds = (IFLinear, IFConv2d)
        starts = (
            _IF_CONV_STARTS
            if isinstance(architecture.parts[0], Convolution)
            else _IF_STARTS
        )
        layers = _first_spike_layers(
            architecture, dropout, kinds, starts, v_th, options
        )
    elif info.domain == "spike time":
        options = {
            "v_th": v_th,
            "t_max": t_max,
            "slope_clip": slope_clip,
            "learn_threshold": learn_threshold,
            "rule": rule,
        }
        ramps = (ReLPSPLinear, ReLPSPConv2d)
        if not 0 < hidden_weight_scale < math.inf:
            raise ValueError(
                f"hidden_weight_scale is {hidden_weight_scale}, allowed is above 0 and "
                "finite."
            )
        *hidden, out = _RELPSP_STARTS
        scaled = [
            (gain * hidden_weight_scale, weight_sum * hidden_weight_scale)
            for gain, weight_sum in hidden
        ]
        layers = _first_spike_layers(
            architecture,
            dropout,
            ramps,
            (*scaled, out),
            1.0,
            options,
            whole_maps=True,
        )
    else:
        options = {
            "tau_mem": 5.0 if tau_mem is None else tau_mem,
            "tau_syn": 3.0 if tau_syn is None else tau_syn,
            "v_th": v_th,
            "reset": reset,
            "rule": rule,
            "rule_options": rule_options,
        }
        layers = _lif_layers(
            architecture, dropout, num_steps, conv_weight_scale, options
        )
    return _network(architecture, layers)


def _network(architecture: Architecture, layers: list[nn.Module]) -> nn.Sequential:
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
    whole_maps: bool = False,
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
            case Dense(inputs, neurons, flatten, recurrent):
                _refuse_recurrent(recurrent)
                if flatten:
                    layers.append(nn.Flatten())
                start["weight_mean"] = unit * weight_sum / inputs
                layers.append(dense(inputs, neurons, **start, **options))
        spared = whole_maps and isinstance(part, Convolution)
        if dropout > 0 and part is not last and not spared:
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
            case Dense(inputs, neurons, flatten, recurrent):
                _refuse_recurrent(recurrent)
                if flatten:
                    layers.append(nn.Flatten() if timeless else TimeFlatten())
                layers.append(LIFLinear(inputs, neurons, num_steps=encoded, **options))
                timeless = False
        # after the pool where one follows, as the authors place it
        following = parts[position + 1 : position + 2]
        if dropout > 0 and following and not isinstance(following[0], Pool):
            layers.append(PSPDropout(dropout))
    return layers


def _refuse_recurrent(recurrent: bool) -> None:
    if recurrent:
        raise ValueError(
            "the architecture has a recurrent layer (R...), which only rule='st_rsbp' "
            "trains; leave out the R, or take that rule."
        )


def _spike_train_layers(
    architecture: Architecture,
    v_th: Sequence[float],
    grid: tuple[int, int, int] | None,
    desired_count: int,
    options: dict[str, Any],
    synapses: dict[str, Any],
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    parts = architecture.parts
    if len(v_th) != len(parts):
        raise ValueError(
            f"v_th has {len(v_th)} thresholds for {len(parts)} layers; give one "
            "number, or one for each layer, pools too."
        )
    for part, threshold in zip(parts, v_th, strict=True):
        neuron = {"v_th": float(threshold), **options}
        start = {**neuron, **synapses}
        match part:
            case Pool(side):
                layers.append(SpikeTrainPool2d(side, **neuron))
            case Convolution(channels, maps, side, padding):
                layers.append(
                    SpikeTrainConv2d(channels, maps, side, padding=padding, **start)
                )
            case Dense(inputs, neurons, flatten, recurrent):
                if flatten:
                    layers.append(TimeFlatten())
                if recurrent:
                    layers.append(RecurrentLIF(inputs, neurons, grid=grid, **start))
                    continue
                if part is parts[-1]:
                    start |= {"lateral": 1.0, "desired_count": desired_count}
                layers.append(SpikeTrainLinear(inputs, neurons, **start))
    if parts[-1].recurrent:  # type: ignore[union-attr]  # the last part is dense
        raise ValueError("the last layer is recurrent; output layers are not.")
    return layers
