"""ReL-PSP neuron and STDBP, literally: specs 1.1-1.3 and 2.1, one pair at a time."""

import numpy as np


def first_spike(times, weights, v_th, t_max=np.inf):
    """First t with sum_i w_i max(0, t - t_i) >= v_th: try every interval in turn."""
    finite = np.isfinite(times)
    breakpoints = np.unique(times[finite])
    for k, start in enumerate(breakpoints):
        end = breakpoints[k + 1] if k + 1 < len(breakpoints) else np.inf
        causal = finite & (times <= start)
        slope = weights[causal].sum()
        if slope <= 0:
            continue
        t = (v_th + (weights[causal] * times[causal]).sum()) / slope  # 1.3
        if start < t <= end:
            return t if t <= t_max else np.inf
    return np.inf


def layer(times, weights, v_th, t_max=np.inf):
    """Spike times (batch, out) of inputs (batch, in) and weights (out, in)."""
    return np.array(
        [
            [
                first_spike(row, w, th, t_max)
                for w, th in zip(weights, v_th, strict=True)
            ]
            for row in times
        ]
    ).reshape(len(times), len(weights))


def stdbp(times, weights, post, error, slope_clip=np.inf):
    """Gradients of 2.1 for the upstream error dL/dt_j: (dt_i, dw_ij, dv_th_j)."""
    grad_time = np.zeros_like(times)
    grad_weight = np.zeros_like(weights)
    grad_v_th = np.zeros(len(weights))
    for b in range(len(times)):
        for j in range(len(weights)):
            if not np.isfinite(post[b, j]):
                continue
            causal = times[b] < post[b, j]
            delta = error[b, j] * min(1 / weights[j, causal].sum(), slope_clip)
            grad_weight[j, causal] -= delta * (post[b, j] - times[b, causal])
            grad_time[b, causal] += delta * weights[j, causal]
            grad_v_th[j] += delta
    return grad_time, grad_weight, grad_v_th
