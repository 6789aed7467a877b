"""Charts of results: what the network learned, what it confuses, what it costs.

Every function is pure: numbers in, a `matplotlib.figure.Figure` out, whose label
(``figure.get_label()``) says how to read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from snn_temporal_plugins.viz.numbers import confusion_counts, epoch_means
from snn_temporal_plugins.viz.style import (
    BLUE,
    GRID,
    INK,
    MUTED,
    ORANGE,
    SURFACE,
    head,
    house_style,
    new_figure,
    percent,
    say,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More classes than these are drawn without a number in each cell.
_READABLE = 16


@house_style()
def learning_curve(rows: Iterable[Mapping[str, object]]) -> Figure:
    """Draw loss and accuracy of training and validation per epoch.

    Args:
        rows: the rows of Lightning's ``metrics.csv``, as ``csv.DictReader`` gives them.

    Raises:
        ValueError: a loss or accuracy without an epoch.
    """
    means = epoch_means(rows)
    figure = new_figure(
        3.2,
        "Loss and accuracy of each epoch. Where training still improves but "
        "validation turns, the network learns by heart; the ring marks the best "
        "validation accuracy.",
    )
    stages = (("train", BLUE, "-", "o"), ("validation", ORANGE, (0, (3, 1)), "s"))
    for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        scale = 100 if metric == "accuracy" else 1
        head(axes, metric)
        axes.set(xlabel="epoch", ylabel="accuracy (%)" if scale == 100 else "loss")
        axes.locator_params(axis="x", integer=True, min_n_ticks=1)
        for stage, colour, line, marker in stages:
            curve = means.get((metric, stage), {})
            if curve:
                axes.plot(
                    list(curve), [scale * value for value in curve.values()],
                    color=colour, linestyle=line, marker=marker,
                    markersize=4 if len(curve) <= 30 else 0, label=stage,
                )  # fmt: skip
        if axes.lines:
            axes.legend()
        else:
            axes.set_xticks([])
            say(axes, f"no {metric} logged")
    _ring_best(figure.axes[1], means.get(("accuracy", "validation"), {}))
    return figure


@house_style()
def confusion(predicted: Tensor, target: Tensor, num_classes: int) -> Figure:
    """Draw what was decided for each target, with a column for no decision.

    Args:
        predicted: ``(batch,)`` class indices; -1 = no decision (silent or tied).
        target: ``(batch,)`` class indices.
        num_classes: number of classes.

    Raises:
        ValueError: shapes that do not match, or an index out of range.
    """
    counts = confusion_counts(predicted, target, num_classes)
    total, right = int(counts.sum()), int(counts.diagonal().sum())
    low, high = _no_decision_column(num_classes)
    width = min(7.4, max(4.4, 2.4 + 0.46 * num_classes))
    figure = new_figure(
        # Square cells by the size of the page: an aspect fixed on the axes would make
        # the layout creep each time the figure is drawn.
        1.0 + (width - 0.8) * num_classes / (high + 0.5),
        "Rows are targets, columns decisions. Blue: right, shaded by its share of the "
        "row. Orange: wrong, shaded relative to the commonest mistake. The separate "
        "grey column counts samples without a decision (silent or tied), also wrong.",
        width=width,
    )
    axes = figure.subplots()
    head(
        axes,
        f"{percent(right / total)} right" if total else "no samples",
        f"{int(counts[:, -1].sum()):,} of {total:,} without a decision",
    )
    _cells(axes, counts)
    every = range(0, num_classes, math.ceil(num_classes / _READABLE))
    axes.set_xticks([*every, (low + high) / 2], [*map(str, every), "none"])
    axes.set_yticks(every)
    axes.set(xlim=(-0.5, high), ylim=(num_classes - 0.5, -0.5))
    axes.set(xlabel="decision (class)", ylabel="target (class)")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


@house_style()
def energy_breakdown(parts: Mapping[str, float]) -> Figure:
    """Draw where the estimated energy of one sample goes, largest part first.

    Args:
        parts: name of each part and its energy per sample in joules.

    Raises:
        ValueError: a negative or non-finite energy.
    """
    for name, energy in parts.items():
        if not (math.isfinite(energy) and energy >= 0):
            raise ValueError(
                f"energy of {name!r} is {energy}: give finite joules per sample, >= 0"
            )
    total = math.fsum(parts.values())
    scale, unit = _joules(total)
    figure = new_figure(
        1.3 + 0.42 * max(len(parts), 1),
        "Estimated energy for one sample and its parts: counts from the emulator times "
        "the energy of each event. It ranks the parts better than it sizes them.",
    )
    axes = figure.subplots()
    head(axes, f"{total * scale:.3g} {unit} per sample", "estimate, not a measurement")
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    for row, (_, energy) in enumerate(ordered):
        axes.barh(row, energy * scale, height=0.62, color=BLUE)
        share = f" ({100 * energy / total:.1f} %)" if total else ""
        axes.annotate(
            f"{energy * scale:.3g} {unit}{share}", (energy * scale, row),
            xytext=(5, 0), textcoords="offset points", va="center",
        )  # fmt: skip
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered], color=INK)
    axes.set_ylim(max(len(ordered), 1) - 0.4, -0.6)
    axes.set_xlim(0, 1.3 * max((e * scale for e in parts.values()), default=1.0) or 1.0)
    axes.set_xlabel(f"energy per sample ({unit})")
    axes.grid(False)
    axes.tick_params(axis="y", length=0)
    if not parts:
        say(axes, "no parts")
    return figure


def _ring_best(axes: Axes, curve: Mapping[int, float]) -> None:
    if not curve:
        return
    epoch = max(curve, key=lambda epoch: curve[epoch])
    axes.plot(
        [epoch], [100 * curve[epoch]], linestyle="none", marker="o", markersize=11,
        markerfacecolor="none", markeredgecolor=INK,
    )  # fmt: skip
    head(axes, "accuracy", f"best {percent(curve[epoch])} in epoch {epoch}")


def _cells(axes: Axes, counts: Tensor) -> None:
    num_classes = len(counts)
    shade = _shade(counts)
    colours = [
        [_colour(row, column, shade) for column in range(num_classes + 1)]
        for row in range(num_classes)
    ]
    readable = num_classes <= _READABLE
    edges = [i - 0.5 for i in range(num_classes + 1)]
    none = _no_decision_column(num_classes)
    for columns, part in (
        (edges, [row[:-1] for row in colours]),
        (none, [row[-1:] for row in colours]),
    ):
        axes.pcolormesh(
            columns, edges, part, edgecolors=SURFACE, linewidth=1.5 if readable else 0,
            rasterized=not readable,
        )  # fmt: skip
    if not readable:
        return
    size = min(9.5, 30 / len(str(int(counts.max()))))
    for row, column in counts.nonzero().tolist():
        deep = row == column and shade[row, column] > 0.8
        axes.text(
            sum(none) / 2 if column == num_classes else column,
            row,
            f"{int(counts[row, column])}",
            ha="center",
            va="center",
            fontsize=size,
            color=SURFACE if deep else INK,
        )


def _no_decision_column(num_classes: int) -> tuple[float, float]:
    # Set apart from the classes, and as wide as a label needs however many they are.
    width = max(1.0, num_classes / _READABLE)
    left = num_classes - 0.5 + 0.35 * width
    return left, left + width


def _shade(counts: Tensor) -> Tensor:
    # Rights and mistakes on scales of their own: in a good network one hides the other.
    right = counts.diagonal().double() / counts.sum(1).clamp(min=1)
    wrong = counts.double()
    wrong.fill_diagonal_(0)
    shade = 0.1 + 0.6 * wrong / wrong.max().clamp(min=1)
    shade.diagonal().copy_(0.1 + 0.85 * right)
    return shade.masked_fill(counts == 0, 0)


def _colour(row: int, column: int, shade: Tensor) -> tuple[float, ...]:
    from matplotlib.colors import to_rgba

    if shade[row, column] == 0:
        return to_rgba(GRID, 0.6)
    last = column == len(shade)
    hue = BLUE if row == column else MUTED if last else ORANGE
    return to_rgba(hue, float(shade[row, column]))


def _joules(energy: float) -> tuple[float, str]:
    for unit, size in (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6), ("nJ", 1e-9)):
        if energy >= size:
            return 1 / size, unit
    return 1e12, "pJ"
