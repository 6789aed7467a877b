"""Convolution of first crossings: it is the dense op on every patch, in both bodies."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_temporal_plugins.kernels import (
    first_crossing,
    first_crossing_backward,
    first_crossing_conv2d,
    first_crossing_conv2d_backward,
    stdp_conv2d_weight_gradient,
    stdp_weight_gradient,
    unfold,
)
from snn_temporal_plugins.kernels import first_crossing_conv as conv

DTYPES = (torch.float32, torch.float64)
BODIES = {"numba": first_crossing_conv2d, "reference": conv._forward_reference}


def integers(batch, channels, image, maps, side, levels, seed, dtype):
    """Times, weights and thresholds whose sums are exact, many of them tied."""
    g = torch.Generator().manual_seed(seed)
    time = torch.randint(-levels, levels + 1, (batch, channels, *image), generator=g)
    time = time.to(dtype)
    time[torch.rand(time.shape, generator=g) < 0.3] = math.inf
    weight = torch.randint(-4, 6, (maps, channels, side, side), generator=g).to(dtype)
    v_th = torch.randint(1, 9, (maps,), generator=g).to(dtype)
    return time, weight, v_th


def dense(time, weight, v_th, stride, padding, *options):
    """Times, levels and causal sets of the dense op, (batch, place, map ...)."""
    patches = unfold(time, weight.shape[2], stride, padding)
    flat = patches.flatten(0, 1)
    found = first_crossing(flat, weight.flatten(1), v_th, *options)
    return patches, [x.view(*patches.shape[:2], len(weight)) for x in found]


def by_place(x):
    return x.flatten(2).transpose(1, 2)


def causal(patches, bound):
    return patches[:, :, None, :] < bound[:, :, :, None]


@settings(max_examples=120, deadline=None)
@given(
    batch=st.integers(0, 3),
    channels=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    maps=st.sampled_from([1, 2, 3, 8, 21, 32, 33, 64, 65, 130]),
    side=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    levels=st.integers(1, 6),
    horizon=st.sampled_from([math.inf, 2.0, -0.5]),
    response=st.sampled_from([("ramp", 1.0), ("step", 1.0), ("step", 0.5)]),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from(DTYPES),
)
def test_is_the_dense_op_on_every_patch(
    batch,
    channels,
    height,
    width,
    maps,
    side,
    stride,
    padding,
    levels,
    horizon,
    response,
    seed,
    dtype,
):
    side = min(side, height + 2 * padding, width + 2 * padding)
    time, weight, v_th = integers(
        batch, channels, (height, width), maps, side, levels, seed, dtype
    )
    options = horizon, *response
    patches, expected = dense(time, weight, v_th, stride, padding, *options)
    found = first_crossing_conv2d(time, weight, v_th, stride, padding, *options)
    post, level, bound = (by_place(x) for x in found)
    rtol = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(post, expected[0], rtol=rtol, atol=rtol)
    torch.testing.assert_close(level, expected[1], rtol=rtol, atol=0)
    assert torch.equal(bound == -math.inf, expected[2] == -math.inf)
    assert torch.equal(causal(patches, bound), causal(patches, expected[2]))

    g = torch.Generator().manual_seed(seed)
    delta = torch.randint(-2, 3, found[0].shape, generator=g).to(dtype)
    arguments = delta, time, weight, found[0], found[2], stride, padding
    flat = [by_place(x).flatten(0, 1) for x in (delta, found[0], found[2])]
    for need in ((True, True), (True, False), (False, True)):
        ours = first_crossing_conv2d_backward(*arguments, *need)
        theirs = conv._backward_reference(*arguments, *need)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    pairs = first_crossing_backward(
        flat[0], patches.flatten(0, 1), weight.flatten(1), *flat[1:], False, True
    )
    ours = first_crossing_conv2d_backward(*arguments, False, True)[1]
    torch.testing.assert_close(ours.flatten(1), pairs[1], rtol=1e-4, atol=1e-4)


def real_problem(batch=5, maps=6, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    time = torch.rand(batch, 3, 9, 11, generator=g, dtype=dtype)
    time[torch.rand(time.shape, generator=g) < 0.4] = math.inf
    weight = torch.randn(maps, 3, 3, 3, generator=g, dtype=dtype) + 0.1
    return time, weight, torch.rand(maps, generator=g, dtype=dtype) + 0.2


@pytest.mark.parametrize("maps", [4, 16, 70])
def test_real_times(maps):
    time, weight, v_th = real_problem(maps=maps)
    patches, expected = dense(time, weight, v_th, 1, 1, 1.5)
    found = first_crossing_conv2d(time, weight, v_th, 1, 1, 1.5)
    post, level, bound = (by_place(x) for x in found)
    assert 0.1 < post.isfinite().double().mean() < 0.9
    torch.testing.assert_close(post, expected[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(level, expected[1], rtol=1e-10, atol=1e-12)
    assert torch.equal(causal(patches, bound), causal(patches, expected[2]))


def test_levels_and_bounds_of_64_maps_are_the_dense_ones_bit_for_bit():
    time, weight, v_th = real_problem(maps=64, dtype=torch.float32)  # no neighbours
    expected = dense(time, weight, v_th, 1, 0, 1.5)[1]
    found = first_crossing_conv2d(time, weight, v_th, 1, 0, 1.5)
    torch.testing.assert_close(by_place(found[0]), expected[0], rtol=1e-6, atol=1e-7)
    assert torch.equal(by_place(found[1]), expected[1])
    assert torch.equal(by_place(found[2]), expected[2])


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_silence_in_silence_out(body):
    weight, v_th = torch.ones(4, 2, 3, 3), torch.ones(4)
    for response in ("ramp", "step"):
        silent = torch.full((2, 2, 5, 5), math.inf)
        post, level, bound = body(silent, weight, v_th, 1, 1, math.inf, response)
        assert post.shape == (2, 4, 5, 5) and post.isinf().all()
        assert (level == 0).all() and (bound == -math.inf).all()


def test_threads_change_nothing():
    time, weight, v_th = real_problem(batch=40, maps=64, dtype=torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            post, level, bound = first_crossing_conv2d(time, weight, v_th, 1, 1, 2.0)
            grads = first_crossing_conv2d_backward(
                level, time, weight, post, bound, 1, 1, True, True
            )
            window = stdp_conv2d_weight_gradient(
                level, time, post, 3, 1, 1, 1.0, 0.3, 0.0, 1.0, 0.0, math.inf
            )
            results.append((post, level, bound, *grads, window))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_silent_outputs_and_those_without_error_are_left_out():
    time, weight, v_th = real_problem()
    post, level, bound = first_crossing_conv2d(time, weight, v_th, 1, 0, 1.5)
    fired = post < math.inf
    delta = torch.where(fired, level, math.nan)  # whatever stands where it is silent
    ours = first_crossing_conv2d_backward(
        delta, time, weight, post, bound, 1, 0, True, True
    )
    clean = torch.where(fired, level, 0)
    theirs = conv._backward_reference(
        clean, time, weight, post, bound, 1, 0, True, True
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    nothing = first_crossing_conv2d_backward(
        torch.zeros_like(post), time, weight, post, bound, 1, 0, True, True
    )
    assert all((x == 0).all() for x in nothing)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, math.nan, "spike_time holds NaN"),
        (0, -math.inf, "-inf"),
        (1, math.inf, "weight holds NaN or inf"),
        (2, 0.0, "v_th holds"),
    ],
)
def test_bad_values_name_themselves(body, place, value, message):
    arguments = list(real_problem())
    arguments[place] = arguments[place].clone()
    arguments[place].view(-1)[2] = value
    with pytest.raises(ValueError, match=message):
        body(*arguments, 1, 0, math.inf)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_single(dtype):
    time, weight, v_th = (x.to(dtype) for x in real_problem(dtype=torch.float32))
    post = first_crossing_conv2d(time, weight, v_th, 1, 1, 2.0)[0]
    single = (x.float() for x in (time, weight, v_th))
    exact = first_crossing_conv2d(*single, 1, 1, 2.0)[0]
    assert post.dtype == dtype
    torch.testing.assert_close(post, exact.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_opcheck(dtype):
    time, weight, v_th = (x.to(dtype) for x in real_problem(batch=2))
    time = time.transpose(2, 3).contiguous().transpose(2, 3)
    weight = weight.transpose(0, 1).contiguous().transpose(0, 1)
    torch.library.opcheck(first_crossing_conv2d, (time, weight, v_th, 2, 1, 2.0))
    post, level, bound = first_crossing_conv2d(time, weight, v_th, 2, 1, 2.0)
    for need in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(
            first_crossing_conv2d_backward,
            (level, time, weight, post, bound, 2, 1, *need),
        )
    torch.library.opcheck(
        stdp_conv2d_weight_gradient,
        (level, time, post, 3, 2, 1, 1.0, 0.5, 2.0, 1.0, 0.1, math.inf),
    )


@pytest.mark.parametrize("tau", [0.0, 2.0])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (1, 2)])
@pytest.mark.parametrize("border", [math.inf, 4.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_window_of_plasticity_is_the_dense_one(dtype, border, stride, padding, tau):
    time, weight, v_th = integers(3, 2, (6, 7), 5, 3, 4, 1, dtype)
    post = first_crossing_conv2d(time, weight, v_th, stride, padding, 3.0, "step")[0]
    g = torch.Generator().manual_seed(3)
    error = torch.randn(post.shape, generator=g, dtype=dtype)
    error[torch.rand(error.shape, generator=g) < 0.5] = 0
    numbers = 1.5, 0.5, tau, 0.7, 0.1
    ours = stdp_conv2d_weight_gradient(
        error, time, post, 3, stride, padding, *numbers, border
    )
    padded = torch.nn.functional.pad(time, (padding,) * 4, value=border)
    patches = unfold(padded, 3, stride, 0).flatten(0, 1)
    theirs = stdp_weight_gradient(
        by_place(error).flatten(0, 1), patches, by_place(post).flatten(0, 1), *numbers
    )
    rtol = 1e-4 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(ours.flatten(1), theirs, rtol=rtol, atol=rtol)


@pytest.mark.sweep
def test_no_patches_are_stored():
    """The peak of a step stays below the size of the patches alone."""
    program = (
        "import torch\n"
        "from paired import peak_of_second_step\n"
        "from snn_temporal_plugins import stdbp_conv2d\n"
        "torch.set_num_threads(1)\n"
        "time = torch.rand(64, 16, 24, 24, requires_grad=True)\n"
        "weight = torch.randn(8, 16, 5, 5, requires_grad=True)\n"
        "step = lambda: stdbp_conv2d(time, weight, 1.0).clamp(max=9).sum().backward()\n"
        "print(peak_of_second_step(step))\n"
    )
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=benchmarks,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    patches = 64 * 20 * 20 * 16 * 25 * 4 / 2**20
    assert float(done.stdout) < patches / 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_runs_the_reference_body():
    time, weight, v_th = real_problem()
    on_gpu = first_crossing_conv2d(time.cuda(), weight.cuda(), v_th.cuda(), 1, 1, 2.0)
    here = first_crossing_conv2d(time, weight, v_th, 1, 1, 2.0)
    torch.testing.assert_close(on_gpu[0].cpu(), here[0])
