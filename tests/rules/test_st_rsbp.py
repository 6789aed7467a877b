"""ST-RSBP: golden numbers, and the written-out oracle."""

import importlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.functional.effect_table import (
    effect_polynomials,
    mean_effect,
)
from snn_temporal_plugins.kernels import survival, synaptic_effect, trace
from snn_temporal_plugins.rules import RULES, st_rsbp, st_rsbp_window
from snn_temporal_plugins.testing import check_rule
from tests.golden import load, trains
from tests.oracles import st_rsbp as oracle

MODULE = importlib.import_module("snn_temporal_plugins.rules.st_rsbp")
POLYNOMIALS = np.array(load("strsbp/poly.json")["coef_high_to_low"])
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
GOLDEN = ("tau_m", "tau_s", "t_ref"), ("tau_mem", "tau_syn", "refractory")


def cases(name):
    return pytest.mark.parametrize(
        "case", load(f"strsbp/{name}.json")["cases"], ids=lambda case: case["name"]
    )


def array(values):
    """Nested lists as a float64 array; null, which is no connection, as 0."""
    array = np.array(values, dtype=float)
    return np.where(np.isnan(array), 0, array)


def constants(case):
    return dict(zip(GOLDEN[1], (case[key] for key in GOLDEN[0]), strict=True))


def gradients(spikes, error, *tensors):
    """Of a loss on counts with the gradient `error`, (batch, ...)."""
    return torch.autograd.grad((spikes.sum(0) * error).sum(), tensors)


def test_keeps_the_contract():
    assert not RULES["st_rsbp"].exact_gradient
    assert RULES["st_rsbp"].takes == "spikes"
    check_rule(RULES["st_rsbp"])


@cases("effect")
def test_equals_the_golden_effect(case):
    x, spikes = (trains([case[key]], case["T"]) for key in ("in_times", "out_times"))
    taus = tuple(constants(case).values())
    effect = synaptic_effect(x, spikes, *taus).item()
    assert effect == pytest.approx(case["e_step"], rel=1e-12, abs=1e-12)
    if case.get("readout_kernel"):
        p, m = trace(x, taus[1]).flatten(), survival(spikes, *taus[::2]).flatten()
        np.testing.assert_allclose(m, case["readout_kernel"], **CLOSE)
        np.testing.assert_allclose(p, case["trace"], **CLOSE)


@cases("forward")
def test_equals_the_golden_forward(case):
    x, spikes = (trains(case[key], case["T"]) for key in ("in_spikes", "out_spikes"))
    weight = array(case["W"])
    recurrent = None if case["R"] is None else array(case["R"])
    settings = {"v_th": case["vth"], **constants(case)}
    window = st_rsbp_window(
        *(x, torch.tensor(weight)),
        recurrent if recurrent is None else torch.tensor(recurrent),
        **settings,
    )
    assert torch.equal(window.spikes, spikes)
    for key in ("sum_v_at_spikes", "tpsp_a"):
        np.testing.assert_allclose(window.activity[0], case[key], **CLOSE)
    truth, v = oracle.forward(x[:, 0].numpy(), weight, recurrent, **settings)
    np.testing.assert_array_equal(truth, spikes[:, 0])
    if case["v_pre"] is not None:
        np.testing.assert_allclose(v, array(case["v_pre"]).T, **CLOSE)


@pytest.mark.parametrize("solver", ["math", "original"])
@cases("layer_backward")
def test_equals_the_golden_gradients(case, solver, monkeypatch):
    """These output trains are not those of the forward."""
    x, spikes = (trains(case[key], case["T"]) for key in ("in_spikes", "out_spikes"))
    none, state = spikes[0] * 0, torch.zeros(4, 1, spikes.shape[2]).double()
    monkeypatch.setattr(
        MODULE, "spike_train_window", lambda *_: (spikes.clone(), none, state)
    )
    weight, error = array(case["W"]), array(case["dE_do"])
    settings = {"v_th": case["vth"], "solver": solver, **constants(case)}
    keys, recurrent = ["dE_do_pre", "weight_grad"], None
    if case["kind"] == "rec":
        recurrent = array(case["R"])
        kind = {"math": "math", "original": "code"}[solver]
        keys = [f"dE_do_pre_{kind}", "weight_grad_in", "weight_grad_rec"]
    truth = [array(case[key]) for key in keys]
    leaves = [x.requires_grad_()] + [
        torch.tensor(w).requires_grad_() for w in (weight, recurrent) if w is not None
    ]
    out = st_rsbp(*leaves, polynomials=torch.tensor(POLYNOMIALS), **settings)
    ours = gradients(out, torch.tensor(error), *leaves)
    theirs = oracle.backward(
        *(x[:, 0].detach().numpy(), spikes[:, 0].numpy(), weight, recurrent, error),
        oracle.polynomial_slope(POLYNOMIALS),
        **{"rows": len(POLYNOMIALS), **settings},
    )
    assert (ours[0] == ours[0][0]).all()  # of a count: alike in all steps
    ours = (ours[0][0, 0], *ours[1:])
    for a, b, c in zip(ours, theirs, truth, strict=False):
        np.testing.assert_allclose(a, c, **CLOSE)
        np.testing.assert_allclose(b, c, **CLOSE)


