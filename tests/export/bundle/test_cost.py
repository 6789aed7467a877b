"""The estimate is composed as stated and meets the published point by construction."""

import json
from dataclasses import replace

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    SILENT,
    CostConstants,
    CostProfile,
    EventCounts,
    ExportError,
    IntegerNetwork,
    PEDescriptor,
    core_cycles,
    emulate,
    estimate_cost,
    load_profile,
    map_network,
    predict_sanafe,
    sanafe_loihi,
    yoso_point,
)
from snn_temporal_plugins.export.bundle.profiles import PROFILES, find_profile
from tests.export.networks import dense, dense_network, random_ticks

MINE = {"clock_hz": 1e6, "static_power_w": 1e-3, "operation_pj": 2.0}


def one_set(**constants):
    return CostProfile("mine", CostConstants(**MINE, **constants), (), ())


def stand_in(inputs, hidden):
    """784-hidden-10, some inputs at tick 0, every neuron only in the last tick."""
    first = dense(np.ones((hidden, 784)), inputs * 255)
    last = dense(np.ones((10, hidden)), 1 << 20)
    network = IntegerNetwork((first, last), (784,), 256, 1.0)
    ticks = np.where(np.arange(784) < inputs, 0, SILENT)[None]
    return network, emulate(network, ticks).counts


@pytest.mark.parametrize(
    ("variant", "inputs", "hidden"),
    [(0, 784, 800), (1, 157, 400), (4, 157, 800), (5, 784, 400), (8, 784, 800)],
)
def test_every_set_meets_the_published_point(variant, inputs, hidden):
    profile = yoso_point()
    constants = (profile.nominal, *profile.variants)[variant]
    one = CostProfile("one", constants, (), ())
    cost = estimate_cost(*stand_in(inputs, hidden), one)
    assert cost.latency_ms == pytest.approx(47.71)
    assert cost.energy_uj == pytest.approx(0.751 * 47.71)
    assert 0 < constants.static_power_w < 0.751e-3


def test_the_interval_spans_the_published_energies_of_an_addition():
    profile = yoso_point()
    assert profile.nominal.operation_pj == 2.8
    assert {one.operation_pj for one in profile.variants} == {0.22, 12.7}


def test_counts_compose_by_hand():
    network = IntegerNetwork(
        (dense(np.ones((5, 10)), 5), dense(np.ones((1, 5)), 5)), (10,), 8, 1.0
    )
    counts = EventCounts(
        spikes=np.array([[10, 4, 1], [20, 6, 1]]),
        operations=np.array([[100, 40], [300, 60]]),
        updates=np.array([[50, 20], [70, 20]]),
    )
    extra = {"update_pj": 3.0, "packet_pj": 5.0, "hop_pj": 0.5, "hops_per_packet": 2.0}
    cost = estimate_cost(network, counts, one_set(**extra))
    cycles = 250 + 80 + (15 + 5) + 2 * 8
    assert cost.cycles == cycles
    assert cost.latency_ms == pytest.approx(cycles / 1e6 * 1e3)
    energy = 1e-3 * cycles + (2 * 250 + 3 * 80 + 5 * 21 + 0.5 * 2 * 21) * 1e-6
    assert cost.energy_uj == pytest.approx(energy)
    assert cost.energy_interval_uj == (cost.energy_uj, cost.energy_uj)

    parallel = {"updates_per_cycle": 4.0, "operations_per_cycle": 8.0}
    barriers = {"cycles_per_spike": 3.0, "cycles_per_tick": 7.0}
    cost = estimate_cost(network, counts, one_set(**parallel, **barriers))
    assert cost.cycles == pytest.approx(250 / 8 + 80 / 4 + 3 * 20 + 2 * 8 + 7 * 8)
    cost = estimate_cost(network, counts, one_set(updates_fired=True))
    assert cost.cycles == 250 + 6 * 8 + 20 + 2 * 8


@pytest.mark.parametrize("name", PROFILES)
def test_the_breakdown_adds_up_to_the_estimate(name):
    network = dense_network()
    ticks = random_ticks(np.random.default_rng(0), (20, 12), 40)
    cost = estimate_cost(network, emulate(network, ticks).counts, find_profile(name))
    assert set(cost.breakdown_uj) == {
        "static", "additions", "updates", "packets", "hops",
    }  # fmt: skip
    assert all(len(part) == 3 for part in cost.breakdown_uj.values())
    total = sum(sum(part) for part in cost.breakdown_uj.values())
    assert total == pytest.approx(cost.energy_uj, rel=1e-12)
    low, high = cost.energy_interval_uj
    assert low < cost.energy_uj < high
    assert cost.latency_interval_ms[0] <= cost.latency_ms < cost.latency_interval_ms[1]
    assert "estimate, not measurement" in str(cost)
    assert len(cost.assumptions) > 4


