"""Reading a NIR file back with other libraries, and comparing every spike.

Networks of first spikes (NIR-ReLPSP/1 and NIR-IF/1): dense layers, convolutions and
earliest-spike pooling are exact in all of them; `results/nir_conformance.json` has the
versions. Networks of spike trains: see train_readers.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from snn_temporal_plugins.export.bundle.emulate import emulate
from snn_temporal_plugins.export.bundle.integer import SILENT, IntegerNetwork
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.nir_first_spikes import ENCODINGS
from snn_temporal_plugins.export.nir_hosts import (
    load_in_norse,
    load_in_snntorch,
    load_in_spikingjelly,
)
from snn_temporal_plugins.export.nir_nodes import load_nir
from snn_temporal_plugins.export.train_readers import TRAIN_READERS, output_spikes

if TYPE_CHECKING:
    import nir

__all__ = [
    "READERS",
    "NirCheck",
    "check_nir",
    "run_in_norse",
    "run_in_snntorch",
    "run_in_spikingjelly",
]


@dataclass(frozen=True)
class NirCheck:
    """What one reader made of a NIR file.

    Attributes:
        reader: name of the library.
        compared: number of first spikes compared, silent ones included, or for LIF
            layers number of bins: neurons times steps times samples.
        different: how many of them differ from the network's own.
    """

    reader: str
    compared: int
    different: int


def run_in_norse(path: str | Path, input_ticks: ArrayLike) -> NDArray[np.int32]:
    """Run a NIR file of first spikes in Norse.

    Args:
        path: the file.
        input_ticks: `(batch, *input_shape)` integers, `SILENT` (65535) for none.

    Returns:
        `(batch, out)` first-spike ticks on the grid of the integer network, the
        readers' shift taken out; `SILENT` where none came.

    Raises:
        ExportError: if the file is in no encoding of first spikes.
        ImportError: if Norse is not installed.
    """
    return _first_spikes(load_in_norse, path, input_ticks)


def run_in_snntorch(path: str | Path, input_ticks: ArrayLike) -> NDArray[np.int32]:
    """Run a NIR file of first spikes in snnTorch; see `run_in_norse`.

    Args:
        path: the file.
        input_ticks: `(batch, *input_shape)` integers, `SILENT` (65535) for none.

    Returns:
        `(batch, out)` first-spike ticks, `SILENT` where none came.

    Raises:
        ExportError: if the file is in no encoding of first spikes.
        ImportError: if snnTorch is not installed.
    """
    return _first_spikes(load_in_snntorch, path, input_ticks)


def run_in_spikingjelly(path: str | Path, input_ticks: ArrayLike) -> NDArray[np.int32]:
    """Run a NIR file of first spikes in SpikingJelly; see `run_in_norse`.

    Args:
        path: the file.
        input_ticks: `(batch, *input_shape)` integers, `SILENT` (65535) for none.

    Returns:
        `(batch, out)` first-spike ticks, `SILENT` where none came.

    Raises:
        ExportError: if the file is in no encoding of first spikes.
        ImportError: if SpikingJelly is not installed.
    """
    return _first_spikes(load_in_spikingjelly, path, input_ticks)


READERS: dict[str, Callable[[str | Path, ArrayLike], NDArray[np.int32]]] = {
    "Norse": run_in_norse,
    "snnTorch": run_in_snntorch,
    "SpikingJelly": run_in_spikingjelly,
}
"""Readers of first-spike networks."""


def check_nir(
    path: str | Path, network: IntegerNetwork | nn.Module, x: ArrayLike
) -> tuple[NirCheck, ...]:
    """Read a NIR file back with every installed reader and compare all output spikes.

    Args:
        path: a file that `write_nir` wrote.
        network: the network that it was written from.
        x: its input. For an integer network first-spike ticks `(batch, *input_shape)`,
            `SILENT` (65535) for none; for LIF layers what the network takes.

    Returns:
        One result per reader that is installed; `different` is 0 for a good file, and
        for LIF layers almost 0 where potentials come within rounding of a threshold; in
        a recurrent network such a spike may change later ones of its sample.

    Raises:
        ImportError: if no reader is installed.
    """
    wanted: NDArray
    readers: Mapping[str, Callable[[str | Path, ArrayLike], NDArray]]
    if isinstance(network, IntegerNetwork):
        wanted, readers = emulate(network, x).output_ticks, READERS
    else:
        wanted, readers = output_spikes(network, x), TRAIN_READERS
    checks = []
    for name, run in readers.items():
        try:
            got = run(path, x)
        except ImportError as error:
            missing = error
            continue
        checks.append(NirCheck(name, wanted.size, int((got != wanted).sum())))
    if not checks:
        raise missing
    return tuple(checks)


@torch.no_grad()
def _first_spikes(
    load: Callable[[nir.NIRGraph], nn.Module], path: str | Path, input_ticks: ArrayLike
) -> NDArray[np.int32]:
    """Step an imported network through all ticks; time by time, to keep memory small.

    A layer of ramps fires one tick early, so a spike past the horizon could show inside
    it; it is cut after the shift. Such a spike of a hidden layer only acts past the
    horizon.
    """
    graph = load_nir().read(path)
    encoding = graph.metadata.get("encoding")
    if encoding not in ENCODINGS.values():
        raise ExportError(
            ExportCode.PARAMETER,
            f"{path} has encoding {encoding!r}; allowed: "
            f"{', '.join(ENCODINGS.values())}",
        )
    num_ticks, shift = int(graph.metadata["num_ticks"]), int(graph.metadata["shift"])
    network = load(graph)
    ticks = torch.as_tensor(np.asarray(input_ticks))
    outputs = (int(n) for n in graph.nodes["output"].output_type["output"])
    first = torch.full((len(ticks), *outputs), SILENT, dtype=torch.int32)
    state = None
    for tick in range(num_ticks - shift):
        output, state = network((ticks == tick).float(), state)
        first[(output > 0) & (first == SILENT)] = tick + shift
    return first.numpy()
