"""The hosts' LIF examples, shortened to one epoch."""

from pathlib import Path

import pytest
import torch

from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("host", ["snntorch", "norse"])
def test_example_runs(host, capsys):
    pytest.importorskip("sklearn")
    program = (EXAMPLES / f"{host}_lif_digits.py").read_text(encoding="utf-8")
    long, short = "EPOCHS, BATCH = 20, 64", "EPOCHS, BATCH = 1, 64"
    report = "epoch % 5 == 4"
    assert long in program and report in program
    threads = torch.get_num_threads()
    try:
        exec(program.replace(long, short).replace(report, "True"), {"__name__": "x"})
    finally:
        torch.set_num_threads(threads)
        tsnn.unregister()
        tnorse.unregister()
    out = capsys.readouterr().out
    assert float(out.split("test accuracy ")[1].split("%")[0]) > 50, out
