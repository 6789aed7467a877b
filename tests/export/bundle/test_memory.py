"""Memory images: every word, and what a core that reads nothing else computes."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from snn_temporal_plugins.export import (
    SILENT,
    IntegerConv,
    IntegerNetwork,
    PoolLayer,
    core_cycles,
    emulate,
    map_network,
    memory_images,
    smallest_chip,
)
from tests.export.bundle.chips import LARGE
from tests.export.networks import (
    conv_network,
    dense,
    dense_network,
    random_ticks,
    step_network,
)
from tests.export.random_networks import FEW, MANY, random_trial
from tests.oracles.memory_core import Core

PES = (1, 2, 3, 7)


def images_of(network, num_pes):
    return memory_images(map_network(network, replace(LARGE, num_pes=num_pes)))


def check(network, ticks, pes=PES):
    """Every spike of every layer and every cycle, on the smallest chips."""
    emulation = emulate(network, ticks)
    for num_pes in pes:
        chip = smallest_chip(network, num_pes)
        mapping = map_network(network, chip)
        core = Core(memory_images(mapping))
        cycles = core_cycles(mapping, emulation)
        for sample, sample_ticks in enumerate(ticks):
            source = sample_ticks.ravel().tolist()
            layers, counted = core.run(source, chip.slope_bits, chip.potential_bits)
            for layer, expected in zip(layers, emulation.layer_ticks, strict=True):
                assert layer == expected[sample].ravel().tolist()
            assert cycles[sample] == counted


@pytest.mark.parametrize("seed", FEW)
def test_a_core_gives_the_spikes_and_cycles_of_random_networks(seed):
    check(*random_trial(seed))


@pytest.mark.sweep
@pytest.mark.parametrize("seed", MANY)
def test_a_core_gives_those_of_many_networks(seed):
    check(*random_trial(seed))


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("build", [dense_network, conv_network])
def test_more_pes_than_neurons(build, steps):
    network = step_network(build()) if steps else build()
    rng = np.random.default_rng(1)
    ticks = random_ticks(rng, (2, *network.input_shape), network.num_ticks)
    check(network, ticks, pes=(5, 64, 300))


def test_silence_and_a_burst_of_everything():
    network = dense_network()
    ticks = np.full((3, 12), SILENT, dtype=np.int32)
    ticks[1], ticks[2] = 0, network.num_ticks - 1
    check(network, ticks)


def lines(*words):
    return "".join(word + "\n" for word in words).encode()


def test_every_word_of_a_small_network():
    # 1x1x3 inputs - a 1x1 convolution to two maps - two neurons
    conv = IntegerConv(
        np.array([[[[3]]], [[[-1]]]], dtype=np.int32),
        np.array([5, 6]),
        np.ones(2),
        1,
        0,
    )
    network = IntegerNetwork(
        (conv, dense([[1, 2, 3, -4, -5, -6], [7, 8, 9, 10, 11, 12]], [13, 300])),
        (1, 1, 3),
        9,
        1.0,
    )
    images = images_of(network, 2)
    assert sorted(images) == sorted(
        ["cfg.hex"]
        + [
            f"pe{pe}/{name}.hex"
            for pe in (0, 1)
            for name in ("route", "wgt", "tgt", "thr")
        ]
    )
    one = "00000001"
    # PE 0: map 0 and the first output; a burst is a count, a target and a weight base
    assert images["pe0/route.hex"] == lines(
        *(one + f"{base:08x}" * 2 for base in range(3)),
        *(one + "00000003" + f"{base:08x}" for base in range(3, 9)),
    )
    assert images["pe0/wgt.hex"] == lines(
        "03", "03", "03", "01", "02", "03", "fc", "fb", "fa"
    )
    assert images["pe0/tgt.hex"] == lines("00000000", "00000001", "00000002")
    assert images["pe0/thr.hex"] == lines(*["00000005"] * 3, "0000000d")
    # PE 1: map 1, where the same inputs meet the same places of the slice
    assert images["pe1/route.hex"] == images["pe0/route.hex"]
    assert images["pe1/wgt.hex"] == lines(
        *["ff"] * 3, *(f"{w:02x}" for w in range(7, 13))
    )
    assert images["pe1/tgt.hex"] == images["pe0/tgt.hex"]
    assert images["pe1/thr.hex"] == lines(*["00000006"] * 3, "0000012c")
    header = [0x54544653, 1, 9, 2, 2, 3, 0]
    layers = [0, 6, 3, 0, 0, 2, 1, 1]
    route_sum = 9 + (0 + 1 + 2 + 6 * 3) + sum(range(9))
    pe_0 = [9, route_sum, 9, 9 + 6 + 3 * 256 - 15, 3, 3, 4, 28]
    pe_1 = [9, route_sum, 9, 3 * 255 + 57, 3, 3, 4, 318]
    words = [*header, *layers, *pe_0, *pe_1]
    words.append(sum(words) % 2**32)
    assert images["cfg.hex"] == lines(*(f"{word:08x}" for word in words))


def test_steps_and_pools_are_said_in_cfg():
    ramps, steps = conv_network(), step_network(conv_network())
    modes = {
        response: [mode for mode, *_ in Core(images_of(network, 1)).layers]
        for response, network in (("ramp", ramps), ("step", steps))
    }
    assert modes == {"ramp": [0, 1, 0, 0], "step": [1, 1, 1, 1]}


def synapses_of(images, index):
    """`(source, neuron, weight)` of one layer, out of the images alone."""
    core, found = Core(images), []
    dense_layer = core.layers[index][3]
    ids = [core.inputs, *(neurons for _, neurons, _, _ in core.layers[:-1])]
    assert len(core.pes[0]["route"]) == sum(ids)
    for pe, memories in enumerate(core.pes):
        first = core.own(index, pe)[1]
        for source in range(ids[index]):
            route = memories["route"][sum(ids[:index]) + source]
            count, target, weight = (
                route >> shift & 2**32 - 1 for shift in (64, 32, 0)
            )
            burst = range(count) if dense_layer else memories["tgt"][target:][:count]
            assert len(burst) == count
            assert sorted(set(burst)) == list(burst)  # ascending, none twice
            for local, word in zip(
                burst, memories["wgt"][weight:][:count], strict=True
            ):
                found.append((source, first + local, word - 256 * (word > 127)))
    return sorted(found)


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 3),
    maps=st.integers(1, 4),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 6),
    padding=st.integers(0, 5),
    pool=st.booleans(),
    num_pes=st.integers(1, 9),
    seed=st.integers(0, 2**20),
)
def test_synapses_of_windows(
    channels, maps, size, kernel, stride, padding, pool, num_pes, seed
):
    assume(min(size) + 2 * padding >= kernel)
    rng = np.random.default_rng(seed)
    maps = channels if pool else maps
    shape = (maps, channels, kernel, kernel)
    weight = rng.integers(-128, 128, shape).astype(np.int32)
    weight[:, 0, 0, 0] |= 1
    conv = IntegerConv(weight, np.full(maps, 9), np.ones(maps), stride, padding)
    layer = PoolLayer(kernel, stride, padding) if pool else conv
    out = [(n + 2 * padding - kernel) // stride + 1 for n in size]
    head = dense(np.ones((2, maps * math.prod(out))), 3)
    network = IntegerNetwork((layer, head), (channels, *size), 9, 1.0)

    expected = []
    for o, y, x, i, a, b in product(
        range(maps), *map(range, out), range(channels), *[range(kernel)] * 2
    ):
        row, column = y * stride - padding + a, x * stride - padding + b
        inside = 0 <= row < size[0] and 0 <= column < size[1]
        if inside and (o == i or not pool):
            source = (i * size[0] + row) * size[1] + column
            target = (o * out[0] + y) * out[1] + x
            expected.append((source, target, 1 if pool else int(weight[o, i, a, b])))
    images = images_of(network, num_pes)
    assert synapses_of(images, 0) == sorted(expected)
    everything = product(range(head.weight.shape[1]), range(2))
    assert synapses_of(images, 1) == [(*pair, 1) for pair in everything]


def test_images_are_the_same_every_time_and_end_in_a_line_feed():
    for num_pes in PES:
        images = images_of(conv_network(), num_pes)
        again = images_of(conv_network(), num_pes)
        assert list(images.items()) == list(again.items())
        assert all(image.endswith(b"\n") for image in images.values())
        assert all(b"\r" not in image for image in images.values())


@pytest.mark.parametrize("name", ["route", "wgt", "tgt", "thr"])
def test_a_changed_word_or_a_missing_line_breaks_count_or_sum(name):
    images = images_of(conv_network(), 2)
    file = f"pe1/{name}.hex"
    Core(images)
    last = b"1" if images[file][-2:-1] == b"0" else b"0"
    digits = images[file].index(b"\n")
    for broken in (
        images[file][:-2] + last + b"\n",
        images[file][: -digits - 1],
        images[file] + b"0" * digits + b"\n",
    ):
        with pytest.raises(AssertionError):
            Core({**images, file: broken})


def test_cycles_are_the_counts_of_the_emulator():
    """Of one PE: bursts are the operations, plus those of pools; visits are all."""
    network = conv_network()
    rng = np.random.default_rng(3)
    emulation = emulate(network, random_ticks(rng, (5, *network.input_shape), 40))
    mapping = map_network(network, LARGE)
    counts = emulation.counts
    in_pools = counts.spikes[:, 1]  # 2x2 windows, side by side: one synapse each
    sizes = np.array([4 * 64, 4 * 16, 3 * 4, 3])
    assert np.array_equal(mapping.neurons[:, 0], sizes)
    expected = (
        counts.operations.sum(axis=1)
        + in_pools
        + 2 * counts.spikes[:, :-1].sum(axis=1)
        + counts.spikes[:, -1]
        + network.num_ticks * (2 + (sizes + 3).sum())
        + (sizes + 1).sum()
        + 1
    )
    assert core_cycles(mapping, emulation).tolist() == expected.tolist()
    fast = core_cycles(map_network(network, replace(LARGE, num_pes=4)), emulation)
    assert (fast < expected).all()


def test_cycles_of_no_samples_are_none():
    network = conv_network()
    ticks = np.empty((0, *network.input_shape), dtype=np.int32)
    mapping = map_network(network, LARGE)
    cycles = core_cycles(mapping, emulate(network, ticks))
    assert cycles.shape == (0,) and cycles.dtype == np.int64
