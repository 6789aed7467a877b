"""ReL-PSP, integrate-and-fire and LIF layers and neurons in Norse's manners.

All of them stand in `SequentialState` beside Norse's own. Window form: layers that take
and give whole trains (time, batch, ...).

ReL-PSP neurons spike once. Window form: `ReLPSPLinear`, `ReLPSPConv2d`,
`EarliestSpikePool2d`; step form: `relpsp_feed_forward_step`, the cell `ReLPSPCell` and
the time-major `ReLPSP`.

    from snn_temporal_plugins.adapters import norse as tnorse

    net = norse.torch.SequentialState(
        tnorse.LatencyEncoder(100),
        tnorse.ReLPSPLinear(64, 100, dt=0.02),
        tnorse.ReLPSPLinear(100, 10, dt=0.02),
        tnorse.SpikesToTimesDecoder(dt=0.02),
    )
    times, _ = net(images)                          # (1, batch, 10), inf = silent
    loss = tnorse.ttfs_cross_entropy(times[0], labels)

Integrate-and-fire neurons spike once too, on whole ticks and without delay, and learn
by SSTDP. Window form: `IFLinear`, `IFConv2d`; step form: `if_feed_forward_step`,
`IFCell` and `IF`. Take the paper's loss on the spike times that the last layer gives
as its state: it wakes silent outputs, while under `ttfs_cross_entropy` outputs tie or
fall silent (64-128-10 on digits: 60 % at best, not 92 %):

    net = norse.torch.SequentialState(
        tnorse.LatencyEncoder(100, window=99),
        tnorse.IFLinear(64, 100), tnorse.IFLinear(100, 10),
    )
    _, states = net(images)
    times = states[-1].spike_times
    target = snn_temporal_plugins.first_target(times, labels, t_max=100)
    loss = snn_temporal_plugins.squared_time_loss(times, target, t_max=100)

LIF neurons spike as often as they like and learn by TSSL-BP: `LIFLinear`, `LIFConv2d`.
They go on from the state that the window before has left. A pool or dropout of spikes
gives other values than 0 and 1, so the layer behind it says `graded=True`:

    net = norse.torch.SequentialState(
        tnorse.LIFConv2d(1, 12, 5, num_steps=5),           # images (batch, 1, 8, 8)
        tnorse.PSPPool2d(2), nn.Flatten(2),
        tnorse.LIFLinear(48, 10, graded=True),
        tnorse.PSPFilter(),
    )
    psp, states = net(images)                              # (5, batch, 10)
    loss = snn_temporal_plugins.kernel_loss(psp, labels)

LIF neurons with delayed synapses, recurrent ones too, learn by ST-RSBP from their spike
counts: `SpikeTrainLinear`, `SpikeTrainConv2d`, `RecurrentLIF`; `SpikeTrainPool2d` pools
spikes. An output layer has lateral inhibition, and in training it may be told the
labels. `layer.step` is the same layer for a loop over steps, without learning:

    p = tnorse.SpikeTrainParameters(v_th=5.0)
    hidden = norse.torch.SequentialState(
        tnorse.SpikeTrainLinear(64, 64, p), tnorse.RecurrentLIF(64, 64, p)
    )
    last = tnorse.SpikeTrainLinear(64, 10, p, lateral=1.0)
    z, states = hidden(spikes)                             # spikes (400, batch, 64)
    z, state = last(z, label=labels)
    loss = snn_temporal_plugins.spike_count_loss(z, labels)

`method` names the learning rule as `LIFParameters(method="adjoint")` does. `register()`
puts the names into `norse.torch` and lets Norse's own neurons learn by the surrogate of
TSSL-BP: `LIFParameters(method="tssl_bp", alpha=0.2)`, where alpha is its width.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from snn_temporal_plugins.adapters.lif_window import LIFWindowState
from snn_temporal_plugins.adapters.nir import export_with_plugins
from snn_temporal_plugins.adapters.norse_host import threshold_changes
from snn_temporal_plugins.adapters.norse_if import IFConv2d, IFLinear, IFParameters
from snn_temporal_plugins.adapters.norse_lif import (
    LIFConv2d,
    LIFLinear,
    LIFWindowParameters,
    PSPFilter,
)
from snn_temporal_plugins.adapters.norse_spike_train import (
    RecurrentLIF,
    SpikeTrainConv2d,
    SpikeTrainLinear,
    SpikeTrainParameters,
    SpikeTrainPool2d,
)
from snn_temporal_plugins.adapters.norse_step import (
    IF,
    IFCell,
    ReLPSP,
    ReLPSPCell,
    host,
    if_feed_forward_step,
    relpsp_feed_forward_step,
)
from snn_temporal_plugins.adapters.norse_window import (
    LatencyEncoder,
    ReLPSPConv2d,
    ReLPSPLinear,
    ReLPSPParameters,
    SpikesToTimesDecoder,
)
from snn_temporal_plugins.adapters.registration import Change, Registration
from snn_temporal_plugins.adapters.window import EarliestSpikePool2d, SpikeTimes
from snn_temporal_plugins.functional.decoding import first_spike_class
from snn_temporal_plugins.functional.integrate_fire import IFState
from snn_temporal_plugins.functional.loss import ttfs_cross_entropy
from snn_temporal_plugins.functional.relpsp import ReLPSPState
from snn_temporal_plugins.neurons import PSPDropout, PSPPool2d
from snn_temporal_plugins.rules import SpikeTrainState

__all__ = [
    "ReLPSPParameters",
    "ReLPSPState",
    "relpsp_feed_forward_step",
    "ReLPSPCell",
    "ReLPSP",
    "ReLPSPLinear",
    "ReLPSPConv2d",
    "IFParameters",
    "IFState",
    "if_feed_forward_step",
    "IFCell",
    "IF",
    "IFLinear",
    "IFConv2d",
    "EarliestSpikePool2d",
    "SpikeTimes",
    "LatencyEncoder",
    "SpikesToTimesDecoder",
    "LIFWindowParameters",
    "LIFWindowState",
    "LIFLinear",
    "LIFConv2d",
    "PSPPool2d",
    "PSPDropout",
    "PSPFilter",
    "SpikeTrainParameters",
    "SpikeTrainState",
    "SpikeTrainLinear",
    "SpikeTrainConv2d",
    "SpikeTrainPool2d",
    "RecurrentLIF",
    "ttfs_cross_entropy",
    "first_spike_class",
    "register",
    "unregister",
]


_OURS = (
    ReLPSPCell,
    ReLPSP,
    ReLPSPLinear,
    ReLPSPConv2d,
    IFCell,
    IF,
    IFLinear,
    IFConv2d,
    EarliestSpikePool2d,
    LIFLinear,
    LIFConv2d,
    PSPPool2d,
    PSPDropout,
    PSPFilter,
    SpikeTrainLinear,
    SpikeTrainConv2d,
    SpikeTrainPool2d,
    RecurrentLIF,
)
_BESIDE = (
    ReLPSPParameters,
    ReLPSPState,
    relpsp_feed_forward_step,
    IFParameters,
    IFState,
    if_feed_forward_step,
    LatencyEncoder,
    LIFWindowParameters,
    LIFWindowState,
    SpikeTrainParameters,
    SpikeTrainState,
)
_registration = Registration()


def register() -> AbstractContextManager[Any]:
    """Make Norse know the plugins, until `unregister()` or the end of a `with`.

    `norse.torch.ReLPSP...`, `.IF...`, `.LIFLinear`, `.RecurrentLIF` and the other names
    appear; the method "tssl_bp" of `threshold` exists in every neuron of Norse;
    `norse.torch.to_nir` exports networks that hold plugins. Norse's
    `SpikesToTimesDecoder` keeps its name; ours stays in this module. Registering twice
    is the same as once.

    Returns:
        A context manager that undoes this call.

    Raises:
        ValueError: Norse already has one of the names.
    """
    export = export_with_plugins(host.to_nir, _OURS)
    return _registration.register(
        [
            *(Change(host, ours.__name__, ours) for ours in (*_OURS, *_BESIDE)),
            *threshold_changes(),
            Change(host, "to_nir", export, replaces=True),
        ]
    )


def unregister() -> None:
    """Put Norse back exactly as it was before `register()`."""
    _registration.unregister()
