"""NIR-ReLPSP/1: a ReL-PSP network in standard NIR nodes that readers run bit for bit.

Every spiking layer is a synapse (Linear or Conv2d) and a nested graph

    input -> lif -> output,   lif -> w_rec -> lif

with `lif` a CubaLIF whose two time constants are so long that current and potential
are plain sums in float32, and `w_rec = -B * identity` an inhibition that keeps a
neuron silent after its first spike (NIR has no spike-once). Earliest-spike pooling is
SumPool2d followed by the same nested graph around a LIF that any spike fires.

Readers let a spike act in the step in which it arrives, so each layer of neurons
answers one tick early; the metadata carries this shift. NIR holds no encoder, decoder
or quantisation: it is interchange, and the bundle is the deployment artefact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from snn_temporal_plugins.export.bundle.integer import (
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    slope_reach,
)
from snn_temporal_plugins.export.bundle.quantise import FLOAT32_LIMIT
from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import PoolLayer
from snn_temporal_plugins.export.nir_nodes import (
    NIR_DT,
    chain,
    convolution,
    flatten,
    load_nir,
    sum_pool,
    synapse,
)

if TYPE_CHECKING:
    import nir

__all__ = ["ENCODING", "relpsp_graph"]

ENCODING = "NIR-ReLPSP/1"

_LONG = 2.0**30  # tau in time steps: both decays round to exactly 1 in float32
_LEAST_INHIBITION = 1 << 20


def relpsp_graph(network: IntegerNetwork) -> nir.NIRGraph:
    """Express an integer network in NIR.

    Args:
        network: from `quantise_uniform`; one threshold per layer, potentials
            below 2**23.

    Returns:
        The graph; its metadata holds the encoding's name, `dt`, `num_ticks`,
        `tick` and `shift` (ticks to add to a reader's output times: 1 per layer
        of neurons).

    Raises:
        ExportError: if the network is not of this kind, or a pool is padded.
        ImportError: if nir is not installed.
    """
    spiking = sum(not isinstance(layer, PoolLayer) for layer in network.layers)
    return chain(
        (_nodes(network, index) for index in range(len(network.layers))),
        network.input_shape,
        network.shapes[-1],
        {
            "encoding": ENCODING,
            "dt": NIR_DT,
            "num_ticks": network.num_ticks,
            "tick": network.tick,
            "shift": spiking,
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
    ones = np.ones(shape, dtype=np.float32)
    inhibition = _LEAST_INHIBITION
    if isinstance(layer, PoolLayer):
        # r = 1 because Norse ignores r; a spike then lifts V by 2**-30.
        neuron = nir.LIF(
            tau=ones * (NIR_DT * _LONG),
            r=ones,
            v_leak=0 * ones,
            v_threshold=ones * (0.5 / _LONG),
            v_reset=0 * ones,
        )
    else:
        threshold = _uniform_threshold(layer, index, network.num_ticks)
        steepest = int(max(reach.max() for reach in slope_reach(layer.weight)))
        inhibition = max(inhibition, 2 << steepest.bit_length())
        neuron = nir.CubaLIF(
            tau_syn=ones * (NIR_DT * _LONG),
            tau_mem=ones * (NIR_DT * _LONG),
            r=ones * _LONG,
            w_in=ones * _LONG,
            v_leak=0 * ones,
            # Half a step below: readers that compare with > and with >= then agree.
            v_threshold=ones * (threshold - 0.5),
            v_reset=0 * ones,
        )
    loop = (-inhibition * np.eye(shape[0])).astype(np.float32)
    recurrent = (
        nir.Linear(loop)
        if len(shape) == 1
        else convolution(loop[:, :, None, None], shape[1:], 1, 0)
    )
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array(shape)),
            "lif": neuron,
            "w_rec": recurrent,
            "output": nir.Output(np.array(shape)),
        },
        edges=[
            ("input", "lif"),
            ("lif", "w_rec"),
            ("w_rec", "lif"),
            ("lif", "output"),
        ],
    )


def _uniform_threshold(
    layer: IntegerDense | IntegerConv, index: int, num_ticks: int
) -> int:
    """The layer's one threshold, or a refusal if readers could not run it exactly."""
    thresholds = np.unique(layer.threshold)
    if len(thresholds) > 1:
        raise ExportError(
            ExportCode.THRESHOLD,
            f"layer {index} has {len(thresholds)} different thresholds, and NIR "
            "readers take one; make the integer network with quantise_uniform()",
        )
    rise, fall = slope_reach(layer.weight)
    threshold = int(thresholds[0])
    reach = max(threshold + int(rise.max()), num_ticks * int(fall.max()))
    if reach > FLOAT32_LIMIT:
        raise ExportError(
            ExportCode.WIDTH,
            f"potentials of layer {index} reach {reach}; allowed for float32 readers: "
            f"{FLOAT32_LIMIT}. Make the integer network with quantise_uniform()",
        )
    return threshold
