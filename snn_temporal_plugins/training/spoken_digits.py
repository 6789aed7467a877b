"""The data module of the Free Spoken Digit Dataset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from snn_temporal_plugins.training.spoken_words import SpokenWords, Utterance

_TEST = range(5)  # the recordings of the official test part, of each speaker and digit


class SpokenDigits(SpokenWords):
    """Free Spoken Digit Dataset: 3000 recordings of 6 speakers, 10 classes.

    A sample is a spike train `(time, channels)`: mel filter bank and spike coder, see
    `snn_temporal_plugins.training.audio`. The 250 steps of 4 ms hold all of 99 % of
    the recordings. All samples are held in memory as bits: 6 MB.

    The official split tests on recordings 0 to 4 of each speaker and digit (300) and
    trains on the others (2700). Held out instead, a speaker whom the network has never
    heard is much harder.

    Args:
        root: Folder `recordings` of the data set, or the folder it is in; if None, the
            one that the environment variable SNN_TEMPORAL_SPOKEN_DIGITS names.
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
        speaker: Test on all recordings of this speaker and train on all of the others;
            None for the official split.

    Reference:
        Jackson and others, Free Spoken Digit Dataset, CC BY-SA 4.0.
    """

    name = "the Free Spoken Digit Dataset"
    variable = "SNN_TEMPORAL_SPOKEN_DIGITS"
    cure = (
        "Clone the project Jakobovski/free-spoken-digit-dataset and name its folder by "
        "--data.root or by the environment variable SNN_TEMPORAL_SPOKEN_DIGITS. There "
        "is no automatic download."
    )

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
        speaker: str | None = None,
    ) -> None:
        super().__init__(
            root,
            batch_size,
            validation,
            seed,
            num_steps,
            step_ms,
            num_bands,
            coder,
            shift,
        )
        self.speaker = speaker

    def find(self, folder: Path) -> tuple[list[Utterance], list[Utterance]]:
        """Return the recordings of the training and of the test part.

        Args:
            folder: Folder `recordings` or the one it is in.

        Raises:
            ValueError: If there is no such speaker.
        """
        inside = folder / "recordings"
        place = inside if inside.is_dir() else folder
        train: list[Utterance] = []
        test: list[Utterance] = []
        speakers = set()
        for path in sorted(place.glob("*.wav")):
            # digit, speaker, number; what an archiver of macOS adds begins with "._"
            match = re.fullmatch(r"([0-9])_([a-z]+)_([0-9]{1,3})\.wav", path.name)
            if match is None:
                continue
            speakers.add(match[2])
            if self.speaker is None:
                tested = int(match[3]) in _TEST
            else:
                tested = match[2] == self.speaker
            (test if tested else train).append(Utterance(path, int(match[1])))
        if self.speaker is not None and speakers and self.speaker not in speakers:
            raise ValueError(
                f"speaker is {self.speaker!r}, allowed are "
                f"{', '.join(sorted(speakers))}, or null for the official split"
            )
        return train, test
