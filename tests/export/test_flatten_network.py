"""What can be exported is read right; everything else is refused with its code."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from snn_temporal_plugins.export import (
    ConvLayer,
    DenseLayer,
    ExportCode,
    ExportError,
    FlattenLayer,
    PoolLayer,
    flatten_network,
)
from snn_temporal_plugins.neurons import (
    EarliestSpikePool2d,
    IFConv2d,
    IFLinear,
    ReLPSPConv2d,
    ReLPSPLinear,
    SilenceDropout,
    build_network,
)


class Window(nn.Module):
    """The shape of an adapter's window layer."""

    def __init__(self, core, dt=0.1):
        super().__init__()
        self.core = core
        self.dt = dt


class Neuron(nn.Module):
    """The shape of a step-form neuron."""

    nir_node = "ReLPSP"

    def __init__(self, dt=0.1, **attributes):
        super().__init__()
        self.dt = dt
        for name, value in attributes.items():
            setattr(self, name, value)


class IFNeuron(nn.Module):
    """The shape of a step-form neuron that counts ticks."""

    nir_node = "IF"

    def __init__(self, v_th=1.0):
        super().__init__()
        self.v_th = v_th


def test_core_layers_in_nested_sequentials():
    network = nn.Sequential(
        nn.Sequential(ReLPSPConv2d(2, 3, 3, stride=2, padding=1, t_max=2.0)),
        nn.Identity(),
        EarliestSpikePool2d(2),
        SilenceDropout(0.2),
        nn.Sequential(nn.Flatten(), nn.Dropout(0.1)),
        ReLPSPLinear(12, 4, v_th=0.5, t_max=2.0),
    )
    flat = flatten_network(network, input_shape=(2, 8, 8))
    conv, pool, flatten, dense = flat.layers
    assert isinstance(conv, ConvLayer)
    assert (conv.stride, conv.padding) == (2, 1)
    np.testing.assert_array_equal(conv.weight, network[0][0].weight.detach().numpy())
    assert pool == PoolLayer(2, 2, 0)
    assert flatten == FlattenLayer()
    assert isinstance(dense, DenseLayer)
    assert dense.v_th.tolist() == [0.5] * 4
    assert (flat.input_shape, flat.t_max, flat.dt) == ((2, 8, 8), 2.0, None)


def test_a_built_network_brings_its_horizon_and_a_dense_one_its_shape():
    flat = flatten_network(build_network("20-7-3", dropout=0.2, t_max=1.5))
    assert (flat.input_shape, flat.t_max) == ((20,), 1.5)
    assert [layer.weight.shape for layer in flat.layers] == [(7, 20), (3, 7)]


def test_an_image_before_a_flatten():
    network = nn.Sequential(nn.Flatten(), ReLPSPLinear(12, 4))
    assert flatten_network(network).input_shape == (12,)
    assert flatten_network(network, input_shape=(3, 2, 2)).input_shape == (3, 2, 2)


def test_weights_are_copied():
    network = nn.Sequential(ReLPSPLinear(3, 2, dtype=torch.float64))
    flat = flatten_network(network)
    before = flat.layers[0].weight.copy()
    with torch.no_grad():
        network[0].weight.zero_()
    np.testing.assert_array_equal(flat.layers[0].weight, before)


def test_a_module_that_stands_twice_counts_twice():
    pool, neuron = EarliestSpikePool2d(2), Neuron(v_th=1.0)
    network = nn.Sequential(
        pool,
        pool,
        nn.Flatten(),
        nn.Linear(4, 3, bias=False),
        neuron,
        nn.Linear(3, 2, bias=False),
        neuron,
    )
    flat = flatten_network(network, input_shape=(1, 8, 8))
    assert len(flat.layers) == 5


def test_window_layers():
    network = nn.Sequential(
        Window(ReLPSPConv2d(1, 2, 3)),
        EarliestSpikePool2d(2),
        nn.Flatten(),
        Window(ReLPSPLinear(8, 2)),
    )
    flat = flatten_network(network, input_shape=(1, 6, 6))
    assert (flat.dt, flat.t_max) == (0.1, math.inf)
    assert len(flat.layers) == 4


def test_the_horizon_of_a_window_layer_counts_in_ticks():
    flat = flatten_network(nn.Sequential(Window(ReLPSPLinear(8, 2, t_max=20))))
    assert flat.t_max == pytest.approx(2.0)


