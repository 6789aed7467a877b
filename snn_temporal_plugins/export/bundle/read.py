"""Reading a bundle from a stranger: nothing is trusted, nothing is executed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle import format as bundle_format
from snn_temporal_plugins.export.bundle.chip import PEDescriptor, parse_chip
from snn_temporal_plugins.export.bundle.chip_files import chip_files
from snn_temporal_plugins.export.bundle.decode import Decoding
from snn_temporal_plugins.export.bundle.files import load_files
from snn_temporal_plugins.export.bundle.format import MANIFEST
from snn_temporal_plugins.export.bundle.golden import (
    encoder_text,
    golden_files,
    parse_input,
)
from snn_temporal_plugins.export.bundle.golden_inputs import GoldenCase, tail
from snn_temporal_plugins.export.bundle.integer import IntegerNetwork
from snn_temporal_plugins.export.bundle.limits import check_work
from snn_temporal_plugins.export.bundle.tensors import read_lut, read_network
from snn_temporal_plugins.export.errors import BundleCode, BundleError, MappingError

__all__ = ["Bundle", "read_bundle"]


@dataclass(frozen=True, eq=False)
class Bundle:
    """What a checked bundle says.

    Attributes:
        network: the integer network.
        lut: `(256,)` tick of each pixel value, `None` if inputs come as ticks.
        decoding: rules for the answer.
        golden: the golden inputs, all of which gave their stated results.
        manifest: the manifest as it stands.
        chip: the chip that it has memory images for, `None` if for none.
    """

    network: IntegerNetwork
    lut: NDArray[np.uint16] | None
    decoding: Decoding
    golden: tuple[GoldenCase, ...]
    manifest: dict[str, Any]
    chip: PEDescriptor | None = None


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle, check every byte of it, and run its golden cases.

    Nothing is written, unpacked or executed, and no file outside is opened.

    Args:
        path: the bundle's directory or zip.

    Returns:
        The bundle.

    Raises:
        BundleError: at the first thing that is wrong; `code` says what.
        ImportError: if jsonschema is not installed.
    """
    files = load_files(Path(path))
    manifest = _manifest(files)
    _check_files(files, manifest["files"])
    network = read_network(manifest, files)
    lut = read_lut(manifest, files, network)
    rules = manifest["decoding"]
    decoding = Decoding(tie=rules["tie"], no_output=rules["no_output"])
    wanted = bundle_format.features_of(network, decoding, pixel_lut=lut is not None)
    if sorted(manifest["required_features"]) != wanted:
        raise BundleError(
            BundleCode.FEATURE,
            f"required_features are {manifest['required_features']}, the content needs "
            f"{wanted}; write the bundle again",
        )
    chip, images = _chip(manifest, network)
    check_work(network, [entry["start_layer"] for entry in manifest["golden"]])
    known = {MANIFEST, *_tensor_names(manifest)}
    for name, content in bundle_format.pinned_files(chip=chip is not None).items():
        _compare(BundleCode.PINNED, name, files, content, known)
    for name, content in images.items():
        _compare(BundleCode.MAPPING, name, files, content, known)
    if lut is not None:
        text = encoder_text(lut)
        _compare(BundleCode.GOLDEN, "golden/encoder.csv", files, text, known)
    cases = []
    for index, entry in enumerate(manifest["golden"]):
        case = _case(index, entry, files, network)
        for name, content in golden_files(network, decoding, case).items():
            name = f"{entry['folder']}/{name}"
            _compare(BundleCode.GOLDEN, name, files, content, known)
        cases.append(case)
    _refuse_unknown(set(files) - known)
    return Bundle(network, lut, decoding, tuple(cases), manifest, chip)


