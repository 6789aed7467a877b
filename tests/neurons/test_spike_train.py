"""Layers of ST-RSBP: rule and layer agree, streams, reservoir, networks, learning."""

import pytest
import torch

from snn_temporal_plugins.functional import (
    rate_encode,
    spike_count_class,
    spike_count_loss,
)
from snn_temporal_plugins.neurons import (
    RecurrentLIF,
    SpikeTrainConv2d,
    SpikeTrainLinear,
    build_network,
)
from snn_temporal_plugins.neurons.spike_train import reservoir_connections
from snn_temporal_plugins.rules import st_rsbp

SMALL = {"v_th": 0.8, "tau_mem": 20.0, "tau_syn": 4.0}


def train(*shape, rate=0.2, seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=g) < rate).to(dtype)


def layers():
    torch.manual_seed(3)
    return {
        "dense": (SpikeTrainLinear(6, 5, **SMALL), train(40, 3, 6)),
        "output": (SpikeTrainLinear(6, 5, lateral=0.2, **SMALL), train(40, 3, 6)),
        "recurrent": (RecurrentLIF(6, 5, **SMALL), train(40, 3, 6)),
        "reservoir": (RecurrentLIF(6, 8, grid=(2, 2, 2), **SMALL), train(40, 3, 6)),
        "conv": (
            SpikeTrainConv2d(2, 3, 3, stride=2, padding=1, **SMALL),
            train(40, 3, 2, 5, 7),
        ),
    }


@pytest.mark.parametrize("name", layers())
def test_layer_is_a_call_of_the_rule(name):
    layer, spikes = layers()[name]
    out = layer(spikes)
    recurrent = getattr(layer, "recurrent_weight", None)
    expected = st_rsbp(spikes, layer.weight, recurrent, **layer.settings)
    assert out.any() and torch.equal(out, expected)
    out.sum(0).square().sum().backward()
    for parameter in layer.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any()


@pytest.mark.parametrize("name", layers())
def test_two_windows_are_one(name):
    layer, spikes = layers()[name]
    first = layer.window(spikes[:17])
    second = layer.window(spikes[17:], first.state)
    assert torch.equal(torch.cat([first.spikes, second.spikes]), layer(spikes))


@pytest.mark.parametrize("name", layers())
def test_layers_print_and_keep_their_state_dict(name):
    layer, spikes = layers()[name]
    assert "v_th=0.8" in repr(layer)
    other, _ = layers()[name]
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(spikes), layer(spikes))


def test_labels_change_the_gradient_only():
    layer, spikes = layers()["output"]
    label = torch.tensor([0, 1, 2])
    out = layer(spikes, label)
    assert torch.equal(out, layer(spikes))
    (with_label,) = torch.autograd.grad(out.sum(), layer.weight)
    (without,) = torch.autograd.grad(layer(spikes).sum(), layer.weight)
    with torch.no_grad():  # a silent neuron of the label is forced to spike
        layer.weight[0] = -1.0
    silent = layer(spikes)
    assert not silent[..., 0].any()
    (forced,) = torch.autograd.grad(layer(spikes, label).sum(), layer.weight)
    assert forced[0].any() and not torch.equal(with_label, without)
    (dead,) = torch.autograd.grad(silent.sum(), layer.weight)
    assert not dead[0].any()


def test_reservoir_connects_near_neurons_and_only_those_learn():
    connected = reservoir_connections((5, 5, 16))
    assert connected.shape == (400, 400)
    assert torch.equal(connected, reservoir_connections((5, 5, 16)))
    place = torch.cartesian_prod(*(torch.arange(n) for n in (5, 5, 16))).double()
    distance = torch.cdist(place, place)
    near, far = connected[distance == 1].float(), connected[distance > 4].float()
    # C is .45, .3, .6 or .15 by kinds; four in five are excitatory: .417 in the mean
    assert near.mean().item() == pytest.approx(0.417 * 0.7788, abs=0.04)
    assert far.mean() < 0.01
    layer = RecurrentLIF(10, 400, grid=(5, 5, 16), v_th=1.0)
    assert torch.equal(layer.recurrent_weight != 0, connected)
    layer(train(60, 2, 10)).sum(0).square().sum().backward()
    assert not layer.recurrent_weight.grad[~connected].any()
    assert layer.recurrent_weight.grad[connected].any()


def test_architecture_strings():
    network = build_network("784-400-R400-10", rule="st_rsbp")
    assert [type(layer) for layer in network] == [
        SpikeTrainLinear,
        RecurrentLIF,
        SpikeTrainLinear,
    ]
    assert [layer.v_th for layer in network] == [20.0, 20.0, 15.0]
    assert [layer.rule_options.get("lateral") for layer in network] == [0, None, 1]
    assert network[0].tau_mem == 64.0 and network[0].tau_syn == 8.0
    network = build_network(
        "28x28-4C5-R27-10", rule="st_rsbp", v_th=[5, 6, 7], grid=(3, 3, 3)
    )
    assert [layer.v_th for layer in network if hasattr(layer, "v_th")] == [5, 6, 7]
    assert network(train(5, 2, 1, 28, 28)).shape == (5, 2, 10)


def test_a_recurrent_network_learns():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(1)
    image = torch.rand(8, 20, generator=g)
    label = torch.arange(8) % 4
    network = build_network(
        "20-R30-4", rule="st_rsbp", v_th=[3, 3], tau_mem=20.0, tau_syn=4.0
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    spikes = rate_encode(image, 80, max_rate=0.3, generator=g)
    losses = []
    for _ in range(120):
        out = network[1](network[0](spikes), label)
        loss = spike_count_loss(
            out, label, desired_count=15, undesired_count=2, margin=1
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert (spike_count_class(out) == label).float().mean() >= 0.75


def test_double_precision_and_other_options():
    layer = RecurrentLIF(
        4, 3, v_th=0.5, dtype=torch.float64, rule_options={"solver": "original"}
    )
    spikes = train(30, 2, 4, dtype=torch.float64).requires_grad_()
    layer(spikes).sum(0).square().sum().backward()
    original = spikes.grad[0]
    assert original.dtype == torch.float64 and original.any()
    layer.rule_options["solver"] = "math"
    spikes.grad = None
    layer(spikes).sum(0).square().sum().backward()
    assert not torch.allclose(spikes.grad[0], original)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SpikeTrainLinear(0, 3), ValueError, "at least 1"),
        (lambda: SpikeTrainLinear(3, 3, v_th=0), ValueError, "v_th is 0"),
        (lambda: SpikeTrainLinear(3, 3, tau_mem=0.5), ValueError, "tau_mem"),
        (lambda: SpikeTrainLinear(3, 3, weight_bound=0), ValueError, "weight_bound"),
        (
            lambda: SpikeTrainLinear(3, 3, rule_options={"side": "x"}),
            ValueError,
            "side is 'x'",
        ),
        (
            lambda: SpikeTrainLinear(3, 3, rule_options={"typo": 1}),
            TypeError,
            "typo",
        ),
        (lambda: RecurrentLIF(3, 9, grid=(2, 2, 2)), ValueError, "product"),
        (
            lambda: build_network("4-R3", rule="st_rsbp"),
            ValueError,
            "does not end|recurrent",
        ),
        (
            lambda: build_network("4-3-2", rule="st_rsbp", v_th=[1, 2, 3]),
            ValueError,
            "3 thresholds for 2 layers",
        ),
        (lambda: build_network("4-R3-2", rule="tssl_bp"), ValueError, "R..."),
        (lambda: build_network("4-3-2", v_th=[1, 2]), ValueError, "one threshold"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
