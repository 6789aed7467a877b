"""NIR files read back by other libraries: every first spike is the emulator's."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_temporal_plugins.export import (
    SILENT,
    ExportCode,
    ExportError,
    IntegerNetwork,
    PoolLayer,
    check_nir,
    emulate,
    quantise,
    quantise_uniform,
    run_in_norse,
    run_in_snntorch,
    run_in_spikingjelly,
    to_nir,
    to_ticks,
    write_nir,
)
from tests.export.networks import (
    conv_network,
    dense,
    dense_network,
    random_conv,
    random_dense,
    random_ticks,
    real_conv,
    real_dense,
    real_steps,
    step_network,
)

nir = pytest.importorskip("nir")
pytest.importorskip("norse")
pytest.importorskip("snntorch")
pytest.importorskip("spikingjelly")

READERS = [run_in_norse, run_in_snntorch, run_in_spikingjelly]


def assert_exact(network, path, ticks):
    write_nir(network, path)
    output = emulate(network, ticks).output_ticks
    assert (output != SILENT).any()
    for check in check_nir(path, network, ticks):
        assert (check.compared, check.different) == (output.size, 0), check.reader


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [(9, 6), (12, 10, 4), (8, 12, 12, 5)])
def test_dense_networks_are_exact(sizes, seed, tmp_path):
    network = dense_network(seed, sizes, num_ticks=60)
    ticks = random_ticks(np.random.default_rng(seed), (8, sizes[0]), 60)
    assert_exact(network, tmp_path / "net.nir", ticks)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [(9, 6), (12, 10, 4), (8, 12, 12, 5)])
def test_dense_networks_of_steps_are_exact(sizes, seed, tmp_path):
    network = step_network(dense_network(seed, sizes, num_ticks=20))
    ticks = random_ticks(np.random.default_rng(seed), (12, sizes[0]), 20)
    assert_exact(network, tmp_path / "net.nir", ticks)


@pytest.mark.parametrize("seed", range(2))
def test_convolutions_and_pools_are_exact(seed, tmp_path):
    network = conv_network(seed)
    ticks = random_ticks(np.random.default_rng(seed), (5, 2, 8, 8), 40)
    assert_exact(network, tmp_path / "net.nir", ticks)
    assert_exact(step_network(network), tmp_path / "steps.nir", ticks)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 3), st.integers(5, 7), st.integers(5, 7)),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    num_ticks=st.integers(2, 12),
)
def test_any_network_of_steps_is_exact(
    tmp_path_factory, seed, size, stride, padding, num_ticks
):
    rng = np.random.default_rng(seed)
    conv = random_conv(rng, size[0], 3, 3, stride=stride, padding=padding)
    shape = IntegerNetwork((conv,), size, num_ticks, 1.0).shapes[0]
    pooled = [n - 1 for n in shape[1:]]
    last = random_dense(rng, 3 * pooled[0] * pooled[1], 4)
    layers = (conv, PoolLayer(2, 1, 0), last)
    network = step_network(IntegerNetwork(layers, size, num_ticks, 1.0))
    path = tmp_path_factory.mktemp("any") / "net.nir"
    write_nir(network, path)
    ticks = random_ticks(rng, (5, *size), num_ticks)
    assert [check.different for check in check_nir(path, network, ticks)] == [0, 0, 0]


@pytest.mark.parametrize("response", ["ramp", "step"])
def test_a_pool_passes_the_earliest_spike_once(response, tmp_path):
    """Overlapping windows, many spikes per window, ties, and a silent window."""
    pool = PoolLayer(3, 2, 0)
    layers = (pool, dense(np.eye(4), 1))
    network = IntegerNetwork(layers, (1, 5, 5), 30, 1.0, response)
    ticks = random_ticks(np.random.default_rng(1), (20, 1, 5, 5), 30, silent=0.6)
    ticks[0] = SILENT
    ticks[1] = 3
    assert_exact(network, tmp_path / "net.nir", ticks)


@pytest.mark.parametrize(
    ("make", "shape"), [(real_dense, (20,)), (real_conv, (1, 10, 10))]
)
def test_real_networks_with_256_ticks(make, shape, tmp_path):
    network = quantise_uniform(make(), num_ticks=256, input_shape=shape)
    ticks = to_ticks(torch.rand(6, *shape), network)
    assert_exact(network, tmp_path / "net.nir", ticks)


def test_stepwise_extremes(tmp_path):
    """All at the start, none, all at the end, and potentials near the float32 limit."""
    network = quantise_uniform(real_dense(), num_ticks=256)
    rows = [np.zeros(20), np.full(20, SILENT), np.full(20, 255), np.arange(20) * 13]
    assert_exact(network, tmp_path / "net.nir", np.stack(rows).astype(int))


def test_steps_close_to_the_limit_of_float32(tmp_path):
    """Sums near 2**23 that meet a threshold, or miss it by one."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-120_000, 160_000, (150, 50))
    ticks = random_ticks(rng, (20, 50), 60, silent=0.1)
    potential = np.stack([(ticks <= tick) @ weight.T for tick in range(60)])
    assert np.abs(potential).max() < 1 << 23 < 4 * np.abs(potential).max()
    high = np.sort(potential[potential > 400_000])
    for threshold in high[:: len(high) // 6]:
        layer = dense(weight, threshold)
        network = IntegerNetwork((layer,), (50,), 60, 1.0, "step")
        assert_exact(network, tmp_path / f"{threshold}.nir", ticks)


def test_real_networks_of_steps(tmp_path):
    network = quantise_uniform(real_steps())
    rng = np.random.default_rng(0)
    ticks = random_ticks(rng, (200, 20), 60)
    ticks[:3] = np.array([0, SILENT, 59])[:, None]
    assert_exact(network, tmp_path / "net.nir", ticks)


def test_steps_of_one_and_all_ticks(tmp_path):
    """No shift: fewer ticks than layers are enough, and the last tick is right."""
    layers = (dense([[1]], 1), dense([[1]], 1), dense([[1]], 1))
    network = IntegerNetwork(layers, (1,), 2, 1.0, "step")
    write_nir(network, tmp_path / "net.nir")
    for run in READERS:
        got = run(tmp_path / "net.nir", np.array([[0], [1], [SILENT]]))
        assert got.tolist() == [[0], [1], [SILENT]]


def test_thresholds_that_differ_are_folded(tmp_path):
    real = real_dense()
    real[0].v_th.copy_(torch.linspace(0.5, 2, 15))
    network = quantise_uniform(real, num_ticks=200)
    ticks = to_ticks(torch.rand(6, 20), network)
    assert_exact(network, tmp_path / "net.nir", ticks)


def test_spikes_past_the_horizon_do_not_come_back(tmp_path):
    """The readers' shift brings late spikes inside the window; they must be cut."""
    network = IntegerNetwork(
        (dense([[1]], 10), dense([[1]], 1), dense([[1]], 1)), (1,), 13, 1.0
    )
    path = tmp_path / "net.nir"
    write_nir(network, path)
    for start, output in ((0, 12), (1, SILENT), (2, SILENT), (3, SILENT)):
        assert emulate(network, [[start]]).output_ticks == output
        for run in READERS:
            assert run(path, np.array([[start]])) == output


def test_more_than_ten_layers_keep_their_order(tmp_path):
    layers = tuple(dense([[2, 1], [1, 2]], 2) for _ in range(12))
    network = IntegerNetwork(layers, (2,), 40, 1.0)
    graph = to_nir(network)
    assert list(graph.nodes) == sorted(graph.nodes)
    assert_exact(network, tmp_path / "net.nir", np.array([[0, 3], [5, 1]]))


def test_the_metadata_and_the_nodes(tmp_path):
    network = conv_network()
    write_nir(network, tmp_path / "net.nir")
    graph = nir.read(tmp_path / "net.nir")
    assert graph.metadata == {
        "encoding": "NIR-ReLPSP/1",
        "dt": 1e-4,
        "num_ticks": 40,
        "tick": 0.05,
        "shift": 3,
    }
    assert list(graph.nodes) == sorted(graph.nodes)
    assert not any(isinstance(n, nir.Affine) for n in graph.nodes.values())
    loop = graph.nodes["l0c_fire"].nodes
    assert isinstance(loop["w_rec"], nir.Conv2d)
    lif = loop["lif"]
    assert lif.v_threshold.shape == (4, 8, 8)
    assert (lif.v_threshold == 39.5).all()
    assert np.float32(1) - np.float32(1e-4 / lif.tau_mem.max()) == 1


def test_without_self_inhibition_deep_networks_are_wrong(tmp_path):
    """The known-bad encoding: neurons fire again and again, later layers go wrong."""
    network = dense_network(0, (12, 10, 4), num_ticks=60)
    graph = to_nir(network)
    for name in ("l0c_fire", "l1c_fire"):
        graph.nodes[name].nodes["w_rec"].weight[:] = 0
    nir.write(tmp_path / "bad.nir", graph)
    ticks = random_ticks(np.random.default_rng(0), (20, 12), 60)
    wanted = emulate(network, ticks).output_ticks
    for run in READERS:
        assert (run(tmp_path / "bad.nir", ticks) != wanted).any()


def plain_if(network):
    """The known-bad encoding of steps: nir.IF without a self-inhibition."""
    graph = to_nir(network)
    for name in list(graph.nodes):
        if name.endswith("c_fire"):
            ones = np.ones(network.shapes[int(name[1])])
            threshold = network.layers[int(name[1])].threshold[0] - 0.5
            graph.nodes[name] = nir.IF(
                r=ones, v_threshold=ones * threshold, v_reset=0 * ones
            )
    return graph


def test_a_plain_if_is_right_in_norse_for_one_layer_and_wrong_for_two(tmp_path):
    rng = np.random.default_rng(0)
    for sizes, right in (((12, 10), True), ((12, 10, 4), False)):
        network = step_network(dense_network(0, sizes, num_ticks=60))
        nir.write(tmp_path / f"{right}.nir", plain_if(network))
        ticks = random_ticks(rng, (20, 12), 60)
        wanted = emulate(network, ticks).output_ticks
        got = run_in_norse(tmp_path / f"{right}.nir", ticks)
        assert (got == wanted).all() == right
        with pytest.raises((AttributeError, TypeError)):  # it takes IF for leaky
            run_in_snntorch(tmp_path / f"{right}.nir", ticks)


def test_the_nodes_of_steps_mean_them_in_nirs_own_equations():
    """tau dv/dt = -v + r i with the spike as a box of dt: V grows by w dt / tau."""
    network = step_network(conv_network())
    graph = to_nir(network)
    assert graph.metadata["encoding"] == "NIR-IF/1"
    assert graph.metadata["shift"] == 0
    lif = graph.nodes["l0c_fire"].nodes["lif"]
    assert isinstance(lif, nir.LIF)
    lifts = graph.metadata["dt"] / lif.tau * lif.r
    np.testing.assert_allclose(lif.v_threshold / lifts, 8.5, rtol=1e-6)
    assert (1 - np.float32(lifts) == 1).all()  # float32 sees no leak


def uneven():
    return IntegerNetwork((dense([[1], [2]], [3, 4]),), (1,), 9, 1.0)


def padded_pool():
    pool = PoolLayer(2, 2, 1)
    return IntegerNetwork((pool, dense(np.ones((1, 4)), 1)), (1, 2, 2), 9, 1.0)


def too_high():
    return IntegerNetwork((dense([[1]], 1 << 24),), (1,), 9, 1.0)


def steps_too_far(weight):
    return IntegerNetwork((dense([[weight, 1]], 1),), (2,), 9, 1.0, "step")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (uneven, ExportCode.THRESHOLD),
        (padded_pool, ExportCode.GEOMETRY),
        (too_high, ExportCode.WIDTH),
        (lambda: steps_too_far(1 << 23), ExportCode.WIDTH),
        (lambda: steps_too_far(-(1 << 23) - 1), ExportCode.WIDTH),
        (lambda: replace(uneven(), response="step"), ExportCode.THRESHOLD),
        (lambda: quantise(real_steps()), ExportCode.THRESHOLD),
        (lambda: quantise(real_dense()), ExportCode.THRESHOLD),
    ],
)
def test_networks_that_readers_could_not_run(make, code, tmp_path):
    with pytest.raises(ExportError) as caught:
        write_nir(make(), tmp_path / "net.nir")
    assert caught.value.code is code
    assert not list(tmp_path.iterdir())


