"""Compiled loops behind torch ops: one op, one file, two bodies equal by test."""

from snn_temporal_plugins.kernels.earliest_spike import (
    earliest_spike,
    earliest_spike_backward,
)
from snn_temporal_plugins.kernels.first_crossing import (
    first_crossing,
    first_crossing_backward,
)
from snn_temporal_plugins.kernels.first_crossing_conv import (
    first_crossing_conv2d,
    first_crossing_conv2d_backward,
    unfold,
)
from snn_temporal_plugins.kernels.image_runs import slid
from snn_temporal_plugins.kernels.rounding_error import rounding_error
from snn_temporal_plugins.kernels.st_rsbp import (
    effect_gradient,
    effect_ratio,
    spike_train_window,
    survival,
    synaptic_effect,
    trace,
    weighted_ratio,
)
from snn_temporal_plugins.kernels.st_rsbp_image import image_effects, image_window
from snn_temporal_plugins.kernels.stdp_window import stdp_weight_gradient
from snn_temporal_plugins.kernels.stdp_window_conv import stdp_conv2d_weight_gradient
from snn_temporal_plugins.kernels.tssl_bp import lif_window, tssl_bp_backward

__all__ = [
    "earliest_spike",
    "earliest_spike_backward",
    "first_crossing",
    "first_crossing_backward",
    "first_crossing_conv2d",
    "first_crossing_conv2d_backward",
    "effect_gradient",
    "effect_ratio",
    "image_effects",
    "image_window",
    "rounding_error",
    "slid",
    "spike_train_window",
    "stdp_conv2d_weight_gradient",
    "stdp_weight_gradient",
    "survival",
    "synaptic_effect",
    "trace",
    "weighted_ratio",
    "lif_window",
    "tssl_bp_backward",
    "unfold",
]
