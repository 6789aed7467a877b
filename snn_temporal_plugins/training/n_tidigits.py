"""The data module of N-TIDIGITS18: spoken digits heard by a silicon cochlea."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snn_temporal_plugins.training.data import HoldOutData, Split, Splits, read_packed
from snn_temporal_plugins.training.local_files import local_path

_FILE = "n-tidigits.hdf5"
_CHANNELS = 64
_WORDS = "0123456789o"  # classes; the files write z for zero, o is "oh"
_MAX_SAMPLES = 100_000  # of one part; 8623 and 8700 are published
_MAX_EVENTS = 2_000_000  # of one sample; a digit has a few thousand
_VARIABLE = "SNN_TEMPORAL_N_TIDIGITS"
_CURE = (
    f"Get {_FILE} of N-TIDIGITS18 (Anumula et al. 2018, doi "
    f"10.3389/fnins.2018.00023) from the Sensors group of the Institute of "
    f"Neuroinformatics, Zurich, and name it or its folder by --data.root or by the "
    f"environment variable {_VARIABLE}. There is no automatic download."
)


class NTIDIGITS(HoldOutData):
    """Single spoken digits heard by a silicon cochlea: 64 channels, 11 classes.

    A sample is a spike train `(time, 64)`. Of N-TIDIGITS18 the recordings of one digit
    are taken, about 2500 for training and as many for testing, and not the sequences.
    The classes are zero to nine, then "oh". Needs h5py.

    Args:
        root: The file `n-tidigits.hdf5` or its folder; if None, what the environment
            variable SNN_TEMPORAL_N_TIDIGITS names.
        batch_size: Samples per batch and device.
        validation: Number of training samples that are held out for validation.
        seed: Start of the order of the samples and of the choice of validation
            samples. It does not follow `seed_everything`.
        num_steps: Number of time steps; what was heard later is dropped.
        step_ms: Length of a step in milliseconds.

    Reference:
        Anumula, Neil, Delbruck, Liu 2018, doi 10.3389/fnins.2018.00023.
    """

    full_scale = 1.0
    packed = True

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 50,
        validation: int = 0,
        seed: int = 0,
        num_steps: int = 300,
        step_ms: float = 5.0,
    ) -> None:
        super().__init__(batch_size, validation, seed)
        if num_steps < 1:
            raise ValueError(f"num_steps is {num_steps}, allowed is 1 or more")
        if not 0 < step_ms < math.inf:
            raise ValueError(f"step_ms is {step_ms}, allowed is above 0")
        self.root = root
        self.num_steps = num_steps
        self.step_ms = step_ms
        self.sample_shape = (num_steps, _CHANNELS)

    def load(self) -> Splits:
        """Find the file and read the single digits of both parts."""
        try:
            import h5py
        except ImportError as error:
            raise ImportError(
                f"N-TIDIGITS18 is an HDF5 file, which needs h5py ({error}): "
                f"pip install h5py"
            ) from error
        path = find_file(self.root)
        try:
            with h5py.File(path, "r") as file:
                train, test = (self._read(file, part) for part in ("train", "test"))
        except OSError as error:  # of the HDF5 library
            raise ValueError(
                f"{path} is damaged, cut off or not an HDF5 file ({error}). {_CURE}"
            ) from error
        return Splits(*self.hold_out(train), test)

    def _read(self, file: Any, part: str) -> Split:
        names = _single_digits(file, part)

        def spikes(name: str) -> np.ndarray:
            events = _events(file, part, name)
            return bin_spikes(*events, self.num_steps, self.step_ms)

        what = f"reading N-TIDIGITS18, {part}"
        x = read_packed(names, spikes, self.sample_shape, what, unit="sample")
        label = [_WORDS.index(name[-1].replace("z", "0")) for name in names]
        return Split(x, torch.tensor(label))


def bin_spikes(
    channel: np.ndarray, seconds: np.ndarray, num_steps: int, step_ms: float
) -> np.ndarray:
    """Bin events to steps of 0 and 1.

    Args:
        channel: Channels 0 to 63, integers `(events,)`.
        seconds: Times from the start of the recording, `(events,)`.
        num_steps: Number of steps; later events are dropped.
        step_ms: Length of a step in milliseconds.

    Returns:
        Spikes, uint8 `(time, 64)`.
    """
    step = seconds.astype(np.float64) * 1000 / step_ms
    inside = step < num_steps
    spikes = np.zeros((num_steps, _CHANNELS), dtype=np.uint8)
    spikes[step[inside].astype(np.int64), channel[inside]] = 1
    return spikes


def find_file(root: str | None) -> Path:
    """Return the path of the file.

    Args:
        root: The file or its folder; if None, the environment variable's.

    Raises:
        FileNotFoundError: If it is missing; says what to get and where to put it.
    """
    place = local_path("N-TIDIGITS18", root, _VARIABLE, _CURE)
    path = place / _FILE if place.is_dir() else place
    if not path.is_file():
        raise FileNotFoundError(f"N-TIDIGITS18: {path} is missing. {_CURE}")
    return path


def _single_digits(file: Any, part: str) -> list[str]:
    """Return the names of the samples of one digit, such as `man-ae-a-5`."""
    names = []
    for name in _array(file, f"{part}_labels", "SO", _MAX_SAMPLES):
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)
        if re.fullmatch(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*-[1-9zo]", text):
            names.append(text)
    if not names:
        raise ValueError(
            f"{file.filename}: {part}_labels names no sample of one digit, such as "
            f"'man-ae-a-5'. {_CURE}"
        )
    return names


def _events(file: Any, part: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the channels and the times in seconds of one sample."""
    channel = _array(file, f"{part}_addresses/{name}", "iu")
    seconds = _array(file, f"{part}_timestamps/{name}", "f")
    where = f"{file.filename}: {part} sample {name}"
    if len(channel) != len(seconds):
        raise ValueError(
            f"{where} has {len(channel)} addresses and {len(seconds)} times. {_CURE}"
        )
    wrong = (channel < 0) | (channel >= _CHANNELS) | ~(seconds >= 0)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{where} has event {first} in channel {channel[first]} at "
            f"{seconds[first]} s, allowed are 0 to {_CHANNELS - 1} and 0 or more. "
            f"{_CURE}"
        )
    return channel, seconds


def _array(file: Any, name: str, kinds: str, limit: int = _MAX_EVENTS) -> np.ndarray:
    """Read one list that lies in this file itself, within bounds."""
    import h5py

    where = f"{file.filename}: {name}"
    node = file
    for part in name.split("/"):
        # a link may lead to any other file of the machine
        if not isinstance(node, h5py.Group) or part not in node:
            raise ValueError(f"{where} is missing. {_CURE}")
        if not isinstance(node.get(part, getlink=True), h5py.HardLink):
            raise ValueError(
                f"{where} is a link, expected the data themselves. {_CURE}"
            )
        node = node[part]
    if not isinstance(node, h5py.Dataset) or node.external or node.is_virtual:
        raise ValueError(f"{where} is not a list kept in the file. {_CURE}")
    fits = node.ndim == 1 and max(node.size, *(node.chunks or (0,))) <= limit
    if not fits or node.dtype.kind not in kinds or node.dtype.itemsize > 64:
        raise ValueError(
            f"{where} is of shape {node.shape} and type {node.dtype}, expected a list "
            f"of at most {limit} {'names' if 'S' in kinds else 'numbers'}. {_CURE}"
        )
    return node[:]
