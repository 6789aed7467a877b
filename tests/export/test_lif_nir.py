"""NIR files of LIF networks: every spike in Norse and in snnTorch, bin for bin."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snn_temporal_plugins.export import (
    check_nir,
    run_trains_in_norse,
    run_trains_in_snntorch,
    to_nir,
    write_nir,
)
from snn_temporal_plugins.export.train_readers import output_spikes
from snn_temporal_plugins.functional import psp_filter, summed_psp_class
from snn_temporal_plugins.kernels import lif_window
from snn_temporal_plugins.neurons import LIFLinear, PSPDropout, PSPFilter
from tests.export.euler import euler
from tests.export.lif_networks import LIF, NETWORKS, SHAPES, draw, lively, seeded, tssl

nir = pytest.importorskip("nir")
pytest.importorskip("norse")
pytest.importorskip("snntorch")

READERS = [run_trains_in_norse, run_trains_in_snntorch]
every_network = pytest.mark.parametrize("name", NETWORKS)


def assert_exact(network, x, path, input_shape=None):
    write_nir(network, path, input_shape=input_shape, overwrite=True)
    spikes = output_spikes(network, x)
    assert 0.02 < spikes.mean() < 0.9
    for check in check_nir(path, network, x):
        assert (check.compared, check.different) == (spikes.size, 0), check.reader


@every_network
def test_every_layer_is_exact(name, tmp_path):
    network, x = NETWORKS[name]()
    shape = SHAPES.get(name, getattr(network, "input_shape", None))
    for end, layer in enumerate(network, start=1):
        if isinstance(layer, LIF):
            assert_exact(network[:end], x, tmp_path / "net.nir", shape)


@every_network
def test_the_file_means_the_network_in_nirs_own_equations(name, tmp_path):
    network, x = NETWORKS[name]()
    write_nir(network, tmp_path / "net.nir", input_shape=SHAPES.get(name))
    graph = nir.read(tmp_path / "net.nir")
    steps = graph.metadata.get("num_steps")
    train = torch.stack([x.double()] * int(steps)) if steps else x.double()
    wanted = output_spikes(copy.deepcopy(network).double(), x)
    assert (euler(graph, train.numpy()) == wanted).all()


@pytest.mark.parametrize("run", READERS)
def test_the_readout_stays_with_the_consumer(run, tmp_path):
    network, x = NETWORKS["dense, direct"]()
    write_nir(network, tmp_path / "net.nir")
    spikes = torch.from_numpy(run(tmp_path / "net.nir", x))
    with torch.no_grad():
        psp = network(x)
    tau_syn = network[-1].tau_syn
    torch.testing.assert_close(psp_filter(spikes, tau_syn), psp)
    label = summed_psp_class(psp)
    assert len(label.unique()) > 3
    assert (summed_psp_class(psp_filter(spikes, tau_syn)) == label).all()


@settings(max_examples=15)
@given(
    taus=st.lists(st.floats(1, 40), min_size=4, max_size=4),
    v_th=st.floats(0.1, 5),
    gain=st.floats(0.2, 3),
    num_steps=st.none() | st.integers(1, 12),
)
def test_any_constants(tmp_path_factory, taus, v_th, gain, num_steps):
    spec = "6x6-3C3-P2-8-4"
    torch.manual_seed(0)
    network = tssl(spec, num_steps=num_steps, v_th=v_th)
    x = draw(6, 1, 6, 6) if num_steps else draw(20, 6, 1, 6, 6, rate=0.3)
    for layer in network:
        if isinstance(layer, LIF):
            layer.tau_mem, layer.tau_syn = taus[:2]
            taus = taus[1:]
        elif hasattr(layer, "gain"):
            layer.gain = gain
        elif hasattr(layer, "tau_syn"):
            layer.tau_syn = taus[-1]
    lively(network, x)
    path = tmp_path_factory.mktemp("any") / "net.nir"
    write_nir(network, path)
    assert output_spikes(network, x).any()
    assert [check.different for check in check_nir(path, network, x)] == [0, 0]


@pytest.mark.parametrize(("tau_syn", "tau_mem"), [(2, 4), (1, 2), (3, 5)])
def test_only_a_membrane_on_its_threshold_is_a_matter_of_rounding(
    tau_syn, tau_mem, tmp_path
):
    """Weights in eighths make exact ties, which trained weights hardly do."""
    network = nn.Sequential(
        PSPFilter(tau_syn), LIFLinear(6, 200, tau_mem=tau_mem, tau_syn=tau_syn)
    )
    weight = torch.randint(-8, 17, (200, 6), generator=torch.Generator().manual_seed(0))
    network[1].weight.data = weight / 8
    x = draw(40, 30, 6, rate=0.3)
    exact = copy.deepcopy(network).double()
    with torch.no_grad():
        current = exact[1].current(exact[0](x.double())).flatten(1)
    rest = current.new_zeros(current.shape[1])
    _, u = lif_window(current, rest, rest, float(tau_mem), float(tau_syn), 1.0, False)
    tie = ((u - 1).abs() < 1e-5).any(0)
    assert tie.any()
    write_nir(network, tmp_path / "net.nir")
    wanted = output_spikes(network, x)
    for run in READERS:
        differs = (run(tmp_path / "net.nir", x) != wanted).any(0).reshape(-1)
        assert not (differs & ~tie.numpy()).any()
        if tau_syn != 3:  # nothing is rounded here: a tie is silent, as NIR says
            assert not differs.any()


def test_dropout_is_over_and_the_network_stays_as_it_was(tmp_path):
    network, x = seeded(lambda: tssl("20-15-5", num_steps=5, dropout=0.5), draw(9, 20))
    assert any(isinstance(layer, PSPDropout) for layer in network)
    network[1].eval()
    assert_exact(network, x, tmp_path / "net.nir")
    assert [layer.training for layer in network] == [True, False, True]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_written_as_float32(dtype):
    network = tssl("6-5-4").to(dtype)
    for name, layer in (("l0b_synapse", network[0]), ("l1b_synapse", network[1])):
        weight = to_nir(network).nodes[name].weight
        assert weight.dtype == np.float32
        np.testing.assert_array_equal(weight, layer.weight.detach().float().numpy())


def test_spikingjelly_reads_the_same_graph():
    """Not one of our readers: it enforces w_in = tau_syn/dt and r = tau_mem/dt."""
    module = "spikingjelly.activation_based.nir_exchange.from_nir"
    spikingjelly = pytest.importorskip(module)
    for name in ("conv, direct", "dense, events", "no synaptic filter"):
        network, x = NETWORKS[name]()
        graph = to_nir(network)
        train = [x] * 5 if "num_steps" in graph.metadata else x
        step, state, spikes = spikingjelly.import_from_nir(graph), None, []
        with torch.no_grad():
            for part in train:
                output, state = step(part, state)
                spikes.append(output)
        assert (torch.stack(spikes).numpy() == output_spikes(network, x)).all()
