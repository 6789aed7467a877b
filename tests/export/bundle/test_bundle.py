"""A bundle goes out and comes back; a failed write leaves nothing."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from snn_temporal_plugins.export import (
    SILENT,
    BundleCode,
    BundleError,
    Decoding,
    ExportCode,
    ExportError,
    IntegerNetwork,
    decode,
    emulate,
    latency_lut,
    quantise,
    quantise_uniform,
    read_bundle,
    widths,
    write_bundle,
)
from snn_temporal_plugins.export.bundle import golden_inputs
from snn_temporal_plugins.export.bundle import write as module
from tests.export.bundle.chips import LARGE
from tests.export.bundle.plain import reader
from tests.export.networks import (
    conv_network,
    dense,
    dense_network,
    oracle_layers,
    random_ticks,
    real_dense,
    step_network,
)
from tests.oracles import integer_network as oracle


def assert_same(one, other):
    assert (one.num_ticks, one.input_shape, one.tick, one.response) == (
        other.num_ticks,
        other.input_shape,
        other.tick,
        other.response,
    )
    assert oracle_layers(one) == oracle_layers(other)
    for left, right in zip(one.layers, other.layers, strict=True):
        if hasattr(left, "scale"):
            np.testing.assert_array_equal(left.scale, right.scale)


def contents(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


RULES = ("max_v_at_tie", "lowest_index")


def dense_steps(seed=0):
    return step_network(dense_network(seed))


def conv_steps():
    return step_network(conv_network())


@pytest.mark.parametrize("make", [dense_network, conv_network, dense_steps, conv_steps])
def test_round_trip(make, tmp_path):
    network = make()
    lut = latency_lut(network)
    rules = Decoding(tie="lowest_index", no_output="max_v_at_end")
    write_bundle(network, tmp_path / "net", lut=lut, decoding=rules, golden=2)
    bundle = read_bundle(tmp_path / "net")
    assert_same(bundle.network, network)
    np.testing.assert_array_equal(bundle.lut, lut)
    assert bundle.decoding == rules
    assert [file.name for file in tmp_path.iterdir()] == ["net"]


def test_a_trained_network_and_its_samples(tmp_path):
    network = quantise(real_dense(), bits=5, num_ticks=64)
    samples = random_ticks(np.random.default_rng(0), (2, 20), 64)
    write_bundle(network, tmp_path / "net", samples=samples)
    bundle = read_bundle(tmp_path / "net")
    assert bundle.lut is None
    assert_same(bundle.network, network)
    taken = [case for case in bundle.golden if case.name.startswith("sample_")]
    np.testing.assert_array_equal([case.ticks for case in taken], samples)


def test_the_same_network_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        network = conv_network()
        write_bundle(network, tmp_path / name, lut=latency_lut(network))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_same_bytes_in_another_process(tmp_path):
    """The order of sets must not show; in this process it is another one."""
    program = (
        "import sys\n"
        "from snn_temporal_plugins.export import latency_lut, write_bundle\n"
        "from tests.export.bundle.chips import LARGE\n"
        "from tests.export.networks import conv_network\n"
        "network = conv_network()\n"
        "lut = latency_lut(network)\n"
        "write_bundle(network, sys.argv[1], lut=lut, chip=LARGE, golden=1)\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "other.zip")],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        cwd=Path(__file__).parents[3],
        check=True,
    )
    network = conv_network()
    lut = latency_lut(network)
    write_bundle(network, tmp_path / "own.zip", lut=lut, chip=LARGE, golden=1)
    one, other = (tmp_path / name for name in ("own.zip", "other.zip"))
    assert one.read_bytes() == other.read_bytes()


def test_the_golden_set_holds_the_hard_cases(tmp_path):
    write_bundle(dense_network(), tmp_path / "net")
    results = {
        case.name: json.loads((tmp_path / f"net/golden/{n}/result.json").read_text())
        for n, case in enumerate(read_bundle(tmp_path / "net").golden)
    }
    hard = {"none", "all_at_end", "random_3", "tie", "on_threshold"}
    each = {"all_at_start", "steepest_rise", "steepest_fall", "fall_and_rise"}
    each |= {f"address_bit_{bit}" for bit in range(4)}
    assert hard | each | {f"layer_1_{name}" for name in each} == set(results) - {
        f"random_{n}" for n in range(3)
    }
    assert results["none"]["tick"] == SILENT
    assert results["none"]["label"] == -1
    assert results["tie"]["tied"]


@pytest.mark.parametrize("make", [dense_network, conv_network])
def test_a_golden_case_meets_thresholds_exactly(make):
    """A reader that fires at V > threshold gives other spikes."""
    network = make()
    layers = (
        replace(layer, threshold=layer.threshold + 1)
        if hasattr(layer, "threshold")
        else layer
        for layer in network.layers
    )
    strict = replace(network, layers=tuple(layers))
    cases = {case.name: case for case in golden_inputs.golden_cases(network, random=0)}
    case = cases["on_threshold"]
    right, wrong = (emulate(n, case.ticks[None]).layer_ticks for n in (network, strict))
    assert any((one != two).any() for one, two in zip(right, wrong, strict=True))


def test_a_golden_case_reaches_the_floor(tmp_path):
    """Of each layer that can reach it; a reader that wraps there fires."""
    rng = np.random.default_rng(0)
    weights = [rng.integers(-9, 4, (5, 12)), rng.integers(-9, 4, (3, 5))]
    weights = [np.where(np.arange(w.shape[1]) == 0, 2, w) for w in weights]
    network = IntegerNetwork(tuple(dense(w, 20) for w in weights), (12,), 40, 1.0)
    write_bundle(network, tmp_path / "net", golden=0)
    plain = reader.read_bundle(tmp_path / "net")
    cases = {case.name: case for case in read_bundle(tmp_path / "net").golden}
    for index, prefix in enumerate(("", "layer_1_")):
        layer = network.layers[index]
        bits = widths(layer, 40).potential_bits
        ticks = cases[f"{prefix}steepest_fall"].ticks
        effect = np.where(ticks == SILENT, 0, 39 - ticks)
        assert (layer.weight @ effect).min() < -(1 << (bits - 1))
        wraps = [wrapped(row, ticks, 40, bits) for row in layer.weight.tolist()]
        assert any(v >= 20 for row in wraps for v in row)
        right = reader.fire(plain["layers"][index], ticks.tolist(), 40)["tick"]
        assert right == [SILENT] * len(layer.weight)


def wrapped(row, ticks, num_ticks, bits):
    """The potential of one ramp in a register that wraps around."""
    potential, slope, seen = 0, 0, []
    for tick in range(num_ticks):
        half = 1 << (bits - 1)
        potential = (potential + slope + half) % (2 * half) - half
        seen.append(potential)
        slope += sum(w for w, t in zip(row, ticks, strict=True) if t == tick)
    return seen


def test_two_weights_of_a_neuron_cannot_change_places(tmp_path):
    """Whatever the random cases are: each bit of an address is seen alone."""
    for network in (dense_network(), dense_steps()):
        cases = golden_inputs.golden_cases(network, random=0)
        for index, layer in enumerate(network.layers):
            fed = [case.ticks for case in cases if case.start_layer == index]
            patterns = {tuple(ticks[i] for ticks in fed) for i in range(fed[0].size)}
            assert len(patterns) == layer.weight.shape[1]


def test_the_golden_set_of_steps_holds_their_hard_cases(tmp_path):
    network = dense_steps()
    write_bundle(network, tmp_path / "net")
    golden = read_bundle(tmp_path / "net").golden
    cases = {case.name: case.ticks for case in golden if case.start_layer == 0}
    hard = {"all_at_start", "none", "all_at_end", "tie", "fall_and_rise"}
    assert hard | {"on_threshold"} < set(cases)
    output = {name: emulate(network, cases[name][None]) for name in cases}
    assert (output["all_at_end"].layer_ticks[0] == 39).any()
    assert (output["all_at_start"].output_ticks == 0).any()
    weight = network.layers[0].weight
    lowest = int(np.minimum(weight, 0).sum(axis=1).argmin())
    potential = [
        (weight[lowest] * (cases["fall_and_rise"] <= tick)).sum() for tick in (0, 39)
    ]
    assert potential == [weight[lowest][weight[lowest] < 0].sum(), weight[lowest].sum()]
    strict = step_network(dense_network(), threshold=10)  # of V > 9
    other = emulate(strict, cases["on_threshold"][None])
    assert (other.layer_ticks[0] != output["on_threshold"].layer_ticks[0]).any()


@pytest.mark.parametrize("make", [conv_network, conv_steps])
def test_golden_results_are_those_of_the_oracle(make, tmp_path):
    network = make()
    write_bundle(network, tmp_path / "net", golden=1)
    cases = read_bundle(tmp_path / "net").golden
    for n, case in enumerate(cases):
        layers = oracle_layers(network)[case.start_layer :]
        outputs, spikes, operations, updates = oracle.run(
            layers, case.ticks, 40, network.response
        )
        folder = tmp_path / f"net/golden/{n}"
        result = json.loads((folder / "result.json").read_text())
        assert result["spikes"] == spikes
        assert result["operations"] == operations
        assert result["updates"] == updates
        for k, wanted in enumerate(outputs, start=case.start_layer):
            table = np.loadtxt(
                folder / f"layer_{k}.csv", delimiter=",", skiprows=1, dtype=int
            )
            np.testing.assert_array_equal(table[:, 1], np.ravel(wanted))


def test_slope_and_margin_by_hand(tmp_path):
    network = IntegerNetwork((dense([[3, -1], [1, 1]], [5, 50]),), (2,), 6, 1.0)
    samples = np.array([[0, 1]])
    write_bundle(network, tmp_path / "net", golden=0, samples=samples)
    names = [case.name for case in read_bundle(tmp_path / "net").golden]
    folder = tmp_path / f"net/golden/{names.index('sample_0')}"
    # Neuron 0: V = 0, 3, 5 at tick 2; neuron 1 stays silent with V(5) = 5 + 4.
    assert (folder / "layer_0.csv").read_text() == (
        "neuron,tick,slope,margin\n0,2,2,0\n1,65535,2,-41\n"
    )
    assert (folder / "in.csv").read_text() == "neuron,tick\n0,0\n1,1\n"


def test_the_margin_of_a_step_by_hand(tmp_path):
    network = IntegerNetwork((dense([[3, -1], [1, 1]], [2, 50]),), (2,), 6, 1.0, "step")
    samples = np.array([[3, 3]])
    write_bundle(network, tmp_path / "net", golden=0, samples=samples)
    names = [case.name for case in read_bundle(tmp_path / "net").golden]
    folder = tmp_path / f"net/golden/{names.index('sample_0')}"
    # Both inputs act in tick 3: V = 2 and 2, exactly on the first threshold.
    assert (folder / "layer_0.csv").read_text() == (
        "neuron,tick,margin\n0,3,0\n1,65535,-48\n"
    )
    manifest = json.loads((tmp_path / "net/manifest.json").read_text())
    rules = ["no_output_reject", "tie_max_v_at_tie"]
    needed = sorted(["dense", "first_spike", "step", *rules])
    assert manifest["required_features"] == needed
    (layer,) = manifest["layers"]
    assert (layer["response"], layer["potential_bits"]) == ("step", 7)
    assert "slope_bits" not in layer


def test_a_tie_is_looked_for_in_the_last_layer_too(monkeypatch):
    # Behind one neuron per output that fires in its own tick there is no tie.
    first = dense(np.diag([4, 2, 1]), 4)
    network = IntegerNetwork((first, dense(np.eye(3), 1)), (3,), 20, 1.0)
    monkeypatch.setattr(golden_inputs, "_CANDIDATES", 4)
    (case,) = golden_inputs._tie(network)
    output = emulate(golden_inputs.tail(network, case.start_layer), case.ticks[None])
    assert (output.output_ticks == output.output_ticks.min()).sum() > 1


@pytest.mark.parametrize("seed", range(8))
def test_the_best_tie_is_taken(seed):
    """One on which the rules disagree, if any candidate is one."""
    network = dense_network(seed, sizes=(6, 5, 4), num_ticks=12, threshold=20)
    found = golden_inputs._tie(network)
    worth = []
    for start in (0, 1):
        part = golden_inputs.tail(network, start)
        ticks = golden_inputs._candidates(part)
        emulation = emulate(part, ticks)
        labels = [decode(part, emulation, Decoding(tie=r)).label for r in RULES]
        tied = decode(part, emulation).tied
        worth.append((tied & (labels[0] != labels[1])).any() + 1 if tied.any() else 0)
    assert len(found) == (max(worth) > 0)
    if found:
        assert found[0].start_layer == worth.index(max(worth))


def test_the_schema_is_valid_and_travels(tmp_path):
    write_bundle(dense_network(), tmp_path / "net")
    schema = json.loads((tmp_path / "net/schema/manifest.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    manifest = json.loads((tmp_path / "net/manifest.json").read_text())
    Draft202012Validator(schema).validate(manifest)
    assert (tmp_path / "net/SPEC.md").read_text().startswith("# ttfs-bundle 1.0")


def test_an_existing_path_is_refused(tmp_path):
    write_bundle(dense_network(0), tmp_path / "net")
    before = contents(tmp_path / "net")
    with pytest.raises(BundleError, match="overwrite=True") as caught:
        write_bundle(dense_network(1), tmp_path / "net")
    assert caught.value.code is BundleCode.EXISTS
    assert contents(tmp_path / "net") == before


def test_overwriting_replaces_a_bundle_and_nothing_else(tmp_path):
    write_bundle(dense_network(0), tmp_path / "net")
    write_bundle(dense_network(1), tmp_path / "net", overwrite=True)
    assert_same(read_bundle(tmp_path / "net").network, dense_network(1))
    assert [file.name for file in tmp_path.iterdir()] == ["net"]
    (tmp_path / "work").mkdir()
    (tmp_path / "work/thesis.tex").write_text("dear")
    with pytest.raises(BundleError, match="no bundle") as caught:
        write_bundle(dense_network(), tmp_path / "work", overwrite=True)
    assert caught.value.code is BundleCode.EXISTS
    assert (tmp_path / "work/thesis.tex").read_text() == "dear"


def test_a_failed_write_leaves_nothing_and_keeps_the_old_bundle(tmp_path, monkeypatch):
    write_bundle(dense_network(0), tmp_path / "net")
    before = contents(tmp_path / "net")

    def fail(*_):
        raise OSError("disk full")

    for owner, name in ((module, "read_bundle"), (Path, "write_bytes")):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
            patch.setattr(owner, name, fail)
            write_bundle(dense_network(1), tmp_path / "net", overwrite=True)
        assert contents(tmp_path) == {f"net/{k}": v for k, v in before.items()}
        with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
            patch.setattr(owner, name, fail)
            write_bundle(dense_network(1), tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_a_failed_swap_restores_the_old_bundle(tmp_path, monkeypatch):
    write_bundle(dense_network(0), tmp_path / "net")
    before = contents(tmp_path / "net")
    rename = Path.rename

    def once(self, target):
        if Path(target).name == "net" and not self.name.endswith(".old"):
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(OSError, match="no"):
        write_bundle(dense_network(1), tmp_path / "net", overwrite=True)
    assert contents(tmp_path) == {f"net/{k}": v for k, v in before.items()}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BundleError, match="does not exist") as caught:
        write_bundle(dense_network(), tmp_path / "absent/net")
    assert caught.value.code is BundleCode.MISSING
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"lut": np.zeros(255, int)}, ExportCode.PARAMETER),
        ({"lut": np.full(256, 40)}, ExportCode.PARAMETER),
        ({"lut": np.zeros(256)}, ExportCode.PARAMETER),
        ({"golden": -1}, ExportCode.PARAMETER),
    ],
)
def test_bad_arguments(options, code, tmp_path):
    with pytest.raises(ExportError) as caught:
        write_bundle(dense_network(), tmp_path / "net", **options)
    assert caught.value.code is code
    assert not list(tmp_path.iterdir())


def test_networks_that_do_not_fit_the_format(tmp_path):
    wide = quantise_uniform(real_dense(), num_ticks=64)
    conv = IntegerNetwork(conv_network().layers[:1], (2, 8, 8), 40, 1.0)
    for network, code in ((wide, ExportCode.WIDTH), (conv, ExportCode.OUTPUT)):
        with pytest.raises(ExportError) as caught:
            write_bundle(network, tmp_path / "net")
        assert caught.value.code is code
    assert not list(tmp_path.iterdir())


def test_a_bundle_can_move(tmp_path):
    write_bundle(dense_network(), tmp_path / "net")
    shutil.move(tmp_path / "net", tmp_path / "elsewhere")
    assert_same(read_bundle(tmp_path / "elsewhere").network, dense_network())
