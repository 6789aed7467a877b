"""ST-RSBP, literally: one sample, one neuron, one pair of neurons at a time.

Where the package sums over samples with M or m p, this file runs the recursion of every
pair; where it solves for one vector, this file solves for all of P. Arrays are float64;
trains are 0 and 1, time first: (time, neuron), or (time, channel, height, width).
"""

import numpy as np


def forward(x, weight, recurrent, *, v_th, tau_mem, tau_syn, refractory, last=None):
    """Spikes (time, out), and membranes before the reset."""
    steps, neurons = len(x), len(weight)
    spikes, membrane = np.zeros((2, steps, neurons))
    v, q, wait = np.zeros((3, neurons))
    before, own = (np.zeros(x.shape[1]) if last is None else last), np.zeros(neurons)
    for t in range(steps):
        for i in range(neurons):
            q[i] *= 1 - 1 / tau_syn
            for j in range(x.shape[1]):
                q[i] += weight[i, j] * before[j]
            for p in range(neurons if recurrent is not None else 0):
                q[i] += recurrent[i, p] * own[p]
            v[i] = v[i] * (1 - 1 / tau_mem) + q[i] / tau_syn
            if wait[i] > 0:
                v[i] = 0
                wait[i] -= 1
            membrane[t, i] = v[i]
            if v[i] > v_th - 1e-6:
                spikes[t, i] = 1
                v[i] = 0
                wait[i] = refractory
        before, own = x[t], spikes[t]
    return spikes, membrane


def effect(pre, post, *, tau_mem, tau_syn, refractory):
    """The S-PSP of one train on another, both (time,)."""
    p = q = e = 0.0
    wait = 0
    for t in range(len(pre)):  # a window that goes on may begin with a spike
        p *= 1 - 1 / tau_syn
        if t > 0 and pre[t - 1]:
            p += 1
        q = q * (1 - 1 / tau_mem) + p / tau_syn
        if wait > 0:
            q = 0.0
            wait -= 1
        if post[t]:
            e += q
            q = 0.0
            wait = refractory
    return e


def effects(pre, post, **constants):
    """The S-PSP of every pair, (out, in)."""
    pairs = [[effect(a, b, **constants) for a in pre.T] for b in post.T]
    return np.array(pairs).reshape(post.shape[1], pre.shape[1])


def ratio(e, count_in, count):
    """de/do of the input count."""
    out = np.full(e.shape, 0.5)
    for i, j in np.ndindex(e.shape):
        if count[i] and count_in[j]:
            out[i, j] = e[i, j] / count_in[j]
    return out


def polynomial_slope(polynomials):
    """beta(count_in, count): the slope of the polynomial of the input count."""

    def beta(count_in, count):
        row = int(np.clip(count_in, 1, len(polynomials))) - 1
        return np.polyval(np.polyder(polynomials[row]), count)

    return beta


def self_consistency(
    weight, recurrent, count_in, count, beta, rows, v_th, *, conv=False
):
    """S of every neuron."""
    s = np.ones(len(weight))
    for i in range(len(weight)):
        o = min(count[i], rows) if conv else count[i]
        if recurrent is not None:
            o = np.clip(count[i], 1, rows)
        elif not o:
            continue
        total = 0.0
        for j in range(weight.shape[1]):
            total += weight[i, j] * beta(count_in[j], o)
        for p in range(len(weight) if recurrent is not None else 0):
            total += recurrent[i, p] * beta(count[p], o)
        s[i] = 1 - total / v_th
        if recurrent is not None and abs(s[i]) < 1e-4:
            s[i] = -1e-4 if s[i] < 0 else 1e-4
    return s


def lateral_factor(spikes, strength, v_th, label=None, **constants):
    """F of every output neuron; what it divides by is at least 1e-4 in size."""
    count = spikes.sum(0)
    r = ratio(effects(spikes, spikes, **constants), count, count)
    f = np.ones(len(count))
    for j in range(len(count)):
        total = 0.0
        for m in range(len(count)):
            if m != j and all(count[k] or k == label for k in (m, j)):
                total += r[m, j] * r[j, m] / v_th**2
        below = 1 - strength**2 * total
        if abs(below) < 1e-4:
            below = -1e-4 if below < 0 else 1e-4
        f[j] = 1 / below
    return f


def forced(spikes, label, desired):
    """The train of a silent label neuron, replaced."""
    spikes = spikes.copy()
    k = len(spikes) // desired
    if not spikes[:, label].any() and k:  # shorter windows are not forced
        for t in range(k, len(spikes), k):
            spikes[t, label] = 1
    return spikes


