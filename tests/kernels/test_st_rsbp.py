"""The ops of ST-RSBP: both bodies alike and equal to the oracle, layouts, bad input."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.kernels import (
    effect_gradient,
    effect_ratio,
    spike_train_window,
    survival,
    synaptic_effect,
    trace,
)
from tests.oracles import st_rsbp as oracle

BODIES = sys.modules[  # the package has a rule of this name, not the module
    "snn_temporal_plugins.kernels.st_rsbp"
]
DTYPES = (torch.float32, torch.float64)
CONSTANTS = (10.0, 3.0, 2)  # tau_mem, tau_syn, refractory
DYNAMICS = (0.8, *CONSTANTS)
SHAPES = {
    "steps": st.integers(1, 12),
    "batch": st.integers(0, 3),
    "inputs": st.integers(1, 6),
    "neurons": st.sampled_from([1, 2, 7, 33]),
}
TIMES = {
    "tau_mem": st.floats(1, 40),
    "tau_syn": st.floats(1, 40),
    "refractory": st.integers(0, 4),
}


def trains(*shape, seed=0, rate=0.3, dtype=torch.float64):
    """Spike trains; the second of each sample, where there is one, is silent."""
    g = torch.Generator().manual_seed(seed)
    spikes = torch.rand(shape, generator=g, dtype=torch.float64) < rate
    spikes[..., 1:2] = False
    return spikes.to(dtype)


def numbers(*shape, seed=0, dyadic=False, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed + 100)
    values = torch.randn(shape, generator=g, dtype=torch.float64)
    return ((values * 16).round() / 16 if dyadic else values).to(dtype)


def layer(
    steps=12, batch=3, inputs=6, neurons=5, *, seed=0, dtype=torch.float64, **options
):
    """x, last, weight, recurrent weight, state at rest: the tensors of a window."""
    kind = {"seed": seed, "dtype": dtype}
    return (
        trains(steps, batch, inputs, **kind),
        trains(1, batch, inputs, seed=seed + 1, dtype=dtype)[0],
        numbers(neurons, inputs, **kind, **options) + 0.25,
        numbers(neurons, neurons, **kind, **options) / 2,
        torch.zeros(4, batch, neurons, dtype=dtype),
    )


def sums(steps=12, batch=3, inputs=6, neurons=5, *, seed=0, dtype=torch.float64):
    """x, spikes, weight, error, passed: the tensors of a gradient."""
    kind = {"seed": seed, "dtype": dtype}
    return (
        trains(steps, batch, inputs, **kind),
        trains(steps, batch, neurons, seed=seed + 1, dtype=dtype),
        numbers(neurons, inputs, **kind),
        numbers(batch, neurons, **kind),
        numbers(batch, neurons, seed=seed + 1, dtype=dtype),
    )


NONE = torch.zeros(0, 0)


@given(
    **SHAPES,
    tau_mem=st.sampled_from([1.0, 2.0]),  # these and weights k/16 make sums exact
    tau_syn=st.sampled_from([1.0, 2.0]),
    refractory=st.integers(0, 4),
    v_th=st.sampled_from([0.25, 1.0, 3.0]),
    recurrent=st.booleans(),
    currents=st.booleans(),
    moving=st.booleans(),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from(DTYPES),
)
def test_both_bodies_give_the_very_same_spikes(
    steps, batch, inputs, neurons, v_th, recurrent, currents, moving, seed, dtype, **t
):
    kind = {"seed": seed, "dtype": dtype, "dyadic": True}
    x, last, weight, own, state = layer(steps, batch, inputs, neurons, **kind)
    if currents:
        x, last = numbers(steps + 1, batch, neurons, **kind).split((steps, 1))
        last, weight = last[0], NONE.to(dtype)
    own = own if recurrent else NONE.to(dtype)
    numeric = (v_th, t["tau_mem"], t["tau_syn"], t["refractory"])
    if moving:
        state = spike_train_window(x, last, weight, own, state, *numeric)[2]
    ours = spike_train_window(x, last, weight, own, state, *numeric)
    theirs = BODIES._window_reference(x, last, weight, own, state, *numeric)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == dtype and torch.equal(a, b)


@pytest.mark.parametrize("body", [spike_train_window, BODIES._window_reference])
@given(
    **SHAPES,
    **TIMES,
    v_th=st.floats(0.1, 4),
    recurrent=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_the_window_equals_the_oracle(
    body, steps, batch, inputs, neurons, v_th, recurrent, seed, **times
):
    x, last, weight, own, state = layer(steps, batch, inputs, neurons, seed=seed)
    own = own if recurrent else NONE.double()
    spikes, drive, end = body(x, last, weight, own, state, v_th, *times.values())
    for b in range(batch):
        truth, v = oracle.forward(
            *(x[:, b].numpy(), weight.numpy(), own.numpy() if recurrent else None),
            **{"v_th": v_th, "last": last[b].numpy(), **times},
        )
        np.testing.assert_array_equal(spikes[:, b], truth)
        np.testing.assert_allclose(drive[b], (v * truth).sum(0), atol=1e-12)
        left = np.where(truth[-1], 0, v[-1])
        np.testing.assert_allclose(end[0, b], left, atol=1e-12)
        np.testing.assert_array_equal(end[3, b], truth[-1])


@pytest.mark.parametrize("body", [synaptic_effect, BODIES._effect_reference])
@given(**SHAPES, **TIMES, seed=st.integers(0, 2**16))
def test_the_effect_equals_the_oracle(
    body, steps, batch, inputs, neurons, seed, **times
):
    x, spikes, *_ = sums(steps, batch, inputs, neurons, seed=seed)
    effect = body(x, spikes, *times.values())
    assert effect.shape == (batch, neurons, inputs)
    for b in range(batch):
        truth = oracle.effects(x[:, b].numpy(), spikes[:, b].numpy(), **times)
        np.testing.assert_allclose(effect[b], truth, rtol=1e-12, atol=1e-12)


@given(
    **SHAPES,
    **TIMES,
    need_in=st.booleans(),
    seed=st.integers(0, 2**16),
    dtype=st.sampled_from(DTYPES),
)
def test_the_gradient_of_both_bodies_equals_the_oracle(
    steps, batch, inputs, neurons, need_in, seed, dtype, **times
):
    tensors = sums(steps, batch, inputs, neurons, seed=seed, dtype=dtype)
    x, spikes, weight, error, passed = (tensor.double().numpy() for tensor in tensors)
    grad_in, grad = np.zeros((batch, inputs)), np.zeros((neurons, inputs))
    for b in range(batch):
        e = oracle.effects(x[:, b], spikes[:, b], **times)
        rho = oracle.ratio(e, x[:, b].sum(0), spikes[:, b].sum(0))
        grad += error[b][:, None] * e
        grad_in[b] = passed[b] @ (weight * rho)
    close = 1e-11 if dtype == torch.float64 else 2e-5
    constants = tuple(times.values())
    ours = effect_gradient(*tensors, *constants, need_in)
    theirs = BODIES._gradient_reference(*tensors, *constants)
    for a, b, truth in zip(ours, theirs, (grad_in, grad), strict=True):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(b, truth, rtol=close, atol=10 * close)
        if need_in or truth is grad:
            np.testing.assert_allclose(a, truth, rtol=close, atol=10 * close)
    assert need_in or ours[0].numel() == 0


def test_the_parts_of_the_effect():
    """in@1, out@3, by hand: p = 0 0 1 .5, m = .75^2 ... 1 at the spike, 0 after."""
    x, spikes = torch.zeros(2, 8, 1, 1, dtype=torch.float64)
    x[1] = spikes[3] = 1
    p, m = trace(x, 2.0).flatten(), survival(spikes, 4.0, 2).flatten()
    assert p.tolist() == [0, 0, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125]
    assert m.tolist() == [0.421875, 0.5625, 0.75, 1, 0, 0, 0, 0]
    assert synaptic_effect(x, spikes, 4.0, 2.0, 2).item() == 0.625
    ratio = effect_ratio(torch.tensor([[6.0, 8.0]]), torch.tensor([2.0, 0.0]), p[1:2])
    assert ratio.tolist() == [[0.5, 0.5]]  # the output is silent, or the input
    ratio = effect_ratio(torch.tensor([[6.0, 8.0]]), torch.tensor([2.0, 0.0]), p[2:3])
    assert ratio.tolist() == [[3.0, 0.5]]


@pytest.mark.parametrize("body", [spike_train_window, BODIES._window_reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("v_th", [0.5, 1.0, 20.0])
def test_a_neuron_fires_above_the_threshold_less_1e_6(body, dtype, v_th):
    limit = torch.tensor(v_th, dtype=dtype) - torch.tensor(1e-6, dtype=dtype)
    above = torch.nextafter(limit, torch.tensor(math.inf, dtype=dtype))
    x, last, *_, state = layer(2, 1, 1, 1, dtype=dtype)
    for weight, fires in ((limit, False), (above, True)):
        spikes, drive, _ = body(
            *(torch.ones_like(x), last * 0, weight.view(1, 1), NONE.to(dtype), state),
            *(v_th, 1.0, 1.0, 0),  # v = W s[t-1]
        )
        assert spikes.flatten().tolist() == [0, fires]
        assert drive.item() == (weight if fires else 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("refractory", [0, 2, 5])
@pytest.mark.parametrize("recurrent", [False, True])
def test_two_windows_are_one(dtype, refractory, recurrent):
    x, last, weight, own, state = layer(20, dtype=dtype)
    own = own if recurrent else NONE.to(dtype)
    numeric = (0.4, 10.0, 3.0, refractory)
    spikes, drive, end = spike_train_window(x, last, weight, own, state, *numeric)
    assert 5 < spikes.sum() < spikes.numel() / 2
    for cut in (1, 7, 10, 19):
        first = spike_train_window(x[:cut], last, weight, own, state, *numeric)
        second = spike_train_window(
            x[cut:], x[cut - 1], weight, own, first[2], *numeric
        )
        assert torch.equal(torch.cat([first[0], second[0]]), spikes)
        torch.testing.assert_close(first[1] + second[1], drive)
        assert torch.equal(second[2], end)


@pytest.mark.parametrize("refractory", [0, 2])
def test_a_neuron_rests_after_a_spike(refractory):
    x, last, *_, state = layer(9, 1, 1, 1)
    strong = torch.full((1, 1), 50.0, dtype=torch.float64)
    spikes, *_ = spike_train_window(
        *(torch.ones_like(x), last * 0, strong, NONE.double(), state),
        *(1.0, 10.0, 3.0, refractory),
    )
    fired = spikes.flatten().nonzero().flatten().tolist()
    assert fired == list(range(1, 9, refractory + 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_spikes(dtype):
    x, last, weight, own, state = layer(dtype=dtype)
    results = spike_train_window(x * 0, last * 0, weight, own, state, *DYNAMICS)
    assert not any(result.any() for result in results)
    _, spikes, weight, error, passed = sums(dtype=dtype)
    effect = synaptic_effect(x * 0, spikes, *CONSTANTS)
    assert not effect.any()
    for silent in ((x * 0, spikes), (x, spikes * 0), (x * 0, spikes * 0)):
        grad_in, grad = effect_gradient(
            *silent, weight, error, passed, *CONSTANTS, True
        )
        assert not grad.any()
        torch.testing.assert_close(grad_in, 0.5 * passed @ weight)


@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_without_an_error_give_zero_and_change_nothing(dtype):
    x, spikes, weight, error, passed = sums(batch=4, dtype=dtype)
    error[::2], passed[::2] = 0, 0
    grad_in, grad = effect_gradient(x, spikes, weight, error, passed, *CONSTANTS, True)
    assert not grad_in[::2].any() and grad_in[1::2].all()
    half = (tensor[1::2] for tensor in (error, passed))
    alone = effect_gradient(
        x[:, 1::2], spikes[:, 1::2], weight, *half, *CONSTANTS, True
    )
    assert torch.equal(grad_in[1::2], alone[0]) and torch.equal(grad, alone[1])
    error[0, 0] = math.nan  # is not taken for none
    grad_in, grad = effect_gradient(x, spikes, weight, error, passed, *CONSTANTS, True)
    assert grad[0].isnan().any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_nothing(dtype):
    tensors = layer(32, 64, 20, 64, dtype=dtype)  # work for two threads
    x, spikes, *others = sums(32, 64, 20, 64, dtype=dtype)
    before = torch.get_num_threads()
    results, grads = [], []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            effect = synaptic_effect(x, spikes, *CONSTANTS)
            results.append((*spike_train_window(*tensors, *DYNAMICS), effect))
            grads.append(effect_gradient(x, spikes, *others, *CONSTANTS, True))
    finally:
        torch.set_num_threads(before)
    for ours, grad in zip(results[1:], grads[1:], strict=True):
        assert all(map(torch.equal, results[0], ours))
        assert torch.equal(grads[0][0], grad[0])
        close = 1e-12 if dtype == torch.float64 else 1e-4  # sums in another order
        torch.testing.assert_close(grads[0][1], grad[1], rtol=close, atol=close)


@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_inputs(dtype):
    def strided(tensor):
        return (
            torch.stack([tensor, tensor], -1)
            .transpose(0, 1)
            .contiguous()[..., 0]
            .transpose(0, 1)
        )

    tensors, others = layer(dtype=dtype), sums(dtype=dtype)
    calls = (
        (spike_train_window, tensors, DYNAMICS),
        (synaptic_effect, others[:2], CONSTANTS),
        (effect_gradient, others, (*CONSTANTS, True)),
    )
    for op, arguments, constants in calls:
        ours, theirs = (
            op(*values, *constants)
            for values in (arguments, tuple(map(strided, arguments)))
        )
        if isinstance(ours, torch.Tensor):
            ours, theirs = (ours,), (theirs,)
        assert all(map(torch.equal, ours, theirs))
    expanded = torch.ones(1, 1, dtype=dtype).expand(3, 5)  # the gradient of a sum
    x, spikes, weight, *_ = others
    ours, theirs = (
        effect_gradient(x, spikes, weight, error, error, *CONSTANTS, True)
        for error in (expanded, expanded.contiguous())
    )
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("body", [spike_train_window, BODIES._window_reference])
@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, math.nan, math.inf])
@pytest.mark.parametrize("step", [0, 5, -1, None])
@pytest.mark.parametrize("dtype", DTYPES)
def test_spikes_are_0_or_1(body, value, step, dtype):
    x, last, *others = layer(dtype=dtype)
    (last if step is None else x[step])[1, 3] = value
    with pytest.raises(ValueError, match=r"other values than 0 and 1.*rate_encode"):
        body(x, last, *others, *DYNAMICS)


@pytest.mark.parametrize("body", [spike_train_window, BODIES._window_reference])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["weight", "recurrent", "state", "current"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_value_that_is_not_finite(body, value, place, dtype):
    x, last, weight, own, state = layer(neurons=6, dtype=dtype)
    if place == "current":
        x, last, weight = x + 0.1, last + 0.1, NONE.to(dtype)
        x[4, 1, 3] = value
    elif place == "state":
        state[0 if math.isnan(value) else 1, 1, 3] = value
    else:
        {"weight": weight, "recurrent": own}[place][3] = value
    with pytest.raises(ValueError, match=r"NaN or inf.*learning rate"):
        body(x, last, weight, own, state, *DYNAMICS)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])  # half: no Numba body
def test_opcheck(dtype):
    x, last, weight, own, state = layer(5, 2, 4, 3, dtype=dtype)
    none = NONE.to(dtype)
    check = torch.library.opcheck
    check(spike_train_window, (x, last, weight, own, state, *DYNAMICS))
    turned = state.transpose(0, 2).contiguous().transpose(0, 2)
    check(spike_train_window, (x, last, weight, none, turned, *DYNAMICS))
    currents = x[..., :3], last[..., :3], none, own
    check(spike_train_window, (*currents, state, *DYNAMICS))
    tensors = sums(5, 2, 4, 3, dtype=dtype)
    check(synaptic_effect, (*tensors[:2], *CONSTANTS))
    for need_in in (False, True):
        check(effect_gradient, (*tensors, *CONSTANTS, need_in))


def test_the_inputs_are_left_alone():
    tensors = (*layer(), *sums())
    kept = [tensor.clone() for tensor in tensors]
    spike_train_window(*tensors[:5], *DYNAMICS)
    synaptic_effect(*tensors[5:7], *CONSTANTS)
    effect_gradient(*tensors[5:], *CONSTANTS, True)
    assert all(map(torch.equal, tensors, kept))


@pytest.mark.slow
def test_second_process_does_not_compile():
    program = (
        "import sys\n"
        "import torch\n"
        "from snn_temporal_plugins import kernels\n"
        "module = sys.modules['snn_temporal_plugins.kernels.st_rsbp']\n"
        "x, w, s = torch.ones(3, 1, 2), torch.ones(2, 2), torch.zeros(4, 1, 2)\n"
        "kernels.spike_train_window(x, x[0], w, w, s, 1.0, 5.0, 3.0, 2)\n"
        "kernels.synaptic_effect(x, x, 5.0, 3.0, 2)\n"
        "kernels.effect_gradient(x, x, w, x[0], x[0], 5.0, 3.0, 2, True)\n"
        "for body in (module._window, module._effect, module._gradient):\n"
        "    stats = body.stats\n"
        "    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))\n"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
    assert done.stdout.split() == ["1", "0"] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_runs_the_reference_body():
    calls = (
        (spike_train_window, layer(), DYNAMICS),
        (effect_gradient, sums(), (*CONSTANTS, True)),
    )
    for op, tensors, constants in calls:
        here = op(*tensors, *constants)
        there = op(*(tensor.cuda() for tensor in tensors), *constants)
        for a, b in zip(here, there, strict=True):
            torch.testing.assert_close(a, b.cpu())
