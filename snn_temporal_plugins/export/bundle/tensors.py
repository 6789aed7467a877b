"""From the manifest and the bytes of a bundle to its integer network, checked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle import format as bundle_format
from snn_temporal_plugins.export.bundle.integer import (
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerLayer,
    IntegerNetwork,
    widths,
)
from snn_temporal_plugins.export.bundle.limits import (
    check_network_size,
    check_weights,
)
from snn_temporal_plugins.export.errors import BundleCode, BundleError, ExportError
from snn_temporal_plugins.export.layers import PoolLayer, Response

__all__ = ["read_lut", "read_network"]


def read_network(manifest: dict[str, Any], files: dict[str, bytes]) -> IntegerNetwork:
    """The integer network, with sizes, shapes, ranges and widths checked.

    Args:
        manifest: as the schema allows it.
        files: content of every listed file.

    Returns:
        The network.

    Raises:
        BundleError: at the first thing that does not fit.
    """
    weights = (entry["weight"] for entry in manifest["layers"] if "weight" in entry)
    check_weights(sum(math.prod(weight["shape"]) for weight in weights))
    layers = [
        _layer(entry, files, index, manifest["time"]["num_ticks"])
        for index, entry in enumerate(manifest["layers"])
    ]
    response = _response(manifest["layers"])
    try:
        network = IntegerNetwork(
            layers=tuple(layers),
            input_shape=tuple(manifest["input"]["shape"]),
            num_ticks=manifest["time"]["num_ticks"],
            tick=float(manifest["time"]["tick"]),
            response=response,
        )
    except ExportError as error:
        raise BundleError(BundleCode.SHAPE, str(error)) from error
    for index, (shape, entry) in enumerate(
        zip(network.shapes, manifest["layers"], strict=True)
    ):
        if list(shape) != entry["output_shape"]:
            raise BundleError(
                BundleCode.SHAPE,
                f"layer {index} has output_shape {entry['output_shape']}, its "
                f"geometry gives {list(shape)}; allowed: equal",
            )
    if not isinstance(network.layers[-1], IntegerDense):
        raise BundleError(
            BundleCode.SHAPE, "the last layer is not dense; allowed: dense"
        )
    check_network_size(network)
    return network


def _response(entries: list[dict[str, Any]]) -> Response:
    """The one response of all layers of neurons."""
    found = [entry["response"] for entry in entries if "response" in entry]
    if len(set(found)) != 1:
        raise BundleError(
            BundleCode.RESPONSE,
            f"the layers of neurons have the responses {found}; allowed: one layer or "
            "more, all with one response",
        )
    return found[0]


def _layer(
    entry: dict[str, Any], files: dict[str, bytes], index: int, num_ticks: int
) -> IntegerLayer:
    """One layer from its tensors."""
    if entry["kind"] == "earliest_spike_pool2d":
        return PoolLayer(entry["kernel_size"], entry["stride"], entry["padding"])
    weight = _tensor(files, entry["weight"], "i8").astype(np.int32)
    threshold = _tensor(files, entry["threshold"], "i32").astype(np.int64)
    scale = _tensor(files, entry["scale"], "f64")
    axes = 2 if entry["kind"] == "dense" else 4
    neurons = weight.shape[:1]
    if (
        weight.ndim != axes
        or (axes == 4 and weight.shape[2] != weight.shape[3])
        or threshold.shape != neurons
        or scale.shape != neurons
    ):
        raise BundleError(
            BundleCode.SHAPE,
            f"layer {index}: weight {weight.shape}, threshold {threshold.shape}, scale "
            f"{scale.shape}; allowed: (out, in) or (out, in, k, k), and (out,) twice",
        )
    limit = 1 << (entry["weight_bits"] - 1)
    if (
        (weight < -limit).any()
        or (weight >= limit).any()
        or not (threshold >= 1).all()
        or not (np.isfinite(scale) & (scale > 0)).all()
    ):
        raise BundleError(
            BundleCode.TENSOR,
            f"layer {index}: a weight outside {entry['weight_bits']} bits, a threshold "
            "below 1, or a scale that is no positive number; write the bundle again",
        )
    layer: IntegerDense | IntegerConv = (
        IntegerDense(weight, threshold, scale)
        if axes == 2
        else IntegerConv(weight, threshold, scale, entry["stride"], entry["padding"])
    )
    proved = widths(layer, num_ticks, entry["response"])
    stated = (entry.get("slope_bits", 0), entry["potential_bits"])
    if stated[0] < proved.slope_bits or stated[1] < proved.potential_bits:
        raise BundleError(
            BundleCode.WIDTH,
            f"layer {index} states {stated} bits for slope and potential; allowed: at "
            f"least {tuple(proved)}",
        )
    return layer


def _tensor(files: dict[str, bytes], entry: dict[str, Any], dtype: str) -> NDArray:
    """One array of the stated shape."""
    content = files.get(entry["file"])
    kind = np.dtype(bundle_format.DTYPES[dtype])
    if content is None or entry["dtype"] != dtype:
        raise BundleError(
            BundleCode.TENSOR,
            f"{entry['file']} must be listed among the files and have dtype {dtype}",
        )
    if math.prod(entry["shape"]) * kind.itemsize != len(content):
        raise BundleError(
            BundleCode.SIZE,
            f"{entry['file']} has {len(content)} bytes and shape {entry['shape']}; "
            f"allowed: {kind.itemsize} bytes per value",
        )
    return np.frombuffer(content, dtype=kind).reshape(entry["shape"])


def read_lut(
    manifest: dict[str, Any], files: dict[str, bytes], network: IntegerNetwork
) -> NDArray[np.uint16] | None:
    """The encoder's table, `None` if inputs come as ticks."""
    encoder = manifest["input"]["encoder"]
    if encoder["kind"] != "pixel_lut":
        return None
    lut = _tensor(files, encoder["table"], "u16")
    if lut.shape != (256,) or not ((lut < network.num_ticks) | (lut == SILENT)).all():
        raise BundleError(
            BundleCode.TENSOR,
            f"the encoder's table has shape {lut.shape}; allowed: 256 ticks below "
            f"{network.num_ticks}, or {SILENT}",
        )
    return lut.astype(np.uint16)
