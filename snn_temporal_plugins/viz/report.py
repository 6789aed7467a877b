"""One self-contained HTML page: a headline table, pictures, notes, settings."""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from torch import Tensor

from snn_temporal_plugins.viz.render import page_svg, write_whole

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

_NUMBER = re.compile(r"[+\-−±~≈<>≤≥]?\s*(\d|inf)|–$")


class Best(str):
    """A value of a table that is the best of its row, and is shown so."""


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    table: Mapping[str, object] | Sequence[Mapping[str, object]],
    figures: Mapping[str, Figure],
    notes: str = "",
    settings: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None,
) -> None:
    """Write a run's results as one HTML file that needs no other file and no network.

    Equal arguments give equal bytes. The file is written whole or not at all: a report
    that is already there outlives a failure.

    Args:
        path: of the HTML file; missing folders are made.
        title: of the page.
        table: the headline numbers, either name to value or one mapping per row, whose
            keys are the columns; a `Best` value stands out.
        figures: heading of each picture and the picture; the figure's label
            (``figure.get_label()``) becomes the caption.
        notes: plain text; an empty line starts a paragraph.
        settings: name to value, nested as deep as you like, or rows as those of the
            table, of several runs; shown last.

    Raises:
        ImportError: jinja2 or matplotlib is not installed.
        TypeError: a figure is no matplotlib figure, or a row of the table no mapping.
    """
    columns, rows = _columns_and_rows(table)
    setting_columns: list[str] = []
    if settings is None or isinstance(settings, Mapping):
        setting_rows = [[name, value] for name, value in _flat(settings or {})]
    else:
        setting_columns, setting_rows = _columns_and_rows(settings)
    page = _template().render(
        title=title,
        columns=columns,
        rows=rows,
        numeric=[
            all(_NUMBER.match(row[i]) for row in rows) for i in range(len(columns))
        ],
        figures=[_embedded(heading, figure) for heading, figure in figures.items()],
        paragraphs=[p.strip() for p in re.split(r"\n\s*\n", notes) if p.strip()],
        settings=setting_rows,
        setting_columns=setting_columns,
    )
    write_whole(path, page.encode())


def _template() -> Template:
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            "the report needs jinja2, which is not installed; "
            'pip install "snn-temporal-plugins[viz]"'
        ) from error
    source = files(__package__).joinpath("report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["best"] = lambda cell: isinstance(cell, Best)
    return environment.from_string(source)


def _columns_and_rows(
    table: Mapping[str, object] | Sequence[Mapping[str, object]],
) -> tuple[list[str], list[list[str]]]:
    if isinstance(table, Mapping):
        return ["quantity", "value"], [
            [name, _text(value)] for name, value in table.items()
        ]
    for row in table:
        if not isinstance(row, Mapping):
            raise TypeError(
                f"a row of the table is {row!r}; pass one mapping of column to value "
                "per row, or a single mapping of name to value"
            )
    columns = list(dict.fromkeys(column for row in table for column in row))
    return columns, [[_text(row.get(column)) for column in columns] for row in table]


def _embedded(heading: str, figure: Figure) -> dict[str, str]:
    if not hasattr(figure, "savefig"):
        raise TypeError(
            f"figure {heading!r} is a {type(figure).__name__}; "
            "pass a matplotlib.figure.Figure"
        )
    return {
        "heading": heading,
        "caption": str(figure.get_label()),
        "source": "data:image/svg+xml;base64,"
        + base64.b64encode(page_svg(figure)).decode(),
    }


def _flat(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", str(value)))
    return rows


def _text(value: object) -> str:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, Best) else str(value)
