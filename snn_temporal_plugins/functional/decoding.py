"""From output spike times to a decision. Silence and ties never count as right."""

import math

import torch
from torch import Tensor


def first_spike_class(spike_time: Tensor) -> Tensor:
    """Index of the output that fires first; -1 if none does or the first is tied.

    Args:
        spike_time: Output spike times, (batch, class), inf = silent.

    Returns:
        Class index, or -1 for "no decision", (batch,), int64. -1 equals no label, so an
        accuracy computed by `==` counts silence and ties as wrong.

    Raises:
        ValueError: spike_time is not (batch, class) with at least one class.
    """
    if spike_time.dim() != 2 or spike_time.shape[1] == 0:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)}; it must be "
            "(batch, class) with at least one class."
        )
    earliest, winner = spike_time.min(1)
    tied = (spike_time == earliest[:, None]).sum(1) > 1
    return torch.where((earliest < math.inf) & ~tied, winner, -1)


def decision_time(spike_time: Tensor) -> Tensor:
    """Time of the first output spike, at which inference may stop.

    Args:
        spike_time: Output spike times, (batch, class), inf = silent.

    Returns:
        The earliest time of each sample, (batch,), inf where all outputs are silent.
    """
    return spike_time.amin(1)
