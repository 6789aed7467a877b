"""NIR files from strangers: read whole and within limits, or refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_temporal_plugins.export import hdf5_reader
from snn_temporal_plugins.export.errors import NirCode, NirError
from snn_temporal_plugins.export.nir_nodes import load_nir

if TYPE_CHECKING:
    import nir

__all__ = ["graph_tree", "read_tree"]

_SECONDS = 60.0


def read_tree(
    path: str | Path, *, max_bytes: int, seconds: float = _SECONDS
) -> dict[str, Any]:
    """Read a HDF5 file of numbers and words, in a process of its own.

    Args:
        path: the file.
        max_bytes: most bytes of the file, and of all that its arrays declare.
        seconds: after which the process is ended.

    Returns:
        The file as `hdf5_reader.read_hdf5` gives it.

    Raises:
        NirError: if the file is larger, is broken, or holds anything else.
        OSError: if there is no such file.
        ImportError: if nir is not installed.
    """
    load_nir()  # brings h5py
    with Path(path).open("rb") as file:  # once: what is checked is what is used
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise NirError(
            NirCode.SIZE,
            f"{path} has more than {max_bytes} bytes; if it is meant, give a larger "
            "max_bytes",
        )
    try:
        done = subprocess.run(
            [sys.executable, hdf5_reader.__file__, str(max_bytes)],
            input=data,
            capture_output=True,
            timeout=seconds,
            check=False,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
    except subprocess.TimeoutExpired:
        raise NirError(
            NirCode.NOT_NIR,
            f"{path} keeps HDF5 busy for more than {seconds:g} s; broken files can",
        ) from None
    if done.returncode == hdf5_reader.REFUSED:
        code, _, why = done.stderr.decode("utf-8", "replace").partition(" ")
        raise NirError(NirCode[code], why)
    if done.returncode:
        raise NirError(
            NirCode.NOT_NIR,
            f"{path} makes HDF5 fail with status {done.returncode}: "
            f"{done.stderr.decode('utf-8', 'replace')[-200:]}",
        )
    return hdf5_reader.unpack(done.stdout)


def graph_tree(graph: nir.NIRGraph) -> dict[str, Any]:
    """A graph as it would be read from a file that holds it.

    Args:
        graph: a graph of ours.
    """
    file = io.BytesIO()
    load_nir().write(file, graph)
    return hdf5_reader.read_hdf5(file.getvalue(), sys.maxsize)["node"]
