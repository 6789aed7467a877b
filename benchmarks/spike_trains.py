"""One TSSL-BP training step against a torch loop and against its bare matmuls.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/spike_trains.py

The network is 784-400-400-10, batch 100, T = 5, one thread, float32. Our step is
forward, kernel loss, backward, clipping and AdamW. Its competitors:

- *bare matmuls*: only the matrix products of the layers, forward and backward, with the
  T steps merged into the batch. No neurons, no loss, no optimiser: a lower bound.
- *torch loop*: the same recursion as our kernel, step by step in torch, as an
  `autograd.Function` per layer; everything else as in ours.
- *torch loop, all pairs*: as the loop, but with the error summed over all pairs of
  steps, which is how the authors' released code computes it.
- *snnTorch Synaptic*: the same shape in a stock loop over time (`nn.Linear` and
  `snn.Synaptic` with a surrogate, autograd through time), for scale.

The neurons alone (forward and backward of the 400 of one layer) are compared with the
loop too: no implementation can be much faster than the matrix products that both share.

Input is an image shown as a constant current, or a spike train. Each round times one
step of both sides in this process; the ratio is taken within the round. The median over
rounds and the spread (10th to 90th percentile) go to results/spike_trains.json, with
time and peak memory of a step for T = 5 to 100 and the exponents of their growth.
"""

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from paired import (
    Pairs,
    Step,
    exponent,
    in_rounds,
    last_line,
    milliseconds,
    peak_of_second_step,
    ratios,
    timed,
)
from torch import Tensor, nn
from torch_loops import TAU_MEM, TAU_SYN, AllPairs, TorchLoop

from snn_temporal_plugins import build_network, kernel_loss, tssl_bp
from snn_temporal_plugins.functional import psp_filter

SIZES = [784, 400, 400, 10]
BATCH = 100
RESULTS = Path(__file__).parent / "results" / "spike_trains.json"
LABELS = torch.randint(0, 10, (BATCH,), generator=torch.Generator().manual_seed(1))
Fire = Callable[[Tensor], Tensor]


def given(coded: str, steps: int) -> Tensor:
    """A batch of images, or of spike trains with a third of all pixels spiking."""
    g = torch.Generator().manual_seed(0)
    if coded == "image":
        return torch.rand(BATCH, SIZES[0], generator=g)
    return (torch.rand(steps, BATCH, SIZES[0], generator=g) < 0.3).float()


def train(network: nn.Module, outputs: Callable[[], Tensor]) -> Step:
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4, fused=True)
    parameters = [*network.parameters()]

    def step() -> None:
        optimizer.zero_grad()
        kernel_loss(outputs(), LABELS).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def network(coded: str, steps: int) -> nn.Sequential:
    torch.manual_seed(0)
    spec = "-".join(map(str, SIZES))
    num_steps = steps if coded == "image" else None
    return build_network(spec, rule="tssl_bp", num_steps=num_steps)


def ours(coded: str, steps: int) -> Step:
    net, x = network(coded, steps), given(coded, steps)
    return train(net, lambda: net(x))


def looped(fire: Fire, coded: str, steps: int) -> Step:
    net, x = network(coded, steps), given(coded, steps)
    weights = [*net.parameters()]

    def outputs() -> Tensor:
        train_in = x.expand(steps, *x.shape) if coded == "image" else x
        psp = psp_filter(train_in, TAU_SYN)
        for weight in weights:
            psp = fire(F.linear(psp, weight))
        return psp

    return train(net, outputs)


def snntorch_loop(coded: str, steps: int) -> Step:
    import snntorch
    from snntorch import surrogate

    x = given(coded, steps)
    net = nn.ModuleList(
        nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(SIZES)
    )
    neurons = [
        snntorch.Synaptic(
            alpha=1 - 1 / TAU_SYN,
            beta=1 - 1 / TAU_MEM,
            spike_grad=surrogate.fast_sigmoid(),
        )
        for _ in net
    ]

    def outputs() -> Tensor:
        states = [neuron.reset_mem() for neuron in neurons]
        trains = []
        for t in range(steps):
            spk = x if coded == "image" else x[t]
            for k, (linear, neuron) in enumerate(zip(net, neurons, strict=True)):
                spk, *state = neuron(linear(spk), *states[k])
                states[k] = tuple(state)
            trains.append(spk)
        return psp_filter(torch.stack(trains), TAU_SYN)

    return train(net, outputs)


