"""The ops of a LIF window: both bodies alike, threads, layouts, bad input."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.kernels import lif_window, tssl_bp_backward
from snn_temporal_plugins.kernels.tssl_bp import (
    _backward_reference,
    _forward_reference,
)

DTYPES = (torch.float32, torch.float64)
DYNAMICS = (5.0, 3.0, 1.0, False)  # tau_mem, tau_syn, v_th, soft
LAW = (1 / 12, 8.0, 0.2)  # limit, clip, alpha


def problem(steps, neurons, *, seed=0, dtype=torch.float64):
    """Currents that make about a third of the steps fire, and a start not at rest."""
    g = torch.Generator().manual_seed(seed)
    current = torch.randn(steps, neurons, generator=g, dtype=torch.float64) * 0.6 + 0.35
    v = torch.rand(neurons, generator=g, dtype=torch.float64) * 0.9
    psp = torch.rand(neurons, generator=g, dtype=torch.float64)
    return current.to(dtype), v.to(dtype), psp.to(dtype)


def errors(steps, neurons, *, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed + 1)
    return torch.randn(2, steps, neurons, generator=g, dtype=torch.float64).to(dtype)


@given(
    steps=st.integers(1, 12),
    neurons=st.sampled_from([0, 1, 2, 7, 511, 512, 513, 1030]),
    tau_mem=st.floats(1, 40),
    tau_syn=st.floats(1, 40),
    v_th=st.floats(-0.5, 2.0),
    soft=st.booleans(),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from(DTYPES),
)
def test_both_bodies_give_the_very_same_spikes_and_psps(
    steps, neurons, tau_mem, tau_syn, v_th, soft, seed, dtype
):
    arguments = (
        *problem(steps, neurons, seed=seed, dtype=dtype),
        *(tau_mem, tau_syn, v_th, soft),
    )
    ours = lif_window(*arguments)
    theirs = _forward_reference(*arguments)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == dtype and a.shape == (steps, neurons)
        assert torch.equal(a, b)


@given(
    steps=st.integers(1, 12),
    neurons=st.sampled_from([0, 1, 2, 7, 511, 512, 513, 1030]),
    tau_mem=st.floats(1, 40),
    tau_syn=st.floats(1, 40),
    v_th=st.floats(0.05, 2.0),
    soft=st.booleans(),
    limit=st.sampled_from([-math.inf, 0.0, 1 / 12, math.inf]),
    clip=st.floats(0.1, 20.0),
    alpha=st.floats(0.05, 2.0),
    given_errors=st.sampled_from(["psp", "spikes", "both", "neither"]),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from(DTYPES),
)
def test_both_bodies_give_the_same_gradient(
    steps,
    neurons,
    tau_mem,
    tau_syn,
    v_th,
    soft,
    limit,
    clip,
    alpha,
    given_errors,
    seed,
    dtype,
):
    current, v, psp = problem(steps, neurons, seed=seed, dtype=dtype)
    dynamics = (tau_mem, tau_syn, v_th, soft)
    psps, u = lif_window(current, v, psp, *dynamics)
    of_psp, of_spikes = errors(steps, neurons, seed=seed, dtype=dtype)
    none = u.new_empty(0, 0)
    arguments = (
        of_psp if given_errors in ("psp", "both") else none,
        of_spikes if given_errors in ("spikes", "both") else none,
        *(psps, u, v, *dynamics, limit, clip, alpha),
    )
    ours = tssl_bp_backward(*arguments)
    theirs = _backward_reference(*arguments)
    assert ours.dtype == dtype and ours.shape == (steps, neurons)
    scale = max(1.0, float(theirs.abs().max())) if theirs.numel() else 1.0
    close = 1e-12 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(ours, theirs, rtol=close, atol=close * scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_nothing(dtype):
    current, v, psp = problem(10, 30_000, dtype=dtype)  # work for four threads
    of_psp, of_spikes = errors(10, 30_000, dtype=dtype)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            psps, u = lif_window(current, v, psp, *DYNAMICS)
            grad = tssl_bp_backward(of_psp, of_spikes, psps, u, v, *DYNAMICS, *LAW)
            results.append((psps, u, grad))
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        for a, b in zip(results[0], others, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_inputs(dtype):
    tensors = problem(9, 20, dtype=dtype)
    psps, u = lif_window(*tensors, *DYNAMICS)
    strided = [torch.stack([x, x], -1)[..., 0] for x in tensors]
    strided[0] = tensors[0].t().contiguous().t()
    ours = lif_window(*strided, *DYNAMICS)
    assert torch.equal(ours[0], psps) and torch.equal(ours[1], u)
    expanded = torch.ones(1, 1, dtype=dtype).expand(9, 20)  # the gradient of a sum
    grad = tssl_bp_backward(expanded, expanded, psps, u, tensors[1], *DYNAMICS, *LAW)
    ours = tssl_bp_backward(
        *(expanded.contiguous(),) * 2,
        *(x.t().contiguous().t() for x in (psps, u)),
        *(strided[1], *DYNAMICS, *LAW),
    )
    assert torch.equal(ours, grad)


@pytest.mark.parametrize("body", [lif_window, _forward_reference])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_value_that_is_not_finite(body, value, dtype):
    current, v, psp = problem(4, 700, dtype=dtype)
    current[2, 600] = value
    with pytest.raises(ValueError, match="current or state holds NaN or inf"):
        body(current, v, psp, *DYNAMICS)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])  # half: no Numba body
@pytest.mark.parametrize("soft", [False, True])
def test_opcheck(dtype, soft):
    current, v, psp = problem(4, 6, dtype=dtype)
    current = current.t().contiguous().t()
    dynamics = (5.0, 3.0, 1.0, soft)
    torch.library.opcheck(lif_window, (current, v, psp, *dynamics))
    psps, u = lif_window(current, v, psp, *dynamics)
    of_psp, of_spikes = errors(4, 6, dtype=dtype)
    none = u.new_empty(0, 0)
    for pair in ((of_psp, none), (none, of_spikes), (of_psp, of_spikes)):
        torch.library.opcheck(tssl_bp_backward, (*pair, psps, u, v, *dynamics, *LAW))


def test_the_inputs_are_left_alone():
    tensors = problem(5, 8)
    kept = [x.clone() for x in tensors]
    psps, u = lif_window(*tensors, *DYNAMICS)
    grad = errors(5, 8)
    tssl_bp_backward(*grad, psps, u, tensors[1], *DYNAMICS, *LAW)
    for a, b in zip((*tensors, grad), (*kept, errors(5, 8)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_second_process_does_not_compile():
    program = (
        "import sys\n"
        "import torch\n"
        "from snn_temporal_plugins.kernels import lif_window, tssl_bp_backward\n"
        "module = sys.modules['snn_temporal_plugins.kernels.tssl_bp']\n"
        "x, v = torch.rand(3, 2), torch.rand(2)\n"
        "a, u = lif_window(x, v, v, 5.0, 3.0, 1.0, False)\n"
        "tssl_bp_backward(x, x, a, u, v, 5.0, 3.0, 1.0, False, 0.1, 8.0, 0.2)\n"
        "for body in (module._forward, module._backward):\n"
        "    stats = body.stats\n"
        "    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))\n"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
    assert done.stdout.split() == ["1", "0"] * 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_runs_the_reference_body():
    tensors = problem(6, 30)
    psps, u = lif_window(*tensors, *DYNAMICS)
    of_psp, of_spikes = errors(6, 30)
    grad = tssl_bp_backward(of_psp, of_spikes, psps, u, tensors[1], *DYNAMICS, *LAW)
    there = [x.cuda() for x in tensors]
    ours = lif_window(*there, *DYNAMICS)
    torch.testing.assert_close(ours[0].cpu(), psps)
    torch.testing.assert_close(ours[1].cpu(), u)
    ours = tssl_bp_backward(
        of_psp.cuda(), of_spikes.cuda(), *ours, there[1], *DYNAMICS, *LAW
    )
    torch.testing.assert_close(ours.cpu(), grad)
