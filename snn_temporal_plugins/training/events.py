"""Recordings of an event camera: read N-MNIST's files, clean them, bin them to frames.

A reader of our own: `tonic` 1.7.0, licensed under the GPL, would add eleven packages
to `[lightning]` and `[nir]` (librosa, soundfile, audioread, soxr, cffi, pycparser,
msgpack, decorator, lazy-loader, expelliarmus, importRosbag) for the few lines below.

Reference:
    Orchard, Jayawant, Cohen, Thakor 2015, doi 10.3389/fnins.2015.00437.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

SIDE = 34  # pixels of N-MNIST's recordings in each direction
MAX_BYTES = 5 * 2**20  # of one file; those of N-MNIST have a few ten thousand
_CURE = "Delete it and get the original file again."


class Events(NamedTuple):
    """Events of one recording, four int64 arrays of shape `(events,)`.

    Attributes:
        x: Column, 0 to 33.
        y: Row, 0 to 33 from the top.
        polarity: 1 where the pixel became brighter, 0 where it became darker.
        time: Microseconds from the start.
    """

    x: np.ndarray
    y: np.ndarray
    polarity: np.ndarray
    time: np.ndarray

    def where(self, keep: np.ndarray) -> Events:
        """Return the events that a Boolean array of shape `(events,)` selects."""
        return Events(*(column[keep] for column in self))


def read_events(path: Path) -> Events:
    """Read one `.bin` or `.bs2` file: x, y, then 1 bit of polarity and 23 of time.

    A recording without events is refused: what the camera saw moved, so an empty file
    is the trace of a copy that was cut off.

    Args:
        path: The file; five bytes per event, big-endian.

    Returns:
        The events in the order of the file.

    Raises:
        ValueError: If the file is empty, truncated, far too large, or of another
            format.
    """
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"{path} is empty, expected 5 bytes per event. {_CURE}")
    if size > MAX_BYTES:
        raise ValueError(
            f"{path} has {size} bytes, allowed are {MAX_BYTES}: it is not one "
            f"recording of N-MNIST. {_CURE}"
        )
    if size % 5:
        raise ValueError(
            f"{path} has {size} bytes, expected a multiple of 5: it is cut off or not "
            f"an event file. {_CURE}"
        )
    content = np.fromfile(path, dtype=np.uint8).reshape(-1, 5).astype(np.int64)
    x, y, high, middle, low = content.T
    outside = np.flatnonzero((x >= SIDE) | (y >= SIDE))
    if len(outside):
        first = outside[0]
        raise ValueError(
            f"{path} has {len(outside)} events outside {SIDE}x{SIDE} pixels, the first "
            f"is event {first} at x = {x[first]}, y = {y[first]}: it is damaged or not "
            f"of N-MNIST. {_CURE}"
        )
    return Events(x, y, high >> 7, (high & 127) << 16 | middle << 8 | low)


def denoise(events: Events, window_us: int) -> Events:
    """Drop the events that stand alone: noise of the pixels, which nothing answers.

    An event stays if there is another one, of either polarity, at most one pixel and
    `window_us` away, at the same time or before.

    Args:
        events: Events of one recording, in any order.
        window_us: How far back to look, in microseconds.

    Returns:
        The events that stay, in their order.
    """
    # One sorted key (pixel, time): the neighbours of all events are found at once. A
    # frame of empty pixels keeps the rows apart.
    row, span = SIDE + 2, 1 << 23
    pixel = (events.y + 1) * row + events.x + 1
    key = pixel * span + events.time
    order = key.argsort()
    key, back = key[order], np.minimum(events.time, window_us)[order]
    found = np.zeros(len(key), dtype=np.int64)
    for step in (down * row + right for down in (-1, 0, 1) for right in (-1, 0, 1)):
        last = key + step * span
        found += np.searchsorted(key, last, side="right")
        found -= np.searchsorted(key, last - back, side="left")
    keep = np.empty(len(key), dtype=bool)
    keep[order] = found > 1  # each finds itself
    return events.where(keep)


def stabilise(events: Events) -> Events:
    """Take the motion of the camera out, so that the digit stands still.

    The procedure that the authors of N-MNIST give and that TSSL-BP's data went through.

    Args:
        events: Events of one recording.

    Returns:
        The events moved by whole pixels; those that leave the image are dropped.
    """
    # Three saccades of 105 ms draw a triangle: 7 pixels down and 3.5 to the right, 7 up
    # and 3.5 to the right, 7 back. In units of 1/30000 pixel all of it is integers.
    unit, time = 30_000, events.time
    right = np.minimum(time, 630_000 - 2 * time)
    down = np.maximum(np.minimum(2 * time, 420_000 - 2 * time), 0)
    x = (unit * events.x - right + unit // 2) // unit
    y = (unit * events.y - down + unit // 2) // unit
    inside = (x >= 0) & (x < SIDE) & (y >= 0) & (y < SIDE)
    return Events(x, y, events.polarity, time).where(inside)


def bin_events(events: Events, num_steps: int, bin_us: int) -> np.ndarray:
    """Bin events to frames of 0 and 1.

    Step b holds the times `b * bin_us < time <= (b + 1) * bin_us`, as published, and
    step 0 the time 0 too. (The released loader of TSSL-BP puts time 0 into the last
    step and leaves that step empty otherwise.) Later events are dropped.

    Args:
        events: Events of one recording.
        num_steps: Number of frames.
        bin_us: Length of a step in microseconds.

    Returns:
        Frames, uint8 `(time, polarity, height, width)`.
    """
    step = np.maximum((events.time - 1) // bin_us, 0)
    x, y, polarity, step = (column[step < num_steps] for column in (*events[:3], step))
    frames = np.zeros((num_steps, 2, SIDE, SIDE), dtype=np.uint8)
    frames[step, polarity, y, x] = 1
    return frames
