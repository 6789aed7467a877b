"""The reference core as gates and memories, by Yosys (`apt-get install yosys`)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping as Table
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_temporal_plugins.export.bundle.mapping import Mapping
from snn_temporal_plugins.export.bundle.simulators import (
    RTL,
    core_parameters,
    run_program,
)

__all__ = ["Synthesis", "synthesise", "synthesise_into"]

# Much as Yosys's own `synth`, but memories stay memories; fails on a multiplier.
_SCRIPT = """\
read_verilog -sv {sources}
chparam {parameters} ttfs_core
hierarchy -check -top ttfs_core
proc
opt
select -assert-none t:$mul t:$div t:$mod
wreduce
alumacc
opt
memory -nomap
opt -fast
techmap
opt -fast
abc -fast -g AND,OR,XOR,MUX
opt -fast
check -assert
tee -q -o stat.json stat -json
write_json netlist.json
write_verilog -noattr netlist.v
"""


@dataclass(frozen=True)
class Synthesis:
    """What a core for one network is made of.

    Attributes:
        parameters: of `ttfs_core`.
        cells: number of each kind of Yosys's one-bit cells, all PEs together.
        memories: bits of each memory: `pe.<name>` of one PE, `core.<name>` of the core.
    """

    parameters: dict[str, int]
    cells: dict[str, int]
    memories: dict[str, int]

    @property
    def flip_flops(self) -> int:
        """Flip-flops outside of the memories."""
        return sum(n for kind, n in self.cells.items() if "DFF" in kind)

    @property
    def gates(self) -> int:
        """Gates of two inputs, inverters and multiplexers."""
        return sum(self.cells.values()) - self.flip_flops

    @property
    def memory_bits(self) -> int:
        """Bits of all memories of all PEs."""
        return sum(
            bits * (self.parameters["PES"] if name.startswith("pe.") else 1)
            for name, bits in self.memories.items()
        )


def synthesise(mapping: Mapping, *, time_limit: float = 600.0) -> Synthesis:
    """Synthesise the smallest core of a chip's widths that holds a network.

    Args:
        mapping: the network on the chip.
        time_limit: seconds.

    Returns:
        Gates, flip-flops and memory bits. They are counts of one-bit cells before any
        technology: a measure of size, not an area.

    Raises:
        SimulatorError: if Yosys is not installed, fails or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="ttfs-") as name:
        return synthesise_into(
            Path(name), core_parameters([mapping]), time_limit=time_limit
        )


def synthesise_into(
    folder: Path, parameters: Table[str, int], *, time_limit: float = 600.0
) -> Synthesis:
    """Synthesise a core and leave its netlist, `netlist.v`, in a folder.

    Args:
        folder: where the files go.
        parameters: of `ttfs_core`.
        time_limit: seconds.

    Returns:
        As `synthesise`.

    Raises:
        SimulatorError: if Yosys is not installed, fails or takes too long.
    """
    sources = " ".join(str(RTL / name) for name in ("ttfs_pe.sv", "ttfs_core.sv"))
    values = " ".join(f"-set {name} {value}" for name, value in parameters.items())
    script = folder / "synth.ys"
    script.write_text(_SCRIPT.format(sources=sources, parameters=values))
    run_program(["yosys", "-q", str(script)], folder, time_limit)
    counted = json.loads((folder / "stat.json").read_text())["design"]
    modules = json.loads((folder / "netlist.json").read_text())["modules"]
    cells = {
        kind.strip("$_"): count
        for kind, count in sorted(counted["num_cells_by_type"].items())
        if kind != "$mem_v2"
    }
    return Synthesis(dict(parameters), cells, _memory_bits(modules))


def _memory_bits(modules: Table[str, Any]) -> dict[str, int]:
    """Bits of each memory, by the words and widths of Yosys's memory cells."""
    bits = {}
    for module, content in modules.items():
        owner = "core" if module == "ttfs_core" else "pe"
        for cell in content["cells"].values():
            if cell["type"] == "$mem_v2":
                words, width = (
                    int(cell["parameters"][key], 2) for key in ("SIZE", "WIDTH")
                )
                name = cell["parameters"]["MEMID"].strip("\\")
                bits[f"{owner}.{name}"] = words * width
    return bits
