"""Window form of LIF layers, shared by the hosts: whole spike trains in and out.

Layers of the core exchange postsynaptic potentials (PSPs), layers in a host exchange
spikes, because that is what its stock layers take and give. So each layer filters its
own input:

    a_in = psp_filter(spikes),   I = W a_in,   spikes_out = by the rule from I

The gradient that leaves the filter is the error A[t] of `rules/tssl_bp.py`, so a chain
of these layers learns exactly as a chain of core layers does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from snn_temporal_plugins import neurons
from snn_temporal_plugins.functional.lif import (
    LIFState,
    psp_filter,
    require_spikes,
    require_window,
)
from snn_temporal_plugins.rules import LIFWindow, get_rule


class LIFWindowState(NamedTuple):
    """Where a window of a layer has ended, for the next one to go on from.

    It is detached: learning is truncated at the border between two windows.

    Attributes:
        input_psp: (batch, in...), PSP of the input; with `num_steps` the synaptic
            current (batch, out...).
        v: (batch, out...), membrane potential after the reset.
        psp: (batch, out...), PSP of the layer's own spikes.
    """

    input_psp: Tensor
    v: Tensor
    psp: Tensor


class LIFWindowLayer(nn.Module):
    """A LIF layer on spike trains.

    Attributes:
        core: the layer on PSPs; it holds `weight` and the constants.
        graded: whether an input spike may carry any weight, not only 1.
    """

    def __init__(
        self, core: neurons.LIFLinear | neurons.LIFConv2d, graded: bool
    ) -> None:
        _window_of(core.rule)  # a rule without one fails here
        super().__init__()
        self.core = core
        self.graded = graded

    @property
    def weight(self) -> Tensor:
        """Synaptic weights, (out, in) or (out, in, k, k)."""
        return self.core.weight

    def extra_repr(self) -> str:
        """Show what the core does not."""
        return f"graded={self.graded}"

    def run_window(
        self, x: Tensor, state: LIFWindowState | None
    ) -> tuple[LIFWindow, LIFWindowState]:
        """Compute a whole window.

        Args:
            x: spikes (time, batch, ...), 0/1 unless `graded`; with `num_steps` a
                constant current (batch, ...).
            state: where the window before has ended; None starts at rest.

        Returns:
            PSPs and spikes (time, batch, ...), and the state at the end.

        Raises:
            TypeError: the state is none of this layer's.
            ValueError: the input is no spike train, or does not fit the state.
        """
        if not isinstance(state, LIFWindowState | None):
            raise TypeError(
                f"state is a {type(state).__name__}; pass the LIFWindowState that the "
                "window before has left, or None to start at rest"
            )
        core = self.core
        current, input_psp = self._current(x, state and state.input_psp)
        window = _window_of(core.rule)(
            current,
            state and LIFState(state.v, state.psp),
            **core.settings,
        )
        return window, LIFWindowState(input_psp, *window.state)

    def _current(self, x: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
        """Synaptic currents, and where the input filter has ended."""
        core = self.core
        require_window("the input", x)
        if core.num_steps is None:
            self._require_spikes(x)
            require_fit(start, x[0])
            psp = psp_filter(x, core.tau_syn, start)
            return core.current(psp), psp[-1].detach().clone()
        # Synapses and filter commute: a constant input passes the synapses once.
        once = core.synapses(x)
        require_fit(start, once)
        steps = once.expand(core.num_steps, *once.shape)
        current = psp_filter(steps, core.tau_syn, start)
        return current, current[-1].detach().clone()

    def _require_spikes(self, x: Tensor) -> None:
        if self.graded:
            return
        try:
            require_spikes(x, "the input")
        except ValueError as error:
            raise ValueError(
                f"{str(error).partition(';')[0]}; a layer in a host takes spikes, 0 or "
                "1. Behind a pool or dropout of spikes give the layer graded=True; for "
                "a constant real-valued input, give it num_steps"
            ) from None


def _window_of(rule: str) -> Callable[..., LIFWindow]:
    window = get_rule(rule).window
    if window is None:
        raise ValueError(
            f"rule {rule!r} gives PSPs alone, but layers in a host exchange spikes: "
            "its RuleInfo needs a `window` function, as that of 'tssl_bp'"
        )
    return window


def require_fit(start: Tensor | None, step: Tensor) -> None:
    """Raise unless a window may go on from where another one has ended.

    Args:
        start: what a step of the window before was like; None: at rest.
        step: a step of this window.

    Raises:
        ValueError: batch, shape, type or device differ.
    """
    if start is None:
        return
    left, wanted = (
        f"{x.dtype} of shape {tuple(x.shape)} on {x.device}" for x in (start, step)
    )
    if left != wanted:
        raise ValueError(
            f"the state is {left}, but a step of this window is {wanted}: a new "
            "sequence starts with state=None, or after reset_mem() where the layer "
            "keeps its state (stream=True)"
        )
