"""The window form, in both hosts' protocols."""

import copy
import math
import pickle

import norse.torch as nt
import pytest
import snntorch as snn
import snntorch.functional as SF
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snn_temporal_plugins import stdbp
from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn
from snn_temporal_plugins.functional.relpsp import relpsp_step

T, DT = 24, 0.25
dyadic = st.integers(-32, 64).map(lambda n: n / 16)


def step_form(spikes, synapse, v_th=1.0):
    state, trains = None, []
    for x in spikes.unbind(0):
        z, state = relpsp_step(synapse(x), state, v_th, DT)
        trains.append(z)
    return torch.stack(trains)


def random_train(*shape, dtype=torch.float32):
    torch.manual_seed(0)
    return (torch.rand(T, *shape) < 0.05).to(dtype)


def set_weight(layer, weight):
    with torch.no_grad():
        layer.weight.copy_(weight)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    ticks=st.lists(st.integers(0, T), min_size=4, max_size=4),  # T is silent
    weight=st.lists(st.lists(dyadic, min_size=4, max_size=4), min_size=3, max_size=3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_window_form_gives_the_spikes_of_the_step_form(ticks, weight, dtype):
    """Sums of sixteenths are exact, so even a touch of the threshold must agree."""
    train = (torch.arange(T)[:, None, None] == torch.tensor([ticks])).to(dtype)
    weight = torch.tensor(weight, dtype=dtype)
    wanted = step_form(train, lambda x: x @ weight.T)
    for layer in (tsnn.ReLPSPLinear(4, 3, dt=DT), tnorse.ReLPSPLinear(4, 3, dt=DT)):
        set_weight(layer.to(dtype), weight)
        spikes = layer(train)[0]
        assert spikes.dtype == dtype
        assert torch.equal(spikes, wanted)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_convolution_gives_the_spikes_of_the_step_form(stride, padding):
    first = random_train(2, 3, 8, 8).cumsum(0).clamp(max=1).diff(dim=0)
    train = torch.cat([torch.zeros(1, 2, 3, 8, 8), first])  # one spike each
    options = {"stride": stride, "padding": padding}
    weight = torch.randint(-8, 16, (5, 3, 3, 3)) / 16
    wanted = step_form(train, lambda x: F.conv2d(x, weight, **options))
    assert wanted.sum() > 50
    for layer in (
        tsnn.ReLPSPConv2d(3, 5, 3, dt=DT, **options),
        tnorse.ReLPSPConv2d(3, 5, 3, dt=DT, **options),
    ):
        set_weight(layer, weight)
        assert torch.equal(layer(train)[0], wanted)


def test_pool_passes_the_earliest_spike_of_each_patch_once():
    train = random_train(2, 3, 4, 4)
    pooled = tsnn.EarliestSpikePool2d(2)(train)
    first = F.max_pool2d(train.cumsum(0).clamp(max=1).flatten(0, 1), 2)
    first = first.unflatten(0, (T, 2))
    assert torch.equal(pooled.cumsum(0), first)


def test_gradient_is_the_rules_on_rounded_times():
    torch.manual_seed(0)
    net = nn.Sequential(
        tsnn.ReLPSPLinear(6, 5, dt=DT, output=False, weight_mean=0.3),
        tsnn.ReLPSPLinear(5, 3, dt=DT, output=False, weight_mean=0.4),
    ).double()
    train = tsnn.latency(torch.rand(4, 6, dtype=torch.float64), T)
    target = torch.tensor([0, 1, 2, 0])
    loss = tsnn.ce_ttfs_loss(dt=DT)(net(train), target)
    got = torch.autograd.grad(loss, list(net.parameters()))

    times = tnorse.SpikesToTimesDecoder(dt=1.0)(train)[0]
    for layer in net:
        times = stdbp(times, layer.weight, 1.0 / DT)
        times = torch.where(times <= T - 1, times, math.inf)
        times = torch.where(
            times < math.inf, times + (times.ceil() - times).detach(), times
        )
    loss = tnorse.ttfs_cross_entropy(times * DT, target, t_silent=T * DT)
    wanted = torch.autograd.grad(loss, list(net.parameters()))
    for a, b in zip(got, wanted, strict=True):
        assert a.abs().sum() > 0
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


def test_snntorch_protocol():
    train = random_train(2, 6)
    layer = tsnn.ReLPSPLinear(6, 5, dt=DT, weight_mean=0.5)
    spk, times = layer(train)
    assert times is layer.spike_times and times.shape == (2, 5)
    ticks = tnorse.SpikesToTimesDecoder(dt=1.0)(spk)[0]
    assert torch.equal(ticks, times.ceil()) and (times < math.inf).any()
    bare = tsnn.ReLPSPLinear(6, 5, dt=DT, output=False)
    assert isinstance(bare(train), torch.Tensor)
    tsnn.reset(nn.ModuleList([layer]))
    assert layer.spike_times is None


def test_norse_protocol():
    train = random_train(2, 6)
    layer = tnorse.ReLPSPLinear(6, 5, dt=DT)
    state = layer(train)[1]
    assert state.spike_times.shape == (2, 5)
    with pytest.raises(ValueError, match="state=None"):
        layer(train, state)


def test_norse_parameters_reach_the_core():
    p = tnorse.ReLPSPParameters(0.5, slope_clip=3.0, learn_threshold=True)
    for layer in (tnorse.ReLPSPLinear(4, 3, p), tnorse.ReLPSPConv2d(1, 3, 2, p)):
        assert layer.v_th.tolist() == [0.5] * 3
        assert layer.core.slope_clip == 3.0
        assert isinstance(layer.core.v_th, nn.Parameter)


@pytest.mark.parametrize("conv", [False, True])
def test_learnable_threshold(conv):
    if conv:
        layer = tsnn.ReLPSPConv2d(
            1, 2, 2, dt=DT, learn_threshold=True, weight_mean=0.5, threshold=0.5
        )
        train = random_train(2, 1, 4, 4)
    else:
        layer = tsnn.ReLPSPLinear(
            6, 5, dt=DT, learn_threshold=True, weight_mean=0.5, threshold=0.5
        )
        train = random_train(2, 6)
    times = layer(train)[1]
    times[times < math.inf].sum().backward()
    assert (
        layer.v_th.grad.abs().sum() > 0 and layer.v_th.shape == layer.weight.shape[:1]
    )


@pytest.mark.parametrize("make", [tsnn.ReLPSPLinear, tnorse.ReLPSPLinear])
def test_copies_pickles_and_loads_after_a_forward(make):
    layer = make(6, 5, dt=DT, weight_mean=0.5)
    train = random_train(2, 6)
    wanted = layer(train)[0]
    fresh = make(6, 5, dt=DT)
    fresh.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert getattr(twin, "spike_times", None) is None
        assert torch.equal(twin(train)[0], wanted)


def test_a_core_layers_weights_load():
    """What Lightning trained on spike times runs on trains."""
    window = tsnn.ReLPSPLinear(4, 3, dt=DT)
    window.core.load_state_dict(tsnn.ReLPSPLinear(4, 3).core.state_dict())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tsnn.ReLPSPLinear(4, 3, dt=0.0), "dt=0.0"),
        (lambda: tsnn.ReLPSPLinear(4, 3, rule="nonsense"), "nonsense.*stdbp"),
        (lambda: tsnn.ReLPSPConv2d(4, 3, 2, threshold=-1.0), "-1.0"),
        (lambda: tnorse.ReLPSPParameters(0.0), "v_th=0.0"),
        (lambda: tnorse.ReLPSPParameters(method="nonsense"), "nonsense.*stdbp"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_conv_network_trains_with_stock_layers_and_losses():
    """Window layers, then a stock whole-sequence neuron, with snnTorch's own loss."""
    torch.manual_seed(0)
    images = torch.rand(6, 1, 8, 8) * 0.3
    images[range(6), 0, torch.arange(6) % 2 * 4] += 0.7
    train, target = tsnn.latency(images, T), torch.arange(6) % 2
    net = nn.Sequential(
        tsnn.ReLPSPConv2d(1, 4, 3, dt=DT, output=False, weight_mean=0.4),
        tsnn.EarliestSpikePool2d(2),
        nn.Flatten(2),
        snn.LinearLeaky(beta=0.9, in_features=36, out_features=12),
    )
    last = tsnn.ReLPSPLinear(12, 2, dt=DT, output=False, weight_mean=0.8)
    nn.init.uniform_(net[3].linear.weight, 0, 0.2)  # so that all layers speak at first
    parameters = [*net.parameters(), *last.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    losses = []
    for _ in range(30):
        spikes, _ = net(train)
        loss = SF.ce_temporal_loss()(last(spikes), target)
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            assert net[0].weight.grad.abs().sum() > 0  # through the stock neuron
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) < 0.8 * losses[0]


def test_stock_loss_sends_nothing_into_silent_neurons():
    layer = tsnn.ReLPSPLinear(6, 3, dt=DT, output=False)
    set_weight(layer, torch.tensor([[-1.0], [1.0], [1.0]]).expand(3, 6))
    SF.ce_temporal_loss()(layer(random_train(4, 6)), torch.zeros(4).long()).backward()
    assert layer.weight.grad[0].abs().sum() == 0
    assert layer.weight.grad[1:].abs().sum() > 0


def test_stands_in_sequential_state_beside_stock_cells():
    torch.manual_seed(0)
    net = nt.SequentialState(
        tnorse.LatencyEncoder(T),
        tnorse.ReLPSPConv2d(1, 4, 3, dt=DT, weight_mean=0.2),
        tnorse.EarliestSpikePool2d(2),
        nn.Flatten(2),
        tnorse.ReLPSPLinear(36, 10, dt=DT, weight_mean=0.3),
        nn.Linear(10, 2, bias=False),
        nt.LI(),
    )
    out, states = net(torch.rand(3, 1, 8, 8))
    assert out.shape == (T, 3, 2)
    assert isinstance(states[4], tnorse.SpikeTimes)
    out[-1].square().sum().backward()
    assert net[1].weight.grad.abs().sum() > 0
