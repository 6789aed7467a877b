"""The sigmoid surrogate: a strict step forwards, the rule's surrogate branch back."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_temporal_plugins.functional.surrogate import sigmoid_surrogate
from snn_temporal_plugins.rules import tssl_bp_window


@given(alpha=st.floats(0.01, 10), seed=st.integers(0, 2**16))
def test_equals_the_formula(alpha, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(40, generator=g, dtype=torch.float64, requires_grad=True)
    spikes = sigmoid_surrogate(x, alpha)
    assert torch.equal(spikes, (x > 0).double())
    (grad,) = torch.autograd.grad(spikes, x, torch.full_like(x, 3.0))
    z = np.clip(x.detach().numpy() / alpha, -8, 8)
    sigmoid = 1 / (1 + np.exp(-z))
    expected = 3 * sigmoid * (1 - sigmoid) / alpha
    np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_the_threshold_and_far_from_it(dtype):
    x = torch.tensor([0.0, -0.0, 5e-324, 100.0, -100.0, math.inf], dtype=dtype)
    x = x.requires_grad_()
    spikes = sigmoid_surrogate(x)
    fires = [0, 0, int(dtype == torch.float64), 1, 0, 1]  # 5e-324 is 0 in float32
    assert spikes.dtype == dtype and spikes.tolist() == fires
    spikes.sum().backward()
    far = 1 / (1 + math.exp(8)) * (1 - 1 / (1 + math.exp(8))) / 0.2
    assert x.grad.tolist() == pytest.approx([1.25] * 3 + [far] * 3, rel=1e-5)


def test_is_the_surrogate_branch_of_the_rule():
    current = torch.randn(1, 4, 9, dtype=torch.float64, requires_grad=True)
    window = tssl_bp_window(current, v_th=0.3, decision="always_surrogate")
    ours = sigmoid_surrogate(current - 0.3)  # the first step: u = I
    assert torch.equal(ours, window.spikes)
    grads = [torch.autograd.grad(s.sum(), current)[0] for s in (ours, window.spikes)]
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)


def test_can_be_pickled():
    assert pickle.loads(pickle.dumps(sigmoid_surrogate)) is sigmoid_surrogate


@pytest.mark.parametrize("alpha", [0.0, -0.2, math.nan, math.inf])
def test_bad_width(alpha):
    with pytest.raises(ValueError, match=f"alpha is {alpha}"):
        sigmoid_surrogate(torch.zeros(3), alpha)
