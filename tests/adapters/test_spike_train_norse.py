"""ST-RSBP layers in Norse's protocol, beside its stock modules."""

import copy
import io
import pickle

import norse.torch as nt
import pytest
import torch
from torch import nn

from snn_temporal_plugins import spike_count_class, spike_count_loss
from snn_temporal_plugins.adapters import norse as tnorse
from tests.adapters.spike_train_hosts import events, lift

T = 40
TARGET = torch.arange(9) % 3
P = tnorse.SpikeTrainParameters(v_th=2.0, tau_mem=16.0, tau_syn=4.0)


@pytest.fixture(autouse=True)
def leave_no_trace():
    yield
    tnorse.unregister()


@pytest.fixture
def spikes():
    """Six inputs; the class is the one of the first three that spikes most."""
    rate = torch.full((9, 6), 0.15)
    rate[range(9), TARGET] = 0.6
    g = torch.Generator().manual_seed(1)
    return (torch.rand(T, 9, 6, generator=g) < rate).float()


def sandwich(stock):
    torch.manual_seed(0)
    net = nt.SequentialState(
        lift(tnorse.SpikeTrainLinear(6, 12, P)),
        nn.Linear(12, 8),
        stock,
        lift(tnorse.RecurrentLIF(8, 8, P)),
        tnorse.SpikeTrainLinear(8, 3, P, lateral=1.0),
    )
    nn.init.uniform_(net[1].weight, 0, 1.0)
    return net


def count_loss(z):
    return spike_count_loss(z, TARGET, desired_count=9, undesired_count=1, margin=1)


def test_parameters_pickle():
    p = P._replace(method_options={"side": "direct"})
    assert pickle.loads(pickle.dumps(p)) == p


def test_norses_own_parameters_are_told_apart():
    with pytest.raises(TypeError, match=r"LIFParameters.*SpikeTrainParameters.*steps"):
        tnorse.RecurrentLIF(6, 5, nt.LIFParameters())


@pytest.mark.parametrize("stock", [nt.LIF, nt.LIFAdEx, nt.LIFEx])
def test_stands_in_sequential_state_beside_stock_modules(stock, spikes):
    net = sandwich(stock())
    z, states = net(spikes)
    assert z.shape == (T, 9, 3) and z.any()
    assert isinstance(states[0], tnorse.SpikeTrainState)
    assert net(spikes, states)[0].shape == z.shape


def test_trains_around_a_stock_lif(spikes):
    """The gradient of our last layers passes Norse's neuron to our first."""
    net = sandwich(nt.LIF(nt.LIFParameters(v_th=torch.tensor(0.2)), dt=0.002))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        z, _ = net(spikes)
        loss = count_loss(z)
        optimizer.zero_grad()
        loss.backward()
        assert net[0].weight.grad.abs().sum() > 0
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.8 * losses[0]


def test_learns_to_tell_which_input_spikes_most(spikes):
    torch.manual_seed(0)
    hidden = nt.SequentialState(lift(tnorse.RecurrentLIF(6, 12, P)))
    last = tnorse.SpikeTrainLinear(12, 3, P, lateral=1.0, desired_count=9)
    optimizer = torch.optim.Adam([*hidden.parameters(), last.weight], lr=0.05)
    for _ in range(40):
        z, _ = hidden(spikes)
        z, _ = last(z, label=TARGET)
        optimizer.zero_grad()
        count_loss(z).backward()
        optimizer.step()
    z, _ = last(hidden(spikes)[0])
    assert torch.equal(spike_count_class(z), TARGET)


def test_a_sequence_goes_on_from_its_states():
    torch.manual_seed(0)
    net = nt.SequentialState(
        lift(tnorse.SpikeTrainLinear(6, 12, P)),
        lift(tnorse.RecurrentLIF(12, 9, P)),
        lift(tnorse.SpikeTrainLinear(9, 3, P, lateral=1.0)),
    )
    x = events(T, 2, 6).float()
    wanted, _ = net(x)
    for length in (1, 7):
        states, parts = None, []
        for window in x.split(length):
            part, states = net(window, states)
            parts.append(part)
        assert torch.equal(torch.cat(parts), wanted) and wanted.any()


def test_copies_pickles_saves_and_converts(spikes):
    net = sandwich(nt.LIF())
    wanted, _ = net(spikes)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    fresh = sandwich(nt.LIF())
    fresh.load_state_dict(torch.load(file))
    for twin in (fresh, copy.deepcopy(net)):
        assert torch.equal(twin(spikes)[0], wanted)
    ours = nt.SequentialState(*list(net)[3:])  # Norse's own parameters do not pickle
    x = events(T, 2, 8).float()
    assert torch.equal(pickle.loads(pickle.dumps(ours))(x)[0], ours(x)[0])
    assert ours.double()(x.double())[0].dtype == torch.float64


def test_norses_own_export():
    p = P._replace(refractory=0)
    net = nt.SequentialState(
        tnorse.SpikeTrainLinear(6, 5, p), tnorse.SpikeTrainLinear(5, 3, p, lateral=1.0)
    )
    with tnorse.register():
        graph = nt.to_nir(net, torch.zeros(T, 1, 6))
    names = [type(node).__name__ for node in graph.nodes.values()]
    assert names == ["Input", "Linear", "CubaLIF", "Linear", "NIRGraph", "Output"]
    assert graph.metadata == {"dt": 1e-4, "rule": "st_rsbp", "shift": 2}
