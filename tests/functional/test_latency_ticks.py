"""Intensity -> whole ticks, as the authors of SSTDP encode."""

import math

import numpy as np
import pytest
import torch

from snn_temporal_plugins.functional.coding import latency_ticks
from tests.golden import load
from tests.oracles import sstdp as oracle

CASES = load("sstdp/encoder.json")["latency"]
PIXELS = torch.arange(256, dtype=torch.float32) / 255


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"T{case['T']}")
def test_equals_the_authors_encoder(case):
    time = latency_ticks(PIXELS, case["T"], x_min=-1.0)
    assert time.dtype == torch.float32 and time.tolist() == case["t"]


@pytest.mark.parametrize("x_min", [-1.0, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("t_max", [1, 2, 7, 256])
def test_equals_the_oracle(t_max, x_min):
    expected = [oracle.latency_tick(np.float32(x), t_max, x_min) for x in PIXELS]
    assert latency_ticks(PIXELS, t_max, x_min=x_min).tolist() == expected


def test_black_is_silent_and_shapes_are_kept():
    image = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
    assert latency_ticks(image, 5).tolist() == [[math.inf, 2.0], [0.0, 3.0]]
    assert latency_ticks(image[:0], 5).shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: latency_ticks(PIXELS, 0), ValueError, "t_max is 0"),
        (lambda: latency_ticks(PIXELS, 8.5), ValueError, "t_max is 8.5"),
        (lambda: latency_ticks(PIXELS + 1, 8), ValueError, r"\[0, 1\]"),
        (lambda: latency_ticks(PIXELS * math.nan, 8), ValueError, "nan"),
        (lambda: latency_ticks(PIXELS.long(), 8), TypeError, "int64"),
        (lambda: latency_ticks(PIXELS, 8, x_min=math.nan), ValueError, "x_min is nan"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
