"""Integrate-and-fire layers on windows: the numbers are the core's, in both hosts."""

import copy
import io
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snn_temporal_plugins import (
    first_target,
    mean_target,
    neurons,
    squared_time_loss,
    times_to_train,
)
from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn
from tests.adapters.if_hosts import (
    HOSTS,
    conv,
    dense,
    events,
    run,
    sixteenths,
    step_form,
    ticks,
)

T = 20
LABEL = torch.tensor([0, 2, 1, 0])


@HOSTS
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    batch=st.integers(0, 3),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 5)),
    num_steps=st.integers(1, 9),
    v_th=st.sampled_from([0.25, 1.0, 2.5]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**31),
)
def test_window_form_gives_the_spikes_of_the_step_form(
    host, batch, sizes, num_steps, v_th, dtype, seed
):
    """Later spikes of an input act on the step form only, so there are none."""
    layer = dense(host, sizes, {"v_th": v_th}).to(dtype)
    weight = sixteenths(layer.weight, seed)
    train = events(batch, sizes[0], num_steps=num_steps, seed=seed).to(dtype)
    spikes, times = run(layer, train)
    assert spikes.dtype == times.dtype == dtype
    assert spikes.shape == (num_steps, batch, sizes[1])
    assert torch.equal(spikes, step_form(train, lambda x: x @ weight.T, v_th))
    assert torch.equal(spikes, times_to_train(times, num_steps))


@HOSTS
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    size=st.tuples(st.integers(3, 6), st.integers(3, 6)),
    maps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 2**31),
)
def test_convolution_gives_the_spikes_of_the_step_form(
    host, kernel, stride, padding, size, maps, seed
):
    options = {"stride": stride, "padding": padding}
    layer = conv(host, (*maps, kernel), **options).double()
    weight = sixteenths(layer.weight, seed)
    train = events(2, maps[0], *size, num_steps=6, seed=seed)
    wanted = step_form(train, lambda x: F.conv2d(x, weight, **options))
    assert torch.equal(run(layer, train)[0], wanted)


@HOSTS
def test_gradient_is_that_of_the_step_form(host):
    """Without b and normalize; the rule takes the mean over the batch, a loop sums."""
    torch.manual_seed(0)
    p = {"rule_options": {"normalize": None}}
    layers = [conv(host, (2, 4, 3), p), dense(host, (36, 12), p)]
    for layer in layers:
        sixteenths(layer.double().weight)
        layer.weight.data.sub_(0.375)  # not all neurons are to fire
    train = events(3, 2, 5, 5, num_steps=T).requires_grad_()
    hidden = run(layers[0], train)[0].flatten(2)
    window = run(layers[1], hidden)[0]

    wide, narrow = (layer.weight for layer in layers)
    hidden = step_form(train, lambda x: F.conv2d(x, wide)).flatten(2)
    loop = step_form(hidden, lambda x: x @ narrow.T)
    assert torch.equal(window, loop) and 0 < loop.sum() < loop[0].numel()

    error = torch.randn(loop.shape, dtype=torch.float64)
    leaves = [train, wide, narrow]
    got = torch.autograd.grad((window * error).sum(), leaves)
    wanted = torch.autograd.grad((loop * error).sum(), leaves)
    # the window form moves spikes, so only their own ticks have a gradient
    at_spikes = wanted[0] * train.detach()
    torch.testing.assert_close(got[0], at_spikes, rtol=1e-12, atol=1e-13)
    for mean, total in zip(got[1:], wanted[1:], strict=True):
        assert total.abs().max() > 0.1
        torch.testing.assert_close(3 * mean, total, rtol=1e-12, atol=1e-13)


SETTINGS = [
    {},
    {"v_th": 2.5, "a": 0.8, "b": 0.2},
    {"b": 0.2, "compat": "released"},
    {"rule_options": {"normalize": None}},
    {"v_th": 0.3, "rule_options": {"tau_mem": 3.0}},
    {"b": 0.3, "rule_options": {"tau_stdp": 5.0, "offset": 0.1}},
    {"b": 0.3, "compat": "released", "rule_options": {"tau_stdp": 5.0}},
    {"b": 0.3, "rule_options": {"w_max": 3.0, "mu": 0.7}},
]


