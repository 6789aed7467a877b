"""Rules on maps: the rule on every patch, gradients too, and what they refuse."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from snn_temporal_plugins import (
    RULES,
    IFConv2d,
    ReLPSPConv2d,
    build_network,
    rules,
    sstdp_conv2d,
    sstdp_with_potential,
    stdbp,
    stdbp_conv2d,
    ttfs_cross_entropy,
)

T = 12


def problem(*, ticks=False, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    time = torch.rand(3, 2, 6, 7, generator=g, dtype=dtype)
    if ticks:
        time = (time * T).floor()
    time[torch.rand(time.shape, generator=g) < 0.3] = math.inf
    weight = torch.randn(5, 2, 3, 3, generator=g, dtype=dtype) + 0.1
    return time.requires_grad_(), weight.requires_grad_()


def on_patches(rule, time, weight, stride, padding):
    """What the dense rule makes of (batch, place, input), as maps."""
    side = weight.shape[2]
    padded = F.pad(time, (padding,) * 4, value=math.inf)
    patches = F.unfold(padded, side, stride=stride).transpose(1, 2)
    down = (padded.shape[2] - side) // stride + 1
    found = rule(patches, weight.flatten(1))
    found = found if isinstance(found, tuple) else (found,)
    return [x.transpose(1, 2).unflatten(2, (down, -1)) for x in found]


def gradients(post, arguments):
    g = torch.Generator().manual_seed(5)
    error = torch.randn(post.shape, generator=g, dtype=post.dtype)
    return torch.autograd.grad(post, arguments, error)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (1, 2), (3, 0)])
@pytest.mark.parametrize("slope_clip", [None, 0.5, "per map"])
def test_stdbp_is_the_dense_rule_on_every_patch(slope_clip, stride, padding):
    time, weight = problem()
    v_th = torch.linspace(0.4, 1.2, 5, dtype=torch.float64).requires_grad_()
    if slope_clip == "per map":
        slope_clip = torch.linspace(0.2, 2.0, 5, dtype=torch.float64)
    limits = {"t_max": 1.4, "slope_clip": slope_clip}
    slide = {"stride": stride, "padding": padding}
    ours = stdbp_conv2d(time, weight, v_th, **slide, **limits)
    (theirs,) = on_patches(
        lambda t, w: stdbp(t, w, v_th, **limits), time, weight, stride, padding
    )
    torch.testing.assert_close(ours, theirs)
    assert 0.1 < ours.isfinite().double().mean() < 1
    for a, b in zip(
        gradients(ours, (time, weight, v_th)),
        gradients(theirs, (time, weight, v_th)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"b": 0.4},
        {"tau_mem": 3.0, "normalize": None},
        {"tau_stdp": 2.0, "b": 0.3, "offset": 0.1},
        {"compat": "released", "b": 0.2},
        {"compat": "released", "b": 0.2, "tau_stdp": 3.0, "tau_mem": 4.0},
        {"w_max": 1.5, "mu": 2.0},
    ],
    ids=str,
)
def test_sstdp_is_the_dense_rule_on_every_patch(options, stride, padding):
    time, weight = problem(ticks=True)
    ours = sstdp_conv2d(
        time, weight, 0.5, stride=stride, padding=padding, t_max=T, **options
    )
    theirs = on_patches(
        lambda t, w: sstdp_with_potential(t, w, 0.5, t_max=T, **options),
        *(time, weight, stride, padding),
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert 0.05 < ours[0].isfinite().double().mean() < 1
    for a, b in zip(
        gradients(ours[0], (time, weight)),
        gradients(theirs[0], (time, weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_stdbp_gradcheck():
    time, weight = problem(seed=2)
    v_th = torch.full((5,), 0.7, dtype=torch.float64, requires_grad=True)
    fired = stdbp_conv2d(time, weight, v_th, padding=1).isfinite()
    spiking = time.isfinite()

    def finite_part(times, weight, v_th):
        full = torch.full_like(time, math.inf).masked_scatter(spiking, times)
        return stdbp_conv2d(full, weight, v_th, padding=1)[fired]

    arguments = time.detach()[spiking].requires_grad_(), weight, v_th
    assert torch.autograd.gradcheck(finite_part, arguments, atol=1e-4)


def test_a_rule_without_a_form_on_maps_gets_patches(monkeypatch):
    dense_only = dataclasses.replace(RULES["stdbp"], name="mine", conv2d=None)
    monkeypatch.setattr(rules, "_third_party_rules", lambda: {"mine": dense_only})
    time, _ = problem()
    posts = []
    for rule in ("mine", "stdbp"):
        torch.manual_seed(0)
        layer = ReLPSPConv2d(2, 4, 3, padding=1, rule=rule, dtype=torch.float64)
        posts.append(layer(time))
    torch.testing.assert_close(*posts)


def test_an_empty_batch():
    time, weight = problem()
    post = stdbp_conv2d(time[:0], weight, 1.0)
    assert post.shape == (0, 5, 4, 5)
    post.sum().backward()
    assert (weight.grad == 0).all()


# Dynamo itself creates an instance of the Function that it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_a_convolutional_network_compiles_in_one_graph():
    torch.manual_seed(0)
    network = build_network("8x8-4C3P1-P2-10")
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    time = torch.rand(8, 1, 8, 8)
    grads = []
    for run in (network, compiled):
        network.zero_grad()
        post = run(time)
        ttfs_cross_entropy(post, torch.arange(8)).backward()
        grads.append([post, *(p.grad.clone() for p in network.parameters())])
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize("rule", [stdbp_conv2d, sstdp_conv2d])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"spike_time": [[1.0]]}, TypeError, "spike_time is list"),
        ({"spike_time": torch.ones(2, 2, 5)}, ValueError, r"expected \(batch, 2, h"),
        ({"spike_time": torch.ones(1, 3, 5, 5)}, ValueError, r"\(1, 3, 5, 5\)"),
        ({"spike_time": torch.ones(1, 2, 2, 5)}, ValueError, "smaller than the kernel"),
        ({"spike_time": torch.ones(1, 2, 5, 5).double()}, TypeError, "float64 but w"),
        ({"weight": torch.ones(4, 2, 3)}, ValueError, r"\(map, channel, side, side\)"),
        ({"weight": torch.ones(4, 2, 3, 2)}, ValueError, r"\(4, 2, 3, 2\)"),
        ({"v_th": 0.0}, ValueError, "v_th is 0.0"),
        ({"v_th": torch.ones(3)}, ValueError, r"\(3,\)"),
        ({"stride": 0}, ValueError, "stride is 0"),
        ({"padding": -1}, ValueError, "padding -1"),
        ({"t_max": 0}, ValueError, "t_max is 0"),
    ],
)
def test_bad_arguments_name_themselves(rule, change, error, message):
    good = {
        "spike_time": torch.ones(1, 2, 5, 5),
        "weight": torch.ones(4, 2, 3, 3),
        "v_th": 1.0,
    }
    with pytest.raises(error, match=message):
        rule(**(good | change))


def test_a_time_that_is_no_tick_names_itself():
    layer = IFConv2d(1, 2, 2, num_steps=8)
    with pytest.raises(ValueError, match=r"spike_time holds 1\.5"):
        layer(torch.full((1, 1, 3, 3), 1.5))
