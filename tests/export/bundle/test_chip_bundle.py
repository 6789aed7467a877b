"""A bundle for a chip: memory images, the mapping, the reference core."""

import json
from dataclasses import asdict, replace

import pytest

from snn_temporal_plugins.export import (
    BundleCode,
    MappingCode,
    MappingError,
    map_network,
    memory_images,
    read_bundle,
    smallest_chip,
    write_bundle,
)
from snn_temporal_plugins.export.bundle import format as bundle_format
from snn_temporal_plugins.export.bundle.files import load_files
from tests.export.bundle.plain import reader
from tests.export.bundle.test_bundle import assert_same, contents
from tests.export.bundle.test_bundle_mutations import edit, refused, rehash
from tests.export.bundle.test_reader import start
from tests.export.networks import conv_network, dense_network, step_network

NETWORKS = {
    "dense": dense_network,
    "conv": conv_network,
    "steps": lambda: step_network(dense_network()),
}


@pytest.fixture
def bundle(tmp_path):
    network = dense_network()
    write_bundle(network, tmp_path / "net", chip=smallest_chip(network, 2), golden=0)
    return tmp_path / "net"


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("num_pes", [1, 3])
def test_round_trip(tmp_path, name, num_pes):
    network = NETWORKS[name]()
    chip = smallest_chip(network, num_pes)
    for path in (tmp_path / "net", tmp_path / "net.zip"):
        write_bundle(network, path, chip=chip, golden=0)
        bundle = read_bundle(path)
        assert bundle.chip == chip
        assert_same(bundle.network, network)
        reader.check_all(reader.read_bundle(path))
    files = contents(tmp_path / "net")
    assert load_files(tmp_path / "net.zip") == files
    mapping = map_network(network, chip)
    images = memory_images(mapping)
    assert {f: files[f] for f in files if f.startswith("mem/")} == {
        f"mem/{image}": content for image, content in images.items()
    }
    assert json.loads(files["reports/mapping.json"]) == mapping.report()
    assert json.loads(files["manifest.json"])["mapping"] == asdict(chip)
    cores = [f for f in files if f.startswith("rtl/")]
    assert cores and all(f.endswith(".sv") for f in cores)
    assert set(cores) < set(bundle_format.pinned_files(chip=True))


def test_a_bundle_without_a_chip_has_nothing_for_one(tmp_path):
    write_bundle(dense_network(), tmp_path / "net", golden=0)
    assert read_bundle(tmp_path / "net").chip is None
    tops = {path.name for path in (tmp_path / "net").iterdir()}
    assert not tops & {"mem", "rtl", "reports"}


def test_a_network_that_does_not_fit_leaves_nothing(tmp_path):
    network = dense_network()
    chip = replace(smallest_chip(network, 2), neurons=1)
    with pytest.raises(MappingError) as caught:
        write_bundle(network, tmp_path / "net", chip=chip)
    assert caught.value.code is MappingCode.NEURONS
    assert not list(tmp_path.iterdir())


def test_changed_images_and_reports(bundle):
    names = [f for f in contents(bundle) if f.startswith(("mem/", "reports/"))]
    assert len(names) == 1 + 2 * 4 + 1
    for name in names:
        before = (bundle / name).read_bytes()
        middle = len(before) // 2
        changed = b"1" if before[middle : middle + 1] == b"0" else b"0"
        (bundle / name).write_bytes(before[:middle] + changed + before[middle + 1 :])
        rehash(bundle)
        assert refused(bundle) is BundleCode.MAPPING
        (bundle / name).write_bytes(before)
    rehash(bundle)
    read_bundle(bundle)


def test_a_missing_image(bundle):
    (bundle / "mem/pe1/wgt.hex").unlink()
    edit(bundle, lambda manifest: manifest["files"].pop("mem/pe1/wgt.hex"))
    assert refused(bundle) is BundleCode.MAPPING


def test_a_changed_core(bundle):
    core = next((bundle / "rtl").iterdir())
    core.write_bytes(core.read_bytes() + b"\n// mine\n")
    rehash(bundle)
    assert refused(bundle) is BundleCode.PINNED


CHANGES = {
    "fewer PEs": {"num_pes": 1},
    "no PEs": {"num_pes": 0},
    "larger memories": {"weight_words": 1 << 20},
    "memories that are too small": {"weight_words": 1},
    "another name": {"name": "other"},
    "an unnamed chip": {"name": ""},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_chip(bundle, change):
    edit(bundle, lambda manifest: manifest["mapping"].update(change))
    assert refused(bundle) is BundleCode.MAPPING


def test_another_description(bundle):
    edit(bundle, lambda manifest: manifest["mapping"].update(banks=2))
    assert refused(bundle) is BundleCode.SCHEMA


def test_no_description(bundle):
    edit(bundle, lambda manifest: manifest.pop("mapping"))
    assert refused(bundle) is BundleCode.UNKNOWN_FILE
    assert "no files of the format" in start(bundle).stderr
