"""Squared error of rounding rows of weights, for many steps at once.

    e_gc = sum_i (x_gi - c q_i)^2,    q_i = clip(round(x_gi / c), -largest, largest)

for each candidate step c, half to even. The compiled body keeps one lane per candidate
and adds in the order of the columns: no sum is split by the width of a vector, so that
every processor finds the same best step.
"""

from collections.abc import Callable

import numba
import numpy as np
import torch
from torch import Tensor

from snn_temporal_plugins.kernels.threads import split

# no fastmath: a fused multiply-add would tell which processor it was
_jit = numba.njit(cache=True, nogil=True, error_model="numpy")


def _reference(rows: Tensor, steps: Tensor, largest: int) -> Tensor:
    errors = []
    for step, inverse in zip(steps, steps.reciprocal(), strict=True):
        whole = (rows * inverse).round().clamp(-largest, largest)
        errors.append((rows - whole * step).square().sum(1))
    return torch.stack(errors, 1) if errors else rows.new_empty(len(rows), 0)


@_jit
def _add_errors(rows, steps, inverse, largest, errors, start, stop):
    """Fill the rows start..stop of errors."""
    lanes = steps.shape[0]
    for g in range(start, stop):
        row, sums = rows[g], errors[g]
        sums[:] = 0
        for i in range(row.shape[0]):
            x = row[i]
            for c in range(lanes):
                whole = min(max(np.rint(x * inverse[c]), -largest), largest)
                error = x - whole * steps[c]
                sums[c] += error * error


@torch.library.custom_op("snn_temporal_plugins::rounding_error", mutates_args=())
def rounding_error(rows: Tensor, steps: Tensor, largest: int) -> Tensor:
    """Squared rounding error of each row for each step.

    Args:
        rows: Real numbers, (row, column), float64.
        steps: Candidate steps > 0, (step,), float64.
        largest: Largest magnitude of a rounded number, in steps.

    Returns:
        The errors, (row, step).
    """
    return _reference(rows, steps, largest)


@rounding_error.register_kernel("cpu")
def _(rows, steps, largest):
    errors = rows.new_empty(len(rows), len(steps))
    arrays = (x.contiguous().numpy() for x in (rows, steps, steps.reciprocal()))
    arguments = (*arrays, rows.numpy().dtype.type(largest), errors.numpy())
    body: Callable = _add_errors
    split(
        lambda start, stop: body(*arguments, start, stop),
        len(rows),
        rows.numel() * len(steps),
    )
    return errors


@rounding_error.register_fake
def _(rows, steps, largest):
    return rows.new_empty(len(rows), len(steps))
