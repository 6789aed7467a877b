import math

import numpy as np
import pytest
import torch

from snn_temporal_plugins.viz import (
    confusion,
    energy_breakdown,
    learning_curve,
    quantisation_sweep,
)


def metrics():
    """Return rows as csv.DictReader reads them from Lightning's metrics.csv."""
    rows = []
    for epoch in range(3):
        stem = {"epoch": str(epoch), "step": str(10 * epoch), "lr": ""}
        rows.append({**stem, "train_loss": str(2.0 - epoch), "val_loss": ""})
        rows.append({**stem, "train_loss": "", "val_loss": "1.5", "val_acc": "0.5"})
    rows[-1]["val_acc"] = "0.9875"
    return rows


def test_learning_curve_draws_train_and_validation_per_epoch():
    loss, accuracy = learning_curve(metrics()).axes
    train, validation = loss.lines
    assert list(train.get_xdata()) == [0, 1, 2]
    assert list(train.get_ydata()) == [2.0, 1.0, 0.0]
    assert list(validation.get_ydata()) == [1.5, 1.5, 1.5]
    assert list(accuracy.lines[0].get_ydata()) == pytest.approx([50, 50, 98.75])
    labels = [text.get_text() for text in loss.get_legend().get_texts()]
    assert labels == ["train", "validation"]


def test_learning_curve_names_axes_and_best_epoch():
    loss, accuracy = learning_curve(metrics()).axes
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "loss")
    assert (accuracy.get_xlabel(), accuracy.get_ylabel()) == ("epoch", "accuracy (%)")
    assert accuracy.get_title("right") == "best 98.75 % in epoch 2"
    assert list(accuracy.lines[-1].get_xdata()) == [2]


def test_learning_curve_of_one_epoch_has_whole_epochs_on_its_axis():
    axes = learning_curve([{"epoch": 0, "train_loss": 1.0}]).axes[0]
    assert all(tick == int(tick) for tick in axes.get_xticks())


@pytest.mark.parametrize("rows", [[], [{"epoch": "0", "step": "1", "lr": "0.1"}]])
def test_learning_curve_without_metrics_says_so(rows):
    figure = learning_curve(rows)
    said = [axes.texts[0].get_text() for axes in figure.axes]
    assert said == ["no loss logged", "no accuracy logged"]
    figure.canvas.draw()


def test_learning_curve_survives_a_diverged_loss():
    rows = [{"epoch": 0, "train_loss": "nan"}, {"epoch": 1, "train_loss": "inf"}]
    learning_curve(rows).canvas.draw()


def cells(figure):
    """Return the number written in each cell, by (row, column rounded)."""
    return {
        (round(text.get_position()[1]), math.floor(text.get_position()[0])): int(
            text.get_text()
        )
        for text in figure.axes[0].texts
    }


def test_confusion_counts_every_sample_and_keeps_no_decision_apart():
    predicted = torch.tensor([0, 0, 1, -1, 2, 0])
    target = torch.tensor([0, 0, 1, 1, 2, 2])
    figure = confusion(predicted, target, 3)
    assert cells(figure) == {(0, 0): 2, (1, 1): 1, (1, 3): 1, (2, 0): 1, (2, 2): 1}
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "1", "2", "none"]
    assert axes.get_title("left") == "66.67 % right"
    assert axes.get_title("right") == "1 of 6 without a decision"
    assert axes.get_xlabel() == "decision (class)"
    assert axes.get_ylabel() == "target (class)"


def test_confusion_of_one_class_and_of_no_samples():
    one = confusion(torch.tensor([0, -1]), torch.tensor([0, 0]), 1)
    assert cells(one) == {(0, 0): 1, (0, 1): 1}
    one.canvas.draw()
    empty = torch.empty(0, dtype=torch.long)
    none = confusion(empty, empty, 3)
    assert none.axes[0].get_title("left") == "no samples"
    none.canvas.draw()


def test_confusion_of_many_classes_writes_no_numbers():
    target = torch.arange(100)
    figure = confusion(target, target, 100)
    assert not figure.axes[0].texts
    assert len(figure.axes[0].get_xticks()) < 20


@pytest.mark.parametrize(
    ("predicted", "target", "num_classes", "message"),
    [
        ([3], [0], 3, r"predicted class 3 is not in -1..2; check num_classes=3"),
        ([-2], [0], 3, r"predicted class -2 is not in"),
        ([0], [-1], 3, r"target class -1 is not in 0..2"),
        ([0, 1], [0], 3, r"shape \(2,\) with targets of shape \(1,\)"),
        ([], [], 0, r"num_classes=0"),
    ],
)
def test_confusion_refuses_bad_input(predicted, target, num_classes, message):
    with pytest.raises(ValueError, match=message):
        confusion(torch.tensor(predicted), torch.tensor(target), num_classes)


