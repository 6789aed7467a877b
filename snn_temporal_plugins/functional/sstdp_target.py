"""Targets of the output spike times for SSTDP, and the loss on them."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from snn_temporal_plugins.functional.arguments import require_floating
from snn_temporal_plugins.functional.train_loss import require_label


def mean_target(
    spike_time: Tensor,
    label: Tensor,
    *,
    t_max: int,
    gap: float = 5.0,
    over: Literal["fired", "all"] = "fired",
) -> Tensor:
    """Targets around the mean output time: the label earlier, the others later.

        m   = min(mean_j u_j, T - gap / n)                 n outputs, silent u = T
        T_y = min(u_y, m - gap (n - 1) / n)                label
        T_j = max(u_j, m + gap / n)                        others; all within [0, T]

    An output that already is on its side of the gap is its own target.

    Args:
        spike_time: Output spike times, (batch, class), in ticks, inf = silent.
        label: Class indices, (batch,), integer.
        t_max: Number of ticks T.
        gap: Distance > 0 wanted between the label and the others, in ticks.
        over: Whether the mean is over the outputs that "fired", or over "all".

    Returns:
        Target times, (batch, class), finite, without a gradient.

    Raises:
        TypeError: spike_time is not a floating-point tensor, or label no tensor.
        ValueError: shapes do not fit, a time is NaN, a label is no class, gap is not in
            (0, T], or over is unknown.

    Reference:
        SSTDP's equations (4)-(6) as reconstructed from re-implementations; cap and
        clamp are ours.
    """
    _check(spike_time, label, t_max, gap)
    if over not in ("fired", "all"):
        raise ValueError(f"over is {over!r}; allowed are 'fired' and 'all'.")
    u = spike_time.detach().clamp(max=t_max)
    classes = u.shape[1]
    if over == "all":
        mean = u.mean(1, keepdim=True)
    else:
        fired = spike_time.detach() < math.inf
        mean = torch.where(fired, u, 0).sum(1, keepdim=True)
        mean = mean / fired.sum(1, keepdim=True)  # 0/0 where all are silent
        mean = torch.where(fired.any(1, keepdim=True), mean, t_max)
    mean = mean.clamp(max=t_max - gap / classes)
    early = torch.minimum(u, mean - gap * (classes - 1) / classes)
    late = torch.maximum(u, mean + gap / classes)
    target = torch.where(F.one_hot(label.long(), classes).bool(), early, late)
    return target.clamp(0, t_max)


def first_target(
    spike_time: Tensor, label: Tensor, *, t_max: int, gap: float = 5.0
) -> Tensor:
    """Targets relative to the first output spike, as in the released code (and S4NN).

        m   = min_j u_j, or T - gap where all are silent
        T_y = m                                            label
        T_j = min(T, max(u_j, m + gap))                    others

    Args:
        spike_time: Output spike times, (batch, class), in ticks, inf = silent.
        label: Class indices, (batch,), integer.
        t_max: Number of ticks T.
        gap: Distance > 0 wanted between the label and the others, in ticks.

    Returns:
        Target times, (batch, class), finite, without a gradient.

    Raises:
        TypeError: spike_time is not a floating-point tensor, or label no tensor.
        ValueError: shapes do not fit, a time is NaN, a label is no class, or gap is not
            in (0, T].

    Reference:
        Training loop of SSTDP's released code; Kheradpisheh and Masquelier 2020 (S4NN).
    """
    _check(spike_time, label, t_max, gap)
    u = spike_time.detach().clamp(max=t_max)
    first = u.amin(1, keepdim=True)
    first = torch.where(first < t_max, first, t_max - gap)
    late = torch.maximum(u, first + gap).clamp(max=t_max)
    return torch.where(F.one_hot(label.long(), u.shape[1]).bool(), first, late)


class _TimeLossFunction(torch.autograd.Function):
    # A silent output has a time, T, and a gradient: by the clamp it would have none.
    @staticmethod
    def forward(spike_time, target, t_max, saturation):
        error = spike_time.clamp(max=t_max) - target
        if saturation is None:
            return error.square().sum() / (2 * max(1, len(spike_time))), error
        norm = error.norm(dim=1, keepdim=True)
        loss = norm - saturation * torch.log1p(norm / saturation)
        return loss.sum() / max(1, len(spike_time)), error / (norm + saturation)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, error = output
        ctx.mark_non_differentiable(error)
        ctx.save_for_backward(error)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _grad_error):
        (error,) = ctx.saved_tensors
        return grad * error / max(1, len(error)), None, None, None


def squared_time_loss(
    spike_time: Tensor,
    target: Tensor,
    *,
    t_max: int,
    saturation: float | None = None,
) -> Tensor:
    """Squared distance of the output times from their targets, silence counting as T.

        E = 1/2 mean_batch sum_j (u_j - T_j)^2,    dE/du_j = (u_j - T_j) / batch

    The error of a silent output is passed on to the rule, which strengthens its inputs.
    With a saturation c the loss of a sample at the distance r = |u - T| from its
    targets grows like r^2 / 2c while r is small, and like r where it is large:

        E = mean_batch r - c ln(1 + r / c),    dE/du_j = (u_j - T_j) / (r + c) / batch

    It is for `normalize=None`: the normalisation of the rule, which gives all samples
    the same weight, those that are nearly right too, is what c = 0 would be.

    Args:
        spike_time: Output spike times, (batch, class), in ticks, inf = silent.
        target: Target times, (batch, class), finite.
        t_max: Number of ticks T.
        saturation: c > 0, in ticks; None = the squared distance.

    Returns:
        The loss, a scalar.

    Raises:
        ValueError: the shapes differ, or saturation is not positive.

    Reference:
        Liu et al. 2021 (SSTDP), equation (6); the saturation is ours.
    """
    if spike_time.shape != target.shape:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)} but target "
            f"{tuple(target.shape)}; they must be equal, (batch, class)."
        )
    if saturation is not None and not 0 < saturation < math.inf:
        raise ValueError(
            f"saturation is {saturation}; it must be positive and finite, or None."
        )
    return _TimeLossFunction.apply(spike_time, target, t_max, saturation)[0]


def _check(spike_time: Tensor, label: Tensor, t_max: int, gap: float) -> None:
    require_floating("spike_time", spike_time)
    if not isinstance(label, Tensor):
        raise TypeError(
            f"label is {type(label).__name__}; it must be a tensor of class indices."
        )
    if spike_time.dim() != 2 or label.shape != spike_time.shape[:1]:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)} and label "
            f"{tuple(label.shape)}; they must be (batch, class) and (batch,)."
        )
    require_label(label, spike_time.shape[1])
    if bool(spike_time.isnan().any()):
        raise ValueError(
            "spike_time holds NaN; allowed are ticks, and inf for silence. Check the "
            "layer before the loss."
        )
    if not 0 < gap <= t_max:
        raise ValueError(
            f"gap is {gap}; it must be positive and at most t_max = {t_max} ticks."
        )
