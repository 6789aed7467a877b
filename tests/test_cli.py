"""The command line: in this process where that is enough, else as a user runs it."""

import csv
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from snn_temporal_plugins import cli
from snn_temporal_plugins.training import SpikeTrainClassifier, TemporalClassifier
from snn_temporal_plugins.training.command import with_settings_of_run

CONFIGS = Path(__file__).parents[1] / "examples" / "configs"
DIGITS = str(CONFIGS / "digits_stdbp.yaml")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder; what the command sets for the process is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.setenv("PL_SEED_WORKERS", "0")
    # Lightning's own use of jsonargparse, when it loads what the command has written
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def fit(*settings):
    cli.main(["fit", "-c", DIGITS, "--trainer.max_epochs", "1", *settings])


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_help_names_all_commands_and_shows_how(capsys):
    for args in ([], ["-h"], ["--help"]):
        cli.main(args)
        text = capsys.readouterr().out
        assert all(f"  {name}" in text for name in cli.COMMANDS)
        assert "snn-temporal fit -c examples/configs/digits_stdbp.yaml" in text


def test_help_starts_without_lightning():
    code = (
        "import sys; from snn_temporal_plugins.cli import main; main([]);"
        "sys.exit('lightning' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_of_a_command_explains_the_settings(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("--model", "--trainer.max_epochs", "--name", "--threads"):
        assert words in text


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("TemporalClassifier", "--model.alpha ALPHA Inverse temperature of the loss"),
        ("SpikeTrainClassifier", "--model.tau_mem TAU_MEM Membrane time constant"),
    ],
)
def test_help_of_a_model_explains_its_settings(capsys, model, words):
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", "--model.help", model])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Architecture such as" in text
    assert words in text


@pytest.mark.parametrize("config", [True, False])
def test_another_model_begins_with_its_own_defaults(config, tmp_path, capsys):
    path = tmp_path / "c.yaml"
    settings = {"class_path": "SpikeTrainClassifier", "init_args": {"network": "64-10"}}
    path.write_text(yaml.safe_dump({"model": settings, "data": "Digits"}))
    short = ["--model", "SpikeTrainClassifier", "--model.network", "64-10"]
    named = ["-c", str(path)] if config else [*short, "--data", "Digits"]
    with pytest.raises(SystemExit):
        cli.main(["fit", *named, "--print_config"])
    model = yaml.safe_load(capsys.readouterr().out)["model"]
    parameters = inspect.signature(SpikeTrainClassifier).parameters
    defaults = {name: p.default for name, p in parameters.items() if name != "network"}
    assert model["init_args"] == {"network": "64-10", **defaults}


def test_help_of_a_data_module(capsys):
    with pytest.raises(SystemExit):
        cli.main(["fit", "--data.help", "MNIST"])
    assert "Folder with the four files" in capsys.readouterr().out


def test_an_unknown_command_lists_those_that_are_allowed():
    with pytest.raises(SystemExit, match="'train' is no command, allowed are fit, "):
        cli.main(["train"])


@pytest.mark.slow
def test_fit_test_predict_learn_the_digits(folder, capsys):
    fit("--trainer.max_epochs", "6")
    run = folder / "runs" / "digits" / "version_0"
    assert sorted(path.name for path in run.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "hparams.yaml",
        "metrics.csv",
    ]
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert [path.name for path in checkpoint.parent.iterdir()] == ["last.ckpt"]
    columns = rows(run / "metrics.csv")[0].keys()
    assert {"epoch", "step", "train_loss", "train_acc", "val_acc"} <= columns
    assert {"val_spikes/layer1", "val_decision_time", "dead_neurons"} <= columns

    capsys.readouterr()
    cli.main(["test", "--ckpt_path", str(checkpoint)])
    line = next(x for x in capsys.readouterr().out.splitlines() if "test_acc" in x)
    accuracy = float(line.split()[3])
    assert accuracy > 0.9

    cli.main(["predict", f"--ckpt_path={checkpoint}", "--predictions", "out/p.csv"])
    answers = rows(folder / "out" / "p.csv")
    assert list(answers[0]) == ["sample", "predicted_class", "decision_time"]
    assert [int(row["sample"]) for row in answers] == list(range(360))
    from snn_temporal_plugins.training import Digits

    label = Digits().splits.test.label
    answer = torch.tensor([int(row["predicted_class"]) for row in answers])
    assert (answer == label).float().mean().item() == pytest.approx(accuracy, abs=1e-4)
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]

    model = TemporalClassifier.load_from_checkpoint(checkpoint, weights_only=True)
    assert model.hparams["network"] == "64-200-10"


