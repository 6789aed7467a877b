"""NIR files of ST-RSBP networks: every spike in Norse and in snnTorch, bin for bin."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snn_temporal_plugins.export import (
    ExportCode,
    ExportError,
    check_nir,
    quantise,
    quantise_uniform,
    run_trains_in_norse,
    run_trains_in_snntorch,
    to_nir,
    write_nir,
)
from snn_temporal_plugins.export.train_readers import output_spikes
from snn_temporal_plugins.functional import spike_count_class
from snn_temporal_plugins.neurons import (
    LIFLinear,
    PSPFilter,
    PSPPool2d,
    RecurrentLIF,
    SpikeTrainConv2d,
    SpikeTrainLinear,
    SpikeTrainPool2d,
    TimeFlatten,
)
from tests.export.euler import euler
from tests.export.lif_networks import draw
from tests.export.recurrent_networks import (
    EVENTS,
    NETWORKS,
    QUICK,
    SHAPES,
    built,
    lively,
    seeded,
)

nir = pytest.importorskip("nir")
norse = pytest.importorskip("norse.torch")
pytest.importorskip("snntorch")
from snn_temporal_plugins.adapters import norse as tnorse  # noqa: E402
from snn_temporal_plugins.adapters import snntorch as tsnn  # noqa: E402

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
    for end, layer in enumerate(network, start=1):
        if not isinstance(layer, TimeFlatten):
            assert_exact(network[:end], x, tmp_path / "net.nir", SHAPES.get(name))


@every_network
def test_the_file_means_the_network_in_nirs_own_equations(name, tmp_path):
    network, x = NETWORKS[name]()
    write_nir(network, tmp_path / "net.nir", input_shape=SHAPES.get(name))
    graph = nir.read(tmp_path / "net.nir")
    shift = int(graph.metadata["shift"])
    assert shift == sum(hasattr(layer, "v_th") for layer in network)
    wanted = output_spikes(copy.deepcopy(network).double(), x)
    got = euler(graph, x.double().numpy())
    assert not wanted[:shift].any() and (got[:-shift] == wanted[shift:]).all()


def test_the_nodes_and_their_numbers():
    network = built()
    graph = to_nir(network)
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert kinds == [
        *("Input", "Linear", "CubaLIF", "Linear", "NIRGraph", "Linear", "NIRGraph"),
        "Output",
    ]
    assert graph.metadata == {"dt": 1e-4, "rule": "st_rsbp", "shift": 3}
    loop = graph.nodes["l1c_fire"]
    assert set(loop.edges) == {
        *(("input", "lif"), ("lif", "output"), ("lif", "w_rec"), ("w_rec", "lif"))
    }
    for node, weight in (
        (graph.nodes["l1b_synapse"], network[1].weight),
        (loop.nodes["w_rec"], network[1].recurrent_weight),
        (graph.nodes["l2c_fire"].nodes["w_rec"], torch.eye(10) - 1),
    ):
        np.testing.assert_array_equal(node.weight, weight.detach().numpy())
    lif = loop.nodes["lif"]
    np.testing.assert_allclose(lif.tau_mem, 32e-4)
    np.testing.assert_allclose(lif.tau_syn, 8e-4)
    np.testing.assert_allclose(lif.v_threshold, 8 * (3 - 1e-6), rtol=1e-12)
    assert not lif.v_reset.any() and not lif.v_leak.any()


@settings(max_examples=15)
@given(
    taus=st.lists(st.floats(1, 40), min_size=6, max_size=6),
    v_th=st.floats(0.5, 5),
    lateral=st.floats(0, 2),
    steps=st.integers(12, 40),
)
def test_any_constants(tmp_path_factory, taus, v_th, lateral, steps):
    torch.manual_seed(0)
    network = built()
    network[2].rule_options["lateral"] = lateral
    for layer in network:
        layer.v_th, layer.tau_mem, layer.tau_syn = v_th, taus.pop(), taus.pop()
    x = draw(steps, 6, 30, rate=0.3)
    lively(network, x)
    path = tmp_path_factory.mktemp("any") / "net.nir"
    write_nir(network, path)
    wanted = output_spikes(network, x)
    assert wanted.any()
    exact = output_spikes(copy.deepcopy(network).double(), x)
    got = euler(nir.read(path), x.double().numpy())
    assert (got[:-3] == exact[3:]).all()
    for run in READERS:  # in float32 one membrane may lie on its threshold
        assert (run(path, x) != wanted).any((0, 2)).sum() <= 1


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_train_that_is_not_longer_than_the_shift(steps, tmp_path):
    network, x = seeded(built, EVENTS)
    write_nir(network, tmp_path / "net.nir")
    checks = check_nir(tmp_path / "net.nir", network, x[:steps])
    assert [(c.compared, c.different) for c in checks] == [(steps * 200, 0)] * 2


@pytest.mark.parametrize("run", READERS)
def test_the_readout_is_the_spike_count(run, tmp_path):
    network, x = seeded(built, draw(60, 40, 30, rate=0.05))
    write_nir(network, tmp_path / "net.nir")
    spikes = torch.from_numpy(run(tmp_path / "net.nir", x))
    with torch.no_grad():
        wanted = spike_count_class(network(x))
    assert len(wanted.unique()) > 1
    assert torch.equal(spike_count_class(spikes), wanted)


def test_a_threshold_that_is_met_is_crossed(tmp_path):
    """Where NIR's v > v_threshold would be silent; powers of 2 keep this exact."""
    network = nn.Sequential(
        SpikeTrainLinear(1, 2, v_th=1.0, tau_mem=2.0, tau_syn=2.0, refractory=0)
    )
    network[0].weight.data = torch.tensor([[2.0], [1.999]])
    x = torch.zeros(4, 1, 1)
    x[0] = 1
    assert output_spikes(network, x)[:, 0].tolist() == [[0, 0], [1, 0], [0, 0], [0, 0]]
    write_nir(network, tmp_path / "net.nir")
    assert [c.different for c in check_nir(tmp_path / "net.nir", network, x)] == [0, 0]


