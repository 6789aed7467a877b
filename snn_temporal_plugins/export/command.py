"""`snn-temporal emulate`: for those who have a bundle and nothing else."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from snn_temporal_plugins.export.bundle.cost import estimate_cost
from snn_temporal_plugins.export.bundle.decode import Decision, Decoding, decode
from snn_temporal_plugins.export.bundle.emulate import emulate
from snn_temporal_plugins.export.bundle.encoder import encode_pixels
from snn_temporal_plugins.export.bundle.events import EventCounts
from snn_temporal_plugins.export.bundle.integer import SILENT
from snn_temporal_plugins.export.bundle.read import Bundle, read_bundle

_CHUNK = 500  # images between two movements of the progress bar


def run(arguments: Sequence[str]) -> None:
    """Run a bundle in the integer emulator on images."""
    parser = argparse.ArgumentParser(
        prog="snn-temporal emulate",
        description="Check a ttfs-bundle and run it in the integer emulator.",
        epilog="example: snn-temporal emulate digits.bundle --images images.npy "
        "--labels labels.npy",
    )
    parser.add_argument("bundle", help="folder of the bundle")
    parser.add_argument(
        "--images", required=True, help=".npy of uint8 pixels, (samples, ...)"
    )
    parser.add_argument("--labels", help=".npy of class indices, (samples,)")
    parser.add_argument("--out", help="CSV file of the decisions")
    settings = parser.parse_args(arguments)
    bundle = read_bundle(settings.bundle)
    images = _array(settings.images)
    wanted = bundle.network.input_shape
    if (
        images.ndim < 2
        or images.size != len(images) * np.prod(wanted)
        or not len(images)
    ):
        raise ValueError(
            f"{settings.images} has shape {images.shape}; the bundle wants (samples, "
            f"{', '.join(map(str, wanted))}) or as many pixels in another shape"
        )
    labels = _array(settings.labels) if settings.labels else None
    if labels is not None and labels.shape != images.shape[:1]:
        raise ValueError(
            f"{settings.labels} has shape {labels.shape}; {len(images)} images want "
            f"({len(images)},)"
        )
    images = images.reshape(len(images), *wanted)
    decision, counts = decide(bundle, images, bundle.decoding)
    if settings.out:
        with Path(settings.out).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["sample", "label", "tick"])
            rows = zip(range(len(images)), decision.label, decision.tick, strict=True)
            writer.writerows(rows)
    table: dict[str, object] = {"samples": len(images)}
    if labels is not None:
        table["accuracy"] = percent(decision.label == labels)
    table |= {
        "no decision": percent(decision.label == -1),
        "first output spike, ticks": mean_tick(decision),
        "energy and latency per sample": estimate_cost(
            counts, bundle.network.num_ticks
        ),
    }
    print_table(table)


def decide(
    bundle: Bundle, pixels: NDArray[np.uint8], decoding: Decoding
) -> tuple[Decision, EventCounts]:
    """Emulate a bundle on images, with a progress bar.

    Args:
        bundle: A bundle whose inputs are pixels.
        pixels: uint8, `(samples, *input_shape)`.
        decoding: Rules for the answers.

    Returns:
        The decision and the event counts per sample.

    Raises:
        ValueError: if the bundle's inputs come as ticks.
    """
    if bundle.lut is None:
        raise ValueError(
            "the bundle has no pixel table: its inputs come as ticks. Use "
            "snn_temporal_plugins.export.emulate() on them"
        )
    decisions, counts = [], []
    with tqdm(total=len(pixels), desc="emulating", unit="image") as bar:
        for start in range(0, len(pixels), _CHUNK):
            part = pixels[start : start + _CHUNK]
            emulation = emulate(bundle.network, encode_pixels(bundle.lut, part))
            decisions.append(decode(bundle.network, emulation, decoding))
            counts.append(emulation.counts)
            bar.update(len(part))

    def joined(parts: Sequence[object], name: str) -> NDArray:
        return np.concatenate([getattr(part, name) for part in parts])

    return (
        Decision(*(joined(decisions, part.name) for part in fields(Decision))),
        EventCounts(*(joined(counts, part.name) for part in fields(EventCounts))),
    )


def mean_tick(decision: Decision) -> str:
    """Mean tick of the first output spike, over the samples that have one."""
    ticks = decision.tick[decision.tick != SILENT]
    return f"{ticks.mean():.1f}" if len(ticks) else "none"


def percent(right: object) -> str:
    """Share of what is true."""
    return f"{100 * float(np.asarray(right, dtype=float).mean()):.2f} %"


def print_table(rows: Mapping[str, object]) -> None:
    """Write names and values, one line each."""
    width = max(map(len, rows))
    lines = "".join(f"{name:<{width}}  {value}\n" for name, value in rows.items())
    sys.stdout.write(f"\n{lines}")


def _array(path: str) -> NDArray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); give a .npy file as numpy.save writes it"
        ) from None
