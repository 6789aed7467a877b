"""The PSP filter against the authors' numbers, its oracle and its true gradient."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.functional.lif import psp_filter, require_spikes
from tests.golden import load, time_first
from tests.oracles import tssl_bp as oracle


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "case", load("tssl/losses.json")["psp"], ids=lambda c: c["name"]
)
def test_equals_the_authors_code(case, dtype):
    close = 1e-10 if dtype == torch.float64 else 1e-5
    psp = psp_filter(time_first(case["input"], dtype), case["tau_s"])
    expected = time_first(case["psp"], dtype)
    torch.testing.assert_close(psp, expected, rtol=close, atol=close)


@given(
    steps=st.integers(1, 12),
    shape=st.sampled_from([(0,), (1,), (3,), (2, 5), (2, 1, 3, 4)]),
    tau_syn=st.one_of(st.just(1.0), st.floats(1, 40)),
    started=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_equals_the_oracle_and_goes_on_from_a_state(
    steps, shape, tau_syn, started, seed
):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(steps, *shape, generator=g, dtype=torch.float64)
    start = torch.rand(shape, generator=g, dtype=torch.float64) if started else None
    psp = psp_filter(x, tau_syn, start)
    expected = oracle.psp_filter(x.numpy(), tau_syn, start.numpy() if started else 0.0)
    np.testing.assert_allclose(psp.numpy(), expected, rtol=1e-12, atol=1e-12)
    first, rest = x.split([steps // 2, steps - steps // 2])
    if len(first):
        first = psp_filter(first, tau_syn, start)
        rest = psp_filter(rest, tau_syn, first[-1])
        assert torch.equal(torch.cat([first, rest]), psp)


def test_gradcheck():
    x = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: psp_filter(a[0], 2.5, a[1]), (x, start))
    assert torch.autograd.gradcheck(lambda a: psp_filter(a, 1.0), (x,))


def test_any_layout():
    x = torch.randn(5, 3, 4, 2, dtype=torch.float64)
    strided = x.movedim(0, -1).contiguous().movedim(-1, 0)
    assert torch.equal(psp_filter(strided, 3.0), psp_filter(x, 3.0))


@pytest.mark.slow
# Dynamo itself creates an instance of the Function that it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiles_in_one_graph():
    x = torch.randn(5, 3, 4, requires_grad=True)
    compiled = torch.compile(psp_filter, fullgraph=True)
    results = []
    for run in (psp_filter, compiled):
        psp = run(x, 3.0)
        results.append((psp, *torch.autograd.grad(psp.square().sum(), x)))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(3, 2).long(), 3.0), TypeError, "x is torch.int64"),
        (([[1.0]], 3.0), TypeError, "x is list"),
        ((torch.ones(3), 3.0), ValueError, r"\(3,\); it must be \(time, batch"),
        ((torch.ones(0, 2), 3.0), ValueError, "at least one step"),
        ((torch.ones(3, 2), 0.5), ValueError, "tau_syn is 0.5.*at least 1"),
        ((torch.ones(3, 2), math.nan), ValueError, "tau_syn is nan"),
        ((torch.ones(3, 2), math.inf), ValueError, "tau_syn is inf"),
        ((torch.ones(3, 2), 3.0, torch.ones(3)), ValueError, r"psp has shape \(3,\)"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        psp_filter(*arguments)


@pytest.mark.parametrize("bad", [0.5, -1.0, 2.0, math.nan, math.inf])
def test_spikes_are_0_or_1(bad):
    spikes = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    require_spikes(spikes)
    require_spikes(spikes[:0])
    require_spikes(spikes.long())
    spikes[1, 0] = bad
    with pytest.raises(ValueError, match=f"events holds {bad}.*0 and 1 only"):
        require_spikes(spikes, "events")
