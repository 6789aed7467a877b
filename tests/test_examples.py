"""The examples on real data run, and beat chance after one epoch or a part of one."""

import functools
import runpy
import sys
from pathlib import Path

import pytest
import torch

from tests.real_data import folder

ROOT = Path(__file__).parents[1]
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "variable", "beside", "others", "batches", "more_than"),
    [
        (
            "fashion_mnist_tssl_bp",
            "SNN_TEMPORAL_FASHION_MNIST",
            "fashion_mnist",
            (DEBIAN,),
            None,
            70,
        ),
        ("nmnist_tssl_bp", "SNN_TEMPORAL_NMNIST", "nmnist_small", (), None, 15),
        (
            "fashion_mnist_st_rsbp",
            "SNN_TEMPORAL_FASHION_MNIST",
            "fashion_mnist",
            (DEBIAN,),
            40,
            40,
        ),
        ("spoken_digits_st_rsbp", "SNN_TEMPORAL_SPOKEN_DIGITS", "fsdd", (), None, 12),
    ],
)
def test_example_runs(
    example,
    variable,
    beside,
    others,
    batches,
    more_than,
    tmp_path,
    monkeypatch,
    capsys,
):
    lightning = pytest.importorskip("lightning")
    if batches:  # of training, validation and test
        limits = (f"limit_{part}_batches" for part in ("train", "val", "test"))
        short = functools.partial(lightning.Trainer, **dict.fromkeys(limits, batches))
        monkeypatch.setattr(lightning, "Trainer", short)
    root = folder(variable, beside, *others)
    monkeypatch.chdir(tmp_path)
    program = ROOT / "examples" / f"{example}.py"
    monkeypatch.setattr(sys, "argv", [str(program), "--epochs", "1", "--root", root])
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(program), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    out = capsys.readouterr().out
    assert float(out.split("test accuracy ")[1].split("%")[0]) > more_than
    assert not [*tmp_path.iterdir()], "an example leaves nothing behind"
