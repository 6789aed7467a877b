"""One training step of 784-400-400-10 against the peers, paired in one process.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/step.py --root FOLDER

Each peer of `peers.py` is measured in a process of its own. A round times a ReLU MLP of
the same shape, our step and the peer's; both ratios, peer to MLP and peer to ours, are
taken within the round, so that a noisy machine slows all. Times are CPU seconds of the
thread. Input is the first 128 images of MNIST, and such a batch with every input
spiking. Memory is how far the peak of the process rises in a second step of the peer.

A peer that is not installed is left out; one that does not fit into the memory of the
machine has, instead of numbers, what it asked for. The medians over the rounds and the
spread (10th to 90th percentile) go to benchmarks/results/step.json.
"""

import argparse
import json
import os
import re
import resource
from pathlib import Path

import torch
from paired import (
    in_rounds,
    last_line,
    milliseconds,
    peak_of_second_step,
    processor,
    ratios,
)
from peers import PEERS, intensities, ours, relu
from torch import Tensor

from snn_temporal_plugins.training import MNIST

SIZES, BATCH = [784, 400, 400, 10], 128
RESULTS = Path(__file__).parent / "results" / "step.json"
INPUTS = ("mnist", "every")
TOO_LARGE = re.compile(r"you tried to allocate (\d+) bytes")


def images(inputs: str, root: str | None) -> Tensor:
    """The first images of MNIST, or as many with every input spiking."""
    if inputs == "mnist":
        return next(iter(MNIST(root=root, batch_size=BATCH).test_dataloader()))[0]
    return intensities(BATCH)


def measured(name: str, x: Tensor) -> dict[str, object]:
    """Times and ratios of a peer, and how much memory its step takes."""
    peer = PEERS[name]
    torch.manual_seed(0)
    step = peer.make(SIZES, x)
    memory = peak_of_second_step(step)  # first, while nothing else is here
    steps = relu(SIZES, x), ours(SIZES, x), step
    rounds = in_rounds(*steps, rounds=peer.rounds)
    twin, own, other = zip(*rounds, strict=True)
    return {
        "rounds": peer.rounds,
        "processor": processor(),
        "twin_ms": milliseconds(twin),
        "ours_ms": milliseconds(own),
        "step_ms": milliseconds(other),
        "over_twin": ratios([*zip(twin, other, strict=True)]),
        "over_ours": ratios([*zip(own, other, strict=True)]),
        "memory_mib": memory,
    }


def attempt(name: str, inputs: str, root: str | None) -> dict[str, object]:
    """The same, or what the peer asked for that this machine does not have."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    x = images(inputs, root)
    try:
        return measured(name, x)
    except RuntimeError as error:
        wanted = TOO_LARGE.search(str(error))
        if wanted is None:
            raise
        return {"asks_for_gb": int(wanted[1]) / 1e9, "of_gb": memory / 1e9}
    except ImportError as error:
        return {"missing": str(error)}


def in_a_process(name: str, inputs: str, root: str | None) -> dict[str, object]:
    folder = ["--root", root] if root else []
    return json.loads(last_line(__file__, "--peers", name, "--alone", inputs, *folder))


def said(row: dict) -> str:
    """A row, as the terminal shows it."""
    start = f"{row['inputs']:6} {row['name']:30}"
    if "asks_for_gb" in row:
        return f"{start} cannot run: asks for {row['asks_for_gb']:.0f} GB"
    twin, own = row["over_twin"], row["over_ours"]
    return (
        f"{start} {row['step_ms']:10.2f} ms  "
        f"{twin['ratio']:9.2f}x the MLP [{twin['p10']:.2f}, {twin['p90']:.2f}]  "
        f"{own['ratio']:9.2f}x ours [{own['p10']:.2f}, {own['p90']:.2f}]  "
        f"{row['memory_mib']:8.1f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", help="folder of MNIST")
    parser.add_argument(
        "--peers", nargs="+", default=[*PEERS], choices=PEERS, metavar="NAME",
        help=f"only these; the other rows stay as they are: {', '.join(PEERS)}",
    )  # fmt: skip
    parser.add_argument("--alone", choices=INPUTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.alone:
        print(json.dumps(attempt(*arguments.peers, arguments.alone, arguments.root)))
        return
    rows = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else []
    table = {(row["inputs"], row["name"]): row for row in rows}
    for name in arguments.peers:
        for inputs in INPUTS:
            found = in_a_process(name, inputs, arguments.root)
            if "missing" in found:
                print(f"{name}: left out, {found['missing']}")
                continue
            row = {"inputs": inputs, "name": name, "model": PEERS[name].model, **found}
            table[inputs, name] = row
            print(said(row), flush=True)
            order = [table[i, n] for n in PEERS for i in INPUTS if (i, n) in table]
            RESULTS.write_text(json.dumps(order, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
