"""`snn-temporal export | emulate | report` on a network on ticks, from its config."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from snn_temporal_plugins import cli, export

pytest.importorskip("lightning")
DIGITS = str(
    Path(__file__).parent.parent / "examples" / "configs" / "digits_sstdp.yaml"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network trained for a few epochs."""
    root = tmp_path_factory.mktemp("run")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.setenv("PL_SEED_WORKERS", "0")
        bar = ("--trainer.enable_progress_bar", "false")
        cli.main(["fit", "-c", DIGITS, "--trainer.max_epochs", "8", *bar])
    torch.set_num_threads(threads)
    return str(root / "runs/digits_sstdp/version_0/checkpoints/last.ckpt")


def test_silence_ties_and_additions_are_logged(checkpoint):
    metrics = Path(checkpoint).parent.parent / "metrics.csv"
    with metrics.open(newline="") as file:
        columns = set(next(csv.reader(file)))
    assert {"val_silent", "val_tied", "val_additions_to_decision"} <= columns
    assert {"train_silent", "train_tied", "dead_neurons"} <= columns


def test_a_bundle_keeps_the_ticks_and_the_code_of_the_network(checkpoint, tmp_path):
    out = str(tmp_path / "digits.bundle")
    to = ("--to", "bundle", "--out", out, "--bits", "8", "--ticks", "99")
    cli.main(["export", "--ckpt_path", checkpoint, *to])
    bundle = export.read_bundle(out)
    assert bundle.network.response == "step"
    assert bundle.network.num_ticks == 64, "the network's own, not those asked for"
    lut = export.latency_ticks_lut(bundle.network)
    assert np.array_equal(bundle.lut, lut) and lut[255] == 0 and lut[1] == 63


def test_report_breaks_ties_and_the_readers_agree(checkpoint, tmp_path, capsys):
    pytest.importorskip("norse")
    pytest.importorskip("snntorch")
    out = tmp_path / "report"
    settings = ["--out", str(out), "--bits", "8", "--nir_samples", "40"]
    cli.main(["report", "--ckpt_path", checkpoint, *settings])
    rows = json.loads((out / "results.json").read_text(encoding="utf-8"))
    accuracy = {
        name: float(rows[name].split()[0]) for name in rows if "accuracy" in name
    }
    assert set(accuracy) == {
        "accuracy, float",
        "accuracy, integer emulator (8 bits, 64 ticks)",
        "accuracy, weights alone rounded",
    }, "a NIR reader gives no potential to break a tie by"
    assert all(value > 60 for value in accuracy.values())
    assert rows["first spikes that differ, Norse"] == 0
    assert rows["first spikes that differ, snnTorch"] == 0
    tied, undecided = rows["tied, float"], rows["no decision, float"]
    assert float(tied.split()[0]) > 0 <= float(undecided.split()[0])
    assert (out / "accuracy_against_latency.png").stat().st_size > 5_000
    additions = [rows[f"additions {of}"] for of in ("per sample", "up to the decision")]
    total, early = (int(text.replace(",", "")) for text in additions)
    assert 0 < early <= total < 64 * 200 + 200 * 10
    assert "estimate, not measurement" in capsys.readouterr().out


def test_predictions_break_ties(checkpoint, tmp_path):
    out = tmp_path / "predictions.csv"
    cli.main(["predict", "--ckpt_path", checkpoint, "--predictions", str(out)])
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 360
    decided = [row for row in rows if row["predicted_class"] != "-1"]
    assert len(decided) > 300
    assert all(float(row["decision_time"]).is_integer() for row in decided)
