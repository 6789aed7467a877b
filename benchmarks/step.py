"""One training step of a ReL-PSP network against its peers, paired in one process.

    OMP_NUM_THREADS=1 python benchmarks/step.py

Each round times a ReLU MLP of the same shape and one competitor; the ratio of the two
is taken within the round, so that a noisy machine slows both. The median over rounds
and the spread (10th to 90th percentile) go to benchmarks/results/step.json. A step is
forward, loss and backward; the optimiser is the same for all and left out. Times are
CPU seconds of the thread. Memory is the growth of the process's peak during one step,
measured in a process of its own per competitor.

SpikingJelly is optional: `pip install --no-deps spikingjelly==2.0.0 loguru`.
"""

import argparse
import itertools
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_temporal_plugins import build_network, latency_encode, ttfs_cross_entropy

BATCH = 128
RESULTS = Path(__file__).parent / "results" / "step.json"
Step = Callable[[], None]


def images(inputs: int, coded: str) -> Tensor:
    """8-bit intensities: all above 0, or 19 % of them as in MNIST."""
    g = torch.Generator().manual_seed(0)
    x = torch.randint(1, 256, (BATCH, inputs), generator=g) / 255
    if coded == "mnist":
        x[torch.rand(BATCH, inputs, generator=g) >= 0.19] = 0
    return x


LABELS = torch.randint(0, 10, (BATCH,), generator=torch.Generator().manual_seed(1))


def relu(sizes: list[int], coded: str) -> Step:
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    network, x = nn.Sequential(*layers[:-1]), images(sizes[0], coded)

    def step() -> None:
        network.zero_grad()
        F.cross_entropy(network(x), LABELS).backward()

    return step


def ours(sizes: list[int], coded: str) -> Step:
    network = build_network("-".join(map(str, sizes)))
    x = images(sizes[0], coded)

    def step() -> None:
        network.zero_grad()
        ttfs_cross_entropy(network(latency_encode(x)), LABELS).backward()

    return step


def gathered(spike_time: Tensor, weight: Tensor, v_th: float, t_max: float) -> Tensor:
    """The same crossing as sort, cumulative sums and gather, all in torch autograd."""
    t, order = spike_time.sort(1)
    silent = t == math.inf
    t0 = t.masked_fill(silent, 0)
    w = weight.t()[order].masked_fill(silent[:, :, None], 0)  # (batch, in, out)
    slope = w.cumsum(1)
    moment = (w * t0[:, :, None]).cumsum(1)
    after = torch.cat([t[:, 1:], t.new_full((len(t), 1), math.inf)], 1)[:, :, None]
    last = after == math.inf
    v = slope * after.masked_fill(last, 0) - moment
    v = torch.where(last, torch.where(slope > 0, math.inf, -math.inf), v)
    reached, index = (v >= v_th).max(1)
    a = slope.gather(1, index[:, None])[:, 0]
    b = moment.gather(1, index[:, None])[:, 0]
    post = (v_th + b) / torch.where(reached, a, 1)
    return torch.where(reached & (post <= t_max), post, math.inf)


def sorted_gather(sizes: list[int], coded: str) -> Step:
    network = build_network("-".join(map(str, sizes)))
    weights = [layer.weight for layer in network]
    time_in = latency_encode(images(sizes[0], coded))

    def step() -> None:
        network.zero_grad()
        t = time_in
        for weight in weights:
            t = gathered(t, weight, 1.0, 2.0)
        ttfs_cross_entropy(t, LABELS).backward()

    return step


def spikingjelly_srm(sizes: list[int], coded: str) -> Step:
    from spikingjelly.timing_based.neuron import SRM

    source = build_network("-".join(map(str, sizes)))
    layers = []
    for layer in source:
        srm = SRM(layer.in_features, layer.out_features, duration=2.0, max_spikes=512)
        srm.weight = nn.Parameter(layer.weight.detach().contiguous())
        layers.append(srm)
    t = latency_encode(images(sizes[0], coded))
    sample, index = (t < math.inf).nonzero(as_tuple=True)
    offsets = torch.searchsorted(sample, torch.arange(BATCH + 1))
    events = t[sample, index]

    def step() -> None:
        times, where, edges = events, index, offsets
        for srm in layers:
            srm.zero_grad()
            times, where, edges = srm(times, where, edges)
        batch = torch.repeat_interleave(torch.arange(BATCH), edges.diff())
        first = torch.full((BATCH * sizes[-1],), math.inf).scatter_reduce(
            0, batch * sizes[-1] + where, times, "amin"
        )
        ttfs_cross_entropy(first.reshape(BATCH, -1), LABELS).backward()

    return step


COMPETITORS = {
    "ours": (ours, 60),
    "sorted gather": (sorted_gather, 3),
    "SpikingJelly SRM": (spikingjelly_srm, 3),
}


def timed(step: Step) -> float:
    start = time.thread_time()
    step()
    return time.thread_time() - start


def ratio(sizes: list[int], coded: str, name: str) -> dict[str, float]:
    make, rounds = COMPETITORS[name]
    torch.manual_seed(0)
    twin, other = relu(sizes, coded), make(sizes, coded)
    for _ in range(5 if rounds > 5 else 1):
        twin()
        other()
    pairs = [(timed(twin), timed(other)) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    return {
        "ratio": statistics.median(ratios),
        "p10": ratios[len(ratios) // 10],
        "p90": ratios[-1 - len(ratios) // 10],
        "twin_ms": 1e3 * statistics.median(a for a, _ in pairs),
        "step_ms": 1e3 * statistics.median(b for _, b in pairs),
    }


def status(field: str) -> float:
    """A size of this process from Linux's /proc, MiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def memory(sizes: list[int], coded: str, name: str) -> float:
    """How far the peak of this process rises in the first full-size step, MiB."""
    make = relu if name == "ReLU MLP" else COMPETITORS[name][0]
    torch.manual_seed(0)
    make([8, 8, sizes[-1]], coded)()  # loads code, compiles
    step = make(sizes, coded)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak
    step()
    return status("VmHWM") - before


def memory_in_a_process(sizes: list[int], coded: str, name: str) -> float:
    shape = "-".join(map(str, sizes))
    command = [sys.executable, __file__, "--memory", name, "--sizes", shape]
    done = subprocess.run(
        [*command, "--coded", coded], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="784-400-400-10", help="network shape")
    parser.add_argument("--coded", default="mnist", choices=("mnist", "every"))
    parser.add_argument("--memory", help="only print this competitor's peak, MiB")
    parser.add_argument("--only", help="only this competitor")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [int(size) for size in arguments.sizes.split("-")]
    if arguments.memory:
        print(memory(sizes, arguments.coded, arguments.memory))
        return
    rows = []
    names = [arguments.only] if arguments.only else list(COMPETITORS)
    for coded in ("mnist", "every"):
        base = memory_in_a_process(sizes, coded, "ReLU MLP")
        for name in names:
            try:
                row = ratio(sizes, coded, name)
                row["memory_mib"] = memory_in_a_process(sizes, coded, name)
            except ImportError as error:
                print(f"{name}: left out, {error}")
                continue
            row |= {"name": name, "inputs": coded, "sizes": arguments.sizes}
            row["twin_memory_mib"] = base
            rows.append(row)
            print(
                f"{coded:6} {name:18} {row['ratio']:8.2f}x "
                f"[{row['p10']:.2f}, {row['p90']:.2f}]  {row['step_ms']:9.2f} ms"
                f"  {row['memory_mib']:8.1f} MiB (MLP {base:.1f})",
                flush=True,
            )
    if not arguments.only:
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
