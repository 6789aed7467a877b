"""Which neurons of an integer network go to which PE, and whether all of it fits.

All PEs work on the same layer at the same time. A layer of `n` neurons, in row-major
order, is cut into slices of `s = ceil(n / P)`: PE `p` holds the neurons `p * s` to
`min((p + 1) * s, n) - 1`, which may be none. A pool is a layer of neurons here: steps
with weight 1 and threshold 1, which fire in the tick of their first input.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.chip import PEDescriptor
from snn_temporal_plugins.export.bundle.integer import (
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    widths,
)
from snn_temporal_plugins.export.errors import MappingCode, MappingError
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = ["MAX_IDS", "MAX_IMAGE_BYTES", "MAX_LAYERS", "Mapping", "map_network"]

MAX_IDS = 0xFFFF
"""Most inputs, and most neurons of a layer: a spike carries 16 bits for which it is."""

MAX_LAYERS = 255
"""Most layers, pools counted."""

MAX_IMAGE_BYTES = 1 << 26
"""Most text of all memory images of one network together."""

_KINDS = {
    IntegerDense: "dense",
    IntegerConv: "conv2d",
    PoolLayer: "earliest_spike_pool2d",
}
_MEMORIES = {"neurons": 8, "route_words": 24, "weight_words": 2, "target_words": 8}
"""Memories of a PE, and hex digits of a word in their images."""

_CURES = {
    MappingCode.NEURONS: "use more PEs, or a smaller network",
    MappingCode.WEIGHT_WORDS: "use more PEs, or a smaller network",
    MappingCode.TARGET_WORDS: "use more PEs, or fewer channels in front of it",
    MappingCode.ROUTE_WORDS: "every PE has all routes: use fewer inputs and neurons",
    MappingCode.EVENT_WORDS: "use more PEs: all neurons of a slice may spike at once",
    MappingCode.WEIGHT_BITS: "quantise to fewer bits",
    MappingCode.SLOPE_BITS: "quantise to fewer bits",
    MappingCode.POTENTIAL_BITS: "quantise to fewer bits or fewer ticks",
}


@dataclass(frozen=True, eq=False)
class Mapping:
    """A network on a chip: every layer in slices, one per PE.

    Attributes:
        network: the integer network.
        chip: what it was checked against.
        neurons: `(layer, PE)` int64, neurons of each layer in each PE.
        synapses: `(layer, PE)` int64, synapses of these neurons.
    """

    network: IntegerNetwork
    chip: PEDescriptor
    neurons: NDArray[np.int64]
    synapses: NDArray[np.int64]

    @property
    def slices(self) -> tuple[int, ...]:
        """Neurons of the longest slice of each layer, that of PE 0."""
        return tuple(self.neurons[:, 0].tolist())

    @property
    def sources(self) -> tuple[int, ...]:
        """Spike sources of each layer: the inputs, then the neurons layer by layer."""
        inputs = math.prod(self.network.input_shape)
        return (inputs, *self.neurons[:-1].sum(axis=1).tolist())

    def words(self, memory: str) -> NDArray[np.int64]:
        """Words in use: `(layer, PE)`, of the routes `(layer before it, PE)`.

        Args:
            memory: a capacity of the descriptor: "neurons", "weight_words",
                "target_words" or "route_words".
        """
        if memory == "route_words":
            routes = np.array(self.sources, dtype=np.int64)
            return np.repeat(routes[:, None], self.chip.num_pes, axis=1)
        if memory == "target_words":
            dense = [isinstance(layer, IntegerDense) for layer in self.network.layers]
            return np.where(np.array(dense)[:, None], 0, self.synapses)
        return self.neurons if memory == "neurons" else self.synapses

    def report(self) -> dict[str, Any]:
        """Integers for `reports/mapping.json`: what is used, and of how much.

        Returns:
            `chip`: the descriptor; `layers`: kind, neurons, slice, synapses and widths
            of each; `event_words`: the longest queue that a tick can need; `pes`: used
            and capacity of each memory of each PE.
        """
        layers = [
            {
                "kind": _KINDS[type(layer)],
                "neurons": int(self.neurons[index].sum()),
                "slice": self.slices[index],
                "synapses": int(self.synapses[index].sum()),
                **_bits(self.network, index),
            }
            for index, layer in enumerate(self.network.layers)
        ]
        used = {name: self.words(name).sum(axis=0).tolist() for name in _MEMORIES}
        chip = asdict(self.chip)
        return {
            "chip": chip,
            "layers": layers,
            "event_words": {
                "used": max(self.slices),
                "capacity": self.chip.event_words,
            },
            "pes": [
                {
                    name: {"used": used[name][pe], "capacity": chip[name]}
                    for name in _MEMORIES
                }
                for pe in range(self.chip.num_pes)
            ],
        }


def map_network(network: IntegerNetwork, chip: PEDescriptor) -> Mapping:
    """Cut a network into slices and check every design rule of the chip.

    Args:
        network: the integer network.
        chip: its PEs and their capacities.

    Returns:
        The mapping, which fits.

    Raises:
        MappingError: at the first design rule that is broken; the message names the
            layer, the PE, what is needed and what is there.
    """
    shapes = (network.input_shape, *network.shapes)
    if len(network.layers) > MAX_LAYERS:
        raise MappingError(
            MappingCode.LAYERS,
            f"layer {MAX_LAYERS} is one too many: the network has "
            f"{len(network.layers)} layers; allowed: {MAX_LAYERS}, because a spike has "
            "8 bits for its layer; use a smaller network",
        )
    for index, size in enumerate(map(math.prod, shapes)):
        if size > MAX_IDS:
            what = f"layer {index - 1}" if index else "the input"
            raise MappingError(
                MappingCode.IDS,
                f"{what} has {size} places; allowed: {MAX_IDS}, because a spike has 16 "
                "bits for where it comes from; use a smaller network",
            )
    fan_ins = [_fan_in(network, index) for index in range(len(network.layers))]
    mapping = Mapping(
        network,
        chip,
        np.stack([_slice_sums(np.ones_like(fan_in), chip) for fan_in in fan_ins]),
        np.stack([_slice_sums(fan_in, chip) for fan_in in fan_ins]),
    )
    for index, length in enumerate(mapping.slices):
        needs = {**_bits(network, index), "event_words": length}
        for name, need in needs.items():
            if need > getattr(chip, name):
                raise _too_small(chip, name, need, index, 0)
    for name in _MEMORIES:
        # the first layer at which some PE is full, and the fullest PE there
        filled = mapping.words(name).cumsum(axis=0)
        for index, row in enumerate(filled):
            if row.max() > getattr(chip, name):
                pe = int(row.argmax())
                raise _too_small(chip, name, int(filled[-1, pe]), index, pe)
    _check_image_bytes(mapping)
    return mapping


def _too_small(
    chip: PEDescriptor, name: str, need: int, layer: int, pe: int
) -> MappingError:
    """The error of a PE that has too little of something."""
    code = MappingCode[name.upper()]
    return MappingError(
        code,
        f"layer {layer} does not fit into PE {pe} of {chip.num_pes}: the network needs "
        f"{need} {name} there, each PE of {chip.name!r} has {getattr(chip, name)}; "
        f"{_CURES[code]}, or PEs with more {name}",
    )


def _check_image_bytes(mapping: Mapping) -> None:
    """Refuse images that would fill a disk, before they are made."""
    size = sum(
        int(mapping.words(name).sum()) * (digits + 1)
        for name, digits in _MEMORIES.items()
    )
    if size > MAX_IMAGE_BYTES:
        raise MappingError(
            MappingCode.IMAGE_BYTES,
            f"the memory images of {mapping.chip.num_pes} PEs would have {size} bytes; "
            f"allowed: {MAX_IMAGE_BYTES}; use fewer PEs (each holds all routes), or a "
            "smaller network",
        )


def _bits(network: IntegerNetwork, index: int) -> dict[str, int]:
    """Two's-complement widths that a layer needs; no slope is 0 bits."""
    layer = network.layers[index]
    if isinstance(layer, PoolLayer):
        slope, potential, low, high = 0, 1 + (layer.kernel_size**2).bit_length(), 0, 1
    else:
        slope, potential = widths(layer, network.num_ticks, network.response)
        low, high = int(layer.weight.min()), int(layer.weight.max())
    return {
        "weight_bits": 1 + max(high, -low - 1, 0).bit_length(),
        "slope_bits": slope,
        "potential_bits": potential,
    }


