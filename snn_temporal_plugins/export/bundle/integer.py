"""The integer network of the bundle: what a chip stores, and how wide its adders are.

Each tick, layer by layer, every neuron with potential `V` does as its response says. A
"ramp" has a slope `G`, and a spike of tick `n_i` adds `weight * (n - n_i)` to `V` at
tick `n`:

    INTEGRATE   V += G
    FIRE        if not fired and V >= threshold: spike at this tick
    ACCUMULATE  G += weight[:, source] for each spike that arrived in this tick

A "step" adds `weight` from its own tick on, and can fire the neuron in that tick:

    ACCUMULATE  V += weight[:, source] for each spike that arrived in this tick
    FIRE        if not fired and V >= threshold: spike at this tick
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import (
    PoolLayer,
    Response,
    output_shape,
    window_shape,
)

__all__ = [
    "MAX_REGISTER_BITS",
    "MAX_TICKS",
    "SILENT",
    "IntegerConv",
    "IntegerDense",
    "IntegerLayer",
    "IntegerNetwork",
    "Widths",
    "spike_effect",
    "weight_sums",
    "widths",
]

SILENT = 0xFFFF
"""The tick of a neuron that never fires: all ones of the 16-bit time field."""

MAX_TICKS = SILENT
"""Most ticks of a network: tick 65535 would be the code for silence."""

MAX_REGISTER_BITS = 32
"""Widest slope or potential that the format describes."""


@dataclass(frozen=True, eq=False)
class IntegerDense:
    """A dense layer; an input of more than one axis is read in row-major order.

    Attributes:
        weight: `(out, in)` int32.
        threshold: `(out,)` int64, at least 1; fires at `V >= threshold`.
        scale: `(out,)` float64, model weight of one integer step; only a record,
            no arithmetic uses it.
    """

    weight: NDArray[np.int32]
    threshold: NDArray[np.int64]
    scale: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class IntegerConv:
    """A square convolution whose padding is silent; fields as in IntegerDense.

    Attributes:
        weight: `(out, in, k, k)` int32.
        threshold: `(out,)` int64.
        scale: `(out,)` float64.
        stride: pixels between two windows.
        padding: silent pixels added on each side.
    """

    weight: NDArray[np.int32]
    threshold: NDArray[np.int64]
    scale: NDArray[np.float64]
    stride: int
    padding: int


IntegerLayer: TypeAlias = IntegerDense | IntegerConv | PoolLayer


class Widths(NamedTuple):
    """Bits of a layer's two's-complement registers, sign included; 0 = no register."""

    slope_bits: int
    potential_bits: int


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A network of integers on a grid of ticks.

    Attributes:
        layers: the layers, first to last.
        input_shape: shape of one sample of input ticks.
        num_ticks: number of ticks `T`; a spike has a tick of `0 .. T - 1`.
        tick: length of a tick in the model's unit of time; only a record.
        response: what a spike adds to every neuron, "ramp" or "step".
    """

    layers: tuple[IntegerLayer, ...]
    input_shape: tuple[int, ...]
    num_ticks: int
    tick: float
    response: Response = "ramp"

    def __post_init__(self) -> None:
        if self.response not in get_args(Response):
            raise ExportError(
                ExportCode.PARAMETER,
                f"response is {self.response!r}; allowed: {get_args(Response)}",
            )
        if not 2 <= self.num_ticks <= MAX_TICKS:
            raise ExportError(
                ExportCode.PARAMETER,
                f"num_ticks is {self.num_ticks}; allowed: 2 to {MAX_TICKS}",
            )
        if not self.shapes or not isinstance(
            self.layers[-1], IntegerDense | IntegerConv
        ):
            raise ExportError(
                ExportCode.OUTPUT, "the last layer must be a layer of neurons"
            )
        for index, layer in enumerate(self.layers):
            if isinstance(layer, PoolLayer):
                continue
            bits = widths(layer, self.num_ticks, self.response)
            if max(bits) > MAX_REGISTER_BITS:
                raise ExportError(
                    ExportCode.WIDTH,
                    f"layer {index} needs a slope of {bits.slope_bits} bits and a "
                    f"potential of {bits.potential_bits} bits; allowed: "
                    f"{MAX_REGISTER_BITS}. Use fewer ticks or fewer weight bits",
                )

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of one sample after each layer."""
        shapes = []
        shape = self.input_shape
        for index, layer in enumerate(self.layers):
            shape = _shape_after(layer, shape, index)
            shapes.append(shape)
        return tuple(shapes)


def spike_effect(
    network: IntegerNetwork, spike_tick: NDArray[np.int32], tick: NDArray | np.integer
) -> NDArray[np.int64]:
    """What spikes have added to a potential by a tick, in units of their weights.

    Args:
        network: whose neurons respond.
        spike_tick: ticks of spikes, `SILENT` for none.
        tick: the tick of the answer, of a shape that broadcasts.

    Returns:
        Integers of the common shape: `max(tick - spike_tick, 0)` for a ramp, 0 or 1
        for a step.
    """
    if network.response == "step":
        return (spike_tick <= tick).astype(np.int64)
    return np.maximum(tick - spike_tick, 0).astype(np.int64)


def weight_sums(weight: NDArray[np.int32]) -> tuple[NDArray, NDArray]:
    """Furthest rise and fall of what spikes add to: a slope, or a step's potential.

    Args:
        weight: `(out, ...)` integers.

    Returns:
        Two arrays `(out,)` int64, `P` and `N`: the sum of the positive weights and the
        sum of the magnitudes of the negative ones.
    """
    rows = weight.reshape(len(weight), -1)
    rise = np.maximum(rows, 0).sum(axis=1, dtype=np.int64)
    return rise, -np.minimum(rows, 0).sum(axis=1, dtype=np.int64)


def widths(
    layer: IntegerDense | IntegerConv, num_ticks: int, response: Response = "ramp"
) -> Widths:
    """Smallest register widths at which no spike time can change.

    A sum over spikes, of which each input sends one at most, lies between `-N` and `P`
    whatever their order. Of a step that is the potential, which thus never overflows.
    (Saturating it earlier could add spikes: what comes up again fires too soon.)

    Of a ramp it is the slope. A potential that saturates at `F <= -num_ticks * P`
    climbs from there at most to 0, below every threshold, so saturating low never
    changes a spike; before it fires, a neuron stays at or below `threshold - 1 + P`,
    and afterwards it is frozen. The widest of the three magnitudes decides.

    Args:
        layer: a layer of neurons.
        num_ticks: number of ticks.
        response: of the neurons.

    Returns:
        Bits of slope and potential, sign included; a step has no slope.
    """
    rise, fall = weight_sums(layer.weight)
    reach = int(max(rise.max(), fall.max()))
    threshold = int(layer.threshold.max())
    if response == "step":
        return Widths(0, 1 + max(reach, threshold).bit_length())
    potential = max(
        int((layer.threshold - 1 + rise).max()), num_ticks * int(rise.max()), threshold
    )
    return Widths(1 + reach.bit_length(), 1 + potential.bit_length())


def _shape_after(
    layer: IntegerLayer, shape: tuple[int, ...], index: int
) -> tuple[int, ...]:
    if isinstance(layer, PoolLayer):
        return output_shape(layer, shape, index)
    inputs = layer.weight.shape[1]
    if isinstance(layer, IntegerDense):
        if math.prod(shape) != inputs:
            raise ExportError(
                ExportCode.INPUT_SHAPE,
                f"layer {index} takes {inputs} inputs and would get {shape}",
            )
        return (layer.weight.shape[0],)
    if len(shape) != 3 or shape[0] != inputs:
        raise ExportError(
            ExportCode.INPUT_SHAPE,
            f"layer {index} takes {inputs} channels and would get {shape}",
        )
    return window_shape(
        index,
        layer.weight.shape[0],
        shape[1:],
        layer.weight.shape[2],
        layer.stride,
        layer.padding,
    )
