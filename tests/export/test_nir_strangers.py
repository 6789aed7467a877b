"""NIR files from strangers: whatever is in them, a network comes out or a number."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    NirCode,
    NirError,
    hdf5_reader,
    read_nir,
    to_nir,
    write_nir,
)
from snn_temporal_plugins.export.nir_file import read_tree
from snn_temporal_plugins.export.nir_import import network_of
from tests.export.lif_networks import NETWORKS
from tests.export.networks import conv_network, dense_network, step_network

h5py = pytest.importorskip("h5py")
nir = pytest.importorskip("nir")

LIMIT = 1 << 20


def refused(path, code, match=None, **options):
    with pytest.raises(NirError, match=match) as caught:
        read_nir(path, **options)
    assert caught.value.code is code
    assert str(caught.value).startswith(f"N{code.value} {code.name}: ")


def graph_refused(path, code, match=None, **options):
    """Without the process that `read_nir` starts: bytes are as they should be."""
    file = hdf5_reader.read_hdf5(path.read_bytes(), 100 * LIMIT)
    with pytest.raises(NirError, match=match) as caught:
        network_of(file, **options)
    assert caught.value.code is code
    assert str(caught.value).startswith(f"N{code.value} {code.name}: ")


# --- graphs that are not ours -----------------------------------------------------


def stranger(kind):
    """Graphs as other people write them."""
    ones = np.ones(3, dtype=np.float32)
    weight = np.ones((3, 2), dtype=np.float32)
    fire = {
        "affine": [nir.Affine(weight, ones)],
        "integrator": [nir.Linear(weight), nir.I(ones), nir.IF(ones, ones, 0 * ones)],
        "plain": [nir.Linear(weight), nir.LIF(ones, ones, 0 * ones, ones, 0 * ones)],
        "neurons first": [nir.LIF(ones, ones, 0 * ones, ones, 0 * ones)],
    }
    return nir.NIRGraph.from_list(*fire[kind])


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("affine", "node 'affine' .Affine. does not fit; allowed.*Linear"),
        ("integrator", "node 'i' .I. does not fit; allowed at this place: NIRGraph"),
        ("plain", "node 'lif' .LIF. does not fit; allowed at this place: NIRGraph"),
        ("neurons first", "node 'lif' .LIF."),
    ],
)
def test_another_encoding_is_refused_by_its_first_node(kind, match, tmp_path):
    nir.write(tmp_path / "net.nir", stranger(kind))
    graph_refused(tmp_path / "net.nir", NirCode.NODE, match, num_ticks=9)


def change(field, value, name="l0c_fire", inner="lif"):
    def make(graph):
        node = graph.nodes[name]
        node = node.nodes[inner] if inner else node
        getattr(node, field)[(0,) * getattr(node, field).ndim] = value

    return make


def all_of(field, value, name="l0c_fire", inner="lif"):
    def make(graph):
        node = graph.nodes[name].nodes[inner] if inner else graph.nodes[name]
        setattr(node, field, np.full_like(getattr(node, field), value))

    return make


def say(name, value):
    return lambda graph: graph.metadata.update({name: value})


def drop(*edge):
    return lambda graph: graph.edges.remove(edge)


def add(*edge):
    return lambda graph: graph.edges.append(edge)


def no_inhibition(graph):
    del graph.nodes["l1c_fire"].nodes["w_rec"]
    graph.nodes["l1c_fire"].edges = [("input", "lif"), ("lif", "output")]


def other_response(graph):
    """The second layer of ramps is one of steps."""
    steps = to_nir(step_network(dense_network()))
    graph.nodes["l1c_fire"] = steps.nodes["l1c_fire"]


def renamed(graph):
    graph.nodes = {
        name.replace("l1b_synapse", "second"): node
        for name, node in graph.nodes.items()
    }
    graph.edges = [
        tuple(end.replace("l1b_synapse", "second") for end in edge)
        for edge in graph.edges
    ]


def fewer_inputs(graph):
    graph.nodes["input"] = nir.Input(np.array([5]))


CHANGES = {
    "weight": (change("weight", 0.5, "l0b_synapse", ""), NirCode.VALUE, "whole numb"),
    "NaN": (change("weight", np.nan, "l0b_synapse", ""), NirCode.VALUE, "NaN"),
    "large": (change("weight", 3e9, "l0b_synapse", ""), NirCode.VALUE, "32 bits"),
    "too large": (change("weight", 1e9, "l0b_synapse", ""), NirCode.VALUE, "E110"),
    "threshold": (all_of("v_threshold", 7), NirCode.VALUE, "whole, from 1 on"),
    "low": (all_of("v_threshold", -0.5), NirCode.VALUE, "whole, from 1 on"),
    "uneven": (change("v_threshold", 7.5), NirCode.VALUE, "allowed: one"),
    "leak": (all_of("tau_mem", 1.0), NirCode.VALUE, "'l0c_fire/lif'.*tau_mem 1.0 at"),
    "one leak": (change("tau_syn", 2.0), NirCode.VALUE, "tau_syn 2.0 at .0,., where"),
    "gain": (all_of("r", 1.0), NirCode.VALUE, "has r 1.0"),
    "reset": (all_of("v_reset", 1.0), NirCode.VALUE, "v_reset"),
    "weak": (all_of("weight", 0, inner="w_rec"), NirCode.VALUE, "w_rec.*weight 0.0"),
    "no inhibition": (no_inhibition, NirCode.NODE, "'l1c_fire'.*no inner node 'w_rec'"),
    "other response": (other_response, NirCode.NODE, "'l1c_fire/lif' .LIF. does not"),
    "renamed": (renamed, NirCode.NODE, "'l1b_synapse'.*is missing"),
    "fewer inputs": (fewer_inputs, NirCode.VALUE, "'l0b_synapse'.*E113"),
    "hole": (drop("l0b_synapse", "l0c_fire"), NirCode.EDGE, "not come after the Input"),
    "skip": (add("input", "output"), NirCode.EDGE, "'input'.*leads to"),
    "loop": (add("output", "l0c_fire"), NirCode.EDGE, "a second time"),
    "no edge": (drop("l1c_fire", "output"), NirCode.EDGE, "'output'"),
    "encoding": (say("encoding", "NIR-IF/1"), NirCode.METADATA, "'NIR-IF/1', but by"),
    "dt": (say("dt", 1e-3), NirCode.METADATA, "dt is 0.001"),
    "shift": (say("shift", 0), NirCode.METADATA, "shift is 0"),
    "ticks": (say("num_ticks", "many"), NirCode.METADATA, "num_ticks is 'many'"),
    "no ticks": (say("num_ticks", 0), NirCode.VALUE, "E114"),
    "tick": (say("tick", -1.0), NirCode.METADATA, "tick is -1"),
    "rule": (say("rule", "tssl_bp"), NirCode.NODE, "'l0c_fire'"),
    "other rule": (say("rule", "sstdp"), NirCode.METADATA, "'tssl_bp', 'st_rsbp'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_not_ours_or_contradicts_itself_is_refused(name, tmp_path):
    make, code, match = CHANGES[name]
    graph = to_nir(dense_network())
    make(graph)
    nir.write(tmp_path / "net.nir", graph)
    graph_refused(tmp_path / "net.nir", code, match)


IMAGES = {
    "padding": (all_of("padding", 2, "l0b_synapse", ""), NirCode.VALUE),
    "stride": (all_of("stride", 0, "l0b_synapse", ""), NirCode.VALUE),
    "groups": (lambda graph: setattr(graph.nodes["l0b_synapse"], "groups", 2), None),
    "dilation": (all_of("dilation", 2, "l0b_synapse", ""), NirCode.VALUE),
    "bias": (all_of("bias", 1, "l0b_synapse", ""), NirCode.VALUE),
    "pool": (all_of("kernel_size", 5, "l1b_pool", ""), NirCode.VALUE),
    "flatten": (
        lambda graph: setattr(graph.nodes["l3a_flatten"], "start_dim", 1),
        NirCode.VALUE,
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_that_are_read_otherwise_are_refused(name, tmp_path):
    make, code = IMAGES[name]
    graph = to_nir(conv_network())
    make(graph)
    nir.write(tmp_path / "net.nir", graph)
    graph_refused(tmp_path / "net.nir", code or NirCode.VALUE)


def test_free_metadata_and_versions_do_not_matter(tmp_path):
    graph = to_nir(dense_network())
    graph.metadata["author"] = "a stranger"
    nir.write(tmp_path / "net.nir", graph)
    with h5py.File(tmp_path / "net.nir", "a") as file:
        del file["version"]
        file["version"] = "99.0"
    assert read_nir(tmp_path / "net.nir").num_ticks == 40


# --- HDF5 that is not only numbers and words --------------------------------------


def soft(file):
    file["node/nodes/l0b_synapse/more"] = h5py.SoftLink("/version")


def external(file):
    file["node/nodes/other"] = h5py.ExternalLink("/etc/hostname", "/")


def hard(file):
    """A group inside itself: endless."""
    file["node/nodes/l0c_fire/nodes/again"] = file["node"]


def outside(file):
    del file["node/nodes/l0b_synapse/weight"]
    file["node/nodes/l0b_synapse"].create_dataset(
        "weight", (4,), "f4", external=[("/etc/hostname", 0, 16)]
    )


def virtual(file):
    del file["node/nodes/l0b_synapse/weight"]
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file["node/nodes/l0b_synapse"].create_virtual_dataset("weight", layout)


def giant(file):
    """A few bytes of file that declare 4 TiB."""
    del file["node/nodes/l0b_synapse/weight"]
    file["node/nodes/l0b_synapse"].create_dataset(
        "weight", (1 << 20, 1 << 20), "f4", chunks=(1, 1024), compression="gzip"
    )


def many(file):
    """Each array is small enough, all of them are not."""
    for index in range(8):
        file.create_dataset(f"more{index}", (50_000,), "f4")


def words(file):
    file["node/words"] = np.array(["x"] * 30_000, dtype=object)


def long_words(file):
    file["node/words"] = np.array(["x" * 100_000] * 20, dtype=object)


def pickled(file):
    file["node/object"] = np.void(b"cos\nsystem\n")


def compound(file):
    file["node/object"] = np.zeros(2, dtype=[("a", "f4"), ("b", "i4")])


def references(file):
    file["node/object"] = np.array([file["version"].ref], dtype=h5py.ref_dtype)


def empty(file):
    file["node/object"] = h5py.Empty("f4")


def deep(file):
    file.create_group("node/" + "/".join("abcdefghijkl"))


def type_alone(file):
    file["node/object"] = np.dtype("f4")


def control(file):
    file["node/a\nb"] = 1


FILES = {
    soft: NirCode.LINK,
    external: NirCode.LINK,
    hard: NirCode.LINK,
    outside: NirCode.LINK,
    virtual: NirCode.LINK,
    giant: NirCode.SIZE,
    many: NirCode.SIZE,
    words: NirCode.SIZE,
    long_words: NirCode.SIZE,
    deep: NirCode.SIZE,
    pickled: NirCode.TYPE,
    compound: NirCode.TYPE,
    references: NirCode.TYPE,
    empty: NirCode.TYPE,
    type_alone: NirCode.TYPE,
    control: NirCode.TYPE,
}


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_hdf5_that_nir_does_not_need_is_refused(make, tmp_path):
    write_nir(dense_network(), tmp_path / "net.nir")
    with h5py.File(tmp_path / "net.nir", "a") as file:
        make(file)
    data = (tmp_path / "net.nir").read_bytes()
    assert len(data) < 3 * LIMIT
    with pytest.raises(hdf5_reader.Refusal) as caught:
        hdf5_reader.read_hdf5(data, LIMIT)
    assert NirCode[caught.value.code] is FILES[make]


def test_a_refusal_of_the_process_keeps_its_number(tmp_path):
    write_nir(dense_network(), tmp_path / "net.nir")
    with h5py.File(tmp_path / "net.nir", "a") as file:
        giant(file)
    refused(tmp_path / "net.nir", NirCode.SIZE, "weight brings .* to 43980465.* bytes")


def missing_type(file):
    del file["node/nodes/l0b_synapse/type"]


def number_for_group(file):
    del file["node/nodes/l0c_fire/nodes/lif"]
    file["node/nodes/l0c_fire/nodes/lif"] = 3


def edges_of_numbers(file):
    del file["node/edges"]
    file["node/edges"] = np.zeros((3, 2))


def short_edges(file):
    del file["node/edges"]
    file["node/edges"] = np.array([["input"], ["output"]], dtype=object)


def inner_edges(file):
    del file["node/nodes/l0c_fire/edges"]
    file["node/nodes/l0c_fire/edges"] = 3


def field_too_many(file):
    file["node/nodes/l0b_synapse/bias"] = np.zeros(3)


def no_metadata(file):
    del file["node/metadata"]
    file["node/metadata"] = 3


def wrong_shape(file):
    """A neuron's arrays are small, and the loop would be of 10^12 weights."""
    del file["node/nodes/input/shape"]
    file["node/nodes/input/shape"] = np.array([1 << 20])
    del file["node/nodes/l0b_synapse/weight"]
    file["node/nodes/l0b_synapse/weight"] = np.ones((1 << 20, 1), "f4")