def bare(coded: str, steps: int) -> Step:
    torch.manual_seed(0)
    rows = steps * BATCH
    weights = [torch.randn(b, a) for a, b in itertools.pairwise(SIZES)]
    inputs = [torch.rand(rows, a) for a in SIZES[:-1]]
    errors = [torch.rand(rows, b) for b in SIZES[1:]]

    def step() -> None:
        for x, weight in zip(inputs, weights, strict=True):
            torch.mm(x, weight.t())
        for k in reversed(range(len(weights))):
            torch.mm(errors[k].t(), inputs[k])
            if k > 0:  # the input needs no gradient
                torch.mm(errors[k], weights[k])

    return step


COMPETITORS: dict[str, tuple[Callable[[str, int], Step], int]] = {
    "torch loop": (lambda *given: looped(TorchLoop.apply, *given), 30),
    "torch loop, all pairs": (lambda *given: looped(AllPairs.apply, *given), 30),
    "snnTorch Synaptic": (snntorch_loop, 20),
}


def row(pairs: Pairs) -> dict[str, float]:
    """Of pairs (ours, theirs): their time over ours."""
    return {
        **ratios(pairs),
        "ours_ms": milliseconds([ours for ours, _ in pairs]),
        "other_ms": milliseconds([theirs for _, theirs in pairs]),
    }


def compared(name: str, coded: str, steps: int) -> dict[str, object]:
    """A whole step of the competitor over one of ours."""
    make, rounds = COMPETITORS[name]
    pairs = in_rounds(ours(coded, steps), make(coded, steps), rounds=rounds)
    return {"name": name, "input": coded, **row(pairs)}


def above_matmuls(coded: str, steps: int) -> dict[str, object]:
    """Our step over the bare matmuls in it."""
    pairs = in_rounds(bare(coded, steps), ours(coded, steps), rounds=60)
    found = {**row([(ours, mm) for mm, ours in pairs]), **ratios(pairs)}
    return {"name": "bare matmuls", "input": coded, **found}


def neurons_alone(name: str, steps: int) -> dict[str, object]:
    """Forward and backward of one layer's neurons, no synapses."""
    g = torch.Generator().manual_seed(0)
    current = (torch.randn(steps, BATCH, 400, generator=g) * 0.6 + 0.2).requires_grad_()
    error = torch.randn(steps, BATCH, 400, generator=g)
    other = {"torch loop": TorchLoop, "torch loop, all pairs": AllPairs}[name].apply

    def run(fire: Fire) -> Step:
        return lambda: torch.autograd.grad(fire(current), current, error) and None

    pairs = in_rounds(run(tssl_bp), run(other), rounds=60)
    return {"name": f"neurons alone, {name}", "input": "currents", **row(pairs)}


def memory_in_a_process(steps: int) -> float:
    return float(last_line(__file__, "--memory", str(steps)))


def growth() -> dict[str, object]:
    """Time and memory of our step on spike trains, T = 5 to 100."""
    steps = [5, 10, 20, 50, 100]
    made = [ours("spikes", count) for count in steps]
    for step in made:
        step()
    rounds = [[timed(step) for step in made] for _ in range(15)]
    medians = [milliseconds([*times]) for times in zip(*rounds, strict=True)]
    mebibytes = [memory_in_a_process(count) for count in steps]
    return {
        "steps": steps,
        "ms": medians,
        "mib": mebibytes,
        "time_exponent": exponent(steps, medians),
        "memory_exponent": exponent(steps, mebibytes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=5, help="T of the comparisons")
    parser.add_argument("--memory", type=int, help="only print the peak at this T, MiB")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        print(peak_of_second_step(ours("spikes", arguments.memory)))
        return
    rows = []
    for coded in ("image", "spikes"):
        rows.append(above_matmuls(coded, arguments.steps))
        for name in COMPETITORS:
            try:
                rows.append(compared(name, coded, arguments.steps))
            except ImportError as error:
                print(f"{name}: left out, {error}")
    for name in ("torch loop", "torch loop, all pairs"):
        rows.append(neurons_alone(name, arguments.steps))
    for r in rows:
        print(
            f"{r['input']:8} {r['name']:38} {r['ratio']:6.2f}x [{r['p10']:.2f}, "
            f"{r['p90']:.2f}]  ours {r['ours_ms']:.2f} ms, {r['other_ms']:.2f} ms"
        )
    table = {"steps": arguments.steps, "rows": rows, "growth": growth()}
    print(json.dumps(table["growth"], indent=1))
    RESULTS.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
