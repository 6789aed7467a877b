"""The Yin-Yang data set, generated."""

from __future__ import annotations

import numpy as np
import torch

from snn_temporal_plugins.training.data import Split, Splits, TensorData


class YinYang(TensorData):
    """Points of the Yin-Yang figure: 4 inputs, 3 classes, 5000/1000/1000 samples.

    A sample is `(x, y, 1 - x, 1 - y)`; the mirrored pair serves neurons without bias.
    Generated, no download; the samples equal the published ones to the last bit.

    Reference:
        Kriener, Goeltz, Petrovici 2022, doi 10.1145/3517343.3517380.
    """

    sample_shape = (4,)

    def load(self) -> Splits:
        """Generate the three published splits."""

        def split(count: int, seed: int) -> Split:
            x, label = yin_yang(count, seed)
            return Split(torch.from_numpy(x).float(), torch.from_numpy(label))

        return Splits(split(5000, 42), split(1000, 41), split(1000, 40))


def yin_yang(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw samples of the Yin-Yang data set.

    Args:
        count: Number of samples.
        seed: Start of the random numbers; the published training, validation and test
            splits have 42, 41 and 40.

    Returns:
        Samples, float64 `(count, 4)` in [0, 1], and labels, int64 `(count,)`.

    Reference:
        Kriener, Goeltz, Petrovici 2022, doi 10.1145/3517343.3517380.
    """
    # The legacy generator: the published samples were drawn from it.
    random = np.random.RandomState(seed)
    big, small = 0.5, 0.1  # radii of the figure and of its dots
    samples = np.empty((count, 4))
    labels = np.empty(count, dtype=np.int64)
    for index in range(count):
        goal = random.randint(3)
        while True:
            x, y = random.rand(2) * 2 * big
            if np.hypot(x - big, y - big) <= big and goal == _side(x, y, big, small):
                break
        samples[index] = x, y, 1 - x, 1 - y
        labels[index] = goal
    return samples, labels


def _side(x: float, y: float, big: float, small: float) -> int:
    """Return the class of a point: 0 and 1 for the two halves, 2 for the dots."""
    right = np.hypot(x - 1.5 * big, y - big)
    left = np.hypot(x - 0.5 * big, y - big)
    if right < small or left < small:
        return 2
    in_swirl = small < left <= 0.5 * big or (y > big and right > 0.5 * big)
    return int(right <= small or in_swirl)
