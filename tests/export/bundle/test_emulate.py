"""The emulators against the literal oracle and against the real-valued layers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_temporal_plugins.export import (
    SILENT,
    ExportCode,
    ExportError,
    IntegerDense,
    IntegerNetwork,
    PoolLayer,
    emulate,
    emulate_by_tick,
    widths,
)
from snn_temporal_plugins.kernels import threads
from snn_temporal_plugins.neurons import (
    EarliestSpikePool2d,
    ReLPSPConv2d,
    ReLPSPLinear,
)
from tests.export.emulators import agreed, assert_equal_to_oracle
from tests.export.networks import (
    conv_network,
    dense,
    dense_network,
    random_conv,
    random_dense,
    random_ticks,
    step_network,
)
from tests.oracles import integer_network as oracle

fast = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


@fast
@given(seed=seeds, num_ticks=st.integers(2, 50), threshold=st.integers(1, 200))
def test_dense_layers_equal_the_oracle(seed, num_ticks, threshold):
    network = dense_network(seed, (9, 7, 4), num_ticks, threshold)
    ticks = random_ticks(np.random.default_rng(seed), (3, 9), num_ticks)
    assert_equal_to_oracle(network, ticks)
    assert_equal_to_oracle(step_network(network, 1 + threshold // 8), ticks)


@settings(fast, max_examples=25)
@given(
    seed=seeds,
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    size=st.tuples(st.integers(4, 7), st.integers(4, 7)),
)
def test_convolutions_and_pools_equal_the_oracle(seed, kernel, stride, padding, size):
    rng = np.random.default_rng(seed)
    conv = random_conv(rng, 2, 3, kernel, stride=stride, padding=padding, threshold=15)
    rows, columns = ((n + 2 * padding - kernel) // stride + 1 for n in size)
    pool = PoolLayer(2, 1, 1)
    last = random_dense(rng, 3 * (rows + 1) * (columns + 1), 2)
    network = IntegerNetwork((conv, pool, last), (2, *size), 20, 1.0)
    ticks = random_ticks(rng, (2, 2, *size), 20)
    assert_equal_to_oracle(network, ticks)
    assert_equal_to_oracle(step_network(network), ticks)


def test_a_whole_convolutional_network_equals_the_oracle():
    ticks = random_ticks(np.random.default_rng(5), (2, 2, 8, 8), 40)
    assert_equal_to_oracle(conv_network(), ticks)
    assert_equal_to_oracle(step_network(conv_network()), ticks)


@fast
@given(seed=seeds, threshold=st.integers(1, 100))
def test_dense_layer_equals_the_real_layer_rounded_up(seed, threshold):
    rng = np.random.default_rng(seed)
    layer = random_dense(rng, 8, 6, threshold)
    ticks = random_ticks(rng, (5, 8), 30)
    real = ReLPSPLinear(8, 6, v_th=threshold, t_max=29, dtype=torch.float64)
    assert_equal_to_real(real, layer, ticks, 30)


@settings(fast, max_examples=15)
@given(seed=seeds, stride=st.integers(1, 2), padding=st.integers(0, 2))
def test_convolution_equals_the_real_layer_rounded_up(seed, stride, padding):
    rng = np.random.default_rng(seed)
    layer = random_conv(rng, 2, 3, 3, stride=stride, padding=padding)
    ticks = random_ticks(rng, (2, 2, 6, 6), 30)
    real = ReLPSPConv2d(
        2, 3, 3, v_th=40, stride=stride, padding=padding, t_max=29, dtype=torch.float64
    )
    assert_equal_to_real(real, layer, ticks, 30)


def assert_equal_to_real(real, layer, ticks, num_ticks):
    with torch.no_grad():
        real.weight.copy_(torch.as_tensor(layer.weight))
        times = torch.as_tensor(np.where(ticks == SILENT, np.inf, ticks))
        wanted = real(times).ceil().numpy()
    network = IntegerNetwork((layer,), ticks.shape[1:], num_ticks, 1.0)
    got = agreed(network, ticks).output_ticks
    np.testing.assert_array_equal(np.where(got == SILENT, np.inf, got), wanted)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1)])
def test_pool_equals_the_real_pool(kernel, stride, padding):
    ticks = random_ticks(np.random.default_rng(0), (3, 2, 7, 7), 30, silent=0.8)
    real = EarliestSpikePool2d(kernel, stride=stride, padding=padding)
    wanted = real(torch.as_tensor(np.where(ticks == SILENT, np.inf, ticks))).numpy()
    last = dense(np.ones((1, wanted[0].size)), 1)
    network = IntegerNetwork(
        (PoolLayer(kernel, stride, padding), last), (2, 7, 7), 30, 1.0
    )
    got = agreed(network, ticks).layer_ticks[0]
    np.testing.assert_array_equal(np.where(got == SILENT, np.inf, got), wanted)


@fast
@given(seed=seeds, num_ticks=st.integers(2, 40))
def test_registers_of_the_proved_width_never_change_a_spike(seed, num_ticks):
    rng = np.random.default_rng(seed)
    layer = dense(rng.integers(-31, 9, (6, 10)), rng.integers(1, 60, 6))
    ticks = random_ticks(rng, 10, num_ticks).tolist()
    slope_bits, potential_bits = widths(layer, num_ticks)
    floor = -(1 << (potential_bits - 1))
    for row, threshold in zip(layer.weight, layer.threshold, strict=True):
        free = oracle.ramp(row.tolist(), ticks, int(threshold), num_ticks)
        narrow = oracle.ramp(row.tolist(), ticks, int(threshold), num_ticks, floor)
        assert free == narrow
        assert all(abs(slope) < 1 << (slope_bits - 1) for slope in free[1])


@fast
@given(seed=seeds, num_ticks=st.integers(2, 40))
def test_the_potential_of_a_step_never_leaves_its_register(seed, num_ticks):
    rng = np.random.default_rng(seed)
    layer = dense(rng.integers(-31, 9, (6, 10)), rng.integers(1, 60, 6))
    slope_bits, potential_bits = widths(layer, num_ticks, "step")
    assert slope_bits == 0
    limit = 1 << (potential_bits - 1)
    assert (layer.threshold < limit).all()
    for row in layer.weight.tolist():
        order = rng.permutation(10) % num_ticks
        for ticks in (order, np.where(np.array(row) < 0, 0, num_ticks - 1)):
            potentials = oracle.step(row, ticks.tolist(), 99, num_ticks, set(ticks))[1]
            assert all(-limit <= potential < limit for potential in potentials)


def test_a_step_needs_every_bit_of_its_register():
    weight = np.array([[-8, -8, 9]])
    assert widths(dense(weight, 1), 5, "step") == (0, 6)
    assert widths(dense(-weight, 1), 5, "step") == (0, 6)
    assert widths(dense(weight, 40), 5, "step") == (0, 7)
    # Saturated at -8, one bit and more too narrow, it would fire after -8 -8 +9.
    network = IntegerNetwork((dense(weight, 1),), (3,), 5, 1.0, "step")
    assert agreed(network, [[0, 0, 1]]).output_ticks == SILENT


def test_a_step_acts_in_its_own_tick_and_all_at_once():
    """Equality fires; what comes in one tick is added up before anything fires."""
    first, last = dense([[5, -3]], 3), dense([[2]], 2)
    network = IntegerNetwork((first, last), (2,), 4, 1.0, "step")
    ticks = [[0, SILENT], [3, SILENT], [1, 1], [1, 2], [2, 1], [SILENT, 0]]
    result = agreed(network, ticks)
    assert result.layer_ticks[0][:, 0].tolist() == [0, 3, SILENT, 1, SILENT, SILENT]
    np.testing.assert_array_equal(*result.layer_ticks)
    assert result.counts.updates[:, 0].tolist() == [1, 1, 1, 1, 2, 1]
    assert result.counts.updates[:, 1].tolist() == [1, 1, 0, 1, 0, 0]


def test_widths_of_the_worst_case_are_those_of_the_specification():
    for bits, slope, potential in ((5, 15, 23), (8, 18, 26)):
        weight = np.full((1, 784), (1 << (bits - 1)) - 1)
        assert widths(dense(weight, 1), 256) == (slope, potential)


def test_potentials_beyond_float32_are_exact():
    weight = np.full((1, 2000), 127)
    layer = dense(weight, 2000 * 127 * 254 + 1)
    network = IntegerNetwork((layer,), (2000,), 256, 1.0)
    assert agreed(network, np.zeros((1, 2000), int)).output_ticks == 255
    lower = IntegerDense(layer.weight, layer.threshold - 1, layer.scale)
    network = IntegerNetwork((lower,), (2000,), 256, 1.0)
    assert agreed(network, np.zeros((1, 2000), int)).output_ticks == 254


def test_steps_beyond_float32_are_exact():
    weight = np.full((1, 140_000), 127)
    network = IntegerNetwork((dense(weight, weight.sum()),), (140_000,), 9, 1.0, "step")
    ticks = np.zeros((2, 140_000), int)
    ticks[1, 0] = SILENT
    assert agreed(network, ticks).output_ticks.tolist() == [[0], [SILENT]]


def test_steps_that_come_back_from_beyond_float32_are_exact():
    half = 70_000
    weight = np.repeat([-127, 127, 127, 1], [2 * half + 1, half, half + 1, 1])
    ticks = np.repeat([0, 1, 2, 3], [2 * half + 1, half, half + 1, 1])
    network = IntegerNetwork((dense(weight[None], 1),), weight.shape, 9, 1.0, "step")
    assert agreed(network, ticks[None]).output_ticks == 3


@pytest.mark.parametrize("make", [conv_network, lambda: step_network(conv_network())])
def test_threads_do_not_show(make, monkeypatch):
    rng = np.random.default_rng(0)
    network, ticks = make(), random_ticks(rng, (7, 2, 8, 8), 40)
    alone = [agreed(network, ticks[n : n + 1]) for n in range(7)]
    monkeypatch.setattr(threads, "_MIN_WORK_PER_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = agreed(network, ticks)
    finally:
        torch.set_num_threads(before)
    for layer, ticks in enumerate(together.layer_ticks):
        parts = [one.layer_ticks[layer] for one in alone]
        np.testing.assert_array_equal(ticks, np.concatenate(parts))
    for name in ("spikes", "operations", "updates"):
        parts = [getattr(one.counts, name) for one in alone]
        counts = getattr(together.counts, name)
        np.testing.assert_array_equal(counts, np.concatenate(parts))


def test_an_empty_batch_gives_an_empty_answer():
    for network in (dense_network(), conv_network(), step_network(conv_network())):
        result = agreed(network, np.zeros((0, *network.input_shape), int))
        assert result.output_ticks.shape == (0, network.shapes[-1][0])
        assert result.counts.spikes.shape == (0, len(network.layers) + 1)


def test_an_unknown_response_is_named():
    with pytest.raises(ExportError, match=r"'leaky'; allowed: .*'step'") as caught:
        IntegerNetwork((dense([[1]], 1),), (1,), 9, 1.0, "leaky")
    assert caught.value.code is ExportCode.PARAMETER


@pytest.mark.parametrize("emulator", [emulate, emulate_by_tick])
@pytest.mark.parametrize(
    ("ticks", "what"),
    [
        (np.zeros((2, 12)), "dtype float64"),
        (np.zeros((2, 11), int), r"allowed: \(batch, 12\)"),
        (np.zeros(12, int), r"allowed: \(batch, 12\)"),
        (np.full((2, 12), 40), "input tick 40"),
        (np.full((2, 12), -1), "input tick -1"),
    ],
)
def test_bad_ticks_are_named(ticks, what, emulator):
    with pytest.raises(ValueError, match=what):
        emulator(dense_network(), ticks)