def backward(
    x,
    spikes,
    weight,
    recurrent,
    error,
    beta,
    *,
    v_th,
    rows=100,
    conv=False,
    solver="math",
    self_connections=False,
    lateral=0.0,
    label=None,
    desired_count=35,
    **constants,
):
    """Gradients of input counts, weights and recurrent weights (or None).

    error is dE/do; beta(count_in, count) is de/do of the output count, and `rows` the
    largest count of its table.
    """
    f = np.ones(len(weight))
    if lateral:
        f = lateral_factor(spikes, lateral, v_th, label, **constants)
    if label is not None:
        spikes = forced(spikes, label, desired_count)
    delta = error / v_th
    count_in, count = x.sum(0), spikes.sum(0)
    e = effects(x, spikes, **constants)
    s = self_consistency(
        weight, recurrent, count_in, count, beta, rows, v_th, conv=conv
    )
    grad_weight = np.zeros(weight.shape)
    for i, j in np.ndindex(weight.shape):
        grad_weight[i, j] = f[i] * delta[i] * e[i, j] / s[i]
    phi = weight * ratio(e, count_in, count)
    if recurrent is None:
        grad_in = np.zeros(weight.shape[1])
        for i, j in np.ndindex(weight.shape):
            grad_in[j] += delta[i] / s[i] * phi[i, j]
        return grad_in, grad_weight, None
    e_own = effects(spikes, spikes, **constants)
    grad_recurrent = np.zeros(recurrent.shape)
    system = np.diag(s)
    own_ratio = ratio(e_own, count, count)
    for i, p in np.ndindex(recurrent.shape):
        if recurrent[i, p] != 0:
            grad_recurrent[i, p] = delta[i] * e_own[i, p] / s[i]
        if i != p or self_connections:
            system[i, p] -= recurrent[i, p] * own_ratio[i, p] / v_th
    if solver == "math":
        through = np.linalg.solve(system, phi)
    else:  # row by row in memory, column by column in the solver
        right = phi.ravel().reshape(phi.shape, order="F")
        found = np.linalg.solve(system.T, right)
        through = found.ravel(order="F").reshape(phi.shape)
    return through.T @ delta, grad_weight, grad_recurrent


def unrolled(kernel, shape, stride, padding):
    """The dense weight of a convolution on (channel, height, width), and its places.

    Column j is pixel j; row i output neuron i. The places are (i, j, index into the
    kernel), so that gradients of the dense weight can be gathered.
    """
    outputs, channels, side, width = kernel.shape
    down = (shape[1] + 2 * padding - side) // stride + 1
    across = (shape[2] + 2 * padding - width) // stride + 1
    dense = np.zeros((outputs * down * across, int(np.prod(shape))))
    places = []
    for o, y, x in np.ndindex(outputs, down, across):
        for c, a, b in np.ndindex(channels, side, width):
            row, column = y * stride + a - padding, x * stride + b - padding
            if 0 <= row < shape[1] and 0 <= column < shape[2]:
                i = (o * down + y) * across + x
                j = (c * shape[1] + row) * shape[2] + column
                dense[i, j] = kernel[o, c, a, b]
                places.append((i, j, (o, c, a, b)))
    return dense, places, (outputs, down, across)


def convolution(x, kernel, error, beta, *, stride, padding, v_th, rows, **constants):
    """Spikes of a convolution, and gradients of input counts and kernel."""
    steps, *shape = x.shape
    dense, places, size = unrolled(kernel, shape, stride, padding)
    flat = x.reshape(steps, -1)
    spikes, _ = forward(flat, dense, None, v_th=v_th, **constants)
    grad_in, grad_dense, _ = backward(
        *(flat, spikes, dense, None, error.reshape(-1), beta),
        **{"v_th": v_th, "rows": rows, "conv": True, **constants},
    )
    grad = np.zeros(kernel.shape)
    for i, j, index in places:
        grad[index] += grad_dense[i, j]
    return spikes.reshape(steps, *size), grad_in.reshape(shape), grad


def pooled(shape, side):
    """The dense weight of a pool on (channel, height, width), 1 or 0, and its shape."""
    channels, down, across = shape[0], shape[1] // side, shape[2] // side
    dense = np.zeros((channels, down, across, *shape))
    for c, y, x in np.ndindex(channels, down, across):
        for a, b in np.ndindex(side, side):
            dense[c, y, x, c, y * side + a, x * side + b] = 1
    size = channels, down, across
    return dense.reshape(int(np.prod(size)), -1), size


def pool(x, side, error, *, v_th, **constants):
    """Spikes of a pool, and the gradient of input counts."""
    steps, *shape = x.shape
    dense, size = pooled(shape, side)
    flat, error = x.reshape(steps, -1), error.ravel()
    spikes, _ = forward(flat, dense, None, v_th=v_th, **constants)
    e, count_in = effects(flat, spikes, **constants), flat.sum(0)
    grad_in = np.zeros(flat.shape[1])
    for i, j in np.ndindex(dense.shape):
        if dense[i, j] and spikes[:, i].any() and count_in[j]:
            grad_in[j] += error[i] * e[i, j] / count_in[j]
    return spikes.reshape(steps, *size), grad_in.reshape(shape)
