"""The way out: integer networks, ttfs-bundles, NIR files, and what they cost.

integer = quantise(network, bits=6, num_ticks=256)
write_bundle(integer, "net.bundle", lut=latency_lut(integer))
bundle = read_bundle("net.bundle")
emulation = emulate(bundle.network, encode_pixels(bundle.lut, pixels))
decision = decode(bundle.network, emulation, bundle.decoding)
print(estimate_cost(bundle.network, emulation.counts))  # estimate, not measurement

write_nir(quantise_uniform(network, num_ticks=256), "net.nir")  # first spikes
write_nir(network, "net.nir")  # LIF layers, trained on spike trains
integer = read_nir("net.nir")  # what write_nir took; to_layers(integer) trains on

Integrate-and-fire networks (SSTDP) bring the number of their ticks: leave num_ticks
away. Their inputs have another code:

write_bundle(integer, "net.bundle", lut=latency_ticks_lut(integer))

SANA-FE simulates both on a chip of its own, as a separate program (`make sanafe`):

found = run_sanafe(integer, ticks)
assert sanafe_difference(predict_sanafe(integer, ticks), found) is None
"""

from snn_temporal_plugins.export.bundle.activity import early_exit, memory_words
from snn_temporal_plugins.export.bundle.by_tick import (
    RegisterUse,
    emulate_by_tick,
    register_use,
)
from snn_temporal_plugins.export.bundle.chip import (
    PEDescriptor,
    load_chip,
    parse_chip,
)
from snn_temporal_plugins.export.bundle.cost import CostEstimate, estimate_cost
from snn_temporal_plugins.export.bundle.cycles import core_cycles
from snn_temporal_plugins.export.bundle.decode import Decision, Decoding, decode
from snn_temporal_plugins.export.bundle.emulate import Emulation, emulate
from snn_temporal_plugins.export.bundle.encoder import (
    encode_pixels,
    latency_lut,
    latency_ticks_lut,
    to_ticks,
)
from snn_temporal_plugins.export.bundle.events import EventCounts
from snn_temporal_plugins.export.bundle.integer import (
    SILENT,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    widths,
)
from snn_temporal_plugins.export.bundle.mapping import Mapping, map_network
from snn_temporal_plugins.export.bundle.memory import memory_images
from snn_temporal_plugins.export.bundle.profiles import (
    CostConstants,
    CostProfile,
    load_profile,
    sanafe_loihi,
    yoso_point,
)
from snn_temporal_plugins.export.bundle.quantise import quantise, quantise_uniform
from snn_temporal_plugins.export.bundle.read import Bundle, read_bundle
from snn_temporal_plugins.export.bundle.simulators import (
    Simulation,
    SimulatorError,
    first_difference,
    simulate,
    smallest_chip,
)
from snn_temporal_plugins.export.bundle.synthesis import Synthesis, synthesise
from snn_temporal_plugins.export.bundle.write import write_bundle
from snn_temporal_plugins.export.errors import (
    BundleCode,
    BundleError,
    ExportCode,
    ExportError,
    MappingCode,
    MappingError,
    NirCode,
    NirError,
)
from snn_temporal_plugins.export.flatten import flatten_network
from snn_temporal_plugins.export.layers import (
    ConvLayer,
    DenseLayer,
    FlatNetwork,
    FlattenLayer,
    PoolLayer,
)
from snn_temporal_plugins.export.nir import to_nir, write_nir, write_nir_data
from snn_temporal_plugins.export.nir_import import describe_nir, read_nir
from snn_temporal_plugins.export.readers import (
    NirCheck,
    check_nir,
    run_in_norse,
    run_in_snntorch,
    run_in_spikingjelly,
)
from snn_temporal_plugins.export.sanafe import (
    SanafeResult,
    find_sanafe,
    predict_sanafe,
    run_sanafe,
    sanafe_difference,
)
from snn_temporal_plugins.export.sanafe_files import write_sanafe
from snn_temporal_plugins.export.to_layers import to_layers
from snn_temporal_plugins.export.train_readers import (
    run_trains_in_norse,
    run_trains_in_snntorch,
)

__all__ = [
    # a trained network, read and rounded
    "flatten_network",
    "FlatNetwork",
    "DenseLayer",
    "ConvLayer",
    "PoolLayer",
    "FlattenLayer",
    "quantise",
    "quantise_uniform",
    "IntegerNetwork",
    "IntegerDense",
    "IntegerConv",
    "widths",
    "to_layers",
    # run as integers
    "SILENT",
    "latency_lut",
    "latency_ticks_lut",
    "encode_pixels",
    "to_ticks",
    "emulate",
    "emulate_by_tick",
    "Emulation",
    "EventCounts",
    "register_use",
    "RegisterUse",
    "decode",
    "Decoding",
    "Decision",
    "estimate_cost",
    "early_exit",
    "memory_words",
    "yoso_point",
    "sanafe_loihi",
    "load_profile",
    "CostProfile",
    "CostConstants",
    "CostEstimate",
    # on a chip
    "PEDescriptor",
    "load_chip",
    "parse_chip",
    "map_network",
    "Mapping",
    "memory_images",
    "core_cycles",
    "smallest_chip",
    "simulate",
    "Simulation",
    "first_difference",
    "synthesise",
    "Synthesis",
    # on disk
    "write_bundle",
    "read_bundle",
    "Bundle",
    "write_sanafe",
    "run_sanafe",
    "predict_sanafe",
    "sanafe_difference",
    "SanafeResult",
    "find_sanafe",
    "to_nir",
    "write_nir",
    "write_nir_data",
    "read_nir",
    "describe_nir",
    "check_nir",
    "run_in_norse",
    "run_in_snntorch",
    "run_in_spikingjelly",
    "run_trains_in_norse",
    "run_trains_in_snntorch",
    "NirCheck",
    # refusals
    "ExportError",
    "ExportCode",
    "NirError",
    "NirCode",
    "BundleError",
    "BundleCode",
    "MappingError",
    "MappingCode",
    "SimulatorError",
]
