"""Pieces that every encoding in NIR is made of, in the form that readers run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.integer import IntegerConv, IntegerDense
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import ConvLayer, DenseLayer, PoolLayer

if TYPE_CHECKING:
    import nir

__all__ = [
    "NIR_DT",
    "chain",
    "convolution",
    "flatten",
    "load_nir",
    "recurrent",
    "sum_pool",
    "synapse",
]

NIR_DT = 1e-4
"""Time step in seconds that readers must use; snnTorch knows no other."""


def load_nir() -> Any:
    """Import nir, or say how to get it."""
    try:
        import nir
    except ImportError as error:
        raise ImportError(
            'NIR needs its library: pip install "snn-temporal-plugins[nir]"'
        ) from error
    return nir


def chain(
    layers: Iterable[Iterable[tuple[str, nir.NIRNode]]],
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    metadata: Mapping[str, Any],
) -> nir.NIRGraph:
    """Connect nodes one after the other, between an input and an output.

    Args:
        layers: the nodes of each layer, with names that sort in their order.
        input_shape: shape of one sample.
        output_shape: shape after the last node.
        metadata: of the graph.
    """
    nir = load_nir()
    parts = [list(part) for part in layers]
    digits = len(str(len(parts)))
    nodes: dict[str, Any] = {"input": nir.Input(np.array(input_shape))}
    for index, part in enumerate(parts):
        # HDF5 sorts names, and readers run nodes in that order.
        nodes |= {f"l{index:0{digits}d}{name}": node for name, node in part}
    nodes["output"] = nir.Output(np.array(output_shape))
    return nir.NIRGraph(
        nodes=nodes, edges=list(pairwise(nodes)), metadata=dict(metadata)
    )


def recurrent(
    neuron: nir.LIF | nir.CubaLIF,
    weight: nir.Linear | nir.Conv2d,
    shape: tuple[int, ...],
) -> nir.NIRGraph:
    """Neurons whose spikes come back to them one step later.

    Args:
        neuron: the neurons.
        weight: from their spikes to their input.
        shape: shape of one sample of them.
    """
    nir = load_nir()
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array(shape)),
            "lif": neuron,
            "w_rec": weight,
            "output": nir.Output(np.array(shape)),
        },
        edges=[
            ("input", "lif"),
            ("lif", "w_rec"),
            ("w_rec", "lif"),
            ("lif", "output"),
        ],
    )


def flatten(shape: tuple[int, ...]) -> nir.Flatten:
    """All axes of a sample become one."""
    # Counted from the end, so that a reader's batch axis does not matter.
    return load_nir().Flatten(
        {"input": np.array(shape)}, start_dim=-len(shape), end_dim=-1
    )


def synapse(
    layer: DenseLayer | ConvLayer | IntegerDense | IntegerConv, shape: tuple[int, ...]
) -> nir.Linear | nir.Conv2d:
    """Weights in float32, no bias: readers lose or invent a bias.

    Args:
        layer: the weights, and the steps of a convolution.
        shape: shape of one sample before the layer.
    """
    weight = layer.weight.astype(np.float32)
    if isinstance(layer, DenseLayer | IntegerDense):
        return load_nir().Linear(weight)
    return convolution(weight, shape[1:], layer.stride, layer.padding)


def convolution(
    weight: NDArray, size: tuple[int, ...], stride: int, padding: int
) -> nir.Conv2d:
    """Conv2d, whose bias array is mandatory in NIR."""
    return load_nir().Conv2d(
        input_shape=size,
        weight=weight,
        stride=(stride, stride),
        padding=(padding, padding),
        dilation=(1, 1),
        groups=1,
        bias=np.zeros(len(weight), dtype=np.float32),
    )


def sum_pool(layer: PoolLayer, index: int) -> nir.SumPool2d:
    """Sum over each window; `index` names the layer in the refusal of a padding."""
    if layer.padding:
        raise ExportError(
            ExportCode.GEOMETRY,
            f"layer {index} pools with padding {layer.padding}; NIR readers ignore the "
            "padding of SumPool2d, so only 0 is allowed",
        )
    return load_nir().SumPool2d(
        kernel_size=np.array([layer.kernel_size] * 2),
        stride=np.array([layer.stride] * 2),
        padding=np.array([0, 0]),
    )
