"""The training steps that `step.py` and `scaling.py` time: ours and what else there is.

A maker takes the sizes of the layers and a batch of intensities, and returns a step:
encoding, forward, loss, backward and AdamW. Weights are drawn as each package draws
them. Networks over T steps get spike trains (an intensity is the probability of a spike
in a step) and the cross-entropy of the spike counts; what they cost depends on the
sizes alone, not on the spikes.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from paired import Step
from torch import Tensor, nn

from snn_temporal_plugins import build_network, latency_encode, ttfs_cross_entropy

Maker = Callable[[list[int], Tensor], Step]


class Peer(NamedTuple):
    """One row of the table.

    Args:
        make: builds the step.
        rounds: how often it is timed.
        model: the neuron, and what time is to it.
    """

    make: Maker
    rounds: int
    model: str


def intensities(batch: int, inputs: int = 784) -> Tensor:
    """8-bit intensities, all above 0, so that every input spikes."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (batch, inputs), generator=generator) / 255


def labels(x: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 10, (len(x),), generator=generator)


def train(network: nn.Module, loss: Callable[[], Tensor], lr: float = 1e-3) -> Step:
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=lr, weight_decay=0.0, fused=True
    )

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def linears(sizes: list[int]) -> Iterator[nn.Linear]:
    return (nn.Linear(*shape) for shape in itertools.pairwise(sizes))


def relu(sizes: list[int], x: Tensor) -> Step:
    layers = [part for linear in linears(sizes) for part in (linear, nn.ReLU())]
    network, label = nn.Sequential(*layers[:-1]), labels(x)
    return train(network, lambda: F.cross_entropy(network(x), label))


def ours(sizes: list[int], x: Tensor) -> Step:
    network, label = build_network("-".join(map(str, sizes))), labels(x)
    return train(network, lambda: ttfs_cross_entropy(network(latency_encode(x)), label))


def matmuls(sizes: list[int], x: Tensor) -> Step:
    """The matrix products of forward and backward; the input needs no gradient."""
    weights = [torch.randn(b, a) for a, b in itertools.pairwise(sizes)]
    values = [torch.rand(len(x), size) for size in sizes]

    def step() -> None:
        for value, weight in zip(values[:-1], weights, strict=True):
            torch.mm(value, weight.t())
        for k, weight in enumerate(weights):
            torch.mm(values[k + 1].t(), values[k])
            if k > 0:
                torch.mm(values[k + 1], weight)

    return step


def gathered(spike_time: Tensor, weight: Tensor, v_th: float, t_max: float) -> Tensor:
    """The same crossing as sort, cumulative sums and gather, all in torch autograd."""
    t, order = spike_time.sort(1)
    silent = t == math.inf
    t0 = t.masked_fill(silent, 0)
    w = weight.t()[order].masked_fill(silent[:, :, None], 0)  # (batch, in, out)
    slope = w.cumsum(1)
    moment = (w * t0[:, :, None]).cumsum(1)
    after = torch.cat([t[:, 1:], t.new_full((len(t), 1), math.inf)], 1)[:, :, None]
    last = after == math.inf
    v = slope * after.masked_fill(last, 0) - moment
    v = torch.where(last, torch.where(slope > 0, math.inf, -math.inf), v)
    reached, index = (v >= v_th).max(1)
    a = slope.gather(1, index[:, None])[:, 0]
    b = moment.gather(1, index[:, None])[:, 0]
    post = (v_th + b) / torch.where(reached, a, 1)
    return torch.where(reached & (post <= t_max), post, math.inf)


def sorted_gather(sizes: list[int], x: Tensor) -> Step:
    network, label = build_network("-".join(map(str, sizes))), labels(x)

    def loss() -> Tensor:
        t = latency_encode(x)
        for layer in network:
            t = gathered(t, layer.weight, 1.0, 2.0)
        return ttfs_cross_entropy(t, label)

    return train(network, loss)


def spikingjelly_srm(sizes: list[int], x: Tensor) -> Step:
    from spikingjelly.timing_based.neuron import SRM

    network, label = nn.Sequential(), labels(x)
    for layer in build_network("-".join(map(str, sizes))):
        srm = SRM(layer.in_features, layer.out_features, duration=2.0, max_spikes=512)
        srm.weight = layer.weight
        network.append(srm)

    def loss() -> Tensor:
        t = latency_encode(x)
        sample, index = (t < math.inf).nonzero(as_tuple=True)
        events = t[sample, index]
        offsets = torch.searchsorted(sample, torch.arange(len(x) + 1))
        for layer in network:
            events, index, offsets = layer(events, index, offsets)
        # many spikes per neuron: the first of each output decides
        sample = torch.repeat_interleave(torch.arange(len(x)), offsets.diff())
        place = sample * sizes[-1] + index
        first = torch.full((len(x) * sizes[-1],), math.inf)
        first = first.scatter_reduce(0, place, events, "amin")
        return ttfs_cross_entropy(first.reshape(len(x), -1), label)

    return train(network, loss)