def test_other_nir_files_are_refused(tmp_path):
    graph = nir.NIRGraph.from_list(nir.Linear(np.ones((2, 2), dtype=np.float32)))
    nir.write(tmp_path / "other.nir", graph)
    for run in READERS:
        with pytest.raises(ExportError, match="NIR-ReLPSP/1, NIR-IF/1"):
            run(tmp_path / "other.nir", np.zeros((1, 2), int))


def test_fewer_ticks_than_layers(tmp_path):
    """Each layer of ramps takes a tick at least, so nothing comes out in time."""
    network = IntegerNetwork((dense([[1]], 1), dense([[1]], 1)), (1,), 2, 1.0)
    assert emulate(network, [[0]]).output_ticks == SILENT
    write_nir(network, tmp_path / "net.nir")
    for run in READERS:
        assert run(tmp_path / "net.nir", [[0]]) == SILENT


@pytest.mark.parametrize(
    ("module", "run", "command"),
    [
        ("nir", lambda path, _: write_nir(dense_network(), path), "[nir]"),
        ("nir", run_in_norse, "[nir]"),
        ("norse.torch", run_in_norse, "--no-deps norse"),
        ("snntorch.import_nir", run_in_snntorch, "[snntorch,nir]"),
        (
            "spikingjelly.activation_based.nir_exchange.from_nir",
            run_in_spikingjelly,
            "spikingjelly",
        ),
    ],
)
def test_a_missing_library_names_its_command(
    module, run, command, tmp_path, monkeypatch
):
    path = tmp_path / "net.nir"
    if run in READERS:
        write_nir(dense_network(), path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match="pip install") as caught:
        run(path, np.zeros((1, 12), int))
    assert command in str(caught.value)


def test_wide_convolutions_keep_their_channels_apart(tmp_path):
    rng = np.random.default_rng(3)
    layers = (
        random_conv(rng, 1, 6, 3, stride=2, padding=2, threshold=9),
        random_dense(rng, 6 * 4 * 4, 4),
    )
    network = IntegerNetwork(layers, (1, 6, 6), 50, 1.0)
    ticks = random_ticks(rng, (6, 1, 6, 6), 50)
    assert_exact(network, tmp_path / "net.nir", ticks)
