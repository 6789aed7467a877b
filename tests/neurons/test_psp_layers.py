"""Pooling, dropout and flattening of PSPs."""

import pytest
import torch

from snn_temporal_plugins.neurons import PSPDropout, PSPFilter, PSPPool2d, TimeFlatten
from snn_temporal_plugins.testing import check_layer
from tests.golden import load, time_first
from tests.oracles import tssl_bp as oracle

CLOSE = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (PSPPool2d(2), (2, 6, 7)),
        (PSPFilter(2.0), (5,)),
        (PSPDropout(0.5), (2, 3, 4)),
        (TimeFlatten(), (2, 3, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keeps_the_contract(layer, shape):
    check_layer(layer, shape, domain="spike train")


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
def test_pooling_equals_the_authors_code(dtype):
    case = load("tssl/pool_dropout.json")["pool"]
    psp, expected, error, grad = (
        time_first(case[key], dtype)
        for key in ("input", "output", "grad_output", "input_grad")
    )
    out = PSPPool2d(case["kernel_size"], gain=case["theta"])(psp.requires_grad_())
    close = {"rtol": CLOSE[dtype], "atol": CLOSE[dtype]}
    torch.testing.assert_close(out, expected, **close)
    (ours,) = torch.autograd.grad(out, psp, error)
    torch.testing.assert_close(ours, grad, **close)


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 1, 1, 3, 3), (4, 0, 2, 4, 4), (2, 3, 2, 7, 5)])
def test_pooling_is_a_sum_and_leaves_out_what_fills_no_window(shape, side):
    psp = torch.rand(shape, dtype=torch.float64).requires_grad_()
    pool = PSPPool2d(side)
    expected = torch.from_numpy(oracle.pool(psp.detach().numpy(), side, 1.1))
    torch.testing.assert_close(pool(psp), expected)
    strided = psp.movedim(0, -1).contiguous().movedim(-1, 0)
    torch.testing.assert_close(pool(strided), expected)
    assert torch.autograd.gradcheck(pool, (psp,))


@pytest.mark.parametrize("shape", [(4, 300, 3, 5, 6), (4, 300, 50)])
def test_dropout_cuts_off_whole_rows_for_the_whole_window(shape):
    torch.manual_seed(0)
    layer = PSPDropout(0.3)
    psp = (torch.rand(shape) + 0.1).requires_grad_()
    out = layer(psp)
    factor = (out / psp).detach()
    assert (factor - factor[:1]).abs().max() < 1e-6  # the same at every step
    if len(shape) == 5:
        assert (factor - factor[..., :1]).abs().max() < 1e-6  # along a row
    draws = factor[0, ..., 0] if len(shape) == 5 else factor[0]
    kept = draws > 0
    torch.testing.assert_close(draws[kept], torch.full_like(draws[kept], 1 / 0.7))
    assert 0.66 < kept.float().mean() < 0.74
    for dim in range(draws.dim()):  # samples, channels and rows are drawn apart
        assert (kept.roll(1, dim) != kept).float().mean() > 0.3
    (grad,) = torch.autograd.grad(out.sum(), psp)
    torch.testing.assert_close(grad, factor)
    assert layer.eval()(psp) is psp


STEPS = torch.rand(5, 2, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: PSPPool2d(0), ValueError, "kernel_size is 0"),
        (lambda: PSPPool2d(4)(STEPS), ValueError, "kernel of side 4"),
        (lambda: PSPDropout(1.0), ValueError, "p is 1.0"),
        (lambda: PSPFilter(0.0), ValueError, "tau_syn is 0.0"),
        (lambda: PSPFilter()(STEPS.bool()), TypeError, "x is torch.bool"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
