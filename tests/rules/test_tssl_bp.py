"""TSSL-BP: the authors' numbers, the written-out oracle, windows, layouts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins import RULES
from snn_temporal_plugins.functional.lif import LIFState, psp_filter
from snn_temporal_plugins.rules import tssl_bp, tssl_bp_window
from snn_temporal_plugins.testing import check_rule
from tests.golden import load, time_first
from tests.oracles import tssl_bp as oracle

CASES = {case["name"]: case for case in load("tssl/neuron.json")["cases"]}
CLOSE = {torch.float64: 1e-10, torch.float32: 1e-5}
DECISIONS = ("element", "layer_rate", "always_timing", "always_surrogate")


def problem(shape=(8, 3, 5), seed=0, dtype=torch.float64):
    """Currents that fire often, and errors; both from the same seed in any dtype."""
    g = torch.Generator().manual_seed(seed)
    current = torch.randn(shape, generator=g, dtype=torch.float64) * 0.6 + 0.35
    error = torch.randn(shape, generator=g, dtype=torch.float64)
    return current.to(dtype).requires_grad_(), error.to(dtype)


def gradient(output, current, error):
    return torch.autograd.grad(output, current, error, retain_graph=True)[0]


def test_keeps_the_contract():
    check_rule(RULES["tssl_bp"])


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_equals_the_authors_code(name, dtype):
    case = CASES[name]
    current, error, psp, spikes, grad = (
        time_first(case[key], dtype)
        for key in ("input_current", "grad_output", "psp", "spikes", "grad_input")
    )
    current.requires_grad_()
    settings = {
        "tau_mem": case["tau_m"],
        "tau_syn": case["tau_s"],
        "v_th": case["threshold"],
    }
    out = tssl_bp(current, **settings)
    assert torch.equal(tssl_bp_window(current, **settings).spikes, spikes)
    close = {"rtol": CLOSE[dtype], "atol": CLOSE[dtype]}
    torch.testing.assert_close(out, psp, **close)
    torch.testing.assert_close(gradient(out, current, error), grad, **close)


@pytest.mark.parametrize(
    ("current", "error", "tau_syn", "psp", "grad"),
    [
        (
            *([0.5, 0.8, 0.1], [1.0, 2.0, -1.0], 3.0),
            *([0, 1 / 3, 2 / 9], [0.220697, 4 / 9 / 0.7, 0]),
        ),
        (
            *([1.5, 0.3, 0.9, 0.0], [0.1, 0.2, 0.3, 0.4], 3.0),
            *([1 / 3, 2 / 9, 13 / 27, 26 / 81], [0.143798, 0.179894, 0.224868, 0]),
        ),
        (
            *([0.99, 0.25, 0.0, 0.99, 0.30], [1.0] * 5, 3.0),
            *([0, 1 / 3, 2 / 9, 4 / 27, 35 / 81],),
            [1.084713, 9.265108, 1.706667, 2.133333, 2.666667],
        ),
        (
            *([1.5, 0.0, 0.0, 0.0, 0.0], [1.0] * 5, 2.0),
            *([1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32], [0.645833, 0, 0, 0.02493]),
        ),
    ],
)
def test_by_hand(current, error, tau_syn, psp, grad):
    current, error = (torch.tensor(x).double()[:, None] for x in (current, error))
    out = tssl_bp(current.requires_grad_(), tau_syn=tau_syn)
    assert out[:, 0].tolist() == pytest.approx(psp)
    ours = gradient(out, current, error)[:, 0].tolist()
    assert ours[: len(grad)] == pytest.approx(grad, abs=1e-5)


@given(
    steps=st.integers(1, 12),
    shape=st.sampled_from([(0,), (1,), (3,), (2, 0), (1, 1), (2, 5), (2, 2, 3)]),
    tau_mem=st.one_of(st.just(1.0), st.floats(1, 20)),
    tau_syn=st.one_of(st.just(1.0), st.floats(1, 20)),
    v_th=st.one_of(st.sampled_from([0.0, 1e-9, -0.3]), st.floats(0.05, 2)),
    reset=st.sampled_from(["hard", "soft"]),
    decision=st.sampled_from(DECISIONS),
    rate_threshold=st.floats(0, 1),
    clip=st.floats(0.1, 20),
    alpha=st.floats(0.05, 2),
    started=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_equals_the_oracle(
    steps, shape, started, seed, tau_mem, tau_syn, v_th, reset, **law
):
    current, error = problem((steps, *shape), seed)
    _, of_spikes = problem((steps, *shape), seed + 1)
    dynamics = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_th": v_th, "reset": reset}
    start = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed))
    state = LIFState(*start.double()) if started else None
    v, psp = (start.double() if started else torch.zeros(2, *shape)).numpy()
    expected = oracle.forward(current.detach().numpy(), **dynamics, v=v, psp=psp)
    ours = tssl_bp_window(current, state, **dynamics, **law)
    np.testing.assert_array_equal(ours.spikes.detach().numpy(), expected.s)
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(ours.psp.detach().numpy(), expected.a, **close)
    np.testing.assert_allclose(ours.state.v.numpy(), expected.v, **close)
    if v_th >= 0 and reset == "hard" and not started:
        assert (expected.d[expected.s == 1] > 0).all()  # what (5) relies on
    for errors in ((error,), (error, of_spikes)):
        outputs = (ours.psp, ours.spikes)[: len(errors)]
        (grad,) = torch.autograd.grad(outputs, current, errors, retain_graph=True)
        truth = oracle.backward(
            expected, *(x.numpy() for x in errors), **dynamics, **law
        )
        scale = max(1.0, np.abs(truth).max(initial=0))
        np.testing.assert_allclose(grad.numpy(), truth, rtol=1e-10, atol=1e-10 * scale)


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
def test_equality_with_the_threshold_does_not_fire(dtype):
    current = torch.tensor([[1.0], [0.5], [0.5], [0.25]], dtype=dtype)
    window = tssl_bp_window(current, tau_mem=2.0)  # u = 1, 1, 1, 0.75: all exact
    assert not window.spikes.any() and window.state.v.item() == 0.75
    above = torch.nextafter(current, torch.tensor(9.0, dtype=dtype))
    assert tssl_bp_window(above, tau_mem=2.0).spikes[0].item() == 1


@given(
    half=st.integers(1, 6),
    tau_mem=st.floats(1, 20),
    tau_syn=st.floats(1, 20),
    v_th=st.floats(0, 2),
    reset=st.sampled_from(["hard", "soft"]),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from([*CLOSE]),
)
def test_two_windows_give_the_very_spikes_of_one(half, seed, dtype, **dynamics):
    current, _ = problem((2 * half, 2, 7), seed, dtype)
    whole = tssl_bp_window(current, **dynamics)
    first = tssl_bp_window(current[:half], **dynamics)
    second = tssl_bp_window(current[half:], first.state, **dynamics)
    assert torch.equal(torch.cat([first.spikes, second.spikes]), whole.spikes)
    assert torch.equal(torch.cat([first.psp, second.psp]), whole.psp)
    assert all(map(torch.equal, second.state, whole.state))
    assert not any(x.requires_grad for x in whole.state)


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("decision", DECISIONS)
def test_spikes_that_are_filtered_learn_as_psps_do(decision, reset, dtype):
    current, error = problem((9, 4, 6), dtype=dtype)
    window = tssl_bp_window(current, tau_syn=2.6, reset=reset, decision=decision)
    filtered = psp_filter(window.spikes, 2.6)
    assert torch.equal(filtered, window.psp)
    by_spikes = gradient(filtered, current, error)
    by_psp = gradient(window.psp, current, error)
    close = {torch.float64: 1e-12, torch.float32: 1e-5}[dtype]
    torch.testing.assert_close(by_spikes, by_psp, rtol=close, atol=close)


def test_layer_rate_asks_the_whole_call():
    current, error = problem((10, 2, 10))
    rate = tssl_bp_window(current).spikes.mean().item()
    for threshold, decision in ((rate, "surrogate"), (rate - 1e-6, "timing")):
        by_rate = tssl_bp(current, decision="layer_rate", rate_threshold=threshold)
        always = tssl_bp(current, decision=f"always_{decision}")
        assert torch.equal(*(gradient(x, current, error) for x in (by_rate, always)))


def test_currents_of_any_layout_and_shape():
    current, error = (x.detach() for x in problem((6, 4, 3, 5, 2)))
    layouts = (
        current.clone(),
        current.flatten(0, 1).to(memory_format=torch.channels_last).view_as(current),
        current.movedim(0, -1).contiguous().movedim(-1, 0),
        current.movedim(1, 0).contiguous().movedim(0, 1),
    )
    results = []
    for x in layouts:
        x = x.detach().requires_grad_()
        out = tssl_bp(x)
        results.append(
            (out, gradient(out, x, error), gradient(tssl_bp(x).sum(), x, None))
        )
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.slow
# Dynamo itself creates an instance of the Function that it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("decision", DECISIONS)
def test_compiles_in_one_graph(decision):
    current, error = problem((5, 3, 4), dtype=torch.float32)

    def both(x):
        window = tssl_bp_window(x, decision=decision)
        return window.psp + psp_filter(window.spikes, 3.0), window.state.v

    results = []
    for run in (both, torch.compile(both, fullgraph=True)):
        out, v = run(current)
        results.append((out, v, gradient(out, current, error)))
    torch.testing.assert_close(*results)
