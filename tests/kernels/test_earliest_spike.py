"""Pooling op: against max_pool2d of torch, ties, silence, overlapping windows."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_temporal_plugins import EarliestSpikePool2d
from snn_temporal_plugins.kernels import earliest_spike, earliest_spike_backward
from snn_temporal_plugins.kernels.earliest_spike import (
    _backward_reference,
    _reference,
)


@settings(max_examples=100, deadline=None)
@given(
    batch=st.integers(0, 3),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    side=st.integers(1, 4),
    stride=st.integers(1, 4),
    levels=st.integers(0, 5),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    data=st.data(),
)
def test_equals_the_pool_of_torch(
    batch, height, width, side, stride, levels, seed, dtype, data
):
    padding = data.draw(st.integers(0, side // 2))
    side = min(side, height + 2 * padding, width + 2 * padding)
    padding = min(padding, side // 2)
    g = torch.Generator().manual_seed(seed)
    time = torch.randint(-levels, levels + 1, (batch, 2, height, width), generator=g)
    time = time.to(dtype)
    time[torch.rand(time.shape, generator=g) < 0.5] = math.inf
    ours, theirs = time.clone().requires_grad_(), time.clone().requires_grad_()
    pooled, index = earliest_spike(ours, side, stride, padding)
    if min(height, width) + 2 * padding < side:
        return
    expected = -F.max_pool2d(-theirs, side, stride, padding)
    expected = torch.where(expected < math.inf, expected, math.inf)
    assert torch.equal(pooled, expected)
    again = _reference(time, side, stride, padding)
    assert torch.equal(again[0], pooled) and torch.equal(again[1], index)
    grad = torch.randn(pooled.shape, generator=g, dtype=dtype)
    pooled.backward(grad)
    expected.backward(grad)
    torch.testing.assert_close(ours.grad, theirs.grad)
    back = _backward_reference(grad, index, height, width)
    torch.testing.assert_close(back, ours.grad)


def test_a_tie_goes_to_the_first_and_silence_to_nobody():
    time = torch.tensor([[[2.0, 1.0, math.inf], [1.0, 1.0, math.inf]]])
    pooled, index = earliest_spike(time, 2, 1, 0)
    assert pooled.tolist() == [[[1, 1]]] and index.tolist() == [[[1, 1]]]
    silent = torch.full((1, 2, 2), math.inf, requires_grad=True)
    out = earliest_spike(silent, 2, 2, 0)[0]
    out.backward(torch.ones_like(out))
    assert out.isinf().all() and (silent.grad == 0).all()


def test_nan_is_not_hidden():
    time = torch.tensor([[[[0.0, math.nan], [1.0, 2.0]]]])
    assert EarliestSpikePool2d(2)(time).isnan().all()


def test_gradcheck_with_overlap():
    g = torch.Generator().manual_seed(0)
    time = torch.rand(1, 2, 5, 6, generator=g, dtype=torch.float64, requires_grad=True)
    pool = EarliestSpikePool2d(3, stride=2, padding=1)
    assert torch.autograd.gradcheck(pool, (time,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_opcheck(dtype):
    time = torch.rand(2, 3, 6, 5).to(dtype).transpose(2, 3)
    torch.library.opcheck(earliest_spike, (time, 2, 2, 1))
    pooled, index = earliest_spike(time, 2, 2, 1)
    torch.library.opcheck(earliest_spike_backward, (pooled, index, 5, 6))


def test_threads_change_nothing():
    time = torch.rand(64, 8, 40, 40)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            pooled, index = earliest_spike(time, 2, 2, 0)
            results.append(
                (pooled, index, earliest_spike_backward(pooled, index, 40, 40))
            )
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_an_input_below_the_window_names_itself():
    with pytest.raises(ValueError, match=r"\(1, 4\) with padding 0 is smaller"):
        EarliestSpikePool2d(2)(torch.rand(1, 1, 1, 4))
