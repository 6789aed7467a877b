"""NIR files read back: the network that was written, and layers that compute it."""

import numpy as np
import pytest
import torch
from torch import nn

from snn_temporal_plugins.export import (
    SILENT,
    ExportCode,
    ExportError,
    IntegerNetwork,
    NirCode,
    NirError,
    PoolLayer,
    describe_nir,
    emulate,
    quantise,
    quantise_uniform,
    read_nir,
    to_layers,
    to_nir,
    write_nir,
)
from snn_temporal_plugins.export.train_readers import output_spikes
from snn_temporal_plugins.neurons import (
    IFConv2d,
    IFLinear,
    ReLPSPConv2d,
    ReLPSPLinear,
    TickGrid,
)
from tests.export import lif_networks, recurrent_networks
from tests.export.networks import (
    conv_network,
    dense,
    dense_network,
    random_ticks,
    real_conv,
    real_dense,
    real_steps,
    step_network,
)
from tests.export.random_networks import FEW, MANY, random_trial

nir = pytest.importorskip("nir")


def assert_same(got, wanted):
    fields = ("input_shape", "num_ticks", "tick", "response", "shapes")
    for field in fields:
        assert getattr(got, field) == getattr(wanted, field)
    for layer, other in zip(got.layers, wanted.layers, strict=True):
        assert type(layer) is type(other)
        if isinstance(layer, PoolLayer):
            assert layer == other
            continue
        for field in ("weight", "threshold"):
            values, others = getattr(layer, field), getattr(other, field)
            assert values.dtype == others.dtype
            np.testing.assert_array_equal(values, others)
        for field in ("stride", "padding"):
            assert getattr(layer, field, None) == getattr(other, field, None)


def layer_ticks(layers, ticks):
    """Ticks after every layer with neurons or a pool, as the emulator gives them."""
    times = torch.from_numpy(np.where(ticks == SILENT, np.inf, ticks))
    found = []
    for layer in layers:
        times = layer(times)
        if not isinstance(layer, ReLPSPLinear | ReLPSPConv2d | nn.Flatten):
            silent = times.isinf()
            found.append(times.masked_fill(silent, SILENT).detach().numpy())
    return found


def assert_layers_compute(network, ticks):
    layers = to_layers(network)
    wanted = emulate(network, ticks).layer_ticks
    for got, right in zip(layer_ticks(layers, ticks), wanted, strict=True):
        np.testing.assert_array_equal(got, right)


def round_trip(seed, path):
    network, ticks = random_trial(seed, uniform=True)
    write_nir(network, path)
    again = read_nir(path)
    assert_same(again, network)
    assert_layers_compute(again, ticks)


@pytest.mark.parametrize("seed", FEW)
def test_random_networks_come_back(seed, tmp_path):
    round_trip(seed, tmp_path / "net.nir")


@pytest.mark.sweep
def test_a_thousand_random_networks_come_back(tmp_path):
    for seed in MANY:
        round_trip(seed, tmp_path / f"{seed}.nir")


