"""Small networks of LIF layers whose layers all fire, as those of trained ones do."""

import torch
from torch import nn

from snn_temporal_plugins.neurons import (
    LIFConv2d,
    LIFLinear,
    PSPFilter,
    PSPPool2d,
    TimeFlatten,
    build_network,
)

LIF = (LIFLinear, LIFConv2d)


def draw(*shape, seed=1, rate=None):
    """Normal numbers, or with a rate spikes."""
    generator = torch.Generator().manual_seed(seed)
    if rate is None:
        return torch.randn(shape, generator=generator)
    return (torch.rand(shape, generator=generator) < rate).float()


def rate(psp, tau_syn):
    """Spikes per bin: s[t] = tau_syn a[t] - (tau_syn - 1) a[t-1], summed over time."""
    return float((tau_syn * psp[-1] + psp[:-1].sum(0)).mean() / len(psp))


@torch.no_grad()
def lively(network, x):
    """Scale the weights, layer by layer, until an eighth of all bins fires."""
    for layer in network:
        if isinstance(layer, LIF):
            while rate(layer(x), layer.tau_syn) < 1 / 8:
                layer.weight *= 1.2
        x = layer(x)
    return network


def seeded(make, x):
    """A network and its input."""
    torch.manual_seed(0)
    return lively(make(), x), x


def tssl(spec, **options):
    return build_network(spec, rule="tssl_bp", **options)


def uneven():
    """Other constants in every layer, a stride, padding, a pool that leaves a rim."""
    return nn.Sequential(
        PSPFilter(2.5),
        LIFConv2d(2, 5, 3, stride=2, padding=1, tau_mem=4.0, tau_syn=1.7, v_th=0.6),
        PSPPool2d(2, gain=0.7),
        PSPPool2d(2, gain=1.3),
        TimeFlatten(),
        LIFLinear(20, 12, tau_mem=1.0, tau_syn=1.0, v_th=2.0),
        LIFLinear(12, 1, tau_mem=30.0, tau_syn=6.0),
    )


NETWORKS = {
    "dense, direct": lambda: seeded(
        lambda: tssl("60-40-30-10", num_steps=5), draw(50, 60)
    ),
    "conv, direct": lambda: seeded(
        lambda: tssl("12x12-6C5P2-P2-8C3-P2-20-10", num_steps=5), draw(10, 1, 12, 12)
    ),
    "dense, events": lambda: seeded(
        lambda: tssl("40-30-20-10", num_steps=None, tau_mem=8.0, tau_syn=4.0),
        draw(60, 20, 40, rate=0.2),
    ),
    "conv, events": lambda: seeded(
        lambda: tssl("12x12-6C5-P2-8C3-10", num_steps=None, tau_mem=8.0, tau_syn=4.0),
        draw(30, 8, 1, 12, 12, rate=0.2),
    ),
    "no synaptic filter": lambda: seeded(
        lambda: tssl("40-30-10", num_steps=None, tau_mem=4.0, tau_syn=1.0),
        draw(60, 20, 40, rate=0.2),
    ),
    "uneven": lambda: seeded(uneven, draw(40, 8, 2, 17, 18, rate=0.3)),
    "currents step by step": lambda: seeded(
        lambda: nn.Sequential(PSPFilter(1), LIFLinear(7, 9), LIFLinear(9, 4)),
        draw(30, 8, 7),
    ),
}
SHAPES = {"uneven": (2, 17, 18)}
