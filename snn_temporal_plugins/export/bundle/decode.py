"""From output ticks to an answer, with stated rules for ties and silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.emulate import Emulation
from snn_temporal_plugins.export.bundle.integer import (
    SILENT,
    IntegerDense,
    IntegerNetwork,
    spike_effect,
)
from snn_temporal_plugins.export.errors import ExportCode, ExportError

__all__ = ["Decision", "Decoding", "decode"]

_TIES = ("max_v_at_tie", "lowest_index", "reject")
_NO_OUTPUTS = ("reject", "max_v_at_end")


@dataclass(frozen=True)
class Decoding:
    """The rules that turn first spikes into one answer.

    Attributes:
        tie: what wins among outputs that fire first in the same tick: the highest
            `V - threshold` in that tick, the lowest index (which also decides
            between equal potentials), or nothing.
        no_output: what wins when no output fires: nothing, or the highest
            `V - threshold` in the last tick.
    """

    tie: Literal["max_v_at_tie", "lowest_index", "reject"] = "max_v_at_tie"
    no_output: Literal["reject", "max_v_at_end"] = "reject"

    def __post_init__(self) -> None:
        for what, value, allowed in (
            ("tie", self.tie, _TIES),
            ("no_output", self.no_output, _NO_OUTPUTS),
        ):
            if value not in allowed:
                raise ExportError(
                    ExportCode.PARAMETER,
                    f"decoding rule {what}={value!r}; allowed: {', '.join(allowed)}",
                )


@dataclass(frozen=True, eq=False)
class Decision:
    """One answer per sample.

    Attributes:
        label: `(batch,)` index of the winning output, -1 where rejected.
        tick: `(batch,)` tick of the first output spike, `SILENT` where none.
        tied: `(batch,)` whether several outputs fired in that tick.
        unbroken: `(batch,)` whether the highest `V - threshold` is shared too, so that
            only an index could decide; for who counts that as no answer.
    """

    label: NDArray[np.int64]
    tick: NDArray[np.int32]
    tied: NDArray[np.bool_]
    unbroken: NDArray[np.bool_]


def decode(
    network: IntegerNetwork, emulation: Emulation, decoding: Decoding | None = None
) -> Decision:
    """Find the output that fires first.

    Args:
        network: a network whose last layer is dense.
        emulation: what `emulate` returned for it.
        decoding: the rules; `None` takes the defaults of `Decoding`.

    Returns:
        The decision per sample.

    Raises:
        ExportError: if the last layer is not dense.
    """
    rules = Decoding() if decoding is None else decoding
    layer = network.layers[-1]
    if not isinstance(layer, IntegerDense):
        raise ExportError(
            ExportCode.OUTPUT,
            f"the last layer is {type(layer).__name__}; allowed for decoding: dense",
        )
    ticks = emulation.output_ticks
    first = ticks.min(axis=1)
    fired = first != SILENT
    leading = (ticks == first[:, None]) | ~fired[:, None]
    tied = fired & (leading.sum(axis=1) > 1)
    source = (emulation.input_ticks, *emulation.layer_ticks)[-2]
    last = np.where(fired, first, network.num_ticks - 1)
    margin = np.where(leading, _margin(network, layer, source, last), -np.inf)
    highest = margin.argmax(axis=1)
    unbroken = tied & ((margin == margin.max(axis=1)[:, None]).sum(axis=1) > 1)
    lowest = leading.argmax(axis=1)
    label = np.where(tied & (rules.tie == "max_v_at_tie"), highest, lowest)
    label[tied & (rules.tie == "reject")] = -1
    silent_label = highest if rules.no_output == "max_v_at_end" else -1
    label = np.where(fired, label, silent_label)
    return Decision(label, first, tied, unbroken)


def _margin(
    network: IntegerNetwork,
    layer: IntegerDense,
    source: NDArray[np.int32],
    tick: NDArray[np.int32],
) -> NDArray[np.float64]:
    """`V - threshold` (batch, out) at one tick per sample; exact integers."""
    flat = source.reshape(len(source), layer.weight.shape[1])
    effect = spike_effect(network, flat, tick[:, None]).astype(np.float64)
    return effect @ layer.weight.T.astype(np.float64) - layer.threshold
