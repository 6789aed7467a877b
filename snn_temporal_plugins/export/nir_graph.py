"""The nodes of a NIR file, taken one after the other; what does not fit is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.errors import NirCode, NirError
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = ["Node", "chain_of", "compare_graphs"]

_LARGEST = (1 << 31) - 1


@dataclass(frozen=True)
class Node:
    """One node of a graph.

    Attributes:
        name: its name, those of the graphs around it before it.
        fields: what the file says of it.
    """

    name: str
    fields: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Name of its class in NIR."""
        return str(self.fields.get("type"))

    def refusal(self, code: NirCode, why: str) -> NirError:
        """An error that names the node."""
        return NirError(code, f"node {self.name!r} ({self.kind}) {why}")

    def require(self, *kinds: str) -> None:
        """Refuse any other kind of node."""
        if self.kind not in kinds:
            raise self.refusal(
                NirCode.NODE, f"does not fit; allowed at this place: {', '.join(kinds)}"
            )

    def inner(self, name: str) -> Node:
        """A node of a nested graph."""
        nodes = self.fields.get("nodes")
        found = nodes.get(name) if isinstance(nodes, dict) else None
        if not isinstance(found, dict):
            raise self.refusal(NirCode.NODE, f"has no inner node {name!r}")
        return Node(f"{self.name}/{name}", found)

    def array(self, field: str) -> NDArray[np.float64]:
        """Finite numbers of any shape."""
        value = self.fields.get(field)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            raise self.refusal(NirCode.NODE, f"has no array of numbers {field!r}")
        if not value.size or not np.isfinite(value).all():
            raise self.refusal(
                NirCode.VALUE, f"has {field} with NaN, infinity or nothing in it"
            )
        return value.astype(np.float64)

    def integers(self, field: str) -> NDArray[np.int32]:
        """Whole numbers of any shape."""
        values = self.array(field)
        wrong = (values != np.rint(values)) | (np.abs(values) > _LARGEST)
        if wrong.any():
            raise self.refusal(
                NirCode.VALUE,
                f"has {field} {values[wrong][0]:g}; allowed: whole numbers of 32 bits",
            )
        return values.astype(np.int32)

    def uniform(self, field: str) -> float:
        """The one value that all neurons have."""
        values = np.unique(self.array(field))
        if len(values) > 1:
            raise self.refusal(
                NirCode.VALUE,
                f"has {len(values)} different values of {field}; allowed: one",
            )
        return float(values[0])

    def square(self, field: str, least: int) -> int:
        """The one number that a pair holds twice."""
        pair = self.integers(field).tolist()
        if not isinstance(pair, list) or len(set(pair)) != 1 or pair[0] < least:
            raise self.refusal(
                NirCode.VALUE,
                f"has {field} {pair}; allowed: twice the same, from {least} on",
            )
        return int(pair[0])

    def shape(self) -> tuple[int, ...]:
        """Shape of one sample at an Input or Output."""
        sizes = self.integers("shape")
        if sizes.ndim != 1 or not (sizes > 0).all():
            raise self.refusal(
                NirCode.VALUE, f"has shape {sizes.tolist()}; allowed: sizes above 0"
            )
        return tuple(int(n) for n in sizes)

    def pool(self) -> PoolLayer:
        """The geometry of a pool."""
        side = self.square("kernel_size", 1)
        return PoolLayer(side, self.square("stride", 1), self.square("padding", 0))

    def require_synapses(self, weight: NDArray) -> None:
        """Refuse weights that are no matrix, or of a convolution no square kernel."""
        axes = 2 if self.kind == "Linear" else 4
        if weight.ndim != axes or (axes == 4 and weight.shape[2] != weight.shape[3]):
            raise self.refusal(
                NirCode.VALUE,
                f"has weight of shape {weight.shape}; allowed: (out, in), or with a "
                "square kernel (out, in, k, k)",
            )

    def require_shape(self, field: str, wanted: tuple[int, ...]) -> None:
        """Refuse an array of another shape, before anything of that size is made."""
        got = self.array(field).shape
        if got != wanted:
            raise self.refusal(
                NirCode.VALUE, f"has {field} of shape {got}; here it must be {wanted}"
            )


