"""A network of spike trains whose spike counts decide, measured as trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from snn_temporal_plugins.commands import spike_trains
from snn_temporal_plugins.training import SpikeCountClassifier
from snn_temporal_plugins.training.data import TensorData

NOTES = """\
Accuracies are on the test samples. The output neuron that fires most often is the
answer, the first of them in a tie. Where no output fires there is no decision, which
counts as wrong. Images are shown as random spike trains, the same in every report.

Operations are counts, not a measurement. A synaptic operation is one spike that reaches
one neuron, through a recurrent connection too. The dense pass is what a network without
spikes would multiply on the same weights, once.
"""
_OTHER_RULE = (
    "PSPs below 1/(4 tau_syn)",
    "multiplications with the image per sample",
)


def measure(
    classifier: SpikeCountClassifier,
    data: TensorData,
    out: Path,
    settings: argparse.Namespace,
) -> tuple[dict[str, object], dict[str, Any]]:
    """Measure on the test samples; write the NIR file where there is one.

    Args:
        classifier: the network as trained.
        data: of the run.
        out: folder of the report.
        settings: `nir_samples`.

    Returns:
        The rows of the table and the pictures, by name.
    """
    rows, figures = spike_trains.measure(classifier, data, out, settings)
    return {k: v for k, v in rows.items() if k not in _OTHER_RULE}, figures
