"""Callbacks that look at validation and test: count spikes, draw pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from snn_temporal_plugins.functional import decision_time
from snn_temporal_plugins.training.recording import Recording


class SpikeStatistics(Recording):
    """Log how much the layers spike, and how early the network decides.

    Per layer, with `val` or `test` in front: `_spikes/layer1`, the spikes per neuron
    and sample; `_silent/layer1`, the share of neurons that are silent, averaged over
    samples; `_dead/layer1`, the share of neurons that were silent in all samples. Then
    `_spikes`, the spikes per neuron of all layers together, and `_decision_time`, the
    mean time of the first output spike over the samples that have one. All ranks count.
    """

    def on_validation_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Set the counts to zero."""
        self.start(pl_module)
        self._samples = 0
        self._spikes: dict[str, Tensor] = {}  # how often each neuron fired
        self._decided = 0  # samples with an output spike, and the sum of its times
        self._decision_time = 0.0

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the spikes of one batch."""
        first = decision_time(self.times["output"])
        decided = first[first < math.inf]
        self._samples += len(first)
        self._decided += len(decided)
        self._decision_time += float(decided.sum())
        for name, times in self.times.items():
            if name.startswith("layer"):
                count = (times < math.inf).sum(0)
                self._spikes[name] = self._spikes.get(name, 0) + count

    def on_validation_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Log the shares."""
        self.stop()
        stage = "test" if trainer.testing else "val"

        def total(count: float | Tensor) -> Tensor:
            count = torch.as_tensor(count, device=pl_module.device)
            return trainer.strategy.reduce(count, reduce_op="sum")

        samples = total(self._samples)
        spikes = {name: total(count) for name, count in self._spikes.items()}
        for name, count in spikes.items():
            rate = count.sum() / (samples * count.numel())
            pl_module.log(f"{stage}_spikes/{name}", rate, sync_dist=True)
            pl_module.log(f"{stage}_silent/{name}", 1 - rate, sync_dist=True)
            pl_module.log(
                f"{stage}_dead/{name}", (count == 0).float().mean(), sync_dist=True
            )
        if spikes:
            count = torch.cat([count.flatten() for count in spikes.values()])
            pl_module.log(
                f"{stage}_spikes",
                count.sum() / (samples * count.numel()),
                sync_dist=True,
            )
        decided, time = total(self._decided), total(self._decision_time)
        if decided:
            pl_module.log(f"{stage}_decision_time", time / decided, sync_dist=True)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end


class SpikePictures(Recording):
    """Draw the spikes of the first batch of validation or test samples.

    A raster of one sample and a histogram over the batch, as PNG files in the folder
    `pictures` of the run; needs the extra `viz`.

    Args:
        every_n_epochs: Draw after each so many-th epoch of training; test is drawn
            always.
        sample: Which sample of the batch the raster shows.
    """

    def __init__(self, every_n_epochs: int = 1, sample: int = 0) -> None:
        super().__init__()
        if every_n_epochs < 1:
            raise ValueError(
                f"every_n_epochs is {every_n_epochs}, allowed is 1 or more"
            )
        self.every_n_epochs = every_n_epochs
        self.sample = sample

    def on_validation_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Begin to look, if this epoch is to be drawn."""
        due = trainer.testing or (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if due and trainer.is_global_zero and not trainer.sanity_checking:
            self.start(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first batch."""
        if not self.times:
            return
        times = {name: value.cpu() for name, value in self.times.items()}
        self.stop()
        if len(times) > 2:  # the output is the last layer, or follows from it
            del times["output"]
        from snn_temporal_plugins.viz import raster, save_picture, spike_time_histogram

        names, values = list(times), list(times.values())
        stage = "test" if trainer.testing else f"epoch_{trainer.current_epoch:03d}"
        folder = Path(trainer.log_dir or ".") / "pictures"
        save_picture(
            raster(values, names=names, sample=self.sample),
            folder / f"{stage}_raster.png",
        )
        save_picture(
            spike_time_histogram(values, names=names), folder / f"{stage}_times.png"
        )

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
