"""SSTDP: supervised spike-timing-dependent plasticity on first spikes.

Paper: F. Liu et al., "SSTDP: Supervised Spike Timing Dependent Plasticity for Efficient
Spiking Neural Network Training", Front. Neurosci. 15:756876 (2021); released code
MXHX7199/SNN-SSTDP, commit 67867f3. The paper's equations (4)-(11) are known from
re-implementations only.

Forward, on ticks k = 0..T-1, t_i the input and u_j the output spike times:

    (1) V_j(k) = V_j(k-1) + sum_i w_ji [t_i = k]           no leak, no reset
    (3) u_j = min { k : V_j(k) > v_th } (strictly), silent = inf if there is none

Backward, with g_j = dE/du_j (positive: fired too late) and D = t_i - u_j:

    (a) g_j   <- g_j / (|g| + 1e-10)                       per sample, all outputs
    (b) s_ji  =  a  where t_i <= u_j and t_i is no silence, -b elsewhere
               or a (exp(D/tau) - offset) where D < 0, -b (exp(-D/tau) - offset) where
               D > 0, a (1 - offset) where D = 0           `tau_stdp`
        s_ji  <- s_ji (w_max - w_ji)^mu                    `w_max`
    (c) dE/dw_ji = -mean_batch sum_place g_j s_ji          strengthening: earlier
    (d) dE/dt_i  =  sum_j g_j w_ji [t_i <= u_j, t_i no silence]

A silent output counts as u_j = inf, in the exponential window as u_j = T: all its
inputs are causal, and an error on it strengthens them. This is a learning law, not the
derivative of (3), which has none on a grid of ticks.

Departures from the released code, which has other defects that are not followed:
a leak of the membrane (`tau_mem`, V += (dV - V) / tau_mem) and the exponential window
(`tau_stdp`) are two settings, not one; D = 0 is causal in both windows, since such an
input drives the spike; the error that comes in is not changed in place; all T ticks are
simulated. `compat="released"` follows the code where its numbers differ: inputs at the
last two ticks are not delivered, and yet causal for silent outputs; the exponential
window ignores D = 0 and takes a silent input for a spike at T. The offset and the soft
bound (w_max - w)^mu belong to the paper's (9), as far as it is known; its sign of the
anti-causal side is not, so the code's is used.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snn_temporal_plugins.functional.arguments import (
    require_convolution,
    require_synapses,
    threshold_per_neuron,
)
from snn_temporal_plugins.kernels import (
    first_crossing,
    first_crossing_backward,
    first_crossing_conv2d,
    first_crossing_conv2d_backward,
    stdp_conv2d_weight_gradient,
    stdp_weight_gradient,
)

_EPSILON = 1e-10  # of (a): a sample without an error stays without one


class _Window(NamedTuple):
    a: float
    b: float
    tau: float  # 0 = step window
    offset: float
    w_max: float | None
    mu: float
    l2: bool
    released: bool
    t_max: int


class _SSTDPFunction(torch.autograd.Function):
    @staticmethod
    def forward(spike_time, weight, v_th, leak, window, slide):
        ticks = window.t_max - 2 if window.released else window.t_max
        delivered = _deliver(spike_time, window.t_max, ticks)
        limits = math.inf, "step", leak
        if slide:  # (stride, padding) of a convolution
            return first_crossing_conv2d(delivered, weight, v_th, *slide, *limits)[:2]
        flat = delivered.flatten(0, -2)
        post, potential, _ = first_crossing(flat, weight, v_th, *limits)
        shape = (*spike_time.shape[:-1], weight.shape[0])
        return post.view(shape), potential.view(shape)

    @staticmethod
    def setup_context(ctx, inputs, output):
        spike_time, weight, _, _, ctx.window, ctx.slide = inputs
        post, potential = output
        ctx.mark_non_differentiable(potential)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(spike_time, weight, post)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _grad_potential):
        if grad is None:
            return None, None, None, None, None, None
        before, weight, post = ctx.saved_tensors
        samples, shape, window = len(before), before.shape, ctx.window
        if window.l2:  # (a), into a new tensor
            norm = grad.flatten(1).norm(dim=1)
            grad = grad / (norm + _EPSILON).view(-1, *(1,) * (grad.dim() - 1))
        error = grad
        if not ctx.slide:
            error, post, before = (x.flatten(0, -2) for x in (error, post, before))
        need_time, need_weight = ctx.needs_input_grad[:2]
        grad_time = grad_weight = None
        simultaneous = not (window.released and window.tau)
        if need_time:  # (d); whole ticks: t <= u is t < u + 1
            late = post + 1 if simultaneous else post
            pairs = error, before, weight, torch.zeros_like(post), late
            if ctx.slide:
                sums = first_crossing_conv2d_backward(*pairs, *ctx.slide, True, False)
            else:
                sums = first_crossing_backward(*pairs, True, False)
            grad_time = sums[0].view(shape)
        if need_weight:  # (b), (c)
            silence = math.inf
            if window.tau:  # an output that did not fire by T is late, not lost
                post = post.clamp(max=window.t_max)
            if not simultaneous:  # a silent input too is a spike at T
                silence = float(window.t_max)
                before = before.clamp(max=silence)
            numbers = (
                window.a,
                window.b,
                window.tau,
                window.a * (1 - window.offset) if simultaneous else 0.0,
                window.offset,
            )
            if ctx.slide:
                grad_weight = stdp_conv2d_weight_gradient(
                    *(error, before, post, weight.shape[2]),
                    *(*ctx.slide, *numbers, silence),
                )
            else:
                grad_weight = stdp_weight_gradient(error, before, post, *numbers)
            grad_weight = grad_weight / max(1, samples)
            if window.w_max is not None:
                room = (window.w_max - weight).clamp(min=0)
                grad_weight = grad_weight * room**window.mu
        return grad_time, grad_weight, None, None, None, None


def sstdp(
    spike_time: Tensor,
    weight: Tensor,
    v_th: float | Tensor,
    *,
    t_max: int = 256,
    a: float = 1.0,
    b: float = 0.0,
    tau_mem: float | None = None,
    tau_stdp: float | None = None,
    offset: float = 0.0,
    w_max: float | None = None,
    mu: float = 0.0,
    normalize: Literal["l2"] | None = "l2",
    compat: Literal["released"] | None = None,
) -> Tensor:
    """First spike times of integrate-and-fire neurons on ticks, learning by SSTDP.

    Args:
        spike_time: Input spike times, (batch, ..., in), whole ticks from 0 to T-1, inf
            where silent. Dimensions between batch and in are places that share the
            weights.
        weight: Synaptic weights, (out, in), in units of v_th.
        v_th: Threshold > 0; a number, or a tensor () or (out,).
        t_max: Number of ticks T.
        a: Strengthening of inputs at or before the output spike, >= 0.
        b: Weakening of later and silent inputs, >= 0.
        tau_mem: Membrane time constant >= 1, in ticks; None = no leak.
        tau_stdp: Time constant > 0 of the exponential window, in ticks; None = the step
            window.
        offset: Exponential window: taken off the exponential.
        w_max: Soft bound of the weights; None = no bound.
        mu: Power of the soft bound, >= 0.
        normalize: "l2" gives the error of every sample the norm 1 in every layer; None
            leaves it.
        compat: "released" for the numbers of the released code.

    Returns:
        Output spike times, (batch, ..., out), whole ticks, inf = silent.

    Raises:
        TypeError: an argument is not a floating-point tensor, or dtypes differ.
        ValueError: shapes or devices do not fit; a time is no tick from 0 to T-1; a
            setting is out of range.

    Reference:
        Liu et al., Front. Neurosci. 15:756876 (2021); equations of this module.
    """
    return sstdp_with_potential(
        spike_time,
        weight,
        v_th,
        t_max=t_max,
        a=a,
        b=b,
        tau_mem=tau_mem,
        tau_stdp=tau_stdp,
        offset=offset,
        w_max=w_max,
        mu=mu,
        normalize=normalize,
        compat=compat,
    )[0]


def sstdp_with_potential(
    spike_time: Tensor,
    weight: Tensor,
    v_th: float | Tensor,
    *,
    t_max: int = 256,
    a: float = 1.0,
    b: float = 0.0,
    tau_mem: float | None = None,
    tau_stdp: float | None = None,
    offset: float = 0.0,
    w_max: float | None = None,
    mu: float = 0.0,
    normalize: Literal["l2"] | None = "l2",
    compat: Literal["released"] | None = None,
) -> tuple[Tensor, Tensor]:
    """`sstdp` with the potential at which each neuron fired, to break ties by.

    Args:
        spike_time: As in `sstdp`, like all that follow.
        weight: Synaptic weights.
        v_th: Threshold.
        t_max: Number of ticks.
        a: Strengthening.
        b: Weakening.
        tau_mem: Membrane time constant.
        tau_stdp: Time constant of the window.
        offset: Offset of the window.
        w_max: Soft bound.
        mu: Power of the soft bound.
        normalize: Normalisation of the error.
        compat: Numbers of the released code.

    Returns:
        Output spike times, and V > v_th at that tick (0 where silent; no gradient),
        both (batch, ..., out).

    Raises:
        TypeError: as in `sstdp`.
        ValueError: as in `sstdp`.
    """
    _check_tensors(spike_time, weight, t_max)
    return _fire(
        *(spike_time, weight, v_th, (), t_max, a, b, tau_mem, tau_stdp),
        *(offset, w_max, mu, normalize, compat),
    )


def sstdp_conv2d(
    spike_time: Tensor,
    weight: Tensor,
    v_th: float | Tensor,
    *,
    stride: int = 1,
    padding: int = 0,
    t_max: int = 256,
    a: float = 1.0,
    b: float = 0.0,
    tau_mem: float | None = None,
    tau_stdp: float | None = None,
    offset: float = 0.0,
    w_max: float | None = None,
    mu: float = 0.0,
    normalize: Literal["l2"] | None = "l2",
    compat: Literal["released"] | None = None,
) -> tuple[Tensor, Tensor]:
    """`sstdp_with_potential` of the patches that a kernel sees as it slides over maps.

    No patch is stored. The weight gradient sums over places and averages over samples.

    Args:
        spike_time: Input spike times, (batch, channel, height, width), whole ticks from
            0 to T-1, inf where silent, as is the border.
        weight: Synaptic weights, (map, channel, side, side), in units of v_th.
        v_th: Threshold > 0; a number, or a tensor () or (map,).
        stride: Step between places.
        padding: Silent border on every side.
        t_max: As in `sstdp`, like all that follow.
        a: Strengthening.
        b: Weakening.
        tau_mem: Membrane time constant.
        tau_stdp: Time constant of the window.
        offset: Offset of the window.
        w_max: Soft bound.
        mu: Power of the soft bound.
        normalize: Normalisation of the error.
        compat: Numbers of the released code.

    Returns:
        Output spike times, and V > v_th at that tick (0 where silent; no gradient),
        both (batch, map, down, across).

    Raises:
        TypeError: as in `sstdp`.
        ValueError: as in `sstdp`; stride or padding out of range.
    """
    require_convolution(spike_time, weight, stride, padding)
    _require_exact_ticks(weight, t_max)
    return _fire(
        *(spike_time, weight, v_th, (stride, padding), t_max, a, b, tau_mem, tau_stdp),
        *(offset, w_max, mu, normalize, compat),
    )


def _fire(
    spike_time,
    weight,
    v_th,
    slide,
    t_max,
    a,
    b,
    tau_mem,
    tau_stdp,
    offset,
    w_max,
    mu,
    normalize,
    compat,
):
    _check_settings(t_max, a, b, tau_mem, tau_stdp, offset, w_max, mu)
    for name, value, allowed in (
        ("normalize", normalize, ("l2", None)),
        ("compat", compat, ("released", None)),
    ):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; allowed are {allowed}.")
    v_th = threshold_per_neuron(v_th, weight).detach()
    window = _Window(
        float(a),
        float(b),
        float(tau_stdp or 0),
        float(offset),
        w_max,
        float(mu),
        normalize == "l2",
        compat == "released",
        t_max,
    )
    if tau_mem is None:
        return _SSTDPFunction.apply(spike_time, weight, v_th, 1.0, window, slide)
    # V + (dV - V) / tau is leak V + dV / tau; the kernel adds dV to tau V
    post, potential = _SSTDPFunction.apply(
        spike_time, weight, v_th * float(tau_mem), 1 - 1 / tau_mem, window, slide
    )
    return post, potential / tau_mem


# an op, so that torch.compile need not look at the values
@torch.library.custom_op("snn_temporal_plugins::sstdp_deliver", mutates_args=())
def _deliver(spike_time: Tensor, t_max: int, ticks: int) -> Tensor:
    """Check that times are ticks below t_max; those from `ticks` on become silent."""
    spikes = spike_time < math.inf
    tick = torch.where(spikes, spike_time, 0)
    wrong = spikes & ~((tick >= 0) & (tick < t_max) & (tick == tick.round()))
    wrong |= spike_time.isnan()
    if bool(wrong.any()):
        raise ValueError(
            f"spike_time holds {spike_time[wrong][0].item()}; allowed are whole ticks "
            f"from 0 to t_max - 1 = {t_max - 1}, and inf for silence. latency_ticks "
            "makes them."
        )
    return torch.where(spike_time < ticks, spike_time, math.inf).contiguous()


@_deliver.register_fake
def _(spike_time, t_max, ticks):
    return spike_time.new_empty(spike_time.shape)


def _check_tensors(spike_time: Tensor, weight: Tensor, t_max: int) -> None:
    require_synapses(spike_time, weight)
    if spike_time.dim() < 2 or spike_time.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)}, but weight has "
            f"{weight.shape[1]} inputs; expected (batch, ..., {weight.shape[1]})."
        )
    if (spike_time.dtype, spike_time.device) != (weight.dtype, weight.device):
        raise TypeError(
            f"spike_time is {spike_time.dtype} on {spike_time.device} but weight is "
            f"{weight.dtype} on {weight.device}; convert one with .to(...)."
        )
    _require_exact_ticks(weight, t_max)


def _require_exact_ticks(weight: Tensor, t_max: int) -> None:
    largest = int(2 / torch.finfo(weight.dtype).eps)
    if t_max > largest:
        raise ValueError(
            f"t_max is {t_max}, but {weight.dtype} holds whole ticks up to {largest} "
            "only; use float32."
        )


def _check_settings(t_max, a, b, tau_mem, tau_stdp, offset, w_max, mu) -> None:
    limits = (
        ("t_max", t_max, isinstance(t_max, int) and t_max >= 1, "a number of ticks"),
        ("a", a, 0 <= a < math.inf, "0 or more"),
        ("b", b, 0 <= b < math.inf, "0 or more"),
        ("tau_mem", tau_mem, tau_mem is None or 1 <= tau_mem < math.inf, "at least 1"),
        ("tau_stdp", tau_stdp, tau_stdp is None or 0 < tau_stdp < math.inf, "above 0"),
        ("offset", offset, math.isfinite(offset), "finite"),
        ("w_max", w_max, w_max is None or math.isfinite(w_max), "finite"),
        ("mu", mu, 0 <= mu < math.inf, "0 or more"),
    )
    for name, value, good, allowed in limits:
        if not good:
            raise ValueError(f"{name} is {value}; it must be {allowed}.")
