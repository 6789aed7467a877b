"""Writing a bundle: whole or not at all, the same bytes for the same network."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snn_temporal_plugins.export.bundle import format as bundle_format
from snn_temporal_plugins.export.bundle.chip import PEDescriptor
from snn_temporal_plugins.export.bundle.chip_files import chip_files
from snn_temporal_plugins.export.bundle.decode import Decoding
from snn_temporal_plugins.export.bundle.emulate import check_ticks
from snn_temporal_plugins.export.bundle.files import load_files, zip_bytes
from snn_temporal_plugins.export.bundle.format import MANIFEST
from snn_temporal_plugins.export.bundle.golden import encoder_text, golden_files
from snn_temporal_plugins.export.bundle.golden_inputs import golden_cases
from snn_temporal_plugins.export.bundle.integer import (
    SILENT,
    IntegerConv,
    IntegerLayer,
    IntegerNetwork,
    widths,
)
from snn_temporal_plugins.export.bundle.limits import check_network_size, check_work
from snn_temporal_plugins.export.bundle.read import read_bundle
from snn_temporal_plugins.export.errors import (
    BundleCode,
    BundleError,
    ExportCode,
    ExportError,
)
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = ["write_bundle"]

_MAX_WEIGHT_BITS = 8


def write_bundle(
    network: IntegerNetwork,
    path: str | Path,
    *,
    lut: ArrayLike | None = None,
    decoding: Decoding | None = None,
    golden: int = 4,
    samples: ArrayLike | None = None,
    chip: PEDescriptor | None = None,
    overwrite: bool = False,
) -> None:
    """Write a ttfs-bundle and read it back before it gets its name.

    Args:
        network: from `quantise`; the last layer is dense.
        path: the directory to make, or the zip if it ends in `.zip`; the same network
            gives the same bytes.
        lut: `(256,)` tick of each pixel value, from `latency_lut`; `None`
            declares that inputs come as ticks.
        decoding: rules for ties and silence; `None` takes the defaults.
        golden: number of pseudo-random golden inputs besides the chosen ones.
        samples: `(n, *input_shape)` ticks of real inputs to add as golden ones.
        chip: adds its memory images, the report of the mapping and the reference core.
        overwrite: replace a bundle at `path` once the new one is complete.

    Raises:
        ExportError: if the network or an argument does not fit the format.
        MappingError: if the network does not fit on the chip.
        BundleError: if `path` exists, the network is larger than the format allows, or
            the written bundle fails its own check.
        ImportError: if jsonschema is not installed.
    """
    target = Path(path)
    _check_target(target, overwrite)
    rules = Decoding() if decoding is None else decoding
    table = None if lut is None else _checked_lut(lut, network)
    inputs = None if samples is None else check_ticks(network, samples)
    if golden < 0:
        raise ExportError(
            ExportCode.PARAMETER, f"golden is {golden}; allowed: 0 or more"
        )
    files = _contents(network, table, rules, golden, inputs, chip)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        if target.suffix == ".zip":
            temporary.write_bytes(zip_bytes(files))
        else:
            _write_directory(temporary, files)
        read_bundle(temporary)
        _move(temporary, target)
    finally:
        _remove(temporary)


def _write_directory(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _check_target(target: Path, overwrite: bool) -> None:
    """Refuse to touch anything but an absent path or a bundle to be replaced."""
    if not target.parent.is_dir():
        raise BundleError(
            BundleCode.MISSING,
            f"folder {target.parent} does not exist; make it, or choose another path",
        )
    if not (target.exists() or target.is_symlink()):
        return
    if not overwrite:
        raise BundleError(
            BundleCode.EXISTS,
            f"{target} exists; choose another path, or give overwrite=True",
        )
    if target.is_symlink() or not _is_bundle(target):
        raise BundleError(
            BundleCode.EXISTS,
            f"{target} exists and is no bundle, so it is not overwritten; choose "
            "another path",
        )


def _is_bundle(target: Path) -> bool:
    """Whether what is there may be replaced by a bundle."""
    try:
        return MANIFEST in load_files(target)
    except BundleError:
        return False


def _move(temporary: Path, target: Path) -> None:
    """Give a complete bundle its name; the one before stays if that fails."""
    if not target.exists():
        temporary.rename(target)
        return
    old = temporary.with_name(f"{temporary.name}.old")
    target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        old.rename(target)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    """Remove a bundle, whole or half-written."""
    if path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def _contents(
    network: IntegerNetwork,
    lut: NDArray[np.uint16] | None,
    decoding: Decoding,
    golden: int,
    samples: NDArray[np.int32] | None,
    chip: PEDescriptor | None,
) -> dict[str, bytes]:
    """Every file of the bundle, the manifest last."""
    check_network_size(network)
    files = dict(bundle_format.pinned_files(chip=chip is not None))
    if chip is not None:
        files |= chip_files(network, chip)
    encoder: dict[str, Any] = {"kind": "ticks"}
    if lut is not None:
        table = _tensor(files, "encoder/lut.bin", "u16", lut)
        encoder = {"kind": "pixel_lut", "table": table}
        files["golden/encoder.csv"] = encoder_text(lut)
    layers = [
        _layer(files, network, index, layer)
        for index, layer in enumerate(network.layers)
    ]
    cases = golden_cases(network, random=golden, samples=samples)
    check_work(network, [case.start_layer for case in cases])
    for index, case in enumerate(cases):
        for name, content in golden_files(network, decoding, case).items():
            files[f"golden/{index}/{name}"] = content
    manifest = {
        "format": bundle_format.FORMAT,
        "spec_version": bundle_format.SPEC_VERSION,
        "required_features": bundle_format.features_of(
            network, decoding, pixel_lut=lut is not None
        ),
        "producer": {
            "name": "snn-temporal-plugins",
            "version": version("snn-temporal-plugins"),
        },
        "time": {
            "num_ticks": network.num_ticks,
            "time_bits": 16,
            "no_spike": SILENT,
            "layer_latency_ticks": 0,
            "layer_windows": None,
            "tick": network.tick,
        },
        "input": {"shape": list(network.input_shape), "encoder": encoder},
        "layers": layers,
        "decoding": {
            "rule": "first_spike",
            "tie": decoding.tie,
            "no_output": decoding.no_output,
        },
        "golden": [
            {
                "folder": f"golden/{index}",
                "name": case.name,
                "start_layer": case.start_layer,
            }
            for index, case in enumerate(cases)
        ],
        "files": {
            name: bundle_format.digest(content) for name, content in files.items()
        },
        "extras": {},
    }
    if chip is not None:
        manifest["mapping"] = asdict(chip)
    files[MANIFEST] = bundle_format.dump_json(manifest)
    return files


def _layer(
    files: dict[str, bytes], network: IntegerNetwork, index: int, layer: IntegerLayer
) -> dict[str, Any]:
    """The manifest's entry of one layer; its tensors go into `files`."""
    shape = list(network.shapes[index])
    if isinstance(layer, PoolLayer):
        return {
            "kind": "earliest_spike_pool2d",
            "output_shape": shape,
            "kernel_size": layer.kernel_size,
            "stride": layer.stride,
            "padding": layer.padding,
        }
    weight_bits = 1 + int(np.abs(layer.weight).max()).bit_length()
    if weight_bits > _MAX_WEIGHT_BITS:
        raise ExportError(
            ExportCode.WIDTH,
            f"weights of layer {index} need {weight_bits} bits; allowed: "
            f"{_MAX_WEIGHT_BITS}. Make the integer network with quantise()",
        )
    slope_bits, potential_bits = widths(layer, network.num_ticks, network.response)
    stem = f"tensors/layer_{index}"
    entry = {
        "kind": "dense",
        "response": network.response,
        "output_shape": shape,
        "weight": _tensor(files, f"{stem}_weight.bin", "i8", layer.weight),
        "threshold": _tensor(files, f"{stem}_threshold.bin", "i32", layer.threshold),
        "scale": _tensor(files, f"{stem}_scale.bin", "f64", layer.scale),
        "weight_bits": weight_bits,
        "potential_bits": potential_bits,
    }
    if network.response == "ramp":
        entry["slope_bits"] = slope_bits
    if isinstance(layer, IntegerConv):
        entry |= {"kind": "conv2d", "stride": layer.stride, "padding": layer.padding}
    return entry


def _tensor(
    files: dict[str, bytes], name: str, dtype: str, values: NDArray
) -> dict[str, Any]:
    """Store an array as little-endian bytes and return the manifest's reference."""
    files[name] = values.astype(bundle_format.DTYPES[dtype]).tobytes()
    return {"file": name, "dtype": dtype, "shape": list(values.shape)}


def _checked_lut(lut: ArrayLike, network: IntegerNetwork) -> NDArray[np.uint16]:
    """A table of 256 ticks, or an error that says so."""
    table = np.asarray(lut)
    inside = table.dtype.kind in "iu" and (
        ((table >= 0) & (table < network.num_ticks)) | (table == SILENT)
    )
    if table.shape != (256,) or not np.all(inside):
        raise ExportError(
            ExportCode.PARAMETER,
            f"lut has shape {table.shape} and dtype {table.dtype}; allowed: 256 "
            f"integer ticks from 0 to {network.num_ticks - 1}, or {SILENT}. "
            "latency_lut() makes one",
        )
    return table.astype(np.uint16)
