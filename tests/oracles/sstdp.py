"""SSTDP, literally: every tick is simulated, every pair of spikes looked at alone.

Times are float64 with silent = inf; forward and backward take (batch, ..., in).
"""

import math

import numpy as np


def forward(time, weight, v_th, *, ticks, tau_mem=None):
    """First spikes of a layer over the ticks 0..ticks-1, and the potential there."""
    post = np.full((*time.shape[:-1], len(weight)), math.inf)
    level = np.zeros_like(post)
    for n in np.ndindex(post.shape):
        row, weights = time[n[:-1]], weight[n[-1]]
        v = 0.0
        for k in range(ticks):
            arriving = sum(w for t, w in zip(row, weights, strict=True) if t == k)
            v = v + arriving if tau_mem is None else v + (arriving - v) / tau_mem
            if v > v_th:  # strict: equality does not fire
                post[n], level[n] = k, v
                break
    return post, level


def window(t, u, *, a, b, tau=None, offset=0.0, compat=None, t_max=math.inf):
    """Signed window s and causality c of an input spike at t, an output spike at u."""
    causal = t < math.inf and t <= u
    if tau is None:
        return (a if causal else -b), float(causal)
    u = min(u, t_max)  # late, not lost
    if compat == "released":
        t = min(t, t_max)
        if t == u:
            return 0.0, 0.0
    if t <= u:
        return a * (math.exp((t - u) / tau) - offset), float(causal)
    return -b * (math.exp((u - t) / tau) - offset), 0.0


def normalise(error):
    """Each sample divided by its L2 norm over all its outputs; zero stays zero."""
    out = np.zeros_like(error)
    for n, sample in enumerate(error):
        out[n] = sample / (math.sqrt((sample**2).sum()) + 1e-10)
    return out


def backward(
    time,
    weight,
    post,
    error,
    *,
    a=1.0,
    b=0.0,
    tau_stdp=None,
    offset=0.0,
    w_max=None,
    mu=0.0,
    normalize="l2",
    compat=None,
    t_max=None,
):
    """Gradients of time and weight: mean over the batch, sum over the places."""
    grad_time, grad_weight = np.zeros(time.shape), np.zeros(weight.shape)
    if normalize == "l2":
        error = normalise(error)
    for n in np.ndindex(post.shape):
        j = n[-1]
        for i in range(time.shape[-1]):
            t = time[(*n[:-1], i)]
            s, c = window(
                *(t, post[n]),
                **{"a": a, "b": b, "tau": tau_stdp, "offset": offset},
                **{"compat": compat, "t_max": t_max},
            )
            if w_max is not None:
                s *= max(w_max - weight[j, i], 0.0) ** mu
            grad_weight[j, i] -= error[n] * s / len(time)
            grad_time[(*n[:-1], i)] += error[n] * weight[j, i] * c
    return grad_time, grad_weight


def mean_target(post, label, *, t_max, gap=5.0, over="fired"):
    """Targets around the mean time, as far as the neurons are not beyond them."""
    target = np.zeros(post.shape)
    n = post.shape[1]
    for b, row in enumerate(np.minimum(post, t_max)):
        counted = [u for u in row if u < t_max or over == "all"]
        mean = sum(counted) / len(counted) if counted else t_max
        mean = min(mean, t_max - gap / n)
        for j, u in enumerate(row):
            if j == label[b]:
                wanted = min(u, mean - (n - 1) / n * gap)
            else:
                wanted = max(u, mean + gap / n)
            target[b, j] = min(max(wanted, 0.0), t_max)
    return target


def first_target(post, label, *, t_max, gap=5.0):
    """Targets relative to the first output spike."""
    target = np.zeros(post.shape)
    for b, row in enumerate(np.minimum(post, t_max)):
        first = row.min()
        if first == t_max:
            first = t_max - gap
        for j, u in enumerate(row):
            target[b, j] = first if j == label[b] else min(t_max, max(u, first + gap))
    return target


def squared_time_loss(post, target, t_max):
    """1/2 the squared distance, mean over the batch, and its gradient."""
    distance = np.minimum(post, t_max) - target
    return 0.5 * (distance**2).sum(1).mean(), distance / len(post)


def latency_tick(x, t_max, x_min=0.0):
    """Tick of one intensity, in float32; inf = silent."""
    if x <= x_min:
        return math.inf
    one = np.float32(1)
    return float(np.round((one - np.float32(x)) * np.float32(t_max - 1)))
