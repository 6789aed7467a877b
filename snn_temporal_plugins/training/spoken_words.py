"""Base of the data modules of spoken words: recordings to spikes."""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from snn_temporal_plugins.training.audio import bsa, level_crossing, mel_levels
from snn_temporal_plugins.training.data import HoldOutData, Split, Splits, read_packed
from snn_temporal_plugins.training.local_files import local_path
from snn_temporal_plugins.training.sound_files import read_sound

# What BSA is given where a recording is loudest: about 0.3 spikes per step. Chosen on
# held-out training samples of the Free Spoken Digit Dataset: less loses the weaker
# formants, more says nothing new.
_LOUDEST = 0.25


class Utterance(NamedTuple):
    """One file and the class of the word that is spoken in it."""

    path: Path
    label: int


class SpokenWords(HoldOutData):
    """Base of the data modules of spoken words.

    Args:
        root: Folder of the recordings; if None, the environment variable's.
        batch_size: Samples per batch and device.
        validation: Number of training samples that are held out for validation.
        seed: Start of the order of the samples and of the choice of validation
            samples. It does not follow `seed_everything`.
        num_steps: Number of time steps; what was said later is dropped, and silence
            follows where a recording ends before.
        step_ms: Length of a step in milliseconds.
        num_bands: Number of frequency bands.
        coder: "bsa", one channel per band that spikes the more the louder it is;
            "level_crossing", two channels per band that spike where it changes.
        shift: Move each training recording by up to so many bands, up or down, anew in
            each epoch: as if another voice had spoken.
    """

    full_scale = 1.0
    packed = True
    name: str  # for messages
    variable: str  # environment variable that may name the folder
    cure: str  # what to get and where to put it

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 50,
        validation: int = 0,
        seed: int = 0,
        num_steps: int = 250,
        step_ms: float = 4.0,
        num_bands: int = 64,
        coder: Literal["bsa", "level_crossing"] = "bsa",
        shift: int = 0,
    ) -> None:
        super().__init__(batch_size, validation, seed)
        for name, value in (("num_steps", num_steps), ("num_bands", num_bands)):
            if value < 1:
                raise ValueError(f"{name} is {value}, allowed is 1 or more")
        if not 0 < step_ms < math.inf:
            raise ValueError(f"step_ms is {step_ms}, allowed is above 0")
        if coder not in ("bsa", "level_crossing"):
            raise ValueError(
                f"coder is {coder!r}, allowed are 'bsa' and 'level_crossing'"
            )
        if not 0 <= shift < num_bands:
            raise ValueError(f"shift is {shift}, allowed is 0 to {num_bands - 1} bands")
        self.root = root
        self.num_steps = num_steps
        self.step_ms = step_ms
        self.num_bands = num_bands
        self.coder = coder
        self.shift = shift
        self.bands = num_bands
        channels = num_bands if coder == "bsa" else 2 * num_bands
        self.sample_shape = (num_steps, channels)

    @abstractmethod
    def find(self, folder: Path) -> tuple[list[Utterance], list[Utterance]]:
        """Return the recordings of the training and of the test part.

        Args:
            folder: The folder that was named.
        """

    def load(self) -> Splits:
        """Find, read and code all recordings."""
        folder = local_path(self.name, self.root, self.variable, self.cure)
        train, test = self.find(folder)
        if not train or not test:
            raise FileNotFoundError(
                f"{folder} holds {len(train)} training and {len(test)} test recordings "
                f"of {self.name}, expected some of both. {self.cure}"
            )
        return Splits(*self.hold_out(self._read(train)), self._read(test))

    def spikes(self, path: Path) -> np.ndarray:
        """Read one recording as spikes.

        Args:
            path: The file.

        Returns:
            Spikes, uint8 `(time, channels)`.
        """
        sound = read_sound(path)
        levels = mel_levels(sound, self.num_steps, self.step_ms, self.num_bands)
        if self.coder == "bsa":
            coded = bsa(_LOUDEST * levels)
        else:
            coded = level_crossing(levels)
        return np.pad(coded, ((0, self.num_steps - len(coded)), (0, 0)))

    def _read(self, utterances: list[Utterance]) -> Split:
        paths = [utterance.path for utterance in utterances]
        what = f"reading {self.name}"
        x = read_packed(paths, self.spikes, self.sample_shape, what)
        return Split(x, torch.tensor([utterance.label for utterance in utterances]))
