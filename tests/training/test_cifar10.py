"""The data module of CIFAR-10 on small files that the tests write."""

import numpy as np
import pytest
import torch

from snn_temporal_plugins.training import CIFAR10

VARIABLE = "SNN_TEMPORAL_CIFAR10"
NAMES = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]


class Tiny(CIFAR10):
    records = 4


def content(file):
    """Four records; what is in them tells file and record, channel, row, column."""
    records = np.zeros((4, 3073), np.uint8)
    for k in range(4):
        records[k, 0] = (4 * file + k) % 10
        planes = records[k, 1:].reshape(3, 32, 32)
        planes[:] = 4 * file + k + 1
        planes[0, 2, 3], planes[1, 4, 5], planes[2, 31, 0] = 101, 102, 255
    return records


def write(folder, names=NAMES):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(NAMES):
        if name in names:
            (folder / name).write_bytes(content(number).tobytes())


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_the_six_files_are_read(tmp_path, inside):
    write(tmp_path / inside)
    data = Tiny(str(tmp_path), batch_size=3)
    data.setup("fit")
    train, validation, test = data.splits
    assert train.x.shape == (20, 3, 32, 32)
    assert train.x.dtype == torch.uint8
    assert train.label.tolist() == [k % 10 for k in range(20)]
    assert train.x[:, 0, 0, 0].tolist() == list(range(1, 21))
    assert test.label.tolist() == [0, 1, 2, 3]
    assert len(validation.label) == 0
    batches = list(data.test_dataloader())
    assert [len(label) for _, label in batches] == [3, 1]
    x = batches[0][0]
    assert x.shape == (3, 3, 32, 32)
    assert x.dtype == torch.float32
    assert (x * 255)[1, 0, 2, 3] == 101
    assert (x * 255)[1, 1, 4, 5] == 102
    assert x[1, 2, 31, 0] == 1
    assert (x * 255)[1, 0, 0, 0] == 22


def test_the_environment_variable_names_the_folder(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert len(Tiny().splits.train.label) == 20
    monkeypatch.setenv(VARIABLE, str(tmp_path / "elsewhere"))
    assert len(Tiny(str(tmp_path)).splits.train.label) == 20, "root goes first"


def test_validation_is_held_out(tmp_path):
    write(tmp_path)
    splits = Tiny(str(tmp_path), validation=5).splits
    assert len(splits.validation.label) == 5
    seen = [*splits.train.x[:, 0, 0, 0], *splits.validation.x[:, 0, 0, 0]]
    assert sorted(map(int, seen)) == list(range(1, 21))


def test_only_training_images_are_moved_and_mirrored(tmp_path):
    write(tmp_path)
    data = Tiny(str(tmp_path), batch_size=20, validation=5, shift=4, flip=True)
    for loader in (data.val_dataloader(), data.test_dataloader()):
        split = data.splits.validation if len(loader.x) == 5 else data.splits.test
        ((x, _),) = loader
        assert torch.equal(x, split.x / 255)
    ((moved, label),) = data.train_dataloader()
    assert moved.shape == (15, 3, 32, 32)
    assert set(label.tolist()) <= set(data.splits.train.label.tolist())
    entered = (moved == 0).all(1).flatten(1).any(1)  # no pixel of these files is black
    assert 8 < int(entered.sum()) <= 15
    assert data.train_dataloader().flip


def test_nothing_named_says_what_to_get(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError, match=r"no folder is named\. Unpack"):
        CIFAR10().setup("fit")


def test_missing_files_are_named(tmp_path):
    write(tmp_path / "cifar-10-batches-bin", NAMES[1:-1])
    with pytest.raises(
        FileNotFoundError, match=r": data_batch_1\.bin, test_batch\.bin missing"
    ) as caught:
        CIFAR10(str(tmp_path)).setup("fit")
    assert VARIABLE in str(caught.value)


@pytest.mark.parametrize("size", [0, 3073, 4 * 3073 - 1, 4 * 3073 + 1])
def test_a_file_of_another_size_is_refused(tmp_path, size):
    write(tmp_path)
    (tmp_path / NAMES[2]).write_bytes(bytes(size))
    with pytest.raises(ValueError, match=rf"_3\.bin has {size} bytes, expected 12292"):
        Tiny(str(tmp_path)).setup("fit")
    with pytest.raises(ValueError, match=r"_1\.bin has 12292 bytes, expected 30730000"):
        CIFAR10(str(tmp_path)).setup("fit")


def test_a_label_that_is_no_class_is_refused(tmp_path):
    write(tmp_path)
    records = content(5)
    records[2, 0] = 10
    (tmp_path / NAMES[5]).write_bytes(records.tobytes())
    with pytest.raises(ValueError, match=r"test_batch\.bin, record 2 has the label 10"):
        Tiny(str(tmp_path)).setup("fit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shift": 32}, "shift is 32, allowed is 0 to 31 pixels"),
        ({"shift": -1}, "shift is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        CIFAR10(**settings)
