"""The memory images of a mapped network: text that `$readmemh` reads, for every PE.

The weights are stored source by source ("input-major"), so that one spike is one burst
of consecutive words. SPEC.md, section "Memory images", describes every file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.integer import IntegerConv, IntegerDense
from snn_temporal_plugins.export.bundle.mapping import Mapping
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = ["longest_bursts", "memory_images"]

_MAGIC = 0x54544653  # "TTFS"
_VERSION = 1
_HEX = np.array([[*f"{byte:02x}".encode()] for byte in range(256)], dtype=np.uint8)


class _Bursts(NamedTuple):
    """What the spikes of one layer's sources do, PE by PE.

    Attributes:
        counts: `(PE, source)` int64, synapses of each burst.
        weights: per PE `(synapse,)` int8, source by source, neuron by neuron.
        targets: per PE `(synapse,)` uint32 neurons within the slice; `None`: implied.
    """

    counts: NDArray[np.int64]
    weights: list[NDArray[np.int8]]
    targets: list[NDArray[np.uint32]] | None


def memory_images(mapping: Mapping) -> dict[str, bytes]:
    """The memory images of all PEs as text, the same bytes for the same mapping.

    Args:
        mapping: a network on a chip.

    Returns:
        File names, relative to `mem/`, and contents: `cfg.hex`, then `route.hex`,
        `wgt.hex`, `tgt.hex`, `thr.hex` of each PE in the folder `pe<p>/`.
    """
    layers = [_bursts(mapping, index) for index in range(len(mapping.network.layers))]
    thresholds = [_thresholds(mapping, index) for index in range(len(layers))]
    images: dict[str, bytes] = {"cfg.hex": b""}
    sums: list[int] = []
    for pe in range(mapping.chip.num_pes):
        weights = np.concatenate([bursts.weights[pe] for bursts in layers])
        targets = [
            bursts.targets[pe] for bursts in layers if bursts.targets is not None
        ]
        slices = zip(thresholds, mapping.slices, strict=True)
        words: dict[str, NDArray] = {
            "route": _routes(layers, pe),
            "wgt": weights.view(np.uint8),
            "tgt": np.concatenate([np.empty(0, np.uint32), *targets]),
            "thr": np.concatenate([a[pe * s : (pe + 1) * s] for a, s in slices]),
        }
        for name, values in words.items():
            images[f"pe{pe}/{name}.hex"] = _hex_lines(values)
            sums += [len(values), int(values.sum(dtype=np.uint64)) % (1 << 32)]
    images["cfg.hex"] = _configuration(mapping, sums)
    return images


def longest_bursts(mapping: Mapping) -> Iterator[NDArray[np.int64]]:
    """Synapses that the busiest PE adds up after a spike, layer by layer.

    Args:
        mapping: a network on a chip.

    Yields:
        For each layer `(source,)`, the longest burst of each source over the PEs.
    """
    for index in range(len(mapping.network.layers)):
        yield _bursts(mapping, index).counts.max(axis=0)


def _configuration(mapping: Mapping, sums: list[int]) -> bytes:
    """The header that tells a core what the other images hold."""
    network = mapping.network
    step = network.response == "step"
    words = [
        _MAGIC,
        _VERSION,
        network.num_ticks,
        len(network.layers),
        mapping.chip.num_pes,
        mapping.sources[0],
        int(step),
    ]
    for index, layer in enumerate(network.layers):
        words += [
            int(step or isinstance(layer, PoolLayer)),
            int(mapping.neurons[index].sum()),
            mapping.slices[index],
            int(isinstance(layer, IntegerDense)),
        ]
    words += sums
    return _hex_lines(np.array([*words, sum(words) % (1 << 32)], dtype=np.uint32))


def _routes(layers: list[_Bursts], pe: int) -> NDArray[np.uint32]:
    """`(source, 3)` count, first target word and first weight word of every burst."""
    counts = [bursts.counts[pe] for bursts in layers]
    stored = [
        np.zeros_like(count) if bursts.targets is None else count
        for count, bursts in zip(counts, layers, strict=True)
    ]
    count, targets = np.concatenate(counts), np.concatenate(stored)
    bases = [words.cumsum() - words for words in (targets, count)]
    return np.stack([count, *bases], axis=1).astype(np.uint32)


def _thresholds(mapping: Mapping, index: int) -> NDArray[np.uint32]:
    """`(neuron,)` thresholds of a layer."""
    layer, neurons = mapping.network.layers[index], int(mapping.neurons[index].sum())
    if isinstance(layer, PoolLayer):
        return np.ones(neurons, dtype=np.uint32)
    return np.repeat(layer.threshold, neurons // len(layer.threshold)).astype(np.uint32)


def _bursts(mapping: Mapping, index: int) -> _Bursts:
    """The bursts of one layer's sources in every PE."""
    layer, length = mapping.network.layers[index], mapping.slices[index]
    num_pes = mapping.chip.num_pes
    if isinstance(layer, IntegerDense):
        weight = layer.weight.astype(np.int8)
        rows = [weight[pe * length : (pe + 1) * length] for pe in range(num_pes)]
        sizes = mapping.neurons[index][:, None]
        counts = np.repeat(sizes, mapping.sources[index], axis=1)
        return _Bursts(counts, [part.T.ravel() for part in rows], None)
    source, target, weight = _window_synapses(mapping, index, layer)
    pe = (target // length).astype(np.uint16)
    order = pe.argsort(kind="stable")  # keeps the order of sources and of targets
    ends = mapping.synapses[index].cumsum()[:-1]
    sources = mapping.sources[index]
    counts = np.bincount(pe * np.int64(sources) + source, minlength=num_pes * sources)
    return _Bursts(
        counts.reshape(num_pes, sources),
        np.split(weight[order], ends),
        np.split((target % length)[order].astype(np.uint32), ends),
    )


def _window_synapses(
    mapping: Mapping, index: int, layer: IntegerConv | PoolLayer
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int8]]:
    """Source, target and weight of every synapse, by source and then by target.

    Rows and columns are independent: what one input channel and one map have in common
    is every pair of a row's contact and a column's.
    """
    network = mapping.network
    channels, *size = (network.input_shape, *network.shapes)[index]
    maps, *out = network.shapes[index]
    if isinstance(layer, PoolLayer):
        kernel, maps = layer.kernel_size, 1  # a pool sees its own map only
    else:
        kernel = layer.weight.shape[2]
    rows, columns = (
        _contacts(*sizes, kernel, layer) for sizes in zip(size, out, strict=True)
    )
    map_axis = np.arange(maps, dtype=np.int32)[:, None, None]

    def joined(row: NDArray, column: NDArray, height: int, width: int) -> NDArray:
        return ((map_axis * height + row[:, None]) * width + column).ravel()

    target = joined(rows.output, columns.output, *out)
    source = np.tile((rows.place[:, None] * size[1] + columns.place).ravel(), maps)
    order = (source * np.int64(maps * math.prod(out)) + target).argsort()
    channel = np.arange(channels, dtype=np.int32)[:, None]
    sources = (source[order] + channel * math.prod(size)).ravel()
    if isinstance(layer, PoolLayer):
        targets = (target[order] + channel * math.prod(out)).ravel()
        return sources, targets, np.ones(len(sources), dtype=np.int8)
    tap = joined(rows.tap, columns.tap, kernel, kernel)[order]
    weight = layer.weight.astype(np.int8).swapaxes(0, 1)
    weights = np.concatenate([part.ravel()[tap] for part in weight])
    return sources, np.tile(target[order], channels), weights


class _Contacts(NamedTuple):
    """Places of an input axis, the outputs that see them, and the taps; int32."""

    place: NDArray
    output: NDArray
    tap: NDArray


def _contacts(
    size: int, outputs: int, kernel: int, layer: IntegerConv | PoolLayer
) -> _Contacts:
    """The contacts `(contact,)` of one axis; those in the padding are left out."""
    first = np.arange(outputs, dtype=np.int32)[:, None] * layer.stride - layer.padding
    place = first + np.arange(kernel, dtype=np.int32)
    output, tap = ((place >= 0) & (place < size)).nonzero()
    return _Contacts(place[output, tap], output.astype(np.int32), tap.astype(np.int32))


def _hex_lines(words: NDArray) -> bytes:
    """One word a line: 2 digits for bytes, 8 for 32 bits, 24 for rows of three."""
    if not len(words):
        return b"0" * words.itemsize * 2 + b"\n"
    big_endian = words.astype(words.dtype.newbyteorder(">"))
    digits = _HEX[big_endian.view(np.uint8).reshape(len(words), -1)]
    ends = np.full((len(words), 1), ord("\n"), dtype=np.uint8)
    return np.hstack([digits.reshape(len(words), -1), ends]).tobytes()
