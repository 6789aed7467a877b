"""The mel filter bank and the spike coders."""

import numpy as np
import pytest

from snn_temporal_plugins.training.audio import (
    BSA_FILTER,
    bsa,
    level_crossing,
    mel_levels,
)
from snn_temporal_plugins.training.sound_files import Sound


def tone(frequency, seconds=0.2, rate=8000, loud=8000):
    time = np.arange(round(seconds * rate)) / rate
    wave = loud * np.sin(2 * np.pi * frequency * time)
    return Sound(wave.astype(np.int16), rate)


@pytest.mark.parametrize("rate", [8000, 12500, 16000])
@pytest.mark.parametrize("frequency", [200, 440, 1000, 3000])
def test_a_tone_is_loudest_in_the_band_it_belongs_to(frequency, rate):
    levels = mel_levels(tone(frequency, rate=rate), 100, 4.0, 40)
    assert levels.shape == (50, 40)
    low, high, place = 2595 * np.log10(
        1 + np.array([100, 0.475 * rate, frequency]) / 700
    )
    band = 41 * (place - low) / (high - low) - 1
    assert abs(levels[25].argmax() - band) < 1
    assert levels.min() == 0
    assert levels.max() == 1


def test_levels_are_decibels_below_the_loudest():
    loud, soft = tone(1000).samples, tone(1000, loud=800).samples
    levels = mel_levels(Sound(np.append(loud, soft), 8000), 100, 4.0, 40)
    band = levels[25].argmax()
    # a tenth of the pressure is 20 of the 50 dB
    assert levels[25, band] - levels[75, band] == pytest.approx(0.4, abs=0.01)


def test_how_loud_a_recording_is_does_not_matter():
    samples = tone(700).samples
    quiet, loud = (
        mel_levels(Sound(factor * samples, 8000), 50, 4.0, 64)
        for factor in (np.int16(1), np.int16(3))
    )
    assert np.allclose(quiet, loud)


def test_time_ends_with_the_recording_or_the_steps():
    assert mel_levels(tone(500), 30, 4.0, 8).shape == (30, 8)
    assert mel_levels(tone(500), 300, 5.0, 8).shape == (40, 8)
    assert mel_levels(Sound(np.array([7], np.int16), 8000), 30, 4.0, 8).shape == (1, 8)


def test_silence_has_no_level():
    assert not mel_levels(Sound(np.zeros(4000, np.int16), 8000), 99, 4.0, 64).any()


def test_too_many_bands_are_refused():
    with pytest.raises(
        ValueError, match="num_bands is 2000, too many for 8000 samples"
    ):
        mel_levels(tone(500), 30, 4.0, 2000)


def test_the_filter_is_the_published_one():
    assert BSA_FILTER.shape == (24,)
    assert BSA_FILTER.sum() == pytest.approx(1)
    assert BSA_FILTER[7] / BSA_FILTER[12] == pytest.approx(np.exp(-1))


def slow_bsa(signal, kernel, threshold):
    """One signal, tap by tap."""
    left = [*signal, *[0.0] * len(kernel)]
    spikes = []
    for t in range(len(signal)):
        error = sum(abs(left[t + i] - h) for i, h in enumerate(kernel))
        spike = error <= sum(abs(left[t + i]) for i in range(len(kernel))) - threshold
        spikes.append(int(spike))
        if spike:
            for i, h in enumerate(kernel):
                left[t + i] -= h
    return spikes


def test_bsa_equals_its_definition():
    generator = np.random.default_rng(0)
    signal = 0.5 * generator.random((80, 5)) * np.hanning(80)[:, None]
    for kernel, threshold in ((BSA_FILTER, 0.6), (np.array([0.1, 0.5, 0.2]), 0.3)):
        before = signal.copy()
        spikes = bsa(signal, kernel, threshold)
        expected = [slow_bsa(one, kernel, threshold) for one in signal.T]
        assert spikes.T.tolist() == expected
        assert 0 < spikes.mean() < 1
        assert np.array_equal(signal, before)


def test_the_filtered_spikes_give_the_signal_back():
    time = np.arange(300)
    signal = 0.35 + 0.2 * np.sin(2 * np.pi * time / 100)
    spikes = bsa(signal[:, None])[:, 0]
    back = np.convolve(spikes, BSA_FILTER)[:300]
    inside = slice(24, 276)
    assert np.corrcoef(back[inside], signal[inside])[0, 1] > 0.98
    assert np.abs(back - signal)[inside].max() < 0.13


@pytest.mark.parametrize(("level", "rate"), [(0.5, 0.6), (0.25, 0.29), (0.05, 0.0)])
def test_bsa_codes_a_level_as_a_rate(level, rate):
    spikes = bsa(np.full((600, 1), level))
    assert spikes[50:550].mean() == pytest.approx(rate, abs=0.02)


def test_level_crossing_by_hand():
    signal = np.array([[0.0, 0.1, 0.25, 1.0, 1.0, 0.9, 0.1, 0.0], [0.0] * 8]).T
    on = [0, 0, 1, 1, 1, 1, 0, 0]
    off = [0, 0, 0, 0, 0, 0, 1, 1]
    spikes = level_crossing(signal, 0.2)
    assert spikes.dtype == np.uint8
    assert spikes.T.tolist() == [on, [0] * 8, off, [0] * 8]


def test_the_crossings_sum_to_the_signal():
    time = np.arange(400)
    signal = (0.5 - 0.5 * np.cos(2 * np.pi * time / 150))[:, None]
    on, off = level_crossing(signal, 0.05).T.astype(int)
    assert np.abs(0.05 * np.cumsum(on - off) - signal[:, 0]).max() <= 0.05
