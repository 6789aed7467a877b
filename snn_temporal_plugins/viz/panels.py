"""What the pictures of layers share: panels one below the other, numbered neurons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from snn_temporal_plugins.viz.style import SERIES, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def stacked_panels(
    figure: Figure, sizes: Sequence[int], span: tuple[float, float], label: str
) -> list[tuple[Axes, str]]:
    """Make a panel for each layer, with a common horizontal axis.

    Args:
        figure: empty; its height is set.
        sizes: number of neurons of each layer.
        span: ends of the horizontal axis.
        label: of that axis.

    Returns:
        The axes from top to bottom, and the colour of each.
    """
    # Large layers get more room, but not in proportion: 10 outputs matter as much.
    room = [1 + math.log10(1 + size) / 2 for size in sizes]
    figure.set_figheight(0.7 + 0.7 * sum(room))
    column = figure.subplots(
        len(sizes), 1, sharex=True, squeeze=False, height_ratios=room
    )[:, 0]
    margin = 0.025 * (span[1] - span[0])
    column[-1].set_xlim(span[0] - margin, span[1] + margin)
    column[-1].set_xlabel(label)
    figure.align_ylabels()
    return [(axes, SERIES[i % len(SERIES)]) for i, axes in enumerate(column)]


def neuron_axis(axes: Axes, size: int, spikes: int) -> None:
    """Number the neurons of a raster from bottom to top.

    Args:
        axes: where they are drawn.
        size: number of neurons, silent ones included.
        spikes: number of spikes; where there is none, the axes says so.
    """
    axes.set(ylabel="neuron", ylim=(-0.5 - 0.02 * size, 1.02 * max(size, 1) - 0.5))
    axes.locator_params(axis="y", integer=True, nbins=4, min_n_ticks=1)
    if spikes == 0:
        say(axes, "no neuron spiked")
