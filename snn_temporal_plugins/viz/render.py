"""Figures into bytes, and bytes into files that are whole or not there."""

from __future__ import annotations

import os
import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from snn_temporal_plugins.viz.style import DARK, house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a file would otherwise say about the hour and the machine that made it.
_METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
_PAGE_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@house_style()
def render(figure: Figure, kind: str) -> bytes:
    """Return a figure as the bytes of a file; equal figures give equal bytes.

    Args:
        figure: any matplotlib figure.
        kind: ``"svg"`` or ``"png"``.
    """
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, metadata=_METADATA[kind])
    return buffer.getvalue()


def page_svg(figure: Figure) -> bytes:
    """Return a figure as an SVG that follows the page: its type, its light or dark.

    The colours of the house become CSS variables, so that an ``<img>`` of it obeys the
    reader's ``prefers-color-scheme``. A figure in other colours keeps them.
    """
    svg = render(figure, "svg").decode().replace("'DejaVu Sans'", _PAGE_FONTS)
    names = {light: f"--c{i}" for i, light in enumerate(DARK)}
    for light, name in names.items():
        svg = re.sub(rf"(fill|stroke): {light}", rf"\1: var({name})", svg)
    day = "".join(f"{name}:{light};" for light, name in names.items())
    night = "".join(f"{names[light]}:{dark};" for light, dark in DARK.items())
    rules = (
        f"<style>:root{{{day}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{night}}}}}</style>"
    )
    return re.sub(r"<svg[^>]*>", rf"\g<0>{rules}", svg, count=1).encode()


def save_picture(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file in the house style, whole or not at all.

    Args:
        figure: any matplotlib figure.
        path: ends in ``.png`` or ``.svg``; missing folders are made.

    Raises:
        ValueError: another ending.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in _METADATA:
        raise ValueError(
            f"cannot save a picture as {os.fspath(path)!r}: "
            "end the path in .png or .svg"
        )
    write_whole(path, render(figure, kind))


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file beside its place and move it there: a failure leaves no trace."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(data)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
