import math

import pytest
import torch

from snn_temporal_plugins.viz import (
    accuracy_over_time,
    class_accuracy,
    confusion_changes,
    learning_curves,
)
from snn_temporal_plugins.viz.numbers import LatencyCurve, latency_curve
from snn_temporal_plugins.viz.render import render
from snn_temporal_plugins.viz.style import height


def rows(*accuracies, validation=False):
    """Rows of metrics.csv; the loss is 1 - accuracy."""
    stage = "val" if validation else "train"
    return [
        {"epoch": str(epoch), f"{stage}_acc": str(a), f"{stage}_loss": str(1 - a)}
        for epoch, a in enumerate(accuracies)
    ]


def drawn(axes):
    return [list(line.get_ydata()) for line in axes.lines]


def test_learning_curves_of_all_runs_share_their_axes():
    runs = {"a": rows(0.5, 0.9), "b": rows(0.6, 0.99) + rows(0.7, validation=True)}
    figure = learning_curves(runs)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == [
        "accuracy, train",
        "accuracy, validation",
        "loss, train",
        "loss, validation",
    ]
    train, validation, loss, _ = figure.axes
    assert drawn(train) == [[height(0.5), height(0.9)], [height(0.6), height(0.99)]]
    assert drawn(validation) == [[height(0.7)]]
    assert drawn(loss)[0] == pytest.approx([0.5, 0.1])
    assert validation.lines[0].get_color() == train.lines[1].get_color()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["a", "b"]


def test_losses_of_different_kinds_are_left_out_and_colours_stay():
    figure = learning_curves({"b": rows(0.5)}, names=["a", "b"], with_loss=False)
    assert [axes.get_title("left") for axes in figure.axes] == ["accuracy, train"]
    both = learning_curves({"a": rows(0.5), "b": rows(0.5)})
    one, two = figure.axes[0].lines[0], both.axes[0].lines[1]
    assert one.get_color() == two.get_color() and one.get_marker() == two.get_marker()


@pytest.mark.parametrize("runs", [{"a": []}, {"a": [{"epoch": "0", "lr": "1"}]}])
def test_learning_curves_without_metrics_say_so(runs):
    figure = learning_curves(runs)
    assert figure.axes[0].texts[0].get_text() == "no accuracy logged"
    figure.canvas.draw()


def test_many_runs_can_be_told_apart():
    names = [f"run {index}" for index in range(12)]
    figure = learning_curves({name: rows(0.5, 0.6) for name in names})
    lines = figure.axes[0].lines
    looks = {(x.get_color(), str(x.get_linestyle()), x.get_marker()) for x in lines}
    assert len(looks) == 12
    figure.canvas.draw()


def test_the_axis_stretches_towards_all_right():
    named = [0, 0.5, 0.9, 0.99, 0.999, 1]
    heights = [height(accuracy) for accuracy in named]
    assert heights == sorted(heights) and all(map(math.isfinite, heights))
    assert heights[3] - heights[2] > heights[1] - heights[0]


def test_accuracy_over_time_draws_every_curve_to_the_last_end():
    times = torch.tensor([[0.2, math.inf], [0.6, 0.7], [math.inf, 0.4]])
    first = latency_curve(times, torch.tensor([0, 0, 0]))
    second = LatencyCurve(*(torch.tensor([x]) for x in (1.0, 0.5, 0.75)))
    empty = LatencyCurve(*[torch.empty(0)] * 3)
    figure = accuracy_over_time({"a": first, "b": second, "c": empty})
    axes = figure.axes[0]
    step, mark, other, _ = axes.lines
    assert list(step.get_xdata()) == pytest.approx([0, 0.2, 0.4, 0.6, 1])
    assert list(step.get_ydata()) == pytest.approx(
        [0, 100 / 3, 100 / 3, 200 / 3, 200 / 3]
    )
    assert list(mark.get_xdata()) == pytest.approx([0.6])
    assert list(other.get_ydata()) == [0, 50, 50]
    figure.canvas.draw()


def answers():
    target = torch.tensor([0, 0, 1, 1, 2, 2])
    return {
        "a": (torch.tensor([0, 1, 1, 1, 2, -1]), target),
        "b": (torch.tensor([0, 0, 1, 1, 0, 2]), target),
    }


def test_class_accuracy_has_a_mark_per_run_and_class():
    axes = class_accuracy(answers()).axes[0]
    marks = [line for line in axes.lines if line.get_linestyle() == "None"]
    heights = [list(line.get_ydata()) for line in marks]
    assert heights[0] == pytest.approx([height(a) for a in (0.5, 1, 0.5)])
    assert heights[1] == pytest.approx([height(a) for a in (1, 1, 0.5)])
    assert [round(x) for x in marks[0].get_xdata()] == [0, 1, 2]


def test_confusion_changes_are_differences_to_the_first():
    figure = confusion_changes(answers())
    first, other = (
        {
            (round(text.get_position()[1]), round(text.get_position()[0])): (
                text.get_text()
            )
            for text in axes.texts
        }
        for axes in figure.axes
    )
    assert first == {(0, 1): "1", (2, 3): "1"}, "mistakes alone; column 3: none"
    assert other == {
        (0, 0): "+1",
        (0, 1): "−1",
        (2, 0): "+1",
        (2, 3): "−1",
    }
    heads = [axes.get_title("left") for axes in figure.axes]
    assert heads == ["a", "b"]
    assert figure.axes[1].get_title("right") == "83.33 % right"


def test_better_is_blue_and_worse_is_orange():
    axes = confusion_changes(answers()).axes[1]
    colours = axes.collections[0].get_array()
    assert colours[0, 0, 2] > colours[0, 0, 0], "more on the diagonal is blue"
    assert colours[0, 1, 2] > colours[0, 1, 0], "one mistake less is blue"
    assert colours[2, 0, 0] > colours[2, 0, 2], "one mistake more is orange"


@pytest.mark.parametrize("number", [1, 3])
def test_any_number_of_runs_and_classes_can_be_drawn(number):
    target = torch.arange(40) % 20
    runs = {f"run {n}": ((target + n) % 20, target) for n in range(number)}
    for chart in (confusion_changes, class_accuracy):
        figure = chart(runs)
        assert render(figure, "svg") == render(chart(runs), "svg")
    empty = torch.empty(0, dtype=torch.long)
    class_accuracy({"a": (empty, empty)}).canvas.draw()
    confusion_changes({"a": (empty, empty)}).canvas.draw()
