"""Step form of neurons that spike once, in Norse's call protocol."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snn_temporal_plugins.adapters.norse_if import IFParameters, require_if_parameters
from snn_temporal_plugins.adapters.norse_window import ReLPSPParameters
from snn_temporal_plugins.functional.integrate_fire import (
    IFState,
    if_initial_state,
    if_step,
)
from snn_temporal_plugins.functional.relpsp import (
    ReLPSPState,
    relpsp_initial_state,
    relpsp_step,
)

try:
    import norse.torch as host
    from norse.torch.module.snn import SNN, SNNCell
except ImportError as error:
    # Without --no-deps pip replaces torch and adds a torchvision that breaks lightning.
    raise ImportError(
        "the Norse adapter needs Norse: pip install --no-deps norse==1.1.0"
    ) from error

__all__ = [
    "IF",
    "IFCell",
    "ReLPSP",
    "ReLPSPCell",
    "host",
    "if_feed_forward_step",
    "relpsp_feed_forward_step",
]


def relpsp_feed_forward_step(
    input_tensor: Tensor,
    state: ReLPSPState | None,
    p: ReLPSPParameters,
    dt: float = 0.01,
) -> tuple[Tensor, ReLPSPState]:
    """Advance ReL-PSP neurons by one tick: V += G, fire once at V >= v_th/dt, G += I.

    The gradient is that of spike timing, exact as far as
    `snn_temporal_plugins.functional.relpsp` says; an input first acts one tick later.

    Args:
        input_tensor: (batch, ...), weighted input spikes of this tick.
        state: state after the tick before; None starts a new sequence.
        p: threshold and options.
        dt: length of a tick in the unit of time of `p.v_th`.

    Returns:
        spikes (batch, ...) in the dtype of the input, and the new state.

    Raises:
        ValueError: `p.method` has no form for single ticks.
    """
    if p.method != "stdbp":
        raise ValueError(
            f"method={p.method!r} has no step form: use method='stdbp', or the window "
            "layers, which take any rule on spike times"
        )
    return relpsp_step(input_tensor, state, p.v_th, dt, slope_clip=p.slope_clip)


def if_feed_forward_step(
    input_tensor: Tensor,
    state: IFState | None,
    p: IFParameters | None = None,
    dt: float = 1.0,
) -> tuple[Tensor, IFState]:
    """Advance integrate-and-fire neurons by one tick: V += I, fire once at V > v_th.

    The gradient is the error of SSTDP, as far as a loop over ticks can know it:
    `snn_temporal_plugins.functional.integrate_fire`. An input acts in its own tick.

    Args:
        input_tensor: (batch, ...), weighted input spikes of this tick.
        state: state after the tick before; None starts a new sequence.
        p: threshold; None: `IFParameters()`.
        dt: not used, time is counted in ticks; Norse passes it to every step.

    Returns:
        spikes (batch, ...) in the dtype of the input, and the new state.

    Raises:
        TypeError: `p` is no `IFParameters`.
        ValueError: `p` sets more than the threshold.
    """
    p = require_if_parameters(p)
    if p != IFParameters(p.v_th):
        raise ValueError(
            f"{p} has no step form: a, b, compat and method_options need the whole "
            "window. Use IFParameters(v_th=...), or IFLinear and IFConv2d"
        )
    return if_step(input_tensor, state, p.v_th)


class _ReLPSP:
    """What the export reads from a neuron of either shape."""

    nir_node = "ReLPSP"
    p: ReLPSPParameters
    dt: float

    @property
    def v_th(self) -> Tensor:
        """Threshold, in the unit in which `dt` counts time."""
        return self.p.v_th

    def extra_repr(self) -> str:
        """Show the tick; the parameters show themselves."""
        return f"dt={self.dt}"


class ReLPSPCell(_ReLPSP, SNNCell):
    """ReL-PSP neuron for one tick: `z, state = cell(input, state)`.

    Args:
        p: parameters; None: `ReLPSPParameters()`.
        dt: length of a tick in the unit of time of `p.v_th`.
    """

    def __init__(self, p: ReLPSPParameters | None = None, dt: float = 0.01) -> None:
        p = ReLPSPParameters() if p is None else p
        super().__init__(relpsp_feed_forward_step, relpsp_initial_state, p, dt)


class _OverTime(SNN):
    """Norse's loop over ticks, at a cost that is linear in their number."""

    def forward(self, input_tensor: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over all ticks.

        Args:
            input_tensor: (time, batch, ...), weighted input spikes.
            state: state to go on from; None starts a new sequence.

        Returns:
            spikes (time, batch, ...), and the last state or all states stacked.
        """
        spikes, states = [], []
        # Not input_tensor[t]: the backward of each index fills a whole window.
        for current in input_tensor.unbind(0):
            z, state = self.activation(current, state, self.p, self.dt)
            spikes.append(z)
            states.append(state)
            if not self.record_states:
                states = states[-1:]
        if self.record_states:
            stacked = map(torch.stack, zip(*states, strict=True))
            return torch.stack(spikes), type(state)(*stacked)
        return torch.stack(spikes), states[-1]


class ReLPSP(_ReLPSP, _OverTime):
    """ReL-PSP neurons over time: `z, state = layer(input, state)`, time first.

    Args:
        p: parameters; None: `ReLPSPParameters()`.
        dt: length of a tick in the unit of time of `p.v_th`.
        record_states: return the states of all ticks, stacked, not only the last.
    """

    def __init__(
        self,
        p: ReLPSPParameters | None = None,
        dt: float = 0.01,
        record_states: bool = False,
    ) -> None:
        p = ReLPSPParameters() if p is None else p
        super().__init__(
            relpsp_feed_forward_step,
            relpsp_initial_state,
            p,
            dt,
            record_states=record_states,
        )


class _IF:
    """What the export reads from a neuron of either shape."""

    nir_node = "IF"
    p: IFParameters

    @property
    def v_th(self) -> float:
        """Threshold, in the unit of the weights."""
        return self.p.v_th

    def extra_repr(self) -> str:
        """Show the threshold."""
        return f"v_th={self.v_th}"


class IFCell(_IF, SNNCell):
    """Integrate-and-fire neuron for one tick: `z, state = cell(input, state)`.

    It spikes once and is not reset, where Norse's `IAFCell` goes on spiking.

    Args:
        p: threshold; None: `IFParameters()`.
    """

    def __init__(self, p: IFParameters | None = None) -> None:
        super().__init__(
            if_feed_forward_step, if_initial_state, require_if_parameters(p), 1.0
        )


class IF(_IF, _OverTime):
    """Integrate-and-fire neurons over time: `z, state = layer(input, state)`.

    Args:
        p: threshold; None: `IFParameters()`.
        record_states: return the states of all ticks, stacked, not only the last.
    """

    def __init__(
        self, p: IFParameters | None = None, record_states: bool = False
    ) -> None:
        super().__init__(
            if_feed_forward_step,
            if_initial_state,
            require_if_parameters(p),
            1.0,
            record_states=record_states,
        )
