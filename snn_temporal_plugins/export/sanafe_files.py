"""The files of a network for SANA-FE; see sanafe.py for the mapping."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from snn_temporal_plugins.export.bundle.emulate import check_ticks
from snn_temporal_plugins.export.bundle.integer import (
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerLayer,
    IntegerNetwork,
    weight_sums,
)
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import PoolLayer
from snn_temporal_plugins.export.sanafe_chip import (
    CORE_NEURONS,
    SYNAPSES,
    TILE_CORES,
    Group,
    chip_lines,
    groups_of,
    num_steps,
)

__all__ = ["synapses_of", "write_sanafe"]

_POTENTIAL_LIMIT = 1 << 25  # SANA-FE rounds 64 * potential to a C int
_FILES = {"arch.yaml", "net.yaml", "run.json", "result.json"}


def write_sanafe(
    network: IntegerNetwork,
    folder: str | Path,
    *,
    ticks: ArrayLike,
    overwrite: bool = False,
) -> None:
    """Write a network and its input for SANA-FE.

    `arch.yaml` and `net.yaml` are complete, with the spikes of the first sample: run
    them for the `steps` of `run.json`, which holds the ticks of all samples.

    Args:
        network: the network.
        folder: to make, whole or not at all.
        ticks: `(batch, *input_shape)` integers, `SILENT` (65535) for none.
        overwrite: replace a folder of such files.

    Raises:
        ExportError: if the folder is there, there is no sample, or a potential may
            leave SANA-FE's range.
        ValueError: if the ticks have the wrong type, shape or range.
    """
    target = Path(folder)
    samples = check_ticks(network, ticks)
    if not len(samples):
        raise ExportError(
            ExportCode.PARAMETER, "there is no sample; SANA-FE needs at least one"
        )
    _check_potentials(network)
    _check_target(target, overwrite)
    flat = samples.reshape(len(samples), -1)
    plan = {"steps": num_steps(network), "silent": SILENT, "ticks": flat.tolist()}
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        chip = "".join(chip_lines(network))
        (temporary / "arch.yaml").write_text(chip, encoding="utf-8")
        with (temporary / "net.yaml").open("w", encoding="utf-8") as file:
            file.writelines(_network(network, flat[0]))
        (temporary / "run.json").write_text(json.dumps(plan) + "\n", encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def synapses_of(
    layer: IntegerLayer, before: Group, group: Group
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All synapses of a layer; a convolution or a pool is unrolled.

    Args:
        layer: the layer.
        before: what its spikes come from.
        group: of the layer.

    Returns:
        Source, target and weight `(synapse,)`; a dense layer's source by source.
    """
    if isinstance(layer, IntegerDense):
        targets, sources = layer.weight.shape
        source, target = np.divmod(np.arange(sources * targets), targets)
        return source, target, layer.weight.T.ravel().astype(np.int64)
    size = layer.kernel_size if isinstance(layer, PoolLayer) else layer.weight.shape[2]
    sides = (layer.padding, layer.padding)
    index = np.arange(1, 1 + before.neurons).reshape(before.shape)
    padded = np.pad(index, ((0, 0), sides, sides))  # 0: silent
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))
    windows = windows[:, :: layer.stride, :: layer.stride]  # channel, row, column, k, k
    target = np.arange(group.neurons).reshape(group.shape)[..., None, None]
    weight = np.ones((), dtype=np.int64)
    if isinstance(layer, IntegerConv):
        windows, target = windows.transpose(1, 2, 0, 3, 4), target[..., None]
        weight = layer.weight[:, None, None].astype(np.int64)
    windows, target, weight = np.broadcast_arrays(windows, target, weight)
    inside = windows > 0
    return windows[inside] - 1, target[inside], weight[inside]


def _check_potentials(network: IntegerNetwork) -> None:
    """Refuse potentials that SANA-FE cannot round to a 64th."""
    times = num_steps(network) if network.response == "ramp" else 1
    for index, layer in enumerate(network.layers):
        if isinstance(layer, PoolLayer):
            continue
        rise, fall = weight_sums(layer.weight)
        reach = max(int((layer.threshold + rise).max()), times * int(fall.max()))
        if reach >= _POTENTIAL_LIMIT:
            raise ExportError(
                ExportCode.WIDTH,
                f"layer {index}: a potential may reach {reach}; SANA-FE allows less "
                f"than {_POTENTIAL_LIMIT}. Use fewer ticks or fewer weight bits",
            )


def _check_target(target: Path, overwrite: bool) -> None:
    """Refuse to touch anything but an absent path or a folder of such files."""
    if not (target.exists() or target.is_symlink()):
        return
    if not overwrite:
        raise ExportError(
            ExportCode.FILE_EXISTS,
            f"{target} exists; choose another name, or give overwrite=True",
        )
    if (
        target.is_symlink()
        or not target.is_dir()
        or {path.name for path in target.iterdir()} - _FILES
    ):
        raise ExportError(
            ExportCode.FILE_EXISTS,
            f"{target} holds other things than a network for SANA-FE, so it is not "
            "overwritten; choose another name",
        )


def _network(network: IntegerNetwork, ticks: NDArray[np.int32]) -> Iterator[str]:
    """The lines of `net.yaml`."""
    groups = groups_of(network)
    yield "network:\n  name: ttfs\n  groups:\n"
    yield "    - name: input\n      attributes: [log_spikes: true]\n      neurons:\n"
    for neuron, tick in enumerate(ticks.tolist()):
        spikes = [] if tick == SILENT else [0] * tick + [1]
        yield f"        - {neuron}: [spikes: {spikes}]\n"
    for layer, group in zip(network.layers, groups[1:], strict=True):
        ramp, thresholds = network.response == "ramp", np.ones(1, dtype=np.int64)
        if isinstance(layer, PoolLayer):
            ramp = False
        else:
            thresholds = layer.threshold
        yield _NEURONS.format(
            group=group.name,
            synapse=SYNAPSES[type(layer)].name,
            input_decay=float(ramp),
            refractory_delay=num_steps(network),
        )
        copies = group.neurons // len(thresholds)
        for neuron, threshold in enumerate(np.repeat(thresholds, copies)):
            yield f"        - {neuron}: [soma: {{threshold: {threshold - 0.5}}}]\n"
    yield "  edges:\n"
    for layer, (before, group) in zip(network.layers, pairwise(groups), strict=True):
        source, target, weight = synapses_of(layer, before, group)
        yield f"    - {before.name} -> {group.name}:\n"
        if isinstance(layer, IntegerDense):
            yield "        type: dense\n"
        else:
            pairs = np.stack([source, target], axis=1).tolist()
            yield f"        type: sparse\n        source_target_pairs: {pairs}\n"
        yield f"        weight: {weight.tolist()}\n"
    yield "mappings:\n"
    for group in groups:
        for neuron in range(group.neurons):
            place, unit = divmod(neuron, CORE_NEURONS)
            core = "{}.{}".format(*divmod(group.core + place, TILE_CORES))
            soma = f"input[{unit}]" if group is groups[0] else "neuron"
            yield f'  - {group.name}.{neuron}: [core: {core}, soma: "{soma}"]\n'


_NEURONS = """\
    - name: {group}
      attributes:
        log_spikes: true
        synapse_hw_name: {synapse}
        soma:
          leak_decay: 1.0
          input_decay: {input_decay}
          reset_mode: hard
          refractory_delay: {refractory_delay}
          force_update: true
      neurons:
"""
