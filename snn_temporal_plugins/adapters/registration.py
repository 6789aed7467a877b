"""Put names and functions into a host library and take them out again exactly.

Patching a library is process-wide, so it is explicit and reversible: nothing happens
at import, a second `register()` changes nothing, and `unregister()` restores the very
objects that stood there before.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

_ABSENT = object()


class Change(NamedTuple):
    """One attribute of a host module: a new name, or a function in place of the host's.

    Attributes:
        module: the host's module.
        name: the attribute.
        value: what the attribute is while registered.
        replaces: True for a function of the host, False for a name it must not have.
    """

    module: ModuleType
    name: str
    value: Any
    replaces: bool = False


class Registration(AbstractContextManager["Registration"]):
    """The changes made to one host, and what stood there before them."""

    def __init__(self) -> None:
        self._before: list[tuple[Change, Any]] = []

    def register(self, changes: list[Change]) -> AbstractContextManager[Any]:
        """Apply all changes, or none if one is impossible; do nothing when applied.

        Args:
            changes: what to put into the host.

        Returns:
            A context manager that undoes exactly what this call has done.

        Raises:
            ValueError: the host already has a new name, or lacks a replaced one.
        """
        if self._before:
            return nullcontext(self)
        before = [(change, _value_before(change)) for change in changes]
        for change in changes:
            setattr(change.module, change.name, change.value)
        self._before = before
        return self

    def unregister(self) -> None:
        """Undo all changes; an attribute that somebody has set since stays theirs."""
        for change, value in reversed(self._before):
            if getattr(change.module, change.name, _ABSENT) is not change.value:
                continue
            if value is _ABSENT:
                delattr(change.module, change.name)
            else:
                setattr(change.module, change.name, value)
        self._before = []

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Undo all changes at the end of a `with` block."""
        self.unregister()


def _value_before(change: Change) -> Any:
    value = getattr(change.module, change.name, _ABSENT)
    host = change.module.__name__
    if not change.replaces and value is not _ABSENT:
        raise ValueError(
            f"{host}.{change.name} already exists ({value!r}), so it is not replaced "
            "and nothing was registered; import the class from "
            "snn_temporal_plugins.adapters instead"
        )
    if change.replaces and value is _ABSENT:
        raise ValueError(
            f"{host} has no {change.name!r} to extend, so nothing was registered; "
            "this version of the host is not supported, import the classes from "
            "snn_temporal_plugins.adapters instead"
        )
    return value
