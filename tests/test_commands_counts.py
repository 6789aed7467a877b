"""`snn-temporal report | predict | export` on networks whose spike counts decide."""

import csv
import json

import pytest
import torch
import yaml

from snn_temporal_plugins import cli

pytest.importorskip("lightning")
from snn_temporal_plugins.commands.checkpoint import load_model
from snn_temporal_plugins.commands.operations import count_operations
from snn_temporal_plugins.neurons import build_network
from snn_temporal_plugins.training import SpikeCountClassifier

CONFIG = {
    "seed_everything": 0,
    "name": "counts",
    "model": {
        "class_path": "SpikeCountClassifier",
        "init_args": {
            "network": "64-R64-10",
            "v_th": [8, 5],
            "tau_mem": 32,
            "num_steps": 60,
            "max_rate": 0.3,
            "desired_count": 12,
            "undesired_count": 2,
            "margin": 1,
            "lr": 2.0e-2,
        },
    },
    "data": {"class_path": "Digits", "init_args": {"batch_size": 32}},
    "trainer": {
        "max_epochs": 4,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "log_every_n_steps": 10,
        "callbacks": [{"class_path": "SpikeStatistics"}],
    },
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network trained for four epochs."""
    root = tmp_path_factory.mktemp("run")
    (root / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.setenv("PL_SEED_WORKERS", "0")
        cli.main(["fit", "-c", "c.yaml"])
    torch.set_num_threads(threads)
    return str(root / "runs/counts/version_0/checkpoints/last.ckpt")


def test_report_and_test_agree(checkpoint, tmp_path, capsys):
    out = tmp_path / "report"
    cli.main(["report", "--ckpt_path", checkpoint, "--out", str(out)])
    rows = json.loads((out / "results.json").read_text())
    assert rows["test samples"] == 360 and rows["steps"] == 60
    accuracy = float(rows["accuracy, float"].split()[0])
    assert accuracy > 60
    # refractory neurons have no node in NIR
    assert "refractory" in rows["accuracy, NIR"]
    assert "PSPs below 1/(4 tau_syn)" not in rows
    assert rows["multiplications of one dense pass"] == 64 * 64 * 2 + 640
    assert rows["synaptic operations per sample"] > 1000
    page = (out / "report.html").read_text()
    assert "fires most often" in page and "Confusion" in page
    capsys.readouterr()
    cli.main(["test", "--ckpt_path", checkpoint])
    lines = capsys.readouterr().out.splitlines()
    tested = next(float(x.split()[3]) for x in lines if "test_acc" in x)
    assert accuracy == pytest.approx(100 * tested, abs=0.006)
    assert any("test_rate/layer1" in x for x in lines)


def test_predict(checkpoint, tmp_path):
    out = tmp_path / "p.csv"
    cli.main(["predict", "--ckpt_path", checkpoint, "--predictions", str(out)])
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 360
    assert {"predicted_class", "spike_count"} <= set(rows[0])


def test_export_says_what_it_lacks(checkpoint, tmp_path):
    for kind in ("bundle", "nir"):
        out = tmp_path / kind
        arguments = ["--ckpt_path", checkpoint, "--to", kind, "--out", str(out)]
        with pytest.raises(SystemExit, match="E1"):
            cli.main(["export", *arguments])
        assert not out.exists()


def test_checkpoint_is_rebuilt(checkpoint):
    model = load_model(checkpoint)
    assert isinstance(model, SpikeCountClassifier)
    assert [layer.v_th for layer in model.network] == [8, 5]


def test_recurrent_connections_count():
    network = build_network("6-R8-3", rule="st_rsbp", grid=(2, 2, 2))
    connections = int((network[0].recurrent_weight != 0).sum())
    spikes = {"input": torch.ones(6), "layer1": torch.ones(8), "layer2": torch.ones(3)}
    operations = count_operations(network, (6,), spikes)
    assert operations.synaptic == 6 * 8 + connections + 8 * 3
    assert operations.dense == 6 * 8 + connections + 8 * 3
    assert operations.image == 0


def test_a_spike_reaches_one_neuron_of_a_pool():
    network = build_network("7x6-2C2-P2-3", rule="st_rsbp")
    spikes = {
        "input": torch.ones(1, 7, 6),
        "layer1": torch.ones(2, 6, 5),
        "layer2": torch.full((2, 3, 2), 0.5),
        "layer3": torch.ones(3),
    }
    operations = count_operations(network, (1, 7, 6), spikes)
    fan_out = 2 * 2 * 2 * 6 * 5  # of all pixels together
    pooled = 2 * 6 * 4  # the last column fills no window
    assert operations.synaptic == fan_out + pooled + 0.5 * 12 * 3
    assert operations.dense == fan_out + 12 * 3  # unit weights multiply nothing
    assert operations.image == 0
