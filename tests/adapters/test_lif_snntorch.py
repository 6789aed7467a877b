"""LIF window layers in snnTorch's protocol, beside its stock neurons."""

import copy
import io
import pickle
import warnings

import pytest
import snntorch as snn
import snntorch.functional as SF
import torch
from snntorch import utils
from torch import nn

from snn_temporal_plugins import kernel_loss, psp_filter
from snn_temporal_plugins.adapters import snntorch as tsnn
from tests.adapters.lif_hosts import events

T = 10
TARGET = torch.arange(9) % 3


@pytest.fixture(autouse=True)
def leave_no_trace():
    yield
    tsnn.unregister()


@pytest.fixture
def images():
    """Six pixels, class = the brightest of the first three."""
    data = torch.rand(9, 6, generator=torch.Generator().manual_seed(1)) * 0.5
    data[range(9), TARGET] += 0.5
    return data


class Sandwich(nn.Module):
    """Ours, a usual loop over steps with a stock neuron, ours."""

    def __init__(self, stock):
        super().__init__()
        self.first = tsnn.LIFLinear(6, 12, num_steps=T, output=False)
        self.fc = nn.Linear(12, 8)
        self.stock = stock
        self.last = tsnn.LIFLinear(8, 3, weight_scale=2.0)

    def forward(self, x):
        current = self.fc(self.first(x)).unbind(0)
        return self.last(torch.stack([self.stock(step) for step in current]))


def leaky(**options):
    return snn.Leaky(
        beta=0.9, spike_grad=tsnn.surrogate.tssl_bp(), init_hidden=True, **options
    )


def test_gives_spikes_and_psps_or_spikes_alone():
    layer = tsnn.LIFLinear(6, 5, weight_scale=2.0, tau_syn=4.0)
    spk, psp = layer(events(T, 2, 6).float())
    assert spk.shape == psp.shape == (T, 2, 5) and 0 < spk.sum() < spk.numel()
    torch.testing.assert_close(psp, psp_filter(spk, 4.0))
    layer.output = False
    assert torch.equal(layer(events(T, 2, 6).float()), spk)


def test_a_call_is_a_whole_sequence_unless_it_streams():
    layer = tsnn.LIFLinear(6, 5, weight_scale=2.0, output=False)
    x = events(T, 2, 6).float()
    wanted = layer(x)
    assert torch.equal(layer(x), wanted)  # from rest again
    layer(x[:5])
    assert torch.equal(layer(x[5:], layer.state), wanted[5:])
    layer.stream = True
    for _ in range(2):
        layer.reset_mem()
        assert torch.equal(torch.cat([layer(part) for part in x.split(3)]), wanted)
    layer.reset_mem()
    assert torch.equal(torch.cat([layer(step[None]) for step in x]), wanted)
    with pytest.raises(ValueError, match=r"reset_mem\(\)"):
        layer(x[:, :1])
    assert copy.deepcopy(layer).state is None and layer.state is not None


def test_utils_reset_reaches_a_streaming_layer_of_this_network_only():
    net, other = (nn.Sequential(tsnn.LIFLinear(6, 5, stream=True)) for _ in range(2))
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
        leaky,
        lambda: snn.Synaptic(alpha=0.8, beta=0.9, init_hidden=True),
        lambda: snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True),
        lambda: snn.RLeaky(beta=0.9, linear_features=8, init_hidden=True),
    ],
    ids=["Leaky", "Synaptic", "Alpha", "RLeaky"],
)
def test_trains_around_a_stock_neuron(stock, images):
    """The gradient of our last layer passes the stock neuron to our first."""
    torch.manual_seed(0)
    net = Sandwich(stock())
    nn.init.uniform_(net.fc.weight, -0.2, 0.6)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        tsnn.reset(net)
        _, psp = net(images)
        loss = kernel_loss(psp, TARGET)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in net.parameters())
        assert net.first.weight.grad.abs().sum() > 0
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.8 * losses[0]


def test_stands_in_a_sequential_net_before_a_stock_layer_with_a_stock_loss(images):
    torch.manual_seed(0)
    net = nn.Sequential(
        tsnn.LIFLinear(6, 12, num_steps=T, output=False),
        snn.LinearLeaky(beta=0.9, in_features=12, out_features=3),
    )
    nn.init.uniform_(net[1].linear.weight, 0, 0.3)
    spk, _ = net(images)
    SF.ce_rate_loss()(spk, TARGET).backward()
    assert net[0].weight.grad.abs().sum() > 0


def test_a_count_of_spikes_learns_through_the_spikes():
    """A loss on spikes enters the rule's A[t] directly, without a PSP filter."""
    layer = tsnn.LIFLinear(6, 3, weight_scale=2.0)
    spk, _ = layer(events(T, 9, 6).float())
    SF.mse_count_loss(correct_rate=0.8, incorrect_rate=0.1)(spk, TARGET).backward()
    assert layer.weight.grad.abs().sum() > 0


def test_torch_save_and_load_of_a_mixed_network_after_a_forward(images):
    net = Sandwich(leaky())
    wanted = net(images)[0]
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    fresh = Sandwich(leaky())
    fresh.load_state_dict(net.state_dict())
    for twin in (loaded, fresh):
        tsnn.reset(twin)
        assert torch.equal(twin(images)[0], wanted)


def test_the_surrogate_is_picklable_and_keeps_the_dtype():
    spike_grad = pickle.loads(pickle.dumps(tsnn.surrogate.tssl_bp(alpha=0.5)))
    assert repr(spike_grad) == "tssl_bp(alpha=0.5)"
    x = torch.linspace(-1, 1, 9, dtype=torch.float64, requires_grad=True)
    spk = spike_grad(x)
    (grad,) = torch.autograd.grad(spk.sum(), x)
    assert spk.dtype == torch.float64 and torch.equal(spk, (x > 0).double())
    z = torch.sigmoid(x.detach() / 0.5)
    torch.testing.assert_close(grad, z * (1 - z) / 0.5)
    neuron = snn.Leaky(beta=0.9, spike_grad=spike_grad).double()
    assert neuron(x.detach())[0].dtype == torch.float64


def test_the_surrogate_is_registered():
    with tsnn.register():
        assert snn.surrogate.tssl_bp is tsnn.surrogate.tssl_bp
    assert not hasattr(snn.surrogate, "tssl_bp")


def test_bptt_still_runs_with_stock_neurons_and_our_surrogate(images):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the module announces its own end
        from snntorch import backprop
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 3), leaky(output=True))
    nn.init.uniform_(net[0].weight, 0, 0.5)
    before = net[0].weight.clone()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    batches = [(images.expand(T, 9, 6), TARGET)]
    with tsnn.register():
        backprop.BPTT(net, batches, optimizer, SF.ce_rate_loss())
    assert not torch.equal(net[0].weight, before)
