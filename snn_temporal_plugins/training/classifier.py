"""What the Lightning modules share: steps, means, random numbers, AdamW."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, cast

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric

from snn_temporal_plugins.rules import get_rule
from snn_temporal_plugins.training.batches import mixed_seed
from snn_temporal_plugins.training.schedule import (
    one_cycle,
    planned_steps,
    refuse_other_plan,
)

_MEANS = ("loss", "acc", "silent", "tied")
_STEPS_BETWEEN_LOSSES = 20  # on the progress bar


class Answer(NamedTuple):
    """What the network answered, for the metrics.

    Attributes:
        predicted_class: Class index, int64 `(batch,)`; -1 for no decision.
        silent: Where all outputs stayed silent, bool `(batch,)`.
        tied: Where several outputs fired first, bool `(batch,)`, whether or not the tie
            was broken; None where it is not the first spike that decides.
    """

    predicted_class: Tensor
    silent: Tensor
    tied: Tensor | None = None


class Classifier(L.LightningModule, ABC):
    """Base of the modules that train a network on batches `(x, label)`.

    Before each training step the global random state is set from the seed, the epoch,
    the number of the batch and the rank, so that dropout is the same in a resumed run.

    A child saves its hyper-parameters, among them `lr`, `weight_decay` and `warmup`
    (None for a constant learning rate), and calls `hold`.
    """

    network: nn.Module
    summed_loss = False  # whether `loss` is a sum over the batch, not a mean

    def hold(self, network: nn.Module) -> None:
        """Take the network, and make the means that are logged."""
        self.network = network
        self.metrics = nn.ModuleDict(
            {
                f"{stage}_{name}": MeanMetric()
                for stage in ("train", "val", "test")
                for name in _MEANS
            }
        )
        self._seed = torch.initial_seed()

    @abstractmethod
    def forward(self, x: Tensor) -> Any:
        """Return what the output neurons do."""

    @abstractmethod
    def loss(self, output: Any, label: Tensor) -> Tensor:
        """Return the loss of what `forward` gave."""

    @abstractmethod
    def answer(self, output: Any) -> Answer:
        """Decide on classes from what `forward` gave."""

    def forget(self) -> None:
        """Reset the state of the network's neurons.

        When a step begins, not when it ends: a run that broke off, or validation in
        inference mode, leaves a state behind that the next step cannot use.
        """
        for module in self.network.modules():
            reset = getattr(module, "reset_mem", None)
            if reset is not None:
                reset()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make the random numbers of this step a function of where the run stands."""
        seed = mixed_seed(
            self._seed, self.trainer.current_epoch, batch_idx, self.trainer.global_rank
        )
        # `torch.manual_seed` would also format a stack trace for an absent CUDA
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            getattr(torch, self.device.type).manual_seed(seed)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        loss = self._step("train", batch)
        # Not in every step: Lightning's bookkeeping of one value costs as much as the
        # sweep of a small layer. The logger gets the mean of the epoch.
        if batch_idx % _STEPS_BETWEEN_LOSSES == 0:
            shown = self._per_sample(loss, batch[1])
            self.log("loss", shown, prog_bar=True, logger=False)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Measure loss, accuracy, and the shares of silent and of tied samples."""
        self._step("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Measure loss, accuracy, and the shares of silent and of tied samples."""
        self._step("test", batch)

    def on_train_epoch_end(self) -> None:
        """Log the means of the epoch, as met in training (dropout included)."""
        self._log_means("train")

    def on_validation_epoch_end(self) -> None:
        """Log the means over the validation samples."""
        self._log_means("val")

    def on_test_epoch_end(self) -> None:
        """Log the means over the test samples."""
        self._log_means("test")

    def _step(self, stage: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, label = batch
        output = self(x)
        loss = self.loss(output, label)
        with torch.no_grad():
            answer = self.answer(output)
        shown = self._per_sample(loss, label)
        self._mean(stage, "loss").update(shown, weight=len(label))
        self._mean(stage, "acc").update((answer.predicted_class == label).float())
        self._mean(stage, "silent").update(answer.silent.float())
        if answer.tied is not None:
            self._mean(stage, "tied").update(answer.tied.float())
        return loss

    def _per_sample(self, loss: Tensor, label: Tensor) -> Tensor:
        return loss.detach() / (max(1, len(label)) if self.summed_loss else 1)

    def _mean(self, stage: str, name: str) -> MeanMetric:
        return cast(MeanMetric, self.metrics[f"{stage}_{name}"])

    def _log_means(self, stage: str) -> None:
        for name in _MEANS:
            mean = self._mean(stage, name)
            # resumed behind the last step of an epoch, or there are no ties
            if not mean.update_called:
                continue
            self.log(f"{stage}_{name}", mean, prog_bar=name == "acc")

    def learning_rate(self, module: nn.Module) -> float:
        """Return the (highest) learning rate of a module's own parameters."""
        return self.hparams["lr"]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and, unless `warmup` is None, a one-cycle schedule per step."""
        warmup = self.hparams["warmup"]
        groups: dict[float, list[nn.Parameter]] = {}
        for module in self.modules():
            own = list(module.parameters(recurse=False))
            groups.setdefault(self.learning_rate(module), []).extend(own)
        optimizer = torch.optim.AdamW(
            [{"params": own, "lr": lr} for lr, own in groups.items() if own],
            weight_decay=self.hparams["weight_decay"],
            fused=self.device.type == "cpu",  # one pass over the weights, not eight
        )
        if warmup is None:
            return optimizer
        steps = planned_steps(self.trainer)
        schedule = one_cycle(optimizer, warmup=warmup, steps=steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_train_start(self) -> None:
        """Refuse to resume a schedule that was laid out for another number of steps."""
        if self.hparams["warmup"] is not None:
            refuse_other_plan(self.lr_schedulers(), planned_steps(self.trainer))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the class and the seed of the random numbers of the steps."""
        checkpoint["snn_temporal_class"] = type(self).__name__
        checkpoint["temporal_classifier_seed"] = self._seed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the seed of the run that is resumed."""
        self._seed = checkpoint.get("temporal_classifier_seed", self._seed)


def first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Drop the state that both hosts return beside the spikes."""
    return output if isinstance(output, Tensor) else output[0]


def require_rule(rule: str, module: str) -> None:
    """Raise unless a rule learns on what a module works with.

    Args:
        rule: Name of the rule.
        module: Name of the module.

    Raises:
        ValueError: it learns on something else; the message names the module for it.
    """
    info = get_rule(rule)
    found, takes_it = f"{info.domain}s", "SpikeTrainClassifier"
    if info.domain == "spike time":
        takes_it = "TemporalClassifier"
        if info.response == "step":
            found, takes_it = f"{found} on ticks", "TickClassifier"
    elif info.takes == "spikes":
        found, takes_it = "spike counts", "SpikeCountClassifier"
    if module != takes_it:
        raise ValueError(
            f"rule {rule!r} learns on {found}, and {module} does not; take {takes_it}"
        )


def optimiser_limits(
    hparams: Any, *, constant_rate: bool
) -> dict[str, tuple[bool, str]]:
    """Return the limits, for `require_limits`, of what every module has.

    Args:
        hparams: The hyper-parameters.
        constant_rate: Whether `warmup` may be None.
    """
    warmup, allowed = hparams["warmup"], "0 or more and below 1"
    if constant_rate:
        allowed += ", or null for a constant rate"
        good = warmup is None or 0 <= warmup < 1
    else:
        good = 0 <= warmup < 1
    return {
        "lr": (0 < hparams["lr"] < math.inf, "above 0"),
        "weight_decay": (hparams["weight_decay"] >= 0, "0 or more"),
        "warmup": (good, allowed),
    }


def require_limits(hparams: Any, limits: dict[str, tuple[bool, str]]) -> None:
    """Raise unless every hyper-parameter is in its limits.

    Args:
        hparams: The hyper-parameters.
        limits: By name, whether it is good and what is allowed.

    Raises:
        ValueError: one is not.
    """
    for name, (good, allowed) in limits.items():
        if not good:
            raise ValueError(f"{name} is {hparams[name]}, allowed is {allowed}")
