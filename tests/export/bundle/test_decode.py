"""Ties and silence follow the stated rule."""

import numpy as np
import pytest

from snn_temporal_plugins.export import (
    SILENT,
    Decoding,
    ExportCode,
    ExportError,
    IntegerNetwork,
    PoolLayer,
    decode,
    emulate,
)
from tests.export.networks import conv_network, dense, dense_network, random_ticks

# Output 0 and 1 reach 6 at tick 2 with V = 6 and 8; output 2 at tick 3.
TIE = IntegerNetwork((dense([[3], [4], [2]], 6),), (1,), 5, 1.0)


def one(network, ticks, **rules):
    emulation = emulate(network, np.array([ticks]))
    decision = decode(network, emulation, Decoding(**rules))
    return int(decision.label[0]), int(decision.tick[0]), bool(decision.tied[0])


def test_the_earliest_output_wins():
    network = IntegerNetwork((dense([[1], [3], [2]], 6),), (1,), 9, 1.0)
    assert one(network, [0]) == (1, 2, False)


@pytest.mark.parametrize(
    ("tie", "label"), [("max_v_at_tie", 1), ("lowest_index", 0), ("reject", -1)]
)
def test_ties(tie, label):
    assert one(TIE, [0], tie=tie) == (label, 2, True)


def test_equal_potentials_give_the_lowest_index():
    network = IntegerNetwork((dense([[1], [4], [4]], 6),), (1,), 5, 1.0)
    assert one(network, [0]) == (1, 2, True)


def test_ties_of_steps_compare_the_potential_at_their_tick():
    # In tick 2 V is 6 and 8; afterwards 9 and 4, which does not matter.
    layer = dense([[2, 4, 3], [3, 5, -4]], 6)
    network = IntegerNetwork((layer,), (3,), 5, 1.0, "step")
    assert one(network, [0, 2, 3]) == (1, 2, True)
    assert one(network, [0, 2, 3], tie="lowest_index") == (0, 2, True)
    assert one(network, [0, SILENT, 4], no_output="max_v_at_end") == (0, SILENT, False)
    assert one(network, [4, SILENT, SILENT], no_output="max_v_at_end")[0] == 1


def test_what_no_potential_breaks_is_told():
    layer = dense([[2, 4], [3, 3], [1, 1]], 6)
    network = IntegerNetwork((layer,), (2,), 5, 1.0, "step")
    nothing = [SILENT, SILENT]
    emulation = emulate(network, np.array([[0, 2], [0, SILENT], [3, 3], nothing]))
    for tie in ("max_v_at_tie", "lowest_index"):
        decision = decode(network, emulation, Decoding(tie=tie))
        assert decision.label.tolist() == [0, -1, 0, -1]
        assert decision.tied.tolist() == [True, False, True, False]
        assert decision.unbroken.tolist() == [True, False, True, False]
    assert not decode(TIE, emulate(TIE, [[0]])).unbroken.any()


def test_different_thresholds_compare_what_lies_above_them():
    network = IntegerNetwork((dense([[6], [5]], [11, 9]),), (1,), 5, 1.0)
    assert one(network, [0]) == (0, 2, True)  # 12 - 11 = 10 - 9: the lowest index
    network = IntegerNetwork((dense([[6], [5]], [12, 9]),), (1,), 5, 1.0)
    assert one(network, [0]) == (1, 2, True)


@pytest.mark.parametrize(("rule", "label"), [("reject", -1), ("max_v_at_end", 1)])
def test_silence(rule, label):
    assert one(TIE, [4], no_output=rule) == (-1 if label < 0 else 0, SILENT, False)
    # At the last tick V is 1 and 2 after an input in tick 3.
    network = IntegerNetwork((dense([[1], [2]], 6),), (1,), 5, 1.0)
    assert one(network, [3], no_output=rule) == (label, SILENT, False)


def test_a_whole_batch_behind_a_hidden_layer():
    network = dense_network(threshold=150)
    ticks = random_ticks(np.random.default_rng(0), (50, 12), 40)
    emulation = emulate(network, ticks)
    decision = decode(network, emulation)
    output = emulation.output_ticks
    fired = (output != SILENT).any(axis=1)
    assert 0 < fired.mean() < 1
    assert (decision.label[~fired] == -1).all()
    rows = np.flatnonzero(fired)
    assert (output[rows, decision.label[rows]] == output[rows].min(axis=1)).all()
    np.testing.assert_array_equal(decision.tick, output.min(axis=1))


def test_a_convolutional_network():
    network = conv_network()
    ticks = random_ticks(np.random.default_rng(0), (4, 2, 8, 8), 40)
    assert decode(network, emulate(network, ticks)).label.shape == (4,)


@pytest.mark.parametrize("rules", [{"tie": "first"}, {"no_output": "max_v_at_tie"}])
def test_unknown_rules(rules):
    with pytest.raises(ExportError, match="allowed: ") as caught:
        Decoding(**rules)
    assert caught.value.code is ExportCode.PARAMETER


def test_only_a_dense_layer_can_answer():
    network = IntegerNetwork(conv_network().layers[:1], (2, 8, 8), 40, 1.0)
    emulation = emulate(network, np.zeros((1, 2, 8, 8), int))
    with pytest.raises(ExportError, match="IntegerConv") as caught:
        decode(network, emulation)
    assert caught.value.code is ExportCode.OUTPUT


def test_a_pool_cannot_be_last():
    with pytest.raises(ExportError) as caught:
        IntegerNetwork((PoolLayer(2, 2, 0),), (1, 4, 4), 10, 1.0)
    assert caught.value.code is ExportCode.OUTPUT
