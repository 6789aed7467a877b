"""A rounded network against its integers, and its gradient against the real layer's."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from snn_temporal_plugins.export import SILENT, emulate, quantise
from snn_temporal_plugins.functional.rounding import (
    RoundingError,
    integer_weights,
    largest_weight,
    ramp_thresholds,
    step_thresholds,
    weight_steps,
)
from snn_temporal_plugins.neurons import (
    EarliestSpikePool2d,
    IFConv2d,
    IFLinear,
    LIFLinear,
    ReLPSPConv2d,
    ReLPSPLinear,
    SilenceDropout,
    rounded,
)
from tests.export.random_networks import MANY

T_MAX = 2.0


def ramps(conv, seed, dtype, **options):
    torch.manual_seed(seed)
    options |= {"t_max": T_MAX, "dtype": dtype}
    if conv:
        return nn.Sequential(
            ReLPSPConv2d(2, 6, 3, padding=1, weight_mean=0.2, **options),
            SilenceDropout(0.5),
            EarliestSpikePool2d(2),
            ReLPSPConv2d(6, 5, 3, stride=2, weight_mean=0.2, **options),
            nn.Flatten(),
            ReLPSPLinear(45, 4, weight_mean=0.3, **options),
        ).eval()
    return nn.Sequential(
        ReLPSPLinear(30, 25, weight_mean=0.1, **options),
        ReLPSPLinear(25, 20, weight_mean=0.2, **options),
        ReLPSPLinear(20, 6, weight_mean=0.3, **options),
    )


def steps(conv, seed, dtype, num_steps):
    torch.manual_seed(seed)
    options = {"num_steps": num_steps, "dtype": dtype, "v_th": 0.7}
    if conv:
        return nn.Sequential(
            IFConv2d(2, 6, 3, padding=1, weight_mean=0.1, **options),
            EarliestSpikePool2d(2),
            IFConv2d(6, 5, 3, stride=2, weight_mean=0.1, **options),
            nn.Flatten(),
            IFLinear(45, 4, weight_mean=0.1, **options),
        )
    return nn.Sequential(
        IFLinear(30, 25, weight_mean=0.1, **options),
        IFLinear(25, 6, weight_mean=0.2, **options),
    )


def entering(conv, num_ticks, seed):
    shape = (40, 2, 14, 14) if conv else (40, 30)
    rng = np.random.default_rng(seed)
    ticks = rng.integers(0, num_ticks, shape)
    return np.where(rng.random(shape) < 0.2, SILENT, ticks).astype(np.int32)


def as_times(ticks, tick, dtype):
    times = torch.from_numpy(np.where(ticks == SILENT, np.inf, ticks * tick))
    return times.to(dtype)


def layer_ticks(network, times, tick):
    """Ticks of each layer that the emulator has, from a forward."""
    seen = []
    for module in network:
        times = module(times)
        if not isinstance(module, nn.Flatten | SilenceDropout):
            whole = (times.detach().double() / tick).numpy()
            fired = np.isfinite(whole)
            np.testing.assert_allclose(whole[fired], whole[fired].round(), rtol=1e-6)
            seen.append(np.where(fired, whole.round(), SILENT))
    return seen


def require_equal(network, bits, num_ticks, ticks, dtype):
    shape = ticks.shape[1:]
    with rounded(network, bits=bits, num_ticks=num_ticks):
        integer = quantise(network, bits=bits, num_ticks=num_ticks, input_shape=shape)
        times = as_times(ticks, integer.tick, dtype)
        seen = layer_ticks(network, times, integer.tick)
    wanted = emulate(integer, ticks).layer_ticks
    fired = 0
    for got, exact in zip(seen, wanted, strict=True):
        np.testing.assert_array_equal(got, exact)
        fired += (exact != SILENT).sum()
    assert fired > 0


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bits", range(2, 9))
def test_every_ramp_spikes_in_the_tick_of_the_emulator(conv, dtype, bits):
    num_ticks = (16, 64, 100, 255, 256, 1000, 1024)[bits - 2]
    network = ramps(conv, bits, dtype)
    require_equal(network, bits, num_ticks, entering(conv, num_ticks, bits), dtype)


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bits", range(2, 9))
def test_every_step_spikes_in_the_tick_of_the_emulator(conv, dtype, bits):
    num_ticks = (16, 60, 100, 255, 256, 30, 40)[bits - 2]
    network = steps(conv, bits, dtype, num_ticks)
    require_equal(network, bits, None, entering(conv, num_ticks, bits), dtype)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", MANY)
def test_every_spike_of_many_networks(seed):
    rng = np.random.default_rng(seed)
    conv, step = rng.random(2) < (0.3, 0.5)
    dtype = torch.float64 if rng.random() < 0.3 else torch.float32
    bits, num_ticks = int(rng.integers(2, 9)), int(rng.integers(16, 1025))
    if step:
        network, asked = steps(conv, seed, dtype, num_ticks), None
    else:
        network, asked = ramps(conv, seed, dtype), num_ticks
    require_equal(network, bits, asked, entering(conv, num_ticks, seed), dtype)


@pytest.mark.parametrize("make", [ramps, steps])
def test_sums_that_float32_cannot_hold_are_added_in_float64(make):
    """784 large weights over 1024 ticks."""
    torch.manual_seed(0)
    kind = ReLPSPLinear if make is ramps else IFLinear
    options = {"t_max": T_MAX} if make is ramps else {"num_steps": 1024}
    layer = kind(784, 30, weight_mean=0.02, weight_gain=1.0, **options)
    network = nn.Sequential(layer)
    ticks = np.random.default_rng(0).integers(0, 1024, (300, 784)).astype(np.int32)
    require_equal(network, 8, 1024, ticks, torch.float32)


def test_learnt_thresholds_round_as_exported():
    network = ramps(False, 3, torch.float32, learn_threshold=True)
    with torch.no_grad():
        for layer in network:
            layer.v_th.uniform_(0.4, 1.6)
    require_equal(network, 5, 128, entering(False, 128, 3), torch.float32)


@pytest.mark.parametrize("slope_clip", [None, 0.3])
def test_a_ramps_gradient_is_that_of_the_real_layer_at_the_rounded_values(slope_clip):
    torch.manual_seed(1)
    bits, num_ticks = 4, 64
    tick = T_MAX / num_ticks
    options = {"learn_threshold": True, "slope_clip": slope_clip}
    layer = ReLPSPLinear(
        30, 20, t_max=T_MAX, weight_mean=0.02, dtype=torch.float64, **options
    )
    real = ReLPSPLinear(
        30, 20, t_max=(num_ticks - 1) * tick, dtype=torch.float64, **options
    )
    step = weight_steps(layer.weight, bits, shared=True)
    whole = integer_weights(layer.weight, step, largest_weight(bits))
    with torch.no_grad():
        real.weight.copy_(whole * step[:, None])
        real.v_th.copy_(ramp_thresholds(layer.v_th, step, tick) * tick * step)
    generator = torch.Generator().manual_seed(2)
    ticks = torch.randint(0, 40, (50, 30), generator=generator)
    times = [(ticks * tick).double().requires_grad_() for _ in range(2)]
    with rounded(nn.Sequential(layer), bits=bits, num_ticks=num_ticks):
        up = layer(times[0])
    exact = real(times[1])
    fired = exact.isfinite()
    assert torch.equal(fired, up.isfinite()) and 0.3 < fired.double().mean() < 1
    late = (up - exact)[fired]
    assert late.min() > -1e-12 and late.max() < tick
    grad = torch.randn(50, 20, generator=generator, dtype=torch.float64)
    # where a crossing meets an input, either side has a gradient
    meets = (exact.detach() / tick - (up / tick).detach()).abs() < 1e-9
    assert meets.double().mean() < 0.2
    grad[meets] = 0
    up.backward(grad)
    exact.backward(grad)
    for got, wanted in (
        (layer.weight.grad, real.weight.grad),
        (layer.v_th.grad, real.v_th.grad),
        (times[0].grad, times[1].grad),
    ):
        assert wanted.abs().max() > 0
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("normalize", ["l2", None])
def test_a_steps_gradient_is_that_of_the_real_layer_at_the_rounded_values(normalize):
    torch.manual_seed(1)
    bits, num_ticks = 4, 64
    options = {
        "num_steps": num_ticks,
        "dtype": torch.float64,
        "rule_options": {"normalize": normalize, "b": 0.1},
    }
    layer, real = (IFLinear(30, 20, weight_mean=0.1, **options) for _ in range(2))
    step = weight_steps(layer.weight, bits, shared=True)
    whole = integer_weights(layer.weight, step, largest_weight(bits))
    with torch.no_grad():
        real.weight.copy_(whole * step[:, None])
    threshold = step_thresholds(torch.ones(20, dtype=torch.float64), step)
    generator = torch.Generator().manual_seed(2)
    ticks = torch.randint(0, num_ticks, (50, 30), generator=generator)
    times = [ticks.double().requires_grad_() for _ in range(2)]
    with rounded(nn.Sequential(layer), bits=bits):
        got, potential = layer.with_potential(times[0])
    wanted = real(times[1])
    assert torch.equal(got, wanted) and wanted.isfinite().any()
    fired = got.isfinite()
    level = (potential / step)[fired]
    torch.testing.assert_close(level, level.round())
    assert (level >= threshold.expand(50, 20)[fired] - 1e-9).all()
    grad = torch.randn(50, 20, generator=generator, dtype=torch.float64)
    got.backward(grad)
    wanted.backward(grad)
    torch.testing.assert_close(layer.weight.grad, real.weight.grad)
    torch.testing.assert_close(times[0].grad, times[1].grad)
    assert layer.weight.grad.abs().max() > 0


def test_parts_round_alone():
    network = ramps(False, 0, torch.float64)
    times = as_times(entering(False, 256, 0), T_MAX / 256, torch.float64)
    with torch.no_grad():
        real = network(times)
        off = {"weights": False, "thresholds": False, "ticks": False}
        results = {}
        for part in (None, *off):
            parts = off | {part: True} if part else off
            with rounded(network, bits=4, num_ticks=256, **parts):
                results[part] = network(times)
    torch.testing.assert_close(results[None], real)
    ticks = results["ticks"] / (T_MAX / 256)
    assert torch.equal(ticks, ticks.round())
    for part in off:
        assert not torch.allclose(results[part], real)
    silent = real.isinf() | results["thresholds"].isinf()
    assert (results["thresholds"] - real).abs()[~silent].max() < 0.1


def test_afterwards_the_network_is_real_again():
    network = ramps(False, 0, torch.float32)
    times = torch.rand(5, 30)
    before = network(times)
    with pytest.raises(RuntimeError, match="stop"), rounded(network):
        assert not torch.equal(network(times), before)
        raise RuntimeError("stop")
    assert torch.equal(network(times), before)
    assert all(layer.rounding is None for layer in network)


def test_what_rounds_to_nothing_stops_the_forward():
    network = ramps(False, 0, torch.float32)
    with torch.no_grad():
        network[-1].weight[2] = 1e-6
    with (
        rounded(network, bits=3),
        pytest.raises(RoundingError, match=r"neuron 2 \(and 0 others\) round to 0"),
    ):
        network(torch.rand(1, 30))


class _Other(nn.Module):
    pass


def linear(**options):
    return ReLPSPLinear(3, 3, **{"t_max": 2.0, **options})


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([linear(), _Other()], "_Other cannot be rounded"),
        ([LIFLinear(3, 3)], "LIFLinear cannot be rounded"),
        ([linear(), nn.Flatten()], "does not end in a layer of neurons"),
        ([], "does not end in a layer of neurons"),
        ([linear(), linear(t_max=3.0)], r"t_max=\[2.0, 3.0\]; they need one"),
        ([linear(t_max=math.inf)], r"t_max=\[inf\]"),
        ([IFLinear(3, 3), linear()], "mixes"),
        ([IFLinear(3, 3, num_steps=20), IFLinear(3, 3)], r"num_steps=\[20, 256\]"),
        ([IFLinear(3, 3, rule_options={"tau_mem": 5.0})], "tau_mem is 5.0"),
        ([IFLinear(3, 3, compat="released")], "compat is 'released'"),
    ],
)
def test_networks_that_cannot_be_rounded_are_refused(layers, message):
    with pytest.raises(ValueError, match=message), rounded(nn.Sequential(*layers)):
        pass


def test_a_layer_that_stands_twice_is_refused():
    layer = linear()
    with pytest.raises(ValueError, match="stands twice"):
        rounded(nn.Sequential(layer, layer)).__enter__()


def test_another_rule_is_refused(monkeypatch):
    layer = linear()
    layer.rule = "mine"
    with pytest.raises(ValueError, match="rule 'mine' cannot be rounded"):
        rounded(nn.Sequential(layer)).__enter__()


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (ramps, {"bits": 1}, "bits is 1"),
        (ramps, {"num_ticks": 1}, "num_ticks is 1; allowed: 2 to 65535"),
        (ramps, {"num_ticks": 65536}, "num_ticks is 65536"),
        (steps, {"num_ticks": 30}, "num_ticks is 30, and the layers live on 60 ticks"),
    ],
)
def test_bad_settings(network, options, message):
    rest = (60,) if network is steps else ()
    made = network(False, 0, torch.float32, *rest)
    with pytest.raises(ValueError, match=message), rounded(made, **options):
        pass
