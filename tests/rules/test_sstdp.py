"""SSTDP: the authors' numbers, the written-out oracle, invariances, gradients."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.neurons import ReLPSPLinear
from snn_temporal_plugins.rules import RULES
from snn_temporal_plugins.rules.sstdp import sstdp, sstdp_with_potential
from snn_temporal_plugins.testing import check_rule
from tests.golden import load, silence
from tests.oracles import sstdp as oracle

CASES = {
    case["name"]: case
    for case in load("sstdp/linear.json")["cases"]
    if not case["thermal"]  # a reversed step current, which the package has not
}
TRACES = [
    case
    for case in load("sstdp/neuron_trace.json")["cases"]
    if not case["v_reset"]  # the package's neurons rest at 0
]
CLOSE = {"rtol": 2e-5, "atol": 2e-6}
DTYPES = (torch.float32, torch.float64)


def problem(batch=4, inputs=7, outputs=5, *, places=(), ticks=9, seed=0, dyadic=True):
    """Ticks with silence and ties, weights k/64 of both signs, errors of both signs."""
    g = torch.Generator().manual_seed(seed)
    time = torch.randint(ticks, (batch, *places, inputs), generator=g).double()
    time[torch.rand(time.shape, generator=g) < 0.2] = math.inf
    weight = torch.randn(outputs, inputs, generator=g, dtype=torch.float64) + 0.4
    error = torch.randn(batch, *places, outputs, generator=g, dtype=torch.float64)
    weight = (weight * 64).round() / 64 if dyadic else weight
    return time.requires_grad_(), weight.requires_grad_(), error


def test_keeps_the_contract_of_rules_on_ticks():
    assert not RULES["sstdp"].exact_gradient
    check_rule(RULES["sstdp"])


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (lambda t, w, v: sstdp(t, w, v) + 0.5, "whole ticks"),
        (lambda t, w, v: sstdp(t, w, v).nan_to_num(posinf=256), "silence"),
        (lambda t, w, v: sstdp(t, w, v).flip(0), "each"),
    ],
)
def test_the_contract_finds_a_broken_rule_on_ticks(change, clause):
    with pytest.raises(AssertionError, match=clause):
        check_rule(dataclasses.replace(RULES["sstdp"], function=change))


def test_ramps_and_steps_do_not_mix():
    with pytest.raises(ValueError, match="add a step, not a ramp; take IFLinear"):
        ReLPSPLinear(3, 2, rule="sstdp")


def gradients(output, time, weight, error):
    return torch.autograd.grad(output, (time, weight), error, retain_graph=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_equals_the_authors_code(name, dtype):
    case = CASES[name]
    time = silence(case["input_time"], case["T"], dtype).requires_grad_()
    weight, error, grad_time, grad_weight = (
        torch.tensor(case[key], dtype=dtype)
        for key in ("weight", "grad_output", "input_grad", "weight_grad")
    )
    weight.requires_grad_()
    post = sstdp(
        *(time, weight, case["threshold"]),
        **{"t_max": case["T"], "a": case["a"], "b": case["b"]},
        **{"tau_mem": case["tau"], "tau_stdp": case["tau"], "compat": "released"},
    )
    assert torch.equal(post, silence(case["output_time"], case["T"], dtype))
    ours = gradients(post, time, weight, error)
    torch.testing.assert_close(ours[0], grad_time, **CLOSE)
    torch.testing.assert_close(ours[1] * case["lr_ratio"], grad_weight, **CLOSE)


@pytest.mark.parametrize("case", TRACES)
def test_equals_the_authors_neuron(case):
    dv, spike = (np.array(case[key], dtype=float) for key in ("dv", "spike"))
    ticks = len(dv)
    time = torch.arange(ticks).double()[None]  # input k spikes at tick k
    for n in np.ndindex(dv.shape[1:]):
        weight = torch.from_numpy(dv[(slice(None), *n)])[None]
        post, potential = sstdp_with_potential(
            *(time, weight, case["threshold"]), t_max=ticks, tau_mem=case["tau"]
        )
        fired = spike[(slice(None), *n)].nonzero()[0]
        assert post.item() == (fired[0] if len(fired) else math.inf)
        at = np.cumsum(dv, 0)[(*fired, *n)] if len(fired) else 0.0
        if case["tau"] is None:
            assert potential.item() == at


@pytest.mark.parametrize(
    "case", load("sstdp/paper_form_reference.json")["windows"], ids=lambda x: x["name"]
)
def test_equals_the_reference_of_the_paper_form(case):
    """One output at a time; a strong extra input makes it fire when it should."""
    time, post, weight, error, grad_time = (
        torch.tensor(case[key], dtype=torch.float64)
        for key in ("t_i", "t_j", "weight", "grad_output", "input_grad_raw")
    )
    settings = {"t_max": case["T"], "a": case["eps1"], "b": case["eps2"]}
    settings |= {"tau_stdp": case["tau"], "offset": case["offset"]}
    settings |= {"w_max": case["w_max"], "mu": case["mu"]}
    outputs, inputs = weight.shape
    for normalize, key in ((None, "raw"), ("l2", "normalised")):
        scale = error.norm(dim=1, keepdim=True) if normalize else 1
        grads = torch.zeros_like(weight), torch.zeros_like(time)
        for j in range(outputs):
            driver = post[:, j : j + 1].masked_fill(post[:, j : j + 1] == 16, math.inf)
            t = torch.cat([time, driver], 1).requires_grad_()
            w = torch.cat([weight[j], torch.tensor([40.0]).double()])[None]
            w.requires_grad_()
            ours = sstdp(t, w, 30.0, **settings, normalize=None)
            assert torch.equal(ours, driver)
            g = gradients(ours, t, w, (error / scale)[:, j : j + 1])
            grads[0][j] = g[1][0, :inputs]
            grads[1].add_(g[0][:, :inputs])
        truth = torch.tensor(case[f"weight_grad_{key}_mean"]).double()
        torch.testing.assert_close(grads[0], truth, **CLOSE)
        if normalize is None:
            torch.testing.assert_close(grads[1], grad_time, **CLOSE)


@given(
    shape=st.tuples(*[st.integers(0, n) for n in (4, 7, 6)]),
    places=st.sampled_from([(), (), (3,), (2, 2)]),
    t_max=st.integers(1, 12),
    v_th=st.sampled_from([0.25, 0.5, 1.0, 1.25, 3.0]),
    dyadic=st.booleans(),
    a=st.floats(0, 2),
    b=st.floats(0, 2),
    tau_mem=st.sampled_from([None, 1.0, 2.0, 3.7]),
    window=st.sampled_from([(None, 0.0), (4.3, 0.0), (0.7, 0.3)]),
    bound=st.sampled_from([(None, 0.0), (1.0, 0.5), (50.0, 0.0005), (0.5, 0.0)]),
    normalize=st.sampled_from(["l2", None]),
    compat=st.sampled_from([None, None, "released"]),
    seed=st.integers(0, 2**16),
)
def test_equals_the_oracle(
    shape, places, t_max, v_th, dyadic, tau_mem, window, bound, compat, seed, **law
):
    time, weight, error = problem(
        *shape, places=places, ticks=t_max, seed=seed, dyadic=dyadic
    )
    law |= {"t_max": t_max, "compat": compat}
    law |= dict(zip(("tau_stdp", "offset"), window, strict=True))
    law |= dict(zip(("w_max", "mu"), bound, strict=True))
    arrays = time.detach().numpy(), weight.detach().numpy()
    ticks = t_max - 2 if compat == "released" else t_max
    truth, level = oracle.forward(*arrays, v_th, ticks=ticks, tau_mem=tau_mem)
    post, potential = sstdp_with_potential(time, weight, v_th, tau_mem=tau_mem, **law)
    np.testing.assert_array_equal(post.detach().numpy(), truth)  # exact
    np.testing.assert_allclose(potential.numpy(), level, rtol=1e-10, atol=1e-10)
    ours = gradients(post, time, weight, error)
    theirs = oracle.backward(*arrays, truth, error.numpy(), **law)
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x.numpy(), y, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tau_mem", [None, 2.0])
def test_equality_with_the_threshold_does_not_fire(dtype, tau_mem):
    time = torch.tensor([[0, 1, 1, 3]], dtype=dtype)
    weight = torch.tensor([[0.5, 0.75, -0.25, 0.0]], dtype=dtype)  # V = 0.5, 1, 1
    if tau_mem:
        weight = torch.tensor([[1.0, 1.0, 0.5, 0.0]], dtype=dtype)  # V = 0.5, 1, 0.25
    settings = {"t_max": 4, "tau_mem": tau_mem}
    assert sstdp(time, weight, 1.0, **settings).item() == math.inf
    below = torch.nextafter(torch.ones((), dtype=dtype), torch.zeros((), dtype=dtype))
    post, potential = sstdp_with_potential(time, weight, below, **settings)
    assert (post.item(), potential.item()) == (1, 1)


def test_all_inputs_of_a_tick_count_before_the_threshold_is_asked():
    time = torch.tensor([[1.0, 1.0, 2.0]])
    weight = torch.tensor([[2.0, -1.5, 0.6]])  # 2 alone would fire at tick 1
    assert sstdp(time, weight, 1.0).item() == 2
    assert sstdp(time, -weight, 1.0).item() == math.inf  # and no order may matter
