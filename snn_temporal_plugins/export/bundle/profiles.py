"""Constants of the cost model: three profiles, none of them measured by us.

A profile is one nominal set of constants and variants of it, which span the interval
of every estimate, with its assumptions in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from snn_temporal_plugins.export.bundle.json_files import read_json
from snn_temporal_plugins.export.errors import ExportCode, ExportError

__all__ = [
    "PROFILES",
    "PUBLISHED_LATENCY_MS",
    "PUBLISHED_POWER_MW",
    "CostConstants",
    "CostProfile",
    "find_profile",
    "load_profile",
    "sanafe_loihi",
    "yoso_point",
]

PUBLISHED_POWER_MW, PUBLISHED_LATENCY_MS = 0.751, 47.71
"""Of ReL-PSP networks on an accelerator, per MNIST image (arXiv 2003.11837)."""

_OPERATION_PJ = 2.8  # SENECA
_OPERATION_RANGE_PJ = (0.22, 12.7)  # SNE to ODIN
_STAND_IN = (784, 800)  # inputs that spike, hidden neurons
_STAND_INS = ((157, 400), (157, 800), (784, 400), _STAND_IN)  # a fifth of the inputs
_STAND_IN_TICKS = 256


@dataclass(frozen=True)
class CostConstants:
    """What events cost on one chip.

    Attributes:
        clock_hz: cycles per second.
        static_power_w: power that flows whether or not anything spikes.
        operation_pj: energy of one synaptic addition.
        update_pj: energy of one update of a neuron.
        packet_pj: energy of one spike sent.
        hop_pj: energy of one hop of a packet.
        hops_per_packet: mean number of hops.
        updates_per_cycle: updates that are done in one cycle.
        operations_per_cycle: additions that are done in one cycle.
        cycles_per_spike: cycles that each spike into a layer costs.
        cycles_per_layer_tick: cycles that each tick of each layer costs.
        cycles_per_tick: cycles that each tick costs, all layers together.
        updates_fired: neurons that have fired are updated on, and in every tick.

    Raises:
        ExportError: if a number is not finite or negative, or a divisor 0.
    """

    clock_hz: float
    static_power_w: float
    operation_pj: float
    update_pj: float = 0.0
    packet_pj: float = 0.0
    hop_pj: float = 0.0
    hops_per_packet: float = 0.0
    updates_per_cycle: float = 1.0
    operations_per_cycle: float = 1.0
    cycles_per_spike: float = 1.0
    cycles_per_layer_tick: float = 1.0
    cycles_per_tick: float = 0.0
    updates_fired: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "updates_fired":
                allowed, good = "true or false", isinstance(value, bool)
            else:
                number = isinstance(value, int | float) and not isinstance(value, bool)
                positive = field.name in _DIVISORS
                allowed = f"finite numbers {'above' if positive else 'from'} 0"
                good = number and math.isfinite(value) and value >= 0
                good = good and not (positive and value == 0)
            if not good:
                raise _refused(f"{field.name} is {str(value)[:80]}; allowed: {allowed}")


_DIVISORS = ("clock_hz", "updates_per_cycle", "operations_per_cycle")


@dataclass(frozen=True)
class CostProfile:
    """Constants with their interval and their assumptions.

    Attributes:
        name: what the constants stand for.
        nominal: the constants of the estimate.
        variants: other constants that may be as true; they span the interval.
        assumptions: what must hold for the estimate, one sentence each.
    """

    name: str
    nominal: CostConstants
    variants: tuple[CostConstants, ...]
    assumptions: tuple[str, ...]


_MODEL = (
    "Counts of spikes, additions, updates and packets are exact, of the integer "
    "emulator; the constants are not.",
    "Input spikes come sorted by time; nothing is spent on looking for them.",
    "Earliest-spike pools cost nothing but their packets.",
)


def yoso_point() -> CostProfile:
    """Constants calibrated to the one published operating point, by construction.

    One equation for many unknowns, and neither the network nor the ticks behind it are
    known. A dense network of 256 ticks in which everything fires stands in; one
    addition has the energy published for another chip, and all the rest is static
    power. The interval takes smaller stand-ins and other energies.

    Returns:
        The profile; each of its sets gives 0.751 mW and 47.71 ms for its stand-in.
    """
    return CostProfile(
        name="calibrated to one published operating point",
        nominal=_calibrated(*_STAND_IN, _OPERATION_PJ),
        variants=tuple(
            _calibrated(inputs, hidden, energy)
            for inputs, hidden in _STAND_INS
            for energy in _OPERATION_RANGE_PJ
        ),
        assumptions=(
            *_MODEL,
            f"The only published point, {PUBLISHED_POWER_MW} mW and "
            f"{PUBLISHED_LATENCY_MS} ms per MNIST image (arXiv 2003.11837), is met by "
            "construction, which validates nothing: the network and the chip behind it "
            "are unknown.",
            f"Our stand-in for that network is 784-800-10 with {_STAND_IN_TICKS} "
            "ticks, in which everything fires; the interval also takes 784-400-10, and "
            "a fifth of the inputs, as many as pixels of MNIST are not black.",
            f"An addition takes {_OPERATION_PJ} pJ (SENECA), in the interval "
            f"{_OPERATION_RANGE_PJ[0]} (SNE) to {_OPERATION_RANGE_PJ[1]} pJ (ODIN); "
            "all the rest is static power.",
            "An addition, an update, a spike into a layer and a tick of a layer take "
            "one cycle each.",
            "Networks of steps are counted with the constants of ramps.",
        ),
    )


def sanafe_loihi() -> CostProfile:
    """Constants of Loihi as they come with SANA-FE 2.2.9 (Davies et al. 2018).

    A cycle stands for a nanosecond. SANA-FE itself, run beside us, counts finer: its
    messages and hops follow from the mapping, its inputs spike for free.

    Returns:
        The profile; its interval spans the kinds of synapses, of hops and of barriers.
    """
    nominal = CostConstants(
        clock_hz=1e9,
        static_power_w=0.0,
        operation_pj=35.5,
        update_pj=51.2 + 21.6,
        packet_pj=69.3 + 111.0,
        hop_pj=3.0,
        updates_per_cycle=1 / (6.0 + 3.7),
        operations_per_cycle=1 / 3.8,
        cycles_per_spike=16.0 + 30.0 + 5.1,
        cycles_per_layer_tick=0.0,
        cycles_per_tick=600.0,
        updates_fired=True,
    )
    return CostProfile(
        name="Loihi's constants as shipped with SANA-FE",
        nominal=nominal,
        variants=(
            replace(nominal, operation_pj=24.0, operations_per_cycle=1 / 3.1),
            replace(
                nominal,
                operations_per_cycle=1 / 4.7,
                hop_pj=4.2,
                hops_per_packet=1.0,
                cycles_per_tick=1800.0,
            ),
        ),
        assumptions=(
            *_MODEL,
            "Energies and times per event are those of Loihi that come with SANA-FE "
            "2.2.9; the interval takes its kinds of synapses (24.0 to 35.5 pJ), no hop "
            "or one, and a barrier of 0.6 to 1.8 µs after each tick.",
            "Neurons are updated in every tick, after they have fired too.",
            "One core does everything, one event after the other; Loihi's cores work "
            "at the same time.",
            "Static power is left out.",
        ),
    )


PROFILES: Mapping[str, Callable[[], CostProfile]] = MappingProxyType(
    {"yoso_point": yoso_point, "sanafe_loihi": sanafe_loihi}
)
"""The profiles that have a name."""


def find_profile(name: str) -> CostProfile:
    """A profile by its name, or from a file.

    Args:
        name: one of `PROFILES`, or the path of a JSON file for `load_profile`.

    Raises:
        ExportError: if it is neither.
    """
    if name in PROFILES:
        return PROFILES[name]()
    if not Path(name).is_file():
        raise _refused(
            f"{name!r} is no profile and no file; allowed: {', '.join(PROFILES)}, or a "
            "JSON file"
        )
    return load_profile(name)


def load_profile(path: str | Path) -> CostProfile:
    """Read a user's profile from a JSON file.

    An object with exactly the keys `name`, `nominal`, `variants` and `assumptions`, as
    in `CostProfile`; `nominal` holds constants (those with a default may be left out),
    each of the variants only what differs from it:

        {"name": "my chip",
         "nominal": {"clock_hz": 2e7, "static_power_w": 1e-4, "operation_pj": 1.5},
         "variants": [{"operation_pj": 0.9}, {"operation_pj": 3.0}],
         "assumptions": ["operation_pj: post-layout simulation, 3 corners"]}

    Args:
        path: the file.

    Raises:
        ExportError: naming what is missing, unknown or out of range.
        OSError: if the file cannot be read.
    """
    try:
        value = read_json(path)
    except ValueError as error:
        raise _refused(str(error)) from error
    keys = {field.name for field in fields(CostProfile)}
    _check_keys("the profile", value, allowed=keys, needed=keys)
    for key, of in (("variants", dict), ("assumptions", str)):
        many = value[key]
        if (
            not isinstance(many, list)
            or not many
            or {type(one) for one in many} != {of}
        ):
            what = "objects" if of is dict else "sentences"
            raise _refused(f"{key} is {str(many)[:80]}; allowed: a list of {what}")
    if not isinstance(value["name"], str) or not value["name"].strip():
        raise _refused(f"name is {str(value['name'])[:80]!r}; allowed: a text")
    constants = {field.name for field in fields(CostConstants)}
    needed = {"clock_hz", "static_power_w", "operation_pj"}
    _check_keys("nominal", value["nominal"], allowed=constants, needed=needed)
    for variant in value["variants"]:
        _check_keys("a variant", variant, allowed=constants, needed=set())
    nominal = CostConstants(**value["nominal"])
    return CostProfile(
        name=value["name"],
        nominal=nominal,
        variants=tuple(replace(nominal, **one) for one in value["variants"]),
        assumptions=(*_MODEL, *value["assumptions"]),
    )


def _calibrated(inputs: int, hidden: int, operation_pj: float) -> CostConstants:
    """Constants with which a dense 784-hidden-10 stand-in meets the point.

    `inputs` of its 784 spike, and every neuron, none before the last tick.
    """
    operations = inputs * hidden + hidden * 10
    updates = _STAND_IN_TICKS * (hidden + 10)
    cycles = updates + operations + inputs + hidden + 2 * _STAND_IN_TICKS
    latency = 1e-3 * PUBLISHED_LATENCY_MS
    return CostConstants(
        clock_hz=cycles / latency,
        static_power_w=1e-3 * PUBLISHED_POWER_MW
        - 1e-12 * operation_pj * operations / latency,
        operation_pj=operation_pj,
    )


def _check_keys(what: str, value: Any, *, allowed: set[str], needed: set[str]) -> None:
    if not isinstance(value, dict):
        raise _refused(f"{what} is no JSON object")
    unknown, missing = sorted(set(value) - allowed), sorted(needed - set(value))
    if unknown or missing:
        raise _refused(
            f"{what} has unknown keys {[key[:80] for key in unknown[:10]]}, missing "
            f"keys {missing}; allowed: {sorted(allowed)}"
        )


def _refused(what: str) -> ExportError:
    return ExportError(ExportCode.PARAMETER, f"cost profile: {what}")
