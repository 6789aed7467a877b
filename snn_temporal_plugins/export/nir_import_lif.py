"""Layers of LIF neurons out of NIR: the way back from `nir_lif.py`.

A CubaLIF says tau_syn by w_in, tau_mem by r and v_th tau_syn by its threshold; a LIF,
whose synapses do not filter, tau_mem dt by tau and v_th / tau_mem by its threshold. The
file does not say

- which rule is to train the layers on: its metadata does, and with it whether spikes
  come one step later (ST-RSBP) and for how many steps an image is shown;
- the gain of a pool, which stands in the next thresholds: pools come back with gain 1
  and thresholds that much lower, the same spikes;
- the filter of the last layer's PSPs, which is the readout's: it comes back as that of
  its input;
- the grid of a reservoir, settings of the backward and dropout: they come back as their
  defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from snn_temporal_plugins.export.errors import ExportError, NirCode, NirError
from snn_temporal_plugins.export.layers import (
    ConvLayer,
    DenseLayer,
    PoolLayer,
    output_shape,
)
from snn_temporal_plugins.export.nir_graph import Node
from snn_temporal_plugins.export.nir_nodes import NIR_DT
from snn_temporal_plugins.kernels.st_rsbp import TOLERANCE
from snn_temporal_plugins.neurons import (
    LIFConv2d,
    LIFLinear,
    PSPFilter,
    PSPPool2d,
    RecurrentLIF,
    SpikeTrainConv2d,
    SpikeTrainLinear,
    SpikeTrainPool2d,
    TimeFlatten,
)

__all__ = ["lif_layers"]


class _Neurons(NamedTuple):
    """What a layer's neurons are; `recurrent` is None if they are not."""

    node: Node
    v_th: float
    tau_mem: float
    tau_syn: float
    recurrent: NDArray[np.float64] | None


class _Part(NamedTuple):
    """A layer: its synapses, pool or flattening, and its neurons, if there are any."""

    node: Node
    neurons: _Neurons | None


def lif_layers(nodes: Sequence[Node], metadata: Mapping[str, Any]) -> nn.Sequential:
    """Build the layers of LIF neurons that a chain of nodes describes.

    Args:
        nodes: from Input to Output.
        metadata: of the graph: `rule`, and `num_steps` for direct encoding.

    Returns:
        The layers, with weights in float32; the attribute `input_shape` is the shape
        of one sample in one step.

    Raises:
        NirError: if the nodes are no such layers.
    """
    rule = metadata.get("rule")
    if rule not in ("tssl_bp", "st_rsbp"):
        raise NirError(
            NirCode.METADATA,
            f"the rule is {rule!r}; allowed: 'tssl_bp', 'st_rsbp'. Layers of both in "
            "one network cannot be told apart",
        )
    num_steps = metadata.get("num_steps")
    if num_steps is not None and not (isinstance(num_steps, int) and num_steps > 0):
        raise NirError(
            NirCode.METADATA, f"num_steps is {num_steps!r}; allowed: from 1 on"
        )
    shape = nodes[0].shape()
    parts = list(_parts(nodes, shape, pool_fires=rule == "st_rsbp"))
    with torch.random.fork_rng(devices=()):  # initial weights are drawn for nothing
        if rule == "st_rsbp":
            layers = [_spike_train_layer(part) for part in parts]
        else:
            layers = _tssl_layers(parts, num_steps)
    network = nn.Sequential(*layers)
    network.input_shape = shape  # type: ignore[assignment]  # export
    return network


def _parts(
    nodes: Sequence[Node], shape: tuple[int, ...], *, pool_fires: bool
) -> Iterator[_Part]:
    """Layers with arrays of the right shapes, so that nothing larger is ever made."""
    queue = iter(nodes[1:-1])
    for index, node in enumerate(queue):
        node.require("Flatten", "SumPool2d", "Linear", "Conv2d")
        if node.kind == "Flatten":
            shape = (math.prod(shape),)
            yield _Part(node, None)
            continue
        try:
            shape = output_shape(_geometry(node), shape, index)
        except ExportError as error:
            raise node.refusal(NirCode.VALUE, f"does not fit: {error}") from None
        if node.kind == "SumPool2d" and not pool_fires:
            yield _Part(node, None)
        else:
            fire = next(queue, nodes[-1])
            yield _Part(node, _neurons(fire, shape, delayed=pool_fires))


def _geometry(node: Node) -> DenseLayer | ConvLayer | PoolLayer:
    """Weights and strides; thresholds are the neurons'."""
    if node.kind == "SumPool2d":
        return node.pool()
    weight = node.array("weight")
    node.require_synapses(weight)
    if node.kind == "Linear":
        return DenseLayer(weight, np.ones(1))
    stride, padding = node.square("stride", 1), node.square("padding", 0)
    return ConvLayer(weight, np.ones(1), stride, padding)


def _neurons(fire: Node, shape: tuple[int, ...], *, delayed: bool) -> _Neurons:
    """The constants of a layer's neurons."""
    fire.require("LIF", "CubaLIF", *(["NIRGraph"] if delayed else []))
    recurrent = None
    lif = fire
    if fire.kind == "NIRGraph":
        lif, weight = fire.inner("lif"), fire.inner("w_rec")
        lif.require("LIF", "CubaLIF")
        weight.require("Linear")
        weight.require_shape("weight", shape + shape)
        recurrent = weight.array("weight")
    lif.require_shape("v_threshold", shape)
    threshold = lif.uniform("v_threshold")
    late = TOLERANCE if delayed else 0.0
    if lif.kind == "LIF":
        tau_mem = _solve(lambda x: x * NIR_DT, lif.uniform("tau"), 1 / NIR_DT)
        v_th = _solve(lambda x: (x - late) / tau_mem, threshold, tau_mem, late)
        return _Neurons(fire, v_th, tau_mem, 1.0, recurrent)
    tau_mem, tau_syn = lif.uniform("r"), lif.uniform("w_in")
    v_th = _solve(lambda x: (x - late) * tau_syn, threshold, 1 / tau_syn, late)
    return _Neurons(fire, v_th, tau_mem, tau_syn, recurrent)


