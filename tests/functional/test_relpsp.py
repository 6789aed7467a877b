import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_temporal_plugins import stdbp, train_to_times
from snn_temporal_plugins.functional.relpsp import (
    ReLPSPState,
    relpsp_initial_state,
    relpsp_step,
)

INF = math.inf
HORIZON = 3.0  # in the unit of time; a grid of T ticks has dt = HORIZON / T


def round_up(time):
    """Round to the next tick, with the gradient straight through."""
    return torch.where(time < INF, time + (time.ceil() - time).detach(), INF)


def layer_form(ticks, weights, num_steps, v_th=1.0, slope_clip=None):
    """Spike times of every layer, in ticks, by the rule on whole spike times."""
    times = []
    for weight in weights:
        ticks = stdbp(ticks, weight, v_th * num_steps / HORIZON, slope_clip=slope_clip)
        ticks = round_up(torch.where(ticks > num_steps - 1, INF, ticks))
        times.append(ticks)
    return times


def loop_form(ticks, weights, num_steps, v_th=1.0, slope_clip=None):
    """The same by a user's own loop over ticks."""
    states = [None] * len(weights)
    trains = [[] for _ in weights]
    for tick in range(num_steps):
        spikes = (ticks == tick).to(ticks.dtype)
        for i, weight in enumerate(weights):
            spikes, states[i] = relpsp_step(
                spikes @ weight.T,
                states[i],
                v_th,
                HORIZON / num_steps,
                slope_clip=slope_clip,
            )
            trains[i].append(spikes)
    return [train_to_times(torch.stack(train)) for train in trains]


