"""The contract of a rule on spike trains that takes spikes and weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snn_temporal_plugins.rules import RuleInfo
from snn_temporal_plugins.testing.clauses import DTYPES, require

_SETTINGS = {"tau_mem": 5.0, "tau_syn": 3.0, "v_th": 1.0}
_HALF = 6  # half the steps of the test problem

_Leaves = tuple[Tensor, ...]  # input spikes, weights, and recurrent weights if any


def _problem(
    seed: int, dtype: torch.dtype, batch: int = 4
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Input spikes, weights, recurrent weights with gaps, and errors.

    One neuron gets nothing but inhibition, one nothing but excitation.
    """
    g = torch.Generator().manual_seed(seed)
    inputs, neurons = 7, 5

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    shape = 2 * _HALF, batch, inputs
    spikes = torch.rand(shape, generator=g) < 0.4
    weight = normal(neurons, inputs) / 2 + 0.25
    recurrent = normal(neurons, neurons)
    recurrent *= torch.rand(neurons, neurons, generator=g) < 0.7
    for w in (weight, recurrent):
        w[0], w[1] = -w[0].abs(), w[1].abs()
    error = normal(2 * _HALF, batch, neurons)
    return spikes.to(dtype), weight.to(dtype), recurrent.to(dtype), error.to(dtype)


def check_synapse_rule(info: RuleInfo, seed: int) -> None:
    """Check a rule from spikes to spikes; see `check_rule` for the clauses."""
    require(
        "spikes have no derivative, so no gradient is exact",
        not info.exact_gradient,
        "exact_gradient=True",
    )
    for dtype in DTYPES:
        *leaves, error = _problem(seed, dtype)
        for tensors in (tuple(leaves[:2]), tuple(leaves)):
            _check_forward(info, *tensors)
            _check_backward(info, tensors, error)
            if info.window is not None:
                _check_window(info, info.window, tensors, error)
        x, weight, recurrent = leaves
        alone = info.function(x, weight, **_SETTINGS)
        gaps = info.function(x, weight, torch.zeros_like(recurrent), **_SETTINGS)
        same = torch.equal(alone, gaps)
        require("a recurrent weight of 0 is no connection", same, gaps)


def _check_forward(info: RuleInfo, x: Tensor, *weights: Tensor) -> None:
    def rule(spikes: Tensor, *others: Tensor) -> Tensor:
        return info.function(spikes, *(others or weights), **_SETTINGS)

    tensors = (x, *weights)
    kept = [tensor.clone() for tensor in tensors]
    out = rule(x)
    shape = (*x.shape[:2], len(weights[0]))
    require(f"the output has shape {shape}", out.shape == shape, tuple(out.shape))
    require(f"the output is {x.dtype}", out.dtype == x.dtype, out.dtype)
    binary = bool(((out == 0) | (out == 1)).all())
    require("the output is 0 or 1", binary, out)
    require("something fires on the test problem", bool(out.any()), out)
    require("the inputs are left alone", all(map(torch.equal, tensors, kept)), tensors)
    require("equal calls give equal results", torch.equal(out, rule(x)), "others")
    again = rule(*map(_strided, tensors))
    require("the memory layout does not matter", torch.equal(out, again), again)
    one = rule(x[:, :1])
    require("samples do not see each other", torch.equal(out[:, :1], one), one)
    early = rule(x[:_HALF])
    require("nothing depends on the future", torch.equal(out[:_HALF], early), early)
    for step in (0, _HALF):
        later = x.clone()
        later[step:] = 1 - later[step:]
        changed = rule(later)
        same = torch.equal(out[: step + 1], changed[: step + 1])
        require("a spike acts in the next step, not its own", same, changed)
    first = rule(x[:1])
    require("a window of one step works", torch.equal(out[:1], first), first)
    silent = rule(torch.zeros_like(x))
    require("silence in gives silence out", not bool(silent.any()), silent)
    empty = tuple(rule(x[:, :0]).shape)
    require("an empty batch works", empty == (shape[0], 0, shape[2]), empty)


