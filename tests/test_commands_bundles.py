"""`snn-temporal verify | inspect | emulate` on bundles that someone sent."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from snn_temporal_plugins import cli, export
from snn_temporal_plugins.export import smallest_chip
from tests.export.bundle.test_bundle import contents
from tests.export.bundle.test_bundle_mutations import flip, rehash
from tests.export.networks import conv_network, dense_network, step_network


@pytest.fixture(params=["net", "net.zip"])
def bundle(tmp_path, request):
    network = conv_network()
    lut = export.latency_lut(network)
    path = tmp_path / request.param
    chip = smallest_chip(network, 2)
    export.write_bundle(network, path, lut=lut, chip=chip, golden=1)
    return path


def test_verify_accepts_and_shows_the_hashes(bundle, capsys):
    before = contents(bundle.parent)
    cli.main(["verify", str(bundle)])
    text = capsys.readouterr().out
    assert "accepted" in text and "ttfs-bundle 1.0.1" in text
    for name in ("SPEC.md", "reader.py", "schema/manifest.schema.json"):
        content = export.bundle.format.pinned_files(chip=True)[name]
        assert f"{hashlib.sha256(content).hexdigest()}  {name}" in text
    assert "  rtl/" in text and "images of 2 PEs" in text
    assert contents(bundle.parent) == before


def test_verify_refuses_with_the_number_and_status_1(tmp_path):
    export.write_bundle(dense_network(), tmp_path / "net", golden=0)
    flip(tmp_path / "net/tensors/layer_0_weight.bin", 3)
    rehash(tmp_path / "net")
    before = contents(tmp_path)
    command = [sys.executable, "-m", "snn_temporal_plugins.cli", "verify"]
    done = subprocess.run(
        [*command, str(tmp_path / "net")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("snn-temporal verify: B216 GOLDEN: ")
    assert done.stdout == ""
    with pytest.raises(SystemExit, match="B202 NOT_A_BUNDLE"):
        cli.main(["verify", str(tmp_path / "absent")])
    assert contents(tmp_path) == before


def test_inspect_shows_what_is_in_a_bundle(bundle, capsys):
    cli.main(["inspect", str(bundle)])
    text = capsys.readouterr().out
    for words in (
        "ttfs-bundle 1.0.1",
        "40 of 0.05 (time of the model)",
        "2x8x8, pixels ",
        "conv2d 2x8x8 -> 4x8x8, stride 1, padding 1, 72 weights (4x2x3x3) of 4 bits",
        "earliest_spike_pool2d 4x8x8 -> 4x4x4, kernel 2, stride 2, padding 0",
        "dense 3x2x2 -> 3, 36 weights (3x12)",
        "slope_bits ",
        "tie: max_v_at_tie; no output: reject",
        "layer_2_steepest_fall",
        "'smallest', 2 PEs",
        "of them 0",
    ):
        assert words in text, words


def test_inspect_shows_steps_that_take_ticks(tmp_path, capsys):
    export.write_bundle(step_network(dense_network()), tmp_path / "net", golden=0)
    cli.main(["inspect", str(tmp_path / "net")])
    text = capsys.readouterr().out
    assert "12, as ticks" in text and "step, one spike" in text
    assert "slope" not in text and "chip" not in text


def test_inspect_shows_what_is_in_a_nir_file(tmp_path, capsys):
    pytest.importorskip("nir")
    export.write_nir(dense_network(), tmp_path / "net.nir")
    cli.main(["inspect", str(tmp_path / "net.nir")])
    assert "NIR-ReLPSP/1" in capsys.readouterr().out


def test_inspect_refuses_what_is_damaged(bundle):
    if bundle.is_dir():
        (bundle / "SPEC.md").write_text("trust me")
    else:
        bundle.write_bytes(bundle.read_bytes() + b"x")
    with pytest.raises(SystemExit, match=r"snn-temporal inspect: B2\d\d "):
        cli.main(["inspect", str(bundle)])


def test_emulate_takes_both(bundle, tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    out = tmp_path / "decisions.csv"
    options = ["--images", str(tmp_path / "images.npy"), "--out", str(out)]
    cli.main(["emulate", str(bundle), *options])
    assert "estimate, not measurement" in capsys.readouterr().out
    read = export.read_bundle(bundle)
    emulation = export.emulate(read.network, export.encode_pixels(read.lut, images))
    decision = export.decode(read.network, emulation, read.decoding)
    labels = np.loadtxt(out, delimiter=",", skiprows=1, dtype=int)[:, 1]
    np.testing.assert_array_equal(labels, decision.label)
