"""`snn-temporal inspect`: what is in a bundle or a NIR file."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snn_temporal_plugins.export import (
    SILENT,
    Bundle,
    IntegerNetwork,
    PoolLayer,
    map_network,
    read_bundle,
)
from snn_temporal_plugins.export.command import percent, print_table
from snn_temporal_plugins.export.nir_import import describe_nir


def run(arguments: Sequence[str]) -> None:
    """Check a bundle or a NIR file and print what it holds."""
    parser = argparse.ArgumentParser(
        prog="snn-temporal inspect",
        description="Show what a ttfs-bundle or a NIR file of this package holds; a "
        "damaged one is refused with a numbered reason.",
        epilog="example: snn-temporal inspect digits.bundle",
    )
    parser.add_argument("path", help="folder or zip of a bundle, or a .nir file")
    path = Path(parser.parse_args(arguments).path)
    if path.suffix == ".nir":
        print_table(describe_nir(path))
    else:
        print_table(dict(_rows(read_bundle(path))))


def _rows(bundle: Bundle) -> Iterator[tuple[str, object]]:
    network, manifest = bundle.network, bundle.manifest
    files, producer = manifest["files"], manifest["producer"]
    size = sum(entry["size"] for entry in files.values())
    yield "format", f"{manifest['format']} {manifest['spec_version']}"
    yield "written by", f"{producer['name']} {producer['version']}"
    yield "size", f"{size} bytes in {len(files)} files"
    yield "ticks", f"{network.num_ticks} of {network.tick:g} (time of the model)"
    yield "neurons", f"{network.response}, one spike at most"
    yield "input", f"{_sides(network.input_shape)}, {_encoder(bundle)}"
    shapes = (network.input_shape, *network.shapes)
    for index, entry in enumerate(manifest["layers"]):
        sides = f"{_sides(shapes[index])} -> {_sides(shapes[index + 1])}"
        details = _details(network, index, entry)
        yield f"layer {index}", f"{entry['kind']} {sides}{details}"
    rules = bundle.decoding
    yield "answer", f"first spike; tie: {rules.tie}; no output: {rules.no_output}"
    names = ", ".join(case.name for case in bundle.golden)
    yield "golden cases", f"{len(bundle.golden)}: {names}"
    if bundle.chip is None:
        return
    report = map_network(network, bundle.chip).report()
    yield "chip", f"{bundle.chip.name!r}, {bundle.chip.num_pes} PEs"
    for name in report["pes"][0]:
        used = max(pe[name]["used"] for pe in report["pes"])
        yield f"  {name}", f"{used} of {report['pes'][0][name]['capacity']}, fullest PE"
    events = report["event_words"]
    yield "  event_words", f"{events['used']} of {events['capacity']}"


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _encoder(bundle: Bundle) -> str:
    """How pixels become spikes."""
    if bundle.lut is None:
        return "as ticks"
    spiking = np.flatnonzero(bundle.lut != SILENT)
    if not len(spiking):
        return "from pixels that never spike"
    ticks = bundle.lut[spiking]
    return (
        f"pixels {spiking[0]} to {spiking[-1]} spike at ticks {ticks.min()} to "
        f"{ticks.max()}, {256 - len(spiking)} of 256 values never"
    )


def _details(network: IntegerNetwork, index: int, entry: dict[str, Any]) -> str:
    """Geometry, weights and widths of one layer."""
    layer = network.layers[index]
    slides = [("kernel", "kernel_size"), ("stride", "stride"), ("padding", "padding")]
    sizes = [f"{name} {entry[key]}" for name, key in slides if key in entry]
    if not isinstance(layer, PoolLayer):
        shape, zeros = layer.weight.shape, percent(layer.weight == 0)
        sizes += [
            f"{math.prod(shape)} weights ({_sides(shape)}) of {entry['weight_bits']} "
            f"bits, {zeros} of them 0",
            f"thresholds {layer.threshold.min()} to {layer.threshold.max()}",
        ]
        widths = ("slope_bits", "potential_bits")
        sizes += [f"{key} {entry[key]}" for key in widths if key in entry]
    return "".join(f", {size}" for size in sizes)
