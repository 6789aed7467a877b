"""One look for every picture: colours, type and axes.

The colours are those of Okabe and Ito (2008), which readers with any form of colour
blindness can tell apart; where two things share an axis, line style or marker differs
too. Figures are built with matplotlib's objects, never with pyplot: no global state,
no display, nothing to close.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"
MUTED = "#5f6b7a"
GRID = "#e3e8ee"
SURFACE = "#fdfdfe"
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
PURPLE = "#b3568f"
SERIES = (BLUE, ORANGE, GREEN, PURPLE)

# What each colour becomes for a reader who asked for a dark page (see render.py).
DARK = MappingProxyType(
    {
        INK: "#e6edf3",
        MUTED: "#9aa7b5",
        GRID: "#2c3540",
        SURFACE: "#171c23",
        BLUE: "#4aa8e0",
        ORANGE: "#f0884a",
        GREEN: "#2fc495",
        PURPLE: "#dd8fbd",
    }
)

_STYLE = {
    # One font, so that the layout is the same on every machine that has matplotlib.
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    # A layer called "a$b" is a name, not a formula.
    "text.parse_math": False,
    "text.color": INK,
    "figure.facecolor": SURFACE,
    "axes.facecolor": SURFACE,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 10.5,
    "axes.titlepad": 7.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.dpi": 160,
    "svg.fonttype": "none",
    # Ids in an SVG are hashes with this salt: equal pictures become equal files.
    "svg.hashsalt": "snn_temporal_plugins",
}

# Accuracies that an axis names, in per cent: it stretches towards 100 %, where
# networks differ.
_NAMED = (0, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99)


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house style, whatever the user's matplotlib is set to.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        import matplotlib.style
    except ImportError as error:
        raise ImportError(
            "pictures need matplotlib, which is not installed; "
            'pip install "snn-temporal-plugins[viz]"'
        ) from error
    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(height: float, caption: str, *, width: float = 7.4) -> Figure:
    """Return an empty figure that knows how it should be read.

    Args:
        height: in inches.
        caption: one or two sentences on how to read the picture; kept as the figure's
            label, where the report finds it.
        width: in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    figure.set_label(caption)
    return figure


def head(axes: Axes, title: str, remark: str = "") -> None:
    """Write a bold title at the left of an axes and a quiet remark at the right."""
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_title(remark, loc="right", color=MUTED, fontsize="medium")


def say(axes: Axes, message: str) -> None:
    """Write a message in the middle of an axes that has nothing to show."""
    axes.text(
        0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center",
        color=MUTED, fontstyle="italic",
    )  # fmt: skip
    axes.set_yticks([])


def percent(share: float) -> str:
    """Return a share as a percentage with as many digits as one can compare."""
    return f"{100 * share:.2f} %"


def height(accuracy: float) -> float:
    """Place of a share on the axis that stretches towards 1."""
    return -math.log10(max(1 - accuracy, 1e-4) + 0.002)


def stretch(axes: Axes, accuracies: Sequence[float]) -> None:
    """Name accuracies on that axis, from the lowest to the highest to be drawn."""
    known = [accuracy for accuracy in accuracies if not math.isnan(accuracy)]
    low = height(min(known, default=0.0))
    high = height(max(known, default=1.0))
    margin = 0.06 * (high - low) + 0.02
    axes.set_ylim(low - margin, high + margin)
    named = [n for n in _NAMED if low - margin <= height(n / 100) <= high + margin]
    axes.set_yticks([height(n / 100) for n in named], [f"{n:g}" for n in named])
