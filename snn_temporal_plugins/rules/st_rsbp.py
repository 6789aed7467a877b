"""ST-RSBP: backpropagation at the level of whole spike trains, for recurrent networks.

Paper: W. Zhang, P. Li, "Spike-Train Level Backpropagation for Training Deep Recurrent
Spiking Neural Networks", NeurIPS 2019; released code stonezwr/ST-RSBP, commit 4d15a90.

Forward, per neuron i, t = 0..T-1, all of it 0 before the first step:

    (1) q    = (1 - 1/tau_syn) q + sum_j W_ij s_j[t-1] + sum_p R_ip s_p[t-1]
    (2) v    = (1 - 1/tau_mem) v + q / tau_syn    0 for `refractory` steps after a spike
    (3) s[t] = v > v_th - 1e-6, then v = 0

Backward, in spike counts o = sum_t s[t], with the effect e_ij of input j of unit weight
on the potentials at which i fires (`kernels.synaptic_effect`):

    (4) rho_ij  = e_ij / o_j, 0.5 where o_i or o_j is 0            de/do_j
    (5) beta_ij = mean of de/do_i over random trains, 0 where o_i = 0    `side`
    (6) S_i     = 1 - (sum_j W_ij beta_ij + sum_p R_ip beta_ip) / v_th
    (7) delta_i = (dE/do_i) / v_th
    (8) dE/dW_ij = sum_batch F_i delta_i e_ij / S_i,   likewise R where R_ip is not 0
    (9) dE/do_j  = sum_i W_ij rho_ij y_i,   L^T y = delta
        L_lp     = S_l [l = p] - R_lp rho_lp / v_th,   so y = delta / S without R

A law for spike counts: the gradient that comes in is averaged over time (a loss on
counts has the same for all steps), and the one that goes out is the same for all steps.
Activity is sum_j W_ij e_ij + sum_p R_ip e_ip = sum of v at the spikes, exactly.

Output neurons inhibit each other: with the strength w (`lateral`) R_ip = -w for p other
than i in (1), which is fixed and not in (6) or (9), and

    F_j = 1 / (1 - w^2 sum_(l not j) rho_lj rho_jl D_l D_j),   D = 1/v_th or 0 if silent

Without, F = 1. An output layer may be told the label: D of its neuron is 1/v_th, and
where that neuron is silent, e, S and rho (but not F) are those of a train with
`desired_count` spikes at equal distances.

Details of the released code that are followed: with R, |S| >= 1e-4 and o_i is clamped
to 1..100 (the rows of the table) in (5); the diagonal of R rho is left out of L though
neurons may be connected to themselves (`self_connections` puts it in). Its linear solve
reads matrices in the wrong order; `solver="original"` does so too.

Departures: convolution uses the e of the dense layers, not the continuous one of the
code, its S, which the code truncates to a whole number, and the 1e-6 of (3). F has no
denominator below 1e-4 in size: four neurons that fire beside a silent label give 0 at
v_th = w = 1.
"""

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

from snn_temporal_plugins.functional.arguments import require_floating
from snn_temporal_plugins.functional.effect_table import (
    SideFactors,
    polynomial_factors,
    side_factors,
)
from snn_temporal_plugins.functional.lif import require_window
from snn_temporal_plugins.functional.spike_train import (
    SpikeTrainState,
    SpikeTrainWindow,
    error_of_counts,
    require_neuron,
    require_settings,
    spike_counts,
    state_or_rest,
    whole,
)
from snn_temporal_plugins.kernels import (
    effect_gradient,
    effect_ratio,
    image_effects,
    image_window,
    slid,
    spike_train_window,
    synaptic_effect,
    weighted_ratio,
)

Side = Literal["polynomial", "direct"]
Solver = Literal["math", "original"]

# tables of numbers alone, which torch.compile need not trace
_side_factors = torch.compiler.assume_constant_result(side_factors)
_AT_ONCE = 4  # samples whose (out, out) tables are held
_SMALLEST = 1e-4  # of S with recurrent connections, and of 1 / F


class _Law(NamedTuple):
    v_th: float
    tau_mem: float
    tau_syn: float
    refractory: int
    side: SideFactors
    solver: Solver
    self_connections: bool
    stride: int
    padding: int
    label: Tensor | None
    desired_count: int
    lateral: float


