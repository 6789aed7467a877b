"""A network that computes as its integers will, in torch and with gradients."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from snn_temporal_plugins.functional.rounding import Rounding, largest_weight
from snn_temporal_plugins.neurons.integrate_fire import IFConv2d, IFLinear
from snn_temporal_plugins.neurons.relpsp import ReLPSPConv2d, ReLPSPLinear
from snn_temporal_plugins.neurons.shaping import EarliestSpikePool2d, SilenceDropout

_RAMP = ReLPSPLinear | ReLPSPConv2d
_STEP = IFLinear | IFConv2d
_OTHERS = EarliestSpikePool2d | SilenceDropout | nn.Flatten | nn.Identity
_DEFAULT_TICKS = 256


@contextmanager
def rounded(
    network: nn.Module,
    *,
    bits: int = 6,
    num_ticks: int | None = None,
    weights: bool = True,
    thresholds: bool = True,
    ticks: bool = True,
) -> Iterator[None]:
    """Let a network fire as `export.quantise(network, ...)` of it will, meanwhile.

    Every forward rounds the weights and thresholds as they are then, and all spike
    times up to whole ticks, so that each spike has the tick that the integer emulator
    gives it. Gradients go straight through the rounding. The parameters stay real.

    Args:
        network: `nn.Sequential` (nested ones too) of ReL-PSP layers with the rule
            "stdbp", or of integrate-and-fire layers, with pools, dropout and
            `nn.Flatten`.
        bits: Width of a weight, 2 to 8.
        num_ticks: Number of ticks up to the layers' common `t_max`; None = 256.
            Integrate-and-fire layers have their own: None, or that number.
        weights: Whether to round weights; without it integrate-and-fire layers do not
            round at all.
        thresholds: Whether to round thresholds, which costs integrate-and-fire layers
            nothing.
        ticks: Whether to round spike times, which those of integrate-and-fire layers
            are.

    Raises:
        ValueError: a setting is out of range, or the network cannot be rounded; in a
            forward, if all weights of a neuron or a threshold round to 0.
    """
    largest_weight(bits)
    layers = _spiking_layers(network)
    num_ticks, tick = _grid(layers, num_ticks)
    common = Rounding(bits, num_ticks, tick, False, weights, thresholds, ticks)
    for layer in layers:
        layer.rounding = common._replace(shared_step=layer is layers[-1])
    try:
        yield
    finally:
        for layer in layers:
            layer.rounding = None


def _spiking_layers(network: nn.Module) -> list[_RAMP | _STEP]:
    """The layers of neurons, first to last, or a refusal."""
    modules = list(_leaves(network))
    layers = [module for module in modules if isinstance(module, _RAMP | _STEP)]
    for module in modules:
        if not isinstance(module, _RAMP | _STEP | _OTHERS):
            raise ValueError(
                f"{type(module).__name__} cannot be rounded; allowed are ReLPSPLinear, "
                "ReLPSPConv2d, or IFLinear, IFConv2d, EarliestSpikePool2d, "
                "SilenceDropout and nn.Flatten in one nn.Sequential. Train with one of "
                "their rules, 'stdbp' or 'sstdp'"
            )
    for layer in layers:
        _require_exportable(layer)
    if not layers or layers[-1] is not modules[-1]:
        raise ValueError("the network does not end in a layer of neurons; it has to")
    if len(set(map(id, layers))) < len(layers):
        raise ValueError("a layer stands twice in the network; give each its weights")
    if len({isinstance(layer, _STEP) for layer in layers}) > 1:
        raise ValueError("the network mixes ReL-PSP and integrate-and-fire layers")
    return layers


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _leaves(child)
    else:
        yield module


def _require_exportable(layer: _RAMP | _STEP) -> None:
    if isinstance(layer, _RAMP):
        if layer.rule != "stdbp":
            raise ValueError(
                f"rule {layer.rule!r} cannot be rounded; allowed is 'stdbp', whose "
                "gradient does not depend on the unit of the weights"
            )
        return
    for name in ("tau_mem", "compat"):
        if layer.rule_options.get(name) is not None:
            raise ValueError(
                f"{name} is {layer.rule_options[name]!r}, and no integer network does "
                f"that; train with {name}=None"
            )


def _grid(layers: list[_RAMP | _STEP], num_ticks: int | None) -> tuple[int, float]:
    """Number and length of the ticks that all layers live on."""
    ramps = [layer.t_max for layer in layers if isinstance(layer, _RAMP)]
    steps = [layer.num_steps for layer in layers if isinstance(layer, _STEP)]
    common = set(ramps) or set(steps)
    if len(common) > 1 or math.inf in common:
        what = "t_max" if ramps else "num_steps"
        raise ValueError(
            f"the layers have {what}={sorted(common)}; they need one common and finite "
            f"{what}"
        )
    (end,) = common
    if steps and num_ticks not in (None, end):
        raise ValueError(
            f"num_ticks is {num_ticks}, and the layers live on {end} ticks; leave it "
            "away"
        )
    if num_ticks is None:
        num_ticks = int(end) if steps else _DEFAULT_TICKS
    if not 2 <= num_ticks <= 65535:
        raise ValueError(f"num_ticks is {num_ticks}; allowed: 2 to 65535")
    return num_ticks, 1.0 if steps else end / num_ticks
