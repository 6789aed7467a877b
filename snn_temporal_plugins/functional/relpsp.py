"""The ReL-PSP neuron one tick at a time, with the gradient of spike timing.

A loop over ticks n = 0, 1, ... sees one tick only. The step keeps the order

    integrate    V += G
    fire         spike when V >= v_th / dt and no spike came before
    accumulate   G += I                      (I: weighted input spikes of this tick)

so that an input of tick n first acts at tick n + 1 and the spikes are those of the
layer form (`snn_temporal_plugins.rules.stdbp`) on the same ticks, rounded up. Slope G
and potential V are counted in ticks; only the threshold carries the unit of time.

Gradient law. Let g(n) be the gradient that reaches the spike output of tick n. Moving
a spike from tick n_s to n_s + 1 changes the loss by g(n_s + 1) - g(n_s), hence

    dL/dt_s = (g(n_s + 1) - g(n_s)) / dt                                        (1)

(a first-spike loss with dt/ds = -1 has g(n_s) = -dL/dt_s and 0 elsewhere, which fits;
after the last tick g is 0). The crossing lies inside the tick, at
t* = t_s - (V - v_th)/G with the slope G that carried V over, before this tick's input:

    grad_V = -(dL/dt_s) / G                                                     (2)
    grad_G = +(dL/dt_s) (V - v_th) / G^2                                        (3)

g(n + 1) is known at tick n because the state holds one more tensor, `link`, that is
always zero: a step returns g(n) as the gradient of the link it received and reads
g(n + 1) as the gradient of the link it handed on. Autograd itself carries the value
back in time; nothing is stored outside its graph.

How exact it is. The weight gradients of a last layer are always exact. Against the
layer form with its times rounded up to ticks (gradient straight through the rounding):

* where no downstream neuron fires within the tick after t_s, all gradients are equal
  (to 1e-10 in float64);
* where one does, that pair counts with the fraction t* - t_s of the tick instead of
  1. Such pairs get rare with finer ticks: the error falls linearly with dt.

Reference:
    M. Zhang et al., "Rectified Linear Postsynaptic Potential Function for
    Backpropagation in Deep Spiking Neural Networks", IEEE TNNLS 33(5):1947-1958
    (neuron). The per-tick law (1)-(3) is ours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class ReLPSPState(NamedTuple):
    """State of a ReL-PSP neuron between two ticks; every field has the input's shape.

    Attributes:
        slope: G, the sum of the weights of all inputs so far, per tick.
        v: V, the membrane potential in ticks (times `dt`: in the unit of `v_th`).
        fired: bool, whether the neuron has spiked in this sample.
        link: always zero; its gradient carries g(n + 1) back to tick n.
    """

    slope: Tensor
    v: Tensor
    fired: Tensor
    link: Tensor

    def detach(self) -> ReLPSPState:
        """Return the same state cut off from the graph of the ticks before."""
        return ReLPSPState(*(field.detach() for field in self))


def relpsp_initial_state(input_current: Tensor) -> ReLPSPState:
    """Return the state before the first tick: nothing arrived, nothing fired.

    Args:
        input_current: (...), one tick's input; gives shape, dtype and device.

    Returns:
        A state of zeros with the shape of `input_current`.
    """
    zero = torch.zeros_like(input_current)
    return ReLPSPState(zero, zero, torch.zeros_like(zero, dtype=torch.bool), zero)


class _FireFunction(torch.autograd.Function):
    """First spike of a tick, with the timing gradient of the module docstring."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        excess: Tensor, slope: Tensor, fired: Tensor, link: Tensor, clip: float
    ) -> tuple[Tensor, Tensor]:
        spikes = ((excess >= 0) & ~fired).to(excess.dtype)
        return spikes, torch.zeros_like(link)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        excess, slope, _, _, ctx.clip = inputs
        ctx.save_for_backward(excess, slope, output[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, grad_link: Tensor) -> tuple[Any, ...]:
        excess, slope, spikes = ctx.saved_tensors
        # Only a rising potential can cross; mask before dividing.
        crossed = (spikes > 0) & (slope > 0)
        safe_slope = torch.where(crossed, slope, 1.0)
        grad_time = torch.where(crossed, grad_link - grad_spikes, 0.0)  # (1), per tick
        delta = grad_time * (1.0 / safe_slope).clamp(max=ctx.clip)
        grad_v = -delta  # (2); V and v_th enter as V - v_th, so v_th gets +delta
        grad_slope = delta * excess / safe_slope  # (3)
        return grad_v, grad_slope, None, grad_spikes, None


def relpsp_step(
    input_current: Tensor,
    state: ReLPSPState | None,
    v_th: Tensor | float,
    dt: float,
    *,
    slope_clip: float | None = None,
) -> tuple[Tensor, ReLPSPState]:
    """Advance ReL-PSP neurons by one tick: V += G, fire once at V >= v_th/dt, G += I.

    The backward is the timing gradient of the module docstring, equations (1) to (3):
    no surrogate. It equals the layer form's gradient to 1e-10 (float64) where no
    downstream neuron fires within the tick after a spike; where one does, that pair
    counts with its fraction of the tick, so the error falls linearly with `dt`.

    Args:
        input_current: (batch, ...), weighted input spikes of this tick.
        state: state after the tick before; None starts a new sample.
        v_th: threshold, scalar or broadcastable to `input_current`; > 0.
        dt: length of a tick in the unit of time of `v_th`; > 0.
        slope_clip: largest value of the factor 1/G in (2) and (3); None: no limit.

    Returns:
        spikes (batch, ...), 0 or 1 in the dtype of the input, and the new state.

    Raises:
        ValueError: `dt`, `slope_clip` or a number `v_th` is not positive, or the state
            has another shape than the input.
    """
    if not dt > 0:
        raise ValueError(f"dt={dt!r}: a tick must last longer than 0, e.g. dt=0.01")
    if not isinstance(v_th, Tensor) and not v_th > 0:
        raise ValueError(f"v_th={v_th!r}: a threshold must be above 0, e.g. v_th=1.0")
    if slope_clip is not None and not slope_clip > 0:
        raise ValueError(f"slope_clip={slope_clip!r}: give a number > 0, or None")
    if state is None:
        state = relpsp_initial_state(input_current)
    if state.v.shape != input_current.shape:
        raise ValueError(
            f"the state has shape {tuple(state.v.shape)} but the input of this tick "
            f"{tuple(input_current.shape)}: start a new sequence with a new state"
        )
    v = state.v + state.slope
    clip = float("inf") if slope_clip is None else float(slope_clip)
    spikes, link = _FireFunction.apply(
        v - v_th / dt, state.slope, state.fired, state.link, clip
    )
    fired = state.fired | (spikes.detach() > 0)
    return spikes, ReLPSPState(state.slope + input_current, v, fired, link)
