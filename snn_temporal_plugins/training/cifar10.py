"""The data module of CIFAR-10, read from the binary version of its files.

Not from the Python version: its files are pickles, and unpickling runs what they hold.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from snn_temporal_plugins.training.data import HoldOutData, Split, Splits
from snn_temporal_plugins.training.local_files import named_path

_VARIABLE = "SNN_TEMPORAL_CIFAR10"
_FOLDER = "cifar-10-batches-bin"
_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST = "test_batch.bin"
_CLASSES, _CHANNELS, _SIDE = 10, 3, 32
_RECORD = 1 + _CHANNELS * _SIDE**2  # a label, then the red, green and blue planes
_CURE = (
    f"Unpack cifar-10-binary.tar.gz, the binary version of CIFAR-10 (Krizhevsky 2009, "
    f"www.cs.toronto.edu/~kriz/cifar.html), and name the folder {_FOLDER} or the one "
    f"it is in by --data.root or by the environment variable {_VARIABLE}. There is no "
    f"automatic download."
)


class CIFAR10(HoldOutData):
    """Small colour photographs: 50000 + 10000 images of 32x32, 10 classes.

    A sample is an image `(3, 32, 32)`, red before green before blue, from 0 to 1.

    Args:
        root: Folder `cifar-10-batches-bin` of the binary version, or the folder it is
            in; if None, the one that the environment variable SNN_TEMPORAL_CIFAR10
            names.
        batch_size: Samples per batch and device.
        validation: Number of training samples that are held out for validation.
        seed: Start of the order of the samples, of the shifts and flips and of the
            choice of validation samples. It does not follow `seed_everything`.
        shift: Move each training image by up to so many pixels in each direction; 4 is
            the usual random crop of the image padded by 4.
        flip: Mirror each training image with probability 1/2, left to right.
    """

    records = 10000  # in one file

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 50,
        validation: int = 0,
        seed: int = 0,
        shift: int = 0,
        flip: bool = False,
    ) -> None:
        super().__init__(batch_size, validation, seed)
        if not 0 <= shift < _SIDE:
            raise ValueError(f"shift is {shift}, allowed is 0 to {_SIDE - 1} pixels")
        self.root = root
        self.shift = shift
        self.flip = flip
        self.sample_shape = (_CHANNELS, _SIDE, _SIDE)

    def load(self) -> Splits:
        """Find, check and read the six files."""
        folder = find_folder(self.root)
        parts = [read_file(folder / name, self.records) for name in _TRAIN]
        train = Split(*(torch.cat(part) for part in zip(*parts, strict=True)))
        return Splits(*self.hold_out(train), read_file(folder / _TEST, self.records))


def find_folder(root: str | None) -> Path:
    """Return the folder that holds the six files.

    Args:
        root: The folder or the one it is in; if None, the environment variable's.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If a file is missing; says what to get and where to put it.
    """
    place = named_path("CIFAR-10", root, _VARIABLE, _CURE)
    missing = {
        folder: [name for name in (*_TRAIN, _TEST) if not (folder / name).is_file()]
        for folder in (place, place / _FOLDER)
    }
    folder = min(missing, key=lambda folder: len(missing[folder]))
    if missing[folder]:
        raise FileNotFoundError(
            f"CIFAR-10 is not in {place}: {', '.join(missing[folder])} missing. {_CURE}"
        )
    return folder


def read_file(path: Path, records: int) -> Split:
    """Read one file of the binary version.

    Args:
        path: The file; 3073 bytes per record.
        records: Number of records that it must hold.

    Returns:
        Images, uint8 `(records, 3, 32, 32)`, and labels.

    Raises:
        ValueError: If the file is truncated or of another format.
    """
    size = path.stat().st_size
    if size != records * _RECORD:
        raise ValueError(
            f"{path} has {size} bytes, expected {records * _RECORD}, {records} records "
            f"of {_RECORD}: it is cut off or not of the binary version. Delete it and "
            f"get the original file again."
        )
    content = np.fromfile(path, dtype=np.uint8).reshape(records, _RECORD)
    label = torch.from_numpy(content[:, 0].astype(np.int64))
    wrong = (label >= _CLASSES).nonzero()
    if len(wrong):
        record = int(wrong[0])
        raise ValueError(
            f"{path}, record {record} has the label {int(label[record])}, expected 0 "
            f"to {_CLASSES - 1}: the file is damaged or another one. Delete it and get "
            f"the original file again."
        )
    x = torch.from_numpy(content[:, 1:].reshape(records, _CHANNELS, _SIDE, _SIDE))
    return Split(x, label)
