"""The whole road in one go: train, test, export, emulate, report. `make demo` runs it.

Scikit-learn's digits, no download, under a minute. Each line is also a command that you
can type in a shell: `snn-temporal fit --config examples/configs/digits_stdbp.yaml` ...
"""

import shutil
from pathlib import Path

from snn_temporal_plugins.cli import main as snn_temporal

HERE = Path(__file__).parent
OUT = Path("runs/demo")

shutil.rmtree(OUT, ignore_errors=True)  # a second demo starts afresh
config = str(HERE / "configs" / "digits_stdbp.yaml")
snn_temporal(["fit", "--config", config, "--name", "demo"])

checkpoint = str(OUT / "version_0" / "checkpoints" / "last.ckpt")
snn_temporal(["test", "--ckpt_path", checkpoint])
# exports to NIR and to a bundle, and runs both back, before it writes the page
snn_temporal(["report", "--ckpt_path", checkpoint, "--out", str(OUT)])
