"""Golden inputs: chosen to be hard, and always the same for the same network."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.decode import Decoding, decode
from snn_temporal_plugins.export.bundle.emulate import emulate
from snn_temporal_plugins.export.bundle.integer import (
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    weight_sums,
)
from snn_temporal_plugins.export.errors import BundleCode, BundleError, ExportError
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = ["GoldenCase", "golden_cases", "tail"]

_CANDIDATES = 64


@dataclass(frozen=True, eq=False)
class GoldenCase:
    """One input.

    Attributes:
        name: what is special about it.
        start_layer: the layer that is fed.
        ticks: `(*shape,)` int32 ticks of that layer's input.
    """

    name: str
    start_layer: int
    ticks: NDArray[np.int32]


def golden_cases(
    network: IntegerNetwork,
    *,
    random: int,
    samples: NDArray[np.int32] | None = None,
) -> list[GoldenCase]:
    """Choose the inputs; the same network always gets the same ones.

    Args:
        network: the network.
        random: number of pseudo-random inputs.
        samples: `(n, *input_shape)` ticks of real inputs, taken as they are.

    Returns:
        All inputs in the last tick, none, pseudo-random ones, and the samples. For each
        layer of neurons, fed directly: all inputs in the first tick, and those that
        drive one neuron hardest up, down (as far as its potential can fall, so to the
        floor if one is reached at all), and down and then up again; of a dense one also
        those with a one in each bit of their index, which tell any two weights of a
        neuron apart, as of an inner convolution pseudo-random ones do. At the end a
        tie, and an input on which potentials stand exactly on thresholds.
    """
    shape = network.input_shape
    cases = [
        ("none", 0, np.full(shape, SILENT)),
        ("all_at_end", 0, np.full(shape, network.num_ticks - 1)),
    ]
    for index in range(random):
        cases.append((f"random_{index}", 0, _random_ticks(network, index, 2)))
    for index, ticks in enumerate([] if samples is None else samples):
        cases.append((f"sample_{index}", 0, ticks))
    for index in range(len(network.layers)):
        prefix = f"layer_{index}_" if index else ""
        for name, ticks in _layer_cases(network, index):
            cases.append((f"{prefix}{name}", index, ticks))
    chosen = [GoldenCase(name, at, ticks.astype(np.int32)) for name, at, ticks in cases]
    return chosen + _tie(network) + _on_threshold(network)


def tail(network: IntegerNetwork, start_layer: int) -> IntegerNetwork:
    """The network from one layer on.

    Raises:
        BundleError: if there is no such layer.
    """
    if start_layer == 0:
        return network
    if start_layer >= len(network.layers):
        raise BundleError(
            BundleCode.GOLDEN,
            f"start_layer {start_layer} of a golden case does not exist; allowed: 0 to "
            f"{len(network.layers) - 1}",
        )
    return replace(
        network,
        layers=network.layers[start_layer:],
        input_shape=network.shapes[start_layer - 1],
    )


def _layer_cases(
    network: IntegerNetwork, index: int
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Inputs that try one layer; names and ticks."""
    layer, shape = network.layers[index], (network.input_shape, *network.shapes)[index]
    if index == 0 or not isinstance(layer, PoolLayer):
        yield "all_at_start", np.zeros(shape, dtype=np.int64)
    if isinstance(layer, PoolLayer):
        return
    back = (
        network.num_ticks - 1 if network.response == "step" else network.num_ticks // 2
    )
    yield "steepest_rise", _extreme(layer, shape, sign=1, others=SILENT)
    yield "steepest_fall", _extreme(layer, shape, sign=-1, others=SILENT)
    yield "fall_and_rise", _extreme(layer, shape, sign=-1, others=back)
    if isinstance(layer, IntegerDense):
        inputs = np.arange(math.prod(shape)).reshape(shape)
        for bit in range(int(inputs.max()).bit_length()):
            yield f"address_bit_{bit}", np.where(inputs >> bit & 1, 0, SILENT)
    elif index:
        yield "random", _random_ticks(tail(network, index), index, 1)


def _random_ticks(network: IntegerNetwork, index: int, part: int) -> NDArray[np.int64]:
    """Three of four inputs spike in the first `1/part` of the ticks.

    The bytes come from SHAKE-256, which no library version can change.
    """
    size = int(np.prod(network.input_shape))
    label = f"ttfs-bundle golden {part} {index}".encode()
    words = np.frombuffer(hashlib.shake_256(label).digest(4 * size), dtype="<u4")
    ticks = (words >> 2).astype(np.int64) % max(1, network.num_ticks // part)
    return np.where(words & 3, ticks, SILENT).reshape(network.input_shape)


def _tie(network: IntegerNetwork) -> list[GoldenCase]:
    """An input on which several outputs fire first together, if one is found.

    Best is one on which the rules for ties disagree; better one of the whole network
    than one that feeds the last layer directly.
    """
    best, found = 0, []
    for start in sorted({0, len(network.layers) - 1}):
        part = tail(network, start)
        ticks = _candidates(part)
        emulation = emulate(part, ticks)
        highest, lowest = (
            decode(part, emulation, Decoding(tie=rule))
            for rule in ("max_v_at_tie", "lowest_index")
        )
        worth = highest.tied * (1 + (highest.label != lowest.label))
        if worth.max() > best:
            best, at = int(worth.max()), int(worth.argmax())
            found = [GoldenCase("tie", start, ticks[at].astype(np.int32))]
    return found


def _on_threshold(network: IntegerNetwork) -> list[GoldenCase]:
    """An input on which a reader that fires at `V > threshold` is wrong, if found."""
    layers = [
        layer
        if isinstance(layer, PoolLayer)
        else replace(layer, threshold=layer.threshold + 1)
        for layer in network.layers
    ]
    try:
        strict = replace(network, layers=tuple(layers))
    except ExportError:
        return []  # the widest potential of all has no room for it
    ticks = _candidates(network)
    differ = sum(
        (one != other).reshape(len(ticks), -1).sum(axis=1)
        for one, other in zip(
            emulate(network, ticks).layer_ticks,
            emulate(strict, ticks).layer_ticks,
            strict=True,
        )
    )
    best = int(np.argmax(differ))
    if not np.any(differ):
        return []
    return [GoldenCase("on_threshold", 0, ticks[best].astype(np.int32))]


def _candidates(network: IntegerNetwork) -> NDArray[np.int64]:
    """Pseudo-random inputs, more and more of them at the start."""
    return np.stack(
        [_random_ticks(network, n, 2 << (n % 8)) for n in range(_CANDIDATES)]
    )


def _extreme(
    layer: IntegerDense | IntegerConv,
    shape: tuple[int, ...],
    *,
    sign: int,
    others: int,
) -> NDArray[np.int64]:
    """Spikes in tick 0 that drive one neuron furthest to this side.

    The inputs that drive it to the other side spike at `others`.
    """
    reach = weight_sums(layer.weight)[0 if sign > 0 else 1]
    weight = sign * layer.weight[int(reach.argmax())]
    chosen = np.where(weight > 0, 0, np.where(weight < 0, others, SILENT))
    if isinstance(layer, IntegerDense):
        return chosen.reshape(shape)
    ticks = np.full(shape, SILENT)
    first = -layer.padding % layer.stride  # where a window begins inside the image
    inside = ticks[:, first : first + chosen.shape[1], first : first + chosen.shape[2]]
    inside[:] = chosen[:, : inside.shape[1], : inside.shape[2]]
    return ticks
