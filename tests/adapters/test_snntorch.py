"""The step form in snnTorch: a test for each way in which third parties fail there."""

import copy
import gc
import io
import pickle
import weakref

import pytest
import snntorch as snn
import snntorch.functional as SF
import torch
from snntorch import spikegen, surrogate
from torch import nn

from snn_temporal_plugins.adapters import snntorch as tsnn
from snn_temporal_plugins.functional.relpsp import relpsp_step

T, DT = 20, 0.1
TARGET = torch.arange(9) % 3


class Block(nn.Module):
    """A neuron nested one level down, where snnTorch 1.0 does not look."""

    def __init__(self, width):
        super().__init__()
        self.neuron = tsnn.ReLPSP(dt=DT, init_hidden=True)
        self.stock = snn.Leaky(beta=0.9, init_hidden=True)
        self.fc = nn.Linear(width, width, bias=False)

    def forward(self, x):
        return self.stock(self.fc(self.neuron(x)))


def hidden_net(width=4):
    """Our neuron hidden and last, in nn.Sequential."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(width, 6, bias=False),
        tsnn.ReLPSP(dt=DT, init_hidden=True),
        nn.Linear(6, 3, bias=False),
        tsnn.ReLPSP(dt=DT, init_hidden=True),
    )
    for layer in (net[0], net[2]):
        nn.init.uniform_(layer.weight, 0.2, 0.8)
    return net


def run(net, spikes):
    tsnn.reset(net)
    return torch.stack([net(x) for x in spikes])


@pytest.fixture
def images():
    """Four pixels, class = the brightest of the first three."""
    torch.manual_seed(1)
    data = torch.rand(9, 4) * 0.6
    data[range(9), TARGET] += 0.4
    return data


@pytest.fixture
def spikes(images):
    return tsnn.latency(images, T)


def test_takes_the_place_of_leaky_in_a_users_loop(spikes):
    fc, neuron = nn.Linear(4, 3, bias=False), tsnn.ReLPSP(dt=DT)
    nn.init.uniform_(fc.weight, 0.2, 0.8)
    state, outputs = neuron.reset_mem(), []
    wanted_state, wanted = None, []
    for x in spikes:
        spk, state = neuron(fc(x), state)
        outputs.append(spk)
        z, wanted_state = relpsp_step(fc(x), wanted_state, 1.0, DT)
        wanted.append(z)
    assert torch.equal(torch.stack(outputs), torch.stack(wanted))
    assert torch.stack(outputs).sum(0).max() == 1
    tsnn.ce_ttfs_loss(dt=DT)(torch.stack(outputs), TARGET).backward()
    assert fc.weight.grad.abs().sum() > 0


def test_a_call_without_a_state_goes_on_from_the_neurons_own(spikes):
    neuron, explicit = tsnn.ReLPSP(dt=DT), tsnn.ReLPSP(dt=DT)
    state = explicit.reset_mem()
    for x in spikes:
        wanted, state = explicit(x, state)
        assert torch.equal(neuron(x)[0], wanted)
    neuron.reset_mem()
    assert neuron.state is None


def test_one_neuron_may_carry_two_sequences_by_explicit_states():
    neuron = tsnn.ReLPSP(dt=DT)
    slow, fast = neuron.reset_mem(), neuron.reset_mem()
    for _ in range(4):
        _, slow = neuron(torch.full((1, 1), 0.1), slow)
        _, fast = neuron(torch.full((1, 1), 9.0), fast)
    assert fast.fired.all() and not slow.fired.any()


def test_hidden_state_protocol(spikes):
    bare = tsnn.ReLPSP(dt=DT, init_hidden=True)
    last = tsnn.ReLPSP(dt=DT, init_hidden=True, output=True)
    assert isinstance(bare(spikes[0]), torch.Tensor)
    for x in spikes:
        spk, mem = last(x)
        assert spk.shape == mem.shape == x.shape
    assert torch.equal(mem, last.state.v * DT)
    with pytest.raises(TypeError, match="init_hidden"):
        bare(spikes[0], last.state)


def test_reset_reaches_nested_and_stock_neurons_but_no_other_network(spikes):
    net, other = nn.Sequential(Block(4), Block(4)), nn.Sequential(Block(4))
    run(net, spikes), run(other, spikes)
    before = other[0].stock.mem.clone()
    tsnn.reset(net)
    for block in net:
        assert block.neuron.state is None
        assert block.stock.mem.abs().sum() == 0
    assert other[0].neuron.state is not None
    assert torch.equal(other[0].stock.mem, before) and before.abs().sum() > 0


@pytest.mark.parametrize(
    "stock",
    [
        lambda: snn.Leaky(beta=0.9, init_hidden=True),
        lambda: snn.Lapicque(beta=0.9, init_hidden=True),
        lambda: snn.Synaptic(alpha=0.9, beta=0.8, init_hidden=True),
        lambda: snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True),
        lambda: snn.RLeaky(beta=0.9, linear_features=4, init_hidden=True),
        lambda: snn.RSynaptic(alpha=0.9, beta=0.8, linear_features=4, init_hidden=True),
    ],
)
def test_trains_beside_every_stock_neuron_with_one_reset(stock, spikes):
    """Without the reset the second backward would go through the first graph."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(4, 4), stock(), nn.Linear(4, 4, bias=False), Block(4), nn.Linear(4, 3)
    )
    nn.init.uniform_(net[2].weight, 0.5, 1.0)
    for _ in range(2):
        run(net, spikes).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_a_delta_leaky_in_the_process_does_no_harm(spikes):
    """It makes the reset of every Leaky network fail in snnTorch 1.0."""
    bystander = snn.DeltaLeaky(beta=0.9, init_hidden=True)
    net = nn.Sequential(nn.Linear(4, 4), snn.Leaky(beta=0.9, init_hidden=True))
    run(net, spikes)
    tsnn.reset(net), tsnn.reset(bystander)
    assert net[1].mem.abs().sum() == 0


