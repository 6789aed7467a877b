import math

import lightning as L
import pytest
import torch
from torch import nn

from snn_temporal_plugins import neurons
from snn_temporal_plugins.functional import (
    count_loss,
    kernel_loss,
    psp_filter,
    softmax_loss,
)
from snn_temporal_plugins.training import (
    SpikeTrainClassifier,
    TemporalClassifier,
    TensorBatches,
    TrainPrediction,
)


def make(network="16-12-4", **settings):
    L.seed_everything(7, verbose=False)
    return SpikeTrainClassifier(network, **{"lr": 0.01, **settings})


class Fixed(nn.Module):
    """A network of given outputs (time, batch, classes); its weight changes nothing."""

    def __init__(self, output):
        super().__init__()
        self.output = output
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = None

    def forward(self, x):
        self.seen = x
        return self.output + 0 * self.weight


def psps(*per_sample):
    """One step of output PSPs from a row of classes for each sample."""
    return torch.tensor(per_sample)[None]


def test_images_are_shown_for_some_steps():
    model = make(num_steps=5)
    x = torch.rand(3, 16)
    psp = model(x)
    assert psp.shape == (5, 3, 4)
    assert torch.equal(psp, model.network(x))


def test_events_come_with_time_second_and_leave_with_time_first():
    model = make("2x4x4-3C3-6-4", num_steps=None, tau_syn=2.0)
    events = torch.randint(0, 2, (3, 7, 2, 4, 4)).float()
    psp = model(events)
    assert psp.shape == (7, 3, 4)
    assert isinstance(model.network[0], neurons.PSPFilter)
    assert torch.equal(psp, model.network(events.transpose(0, 1)))


def test_settings_reach_the_network():
    model = make(
        "1x4x4-2C3-8-4",
        num_steps=3,
        tau_mem=6.0,
        tau_syn=2.0,
        v_th=0.5,
        dropout=0.2,
        conv_weight_scale=5.0,
        rule_options={"decision": "always_timing"},
    )
    kinds = ["LIFConv2d", "PSPDropout", "TimeFlatten", "LIFLinear"]
    assert [type(layer).__name__ for layer in model.network[:4]] == kinds
    convolution, dropout, _, dense, *_ = model.network
    for layer in (convolution, dense):
        assert (layer.tau_mem, layer.tau_syn, layer.v_th) == (6.0, 2.0, 0.5)
        assert layer.rule_options == {"decision": "always_timing"}
    assert convolution.num_steps == 3
    assert convolution.weight_scale == 5.0
    assert dropout.p == 0.2


class Host(nn.Module):
    """A module in the hosts' manner: a state that must be reset, and a tuple."""

    def __init__(self, output):
        super().__init__()
        self.output = output
        self.state = None

    def reset_mem(self):
        self.state = None

    def forward(self, x):
        assert self.state is None, "the state of the step before is still there"
        self.state = x
        return self.output, self.state


def test_a_module_of_ones_own_gives_spikes_or_psps_and_is_reset():
    spikes = torch.randint(0, 2, (6, 2, 3)).float()
    x = torch.rand(2, 5)
    as_spikes = make(Host(spikes), output="spikes", tau_syn=2.5)
    for _ in range(2):
        assert torch.equal(as_spikes(x), psp_filter(spikes, 2.5))
    assert torch.equal(make(Host(spikes))(x), spikes)


@pytest.mark.parametrize(
    ("x", "mean", "std"),
    [
        (torch.rand(2, 5), 0.0, 1.0),
        (torch.rand(2, 5), 0.5, 0.25),
        (torch.rand(2, 3, 4, 4), [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]),
        (torch.rand(2, 3, 4, 4), (0.1, 0.2, 0.3), 0.5),
        (torch.rand(2, 3, 4, 4).double(), 0.5, [0.5, 1.0, 2.0]),
        (torch.rand(2, 5, 1, 4, 4), [0.1], [0.2]),
    ],
)
def test_x_is_normalised(x, mean, std):
    network = Fixed(torch.zeros(5, 2, 4))
    make(network, mean=mean, std=std)(x)

    def per_channel(value):
        return torch.tensor(value, dtype=x.dtype).view(
            (-1, 1, 1) if isinstance(value, list | tuple) else ()
        )

    expected = (x - per_channel(mean)) / per_channel(std)
    assert torch.equal(network.seen, expected)
    assert network.seen.dtype == x.dtype


@pytest.mark.parametrize("shape", [(2, 784), (2, 4, 4, 4), (3, 4, 4)])
def test_images_with_other_channels_are_refused(shape):
    with pytest.raises(ValueError, match=r"3 channels, but x has the shape \(\d"):
        make(Fixed(torch.zeros(5, 2, 4)), mean=[0.1, 0.2, 0.3])(torch.zeros(shape))


def test_the_three_losses():
    psp, label = torch.rand(5, 2, 3), torch.tensor([2, 0])
    kernel = make("4-3", tau_syn=2.0, target_filter="single")
    expected = kernel_loss(psp, label, tau_syn=2.0, target_filter="single")
    assert torch.equal(kernel.loss(psp, label), expected)
    count = make("4-3", loss="count", desired_count=4.0, undesired_count=1.0)
    expected = count_loss(psp, label, desired_count=4.0, undesired_count=1.0)
    assert torch.equal(count.loss(psp, label), expected)
    softmax = make("4-3", loss="softmax")
    assert torch.equal(softmax.loss(psp, label), softmax_loss(psp, label))


