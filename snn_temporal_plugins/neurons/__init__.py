"""Layers: parameters and one call into a learning rule."""

from snn_temporal_plugins.neurons.integrate_fire import IFConv2d, IFLinear
from snn_temporal_plugins.neurons.lif import LIFConv2d, LIFLinear
from snn_temporal_plugins.neurons.network import build_network
from snn_temporal_plugins.neurons.psp import (
    PSPDropout,
    PSPFilter,
    PSPPool2d,
    TimeFlatten,
)
from snn_temporal_plugins.neurons.relpsp import ReLPSPConv2d, ReLPSPLinear
from snn_temporal_plugins.neurons.rounding import rounded
from snn_temporal_plugins.neurons.shaping import (
    EarliestSpikePool2d,
    SilenceDropout,
    TickGrid,
)
from snn_temporal_plugins.neurons.spike_train import (
    RecurrentLIF,
    SpikeTrainConv2d,
    SpikeTrainLinear,
)
from snn_temporal_plugins.neurons.spike_train_pool import SpikeTrainPool2d

__all__ = [
    "ReLPSPLinear",
    "ReLPSPConv2d",
    "EarliestSpikePool2d",
    "SilenceDropout",
    "TickGrid",
    "IFLinear",
    "IFConv2d",
    "LIFLinear",
    "LIFConv2d",
    "PSPFilter",
    "PSPPool2d",
    "PSPDropout",
    "TimeFlatten",
    "SpikeTrainLinear",
    "SpikeTrainConv2d",
    "SpikeTrainPool2d",
    "RecurrentLIF",
    "build_network",
    "rounded",
]
