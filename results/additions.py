"""Additions and latency per inference: SSTDP against a rate-coded network on MNIST.

    python results/additions.py

The `TickClassifier` is trained as the row mnist_sstdp of `results/train.py`, or taken
from there; the one of seed k is compared with a rate-coded network of the same shape
and seed. A spike costs one addition in each neuron that it reaches: the same count for
both. Result: results/additions.json.

SSTDP: *all* counts every spike of the window of T ticks, *to the decision* those up to
the first output spike of each sample. The latency is the number of ticks up to it.

Rate-coded: a ReLU network without biases, trained by Adam for ten epochs, and converted
as usual (Diehl et al. 2015; Rueckauer et al. 2017): integrate-and-fire neurons with
threshold 1 and reset by subtraction, weights scaled by the 99.9th percentiles of the
activations on training images, and input pixels that spike in each step with a
probability equal to their intensity. It is decided in two ways:

- *count*: by the number of output spikes; no majority is no decision and wrong;
- *potential*: by all that the outputs have collected, fired or not. This is the most
  favourable to the rate-coded network: it needs no output spike.

The other choices favour it too: inputs spike at the highest rate, a spike passes all
layers within a step, and the window is read off the accuracy of the steps on the test
images themselves:

- *close*: the first step at most 0.5 points below the accuracy after 256 steps,
- *equal*: the first step at least as accurate as the SSTDP network,
- *fixed*: all 256 steps.

A step of the one and a tick of the other are each one pass over the spikes of a moment.
Nothing is chosen by the test images but these windows.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from summary import summary
from torch import Tensor, nn
from train import fit

from snn_temporal_plugins.commands.checkpoint import load_model
from snn_temporal_plugins.functional import first_spike_class
from snn_temporal_plugins.training import MNIST, SpikeStatistics
from snn_temporal_plugins.training.data import Split

TABLE = Path(__file__).parent / "additions.json"
STEPS, EPOCHS, PERCENTILE, CLOSE = 256, 10, 0.999, 0.5
DECISIONS = ("count", "potential")
PART = 1000  # samples that run at once


def sstdp(checkpoint: Path, data: MNIST) -> dict[str, Any]:
    """Test a checkpoint; the counts are those of the callback."""
    model = load_model(str(checkpoint))
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[SpikeStatistics()],
    )
    (means,) = trainer.test(model, datamodule=data, verbose=False)
    return {
        "network": model.hparams["network"],
        "ticks": model.hparams["num_ticks"],
        "accuracy": 100 * means["test_acc"],
        "silent": 100 * means["test_silent"],
        "tied": 100 * means["test_tied"],
        "additions": means["test_additions"],
        "additions_to_decision": means["test_additions_to_decision"],
        "latency": means["test_decision_time"] + 1,  # tick 0 takes one
    }


def relu_network(sizes: list[int], seed: int, data: MNIST) -> nn.Sequential:
    """Train the ReLU network that is converted."""
    torch.manual_seed(seed)
    inputs, hidden, outputs = sizes
    network = nn.Sequential(
        nn.Linear(inputs, hidden, bias=False),
        nn.ReLU(),
        nn.Linear(hidden, outputs, bias=False),
    )
    optimizer = torch.optim.Adam(network.parameters())
    loader = data.train_dataloader()
    for epoch in range(EPOCHS):
        loader.set_epoch(epoch)
        for x, label in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(x), label).backward()
            optimizer.step()
    return network


def intensities(split: Split) -> Tensor:
    return split.x.flatten(1).float() / 255


@torch.no_grad()
def converted(network: nn.Sequential, train: Split) -> list[Tensor]:
    """Weights of the spiking network: a rate of 1 is the percentile of its layer."""
    first, relu, last = network
    hidden = relu(first(intensities(Split(train.x[:10_000], train.label))))
    scale, output_scale = percentile(hidden), percentile(last(hidden))
    return [first.weight / scale, last.weight * scale / output_scale]


def percentile(activation: Tensor) -> Tensor:
    return activation.flatten().kthvalue(round(PERCENTILE * activation.numel())).values


@torch.no_grad()
def simulate(weights: list[Tensor], split: Split, seed: int) -> dict[str, list[float]]:
    """Accuracies after each step, and the additions per sample up to it."""
    g = torch.Generator().manual_seed(seed)
    first, last = weights
    correct = {decision: torch.zeros(STEPS) for decision in DECISIONS}
    cost = torch.zeros(STEPS, dtype=torch.float64)
    for start in range(0, len(split.label), PART):
        label = split.label[start : start + PART]
        x = intensities(Split(split.x[start : start + PART], label))
        v = torch.zeros(len(x), len(first))
        collected = torch.zeros(len(x), len(last))  # v + count
        count = torch.zeros_like(collected)
        for step in range(STEPS):
            spikes = (torch.rand(x.shape, generator=g) < x).float()
            v += spikes @ first.t()
            fired = (v >= 1).float()
            v -= fired
            collected += fired @ last.t()
            count += collected - count >= 1
            cost[step] += spikes.sum() * len(first) + fired.sum() * len(last)
            correct["potential"][step] += (collected.argmax(1) == label).sum()
            # the one smallest of -count, -1 if tied
            correct["count"][step] += (first_spike_class(-count) == label).sum()
    samples = len(split.label)
    return {
        "additions": (cost.cumsum(0) / samples).tolist(),
        **{name: (100 * of / samples).tolist() for name, of in correct.items()},
    }


def windows(
    curve: dict[str, list[float]], decision: str, equal: float
) -> dict[str, dict[str, float]]:
    """The windows that are compared; one that no step reaches is left out."""
    accuracy, cost = curve[decision], curve["additions"]
    least = {"close": accuracy[-1] - CLOSE, "equal": equal}
    steps = {"fixed": STEPS}
    for name, wanted in least.items():
        good = [k for k, found in enumerate(accuracy, start=1) if found >= wanted]
        steps |= {name: good[0]} if good else {}
    return {
        name: {"latency": k, "accuracy": accuracy[k - 1], "additions": cost[k - 1]}
        for name, k in steps.items()
    }


def compared(ours: dict[str, Any], window: dict[str, float]) -> dict[str, float]:
    """A window of the rate-coded network over the SSTDP network."""
    return {
        "additions": window["additions"] / ours["additions"],
        "additions_to_decision": window["additions"] / ours["additions_to_decision"],
        "latency": window["latency"] / ours["latency"],
    }


def one_seed(seed: int, root: str | None) -> dict[str, Any]:
    data = MNIST(root=root)
    run = fit("mnist_sstdp", seed, root)
    ours = sstdp(run / "checkpoints" / "last.ckpt", data)
    sizes = [int(size) for size in ours["network"].split("-")]
    network = relu_network(sizes, seed, data)
    test = data.splits.test
    with torch.no_grad():
        right = network(intensities(test)).argmax(1) == test.label
    curve = simulate(converted(network, data.splits.train), test, seed)
    rate = {name: windows(curve, name, ours["accuracy"]) for name in DECISIONS}
    powers = [2**k for k in range(STEPS.bit_length())]
    return {
        "seed": seed,
        "sstdp": ours,
        "relu_accuracy": 100 * right.float().mean().item(),
        "rate": rate,
        "ratio": {
            decision: {name: compared(ours, window) for name, window in found.items()}
            for decision, found in rate.items()
        },
        "curve": {
            "step": powers,
            **{name: [of[k - 1] for k in powers] for name, of in curve.items()},
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--root", help="folder of MNIST")
    arguments = parser.parse_args()
    seeds = []
    for seed in arguments.seeds:
        seeds.append(one_seed(seed, arguments.root))
        print(json.dumps(seeds[-1], indent=1), flush=True)
    table = {"steps": STEPS, "summary": summary(seeds), "seeds": seeds}
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