LIES = {
    missing_type: NirCode.NOT_NIR,
    number_for_group: NirCode.NODE,
    edges_of_numbers: NirCode.NOT_NIR,
    short_edges: NirCode.EDGE,
    inner_edges: NirCode.NODE,
    field_too_many: NirCode.NODE,
    no_metadata: NirCode.METADATA,
    wrong_shape: NirCode.VALUE,
}


@pytest.mark.parametrize("make", LIES, ids=lambda make: make.__name__)
def test_files_that_no_writer_of_nir_leaves(make, tmp_path):
    write_nir(dense_network(), tmp_path / "net.nir")
    with h5py.File(tmp_path / "net.nir", "a") as file:
        make(file)
    graph_refused(tmp_path / "net.nir", LIES[make])


def test_files_that_are_no_nir(tmp_path):
    path = tmp_path / "net.nir"
    path.write_bytes(b"PK\3\4 no HDF5 at all")
    refused(path, NirCode.NOT_NIR, "no readable HDF5")
    path.write_bytes(b"")
    refused(path, NirCode.NOT_NIR)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    refused(path, NirCode.NOT_NIR, "no node or version")
    path.write_bytes(b"x" * 100)
    refused(path, NirCode.SIZE, "max_bytes", max_bytes=99)
    with pytest.raises(FileNotFoundError):
        read_nir(tmp_path / "none.nir")


