"""Results of golden cases as text, in the one spelling that SPEC.md describes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.by_tick import emulate_by_tick, tick_windows
from snn_temporal_plugins.export.bundle.decode import Decoding, decode
from snn_temporal_plugins.export.bundle.emulate import (
    Emulation,
    check_ticks,
    emulate,
)
from snn_temporal_plugins.export.bundle.format import dump_json
from snn_temporal_plugins.export.bundle.golden_inputs import GoldenCase, tail
from snn_temporal_plugins.export.bundle.integer import (
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    spike_effect,
)
from snn_temporal_plugins.export.errors import BundleCode, BundleError
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = [
    "encoder_text",
    "golden_files",
    "parse_input",
]


def golden_files(
    network: IntegerNetwork, decoding: Decoding, case: GoldenCase
) -> dict[str, bytes]:
    """Results of one case, in the one spelling that SPEC.md describes.

    Args:
        network: the whole network.
        decoding: rules for the answer.
        case: the input.

    Returns:
        Content of each file of the case's folder.
    """
    part = tail(network, case.start_layer)
    emulation = _agreed(part, case.ticks[None])
    decision = decode(part, emulation, decoding)
    spiking = np.flatnonzero(case.ticks.reshape(-1) != SILENT)
    files = {
        "in.csv": _table("neuron,tick", spiking, case.ticks.reshape(-1)[spiking]),
        "result.json": dump_json(
            {
                "label": int(decision.label[0]),
                "tick": int(decision.tick[0]),
                "tied": bool(decision.tied[0]),
                "spikes": emulation.counts.spikes[0].tolist(),
                "operations": emulation.counts.operations[0].tolist(),
                "updates": emulation.counts.updates[0].tolist(),
            }
        ),
    }
    source = case.ticks
    for index, (layer, batch) in enumerate(
        zip(part.layers, emulation.layer_ticks, strict=True), start=case.start_layer
    ):
        ticks = batch[0]
        neurons = np.arange(ticks.size)
        if isinstance(layer, PoolLayer):
            text = _table("neuron,tick", neurons, ticks.reshape(-1))
        else:
            slope, margin = _settle(network, layer, source, ticks)
            columns = {"neuron": neurons, "tick": ticks.reshape(-1), "slope": slope}
            if network.response == "step":
                del columns["slope"]
            columns["margin"] = margin
            text = _table(",".join(columns), *columns.values())
        files[f"layer_{index}.csv"] = text
        source = ticks
    return files


def encoder_text(lut: NDArray[np.uint16]) -> bytes:
    """The encoder's table as text, so that a changed one is noticed."""
    return _table("pixel,tick", np.arange(256), lut)


def parse_input(
    content: bytes, network: IntegerNetwork, name: str
) -> NDArray[np.int32]:
    """Read an `in.csv`.

    Args:
        content: the file.
        network: the network that it feeds.
        name: the file's name, for the error.

    Returns:
        `(*input_shape,)` ticks.

    Raises:
        BundleError: if a line is not a valid spike.
    """
    flat = np.full(int(np.prod(network.input_shape)), SILENT, dtype=np.int64)
    try:
        if len(content) > len("neuron,tick\n") + len("1048576,65535\n") * len(flat):
            raise ValueError(f"it has {len(content)} bytes for {len(flat)} neurons")
        lines = content.decode("ascii").splitlines()[1:]
        spikes = np.array([line.split(",") for line in lines], dtype=np.int64)
        spikes = spikes.reshape(-1, 2)
        if (spikes[:, 0] < 0).any():
            raise ValueError("a neuron is negative")
        flat[spikes[:, 0]] = spikes[:, 1]
        ticks = flat.reshape(network.input_shape)
        return check_ticks(network, ticks[None])[0]
    except (ValueError, IndexError, OverflowError) as error:
        raise BundleError(
            BundleCode.GOLDEN, f"{name} is damaged ({error}); copy the bundle again"
        ) from error


def _agreed(network: IntegerNetwork, ticks: NDArray[np.int32]) -> Emulation:
    """What the tick-driven emulator and the closed form both find."""
    emulation, other = emulate_by_tick(network, ticks), emulate(network, ticks)
    pairs: list[tuple[NDArray, NDArray]] = [
        *zip(emulation.layer_ticks, other.layer_ticks, strict=True),
        (emulation.counts.spikes, other.counts.spikes),
        (emulation.counts.operations, other.counts.operations),
        (emulation.counts.updates, other.counts.updates),
    ]
    if not all(np.array_equal(one, two) for one, two in pairs):
        raise BundleError(
            BundleCode.GOLDEN, "tick-driven and closed form disagree; report this bug"
        )
    return emulation


def _settle(
    network: IntegerNetwork,
    layer: IntegerDense | IntegerConv,
    source: NDArray[np.int32],
    ticks: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sum of the weights that acted, and `V - threshold`, by the sum of the responses.

    `V` is a sum over the spikes that have come by then: no tick is stepped and no event
    sorted, so this also checks both emulators.
    """
    if isinstance(layer, IntegerDense):
        windows = source.reshape(1, -1)
    else:
        kernel = layer.weight.shape[2]
        parts = tick_windows(source[None], kernel, layer.stride, layer.padding)
        windows = parts.reshape(parts.shape[1] * parts.shape[2], -1)
    rows = layer.weight.reshape(len(layer.weight), -1).astype(np.int64)
    own = ticks.reshape(len(rows), -1).astype(np.int64)
    seen = np.where(own == SILENT, network.num_ticks - 1, own)
    spiked = (windows != SILENT).astype(np.int64)
    slope = rows @ spiked.T
    effect = (spike_effect(network, windows, at[:, None]) for at in seen)
    potential = np.stack([e @ row for e, row in zip(effect, rows, strict=True)])
    margin = potential - layer.threshold[:, None]
    if ((own != SILENT) != (margin >= 0)).any():
        raise BundleError(
            BundleCode.GOLDEN, "emulator and sum of responses disagree; report this bug"
        )
    return slope.reshape(-1), margin.reshape(-1)


def _table(header: str, *columns: NDArray) -> bytes:
    rows = zip(*(column.tolist() for column in columns), strict=True)
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    return ("\n".join(lines) + "\n").encode("ascii")
