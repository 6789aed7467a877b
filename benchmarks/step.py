"""One training step of a ReL-PSP network against its peers, paired in one process.

    OMP_NUM_THREADS=1 python benchmarks/step.py

Each round times a ReLU MLP of the same shape and one competitor; the ratio of the two
is taken within the round, so that a noisy machine slows both. The median over rounds
and the spread (10th to 90th percentile) go to benchmarks/results/step.json. A step is
encoding, forward, loss, backward and AdamW; times are CPU seconds of the thread. Input
is the first 128 images of MNIST (`--root`), and such a batch with every input spiking.
Memory is how far the peak of a process of its own rises in a second step.

SpikingJelly is optional: `pip install --no-deps spikingjelly==2.0.0 loguru`.
"""

import argparse
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from paired import Step, in_rounds, milliseconds, peak_of_second_step, ratios
from torch import Tensor, nn

from snn_temporal_plugins import build_network, latency_encode, ttfs_cross_entropy
from snn_temporal_plugins.training import MNIST

BATCH = 128
RESULTS = Path(__file__).parent / "results" / "step.json"


def images(inputs: int, coded: str, root: str | None) -> Tensor:
    """8-bit intensities, all above 0; or the first images of MNIST."""
    if coded == "mnist":
        return next(iter(MNIST(root=root, batch_size=BATCH).test_dataloader()))[0]
    g = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (BATCH, inputs), generator=g) / 255


def adamw(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), weight_decay=0.0, fused=True)


LABELS = torch.randint(0, 10, (BATCH,), generator=torch.Generator().manual_seed(1))


def relu(sizes: list[int], x: Tensor) -> Step:
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    optimizer = adamw(network)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(x), LABELS).backward()
        optimizer.step()

    return step


def ours(sizes: list[int], x: Tensor) -> Step:
    network = build_network("-".join(map(str, sizes)))
    optimizer = adamw(network)

    def step() -> None:
        optimizer.zero_grad()
        ttfs_cross_entropy(network(latency_encode(x)), LABELS).backward()
        optimizer.step()

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


def sorted_gather(sizes: list[int], x: Tensor) -> Step:
    network = build_network("-".join(map(str, sizes)))
    optimizer = adamw(network)

    def step() -> None:
        optimizer.zero_grad()
        t = latency_encode(x)
        for layer in network:
            t = gathered(t, layer.weight, 1.0, 2.0)
        ttfs_cross_entropy(t, LABELS).backward()
        optimizer.step()

    return step


def spikingjelly_srm(sizes: list[int], x: Tensor) -> Step:
    from spikingjelly.timing_based.neuron import SRM

    network = nn.Sequential()
    for layer in build_network("-".join(map(str, sizes))):
        srm = SRM(layer.in_features, layer.out_features, duration=2.0, max_spikes=512)
        srm.weight = layer.weight
        network.append(srm)
    optimizer = adamw(network)

    def step() -> None:
        optimizer.zero_grad()
        t = latency_encode(x)
        sample, index = (t < math.inf).nonzero(as_tuple=True)
        events = t[sample, index]
        offsets = torch.searchsorted(sample, torch.arange(BATCH + 1))
        for layer in network:
            events, index, offsets = layer(events, index, offsets)
        # many spikes per neuron: the first of each output decides
        sample = torch.repeat_interleave(torch.arange(BATCH), offsets.diff())
        place = sample * sizes[-1] + index
        first = torch.full((BATCH * sizes[-1],), math.inf)
        first = first.scatter_reduce(0, place, events, "amin")
        ttfs_cross_entropy(first.reshape(BATCH, -1), LABELS).backward()
        optimizer.step()

    return step


COMPETITORS = {
    "ours": (ours, 60),
    "sorted gather": (sorted_gather, 3),
    "SpikingJelly SRM": (spikingjelly_srm, 3),
}


def ratio(sizes: list[int], x: Tensor, name: str) -> dict[str, float]:
    make, rounds = COMPETITORS[name]
    torch.manual_seed(0)
    twin, other = relu(sizes, x), make(sizes, x)
    pairs = in_rounds(twin, other, rounds)
    return {
        **ratios(pairs),
        "twin_ms": milliseconds([mlp for mlp, _ in pairs]),
        "step_ms": milliseconds([competitor for _, competitor in pairs]),
    }


def memory(sizes: list[int], x: Tensor, name: str) -> float:
    """How far the peak of this process rises in a step, MiB."""
    make = relu if name == "ReLU MLP" else COMPETITORS[name][0]
    torch.manual_seed(0)
    return peak_of_second_step(make(sizes, x))


def memory_in_a_process(name: str, arguments: argparse.Namespace, coded: str) -> float:
    command = [sys.executable, __file__, "--memory", name, "--coded", coded]
    command += ["--sizes", arguments.sizes]
    command += ["--root", arguments.root] if arguments.root else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="784-400-400-10", help="network shape")
    parser.add_argument("--root", help="folder of MNIST")
    parser.add_argument("--only", help="only this competitor; writes no result")
    parser.add_argument("--coded", default="mnist", choices=("mnist", "every"))
    parser.add_argument("--memory", help="only print this competitor's peak, MiB")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [int(size) for size in arguments.sizes.split("-")]
    if arguments.memory:
        x = images(sizes[0], arguments.coded, arguments.root)
        print(memory(sizes, x, arguments.memory))
        return
    rows = []
    names = [arguments.only] if arguments.only else list(COMPETITORS)
    for coded in ("mnist", "every"):
        x = images(sizes[0], coded, arguments.root)
        base = memory_in_a_process("ReLU MLP", arguments, coded)
        for name in names:
            try:
                row: dict[str, object] = {**ratio(sizes, x, name)}
            except ImportError as error:
                print(f"{name}: left out, {error}")
                continue
            row["memory_mib"] = memory_in_a_process(name, arguments, coded)
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
