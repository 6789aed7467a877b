"""Readers of NIR still make of our encodings, and of bad ones, what the README says."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from snn_temporal_plugins.export import to_nir
from snn_temporal_plugins.export.bundle.integer import weight_sums
from tests.export.random_networks import MANY, random_trial

for module in ("nir", "norse", "snntorch", "spikingjelly"):
    pytest.importorskip(module)

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "results" / "nir_conformance.py"
SAID = json.loads(SCRIPT.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("nir_conformance", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def kind(cell):
    """All right, wrong, accepted, or the class of an error."""
    if "percent" in cell:
        return "right" if cell["percent"] == 100 else "wrong"
    return cell.get("error", "accepted")


def assert_as_said(got):
    ((reader, found),) = got.items()
    for encoding, cell in found["encodings"].items():
        said = SAID[reader]["encodings"][encoding]
        assert kind(cell) == kind(said), (
            f"{encoding} in {reader}: was {said} with {SAID[reader]['versions']}, is "
            f"{cell} with {found['versions']}. If that is the new truth, run `make "
            "conformance` and commit the table"
        )
    assert found["encodings"].keys() == SAID[reader]["encodings"].keys()


def python_of(reader):
    python = ROOT / f".venv-{reader}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{reader} is not there; `make conformance` gets it")
    return str(python)


@pytest.mark.parametrize("reader", ["snnTorch", "Norse", "SpikingJelly"])
def test_readers_beside_us(script, reader):
    assert_as_said(script.measure({}, [reader]))


@pytest.mark.sweep  # Spyx compiles every network, a second each
@pytest.mark.parametrize("reader", ["spyx", "rockpool", "snn_mlir"])
def test_readers_in_environments_of_their_own(script, reader):
    assert_as_said(script.measure({reader: python_of(reader)}, []))


def steep(network):
    """Whether a potential may rise to twice the threshold, less 1/2 each, in a tick."""
    return any(
        weight_sums(layer.weight)[0].max() >= layer.threshold[0]
        for layer in network.layers
    )


@pytest.mark.sweep
@pytest.mark.parametrize("reader", ["spyx", "rockpool"])
@pytest.mark.parametrize("first", range(0, len(MANY), 100))
def test_a_thousand_random_networks_of_ramps(script, reader, first, tmp_path):
    """Dense ones, which is what these two read.

    A neuron of Rockpool whose potential rises to n thresholds spikes n times at once.
    """
    trials = [
        random_trial(seed, response="ramp", conv=False, uniform=True)
        for seed in MANY[first : first + 100]
    ]
    if reader == "rockpool":
        trials = [trial for trial in trials if not steep(trial.network)]
        assert len(trials) > 20
    jobs = []
    for number, (network, ticks) in enumerate(trials):
        jobs.append(script.Job(tmp_path / f"{number}.nir", ticks))
        script.write_job(network, to_nir(network), jobs[-1])
    _, answers = script.run_apart(reader, python_of(reader), jobs)
    for (network, ticks), answer in zip(trials, answers, strict=True):
        shift = 0 if reader == "spyx" else len(network.layers)
        assert script.score(network, ticks, answer)[shift] == 1


def test_our_encodings_are_right_where_we_say_so():
    for reader in ("snnTorch", "Norse", "SpikingJelly"):
        cells = SAID[reader]["encodings"]
        ours = [name for name in cells if name.startswith("NIR-")]
        assert len(ours) == 7
        assert {kind(cells[name]) for name in ours} == {"right"}
    for reader in ("Spyx", "Rockpool"):
        cells = SAID[reader]["encodings"]
        for layers in ("1 layer", "3 layers"):
            assert kind(cells[f"NIR-ReLPSP/1, {layers}"]) == "right"


def test_obvious_encodings_are_still_wrong():
    for name in ("I, IF", "LI, IF", "CubaLIF, 2 layers", "IF for steps, 2 layers"):
        for reader in SAID.keys() - {"snn-mlir"}:
            assert kind(SAID[reader]["encodings"][name]) != "right"
