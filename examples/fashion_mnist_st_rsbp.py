"""Train a recurrent network with ST-RSBP on Fashion-MNIST: 784-400-R400-10, 400 steps.

An image is a random spike train for each pixel; the neurons of the layer R400 feed each
other, and the output neuron that spikes most often wins. One epoch takes about seven
minutes on one core and reaches about 86.5 %; the settings, and 16 epochs, are those of
`examples/configs/fashion_mnist_st_rsbp.yaml`.

    python examples/fashion_mnist_st_rsbp.py --root FOLDER_OF_THE_IDX_FILES

Without --root the environment variable SNN_TEMPORAL_FASHION_MNIST and the folder of
Debian's package dataset-fashion-mnist are looked at.
"""

import argparse

import lightning as L
import torch

from snn_temporal_plugins.training import (
    FashionMNIST,
    SpikeCountClassifier,
    record_spike_trains,
)

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--root", help="folder of the four idx files")
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

torch.set_num_threads(1)
L.seed_everything(arguments.seed, verbose=False)

data = FashionMNIST(
    root=arguments.root, batch_size=32, validation=5000, seed=arguments.seed
)
model = SpikeCountClassifier(
    "784-400-R400-10",
    v_th=[20, 20, 15],  # one for each layer
    tau_mem=64,
    tau_syn=8,
    num_steps=400,
    max_rate=1 / 5.5,  # spikes per step of a white pixel
    lr=2e-2,
)
trainer = L.Trainer(
    max_epochs=arguments.epochs,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
)
trainer.fit(model, datamodule=data)
(result,) = trainer.test(model, datamodule=data, verbose=False)

# what the neurons do on 320 test images
counts: dict[str, list[torch.Tensor]] = {}
with record_spike_trains(model.eval()) as trains, torch.no_grad():
    for (images, _), _ in zip(data.test_dataloader(), range(10), strict=False):
        model(images)
        for name, train in trains.items():
            counts.setdefault(name, []).append(train.spikes.sum(0))
del counts["output"]  # is the last layer's
for name, count in counts.items():
    of_neuron = torch.cat(count).mean(0)
    dead = (of_neuron == 0).double().mean()
    print(f"{name:6}: {of_neuron.mean():5.2f} spikes per image, {dead:.1%} never spike")
print(f"test accuracy {result['test_acc']:.2%}, silence counts as wrong")
