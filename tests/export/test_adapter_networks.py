"""Networks written in a host's own manner: the emulator gives the host's spikes."""

import numpy as np
import pytest
import torch
from torch import nn

from snn_temporal_plugins.export import (
    SILENT,
    ExportCode,
    ExportError,
    emulate,
    flatten_network,
    quantise,
    run_in_norse,
    run_in_snntorch,
)
from tests.export.networks import random_ticks

NUM_TICKS = 40
DT = 1 / 32
every_kind = pytest.mark.parametrize("kind", ["ReLPSP", "IF"])


def exact(module, rng):
    """Weights k/16 with |k| <= 15, which 5 bits hold without any rounding."""
    with torch.no_grad():
        shape = module.weight.shape
        weight = torch.as_tensor(rng.integers(-9, 13, shape) / 16)
        weight.reshape(len(weight), -1)[:, 0] = 15 / 16
        module.weight.copy_(weight)
    return module


def host(name):
    if name == "snntorch":
        pytest.importorskip("snntorch")
        from snn_temporal_plugins.adapters import snntorch as adapter
    else:
        pytest.importorskip("norse")
        from snn_temporal_plugins.adapters import norse as adapter
    return adapter


def sequential(name):
    if name == "snntorch":
        return nn.Sequential
    from norse.torch import SequentialState

    return SequentialState


def window_network(name, kind):
    adapter, rng = host(name), np.random.default_rng(0)
    options = {"output": False} if name == "snntorch" else {}
    if kind == "ReLPSP":
        options["dt"] = DT
    conv, linear = getattr(adapter, f"{kind}Conv2d"), getattr(adapter, f"{kind}Linear")
    return sequential(name)(
        exact(conv(1, 3, 3, padding=1, **options), rng),
        adapter.EarliestSpikePool2d(2),
        nn.Flatten(2),
        exact(linear(27, 4, **options), rng),
    )


def step_network(name, kind):
    adapter, rng = host(name), np.random.default_rng(0)
    neurons = {
        ("snntorch", "ReLPSP"): lambda: adapter.ReLPSP(dt=DT, init_hidden=True),
        ("snntorch", "IF"): lambda: adapter.IF(init_hidden=True),
        ("norse", "ReLPSP"): lambda: adapter.ReLPSPCell(dt=DT),
        ("norse", "IF"): lambda: adapter.IFCell(),
    }
    neuron = neurons[name, kind]
    return sequential(name)(
        exact(nn.Conv2d(1, 3, 3, padding=1, bias=False), rng),
        neuron(),
        nn.Flatten(),
        exact(nn.Linear(108, 4, bias=False), rng),
        neuron(),
    )


def trains(ticks):
    return torch.stack(
        [torch.as_tensor(ticks == tick).float() for tick in range(NUM_TICKS)]
    )


def first_ticks(spikes):
    spikes = spikes.detach().numpy() > 0
    return np.where(spikes.any(0), spikes.argmax(0), SILENT)


def integers(network):
    return quantise(network, bits=5, num_ticks=NUM_TICKS, input_shape=(1, 6, 6))


def assert_equal(network, kind, host_ticks, ticks):
    integer = integers(network)
    wanted = {"ReLPSP": (DT, "ramp"), "IF": (1.0, "step")}
    assert (integer.tick, integer.response) == wanted[kind]
    got = emulate(integer, ticks).output_ticks
    assert 0 < (got != SILENT).mean()
    np.testing.assert_array_equal(got, host_ticks)


@every_kind
@pytest.mark.parametrize("name", ["snntorch", "norse"])
def test_window_form(name, kind):
    network = window_network(name, kind)
    ticks = random_ticks(np.random.default_rng(1), (5, 1, 6, 6), 20, silent=0.6)
    output = network(trains(ticks))
    output = output[0] if isinstance(output, tuple) else output
    assert_equal(network, kind, first_ticks(output), ticks)


@every_kind
def test_step_form_of_snntorch(kind):
    network = step_network("snntorch", kind)
    ticks = random_ticks(np.random.default_rng(1), (5, 1, 6, 6), 20, silent=0.6)
    spikes = torch.stack([network(tick) for tick in trains(ticks)])
    assert_equal(network, kind, first_ticks(spikes), ticks)


@every_kind
def test_step_form_of_norse(kind):
    network = step_network("norse", kind)
    ticks = random_ticks(np.random.default_rng(1), (5, 1, 6, 6), 20, silent=0.6)
    spikes, state = [], None
    for tick in trains(ticks):
        output, state = network(tick, state)
        spikes.append(output)
    assert_equal(network, kind, first_ticks(torch.stack(spikes)), ticks)


@pytest.mark.parametrize("make", [window_network, step_network])
@pytest.mark.parametrize("name", ["snntorch", "norse"])
def test_a_hosts_own_nir_export_of_steps_gives_their_spikes(name, make, tmp_path):
    nir = pytest.importorskip("nir")
    network = make(name, "IF")
    ticks = random_ticks(np.random.default_rng(1), (5, 1, 6, 6), 20, silent=0.6)
    with host(name).register():
        if name == "snntorch":
            from snntorch.export_nir import export_to_nir as export
        else:
            from norse.torch import to_nir as export
        nir.write(tmp_path / "net.nir", export(network, trains(ticks)))
    wanted = emulate(integers(network), ticks).output_ticks
    assert 0 < (wanted != SILENT).mean()
    for run in (run_in_norse, run_in_snntorch):
        np.testing.assert_array_equal(run(tmp_path / "net.nir", ticks), wanted)


def test_a_stock_neuron_is_refused_by_name():
    snntorch = pytest.importorskip("snntorch")
    network = nn.Sequential(nn.Linear(4, 3, bias=False), snntorch.Leaky(beta=0.9))
    with pytest.raises(ExportError, match="not followed by a ReLPSP") as caught:
        flatten_network(network)
    assert caught.value.code is ExportCode.UNSUPPORTED_LAYER
