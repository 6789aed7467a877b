"""Rate code, loss, decision and weight penalty of ST-RSBP."""

import math

import pytest
import torch

from snn_temporal_plugins.functional import (
    exponential_weight_penalty,
    rate_encode,
    spike_count_class,
    spike_count_loss,
)
from tests.golden import load


def counts(rows, steps=60):
    """A train with so many spikes of each neuron, from the first step on."""
    spikes = torch.zeros(steps, len(rows), len(rows[0]), dtype=torch.float64)
    for b, row in enumerate(rows):
        for i, count in enumerate(row):
            spikes[: int(count), b, i] = 1
    return spikes


def test_brighter_is_more_often_and_the_first_step_is_silent():
    x = torch.tensor([[0.0, 0.5, 1.0]]).expand(50, 3)
    g = torch.Generator().manual_seed(0)
    spikes = rate_encode(x, 401, generator=g)
    assert spikes.shape == (401, 50, 3) and spikes.dtype == x.dtype
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert not spikes[0].any() and not spikes[..., 0].any()
    rate = spikes[1:].mean((0, 1))
    assert rate[1:].tolist() == pytest.approx([0.5 / 5.5, 1 / 5.5], rel=0.03)
    again = rate_encode(x, 401, generator=torch.Generator().manual_seed(0))
    assert torch.equal(spikes, again)
    assert rate_encode(x, 9, max_rate=1.0)[1:, :, 2].all()


@pytest.mark.parametrize("case", load("strsbp/output_layer.json")["cases"])
def test_loss_has_the_error_of_the_authors(case):
    spikes = counts([case["fire_count"]]).requires_grad_()
    settings = {
        "desired_count": case["desired"],
        "undesired_count": case["undesired"],
        "margin": case["margin"],
    }
    loss = spike_count_loss(spikes, torch.tensor([case["label"]]), **settings)
    assert 2 * loss.item() == case["cost_no_half"]
    (grad,) = torch.autograd.grad(loss, spikes)
    assert grad.unique(dim=0).flatten().tolist() == case["dE_do"], "at every step"


def test_loss_is_a_mean_and_free_within_the_margin():
    spikes = counts([[40, 0, 10], [20, 11, 5]])
    label = torch.tensor([0, 0])
    # 40 is 5 above 35, 0 is 5 below 5, 10 is 5 above: no error; then -15, 6, 0
    assert spike_count_loss(spikes, label).item() == (15**2 + 6**2) / 2 / 2
    assert spike_count_loss(spikes[:, :0], label[:0]).item() == 0


def test_most_spikes_win_and_silence_is_no_decision():
    spikes = counts([[3, 7, 7], [0, 0, 0], [0, 0, 1]])
    assert spike_count_class(spikes).tolist() == [1, -1, 2]


def test_penalty_has_the_authors_gradient():
    g = torch.Generator().manual_seed(1)
    w = torch.randn(4, 6, generator=g, dtype=torch.float64).requires_grad_()
    r = torch.randn(4, 4, generator=g, dtype=torch.float64)
    r = (r * (torch.rand(4, 4, generator=g) < 0.5)).requires_grad_()
    penalty = exponential_weight_penalty([[w, r], [w]], limit=2.0, steepness=0.3)
    grads = torch.autograd.grad(penalty, (w, r))
    n = 6 + (r != 0).sum(1, keepdim=True) + 1
    both = ((w / 2).square().sum(1) + (r / 2).square().sum(1))[:, None] / n
    alone = (w / 2).square().sum(1, keepdim=True) / 7
    with_r, without = (0.3 * torch.exp(0.3 * (q - 1)) for q in (both, alone))
    torch.testing.assert_close(grads[0], (with_r + without) * w / 2)
    torch.testing.assert_close(grads[1], with_r * r / 2)
    assert not grads[1][r == 0].any()


SPIKES = counts([[1, 2, 3]])
LABEL = torch.tensor([0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rate_encode(SPIKES[0] * 2, 5), ValueError, "holds 2"),
        (lambda: rate_encode(SPIKES[0] * math.nan, 5), ValueError, "nan"),
        (lambda: rate_encode(SPIKES[0].long(), 5), TypeError, "int64"),
        (lambda: rate_encode(SPIKES[0], 0), ValueError, "num_steps is 0"),
        (lambda: rate_encode(SPIKES[0], 5, max_rate=2), ValueError, "max_rate is 2"),
        (lambda: spike_count_loss(SPIKES[0], LABEL), ValueError, "time, batch, class"),
        (lambda: spike_count_loss(SPIKES, LABEL + 3), ValueError, "label holds 3"),
        (
            lambda: spike_count_loss(SPIKES, LABEL, margin=-1),
            ValueError,
            "margin is -1",
        ),
        (lambda: exponential_weight_penalty([]), ValueError, "0 layers"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
