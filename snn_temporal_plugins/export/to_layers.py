"""From integers back to layers that learn: the same spikes, to the tick.

Spike times are in ticks. Weights and thresholds of a layer are divided by one power of
two, which loses nothing and leaves thresholds of at most 1:

    ramp   V >= threshold         ReLPSPLinear, ReLPSPConv2d, each before a TickGrid
    step   V >  threshold - 1/2   IFLinear, IFConv2d
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from snn_temporal_plugins.export.bundle.integer import (
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
)
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import PoolLayer, Response
from snn_temporal_plugins.neurons import (
    EarliestSpikePool2d,
    IFConv2d,
    IFLinear,
    ReLPSPConv2d,
    ReLPSPLinear,
    TickGrid,
)

__all__ = ["to_layers"]

_KINDS: Mapping[tuple[Response, type], Callable[..., Any]] = {
    ("ramp", IntegerDense): ReLPSPLinear,
    ("ramp", IntegerConv): ReLPSPConv2d,
    ("step", IntegerDense): IFLinear,
    ("step", IntegerConv): IFConv2d,
}


def to_layers(network: IntegerNetwork) -> nn.Sequential:
    """Build layers that compute what an integer network does, to train them on.

    Args:
        network: the network, such as `read_nir` or `read_bundle` gives it.

    Returns:
        Layers in float64, in which all is exact; `.float()` is faster to train, and may
        round a spike of a ramp into the tick beside it. Spike times in ticks
        `(batch, *input_shape)` in and `(batch, out)` out, inf = silent. `quantise` and
        `quantise_uniform` take the layers.

    Raises:
        ExportError: if integrate-and-fire neurons of a layer have different thresholds.
    """
    layers: list[nn.Module] = []
    before = network.input_shape
    with torch.random.fork_rng(devices=()):  # initial weights are drawn for nothing
        for index, layer in enumerate(network.layers):
            if isinstance(layer, PoolLayer):
                side, stride, padding = layer.kernel_size, layer.stride, layer.padding
                pool = EarliestSpikePool2d(side, stride=stride, padding=padding)
                layers.append(pool)
            else:
                if isinstance(layer, IntegerDense) and len(before) > 1:
                    layers.append(nn.Flatten())
                layers += _neurons(network, layer, index)
            before = network.shapes[index]
    built = nn.Sequential(*layers)
    built.input_shape = network.input_shape  # type: ignore[assignment]  # export
    return built


def _neurons(
    network: IntegerNetwork, layer: IntegerDense | IntegerConv, index: int
) -> list[nn.Module]:
    """A layer with neurons; ramps need a grid behind them that holds them to ticks."""
    weight, threshold = (
        torch.from_numpy(values).double() for values in (layer.weight, layer.threshold)
    )
    unit = math.ldexp(1.0, math.frexp(float(threshold.max()) - 0.5)[1])
    options: dict[str, Any] = {"dtype": torch.float64}
    if isinstance(layer, IntegerConv):
        options |= {"stride": layer.stride, "padding": layer.padding}
    step = network.response == "step"
    if step:
        if not bool((threshold == threshold[0]).all()):
            raise ExportError(
                ExportCode.THRESHOLD,
                f"layer {index} has different thresholds, and an integrate-and-fire "
                "layer has one; make the integer network with quantise_uniform()",
            )
        v_th = (float(threshold[0]) - 0.5) / unit
        options |= {"num_steps": network.num_ticks, "v_th": v_th}
    else:
        options["t_max"] = float(network.num_ticks)
    make = _KINDS[network.response, type(layer)]
    neurons = make(weight.shape[1], weight.shape[0], *weight.shape[2:3], **options)
    with torch.no_grad():
        neurons.weight.copy_(weight / unit)
        if not step:
            neurons.v_th.copy_(threshold / unit)
    return [neurons] if step else [neurons, TickGrid(network.num_ticks)]
