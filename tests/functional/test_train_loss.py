"""Losses on spike trains: the authors' numbers, the oracle, bad labels and windows."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.functional.decoding import summed_psp_class
from snn_temporal_plugins.functional.train_loss import (
    count_loss,
    desired_spikes,
    kernel_loss,
    softmax_loss,
)
from tests.golden import load, time_first
from tests.oracles import tssl_bp as oracle

GOLDEN = load("tssl/losses.json")


def check(loss, psp, expected, grad, close=1e-10):
    ours = loss(psp)
    assert ours.item() == pytest.approx(expected, rel=close, abs=close)
    (ours_grad,) = torch.autograd.grad(ours, psp)
    torch.testing.assert_close(ours_grad, grad, rtol=close, atol=close)


def given_psp(case, dtype):
    return time_first(case["output_psp"], dtype).requires_grad_()


def cases(kind):
    return pytest.mark.parametrize("case", GOLDEN[kind], ids=lambda case: case["name"])


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def dtype(request):
    return request.param


@pytest.fixture
def close(dtype):
    return {torch.float32: 1e-5, torch.float64: 1e-10}[dtype]


@cases("kernel")
@pytest.mark.parametrize(
    ("target_filter", "key"),
    [("double", "head_double_filtered"), ("single", "paper_single_filtered")],
)
def test_kernel_loss_equals_the_authors_code(case, target_filter, key, dtype, close):
    label = torch.tensor(case["labels"])
    wanted = desired_spikes(label, 3, case["n_steps"])
    assert wanted[:, 0, label[0]].tolist() == case["desired_spikes"]
    assert wanted.sum() == 2 * sum(case["desired_spikes"])
    check(
        lambda psp: kernel_loss(
            psp, label, tau_syn=case["tau_s"], target_filter=target_filter
        ),
        given_psp(case, dtype),
        case[key]["loss"],
        time_first(case[key]["grad_output"], dtype),
        close,
    )


@cases("count")
def test_count_loss_equals_the_authors_code(case, dtype, close):
    goals = {key: case[key] for key in ("desired_count", "undesired_count")}
    check(
        lambda psp: count_loss(psp, torch.tensor(case["labels"]), **goals),
        given_psp(case, dtype),
        case["loss"],
        time_first(case["grad_output"], dtype),
        close,
    )


@cases("softmax")
def test_softmax_loss_equals_the_authors_code(case, dtype, close):
    check(
        lambda psp: softmax_loss(psp, torch.tensor(case["labels"])),
        given_psp(case, dtype),
        case["loss"],
        time_first(case["grad_output"], dtype),
        close,
    )


@given(
    steps=st.sampled_from([5, 10, 20, 30]),
    batch=st.integers(1, 4),
    classes=st.integers(1, 6),
    tau_syn=st.floats(1, 20),
    goal=st.floats(0, 20),
    seed=st.integers(0, 2**16),
)
def test_losses_equal_the_oracle(steps, batch, classes, tau_syn, goal, seed):
    g = torch.Generator().manual_seed(seed)
    psp = torch.rand(steps, batch, classes, generator=g, dtype=torch.float64)
    label = torch.randint(classes, (batch,), generator=g)
    values, labels = psp.numpy(), label.tolist()
    psp.requires_grad_()
    for name in ("single", "double"):
        loss, grad = oracle.kernel_loss(values, labels, tau_syn, name)
        settings = {"tau_syn": tau_syn, "target_filter": name}
        check(
            lambda x, settings=settings: kernel_loss(x, label, **settings),
            psp,
            loss,
            torch.from_numpy(grad),
        )
    loss, grad = oracle.count_loss(values, labels, goal + 1, goal)
    check(
        lambda x: count_loss(x, label, desired_count=goal + 1, undesired_count=goal),
        psp,
        loss,
        torch.from_numpy(grad),
    )
    loss, grad = oracle.softmax_loss(values, labels)
    check(lambda x: softmax_loss(x, label), psp, loss, torch.from_numpy(np.array(grad)))


def test_the_largest_sum_decides_the_first_of_a_tie_and_silence_does_not():
    psp = torch.zeros(4, 3, 3)
    psp[:, 0, 1] = 0.3
    psp[0, 0, 2] = 1.0  # a higher peak, a smaller sum
    psp[:, 1, :2] = 0.5
    assert summed_psp_class(psp).tolist() == [1, 0, -1]
    assert summed_psp_class(psp[:, :0]).shape == (0,)


PSP = torch.rand(5, 2, 3)
LABEL = torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernel_loss(PSP[:4], LABEL),
            ValueError,
            "num_steps is 4.*multiple of",
        ),
        (
            lambda: kernel_loss(PSP.repeat(3, 1, 1), LABEL),
            ValueError,
            "num_steps is 15",
        ),
        (lambda: desired_spikes(LABEL, 3, 0), ValueError, "num_steps is 0"),
        (lambda: desired_spikes(LABEL, 2, 5), ValueError, "0 to 2.*allowed are 0 to 1"),
        (lambda: kernel_loss(PSP, LABEL, tau_syn=0.9), ValueError, "tau_syn is 0.9"),
        (
            lambda: kernel_loss(PSP, LABEL, target_filter="triple"),
            *(ValueError, "'triple'; allowed are 'single' and 'double'"),
        ),
        (lambda: kernel_loss(PSP, LABEL + 1), ValueError, "1 to 3.*allowed are 0 to 2"),
        (lambda: softmax_loss(PSP, LABEL - 1), ValueError, "-1 to 1.*allowed are 0"),
        (lambda: count_loss(PSP, LABEL.float()), ValueError, "float32.*integer"),
        (lambda: softmax_loss(PSP, LABEL.bool()), ValueError, "bool.*integer"),
        (lambda: softmax_loss(PSP, LABEL[:1]), ValueError, r"\(1,\).*\(batch,\)"),
        (lambda: softmax_loss(PSP[0], LABEL), ValueError, "time, batch, class"),
        (lambda: softmax_loss(PSP.long(), LABEL), TypeError, "psp is torch.int64"),
        (lambda: count_loss(PSP, [0, 2]), TypeError, "label is list"),
        (
            lambda: count_loss(PSP, LABEL, desired_count=1.0, undesired_count=2.0),
            *(ValueError, "undesired_count is 2.0 and desired_count 1.0"),
        ),
        (
            lambda: count_loss(PSP, LABEL, desired_count=math.inf),
            *(ValueError, "desired_count inf"),
        ),
        (lambda: summed_psp_class(PSP[0]), ValueError, "time, batch, class"),
        (lambda: summed_psp_class(PSP[..., :0]), ValueError, "at least one class"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
