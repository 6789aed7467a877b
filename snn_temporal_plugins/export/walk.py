"""What every walk through a network shares: its leaves, their names, its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import DenseLayer, FlattenLayer, Layer
from snn_temporal_plugins.neurons import PSPDropout, SilenceDropout

__all__ = ["check_flatten", "find_input_shape", "leaves", "vanishes"]

_VANISH = (
    SilenceDropout,
    PSPDropout,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Identity,
)
_FLATTEN_FROM = (1, 2, -3)  # after the batch, after time and batch, the image


def leaves(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of nested `nn.Sequential` with their dotted names."""
    if isinstance(module, nn.Sequential):
        # Not named_children(): it leaves out a module that stands twice.
        for index, child in enumerate(module):
            yield from leaves(child, f"{name}.{index}" if name else str(index))
    else:
        yield name, module


def vanishes(module: nn.Module) -> bool:
    """Return whether a layer does nothing once training is over."""
    return isinstance(module, _VANISH)


def check_flatten(label: str, module: nn.Flatten) -> None:
    """Refuse a flattening that is not of all neurons of a step."""
    if module.start_dim not in _FLATTEN_FROM or module.end_dim != -1:
        raise ExportError(
            ExportCode.GEOMETRY,
            f"{label} flattens dimensions {module.start_dim} to {module.end_dim}; "
            "allowed: nn.Flatten(), and nn.Flatten(2) on spike trains",
        )


def find_input_shape(
    network: nn.Module, layers: Sequence[Layer], given: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Return the shape of one sample, from the caller, the network or its first layer.

    Args:
        network: what may have an attribute `input_shape`.
        layers: its layers in topological order.
        given: what the caller says.

    Raises:
        ExportError: if none of them tells.
    """
    shape = given if given is not None else getattr(network, "input_shape", None)
    if shape is not None:
        return tuple(int(n) for n in shape)
    first = next(layer for layer in layers if not isinstance(layer, FlattenLayer))
    if isinstance(first, DenseLayer):
        return (first.weight.shape[1],)
    raise ExportError(
        ExportCode.INPUT_SHAPE,
        "the network starts with a convolution or a pool, so its input could have any "
        "size; give input_shape=(channels, rows, columns)",
    )
