"""What rounding costs: the accuracy of a network whose layers round, part by part.

The layers do the rounding themselves (`neurons.rounded`), so the last figure of each is
the accuracy of the integer emulator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from snn_temporal_plugins.functional.rounding import RoundingError
from snn_temporal_plugins.neurons import rounded
from snn_temporal_plugins.training.recording import FirstSpikes
from snn_temporal_plugins.training.tick_classifier import TickClassifier

BITS = range(2, 9)
TICKS = (16, 32, 64, 128, 256, 512, 1024)
_CHUNK = 500  # samples that run at once
_ALONE = {
    "ticks": {"weights": False, "thresholds": False},
    "weights": {"ticks": False, "thresholds": False},
    "thresholds": {"ticks": False, "weights": False},
    "all": {},
}


def rounding_errors(
    classifier: FirstSpikes,
    x: Tensor,
    label: Tensor,
    *,
    bits: int = 6,
    num_ticks: int | None = None,
) -> dict[str, float]:
    """Return the accuracy with each source of rounding error alone, and with all.

    Args:
        classifier: The network, real-valued.
        x: Intensities, `(batch, ...)`.
        label: Class indices, `(batch,)`.
        bits: Width of a weight, 2 to 8.
        num_ticks: Number of ticks; None: 256, or those of a network on ticks.

    Returns:
        Shares of right answers, 0 to 1: `float`; `ticks`, spike times rounded up;
        `weights`; `thresholds`; and `all`, the integer network. Integrate-and-fire
        layers live on ticks, and their thresholds lose nothing: no rows for these.

    Raises:
        ValueError: the network cannot be rounded so.
    """
    rows = {"float": accuracy(classifier, x, label)}
    for name, parts in _ALONE.items():
        if isinstance(classifier, TickClassifier) and name in ("ticks", "thresholds"):
            continue
        with rounded(classifier.network, bits=bits, num_ticks=num_ticks, **parts):
            rows[name] = accuracy(classifier, x, label)
    return rows


def quantisation_sweep(
    classifier: FirstSpikes,
    x: Tensor,
    label: Tensor,
    *,
    bits: Sequence[int] = BITS,
    num_ticks: Sequence[int] = TICKS,
) -> dict[int, dict[int, float]]:
    """Return the accuracy of the integer network for each width and number of ticks.

    Args:
        classifier: The network, real-valued.
        x: Intensities, `(batch, ...)`.
        label: Class indices, `(batch,)`.
        bits: Widths of a weight, 2 to 8.
        num_ticks: Numbers of ticks; a network on ticks has its own alone.

    Returns:
        Shares of right answers by ticks, then by bits; NaN where all weights of a
        neuron, or a threshold, round to 0.
    """
    if isinstance(classifier, TickClassifier):
        num_ticks = (classifier.hparams["num_ticks"],)

    def measured(width: int, ticks: int) -> float:
        with rounded(classifier.network, bits=width, num_ticks=ticks):
            try:
                return accuracy(classifier, x, label)
            except RoundingError:
                return math.nan

    return {
        ticks: {width: measured(width, ticks) for width in bits} for ticks in num_ticks
    }


@torch.no_grad()
def accuracy(classifier: FirstSpikes, x: Tensor, label: Tensor) -> float:
    """Return the share of right answers; silence and ties are wrong.

    Args:
        classifier: The network.
        x: Intensities, `(batch, ...)`.
        label: Class indices, `(batch,)`.
    """
    mode = classifier.training
    classifier.eval()
    right = 0
    for part, wanted in zip(x.split(_CHUNK), label.split(_CHUNK), strict=True):
        answer = classifier.answer(classifier(part))
        right += int((answer.predicted_class == wanted).sum())
    classifier.train(mode)
    return right / len(label)
