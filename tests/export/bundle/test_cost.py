"""The estimate is composed as stated and meets the published point by construction."""

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    CostProfile,
    EventCounts,
    IntegerNetwork,
    emulate,
    estimate_cost,
    yoso_point,
)
from tests.export.networks import dense, dense_network, random_ticks


def all_fire(hidden):
    """784-hidden-10, every input at tick 0, every neuron only in the last tick."""
    first = dense(np.ones((hidden, 784)), 784 * 255)
    last = dense(np.ones((10, hidden)), 1 << 20)
    network = IntegerNetwork((first, last), (784,), 256, 1.0)
    return emulate(network, np.zeros((1, 784), int)).counts


@pytest.mark.parametrize("variant", range(5))
def test_every_variant_meets_the_published_point(variant):
    profile = yoso_point()[variant]
    hidden = 800 if variant in (0, 3, 4) else 400
    cost = estimate_cost(all_fire(hidden), 256, [profile])
    assert cost.latency_ms == pytest.approx(47.71)
    assert cost.energy_uj == pytest.approx(0.751 * 47.71)


def test_counts_compose_by_hand():
    counts = EventCounts(
        spikes=np.array([[10, 4, 1], [20, 6, 1]]),
        operations=np.array([[100, 40], [300, 60]]),
        updates=np.array([[50, 20], [70, 20]]),
    )
    profile = CostProfile("mine", 1e6, 1e-3, 2.0, update_pj=3.0, packet_pj=5.0)
    cost = estimate_cost(counts, 8, [profile])
    cycles = 250 + 80 + (15 + 5) + 2 * 8
    assert cost.latency_ms == pytest.approx(cycles / 1e6 * 1e3)
    energy = 1e-3 * cycles / 1e6 * 1e6 + (2 * 250 + 3 * 80 + 5 * 21) * 1e-6
    assert cost.energy_uj == pytest.approx(energy)
    assert cost.energy_interval_uj == (cost.energy_uj, cost.energy_uj)


def test_the_interval_holds_the_estimate_and_the_words_are_there():
    network = dense_network()
    ticks = random_ticks(np.random.default_rng(0), (20, 12), 40)
    cost = estimate_cost(emulate(network, ticks).counts, 40)
    low, high = cost.energy_interval_uj
    assert low < cost.energy_uj < high
    assert cost.latency_interval_ms[0] <= cost.latency_ms < cost.latency_interval_ms[1]
    assert "estimate, not measurement" in str(cost)
