"""All emulators on random networks and at the edges of what registers hold."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_temporal_plugins.export import (
    SILENT,
    BundleCode,
    BundleError,
    ExportCode,
    ExportError,
    IntegerDense,
    IntegerNetwork,
    emulate,
    widths,
    write_bundle,
)
from snn_temporal_plugins.export.bundle import golden
from snn_temporal_plugins.export.bundle.integer import MAX_REGISTER_BITS
from tests.export.emulators import (
    agreed,
    assert_equal_to_oracle,
    assert_equal_to_plain_reader,
)
from tests.export.networks import conv_network, dense, dense_network, step_network
from tests.export.random_networks import FEW, MANY, random_trial

LARGEST = (1 << (MAX_REGISTER_BITS - 1)) - 1
TICKS = [2, 3, 17, 300, 65535]


def assert_all_equal(seed, folder):
    network, ticks = random_trial(seed)
    assert_equal_to_oracle(network, ticks)
    assert_equal_to_plain_reader(network, ticks, folder / "net")


@pytest.mark.parametrize("seed", FEW)
def test_all_emulators_are_equal(seed, tmp_path):
    assert_all_equal(seed, tmp_path)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", MANY)
def test_all_emulators_are_equal_on_many_networks(seed, tmp_path):
    assert_all_equal(seed, tmp_path)


def first_ticks(layer, ticks, num_ticks, response):
    """First crossings `(batch, out)` by the sum of the responses in every tick."""
    now = np.arange(num_ticks)[:, None]
    weight = layer.weight.T.astype(np.int64)
    found = []
    for sample in np.asarray(ticks, np.int64):
        if response == "ramp":
            effect = np.maximum(now - sample, 0)
        else:
            effect = ((sample <= now) & (sample != SILENT)).astype(np.int64)
        crossed = effect @ weight >= layer.threshold
        found.append(np.where(crossed.any(axis=0), crossed.argmax(axis=0), SILENT))
    return np.array(found)


@st.composite
def edges(draw):
    """A dense layer whose registers may be full, and ticks at the ends of the range."""
    response = draw(st.sampled_from(["ramp", "step"]))
    num_ticks = draw(st.sampled_from(TICKS))
    inputs, outputs = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    times = num_ticks if response == "ramp" else 1
    most = (LARGEST // 2) // (times * inputs)  # of one weight
    largest = min(most, draw(st.sampled_from([1, 15, 127, 1 << 23, LARGEST])))
    weight = draw(
        st.lists(
            st.sampled_from([-largest, -largest + 1, -1, 0, 1, largest - 1, largest]),
            min_size=inputs * outputs,
            max_size=inputs * outputs,
        )
    )
    weight = np.array(weight).reshape(outputs, inputs)
    rise = int(np.maximum(weight, 0).sum(axis=1).max())
    threshold = st.sampled_from([1, 2, rise, times * rise, LARGEST // 2])
    threshold = [max(1, draw(threshold)) for _ in range(outputs)]
    moment = st.sampled_from([0, 1, num_ticks // 2, num_ticks - 2, num_ticks - 1])
    tick = st.one_of(moment, st.just(SILENT))
    ticks = draw(
        st.lists(
            st.lists(tick, min_size=inputs, max_size=inputs), min_size=1, max_size=3
        )
    )
    network = IntegerNetwork(
        (dense(weight, threshold),), (inputs,), num_ticks, 1.0, response
    )
    return network, np.array(ticks)


@settings(max_examples=150)
@given(trial=edges())
def test_edges_of_time_and_registers(trial):
    network, ticks = trial
    got = agreed(network, ticks).output_ticks
    layer = network.layers[0]
    wanted = first_ticks(layer, ticks, network.num_ticks, network.response)
    np.testing.assert_array_equal(got, wanted)
    if network.num_ticks <= 300:
        assert_equal_to_oracle(network, ticks)


def test_full_registers_do_not_overflow():
    """The largest that a network may hold is far inside the emulators' 64 bits.

    Slopes and thresholds stay below 2**31 and ticks below 2**16, so `A t` stays below
    2**47 and `threshold + sum w t` below 2**48: these come close.
    """
    num_ticks = 65535
    rise = LARGEST // num_ticks
    weight = [[rise, -LARGEST], [rise, 0], [0, -LARGEST]]
    layer = dense(weight, [1, rise * (num_ticks - 1), LARGEST])
    network = IntegerNetwork((layer,), (2,), num_ticks, 1.0)
    assert widths(layer, num_ticks) == (32, 32)
    ticks = [[0, 0], [0, num_ticks - 1], [0, SILENT], [SILENT, 0], [1, 0]]
    got = agreed(network, ticks).output_ticks
    last = num_ticks - 1
    assert got[:, 0].tolist() == [SILENT, 1, 1, SILENT, SILENT]
    assert got[:, 1].tolist() == [last, last, last, SILENT, SILENT]
    assert (got[:, 2] == SILENT).all()
    np.testing.assert_array_equal(got, first_ticks(layer, ticks, num_ticks, "ramp"))


def test_slopes_that_no_register_holds_are_refused():
    layer = dense([[1, -LARGEST, -1]], 1)
    with pytest.raises(ExportError, match="a slope of 33 bits") as caught:
        IntegerNetwork((layer,), (3,), 2, 1.0)
    assert caught.value.code is ExportCode.WIDTH


@pytest.mark.parametrize("response", ["ramp", "step"])
def test_silence_gives_silence(response):
    for network in (dense_network(), conv_network()):
        if response == "step":
            network = step_network(network)
        ticks = np.full((2, *network.input_shape), SILENT)
        result = assert_equal_to_oracle(network, ticks)
        assert all((layer == SILENT).all() for layer in result.layer_ticks)


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    tick=st.integers(0, 9),
    response=st.sampled_from(["ramp", "step"]),
)
def test_spikes_of_one_tick_in_any_order(seed, tick, response):
    """Ties: all inputs in two ticks; the order of the inputs does not matter."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-3, 4, (5, 12))
    layer = dense(weight, rng.integers(1, 6, 5))
    ticks = np.where(rng.random((4, 12)) < 0.5, tick, 9)
    network = IntegerNetwork((layer,), (12,), 10, 1.0, response)
    result = assert_equal_to_oracle(network, ticks)
    order = rng.permutation(12)
    turned = replace(
        network,
        layers=(
            IntegerDense(
                weight[:, order].astype(np.int32), layer.threshold, layer.scale
            ),
        ),
    )
    other = agreed(turned, ticks[:, order])
    np.testing.assert_array_equal(result.output_ticks, other.output_ticks)


@pytest.mark.parametrize("change", ["ticks", "operations"])
def test_golden_results_need_both_emulators(tmp_path, monkeypatch, change):
    """A bundle is not written if one emulator finds anything else."""

    def wrong(network, ticks):
        result = emulate(network, ticks)
        if change == "operations":
            counts = replace(result.counts, operations=result.counts.operations + 1)
            return replace(result, counts=counts)
        moved = np.minimum(result.output_ticks + 1, SILENT)
        return replace(result, layer_ticks=(*result.layer_ticks[:-1], moved))

    monkeypatch.setattr(golden, "emulate", wrong)
    with pytest.raises(BundleError, match="closed form disagree") as caught:
        write_bundle(dense_network(), tmp_path / "net")
    assert caught.value.code is BundleCode.GOLDEN
    assert not list(tmp_path.iterdir())
