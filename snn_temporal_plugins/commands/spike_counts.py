"""A network of spike trains whose spike counts decide, measured as trained."""

from __future__ import annotations

from snn_temporal_plugins.commands.spike_trains import measure

__all__ = ["NOTES", "measure"]

NOTES = """\
Accuracies are on the test samples. The output neuron that fires most often is the
answer, the first of them in a tie. Where no output fires there is no decision, which
counts as wrong. Images are shown as random spike trains, the same in every report.

Operations are counts, not a measurement. A synaptic operation is one spike that reaches
one neuron, through a recurrent connection too. The dense pass is what a network without
spikes would multiply on the same weights, once.
"""
