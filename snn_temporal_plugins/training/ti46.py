"""The data module of TI46: isolated words, the user's own copy of LDC93S9."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from snn_temporal_plugins.training.spoken_words import SpokenWords, Utterance

# Prompt codes by class. "0" stands before a letter too: 0a is the letter, 00 the zero.
_CODES = {
    "digits": [f"0{digit}" for digit in "0123456789"],
    "alphabet": [f"0{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"],
}
# word, speaker, session (se for enrolment, s1 to s8 for testing), token
_NAME = re.compile(r"(0[0-9a-z])([fm][1-8])(se|s[1-8])t[0-9]\.(?:wav|sph)")


class TI46(SpokenWords):
    """Isolated words of 16 speakers: 10 digits or the 26 letters of the alphabet.

    A sample is a spike train `(time, channels)`: mel filter bank and spike coder, see
    `snn_temporal_plugins.training.audio`. The published results of ST-RSBP have the
    same split and coder, but 78 channels of Lyon's model of the ear in 700 steps.

    The enrolment sessions are the training part and the test sessions the test part,
    1594 + 2474 digits or 4142 + 6628 letters. TI46 is sold by the Linguistic Data
    Consortium; its SPHERE files are read as they are, and RIFF files under the same
    names too.

    Args:
        root: Folder with the files, at any depth; if None, the one that the environment
            variable SNN_TEMPORAL_TI46 names.
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
        words: "digits" or "alphabet".

    Reference:
        Liberman and others 1993, TI 46-Word, LDC93S9.
    """

    name = "TI46"
    variable = "SNN_TEMPORAL_TI46"
    cure = (
        "Copy the folders ti20 (digits) or ti_alpha (letters) of LDC93S9, with their "
        "train and test folders and files such as 00f1set0.wav, and name the folder by "
        "--data.root or by the environment variable SNN_TEMPORAL_TI46."
    )

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 50,
        validation: int = 0,
        seed: int = 0,
        num_steps: int = 300,
        step_ms: float = 4.0,
        num_bands: int = 78,
        coder: Literal["bsa", "level_crossing"] = "bsa",
        shift: int = 0,
        words: Literal["digits", "alphabet"] = "digits",
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
        if words not in _CODES:
            raise ValueError(f"words is {words!r}, allowed are 'digits' and 'alphabet'")
        self.words = words

    def find(self, folder: Path) -> tuple[list[Utterance], list[Utterance]]:
        """Return the recordings of the training and of the test part.

        Args:
            folder: The folder with the files, at any depth.
        """
        classes = {code: label for label, code in enumerate(_CODES[self.words])}
        train: list[Utterance] = []
        test: list[Utterance] = []
        for path in sorted(folder.rglob("*.*")):
            match = _NAME.fullmatch(path.name.lower())  # discs come in either case
            if match is None or match[1] not in classes or not path.is_file():
                continue
            part = train if match[3] == "se" else test
            part.append(Utterance(path, classes[match[1]]))
        return train, test
