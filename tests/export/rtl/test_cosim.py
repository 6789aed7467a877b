"""`snn-temporal cosim` on trained networks, from the checkpoint to the clock cycle."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from snn_temporal_plugins import cli
from snn_temporal_plugins.commands import cosim
from snn_temporal_plugins.export import (
    load_chip,
    write_bundle,
)
from snn_temporal_plugins.export.bundle.simulators import simulate_each
from tests.export.random_networks import random_trial
from tests.export.rtl.programs import need
from tests.real_data import folder

CONFIGS = Path(__file__).parents[3] / "examples" / "configs"
CHIPS = CONFIGS.parent / "chips"
EQUAL = "all spikes and cycles equal the emulator's, no overflow"


def trained(root, config, *settings, ticks=("--ticks", "64")):
    """Train, export to a bundle, and return its path."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.setenv("PL_SEED_WORKERS", "0")
        bar = ("--trainer.enable_progress_bar", "false", "--name", "net")
        cli.main(["fit", "-c", str(CONFIGS / config), *bar, *settings])
    torch.set_num_threads(threads)
    checkpoint = root / "runs/net/version_0/checkpoints/last.ckpt"
    out = root / "net.bundle"
    arguments = ["--ckpt_path", str(checkpoint), "--out", str(out), "--to", "bundle"]
    cli.main(["export", *arguments, "--bits", "5", *ticks])
    return str(out)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A bundle of a network trained for two epochs, and images."""
    pytest.importorskip("lightning")
    from sklearn.datasets import load_digits

    root = tmp_path_factory.mktemp("digits")
    network = ("--model.network", "64-50-10", "--trainer.max_epochs", "2")
    bundle = trained(root, "digits_stdbp.yaml", *network)
    images = (load_digits().images[-30:] * 255 / 16).round().astype(np.uint8)
    np.save(root / "images.npy", images)
    return bundle, str(root / "images.npy")


@pytest.mark.parametrize(
    ("simulator", "chip", "samples"),
    [
        ("icarus", ["--pes", "1", "3"], 3),
        ("verilator", ["--chip", str(CHIPS / "small.json")], 30),
    ],
)
def test_a_trained_network(simulator, chip, samples, digits, capsys):
    need(simulator)
    bundle, images = digits
    options = ["--simulator", simulator, *chip, "--samples", str(samples)]
    cli.main(["cosim", bundle, "--images", images, *options])
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == EQUAL
    found = [line.split() for line in text.splitlines() if " images " in line]
    pes = chip[1:] if chip[0] == "--pes" else ["4"]
    assert [line[:4] for line in found] == [
        [simulator, number, "images", str(samples)] for number in pes
    ]
    assert all(int(line[4]) > 10 * samples for line in found)  # it spikes
    assert text.count("golden, layer 0 on") == len(found)


def test_a_core_that_differs_is_named(tmp_path, monkeypatch):
    need("icarus")
    write_bundle(random_trial(0).network, tmp_path / "net")

    def cores(jobs, simulator, **options):
        """What cores do that take an input for another."""
        moved = [(mapping, np.roll(ticks, 1, axis=1)) for mapping, ticks in jobs]
        return simulate_each(moved, simulator, **options)

    monkeypatch.setattr(cosim, "simulate_each", cores)
    with pytest.raises(SystemExit, match=r"icarus, golden.*: sample \d+, layer 0"):
        cli.main(["cosim", str(tmp_path / "net")])


def test_golden_cases_of_a_bundle_for_a_chip(tmp_path, capsys):
    """Without settings the chip is the one that the bundle was written for."""
    need("icarus")
    need("yosys")
    chip = load_chip(CHIPS / "small.json")
    write_bundle(random_trial(5).network, tmp_path / "net", chip=chip)
    cli.main(["cosim", str(tmp_path / "net"), "--synthesise"])
    lines = capsys.readouterr().out.splitlines()
    assert all(line.split()[:3] == ["icarus", "4", "golden,"] for line in lines[1:-2])
    assert len(lines) > 4
    assert lines[-2] == EQUAL
    assert re.match(r"4 PEs by Yosys: \d+ gates, \d+ flip-flops, \d+ memory", lines[-1])


def test_images_need_a_table(tmp_path):
    write_bundle(random_trial(0).network, tmp_path / "net")
    np.save(tmp_path / "images.npy", np.zeros((2, 25), np.uint8))
    with pytest.raises(SystemExit, match="no pixel table"):
        cli.main(
            ["cosim", str(tmp_path / "net"), "--images", str(tmp_path / "images.npy")]
        )


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["cosim", "--help"])
    assert stop.value.code == 0
    assert "example: snn-temporal cosim" in capsys.readouterr().out


@pytest.mark.sweep
@pytest.mark.data
@pytest.mark.parametrize(
    ("config", "network", "ticks"),
    [
        ("mnist_stdbp.yaml", "784-400-10", ["--ticks", "256"]),
        ("mnist_stdbp.yaml", "28x28-8C5-P2-10", ["--ticks", "128"]),
        ("mnist_sstdp.yaml", "784-400-10", []),
    ],
)
def test_mnist(config, network, ticks, tmp_path, capsys):
    for simulator in ("icarus", "verilator"):
        need(simulator)
    pytest.importorskip("lightning")
    root = folder("SNN_TEMPORAL_MNIST", "mnist")
    flat = str(network.startswith("784")).lower()
    settings = ["--model.network", network, "--data.root", root, "--data.flat", flat]
    limits = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "200"]
    bundle = trained(tmp_path, config, *settings, *limits, ticks=ticks)
    from snn_temporal_plugins.training import MNIST

    np.save(tmp_path / "images.npy", MNIST(root=root).load().test.x[:20].numpy())
    options = ["--images", str(tmp_path / "images.npy"), "--pes", "4"]
    cli.main(["cosim", bundle, *options, "--simulator", "icarus", "verilator"])
    assert EQUAL in capsys.readouterr().out
