"""STDBP: the published law, the true derivative, and every bad argument."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_temporal_plugins import RULES, build_network, stdbp, ttfs_cross_entropy
from snn_temporal_plugins.testing import check_rule
from tests.oracles import relpsp


def problem(batch=5, inputs=12, outputs=8, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    time = torch.rand(batch, inputs, generator=g, dtype=dtype)
    time[torch.rand(batch, inputs, generator=g) < 0.25] = math.inf
    weight = torch.randn(outputs, inputs, generator=g, dtype=dtype) + 0.2
    return time.requires_grad_(), weight.requires_grad_()


def test_keeps_the_contract():
    check_rule(RULES["stdbp"])


@pytest.mark.parametrize("slope_clip", [None, 0.8])
@pytest.mark.parametrize("t_max", [math.inf, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_gradient_equals_the_published_law(seed, t_max, slope_clip):
    time, weight = problem(seed=seed)
    v_th = torch.linspace(0.3, 1.2, 8, dtype=torch.float64).requires_grad_()
    post = stdbp(time, weight, v_th, t_max=t_max, slope_clip=slope_clip)
    error = torch.randn(
        post.shape, generator=torch.Generator().manual_seed(seed)
    ).double()
    grads = torch.autograd.grad(post, (time, weight, v_th), error)
    expected = relpsp.stdbp(
        time.detach().numpy(),
        weight.detach().numpy(),
        post.detach().numpy(),
        error.numpy(),
        math.inf if slope_clip is None else slope_clip,
    )
    for ours, theirs in zip(grads, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-10, atol=1e-10)


def test_gradcheck_of_threshold():
    time, weight = problem(batch=2, outputs=3)
    v_th = torch.tensor([0.5, 0.7, 1.1], dtype=torch.float64, requires_grad=True)
    fired = stdbp(time, weight, v_th).isfinite()
    assert torch.autograd.gradcheck(
        lambda th: stdbp(time.detach(), weight.detach(), th)[fired], (v_th,)
    )


def test_time_gradients_sum_to_one():
    time, weight = problem()
    post = stdbp(time, weight, 1.0)
    for b, j in post.isfinite().nonzero().tolist():
        (grad,) = torch.autograd.grad(post[b, j], time, retain_graph=True)
        assert grad.sum().item() == pytest.approx(1, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), shift=st.floats(-5, 5), scale=st.floats(0.1, 10))
def test_shift_and_gauges(seed, shift, scale):
    time, weight = (x.detach() for x in problem(seed=seed))
    post = stdbp(time, weight, 1.0)
    close = {"rtol": 1e-7, "atol": 1e-9}
    torch.testing.assert_close(stdbp(time + shift, weight, 1.0), post + shift, **close)
    torch.testing.assert_close(
        stdbp(time * scale, weight, scale), post * scale, **close
    )
    torch.testing.assert_close(stdbp(time, weight * scale, scale), post, **close)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        stdbp(time[:, order], weight[:, order], 1.0), post, **close
    )


def test_a_late_input_changes_nothing():
    time = torch.tensor([[0.0, 0.2, 5.0]], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([[1.0, 1.0, 3.0]], dtype=torch.float64, requires_grad=True)
    post = stdbp(time, weight, 1.0)
    assert post.item() == pytest.approx(0.6)
    post.backward()
    assert time.grad[0, 2] == 0 and weight.grad[0, 2] == 0
    changed = weight.detach().clone()
    changed[0, 2] = -7
    assert torch.equal(stdbp(time, changed, 1.0), post)


def test_only_the_first_crossing_counts():
    time = torch.tensor([[0.0, 2.0]])
    weight = torch.tensor([[1.0, -5.0]])  # crosses at 1, comes down again after 2
    assert stdbp(time, weight, 1.0).item() == 1.0


def test_an_input_at_the_firing_time_is_not_causal():
    time = torch.tensor([[0.0, 1.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 4.0]], requires_grad=True)
    post = stdbp(time, weight, 1.0)  # fires at 1.0, exactly when input 1 arrives
    post.backward()
    assert post.item() == 1.0
    assert weight.grad.tolist() == [[-1.0, 0.0]] and time.grad.tolist() == [[1.0, 0.0]]


def test_times_after_the_horizon_are_silent():
    time, weight = (x.detach() for x in problem())
    free = stdbp(time, weight, 1.0)
    limited = stdbp(time, weight, 1.0, t_max=0.8)
    assert torch.equal(limited, torch.where(free <= 0.8, free, math.inf))


def test_leading_dimensions_are_kept():
    time, weight = (x.detach() for x in problem(batch=6))
    post = stdbp(time, weight, 1.0)
    assert torch.equal(
        stdbp(time.reshape(2, 3, 12), weight, 1.0), post.reshape(2, 3, 8)
    )
    assert torch.equal(stdbp(time[0], weight, 1.0), post[0])


@pytest.mark.slow
# Dynamo itself creates an instance of the Function that it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_network_compiles_in_one_graph():
    torch.manual_seed(0)
    network = build_network("20-30-10")
    compiled = torch.compile(network, fullgraph=True)
    time = torch.rand(8, 20)
    grads = []
    for run in (network, compiled):
        network.zero_grad()
        post = run(time)
        ttfs_cross_entropy(post, torch.arange(8)).backward()
        grads.append([post, *(p.grad.clone() for p in network.parameters())])
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"spike_time": [[1.0]]}, TypeError, "spike_time is list"),
        ({"spike_time": torch.ones(2, 3, dtype=torch.int64)}, TypeError, "int64"),
        ({"spike_time": torch.ones(2, 4)}, ValueError, r"\(2, 4\).*3 inputs"),
        ({"spike_time": torch.ones(2, 3).double()}, TypeError, "float64 but weight"),
        ({"spike_time": torch.ones(2, 3, device="meta")}, ValueError, "is on meta"),
        ({"spike_time": torch.full((2, 3), math.nan)}, ValueError, "holds NaN"),
        ({"weight": torch.ones(3)}, ValueError, r"must be \(out, in\)"),
        ({"weight": torch.full((4, 3), math.inf)}, ValueError, "not finite|inf"),
        ({"v_th": 0.0}, ValueError, "v_th is 0.0"),
        ({"v_th": -1.0}, ValueError, "v_th is -1.0"),
        ({"v_th": math.nan}, ValueError, "v_th is nan"),
        ({"v_th": torch.ones(5)}, ValueError, r"v_th has shape \(5,\)"),
        ({"v_th": torch.zeros(4)}, ValueError, "v_th holds"),
        ({"t_max": 0.0}, ValueError, "t_max is 0.0"),
        ({"t_max": math.nan}, ValueError, "t_max is nan"),
        ({"slope_clip": 0.0}, ValueError, "slope_clip is 0.0"),
    ],
)
def test_bad_arguments(change, error, message):
    arguments = {
        "spike_time": torch.ones(2, 3),
        "weight": torch.ones(4, 3),
        "v_th": 1.0,
    }
    arguments |= change
    with pytest.raises(error, match=message):
        stdbp(
            arguments.pop("spike_time"),
            arguments.pop("weight"),
            arguments.pop("v_th"),
            **arguments,
        )
