"""The step form in Norse: a test for each way in which third parties fail there."""

import copy
import io
import pickle

import norse.torch as nt
import pytest
import torch
from torch import nn

from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.functional.relpsp import relpsp_step

T, DT = 20, 0.1
TARGET = torch.arange(9) % 3


@pytest.fixture
def images():
    """Four pixels, class = the brightest of the first three."""
    torch.manual_seed(1)
    data = torch.rand(9, 4) * 0.6
    data[range(9), TARGET] += 0.4
    return data


def network(hidden=None, **options):
    torch.manual_seed(0)
    net = nt.SequentialState(
        tnorse.LatencyEncoder(T),
        nn.Linear(4, 12, bias=False),
        hidden or tnorse.ReLPSP(dt=DT, **options),
        nn.Linear(12, 3, bias=False),
        tnorse.ReLPSP(dt=DT),
        tnorse.SpikesToTimesDecoder(dt=DT),
    )
    nn.init.uniform_(net[1].weight, 0.2, 1.0)
    nn.init.uniform_(net[3].weight, 0.1, 0.4)
    return net


def loss_of(net, images):
    times, _ = net(images)
    return tnorse.ttfs_cross_entropy(times[0], TARGET, alpha=5.0, t_silent=T * DT)


def test_feed_forward_step_is_the_core_step():
    p = tnorse.ReLPSPParameters(0.5)
    state = wanted_state = None
    for current in torch.rand(6, 2, 3):
        z, state = tnorse.relpsp_feed_forward_step(current, state, p, DT)
        wanted, wanted_state = relpsp_step(current, wanted_state, 0.5, DT)
        assert torch.equal(z, wanted) and torch.equal(state.v, wanted_state.v)


def test_cell_and_time_major_layer_agree():
    currents = torch.rand(T, 2, 3)
    cell, state, spikes = tnorse.ReLPSPCell(dt=DT), None, []
    for current in currents:
        z, state = cell(current, state)
        spikes.append(z)
    z, last = tnorse.ReLPSP(dt=DT)(currents)
    assert torch.equal(z, torch.stack(spikes)) and z.sum() > 0
    for a, b in zip(last, state, strict=True):
        assert torch.equal(a, b)


def test_a_sequence_may_go_on_from_its_state():
    currents = torch.rand(T, 2, 3)
    layer = tnorse.ReLPSP(dt=DT)
    wanted, _ = layer(currents)
    first, state = layer(currents[:7])
    second, _ = layer(currents[7:], state)
    assert torch.equal(torch.cat([first, second]), wanted)


def test_record_states():
    currents = torch.rand(T, 2, 3)
    _, states = tnorse.ReLPSP(dt=DT, record_states=True)(currents)
    _, last = tnorse.ReLPSP(dt=DT)(currents)
    assert isinstance(states, tnorse.ReLPSPState) and states.v.shape == (T, 2, 3)
    for all_ticks, final in zip(states, last, strict=True):
        assert torch.equal(all_ticks[-1], final)


@pytest.mark.parametrize("stock", [nt.LIF, nt.LI, nt.LIFAdEx])
def test_stands_in_sequential_state_beside_stock_layers(stock, images):
    net = nt.SequentialState(
        tnorse.LatencyEncoder(T),
        nn.Linear(4, 6),
        stock(),
        nn.Linear(6, 6, bias=False),
        tnorse.ReLPSP(dt=DT),
        nn.Linear(6, 3),
        nt.LI(),
    )
    out, states = net(images)
    assert out.shape == (T, 9, 3) and len(states) == 7
    assert isinstance(states[4], tnorse.ReLPSPState)


def test_cells_stand_in_sequential_state_over_a_users_loop(images):
    net = nt.SequentialState(
        nn.Linear(4, 6), nt.LIFCell(), nn.Linear(6, 3, bias=False), tnorse.ReLPSPCell()
    )
    states = None
    for x in tnorse.LatencyEncoder(T)(images):
        z, states = net(x, states)
    assert z.shape == (9, 3)
    assert isinstance(states[3], tnorse.ReLPSPState)


