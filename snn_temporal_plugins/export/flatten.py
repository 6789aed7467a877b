"""A network as a flat list of plain layers, or a refusal that names the cure.

Three spellings of the same layers are understood: the core layers of this package
(spike times in and out), the window layers of the adapters (a module with a `core`
layer), and the step form (`nn.Linear` or `nn.Conv2d` followed by a neuron whose class
says `nir_node = "ReLPSP"` or `"IF"`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from snn_temporal_plugins.export.errors import ExportCode, ExportError
from snn_temporal_plugins.export.layers import (
    ConvLayer,
    DenseLayer,
    FlatNetwork,
    FlattenLayer,
    Layer,
    PoolLayer,
    Response,
    output_shape,
)
from snn_temporal_plugins.export.spiking import (
    check_ramp,
    check_step,
    spiking_layer,
    square,
)
from snn_temporal_plugins.export.trains import refuse_trains
from snn_temporal_plugins.export.walk import (
    check_flatten,
    find_input_shape,
    leaves,
    vanishes,
)
from snn_temporal_plugins.neurons import (
    EarliestSpikePool2d,
    IFConv2d,
    IFLinear,
    ReLPSPConv2d,
    ReLPSPLinear,
    TickGrid,
)

__all__ = ["flatten_network"]

_RAMP = (ReLPSPLinear, ReLPSPConv2d)
_STEP = (IFLinear, IFConv2d)
_NEURONS: Mapping[str | None, Response] = {"ReLPSP": "ramp", "IF": "step"}
_ALLOWED = (
    "ReLPSPLinear, ReLPSPConv2d, or IFLinear, IFConv2d, EarliestSpikePool2d (core or "
    "adapter form), nn.Linear or nn.Conv2d followed by a ReLPSP or IF neuron, "
    "TickGrid, nn.Flatten, nn.Sequential, and dropout"
)

_T = TypeVar("_T", bound=float | str)


@dataclass
class _Walk:
    """What is known so far while a network is walked."""

    layers: list[Layer] = field(default_factory=list)
    responses: dict[str, Response] = field(default_factory=dict)
    horizons: dict[str, float] = field(default_factory=dict)
    ticks: dict[str, float] = field(default_factory=dict)
    num_ticks: dict[str, int] = field(default_factory=dict)
    synapse: tuple[str, nn.Linear | nn.Conv2d] | None = None


def flatten_network(
    network: nn.Module, *, input_shape: tuple[int, ...] | None = None
) -> FlatNetwork:
    """Read a network into plain layers.

    Args:
        network: `nn.Sequential` (nested ones too) of the layers named above.
        input_shape: shape of one sample without the batch; only needed when the
            network has no attribute `input_shape` and starts with a convolution
            or a pool.

    Returns:
        The layers in topological order, dropout removed.

    Raises:
        ExportError: for anything that the exported formats cannot express.
    """
    refuse_trains(network)
    walk = _Walk()
    for name, module in leaves(network):
        _add(walk, name, module)
    if walk.synapse is not None:
        raise _lonely_synapse(*walk.synapse)
    spiking = sum(isinstance(layer, DenseLayer | ConvLayer) for layer in walk.layers)
    if spiking == 0:
        raise ExportError(
            ExportCode.NO_LAYER,
            f"{type(network).__name__} holds no spiking layer; allowed: {_ALLOWED}",
        )
    if len(walk.ticks) not in (0, spiking):
        raise ExportError(
            ExportCode.TICK,
            f"only {', '.join(walk.ticks)} of {spiking} spiking layers live on ticks; "
            "build all layers in one form",
        )
    response = _common(walk.responses, ExportCode.RESPONSE, "responses")
    t_max = _common(walk.horizons, ExportCode.HORIZON, "t_max")
    flat = FlatNetwork(
        layers=tuple(walk.layers),
        input_shape=find_input_shape(network, walk.layers, input_shape),
        t_max=math.inf if t_max is None else t_max,
        dt=_common(walk.ticks, ExportCode.TICK, "dt"),
        response="ramp" if response is None else response,
        num_ticks=_common(walk.num_ticks, ExportCode.HORIZON, "num_steps"),
    )
    shape = flat.input_shape
    for index, layer in enumerate(flat.layers):
        shape = output_shape(layer, shape, index)
    return flat


def _add(walk: _Walk, name: str, module: nn.Module) -> None:
    """Append one module of the network to the walk, or refuse it."""
    label = f"layer {name!r} ({type(module).__name__})"
    if vanishes(module):
        return
    if walk.synapse is not None:
        _add_step_form(walk, label, module)
    elif isinstance(module, nn.Linear | nn.Conv2d):
        walk.synapse = (label, module)
    elif isinstance(module, nn.Flatten):
        check_flatten(label, module)
        walk.layers.append(FlattenLayer())
    elif isinstance(module, TickGrid):  # an integer network rounds up of itself
        walk.num_ticks[label] = module.num_ticks
    else:
        _add_core(walk, label, module)


def _add_core(walk: _Walk, label: str, module: nn.Module) -> None:
    """Append a core layer, or the core of an adapter's window layer."""
    core = getattr(module, "core", module)
    if isinstance(core, EarliestSpikePool2d):
        walk.layers.append(
            PoolLayer(
                kernel_size=square(core.kernel_size, label, "kernel_size"),
                stride=square(core.stride, label, "stride"),
                padding=square(core.padding, label, "padding"),
            )
        )
        return
    tick = 1.0
    if core is not module:  # the core of a window layer counts time in ticks
        tick = walk.ticks[label] = float(getattr(module, "dt", 1.0))
    if isinstance(core, _RAMP):
        check_ramp(label, core)
        v_th = core.v_th
        walk.responses[label] = "ramp"
        walk.horizons[label] = core.t_max * tick
    elif isinstance(core, _STEP):
        check_step(label, core)
        v_th = _in_dtype(core.v_th, core.weight)
        walk.responses[label] = "step"
        if core is module:  # a window layer counts as many ticks as its train has
            walk.num_ticks[label] = core.num_steps
    else:
        raise ExportError(
            ExportCode.UNSUPPORTED_LAYER,
            f"{label} cannot be exported; allowed: {_ALLOWED}. Put the layers, in "
            "the order in which they run, into one nn.Sequential",
        )
    walk.layers.append(spiking_layer(label, core, core.weight, v_th))


