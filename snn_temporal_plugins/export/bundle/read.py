"""Reading a bundle from a stranger: nothing is trusted, nothing is executed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle import format as bundle_format
from snn_temporal_plugins.export.bundle.decode import Decoding
from snn_temporal_plugins.export.bundle.golden import (
    encoder_text,
    golden_files,
    parse_input,
)
from snn_temporal_plugins.export.bundle.golden_inputs import GoldenCase, tail
from snn_temporal_plugins.export.bundle.integer import IntegerNetwork
from snn_temporal_plugins.export.bundle.tensors import read_lut, read_network
from snn_temporal_plugins.export.errors import BundleCode, BundleError

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
    """

    network: IntegerNetwork
    lut: NDArray[np.uint16] | None
    decoding: Decoding
    golden: tuple[GoldenCase, ...]
    manifest: dict[str, Any]


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle, check every byte of it, and run its golden cases.

    Args:
        path: the bundle's directory.

    Returns:
        The bundle.

    Raises:
        BundleError: at the first thing that is wrong; `code` says what.
        ImportError: if jsonschema is not installed.
    """
    root = Path(path)
    manifest = _manifest(root)
    files = _files(root, manifest["files"])
    network = read_network(manifest, files)
    lut = read_lut(manifest, files, network)
    if lut is not None:
        _compare("golden/encoder.csv", files, encoder_text(lut))
    wanted = bundle_format.features_of(network, pixel_lut=lut is not None)
    if sorted(manifest["required_features"]) != wanted:
        raise BundleError(
            BundleCode.FEATURE,
            f"required_features are {manifest['required_features']}, the content needs "
            f"{wanted}; write the bundle again",
        )
    rules = manifest["decoding"]
    decoding = Decoding(tie=rules["tie"], no_output=rules["no_output"])
    cases = [
        _check_case(entry, files, network, decoding) for entry in manifest["golden"]
    ]
    return Bundle(network, lut, decoding, tuple(cases), manifest)


def _manifest(root: Path) -> dict[str, Any]:
    """The manifest, checked as far as it can be checked alone."""
    file = root / bundle_format.MANIFEST
    if not file.is_file():
        raise BundleError(
            BundleCode.NOT_A_BUNDLE,
            f"{root} holds no {bundle_format.MANIFEST}; give the directory of a bundle",
        )
    if file.is_symlink():
        raise _link_error(bundle_format.MANIFEST)
    if file.stat().st_size > bundle_format.MAX_MANIFEST_BYTES:
        raise BundleError(
            BundleCode.SIZE,
            f"{bundle_format.MANIFEST} has {file.stat().st_size} bytes; allowed: "
            f"{bundle_format.MAX_MANIFEST_BYTES}",
        )
    manifest = bundle_format.load_json(file.read_bytes(), bundle_format.MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != bundle_format.FORMAT:
        raise BundleError(
            BundleCode.NOT_A_BUNDLE,
            f"{file} is not the manifest of a {bundle_format.FORMAT}",
        )
    own = bundle_format.SPEC_VERSION.rpartition(".")[0]
    if str(manifest.get("spec_version")).rpartition(".")[0] != own:
        raise BundleError(
            BundleCode.VERSION,
            f"spec_version is {manifest.get('spec_version')!r}; this reader knows "
            f"{own}.x. Use the version of this package that wrote it",
        )
    features = manifest.get("required_features")
    unknown = [
        name
        for name in (features if isinstance(features, list) else [])
        if name not in bundle_format.FEATURES
    ]
    if unknown:
        raise BundleError(
            BundleCode.FEATURE,
            f"required_features names {unknown}; this reader knows "
            f"{sorted(bundle_format.FEATURES)}",
        )
    listed = manifest.get("files")
    bundle_format.check_names(list(listed) if isinstance(listed, dict) else [])
    bundle_format.check_schema(manifest)
    return manifest


def _files(root: Path, listed: dict[str, dict[str, Any]]) -> dict[str, bytes]:
    """Content of every listed file; nothing else may lie in the directory."""
    found = set()
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            file = Path(folder) / name
            # A pipe or a device could keep the reader waiting for ever.
            if file.is_symlink() or not (file.is_file() or file.is_dir()):
                raise _link_error(file.relative_to(root).as_posix())
        found |= {(Path(folder) / name).relative_to(root).as_posix() for name in names}
    found.discard(bundle_format.MANIFEST)
    for code, wrong, what in (
        (BundleCode.MISSING, set(listed) - found, "is listed but not there"),
        (BundleCode.UNLISTED, found - set(listed), "is there but not listed"),
    ):
        if wrong:
            raise BundleError(
                code, f"{min(wrong)} (of {len(wrong)}) {what}; copy the bundle again"
            )
    return {name: _content(root, name, entry) for name, entry in listed.items()}


def _content(root: Path, name: str, entry: dict[str, Any]) -> bytes:
    """One file, if it has the stated size and hash."""
    file = root / name
    size = file.stat().st_size
    if size != entry["size"]:
        raise BundleError(
            BundleCode.SIZE,
            f"{name} has {size} bytes, the manifest says {entry['size']}; copy the "
            "bundle again",
        )
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise BundleError(
            BundleCode.HASH,
            f"{name} does not have the SHA-256 of the manifest; copy the bundle again",
        )
    return content


def _check_case(
    entry: dict[str, Any],
    files: dict[str, bytes],
    network: IntegerNetwork,
    decoding: Decoding,
) -> GoldenCase:
    """Run one golden case and compare every byte of its results."""
    folder = entry["folder"]
    part = tail(network, entry["start_layer"])
    name = f"{folder}/in.csv"
    ticks = parse_input(files.get(name, b""), part, name)
    case = GoldenCase(entry["name"], entry["start_layer"], ticks)
    for result, content in golden_files(network, decoding, case).items():
        _compare(f"{folder}/{result}", files, content)
    return case


def _compare(name: str, files: dict[str, bytes], wanted: bytes) -> None:
    """Refuse a golden file that this reader cannot reproduce."""
    got = files.get(name, b"")
    if got == wanted:
        return
    pairs = zip(got.splitlines(), wanted.splitlines(), strict=False)
    line, (stated, computed) = next(
        ((n, pair) for n, pair in enumerate(pairs, start=1) if pair[0] != pair[1]),
        (0, (b"its end", b"another end")),
    )
    raise BundleError(
        BundleCode.GOLDEN,
        f"{name}, line {line}: the bundle says {stated[:80]!r}, its network gives "
        f"{computed[:80]!r}; weights or results were changed, write the bundle again",
    )


def _link_error(name: str) -> BundleError:
    return BundleError(
        BundleCode.LINK,
        f"{name} is a link, a pipe or a device; allowed: plain files and folders",
    )
