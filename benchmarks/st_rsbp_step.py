"""One ST-RSBP training step against a surrogate-gradient loop over time.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/st_rsbp_step.py --root DIR

The network is 784-400-R400-10, batch 32, T = 400; float32, one thread. A step is
forward, loss, backward and Adam on Fashion-MNIST images that are already spike trains.
Without --root the files are found as always.

*snnTorch* is the same shape in a stock loop: `nn.Linear` with `Synaptic`, all-to-all
`RSynaptic`, the same time constants and weights (in thresholds, so that about as many
neurons spike), a surrogate, autograd through time, cross-entropy of the spike counts.

The cost of that loop depends on sizes alone, ours on the spikes; so the comparison is
repeated with weights that were trained for 100 batches. One layer of 784-400 shows it
by itself: its ops are timed at several input rates, beside a dense formulation of the
same sums (one matrix product for all steps, traces and survival step by step in torch,
two products). Both give the same results, which is checked first, in float64.

Each round times one step of both sides in this process, CPU seconds of the thread; the
ratio is taken within the round. Memory is how far the peak of the resident set of a
process of its own rises in a second step, without inputs, weights and what was
imported. Time and memory of our step are also taken at T = 100 to 800. Result:
results/st_rsbp_step.json.
"""

import argparse
import copy
import json
import statistics
from pathlib import Path

import torch
import torch.nn.functional as F
from paired import (
    Step,
    in_rounds,
    last_line,
    milliseconds,
    peak_of_second_step,
    ratios,
    timed,
)
from torch import Tensor, nn

from snn_temporal_plugins import build_network
from snn_temporal_plugins.functional import rate_encode, spike_count_loss
from snn_temporal_plugins.kernels import (
    effect_gradient,
    spike_train_window,
    survival,
    trace,
)
from snn_temporal_plugins.training import FashionMNIST

SPEC, SIZES = "784-400-R400-10", (784, 400, 400, 10)
BATCH, T = 32, 400
V_TH, TAU_MEM, TAU_SYN, REFRACTORY = 20.0, 64.0, 8.0, 2
CONSTANTS = TAU_MEM, TAU_SYN, REFRACTORY
LEARNING_RATE, TRAINING_BATCHES = 5e-3, 100
RATES = 0.0, 0.01, 0.05, 0.2
GROWTH = 100, 200, 400, 800
RESULTS = Path(__file__).parent / "results" / "st_rsbp_step.json"
Batch = tuple[Tensor, Tensor]