def _slice_sums(values: NDArray, chip: PEDescriptor) -> NDArray[np.int64]:
    """`(PE,)` sums of a value per neuron over the slices of a layer."""
    length = -(-len(values) // chip.num_pes)
    padded = np.zeros(chip.num_pes * length, dtype=np.int64)
    padded[: len(values)] = values
    return padded.reshape(chip.num_pes, length).sum(axis=1)


def _fan_in(network: IntegerNetwork, index: int) -> NDArray[np.int64]:
    """`(neuron,)` synapses of each neuron of a layer; padding has none."""
    layer = network.layers[index]
    if isinstance(layer, IntegerDense):
        outputs, inputs = layer.weight.shape
        return np.full(outputs, inputs, dtype=np.int64)
    source = (network.input_shape, *network.shapes)[index]
    if isinstance(layer, PoolLayer):
        kernel, maps = layer.kernel_size, 1  # a pool sees its own map only
    else:
        kernel, maps = layer.weight.shape[2], source[0]
    channels, *size = network.shapes[index]
    reach = []
    for inputs, outputs in zip(source[1:], size, strict=True):
        first = np.arange(outputs) * layer.stride - layer.padding
        inside = np.minimum(first + kernel, inputs) - np.maximum(first, 0)
        reach.append(np.maximum(inside, 0))
    return np.tile(maps * np.outer(*reach).ravel(), channels)
