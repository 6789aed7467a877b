"""What each part of the recipe for time-coded nets is worth, on held-out samples.

    OMP_NUM_THREADS=1 python results/ablation.py --root FOLDER

Each row of `ROWS` trains Fashion-MNIST 784-200-10 by the recipe of
examples/configs/fashion_mnist_stdbp.yaml, shortened by `SHORT`, and with one thing
changed. Accuracy is that on 5,000 training samples held out, after the last epoch, ties
and silence wrong; the test set is not touched. A seed sets weights, dropout, the order
of the samples and which are held out, so that a row is compared with the recipe seed by
seed. So short a training wants a larger learning rate and less regularisation than the
40 epochs of the config.
What is written here as a module is not in the package: it gained too little, or it is
another neuron. A seed that is done is not run again. Table: results/ablation.json.
"""

import argparse
import json
import logging
import math
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from snn_temporal_plugins import SilenceDropout, build_network
from snn_temporal_plugins.neurons import ReLPSPLinear
from snn_temporal_plugins.training import FashionMNIST, TemporalClassifier

HERE = Path(__file__).parent
TABLE = HERE / "ablation.json"
CONFIG = HERE.parent / "examples" / "configs" / "fashion_mnist_stdbp.yaml"
NETWORK, EPOCHS, HELD_OUT = "784-200-10", 8, 5000
_SIZES = [int(size) for size in NETWORK.split("-")]
# the rate that ends highest in so few epochs; weights start as they usually do
SHORT = {"lr": 2e-3, "hidden_weight_scale": 1.0}


class ConstantRate(TemporalClassifier):
    """The learning rate stays as it is."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW without a schedule."""
        return torch.optim.AdamW(self.parameters(), self.hparams["lr"], weight_decay=0)


class TimeNormalisation(nn.Module):
    """Batch normalisation of spike times: mean 1 and deviation 0.35 in each layer.

    One mean and one deviation for the whole layer, of the batch in training and running
    ones else, so that both could be folded into the next layer's weights and threshold.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(1.0))
        self.register_buffer("deviation", torch.tensor(0.35))

    def forward(self, spike_time: Tensor) -> Tensor:
        """Spike times to spike times of the same shape."""
        fired = spike_time < math.inf
        mean, deviation = self.mean, self.deviation
        if self.training:
            times = spike_time[fired]
            mean, deviation = times.mean(), times.std() + 1e-3
            self.mean.lerp_(mean.detach(), 0.05)
            self.deviation.lerp_(deviation.detach(), 0.05)
        times = torch.where(fired, spike_time, mean.detach())
        return torch.where(fired, 1 + 0.35 * (times - mean) / deviation, math.inf)


class SinceFirstSpike(nn.Module):
    """Times count from the first spike of the layer; 1.5 later is silence.

    Which output fires first does not change if all times move: only the horizon does.
    """

    def forward(self, spike_time: Tensor) -> Tensor:
        """Spike times to spike times of the same shape."""
        first = spike_time.min(1, keepdim=True).values.clamp(max=1e3)
        since = spike_time - first
        return torch.where(since <= 1.5, since, math.inf)


class _DynamicThreshold(torch.autograd.Function):
    """t = (2 + S) / (1 + W), element-wise clipped gradients (DTA-TTFS, ICCV 2023)."""

    @staticmethod
    def forward(ctx, slope, moment):
        crossing = (2 + moment) / torch.where(slope > -1, 1 + slope, 1)
        above = slope >= 1 + moment  # over the threshold when the window opens
        time = torch.where(above, 1.0, crossing) - 1
        fired = above | ((slope > -1) & (time >= 0) & (time <= 1))
        inside = fired & (time > 0) & (time < 1)
        ctx.save_for_backward(slope, moment, inside)
        return torch.where(fired, time, math.inf)

    @staticmethod
    def backward(ctx, grad):
        slope, moment, inside = ctx.saved_tensors
        gain = 1 / torch.where(inside, 1 + slope, 1)
        by_slope = (-(2 + moment) * gain**2).clamp(-11, 11)
        by_moment = gain.clamp(-11, 11)
        return (
            torch.where(inside, grad * by_slope, 0),
            torch.where(inside, grad * by_moment, 0),
        )


class DynamicThreshold(nn.Linear):
    """ReL-PSP neurons whose threshold 2 - t falls in a window of their own."""

    def forward(self, spike_time: Tensor) -> Tensor:
        """Times in [0, 1] to times in [0, 1] of the next window."""
        fired = (spike_time < math.inf).to(spike_time)
        moment = F.linear(spike_time.where(fired > 0, 0), self.weight)
        return _DynamicThreshold.apply(F.linear(fired, self.weight), moment)


class ConstantSlope(nn.Linear):
    """Neurons whose potential rises with slope 1 once their window opens (B1 model).

    With a = 1 - t they are ReLU units. The output's times are not bounded.
    """

    def forward(self, spike_time: Tensor) -> Tensor:
        """Times up to 1 to times up to 1; later ones are silent but in the output."""
        a = super().forward((1 - spike_time).clamp(min=0))
        hidden = self.out_features != _SIZES[-1]
        return torch.where(a > 0, 1 - a, math.inf) if hidden else 1 - a


def between(module: type[nn.Module]) -> Callable[[dict], nn.Module]:
    """The recipe's network, and something behind its hidden layer."""

    def build(model: dict) -> nn.Module:
        names = "t_max", "slope_clip", "dropout", "hidden_weight_scale"
        options = {name: model[name] for name in names}
        hidden, *rest = build_network(NETWORK, **options)
        return nn.Sequential(hidden, module(), *rest)

    return build