def chain_of(graph: Mapping[str, Any]) -> list[Node]:
    """Nodes of a graph from its input to its output.

    Args:
        graph: the fields of the graph.

    Raises:
        NirError: if they do not stand one after the other.
    """
    found, edges = graph.get("nodes"), graph.get("edges")
    if not isinstance(found, dict) or not isinstance(edges, list):
        raise NirError(NirCode.NOT_NIR, "the graph has no nodes or no edges")
    nodes = {}
    for name, fields in found.items():
        if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
            raise NirError(NirCode.NOT_NIR, f"node {name!r} has no type")
        nodes[name] = Node(name, fields)
    after: dict[str, str] = {}
    for edge in edges:
        if len(edge) != 2 or edge[0] not in nodes or edge[1] not in nodes:
            raise NirError(NirCode.EDGE, f"edge {edge} is not from a node to a node")
        if edge[0] in after:
            raise nodes[edge[0]].refusal(
                NirCode.EDGE,
                f"leads to {after[edge[0]]!r} and to {edge[1]!r}; allowed: one after "
                "the other, loops in nested graphs",
            )
        after[edge[0]] = edge[1]
    starts = [node for node in nodes.values() if node.kind == "Input"]
    if len(starts) != 1:
        raise NirError(NirCode.EDGE, f"the graph has {len(starts)} Inputs; allowed: 1")
    chain = starts
    while chain[-1].name in after:
        node = nodes[after[chain[-1].name]]
        if node in chain or len(chain) == len(nodes):
            raise node.refusal(NirCode.EDGE, "comes a second time; allowed: a chain")
        chain.append(node)
    left = sorted(nodes.keys() - {node.name for node in chain})
    if left:
        raise nodes[left[0]].refusal(NirCode.EDGE, "does not come after the Input")
    chain[-1].require("Output")
    return chain


def compare_graphs(
    got: Mapping[str, Any], wanted: Mapping[str, Any], place: str = ""
) -> None:
    """Raise at the first node that is not the wanted one.

    Args:
        got: fields of the graph of a file; what else it keeps as metadata is free.
        wanted: fields of the graph of the same network as we write it.
        place: names of the graphs around it.
    """
    nodes, others = got["nodes"], wanted["nodes"]
    for name in [*others, *nodes]:  # ours in order, then what is left over
        found = nodes.get(name)
        node = Node(place + name, found if isinstance(found, dict) else {})
        if not node.fields or name not in others:
            raise node.refusal(
                NirCode.NODE,
                f"{'is missing' if name in others else 'has no place here'}; the nodes "
                f"are {', '.join(others)}",
            )
        _compare_nodes(node, others[name])
    edges, other_edges = (sorted(map(tuple, g["edges"])) for g in (got, wanted))
    if edges != other_edges:
        odd = sorted(set(edges) ^ set(other_edges)) or edges
        raise NirError(
            NirCode.EDGE,
            f"edge {'/'.join(odd[0])} of {place or 'the graph'} is missing, too many "
            "or there twice",
        )


def _compare_nodes(node: Node, wanted: Mapping[str, Any]) -> None:
    node.require(wanted["type"])
    if wanted["type"] == "NIRGraph":
        for field in ("nodes", "edges"):
            if not isinstance(node.fields.get(field), type(wanted[field])):
                raise node.refusal(NirCode.NODE, f"has no {field}")
        compare_graphs(node.fields, wanted, f"{node.name}/")
        return
    odd = (node.fields.keys() ^ wanted.keys()) - {"metadata"}
    if odd:
        raise node.refusal(
            NirCode.NODE,
            f"has the fields {', '.join(sorted(node.fields))}; allowed: "
            f"{', '.join(sorted(wanted))}",
        )
    for field, value in wanted.items():
        got = node.fields[field]
        if not np.array_equal(got, value):
            raise node.refusal(
                NirCode.VALUE, f"has {field} {_first(got, value)}; the encoding differs"
            )


def _first(got: Any, wanted: Any) -> str:
    """What differs, in short."""
    one, other = np.asarray(got), np.asarray(wanted)
    if one.shape != other.shape:
        return f"of shape {one.shape}, where it is {other.shape}"
    place = np.unravel_index(int((one != other).argmax()), one.shape)
    at = tuple(map(int, place))
    return f"{one[place]!s:.40} at {at}, where it is {other[place]!s:.40}"