def _solve(
    forward: Callable[[float], float], target: float, factor: float, offset: float = 0.0
) -> float:
    """The x near `target * factor + offset` with `forward(x) == target`, bit for bit.

    A short decimal number is tried first, as people write constants.
    """
    guess = target * factor + offset
    low = high = guess
    candidates = [float(f"{guess:.12g}"), guess]
    for _ in range(8):
        low, high = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
        candidates += [low, high]
    return next((x for x in candidates if forward(x) == target), guess)


def _build(node: Node, make: Callable[[], nn.Module]) -> nn.Module:
    """A layer, or a refusal that names the node whose numbers it does not take."""
    try:
        return make()
    except ValueError as error:
        raise node.refusal(NirCode.VALUE, f"is no layer: {error}") from None


def _set(weight: torch.Tensor, values: NDArray) -> None:
    with torch.no_grad():
        weight.copy_(torch.from_numpy(values))


def _sizes(weight: NDArray) -> tuple[int, ...]:
    """(in, out), or (in, out, kernel)."""
    return (weight.shape[1], weight.shape[0], *weight.shape[2:3])


def _slides(node: Node) -> dict[str, int]:
    """Stride and padding of a convolution."""
    if node.kind != "Conv2d":
        return {}
    return {"stride": node.square("stride", 1), "padding": node.square("padding", 0)}


def _tssl_layers(parts: Sequence[_Part], num_steps: int | None) -> list[nn.Module]:
    """Layers that exchange PSPs: the filter of a layer's input is the one before it."""
    filters = [part.neurons.tau_syn for part in parts if part.neurons is not None]
    if not filters:
        raise NirError(NirCode.NODE, "the graph has no neurons")
    layers: list[nn.Module] = []
    if num_steps is None:
        layers.append(PSPFilter(filters[0]))
    timeless = num_steps is not None  # until the first synapses show an image in steps
    behind = iter([*filters[1:], filters[-1]])
    for node, neurons in parts:
        if neurons is None:
            layers.append(_shaping(node, timeless))
            continue
        tau_syn = next(behind)
        if timeless and tau_syn != neurons.tau_syn:
            raise neurons.node.refusal(
                NirCode.VALUE,
                f"filters by {neurons.tau_syn:g} and the layer behind it by "
                f"{tau_syn:g} steps; allowed with num_steps: the same",
            )
        weight = node.array("weight")
        kind: type[LIFLinear] | type[LIFConv2d]
        kind = LIFLinear if node.kind == "Linear" else LIFConv2d
        options: dict[str, Any] = {
            "v_th": neurons.v_th,
            "tau_mem": neurons.tau_mem,
            "tau_syn": tau_syn,
            "num_steps": num_steps if timeless else None,
            **_slides(node),
        }
        layer = _build(
            node,
            lambda kind=kind, weight=weight, options=options: kind(  # type: ignore[misc]
                *_sizes(weight), **options
            ),
        )
        _set(layer.weight, weight)  # type: ignore[arg-type]
        layers.append(layer)
        timeless = False
    return layers


def _shaping(node: Node, timeless: bool) -> nn.Module:
    """Flattening or a pool."""
    if node.kind == "Flatten":
        return nn.Flatten() if timeless else TimeFlatten()
    return PSPPool2d(_pool_side(node), gain=1.0)


def _pool_side(node: Node) -> int:
    """Side of a pool whose windows touch."""
    side, stride = node.square("kernel_size", 1), node.square("stride", 1)
    if stride != side:
        raise node.refusal(
            NirCode.VALUE, f"has stride {stride}; allowed: its side, {side}"
        )
    return side


def _spike_train_layer(part: _Part) -> nn.Module:
    """A layer that learns by ST-RSBP, spikes in and out."""
    node, neurons = part
    if neurons is None:
        return TimeFlatten()
    options: dict[str, Any] = {
        "v_th": neurons.v_th,
        "tau_mem": neurons.tau_mem,
        "tau_syn": neurons.tau_syn,
        "refractory": 0,
    }
    if node.kind == "SumPool2d":
        return _build(node, lambda: SpikeTrainPool2d(_pool_side(node), **options))
    weight, recurrent = node.array("weight"), neurons.recurrent
    kind: Callable[..., nn.Module] = SpikeTrainLinear
    if node.kind == "Conv2d":
        kind, options = SpikeTrainConv2d, {**options, **_slides(node)}
    elif recurrent is not None:
        lateral = -float(recurrent[0, -1])
        if len(recurrent) > 1 and lateral > 0 and _is_lateral(recurrent, lateral):
            options["lateral"] = lateral
        else:
            kind = RecurrentLIF
    layer = _build(node, lambda: kind(*_sizes(weight), **options))
    _set(layer.weight, weight)  # type: ignore[arg-type]
    if isinstance(layer, RecurrentLIF) and recurrent is not None:
        _set(layer.recurrent_weight, recurrent)
    return layer


def _is_lateral(recurrent: NDArray, lateral: float) -> bool:
    """Whether all neurons inhibit each other by the same weight, themselves not."""
    return bool(np.array_equal(recurrent, lateral * (np.eye(len(recurrent)) - 1)))
