"""Spike-timing neurons and learning rules as plugins for snnTorch and Norse.

Spike times are `(batch, ...)` tensors with inf = silent; spike trains are
`(time, batch, ...)` tensors of 0 and 1. This module needs torch and numba alone; the
hosts, Lightning, NIR and the plots live in `adapters`, `training`, `export` and `viz`.
"""

from importlib.metadata import version

from snn_temporal_plugins.functional import (
    LIFState,
    count_loss,
    dead_neuron_penalty,
    decision_time,
    desired_spikes,
    first_spike_class,
    first_spike_tied,
    first_target,
    kernel_loss,
    latency_encode,
    latency_ticks,
    mean_target,
    psp_filter,
    sigmoid_surrogate,
    silent_label_penalty,
    softmax_loss,
    squared_time_loss,
    summed_psp_class,
    times_to_train,
    train_to_times,
    ttfs_cross_entropy,
    weight_sum_penalty,
)
from snn_temporal_plugins.neurons import (
    EarliestSpikePool2d,
    IFConv2d,
    IFLinear,
    LIFConv2d,
    LIFLinear,
    PSPDropout,
    PSPFilter,
    PSPPool2d,
    ReLPSPConv2d,
    ReLPSPLinear,
    SilenceDropout,
    TimeFlatten,
    build_network,
)
from snn_temporal_plugins.rules import (
    RULES,
    LIFWindow,
    RuleInfo,
    get_rule,
    sstdp,
    sstdp_with_potential,
    stdbp,
    tssl_bp,
    tssl_bp_window,
)

__version__ = version("snn-temporal-plugins")

__all__ = [
    # neurons on spike times
    "ReLPSPLinear",
    "ReLPSPConv2d",
    "EarliestSpikePool2d",
    "SilenceDropout",
    "IFLinear",
    "IFConv2d",
    # neurons on spike trains
    "LIFLinear",
    "LIFConv2d",
    "PSPFilter",
    "PSPPool2d",
    "PSPDropout",
    "TimeFlatten",
    "build_network",
    # rules
    "stdbp",
    "sstdp",
    "sstdp_with_potential",
    "tssl_bp",
    "tssl_bp_window",
    "LIFWindow",
    "LIFState",
    "RULES",
    "RuleInfo",
    "get_rule",
    # coding
    "latency_encode",
    "latency_ticks",
    "train_to_times",
    "times_to_train",
    "psp_filter",
    "desired_spikes",
    "sigmoid_surrogate",
    # losses
    "ttfs_cross_entropy",
    "silent_label_penalty",
    "weight_sum_penalty",
    "dead_neuron_penalty",
    "mean_target",
    "first_target",
    "squared_time_loss",
    "kernel_loss",
    "count_loss",
    "softmax_loss",
    # decoding
    "first_spike_class",
    "first_spike_tied",
    "summed_psp_class",
    "decision_time",
    "__version__",
]