@pytest.mark.parametrize(
    "attributes",
    [
        {"v_th": 0.5},
        {"threshold": torch.tensor(0.5)},
        {"p": torch.nn.ParameterDict({"v_th": torch.full((4,), 0.5)})},
    ],
)
def test_step_form(attributes):
    if "p" in attributes:  # Norse keeps the threshold in its parameters

        class Parameters:
            v_th = torch.full((4,), 0.5)

        attributes = {"p": Parameters()}
    network = nn.Sequential(nn.Linear(6, 4, bias=False), Neuron(**attributes))
    (layer,) = flatten_network(network).layers
    assert layer.v_th.tolist() == [0.5] * 4
    assert layer.weight.shape == (4, 6)


def test_step_form_of_a_convolution():
    conv = nn.Conv2d(1, 2, 3, stride=2, padding=1, bias=False)
    network = nn.Sequential(conv, Neuron(v_th=1.0))
    flat = flatten_network(network, input_shape=(1, 6, 6))
    assert (flat.layers[0].stride, flat.layers[0].padding) == (2, 1)


def test_integrate_and_fire_layers():
    network = nn.Sequential(
        IFConv2d(2, 3, 3, stride=2, padding=1, num_steps=40, v_th=0.7),
        EarliestSpikePool2d(2),
        nn.Flatten(),
        IFLinear(12, 4, num_steps=40, b=0.1, rule_options={"tau_stdp": 5.0}),
    )
    flat = flatten_network(network, input_shape=(2, 8, 8))
    assert (flat.response, flat.num_ticks, flat.dt) == ("step", 40, None)
    conv, _, _, dense = flat.layers
    assert (conv.stride, conv.padding) == (2, 1)
    assert (
        conv.v_th.tolist() == [float(np.float32(0.7))] * 3
    )  # as float32 layers compare
    np.testing.assert_array_equal(dense.weight, network[3].weight.detach().numpy())
    assert flatten_network(nn.Sequential(ReLPSPLinear(4, 3))).response == "ramp"


def test_a_built_network_of_steps_brings_its_ticks_and_its_shape():
    network = build_network("8x8-4C3-P2-5", rule="sstdp", num_ticks=30, dropout=0.1)
    flat = flatten_network(network)
    assert (flat.input_shape, flat.num_ticks) == ((1, 8, 8), 30)


def test_host_forms_of_steps_leave_the_ticks_open():
    window = nn.Sequential(Window(IFLinear(8, 4), 1.0), Window(IFLinear(4, 2), 1.0))
    step = nn.Sequential(nn.Linear(8, 4, bias=False), IFNeuron(0.3))
    for network in (window, step):
        flat = flatten_network(network)
        assert (flat.response, flat.num_ticks, flat.dt) == ("step", None, 1.0)
    assert flat.layers[0].v_th.tolist() == [float(np.float32(0.3))] * 4


def conv(*arguments, **options):
    return nn.Sequential(nn.Conv2d(*arguments, bias=False, **options), Neuron(v_th=1.0))


def changed(value):
    layer = ReLPSPLinear(4, 3)
    with torch.no_grad():
        layer.weight[1] = value
    return nn.Sequential(layer)


def negative_threshold():
    layer = ReLPSPLinear(4, 3)
    layer.v_th.fill_(-1)
    return nn.Sequential(layer)


def other_rule():
    layer = ReLPSPLinear(4, 3)
    layer.rule = "sstdp"
    return nn.Sequential(layer)


def steps(**options):
    return nn.Sequential(IFLinear(4, 3, **options))


def two(first, second):
    return nn.Sequential(ReLPSPLinear(4, 4, **first), ReLPSPLinear(4, 4, **second))


