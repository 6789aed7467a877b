import math

import pytest
import torch
from torch import nn

from snn_temporal_plugins.neurons import ReLPSPConv2d, ReLPSPLinear
from snn_temporal_plugins.training import (
    DeadNeuronRevival,
    TemporalClassifier,
    record_spike_times,
)


def fires(model, data):
    """Return which neurons of each layer fire for any training sample."""
    x = data.splits.train.x.flatten(1) / 255
    with record_spike_times(model.eval()) as times, torch.no_grad():
        model(x)
    model.train()
    return [(times[name] < math.inf).any(0) for name in ("layer1", "layer2")]


@pytest.mark.parametrize("revive", [True, False])
def test_dead_neurons_fire_again_only_with_the_callback(
    classifier, corners, make_trainer, revive
):
    model, data = classifier(dropout=0.0, lr=1e-3), corners(shift=0)
    with torch.no_grad():
        model.network[0].weight[:3] = -0.3
        model.network[1].weight[0] = -0.5
    hidden, outputs = fires(model, data)
    assert not hidden[:3].any()
    assert not outputs[0]
    callback = DeadNeuronRevival()
    trainer = make_trainer(max_epochs=8, callbacks=[callback] if revive else [])
    trainer.fit(model, datamodule=data)
    hidden, outputs = fires(model, data)
    assert bool(hidden[:3].all()) is revive
    assert bool(outputs[0]) is revive
    assert callback.dead_neurons == 0


class OneSilent(nn.Module):
    """Two neurons whose first never fires, whatever its weights."""

    def __init__(self, layer):
        super().__init__()
        self.weight = layer.weight
        self.v_th = layer.v_th
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, spike_time):
        batch = len(spike_time)
        silent = torch.full((batch, 1), math.inf)
        return torch.cat([silent, self.factor.expand(batch, 1)], 1)


@pytest.mark.parametrize(
    "layer", [ReLPSPLinear(16, 2, v_th=2.0), ReLPSPConv2d(4, 2, 2, v_th=2.0)]
)
def test_the_raise_doubles_up_to_a_limit(layer, corners, make_trainer):
    network = OneSilent(layer)
    before = layer.weight.detach().clone()
    raises = []

    class Watch(DeadNeuronRevival):
        def on_train_epoch_start(self, trainer, pl_module):
            start = layer.weight.detach().clone()
            super().on_train_epoch_start(trainer, pl_module)
            raises.append((layer.weight - start).flatten(1).detach())

    data = corners()
    for split in data.splits:
        split.label.fill_(1)
    model = TemporalClassifier(network, lr=1e-9)
    callback = Watch(boost=0.5)
    trainer = make_trainer(max_epochs=9, callbacks=[callback])
    trainer.fit(model, datamodule=data)
    sums = [change.sum(1).tolist() for change in raises]
    expected = [0, 1, 2, 4, 8, 16, 32, 32, 32]  # times boost * v_th = 1
    assert [change[0] for change in sums] == pytest.approx(expected, rel=1e-5)
    assert all(change[1] == 0 for change in sums)
    assert all(len(change[0].round(decimals=5).unique()) == 1 for change in raises)
    assert callback.dead_neurons == 1
    assert torch.allclose(layer.weight[1], before[1], atol=1e-6)


def test_counts_survive_a_checkpoint(classifier, corners, make_trainer, tmp_path):
    callback = DeadNeuronRevival()
    trainer = make_trainer(max_epochs=2, callbacks=[callback])
    trainer.fit(classifier(), datamodule=corners())
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    (state,) = content["callbacks"].values()
    other = DeadNeuronRevival()
    other.load_state_dict(state)
    for mine, its in zip(
        callback.state_dict().values(), other.state_dict().values(), strict=True
    ):
        assert list(mine) == list(its) == ["layer1", "layer2"]
        assert all(torch.equal(mine[name], its[name]) for name in mine)


@pytest.mark.parametrize("boost", [0.0, -1.0, math.nan, math.inf])
def test_bad_boost(boost):
    with pytest.raises(ValueError, match="boost is"):
        DeadNeuronRevival(boost)
