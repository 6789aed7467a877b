"""From real weights to integers: one free scale per neuron, no data needed.

Spike times do not change when the weights and the threshold of one neuron are
multiplied by the same positive number. So each neuron j has a step s_j of its own:

    weight_int = round(w / s_j)        threshold_int = round(v_th / (dt * s_j))

with dt the length of a tick. Activations are spike times, so nothing else is scaled.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import nn

from snn_temporal_plugins.export.bundle.integer import (
    MAX_TICKS,
    IntegerConv,
    IntegerDense,
    IntegerLayer,
    IntegerNetwork,
    slope_reach,
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

__all__ = ["FLOAT32_LIMIT", "quantise", "quantise_uniform"]

_CLIPS = np.linspace(0.3, 1.0, 29)
"""Candidate full scales, as fractions of a neuron's largest weight."""

FLOAT32_LIMIT = 1 << 23
"""Potentials below this are exact in float32, thresholds of `n - 0.5` too."""


def quantise(
    network: nn.Module | FlatNetwork,
    *,
    bits: int = 6,
    num_ticks: int = 256,
    horizon: float | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> IntegerNetwork:
    """Round a trained network to small integers on a grid of ticks.

    Each neuron's step minimises the squared rounding error of its weights over a few
    full scales. The neurons of the last layer share one step, so that their potentials
    can be compared when they fire in the same tick.

    Args:
        network: a network of ReL-PSP layers, or its flat form.
        bits: width of a weight, 2 to 8; values are `-(2**(bits-1) - 1)` and up.
        num_ticks: number of ticks from 0 to the horizon.
        horizon: time at which the last tick ends, in the network's unit; `None`
            takes the layers' common `t_max`. Layers that live on a grid already
            bring their own tick, and take none.
        input_shape: shape of one sample, see `flatten_network`.

    Returns:
        The integer network.

    Raises:
        ExportError: if the network or a parameter cannot be exported.
    """
    if bits not in range(2, 9):
        raise ExportError(ExportCode.PARAMETER, f"bits is {bits}; allowed: 2 to 8")
    flat = _flat(network, input_shape)
    tick = _tick(flat, num_ticks, horizon)
    largest = (1 << (bits - 1)) - 1
    real_layers = _without_flatten(flat)
    layers: list[IntegerLayer] = []
    for layer in real_layers:
        if isinstance(layer, PoolLayer):
            layers.append(layer)
            continue
        rows = layer.weight.reshape(len(layer.weight), -1)
        step = _best_steps(rows, largest, shared=layer is real_layers[-1])
        layers.append(_rounded(layer, rows, step, tick, largest, num_ticks))
    return IntegerNetwork(tuple(layers), flat.input_shape, num_ticks, tick)


def quantise_uniform(
    network: nn.Module | FlatNetwork,
    *,
    num_ticks: int,
    horizon: float | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> IntegerNetwork:
    """Round a network to integers with one threshold per layer, as NIR readers need.

    Thresholds that differ are folded into the rows of the weights; the layer's one
    step is as fine as float32 readers can add up exactly.

    Args:
        network: a network of ReL-PSP layers, or its flat form.
        num_ticks: number of ticks.
        horizon: as in `quantise`.
        input_shape: as in `quantise`.

    Returns:
        The integer network; every potential stays below 2**23 in magnitude.

    Raises:
        ExportError: if the network or a parameter cannot be exported.
    """
    flat = _flat(network, input_shape)
    tick = _tick(flat, num_ticks, horizon)
    layers: list[IntegerLayer] = []
    for layer in _without_flatten(flat):
        if isinstance(layer, PoolLayer):
            layers.append(layer)
            continue
        rows = layer.weight.reshape(len(layer.weight), -1) / layer.v_th[:, None]
        step = np.full(len(rows), _float32_step(rows, tick, num_ticks))
        folded = type(layer)(**{**vars(layer), "v_th": np.ones_like(layer.v_th)})
        layers.append(_rounded(folded, rows, step, tick, FLOAT32_LIMIT, num_ticks))
    return IntegerNetwork(tuple(layers), flat.input_shape, num_ticks, tick)


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


def _tick(flat: FlatNetwork, num_ticks: int, horizon: float | None) -> float:
    """Length of a tick in the network's unit of time."""
    if not 2 <= num_ticks <= MAX_TICKS:
        raise ExportError(
            ExportCode.PARAMETER,
            f"num_ticks is {num_ticks}; allowed: 2 to {MAX_TICKS}",
        )
    if flat.dt is not None:
        if horizon is not None or flat.t_max < (num_ticks - 1) * flat.dt:
            raise ExportError(
                ExportCode.HORIZON,
                f"the layers live on ticks of {flat.dt} up to {flat.t_max}, and got "
                f"horizon={horizon}, num_ticks={num_ticks}; leave horizon away and "
                "choose num_ticks so that the last tick is not after t_max",
            )
        return flat.dt
    end = flat.t_max if horizon is None else horizon
    if not 0 < end <= flat.t_max or math.isinf(end):
        raise ExportError(
            ExportCode.HORIZON,
            f"the horizon is {end} and the layers' t_max {flat.t_max}; allowed: a "
            "finite horizon, not after t_max. Give horizon=, or build the network with "
            "a finite t_max",
        )
    return end / num_ticks


def _best_steps(
    rows: NDArray[np.float64], largest: int, *, shared: bool
) -> NDArray[np.float64]:
    """Step of each row with the least squared rounding error.

    Args:
        rows: `(out, in)` weights.
        largest: largest integer magnitude.
        shared: give all rows the one step that is best for them together.

    Returns:
        `(out,)` steps.
    """
    groups = rows.reshape(1, -1) if shared else rows
    full = np.abs(groups).max(axis=1) / largest
    errors = []
    for clip in _CLIPS:
        step = full * clip
        rounded = _integers(groups, step, largest) * step[:, None]
        errors.append(np.square(rounded - groups).sum(axis=1))
    best = full * _CLIPS[np.argmin(errors, axis=0)]
    return np.broadcast_to(best, (len(rows),)).copy()


def _integers(
    rows: NDArray[np.float64], step: NDArray[np.float64], largest: int
) -> NDArray[np.float64]:
    return np.clip(np.rint(rows / step[:, None]), -largest, largest)


def _float32_step(rows: NDArray[np.float64], tick: float, num_ticks: int) -> float:
    """Finest common step with which no potential of a layer leaves float32.

    Before it fires, a neuron with threshold 1 stays below `1/tick + G+` and above
    `-num_ticks * G-`; each weight adds at most half a step of rounding.
    """
    rise = np.maximum(rows, 0).sum(axis=1).max()
    fall = np.maximum(-rows, 0).sum(axis=1).max()
    rounding = rows.shape[1] / 2
    above = FLOAT32_LIMIT - rounding - 1
    below = FLOAT32_LIMIT - num_ticks * rounding
    if min(above, below) < FLOAT32_LIMIT / 2:
        raise ExportError(
            ExportCode.WIDTH,
            f"{rows.shape[1]} inputs over {num_ticks} ticks leave too few bits for "
            "exact float32 sums; use fewer ticks",
        )
    return float(max((1 / tick + rise) / above, num_ticks * fall / below))


def _rounded(
    layer: DenseLayer | ConvLayer,
    rows: NDArray[np.float64],
    step: NDArray[np.float64],
    tick: float,
    largest: int,
    num_ticks: int,
) -> IntegerDense | IntegerConv:
    """Round one layer; refuse what rounding would silence."""
    weight = _integers(rows, step, largest).astype(np.int32)
    dead = np.flatnonzero(~weight.any(axis=1))
    if dead.size:
        raise ExportError(
            ExportCode.ZERO_ROW,
            f"all weights of neuron {dead[0]} (and {dead.size - 1} others) round to 0; "
            "use more bits, or remove the neuron",
        )
    threshold = np.rint(layer.v_th / (tick * step))
    if not (threshold >= 1).all():
        raise ExportError(
            ExportCode.THRESHOLD,
            f"threshold {layer.v_th.min():g} rounds to 0 steps; allowed: at least 1. "
            "Use more ticks or more bits",
        )
    # Above num_ticks * G+ a threshold is out of reach, so a lower one that still is
    # out of reach changes nothing and keeps the registers narrow.
    rise, _ = slope_reach(weight)
    unreachable = num_ticks * int(rise.max()) + 1
    threshold = np.minimum(threshold, unreachable).astype(np.int64)
    weight = weight.reshape(layer.weight.shape)
    if isinstance(layer, ConvLayer):
        return IntegerConv(weight, threshold, step, layer.stride, layer.padding)
    return IntegerDense(weight, threshold, step)
