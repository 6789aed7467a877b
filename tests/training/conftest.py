"""A trainer that writes nothing and says nothing, and a small data module."""

import lightning as L
import pytest
import torch

from snn_temporal_plugins.training import TemporalClassifier
from snn_temporal_plugins.training.data import ImageData, Split, Splits


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_trainer(tmp_path):
    def make(**settings):
        defaults = {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 1,
            "default_root_dir": tmp_path,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        return L.Trainer(**{**defaults, **settings})

    return make


class Corners(ImageData):
    """Images of 4x4 whose class is the brightest corner; 70 + 10 + 20 samples."""

    side = 4

    def load(self):
        generator = torch.Generator().manual_seed(0)
        label = torch.randint(0, 4, (100,), generator=generator)
        x = torch.randint(0, 120, (100, 4, 4), generator=generator, dtype=torch.uint8)
        x[torch.arange(100), 3 * (label // 2), 3 * (label % 2)] = 255
        parts = label.split([70, 10, 20]), x.split([70, 10, 20])
        return Splits(*(Split(x, label) for label, x in zip(*parts, strict=True)))


@pytest.fixture
def corners():
    def make(**settings):
        return Corners(**{"batch_size": 16, "shift": 1, "seed": 3, **settings})

    return make


@pytest.fixture
def classifier():
    def make(**settings):
        L.seed_everything(7, verbose=False)
        return TemporalClassifier(
            **{"network": "16-12-4", "dropout": 0.3, "lr": 0.01, **settings}
        )

    return make
