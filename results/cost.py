"""What MNIST networks cost as bundles, estimated, beside the one published point.

    python results/cost.py [--root FOLDER] [--sanafe SAMPLES]

The networks of `ROWS` are trained as `results/train.py` trains them (seed 0), or taken
from there, and exported as bundles of 6 bits and 256 ticks.

Counts are exact, of the 10,000 test images: the integer emulator. Energy and latency
are estimates, not measurements: these counts times the constants of each profile, with
the interval over what the constants may be as well. Beside them: the same network in
SANA-FE on the first images (`make sanafe`), after every spike and count of it has been
found equal to ours; and the cycles of the reference core with one PE, which are exact.
Result: results/cost.json.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

from readme import cost_table
from train import fit

from snn_temporal_plugins.cli import main as snn_temporal
from snn_temporal_plugins.export import (
    Bundle,
    CostEstimate,
    SimulatorError,
    core_cycles,
    emulate,
    encode_pixels,
    estimate_cost,
    map_network,
    memory_words,
    predict_sanafe,
    read_bundle,
    run_sanafe,
    sanafe_difference,
    smallest_chip,
)
from snn_temporal_plugins.export.bundle.profiles import (
    PROFILES,
    PUBLISHED_LATENCY_MS,
    PUBLISHED_POWER_MW,
)
from snn_temporal_plugins.export.command import cost_rows, decide
from snn_temporal_plugins.training import MNIST

TABLE = Path(__file__).parent / "cost.json"
ROWS = ("mnist_stdbp", "mnist_sstdp", "mnist_cnn_stdbp")
PUBLISHED = {
    "power_mw": PUBLISHED_POWER_MW,
    "latency_ms": PUBLISHED_LATENCY_MS,
    "source": "arXiv 2003.11837",
}
FORMULAS = {
    "model": "sum over layers of U + SOP + S + T",
    "reference core, one PE": "sum over layers of n T + SOP + 2 S + 3 T + n + 1, "
    "then 2 T + output spikes + 1",
}


def shape(bundle: Bundle) -> str:
    """The sizes of the layers, such as 784-400-10."""
    network = bundle.network
    sizes = [math.prod(one) for one in (network.input_shape, *network.shapes)]
    return "-".join(map(str, sizes))


def numbers(cost: CostEstimate) -> dict[str, Any]:
    return {
        "energy_uj": cost.energy_uj,
        "energy_interval_uj": cost.energy_interval_uj,
        "latency_ms": cost.latency_ms,
        "latency_interval_ms": cost.latency_interval_ms,
        "breakdown_uj": cost.breakdown_uj,
    }


def in_sanafe(bundle: Bundle, pixels: Any) -> dict[str, Any]:
    """SANA-FE's own estimate, once all of its spikes and counts are ours."""
    ticks = encode_pixels(bundle.lut, pixels)
    found = run_sanafe(bundle.network, ticks, time_limit=7200)
    different = sanafe_difference(predict_sanafe(bundle.network, ticks), found)
    if different:
        raise RuntimeError(different)
    return {
        "samples": len(ticks),
        "energy_uj": 1e-6 * found.energy_pj.mean(),
        "latency_ms": 1e3 * found.latency_s.mean(),
    }


def exported(row: str, root: str | None) -> Bundle:
    """The bundle of a trained network."""
    checkpoint = fit(row, 0, root) / "checkpoints" / "last.ckpt"
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "bundle")
        settings = ["--to", "bundle", "--bits", "6", "--ticks", "256", "--out", path]
        snn_temporal(["export", "--ckpt_path", str(checkpoint), *settings])
        return read_bundle(path)


def one_bundle(bundle: Bundle, pixels: Any, sanafe: int) -> dict[str, Any]:
    network = bundle.network
    pixels = pixels.reshape(-1, *network.input_shape)
    answers = decide(bundle, pixels, bundle.decoding)
    counts = answers.counts
    estimates = {}
    for name, make in PROFILES.items():
        profile = make()
        full, early = cost_rows(network, answers, profile).values()
        estimates[name] = {
            "profile": profile.name,
            "all ticks": numbers(full),
            "up to the first output spike": numbers(early),
            "assumptions": profile.assumptions,
        }
    mapping = map_network(network, smallest_chip(network, 1))
    part = encode_pixels(bundle.lut, pixels[:1000])
    emulation = emulate(network, part)
    cycles = {
        "samples": len(part),
        "model": estimate_cost(network, emulation.counts).cycles,
        "reference core, one PE": float(core_cycles(mapping, emulation).mean()),
    }
    words = {
        name: {"read": float(a.sum(1).mean()), "written": float(b.sum(1).mean())}
        for name, (a, b) in memory_words(network, counts).items()
    }
    row = {
        "network": shape(bundle),
        "response": network.response,
        "ticks": network.num_ticks,
        "samples": len(pixels),
        "spikes": counts.spikes.mean(axis=0).tolist(),
        "additions": counts.operations.mean(axis=0).tolist(),
        "updates": counts.updates.mean(axis=0).tolist(),
        "packets": float(counts.packets.mean()),
        "memory words": words,
        "ticks up to the first output spike": float(answers.early_ticks.mean()),
        "estimates": estimates,
        "cycles": cycles,
    }
    if sanafe:
        try:
            row["sanafe"] = in_sanafe(bundle, pixels[:sanafe])
        except SimulatorError as error:
            print(f"left out: {error}")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", help="folder of MNIST")
    parser.add_argument(
        "--sanafe", type=int, default=20, help="images for SANA-FE; 0: none"
    )
    arguments = parser.parse_args()
    pixels = MNIST(root=arguments.root).splits.test.x.numpy()
    rows = [
        one_bundle(exported(row, arguments.root), pixels, arguments.sanafe)
        for row in ROWS
    ]
    for row in rows:
        print("\n".join(cost_table(row, PUBLISHED)))
        print(f"cycles per image: {row['cycles']}\n")
    for name, make in PROFILES.items():
        print(f"assumptions of {name}:")
        print("".join(f"- {sentence}\n" for sentence in make().assumptions))
    table = {
        "published": PUBLISHED,
        "cycles": FORMULAS,
        "rows": rows,
    }
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
