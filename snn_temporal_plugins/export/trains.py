"""What a bundle of first spikes refuses at the door: networks of spike trains."""

from __future__ import annotations

from torch import nn

from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.spike_train import SPIKE_TRAIN, is_recurrent
from snn_temporal_plugins.export.walk import leaves
from snn_temporal_plugins.neurons import (
    LIFConv2d,
    LIFLinear,
    PSPDropout,
    PSPFilter,
    PSPPool2d,
    TimeFlatten,
)

__all__ = ["refuse_trains"]

_TRAINS = (
    LIFLinear,
    LIFConv2d,
    PSPFilter,
    PSPPool2d,
    PSPDropout,
    TimeFlatten,
    *SPIKE_TRAIN,
)


def refuse_trains(network: nn.Module) -> None:
    """Raise if a network works on spike trains.

    Args:
        network: the network, of core layers or of adapters' layers.

    Raises:
        ExportError: if it does; RECURRENT if a layer's neurons act on each other,
            wherever it stands, else SPIKE_TRAIN.
    """
    found = [
        (f"layer {name!r} ({type(module).__name__})", core)
        for name, module in leaves(network)
        if isinstance(core := getattr(module, "core", module), _TRAINS)
    ]
    for label, core in found:
        if is_recurrent(core):
            raise ExportError(
                ExportCode.RECURRENT,
                f"{label} is recurrent: its neurons act on each other, and a bundle "
                "holds layers that feed forward and whose neurons fire at most once. "
                "Write NIR instead: write_nir(network, path)",
            )
    for label, _ in found:
        raise ExportError(
            ExportCode.SPIKE_TRAIN,
            f"{label} works on spike trains: its neurons leak and fire many times, "
            "and a bundle holds neurons that do not leak and fire at most once. Write "
            "NIR instead: write_nir(network, path)",
        )
