"""The Lightning module for SSTDP: code, ties, silence, targets, learning, resuming."""

import math
from functools import partial

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from snn_temporal_plugins.functional import (
    first_target,
    latency_ticks,
    mean_target,
    squared_time_loss,
)
from snn_temporal_plugins.neurons import IFConv2d, IFLinear
from snn_temporal_plugins.training import (
    DeadNeuronRevival,
    TickClassifier,
    TickOutput,
    record_spike_times,
)

SMALL = {"num_ticks": 32, "lr": 0.01}


def make(network="16-12-4", **settings):
    L.seed_everything(7, verbose=False)
    return TickClassifier(network, **{**SMALL, **settings})


class Fixed(nn.Module):
    """Given output times, whatever comes in; its weight changes nothing."""

    def __init__(self, times):
        super().__init__()
        self.times = times
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = None

    def forward(self, spike_time):
        self.seen = spike_time
        return self.times + 0 * self.weight


def test_brighter_is_earlier_and_black_is_silent():
    model = make(Fixed(torch.zeros(3, 4)), num_ticks=11)
    model(torch.tensor([[1.0, 0.5, 0.05, 0.0]] * 3))
    assert model.network.seen[0].tolist() == [0.0, 5.0, 10.0, math.inf]
    dark = make(Fixed(torch.zeros(3, 4)), num_ticks=11, x_min=0.5)
    dark(torch.tensor([[1.0, 0.5, 0.51, 0.0]] * 3))
    assert dark.network.seen[0].tolist() == [0.0, math.inf, 5.0, math.inf]


def test_jitter_moves_spikes_in_training_only_and_within_the_window():
    model = make(Fixed(torch.zeros(500, 4)), jitter=0.2)
    x = torch.rand(500, 4)
    x[:, 3] = 0
    still = latency_ticks(x, 32)
    model.eval()(x)
    assert torch.equal(model.network.seen, still)
    model.train()(x)
    moved = model.network.seen
    spikes = moved < math.inf
    assert bool((moved[spikes] == moved[spikes].round()).all())
    assert moved[spikes].min() == 0 and moved[spikes].max() == 31
    assert not spikes[:, 3].any(), "silence is not moved"
    lost = ~spikes[:, :3]
    assert 0 < lost.float().mean() < 0.2, "those behind the end are lost"
    inside = spikes & (still > 12) & (still < 18)
    assert (moved - still)[inside].std() == pytest.approx(0.2 * 32, rel=0.2)


def test_the_larger_potential_breaks_a_tie():
    output = IFLinear(2, 3, num_steps=8)
    with torch.no_grad():
        output.weight.copy_(torch.tensor([[2.0, 0.0], [3.0, 0.0], [0.0, 9.0]]))
    model = make(nn.Sequential(output), num_ticks=8)
    post, potential = model(torch.tensor([[1.0, 0.2], [0.0, 1.0], [0.0, 0.0]]))
    assert post.tolist() == [[0, 0, 6], [math.inf] * 2 + [0], [math.inf] * 3]
    assert potential[0].tolist() == [2.0, 3.0, 9.0]
    answer = model.answer(TickOutput(post, potential))
    assert answer.predicted_class.tolist() == [1, 2, -1]
    assert answer.tied.tolist() == [True, False, False]
    assert answer.silent.tolist() == [False, False, True]


def test_a_tie_of_a_module_that_tells_no_potential_is_no_decision():
    times = torch.tensor([[3.0, 3.0, 5.0], [4.0, 3.0, 5.0]])
    model = make(Fixed(times))
    answer = model.answer(model(torch.rand(2, 5)))
    assert answer.predicted_class.tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("name", "target"),
    [("first", first_target), ("mean", partial(mean_target, over="all"))],
)
def test_the_loss_is_the_distance_from_the_targets(name, target):
    times = torch.tensor([[3.0, 7.0, math.inf], [9.0, 1.0, 2.0]])
    label = torch.tensor([1, 0])
    model = make(Fixed(times), target=name, gap=0.125)
    goal = target(times, label, t_max=32, gap=4.0)
    truth = squared_time_loss(times, goal, t_max=32)
    assert model.loss(model(torch.rand(2, 5)), label) == truth > 0
    model = make(Fixed(times), target=name, gap=0.125, saturation=0.25)
    truth = squared_time_loss(times, goal, t_max=32, saturation=8.0)
    assert model.loss(model(torch.rand(2, 5)), label) == truth > 0


def test_settings_reach_the_network():
    model = make(
        "1x4x4-2C3-8-4", v_th=2.0, dropout=0.2, rule_options={"b": 0.3, "tau_stdp": 4.0}
    )
    kinds = ["IFConv2d", "SilenceDropout", "Flatten", "IFLinear"]
    assert [type(layer).__name__ for layer in model.network[:4]] == kinds
    for layer in (model.network[0], model.network[3]):
        assert (layer.num_steps, layer.v_th) == (32, 2.0)
        assert layer.rule_options["b"] == 0.3 and layer.rule_options["tau_stdp"] == 4.0


