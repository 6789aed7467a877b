"""Compiled loops behind torch ops: one op, one file, two bodies equal by test."""

from snn_temporal_plugins.kernels.first_crossing import (
    first_crossing,
    first_crossing_backward,
)

__all__ = ["first_crossing", "first_crossing_backward"]
