"""The integrate-and-fire neuron in Norse's manners, and its layers among stock ones."""

import copy
import io
import pickle

import norse.torch as nt
import pytest
import torch
from torch import nn

from snn_temporal_plugins import first_target, squared_time_loss
from snn_temporal_plugins.adapters import norse as tnorse
from tests.adapters.if_hosts import events, sixteenths, step_form

T = 20
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
        tnorse.LatencyEncoder(T, window=T - 1),
        nn.Linear(4, 16, bias=False),
        hidden or tnorse.IF(**options),
        nn.Linear(16, 3, bias=False),
        tnorse.IF(),
        tnorse.SpikesToTimesDecoder(dt=1.0),
    )
    nn.init.uniform_(net[1].weight, 0.2, 1.0)
    nn.init.uniform_(net[3].weight, 0.1, 0.4)
    return net


def loss_of(net, images):
    times, _ = net(images)
    return tnorse.ttfs_cross_entropy(times[0], TARGET, alpha=0.5, t_silent=T)


def test_step_cell_and_time_major_layer_are_the_core_step():
    p, train = tnorse.IFParameters(0.75), events(2, 3, num_steps=T)
    weight = sixteenths(torch.empty(4, 3).double())
    wanted = step_form(train, lambda x: x @ weight.T, 0.75)
    cell, state, own, loop, cells = tnorse.IFCell(p), None, None, [], []
    for x in train @ weight.T:
        z, own = tnorse.if_feed_forward_step(x, own, p)
        loop.append(z)
        z, state = cell(x, state)
        cells.append(z)
    z, last = tnorse.IF(p)(train @ weight.T)
    for got in (torch.stack(loop), torch.stack(cells), z):
        assert torch.equal(got, wanted) and got.any()
    for states in zip(last, state, own, strict=True):
        assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])


def test_gives_the_spikes_of_the_window_form_and_learns_like_it():
    """Both forms through two layers with one loss; b and normalize need the window."""
    p = tnorse.IFParameters(method_options={"normalize": None})
    window = nt.SequentialState(tnorse.IFLinear(4, 6, p), tnorse.IFLinear(6, 3, p))
    steps = nt.SequentialState(
        nn.Linear(4, 6, bias=False),
        tnorse.IF(),
        nn.Linear(6, 3, bias=False),
        tnorse.IF(),
    )
    pairs = [(steps[0], window.double()[0]), (steps.double()[2], window[1])]
    for step, layer in pairs:
        step.weight.data = sixteenths(layer.weight).detach().clone()
    train = events(9, 4, num_steps=T)
    decoder = tnorse.SpikesToTimesDecoder(dt=1.0)
    for net in (window, steps):
        times = decoder(net(train)[0])[0]
        tnorse.ttfs_cross_entropy(times, TARGET, alpha=0.5, t_silent=T).backward()
    spk, states = window(train)
    assert torch.equal(spk, steps(train)[0]) and spk.any()
    assert isinstance(states[1], tnorse.SpikeTimes)
    for step, layer in pairs:
        assert step.weight.grad.abs().sum() > 0
        mean = layer.weight.grad  # over the batch, by the rule
        torch.testing.assert_close(9 * mean, step.weight.grad, rtol=1e-12, atol=1e-14)


def test_a_sequence_may_go_on_from_its_state():
    currents = 0.3 * torch.rand(T, 2, 3)
    layer = tnorse.IF()
    wanted, _ = layer(currents)
    first, state = layer(currents[:4])
    second, _ = layer(currents[4:], state)
    assert torch.equal(torch.cat([first, second]), wanted) and second.any()


def test_a_window_is_a_whole_sequence():
    layer = tnorse.IFLinear(4, 3)
    _, state = layer(events(2, 4, num_steps=T).float())
    with pytest.raises(ValueError, match=r"state=None.*IFCell"):
        layer(events(2, 4, num_steps=T).float(), state)


def test_record_states():
    currents = torch.rand(T, 2, 3)
    _, states = tnorse.IF(record_states=True)(currents)
    _, last = tnorse.IF()(currents)
    assert isinstance(states, tnorse.IFState) and states.v.shape == (T, 2, 3)
    for all_ticks, final in zip(states, last, strict=True):
        assert torch.equal(all_ticks[-1], final)


@pytest.mark.parametrize("stock", [nt.LIF, nt.LI, nt.IAF])
def test_stands_in_sequential_state_beside_stock_layers(stock, images):
    net = nt.SequentialState(
        tnorse.LatencyEncoder(T),
        nn.Linear(4, 6),
        stock(),
        nn.Linear(6, 6, bias=False),
        tnorse.IF(),
        nn.Linear(6, 3),
        nt.LI(),
    )
    out, states = net(images)
    assert out.shape == (T, 9, 3) and len(states) == 7
    assert isinstance(states[4], tnorse.IFState)


def test_cells_stand_in_sequential_state_over_a_users_loop(images):
    net = nt.SequentialState(
        nn.Linear(4, 6), nt.LIFCell(), nn.Linear(6, 3, bias=False), tnorse.IFCell()
    )
    states = None
    for x in tnorse.LatencyEncoder(T)(images):
        z, states = net(x, states)
    assert z.shape == (9, 3)
    assert isinstance(states[3], tnorse.IFState)


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


