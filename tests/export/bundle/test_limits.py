"""What is too large is refused before it costs memory or time."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    BundleCode,
    BundleError,
    IntegerDense,
    IntegerNetwork,
    PoolLayer,
    read_bundle,
    smallest_chip,
    write_bundle,
)
from snn_temporal_plugins.export.bundle import limits
from tests.export.bundle.test_bundle_mutations import edit, refused
from tests.export.bundle.test_reader import start
from tests.export.networks import conv_network, dense_network, random_conv, random_dense


@pytest.fixture
def bundle(tmp_path):
    write_bundle(conv_network(), tmp_path / "net", golden=0)
    return tmp_path / "net"


def dense_of(outputs, inputs):
    ones = np.ones(outputs)
    weight = np.ones((outputs, inputs), np.int32)
    return IntegerDense(weight, ones.astype(np.int64), ones)


def too_large(check, *arguments):
    with pytest.raises(BundleError, match="allowed: ") as caught:
        check(*arguments)
    assert caught.value.code is BundleCode.LIMIT


def test_weights():
    limits.check_weights(1 << 24)
    too_large(limits.check_weights, (1 << 24) + 1)


def test_values_of_all_layers():
    half = 1 << 18
    pool = PoolLayer(1, 1, 0)
    shape = (1, 1, half)

    def network(layers):
        # the last layer is dense, with half inputs and one output
        return IntegerNetwork((*layers, dense_of(1, half)), shape, 2, 1.0)

    limits.check_network_size(network([pool]))
    too_large(limits.check_network_size, network([pool, pool]))


def test_padding_counts():
    # 9 outputs, and 3 x 3 values in the input, but 16383 x 16383 with its padding
    pool = PoolLayer(1, 8190, 8190)
    network = IntegerNetwork((pool, dense_of(1, 9)), (1, 3, 3), 2, 1.0)
    too_large(limits.check_network_size, network)


def test_windows_of_a_layer():
    conv = random_conv(np.random.default_rng(0), 100, 1, 21, padding=10)
    last = dense_of(1, 20 * 20)
    network = IntegerNetwork((conv, last), (100, 20, 20), 2, 1.0)
    # 400 places of 100 x 21 x 21 values
    too_large(limits.check_network_size, network)


def test_work_of_golden_cases():
    network = dense_network(num_ticks=65535)
    each = [12 * 10 + 65535 * (100 + 12 + 10), 10 * 4 + 65535 * (100 + 10 + 4)]
    most = (1 << 33) // sum(each)
    limits.check_work(network, [0] * most)
    too_large(limits.check_work, network, [0] * (most + 1))
    too_large(limits.check_work, network, [0] * most + [1])
    limits.check_work(network, [1] * most)


def test_a_writer_says_so_at_once(tmp_path):
    network = IntegerNetwork((dense_of(2, 1 << 20),), (1 << 20,), 2, 1.0)
    too_large(write_bundle, network, tmp_path / "net")
    slow = dense_network(num_ticks=65535)
    start = time.perf_counter()
    too_large(lambda: write_bundle(slow, tmp_path / "net", golden=1200))
    assert time.perf_counter() - start < 20
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_would_take_hours(bundle):
    """Both readers refuse it in seconds."""
    case = json.loads((bundle / "manifest.json").read_text())["golden"][0]

    def change(manifest):
        manifest["time"]["num_ticks"] = 65535
        for layer in manifest["layers"]:
            layer.update({key: 32 for key in layer if key.endswith("al_bits")})
            layer.update({key: 32 for key in layer if key == "slope_bits"})
        manifest["golden"] = [case] * 1000

    edit(bundle, change)
    begin = time.perf_counter()
    assert refused(bundle) is BundleCode.LIMIT
    assert "steps of work" in start(bundle).stderr
    assert time.perf_counter() - begin < 20


def test_a_million_entries_have_one_error(bundle):
    edit(bundle, lambda manifest: manifest.update(layers=[0] * 200_000))
    begin = time.perf_counter()
    assert refused(bundle) is BundleCode.SCHEMA
    assert time.perf_counter() - begin < 5


def test_a_large_file_is_not_read(bundle):
    os.truncate(bundle / "tensors/layer_0_weight.bin", 1 << 40)
    assert refused(bundle) is BundleCode.LIMIT
    assert "too large" in start(bundle).stderr


def test_many_files(bundle):
    (bundle / "extras").mkdir()
    for number in range(8192):
        (bundle / f"extras/{number}.txt").touch()
    assert refused(bundle) is BundleCode.LIMIT
    assert "too large" in start(bundle).stderr


def test_folders_without_end(bundle):
    deep = bundle
    for _ in range(30):
        deep = deep / ("d" * 20)
    deep.mkdir(parents=True)
    assert refused(bundle) is BundleCode.PATH


def test_nesting(bundle):
    def nested(depth):
        value = 0
        for _ in range(depth):
            value = [value]
        return lambda manifest: manifest.update(extras={"deep": value})

    edit(bundle, nested(29))
    read_bundle(bundle)
    edit(bundle, nested(31))
    assert refused(bundle) is BundleCode.JSON


@pytest.mark.sweep
def test_the_largest_network_takes_less_than_a_gigabyte(tmp_path):
    rng = np.random.default_rng(0)
    layers = (random_dense(rng, 16384, 1023, 4000), random_dense(rng, 1023, 10, 400))
    network = IntegerNetwork(layers, (16384,), 64, 1.0)
    chip = smallest_chip(network, 4)
    write_bundle(network, tmp_path / "net.zip", chip=chip, golden=0)
    program = (
        "import sys\n"
        "from snn_temporal_plugins.export import read_bundle\n"
        "read_bundle(sys.argv[1])\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "net.zip")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 1 << 20  # KiB
