"""Energy and latency of a network on a digital core: estimate, not measurement.

    cycles  = sum over layers of updates + operations + spikes in + ticks
    latency = cycles / clock
    energy  = static power * latency
              + e_operation * operations + e_update * updates + e_packet * packets

The counts are exact, the constants are not. One operating point is published for this
neuron on an accelerator (arXiv 2003.11837): 0.751 mW and 47.71 ms per MNIST image.
That is one equation for many unknowns, and neither the network nor the number of ticks
behind it is known. So the profile of `yoso_point` assumes a dense stand-in whose
inputs and neurons all fire, fixes the energy of one operation, and puts all the rest
into static power. It meets the published point by construction, which validates
nothing; the interval spans the energies of one operation published for other digital
chips (SENECA Table 3, SNE), and two sizes of the stand-in. Networks of steps are
counted with the same constants, although the published point is one of ramps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snn_temporal_plugins.export.bundle.emulate import EventCounts

__all__ = ["CostEstimate", "CostProfile", "estimate_cost", "yoso_point"]

_POINT_POWER_W = 0.751e-3
_POINT_LATENCY_S = 47.71e-3
_OPERATION_PJ = 2.8  # SENECA, 22 nm
_OPERATION_RANGE_PJ = (0.22, 12.7)  # SNE to ODIN
_STAND_IN_HIDDEN = 800
_STAND_IN_RANGE = (400, 800)
_STAND_IN_TICKS = 256


@dataclass(frozen=True)
class CostProfile:
    """Constants of one chip; those of a user, or those of `yoso_point`.

    Attributes:
        name: what the constants stand for.
        clock_hz: cycles per second; one operation and one update take a cycle each.
        static_power_w: power that flows whether or not anything spikes.
        operation_pj: energy of one synaptic addition.
        update_pj: energy of one integration of a neuron.
        packet_pj: energy of one spike sent.
    """

    name: str
    clock_hz: float
    static_power_w: float
    operation_pj: float
    update_pj: float = 0.0
    packet_pj: float = 0.0


@dataclass(frozen=True)
class CostEstimate:
    """Mean cost of one sample: an estimate, not a measurement.

    Attributes:
        profile: name of the constants.
        energy_uj: energy in microjoules.
        energy_interval_uj: lowest and highest energy over the profile's variants.
        latency_ms: time until the last tick of the last layer, in milliseconds.
        latency_interval_ms: lowest and highest latency over the variants.
    """

    profile: str
    energy_uj: float
    energy_interval_uj: tuple[float, float]
    latency_ms: float
    latency_interval_ms: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.energy_interval_uj
        fast, slow = self.latency_interval_ms
        return (
            f"{self.energy_uj:.2f} uJ ({low:.2f} to {high:.2f}), "
            f"{self.latency_ms:.2f} ms ({fast:.2f} to {slow:.2f}), "
            f"{self.profile}: estimate, not measurement"
        )


def yoso_point() -> tuple[CostProfile, ...]:
    """Profiles calibrated to the one published operating point.

    Returns:
        The nominal profile first, then the variants that span the interval; each of
        them gives 0.751 mW and 47.71 ms for its stand-in network.
    """
    return (
        _calibrated(_STAND_IN_HIDDEN, _OPERATION_PJ),
        *(
            _calibrated(hidden, energy)
            for hidden in _STAND_IN_RANGE
            for energy in _OPERATION_RANGE_PJ
        ),
    )


def estimate_cost(
    counts: EventCounts,
    num_ticks: int,
    profiles: Sequence[CostProfile] | None = None,
) -> CostEstimate:
    """Estimate energy and latency of one sample from exact event counts.

    Args:
        counts: events of a batch, from `emulate`.
        num_ticks: ticks of the network.
        profiles: constants, nominal first; `None` takes `yoso_point`.

    Returns:
        The mean cost per sample, with the interval over the profiles.
    """
    profiles = yoso_point() if profiles is None else profiles
    mean = EventCounts(
        *(
            values.mean(axis=0, keepdims=True)
            for values in (counts.spikes, counts.operations, counts.updates)
        )
    )
    costs = [_cost(mean, num_ticks, profile) for profile in profiles]
    energies, latencies = zip(*costs, strict=True)
    return CostEstimate(
        profile=profiles[0].name,
        energy_uj=energies[0],
        energy_interval_uj=(min(energies), max(energies)),
        latency_ms=latencies[0],
        latency_interval_ms=(min(latencies), max(latencies)),
    )


def _cycles(counts: EventCounts, num_ticks: int) -> float:
    """Cycles of one sample, time-sorted input assumed."""
    layers = counts.operations.shape[1]
    return float(
        counts.updates.sum()
        + counts.operations.sum()
        + counts.spikes[:, :-1].sum()
        + layers * num_ticks
    )


def _cost(
    counts: EventCounts, num_ticks: int, profile: CostProfile
) -> tuple[float, float]:
    """Energy in microjoules and latency in milliseconds of one sample."""
    latency = _cycles(counts, num_ticks) / profile.clock_hz
    dynamic_pj = (
        profile.operation_pj * counts.operations.sum()
        + profile.update_pj * counts.updates.sum()
        + profile.packet_pj * counts.packets.sum()
    )
    energy = profile.static_power_w * latency + dynamic_pj * 1e-12
    return float(energy) * 1e6, latency * 1e3


def _calibrated(hidden: int, operation_pj: float) -> CostProfile:
    """Constants with which a dense 784-hidden-10 stand-in meets the point."""
    sizes = np.array([784, hidden, 10])
    counts = EventCounts(
        spikes=sizes[None],
        operations=(sizes[:-1] * sizes[1:])[None],
        updates=(_STAND_IN_TICKS * sizes[1:])[None],
    )
    operations_w = operation_pj * 1e-12 * counts.operations.sum() / _POINT_LATENCY_S
    return CostProfile(
        name="calibrated to one published operating point",
        clock_hz=_cycles(counts, _STAND_IN_TICKS) / _POINT_LATENCY_S,
        static_power_w=_POINT_POWER_W - float(operations_w),
        operation_pj=operation_pj,
    )
