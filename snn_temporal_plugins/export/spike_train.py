"""One layer that learns by ST-RSBP as a plain layer, or a refusal.

The neuron is that of TSSL-BP (lif.py), W (eps * s) = q / tau_syn, with every spike one
step later and a threshold that counts as crossed from v_th - 1e-6 on. Lateral
inhibition of an output layer is a recurrent weight like any other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import (
    ConvLayer,
    DenseLayer,
    LIFLayer,
    SpikingPoolLayer,
)
from snn_temporal_plugins.export.spiking import check_numbers, to_array
from snn_temporal_plugins.kernels.st_rsbp import TOLERANCE
from snn_temporal_plugins.neurons import (
    RecurrentLIF,
    SpikeTrainConv2d,
    SpikeTrainLinear,
    SpikeTrainPool2d,
)

__all__ = ["SPIKE_TRAIN", "is_recurrent", "spike_train_layer"]

SPIKE_TRAIN = (SpikeTrainLinear, SpikeTrainConv2d, RecurrentLIF, SpikeTrainPool2d)
"""Core layers that learn by ST-RSBP, and its pools."""

_Layer = SpikeTrainLinear | SpikeTrainConv2d | RecurrentLIF | SpikeTrainPool2d


def is_recurrent(core: object) -> bool:
    """Return whether neurons of a layer act on each other."""
    return isinstance(core, RecurrentLIF) or (
        isinstance(core, SpikeTrainLinear) and core.settings["lateral"] > 0
    )


def spike_train_layer(label: str, core: _Layer) -> LIFLayer:
    """Copy one layer out of torch, checked.

    Args:
        label: name of the layer, for the error.
        core: the layer.

    Raises:
        ExportError: for a refractory time, and for numbers that are none.
    """
    if core.refractory != 0:
        raise ExportError(
            ExportCode.REFRACTORY,
            f"{label} has refractory={core.refractory}, but no node of NIR keeps a "
            "membrane at 0 after a spike; allowed: 0. Train with that",
        )
    geometry = _geometry(label, core)
    return LIFLayer(
        geometry,
        core.tau_syn,
        core.tau_mem,
        recurrent=_recurrent_weight(label, core, geometry.v_th),
        delay=1,
    )


def _geometry(label: str, core: _Layer) -> DenseLayer | ConvLayer | SpikingPoolLayer:
    """Weights, thresholds and strides of a layer."""
    weight = np.ones(1) if isinstance(core, SpikeTrainPool2d) else to_array(core.weight)
    v_th = np.full(len(weight), core.v_th - TOLERANCE)
    check_numbers(label, weight, v_th)
    if isinstance(core, SpikeTrainPool2d):
        return SpikingPoolLayer(core.kernel_size, core.kernel_size, 0, v_th)
    if isinstance(core, SpikeTrainConv2d):
        return ConvLayer(weight, v_th, core.stride, core.padding)
    return DenseLayer(weight, v_th)


def _recurrent_weight(
    label: str,
    core: _Layer,
    v_th: NDArray[np.float64],
) -> NDArray[np.float64] | None:
    """Weights of the layer's own spikes, `(out, out)`."""
    if not is_recurrent(core):
        return None
    if isinstance(core, RecurrentLIF):
        weight = to_array(core.recurrent_weight)
        check_numbers(label, weight, v_th)
        return weight
    return core.settings["lateral"] * (np.eye(len(v_th)) - 1)