@HOSTS
@pytest.mark.parametrize("p", SETTINGS, ids=str)
@pytest.mark.parametrize("image", [False, True], ids=["dense", "conv"])
def test_a_layer_is_the_cores_with_every_setting(host, p, image):
    if image:
        core = neurons.IFConv2d(2, 5, 3, stride=2, padding=1, num_steps=T, **p)
        layer = conv(host, (2, 5, 3), p, stride=2, padding=1).double()
        time = ticks(4, 2, 6, 5, num_steps=T)
    else:
        core = neurons.IFLinear(9, 7, num_steps=T, **p)
        layer = dense(host, (9, 7), p).double()
        time = ticks(4, 9, num_steps=T)
    torch.manual_seed(0)
    nn.init.normal_(core.double().weight, 0.2, 0.5)
    layer.core.load_state_dict(core.state_dict())
    wanted_in, got_in = (time.clone().requires_grad_() for _ in range(2))

    wanted = core(wanted_in)
    spikes, times = run(layer, times_to_train(got_in, T))
    assert torch.equal(times, wanted)
    assert torch.equal(spikes, times_to_train(wanted, T))
    assert wanted.isfinite().any() and wanted.isinf().any()

    error = torch.randn(wanted.shape, dtype=torch.float64)  # of silent neurons too
    grads = torch.autograd.grad(wanted, (wanted_in, core.weight), error)
    got = torch.autograd.grad(times, (got_in, layer.weight), error, retain_graph=True)
    for a, b in zip(got, grads, strict=True):
        assert b.abs().sum() > 0
        assert torch.equal(a, b)

    fired = wanted < math.inf  # a train has no tick for the error of silence
    grads = torch.autograd.grad(core(time), core.weight, error * fired)
    at_spike = torch.where(fired, wanted, 0).long()[None]
    in_train = torch.zeros_like(spikes).scatter_(0, at_spike, -(error * fired)[None])
    assert torch.equal(torch.autograd.grad(spikes, layer.weight, in_train)[0], grads[0])


@HOSTS
@pytest.mark.parametrize("target", [first_target, mean_target])
def test_a_network_learns_as_the_core_does(host, target):
    """Convolution, earliest-spike pool and two dense layers; the paper's loss."""
    torch.manual_seed(0)
    p = {"b": 0.1}
    core = nn.Sequential(
        neurons.IFConv2d(1, 4, 3, num_steps=T, weight_mean=0.3, **p),
        neurons.EarliestSpikePool2d(2),
        nn.Flatten(),
        neurons.IFLinear(36, 12, num_steps=T, **p),
        neurons.IFLinear(12, 3, num_steps=T, **p),
    ).double()
    ours = nn.ModuleList(
        [
            conv(host, (1, 4, 3), p),
            host.EarliestSpikePool2d(2),
            nn.Flatten(2),
            dense(host, (36, 12), p),
            dense(host, (12, 3), p),
        ]
    ).double()
    with torch.no_grad():
        core[4].weight[1] = -1.0  # a silent output, which the loss is to wake
    for part, layer in zip(ours, core, strict=True):
        if hasattr(part, "core"):
            part.core.load_state_dict(layer.state_dict())
    time = ticks(4, 1, 8, 8, num_steps=T)
    x = times_to_train(time, T)
    for part in ours:
        if hasattr(part, "core"):
            x, times = run(part, x)
        else:
            x = part(x)
    wanted = core(time)
    assert torch.equal(times, wanted) and wanted[:, 1].isinf().all()
    for post in (wanted, times):
        squared_time_loss(post, target(post, LABEL, t_max=T), t_max=T).backward()
    for a, b in zip(ours.parameters(), core.parameters(), strict=True):
        assert b.grad.abs().sum() > 0
        assert torch.equal(a.grad, b.grad)
    assert core[4].weight.grad[1].abs().sum() > 0


@HOSTS
def test_the_number_of_ticks_is_the_trains(host):
    """One layer on two lengths; silence counts as T in the exponential window."""
    p = {"b": 0.3, "rule_options": {"tau_stdp": 5.0}}
    layer = dense(host, (9, 7), p).double()
    sixteenths(layer.weight)
    error = torch.linspace(-1, 1, 28).double().view(4, 7)
    grads = []
    for num_steps in (12, 20, 12):
        time = ticks(4, 9, num_steps=12)
        core = neurons.IFLinear(9, 7, num_steps=num_steps, **p).double()
        core.load_state_dict(layer.core.state_dict())
        wanted = core(time)
        _, times = run(layer, times_to_train(time, num_steps))
        assert torch.equal(times, wanted) and wanted.isinf().any()
        assert layer.core.num_steps == num_steps
        grads.append(torch.autograd.grad(times, layer.weight, error)[0])
        (wanted,) = torch.autograd.grad(wanted, core.weight, error)
        assert torch.equal(grads[-1], wanted)
    assert torch.equal(grads[0], grads[2]) and not torch.equal(grads[0], grads[1])


