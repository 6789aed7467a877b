"""Layers: the contract, convolution = patches, pooling, dropout, networks, init."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from snn_temporal_plugins import (
    EarliestSpikePool2d,
    ReLPSPConv2d,
    ReLPSPLinear,
    SilenceDropout,
    TickGrid,
    build_network,
    latency_encode,
    stdbp,
)
from snn_temporal_plugins.testing import check_layer


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (ReLPSPLinear(9, 20), (9,)),
        (ReLPSPLinear(9, 20, learn_threshold=True, t_max=2.0), (9,)),
        (ReLPSPConv2d(2, 6, 3, stride=2, padding=1, learn_threshold=True), (2, 7, 8)),
        (EarliestSpikePool2d(2), (2, 6, 7)),
        (SilenceDropout(0.5), (4,)),
        (build_network("8x8-4C3P1-P2-20-10", dropout=0.2), (1, 8, 8)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keeps_the_contract(layer, shape):
    check_layer(layer, shape)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (1, 2), (3, 1)])
def test_convolution_is_the_dense_law_on_every_patch(stride, padding):
    torch.manual_seed(0)
    layer = ReLPSPConv2d(3, 5, 3, stride=stride, padding=padding, dtype=torch.float64)
    time = torch.rand(2, 3, 8, 9, dtype=torch.float64)
    time[torch.rand(time.shape) < 0.3] = math.inf
    post = layer(time)
    padded = F.pad(time, (padding,) * 4, value=math.inf)
    for y in range(post.shape[2]):
        for x in range(post.shape[3]):
            rows, columns = y * stride, x * stride
            patch = padded[:, :, rows : rows + 3, columns : columns + 3].flatten(1)
            alone = stdbp(patch, layer.weight.flatten(1), 1.0)
            torch.testing.assert_close(post[:, :, y, x], alone)


def test_convolution_gradcheck():
    torch.manual_seed(1)
    layer = ReLPSPConv2d(2, 2, 2, padding=1, weight_mean=0.4, dtype=torch.float64)
    time = torch.rand(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    fired = layer(time).isfinite()
    assert torch.autograd.gradcheck(lambda t: layer(t)[fired], (time,))


def test_pooling_passes_the_earliest_and_its_gradient():
    time = torch.tensor([[[[3.0, 1.0], [2.0, math.inf]]]], requires_grad=True)
    pooled = EarliestSpikePool2d(2)(time)
    pooled.backward()
    assert pooled.item() == 1
    assert time.grad.flatten().tolist() == [0, 1, 0, 0]
    silent = torch.full((1, 1, 4, 4), math.inf)
    assert EarliestSpikePool2d(2, stride=1, padding=1)(silent).isinf().all()


def test_tick_grid_rounds_up_and_passes_the_gradient():
    inf = math.inf
    time = torch.tensor([[0.0, 0.2, 3.0, 3.1, 4.0, 4.1, inf]], requires_grad=True)
    ticks = TickGrid(5)(time)
    assert ticks.tolist() == [[0, 1, 3, 4, 4, inf, inf]]
    ticks.backward(torch.arange(1.0, 8.0)[None])
    assert time.grad.tolist() == [[1, 2, 3, 4, 5, 0, 0]]


def test_silence_dropout():
    time = torch.rand(200, 50)
    layer = SilenceDropout(0.3)
    out = layer(time)
    assert 0.28 < out.isinf().float().mean() < 0.32
    assert torch.equal(out[out < math.inf], time[out < math.inf])
    assert torch.equal(layer.eval()(time), time)


def test_networks_from_the_papers_strings():
    network = build_network("28x28-16C5-P2-32C5-P2-800-128-10")
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == [
        *("ReLPSPConv2d", "EarliestSpikePool2d") * 2,
        "Flatten",
        *("ReLPSPLinear",) * 3,
    ]
    assert network[5].in_features == 512
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert build_network("3x32x32-8C3P1-10")[0].in_channels == 3
    assert isinstance(build_network("784-10", dropout=0.1)[0], ReLPSPLinear)


def test_hidden_weights_scale_and_output_weights_do_not():
    def weights(**options):
        torch.manual_seed(0)
        network = build_network("8x8-4C3-P2-20-10", **options)
        return [layer.weight for layer in network if hasattr(layer, "weight")]

    *hidden, out = zip(weights(), weights(hidden_weight_scale=0.5), strict=True)
    assert len(hidden) == 2
    for plain, scaled in hidden:
        torch.testing.assert_close(scaled, plain / 2)
    assert torch.equal(*out)
    with pytest.raises(ValueError, match="hidden_weight_scale is 0"):
        build_network("784-10", hidden_weight_scale=0)


def test_dropout_spares_the_maps_of_first_spikes_but_not_those_on_ticks():
    def silenced(**options):
        network = build_network("8x8-4C3-P2-20-12-10", dropout=0.1, **options)
        return [
            type(before).__name__
            for before, layer in itertools.pairwise(network)
            if isinstance(layer, SilenceDropout)
        ]

    assert silenced() == ["ReLPSPLinear"] * 2
    assert silenced(rule="sstdp") == ["IFConv2d", "IFLinear", "IFLinear"]


@pytest.mark.parametrize(
    "spec", ["784-400-10", "784-1000-10", "784-400-400-10", "4-120-3"]
)
def test_initial_weights_let_every_class_speak(spec):
    torch.manual_seed(0)
    inputs = int(spec.split("-")[0])
    image = torch.rand(256, inputs)
    if inputs > 100:
        image[torch.rand(image.shape) < 0.8] = 0  # as sparse as a digit
    time = latency_encode(image)
    for layer in build_network(spec):
        time = layer(time)
        assert time.isfinite().float().mean() > 0.05
    assert time.isfinite().any(0).all()


def test_custom_classes_of_a_network_are_plain_modules():
    network = build_network("6-5-3")
    assert isinstance(network, nn.Sequential)
    assert set(network.state_dict()) == {
        f"{i}.{n}" for i in (0, 1) for n in ("weight", "v_th")
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build_network("784"), "does not end in a dense layer"),
        (lambda: build_network("784-16X5-10"), "cannot read '16X5'"),
        (lambda: build_network("784-16C5-10"), "'16C5'.*needs an image"),
        (lambda: build_network("28x28-P2"), "does not end in a dense layer"),
        (lambda: build_network("5x5-4C7-10"), "does not fit an image of 5x5"),
        (lambda: build_network("axb-10"), "cannot read 'axb'"),
        (lambda: build_network(""), "cannot read ''"),
        (lambda: build_network("784-0-10"), "at least 1"),
        (lambda: build_network("784-10", rule="hebb"), "unknown rule 'hebb'"),
        (lambda: ReLPSPLinear(0, 3), "at least 1"),
        (lambda: ReLPSPLinear(3, 3, v_th=0.0), "v_th is 0.0"),
        (lambda: ReLPSPLinear(3, 3, t_max=-1.0), "t_max is -1.0"),
        (lambda: ReLPSPLinear(3, 3, rule="x"), "unknown rule 'x'"),
        (lambda: ReLPSPConv2d(1, 1, 3, stride=0), "stride is 0"),
        (
            lambda: ReLPSPConv2d(1, 2, 5)(torch.rand(1, 1, 3, 3)),
            "smaller than the kernel",
        ),
        (lambda: ReLPSPConv2d(1, 2, 3)(torch.rand(1, 4, 9, 9)), r"\(batch, 1, height"),
        (lambda: EarliestSpikePool2d(2, padding=2), "padding 2"),
        (lambda: SilenceDropout(1.0), "p is 1.0"),
        (lambda: TickGrid(0), "num_ticks is 0"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
