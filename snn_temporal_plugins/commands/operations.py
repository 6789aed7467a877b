"""How much a network on spike trains computes for a sample, counted by its spikes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from snn_temporal_plugins.neurons import (
    LIFConv2d,
    LIFLinear,
    PSPPool2d,
    RecurrentLIF,
    SpikeTrainConv2d,
    SpikeTrainLinear,
    SpikeTrainPool2d,
    TimeFlatten,
)

_Dense = LIFLinear | SpikeTrainLinear | RecurrentLIF
_Convolution = LIFConv2d | SpikeTrainConv2d


class Operations(NamedTuple):
    """Operations per sample; the neurons' own updates are not counted.

    Attributes:
        synaptic: spikes times fan-out: each adds one weight to one neuron; 1 in a pool
            of spiking neurons.
        image: multiplications of weights with an input that is no spikes. An image is a
            constant current: its weighted sum is formed once, not in every step.
        dense: multiplications of one dense pass through the same weights.
    """

    synaptic: float
    image: float
    dense: float


def count_operations(
    network: nn.Module,
    sample_shape: tuple[int, ...],
    spikes: Mapping[str, Tensor],
) -> Operations:
    """Count the operations of a network that `build_network` has built.

    A spike that goes through a pool without neurons acts on every neuron that its
    window reaches.

    Args:
        network: `nn.Sequential` of layers of neurons, pools, and what computes nothing.
        sample_shape: shape of an image, or of one step of events.
        spikes: mean spikes per sample of each neuron: of `layer1`, `layer2`, ..., and
            of `input` where that is events.
    """
    image = "input" not in spikes
    # how many events arrive at each place per sample; a pixel counts as one
    events = torch.ones(sample_shape) if image else spikes["input"]
    events = events.double()
    synaptic = pixels = dense = 0.0
    layer = 0
    for module in network.children():
        if isinstance(module, _Dense | _Convolution):
            fan_out = _fan_out(module, events.shape)
            total = float((events * fan_out).sum())
            dense += float(fan_out.sum())
            if image:
                pixels = total
            else:
                synaptic += total
            layer += 1
            events, image = spikes[f"layer{layer}"].double(), False
            if isinstance(module, RecurrentLIF):
                connections = (module.recurrent_weight != 0).sum(0).double()
                synaptic += float((events * connections).sum())
                dense += float(connections.sum())
        elif isinstance(module, SpikeTrainPool2d):
            side = module.kernel_size
            height, width = (n // side * side for n in events.shape[-2:])
            synaptic += float(events[..., :height, :width].sum())
            layer += 1
            events, image = spikes[f"layer{layer}"].double(), False
        elif isinstance(module, PSPPool2d):
            side = module.kernel_size
            events = side**2 * F.avg_pool2d(events, side)
            if image:
                events = torch.ones_like(events)
        elif isinstance(module, nn.Flatten | TimeFlatten):
            events = events.flatten()
    return Operations(synaptic, pixels, dense)


def _fan_out(layer: _Dense | _Convolution, shape: tuple[int, ...]) -> Tensor:
    """How many neurons each input reaches."""
    if isinstance(layer, _Dense):
        return torch.full(shape, layer.out_features, dtype=torch.float64)
    size = [
        (n + 2 * layer.padding - layer.kernel_size) // layer.stride + 1
        for n in shape[-2:]
    ]
    weight = torch.ones_like(layer.weight, dtype=torch.float64)
    return conv2d_input(
        (1, *shape),
        weight,
        weight.new_ones(1, layer.out_channels, *size),
        stride=layer.stride,
        padding=layer.padding,
    )[0]