class _STRSBPFunction(torch.autograd.Function):
    @staticmethod
    def forward(x, weight, recurrent, last, neurons, law):
        if weight.dim() == 4:
            slide = law.stride, law.padding
            return image_window(x, last, weight, neurons, *law[:4], *slide)
        if law.lateral:
            recurrent = law.lateral * (torch.eye(len(weight)).to(weight) - 1)
        return spike_train_window(x, last, weight, recurrent, neurons, *law[:4])

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, weight, recurrent, _, _, ctx.law = inputs
        spikes, activity, state = output
        ctx.mark_non_differentiable(activity, state)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, recurrent, spikes)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _grad_activity, _grad_state):
        if grad is None:
            return (None,) * 6
        x, weight, recurrent, spikes = ctx.saved_tensors
        law = ctx.law
        delta = error_of_counts(grad) / law.v_th  # (7)
        for_weights = delta
        if law.lateral:
            for_weights = delta * _lateral_factor(spikes, law)
        if law.label is not None:
            spikes = _forced(spikes, law.label, law.desired_count)
        need_in = ctx.needs_input_grad[0]
        body = _conv_gradients if weight.dim() == 4 else _dense_gradients
        grad_in, grad_weight, grad_recurrent = body(
            x, spikes, weight, recurrent, delta, for_weights, law, need_in
        )
        grad_x = grad_in.expand(len(x), *grad_in.shape) if need_in else None
        return grad_x, grad_weight, grad_recurrent, None, None, None


def _side_sum(weight: Tensor, count_in: Tensor, count: Tensor, law: _Law) -> Tensor:
    """sum_j W_ij beta(o_j, o_i), (batch, out)."""
    dtype, weight = weight.dtype, weight.to(_wide(weight))
    by_input, by_output = (table.to(weight) for table in law.side)
    total = torch.zeros_like(count, dtype=weight.dtype)
    row = count_in.long().clamp(max=len(by_input) - 1)
    column = count.long().clamp(max=len(by_output) - 1)
    for k in range(by_input.shape[1]):
        weighted = _weighted_sum(by_input[:, k][row], weight, law)
        total = total + by_output[:, k][column] * weighted
    return total.to(dtype)


def _wide(x: Tensor) -> torch.dtype:
    """The type of x, or float32: powers of counts overflow half precision."""
    return torch.promote_types(x.dtype, torch.float32)


def _weighted_sum(x: Tensor, weight: Tensor, law: _Law) -> Tensor:
    """What the synapses make of (batch, in, ...): (batch, out)."""
    if weight.dim() == 2:
        return F.linear(x, weight)
    return F.conv2d(x, weight, stride=law.stride, padding=law.padding).flatten(1)


def _dense_gradients(
    x, spikes, weight, recurrent, delta, for_weights, law, need_in
) -> tuple[Tensor, Tensor, Tensor | None]:
    constants = law.tau_mem, law.tau_syn, law.refractory
    count_in, count = spike_counts(x), spike_counts(spikes)
    if not len(recurrent):
        side = _side_sum(weight, count_in, count, law)
        s = 1 - torch.where(count > 0, side, 0) / law.v_th  # (5), (6)
        passed, error = delta / s, for_weights / s
        grad_in, grad = effect_gradient(
            x, spikes, weight, error, passed, *constants, need_in
        )
        return grad_in, grad, None
    clamped = count.clamp(1, len(law.side.by_input) - 1)
    side = _side_sum(weight, count_in, clamped, law)
    side = side + _side_sum(recurrent, count, clamped, law)
    s = _away_from_zero(1 - side / law.v_th)
    error, passed = delta / s, torch.zeros_like(delta)
    original = law.solver == "original"
    if need_in:  # (9)
        grad_in, grad_recurrent = torch.zeros_like(count_in), 0
        coupling = recurrent.mT.contiguous().mT / -law.v_th  # as the kernel reads it
        some = torch.arange(len(delta), device=delta.device)
        if not torch.compiler.is_compiling():  # no graph leaves out by values
            some = some[delta.ne(0).any(1)]  # the others have no error
        for b in some.split(_AT_ONCE):
            system, grad = weighted_ratio(
                spikes, spikes, coupling, error, b, *constants
            )
            grad_recurrent = grad_recurrent + grad
            diagonal = system.diagonal(dim1=1, dim2=2)
            diagonal.copy_(diagonal + s[b] if law.self_connections else s[b])
            if original:
                phi, _ = weighted_ratio(x, spikes, weight, passed, b, *constants)
                grad_in[b] = _original_solve(system, phi, delta[b])
            else:
                passed[b] = _solve(system.mT, delta[b])
    else:
        _, grad_recurrent = effect_gradient(
            spikes, spikes, recurrent, error, passed, *constants, False
        )
    grad_recurrent = grad_recurrent * (recurrent != 0)
    through, grad = effect_gradient(
        x, spikes, weight, error, passed, *constants, need_in and not original
    )
    return grad_in if need_in and original else through, grad, grad_recurrent


