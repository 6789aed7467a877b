"""A chip that has room for every network of the tests."""

from snn_temporal_plugins.export import PEDescriptor

LARGE = PEDescriptor(
    name="large",
    num_pes=1,
    neurons=1 << 20,
    weight_words=1 << 24,
    target_words=1 << 24,
    route_words=1 << 20,
    weight_bits=8,
    slope_bits=32,
    potential_bits=32,
    event_words=1 << 16,
)
