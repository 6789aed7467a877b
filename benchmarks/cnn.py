"""One training step of a convolutional network of spike times against its ReLU twin.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/cnn.py --root FOLDER

The twin has the same shape: Conv2d, ReLU, MaxPool2d, Linear. A step is encoding,
forward, loss, backward and AdamW on the first 128 test images of MNIST; each round
times the twin and one of ours in this process, CPU seconds of the thread, and the ratio
is taken within the round. Cost depends on who spikes, so ours is timed with the initial
weights and again after `--batches` training batches; the timed steps have rate 0, so
that they do not train on. Memory is how far the peak of a process of its own rises in a
second step. Result: benchmarks/results/cnn.json.
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from paired import (
    Step,
    in_rounds,
    last_line,
    milliseconds,
    peak_of_second_step,
    processor,
    ratios,
)
from peers import train
from torch import Tensor, nn

from snn_temporal_plugins import (
    build_network,
    latency_encode,
    latency_ticks,
    mean_target,
    squared_time_loss,
    ttfs_cross_entropy,
)
from snn_temporal_plugins.neurons.architecture import (
    Convolution,
    Dense,
    Pool,
    read_architecture,
)
from snn_temporal_plugins.training import MNIST

SPEC = "28x28-16C5-P2-32C5-P2-800-128-10"
RESULTS = Path(__file__).parent / "results" / "cnn.json"
TICKS = 256
Batch = tuple[Tensor, Tensor]


def relu_network(spec: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    parts = read_architecture(spec).parts
    for part in parts:
        match part:
            case Pool(side):
                layers.append(nn.MaxPool2d(side))
            case Convolution(channels, maps, side, padding):
                layers += [nn.Conv2d(channels, maps, side, padding=padding), nn.ReLU()]
            case Dense(inputs, neurons, flatten):
                layers += [nn.Flatten()] if flatten else []
                layers += [nn.Linear(inputs, neurons), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def network_of(rule: str, spec: str) -> nn.Sequential:
    torch.manual_seed(0)
    if rule == "relu":
        return relu_network(spec)
    options = {"slope_clip": 2.0} if rule == "stdbp" else {"num_ticks": TICKS}
    return build_network(spec, rule=rule, **options)


def loss_of(rule: str, network: nn.Module, batch: Batch) -> Tensor:
    x, label = batch
    if rule == "relu":
        return F.cross_entropy(network(x), label)
    if rule == "stdbp":
        return ttfs_cross_entropy(network(latency_encode(x)), label)
    post = network(latency_ticks(x, TICKS))
    target = mean_target(post, label, t_max=TICKS, gap=100, over="all")
    return squared_time_loss(post, target, t_max=TICKS)


def step(rule: str, network: nn.Module, batch: Batch) -> Step:
    return train(network, lambda: loss_of(rule, network, batch), lr=0.0)


def pretrain(rule: str, network: nn.Module, data: MNIST, batches: int) -> None:
    batch = iter(data.train_dataloader())
    one = train(network, lambda: loss_of(rule, network, next(batch)), lr=2e-3)
    for _ in range(batches):
        one()


def memory_in_a_process(rule: str, arguments: argparse.Namespace) -> float:
    root = ["--root", arguments.root] if arguments.root else []
    spec = ["--spec", arguments.spec]
    return float(last_line(__file__, "--memory", rule, *spec, *root))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--spec", default=SPEC, help="architecture string")
    parser.add_argument("--root", help="folder of MNIST")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batches", type=int, default=469, help="of the training")
    parser.add_argument("--only", choices=("stdbp", "sstdp"), help="writes no result")
    parser.add_argument("--memory", help="only print the peak of this rule, MiB")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = MNIST(root=arguments.root, batch_size=128, flat=False)
    batch = next(iter(data.test_dataloader()))
    spec = arguments.spec
    if arguments.memory:
        rule = arguments.memory
        print(peak_of_second_step(step(rule, network_of(rule, spec), batch)))
        return
    rows = []
    base = memory_in_a_process("relu", arguments)
    twin = step("relu", network_of("relu", spec), batch)
    for rule in [arguments.only] if arguments.only else ["stdbp", "sstdp"]:
        mebibytes = memory_in_a_process(rule, arguments)
        network = network_of(rule, spec)
        for weights in ("initial", f"after {arguments.batches} batches"):
            if weights != "initial":
                pretrain(rule, network, data, arguments.batches)
            pairs = in_rounds(twin, step(rule, network, batch), rounds=arguments.rounds)
            row = {
                "rule": rule,
                "network": spec,
                "weights": weights,
                "processor": processor(),
                **ratios(pairs),
                "twin_ms": milliseconds([cnn for cnn, _ in pairs]),
                "step_ms": milliseconds([spikes for _, spikes in pairs]),
                "memory_mib": mebibytes,
                "twin_memory_mib": base,
            }
            rows.append(row)
            print(
                f"{rule} {weights:18} {row['ratio']:7.2f}x [{row['p10']:.2f}, "
                f"{row['p90']:.2f}]  {row['step_ms']:8.1f} ms (CNN "
                f"{row['twin_ms']:.1f})  {mebibytes:7.1f} MiB (CNN {base:.1f})",
                flush=True,
            )
    if not arguments.only:
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
