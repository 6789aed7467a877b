"""Additions are counted as hardware would do them: spike by spike, neuron by neuron."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from snn_temporal_plugins import build_network
from snn_temporal_plugins.functional import times_to_train, train_to_times
from snn_temporal_plugins.neurons import (
    EarliestSpikePool2d,
    IFLinear,
    ReLPSPConv2d,
    ReLPSPLinear,
    SilenceDropout,
)
from snn_temporal_plugins.training import (
    SpikeStatistics,
    TemporalClassifier,
    TickClassifier,
)
from snn_temporal_plugins.training.additions import additions, record_layer_inputs
from snn_temporal_plugins.training.classifier import first

STAGES = ("additions", "additions_to_decision")


def times_of(shape, seed):
    """Spike times 0..5, a third of them silent."""
    g = torch.Generator().manual_seed(seed)
    time = torch.randint(6, shape, generator=g).float()
    return torch.where(torch.rand(shape, generator=g) < 1 / 3, math.inf, time)


def counted(sample, weight, *, stride=1, padding=0, until=math.inf):
    """One sample: every patch, every input in it, every neuron that looks at it."""
    count = 0
    if weight.dim() == 2:
        for t, _ in itertools.product(sample.flatten(), weight):
            count += bool(t < math.inf and t <= until)
        return count
    _, height, width = sample.shape
    _, _, down, across = weight.shape
    tops = range(-padding, height + padding - down + 1, stride)
    lefts = range(-padding, width + padding - across + 1, stride)
    for top, left, kernel in itertools.product(tops, lefts, weight):
        for c, y, x in itertools.product(*map(range, kernel.shape)):
            if 0 <= top + y < height and 0 <= left + x < width:
                t = sample[c, top + y, left + x]
                count += bool(t < math.inf and t <= until)
    return count


@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    side=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    seed=st.integers(0, 9),
)
def test_a_convolution_equals_the_loops(height, width, side, stride, padding, seed):
    if min(height, width) + 2 * padding < side:
        return
    time, weight = times_of((3, 2, height, width), seed), torch.ones(3, 2, side, side)
    slide = {"stride": stride, "padding": padding}
    until = torch.tensor([0.0, 3.0, math.inf])
    found = additions(time, weight, **slide, until=until)
    assert found.dtype == torch.int64
    assert found.tolist() == [
        counted(sample, weight, **slide, until=limit)
        for sample, limit in zip(time, until, strict=True)
    ]
    all_spikes = [counted(sample, weight, **slide) for sample in time]
    assert additions(time, weight, **slide).tolist() == all_spikes


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 5)], ids=["dense", "places"])
def test_a_dense_layer_equals_the_loops(shape):
    time, weight = times_of(shape, 1), torch.ones(7, 5)
    until = torch.tensor([0.0, 2.0, 5.0, math.inf])
    assert additions(time, weight).tolist() == [counted(t, weight) for t in time]
    assert additions(time, weight, until=until).tolist() == [
        counted(t, weight, until=limit) for t, limit in zip(time, until, strict=True)
    ]


def test_an_inner_input_of_a_convolution_reaches_every_tap():
    time = torch.full((1, 1, 5, 5), math.inf)
    time[0, 0, 2, 2] = 0.0
    corner = torch.full((1, 1, 5, 5), math.inf)
    corner[0, 0, 0, 0] = 0.0
    weight = torch.zeros(4, 1, 3, 3)
    assert additions(time, weight).item() == 4 * 9
    assert additions(corner, weight).item() == 4
    assert additions(corner, weight, padding=1).item() == 4 * 4
    assert additions(time, weight, stride=2).item() == 4 * 4


@pytest.mark.parametrize(
    ("time", "weight"),
    [((2, 3), (4, 5)), ((3,), (4, 3)), ((2, 3), (4, 3, 1, 1)), ((2, 3, 4), (4, 3, 4))],
)
def test_shapes_that_do_not_fit_are_refused(time, weight):
    with pytest.raises(ValueError, match=r"allowed are \(batch, \.\.\., in\)"):
        additions(torch.zeros(time), torch.zeros(weight))


def test_counts_beyond_single_precision_are_exact():
    time = torch.zeros(1, 2**12 + 1)
    weight = torch.zeros(1, 1).expand(2**12 + 1, 2**12 + 1)
    assert additions(time, weight).item() == (2**12 + 1) ** 2


def measured(model, data, make_trainer):
    """The two means that the callback logs for the test samples, and these."""
    (means,) = make_trainer(callbacks=[SpikeStatistics()]).test(
        model, datamodule=data, verbose=False
    )
    x = data.splits.test.x / 255
    found = [means.get(f"test_{stage}") for stage in STAGES]
    return found, x.reshape(-1, *data.sample_shape)


def expected(entered, output):
    """The same by loops; `entered` are pairs of spike times and layers."""
    first = output.amin(1)
    means = []
    for until in (torch.full_like(first, math.inf), first):
        count = 0
        for time, layer in entered:
            slide = {
                name: getattr(layer, name)
                for name in ("stride", "padding")
                if hasattr(layer, name)
            }
            for sample, limit in zip(time, until, strict=True):
                count += counted(sample, layer.weight, **slide, until=limit)
        means.append(count / len(output))
    return means


@pytest.mark.parametrize("kind", ["relpsp", "if"])
def test_the_callback_logs_both_counts(kind, corners, make_trainer):
    torch.manual_seed(0)
    model = (
        TemporalClassifier("16-12-4")
        if kind == "relpsp"
        else TickClassifier("16-12-4", num_ticks=32, v_th=1.0)
    )
    data = corners(batch_size=6)
    found, x = measured(model, data, make_trainer)
    hidden, output = model.eval().network
    with torch.no_grad():
        entered = model._encode(x) if kind == "if" else torch.where(x > 0, 1 - x, 9e9)
        entered = torch.where(entered < 9e9, entered, math.inf)
        between = hidden(entered)
        post = output(between)
    # input spikes x hidden neurons + hidden spikes x outputs
    spikes = entered.isfinite().sum() * 12 + between.isfinite().sum() * 4
    assert found[0] == pytest.approx(spikes.item() / len(x))
    pairs = [(entered, hidden), (between, output)]
    assert found == pytest.approx(expected(pairs, post))
    assert 0 < found[1] < found[0]


def test_what_enters_counts_not_what_the_layer_before_gave(corners, make_trainer):
    torch.manual_seed(0)
    network = nn.Sequential(
        ReLPSPConv2d(1, 3, 2, stride=1, padding=1, weight_gain=3.0, weight_mean=1.0),
        EarliestSpikePool2d(2),
        SilenceDropout(0.5),
        nn.Flatten(),
        ReLPSPLinear(12, 4, weight_gain=3.0, weight_mean=1.0),
    )
    model, data = TemporalClassifier(network), corners(flat=False)
    found, x = measured(model, data, make_trainer)
    network.eval()
    with torch.no_grad():
        entered = torch.where(x > 0, 1 - x, math.inf)
        maps = network[0](entered)
        pooled = network[1](maps)
        post = network[4](pooled.flatten(1))
    assert pooled.isfinite().sum() < maps.isfinite().sum()
    pairs = [(entered, network[0]), (pooled.flatten(1), network[4])]
    assert found == pytest.approx(expected(pairs, post))


def test_without_a_decision_all_spikes_count(corners, make_trainer):
    network = nn.Sequential(ReLPSPLinear(16, 4))
    nn.init.constant_(network[0].weight, -1.0)
    found, x = measured(TemporalClassifier(network), corners(), make_trainer)
    assert found == pytest.approx([4 * (x > 0).sum().item() / len(x)] * 2)


@pytest.mark.parametrize("trains", [False, True])
def test_inputs_that_the_released_code_does_not_deliver_cost_nothing(trains):
    x = torch.tensor([[1.0, 0.5, 1 / 7, 0.0]])  # ticks 0, 4, 6, 7 of 8
    costs = []
    for compat in (None, "released"):
        layer = IFLinear(4, 3, num_steps=8, compat=compat)
        if trains:
            network = OnTrains(layer)
            # encoded as times from 0 to 1, each a seventh of the window
            model = TemporalClassifier(
                network, num_steps=8, t_max=8 / 7, silent_zero=False
            )
        else:
            model = TickClassifier(nn.Sequential(layer), num_ticks=8, x_min=-1.0)
        with record_layer_inputs(model) as entered:
            model(x)
            costs.append(additions(entered[0].spike_time, layer.weight).item())
    assert costs == [4 * 3, 2 * 3]


class OnTrains(nn.Module):
    """A layer of a host, as the adapters have them: trains in, trains out."""

    def __init__(self, core):
        super().__init__()
        self.core = core
        self.weight, self.v_th = core.weight, core.v_th

    def forward(self, spikes):
        return times_to_train(self.core(train_to_times(spikes)), len(spikes))


@pytest.mark.parametrize("host", ["snntorch", "norse"])
def test_layers_in_a_host_cost_the_same(host, corners, make_trainer):
    if host == "snntorch":
        pytest.importorskip("snntorch")
        from snn_temporal_plugins.adapters import snntorch as adapter

        last = {"output": False}
        make = nn.Sequential
    else:
        norse = pytest.importorskip("norse.torch")
        from snn_temporal_plugins.adapters import norse as adapter

        last, make = {}, norse.SequentialState
    torch.manual_seed(0)
    dt, weights = 2 / 64, {"weight_gain": 3.0, "weight_mean": 0.5}
    network = make(
        adapter.ReLPSPLinear(16, 12, dt=dt, **weights, **last),
        adapter.ReLPSPLinear(12, 4, dt=dt, **weights, **last),
    )
    model, data = TemporalClassifier(network, num_steps=64), corners()
    found, x = measured(model, data, make_trainer)
    trains = [times_to_train(torch.where(x > 0, (1 - x) / dt, math.inf), 64)]
    with torch.no_grad():
        for layer in network:
            trains.append(first(layer(trains[-1])))
    entered, between, post = map(train_to_times, trains)
    pairs = [(entered, network[0].core), (between, network[1].core)]
    assert found == pytest.approx(expected(pairs, post))
    assert 0 < found[1] < found[0]


def test_a_network_with_weights_elsewhere_logs_no_count(corners, make_trainer):
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Linear(16, 16)
            self.spiking = ReLPSPLinear(16, 4)

        def forward(self, spike_time):
            return self.spiking(spike_time)

    trainer = make_trainer(callbacks=[SpikeStatistics()])
    model = TemporalClassifier(Mine())
    (means,) = trainer.test(model, datamodule=corners(), verbose=False)
    assert "test_spikes" in means
    assert not {f"test_{stage}" for stage in STAGES} & set(means)


def test_a_layer_called_by_name_and_twice_is_counted_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = ReLPSPLinear(4, 4, weight_mean=1.0)

        def forward(self, spike_time):
            return self.layer(self.layer(spike_time=spike_time))

    model = TemporalClassifier(Twice())
    with record_layer_inputs(model) as entered:
        for _ in range(2):  # a pass replaces what the one before left
            model(torch.rand(3, 4))
            assert [layer for layer, _ in entered] == [model.network.layer] * 2
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_architectures_of_both_kinds_are_known():
    for rule, kind in (("stdbp", TemporalClassifier), ("sstdp", TickClassifier)):
        network = build_network("8x8-3C3-P2-10-4", rule=rule)
        with record_layer_inputs(kind(network)) as entered:
            network(torch.zeros(2, 1, 8, 8))
        assert [layer for layer, _ in entered] == [network[0], network[3], network[4]]
