"""A network of LIF layers as plain layers, or a refusal that names the cure.

Two spellings of TSSL-BP's layers are understood. Core layers exchange PSPs:

    [PSPFilter | num_steps] -> layer -> psp -> layer -> psp

so the filter in front of a layer's synapses is that of the layer before, or the
`PSPFilter`, or with `num_steps` (a constant input current) its own. Window layers of
the adapters (a module with a `core` layer) exchange spikes and filter their own input;
a `PSPFilter` may follow the last one, for the readout. Every layer is written down with
the filter in front of it, and then both are alike. ST-RSBP's layers (spike_train.py)
exchange spikes in either spelling.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import nn

from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import (
    ConvLayer,
    DenseLayer,
    FlattenLayer,
    LIFLayer,
    LIFNetwork,
    PoolLayer,
    SumPoolLayer,
    output_shape,
)
from snn_temporal_plugins.export.spike_train import SPIKE_TRAIN, spike_train_layer
from snn_temporal_plugins.export.spiking import check_numbers, to_array
from snn_temporal_plugins.export.walk import (
    check_flatten,
    find_input_shape,
    leaves,
    vanishes,
)
from snn_temporal_plugins.neurons import (
    LIFConv2d,
    LIFLinear,
    PSPFilter,
    PSPPool2d,
    TimeFlatten,
)

__all__ = ["flatten_lif_network", "output_filter"]

_LIF = (LIFLinear, LIFConv2d)
_RULES = ("tssl_bp",)
_ALLOWED = (
    "LIFLinear, LIFConv2d, SpikeTrainLinear, SpikeTrainConv2d, SpikeTrainPool2d, "
    "RecurrentLIF (core or adapter form), PSPFilter, PSPPool2d, TimeFlatten, "
    "nn.Flatten, nn.Sequential, and dropout"
)


@dataclass
class _Walk:
    """What is known so far; tau_psp is that of the PSPs here, None for spikes."""

    layers: list[LIFLayer | SumPoolLayer | FlattenLayer] = field(default_factory=list)
    tau_psp: float | None = None
    num_steps: int | None = None
    rules: set[str] = field(default_factory=set)


def flatten_lif_network(
    network: nn.Module, *, input_shape: tuple[int, ...] | None = None
) -> LIFNetwork:
    """Read a network of LIF layers into plain layers.

    Args:
        network: `nn.Sequential` (nested ones too) of the layers named above.
        input_shape: shape of one sample in one step; only needed when the network has
            no attribute `input_shape` and starts with a convolution or a pool.

    Returns:
        The layers in topological order, dropout removed.

    Raises:
        ExportError: for anything that NIR readers cannot run.
    """
    walk = _walk(network)
    geometries = [
        layer if isinstance(layer, FlattenLayer) else layer.geometry
        for layer in walk.layers
    ]
    first = shape = find_input_shape(network, geometries, input_shape)
    shapes = []
    for index, geometry in enumerate(geometries):
        shape = output_shape(geometry, shape, index)
        shapes.append(shape)
    return LIFNetwork(
        layers=tuple(walk.layers),
        shapes=tuple(shapes),
        input_shape=first,
        rule=", ".join(sorted(walk.rules)),
        num_steps=walk.num_steps,
    )


def output_filter(network: nn.Module) -> float | None:
    """Return the time constant of the PSPs that a network of LIF layers gives.

    Args:
        network: as in `flatten_lif_network`.

    Returns:
        The constant in steps; `None` if the network gives spikes.

    Raises:
        ExportError: if the network cannot be exported.
    """
    return _walk(network).tau_psp


def _walk(network: nn.Module) -> _Walk:
    walk = _Walk()
    for name, module in leaves(network):
        _add(walk, f"layer {name!r} ({type(module).__name__})", module)
    if not walk.rules:
        raise ExportError(
            ExportCode.NO_LAYER,
            f"{type(network).__name__} holds no LIF layer; allowed: {_ALLOWED}",
        )
    last = [layer for layer in walk.layers if not isinstance(layer, FlattenLayer)][-1]
    if isinstance(last, SumPoolLayer):
        raise ExportError(
            ExportCode.OUTPUT,
            "the network ends with a pool, which has no neurons and so no spikes; the "
            "last layer must be a LIF layer",
        )
    return walk


def _add(walk: _Walk, label: str, module: nn.Module) -> None:
    """Append one module of the network to the walk, or refuse it."""
    core = getattr(module, "core", module)
    if vanishes(module):
        return
    if isinstance(module, nn.Flatten | TimeFlatten):
        if isinstance(module, nn.Flatten):
            check_flatten(label, module)
        walk.layers.append(FlattenLayer())
    elif isinstance(module, PSPFilter):
        if walk.tau_psp is not None:
            raise ExportError(
                ExportCode.ENCODING,
                f"{label} filters PSPs once more, but a CubaLIF neuron has one filter; "
                "take it away: the layer before it gives PSPs already",
            )
        walk.tau_psp = module.tau_syn
    elif isinstance(module, PSPPool2d):
        if not 0 < module.gain < np.inf:
            raise ExportError(
                ExportCode.PARAMETER,
                f"{label} has gain {module.gain}; allowed: above 0 and finite",
            )
        pool = PoolLayer(module.kernel_size, module.kernel_size, 0)
        walk.layers.append(SumPoolLayer(pool, module.gain))
    elif isinstance(core, SPIKE_TRAIN):
        _require_spikes(walk, label)
        walk.layers.append(spike_train_layer(label, core))
        walk.rules.add("st_rsbp")
    elif isinstance(core, _LIF):
        _add_neurons(walk, label, core, spikes=core is not module)
    else:
        raise ExportError(
            ExportCode.UNSUPPORTED_LAYER,
            f"{label} cannot be exported; allowed: {_ALLOWED}. A network of first "
            "spikes is rounded before: write_nir(quantise_uniform(network, ...), path)",
        )


def _require_spikes(walk: _Walk, label: str) -> None:
    """Refuse what makes other values than 0 and 1 before a layer of ST-RSBP."""
    before = [layer for layer in walk.layers if not isinstance(layer, FlattenLayer)]
    pooled = bool(before) and isinstance(before[-1], SumPoolLayer)
    if walk.tau_psp is not None or pooled:
        raise ExportError(
            ExportCode.ENCODING,
            f"{label} takes spikes of 0 and 1, but a filter, a layer or a pool before "
            "it gives PSPs or sums; take the filter away, pool by SpikeTrainPool2d, "
            "and build LIF layers before it in a host's form, which gives spikes",
        )


def _add_neurons(
    walk: _Walk, label: str, core: LIFLinear | LIFConv2d, *, spikes: bool
) -> None:
    """Append a layer of neurons; those that take and give spikes filter themselves."""
    if core.reset != "hard":
        raise ExportError(
            ExportCode.RESET,
            f"{label} has reset={core.reset!r}, but NIR's LIF and CubaLIF set the "
            "membrane to v_reset after a spike and cannot subtract; allowed: 'hard' "
            "(snnTorch: reset_mechanism='zero'). Train with that",
        )
    if core.rule not in _RULES:
        raise ExportError(
            ExportCode.RULE,
            f"{label} uses rule {core.rule!r}, whose neuron may be another one; "
            f"allowed: {', '.join(_RULES)}",
        )
    weight = to_array(core.weight)
    v_th = np.full(len(weight), core.v_th, dtype=np.float64)
    check_numbers(label, weight, v_th)
    tau_syn = _input_filter(walk, label, core, spikes)
    geometry = (
        DenseLayer(weight, v_th)
        if isinstance(core, LIFLinear)
        else ConvLayer(weight, v_th, core.stride, core.padding)
    )
    walk.layers.append(LIFLayer(geometry, tau_syn, core.tau_mem))
    walk.rules.add(core.rule)
    walk.tau_psp = None if spikes else core.tau_syn


def _input_filter(
    walk: _Walk, label: str, core: LIFLinear | LIFConv2d, spikes: bool
) -> float:
    """Time constant of the one filter in front of a layer, or a refusal."""
    if core.num_steps is not None:
        if walk.tau_psp is not None or walk.rules:
            raise ExportError(
                ExportCode.ENCODING,
                f"{label} has num_steps={core.num_steps} and takes a constant current, "
                "but a layer or a PSPFilter before it gives one value per step; only "
                "the first layer of a network has num_steps",
            )
        walk.num_steps = core.num_steps
        return core.tau_syn
    if spikes:
        if walk.tau_psp is not None:
            raise ExportError(
                ExportCode.ENCODING,
                f"{label} filters its own input, which is filtered already; build all "
                "layers in one form and take the PSPFilter away",
            )
        return core.tau_syn
    if walk.tau_psp is None:
        raise ExportError(
            ExportCode.ENCODING,
            f"{label} takes PSPs, and nothing says what they are made of; put "
            "PSPFilter(tau_syn) before it for spikes, PSPFilter(1) for currents that "
            "come step by step, or give it num_steps for a constant input",
        )
    return walk.tau_psp
