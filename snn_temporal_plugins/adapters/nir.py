"""What a host's own NIR export does with networks that hold plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from snn_temporal_plugins.adapters.lif_window import LIFWindowLayer
from snn_temporal_plugins.adapters.norse_window import (
    LatencyEncoder,
    SpikesToTimesDecoder,
)
from snn_temporal_plugins.adapters.spike_train_window import SpikeTrainWindowLayer

_TRAINS = (LIFWindowLayer, SpikeTrainWindowLayer)


def export_with_plugins(
    host: Callable[..., Any], ours: tuple[type, ...]
) -> Callable[..., Any]:
    """Return a host's NIR export that also knows networks with plugins in them.

    Args:
        host: the host's function, `(module, sample_data, ...) -> graph`.
        ours: classes of the adapter.

    Returns:
        A function with the host's signature. For our networks `sample_data` is a train
        (time, batch, ...), whose length is the number of ticks, or what the network's
        own encoder takes, or (batch, ...) where its first layer has `num_steps`;
        options of the host do not apply to them.
    """

    def export(
        module: nn.Module, sample_data: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        """Export by the plugins if the network holds one, else by the host."""
        if not any(isinstance(part, ours) for part in module.modules()):
            return host(module, sample_data, *args, **kwargs)
        from snn_temporal_plugins.export.bundle.quantise import quantise_uniform
        from snn_temporal_plugins.export.nir import to_nir

        trains = [part for part in module.modules() if isinstance(part, _TRAINS)]
        if trains:
            direct = getattr(trains[0].core, "num_steps", None) is not None
            return to_nir(
                module, input_shape=tuple(sample_data.shape[1 if direct else 2 :])
            )
        network, train = _without_codec(module, sample_data)
        shape = tuple(train.shape[2:])
        return to_nir(
            quantise_uniform(network, num_ticks=len(train), input_shape=shape)
        )

    return export


def _without_codec(network: nn.Module, sample: Tensor) -> tuple[nn.Module, Tensor]:
    """Take encoder and decoder off the ends, because NIR holds neither."""
    if not isinstance(network, nn.Sequential):
        return network, sample
    parts = list(network)
    if isinstance(parts[0], LatencyEncoder):
        sample = parts.pop(0)(sample)
    if isinstance(parts[-1], SpikesToTimesDecoder):
        parts.pop()
    return nn.Sequential(*parts), sample
