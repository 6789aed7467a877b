"""The chip that SANA-FE simulates, and where the neurons of a network lie on it.

Neurons fill cores of 1024, four cores to a tile, the tiles in one row. Energies and
latencies per event are those of Loihi that come with SANA-FE 2.2.9 (Davies et al.
2018); inputs cost nothing but their messages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from snn_temporal_plugins.export.bundle.integer import (
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
)
from snn_temporal_plugins.export.layers import PoolLayer

__all__ = [
    "CORE_NEURONS",
    "HOP_PJ",
    "MESSAGE_PJ",
    "SPIKE_PJ",
    "SYNAPSES",
    "TILE_CORES",
    "VISIT_PJ",
    "Group",
    "Synapse",
    "chip_lines",
    "groups_of",
    "num_steps",
]

CORE_NEURONS = 1024
"""Neurons of a core; SANA-FE's model of Loihi holds no more."""

TILE_CORES = 4
"""Cores of a tile."""

_ACCESS_PJ, _UPDATE_PJ = 51.2, 21.6

VISIT_PJ = _ACCESS_PJ + _UPDATE_PJ
"""Energy of one visit to a neuron."""

SPIKE_PJ = 69.3
"""Energy of one spike of a neuron."""

MESSAGE_PJ = 111.0
"""Energy of one message to one core."""

HOP_PJ = 3.0
"""Energy of one step of a message along the row of tiles."""


class Synapse(NamedTuple):
    """A kind of synapse: its name on the chip, energy and latency of one event."""

    name: str
    energy_pj: float
    latency_ns: float


SYNAPSES = {
    IntegerDense: Synapse("dense", 35.5, 3.8),
    IntegerConv: Synapse("conv", 24.0, 3.1),
    PoolLayer: Synapse("sparse", 33.6, 4.7),
}
"""The synapses that lead to each kind of layer."""


class Group(NamedTuple):
    """The inputs, or the neurons of one layer.

    Attributes:
        name: in SANA-FE.
        shape: of one sample; neurons are in row-major order.
        core: the first of its cores.
        shift: steps that its spikes come later than ours.
    """

    name: str
    shape: tuple[int, ...]
    core: int
    shift: int

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def cores(self) -> range:
        """The cores that it fills."""
        return range(self.core, self.core + -(-self.neurons // CORE_NEURONS))


def groups_of(network: IntegerNetwork) -> list[Group]:
    """The inputs and the layers of a network.

    Args:
        network: the network.

    Returns:
        The group of the inputs, then one per layer.
    """
    groups = [Group("input", network.input_shape, 0, 0)]
    for index, layer in enumerate(network.layers):
        last = groups[-1]
        late = isinstance(layer, PoolLayer) or network.response == "step"
        shape, core = network.shapes[index], last.cores.stop
        groups.append(Group(f"layer{index}", shape, core, last.shift + late))
    return groups


def num_steps(network: IntegerNetwork) -> int:
    """Steps until the last layer has shown its last tick.

    Args:
        network: the network.
    """
    return network.num_ticks + groups_of(network)[-1].shift


def chip_lines(network: IntegerNetwork) -> Iterator[str]:
    """The lines of `arch.yaml`: as many cores as the neurons fill.

    Args:
        network: the network.
    """
    groups = groups_of(network)
    last = min(groups[0].neurons, CORE_NEURONS) - 1
    cores = groups[-1].cores.stop
    yield _MESH.format(width=-(-cores // TILE_CORES))
    for core in range(cores):
        tile, place = divmod(core, TILE_CORES)
        if not place:
            yield _TILE.format(tile=tile, hop=HOP_PJ)
        yield _CORE.format(core=place, neurons=CORE_NEURONS, message=MESSAGE_PJ)
        for synapse in SYNAPSES.values():
            yield _SYNAPSE.format(**synapse._asdict())
        if core in groups[0].cores:
            yield _SOMA.format(
                name=f"input[0..{last}]", model="input", access=0.0, access_ns=0.0,
                update=0.0, update_ns=0.0, spike=0.0, spike_ns=0.0,
            )  # fmt: skip
        else:
            yield _SOMA.format(
                name="neuron", model="leaky_integrate_fire", access=_ACCESS_PJ,
                access_ns=6.0, update=_UPDATE_PJ, update_ns=3.7, spike=SPIKE_PJ,
                spike_ns=30.0,
            )  # fmt: skip


_MESH = """\
architecture:
  name: ttfs_on_loihi
  attributes:
    topology: mesh
    width: {width}
    height: 1
    link_buffer_size: 16
    sync_model: table
    latency_sync: {{1: 0.6e-6, 2: 1.0e-6, 4: 1.4e-6, 29: 1.8e-6}}
  tile:
"""

_TILE = """\
    - name: tile{tile}
      attributes:
        energy_north_hop: 4.2e-12
        latency_north_hop: 6.5e-9
        energy_east_hop: {hop}e-12
        latency_east_hop: 4.1e-9
        energy_south_hop: 4.2e-12
        latency_south_hop: 6.5e-9
        energy_west_hop: {hop}e-12
        latency_west_hop: 4.1e-9
      core:
"""

_CORE = """\
        - name: core{core}
          attributes:
            buffer_position: soma
            max_neurons_supported: {neurons}
          axon_in:
            - name: axon_in
              attributes:
                energy_message_in: 0.0
                latency_message_in: 16.0e-9
          axon_out:
            - name: axon_out
              attributes:
                energy_message_out: {message}e-12
                latency_message_out: 5.1e-9
          dendrite:
            - name: dendrite
              attributes:
                model: accumulator
                energy_update: 0.0
                latency_update: 0.0
          synapse:
"""

_SYNAPSE = """\
            - name: {name}
              attributes:
                model: current_based
                energy_process_spike: {energy_pj}e-12
                latency_process_spike: {latency_ns}e-9
"""

_SOMA = """\
          soma:
            - name: {name}
              attributes:
                model: {model}
                energy_access_neuron: {access}e-12
                latency_access_neuron: {access_ns}e-9
                energy_update_neuron: {update}e-12
                latency_update_neuron: {update_ns}e-9
                energy_spike_out: {spike}e-12
                latency_spike_out: {spike_ns}e-9
"""
