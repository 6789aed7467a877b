"""Vectors of 64 numbers inside compiled loops, against NumPy."""

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
