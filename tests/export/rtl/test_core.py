"""The reference core does what the emulator does, spike by spike and cycle by cycle."""

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    SILENT,
    IntegerDense,
    IntegerNetwork,
    SimulatorError,
    emulate,
    first_difference,
    map_network,
    simulate,
    smallest_chip,
)
from snn_temporal_plugins.export.bundle.golden_inputs import golden_cases, tail
from snn_temporal_plugins.export.bundle.mapping import MAX_LAYERS
from snn_temporal_plugins.export.bundle.simulators import simulate_each
from tests.export.random_networks import FEW, MANY, random_trial
from tests.export.rtl.programs import need, trial_jobs


def assert_equal(jobs, simulator):
    results = simulate_each(jobs, simulator, time_limit=7200)
    for seed, ((mapping, ticks), result) in enumerate(zip(jobs, results, strict=True)):
        wrong = first_difference(mapping, emulate(mapping.network, ticks), result)
        assert wrong is None, f"{simulator}, network {seed}: {wrong}"
    return results


@pytest.mark.parametrize(
    ("simulator", "num_pes"), [("icarus", 1), ("icarus", 3), ("verilator", 4)]
)
def test_random_networks(simulator, num_pes):
    need(simulator)
    results = assert_equal(trial_jobs(FEW, num_pes), simulator)
    fired = [ticks != SILENT for result in results for ticks in result.layer_ticks]
    assert 0.2 < np.concatenate([part.ravel() for part in fired]).mean() < 0.95


@pytest.mark.sweep
@pytest.mark.parametrize("num_pes", [1, 5])
@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_many_random_networks(simulator, num_pes):
    need(simulator)
    assert_equal(trial_jobs(MANY, num_pes), simulator)


@pytest.mark.parametrize("seed", FEW[:6])
def test_the_smallest_widths_suffice(seed):
    """Registers of exactly the proved widths: no flag is raised, no spike moves.

    The golden cases drive each layer to its highest and lowest potentials.
    """
    need("icarus")
    trial = random_trial(seed)
    chip = smallest_chip(trial.network, 2)
    assert_equal([(map_network(trial.network, chip), trial.ticks)], "icarus")
    jobs = []
    for case in golden_cases(trial.network, random=1):
        rest = tail(trial.network, case.start_layer)
        jobs.append((map_network(rest, chip), case.ticks[None]))
    assert_equal(jobs, "icarus")


def test_more_pes_than_neurons():
    need("icarus")
    assert_equal(trial_jobs(FEW[:2], 26), "icarus")


def test_as_many_layers_as_a_spike_can_name():
    need("icarus")
    relay = IntegerDense(np.eye(3, dtype=np.int32), np.ones(3, np.int64), np.ones(3))
    network = IntegerNetwork((relay,) * MAX_LAYERS, (3,), 4, 1.0, "step")
    mapping = map_network(network, smallest_chip(network, 2))
    (result,) = assert_equal([(mapping, np.array([[2, 0, SILENT]]))], "icarus")
    assert result.layer_ticks[-1].tolist() == [[2, 0, SILENT]]


def test_no_sample_and_no_spike():
    need("icarus")
    trial = random_trial(2)
    mapping = map_network(trial.network, smallest_chip(trial.network, 1))
    silent = np.full_like(trial.ticks, SILENT)
    result = simulate(mapping, silent)
    emulation = emulate(trial.network, silent)
    assert first_difference(mapping, emulation, result) is None
    assert all((ticks == SILENT).all() for ticks in result.layer_ticks)
    assert simulate(mapping, trial.ticks[:0]).cycles.shape == (0,)


def test_samples_do_not_see_each_other():
    need("icarus")
    trial = random_trial(5)
    mapping = map_network(trial.network, smallest_chip(trial.network, 2))
    together = simulate(mapping, trial.ticks)
    turned = simulate(mapping, trial.ticks[::-1])
    for one, other in zip(together.layer_ticks, turned.layer_ticks, strict=True):
        np.testing.assert_array_equal(one, other[::-1])
    assert together.cycles.tolist() == turned.cycles[::-1].tolist()


def test_a_missing_simulator_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    trial = random_trial(0)
    mapping = map_network(trial.network, smallest_chip(trial.network, 1))
    for simulator, program in (("icarus", "iverilog"), ("verilator", "verilator")):
        with pytest.raises(SimulatorError, match=program) as caught:
            simulate(mapping, trial.ticks, simulator)
        assert "apt-get install iverilog verilator" in str(caught.value)


def test_an_unknown_simulator_is_refused():
    trial = random_trial(0)
    mapping = map_network(trial.network, smallest_chip(trial.network, 1))
    with pytest.raises(ValueError, match="allowed: icarus, verilator"):
        simulate(mapping, trial.ticks, "modelsim")


def test_a_simulation_can_take_too_long():
    need("icarus")
    trial = random_trial(0)
    mapping = map_network(trial.network, smallest_chip(trial.network, 1))
    with pytest.raises(SimulatorError, match=r"did not end within 0\.001 s"):
        simulate(mapping, trial.ticks, time_limit=0.001)
