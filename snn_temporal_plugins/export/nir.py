"""NIR files of trained networks; what kind a network is decides how it is written.

| network | nodes | module |
|---|---|---|
| first spikes, rounded | NIR-ReLPSP/1 or NIR-IF/1 | `nir_first_spikes.py` |
| spike trains (LIF) | Linear, Conv2d, CubaLIF, nested if recurrent | `nir_lif.py` |

Networks of first spikes are rounded by `quantise_uniform` before.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from snn_temporal_plugins.export.bundle.integer import IntegerNetwork
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.lif import flatten_lif_network
from snn_temporal_plugins.export.nir_first_spikes import first_spike_graph
from snn_temporal_plugins.export.nir_lif import lif_graph
from snn_temporal_plugins.export.nir_nodes import load_nir

if TYPE_CHECKING:
    import nir

__all__ = ["to_nir", "write_nir"]


def to_nir(
    network: IntegerNetwork | nn.Module, *, input_shape: tuple[int, ...] | None = None
) -> nir.NIRGraph:
    """Express a network in NIR.

    Args:
        network: a network of first spikes from `quantise_uniform`, or an
            `nn.Sequential` of LIF layers as it was trained.
        input_shape: for LIF layers: shape of one sample in one step; only needed when
            the network has no attribute `input_shape` and starts with a convolution
            or a pool.

    Returns:
        The graph. Its metadata holds the time step `dt` in seconds that a reader must
        use, and what the encoding's module names.

    Raises:
        ExportError: if readers could not run the network.
        ImportError: if nir is not installed.
    """
    if isinstance(network, IntegerNetwork):
        return first_spike_graph(network)
    return lif_graph(flatten_lif_network(network, input_shape=input_shape))


def write_nir(
    network: IntegerNetwork | nn.Module,
    path: str | Path,
    *,
    input_shape: tuple[int, ...] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a NIR file, whole or not at all.

    Args:
        network: as in `to_nir`.
        path: the file, by custom `*.nir`.
        input_shape: as in `to_nir`.
        overwrite: replace an existing file, once the new one is complete.

    Raises:
        ExportError: if the network cannot be expressed, or the file exists.
        ImportError: if nir is not installed.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise ExportError(
            ExportCode.FILE_EXISTS,
            f"{target} exists; choose another name, or give overwrite=True",
        )
    graph = to_nir(network, input_shape=input_shape)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        load_nir().write(temporary, graph)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