def test_trains(images):
    net = network()
    losses = train(net, images)
    assert min(losses[-5:]) < 0.6 * losses[0]


def test_trains_behind_a_stock_lif(images):
    """Norse's surrogate takes the timing gradient of our layer."""
    net = network(nt.LIF(nt.LIFParameters(v_th=torch.tensor(0.1)), dt=0.01))
    before = net[1].weight.clone()
    losses = train(net, images)
    assert min(losses[-5:]) < 0.8 * losses[0]
    assert not torch.equal(net[1].weight, before)


def train(net, images, steps=30):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(steps):
        loss = loss_of(net, images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_two_networks_and_a_smaller_last_batch(images):
    one, two = network(), network()
    wanted, states = one(images)
    two(1 - images)
    assert torch.equal(one(images)[0], wanted)
    assert torch.equal(one(images[:4])[0], wanted[:, :4])
    with pytest.raises(ValueError, match="new sequence"):
        one(images[:4], states)


def test_parameters_are_a_module(images):
    """Norse's own tuples are neither saved, moved, pickled nor learned."""
    p = tnorse.ReLPSPParameters(0.5, learn_threshold=True)
    net = network(tnorse.ReLPSP(p, dt=DT))
    assert "2.p.v_th" in net.state_dict() and "4.p.v_th" in net.state_dict()
    assert any(parameter is p.v_th for parameter in net.parameters())
    loss_of(net, images).backward()
    assert p.v_th.grad.abs() > 0
    assert net.double()[2].p.v_th.dtype == torch.float64


def test_copies_pickles_saves_and_loads_after_a_forward(images):
    net = network()
    wanted, _ = net(images)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    fresh = network()
    fresh.load_state_dict(net.state_dict())
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), loaded, fresh):
        assert torch.equal(twin(images)[0], wanted)


def test_states_pickle():
    _, state = tnorse.ReLPSPCell()(torch.ones(2, 3))
    for a, b in zip(pickle.loads(pickle.dumps(state)), state, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype, images):
    z, state = tnorse.ReLPSP(dt=DT)(torch.rand(T, 2, 3, dtype=dtype))
    assert z.dtype == state.v.dtype == dtype
    loss_of(network().to(dtype), images.to(dtype)).backward()


def test_layer_makes_one_view_per_window():
    """Indexing x[t] costs O(T^2) in the backward, because each writes a window."""
    currents = torch.rand(T, 2, 3, requires_grad=True)
    z, _ = tnorse.ReLPSP(dt=DT)(currents)
    nodes, todo = set(), [z.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            todo += [parent for parent, _ in node.next_functions]
    names = [type(node).__name__ for node in nodes]
    assert names.count("UnbindBackward0") == 1
    assert not any("Select" in name for name in names)


def test_decoder_gives_norses_times_and_survives_silence():
    spikes = torch.zeros(5, 1, 3)
    spikes[2, 0, 0] = spikes[4, 0, 0] = spikes[3, 0, 1] = 1
    stock = nt.SpikesToTimesDecoder(dt=0.5)(spikes)
    assert torch.equal(tnorse.SpikesToTimesDecoder(dt=0.5)(spikes), stock)
    spikes.requires_grad_()
    times = tnorse.SpikesToTimesDecoder(dt=0.5)(spikes)
    times[times < torch.inf].sum().backward()
    assert spikes.grad[[2, 3], 0, [0, 1]].tolist() == [-0.5, -0.5]
    assert spikes.grad.abs().sum() == 1.0


def test_a_rule_without_a_step_form_is_refused():
    p = tnorse.ReLPSPParameters()
    p.method = "another"
    with pytest.raises(ValueError, match="method='another' has no step form"):
        tnorse.ReLPSPCell(p)(torch.ones(1, 1))


def test_neurons_tell_the_export_what_they_are():
    for neuron in (tnorse.ReLPSPCell(), tnorse.ReLPSP()):
        assert neuron.nir_node == "ReLPSP" and neuron.v_th == 1.0 and neuron.dt == 0.01
