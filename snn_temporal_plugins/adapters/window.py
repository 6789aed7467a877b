"""Window form shared by the hosts: whole spike trains in, whole spike trains out.

A train (time, batch, ...) becomes first-spike times in ticks, a layer of
`snn_temporal_plugins.neurons` computes the output times, and each output spike stands
at its time, for ReL-PSP rounded up to the next tick. Whole ticks stay exact, so the
spikes are those of the step form.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from snn_temporal_plugins import neurons
from snn_temporal_plugins.functional.coding import times_to_train, train_to_times


class SpikeTimes(NamedTuple):
    """What a window layer knows after its window.

    Attributes:
        spike_times: (batch, ...), spike times in ticks, `inf` where silent; those of
            ReL-PSP are the exact crossings, before they are rounded up to the grid of
            the train.
    """

    spike_times: Tensor


class WindowLayer(nn.Module, ABC):
    """A layer of neurons that spike at most once, on spike trains.

    Attributes:
        core: the layer on spike times; it holds `weight` and `v_th`.
    """

    core: (
        neurons.ReLPSPLinear
        | neurons.ReLPSPConv2d
        | neurons.IFLinear
        | neurons.IFConv2d
    )

    @property
    def weight(self) -> Tensor:
        """Synaptic weights, (out, in) or (out, in, k, k)."""
        return self.core.weight

    def run_window(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """Compute a whole window.

        Args:
            spikes: (time, batch, ...), 0/1; only each input's first spike acts.

        Returns:
            spikes (time, batch, ...) in the dtype of the input, and spike times
            (batch, ...) in ticks, `inf` where silent within the window.
        """
        num_steps = spikes.shape[0]
        times = self.spike_times_of(train_to_times(spikes), num_steps)
        return times_to_train(times, num_steps), times

    @abstractmethod
    def spike_times_of(self, pre_spike_time: Tensor, num_steps: int) -> Tensor:
        """Output times of input times in ticks, `inf` from `num_steps` on."""


class ReLPSPWindow(WindowLayer):
    """A ReL-PSP layer on spike trains.

    Args:
        core: the layer on spike times.
        dt: length of a tick in the unit of time of the threshold.
    """

    core: neurons.ReLPSPLinear | neurons.ReLPSPConv2d

    def __init__(
        self, core: neurons.ReLPSPLinear | neurons.ReLPSPConv2d, dt: float
    ) -> None:
        if not dt > 0:
            raise ValueError(f"dt={dt!r}: a tick must last longer than 0, e.g. dt=0.01")
        super().__init__()
        self.core = core
        self.dt = dt

    @property
    def v_th(self) -> Tensor:
        """Thresholds, (out,), in the unit in which `dt` counts time."""
        return self.core.v_th

    def extra_repr(self) -> str:
        """Show the length of a tick."""
        return f"dt={self.dt}"

    def spike_times_of(self, pre_spike_time: Tensor, num_steps: int) -> Tensor:
        """Exact crossings of the threshold v_th/dt, in ticks."""
        v_th = {"v_th": self.core.v_th / self.dt}
        times = functional_call(self.core, v_th, (pre_spike_time,))
        return torch.where(times > num_steps - 1, float("inf"), times)


class IFWindow(WindowLayer):
    """An integrate-and-fire layer on spike trains; T of the core is the train's length.

    Args:
        core: the layer on ticks.
    """

    core: neurons.IFLinear | neurons.IFConv2d

    def __init__(self, core: neurons.IFLinear | neurons.IFConv2d) -> None:
        super().__init__()
        self.core = core

    @property
    def v_th(self) -> float:
        """Threshold, in the unit of the weights."""
        return self.core.v_th

    def spike_times_of(self, pre_spike_time: Tensor, num_steps: int) -> Tensor:
        """Ticks of the spikes; a gradient passes silent ones too, as SSTDP wants."""
        self.core.num_steps = num_steps
        return self.core(pre_spike_time)


class EarliestSpikePool2d(neurons.EarliestSpikePool2d):
    """Pooling on spike trains: the earliest spike of each patch passes, once.

    Args:
        kernel_size: side of the patch.
        stride: step between patches; None: `kernel_size`.
        padding: silent rows and columns on each side.
    """

    def forward(self, spikes: Tensor) -> Tensor:
        """Pool a whole window.

        Args:
            spikes: (time, batch, channel, height, width), 0/1.

        Returns:
            spikes (time, batch, channel, height', width'), at most one per site.
        """
        times = super().forward(train_to_times(spikes))
        return times_to_train(times, spikes.shape[0])
