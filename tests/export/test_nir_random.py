"""Random networks in every reader of NIR: all spikes of all layers, for 1,000 of them.

A reader gives the spikes of its last layer. Those of a layer before are the output of
the network cut off behind it.
"""

from dataclasses import replace

import pytest

from snn_temporal_plugins.export import PoolLayer, check_nir, emulate, write_nir
from tests.export.random_networks import FEW, MANY, random_trial

pytest.importorskip("nir")
pytest.importorskip("norse")
pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")


def assert_every_layer(seed, path):
    network, ticks = random_trial(seed, uniform=True)
    wanted = emulate(network, ticks).layer_ticks
    for index, layer in enumerate(network.layers):
        if isinstance(layer, PoolLayer):
            continue  # the next layer tells
        cut = replace(network, layers=network.layers[: index + 1])
        write_nir(cut, path, overwrite=True)
        checks = check_nir(path, cut, ticks)
        assert [check.reader for check in checks] == [
            "Norse",
            "snnTorch",
            "SpikingJelly",
        ]
        for check in checks:
            size = wanted[index].size
            assert (check.compared, check.different) == (size, 0), check.reader


@pytest.mark.parametrize("seed", FEW)
def test_random_networks_are_exact(seed, tmp_path):
    assert_every_layer(seed, tmp_path / "net.nir")


@pytest.mark.sweep
@pytest.mark.parametrize("first", range(0, len(MANY), 100))
def test_a_thousand_random_networks_are_exact(first, tmp_path):
    for seed in MANY[first : first + 100]:
        assert_every_layer(seed, tmp_path / "net.nir")