def network(sizes, num_steps, seed, batch=4):
    """Input ticks, weights and the weights of a linear loss on the output times."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = torch.rand(batch, sizes[0], generator=generator, dtype=torch.float64)
    inputs = (inputs * num_steps / 3).ceil()
    inputs[:, 0] = INF
    weights = [
        (1.5 * normal(post, pre) / pre**0.5 + 1.5 / pre).requires_grad_()
        for pre, post in pairwise(sizes)
    ]
    return inputs, weights, normal(batch, sizes[-1])


def loss_of(times, coefficients):
    return (torch.where(times < INF, times, 0.0) * coefficients).sum()


def close_pairs(times):
    """Count pairs whose post-neuron fires within the tick after its pre-neuron."""
    return sum(
        int(((post[:, :, None] - pre[:, None, :]) == 1).sum())
        for pre, post in pairwise(times)
    )


def relative_error(wanted, got):
    wanted, got = (torch.cat([g.flatten() for g in grads]) for grads in (wanted, got))
    return float((wanted - got).norm() / wanted.norm())


def compare(sizes, num_steps, seed, **options):
    """Gradients of the loop form and the layer form, and the number of close pairs."""
    inputs, weights, coefficients = network(sizes, num_steps, seed)
    layer = layer_form(inputs, weights, num_steps, **options)
    loop = loop_form(inputs, weights, num_steps, **options)
    for wanted, got in zip(layer, loop, strict=True):
        assert torch.equal(wanted, got)
    assert (loop[-1] < INF).any()
    wanted = torch.autograd.grad(loss_of(layer[-1], coefficients), weights)
    got = torch.autograd.grad(loss_of(loop[-1], coefficients), weights)
    return wanted, got, close_pairs(layer)


@pytest.mark.parametrize("sizes", [(12, 8, 4), (12, 10, 8, 4)])
@pytest.mark.parametrize("seed", (1, 2, 3))
def test_gradient_is_the_layer_forms_where_no_pair_is_close(sizes, seed):
    wanted, got, pairs = compare(sizes, num_steps=1200, seed=seed)
    assert pairs == 0
    assert relative_error(wanted, got) < 1e-10


def test_last_layers_gradient_is_always_exact():
    wanted, got, pairs = compare((12, 10, 8, 4), num_steps=40, seed=1)
    assert pairs > 0
    assert relative_error(wanted[-1:], got[-1:]) < 1e-10
    assert relative_error(wanted[:-1], got[:-1]) > 1e-3


def fraction_law(inputs, weights, coefficients, num_steps):
    """Weight gradients by the documented law, written out pair by pair.

    A post-neuron that crosses at t* pulls on a pre-neuron of tick n_i with
    min(1, t* - n_i): its fraction of the tick where the pair is close.
    """
    theta = num_steps / HORIZON
    times, exact = [inputs], []
    with torch.no_grad():
        for weight in weights:
            crossing = stdbp(times[-1], weight, theta)
            exact.append(torch.where(crossing > num_steps - 1, INF, crossing))
            times.append(exact[-1].ceil())
        error = torch.where(times[-1] < INF, coefficients, 0.0)
        grads = []
        for layer in reversed(range(len(weights))):
            weight, pre, crossing = weights[layer], times[layer], exact[layer]
            causal = pre[:, None, :] < crossing[:, :, None]
            causal &= (crossing < INF)[:, :, None]
            slope = torch.where(causal, weight, 0.0).sum(2)
            delta = torch.where(
                crossing < INF, error / torch.where(slope > 0, slope, 1.0), 0.0
            )
            elapsed = torch.where(
                causal, crossing[:, :, None] - pre[:, None, :].nan_to_num(posinf=0), 0.0
            )
            grads.append(-torch.einsum("bj,bji->ji", delta, elapsed))
            error = torch.einsum("bj,ji,bji->bi", delta, weight, elapsed.clamp(max=1.0))
        return grads[::-1]


@pytest.mark.parametrize("seed", range(3))
def test_a_close_pair_counts_with_its_fraction_of_the_tick(seed):
    inputs, weights, coefficients = network((12, 10, 8, 4), 40, seed)
    loop = loop_form(inputs, weights, 40)
    assert close_pairs(loop) > 0
    got = torch.autograd.grad(loss_of(loop[-1], coefficients), weights)
    wanted = fraction_law(inputs, weights, coefficients, 40)
    assert relative_error(wanted, got) < 1e-10


def test_error_falls_linearly_with_the_tick():
    grids, errors = (30, 120, 480), []
    for num_steps in grids:
        errors.append(0.0)
        for seed in range(4):
            inputs, weights, coefficients = network(
                (30, 20, 10, 5), num_steps, seed, batch=16
            )
            wanted, got = (
                torch.autograd.grad(
                    loss_of(form(inputs, weights, num_steps)[-1], coefficients), weights
                )
                for form in (layer_form, loop_form)
            )
            errors[-1] += sum(
                float((a - b).abs().sum()) for a, b in zip(wanted, got, strict=True)
            ) / sum(float(a.abs().sum()) for a in wanted)
    order = math.log(errors[0] / errors[-1]) / math.log(grids[-1] / grids[0])
    assert errors[0] > errors[1] > errors[2]
    assert 0.75 < order < 1.5


@pytest.mark.parametrize("per_neuron", [False, True])
def test_threshold_gradient_is_the_layer_forms(per_neuron):
    inputs, weights, coefficients = network((12, 8), 300, seed=4)
    v_th = torch.full((8,) if per_neuron else (), 0.7, dtype=torch.float64)
    v_th.requires_grad_()
    wanted, got = (
        torch.autograd.grad(
            loss_of(form(inputs, weights, 300, v_th=v_th)[-1], coefficients), v_th
        )
        for form in (layer_form, loop_form)
    )
    assert got[0].abs().sum() > 0
    torch.testing.assert_close(got[0], wanted[0], rtol=1e-10, atol=0)


def test_slope_clip_means_what_it_means_in_the_layer_form():
    exact = compare((12, 8, 4), num_steps=1200, seed=1)
    clipped = compare((12, 8, 4), num_steps=1200, seed=1, slope_clip=0.5)
    assert exact[2] == clipped[2] == 0
    assert relative_error(*clipped[:2]) < 1e-10
    assert relative_error(exact[1], clipped[1]) > 0.01


dyadic = st.integers(-32, 64).map(lambda n: n / 16)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    ticks=st.lists(st.one_of(st.integers(0, 12), st.just(INF)), min_size=5, max_size=5),
    weight=st.lists(st.lists(dyadic, min_size=5, max_size=5), min_size=3, max_size=3),
    v_th=st.sampled_from([0.25, 1.0, 2.5]),
)
def test_spikes_are_those_of_the_layer_form_rounded_up(ticks, weight, v_th):
    """Sums of sixteenths are exact, so even a touch of the threshold must agree."""
    ticks = torch.tensor([ticks], dtype=torch.float64)
    weight = torch.tensor(weight, dtype=torch.float64)
    loop = loop_form(ticks, [weight], 24, v_th=v_th)
    layer = layer_form(ticks, [weight], 24, v_th=v_th)
    assert torch.equal(loop[0], layer[0])


def run(currents, v_th=1.0, dt=0.5):
    """Spikes of all ticks (time, batch) for given input currents."""
    state, spikes = None, []
    for current in currents.unbind(0):
        z, state = relpsp_step(current, state, v_th, dt)
        spikes.append(z)
    return torch.stack(spikes), state


def test_an_input_first_acts_one_tick_later_and_reaching_the_threshold_fires():
    currents = torch.zeros(6, 1)
    currents[1] = 1.0  # V = 0, 1, 2 at ticks 1, 2, 3; v_th/dt = 2
    assert run(currents)[0].flatten().tolist() == [0, 0, 0, 1, 0, 0]


def test_a_neuron_fires_once_and_feels_nothing_afterwards():
    currents = torch.ones(6, 1, dtype=torch.float64, requires_grad=True)
    spikes, _ = run(currents)
    (grad,) = torch.autograd.grad(spikes[2].sum(), currents)
    assert spikes.flatten().tolist() == [0, 0, 1, 0, 0, 0]
    assert grad[2:].abs().sum() == 0  # inputs of the firing tick and later
    assert (grad[:2] != 0).all()


def test_only_the_difference_of_two_ticks_counts():
    """A loss equal in all ticks but the last does not depend on the spike's time."""
    currents = torch.ones(6, 1, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(run(currents)[0].sum(), currents)
    assert grad.abs().sum() == 0


def test_a_spike_in_the_last_tick_has_a_gradient():
    currents = torch.ones(3, 1, dtype=torch.float64, requires_grad=True)
    spikes, _ = run(currents)
    assert spikes.flatten().tolist() == [0, 0, 1]
    (grad,) = torch.autograd.grad(-spikes[2].sum(), currents)
    # t* = 1 + 1/2: V = 1 at tick 1, slope 2; dt*/dI = -(t* - n)/slope
    assert grad.flatten().tolist() == [-0.75, -0.25, 0]


def test_silent_neurons_take_no_gradient_whatever_reaches_them():
    currents = torch.full((5, 2), 0.01, dtype=torch.float64, requires_grad=True)
    spikes, _ = run(currents)
    factor = torch.randn(5, 2, dtype=torch.float64)
    (grad,) = torch.autograd.grad((spikes * factor).sum(), currents)
    assert spikes.sum() == 0 and grad.abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept_and_the_link_is_zero(dtype):
    spikes, state = run(torch.ones(4, 3, dtype=dtype))
    assert spikes.dtype == state.v.dtype == state.slope.dtype == dtype
    assert state.fired.dtype == torch.bool
    assert state.link.abs().sum() == 0


def test_detached_state_cuts_the_graph():
    currents = torch.ones(2, 1, requires_grad=True)
    _, state = run(currents)
    assert state.v.requires_grad
    assert not any(field.requires_grad for field in state.detach())


def test_a_falling_potential_above_threshold_gives_no_infinite_gradient():
    """Such a state can only come from outside, for example a lowered threshold."""
    current = torch.zeros(1, dtype=torch.float64)
    slope = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    fresh = relpsp_initial_state(current)
    state = ReLPSPState(slope, fresh.v + 9.0, fresh.fired, fresh.link)
    spikes, _ = relpsp_step(current, state, 1.0, 0.5)
    (grad,) = torch.autograd.grad(spikes.sum(), slope)
    assert spikes.item() == 1 and grad.item() == 0


def test_functional_transforms_agree_with_backward():
    currents = torch.rand(8, 5, dtype=torch.float64)
    tick = torch.arange(8.0, dtype=torch.float64)[:, None]

    def loss(gain):
        return (run(currents * gain)[0] * tick**2).sum()

    gains = torch.rand(3, 5, dtype=torch.float64) + 1
    wanted = [torch.autograd.grad(loss(g), g)[0] for g in gains.requires_grad_()]
    got = torch.func.vmap(torch.func.grad(loss))(gains.detach())
    torch.testing.assert_close(got, torch.stack(wanted), rtol=1e-12, atol=0)


def test_a_second_derivative_is_refused():
    currents = torch.ones(4, 1, dtype=torch.float64, requires_grad=True)
    spikes, _ = run(currents)
    (grad,) = torch.autograd.grad(spikes[2].square(), currents, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize(
    ("v_th", "dt", "clip", "message"),
    [
        (1.0, 0.0, None, "dt=0.0"),
        (1.0, math.nan, None, "dt=nan"),
        (1.0, 0.1, -1.0, "slope_clip=-1.0"),
        (0.0, 0.1, None, "v_th=0.0"),
    ],
)
def test_bad_numbers_are_named(v_th, dt, clip, message):
    with pytest.raises(ValueError, match=message):
        relpsp_step(torch.ones(2), None, v_th, dt, slope_clip=clip)


def test_a_state_of_another_shape_is_an_error():
    _, state = run(torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"shape \(4,\) but .* \(3,\)"):
        relpsp_step(torch.ones(3), state, 1.0, 0.5)
