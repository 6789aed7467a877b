"""Networks of first spikes in standard NIR nodes that readers run bit for bit.

Every layer of neurons is a synapse (Linear or Conv2d) and a nested graph

    input -> lif -> output,   lif -> w_rec -> lif

with `w_rec = -B * identity` an inhibition that keeps a neuron silent after its first
spike: NIR has no spike-once. What `lif` is depends on the response.

NIR-ReLPSP/1, ramps: a CubaLIF whose two time constants are so long that current and
potential are plain sums in float32. Readers let a spike act in the step in which it
arrives, so each layer of neurons answers one tick early; the metadata carries this
shift.

NIR-IF/1, steps: a LIF with one such time constant, in which a spike of weight w lifts
V by w dt/tau. Readers let it act in its own tick, as the layers do: no shift. `nir.IF`
would say the same in fewer words. Norse runs it, whatever r is; SpikingJelly wants
r = 1/dt; snnTorch does not run it. Without the inhibition its first spikes are right in
a network of one layer only: neurons fire again and again, and the next layer adds that
up. A CubaLIF with tau_syn = dt runs as well, but in readers that decay by exp(-dt/tau)
a third of each spike would come once more.

Of the readers that are measured (results/nir_conformance.json) snnTorch, Norse and
SpikingJelly run both encodings, Spyx and Rockpool dense layers of the first: Spyx knows
no scale of a LIF's input and is silently wrong on the second, Rockpool refuses it. In
Rockpool a neuron spikes n times at once where its potential rises to n thresholds in
one tick; slopes must stay below the threshold there.

Earliest-spike pooling is SumPool2d followed by a LIF that any spike fires. NIR holds no
encoder, decoder or quantisation: it is interchange, and the bundle is the deployment
artefact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from snn_temporal_plugins.export.bundle.integer import (
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    weight_sums,
)
from snn_temporal_plugins.export.bundle.quantise import FLOAT32_LIMIT
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import PoolLayer, Response
from snn_temporal_plugins.export.nir_nodes import (
    NIR_DT,
    chain,
    convolution,
    flatten,
    load_nir,
    recurrent,
    sum_pool,
    synapse,
)

if TYPE_CHECKING:
    import nir

__all__ = ["ENCODINGS", "LONG", "first_spike_graph"]

ENCODINGS: Mapping[Response, str] = {"ramp": "NIR-ReLPSP/1", "step": "NIR-IF/1"}

LONG = 2.0**30
"""Time constants in time steps: decays round to exactly 1 in float32."""

_LEAST_INHIBITION = 1 << 20


def first_spike_graph(network: IntegerNetwork) -> nir.NIRGraph:
    """Express an integer network in NIR.

    Args:
        network: from `quantise_uniform`; one threshold per layer, potentials
            below 2**23.

    Returns:
        The graph; its metadata holds the encoding's name, `dt`, `num_ticks`,
        `tick` and `shift` (ticks to add to a reader's output times: 1 per layer
        of ramps, 0 for steps).

    Raises:
        ExportError: if the network is not of this kind, or a pool is padded.
        ImportError: if nir is not installed.
    """
    ramps = network.response == "ramp"
    spiking = sum(not isinstance(layer, PoolLayer) for layer in network.layers)
    return chain(
        (_nodes(network, index) for index in range(len(network.layers))),
        network.input_shape,
        network.shapes[-1],
        {
            "encoding": ENCODINGS[network.response],
            "dt": NIR_DT,
            "num_ticks": network.num_ticks,
            "tick": network.tick,
            "shift": spiking if ramps else 0,
        },
    )


def _nodes(network: IntegerNetwork, index: int) -> Iterator[tuple[str, nir.NIRNode]]:
    """Synapses or pool of one layer, and what fires."""
    layer = network.layers[index]
    shape = network.shapes[index - 1] if index else network.input_shape
    if isinstance(layer, PoolLayer):
        yield "b_pool", sum_pool(layer, index)
    else:
        if isinstance(layer, IntegerDense) and len(shape) > 1:
            yield "a_flatten", flatten(shape)
        yield "b_synapse", synapse(layer, shape)
    yield "c_fire", _fire(network, index)


def _fire(network: IntegerNetwork, index: int) -> nir.NIRGraph:
    """Neurons of one layer with their self-inhibition."""
    nir = load_nir()
    shape = network.shapes[index]
    layer = network.layers[index]
    inhibition = _LEAST_INHIBITION
    if isinstance(layer, PoolLayer):
        neuron = _step_neuron(shape, 1)
    else:
        threshold = _uniform_threshold(network, layer, index)
        furthest = int(max(reach.max() for reach in weight_sums(layer.weight)))
        inhibition = max(inhibition, 2 << furthest.bit_length())
        make = _ramp_neuron if network.response == "ramp" else _step_neuron
        neuron = make(shape, threshold)
    loop = (-inhibition * np.eye(shape[0])).astype(np.float32)
    weight = (
        nir.Linear(loop)
        if len(shape) == 1
        else convolution(loop[:, :, None, None], shape[1:], 1, 0)
    )
    return recurrent(neuron, weight, shape)


# Thresholds lie half a step below: readers that compare with > and with >= then agree.


def _ramp_neuron(shape: tuple[int, ...], threshold: int) -> nir.CubaLIF:
    """A neuron whose slope is the sum of what has come."""
    ones = np.ones(shape, dtype=np.float32)
    return load_nir().CubaLIF(
        tau_syn=ones * (NIR_DT * LONG),
        tau_mem=ones * (NIR_DT * LONG),
        r=ones * LONG,
        w_in=ones * LONG,
        v_leak=0 * ones,
        v_threshold=ones * (threshold - 0.5),
        v_reset=0 * ones,
    )


def _step_neuron(shape: tuple[int, ...], threshold: int) -> nir.LIF:
    """A neuron whose potential is the sum of what has come, times 2**-30."""
    ones = np.ones(shape, dtype=np.float32)
    return load_nir().LIF(
        tau=ones * (NIR_DT * LONG),
        r=ones,  # not 2**30, which Norse ignores
        v_leak=0 * ones,
        v_threshold=ones * ((threshold - 0.5) / LONG),
        v_reset=0 * ones,
    )


def _uniform_threshold(
    network: IntegerNetwork, layer: IntegerDense | IntegerConv, index: int
) -> int:
    """The layer's one threshold, or a refusal if readers could not run it exactly."""
    thresholds = np.unique(layer.threshold)
    if len(thresholds) > 1:
        raise ExportError(
            ExportCode.THRESHOLD,
            f"layer {index} has {len(thresholds)} different thresholds, and NIR "
            "readers take one; make the integer network with quantise_uniform()",
        )
    rise, fall = (int(side.max()) for side in weight_sums(layer.weight))
    threshold = int(thresholds[0])
    reach = max(threshold, rise, fall)
    if network.response == "ramp":
        reach = max(threshold + rise, network.num_ticks * fall)
    if reach > FLOAT32_LIMIT:
        raise ExportError(
            ExportCode.WIDTH,
            f"potentials of layer {index} reach {reach}; allowed for float32 readers: "
            f"{FLOAT32_LIMIT}. Make the integer network with quantise_uniform()",
        )
    return threshold
