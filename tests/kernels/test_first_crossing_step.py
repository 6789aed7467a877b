"""The step response of the first-crossing op; the ramp's tests stay as they are."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.kernels import first_crossing, first_crossing_backward
from snn_temporal_plugins.kernels.first_crossing import _forward_reference
from tests.oracles import sstdp as oracle

BODIES = {"numba": first_crossing, "reference": _forward_reference}
DTYPES = (torch.float32, torch.float64)
bodies = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


def problem(batch, inputs, outputs, *, seed=0, ticks=12, dtype=torch.float64):
    """Ticks with silence and ties; dyadic weights, so that every sum is exact."""
    g = torch.Generator().manual_seed(seed)
    time = torch.randint(ticks, (batch, inputs), generator=g).to(dtype)
    time[torch.rand(batch, inputs, generator=g) < 0.2] = math.inf
    weight = torch.randint(-24, 41, (outputs, inputs), generator=g).to(dtype) / 64
    v_th = torch.randint(1, 65, (outputs,), generator=g).to(dtype) / 64
    return time, weight, v_th


@bodies
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(
    sizes=st.tuples(st.integers(0, 4), st.integers(0, 12), st.integers(0, 9)),
    ticks=st.integers(1, 12),
    t_max=st.sampled_from([math.inf, 0.0, 5.0]),
    leak=st.sampled_from([1.0, 0.5, 0.0]),
    seed=st.integers(0, 2**16),
)
def test_equals_the_oracle(body, dtype, sizes, ticks, t_max, leak, seed):
    time, weight, v_th = problem(*sizes, ticks=ticks, seed=seed, dtype=dtype)
    post, level, bound = body(time, weight, v_th, t_max, "step", leak)
    assert post.dtype == level.dtype == bound.dtype == dtype
    tau = None if leak == 1 else 1 / (1 - leak)
    scale = tau or 1.0  # the oracle divides the input by tau
    arrays = time.double().numpy(), weight.double().numpy()
    for j, threshold in enumerate(v_th.double().tolist()):
        truth, v = oracle.forward(
            *(arrays[0], arrays[1][j : j + 1], threshold / scale),
            ticks=int(min(t_max + 1, ticks)),
            tau_mem=tau,
        )
        np.testing.assert_array_equal(post[:, j].double(), truth[:, 0])
        np.testing.assert_allclose(level[:, j].double(), v[:, 0] * scale, rtol=1e-12)
    later = torch.where(time[:, None] > post[:, :, None], time[:, None], math.inf)
    first = later.amin(2) if time.shape[1] else torch.full_like(post, math.inf)
    expected = torch.where(post < math.inf, first, -math.inf)
    assert torch.equal(bound, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("outputs", [1, 447, 448, 449, 900])
@pytest.mark.parametrize("leak", [1.0, 0.8])
def test_strips_have_no_seams(outputs, leak, dtype):
    arguments = problem(5, 23, outputs, seed=outputs, dtype=dtype)
    ours = first_crossing(*arguments, math.inf, "step", leak)
    theirs = _forward_reference(*arguments, math.inf, "step", leak)
    if leak == 1:
        assert all(map(torch.equal, ours, theirs))
    else:
        assert (ours[0] == theirs[0]).double().mean() > 0.999


@bodies
def test_an_input_of_the_tick_itself_is_causal(body):
    time = torch.tensor([[1.0, 1.0, 2.0, math.inf]])
    weight = torch.tensor([[0.5, 1.0, 9.0, 9.0], [0.5, 0.25, 0.0, 9.0]])
    post, level, bound = body(time, weight, torch.ones(2), math.inf, "step", 1.0)
    assert post.tolist() == [[1.0, math.inf]] and level.tolist() == [[1.5, 0.0]]
    assert bound.tolist() == [[2.0, -math.inf]]
    grads = first_crossing_backward(
        torch.ones(1, 2), time, weight, post, bound, True, True
    )
    assert grads[0].tolist() == [[0.5, 1.0, 0.0, 0.0]]


@bodies
def test_neither_order_nor_real_times_matter(body):
    time, weight, v_th = problem(6, 20, 9)
    results = body(time, weight, v_th, math.inf, "step", 1.0)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    mixed = body(time[:, order], weight[:, order], v_th, math.inf, "step", 1.0)
    assert all(map(torch.equal, results, mixed))
    scaled = body(time / 8 - 1, weight, v_th, math.inf, "step", 1.0)
    assert torch.equal(scaled[0], results[0] / 8 - 1)
    assert torch.equal(scaled[1], results[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_single(dtype):
    time, weight, v_th = (x.to(dtype) for x in problem(4, 30, 5))
    ours = first_crossing(time, weight, v_th, math.inf, "step", 0.5)
    single = (x.float() for x in (time, weight, v_th))
    exact = first_crossing(*single, math.inf, "step", 0.5)
    for x, y in zip(ours, exact, strict=True):
        assert x.dtype == dtype and torch.equal(x, y.to(dtype))


def test_layout_and_threads_change_nothing():
    time, weight, v_th = problem(64, 300, 200)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(first_crossing(time, weight, v_th, math.inf, "step", 0.9))
    finally:
        torch.set_num_threads(before)
    strided = torch.stack([time, time], 2)[..., 0]
    swapped = weight.t().contiguous().t()
    results.append(first_crossing(strided, swapped, v_th, math.inf, "step", 0.9))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_the_ramp_is_the_default():
    time, weight, v_th = problem(6, 20, 9)
    named = first_crossing(time, weight, v_th, 2.0, "ramp", 1.0)
    assert all(map(torch.equal, named, first_crossing(time, weight, v_th, 2.0)))


@bodies
@pytest.mark.parametrize(
    ("response", "leak", "message"),
    [
        ("jump", 1.0, "response is 'jump'; allowed are 'ramp' and 'step'"),
        ("step", 1.5, "leak is 1.5.*from 0 to 1"),
        ("step", -0.1, "leak is -0.1"),
        ("step", math.nan, "leak is nan"),
        ("ramp", 0.5, "leak is 0.5 with response 'ramp'; it must be 1"),
    ],
)
def test_bad_settings(body, response, leak, message):
    with pytest.raises(ValueError, match=message):
        body(*problem(2, 3, 4), math.inf, response, leak)


@bodies
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, math.nan, "spike_time holds NaN"),
        (0, -math.inf, "-inf"),
        (1, math.nan, "weight holds NaN"),
        (2, 0.0, "v_th holds"),
        (2, math.nan, "v_th holds"),
    ],
)
def test_bad_values(body, place, value, message):
    arguments = problem(3, 4, 5)
    arguments[place].view(-1)[2] = value
    with pytest.raises(ValueError, match=message):
        body(*arguments, math.inf, "step", 1.0)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
def test_opcheck(dtype):
    time, weight, v_th = problem(4, 6, 3, dtype=dtype)
    op = torch.ops.snn_temporal_plugins.first_crossing.default
    torch.library.opcheck(op, (time, weight, v_th, 5.0, "step", 0.5))
    swapped = time.t().contiguous().t()
    torch.library.opcheck(op, (swapped, weight, v_th, 5.0, "step", 1.0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_runs_the_reference_body():
    arguments = problem(5, 20, 7)
    on_gpu = first_crossing(*(x.cuda() for x in arguments), math.inf, "step", 0.5)
    ours = first_crossing(*arguments, math.inf, "step", 0.5)
    for x, y in zip(on_gpu, ours, strict=True):
        torch.testing.assert_close(x.cpu(), y)
