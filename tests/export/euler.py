"""The equations of NIR's documentation, one forward Euler step per bin."""

import nir
import numpy as np
import torch
from torch import nn


def euler(graph, train):
    """Output of a chain of nodes, `(time, batch, ...)`.

    A spike is a box: its S is 1 for the length of a step. What goes round in a nested
    graph acts one step later.
    """
    dt = float(graph.metadata["dt"])
    state = {}
    steps = []
    for signal in train:
        for name, node in graph.nodes.items():
            if isinstance(node, nir.NIRGraph):
                back = state.get(f"{name}.output", 0.0)
                weight = node.nodes["w_rec"].weight.astype(float)
                if np.ndim(back):
                    signal = signal + back @ weight.T
                signal = _fire(node.nodes["lif"], signal, state, name, dt)
                state[f"{name}.output"] = signal
            elif isinstance(node, nir.CubaLIF | nir.LIF):
                signal = _fire(node, signal, state, name, dt)
            else:
                signal = _through(node, signal)
        steps.append(signal)
    return np.stack(steps)


def _fire(node, signal, state, name, dt):
    i, v = state.get(name, (0.0, 0.0))
    tau = node.tau if isinstance(node, nir.LIF) else node.tau_mem
    if isinstance(node, nir.LIF):
        i = signal
    else:
        i = i + dt / node.tau_syn * (-i + node.w_in * signal)
    v = v + dt / tau * (node.v_leak - v + node.r * i)
    fires = v > node.v_threshold
    state[name] = i, np.where(fires, node.v_reset, v)
    return fires.astype(float)


def _through(node, signal):
    if isinstance(node, nir.Linear):
        return signal @ node.weight.astype(float).T
    if isinstance(node, nir.Conv2d):
        return nn.functional.conv2d(
            torch.as_tensor(signal),
            torch.as_tensor(node.weight).double(),
            stride=tuple(int(n) for n in node.stride),
            padding=tuple(int(n) for n in node.padding),
        ).numpy()
    if isinstance(node, nir.SumPool2d):
        side = tuple(node.kernel_size)
        mean = nn.functional.avg_pool2d(torch.as_tensor(signal), side)
        return mean.numpy() * np.prod(side)
    if isinstance(node, nir.Flatten):
        return signal.reshape(len(signal), -1)
    return signal  # input and output
