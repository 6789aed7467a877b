"""Energy and latency of a network on a digital core: estimate, not measurement.

    cycles  = sum over layers of  U / p_upd + SOP / p_acc + S + T
    latency = cycles / clock
    energy  = static power * latency
              + e_acc * SOP + e_upd * U + e_spk * P + e_hop * H

per layer: S spikes into it, SOP synaptic additions, U updates of its neurons, T ticks;
in all: P packets (spikes sent), H hops. The counts are exact, those of the emulator;
the constants come from a profile (profiles.py) and are not. The time of the first
output spike, where a chip may stop, is another estimate: `early_exit` counts for it.

Beside it the reference core of the bundle, whose cycles are known exactly (cycles.py).
On one PE, of dense layers with n neurons each:

    core    = sum over layers of  n T + SOP + S + T     as here, fired neurons too
              + sum over layers of  (n + 1) + 2 T + S   clear, phases, begin of spikes
              + 2 T + output spikes + 1                 barriers, events that go out
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from snn_temporal_plugins.export.bundle.events import EventCounts
from snn_temporal_plugins.export.bundle.integer import IntegerNetwork
from snn_temporal_plugins.export.bundle.profiles import (
    CostConstants,
    CostProfile,
    yoso_point,
)
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = ["CostEstimate", "estimate_cost"]


@dataclass(frozen=True)
class CostEstimate:
    """Mean cost of one sample: an estimate, not a measurement.

    Attributes:
        profile: name of the constants.
        cycles: clock cycles by the equation above, of the nominal constants.
        energy_uj: energy in microjoules.
        energy_interval_uj: lowest and highest energy over the profile's variants.
        latency_ms: time of all ticks that are run, in milliseconds.
        latency_interval_ms: lowest and highest latency over the variants.
        breakdown_uj: energy by term ("static", "additions", "updates", "packets",
            "hops"), each with one value for the input and one per layer; they add up
            to `energy_uj`. A layer's packets are those that it sends.
        assumptions: what must hold, one sentence each.
    """

    profile: str
    cycles: float
    energy_uj: float
    energy_interval_uj: tuple[float, float]
    latency_ms: float
    latency_interval_ms: tuple[float, float]
    breakdown_uj: Mapping[str, tuple[float, ...]]
    assumptions: tuple[str, ...]

    def __str__(self) -> str:
        low, high = self.energy_interval_uj
        fast, slow = self.latency_interval_ms
        return (
            f"{self.energy_uj:.2f} uJ ({low:.2f} to {high:.2f}), "
            f"{self.latency_ms:.2f} ms ({fast:.2f} to {slow:.2f}), "
            f"{self.profile}: estimate, not measurement"
        )


def estimate_cost(
    network: IntegerNetwork,
    counts: EventCounts,
    profile: CostProfile | None = None,
    *,
    ticks: NDArray[np.int64] | None = None,
) -> CostEstimate:
    """Estimate energy and latency of one sample from exact event counts.

    Args:
        network: the network.
        counts: events of a batch of it, from `emulate`, or from `early_exit`.
        profile: constants; `None` takes `yoso_point`.
        ticks: `(batch,)` ticks that are run, from `early_exit`; `None`: all.

    Returns:
        The mean cost per sample, with the interval over the profile's variants.
    """
    profile = yoso_point() if profile is None else profile
    mean_ticks = network.num_ticks if ticks is None else float(np.mean(ticks))
    every = (profile.nominal, *profile.variants)
    cycles = [_cycles(network, counts, mean_ticks, one) for one in every]
    latencies = [
        1e3 * float(cycle.sum()) / one.clock_hz
        for cycle, one in zip(cycles, every, strict=True)
    ]
    parts = [_parts(network, counts, mean_ticks, one) for one in every]
    energies = [math.fsum(chain.from_iterable(part.values())) for part in parts]
    return CostEstimate(
        profile=profile.name,
        cycles=float(cycles[0].sum()),
        energy_uj=energies[0],
        energy_interval_uj=(min(energies), max(energies)),
        latency_ms=latencies[0],
        latency_interval_ms=(min(latencies), max(latencies)),
        breakdown_uj=parts[0],
        assumptions=profile.assumptions,
    )


def _updates(
    network: IntegerNetwork, counts: EventCounts, ticks: float, constants: CostConstants
) -> NDArray[np.float64]:
    """`(layers,)` mean updates."""
    if not constants.updates_fired:
        return counts.updates.mean(axis=0)
    pairs = zip(network.layers, network.shapes, strict=True)
    neurons = [0 if isinstance(a, PoolLayer) else math.prod(b) for a, b in pairs]
    return ticks * np.array(neurons, dtype=np.float64)


def _cycles(
    network: IntegerNetwork, counts: EventCounts, ticks: float, constants: CostConstants
) -> NDArray[np.float64]:
    """`(layers,)` mean cycles; those of a tick as a whole are shared by the layers."""
    updates = _updates(network, counts, ticks, constants)
    barrier = constants.cycles_per_tick / len(network.layers)
    return (
        updates / constants.updates_per_cycle
        + counts.operations.mean(axis=0) / constants.operations_per_cycle
        + counts.spikes[:, :-1].mean(axis=0) * constants.cycles_per_spike
        + ticks * (constants.cycles_per_layer_tick + barrier)
    )


def _parts(
    network: IntegerNetwork, counts: EventCounts, ticks: float, constants: CostConstants
) -> dict[str, tuple[float, ...]]:
    """Mean energy in microjoules: of each term the input's and the layers' share."""
    cycles = _cycles(network, counts, ticks, constants)
    packets = counts.spikes.mean(axis=0)
    of_layers = {
        "static": 1e12 * constants.static_power_w * cycles / constants.clock_hz,
        "additions": constants.operation_pj * counts.operations.mean(axis=0),
        "updates": constants.update_pj * _updates(network, counts, ticks, constants),
    }
    picojoules = {
        **{name: np.insert(part, 0, 0.0) for name, part in of_layers.items()},
        "packets": constants.packet_pj * packets,
        "hops": constants.hop_pj * constants.hops_per_packet * packets,
    }
    return {name: tuple((1e-6 * part).tolist()) for name, part in picojoules.items()}