def _strided(x: Tensor) -> Tensor:
    """The same values, the last dimension outermost in memory and with gaps."""
    turned = torch.stack([x, x]).movedim(-1, 0).contiguous()
    return turned[:, 0].movedim(0, -1)


def _gradients(info: RuleInfo, tensors: _Leaves, error: Tensor) -> _Leaves:
    # leaves with the strides of the tensors
    leaves = tuple(tensor.detach().requires_grad_() for tensor in tensors)
    return torch.autograd.grad(info.function(*leaves, **_SETTINGS), leaves, error)


def _close(a: _Leaves, b: _Leaves) -> bool:
    """Equal but for the rounding of sums in another order."""
    return all(
        x.shape == y.shape
        and torch.allclose(x, y, rtol=near, atol=near * float(1 + y.abs().sum()))
        for x, y in zip(a, b, strict=True)
        for near in (torch.finfo(y.dtype).eps ** 0.5,)
    )


def _check_backward(info: RuleInfo, tensors: _Leaves, error: Tensor) -> None:
    grads = _gradients(info, tensors, error)
    finite = all(bool(grad.isfinite().all()) for grad in grads)
    require("gradients are finite", finite, grads)
    some = all(bool(grad.any()) for grad in grads)
    require("no gradient is zero throughout", some, grads)
    again = _gradients(info, tensors, error)
    same = all(map(torch.equal, grads, again))
    require("equal calls give equal gradients", same, again)
    again = _gradients(info, tuple(map(_strided, tensors)), _strided(error))
    require("gradients ignore the memory layout", _close(grads, again), again)
    x, *weights = tensors
    parts = [
        _gradients(info, (x[:, b : b + 1], *weights), error[:, b : b + 1])
        for b in range(x.shape[1])
    ]
    alone = torch.cat([part[0] for part in parts], 1)
    require("samples share no gradient", _close(grads[:1], (alone,)), alone)
    total = tuple(torch.stack(of).sum(0) for of in list(zip(*parts, strict=True))[1:])
    good = _close(grads[1:], total)
    require("gradients of weights are sums over samples", good, grads[1:])
    half = x.shape[1] // 2
    some_errors = error.clone()
    some_errors[:, :half] = 0
    quiet = _gradients(info, tensors, some_errors)[0][:, :half]
    require("no error gives no gradient", not bool(quiet.any()), quiet)
    empty = _gradients(info, (x[:, :0], *weights), error[:, :0])
    good = empty[0].shape[1] == 0 and not any(bool(grad.any()) for grad in empty[1:])
    require("an empty batch has a gradient of 0", good, empty)


def _check_window(
    info: RuleInfo, window: Callable, tensors: _Leaves, error: Tensor
) -> None:
    x, weight, *own = tensors
    recurrent = own[0] if own else None

    def run(part: Tensor, state: tuple | None = None) -> Any:
        return window(part, weight, recurrent, state, **_SETTINGS)

    whole, out = run(x), info.function(*tensors, **_SETTINGS)
    same = torch.equal(whole.spikes, out)
    require("window and rule agree", same, whole)
    state, halves = None, []
    for part in x.split(_HALF):
        halves.append(run(part, state))
        state = halves[-1].state
    spikes = torch.cat([half.spikes for half in halves])
    require("two windows give the spikes of one", torch.equal(spikes, out), spikes)
    for name, ours, theirs in zip(
        whole.state._fields, whole.state, halves[-1].state, strict=True
    ):
        same = torch.equal(ours, theirs)
        require(f"two windows end in the {name} of one", same, theirs)
    leaves = tuple(tensor.detach().requires_grad_() for tensor in tensors)
    spikes = window(*leaves, **_SETTINGS).spikes
    grads = torch.autograd.grad(spikes, leaves, error)
    same = all(map(torch.equal, grads, _gradients(info, tensors, error)))
    require("window and rule have the same gradient", same, grads)
