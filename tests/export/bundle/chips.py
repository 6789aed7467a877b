"""Chips that the tests map networks to."""

from dataclasses import replace

from snn_temporal_plugins.export import PEDescriptor, map_network

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


def smallest_chip(network, num_pes):
    """The chip on which a network fits, with nothing to spare."""
    report = map_network(network, replace(LARGE, num_pes=num_pes)).report()
    bits = {
        name: max(2, *(layer[name] for layer in report["layers"]))
        for name in ("weight_bits", "slope_bits", "potential_bits")
    }
    words = {
        name: max(pe[name]["used"] for pe in report["pes"])
        for name in ("neurons", "weight_words", "target_words", "route_words")
    }
    events = report["event_words"]["used"]
    return PEDescriptor("smallest", num_pes, event_words=events, **bits, **words)
