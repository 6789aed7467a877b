"""The contract of rules and layers, as code: run it on a plugin of your own.

    from snn_temporal_plugins.testing import check_rule
    check_rule(RuleInfo("mine", my_rule, "spike time", True, "my paper"))

Each check raises `AssertionError` that names the broken clause and shows the values.
"""

import copy
import io
import math

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError

from snn_temporal_plugins.rules import RuleInfo

_DTYPES = (torch.float32, torch.float64)


def _require(clause: str, holds: bool, got: object) -> None:
    if not holds:
        raise AssertionError(f"{clause}; got {got}")


def _problem(
    seed: int, dtype: torch.dtype, batch: int = 6, inputs: int = 9, outputs: int = 7
) -> tuple[Tensor, Tensor]:
    """Distinct spike times, a fifth silent; weights of both signs, one output mute."""
    g = torch.Generator().manual_seed(seed)
    time = torch.rand(batch, inputs, generator=g, dtype=torch.float64)
    time[torch.rand(batch, inputs, generator=g) < 0.2] = math.inf
    weight = torch.randn(outputs, inputs, generator=g, dtype=torch.float64) + 0.3
    weight[-1] = -weight[-1].abs()  # this one never fires
    return time.to(dtype), weight.to(dtype)


def check_rule(info: RuleInfo, *, seed: int = 0) -> None:
    """Check a rule on spike times against the contract of the house.

    The rule is called as `rule(spike_time, weight, v_th)` with spike times (batch, in),
    weights (out, in) and v_th = 1. Checked are: shape and dtype are kept; results are
    deterministic and do not depend on memory layout or on the other samples; silence in
    gives silence out; an empty batch works; no NaN appears in times or gradients; the
    gradient of silent inputs and through silent outputs is exactly 0; and, if the rule
    claims the exact gradient, `torch.autograd.gradcheck` in float64.

    Args:
        info: Description of the rule; `domain` must be "spike time".
        seed: Seed of the random problems.

    Raises:
        ValueError: the rule works on spike trains, which this check does not cover.
        AssertionError: a clause is broken.
    """
    if info.domain != "spike time":
        raise ValueError(
            f"rule {info.name!r} works on {info.domain}s; check_rule covers rules on "
            "spike times."
        )
    for dtype in _DTYPES:
        _check_forward(info, *_problem(seed, dtype))
        _check_silence(info, *_problem(seed, dtype))
    if info.exact_gradient:
        _check_gradient(info, *_problem(seed, torch.float64, batch=3, outputs=4))


def _check_forward(info: RuleInfo, time: Tensor, weight: Tensor) -> None:
    rule = info.function
    post = rule(time, weight, 1.0)
    shape = (time.shape[0], weight.shape[0])
    _require(f"the output has shape {shape}", post.shape == shape, tuple(post.shape))
    _require(f"the output is {time.dtype}", post.dtype == time.dtype, post.dtype)
    _require("no output time is NaN", not bool(post.isnan().any()), post)
    _require("something fires on the test problem", bool(post.isfinite().any()), post)
    _require(
        "equal calls give equal results",
        torch.equal(post, rule(time, weight, 1.0)),
        "other times",
    )
    strided = torch.stack([time, time], 2)[:, :, 0]
    swapped = weight.t().contiguous().t()
    again = rule(strided, swapped, 1.0)
    _require("the memory layout does not matter", torch.equal(post, again), again)
    one = rule(time[:1], weight, 1.0)
    _require("samples do not see each other", torch.equal(post[:1], one), one)
    empty = rule(time[:0], weight, 1.0)
    _require("an empty batch works", empty.shape == (0, shape[1]), tuple(empty.shape))


def _check_silence(info: RuleInfo, time: Tensor, weight: Tensor) -> None:
    time, weight = time.requires_grad_(), weight.requires_grad_()
    silent = info.function(torch.full_like(time, math.inf), weight, 1.0)
    _require("silence in gives silence out", bool((silent == math.inf).all()), silent)
    post = info.function(time, weight, 1.0)
    # a gradient of 1 also into the silent outputs: none of it may pass
    grad_time, grad_weight = torch.autograd.grad(
        post, (time, weight), torch.ones_like(post)
    )
    finite = bool(grad_time.isfinite().all() and grad_weight.isfinite().all())
    _require("gradients are finite", finite, (grad_time, grad_weight))
    at_silent = grad_time[time == math.inf]
    _require("silent inputs get no gradient", bool((at_silent == 0).all()), at_silent)
    mute = (post == math.inf).all(0)
    rows = grad_weight[mute]
    _require("silent outputs pass no gradient", bool((rows == 0).all()), rows)


def _check_gradient(info: RuleInfo, time: Tensor, weight: Tensor) -> None:
    fired = torch.isfinite(info.function(time, weight, 1.0))
    spiking = torch.isfinite(time)

    def finite_part(times: Tensor, weights: Tensor) -> Tensor:
        full = torch.full_like(time, math.inf).masked_scatter(spiking, times)
        return info.function(full, weights, 1.0)[fired]

    arguments = (time[spiking].requires_grad_(), weight.requires_grad_())
    try:
        torch.autograd.gradcheck(finite_part, arguments)
    except GradcheckError as error:
        raise AssertionError(f"the gradient is exact; got {error}") from error


def check_layer(layer: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Check that a layer on spike times behaves as an `nn.Module` should.

    Checked are: silence in gives silence out; every parameter gets a finite gradient;
    `deepcopy`, `torch.save` of the module after a forward, and a round trip through
    `state_dict` give the same outputs; the layer follows `.double()`.

    Args:
        layer: The layer, spike times in, spike times out.
        input_shape: Shape of one sample, without the batch.

    Raises:
        AssertionError: a clause is broken.
    """
    time = torch.rand(4, *input_shape, generator=torch.Generator().manual_seed(0))
    layer.eval()
    post = layer(time)
    silent = layer(torch.full_like(time, math.inf))
    _require("silence in gives silence out", bool((silent == math.inf).all()), silent)
    if post.requires_grad:
        torch.where(post < math.inf, post, 0).sum().backward()
        for name, parameter in layer.named_parameters():
            good = parameter.grad is not None and bool(parameter.grad.isfinite().all())
            _require(f"{name} gets a finite gradient", good, parameter.grad)
    copied = copy.deepcopy(layer)
    _require(
        "a deep copy gives the same times",
        torch.equal(copied(time), post),
        copied(time),
    )
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    _require(
        "torch.save keeps the times", torch.equal(loaded(time), post), loaded(time)
    )
    for tensor in copied.state_dict().values():
        tensor.zero_()
    copied.load_state_dict(layer.state_dict())
    _require(
        "state_dict keeps the times", torch.equal(copied(time), post), copied(time)
    )
    double = copied.double()(time.double())
    _require("the layer follows .double()", double.dtype == torch.float64, double.dtype)
