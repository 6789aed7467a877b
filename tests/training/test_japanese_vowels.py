"""The data module of JapaneseVowels on files that the tests write."""

import numpy as np
import pytest
import torch

from snn_temporal_plugins.training import JapaneseVowels
from snn_temporal_plugins.training import japanese_vowels as module
from snn_temporal_plugins.training.japanese_vowels import (
    find_parts,
    on_off_spikes,
    read_series,
)
from tests.real_data import folder

VARIABLE = "SNN_TEMPORAL_JAPANESE_VOWELS"
HEADER = "# a comment\n@problemName JapaneseVowels\n@data\n"


def line(frames, label):
    return ":".join([*(",".join(map(str, one)) for one in np.transpose(frames)), label])


def utterance(length, seed):
    return np.random.default_rng(seed).normal(3, 2, (length, 12)).round(3)


def write(folder, train=6, test=3):
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("TRAIN", train), ("TEST", test)):
        lines = [line(utterance(7 + k, k), str(1 + k % 9)) for k in range(count)]
        path = folder / f"JapaneseVowels_{name}.ts"
        path.write_text(HEADER + "\n".join(lines) + "\n")


@pytest.mark.parametrize("inside", ["", "JapaneseVowels"])
def test_both_parts_are_read(tmp_path, inside):
    write(tmp_path / inside)
    data = JapaneseVowels(str(tmp_path), batch_size=4)
    data.setup("fit")
    assert data.splits.train.label.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.splits.train.x.shape == (6, 870)
    ((x, label),) = data.test_dataloader()
    assert x.shape == (3, 290, 24)
    assert x.dtype == torch.float32
    assert x.unique().tolist() == [0, 1]
    assert label.tolist() == [0, 1, 2]
    assert data.val_dataloader() == []


def test_values_are_standardised_over_the_training_part(tmp_path):
    write(tmp_path)
    frames = np.concatenate([utterance(7 + k, k) for k in range(6)])
    z = (utterance(9, 2) - frames.mean(0)) / frames.std(0)
    ((x, _),) = JapaneseVowels(str(tmp_path), steps_per_frame=4).test_dataloader()
    assert x.shape == (3, 116, 24)
    assert np.array_equal(x[2, :36], on_off_spikes(z, 4))
    assert not x[2, 36:].any()


def test_a_coefficient_that_never_changes_is_silent(tmp_path):
    for name in ("TRAIN", "TEST"):
        path = tmp_path / f"JapaneseVowels_{name}.ts"
        path.write_text(line(np.full((8, 12), 2.5), "1"))
    ((x, _),) = JapaneseVowels(str(tmp_path)).test_dataloader()
    assert not x.any()


def test_spikes_by_hand():
    # 0.2 spikes per step: the first after half an interval, then every fifth step
    spikes = on_off_spikes(np.array([[1.0, -2.5], [-1.0, 9.0]]), 10)
    assert spikes.shape == (20, 4)
    on_1, on_2, off_1, off_2 = (np.flatnonzero(one).tolist() for one in spikes.T)
    assert on_1 == [2, 7]
    assert off_1 == [12, 17]
    assert on_2 == list(range(10, 20))
    assert off_2 == [0, 2, 4, 6, 8]


def test_a_count_is_the_sum_of_the_rates():
    z = np.random.default_rng(0).normal(size=(29, 12))
    spikes = on_off_spikes(z, 10)
    expected = 10 * 0.2 * np.maximum(np.concatenate([z, -z], axis=1), 0).sum(0)
    assert set(np.unique(spikes)) == {0, 1}
    assert np.abs(spikes.sum(0) - expected).max() <= 0.5


def test_validation_is_held_out_of_training(tmp_path):
    write(tmp_path)
    data = JapaneseVowels(str(tmp_path), validation=2)
    ((_, held),) = data.val_dataloader()
    ((_, kept),) = data.train_dataloader()
    assert len(held) == 2
    assert sorted([*held.tolist(), *kept.tolist()]) == list(range(6))


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "1",
        line(utterance(8, 0), "0"),
        line(utterance(8, 0), "10"),
        line(utterance(8, 0), "one"),
        line(utterance(30, 0), "1"),
        line(utterance(8, 0)[:, :11], "1"),
        line(utterance(8, 0), "1").replace(",", ";", 1),
        line(utterance(8, 0), "1") + ":1",
        ",1" + line(utterance(8, 0), "1"),
        "1," + line(utterance(8, 0), "1"),
        line(np.full((8, 12), np.nan), "1"),
        line(np.full((8, 12), np.inf), "1"),
        line(utterance(8, 0), "1").replace(",", ",?,", 1),
        "\0\x80",
    ],
)
def test_a_damaged_line_is_named(tmp_path, damaged):
    path = tmp_path / "one.ts"
    if not damaged:
        path.write_text(HEADER)
        with pytest.raises(ValueError, match=r"one\.ts holds no utterance"):
            read_series(path)
        return
    path.write_text(HEADER + line(utterance(8, 0), "1") + "\n" + damaged + "\n")
    with pytest.raises(
        ValueError, match=r"one\.ts, line 5 is .*expected 12 lists of 1"
    ):
        read_series(path)


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    write(tmp_path)
    with pytest.raises(ValueError, match="bytes, allowed are 10"):
        JapaneseVowels(str(tmp_path)).setup("fit")


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="steps_per_frame is 0, allowed is 1 or more"):
        JapaneseVowels(steps_per_frame=0)


def test_a_missing_set_says_what_to_get_and_where_to_put_it(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert find_parts(None)[0].name == "JapaneseVowels_TRAIN.ts"
    (tmp_path / "JapaneseVowels_TEST.ts").unlink()
    for root, message in ((None, "is missing"), ("", "is missing"), ("x", "not in x")):
        with pytest.raises(FileNotFoundError) as error:
            JapaneseVowels(root).setup("fit")
        for word in (message, "aeon", "--data.root", VARIABLE):
            assert word in str(error.value)


def test_the_command_line_finds_it(capsys):
    from snn_temporal_plugins import cli

    with pytest.raises(SystemExit) as stop:
        cli.main(["fit", "--data.help", "JapaneseVowels"])
    assert stop.value.code == 0
    assert "steps_per_frame" in capsys.readouterr().out


@pytest.mark.data
def test_real_files():
    root = folder(VARIABLE, "uea_ucr")
    train, test = (read_series(path) for path in find_parts(root))
    assert (len(train), len(test)) == (270, 370)
    for part, longest in ((train, 26), (test, 29)):
        frames = [len(one.frames) for one in part]
        assert (min(frames), max(frames)) == (7, longest)
    assert np.bincount([one.label for one in train]).tolist() == [30] * 9
    assert np.bincount([one.label for one in test]).tolist() == [
        31, 35, 88, 44, 29, 24, 40, 50, 29,
    ]  # fmt: skip
    assert train[0].frames[:2, 0].tolist() == [1.860936, 1.891651]
    ((x, _),) = JapaneseVowels(root, batch_size=370).test_dataloader()
    assert 0.03 < float(x.mean()) < 0.06
