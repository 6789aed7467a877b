import pickle

import pytest
import torch

from snn_temporal_plugins import train_to_times
from snn_temporal_plugins.adapters.trains import accuracy_ttfs, ce_ttfs_loss, latency

INF = torch.inf


def trains(times, num_steps=10):
    """Trains (time, batch, classes) from first-spike ticks."""
    ticks = torch.arange(num_steps)[:, None, None]
    return (ticks == torch.tensor(times)).double()


def test_latency_is_linear_brighter_first_and_zero_silent():
    data = torch.tensor([[1.0, 0.75, 0.5, 0.25, 0.0]])
    assert train_to_times(latency(data, 17)).tolist() == [[0, 2, 4, 6, INF]]
    assert train_to_times(latency(data, 17, window=16)).tolist() == [[0, 4, 8, 12, INF]]


def test_latency_does_not_depend_on_the_batch_and_keeps_the_dtype():
    data = torch.rand(4, 3, dtype=torch.float64)
    train = latency(data, 50)
    assert train.dtype == torch.float64 and train.shape == (50, 4, 3)
    assert torch.equal(latency(data[:1], 50), train[:, :1])


@pytest.mark.parametrize("window", [0, -1, 10])
def test_latency_window_must_fit(window):
    with pytest.raises(ValueError, match=f"window={window}.*num_steps=10"):
        latency(torch.rand(2, 2), 10, window=window)


def test_accuracy_counts_ties_and_silence_as_wrong():
    spikes = trains([[1.0, 2, 3], [1, 1, 3], [INF, INF, INF], [5, INF, 2]])
    assert accuracy_ttfs(spikes, torch.tensor([0, 0, 0, 2])) == 0.5


def test_loss_treats_silence_as_later_than_every_spike():
    loss = ce_ttfs_loss(alpha=5.0, dt=0.1)
    target = torch.tensor([0])
    silent, last = loss(trains([[INF, 3.0]]), target), loss(trains([[9.0, 3]]), target)
    assert silent > last


def test_loss_gradient_is_minus_one_at_the_spike_and_nothing_in_silent_neurons():
    spikes = trains([[2.0, INF, 4]]).requires_grad_()
    ce_ttfs_loss(alpha=5.0, dt=0.1)(spikes, torch.tensor([0])).backward()
    assert spikes.grad[2, 0, 0] < 0 < spikes.grad[4, 0, 2]
    assert spikes.grad.abs().sum() == spikes.grad[[2, 4], 0, [0, 2]].abs().sum()


def test_loss_pickles_and_bears_a_name_that_snntorch_knows():
    loss = pickle.loads(pickle.dumps(ce_ttfs_loss(alpha=3.0, t_silent=1.5)))
    assert (loss.alpha, loss.t_silent) == (3.0, 1.5)
    assert loss.__name__ == "ce_temporal_loss"
