"""Pictures of spikes and the HTML report; the extra ``viz`` draws them.

Importing this room needs torch alone: matplotlib and jinja2 are loaded by the first
picture or report, and their absence is an `ImportError` that names the pip command.
"""

from snn_temporal_plugins.viz.charts import (
    confusion,
    energy_breakdown,
    learning_curve,
    quantisation_sweep,
)
from snn_temporal_plugins.viz.comparison import (
    accuracy_over_time,
    class_accuracy,
    confusion_changes,
    learning_curves,
)
from snn_temporal_plugins.viz.pictures import (
    accuracy_against_latency,
    raster,
    spike_time_histogram,
)
from snn_temporal_plugins.viz.render import save_picture
from snn_temporal_plugins.viz.report import Best, write_report
from snn_temporal_plugins.viz.trains import psp_traces, rate_histogram, train_raster

__all__ = [
    "raster",
    "spike_time_histogram",
    "train_raster",
    "psp_traces",
    "rate_histogram",
    "learning_curve",
    "accuracy_against_latency",
    "confusion",
    "energy_breakdown",
    "quantisation_sweep",
    "learning_curves",
    "accuracy_over_time",
    "class_accuracy",
    "confusion_changes",
    "save_picture",
    "Best",
    "write_report",
]
