"""The callback that trains a network as its integers."""

from __future__ import annotations

import pickle
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from snn_temporal_plugins.neurons import rounded
from snn_temporal_plugins.training.recording import FirstSpikes


class QuantisationAware(Callback):
    """Fine-tune a network with the integers of its export in the loop.

    While a loop of the trainer runs, every forward rounds weights and thresholds as
    `export.quantise(network, bits=bits, num_ticks=num_ticks)` does and spike times up
    to whole ticks: what is trained, and what `val_acc` and `test_acc` measure, is the
    integer network, spike by spike. Gradients go straight through the rounding. The
    parameters stay real: no checkpoint looks different, and outside of the loop the
    network fires as it always did.

    Works with `TemporalClassifier` and `TickClassifier` on an `nn.Sequential` of our
    layers.

    Args:
        bits: Width of a weight, 2 to 8.
        num_ticks: Number of ticks up to `t_max`; None: 256. Networks on ticks (SSTDP)
            have their own: None, or that number.
        start: Checkpoint of a trained network of the same shape, whose weights training
            starts from; None: those that the network has. A resumed run goes on from
            its own.

    Reference:
        Straight-through gradients: Bengio et al., arXiv 1308.3432.
    """

    def __init__(
        self, bits: int = 6, num_ticks: int | None = None, start: str | None = None
    ) -> None:
        self.bits = bits
        self.num_ticks = num_ticks
        self.start = start
        self._resumed = False
        self._rounding = ExitStack()

    def state_dict(self) -> dict[str, Any]:
        """Return something, so that a resumed run is told that it is one."""
        return {"bits": self.bits}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Leave the weights of the checkpoint that training goes on from."""
        self._resumed = True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin to round."""
        if not isinstance(pl_module, FirstSpikes):
            raise TypeError(
                "QuantisationAware works with TemporalClassifier and TickClassifier, "
                f"got {type(pl_module).__name__}: only first spikes become integers"
            )
        self._resumed = False
        self._rounding.close()
        self._rounding.enter_context(
            rounded(pl_module.network, bits=self.bits, num_ticks=self.num_ticks)
        )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the weights to start from, unless a run goes on from its own."""
        if self.start is not None and not self._resumed:
            load_weights(pl_module, self.start)

    def teardown(
        self, trainer: Trainer, pl_module: LightningModule, stage: str
    ) -> None:
        """Stop to round."""
        self._rounding.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave a real network behind."""
        self._rounding.close()


def load_weights(module: LightningModule, checkpoint: str) -> None:
    """Give a module the weights of a checkpoint. Nothing is unpickled.

    Args:
        module: The module.
        checkpoint: File that `fit` wrote for a module of the same shape.

    Raises:
        ValueError: There is no such file, or its weights do not fit.
    """
    if not Path(checkpoint).is_file():
        raise ValueError(
            f"no checkpoint at {checkpoint}; train the network first, and name the "
            "file as start="
        )
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        module.load_state_dict(content["state_dict"])
    except (pickle.UnpicklingError, EOFError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"the weights of {checkpoint} do not fit {type(module).__name__}: {error}"
        ) from None
