"""Small integer and real networks that the export tests share."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from snn_temporal_plugins.export import (
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    PoolLayer,
)
from snn_temporal_plugins.neurons import (
    EarliestSpikePool2d,
    IFLinear,
    ReLPSPConv2d,
    ReLPSPLinear,
)


def dense(weight, threshold):
    weight = np.asarray(weight, dtype=np.int32)
    threshold = np.broadcast_to(threshold, len(weight)).astype(np.int64)
    return IntegerDense(weight, threshold, np.ones(len(weight)))


def random_dense(rng, inputs, outputs, threshold=40):
    weight = rng.integers(-7, 8, (outputs, inputs))
    weight[:, 0] = np.where(weight.any(axis=1), weight[:, 0], 1)
    return dense(weight, threshold)


def random_conv(rng, inputs, outputs, kernel, *, stride=1, padding=0, threshold=40):
    weight = rng.integers(-7, 8, (outputs, inputs, kernel, kernel)).astype(np.int32)
    weight[:, 0, 0, 0] |= 1
    thresholds = np.full(outputs, threshold, dtype=np.int64)
    return IntegerConv(weight, thresholds, np.ones(outputs), stride, padding)


def random_ticks(rng, shape, num_ticks, silent=0.3):
    ticks = rng.integers(0, num_ticks, shape)
    return np.where(rng.random(shape) < silent, SILENT, ticks).astype(np.int32)


def dense_network(seed=0, sizes=(12, 10, 4), num_ticks=40, threshold=40):
    rng = np.random.default_rng(seed)
    layers = tuple(
        random_dense(rng, inputs, outputs, threshold)
        for inputs, outputs in pairwise(sizes)
    )
    return IntegerNetwork(layers, sizes[:1], num_ticks, 0.05)


def conv_network(seed=0, num_ticks=40):
    """2x8x8 - 4C3 (stride 1, padding 1) - P2 - 3C3 (stride 2) - 3."""
    rng = np.random.default_rng(seed)
    layers = (
        random_conv(rng, 2, 4, 3, padding=1),
        PoolLayer(2, 2, 0),
        random_conv(rng, 4, 3, 3, stride=1),
        random_dense(rng, 12, 3),
    )
    return IntegerNetwork(layers, (2, 8, 8), num_ticks, 0.05)


def step_network(network, threshold=9):
    """The same weights in integrate-and-fire neurons, with a threshold in reach."""
    layers = tuple(
        layer
        if isinstance(layer, PoolLayer)
        else replace(layer, threshold=np.full_like(layer.threshold, threshold))
        for layer in network.layers
    )
    return replace(network, layers=layers, response="step")


def real_dense(seed=0):
    """20-15-5 core layers."""
    torch.manual_seed(seed)
    return nn.Sequential(
        ReLPSPLinear(20, 15, t_max=2.0, weight_mean=0.2),
        ReLPSPLinear(15, 5, t_max=2.0, weight_mean=0.3),
    )


def real_conv(seed=0):
    """1x10x10 - 4C3 - P2 - flatten - 5 core layers."""
    torch.manual_seed(seed)
    return nn.Sequential(
        ReLPSPConv2d(1, 4, 3, t_max=2.0, weight_mean=0.3),
        EarliestSpikePool2d(2),
        nn.Flatten(),
        ReLPSPLinear(64, 5, t_max=2.0, weight_mean=0.1),
    )


def real_steps(seed=0):
    """20-15-5 core integrate-and-fire layers on 60 ticks."""
    torch.manual_seed(seed)
    options = {"num_steps": 60, "v_th": 0.3}
    return nn.Sequential(
        IFLinear(20, 15, weight_mean=0.1, **options),
        IFLinear(15, 5, weight_mean=0.1, **options),
    )


def oracle_layers(network):
    """The network as the tuples of the oracle."""
    layers = []
    for layer in network.layers:
        if isinstance(layer, PoolLayer):
            layers.append(("pool", layer.kernel_size, layer.stride, layer.padding))
        elif isinstance(layer, IntegerConv):
            head = ("conv", layer.weight.tolist(), layer.threshold.tolist())
            layers.append((*head, layer.stride, layer.padding))
        else:
            layers.append(("dense", layer.weight.tolist(), layer.threshold.tolist()))
    return layers
