"""Weight gradient of an STDP window behind a convolution, summed over its places.

The window of `kernels.stdp_window` on every patch of a map. No patch is stored: the
inputs of a place lie side by side in the band of its row of places, as in
`kernels.first_crossing_conv`.

Source: as in `kernels.stdp_window`.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snn_temporal_plugins.kernels.first_crossing_conv import (
    LANES,
    jit,
    kernel_of,
    parts_of,
    read_band,
    unfold,
)
from snn_temporal_plugins.kernels.stdp_window import stdp_weight_gradient
from snn_temporal_plugins.kernels.threads import split


def _reference(
    error, spike_time, post, side, stride, padding, a, b, tau, at_zero, offset, border
):
    padded = F.pad(spike_time, (padding,) * 4, value=border)
    patches = unfold(padded, side, stride, 0).flatten(0, 1)
    errors, posts = (x.movedim(1, 3).flatten(0, 2) for x in (error, post))
    grad = stdp_weight_gradient(errors, patches, posts, a, b, tau, at_zero, offset)
    return grad.view(error.shape[1], spike_time.shape[1], side, side)


@jit
def _step_window(t, e, u, a, b, row):
    u = min(u, np.finfo(row.dtype).max)  # finite and <= u, for a silent output too
    strengthen, weaken = -e * a, e * b
    for i in range(row.shape[0]):
        row[i] += strengthen if t[i] <= u else weaken


@jit
def _exponential_window(t, e, u, a, b, tau, at_zero, offset, row):
    for i in range(row.shape[0]):
        if t[i] == u:
            row[i] -= e * at_zero
        elif t[i] < u:
            row[i] -= e * a * (np.exp((t[i] - u) / tau) - offset)
        else:
            row[i] += e * b * (np.exp((u - t[i]) / tau) - offset)


@jit
def _windows(
    error,
    spike_time,
    post,
    shape,
    slide,
    a,
    b,
    tau,
    at_zero,
    offset,
    border,
    grad,
    start,
    stop,
):
    """Add what the samples start..stop give; grad is (out, column, channel, row)."""
    stride, padding = slide
    channels, _, width, side = shape
    maps, down, across = post.shape[1:]
    inputs = grad.shape[1]
    band = np.empty((width + 2 * padding) * channels * side + LANES, grad.dtype)
    for n in range(start, stop):
        for y in range(down):
            top = y * stride - padding
            band[:] = border
            read_band(spike_time[n], shape, padding, top, band)
            for j in range(maps):
                for x in range(across):
                    e, u = error[n, j, y, x], post[n, j, y, x]
                    if e == 0:
                        continue
                    left = x * stride * channels * side
                    t, row = band[left : left + inputs], grad[j]
                    if tau == 0:
                        _step_window(t, e, u, a, b, row)
                    else:
                        _exponential_window(t, e, u, a, b, tau, at_zero, offset, row)


@torch.library.custom_op(
    "snn_temporal_plugins::stdp_conv2d_weight_gradient", mutates_args=()
)
def stdp_conv2d_weight_gradient(
    error: Tensor,
    spike_time: Tensor,
    post_spike_time: Tensor,
    side: int,
    stride: int,
    padding: int,
    a: float,
    b: float,
    tau: float,
    at_zero: float,
    offset: float,
    border: float,
) -> Tensor:
    """`stdp_weight_gradient` of a convolution, summed over batch and places.

    Args:
        error: Error of the output times, (batch, map, down, across).
        spike_time: Input spike times, (batch, channel, height, width), inf = silent.
        post_spike_time: Output spike times, shape of `error`, inf = silent.
        side: Side of the square kernel.
        stride: Step between places.
        padding: Border on every side.
        a: Size of the causal side.
        b: Size of the anti-causal side.
        tau: Time constant of the exponential window; 0 = the step window.
        at_zero: Exponential window: value where both spike together.
        offset: Exponential window: what is taken off the exponential.
        border: Spike time of the border.

    Returns:
        The gradient, (map, channel, side, side).
    """
    return _reference(
        *(error, spike_time, post_spike_time, side, stride, padding),
        *(a, b, tau, at_zero, offset, border),
    )


@stdp_conv2d_weight_gradient.register_kernel("cpu")
def _(
    error,
    spike_time,
    post_spike_time,
    side,
    stride,
    padding,
    a,
    b,
    tau,
    at_zero,
    offset,
    border,
):
    numbers = a, b, tau, at_zero, offset, border
    if error.dtype not in (torch.float32, torch.float64):
        return _reference(
            *(error, spike_time, post_spike_time, side, stride, padding), *numbers
        )
    (batch, *image), maps = spike_time.shape, error.shape[1]
    size = image[0] * side * side
    edges = parts_of(batch)
    sums = error.new_zeros(len(edges) - 1, maps, size + -size % LANES)
    arrays = [
        x.contiguous().numpy() for x in (error, spike_time.flatten(1), post_spike_time)
    ]
    real = arrays[0].dtype.type
    settings = (*image, side), (stride, padding), *map(real, numbers)
    grads = sums.numpy()

    def of_parts(first: int, last: int) -> None:
        for part in range(first, last):
            _windows(*arrays, *settings, grads[part], *edges[part : part + 2])

    split(of_parts, len(grads), error.numel() * size)
    return kernel_of(sums, image[0], side)


@stdp_conv2d_weight_gradient.register_fake
def _(error, spike_time, post_spike_time, side, *_):
    return error.new_empty(error.shape[1], spike_time.shape[1], side, side)
