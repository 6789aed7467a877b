"""The user's description of a chip: equal processing elements and what each holds."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from snn_temporal_plugins.export.bundle.json_files import read_json
from snn_temporal_plugins.export.errors import MappingCode, MappingError

__all__ = ["PEDescriptor", "load_chip", "parse_chip"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_WORDS = (0, 1 << 24)
_RANGES = {
    "num_pes": (1, 1024),
    "neurons": (1, 1 << 24),
    "weight_words": _WORDS,
    "target_words": _WORDS,
    "route_words": _WORDS,
    "weight_bits": (2, 8),
    "slope_bits": (2, 32),
    "potential_bits": (2, 32),
    "event_words": (1, 1 << 24),
}


@dataclass(frozen=True)
class PEDescriptor:
    """A chip of equal processing elements (PEs); all numbers but the first are of one.

    Attributes:
        name: of the chip: letters, digits, spaces, `.`, `_`, `-`; at most 64.
        num_pes: number of PEs, 1 to 1024.
        neurons: neurons that it holds, of all layers together.
        weight_words: words of the weight memory, one per synapse.
        target_words: words of the target memory, one per synapse that is not dense.
        route_words: words of the route memory, one per input and inner neuron.
        weight_bits: width of a weight, two's complement, 2 to 8.
        slope_bits: width of the slope, two's complement, 2 to 32.
        potential_bits: width of the potential, two's complement, 2 to 32.
        event_words: spikes of one layer and tick that the queue holds.

    Raises:
        MappingError: if a value has the wrong type or range.
    """

    name: str
    num_pes: int
    neurons: int
    weight_words: int
    target_words: int
    route_words: int
    weight_bits: int
    slope_bits: int
    potential_bits: int
    event_words: int

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise _refused(
                f"name is {str(self.name)[:80]!r}; allowed: 1 to 64 letters, digits, "
                "spaces, '.', '_', '-', the first a letter or digit"
            )
        for key, (least, most) in _RANGES.items():
            value = getattr(self, key)
            if type(value) is not int or not least <= value <= most:
                raise _refused(
                    f"{key} is {str(value)[:80]}; allowed: integers {least} to {most}"
                )


def parse_chip(value: Any) -> PEDescriptor:
    """A descriptor from the object of a JSON file; every key and no other.

    Args:
        value: what the JSON holds.

    Returns:
        The descriptor.

    Raises:
        MappingError: naming the key that is missing, unknown or out of range.
    """
    names = [field.name for field in fields(PEDescriptor)]
    if not isinstance(value, dict):
        raise _refused(f"it is no JSON object; give one with the keys {names}")
    unknown = sorted(str(key)[:80] for key in value if key not in names)
    missing = [name for name in names if name not in value]
    if unknown or missing:
        raise _refused(
            f"unknown keys {unknown[:10]}, missing keys {missing}; allowed: exactly "
            f"{names}"
        )
    return PEDescriptor(**value)


def load_chip(path: str | Path) -> PEDescriptor:
    """Read a descriptor from a JSON file.

    Args:
        path: the file; `examples/chips/small.json` is one.

    Returns:
        The descriptor.

    Raises:
        MappingError: if the file is not such a description.
        OSError: if it cannot be read.
    """
    try:
        value = read_json(path)
    except ValueError as error:
        raise _refused(str(error)) from error
    return parse_chip(value)


def _refused(what: str) -> MappingError:
    return MappingError(MappingCode.CHIP, f"the description of the chip: {what}")
