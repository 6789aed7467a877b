import math

import pytest
import torch

from snn_temporal_plugins.viz.numbers import (
    epoch_means,
    flat_layers,
    latency_curve,
    time_range,
)


def test_latency_curve_equals_the_definition_at_every_time():
    generator = torch.Generator().manual_seed(0)
    times = torch.randint(0, 12, (300, 4), generator=generator).double()
    times[torch.rand(300, 4, generator=generator) < 0.4] = math.inf
    target = torch.randint(0, 4, (300,), generator=generator)
    curve = latency_curve(times, target)
    for t, accuracy, decided in zip(*curve, strict=True):
        seen = right = 0
        for row, wanted in zip(times.tolist(), target.tolist(), strict=True):
            first = min(row)
            if first <= t and row.count(first) == 1:
                seen += 1
                right += row.index(first) == wanted
        assert accuracy.item() == right / 300
        assert decided.item() == seen / 300


def test_latency_curve_is_thinned_but_keeps_its_ends():
    times = torch.arange(1000.0).reshape(1000, 1)
    target = torch.zeros(1000, dtype=torch.long)
    curve = latency_curve(times, target, max_steps=50)
    assert len(curve.time) == 50
    assert (curve.time[0], curve.time[-1]) == (0, 999)
    assert torch.equal(curve.decided, (curve.time + 1) / 1000)


@pytest.mark.parametrize(
    ("column", "key"),
    [
        ("train_loss", ("loss", "train")),
        ("train/loss", ("loss", "train")),
        ("train_loss_epoch", ("loss", "train")),
        ("val_acc", ("accuracy", "validation")),
        ("val/Accuracy", ("accuracy", "validation")),
        ("validation accuracy", ("accuracy", "validation")),
        ("loss/valid", ("loss", "validation")),
    ],
)
def test_epoch_means_knows_the_usual_names(column, key):
    assert epoch_means([{"epoch": "3", column: "0.5"}]) == {key: {3: 0.5}}


@pytest.mark.parametrize(
    "column", ["test_loss", "val_loss_penalty", "silent/hidden", "loss", "val_f1"]
)
def test_epoch_means_passes_other_columns_over(column):
    assert epoch_means([{"epoch": "0", column: "0.5"}]) == {}


def test_epoch_means_averages_steps_and_prefers_lightnings_own_mean():
    steps = [{"epoch": 0, "train_loss": x} for x in (1.0, 2.0)]
    assert epoch_means(steps) == {("loss", "train"): {0: 1.5}}
    both = [{"epoch": 0, "train_loss_step": 9.0, "train_loss_epoch": 1.0}]
    assert epoch_means(both) == {("loss", "train"): {0: 1.0}}


def test_epoch_means_passes_over_rows_of_other_loggers():
    rows = [{"epoch": "", "lr-Adam": "0.1", "train_loss": ""}]
    assert epoch_means(rows) == {}


def test_epoch_means_refuses_a_loss_without_an_epoch():
    with pytest.raises(ValueError, match=r"train_loss = 1 has no epoch"):
        epoch_means([{"train_loss": "1"}])


def test_time_range_shows_every_spike_and_zero():
    def span(times, t_max=None):
        return time_range(flat_layers([torch.tensor([times])], None, t_max), t_max)

    assert span([0.5, 3.0]) == (0.0, 3.0)
    assert span([-1.0, 0.5]) == (-1.0, 0.5)
    assert span([0.5], 2.0) == (0.0, 2.0)
    assert span([0.5], math.inf) == (0.0, 0.5)
    assert span([math.inf]) == (0.0, 1.0)
    assert span([0.0]) == (0.0, 1.0)
