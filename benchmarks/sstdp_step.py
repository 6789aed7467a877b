"""One SSTDP training step against the released formulation of the same step.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/sstdp_step.py --root FOLDER

The network is 784-400-10 with the settings of the released training script: batch 64,
T = 255, threshold 100, targets relative to the first spike, SGD with rate 10. A step is
forward, loss, backward and SGD on MNIST images that are already spike times; float32,
one thread. Without --root the files are found as always.

*Dense loop* is written anew in plain torch from the equations: per layer and tick a
matrix product with the one-hot slice of the spikes, and masks of batch x outputs x
inputs in the backward. It is kinder than the released code, which also computes the
gradient of the input images. Both give the same spike times, exactly, and the same
gradients (rtol 2e-5): this is checked before anything is timed, with weights rounded to
1/64, so that no sum depends on its order.

The cost of the dense loop depends on sizes alone, ours on the spikes. With the initial
weights of the released code every neuron fires within a few ticks, which spares us
work; so the comparison is repeated with weights that were trained for one epoch.

Each round times one step of both sides in this process, CPU seconds of the thread; the
ratio is taken within the round. Memory is how far the peak of the resident set of a
process of its own rises in a second step: all buffers, those of Numba too, without
images, weights and what was imported. Result: results/sstdp_step.json.
"""

import argparse
import json
import math
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
)
from torch import Tensor, nn

from snn_temporal_plugins import (
    IFLinear,
    first_target,
    latency_ticks,
    squared_time_loss,
)
from snn_temporal_plugins.training import MNIST

RESULTS = Path(__file__).parent / "results" / "sstdp_step.json"
T, V_TH, GAP, A, B = 255, 100.0, 5.0, 1.0, 0.0
SGD = {"lr": 10.0, "weight_decay": 1e-5}
SHAPES = [(400, 64), (400, 256), (1000, 64)]  # hidden neurons, batch
Batch = tuple[Tensor, Tensor]


class DenseLoop(torch.autograd.Function):
    """Integrate-and-fire neurons tick by tick; silent = T."""

    @staticmethod
    def forward(ctx, spike_time: Tensor, weight: Tensor) -> Tensor:
        """Spike times (batch, in) to spike times (batch, out)."""
        v = spike_time.new_zeros(len(spike_time), len(weight))
        fired = torch.zeros_like(v, dtype=torch.bool)
        post = torch.full_like(v, T)
        for k in range(T - 2):  # the last two ticks are not simulated
            v += F.linear((spike_time == k).to(v.dtype), weight)
            fires = (v > V_TH) & ~fired
            post[fires] = k
            fired |= fires
        ctx.save_for_backward(spike_time, weight, post)
        return post

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor]:
        """Normalise the error of each sample, and send it back through the window."""
        spike_time, weight, post = ctx.saved_tensors
        grad = grad / (grad.norm(dim=1, keepdim=True) + 1e-10)
        before = spike_time[:, None, :]
        causal = (before <= post[:, :, None]) & (before < T)
        window = torch.where(causal, A, -B)
        grad_weight = -(grad[:, :, None] * window).mean(0)
        if not ctx.needs_input_grad[0]:
            return None, grad_weight
        share = causal.to(weight.dtype)
        return torch.einsum("bo,boi,oi->bi", grad, share, weight), grad_weight


def dense_loss(post: Tensor, label: Tensor) -> Tensor:
    """Mean squared distance from the targets, written for silent = T."""
    first = post.amin(1, keepdim=True)
    first = torch.where(first == T, T - GAP, first)
    late = torch.maximum(post, first + GAP).clamp(max=T)
    target = torch.where(F.one_hot(label, post.shape[1]).bool(), first, late)
    return F.mse_loss(post, target.detach())


def dense(weights: list[nn.Parameter], batch: Batch) -> list[Tensor]:
    """Spike times of all layers in the dense formulation; inf, like ours, is silent."""
    times = [batch[0]]
    for weight in weights:
        times.append(DenseLoop.apply(times[-1], weight))
    dense_loss(times[-1], batch[1]).backward()
    return [torch.where(time < T, time, math.inf) for time in times[1:]]


def ours(layers: list[IFLinear], batch: Batch) -> list[Tensor]:
    """Spike times of all layers of our network."""
    times = [batch[0]]
    for layer in layers:
        times.append(layer(times[-1]))
    target = first_target(times[-1], batch[1], t_max=T, gap=GAP)
    squared_time_loss(times[-1], target, t_max=T).backward()
    return times[1:]


def network(weights: list[Tensor]) -> list[IFLinear]:
    layers = []
    for weight in weights:
        outputs, inputs = weight.shape
        layer = IFLinear(
            inputs, outputs, num_steps=T, v_th=V_TH, a=A, b=B, compat="released"
        )
        with torch.no_grad():
            layer.weight.copy_(weight)
        layers.append(layer)
    return layers


