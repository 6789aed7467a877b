"""The papers' architecture strings, read into a list of parts."""

import math
import re
from typing import NamedTuple

_GRAMMAR = (
    'allowed are sizes such as "784-400-10", or an image "28x28" (or "3x32x32") '
    'followed by "16C5" (16 maps, 5x5 kernel), "16C5P2" (with padding 2), "P2" (2x2 '
    "pooling), dense sizes and recurrent ones like R400; the last is the number of "
    "classes"
)
_MNIST: tuple[int, ...] = (
    1,
    28,
    28,
)  # what papers mean where a string starts with a convolution


class Convolution(NamedTuple):
    """`16C5P2`: maps, side of the kernel, padding; channels are those before it."""

    channels: int
    maps: int
    side: int
    padding: int


class Pool(NamedTuple):
    """`P2`: side of the window, which is also its step."""

    side: int


class Dense(NamedTuple):
    """`800`: inputs and neurons; `flatten` where an image comes before it.

    `R800` is recurrent.
    """

    inputs: int
    neurons: int
    flatten: bool
    recurrent: bool = False


class Architecture(NamedTuple):
    """What an architecture string says.

    Attributes:
        input_shape: Shape of one sample: (features,) or (channels, height, width).
        parts: The layers in order; the last one is dense.
    """

    input_shape: tuple[int, ...]
    parts: tuple[Convolution | Pool | Dense, ...]


def read_architecture(spec: str) -> Architecture:
    """Read an architecture string such as `28x28-16C5-P2-32C5-P2-800-128-10`.

    Args:
        spec: Architecture string. One that starts with a convolution means images of
            28x28, as the papers on MNIST write it.

    Returns:
        The input shape and the parts with all their sizes.

    Raises:
        ValueError: the string cannot be read, or a layer does not fit.
    """
    first, *words = spec.strip().split("-")
    if re.fullmatch(r"\d+[Cc]\d+([Pp]\d+)?", first):
        input_shape, words = _MNIST, [first, *words]
    else:
        input_shape = _input_shape(first, spec)
    shape = input_shape
    if not words or not words[-1].isdigit():
        raise ValueError(
            f"architecture {spec!r} does not end in a dense layer; {_GRAMMAR}."
        )
    parts: list[Convolution | Pool | Dense] = []
    for word in words:
        if match := re.fullmatch(r"(\d+)[Cc](\d+)(?:[Pp](\d+))?", word):
            maps, side, padding = (int(group or 0) for group in match.groups())
            channels, height, width = _image(shape, word, spec)
            parts.append(Convolution(channels, maps, side, padding))
            shape = _slide(maps, height, width, side, 1, padding, word, spec)
        elif match := re.fullmatch(r"[Pp](\d+)", word):
            side = int(match[1])
            channels, height, width = _image(shape, word, spec)
            parts.append(Pool(side))
            shape = _slide(channels, height, width, side, side, 0, word, spec)
        elif match := re.fullmatch(r"([Rr]?)(\d+)", word):
            neurons, recurrent = int(match[2]), bool(match[1])
            parts.append(Dense(math.prod(shape), neurons, len(shape) > 1, recurrent))
            shape = (neurons,)
        else:
            raise ValueError(
                f"cannot read {word!r} in architecture {spec!r}; {_GRAMMAR}."
            )
    return Architecture(input_shape, tuple(parts))


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
