import hashlib

import pytest
import torch

from snn_temporal_plugins.training import YinYang
from snn_temporal_plugins.training.yin_yang import yin_yang


@pytest.mark.parametrize(
    ("count", "seed", "samples", "counts"),
    [
        (
            5000,
            42,
            "f5a4054d56f2a058f8250fba7ff9720458e1625db7af78a295e45701745b2228",
            [1681, 1702, 1617],
        ),
        (
            1000,
            41,
            "5eac358bdf2122763dce3703a79f3005e56e46a4db25ec329a07333d0f7b8093",
            [316, 336, 348],
        ),
        (
            1000,
            40,
            "7bab3ed668ed4992679cff6339fe21bfe7d0c921ddc6187eaa3bc6ef34b888d7",
            [350, 316, 334],
        ),
    ],
    ids=["train", "validation", "test"],
)
def test_yin_yang_equals_the_published_samples(count, seed, samples, counts):
    x, label = yin_yang(count, seed)
    assert hashlib.sha256(x.tobytes()).hexdigest() == samples
    assert torch.from_numpy(label).bincount().tolist() == counts


def test_yin_yang_has_its_own_validation_split():
    data = YinYang(batch_size=100)
    data.setup("fit")
    assert [len(loader) for loader in (data.train_dataloader(),)] == [50]
    assert len(data.val_dataloader()) == len(data.test_dataloader()) == 10
    x, label = next(iter(data.train_dataloader()))
    assert x.shape == (100, 4)
    assert x.dtype == torch.float32
    assert torch.allclose(x[:, :2] + x[:, 2:], torch.ones(100, 2))
    assert label.max() == 2