@pytest.mark.parametrize("target", ["first", "mean"])
def test_it_learns(corners, make_trainer, target):
    model = make(target=target, rule_options={"b": 0.1}, lr=0.03)
    trainer = make_trainer(max_epochs=40)
    trainer.fit(model, datamodule=corners(shift=0))
    metrics = trainer.test(model, datamodule=corners(shift=0), verbose=False)[0]
    assert metrics["test_acc"] >= 0.8, "ties and silence are wrong; chance is 0.25"
    assert 0 <= metrics["test_tied"] <= 1 and 0 <= metrics["test_silent"] <= 0.2


def test_ties_and_silence_are_logged(make_trainer, corners):
    times = torch.full((16, 4), math.inf)
    times[:4] = torch.tensor([2.0, 2.0, 3.0, math.inf])
    times[4:6, 1] = 3.0
    model = make(Fixed(times))
    data = corners(batch_size=16, shift=0)
    trainer = make_trainer(limit_test_batches=1)
    metrics = trainer.test(model, datamodule=data, verbose=False)[0]
    assert metrics["test_tied"] == 4 / 16
    assert metrics["test_silent"] == 10 / 16
    assert metrics["test_acc"] <= 2 / 16


@pytest.mark.parametrize("convolution", [False, True])
def test_dead_neurons_fire_again_with_the_callback(corners, make_trainer, convolution):
    if convolution:
        hidden = IFConv2d(1, 6, 3, num_steps=32)
        image = nn.Unflatten(1, (1, 4, 4))
        network = nn.Sequential(
            image, hidden, nn.Flatten(), IFLinear(24, 4, num_steps=32)
        )
    else:
        hidden = IFLinear(16, 6, num_steps=32)
        network = nn.Sequential(hidden, IFLinear(6, 4, num_steps=32))
    with torch.no_grad():
        hidden.weight[:2] = -0.1
    data = corners(shift=0)
    data.setup("fit")
    x = torch.cat([x for x, _ in data.train_dataloader()])

    def alive(model):
        with record_spike_times(model.eval()) as times, torch.no_grad():
            model(x)
        model.train()
        return (times["layer1"] < math.inf).transpose(0, 1).flatten(1).any(1)

    model = make(network)
    assert not alive(model)[:2].any()
    make_trainer(max_epochs=6).fit(model, datamodule=data)
    assert not alive(model)[:2].any(), "a silent hidden neuron gets no error"
    callback = DeadNeuronRevival()
    make_trainer(max_epochs=8, callbacks=[callback]).fit(model, datamodule=data)
    assert alive(model)[:2].all()


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_a_resumed_run_ends_with_the_same_weights(corners, make_trainer, tmp_path):
    def run(model, **settings):
        callback = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
        trainer = make_trainer(
            max_epochs=4, callbacks=[callback], enable_checkpointing=True
        )
        trainer.fit(model, datamodule=corners(), **settings)
        return model.network[0].weight

    whole = run(make(jitter=0.1))
    torch.manual_seed(12345)  # the process that resumes has another random state
    fresh = TickClassifier("16-12-4", jitter=0.1, **SMALL)
    resumed = run(fresh, ckpt_path=tmp_path / "epoch=1.ckpt")
    assert torch.equal(whole, resumed)
    other = run(make(jitter=0.2))
    assert not torch.equal(whole, other), "the jitter matters to the test above"


def test_predictions_have_class_and_time():
    model = make().eval()
    prediction = model.predict_step(torch.rand(5, 16), 0)
    assert prediction.predicted_class.shape == prediction.decision_time.shape == (5,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"rule": "stdbp"},
            "learns on spike times, and TickClassifier does not; take TemporalClassif",
        ),
        ({"rule": "tssl_bp"}, "take SpikeTrainClassifier"),
        ({"target": "last"}, "target is last, allowed is 'mean' or 'first'"),
        ({"num_ticks": 0}, "num_ticks is 0"),
        ({"gap": 33.0}, "gap is 33.0, allowed is above 0, up to 1"),
        ({"saturation": 0.0}, "saturation is 0.0, allowed is above 0"),
        ({"jitter": -0.1}, "jitter is -0.1"),
        ({"x_min": 1.0}, "x_min is 1.0"),
        ({"rule_options": {"b": -1.0}}, "b is -1.0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_an_output_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3, 1\), expected \(2, classes\)"):
        make(Fixed(torch.zeros(2, 3, 1)))(torch.rand(2, 5))


def test_convolutions_may_learn_at_another_rate(corners, make_trainer):
    model = make("4x4-2C3-4", conv_lr_scale=5.0, lr=0.01)
    trainer = make_trainer(limit_val_batches=0)
    trainer.fit(model, corners(flat=False))
    highest = {
        id(parameter): group["max_lr"]
        for group in trainer.optimizers[0].param_groups
        for parameter in group["params"]
    }
    conv, dense = (m for m in model.network if hasattr(m, "weight"))
    assert isinstance(conv, IFConv2d) and isinstance(dense, IFLinear)
    assert highest[id(conv.weight)] == pytest.approx(0.05)
    assert highest[id(dense.weight)] == pytest.approx(0.01)
    with pytest.raises(ValueError, match="conv_lr_scale is 0"):
        make(conv_lr_scale=0)
