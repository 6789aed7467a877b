"""What the tests of ST-RSBP layers share: one way to make and to run them in hosts."""

import pytest
import torch
from torch import nn

from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn

HOSTS = pytest.mark.parametrize("host", [tsnn, tnorse], ids=["snntorch", "norse"])
KINDS = pytest.mark.parametrize("kind", ["dense", "output", "recurrent", "reservoir"])
OPTIONS = {
    "dense": ("SpikeTrainLinear", (6, 8), {}),
    "output": ("SpikeTrainLinear", (6, 8), {"lateral": 1.0, "desired_count": 4}),
    "recurrent": ("RecurrentLIF", (6, 8), {}),
    "reservoir": ("RecurrentLIF", (6, 8), {"grid": (2, 2, 2)}),
    "conv": ("SpikeTrainConv2d", (2, 3, 3), {"stride": 2, "padding": 1}),
    "pool": ("SpikeTrainPool2d", (2,), {}),
}
QUICK = {"v_th": 2.0, "tau_mem": 16.0, "tau_syn": 4.0}


def events(*shape, rate=0.4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=g) < rate).double()


def make(host, kind, p=None, **options):
    """A layer of either host with the same constants, in float64."""
    name, sizes, more = OPTIONS[kind]
    p = {**QUICK, **(p or {})}
    if host is tnorse:
        p = tnorse.SpikeTrainParameters(**p)
        layer = getattr(tnorse, name)(*sizes, p, **more, **options)
    else:
        words = {"v_th": "threshold", "method": "rule"}
        words["method_options"] = "rule_options"
        p = {words.get(key, key): value for key, value in p.items()}
        if kind == "pool":  # there is nothing to set
            p.pop("rule_options", None)
        layer = getattr(tsnn, name)(*sizes, **p, **more, **options)
    return layer.double()


def image_or_row(kind, *before, seed=0):
    """Spikes that a layer takes, with these axes before."""
    shape = (2, 7, 7) if kind in ("conv", "pool") else (6,)
    return events(*before, *shape, rate=0.6, seed=seed)


def lift(network):
    """Raise the input weights, so that all layers fire."""
    with torch.no_grad():
        for layer in network if isinstance(network, nn.Sequential) else [network]:
            if hasattr(layer := getattr(layer, "core", layer), "weight"):  # no pool
                layer.weight.add_(0.2)
    return network