def test_what_must_never_be_printed_is_not():
    unknown = ("22 nm", "5-bit", "98 %", "YOSO", "mesh", "router")
    for make in PROFILES.values():
        profile = make()
        text = " ".join((profile.name, *profile.assumptions))
        assert not [word for word in unknown if word in text]


def test_cycles_beside_those_of_the_reference_core():
    network = dense_network(threshold=9)
    emulation = emulate(network, random_ticks(np.random.default_rng(1), (6, 12), 40))
    chip = PEDescriptor("one", 1, 64, 512, 0, 64, 8, 16, 24, 64)
    core = core_cycles(map_network(network, chip), emulation)
    ours = estimate_cost(network, emulation.counts, one_set(updates_fired=True)).cycles
    spikes = emulation.counts.spikes.mean(axis=0)
    neurons, layers, ticks = 14, 2, 40
    more = (neurons + layers) + 2 * layers * ticks + spikes[:-1].sum()  # per layer
    more += 2 * ticks + spikes[-1] + 1
    assert core.mean() == pytest.approx(ours + more, rel=1e-12)


def test_composition_beside_that_of_sanafe():
    """SANA-FE's inputs spike for free, and its outputs send no message."""
    network = dense_network(threshold=9)
    ticks = random_ticks(np.random.default_rng(2), (6, 12), 40)
    counts = emulate(network, ticks).counts
    ours = estimate_cost(network, counts, sanafe_loihi()).energy_uj
    theirs = predict_sanafe(network, ticks).energy_pj.mean() * 1e-6
    spikes = counts.spikes.mean(axis=0)
    assert ours - theirs == pytest.approx((69.3 * spikes[0] + 111 * spikes[-1]) * 1e-6)


FILE = {
    "name": "my chip",
    "nominal": MINE,
    "variants": [{"operation_pj": 1.0}, {"operation_pj": 4.0, "update_pj": 1}],
    "assumptions": ["operation_pj: simulated"],
}


def written(tmp_path, content):
    path = tmp_path / "mine.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_profile_of_the_user(tmp_path):
    profile = find_profile(written(tmp_path, FILE))
    assert profile == load_profile(tmp_path / "mine.json")
    assert profile.name == "my chip"
    assert profile.nominal == CostConstants(**MINE)
    last = replace(profile.nominal, operation_pj=4.0, update_pj=1)
    assert profile.variants == (replace(profile.nominal, operation_pj=1.0), last)
    assert profile.assumptions[-1] == "operation_pj: simulated"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "the profile is no JSON object"),
        ('{"name": "a", "name": "b"}', "a key is repeated"),
        (" " * 70_000, "more than 65536 bytes"),
        ({**FILE, "colour": 1}, r"unknown keys \['colour'\]"),
        ({"name": "x"}, r"missing keys \['assumptions', 'nominal', 'variants'\]"),
        ({**FILE, "name": " "}, "name is"),
        ({**FILE, "variants": []}, "variants is"),
        ({**FILE, "variants": [1]}, "variants is"),
        ({**FILE, "assumptions": "none"}, "assumptions is"),
        ({**FILE, "nominal": {}}, "nominal has unknown keys"),
        ({**FILE, "nominal": 3}, "nominal is no JSON object"),
        ({**FILE, "variants": [{"volts": 1}]}, r"a variant has unknown keys \['volts'"),
        ({**FILE, "nominal": {**MINE, "clock_hz": 0}}, "clock_hz is 0; .* above 0"),
        ({**FILE, "nominal": {**MINE, "update_pj": -1}}, "update_pj is -1"),
        ({**FILE, "nominal": {**MINE, "update_pj": True}}, "update_pj is True"),
        ({**FILE, "nominal": {**MINE, "update_pj": "1"}}, "update_pj is 1;"),
        ({**FILE, "nominal": {**MINE, "updates_fired": 1}}, "true or false"),
        (json.dumps(FILE).replace("2.0", "NaN"), "operation_pj is nan"),
        (json.dumps(FILE).replace("2.0", "1e999"), "operation_pj is inf"),
    ],
)
def test_refused_profiles(tmp_path, content, message):
    with pytest.raises(ExportError, match=message):
        load_profile(written(tmp_path, content))


def test_a_profile_that_is_nowhere():
    with pytest.raises(ExportError, match="yoso_point, sanafe_loihi, or a JSON file"):
        find_profile("no_such")
