"""The hosts' examples on digits but those of ReL-PSP, shortened to one epoch."""

import re
from pathlib import Path

import pytest
import torch

from snn_temporal_plugins.adapters import norse as tnorse
from snn_temporal_plugins.adapters import snntorch as tsnn

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("host", ["snntorch", "norse"])
@pytest.mark.parametrize(
    ("neuron", "more_than"), [("lif", 50), ("if", 30), ("recurrent", 50)]
)
def test_example_runs(host, neuron, more_than, capsys):
    pytest.importorskip("sklearn")
    program = (EXAMPLES / f"{host}_{neuron}_digits.py").read_text(encoding="utf-8")
    program, long = re.subn(
        r"^EPOCHS, BATCH = \d+,", "EPOCHS, BATCH = 1,", program, flags=re.M
    )
    program, report = re.subn(r"epoch % 5 == 4", "True", program)
    assert long == report == 1
    threads = torch.get_num_threads()
    try:
        exec(program, {"__name__": "x"})
    finally:
        torch.set_num_threads(threads)
        tsnn.unregister()
        tnorse.unregister()
    out = capsys.readouterr().out
    assert float(out.split("test accuracy ")[1].split("%")[0]) > more_than, out
