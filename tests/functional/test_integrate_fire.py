import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_temporal_plugins import sstdp, times_to_train, train_to_times
from snn_temporal_plugins.functional.integrate_fire import IFState, if_step
from tests.oracles import sstdp as oracle

INF = math.inf
T = 16


def loop_form(spikes, weights, v_th=1.0):
    """Spike times of every layer by a user's own loop over ticks."""
    states = [None] * len(weights)
    trains = [[] for _ in weights]
    for x in spikes.unbind(0):
        for i, weight in enumerate(weights):
            x, states[i] = if_step(x @ weight.T, states[i], v_th)
            trains[i].append(x)
    return [train_to_times(torch.stack(train)) for train in trains]


def layer_form(ticks, weights, v_th=1.0):
    """The same by the rule on whole spike times, without what a loop cannot know."""
    times = []
    for weight in weights:
        ticks = sstdp(ticks, weight, v_th, t_max=T, a=1.0, b=0.0, normalize=None)
        times.append(ticks)
    return times


def network(sizes, seed, batch=5):
    """Input ticks, weights and the error of the output times."""
    g = torch.Generator().manual_seed(seed)
    ticks = torch.randint(0, T, (batch, sizes[0]), generator=g).double()
    ticks[:, 0] = INF
    weights = [
        torch.randn(post, pre, generator=g, dtype=torch.float64) / pre**0.5 * 1.4
        for pre, post in pairwise(sizes)
    ]
    for weight in weights:
        weight.add_(1.5 / weight.shape[1]).requires_grad_()
    error = torch.randn(batch, sizes[-1], generator=g, dtype=torch.float64)
    return ticks.requires_grad_(), weights, error


def loss_of(times, error):
    return (torch.where(times < INF, times, 0.0) * error).sum()


