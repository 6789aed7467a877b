"""Images per second of the integer emulators, from pixels to all spikes and counts.

    OMP_NUM_THREADS=1 python benchmarks/emulators.py --root FOLDER

Two networks are trained on MNIST for a moment, until they spike as trained ones do, and
rounded to 5 bits and 256 ticks: 784-400-10 and 28x28-16C5-P2-1600-10. Every round runs
each emulator once, in this process: the closed form on one thread and on two, the
tick-driven one and, in three rounds and on a few images, the bundle's own reader of
plain Python. Rates are medians over the rounds, by the wall clock with the 10th and
90th percentile, and per second of processor time, which other work on the machine does
not stretch as much. How many times faster than the tick-driven emulator is taken within
the round, by processor time. All of them must find the same spikes and counts. Result:
benchmarks/results/emulators.json.
"""

import argparse
import json
import logging
import runpy
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from paired import ratios

from snn_temporal_plugins.export import (
    IntegerNetwork,
    emulate,
    emulate_by_tick,
    encode_pixels,
    latency_lut,
    quantise,
    write_bundle,
)
from snn_temporal_plugins.export.bundle import read
from snn_temporal_plugins.training import MNIST, TemporalClassifier

RESULTS = Path(__file__).parent / "results" / "emulators.json"
Pair = tuple[float, float]
READER = Path(read.__file__).with_name("reader.py")
BITS, TICKS = 5, 256
# training batches, then images for the closed form, by tick, for the plain reader
NETWORKS = {
    "784-400-10": (900, 10_000, 1_000, 3),
    "28x28-16C5-P2-1600-10": (60, 1_000, 50, 1),
}


def trained(spec: str, data: MNIST, batches: int, shape: tuple) -> IntegerNetwork:
    torch.manual_seed(0)
    model = TemporalClassifier(spec, dropout=0.2, lr=2e-3)
    trainer = L.Trainer(
        max_steps=batches,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    return quantise(model.network, bits=BITS, num_ticks=TICKS, input_shape=shape)


def plain_reader(
    network: IntegerNetwork, lut: NDArray[np.uint16], folder: Path
) -> Callable[[NDArray[np.uint8]], list[dict]]:
    write_bundle(network, folder, lut=lut, golden=1)
    reader = SimpleNamespace(**runpy.run_path(str(READER)))
    bundle = reader.read_bundle(folder)

    def run(pixels: NDArray[np.uint8]) -> list[dict]:
        images = pixels.reshape(len(pixels), -1).tolist()
        return [reader.run(bundle, [bundle["lut"][p] for p in x]) for x in images]

    return run


def rates(run: Callable[[NDArray[np.uint8]], object], pixels: NDArray) -> Pair:
    """Images per second of the wall clock, and per second of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    run(pixels)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return len(pixels) / wall, len(pixels) / processor


def assert_equal(closed, stepped, plain: list[dict]) -> None:
    for one, other in zip(closed.layer_ticks, stepped.layer_ticks, strict=True):
        np.testing.assert_array_equal(one[: len(other)], other)
    for name in ("spikes", "operations", "updates"):
        one, other = (getattr(run.counts, name) for run in (closed, stepped))
        np.testing.assert_array_equal(one[: len(other)], other)
        found = [answer["answer"][name] for answer in plain]
        np.testing.assert_array_equal(one[: len(found)], found)


def measure(spec: str, data: MNIST, rounds: int) -> list[dict[str, object]]:
    batches, many, some, few = NETWORKS[spec]
    images = torch.cat([x for x, _ in data.test_dataloader()])[:many]
    pixels = (images * 255).round().byte().numpy()
    network = trained(spec, data, batches, pixels.shape[1:])
    lut = latency_lut(network)

    def closed(pixels):
        return emulate(network, encode_pixels(lut, pixels))

    def by_tick(pixels):
        return emulate_by_tick(network, encode_pixels(lut, pixels))

    with tempfile.TemporaryDirectory() as folder:
        plain = plain_reader(network, lut, Path(folder) / "bundle")
    result = closed(pixels)
    assert_equal(result, by_tick(pixels[:some]), plain(pixels[:few]))
    runs = {
        "closed form, 2 threads": (closed, many, 2),
        "closed form": (closed, many, 1),
        "tick by tick": (by_tick, some, 1),
        "plain Python reader": (plain, few, 1),
    }
    found: dict[str, list[Pair]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name, (run, number, threads) in runs.items():
            if name == "plain Python reader" and turn >= 3:
                continue
            torch.set_num_threads(threads)
            found[name].append(rates(run, pixels[:number]))
    torch.set_num_threads(1)
    spikes = result.counts.spikes.mean(axis=0)
    rows = []
    for name, (_, number, threads) in runs.items():
        by_wall = sorted(wall for wall, _ in found[name])
        by_processor = [processor for _, processor in found[name]]
        stepped = [processor for _, processor in found["tick by tick"]]
        rows.append(
            {
                "network": spec,
                "emulator": name.split(",")[0],
                "threads": threads,
                "images": number,
                "images_per_s": statistics.median(by_wall),
                "p10": by_wall[len(by_wall) // 10],
                "p90": by_wall[-1 - len(by_wall) // 10],
                "images_per_cpu_s": statistics.median(by_processor),
                "times_tick_by_tick": ratios(
                    list(zip(stepped, by_processor, strict=False))
                )["ratio"],
                "spikes_per_image": spikes.round(1).tolist(),
                "operations_per_image": float(result.counts.operations.sum(1).mean()),
            }
        )
        row = rows[-1]
        print(
            f"{spec:22} {name:24} {row['images_per_s']:10.1f} images/s "
            f"[{row['p10']:.1f}, {row['p90']:.1f}]  "
            f"{row['images_per_cpu_s']:.1f} per CPU s  "
            f"{row['times_tick_by_tick']:.3g}x",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", help="folder of MNIST")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--only", choices=NETWORKS, help="one network; writes nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows = []
    for spec in [arguments.only] if arguments.only else NETWORKS:
        flat = "C" not in spec
        data = MNIST(root=arguments.root, batch_size=128, flat=flat)
        rows += measure(spec, data, arguments.rounds)
    if not arguments.only:
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
