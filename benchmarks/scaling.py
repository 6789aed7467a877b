"""How a training step grows with the width of the network, the batch and time.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/scaling.py

The network is 784-N-N-10 with every input spiking: N = 400 and a batch of 128, but for
what is varied. Each round times all steps of a curve, CPU seconds of the thread;
medians over the rounds. Memory is how far the peak of a process of its own rises in a
second step. An exponent is the slope of a straight line through the last four points of
a log-log plot: before them fixed costs count. A network of spike times has no steps: it
stands beside those that have as it is.
Result: benchmarks/results/scaling.json and scaling.svg.
"""

import argparse
import json
from pathlib import Path

import torch
from paired import (
    Step,
    exponent,
    in_rounds,
    last_line,
    milliseconds,
    peak_of_second_step,
)
from peers import intensities, norse_lif, ours, relu, snntorch_leaky

from snn_temporal_plugins.viz.style import SERIES, head, house_style, new_figure

RESULTS = Path(__file__).parent / "results" / "scaling.json"
PICTURE = RESULTS.with_suffix(".svg")
FITTED = 4  # points of a curve, the last ones
AXES = {
    "hidden neurons N": ((100, 200, 400, 800, 1600, 3200), ("ours", "ReLU MLP")),
    "batch": ((16, 32, 64, 128, 256, 512, 1024), ("ours", "ReLU MLP")),
    "steps T": (
        (4, 10, 25, 50, 100, 200),
        ("ours", "snnTorch Leaky", "Norse LIFCell"),
    ),
}
LOOK = {
    "ours": (SERIES[0], "o"),
    "ReLU MLP": (SERIES[1], "s"),
    "snnTorch Leaky": (SERIES[2], "^"),
    "Norse LIFCell": (SERIES[3], "D"),
}


def made(axis: str, value: int, name: str) -> Step:
    """A step of one point of a curve."""
    hidden = value if axis == "hidden neurons N" else 400
    x = intensities(value if axis == "batch" else 128)
    makers = {
        "ours": ours,
        "ReLU MLP": relu,
        "snnTorch Leaky": snntorch_leaky(value),
        "Norse LIFCell": norse_lif(value),
    }
    torch.manual_seed(0)
    return makers[name]([784, hidden, hidden, 10], x)


def memory_in_a_process(axis: str, value: int, name: str) -> float:
    return float(last_line(__file__, "--memory", axis, str(value), name))


def curves(axis: str, rounds: int) -> dict[str, object]:
    """Time and memory of all points of an axis."""
    values, names = AXES[axis]
    points = [(value, name) for name in names for value in values]
    times = in_rounds(*(made(axis, *point) for point in points), rounds=rounds)
    medians = map(milliseconds, zip(*times, strict=True))
    ms = dict(zip(points, medians, strict=True))
    found = {}
    for name in names:
        time = [ms[value, name] for value in values]
        memory = [memory_in_a_process(axis, value, name) for value in values]
        found[name] = {
            "ms": time,
            "mib": memory,
            "time_exponent": exponent(values[-FITTED:], time[-FITTED:]),
            "memory_exponent": exponent(values[-FITTED:], memory[-FITTED:]),
        }
        print(axis, name, json.dumps(found[name]), flush=True)
    return {"values": values, "curves": found}


def draw(table: dict) -> None:
    """All curves, log-log: time above, memory below."""
    caption = "Time and memory of a training step; straight lines are power laws."
    with house_style():
        figure = new_figure(5.6, caption, width=9.6)
        panels = figure.subplots(2, len(table), sharex="col", sharey="row")
        for column, (axis, found) in zip(panels.T, table.items(), strict=True):
            for axes, key, power in zip(
                column, ("ms", "mib"), ("time_exponent", "memory_exponent"), strict=True
            ):
                for name, curve in found["curves"].items():
                    colour, marker = LOOK[name]
                    label = f"{name}: power {curve[power]:.2f}"
                    axes.loglog(
                        found["values"], curve[key], color=colour, marker=marker,
                        markersize=4, label=label,
                    )  # fmt: skip
                axes.set_xticks(found["values"], map(str, found["values"]))
                axes.minorticks_off()
                axes.yaxis.set_major_formatter("{x:g}")
                axes.legend(fontsize=8, loc="upper left")
            head(column[0], f"over {axis}")
            column[1].set_xlabel(axis)
        for axes in panels[:, 0]:  # shared by the row: room for the legends above
            low, high = axes.get_ylim()
            axes.set_ylim(low, high * (high / low) ** 0.4)
        panels[0, 0].set_ylabel("CPU time of a step, ms")
        panels[1, 0].set_ylabel("peak memory of a step, MiB")
        figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        axis, value, name = arguments.memory
        print(peak_of_second_step(made(axis, int(value), name)))
        return
    table = {axis: curves(axis, arguments.rounds) for axis in AXES}
    RESULTS.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    draw(table)


if __name__ == "__main__":
    main()
