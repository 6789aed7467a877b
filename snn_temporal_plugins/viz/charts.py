"""Charts of results: what the network learned, what it confuses, what it costs.

Every function is pure: numbers in, a `matplotlib.figure.Figure` out, whose label
(``figure.get_label()``) says how to read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from snn_temporal_plugins.viz.numbers import confusion_counts, epoch_means
from snn_temporal_plugins.viz.style import (
    BLUE,
    GREEN,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
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

# Points of accuracy below the best that a sweep shows; the rest is of no use.
_DEPTH = 10
_MARKERS = "osD^vPX"
_TERMS = (MUTED, BLUE, ORANGE, GREEN, PURPLE)


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
def energy_breakdown(
    parts: Mapping[str, Sequence[float]],
    layers: Sequence[str],
    interval: tuple[float, float],
) -> Figure:
    """Draw where the estimated energy of one sample goes, by layer and by term.

    Args:
        parts: name of each term and its energy per sample in joules, one per layer.
        layers: names of the layers, the input among them.
        interval: lowest and highest total that the constants allow, in joules.

    Raises:
        ValueError: a negative or non-finite energy, another number of energies than
            layers, or an interval without the total.
    """
    for name, energies in parts.items():
        if len(energies) != len(layers):
            raise ValueError(
                f"{len(energies)} energies of {name!r} for {len(layers)} layers: give "
                "one per layer"
            )
        for energy in energies:
            if not (math.isfinite(energy) and energy >= 0):
                raise ValueError(
                    f"energy of {name!r} is {energy}: give finite joules per sample, "
                    ">= 0"
                )
    total = math.fsum(energy for row in parts.values() for energy in row)
    low, high = interval
    if not 0 <= low <= total * (1 + 1e-9) or not total <= high * (1 + 1e-9) < math.inf:
        raise ValueError(
            f"the interval {low} to {high} J does not hold the total of {total} J"
        )
    scale, unit = _joules(total)
    rows = ["all", *layers]
    figure = new_figure(
        1.5 + 0.42 * len(rows),
        "Estimated energy for one sample, by layer and by term: counts from the "
        "emulator times the energy of each event. The whisker spans the constants that "
        "may be as true: the picture ranks the parts better than it sizes them. A "
        "layer's packets are those that it sends.",
    )
    axes = figure.subplots()
    head(
        axes,
        f"{total * scale:.3g} {unit} per sample ({low * scale:.3g} to "
        f"{high * scale:.3g})",
        "estimate, not a measurement",
    )
    left = [0.0] * len(rows)
    for index, (name, energies) in enumerate(parts.items()):
        if not any(energies):
            continue
        widths = [math.fsum(energies), *energies]
        axes.barh(
            range(len(rows)), [scale * width for width in widths],
            left=[scale * edge for edge in left], height=0.62, label=name,
            color=_TERMS[index % len(_TERMS)], edgecolor=SURFACE, linewidth=0.3,
        )  # fmt: skip
        left = [edge + width for edge, width in zip(left, widths, strict=True)]
    axes.errorbar(
        [total * scale], [0],
        xerr=[[max(0.0, total - low) * scale], [max(0.0, high - total) * scale]],
        color=INK, capsize=4, linewidth=1.2,
    )  # fmt: skip
    for row, energy in enumerate(left[1:], start=1):
        share = f" ({100 * energy / total:.1f} %)" if total else ""
        axes.annotate(
            f"{energy * scale:.3g} {unit}{share}", (energy * scale, row),
            xytext=(5, 0), textcoords="offset points", va="center",
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), rows, color=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, max(1.05 * high, 1.3 * max(left[1:], default=0.0)) * scale or 1.0)
    axes.set_xlabel(f"energy per sample ({unit})")
    axes.grid(False)
    axes.tick_params(axis="y", length=0)
    if total:
        figure.legend(loc="outside lower center", ncols=len(parts))
    return figure


@house_style()
def quantisation_sweep(
    accuracy: Mapping[int, Mapping[int, float]], *, real: float | None = None
) -> Figure:
    """Draw the accuracy of integer networks against their bits, a line per tick count.

    Args:
        accuracy: share of right answers by number of ticks, then by bits of a weight;
            NaN where there is no such network.
        real: share of the network as trained, drawn as a dashed line.

    Raises:
        ValueError: a share outside 0 to 1.
    """
    known = {
        ticks: {bits: share for bits, share in row.items() if not math.isnan(share)}
        for ticks, row in sorted(accuracy.items())
    }
    shares = [share for row in known.values() for share in row.values()]
    shares += [] if real is None else [real]
    for share in shares:
        if not 0 <= share <= 1:
            raise ValueError(f"accuracy {share} is no share: give 0 to 1")
    figure = new_figure(
        3.6,
        "Accuracy of the integer network for each width of a weight, one line per "
        "number of ticks. What lies far below "
        "the best is cut off. Choose the left-most point that still is where you want "
        "to be.",
    )
    axes = figure.subplots()
    axes.set(xlabel="bits of a weight", ylabel="accuracy (%)")
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    head(axes, "accuracy as integers")
    if not shares:
        say(axes, "nothing measured")
        return figure
    if real is not None:
        axes.axhline(100 * real, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
        head(axes, "accuracy as integers", f"dashed: {percent(real)} as trained")
    for index, (ticks, row) in enumerate(known.items()):
        axes.plot(
            list(row), [100 * share for share in row.values()],
            color=BLUE, alpha=0.3 + 0.7 * (index + 1) / len(known),
            marker=_MARKERS[index % len(_MARKERS)], markersize=4.5,
            label=f"{ticks} ticks",
        )  # fmt: skip
    best = 100 * max(shares)
    lowest = max(100 * min(shares), best - _DEPTH)
    margin = 0.05 * (best - lowest) or 1.0
    axes.set_ylim(lowest - margin, best + margin)
    axes.legend(loc="lower right", ncols=2)
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
