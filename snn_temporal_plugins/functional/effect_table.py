"""How the effect of one spike train on another grows with the number of output spikes.

ST-RSBP needs beta(n, o) = de/do, how the effect e (S-PSP) of n input spikes changes
with the number o of output spikes, in the mean over random trains. The authors draw
such trains; here the mean is exact. A train is any set of steps from 1..T-1 with more
than r (`refractory`) steps from spike to spike, all equally likely. With
A_k(x) = C(x - (k-1) r, k) the number of ways to place k spikes in x steps,

    E s[t] = sum_a A_a(t - r - 1) A_(n-1-a)(T - 1 - t - r) / A_n(T - 1)
    E p[t] = (1 - 1/tau_syn) E p[t-1] + E s[t-1]
    G_k[t] = A_k(T - 1 - t - r) + (1 - 1/tau_mem) G_k[t+1]
    E m[t] = sum_a A_a(t - r - 1) G_(o-1-a)[t] / A_o(T - 1)
    E e    = 1/tau_syn sum_t E m[t] E p[t]

(p and m as in `kernels.st_rsbp`: G gathers the next spike f >= t, which counts
(1 - 1/tau_mem)^(f-t), with all that can follow it.)

Source: Zhang and Li, NeurIPS 2019 (beta, and its polynomials); the sums are ours.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

ROWS = 100  # of the authors' tables: input counts from 1 to 100
_DEGREE = 4


class SideFactors(NamedTuple):
    """beta(n, o) = sum_k by_input[n, k] by_output[o, k], a product of small tables.

    Attributes:
        by_input: (input counts from 0, k); counts behind the last row use that.
        by_output: (output counts from 0, k); likewise. Row 0, of silence, is not 0.
    """

    by_input: Tensor
    by_output: Tensor


@lru_cache(maxsize=32)
def mean_effect(
    tau_mem: float, tau_syn: float, num_steps: int, refractory: int = 2
) -> np.ndarray:
    """Mean effect of random spike trains on each other, exactly.

    Args:
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        num_steps: Number of steps T, 2 or more.
        refractory: Steps r after a spike without another.

    Returns:
        E e, (input counts, output counts), both from 0 to 100, or to as many spikes as
        fit into T - 1 steps. Read-only.

    Raises:
        ValueError: num_steps is below 2.
    """
    if num_steps < 2:
        raise ValueError(f"num_steps is {num_steps}; at least 2 steps can hold spikes.")
    steps = num_steps - 1  # 1..T-1
    most = min(ROWS, (steps + refractory) // (refractory + 1))
    scale = 2 ** max(0, (steps // 32).bit_length() - 1)  # rounds nothing
    ways = np.zeros((most + 1, steps + 1))  # A_k(x) / scale^k: no overflow in k
    for k in range(most + 1):
        number, unit, first = 1, scale**k, k + max(k - 1, 0) * refractory
        for more in range(steps + 1 - first):
            if more:
                number = number * (k + more) // more  # C(k + more, k)
            ways[k, first + more] = number / unit
    t = np.arange(1, num_steps)
    before = ways[:, np.maximum(t - refractory - 1, 0)]  # (k, t)
    behind = ways[:, np.maximum(steps - t - refractory, 0)]
    gathered = behind.copy()
    for i in range(steps - 2, -1, -1):
        gathered[:, i] += (1 - 1 / tau_mem) * gathered[:, i + 1]
    spike, kernel = np.zeros((most + 1, steps)), np.zeros((most + 1, steps))
    for n in range(1, most + 1):
        all_ways = ways[n, steps] * scale
        spike[n] = (before[:n] * behind[n - 1 :: -1]).sum(0) / all_ways
        kernel[n] = (before[:n] * gathered[n - 1 :: -1]).sum(0) / all_ways
    trace = np.zeros_like(spike)
    for i in range(1, steps):
        trace[:, i] = (1 - 1 / tau_syn) * trace[:, i - 1] + spike[:, i - 1]
    effect = trace @ kernel.T / tau_syn
    effect.flags.writeable = False
    return effect


def effect_polynomials(
    tau_mem: float, tau_syn: float, num_steps: int, refractory: int = 2
) -> Tensor:
    """Polynomials of degree 4 in the output count, fitted to the mean effect.

    Args:
        tau_mem: Membrane time constant, in steps.
        tau_syn: Synaptic time constant, in steps.
        num_steps: Number of steps T.
        refractory: Steps after a spike without another.

    Returns:
        Coefficients, highest power first, (input counts from 1, 5), float64, as in the
        authors' files `p_Tau_64_400-100`.
    """
    effect = mean_effect(tau_mem, tau_syn, num_steps, refractory)
    count = np.arange(1, effect.shape[1])
    degree = min(_DEGREE, len(count) - 1)
    fits = np.zeros((len(effect) - 1, _DEGREE + 1))
    for row, values in zip(fits, effect[1:, 1:], strict=True):
        row[_DEGREE - degree :] = np.polyfit(count, values, degree)
    return torch.from_numpy(fits)


@lru_cache(maxsize=32)
def _fitted(tau_mem, tau_syn, num_steps, refractory) -> SideFactors:
    polynomials = effect_polynomials(tau_mem, tau_syn, num_steps, refractory)
    return polynomial_factors(polynomials, num_steps)


@lru_cache(maxsize=32)
def _direct(tau_mem, tau_syn, num_steps, refractory) -> SideFactors:
    effect = mean_effect(tau_mem, tau_syn, num_steps, refractory)
    slope = np.gradient(effect[:, 1:], axis=1) if effect.shape[1] > 2 else effect[:, 1:]
    slope = np.concatenate([slope[:, :1], slope], 1)
    slope[0] = slope[1]  # a silent input counts as one spike, as in the fits
    u, size, v = np.linalg.svd(slope, full_matrices=False)
    keep = size > 1e-12 * size[0]
    return SideFactors(
        torch.from_numpy(u[:, keep] * size[keep]),
        torch.from_numpy(np.ascontiguousarray(v[keep].T)),
    )


def polynomial_factors(polynomials: Tensor, num_steps: int) -> SideFactors:
    """Beta as the derivative of polynomials in the output count.

        beta(n, o) = 4 c0 o^3 + 3 c1 o^2 + 2 c2 o + c3

    Args:
        polynomials: c of input counts from 1 on, (counts, 5), highest power first.
        num_steps: Number of steps T; output counts go up to that.

    Returns:
        The factors, float64.

    Raises:
        ValueError: polynomials has another shape.
    """
    if polynomials.dim() != 2 or polynomials.shape[1] != 5 or not len(polynomials):
        raise ValueError(
            f"polynomials has shape {tuple(polynomials.shape)}; it must be (input "
            "counts, 5), highest power first."
        )
    power = torch.arange(4, 0, -1, dtype=torch.float64)
    count = torch.arange(num_steps + 1, dtype=torch.float64)
    by_input = polynomials.double()[:, :4]
    return SideFactors(
        torch.cat([by_input[:1], by_input]),  # a silent input counts as one spike
        power * count[:, None] ** (power - 1),
    )


def side_factors(
    tau_mem: float,
    tau_syn: float,
    num_steps: int,
    refractory: int = 2,
    side: Literal["polynomial", "direct"] = "polynomial",
) -> SideFactors:
    """beta(n, o) of random trains, by polynomials or straight from the mean effect.

    Args:
        tau_mem: Membrane time constant, in steps.
        tau_syn: Synaptic time constant, in steps.
        num_steps: Number of steps T.
        refractory: Steps after a spike without another.
        side: "polynomial": derivative of the fits, as in the paper. "direct": central
            difference of the mean effect itself.

    Returns:
        The factors, float64.

    Raises:
        ValueError: side is unknown, or num_steps below 2.
    """
    if side not in ("polynomial", "direct"):
        raise ValueError(f"side is {side!r}; allowed are 'polynomial' and 'direct'.")
    table = _fitted if side == "polynomial" else _direct
    return table(float(tau_mem), float(tau_syn), num_steps, refractory)