def test_trains(images):
    losses = train(network(), images)
    assert min(losses[-5:]) < 0.6 * losses[0]


def test_trains_behind_a_stock_lif(images):
    """Norse's surrogate takes the gradient of our layer."""
    net = network(nt.LIF(dt=0.01))
    before = net[1].weight.clone()
    losses = train(net, images)
    assert min(losses[-5:]) < 0.8 * losses[0]
    assert not torch.equal(net[1].weight, before)


def test_window_layers_train_around_stock_cells_with_the_papers_loss(images):
    torch.manual_seed(0)
    net = nt.SequentialState(
        tnorse.LatencyEncoder(T, window=T - 1),
        tnorse.IFConv2d(1, 4, 2, weight_mean=0.4),
        tnorse.EarliestSpikePool2d(2),
        nn.Flatten(2),
        nn.Linear(4, 12, bias=False),
        nt.LIF(nt.LIFParameters(v_th=torch.tensor(0.1)), dt=0.01),
        tnorse.IFLinear(12, 3, weight_mean=0.2, weight_gain=0.5),
    )
    nn.init.uniform_(net[4].weight, 0.2, 1.0)
    x = nn.functional.interpolate(images.view(9, 1, 2, 2), size=3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        _, states = net(x)
        times = states[-1].spike_times
        goal = first_target(times, TARGET, t_max=T)
        loss = squared_time_loss(times, goal, t_max=T)
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            assert net[1].weight.grad.abs().sum() > 0  # through the stock neuron
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) < 0.9 * losses[0]


def test_two_networks_and_a_smaller_last_batch(images):
    one, two = network(), network()
    wanted, states = one(images)
    two(1 - images)
    assert torch.equal(one(images)[0], wanted)
    assert torch.equal(one(images[:4])[0], wanted[:, :4])
    with pytest.raises(ValueError, match="new sequence"):
        one(images[:4], states)


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


def test_states_and_parameters_pickle():
    _, state = tnorse.IFCell()(torch.ones(2, 3))
    for a, b in zip(pickle.loads(pickle.dumps(state)), state, strict=True):
        assert torch.equal(a, b)
    p = tnorse.IFParameters(0.5, b=0.1)
    assert pickle.loads(pickle.dumps(p)) == p


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype, images):
    z, state = tnorse.IF()(torch.rand(T, 2, 3, dtype=dtype))
    assert z.dtype == state.v.dtype == dtype
    loss_of(network().to(dtype), images.to(dtype)).backward()


@pytest.mark.parametrize(
    "p",
    [
        tnorse.IFParameters(b=0.1),
        tnorse.IFParameters(a=0.8),
        tnorse.IFParameters(compat="released"),
        tnorse.IFParameters(method_options={"tau_mem": 3.0}),
    ],
)
def test_settings_that_need_the_window_have_no_step_form(p):
    for neuron in (tnorse.IFCell(p), tnorse.IF(p)):
        with pytest.raises(ValueError, match=r"has no step form.*IFLinear"):
            neuron(torch.ones(1, 1, 1))


def test_bad_parameters_are_named():
    for make in (tnorse.IFCell, tnorse.IF):
        with pytest.raises(TypeError, match=r"IAFParameters.*IFParameters"):
            make(nt.IAFParameters())
    with pytest.raises(ValueError, match=r"v_th=0\.0"):
        tnorse.IFCell(tnorse.IFParameters(0.0))(torch.ones(1, 1))


def test_neurons_tell_the_export_what_they_are():
    for neuron in (tnorse.IFCell(tnorse.IFParameters(0.5)), tnorse.IF()):
        assert neuron.nir_node == "IF" and neuron.v_th == neuron.p.v_th
    assert "v_th=0.5" in repr(tnorse.IFCell(tnorse.IFParameters(0.5)))


def test_registered_names():
    with tnorse.register():
        for name in ("IF", "IFCell", "IFLinear", "IFConv2d", "if_feed_forward_step"):
            assert getattr(nt, name) is getattr(tnorse, name)
        net = nt.SequentialState(nt.IFLinear(4, 6, nt.IFParameters(0.5)), nt.IF())
        assert net(events(2, 4, num_steps=T).float())[0].shape == (T, 2, 6)
    assert not any(name.startswith("IF") for name in vars(nt))


def test_registered_export_leaves_the_codec_out():
    codec = tnorse.LatencyEncoder(T, window=T - 1), tnorse.SpikesToTimesDecoder(1.0)
    for parts in (
        [tnorse.IFLinear(4, 3)],
        [nn.Linear(4, 3, bias=False), tnorse.IFCell()],
        [nn.Linear(4, 3, bias=False), tnorse.IF()],
    ):
        with tnorse.register():
            graph = nt.to_nir(
                nt.SequentialState(codec[0], *parts, codec[1]), torch.zeros(1, 4)
            )
            bare = nt.to_nir(nt.SequentialState(*parts), torch.zeros(T, 1, 4))
        assert graph.metadata == bare.metadata
        assert graph.metadata["num_ticks"] == T