def snntorch_network():
    return nn.Sequential(
        tsnn.SpikeTrainConv2d(1, 3, 3, threshold=2.0, **QUICK, output=False),
        tsnn.SpikeTrainPool2d(2, threshold=1.0, **QUICK, output=False),
        nn.Flatten(2),
        tsnn.RecurrentLIF(27, 12, threshold=3.0, **QUICK, output=False),
        nn.Dropout(0.0),
        tsnn.SpikeTrainLinear(12, 4, threshold=2.0, lateral=1.0, **QUICK),
    )


def norse_network():
    p = tnorse.SpikeTrainParameters(v_th=2.0, **QUICK)
    return norse.SequentialState(
        tnorse.SpikeTrainConv2d(1, 3, 3, p),
        tnorse.SpikeTrainPool2d(2, p._replace(v_th=1.0)),
        nn.Flatten(2),
        tnorse.RecurrentLIF(27, 12, p),
        tnorse.SpikeTrainLinear(12, 4, p, lateral=1.0),
    )


def behind_tssl_bp():
    """Both rules exchange spikes in a host."""
    return norse.SequentialState(
        nn.Flatten(2),
        tnorse.LIFLinear(64, 40),
        tnorse.RecurrentLIF(40, 12, tnorse.SpikeTrainParameters(v_th=2.0, **QUICK)),
        tnorse.LIFLinear(12, 4),
    )


@pytest.mark.parametrize("make", [snntorch_network, norse_network, behind_tssl_bp])
def test_the_file_gives_the_spikes_of_the_hosts_network(make, tmp_path):
    network, x = seeded(make, draw(40, 6, 1, 8, 8, rate=0.2))
    assert_exact(network, x, tmp_path / "net.nir", (1, 8, 8))
    graph = nir.read(tmp_path / "net.nir")
    both = make is behind_tssl_bp
    assert graph.metadata["rule"] == ("st_rsbp, tssl_bp" if both else "st_rsbp")
    assert graph.metadata["shift"] == (1 if both else 4)


def conv(*layers):
    return nn.Sequential(SpikeTrainConv2d(1, 2, 3, refractory=0), *layers)


def with_nan(name):
    network = nn.Sequential(RecurrentLIF(4, 3, refractory=0))
    getattr(network[0], name).data[0, 0] = torch.nan
    return network


def with_threshold(v_th):
    network = nn.Sequential(dense())
    network[0].v_th = v_th
    return network


def pool(side=2, **options):
    layer = SpikeTrainPool2d(side, refractory=0)
    vars(layer).update(options)
    return layer


def dense(**options):
    return SpikeTrainLinear(8, 3, **{"refractory": 0, **options})


