"""How many additions an inference costs where layers work event by event."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn_temporal_plugins.neurons import IFConv2d, IFLinear, ReLPSPConv2d, ReLPSPLinear
from snn_temporal_plugins.training.recording import (
    FirstSpikes,
    spike_times_of,
    spiking_layers,
)

_Layer = ReLPSPLinear | ReLPSPConv2d | IFLinear | IFConv2d


class LayerInput(NamedTuple):
    """What entered a layer.

    Attributes:
        layer: The layer; where it is one of a host, the layer `core` which that wraps.
        spike_time: Spike times that entered it, `(batch, in, ...)`, `inf` where silent.
    """

    layer: _Layer
    spike_time: Tensor


def additions(
    spike_time: Tensor,
    weight: Tensor,
    *,
    stride: int = 1,
    padding: int = 0,
    until: Tensor | None = None,
) -> Tensor:
    """Additions of weights in a layer: one per input spike and neuron it reaches.

        N = sum_i n_i [t_i < inf and t_i <= until],    n_i = neurons that i reaches

    Dense, n_i is the number of outputs; in a convolution, the number of maps times that
    of the places whose patch holds i, fewer at the border. Neurons that have fired
    still count. Nothing else does: no integration of ramps, no comparison of potentials
    with thresholds, no pooling.

    Args:
        spike_time: Spike times that enter the layer, `(batch, ..., in)`, or `(batch,
            in, height, width)` for a convolution; `inf` where silent.
        weight: Synaptic weights, `(out, in)` or `(out, in, side, side)`.
        stride: Step between the patches of a convolution.
        padding: Silent border of a convolution.
        until: Time up to which spikes count, itself included, `(batch,)`, in the unit
            of `spike_time`; None: all count.

    Returns:
        Additions of each sample, int64 `(batch,)`.

    Raises:
        ValueError: If the shapes do not fit.

    Reference:
        Liu et al., Front. Neurosci. 15:756876 (2021), compare networks by this count.
    """
    dense = weight.dim() == 2
    fits = spike_time.dim() >= 2 if dense else spike_time.dim() == weight.dim() == 4
    if not fits or spike_time.shape[-1 if dense else 1] != weight.shape[1]:
        raise ValueError(
            f"spike_time has shape {tuple(spike_time.shape)} and weight "
            f"{tuple(weight.shape)}; allowed are (batch, ..., in) with (out, in), and "
            "(batch, in, height, width) with (out, in, side, side)"
        )
    spikes = spike_time < math.inf
    if until is not None:
        spikes &= spike_time <= until.view(-1, *[1] * (spike_time.dim() - 1))
    if dense:
        return spikes.flatten(1).sum(1) * len(weight)
    size, slide = spike_time.shape[2:], {"stride": stride, "padding": padding}
    ones = torch.ones(1, 1, *size, device=weight.device)
    patches = F.unfold(ones, weight.shape[2:], **slide)  # the border adds zeros
    places = F.fold(patches, size, weight.shape[2:], **slide).long()
    return (spikes * places).flatten(1).sum(1) * len(weight)


@contextmanager
def record_layer_inputs(
    classifier: FirstSpikes,
) -> Iterator[list[LayerInput] | None]:
    """Keep what entered the layers in the last forward pass while the context is open.

    Args:
        classifier: The module whose network is looked at.

    Yields:
        One entry per call of a layer, in the unit of time of the classifier. Each
        forward pass replaces them. None if the network has weights that do not belong
        to layers of this package: it cannot be said what spikes do there.
    """
    network = classifier.network
    layers = {
        layer: core
        for layer in spiking_layers(network).values()
        if isinstance(core := getattr(layer, "core", layer), _Layer)
    }
    known = {id(core.weight) for core in layers.values()}
    matrices = {id(p) for p in network.parameters() if p.dim() > 1}
    if not layers or not matrices <= known:
        yield None
        return
    seen: list[LayerInput] = []

    def keep(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        core, (entered, *_) = layers[layer], (*args, *named.values())
        spike_time = spike_times_of(classifier, entered)
        if isinstance(core, IFLinear | IFConv2d) and core.rule_options["compat"]:
            spike_time = _delivered(spike_time, core, classifier.hparams)
        seen.append(LayerInput(core, spike_time))

    with ExitStack() as hooks:
        hooks.enter_context(network.register_forward_pre_hook(lambda *_: seen.clear()))
        for layer in layers:
            hooks.enter_context(layer.register_forward_pre_hook(keep, with_kwargs=True))
        yield seen


def _delivered(spike_time: Tensor, layer: IFLinear | IFConv2d, hparams: Any) -> Tensor:
    """Leave out the last two ticks, which SSTDP's released code does not simulate."""
    num_steps = hparams.get("num_steps")
    dt = 1.0 if num_steps is None else hparams["t_max"] / num_steps
    ticks = layer.num_steps if num_steps is None else num_steps
    return torch.where(spike_time < (ticks - 2.5) * dt, spike_time, math.inf)


def additions_of(entered: list[LayerInput], until: Tensor | None = None) -> int:
    """Additions of all samples of a batch in all layers.

    Args:
        entered: As `record_layer_inputs` gives it.
        until: As `additions` takes it.
    """
    return sum(
        int(
            additions(
                spike_time,
                layer.weight,
                stride=getattr(layer, "stride", 1),
                padding=getattr(layer, "padding", 0),
                until=until,
            ).sum()
        )
        for layer, spike_time in entered
    )
