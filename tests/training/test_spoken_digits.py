"""The data module of the spoken digits on recordings that the tests write."""

import numpy as np
import pytest
import torch

from snn_temporal_plugins.training import SpokenDigits
from snn_temporal_plugins.training.audio import bsa, level_crossing, mel_levels
from snn_temporal_plugins.training.sound_files import read_sound
from tests.real_data import folder
from tests.training.test_audio import tone
from tests.training.test_sound_files import riff

VARIABLE = "SNN_TEMPORAL_SPOKEN_DIGITS"


def write(folder, speakers=("anna", "otto"), digits=2, numbers=(0, 4, 5, 49)):
    folder.mkdir(parents=True, exist_ok=True)
    for speaker in speakers:
        for digit in range(digits):
            for number in numbers:
                sound = tone(300 + 900 * digit + 5 * number, 0.1 + 0.002 * number)
                path = folder / f"{digit}_{speaker}_{number}.wav"
                path.write_bytes(riff(sound.samples))


def data_at(root, **settings):
    return SpokenDigits(str(root), **{"num_steps": 60, "num_bands": 8, **settings})


@pytest.mark.parametrize("inside", ["", "recordings"])
def test_the_official_split(tmp_path, inside):
    write(tmp_path / inside)
    (tmp_path / inside / "._0_anna_5.wav").write_bytes(b"of the archiver")
    (tmp_path / inside / "notes.wav").write_bytes(b"of the user")
    data = data_at(tmp_path, batch_size=20)
    data.setup("fit")
    ((x, label),) = data.test_dataloader()
    assert x.shape == (8, 60, 8)
    assert x.dtype == torch.float32
    assert x.unique().tolist() == [0, 1]
    assert label.dtype == torch.int64
    assert label.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    names = [path.name for path, _ in data.find(tmp_path)[0]]
    assert names[:4] == [f"0_{s}_{n}.wav" for s in ("anna", "otto") for n in (49, 5)]
    assert len(names) == len(data.splits.train.label) == 8
    assert data.val_dataloader() == []


def test_a_speaker_held_out(tmp_path):
    write(tmp_path, ("anna", "otto", "uwe"))
    train, test = data_at(tmp_path, speaker="otto").find(tmp_path)
    assert {path.name.split("_")[1] for path, _ in test} == {"otto"}
    assert {path.name.split("_")[1] for path, _ in train} == {"anna", "uwe"}
    assert (len(train), len(test)) == (16, 8)
    with pytest.raises(
        ValueError, match="speaker is 'max', allowed are anna, otto, uwe"
    ):
        data_at(tmp_path, speaker="max").setup("fit")


@pytest.mark.parametrize("coder", ["bsa", "level_crossing"])
def test_training_recordings_move_by_bands(tmp_path, coder):
    write(tmp_path)
    still, moving = (
        data_at(tmp_path, coder=coder, batch_size=20, shift=shift) for shift in (0, 2)
    )
    (x, _), (moved, _) = (
        next(iter(data.train_dataloader())) for data in (still, moving)
    )
    found = set()
    for sample, there in zip(x, moved, strict=True):
        bands, places = (y.view(60, -1, 8) for y in (sample, there))
        for by in range(-2, 3):
            expected = torch.zeros_like(bands)
            expected[..., max(by, 0) : 8 + min(by, 0)] = bands[
                ..., max(-by, 0) : 8 + min(-by, 0)
            ]
            if torch.equal(places, expected):
                found.add(by)
                break
        else:
            raise AssertionError("moved otherwise than by up to 2 bands")
    assert len(found) > 1
    (x, _), (tested, _) = (next(iter(d.test_dataloader())) for d in (still, moving))
    assert torch.equal(x, tested)
    with pytest.raises(ValueError, match="shift is 8, allowed is 0 to 7 bands"):
        data_at(tmp_path, shift=8)


def test_samples_are_coded_levels_then_silence(tmp_path):
    write(tmp_path, numbers=(0, 5))
    path = tmp_path / "1_otto_5.wav"
    levels = mel_levels(read_sound(path), 60, 4.0, 8)
    assert levels.shape == (28, 8)
    plain = data_at(tmp_path).spikes(path)
    assert np.array_equal(plain[:28], bsa(0.25 * levels))
    assert plain.shape == (60, 8)
    assert plain.any()
    assert not plain[28:].any()
    crossing = data_at(tmp_path, coder="level_crossing")
    assert crossing.sample_shape == (60, 16)
    assert np.array_equal(crossing.spikes(path)[:28], level_crossing(levels))
    short = data_at(tmp_path, num_steps=20, step_ms=5.0).spikes(path)
    expected = bsa(0.25 * mel_levels(read_sound(path), 20, 5.0, 8))
    assert np.array_equal(short, expected)
    ((x, _),) = data_at(tmp_path).test_dataloader()
    first = data_at(tmp_path).spikes(tmp_path / "0_anna_0.wav")
    assert torch.equal(x[0], torch.from_numpy(first).float())


def test_validation_is_held_out_of_training(tmp_path):
    write(tmp_path)
    data = data_at(tmp_path, batch_size=20, validation=3)
    ((held, _),) = data.val_dataloader()
    ((kept, _),) = data.train_dataloader()
    assert (len(held), len(kept)) == (3, 5)
    (whole,) = [x for x, _ in data_at(tmp_path, batch_size=20).train_dataloader()]
    assert torch.equal(torch.cat([held, kept]).sum(0), whole.sum(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0, allowed is 1 or more"),
        ({"num_bands": -1}, "num_bands is -1, allowed is 1 or more"),
        ({"step_ms": 0.0}, "step_ms is 0.0, allowed is above 0"),
        ({"step_ms": float("nan")}, "step_ms is nan"),
        ({"coder": "mp3"}, "coder is 'mp3', allowed are 'bsa' and 'level_crossing'"),
        ({"validation": -1}, "validation is -1"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        SpokenDigits(**settings)


def test_the_environment_variable_names_the_folder(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    data = SpokenDigits(num_steps=60, num_bands=8)
    assert len(data.splits.test.label) == 8


def test_a_missing_set_says_what_to_get_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    nothing = tmp_path / "nothing"
    for root, message in (
        (None, "no folder is named"),
        (nothing, f"is not in {nothing}: nothing is there"),
        (tmp_path, "holds 0 training and 0 test recordings"),
    ):
        with pytest.raises(FileNotFoundError) as error:
            SpokenDigits(root and str(root)).setup("fit")
        for word in (message, "Jakobovski", "--data.root", VARIABLE):
            assert word in str(error.value)


def test_a_damaged_recording_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "1_anna_4.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"1_anna_4\.wav is damaged"):
        data_at(tmp_path).setup("fit")


@pytest.mark.parametrize("name", ["SpokenDigits", "TI46", "NTIDIGITS"])
def test_the_command_line_finds_it(name, capsys):
    from snn_temporal_plugins import cli

    with pytest.raises(SystemExit) as stop:
        cli.main(["fit", "--data.help", name])
    assert stop.value.code == 0
    assert "step_ms" in capsys.readouterr().out


@pytest.mark.data
@pytest.mark.slow
def test_real_files():
    data = SpokenDigits(folder(VARIABLE, "fsdd"), batch_size=300, validation=300)
    data.setup("fit")
    assert [len(split.label) for split in data.splits] == [2400, 300, 300]
    ((x, label),) = data.test_dataloader()
    assert x.shape == (300, 250, 64)
    assert label.bincount().tolist() == [30] * 10
    assert 0.02 < float(x.mean()) < 0.05
    assert x.sum((1, 2)).min() > 50
