"""What an untrained network scores on MNIST by the metric of SSTDP's released code.

    python results/released_metric.py --root FOLDER

The network is 784-400-10 with the released settings: 255 ticks, threshold 100, weights
from U(0, 5) and U(0, 48). *released*: right if the label is among the outputs that are
first, which are all of them if none fires. *first index*: of several that are first the
one with the smallest index, silence is wrong. Per cent of the 10,000 test images.
Result: results/released_metric.json.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from summary import summary

from snn_temporal_plugins import IFLinear, latency_ticks
from snn_temporal_plugins.training import MNIST
from snn_temporal_plugins.training.data import Split

TABLE = Path(__file__).parent / "released_metric.json"
T, V_TH = 255, 100.0
LAYERS = ((784, 400, 5), (400, 10, 48))  # inputs, outputs, largest weight


@torch.no_grad()
def one_seed(seed: int, test: Split) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    time = latency_ticks(test.x.flatten(1).float() / 255, T, x_min=-1.0)
    for inputs, outputs, largest in LAYERS:
        layer = IFLinear(inputs, outputs, num_steps=T, v_th=V_TH, compat="released")
        layer.weight.uniform_(0, largest, generator=generator)
        time = layer(time)
    first = time.amin(1)
    among = time.gather(1, test.label[:, None])[:, 0] == first
    smallest = (time.argmin(1) == test.label) & (first < math.inf)
    return {
        "seed": seed,
        "released": 100 * among.float().mean().item(),
        "first index": 100 * smallest.float().mean().item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", help="folder of MNIST")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    test = MNIST(root=arguments.root).splits.test
    seeds = [one_seed(seed, test) for seed in arguments.seeds]
    table = {"summary": summary(seeds), "seeds": seeds}
    print(json.dumps(table, indent=1))
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
