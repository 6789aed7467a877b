import math

import lightning as L
import pytest
import torch
from torch import nn

from snn_temporal_plugins.neurons import ReLPSPLinear
from snn_temporal_plugins.training import (
    SpikePictures,
    SpikeStatistics,
    TemporalClassifier,
    record_spike_times,
)


def has_hooks(model):
    return any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_recording_keeps_the_times_of_the_last_pass(classifier):
    model = classifier().eval()
    with record_spike_times(model) as times:
        model(torch.rand(5, 16))
        output = model(torch.rand(3, 16))
    assert list(times) == ["input", "layer1", "layer2", "output"]
    assert [value.shape[1] for value in times.values()] == [16, 12, 4, 4]
    assert torch.equal(times["output"], output)
    assert torch.equal(times["layer2"], output)
    assert not times["layer1"].requires_grad
    assert not has_hooks(model)


def test_recording_stops_on_an_error(classifier):
    model = classifier()
    with pytest.raises(RuntimeError, match="mine"), record_spike_times(model):
        raise RuntimeError("mine")
    assert not has_hooks(model)


class Window(nn.Module):
    """A layer on trains as the adapters have them: weights and thresholds of its own.

    Each input spike is passed on one tick later.
    """

    def __init__(self):
        super().__init__()
        self.core = nn.Linear(1, 1)

    @property
    def weight(self):
        return self.core.weight

    @property
    def v_th(self):
        return self.core.bias

    def forward(self, spikes):
        return torch.cat([spikes[:1] * 0, spikes[:-1]]), None


def test_recording_of_trains_gives_times_in_the_unit_of_the_classifier():
    model = TemporalClassifier(Window(), num_steps=8, t_max=2.0)
    with record_spike_times(model) as times:
        model(torch.tensor([[1.0, 0.5, 0.0]]))
    assert times["input"].tolist() == [[0.0, 0.5, math.inf]]
    assert times["layer1"].tolist() == [[0.25, 0.75, math.inf]]
    assert times["output"].tolist() == [[0.25, 0.75, math.inf]]


@pytest.mark.parametrize("stage", ["val", "test"])
def test_statistics_equal_a_count_over_all_samples(
    classifier, corners, make_trainer, stage
):
    model, data = classifier(), corners(batch_size=6)
    with torch.no_grad():
        model.network[0].weight[3] = -1.0  # dead for certain
    trainer = make_trainer(callbacks=[SpikeStatistics()])
    run = trainer.validate if stage == "val" else trainer.test
    (means,) = run(model, datamodule=data, verbose=False)
    assert not has_hooks(model)

    split = data.splits.validation if stage == "val" else data.splits.test
    model.eval()
    with record_spike_times(model) as times:
        model(split.x.flatten(1) / 255)
    fired = {name: times[name] < math.inf for name in ("layer1", "layer2")}
    for name, spikes in fired.items():
        rate = float(spikes.float().mean())
        assert means[f"{stage}_spikes/{name}"] == pytest.approx(rate)
        assert means[f"{stage}_silent/{name}"] == pytest.approx(1 - rate)
        dead = float((~spikes.any(0)).float().mean())
        assert means[f"{stage}_dead/{name}"] == pytest.approx(dead)
    assert means[f"{stage}_dead/layer1"] >= 1 / 12
    everything = torch.cat([s.flatten() for s in fired.values()]).float().mean()
    assert means[f"{stage}_spikes"] == pytest.approx(float(everything))
    first = times["output"].amin(1)
    mean = float(first[first < math.inf].mean())
    assert means[f"{stage}_decision_time"] == pytest.approx(mean)


def test_statistics_of_a_silent_network(corners, make_trainer):
    network = nn.Sequential(ReLPSPLinear(16, 4))
    nn.init.constant_(network[0].weight, -1.0)
    trainer = make_trainer(callbacks=[SpikeStatistics()])
    (means,) = trainer.test(
        TemporalClassifier(network), datamodule=corners(), verbose=False
    )
    assert means["test_spikes"] == 0
    assert means["test_dead/layer1"] == 1
    assert "test_decision_time" not in means


def test_statistics_run_beside_training(classifier, corners, make_trainer):
    trainer = make_trainer(max_epochs=2, callbacks=[SpikeStatistics()])
    model = classifier()
    trainer.fit(model, datamodule=corners())
    assert 0 < trainer.callback_metrics["val_spikes"] < 1
    assert not has_hooks(model)


class Broken(TemporalClassifier):
    def validation_step(self, batch, batch_idx):
        super().validation_step(batch, batch_idx)
        raise RuntimeError("mine")


def test_a_broken_run_leaves_no_hooks(corners, make_trainer):
    model = Broken("16-4")
    trainer = make_trainer(callbacks=[SpikeStatistics()])
    with pytest.raises(RuntimeError, match="mine"):
        trainer.validate(model, datamodule=corners(), verbose=False)
    assert not has_hooks(model)


class Other(L.LightningModule):
    def test_step(self, batch, batch_idx):
        pass


def test_other_modules_are_refused(corners, make_trainer):
    trainer = make_trainer(callbacks=[SpikeStatistics()])
    with pytest.raises(TypeError, match="and SpikeCountClassifier, got Other"):
        trainer.test(Other(), datamodule=corners(), verbose=False)


def test_pictures_are_drawn_as_often_as_asked(
    classifier, corners, make_trainer, tmp_path
):
    pytest.importorskip("matplotlib")
    trainer = make_trainer(max_epochs=4, callbacks=[SpikePictures(every_n_epochs=2)])
    model = classifier()
    trainer.fit(model, datamodule=corners())
    trainer.test(model, datamodule=corners(), verbose=False)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == [
        f"{when}_{what}.png"
        for when in ("epoch_001", "epoch_003", "test")
        for what in ("raster", "times")
    ]
    assert not has_hooks(model)


def test_bad_setting_of_the_pictures():
    with pytest.raises(ValueError, match="every_n_epochs is 0"):
        SpikePictures(every_n_epochs=0)
