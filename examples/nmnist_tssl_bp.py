"""Train LIF neurons with TSSL-BP on the events of a camera: N-MNIST, 30 steps of 3 ms.

A convolutional network, 12C5-P2-64C5-P2-10, that counts: the label neuron is to spike
15 times, the others at most 3 times. It takes N-MNIST, or SLAYER's small set of 1000 +
100 recordings, on which 20 epochs take some minutes; its 100 test samples have a noise
of about +-4 %.

    python examples/nmnist_tssl_bp.py --root FOLDER_OF_N-MNIST

Without --root the environment variable SNN_TEMPORAL_NMNIST is looked at.
"""

import argparse

import lightning as L
import torch

from snn_temporal_plugins.training import NMNIST, SpikeTrainClassifier

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--root", help="folder of N-MNIST")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

torch.set_num_threads(1)
L.seed_everything(arguments.seed, verbose=False)

data = NMNIST(
    root=arguments.root,
    batch_size=50,
    validation=100,
    num_steps=30,
    seed=arguments.seed,
)
model = SpikeTrainClassifier(
    "2x34x34-12C5P1-P2-64C5-P2-10",
    num_steps=None,  # the data come as steps already
    tau_mem=8.0,
    tau_syn=4.0,
    loss="count",
    desired_count=15.0,
    undesired_count=3.0,
    lr=5e-4,
)
trainer = L.Trainer(
    max_epochs=arguments.epochs,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
)
trainer.fit(model, datamodule=data)
(result,) = trainer.test(model, datamodule=data, verbose=False)

events, _ = next(iter(data.test_dataloader()))
counts = events.sum((1, 2, 3, 4))
print(f"{counts.mean():.0f} input spikes a sample, in {events.shape[1]} steps")
print(f"test accuracy {result['test_acc']:.2%}, undecided count as wrong")
