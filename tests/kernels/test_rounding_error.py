"""The op that tries steps: both bodies against the sum written out."""

import numpy as np
import pytest
import torch

from snn_temporal_plugins.kernels import rounding_error
from snn_temporal_plugins.kernels.rounding_error import _reference

BODIES = {"numba": rounding_error, "reference": _reference}
bodies = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


def problem(rows, columns, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = 5 * torch.randn(rows, columns, generator=g, dtype=torch.float64)
    return x, torch.linspace(0.3, 1, 7, dtype=torch.float64)


def expected(rows, steps, largest):
    errors = np.zeros((len(rows), len(steps)))
    for g, c in np.ndindex(errors.shape):
        for x in rows[g].tolist():
            whole = max(-largest, min(largest, round(x * (1 / steps[c].item()))))
            errors[g, c] += (x - whole * steps[c].item()) ** 2
    return errors


@bodies
@pytest.mark.parametrize(("rows", "columns"), [(5, 33), (1, 200), (3, 1), (0, 4)])
@pytest.mark.parametrize("largest", [1, 15])
def test_equals_the_sum_written_out(body, rows, columns, largest):
    x, steps = problem(rows, columns)
    got = body(x, steps, largest)
    assert got.shape == (rows, 7) and got.dtype == torch.float64
    np.testing.assert_allclose(got.numpy(), expected(x, steps, largest), rtol=1e-12)


@bodies
def test_halves_go_to_the_even_number(body):
    x = torch.tensor([[0.5, 1.5, 2.5, -0.5]], dtype=torch.float64)
    got = body(x, torch.ones(1, dtype=torch.float64), 3)
    assert got.item() == 4 * 0.25
    clipped = body(10 * x[:, 1:2], torch.ones(1, dtype=torch.float64), 3)
    assert clipped.item() == 12**2


def test_threads_change_nothing():
    x, steps = problem(64, 4000)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(rounding_error(x, steps, 15))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


def test_the_op_keeps_its_contract():
    x, steps = problem(4, 6)
    torch.library.opcheck(rounding_error, (x, steps, 7))
    torch.library.opcheck(rounding_error, (x.t(), steps, 7))
