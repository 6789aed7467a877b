"""`weighted_ratio` of ST-RSBP: both bodies alike and equal to the oracle, layouts."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.kernels import effect_gradient, weighted_ratio
from tests.oracles import st_rsbp as oracle

BODIES = sys.modules["snn_temporal_plugins.kernels.st_rsbp"]
DTYPES = (torch.float32, torch.float64)
CONSTANTS = (10.0, 3.0, 2)  # tau_mem, tau_syn, refractory


def tensors(steps=12, batch=4, inputs=6, neurons=5, seed=0, dtype=torch.float64):
    """x, spikes, weight, error; the second of all neurons is silent."""
    g = torch.Generator().manual_seed(seed)
    x, spikes = (
        torch.rand(steps, batch, size, generator=g) < 0.3 for size in (inputs, neurons)
    )
    x[..., 1:2], spikes[..., 1:2] = False, False
    weight = torch.randn(neurons, inputs, generator=g, dtype=torch.float64)
    error = torch.randn(batch, neurons, generator=g, dtype=torch.float64)
    return tuple(tensor.to(dtype) for tensor in (x, spikes, weight, error))


@given(
    steps=st.integers(1, 12),
    inputs=st.integers(1, 6),
    neurons=st.sampled_from([1, 2, 7, 33]),
    tau_mem=st.floats(1, 40),
    tau_syn=st.floats(1, 40),
    refractory=st.integers(0, 4),
    sample=st.lists(st.integers(0, 3), max_size=4, unique=True),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from(DTYPES),
)
def test_both_bodies_equal_the_oracle(
    steps, inputs, neurons, sample, seed, dtype, **times
):
    given = tensors(steps, 4, inputs, neurons, seed, dtype)
    x, spikes, weight, error = (tensor.double().numpy() for tensor in given)
    weighted = np.zeros((len(sample), neurons, inputs))
    grad = np.zeros((neurons, inputs))
    for k, b in enumerate(sample):
        e = oracle.effects(x[:, b], spikes[:, b], **times)
        weighted[k] = weight * oracle.ratio(e, x[:, b].sum(0), spikes[:, b].sum(0))
        grad += error[b][:, None] * e
    close = 1e-11 if dtype == torch.float64 else 2e-5
    arguments = (*given, torch.tensor(sample, dtype=torch.int64), *times.values())
    for body in (weighted_ratio, BODIES._weighted_reference):
        for ours, truth in zip(body(*arguments), (weighted, grad), strict=True):
            assert ours.dtype == dtype
            np.testing.assert_allclose(ours, truth, rtol=close, atol=10 * close)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_is_that_of_the_other_op(dtype):
    x, spikes, weight, error = tensors(dtype=dtype)
    grad = weighted_ratio(x, spikes, weight, error, torch.arange(4), *CONSTANTS)[1]
    other = effect_gradient(
        x, spikes, weight, error, torch.zeros_like(error), *CONSTANTS, False
    )[1]
    torch.testing.assert_close(grad, other)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_and_strides_change_nothing(dtype):
    x, spikes, weight, error = tensors(64, 16, 64, 64, dtype=dtype)
    sample = torch.arange(16)
    turned = x.transpose(0, 2).contiguous().transpose(0, 2)
    column = weight.t().contiguous().t()
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            rest = error, sample, *CONSTANTS
            results.append(weighted_ratio(x, spikes, weight, *rest))
            results.append(weighted_ratio(turned, spikes, column, *rest))
    finally:
        torch.set_num_threads(before)
    close = 1e-12 if dtype == torch.float64 else 1e-4  # sums in another order
    for weighted, grad in results[1:]:
        assert torch.equal(results[0][0], weighted)
        torch.testing.assert_close(results[0][1], grad, rtol=close, atol=close)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])  # half: no Numba body
def test_opcheck(dtype):
    sample = torch.tensor([2, 0])
    torch.library.opcheck(
        weighted_ratio, (*tensors(5, 3, 4, 3, dtype=dtype), sample, *CONSTANTS)
    )


def test_the_inputs_are_left_alone():
    given, sample = tensors(), torch.tensor([3, 1])
    kept = [tensor.clone() for tensor in given]
    weighted_ratio(*given, sample, *CONSTANTS)
    assert all(map(torch.equal, given, kept))
