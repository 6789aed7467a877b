"""Run folders of `write_sanafe` in SANA-FE; a program of its own, never imported.

    PYTHON -I sanafe_runner.py FOLDER ...

PYTHON is that of an environment that has sanafe 2.2.9, a GPL-3 program. Of each folder
it reads `arch.yaml`, `net.yaml` and `run.json` and writes `result.json`: for every
sample the spikes as `[group, neuron, step]` and what SANA-FE counted and estimated.
Plain Python and SANA-FE's public interface alone.
"""

import json
import sys
from pathlib import Path

import sanafe


def run(folder: Path) -> None:
    """Simulate all samples of one folder, each on a chip of its own.

    A chip that has run keeps its refractory neurons even after `reset()`.
    """
    plan = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    arch = sanafe.load_arch(str(folder / "arch.yaml"))
    net = sanafe.load_net(str(folder / "net.yaml"), arch)
    samples = []
    for ticks in plan["ticks"]:
        for neuron, tick in zip(net["input"], ticks, strict=True):
            train = [] if tick == plan["silent"] else [0] * tick + [1]
            neuron.set_attributes(model_attributes={"spikes": train})
        chip = sanafe.SpikingChip(arch)
        chip.load(net)
        got = chip.sim(
            plan["steps"], processing_threads=1, spike_trace=True, perf_trace=True
        )
        samples.append(
            {
                "spikes": [
                    [one.group_name, one.neuron_offset, step]
                    for step, fired in enumerate(got["spike_trace"])
                    for one in fired
                ],
                "synaptic_events": got["spikes"],
                "messages": got["packets_sent"],
                "hops": sum(got["perf_trace"]["hops"]),
                "updates": got["neurons_updated"],
                "fired": got["neurons_fired"],
                "energy_j": got["energy"],
                "latency_s": got["sim_time"],
            }
        )
    (folder / "result.json").write_text(json.dumps(samples) + "\n", encoding="utf-8")


for name in sys.argv[1:]:
    run(Path(name))
