"""NIR-ReLPSP/1: a ReL-PSP network in standard NIR nodes that readers run bit for bit.

Every spiking layer is a synapse (Linear or Conv2d) and a nested graph

    input -> lif -> output,   lif -> w_rec -> lif

with `lif` a CubaLIF whose two time constants are so long that current and potential
are plain sums in float32, and `w_rec = -B * identity` an inhibition that keeps a
neuron silent after its first spike (NIR has no spike-once). Earliest-spike pooling is
SumPool2d followed by the same nested graph around a LIF that any spike fires.

Readers let a spike act in the step in which it arrives, so each layer of neurons
answers one tick early; the metadata carries this shift. NIR holds no encoder, decoder
or quantisation: it is interchange, and the bundle is the deployment artefact.
"""

from __future__ import annotations

import secrets
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.integer import (
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    slope_reach,
)
from snn_temporal_plugins.export.bundle.quantise import FLOAT32_LIMIT
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import PoolLayer

if TYPE_CHECKING:
    import nir

__all__ = ["ENCODING", "NIR_DT", "to_nir", "write_nir"]

ENCODING = "NIR-ReLPSP/1"
NIR_DT = 1e-4
"""Time step in seconds that readers must use; snnTorch knows no other."""

_LONG = 2.0**30  # tau in time steps: both decays round to exactly 1 in float32
_LEAST_INHIBITION = 1 << 20


def to_nir(network: IntegerNetwork) -> nir.NIRGraph:
    """Express an integer network in NIR.

    Args:
        network: from `quantise_uniform`; one threshold per layer, potentials
            below 2**23.

    Returns:
        The graph; its metadata holds the encoding's name, `dt`, `num_ticks`,
        `tick` and `shift` (ticks to add to a reader's output times: 1 per layer
        of neurons).

    Raises:
        ExportError: if the network is not of this kind, or a pool is padded.
        ImportError: if nir is not installed.
    """
    nir = _nir()
    nodes: dict[str, Any] = {"input": nir.Input(np.array(network.input_shape))}
    shape = network.input_shape
    digits = len(str(len(network.layers)))
    for index, layer in enumerate(network.layers):
        # HDF5 sorts names, and readers run nodes in that order.
        name = f"l{index:0{digits}d}"
        if isinstance(layer, IntegerDense) and len(shape) > 1:
            # Counted from the end, so that a reader's batch axis does not matter.
            nodes[f"{name}a_flatten"] = nir.Flatten(
                {"input": np.array(shape)}, start_dim=-len(shape), end_dim=-1
            )
        if isinstance(layer, PoolLayer):
            nodes[f"{name}b_pool"] = _pool(nir, layer, index)
        else:
            nodes[f"{name}b_synapse"] = _synapse(nir, layer, shape)
        shape = network.shapes[index]
        nodes[f"{name}c_fire"] = _fire(nir, network, index)
    nodes["output"] = nir.Output(np.array(shape))
    names = list(nodes)
    spiking = sum(not isinstance(layer, PoolLayer) for layer in network.layers)
    return nir.NIRGraph(
        nodes=nodes,
        edges=list(pairwise(names)),
        metadata={
            "encoding": ENCODING,
            "dt": NIR_DT,
            "num_ticks": network.num_ticks,
            "tick": network.tick,
            "shift": spiking,
        },
    )


