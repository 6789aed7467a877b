"""The networks of examples/trained/ are what their table says, and run everywhere."""

import hashlib
import importlib.util
import json
import runpy
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from snn_temporal_plugins import cli, export
from snn_temporal_plugins.export.bundle import reader
from tests.export.rtl.programs import need
from tests.real_data import folder

pytest.importorskip("lightning")
from snn_temporal_plugins.commands.checkpoint import load_model
from snn_temporal_plugins.training import MNIST

ROOT = Path(__file__).parents[1]
TRAINED = ROOT / "examples" / "trained"
TABLE = json.loads((TRAINED / "trained.json").read_text(encoding="utf-8"))
FEW = 1000

shipped = pytest.mark.parametrize("name", sorted(TABLE))


def ship():
    """The script that made them."""
    sys.path.insert(0, str(ROOT / "results"))  # it imports the script beside it
    try:
        path = ROOT / "results" / "ship.py"
        spec = importlib.util.spec_from_file_location("ship", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def test_split():
    return MNIST(root=folder("SNN_TEMPORAL_MNIST", "mnist")).splits.test


def pixels(test_split, bundle, number):
    shape = bundle.network.input_shape
    return test_split.x[:number].reshape(-1, *shape).numpy()


def answers(bundle, images):
    labels = []
    for part in np.array_split(images, max(1, len(images) // 500)):
        ticks = export.encode_pixels(bundle.lut, part)
        emulation = export.emulate(bundle.network, ticks)
        labels.append(export.decode(bundle.network, emulation, bundle.decoding).label)
    return np.concatenate(labels)


def test_every_folder_is_in_the_table_and_the_page_is_made_from_it():
    folders = sorted(path.name for path in TRAINED.iterdir() if path.is_dir())
    assert folders == sorted(TABLE)
    page = (TRAINED / "README.md").read_text(encoding="utf-8")
    assert page == ship().page(TABLE)


@shipped
def test_the_files_are_those_that_were_measured(name):
    for file, known in TABLE[name]["files"].items():
        content = (TRAINED / name / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == known["sha256"]
    here = (TRAINED / name / "config.yaml").read_text(encoding="utf-8")
    assert "root: null" in here and "/work" not in here


def members(path):
    """What is in a zip, but for the version of the package that wrote it."""
    with zipfile.ZipFile(path) as file:
        inside = {name: file.read(name) for name in file.namelist()}
    manifest = json.loads(inside.pop("manifest.json"))
    del manifest["producer"]["version"]
    return manifest, inside


@shipped
def test_the_bundle_is_whole_and_that_of_the_checkpoint(name, tmp_path):
    bundle = export.read_bundle(TRAINED / name / "network.zip")  # runs golden cases
    assert len(bundle.golden) > 10
    assert bundle.network.num_ticks == TABLE[name]["ticks"]
    out = tmp_path / "network.zip"
    checkpoint = str(TRAINED / name / "checkpoints" / "last.ckpt")
    settings = [
        "--bits",
        str(TABLE[name]["bits"]),
        "--ticks",
        str(TABLE[name]["ticks"]),
    ]
    to = ["--to", "bundle", "--out", str(out)]
    cli.main(["export", "--ckpt_path", checkpoint, *settings, *to])
    assert members(out) == members(TRAINED / name / "network.zip")


@shipped
@pytest.mark.data
def test_accuracy_on_the_first_images_is_the_recorded_one(name, test_split):
    bundle = export.read_bundle(TRAINED / name / "network.zip")
    label = test_split.label[:FEW].numpy()
    right = answers(bundle, pixels(test_split, bundle, FEW)) == label
    assert int(right.sum()) == TABLE[name][f"right, integers, first {FEW}"]

    model = load_model(TRAINED / name / "checkpoints" / "last.ckpt")
    x = torch.from_numpy(pixels(test_split, bundle, FEW)) / 255
    with torch.inference_mode():
        parts = [model.answer(model(part)).predicted_class for part in x.split(250)]
    right = int((torch.cat(parts).numpy() == label).sum())
    # floats are added in another order on another processor
    assert right == pytest.approx(TABLE[name][f"right, float, first {FEW}"], abs=1)


@shipped
@pytest.mark.data
@pytest.mark.sweep
def test_accuracy_on_all_images_is_the_recorded_one(name, test_split):
    bundle = export.read_bundle(TRAINED / name / "network.zip")
    right = (
        answers(bundle, pixels(test_split, bundle, None)) == test_split.label.numpy()
    )
    assert len(right) == TABLE[name]["test samples"] == 10_000
    assert int(right.sum()) == TABLE[name]["right, integers"]


@pytest.mark.data
def test_plain_python_answers_an_image_as_the_emulator_does(test_split):
    """The program that every bundle holds."""
    bundle = export.read_bundle(TRAINED / "mnist_stdbp" / "network.zip")
    image = pixels(test_split, bundle, 1)
    plain = runpy.run_path(reader.__file__)
    read = plain["read_bundle"](TRAINED / "mnist_stdbp" / "network.zip")
    answer = plain["run"](read, [read["lut"][pixel] for pixel in image.tobytes()])
    ticks = export.encode_pixels(bundle.lut, image)
    decision = export.decode(
        bundle.network, export.emulate(bundle.network, ticks), bundle.decoding
    )
    found = answer["answer"]["label"], answer["answer"]["tick"]
    assert found == (decision.label[0], decision.tick[0])


@pytest.mark.data
@pytest.mark.sweep
@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_the_core_gives_every_spike_of_real_images(simulator, test_split):
    need(simulator)
    bundle = export.read_bundle(TRAINED / "mnist_stdbp" / "network.zip")
    ticks = export.encode_pixels(bundle.lut, pixels(test_split, bundle, 2))
    chip = export.smallest_chip(bundle.network, 4)
    mapping = export.map_network(bundle.network, chip)
    found = export.simulate(mapping, ticks, simulator)
    emulation = export.emulate(bundle.network, ticks)
    assert export.first_difference(mapping, emulation, found) is None


@pytest.mark.data
def test_the_commands_take_the_checkpoint(test_split, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SNN_TEMPORAL_MNIST", folder("SNN_TEMPORAL_MNIST", "mnist"))
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.setenv("PL_SEED_WORKERS", "0")
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    checkpoint = str(TRAINED / "mnist_stdbp" / "checkpoints" / "last.ckpt")
    cli.main(["test", "--ckpt_path", checkpoint])
    torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    accuracy = next(float(line.split()[3]) for line in lines if "test_acc" in line)
    entry = TABLE["mnist_stdbp"]
    right = entry["right, float"] / entry["test samples"]
    assert accuracy == pytest.approx(right, abs=3e-4)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("images", [False, pytest.param(True, marks=pytest.mark.data)])
def test_the_example_runs_with_images_and_without(
    images, monkeypatch, capsys, tmp_path
):
    program = str(ROOT / "examples" / "trained_mnist.py")
    root = folder("SNN_TEMPORAL_MNIST", "mnist") if images else str(tmp_path)
    monkeypatch.setattr(sys, "argv", [program, "--root", root])
    runpy.run_path(program, run_name="__main__")
    out = capsys.readouterr().out
    assert "golden cases are right" in out
    if images:
        entry = TABLE["mnist_stdbp"]
        accuracy = 100 * entry["right, integers"] / entry["test samples"]
        assert f"test accuracy {accuracy:.2f} % of 10,000 images" in out
        assert "estimate, not measurement" in out
    else:
        assert "no images to run: MNIST is not in" in out


def test_a_slim_checkpoint_is_the_same_bytes_each_time(tmp_path):
    script = ship()
    path = TRAINED / "mnist_stdbp" / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    large = {**content, "optimizer_states": [torch.zeros(9)], "loops": {}}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        torch.save(script.slim(large), tmp_path / name / "last.ckpt")
    one, other = ((tmp_path / name / "last.ckpt").read_bytes() for name in "ab")
    assert one == other and len(one) < 1.01 * path.stat().st_size
    assert "optimizer_states" not in torch.load(
        tmp_path / "a" / "last.ckpt", weights_only=True
    )
