"""Integrate-and-fire layers on ticks: convolution, pooling, manners, training."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from snn_temporal_plugins import (
    EarliestSpikePool2d,
    IFConv2d,
    IFLinear,
    build_network,
    first_spike_class,
    first_target,
    latency_ticks,
    squared_time_loss,
)
from snn_temporal_plugins.testing import check_layer
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
        layer.weight.uniform_(-10, 12)
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
    conv = IFConv2d(2, 5, 3, num_steps=T, dtype=torch.float64)
    dense = IFLinear(18, 5, num_steps=T, dtype=torch.float64)
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
    ("make", "shape"),
    [
        (lambda **mean: IFLinear(6, 4, num_steps=T, **mean), (6,)),
        (lambda **mean: IFConv2d(2, 3, 3, num_steps=T, padding=1, **mean), (2, 4, 4)),
    ],
    ids=["dense", "conv"],
)
def test_layers_behave_as_modules(make, shape):
    torch.manual_seed(0)
    layer = make(weight_mean=0.5)
    time = ticks(5, *shape, dtype=torch.float32)
    assert layer(time).isfinite().any()
    check_layer(layer, shape, response="step")


def test_two_layers_learn_the_digits():
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x = latency_ticks(torch.from_numpy(digits.images).flatten(1).float() / 16, 64)
    label = torch.from_numpy(digits.target)
    torch.manual_seed(0)
    network = build_network("64-60-10", rule="sstdp", num_ticks=64)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(15):
        for batch in torch.randperm(1400).split(50):
            post = network(x[batch])
            target = first_target(post, label[batch], t_max=64, gap=3.0)
            optimizer.zero_grad()
            squared_time_loss(post, target, t_max=64).backward()
            optimizer.step()
    right = first_spike_class(network(x[1400:])) == label[1400:]
    assert right.float().mean() > 0.7, "ties and silence are wrong; chance is 0.1"


def test_networks_from_the_papers_strings():
    network = build_network(
        "28x28-4C5P2-P2-8C3-P2-20-10",
        rule="sstdp",
        num_ticks=T,
        v_th=3.0,
        dropout=0.1,
        rule_options={"b": 0.2, "tau_mem": 9.0},
    )
    kinds = [type(layer).__name__ for layer in network]
    drop = "SilenceDropout"
    assert kinds == [
        *("IFConv2d", drop, "EarliestSpikePool2d") * 2,
        *("Flatten", "IFLinear", drop, "IFLinear"),
    ]
    assert network.input_shape == (1, 28, 28)
    for layer in network:
        if isinstance(layer, IFLinear | IFConv2d):
            assert (layer.num_steps, layer.v_th) == (T, 3.0)
            assert (layer.rule_options["b"], layer.rule_options["tau_mem"]) == (0.2, 9)
    assert network(latency_ticks(torch.rand(2, 1, 28, 28), T)).shape == (2, 10)


@pytest.mark.parametrize("v_th", [1.0, 100.0])
@pytest.mark.parametrize("spec", ["784-400-10", "784-1000-400-10"])
def test_initial_weights_let_neurons_fire_early_and_late(spec, v_th):
    torch.manual_seed(0)
    image = torch.rand(256, 784)
    image[torch.rand(image.shape) < 0.8] = 0  # as sparse as a digit
    time = latency_ticks(image, 256)
    for layer in build_network(spec, rule="sstdp", v_th=v_th):
        time = layer(time)
        assert time.isfinite().float().mean() > 0.2
        assert time[time < math.inf].std() > 5


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
