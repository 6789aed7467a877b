"""NIR files of either kind: whole or not at all, the same bytes, nothing that runs."""

import pytest
import torch

from snn_temporal_plugins.export import ExportCode, ExportError, write_nir
from tests.export.lif_networks import tssl
from tests.export.networks import conv_network, step_network

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
