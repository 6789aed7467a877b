"""`snn-temporal report` on several runs: one page, side by side."""

import argparse
import csv
import json
import math
import os
import shutil
from pathlib import Path

import pytest
import torch

from snn_temporal_plugins import cli
from tests.viz.test_report import Page

pytest.importorskip("lightning")
from snn_temporal_plugins.commands import comparison, first_spikes, report
from snn_temporal_plugins.commands.checkpoint import fit_seconds
from snn_temporal_plugins.commands.measured import Measured
from snn_temporal_plugins.commands.runs import find_run, load_metrics
from snn_temporal_plugins.viz import Best
from snn_temporal_plugins.viz.numbers import LatencyCurve, epoch_means

CONFIGS = Path(__file__).parents[1] / "examples" / "configs"
QUICK = ("--nir_samples", "10", "--sweep_samples", "0")


def fit(config, *settings):
    bar = ("--trainer.enable_progress_bar", "false")
    path = str(CONFIGS / f"{config}.yaml")
    cli.main(["fit", "-c", path, "--trainer.max_epochs", "2", *bar, *settings])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of first spikes and one on ticks, all on the digits."""
    root = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.setenv("PL_SEED_WORKERS", "0")
        fit("digits_stdbp", "--data.validation", "100")
        fit("digits_stdbp", "--model.network", "64-30-10", "--data.validation", "100")
        fit("digits_sstdp")
    torch.set_num_threads(threads)
    digits = root / "runs" / "digits"
    return [digits / "version_0", digits / "version_1", root / "runs/digits_sstdp"]


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    """The comparison, and the folder of it."""
    first, second, ticks = runs
    out = tmp_path_factory.mktemp("out")
    checkpoint = second / "checkpoints" / "last.ckpt"
    paths = [str(first), str(checkpoint), str(ticks / "version_0")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_spikes, "READERS", {})  # as where no host is installed
        cli.main(["report", "--ckpt_path", *paths, "--out", str(out), *QUICK])
    return Page((out / "report.html").read_text("utf-8")), out


def rows(page, number=0):
    """Cells of the tables by their row's head, as text."""
    found = {}
    for tag, text in page.text:
        if tag == "th":
            head = text
            found[head] = []
        elif tag in ("td", "strong") and page.all("th"):
            found[head].append(text)
    return found


def test_runs_stand_side_by_side(page, runs):
    table, names = rows(page[0]), ["digits/version_0", "digits/version_1"]
    assert set(names) <= set(table) and "digits_sstdp/version_0" in table
    saved = [
        json.loads((run / "report" / "results.json").read_text())
        for run in (*runs[:2], runs[2] / "version_0")
    ]
    assert table["accuracy, float"] == [one["accuracy, float"] for one in saved]
    assert table["spikes per inference"] == [one["spikes per sample"] for one in saved]
    assert table["bits and ticks of the integers"] == [
        "6 bits, 256 ticks",
        "6 bits, 256 ticks",
        "6 bits, 64 ticks",
    ]
    assert table["parameters"] == [
        f"{n:,}" for n in (64 * 200 + 2000, 64 * 30 + 300, 64 * 200 + 2000)
    ]
    assert all(cell.endswith(" s") for cell in table["training"])
    best = max(table["accuracy, float"], key=lambda cell: float(cell.split()[0]))
    assert best in page[0].said("strong")


def test_only_settings_that_differ_are_shown(page):
    table = rows(page[0])
    assert table["model"] == ["TemporalClassifier"] * 2 + ["TickClassifier"]
    assert table["model.network"][:2] == ["64-200-10", "64-30-10"]
    assert table["data.validation"] == ["100", "100", "200"]
    assert not {"trainer.accelerator", "data", "name", "data.root"} & set(table)


