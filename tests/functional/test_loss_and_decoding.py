"""Losses and decisions: silence and ties are never right."""

import math

import pytest
import torch

from snn_temporal_plugins import (
    dead_neuron_penalty,
    decision_time,
    first_spike_class,
    first_spike_tied,
    silent_label_penalty,
    ttfs_cross_entropy,
    weight_sum_penalty,
)

INF = math.inf


def test_cross_entropy_equals_the_formula():
    time = torch.tensor([[0.5, 0.7, INF]], dtype=torch.float64, requires_grad=True)
    loss = ttfs_cross_entropy(time, torch.tensor([1]), alpha=3.0, t_silent=2.0)
    terms = [math.exp(-3 * t) for t in (0.5, 0.7, 2.0)]
    assert loss.item() == pytest.approx(-math.log(terms[1] / sum(terms)))
    loss.backward()
    p = [term / sum(terms) for term in terms]
    assert time.grad[0].tolist() == pytest.approx([-3 * p[0], 3 * (1 - p[1]), 0.0])


def test_all_silent_has_a_loss_and_no_gradient():
    time = torch.full((2, 4), INF, requires_grad=True)
    loss = ttfs_cross_entropy(time, torch.tensor([0, 3]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(4)) and not time.grad.any()


def test_silent_label_penalty_raises_the_potential_of_silent_labels_only():
    pre = torch.tensor([[0.5, INF], [0.5, 1.0]])
    weight = torch.tensor([[0.2, 9.0], [0.1, 0.1]], requires_grad=True)
    post = torch.tensor([[INF, 0.1], [0.7, INF]])
    penalty = silent_label_penalty(
        pre, weight, torch.ones(2), post, torch.tensor([0, 0]), t_max=2.0
    )
    assert penalty.item() == pytest.approx((1 - 0.2 * 1.5) / 2)  # sample 1 fired
    penalty.backward()
    assert weight.grad.tolist() == [[-0.75, 0.0], [0.0, 0.0]]


def test_weight_sum_penalty():
    weight = torch.tensor([[1.0, 1.0], [0.5, -1.0]])
    assert weight_sum_penalty(weight, floor=1.0).item() == pytest.approx(1.5 / 2)
    kernel = weight.reshape(2, 2, 1, 1)
    assert weight_sum_penalty(kernel).item() == pytest.approx(0.75)


def test_dead_neuron_penalty_touches_the_dead_only():
    time = torch.tensor([[INF, 0.1, INF], [INF, INF, 0.3]])
    weight = torch.full((3, 2), -1.0, requires_grad=True)
    dead_neuron_penalty(time, weight, floor=1.0).backward()
    assert weight.grad[:, 0].tolist() == pytest.approx([-1 / 3, 0.0, 0.0])


def test_first_spike_decides_silence_and_ties_do_not():
    time = torch.tensor([[0.3, 0.2, INF], [0.2, 0.2, 0.9], [INF] * 3, [0.5, 0.9, 0.9]])
    assert first_spike_class(time).tolist() == [1, -1, -1, 0]
    assert decision_time(time).tolist() == pytest.approx([0.2, 0.2, INF, 0.5])
    assert first_spike_class(time[:0]).shape == (0,)


def test_the_larger_potential_breaks_a_tie_of_the_first_only():
    time = torch.tensor([[2.0, 2.0, 5.0], [2.0, 2.0, 5.0], [INF] * 3, [7.0, 3.0, 9.0]])
    level = torch.tensor([[1.0, 1.5, 9.0], [1.5, 1.5, 9.0], [0.0] * 3, [9.0, 1.0, 9.0]])
    assert first_spike_class(time, level).tolist() == [1, -1, -1, 1]
    assert first_spike_tied(time).tolist() == [True, True, False, False]
    below_zero = first_spike_class(time, level - 10)
    assert below_zero.tolist() == [1, -1, -1, 1], "losers do not count as potential 0"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ttfs_cross_entropy(torch.rand(3), torch.tensor([0])), "batch, class"),
        (lambda: ttfs_cross_entropy(torch.rand(3, 2), torch.zeros(2).long()), "batch"),
        (
            lambda: ttfs_cross_entropy(torch.rand(1, 2), torch.tensor([0]), alpha=0.0),
            "alpha is 0",
        ),
        (
            lambda: ttfs_cross_entropy(
                torch.rand(1, 2), torch.tensor([0]), t_silent=INF
            ),
            "t_silent is inf",
        ),
        (lambda: dead_neuron_penalty(torch.rand(2, 3), torch.rand(4, 2)), "4 neurons"),
        (lambda: first_spike_class(torch.rand(3)), "batch, class"),
        (lambda: first_spike_class(torch.rand(3, 0)), "at least one class"),
        (lambda: first_spike_tied(torch.rand(3)), "batch, class"),
        (
            lambda: first_spike_class(torch.rand(3, 2), torch.rand(2, 2)),
            r"potential has shape \(2, 2\) but spike_time \(3, 2\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
