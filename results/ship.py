"""Make the trained networks of examples/trained/ from the runs of results/train.py.

    python results/ship.py [--rows mnist_stdbp mnist_cnn_stdbp] [--root FOLDER]

Each network becomes a folder that looks like that of a run: settings, learning curve
and a checkpoint of the weights alone, in half precision, which `snn-temporal test`,
`report` and `export` take as they take any other; beside them the bundle that `export`
makes of this checkpoint. The same runs give the same bytes. The seed is chosen
beforehand, not by accuracy. Measured on the test samples of MNIST, silence wrong:
the shipped weights as floats, where ties are wrong too, and the shipped bundle in the
integer emulator, where ties go to the larger potential. The numbers go to
examples/trained/trained.json, and with their provenance to README.md there. Networks
that are not named stay as they are; without `--rows` all that are there are made anew.
"""

import argparse
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import torch
import yaml
from train import newest

from snn_temporal_plugins.cli import main as snn_temporal
from snn_temporal_plugins.commands.checkpoint import load_model, read_checkpoint
from snn_temporal_plugins.export import read_bundle
from snn_temporal_plugins.export.command import decide
from snn_temporal_plugins.training import MNIST

TRAINED = Path(__file__).parent.parent / "examples" / "trained"
RUNS = Path("runs/results")
BITS = {"mnist_stdbp": 5}  # of a weight, else 6
TICKS = 256
# What the commands read of a checkpoint, the state of the optimiser left out.
_KEPT = (
    "epoch",
    "global_step",
    "pytorch-lightning_version",
    "hyper_parameters",
    "snn_temporal_class",
)
_PART = 500  # samples that run at once
_FEW = 1000  # the first test samples, for tests that have little time


