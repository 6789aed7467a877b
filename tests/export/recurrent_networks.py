"""Small networks of ST-RSBP layers whose layers all fire."""

import torch
from torch import nn

from snn_temporal_plugins.neurons import (
    RecurrentLIF,
    SpikeTrainConv2d,
    SpikeTrainLinear,
    SpikeTrainPool2d,
    TimeFlatten,
    build_network,
)
from tests.export.lif_networks import draw

QUICK = {"tau_mem": 16.0, "tau_syn": 4.0, "refractory": 0}


@torch.no_grad()
def lively(network, x):
    """Raise the input weights, layer by layer, until a tenth of all bins fires."""
    for layer in network:
        weight = getattr(layer, "core", layer)
        for _ in range(100):
            out = layer(x)
            out = out[0] if isinstance(out, tuple) else out
            if not hasattr(weight, "weight") or out.mean() > 0.1:
                break
            weight.weight += 0.05
        x = out
    return network


def seeded(make, x):
    """A network and its input."""
    torch.manual_seed(0)
    return lively(make(), x), x


def built():
    """As the builder makes it, without the refractory time."""
    network = build_network("30-20-R20-10", rule="st_rsbp", v_th=3.0, tau_mem=32.0)
    for layer in network:
        layer.refractory = 0
    return network


def convolution():
    return nn.Sequential(
        SpikeTrainConv2d(2, 4, 3, stride=2, padding=1, v_th=3.0, **QUICK),
        SpikeTrainConv2d(4, 3, 2, v_th=2.0, **QUICK),
        TimeFlatten(),
        SpikeTrainLinear(27, 4, v_th=3.0, lateral=0.5, **QUICK),
    )


def pooled():
    """Pools that leave a rim, one with a filter and one without."""
    return nn.Sequential(
        SpikeTrainConv2d(2, 4, 3, v_th=3.0, **QUICK),
        SpikeTrainPool2d(2, v_th=1.5, **QUICK),
        SpikeTrainPool2d(2, v_th=2.5, tau_mem=9.0, tau_syn=1.0, refractory=0),
        TimeFlatten(),
        SpikeTrainLinear(16, 4, v_th=3.0, lateral=0.5, **QUICK),
    )


def uneven():
    """Other constants in every layer, without a filter, of one neuron."""
    return nn.Sequential(
        RecurrentLIF(30, 8, v_th=1.5, tau_mem=5.0, tau_syn=2.5, refractory=0),
        SpikeTrainLinear(8, 12, v_th=2.0, tau_mem=3.0, tau_syn=1.0, refractory=0),
        RecurrentLIF(12, 9, v_th=2.0, tau_mem=4.0, tau_syn=1.0, refractory=0),
        SpikeTrainLinear(9, 1, v_th=0.7, tau_mem=1.0, tau_syn=6.0, refractory=0),
    )


EVENTS = draw(60, 20, 30, rate=0.2)
NETWORKS = {
    "built": lambda: seeded(built, EVENTS),
    "convolution": lambda: seeded(convolution, draw(40, 8, 2, 7, 7, rate=0.3)),
    "pooled": lambda: seeded(pooled, draw(40, 8, 2, 11, 12, rate=0.1)),
    "uneven": lambda: seeded(uneven, EVENTS),
    "reservoir": lambda: seeded(
        lambda: nn.Sequential(
            RecurrentLIF(30, 27, grid=(3, 3, 3), v_th=3.0, **QUICK),
            RecurrentLIF(27, 5, v_th=3.0, **QUICK),
        ),
        EVENTS,
    ),
}
SHAPES = {"convolution": (2, 7, 7), "pooled": (2, 11, 12)}
