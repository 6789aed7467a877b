"""Callbacks that look at validation and test: count spikes, draw pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from snn_temporal_plugins.training.additions import record_layer_inputs
from snn_temporal_plugins.training.counting import SpikeTimeCount, SpikeTrainCount
from snn_temporal_plugins.training.recording import (
    FirstSpikes,
    Recording,
    without_repeat,
)
from snn_temporal_plugins.training.spike_train import SpikeTrainClassifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SpikeStatistics(Recording):
    """Log how much the layers spike. All ranks count.

    With `val` or `test` in front, for first spikes: `_spikes/layer1`, the spikes per
    neuron and sample; `_silent/layer1`, the share of neurons that are silent, averaged
    over samples; `_dead/layer1`, the share of neurons that were silent in all samples.
    Then `_spikes`, the spikes per neuron of all layers together, and `_decision_time`,
    the mean time of the first output spike over the samples that have one. If all
    weights belong to layers of this package, `_additions` too, the additions that an
    inference costs where each spike adds one weight in each neuron it reaches; and
    `_additions_to_decision`, those up to the first output spike, after which inference
    may stop (all of them where there is none). Both are means over samples.

    For spike trains: `_rate/layer1`, the spikes per neuron and step; `_dead/layer1`;
    `_surrogate/layer1`, the share of all steps in which a PSP is below 1/(4 tau_syn),
    where TSSL-BP learns by its surrogate instead of by timing, unless `decision` says
    otherwise. Then `_rate`, the rate of all layers together.
    """

    def on_validation_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Set the counts to zero."""
        self.start(pl_module)
        self._count: SpikeTimeCount | SpikeTrainCount = SpikeTrainCount(
            surrogate=isinstance(pl_module, SpikeTrainClassifier)
        )
        if isinstance(pl_module, FirstSpikes):
            entered = self._hooks.enter_context(record_layer_inputs(pl_module))
            self._count = SpikeTimeCount(entered)

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
        self._count.add(self.seen)

    def on_validation_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Log the shares."""
        self.stop()
        stage = "test" if trainer.testing else "val"

        def total(count: float | Tensor) -> Tensor:
            count = torch.as_tensor(count, device=pl_module.device)
            return trainer.strategy.reduce(count, reduce_op="sum")

        for name, mean in self._count.means(total).items():
            pl_module.log(f"{stage}_{name}", mean, sync_dist=True)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end


class SpikePictures(Recording):
    """Draw the spikes of the first batch of validation or test samples.

    PNG files in the folder `pictures` of the run: a raster of one sample; for first
    spikes a histogram of their times over the batch; for spike trains the output PSPs
    of a few samples and a histogram of the firing rates. Needs the extra `viz`.

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
        if due and not trainer.sanity_checking:
            # asked of all ranks: they tell each other
            self._folder = Path(trainer.log_dir or ".") / "pictures"
            if trainer.is_global_zero:
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
        if not self.seen:
            return
        seen = self.seen
        self.stop()
        figures = (
            self._of_times(seen, pl_module.hparams.get("num_ticks", 1))
            if isinstance(pl_module, FirstSpikes)
            else self._of_trains(seen, batch[1])
        )
        from snn_temporal_plugins.viz import save_picture

        stage = "test" if trainer.testing else f"epoch_{trainer.current_epoch:03d}"
        for name, figure in figures.items():
            save_picture(figure, self._folder / f"{stage}_{name}.png")

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end

    def _of_times(self, seen: dict[str, Any], window: float) -> dict[str, Figure]:
        from snn_temporal_plugins.viz import raster, spike_time_histogram

        layers = without_repeat(seen)
        names = list(layers)
        times = [of_layer / window for of_layer in layers.values()]
        return {
            "raster": raster(times, names=names, sample=self.sample),
            "times": spike_time_histogram(times, names=names),
        }

    def _of_trains(self, seen: dict[str, Any], label: Tensor) -> dict[str, Figure]:
        from snn_temporal_plugins.viz import psp_traces, rate_histogram, train_raster

        layers = without_repeat(seen)
        names, spikes = list(layers), [train.spikes for train in layers.values()]
        rates = [train.mean((0, 1), dtype=torch.float32) for train in spikes]
        return {
            "raster": train_raster(spikes, names=names, sample=self.sample),
            "psp": psp_traces(seen["output"].psp, label),
            "rates": rate_histogram(rates, names=names),
        }
