"""TSSL-BP: temporal spike sequence learning by backpropagation for LIF neurons.

Paper: W. Zhang, P. Li, "Temporal Spike Sequence Learning via Backpropagation for Deep
Spiking Neural Networks", NeurIPS 2020; released code stonezwr/TSSL-BP, commit ffaac71.

Forward, per neuron, t = 0..T-1, with v = a = 0 before the first step:

    (1) d[t] = I[t] - v / tau_mem,   u[t] = v + d[t]
    (2) s[t] = 1 if u[t] > v_th (strictly) else 0,   v = u[t] (1 - s[t])
    (3) a[t] = a[t-1] + (s[t] - a[t-1]) / tau_syn

The output of a layer is the postsynaptic potential (PSP) a, not the spikes s.

Backward, with g[t] = dL/da[t], t = T-1..0 and zeros behind the end:

    (4) A[t]     = g[t] / tau_syn + (1 - 1/tau_syn) A[t+1]
    (5) kappa[t] = clip(1 / d[t], 0, 8)
    (6) theta[t] = kappa[t] (A[t] + theta[t+1] u[t] / tau_mem)   at a spike
                   (1 - 1/tau_mem) theta[t+1]                    otherwise
    (7) dL/dI[t] = A[t] sig'(z) / alpha   if a[t] < 1 / (4 tau_syn)   (surrogate)
                   theta[t]               otherwise                   (timing)
        z = clip((u[t] - v_th) / alpha, -8, 8)

This is a learning law, not the derivative of (1)-(3).

Departures from the paper (the released code is followed; the paper's form is recalled,
not verified): every term of (6) is positive, silent steps pass theta on, (7) chooses
per neuron and step instead of a warm-up phase, and the reset is hard. `reset="soft"`
subtracts v_th instead; then v_th takes the place of u[t] in (6), and what is left of
the membrane leaks on, which adds (1 - 1/tau_mem) theta[t+1] at a spike (our choice: the
code has no such form). `decision="layer_rate"` is the choice of older versions of the
code: timing for the whole layer if more than `rate_threshold` of all s are 1.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snn_temporal_plugins.functional.lif import (
    LIFState,
    require_time_constant,
    require_window,
)
from snn_temporal_plugins.kernels import lif_window, tssl_bp_backward

Reset = Literal["hard", "soft"]
Decision = Literal["element", "layer_rate", "always_timing", "always_surrogate"]


class LIFWindow(NamedTuple):
    """A window of leaky integrate-and-fire neurons.

    Attributes:
        psp: Postsynaptic potential, (time, batch, ...).
        spikes: 0 or 1, (time, batch, ...). Filtered by `psp_filter`, they learn exactly
            as `psp` does: an error on s[t] adds to A[t].
        state: Where the next window goes on; no gradient passes through it.
    """

    psp: Tensor
    spikes: Tensor
    state: LIFState


class _Dynamics(NamedTuple):
    tau_mem: float
    tau_syn: float
    v_th: float
    soft: bool


class _TSSLBPFunction(torch.autograd.Function):
    @staticmethod
    def forward(current, v, psp, dynamics, decide, clip, alpha, want_spikes):
        all_psp, u = lif_window(current, v, psp, *dynamics)  # (1)-(3)
        spikes = (u > dynamics.v_th).to(u.dtype) if want_spikes else u.new_empty(0, 0)
        return all_psp, spikes, u

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, v, _, dynamics, (decision, rate_threshold), clip, alpha, want_spikes = inputs
        psp, spikes, u = output
        ctx.mark_non_differentiable(*((u,) if want_spikes else (spikes, u)))
        ctx.set_materialize_grads(False)
        if decision == "layer_rate":  # one choice for all, without a look at the value
            fast = (u > dynamics.v_th).double().mean() > rate_threshold
            psp = torch.where(fast, math.inf, -math.inf).to(psp).expand_as(psp)
        ctx.save_for_backward(psp, u, v)
        # (7) is written as "surrogate below this PSP"
        limits = {"always_timing": -math.inf, "always_surrogate": math.inf}
        limit = limits.get(decision, 1 / (4 * dynamics.tau_syn))
        ctx.scalars = (*dynamics, limit, clip, alpha)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_psp, grad_spikes, _grad_u):
        if grad_psp is None and grad_spikes is None:
            return (None,) * 8
        psp, u, v = ctx.saved_tensors
        none = u.new_empty(0, 0)
        grad = tssl_bp_backward(  # (4)-(7)
            none if grad_psp is None else grad_psp,
            none if grad_spikes is None else grad_spikes,
            psp,
            u,
            v,
            *ctx.scalars,
        )
        return (grad, *(None,) * 7)


def tssl_bp(
    current: Tensor,
    *,
    tau_mem: float = 5.0,
    tau_syn: float = 3.0,
    v_th: float = 1.0,
    reset: Reset = "hard",
    decision: Decision = "element",
    rate_threshold: float = 0.05,
    clip: float = 8.0,
    alpha: float = 0.2,
) -> Tensor:
    """Postsynaptic potentials of leaky integrate-and-fire neurons over a window.

    Args:
        current: Synaptic current I = W a_pre, (time, batch, ...), in thresholds.
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        v_th: Threshold; a neuron fires where u > v_th, strictly.
        reset: "hard" sets the membrane to 0, "soft" subtracts v_th.
        decision: Where the timing branch is used and where the surrogate: by "element"
            (equation 7), for the whole layer by its rate ("layer_rate"), or
            "always_timing", "always_surrogate".
        rate_threshold: For "layer_rate": share of steps with a spike, over all neurons
            and samples of the call, above which the timing branch is used.
        clip: Upper limit > 0 of the factor 1/d in (5).
        alpha: Width > 0 of the surrogate, in the unit of v_th.

    Returns:
        PSPs a, the shape of `current`, between 0 and 1.

    Raises:
        TypeError: current is not a floating-point tensor.
        ValueError: a value is out of range or not finite; the message says which.

    Reference:
        Zhang and Li, NeurIPS 2020; equations (1)-(7) of this module.
    """
    options = (tau_mem, tau_syn, v_th, reset, decision, rate_threshold, clip, alpha)
    return _run(current, None, *options, want_spikes=False)[0]


def tssl_bp_window(
    current: Tensor,
    state: LIFState | None = None,
    *,
    tau_mem: float = 5.0,
    tau_syn: float = 3.0,
    v_th: float = 1.0,
    reset: Reset = "hard",
    decision: Decision = "element",
    rate_threshold: float = 0.05,
    clip: float = 8.0,
    alpha: float = 0.2,
) -> LIFWindow:
    """`tssl_bp` with the spikes as well, going on from the window before.

    Two windows of T/2 steps give the very spikes of one of T, if the second starts from
    the state of the first.

    Args:
        current: Synaptic current, (time, batch, ...), in thresholds.
        state: Where the window before has ended, (batch, ...) each; None = at rest.
        tau_mem: As in `tssl_bp`, like all that follow.
        tau_syn: Synaptic time constant.
        v_th: Threshold.
        reset: Kind of reset.
        decision: Where the surrogate is used.
        rate_threshold: For "layer_rate".
        clip: Upper limit of 1/d.
        alpha: Width of the surrogate.

    Returns:
        PSPs, spikes and the state at the end.

    Raises:
        TypeError: current is not a floating-point tensor.
        ValueError: a value is out of range or not finite, or state does not fit.
    """
    options = (tau_mem, tau_syn, v_th, reset, decision, rate_threshold, clip, alpha)
    psp, spikes, u = _run(current, state, *options, want_spikes=True)
    last = u[-1]
    v = torch.where(last > v_th, last - v_th if reset == "soft" else 0, last)
    return LIFWindow(psp, spikes, LIFState(v, psp[-1].detach().clone()))


def _run(
    current,
    state,
    tau_mem,
    tau_syn,
    v_th,
    reset,
    decision,
    rate_threshold,
    clip,
    alpha,
    *,
    want_spikes,
) -> tuple[Tensor, Tensor, Tensor]:
    """PSPs, spikes if wanted, and membrane potentials before the reset."""
    require_window("current", current)
    require_time_constant("tau_mem", tau_mem)
    require_time_constant("tau_syn", tau_syn)
    _check(v_th, reset, decision, rate_threshold, clip, alpha)
    if state is None:
        v, psp = (current.new_zeros(current[0].numel()) for _ in range(2))
    else:
        if not isinstance(state, tuple) or len(state) != 2:
            raise TypeError(
                f"state is {type(state).__name__}; it must be the LIFState (v, psp) "
                "that the window before has returned, or None to start at rest."
            )
        v, psp = (
            _started(name, start, current)
            for name, start in zip(LIFState._fields, state, strict=True)
        )
    window = _TSSLBPFunction.apply(
        current.flatten(1),
        v,
        psp,
        _Dynamics(float(tau_mem), float(tau_syn), float(v_th), reset == "soft"),
        (decision, rate_threshold),
        float(clip),
        float(alpha),
        want_spikes,
    )
    psp, spikes, u = window
    shape = current.shape
    return psp.view(shape), spikes.view(shape) if want_spikes else spikes, u.view(shape)


def _started(name: str, start: Tensor, current: Tensor) -> Tensor:
    if not isinstance(start, Tensor):
        raise TypeError(f"state.{name} is {type(start).__name__}; it must be a tensor.")
    ours, theirs = (
        f"{x.dtype} of shape {tuple(x.shape)} on {x.device}"
        for x in (start, current[0])
    )
    if ours != theirs:
        raise ValueError(
            f"state.{name} is {ours}, but a step of the current is {theirs}; pass the "
            "state that the window before has returned, or None to start at rest."
        )
    return start.detach().flatten()


def _check(v_th, reset, decision, rate_threshold, clip, alpha) -> None:
    if not math.isfinite(v_th):
        raise ValueError(f"v_th is {v_th}; the threshold must be finite.")
    if reset not in ("hard", "soft"):
        raise ValueError(f"reset is {reset!r}; allowed are 'hard' and 'soft'.")
    decisions = ("element", "layer_rate", "always_timing", "always_surrogate")
    if decision not in decisions:
        raise ValueError(
            f"decision is {decision!r}; allowed are {', '.join(map(repr, decisions))}."
        )
    if not 0 <= rate_threshold <= 1:
        raise ValueError(
            f"rate_threshold is {rate_threshold}; it must be from 0 to 1, spikes per "
            "neuron and step."
        )
    for name, value in (("clip", clip), ("alpha", alpha)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}; it must be positive and finite.")