def test_energy_is_stacked_by_term_and_layer_with_its_interval():
    parts = {"static": [0.0, 3e-6], "additions": [0.0, 1e-6], "packets": [5e-7, 5e-7]}
    figure = energy_breakdown(parts, ["input", "layer 1"], (2e-6, 9e-6))
    axes = figure.axes[0]
    rows = [text.get_text() for text in axes.get_yticklabels()]
    assert rows == ["all", "input", "layer 1"]
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    assert np.array(bars).reshape(3, 3, 2) == pytest.approx(
        np.array(
            [
                [[0, 3], [0, 0], [0, 3]],
                [[3, 1], [0, 0], [3, 1]],
                [[4, 1], [0, 0.5], [4, 0.5]],
            ]
        )
    )
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["0.5 µJ (10.0 %)", "4.5 µJ (90.0 %)"]
    (whisker,) = axes.collections[0].get_segments()
    assert whisker == pytest.approx(np.array([[2, 0], [9, 0]]))
    assert axes.get_xlim()[1] > 9
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["static", "additions", "packets"]
    assert axes.get_title("left") == "5 µJ per sample (2 to 9)"
    assert axes.get_title("right") == "estimate, not a measurement"
    assert axes.get_xlabel() == "energy per sample (µJ)"


@pytest.mark.parametrize(
    ("energy", "title"),
    [(2.0, "2 J"), (2e-3, "2 mJ"), (2e-9, "2 nJ"), (2e-12, "2 pJ"), (0.0, "0 pJ")],
)
def test_energy_units(energy, title):
    figure = energy_breakdown({"a": [energy]}, ["x"], (energy, energy))
    assert figure.axes[0].get_title("left").startswith(f"{title} per sample")
    figure.canvas.draw()


@pytest.mark.parametrize("energy", [-1.0, math.nan, math.inf])
def test_energy_refuses_what_is_no_energy(energy):
    with pytest.raises(ValueError, match=rf"energy of 'x' is {energy}"):
        energy_breakdown({"x": [energy]}, ["a"], (0.0, 1.0))


def test_energy_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="2 energies of 'x' for 1 layers"):
        energy_breakdown({"x": [1.0, 1.0]}, ["a"], (0.0, 3.0))
    for interval in ((2.0, 3.0), (0.0, 0.5), (-1.0, 2.0), (0.0, math.inf)):
        with pytest.raises(ValueError, match="does not hold the total of 1"):
            energy_breakdown({"x": [1.0]}, ["a"], interval)


def test_a_sweep_has_a_line_per_tick_count_and_leaves_gaps():
    table = {64: {2: math.nan, 4: 0.96, 6: 0.97}, 16: {2: 0.4, 4: 0.9, 6: 0.95}}
    axes = quantisation_sweep(table, real=0.975).axes[0]
    dashed, coarse, fine = axes.lines
    assert set(dashed.get_ydata()) == {97.5}
    assert [line.get_label() for line in (coarse, fine)] == ["16 ticks", "64 ticks"]
    assert list(coarse.get_xdata()) == [2, 4, 6]
    assert list(fine.get_ydata()) == pytest.approx([96, 97])
    low, high = axes.get_ylim()
    assert 86 < low < 88 and 97.5 < high < 99  # 40 % is of no use
    assert axes.get_title("right") == "dashed: 97.50 % as trained"


@pytest.mark.parametrize("table", [{}, {16: {}}, {16: {2: math.nan}}])
def test_an_empty_sweep_says_so(table):
    figure = quantisation_sweep(table)
    assert figure.axes[0].texts[0].get_text() == "nothing measured"
    figure.canvas.draw()


@pytest.mark.parametrize("share", [-0.1, 98.0, math.inf])
def test_a_sweep_refuses_what_is_no_share(share):
    with pytest.raises(ValueError, match=f"accuracy {share} is no share"):
        quantisation_sweep({16: {2: share}})


def test_names_are_never_read_as_formulas():
    names = [r"$\frac{", "a$b$"]
    parts = {name: [1.0, 2.0] for name in names}
    energy_breakdown(parts, names, (6.0, 6.0)).canvas.draw()


def test_every_chart_says_how_to_read_it():
    classes = torch.tensor([0, 1])
    for figure in (
        learning_curve(metrics()),
        confusion(classes, classes, 2),
        energy_breakdown({"a": [1.0]}, ["x"], (1.0, 1.0)),
    ):
        assert len(figure.get_label()) > 60
