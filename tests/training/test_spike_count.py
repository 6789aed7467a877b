"""The Lightning module for ST-RSBP: code, labels, decision, penalty, learning."""

import lightning as L
import pytest
import torch
from torch import nn

from snn_temporal_plugins.functional import exponential_weight_penalty, spike_count_loss
from snn_temporal_plugins.neurons import RecurrentLIF, SpikeTrainLinear
from snn_temporal_plugins.training import SpikeCountClassifier, record_spike_trains

SMALL = {
    "v_th": [2.0, 2.0],
    "tau_mem": 20.0,
    "tau_syn": 4.0,
    "num_steps": 60,
    "max_rate": 0.3,
    "desired_count": 12,
    "undesired_count": 2,
    "margin": 1.0,
    "lr": 0.02,
}


def make(network="16-R20-4", **settings):
    L.seed_everything(7, verbose=False)
    return SpikeCountClassifier(network, **{**SMALL, **settings})


class Fixed(nn.Module):
    """Given spikes, whatever comes in."""

    def __init__(self, spikes):
        super().__init__()
        self.spikes = spikes
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = None

    def forward(self, x):
        self.seen = x
        return self.spikes + 0 * self.weight, None


class StopAfterOne(L.Callback):
    """End a run of two epochs after the first."""

    def on_train_epoch_end(self, trainer, module):
        trainer.should_stop = True


def batches():
    g = torch.Generator().manual_seed(0)
    centre = torch.rand(4, 16, generator=g)
    label = torch.arange(96) % 4
    x = (centre[label] + 0.1 * torch.randn(96, 16, generator=g)).clamp(0, 1)
    return x, label


def first(number):
    return tuple(part[:number] for part in batches())


def test_images_are_drawn_anew_in_training_and_alike_in_validation():
    model = make(Fixed(torch.zeros(60, 5, 4)), v_th=None)
    x = torch.rand(5, 16)
    model.train()(x)
    first = model.network.seen
    model(x)
    assert not torch.equal(model.network.seen, first)
    model.eval()(x)
    first = model.network.seen
    model(x)
    assert torch.equal(model.network.seen, first) and first.shape == (60, 5, 16)


def test_events_go_in_as_they_are():
    model = make(Fixed(torch.zeros(9, 5, 4)), v_th=None, num_steps=None)
    events = (torch.rand(5, 9, 16) < 0.2).float()
    model(events)
    assert torch.equal(model.network.seen, events.transpose(0, 1))


def test_answer_counts_silence_and_ties():
    spikes = torch.zeros(60, 3, 4)
    spikes[:3, 0, 2] = 1
    spikes[:2, 1, 1] = spikes[4:6, 1, 3] = 1
    answer = make(Fixed(spikes), v_th=None).answer(spikes)
    assert answer.predicted_class.tolist() == [2, 1, -1]
    assert answer.silent.tolist() == [False, False, True]
    assert answer.tied.tolist() == [False, True, False]


def test_the_output_layer_is_told_the_label_in_training_only():
    model = make()
    told = []
    output = model.network[-1]
    plain = output.forward
    output.forward = lambda spikes, label=None: (
        told.append(label),
        plain(spikes, label),
    )[1]
    x, label = first(8)
    model.train()
    model.trainer = L.Trainer(logger=False)
    model.training_step((x, label), 1)
    assert torch.equal(told.pop(), label)
    model.eval()
    model.validation_step((x, label), 0)
    assert told == [None]


def test_penalty_joins_the_loss():
    x, label = first(8)
    values = []
    for strength in (0.0, 3.0):
        model = make(weight_penalty=strength)
        model.trainer = L.Trainer(logger=False)
        torch.manual_seed(0)
        values.append(model.training_step((x, label), 1))
    hidden, output = model.network
    penalty = exponential_weight_penalty(
        [[hidden.weight, hidden.recurrent_weight], [output.weight]]
    )
    torch.testing.assert_close(values[1] - values[0], 3 * penalty)
    grads = torch.autograd.grad(values[1], list(model.network.parameters()))
    assert all(grad.any() for grad in grads)


