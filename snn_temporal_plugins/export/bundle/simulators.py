"""The reference core in Icarus Verilog and Verilator: networks as hardware runs them.

The simulators are programs of their own (`apt-get install iverilog verilator`); they
are built and run in a temporary folder, from the SystemVerilog of this package.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snn_temporal_plugins.export.bundle.chip import PEDescriptor
from snn_temporal_plugins.export.bundle.cycles import core_cycles
from snn_temporal_plugins.export.bundle.emulate import (
    Emulation,
    check_ticks,
    spike_difference,
)
from snn_temporal_plugins.export.bundle.integer import SILENT, IntegerNetwork
from snn_temporal_plugins.export.bundle.mapping import Mapping, map_network
from snn_temporal_plugins.export.bundle.memory import memory_images

__all__ = [
    "RTL",
    "Simulation",
    "Simulator",
    "SimulatorError",
    "core_parameters",
    "first_difference",
    "run_program",
    "simulate",
    "simulate_each",
    "smallest_chip",
]

RTL = Path(__file__).parent / "rtl"
"""Folder of the SystemVerilog sources."""

Simulator: TypeAlias = Literal["icarus", "verilator"]

_SOURCES = ("ttfs_tb.sv", "ttfs_core.sv", "ttfs_pe.sv")
_PACKAGES = "apt-get install iverilog verilator yosys"
_ROOMY = 1 << 24  # the most words that a description may say
_END = 0xFFFFFFFF  # after the input spikes of a sample


class SimulatorError(RuntimeError):
    """A simulator is missing, failed, or refused its files."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """What the core did with a batch of samples.

    Attributes:
        layer_ticks: first-spike ticks as in `Emulation`: one `(batch, *shape)` int32
            array per layer.
        cycles: `(batch,)` int64, clock cycles of each sample.
        slope_overflow: `(batch,)` bool, a slope did not fit its register.
        potential_overflow: `(batch,)` bool, a potential did not.
    """

    layer_ticks: tuple[NDArray[np.int32], ...]
    cycles: NDArray[np.int64]
    slope_overflow: NDArray[np.bool_]
    potential_overflow: NDArray[np.bool_]


def simulate(
    mapping: Mapping,
    ticks: ArrayLike,
    simulator: Simulator = "icarus",
    *,
    time_limit: float = 600.0,
) -> Simulation:
    """Run the reference core on a batch of samples.

    Args:
        mapping: a network on a chip.
        ticks: `(batch, *input_shape)` integers, ticks of the input spikes.
        simulator: "icarus" or "verilator".
        time_limit: seconds that building and running may take, each.

    Returns:
        Spikes of all layers, cycles and overflow flags.

    Raises:
        SimulatorError: if the simulator is not installed, fails or takes too long.
        ValueError: if the ticks have the wrong type, shape or range.
    """
    (result,) = simulate_each([(mapping, ticks)], simulator, time_limit=time_limit)
    return result


def simulate_each(
    jobs: Sequence[tuple[Mapping, ArrayLike]],
    simulator: Simulator = "icarus",
    *,
    time_limit: float = 600.0,
    rtl: Path = RTL,
) -> list[Simulation]:
    """Run several networks on one build of the core, large enough for all of them.

    Args:
        jobs: networks on the same chip, each with its input ticks as in `simulate`.
        simulator: "icarus" or "verilator".
        time_limit: seconds that building and running may take, each.
        rtl: folder of the core and its testbench.

    Returns:
        One result per network.

    Raises:
        SimulatorError: if the simulator is not installed, fails or takes too long.
        ValueError: if the ticks have the wrong type, shape or range.
    """
    checked = [(m, check_ticks(m.network, ticks)) for m, ticks in jobs]
    with tempfile.TemporaryDirectory(prefix="ttfs-") as name:
        folder = Path(name)
        command = build(
            simulator,
            core_parameters([mapping for mapping, _ in jobs]),
            folder,
            time_limit=time_limit,
            rtl=rtl,
        )
        for index, (mapping, ticks) in enumerate(checked):
            write_job(folder / str(index), memory_images(mapping), ticks)
        run_jobs(command, folder, range(len(jobs)), time_limit=time_limit)
        return [
            _read_job(folder / str(index), mapping, len(ticks))
            for index, (mapping, ticks) in enumerate(checked)
        ]


def first_difference(
    mapping: Mapping, emulation: Emulation, simulation: Simulation
) -> str | None:
    """The first thing in which the core and the emulator differ, in words.

    Args:
        mapping: the network on the chip.
        emulation: of the same network and samples.
        simulation: what the core did.

    Returns:
        A sentence on a spike, an overflow flag or a number of cycles; None if all of
        them are equal (and the flags 0).
    """
    pairs = emulation.layer_ticks, simulation.layer_ticks
    if (spike := spike_difference(*pairs, "the core")) is not None:
        return spike
    for flag in ("slope_overflow", "potential_overflow"):
        if (samples := np.flatnonzero(getattr(simulation, flag))).size:
            return f"sample {samples[0]}: {flag} is set"
    cycles = core_cycles(mapping, emulation)
    if (samples := np.flatnonzero(cycles != simulation.cycles)).size:
        sample = samples[0]
        return (
            f"sample {sample}: the core takes {simulation.cycles[sample]} cycles, the "
            f"formula says {cycles[sample]}"
        )
    return None


def smallest_chip(network: IntegerNetwork, num_pes: int) -> PEDescriptor:
    """The chip on which a network fits with nothing to spare.

    Args:
        network: the integer network.
        num_pes: number of PEs.

    Returns:
        A description without a spare word or bit.

    Raises:
        MappingError: if no chip of so many PEs can hold the network.
    """
    roomy = PEDescriptor(
        name="smallest",
        num_pes=num_pes,
        neurons=_ROOMY,
        weight_words=_ROOMY,
        target_words=_ROOMY,
        route_words=_ROOMY,
        weight_bits=8,
        slope_bits=32,
        potential_bits=32,
        event_words=_ROOMY,
    )
    report = map_network(network, roomy).report()
    words = {
        name: max(pe[name]["used"] for pe in report["pes"]) for name in report["pes"][0]
    }
    bits = {
        name: max(2, *(layer[name] for layer in report["layers"]))
        for name in ("weight_bits", "slope_bits", "potential_bits")
    }
    return replace(roomy, **words, **bits, event_words=report["event_words"]["used"])


def core_parameters(mappings: Sequence[Mapping]) -> dict[str, int]:
    """Parameters of the smallest core of a chip's widths that holds these networks.

    Args:
        mappings: networks on the same chip.

    Returns:
        Values of the parameters of `ttfs_core`.

    Raises:
        ValueError: if the chips differ.
    """
    chips = {mapping.chip for mapping in mappings}
    if len(chips) != 1:
        raise ValueError(f"got {len(chips)} different chips; allowed: one per build")
    (chip,) = chips

    def most(memory: str) -> int:
        words = (mapping.words(memory).sum(axis=0).max() for mapping in mappings)
        return max(1, *map(int, words))

    return {
        "PES": chip.num_pes,
        "NEURONS": most("neurons"),
        "WEIGHT_WORDS": most("weight_words"),
        "TARGET_WORDS": most("target_words"),
        "ROUTE_WORDS": most("route_words"),
        "EVENT_WORDS": max(max(mapping.slices) for mapping in mappings),
        "LAYERS": max(len(mapping.slices) for mapping in mappings),
        "WEIGHT_BITS": chip.weight_bits,
        "SLOPE_BITS": chip.slope_bits,
        "POTENTIAL_BITS": chip.potential_bits,
    }


def build(
    simulator: Simulator,
    parameters: Table[str, int],
    folder: Path,
    *,
    time_limit: float = 600.0,
    rtl: Path = RTL,
) -> list[str]:
    """Compile the testbench and the core.

    Args:
        simulator: "icarus" or "verilator".
        parameters: of `ttfs_core`.
        folder: where the result goes.
        time_limit: seconds.
        rtl: folder of the sources.

    Returns:
        The command that runs it.

    Raises:
        SimulatorError: if the simulator is not installed, fails or takes too long.
        ValueError: if there is no simulator of this name.
    """
    sources = [str(rtl / name) for name in _SOURCES]
    if simulator == "icarus":
        program = str(folder / "ttfs_tb.vvp")
        values = [f"-Pttfs_tb.{name}={value}" for name, value in parameters.items()]
        options = ["-g2012", "-s", "ttfs_tb", "-o", program]
        run_program(["iverilog", *options, *values, *sources], folder, time_limit)
        return ["vvp", "-n", program]
    if simulator == "verilator":
        made = folder / "verilated"
        values = [f"-G{name}={value}" for name, value in parameters.items()]
        options = ["--binary", "-O3", "--top-module", "ttfs_tb", "--Mdir", str(made)]
        run_program(["verilator", *options, *values, *sources], folder, time_limit)
        return [str(made / "Vttfs_tb")]
    raise ValueError(
        f"simulator is {simulator!r}; allowed: {', '.join(get_args(Simulator))}"
    )


def write_job(
    folder: Path, images: Table[str, bytes], ticks: NDArray[np.int32]
) -> None:
    """Write the files that the testbench wants of one network.

    Args:
        folder: of this network; it is made.
        images: the memory images.
        ticks: `(batch, *input_shape)` ticks of the input spikes.
    """
    for name, content in images.items():
        path = folder / "mem" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    words = [len(ticks)]
    width = math.prod(ticks.shape[1:])
    for sample in ticks.reshape(-1, width).astype(np.int64):
        (ids,) = np.nonzero(sample != SILENT)
        words += [*np.sort(sample[ids] << 16 | ids).tolist(), _END]
    words.append(sum(words) % (1 << 32))
    text = "".join(f"{word:08x}\n" for word in words)
    (folder / "in.hex").write_text(text, encoding="ascii")


def run_jobs(
    command: Sequence[str],
    folder: Path,
    jobs: Sequence[int],
    *,
    time_limit: float = 600.0,
) -> None:
    """Run the testbench on folders that `write_job` has filled.

    Args:
        command: what `build` returned.
        folder: that holds the jobs.
        jobs: their names.
        time_limit: seconds.

    Raises:
        SimulatorError: with the words of the testbench, if it refused a file.
    """
    listed = "".join(f"{job}\n" for job in jobs)
    (folder / "jobs.txt").write_text(listed, encoding="ascii")
    said = run_program([*command, "+jobs=jobs.txt"], folder, time_limit)
    if "DONE" not in said.splitlines():
        raise SimulatorError(f"{command[0]} ended before its end: {said[-2000:]}")


def run_program(command: Sequence[str], folder: Path, time_limit: float) -> str:
    """Run a program of the hardware tools, without a shell.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        time_limit: seconds.

    Returns:
        What it wrote, errors included.

    Raises:
        SimulatorError: if it is not installed, fails or takes too long.
    """
    if shutil.which(command[0]) is None:
        raise SimulatorError(f"{command[0]} is not installed; use: {_PACKAGES}")
    log = folder / "log.txt"  # a pipe would wait for what the program started
    try:
        with log.open("wb") as output:
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=time_limit,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise SimulatorError(
            f"{command[0]} did not end within {time_limit:g} s; give it fewer samples "
            "or a longer time_limit"
        ) from None
    said = log.read_text(encoding="utf-8", errors="replace")
    if done.returncode:
        refused = [line for line in said.splitlines() if line.startswith("REFUSED")]
        reason = refused[0] if refused else said[-2000:]
        raise SimulatorError(f"{Path(command[0]).name} failed: {reason}")
    return said


def _read_job(folder: Path, mapping: Mapping, batch: int) -> Simulation:
    """The results of one network."""
    samples = _table(folder / "samples.csv", 4)
    if samples[:, 0].tolist() != list(range(batch)):
        raise SimulatorError(f"{len(samples)} samples came back of {batch}")
    events = _table(folder / "events.csv", 4)
    sample, layer, neuron, tick = events.T
    if (np.lexsort((neuron, layer, tick, sample)) != np.arange(len(events))).any():
        raise SimulatorError("the spikes are not in the order of tick, layer, neuron")
    layer_ticks = []
    for index, shape in enumerate(mapping.network.shapes):
        here = layer == index
        fired = np.full((batch, math.prod(shape)), SILENT, dtype=np.int32)
        fired[sample[here], neuron[here]] = tick[here]
        if np.count_nonzero(fired != SILENT) != np.count_nonzero(here):
            raise SimulatorError(f"a neuron of layer {index} spiked twice")
        layer_ticks.append(fired.reshape(batch, *shape))
    return Simulation(
        tuple(layer_ticks),
        samples[:, 1],
        samples[:, 2].astype(bool),
        samples[:, 3].astype(bool),
    )


def _table(path: Path, columns: int) -> NDArray[np.int64]:
    """A file of comma-separated integers, which may be empty."""
    numbers = path.read_text(encoding="ascii").replace(",", " ").split()
    return np.array(numbers, dtype=np.int64).reshape(-1, columns)
