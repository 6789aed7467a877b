"""What the tests of LIF layers share: one way to make and to run them in both hosts."""

import pytest
import torch

from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn

HOSTS = pytest.mark.parametrize("host", [tsnn, tnorse], ids=["snntorch", "norse"])


def events(*shape, rate=0.4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=g) < rate).double()


def real(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)).double()


def dense(host, sizes, p=None, **options):
    """A layer of either host with the same constants."""
    p = p or {}
    if host is tnorse:
        return tnorse.LIFLinear(*sizes, tnorse.LIFWindowParameters(**p), **options)
    words = {"hard": "zero", "soft": "subtract"}
    return tsnn.LIFLinear(
        *sizes,
        tau_mem=p.get("tau_mem", 5.0),
        tau_syn=p.get("tau_syn", 3.0),
        threshold=p.get("v_th", 1.0),
        reset_mechanism=words[p.get("reset", "hard")],
        rule=p.get("method", "tssl_bp"),
        rule_options=p.get("method_options"),
        **options,
    )


def run(layer, x, state=None):
    """Spikes and the state at the end, in either protocol."""
    out = layer(x, state)
    return (out[0], layer.state) if hasattr(layer, "stream") else out
