"""Intensity -> time -> train and back, with the gradient dt/ds = -1."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins import latency_encode, times_to_train, train_to_times


def test_brighter_is_earlier_and_black_is_silent():
    x = torch.tensor([0.0, 0.25, 1.0])
    assert latency_encode(x).tolist() == [math.inf, 0.75, 0.0]
    assert latency_encode(x, window=4.0).tolist() == [math.inf, 3.0, 0.0]
    assert latency_encode(x, silent_zero=False).tolist() == [1.0, 0.75, 0.0]


def test_encoder_gradient():
    x = torch.tensor([0.0, 0.3], requires_grad=True)
    latency_encode(x, window=2.0)[1].backward()
    assert x.grad.tolist() == [0.0, -2.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(ticks=st.lists(st.integers(0, 9) | st.just(math.inf), min_size=1, max_size=8))
def test_train_and_times_are_inverse(dtype, ticks):
    time = torch.tensor(ticks, dtype=dtype)
    train = times_to_train(time, 10)
    assert train.shape == (10, len(ticks)) and train.dtype == dtype
    assert torch.equal(train_to_times(train), time)
    assert torch.equal(train.sum(0) == 0, time == math.inf)


def test_times_round_up_and_late_ones_are_lost():
    time = torch.tensor([-0.5, 0.2, 1.0, 3.0, 3.1, math.inf])
    assert train_to_times(times_to_train(time, 4)).tolist() == [
        0.0,
        1.0,
        1.0,
        3.0,
        math.inf,
        math.inf,
    ]


def test_only_the_first_spike_counts():
    train = torch.zeros(5, 1)
    train[[2, 4]] = 1
    assert train_to_times(train).item() == 2


def test_gradients_are_minus_one_at_the_spike():
    train = torch.zeros(4, 2, requires_grad=True)
    with torch.no_grad():
        train[2, 0] = 1
    (grad,) = torch.autograd.grad(
        train_to_times(train), train, torch.tensor([3.0, 5.0])
    )
    assert grad[:, 0].tolist() == [0, 0, -3, 0] and not grad[:, 1].any()
    time = torch.tensor([1.3, 9.0, math.inf], requires_grad=True)
    weights = torch.arange(12.0).reshape(4, 3)
    (grad,) = torch.autograd.grad(times_to_train(time, 4), time, weights)
    assert grad.tolist() == [-6.0, 0.0, 0.0]  # -dL/ds[2] of the first column


def test_image_shapes_and_empty_batches():
    time = torch.rand(2, 3, 4, 4) * 5
    assert times_to_train(time, 6).shape == (6, 2, 3, 4, 4)
    assert train_to_times(times_to_train(time, 6)).shape == time.shape
    assert times_to_train(time[:0], 6).shape == (6, 0, 3, 4, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: latency_encode(torch.tensor([1.5])), ValueError, r"1\.5.*\[0, 1\]"),
        (lambda: latency_encode(torch.tensor([-0.1])), ValueError, "Scale the data"),
        (lambda: latency_encode(torch.tensor([math.nan])), ValueError, "nan"),
        (lambda: latency_encode(torch.tensor([3])), TypeError, "int64"),
        (lambda: latency_encode(torch.rand(2), window=0.0), ValueError, "window is 0"),
        (lambda: times_to_train(torch.rand(2), 0), ValueError, "num_steps is 0"),
        (lambda: times_to_train(torch.tensor([-1.0]), 4), ValueError, "before tick 0"),
        (lambda: times_to_train(torch.tensor([math.nan]), 4), ValueError, "NaN"),
        (lambda: times_to_train(torch.tensor([1]), 4), TypeError, "int64"),
        (lambda: train_to_times(torch.ones(3, 2, dtype=torch.bool)), TypeError, "bool"),
        (lambda: train_to_times(torch.ones(0, 2)), ValueError, "time comes first"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
