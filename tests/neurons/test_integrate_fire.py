"""Integrate-and-fire layers on ticks: convolution, pooling, manners, training."""

import copy
import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from snn_temporal_plugins import (
    EarliestSpikePool2d,
    IFConv2d,
    IFLinear,
    first_spike_class,
    latency_ticks,
    mean_target,
    squared_time_loss,
)
from tests.golden import load, silence
from tests.oracles import sstdp as oracle

T = 12


def ticks(*shape, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    time = torch.randint(0, T, shape, generator=g).to(dtype)
    return time.masked_fill(torch.rand(shape, generator=g) < 0.2, math.inf)


def patches(time, side, stride, padding):
    """(batch, channel, H, W) to (batch, place, channel * side * side), by loops."""
    border = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
    time = np.pad(time, border, constant_values=math.inf)
    rows = range(0, time.shape[2] - side + 1, stride)
    columns = range(0, time.shape[3] - side + 1, stride)
    places = [
        time[:, :, r : r + side, c : c + side].reshape(len(time), -1)
        for r in rows
        for c in columns
    ]
    return np.stack(places, 1), (len(rows), len(columns))


@pytest.mark.parametrize(("stride", "padding", "b"), [(1, 0, 0.0), (2, 1, 0.3)])
def test_convolution_is_the_dense_law_on_every_patch(stride, padding, b):
    time = ticks(3, 2, 5, 6).requires_grad_()
    layer = IFConv2d(
        2,
        4,
        3,
        stride=stride,
        padding=padding,
        num_steps=T,
        v_th=10.0,
        b=b,
        dtype=torch.float64,
    )
    with torch.no_grad():
        layer.weight -= 0.45 * layer.weight_high  # nearly half below zero
    post, potential = layer.with_potential(time)
    weight = layer.weight.detach().flatten(1).numpy()
    cut, size = patches(time.detach().numpy(), 3, stride, padding)
    truth, level = oracle.forward(cut, weight, 10.0, ticks=T)

    def placed(x):
        return torch.from_numpy(x).transpose(1, 2).unflatten(2, size)

    assert torch.equal(post, placed(truth))
    torch.testing.assert_close(potential, placed(level))
    assert post.isfinite().any() and post.isinf().any()
    error = torch.randn(post.shape, dtype=torch.float64)
    grad_time, grad_weight = torch.autograd.grad(post, (time, layer.weight), error)
    flat = error.flatten(2).transpose(1, 2).numpy()
    dt, dw = oracle.backward(cut, weight, truth, flat, a=1.0, b=b)
    torch.testing.assert_close(grad_weight.flatten(1), torch.from_numpy(dw))
    folded = nn.functional.fold(
        torch.from_numpy(dt).transpose(1, 2), (5, 6), 3, padding=padding, stride=stride
    )
    torch.testing.assert_close(grad_time, folded)


def test_a_kernel_of_the_size_of_the_input_is_a_dense_layer():
    time = ticks(4, 2, 3, 3)
    conv = IFConv2d(2, 5, 3, num_steps=T, v_th=8.0, dtype=torch.float64)
    dense = IFLinear(18, 5, num_steps=T, v_th=8.0, dtype=torch.float64)
    dense.weight.data = conv.weight.data.flatten(1)
    post, flat = conv(time), dense(time.flatten(1))
    assert torch.equal(post.flatten(1), flat)
    error = torch.randn(4, 5, dtype=torch.float64)
    (of_conv,) = torch.autograd.grad(post, conv.weight, error.view(post.shape))
    (of_dense,) = torch.autograd.grad(flat, dense.weight, error)
    torch.testing.assert_close(of_conv.flatten(1), of_dense)


def test_pooling_equals_the_reference():
    case = load("sstdp/pooling_reference.json")
    time = silence(case["input_time"], case["T"]).requires_grad_()
    pooled = EarliestSpikePool2d(case["kernel"], stride=case["stride"])(time)
    assert torch.equal(pooled, silence(case["output_time"], case["T"]))
    pooled.backward(torch.tensor(case["grad_output"]))
    assert torch.equal(time.grad, torch.tensor(case["input_grad"]))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (IFLinear(6, 4, num_steps=T), (6,)),
        (IFConv2d(2, 3, 3, num_steps=T, padding=1), (2, 4, 4)),
    ],
    ids=["dense", "conv"],
)
def test_layers_behave_as_modules(layer, shape):
    time = ticks(5, *shape, dtype=torch.float32)
    post = layer(time)
    assert post.isfinite().any()
    silent = layer(torch.full_like(time, math.inf))
    assert (silent == math.inf).all()
    assert layer(time[:0]).shape == (0, *post.shape[1:])
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for other in (copy.deepcopy(layer), torch.load(file, weights_only=False)):
        assert torch.equal(other(time), post)
    assert copy.deepcopy(layer).double()(time.double()).dtype == torch.float64
    assert f"num_steps={T}" in repr(layer)


def test_two_layers_learn_the_digits():
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x = latency_ticks(torch.from_numpy(digits.images).flatten(1).float() / 16, 64)
    label = torch.from_numpy(digits.target)
    torch.manual_seed(0)
    hidden, output = IFLinear(64, 60, num_steps=64), IFLinear(60, 10, num_steps=64)
    network = nn.Sequential(hidden, output)
    optimizer = torch.optim.SGD(network.parameters(), lr=100.0)
    for _ in range(15):
        for batch in torch.randperm(1400).split(50):
            post = network(x[batch])
            target = mean_target(post, label[batch], t_max=64, gap=3.0)
            optimizer.zero_grad()
            squared_time_loss(post, target, t_max=64).backward()
            optimizer.step()
    right = first_spike_class(network(x[1400:])) == label[1400:]
    assert right.float().mean() > 0.5, "ties and silence are wrong; chance is 0.1"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IFLinear(0, 3), "every one must be at least 1"),
        (lambda: IFLinear(4, 3, v_th=0.0), "v_th is 0.0"),
        (lambda: IFLinear(4, 3, num_steps=0), "t_max is 0"),
        (lambda: IFLinear(4, 3, a=-1.0), "a is -1.0"),
        (lambda: IFLinear(4, 3, rule_options={"tau_mem": 0.5}), "tau_mem is 0.5"),
        (lambda: IFConv2d(1, 2, 3, stride=0), "stride is 0"),
        (lambda: IFConv2d(1, 2, 3)(torch.zeros(2, 3, 4, 4)), "expected .batch, 1, "),
        (lambda: IFConv2d(1, 2, 5)(torch.zeros(2, 1, 4, 4)), "smaller than the kernel"),
        (lambda: IFLinear(4, 3)(torch.full((1, 4), 0.5)), "holds 0.5"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
