"""Compiled loops behind torch ops: one op, one file, two bodies equal by test."""

from snn_temporal_plugins.kernels.first_crossing import (
    first_crossing,
    first_crossing_backward,
)
from snn_temporal_plugins.kernels.stdp_window import stdp_weight_gradient
from snn_temporal_plugins.kernels.tssl_bp import lif_window, tssl_bp_backward

__all__ = [
    "first_crossing",
    "first_crossing_backward",
    "stdp_weight_gradient",
    "lif_window",
    "tssl_bp_backward",
]
