"""Sizes of layers, and the patches over which a convolution on spike times slides."""

from torch import Tensor

from snn_temporal_plugins.functional.arguments import require_convolution
from snn_temporal_plugins.kernels import slid, unfold


def require_sizes(weight_shape: tuple[int, ...]) -> None:
    """Raise unless every size of the weights is at least 1.

    Args:
        weight_shape: Shape of the weights.

    Raises:
        ValueError: one is smaller.
    """
    if min(weight_shape) < 1:
        raise ValueError(
            f"layer sizes are {weight_shape}; every one must be at least 1."
        )


def patches(
    spike_time: Tensor, weight: Tensor, stride: int, padding: int
) -> tuple[Tensor, list[int]]:
    """Cut spike times into the patches of a convolution; the border is silent.

    Args:
        spike_time: Spike times, (batch, channel, height, width), inf = silent.
        weight: Weights of the convolution, (map, channel, side, side).
        stride: Step between patches.
        padding: Silent border on every side.

    Returns:
        Patches, (batch, place, channel * side * side), and the number of places down
        and across.

    Raises:
        TypeError: as `require_convolution`.
        ValueError: as `require_convolution`.
    """
    require_convolution(spike_time, weight, stride, padding)
    side = weight.shape[2]
    size = slid(tuple(spike_time.shape[2:]), (side, side), stride, padding)
    return unfold(spike_time, side, stride, padding), size
