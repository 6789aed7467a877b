"""What the tests of integrate-and-fire layers share: one way to make them in hosts."""

import pytest
import torch

from snn_temporal_plugins import times_to_train
from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn
from snn_temporal_plugins.functional.integrate_fire import if_step

HOSTS = pytest.mark.parametrize("host", [tsnn, tnorse], ids=["snntorch", "norse"])


def settings_of(host, p):
    """What the window layers of a host call the settings of the rule."""
    if host is tsnn:
        options = dict(p)
        if "v_th" in options:
            options["threshold"] = options.pop("v_th")
        return (), options
    options = dict(p)
    if "rule_options" in options:
        options["method_options"] = options.pop("rule_options")
    return (tnorse.IFParameters(**options),), {}


def dense(host, sizes, p=None, **options):
    place, named = settings_of(host, p or {})
    return host.IFLinear(*sizes, *place, **named, **options)


def conv(host, sizes, p=None, **options):
    place, named = settings_of(host, p or {})
    return host.IFConv2d(*sizes, *place, **named, **options)


def run(layer, train):
    """Spikes and their times, in either protocol."""
    spikes, state = layer(train)
    return spikes, getattr(state, "spike_times", state)


def ticks(*shape, num_steps, seed=0, silent=0.2):
    """Random whole ticks, a share of them silent."""
    g = torch.Generator().manual_seed(seed)
    time = torch.randint(0, num_steps, shape, generator=g).double()
    return time.masked_fill(torch.rand(shape, generator=g) < silent, torch.inf)


def events(*shape, num_steps, seed=0):
    """Trains of first spikes (time, ...)."""
    return times_to_train(ticks(*shape, num_steps=num_steps, seed=seed), num_steps)


def sixteenths(weight, seed=0):
    """Weights whose sums are exact, so that a touch of the threshold is one."""
    g = torch.Generator().manual_seed(seed)
    draws = torch.randint(-16, 33, weight.shape, generator=g) / 16
    with torch.no_grad():
        weight.copy_(draws)
    return weight


def step_form(train, synapse, v_th=1.0):
    """The same layer by a loop over ticks."""
    state, spikes = None, []
    for x in train.unbind(0):
        z, state = if_step(synapse(x), state, v_th)
        spikes.append(z)
    return torch.stack(spikes)