def spike_trains(x: Tensor, label: Tensor, steps: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return rate_encode(x, steps, generator=generator), label


def first_batch(data: FashionMNIST, steps: int) -> Batch:
    test = data.splits.test
    x = test.x[:BATCH].flatten(1).float() / 255
    return spike_trains(x, test.label[:BATCH], steps, seed=0)


def initial() -> nn.Sequential:
    torch.manual_seed(0)
    return build_network(SPEC, rule="st_rsbp", v_th=(V_TH, V_TH, 15.0))


def trained(data: FashionMNIST) -> nn.Sequential:
    network = initial()
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    for k, (x, label) in enumerate(data.train_dataloader()):
        if k == TRAINING_BATCHES:
            break
        run(network, optimizer, spike_trains(x, label, T, seed=k))
    return network


def run(network: nn.Sequential, optimizer: torch.optim.Adam, batch: Batch) -> None:
    """One of our steps."""
    optimizer.zero_grad()
    spikes, label = batch
    spike_count_loss(network[-1](network[:-1](spikes), label), label).backward()
    optimizer.step()


def ours(network: nn.Sequential, batch: Batch) -> Step:
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    return lambda: run(network, optimizer, batch)


class Loop(nn.Module):
    """The same network in snnTorch."""

    def __init__(self, network: nn.Sequential) -> None:
        """Take the weights, in thresholds."""
        from snntorch import RSynaptic, Synaptic, surrogate

        super().__init__()
        same = {
            "alpha": 1 - 1 / TAU_SYN,
            "beta": 1 - 1 / TAU_MEM,
            "spike_grad": surrogate.fast_sigmoid(),
            "reset_mechanism": "zero",
        }
        recurrent = network[1]
        self.synapses = nn.ModuleList()
        self.neurons = nn.ModuleList(
            [Synaptic(**same), RSynaptic(linear_features=400, **same), Synaptic(**same)]
        )
        for layer in network:
            synapse = nn.Linear(layer.in_features, layer.out_features, bias=False)
            self.synapses.append(synapse)
            give(synapse, layer.weight, layer.v_th)
        give(self.neurons[1].recurrent, recurrent.recurrent_weight, recurrent.v_th)
        nn.init.zeros_(self.neurons[1].recurrent.bias)

    def forward(self, spikes: Tensor) -> Tensor:
        """Spike trains to spike counts of the outputs."""
        first, second, out = (neuron.reset_mem() for neuron in self.neurons)
        count = 0
        for x in spikes:
            own, *first = self.neurons[0](self.synapses[0](x), *first)
            second = self.neurons[1](self.synapses[1](own), *second)
            own, *out = self.neurons[2](self.synapses[2](second[0]), *out)
            count = count + own
        return count


def give(synapse: nn.Linear, weight: Tensor, v_th: float) -> None:
    with torch.no_grad():
        synapse.weight.copy_(weight / (v_th * TAU_SYN))


def looped(network: nn.Sequential, batch: Batch) -> Step:
    loop = Loop(network)
    optimizer = torch.optim.Adam(loop.parameters(), LEARNING_RATE / (V_TH * TAU_SYN))

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(loop(batch[0]), batch[1]).backward()
        optimizer.step()

    return step


STEPS = {"ours": ours, "snnTorch": looped}


def compared(kind: str, network: nn.Sequential, batch: Batch, rounds: int) -> dict:
    """A step of snnTorch over one of ours, and how often neurons spike in both."""
    spikes, rates = batch[0], {"input": batch[0].mean().item()}
    with torch.no_grad():
        for k, layer in enumerate(network):
            spikes = layer(spikes)
            rates[f"layer {k + 1}"] = spikes.mean().item()
        theirs = Loop(network)(batch[0]).mean().item() / T
    learning = [make(copy.deepcopy(network), batch) for make in STEPS.values()]
    pairs = in_rounds(*learning, rounds=rounds)
    return {
        "weights": kind,
        **ratios(pairs),
        "ours_ms": milliseconds([mine for mine, _ in pairs]),
        "snntorch_ms": milliseconds([loop for _, loop in pairs]),
        "rates": rates,
        "snntorch_output_rate": theirs,
    }


def dense_window(x: Tensor, weight: Tensor, state: Tensor) -> Tensor:
    """Spikes, the synapses of all steps as one matrix product."""
    current = F.linear(x, weight)
    none = x.new_empty(0, 0)
    rest = torch.zeros_like(current[0])
    return spike_train_window(current, rest, none, none, state, V_TH, *CONSTANTS)[0]


def dense_gradient(x, spikes, weight, error, passed) -> Batch:
    """The sums of `effect_gradient` as two matrix products over all steps."""
    p, m = trace(x, TAU_SYN), survival(spikes, TAU_MEM, REFRACTORY) / TAU_SYN
    grad = (m * error).flatten(0, 1).t() @ p.flatten(0, 1)
    count_in, quiet = x.sum(0), spikes.sum(0) == 0
    through = (((m * passed).flatten(0, 1) @ weight).view_as(p) * p).sum(0)
    active = through / count_in.clamp(min=1) + 0.5 * (passed * quiet) @ weight
    return torch.where(count_in > 0, active, 0.5 * passed @ weight), grad


def one_layer(rate: float, dtype: torch.dtype) -> dict[str, Step]:
    """Forward and backward of a layer at this input rate, ours and dense."""
    g = torch.Generator().manual_seed(0)
    x = (torch.rand(T, BATCH, SIZES[0], generator=g) < rate).to(dtype)
    weight = (2 * torch.rand(SIZES[1], SIZES[0], generator=g) - 1).to(dtype)
    error = torch.randn(BATCH, SIZES[1], generator=g).to(dtype)
    state, last = x.new_zeros(4, BATCH, SIZES[1]), torch.zeros_like(x[0])
    none = x.new_empty(0, 0)
    given = weight, none, state, V_TH, *CONSTANTS
    spikes = spike_train_window(x, last, *given)[0]
    sums = x, spikes, weight, error, error
    made = {
        "forward": lambda: spike_train_window(x, last, *given)[0],
        "dense_forward": lambda: dense_window(x, weight, state),
        "backward": lambda: effect_gradient(*sums, *CONSTANTS, True),
        "dense_backward": lambda: dense_gradient(*sums),
    }
    if dtype == torch.float64:
        for name in ("forward", "backward"):
            torch.testing.assert_close(made[name](), made[f"dense_{name}"]())
    return made


def events(rounds: int) -> list[dict[str, float]]:
    """Time of one layer against its input rate."""
    rows = []
    for rate in RATES:
        one_layer(rate, torch.float64)  # proves that they agree
        made = one_layer(rate, torch.float32)
        row = {"rate": rate}
        for name in ("forward", "backward"):
            pairs = in_rounds(made[name], made[f"dense_{name}"], rounds=rounds)
            row[f"{name}_ms"] = milliseconds([ours for ours, _ in pairs])
            row[f"dense_{name}_ms"] = milliseconds([dense for _, dense in pairs])
        rows.append(row)
        print(", ".join(f"{name} {value:.3g}" for name, value in row.items()))
    return rows


def memory_in_a_process(name: str, steps: int, root: str | None) -> float:
    folder = ["--root", root] if root else []
    return float(last_line(__file__, "--memory", name, "--steps", str(steps), *folder))


def line(name: str, values: list[float]) -> dict[str, float]:
    """Least squares: what a step costs at T = 0, and what each tick adds."""
    fit = statistics.linear_regression(GROWTH, values)
    return {
        f"{name}_fixed": fit.intercept,
        f"{name}_per_tick": fit.slope,
        f"{name}_correlation": statistics.correlation(GROWTH, values),
    }


def growth(data: FashionMNIST, root: str | None, rounds: int) -> dict[str, object]:
    """Time and memory of our step against T."""
    made = [ours(initial(), first_batch(data, steps)) for steps in GROWTH]
    for step in made:
        step()
    times = [[timed(step) for step in made] for _ in range(rounds)]
    medians = [milliseconds([*column]) for column in zip(*times, strict=True)]
    mebibytes = [memory_in_a_process("ours", steps, root) for steps in GROWTH]
    neurons = BATCH * sum(SIZES)
    return {
        "steps": GROWTH,
        "ms": medians,
        "mib": mebibytes,
        "floats_per_neuron_step_and_sample": [
            2**20 / 4 * size / (neurons * steps)
            for size, steps in zip(mebibytes, GROWTH, strict=True)
        ],
        **line("ms", medians),
        **line("mib", mebibytes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", help="folder of Fashion-MNIST")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", choices=[*STEPS], help="only this peak")
    parser.add_argument("--steps", type=int, default=T, help="with --memory")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = FashionMNIST(root=arguments.root, batch_size=BATCH)
    if arguments.memory:
        batch = first_batch(data, arguments.steps)
        print(peak_of_second_step(STEPS[arguments.memory](initial(), batch)))
        return
    mebibytes = {
        f"{name.lower()}_mib": memory_in_a_process(name, T, arguments.root)
        for name in STEPS
    }
    rows = []
    for kind, make in (
        ("initial", initial),
        (f"after {TRAINING_BATCHES} batches", lambda: trained(data)),
    ):
        row = compared(kind, make(), first_batch(data, T), arguments.rounds)
        rows.append(row)
        print(json.dumps(row))
    memory = {
        **mebibytes,
        "memory_ratio": mebibytes["snntorch_mib"] / mebibytes["ours_mib"],
    }
    table = {
        "network": SPEC,
        "batch": BATCH,
        "steps": T,
        "rounds": arguments.rounds,
        "rows": rows,
        **memory,
        "growth": growth(data, arguments.root, arguments.rounds),
        "layer": events(arguments.rounds),
    }
    print(json.dumps(memory), json.dumps(table["growth"], indent=1))
    RESULTS.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