def parameters(weights: list[Tensor]) -> list[nn.Parameter]:
    return [nn.Parameter(weight.clone()) for weight in weights]


def rounded(weight: Tensor) -> Tensor:
    """Multiples of 1/64: potentials are then exact in float32."""
    return (weight.detach() * 64).round() / 64


def start(hidden: int) -> list[Tensor]:
    """Weights as the released code draws them, U(0, 5) and U(0, 48)."""
    g = torch.Generator().manual_seed(0)
    first = 5 * torch.rand(hidden, 784, generator=g)
    return [rounded(first), rounded(48 * torch.rand(10, hidden, generator=g))]


def ticks(x: Tensor) -> Tensor:
    """Spike times as the released code has them: intensity 0 is a spike at T - 1."""
    return latency_ticks(x, T, x_min=-1.0)


def trained(weights: list[Tensor], data: MNIST) -> list[Tensor]:
    """The weights after one epoch."""
    layers = network(weights)
    optimizer = torch.optim.SGD([layer.weight for layer in layers], **SGD)
    for x, label in data.train_dataloader():
        optimizer.zero_grad()
        ours(layers, (ticks(x), label))
        optimizer.step()
    return [rounded(layer.weight) for layer in layers]


def first_batch(data: MNIST, size: int) -> Batch:
    test = data.splits.test
    x = test.x[:size].flatten(1).float() / 255
    return ticks(x), test.label[:size]


def prove(weights: list[Tensor], batch: Batch) -> float:
    """Raise unless both formulations agree; return the mean first output spike."""
    layers, free = network(weights), parameters(weights)
    times, others = ours(layers, batch), dense(free, batch)
    for layer, parameter, time, other in zip(layers, free, times, others, strict=True):
        if not torch.equal(time, other):
            raise SystemExit("the formulations differ in their spike times")
        torch.testing.assert_close(
            layer.weight.grad, parameter.grad, rtol=2e-5, atol=2e-6
        )
    return times[-1].amin(1).clamp(max=T).mean().item()


def step(name: str, weights: list[Tensor], batch: Batch) -> Step:
    layers, free = network(weights), parameters(weights)
    is_ours = name == "ours"
    mine = [layer.weight for layer in layers] if is_ours else free
    optimizer = torch.optim.SGD(mine, **SGD)

    def run() -> None:
        optimizer.zero_grad()
        if is_ours:
            ours(layers, batch)
        else:
            dense(free, batch)
        optimizer.step()

    return run


def memory_in_a_process(name: str, hidden: int, batch: int, root: str | None) -> float:
    sizes = ["--hidden", str(hidden), "--batch", str(batch)]
    folder = ["--root", root] if root else []
    return float(last_line(__file__, "--memory", name, *sizes, *folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", help="folder of MNIST")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--memory", choices=("ours", "dense"), help="only this peak")
    parser.add_argument("--hidden", type=int, default=400, help="with --memory")
    parser.add_argument("--batch", type=int, default=64, help="with --memory")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = MNIST(root=arguments.root, batch_size=64)
    if arguments.memory:
        batch = first_batch(data, arguments.batch)
        run = step(arguments.memory, start(arguments.hidden), batch)
        print(peak_of_second_step(run))
        return
    rows = []
    for hidden, size in SHAPES:
        batch = first_batch(data, size)
        mebibytes = {
            f"{name}_mib": memory_in_a_process(name, hidden, size, arguments.root)
            for name in ("ours", "dense")
        }
        initial = start(hidden)
        for kind, weights in (
            ("initial", initial),
            ("after one epoch", trained(initial, data)),
        ):
            first_spike = prove(weights, batch)
            steps = (step(name, weights, batch) for name in ("ours", "dense"))
            pairs = in_rounds(*steps, rounds=arguments.rounds)
            row = {
                "network": f"784-{hidden}-10",
                "batch": size,
                "weights": kind,
                "mean_first_output_spike": first_spike,
                **ratios(pairs),
                "ours_ms": milliseconds([mine for mine, _ in pairs]),
                "dense_ms": milliseconds([loop for _, loop in pairs]),
                **mebibytes,
                "memory_ratio": mebibytes["dense_mib"] / mebibytes["ours_mib"],
            }
            rows.append(row)
            print(
                f"{row['network']:12} batch {size:3} {kind:15} {row['ratio']:6.1f}x "
                f"[{row['p10']:.1f}, {row['p90']:.1f}]  ours {row['ours_ms']:.2f} ms, "
                f"dense {row['dense_ms']:.1f} ms; {row['ours_mib']:.1f} and "
                f"{row['dense_mib']:.1f} MiB, {row['memory_ratio']:.1f}x",
                flush=True,
            )
    table = {"ticks": T, "rounds": arguments.rounds, "rows": rows}
    RESULTS.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
