"""Running a NIR file of LIF layers in other libraries, on whole spike trains.

Measured with nir 1.0.8, nirtorch 2.6, Norse 1.1.0 and snnTorch 1.0.0: exact but for
rounding. The readers filter behind the weights, in float32, so a membrane within some
1e-6 of its threshold may decide otherwise. In a recurrent network such a spike goes
round, and the sample's later ones may differ. SpikingJelly 2.0.0 is not among the
readers: it refuses a LIF with tau_mem = 1, and rounds otherwise (17 of 9,600 bins
differed in a network whose potentials meet their thresholds).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.lif import output_filter
from snn_temporal_plugins.export.nir_hosts import load_in_norse, load_in_snntorch
from snn_temporal_plugins.export.nir_nodes import load_nir

if TYPE_CHECKING:
    import nir

__all__ = [
    "TRAIN_READERS",
    "output_spikes",
    "run_trains_in_norse",
    "run_trains_in_snntorch",
]


def run_trains_in_norse(path: str | Path, x: ArrayLike) -> NDArray[np.float32]:
    """Run a NIR file of LIF layers in Norse.

    Args:
        path: the file.
        x: what the network takes: spikes or currents `(time, batch, *input_shape)`,
            or, for direct encoding, a constant current `(batch, *input_shape)`.

    Returns:
        spikes of the last layer, `(time, batch, ...)`, 0 or 1, the readers' shift
        taken out.

    Raises:
        ExportError: if the file was not written from LIF layers, or x does not fit.
        ImportError: if Norse is not installed.
    """
    return _trains(load_in_norse, path, x)


def run_trains_in_snntorch(path: str | Path, x: ArrayLike) -> NDArray[np.float32]:
    """Run a NIR file of LIF layers in snnTorch; see `run_trains_in_norse`.

    Args:
        path: the file.
        x: what the network takes.

    Returns:
        spikes of the last layer, `(time, batch, ...)`, 0 or 1.

    Raises:
        ExportError: if the file was not written from LIF layers, or x does not fit.
        ImportError: if snnTorch is not installed.
    """
    return _trains(load_in_snntorch, path, x)


TRAIN_READERS: dict[str, Callable[[str | Path, ArrayLike], NDArray[np.float32]]] = {
    "Norse": run_trains_in_norse,
    "snnTorch": run_trains_in_snntorch,
}
"""Readers of spike-train networks."""


@torch.no_grad()
def _trains(
    load: Callable[[nir.NIRGraph], nn.Module], path: str | Path, x: ArrayLike
) -> NDArray[np.float32]:
    """Step an imported network through a train of spikes or currents."""
    graph = load_nir().read(path)
    if "rule" not in graph.metadata:
        raise ExportError(
            ExportCode.PARAMETER,
            f"{path} was not written from LIF layers; write it with write_nir(network, "
            "path), and run first-spike files by run_in_norse or run_in_snntorch",
        )
    wanted = tuple(int(n) for n in graph.nodes["input"].input_type["input"])
    num_steps = graph.metadata.get("num_steps")
    axes = ("time", "batch") if num_steps is None else ("batch",)
    train = torch.from_numpy(np.asarray(x).astype(np.float32))  # a copy, writable
    if train.shape[len(axes) :] != wanted:
        raise ExportError(
            ExportCode.INPUT_SHAPE,
            f"x has shape {tuple(train.shape)}; {path} wants ({', '.join(axes)}, "
            f"{', '.join(map(str, wanted))})",
        )
    if num_steps is not None:
        train = train.expand(int(num_steps), *train.shape)
    network = load(graph)
    state = None
    spikes = []
    for step in train:
        output, state = network(step, state)
        spikes.append(output)
    shift = min(int(graph.metadata.get("shift", 0)), len(spikes))
    late = [torch.zeros_like(output)] * shift
    return torch.stack(late + spikes[: len(spikes) - shift]).numpy()


@torch.no_grad()
def output_spikes(network: nn.Module, x: ArrayLike) -> NDArray[np.float32]:
    """Spikes of the last layer of a network of LIF layers, `(time, batch, ...)`."""
    network = copy.deepcopy(network).eval()  # without dropout
    like = next(network.parameters(), torch.zeros(()))  # pools have no parameters
    output = network(torch.from_numpy(np.asarray(x).copy()).to(like))
    if isinstance(output, tuple):  # with the host's state or PSPs behind
        output = output[0]
    tau = output_filter(network)
    if tau is not None:  # s[t] = tau a[t] - (tau - 1) a[t-1]
        before = torch.cat([torch.zeros_like(output[:1]), output[:-1]])
        output = (tau * output - (tau - 1) * before > 0.5).float()
    return output.cpu().numpy()