def _add_step_form(walk: _Walk, label: str, module: nn.Module) -> None:
    """Append a synapse and the neuron that follows it."""
    if walk.synapse is None:
        return
    synapse_label, synapse = walk.synapse
    response = _NEURONS.get(getattr(type(module), "nir_node", None))
    if response is None:
        raise _lonely_synapse(synapse_label, synapse)
    if synapse.bias is not None:
        raise ExportError(
            ExportCode.BIAS,
            f"{synapse_label} has a bias, and a neuron that spikes once has none; "
            "build it with bias=False",
        )
    threshold = _step_threshold(module)
    tick = getattr(module, "dt", None if response == "ramp" else 1.0)
    if threshold is None or tick is None:
        raise ExportError(
            ExportCode.UNSUPPORTED_LAYER,
            f"{label} says that it is to be exported, but lacks dt, or one of v_th, "
            "threshold, p",
        )
    walk.responses[label] = response
    walk.ticks[label] = float(tick)
    if response == "step":
        threshold = _in_dtype(threshold, synapse.weight)
    walk.layers.append(spiking_layer(synapse_label, synapse, synapse.weight, threshold))
    walk.synapse = None


def _step_threshold(module: nn.Module) -> Tensor | float | None:
    """Threshold of a step-form neuron: our name, snnTorch's, or Norse's `p.v_th`."""
    for owner, name in (
        (module, "v_th"),
        (module, "threshold"),
        (getattr(module, "p", None), "v_th"),
    ):
        value = getattr(owner, name, None)
        if value is not None:
            return value
    return None


def _in_dtype(v_th: Tensor | float, weight: Tensor) -> Tensor:
    """Threshold as the layer compares with it: one that is met is not crossed."""
    return torch.as_tensor(v_th, dtype=weight.dtype, device=weight.device)


def _lonely_synapse(label: str, module: nn.Module) -> ExportError:
    return ExportError(
        ExportCode.UNSUPPORTED_LAYER,
        f"{label} is not followed by a ReLPSP or IF neuron; allowed: {_ALLOWED}. Put "
        "the neuron directly after it, or use a layer that holds its neurons",
    )


def _common(values: Mapping[str, _T], code: ExportCode, what: str) -> _T | None:
    """The one value that all layers share, `None` if no layer has any."""
    distinct = sorted(set(values.values()))
    if len(distinct) > 1:
        raise ExportError(
            code,
            f"the layers have different {what}: {distinct}; give all of them one value",
        )
    return distinct[0] if distinct else None
