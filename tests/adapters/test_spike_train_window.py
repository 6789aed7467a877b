"""ST-RSBP layers in hosts: the numbers are the core's, whole, in parts, in steps."""

import copy
import pickle

import pytest
import torch

from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn
from tests.adapters.spike_train_hosts import HOSTS, KINDS, image_or_row, lift, make

T = 40
LABEL = torch.tensor([0, 2, 1])
ALL_KINDS = pytest.mark.parametrize(
    "kind", ["dense", "output", "recurrent", "reservoir", "conv", "pool"]
)


@HOSTS
@ALL_KINDS
@pytest.mark.parametrize(
    "p", [{}, {"refractory": 0, "method_options": {"side": "direct"}}]
)
def test_a_layer_learns_as_its_core(host, kind, p):
    torch.manual_seed(0)
    layer = lift(make(host, kind, p))
    x = image_or_row(kind, T, 3)
    trains = []
    for module in (layer, copy.deepcopy(layer.core)):
        source = x.clone().requires_grad_()
        out = module(source)
        spikes = out[0] if module is layer else out
        count = spikes.flatten(2)[..., :4].sum()
        grads = torch.autograd.grad(count, [source, *module.parameters()])
        trains.append([spikes, *grads])
    for got, wanted in zip(*trains, strict=True):
        assert torch.equal(got, wanted) and wanted.abs().sum() > 0
    assert 0.02 < trains[0][0].mean() < 0.9


@HOSTS
def test_the_labels_neuron_learns_though_it_is_silent(host):
    torch.manual_seed(0)
    layer = make(host, "output")
    with torch.no_grad():
        layer.weight[LABEL] = -1.0
    x = image_or_row("output", T, 3)
    grads = {}
    for name, label in (("told", LABEL), ("not told", None)):
        spikes, _ = layer(x, label=label)
        assert not spikes[:, range(3), LABEL].any()
        missing = -spikes[:, range(3), LABEL].sum()
        grads[name] = torch.autograd.grad(missing, layer.weight)[0]
        assert torch.equal(layer.core(x, label), spikes)
    assert (grads["told"][LABEL] != 0).any()
    assert (grads["not told"][LABEL] == 0).all()


@HOSTS
@ALL_KINDS
@pytest.mark.parametrize("length", [1, 7, T - 1])
def test_windows_and_steps_give_the_spikes_of_one_window(host, kind, length):
    torch.manual_seed(0)
    layer = lift(make(host, kind))
    x = image_or_row(kind, T, 2)
    wanted, end = layer(x)
    state, parts = None, []
    for window in x.split(length):
        part, state = layer(window, state)
        parts.append(part)
    assert torch.equal(torch.cat(parts), wanted) and wanted.any()
    getattr(layer, "reset_mem", lambda: None)()  # snnTorch's goes on by itself
    last, steps = None, []
    for step in x:
        spikes, last = layer.step(step, last)
        assert not spikes.requires_grad
        steps.append(spikes)
    assert torch.equal(torch.stack(steps), wanted)
    for other in (state, last):
        for a, b in zip(other, end, strict=True):
            assert torch.equal(a, b) and not a.requires_grad


@HOSTS
@KINDS
def test_each_window_learns_on_its_own(host, kind):
    torch.manual_seed(0)
    layer = lift(make(host, kind))
    x = image_or_row(kind, T, 2).requires_grad_()
    _, state = layer(x[:20])
    spikes, _ = layer(x[20:], state)
    (grad,) = torch.autograd.grad(spikes.sum(), x)
    assert (grad[:20] == 0).all() and grad[20:].abs().sum() > 0


