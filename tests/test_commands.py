"""`snn-temporal export | emulate | report` on a network that `fit` has just trained."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from snn_temporal_plugins import cli, export

pytest.importorskip("lightning")
DIGITS = str(
    Path(__file__).parent.parent / "examples" / "configs" / "digits_stdbp.yaml"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network trained for three epochs."""
    root = tmp_path_factory.mktemp("run")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.setenv("PL_SEED_WORKERS", "0")
        bar = ("--trainer.enable_progress_bar", "false")
        cli.main(["fit", "-c", DIGITS, "--trainer.max_epochs", "3", *bar])
    torch.set_num_threads(threads)
    return str(root / "runs/digits/version_0/checkpoints/last.ckpt")


def test_export_a_zip_for_a_chip(checkpoint, tmp_path):
    chip = Path(__file__).parent.parent / "examples" / "chips" / "small.json"
    out = str(tmp_path / "digits.zip")
    arguments = ["--to", "bundle", "--chip", str(chip), "--out", out]
    cli.main(["export", "--ckpt_path", checkpoint, *arguments])
    assert export.read_bundle(out).chip == export.load_chip(chip)


def test_export_and_emulate_a_bundle(checkpoint, tmp_path, capsys):
    out = str(tmp_path / "digits.bundle")
    arguments = ["export", "--ckpt_path", checkpoint, "--to", "bundle", "--out", out]
    cli.main([*arguments, "--bits", "5", "--ticks", "128"])
    bundle = export.read_bundle(out)
    assert bundle.network.num_ticks == 128
    before = (tmp_path / "digits.bundle" / "manifest.json").read_bytes()
    with pytest.raises(SystemExit, match=r"digits\.bundle"):
        cli.main(arguments)  # nothing is overwritten unasked
    assert (tmp_path / "digits.bundle" / "manifest.json").read_bytes() == before

    images = np.random.default_rng(0).integers(0, 256, (7, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", np.zeros(7, np.int64))
    decisions = tmp_path / "decisions.csv"
    options = ["--images", str(tmp_path / "images.npy"), "--out", str(decisions)]
    cli.main(["emulate", out, *options, "--labels", str(tmp_path / "labels.npy")])
    text = capsys.readouterr().out
    assert "accuracy" in text and "estimate, not measurement" in text
    with decisions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    ticks = export.encode_pixels(bundle.lut, images.reshape(7, 64))
    emulation = export.emulate(bundle.network, ticks)
    expected = export.decode(bundle.network, emulation, bundle.decoding)
    assert [int(row["label"]) for row in rows] == expected.label.tolist()


def test_a_bundle_runs_where_nothing_else_is_installed(checkpoint, tmp_path):
    out, images = tmp_path / "digits.bundle", tmp_path / "images.npy"
    cli.main(["export", "--ckpt_path", checkpoint, "--to", "bundle", "--out", str(out)])
    np.save(images, np.zeros((3, 64), np.uint8))
    program = (
        "import sys\n"
        "for name in ('lightning', 'torchmetrics', 'yaml', 'matplotlib', 'nir'):\n"
        "    sys.modules[name] = None\n"
        "from snn_temporal_plugins.cli import main\n"
        f"main(['emulate', {str(out)!r}, '--images', {str(images)!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "no decision" in done.stdout


def test_export_nir(checkpoint, tmp_path):
    out = tmp_path / "digits.nir"
    arguments = ["--to", "nir", "--out", str(out), "--ticks", "64"]
    cli.main(["export", "--ckpt_path", checkpoint, *arguments])
    assert out.is_file()


def test_export_for_sanafe_and_what_it_makes_of_it(checkpoint, tmp_path):
    from sklearn.datasets import load_digits

    images, out = tmp_path / "images.npy", tmp_path / "digits.sanafe"
    digits = load_digits().images[:5]
    np.save(images, (255 / 16 * digits).astype(np.uint8))
    arguments = ["--ckpt_path", checkpoint, "--bits", "5", "--ticks", "64"]
    to = ["export", *arguments, "--to", "sanafe", "--out", str(out)]
    with pytest.raises(SystemExit, match="needs --images"):
        cli.main(to)
    cli.main([*to, "--images", str(images)])
    plan = json.loads((out / "run.json").read_text())
    assert plan["steps"] == 64 and len(plan["ticks"]) == 5

    bundle = tmp_path / "digits.bundle"
    cli.main(["export", *arguments, "--to", "bundle", "--out", str(bundle)])
    network = export.read_bundle(bundle).network
    ticks = np.array(plan["ticks"]).reshape(5, *network.input_shape)
    predicted = export.predict_sanafe(network, ticks)
    assert (predicted.layer_ticks[-1] != export.SILENT).any()
    try:
        export.find_sanafe()
    except export.SimulatorError as error:
        pytest.skip(str(error))
    found = export.run_sanafe(network, ticks)
    assert export.sanafe_difference(predicted, found) is None


def test_emulate_with_constants_of_the_user(checkpoint, tmp_path, capsys):
    out, images = tmp_path / "digits.bundle", tmp_path / "images.npy"
    cli.main(["export", "--ckpt_path", checkpoint, "--to", "bundle", "--out", str(out)])
    np.save(images, np.full((3, 64), 200, np.uint8))
    profile = tmp_path / "mine.json"
    constants = {"clock_hz": 1e6, "static_power_w": 0, "operation_pj": 1}
    content = {
        "name": "a chip of ours",
        "nominal": constants,
        "variants": [{"operation_pj": 2}],
        "assumptions": ["measured on a napkin"],
    }
    profile.write_text(json.dumps(content))
    cli.main(["emulate", str(out), "--images", str(images), "--profile", str(profile)])
    text = capsys.readouterr().out
    assert "a chip of ours: estimate, not measurement" in text
    assert "up to the first output spike" in text and "napkin" in text
    with pytest.raises(SystemExit, match="sanafe_loihi, or a JSON file"):
        cli.main(["emulate", str(out), "--images", str(images), "--profile", "no"])


def test_report_measures_everything(checkpoint, tmp_path, capsys):
    out = tmp_path / "report"
    options = ["--out", str(out), "--ticks", "128", "--nir_samples", "20"]
    cli.main(["report", "--ckpt_path", checkpoint, *options])
    rows = json.loads((out / "results.json").read_text())
    assert rows["test samples"] == 360
    exact = float(rows["accuracy, float"].split()[0])
    name = "accuracy, integer emulator (6 bits, 128 ticks)"
    assert exact > 80 and abs(float(rows[name].split()[0]) - exact) < 3
    assert rows["first spikes that differ, Norse"] == 0
    assert rows["first spikes that differ, snnTorch"] == 0
    assert "report.html" in capsys.readouterr().out
    assert "<svg" in (out / "report.html").read_text() or (
        "data:image/svg" in (out / "report.html").read_text()
    )
    for part in ("ticks", "weights", "thresholds"):
        alone = float(rows[f"accuracy, {part} alone rounded"].split()[0])
        assert abs(alone - exact) < 3
    assert rows["samples of the bits and ticks picture"] == 360
    assert rows["registers of layer 1 (20 samples)"].startswith("G ")
    assert len(list(out.glob("*.png"))) == 7
    answers = json.loads((out / "answers.json").read_text())
    label, predicted = (torch.tensor(answers[name]) for name in ("label", "predicted"))
    assert 100 * float((label == predicted).double().mean()) == pytest.approx(
        exact, abs=0.006
    )
    curve = answers["accuracy over time, input windows"]
    assert 100 * curve["accuracy"][-1] == pytest.approx(exact, abs=0.006)
    assert rows["parameters"] == 64 * 200 + 200 * 10
    per_neuron = (
        float(part.split()[1]) for part in rows["spikes per neuron"].split(", ")
    )
    assert float(rows["spikes per sample"]) == pytest.approx(
        sum(n * share for n, share in zip((200, 10), per_neuron, strict=True)), abs=0.2
    )


@pytest.mark.parametrize("command", ["export", "emulate", "report"])
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"example: snn-temporal {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "--ckpt_path", "none.ckpt"], "no checkpoint at none.ckpt"),
        (["emulate", "nowhere", "--images", "x.npy"], "nowhere is no directory"),
    ],
)
def test_missing_files_are_named(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        cli.main(arguments)
    assert not list(tmp_path.iterdir())  # nothing half-written stays


def test_images_that_do_not_fit_are_named(checkpoint, tmp_path):
    out, images = tmp_path / "digits.bundle", tmp_path / "images.npy"
    cli.main(["export", "--ckpt_path", checkpoint, "--to", "bundle", "--out", str(out)])
    emulate = ["emulate", str(out), "--images", str(images)]
    with pytest.raises(SystemExit, match=r"images\.npy cannot be read"):
        cli.main(emulate)
    for shape in ((3, 65), (64,), (0, 64)):
        np.save(images, np.zeros(shape, np.uint8))
        with pytest.raises(SystemExit, match=r"images\.npy has shape"):
            cli.main(emulate)
    np.save(images, np.zeros((3, 64), np.uint8))
    np.save(tmp_path / "labels.npy", np.zeros(4, np.int64))
    with pytest.raises(SystemExit, match=r"labels\.npy has shape \(4,\)"):
        cli.main([*emulate, "--labels", str(tmp_path / "labels.npy")])


def test_checkpoint_without_its_run_is_refused(checkpoint, tmp_path):
    alone = tmp_path / "checkpoints" / "last.ckpt"
    alone.parent.mkdir()
    alone.write_bytes(Path(checkpoint).read_bytes())
    with pytest.raises(SystemExit, match=r"config\.yaml is missing"):
        cli.main(["report", "--ckpt_path", str(alone)])