def spike_trains(x: Tensor, steps: int) -> Tensor:
    """0 and 1, time first."""
    return x.expand(steps, *x.shape).bernoulli()


def snntorch_leaky(steps: int) -> Maker:
    def make(sizes: list[int], x: Tensor) -> Step:
        import snntorch

        network, label = nn.ModuleList(linears(sizes)), labels(x)
        neurons = [snntorch.Leaky(beta=0.95) for _ in network]

        def loss() -> Tensor:
            v = [neuron.reset_mem() for neuron in neurons]
            count = torch.zeros(())
            for spikes in spike_trains(x, steps):
                for k, (linear, neuron) in enumerate(
                    zip(network, neurons, strict=True)
                ):
                    spikes, v[k] = neuron(linear(spikes), v[k])
                count = count + spikes
            return F.cross_entropy(count, label)

        return train(network, loss)

    return make


def norse_lif(steps: int) -> Maker:
    def make(sizes: list[int], x: Tensor) -> Step:
        import norse.torch as norse

        layers = [part for each in linears(sizes) for part in (each, norse.LIFCell())]
        network, label = norse.SequentialState(*layers), labels(x)

        def loss() -> Tensor:
            state, count = None, torch.zeros(())
            for spikes in spike_trains(x, steps):
                out, state = network(spikes, state)
                count = count + out
            return F.cross_entropy(count, label)

        return train(network, loss)

    return make


def spikingjelly_lif(steps: int) -> Maker:
    def make(sizes: list[int], x: Tensor) -> Step:
        from spikingjelly.activation_based import functional, neuron

        layers = [part for each in linears(sizes) for part in (each, neuron.LIFNode())]
        network, label = nn.Sequential(*layers), labels(x)
        functional.set_step_mode(network, "m")

        def loss() -> Tensor:
            functional.reset_net(network)
            return F.cross_entropy(network(spike_trains(x, steps)).sum(0), label)

        return train(network, loss)

    return make


def exact_snn(layer: str) -> Maker:
    """exact-snn-nn: time goes to 40, and neurons stand before samples."""

    def make(sizes: list[int], x: Tensor) -> Step:
        from exact_snn import ExactTTFSLinear, latency_cross_entropy
        from exact_snn import latency_encode as encode
        from exact_snn.event import ExactEventLinear

        kinds = {"grid": ExactTTFSLinear, "event": ExactEventLinear}
        layers = [kinds[layer](*shape) for shape in itertools.pairwise(sizes)]
        network, label = nn.Sequential(*layers), labels(x)
        return train(
            network,
            lambda: latency_cross_entropy(network(encode(x.t())), label, t_max=40.0),
        )

    return make


def exact_event_adjoint(sizes: list[int], x: Tensor) -> Step:
    from exact_event_adjoint import ExactAdjointLinear, latency_cross_entropy
    from exact_event_adjoint import latency_encode as encode

    layers = [ExactAdjointLinear(*shape) for shape in itertools.pairwise(sizes)]
    network, label = nn.Sequential(*layers), labels(x)
    return train(network, lambda: latency_cross_entropy(network(encode(x)), label))


PEERS = {
    "ReLU MLP": Peer(relu, 60, "none"),
    "ours": Peer(ours, 60, "ReL-PSP, exact"),
    "bare matrix products": Peer(matmuls, 60, "none: a lower bound"),
    "snnTorch Leaky, T = 16": Peer(snntorch_leaky(16), 15, "LIF in steps, surrogate"),
    "snnTorch Leaky, T = 100": Peer(snntorch_leaky(100), 7, "LIF in steps, surrogate"),
    "Norse LIFCell, T = 16": Peer(norse_lif(16), 15, "LIF in steps, surrogate"),
    "Norse LIFCell, T = 100": Peer(norse_lif(100), 7, "LIF in steps, surrogate"),
    "SpikingJelly LIFNode, T = 16": Peer(
        spikingjelly_lif(16), 15, "LIF in steps, surrogate"
    ),
    "SpikingJelly LIFNode, T = 100": Peer(
        spikingjelly_lif(100), 7, "LIF in steps, surrogate"
    ),
    "torch, sorted and gathered": Peer(sorted_gather, 3, "ReL-PSP, exact"),
    "SpikingJelly SRM": Peer(spikingjelly_srm, 3, "ReL-PSP, exact, spikes many times"),
    "exact-snn-nn, grid": Peer(exact_snn("grid"), 1, "two exponentials, on a grid"),
    "exact-snn-nn, events": Peer(exact_snn("event"), 1, "two exponentials, exact"),
    "exact-event-adjoint": Peer(exact_event_adjoint, 1, "two exponentials, exact"),
}
