"""The arithmetic of rounding: steps, thresholds, ticks and their gradients."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.functional.rounding import (
    RoundingError,
    integer_weights,
    largest_weight,
    nearest_tick,
    ramp_thresholds,
    require_integers,
    round_up,
    step_thresholds,
    straight_through,
    weight_steps,
)


def squared_error(weight, step, bits):
    whole = integer_weights(weight, step, largest_weight(bits))
    return (weight - whole * step[:, None]).square().sum(1)


@pytest.mark.parametrize("bits", range(2, 9))
def test_no_other_full_scale_has_a_smaller_error(bits):
    g = torch.Generator().manual_seed(bits)
    weight = torch.randn(6, 50, generator=g, dtype=torch.float64)
    step = weight_steps(weight, bits)
    least = squared_error(weight, step, bits)
    full = weight.abs().amax(1) / largest_weight(bits)
    for clip in np.linspace(0.3, 1.0, 29):
        assert (squared_error(weight, full * clip, bits) >= least - 1e-12).all()
    shared = weight_steps(weight, bits, shared=True)
    assert len(shared.unique()) == 1
    for clip in np.linspace(0.3, 1.0, 29):
        other = torch.full_like(shared, full.max() * clip)
        total = squared_error(weight, other, bits).sum()
        assert total >= squared_error(weight, shared, bits).sum() - 1e-12


def test_steps_follow_a_neurons_scale_and_survive_zeros():
    weight = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    step = weight_steps(weight, 4)
    assert torch.equal(weight_steps(weight * 8, 4), step * 8)
    assert torch.equal(weight_steps(weight.view(4, 1, 3, 3), 4), step)
    weight[2] = 0
    step = weight_steps(weight, 4)
    assert step[2] == 0.3 and (integer_weights(weight, step, 7)[2] == 0).all()


@pytest.mark.parametrize("bits", [1, 9, 6.5, -3])
def test_bad_bits(bits):
    with pytest.raises(ValueError, match=f"bits is {bits}; allowed: 2 to 8"):
        largest_weight(bits)


@given(
    v_th=st.one_of(st.floats(1e-3, 1e3), st.integers(1, 4000).map(lambda n: n * 0.1)),
    step=st.one_of(st.floats(1e-3, 10), st.sampled_from([0.1, 0.3, 0.125, 1 / 3])),
)
def test_a_steps_threshold_is_the_first_integer_above(v_th, step):
    (n,) = step_thresholds(
        torch.tensor([v_th], dtype=torch.float64),
        torch.tensor([step], dtype=torch.float64),
    ).tolist()
    assert Fraction(n) * Fraction(step) > Fraction(v_th)
    assert Fraction(n - 1) * Fraction(step) <= Fraction(v_th)


def test_a_ramps_threshold_is_rounded():
    v_th = torch.tensor([1.0, 1.24, 1.26])
    step = torch.full((3,), 0.5, dtype=torch.float64)
    assert ramp_thresholds(v_th, step, 0.5).tolist() == [4, 5, 5]


def test_what_rounds_to_nothing_is_refused():
    ones = torch.ones(2, 3)
    require_integers(ones, torch.ones(2))
    with pytest.raises(RoundingError, match="the threshold of neuron 1 rounds to 0"):
        require_integers(ones, torch.tensor([1.0, 0.0]))
    ones[1] = 0
    with pytest.raises(RoundingError, match=r"neuron 1 \(and 0 others\) round to 0"):
        require_integers(ones, torch.ones(2))


def test_times_go_to_the_nearest_tick_and_gradients_straight_through():
    inf = math.inf
    times = torch.tensor([0, 0.024, 0.125, 0.375, 0.5, 0.7, inf], requires_grad=True)
    ticks = nearest_tick(times, 3, 0.25)
    assert ticks.tolist() == [0, 0, 0, 2, 2, inf, inf]  # halves to even
    ticks.backward(torch.ones(7))
    assert times.grad.tolist() == [4, 4, 4, 4, 4, 0, 0]


def test_rounding_up_keeps_whole_ticks_and_silence():
    times = torch.tensor([0.0, 0.1, 1.0, 1.001, math.inf], requires_grad=True)
    ticks = round_up(times)
    assert ticks.tolist() == [0, 1, 1, 2, math.inf]
    ticks.backward(torch.arange(5.0))
    assert times.grad.tolist() == [0, 1, 2, 3, 4]


def test_straight_through_is_the_rounded_value_with_the_real_gradient():
    value = torch.tensor([[0.3, 0.9], [2.0, 4.1]], requires_grad=True)
    unit = torch.tensor([0.5, 2.0], dtype=torch.float64)
    whole = (value.detach() / unit[:, None]).round()
    out = straight_through(value, whole.to(value.dtype), unit)
    assert torch.equal(out, whole.to(value.dtype))
    out.backward(torch.ones(2, 2))
    assert value.grad.tolist() == [[2, 2], [0.5, 0.5]]
