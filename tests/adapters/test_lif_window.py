"""LIF layers on windows: the numbers are the core's, in both hosts' protocols."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from snn_temporal_plugins import kernel_loss, neurons
from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn
from snn_temporal_plugins.functional.lif import psp_filter
from tests.adapters.lif_hosts import HOSTS, dense, events, real, run

T = 10
LABEL = torch.tensor([0, 2, 1])
dyadic = st.integers(-16, 24).map(lambda n: n / 8)


def assert_learns_like(host_layers, core_layers, x, tau_syn=3.0):
    """Spikes between the layers of a host, PSPs between those of the core."""
    parts = [part for part in host_layers if hasattr(part, "core")]
    cores = [part for part in core_layers if list(part.parameters())]
    for part, core in zip(parts, cores, strict=True):
        part.core.load_state_dict(core.state_dict())
    z = x
    for part in host_layers:
        z = run(part, z)[0] if hasattr(part, "core") else part(z)
    got_psp = psp_filter(z, tau_syn)
    wanted_psp = nn.Sequential(*core_layers)(x)
    assert ((z == 0) | (z == 1)).all() and 0.1 < z.mean() < 0.9
    torch.testing.assert_close(got_psp, wanted_psp, rtol=0, atol=1e-14)
    got, wanted = (
        torch.autograd.grad(
            kernel_loss(psp, LABEL), [part.weight for part in layers], retain_graph=True
        )
        for psp, layers in ((got_psp, parts), (wanted_psp, cores))
    )
    for a, b in zip(got, wanted, strict=True):
        assert b.abs().max() > 0.1
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@HOSTS
@pytest.mark.parametrize(
    "p",
    [
        {},
        {"tau_mem": 8.0, "tau_syn": 2.0, "v_th": 0.7, "reset": "soft"},
        {"method_options": {"decision": "always_timing", "clip": 4.0}},
        {"method_options": {"decision": "always_surrogate", "alpha": 0.5}},
    ],
    ids=["default", "soft", "timing", "surrogate"],
)
def test_a_chain_on_spikes_learns_as_the_core_on_psps(host, p):
    torch.manual_seed(0)
    tau_syn = p.get("tau_syn", 3.0)
    options = {k: v for k, v in p.items() if k != "method_options"}
    options["rule_options"] = p.get("method_options")
    sizes = [(6, 12), (12, 3)]
    core = [neurons.LIFLinear(*s, weight_scale=2.0, **options).double() for s in sizes]
    ours = [dense(host, s, p).double() for s in sizes]
    spikes = events(T, 3, 6)
    assert_learns_like(ours, [neurons.PSPFilter(tau_syn), *core], spikes, tau_syn)


@HOSTS
def test_direct_encoding_learns_as_the_cores(host):
    torch.manual_seed(0)
    options = {"weight_scale": 2.0}
    core = [
        neurons.LIFLinear(6, 12, num_steps=T, **options).double(),
        neurons.LIFLinear(12, 3, **options).double(),
    ]
    ours = [dense(host, (6, 12), num_steps=T), dense(host, (12, 3))]
    assert_learns_like([layer.double() for layer in ours], core, real(3, 6))


@HOSTS
@pytest.mark.parametrize("num_steps", [None, T])
def test_a_convolutional_net_pools_spikes_and_learns_as_the_core(host, num_steps):
    """A sum pool commutes with the PSP filter; its layer behind says graded=True."""
    torch.manual_seed(0)
    image = {"padding": 1, "num_steps": num_steps}
    core = [
        neurons.LIFConv2d(2, 4, 3, **image),
        neurons.PSPPool2d(2),
        neurons.LIFConv2d(4, 4, 3),
        neurons.TimeFlatten(),
        neurons.LIFLinear(16, 3),
    ]
    for weight in nn.Sequential(*core).double().parameters():
        nn.init.uniform_(weight, -0.15, 0.25)
    ours = [
        host.LIFConv2d(2, 4, 3, **image).double(),
        host.PSPPool2d(2),
        host.LIFConv2d(4, 4, 3, graded=True).double(),
        nn.Flatten(2),
        dense(host, (16, 3)).double(),
    ]
    if num_steps:
        x = real(3, 2, 8, 8)
    else:
        x = events(T, 3, 2, 8, 8)
        core = [neurons.PSPFilter(), *core]
    assert_learns_like(ours, core, x)


@HOSTS
@given(
    cut=st.integers(1, T - 1),
    weight=st.lists(st.lists(dyadic, min_size=4, max_size=4), min_size=3, max_size=3),
    reset=st.sampled_from(["hard", "soft"]),
    num_steps=st.booleans(),
)
def test_two_windows_give_the_spikes_of_one(host, cut, weight, reset, num_steps):
    """Time constants that are powers of 2 keep eighths exact: ties must agree too."""
    p = {"tau_mem": 4.0, "tau_syn": 2.0, "reset": reset}
    x = torch.tensor([[0.5, 1, 0, 0.25]] * 2).double() if num_steps else events(T, 2, 4)
    trains = []
    for steps in ([T], [cut, T - cut]):
        state, parts = None, []
        for i, length in enumerate(steps):
            layer = dense(host, (4, 3), p, num_steps=length if num_steps else None)
            layer.double()
            with torch.no_grad():
                layer.weight.copy_(torch.tensor(weight))
            start = 0 if i == 0 else cut
            part, state = run(
                layer, x if num_steps else x[start : start + length], state
            )
            parts.append(part)
        trains.append((torch.cat(parts), *state))
    for one, two in zip(*trains, strict=True):
        assert torch.equal(one, two)


@HOSTS
def test_learning_is_truncated_between_windows(host):
    layer = dense(host, (4, 3), weight_scale=2.0)
    x = events(T, 2, 4).float().requires_grad_()
    _, state = run(layer, x[:5])
    assert not any(part.requires_grad for part in state)
    assert state.input_psp.untyped_storage().nbytes() == 2 * 4 * 4  # not the window
    z, _ = run(layer, x[5:], state)
    (grad,) = torch.autograd.grad(z.sum(), x)
    assert (grad[:5] == 0).all() and grad[5:].abs().sum() > 0


@HOSTS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_copies_pickles_loads_and_changes_type(host, dtype):
    layer = dense(host, (6, 5), weight_scale=2.0).to(dtype)
    x = events(T, 2, 6).to(dtype)
    wanted, state = run(layer, x)
    assert wanted.dtype == state.v.dtype == dtype and wanted.sum() > 0
    assert list(layer.state_dict()) == ["core.weight"]
    fresh = dense(host, (6, 5)).to(dtype)
    fresh.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert getattr(twin, "state", None) is None
        assert torch.equal(run(twin, x)[0], wanted)
    again = pickle.loads(pickle.dumps(state))
    assert type(again) is tnorse.LIFWindowState is tsnn.LIFWindowState
    assert torch.equal(again.v, state.v)
