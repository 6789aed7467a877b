"""`snn-temporal report`: measure checkpoints; write tables, pictures and a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from snn_temporal_plugins import viz
from snn_temporal_plugins.commands import first_spikes, spike_counts, spike_trains
from snn_temporal_plugins.commands.checkpoint import (
    fit_seconds,
    load_model,
    new_parser,
)
from snn_temporal_plugins.commands.comparison import (
    Compared,
    run_names,
    write_comparison,
)
from snn_temporal_plugins.commands.measured import (
    Measured,
    is_newer,
    read_measured,
    write_measured,
)
from snn_temporal_plugins.commands.runs import (
    Run,
    find_run,
    load_config,
    load_data,
    load_metrics,
)
from snn_temporal_plugins.export.command import print_table
from snn_temporal_plugins.training import SpikeCountClassifier, SpikeTrainClassifier
from snn_temporal_plugins.training.classifier import Classifier


def run(arguments: Sequence[str]) -> None:
    """Measure a checkpoint every way there is, or compare several of them."""
    parser = new_parser(
        "report",
        "Test a network as trained, as NIR and, for first spikes, as integers; write "
        "an HTML report. Several networks come on one page, side by side.",
        "snn-temporal report --ckpt_path runs/digits/version_0 runs/digits/version_1",
    )
    parser.add_argument(
        "--ckpt_path",
        required=True,
        nargs="+",
        help="checkpoint or folder of a run; of several, the first is what the others "
        "are compared with. A run among several that has a report newer than its "
        "checkpoint, of the same bits and ticks, is not measured again",
    )
    parser.add_argument(
        "--out",
        help="folder of the page; default: report/ beside checkpoints/, of several "
        "runs runs/comparison/",
    )
    parser.add_argument(
        "--nir_samples",
        type=int,
        default=500,
        help="test samples for Norse and snnTorch, which take seconds per hundred",
    )
    parser.add_argument(
        "--sweep_samples",
        type=int,
        default=500,
        help="first spikes: test samples for the picture of bits and ticks, which "
        "measures up to 49 integer networks; 0: no such picture",
    )
    settings = parser.parse_args(arguments)
    runs = [find_run(path) for path in settings.ckpt_path]
    names = run_names([one.folder for one in runs])
    for one in runs:  # what is missing is said before hours of work
        load_model(one.checkpoint), load_config(one.folder)
    if len(runs) == 1:
        out = Path(settings.out or runs[0].folder / "report")
        measured = _report(runs[0], out, settings)
        print_table(measured.rows)
    else:
        out = Path(settings.out or "runs/comparison")
        compared = {
            name: _compared(one, settings)
            for name, one in zip(names, runs, strict=True)
        }
        write_comparison(out / "report.html", compared)
        print_table(
            {
                name: one.measured.rows["accuracy, float"]
                for name, one in compared.items()
            }
        )
    sys.stdout.write(f"report: {out / 'report.html'}\n")


def _report(run: Run, out: Path, settings: argparse.Namespace) -> Measured:
    """Measure one run, and write its report."""
    model, config = load_model(run.checkpoint), load_config(run.folder)
    kind = _kind(model)
    measured = kind.measure(model, load_data(config), out, settings)
    trained = sum(weight.numel() for weight in model.network.parameters())
    measured.rows["parameters"] = trained
    figures = dict(measured.figures)
    if metrics := load_metrics(run.folder):
        figures["Learning curve"] = viz.learning_curve(metrics)
    for name, figure in figures.items():
        viz.save_picture(figure, out / f"{name.lower().replace(' ', '_')}.png")
    viz.write_report(
        out / "report.html",
        title=f"{config.get('name', run.folder.name)}: {model.hparams['network']}",
        table=measured.rows,
        figures=figures,
        notes=kind.NOTES,
        settings=config,
    )
    write_measured(measured, out)
    return measured


def _compared(run: Run, settings: argparse.Namespace) -> Compared:
    """A run with what is known of it, measured if need be."""
    known = _known(run, settings)
    word = "measuring" if known is None else "taken from its report:"
    sys.stdout.write(f"{word} {run.folder}\n")
    sys.stdout.flush()
    return Compared(
        load_config(run.folder),
        load_metrics(run.folder),
        fit_seconds(run.checkpoint),
        known or _report(run, run.folder / "report", settings),
    )


def _known(run: Run, settings: argparse.Namespace) -> Measured | None:
    """What the report of a run says, if it is newer and of the same integers."""
    out, model = run.folder / "report", load_model(run.checkpoint)
    if not is_newer(out, run.checkpoint):
        return None
    known = read_measured(out)
    if _kind(model) is first_spikes:
        ticks = first_spikes.num_ticks(model, settings.ticks)
        if first_spikes.integer_row(settings.bits, ticks) not in known.rows:
            return None
    return known


def _kind(model: Classifier) -> ModuleType:
    if isinstance(model, SpikeTrainClassifier):
        return spike_trains
    if isinstance(model, SpikeCountClassifier):
        return spike_counts
    return first_spikes
