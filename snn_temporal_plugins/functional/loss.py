"""Losses on first-spike times."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def ttfs_cross_entropy(
    spike_time: Tensor, target: Tensor, *, alpha: float = 20.0, t_silent: float = 2.0
) -> Tensor:
    """Softmax cross-entropy on first-spike times: the label neuron is to fire first.

        L = -mean_b ln( exp(-alpha t_bg) / sum_k exp(-alpha t_bk) ),  g = target of b

    A silent output enters as the constant t_silent and gets no gradient: a silent label
    neuron still pushes its rivals later, but cannot be revived by this loss.

    Args:
        spike_time: Output spike times, (batch, class), inf = silent.
        target: Class indices, (batch,), integer.
        alpha: Inverse temperature > 0, per unit of time. Time has no scale of its own:
            with an input window of 1, values of 10 to 20 train well and 1 does not.
        t_silent: Time that stands for silence, usually the layer's t_max.

    Returns:
        The mean loss, a scalar.

    Raises:
        ValueError: shapes do not fit, alpha is not positive or t_silent is not finite.

    Reference:
        The loss of Zhou et al. (AAAI 2021) and T2FSNN (arXiv 2003.11741); that of the
        STDBP paper is not published in detail.
    """
    if spike_time.dim() != 2 or target.shape != spike_time.shape[:1]:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)} and target "
            f"{tuple(target.shape)}; they must be (batch, class) and (batch,)."
        )
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha is {alpha}; it must be positive and finite.")
    if not math.isfinite(t_silent):
        raise ValueError(
            f"t_silent is {t_silent}; it must be finite, for example the t_max of the "
            "output layer."
        )
    time = torch.where(spike_time < math.inf, spike_time, t_silent)
    return F.cross_entropy(-alpha * time, target)


def silent_label_penalty(
    pre_spike_time: Tensor,
    weight: Tensor,
    v_th: Tensor,
    spike_time: Tensor,
    target: Tensor,
    *,
    t_max: float,
) -> Tensor:
    """Penalty on a label neuron that stayed silent: its potential lacks the threshold.

        P = mean_b [t_bg > t_max] max(0, v_th_g - V_bg(t_max)),  g = target of b
        V_bg(t_max) = sum_i w_gi max(0, t_max - t_bi)

    A silent neuron has no spike-time gradient; this one raises w_gi in proportion to
    t_max - t_bi. Without it the outputs of a small network can all fall silent in the
    first epoch, and stay so.

    Args:
        pre_spike_time: Spike times of the layer before, (batch, in), inf = silent.
        weight: Weights of the output layer, (class, in).
        v_th: Thresholds of the output layer, (class,).
        spike_time: Output spike times, (batch, class), inf = silent.
        target: Class indices, (batch,), integer.
        t_max: Horizon of the output layer, finite.

    Returns:
        The penalty, a scalar.

    Reference:
        The third remedy for silent outputs, a gradient of -max(0, t_max - t_i) on w_gi;
        S4NN (Kheradpisheh & Masquelier 2020) likewise gives silent outputs a spike at
        t_max.
    """
    label_time = spike_time.detach().gather(1, target[:, None])[:, 0]
    silent = (label_time == math.inf).nonzero()[:, 0]
    if len(silent) == 0:  # the rule once a network has learned to speak
        return pre_spike_time.new_zeros(())
    label = target[silent]
    ramp = (t_max - pre_spike_time[silent]).clamp(min=0)  # 0 where silent
    lack = v_th[label] - (weight[label] * ramp).sum(1)
    return lack.clamp(min=0).sum() / max(1, len(target))


def weight_sum_penalty(weight: Tensor, *, floor: float = 1.0) -> Tensor:
    """Penalty on neurons whose weights cannot carry them over the threshold.

        P = mean_j max(0, floor - sum_i w_ji)

    Args:
        weight: Synaptic weights, (out, in, ...); a kernel is summed whole.
        floor: Weight sum from which on a neuron is left alone, in thresholds per unit
            of time.

    Returns:
        The penalty, a scalar.

    Reference:
        Mostafa, IEEE TNNLS 2017, equation (17), in the form for ReL-PSP.
    """
    return (floor - weight.flatten(1).sum(1)).clamp(min=0).mean()


def dead_neuron_penalty(
    spike_time: Tensor, weight: Tensor, *, floor: float = 2.0
) -> Tensor:
    """Weight-sum penalty on those neurons only that stayed silent in the whole batch.

        P = sum_{j silent in every sample} max(0, floor - sum_i w_ji) / neurons

    It leaves the sparse code of living neurons alone and gives a dead neuron, which has
    no spike-time gradient at all, a way back. On Fashion-MNIST 784-1000-10 it cut the
    hidden neurons that fire for less than 1 % of the samples from 74 % to 24 %.

    Args:
        spike_time: Spike times of the layer, (batch, out, ...), inf = silent.
        weight: Weights of the layer, (out, in, ...).
        floor: Weight sum from which on a neuron is left alone, in thresholds per unit
            of time.

    Returns:
        The penalty, a scalar.

    Raises:
        ValueError: the two tensors disagree on the number of neurons.
    """
    if spike_time.dim() < 2 or spike_time.shape[1] != weight.shape[0]:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)} but weight has "
            f"{weight.shape[0]} neurons; expected (batch, {weight.shape[0]}, ...)."
        )
    silent = (spike_time.detach() == math.inf).transpose(0, 1).flatten(1).all(1)
    weight = weight.flatten(1)
    weak = silent & (weight.detach().sum(1) < floor)
    if not bool(weak.any()):  # spare the backward a gradient of zeros
        return weight.new_zeros(())
    return (floor - weight[weak].sum(1)).sum() / len(weight)
