"""Step form of neurons that spike once, in snnTorch's call protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

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
    import snntorch as host
    from snntorch import utils as host_utils
except ImportError as error:
    raise ImportError(
        "the snnTorch adapter needs snnTorch: "
        'pip install "snn-temporal-plugins[snntorch]"'
    ) from error

__all__ = ["IF", "ReLPSP", "host", "host_utils"]


class _Neuron(host.SpikingNeuron, ABC):
    """Call protocol: `snn.Leaky`'s, with a tuple for the state."""

    # a neuron's state before the first tick, by the function of its step form
    initial_state: Callable[[Tensor], Any]

    def __init__(
        self,
        threshold: float | Tensor,
        init_hidden: bool,
        output: bool,
        learn_threshold: bool = False,
    ) -> None:
        threshold = torch.as_tensor(threshold)
        if not (threshold > 0).all():
            raise ValueError(f"threshold={threshold.tolist()}: must be above 0")
        if not threshold.is_floating_point():
            threshold = threshold.to(torch.get_default_dtype())
        super().__init__(
            threshold=threshold,
            surrogate_disable=True,
            init_hidden=init_hidden,
            learn_threshold=learn_threshold,
            reset_mechanism="none",
            output=output,
        )
        # snnTorch 1.0 keeps every neuron ever made alive in a class-level list.
        instances = getattr(host.SpikingNeuron, "instances", [])
        if self in instances:
            instances.remove(self)
        self.state: Any = None

    @abstractmethod
    def step(self, input_: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Spikes of one tick, and the new state."""

    @abstractmethod
    def mem(self, state: Any) -> Tensor:
        """Potential in the unit of the threshold."""

    def forward(self, input_: Tensor, state: Any = None) -> Any:
        """Advance by one tick.

        Args:
            input_: (batch, ...), weighted input spikes of this tick.
            state: state after the tick before; None: the neuron's own.

        Returns:
            (spk, state); spk alone with `init_hidden`; (spk, mem) with `init_hidden`
            and `output`. spk and mem have the shape and dtype of `input_`.
        """
        if self.init_hidden and state is not None:
            raise TypeError("with init_hidden=True the neuron keeps its state itself")
        if state is None:
            state = self.state if _fits(self.state, input_) else None
        elif state.v.shape == (0,):  # what reset_mem() returns
            state = None
        spk, self.state = self.step(input_, state)
        if not self.init_hidden:
            return spk, self.state
        return (spk, self.mem(self.state)) if self.output else spk

    def reset_mem(self) -> Any:
        """Forget the sequence, and return the (empty) state to start a new one with."""
        self.state = None
        return self.initial_state(self.threshold.detach().new_zeros(0))

    def extra_repr(self) -> str:
        """Show the protocol."""
        return f"init_hidden={self.init_hidden}, output={self.output}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": None}


class ReLPSP(_Neuron):
    """ReL-PSP neuron for a loop over ticks, in the place of `snn.Leaky`.

    V += G; spike once when V >= threshold/dt; G += input. An input first acts one tick
    later, a neuron spikes at most once per sequence, and the gradient is that of spike
    timing (`snn_temporal_plugins.functional.relpsp`), not a surrogate:

        spk, state = neuron(self.fc(x[t]), state)       # state = neuron.reset_mem()

    As in every snnTorch neuron, a call without a state goes on from the neuron's own
    one until `reset_mem()`; a batch of another shape starts afresh. The state is a
    plain attribute: it is no part of the state_dict and is dropped when the module is
    copied or pickled.

    Args:
        threshold: v_th > 0, a number or one per neuron.
        dt: length of a tick in the unit of time of the threshold.
        init_hidden: keep the state inside; the call then gives the spikes alone.
        output: with `init_hidden`, give (spk, mem) with mem = V dt, for a last layer.
        learn_threshold: make the threshold a parameter.
        slope_clip: largest 1/slope in the gradient; None: no limit.
    """

    nir_node = "ReLPSP"  # what the export takes this neuron for
    initial_state = staticmethod(relpsp_initial_state)

    def __init__(
        self,
        threshold: float | Tensor = 1.0,
        dt: float = 0.01,
        init_hidden: bool = False,
        output: bool = False,
        learn_threshold: bool = False,
        slope_clip: float | None = None,
    ) -> None:
        super().__init__(threshold, init_hidden, output, learn_threshold)
        self.dt = dt
        self.slope_clip = slope_clip

    def step(
        self, input_: Tensor, state: ReLPSPState | None
    ) -> tuple[Tensor, ReLPSPState]:
        """Spikes of one tick, and the new state."""
        return relpsp_step(
            input_, state, self.threshold, self.dt, slope_clip=self.slope_clip
        )

    def mem(self, state: ReLPSPState) -> Tensor:
        """Potential in the unit of the threshold."""
        return state.v * self.dt

    def extra_repr(self) -> str:
        """Show the tick and the protocol."""
        return f"dt={self.dt}, {super().extra_repr()}"


class IF(_Neuron):
    """Integrate-and-fire neuron for a loop over ticks, in the place of `snn.Leaky`.

    V += input; spike once when V > threshold, in the same tick. There is no leak and no
    reset. The gradient is the error of SSTDP
    (`snn_temporal_plugins.functional.integrate_fire`), not a surrogate; its settings
    `b`, `tau_stdp` and `normalize`, and the error of silent neurons, need the whole
    window and are those of `IFLinear` and `IFConv2d`. States are kept as in `ReLPSP`.

    Args:
        threshold: v_th > 0, a number or one per neuron, in the unit of the weights.
        init_hidden: keep the state inside; the call then gives the spikes alone.
        output: with `init_hidden`, give (spk, mem), for a last layer.
    """

    nir_node = "IF"  # what the export takes this neuron for
    initial_state = staticmethod(if_initial_state)

    def __init__(
        self,
        threshold: float | Tensor = 1.0,
        init_hidden: bool = False,
        output: bool = False,
    ) -> None:
        super().__init__(threshold, init_hidden, output)

    def step(self, input_: Tensor, state: IFState | None) -> tuple[Tensor, IFState]:
        """Spikes of one tick, and the new state."""
        return if_step(input_, state, self.threshold)

    def mem(self, state: IFState) -> Tensor:
        """Potential in the unit of the threshold."""
        return state.v


def _fits(state: Any, input_: Tensor) -> bool:
    return state is not None and (
        (state.v.shape, state.v.dtype, state.v.device)
        == (input_.shape, input_.dtype, input_.device)
    )
