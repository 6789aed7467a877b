"""A LIF network in standard NIR nodes that readers run bin for bin.

The layer, in steps (neurons/lif.py), reset to 0:

    a[t] = a[t-1] + (s[t] - a[t-1]) / tau_syn
    u[t] = (1 - 1/tau_mem) v[t-1] + W a[t],   fires where u[t] > v_th

A filter and weights commute, W (eps * s) = eps * (W s), so the filter slides behind the
synapses, and a layer is Linear or Conv2d, with the weights as trained, and a neuron

    CubaLIF   tau_syn dI/dt = -I + w_in S      tau_mem dv/dt = -v + r I

in seconds, time constants times dt. S is 1 for the step in which a spike comes (a
spike is a box, not a Dirac pulse), and a direct encoding's input is a constant S. With
w_in = tau_syn/dt and r = tau_mem/dt, the readers' convention, one forward Euler step is

    I = (1 - dt/tau_syn) I + S,   v = (1 - dt/tau_mem) v + I

that is tau_syn times the layer, so the threshold is v_th tau_syn / gain, where gain is
that of the pools before the synapses: readers run SumPool2d but no Scale. All factors
stand in the threshold and the weights stay whole. tau_syn = 1 filters nothing: then the
neuron is a LIF with r = 1 (Norse reads no other), and its threshold v_th / (tau_mem
gain).

The recursion is the Euler form of these equations; a reader that decays by
exp(-dt/tau) runs another network. NIR says nothing about the readout, which the
consumer adds: the class with the largest sum of PSPs, as `summed_psp_class` of
`psp_filter(spikes, tau_syn)`, or with the largest spike count after ST-RSBP.

A pool of ST-RSBP is a SumPool2d before neurons of its own.

A recurrent layer is a nested graph, input -> lif -> output and lif -> w_rec -> lif: a
spike that goes round acts one step later, in the layer and in readers. One that comes
from the layer before acts in its own step in readers, and in layers of ST-RSBP
(neurons/spike_train.py) one step later. So each of those answers one step early, and
the metadata carries this shift.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_temporal_plugins.export.layers import (
    FlattenLayer,
    LIFLayer,
    LIFNetwork,
    SpikingPoolLayer,
    SumPoolLayer,
)
from snn_temporal_plugins.export.nir_nodes import (
    NIR_DT,
    chain,
    flatten,
    load_nir,
    recurrent,
    sum_pool,
    synapse,
)

if TYPE_CHECKING:
    import nir

__all__ = ["lif_graph"]


def lif_graph(network: LIFNetwork) -> nir.NIRGraph:
    """Express a network of LIF layers in NIR.

    Args:
        network: from `flatten_lif_network`.

    Returns:
        The graph; its metadata holds `dt`, the `rule` that trained the network, for
        direct encoding `num_steps`, how many steps the input is shown, and `shift`,
        steps to add to a reader's output times, if there are any.

    Raises:
        ImportError: if nir is not installed.
    """
    metadata: dict[str, Any] = {"dt": NIR_DT, "rule": network.rule}
    if network.num_steps is not None:
        metadata["num_steps"] = network.num_steps
    shift = sum(getattr(layer, "delay", 0) for layer in network.layers)
    if shift:
        metadata["shift"] = shift
    return chain(_nodes(network), network.input_shape, network.shapes[-1], metadata)


def _nodes(network: LIFNetwork) -> Iterator[list[tuple[str, nir.NIRNode]]]:
    """The nodes of each layer; the gain of pools goes into the next thresholds."""
    gain = 1.0
    before = network.input_shape
    for index, (layer, shape) in enumerate(
        zip(network.layers, network.shapes, strict=True)
    ):
        if isinstance(layer, FlattenLayer):
            yield [("a_flatten", flatten(before))] if len(before) > 1 else []
        elif isinstance(layer, SumPoolLayer):
            yield [("b_pool", sum_pool(layer.geometry, index))]
            gain *= layer.gain
        else:
            geometry, neurons = layer.geometry, ("c_fire", _neurons(layer, gain, shape))
            if isinstance(geometry, SpikingPoolLayer):
                yield [("b_pool", sum_pool(geometry, index)), neurons]
            else:
                yield [("b_synapse", synapse(geometry, before)), neurons]
            gain = 1.0
        before = shape


def _neurons(
    layer: LIFLayer, gain: float, shape: tuple[int, ...]
) -> nir.NIRGraph | nir.LIF | nir.CubaLIF:
    """Neurons of one layer, of this shape, with the synapses among them."""
    neuron = _neuron(layer, gain, shape)
    if layer.recurrent is None:
        return neuron
    weight = load_nir().Linear(layer.recurrent.astype(np.float32))
    return recurrent(neuron, weight, shape)


def _neuron(
    layer: LIFLayer, gain: float, shape: tuple[int, ...]
) -> nir.LIF | nir.CubaLIF:
    """Neurons without synapses."""
    nir = load_nir()
    ones = np.ones(shape)
    v_th = layer.geometry.v_th[0] / gain
    rest = {"v_leak": 0 * ones, "v_reset": 0 * ones}
    if layer.tau_syn == 1:
        return nir.LIF(
            tau=ones * (layer.tau_mem * NIR_DT),
            r=ones,
            v_threshold=ones * (v_th / layer.tau_mem),
            **rest,
        )
    return nir.CubaLIF(
        tau_syn=ones * (layer.tau_syn * NIR_DT),
        tau_mem=ones * (layer.tau_mem * NIR_DT),
        r=ones * layer.tau_mem,
        w_in=ones * layer.tau_syn,
        v_threshold=ones * (v_th * layer.tau_syn),
        **rest,
    )
