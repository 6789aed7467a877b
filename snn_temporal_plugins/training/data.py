"""Data modules: whole data sets as tensors in memory, intensities in [0, 1].

Each gives batches `(x, label)`; the latency code is the model's business. Samples for
validation are held out of the *training* part, so that nothing is ever chosen by the
test set. No image library is needed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import lightning as L
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from tqdm import tqdm

from snn_temporal_plugins.training.batches import TensorBatches, mixed_seed

T = TypeVar("T")


class Split(NamedTuple):
    """Samples and their class indices.

    Attributes:
        x: Samples, shape `(samples, ...)`; uint8 or intensities in [0, 1]; packed bits
            where the data module says `packed`.
        label: Class indices, int64, shape `(samples,)`.
    """

    x: Tensor
    label: Tensor


class Splits(NamedTuple):
    """The three parts of a data set; `validation` may be empty."""

    train: Split
    validation: Split
    test: Split


def read_packed(
    items: Sequence[T],
    read: Callable[[T], np.ndarray],
    shape: Sequence[int],
    what: str,
    unit: str = "file",
) -> Tensor:
    """Read samples of 0 and 1 one by one, and keep them as bits.

    Args:
        items: What the samples are read from.
        read: Gives the sample of an item, 0 and 1, of the given shape.
        shape: Shape of a sample.
        what: Title of the progress bar.
        unit: What it calls an item.

    Returns:
        Packed samples, uint8 `(samples, bytes)`.
    """
    size = math.ceil(math.prod(shape) / 8)
    packed = np.empty((len(items), size), dtype=np.uint8)
    # The bar comes only where there is someone to see it, and much to read.
    bar = tqdm(items, what, unit=unit, delay=2, disable=None)
    for row, item in zip(packed, bar, strict=True):
        row[:] = np.packbits(read(item))
    return torch.from_numpy(packed)


class TensorData(L.LightningDataModule, ABC):
    """Base of the data modules: splits in memory, cut into batches.

    Args:
        batch_size: Samples per batch and device.
        seed: Start of the order of the samples, of the shifts and of the choice of
            validation samples. It does not follow `seed_everything`.
    """

    sample_shape: tuple[int, ...]
    full_scale = 255.0
    packed = False
    shift = 0
    bands = 0
    flip = False
    download = False

    def __init__(self, batch_size: int = 128, seed: int = 0) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, allowed is 1 or more")
        if seed < 0:
            raise ValueError(f"seed is {seed}, allowed is 0 or more")
        self.batch_size = batch_size
        self.seed = seed
        self._splits: Splits | None = None
        self._train_batches: TensorBatches | None = None
        self._resume_at: dict[str, int] | None = None

    @abstractmethod
    def load(self) -> Splits:
        """Read or make the three splits."""

    @property
    def splits(self) -> Splits:
        """The three splits, loaded when first asked for."""
        if self._splits is None:
            self._splits = self.load()
        return self._splits

    def setup(self, stage: str) -> None:
        """Load the splits, so that bad data stop a run before it starts."""
        _ = self.splits

    def train_dataloader(self) -> TensorBatches:
        """Return the training batches, in a new order in each epoch."""
        batches = self._batches(self.splits.train, train=True)
        if self._resume_at is not None:
            batches.load_state_dict(self._resume_at)
            self._resume_at = None
        self._train_batches = batches
        return batches

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the training samples, for the checkpoint.

        Lightning keeps the states of loaders too, but does not restore them where the
        schedule had to know the number of batches beforehand.
        """
        return {} if self._train_batches is None else self._train_batches.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the training that is resumed go on from the position saved."""
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._resume_at = state_dict or None

    def val_dataloader(self) -> TensorBatches | list[TensorBatches]:
        """Return the validation batches; an empty list where none are held out."""
        validation = self.splits.validation
        return self._batches(validation) if len(validation.label) else []

    def test_dataloader(self) -> TensorBatches:
        """Return the test batches, in the order of the data set."""
        return self._batches(self.splits.test)

    def predict_dataloader(self) -> TensorBatches:
        """Return the test batches, in the order of the data set."""
        return self._batches(self.splits.test)

    def _batches(self, split: Split, *, train: bool = False) -> TensorBatches:
        trainer = self.trainer
        shard = (trainer and trainer.distributed_sampler_kwargs) or {}
        # `overfit_batches` means the same few batches in each epoch
        overfit = getattr(trainer, "overfit_batches", 0) > 0
        return TensorBatches(
            *split,
            self.batch_size,
            sample_shape=self.sample_shape,
            full_scale=self.full_scale,
            packed=self.packed,
            shuffle=train and not overfit,
            shift=self.shift if train else 0,
            bands=self.bands,
            flip=self.flip and train,
            seed=self.seed,
            rank=shard.get("rank", 0),
            world_size=shard.get("num_replicas", 1),
        )


class HoldOutData(TensorData):
    """Base of the data modules that take validation samples from the training part.

    Args:
        batch_size: Samples per batch and device.
        validation: Number of training samples that are held out for validation.
        seed: Start of the order of the samples, of the shifts and of the choice of
            validation samples. It does not follow `seed_everything`.
    """

    def __init__(
        self, batch_size: int = 128, validation: int = 0, seed: int = 0
    ) -> None:
        super().__init__(batch_size, seed)
        if validation < 0:
            raise ValueError(
                f"validation is {validation}, allowed is 0 or more samples"
            )
        self.validation = validation

    def hold_out(self, train: Split) -> tuple[Split, Split]:
        """Part the training samples into those to train on and those to validate on."""
        count = len(train.label)
        if self.validation >= count:
            raise ValueError(
                f"validation is {self.validation}, allowed is 0 to {count - 1}: there "
                f"are {count} training samples"
            )
        if not self.validation:  # no copy of a large set
            return train, Split(train.x[:0], train.label[:0])
        generator = torch.Generator().manual_seed(mixed_seed(self.seed))
        order = torch.randperm(count, generator=generator)
        held, kept = order.tensor_split([self.validation])
        kept = kept.sort().values
        return (
            Split(train.x[kept], train.label[kept]),
            Split(train.x[held], train.label[held]),
        )


class ImageData(HoldOutData):
    """Base of the data modules of square images with one channel.

    Args:
        batch_size: Samples per batch and device.
        validation: Number of training samples that are held out for validation.
        seed: Start of the order of the samples, of the shifts and of the choice of
            validation samples. It does not follow `seed_everything`.
        shift: Move each training image by up to so many pixels in each direction.
        flat: Give an image as a vector, else as `(1, height, width)`.
    """

    side: int

    def __init__(
        self,
        batch_size: int = 128,
        validation: int = 0,
        seed: int = 0,
        shift: int = 0,
        flat: bool = True,
    ) -> None:
        super().__init__(batch_size, validation, seed)
        if not 0 <= shift < self.side:
            raise ValueError(
                f"shift is {shift}, allowed is 0 to {self.side - 1} pixels"
            )
        self.shift = shift
        self.sample_shape = (self.side**2,) if flat else (1, self.side, self.side)


class Digits(ImageData):
    """Handwritten digits that come with scikit-learn: 1797 images of 8x8, 10 classes.

    No download. The 360 test samples are the same whatever the seed.
    """

    side = 8
    full_scale = 16.0

    def load(self) -> Splits:
        """Read scikit-learn's file and part it."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        label = torch.from_numpy(digits.target.astype(np.int64))
        x = torch.from_numpy(digits.images.astype(np.uint8))
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        test, rest = order.tensor_split([360])
        train, validation = self.hold_out(Split(x[rest], label[rest]))
        return Splits(train, validation, Split(x[test], label[test]))
