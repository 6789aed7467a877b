"""The contract of rules that take spikes and weights finds each kind of broken one."""

import dataclasses

import pytest
import torch

from snn_temporal_plugins.rules import RULES, st_rsbp, st_rsbp_window
from snn_temporal_plugins.testing import check_rule

RULE = RULES["st_rsbp"]


def rule(function, window=None):
    return dataclasses.replace(RULE, function=function, window=window)


class _Backward(torch.autograd.Function):
    """Pass tensors on; the gradients are change(gradients)."""

    @staticmethod
    def forward(ctx, change, *tensors):
        ctx.change = change
        return tuple(tensor.clone() for tensor in tensors)

    @staticmethod
    def backward(ctx, *grads):
        return None, *ctx.change(grads)


def learns(change):
    """ST-RSBP with its gradients changed on the way out."""
    return lambda *tensors, **o: st_rsbp(*_Backward.apply(change, *tensors), **o)


def errors(change):
    """ST-RSBP with its errors changed on the way in."""
    return lambda *tensors, **o: _Backward.apply(
        lambda grads: (change(grads[0]),), st_rsbp(*tensors, **o)
    )[0]


def in_place(x, weight, *own, **options):
    out = st_rsbp(x, weight, *own, **options)
    with torch.no_grad():
        weight += 1
    return out


def noisy(x, weight, *own, **options):
    return st_rsbp(x, weight + torch.rand_like(weight), *own, **options)


def by_layout(x, *weights, **options):
    return st_rsbp(x if x.is_contiguous() else 1 - x, *weights, **options)


def of_others(x, *weights, **options):
    return st_rsbp(x * x[:, -1:], *weights, **options)


def at_once(x, *weights, **options):
    later = torch.cat([x[1:], 0 * x[:1]])
    return st_rsbp(later, *weights, **options)


def fully_connected(x, weight, own=None, **options):
    return st_rsbp(x, weight, own if own is None else own + 0.5, **options)


@pytest.mark.parametrize("seed", range(3))
def test_the_window_is_optional(seed):
    check_rule(rule(st_rsbp), seed=seed)
    check_rule(RULE, seed=seed)


def test_spikes_have_no_exact_gradient():
    with pytest.raises(AssertionError, match="no gradient is exact"):
        check_rule(dataclasses.replace(RULE, exact_gradient=True))


@pytest.mark.parametrize(
    ("function", "clause"),
    [
        (lambda *a, **o: st_rsbp(*a, **o).sum(0), "shape"),
        (lambda *a, **o: st_rsbp(*a, **o).double(), "float32"),
        (lambda *a, **o: st_rsbp(*a, **o) / 2, "0 or 1"),
        (lambda *a, **o: st_rsbp(*a, **o) * 0, "something fires"),
        (lambda *a, **o: 1 - st_rsbp(*a, **o), "silence"),
        (in_place, "left alone"),
        (noisy, "equal calls give equal results"),
        (by_layout, "memory layout"),
        (of_others, "each other"),
        (lambda x, *w, **o: st_rsbp(x.flip(0), *w, **o).flip(0), "future"),
        (at_once, "future|next step"),
        (lambda x, *w, **o: st_rsbp(x[1:], *w, **o), "shape"),
        (fully_connected, "no connection"),
        (learns(lambda grads: [grad / 0 for grad in grads]), "gradients are finite"),
        (learns(lambda grads: [0 * grads[0], *grads[1:]]), "zero throughout"),
        (
            learns(lambda grads: [grad * torch.rand(()) for grad in grads]),
            "equal gradients",
        ),
        (errors(lambda grad: grad.cumsum(1)), "share no gradient"),
        (
            learns(lambda grads: [grads[0], *(grad**2 for grad in grads[1:])]),
            "sums over samples",
        ),
        (errors(lambda grad: grad + 1), "no error gives no gradient"),
    ],
)
def test_the_contract_finds_a_broken_rule(function, clause):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=clause):
        check_rule(rule(function))


def changed(**change):
    """The window form with some of its results replaced by functions of them."""

    def window(*arguments, **options):
        out = st_rsbp_window(*arguments, **options)
        return out._replace(**{k: f(getattr(out, k)) for k, f in change.items()})

    return window


def forgets(name):
    """The window form that starts with a part of the state at rest."""

    def window(x, weight, own=None, state=None, **options):
        if state is not None:
            state = state._replace(**{name: 0 * getattr(state, name)})
        return st_rsbp_window(x, weight, own, state, **options)

    return window


@pytest.mark.parametrize(
    ("window", "clause"),
    [
        (changed(spikes=lambda spikes: spikes.flip(0)), "window and rule agree"),
        (forgets("neurons"), "two windows give the spikes"),
        (forgets("last_input"), "two windows give the spikes"),
        (
            changed(state=lambda s: s._replace(neurons=s.neurons + torch.rand(()))),
            "two windows (end|give)",
        ),
        (
            changed(
                spikes=lambda s: _Backward.apply(lambda grads: (2 * grads[0],), s)[0]
            ),
            "same gradient",
        ),
    ],
)
def test_the_contract_finds_a_broken_window(window, clause):
    with pytest.raises(AssertionError, match=clause):
        check_rule(rule(st_rsbp, window))
