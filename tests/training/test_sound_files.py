"""Sound files that the tests write: RIFF and NIST SPHERE, sound and damaged."""

import io
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.training import sound_files as module
from snn_temporal_plugins.training.sound_files import read_sound

SAMPLES = [0, 1, -1, 256, 32767, -32768]


def riff(samples, rate=8000, channels=1, width=2):
    """Bytes of a RIFF file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(channels)
        written.setsampwidth(width)
        written.setframerate(rate)
        written.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return file.getvalue()


def sphere(samples, rate=12500, order="01", **changes):
    """Bytes of a SPHERE file; a change to None leaves the field out."""
    fields = {
        "database_id": "-s4 TI46",
        "channel_count": "-i 1",
        "sample_count": f"-i {len(samples)}",
        "sample_rate": f"-i {rate}",
        "sample_n_bytes": "-i 2",
        "sample_byte_format": f"-s2 {order}",
        "sample_coding": "-s3 pcm",
        **changes,
    }
    lines = [f"{name} {value}" for name, value in fields.items() if value is not None]
    header = "\n".join(["NIST_1A", "   1024", *lines, "end_head", ""]).encode()
    dtype = {"01": "<i2", "10": ">i2"}[order]
    return header.ljust(1024) + np.asarray(samples, dtype=dtype).tobytes()


def read(tmp_path, content):
    path = tmp_path / "word.wav"
    path.write_bytes(content)
    return read_sound(path)


@pytest.mark.parametrize(
    ("content", "rate"),
    [
        (riff(SAMPLES), 8000),
        (sphere(SAMPLES), 12500),
        (sphere(SAMPLES, 16000, "10"), 16000),
        (sphere(SAMPLES, sample_coding=None, database_id=None), 12500),
        (sphere(SAMPLES) + b"more", 12500),
    ],
)
def test_both_formats(tmp_path, content, rate):
    sound = read(tmp_path, content)
    assert sound.samples.tolist() == SAMPLES
    assert sound.samples.dtype == np.int16
    assert sound.rate == rate


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with b'', expected b'RIFF' or"),
        (b"ID3\x04music", "it is neither a RIFF"),
        (riff([]), "holds no samples"),
        (sphere([]), "holds no samples"),
        (riff(SAMPLES, rate=999), "has 999 samples per second, allowed are 1000 to"),
        (riff(SAMPLES, channels=2), "has 2 channels of 16 bits, allowed is 1 of 16"),
        (riff(SAMPLES, width=1), "has 1 channels of 8 bits"),
        (sphere(SAMPLES, channel_count="-i 2"), "has 2 channels of 16 bits"),
        (riff(SAMPLES)[:20], r"is damaged or not linear PCM"),
        (riff(SAMPLES)[:-2], "cut off"),
        (
            riff(SAMPLES).replace(b"\x01\0\x01\0", b"\x06\0\x01\0"),
            "not linear PCM .unk",
        ),
        (b"NIST_1A\n   1024\n", "states a header of b'1024' bytes and has 16 bytes"),
        (b"NIST_1A\nabcdefgh", "states a header of b'abcdefgh'"),
        (sphere(SAMPLES).replace(b"end_head", b"and_head"), "has no 'end_head'"),
        (sphere(SAMPLES)[:-1], "states 6 samples and holds 5: it is cut off"),
        (sphere(SAMPLES, sample_count="-i 999999999"), "states 999999999 samples"),
        (sphere(SAMPLES, sample_rate=None), "sample_rate is '', expected a whole"),
        (sphere(SAMPLES, sample_rate="-i 1e4"), "sample_rate is '1e4'"),
        (sphere(SAMPLES, sample_count="-i -6"), "sample_count is '-6'"),
        (sphere(SAMPLES, sample_byte_format="-s2 11"), "allowed are '01' .* and '10'"),
        (
            sphere(SAMPLES, sample_coding="-s26 pcm,embedded-shorten-v1.09"),
            "coding 'pcm,embedded-shorten-v1.09', allowed is 'pcm'. Decompress it",
        ),
    ],
)
def test_a_damaged_file_says_what_is_wrong(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, content)
    assert "word.wav" in str(error.value)


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 20)
    with pytest.raises(ValueError, match="has 56 bytes, allowed are 20"):
        read(tmp_path, riff(SAMPLES))


@given(st.sampled_from([riff(SAMPLES), sphere(SAMPLES)]), st.data())
def test_damage_is_refused_or_harmless(tmp_path_factory, content, data):
    place = data.draw(st.integers(0, min(len(content), 400) - 1))
    damaged = bytearray(content)
    damaged[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("sound") / "1.wav"
    path.write_bytes(damaged)
    try:
        sound = read_sound(path)
    except ValueError:
        return
    assert 0 < len(sound.samples) <= len(content)