@pytest.mark.parametrize("real", [real_dense, real_conv, real_steps])
def test_real_networks_come_back(real, tmp_path):
    """Thresholds near 2**23, where float32 would not be enough for ramps."""
    options = {} if real is real_steps else {"num_ticks": 200}
    if real is real_conv:
        options["input_shape"] = (1, 10, 10)
    network = quantise_uniform(real(), **options)
    write_nir(network, tmp_path / "net.nir")
    again = read_nir(tmp_path / "net.nir")
    assert_same(again, network)
    rng = np.random.default_rng(0)
    shape = (30, *network.input_shape)
    assert_layers_compute(again, random_ticks(rng, shape, network.num_ticks // 2))


def test_layers_know_each_threshold_of_a_ramp():
    network = quantise(real_dense(), num_ticks=100, bits=6)
    assert len(set(network.layers[0].threshold.tolist())) > 1
    ticks = random_ticks(np.random.default_rng(0), (30, 20), 60)
    assert_layers_compute(network, ticks)


def test_layers_of_steps_have_one_threshold():
    with pytest.raises(ExportError, match="quantise_uniform") as caught:
        to_layers(IntegerNetwork((dense([[1], [1]], [1, 2]),), (1,), 9, 1.0, "step"))
    assert caught.value.code is ExportCode.THRESHOLD


def test_padded_and_overlapping_pools_become_layers():
    pools = (PoolLayer(3, 2, 1), PoolLayer(2, 1, 0), dense(np.ones((2, 4)), 2))
    network = IntegerNetwork(pools, (1, 5, 5), 30, 1.0)
    assert_layers_compute(
        network, random_ticks(np.random.default_rng(0), (9, 1, 5, 5), 20)
    )


@pytest.mark.parametrize("make", [conv_network, lambda: step_network(conv_network())])
def test_an_imported_network_trains_on_and_goes_out_again(make, tmp_path):
    torch.manual_seed(0)
    write_nir(make(), tmp_path / "net.nir")
    layers = to_layers(read_nir(tmp_path / "net.nir"))
    kinds = (ReLPSPConv2d, TickGrid) if make is conv_network else (IFConv2d, IFLinear)
    assert {type(layer) for layer in layers} >= set(kinds)
    x = torch.from_numpy(random_ticks(np.random.default_rng(0), (20, 2, 8, 8), 30))
    x = torch.where(x == SILENT, torch.inf, x.double())
    before = [layer.weight.clone() for layer in layers if hasattr(layer, "weight")]
    out = layers(x)
    out[out.isfinite()].mean().backward()
    weights = [layer.weight for layer in layers if hasattr(layer, "weight")]
    with torch.no_grad():
        for weight in weights:
            assert weight.grad.abs().sum() > 0
            weight -= 1e-3 * weight.grad / weight.grad.abs().max()
    assert all((a != b).any() for a, b in zip(before, weights, strict=True))
    trained = quantise_uniform(layers)
    assert (trained.num_ticks, trained.tick) == (40, 1.0)
    write_nir(trained, tmp_path / "trained.nir")
    assert_same(read_nir(tmp_path / "trained.nir"), trained)


def test_reading_draws_no_random_numbers(tmp_path):
    write_nir(conv_network(), tmp_path / "net.nir")
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    to_layers(read_nir(tmp_path / "net.nir"))
    assert torch.rand(1) == wanted


# --- LIF layers -------------------------------------------------------------------

TRAINS = [(lif_networks, name) for name in lif_networks.NETWORKS]
TRAINS += [(recurrent_networks, name) for name in recurrent_networks.NETWORKS]


@pytest.mark.parametrize(("module", "name"), TRAINS, ids=lambda part: str(part)[:20])
def test_lif_layers_come_back(module, name, tmp_path):
    network, x = module.NETWORKS[name]()
    write_nir(network, tmp_path / "net.nir", input_shape=module.SHAPES.get(name))
    again = read_nir(tmp_path / "net.nir")
    spikes = output_spikes(network, x)
    assert spikes.any()
    np.testing.assert_array_equal(output_spikes(again, x), spikes)
    write_nir(again, tmp_path / "again.nir")
    files = [(tmp_path / f"{name}.nir").read_bytes() for name in ("net", "again")]
    assert files[0] == files[1]


def test_constants_of_lif_layers_come_back_to_the_last_digit(tmp_path):
    network, _ = recurrent_networks.NETWORKS["uneven"]()
    write_nir(network, tmp_path / "net.nir")
    for layer, other in zip(network, read_nir(tmp_path / "net.nir"), strict=True):
        assert layer.settings == other.settings
        assert torch.equal(layer.weight, other.weight)


def test_lif_layers_of_one_network_under_two_rules_are_refused(tmp_path):
    network, _ = lif_networks.NETWORKS["dense, events"]()
    graph = to_nir(network)
    graph.metadata["rule"] = "st_rsbp, tssl_bp"
    nir.write(tmp_path / "net.nir", graph)
    with pytest.raises(NirError, match="cannot be told apart") as caught:
        read_nir(tmp_path / "net.nir")
    assert caught.value.code is NirCode.METADATA


def test_first_layers_of_two_filters_cannot_both_take_an_image(tmp_path):
    network = lif_networks.tssl("6-5-4", num_steps=5)
    network[1].tau_syn = 4.0
    graph = to_nir(network)
    lif = graph.nodes["l1c_fire"]
    lif.w_in[:] = 2.0
    nir.write(tmp_path / "net.nir", graph)
    with pytest.raises(NirError, match=r"'l0c_fire'.*filters by 3") as caught:
        read_nir(tmp_path / "net.nir")
    assert caught.value.code is NirCode.VALUE


# --- what is in a file ------------------------------------------------------------


def test_a_file_is_described(tmp_path):
    write_nir(dense_network(0, (12, 10, 4)), tmp_path / "net.nir")
    rows = describe_nir(tmp_path / "net.nir")
    assert rows["encoding"] == "NIR-ReLPSP/1"
    assert rows["NIR version"] == nir.version
    assert (rows["num_ticks"], rows["shift"]) == (40, 2)
    assert rows["input"] == "Input 12"
    assert rows["l1b_synapse"] == "Linear 4 x 10"
    network, _ = lif_networks.NETWORKS["dense, events"]()
    write_nir(network, tmp_path / "lif.nir")
    assert describe_nir(tmp_path / "lif.nir")["encoding"] == "LIF layers"


def test_what_no_node_says_can_be_given(tmp_path):
    network = dense_network()
    graph = to_nir(network)
    graph.metadata.clear()
    nir.write(tmp_path / "bare.nir", graph)
    with pytest.raises(NirError, match="num_ticks") as caught:
        read_nir(tmp_path / "bare.nir")
    assert caught.value.code is NirCode.METADATA
    again = read_nir(tmp_path / "bare.nir", num_ticks=40)
    assert (again.num_ticks, again.tick) == (40, 1.0)
    write_nir(network, tmp_path / "net.nir")
    assert_same(read_nir(tmp_path / "net.nir", num_ticks=40), network)
    with pytest.raises(NirError, match="both alike"):
        read_nir(tmp_path / "net.nir", num_ticks=41)
