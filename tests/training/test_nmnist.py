"""The data module of N-MNIST on small sets that the tests write."""

import numpy as np
import pytest
import torch

from snn_temporal_plugins.training import NMNIST
from snn_temporal_plugins.training.events import read_events
from snn_temporal_plugins.training.nmnist import find_recordings
from tests.real_data import folder
from tests.training.test_events import content

VARIABLE = "SNN_TEMPORAL_NMNIST"


def recording(number):
    """Two events that tell which file it is, and one that is too late."""
    return content([(number, 5, 1, 1), (number, 6, 0, 3001), (20, 20, 0, 300_000)])


def write_standard(root, per_class=2):
    """Sample number n of a part is of class n // per_class."""
    for part in ("Train", "Test"):
        for number in range(10 * per_class):
            folder = root / part / str(number // per_class)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number + 1:05d}.bin").write_bytes(recording(number))


def write_small(root, train=6, test=3):
    root.mkdir(parents=True, exist_ok=True)
    parts = (("train1K.txt", 1, train), ("test100.txt", 60001, test))
    for name, first, count in parts:
        lines = ["#sample #class"]
        for number in range(count):
            (root / f"{first + number}.bs2").write_bytes(recording(number))
            lines.append(f"{first + number}\t{(7 * number) % 10}")
        (root / name).write_bytes("\r\n".join([*lines, ""]).encode())


def columns(x):
    """Which recordings a batch holds: the column of their first event."""
    return x[:, 0, 1, 5].argmax(-1).tolist()


def data_at(root, **settings):
    return NMNIST(str(root), stabilise=False, num_steps=3, **settings)


@pytest.mark.parametrize("inside", ["", "NMNIST"])
def test_the_standard_layout(tmp_path, inside):
    write_standard(tmp_path / inside)
    (tmp_path / inside / "Train" / "3" / "._00007.bin").write_bytes(b"of the archiver")
    data = data_at(tmp_path, batch_size=20)
    data.setup("fit")
    ((x, label),) = data.test_dataloader()
    assert x.shape == (20, 3, 2, 34, 34)
    assert x.dtype == torch.float32
    expected = torch.zeros(20, 3, 2, 34, 34)
    for number in range(20):
        expected[number, 0, 1, 5, number] = 1
        expected[number, 1, 0, 6, number] = 1
    assert torch.equal(x, expected)
    assert label.dtype == torch.int64
    assert label.tolist() == [number // 2 for number in range(20)]
    assert len(data.splits.train.label) == 20
    assert data.val_dataloader() == []


@pytest.mark.parametrize("inside", ["", "NMNISTsmall"])
def test_the_layout_of_the_small_set(tmp_path, inside):
    write_small(tmp_path / inside)
    data = data_at(tmp_path)
    ((x, label),) = data.test_dataloader()
    assert columns(x) == [0, 1, 2]
    assert label.tolist() == [0, 7, 4]
    assert data.splits.train.label.tolist() == [0, 7, 4, 1, 8, 5]


def test_every_batch_has_the_labels_of_its_samples_and_a_run_resumes(tmp_path):
    write_standard(tmp_path)

    def loader():
        return data_at(tmp_path, batch_size=8, seed=1).train_dataloader()

    def listed(batches):
        return [(columns(x), label.tolist()) for x, label in batches]

    first = loader()
    whole = listed(first)
    assert [len(label) for _, label in whole] == [8, 8, 4]
    seen = [pair for batch in whole for pair in zip(*batch, strict=True)]
    assert sorted(seen) == [(number, number // 2) for number in range(20)]
    assert seen != sorted(seen)
    next(iter(first))
    resumed = loader()
    resumed.load_state_dict(first.state_dict())
    assert listed(resumed) == whole[1:]


def test_samples_are_held_as_bits(tmp_path):
    write_small(tmp_path)
    data = NMNIST(str(tmp_path))
    assert data.splits.train.x.shape == (6, 8670)
    assert data.splits.train.x.dtype == torch.uint8
    assert next(iter(data.train_dataloader()))[0].shape == (6, 30, 2, 34, 34)


def test_validation_is_held_out_of_training(tmp_path):
    write_standard(tmp_path)
    data = data_at(tmp_path, batch_size=20, validation=5)
    ((held, _),) = data.val_dataloader()
    ((kept, _),) = data.train_dataloader()
    assert len(held) == 5
    assert sorted(columns(held) + columns(kept)) == list(range(20))


def test_settings_reach_the_recordings(tmp_path):
    write_small(tmp_path)
    path = tmp_path / "6.bs2"
    rows = [(20, 20, 0, 60_000), (20, 21, 1, 60_100), (2, 30, 1, 60_000)]
    path.write_bytes(content(rows))

    def places(**settings):
        return np.argwhere(NMNIST(str(tmp_path), **settings).frames(path)).tolist()

    plain = [[19, 0, 20, 20], [19, 1, 30, 2], [20, 1, 21, 20]]
    assert places(stabilise=False) == plain
    assert places(stabilise=False, bin_us=60_000) == [
        [0, 0, 20, 20],
        [0, 1, 30, 2],
        [1, 1, 21, 20],
    ]
    assert places(stabilise=False, denoise_us=99) == []
    assert places(stabilise=False, denoise_us=100) == [plain[2]]
    # after 60 ms the camera points 2 pixels to the right and 4 down
    assert places() == [[19, 0, 16, 18], [19, 1, 26, 0], [20, 1, 17, 18]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0, allowed is 1 or more"),
        ({"bin_us": -3}, "bin_us is -3, allowed is 1 or more"),
        ({"denoise_us": 0}, "denoise_us is 0, allowed is 1 or more"),
        ({"validation": -1}, "validation is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        NMNIST(**settings)


def test_holding_out_everything_is_refused(tmp_path):
    write_small(tmp_path)
    with pytest.raises(ValueError, match="validation is 6, allowed is 0 to 5"):
        data_at(tmp_path, validation=6).setup("fit")


def test_the_environment_variable_names_the_folder_unless_one_is_given(
    tmp_path, monkeypatch
):
    write_small(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert len(find_recordings(None)[0]) == 6
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        find_recordings(str(tmp_path / "elsewhere"))


def test_a_missing_set_says_what_to_get_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    for root, message in ((None, "no folder is named"), (str(tmp_path), str(tmp_path))):
        with pytest.raises(FileNotFoundError) as error:
            NMNIST(root).setup("fit")
        for word in (message, "Train.zip", "bamsumit/slayerPytorch", "--data.root"):
            assert word in str(error.value)
        assert VARIABLE in str(error.value)


def test_a_missing_part_is_named(tmp_path):
    standard, small = tmp_path / "standard", tmp_path / "small"
    write_standard(standard)
    for path in (standard / "Test" / "4").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no \.bin files .*Test.4\. Unpack"):
        find_recordings(str(standard))
    write_small(small)
    (small / "60002.bs2").unlink()
    with pytest.raises(FileNotFoundError, match=r"lists 1 files .* is 60002\.bs2\. U"):
        find_recordings(str(small))
    (small / "test100.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"test100\.txt is missing\. Unpack"):
        find_recordings(str(small))


@pytest.mark.parametrize(
    "line", ["7", "7\t10", "7\t3\t1", "../7\t3", "-7\t3", "7\tthree", "7\t\xb3"]
)
def test_a_damaged_list_is_refused_with_the_line(tmp_path, line):
    write_small(tmp_path)
    path = tmp_path / "train1K.txt"
    path.write_bytes(b"#sample #class\r\n1\t5\r\n" + line.encode("latin-1"))
    with pytest.raises(ValueError, match=r"train1K\.txt, line 3 is .*class 0 to 9"):
        find_recordings(str(tmp_path))


def test_an_empty_list_is_refused(tmp_path):
    write_small(tmp_path)
    (tmp_path / "train1K.txt").write_text("#sample #class\n")
    with pytest.raises(ValueError, match=r"train1K\.txt lists no file"):
        find_recordings(str(tmp_path))


def test_a_damaged_recording_is_named(tmp_path):
    write_small(tmp_path)
    (tmp_path / "60003.bs2").write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"60003\.bs2 has 7 bytes"):
        NMNIST(str(tmp_path)).setup("fit")


def test_the_command_line_finds_it(capsys):
    from snn_temporal_plugins import cli

    with pytest.raises(SystemExit) as stop:
        cli.main(["fit", "--data.help", "NMNIST"])
    assert stop.value.code == 0
    assert "denoise_us" in capsys.readouterr().out


@pytest.mark.data
def test_real_files():
    root = folder(VARIABLE, "nmnist_small")
    train, test = find_recordings(root)
    if len(train) != 1000:
        pytest.skip(f"{VARIABLE} names another set than the small one")
    assert sum(len(read_events(path).x) for path, _ in train + test) == 4_518_827
    data = NMNIST(root, validation=100)
    data.setup("fit")
    sizes = [len(split.label) for split in data.splits]
    assert sizes == [900, 100, 100]
    # MNIST's labels, in MNIST's order
    assert [label for _, label in train[:12]] == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5]
    assert [label for _, label in test[:8]] == [7, 2, 1, 0, 4, 1, 4, 9]
    ((x, label),) = NMNIST(root, batch_size=100).test_dataloader()
    assert x.unique().tolist() == [0, 1]
    assert label.tolist() == [label for _, label in test]
    assert 0.01 < float(x.mean()) < 0.03