@pytest.mark.slow
def test_each_run_has_its_own_folder_and_a_failed_one_overwrites_nothing(folder):
    fit("--name", "mine")
    first = folder / "runs" / "mine" / "version_0"
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit, match="shift is 9, allowed is 0 to 7"):
        fit("--name", "mine", "--data.shift", "9")
    last = str(first / "checkpoints" / "last.ckpt")
    with pytest.raises(SystemExit, match="the checkpoint's schedule ends after"):
        cli.main(["fit", "--ckpt_path", last, "--trainer.max_epochs", "3"])
    fit("--name", "mine")
    assert {path: path.read_bytes() for path in before} == before
    assert (first.parent / "version_2" / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_weights(folder, monkeypatch):
    fit("--trainer.max_epochs", "3")

    def power_cut(self, batch, batch_idx):
        if self.trainer.current_epoch == 2:
            raise MemoryError("the lights went out")
        return training_step(self, batch, batch_idx)

    training_step = TemporalClassifier.training_step
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(TemporalClassifier, "training_step", power_cut)
        fit("--trainer.max_epochs", "3")
    runs = folder / "runs" / "digits"
    left = runs / "version_1" / "checkpoints"
    assert [path.name for path in left.iterdir()] == ["last.ckpt"]
    cli.main(["fit", "--ckpt_path", str(left / "last.ckpt")])
    one, other = (
        torch.load(runs / run / "checkpoints" / "last.ckpt", weights_only=True)
        for run in ("version_0", "version_2")
    )
    assert one["epoch"] == other["epoch"] == 2
    one, other = one["state_dict"], other["state_dict"]
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_two_processes_train_with_an_uneven_last_batch(folder):
    # 1237 samples: 619 for each rank, one of them twice; 100 + 100 to validate on
    command = [
        sys.executable,
        "-m",
        "snn_temporal_plugins.cli",
        "fit",
        *("-c", DIGITS, "--trainer.max_epochs", "2"),
        *("--trainer.accelerator", "cpu", "--trainer.devices", "2"),
        *("--trainer.strategy", "ddp", "--data.validation", "201"),
        "--trainer.callbacks+=SpikePictures",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = (folder / "runs" / "digits").iterdir()
    last = [row for row in rows(run / "metrics.csv") if row["val_acc"]][-1]
    assert int(last["step"]) == 2 * 20 - 1
    assert (run / "pictures" / "epoch_001_raster.png").is_file()

    model = TemporalClassifier.load_from_checkpoint(run / "checkpoints" / "last.ckpt")
    from snn_temporal_plugins.functional import first_spike_class
    from snn_temporal_plugins.training import Digits

    held_out = Digits(validation=201).splits.validation
    with torch.no_grad():
        answer = first_spike_class(model.eval()(held_out.x.flatten(1) / 16))
    accuracy = (answer == held_out.label).float().mean().item()
    assert float(last["val_acc"]) == pytest.approx(accuracy, abs=1e-6)


def test_missing_data_are_one_line(folder):
    with pytest.raises(SystemExit, match=r"^snn-temporal fit: MNIST is not in nowhere"):
        cli.main(
            ["fit", "-c", str(CONFIGS / "mnist_stdbp.yaml"), "--data.root", "nowhere"]
        )
    assert not (folder / "runs").exists()


def test_faults_that_are_not_the_users_keep_their_traceback(monkeypatch):
    command = cli.Command("fail", "json:loads")
    monkeypatch.setattr(cli, "COMMANDS", {"fail": command})
    with pytest.raises(TypeError, match="JSON object must be"):
        cli.main(["fail"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--threads", "0"], "threads is 0, allowed is 1 or more"),
        (["--model.rule", "hebb"], "unknown rule 'hebb'"),
        (["--model.network", "1024-10-10"], "matmul|shape|64"),
    ],
)
def test_bad_settings_are_one_line(folder, settings, message):
    with pytest.raises(SystemExit, match=message):
        fit(*settings)


def test_predict_refuses_several_devices(folder):
    with pytest.raises(SystemExit, match=r"use --trainer\.devices 1"):
        cli.main(
            [
                *("predict", "-c", DIGITS, "--trainer.accelerator", "cpu"),
                *("--trainer.devices", "2", "--trainer.strategy", "ddp"),
            ]
        )


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_configs_fit_the_program(path):
    from snn_temporal_plugins import training

    config = yaml.safe_load(path.read_text())
    assert config["name"] in (path.stem, path.stem.removesuffix("_stdbp"))
    model = config["model"]
    if "class_path" in model:
        model = getattr(training, model["class_path"])(**model["init_args"])
    else:
        model = TemporalClassifier(**model)
    data = config["data"]
    module = getattr(training, data["class_path"])(**data["init_args"])
    trains = training.SpikeTrainClassifier | training.SpikeCountClassifier
    batch_axis = 1 if isinstance(model, trains) else 0
    x = torch.rand(2, *module.sample_shape)
    # without a number of steps the data are spikes
    events = model.hparams.get("num_steps", 0) is None
    output = model(x.round() if events else x)
    output = output if isinstance(output, torch.Tensor) else output.spike_time
    assert output.shape[batch_axis] == 2
    assert output.shape[-1] >= 3
    for callback in config["trainer"].get("callbacks", []):
        assert hasattr(training, callback["class_path"])


def test_a_checkpoint_brings_the_settings_of_its_run(tmp_path):
    run = tmp_path / "version_0"
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    plain = ["test", "--ckpt_path", checkpoint]
    assert with_settings_of_run(plain) == plain, "no config.yaml there"
    run.mkdir()
    config = run / "config.yaml"
    config.touch()
    injected = ["test", "-c", str(config), *plain[1:]]
    assert with_settings_of_run(plain) == injected
    joined = ["test", f"--ckpt_path={checkpoint}"]
    assert with_settings_of_run(joined) == ["test", "-c", str(config), joined[1]]
    for given in (["-c", "x"], ["--config=x"]):
        assert with_settings_of_run([*plain, *given]) == [*plain, *given]
    assert with_settings_of_run(["fit"]) == ["fit"]
