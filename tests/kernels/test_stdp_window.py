"""The window op: the authors' numbers, both bodies against the oracle, odd shapes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.kernels import stdp_weight_gradient
from snn_temporal_plugins.kernels.stdp_window import _reference
from tests.golden import load, silence
from tests.oracles import sstdp as oracle

BODIES = {"numba": stdp_weight_gradient, "reference": _reference}
DTYPES = (torch.float32, torch.float64)
AUTHORS = {case["name"]: case for case in load("sstdp/stdp_window.json")["cases"]}
PAPER = {
    case["name"]: case for case in load("sstdp/paper_form_reference.json")["windows"]
}
CLOSE = {"rtol": 2e-5, "atol": 2e-6}

bodies = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


def problem(batch, inputs, outputs, *, seed=0, dtype=torch.float64, levels=6):
    """Errors, and ticks with silence and many ties."""
    g = torch.Generator().manual_seed(seed)
    error = torch.randn(batch, outputs, generator=g, dtype=torch.float64)
    time, post = (
        torch.randint(levels, (batch, n), generator=g).to(dtype)
        for n in (inputs, outputs)
    )
    time[torch.rand(batch, inputs, generator=g) < 0.25] = math.inf
    post[torch.rand(batch, outputs, generator=g) < 0.25] = math.inf
    error[torch.rand(batch, outputs, generator=g) < 0.2] = 0
    return error.to(dtype), time, post


def expected(error, time, post, window):
    """The sum over the batch, one pair of spikes at a time."""
    grad = np.zeros((post.shape[1], time.shape[1]))
    for b, j, i in np.ndindex(len(time), *grad.shape):
        s, _ = oracle.window(time[b, i].item(), post[b, j].item(), **window)
        grad[j, i] -= error[b, j].item() * s
    return grad


def s_table(body, time, post, *window):
    """s of every pair: the gradient of each output for an error of -1."""
    return body(-torch.ones_like(post), time, post, *window)


@bodies
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [x for x in AUTHORS if x != "step_default_tmax256"])
def test_equals_the_authors_window(name, dtype, body):
    case = AUTHORS[name]
    # the exponential window of the authors knows silence as the number T only
    t_max = case["t_max"] if case["tau"] is None else math.inf
    time, post = (silence(case[key], t_max, dtype) for key in ("t_i", "t_j"))
    window = (case["a"], case["b"], case["tau"] or 0.0, 0.0, 0.0)
    update = torch.tensor(case["update"][0], dtype=dtype)
    torch.testing.assert_close(s_table(body, time, post, *window), update, **CLOSE)


@bodies
@pytest.mark.parametrize("name", PAPER)
def test_equals_the_reference_of_the_paper_form(name, body):
    case = PAPER[name]
    time, post, weight, s = (
        torch.tensor(case[key], dtype=torch.float64)
        for key in ("t_i", "t_j", "weight", "s")
    )
    off = case["offset"]
    window = (case["eps1"], case["eps2"], case["tau"], case["eps1"] * (1 - off), off)
    bound = (case["w_max"] - weight) ** case["mu"]
    for b in range(len(time)):
        row = slice(b, b + 1)
        ours = s_table(body, time[row], post[row], *window) * bound
        torch.testing.assert_close(ours, s[b], rtol=1e-12, atol=1e-12)
    error = torch.tensor(case["grad_output"], dtype=torch.float64)
    ours = body(error, time, post, *window) * bound / len(time)
    raw = torch.tensor(case["weight_grad_raw_mean"], dtype=torch.float64)
    torch.testing.assert_close(ours, raw, rtol=1e-12, atol=1e-12)


@bodies
@given(
    batch=st.integers(0, 5),
    inputs=st.integers(0, 9),
    outputs=st.integers(0, 9),
    levels=st.integers(1, 12),
    a=st.floats(0, 2),
    b=st.floats(0, 2),
    tau=st.none() | st.floats(0.5, 20),
    offset=st.floats(0, 1),
    seed=st.integers(0, 2**16),
)
def test_equals_the_oracle(body, batch, inputs, outputs, levels, seed, **window):
    error, time, post = problem(batch, inputs, outputs, seed=seed, levels=levels)
    a, tau, offset = window["a"], window["tau"], window["offset"]
    # both at once is causal; both silent is not, and no pair at all
    post = post.masked_fill(post == math.inf, levels) if tau else post
    numbers = (a, window["b"], tau or 0.0, a * (1 - offset), offset)
    ours = body(error, time, post, *numbers)
    truth = expected(error, time, post, window)
    np.testing.assert_allclose(ours.numpy(), truth, rtol=1e-10, atol=1e-10)


@bodies
def test_silence_in_the_exponential_window(body):
    inf = math.inf
    time, post = torch.tensor([[0.0, inf]]), torch.tensor([[0.0, inf, 3.0]])
    s = s_table(body, time, post, 0.5, 0.25, 3.0, 0.125, 0.0)
    by_hand = [[0.125, 0.0], [0.0, 0.125], [0.5 / math.e, 0.0]]
    torch.testing.assert_close(s, torch.tensor(by_hand))
    s = s_table(body, time, post, 0.5, 0.25, 3.0, 0.0, 0.5)  # exp(-inf) - offset
    by_hand = [[0, 0.125], [-0.25, 0], [0.5 / math.e - 0.25, 0.125]]
    torch.testing.assert_close(s, torch.tensor(by_hand))


@bodies
def test_a_silent_output_strengthens_every_input_that_came(body):
    time = torch.tensor([[0.0, 3e38, math.inf]])
    post = torch.full((1, 1), math.inf)
    assert s_table(body, time, post, 1.0, 0.5, 0.0, 0.0, 0.0).tolist() == [[1, 1, -0.5]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tau", [0.0, 2.5])
@pytest.mark.parametrize("outputs", [1, 63, 64, 65, 130])
def test_bodies_agree(outputs, tau, dtype):
    problem_ = problem(7, 33, outputs, seed=outputs, dtype=dtype)
    window = (0.8, 0.2, tau, 0.3, 0.1)
    close = {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    ours, theirs = (body(*problem_, *window) for body in BODIES.values())
    assert ours.dtype == theirs.dtype == dtype and ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=close, atol=close)


@pytest.mark.parametrize("tau", [0.0, 2.5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_close_to_single(dtype, tau):
    error, time, post = problem(6, 20, 5, dtype=torch.float32)
    window = (0.5, 0.25, tau, 0.5, 0.0)
    exact = stdp_weight_gradient(error, time, post, *window)
    ours = stdp_weight_gradient(*(x.to(dtype) for x in (error, time, post)), *window)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.float(), exact, rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize("tau", [0.0, 2.5])
def test_layout_changes_nothing(tau):
    arguments = problem(6, 10, 7)
    window = (0.8, 0.2, tau, 0.8, 0.0)
    grad = stdp_weight_gradient(*arguments, *window)
    strided = [torch.stack([x, x], 2)[..., 0] for x in arguments]
    assert torch.equal(stdp_weight_gradient(*strided, *window), grad)
    swapped = [x.t().contiguous().t() for x in arguments]
    assert torch.equal(stdp_weight_gradient(*swapped, *window), grad)


@pytest.mark.parametrize("tau", [0.0, 2.5])
def test_threads_change_nothing(tau):
    arguments = problem(64, 300, 200)  # enough work for three
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(stdp_weight_gradient(*arguments, 0.8, 0.2, tau, 0.8, 0.0))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


@pytest.mark.parametrize("tau", [0.0, 2.5])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
def test_opcheck(dtype, tau):
    arguments = problem(4, 6, 3, dtype=dtype)
    torch.library.opcheck(stdp_weight_gradient, (*arguments, 0.8, 0.2, tau, 0.8, 0.1))
    strided = [x.t().contiguous().t() for x in arguments]
    torch.library.opcheck(stdp_weight_gradient, (*strided, 0.8, 0.2, tau, 0.8, 0.1))
