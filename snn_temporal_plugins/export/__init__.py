"""The way out: integer networks, ttfs-bundles, NIR files, and what they cost.

integer = quantise(network, bits=6, num_ticks=256)
write_bundle(integer, "net.bundle", lut=latency_lut(integer))
bundle = read_bundle("net.bundle")
emulation = emulate(bundle.network, encode_pixels(bundle.lut, pixels))
decision = decode(bundle.network, emulation, bundle.decoding)

write_nir(quantise_uniform(network, num_ticks=256), "net.nir")  # first spikes
write_nir(network, "net.nir")  # LIF layers, trained on spike trains

Integrate-and-fire networks (SSTDP) bring the number of their ticks: leave num_ticks
away. Their inputs have another code:

write_bundle(integer, "net.bundle", lut=latency_ticks_lut(integer))
"""

from snn_temporal_plugins.export.bundle.cost import (
    CostEstimate,
    CostProfile,
    estimate_cost,
    yoso_point,
)
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
from snn_temporal_plugins.export.bundle.quantise import quantise, quantise_uniform
from snn_temporal_plugins.export.bundle.read import Bundle, read_bundle
from snn_temporal_plugins.export.bundle.write import write_bundle
from snn_temporal_plugins.export.errors import (
    BundleCode,
    BundleError,
    ExportCode,
    ExportError,
)
from snn_temporal_plugins.export.flatten import flatten_network
from snn_temporal_plugins.export.layers import (
    ConvLayer,
    DenseLayer,
    FlatNetwork,
    FlattenLayer,
    PoolLayer,
)
from snn_temporal_plugins.export.nir import to_nir, write_nir
from snn_temporal_plugins.export.readers import (
    NirCheck,
    check_nir,
    run_in_norse,
    run_in_snntorch,
)
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
    # run as integers
    "SILENT",
    "latency_lut",
    "latency_ticks_lut",
    "encode_pixels",
    "to_ticks",
    "emulate",
    "Emulation",
    "EventCounts",
    "decode",
    "Decoding",
    "Decision",
    "estimate_cost",
    "yoso_point",
    "CostProfile",
    "CostEstimate",
    # on disk
    "write_bundle",
    "read_bundle",
    "Bundle",
    "to_nir",
    "write_nir",
    "check_nir",
    "run_in_norse",
    "run_in_snntorch",
    "run_trains_in_norse",
    "run_trains_in_snntorch",
    "NirCheck",
    # refusals
    "ExportError",
    "ExportCode",
    "BundleError",
    "BundleCode",
]
