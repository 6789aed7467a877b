"""Several runs on one page: what differs, what came out, and what does not compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from snn_temporal_plugins import viz
from snn_temporal_plugins.commands.measured import Measured
from snn_temporal_plugins.viz import Best

_INTEGER = "accuracy, integer emulator "
_ACCURACIES = ("accuracy, float", "accuracy, integers")
# Rows of results.json that one wants beside each other, and what they are called here.
_ROWS = {
    "test samples": "test samples",
    "accuracy, float": "accuracy, float",
    "accuracy, integers": "accuracy, integers",
    "bits and ticks": "bits and ticks of the integers",
    "no decision, float": "no decision",
    "tied, float": "tied",
    "tied, the first class taken": "tied, the first class taken",
    "first output spike, input windows": "first output spike, input windows",
    "steps": "steps of an inference",
    "spikes per sample": "spikes per inference",
    "additions per sample": "additions per inference",
    "additions up to the decision": "additions up to the decision",
    "synaptic operations per sample": "additions per inference",
    "multiplications with the image per sample": "multiplications with the image",
    "parameters": "parameters",
}
_TRAINED = ("seed_everything", "model", "data", "trainer")
# Settings that say where things lie or what is shown, not what is trained.
_PASSED_OVER = {
    "data.root",
    "data.download",
    "trainer.default_root_dir",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.logger",
}


class Compared(NamedTuple):
    """One run of several.

    Attributes:
        config: its settings.
        metrics: what was logged in training, rows of `metrics.csv`.
        seconds: of training; None: not known.
        measured: what its report found out.
    """

    config: Mapping[str, Any]
    metrics: list[dict[str, str]]
    seconds: float | None
    measured: Measured


def write_comparison(path: Path, runs: Mapping[str, Compared]) -> None:
    """Write the page.

    Args:
        path: of the HTML file; the pictures land beside it.
        runs: by their names; the first is what the others are compared with.
    """
    groups = _same_samples(runs)
    figures = _figures(runs, groups)
    for heading, figure in figures.items():
        file = f"{heading.lower().replace(' ', '_')}.png"
        viz.save_picture(figure, path.parent / file)
    viz.write_report(
        path,
        title=f"{len(runs)} runs side by side",
        table=_results(runs, groups),
        figures=figures,
        notes="\n\n".join(_notes(runs, groups)),
        settings=_settings(runs),
    )


def run_names(folders: Sequence[Path]) -> list[str]:
    """Return what tells folders apart: paths without the ends that all have in common.

    Args:
        folders: of the runs.

    Raises:
        ValueError: one is given twice.
    """
    parts = [folder.parts for folder in folders]
    for at, one in enumerate(parts):
        if one in parts[:at]:
            raise ValueError(f"{folders[at]} is given twice; give each run once")
    while len({one[0] for one in parts}) == 1 and all(len(one) > 1 for one in parts):
        parts = [one[1:] for one in parts]
    while len({one[-1] for one in parts}) == 1 and all(len(one) > 1 for one in parts):
        parts = [one[:-1] for one in parts]
    return ["/".join(one) for one in parts]


def _same_samples(runs: Mapping[str, Compared]) -> list[list[str]]:
    """Names of runs that were tested on the same samples, in groups."""
    groups: dict[object, list[str]] = {}
    for name, run in runs.items():
        label = tuple(run.measured.label.tolist())
        groups.setdefault((_short(run.config["data"]["class_path"]), label), []).append(
            name
        )
    return list(groups.values())


def _results(
    runs: Mapping[str, Compared], groups: Sequence[Sequence[str]]
) -> list[dict[str, object]]:
    tables = {name: _row_values(run) for name, run in runs.items()}
    wanted = dict.fromkeys(_ROWS.values())
    rows = [
        {"": row, **{name: table.get(row) for name, table in tables.items()}}
        for row in wanted
        if any(row in table for table in tables.values())
    ]
    if len(groups) == 1:  # else the best is best on the easier data
        rows = [_with_best(row) if row[""] in _ACCURACIES else row for row in rows]
    if any(run.seconds is not None for run in runs.values()):
        times = {name: _duration(run.seconds) for name, run in runs.items()}
        rows.append({"": "training", **times})
    return rows + list(_against_the_first(runs, groups))


def _row_values(run: Compared) -> dict[str, object]:
    """The rows of one run under the names of this page."""
    rows = dict(run.measured.rows)
    for name in list(rows):
        if name.startswith(_INTEGER):
            rows["accuracy, integers"] = rows[name]
            rows["bits and ticks"] = name.removeprefix(_INTEGER).strip("()")
    return {_ROWS[name]: value for name, value in rows.items() if name in _ROWS}


def _with_best(row: Mapping[str, object]) -> dict[str, object]:
    numbers = {name: _number(row[name]) for name in row if name}
    best = max(numbers.values())
    return {
        name: Best(value) if numbers.get(name) == best else value
        for name, value in row.items()
    }


def _number(value: object) -> float:
    return -math.inf if value is None else float(str(value).split()[0])


def _against_the_first(
    runs: Mapping[str, Compared], groups: Sequence[Sequence[str]]
) -> Iterator[dict[str, object]]:
    """Samples on which two networks differ: more telling than two percentages."""
    first, *others = groups[0]
    if not others:
        return
    gained: dict[str, object] = {"": f"right where {first} is not"}
    lost: dict[str, object] = {"": f"not right where {first} is"}
    chance: dict[str, object] = {"": "sign test: p"}
    reference = runs[first].measured
    known = reference.predicted == reference.label
    for name in others:
        right = runs[name].measured.predicted == reference.label
        gained[name] = more = int((right & ~known).sum())
        lost[name] = less = int((known & ~right).sum())
        chance[name] = f"{_sign_test(more, less):.2g}"
    names = list(runs)
    for row in (gained, lost, chance):
        yield {"": row[""], **{name: row.get(name) for name in names}}


def _sign_test(more: int, less: int) -> float:
    """Two-sided p of so unequal a split of samples, were both sides as likely."""
    n = more + less
    tail = sum(math.comb(n, k) for k in range(min(more, less) + 1))
    return min(1.0, 2 * tail / 2**n)


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _settings(runs: Mapping[str, Compared]) -> list[dict[str, object]]:
    """The settings that differ, but for those that only one kind of model has."""
    flat = {
        name: dict(_flat({part: run.config.get(part) for part in _TRAINED}))
        for name, run in runs.items()
    }
    every = dict.fromkeys(key for settings in flat.values() for key in settings)
    return [
        {"": key, **{name: settings.get(key) for name, settings in flat.items()}}
        for key in every
        if key not in _PASSED_OVER and _differs(key, list(flat.values()))
    ]


def _differs(key: str, runs: Sequence[Mapping[str, str]]) -> bool:
    """Whether two runs differ in a setting that both might have."""
    part = key.split(".")[0]
    kinds = {run.get(part) for run in runs if key in run}
    able = [run for run in runs if run.get(part) in kinds]
    return len({run.get(key) for run in able}) > 1


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if name == "class_path":
            yield prefix.removesuffix("."), _short(value)
        elif isinstance(value, dict) and value:
            inside = prefix if name == "init_args" else f"{prefix}{name}."
            yield from _flat(value, inside)
        elif isinstance(value, list | dict):
            text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
            yield f"{prefix}{name}", text.strip()
        else:
            yield f"{prefix}{name}", str(value)


def _short(class_path: str) -> str:
    return class_path.rpartition(".")[2]


def _figures(
    runs: Mapping[str, Compared], groups: Sequence[Sequence[str]]
) -> dict[str, Any]:
    metrics = {name: run.metrics for name, run in runs.items() if run.metrics}
    figures: dict[str, Any] = {}
    if metrics:
        same_loss = len({_model(run) for run in runs.values()}) == 1
        figures["Learning curves"] = viz.learning_curves(
            metrics, names=list(runs), with_loss=same_loss
        )
    curves = {name: run.measured.curve for name, run in runs.items()}
    figures["Accuracy over time"] = viz.accuracy_over_time(curves)
    for group in groups:
        if len(group) == 1:
            continue
        of = "" if len(groups) == 1 else f" of {_data(runs[group[0]])}"
        answers = {
            name: (runs[name].measured.predicted, runs[name].measured.label)
            for name in group
        }
        figures[f"Classes{of}"] = viz.class_accuracy(answers, names=list(runs))
        figures[f"Mistakes{of}"] = viz.confusion_changes(answers)
    return figures


def _data(run: Compared) -> str:
    return _short(run.config["data"]["class_path"])


def _model(run: Compared) -> str:
    return _short(run.config["model"]["class_path"])


def _notes(
    runs: Mapping[str, Compared], groups: Sequence[Sequence[str]]
) -> Iterator[str]:
    """What does not compare, then how to read the rest."""
    if len(groups) > 1:
        lists = "; ".join(f"{', '.join(g)} ({_data(runs[g[0]])})" for g in groups)
        yield (
            f"Not tested on the same samples: {lists}. Their accuracies do not "
            "compare; classes and mistakes are shown for each of these groups."
        )
    if len({_model(run) for run in runs.values()}) > 1:
        yield (
            "Different kinds of network learn by different losses, which do not "
            "compare and are left out, and so are settings that only one kind has."
        )
    if any("steps" in run.measured.rows for run in runs.values()):
        yield (
            "An addition is one spike that reaches one neuron, whatever the kind of "
            "network. One of spike trains multiplies weights with an image besides, "
            "and decides at the end, one of first spikes at its first output spike."
        )
    if (
        len({_row_values(run).get(_ROWS["bits and ticks"]) for run in runs.values()})
        > 1
    ):
        yield (
            "Accuracies as integers are of different numbers of bits or ticks, or "
            "missing where no integers exist."
        )
    if len(groups[0]) > 1:
        first = groups[0][0]
        yield (
            f"The sign test asks how likely so unequal a split would be among the "
            f"samples that only one of two networks gets right, were it as good as "
            f"{first}. It speaks of these networks, not of other seeds."
        )
    yield (
        "Accuracies are on the test samples; no decision counts as wrong, and where "
        "first spikes are tied there is none, unless a potential breaks the tie. "
        "Spikes are those of the neurons, without the input's. Training is wall time. "
        "Each run's own report, with more pictures, is in its folder."
    )