def _solve(system: Tensor, right: Tensor) -> Tensor:
    """The solution, in single precision at least: there is none in half."""
    kind = _wide(system)
    return torch.linalg.solve(system.to(kind), right.to(kind)).to(system.dtype)


def _original_solve(system: Tensor, phi: Tensor, delta: Tensor) -> Tensor:
    """dE/do_j as the released program computes it, matrices read column by column."""
    samples, n, n_in = phi.shape
    columns = phi.contiguous().view(samples, n_in, n).mT
    solution = _solve(system.mT, columns)
    return (delta[:, None] @ solution.mT.contiguous().view(samples, n, n_in))[:, 0]


def _conv_gradients(
    x, spikes, weight, recurrent, delta, for_weights, law, need_in
) -> tuple[Tensor, Tensor, Tensor | None]:
    count_in, count = spike_counts(x), spike_counts(spikes)
    clamped = count.clamp(max=len(law.side.by_input) - 1)
    side = _side_sum(weight, count_in, clamped, law)
    s = 1 - torch.where(count > 0, side, 0) / law.v_th
    passed = delta / s
    constants = law.tau_mem, law.tau_syn, law.refractory, law.stride, law.padding
    through, grad = image_effects(x, spikes, weight, passed, *constants, need_in)
    if not need_in:
        return through, grad, None
    size = len(delta), len(weight), *slid(x.shape[3:], weight.shape[2:], *constants[3:])

    def half(y: Tensor) -> Tensor:
        slide = {"stride": law.stride, "padding": law.padding}
        return 0.5 * conv2d_input(count_in.shape, weight, y.view(size), **slide)

    active = through / count_in.clamp(min=1) + half(passed * (count == 0))
    return torch.where(count_in > 0, active, half(passed)), grad, None


def _lateral_factor(spikes: Tensor, law: _Law) -> Tensor:
    """F of the module docstring, (batch, out)."""
    count = spike_counts(spikes)
    effect = synaptic_effect(spikes, spikes, law.tau_mem, law.tau_syn, law.refractory)
    ratio = effect_ratio(effect, count, count)
    fires = count > 0
    if law.label is not None:
        fires = fires | F.one_hot(law.label, count.shape[1]).bool()
    gain = fires.to(effect) / law.v_th
    both = ratio * ratio.mT * gain[:, :, None] * gain[:, None, :]
    itself = torch.eye(count.shape[1], dtype=torch.bool, device=count.device)
    total = both.masked_fill(itself, 0).sum(1)
    return 1 / _away_from_zero(1 - law.lateral**2 * total)


def _away_from_zero(x: Tensor) -> Tensor:
    """x, or +-1e-4 where it is smaller than that."""
    return torch.where(x < 0, x.clamp(max=-_SMALLEST), x.clamp(min=_SMALLEST))


def _forced(spikes: Tensor, label: Tensor, desired_count: int) -> Tensor:
    """The spikes, with a regular train where the label's neuron is silent."""
    period = len(spikes) // desired_count
    if period < 1:
        return spikes
    regular = torch.zeros_like(spikes[:, :1, :1])
    regular[period::period] = 1
    told = F.one_hot(label, spikes.shape[2]).bool()
    return torch.where(told & (spike_counts(spikes) == 0), regular, spikes)


