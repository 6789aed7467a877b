"""Loss, decision and weight penalty on the spike counts of output neurons: ST-RSBP."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from snn_temporal_plugins.functional.lif import require_window
from snn_temporal_plugins.functional.train_loss import require_label


def spike_count_loss(
    spikes: Tensor,
    label: Tensor,
    *,
    desired_count: float = 35.0,
    undesired_count: float = 5.0,
    margin: float = 5.0,
) -> Tensor:
    """Squared distance of the spike counts from their goals, without that in a margin.

        o = sum_t s[t],   e = o - goal where |o - goal| > margin, else 0
        E = 1/2 mean_batch sum_class e^2,   dE/do = e / batch

    Args:
        spikes: Output spikes, (time, batch, class).
        label: Class indices, (batch,), integer.
        desired_count: Goal of the label's neuron, in spikes per window.
        undesired_count: Goal of the others.
        margin: Distance from the goal that is no error, >= 0.

    Returns:
        The loss, a scalar.

    Raises:
        TypeError: spikes is not a floating-point tensor.
        ValueError: shapes do not fit, a label is no class, or a setting is negative.

    Reference:
        Zhang and Li, NeurIPS 2019 (ST-RSBP), released code; the factor 1/2 is that of
        the gradient.
    """
    require_window("spikes", spikes)
    if spikes.dim() != 3 or label.shape != spikes.shape[1:2]:
        raise ValueError(
            f"spikes has shape {tuple(spikes.shape)} and label {tuple(label.shape)}; "
            "they must be (time, batch, class) and (batch,)."
        )
    require_label(label, spikes.shape[2])
    settings = {
        "desired_count": desired_count,
        "undesired_count": undesired_count,
        "margin": margin,
    }
    for name, value in settings.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}; it must be 0 or more, and finite.")
    count = spikes.sum(0)
    right = F.one_hot(label.long(), spikes.shape[2]).bool()
    error = count - torch.where(right, desired_count, undesired_count).to(count)
    error = torch.where(error.abs() > margin, error, 0)
    return error.square().sum() / (2 * max(1, len(count)))


def spike_count_class(spikes: Tensor) -> Tensor:
    """Class whose neuron fires most often; of several the one with the lowest index.

    Args:
        spikes: Output spikes, (time, batch, class).

    Returns:
        Class indices, int64 (batch,); -1 where no output fired.

    Reference:
        Zhang and Li, NeurIPS 2019 (ST-RSBP), released code; there silence is class 0.
    """
    most, predicted = spikes.detach().sum(0).max(1)
    return torch.where(most > 0, predicted, -1)


def exponential_weight_penalty(
    layers: Sequence[Sequence[Tensor]], *, limit: float = 8.0, steepness: float = 0.04
) -> Tensor:
    """Penalty that grows exponentially with the mean squared weight of a neuron.

        Q_i = sum_j (w_ij / limit)^2 / (n_i + 1)          n_i incoming connections
        R   = sum_i limit (n_i + 1) / 2 exp(steepness (Q_i - 1))
        dR/dw_ij = steepness (w_ij / limit) exp(steepness (Q_i - 1))

    Args:
        layers: For each layer its weights, (neurons, ...): the input weights, and the
            recurrent ones if it has any, whose zeros are no connections.
        limit: Weight that is held to be large, > 0.
        steepness: Factor in the exponent, >= 0.

    Returns:
        R, a scalar.

    Raises:
        ValueError: there is no layer, or a setting is out of range.

    Reference:
        Released code of ST-RSBP (regulariser of Jin, Zhang and Li, NeurIPS 2018), with
        n_i + 1 of each neuron; for recurrent layers the code takes the number of
        connections of the whole layer.
    """
    if not layers or not 0 < limit < math.inf or not 0 <= steepness < math.inf:
        raise ValueError(
            f"{len(layers)} layers, limit {limit}, steepness {steepness}; allowed are "
            "at least one layer, a positive limit and a steepness of 0 or more."
        )
    penalty = layers[0][0].new_zeros(())
    for weights in layers:
        first, *recurrent = (w.flatten(1) for w in weights)
        connections = torch.full_like(first[:, 0], first.shape[1] + 1)
        for w in recurrent:
            connections = connections + (w != 0).sum(1)
        square = torch.cat([first, *recurrent], 1).div(limit).square().sum(1)
        grown = torch.exp(steepness * (square / connections - 1))
        penalty = penalty + (connections * grown).sum() * (limit / 2)
    return penalty
