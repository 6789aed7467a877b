"""Pictures of spike times: who spiked when, who stayed silent, how soon it decides.

Every function is pure: tensors in, a `matplotlib.figure.Figure` out, whose label
(``figure.get_label()``) says how to read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from snn_temporal_plugins.viz.numbers import (
    Layer,
    flat_layers,
    latency_curve,
    time_range,
)
from snn_temporal_plugins.viz.panels import neuron_axis, stacked_panels
from snn_temporal_plugins.viz.style import (
    BLUE,
    INK,
    MUTED,
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

_TIME_LABEL = "spike time (input windows)"
_BINS = 60


@house_style()
def raster(
    layer_times: Sequence[Tensor],
    *,
    names: Sequence[str] | None = None,
    sample: int = 0,
    t_max: float | None = None,
) -> Figure:
    """Draw one dot per neuron at its spike time, one panel per layer.

    Args:
        layer_times: one ``(batch, ...)`` tensor per layer, input first, in input
            windows, ``inf`` = silent; convolutional layers are flattened.
        names: one per layer.
        sample: which sample of the batch.
        t_max: horizon in input windows; a later spike counts as silent.

    Raises:
        ValueError: no layer, no such sample, names that do not match, or NaN.
    """
    layers = flat_layers(layer_times, names, t_max)
    for layer in layers:
        if not 0 <= sample < len(layer.spike_time):
            raise ValueError(
                f"sample {sample} of {layer.name!r}, whose batch has "
                f"{len(layer.spike_time)}: choose 0 <= sample < batch"
            )
    layers = [Layer(name, times[sample : sample + 1]) for name, times in layers]
    figure = new_figure(
        1.0,
        "Each dot is one neuron at the time of its only spike, for one sample; a "
        "silent neuron has no dot and is counted at the right. The dashed line is the "
        "first spike of the last layer: a network that decides there needs nothing "
        "that comes later.",
    )
    span = time_range(layers, t_max)
    outputs = layers[-1].spike_time
    first = outputs.min().item() if outputs.numel() else math.inf
    for axes, layer, colour in _panels(figure, layers, span):
        _draw_dots(axes, layer, colour)
        if math.isfinite(first):
            axes.axvline(first, color=INK, linestyle=(0, (4, 3)), linewidth=1.0)
    if math.isfinite(first):
        remark = figure.axes[-1].get_title("right")
        head(figure.axes[-1], layers[-1].name, f"{remark}, first spike at {first:.3g}")
    return figure


@house_style()
def spike_time_histogram(
    layer_times: Sequence[Tensor],
    *,
    names: Sequence[str] | None = None,
    t_max: float | None = None,
) -> Figure:
    """Draw how the spikes of each layer spread over time, over a whole batch.

    Args:
        layer_times: one ``(batch, ...)`` tensor per layer, in input windows,
            ``inf`` = silent.
        names: one per layer.
        t_max: horizon in input windows; a later spike counts as silent.

    Raises:
        ValueError: no layer, names that do not match, or NaN.
    """
    layers = flat_layers(layer_times, names, t_max)
    figure = new_figure(
        1.0,
        "How many of a layer's neurons spike when, over all samples shown. Bars and "
        "silent share add up to 100 % in each panel; the triangle marks the median "
        "spike. A healthy layer spikes well before the horizon.",
    )
    span = time_range(layers, t_max)
    for axes, layer, colour in _panels(figure, layers, span):
        axes.set_ylabel("neurons (%)")
        _draw_bars(axes, layer, colour, span)
    return figure


@house_style()
def accuracy_against_latency(
    spike_time: Tensor, target: Tensor, potential: Tensor | None = None
) -> Figure:
    """Draw the accuracy if every decision is cut off at time t, and who has decided.

    Args:
        spike_time: ``(batch, class)`` of the output layer, in input windows,
            ``inf`` = silent.
        target: ``(batch,)`` class indices.
        potential: ``(batch, class)`` at which the outputs fired: the largest breaks a
            tie; ``None``: a tie is no decision.

    Raises:
        ValueError: shapes that do not match, or NaN.
    """
    time, accuracy, decided = latency_curve(spike_time, target, potential)
    figure = new_figure(
        3.4,
        "Stop the clock at any time: the solid line is the accuracy over all samples, "
        "undecided ones counted as wrong; the dashed line is the share of samples that "
        "have decided. Between the two lie the wrong decisions.",
    )
    axes = figure.subplots()
    axes.set(xlabel="cut-off time (input windows)", ylabel="samples (%)")
    axes.set_ylim(0, 104)
    if len(time) == 0:
        head(axes, "no decision", f"{len(target):,} samples")
        say(axes, "no sample was decided")
        return figure
    final, last = accuracy[-1].item(), decided[-1].item()
    head(axes, f"{percent(final)} right in the end", f"{percent(last)} decided")
    margin = max(0.05 * (time[-1] - time[0]).item(), 0.02)
    start, end = time[0].item() - margin, time[-1].item() + margin
    for share, colour, line, label in (
        (decided, MUTED, (0, (4, 2)), "decided"),
        (accuracy, BLUE, "-", "decided rightly (accuracy)"),
    ):
        axes.step(
            [start, *time.tolist(), end],
            [0.0, *(100 * share).tolist(), 100 * share[-1].item()],
            where="post", color=colour, linestyle=line, label=label,
        )  # fmt: skip
    if final > 0:
        soon = int((accuracy >= 0.99 * final).nonzero()[0])
        axes.plot(
            [time[soon].item()], [100 * accuracy[soon].item()], color=BLUE,
            linestyle="none", marker="o", markersize=7, markeredgecolor=SURFACE,
            label=f"99 % of the final accuracy at {time[soon].item():.3g}",
        )  # fmt: skip
    axes.set_xlim(start, end)
    axes.legend(loc="lower right" if final > 0.4 else "upper left")
    return figure


def _panels(
    figure: Figure, layers: Sequence[Layer], span: tuple[float, float]
) -> Iterator[tuple[Axes, Layer, str]]:
    sizes = [layer.spike_time.shape[1] for layer in layers]
    panels = stacked_panels(figure, sizes, span, _TIME_LABEL)
    for layer, (axes, colour) in zip(layers, panels, strict=True):
        yield axes, layer, colour


def _draw_dots(axes: Axes, layer: Layer, colour: str) -> None:
    times = layer.spike_time[0]
    spikes = times.isfinite()
    neurons = spikes.nonzero().flatten()
    size = len(times)
    head(axes, layer.name, f"{size - len(neurons):,} of {size:,} silent")
    axes.plot(
        times[spikes].tolist(), neurons.tolist(), linestyle="none", marker="o",
        markersize=min(5.0, max(1.8, 60 / max(size, 1) ** 0.5)),
        markeredgewidth=0, color=colour, alpha=0.8,
        # Beyond this a drawing of single dots is heavier than its picture.
        rasterized=len(neurons) > 2000,
    )  # fmt: skip
    neuron_axis(axes, size, len(neurons))


def _draw_bars(
    axes: Axes, layer: Layer, colour: str, span: tuple[float, float]
) -> None:
    times = layer.spike_time.flatten()
    spikes = times[times.isfinite()]
    if len(times) == 0:
        head(axes, layer.name)
        say(axes, "no samples")
        return
    head(axes, layer.name, f"{100 * (1 - len(spikes) / len(times)):.1f} % silent")
    if len(spikes) == 0:
        say(axes, "no neuron spiked")
        return
    edges = torch.linspace(*span, _BINS + 1, dtype=torch.float64)
    share = 100 * torch.histogram(spikes, edges).hist / len(times)
    axes.stairs(share.tolist(), edges.tolist(), fill=True, color=colour, alpha=0.85)
    axes.set_ylim(0, 1.08 * share.max().item())
    axes.locator_params(axis="y", nbins=4)
    axes.plot(
        [spikes.median().item()], [0], marker="^", markersize=8, color=INK,
        markeredgecolor=SURFACE, clip_on=False, zorder=5,
    )  # fmt: skip
