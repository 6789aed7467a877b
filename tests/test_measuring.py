"""The scripts of benchmarks/ and results/ start, and what they compare runs."""

import math
import runpy
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
SCRIPTS = [
    path
    for folder in ("benchmarks", "results")
    for path in sorted((ROOT / folder).glob("*.py"))
    if "ArgumentParser" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_say_what_they_do(path, monkeypatch, capsys):
    for module in ("lightning", "yaml", "matplotlib"):
        pytest.importorskip(module)
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert end.value.code == 0
    assert "usage" in capsys.readouterr().out


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_peers_train(benchmarks):
    import peers

    x = peers.intensities(4, 12)
    for name, peer in peers.PEERS.items():
        torch.manual_seed(0)
        try:
            step = peer.make([12, 6, 10], x)
        except ImportError:
            continue
        step()
        step()
        assert peer.rounds >= 1, name


def test_sorted_gather_is_our_equation(benchmarks):
    import peers

    from snn_temporal_plugins import build_network

    torch.manual_seed(0)
    (layer,) = build_network("30-20").double()
    time = torch.rand(5, 30, dtype=torch.float64)
    time[:, ::4] = math.inf
    found = peers.gathered(time, layer.weight, 1.0, 2.0)
    torch.testing.assert_close(found, layer(time), rtol=1e-12, atol=1e-12)


def test_rounds_and_exponents(benchmarks):
    import paired

    calls = []
    steps = [lambda name=name: calls.append(name) for name in "abc"]
    seconds = paired.in_rounds(*steps, rounds=1)
    assert [len(times) for times in seconds] == [3]
    assert calls.count("c") == 1  # a single round does not warm up the slow one
    assert len(paired.in_rounds(*steps, rounds=8)) == 8
    found = paired.ratios([(1.0, 2.0), (2.0, 6.0), (1.0, 4.0)])
    assert found == {"ratio": 3.0, "p10": 2.0, "p90": 4.0}
    assert paired.exponent([1, 10, 100], [2, 200, 20000]) == pytest.approx(2)
