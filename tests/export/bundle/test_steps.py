"""Integrate-and-fire networks: integers give the spikes of the layers, bit for bit."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from snn_temporal_plugins.export import (
    SILENT,
    DenseLayer,
    ExportCode,
    ExportError,
    FlatNetwork,
    decode,
    emulate,
    encode_pixels,
    latency_ticks_lut,
    quantise,
    quantise_uniform,
    read_bundle,
    write_bundle,
)
from snn_temporal_plugins.export.bundle.integer import weight_sums
from snn_temporal_plugins.export.bundle.quantise import FLOAT32_LIMIT
from snn_temporal_plugins.functional import first_spike_class, latency_ticks
from snn_temporal_plugins.neurons import (
    EarliestSpikePool2d,
    IFConv2d,
    IFLinear,
    build_network,
)
from tests.export.networks import random_ticks, real_steps

fast = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def exact(layer, rng, scale):
    """Weights that 8 bits hold without rounding: 127 in every row, times a scale.

    The others are tens, so that sums are often equal.
    """
    with torch.no_grad():
        rows = torch.as_tensor(10 * rng.integers(-4, 5, layer.weight.shape))
        rows.flatten(1)[torch.arange(len(rows)), rng.integers(rows[0].numel())] = 127
        layer.weight.copy_(rows * scale)
    return layer


def times_of(ticks, dtype=torch.float64):
    return torch.as_tensor(np.where(ticks == SILENT, math.inf, ticks), dtype=dtype)


def layer_times(network, times):
    """Times after each layer that the integer network has too."""
    found = []
    for layer in network:
        times = layer(times)
        if not isinstance(layer, nn.Flatten):
            found.append(times.detach().numpy())
    return found


def assert_equal(network, integer, ticks):
    """The same first spikes in every layer, and the same answer."""
    result = emulate(integer, ticks)
    before = times_of(ticks, network[0].weight.dtype)
    wanted = layer_times(network, before)
    for got, times in zip(result.layer_ticks, wanted, strict=True):
        np.testing.assert_array_equal(np.where(got == SILENT, math.inf, got), times)
    for layer in list(network)[:-1]:
        before = layer(before)
    label = first_spike_class(*network[-1].with_potential(before)).numpy()
    decision = decode(integer, result)
    np.testing.assert_array_equal(
        np.where(decision.unbroken, -1, decision.label), label
    )
    return result, decision


constants = {
    "num_steps": st.integers(2, 30),
    "v_th": st.integers(1, 400),  # halves: met exactly, and between two sums
    "exponent": st.integers(-9, 3),
}


@fast
@given(seed=seeds, **constants)
def test_dense_networks_are_the_layers(seed, num_steps, v_th, exponent):
    rng, scale = np.random.default_rng(seed), 2.0**exponent
    options = {"num_steps": num_steps, "v_th": v_th / 2 * scale, "dtype": torch.float64}
    network = nn.Sequential(
        exact(IFLinear(9, 11, **options), rng, scale),
        exact(IFLinear(11, 7, **options), rng, scale),
        exact(IFLinear(7, 4, **options), rng, scale),
    )
    integer = quantise(network, bits=8)
    assert (integer.num_ticks, integer.response) == (num_steps, "step")
    assert_equal(network, integer, random_ticks(rng, (6, 9), num_steps))


@fast
@given(
    seed=seeds,
    size=st.tuples(st.integers(1, 3), st.integers(4, 7), st.integers(4, 7)),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    pool=st.sampled_from([(2, 2, 0), (3, 1, 1), (2, 1, 1), (1, 2, 0)]),
    **constants,
)
def test_convolutions_and_pools_are_the_layers(
    seed, size, kernel, stride, padding, pool, num_steps, v_th, exponent
):
    least = (min(size[1:]) + 2 * padding - kernel) // stride + 1
    assume(least + 2 * pool[2] >= pool[0])  # the pool fits
    rng, scale = np.random.default_rng(seed), 2.0**exponent
    options = {"num_steps": num_steps, "v_th": v_th / 2 * scale, "dtype": torch.float64}
    window = {"stride": stride, "padding": padding}
    front = nn.Sequential(
        exact(IFConv2d(size[0], 3, kernel, **window, **options), rng, scale),
        EarliestSpikePool2d(pool[0], stride=pool[1], padding=pool[2]),
        exact(IFConv2d(3, 2, 1, **options), rng, scale),
        nn.Flatten(),
    )
    ticks = random_ticks(rng, (3, *size), num_steps)
    inputs = front(times_of(ticks)).shape[1]
    network = nn.Sequential(*front, exact(IFLinear(inputs, 3, **options), rng, scale))
    integer = quantise(network, bits=8, input_shape=size)
    assert_equal(network, integer, ticks)


def test_the_random_networks_are_lively():
    """The tests above are about spikes, ties and thresholds that are just met."""
    rng = np.random.default_rng(0)
    options = {"num_steps": 20, "v_th": 50.0, "dtype": torch.float64}
    network = nn.Sequential(
        exact(IFLinear(9, 11, **options), rng, 1.0),
        exact(IFLinear(11, 7, **options), rng, 1.0),
        exact(IFLinear(7, 4, **options), rng, 1.0),
    )
    ticks = random_ticks(rng, (3000, 9), 20)
    result, decision = assert_equal(network, quantise(network, bits=8), ticks)
    fired = result.output_ticks != SILENT
    assert 0.3 < fired.mean() < 0.95
    assert decision.tied.mean() > 0.1
    assert decision.unbroken.any()
    lower = IFLinear(9, 11, **options | {"v_th": 49.5})
    lower.weight.data = network[0].weight.data
    times = times_of(ticks)
    assert (lower(times) != network[0](times)).any()  # sums of exactly 50


@pytest.mark.parametrize(
    ("v_th", "step", "threshold"),
    [
        (3.0, 1.0, 4),  # met is not crossed
        (math.nextafter(3.0, 0), 1.0, 3),
        (math.nextafter(3.0, 4), 1.0, 4),
        (0.3, 0.1, 3),  # 0.3 < 3 * 0.1 by what stands in the last bits
        (0.5, 0.1, 5),  # a quotient would be rounded to 5: 5 * 0.1 > 0.5, just
        (0.5, 0.25, 3),
        (0.25, 1.0, 1),
    ],
)
def test_the_integer_threshold_is_exact(v_th, step, threshold):
    weight = np.array([[127 * step, step, step, step]])
    flat = FlatNetwork(
        (DenseLayer(weight, np.array([v_th])),), (4,), response="step", num_ticks=9
    )
    (layer,) = quantise(flat, bits=8).layers
    assert layer.scale.tolist() == [step]
    assert layer.weight.tolist() == [[127, 1, 1, 1]]
    assert layer.threshold.tolist() == [threshold]


def test_the_threshold_has_the_precision_of_the_weights():
    """0.1 in float32 is above 0.1, but does not exceed a threshold of 0.1 there."""
    for dtype in (torch.float32, torch.float64):
        layer = IFLinear(3, 1, v_th=0.1, num_steps=5, dtype=dtype)
        layer.weight.data = torch.tensor([[0.1, 0.1, -0.1]], dtype=dtype)
        network = nn.Sequential(layer)
        ticks = np.array([[0, SILENT, SILENT], [0, 3, SILENT], [0, 1, 1], [2, 1, 3]])
        result, _ = assert_equal(network, quantise(network, bits=2), ticks)
        assert result.output_ticks.tolist() == [[SILENT], [3], [SILENT], [2]]


def test_a_threshold_out_of_reach_is_lowered_without_effect():
    layer = DenseLayer(np.array([[6.0, -7.0], [4.0, 3.0]]), np.array([1e30, 6.5]))
    flat = FlatNetwork((layer,), (2,), response="step", num_ticks=9)
    network = quantise(flat, bits=4)
    assert network.layers[0].threshold.tolist() == [4 + 3 + 1, 7]
    ticks = emulate(network, [[0, SILENT], [0, 4]]).output_ticks
    assert ticks.tolist() == [[SILENT, SILENT], [SILENT, 4]]


@fast
@given(seed=seeds, mean=st.floats(-0.5, 0.5))
def test_uniform_rounding_uses_all_of_float32(seed, mean):
    rng = np.random.default_rng(seed)
    layer = DenseLayer(rng.normal(mean, 1, (7, 30)), rng.uniform(0.2, 3, 7))
    flat = FlatNetwork((layer,), (30,), response="step", num_ticks=200)
    (integer,) = quantise_uniform(flat).layers
    assert len(np.unique(integer.threshold)) == 1
    reach = max(int(side.max()) for side in weight_sums(integer.weight))
    assert 0.49 * FLOAT32_LIMIT < max(reach, integer.threshold[0]) <= FLOAT32_LIMIT


@fast
@given(seed=seeds, **constants)
def test_uniform_rounding_leaves_weights_of_few_bits(seed, num_steps, v_th, exponent):
    rng, scale = np.random.default_rng(seed), 2.0**exponent
    options = {"num_steps": num_steps, "v_th": v_th / 2 * scale, "dtype": torch.float64}
    network = nn.Sequential(
        exact(IFLinear(9, 8, **options), rng, scale),
        exact(IFLinear(8, 4, **options), rng, scale),
    )
    integer = quantise_uniform(network)
    for layer, real in zip(integer.layers, network, strict=True):
        back = layer.weight * layer.scale[:, None]
        np.testing.assert_array_equal(back, real.weight.detach().numpy())
    assert_equal(network, integer, random_ticks(rng, (6, 9), num_steps))


def test_uniform_rounding_gives_the_spikes_of_the_network():
    network = real_steps()
    integer = quantise_uniform(network)
    ticks = random_ticks(np.random.default_rng(0), (200, 20), 60)
    assert_equal(network, integer, ticks)


def code_of(network, **options):
    with pytest.raises(ExportError) as caught:
        quantise(network, **options)
    return caught.value.code


def test_the_ticks_are_the_layers_own():
    network = real_steps()
    assert quantise(network).num_ticks == 60
    assert quantise(network, num_ticks=60).tick == 1.0
    assert code_of(network, num_ticks=61) is ExportCode.HORIZON
    assert code_of(network, horizon=2.0) is ExportCode.HORIZON
    flat = FlatNetwork((DenseLayer(np.eye(2), np.ones(2)),), (2,), response="step")
    assert quantise(flat).num_ticks == 256
    assert quantise(flat, num_ticks=30).num_ticks == 30
    network[0].num_steps = network[1].num_steps = 1
    assert code_of(network) is ExportCode.PARAMETER


@pytest.mark.parametrize("x_min", [0.0, -1.0, 0.25, 2 / 255])
def test_the_pixel_table_is_the_encoder(x_min):
    integer = quantise(real_steps())
    lut = latency_ticks_lut(integer, x_min=x_min)
    assert lut.dtype == np.uint16
    pixels = np.arange(256, dtype=np.uint8)
    image = torch.as_tensor(pixels) / 255  # as data sets give it
    times = latency_ticks(image, 60, x_min=x_min).numpy()
    ticks = encode_pixels(lut, pixels)
    np.testing.assert_array_equal(np.where(ticks == SILENT, math.inf, ticks), times)
    assert lut[255] == 0
    assert lut[0] == (59 if x_min < 0 else SILENT)


def test_a_trained_network_loses_little(tmp_path):
    """Digits, 8 bits: read from a bundle and decoded as the network decodes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    pixels = (digits.data * 255 / 16).round().astype(np.uint8)[order]
    label = digits.target[order]
    torch.manual_seed(0)
    network = build_network("64-100-10", rule="sstdp", num_ticks=64)
    times = latency_ticks(torch.as_tensor(pixels) / 255, 64)
    train(network, times[:1200], torch.as_tensor(label[:1200]))
    with torch.no_grad():
        hidden = network[0](times[1200:])
        answer = first_spike_class(*network[1].with_potential(hidden)).numpy()
    integer = quantise(network, bits=8)
    write_bundle(integer, tmp_path / "net", lut=latency_ticks_lut(integer))
    bundle = read_bundle(tmp_path / "net")
    emulation = emulate(bundle.network, encode_pixels(bundle.lut, pixels[1200:]))
    decision = decode(bundle.network, emulation)
    right = (answer == label[1200:]).mean()
    assert right > 0.85
    honest = np.where(decision.unbroken, -1, decision.label)
    assert (honest == label[1200:]).mean() > right - 0.02


def train(network, times, label):
    from snn_temporal_plugins.functional import first_target, squared_time_loss

    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(15):
        for part in torch.randperm(len(times), generator=generator).split(60):
            post = network(times[part])
            goal = first_target(post, label[part], t_max=64)
            optimiser.zero_grad()
            squared_time_loss(post, goal, t_max=64).backward()
            optimiser.step()
