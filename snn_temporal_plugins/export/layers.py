"""The plain real-valued layers that every exporter starts from, and their shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.errors import ExportCode, ExportError

__all__ = [
    "ConvLayer",
    "DenseLayer",
    "FlatNetwork",
    "FlattenLayer",
    "LIFLayer",
    "LIFNetwork",
    "Layer",
    "PoolLayer",
    "Response",
    "SpikingPoolLayer",
    "SumPoolLayer",
    "output_shape",
    "window_shape",
]


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """Every input reaches every neuron.

    Attributes:
        weight: `(out, in)` float64.
        v_th: `(out,)` float64, of ramps in weight times time, else in weight.
    """

    weight: NDArray[np.float64]
    v_th: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ConvLayer:
    """A square convolution; padding is silent.

    Attributes:
        weight: `(out, in, k, k)` float64.
        v_th: `(out,)` float64, of ramps in weight times time, else in weight.
        stride: pixels between two windows.
        padding: silent pixels added on each side.
    """

    weight: NDArray[np.float64]
    v_th: NDArray[np.float64]
    stride: int
    padding: int


@dataclass(frozen=True)
class PoolLayer:
    """A square window slides; of spike times the earliest one of each passes."""

    kernel_size: int
    stride: int
    padding: int


@dataclass(frozen=True, eq=False)
class SpikingPoolLayer(PoolLayer):
    """A square window whose inputs are added up in a neuron.

    Attributes:
        v_th: `(1,)` float64, in inputs.
    """

    v_th: NDArray[np.float64]


@dataclass(frozen=True)
class FlattenLayer:
    """Channel, row, column become one axis, in this order."""


Layer: TypeAlias = DenseLayer | ConvLayer | PoolLayer | FlattenLayer

Response: TypeAlias = Literal["ramp", "step"]
"""What a spike adds to a potential: from its time on a line, or its weight at once."""


@dataclass(frozen=True, eq=False)
class FlatNetwork:
    """A feed-forward network of first spikes in topological order.

    Attributes:
        layers: the layers, first to last.
        input_shape: shape of one sample, `(in,)` or `(channels, rows, columns)`.
        t_max: the latest spike time that counts, common to all layers, in units of
            time; `inf` if no layer has one.
        dt: length of a tick if the layers live on a grid already, else `None`.
        response: "ramp" of ReL-PSP neurons, which fire at `V >= v_th`, or "step" of
            integrate-and-fire neurons, which fire at `V > v_th`.
        num_ticks: number of ticks that the layers count, `None` if they count none.
    """

    layers: tuple[Layer, ...]
    input_shape: tuple[int, ...]
    t_max: float = math.inf
    dt: float | None = None
    response: Response = "ramp"
    num_ticks: int | None = None


@dataclass(frozen=True, eq=False)
class LIFLayer:
    """Synapses with the filter of their input, and the neurons behind them.

    Attributes:
        geometry: weights, thresholds in the unit of the current, strides.
        tau_syn: time constant of the filter of the input, in steps; 1 = none.
        tau_mem: membrane time constant, in steps.
        recurrent: `(out, out)` float64, weights of a dense layer's own spikes, from
            column to row, one step later; `None` if it is not recurrent.
        delay: steps that a spike needs to reach the filter, 0 or 1.
    """

    geometry: DenseLayer | ConvLayer | SpikingPoolLayer
    tau_syn: float
    tau_mem: float
    recurrent: NDArray[np.float64] | None = None
    delay: int = 0


@dataclass(frozen=True)
class SumPoolLayer:
    """The sum over each square window, times a gain."""

    geometry: PoolLayer
    gain: float


@dataclass(frozen=True, eq=False)
class LIFNetwork:
    """Layers of LIF neurons with hard reset, one after the other.

    Attributes:
        layers: the layers, first to last.
        shapes: shape of one sample in one step after each layer.
        input_shape: the same of the input.
        rule: names of the rules that trained it.
        num_steps: steps for which a constant input current is shown; `None` if spikes
            or currents come step by step.
    """

    layers: tuple[LIFLayer | SumPoolLayer | FlattenLayer, ...]
    shapes: tuple[tuple[int, ...], ...]
    input_shape: tuple[int, ...]
    rule: str
    num_steps: int | None


def output_shape(layer: Layer, shape: tuple[int, ...], index: int) -> tuple[int, ...]:
    """Shape of one sample after a layer.

    Args:
        layer: the layer.
        shape: shape of one sample before it.
        index: position of the layer, for the error message.

    Raises:
        ExportError: if the layer cannot take this shape.
    """
    if isinstance(layer, FlattenLayer):
        return (math.prod(shape),)
    if isinstance(layer, DenseLayer):
        if shape != (layer.weight.shape[1],):
            raise _shape_error(index, (layer.weight.shape[1],), shape)
        return (layer.weight.shape[0],)
    if isinstance(layer, ConvLayer):
        out_channels, in_channels, kernel, _ = layer.weight.shape
        if len(shape) != 3 or shape[0] != in_channels:
            raise _shape_error(index, (in_channels, "rows", "columns"), shape)
    else:
        kernel = layer.kernel_size
        if len(shape) != 3:
            raise _shape_error(index, ("channels", "rows", "columns"), shape)
        out_channels = shape[0]
    return window_shape(
        index, out_channels, shape[1:], kernel, layer.stride, layer.padding
    )


def window_shape(
    index: int,
    channels: int,
    size: tuple[int, ...],
    kernel: int,
    stride: int,
    padding: int,
) -> tuple[int, int, int]:
    """Shape `(channels, rows, columns)` after a sliding square window."""
    rows, columns = ((n + 2 * padding - kernel) // stride + 1 for n in size)
    if rows < 1 or columns < 1:
        raise ExportError(
            ExportCode.INPUT_SHAPE,
            f"layer {index}: a {kernel}x{kernel} window with padding {padding} does "
            f"not fit into {size}; give a larger input_shape",
        )
    return channels, rows, columns


def _shape_error(index: int, wanted: tuple, got: tuple[int, ...]) -> ExportError:
    return ExportError(
        ExportCode.INPUT_SHAPE,
        f"layer {index} takes samples of shape {wanted} and would get {got}; give "
        "the right input_shape, or put nn.Flatten() before a dense layer",
    )
