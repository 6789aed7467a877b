"""The contract of a rule on spike trains."""

from collections.abc import Callable

import torch
from torch import Tensor

from snn_temporal_plugins.rules import RuleInfo
from snn_temporal_plugins.testing.clauses import (
    DTYPES,
    require,
    require_exact_gradient,
)

_SETTINGS = {"tau_mem": 5.0, "tau_syn": 3.0, "v_th": 1.0}
_HALF = 5  # half the steps of the test problem


def _problem(
    seed: int, dtype: torch.dtype, batch: int = 4, neurons: int = 6
) -> tuple[Tensor, Tensor]:
    """Currents and errors of both signs; one neuron is mute, one fires throughout."""
    g = torch.Generator().manual_seed(seed)
    shape = (2 * _HALF, batch, neurons)
    current = torch.randn(shape, generator=g, dtype=torch.float64) * 0.6 + 0.35
    current[..., 0] = -current[..., 0].abs()
    current[..., 1] = current[..., 1].abs() + 1.1
    error = torch.randn(shape, generator=g, dtype=torch.float64)
    return current.to(dtype), error.to(dtype)


def check_spike_train_rule(info: RuleInfo, seed: int) -> None:
    """Check a rule on spike trains; see `check_rule` for the clauses."""
    for dtype in DTYPES:
        current, error = _problem(seed, dtype)
        _check_forward(info, current)
        _check_backward(info, current, error)
        if info.window is not None:
            _check_window(info, info.window, current, error)
    if info.exact_gradient:
        current, _ = _problem(seed, torch.float64, batch=2, neurons=3)
        require_exact_gradient(
            lambda x: info.function(x, **_SETTINGS), (current.requires_grad_(),)
        )


def _gradient(info: RuleInfo, current: Tensor, error: Tensor) -> Tensor:
    # a leaf with the strides of current; clone() would keep them only if dense
    current = current.detach().requires_grad_()
    output = info.function(current, **_SETTINGS)
    (grad,) = torch.autograd.grad(output, current, error)
    return grad


def _strided(x: Tensor) -> Tensor:
    """The same values, with neurons outermost in memory and gaps between them."""
    return (
        torch.stack([x, x], -1)
        .permute(2, 0, 1, 3)
        .contiguous()[..., 0]
        .permute(1, 2, 0)
    )


def _check_forward(info: RuleInfo, current: Tensor) -> None:
    def rule(x: Tensor) -> Tensor:
        return info.function(x, **_SETTINGS)

    kept = current.clone()
    out = rule(current)
    shape = tuple(current.shape)
    require(f"the output has shape {shape}", out.shape == shape, tuple(out.shape))
    require(f"the output is {current.dtype}", out.dtype == current.dtype, out.dtype)
    require("the output is finite", bool(out.isfinite().all()), out)
    require("something fires on the test problem", bool(out.any()), out)
    require("the input is left alone", torch.equal(current, kept), current)
    require("equal calls give equal results", torch.equal(out, rule(current)), "others")
    again = rule(_strided(current))
    require("the memory layout does not matter", torch.equal(out, again), again)
    one = rule(current[:, :1])
    require("samples do not see each other", torch.equal(out[:, :1], one), one)
    image = rule(current.unflatten(2, (2, -1))).flatten(2)
    require("neurons may have any shape", torch.equal(out, image), image)
    early = rule(current[:_HALF])
    require("nothing depends on the future", torch.equal(out[:_HALF], early), early)
    first = rule(current[:1])
    require("a window of one step works", torch.equal(out[:1], first), first)
    zero = rule(torch.zeros_like(current))
    require("zero current gives zero output", not bool(zero.any()), zero)
    empty = tuple(rule(current[:, :0]).shape)
    require("an empty batch works", empty == (shape[0], 0, *shape[2:]), empty)


def _check_backward(info: RuleInfo, current: Tensor, error: Tensor) -> None:
    grad = _gradient(info, current, error)
    require("gradients are finite", bool(grad.isfinite().all()), grad)
    require("the gradient is not zero throughout", bool(grad.any()), grad)
    again = _gradient(info, current, error)
    require("equal calls give equal gradients", torch.equal(grad, again), again)
    again = _gradient(info, _strided(current), _strided(error))
    require("the gradient ignores the memory layout", torch.equal(grad, again), again)
    one = _gradient(info, current[:, :1], error[:, :1])
    require("samples share no gradient", torch.equal(grad[:, :1], one), one)
    for dim in (0, 1):  # no error in the first steps; no error in the first samples
        some = error.clone()
        some.transpose(0, dim)[: error.shape[dim] // 2] = 0
        changed = _gradient(info, current, some)
        if dim == 0:
            late = torch.equal(grad[_HALF:], changed[_HALF:])
            require("gradients come from the future alone", late, changed)
        else:
            quiet = not bool(changed[:, : error.shape[1] // 2].any())
            require("no error gives no gradient", quiet, changed)
    empty = tuple(_gradient(info, current[:, :0], error[:, :0]).shape)
    require("an empty batch has a gradient", empty[1] == 0, empty)


def _check_window(
    info: RuleInfo, window: Callable, current: Tensor, error: Tensor
) -> None:
    whole = window(current, **_SETTINGS)
    output = info.function(current, **_SETTINGS)
    require("window and rule agree", torch.equal(whole.psp, output), whole.psp)
    binary = bool(((whole.spikes == 0) | (whole.spikes == 1)).all())
    require("spikes are 0 or 1", binary, whole.spikes)
    state, halves = None, []
    for part in current.split(_HALF):
        halves.append(window(part, state, **_SETTINGS))
        state = halves[-1].state
    for name in ("spikes", "psp"):
        parts = torch.cat([getattr(half, name) for half in halves])
        same = torch.equal(parts, getattr(whole, name))
        require(f"two windows give the {name} of one", same, parts)
    for name, ours, theirs in zip(
        whole.state._fields, whole.state, halves[-1].state, strict=True
    ):
        require(
            f"two windows end in the {name} of one", torch.equal(ours, theirs), ours
        )
    leaf = current.detach().requires_grad_()
    (grad,) = torch.autograd.grad(window(leaf, **_SETTINGS).psp, leaf, error)
    same = torch.equal(grad, _gradient(info, current, error))
    require("window and rule have the same gradient", same, grad)
