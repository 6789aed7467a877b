"""NIR files of trained networks; what kind a network is decides how it is written.

| network | nodes | module |
|---|---|---|
| first spikes, rounded | NIR-ReLPSP/1 or NIR-IF/1 | `nir_first_spikes.py` |
| spike trains (LIF) | Linear, Conv2d, CubaLIF, nested if recurrent | `nir_lif.py` |

Networks of first spikes are rounded by `quantise_uniform` before. `nir_import.py` reads
either kind back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from snn_temporal_plugins.export.bundle.emulate import emulate
from snn_temporal_plugins.export.bundle.integer import IntegerNetwork
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.lif import flatten_lif_network
from snn_temporal_plugins.export.nir_first_spikes import first_spike_graph
from snn_temporal_plugins.export.nir_lif import lif_graph
from snn_temporal_plugins.export.nir_nodes import NIR_DT, load_nir

if TYPE_CHECKING:
    import nir

__all__ = ["to_nir", "write_nir", "write_nir_data"]


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
    _write_whole(
        Path(path),
        overwrite,
        lambda: to_nir(network, input_shape=input_shape),
        load_nir().write,
    )


def write_nir_data(
    network: IntegerNetwork,
    input_ticks: ArrayLike,
    path: str | Path,
    *,
    overwrite: bool = False,
) -> None:
    """Write golden spikes beside a NIR file, in NIR's own format for data.

    Args:
        network: the network of the NIR file.
        input_ticks: a few samples `(batch, *input_shape)`, first-spike ticks, `SILENT`
            (65535) for none.
        path: the file, by custom `*.nirdata.h5`. `nir.read_data` gives, for the input
            and each node with neurons, `spikes` of `(batch, num_ticks, neurons)`,
            neurons in row-major order, on the grid of the integer network: readers of
            ramps are one tick earlier per layer.
        overwrite: replace an existing file, once the new one is complete.

    Raises:
        ExportError: if NIR cannot hold the network, or the file exists.
        ValueError: if the ticks are none of the network's.
        ImportError: if nir is not installed, or older than 1.0.8.
    """
    nir = load_nir()
    if not hasattr(nir, "write_data"):
        raise ImportError("golden spikes need a later nir: pip install 'nir>=1.0.8'")

    def data() -> object:
        names = [name for name in to_nir(network).nodes if name.endswith("c_fire")]
        emulation = emulate(network, input_ticks)
        ticks = [emulation.input_ticks, *emulation.layer_ticks]
        nodes = {}
        for name, first in zip(["input", *names], ticks, strict=True):
            rows = first.reshape(len(first), 1, -1)
            spikes = rows == np.arange(network.num_ticks)[:, None]
            observed = {"spikes": nir.TimeGriddedData(spikes, NIR_DT)}
            nodes[name] = nir.NIRNodeData(observed)
        return nir.NIRGraphData(nodes)

    _write_whole(Path(path), overwrite, data, nir.write_data)


def _write_whole(
    target: Path,
    overwrite: bool,
    make: Callable[[], object],
    write: Callable[[Path, object], None],
) -> None:
    """Write what is made, or leave what is there."""
    if target.exists() and not overwrite:
        raise ExportError(
            ExportCode.FILE_EXISTS,
            f"{target} exists; choose another name, or give overwrite=True",
        )
    thing = make()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        write(temporary, thing)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
