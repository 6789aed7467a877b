"""What rules from spikes to spikes share: their window, its state, checks, errors."""

import math
from typing import Any, NamedTuple

from torch import Tensor

from snn_temporal_plugins.functional.arguments import require_floating
from snn_temporal_plugins.functional.lif import require_time_constant


class SpikeTrainState(NamedTuple):
    """Where a window has ended; no gradient passes through it.

    Attributes:
        neurons: v, q, steps that it is still refractory, and spikes of the last step,
            each (batch, neurons), stacked.
        last_input: Input spikes of the last step, (batch, ...); they arrive next.
    """

    neurons: Tensor
    last_input: Tensor


class SpikeTrainWindow(NamedTuple):
    """A window of leaky integrate-and-fire neurons with delayed synapses.

    Attributes:
        spikes: 0 or 1, (time, batch, ...).
        activity: Sum of v at the spikes, the T-PSP, (batch, ...); no gradient.
        state: Where the next window goes on.
    """

    spikes: Tensor
    activity: Tensor
    state: SpikeTrainState


def state_or_rest(state: Any, spikes: Tensor, neurons: int) -> SpikeTrainState:
    """The state, if it fits, or that of neurons at rest.

    Args:
        state: Where the window before has ended; None = at rest.
        spikes: Input spikes, (time, batch, ...).
        neurons: Number of neurons.

    Returns:
        The state in which the window begins.

    Raises:
        TypeError: state is something else.
        ValueError: it has another shape, type or device.
    """
    batch, *sample = spikes.shape[1:]
    if state is None:
        return SpikeTrainState(
            spikes.new_zeros(4, batch, neurons), spikes.new_zeros(batch, *sample)
        )
    if not isinstance(state, tuple) or len(state) != 2:
        raise TypeError(
            f"state is {type(state).__name__}; it must be the SpikeTrainState that the "
            "window before has returned, or None to start at rest."
        )
    expected = (4, batch, neurons), (batch, *sample)
    for name, part, shape in zip(SpikeTrainState._fields, state, expected, strict=True):
        require_floating(f"state.{name}", part)
        found = tuple(part.shape), part.dtype, part.device
        if found != (shape, spikes.dtype, spikes.device):
            raise ValueError(
                f"state.{name} is {part.dtype} of shape {tuple(part.shape)} on "
                f"{part.device}; expected {spikes.dtype} of shape {shape} on "
                f"{spikes.device}. Pass the state that the window before has returned, "
                "or None to start at rest."
            )
    return SpikeTrainState(*state)


def require_neuron(
    v_th: float, tau_mem: float, tau_syn: float, refractory: int
) -> None:
    """Raise unless a neuron can have these constants.

    Args:
        v_th: Threshold.
        tau_mem: Membrane time constant, in steps.
        tau_syn: Synaptic time constant, in steps.
        refractory: Steps after a spike in which the membrane is 0.

    Raises:
        ValueError: v_th is not above 1e-6, a time constant below 1, or refractory no
            whole number from 0 on.
    """
    require_time_constant("tau_mem", tau_mem)
    require_time_constant("tau_syn", tau_syn)
    require_settings(
        ("v_th", v_th, 1e-6 < v_th < math.inf, "above 1e-6 and finite"),
        ("refractory", refractory, whole(refractory, 0), "0 or more whole steps"),
    )


def require_settings(*limits: tuple[str, Any, bool, str]) -> None:
    """Raise for the first setting that is out of its limits.

    Args:
        limits: For each setting its name, its value, whether it is good, and what is
            allowed.

    Raises:
        ValueError: one is not good.
    """
    for name, value, good, allowed in limits:
        if not good:
            raise ValueError(f"{name} is {value!r}; it must be {allowed}.")


def whole(value: Any, least: int) -> bool:
    """Whether a value is a whole number, at least so large."""
    return isinstance(value, int) and value >= least


def error_of_counts(grad: Tensor) -> Tensor:
    """Gradient with respect to spike counts: that of the spikes, averaged over time.

    Args:
        grad: Gradient of the spikes, (time, batch, ...).

    Returns:
        (batch, ...).
    """
    # that of a sum over time comes as one step, expanded
    return grad[0] if grad.stride(0) == 0 else grad.mean(0)


def spike_counts(spikes: Tensor) -> Tensor:
    """Spikes in the window: a matrix product, which is faster than a sum over time.

    Args:
        spikes: 0 or 1, (time, batch, ...).

    Returns:
        Counts, (batch, ...).
    """
    one = spikes.new_ones(1, len(spikes))
    return (one @ spikes.flatten(1)).view(spikes.shape[1:])
