"""Every emulator of a bundle's network, and what it means that they agree."""

import runpy
from types import SimpleNamespace

import numpy as np

from snn_temporal_plugins.export import emulate, emulate_by_tick, write_bundle
from snn_temporal_plugins.export.bundle import read
from tests.export.networks import oracle_layers
from tests.oracles import integer_network as oracle

COUNTS = ("spikes", "operations", "updates")
PROGRAM = read.__file__.replace("read.py", "reader.py")
reader = SimpleNamespace(**runpy.run_path(PROGRAM))


def agreed(network, ticks):
    """The one result of the closed form and of the tick-driven emulator."""
    closed, stepped = emulate(network, ticks), emulate_by_tick(network, ticks)
    np.testing.assert_array_equal(closed.input_ticks, stepped.input_ticks)
    for one, other in zip(closed.layer_ticks, stepped.layer_ticks, strict=True):
        assert one.dtype == other.dtype == np.int32
        np.testing.assert_array_equal(one, other)
    for name in COUNTS:
        one, other = (getattr(run.counts, name) for run in (closed, stepped))
        assert one.dtype == other.dtype == np.int64
        np.testing.assert_array_equal(one, other)
    return closed


def assert_equal_to_oracle(network, ticks):
    """Both emulators give the oracle's spikes and counts."""
    result = agreed(network, ticks)
    for sample in range(len(ticks)):
        outputs, *counts = oracle.run(
            oracle_layers(network),
            np.asarray(ticks[sample]).tolist(),
            network.num_ticks,
            network.response,
        )
        for got, wanted in zip(result.layer_ticks, outputs, strict=True):
            np.testing.assert_array_equal(got[sample], wanted)
        for name, wanted in zip(COUNTS, counts, strict=True):
            assert getattr(result.counts, name)[sample].tolist() == wanted
        assert result.counts.packets[sample] == sum(counts[0])
    return result


def assert_equal_to_plain_reader(network, ticks, folder):
    """Both emulators give what the reader that lies beside them does."""
    result = agreed(network, ticks)
    write_bundle(network, folder, golden=1)
    plain = reader.read_bundle(folder)
    for sample, source in enumerate(np.asarray(ticks)):
        found = reader.run(plain, source.ravel().tolist())
        for layer, expected in zip(found["layers"], result.layer_ticks, strict=True):
            assert layer["tick"] == expected[sample].ravel().tolist()
        for name in COUNTS:
            expected = getattr(result.counts, name)[sample].tolist()
            assert found["answer"][name] == expected
