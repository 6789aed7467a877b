"""Pure tensor maths: coding, losses, decoding."""

from snn_temporal_plugins.functional.coding import (
    latency_encode,
    latency_ticks,
    rate_encode,
    times_to_train,
    train_to_times,
)
from snn_temporal_plugins.functional.decoding import (
    decision_time,
    first_spike_class,
    first_spike_tied,
    summed_psp_class,
)
from snn_temporal_plugins.functional.lif import LIFState, psp_filter
from snn_temporal_plugins.functional.loss import (
    dead_neuron_penalty,
    silent_label_penalty,
    ttfs_cross_entropy,
    weight_sum_penalty,
)
from snn_temporal_plugins.functional.spike_count import (
    exponential_weight_penalty,
    spike_count_class,
    spike_count_loss,
)
from snn_temporal_plugins.functional.sstdp_target import (
    first_target,
    mean_target,
    squared_time_loss,
)
from snn_temporal_plugins.functional.surrogate import sigmoid_surrogate
from snn_temporal_plugins.functional.train_loss import (
    count_loss,
    desired_spikes,
    kernel_loss,
    softmax_loss,
)

__all__ = [
    "latency_encode",
    "latency_ticks",
    "rate_encode",
    "mean_target",
    "first_target",
    "squared_time_loss",
    "train_to_times",
    "times_to_train",
    "ttfs_cross_entropy",
    "silent_label_penalty",
    "weight_sum_penalty",
    "dead_neuron_penalty",
    "first_spike_class",
    "first_spike_tied",
    "decision_time",
    "summed_psp_class",
    "LIFState",
    "psp_filter",
    "sigmoid_surrogate",
    "desired_spikes",
    "kernel_loss",
    "count_loss",
    "softmax_loss",
    "spike_count_loss",
    "spike_count_class",
    "exponential_weight_penalty",
]
