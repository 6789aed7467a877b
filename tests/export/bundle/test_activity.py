"""Counts up to a tick are those of the emulator; words follow from the counts."""

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    SILENT,
    IntegerNetwork,
    early_exit,
    emulate,
    estimate_cost,
    memory_words,
)
from snn_temporal_plugins.export.bundle.activity import count_until
from tests.export.networks import conv_network, dense, dense_network, random_ticks
from tests.export.random_networks import FEW, random_trial


@pytest.mark.parametrize("seed", FEW)
def test_counts_up_to_a_tick(seed):
    """A chip that stops after tick t does what one with t + 1 ticks does."""
    network, ticks = random_trial(seed)
    full = emulate(network, ticks)
    for last in (1, network.num_ticks // 2, network.num_ticks - 1):
        if last < 1:
            continue
        short = IntegerNetwork(
            network.layers, network.input_shape, last + 1, 1.0, network.response
        )
        cut = np.where(ticks <= last, ticks, SILENT)
        wanted = emulate(short, cut).counts
        got = count_until(network, full, np.full(len(ticks), last))
        for name in ("spikes", "operations", "updates"):
            np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))


@pytest.mark.parametrize("seed", FEW)
def test_an_early_exit_never_costs_more(seed):
    network, ticks = random_trial(seed)
    emulation = emulate(network, ticks)
    early, ran = early_exit(network, emulation)
    first = emulation.output_ticks.min(axis=1)
    assert ran.tolist() == [min(t + 1, network.num_ticks) for t in first.tolist()]
    for name in ("spikes", "operations", "updates"):
        assert (getattr(early, name) <= getattr(emulation.counts, name)).all()
    cost = estimate_cost(network, early, ticks=ran)
    whole = estimate_cost(network, emulation.counts)
    assert cost.energy_uj <= whole.energy_uj
    assert cost.latency_ms <= whole.latency_ms


def test_an_early_exit_by_hand():
    """One input at tick 2 makes the first neuron fire at 5; the other needs longer."""
    network = IntegerNetwork((dense([[1, 0], [1, 0]], [3, 9]),), (2,), 20, 1.0)
    emulation = emulate(network, [[2, 7], [SILENT, SILENT]])
    early, ran = early_exit(network, emulation)
    assert ran.tolist() == [6, 20]
    assert early.spikes.tolist() == [[1, 1], [0, 0]]
    assert early.operations.tolist() == [[2], [0]]
    assert early.updates.tolist() == [[12], [40]]


@pytest.mark.parametrize("response", ["ramp", "step"])
def test_memory_words(response):
    layers, shape = dense_network().layers, (12,)
    network = IntegerNetwork(layers, shape, 40, 1.0, response)
    counts = emulate(
        network, random_ticks(np.random.default_rng(0), (3, 12), 40)
    ).counts
    words = memory_words(network, counts)
    added, updated = counts.operations, counts.updates
    expected = {
        "weights": (added, 0 * added),
        "targets": (0 * added, 0 * added),
        "routes": (counts.spikes[:, :-1], 0 * added),
        "slopes": (added + updated, added),
        "potentials": (updated, updated),
        "thresholds": (updated, 0 * added),
        "queues": (counts.spikes[:, :-1], counts.spikes[:, 1:]),
    }
    if response == "step":
        expected["slopes"] = (0 * added, 0 * added)
        expected["potentials"] = (added + updated, added)
    assert list(words) == list(expected)
    for name, (read, written) in expected.items():
        np.testing.assert_array_equal(words[name].read, read, name)
        np.testing.assert_array_equal(words[name].written, written, name)


def test_a_convolution_reads_its_targets():
    network = conv_network()
    ticks = random_ticks(np.random.default_rng(0), (3, 2, 8, 8), 40)
    counts = emulate(network, ticks).counts
    targets = memory_words(network, counts)["targets"].read
    assert targets[:, 0].tolist() == counts.operations[:, 0].tolist()
    assert targets[:, -1].tolist() == [0, 0, 0]
