"""Targets of the output times and the loss on them: goldens, oracle, properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.functional.sstdp_target import (
    first_target,
    mean_target,
    squared_time_loss,
)
from tests.golden import load, silence
from tests.oracles import sstdp as oracle

AUTHORS = load("sstdp/targets.json")["cases"]
PAPER = load("sstdp/paper_form_reference.json")["targets"]
DTYPES = (torch.float32, torch.float64)
TARGETS = {"mean": mean_target, "first": first_target}
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


def name(case):
    return f"{case.get('mean', 'first')}-T{case['T']}-{case['delta']:g}"


def outputs_and_labels(batch, classes, t_max, seed):
    g = torch.Generator().manual_seed(seed)
    post = torch.randint(t_max, (batch, classes), generator=g).double()
    post[torch.rand(batch, classes, generator=g) < 0.3] = math.inf
    return post, torch.randint(classes, (batch,), generator=g)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", AUTHORS, ids=name)
def test_first_target_equals_the_authors_training_loop(case, dtype):
    t_max = case["T"]
    post = silence(case["output"], t_max, dtype).requires_grad_()
    label = torch.tensor(case["label"])
    target = first_target(post, label, t_max=t_max, gap=case["delta"])
    assert target.tolist() == case["target_training_loop"]
    loss = squared_time_loss(post, target, t_max=t_max)
    # the authors' loss is a mean over batch and class, without the 1/2
    assert loss.item() == pytest.approx(case["mse_loss"] * post.shape[1] / 2)
    (grad,) = torch.autograd.grad(loss, post)
    theirs = torch.tensor(case["grad_output"], dtype=dtype)
    torch.testing.assert_close(grad * 2 / post.shape[1], theirs, **CLOSE)
    norm = grad.norm(dim=1, keepdim=True).clamp(min=1e-30)
    theirs = torch.tensor(case["grad_normalised"], dtype=dtype)
    torch.testing.assert_close(grad / norm, theirs, **CLOSE)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", PAPER, ids=name)
def test_mean_target_equals_the_reference_of_the_paper_form(case, dtype):
    t_max = case["T"]
    post = silence(case["output"], t_max, dtype).requires_grad_()
    label = torch.tensor(case["label"])
    settings = {"t_max": t_max, "gap": case["delta"], "over": case["mean"]}
    target = mean_target(post, label, **settings)
    close = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else CLOSE
    torch.testing.assert_close(target, torch.tensor(case["target"]).to(dtype), **CLOSE)
    exact = torch.tensor(case["target"], dtype=dtype)
    torch.testing.assert_close(target, exact, **close)
    loss = squared_time_loss(post, target, t_max=t_max)
    assert loss.item() == pytest.approx(np.mean(case["energy"]))
    (grad,) = torch.autograd.grad(loss, post)
    theirs = torch.tensor(case["dE_dt"], dtype=dtype)
    torch.testing.assert_close(grad * len(post), theirs, **close)


@given(
    batch=st.integers(0, 5),
    classes=st.integers(1, 6),
    t_max=st.integers(1, 12),
    gap=st.floats(0.125, 15),
    over=st.sampled_from(["fired", "all"]),
    seed=st.integers(0, 2**16),
)
def test_equals_the_oracle(batch, classes, t_max, gap, over, seed):
    post, label = outputs_and_labels(batch, classes, t_max, seed)
    gap = min(gap, float(t_max))
    for target, truth in (
        (
            mean_target(post, label, t_max=t_max, gap=gap, over=over),
            oracle.mean_target(post.numpy(), label, t_max=t_max, gap=gap, over=over),
        ),
        (
            first_target(post, label, t_max=t_max, gap=gap),
            oracle.first_target(post.numpy(), label, t_max=t_max, gap=gap),
        ),
    ):
        np.testing.assert_allclose(target.numpy(), truth, rtol=1e-10, atol=1e-10)
        assert ((target >= 0) & (target <= t_max)).all() and not target.requires_grad
        leaf = post.clone().requires_grad_()
        loss = squared_time_loss(leaf, target, t_max=t_max)
        (grad,) = torch.autograd.grad(loss, leaf)
        if batch:
            value, slope = oracle.squared_time_loss(post.numpy(), truth, t_max)
            assert loss.item() == pytest.approx(value, rel=1e-10, abs=1e-10)
            np.testing.assert_allclose(grad.numpy(), slope, rtol=1e-10, atol=1e-10)
        else:
            assert loss.item() == 0


@given(classes=st.integers(2, 9), gap=st.floats(0.5, 8), seed=st.integers(0, 2**16))
def test_mean_targets_keep_the_mean_and_a_gap(classes, gap, seed):
    # so close together that nobody is out of range, so far in that nobody is clamped
    g = torch.Generator().manual_seed(seed)
    post = 50 + torch.rand(5, classes, generator=g, dtype=torch.float64) * gap / 99
    label = torch.randint(classes, (5,), generator=g)
    target = mean_target(post, label, t_max=100, gap=gap)
    torch.testing.assert_close(target.mean(1), post.mean(1), rtol=1e-12, atol=0)
    right = torch.nn.functional.one_hot(label, classes).bool()
    lead = target[~right].view(5, -1) - target[right][:, None]
    torch.testing.assert_close(lead, torch.full_like(lead, gap), rtol=1e-9, atol=0)


@given(classes=st.integers(2, 9), gap=st.floats(0.5, 8), seed=st.integers(0, 2**16))
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_targets_differ_by_the_gap_unless_clamped(target, classes, gap, seed):
    post, label = outputs_and_labels(6, classes, 20, seed)
    post = post + 20  # far from 0
    wanted = target(post, label, t_max=60, gap=gap)
    right = torch.nn.functional.one_hot(label, classes).bool()
    lead = wanted[~right].view(6, -1) - wanted[right][:, None]
    assert (lead >= gap - 1e-9).all()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_silent_label_is_pulled_and_other_silent_outputs_are_left(target):
    post = torch.tensor([[math.inf, math.inf, 4.0], [math.inf] * 3])
    post.requires_grad_()
    label = torch.tensor([0, 1])
    loss = squared_time_loss(post, target(post, label, t_max=20), t_max=20)
    (grad,) = torch.autograd.grad(loss, post)
    assert grad[0, 0] > 0 and grad[0, 1] == 0 and grad[0, 2] < 0
    assert grad[1].tolist() == pytest.approx([0, 2.5, 0])


@pytest.mark.parametrize("saturation", [None, 0.5, 30.0])
def test_the_loss_has_the_gradient_it_says(saturation):
    g = torch.Generator().manual_seed(3)
    post = 20 * torch.rand(5, 4, generator=g, dtype=torch.float64)
    target = 20 * torch.rand(5, 4, generator=g, dtype=torch.float64)
    target[0] = post[0]  # a sample that is right has the loss and the error 0

    def loss(times):
        return squared_time_loss(times, target, t_max=20, saturation=saturation)

    leaf = post.clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss(leaf), leaf)
    distance = (post - target).norm(dim=1, keepdim=True)
    scale = 1 if saturation is None else distance + saturation
    torch.testing.assert_close(grad, (post - target) / scale / 5)
    step = 1e-6 * torch.randn(5, 4, generator=g, dtype=torch.float64)
    rise = (loss(post + step) - loss(post - step)) / 2
    assert rise.item() == pytest.approx((grad * step).sum().item(), rel=1e-6)


def test_a_large_saturation_is_the_squared_distance():
    g = torch.Generator().manual_seed(3)
    post, target = 20 * torch.rand(2, 6, 4, generator=g, dtype=torch.float64)
    squared = squared_time_loss(post, target, t_max=20)
    loss = squared_time_loss(post, target, t_max=20, saturation=1e5)
    assert 1e5 * loss.item() == pytest.approx(squared.item(), rel=1e-3)


POST, LABEL = torch.zeros(2, 3), torch.tensor([0, 2])


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"gap": 0.0}, ValueError, "gap is 0.0; it must be positive.*= 20 ticks"),
        ({"gap": -5.0}, ValueError, "gap is -5.0"),
        ({"gap": math.nan}, ValueError, "gap is nan"),
        ({"gap": math.inf}, ValueError, "gap is inf"),
        ({"gap": 21.0}, ValueError, "gap is 21.0.*at most"),
        ({"label": torch.tensor([0, 3])}, ValueError, "label holds.*3.*0 to 2"),
        ({"label": torch.tensor([-1, 0])}, ValueError, "label holds -1.*0 to 2"),
        ({"label": torch.tensor([0.0, 1.0])}, ValueError, "label is torch.float32"),
        ({"label": torch.tensor([True, False])}, ValueError, "label is torch.bool"),
        ({"label": torch.tensor([0])}, ValueError, r"label \(1,\)"),
        ({"label": [0, 1]}, TypeError, "label is list"),
        ({"spike_time": torch.zeros(3)}, ValueError, r"shape \(3,\).*\(batch, class\)"),
        ({"spike_time": torch.zeros(2, 3).long()}, TypeError, "torch.int64"),
        ({"spike_time": torch.full((2, 3), math.nan)}, ValueError, "NaN"),
    ],
)
def test_bad_arguments(target, change, error, message):
    arguments = {"spike_time": POST, "label": LABEL, "t_max": 20} | change
    with pytest.raises(error, match=message):
        target(**arguments)


def test_bad_mean_and_bad_shape():
    with pytest.raises(ValueError, match="over is 'some'; allowed are"):
        mean_target(POST, LABEL, t_max=20, over="some")
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        squared_time_loss(POST, POST.t(), t_max=20)
    with pytest.raises(ValueError, match=r"saturation is 0\.0"):
        squared_time_loss(POST, POST, t_max=20, saturation=0.0)