@pytest.mark.parametrize(
    ("settings", "steps", "message"),
    [
        ({"target_filter": "once"}, 5, "target_filter is 'once'"),
        ({}, 7, "num_steps is 7; the desired spike train needs 5"),
        ({"loss": "count", "undesired_count": 20.0}, 5, "undesired_count is 20.0"),
    ],
)
def test_a_loss_that_cannot_be_computed_says_why(settings, steps, message):
    with pytest.raises(ValueError, match=message):
        make("4-3", **settings).loss(torch.rand(steps, 1, 3), torch.tensor([2]))


@pytest.mark.parametrize("loss", ["kernel", "softmax"])
def test_means_are_per_sample_and_silence_is_wrong(make_trainer, loss):
    output = psps([0.3, 0.1], [0.1, 0.3], [0.0, 0.0], [0.2, 0.2]).expand(5, 4, 2)
    label = torch.tensor([0, 0, 0, 1])  # the first class of a tie is the answer
    model = make(Fixed(output), loss=loss)
    batches = TensorBatches(torch.zeros(4, 3), label, 4, sample_shape=(3,))
    (means,) = make_trainer().test(model, batches, verbose=False)
    assert means["test_acc"] == 0.25
    assert means["test_silent"] == 0.25
    share = 4 if loss == "kernel" else 1
    assert means["test_loss"] == pytest.approx(float(model.loss(output, label)) / share)
    (answer,) = make_trainer().predict(model, batches)
    assert isinstance(answer, TrainPrediction)
    assert answer.predicted_class.tolist() == [0, 1, -1, 0]
    assert answer.summed_psp.tolist() == pytest.approx([1.5, 1.5, 0.0, 1.0])


@pytest.mark.parametrize(
    "settings",
    [{}, {"loss": "softmax", "lr": 0.03}, {"loss": "count", "desired_count": 4.0}],
    ids=["kernel", "softmax", "count"],
)
def test_training_learns_and_logs(settings, corners, make_trainer):
    model, data = make(undesired_count=0.0, **settings), corners(shift=0)
    trainer = make_trainer(max_epochs=30)
    trainer.fit(model, datamodule=data)
    means = trainer.callback_metrics
    assert means["train_acc"] > 0.9
    assert means["val_acc"] > 0.8
    assert {"train_loss", "train_silent", "val_loss", "val_silent"} <= set(means)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr is 0.0, allowed is above 0"),
        ({"lr": math.nan}, "lr is nan"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"warmup": 1.0}, "warmup is 1.0, allowed is 0 or more and below 1, or null"),
        ({"max_norm": 0.0}, "max_norm is 0.0, allowed is above 0, or null"),
        ({"max_weight": -1.0}, "max_weight is -1.0"),
        ({"max_weight": math.inf}, "max_weight is inf"),
        ({"loss": "mse"}, "loss is mse, allowed is 'kernel', 'count' or 'softmax'"),
        ({"output": "times"}, "output is times, allowed is 'psp', or 'spikes'"),
        ({"output": "spikes"}, "output is spikes, allowed is 'psp', or 'spikes' for a"),
        ({"mean": math.nan}, "mean is nan, allowed is a number, or one per channel"),
        ({"std": 0.0}, "std is 0.0, allowed is a number above 0"),
        ({"std": [0.5, 0.0]}, r"std is \[0.5, 0.0\]"),
        ({"mean": []}, r"mean is \[\], allowed is a number"),
        ({"mean": [0.1, 0.2], "std": [1.0]}, "give both for the same channels"),
        ({"rule": "hebb"}, "unknown rule 'hebb'"),
        ({"rule": "stdbp"}, "'stdbp' learns on spike times, and SpikeTrainClass"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"reset": "none"}, "reset is 'none'"),
        ({"tau_mem": 0.5}, "tau_mem is 0.5"),
        ({"tau_syn": math.inf}, "tau_syn is inf"),
        ({"dropout": 1.0}, "p is 1.0"),
        ({"v_th": math.nan}, "v_th is nan"),
        ({"network": "16-x-4"}, "cannot read 'x'"),
        ({"rule_options": {"decision": "never"}}, "decision is 'never'"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_the_two_models_tell_each_others_rules():
    with pytest.raises(ValueError, match="'tssl_bp' learns on spike trains, and Temp"):
        TemporalClassifier("4-3", rule="tssl_bp")


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3), (5, 2, 3, 1)])
def test_an_output_of_the_wrong_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"expected \(time, 2, classes\)"):
        make(Fixed(torch.zeros(shape)))(torch.zeros(2, 4))


def test_an_output_that_is_no_spike_train_is_named():
    with pytest.raises(ValueError, match=r"the network's output holds 0\.5; a sp"):
        make(Fixed(torch.full((5, 2, 3), 0.5)), output="spikes")(torch.zeros(2, 4))