def test_pools_are_recorded_and_not_penalised():
    model = make("4x4-3C2-P2-4", v_th=[1.0, 1.0, 2.0], weight_penalty=1.0)
    x, label = first(8)
    x = x.view(8, 1, 4, 4)
    model.trainer = L.Trainer(logger=False)
    with record_spike_trains(model) as trains:
        loss = model.training_step((x, label), 1)
    shapes = {name: tuple(train.spikes.shape[2:]) for name, train in trains.items()}
    assert shapes == {
        "input": (1, 4, 4),
        "layer1": (3, 3, 3),
        "layer2": (3, 1, 1),
        "layer3": (4,),
        "output": (4,),
    }
    assert trains["layer2"].spikes.any()
    grads = torch.autograd.grad(loss, list(model.network.parameters()))
    assert len(grads) == 2 and all(grad.any() for grad in grads)


def test_loss_is_that_of_the_settings():
    spikes = (torch.rand(60, 5, 4) < 0.2).float()
    label = torch.tensor([0, 1, 2, 3, 0])
    expected = spike_count_loss(
        spikes, label, desired_count=12, undesired_count=2, margin=1
    )
    assert make().loss(spikes, label) == expected


def test_learns_and_is_repeatable(make_trainer, corners):
    def fit():
        model, data = make(), corners(shift=0)
        make_trainer(max_epochs=12).fit(model, data)
        return model, make_trainer().validate(model, data, verbose=False)[0]

    model, metrics = fit()
    assert metrics["val_acc"] >= 0.8
    assert set(metrics) == {"val_loss", "val_acc", "val_silent", "val_tied"}
    again, _ = fit()
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    predicted, count = model.predict_step(first(8), 0)
    assert predicted.shape == count.shape == (8,)


def test_a_resumed_run_is_the_whole_run(make_trainer, corners, tmp_path):
    whole = make()
    make_trainer(max_epochs=2).fit(whole, corners())
    half = make()
    stopped = make_trainer(max_epochs=2, callbacks=[StopAfterOne()])
    stopped.fit(half, corners())
    stopped.save_checkpoint(tmp_path / "half.ckpt")
    resumed = make()
    make_trainer(max_epochs=2).fit(
        resumed, corners(), ckpt_path=tmp_path / "half.ckpt", weights_only=True
    )
    for ours, theirs in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_architecture_settings_reach_the_layers():
    model = make(
        "16-R27-4",
        grid=(3, 3, 3),
        weight_bound=0.5,
        refractory=0,
        rule_options={"side": "direct"},
    )
    assert all(layer.refractory == 0 for layer in model.network)
    hidden, output = model.network
    assert isinstance(hidden, RecurrentLIF) and hidden.grid == (3, 3, 3)
    assert isinstance(output, SpikeTrainLinear)
    assert output.rule_options["desired_count"] == 12
    assert hidden.rule_options["side"] == "direct"
    assert 0.4 < hidden.weight.abs().max() <= 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 1}, "num_steps is 1"),
        ({"undesired_count": 20}, "undesired_count is 20"),
        ({"weight_penalty": -1}, "weight_penalty is -1"),
        ({"lr": 0}, "lr is 0"),
        ({"warmup": 1}, "warmup is 1"),
        ({"rule": "tssl_bp"}, "SpikeTrainClassifier"),
        ({"v_th": [1, 2, 3]}, "3 thresholds"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_wrong_output_of_a_module():
    with pytest.raises(ValueError, match="expected"):
        make(Fixed(torch.zeros(60, 4, 4)), v_th=None)(torch.rand(5, 16))
    with pytest.raises(ValueError, match=r"0\.5"):
        make(Fixed(torch.full((60, 5, 4), 0.5)), v_th=None)(torch.rand(5, 16))
