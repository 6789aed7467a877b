"""Encoder, loss and accuracy on spike trains (time, batch, ...), free of any host."""

from __future__ import annotations

from torch import Tensor

from snn_temporal_plugins.functional.coding import (
    latency_encode,
    times_to_train,
    train_to_times,
)
from snn_temporal_plugins.functional.decoding import first_spike_class
from snn_temporal_plugins.functional.loss import ttfs_cross_entropy


def latency(data: Tensor, num_steps: int, *, window: float | None = None) -> Tensor:
    """Encode intensities as one spike each, brighter is earlier.

    x spikes at tick window (1 - x), rounded up; x = 0 stays silent. Unlike
    `snntorch.spikegen.latency` it does not depend on the rest of the batch.

    Args:
        data: (batch, ...), intensities in [0, 1].
        num_steps: length T of the train in ticks.
        window: ticks over which the code spreads; None: T // 2, which leaves the
            second half to the layers.

    Returns:
        spikes (T, batch, ...), 0 or 1 in the dtype of `data`.

    Raises:
        ValueError: the window does not fit into the train.
    """
    window = num_steps // 2 if window is None else window
    if not 0 < window <= num_steps - 1:
        raise ValueError(
            f"window={window} ticks in a train of num_steps={num_steps}: choose a "
            f"window above 0 and at most num_steps - 1 = {num_steps - 1}"
        )
    return times_to_train(latency_encode(data, window=window), num_steps)


class ce_ttfs_loss:  # in lower case like snnTorch's own losses
    """Cross-entropy on first-spike times, -log softmax(-alpha t), in snnTorch's manner.

    A silent output enters as `t_silent` and receives no gradient, where
    `snntorch.functional.ce_temporal_loss` takes it for a spike in the last tick. The
    object pickles, and `snntorch.backprop` takes it for its `ce_temporal_loss`.

    Args:
        alpha: inverse temperature per unit of time.
        dt: length of a tick in the unit of time, as in the layers.
        t_silent: time that stands for silence; None: one tick after the last.
    """

    def __init__(
        self, alpha: float = 20.0, dt: float = 0.01, t_silent: float | None = None
    ) -> None:
        self.alpha = alpha
        self.dt = dt
        self.t_silent = t_silent
        self.__name__ = "ce_temporal_loss"  # backprop.BPTT looks its losses up by name

    def __call__(self, spk_rec: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            spk_rec: (time, batch, classes), 0/1.
            targets: (batch,), class indices.

        Returns:
            The mean over the batch, a scalar.
        """
        spike_time = train_to_times(spk_rec) * self.dt
        after_last = spk_rec.shape[0] * self.dt
        t_silent = after_last if self.t_silent is None else self.t_silent
        return ttfs_cross_entropy(
            spike_time, targets, alpha=self.alpha, t_silent=t_silent
        )


def accuracy_ttfs(spk_rec: Tensor, targets: Tensor) -> float:
    """Return the share of samples whose label neuron alone spikes first.

    Ties and all-silent outputs count as wrong.

    Args:
        spk_rec: (time, batch, classes), 0/1.
        targets: (batch,), class indices.

    Returns:
        The accuracy in [0, 1].
    """
    predicted = first_spike_class(train_to_times(spk_rec))
    return (predicted == targets).double().mean().item()
