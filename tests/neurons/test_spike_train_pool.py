"""Pools of spiking neurons: the layer, networks that have them, learning."""

import copy

import pytest
import torch

from snn_temporal_plugins.functional import (
    rate_encode,
    spike_count_class,
    spike_count_loss,
)
from snn_temporal_plugins.neurons import (
    SpikeTrainConv2d,
    SpikeTrainLinear,
    SpikeTrainPool2d,
    TimeFlatten,
    build_network,
)
from snn_temporal_plugins.rules import st_rsbp_pool
from snn_temporal_plugins.testing import check_layer

SMALL = {"v_th": 0.9, "tau_mem": 20.0, "tau_syn": 4.0}


def train(*shape, rate=0.2, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=g) < rate).float()


def test_keeps_the_contract_of_layers():
    check_layer(SpikeTrainPool2d(2, **SMALL), (3, 5, 7), domain="spike train")


def test_is_a_call_of_the_rule():
    layer = SpikeTrainPool2d(2, refractory=1, **SMALL)
    x = train(40, 3, 2, 5, 7).requires_grad_()
    out = layer(x)
    assert torch.equal(out, st_rsbp_pool(x, 2, **SMALL, refractory=1))
    assert out.shape == (40, 3, 2, 2, 3) and 0 < out.sum() < out.numel()
    out.sum(0).square().sum().backward()
    assert x.grad.any() and not x.grad[..., 4:, :].any()
    assert not list(layer.parameters()) and not layer.state_dict()
    assert repr(layer) == (
        "SpikeTrainPool2d(2, v_th=0.9, tau_mem=20.0, tau_syn=4.0, refractory=1)"
    )


def test_two_windows_are_one():
    layer, x = SpikeTrainPool2d(2, **SMALL), train(40, 3, 2, 5, 7)
    first = layer.window(x[:17])
    second = layer.window(x[17:], first.state)
    assert torch.equal(torch.cat([first.spikes, second.spikes]), layer(x))


def test_the_papers_network():
    spec = "15C5-P2-40C5-P2-300-10"
    network = build_network(spec, rule="st_rsbp", v_th=[5, 2, 10, 4, 10, 5])
    assert [type(layer) for layer in network] == [
        *(SpikeTrainConv2d, SpikeTrainPool2d, SpikeTrainConv2d, SpikeTrainPool2d),
        *(TimeFlatten, SpikeTrainLinear, SpikeTrainLinear),
    ]

    def thresholds(network):
        return [layer.v_th for layer in network if hasattr(layer, "v_th")]

    assert thresholds(network) == [5, 2, 10, 4, 10, 5]
    assert network(train(3, 2, 1, 28, 28)).shape == (3, 2, 10)
    options = {"tau_mem": 32.0, "refractory": 0, "weight_bound": 0.5}
    network = build_network(
        spec, rule="st_rsbp", rule_options={"side": "direct"}, **options
    )
    assert thresholds(network) == [20, 2, 20, 2, 20, 15]
    pool = network[1]
    assert (pool.kernel_size, pool.tau_mem, pool.refractory) == (2, 32.0, 0)
    assert network[0].weight.abs().max() <= 0.5
    network = build_network(spec, rule="st_rsbp", v_th=3.0)
    assert thresholds(network) == [3] * 6


def test_a_network_with_a_pool_learns():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(1)
    image = torch.rand(8, 1, 8, 8, generator=g)
    label = torch.arange(8) % 4
    network = build_network(
        "8x8-4C3-P2-4", rule="st_rsbp", v_th=[1, 1, 3], tau_mem=20.0, tau_syn=4.0
    )
    first = copy.deepcopy(network[0].weight)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    spikes = rate_encode(image, 80, max_rate=0.3, generator=g)
    losses = []
    for _ in range(60):
        out = network[3](network[:3](spikes), label)
        loss = spike_count_loss(
            out, label, desired_count=15, undesired_count=2, margin=1
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert (spike_count_class(out) == label).float().mean() >= 0.75
    assert not torch.allclose(first, network[0].weight, atol=0.01)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SpikeTrainPool2d(0), ValueError, "kernel_size is 0"),
        (lambda: SpikeTrainPool2d(2, v_th=0), ValueError, "v_th is 0"),
        (lambda: SpikeTrainPool2d(2, tau_mem=0.5), ValueError, "tau_mem"),
        (lambda: SpikeTrainPool2d(2, refractory=0.5), ValueError, "refractory"),
        (
            lambda: SpikeTrainPool2d(3)(torch.zeros(5, 2, 1, 2, 4)),
            ValueError,
            r"\(5, 2, 1, 2, 4\).*at least the side 3",
        ),
        (
            lambda: SpikeTrainPool2d(2)(0.25 * train(5, 2, 1, 8, 8)),
            ValueError,
            "other values than 0 and 1",
        ),
        (
            lambda: build_network("8x8-2C3-P2-3", rule="st_rsbp", v_th=[1, 2]),
            ValueError,
            "2 thresholds for 3 layers.*pools too",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
