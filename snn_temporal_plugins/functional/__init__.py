"""Pure tensor maths: coding, losses, decoding."""

from snn_temporal_plugins.functional.coding import (
    latency_encode,
    times_to_train,
    train_to_times,
)
from snn_temporal_plugins.functional.decoding import decision_time, first_spike_class
from snn_temporal_plugins.functional.loss import (
    dead_neuron_penalty,
    silent_label_penalty,
    ttfs_cross_entropy,
    weight_sum_penalty,
)

__all__ = [
    "latency_encode",
    "train_to_times",
    "times_to_train",
    "ttfs_cross_entropy",
    "silent_label_penalty",
    "weight_sum_penalty",
    "dead_neuron_penalty",
    "first_spike_class",
    "decision_time",
]