def test_samples_on_which_two_networks_differ_are_counted(page, runs):
    answers = [
        json.loads((run / "report" / "answers.json").read_text()) for run in runs[:2]
    ]
    right = [
        [p == t for p, t in zip(one["predicted"], one["label"], strict=True)]
        for one in answers
    ]
    more = sum(b and not a for a, b in zip(*right, strict=True))
    less = sum(a and not b for a, b in zip(*right, strict=True))
    table = rows(page[0])
    assert table["right where digits/version_0 is not"][:2] == ["–", str(more)]
    assert table["not right where digits/version_0 is"][:2] == ["–", str(less)]
    assert len(answers[0]["label"]) == 360


def test_the_page_says_what_does_not_compare(page):
    notes = " ".join(page[0].said("p"))
    assert "different losses" in notes and "different numbers of bits" in notes
    assert "Not tested on the same samples" not in notes
    headings = [text for tag, text in page[0].text if tag == "a"]
    assert [text.split(". ")[1] for text in headings] == [
        "Learning curves",
        "Accuracy over time",
        "Classes",
        "Mistakes",
    ]
    assert len(list(page[1].glob("*.png"))) == 4


def test_a_report_that_is_there_is_taken_and_the_page_is_the_same(
    page, runs, tmp_path, capsys
):
    paths = [str(run) for run in (*runs[:2], runs[2] / "version_0")]
    cli.main(["report", "--ckpt_path", *paths, "--out", str(tmp_path), *QUICK])
    assert capsys.readouterr().out.count("taken from its report") == 3
    html = (tmp_path / "report.html").read_bytes()
    assert html == (page[1] / "report.html").read_bytes()
    assert str(runs[0]).encode() not in html, "no path of this machine"


def test_an_older_report_or_one_of_other_integers_is_not_taken(runs, page, tmp_path):
    run = find_run(str(shutil.copytree(runs[0], tmp_path / "run")))
    six, four = (argparse.Namespace(bits=bits, ticks=256) for bits in (6, 4))
    known = report._known(run, six)
    assert known is not None and len(known.label) == 360
    assert report._known(run, four) is None
    assert report._known(find_run(str(runs[2] / "version_0")), six) is not None
    later = (run.folder / "report" / "results.json").stat().st_mtime + 1
    os.utime(run.checkpoint, (later, later))
    assert report._known(run, six) is None


def test_what_cannot_work_is_said_before_anything_is_written(runs, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(SystemExit, match="is given twice"):
        paths = [str(runs[0]), str(runs[0])]
        cli.main(["report", "--ckpt_path", *paths, "--out", str(out)])
    with pytest.raises(SystemExit, match="no checkpoint at"):
        paths = [str(runs[0]), str(tmp_path / "none.ckpt")]
        cli.main(["report", "--ckpt_path", *paths, "--out", str(out)])
    assert not out.exists()


def test_a_broken_report_is_named(runs, page, tmp_path):
    copy = shutil.copytree(runs[0], tmp_path / "copy")
    (copy / "report" / "answers.json").write_text('{"label": [1]}')
    paths = [str(copy), str(runs[1])]
    with pytest.raises(SystemExit, match=r"holds no whole report .* delete it"):
        cli.main(["report", "--ckpt_path", *paths, "--out", str(tmp_path / "o")])


def test_metrics_of_a_resumed_run_begin_at_the_first_epoch(tmp_path):
    def run(number, epochs, start=None):
        folder = tmp_path / "digits" / f"version_{number}"
        folder.mkdir(parents=True)
        came_from = f"runs/digits/version_{start}/checkpoints/last.ckpt"
        ckpt = "null" if start is None else came_from
        (folder / "config.yaml").write_text(f"ckpt_path: {ckpt}\n")
        with (folder / "metrics.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", "train_acc"])
            writer.writerows((epoch, number + epoch / 100) for epoch in epochs)
        return folder

    run(0, [0, 1, 2])
    run(1, [1, 2, 3], start=0)  # the epochs 1 and 2 of the first came to nothing
    last = run(2, [4], start=1)
    curve = epoch_means(load_metrics(last))["accuracy", "train"]
    assert curve == {0: 0.0, 1: 1.01, 2: 1.02, 3: 1.03, 4: 2.04}


