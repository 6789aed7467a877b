"""Random integer networks, the same for the same seed, for every program.

Emulators, RTL, SANA-FE and the readers of NIR all run these; `make sweep` a thousand of
them, `make test` a few.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export import (
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    PoolLayer,
)

FEW, MANY = range(20), range(1000)


class Trial(NamedTuple):
    """A network and the ticks `(batch, *input_shape)` int32 that it is run on."""

    network: IntegerNetwork
    ticks: NDArray[np.int32]


def random_trial(
    seed: int, *, response: str | None = None, conv: bool = True, uniform: bool = False
) -> Trial:
    """One network of random shape, weights, thresholds and ticks.

    Args:
        seed: of everything.
        response: "ramp" or "step"; None: either.
        conv: allow convolutions and pools, in two networks of five.
        uniform: one threshold per layer, as NIR needs.
    """
    rng = np.random.default_rng([20261122, seed])
    num_ticks = int(rng.integers(2, 65))
    response = response or str(rng.choice(["ramp", "step"]))
    largest = int(rng.choice([1, 3, 15, 127]))

    def neurons(shape, kind, **rest):
        weight = rng.integers(-largest // 2, largest + 1, shape).astype(np.int32)
        weight.reshape(len(weight), -1)[:, 0] |= 1
        rise = np.maximum(weight, 0).reshape(len(weight), -1).sum(axis=1)
        ticks = num_ticks / 3 if response == "ramp" else 1
        share = rng.uniform(0.02, 0.6, 1 if uniform else len(weight))
        rise = rise.mean() if uniform else rise
        threshold = np.maximum(1, share * rise * ticks).astype(np.int64)
        threshold = np.broadcast_to(threshold, len(weight)).copy()
        return kind(weight, threshold, np.ones(len(weight)), **rest)

    layers: list[IntegerConv | IntegerDense | PoolLayer] = []
    if conv and rng.random() < 0.4:
        channels, side = int(rng.integers(1, 3)), int(rng.integers(6, 11))
        shape: tuple[int, ...] = (channels, side, side)
        maps, kernel = int(rng.integers(1, 5)), int(rng.integers(2, 4))
        stride, padding = int(rng.integers(1, 3)), int(rng.integers(0, 2))
        window = (maps, channels, kernel, kernel)
        layers.append(neurons(window, IntegerConv, stride=stride, padding=padding))
        if rng.random() < 0.7:
            layers.append(PoolLayer(2, 2, 0))
        size = (side + 2 * padding - kernel) // stride + 1
        size = size // 2 if len(layers) == 2 else size
        width = maps * size * size
    else:
        width = int(rng.integers(1, 41))
        shape = (width,)
    for _ in range(int(rng.integers(1, 4))):
        outputs = int(rng.integers(1, 25))
        layers.append(neurons((outputs, width), IntegerDense))
        width = outputs
    network = IntegerNetwork(tuple(layers), shape, num_ticks, 1.0, response)
    batch = 3
    ticks = rng.integers(0, num_ticks, (batch, *shape))
    early = rng.integers(0, max(1, num_ticks // 4), (batch, *shape))
    ticks = np.where(rng.random(ticks.shape) < 0.5, early, ticks)
    silent = rng.random(ticks.shape) < rng.choice([0.0, 0.3, 0.9])
    return Trial(network, np.where(silent, SILENT, ticks).astype(np.int32))
