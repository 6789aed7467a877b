import math

import pytest
import torch
from torch import nn

from snn_temporal_plugins import neurons
from snn_temporal_plugins.functional import ttfs_cross_entropy
from snn_temporal_plugins.training import Prediction, TemporalClassifier


class Fixed(nn.Module):
    """A network whose output does not depend on the input, but on one weight."""

    def __init__(self, *times):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))
        self.register_buffer("times", torch.tensor(times))

    def forward(self, spike_time):
        return self.times[: len(spike_time)] + self.shift


class Given:
    """A loader of given batches; Lightning takes a list for several loaders."""

    def __init__(self, *batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


def test_brighter_is_earlier_and_black_is_silent():
    seen = []

    class Spy(nn.Identity):
        def forward(self, spike_time):
            seen.append(spike_time)
            return spike_time

    x = torch.tensor([[0.0, 0.25, 1.0]])
    times = TemporalClassifier(Spy())(x)
    assert times.tolist() == [[math.inf, 0.75, 0.0]]
    TemporalClassifier(Spy(), silent_zero=False)(x)
    assert seen[1].tolist() == [[1.0, 0.75, 0.0]]


def test_silence_and_ties_are_wrong(make_trainer):
    inf = math.inf
    network = Fixed([1.0, 2.0], [2.0, 1.0], [inf, inf], [1.0, 1.0])
    batch = torch.zeros(4, 3), torch.tensor([0, 0, 0, 0])
    model = TemporalClassifier(network)
    (means,) = make_trainer().test(model, Given(batch), verbose=False)
    assert means["test_acc"] == 0.25
    assert means["test_silent"] == 0.25
    expected = ttfs_cross_entropy(network.times, batch[1], alpha=20.0, t_silent=2.0)
    assert means["test_loss"] == pytest.approx(float(expected))


def test_means_count_samples_not_batches(make_trainer):
    network = Fixed([1.0, 2.0], [1.0, 2.0], [1.0, 2.0])
    loader = Given(
        (torch.zeros(3, 2), torch.tensor([0, 0, 1])),
        (torch.zeros(1, 2), torch.tensor([1])),
    )
    (means,) = make_trainer().test(TemporalClassifier(network), loader, verbose=False)
    assert means["test_acc"] == 0.5


def test_predict_gives_class_and_decision_time(make_trainer):
    network = Fixed([1.0, 0.5], [math.inf, math.inf])
    batch = torch.zeros(2, 3), torch.tensor([0, 0])
    for given in (batch, batch[0]):
        (answer,) = make_trainer().predict(TemporalClassifier(network), Given(given))
        assert isinstance(answer, Prediction)
        assert answer.predicted_class.tolist() == [1, -1]
        assert answer.decision_time.tolist() == [0.5, math.inf]


def test_training_learns_and_logs(classifier, corners, make_trainer):
    model, data = classifier(dropout=0.0, lr=0.03), corners(shift=0)
    trainer = make_trainer(max_epochs=30)
    trainer.fit(model, datamodule=data)
    means = trainer.callback_metrics
    assert means["train_acc"] > 0.9
    assert means["val_acc"] > 0.8
    assert {"train_loss", "train_silent", "val_loss", "val_silent"} <= set(means)
    (tested,) = trainer.test(model, datamodule=data, verbose=False)
    assert tested["test_acc"] > 0.8


def test_train_means_are_those_of_one_epoch(corners, make_trainer):
    class Late(nn.Module):
        """Right answer for class 0 alone; a weight that changes nothing."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, spike_time):
            times = torch.tensor([0.5, 1.0, 1.0, 1.0]).expand(len(spike_time), 4)
            return times + self.weight - self.weight.detach()

    data = corners()
    trainer = make_trainer(max_epochs=3, limit_val_batches=0)
    trainer.fit(TemporalClassifier(Late(), lr=1e-9), datamodule=data)
    share = (data.splits.train.label == 0).float().mean()
    assert trainer.callback_metrics["train_acc"] == pytest.approx(float(share))


def test_the_schedule_rises_and_falls_once_per_step(classifier, corners, make_trainer):
    rates = []

    class Spy(TemporalClassifier):
        def on_train_batch_start(self, batch, batch_idx):
            super().on_train_batch_start(batch, batch_idx)
            rates.append(self.optimizers().param_groups[0]["lr"])

    model = Spy("16-8-4", lr=0.01)
    make_trainer(max_epochs=4).fit(model, datamodule=corners())
    assert len(rates) == 20
    assert max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) < 3
    assert rates[-1] < 1e-6


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 20])
def test_short_runs_have_a_schedule(classifier, corners, make_trainer, steps):
    trainer = make_trainer(max_epochs=-1, max_steps=steps)
    trainer.fit(classifier(), datamodule=corners())
    assert trainer.global_step == steps


def test_a_run_without_end_is_refused(classifier, corners, make_trainer):
    with pytest.raises(
        ValueError, match=r"--trainer.max_epochs or --trainer.max_steps"
    ):
        make_trainer(max_epochs=-1).fit(classifier(), datamodule=corners())


def test_a_silent_label_neuron_is_helped_back():
    model = TemporalClassifier("3-2", t_max=2.0)
    with torch.no_grad():
        model.network[0].weight.copy_(torch.tensor([[0.1, 0, 0], [9.0, 0, 0]]))
    batch = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0])
    model.training_step(batch, 1).backward()
    assert model.network[0].weight.grad[0].tolist() == [-2.0, 0.0, 0.0]
    without = TemporalClassifier("3-2", t_max=2.0, silent_label=0.0)
    without.load_state_dict(model.state_dict())
    without.training_step(batch, 1).backward()
    assert not without.network[0].weight.grad[0].any()


def test_a_dead_hidden_neuron_is_helped_back():
    model = TemporalClassifier("3-2-2", dead_neuron=2.0)
    with torch.no_grad():
        model.network[0].weight.copy_(torch.tensor([[-1.0, 0, 0], [9.0, 0, 0]]))
    model.training_step((torch.rand(4, 3), torch.zeros(4).long()), 1).backward()
    assert model.network[0].weight.grad[0].tolist() == [-1.0] * 3  # 2 / 2 neurons


def test_settings_reach_the_network():
    settings = {"v_th": 0.5, "t_max": 3.0, "slope_clip": None, "dropout": 0.2}
    model = TemporalClassifier(
        "4-3-2", **settings, learn_threshold=True, hidden_weight_scale=0.5
    )
    layer, dropout, _ = model.network
    plain, *_ = TemporalClassifier("4-3-2").network
    assert layer.weight_gain == plain.weight_gain / 2
    assert isinstance(layer, neurons.ReLPSPLinear)
    assert layer.t_max == 3.0
    assert layer.slope_clip is None
    assert isinstance(layer.v_th, nn.Parameter)
    assert layer.v_th.tolist() == [0.5] * 3
    assert dropout.p == 0.2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.0}, "alpha is 0.0, allowed is above 0"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"warmup": 1.0}, "warmup is 1.0, allowed is 0 or more and below 1"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"silent_label": -1.0}, "silent_label is -1.0"),
        ({"dead_neuron": -1.0}, "dead_neuron is -1.0"),
        ({"t_max": 0.0}, "t_max is 0.0"),
        ({"t_max": -1.0}, "t_max is -1.0"),
        ({"t_max": math.inf}, "t_max is inf"),
        ({"v_th": 0.0}, "v_th is 0.0"),
        ({"hidden_weight_scale": 0.0}, "hidden_weight_scale is 0.0"),
        ({"rule": "hebb"}, "unknown rule 'hebb'"),
        ({"network": "784-x-10"}, "cannot read 'x'"),
        ({"num_steps": 10}, "num_steps is 10, but an architecture string"),
        ({"network": nn.Identity(), "num_steps": 0}, "num_steps is 0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        TemporalClassifier(**{"network": "4-2", **settings})


def test_an_output_of_the_wrong_shape_is_named():
    model = TemporalClassifier(nn.Flatten(0))
    with pytest.raises(ValueError, match=r"shape \(6,\), expected \(2, classes\)"):
        model(torch.zeros(2, 3))


def test_intensities_outside_of_zero_and_one_are_refused():
    with pytest.raises(ValueError, match=r"allowed is \[0, 1\]"):
        TemporalClassifier("3-2")(torch.tensor([[0.0, 2.0, 1.0]]))


class Accumulator(nn.Module):
    """A user's own neuron on trains, in snnTorch's manner: hidden state, reset_mem."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.mem = None
        self.resets = 0

    def reset_mem(self):
        self.mem = None
        self.resets += 1

    def forward(self, spikes):
        train = []
        for current in self.linear(spikes).unbind(0):
            self.mem = current if self.mem is None else self.mem + current
            train.append(torch.sigmoid(8 * (self.mem - 1)).round() + current * 0)
        return torch.stack(train), self.mem


def test_a_users_module_on_trains_is_reset_and_trained(corners, make_trainer):
    torch.manual_seed(0)
    network = Accumulator(16, 4)
    model = TemporalClassifier(network, num_steps=8)
    trainer = make_trainer(max_epochs=2)
    # validation leaves a state made in inference mode, and a smaller last batch
    trainer.fit(model, datamodule=corners())
    assert network.resets == 2 + 2 * 5 + 2 - 1
    times = model(torch.rand(5, 16))
    assert times.shape == (5, 4)
    ticks = times[times < math.inf] / (2.0 / 8)
    assert torch.equal(ticks, ticks.round())


def test_trains_hold_the_spike_times_in_ticks():
    trains = []

    class Spy(nn.Identity):
        def forward(self, spikes):
            trains.append(spikes)
            return spikes

    model = TemporalClassifier(Spy(), num_steps=8, t_max=2.0)
    times = model(torch.tensor([[1.0, 0.5, 0.0]]))
    assert trains[0].shape == (8, 1, 3)
    assert trains[0].nonzero()[:, [0, 2]].tolist() == [[0, 0], [2, 1]]
    assert times.tolist() == [[0.0, 0.5, math.inf]]
