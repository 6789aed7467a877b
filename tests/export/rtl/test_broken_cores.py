"""The comparison sees a core that is wrong: each of these mistakes is found."""

import shutil

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    SILENT,
    IntegerDense,
    IntegerNetwork,
    SimulatorError,
    emulate,
    first_difference,
    map_network,
    smallest_chip,
)
from snn_temporal_plugins.export.bundle.simulators import RTL, simulate_each
from tests.export.random_networks import FEW
from tests.export.rtl.programs import need, trial_jobs

PE, CORE = "ttfs_pe.sv", "ttfs_core.sv"
MISTAKES = {
    "strict threshold": (PE, "sum >= SUM_BITS'(thr", "sum > SUM_BITS'(thr", "at tick"),
    "fires again": (PE, "do_visit && !fired && sum", "do_visit && sum", "twice"),
    "wraps low": (PE, "too_low && !is_step ? LOWEST", "0 ? LOWEST", "at tick"),
    "no clear": (PE, "if (do_clear)", "if (0)", "at tick"),
    "narrow adder": (PE, "WEIGHT_BITS) + 1;", "WEIGHT_BITS);", ""),
    "slice one short": (PE, "= visit && !clear && visit_index < own",
                        "= visit && !clear && visit_index + 1 < own", "at tick"),
    "targets mixed up": (PE, ": dense ? ", ": !dense ? ", "at tick"),
    "bases mixed up": (PE, "base + NEURON_AW'(own)", "base", "at tick"),
    "sources mixed up": (CORE, "<= source_base + sources", "<= sources", "at tick"),
    "phases swapped": (CORE, "step == second", "step != second", "at tick"),
    "bursts cut": (CORE, "> longest)", "< longest)", ""),
    "last tick lost": (CORE, "tick + 1 == ticks", "tick + 2 == ticks", ""),
    "PEs in another order": (CORE, "int p = PES - 1; p >= 0; p--",
                             "int p = 0; p < PES; p++", "order"),
    "one cycle more": (CORE, "left == 1) state", "left == 0) state", "cycles"),
}  # fmt: skip


def falling():
    """A neuron that falls by 40 to its floor, -64; if it wrapped, it would fire.

    From -80 it would come to 48, and then to 8.
    """
    layer = IntegerDense(np.array([[1, -40]]), np.array([5]), np.ones(1))
    network = IntegerNetwork((layer,), (2,), 60, 1.0, "ramp")
    chip = smallest_chip(network, 3)
    assert chip.potential_bits == 7
    return map_network(network, chip), np.array([[SILENT, 0], [0, SILENT]])


def outcome(rtl):
    """What the comparison says of a core: None if it has no objection."""
    try:
        for jobs in ([falling()], trial_jobs(FEW[:10], 3)):
            for (mapping, ticks), result in zip(
                jobs, simulate_each(jobs, rtl=rtl, time_limit=100), strict=True
            ):
                emulation = emulate(mapping.network, ticks)
                if wrong := first_difference(mapping, emulation, result):
                    return wrong
    except SimulatorError as error:
        return str(error)
    return None


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake, tmp_path):
    need("icarus")
    name, old, new, said = MISTAKES[mistake]
    shutil.copytree(RTL, tmp_path / "rtl")
    text = (RTL / name).read_text()
    assert text.count(old) == 1
    (tmp_path / "rtl" / name).write_text(text.replace(old, new))
    wrong = outcome(tmp_path / "rtl")
    assert wrong is not None
    assert said in wrong


def test_without_a_mistake_nothing_is_found():
    need("icarus")
    assert outcome(RTL) is None
