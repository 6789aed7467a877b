"""Pools of ST-RSBP: against the oracle, by hand, in windows, in every type."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.kernels import synaptic_effect
from snn_temporal_plugins.rules import (
    SpikeTrainState,
    st_rsbp,
    st_rsbp_pool,
    st_rsbp_pool_window,
)
from tests.oracles import st_rsbp as oracle

DTYPES = (torch.float32, torch.float64)
SETTINGS = {"v_th": 0.9, "tau_mem": 20.0, "tau_syn": 4.0}


def problem(steps=30, batch=3, maps=2, image=(4, 6), side=2, seed=0, rate=0.2):
    """Input trains, one pixel silent, and the gradient of the counts."""
    g = torch.Generator().manual_seed(seed)
    x = (torch.rand(steps, batch, maps, *image, generator=g) < rate).double()
    x[..., -1, -1] = 0
    size = batch, maps, *(n // side for n in image)
    return x, torch.randn(size, generator=g, dtype=torch.float64)


@given(
    steps=st.integers(1, 15),
    batch=st.integers(0, 2),
    maps=st.integers(1, 3),
    places=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    border=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    side=st.integers(1, 3),
    v_th=st.floats(0.1, 4),
    tau_mem=st.floats(1, 40),
    tau_syn=st.floats(1, 20),
    refractory=st.integers(0, 3),
    seed=st.integers(0, 2**16),
)
def test_equals_the_oracle(steps, batch, maps, places, border, side, seed, **law):
    more = (min(n, side - 1) for n in border)
    image = tuple(n * side + m for n, m in zip(places, more, strict=True))
    x, error = problem(steps, batch, maps, image, side, seed, rate=0.3)
    x.requires_grad_()
    window = st_rsbp_pool_window(x, side, **law)
    assert window.spikes.shape == (steps, batch, maps, *places)
    (grad,) = torch.autograd.grad(window.spikes.sum(0), x, error)
    assert (grad == grad[0]).all()  # of a count: alike in all steps
    dense, _ = oracle.pooled((maps, *image), side)
    for b in range(batch):
        train = x[:, b].detach().numpy()
        spikes, grad_in = oracle.pool(train, side, error[b].numpy(), **law)
        np.testing.assert_array_equal(window.spikes[:, b].detach(), spikes)
        np.testing.assert_allclose(grad[0, b], grad_in, rtol=1e-12, atol=1e-12)
    # the sum of v at the spikes is that of all effects
    pixels, out = x.detach().flatten(2), window.spikes.detach().flatten(2)
    e = synaptic_effect(pixels, out, law["tau_mem"], law["tau_syn"], law["refractory"])
    total = (e * torch.from_numpy(dense)).sum(2).view_as(window.activity)
    torch.testing.assert_close(window.activity, total, rtol=1e-11, atol=1e-11)


def test_by_hand():
    """tau_mem 4, tau_syn 2: in@1 gives v(2) = .5, v(3) = .625; two inputs twice that.

    The neuron fires at 3 with v = 1.25 and rests in 4 and 5. The third input comes too
    late for that spike, and what is left of it, v(6) = .1875, makes no other.
    """
    x = torch.zeros(8, 1, 1, 2, 2, dtype=torch.float64)
    x[1, 0, 0, 0, 0] = x[1, 0, 0, 1, 1] = x[3, 0, 0, 1, 1] = 1
    x.requires_grad_()
    law = {"v_th": 1.1, "tau_mem": 4.0, "tau_syn": 2.0}
    window = st_rsbp_pool_window(x, 2, **law)
    assert window.spikes.flatten().tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert window.activity.item() == 1.25
    (grad,) = torch.autograd.grad(3 * window.spikes.sum(), x)
    # e = .625 of either; its second spike halves the ratio of the last pixel
    assert grad[0].flatten().tolist() == [3 * 0.625, 0, 0, 3 * 0.625 / 2]


def test_is_a_dense_layer_of_unit_weights_but_for_the_backward():
    x, error = problem()
    image = tuple(x.shape[2:])
    weight = torch.from_numpy(oracle.pooled(image, 2)[0])
    spikes = st_rsbp_pool(x, 2, **SETTINGS)
    assert 0.02 < spikes.mean() < 0.5
    assert torch.equal(spikes.flatten(2), st_rsbp(x.flatten(2), weight, **SETTINGS))
    x.requires_grad_()
    (one,), (other,) = (
        torch.autograd.grad(st_rsbp_pool(x, 2, **SETTINGS | law).sum(0), x, error)
        for law in ({}, {"v_th": SETTINGS["v_th"] * (1 + 1e-9)})
    )
    assert torch.equal(one, other)  # the threshold acts by the spikes alone


def test_silence_learns_nothing():
    x, error = problem()
    x[:, 0] = 0  # a silent sample
    x[:, 1, :, :2, :2] = 0  # a silent window
    x.requires_grad_()
    spikes = st_rsbp_pool(x, 2, **SETTINGS)
    (grad,) = torch.autograd.grad(spikes.sum(0), x, error)
    assert not grad[:, 0].any() and not grad[:, 1, :, :2, :2].any()
    assert grad[:, 2].any() and grad.isfinite().all()
    assert not grad[..., -1, -1].any()  # the silent pixel of a window that fires
    assert spikes[:, 2, :, -1, -1].any()
    silent = st_rsbp_pool(x, 2, **SETTINGS | {"v_th": 1e6})
    assert not silent.any()
    (grad,) = torch.autograd.grad(silent.sum(0), x, error)
    assert not grad.any()


def test_a_border_that_fills_no_window_is_left_out():
    x, error = problem(image=(5, 7))
    inner = x[..., :4, :6].clone().requires_grad_()
    x.requires_grad_()
    spikes, alone = (st_rsbp_pool(images, 2, **SETTINGS) for images in (x, inner))
    assert torch.equal(spikes, alone)
    (grad,) = torch.autograd.grad(spikes.sum(0), x, error)
    (wanted,) = torch.autograd.grad(alone.sum(0), inner, error)
    assert torch.equal(grad[..., :4, :6], wanted) and wanted.any()
    assert not grad[..., 4:, :].any() and not grad[..., 6:].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cut", [1, 13, 29])
def test_two_windows_are_one(dtype, cut):
    x, _ = problem(image=(5, 7))
    x = x.to(dtype)
    whole = st_rsbp_pool_window(x, 2, **SETTINGS)
    first = st_rsbp_pool_window(x[:cut], 2, **SETTINGS)
    second = st_rsbp_pool_window(x[cut:], 2, first.state, **SETTINGS)
    assert torch.equal(torch.cat([first.spikes, second.spikes]), whole.spikes)
    torch.testing.assert_close(first.activity + second.activity, whole.activity)
    assert all(map(torch.equal, second.state, whole.state))
    assert not any(part.requires_grad for part in (whole.activity, *whole.state))


def test_errors_are_averaged_over_time():
    x, error = problem()
    x.requires_grad_()
    spikes = st_rsbp_pool(x, 2, **SETTINGS)

    def grad(of_spikes):
        return torch.autograd.grad(spikes, x, of_spikes, retain_graph=True)[0]

    truth = grad(error.expand_as(spikes))
    late = torch.zeros_like(spikes)
    late[3] = len(spikes) * error
    for of_spikes in (error.expand_as(spikes).clone(), late):
        torch.testing.assert_close(grad(of_spikes), truth, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str
)
def test_other_types_give_the_same(dtype):
    x, error = problem(image=(5, 7))
    results = []
    for kind in (torch.float64, dtype):
        leaf = x.to(kind).requires_grad_()
        # sums of powers of 2 that are not near the threshold
        spikes = st_rsbp_pool(leaf, 2, v_th=0.9, tau_mem=2.0, tau_syn=2.0)
        (grad,) = torch.autograd.grad(spikes.sum(0), leaf, error.to(kind))
        assert spikes.dtype == grad.dtype == kind
        results.append((spikes.double(), grad.double()))
    assert torch.equal(results[0][0], results[1][0])
    near = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(results[0][1], results[1][1], rtol=near, atol=near)


@pytest.mark.slow
# Dynamo itself creates an instance of the Function that it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiles_in_one_graph():
    x, error = problem(8)
    x.requires_grad_()

    def both(x):
        return st_rsbp_pool(x, 2, **SETTINGS).sum(0)

    results = []
    for run in (both, torch.compile(both, fullgraph=True, dynamic=False)):
        count = run(x)
        results.append((count, *torch.autograd.grad(count, x, error)))
    torch.testing.assert_close(*results)


IMAGES = torch.zeros(4, 2, 3, 5, 5)
STATE = SpikeTrainState(torch.zeros(4, 2, 12), IMAGES[0])


def image(value):
    x = IMAGES.clone()
    x[1, 1, 2, 3, 3] = value
    return {"spikes": x}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (image(0.5), ValueError, "other values than 0 and 1.*SpikeTrainPool2d"),
        (image(math.nan), ValueError, "other values than 0 and 1"),
        ({"spikes": [[1.0]]}, TypeError, "spikes is list"),
        ({"spikes": IMAGES.long()}, TypeError, "spikes is torch.int64"),
        ({"spikes": IMAGES[:0]}, ValueError, "at least one step"),
        ({"spikes": IMAGES[0]}, ValueError, r"\(2, 3, 5, 5\); expected.*channel"),
        ({"side": 6}, ValueError, r"\(4, 2, 3, 5, 5\).*at least the side 6"),
        ({"side": 0}, ValueError, "side is 0; it must be a whole number, 1 or more"),
        ({"side": 2.0}, ValueError, "side is 2.0"),
        ({"v_th": 0.0}, ValueError, "v_th is 0.0; it must be above 1e-6"),
        ({"v_th": math.nan}, ValueError, "v_th is nan"),
        ({"tau_mem": 0.5}, ValueError, "tau_mem is 0.5.*at least 1"),
        ({"tau_syn": math.inf}, ValueError, "tau_syn is inf"),
        ({"refractory": -1}, ValueError, "refractory is -1; it must be 0 or more"),
        ({"state": IMAGES}, TypeError, "state is Tensor.*SpikeTrainState"),
        (
            {"state": STATE._replace(neurons=torch.zeros(4, 2, 11))},
            ValueError,
            r"state.neurons .*\(4, 2, 11\).*\(4, 2, 12\)",
        ),
        (
            {"state": STATE._replace(last_input=IMAGES[0, :1])},
            ValueError,
            "state.last_input",
        ),
        (
            {"state": STATE._replace(neurons=STATE.neurons * math.nan)},
            ValueError,
            "state holds NaN",
        ),
    ],
)
def test_bad_arguments(change, error, message):
    arguments = {"spikes": IMAGES, "side": 2} | change
    with pytest.raises(error, match=message):
        st_rsbp_pool_window(**arguments)
    if "state" not in change:
        with pytest.raises(error, match=message):
            st_rsbp_pool(**arguments)
