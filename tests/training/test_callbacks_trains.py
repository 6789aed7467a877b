"""The callbacks on networks of spike trains, in the core and in the hosts' manner."""

import lightning as L
import pytest
import torch
from torch import nn

from snn_temporal_plugins.functional import psp_filter
from snn_temporal_plugins.neurons import LIFLinear
from snn_temporal_plugins.rules import tssl_bp_window
from snn_temporal_plugins.training import (
    DeadNeuronRevival,
    SpikePictures,
    SpikeStatistics,
    SpikeTrainClassifier,
    record_spike_times,
    record_spike_trains,
)
from snn_temporal_plugins.training.recording import spikes_of


def make(network="16-12-4", **settings):
    L.seed_everything(7, verbose=False)
    return SpikeTrainClassifier(network, **{"lr": 0.01, **settings})


def has_hooks(model):
    return any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tau_syn", [1.0, 1.5, 3.0, 20.0])
def test_spikes_are_recovered_from_psps(tau_syn, dtype):
    torch.manual_seed(0)
    spikes = (torch.rand(200, 50) < torch.linspace(0, 1, 50)).to(dtype)
    spikes = torch.cat([spikes, torch.ones(200, 1, dtype=dtype)], 1)  # saturates
    assert torch.equal(spikes_of(psp_filter(spikes, tau_syn), tau_syn), spikes)


def test_recording_keeps_the_trains_of_the_last_pass():
    model = make("16-12-4", tau_syn=2.0).eval()
    with record_spike_trains(model) as trains:
        model(torch.rand(5, 16))
        x = 3 * torch.rand(3, 16)
        output = model(x)
    assert list(trains) == ["layer1", "layer2", "output"], "an image is no train"
    first, second = model.network
    truth = tssl_bp_window(first.current(x), tau_syn=2.0)
    assert torch.equal(trains["layer1"].spikes, truth.spikes)
    assert torch.equal(trains["layer1"].psp, truth.psp)
    assert trains["layer1"].tau_syn == 2.0
    truth = tssl_bp_window(second.current(truth.psp), tau_syn=2.0)
    for name in ("layer2", "output"):
        assert torch.equal(trains[name].spikes, truth.spikes)
        assert torch.equal(trains[name].psp, output)
    assert not trains["layer1"].psp.requires_grad
    assert not has_hooks(model)


def test_recording_of_events_has_the_input_with_time_first():
    model = make("2x4x4-3C3-4", num_steps=None).eval()
    events = torch.randint(0, 2, (3, 7, 2, 4, 4)).float()
    with record_spike_trains(model) as trains:
        model(events)
    assert list(trains) == ["input", "layer1", "layer2", "output"]
    assert torch.equal(trains["input"].spikes, events.transpose(0, 1))
    assert trains["layer1"].spikes.shape == (7, 3, 3, 2, 2)
    with record_spike_trains(model) as trains:
        model(events * 0.5)
    assert "input" not in trains, "these are no spikes"


class HostLayer(nn.Module):
    """A layer in the hosts' manner: it wraps one of the core and gives (spikes, state).

    What runs is not the core's `forward`.
    """

    def __init__(self, inputs, outputs, **settings):
        super().__init__()
        self.core = LIFLinear(inputs, outputs, **settings)

    @property
    def weight(self):
        return self.core.weight

    def forward(self, x):
        if self.core.num_steps is None:
            x = psp_filter(x, self.core.tau_syn)
        window = tssl_bp_window(self.core.current(x), tau_syn=self.core.tau_syn)
        return window.spikes, window.state


