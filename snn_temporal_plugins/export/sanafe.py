"""SANA-FE: a run of that simulator beside our emulator.

SANA-FE 2.2.9 (Boyle et al., TCAD 2025) simulates spiking chips and estimates energy and
latency. It is under GPL-3, so it is never imported here: it runs as a program of its
own, in an environment of its own, on files that we write. `make sanafe` makes that
environment; `SANAFE_PYTHON` names the Python of another one.

The mapping is exact. In SANA-FE a spike of step `n` reaches its targets in step
`n + 1`. With `input_decay` 1 of its Loihi model the current then stays on, and the
potential of step `m` holds `weight * (m - n)`: a ramp, tick by tick. With 0 it holds
`weight` from step `n + 1` on: a step, one tick late. An earliest-spike pool is such a
step with weight 1 and threshold 0.5. So every layer of steps and every pool shifts the
spikes behind it by one step; `sanafe_chip.Group` declares the shift, and what is read
back has it taken out. A neuron fires at `V > threshold`, hence half below our integer;
a refractory time beyond the last step lets it fire once.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snn_temporal_plugins.export.bundle.emulate import (
    check_ticks,
    emulate,
    spike_difference,
)
from snn_temporal_plugins.export.bundle.integer import SILENT, IntegerNetwork
from snn_temporal_plugins.export.bundle.simulators import SimulatorError, run_program
from snn_temporal_plugins.export.sanafe_chip import (
    CORE_NEURONS,
    HOP_PJ,
    MESSAGE_PJ,
    SPIKE_PJ,
    SYNAPSES,
    TILE_CORES,
    VISIT_PJ,
    groups_of,
    num_steps,
)
from snn_temporal_plugins.export.sanafe_files import synapses_of, write_sanafe

__all__ = [
    "SanafeResult",
    "find_sanafe",
    "predict_sanafe",
    "run_sanafe",
    "sanafe_difference",
]

_ENVIRONMENT = Path(".venv-sanafe") / "bin" / "python"
_RUNNER = Path(__file__).parent / "sanafe_runner.py"
_COUNTS = ("fired", "synaptic_events", "messages", "hops", "updates")
_ENERGIES = ("synapse_pj", "soma_pj", "network_pj")


@dataclass(frozen=True, eq=False)
class SanafeResult:
    """What SANA-FE shows, or must show, for each sample of a batch.

    Where pools follow ramps, SANA-FE runs on for as many steps as the last layer is
    shifted. What the layers before it do in these steps is not in `layer_ticks`, but in
    all other numbers.

    Attributes:
        layer_ticks: one `(batch, *shape)` int32 array per layer, shift taken out.
        fired: `(batch,)` spikes of inputs and neurons.
        synaptic_events: `(batch,)` weights added, those of pools too.
        messages: `(batch,)` one per spike and core that it is sent to.
        hops: `(batch,)` steps of messages from tile to tile.
        updates: `(batch,)` one per neuron and step, fired before or not, and one per
            spike of an input.
        synapse_pj: `(batch,)` energy of the synaptic events.
        soma_pj: `(batch,)` energy of updates and spikes of neurons.
        network_pj: `(batch,)` energy of messages and hops.
        latency_s: `(batch,)` SANA-FE's estimate of the time on the chip; NaN in a
            prediction.
    """

    layer_ticks: tuple[NDArray[np.int32], ...]
    fired: NDArray[np.int64]
    synaptic_events: NDArray[np.int64]
    messages: NDArray[np.int64]
    hops: NDArray[np.int64]
    updates: NDArray[np.int64]
    synapse_pj: NDArray[np.float64]
    soma_pj: NDArray[np.float64]
    network_pj: NDArray[np.float64]
    latency_s: NDArray[np.float64]

    @property
    def energy_pj(self) -> NDArray[np.float64]:
        """`(batch,)` energy of all."""
        return self.synapse_pj + self.soma_pj + self.network_pj


def find_sanafe() -> Path:
    """The Python of the environment that has SANA-FE.

    Returns:
        What the environment variable `SANAFE_PYTHON` names, or
        `.venv-sanafe/bin/python` below the working directory.

    Raises:
        SimulatorError: if it is not there.
    """
    python = Path(os.environ.get("SANAFE_PYTHON") or _ENVIRONMENT)
    if not python.is_file():
        raise SimulatorError(
            f"SANA-FE is not installed: {python} is missing. `make sanafe` makes "
            ".venv-sanafe; or let SANAFE_PYTHON name the Python of an environment in "
            "which you ran `pip install sanafe==2.2.9`"
        )
    return python.absolute()


def run_sanafe(
    network: IntegerNetwork, ticks: ArrayLike, *, time_limit: float = 600.0
) -> SanafeResult:
    """Run a network in SANA-FE, a program of its own; see `find_sanafe`.

    Args:
        network: the network.
        ticks: `(batch, *input_shape)` integers, `SILENT` (65535) for none.
        time_limit: seconds that it may take.

    Returns:
        Spikes, counts, energy and latency as SANA-FE has them.

    Raises:
        SimulatorError: if SANA-FE is not installed, fails or takes too long.
        ExportError: if there is no sample, or a potential may leave SANA-FE's range.
        ValueError: if the ticks have the wrong type, shape or range.
    """
    python = find_sanafe()
    with tempfile.TemporaryDirectory(prefix="sanafe-") as name:
        folder = Path(name) / "network"
        write_sanafe(network, folder, ticks=ticks)
        # -I: SANA-FE's package has the name of this file, which lies beside the runner
        command = [str(python), "-I", str(_RUNNER), str(folder)]
        run_program(command, Path(name), time_limit)
        samples = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return _read(network, samples)


def predict_sanafe(network: IntegerNetwork, ticks: ArrayLike) -> SanafeResult:
    """What SANA-FE must show, from our emulator and the constants of its chip.

    Args:
        network: the network.
        ticks: `(batch, *input_shape)` integers, `SILENT` (65535) for none.

    Returns:
        The same numbers as `run_sanafe`, but for the latency.

    Raises:
        ValueError: if the ticks have the wrong type, shape or range.
    """
    groups, steps = groups_of(network), num_steps(network)
    long = emulate(replace(network, num_ticks=steps), check_ticks(network, ticks))
    fired = [
        (spikes.reshape(len(spikes), -1) < steps - group.shift).astype(np.int64)
        for spikes, group in zip(
            (long.input_ticks, *long.layer_ticks), groups, strict=True
        )
    ]
    total = np.array([spikes.sum(axis=1) for spikes in fired])
    visits = steps * sum(group.neurons for group in groups[1:])
    events, messages, hops = np.zeros((3, total.shape[1]), dtype=np.int64)
    synapse_pj = np.zeros(total.shape[1])
    for layer, spikes, (before, group) in zip(
        network.layers, fired[:-1], pairwise(groups), strict=True
    ):
        source, target, _ = synapses_of(layer, before, group)
        added = spikes @ np.bincount(source, minlength=before.neurons)
        events += added
        synapse_pj += SYNAPSES[type(layer)].energy_pj * added
        source, core = np.unique([source, target // CORE_NEURONS], axis=1)
        messages += spikes @ np.bincount(source, minlength=before.neurons)
        tile = (before.core + source // CORE_NEURONS) // TILE_CORES
        way = abs((group.core + core) // TILE_CORES - tile)
        ways = np.bincount(source, weights=way, minlength=before.neurons)
        hops += spikes @ ways.astype(np.int64)
    return SanafeResult(
        layer_ticks=_within(network, long.layer_ticks),
        fired=total.sum(axis=0),
        synaptic_events=events,
        messages=messages,
        hops=hops,
        updates=visits + total[0],
        synapse_pj=synapse_pj,
        soma_pj=VISIT_PJ * visits + SPIKE_PJ * total[1:].sum(axis=0),
        network_pj=MESSAGE_PJ * messages + HOP_PJ * hops,
        latency_s=np.full(total.shape[1], np.nan),
    )


def sanafe_difference(predicted: SanafeResult, found: SanafeResult) -> str | None:
    """The first thing in which SANA-FE differs from our emulator, in words.

    Args:
        predicted: from `predict_sanafe`.
        found: from `run_sanafe` on the same network and ticks.

    Returns:
        A sentence on a spike, a count, or an energy that is off by half a pJ or more;
        `None` if everything is equal.
    """
    pairs = predicted.layer_ticks, found.layer_ticks
    if (spike := spike_difference(*pairs, "SANA-FE")) is not None:
        return spike
    for name in (*_COUNTS, *_ENERGIES):
        ours, theirs = getattr(predicted, name), getattr(found, name)
        samples = np.flatnonzero(abs(ours - theirs) >= 0.5)
        if samples.size:
            sample = samples[0]
            return (
                f"sample {sample}, {name}: SANA-FE has {theirs[sample]}, the emulator "
                f"{ours[sample]}"
            )
    return None


def _read(network: IntegerNetwork, samples: Sequence[dict[str, Any]]) -> SanafeResult:
    """What the runner wrote; SANA-FE's energies are in joules."""
    groups = {group.name: group for group in groups_of(network)}
    ticks = {
        name: np.full((len(samples), group.neurons), SILENT, dtype=np.int32)
        for name, group in groups.items()
    }
    for row, sample in enumerate(samples):
        for name, neuron, step in sample["spikes"]:
            if ticks[name][row, neuron] != SILENT:
                raise SimulatorError(f"SANA-FE let {name}.{neuron} fire twice")
            ticks[name][row, neuron] = step - groups[name].shift
    del ticks["input"]

    def energy(name: str) -> NDArray[np.float64]:
        return np.array([1e12 * sample["energy_j"][name] for sample in samples])

    shaped = [one.reshape(-1, *groups[name].shape) for name, one in ticks.items()]
    return SanafeResult(
        layer_ticks=_within(network, shaped),
        **{name: np.array([sample[name] for sample in samples]) for name in _COUNTS},
        synapse_pj=energy("synapse"),
        soma_pj=energy("soma"),
        network_pj=energy("network"),
        latency_s=np.array([sample["latency_s"] for sample in samples]),
    )


def _within(
    network: IntegerNetwork, ticks: Sequence[NDArray[np.int32]]
) -> tuple[NDArray[np.int32], ...]:
    """Spikes within our ticks; what came later is silent."""
    silent = np.int32(SILENT)
    return tuple(np.where(one < network.num_ticks, one, silent) for one in ticks)