def st_rsbp(
    spikes: Tensor,
    weight: Tensor,
    recurrent_weight: Tensor | None = None,
    *,
    v_th: float = 1.0,
    tau_mem: float = 64.0,
    tau_syn: float = 8.0,
    refractory: int = 2,
    side: Side = "polynomial",
    polynomials: Tensor | None = None,
    solver: Solver = "math",
    self_connections: bool = False,
    stride: int = 1,
    padding: int = 0,
    label: Tensor | None = None,
    desired_count: int = 35,
    lateral: float = 0.0,
) -> Tensor:
    """Spikes of leaky integrate-and-fire neurons with delayed synapses, over a window.

    Gradients are sums over the batch; the released code has batches of one sample, so
    a loss that is a mean over the batch gives the mean of its gradients.

    Args:
        spikes: Input spikes, 0 or 1, (time, batch, in), or (time, batch, channel, H, W)
            for a convolution.
        weight: Synaptic weights W, (out, in) or (out, channel, side, side).
        recurrent_weight: R, (out, out), R_ip from p to i; 0 means that there is no
            connection, and stays 0. None: a layer without. Dense layers only.
        v_th: Threshold > 1e-6.
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        refractory: Steps >= 0 after a spike in which the membrane is 0.
        side: How beta is found: derivative of fitted "polynomial"s, or "direct".
        polynomials: Coefficients to be used instead, (input counts, 5), highest power
            first, for example the authors' table of 64 and 400 steps.
        solver: "math" solves (9); "original" as the released program does.
        self_connections: Whether the diagonal of R rho belongs to L.
        stride: Convolution: step between patches.
        padding: Convolution: silent border on every side.
        label: Output layer in training: class indices, (batch,), int64, for F and
            forced spikes.
        desired_count: Spikes forced upon the label's neuron where it is silent; none
            in a window of fewer steps.
        lateral: Strength >= 0 of lateral inhibition, 1 in the paper's output layers.
            Excludes recurrent weights.

    Returns:
        Output spikes, 0 or 1, (time, batch, out) or (time, batch, out, H', W').

    Raises:
        TypeError: an argument is not a floating-point tensor, dtypes differ, or labels
            are not int64.
        ValueError: shapes do not fit, an input is neither 0 nor 1, weights hold NaN or
            inf, or a setting is out of range.

    Reference:
        Zhang and Li, NeurIPS 2019; equations (1)-(9) of this module.
    """
    return st_rsbp_window(
        spikes,
        weight,
        recurrent_weight,
        v_th=v_th,
        tau_mem=tau_mem,
        tau_syn=tau_syn,
        refractory=refractory,
        side=side,
        polynomials=polynomials,
        solver=solver,
        self_connections=self_connections,
        stride=stride,
        padding=padding,
        label=label,
        desired_count=desired_count,
        lateral=lateral,
    ).spikes


def st_rsbp_window(
    spikes: Tensor,
    weight: Tensor,
    recurrent_weight: Tensor | None = None,
    state: SpikeTrainState | None = None,
    *,
    v_th: float = 1.0,
    tau_mem: float = 64.0,
    tau_syn: float = 8.0,
    refractory: int = 2,
    side: Side = "polynomial",
    polynomials: Tensor | None = None,
    solver: Solver = "math",
    self_connections: bool = False,
    stride: int = 1,
    padding: int = 0,
    label: Tensor | None = None,
    desired_count: int = 35,
    lateral: float = 0.0,
) -> SpikeTrainWindow:
    """`st_rsbp` with the activity, going on from the window before.

    Two windows of T/2 steps give the very spikes of one of T. Each learns on its own.

    Args:
        spikes: As in `st_rsbp`, like all but `state`.
        weight: Synaptic weights.
        recurrent_weight: Recurrent weights.
        state: Where the window before has ended; None = at rest.
        v_th: Threshold.
        tau_mem: Membrane time constant.
        tau_syn: Synaptic time constant.
        refractory: Refractory steps.
        side: How beta is found.
        polynomials: Coefficients of beta.
        solver: Solver of (9).
        self_connections: Diagonal of L.
        stride: Step between patches.
        padding: Border.
        label: Class indices.
        desired_count: Forced spikes.
        lateral: Lateral inhibition.

    Returns:
        Spikes, activity and the state at the end.

    Raises:
        TypeError: as in `st_rsbp`.
        ValueError: as in `st_rsbp`, or state does not fit.
    """
    require_window("spikes", spikes)
    require_neuron(v_th, tau_mem, tau_syn, refractory)
    _check_settings(solver, stride, padding, desired_count, lateral)
    size = _output_size(spikes, weight, recurrent_weight, stride, padding)
    if lateral and (recurrent_weight is not None or len(size) != 1):
        raise ValueError(
            "lateral inhibition is for dense output layers without recurrent_weight; "
            f"here lateral is {lateral}. Leave it at 0."
        )
    state = state_or_rest(state, spikes, math.prod(size))
    if label is not None:
        _check_label(label, spikes.shape[1], size)
    steps = len(spikes)
    if torch.compiler.is_compiling():
        steps = len(spikes.unbind())  # a graph for each number of steps, not for all
    if polynomials is not None:
        factors = polynomial_factors(polynomials, steps)
    else:  # two steps at least: in one nothing is learnt, and no table needed
        steps = max(2, steps)
        factors = _side_factors(tau_mem, tau_syn, steps, refractory, side)
    law = _Law(
        float(v_th),
        float(tau_mem),
        float(tau_syn),
        refractory,
        factors,
        solver,
        self_connections,
        stride,
        padding,
        label,
        desired_count,
        float(lateral),
    )
    if recurrent_weight is None:
        recurrent_weight = weight.new_empty(0, 0)
    out, activity, end = _STRSBPFunction.apply(
        spikes, weight, recurrent_weight, state.last_input, state.neurons, law
    )
    return SpikeTrainWindow(
        out.unflatten(2, size),
        activity.unflatten(1, size),
        SpikeTrainState(end, spikes[-1].detach().clone()),
    )


