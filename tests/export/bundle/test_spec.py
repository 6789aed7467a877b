"""SPEC.md says what the code does: its examples, limits, names and versions."""

import hashlib
import json
import re

import pytest

from snn_temporal_plugins.export import (
    Decoding,
    IntegerNetwork,
    decode,
    emulate,
)
from snn_temporal_plugins.export.bundle import format as bundle_format
from snn_temporal_plugins.export.bundle import limits
from tests.export.bundle.plain import PROGRAM, reader
from tests.export.networks import dense

SPEC = bundle_format.pinned_files(chip=False)["SPEC.md"].decode()
SCHEMA = json.loads(bundle_format.pinned_files(chip=False)[bundle_format.SCHEMA_FILE])


def test_the_example_of_a_ramp():
    assert "weights 3 and -1, threshold 5, inputs that spike at ticks 0 and 1" in SPEC
    rows = re.findall(r"^\| (\d) \| (\d) \|(.*)\| (\d) \|$", SPEC, re.MULTILINE)
    potential = slope = 0
    for tick, (_, v, fires, g) in enumerate(rows):
        potential += slope
        slope += {0: 3, 1: -1}.get(tick, 0)
        assert (potential, slope) == (int(v), int(g))
        assert (potential >= 5) == ("spike" in fires)
    network = IntegerNetwork((dense([[3, -1]], 5),), (2,), 6, 1.0)
    assert emulate(network, [[0, 1]]).output_ticks == [[len(rows) - 1]]


def test_the_example_of_a_step():
    assert "weights 3 and -1, threshold 2, both inputs spike at tick 3" in SPEC
    network = IntegerNetwork((dense([[3, -1]], 2),), (2,), 6, 1.0, "step")
    assert emulate(network, [[3, 3]]).output_ticks == [[3]]


def test_the_example_of_a_tie():
    text = " ".join(SPEC.split())
    assert "weights 2 and 3 from one input, which spikes at tick 0" in text
    assert "1 by `max_v_at_tie`, 0 by `lowest_index`, and none by `reject`" in text
    network = IntegerNetwork((dense([[2], [3]], 4),), (1,), 6, 1.0)
    emulation = emulate(network, [[0]])
    assert emulation.output_ticks.tolist() == [[2, 2]]
    rules = {"max_v_at_tie": 1, "lowest_index": 0, "reject": -1}
    for rule, label in rules.items():
        assert decode(network, emulation, Decoding(tie=rule)).label == [label]


def test_the_limits():
    table = SPEC[SPEC.index("### Limits") : SPEC.index("### Refusals")]
    stated = re.findall(r"\| ([\d^]+) \|$", table, re.MULTILINE)
    numbers = [int(eval(text.replace("^", "**"))) for text in stated]
    assert numbers == [
        bundle_format.MAX_BYTES,
        bundle_format.MAX_MANIFEST_BYTES,
        bundle_format._MAX_DEPTH,
        bundle_format.MAX_FILES,
        bundle_format.MAX_NAME,
        limits.MAX_WEIGHTS,
        limits.MAX_VALUES,
        limits.MAX_WINDOW_VALUES,
        limits.MAX_WORK,
    ]
    assert (reader.BYTES, reader.FILES, reader.WEIGHTS) == (
        bundle_format.MAX_BYTES,
        bundle_format.MAX_FILES,
        limits.MAX_WEIGHTS,
    )
    assert (reader.VALUES, reader.WINDOWS, reader.WORK) == (
        limits.MAX_VALUES,
        limits.MAX_WINDOW_VALUES,
        limits.MAX_WORK,
    )
    files = SCHEMA["properties"]["files"]
    assert files["maxProperties"] == bundle_format.MAX_FILES
    size = files["additionalProperties"]["properties"]["size"]
    assert size["maximum"] == bundle_format.MAX_BYTES


def test_one_version_everywhere():
    version = bundle_format.SPEC_VERSION
    assert SPEC.startswith(f"# ttfs-bundle {version}\n")
    assert SCHEMA["properties"]["spec_version"] == {"const": version}
    assert f'("ttfs-bundle", "{version}")' in PROGRAM.read_text()


def test_reserved_names_are_refused():
    """They are in the specification, but not in this version."""
    features = SCHEMA["properties"]["required_features"]["items"]["enum"]
    assert set(features) == bundle_format.FEATURES
    assert "`ramp_saturating`" in SPEC and "ramp_saturating" not in features
    time = SCHEMA["properties"]["time"]["properties"]
    assert time["layer_windows"]["type"] == "null"
    assert time["layer_latency_ticks"] == {"const": 0}


@pytest.mark.parametrize("name", [*bundle_format.pinned_files(chip=True)])
def test_what_is_pinned_changes_with_the_version(name):
    """A published version of the format never changes; `pinned.json` knows them all."""
    from tests.export.bundle import pinned

    published = json.loads(pinned.FILE.read_text())[bundle_format.SPEC_VERSION]
    content = bundle_format.pinned_files(chip=True)[name]
    assert published[name] == hashlib.sha256(content).hexdigest(), (
        f"{name} has changed. If {bundle_format.SPEC_VERSION} has been published, give "
        "the format a new version; then run python -m tests.export.bundle.pinned"
    )
