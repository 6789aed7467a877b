"""Pictures of spike trains: who spiked when and how often, and what the outputs say.

Every function is pure: tensors in, a `matplotlib.figure.Figure` out, whose label
(``figure.get_label()``) says how to read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from snn_temporal_plugins.functional.decoding import summed_psp_class
from snn_temporal_plugins.viz.numbers import layer_names
from snn_temporal_plugins.viz.panels import neuron_axis, stacked_panels
from snn_temporal_plugins.viz.style import (
    BLUE,
    MUTED,
    ORANGE,
    head,
    house_style,
    new_figure,
    percent,
    say,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BINS = 20  # rates are multiples of 1 / steps: narrower bars would beat with them
_STEPS = "time (steps)"


@house_style()
def train_raster(
    layer_spikes: Sequence[Tensor],
    *,
    names: Sequence[str] | None = None,
    sample: int = 0,
) -> Figure:
    """Draw one dash per spike at its step, one panel per layer.

    Args:
        layer_spikes: one ``(time, batch, ...)`` tensor of 0 and 1 per layer;
            convolutional layers are flattened.
        names: one per layer.
        sample: which sample of the batch.

    Raises:
        ValueError: no layer, no such sample, names that do not match, or a tensor that
            is no spike train.
    """
    names = layer_names(layer_spikes, names)
    trains = [_one(*pair, sample) for pair in zip(names, layer_spikes, strict=True)]
    figure = new_figure(
        1.0,
        "A row is a neuron, a dash one of its spikes, for one sample; an empty row is "
        "a silent neuron. At the right: how many are silent in this sample, and the "
        "mean rate, spikes per neuron and step.",
    )
    steps = max(len(train) for train in trains)
    panels = stacked_panels(
        figure, [train.shape[1] for train in trains], (-0.5, steps - 0.5), _STEPS
    )
    for name, train, (axes, colour) in zip(names, trains, panels, strict=True):
        times, neurons = (column.tolist() for column in train.nonzero().T)
        size = train.shape[1]
        silent = size - len(set(neurons))
        rate = len(times) / max(1, train.numel())
        head(axes, name, f"{silent:,} of {size:,} silent, rate {rate:.3f}")
        _draw_dashes(axes, times, neurons, size, colour)
    panels[-1][0].locator_params(axis="x", integer=True)
    return figure


@house_style()
def psp_traces(psp: Tensor, target: Tensor, *, samples: int = 4) -> Figure:
    """Draw the output PSPs of the first few samples, with the target marked.

    Args:
        psp: ``(time, batch, class)`` of the output layer.
        target: ``(batch,)`` class indices.
        samples: how many samples to draw, those at the front of the batch.

    Raises:
        ValueError: shapes that do not match, or no sample asked for.
    """
    psp, target = psp.detach().cpu(), target.detach().cpu()
    if psp.dim() != 3 or target.shape != psp.shape[1:2] or samples < 1:
        raise ValueError(
            f"{samples} samples of PSPs of shape {tuple(psp.shape)} with targets of "
            f"shape {tuple(target.shape)}; pass (time, batch, class), (batch,) and "
            "samples >= 1"
        )
    figure = new_figure(
        2.6,
        "The postsynaptic potential of each output neuron. The class with the largest "
        "sum over time is the answer: solid blue is the target, dashed orange a wrong "
        "answer, grey are the other classes.",
    )
    count = min(samples, psp.shape[1])
    if count == 0:
        say(figure.subplots(), "no samples")
        return figure
    answer = summed_psp_class(psp)
    row = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for sample, axes in enumerate(row):
        _draw_traces(axes, psp[:, sample], int(target[sample]), int(answer[sample]))
    row[0].set_ylabel("output PSP")
    return figure


@house_style()
def rate_histogram(
    layer_rates: Sequence[Tensor], *, names: Sequence[str] | None = None
) -> Figure:
    """Draw how the firing rates of the neurons of each layer spread.

    Args:
        layer_rates: one tensor per layer of any shape: the spikes per step of each
            neuron, 0 to 1.
        names: one per layer.

    Raises:
        ValueError: no layer, names that do not match, or a rate outside of 0 to 1.
    """
    names = layer_names(layer_rates, names)
    layers = [_rates(*pair).flatten() for pair in zip(names, layer_rates, strict=True)]
    figure = new_figure(
        1.0,
        "How many of a layer's neurons fire how often, on the mean over all samples "
        "and steps shown. Neurons that never fired are counted at the right, and not "
        "drawn: they cost nothing and do nothing.",
    )
    high = max((float(rates.max()) for rates in layers if len(rates)), default=0.0)
    span = (0.0, high or 1.0)
    sizes = [len(rates) for rates in layers]
    panels = stacked_panels(figure, sizes, span, "firing rate (spikes per step)")
    for name, rates, (axes, colour) in zip(names, layers, panels, strict=True):
        axes.set_ylabel("neurons (%)")
        _draw_rates(axes, name, rates, colour, span)
    return figure


def _one(name: str, spikes: Tensor, sample: int) -> Tensor:
    """The spikes ``(time, neuron)`` of one sample, on the CPU."""
    if spikes.dim() < 3 or ((spikes != 0) & (spikes != 1)).any():
        raise ValueError(
            f"spikes of {name!r} have shape {tuple(spikes.shape)}; pass trains of 0 "
            "and 1, (time, batch, neuron) or (time, batch, channel, height, width)"
        )
    if not 0 <= sample < spikes.shape[1]:
        raise ValueError(
            f"sample {sample} of {name!r}, whose batch has {spikes.shape[1]}: choose "
            "0 <= sample < batch"
        )
    return spikes[:, sample].detach().cpu().flatten(1)


def _rates(name: str, rates: Tensor) -> Tensor:
    rates = rates.detach().cpu().double()
    if not ((rates >= 0) & (rates <= 1)).all():
        raise ValueError(
            f"firing rates of {name!r} are not all from 0 to 1; pass spikes per step, "
            "not per sample"
        )
    return rates


def _draw_dashes(
    axes: Axes,
    times: Sequence[int],
    neurons: Sequence[int],
    size: int,
    colour: str,
) -> None:
    axes.hlines(
        neurons, [time - 0.42 for time in times], [time + 0.42 for time in times],
        color=colour, alpha=0.85, linewidth=min(4.0, max(0.4, 70 / max(size, 1))),
        # Beyond this a drawing of single dashes is heavier than its picture.
        rasterized=len(neurons) > 2000,
    )  # fmt: skip
    axes.grid(axis="y", visible=False)
    neuron_axis(axes, size, len(neurons))


def _draw_traces(axes: Axes, psp: Tensor, target: int, answer: int) -> None:
    steps = range(len(psp))
    for neuron, trace in enumerate(psp.T.tolist()):
        if neuron not in (target, answer):
            axes.plot(steps, trace, color=MUTED, linewidth=1.0, alpha=0.5)
    if answer not in (target, -1):
        axes.plot(
            steps, psp[:, answer].tolist(), color=ORANGE, linestyle=(0, (4, 2)),
        )  # fmt: skip
    axes.plot(steps, psp[:, target].tolist(), color=BLUE)
    remark = "no decision" if answer < 0 else f"answer {answer}"
    head(axes, f"target {target}", remark)
    axes.set_xlabel(_STEPS)
    axes.locator_params(axis="x", integer=True, nbins=5, min_n_ticks=1)


def _draw_rates(
    axes: Axes, name: str, rates: Tensor, colour: str, span: tuple[float, float]
) -> None:
    if len(rates) == 0:
        head(axes, name)
        say(axes, "no neurons")
        return
    firing = rates[rates > 0]
    silent = percent(1 - len(firing) / len(rates))
    head(axes, name, f"mean {float(rates.mean()):.3f}, {silent} never fired")
    if len(firing) == 0:
        say(axes, "no neuron spiked")
        return
    edges = torch.linspace(*span, _BINS + 1, dtype=torch.float64)
    share = 100 * torch.histogram(firing, edges).hist / len(rates)
    axes.stairs(share.tolist(), edges.tolist(), fill=True, color=colour, alpha=0.85)
    axes.set_ylim(0, 1.08 * share.max().item())
    axes.locator_params(axis="y", nbins=4)
