"""How large a network and its golden cases may be: a stranger's must not take hours.

All emulators share these bounds, the slowest of them (plain Python, tick by tick) sets
the last one. SPEC.md, section "Limits", states them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from snn_temporal_plugins.export.bundle.integer import IntegerConv, IntegerNetwork
from snn_temporal_plugins.export.errors import BundleCode, BundleError
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = ["check_network_size", "check_weights", "check_work"]

MAX_WEIGHTS = 1 << 24
MAX_VALUES = 1 << 20
MAX_WINDOW_VALUES = 1 << 23
MAX_WORK = 1 << 33
_TICK_WORK = 100  # of a layer and tick in which nothing happens


class _Size(NamedTuple):
    """Of one layer: padded input and output; all its windows; all its connections."""

    values: int
    window_values: int
    connections: int


def check_weights(number: int) -> None:
    """Refuse more weights than a reader need hold.

    Args:
        number: of the weights of all layers.

    Raises:
        BundleError: if there are too many.
    """
    _check("weights", number, MAX_WEIGHTS)


def check_network_size(network: IntegerNetwork) -> None:
    """Refuse a network that takes a reader too much memory.

    Raises:
        BundleError: naming the limit.
    """
    sizes = _sizes(network)
    values = sum(size.values for size in sizes)
    _check("values in the inputs and outputs of all layers", values, MAX_VALUES)
    for index, size in enumerate(sizes):
        what = f"values in all windows of layer {index}"
        _check(what, size.window_values, MAX_WINDOW_VALUES)


def check_work(network: IntegerNetwork, starts: Iterable[int]) -> None:
    """Refuse golden cases that take a reader too long.

    Args:
        network: the network.
        starts: layer at which each golden case starts.

    Raises:
        BundleError: if they do.
    """
    sizes = _sizes(network)
    # of the last layer, of the last two, ...
    work = list(
        accumulate(
            size.connections + network.num_ticks * (_TICK_WORK + size.values)
            for size in reversed(sizes)
        )
    )
    work.reverse()  # a case that starts behind the network is refused elsewhere
    total = sum(work[start] for start in starts if start < len(work))
    _check("steps of work in all golden cases", total, MAX_WORK)


def _sizes(network: IntegerNetwork) -> list[_Size]:
    shapes = (network.input_shape, *network.shapes)
    sizes = []
    for layer, before, after in zip(network.layers, shapes, shapes[1:], strict=False):
        kernel, padding, image = 1, 0, before
        if isinstance(layer, PoolLayer):
            kernel, padding = layer.kernel_size, layer.padding
        elif isinstance(layer, IntegerConv):
            kernel, padding = layer.weight.shape[2], layer.padding
        else:
            image = (math.prod(before), 1, 1)
        padded = image[0] * math.prod(n + 2 * padding for n in image[1:])
        windows = image[0] * math.prod(after[1:]) * kernel**2
        outputs = 1 if isinstance(layer, PoolLayer) else after[0]
        size = _Size(padded + math.prod(after), windows, windows * outputs)
        sizes.append(size)
    return sizes


def _check(what: str, number: int, most: int) -> None:
    if number > most:
        raise BundleError(
            BundleCode.LIMIT,
            f"{number} {what}; allowed: {most}. Use a smaller network, fewer ticks or "
            "fewer golden cases",
        )
