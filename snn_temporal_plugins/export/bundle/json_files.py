"""JSON of strangers: no key twice, and small files of settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["read_json", "unique_keys"]

_MAX_BYTES = 1 << 16


def read_json(path: str | Path) -> Any:
    """Read a JSON file of settings, of at most 64 KiB.

    Args:
        path: the file.

    Returns:
        What it holds.

    Raises:
        ValueError: if the file is too large, is no JSON, or repeats a key.
        OSError: if it cannot be read.
    """
    with Path(path).open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"{path} has more than {_MAX_BYTES} bytes")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, as `json.loads` hands its pairs to a hook.

    Args:
        pairs: its keys and values.

    Returns:
        The object.

    Raises:
        ValueError: if a key is repeated.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError(f"a key is repeated among {[key for key, _ in pairs][:10]}")
    return value
