"""The data module of TI46 on files that the tests write."""

import pytest

from snn_temporal_plugins.training import TI46
from tests.training.test_audio import tone
from tests.training.test_sound_files import riff, sphere

VARIABLE = "SNN_TEMPORAL_TI46"


def write(root, make=sphere, upper=False):
    for place in (
        "ti20/train/f1/00f1set0",
        "ti20/train/m8/09m8set9",
        "ti20/train/m8/enm8set9",  # "enter"
        "ti20/test/f1/03f1s1t0",
        "ti20/test/m8/00m8s8t1",
        "ti_alpha/train/f1/0af1set0",
        "ti_alpha/train/m2/0om2set1",
        "ti_alpha/test/m2/0zm2s3t1",
    ):
        path = root / (f"{place}.WAV".upper() if upper else f"{place}.wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make(tone(500, 0.16, 12500).samples, 12500))


def data_at(root, **settings):
    return TI46(str(root), **{"num_steps": 50, "num_bands": 8, **settings})


@pytest.mark.parametrize("make", [sphere, riff])
@pytest.mark.parametrize("upper", [False, True])
def test_digits(tmp_path, make, upper):
    write(tmp_path, make, upper)
    (tmp_path / "readme.txt").write_text("00f1set0.wav")
    data = data_at(tmp_path)
    assert data.splits.train.label.tolist() == [0, 9]
    ((x, label),) = data.test_dataloader()
    assert x.shape == (2, 50, 8)
    assert x.sum((1, 2)).min() > 0
    assert label.tolist() == [3, 0]


def test_letters(tmp_path):
    write(tmp_path)
    data = data_at(tmp_path, words="alphabet", coder="level_crossing")
    assert data.splits.train.label.tolist() == [0, 14]
    ((x, label),) = data.test_dataloader()
    assert x.shape == (1, 50, 16)
    assert label.tolist() == [25]


def test_bad_words_are_named():
    with pytest.raises(ValueError, match="words is 'ti20', allowed are 'digits' and"):
        TI46(words="ti20")


def test_a_missing_set_says_what_to_get_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    write(tmp_path)
    for path in (tmp_path / "ti20" / "test").rglob("*.wav"):
        path.unlink()
    for root, message in (
        (None, "no folder is named"),
        (str(tmp_path), "holds 2 training and 0 test recordings of TI46"),
    ):
        with pytest.raises(FileNotFoundError) as error:
            TI46(root).setup("fit")
        for word in (message, "LDC93S9", "--data.root", VARIABLE):
            assert word in str(error.value)
