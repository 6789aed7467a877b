"""Whatever is changed in a bundle, the reader notices and says what."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    BundleCode,
    BundleError,
    latency_lut,
    read_bundle,
    write_bundle,
)
from snn_temporal_plugins.export.bundle.format import digest, dump_json
from tests.export.networks import conv_network, dense_network, step_network


def write(network, path):
    write_bundle(network, path, lut=latency_lut(network), golden=0)
    return path


@pytest.fixture
def bundle(tmp_path):
    return write(dense_network(), tmp_path / "net")


@pytest.fixture
def steps(tmp_path):
    return write(step_network(dense_network()), tmp_path / "steps")


@pytest.fixture(params=["bundle", "steps"])
def either(request):
    return request.getfixturevalue(request.param)


def refused(bundle):
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle)
    message = str(caught.value)
    assert message.startswith(f"B{caught.value.code.value} ")
    return caught.value.code


def edit(bundle, change):
    """Change the manifest."""
    file = bundle / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_bytes(dump_json(manifest))


def rehash(bundle):
    """Make every size and hash true again."""

    def change(manifest):
        for name in manifest["files"]:
            manifest["files"][name] = digest((bundle / name).read_bytes())

    edit(bundle, change)


def flip(file, position, bit=0):
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(bytes(content))


def test_one_flipped_bit_in_any_file(bundle):
    names = json.loads((bundle / "manifest.json").read_text())["files"]
    for name in names:
        content = (bundle / name).read_bytes()
        if not content:
            continue
        flip(bundle / name, len(content) // 2)
        assert refused(bundle) is BundleCode.HASH
        (bundle / name).write_bytes(content)
    read_bundle(bundle)


def test_weights_are_covered_even_if_hashed_again(either):
    bundle = either
    for layer in (0, 1):
        file = bundle / f"tensors/layer_{layer}_weight.bin"
        for position in range(0, file.stat().st_size, 3):
            flip(file, position)
            rehash(bundle)
            assert refused(bundle) is BundleCode.GOLDEN
            flip(file, position)
    rehash(bundle)
    read_bundle(bundle)


@pytest.mark.parametrize("make", [conv_network, lambda: step_network(conv_network())])
def test_weights_of_a_convolution_are_covered(make, tmp_path):
    write_bundle(make(), tmp_path / "net", golden=0)
    for layer in (0, 2):
        file = tmp_path / f"net/tensors/layer_{layer}_weight.bin"
        for position in range(0, file.stat().st_size, 29):
            flip(file, position)
            rehash(tmp_path / "net")
            assert refused(tmp_path / "net") is BundleCode.GOLDEN
            flip(file, position)


@pytest.mark.parametrize("bit", [0, 3])
def test_thresholds_are_covered_even_if_hashed_again(either, bit):
    bundle = either
    for layer in (0, 1):
        file = bundle / f"tensors/layer_{layer}_threshold.bin"
        for position in range(0, file.stat().st_size, 4):
            flip(file, position, bit)
            rehash(bundle)
            assert refused(bundle) is BundleCode.GOLDEN
            flip(file, position, bit)


def test_the_encoder_is_covered(bundle):
    flip(bundle / "encoder/lut.bin", 2 * 200)
    rehash(bundle)
    assert refused(bundle) is BundleCode.GOLDEN


@pytest.mark.parametrize("name", ["in.csv", "layer_0.csv", "layer_1.csv"])
def test_a_changed_golden_time(either, name):
    bundle = either
    file = bundle / "golden/1" / name  # all at the end
    lines = file.read_text().splitlines()
    neuron, tick, *rest = lines[1].split(",")
    lines[1] = ",".join([neuron, str((int(tick) + 1) % 40), *rest])
    file.write_text("\n".join(lines) + "\n")
    rehash(bundle)
    assert refused(bundle) is BundleCode.GOLDEN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "neuron,tick\n0\n",
        "neuron,tick\n0,99\n",
        "neuron,tick\n99,0\n",
        "neuron,tick\n-1,0\n",
        "neuron,tick\n0,x\n",
        "neuron,tick\n0,1.5\n",
        "neuron,tick\n1,0\n0,0\n",
        "neuron,tick\n0,0\r\n",
        "neuron,tick\n0,é\n",
    ],
)
def test_damaged_golden_inputs(bundle, text):
    (bundle / "golden/0/in.csv").write_bytes(text.encode())
    rehash(bundle)
    assert refused(bundle) is BundleCode.GOLDEN


DECODINGS = [("tie", "lowest_index"), ("tie", "reject"), ("no_output", "max_v_at_end")]


@pytest.mark.parametrize(("rule", "value"), DECODINGS)
def test_another_decoding(either, rule, value):
    """The features say it too, and if they lie as well, the golden cases."""

    def change_feature(manifest):
        features = manifest["required_features"]
        (old,) = (name for name in features if name.startswith(f"{rule}_"))
        features[features.index(old)] = f"{rule}_{value}"

    edit(either, lambda manifest: manifest["decoding"].update({rule: value}))
    assert refused(either) is BundleCode.FEATURE
    edit(either, change_feature)
    assert refused(either) is BundleCode.GOLDEN


def test_an_unknown_decoding(bundle):
    edit(bundle, lambda manifest: manifest["decoding"].update(tie="luck"))
    assert refused(bundle) is BundleCode.SCHEMA


def test_another_number_of_ticks(bundle):
    edit(bundle, lambda manifest: manifest["time"].update(num_ticks=41))
    assert refused(bundle) in (BundleCode.GOLDEN, BundleCode.WIDTH)


def test_fewer_ticks_of_steps(steps):
    """More are harmless: nothing moves between spikes."""
    edit(steps, lambda manifest: manifest["time"].update(num_ticks=39))
    assert refused(steps) in (BundleCode.GOLDEN, BundleCode.TENSOR)


def as_response(response, index=None):
    """A change of the manifest that makes other neurons of some or all layers."""

    def change(manifest):
        for number, layer in enumerate(manifest["layers"]):
            if index not in (None, number):
                continue
            layer["response"] = response
            layer.pop("slope_bits", None)
            if response == "ramp":
                layer["slope_bits"] = layer["potential_bits"] = 32

    return change


def test_layers_of_two_responses(either):
    other = "step" if either.name == "net" else "ramp"
    for index in (0, 1):
        before = (either / "manifest.json").read_bytes()
        edit(either, as_response(other, index))
        assert refused(either) is BundleCode.RESPONSE
        (either / "manifest.json").write_bytes(before)


def test_the_other_response(either):
    here, other = ("ramp", "step") if either.name == "net" else ("step", "ramp")
    edit(either, as_response(other))
    assert refused(either) is BundleCode.FEATURE

    def change(manifest):
        features = manifest["required_features"]
        features[features.index(here)] = other

    edit(either, change)
    assert refused(either) is BundleCode.GOLDEN


STEP_CHANGES = {
    "a slope": (lambda m: m["layers"][0].update(slope_bits=9), BundleCode.SCHEMA),
    "a ramp without slope": (
        lambda m: m["layers"][0].update(response="ramp"),
        BundleCode.SCHEMA,
    ),
    "no response": (lambda m: m["layers"][0].pop("response"), BundleCode.SCHEMA),
    "an unknown response": (
        lambda m: m["layers"][0].update(response="ramp_saturating"),
        BundleCode.SCHEMA,
    ),
    "narrow potential": (
        lambda m: m["layers"][0].update(
            potential_bits=m["layers"][0]["potential_bits"] - 1
        ),
        BundleCode.WIDTH,
    ),
    "undeclared feature": (
        lambda m: m["required_features"].remove("step"),
        BundleCode.FEATURE,
    ),
    "the other feature": (
        lambda m: m["required_features"].append("ramp"),
        BundleCode.FEATURE,
    ),
    "a threshold out of the register": (
        lambda m: m["layers"][1].update(potential_bits=1),
        BundleCode.WIDTH,
    ),
}


@pytest.mark.parametrize("name", STEP_CHANGES)
def test_changed_manifests_of_steps(steps, name):
    read_bundle(steps)
    change, code = STEP_CHANGES[name]
    edit(steps, change)
    assert refused(steps) is code


def test_a_truncated_and_a_longer_file(bundle):
    file = bundle / "tensors/layer_0_weight.bin"
    content = file.read_bytes()
    for wrong in (content[:-1], content + b"\0", b""):
        file.write_bytes(wrong)
        assert refused(bundle) is BundleCode.SIZE
        rehash(bundle)
        assert refused(bundle) is BundleCode.SIZE
        file.write_bytes(content)
        rehash(bundle)


@pytest.mark.parametrize(
    "name", ["SPEC.md", "reader.py", "schema/manifest.schema.json"]
)
def test_what_is_the_same_in_all_bundles(bundle, name):
    """A stranger reads it, runs it, or believes it."""
    content = (bundle / name).read_bytes()
    for changed in (content + b"\n", b"import os\n" + content, b""):
        (bundle / name).write_bytes(changed)
        rehash(bundle)
        assert refused(bundle) is BundleCode.PINNED
    (bundle / name).unlink()
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["files"][name]
    (bundle / "manifest.json").write_bytes(dump_json(manifest))
    assert refused(bundle) is BundleCode.PINNED


@pytest.mark.parametrize("name", ["reader2.py", "rtl/core.sv", "golden/0/more.csv"])
def test_files_without_a_purpose(bundle, name):
    def add(name):
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_bytes(b"x")
        edit(bundle, lambda manifest: manifest["files"].update({name: digest(b"x")}))

    add("extras/free.txt")
    assert read_bundle(bundle).lut is not None
    add(name)
    assert refused(bundle) is BundleCode.UNKNOWN_FILE


def test_one_file_for_two_arrays(bundle):
    def change(manifest):
        one, other = (layer["scale"] for layer in manifest["layers"])
        manifest["files"].pop(other["file"])
        other["file"], other["shape"] = one["file"], one["shape"]

    (bundle / "tensors/layer_1_scale.bin").unlink()
    edit(bundle, change)
    assert refused(bundle) in (BundleCode.TENSOR, BundleCode.SHAPE)


def test_files_that_may_not_be_read():
    with tempfile.TemporaryDirectory() as name:
        bundle = write(dense_network(), Path(name) / "net")
        for folder in (
            Path(name),
            bundle,
            *(p for p in bundle.rglob("*") if p.is_dir()),
        ):
            folder.chmod(0o755)
        (bundle / "SPEC.md").chmod(0)
        root = os.geteuid() == 0
        if root:  # who may read everything
            os.seteuid(65534)
        try:
            assert refused(bundle) is BundleCode.UNREADABLE
        finally:
            if root:
                os.seteuid(0)


def test_a_missing_and_an_unlisted_file(bundle):
    (bundle / "extra.txt").write_text("")
    assert refused(bundle) is BundleCode.UNLISTED
    (bundle / "extra.txt").unlink()
    (bundle / "SPEC.md").unlink()
    assert refused(bundle) is BundleCode.MISSING


def test_links(bundle, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes((bundle / "SPEC.md").read_bytes())
    (bundle / "SPEC.md").unlink()
    (bundle / "SPEC.md").symlink_to(outside)
    assert refused(bundle) is BundleCode.LINK


def test_pipes(bundle):
    (bundle / "golden/1/in.csv").unlink()
    os.mkfifo(bundle / "golden/1/in.csv")
    assert refused(bundle) is BundleCode.LINK


def test_a_linked_manifest_and_a_linked_folder(bundle, tmp_path):
    (bundle / "manifest.json").rename(tmp_path / "manifest.json")
    (bundle / "manifest.json").symlink_to(tmp_path / "manifest.json")
    assert refused(bundle) is BundleCode.LINK
    (bundle / "manifest.json").unlink()
    (tmp_path / "manifest.json").rename(bundle / "manifest.json")
    (bundle / "golden").rename(tmp_path / "golden")
    (bundle / "golden").symlink_to(tmp_path / "golden")
    assert refused(bundle) is BundleCode.LINK


@pytest.mark.parametrize(
    "name",
    [
        "../outside.bin",
        "/etc/passwd.txt",
        "a/../b.bin",
        "a\\b.bin",
        ".hidden.bin",
        "manifest.json",
        "tensors//w.bin",
        "C:/w.bin",
        "a.bin\n",
        "",
        "a/.bin",
    ],
)
def test_names_that_leave_the_bundle(bundle, name):
    entry = digest(b"")
    edit(bundle, lambda manifest: manifest["files"].update({name: entry}))
    assert refused(bundle) is BundleCode.PATH


def test_a_tensor_that_is_not_listed(bundle):
    def change(manifest):
        manifest["layers"][0]["weight"]["file"] = "../../etc/passwd.bin"

    edit(bundle, change)
    assert refused(bundle) in (BundleCode.SCHEMA, BundleCode.TENSOR)


CHANGES = {
    "another format": (lambda m: m.update(format="zip"), BundleCode.NOT_A_BUNDLE),
    "next version": (lambda m: m.update(spec_version="1.1.0"), BundleCode.VERSION),
    "no version": (lambda m: m.pop("spec_version"), BundleCode.VERSION),
    "odd version": (lambda m: m.update(spec_version=[1, 0]), BundleCode.VERSION),
    "unknown feature": (
        lambda m: m["required_features"].append("step"),
        BundleCode.FEATURE,
    ),
    "undeclared feature": (
        lambda m: m["required_features"].remove("ramp"),
        BundleCode.FEATURE,
    ),
    "needless feature": (
        lambda m: m["required_features"].append("conv2d"),
        BundleCode.FEATURE,
    ),
    "features of another type": (
        lambda m: m.update(required_features=3),
        BundleCode.SCHEMA,
    ),
    "unknown key": (lambda m: m.update(author="x"), BundleCode.SCHEMA),
    "unknown key below": (lambda m: m["time"].update(leap=1), BundleCode.SCHEMA),
    "unknown key of a layer": (
        lambda m: m["layers"][0].update(bias="x"),
        BundleCode.SCHEMA,
    ),
    "missing key": (lambda m: m.pop("decoding"), BundleCode.SCHEMA),
    "files of another type": (lambda m: m.update(files=[]), BundleCode.SCHEMA),
    "another response": (
        lambda m: m["layers"][0].update(response="step"),
        BundleCode.SCHEMA,
    ),
    "another kind": (lambda m: m["layers"][0].update(kind="lstm"), BundleCode.SCHEMA),
    "latency": (lambda m: m["time"].update(layer_latency_ticks=1), BundleCode.SCHEMA),
    "a fraction for an integer": (
        lambda m: m["time"].update(num_ticks=40.0),
        BundleCode.SCHEMA,
    ),
    "a Boolean for an integer": (
        lambda m: m["golden"][0].update(start_layer=False),
        BundleCode.SCHEMA,
    ),
    "windows": (lambda m: m["time"].update(layer_windows=[1]), BundleCode.SCHEMA),
    "no layers": (lambda m: m.update(layers=[]), BundleCode.SCHEMA),
    "no golden case": (lambda m: m.update(golden=[]), BundleCode.SCHEMA),
    "narrow slope": (lambda m: m["layers"][0].update(slope_bits=4), BundleCode.WIDTH),
    "narrow potential": (
        lambda m: m["layers"][1].update(potential_bits=5),
        BundleCode.WIDTH,
    ),
    "narrow weight": (
        lambda m: m["layers"][0].update(weight_bits=3),
        BundleCode.TENSOR,
    ),
    "another type": (
        lambda m: m["layers"][0]["weight"].update(dtype="u16"),
        BundleCode.TENSOR,
    ),
    "another shape": (
        lambda m: m["layers"][0]["weight"].update(shape=[12, 10]),
        BundleCode.SHAPE,
    ),
    "a huge shape": (
        lambda m: m["layers"][0]["weight"].update(shape=[1 << 20, 1 << 20]),
        BundleCode.LIMIT,
    ),
    "another output": (
        lambda m: m["layers"][1].update(output_shape=[5]),
        BundleCode.SHAPE,
    ),
    "another input": (lambda m: m["input"].update(shape=[13]), BundleCode.SHAPE),
    "a layer less": (lambda m: m["layers"].pop(), BundleCode.GOLDEN),
    "a case that starts nowhere": (
        lambda m: m["golden"][0].update(start_layer=9),
        BundleCode.GOLDEN,
    ),
    "a case in another folder": (
        lambda m: m["golden"][0].update(folder="golden/99"),
        BundleCode.GOLDEN,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_manifests(bundle, name):
    change, code = CHANGES[name]
    edit(bundle, change)
    assert refused(bundle) is code


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[1, 2",
        b'{"format": NaN}',
        b'{"format": "ttfs-bundle", "format": "x"}',
        b"[" * 100000,
    ],
)
def test_manifests_that_are_no_json(bundle, content):
    (bundle / "manifest.json").write_bytes(content)
    assert refused(bundle) is BundleCode.JSON


def test_a_huge_manifest(bundle):
    with (bundle / "manifest.json").open("r+b") as file:
        file.truncate(1 << 21)
    assert refused(bundle) is BundleCode.LIMIT


def test_paths_that_hold_no_bundle(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file", tmp_path / "absent"):
        assert refused(path) is BundleCode.NOT_A_BUNDLE


def test_bad_thresholds_and_scales(bundle):
    for name, dtype, value in (
        ("tensors/layer_0_threshold.bin", "<i4", 0),
        ("tensors/layer_0_scale.bin", "<f8", np.nan),
        ("tensors/layer_0_scale.bin", "<f8", -1.0),
    ):
        file = bundle / name
        before = file.read_bytes()
        values = np.frombuffer(before, dtype).copy()
        values[0] = value
        file.write_bytes(values.tobytes())
        rehash(bundle)
        assert refused(bundle) is BundleCode.TENSOR
        file.write_bytes(before)