@HOSTS
def test_two_lengths_before_one_backward(host):
    torch.manual_seed(0)
    layer = dense(host, (9, 7), {"rule_options": {"tau_stdp": 5.0}}).double()
    error = torch.randn(4, 7, dtype=torch.float64)
    apart = [
        torch.autograd.grad(run(layer, x)[1], layer.weight, error)[0]
        for x in (events(4, 9, num_steps=n) for n in (8, 16))
    ]
    times = [run(layer, events(4, 9, num_steps=n))[1] for n in (8, 16)]
    together = [torch.autograd.grad(t, layer.weight, error)[0] for t in times]
    for a, b in zip(apart, together, strict=True):
        assert torch.equal(a, b)


@HOSTS
def test_only_the_first_spike_of_an_input_acts(host):
    torch.manual_seed(0)
    layer = dense(host, (6, 5)).double()
    train = events(3, 6, num_steps=T)
    twice = torch.where(train.cumsum(0) > 0, 1.0, 0.0).double()
    assert torch.equal(run(layer, twice)[0], run(layer, train)[0])


@HOSTS
def test_copies_pickles_and_loads_after_a_forward(host):
    torch.manual_seed(0)
    layer = dense(host, (6, 5), {"v_th": 0.5, "b": 0.1})
    train = events(3, 6, num_steps=T).float()
    wanted, _ = run(layer, train)
    assert wanted.any()
    fresh = dense(host, (6, 5), {"v_th": 0.5, "b": 0.1})
    fresh.load_state_dict(layer.state_dict())
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    twins = (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded, fresh)
    for twin in twins:
        assert getattr(twin, "spike_times", None) is None
        assert torch.equal(run(twin, train)[0], wanted)
    twin = copy.deepcopy(layer).double()
    assert run(twin, train.double())[0].dtype == torch.float64
    assert list(layer.state_dict()) == ["core.weight"]
    assert layer.v_th == 0.5 and layer.weight is layer.core.weight


@HOSTS
def test_start_weights_are_the_users(host):
    torch.manual_seed(0)
    for layer in (
        dense(host, (400, 300), weight_mean=2.0, weight_gain=3.0),
        conv(host, (16, 300, 5), weight_mean=2.0, weight_gain=3.0),
    ):
        fan_in = layer.weight[0].numel()
        assert layer.weight.mean().item() == pytest.approx(2.0, rel=0.01)
        assert layer.weight.std().item() == pytest.approx(3 / fan_in**0.5, rel=0.02)


@HOSTS
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda h: dense(h, (0, 3)), ValueError, "at least 1"),
        (lambda h: dense(h, (4, 3), {"v_th": 0.0}), ValueError, r"v_th is 0\.0"),
        (lambda h: conv(h, (1, 3, 2), {"v_th": -1.0}), ValueError, r"-1\.0"),
        (lambda h: dense(h, (4, 3), {"b": -0.1}), ValueError, r"b is -0\.1"),
        (lambda h: dense(h, (4, 3), {"compat": "old"}), ValueError, "'old'.*released"),
        (
            lambda h: dense(h, (4, 3), {"rule_options": {"tau_stpd": 5.0}}),
            TypeError,
            "tau_stpd",
        ),
        (lambda h: conv(h, (1, 3, 2), stride=0), ValueError, "stride is 0"),
        (
            lambda h: dense(h, (4, 3))(torch.zeros(0, 2, 4)),
            ValueError,
            "at least one step",
        ),
        (lambda h: dense(h, (4, 3))(torch.zeros(5, 2, 6)), ValueError, "4 inputs"),
        (lambda h: dense(h, (4, 3))(torch.zeros(5, 2, 4).int()), TypeError, "int32"),
        (
            lambda h: dense(h, (4, 3))(torch.zeros(5, 2, 4).double()),
            TypeError,
            "float64.*float32",
        ),
        (
            lambda h: conv(h, (1, 3, 2))(torch.zeros(5, 2, 4)),
            ValueError,
            r"batch, 1, ",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments_and_input_are_named(host, call, error, message):
    with pytest.raises(error, match=message):
        call(host)


def test_words_of_the_hosts_are_checked():
    with pytest.raises(TypeError, match=r"ReLPSPParameters.*IFParameters\(v_th"):
        tnorse.IFLinear(4, 3, tnorse.ReLPSPParameters())
    with pytest.raises(TypeError, match=r"float.*IFParameters\(v_th"):
        tnorse.IFConv2d(1, 3, 2, 1.0)
    with pytest.raises(TypeError, match="num_steps"):  # it is the train's length
        tsnn.IFLinear(4, 3, num_steps=10)
