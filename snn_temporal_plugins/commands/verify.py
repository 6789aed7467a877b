"""`snn-temporal verify`: is the bundle that someone sent whole, and true to itself?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from snn_temporal_plugins.export.bundle import format as bundle_format
from snn_temporal_plugins.export.bundle.read import Bundle, read_bundle


def run(arguments: Sequence[str]) -> None:
    """Check a bundle and print what was checked; a bad one ends with its code."""
    parser = argparse.ArgumentParser(
        prog="snn-temporal verify",
        description="Check a ttfs-bundle from a stranger. Nothing is written, unpacked "
        "or executed, and no file outside is opened. A bundle that is refused ends "
        "with exit status 1 and a numbered reason, which its SPEC.md explains.",
        epilog="example: snn-temporal verify digits.bundle.zip",
    )
    parser.add_argument("bundle", help="folder or zip of the bundle")
    settings = parser.parse_args(arguments)
    bundle = read_bundle(settings.bundle)
    sys.stdout.writelines(f"{line}\n" for line in _report(bundle))


def _report(bundle: Bundle) -> Iterator[str]:
    manifest, layers, chip = bundle.manifest, bundle.network.layers, bundle.chip
    listed, producer = manifest["files"], manifest["producer"]
    size = sum(entry["size"] for entry in listed.values())
    yield f"format   {manifest['format']} {manifest['spec_version']}"
    yield f"writer   {producer['name']} {producer['version']}, it says"
    yield f"files    {len(listed)} of {size} bytes, no other; sizes and SHA-256 right"
    yield f"network  {len(layers)} layers: shapes, thresholds and widths right"
    yield f"golden   {len(bundle.golden)} cases computed again, every byte the same"
    if chip is not None:
        yield f"chip     images of {chip.num_pes} PEs of {chip.name!r} computed again"
    yield "pinned   the same in all bundles of this version; SHA-256 to compare:"
    for name in bundle_format.pinned_files(chip=chip is not None):
        yield f"         {listed[name]['sha256']}  {name}"
    yield "accepted: it is whole, and its network gives what it says. Who wrote it, and"
    yield "what the network is good for, no check can tell."
