"""Losses on output spike trains, given as postsynaptic potentials (PSPs)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from snn_temporal_plugins.functional.lif import psp_filter, require_window

TargetFilter = Literal["single", "double"]


def desired_spikes(label: Tensor, num_classes: int, num_steps: int) -> Tensor:
    """Spike train that the label neuron is to give; the others are to be silent.

    Below 10 steps the pattern is [0, 1, 1, 1, 1], repeated; from 10 on it is
    [0, 1, 0, 1, 0, 1, 0, 1, 0, 1], repeated.

    Args:
        label: Class indices, (batch,), integer.
        num_classes: Number of output neurons.
        num_steps: Number of time steps, a multiple of 5; from 10 on of 10.

    Returns:
        Spikes, 0 or 1, (time, batch, class), float of the default type.

    Raises:
        ValueError: num_steps fits no whole number of patterns, or a label is no class.

    Reference:
        Zhang and Li, NeurIPS 2020 (TSSL-BP), released code since 2020-10-01; earlier
        versions, and the paper as far as known, had [0, 1, 0, 1, 1].
    """
    pattern = [0, 1, 1, 1, 1] if num_steps < 10 else [0, 1] * 5
    if num_steps < 1 or num_steps % len(pattern):
        raise ValueError(
            f"num_steps is {num_steps}; the desired spike train needs 5 steps or a "
            "multiple of 10. The losses 'count' and 'softmax' take any number."
        )
    require_label(label, num_classes)
    train = torch.tensor(pattern * (num_steps // len(pattern)), device=label.device)
    chosen = F.one_hot(label.long(), num_classes)
    return (train[:, None, None] * chosen).to(torch.get_default_dtype())


def kernel_loss(
    psp: Tensor,
    label: Tensor,
    *,
    tau_syn: float = 3.0,
    target_filter: TargetFilter = "double",
) -> Tensor:
    """Squared distance of the output PSPs from those of the desired spike train.

        L = 1/2 sum_{t, batch, class} (a[t] - target[t])^2

    Args:
        psp: Output PSPs, (time, batch, class).
        label: Class indices, (batch,), integer.
        tau_syn: Synaptic time constant of the output layer, in steps.
        target_filter: "single" filters the desired spikes once, which is the Van Rossum
            distance; "double" twice, as the released code has done since 2020-10-29.

    Returns:
        The loss, a sum (not a mean), a scalar.

    Raises:
        ValueError: shapes do not fit, the number of steps fits no desired spike train,
            or target_filter is unknown.

    Reference:
        Zhang and Li, NeurIPS 2020 (TSSL-BP), released code.
    """
    _check_output(psp, label)
    if target_filter not in ("single", "double"):
        raise ValueError(
            f"target_filter is {target_filter!r}; allowed are 'single' and 'double'."
        )
    target = desired_spikes(label, psp.shape[2], len(psp)).to(psp)
    for _ in range(2 if target_filter == "double" else 1):
        target = psp_filter(target, tau_syn)
    return (psp - target).square().sum() / 2


def count_loss(
    psp: Tensor,
    label: Tensor,
    *,
    desired_count: float = 15.0,
    undesired_count: float = 3.0,
) -> Tensor:
    """Distance of the summed PSPs ("counts") from goals, without a penalty beyond them.

        c = sum_t a[t],   e = (c - goal) / T,   L = T/2 sum_{batch, class} e^2
        e counts only below the goal for the label, only above it for the others

    Args:
        psp: Output PSPs, (time, batch, class).
        label: Class indices, (batch,), integer.
        desired_count: Goal of the label neuron, in spikes per window.
        undesired_count: Goal of the others.

    Returns:
        The loss, a sum (not a mean), a scalar.

    Raises:
        ValueError: shapes do not fit, or undesired_count is above desired_count.

    Reference:
        Zhang and Li, NeurIPS 2020 (TSSL-BP), released code.
    """
    _check_output(psp, label)
    if not 0 <= undesired_count <= desired_count < math.inf:
        raise ValueError(
            f"undesired_count is {undesired_count} and desired_count {desired_count}; "
            "they must be 0 <= undesired_count <= desired_count, and finite."
        )
    steps = len(psp)
    count = psp.sum(0)
    right = F.one_hot(label.long(), psp.shape[2]).bool()
    lacking = ((desired_count - count) / steps).clamp(min=0)
    excess = ((count - undesired_count) / steps).clamp(min=0)
    return torch.where(right, lacking, excess).square().sum() * (steps / 2)


def softmax_loss(psp: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy on the summed PSPs.

        L = -mean_batch ln softmax(sum_t a[t])[label]

    Args:
        psp: Output PSPs, (time, batch, class).
        label: Class indices, (batch,), integer.

    Returns:
        The mean loss, a scalar.

    Raises:
        ValueError: shapes do not fit.

    Reference:
        Zhang and Li, NeurIPS 2020 (TSSL-BP), released code.
    """
    _check_output(psp, label)
    return F.cross_entropy(psp.sum(0), label.long())


def _check_output(psp: Tensor, label: Tensor) -> None:
    require_window("psp", psp)
    if not isinstance(label, Tensor):
        raise TypeError(
            f"label is {type(label).__name__}; it must be a tensor of class indices."
        )
    if psp.dim() != 3 or label.shape != psp.shape[1:2]:
        raise ValueError(
            f"psp has shape {tuple(psp.shape)} and label {tuple(label.shape)}; they "
            "must be (time, batch, class) and (batch,)."
        )
    require_label(label, psp.shape[2])


def require_label(label: Tensor, num_classes: int) -> None:
    """Raise unless label holds class indices, (batch,), integer.

    Args:
        label: The labels.
        num_classes: Number of classes.

    Raises:
        ValueError: they are not integer, or one is no class.
    """
    if label.is_floating_point() or label.dtype == torch.bool or label.dim() != 1:
        raise ValueError(
            f"label is {label.dtype} of shape {tuple(label.shape)}; it must be integer "
            "class indices (batch,)."
        )
    if len(label) and not 0 <= int(label.min()) <= int(label.max()) < num_classes:
        raise ValueError(
            f"label holds {int(label.min())} to {int(label.max())}; with "
            f"{num_classes} outputs, allowed are 0 to {num_classes - 1}."
        )
