"""How far registers go, against one neuron and one spike at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.export import (
    SILENT,
    IntegerConv,
    IntegerNetwork,
    PoolLayer,
    register_use,
    widths,
)
from snn_temporal_plugins.export.bundle.golden_inputs import golden_cases
from snn_temporal_plugins.export.bundle.integer import Widths
from tests.export.emulators import agreed
from tests.export.networks import dense
from tests.export.random_networks import FEW, MANY, random_trial
from tests.oracles import integer_network as oracle

seeds = st.integers(0, 2**32 - 1)


def registers(weights, ticks, threshold, num_ticks, response, bits):
    """All values of G and of V of one neuron, as a core adds them up."""
    slope, potential, fired = 0, 0, False
    slopes, potentials = [0], [0]
    for tick in range(num_ticks):
        if response == "ramp" and not fired:
            potential = max(potential + slope, -(1 << (bits.potential_bits - 1)))
            potentials.append(potential)
            fired = potential >= threshold
        for weight, spike in zip(weights, ticks, strict=True):
            if spike == tick and response == "ramp":
                slope += weight
                slopes.append(slope)
            elif spike == tick:
                potential += weight
                potentials.append(potential)
    return slopes, potentials


def neurons(layer, source):
    """Weights, input ticks and threshold of each neuron of a layer."""
    if not isinstance(layer, IntegerConv):
        for row, threshold in zip(layer.weight, layer.threshold, strict=True):
            yield row.tolist(), source.ravel().tolist(), int(threshold)
        return
    kernel, stride, padding = layer.weight.shape[2], layer.stride, layer.padding
    rows, columns = ((n + 2 * padding - kernel) // stride + 1 for n in source.shape[1:])
    for row, threshold in zip(layer.weight, layer.threshold, strict=True):
        for y in range(rows):
            for x in range(columns):
                view = oracle.window(
                    source.tolist(), len(source), y, x, kernel, stride, padding
                )
                yield row.ravel().tolist(), view, int(threshold)


def assert_equal_to_single_neurons(seed, narrow):
    network, ticks = random_trial(seed)
    run = agreed(network, ticks)
    sources = (run.input_ticks, *run.layer_ticks)
    uses = register_use(network, ticks, narrow)
    assert len(uses) == len(network.layers)
    for layer, batch, use in zip(network.layers, sources, uses, strict=False):
        if isinstance(layer, PoolLayer):
            assert use is None
            continue
        bits = widths(layer, network.num_ticks, network.response)
        if narrow is None:
            assert not (use.slope_overflow or use.potential_overflow)
        else:
            bits = narrow
        slopes, potentials = [], []
        for source in batch:
            for neuron in neurons(layer, source):
                found = registers(*neuron, network.num_ticks, network.response, bits)
                slopes += found[0]
                potentials += found[1]
        assert use.slope == (min(slopes), max(slopes))
        assert use.potential == (min(potentials), max(potentials))
        if narrow is not None:
            break  # with registers this narrow the next layer sees other spikes


@pytest.mark.parametrize("narrow", [None, Widths(4, 5)])
@pytest.mark.parametrize("seed", FEW[:8])
def test_extremes_are_those_of_single_neurons(seed, narrow):
    assert_equal_to_single_neurons(seed, narrow)


@pytest.mark.sweep
@pytest.mark.parametrize("narrow", [None, Widths(4, 5)])
@pytest.mark.parametrize("seed", MANY[:200])
def test_extremes_are_those_of_single_neurons_on_many_networks(seed, narrow):
    assert_equal_to_single_neurons(seed, narrow)


@pytest.mark.parametrize("seed", FEW)
def test_flags_read_0_on_golden_inputs(seed):
    network = random_trial(seed).network
    cases = golden_cases(network, random=2)
    ticks = np.stack([case.ticks for case in cases if case.start_layer == 0])
    for use in register_use(network, ticks):
        assert use is None or not (use.slope_overflow or use.potential_overflow)


def use_of(weight, threshold, ticks, num_ticks, response, registers=None):
    network = IntegerNetwork(
        (dense(weight, threshold),), (len(ticks),), num_ticks, 1.0, response
    )
    return register_use(network, [ticks], registers)[0]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("response", "use"), [("ramp", "slope"), ("step", "potential")]
)
def test_the_proved_width_is_the_smallest_without_a_flag(sign, response, use):
    """All weights of one sign arrive: a bit less, and the flag rises."""
    weight = [[sign * 8, sign * 8]]
    for bits in (5, 6, 7):
        narrow = Widths(bits, 32) if response == "ramp" else Widths(0, bits)
        found = use_of(
            weight, 1000 if response == "ramp" else 1, [0, 0], 5, response, narrow
        )
        assert getattr(found, use) == ((0, 16) if sign > 0 else (-16, 0))
        assert getattr(found, f"{use}_overflow") == (16 * sign >= 1 << (bits - 1))
    proved = widths(dense(weight, 1), 5, response)
    assert getattr(proved, f"{use}_bits") == 6


def test_a_potential_that_overflows_at_the_top():
    found = [use_of([[60, 40]], 90, [0, 0], 9, "ramp", Widths(9, b)) for b in (7, 8)]
    assert [use.potential for use in found] == [(0, 100), (0, 100)]
    assert [use.potential_overflow for use in found] == [True, False]


def test_partial_sums_of_one_tick_count():
    """A core adds one weight after the other: +9 is in the register before -9."""
    for response, use in (("ramp", "slope"), ("step", "potential")):
        found = use_of([[9, -9, -2]], 50, [3, 3, 3], 9, response)
        assert getattr(found, use) == (-2, 9)


def test_a_ramp_saturates_and_freezes():
    proved = widths(dense([[1, -7]], 3), 9)
    found = use_of([[1, -7]], 3, [0, 0], 9, "ramp")
    lowest = -(1 << (proved.potential_bits - 1))
    assert found.potential == (lowest, 0)
    assert found.saturated
    assert not found.potential_overflow
    found = use_of([[2, -7]], 3, [0, 4], 9, "ramp")
    assert found.potential == (0, 4)  # frozen where it fired
    assert found.slope == (-5, 2)  # slopes go on
    assert not found.saturated


@given(seed=seeds)
def test_no_sample_is_a_register_that_holds_0(seed):
    network = random_trial(seed % 100).network
    uses = register_use(network, np.zeros((0, *network.input_shape), int))
    assert all(use is None or use.slope == use.potential == (0, 0) for use in uses)


@pytest.mark.parametrize("bits", [Widths(0, 8), Widths(8, 0), Widths(8, 33)])
def test_registers_that_do_not_exist_are_named(bits):
    with pytest.raises(ValueError, match="allowed: 1 to 32 bits"):
        use_of([[1]], 1, [SILENT], 9, "ramp", bits)
