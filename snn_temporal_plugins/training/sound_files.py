"""Speech in files: read RIFF and NIST SPHERE, 16 bits and one channel, within bounds.

A reader of our own: `soundfile` and what it brings would serve for 60 lines. SPHERE is
the format of the corpora of the Linguistic Data Consortium, whose files are named
`.wav` all the same, so the content decides.
"""

from __future__ import annotations

import io
import re
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np

MAX_BYTES = 16 * 2**20  # of one file; an utterance has a few ten thousand
_RATES = range(1000, 200_001)
_CURE = "Delete it and get the original file again."


class Sound(NamedTuple):
    """One recording.

    Attributes:
        samples: Sound pressure, int16 `(samples,)`, at least one.
        rate: Samples per second.
    """

    samples: np.ndarray
    rate: int


def read_sound(path: Path) -> Sound:
    """Read one RIFF or SPHERE file.

    Args:
        path: The file; linear 16-bit samples, one channel, not compressed.

    Returns:
        The recording.

    Raises:
        ValueError: If the file is empty, truncated, far too large, or of another
            format.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(
            f"{path} has {size} bytes, allowed are {MAX_BYTES}: it is not a recording "
            f"of one word. {_CURE}"
        )
    content = path.read_bytes()
    if content[:4] == b"RIFF":
        sound = _riff(path, content)
    elif content[:8] == b"NIST_1A\n":
        sound = _sphere(path, content)
    else:
        raise ValueError(
            f"{path} begins with {content[:8]!r}, expected b'RIFF' or b'NIST_1A\\n': "
            f"it is neither a RIFF (.wav) nor a NIST SPHERE file. {_CURE}"
        )
    if not len(sound.samples):
        raise ValueError(f"{path} holds no samples. {_CURE}")
    if sound.rate not in _RATES:
        raise ValueError(
            f"{path} has {sound.rate} samples per second, allowed are {_RATES.start} "
            f"to {_RATES.stop - 1}. {_CURE}"
        )
    return sound


def _riff(path: Path, content: bytes) -> Sound:
    try:
        # from memory: a header that lies about lengths cannot ask for more than that
        with wave.open(io.BytesIO(content)) as file:
            form = file.getnchannels(), 8 * file.getsampwidth()
            count, rate = file.getnframes(), file.getframerate()
            raw = file.readframes(count)
    except (wave.Error, EOFError, RuntimeError) as error:  # the last: chunk too short
        raise ValueError(
            f"{path} is damaged or not linear PCM ({error or 'cut off'}). {_CURE}"
        ) from error
    _require_form(path, *form)
    return Sound(_samples(path, raw, count, "<i2"), rate)


def _sphere(path: Path, content: bytes) -> Sound:
    length = content[8:16].strip()
    if not re.fullmatch(rb"[0-9]{1,6}", length) or int(length) > len(content):
        raise ValueError(
            f"{path} states a header of {length!r} bytes and has {len(content)} bytes "
            f"in all: it is cut off or damaged. {_CURE}"
        )
    header, ended, _ = content[16 : int(length)].partition(b"end_head")
    if not ended:
        raise ValueError(f"{path}: the header has no 'end_head'. {_CURE}")
    # a line is `name -type value`, the type being i, r or s with its length
    lines = re.findall(rb"^(\w+) -(?:i|r|s[0-9]+) (.*)$", header, re.MULTILINE)
    field = {name.decode(): value.decode("latin-1").strip() for name, value in lines}
    coding = field.get("sample_coding", "pcm")
    if coding != "pcm":
        raise ValueError(
            f"{path} has the coding {coding[:40]!r}, allowed is 'pcm'. Decompress it, "
            f"for example by `sph2pipe -f wav`."
        )
    number = {}
    for name in ("channel_count", "sample_n_bytes", "sample_count", "sample_rate"):
        value = field.get(name, "")
        if not re.fullmatch("[0-9]{1,9}", value):
            raise ValueError(
                f"{path}: {name} is {value[:40]!r}, expected a whole number. {_CURE}"
            )
        number[name] = int(value)
    _require_form(path, number["channel_count"], 8 * number["sample_n_bytes"])
    order = {"01": "<i2", "10": ">i2"}.get(field.get("sample_byte_format", ""))
    if order is None:
        raise ValueError(
            f"{path}: sample_byte_format is "
            f"{field.get('sample_byte_format', '')[:40]!r}, allowed are '01' (low byte "
            f"first) and '10'. {_CURE}"
        )
    samples = _samples(path, content[int(length) :], number["sample_count"], order)
    return Sound(samples, number["sample_rate"])


def _require_form(path: Path, channels: int, bits: int) -> None:
    if (channels, bits) != (1, 16):
        raise ValueError(
            f"{path} has {channels} channels of {bits} bits, allowed is 1 of 16. "
            f"Convert it, for example by `sox IN -c 1 -b 16 OUT`."
        )


def _samples(path: Path, raw: bytes, count: int, order: str) -> np.ndarray:
    if len(raw) < 2 * count:
        raise ValueError(
            f"{path} states {count} samples and holds {len(raw) // 2}: it is cut off. "
            f"{_CURE}"
        )
    return np.frombuffer(raw, dtype=order, count=count).astype(np.int16)
