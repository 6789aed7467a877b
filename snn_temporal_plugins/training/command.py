"""`LightningCLI` with the defaults of this package."""

from __future__ import annotations

import csv
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning import LightningDataModule, Trainer
from lightning.pytorch.callbacks import (
    ModelCheckpoint,
    ProgressBar,
    Timer,
    TQDMProgressBar,
)
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger

from snn_temporal_plugins.training.classifier import Classifier
from snn_temporal_plugins.training.data import TensorData
from snn_temporal_plugins.training.module import TemporalClassifier

_NOT_FOR_THE_USER = (
    # A run never writes into the folder of the checkpoint it starts from: as meant.
    "The dirpath has changed from",
    # Lightning's own call of a deprecated function of torch
    ".*treespec, LeafSpec",
    # No samples are held out for validation: as the settings say.
    "Total length of `list` across ranks is zero",
)


class _Parser(LightningArgumentParser):
    """Names a default model, but none of its settings, until a model is chosen.

    What two classes have in common is taken over from the one to the other: a
    `SpikeTrainClassifier` would begin with the rule and the learning rate of the
    default model.
    """

    def get_defaults(self, *args: Any, **kwargs: Any) -> Namespace:
        """Return the defaults of all settings."""
        defaults = super().get_defaults(*args, **kwargs)
        if defaults.get("model") is not None:
            defaults["model"].pop("init_args", None)
        return defaults


class TemporalCLI(LightningCLI):
    """LightningCLI with run folders, `last.ckpt`, one thread, and CSV predictions."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make a parser of one command."""
        parser = super().init_parser(**kwargs)
        parser.__class__ = _Parser  # the argument `parser_class` came with 2.5.1
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the settings that Lightning does not have."""
        parser.add_argument(
            "--name",
            type=str,
            default="run",
            help="Folder of the runs: each `fit` makes runs/NAME/version_N.",
        )
        parser.add_argument(
            "--threads",
            type=int,
            default=1,
            help="Threads per process. Small networks are fastest with one; on shared "
            "cores more threads wait for each other.",
        )
        parser.add_argument(
            "--predictions",
            type=str,
            default="predictions.csv",
            help="File that `predict` writes.",
        )
        # settings without a class_path are those of the first-spike module
        parser.set_defaults({"model": {"class_path": _path(TemporalClassifier)}})
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        # Only last.ckpt, written anew after each epoch: the schedule ends with the
        # smallest steps, so the last weights are the best, and choosing an epoch would
        # need samples held out for it. (`save_last` alone waits for the end.)
        parser.set_defaults(
            {
                "checkpoint.filename": "last",
                "checkpoint.save_top_k": 1,
                "checkpoint.enable_version_counter": False,
                "checkpoint.save_on_train_epoch_end": True,
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse `args`, without a warning where they are not those of `sys.argv`."""
        self.config = parser.parse_args(args)

    def before_instantiate_classes(self) -> None:
        """Set the one knob for threads that torch and our kernels share."""
        threads = self._get(self.config, "threads")
        if threads < 1:
            raise ValueError(f"threads is {threads}, allowed is 1 or more")
        torch.set_num_threads(threads)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Give each run a new folder, and a progress bar that costs little."""
        settings = self._get(self.config_init, "trainer")
        if self.subcommand != "fit":  # only training makes something to keep
            self.save_config_callback = None
            kwargs["logger"] = settings.logger or False
        elif settings.logger is None:
            root = settings.default_root_dir or "runs"
            kwargs["logger"] = CSVLogger(root, self._get(self.config, "name"))
        callbacks = list(settings.callbacks or [])
        own_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
        if settings.enable_progress_bar is not False and not own_bar:
            callbacks.append(TQDMProgressBar(refresh_rate=20))
        if not any(isinstance(callback, Timer) for callback in callbacks):
            callbacks.append(Timer(verbose=False))  # the checkpoint knows the time
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)

    def before_fit(self) -> None:
        """Stop on bad data before a folder is made or a second process started."""
        if isinstance(self.datamodule, TensorData) and not self.datamodule.download:
            self.datamodule.setup("fit")

    def predict(self, **kwargs: Any) -> None:
        """Write what the network answered to each sample to a CSV file."""
        if self.trainer.world_size > 1:
            raise ValueError(
                f"predict writes one file, but runs on {self.trainer.world_size} "
                f"devices: use --trainer.devices 1"
            )
        batches: list[Any] = self.trainer.predict(**kwargs) or []
        path = Path(self._get(self.config, "predictions"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["sample", *(batches[0]._fields if batches else ())])
            rows = (row for batch in batches for row in zip(*batch, strict=True))
            for sample, answer in enumerate(rows):
                writer.writerow([sample, *(value.item() for value in answer)])
        sys.stdout.write(f"predictions are in {path}\n")


def _path(module: type) -> str:
    return f"{module.__module__}.{module.__qualname__}"


def run(args: Sequence[str]) -> None:
    """Run `fit`, `validate`, `test` or `predict`.

    Args:
        args: The command and its settings.
    """
    # Lightning's use of jsonargparse, which a user of ours cannot change
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    for message in _NOT_FOR_THE_USER:
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no adverts
    TemporalCLI(
        Classifier,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        args=with_settings_of_run(args),
    )


def with_settings_of_run(args: Sequence[str]) -> list[str]:
    """Add the `config.yaml` of the checkpoint's run where no file is named.

    Args:
        args: The command and its settings.

    Returns:
        The same, if need be with `-c` and the file after the command.
    """
    args = list(args)
    named = {}
    for arg, following in zip(args, [*args[1:], ""], strict=True):
        key, equals, value = arg.partition("=")
        named[key] = value if equals else following
    if "--ckpt_path" not in named or {"-c", "--config"} & set(named):
        return args
    config = Path(named["--ckpt_path"]).parent.parent / "config.yaml"
    return [args[0], "-c", str(config), *args[1:]] if config.is_file() else args