@cases("output_layer")
def test_equals_the_golden_output_layer(case):
    x = trains(case["in_spikes"], case["T"]).requires_grad_()
    weight = torch.tensor(array(case["W"])).requires_grad_()
    lateral, desired = case["lateral_strength"], case["desired"]
    settings = {"v_th": case["vth"], **constants(case)}
    spikes = st_rsbp(
        *(x, weight),
        polynomials=torch.tensor(POLYNOMIALS),
        label=torch.tensor([case["label"]]),
        desired_count=desired,
        lateral=lateral,
        **settings,
    )
    assert torch.equal(spikes.detach(), trains(case["out_spikes"], case["T"]))
    error = array(case["dE_do"])
    grads = gradients(spikes, torch.tensor(error), x, weight)
    truth = case["backward"]["dE_do_pre"], case["backward"]["weight_grad"]
    np.testing.assert_allclose(grads[0][0, 0], truth[0], **CLOSE)
    np.testing.assert_allclose(grads[1], truth[1], **CLOSE)
    # the oracle, step by step
    train = spikes[:, 0].detach().numpy()
    settings.pop("v_th")
    f = oracle.lateral_factor(train, lateral, case["vth"], case["label"], **settings)
    np.testing.assert_allclose(f, case["lateral_factor"], **CLOSE)
    regular = trains(case["out_spikes_after_forcing"], case["T"])[:, 0]
    np.testing.assert_array_equal(oracle.forced(train, case["label"], desired), regular)


def problem(steps, batch, inputs, outputs, seed, connected=1.0):
    """Input trains, one input silent; W, R with gaps, dE/do; everything fires a bit."""
    g = torch.Generator().manual_seed(seed)
    kind = {"generator": g, "dtype": torch.float64}
    x = (torch.rand(steps, batch, inputs, **kind) < 0.25).double()
    x[..., 1:2] = 0
    weight = torch.randn(outputs, inputs, **kind) + 0.4
    recurrent = torch.randn(outputs, outputs, **kind)
    recurrent *= torch.rand(outputs, outputs, **kind) < connected
    error = torch.randn(batch, outputs, **kind)
    return x, weight, recurrent, error


SIZES = {
    "steps": st.integers(2, 25),
    "batch": st.integers(0, 3),
    "inputs": st.integers(1, 5),
    "outputs": st.integers(1, 5),
    "seed": st.integers(0, 2**16),
}
SETTINGS = {
    "v_th": st.floats(0.3, 3),
    "tau_mem": st.floats(1, 40),
    "tau_syn": st.floats(1, 20),
    "refractory": st.integers(0, 3),
}


@given(**SIZES, **SETTINGS, connected=st.sampled_from([None, 0.5, 1.0]))
def test_the_activity_is_the_sum_of_weighted_effects(
    steps, batch, inputs, outputs, seed, connected, v_th, **times
):
    sizes = steps, batch, inputs, outputs, seed
    x, weight, recurrent, _ = problem(*sizes, connected or 0)
    out = st_rsbp_window(
        *(x, weight, None if connected is None else recurrent), v_th=v_th, **times
    )
    total = torch.einsum(
        "ij,bij->bi", weight, synaptic_effect(x, out.spikes, *times.values())
    )
    own = synaptic_effect(out.spikes, out.spikes, *times.values())
    total = total + torch.einsum("ip,bip->bi", recurrent, own)
    torch.testing.assert_close(out.activity, total, rtol=1e-10, atol=1e-10)
    lateral = st_rsbp_window(x, weight, v_th=v_th, lateral=0.7, **times)
    inhibition = 0.7 * (torch.eye(outputs).double() - 1)
    again = st_rsbp_window(x, weight, inhibition, v_th=v_th, **times)
    assert torch.equal(lateral.spikes, again.spikes)
    assert torch.equal(lateral.activity, again.activity)


def slope_of(side, steps, polynomials, **times):
    """beta and its rows, from a table of polynomials or by central differences."""
    times = {"num_steps": steps, **times}
    if side == "direct":
        effect = mean_effect(**times)
        most = len(effect) - 1

        def beta(count_in, count):
            n, o = (int(np.clip(c, 1, most)) for c in (count_in, count))
            low, high = max(o - 1, 1), min(o + 1, most)
            if low == high:
                return effect[n, o]
            return (effect[n, high] - effect[n, low]) / (high - low)

        return beta, most
    if polynomials is None:
        polynomials = effect_polynomials(**times).numpy()
    return oracle.polynomial_slope(polynomials), len(polynomials)


