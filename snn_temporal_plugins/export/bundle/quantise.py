"""From real weights to integers: one free scale per neuron, no data needed.

The arithmetic is that of `functional.rounding`, which quantisation-aware training
shares: each neuron's step, its weights and its threshold in whole steps.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from snn_temporal_plugins.export.bundle.grid import Grid, choose_grid
from snn_temporal_plugins.export.bundle.integer import (
    IntegerConv,
    IntegerDense,
    IntegerLayer,
    IntegerNetwork,
    weight_sums,
)
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.flatten import flatten_network
from snn_temporal_plugins.export.layers import (
    ConvLayer,
    DenseLayer,
    FlatNetwork,
    FlattenLayer,
    PoolLayer,
)
from snn_temporal_plugins.export.spiking import check_values
from snn_temporal_plugins.functional.rounding import (
    integer_weights,
    largest_weight,
    ramp_thresholds,
    step_thresholds,
    weight_steps,
)

__all__ = ["FLOAT32_LIMIT", "quantise", "quantise_uniform"]

FLOAT32_LIMIT = 1 << 23
"""Potentials below this are exact in float32, thresholds of `n - 0.5` too."""


def quantise(
    network: nn.Module | FlatNetwork,
    *,
    bits: int = 6,
    num_ticks: int | None = None,
    horizon: float | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> IntegerNetwork:
    """Round a trained network to small integers on a grid of ticks.

    Each neuron's step minimises the squared rounding error of its weights over a few
    full scales. The neurons of the last layer share one step, so that their potentials
    can be compared when they fire in the same tick.

    Args:
        network: a network of ReL-PSP or integrate-and-fire layers, or its flat form.
        bits: width of a weight, 2 to 8; values are `-(2**(bits-1) - 1)` and up.
        num_ticks: number of ticks from 0 to the horizon. `None` takes what the layers
            count, which integrate-and-fire layers do (window layers and neurons of the
            hosts excepted), else 256.
        horizon: time at which the last tick ends, in the network's unit; `None`
            takes the layers' common `t_max`. Layers that live on a grid already
            bring their own tick, and take none.
        input_shape: shape of one sample, see `flatten_network`.

    Returns:
        The integer network.

    Raises:
        ExportError: if the network or a parameter cannot be exported.
    """
    try:
        largest = largest_weight(bits)
    except ValueError as error:
        raise ExportError(ExportCode.PARAMETER, str(error)) from None
    flat = _flat(network, input_shape)
    grid = choose_grid(flat, num_ticks, horizon)
    real_layers = _without_flatten(flat)
    layers: list[IntegerLayer] = []
    for layer in real_layers:
        if isinstance(layer, PoolLayer):
            layers.append(layer)
            continue
        rows = layer.weight.reshape(len(layer.weight), -1)
        shared = layer is real_layers[-1]
        step = weight_steps(torch.from_numpy(rows), bits, shared=shared).numpy()
        layers.append(_rounded(layer, rows, step, largest, grid))
    return IntegerNetwork(tuple(layers), flat.input_shape, *grid)


def quantise_uniform(
    network: nn.Module | FlatNetwork,
    *,
    num_ticks: int | None = None,
    horizon: float | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> IntegerNetwork:
    """Round a network to integers with one threshold per layer, as NIR readers need.

    Thresholds that differ are folded into the rows of the weights; the layer's one
    step is as fine as float32 readers can add up exactly. For integrate-and-fire layers
    it is a power of two, so that weights of few bits stay as they are: their sums often
    meet a threshold exactly, where any rounding would tell.

    Args:
        network: as in `quantise`.
        num_ticks: as in `quantise`.
        horizon: as in `quantise`.
        input_shape: as in `quantise`.

    Returns:
        The integer network; every potential stays below 2**23 in magnitude.

    Raises:
        ExportError: if the network or a parameter cannot be exported.
    """
    flat = _flat(network, input_shape)
    grid = choose_grid(flat, num_ticks, horizon)
    layers: list[IntegerLayer] = []
    for layer in _without_flatten(flat):
        if isinstance(layer, PoolLayer):
            layers.append(layer)
            continue
        unit = layer.v_th
        if grid.response == "step" and (unit == unit[0]).all():
            unit = np.ones_like(unit)
        rows = layer.weight.reshape(len(layer.weight), -1) / unit[:, None]
        step = np.full(len(rows), _float32_step(rows, grid))
        folded = type(layer)(**{**vars(layer), "v_th": layer.v_th / unit})
        layers.append(_rounded(folded, rows, step, FLOAT32_LIMIT, grid))
    return IntegerNetwork(tuple(layers), flat.input_shape, *grid)


def _flat(
    network: nn.Module | FlatNetwork, input_shape: tuple[int, ...] | None
) -> FlatNetwork:
    if isinstance(network, FlatNetwork):
        for index, layer in enumerate(network.layers):
            if isinstance(layer, DenseLayer | ConvLayer):
                check_values(f"layer {index}", layer.weight, layer.v_th)
        return network
    return flatten_network(network, input_shape=input_shape)


def _without_flatten(flat: FlatNetwork) -> list[DenseLayer | ConvLayer | PoolLayer]:
    """The layers that compute; integer dense layers read any shape in row order."""
    return [layer for layer in flat.layers if not isinstance(layer, FlattenLayer)]


def _float32_step(rows: NDArray[np.float64], grid: Grid) -> float:
    """Finest common step with which no potential of a layer leaves float32.

    Before it fires, a ramp with threshold 1 stays below `1/tick + P` and above
    `-num_ticks * N`; a step always stays between `-N` and `P`. Each weight adds at most
    half a step of rounding.
    """
    ramp = grid.response == "ramp"
    height, times = (1 / grid.tick, grid.num_ticks) if ramp else (0.0, 1)
    rise = np.maximum(rows, 0).sum(axis=1).max()
    fall = np.maximum(-rows, 0).sum(axis=1).max()
    rounding = rows.shape[1] / 2
    above = FLOAT32_LIMIT - rounding - 1
    below = FLOAT32_LIMIT - times * rounding
    if min(above, below) < FLOAT32_LIMIT / 2:
        raise ExportError(
            ExportCode.WIDTH,
            f"{rows.shape[1]} inputs over {grid.num_ticks} ticks leave too few bits "
            "for exact float32 sums; use fewer ticks",
        )
    step = float(max((height + rise) / above, times * fall / below))
    return step if ramp else math.ldexp(1.0, math.frexp(step)[1])  # the next above


def _rounded(
    layer: DenseLayer | ConvLayer,
    rows: NDArray[np.float64],
    step: NDArray[np.float64],
    largest: int,
    grid: Grid,
) -> IntegerDense | IntegerConv:
    """Round one layer; refuse what rounding would silence."""
    steps, v_th = torch.from_numpy(step), torch.from_numpy(layer.v_th)
    weight = integer_weights(torch.from_numpy(rows), steps, largest).numpy()
    weight = weight.astype(np.int32)
    dead = np.flatnonzero(~weight.any(axis=1))
    if dead.size:
        raise ExportError(
            ExportCode.ZERO_ROW,
            f"all weights of neuron {dead[0]} (and {dead.size - 1} others) round to 0; "
            "use more bits, or remove the neuron",
        )
    rise, _ = weight_sums(weight)
    if grid.response == "step":
        out_of_reach = int(rise.max()) + 1
        threshold = step_thresholds(v_th, steps).numpy()
    else:
        out_of_reach = grid.num_ticks * int(rise.max()) + 1
        threshold = ramp_thresholds(v_th, steps, grid.tick).numpy()
    if not (threshold >= 1).all():
        raise ExportError(
            ExportCode.THRESHOLD,
            f"threshold {layer.v_th.min():g} rounds to 0 steps; allowed: at least 1. "
            "Use more ticks or more bits",
        )
    # One that is out of reach may be lower, if it still is: that changes nothing and
    # keeps the registers narrow.
    integer = np.minimum(threshold, out_of_reach).astype(np.int64)
    weight = weight.reshape(layer.weight.shape)
    if isinstance(layer, ConvLayer):
        return IntegerConv(weight, integer, step, layer.stride, layer.padding)
    return IntegerDense(weight, integer, step)