def test_bytes_that_keep_hdf5_busy_are_given_up(tmp_path):
    write_nir(dense_network(), tmp_path / "net.nir")
    with pytest.raises(NirError, match=r"busy for more than 0\.01 s"):
        read_tree(tmp_path / "net.nir", max_bytes=LIMIT, seconds=0.01)


def test_the_process_imports_nothing_of_this_package():
    program = (
        "import runpy, sys\n"
        f"runpy.run_path({hdf5_reader.__file__!r})\n"
        "print(sorted({'torch', 'snn_temporal_plugins'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_folder_of_other_modules_does_not_shadow_them(tmp_path):
    """The process runs a file that lies beside modules such as nir.py."""
    assert (Path(hdf5_reader.__file__).parent / "nir.py").is_file()
    write_nir(dense_network(), tmp_path / "net.nir")
    assert read_tree(tmp_path / "net.nir", max_bytes=LIMIT)["version"] == nir.version


def test_packing_keeps_everything():
    tree = {
        "a": {"b": np.array([[1.5, np.nan]]), "c": [["x", "y"], ["z", "é"]], "d": {}},
        "e": 3,
        "f": 0.1,
        "g": "word",
        "h": np.zeros((0, 2), dtype=np.int8),
        "i": True,
        "j": [],
    }
    again = hdf5_reader.unpack(hdf5_reader.pack(tree))
    np.testing.assert_array_equal(again["a"].pop("b"), tree["a"].pop("b"))
    assert again["h"].shape == tree["h"].shape
    assert again.pop("h").dtype == tree.pop("h").dtype
    assert again == tree


# --- broken bytes -----------------------------------------------------------------


def broken(data, rng):
    """Bytes cut, flipped or overwritten."""
    data = bytearray(data)
    kind = rng.integers(4)
    if kind == 0:
        return bytes(data[: rng.integers(len(data))])
    for _ in range(rng.integers(1, 5)):
        place = rng.integers(len(data))
        if kind == 1:
            data[place] ^= 1 << rng.integers(8)
        elif kind == 2:
            data[place] = rng.choice([0, 127, 128, 255])
        else:
            data[place : place + 8] = rng.bytes(8)
    return bytes(data)


def files():
    lif, _ = NETWORKS["dense, events"]()
    for network in (dense_network(0, (4, 3, 2)), conv_network(), lif):
        file = io.BytesIO()
        nir.write(file, to_nir(network))
        yield file.getvalue()


def break_and_read(cases, path):
    outcomes = set()
    whole = list(files())
    for case in cases:
        rng = np.random.default_rng([20261125, case])
        path.write_bytes(broken(whole[case % len(whole)], rng))
        try:
            read_nir(path, max_bytes=1 << 24)
            outcomes.add("read")  # what was hit said nothing, such as the version
        except NirError as error:
            outcomes.add(error.code)
    return outcomes


def test_broken_files_are_refused_or_read(tmp_path):
    outcomes = break_and_read(range(16), tmp_path / "net.nir")
    assert {"read", NirCode.NOT_NIR} <= outcomes


@pytest.mark.sweep
def test_a_thousand_broken_files_are_refused_or_read(tmp_path):
    break_and_read(range(1000), tmp_path / "net.nir")
