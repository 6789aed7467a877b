"""The surrogate derivative of a threshold that TSSL-BP falls back on."""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_Z_MAX = 8.0  # where the exponent is cut off, as in the released code


class _SigmoidSurrogateFunction(torch.autograd.Function):
    @staticmethod
    def forward(x, alpha):
        return (x > 0).to(x.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.alpha = inputs
        ctx.save_for_backward(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        z = (x / ctx.alpha).clamp(-_Z_MAX, _Z_MAX)
        return grad * torch.sigmoid(z) * torch.sigmoid(-z) / ctx.alpha, None


def sigmoid_surrogate(x: Tensor, alpha: float = 0.2) -> Tensor:
    """Threshold at 0 with the derivative of a sigmoid in the backward.

        s = [x > 0],    ds/dx := sig'(z) / alpha,    z = clip(x / alpha, -8, 8)

    Args:
        x: Membrane potential minus threshold, any shape.
        alpha: Width > 0, in the unit of x.

    Returns:
        Spikes, 0 or 1, the shape and dtype of x.

    Raises:
        ValueError: alpha is not positive and finite.

    Reference:
        Zhang and Li, NeurIPS 2020 (TSSL-BP), the warm-up branch of the released code.
    """
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha is {alpha}; it must be positive and finite.")
    return _SigmoidSurrogateFunction.apply(x, alpha)