def _manifest(files: dict[str, bytes]) -> dict[str, Any]:
    """The manifest, checked as far as it can be checked alone."""
    content = files.get(MANIFEST)
    if content is None:
        raise BundleError(
            BundleCode.NOT_A_BUNDLE, f"there is no {MANIFEST}; give a bundle"
        )
    if len(content) > bundle_format.MAX_MANIFEST_BYTES:
        raise BundleError(
            BundleCode.LIMIT,
            f"{MANIFEST} has {len(content)} bytes; allowed: "
            f"{bundle_format.MAX_MANIFEST_BYTES}",
        )
    manifest = bundle_format.load_json(content, MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != bundle_format.FORMAT:
        raise BundleError(
            BundleCode.NOT_A_BUNDLE,
            f"{MANIFEST} is not that of a {bundle_format.FORMAT}",
        )
    if manifest.get("spec_version") != bundle_format.SPEC_VERSION:
        raise BundleError(
            BundleCode.VERSION,
            f"spec_version is {str(manifest.get('spec_version'))[:80]!r}; this reader "
            f"knows {bundle_format.SPEC_VERSION}. Use the version of this package that "
            "wrote it, or write it again",
        )
    features = manifest.get("required_features")
    unknown = [
        name
        for name in (features if isinstance(features, list) else [])
        if isinstance(name, str) and name not in bundle_format.FEATURES
    ]
    if unknown:
        raise BundleError(
            BundleCode.FEATURE,
            f"required_features names {unknown[:10]}; this reader knows "
            f"{sorted(bundle_format.FEATURES)}",
        )
    listed = manifest.get("files")
    bundle_format.check_names(list(listed) if isinstance(listed, dict) else [])
    bundle_format.check_schema(manifest)
    return manifest


def _check_files(files: dict[str, bytes], listed: dict[str, dict[str, Any]]) -> None:
    """The files that are there must be those of the manifest, byte for byte."""
    found = set(files) - {MANIFEST}
    for code, wrong, what in (
        (BundleCode.MISSING, set(listed) - found, "is listed but not there"),
        (BundleCode.UNLISTED, found - set(listed), "is there but not listed"),
    ):
        if wrong:
            raise BundleError(
                code, f"{min(wrong)!r} (of {len(wrong)}) {what}; copy the bundle again"
            )
    for name, entry in listed.items():
        if len(files[name]) != entry["size"]:
            raise BundleError(
                BundleCode.SIZE,
                f"{name} has {len(files[name])} bytes, the manifest says "
                f"{entry['size']}; copy the bundle again",
            )
        if hashlib.sha256(files[name]).hexdigest() != entry["sha256"]:
            raise BundleError(
                BundleCode.HASH,
                f"{name} does not have the SHA-256 of the manifest; copy the bundle "
                "again",
            )


def _tensor_names(manifest: dict[str, Any]) -> set[str]:
    """Names of all arrays, each of which has a file of its own."""
    entries = [*manifest["layers"], manifest["input"]["encoder"]]
    arrays = ("weight", "threshold", "scale", "table")
    names = [
        entry[what]["file"] for entry in entries for what in arrays if what in entry
    ]
    twice = [name for name in set(names) if names.count(name) > 1]
    if twice:
        raise BundleError(
            BundleCode.TENSOR,
            f"{min(twice)} holds more than one array; allowed: a file for each",
        )
    return set(names)


def _chip(
    manifest: dict[str, Any], network: IntegerNetwork
) -> tuple[PEDescriptor | None, dict[str, bytes]]:
    """The chip that the bundle is for, if any, and what the network is there."""
    if "mapping" not in manifest:
        return None, {}
    try:
        chip = parse_chip(manifest["mapping"])
        return chip, chip_files(network, chip)
    except MappingError as error:
        raise BundleError(BundleCode.MAPPING, str(error)) from error


def _case(
    index: int, entry: dict[str, Any], files: dict[str, bytes], network: IntegerNetwork
) -> GoldenCase:
    """The input of one golden case."""
    folder, start = entry["folder"], entry["start_layer"]
    if folder != f"golden/{index}":
        raise BundleError(
            BundleCode.GOLDEN,
            f"the folder of golden case {index} is {folder!r}; allowed: golden/{index}",
        )
    part = tail(network, start)
    name = f"{folder}/in.csv"
    ticks = parse_input(files.get(name, b""), part, name)
    return GoldenCase(entry["name"], start, ticks)


_WHY = {
    BundleCode.GOLDEN: "its network gives",
    BundleCode.MAPPING: "its network on this chip gives",
    BundleCode.PINNED: f"version {bundle_format.SPEC_VERSION} of the format has",
}


def _compare(
    code: BundleCode, name: str, files: dict[str, bytes], wanted: bytes, known: set[str]
) -> None:
    """Refuse a file that is not what this reader makes itself; note its name."""
    known.add(name)
    got = files.get(name, b"")
    if got == wanted:
        return
    place = _first_difference(got, wanted)
    here = slice(got.rfind(b"\n", 0, place) + 1, place + 40)
    stated, computed = (text[here].split(b"\n")[0] for text in (got, wanted))
    line = got.count(b"\n", 0, place) + 1
    raise BundleError(
        code,
        f"{name}, line {line}: the bundle says {stated[-80:]!r}, {_WHY[code]} "
        f"{computed[-80:]!r}; something was changed, write the bundle again",
    )


def _first_difference(one: bytes, other: bytes) -> int:
    """Position of the first byte in which they differ."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _refuse_unknown(names: set[str]) -> None:
    """Every file has a purpose that this reader has checked, or is free data."""
    unknown = sorted(name for name in names if not name.startswith("extras/"))
    if unknown:
        raise BundleError(
            BundleCode.UNKNOWN_FILE,
            f"{unknown[0]} (of {len(unknown)}) is no file of the format; allowed: free "
            "data in the folder extras",
        )
