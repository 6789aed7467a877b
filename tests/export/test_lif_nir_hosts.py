"""LIF layers in a host's own manner: the file gives the host network's spikes."""

import pytest
import torch
from torch import nn

from snn_temporal_plugins.export import (
    ExportCode,
    ExportError,
    check_nir,
    quantise,
    to_nir,
    write_nir,
)
from snn_temporal_plugins.export.train_readers import output_spikes
from snn_temporal_plugins.neurons import LIFLinear, PSPFilter
from tests.export.lif_networks import draw

pytest.importorskip("nir")
norse = pytest.importorskip("norse.torch")
pytest.importorskip("snntorch")
from snn_temporal_plugins.adapters import norse as tnorse  # noqa: E402
from snn_temporal_plugins.adapters import snntorch as tsnn  # noqa: E402


def snntorch_events(*last, output=True):
    quick = {"tau_mem": 8.0, "tau_syn": 2.0, "output": False}
    return nn.Sequential(
        tsnn.LIFConv2d(1, 6, 3, **quick, threshold=0.2),
        tsnn.PSPPool2d(2),
        nn.Flatten(2),
        tsnn.LIFLinear(54, 20, **quick, graded=True),
        tsnn.LIFLinear(20, 5, tau_syn=5.0, output=output),
        *last,
    )


def norse_events(*last):
    p = tnorse.LIFWindowParameters
    return norse.SequentialState(
        tnorse.LIFConv2d(1, 6, 3, p(tau_mem=8.0, tau_syn=2.0, v_th=0.2)),
        tnorse.PSPPool2d(2),
        nn.Flatten(2),
        tnorse.LIFLinear(54, 20, p(tau_mem=8.0, tau_syn=2.0), graded=True),
        tnorse.LIFLinear(20, 5, p(tau_syn=5.0)),
        *last,
    )


def norse_direct():
    return norse.SequentialState(
        nn.Flatten(),
        tnorse.LIFLinear(64, 30, num_steps=6),
        tnorse.LIFLinear(30, 5),
        tnorse.PSPFilter(),
    )


EVENTS = draw(30, 12, 1, 8, 8, rate=0.4)
HOSTS = {
    "snnTorch, spikes and PSPs": (snntorch_events, EVENTS),
    "snnTorch, spikes": (lambda: snntorch_events(output=False), EVENTS),
    "snnTorch, readout": (lambda: snntorch_events(PSPFilter(), output=False), EVENTS),
    "Norse, spikes": (norse_events, EVENTS),
    "Norse, readout": (lambda: norse_events(tnorse.PSPFilter(4.0)), EVENTS),
    "Norse, direct encoding": (norse_direct, draw(12, 1, 8, 8)),
}


@pytest.mark.parametrize("name", HOSTS)
def test_the_file_gives_the_spikes_of_the_hosts_network(name, tmp_path):
    make, x = HOSTS[name]
    torch.manual_seed(1)
    network = make()
    for layer in network:
        if hasattr(layer, "core"):
            layer.weight.data *= 1.5
    write_nir(network, tmp_path / "net.nir", input_shape=(1, 8, 8))
    spikes = output_spikes(network, x)
    assert 0.01 < spikes.mean() < 0.9
    for check in check_nir(tmp_path / "net.nir", network, x):
        assert (check.compared, check.different) == (spikes.size, 0), check.reader


def test_a_layer_filters_its_own_input():
    """Core layers take the constant of the layer before, window layers their own."""
    graph = to_nir(snntorch_events(), input_shape=(1, 8, 8))
    constants = [
        round(float(node.tau_syn.max()) / graph.metadata["dt"], 9)
        for node in graph.nodes.values()
        if hasattr(node, "tau_syn")
    ]
    assert constants == [2, 2, 5]


@pytest.mark.parametrize(
    "before", [PSPFilter(), LIFLinear(64, 64, num_steps=5)], ids=["filter", "PSPs"]
)
def test_an_input_that_is_filtered_already(before):
    with pytest.raises(ExportError, match="filtered already") as caught:
        to_nir(nn.Sequential(before, tsnn.LIFLinear(64, 5)))
    assert caught.value.code is ExportCode.ENCODING


def test_a_hosts_own_word_for_soft_reset():
    layer = tsnn.LIFLinear(4, 3, reset_mechanism="subtract")
    with pytest.raises(ExportError, match="reset_mechanism='zero'") as caught:
        to_nir(nn.Sequential(layer))
    assert caught.value.code is ExportCode.RESET


@pytest.mark.parametrize("make", [snntorch_events, norse_direct])
def test_a_bundle_refuses_window_layers_too(make):
    with pytest.raises(ExportError) as caught:
        quantise(make(), input_shape=(1, 8, 8))
    assert caught.value.code is ExportCode.SPIKE_TRAIN
