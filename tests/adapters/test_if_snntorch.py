"""The integrate-and-fire neuron in snnTorch's loop, and its layers among stock ones."""

import copy
import gc
import io
import math
import pickle
import warnings
import weakref

import pytest
import snntorch as snn
import snntorch.functional as SF
import torch
from snntorch import export_nir, utils
from torch import nn

from snn_temporal_plugins import first_target, squared_time_loss
from snn_temporal_plugins.adapters import snntorch as tsnn
from tests.adapters.if_hosts import events, sixteenths, step_form

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the module announces its own end
    from snntorch import backprop

T = 20
TARGET = torch.arange(9) % 3


@pytest.fixture
def images():
    """Four pixels, class = the brightest of the first three."""
    torch.manual_seed(1)
    data = torch.rand(9, 4) * 0.6
    data[range(9), TARGET] += 0.4
    return data


@pytest.fixture
def spikes(images):
    return tsnn.latency(images, T, window=T - 1)


def hidden_net(last=None):
    """Our neuron hidden and last, in nn.Sequential."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(4, 16, bias=False),
        tsnn.IF(init_hidden=True),
        nn.Linear(16, 3, bias=False),
        last or tsnn.IF(init_hidden=True),
    )
    nn.init.uniform_(net[0].weight, 0.2, 1.0)
    nn.init.uniform_(net[2].weight, 0.1, 0.4)
    return net


def run(net, spikes):
    tsnn.reset(net)
    return torch.stack([net(x) for x in spikes])


def test_takes_the_place_of_leaky_in_a_users_loop(spikes):
    fc, neuron = nn.Linear(4, 3, bias=False), tsnn.IF(0.75)
    sixteenths(fc.weight)
    state, outputs = neuron.reset_mem(), []
    for x in spikes:
        spk, state = neuron(fc(x), state)
        outputs.append(spk)
    outputs = torch.stack(outputs)
    assert torch.equal(outputs, step_form(spikes, fc, 0.75))
    assert outputs.sum(0).max() == 1
    tsnn.ce_ttfs_loss(5.0, dt=0.1)(outputs, TARGET).backward()
    assert fc.weight.grad.abs().sum() > 0


def test_gives_the_spikes_of_the_window_form_and_learns_like_it():
    """Both forms through two layers with one loss; b and normalize need the window."""
    options = {"rule_options": {"normalize": None}, "output": False}
    window = nn.Sequential(
        tsnn.IFLinear(4, 16, **options), tsnn.IFLinear(16, 3, **options)
    ).double()
    net = hidden_net().double()
    for step, layer in zip((net[0], net[2]), window, strict=True):
        step.weight.data = sixteenths(layer.weight).detach().clone()
    train = events(9, 4, num_steps=T)
    spk = run(net, train)
    assert torch.equal(spk, window(train)) and spk.any()
    loss = tsnn.ce_ttfs_loss(5.0, dt=0.1)
    loss(spk, TARGET).backward(), loss(window(train), TARGET).backward()
    for step, layer in zip((net[0], net[2]), window, strict=True):
        assert step.weight.grad.abs().sum() > 0
        mean = layer.weight.grad  # over the batch, by the rule
        torch.testing.assert_close(9 * mean, step.weight.grad, rtol=1e-12, atol=1e-14)


def test_a_call_without_a_state_goes_on_from_the_neurons_own(spikes):
    neuron, explicit = tsnn.IF(), tsnn.IF()
    state = explicit.reset_mem()
    for x in spikes:
        wanted, state = explicit(x, state)
        assert torch.equal(neuron(x)[0], wanted)
    assert isinstance(neuron.state, tsnn.IFState)
    neuron.reset_mem()
    assert neuron.state is None


def test_one_neuron_may_carry_two_sequences_by_explicit_states():
    neuron = tsnn.IF()
    slow, fast = neuron.reset_mem(), neuron.reset_mem()
    for _ in range(4):
        _, slow = neuron(torch.full((1, 1), 0.1), slow)
        _, fast = neuron(torch.full((1, 1), 9.0), fast)
    assert fast.fired.all() and not slow.fired.any()


def test_hidden_state_protocol(spikes):
    bare = tsnn.IF(init_hidden=True)
    last = tsnn.IF(init_hidden=True, output=True)
    assert isinstance(bare(spikes[0]), torch.Tensor)
    for x in spikes:
        spk, mem = last(x)
        assert spk.shape == mem.shape == x.shape
    assert torch.equal(mem, spikes.sum(0)) and torch.equal(mem, last.state.v)
    with pytest.raises(TypeError, match="init_hidden"):
        bare(spikes[0], last.state)


def test_a_smaller_last_batch(spikes):
    net = hidden_net()
    run(net, spikes)
    assert torch.equal(run(net, spikes[:, :3]), run(hidden_net(), spikes[:, :3]))
    net(spikes[0])  # and without a reset: another batch cannot be the same sequence
    assert net(spikes[0, :3]).shape == (3, 3)
    state = tsnn.IF()(torch.ones(9, 3))[1]
    with pytest.raises(ValueError, match=r"\(9, 3\).*\(3, 3\)"):
        tsnn.IF()(torch.ones(3, 3), state)


def test_copies_pickles_and_saves_after_a_forward_drop_the_state(spikes):
    net = hidden_net()
    wanted = run(net, spikes)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    fresh = hidden_net()
    fresh.load_state_dict(net.state_dict())
    twins = (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), loaded, fresh)
    for twin in twins:
        assert twin[1].state is None and twin[3].state is None
        assert torch.equal(run(twin, spikes), wanted)
    assert net[1].state is not None
    # DDP broadcasts buffers at each forward, so a state must not be one
    assert all(buffer.numel() == 1 for buffer in net.buffers())


def test_is_a_spiking_neuron_that_does_not_stay_alive_and_is_no_leaky():
    before = len(snn.SpikingNeuron.instances)
    neuron = tsnn.IF(init_hidden=True)
    neuron(torch.ones(2, 2))
    assert isinstance(neuron, snn.SpikingNeuron) and not isinstance(neuron, snn.Leaky)
    ghost = weakref.ref(neuron)
    del neuron
    gc.collect()
    assert ghost() is None
    assert len(snn.SpikingNeuron.instances) == before


def test_tells_the_export_what_it_is():
    assert tsnn.IF.nir_node == "IF" and tsnn.IF(0.5).threshold == 0.5
    assert tsnn.IF(torch.tensor([1, 2])).threshold.tolist() == [1.0, 2.0]
    assert "init_hidden=True" in repr(tsnn.IF(init_hidden=True))


@pytest.mark.parametrize("threshold", [0.0, -1.0, torch.tensor([1.0, 0.0])])
def test_threshold_must_be_positive(threshold):
    with pytest.raises(ValueError, match="threshold"):
        tsnn.IF(threshold)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spikes_keep_the_dtype(dtype, spikes):
    net = hidden_net().to(dtype)
    out = run(net, spikes.to(dtype))
    assert out.dtype == net[1].state.v.dtype == dtype
    tsnn.ce_ttfs_loss(dt=0.1)(out, TARGET).backward()
    assert net[0].weight.grad.dtype == dtype


def train(net, forward, loss_fn, steps=25, lr=0.02):
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        loss = loss_fn(forward(), TARGET.clone())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


FIRST_SPIKE_LOSSES = pytest.mark.parametrize(
    "loss_fn",
    [
        tsnn.ce_ttfs_loss(0.5, dt=1.0),
        SF.ce_temporal_loss(),
        SF.mse_temporal_loss(on_target=2, off_target=12),
    ],
    ids=["ce_ttfs", "ce_temporal", "mse_temporal"],
)


@FIRST_SPIKE_LOSSES
def test_learns_by_ours_and_the_stock_losses_on_first_spikes(loss_fn, spikes):
    net = hidden_net()
    losses = train(net, lambda: run(net, spikes), loss_fn)
    assert min(losses[-5:]) < 0.8 * losses[0]


@FIRST_SPIKE_LOSSES
def test_window_layers_learn_by_them_too(loss_fn, spikes):
    torch.manual_seed(0)
    net = nn.Sequential(
        tsnn.IFLinear(4, 16, output=False, weight_mean=0.4),
        tsnn.IFLinear(16, 3, output=False, weight_mean=0.2),
    )
    losses = train(net, lambda: net(spikes), loss_fn, steps=40)
    assert min(losses[-5:]) < 0.8 * losses[0]


@pytest.mark.parametrize("ours_first", [True, False])
def test_trains_mixed_with_leaky(ours_first, spikes):
    torch.manual_seed(0)
    ours = tsnn.IF(init_hidden=True)
    stock = snn.Leaky(beta=0.9, init_hidden=True, spike_grad=snn.surrogate.atan())
    pair = (ours, stock) if ours_first else (stock, ours)
    net = nn.Sequential(
        nn.Linear(4, 16, bias=False), pair[0], nn.Linear(16, 3, bias=False), pair[1]
    )
    nn.init.uniform_(net[0].weight, 0.2, 1.0)
    nn.init.uniform_(net[2].weight, 0.1, 0.4)
    before = net[0].weight.clone()
    losses = train(net, lambda: run(net, spikes), tsnn.ce_ttfs_loss(0.5, dt=1.0))
    assert min(losses[-5:]) < 0.8 * losses[0]
    assert not torch.equal(net[0].weight, before)


def test_conv_network_trains_with_stock_layers_and_the_papers_loss():
    """Window layers around a stock whole-sequence neuron."""
    torch.manual_seed(0)
    data = torch.rand(6, 1, 8, 8) * 0.3
    target = torch.arange(6) % 2
    data[range(6), 0, target * 4] += 0.7
    spikes = tsnn.latency(data, T, window=T - 1)
    net = nn.Sequential(
        tsnn.IFConv2d(1, 4, 3, output=False, weight_mean=0.4),
        tsnn.EarliestSpikePool2d(2),
        nn.Flatten(2),
        snn.LinearLeaky(beta=0.9, in_features=36, out_features=12),
    )
    last = tsnn.IFLinear(12, 2, weight_mean=0.1, weight_gain=0.3)
    nn.init.uniform_(net[3].linear.weight, 0, 0.2)
    optimizer = torch.optim.Adam([*net.parameters(), *last.parameters()], lr=0.01)
    losses = []
    for _ in range(30):
        _, times = last(net(spikes)[0])
        goal = first_target(times, target, t_max=T)
        loss = squared_time_loss(times, goal, t_max=T)
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            assert net[0].weight.grad.abs().sum() > 0  # through the stock neuron
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) < 0.8 * losses[0]


def test_only_the_loss_on_times_wakes_a_silent_output(spikes):
    layer = tsnn.IFLinear(4, 3)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([[-1.0], [0.6], [0.6]])
    spk, times = layer(spikes)
    assert times[:, 0].isinf().all() and times[:, 1:].isfinite().any()
    target = torch.zeros(9, dtype=torch.long)
    for loss in (SF.ce_temporal_loss(), tsnn.ce_ttfs_loss(0.5, dt=1.0)):
        (grad,) = torch.autograd.grad(
            loss(spk, target.clone()), layer.weight, retain_graph=True
        )
        assert grad[0].abs().sum() == 0 and grad[1:].abs().sum() > 0
    goal = first_target(times, target, t_max=T)
    squared_time_loss(times, goal, t_max=T).backward()
    assert (layer.weight.grad[0] < 0).all()  # descent strengthens all of them


@pytest.mark.parametrize("hidden_only", [False, True])
def test_bptt_runs_with_ours_last_or_hidden(hidden_only):
    stock = snn.Leaky(beta=0.9, init_hidden=True, output=True)
    ours = tsnn.IF(init_hidden=True, output=True)
    net = hidden_net(stock if hidden_only else ours)
    data = torch.rand(9, 4, generator=torch.Generator().manual_seed(0))
    data[range(9), TARGET] = 1.0
    batches = [
        (tsnn.latency(data[part], T), TARGET[part])
        for part in (slice(0, 6), slice(6, 9))  # a smaller last batch
    ]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    before = net[0].weight.clone()
    loss = tsnn.ce_ttfs_loss(0.5, dt=1.0)
    with tsnn.register():
        losses = [
            backprop.BPTT(net, batches, optimizer, loss).item() for _ in range(12)
        ]
    assert min(losses[-3:]) < losses[0]
    assert not torch.equal(net[0].weight, before)


def test_registered_names_and_reset(spikes):
    with tsnn.register():
        net = nn.Sequential(
            nn.Sequential(snn.IFLinear(4, 6, output=False)),
            nn.Linear(6, 3),
            snn.IF(init_hidden=True),
        )
        window = net[0][0]
        net[2](net[1](window(spikes))[0])
        assert window.spike_times.shape == (9, 6) and net[2].state is not None
        utils.reset(net)
        assert window.spike_times is None and net[2].state is None
    assert not any(hasattr(snn, name) for name in ("IF", "IFLinear", "IFConv2d"))


@pytest.mark.parametrize("window", [False, True])
def test_registered_export_takes_the_number_of_ticks_from_the_train(window):
    net = nn.Sequential(tsnn.IFLinear(4, 2)) if window else hidden_net()
    with tsnn.register():
        graph = export_nir.export_to_nir(net, torch.zeros(T, 1, 4))
    assert graph.metadata["num_ticks"] == T


def test_window_protocol(spikes):
    layer = tsnn.IFLinear(4, 5, weight_mean=0.5)
    spk, times = layer(spikes)
    assert times is layer.spike_times and times.shape == (9, 5)
    fired = times < math.inf
    assert torch.equal(spk.argmax(0)[fired], times[fired].long()) and fired.any()
    assert isinstance(tsnn.IFLinear(4, 5, output=False)(spikes), torch.Tensor)
    tsnn.reset(nn.ModuleList([layer]))
    assert layer.spike_times is None
