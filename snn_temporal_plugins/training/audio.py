"""Speech to spikes: a mel filter bank, then a spike coder per band.

Plain NumPy: an audio library would add a dozen packages for one triangle per band. The
published results of ST-RSBP on TI46 went through Lyon's model of the ear and BSA; here
the ear is the mel filter bank, so accuracies are not those of the paper's data.

Reference:
    O'Shaughnessy 1987, "Speech communication" (the mel scale, 2595 log10(1 + f/700));
    Schrauwen & Van Campenhout 2003, doi 10.1109/IJCNN.2003.1224019 (BSA).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from snn_temporal_plugins.training.sound_files import Sound

_WINDOW = 0.025  # seconds that one frame sees
_EMPHASIS = 0.97
_LOWEST = 100.0  # Hz; the highest band ends at 0.95 of half the sampling rate
_RANGE = 50.0  # dB below the loudest frame and band that count as silence

# The filter that ST-RSBP's inputs were coded with: 24 taps around tap 12.
BSA_FILTER = np.exp(-((np.arange(24) - 12.0) ** 2) / 25)
BSA_FILTER /= BSA_FILTER.sum()


def mel_levels(
    sound: Sound, num_steps: int, step_ms: float, num_bands: int
) -> np.ndarray:
    """Return the loudness of a recording over time and frequency.

    One frame of 25 ms (Hann window, after a pre-emphasis x[n] - 0.97 x[n-1]) around
    each step; triangular bands, equally wide on the mel scale from 100 Hz to 0.95 of
    half the sampling rate, each the mean power under its triangle, in dB:

        level = 1 + (dB - loudest dB of the recording) / 50,  at least 0

    so how loud the recording is as a whole does not matter.

    Args:
        sound: The recording.
        num_steps: Number of frames at most; what comes later is dropped.
        step_ms: Time between frames in milliseconds.
        num_bands: Number of bands.

    Returns:
        Levels in [0, 1], float64 `(time, bands)`, time up to the recording's end; all
        0 if nothing sounds.

    Raises:
        ValueError: If the bands are too many to be told apart.
    """
    samples, rate = sound.samples.astype(np.float64), sound.rate
    step = step_ms * rate / 1000
    width = round(_WINDOW * rate)
    count = min(num_steps, max(round(len(samples) / step), 1))
    emphasised = samples - _EMPHASIS * np.append(samples[0], samples[:-1])
    start = np.round(np.arange(count) * step).astype(int)
    padded = np.pad(emphasised, (width // 2, width))
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[start]
    length = 1 << (2 * width - 1).bit_length()  # finely enough for the narrow low bands
    spectrum = np.fft.rfft(frames * np.hanning(width + 1)[:-1], length)
    power = (spectrum.real**2 + spectrum.imag**2) @ _mel_bank(num_bands, length, rate)
    loudest = power.max()
    if loudest == 0:
        return np.zeros_like(power)
    silence = loudest * 10 ** (-_RANGE / 10)
    return 1 + 10 * np.log10(np.maximum(power, silence) / loudest) / _RANGE


@lru_cache(maxsize=8)
def _mel_bank(num_bands: int, length: int, rate: int) -> np.ndarray:
    """Return the weight of each frequency in each band, `(length // 2 + 1, bands)`."""
    lowest, highest = 2595 * np.log10(1 + np.array([_LOWEST, 0.475 * rate]) / 700)
    mel = np.linspace(lowest, highest, num_bands + 2)
    edge = 700 * (10 ** (mel / 2595) - 1)
    low, middle, high = edge[:-2], edge[1:-1], edge[2:]
    frequency = np.fft.rfftfreq(length, 1 / rate)[:, None]
    rise, fall = (
        (frequency - low) / (middle - low),
        (high - frequency) / (high - middle),
    )
    weight = np.maximum(np.minimum(rise, fall), 0)
    total = weight.sum(0)
    if not total.all():
        raise ValueError(
            f"num_bands is {num_bands}, too many for {rate} samples per second: a band "
            f"would hold no frequency. Choose fewer, 64 for example."
        )
    return weight / total


def bsa(
    signal: np.ndarray, kernel: np.ndarray = BSA_FILTER, threshold: float = 0.6
) -> np.ndarray:
    """Code signals as spikes by BSA (Ben's spiker algorithm).

    A spike falls where subtracting the filter h from what is left of the signal r pays:

        Σ_i |r[t+i]| - Σ_i |r[t+i] - h[i]| >= threshold,   then  r[t+i] -= h[i]

    so the spikes filtered by h give the signal back. With the filter and the threshold
    of ST-RSBP a constant signal of x makes about 1.2 x spikes per step (a threshold
    below the sum of the filter lets a spike overshoot), and none where x is below 0.07.

    Args:
        signal: Signals, float `(time, channels)`, from 0 (silent) to 1 (a spike in
            every step).
        kernel: The filter h, `(taps,)`.
        threshold: What a spike must gain at least; at most the sum of the filter.

    Returns:
        Spikes, uint8 `(time, channels)`.

    Reference:
        Schrauwen & Van Campenhout 2003, doi 10.1109/IJCNN.2003.1224019.
    """
    taps = len(kernel)
    left = np.pad(np.asarray(signal, dtype=np.float64), ((0, taps - 1), (0, 0)))
    h = kernel[:, None]
    spikes = np.zeros(np.shape(signal), dtype=np.uint8)
    for step, row in enumerate(spikes):
        seen = left[step : step + taps]
        row[:] = (np.abs(seen) - np.abs(seen - h)).sum(0) >= threshold
        seen -= h * row
    return spikes


def level_crossing(signal: np.ndarray, distance: float = 0.2) -> np.ndarray:
    """Code signals as spikes that tell where they crossed equally spaced levels.

    An "on" spike raises the reference by one level, an "off" spike lowers it; the
    reference starts at 0. At most one level per step, so it may trail a fast change.

    Args:
        signal: Signals, float `(time, channels)`.
        distance: Distance > 0 between levels.

    Returns:
        Spikes, uint8 `(time, 2 * channels)`: all "on" channels, then all "off".
    """
    time, channels = np.shape(signal)
    spikes = np.zeros((time, 2, channels), dtype=np.uint8)
    level = np.zeros(channels, dtype=np.int64)  # counted: no drift by rounding
    for value, (on, off) in zip(signal, spikes, strict=True):
        away = value - level * distance
        on[:] = away >= distance
        off[:] = -away >= distance
        level += on
        level -= off
    return spikes.reshape(time, 2 * channels)
