"""The reader that is SPEC.md as a program: no package, no NumPy, the same results."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_temporal_plugins.export import (
    Decoding,
    decode,
    emulate,
    encode_pixels,
    latency_lut,
    write_bundle,
)
from tests.export.bundle.plain import PROGRAM, reader
from tests.export.bundle.test_bundle_mutations import edit, flip, rehash
from tests.export.networks import conv_network, dense_network, step_network

NETWORKS = {
    "dense": dense_network,
    "conv": conv_network,
    "dense steps": lambda seed: step_network(dense_network(seed)),
    "conv steps": lambda seed: step_network(conv_network(seed)),
}


def start(*arguments):
    # no site-packages, so nothing but Python itself
    command = [sys.executable, "-I", "-S", str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def bundle(tmp_path):
    network = conv_network()
    write_bundle(network, tmp_path / "net", lut=latency_lut(network), golden=1)
    return tmp_path / "net"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_golden_case_of_a_bundle(tmp_path, name):
    write_bundle(NETWORKS[name](0), tmp_path / "net", golden=2)
    done = start(tmp_path / "net")
    assert done.returncode == 0, done.stderr
    cases = json.loads((tmp_path / "net" / "manifest.json").read_text())["golden"]
    assert done.stdout.count(": as stated\n") == len(cases)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(NETWORKS)),
    seed=st.integers(0, 10**6),
    tie=st.sampled_from(["max_v_at_tie", "lowest_index", "reject"]),
    no_output=st.sampled_from(["reject", "max_v_at_end"]),
)
def test_random_networks_and_images(tmp_path_factory, name, seed, tie, no_output):
    network, rules = NETWORKS[name](seed), Decoding(tie, no_output)
    lut = latency_lut(network)
    path = tmp_path_factory.mktemp("bundles") / "net"
    write_bundle(network, path, lut=lut, decoding=rules, golden=1)
    plain = reader.read_bundle(path)
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (3, *network.input_shape)).astype(np.uint8)
    ticks = encode_pixels(lut, pixels)
    ours = emulate(network, ticks)
    decision = decode(network, ours, rules)
    for sample, image in enumerate(pixels):
        source = [plain["lut"][pixel] for pixel in image.ravel().tolist()]
        found = reader.run(plain, source)
        for layer, expected in zip(found["layers"], ours.layer_ticks, strict=True):
            assert layer["tick"] == expected[sample].ravel().tolist()
        answer = found["answer"]
        assert answer["label"] == decision.label[sample]
        assert answer["tick"] == decision.tick[sample]
        assert answer["tied"] == decision.tied[sample]
        for what in ("spikes", "operations", "updates"):
            assert answer[what] == getattr(ours.counts, what)[sample].tolist()


def test_an_image_is_answered(bundle, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(bytes(range(128)))
    network = conv_network()
    pixels = np.arange(128, dtype=np.uint8).reshape(1, *network.input_shape)
    ticks = encode_pixels(latency_lut(network), pixels)
    label = decode(network, emulate(network, ticks)).label[0]
    assert f"class {label} at tick" in start(bundle, image).stdout
    image.write_bytes(b"12")
    assert "has 2 bytes, not 128" in start(bundle, image).stderr
    assert "give a bundle" in start().stderr


def change(key, value):
    def edited(manifest):
        *path, last = key
        for part in path:
            manifest = manifest[part]
        manifest[last] = value

    return edited


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (("format",), "other", "no ttfs-bundle"),
        (("spec_version",), "1.1.0", "no ttfs-bundle"),
        (("required_features",), ["dense", "magic"], "'magic'"),
        (("required_features",), ["dense", "first_spike", "ramp"], "are not"),
        (("own",), 1, "'own'"),
        (("time", "num_ticks"), 65536, "num_ticks is 65536"),
        (("time", "layer_latency_ticks"), 1, "not that of 1.0"),
        (("decoding", "tie"), "luck", "tie is unknown"),
        (("layers", 0, "weight_bits"), 2, "too many bits"),
        (("layers", 0, "slope_bits"), 2, "slope_bits"),
        (("layers", 0, "potential_bits"), 2, "potential_bits"),
        (("layers", 0, "padding"), 4096, "output_shape"),
        (("layers", 0, "output_shape"), [4, 9, 9], "output_shape"),
        (("layers", 0, "weight", "shape"), [4, 2, 3, 2], "do not fit"),
        (("layers", 1, "kernel_size"), 50, "output_shape"),
        (("layers", 1, "magic"), 1, "'magic'"),
        (("layers", 3, "kind"), "lstm", "'lstm'"),
        (("golden", 0, "start_layer"), 9, "cases start at"),
        (("files", "../x.bin"), {"sha256": "", "size": 0}, "'../x.bin'"),
    ],
)
def test_a_changed_manifest_is_refused(bundle, key, value, message):
    edit(bundle, change(key, value))
    done = start(bundle)
    assert done.returncode == 1
    assert done.stderr.startswith("refused: ")
    assert message in done.stderr


def test_changed_files_are_refused(bundle):
    flip(bundle / "tensors" / "layer_0_weight.bin", 3)
    assert "another size or SHA-256" in start(bundle).stderr
    rehash(bundle)
    assert "the network gives another" in start(bundle).stderr
    (bundle / "more.txt").write_text("x")
    assert "more.txt" in start(bundle).stderr
    (bundle / "more.txt").unlink()
    (bundle / "more.txt").symlink_to(bundle / "SPEC.md")
    assert "no plain file" in start(bundle).stderr
