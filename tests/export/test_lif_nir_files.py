"""NIR files of LIF layers: what stands in them, what is refused, what is misread."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from snn_temporal_plugins.export import (
    ExportCode,
    ExportError,
    check_nir,
    quantise,
    quantise_uniform,
    run_in_norse,
    run_trains_in_norse,
    run_trains_in_snntorch,
    to_nir,
    write_nir,
)
from snn_temporal_plugins.export.train_readers import output_spikes
from snn_temporal_plugins.neurons import (
    LIFConv2d,
    LIFLinear,
    PSPFilter,
    PSPPool2d,
    TimeFlatten,
)
from tests.export.lif_networks import draw, seeded, tssl, uneven
from tests.export.networks import dense_network, real_dense

nir = pytest.importorskip("nir")
pytest.importorskip("norse")
pytest.importorskip("snntorch")


def tree(graph):
    return [f"{name} {type(node).__name__}" for name, node in graph.nodes.items()]


def test_the_nodes_and_their_numbers(tmp_path):
    network = uneven()
    write_nir(network, tmp_path / "net.nir", input_shape=(2, 17, 18))
    graph = nir.read(tmp_path / "net.nir")
    assert tree(graph) == [
        "input Input",
        "l0b_synapse Conv2d",
        "l0c_fire CubaLIF",
        "l1b_pool SumPool2d",
        "l2b_pool SumPool2d",
        "l3a_flatten Flatten",
        "l4b_synapse Linear",
        "l4c_fire CubaLIF",
        "l5b_synapse Linear",
        "l5c_fire LIF",
        "output Output",
    ]
    assert graph.metadata == {"dt": 1e-4, "rule": "tssl_bp"}
    for name, layer in (("l0", 1), ("l4", 5), ("l5", 6)):
        weight = graph.nodes[f"{name}b_synapse"].weight
        np.testing.assert_array_equal(weight, network[layer].weight.detach())
    constants = {
        # the filter is that of the layer before; gains and tau_syn in the threshold
        "l0c_fire": {"tau_syn": 2.5, "tau_mem": 4.0, "v_threshold": 0.6 * 2.5},
        "l4c_fire": {"tau_syn": 1.7, "tau_mem": 1.0, "v_threshold": 2 * 1.7 / 0.91},
        "l5c_fire": {"tau": 30.0, "v_threshold": 1 / 30},
    }
    for name, wanted in constants.items():
        node = graph.nodes[name]
        for key, value in wanted.items():
            value = value * 1e-4 if key.startswith("tau") else value
            np.testing.assert_allclose(getattr(node, key), value, rtol=1e-12)
        assert not node.v_leak.any() and not node.v_reset.any()
    first, last = graph.nodes["l0c_fire"], graph.nodes["l5c_fire"]
    assert first.v_threshold.shape == (5, 9, 9)
    np.testing.assert_allclose(first.r, first.tau_mem / 1e-4)
    np.testing.assert_allclose(first.w_in, first.tau_syn / 1e-4)
    assert (last.r == 1).all()


def test_direct_encoding_tells_its_steps():
    assert to_nir(tssl("8-6-4", num_steps=7)).metadata == {
        "dt": 1e-4,
        "rule": "tssl_bp",
        "num_steps": 7,
    }


def test_more_than_ten_layers_keep_their_order(tmp_path):
    network, x = seeded(
        lambda: nn.Sequential(PSPFilter(), *(LIFLinear(30, 30) for _ in range(12))),
        draw(20, 6, 30, rate=0.5),
    )
    graph = to_nir(network)
    assert list(graph.nodes) == sorted(graph.nodes)
    write_nir(network, tmp_path / "net.nir")
    assert output_spikes(network, x).any()
    assert [c.different for c in check_nir(tmp_path / "net.nir", network, x)] == [0, 0]


def soft():
    return nn.Sequential(PSPFilter(), LIFLinear(4, 3, reset="soft"))


def other_rule():
    network = nn.Sequential(PSPFilter(), LIFLinear(4, 3))
    network[1].rule = "st_rsbp"
    return network


def with_weight(value):
    network = nn.Sequential(PSPFilter(), LIFLinear(4, 3))
    network[1].weight.data[0, 0] = value
    return network


def conv(*layers):
    return nn.Sequential(PSPFilter(), LIFConv2d(1, 2, 3), *layers)


STEPS = LIFLinear(3, 2, num_steps=5)
REFUSED = {
    "soft reset": (soft, ExportCode.RESET, r"layer '1' .*'soft'.*allowed: 'hard'"),
    "PSPs of what": (
        lambda: nn.Sequential(LIFLinear(4, 3)),
        ExportCode.ENCODING,
        r"PSPFilter\(tau_syn\).*num_steps",
    ),
    "steps later": (
        lambda: nn.Sequential(PSPFilter(), LIFLinear(4, 3), STEPS),
        ExportCode.ENCODING,
        "only the first layer",
    ),
    "steps and a filter": (
        lambda: nn.Sequential(PSPFilter(), STEPS),
        ExportCode.ENCODING,
        "num_steps=5",
    ),
    "two filters": (
        lambda: nn.Sequential(PSPFilter(), LIFLinear(4, 3), PSPFilter()),
        ExportCode.ENCODING,
        "one filter",
    ),
    "stock layers": (
        lambda: nn.Sequential(nn.Linear(4, 3), STEPS),
        ExportCode.UNSUPPORTED_LAYER,
        r"layer '0' \(Linear\).*LIFLinear",
    ),
    "first spikes": (real_dense, ExportCode.UNSUPPORTED_LAYER, r"quantise_uniform\("),
    "no layer": (lambda: nn.Sequential(PSPFilter()), ExportCode.NO_LAYER, "LIFLinear"),
    "another rule": (other_rule, ExportCode.RULE, "st_rsbp.*allowed: tssl_bp"),
    "NaN": (lambda: with_weight(torch.nan), ExportCode.NOT_FINITE, "checkpoint"),
    "threshold": (
        lambda: nn.Sequential(PSPFilter(), LIFLinear(4, 3, v_th=-1)),
        ExportCode.THRESHOLD,
        "v_th -1 is not above 0",
    ),
    "gain": (
        lambda: conv(PSPPool2d(2, gain=0.0), TimeFlatten(), LIFLinear(8, 2)),
        ExportCode.PARAMETER,
        "gain 0.0",
    ),
    "pool at the end": (lambda: conv(PSPPool2d(2)), ExportCode.OUTPUT, "ends with a"),
    "sizes": (lambda: conv(LIFLinear(9, 2)), ExportCode.INPUT_SHAPE, "layer 1 takes"),
    "flattened time": (
        lambda: conv(nn.Flatten(0), LIFLinear(8, 2)),
        ExportCode.GEOMETRY,
        "flattens dimensions 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_readers_could_not_run_is_refused(name, tmp_path):
    make, code, words = REFUSED[name]
    with pytest.raises(ExportError, match=words) as caught:
        write_nir(make(), tmp_path / "net.nir", input_shape=(1, 6, 6))
    assert caught.value.code is code
    assert str(caught.value).startswith(f"E{code.value} ")
    assert not list(tmp_path.iterdir())


def test_the_input_shape_of_a_convolution_must_be_told():
    with pytest.raises(ExportError, match="input_shape="):
        to_nir(conv())


@pytest.mark.parametrize("convert", [quantise, quantise_uniform])
@pytest.mark.parametrize(
    "make", [lambda: tssl("4-3", num_steps=5), uneven, lambda: nn.Sequential(STEPS)]
)
def test_a_bundle_refuses_spike_trains_by_its_own_code(convert, make):
    with pytest.raises(ExportError, match=r"fire at most once.*write_nir\(") as caught:
        convert(make(), num_ticks=16)
    assert caught.value.code is ExportCode.SPIKE_TRAIN == 118


@pytest.mark.parametrize("run", [run_trains_in_norse, run_trains_in_snntorch])
@pytest.mark.parametrize("shape", [(4, 5), (3, 7, 4), (2, 3)])
def test_an_input_of_another_shape(run, shape, tmp_path):
    write_nir(tssl("5-3", num_steps=None), tmp_path / "net.nir")
    with pytest.raises(ExportError, match=r"wants \(time, batch, 5\)") as caught:
        run(tmp_path / "net.nir", np.zeros(shape))
    assert caught.value.code is ExportCode.INPUT_SHAPE


def test_the_two_kinds_of_files_are_told_apart(tmp_path):
    write_nir(dense_network(), tmp_path / "first.nir")
    write_nir(tssl("12-3", num_steps=5), tmp_path / "train.nir")
    with pytest.raises(ExportError, match="NIR-ReLPSP/1"):
        run_in_norse(tmp_path / "train.nir", np.zeros((1, 12), int))
    with pytest.raises(ExportError, match="run_in_norse"):
        run_trains_in_norse(tmp_path / "first.nir", np.zeros((1, 1, 12)))


@pytest.mark.parametrize(
    ("module", "run", "command"),
    [
        ("norse.torch", run_trains_in_norse, "--no-deps norse"),
        ("snntorch.import_nir", run_trains_in_snntorch, "[snntorch,nir]"),
    ],
)
def test_a_missing_library_names_its_command(
    module, run, command, tmp_path, monkeypatch
):
    write_nir(tssl("5-3", num_steps=5), tmp_path / "net.nir")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match="pip install") as caught:
        run(tmp_path / "net.nir", np.zeros((1, 5)))
    assert command in str(caught.value)
