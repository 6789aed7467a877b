"""NIR files read back into networks of this package, exactly or not at all.

`read_nir` gives what `write_nir` took: of NIR-ReLPSP/1 and NIR-IF/1 the integer
network, of LIF layers the layers. The nodes are walked from the input on, and what
they say is written in NIR once more: if one number of that is not in the file, the file
is another encoding, or says two things, and is refused by the name of the first node
that does not fit. What no node says (how many ticks) comes from the metadata, and the
rest of the metadata must agree with the nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from snn_temporal_plugins.export.bundle.integer import (
    IntegerConv,
    IntegerDense,
    IntegerLayer,
    IntegerNetwork,
)
from snn_temporal_plugins.export.errors import ExportError, NirCode, NirError
from snn_temporal_plugins.export.layers import PoolLayer, Response, output_shape
from snn_temporal_plugins.export.nir import to_nir
from snn_temporal_plugins.export.nir_file import graph_tree, read_tree
from snn_temporal_plugins.export.nir_first_spikes import ENCODINGS, LONG
from snn_temporal_plugins.export.nir_graph import Node, chain_of, compare_graphs
from snn_temporal_plugins.export.nir_import_lif import lif_layers

__all__ = ["describe_nir", "network_of", "read_nir"]

_MAX_BYTES = 1 << 28


def read_nir(
    path: str | Path, *, num_ticks: int | None = None, max_bytes: int = _MAX_BYTES
) -> IntegerNetwork | nn.Sequential:
    """Read a NIR file that `write_nir` wrote, here or elsewhere.

    Args:
        path: the file; one from a stranger may be anything.
        num_ticks: number of ticks of a network of first spikes, for a file that has
            lost its metadata; the nodes do not say it.
        max_bytes: most bytes of the file, and of the arrays in it.

    Returns:
        What `write_nir` took. Of NIR-ReLPSP/1 and NIR-IF/1: the integer network, equal
        in weights, thresholds, geometry, ticks and response (`scale`, a record of
        where the integers came from, is 1); `to_layers` makes layers of it. Of LIF
        layers: the layers, which give the same spikes.

    Raises:
        NirError: if the file is none of these, by its first node that does not fit.
        OSError: if there is no such file.
        ImportError: if nir is not installed.
    """
    return network_of(read_tree(path, max_bytes=max_bytes), num_ticks)


def describe_nir(path: str | Path, *, max_bytes: int = _MAX_BYTES) -> dict[str, object]:
    """Say what is in a NIR file that `read_nir` reads.

    Args:
        path: the file.
        max_bytes: as in `read_nir`.

    Returns:
        Names and values: the library that wrote it, the encoding, the metadata, and
        each node with its shape.

    Raises:
        NirError: as in `read_nir`.
    """
    file = read_tree(path, max_bytes=max_bytes)
    network = network_of(file)
    metadata = dict(file["node"].get("metadata", {}))
    if isinstance(network, IntegerNetwork):
        kind = metadata.pop("encoding", ENCODINGS[network.response])
    else:
        kind = "LIF layers"
    rows: dict[str, object] = {"encoding": kind, "NIR version": file["version"]}
    rows |= metadata
    for node in chain_of(file["node"]):
        rows[node.name] = node.kind
        for field in ("shape", "weight"):
            value = node.fields.get(field)
            if isinstance(value, np.ndarray):
                size = value.tolist() if field == "shape" else value.shape
                rows[node.name] = f"{node.kind} {' x '.join(map(str, size))}"
    return rows


def network_of(
    file: Mapping[str, Any], num_ticks: int | None = None
) -> IntegerNetwork | nn.Sequential:
    """The network of a file that has been read into dictionaries.

    Args:
        file: from `read_tree`.
        num_ticks: as in `read_nir`.

    Raises:
        NirError: as in `read_nir`.
    """
    graph = file.get("node")
    if not isinstance(graph, dict) or not isinstance(file.get("version"), str):
        raise NirError(
            NirCode.NOT_NIR, "the file is HDF5, but not NIR: it has no node or version"
        )
    nodes = chain_of(graph)
    metadata = graph.get("metadata", {})
    if not isinstance(metadata, dict):
        raise NirError(NirCode.METADATA, "the metadata are no group")
    network: IntegerNetwork | nn.Sequential
    if "rule" in metadata:
        network = lif_layers(nodes, metadata)
    else:
        network = _integer_network(nodes, metadata, num_ticks)
    _compare(graph, metadata, network)
    return network


def _compare(
    graph: Mapping[str, Any],
    metadata: Mapping[str, Any],
    network: IntegerNetwork | nn.Sequential,
) -> None:
    """Raise if the network, written once more, is not what the file holds."""
    try:
        again = to_nir(network)
    except ExportError as error:
        raise NirError(NirCode.VALUE, f"no reader could run it: {error}") from None
    wanted = graph_tree(again)
    compare_graphs(graph, wanted)
    for name, value in wanted["metadata"].items():
        got = metadata.get(name, value)
        if type(got) is not type(value) or got != value:
            raise NirError(
                NirCode.METADATA,
                f"{name} is {got!r}, but by the nodes it is {value!r}; one is wrong",
            )


def _integer_network(
    nodes: Sequence[Node], metadata: Mapping[str, Any], num_ticks: int | None
) -> IntegerNetwork:
    """The network whose layers stand between Input and Output."""
    shape = first = nodes[0].shape()
    ticks, tick = _time(metadata, num_ticks)
    response: Response = "ramp"
    layers: list[IntegerLayer] = []
    network = None
    queue = iter(nodes[1:-1])
    for node in queue:
        node.require("Flatten", "SumPool2d", "Linear", "Conv2d")
        if node.kind == "Flatten":
            continue  # integer dense layers read any shape
        fire = next(queue, nodes[-1])
        fire.require("NIRGraph")
        lif = fire.inner("lif")
        lif.require("CubaLIF", "LIF")
        if network is None and node.kind != "SumPool2d":
            response = "ramp" if lif.kind == "CubaLIF" else "step"
        layers.append(_layer(node, lif))
        try:
            if isinstance(layers[-1], PoolLayer):
                shape = output_shape(layers[-1], shape, len(layers) - 1)
            else:
                network = IntegerNetwork(tuple(layers), first, ticks, tick, response)
                shape = network.shapes[-1]
        except ExportError as error:
            raise node.refusal(NirCode.VALUE, f"does not fit: {error}") from None
        # before anything is made that is as large as the nodes say
        lif.require_shape("v_threshold", shape)
        weight = (shape[0], shape[0], *(1 for _ in shape[1:]))
        fire.inner("w_rec").require_shape("weight", weight)
    if network is None or len(network.layers) < len(layers):
        raise nodes[-1].refusal(NirCode.NODE, "does not come after a layer of neurons")
    return network


def _time(metadata: Mapping[str, Any], num_ticks: int | None) -> tuple[int, float]:
    """Number of ticks, and the length that a record gives them."""
    said = metadata.get("num_ticks", num_ticks)
    if type(said) is not int or num_ticks not in (None, said):
        raise NirError(
            NirCode.METADATA,
            f"num_ticks is {metadata.get('num_ticks')!r} in the file, and you give "
            f"{num_ticks!r}; it must be said, by one of them or by both alike",
        )
    tick = metadata.get("tick", 1.0)
    if not isinstance(tick, float) or not 0 < tick < float("inf"):
        raise NirError(NirCode.METADATA, f"tick is {tick!r}; allowed: above 0")
    return said, tick


def _layer(node: Node, lif: Node) -> IntegerLayer:
    """Integers of a layer."""
    if node.kind == "SumPool2d":
        return node.pool()
    weight = node.integers("weight")
    node.require_synapses(weight)
    unit = 1.0 if lif.kind == "CubaLIF" else LONG
    threshold = lif.uniform("v_threshold") * unit + 0.5
    if threshold != round(threshold) or not 1 <= threshold < 1 << 31:
        raise lif.refusal(
            NirCode.VALUE, f"has the threshold {threshold:g}; allowed: whole, from 1 on"
        )
    thresholds = np.full(len(weight), int(threshold), dtype=np.int64)
    scale = np.ones(len(weight))
    if node.kind == "Linear":
        return IntegerDense(weight, thresholds, scale)
    stride, padding = node.square("stride", 1), node.square("padding", 0)
    return IntegerConv(weight, thresholds, scale, stride, padding)
