"""The integrate-and-fire neuron one tick at a time, with the error of SSTDP.

A loop over ticks k = 0, 1, ... sees one tick only. The step keeps the order

    integrate    V[k] = V[k-1] + I[k]       (I: weighted input spikes of this tick)
    fire         spike when V[k] > v_th (strictly) and no spike came before

so an input may fire the neuron in its own tick, and the spikes are those of the layer
form (`snn_temporal_plugins.rules.sstdp`). After its spike V goes on integrating.

Gradient law. With u the tick of the spike,

    ds[k]/dV[k] := [k = u],     dV[k]/dI[k'] = [k' <= k]                            (1)

A first-spike loss has dL/ds[u] = -g with g = dL/du, hence

    dL/dI_j[k] = -g_j [k <= u_j]                                                   (2)
    dL/dw_ji = -g_j [t_i <= u_j],     dL/dt_i = sum_j g_j w_ji [t_i <= u_j]         (3)

(3) is `sstdp` with a = 1, b = 0 and normalize=None, summed over the batch where that
takes the mean. Three things exist in the layer form only: b > 0 and `tau_stdp` look at
inputs after the spike, `normalize` at all neurons of a layer, and a silent neuron,
which (3) would strengthen, has no tick in a train at which an error could reach it.

Reference:
    Liu et al., Front. Neurosci. 15:756876 (2021), SSTDP: neuron and (3). The per-tick
    form (1) is ours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class IFState(NamedTuple):
    """State of an integrate-and-fire neuron between two ticks, the input's shape.

    Attributes:
        v: V, the membrane potential in the unit of `v_th`.
        fired: bool, whether the neuron has spiked in this sample.
    """

    v: Tensor
    fired: Tensor

    def detach(self) -> IFState:
        """Return the same state cut off from the graph of the ticks before."""
        return IFState(self.v.detach(), self.fired)


def if_initial_state(input_current: Tensor) -> IFState:
    """Return the state before the first tick: nothing arrived, nothing fired.

    Args:
        input_current: (...), one tick's input; gives shape, dtype and device.

    Returns:
        A state of zeros with the shape of `input_current`.
    """
    zero = torch.zeros_like(input_current)
    return IFState(zero, torch.zeros_like(zero, dtype=torch.bool))


class _FireFunction(torch.autograd.Function):
    """First spike of a tick, with the law of the module docstring."""

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, v_th: Tensor | float, fired: Tensor) -> Tensor:
        return ((v > v_th) & ~fired).to(v.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Any, ...]:
        (spikes,) = ctx.saved_tensors
        return torch.where(spikes > 0, grad_spikes, 0), None, None  # (1)


def if_step(
    input_current: Tensor, state: IFState | None, v_th: Tensor | float
) -> tuple[Tensor, IFState]:
    """Advance integrate-and-fire neurons by one tick: V += I, fire once at V > v_th.

    The backward is the law of the module docstring, no surrogate: `sstdp` with a = 1,
    b = 0 and normalize=None. The threshold gets no gradient.

    Args:
        input_current: (batch, ...), weighted input spikes of this tick.
        state: state after the tick before; None starts a new sample.
        v_th: threshold, scalar or broadcastable to `input_current`; > 0.

    Returns:
        spikes (batch, ...), 0 or 1 in the dtype of the input, and the new state.

    Raises:
        ValueError: a number `v_th` is not positive, or the state has another shape
            than the input.
    """
    if not isinstance(v_th, Tensor) and not v_th > 0:
        raise ValueError(f"v_th={v_th!r}: a threshold must be above 0, e.g. v_th=1.0")
    if state is None:
        state = if_initial_state(input_current)
    if state.v.shape != input_current.shape:
        raise ValueError(
            f"the state has shape {tuple(state.v.shape)} but the input of this tick "
            f"{tuple(input_current.shape)}: start a new sequence with a new state"
        )
    v = state.v + input_current
    spikes = _FireFunction.apply(v, v_th, state.fired)
    return spikes, IFState(v, state.fired | (spikes.detach() > 0))
