"""The callback that brings dead neurons back."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from snn_temporal_plugins.training.recording import (
    FirstSpikes,
    Recording,
    spiking_layers,
)


class DeadNeuronRevival(Recording):
    """Raise the weights of neurons that did not fire once in a whole epoch.

    A neuron that never fires gets no gradient and would stay dead. When an epoch
    begins, all incoming weights of each neuron that was silent throughout the epoch
    before are raised by `boost * v_th / fan_in`, so its weight sum by `boost * v_th`;
    twice that after a second silent epoch, and so on up to 32 times. The number of such
    neurons is logged, and kept, as `dead_neurons`.

    What was counted goes into the checkpoint, so a resumed run does the same (inside an
    epoch on several devices, the counts of rank 0 hold for all). Needs whole weights on
    each rank: DDP, not FSDP.

    Args:
        boost: First raise of the weight sum, in thresholds.
    """

    def __init__(self, boost: float = 0.5) -> None:
        super().__init__()
        if not 0 < boost < math.inf:
            raise ValueError(f"boost is {boost}, allowed is above 0")
        self.boost = boost
        self.dead_neurons = 0
        self._fired: dict[str, Tensor] = {}  # in this epoch, per neuron
        self._silent_epochs: dict[str, Tensor] = {}  # in a row, per neuron

    def start(self, classifier: LightningModule) -> None:
        """Begin to look."""
        if not isinstance(classifier, FirstSpikes):
            raise TypeError(
                f"DeadNeuronRevival works with TemporalClassifier and TickClassifier, "
                f"got {type(classifier).__name__}. On spike trains leave it out: there "
                f"silent neurons learn by the surrogate"
            )
        super().start(classifier)

    def state_dict(self) -> dict[str, Any]:
        """Return what was counted."""
        return {"fired": dict(self._fired), "silent_epochs": dict(self._silent_epochs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was counted."""
        self._fired = dict(state_dict["fired"])
        self._silent_epochs = dict(state_dict["silent_epochs"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to look."""
        self.start(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop to look."""
        self.stop()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note who fired."""
        for name, times in self.seen.items():
            if name.startswith("layer"):
                fired = (times < math.inf).transpose(0, 1).flatten(1).any(1)
                if name in self._fired:
                    fired |= self._fired[name].to(fired.device)
                self._fired[name] = fired

    def on_train_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Raise the weights of those who were silent, and begin to count anew."""
        if not self._fired:
            return
        layers = spiking_layers(pl_module.get_submodule("network"))
        for name, fired in self._fired.items():
            anywhere = trainer.strategy.reduce(fired.float(), reduce_op="sum") > 0
            before = self._silent_epochs.get(name, torch.zeros(len(fired)))
            silent = torch.where(anywhere, 0, before.to(anywhere.device) + 1)
            self._silent_epochs[name] = silent
            self._raise_weights(layers[name], silent)
        self.dead_neurons = sum(
            int((silent > 0).sum()) for silent in self._silent_epochs.values()
        )
        # Past `self.log`, which reduces over ranks when a value is first looked at: the
        # progress bar of rank 0 looks at this one in the midst of others, and hangs.
        row = {"dead_neurons": self.dead_neurons, "epoch": trainer.current_epoch}
        for logger in trainer.loggers:
            logger.log_metrics(dict[str, float](row), step=trainer.global_step)
        self._fired = {}

    @torch.no_grad()
    def _raise_weights(self, layer: Any, silent_epochs: Tensor) -> None:
        weight, v_th = layer.weight, layer.v_th
        doubled = 2.0 ** (silent_epochs - 1).clamp(0, 5)
        share = torch.where(silent_epochs > 0, self.boost * doubled, 0.0)
        amount = share.to(weight) * v_th / weight[0].numel()
        weight += amount.view(-1, *[1] * (weight.dim() - 1))
