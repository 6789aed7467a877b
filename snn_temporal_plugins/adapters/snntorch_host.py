"""What snnTorch's own functions do while the plugins are registered.

snnTorch 1.0 resets, checks and exports by fixed lists of its own classes. Each
function here does the host's work for the host's modules and ours for ours.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from torch import nn

from snn_temporal_plugins.adapters.nir import export_with_plugins
from snn_temporal_plugins.adapters.registration import Change

# Set by `snntorch.utils.reset` and read by `snntorch.backprop`.
_FLAGS = (
    "is_alpha",
    "is_leaky",
    "is_linearleaky",
    "is_lapicque",
    "is_rleaky",
    "is_synaptic",
    "is_rsynaptic",
    "is_sconv2dlstm",
    "is_slstm",
)


def reset(net: nn.Module) -> None:
    """Reset every neuron of a network, stock or ours, however deeply nested.

    Calls `reset_mem()` of each module that has one. Unlike `snntorch.utils.reset` of
    snnTorch 1.0 it leaves other networks alone.

    Args:
        net: the network; call this before each new sequence.
    """
    for module in net.modules():
        reset_mem = getattr(module, "reset_mem", None)
        if callable(reset_mem):
            reset_mem()


def host_changes(utils: ModuleType, ours: tuple[type, ...]) -> list[Change]:
    """Return the functions that stand in the place of snnTorch's.

    Args:
        utils: `snntorch.utils`.
        ours: classes of the adapter.

    Returns:
        The changes to `snntorch.utils` and, where nir is installed,
        `snntorch.export_nir`.
    """
    changes = [
        Change(utils, "reset", _reset(utils), replaces=True),
        Change(
            utils,
            "_final_layer_check",
            _final_layer_check(utils._final_layer_check, ours),
            replaces=True,
        ),
    ]
    try:
        from snntorch import export_nir
    except ImportError:  # nir is not installed: there is no export to extend
        return changes
    export = export_with_plugins(export_nir.export_to_nir, ours)
    return [*changes, Change(export_nir, "export_to_nir", export, replaces=True)]


def _reset(utils: ModuleType) -> Callable[[nn.Module], None]:
    def reset_registered(net: nn.Module) -> None:
        """Reset every neuron of a network, stock or plugin, and no other network."""
        if hasattr(utils, "_layer_check"):  # sets the flags of the classes it finds
            for flag in _FLAGS:
                setattr(utils, flag, False)
            utils._layer_check(net)
        reset(net)

    return reset_registered


def _final_layer_check(
    host: Callable[[nn.Module], int], ours: tuple[type, ...]
) -> Callable[[nn.Module], int]:
    def final_layer_check(net: nn.Module) -> int:
        """Return how many values the last layer gives: (spk, mem) for a plugin."""
        return 2 if isinstance([*net.children()][-1], ours) else host(net)

    return final_layer_check
