"""The ticks on which an integer network lives."""

from __future__ import annotations

import math
from typing import NamedTuple

from snn_temporal_plugins.export.bundle.integer import MAX_TICKS
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import FlatNetwork, Response

__all__ = ["Grid", "choose_grid"]

_DEFAULT_TICKS = 256


class Grid(NamedTuple):
    """What an integer network knows of its time.

    Attributes:
        num_ticks: number of ticks.
        tick: length of a tick in the network's unit of time.
        response: of the neurons.
    """

    num_ticks: int
    tick: float
    response: Response


def choose_grid(
    flat: FlatNetwork, num_ticks: int | None, horizon: float | None
) -> Grid:
    """Choose the ticks of a network.

    Args:
        flat: the network.
        num_ticks: what the caller wants, `None` for the layers' own number, else 256.
        horizon: what the caller wants, see `quantise`.

    Returns:
        Number and length of the ticks.

    Raises:
        ExportError: if that does not fit the layers.
    """
    if num_ticks is None:
        num_ticks = _DEFAULT_TICKS if flat.num_ticks is None else flat.num_ticks
    if not 2 <= num_ticks <= MAX_TICKS:
        raise ExportError(
            ExportCode.PARAMETER,
            f"num_ticks is {num_ticks}; allowed: 2 to {MAX_TICKS}",
        )
    if flat.response == "ramp":
        return Grid(num_ticks, _tick(flat, num_ticks, horizon), "ramp")
    if horizon is not None or flat.num_ticks not in (None, num_ticks):
        raise ExportError(
            ExportCode.HORIZON,
            f"integrate-and-fire layers live on ticks, here on {flat.num_ticks}, and "
            f"got num_ticks={num_ticks}, horizon={horizon}; leave both away",
        )
    return Grid(num_ticks, 1.0 if flat.dt is None else flat.dt, "step")


def _tick(flat: FlatNetwork, num_ticks: int, horizon: float | None) -> float:
    """Length of a tick in the network's unit of time."""
    if flat.dt is not None:
        if horizon is not None or flat.t_max < (num_ticks - 1) * flat.dt:
            raise ExportError(
                ExportCode.HORIZON,
                f"the layers live on ticks of {flat.dt} up to {flat.t_max}, and got "
                f"horizon={horizon}, num_ticks={num_ticks}; leave horizon away and "
                "choose num_ticks so that the last tick is not after t_max",
            )
        return flat.dt
    end = flat.t_max if horizon is None else horizon
    if not 0 < end <= flat.t_max or math.isinf(end):
        raise ExportError(
            ExportCode.HORIZON,
            f"the horizon is {end} and the layers' t_max {flat.t_max}; allowed: a "
            "finite horizon, not after t_max. Give horizon=, or build the network with "
            "a finite t_max",
        )
    return end / num_ticks