def dynamic_threshold(model: dict) -> nn.Module:
    """Its hidden layer has a dynamic threshold; ReL-PSP neurons decide."""
    inputs, hidden, outputs = _SIZES
    first = DynamicThreshold(inputs, hidden, bias=False)
    nn.init.kaiming_normal_(first.weight, a=math.sqrt(3))
    last = ReLPSPLinear(
        hidden,
        outputs,
        t_max=model["t_max"],
        slope_clip=model["slope_clip"],
        weight_mean=12 / hidden,
    )
    return nn.Sequential(first, SilenceDropout(model["dropout"]), last)


def constant_slope(model: dict) -> nn.Module:
    """Every layer has a constant slope."""
    inputs, hidden, outputs = _SIZES
    layers = ConstantSlope(inputs, hidden), ConstantSlope(hidden, outputs)
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], SilenceDropout(model["dropout"]), layers[1])


# what is said of the change, and the change
ROWS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "no flips": {"data": {"flip": False}},
    "shifts by one pixel": {"data": {"shift": 1}},
    "no silence dropout": {"model": {"dropout": 0.0}},
    "no penalty on dead neurons": {"model": {"dead_neuron": 0.0}},
    "1/slope not limited": {"model": {"slope_clip": None}},
    "1/slope limited to 5": {"model": {"slope_clip": 5.0}},
    "constant learning rate": {"classifier": ConstantRate},
    "learning rate 1e-3": {"model": {"lr": 1e-3}},
    "learning rate 5e-4": {"model": {"lr": 5e-4}},
    "learning rate 2.5e-4": {"model": {"lr": 2.5e-4}},
    "time normalisation": {"network": between(TimeNormalisation)},
    "times since the layer's first spike": {"network": between(SinceFirstSpike)},
    "dynamic threshold window, hidden layer": {"network": dynamic_threshold},
    "constant slope (a ReLU network)": {
        "network": constant_slope,
        "model": {"alpha": 1.0},
    },
    "hidden weights start at half, t_max 3": {
        "model": {"hidden_weight_scale": 0.5, "t_max": 3.0}
    },
}


def held_out_accuracy(row: dict[str, Any], seed: int, root: str | None) -> float:
    """Train one seed of a row; per cent of the held-out samples that it gets right."""
    settings = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    model = settings["model"] | SHORT | row.get("model", {}) | {"network": NETWORK}
    data = {**settings["data"]["init_args"], **row.get("data", {})}
    data |= {"root": root, "validation": HELD_OUT, "seed": seed}
    L.seed_everything(seed, verbose=False)
    if "network" in row:
        model["network"] = row["network"](model)
    trainer = L.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    classifier = row.get("classifier", TemporalClassifier)(**model)
    module = FashionMNIST(**data)
    trainer.fit(classifier, datamodule=module)
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    (found,) = trainer.validate(classifier, datamodule=module, verbose=False)
    return round(100 * found["val_acc"], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", help="folder of Fashion-MNIST")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    table: dict[str, Any] = {"network": NETWORK, "epochs": EPOCHS, "rows": {}}
    if TABLE.is_file():
        table = json.loads(TABLE.read_text(encoding="utf-8"))
    for name in dict.fromkeys(["the recipe", *arguments.rows]):
        entry = table["rows"].setdefault(name, {"held_out": {}})
        for seed in map(str, arguments.seeds):
            if seed not in entry["held_out"]:
                start = time.time()
                accuracy = held_out_accuracy(ROWS[name], int(seed), arguments.root)
                entry["held_out"][seed] = accuracy
                print(name, seed, accuracy, f"{time.time() - start:.0f} s", flush=True)
        values = entry["held_out"]
        recipe = table["rows"]["the recipe"]["held_out"]
        entry["mean"] = round(statistics.mean(values.values()), 2)
        entry["change"] = round(
            statistics.mean(values[seed] - recipe[seed] for seed in values), 2
        )
        TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
