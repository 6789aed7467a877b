"""NIR files of either kind: whole or not at all, the same bytes, nothing that runs."""

import numpy as np
import pytest
import torch

from snn_temporal_plugins.export import (
    SILENT,
    ExportCode,
    ExportError,
    emulate,
    to_nir,
    write_nir,
    write_nir_data,
)
from tests.export.lif_networks import tssl
from tests.export.networks import (
    conv_network,
    dense_network,
    random_ticks,
    step_network,
)

h5py = pytest.importorskip("h5py")
nir = pytest.importorskip("nir")


def trains(seed=0):
    torch.manual_seed(seed)
    return tssl("6x6-2C3-P2-4", num_steps=5)


def steps(seed=0):
    return step_network(conv_network(seed))


either_kind = pytest.mark.parametrize("make", [conv_network, steps, trains])


@either_kind
def test_an_existing_file_is_refused_and_a_failed_write_leaves_it(
    make, tmp_path, monkeypatch
):
    path = tmp_path / "net.nir"
    write_nir(make(0), path)
    before = path.read_bytes()
    with pytest.raises(ExportError, match="overwrite=True") as caught:
        write_nir(make(1), path)
    assert caught.value.code is ExportCode.FILE_EXISTS

    def fail(file, graph):
        file.write_text("half")
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(nir, "write", fail)
        write_nir(make(1), path, overwrite=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["net.nir"]
    write_nir(make(1), path, overwrite=True)
    assert path.read_bytes() != before


@either_kind
def test_the_same_network_gives_the_same_bytes(make, tmp_path):
    write_nir(make(), tmp_path / "one.nir")
    write_nir(make(), tmp_path / "two.nir")
    assert (tmp_path / "one.nir").read_bytes() == (tmp_path / "two.nir").read_bytes()


@either_kind
def test_a_file_holds_numbers_and_words_alone(make, tmp_path):
    write_nir(make(), tmp_path / "net.nir")
    kinds = []

    def note(_, thing):
        if isinstance(thing, h5py.Dataset):
            kinds.append(h5py.check_string_dtype(thing.dtype) or thing.dtype.kind)

    with h5py.File(tmp_path / "net.nir") as file:
        file.visititems(note)
    assert len(kinds) > 20
    assert all(kind in ("f", "i") or kind.encoding == "utf-8" for kind in kinds)


@pytest.mark.parametrize("make", [dense_network, conv_network, steps])
def test_golden_spikes_are_the_emulators(make, tmp_path):
    if not hasattr(nir, "write_data"):
        pytest.skip("needs nir>=1.0.8")
    network = make()
    ticks = random_ticks(np.random.default_rng(0), (5, *network.input_shape), 30)
    path = tmp_path / "net.nirdata.h5"
    write_nir_data(network, ticks, path)
    data = nir.read_data(path)
    emulation = emulate(network, ticks)
    wanted = [emulation.input_ticks, *emulation.layer_ticks]
    graph = to_nir(network)
    names = ["input", *(name for name in graph.nodes if name.endswith("c_fire"))]
    assert list(data.nodes) == names
    for name, first in zip(names, wanted, strict=True):
        spikes = data.nodes[name].observables["spikes"]
        assert spikes.dt == graph.metadata["dt"]
        assert spikes.n_time_steps == network.num_ticks
        tick = np.where(spikes.data.any(1), spikes.data.argmax(1), SILENT)
        np.testing.assert_array_equal(tick, first.reshape(5, -1))
        assert (spikes.data.sum(1) <= 1).all()
    if make is dense_network:  # of images NIR's check compares a number with a shape
        data.check_nodes(graph)
    with pytest.raises(ExportError, match="overwrite=True"):
        write_nir_data(network, ticks, path)
    before = path.read_bytes()
    write_nir_data(network, ticks, path, overwrite=True)
    assert path.read_bytes() == before


def test_golden_spikes_need_a_late_nir(tmp_path, monkeypatch):
    monkeypatch.delattr(nir, "write_data", raising=False)
    with pytest.raises(ImportError, match=r"1\.0\.8"):
        write_nir_data(dense_network(), np.zeros((1, 12), int), tmp_path / "x")
