"""`snn-temporal emulate`: for those who have a bundle and nothing else."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from snn_temporal_plugins.export.bundle.activity import early_exit
from snn_temporal_plugins.export.bundle.cost import CostEstimate, estimate_cost
from snn_temporal_plugins.export.bundle.decode import Decision, Decoding, decode
from snn_temporal_plugins.export.bundle.emulate import emulate
from snn_temporal_plugins.export.bundle.encoder import encode_pixels
from snn_temporal_plugins.export.bundle.events import EventCounts
from snn_temporal_plugins.export.bundle.integer import SILENT, IntegerNetwork
from snn_temporal_plugins.export.bundle.profiles import (
    PROFILES,
    CostProfile,
    find_profile,
)
from snn_temporal_plugins.export.bundle.read import Bundle, read_bundle

_CHUNK = 500  # images between two movements of the progress bar
_Batch = TypeVar("_Batch", Decision, EventCounts)


def run(arguments: Sequence[str]) -> None:
    """Run a bundle in the integer emulator on images."""
    parser = argparse.ArgumentParser(
        prog="snn-temporal emulate",
        description="Check a ttfs-bundle and run it in the integer emulator.",
        epilog="example: snn-temporal emulate digits.bundle --images images.npy "
        "--labels labels.npy",
    )
    parser.add_argument("bundle", help="folder or zip of the bundle")
    parser.add_argument(
        "--images", required=True, help=".npy of uint8 pixels, (samples, ...)"
    )
    parser.add_argument("--labels", help=".npy of class indices, (samples,)")
    parser.add_argument("--out", help="CSV file of the decisions")
    parser.add_argument(
        "--profile",
        default="yoso_point",
        help="constants of energy and latency: "
        f"{', '.join(PROFILES)}, or a JSON file of your own",
    )
    settings = parser.parse_args(arguments)
    profile = find_profile(settings.profile)
    bundle = read_bundle(settings.bundle)
    images = load_images(settings.images, bundle.network.input_shape)
    labels = _array(settings.labels) if settings.labels else None
    if labels is not None and labels.shape != images.shape[:1]:
        raise ValueError(
            f"{settings.labels} has shape {labels.shape}; {len(images)} images want "
            f"({len(images)},)"
        )
    answers = decide(bundle, images, bundle.decoding)
    decision = answers.decision
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
        **cost_rows(bundle.network, answers, profile),
    }
    print_table(table)
    sys.stdout.write("\nassumptions of energy and latency\n")
    sys.stdout.writelines(f"- {sentence}\n" for sentence in profile.assumptions)


class Answers(NamedTuple):
    """What a bundle answers, and what it does for that.

    Attributes:
        decision: the answers.
        counts: events per sample.
        early: events per sample of a chip that stops after the first output spike.
        early_ticks: `(samples,)` ticks that such a chip runs.
    """

    decision: Decision
    counts: EventCounts
    early: EventCounts
    early_ticks: NDArray[np.int64]


def load_images(path: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read images for a network.

    Args:
        path: .npy of uint8 pixels, `(samples, ...)`.
        shape: of one sample as the network takes it.

    Returns:
        `(samples, *shape)` uint8.

    Raises:
        ValueError: if the file cannot be read, or has no samples of this size.
    """
    images = _array(path)
    if (
        images.ndim < 2
        or images.size != len(images) * np.prod(shape)
        or not len(images)
    ):
        raise ValueError(
            f"{path} has shape {images.shape}; the network wants (samples, "
            f"{', '.join(map(str, shape))}) or as many pixels in another shape"
        )
    return images.reshape(len(images), *shape)


def decide(bundle: Bundle, pixels: NDArray[np.uint8], decoding: Decoding) -> Answers:
    """Emulate a bundle on images, with a progress bar.

    Args:
        bundle: A bundle whose inputs are pixels.
        pixels: uint8, `(samples, *input_shape)`.
        decoding: Rules for the answers.

    Returns:
        The answers and the events per sample.

    Raises:
        ValueError: if the bundle's inputs come as ticks.
    """
    if bundle.lut is None:
        raise ValueError(
            "the bundle has no pixel table: its inputs come as ticks. Use "
            "snn_temporal_plugins.export.emulate() on them"
        )
    parts: list[Answers] = []
    with tqdm(total=len(pixels), desc="emulating", unit="image") as bar:
        for start in range(0, len(pixels), _CHUNK):
            part = pixels[start : start + _CHUNK]
            emulation = emulate(bundle.network, encode_pixels(bundle.lut, part))
            decision = decode(bundle.network, emulation, decoding)
            early = early_exit(bundle.network, emulation)
            parts.append(Answers(decision, emulation.counts, *early))
            bar.update(len(part))
    decisions, counts, early_counts, early_ticks = zip(*parts, strict=True)
    return Answers(
        _joined(decisions),
        _joined(counts),
        _joined(early_counts),
        np.concatenate(early_ticks),
    )


def cost_rows(
    network: IntegerNetwork, answers: Answers, profile: CostProfile | None = None
) -> dict[str, CostEstimate]:
    """Estimate what an answer costs, with and without waiting for the last tick.

    Args:
        network: of the bundle.
        answers: from `decide`.
        profile: constants; `None`: `yoso_point`.

    Returns:
        Two rows of a table: estimates, not measurements.
    """
    early = estimate_cost(network, answers.early, profile, ticks=answers.early_ticks)
    return {
        "energy and latency per sample": estimate_cost(
            network, answers.counts, profile
        ),
        "energy and latency up to the first output spike": early,
    }


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


def _joined(parts: Sequence[_Batch]) -> _Batch:
    """One dataclass of arrays from those of several batches."""
    names = [field.name for field in fields(parts[0])]
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    return type(parts[0])(*arrays)


def _array(path: str) -> NDArray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); give a .npy file as numpy.save writes it"
        ) from None
