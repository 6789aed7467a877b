"""Pixels and real times go to the nearest tick."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from snn_temporal_plugins.export import (
    SILENT,
    ExportError,
    IntegerNetwork,
    encode_pixels,
    latency_lut,
    to_ticks,
)
from snn_temporal_plugins.functional.coding import latency_encode
from snn_temporal_plugins.functional.rounding import nearest_tick
from tests.export.networks import dense

NETWORK = IntegerNetwork((dense([[1]], 1),), (1,), 256, 2 / 256)


def test_brighter_is_earlier():
    lut = latency_lut(NETWORK)
    assert lut.dtype == np.uint16
    assert (lut[255], lut[1], lut[0]) == (0, 127, SILENT)
    assert (np.diff(lut[1:].astype(int)) <= 0).all()
    assert latency_lut(NETWORK, silent_zero=False)[0] == 128


@pytest.mark.parametrize("num_ticks", [16, 100, 255, 256, 510, 765, 1000])
def test_the_table_is_the_encoder_of_the_package(num_ticks):
    """Also where a pixel lies half way between two ticks, as with 255 of them."""
    network = replace(NETWORK, num_ticks=num_ticks, tick=2 / num_ticks)
    times = latency_encode(torch.arange(256).float() / 255, window=1.0)
    np.testing.assert_array_equal(to_ticks(times, network), latency_lut(network))
    trained = nearest_tick(times, num_ticks, network.tick).numpy()
    trained = np.where(np.isinf(trained), SILENT, trained)
    np.testing.assert_array_equal(trained, latency_lut(network))


def test_pixels_are_looked_up():
    pixels = np.array([[0, 255], [254, 1]], dtype=np.uint8)
    ticks = encode_pixels(latency_lut(NETWORK), pixels)
    assert ticks.tolist() == [[SILENT, 0], [1, 127]]


def test_times_past_the_last_tick_are_silent():
    times = np.array([0.0, 1.9921875, 1.999, math.inf])
    assert to_ticks(times, NETWORK).tolist() == [0, 255, SILENT, SILENT]


@pytest.mark.parametrize("time", [-0.1, math.nan])
def test_bad_times(time):
    with pytest.raises(ValueError, match="not on the grid"):
        to_ticks([0.0, time], NETWORK)


@pytest.mark.parametrize("window", [0.0, -1.0, math.inf, math.nan])
def test_bad_windows(window):
    with pytest.raises(ExportError, match="window"):
        latency_lut(NETWORK, window=window)


def test_pixels_are_bytes():
    with pytest.raises(ValueError, match="uint8"):
        encode_pixels(latency_lut(NETWORK), np.array([0.5]))
