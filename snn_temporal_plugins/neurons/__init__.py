"""Layers: parameters and one call into a learning rule."""

from snn_temporal_plugins.neurons.network import build_network
from snn_temporal_plugins.neurons.relpsp import ReLPSPConv2d, ReLPSPLinear
from snn_temporal_plugins.neurons.shaping import EarliestSpikePool2d, SilenceDropout

__all__ = [
    "ReLPSPLinear",
    "ReLPSPConv2d",
    "EarliestSpikePool2d",
    "SilenceDropout",
    "build_network",
]
