"""Surrogate gradients in the manner of `snntorch.surrogate`, but picklable."""

from __future__ import annotations

from torch import Tensor

from snn_temporal_plugins.functional.surrogate import sigmoid_surrogate


class tssl_bp:  # in lower case like snnTorch's own surrogates
    """Threshold with the surrogate branch of TSSL-BP, for `spike_grad=` of a neuron.

    Spikes keep the dtype of the membrane. Unlike snnTorch's own it pickles, so
    `torch.save` takes a network that holds it.

        s = [x > 0],    ds/dx := sig'(z) / alpha,    z = clip(x / alpha, -8, 8)

    Args:
        alpha: width > 0, in the unit of the threshold.
    """

    def __init__(self, alpha: float = 0.2) -> None:
        self.alpha = alpha

    def __call__(self, x: Tensor) -> Tensor:
        """Spike where the membrane is above threshold.

        Args:
            x: membrane potential minus threshold, any shape.

        Returns:
            Spikes, 0 or 1, the shape and dtype of x.
        """
        return sigmoid_surrogate(x, self.alpha)

    def __repr__(self) -> str:
        return f"tssl_bp(alpha={self.alpha})"
