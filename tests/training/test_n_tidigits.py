"""The data module of N-TIDIGITS18 on HDF5 files that the tests write."""

import sys

import numpy as np
import pytest
import torch

from snn_temporal_plugins.training import NTIDIGITS
from snn_temporal_plugins.training import n_tidigits as module

h5py = pytest.importorskip("h5py")
VARIABLE = "SNN_TEMPORAL_N_TIDIGITS"
TRAIN = ("man-ae-a-5", "man-ae-b-z", "woman-bf-a-o", "woman-bf-a-59zo", "man-ae-a-9")
TEST = ("man-xx-a-1", "man-xx-a-12")


def write(path, train=TRAIN, test=TEST, address=(3, 63, 3), seconds=(0.0, 0.0125, 0.3)):
    with h5py.File(path, "w") as file:
        for part, names in (("train", train), ("test", test)):
            file[f"{part}_labels"] = np.array(names, dtype="S")
            for name in names:
                file[f"{part}_addresses/{name}"] = np.array(address)
                file[f"{part}_timestamps/{name}"] = np.array(seconds, dtype="f4")


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "n-tidigits.hdf5")
    return tmp_path / "n-tidigits.hdf5"


def data_at(root):
    return NTIDIGITS(str(root), num_steps=4)


@pytest.mark.parametrize("folder", [False, True])
def test_single_digits_are_read(path, folder):
    data = data_at(path.parent if folder else path)
    data.setup("fit")
    assert data.splits.train.label.tolist() == [5, 0, 10, 9]
    ((x, label),) = data.test_dataloader()
    expected = torch.zeros(1, 4, 64)
    expected[0, 0, 3] = expected[0, 2, 63] = 1  # the third event is too late
    assert torch.equal(x, expected)
    assert label.tolist() == [1]
    assert label.dtype == torch.int64


def test_steps_may_be_finer(path):
    data = NTIDIGITS(str(path), num_steps=400, step_ms=1.0)
    ((x, _),) = data.test_dataloader()
    assert x[0].nonzero().tolist() == [[0, 3], [12, 63], [300, 3]]


def test_names_of_variable_length_are_read(path):
    with h5py.File(path, "r+") as file:
        del file["test_labels"]
        file["test_labels"] = ["man-xx-a-1"]
    assert data_at(path).splits.test.label.tolist() == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"address": (3, 64, 3)}, "event 1 in channel 64 at 0.0125"),
        ({"address": (-1, 0, 3)}, "event 0 in channel -1 .* allowed are 0 to 63"),
        ({"seconds": (0, 1, -2)}, r"event 2 in channel 3 at -2\.0 s"),
        ({"seconds": (0, np.nan, 2)}, "train sample man-ae-a-5 has event 1 .* nan s"),
        ({"seconds": (0, 1)}, "has 3 addresses and 2 times"),
        ({"address": (0.5, 1, 2)}, "man-ae-a-5 is of shape .* and type float64"),
        ({"address": ((1, 2, 3),)}, r"is of shape \(1, 3\)"),
        ({"test": ("man-xx-a-12", "../1")}, "test_labels names no sample of one digit"),
    ],
)
def test_wrong_content_is_named(path, change, message):
    write(path, **change)
    with pytest.raises(ValueError, match=message):
        data_at(path).setup("fit")


def test_a_missing_list_is_named(path):
    with h5py.File(path, "r+") as file:
        del file["test_timestamps/man-xx-a-1"]
    with pytest.raises(ValueError, match="test_timestamps/man-xx-a-1 is missing"):
        data_at(path).setup("fit")
    with h5py.File(path, "r+") as file:
        del file["test_timestamps"]
        file["test_timestamps"] = [1.0]
    with pytest.raises(ValueError, match="test_timestamps/man-xx-a-1 is missing"):
        data_at(path).setup("fit")


@pytest.mark.parametrize("kind", ["soft", "external", "raw", "virtual", "group"])
def test_data_that_lie_elsewhere_are_refused(path, kind):
    name = "test_addresses/man-xx-a-1"
    with h5py.File(path, "r+") as file:
        del file[name]
        if kind == "soft":
            file[name] = h5py.SoftLink("/train_addresses/man-ae-a-5")
        elif kind == "external":
            file[name] = h5py.ExternalLink("other.hdf5", "/secret")
        elif kind == "raw":
            file.create_dataset(name, (3,), "u1", external=[("/etc/hostname", 0, 3)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((3,), "u1")
            layout[:] = h5py.VirtualSource("other.hdf5", "secret", (3,))
            file.create_virtual_dataset(name, layout)
        else:
            file.create_group(name)
    with pytest.raises(ValueError, match=r"is a link, expected|is not a list kept in"):
        data_at(path).setup("fit")


def test_lists_are_read_within_bounds(path, monkeypatch):
    monkeypatch.setattr(module._array, "__defaults__", (2,))
    with pytest.raises(ValueError, match=r"of shape \(3,\) .* at most 2 numbers"):
        data_at(path).setup("fit")
    monkeypatch.undo()
    with h5py.File(path, "r+") as file:  # a chunk is unpacked as a whole
        del file["test_labels"]
        file.create_dataset(
            "test_labels", (1,), "S10", chunks=(200_000,), maxshape=(None,)
        )
    with pytest.raises(ValueError, match="at most 100000 names"):
        data_at(path).setup("fit")


@pytest.mark.parametrize("content", [b"", b"not HDF5", None])
def test_a_damaged_file_is_named(path, content):
    path.write_bytes(path.read_bytes()[:-2000] if content is None else content)
    with pytest.raises(
        ValueError, match=r"n-tidigits\.hdf5 is damaged, cut off or not"
    ):
        data_at(path).setup("fit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0, allowed is 1 or more"),
        ({"step_ms": -1.0}, "step_ms is -1.0, allowed is above 0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        NTIDIGITS(**settings)


def test_a_missing_set_says_what_to_get_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    for root, message in ((None, "no folder is named"), (str(tmp_path), "is missing")):
        with pytest.raises(FileNotFoundError) as error:
            NTIDIGITS(root).setup("fit")
        for word in (message, "10.3389/fnins.2018.00023", "--data.root", VARIABLE):
            assert word in str(error.value)


def test_a_missing_library_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="pip install h5py"):
        data_at(path).setup("fit")
