"""The core's ports, driven by cocotb as a host would, with pauses on both sides."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    SILENT,
    core_cycles,
    emulate,
    map_network,
    memory_images,
    smallest_chip,
)
from snn_temporal_plugins.export.bundle.simulators import (
    RTL,
    core_parameters,
    write_job,
)
from tests.export.random_networks import random_trial
from tests.export.rtl.programs import need

RUN = """
import json, sys
from pathlib import Path
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

rtl, job, parameters = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
runner = get_runner("icarus")
runner.build(
    sources=[rtl / "ttfs_core.sv", rtl / "ttfs_pe.sv"],
    hdl_toplevel="ttfs_core",
    parameters=parameters,
    build_dir=job / "build",
    timescale=("1ns", "1ps"),
)
results = runner.test(
    hdl_toplevel="ttfs_core",
    test_module="core_host",
    build_dir=job / "build",
    test_dir=job,
    results_xml=job / "results.xml",
    extra_env={"TTFS_JOB": str(job)},
)
print("tests and failures:", *get_results(results))
"""


@pytest.mark.parametrize(("seed", "num_pes"), [(3, 1), (5, 3)])
def test_a_host_gets_the_spikes_of_the_emulator(seed, num_pes, tmp_path):
    need("icarus")
    if importlib.util.find_spec("cocotb_tools") is None:
        pytest.skip("cocotb is not installed; pip install cocotb")
    network, ticks = random_trial(seed)
    ticks = ticks[:2]
    mapping = map_network(network, smallest_chip(network, num_pes))
    write_job(tmp_path, memory_images(mapping), ticks)
    emulation = emulate(network, ticks)
    cycles = core_cycles(mapping, emulation)
    samples = []
    for index, sample in enumerate(ticks.reshape(len(ticks), -1)):
        (ids,) = np.nonzero(sample != SILENT)
        events = []
        for layer, fired in enumerate(emulation.layer_ticks):
            row = fired[index].ravel()
            (neurons,) = np.nonzero(row != SILENT)
            events += [[int(row[n]), layer, int(n)] for n in neurons]
        samples.append(
            {
                "spikes": sorted([int(sample[i]), int(i)] for i in ids),
                "events": sorted(events),
                "cycles": int(cycles[index]),
            }
        )
    assert sum(len(sample["events"]) for sample in samples) > 5
    (tmp_path / "expected.json").write_text(json.dumps({"samples": samples}))
    parameters = json.dumps(core_parameters([mapping]))
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(RTL), str(tmp_path), parameters],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": here},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "tests and failures: 2 0" in done.stdout, done.stdout + done.stderr
