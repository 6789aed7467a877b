"""Pooling by spiking neurons between layers that learn by ST-RSBP."""

from typing import Any

import torch
from torch import Tensor, nn

from snn_temporal_plugins.rules import (
    SpikeTrainState,
    SpikeTrainWindow,
    st_rsbp_pool_window,
)


class SpikeTrainPool2d(nn.Module):
    """Leaky integrate-and-fire neurons that add up the spikes of a window of one map.

        q = (1 - 1/tau_syn) q + sum over the window of s_in[t-1]

    else as `SpikeTrainLinear`. It has no parameters; the backward is that of ST-RSBP.

    Args:
        kernel_size: Side of the square window, and the step between windows; rows and
            columns that fill no window are left out.
        v_th: Threshold > 0, in spikes.
        tau_mem: Membrane time constant >= 1, in steps.
        tau_syn: Synaptic time constant >= 1, in steps.
        refractory: Steps after a spike in which the membrane is 0.

    Raises:
        ValueError: a size or constant is out of range.

    Reference:
        Zhang and Li, NeurIPS 2019.
    """

    def __init__(
        self,
        kernel_size: int,
        *,
        v_th: float = 2.0,
        tau_mem: float = 64.0,
        tau_syn: float = 8.0,
        refractory: int = 2,
    ) -> None:
        super().__init__()
        if kernel_size < 1:
            raise ValueError(f"kernel_size is {kernel_size}; it must be at least 1.")
        self.kernel_size = kernel_size
        self.v_th = v_th
        self.tau_mem = tau_mem
        self.tau_syn = tau_syn
        self.refractory = refractory
        # no sample: a setting that the rule does not take fails here
        self.window(torch.zeros(1, 0, 1, kernel_size, kernel_size))

    @property
    def settings(self) -> dict[str, Any]:
        """The constants that the rule is called with."""
        return {
            "v_th": self.v_th,
            "tau_mem": self.tau_mem,
            "tau_syn": self.tau_syn,
            "refractory": self.refractory,
        }

    def window(
        self, spikes: Tensor, state: SpikeTrainState | None = None
    ) -> SpikeTrainWindow:
        """Spikes, activity and state at the end of a window of a stream.

        Args:
            spikes: Input spikes, (time, batch, channel, height, width).
            state: Where the window before has ended; None = at rest.

        Returns:
            The window.
        """
        return st_rsbp_pool_window(spikes, self.kernel_size, state, **self.settings)

    def forward(self, spikes: Tensor) -> Tensor:
        """Spikes (time, batch, channel, H, W) to (time, batch, channel, H', W')."""
        return self.window(spikes).spikes

    def extra_repr(self) -> str:
        """Size and constants, for print(network)."""
        return (
            f"{self.kernel_size}, v_th={self.v_th}, tau_mem={self.tau_mem}, "
            f"tau_syn={self.tau_syn}, refractory={self.refractory}"
        )
