"""Names, limits and the JSON of the ttfs-bundle; the format itself is in SPEC.md."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from snn_temporal_plugins.export.bundle.decode import Decoding
from snn_temporal_plugins.export.bundle.integer import IntegerConv, IntegerNetwork
from snn_temporal_plugins.export.bundle.json_files import unique_keys
from snn_temporal_plugins.export.errors import BundleCode, BundleError
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = [
    "DTYPES",
    "FEATURES",
    "FORMAT",
    "MANIFEST",
    "MAX_BYTES",
    "MAX_FILES",
    "MAX_MANIFEST_BYTES",
    "MAX_NAME",
    "SCHEMA_FILE",
    "SPEC_VERSION",
    "check_names",
    "check_schema",
    "digest",
    "dump_json",
    "features_of",
    "load_json",
    "pinned_files",
]

FORMAT = "ttfs-bundle"
SPEC_VERSION = "1.0.1"
FEATURES = frozenset(
    (
        "conv2d",
        "dense",
        "earliest_spike_pool2d",
        "first_spike",
        "no_output_max_v_at_end",
        "no_output_reject",
        "pixel_lut",
        "ramp",
        "step",
        "tie_lowest_index",
        "tie_max_v_at_tie",
        "tie_reject",
    )
)
MANIFEST = "manifest.json"
SCHEMA_FILE = "schema/manifest.schema.json"
MAX_MANIFEST_BYTES = 1 << 20
MAX_BYTES = 1 << 27
MAX_FILES = 8192
MAX_NAME = 200
DTYPES = {"i8": "<i1", "i32": "<i4", "u16": "<u2", "f64": "<f8"}

_MAX_DEPTH = 32
_NAME = re.compile(r"([A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+(\.[a-z0-9]+)+")


@cache
def pinned_files(*, chip: bool) -> Mapping[str, bytes]:
    """What is the same in every bundle of this version of the format.

    A stranger believes, runs or synthesises these files, so they must be the published
    ones.

    Args:
        chip: whether the bundle is for a chip and holds the reference core.

    Returns:
        Names in the bundle, and contents.
    """
    here = Path(__file__).parent
    names = ["SPEC.md", "reader.py", SCHEMA_FILE]
    if chip:
        names += sorted(f"rtl/{file.name}" for file in (here / "rtl").glob("*.sv"))
    places = {SCHEMA_FILE: Path(SCHEMA_FILE).name}
    files = {name: (here / places.get(name, name)).read_bytes() for name in names}
    return MappingProxyType(files)


def digest(content: bytes) -> dict[str, Any]:
    """What the manifest says about a file."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def dump_json(value: Any) -> bytes:
    """JSON with one spelling only, so that equal values are equal bytes."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False)
    return (text + "\n").encode("ascii")


def load_json(content: bytes, name: str) -> Any:
    """Parse JSON strictly: no NaN, no repeated key, no deep nesting.

    Raises:
        BundleError: if the text is not such JSON.
    """
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=unique_keys,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        _check_depth(value)
        return value
    except (ValueError, RecursionError) as error:
        raise BundleError(
            BundleCode.JSON,
            f"{name} is not valid JSON ({error}); copy the bundle again",
        ) from error


def features_of(
    network: IntegerNetwork, decoding: Decoding, *, pixel_lut: bool
) -> list[str]:
    """Features that a reader of this network must know, sorted."""
    names = {"first_spike", str(network.response)}
    names |= {f"tie_{decoding.tie}", f"no_output_{decoding.no_output}"}
    for layer in network.layers:
        if isinstance(layer, PoolLayer):
            names.add("earliest_spike_pool2d")
        else:
            names.add("conv2d" if isinstance(layer, IntegerConv) else "dense")
    if pixel_lut:
        names.add("pixel_lut")
    return sorted(names)


def check_schema(manifest: Any) -> None:
    """Refuse a manifest that the JSON Schema does not describe.

    Raises:
        BundleError: with the place and the rule that is broken.
        ImportError: if jsonschema is not installed.
    """
    # The first error ends the work: a stranger's million entries have a million.
    validator, best_match = _validator()
    worst = best_match(islice(validator.iter_errors(manifest), 1))
    if worst is not None:
        raise BundleError(
            BundleCode.SCHEMA,
            f"{MANIFEST}, {worst.json_path}: {worst.message[:300]}; "
            f"{SCHEMA_FILE} says what is allowed",
        )


def check_names(names: list[str]) -> None:
    """Refuse file names that are not plain relative ones.

    Raises:
        BundleError: naming the first bad one.
    """
    for name in names:
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME or name == MANIFEST:
            raise BundleError(
                BundleCode.PATH,
                f"file name {name[:MAX_NAME]!r} is not allowed; allowed: folders and a "
                "name of letters, digits, - and _, with an extension, inside the "
                f"bundle, of {MAX_NAME} characters at most",
            )


@cache
def _validator() -> tuple[Any, Any]:
    """A validator of manifests, and what finds the root of its errors."""
    try:
        from jsonschema import Draft202012Validator, validators
        from jsonschema.exceptions import best_match
    except ImportError as error:
        raise ImportError(
            'bundles need jsonschema: pip install "snn-temporal-plugins[export]"'
        ) from error
    # JSON Schema takes 3.0 for an integer; Python does not.
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
    validator = validators.extend(Draft202012Validator, type_checker=types)
    schema = json.loads(pinned_files(chip=False)[SCHEMA_FILE])
    return validator(schema), best_match


def _check_depth(value: Any) -> None:
    """Refuse nesting that could exhaust the stack of whoever walks it."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {_MAX_DEPTH}")


def _is_integer(_checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")