def test_a_checkpoint_knows_how_long_training_took(runs, tmp_path):
    checkpoint = runs[0] / "checkpoints" / "last.ckpt"
    before = fit_seconds(checkpoint)
    content = torch.load(checkpoint, weights_only=True)
    timer = content["callbacks"]["Timer"]["time_elapsed"]
    assert before == timer["train"] > 0
    del content["callbacks"]["Timer"]
    torch.save(content, tmp_path / "old.ckpt")
    assert fit_seconds(tmp_path / "old.ckpt") is None


def measured(predicted, label, **more):
    answers = torch.tensor(predicted), torch.tensor(label)
    right = (answers[0] == answers[1]).double().mean()
    rows = {"accuracy, float": f"{100 * right:.2f} %", **more}
    curve = LatencyCurve(torch.tensor([0.5]), right[None], right[None])
    return Measured(rows, {}, answers[1], answers[0], curve)


def compared(result, data="MNIST", **model):
    config = {
        "seed_everything": 0,
        "model": {"class_path": "a.TemporalClassifier", "init_args": model},
        "data": {"class_path": f"b.{data}", "init_args": {"root": "/x"}},
        "trainer": {"max_epochs": 2, "callbacks": [{"class_path": "c"}]},
    }
    return comparison.Compared(config, [], None, result)


def test_runs_on_other_data_are_not_set_against_each_other(tmp_path):
    hostile = "<script>&\"'"
    runs = {
        "one": compared(measured([0, 1, 1], [0, 1, 2])),
        hostile: compared(measured([0, 1, 2], [0, 1, 2]), lr=2.0),
        "three": compared(measured([1, 1], [0, 1]), data="Digits"),
    }
    comparison.write_comparison(tmp_path / "p.html", runs)
    page = Page((tmp_path / "p.html").read_text("utf-8"))
    (note,) = (p for p in page.said("p") if p.startswith("Not tested on the same"))
    assert f"one, {hostile} (MNIST); three (Digits)" in note
    assert page.said("strong") == [], "the best of easier data is not the best"
    assert page.all("script") == []
    table = rows(page)
    assert table["right where one is not"] == ["–", "1", "–"]
    assert table["sign test: p"] == ["–", "1", "–"]
    assert table["model.lr"] == ["–", "2.0", "–"]
    figures = [image["alt"] for image in page.all("img")]
    assert figures == ["Accuracy over time", "Classes of MNIST", "Mistakes of MNIST"]


@pytest.mark.parametrize(
    ("more", "less", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (3, 3, 1.0), (8, 2, 112 / 1024)],
)
def test_the_sign_test_is_exact(more, less, p):
    assert comparison._sign_test(more, less) == pytest.approx(p)
    assert comparison._sign_test(less, more) == pytest.approx(p)
    stats = pytest.importorskip("scipy.stats")
    if more + less:
        exact = stats.binomtest(more, more + less).pvalue
        assert comparison._sign_test(more, less) == pytest.approx(exact)


def test_names_are_what_tells_folders_apart():
    def names(*paths):
        return comparison.run_names([Path(path) for path in paths])

    assert names("/r/a/v0", "/r/b/v0") == ["a", "b"]
    assert names("/r/a/v0", "/r/a/v1") == ["v0", "v1"]
    assert names("/r/a/v0", "/r/b/v1") == ["a/v0", "b/v1"]
    assert names("/r", "/r/a") == ["r", "r/a"]


def test_the_best_is_every_best():
    row = {"": "accuracy, float", "a": "9.00 %", "b": "10.00 %", "c": "10.00 %"}
    best = comparison._with_best({**row, "d": None})
    marked = [name for name, value in best.items() if isinstance(value, Best)]
    assert marked == ["b", "c"]
    assert comparison._number(None) == -math.inf


def test_a_folder_or_a_checkpoint_names_a_run(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.touch()
    assert find_run(str(best)).folder == tmp_path == find_run(str(tmp_path)).folder
    assert find_run(str(tmp_path)).checkpoint.name == "last.ckpt"
