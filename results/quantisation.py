"""What it costs to become integers: networks of the README, three seeds each.

    python results/quantisation.py [--rows mnist_stdbp mnist_cnn_stdbp]

Each row is trained as `results/train.py` trains it, or taken from there, and fine-tuned
as integers by the config ROW_qat.yaml, from its own weights; `BITS` lists for which
widths of a weight. Measured on the test samples, in per cent; silence counts as wrong:

- `float`: the network as trained;
- `errors`: one source of rounding error at a time, without fine-tuning; ties between
  first spikes count as wrong;
- `sweep`: the integer network for 2 to 8 bits and 16 to 1,024 ticks, without
  fine-tuning; ties likewise;
- `integers`: the exported bundle's network in the integer emulator, for each width
  before (`rounded`) and after (`tuned`) fine-tuning; `answer`: ties broken as the
  bundle says, by the larger potential; `strict`: ties count as wrong.

Nothing is chosen by the test set: the settings of the configs were chosen on 5,000
held-out training samples (`--data.validation 5000`), bits and ticks beforehand. What
is done is not done again: runs, and the rows of each seed, are in runs/results/. The
table goes to results/quantisation.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import yaml
from summary import summary
from train import CONFIGS, fit

from snn_temporal_plugins import export
from snn_temporal_plugins.commands.checkpoint import load_model
from snn_temporal_plugins.commands.first_spikes import integer_network
from snn_temporal_plugins.export.bundle.encoder import encode_pixels
from snn_temporal_plugins.training import (
    MNIST,
    TemporalClassifier,
    quantisation_sweep,
    rounding_errors,
)

TABLE = Path(__file__).parent / "quantisation.json"
LAST = "checkpoints/last.ckpt"
PART = 500  # samples that run at once
RULES = {"answer": export.Decoding(), "strict": export.Decoding(tie="reject")}
BITS = {"mnist_stdbp": (5, 2), "mnist_cnn_stdbp": (6,)}
TICKS = 256


def emulated(model: TemporalClassifier, bits: int, data: MNIST) -> dict[str, float]:
    """Accuracy of the exported integers, by both rules for ties."""
    network, lut = integer_network(model, bits, TICKS)
    test = data.splits.test
    right = dict.fromkeys(RULES, 0)
    for start in range(0, len(test.label), PART):
        pixels = test.x[start : start + PART].reshape(-1, *network.input_shape).numpy()
        label = test.label[start : start + PART].numpy()
        emulation = export.emulate(network, encode_pixels(lut, pixels))
        for name, rule in RULES.items():
            decision = export.decode(network, emulation, rule)
            answer = decision.label[~decision.unbroken]
            right[name] += int((answer == label[~decision.unbroken]).sum())
    return {name: 100 * count / len(test.label) for name, count in right.items()}


def measure(row: str, trained: Path, tuned: dict[int, Path], data: MNIST) -> dict:
    """All numbers of one seed."""
    x = data.splits.test.x.reshape(-1, *data.sample_shape).float() / 255
    label = data.splits.test.label
    model = load_model(trained / LAST)
    errors = rounding_errors(model, x, label, bits=BITS[row][0], num_ticks=TICKS)
    sweep = quantisation_sweep(model, x, label)
    integers = {
        f"{bits} bits": {
            "rounded": emulated(model, bits, data),
            "tuned": emulated(load_model(run / LAST), bits, data),
            "tune_seconds": (run / "fit_seconds.txt").read_text(encoding="ascii"),
        }
        for bits, run in tuned.items()
    }
    return {
        "float": 100 * errors["float"],
        "errors": {name: 100 * share for name, share in errors.items()},
        "sweep": {
            f"{count} ticks": {
                f"{bits} bits": 100 * share for bits, share in of.items()
            }
            for count, of in sweep.items()
        },
        "integers": integers,
        "fit_seconds": (trained / "fit_seconds.txt").read_text(encoding="ascii"),
    }


def one_seed(row: str, seed: int, root: str | None) -> dict[str, Any]:
    """Train, fine-tune and measure one seed, as far as that is not done."""
    trained = fit(row, seed, root)
    callback = "trainer.callbacks.init_args"
    start = {f"{callback}.start": str(trained / LAST)}
    tuned = {
        bits: fit(
            f"{row}_qat/{bits}", seed, root, {**start, f"{callback}.bits": str(bits)}
        )
        for bits in BITS[row]
    }
    kept = trained / "quantisation.json"
    if not kept.is_file():
        torch.set_num_threads(1)
        config = yaml.safe_load((CONFIGS / f"{row}.yaml").read_text(encoding="utf-8"))
        flat = config["data"]["init_args"].get("flat", True)
        found = measure(row, trained, tuned, MNIST(root=root, flat=flat))
        kept.write_text(json.dumps(found), encoding="utf-8")
    return {"seed": seed, **json.loads(kept.read_text(encoding="utf-8"))}


def rounded(seeds: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of each number, to 0.001 points."""
    return {
        name: {key: round(value, 3) for key, value in found.items()}
        for name, found in summary(seeds).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", nargs="+", default=[*BITS], choices=BITS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--root", help="folder of MNIST")
    arguments = parser.parse_args()
    table = json.loads(TABLE.read_text()) if TABLE.is_file() else {}
    for row in arguments.rows:
        seeds = [one_seed(row, seed, arguments.root) for seed in arguments.seeds]
        table[row] = {"ticks": TICKS, "summary": rounded(seeds), "seeds": seeds}
        TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        brief = {k: v for k, v in table[row]["summary"].items() if "sweep" not in k}
        print(row, json.dumps(brief, indent=1), flush=True)


if __name__ == "__main__":
    main()
