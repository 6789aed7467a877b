"""The contract of a layer: an `nn.Module` on spike times or on spike trains."""

import copy
import io
import math
from typing import Literal

import torch
from torch import Tensor, nn

from snn_temporal_plugins.testing.clauses import require, require_domain

_STEPS = 6


def check_layer(
    layer: nn.Module,
    input_shape: tuple[int, ...],
    *,
    domain: Literal["spike time", "spike train"] = "spike time",
    response: Literal["ramp", "step"] = "ramp",
) -> None:
    """Check that a layer behaves as an `nn.Module` of its domain should.

    Checked are: silence in gives silence out; every parameter gets a finite gradient;
    samples do not see each other; an empty batch works; `deepcopy`, `torch.save` of the
    module after a forward, and a round trip through `state_dict` give the same outputs;
    the layer follows `.double()`. On spike trains also: the output keeps time and
    batch, and does not depend on the future.

    Args:
        layer: The layer; on spike trains it takes (time, batch, ...).
        input_shape: Shape of one sample, without batch and time.
        domain: Whether tensors hold first-spike times or spike trains; silence is inf
            in the one, and zero in the other.
        response: Of a layer on spike times, as in `RuleInfo`: with "step" it is given
            whole ticks.

    Raises:
        AssertionError: a clause is broken.
        ValueError: there is no such domain.
    """
    require_domain(domain)
    g = torch.Generator().manual_seed(0)
    trains = domain == "spike train"
    if trains:
        inputs = torch.rand(_STEPS, 4, *input_shape, generator=g).round()
    else:
        inputs = torch.rand(4, *input_shape, generator=g)
        if response == "step":
            inputs = (inputs * _STEPS).floor()
    silence = 0.0 if trains else math.inf
    layer.eval()
    post = layer(inputs)
    silent = layer(torch.full_like(inputs, silence))
    require("silence in gives silence out", bool((silent == silence).all()), silent)
    one = layer(inputs[:, :1] if trains else inputs[:1])
    alone = post[:, :1] if trains else post[:1]
    # a matrix product may round differently in another shape
    close = one.shape == alone.shape and torch.allclose(alone, one)
    require("samples do not see each other", close, one)
    empty = tuple(layer(inputs[:, :0] if trains else inputs[:0]).shape)
    shape = (*post.shape[:1], 0, *post.shape[2:]) if trains else (0, *post.shape[1:])
    require("an empty batch works", empty == shape, empty)
    if trains:
        shape = tuple(post.shape)
        require("time and batch come first", shape[:2] == (_STEPS, 4), shape)
        early = layer(inputs[: _STEPS // 2])
        same = torch.allclose(post[: _STEPS // 2], early)
        require("nothing depends on the future", same, early)
    if post.requires_grad:
        torch.where(post < math.inf, post, 0).sum().backward()
        for name, parameter in layer.named_parameters():
            good = parameter.grad is not None and bool(parameter.grad.isfinite().all())
            require(f"{name} gets a finite gradient", good, parameter.grad)
    _check_copies(layer, inputs, post)


def _check_copies(layer: nn.Module, inputs: Tensor, post: Tensor) -> None:
    copied = copy.deepcopy(layer)
    out = copied(inputs)
    require("a deep copy gives the same output", torch.equal(out, post), out)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    out = torch.load(file, weights_only=False)(inputs)
    require("torch.save keeps the output", torch.equal(out, post), out)
    for tensor in copied.state_dict().values():
        tensor.zero_()
    copied.load_state_dict(layer.state_dict())
    out = copied(inputs)
    require("state_dict keeps the output", torch.equal(out, post), out)
    double = copied.double()(inputs.double())
    require("the layer follows .double()", double.dtype == torch.float64, double.dtype)
