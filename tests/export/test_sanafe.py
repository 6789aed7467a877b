"""SANA-FE, a program of others, agrees with the emulator in every spike and count."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    SILENT,
    ExportCode,
    ExportError,
    IntegerNetwork,
    PoolLayer,
    emulate,
    find_sanafe,
    predict_sanafe,
    run_sanafe,
    sanafe_difference,
    write_sanafe,
)
from snn_temporal_plugins.export.bundle.simulators import SimulatorError
from tests.export.networks import (
    conv_network,
    dense,
    dense_network,
    random_conv,
    random_dense,
    random_ticks,
)
from tests.export.random_networks import FEW, MANY, random_trial


@pytest.fixture
def sanafe():
    """Skips, with the cure, where SANA-FE is not installed."""
    try:
        find_sanafe()
    except SimulatorError as error:
        pytest.skip(str(error))


def check(seed):
    network, ticks = random_trial(seed)
    found = run_sanafe(network, ticks)
    assert sanafe_difference(predict_sanafe(network, ticks), found) is None, seed
    ours = emulate(network, ticks).layer_ticks
    for index, (wanted, got) in enumerate(zip(ours, found.layer_ticks, strict=True)):
        np.testing.assert_array_equal(got, wanted, f"seed {seed}, layer {index}")


@pytest.mark.parametrize("seed", FEW)
def test_every_spike_count_and_energy_of_random_networks(sanafe, seed):
    check(seed)


@pytest.mark.sweep
@pytest.mark.parametrize("first", range(0, len(MANY), 100))
def test_many_random_networks(sanafe, first):
    for seed in MANY[first : first + 100]:
        check(seed)


@pytest.mark.parametrize("response", ["ramp", "step"])
def test_its_counts_are_the_event_counts_of_the_emulator(sanafe, response):
    network = replace(dense_network(threshold=9), response=response)
    ticks = random_ticks(np.random.default_rng(1), (4, 12), 40)
    found, ours = run_sanafe(network, ticks), emulate(network, ticks)
    counts = ours.counts
    assert found.fired.tolist() == counts.packets.tolist()
    assert found.synaptic_events.tolist() == counts.operations.sum(axis=1).tolist()
    assert found.messages.tolist() == counts.spikes[:, :-1].sum(axis=1).tolist()
    assert (found.latency_s > 0).all()
    if response == "ramp":  # the emulator counts no visits to neurons that have fired
        after = sum(
            np.where(one == SILENT, 0, 39 - one).sum(axis=1) for one in ours.layer_ticks
        )
        live = found.updates - counts.spikes[:, 0] - after
        assert live.tolist() == counts.updates.sum(axis=1).tolist()


def test_energies_by_hand(sanafe):
    """Two inputs at ticks 0 and 3, one neuron that fires at tick 2, one that cannot."""
    network = IntegerNetwork((dense([[2, 0], [1, -1]], [3, 99]),), (2,), 8, 1.0)
    found = run_sanafe(network, [[0, 3]])
    assert found.layer_ticks[0].tolist() == [[2, SILENT]]
    assert found.synapse_pj == pytest.approx(4 * 35.5)
    assert found.soma_pj == pytest.approx(2 * 8 * (51.2 + 21.6) + 69.3)
    assert found.network_pj == pytest.approx(2 * 111.0)
    total = 142.0 + 1164.8 + 69.3 + 222.0
    assert found.energy_pj == pytest.approx(total)


def test_layers_on_many_cores_send_a_message_to_each_and_hop(sanafe):
    rng = np.random.default_rng(2)
    conv = random_conv(rng, 1, 1, 3, padding=1, threshold=10)
    layers = (conv, PoolLayer(2, 2, 0), random_dense(rng, 289, 5, threshold=200))
    network = IntegerNetwork(layers, (1, 34, 34), 20, 1.0)
    ticks = random_ticks(rng, (2, 1, 34, 34), 20)
    predicted, found = predict_sanafe(network, ticks), run_sanafe(network, ticks)
    assert sanafe_difference(predicted, found) is None
    assert (found.hops > 0).all()
    senders = emulate(network, ticks).counts.spikes[:, :-1].sum(axis=1)
    assert (found.messages > senders).all()


def test_a_difference_is_seen_and_named(sanafe):
    network = conv_network()
    ticks = random_ticks(np.random.default_rng(3), (2, 2, 8, 8), 40)
    found = run_sanafe(network, ticks)
    first = network.layers[0]
    other = replace(first, threshold=first.threshold + 1)
    wrong = replace(network, layers=(other, *network.layers[1:]))
    message = sanafe_difference(predict_sanafe(wrong, ticks), found)
    assert message is not None and "layer 0" in message and "SANA-FE spikes" in message
    for name in ("fired", "synaptic_events", "messages", "hops", "updates", "soma_pj"):
        message = sanafe_difference(
            predict_sanafe(network, ticks),
            replace(found, **{name: found.fired + 10**9}),
        )
        assert message is not None and name in message


def test_what_the_files_hold(tmp_path):
    network = conv_network()
    ticks = random_ticks(np.random.default_rng(4), (3, 2, 8, 8), 40)
    for name in ("one", "two"):
        write_sanafe(network, tmp_path / name, ticks=ticks)
    names = ["arch.yaml", "net.yaml", "run.json"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == names
    for name in names:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
    plan = json.loads((tmp_path / "one" / "run.json").read_text())
    assert plan["ticks"] == ticks.reshape(3, -1).tolist()
    assert plan["steps"] == 40 + 1  # one pool, and ramps shift nothing


def test_the_two_yaml_files_are_complete_without_us(sanafe, tmp_path):
    network = conv_network()
    ticks = random_ticks(np.random.default_rng(4), (3, 2, 8, 8), 40)
    write_sanafe(network, tmp_path / "net", ticks=ticks)
    program = (
        "import sanafe\n"
        "arch = sanafe.load_arch('arch.yaml')\n"
        "chip = sanafe.SpikingChip(arch)\n"
        "chip.load(sanafe.load_net('net.yaml', arch))\n"
        "print('fired', chip.sim(41)['neurons_fired'])\n"
    )
    command = [find_sanafe(), "-I", "-c", program]
    done = subprocess.run(
        command, cwd=tmp_path / "net", capture_output=True, text=True, check=True
    )
    wanted = predict_sanafe(network, ticks).fired[0]
    assert f"fired {wanted}" in done.stdout.splitlines()


def test_refusals_leave_nothing(tmp_path):
    network = dense_network()
    ticks = np.zeros((1, 12), int)
    steep = dense(np.full((1, 12), -1), 1)
    huge = replace(steep, weight=np.full((1, 12), -(1 << 20), dtype=np.int32))
    with pytest.raises(ExportError, match="layer 0: a potential may reach") as wide:
        many = IntegerNetwork((huge,), (12,), 20, 1.0)
        write_sanafe(many, tmp_path / "a", ticks=ticks)
    assert wide.value.code == ExportCode.WIDTH
    with pytest.raises(ExportError, match="no sample"):
        write_sanafe(network, tmp_path / "a", ticks=ticks[:0])
    with pytest.raises(ValueError, match="shape"):
        write_sanafe(network, tmp_path / "a", ticks=np.zeros((1, 11), int))
    assert not list(tmp_path.iterdir())

    write_sanafe(network, tmp_path / "a", ticks=ticks)
    with pytest.raises(ExportError, match="overwrite=True") as there:
        write_sanafe(network, tmp_path / "a", ticks=ticks)
    assert there.value.code == ExportCode.FILE_EXISTS
    write_sanafe(network, tmp_path / "a", ticks=ticks, overwrite=True)
    (tmp_path / "a" / "thesis.tex").write_text("years of work")
    with pytest.raises(ExportError, match="other things"):
        write_sanafe(network, tmp_path / "a", ticks=ticks, overwrite=True)
    assert (tmp_path / "a" / "thesis.tex").exists()


def test_a_missing_sanafe_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("SANAFE_PYTHON", str(tmp_path / "python"))
    with pytest.raises(SimulatorError, match="make sanafe"):
        run_sanafe(dense_network(), np.zeros((1, 12), int))


def test_a_failure_of_sanafe_is_shown(sanafe, monkeypatch):
    monkeypatch.setenv("SANAFE_PYTHON", "/bin/false")
    with pytest.raises(SimulatorError, match="false failed"):
        run_sanafe(dense_network(), np.zeros((1, 12), int))
