"""What keeps neurons firing in training: penalties on silence, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn

from snn_temporal_plugins.functional import dead_neuron_penalty, silent_label_penalty
from snn_temporal_plugins.neurons import ReLPSPConv2d, ReLPSPLinear


class LayerSpikes(NamedTuple):
    """What went into a layer and what came out.

    Attributes:
        layer: The layer.
        pre_spike_time: Spike times that entered it, `(batch, in, ...)`.
        spike_time: Spike times that left it, `(batch, out, ...)`.
    """

    layer: ReLPSPLinear | ReLPSPConv2d
    pre_spike_time: Tensor
    spike_time: Tensor


@contextmanager
def spikes_of(network: nn.Module) -> Iterator[list[LayerSpikes]]:
    """Collect the spikes of the ReL-PSP layers while the context is open.

    Args:
        network: An `nn.Sequential` of layers on spike times; of anything else nothing
            is collected.

    Yields:
        One entry per ReL-PSP layer, in the order of the forward pass.
    """
    seen: list[LayerSpikes] = []

    def keep(layer: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        seen.append(LayerSpikes(layer, inputs[0], output))

    layers = network if isinstance(network, nn.Sequential) else ()
    with ExitStack() as hooks:
        for layer in layers:
            if isinstance(layer, ReLPSPLinear | ReLPSPConv2d):
                hooks.enter_context(layer.register_forward_hook(keep))
        yield seen


def silence_penalty(
    seen: Sequence[LayerSpikes],
    label: Tensor,
    *,
    silent_label: float,
    dead_neuron: float,
) -> Tensor | float:
    """Penalty on silent label neurons and on hidden neurons dead in the whole batch.

        P = silent_label * P_label + dead_neuron * sum_{hidden layers} P_dead

    Args:
        seen: The layers' spikes, the output layer last.
        label: Class indices, `(batch,)`.
        silent_label: Factor of `silent_label_penalty`.
        dead_neuron: Factor of `dead_neuron_penalty`.

    Returns:
        The penalty, a scalar; 0.0 where there is nothing to help.
    """
    penalty: Tensor | float = 0.0
    if not seen:
        return penalty
    *hidden, output = seen
    for layer, _, spike_time in hidden if dead_neuron else ():
        penalty = penalty + dead_neuron * dead_neuron_penalty(spike_time, layer.weight)
    layer, pre_spike_time, spike_time = output
    if silent_label and spike_time.dim() == 2 and math.isfinite(layer.t_max):
        penalty = penalty + silent_label * silent_label_penalty(
            pre_spike_time,
            layer.weight,
            layer.v_th,
            spike_time,
            label,
            t_max=layer.t_max,
        )
    return penalty
