"""The earliest spike of each window of a map, and where it was.

    t_out = min over the window of t_in

The gradient goes to the earliest input alone, to the first in memory order if several
are; into a silent window goes none. One pass over the map in either direction.
"""

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snn_temporal_plugins.kernels.image_runs import slid
from snn_temporal_plugins.kernels.threads import split

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")


def _shape(spike_time: Tensor, side: int, stride: int, padding: int) -> tuple[int, ...]:
    lead, image = spike_time.shape[:-2], spike_time.shape[-2:]
    return (*lead, *slid(tuple(image), (side, side), stride, padding))


def _reference(spike_time, side, stride, padding):
    maps = spike_time.reshape(-1, 1, *spike_time.shape[-2:])
    late, index = F.max_pool2d(-maps, side, stride, padding, return_indices=True)
    index = torch.where(late == -torch.inf, -1, index).to(torch.int32)
    shape = _shape(spike_time, side, stride, padding)
    return (-late).view(shape), index.view(shape)


def _backward_reference(grad, index, height, width):
    maps = grad.new_zeros(*grad.shape[:-2], height * width)
    share = torch.where(index < 0, 0, grad).flatten(-2)
    maps = maps.scatter_add(-1, index.clamp(min=0).long().flatten(-2), share)
    return maps.unflatten(-1, (height, width))


@_jit
def _pool(maps, width, side, stride, padding, pooled, index, start, stop):
    """Pool the maps start..stop, each flat."""
    height = maps.shape[1] // width
    silent = maps.dtype.type(np.inf)
    down, across = pooled.shape[1:]
    for m in range(start, stop):
        image = maps[m]
        for y in range(down):
            top = y * stride - padding
            y0, y1 = max(0, top), min(top + side, height)
            for x in range(across):
                left = x * stride - padding
                x0, x1 = max(0, left), min(left + side, width)
                best, first = silent, -1
                for row in range(y0, y1):
                    for i in range(row * width + x0, row * width + x1):
                        t = image[i]
                        earlier = (t < best) | (t != t)  # NaN: the next layer will say
                        best = t if earlier else best
                        first = i if earlier else first
                pooled[m, y, x], index[m, y, x] = best, first


@_jit
def _spread(grad, index, maps, start, stop):
    """Add the gradients of the maps start..stop, each flat, where they belong."""
    for m in range(start, stop):
        image = maps[m]
        image[:] = 0
        for k in range(index.shape[1]):
            i = index[m, k]
            if i >= 0:
                image[i] += grad[m, k]


@torch.library.custom_op("snn_temporal_plugins::earliest_spike", mutates_args=())
def earliest_spike(
    spike_time: Tensor, side: int, stride: int, padding: int
) -> tuple[Tensor, Tensor]:
    """The earliest spike of each window, differentiable.

    Args:
        spike_time: Spike times, (..., height, width), inf = silent.
        side: Side of the square window.
        stride: Step between windows.
        padding: Silent border on every side.

    Returns:
        Earliest times, (..., down, across), inf = silent, and the place of each in its
        map, row * width + column, int32, -1 where silent.
    """
    return _reference(spike_time, side, stride, padding)


@earliest_spike.register_kernel("cpu")
def _(spike_time, side, stride, padding):
    if spike_time.dtype not in (torch.float32, torch.float64):
        return _reference(spike_time, side, stride, padding)
    pooled = spike_time.new_empty(_shape(spike_time, side, stride, padding))
    index = torch.empty_like(pooled, dtype=torch.int32)
    maps = spike_time.flatten(-2).flatten(0, -2).contiguous().numpy()
    out, places = (x.flatten(0, -3).numpy() for x in (pooled, index))
    settings = spike_time.shape[-1], side, stride, padding
    split(
        lambda start, stop: _pool(maps, *settings, out, places, start, stop),
        len(maps),
        pooled.numel() * side * side,
    )
    return pooled, index


@earliest_spike.register_fake
def _(spike_time, side, stride, padding):
    pooled = spike_time.new_empty(_shape(spike_time, side, stride, padding))
    return pooled, torch.empty_like(pooled, dtype=torch.int32)


@torch.library.custom_op(
    "snn_temporal_plugins::earliest_spike_backward", mutates_args=()
)
def earliest_spike_backward(
    grad: Tensor, index: Tensor, height: int, width: int
) -> Tensor:
    """Gradient of `earliest_spike`: to each earliest input what its windows got.

    Args:
        grad: Gradient of the earliest times, (..., down, across).
        index: As returned by `earliest_spike`.
        height: Height of its input.
        width: Width of its input.

    Returns:
        The gradient of the input, (..., height, width).
    """
    return _backward_reference(grad, index, height, width)


@earliest_spike_backward.register_kernel("cpu")
def _(grad, index, height, width):
    if grad.dtype not in (torch.float32, torch.float64):
        return _backward_reference(grad, index, height, width)
    out = grad.new_empty(*grad.shape[:-2], height, width)
    gradient, places, maps = (
        x.flatten(-2).flatten(0, -2).contiguous().numpy() for x in (grad, index, out)
    )
    split(
        lambda start, stop: _spread(gradient, places, maps, start, stop),
        len(maps),
        out.numel(),
    )
    return out


@earliest_spike_backward.register_fake
def _(grad, index, height, width):
    return grad.new_empty(*grad.shape[:-2], height, width)


def _save(ctx, inputs, output):
    ctx.image = inputs[0].shape[-2:]
    ctx.save_for_backward(output[1])


def _backward(ctx, grad, _grad_index):
    (index,) = ctx.saved_tensors
    return earliest_spike_backward(grad, index, *ctx.image), None, None, None


earliest_spike.register_autograd(_backward, setup_context=_save)
