"""One training epoch of MNIST 784-400-10 against the same ReLU MLP, in one harness.

    OMP_NUM_THREADS=1 python benchmarks/epoch.py --root FOLDER

Both train under Lightning with the same data module, optimiser, schedule and metrics,
turn by turn in one process on one thread; a pair of epochs gives one ratio of CPU
seconds. Without --root the files are found as always. The epochs of our network go on
training it, so that it is measured as sparse as it becomes. Result:
benchmarks/results/epoch.json.
"""

import argparse
import json
import logging
import statistics
import time
import warnings
from pathlib import Path

import lightning as L
import torch
import torch.nn.functional as F
from paired import processor
from torch import Tensor, nn

from snn_temporal_plugins.training import MNIST, TemporalClassifier

RESULTS = Path(__file__).parent / "results" / "epoch.json"


class ReLUTwin(TemporalClassifier):
    """The same training around a ReLU MLP of the same shape."""

    def __init__(self) -> None:
        layers = nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 10)
        super().__init__(nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.network(x)

    def loss(self, logits: Tensor, label: Tensor, *_: Tensor) -> Tensor:
        """Return the cross-entropy."""
        return F.cross_entropy(logits, label)


def epoch(model: L.LightningModule, data: L.LightningDataModule) -> float:
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    start = time.thread_time()
    trainer.fit(model, datamodule=data)
    return time.thread_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", help="folder of MNIST")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data = MNIST(root=arguments.root, batch_size=128, shift=1)
    torch.manual_seed(0)
    ours = TemporalClassifier("784-400-10", dropout=0.2, lr=2e-3)
    twin = ReLUTwin()
    pairs = [
        (epoch(twin, data), epoch(ours, data)) for _ in range(arguments.rounds + 1)
    ]
    ratios = sorted(b / a for a, b in pairs[1:])  # the first round compiles and loads
    row = {
        "ratio": statistics.median(ratios),
        "lowest": ratios[0],
        "highest": ratios[-1],
        "twin_s": statistics.median(a for a, _ in pairs[1:]),
        "ours_s": statistics.median(b for _, b in pairs[1:]),
        "rounds": arguments.rounds,
        "processor": processor(),
    }
    print(json.dumps(row, indent=1))
    RESULTS.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
