"""The data module of N-MNIST: MNIST's digits seen by a moving event camera."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from snn_temporal_plugins.training.data import HoldOutData, Split, Splits, read_packed
from snn_temporal_plugins.training.events import (
    SIDE,
    bin_events,
    denoise,
    read_events,
    stabilise,
)
from snn_temporal_plugins.training.local_files import named_path

_VARIABLE = "SNN_TEMPORAL_NMNIST"
_CURE = (
    f"Unpack Train.zip and Test.zip of N-MNIST (Orchard et al. 2015, doi "
    f"10.17632/468j46mzdv.1) into one folder, or take the folder "
    f"test/test_files/NMNISTsmall of the project bamsumit/slayerPytorch (1000 + 100 "
    f"recordings), and name it by --data.root or by the environment variable "
    f"{_VARIABLE}. There is no automatic download."
)


class Recording(NamedTuple):
    """One file and the class of what it shows."""

    path: Path
    label: int


class NMNIST(HoldOutData):
    """Handwritten digits seen by an event camera: 60000 + 10000 recordings, 10 classes.

    A sample is a spike train `(time, 2, 34, 34)`, darker before brighter. The
    recordings last 310 ms; the 30 steps of 3 ms are the published setting. All samples
    are held in memory as bits: 520 MB for the full set.

    Args:
        root: Folder with `Train/` and `Test/`, each with a folder per digit, or
            SLAYER's small set (1000 + 100 recordings); if None, the folder that the
            environment variable SNN_TEMPORAL_NMNIST names.
        batch_size: Samples per batch and device.
        validation: Number of training samples that are held out for validation.
        seed: Start of the order of the samples and of the choice of validation
            samples. It does not follow `seed_everything`.
        num_steps: Number of time steps; what was recorded later is dropped.
        bin_us: Length of a step in microseconds.
        denoise_us: Drop the events that have no other within one pixel and so many
            microseconds before; None keeps all.
        stabilise: Take the motion of the camera out, as in the published results.

    Reference:
        Orchard, Jayawant, Cohen, Thakor 2015, doi 10.3389/fnins.2015.00437.
    """

    full_scale = 1.0
    packed = True

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 50,
        validation: int = 0,
        seed: int = 0,
        num_steps: int = 30,
        bin_us: int = 3000,
        denoise_us: int | None = None,
        stabilise: bool = True,
    ) -> None:
        super().__init__(batch_size, validation, seed)
        for name, value in (
            ("num_steps", num_steps),
            ("bin_us", bin_us),
            ("denoise_us", denoise_us),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, allowed is 1 or more")
        self.root = root
        self.num_steps = num_steps
        self.bin_us = bin_us
        self.denoise_us = denoise_us
        self.stabilise = stabilise
        self.sample_shape = (num_steps, 2, SIDE, SIDE)

    def load(self) -> Splits:
        """Find and read all recordings."""
        train, test = find_recordings(self.root)
        return Splits(*self.hold_out(self._read(train)), self._read(test))

    def frames(self, path: Path) -> np.ndarray:
        """Read one recording as frames of 0 and 1.

        Args:
            path: The file.

        Returns:
            Frames, uint8 `(time, polarity, height, width)`.
        """
        events = read_events(path)
        if self.denoise_us is not None:
            events = denoise(events, self.denoise_us)
        if self.stabilise:
            events = stabilise(events)
        return bin_events(events, self.num_steps, self.bin_us)

    def _read(self, recordings: list[Recording]) -> Split:
        paths = [recording.path for recording in recordings]
        x = read_packed(paths, self.frames, self.sample_shape, "reading N-MNIST")
        return Split(x, torch.tensor([recording.label for recording in recordings]))


def find_recordings(root: str | None) -> tuple[list[Recording], list[Recording]]:
    """Find the recordings of N-MNIST in the standard layout or in SLAYER's.

    Args:
        root: The folder, or one with `NMNIST` or `NMNISTsmall` inside; if None, the
            environment variable's.

    Returns:
        The recordings of the training and of the test part.

    Raises:
        FileNotFoundError: If something is missing; says what to get and where to put
            it.
        ValueError: If a list of labels cannot be read.
    """
    place = named_path("N-MNIST", root, _VARIABLE, _CURE)
    for folder in (place, place / "NMNIST", place / "NMNISTsmall"):
        standard, small = ("Train", "Test"), ("train1K.txt", "test100.txt")
        if any((folder / part).is_dir() for part in standard):
            train, test = (_in_class_folders(folder / part) for part in standard)
            return train, test
        if any((folder / part).is_file() for part in small):
            train, test = (_in_list(folder / part) for part in small)
            return train, test
    raise FileNotFoundError(
        f"N-MNIST is not in {place}: there is neither Train/ and Test/ nor "
        f"train1K.txt and test100.txt. {_CURE}"
    )


def _in_class_folders(part: Path) -> list[Recording]:
    recordings = []
    for label in range(10):
        # names begin with a digit; what an archiver of macOS adds begins with "._"
        folder = part / str(label)
        paths = sorted(folder.glob("[0-9]*.bin"))
        if not paths:
            raise FileNotFoundError(f"no .bin files are in {folder}. {_CURE}")
        recordings += [Recording(path, label) for path in paths]
    return recordings


def _in_list(path: Path) -> list[Recording]:
    """Read SLAYER's list: a header, then a line `number class` for each file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {_CURE}")
    recordings = []
    text = path.read_text(encoding="ascii", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        pair = re.fullmatch(r"([0-9]{1,9})\s+([0-9])", line.strip())
        if pair is None:
            raise ValueError(
                f"{path}, line {number} is {line[:40]!r}, expected the number of a "
                f"file and its class 0 to 9. Get the original file again."
            )
        recordings.append(Recording(path.parent / f"{pair[1]}.bs2", int(pair[2])))
    missing = [one.path.name for one in recordings if not one.path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{path} lists {len(missing)} files that are not beside it, the first is "
            f"{missing[0]}. {_CURE}"
        )
    if not recordings:
        raise ValueError(f"{path} lists no file. Get the original file again.")
    return recordings