class HostNetwork(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        self.one = HostLayer(16, 12, num_steps=5, **settings)
        self.two = HostLayer(12, 4, **settings)

    def forward(self, x):
        return self.two(self.one(x)[0])


@pytest.mark.parametrize("tau_syn", [1.0, 3.0])
def test_layers_that_give_spikes_are_recorded_as_those_that_give_psps(tau_syn):
    core = make("16-12-4", tau_syn=tau_syn)
    network = HostNetwork(tau_syn=tau_syn)
    host = make(network, output="spikes", tau_syn=tau_syn)
    network.one.core.load_state_dict(core.network[0].state_dict())
    network.two.core.load_state_dict(core.network[1].state_dict())
    x = 3 * torch.rand(6, 16)
    with record_spike_trains(core) as expected:
        core(x)
    with record_spike_trains(host) as trains:
        host(x)
    assert list(trains) == list(expected)
    assert expected["layer1"].spikes.any()
    for name, train in trains.items():
        assert torch.equal(train.spikes, expected[name].spikes)
        assert torch.equal(train.psp, expected[name].psp)
        assert train.tau_syn == tau_syn


def test_each_recording_names_the_model_it_works_with(classifier):
    with (
        pytest.raises(TypeError, match="record_spike_times works with TemporalClass"),
        record_spike_times(make()),
    ):
        pass
    with (
        pytest.raises(TypeError, match="record_spike_trains works with SpikeTrainCl"),
        record_spike_trains(classifier()),
    ):
        pass


@pytest.mark.parametrize("stage", ["val", "test"])
def test_statistics_equal_a_count_over_all_samples(corners, make_trainer, stage):
    model, data = make(), corners(batch_size=6)
    with torch.no_grad():
        model.network[0].weight[3] = -1.0  # dead for certain
    trainer = make_trainer(callbacks=[SpikeStatistics()])
    run = trainer.validate if stage == "val" else trainer.test
    (means,) = run(model, datamodule=data, verbose=False)
    assert not has_hooks(model)

    split = data.splits.validation if stage == "val" else data.splits.test
    with record_spike_trains(model.eval()) as trains:
        model(split.x.flatten(1) / 255)
    for name in ("layer1", "layer2"):
        spikes, psp, _ = trains[name]
        assert means[f"{stage}_rate/{name}"] == pytest.approx(float(spikes.mean()))
        dead = float((spikes.sum((0, 1)) == 0).float().mean())
        assert means[f"{stage}_dead/{name}"] == pytest.approx(dead)
        low = float((psp < 1 / 12).float().mean())
        assert means[f"{stage}_surrogate/{name}"] == pytest.approx(low)
    assert means[f"{stage}_dead/layer1"] >= 1 / 12
    assert 0 < means[f"{stage}_surrogate/layer1"] < 1
    count = sum(trains[name].spikes.sum() for name in ("layer1", "layer2"))
    rate = float(count) / (16 * 5 * len(split.label))
    assert means[f"{stage}_rate"] == pytest.approx(rate)


def test_statistics_of_a_silent_network(corners, make_trainer):
    network = nn.Sequential(LIFLinear(16, 4, num_steps=5))
    nn.init.constant_(network[0].weight, -1.0)
    trainer = make_trainer(callbacks=[SpikeStatistics()])
    (means,) = trainer.test(make(network), datamodule=corners(), verbose=False)
    assert means["test_rate"] == means["test_rate/layer1"] == 0
    assert means["test_dead/layer1"] == means["test_surrogate/layer1"] == 1


def test_statistics_of_a_network_without_layers_of_ours(corners, make_trainer):
    class Own(nn.Module):
        def forward(self, x):
            return x[None, :, :4].round()

    trainer = make_trainer(callbacks=[SpikeStatistics()])
    model = make(Own(), loss="softmax")
    (means,) = trainer.test(model, datamodule=corners(), verbose=False)
    assert not [name for name in means if "rate" in name]


def test_pictures_are_drawn_beside_training(corners, make_trainer, tmp_path):
    pytest.importorskip("matplotlib")
    trainer = make_trainer(
        max_epochs=2, callbacks=[SpikePictures(2), SpikeStatistics()]
    )
    model = make()
    trainer.fit(model, datamodule=corners())
    assert 0 < trainer.callback_metrics["val_rate"] < 1
    trainer.test(model, datamodule=corners(), verbose=False)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == [
        f"{when}_{what}.png"
        for when in ("epoch_001", "test")
        for what in ("psp", "raster", "rates")
    ]
    assert not has_hooks(model)


def test_revival_is_for_first_spikes_alone(corners, make_trainer):
    trainer = make_trainer(callbacks=[DeadNeuronRevival()])
    with pytest.raises(TypeError, match=r"got SpikeTrainClassifier\. On spike trains"):
        trainer.fit(make(), datamodule=corners())
