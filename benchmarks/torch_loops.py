"""TSSL-BP as loops over time in plain torch: what `spike_trains.py` compares with."""

import torch
from torch import Tensor

from snn_temporal_plugins.kernels import tssl_bp as bodies

TAU_MEM, TAU_SYN, V_TH, CLIP, ALPHA = 5.0, 3.0, 1.0, 8.0, 0.2


class TorchLoop(torch.autograd.Function):
    """The plain-torch bodies of the kernel: one Python step per time step."""

    @staticmethod
    def forward(ctx, current: Tensor) -> Tensor:
        """Currents (time, batch, neuron) to PSPs."""
        rest = torch.zeros_like(current[0])
        psp, u = bodies._forward_reference(
            current, rest, rest, TAU_MEM, TAU_SYN, V_TH, False
        )
        ctx.save_for_backward(psp, u, rest)
        return psp

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        """Error of the PSPs to that of the currents."""
        scalars = (TAU_MEM, TAU_SYN, V_TH, False, 1 / (4 * TAU_SYN), CLIP, ALPHA)
        none = grad.new_empty(0)
        return bodies._backward_reference(grad, none, *ctx.saved_tensors, *scalars)


class AllPairs(TorchLoop):
    """The same with A[t] summed over all later steps, and the coupling likewise."""

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        """Error of the PSPs to that of the currents."""
        psp, u, rest = ctx.saved_tensors
        steps = len(u)
        spikes = (u > V_TH).to(u.dtype)
        v = torch.cat([rest[None], (u * (1 - spikes))[:-1]])
        kappa = (u - v).reciprocal().clamp(0, CLIP)
        out = torch.empty_like(u)
        partial = torch.zeros_like(u)  # da[k]/dI[t] of all k for the current t
        after = torch.zeros_like(u)
        for t in reversed(range(steps)):
            error = torch.zeros_like(rest)
            for k in range(t, steps):
                kernel = (1 - 1 / TAU_SYN) ** (k - t) / TAU_SYN
                coupled = after[k] * u[t] / TAU_MEM
                fired = kappa[t] * (kernel + coupled)
                partial[k] = torch.where(
                    u[t] > V_TH, fired, (1 - 1 / TAU_MEM) * after[k]
                )
                error = error + kernel * grad[k]
            theta = (partial[t:] * grad[t:]).sum(0)
            z = ((u[t] - V_TH) / ALPHA).clamp(-8, 8)
            surrogate = torch.sigmoid(z) * torch.sigmoid(-z) / ALPHA
            out[t] = torch.where(psp[t] < 1 / (4 * TAU_SYN), error * surrogate, theta)
            after, partial = partial, torch.zeros_like(u)
        return out
