"""Window form of ST-RSBP layers, shared by the hosts: spike trains in and out.

Layers of the core exchange spikes already, as those of the hosts do. The law is one for
whole windows and spike counts: the gradient that comes in is averaged over time, and
the one that goes out is the same in every step. A stock neuron before such a layer
learns from that by its own surrogate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snn_temporal_plugins import neurons
from snn_temporal_plugins.adapters.lif_window import require_fit
from snn_temporal_plugins.functional.lif import require_window
from snn_temporal_plugins.rules import SpikeTrainState, SpikeTrainWindow


class SpikeTrainWindowLayer(nn.Module):
    """A layer that learns by ST-RSBP, on spike trains.

    Attributes:
        core: the layer itself; it holds the weights and the constants.
    """

    def __init__(
        self,
        core: neurons.SpikeTrainLinear
        | neurons.SpikeTrainConv2d
        | neurons.SpikeTrainPool2d
        | neurons.RecurrentLIF,
    ) -> None:
        super().__init__()
        self.core = core

    @property
    def weight(self) -> Tensor:
        """Synaptic weights, (out, in) or (out, in, k, k); pools have none."""
        return self.core.get_parameter("weight")

    def run_window(
        self, x: Tensor, state: SpikeTrainState | None, label: Tensor | None = None
    ) -> SpikeTrainWindow:
        """Compute a whole window.

        Args:
            x: spikes (time, batch, ...), 0/1.
            state: where the window before has ended; None starts at rest.
            label: output layer in training: class indices (batch,).

        Returns:
            Spikes (time, batch, ...), activity, and the state at the end.

        Raises:
            TypeError: the state is none of this layer's.
            ValueError: the input is no spike train, or does not fit the state.
        """
        if not isinstance(state, SpikeTrainState | None):
            raise TypeError(
                f"state is a {type(state).__name__}; pass the SpikeTrainState that the "
                "window before has left, or None to start at rest"
            )
        require_window("the input", x)
        require_fit(state and state.last_input, x[0])
        told = {} if label is None else {"label": label}  # output layers alone take it
        return self.core.window(x, state, **told)

    @torch.no_grad()
    def run_step(
        self, x: Tensor, state: SpikeTrainState | None
    ) -> tuple[Tensor, SpikeTrainState]:
        """Compute one step of a stream; nothing can be learnt from one step alone.

        Args:
            x: spikes (batch, ...), 0/1.
            state: where the step before has ended; None starts at rest.

        Returns:
            Spikes (batch, ...), without a gradient, and the state after the step.
        """
        window = self.run_window(x[None], state)
        return window.spikes[0], window.state


def require_rule(rule: str, argument: str) -> None:
    """Raise unless these layers learn by a rule.

    Args:
        rule: its name.
        argument: what the host calls it.

    Raises:
        ValueError: it is another one.
    """
    if rule != "st_rsbp":
        raise ValueError(
            f"{argument}={rule!r}; layers with recurrent weights and delayed synapses "
            "learn by 'st_rsbp' alone. Layers for 'tssl_bp' are LIFLinear and LIFConv2d"
        )
