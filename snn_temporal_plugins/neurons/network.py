"""Networks from the papers' architecture strings."""

import math
import re
from typing import Any

from torch import nn

from snn_temporal_plugins.neurons.relpsp import ReLPSPConv2d, ReLPSPLinear
from snn_temporal_plugins.neurons.shaping import EarliestSpikePool2d, SilenceDropout
from snn_temporal_plugins.rules import get_rule

_GRAMMAR = (
    'allowed are sizes such as "784-400-10", or an image "28x28" (or "3x32x32") '
    'followed by "16C5" (16 maps, 5x5 kernel), "16C5P2" (with padding 2), "P2" (2x2 '
    "pooling) and dense sizes, the last of which is the number of classes"
)
# Initial weights, found by trial. Each layer takes a part of the time and must
# fire before the horizon. The first may be choosy (weight sum 0); a later one sees few
# and late spikes, so it gets steeper weights and a positive sum; the output starts with
# every class firing. Mean weight = weight sum / fan_in.
_FIRST, _LATER, _OUTPUT = (2.0, 0.0), (4.0, 4.0), (1.4, 12.0)  # gain, weight sum


def build_network(
    spec: str,
    *,
    rule: str = "stdbp",
    v_th: float = 1.0,
    t_max: float = 2.0,
    slope_clip: float | None = 5.0,
    dropout: float = 0.0,
    learn_threshold: bool = False,
) -> nn.Sequential:
    """Build a network on spike times from an architecture string.

    `"28x28-16C5-P2-32C5-P2-800-128-10"` is two valid 5x5 convolutions, each followed by
    2x2 earliest-spike pooling, and three dense layers; `"784-400-10"` is two dense
    layers.

    Args:
        spec: Architecture string.
        rule: Name of the learning rule, one on spike times.
        v_th: Threshold > 0 of every neuron, unitless.
        t_max: Horizon of every layer, in input windows.
        slope_clip: Upper limit of the factor 1/slope in the backward; None = exact.
        dropout: Probability that a hidden spike is made silent in training.
        learn_threshold: Whether thresholds are parameters.

    Returns:
        Spike times (batch, ...) in, spike times (batch, class) out; made of
        `ReLPSPConv2d`, `ReLPSPLinear`, `EarliestSpikePool2d`, `SilenceDropout` and
        `torch.nn.Flatten`. Its attribute `input_shape` is the shape of one sample.

    Raises:
        ValueError: the string cannot be read, a layer does not fit, or the rule is
            unknown or works on spike trains.
    """
    if get_rule(rule).domain != "spike time":
        raise ValueError(
            f"rule {rule!r} works on spike trains; {spec!r} is built of ReL-PSP "
            "layers, which need a rule on spike times such as 'stdbp'."
        )
    first, *parts = spec.strip().split("-")
    shape = input_shape = _input_shape(first, spec)
    if not parts or not parts[-1].isdigit():
        raise ValueError(
            f"architecture {spec!r} does not end in a dense layer; {_GRAMMAR}."
        )
    options: dict[str, Any] = {
        "v_th": v_th,
        "t_max": t_max,
        "slope_clip": slope_clip,
        "learn_threshold": learn_threshold,
        "rule": rule,
    }
    layers: list[nn.Module] = []
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        gain, weight_sum = _OUTPUT if last else _LATER if layers else _FIRST
        initial: dict[str, Any] = {"weight_gain": gain}
        if match := re.fullmatch(r"(\d+)[Cc](\d+)(?:[Pp](\d+))?", part):
            maps, side, padding = (int(group or 0) for group in match.groups())
            channels, height, width = _image(shape, part, spec)
            initial["weight_mean"] = weight_sum / (channels * side * side)
            layers.append(
                ReLPSPConv2d(
                    channels, maps, side, padding=padding, **initial, **options
                )
            )
            shape = _slide(maps, height, width, side, 1, padding, part, spec)
        elif match := re.fullmatch(r"[Pp](\d+)", part):
            side = int(match[1])
            channels, height, width = _image(shape, part, spec)
            layers.append(EarliestSpikePool2d(side))
            shape = _slide(channels, height, width, side, side, 0, part, spec)
            continue  # pooling has no neurons to silence
        elif part.isdigit():
            if len(shape) > 1:
                layers.append(nn.Flatten())
            fan_in = math.prod(shape)
            initial["weight_mean"] = weight_sum / fan_in
            layers.append(ReLPSPLinear(fan_in, int(part), **initial, **options))
            shape = (int(part),)
        else:
            raise ValueError(
                f"cannot read {part!r} in architecture {spec!r}; {_GRAMMAR}."
            )
        if dropout > 0 and not last:
            layers.append(SilenceDropout(dropout))
    network = nn.Sequential(*layers)
    network.input_shape = input_shape  # type: ignore[assignment]  # for the export
    return network


def _input_shape(text: str, spec: str) -> tuple[int, ...]:
    """The shape of one sample: (features,) or (channels, height, width)."""
    if not re.fullmatch(r"\d+(x\d+){0,2}", text):
        raise ValueError(f"cannot read {text!r} in architecture {spec!r}; {_GRAMMAR}.")
    sizes = tuple(int(size) for size in text.split("x"))
    return (1, *sizes) if len(sizes) == 2 else sizes


def _image(shape: tuple[int, ...], part: str, spec: str) -> tuple[int, ...]:
    if len(shape) != 3:
        raise ValueError(
            f"{part!r} in architecture {spec!r} needs an image; {_GRAMMAR}."
        )
    return shape


def _slide(
    maps: int,
    height: int,
    width: int,
    side: int,
    stride: int,
    padding: int,
    part: str,
    spec: str,
) -> tuple[int, ...]:
    """The shape after a window of the given side has moved over the image."""
    largest = min(height, width) + 2 * padding
    if not 1 <= side <= largest:
        raise ValueError(
            f"{part!r} in architecture {spec!r} does not fit an image of "
            f"{height}x{width}; the window may be 1 to {largest}."
        )
    return (
        maps,
        (height + 2 * padding - side) // stride + 1,
        (width + 2 * padding - side) // stride + 1,
    )
