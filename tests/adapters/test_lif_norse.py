"""LIF window layers in Norse's protocol, beside its stock modules."""

import copy
import importlib
import io
import pickle
import sys

import norse.torch as nt
import pytest
import torch
from torch import nn

from snn_temporal_plugins import kernel_loss, psp_filter, sigmoid_surrogate
from snn_temporal_plugins.adapters import norse as tnorse
from tests.adapters.lif_hosts import events

T = 10
TARGET = torch.arange(9) % 3
P = tnorse.LIFWindowParameters(tau_mem=4.0, method_options={"alpha": 0.3})


def holders():
    """Every module of Norse with a reference to a function called `threshold`."""
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith("norse.") and callable(vars(module).get("threshold"))
    ]


@pytest.fixture(autouse=True)
def leave_no_trace():
    yield
    tnorse.unregister()


@pytest.fixture
def images():
    """Six pixels, class = the brightest of the first three."""
    data = torch.rand(9, 6, generator=torch.Generator().manual_seed(1)) * 0.5
    data[range(9), TARGET] += 0.5
    return data


def sandwich(stock):
    torch.manual_seed(0)
    net = nt.SequentialState(
        tnorse.LIFLinear(6, 12, P, num_steps=T),
        nn.Linear(12, 8),
        stock,
        tnorse.LIFLinear(8, 3, P, weight_scale=2.0),
        tnorse.PSPFilter(P.tau_syn),
    )
    nn.init.uniform_(net[1].weight, 0, 1.0)
    return net


def test_parameters_reach_the_core_and_pickle():
    for layer in (tnorse.LIFLinear(4, 3, P), tnorse.LIFConv2d(1, 3, 2, P)):
        assert (layer.core.tau_mem, layer.core.tau_syn) == (4.0, 3.0)
        assert layer.core.rule_options == {"alpha": 0.3}
    assert pickle.loads(pickle.dumps(P)) == P


@pytest.mark.parametrize("stock", [nt.LIF, nt.LIFAdEx, nt.LIFEx, nt.LI])
def test_stands_in_sequential_state_beside_stock_modules(stock, images):
    net = sandwich(stock())
    net[3].graded = stock is nt.LI  # it gives membranes, not spikes
    psp, states = net(images)
    assert psp.shape == (T, 9, 3) and isinstance(states[0], tnorse.LIFWindowState)
    assert net(images, states)[0].shape == psp.shape


def test_stands_in_sequential_state_over_cells_one_step_at_a_time():
    net = nt.SequentialState(
        nn.Linear(6, 6), nt.LIFCell(), nn.Unflatten(0, (1, -1)), tnorse.LIFLinear(6, 3)
    )
    states = None
    for x in events(T, 2, 6).float():
        z, states = net(x, states)
        assert z.shape == (1, 2, 3)


def test_trains_around_a_stock_lif_with_our_surrogate(images):
    """The gradient of our last layer passes Norse's neuron to our first."""
    p = nt.LIFParameters(method="tssl_bp", alpha=0.2, v_th=torch.tensor(0.2))
    net = sandwich(nt.LIF(p, dt=0.002))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    with tnorse.register():
        for _ in range(20):
            psp, _ = net(images)
            loss = kernel_loss(psp, TARGET)
            optimizer.zero_grad()
            loss.backward()
            assert net[0].weight.grad.abs().sum() > 0
            optimizer.step()
            losses.append(loss.item())
    assert min(losses[-5:]) < 0.8 * losses[0]


def test_a_sequence_goes_on_from_its_states():
    """Through the filter at the end, too."""
    net = nt.SequentialState(
        tnorse.LIFLinear(6, 12, weight_scale=2.0),
        tnorse.LIFLinear(12, 3, weight_scale=2.0),
        tnorse.PSPFilter(),
    )
    x = events(T, 2, 6).float()
    wanted, _ = net(x)
    states, parts = None, []
    for window in x.split(3):
        part, states = net(window, states)
        parts.append(part)
    assert torch.equal(torch.cat(parts), wanted) and wanted.sum() > 0
    assert not states[2].requires_grad
    z, _ = net[1](net[0](x)[0])
    assert torch.equal(wanted, psp_filter(z, 3.0))


def test_copies_pickles_saves_and_converts(images):
    net = sandwich(nt.LI())
    net[3].graded = True
    wanted, states = net(images)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    fresh = sandwich(nt.LI())
    fresh[3].graded = True
    fresh.load_state_dict(torch.load(file))
    for twin in (fresh, copy.deepcopy(net)):
        assert torch.equal(twin(images)[0], wanted)
    ours = nt.SequentialState(*list(net)[:1])  # Norse's own parameters do not pickle
    assert torch.equal(pickle.loads(pickle.dumps(ours))(images)[0], ours(images)[0])
    assert torch.equal(pickle.loads(pickle.dumps(states[0])).v, states[0].v)
    assert ours.double()(images.double())[0].dtype == torch.float64


def test_threshold_method_is_known_in_all_modules_while_registered():
    stock = importlib.import_module("norse.torch.functional.threshold").threshold
    before = holders()
    assert len(before) >= 12
    x = torch.linspace(-1, 1, 9, dtype=torch.float64, requires_grad=True)
    with tnorse.register():
        assert holders() == before
        for module in before:
            assert module.threshold is not stock
            z = module.threshold(x, "tssl_bp", torch.tensor(0.5))
            (grad,) = torch.autograd.grad(z.sum(), x)
            wanted = sigmoid_surrogate(x, 0.5)
            assert torch.equal(z, wanted)
            assert torch.equal(grad, torch.autograd.grad(wanted.sum(), x)[0])
            assert torch.equal(
                module.threshold(x, "heaviside", 0.5), stock(x, "heaviside", 0.5)
            )
            with pytest.raises(ValueError, match="nonsense"):
                module.threshold(x, "nonsense", 0.5)
    assert all(module.threshold is stock for module in before)


@pytest.mark.parametrize(
    ("cell", "parameters"),
    [
        (nt.LIFCell, nt.LIFParameters),
        (nt.LIFBoxCell, nt.LIFBoxParameters),
        (nt.LIFExCell, nt.LIFExParameters),
        (nt.LIFAdExCell, nt.LIFAdExParameters),
        (nt.IAFCell, nt.IAFParameters),
    ],
)
def test_stock_cells_learn_by_our_surrogate(cell, parameters):
    p = parameters(method="tssl_bp", alpha=0.2, v_th=torch.tensor(0.05))
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    neuron, state, z = cell(p), None, 0
    with tnorse.register():
        for _ in range(5):
            spikes, state = neuron(x, state)
            z = z + spikes
        z.sum().backward()
    assert z.sum() > 0 and x.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="tssl_bp"):
        neuron(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_compiled_cell_sees_the_method():
    """`torch.compile` guards on the function, so registering compiles anew."""
    p = nt.LIFParameters(method="tssl_bp", alpha=0.2, v_th=torch.tensor(0.05))
    x = torch.ones(2, 3)
    cell = nt.LIFCell(p)
    state = nt.LIFFeedForwardState(torch.zeros(2, 3), torch.ones(2, 3))
    compiled = torch.compile(cell, backend="eager")
    for _ in range(2):
        with tnorse.register():
            assert torch.equal(compiled(x, state)[0], cell(x, state)[0])
        with pytest.raises(ValueError, match="tssl_bp"):
            compiled(x, state)
