"""`snn-temporal export | report` on networks of spike trains."""

import argparse
import json
from pathlib import Path

import pytest
import torch
import yaml

from snn_temporal_plugins import cli

pytest.importorskip("lightning")
from snn_temporal_plugins.commands import spike_trains
from snn_temporal_plugins.commands.checkpoint import load_model
from snn_temporal_plugins.commands.operations import count_operations
from snn_temporal_plugins.neurons import build_network
from snn_temporal_plugins.training import (
    SpikeTrainClassifier,
    TemporalClassifier,
    record_spike_trains,
)
from snn_temporal_plugins.training.data import Split, Splits, TensorData

CONFIG = {
    "seed_everything": 0,
    "name": "trains",
    "model": {
        "class_path": "SpikeTrainClassifier",
        "init_args": {
            "network": "8x8-6C3-P2-32-10",
            "num_steps": 5,
            "mean": 0.3,
            "std": 0.4,
            "lr": 5.0e-3,
        },
    },
    "data": {"class_path": "Digits", "init_args": {"batch_size": 50, "flat": False}},
    "trainer": {
        "max_epochs": 3,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "log_every_n_steps": 10,
        "callbacks": [{"class_path": "SpikeStatistics"}],
    },
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network trained for three epochs."""
    root = tmp_path_factory.mktemp("run")
    (root / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.setenv("PL_SEED_WORKERS", "0")
        cli.main(["fit", "-c", "c.yaml"])
    torch.set_num_threads(threads)
    return str(root / "runs/trains/version_0/checkpoints/last.ckpt")


def number(text):
    return float(str(text).split()[0])


def test_report_measures_everything(checkpoint, tmp_path, capsys):
    out = tmp_path / "report"
    arguments = ["--ckpt_path", checkpoint, "--out", str(out), "--nir_samples", "60"]
    cli.main(["report", *arguments])
    rows = json.loads((out / "results.json").read_text())
    assert rows["test samples"] == 360
    assert rows["steps"] == 5
    exact = number(rows["accuracy, float"])
    assert exact > 80
    capsys.readouterr()
    cli.main(["test", "--ckpt_path", checkpoint])
    lines = capsys.readouterr().out.splitlines()
    tested = next(float(x.split()[3]) for x in lines if "test_acc" in x)
    assert exact == pytest.approx(100 * tested, abs=0.006)
    rates = next(float(x.split()[3]) for x in lines if "test_rate/layer2" in x)
    assert f"layer2 {rates:.4f}" in rows["spikes per neuron and step"]
    for reader in ("Norse", "snnTorch"):
        read = rows[f"accuracy, NIR read by {reader} (60 samples)"]
        if not read.startswith("left out"):
            assert rows[f"output spikes that differ, {reader}"] == 0
            assert number(read) > 80
    assert rows["multiplications with the image per sample"] == 6 * 9 * 36
    assert rows["multiplications of one dense pass"] == 6 * 9 * 36 + 54 * 32 + 320
    assert 0 < rows["synaptic operations per sample"] < 5 * (4 * 54 * 32 + 320)
    pictures = {path.stem for path in out.glob("*.png")}
    assert pictures == {
        *("raster", "output_psps", "firing_rates", "confusion", "learning_curve")
    }
    assert "Raster" in (out / "report.html").read_text()
    assert (out / "network.nir").is_file()


def test_a_bundle_refuses_and_names_nir(checkpoint, tmp_path):
    out = tmp_path / "x.bundle"
    arguments = ["export", "--ckpt_path", checkpoint, "--to", "bundle"]
    with pytest.raises(SystemExit, match=r"E118 SPIKE_TRAIN.*Write NIR instead"):
        cli.main([*arguments, "--out", str(out)])
    assert not list(tmp_path.iterdir())


def test_export_nir(checkpoint, tmp_path):
    pytest.importorskip("nir")
    out = tmp_path / "x.nir"
    arguments = ["export", "--ckpt_path", checkpoint, "--to", "nir", "--out", str(out)]
    cli.main(arguments)
    before = out.read_bytes()
    with pytest.raises(SystemExit, match=r"E117 FILE_EXISTS.*x\.nir exists"):
        cli.main(arguments)
    assert out.read_bytes() == before


def test_what_nir_cannot_hold_is_left_out_of_the_report(tmp_path):
    network = build_network("4-3-2", rule="tssl_bp")
    network[0].reset = "soft"
    model = SpikeTrainClassifier(network, loss="softmax").eval()
    rows = spike_trains._nir_rows(model, tmp_path, Events(), 3)
    assert list(rows) == ["accuracy, NIR"]
    assert rows["accuracy, NIR"].startswith("left out: E119 RESET")


def test_ties_are_told_apart_from_silence_and_decisions():
    sums = torch.tensor([[2.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    assert spike_trains._tied(sums[None]).tolist() == [False, True, False]


def saved(tmp_path, **content):
    path = tmp_path / "x.ckpt"
    torch.save(content, path)
    return path


def test_the_class_of_a_checkpoint_comes_from_a_table(checkpoint, tmp_path):
    assert type(load_model(checkpoint)) is SpikeTrainClassifier
    old = TemporalClassifier("4-3")
    # what Lightning's own loader would import and call
    traps = {"_instantiator": "os.system", "_class_path": "subprocess.Popen"}
    content = {
        "state_dict": old.state_dict(),
        "hyper_parameters": {**old.hparams, **traps},
    }
    loaded = load_model(saved(tmp_path, **content))
    assert type(loaded) is TemporalClassifier, "checkpoints that do not say"
    assert not loaded.training
    assert torch.equal(loaded.network[0].weight, old.network[0].weight)
    content["snn_temporal_class"] = "os.system"
    with pytest.raises(ValueError, match=r"holds a 'os\.system', allowed are Temporal"):
        load_model(saved(tmp_path, **content))
    del content["snn_temporal_class"], content["hyper_parameters"]["network"]
    with pytest.raises(ValueError, match="the weights of a module of your own"):
        load_model(saved(tmp_path, **content))


@pytest.mark.parametrize(
    "content",
    [b"", b"no checkpoint", b"PK\x03\x04 torn"],
    ids=["empty", "text", "torn"],
)
def test_a_file_that_is_no_checkpoint_is_named(content, tmp_path):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(SystemExit, match=r"x\.ckpt is no checkpoint of `snn-temporal"):
        cli.main(["report", "--ckpt_path", str(path)])
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="is no checkpoint"):
        load_model(path)


def test_nothing_in_a_checkpoint_is_run(tmp_path):
    mark = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (Path.touch, (mark,))

    with pytest.raises(ValueError, match="is no checkpoint"):
        load_model(saved(tmp_path, hyper_parameters=Trap(), state_dict={}))
    assert not mark.exists()


class Events(TensorData):
    """Nine recordings of 7 steps of 2x4x4 pixels."""

    sample_shape = (7, 2, 4, 4)

    def load(self):
        generator = torch.Generator().manual_seed(0)
        x = torch.randint(0, 2, (9, *self.sample_shape), generator=generator).float()
        split = Split(x, torch.arange(9) % 3)
        return Splits(split, split, split)


def test_a_network_on_events_is_measured(tmp_path):
    model = SpikeTrainClassifier(
        "2x4x4-3C3P1-P2-3", num_steps=None, loss="softmax", rule_options={"clip": 5.0}
    ).eval()
    with torch.no_grad():
        for layer in (model.network[1], model.network[4]):
            layer.weight.abs_()
    data = Events(batch_size=4)
    options = argparse.Namespace(nir_samples=5)
    measured = spike_trains.measure(model, data, tmp_path / "out", options)
    rows, figures = measured.rows, measured.figures
    x = data.splits.test.x
    with record_spike_trains(model) as trains:
        answer = model.answer(model(x))
    right = (answer.predicted_class == data.splits.test.label).float().mean()
    assert number(rows["accuracy, float"]) == pytest.approx(
        100 * float(right), abs=0.01
    )
    assert rows["multiplications with the image per sample"] == 0
    # each pixel reaches 3 maps x (2 to 3)^2 places, each of these neurons 3 outputs
    reach = torch.tensor([2.0, 3, 3, 2])
    fan_out = 3 * reach[:, None] * reach
    expected = float((x * fan_out).sum()) + 3 * float(trains["layer1"].spikes.sum())
    assert rows["synaptic operations per sample"] == round(expected / 9)
    assert rows["multiplications of one dense pass"] == 2 * 3 * 100 + 12 * 3
    assert rows["steps"] == 7
    assert "input" in rows["spikes per neuron"]
    spiked = sum(trains[name].spikes.sum() for name in ("layer1", "layer2"))
    assert number(rows["spikes per sample"]) == pytest.approx(
        float(spiked) / 9, abs=0.1
    )
    # what came out so far decides; at the end that is the answer
    psp = trains["output"].psp
    assert measured.curve.time.tolist() == [step / 7 for step in range(1, 8)]
    for step, share in enumerate(measured.curve.accuracy.tolist(), start=1):
        so_far = model.answer(psp[:step]).predicted_class
        right = (so_far == data.splits.test.label).double().mean()
        assert share == pytest.approx(float(right))
    assert torch.equal(measured.predicted, answer.predicted_class)
    assert torch.equal(measured.label, data.splits.test.label)
    assert set(figures) == {"Raster", "Output PSPs", "Firing rates", "Confusion"}
    for reader in ("Norse", "snnTorch"):
        assert rows.get(f"output spikes that differ, {reader}", 0) == 0


def test_spikes_that_a_pool_or_a_stride_drops_reach_nobody():
    def count(network, **spikes):
        return count_operations(network, network.input_shape, spikes)

    outputs = {"layer1": torch.ones(4), "layer2": torch.ones(3)}
    network = build_network("5x5-P2-4-3", rule="tssl_bp", num_steps=None)
    operations = count(network, input=torch.ones(1, 5, 5), **outputs)
    assert operations.synaptic == 16 * 4 + 4 * 3  # row and column 5 fill no window
    image = build_network("5x5-P2-4-3", rule="tssl_bp")
    assert count(image, **outputs) == (12, 4 * 4, 4 * 4 + 4 * 3)
    strided = build_network("6x6-2C3-3", rule="tssl_bp", num_steps=None)
    strided[1].stride = 2
    outputs = {"layer1": torch.zeros(2, 2, 2), "layer2": torch.ones(3)}
    operations = count(strided, input=torch.ones(1, 6, 6), **outputs)
    assert operations.synaptic == 2 * 9 * 4
