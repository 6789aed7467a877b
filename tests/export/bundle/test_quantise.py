"""Rounding: scales, widths, refusals, and how little it changes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snn_temporal_plugins.export import (
    SILENT,
    DenseLayer,
    ExportCode,
    ExportError,
    FlatNetwork,
    IntegerConv,
    IntegerNetwork,
    emulate,
    quantise,
    quantise_uniform,
    to_ticks,
)
from snn_temporal_plugins.export.bundle.integer import weight_sums
from snn_temporal_plugins.export.bundle.quantise import FLOAT32_LIMIT
from snn_temporal_plugins.neurons import ReLPSPLinear
from tests.export.networks import dense, real_conv, real_dense


@pytest.mark.parametrize("bits", range(2, 9))
def test_weights_fit_their_bits_and_scales_reproduce_them(bits):
    network = real_dense()
    integer = quantise(network, bits=bits, num_ticks=100)
    largest = (1 << (bits - 1)) - 1
    assert integer.tick == pytest.approx(0.02)
    for real, layer in zip(network, integer.layers, strict=True):
        assert np.abs(layer.weight).max() <= largest
        back = layer.weight * layer.scale[:, None]
        weight = real.weight.detach().double().numpy()
        inside = np.abs(weight) <= largest * layer.scale[:, None]
        error = np.abs(back - weight)
        assert (error <= 0.5001 * layer.scale[:, None])[inside].all()
        threshold = layer.threshold * layer.scale * integer.tick
        assert np.abs(threshold - 1).max() < 0.51 * (layer.scale * integer.tick).max()


def test_the_last_layer_shares_one_scale():
    first, last = quantise(real_dense()).layers
    assert len(np.unique(first.scale)) == 15
    assert len(np.unique(last.scale)) == 1


def test_scaling_a_neuron_changes_nothing():
    network = real_dense()
    before = quantise(network).layers[0]
    with torch.no_grad():
        network[0].weight[3] *= 8
        network[0].v_th[3] *= 8
    after = quantise(network).layers[0]
    np.testing.assert_array_equal(before.weight, after.weight)
    np.testing.assert_array_equal(before.threshold, after.threshold)


@pytest.mark.parametrize(
    ("make", "shape"), [(real_dense, (20,)), (real_conv, (1, 10, 10))]
)
@pytest.mark.parametrize("uniform", [False, True])
def test_fine_rounding_stays_close_to_the_real_network(make, shape, uniform):
    network = make()
    if uniform:
        integer = quantise_uniform(network, num_ticks=500, input_shape=shape)
    else:
        integer = quantise(network, bits=8, num_ticks=500, input_shape=shape)
    times = torch.rand(40, *shape)
    with torch.no_grad():
        wanted = network(times).numpy() / integer.tick
    got = emulate(integer, to_ticks(times, integer)).output_ticks
    both = np.isfinite(wanted) & (got != SILENT)
    assert both.mean() > 0.4
    assert (np.isfinite(wanted) == (got != SILENT)).mean() > 0.97
    difference = got[both] - wanted[both]
    assert abs(np.median(difference)) < 3
    assert np.quantile(np.abs(difference), 0.9) < 12


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_ticks=st.integers(2, 500),
    mean=st.floats(-0.5, 0.5),
)
def test_uniform_rounding_keeps_every_potential_exact_in_float32(seed, num_ticks, mean):
    rng = np.random.default_rng(seed)
    layer = DenseLayer(rng.normal(mean, 1, (7, 30)), rng.uniform(0.2, 3, 7))
    flat = FlatNetwork((layer,), (30,), t_max=2.0)
    (integer,) = quantise_uniform(flat, num_ticks=num_ticks).layers
    assert len(np.unique(integer.threshold)) == 1
    rise, fall = weight_sums(integer.weight)
    reach = max(integer.threshold[0] + rise.max(), num_ticks * fall.max())
    assert FLOAT32_LIMIT / 3 < reach <= FLOAT32_LIMIT


def test_a_threshold_out_of_reach_is_lowered_without_effect():
    weight = np.full((2, 4), 1e-9)
    weight[0] = 1.0
    first = DenseLayer(weight, np.ones(2))
    last = DenseLayer(np.ones((1, 2)), np.ones(1))
    flat = FlatNetwork((first, last), (4,), t_max=2.0)
    layer = quantise(flat, num_ticks=50).layers[0]
    rise, _ = weight_sums(layer.weight)
    assert layer.threshold[1] == 50 * rise.max() + 1
    ticks = emulate(quantise(flat, num_ticks=50), np.zeros((1, 4), int))
    assert ticks.layer_ticks[0][0, 1] == SILENT


def test_convolutions_keep_their_geometry():
    layer = quantise(real_conv(), input_shape=(1, 10, 10)).layers[0]
    assert isinstance(layer, IntegerConv)
    assert layer.weight.shape == (4, 1, 3, 3)


def test_layers_on_a_grid_bring_their_tick():
    layer = DenseLayer(np.ones((2, 3)), np.ones(2))
    flat = FlatNetwork((layer,), (3,), t_max=math.inf, dt=0.1)
    integer = quantise(flat, bits=3, num_ticks=30)
    assert (integer.tick, integer.num_ticks) == (0.1, 30)
    assert integer.layers[0].threshold.tolist() == [30, 30]  # 1 / 0.1 / (1/3)


def code_of(network, **options):
    with pytest.raises(ExportError) as caught:
        quantise(network, **options)
    return caught.value.code


@pytest.mark.parametrize("bits", [1, 9, 0, 6.5])
def test_bad_bits(bits):
    assert code_of(real_dense(), bits=bits) is ExportCode.PARAMETER


@pytest.mark.parametrize("num_ticks", [1, 0, -5, 65536])
def test_bad_ticks(num_ticks):
    assert code_of(real_dense(), num_ticks=num_ticks) is ExportCode.PARAMETER


@pytest.mark.parametrize("horizon", [0.0, -1.0, 2.5, math.nan, math.inf])
def test_bad_horizons(horizon):
    assert code_of(real_dense(), horizon=horizon) is ExportCode.HORIZON


def test_a_network_without_a_horizon_needs_one():
    network = nn.Sequential(ReLPSPLinear(4, 3))
    assert code_of(network) is ExportCode.HORIZON
    assert quantise(network, horizon=2.0).tick == 2.0 / 256


def test_a_tick_of_its_own_excludes_a_horizon_and_ends_before_t_max():
    layer = DenseLayer(np.ones((2, 3)), np.ones(2))
    flat = FlatNetwork((layer,), (3,), t_max=2.0, dt=0.1)
    assert code_of(flat, num_ticks=10, horizon=1.0) is ExportCode.HORIZON
    assert code_of(flat, num_ticks=30) is ExportCode.HORIZON
    assert quantise(flat, num_ticks=20).num_ticks == 20


def test_a_threshold_that_rounds_to_nothing():
    layer = DenseLayer(np.ones((2, 3)), np.full(2, 1e-6))
    flat = FlatNetwork((layer,), (3,), t_max=2.0)
    assert code_of(flat) is ExportCode.THRESHOLD


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (math.nan, ExportCode.NOT_FINITE),
        (math.inf, ExportCode.NOT_FINITE),
        (0.0, ExportCode.ZERO_ROW),
    ],
)
def test_a_flat_network_is_checked_too(value, code):
    layer = DenseLayer(np.full((2, 3), value), np.ones(2))
    assert code_of(FlatNetwork((layer,), (3,), t_max=2.0)) is code


def test_a_row_that_rounds_to_nothing():
    weight = np.ones((2, 3))
    weight[0] = 1e-6  # the last layer shares one step
    flat = FlatNetwork((DenseLayer(weight, np.ones(2)),), (3,), t_max=2.0)
    assert code_of(flat) is ExportCode.ZERO_ROW


def test_registers_wider_than_the_format_are_refused():
    layer = dense(np.full((1, 300), 127), 1)
    with pytest.raises(ExportError, match="33 bits") as caught:
        IntegerNetwork((layer,), (300,), 60000, 1.0)
    assert caught.value.code is ExportCode.WIDTH


def test_too_many_inputs_for_float32():
    layer = DenseLayer(np.ones((1, 5000)), np.ones(1))
    flat = FlatNetwork((layer,), (5000,), t_max=2.0)
    with pytest.raises(ExportError) as caught:
        quantise_uniform(flat, num_ticks=2000)
    assert caught.value.code is ExportCode.WIDTH