def write_nir(
    network: IntegerNetwork, path: str | Path, *, overwrite: bool = False
) -> None:
    """Write a NIR file, whole or not at all.

    Args:
        network: from `quantise_uniform`.
        path: the file, by custom `*.nir`.
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
    graph = to_nir(network)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        _nir().write(temporary, graph)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _nir() -> Any:
    try:
        import nir
    except ImportError as error:
        raise ImportError(
            'NIR export needs nir: pip install "snn-temporal-plugins[nir]"'
        ) from error
    return nir


def _synapse(
    nir: Any, layer: IntegerDense | IntegerConv, shape: tuple[int, ...]
) -> nir.NIRNode:
    """Weights as integers in float32, no bias: readers lose or invent a bias."""
    weight = layer.weight.astype(np.float32)
    if isinstance(layer, IntegerDense):
        return nir.Linear(weight)
    return _conv(nir, weight, shape[1:], layer.stride, layer.padding)


def _conv(
    nir: Any, weight: NDArray, size: tuple[int, ...], stride: int, padding: int
) -> nir.Conv2d:
    """Conv2d, whose bias array is mandatory in NIR."""
    return nir.Conv2d(
        input_shape=size,
        weight=weight,
        stride=(stride, stride),
        padding=(padding, padding),
        dilation=(1, 1),
        groups=1,
        bias=np.zeros(len(weight), dtype=np.float32),
    )


def _pool(nir: Any, layer: PoolLayer, index: int) -> nir.SumPool2d:
    if layer.padding:
        raise ExportError(
            ExportCode.GEOMETRY,
            f"layer {index} pools with padding {layer.padding}; NIR readers ignore the "
            "padding of SumPool2d, so only 0 is allowed",
        )
    return nir.SumPool2d(
        kernel_size=np.array([layer.kernel_size] * 2),
        stride=np.array([layer.stride] * 2),
        padding=np.array([0, 0]),
    )


def _fire(nir: Any, network: IntegerNetwork, index: int) -> nir.NIRGraph:
    """Neurons of one layer with their self-inhibition."""
    shape = network.shapes[index]
    layer = network.layers[index]
    ones = np.ones(shape, dtype=np.float32)
    inhibition = _LEAST_INHIBITION
    if isinstance(layer, PoolLayer):
        # r = 1 because Norse ignores r; a spike then lifts V by 2**-30.
        neuron = nir.LIF(
            tau=ones * (NIR_DT * _LONG),
            r=ones,
            v_leak=0 * ones,
            v_threshold=ones * (0.5 / _LONG),
            v_reset=0 * ones,
        )
    else:
        threshold = _uniform_threshold(layer, index, network.num_ticks)
        steepest = int(max(reach.max() for reach in slope_reach(layer.weight)))
        inhibition = max(inhibition, 2 << steepest.bit_length())
        neuron = nir.CubaLIF(
            tau_syn=ones * (NIR_DT * _LONG),
            tau_mem=ones * (NIR_DT * _LONG),
            r=ones * _LONG,
            w_in=ones * _LONG,
            v_leak=0 * ones,
            # Half a step below: readers that compare with > and with >= then agree.
            v_threshold=ones * (threshold - 0.5),
            v_reset=0 * ones,
        )
    loop = (-inhibition * np.eye(shape[0])).astype(np.float32)
    recurrent = (
        nir.Linear(loop)
        if len(shape) == 1
        else _conv(nir, loop[:, :, None, None], shape[1:], 1, 0)
    )
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array(shape)),
            "lif": neuron,
            "w_rec": recurrent,
            "output": nir.Output(np.array(shape)),
        },
        edges=[
            ("input", "lif"),
            ("lif", "w_rec"),
            ("w_rec", "lif"),
            ("lif", "output"),
        ],
    )


def _uniform_threshold(
    layer: IntegerDense | IntegerConv, index: int, num_ticks: int
) -> int:
    """The layer's one threshold, or a refusal if readers could not run it exactly."""
    thresholds = np.unique(layer.threshold)
    if len(thresholds) > 1:
        raise ExportError(
            ExportCode.THRESHOLD,
            f"layer {index} has {len(thresholds)} different thresholds, and NIR "
            "readers take one; make the integer network with quantise_uniform()",
        )
    rise, fall = slope_reach(layer.weight)
    threshold = int(thresholds[0])
    reach = max(threshold + int(rise.max()), num_ticks * int(fall.max()))
    if reach > FLOAT32_LIMIT:
        raise ExportError(
            ExportCode.WIDTH,
            f"potentials of layer {index} reach {reach}; allowed for float32 readers: "
            f"{FLOAT32_LIMIT}. Make the integer network with quantise_uniform()",
        )
    return threshold
