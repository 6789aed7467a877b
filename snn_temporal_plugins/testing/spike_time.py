"""The contract of a rule on spike times."""

import math

import torch
from torch import Tensor

from snn_temporal_plugins.rules import RuleInfo
from snn_temporal_plugins.testing.clauses import (
    DTYPES,
    require,
    require_exact_gradient,
)

_TICKS = 12  # of the test problem of a step


def _problem(
    info: RuleInfo, seed: int, dtype: torch.dtype, batch: int = 6, outputs: int = 7
) -> tuple[Tensor, Tensor]:
    """Spike times, a fifth silent; weights of both signs, one output mute."""
    g = torch.Generator().manual_seed(seed)
    inputs = 9
    time = torch.rand(batch, inputs, generator=g, dtype=torch.float64)
    if info.response == "step":
        time = (time * _TICKS).floor()
    time[torch.rand(batch, inputs, generator=g) < 0.2] = math.inf
    weight = torch.randn(outputs, inputs, generator=g, dtype=torch.float64) + 0.3
    weight[-1] = -weight[-1].abs()  # this one never fires
    return time.to(dtype), weight.to(dtype)


def check_spike_time_rule(info: RuleInfo, seed: int) -> None:
    """Check a rule on spike times; see `check_rule` for the clauses."""
    for dtype in DTYPES:
        _check_forward(info, *_problem(info, seed, dtype))
        _check_silence(info, *_problem(info, seed, dtype))
    if info.exact_gradient:
        _check_gradient(info, *_problem(info, seed, torch.float64, batch=3, outputs=4))


def _check_forward(info: RuleInfo, time: Tensor, weight: Tensor) -> None:
    rule = info.function
    post = rule(time, weight, 1.0)
    shape = (time.shape[0], weight.shape[0])
    require(f"the output has shape {shape}", post.shape == shape, tuple(post.shape))
    require(f"the output is {time.dtype}", post.dtype == time.dtype, post.dtype)
    require("no output time is NaN", not bool(post.isnan().any()), post)
    require("something fires on the test problem", bool(post.isfinite().any()), post)
    require(
        "equal calls give equal results",
        torch.equal(post, rule(time, weight, 1.0)),
        "other times",
    )
    strided = torch.stack([time, time], 2)[:, :, 0]
    swapped = weight.t().contiguous().t()
    again = rule(strided, swapped, 1.0)
    require("the memory layout does not matter", torch.equal(post, again), again)
    one = rule(time[:1], weight, 1.0)
    require("samples do not see each other", torch.equal(post[:1], one), one)
    if info.response == "step":
        whole = bool((post == post.round()).all())
        require("output times are whole ticks", whole, post)
    empty = rule(time[:0], weight, 1.0)
    require("an empty batch works", empty.shape == (0, shape[1]), tuple(empty.shape))


def _check_silence(info: RuleInfo, time: Tensor, weight: Tensor) -> None:
    time, weight = time.requires_grad_(), weight.requires_grad_()
    silent = info.function(torch.full_like(time, math.inf), weight, 1.0)
    require("silence in gives silence out", bool((silent == math.inf).all()), silent)
    post = info.function(time, weight, 1.0)
    # a gradient of 1 also into the silent outputs: none of it may pass
    grad_time, grad_weight = torch.autograd.grad(
        post, (time, weight), torch.ones_like(post)
    )
    finite = bool(grad_time.isfinite().all() and grad_weight.isfinite().all())
    require("gradients are finite", finite, (grad_time, grad_weight))
    at_silent = grad_time[time == math.inf]
    require("silent inputs get no gradient", bool((at_silent == 0).all()), at_silent)
    if info.response == "step":
        return  # on ticks a law may wake the mute; a ramp has an exact derivative
    mute = (post == math.inf).all(0)
    rows = grad_weight[mute]
    require("silent outputs pass no gradient", bool((rows == 0).all()), rows)


def _check_gradient(info: RuleInfo, time: Tensor, weight: Tensor) -> None:
    fired = torch.isfinite(info.function(time, weight, 1.0))
    spiking = torch.isfinite(time)

    def finite_part(times: Tensor, weights: Tensor) -> Tensor:
        full = torch.full_like(time, math.inf).masked_scatter(spiking, times)
        return info.function(full, weights, 1.0)[fired]

    arguments = (time[spiking].requires_grad_(), weight.requires_grad_())
    require_exact_gradient(finite_part, arguments)
