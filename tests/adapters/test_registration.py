"""register(), unregister() and the context manager, in both hosts."""

import sys
import warnings

import norse.torch as nt
import pytest
import snntorch as snn
import torch
from snntorch import export_nir, utils
from torch import nn

from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the module announces its own end
    from snntorch import backprop

T, DT = 16, 0.125
NORSE = [module for name, module in sys.modules.items() if name.startswith("norse.")]
HOSTS = [
    (
        tsnn,
        [snn, utils, export_nir, snn.surrogate],
        ["ReLPSP", "IF", "IFConv2d", "RecurrentLIF", "LIFLinear"],
    ),
    (
        tnorse,
        [nt, *NORSE],
        ["ReLPSP", "IF", "IFState", "LIFLinear", "SpikeTrainState", "PSPFilter"],
    ),
]


def snapshot(modules):
    return [dict(vars(module)) for module in modules]


@pytest.fixture(autouse=True)
def leave_no_trace():
    yield
    tsnn.unregister()
    tnorse.unregister()


@pytest.mark.parametrize(("adapter", "modules", "names"), HOSTS)
def test_registered_twice_is_once_and_unregister_is_exact(adapter, modules, names):
    before = snapshot(modules)
    adapter.register()
    once = snapshot(modules)
    adapter.register()
    assert snapshot(modules) == once != before
    for name in names:
        assert getattr(modules[0], name) is getattr(adapter, name)
    adapter.unregister()
    assert snapshot(modules) == before
    adapter.unregister()
    assert snapshot(modules) == before


@pytest.mark.parametrize(("adapter", "modules", "names"), HOSTS)
def test_context_manager_undoes_what_it_did_and_no_more(adapter, modules, names):
    before = snapshot(modules)
    with pytest.raises(KeyError), adapter.register():
        assert hasattr(modules[0], "ReLPSP")
        raise KeyError
    assert snapshot(modules) == before
    adapter.register()
    with adapter.register():
        pass
    assert hasattr(modules[0], "ReLPSP")


@pytest.mark.parametrize(("adapter", "modules", "names"), HOSTS)
def test_a_name_of_the_host_is_never_replaced(adapter, modules, names, monkeypatch):
    monkeypatch.setattr(modules[0], names[-1], "theirs", raising=False)
    before = snapshot(modules)
    with pytest.raises(ValueError, match=f"{names[-1]} already exists.*'theirs'"):
        adapter.register()
    assert snapshot(modules) == before


def test_what_somebody_else_set_in_between_stays(monkeypatch):
    monkeypatch.setattr(utils, "reset", utils.reset)
    tsnn.register()
    utils.reset = "theirs"
    tsnn.unregister()
    assert utils.reset == "theirs"


def test_importing_the_adapters_changes_no_host():
    assert not hasattr(snn, "ReLPSP") and not hasattr(nt, "ReLPSP")


def network(last=None):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(4, 8, bias=False),
        tsnn.ReLPSP(dt=DT, init_hidden=True),
        nn.Linear(8, 2, bias=False),
        last or tsnn.ReLPSP(dt=DT, init_hidden=True, output=True),
    )
    for layer in (net[0], net[2]):
        nn.init.uniform_(layer.weight, 0.3, 0.9)
    return net


def test_utils_reset_reaches_ours_stock_and_nested_of_this_network_only():
    net = nn.Sequential(nn.Sequential(network(), nn.Identity()))
    stock = nn.Sequential(nn.Sequential(snn.Leaky(beta=0.9, init_hidden=True)))
    other = network()
    net(torch.ones(2, 4)), other(torch.ones(2, 4)), stock(torch.ones(2, 4))
    with tsnn.register():
        utils.reset(net)
        assert net[0][0][1].state is None
        assert other[1].state is not None and stock[0][0].mem.abs().sum() > 0
        utils.reset(stock)
        assert stock[0][0].mem.abs().sum() == 0


@pytest.mark.parametrize("hidden_only", [False, True])
def test_bptt_runs_with_ours_last_or_hidden(hidden_only):
    stock = snn.Leaky(beta=0.9, init_hidden=True, output=True)
    net = network(stock if hidden_only else None)
    images = torch.rand(9, 4)
    images[range(9), torch.arange(9) % 2] = 1.0
    batches = [
        (tsnn.latency(images[part], T), torch.arange(9)[part] % 2)
        for part in (slice(0, 6), slice(6, 9))  # a smaller last batch
    ]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    before = net[0].weight.clone()
    with tsnn.register():
        losses = [
            backprop.BPTT(net, batches, optimizer, tsnn.ce_ttfs_loss(5.0, DT)).item()
            for _ in range(12)
        ]
    assert min(losses[-3:]) < losses[0]
    assert not torch.equal(net[0].weight, before)


@pytest.mark.parametrize("window", [False, True])
def test_snntorch_export_of_our_networks(window):
    net = nn.Sequential(tsnn.ReLPSPLinear(4, 2)) if window else network()
    with tsnn.register():
        graph = export_nir.export_to_nir(net, torch.zeros(T, 1, 4))
    assert graph.metadata["num_ticks"] == T
    assert graph.metadata["shift"] == (1 if window else 2)


def test_norse_export_of_our_networks_leaves_the_codec_out():
    net = nt.SequentialState(
        tnorse.LatencyEncoder(T),
        nn.Linear(4, 3, bias=False),
        tnorse.ReLPSP(dt=DT),
        nn.Linear(3, 2, bias=False),
        tnorse.ReLPSPCell(dt=DT),
        tnorse.SpikesToTimesDecoder(DT),
    )
    with tnorse.register():
        graph = nt.to_nir(net, torch.zeros(1, 4))
        same = nt.to_nir(nt.SequentialState(*list(net)[1:-1]), torch.zeros(T, 1, 4))
    assert graph.metadata == same.metadata
    assert (graph.metadata["num_ticks"], graph.metadata["shift"]) == (T, 2)


@pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph:DeprecationWarning")
def test_stock_networks_are_still_exported_by_the_host():
    stock = nt.SequentialState(nn.Linear(4, 2), nt.LIFBoxCell())
    wanted = nt.to_nir(stock, torch.zeros(1, 4))
    with tnorse.register():
        got = nt.to_nir(stock, torch.zeros(1, 4))
    assert [type(n) for n in got.nodes.values()] == [
        type(n) for n in wanted.nodes.values()
    ]