REFUSED = [
    (ExportCode.UNSUPPORTED_LAYER, nn.Sequential(nn.ReLU()), "ReLU"),
    (ExportCode.UNSUPPORTED_LAYER, nn.Module(), "nn.Sequential"),
    (ExportCode.UNSUPPORTED_LAYER, nn.Sequential(nn.Linear(4, 3)), "neuron"),
    (
        ExportCode.UNSUPPORTED_LAYER,
        nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU()),
        "not followed by a ReLPSP",
    ),
    (
        ExportCode.UNSUPPORTED_LAYER,
        nn.Sequential(nn.Linear(4, 3, bias=False), Neuron()),
        "lacks dt",
    ),
    (ExportCode.UNSUPPORTED_LAYER, nn.Sequential(nn.BatchNorm2d(3)), "BatchNorm2d"),
    (ExportCode.BIAS, nn.Sequential(nn.Linear(4, 3), Neuron(v_th=1)), "bias=False"),
    (ExportCode.GROUPS, conv(2, 2, 3, groups=2), "groups=2"),
    (ExportCode.KERNEL, conv(2, 2, (3, 5)), "3x5"),
    (ExportCode.GEOMETRY, conv(2, 2, 3, stride=(1, 2)), "stride"),
    (ExportCode.GEOMETRY, conv(2, 2, 3, padding="same"), "same"),
    (ExportCode.GEOMETRY, conv(2, 2, 3, dilation=2), "dilation"),
    (ExportCode.GEOMETRY, conv(2, 2, 3, padding_mode="reflect"), "reflect"),
    (ExportCode.GEOMETRY, nn.Sequential(nn.Flatten(0)), "flattens"),
    (ExportCode.RULE, other_rule(), "sstdp"),
    (ExportCode.RULE, steps(compat="released"), "last two ticks"),
    (ExportCode.LEAK, steps(rule_options={"tau_mem": 20.0}), "tau_mem=20.0"),
    (
        ExportCode.RESPONSE,
        nn.Sequential(ReLPSPLinear(4, 4), IFLinear(4, 4)),
        r"\['ramp', 'step'\]",
    ),
    (
        ExportCode.RESPONSE,
        nn.Sequential(
            *(nn.Linear(4, 4, bias=False), Neuron(v_th=1.0)),
            *(nn.Linear(4, 4, bias=False), IFNeuron()),
        ),
        r"\['ramp', 'step'\]",
    ),
    (
        ExportCode.HORIZON,
        nn.Sequential(IFLinear(4, 4, num_steps=30), IFLinear(4, 4, num_steps=31)),
        r"num_steps: \[30, 31\]",
    ),
    (
        ExportCode.TICK,
        nn.Sequential(IFLinear(4, 4), Window(IFLinear(4, 4))),
        "one form",
    ),
    (ExportCode.BIAS, nn.Sequential(nn.Linear(4, 3), IFNeuron()), "bias=False"),
    (ExportCode.UNSUPPORTED_LAYER, nn.Sequential(Window(nn.ReLU())), "Window"),
    (ExportCode.NOT_FINITE, changed(float("nan")), "NaN"),
    (ExportCode.NOT_FINITE, changed(float("inf")), "infinity"),
    (ExportCode.ZERO_ROW, changed(0.0), "neuron 1"),
    (ExportCode.THRESHOLD, negative_threshold(), "-1"),
    (ExportCode.NO_LAYER, nn.Sequential(EarliestSpikePool2d(2)), "no spiking layer"),
    (ExportCode.HORIZON, two({"t_max": 1.0}, {"t_max": 2.0}), r"\[1.0, 2.0\]"),
    (
        ExportCode.TICK,
        nn.Sequential(Window(ReLPSPLinear(4, 4), 0.1), Window(ReLPSPLinear(4, 4), 0.2)),
        r"\[0.1, 0.2\]",
    ),
    (
        ExportCode.TICK,
        nn.Sequential(Window(ReLPSPLinear(4, 4), 0.1), ReLPSPLinear(4, 4)),
        "one form",
    ),
    (
        ExportCode.INPUT_SHAPE,
        nn.Sequential(ReLPSPLinear(4, 3), ReLPSPLinear(4, 3)),
        "layer 1",
    ),
    (ExportCode.INPUT_SHAPE, nn.Sequential(ReLPSPConv2d(1, 2, 3)), "input_shape="),
]


@pytest.mark.parametrize(("code", "network", "what"), REFUSED)
def test_refusals(code, network, what):
    with pytest.raises(ExportError, match=what) as caught:
        flatten_network(network)
    assert caught.value.code is code
    assert str(caught.value).startswith(f"E{code.value} {code.name}: ")


@pytest.mark.parametrize("shape", [(2, 8, 8), (64,), (1, 2, 8)])
def test_input_shapes_that_do_not_fit(shape):
    network = nn.Sequential(ReLPSPConv2d(1, 2, 3))
    with pytest.raises(ExportError) as caught:
        flatten_network(network, input_shape=shape)
    assert caught.value.code is ExportCode.INPUT_SHAPE


def test_a_dense_layer_after_an_image_needs_a_flatten():
    network = nn.Sequential(ReLPSPConv2d(1, 2, 3), ReLPSPLinear(32, 3))
    with pytest.raises(ExportError, match=r"nn\.Flatten\(\)"):
        flatten_network(network, input_shape=(1, 6, 6))
