"""ST-RSBP layers in snnTorch's protocol, beside its stock neurons."""

import copy
import io

import pytest
import snntorch as snn
import snntorch.functional as SF
import torch
from snntorch import export_nir, utils
from torch import nn

from snn_temporal_plugins import spike_count_class, spike_count_loss
from snn_temporal_plugins.adapters import snntorch as tsnn
from tests.adapters.spike_train_hosts import events, lift

T = 40
TARGET = torch.arange(9) % 3
QUICK = {"threshold": 2.0, "tau_mem": 16.0, "tau_syn": 4.0, "output": False}


@pytest.fixture(autouse=True)
def leave_no_trace():
    yield
    tsnn.unregister()


@pytest.fixture
def spikes():
    """Six inputs; the class is the one of the first three that spikes most."""
    rate = torch.full((9, 6), 0.15)
    rate[range(9), TARGET] = 0.6
    g = torch.Generator().manual_seed(1)
    return (torch.rand(T, 9, 6, generator=g) < rate).float()


def layer(**options):
    return lift(tsnn.RecurrentLIF(6, 5, **{**QUICK, **options}))


class Sandwich(nn.Module):
    """Ours, a usual loop over steps with a stock neuron, ours."""

    def __init__(self, stock):
        super().__init__()
        self.first = lift(tsnn.SpikeTrainLinear(6, 12, **QUICK))
        self.fc = nn.Linear(12, 8)
        self.stock = stock
        self.recurrent = lift(tsnn.RecurrentLIF(8, 8, **QUICK))
        self.last = tsnn.SpikeTrainLinear(8, 3, **QUICK, lateral=1.0, desired_count=9)

    def forward(self, x, label=None):
        current = self.fc(self.first(x)).unbind(0)
        hidden = torch.stack([self.stock(step) for step in current])
        return self.last(self.recurrent(hidden), label=label)


def count_loss(spikes):
    return spike_count_loss(
        spikes, TARGET, desired_count=9, undesired_count=1, margin=1
    )


def test_gives_spikes_and_state_or_spikes_alone():
    ours = layer(output=True)
    x = events(T, 2, 6).float()
    spk, state = ours(x)
    assert spk.shape == (T, 2, 5) and 0 < spk.sum() < spk.numel()
    assert isinstance(state, tsnn.SpikeTrainState) and ours.state is state
    ours.output = False
    assert torch.equal(ours(x), spk)
    one, state = ours.step(x[0])  # a loop over steps always wants the state
    assert one.shape == (2, 5) and ours.state is state


def test_a_call_is_a_whole_sequence_unless_it_streams():
    ours = layer()
    x = events(T, 2, 6).float()
    wanted = ours(x)
    assert torch.equal(ours(x), wanted)  # from rest again
    ours(x[:5])
    assert torch.equal(ours(x[5:], ours.state), wanted[5:])
    for _ in range(2):  # steps go on by themselves, as snnTorch's neurons do
        ours.reset_mem()
        assert torch.equal(torch.stack([ours.step(step)[0] for step in x]), wanted)
    ours.stream = True
    for _ in range(2):
        ours.reset_mem()
        assert torch.equal(torch.cat([ours(part) for part in x.split(3)]), wanted)
    with pytest.raises(ValueError, match=r"reset_mem\(\)"):
        ours(x[:, :1])
    assert copy.deepcopy(ours).state is None and ours.state is not None


def test_utils_reset_reaches_a_streaming_layer_of_this_network_only():
    net, other = (nn.Sequential(layer(stream=True)) for _ in range(2))
    x = events(T, 2, 6).float()
    net(x), other(x)
    with tsnn.register():
        utils.reset(net)
    assert net[0].state is None and other[0].state is not None
    tsnn.reset(other)
    assert other[0].state is None


@pytest.mark.parametrize(
    "stock",
    [
        lambda: snn.Leaky(beta=0.9, init_hidden=True),
        lambda: snn.RSynaptic(alpha=0.8, beta=0.9, linear_features=8, init_hidden=True),
    ],
    ids=["Leaky", "RSynaptic"],
)
def test_trains_around_a_stock_neuron(stock, spikes):
    """The gradient of our last layers passes the stock neuron to our first."""
    torch.manual_seed(0)
    net = Sandwich(stock())
    nn.init.uniform_(net.fc.weight, -0.2, 0.8)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        tsnn.reset(net)
        loss = count_loss(net(spikes, TARGET))
        optimizer.zero_grad()
        loss.backward()
        assert net.first.weight.grad.abs().sum() > 0
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.8 * losses[0]


def test_learns_to_tell_which_input_spikes_most(spikes):
    torch.manual_seed(0)
    hidden = lift(tsnn.RecurrentLIF(6, 12, **QUICK))
    last = tsnn.SpikeTrainLinear(12, 3, **QUICK, lateral=1.0, desired_count=9)
    net = nn.Sequential(hidden, last)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        count_loss(last(hidden(spikes), label=TARGET)).backward()
        optimizer.step()
    assert torch.equal(spike_count_class(net(spikes)), TARGET)


@pytest.mark.parametrize(
    "loss",
    [
        SF.mse_count_loss(correct_rate=0.4, incorrect_rate=0.05),
        SF.ce_count_loss(),
        SF.ce_rate_loss(),
    ],
)
def test_stock_losses_on_counts(loss, spikes):
    torch.manual_seed(0)
    net = nn.Sequential(layer(), lift(tsnn.SpikeTrainLinear(5, 3, **QUICK)))
    loss(net(spikes), TARGET).backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


def test_stands_before_a_stock_layer(spikes):
    torch.manual_seed(0)
    net = nn.Sequential(
        layer(), snn.LinearLeaky(beta=0.9, in_features=5, out_features=3)
    )
    nn.init.uniform_(net[1].linear.weight, 0, 0.3)
    spk, _ = net(spikes)
    SF.ce_rate_loss()(spk, TARGET).backward()
    assert net[0].recurrent_weight.grad.abs().sum() > 0


def test_torch_save_and_load_of_a_mixed_network_after_a_forward(spikes):
    # a tssl_bp surrogate, because snnTorch's own do not pickle
    def stock():
        spike_grad = tsnn.surrogate.tssl_bp()
        return snn.Leaky(beta=0.9, spike_grad=spike_grad, init_hidden=True)

    net = Sandwich(stock())
    wanted = net(spikes)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    fresh = Sandwich(stock())
    fresh.load_state_dict(net.state_dict())
    for twin in (loaded, fresh):
        tsnn.reset(twin)
        assert torch.equal(twin(spikes), wanted)


def test_snntorchs_own_export():
    net = nn.Sequential(
        tsnn.SpikeTrainConv2d(1, 2, 3, refractory=0, output=False),
        nn.Flatten(2),
        tsnn.RecurrentLIF(18, 4, refractory=0),
    )
    with tsnn.register():
        graph = export_nir.export_to_nir(net, torch.zeros(T, 1, 1, 5, 5))
    names = [type(node).__name__ for node in graph.nodes.values()]
    assert names == [
        *("Input", "Conv2d", "CubaLIF", "Flatten", "Linear", "NIRGraph", "Output")
    ]
    assert graph.metadata == {"dt": 1e-4, "rule": "st_rsbp", "shift": 2}
