"""Vectors of numbers inside compiled loops, against NumPy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from snn_temporal_plugins.kernels.lanes import (
    WIDTH,
    above,
    add,
    anywhere,
    divide,
    fused,
    load,
    negative,
    splat,
    store,
    store_where,
    subtract,
    unless,
    where,
)


@numba.njit
def arithmetic(x, y, out):
    a, b = load(x, 3), load(y, 0)  # no multiple of the width: nothing is aligned
    store(out, 0, add(a, b))
    store(out, WIDTH, subtract(a, b))
    store(out, 2 * WIDTH, fused(a, x[1], b))
    store(out, 3 * WIDTH, splat(x[1]))
    store(out, 4 * WIDTH, divide(a, b))


@numba.njit
def choices(x, y, out):
    a, b = load(x, 3), load(y, 0)
    store(out, 0, where(above(a, b), a, b))
    store(out, WIDTH, where(negative(a), a, b))
    store_where(out, 2 * WIDTH, a, unless(negative(a)))
    return anywhere(above(a, b)), anywhere(above(a, a))


def numbers(dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(size=WIDTH + 3).astype(dtype)
    y = rng.normal(size=WIDTH).astype(dtype)
    x[3:8] = np.inf, -np.inf, 0.0, -0.0, y[4]
    return x, y, np.full(5 * WIDTH, 7, dtype)


both = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@both
def test_arithmetic(dtype):
    x, y, out = numbers(dtype)
    arithmetic(x, y, out)
    a = x[3:]
    total, difference, product, copies, quotient = out.reshape(5, WIDTH)
    np.testing.assert_array_equal(total, a + y)
    np.testing.assert_array_equal(difference, a - y)
    rounding = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(product, a * x[1] + y, rtol=rounding, atol=rounding)
    np.testing.assert_array_equal(copies, np.full(WIDTH, x[1]))
    np.testing.assert_array_equal(quotient, a / y)


@both
def test_choices(dtype):
    x, y, out = numbers(dtype)
    assert choices(x, y, out) == (True, False)
    a = x[3:]
    larger, chosen, stored, *untouched = out.reshape(5, WIDTH)
    np.testing.assert_array_equal(larger, np.maximum(a, y))
    np.testing.assert_array_equal(chosen, np.where(np.signbit(a), a, y))  # of -0 too
    np.testing.assert_array_equal(stored, np.where(np.signbit(a), 7, a))
    assert (np.array(untouched) == 7).all()


# the bytes of everything that both kernels give, ties and silence included
ANSWERS = """
import hashlib, torch
from snn_temporal_plugins import kernels

torch.manual_seed(0)
torch.set_num_threads(1)
said = hashlib.sha256()
for dtype in (torch.float32, torch.float64):
    def spikes(*shape):
        times = torch.randint(0, 40, shape) / 40
        return times.where(torch.rand(shape) < 0.6, torch.inf).to(dtype)
    for outputs in (3, 70, 130):
        t, v_th = spikes(9, 75), torch.ones(outputs, dtype=dtype)
        w = torch.randn(outputs, 75, dtype=dtype) / 4
        found = kernels.first_crossing(t, w, v_th, 2.0)
        delta = torch.randn_like(found[0])
        sums = kernels.first_crossing_backward(
            delta, t, w, found[0], found[2], True, True
        )
        steps = kernels.first_crossing(t, w, v_th, 2.0, "step", 0.9)
        for x in (*found, *sums, *steps):
            said.update(x.numpy().tobytes())
    for maps in (3, 16, 40):
        t, v_th = spikes(2, 2, 12, 12), torch.ones(maps, dtype=dtype)
        w = torch.randn(maps, 2, 5, 5, dtype=dtype) / 3
        for response in ("ramp", "step"):
            found = kernels.first_crossing_conv2d(t, w, v_th, 1, 1, 2.0, response)
            for x in found:
                said.update(x.numpy().tobytes())
print(said.hexdigest())
"""


@pytest.mark.sweep  # compiles everything for each width
def test_answers_do_not_depend_on_the_width(tmp_path):
    package = Path(__file__).parents[2] / "snn_temporal_plugins"
    found = set()
    for width in (8, 16, 64):
        root = tmp_path / str(width)
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package, root / package.name, ignore=skip)
        lanes = root / package.name / "kernels" / "lanes.py"
        text = lanes.read_text(encoding="utf-8")
        chosen = next(line for line in text.splitlines() if line.startswith("WIDTH ="))
        lanes.write_text(text.replace(chosen, f"WIDTH = {width}"), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", ANSWERS],
            env=environment,
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1