def test_two_networks_side_by_side(spikes):
    one, two = hidden_net(), hidden_net()
    wanted = run(hidden_net(), spikes)
    tsnn.reset(one), tsnn.reset(two)
    both = [(one(x), two(1 - x)) for x in spikes]
    assert torch.equal(torch.stack([a for a, _ in both]), wanted)
    assert not torch.equal(torch.stack([b for _, b in both]), wanted)


def test_a_smaller_last_batch(spikes):
    net = hidden_net()
    run(net, spikes)
    assert torch.equal(run(net, spikes[:, :3]), run(hidden_net(), spikes[:, :3]))
    net(spikes[0])  # and without a reset: another batch cannot be the same sequence
    assert net(spikes[0, :3]).shape == (3, 3)
    state = tsnn.ReLPSP()(torch.ones(9, 3))[1]
    with pytest.raises(ValueError, match=r"\(9, 3\).*\(3, 3\)"):
        tsnn.ReLPSP()(torch.ones(3, 3), state)


def test_deepcopy_and_pickle_after_a_forward_drop_the_state(spikes):
    net = hidden_net()
    wanted = run(net, spikes)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin[1].state is None and twin[3].state is None
        assert torch.equal(run(twin, spikes), wanted)
    assert net[1].state is not None


def test_torch_save_and_load(spikes):
    net = hidden_net()
    wanted = run(net, spikes)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    assert torch.equal(run(torch.load(file, weights_only=False), spikes), wanted)
    fresh = hidden_net(4)
    fresh.load_state_dict(net.state_dict())
    assert "1.threshold" in net.state_dict()
    # DDP broadcasts buffers at each forward, so a state must not be one
    assert all(buffer.numel() == 1 for buffer in net.buffers())


def test_no_neuron_stays_alive():
    before = len(snn.SpikingNeuron.instances)
    neuron = tsnn.ReLPSP(init_hidden=True)
    neuron(torch.ones(2, 2))
    ghost = weakref.ref(neuron)
    del neuron
    gc.collect()
    assert ghost() is None
    assert len(snn.SpikingNeuron.instances) == before


def test_is_a_spiking_neuron_but_no_leaky():
    assert issubclass(tsnn.ReLPSP, snn.SpikingNeuron)
    assert not issubclass(tsnn.ReLPSP, snn.Leaky)  # export would take it for a LIF


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spikes_keep_the_dtype(dtype, spikes):
    net = hidden_net().to(dtype)
    out = run(net, spikes.to(dtype))
    assert out.dtype == net[1].state.v.dtype == dtype
    tsnn.ce_ttfs_loss(dt=DT)(out, TARGET).backward()
    assert net[0].weight.grad.dtype == dtype


def test_learnable_threshold(spikes):
    net = nn.Sequential(
        nn.Linear(4, 3, bias=False),
        tsnn.ReLPSP(0.5, dt=DT, init_hidden=True, learn_threshold=True),
    )
    nn.init.uniform_(net[0].weight, 0.2, 0.8)
    tsnn.ce_ttfs_loss(dt=DT)(run(net, spikes), TARGET).backward()
    assert net[1].threshold.grad.abs() > 0


@pytest.mark.parametrize("threshold", [0.0, -1.0, torch.tensor([1.0, 0.0])])
def test_threshold_must_be_positive(threshold):
    with pytest.raises(ValueError, match="threshold"):
        tsnn.ReLPSP(threshold)


def train(net, spikes, target, loss_fn, steps=25):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(steps):
        loss = loss_fn(run(net, spikes), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("ours_first", [True, False])
def test_trains_mixed_with_leaky(ours_first, spikes):
    torch.manual_seed(0)
    ours = tsnn.ReLPSP(dt=DT, init_hidden=True)
    stock = snn.Leaky(beta=0.9, init_hidden=True, spike_grad=surrogate.atan())
    pair = (ours, stock) if ours_first else (stock, ours)
    net = nn.Sequential(
        nn.Linear(4, 16, bias=False), pair[0], nn.Linear(16, 3, bias=False), pair[1]
    )
    nn.init.uniform_(net[0].weight, 0.2, 1.0)
    nn.init.uniform_(net[2].weight, 0.1, 0.4)
    before = net[0].weight.clone()
    losses = train(net, spikes, TARGET, tsnn.ce_ttfs_loss(5.0, dt=DT))
    assert min(losses[-5:]) < 0.8 * losses[0]
    assert not torch.equal(net[0].weight, before)


def test_trains_with_stock_encoder_and_stock_loss(images):
    spikes = spikegen.latency(images, T // 2, linear=True, normalize=True)
    spikes = torch.cat([spikes, torch.zeros_like(spikes)])
    losses = train(hidden_net(), spikes, TARGET, SF.ce_temporal_loss())
    assert min(losses[-5:]) < 0.8 * losses[0]


def test_stock_loss_sends_nothing_into_silent_neurons(spikes):
    """`ce_temporal_loss` sends one into tick T-1 of silent neurons; it stops there."""
    net = hidden_net()
    with torch.no_grad():
        net[2].weight[0] = -1.0
    out = run(net, spikes)
    out.retain_grad()
    SF.ce_temporal_loss()(out, torch.zeros(9, dtype=torch.long)).backward()
    assert out[..., 0].sum() == 0 and out.grad[-1, :, 0].abs().sum() > 0
    assert net[2].weight.grad[0].abs().sum() == 0
