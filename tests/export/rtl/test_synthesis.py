"""Yosys makes gates of the core, keeps the memories, and the gates do the same."""

import json
import re

import pytest

from snn_temporal_plugins.export import (
    SimulatorError,
    emulate,
    first_difference,
    map_network,
    smallest_chip,
    synthesise,
)
from snn_temporal_plugins.export.bundle.simulators import (
    RTL,
    core_parameters,
    simulate_each,
)
from snn_temporal_plugins.export.bundle.synthesis import synthesise_into
from tests.export.random_networks import random_trial
from tests.export.rtl.programs import need


def mapped(seed, num_pes):
    trial = random_trial(seed)
    return map_network(trial.network, smallest_chip(trial.network, num_pes)), trial


def test_memories_stay_memories():
    need("yosys")
    one, four = (synthesise(mapped(3, pes)[0]) for pes in (1, 4))
    chip = mapped(3, 1)[0].chip
    assert one.memories["pe.weights"] == chip.weight_words * chip.weight_bits
    assert one.memories["pe.slopes"] == chip.neurons * chip.slope_bits
    assert one.memories["pe.potentials"] == chip.neurons * (chip.potential_bits + 1)
    assert one.memories["pe.thresholds"] == chip.neurons * chip.potential_bits
    assert set(one.memories) == {
        "core.shapes",
        *(f"pe.{name}" for name in ("weights", "slopes", "potentials", "thresholds")),
        *(f"pe.{name}" for name in ("targets", "routes", "slices", "queue")),
    }
    assert one.memory_bits == sum(one.memories.values())
    once = four.memories["core.shapes"]
    assert four.memory_bits == 4 * (sum(four.memories.values()) - once) + once
    # Memories made of flip-flops would be thousands of them.
    assert 100 < one.flip_flops < 600
    assert one.flip_flops < four.flip_flops < 4 * one.flip_flops
    assert one.gates < four.gates < 4 * one.gates


def test_block_ram_can_hold_each_memory(tmp_path):
    """One port that reads and one that writes, both at the clock edge."""
    need("yosys")
    synthesise_into(tmp_path, core_parameters([mapped(0, 1)[0]]))
    modules = json.loads((tmp_path / "netlist.json").read_text())["modules"]
    memories = [
        cell["parameters"]
        for module in modules.values()
        for cell in module["cells"].values()
        if cell["type"] == "$mem_v2"
    ]
    assert len(memories) == 9
    for memory in memories:
        for key in ("RD_PORTS", "RD_CLK_ENABLE", "WR_PORTS", "WR_CLK_ENABLE"):
            assert int(memory[key], 2) == 1, (memory["MEMID"], key)


@pytest.mark.parametrize(("seed", "num_pes"), [(0, 1), (3, 2)])
def test_the_netlist_does_the_same(seed, num_pes, tmp_path):
    """Ramp and step: the testbench on the gates that Yosys wrote."""
    need("yosys")
    need("icarus")
    mapping, trial = mapped(seed, num_pes)
    parameters = core_parameters([mapping])
    synthesise_into(tmp_path, parameters)
    rtl = tmp_path / "rtl"
    rtl.mkdir()
    bench = (RTL / "ttfs_tb.sv").read_text()
    # The netlist has its parameters in it.
    bench, replaced = re.subn(
        r"ttfs_core #\(.*?\) core", "ttfs_core core", bench, flags=re.S
    )
    assert replaced == 1
    (rtl / "ttfs_tb.sv").write_text(bench)
    (rtl / "ttfs_core.sv").write_text((tmp_path / "netlist.v").read_text())
    (rtl / "ttfs_pe.sv").write_text("")
    (result,) = simulate_each([(mapping, trial.ticks)], rtl=rtl)
    emulation = emulate(trial.network, trial.ticks)
    assert first_difference(mapping, emulation, result) is None


def test_a_missing_yosys_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SimulatorError, match="yosys is not installed; use: apt-get"):
        synthesise(mapped(0, 1)[0])
