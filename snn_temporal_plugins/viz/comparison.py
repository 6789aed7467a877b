"""Charts of several runs beside each other: one colour and marker per run.

Every function is pure: numbers in, a `matplotlib.figure.Figure` out, whose label
(``figure.get_label()``) says how to read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snn_temporal_plugins.viz.numbers import (
    LatencyCurve,
    confusion_counts,
    epoch_means,
)
from snn_temporal_plugins.viz.style import (
    BLUE,
    GRID,
    INK,
    ORANGE,
    SERIES,
    SURFACE,
    head,
    height,
    house_style,
    new_figure,
    percent,
    say,
    stretch,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vPX"
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))
_READABLE = 16  # more classes than these have no number in each cell


@house_style()
def learning_curves(
    runs: Mapping[str, Iterable[Mapping[str, object]]],
    *,
    names: Sequence[str] | None = None,
    with_loss: bool = True,
) -> Figure:
    """Draw loss and accuracy of each epoch, of all runs in the same axes.

    Args:
        runs: rows of Lightning's ``metrics.csv``, as ``csv.DictReader`` gives them, by
            the name of the run.
        names: all names in the order of their colours, where others have no rows.
        with_loss: whether the losses are of the same kind.

    Raises:
        ValueError: a loss or accuracy without an epoch.
    """
    looks = _looks(names or list(runs))
    means = {name: epoch_means(rows) for name, rows in runs.items()}
    logged = {key for curves in means.values() for key in curves}
    stages = [
        stage
        for stage in ("train", "validation")
        if any((metric, stage) in logged for metric in ("loss", "accuracy"))
    ] or ["train"]
    metrics = ("accuracy", "loss") if with_loss else ("accuracy",)
    figure = new_figure(
        0.8 + 2.5 * len(metrics),
        "What was logged after each epoch; an interrupted run is shown from its first "
        "epoch on. The axis of accuracy stretches towards 100 %. Training is measured "
        "with dropout and moved images, where a run has them, so it can lie below "
        "validation. Losses compare only as far as their settings are the same.",
    )
    grid = figure.subplots(len(metrics), len(stages), squeeze=False, sharex=True)
    for metric, row in zip(metrics, grid, strict=True):
        for stage, axes in zip(stages, row, strict=True):
            head(axes, f"{metric}, {stage}")
            axes.set_ylabel("accuracy (%)" if metric == "accuracy" else "loss")
            axes.locator_params(axis="x", integer=True, min_n_ticks=1)
            curves = {
                name: of[metric, stage]
                for name, of in means.items()
                if (metric, stage) in of
            }
            if metric == "accuracy":
                stretch(axes, [a for curve in curves.values() for a in curve.values()])
            for name, curve in curves.items():
                values = list(curve.values())
                if metric == "accuracy":
                    values = [height(accuracy) for accuracy in values]
                axes.plot(
                    list(curve), values, **looks[name],
                    markersize=4 if len(curve) <= 30 else 0,
                )  # fmt: skip
            if not curves:
                say(axes, f"no {metric} logged")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    _legend(figure, looks, [name for name in looks if name in runs])
    return figure


@house_style()
def accuracy_over_time(curves: Mapping[str, LatencyCurve]) -> Figure:
    """Draw the accuracy of each network if every decision is cut off at time t.

    Args:
        curves: by the name of the run, from `latency_curve` or with the same meaning.
    """
    looks = _looks(list(curves))
    figure = new_figure(
        3.8,
        "Stop the clock at any time: accuracy over all samples, undecided ones counted "
        "as wrong. 1 is the length of the input, whatever that lasts on the chip. A "
        "network of spike trains answers by what came out so far. The mark is where "
        "99 % of the last accuracy is reached.",
    )
    axes = figure.subplots()
    head(axes, "accuracy against the deadline")
    axes.set(xlabel="cut-off time (input windows)", ylabel="accuracy (%)")
    axes.set_ylim(0, 104)
    end = max((float(c.time.max()) for c in curves.values() if len(c.time)), default=1)
    for name, (time, accuracy, _) in curves.items():
        if len(time) == 0:
            continue
        look = {**looks[name], "marker": ""}
        axes.step(
            [0.0, *time.tolist(), end],
            [0.0, *(100 * accuracy).tolist(), 100 * float(accuracy[-1])],
            where="post", **look,
        )  # fmt: skip
        soon = int((accuracy >= 0.99 * accuracy[-1]).nonzero()[0])
        axes.plot(
            [float(time[soon])], [100 * float(accuracy[soon])], markersize=8,
            color=looks[name]["color"], marker=looks[name]["marker"], linestyle="none",
            markeredgecolor=SURFACE, zorder=3,
        )  # fmt: skip
    axes.set_xlim(0, end)
    _legend(figure, looks, list(curves))
    return figure


@house_style()
def class_accuracy(
    answers: Mapping[str, tuple[Tensor, Tensor]], *, names: Sequence[str] | None = None
) -> Figure:
    """Draw the accuracy on the samples of each class, a marker per run.

    Args:
        answers: by the name of the run, the classes that were decided, ``(batch,)``
            with -1 for no decision, and the targets, ``(batch,)``, the same for all.
        names: all names in the order of their colours, where others have no answers.

    Raises:
        ValueError: shapes that do not match, or an index out of range.
    """
    looks = _looks(names or list(answers))
    num_classes = _num_classes(answers)
    figure = new_figure(
        3.6,
        "How many of the samples of each class are right. The axis stretches towards "
        "100 %; the line spans worst to best.",
    )
    axes = figure.subplots()
    shares = {}
    for name, (predicted, target) in answers.items():
        counts = confusion_counts(predicted, target, num_classes)
        shares[name] = counts.diagonal() / counts.sum(1).clamp(min=1)
    table = torch.stack(list(shares.values()))
    head(axes, "accuracy on each class")
    stretch(axes, table.flatten().tolist())
    axes.set(xlabel="target (class)", ylabel="accuracy (%)")
    axes.set_xticks(range(0, num_classes, math.ceil(num_classes / _READABLE)))
    axes.grid(axis="x", visible=False)
    low, high = table.amin(0).tolist(), table.amax(0).tolist()
    for index in range(num_classes):
        ends = [height(low[index]), height(high[index])]
        axes.plot([index, index], ends, color=GRID, linewidth=5, zorder=1)
    for at, (name, share) in enumerate(shares.items()):
        # beside each other, since runs of one kind are often equal
        aside = 0.5 * ((at + 0.5) / len(shares) - 0.5)
        axes.plot(
            [index + aside for index in range(num_classes)],
            [height(accuracy) for accuracy in share.tolist()],
            color=looks[name]["color"], marker=looks[name]["marker"], linestyle="none",
            markersize=5.5, markeredgecolor=SURFACE, markeredgewidth=0.6,
        )  # fmt: skip
    _legend(figure, looks, list(answers))
    return figure


@house_style()
def confusion_changes(answers: Mapping[str, tuple[Tensor, Tensor]]) -> Figure:
    """Draw the mistakes of the first run, and how those of the others differ.

    Args:
        answers: as for `class_accuracy`; the first is what the others are compared to.

    Raises:
        ValueError: shapes that do not match, or an index out of range.
    """
    num_classes = _num_classes(answers)
    counts = {
        name: confusion_counts(predicted, target, num_classes)
        for name, (predicted, target) in answers.items()
    }
    first, *others = counts
    columns = min(2, len(counts))
    rows = math.ceil(len(counts) / columns)
    figure = new_figure(
        0.3 + 3.7 * rows,
        f"First: how often {first} decided (column) wrongly for a target (row); the "
        "last column is no decision, the diagonal is right. The others: how much more "
        "often (orange, +) or less often (blue, −) that happens to them. On the "
        "diagonal blue is more often right.",
    )
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    wrong = counts[first].clone()
    wrong.fill_diagonal_(0)
    changes = {name: counts[name] - counts[first] for name in others}
    most = max((int(change.abs().max()) for change in changes.values()), default=1)
    for axes, name in zip(grid, counts, strict=False):
        right = int(counts[name].diagonal().sum())
        share = percent(right / max(1, int(counts[name].sum())))
        head(axes, name, f"{share} right")
        if name == first:
            _draw_cells(axes, wrong, int(wrong.max()), signed=False)
        else:
            _draw_cells(axes, changes[name], most, signed=True)
        axes.set(xlabel="decision (class)", ylabel="target (class)")
    for axes in grid[len(counts) :]:
        axes.set_visible(False)
    return figure


def _draw_cells(axes: Axes, cells: Tensor, most: int, *, signed: bool) -> None:
    from matplotlib.colors import to_rgba

    num_classes = len(cells)
    worse = cells.clone()
    if signed:  # more on the diagonal is better, elsewhere worse
        worse.diagonal().mul_(-1)
    colours = [
        [
            to_rgba(GRID, 0.6)
            if value == 0
            else to_rgba(ORANGE if value > 0 else BLUE, _shade(value, most))
            for value in row
        ]
        for row in worse.tolist()
    ]
    readable = num_classes <= _READABLE
    edges = [index - 0.5 for index in range(num_classes + 1)]
    axes.pcolormesh(
        [*edges, num_classes + 0.5], edges, colours, edgecolors=SURFACE,
        linewidth=1.0 if readable else 0, rasterized=not readable,
    )  # fmt: skip
    if readable:
        for row, column in cells.nonzero().tolist():
            value = int(cells[row, column])
            axes.text(
                column, row, f"{value:+d}".replace("-", "−") if signed else f"{value}",
                ha="center", va="center", color=INK,
                fontsize=min(8.0, 70 / num_classes),
            )  # fmt: skip
    every = list(range(0, num_classes, math.ceil(num_classes / _READABLE)))
    axes.set_xticks([*every, num_classes], [*map(str, every), "–"])
    axes.set_yticks(every)
    axes.set(xlim=(-0.5, num_classes + 0.5), ylim=(num_classes - 0.5, -0.5))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _shade(value: int, most: int) -> float:
    return 0.12 + 0.6 * min(1.0, abs(value) / max(1, most))


def _num_classes(answers: Mapping[str, tuple[Tensor, Tensor]]) -> int:
    highest = (
        int(part.max()) for pair in answers.values() for part in pair if len(part)
    )
    return 1 + max(0, max(highest, default=0))


def _looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of each run; what one eye cannot tell another does."""
    return {
        name: {
            "color": SERIES[index % len(SERIES)],
            "marker": _MARKERS[index % len(_MARKERS)],
            "linestyle": _DASHES[index // len(SERIES) % len(_DASHES)],
        }
        for index, name in enumerate(names)
    }


def _legend(figure: Figure, looks: Mapping[str, Any], names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], label=name, markersize=5, **looks[name]) for name in names
    ]
    longest = max((len(name) for name in names), default=1)
    columns = max(1, min(len(names), 96 // (longest + 8)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
