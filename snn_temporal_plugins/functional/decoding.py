"""From the output neurons to a decision. Silence never counts as right."""

import math

import torch
from torch import Tensor


def first_spike_class(spike_time: Tensor, potential: Tensor | None = None) -> Tensor:
    """Index of the output that fires first; -1 if none does or the first is tied.

    Args:
        spike_time: Output spike times, (batch, class), inf = silent.
        potential: Potential at which each output fired, (batch, class): among those
            that are first, the largest wins. None: a tie is no decision.

    Returns:
        Class index, or -1 for "no decision", (batch,), int64. -1 equals no label, so an
        accuracy computed by `==` counts silence and unbroken ties as wrong.

    Raises:
        ValueError: spike_time is not (batch, class) with at least one class, or
            potential has another shape.
    """
    first = _first(spike_time)
    if potential is not None:
        if potential.shape != spike_time.shape:
            raise ValueError(
                f"potential has shape {tuple(potential.shape)} but spike_time "
                f"{tuple(spike_time.shape)}; they must be equal, (batch, class)."
            )
        level = torch.where(first, potential, -math.inf)
        first = first & (level == level.amax(1, keepdim=True))
    return torch.where(first.sum(1) == 1, first.int().argmax(1), -1)


def first_spike_tied(spike_time: Tensor) -> Tensor:
    """Whether several outputs share the earliest spike time.

    Args:
        spike_time: Output spike times, (batch, class), inf = silent.

    Returns:
        (batch,), bool; silence is no tie.

    Raises:
        ValueError: spike_time is not (batch, class) with at least one class.
    """
    return _first(spike_time).sum(1) > 1


def _first(spike_time: Tensor) -> Tensor:
    """Where an output fires at the earliest time of its sample, bool."""
    if spike_time.dim() != 2 or spike_time.shape[1] == 0:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)}; it must be "
            "(batch, class) with at least one class."
        )
    earliest = spike_time.amin(1, keepdim=True)
    return (spike_time == earliest) & (earliest < math.inf)


def decision_time(spike_time: Tensor) -> Tensor:
    """Time of the first output spike, at which inference may stop.

    Args:
        spike_time: Output spike times, (batch, class), inf = silent.

    Returns:
        The earliest time of each sample, (batch,), inf where all outputs are silent.
    """
    return spike_time.amin(1)


def summed_psp_class(psp: Tensor) -> Tensor:
    """Index of the output with the largest sum of its PSP over time.

        answer_b = argmax_k sum_t a[t]_bk

    Args:
        psp: Output PSPs, (time, batch, class).

    Returns:
        Class index, the first one if the largest sum is tied, or -1 where all outputs
        stayed silent, (batch,), int64.

    Raises:
        ValueError: psp is not (time, batch, class) with at least one class.

    Reference:
        Zhang and Li, NeurIPS 2020 (TSSL-BP), released code, which takes silence for
        class 0. Equal trains of spikes tie exactly and are not rare in 5 steps.
    """
    if psp.dim() != 3 or psp.shape[2] == 0:
        raise ValueError(
            f"psp has shape {tuple(psp.shape)}; it must be (time, batch, class) with "
            "at least one class."
        )
    largest, winner = psp.sum(0).max(1)
    return torch.where(largest > 0, winner, -1)
