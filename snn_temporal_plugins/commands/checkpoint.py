"""What `export` and `report` share: settings, and what is in a checkpoint."""

from __future__ import annotations

import argparse
import inspect
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from snn_temporal_plugins.training import (
    SpikeCountClassifier,
    SpikeTrainClassifier,
    TemporalClassifier,
    TickClassifier,
)
from snn_temporal_plugins.training.classifier import Classifier

# A literal table: no class is ever looked up by a name that stands in a file.
MODELS: Mapping[str, type[Classifier]] = MappingProxyType(
    {
        "TemporalClassifier": TemporalClassifier,
        "TickClassifier": TickClassifier,
        "SpikeTrainClassifier": SpikeTrainClassifier,
        "SpikeCountClassifier": SpikeCountClassifier,
    }
)
_NO_CHECKPOINT = (
    pickle.UnpicklingError,
    EOFError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
)
_BEFORE = "TemporalClassifier"  # of checkpoints that do not say


def new_parser(name: str, purpose: str, example: str) -> argparse.ArgumentParser:
    """Make the parser of one command, with the settings of integers.

    Args:
        name: of the command.
        purpose: one sentence.
        example: a call that works.
    """
    parser = argparse.ArgumentParser(
        prog=f"snn-temporal {name}", description=purpose, epilog=f"example: {example}"
    )
    parser.add_argument(
        "--bits", type=int, default=6, help="first spikes: weight bits, 2 to 8"
    )
    parser.add_argument(
        "--ticks", type=int, default=256, help="first spikes: ticks up to t_max"
    )
    return parser


def read_checkpoint(checkpoint: str | Path) -> dict[str, Any]:
    """Read what is in a checkpoint. Nothing is unpickled but numbers and tensors.

    Args:
        checkpoint: the file.

    Returns:
        Its content, with `hyper_parameters` and `state_dict`.

    Raises:
        ValueError: it is not there, or no checkpoint of `snn-temporal fit`.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise ValueError(
            f"no checkpoint at {checkpoint}; `snn-temporal fit` writes one to "
            "runs/NAME/version_N/checkpoints/last.ckpt"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        _ = content["hyper_parameters"], content["state_dict"], content.get("")
    except _NO_CHECKPOINT as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"{checkpoint} is no checkpoint of `snn-temporal fit`: {reason}"
        ) from None
    return content


def fit_seconds(checkpoint: str | Path) -> float | None:
    """Return how long the training took, interruptions left out.

    Args:
        checkpoint: the file.

    Returns:
        Seconds of wall time; None where the checkpoint does not say.
    """
    timer = read_checkpoint(checkpoint).get("callbacks", {}).get("Timer", {})
    return timer.get("time_elapsed", {}).get("train")


def load_model(checkpoint: str | Path) -> Classifier:
    """Load the model of a checkpoint, ready to be measured. Nothing is unpickled.

    Args:
        checkpoint: the file.

    Raises:
        ValueError: it is not there, or holds no model that can be built from it.
    """
    content = read_checkpoint(checkpoint)
    settings, weights = content["hyper_parameters"], content["state_dict"]
    name = content.get("snn_temporal_class", _BEFORE)
    if name not in MODELS:
        raise ValueError(
            f"{checkpoint} holds a {name!r}, allowed are {', '.join(MODELS)}"
        )
    if "network" not in settings:
        raise ValueError(
            f"{checkpoint} holds the weights of a module of your own, which only your "
            f"code can build: {name}.load_from_checkpoint(path, network=...)"
        )
    # Not by `load_from_checkpoint`: it can be told in the file what builds the model.
    parameters = inspect.signature(MODELS[name]).parameters
    model = MODELS[name](**{k: v for k, v in settings.items() if k in parameters})
    model.load_state_dict(weights)
    return model.eval()