REFUSED = {
    "refractory time": (
        lambda: nn.Sequential(dense(), SpikeTrainLinear(3, 2)),
        ExportCode.REFRACTORY,
        r"layer '1' .*refractory=2.*allowed: 0\. Train with that",
    ),
    "refractory pool": (
        lambda: conv(SpikeTrainPool2d(2), TimeFlatten(), dense()),
        ExportCode.REFRACTORY,
        r"layer '1' \(SpikeTrainPool2d\) has refractory=2",
    ),
    "PSPs": (
        lambda: nn.Sequential(PSPFilter(), LIFLinear(9, 8), dense()),
        ExportCode.ENCODING,
        "takes spikes of 0 and 1",
    ),
    "a pool": (
        lambda: conv(PSPPool2d(2), TimeFlatten(), dense()),
        ExportCode.ENCODING,
        "takes spikes of 0 and 1.*pool by SpikeTrainPool2d",
    ),
    "sums before a pool": (
        lambda: conv(PSPPool2d(2), pool(), TimeFlatten(), dense()),
        ExportCode.ENCODING,
        "takes spikes of 0 and 1",
    ),
    "threshold of a pool": (
        lambda: conv(pool(v_th=1e-6), TimeFlatten(), dense()),
        ExportCode.THRESHOLD,
        "not above 0",
    ),
    "a pool without room": (
        lambda: conv(pool(5), TimeFlatten(), dense()),
        ExportCode.INPUT_SHAPE,
        "does not fit",
    ),
    "NaN": (lambda: with_nan("weight"), ExportCode.NOT_FINITE, "checkpoint"),
    "recurrent NaN": (
        lambda: with_nan("recurrent_weight"),
        ExportCode.NOT_FINITE,
        "checkpoint",
    ),
    "threshold": (
        lambda: with_threshold(1e-6),
        ExportCode.THRESHOLD,
        "not above 0",
    ),
    "stock neurons": (
        lambda: nn.Sequential(nn.Linear(4, 8), dense()),
        ExportCode.UNSUPPORTED_LAYER,
        "RecurrentLIF",
    ),
    "sizes": (
        lambda: conv(TimeFlatten(), dense()),
        ExportCode.INPUT_SHAPE,
        "layer 2 takes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_readers_could_not_run_is_refused(name, tmp_path):
    make, code, words = REFUSED[name]
    with pytest.raises(ExportError, match=words) as caught:
        write_nir(make(), tmp_path / "net.nir", input_shape=(1, 6, 6))
    assert caught.value.code is code
    assert not list(tmp_path.iterdir())


def test_the_nodes_of_a_pool():
    network = conv(pool(v_th=1.5), TimeFlatten(), dense())
    graph = to_nir(network, input_shape=(1, 6, 6))
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert kinds == [
        *("Input", "Conv2d", "CubaLIF", "SumPool2d", "CubaLIF", "Flatten"),
        *("Linear", "CubaLIF", "Output"),
    ]
    assert graph.metadata["shift"] == 3
    sums, neurons = graph.nodes["l1b_pool"], graph.nodes["l1c_fire"]
    assert sums.kernel_size.tolist() == sums.stride.tolist() == [2, 2]
    assert neurons.v_threshold.shape == (2, 2, 2)
    np.testing.assert_allclose(neurons.v_threshold, 8 * (1.5 - 1e-6), rtol=1e-12)


def test_a_filter_may_follow_for_a_layer_that_takes_psps():
    network = nn.Sequential(dense(), PSPFilter(3.0), LIFLinear(3, 2))
    assert to_nir(network).metadata["rule"] == "st_rsbp, tssl_bp"
    with pytest.raises(ExportError, match=r"PSPFilter\(tau_syn\)"):
        to_nir(nn.Sequential(dense(), LIFLinear(3, 2)))


@pytest.mark.parametrize("convert", [quantise, quantise_uniform])
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: nn.Sequential(dense()), ExportCode.SPIKE_TRAIN),
        (conv, ExportCode.SPIKE_TRAIN),
        (lambda: nn.Sequential(pool()), ExportCode.SPIKE_TRAIN),
        (lambda: nn.Sequential(dense(lateral=1.0)), ExportCode.RECURRENT),
        (built, ExportCode.RECURRENT),  # though a feed-forward layer comes first
        (snntorch_network, ExportCode.RECURRENT),
        (norse_network, ExportCode.RECURRENT),
    ],
)
def test_a_bundle_refuses_by_its_own_codes(convert, make, code):
    with pytest.raises(ExportError, match=r"fire at most once.*write_nir\(") as caught:
        convert(make(), num_ticks=16)
    assert caught.value.code is code
    assert (ExportCode.RECURRENT, ExportCode.REFRACTORY) == (123, 124)
