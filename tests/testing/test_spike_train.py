"""The contract of rules and layers on spike trains finds each kind of broken plugin."""

import pytest
import torch
from torch import nn

from snn_temporal_plugins import RULES, RuleInfo
from snn_temporal_plugins.functional.lif import LIFState, psp_filter
from snn_temporal_plugins.neurons import LIFLinear
from snn_temporal_plugins.rules import LIFWindow, tssl_bp, tssl_bp_window
from snn_temporal_plugins.testing import check_layer, check_rule


def rule(function, *, window=None, exact=False):
    return RuleInfo("mine", function, "spike train", exact, "nobody", window)


class _Backward(torch.autograd.Function):
    """Pass x on; the gradient is change(gradient)."""

    @staticmethod
    def forward(ctx, x, change):
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return ctx.change(grad), None


def learns(change):
    """TSSL-BP with its errors changed on the way in."""
    return lambda current, **options: _Backward.apply(
        tssl_bp(current, **options), change
    )


def in_place(current, **options):
    out = tssl_bp(current, **options)
    with torch.no_grad():
        current += 1
    return out


def noisy(current, **options):
    return tssl_bp(current + torch.rand_like(current), **options)


def by_layout(current, **options):
    return tssl_bp(current * (1 if current.is_contiguous() else 2), **options)


def test_a_rule_that_is_its_own_derivative_passes():
    check_rule(rule(lambda current, **_: psp_filter(current, 3.0), exact=True))


def test_the_window_is_optional():
    check_rule(rule(tssl_bp))
    check_rule(RULES["tssl_bp"], seed=3)


@pytest.mark.parametrize(
    ("function", "clause"),
    [
        (lambda x, **o: tssl_bp(x, **o).sum(0), "shape"),
        (lambda x, **o: tssl_bp(x, **o).double(), "float32"),
        (lambda x, **o: tssl_bp(x, **o) / 0, "finite"),
        (lambda x, **o: tssl_bp(x, **o) * 0, "something fires"),
        (in_place, "left alone"),
        (noisy, "equal calls give equal results"),
        (by_layout, "memory layout"),
        (lambda x, **o: tssl_bp(x - x.mean(1, keepdim=True), **o), "each other"),
        (lambda x, **o: tssl_bp(x - x.mean(2, keepdim=True), **o), "any shape"),
        (lambda x, **o: tssl_bp(x.flip(0), **o).flip(0), "future"),
        (lambda x, **o: tssl_bp(x[1:], **o), "shape"),
        (lambda x, **o: tssl_bp(x + 1.5, **o), "zero current"),
        (lambda x, **o: tssl_bp(x, **o, reset="soft") + 1e-9, "zero current"),
        (learns(lambda grad: grad / 0), "gradients are finite"),
        (learns(lambda grad: grad * 0), "not zero throughout"),
        (learns(lambda grad: grad + grad.mean(1, keepdim=True)), "share no gradient"),
        (learns(lambda grad: grad.flip(0).cumsum(0)), "future alone"),
        (learns(lambda grad: grad + 1), "no error gives no gradient"),
        (learns(lambda grad: grad * torch.rand(())), "equal gradients"),
    ],
)
def test_the_contract_finds_a_broken_rule(function, clause):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=clause):
        check_rule(rule(function))


def test_the_contract_finds_a_gradient_that_is_not_exact():
    with pytest.raises(AssertionError, match="the gradient is exact"):
        check_rule(rule(tssl_bp, exact=True))


def changed(**change):
    """The window form with some of its results replaced by functions of them."""

    def window(current, state=None, **options):
        out = tssl_bp_window(current, state, **options)
        return out._replace(**{k: f(getattr(out, k)) for k, f in change.items()})

    return window


def forgetful(current, state=None, **options):
    return tssl_bp_window(current, None, **options)


def forgets_psp(current, state=None, **options):
    out = tssl_bp_window(current, state, **options)
    return LIFWindow(
        out.psp, out.spikes, out.state._replace(psp=torch.zeros_like(out.state.psp))
    )


def unlearned(current, state=None, **options):
    out = tssl_bp_window(current, state, **options)
    return out._replace(psp=_Backward.apply(out.psp, lambda grad: 2 * grad))


@pytest.mark.parametrize(
    ("window", "clause"),
    [
        (changed(psp=lambda psp: psp * 1.001), "window and rule agree"),
        (changed(spikes=lambda spikes: spikes / 2), "spikes are 0 or 1"),
        (forgetful, "two windows give the spikes"),
        (forgets_psp, "two windows give the psp"),
        (changed(state=lambda state: LIFState(state.v * 0, state.psp)), "two windows"),
        (unlearned, "same gradient"),
    ],
)
def test_the_contract_finds_a_broken_window(window, clause):
    with pytest.raises(AssertionError, match=clause):
        check_rule(rule(tssl_bp, window=window))


class Broken(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change = change
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, psp):
        return self.change(psp, self.weight)


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (lambda psp, w: psp * w + 1, "silence"),
        (lambda psp, w: psp * w - (psp * w).mean(1, keepdim=True), "each other"),
        (lambda psp, w: (psp * w).flip(0), "future"),
        (lambda psp, w: (psp * w).sum(0), "each other|time and batch"),
        (lambda psp, w: psp * w.clamp(min=2) * w / w.detach().sub(1), "finite|silence"),
        (lambda psp, w: psp * w.detach() + 0 * psp.requires_grad_(), "weight gets a"),
    ],
)
def test_the_contract_finds_a_broken_layer(change, clause):
    with pytest.raises(AssertionError, match=clause):
        check_layer(Broken(change), (3,), domain="spike train")


class Single(nn.Module):
    def forward(self, psp):
        return psp.float()


def test_the_contract_finds_a_layer_that_stays_single():
    with pytest.raises(AssertionError, match=r"\.double\(\)"):
        check_layer(Single(), (3,), domain="spike train")


def test_there_are_two_domains():
    with pytest.raises(ValueError, match=r"'train'.*'spike time', 'spike train'"):
        check_layer(LIFLinear(3, 2), (3,), domain="train")
    with pytest.raises(ValueError, match=r"'rate'.*'spike time', 'spike train'"):
        check_rule(RuleInfo("x", tssl_bp, "rate", False, "nobody"))
