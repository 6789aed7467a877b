"""Count the spikes that were recorded, batch after batch, and give the means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from snn_temporal_plugins.functional import decision_time
from snn_temporal_plugins.training.additions import LayerInput, additions_of
from snn_temporal_plugins.training.recording import SpikeTrains

T = TypeVar("T")
Total = Callable[[float | Tensor], Tensor]


class SpikeTimeCount:
    """Counts first spikes: who has one, when the network decides, what that costs.

    Args:
        entered: What enters the layers, renewed before each `add`; None: not known.
    """

    def __init__(self, entered: list[LayerInput] | None = None) -> None:
        self.samples = 0
        self.spikes: dict[str, Tensor] = {}  # how often each neuron fired
        self._decided = 0  # samples with an output spike, and the sum of its times
        self._decision_time = 0.0
        self._entered = entered
        self._additions = {"additions": 0, "additions_to_decision": 0}

    def add(self, times: Mapping[str, Tensor]) -> None:
        """Count one batch, as `record_spike_times` gives it."""
        first = decision_time(times["output"])
        decided = first[first < math.inf]
        self.samples += len(first)
        self._decided += len(decided)
        self._decision_time += float(decided.sum())
        for name, value in _layers(times):
            count = (value < math.inf).sum(0)
            self.spikes[name] = self.spikes.get(name, 0) + count
        if self._entered is not None:
            self._additions["additions"] += additions_of(self._entered)
            to_decision = additions_of(self._entered, until=first)
            self._additions["additions_to_decision"] += to_decision

    def means(self, total: Total) -> dict[str, Tensor]:
        """Return the means by name; `total` sums a count over ranks."""
        samples = total(self.samples)
        spikes = {name: total(count) for name, count in self.spikes.items()}
        means: dict[str, Tensor] = {}
        for name, count in spikes.items():
            means[f"spikes/{name}"] = count.sum() / (samples * count.numel())
            means[f"silent/{name}"] = 1 - means[f"spikes/{name}"]
            means[f"dead/{name}"] = _share_of_zeros(count)
        if spikes:
            means["spikes"] = _overall(spikes, samples)
        decided, time = total(self._decided), total(self._decision_time)
        if decided:
            means["decision_time"] = time / decided
        if self._entered is not None:
            for name, number in self._additions.items():
                means[name] = total(number) / samples
        return means


class SpikeTrainCount:
    """Counts spike trains: the firing rates, and where the surrogate is used.

    Args:
        surrogate: Whether the rule has a surrogate, as TSSL-BP.
    """

    def __init__(self, surrogate: bool = True) -> None:
        self._surrogate = surrogate
        self.steps = 0  # of all samples
        self.spikes: dict[str, Tensor] = {}  # how often each neuron fired
        self._low: dict[str, Tensor] = {}  # PSPs below the limit of the surrogate

    def add(self, trains: Mapping[str, SpikeTrains]) -> None:
        """Count one batch, as `record_spike_trains` gives it."""
        self.steps += math.prod(trains["output"].psp.shape[:2])
        for name, train in _layers(trains):
            count = (train.spikes > 0).sum((0, 1))
            self.spikes[name] = self.spikes.get(name, 0) + count
            if self._surrogate:
                low = (train.psp < 1 / (4 * train.tau_syn)).sum()
                self._low[name] = self._low.get(name, 0) + low

    def rates(self) -> dict[str, Tensor]:
        """Return the spikes per step of each neuron of this rank, by layer."""
        return {name: count / self.steps for name, count in self.spikes.items()}

    def means(self, total: Total) -> dict[str, Tensor]:
        """Return the means by name; `total` sums a count over ranks."""
        steps = total(self.steps)
        spikes = {name: total(count) for name, count in self.spikes.items()}
        means: dict[str, Tensor] = {}
        for name, count in spikes.items():
            elements = steps * count.numel()
            means[f"rate/{name}"] = count.sum() / elements
            means[f"dead/{name}"] = _share_of_zeros(count)
            if self._surrogate:
                means[f"surrogate/{name}"] = total(self._low[name]) / elements
        if spikes:
            means["rate"] = _overall(spikes, steps)
        return means


def _layers(seen: Mapping[str, T]) -> Iterator[tuple[str, T]]:
    return ((name, value) for name, value in seen.items() if name.startswith("layer"))


def _share_of_zeros(count: Tensor) -> Tensor:
    return (count == 0).float().mean()


def _overall(spikes: Mapping[str, Tensor], times: Tensor) -> Tensor:
    count = torch.cat([count.flatten() for count in spikes.values()])
    return count.sum() / (times * count.numel())
