"""The hosts' own importers: a graph becomes `(x, state) -> (spikes, state)`."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING

from torch import nn

from snn_temporal_plugins.export.nir_nodes import NIR_DT

if TYPE_CHECKING:
    import nir

__all__ = ["load_in_norse", "load_in_snntorch", "load_in_spikingjelly"]


def load_in_norse(graph: nir.NIRGraph) -> nn.Module:
    """Return the graph as a module of Norse, or say how to get Norse."""
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
        return from_nir(graph, dt=NIR_DT)


def load_in_snntorch(graph: nir.NIRGraph) -> nn.Module:
    """Return the graph as a module of snnTorch, or say how to get snnTorch."""
    try:
        from snntorch.import_nir import import_from_nir
    except ImportError as error:
        raise ImportError(
            'reading NIR with snnTorch needs: pip install "snn-temporal-plugins'
            '[snntorch,nir]"'
        ) from error
    with contextlib.redirect_stdout(io.StringIO()):  # the importer prints
        return import_from_nir(graph)


def load_in_spikingjelly(graph: nir.NIRGraph) -> nn.Module:
    """Return the graph as a module of SpikingJelly, or say how to get SpikingJelly."""
    try:
        from spikingjelly.activation_based.nir_exchange.from_nir import import_from_nir
    except ImportError as error:
        raise ImportError(
            "reading NIR with SpikingJelly needs it: pip install --no-deps "
            'spikingjelly loguru, then pip install "snn-temporal-plugins[nir]"'
        ) from error
    return import_from_nir(graph, dt=NIR_DT)