def _output_size(spikes, weight, recurrent, stride, padding) -> tuple[int, ...]:
    """Shape of one sample's output, after a check of all shapes and types."""
    for name, value in (("weight", weight), ("recurrent_weight", recurrent)):
        if value is None and name != "weight":
            continue
        require_floating(name, value)
        if (value.dtype, value.device) != (spikes.dtype, spikes.device):
            raise TypeError(
                f"{name} is {value.dtype} on {value.device} but spikes is "
                f"{spikes.dtype} on {spikes.device}; convert one with .to(...)."
            )
    if weight.dim() == 2:
        if spikes.dim() != 3 or spikes.shape[2] != weight.shape[1]:
            raise ValueError(
                f"spikes has shape {tuple(spikes.shape)}, but weight has "
                f"{weight.shape[1]} inputs; expected (time, batch, {weight.shape[1]})."
            )
        size: tuple[int, ...] = (len(weight),)
    elif weight.dim() == 4:
        if spikes.dim() != 5 or spikes.shape[2] != weight.shape[1]:
            raise ValueError(
                f"spikes has shape {tuple(spikes.shape)}, but weight takes "
                f"{weight.shape[1]} maps; expected (time, batch, {weight.shape[1]}, "
                "height, width)."
            )
        height, width = slid(spikes.shape[3:], weight.shape[2:], stride, padding)
        if height < 1 or width < 1:
            raise ValueError(
                f"input of {tuple(spikes.shape[3:])} with padding {padding} is smaller "
                f"than the kernel of {tuple(weight.shape[2:])}."
            )
        size = (len(weight), height, width)
    else:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}; it must be (out, in), or (out, "
            "channel, side, side) for a convolution."
        )
    if not weight.numel():
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}; every size must be at least 1."
        )
    if recurrent is not None and tuple(recurrent.shape) != (*size, *size):
        raise ValueError(
            f"recurrent_weight has shape {tuple(recurrent.shape)}; it must be (out, "
            f"out) of a dense layer, here weight has shape {tuple(weight.shape)}."
        )
    return size


def _check_label(label: Tensor, batch: int, size: tuple[int, ...]) -> None:
    if label.dtype != torch.int64:
        raise TypeError(f"label is {label.dtype}; class indices are torch.int64.")
    if len(size) != 1 or tuple(label.shape) != (batch,):
        raise ValueError(
            f"label has shape {tuple(label.shape)}; an output layer is dense and takes "
            f"class indices ({batch},)."
        )
    if torch.compiler.is_compiling():  # no graph holds a raise
        return
    if batch and not 0 <= int(label.min()) <= int(label.max()) < size[0]:
        raise ValueError(
            f"label holds {int(label.min())} to {int(label.max())}; allowed are 0 to "
            f"{size[0] - 1}."
        )


def _check_settings(solver, stride, padding, desired_count, lateral) -> None:
    require_settings(
        ("solver", solver, solver in ("math", "original"), "'math' or 'original'"),
        ("stride", stride, whole(stride, 1), "a whole number, 1 or more"),
        ("padding", padding, whole(padding, 0), "a whole number, 0 or more"),
        ("desired_count", desired_count, whole(desired_count, 1), "1 or more spikes"),
        ("lateral", lateral, 0 <= lateral < math.inf, "0 or more"),
    )