@given(
    **SIZES,
    **SETTINGS,
    kind=st.sampled_from(["ff", "output", "labelled", "rec", "gaps", "lonely"]),
    side=st.sampled_from(["polynomial", "direct"]),
    table=st.sampled_from([None, POLYNOMIALS, POLYNOMIALS[:2]]),
    solver=st.sampled_from(["math", "original"]),
    self_connections=st.booleans(),
)
def test_equals_the_oracle(
    steps, batch, inputs, outputs, seed, kind, side, table, solver, v_th, **more
):
    self_connections = more.pop("self_connections")
    sizes = steps, batch, inputs, outputs, seed
    gaps = {"rec": 1.0, "gaps": 0.5, "lonely": 0.0}
    x, weight, recurrent, error = problem(*sizes, gaps.get(kind, 0))
    label = torch.arange(batch) % outputs
    law = {"v_th": v_th, "solver": solver, "self_connections": self_connections, **more}
    if kind in ("output", "labelled"):
        law |= {"lateral": 0.8, "desired_count": 4}
    beta, rows = slope_of(side if table is None else "", steps, table, **more)
    leaves = [x.requires_grad_(), weight.requires_grad_()]
    if kind in gaps:
        leaves.append(recurrent.requires_grad_())
    spikes = st_rsbp(
        *leaves,
        side=side,
        polynomials=None if table is None else torch.tensor(table),
        label=label if kind == "labelled" else None,
        **law,
    )
    ours = gradients(spikes, error, *leaves)
    arrays = [leaf.detach().numpy() for leaf in leaves[1:]]
    theirs = [np.zeros_like(array) for array in arrays]
    own = arrays[1] if kind in gaps else None
    if "lateral" in law:
        inhibition = 0.8 * (np.eye(outputs) - 1)
    for b in range(batch):
        train = x[:, b].detach().numpy()
        out, _ = oracle.forward(
            *(train, arrays[0], inhibition if "lateral" in law else own),
            **{"v_th": v_th, **more},
        )
        np.testing.assert_array_equal(spikes[:, b].detach(), out)
        grad_in, *grads = oracle.backward(
            *(train, out, arrays[0], own, error[b].numpy(), beta),
            **{"rows": rows, **law},
            label=int(label[b]) if kind == "labelled" else None,
        )
        np.testing.assert_allclose(ours[0][0, b], grad_in, **CLOSE)
        for total, grad in zip(theirs, grads, strict=False):
            total += grad
    assert (ours[0] == ours[0][:1]).all()
    for a, b in zip(ours[1:], theirs, strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


@given(
    steps=st.integers(2, 12),
    batch=st.integers(0, 2),
    maps=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    image=st.tuples(st.integers(3, 5), st.integers(3, 5)),
    side=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    seed=st.integers(0, 2**16),
    table=st.sampled_from([None, POLYNOMIALS, POLYNOMIALS[:2]]),
    **SETTINGS,
)
def test_a_convolution_equals_the_oracle(
    steps, batch, maps, image, side, stride, padding, seed, table, v_th, **times
):
    g = torch.Generator().manual_seed(seed)
    kind = {"generator": g, "dtype": torch.float64}
    x = (torch.rand(steps, batch, maps[0], *image, **kind) < 0.3).double()
    kernel = torch.randn(maps[1], maps[0], *side, **kind) + 0.3
    x.requires_grad_(), kernel.requires_grad_()
    slide = {"stride": stride, "padding": padding, "v_th": v_th, **times}
    polynomials = None if table is None else torch.tensor(table)
    spikes = st_rsbp(x, kernel, polynomials=polynomials, **slide)
    error = torch.randn(spikes.shape[1:], **kind)
    grad_x, grad = gradients(spikes, error, x, kernel)
    beta, rows = slope_of("polynomial", steps, table, **times)
    total = np.zeros(kernel.shape)
    for b in range(batch):
        out, grad_in, of_kernel = oracle.convolution(
            *(x[:, b].detach().numpy(), kernel.detach().numpy(), error[b].numpy()),
            beta,
            **{"rows": rows, **slide},
        )
        np.testing.assert_array_equal(spikes[:, b].detach(), out)
        np.testing.assert_allclose(grad_x[0, b], grad_in, **CLOSE)
        total += of_kernel
    np.testing.assert_allclose(grad, total, **CLOSE)
    assert (grad_x == grad_x[:1]).all()
