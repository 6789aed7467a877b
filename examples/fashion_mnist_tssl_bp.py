"""Train LIF neurons with TSSL-BP on Fashion-MNIST: 784-400-400-10, 5 time steps.

An image is a constant input current (direct encoding); the output neuron with the
largest sum of postsynaptic potentials wins. Ten epochs take about a minute and reach
about 87 %; `examples/configs/fashion_mnist_tssl_bp.yaml` is the authors' training.

    python examples/fashion_mnist_tssl_bp.py --root FOLDER_OF_THE_IDX_FILES

Without --root the environment variable SNN_TEMPORAL_FASHION_MNIST and the folder of
Debian's package dataset-fashion-mnist are looked at.
"""

import argparse

import lightning as L
import torch

from snn_temporal_plugins.training import FashionMNIST, SpikeTrainClassifier

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--root", help="folder of the four idx files")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

torch.set_num_threads(1)
L.seed_everything(arguments.seed, verbose=False)

data = FashionMNIST(
    root=arguments.root, batch_size=100, validation=5000, seed=arguments.seed
)
model = SpikeTrainClassifier(
    "784-400-400-10",
    num_steps=5,
    mean=0.1307,
    std=0.3081,
    dropout=0.2,
    lr=1e-3,
    warmup=0.1,  # one-cycle: a short training wants a schedule
)
trainer = L.Trainer(
    max_epochs=arguments.epochs,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
)
trainer.fit(model, datamodule=data)
(result,) = trainer.test(model, datamodule=data, verbose=False)

# what the neurons do: a PSP is above zero once its neuron has spiked
images, _ = next(iter(data.test_dataloader()))
psp = (images - 0.1307) / 0.3081
for number, layer in enumerate(model.network.eval(), start=1):
    with torch.no_grad():
        psp = layer(psp)
    spoken = (psp[-1] > 0).double().mean()
    print(f"{type(layer).__name__:10} {number}: {spoken:.0%} of the neurons spiked")
print(f"test accuracy {result['test_acc']:.2%}, undecided count as wrong")
