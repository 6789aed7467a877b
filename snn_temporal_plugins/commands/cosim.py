"""`snn-temporal cosim`: a bundle in simulators of hardware, compared spike by spike."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export import (
    SILENT,
    Bundle,
    Mapping,
    PEDescriptor,
    SimulatorError,
    emulate,
    encode_pixels,
    estimate_cost,
    first_difference,
    load_chip,
    map_network,
    predict_sanafe,
    read_bundle,
    run_sanafe,
    sanafe_difference,
    sanafe_loihi,
    smallest_chip,
    synthesise,
)
from snn_temporal_plugins.export.bundle.golden_inputs import tail
from snn_temporal_plugins.export.bundle.simulators import Simulator, simulate_each
from snn_temporal_plugins.export.command import load_images

_ROW = "{:<10} {:>4}  {:<20} {:>7} {:>9} {:>13}\n"


class _Job(NamedTuple):
    """Samples of one kind: a name, the network that they start in, their ticks."""

    name: str
    mapping: Mapping
    ticks: NDArray[np.int32]


def run(arguments: Sequence[str]) -> None:
    """Run a bundle in the reference core and compare it with the emulator."""
    parser = argparse.ArgumentParser(
        prog="snn-temporal cosim",
        description="Run the golden cases of a ttfs-bundle, and images, in the "
        "reference core (SystemVerilog) under hardware simulators, and compare every "
        "spike of every layer, the clock cycles and the overflow flags with the "
        "emulator. The core is that of this package; nothing of the bundle is run. "
        "sanafe: the same in SANA-FE (`make sanafe`), with its counts and energies; it "
        "has a chip of its own.",
        epilog="example: snn-temporal cosim digits.bundle --images images.npy "
        "--samples 20 --simulator icarus verilator --pes 1 4",
    )
    parser.add_argument("bundle", help="folder or zip of the bundle")
    parser.add_argument("--images", help=".npy of uint8 pixels, (samples, ...)")
    parser.add_argument("--samples", type=int, help="as many of the images")
    parser.add_argument(
        "--simulator",
        nargs="+",
        choices=(*get_args(Simulator), "sanafe"),
        default=["icarus"],
    )
    chips = parser.add_mutually_exclusive_group()
    chips.add_argument(
        "--pes",
        nargs="+",
        type=int,
        help="numbers of PEs, on the smallest chip that holds the network (default: "
        "the chip of the bundle, else 1)",
    )
    chips.add_argument("--chip", help="JSON description of a chip")
    parser.add_argument(
        "--synthesise", action="store_true", help="count gates and memory bits by Yosys"
    )
    parser.add_argument(
        "--time_limit", type=float, default=3600.0, help="seconds of one simulation"
    )
    settings = parser.parse_args(arguments)
    bundle = read_bundle(settings.bundle)
    images = None
    if settings.images:
        images = load_images(settings.images, bundle.network.input_shape)
        images = images[: settings.samples]
    header = ("simulator", "PEs", "input", "samples", "spikes", "cycles/sample")
    sys.stdout.write(_ROW.format(*header))
    of_the_core = [name for name in settings.simulator if name != "sanafe"]
    for chip in _chips(bundle, settings.pes, settings.chip):
        jobs = _jobs(bundle, chip, images)
        for simulator in of_the_core:
            for row in _compare(jobs, simulator, settings.time_limit):
                sys.stdout.write(_ROW.format(simulator, chip.num_pes, *row))
            sys.stdout.flush()
    if of_the_core:
        sys.stdout.write("all spikes and cycles equal the emulator's, no overflow\n")
    if "sanafe" in settings.simulator:
        jobs = _jobs(bundle, smallest_chip(bundle.network, 1), images)
        for columns, estimates in _compare_in_sanafe(jobs, settings.time_limit):
            sys.stdout.write(_ROW.format("sanafe", "-", *columns, "-") + estimates)
            sys.stdout.flush()
        sys.stdout.write("all spikes, counts and energies equal the emulator's\n")
    if settings.synthesise:
        for chip in _chips(bundle, settings.pes, settings.chip):
            made = synthesise(map_network(bundle.network, chip))
            sys.stdout.write(
                f"{chip.num_pes} PEs by Yosys: {made.gates} gates, {made.flip_flops} "
                f"flip-flops, {made.memory_bits} memory bits\n"
            )


def _chips(
    bundle: Bundle, pes: Sequence[int] | None, path: str | None
) -> list[PEDescriptor]:
    """The chips that the user asked for."""
    if path:
        return [load_chip(path)]
    if pes is None and bundle.chip is not None:
        return [bundle.chip]
    return [smallest_chip(bundle.network, number) for number in pes or [1]]


def _jobs(
    bundle: Bundle, chip: PEDescriptor, images: NDArray[np.uint8] | None
) -> list[_Job]:
    """The golden cases, by the layer that they start at, and the images."""
    jobs = []
    by_start = sorted(bundle.golden, key=lambda case: case.start_layer)
    for start, cases in groupby(by_start, lambda case: case.start_layer):
        ticks = np.stack([case.ticks for case in cases])
        mapping = map_network(tail(bundle.network, start), chip)
        jobs.append(_Job(f"golden, layer {start} on", mapping, ticks))
    if images is not None:
        if bundle.lut is None:
            raise ValueError(
                "the bundle has no pixel table: its inputs come as ticks. Leave "
                "--images away: the golden cases are run"
            )
        ticks = encode_pixels(bundle.lut, images)
        jobs.append(_Job("images", map_network(bundle.network, chip), ticks))
    return jobs


def _compare(
    jobs: Sequence[_Job], simulator: Simulator, time_limit: float
) -> Iterator[tuple[str, int, int, str]]:
    """Simulate, compare, and yield the columns of the table from `input` on."""
    results = simulate_each(
        [(job.mapping, job.ticks) for job in jobs], simulator, time_limit=time_limit
    )
    for job, result in zip(jobs, results, strict=True):
        emulation = emulate(job.mapping.network, job.ticks)
        if wrong := first_difference(job.mapping, emulation, result):
            raise SimulatorError(f"{simulator}, {job.name}: {wrong}")
        spikes = sum(int((ticks != SILENT).sum()) for ticks in result.layer_ticks)
        yield job.name, len(job.ticks), spikes, f"{result.cycles.mean():.0f}"


def _compare_in_sanafe(
    jobs: Sequence[_Job], time_limit: float
) -> Iterator[tuple[tuple[str, int, int], str]]:
    """Run in SANA-FE, compare, and yield columns and what both estimate."""
    for job in jobs:
        network = job.mapping.network
        found = run_sanafe(network, job.ticks, time_limit=time_limit)
        if wrong := sanafe_difference(predict_sanafe(network, job.ticks), found):
            raise SimulatorError(f"sanafe, {job.name}: {wrong}")
        counts = emulate(network, job.ticks).counts
        spikes = sum(int((ticks != SILENT).sum()) for ticks in found.layer_ticks)
        yield (
            (job.name, len(job.ticks), spikes),
            f"  SANA-FE per sample: {1e-6 * found.energy_pj.mean():.2f} uJ, "
            f"{1e3 * found.latency_s.mean():.2f} ms\n"
            f"  ours: {estimate_cost(network, counts, sanafe_loihi())}\n",
        )
