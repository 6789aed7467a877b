"""The data module of JapaneseVowels: who speaks, told by twelve cepstra of /ae/."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from snn_temporal_plugins.training.data import HoldOutData, Split, Splits
from snn_temporal_plugins.training.local_files import local_path

MAX_BYTES = 4 * 2**20  # of one file; the larger one has 0.65 MB
_CHANNELS, _FRAMES = 12, 29  # 29 frames is the longest utterance
_CLASSES = tuple("123456789")
_PARTS = ("JapaneseVowels_TRAIN.ts", "JapaneseVowels_TEST.ts")
# Spikes per step at one standard deviation. Chosen by cross-validation in the training
# part: 24 channels of 8 % while a voice sounds.
_RATE = 0.2
_VARIABLE = "SNN_TEMPORAL_JAPANESE_VOWELS"
_CURE = (
    f"Get {_PARTS[0]} and {_PARTS[1]} of the UEA archive "
    f"(timeseriesclassification.com, or the folder aeon/datasets/data of the Python "
    f"package aeon), and name the folder they are in by --data.root or by the "
    f"environment variable {_VARIABLE}. There is no automatic download."
)


class Series(NamedTuple):
    """One utterance: cepstra, float64 `(frames, 12)`, and the class of its speaker."""

    frames: np.ndarray
    label: int


class JapaneseVowels(HoldOutData):
    """Nine speakers, told apart by one vowel: 270 + 370 utterances, 9 classes.

    A sample is a spike train `(time, 24)`. An utterance has 12 cepstral coefficients
    in 7 to 29 frames; each is standardised with the mean and the standard deviation
    over the training part, z, and drives an "on" channel at 0.2 max(z, 0) and an "off"
    channel at 0.2 max(-z, 0) spikes per step, spaced evenly (the rest of a spike is
    carried over to the next frame). After its last frame an utterance is silent.

    Args:
        root: Folder of the two `.ts` files, or the folder `JapaneseVowels` is in; if
            None, the one that the environment variable SNN_TEMPORAL_JAPANESE_VOWELS
            names.
        batch_size: Samples per batch and device.
        validation: Number of training samples that are held out for validation.
        seed: Start of the order of the samples and of the choice of validation
            samples. It does not follow `seed_everything`.
        steps_per_frame: Time steps that a frame lasts; a sample has 29 times as many.

    Reference:
        Kudo, Toyama, Shimbo 1999, Pattern Recognition Letters 20 (11-13), 1103-1111.
    """

    full_scale = 1.0
    packed = True

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 50,
        validation: int = 0,
        seed: int = 0,
        steps_per_frame: int = 10,
    ) -> None:
        super().__init__(batch_size, validation, seed)
        if steps_per_frame < 1:
            raise ValueError(
                f"steps_per_frame is {steps_per_frame}, allowed is 1 or more"
            )
        self.root = root
        self.steps_per_frame = steps_per_frame
        self.sample_shape = (_FRAMES * steps_per_frame, 2 * _CHANNELS)

    def load(self) -> Splits:
        """Find, read and code the two files."""
        train, test = (read_series(path) for path in find_parts(self.root))
        frames = np.concatenate([series.frames for series in train])
        mean, std = frames.mean(0), frames.std(0)
        std[std == 0] = 1  # a coefficient that never changes tells nothing
        parts = [
            Split(
                torch.from_numpy(
                    np.stack([self._bits((one.frames - mean) / std) for one in part])
                ),
                torch.tensor([one.label for one in part]),
            )
            for part in (train, test)
        ]
        return Splits(*self.hold_out(parts[0]), parts[1])

    def _bits(self, z: np.ndarray) -> np.ndarray:
        spikes = on_off_spikes(z, self.steps_per_frame)
        rest = self.sample_shape[0] - len(spikes)
        return np.packbits(np.pad(spikes, ((0, rest), (0, 0))))


def on_off_spikes(z: np.ndarray, steps_per_frame: int) -> np.ndarray:
    """Code standardised values as evenly spaced spikes of "on" and "off" channels.

    Args:
        z: Values, float `(frames, channels)`.
        steps_per_frame: Time steps that a frame lasts.

    Returns:
        Spikes, uint8 `(frames * steps_per_frame, 2 * channels)`, all "on" channels
        first. A channel spikes in every step where |z| is 5 or more.
    """
    rate = np.minimum(_RATE * np.maximum(np.concatenate([z, -z], axis=1), 0), 1)
    # the k-th spike falls where the rates have summed to k - 1/2
    total = np.floor(np.cumsum(np.repeat(rate, steps_per_frame, axis=0), axis=0) + 0.5)
    return np.diff(total, axis=0, prepend=0).astype(np.uint8)


def find_parts(root: str | None) -> tuple[Path, Path]:
    """Return the paths of the training and of the test part.

    Args:
        root: The folder, or one with `JapaneseVowels` inside; if None, the environment
            variable's.

    Raises:
        FileNotFoundError: If a file is missing; says what to get and where to put it.
    """
    place = local_path("JapaneseVowels", root, _VARIABLE, _CURE)
    for folder in (place, place / "JapaneseVowels"):
        train, test = (folder / name for name in _PARTS)
        if train.is_file() and test.is_file():
            return train, test
    raise FileNotFoundError(
        f"JapaneseVowels is not in {place}: {_PARTS[0]} or {_PARTS[1]} is missing. "
        f"{_CURE}"
    )


def read_series(path: Path) -> list[Series]:
    """Read one `.ts` file of JapaneseVowels.

    Lines that begin with # are comments and those with @ the header; all others are
    utterances, `v,v,...:v,v,...:label`, coefficient by coefficient.

    Args:
        path: The file.

    Returns:
        The utterances in the order of the file.

    Raises:
        ValueError: If the file is damaged or of another data set; names the line.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(
            f"{path} has {size} bytes, allowed are {MAX_BYTES}: it is not of "
            f"JapaneseVowels. Get the original file again."
        )
    series = []
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith(("#", "@")):
            continue
        *channels, label = line.strip().split(":")
        try:
            rows = [[float(value) for value in one.split(",")] for one in channels]
            frames = np.array(rows).T
        except ValueError:  # not a number, or coefficients of unlike lengths
            frames = np.empty(0)
        fits = frames.shape == (len(frames), _CHANNELS) and len(frames) <= _FRAMES
        if not fits or label not in _CLASSES or not np.isfinite(frames).all():
            raise ValueError(
                f"{path}, line {number} is {line[:40]!r}..., expected {_CHANNELS} "
                f"lists of 1 to {_FRAMES} numbers and a speaker 1 to {_CLASSES[-1]}, "
                f"separated by colons. Get the original file again."
            )
        series.append(Series(frames, _CLASSES.index(label)))
    if not series:
        raise ValueError(f"{path} holds no utterance. Get the original file again.")
    return series
