"""Networks in the manners of snnTorch and of Norse go through the same module."""

import math

import pytest
import torch
from torch import nn

from snn_temporal_plugins.training import (
    SpikeStatistics,
    SpikeTrainClassifier,
    TemporalClassifier,
    record_spike_times,
    record_spike_trains,
)

TICKS = 64


def train(model, data, make_trainer):
    trainer = make_trainer(max_epochs=12, callbacks=[SpikeStatistics()])
    trainer.fit(model, datamodule=data)
    return trainer.callback_metrics


@pytest.fixture
def snntorch():
    return pytest.importorskip("snntorch")


@pytest.fixture
def tnorse():
    pytest.importorskip("norse")
    from snn_temporal_plugins.adapters import norse

    return norse


def test_snntorch_window_layers(snntorch, corners, make_trainer):
    from snn_temporal_plugins.adapters import snntorch as tsnn

    torch.manual_seed(0)
    network = nn.Sequential(
        tsnn.ReLPSPLinear(16, 24, dt=2 / TICKS, output=False),
        tsnn.ReLPSPLinear(24, 4, dt=2 / TICKS, weight_mean=0.3),
    )
    model = TemporalClassifier(network, num_steps=TICKS, lr=0.01, alpha=10.0)
    means = train(model, corners(shift=0), make_trainer)
    assert means["train_loss"] < 1.1  # from ln 4 = 1.39
    assert {"val_spikes/layer1", "val_spikes/layer2"} <= set(means)
    with record_spike_times(model) as times:
        output = model(torch.rand(5, 16))
    assert torch.equal(times["layer2"], output)
    layer = network[0]
    exact = layer.spike_times * (2 / TICKS)
    assert ((times["layer1"] - exact).nan_to_num(0.0) < 2 / TICKS).all()


class OwnLoop(nn.Module):
    """A snnTorch user's network as he writes it: stock neurons, his own time loop."""

    def __init__(self, snn):
        super().__init__()
        self.fc1 = nn.Linear(16, 24)
        self.lif1 = snn.Leaky(beta=0.95)
        self.fc2 = nn.Linear(24, 4)
        self.lif2 = snn.Leaky(beta=0.95)

    def forward(self, spikes):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        train = []
        for step in spikes.unbind(0):
            spk1, mem1 = self.lif1(self.fc1(step), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            train.append(spk2)
        return torch.stack(train), mem2


def test_snntorch_stock_neurons_in_a_users_loop(snntorch, corners, make_trainer):
    torch.manual_seed(0)
    model = TemporalClassifier(OwnLoop(snntorch), num_steps=TICKS, lr=0.01)
    before = model.network.fc1.weight.detach().clone()
    means = train(model, corners(shift=0), make_trainer)
    assert math.isfinite(means["train_loss"])
    assert not torch.equal(before, model.network.fc1.weight)


def test_norse_window_layers_in_its_sequential(tnorse, corners, make_trainer):
    import norse.torch

    torch.manual_seed(0)
    network = norse.torch.SequentialState(
        tnorse.ReLPSPLinear(16, 24, dt=2 / TICKS),
        tnorse.ReLPSPLinear(24, 4, dt=2 / TICKS, weight_mean=0.3),
    )
    model = TemporalClassifier(network, num_steps=TICKS, lr=0.01, alpha=10.0)
    means = train(model, corners(shift=0), make_trainer)
    assert means["train_loss"] < 1.1  # from ln 4 = 1.39
    assert {"val_spikes/layer1", "val_spikes/layer2"} <= set(means)


def train_lif(network, data, make_trainer):
    """Train LIF layers that exchange spikes; return the means of the last epoch."""
    model = SpikeTrainClassifier(network, output="spikes", lr=0.01)
    means = train(model, data, make_trainer)
    assert {"val_rate/layer1", "val_dead/layer2", "val_surrogate/layer2"} <= set(means)
    with record_spike_trains(model) as trains:
        psp = model(torch.rand(5, 16))
    assert list(trains) == ["layer1", "layer2", "output"]
    assert torch.equal(trains["layer2"].psp, psp)
    assert trains["layer1"].tau_syn == 2.0
    return means


def test_snntorch_lif_windows(snntorch, corners, make_trainer):
    from snn_temporal_plugins.adapters import snntorch as tsnn

    torch.manual_seed(0)
    network = nn.Sequential(
        tsnn.LIFLinear(16, 24, num_steps=5, tau_syn=2.0, output=False),
        tsnn.LIFLinear(24, 4),
    )
    means = train_lif(network, corners(shift=0), make_trainer)
    assert means["train_acc"] > 0.8


def test_norse_lif_windows_in_its_sequential(tnorse, corners, make_trainer):
    import norse.torch

    torch.manual_seed(0)
    network = norse.torch.SequentialState(
        tnorse.LIFLinear(16, 24, tnorse.LIFWindowParameters(tau_syn=2.0), num_steps=5),
        tnorse.LIFLinear(24, 4),
    )
    means = train_lif(network, corners(shift=0), make_trainer)
    assert means["train_acc"] > 0.8
