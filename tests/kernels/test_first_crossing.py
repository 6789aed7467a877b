"""The first-crossing op: both bodies against the oracle, odd shapes, bad input."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_temporal_plugins.kernels import first_crossing, first_crossing_backward
from snn_temporal_plugins.kernels.first_crossing import (
    _backward_reference,
    _forward_reference,
)
from tests.oracles import relpsp

OPS = torch.ops.snn_temporal_plugins
BODIES = {"numba": first_crossing, "reference": _forward_reference}
DTYPES = (torch.float32, torch.float64)


def problem(batch, inputs, outputs, *, seed=0, dtype=torch.float64, ties=True):
    """Times in [-1, 2) with silence and ties; weights of both signs."""
    g = torch.Generator().manual_seed(seed)
    time = torch.rand(batch, inputs, generator=g, dtype=dtype) * 3 - 1
    if ties:
        time = torch.where(
            torch.rand(batch, inputs, generator=g) < 0.5, (time * 4).round() / 4, time
        )
    time[torch.rand(batch, inputs, generator=g) < 0.2] = math.inf
    weight = torch.randn(outputs, inputs, generator=g, dtype=dtype) + 0.1
    v_th = torch.rand(outputs, generator=g, dtype=dtype) + 0.1
    return time, weight, v_th


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("t_max", [math.inf, 0.7])
@pytest.mark.parametrize("inputs", [1, 2, 3, 4, 5, 8, 37, 100])
def test_times_equal_the_oracle(body, inputs, t_max):
    time, weight, v_th = problem(9, inputs, 11, seed=inputs)
    post, slope, bound = body(time, weight, v_th, t_max)
    truth = relpsp.layer(time.numpy(), weight.numpy(), v_th.numpy(), t_max)
    fired = np.isfinite(truth)
    np.testing.assert_array_equal(post.isfinite().numpy(), fired)
    np.testing.assert_allclose(
        post.numpy()[fired], truth[fired], rtol=1e-10, atol=1e-12
    )
    assert (slope[torch.from_numpy(fired)] > 0).all()
    assert (slope[torch.from_numpy(~fired)] == 0).all()
    assert (bound[torch.from_numpy(~fired)] == -math.inf).all()
    causal = time[:, None, :] < bound[:, :, None]
    torch.testing.assert_close((causal * weight).sum(2), slope, rtol=1e-9, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(0, 4),
    inputs=st.integers(0, 20),
    outputs=st.integers(0, 20),
    levels=st.integers(1, 6),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from(DTYPES),
)
def test_bodies_agree_on_odd_shapes(batch, inputs, outputs, levels, seed, dtype):
    g = torch.Generator().manual_seed(seed)
    # small integers: every sum is exact, only the last division rounds
    time = torch.randint(-levels, levels + 1, (batch, inputs), generator=g).to(dtype)
    time[torch.rand(batch, inputs, generator=g) < 0.3] = math.inf
    weight = torch.randint(-4, 6, (outputs, inputs), generator=g).to(dtype)
    v_th = torch.randint(1, 9, (outputs,), generator=g).to(dtype)
    results = first_crossing(time, weight, v_th, float(levels))
    expected = _forward_reference(time, weight, v_th, float(levels))
    for ours, theirs in zip(results, expected, strict=True):
        assert ours.dtype == dtype and ours.shape == (batch, outputs)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    post, _, bound = results
    delta = torch.randint(-3, 4, (batch, outputs), generator=g).to(dtype)
    ours = first_crossing_backward(delta, time, weight, post, bound, True, True)
    theirs = _backward_reference(delta, time, weight, post, bound, True, True)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("outputs", [1, 255, 256, 257, 600])
@pytest.mark.parametrize("batch", [1, 12, 13, 30])
def test_strips_and_blocks_have_no_seams(batch, outputs):
    time, weight, v_th = problem(batch, 23, outputs, seed=batch)
    post, slope, bound = first_crossing(time, weight, v_th, math.inf)
    for ours, theirs in zip(
        (post, slope, bound),
        _forward_reference(time, weight, v_th, math.inf),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    delta = torch.randn_like(post)
    ours = first_crossing_backward(delta, time, weight, post, bound, True, True)
    theirs = _backward_reference(delta, time, weight, post, bound, True, True)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_float32_is_close_to_float64():
    time, weight, v_th = problem(32, 200, 50, ties=False)
    exact = first_crossing(time, weight, v_th, 2.0)[0]
    single = first_crossing(time.float(), weight.float(), v_th.float(), 2.0)[0]
    both = exact.isfinite() & single.isfinite()
    assert (exact.isfinite() == single.isfinite()).float().mean() > 0.999
    torch.testing.assert_close(single[both].double(), exact[both], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_single(dtype):
    time, weight, v_th = problem(4, 30, 5, dtype=torch.float32)
    time, weight, v_th = (x.to(dtype) for x in (time, weight, v_th))
    post = first_crossing(time, weight, v_th, math.inf)[0]
    exact = first_crossing(time.float(), weight.float(), v_th.float(), math.inf)[0]
    assert post.dtype == dtype
    torch.testing.assert_close(post, exact.to(dtype))


def test_uneven_times_sort_as_well_as_even_ones():
    time = torch.cat(
        [torch.logspace(-12, 0, 400, dtype=torch.float64), torch.tensor([1e9])]
    )
    time = time[torch.randperm(401, generator=torch.Generator().manual_seed(1))][None]
    weight = torch.full((3, 401), 0.01, dtype=torch.float64)
    v_th = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    ours = first_crossing(time, weight, v_th, math.inf)
    theirs = _forward_reference(time, weight, v_th, math.inf)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_extreme_spans_of_time():
    time = torch.tensor([[-3e38, 3e38, 0.0, 1e-38]])
    weight = torch.ones(1, 4)
    post = first_crossing(time, weight, torch.ones(1), math.inf)[0]
    assert post.item() == pytest.approx(-3e38)


def test_non_contiguous_inputs():
    time, weight, v_th = problem(6, 10, 7)
    strided = torch.stack([time, time], 2)[:, :, 0]
    post = first_crossing(time, weight, v_th, math.inf)[0]
    swapped = weight.t().contiguous().t()
    spread = torch.stack([v_th, v_th], 1)[:, 0]
    assert torch.equal(first_crossing(strided, swapped, spread, math.inf)[0], post)


def test_threads_change_nothing():
    time, weight, v_th = problem(64, 300, 200)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            post, _, bound = first_crossing(time, weight, v_th, 2.0)
            grads = first_crossing_backward(
                torch.ones_like(post), time, weight, post, bound, True, True
            )
            results.append((post, bound, *grads))
    finally:
        torch.set_num_threads(before)
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, math.nan, "spike_time holds NaN"),
        (0, -math.inf, "-inf"),
        (1, math.nan, "weight holds NaN"),
        (1, math.inf, "weight holds NaN or inf"),
        (2, 0.0, "v_th holds"),
        (2, -1.0, "v_th holds"),
        (2, math.nan, "v_th holds"),
        (2, math.inf, "v_th holds"),
    ],
)
def test_bad_values_name_themselves(body, place, value, message):
    arguments = list(problem(3, 4, 5))
    arguments[place] = arguments[place].clone()
    arguments[place].view(-1)[2] = value
    with pytest.raises(ValueError, match=message):
        body(*arguments, math.inf)


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(dtype):
    time, weight, v_th = problem(4, 6, 3, dtype=dtype)
    torch.library.opcheck(OPS.first_crossing.default, (time, weight, v_th, 2.0))
    post, slope, bound = first_crossing(time, weight, v_th, 2.0)
    for need in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(
            OPS.first_crossing_backward.default,
            (slope, time, weight, post, bound, *need),
        )


def test_opcheck_of_the_reference_body_on_strided_inputs():
    time, weight, v_th = (x.half() for x in problem(4, 6, 3))  # half: no Numba body
    time, weight = (x.t().contiguous().t() for x in (time, weight))
    torch.library.opcheck(OPS.first_crossing.default, (time, weight, v_th, 2.0))
    post, slope, bound = first_crossing(time, weight, v_th, 2.0)
    for need in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(
            OPS.first_crossing_backward.default,
            (slope, time, weight, post, bound, *need),
        )


@pytest.mark.slow
def test_second_process_does_not_compile():
    program = (
        "import torch\n"
        "from snn_temporal_plugins.kernels import first_crossing\n"
        "import snn_temporal_plugins.kernels.first_crossing\n"
        "import sys\n"
        "module = sys.modules['snn_temporal_plugins.kernels.first_crossing']\n"
        "first_crossing(torch.rand(2, 3), torch.rand(2, 3), torch.ones(2), 1.0)\n"
        "stats = module._sweep.stats\n"
        "print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))\n"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
    assert done.stdout.split() == ["1", "0"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_runs_the_reference_body():
    time, weight, v_th = problem(5, 20, 7)
    on_gpu = first_crossing(time.cuda(), weight.cuda(), v_th.cuda(), 2.0)
    for ours, theirs in zip(
        on_gpu, first_crossing(time, weight, v_th, 2.0), strict=True
    ):
        torch.testing.assert_close(ours.cpu(), theirs)