def slim(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The weights of a checkpoint, in half precision, and what builds the model."""
    weights = {name: value.half() for name, value in checkpoint["state_dict"].items()}
    return {**{name: checkpoint[name] for name in _KEPT}, "state_dict": weights}


def ship(row: str, seed: int) -> Path:
    """Write the folder of one network, but for its numbers."""
    run = newest(RUNS / f"{row}_seed{seed}")
    if run is None:
        raise SystemExit(
            f"no run in {RUNS / row}_seed{seed}: python results/train.py --rows {row}"
        )
    folder = TRAINED / row
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    config |= {"name": row, "ckpt_path": None}
    config["data"]["init_args"]["root"] = None  # found as always
    text = yaml.safe_dump(config, sort_keys=False)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    (folder / "metrics.csv").write_bytes((run / "metrics.csv").read_bytes())
    last = folder / "checkpoints" / "last.ckpt"
    torch.save(slim(read_checkpoint(run / "checkpoints" / "last.ckpt")), last)
    bits, bundle = BITS.get(row, 6), folder / "network.zip"
    settings = ["--bits", str(bits), "--ticks", str(TICKS), "--to", "bundle"]
    bundle.unlink(missing_ok=True)
    snn_temporal(["export", "--ckpt_path", str(last), *settings, "--out", str(bundle)])
    return folder


@torch.inference_mode()
def measure(folder: Path, root: str | None) -> dict[str, int]:
    """How many of the test samples, and of the first of them, are right."""
    model = load_model(folder / "checkpoints" / "last.ckpt")
    bundle = read_bundle(folder / "network.zip")
    test = MNIST(root=root).splits.test
    pixels = test.x.reshape(-1, *bundle.network.input_shape)
    answers = [
        model.answer(model(part.float() / 255)).predicted_class
        for part in pixels.split(_PART)
    ]
    right = torch.cat(answers) == test.label
    label = decide(bundle, pixels.numpy(), bundle.decoding).decision.label
    integer = torch.from_numpy(label) == test.label
    return {
        "test samples": len(right),
        "right, float": int(right.sum()),
        "right, integers": int(integer.sum()),
        f"right, float, first {_FEW}": int(right[:_FEW].sum()),
        f"right, integers, first {_FEW}": int(integer[:_FEW].sum()),
    }


def about(file: Path) -> dict[str, Any]:
    """What identifies a file, and how much of the repository it takes."""
    content = file.read_bytes()
    return {
        "bytes": len(content),
        "bytes in git": len(zlib.compress(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def describe(folder: Path, row: str, seed: int) -> dict[str, Any]:
    """Where a network comes from."""
    content = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    return {
        "network": content["hyper_parameters"]["network"],
        "rule": content["hyper_parameters"]["rule"],
        "bits": BITS.get(row, 6),
        "ticks": TICKS,
        "seed": seed,
        "epochs": content["epoch"] + 1,
        "command": f"python results/train.py --rows {row} --seeds {seed}",
        "files": {
            name: about(folder / name)
            for name in ("checkpoints/last.ckpt", "network.zip")
        },
    }


def share(entry: dict[str, Any], what: str) -> str:
    return f"{100 * entry[f'right, {what}'] / entry['test samples']:.2f} %"


def page(table: dict[str, Any]) -> str:
    """README.md of the folder."""
    lines = [
        "# Trained networks",
        "",
        "Small enough to come with the repository; not part of the installed package.",
        "Written by `python results/ship.py`, numbers included: do not edit.",
        "",
        "| folder | network | rule | test accuracy | integers | bits, ticks |",
        "|---|---|---|---|---|---|",
    ]
    for row, entry in table.items():
        lines.append(
            f"| [{row}]({row}) | MNIST {entry['network']} | {entry['rule'].upper()} | "
            f"{share(entry, 'float')} | {share(entry, 'integers')} | "
            f"{entry['bits']}, {entry['ticks']} |"
        )
    lines += [
        "",
        "All 10,000 test images. Silence counts as wrong, and so do ties of floats;",
        "ties of integers go to the larger potential. No seed or epoch was chosen.",
        "",
        "| file | kB (in git) | SHA-256 |",
        "|---|---|---|",
    ]
    for row, entry in table.items():
        for name, file in entry["files"].items():
            sizes = f"{file['bytes'] / 1000:,.0f} ({file['bytes in git'] / 1000:,.0f})"
            lines.append(f"| {row}/{name} | {sizes} | `{file['sha256'][:16]}…` |")
    lines += ["", "| folder | trained by | epochs | from |", "|---|---|---|---|"]
    for row, entry in table.items():
        config = f"[{row}.yaml](../configs/{row}.yaml)"
        epochs = f"{entry['epochs']} | {config}"
        lines.append(f"| {row} | `{entry['command']}` | {epochs} |")
    lines += [
        "",
        "`last.ckpt` holds the weights in half precision, without the optimiser: to go",
        "on training, train anew. Nothing is unpickled when it is loaded. A folder is",
        "like that of a run, so every command works:",
        "```sh",
        "python examples/trained_mnist.py",
        "snn-temporal verify examples/trained/mnist_stdbp/network.zip",
        "snn-temporal cosim examples/trained/mnist_stdbp/network.zip",
        "snn-temporal report --ckpt_path examples/trained/*/ --out trained_report",
        "```",
        "`network.zip` is what `snn-temporal export --to bundle` makes of `last.ckpt`,",
        "byte for byte.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", nargs="+", help="names of configs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", help="folder of MNIST")
    arguments = parser.parse_args()
    file = TRAINED / "trained.json"
    table = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for row in arguments.rows or list(table):
        folder = ship(row, arguments.seed)
        numbers = measure(folder, arguments.root)
        table[row] = {**describe(folder, row, arguments.seed), **numbers}
        print(row, json.dumps(table[row], indent=1), flush=True)
    table = dict(sorted(table.items()))
    file.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    (TRAINED / "README.md").write_text(page(table), encoding="utf-8")


if __name__ == "__main__":
    main()
