"""ReL-PSP, integrate-and-fire and LIF layers and neurons in snnTorch's manners.

Window form: layers that take and give whole trains (time, batch, ...), like
`snn.LinearLeaky`.

ReL-PSP neurons spike once: `ReLPSPLinear`, `ReLPSPConv2d`, `EarliestSpikePool2d`, and
in step form `ReLPSP`, which stands in the place of `snn.Leaky` in a loop over ticks.
Both forms compute the same spikes and learn from spike timing, so use a loss on
first-spike times (`ce_ttfs_loss`, or snnTorch's `ce_temporal_loss`): a spike count does
not change when a spike moves.

    from snn_temporal_plugins.adapters import snntorch as tsnn

    net = nn.Sequential(tsnn.ReLPSPLinear(64, 100, dt=0.02, output=False),
                        tsnn.ReLPSPLinear(100, 10, dt=0.02, output=False))
    loss = tsnn.ce_ttfs_loss(dt=0.02)(net(tsnn.latency(images, 100)), labels)

Integrate-and-fire neurons spike once too, on whole ticks and without delay, and learn
by SSTDP: `IFLinear`, `IFConv2d`, and in step form `IF`. Take the paper's loss on the
spike times of the last layer: it wakes silent outputs, while under a cross-entropy of
the train outputs tie or fall silent (64-128-10 on digits: 60 % at best, not 92 %):

    hidden, last = tsnn.IFLinear(64, 100, output=False), tsnn.IFLinear(100, 10)
    _, times = last(hidden(tsnn.latency(images, 100, window=99)))
    target = snn_temporal_plugins.first_target(times, labels, t_max=100)
    loss = snn_temporal_plugins.squared_time_loss(times, target, t_max=100)

LIF neurons spike as often as they like and learn by TSSL-BP: `LIFLinear`, `LIFConv2d`.
Stock neurons may stand before and behind them, with `surrogate.tssl_bp` if they are to
learn by its surrogate. A pool or dropout of spikes gives other values than 0 and 1, so
the layer behind it says `graded=True`:

    net = nn.Sequential(tsnn.LIFConv2d(1, 12, 5, num_steps=5, output=False),
                        tsnn.PSPPool2d(2), nn.Flatten(2),
                        tsnn.LIFLinear(48, 10, graded=True))
    spk, psp = net(images)                                 # images (batch, 1, 8, 8)
    loss = snn_temporal_plugins.kernel_loss(psp, labels)

LIF neurons with delayed synapses, recurrent ones too, learn by ST-RSBP from their spike
counts: `SpikeTrainLinear`, `SpikeTrainConv2d`, `RecurrentLIF`; `SpikeTrainPool2d` pools
spikes. An output layer has lateral inhibition, and in training it may be told the
labels. `layer.step` is the same layer for a loop over steps, without learning:

    hidden = nn.Sequential(tsnn.SpikeTrainLinear(64, 64, threshold=5, output=False),
                           tsnn.RecurrentLIF(64, 64, threshold=5, output=False))
    last = tsnn.SpikeTrainLinear(64, 10, threshold=5, lateral=1.0)
    spk, state = last(hidden(spikes), label=labels)        # spikes (400, batch, 64)
    loss = snn_temporal_plugins.spike_count_loss(spk, labels)

`register()` makes snnTorch itself know them; without it use `reset` of this module in
place of `snntorch.utils.reset`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from snn_temporal_plugins.adapters import surrogate
from snn_temporal_plugins.adapters.lif_window import LIFWindowState
from snn_temporal_plugins.adapters.registration import Change, Registration
from snn_temporal_plugins.adapters.snntorch_host import host_changes, reset
from snn_temporal_plugins.adapters.snntorch_if import IFConv2d, IFLinear
from snn_temporal_plugins.adapters.snntorch_lif import LIFConv2d, LIFLinear
from snn_temporal_plugins.adapters.snntorch_spike_train import (
    RecurrentLIF,
    SpikeTrainConv2d,
    SpikeTrainLinear,
    SpikeTrainPool2d,
)
from snn_temporal_plugins.adapters.snntorch_step import IF, ReLPSP, host, host_utils
from snn_temporal_plugins.adapters.snntorch_window import ReLPSPConv2d, ReLPSPLinear
from snn_temporal_plugins.adapters.trains import accuracy_ttfs, ce_ttfs_loss, latency
from snn_temporal_plugins.adapters.window import EarliestSpikePool2d
from snn_temporal_plugins.functional.integrate_fire import IFState
from snn_temporal_plugins.functional.relpsp import ReLPSPState
from snn_temporal_plugins.neurons import PSPDropout, PSPPool2d
from snn_temporal_plugins.rules import SpikeTrainState

__all__ = [
    "ReLPSP",
    "ReLPSPState",
    "ReLPSPLinear",
    "ReLPSPConv2d",
    "IF",
    "IFState",
    "IFLinear",
    "IFConv2d",
    "EarliestSpikePool2d",
    "LIFLinear",
    "LIFConv2d",
    "LIFWindowState",
    "PSPPool2d",
    "PSPDropout",
    "SpikeTrainLinear",
    "SpikeTrainConv2d",
    "SpikeTrainPool2d",
    "RecurrentLIF",
    "SpikeTrainState",
    "surrogate",
    "latency",
    "ce_ttfs_loss",
    "accuracy_ttfs",
    "reset",
    "register",
    "unregister",
]


_OURS = (
    ReLPSP,
    ReLPSPLinear,
    ReLPSPConv2d,
    IF,
    IFLinear,
    IFConv2d,
    EarliestSpikePool2d,
    LIFLinear,
    LIFConv2d,
    PSPPool2d,
    PSPDropout,
    SpikeTrainLinear,
    SpikeTrainConv2d,
    SpikeTrainPool2d,
    RecurrentLIF,
)
_registration = Registration()


def register() -> AbstractContextManager[Any]:
    """Make snnTorch know the plugins, until `unregister()` or the end of a `with`.

    `snntorch.ReLPSP`, `.IF`, `.LIFLinear` and the other modules appear, and
    `snntorch.surrogate.tssl_bp`; `snntorch.utils.reset` resets them (and stock neurons,
    nested ones too, of this network only); `snntorch.backprop.BPTT` runs with those in
    step form; `snntorch.export_nir.export_to_nir` exports networks that hold them.
    Registering twice is the same as once.

    Returns:
        A context manager that undoes this call.

    Raises:
        ValueError: snnTorch already has one of the names.
    """
    names = [Change(host, ours.__name__, ours) for ours in _OURS]
    names.append(Change(host.surrogate, "tssl_bp", surrogate.tssl_bp))
    return _registration.register([*names, *host_changes(host_utils, _OURS)])


def unregister() -> None:
    """Put snnTorch back exactly as it was before `register()`."""
    _registration.unregister()