@HOSTS
@ALL_KINDS
def test_copies_pickles_loads_and_changes_type(host, kind):
    torch.manual_seed(0)
    layer = lift(make(host, kind)).float()
    x = image_or_row(kind, T, 2).float()
    wanted, state = layer(x)
    assert wanted.dtype == state.neurons.dtype == torch.float32 and wanted.any()
    names = [] if kind == "pool" else ["core.weight"]
    assert hasattr(layer, "weight") == (kind != "pool")
    if kind in ("recurrent", "reservoir"):
        names.append("core.recurrent_weight")
        assert layer.recurrent_weight is layer.core.recurrent_weight
    assert list(layer.state_dict()) == names
    fresh = make(host, kind).float()
    fresh.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert getattr(twin, "state", None) is None
        assert torch.equal(twin(x)[0], wanted)
    again = pickle.loads(pickle.dumps(state))
    assert type(again) is tnorse.SpikeTrainState is tsnn.SpikeTrainState
    assert torch.equal(again.neurons, state.neurons)


@HOSTS
def test_constants_reach_the_core(host):
    p = {"tau_mem": 9.0, "tau_syn": 3.0, "v_th": 4.0, "refractory": 1}
    p["method_options"] = {"solver": "original"}
    for kind in ("dense", "recurrent", "conv"):
        core = make(host, kind, p, weight_bound=0.25).core
        constants = core.tau_mem, core.tau_syn, core.v_th, core.refractory
        assert constants == (9.0, 3.0, 4.0, 1)
        assert core.settings["solver"] == "original"
        assert 0.2 < core.weight.abs().max() <= 0.25
    core = make(host, "pool", p).core
    assert core.settings == {k: p[k] for k in ("v_th", "tau_mem", "tau_syn")} | {
        "refractory": 1
    }
    assert make(host, "reservoir").core.grid == (2, 2, 2)
    settings = make(host, "output").core.settings
    assert (settings["lateral"], settings["desired_count"]) == (1.0, 4)


def test_both_hosts_have_the_defaults_of_the_core():
    for host in (tsnn, tnorse):
        for layer in (host.SpikeTrainLinear(3, 2), host.RecurrentLIF(3, 2)):
            twin = type(layer.core)(3, 2)
            assert layer.core.settings == twin.settings
            assert layer.core.weight_bound == twin.weight_bound
        layer = host.SpikeTrainConv2d(1, 2, 3)
        assert layer.core.settings == type(layer.core)(1, 2, 3).settings
        layer = host.SpikeTrainPool2d(2)
        assert layer.core.settings == type(layer.core)(2).settings


@HOSTS
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: f(0.5 * image_or_row("", 5, 2)), ValueError, "than 0 and 1"),
        (lambda f: f(torch.nan * image_or_row("", 5, 2)), ValueError, "than 0 and 1"),
        (lambda f: f(image_or_row("", 5, 2).int()), TypeError, "int32"),
        (lambda f: f(image_or_row("", 0, 2)), ValueError, "at least one step"),
        (lambda f: f(image_or_row("", 5, 2)[..., :5]), ValueError, "6 inputs"),
        (lambda f: f(image_or_row("", 5, 2), "rest"), TypeError, "state is a str"),
        (
            lambda f: f(image_or_row("", 5, 3), f(image_or_row("", 5, 2))[1]),
            ValueError,
            r"\(2, 6\).*\(3, 6\).*reset_mem\(\)",
        ),
        (lambda f: f.step(image_or_row("", 2)[0]), ValueError, r"\(time, batch, 6\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_named(host, call, error, message):
    with pytest.raises(error, match=message):
        call(make(host, "recurrent"))


@HOSTS
@pytest.mark.parametrize(
    ("p", "error", "message"),
    [
        ({"method": "tssl_bp"}, ValueError, "'tssl_bp'.*'st_rsbp' alone.*LIFLinear"),
        ({"tau_syn": 0.5}, ValueError, "tau_syn is 0.5"),
        ({"refractory": -1}, ValueError, "refractory is -1"),
        ({"method_options": {"solvre": "math"}}, TypeError, "solvre"),
    ],
)
def test_bad_arguments_are_named(host, p, error, message):
    with pytest.raises(error, match=message):
        make(host, "recurrent", p)
