"""Spike-timing neurons and learning rules as plugins for snnTorch and Norse.

Spike times are `(batch, ...)` tensors with inf = silent; spike trains are
`(time, batch, ...)` tensors of 0 and 1. This module needs torch and numba alone; the
hosts, Lightning, NIR and the plots live in `adapters`, `training`, `export` and `viz`.
"""

from importlib.metadata import version

from snn_temporal_plugins.functional import (
    dead_neuron_penalty,
    decision_time,
    first_spike_class,
    latency_encode,
    silent_label_penalty,
    times_to_train,
    train_to_times,
    ttfs_cross_entropy,
    weight_sum_penalty,
)
from snn_temporal_plugins.neurons import (
    EarliestSpikePool2d,
    ReLPSPConv2d,
    ReLPSPLinear,
    SilenceDropout,
    build_network,
)
from snn_temporal_plugins.rules import RULES, RuleInfo, get_rule, stdbp

__version__ = version("snn-temporal-plugins")

__all__ = [
    # neurons
    "ReLPSPLinear",
    "ReLPSPConv2d",
    "EarliestSpikePool2d",
    "SilenceDropout",
    "build_network",
    # rules
    "stdbp",
    "RULES",
    "RuleInfo",
    "get_rule",
    # coding
    "latency_encode",
    "train_to_times",
    "times_to_train",
    # losses
    "ttfs_cross_entropy",
    "silent_label_penalty",
    "weight_sum_penalty",
    "dead_neuron_penalty",
    # decoding
    "first_spike_class",
    "decision_time",
    "__version__",
]
