"""Reading a NIR-ReLPSP/1 file back with other libraries, and comparing every spike.

Measured with nir 1.0.8, nirtorch 2.6, Norse 1.1.0 and snnTorch 1.0.0: dense layers,
convolutions and earliest-spike pooling are exact in both.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from snn_temporal_plugins.export.bundle.emulate import emulate
from snn_temporal_plugins.export.bundle.integer import SILENT, IntegerNetwork
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.nir import ENCODING, NIR_DT

__all__ = ["NirCheck", "check_nir", "run_in_norse", "run_in_snntorch"]


@dataclass(frozen=True)
class NirCheck:
    """What one reader made of a NIR file.

    Attributes:
        reader: name of the library.
        compared: number of first spikes compared, silent ones included.
        different: how many of them differ from the integer emulator.
    """

    reader: str
    compared: int
    different: int


def run_in_norse(path: str | Path, input_ticks: ArrayLike) -> NDArray[np.int32]:
    """Run a NIR-ReLPSP/1 file in Norse.

    Args:
        path: the file.
        input_ticks: `(batch, *input_shape)` integers, `SILENT` (65535) for none.

    Returns:
        `(batch, out)` first-spike ticks on the grid of the integer network, the
        readers' shift taken out; `SILENT` where none came.

    Raises:
        ExportError: if the file is not in this encoding.
        ImportError: if Norse is not installed.
    """
    graph, num_ticks, shift = _read(path)
    try:
        from norse.torch import from_nir
    except ImportError as error:
        raise ImportError(
            "reading NIR with Norse needs it: pip install --no-deps norse, then "
            'pip install "snn-temporal-plugins[nir]"'
        ) from error
    with warnings.catch_warnings():
        # Norse 1.1.0 reads by nirtorch.load, which nirtorch calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        network = from_nir(graph, dt=NIR_DT)
    return _first_spikes(network, input_ticks, num_ticks, shift)


def run_in_snntorch(path: str | Path, input_ticks: ArrayLike) -> NDArray[np.int32]:
    """Run a NIR-ReLPSP/1 file in snnTorch; see `run_in_norse`.

    Args:
        path: the file.
        input_ticks: `(batch, *input_shape)` integers, `SILENT` (65535) for none.

    Returns:
        `(batch, out)` first-spike ticks, `SILENT` where none came.

    Raises:
        ExportError: if the file is not in this encoding.
        ImportError: if snnTorch is not installed.
    """
    graph, num_ticks, shift = _read(path)
    try:
        from snntorch.import_nir import import_from_nir
    except ImportError as error:
        raise ImportError(
            'reading NIR with snnTorch needs: pip install "snn-temporal-plugins'
            '[snntorch,nir]"'
        ) from error
    with contextlib.redirect_stdout(io.StringIO()):  # the importer prints
        network = import_from_nir(graph)
    return _first_spikes(network, input_ticks, num_ticks, shift)


READERS: dict[str, Callable[[str | Path, ArrayLike], NDArray[np.int32]]] = {
    "Norse": run_in_norse,
    "snnTorch": run_in_snntorch,
}


def check_nir(
    path: str | Path, network: IntegerNetwork, input_ticks: ArrayLike
) -> tuple[NirCheck, ...]:
    """Read a NIR file back with every reader and compare each output's first spike.

    Args:
        path: a file that `write_nir` wrote.
        network: the integer network that it was written from.
        input_ticks: `(batch, *input_shape)` integers, `SILENT` (65535) for none.

    Returns:
        One result per reader; `different` is 0 for a good file.
    """
    wanted = emulate(network, input_ticks).output_ticks
    return tuple(
        NirCheck(name, wanted.size, int((run(path, input_ticks) != wanted).sum()))
        for name, run in READERS.items()
    )


def _read(path: str | Path) -> tuple[Any, int, int]:
    """A fresh graph with its number of ticks and its shift."""
    try:
        import nir
    except ImportError as error:
        raise ImportError(
            'reading NIR needs nir: pip install "snn-temporal-plugins[nir]"'
        ) from error
    graph = nir.read(path)
    encoding = graph.metadata.get("encoding")
    if encoding != ENCODING:
        raise ExportError(
            ExportCode.PARAMETER,
            f"{path} has encoding {encoding!r}; allowed: {ENCODING!r}",
        )
    return graph, int(graph.metadata["num_ticks"]), int(graph.metadata["shift"])


@torch.no_grad()
def _first_spikes(
    network: torch.nn.Module, input_ticks: ArrayLike, num_ticks: int, shift: int
) -> NDArray[np.int32]:
    """Step an imported network through all ticks; time by time, to keep memory small.

    A layer fires one tick early, so a spike past the horizon could show inside it; it
    is cut after the shift. Such a spike of a hidden layer only acts past the horizon.
    """
    ticks = torch.as_tensor(np.asarray(input_ticks))
    first = None
    state = None
    for tick in range(num_ticks - shift):
        spikes = (ticks == tick).float()
        output, state = network(spikes, state)
        if first is None:
            first = torch.full(output.shape, SILENT, dtype=torch.int32)
        first[(output > 0) & (first == SILENT)] = tick + shift
    if first is None:
        raise ExportError(
            ExportCode.PARAMETER,
            f"{num_ticks} ticks are fewer than the {shift} layers; use more ticks",
        )
    return first.numpy()