@pytest.mark.parametrize("sizes", [(12, 8), (12, 9, 6), (12, 10, 8, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_that_of_sstdp(sizes, seed):
    ticks, weights, error = network(sizes, seed)
    layer = layer_form(ticks, weights)
    loop = loop_form(times_to_train(ticks, T), weights)
    for wanted, got in zip(layer, loop, strict=True):
        assert torch.equal(wanted, got)
        assert (got < INF).any() and (got == INF).any()
    wanted = torch.autograd.grad(loss_of(layer[-1], error), [ticks, *weights])
    got = torch.autograd.grad(loss_of(loop[-1], error), [ticks, *weights])
    torch.testing.assert_close(got[0], wanted[0], rtol=1e-12, atol=1e-14)
    for mean, total in zip(wanted[1:], got[1:], strict=True):
        assert total.abs().max() > 0.1
        torch.testing.assert_close(total, len(ticks) * mean, rtol=1e-12, atol=1e-14)


def test_gradient_is_that_of_the_literal_oracle():
    ticks, (weight,), error = network((9, 7), seed=4)
    post, _ = oracle.forward(
        ticks.detach().numpy(), weight.detach().numpy(), 1.0, ticks=T
    )
    (got,) = loop_form(times_to_train(ticks, T), [weight])
    assert torch.equal(got, torch.from_numpy(post))
    error = torch.where(got < INF, error, 0.0)  # a train shows silence no error
    grad = torch.autograd.grad(loss_of(got, error), [ticks, weight])
    wanted = oracle.backward(
        ticks.detach().numpy(),
        weight.detach().numpy(),
        post,
        error.numpy(),
        normalize=None,
    )
    torch.testing.assert_close(grad[0], torch.from_numpy(wanted[0]))
    torch.testing.assert_close(grad[1], len(ticks) * torch.from_numpy(wanted[1]))


dyadic = st.integers(-32, 64).map(lambda n: n / 16)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    ticks=st.lists(st.one_of(st.integers(0, T - 1), st.just(INF)), min_size=1),
    outputs=st.integers(1, 4),
    seed=st.integers(0, 2**31),
    v_th=st.sampled_from([0.25, 1.0, 2.5]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_spikes_are_those_of_the_layer_form(ticks, outputs, seed, v_th, dtype):
    """Sums of sixteenths are exact, so even a touch of the threshold must agree."""
    ticks = torch.tensor([ticks], dtype=dtype)
    g = torch.Generator().manual_seed(seed)
    weight = torch.randint(-32, 65, (outputs, ticks.shape[1]), generator=g) / 16
    weight = weight.to(dtype)
    (loop,) = loop_form(times_to_train(ticks, T), [weight], v_th)
    (layer,) = layer_form(ticks, [weight], v_th)
    assert loop.dtype == dtype and torch.equal(loop, layer)


def run(currents, v_th=1.0):
    """Spikes of all ticks (time, ...) for given input currents."""
    state, spikes = None, []
    for current in currents.unbind(0):
        z, state = if_step(current, state, v_th)
        spikes.append(z)
    return torch.stack(spikes), state


def test_an_input_acts_in_its_own_tick_and_a_touch_of_the_threshold_does_not_fire():
    currents = torch.tensor([[0.5, 1.0, 0.1], [0.5, 0.5, 0.0], [0.5, 0.0, 0.0]])
    v_th = torch.tensor([1.0, 1.0, 0.1])
    spikes, state = run(currents, v_th)
    assert spikes.T.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert state.fired.tolist() == [True, True, False]
    assert not run(currents[:1, 2:], 0.1)[0].any()  # the number is rounded like V


def test_a_neuron_fires_once_and_its_potential_goes_on():
    spikes, state = run(torch.tensor([[2.0], [-5.0], [9.0]]))
    assert spikes.flatten().tolist() == [1, 0, 0]
    assert state.v.item() == 6.0


def test_inputs_up_to_the_spike_are_causal_and_no_other_tick_of_the_loss_counts():
    currents = torch.full((6, 1), 0.4, dtype=torch.float64, requires_grad=True)
    spikes, _ = run(currents)
    assert spikes.flatten().tolist() == [0, 0, 1, 0, 0, 0]
    factor = torch.tensor([7.0, 11, 3, 13, 17, 19], dtype=torch.float64)[:, None]
    (grad,) = torch.autograd.grad((spikes * factor).sum(), currents)
    assert grad.flatten().tolist() == [3, 3, 3, 0, 0, 0]


def test_silent_neurons_take_no_gradient_whatever_reaches_them():
    currents = torch.full((5, 2), 0.01, dtype=torch.float64, requires_grad=True)
    spikes, _ = run(currents)
    (grad,) = torch.autograd.grad(spikes, currents, torch.full_like(spikes, math.nan))
    assert spikes.sum() == 0 and grad.abs().sum() == 0


def test_the_threshold_takes_no_gradient():
    v_th = torch.ones(2, requires_grad=True)
    currents = torch.ones(3, 2, requires_grad=True)
    spikes, _ = run(currents, v_th)
    grads = torch.autograd.grad(spikes.sum(), (v_th, currents), allow_unused=True)
    assert grads[0] is None and grads[1].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept(dtype):
    spikes, state = run(torch.ones(4, 3, dtype=dtype))
    assert spikes.dtype == state.v.dtype == dtype
    assert state.fired.dtype == torch.bool


def test_detached_state_cuts_the_graph():
    _, state = run(torch.ones(2, 1, requires_grad=True))
    assert state.v.requires_grad
    detached = state.detach()
    assert isinstance(detached, IFState) and not detached.v.requires_grad
    assert torch.equal(detached.v, state.v) and detached.fired.all()


def test_functional_transforms_agree_with_backward():
    currents = torch.rand(8, 5, dtype=torch.float64)
    tick = torch.arange(1.0, 9.0, dtype=torch.float64)[:, None]

    def loss(gain):
        return (run(currents * gain)[0] * tick**2).sum()

    gains = (torch.rand(3, 5, dtype=torch.float64) + 1).requires_grad_()
    wanted = [torch.autograd.grad(loss(g), g)[0] for g in gains]
    got = torch.func.vmap(torch.func.grad(loss))(gains.detach())
    assert got.abs().sum() > 0
    torch.testing.assert_close(got, torch.stack(wanted), rtol=1e-12, atol=0)


def test_a_second_derivative_is_refused():
    currents = torch.ones(4, 1, dtype=torch.float64, requires_grad=True)
    spikes, _ = run(currents)
    (grad,) = torch.autograd.grad(spikes[1].square(), currents, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("v_th", [0.0, -1.0, math.nan])
def test_bad_thresholds_are_named(v_th):
    with pytest.raises(ValueError, match=f"v_th={v_th}"):
        if_step(torch.ones(2), None, v_th)


def test_a_state_of_another_shape_is_an_error():
    _, state = run(torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"shape \(4,\) but .* \(3,\)"):
        if_step(torch.ones(3), state, 1.0)
