"""Slices, design rules, and the description of a chip."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    IntegerDense,
    IntegerNetwork,
    MappingCode,
    MappingError,
    PoolLayer,
    load_chip,
    map_network,
    parse_chip,
    smallest_chip,
    widths,
)
from tests.export.bundle.chips import LARGE
from tests.export.networks import (
    conv_network,
    dense,
    dense_network,
    random_dense,
    step_network,
)

EXAMPLE = Path(__file__).parents[3] / "examples" / "chips" / "small.json"


def test_slices_and_what_they_use():
    mapping = map_network(dense_network(), replace(LARGE, num_pes=3))
    assert mapping.slices == (4, 2)
    assert mapping.neurons.tolist() == [[4, 4, 2], [2, 2, 0]]
    assert mapping.synapses.tolist() == [[48, 48, 24], [20, 20, 0]]
    assert mapping.sources == (12, 10)


def test_the_report_counts_words_of_every_pe():
    network = conv_network()
    report = map_network(network, replace(LARGE, num_pes=2)).report()
    assert json.loads(json.dumps(report)) == report
    assert [layer["kind"] for layer in report["layers"]] == [
        "conv2d",
        "earliest_spike_pool2d",
        "conv2d",
        "dense",
    ]
    assert [layer["neurons"] for layer in report["layers"]] == [256, 64, 12, 3]
    assert [layer["slice"] for layer in report["layers"]] == [128, 32, 6, 2]
    # a 3x3 window with padding over 8x8 has 22 * 22 contacts per map and channel
    windows = [2 * 4 * 22 * 22, 4 * 16 * 4, 12 * 4 * 9]
    assert [layer["synapses"] for layer in report["layers"]] == [*windows, 36]
    for name, total in (
        ("neurons", 335),
        ("weight_words", sum(windows) + 36),
        ("target_words", sum(windows)),
        ("route_words", 2 * (128 + 256 + 64 + 12)),
    ):
        assert sum(pe[name]["used"] for pe in report["pes"]) == total
        assert all(pe[name]["capacity"] == getattr(LARGE, name) for pe in report["pes"])
    assert report["event_words"] == {"used": 128, "capacity": 1 << 16}
    for index in (0, 2, 3):
        slope, potential = widths(network.layers[index], network.num_ticks)
        layer = report["layers"][index]
        assert (layer["slope_bits"], layer["potential_bits"]) == (slope, potential)
        assert layer["weight_bits"] == 4
    pool = report["layers"][1]
    assert [pool[f"{name}_bits"] for name in ("weight", "slope", "potential")] == [
        2,
        0,
        4,
    ]


@pytest.mark.parametrize("num_pes", [1, 2, 5])
@pytest.mark.parametrize("build", [dense_network, conv_network])
@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("neurons", "more PEs"),
        ("weight_words", "more PEs"),
        ("target_words", "more PEs"),
        ("route_words", "every PE has all routes"),
        ("event_words", "more PEs"),
        ("weight_bits", "quantise to fewer bits"),
        ("slope_bits", "quantise to fewer bits"),
        ("potential_bits", "fewer ticks"),
    ],
)
def test_one_less_than_needed_is_refused(build, num_pes, name, cure):
    network = build()
    chip = smallest_chip(network, num_pes)
    map_network(network, chip)
    need = getattr(chip, name)
    if need == 0:
        return  # a dense network has no target words
    with pytest.raises(MappingError) as error:
        map_network(network, replace(chip, **{name: need - 1}))
    code = MappingCode[name.upper()]
    assert error.value.code is code
    message = str(error.value)
    assert message.startswith(f"M{code.value} {code.name}: layer ")
    assert f"needs {need} {name}" in message
    assert f"'smallest' has {need - 1}" in message
    assert f" of {num_pes}:" in message
    assert cure in message
    assert f"PEs with more {name}" in message


def test_the_error_names_the_layer_and_the_pe_that_overflow():
    rng = np.random.default_rng(0)
    layers = (
        random_dense(rng, 4, 4),
        random_dense(rng, 4, 90),
        random_dense(rng, 90, 3),
    )
    network = IntegerNetwork(layers, (4,), 10, 1.0)
    with pytest.raises(MappingError, match="layer 1 does not fit into PE 0 of 2"):
        map_network(network, replace(LARGE, num_pes=2, weight_words=100))
    # of two rows of a padded map in each PE, the inner ones have the most synapses
    with pytest.raises(MappingError, match="layer 0 does not fit into PE 1 of 16"):
        map_network(conv_network(), replace(LARGE, num_pes=16, weight_words=263))


def test_steps_need_no_slopes():
    chip = replace(LARGE, slope_bits=2)
    map_network(step_network(dense_network()), chip)
    with pytest.raises(MappingError, match="M308 SLOPE_BITS"):
        map_network(dense_network(), chip)


def test_a_pool_needs_a_potential_for_all_its_inputs():
    layers = (PoolLayer(6, 6, 0), dense([[1]], 1))
    network = IntegerNetwork(layers, (1, 6, 6), 2, 1.0)
    map_network(network, replace(LARGE, potential_bits=7))
    with pytest.raises(MappingError, match=r"M309 .* layer 0 .* 7 potential_bits"):
        map_network(network, replace(LARGE, potential_bits=6))


def wide(inputs, outputs):
    weight = np.ones((outputs, inputs), dtype=np.int32)
    return IntegerDense(weight, np.full(outputs, 1), np.ones(outputs))


def test_weights_of_every_width():
    for least, most, bits in (
        (0, 1, 2),
        (-2, 1, 2),
        (-8, 7, 4),
        (-9, 7, 5),
        (-128, 127, 8),
    ):
        network = IntegerNetwork((dense([[least, most]], 1),), (2,), 5, 1.0)
        report = map_network(network, LARGE).report()
        assert report["layers"][0]["weight_bits"] == bits
    network = IntegerNetwork((dense([[-129, 1]], 1),), (2,), 5, 1.0)
    with pytest.raises(MappingError, match="M307 WEIGHT_BITS"):
        map_network(network, LARGE)


def test_too_many_ids():
    most = IntegerNetwork((wide(65535, 1),), (65535,), 2, 1.0)
    map_network(most, LARGE)
    inputs = IntegerNetwork((wide(65536, 1),), (65536,), 2, 1.0)
    with pytest.raises(MappingError, match="M310 IDS: the input has 65536 places"):
        map_network(inputs, LARGE)
    neurons = IntegerNetwork((wide(1, 65536), wide(65536, 1)), (1,), 2, 1.0)
    with pytest.raises(
        MappingError, match="M310 IDS: layer 0 has 65536 places"
    ) as error:
        map_network(neurons, LARGE)
    assert error.value.code is MappingCode.IDS


def test_too_many_layers():
    network = IntegerNetwork((dense([[1]], 1),) * 255, (1,), 2, 1.0)
    map_network(network, LARGE)
    network = IntegerNetwork((dense([[1]], 1),) * 256, (1,), 2, 1.0)
    with pytest.raises(MappingError, match=r"M312 LAYERS: .* 256 layers") as error:
        map_network(network, LARGE)
    assert error.value.code is MappingCode.LAYERS


def test_images_that_fill_a_disk_are_refused_before_they_are_made():
    network = IntegerNetwork((wide(60000, 2), wide(2, 1)), (60000,), 2, 1.0)
    with pytest.raises(MappingError, match=r"M311 IMAGE_BYTES: .* 1024 PEs") as error:
        map_network(network, replace(LARGE, num_pes=1024))
    assert error.value.code is MappingCode.IMAGE_BYTES


def test_the_example_chip():
    chip = load_chip(EXAMPLE)
    assert "example" in chip.name
    assert parse_chip(asdict(chip)) == chip
    map_network(conv_network(), chip)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name is ''"),
        ({"name": "x" * 65}, "1 to 64 letters"),
        ({"name": "a/b"}, "name is 'a/b'"),
        ({"name": 3}, "name is '3'"),
        ({"num_pes": 0}, "num_pes is 0; allowed: integers 1 to 1024"),
        ({"num_pes": 1025}, "num_pes is 1025"),
        ({"num_pes": 2.0}, "num_pes is 2.0"),
        ({"num_pes": True}, "num_pes is True"),
        ({"num_pes": None}, "num_pes is None"),
        ({"weight_words": -1}, "weight_words is -1"),
        ({"weight_words": 1 << 25}, "weight_words is 33554432"),
        ({"weight_bits": 9}, "weight_bits is 9; allowed: integers 2 to 8"),
        ({"slope_bits": 1}, "slope_bits is 1"),
        ({"potential_bits": 33}, "potential_bits is 33"),
        ({"banks": 4}, r"unknown keys \['banks'\]"),
        ({"neurons": ...}, r"missing keys \['neurons'\]"),
    ],
)
def test_a_bad_description_is_refused(tmp_path, change, message):
    value = {**asdict(LARGE), **change}
    value = {key: item for key, item in value.items() if item is not ...}
    file = tmp_path / "chip.json"
    file.write_text(json.dumps(value))
    with pytest.raises(MappingError, match=message) as error:
        load_chip(file)
    assert error.value.code is MappingCode.CHIP
    assert str(error.value).startswith("M301 CHIP: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[1]", "no JSON object"),
        (b'{"name": "a", "name": "b"}', "a key is repeated"),
        (b"[" * 20000, "not valid JSON"),
        (b'{"neurons": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b" " * 70000, "more than 65536 bytes"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, message):
    file = tmp_path / "chip.json"
    file.write_bytes(text)
    with pytest.raises(MappingError, match=message):
        load_chip(file)


def test_every_design_rule_has_its_own_code():
    assert [code.value for code in MappingCode] == list(range(301, 313))
