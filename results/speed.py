"""The README's tables of speed, from what benchmarks/ measured; see readme.py."""

import json
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks" / "results"


def read(name: str) -> object:
    """A result file of a benchmark."""
    return json.loads((BENCHMARKS / f"{name}.json").read_text(encoding="utf-8"))


def spread(found: dict) -> str:
    """A median and its spread."""
    return f"{found['ratio']:.2f} ({found['p10']:.2f} to {found['p90']:.2f})"


def command(script: str, *rows: dict) -> str:
    """How to measure it again, and on which processors it was measured."""
    processors = sorted({row["processor"] for row in rows if "processor" in row})
    said = [f"Command: `python benchmarks/{script}.py`."]
    if processors:
        earlier = dict.fromkeys(row["name"] for row in rows if "processor" not in row)
        but = f", but earlier on another machine: {'; '.join(earlier)}"
        said.append(f"Measured on {' and '.join(processors)}{but if earlier else ''}.")
    return " ".join(said)


def times(ratio: float) -> str:
    """A ratio with as many digits as one can compare."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def speed() -> str:
    """Everything about the time and memory of training, as far as it was measured."""
    parts = {
        "step": peers,
        "epoch": epoch,
        "scaling": scaling,
        "cnn": convolution,
        "sstdp_step": ticks,
        "spike_trains": spike_trains,
        "st_rsbp_step": spike_counts,
    }
    return "\n\n".join(
        "\n".join(part())
        for name, part in parts.items()
        if (BENCHMARKS / f"{name}.json").is_file()
    )


def peers() -> list[str]:
    """One row per peer: against the ReLU MLP of the same shape, and against ours."""
    table: dict[str, dict] = {}
    rows = read("step")
    for row in rows:
        table.setdefault(row["name"], {})[row["inputs"]] = row
    own = table["ours"]
    lines = [
        "| step of 784-400-400-10 | neuron | time on MNIST, ReLU MLP = 1 "
        "| every input spiking | **ours** is faster by, MNIST | every input spiking "
        "| peak memory, **ours** = 1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in table.items():
        mnist, every = row["mnist"], row["every"]
        if "asks_for_gb" in mnist:
            asked = (f"cannot run: {f['asks_for_gb']:.0f} GB" for f in (mnist, every))
            lines.append(f"| {name} | {mnist['model']} | {' | '.join(asked)} | | | |")
            continue
        memory = mnist["memory_mib"] / own["mnist"]["memory_mib"]
        if name == "ours":
            cells = [spread(mnist["over_twin"]), spread(every["over_twin"]), "", ""]
            cells.append(f"{mnist['memory_mib']:.1f} MiB")
        else:
            cells = [times(found["over_twin"]["ratio"]) for found in (mnist, every)]
            faster = [times(found["over_ours"]["ratio"]) for found in (mnist, every)]
            cells += [f"{ratio}x" for ratio in faster] + [times(memory)]
        bold = f"**{name}**" if name == "ours" else name
        lines.append(f"| {bold} | {mnist['model']} | {' | '.join(cells)} |")
    return [*lines, "", command("step", *rows)]


def epoch() -> list[str]:
    """A whole epoch in one harness."""
    found = read("epoch")
    return [
        f"One Lightning epoch of MNIST 784-400-10, data pipe included: "
        f"{found['ours_s']:.1f} s, {found['ratio']:.2f}x the ReLU MLP's in the same "
        f"harness ({found['lowest']:.2f} to {found['highest']:.2f}). "
        + command("epoch", found)
    ]


def scaling() -> list[str]:
    """The picture, and its exponents in words."""
    said = []
    for axis, found in read("scaling").items():
        ends = f"{found['values'][0]:,} to {found['values'][-1]:,}"
        curves = ", ".join(
            f"{'**ours**' if name == 'ours' else name} {curve['time_exponent']:.2f} "
            f"({curve['memory_exponent']:.2f})"
            for name, curve in found["curves"].items()
        )
        said.append(f"{axis} ({ends}): {curves}")
    return [
        "![Time and memory of a step over hidden neurons, batch and steps]"
        "(benchmarks/results/scaling.svg)",
        "",
        "Over the last four points the time of a step (its memory) grows with the "
        f"power of {'; '.join(said)}. Command: `python benchmarks/scaling.py`.",
    ]


def convolution() -> list[str]:
    """Convolutional networks against their ReLU twin."""
    rows = read("cnn")
    lines = [
        f"| step of {rows[0]['network']}, batch 128 | weights "
        "| time, ReLU CNN = 1 | peak memory (CNN) |",
        "|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| **{row['rule'].upper()}** | {row['weights']} | {spread(row)} "
            f"| {row['memory_mib']:.0f} MiB ({row['twin_memory_mib']:.0f}) |"
        )
    return [*lines, "", command("cnn", *rows)]


def ticks() -> list[str]:
    """SSTDP against a dense loop over ticks."""
    lines = [
        "| SSTDP step, T = 255, released settings | batch | dense loop / **ours** "
        "| peak memory, dense loop (**ours**) |",
        "|---|---|---|---|",
    ]
    for row in read("sstdp_step")["rows"]:
        weights = "" if row["weights"] == "initial" else ", after an epoch"
        lines.append(
            f"| {row['network']}{weights} | {row['batch']} | {row['ratio']:.1f}x "
            f"({row['p10']:.1f} to {row['p90']:.1f}) "
            f"| {row['dense_mib']:.0f} MiB ({row['ours_mib']:.1f}) |"
        )
    return [
        *lines,
        "",
        "The dense loop is the released code's formulation of the same step: a one-hot "
        "matrix product for every tick, masks over batch x outputs x inputs. Command: "
        "`python benchmarks/sstdp_step.py`.",
    ]


def spike_trains() -> list[str]:
    """TSSL-BP against loops over time and against the bare matrix products."""
    table = read("spike_trains")
    inputs = {
        "image": "images",
        "spikes": "spike trains",
        "currents": "400 neurons, no synapses",
    }
    lines = [
        f"| TSSL-BP step of 784-400-400-10, T = {table['steps']} | input | ratio |",
        "|---|---|---|",
    ]
    for row in table["rows"]:
        name = row["name"].removeprefix("neurons alone, ")
        name = f"{name} / **ours**" if name != "bare matmuls" else f"**ours** / {name}"
        lines.append(
            f"| {name} | {inputs[row['input']]} | {row['ratio']:.2f}x "
            f"({row['p10']:.2f} to {row['p90']:.2f}) |"
        )
    growth = table["growth"]
    ends = growth["steps"][0], growth["steps"][-1]
    lines += [
        "",
        f"From T = {ends[0]} to {ends[1]} time grows with T to the power of "
        f"{growth['time_exponent']:.2f} ({growth['ms'][0]:.0f} to "
        f"{growth['ms'][-1]:.0f} ms), memory of {growth['memory_exponent']:.2f} "
        f"({growth['mib'][0]:.0f} to {growth['mib'][-1]:.0f} MiB). "
        "Command: `python benchmarks/spike_trains.py`.",
    ]
    return lines


def spike_counts() -> list[str]:
    """ST-RSBP against a surrogate-gradient loop, and what silence saves."""
    table = read("st_rsbp_step")
    lines = [
        f"| ST-RSBP step of {table['network']}, T = {table['steps']} "
        "| snnTorch / **ours** | **ours** |",
        "|---|---|---|",
    ]
    for row in table["rows"]:
        lines.append(
            f"| Fashion-MNIST, {row['weights']} | {row['ratio']:.1f}x "
            f"({row['p10']:.1f} to {row['p90']:.1f}) | {row['ours_ms']:.0f} ms |"
        )
    lines += [
        f"| peak memory | {table['memory_ratio']:.1f}x | {table['ours_mib']:.0f} MiB |",
        "",
        "| 784-400 alone, batch 32, T = 400: input spikes "
        "| forward, dense (**ours**) | backward, dense (**ours**) |",
        "|---|---|---|",
    ]
    for row in table["layer"]:
        lines.append(
            f"| {row['rate']:.0%} of all steps "
            f"| {row['dense_forward_ms']:.0f} ms ({row['forward_ms']:.0f}) "
            f"| {row['dense_backward_ms']:.0f} ms ({row['backward_ms']:.0f}) |"
        )
    growth = table["growth"]
    ends = growth["steps"][0], growth["steps"][-1]
    floats = max(growth["floats_per_neuron_step_and_sample"])
    lines += [
        "",
        "snnTorch is the same shape in a stock loop over time. Dense: matrix products "
        f"over all steps. From T = {ends[0]} to {ends[1]} a step takes "
        f"{growth['ms_fixed']:.0f} ms and {growth['ms_per_tick']:.2f} ms more per "
        f"tick, at most {floats:.1f} numbers of memory per neuron, tick and sample. "
        "Command: `python benchmarks/st_rsbp_step.py`.",
    ]
    return lines


def images_per_second() -> str:
    """Of the integer emulator for 784-400-10 on one core, two digits."""
    wanted = {"network": "784-400-10", "emulator": "closed form", "threads": 1}
    (rate,) = (
        row["images_per_s"]
        for row in read("emulators")
        if wanted.items() <= row.items()
    )
    return f"{float(f'{rate:.2g}'):,.0f}"


def shared_products() -> str:
    """Largest share of the matrix products in a step of TSSL-BP as a loop over time."""
    ms = {
        (row["name"], row["input"]): row["other_ms"]
        for row in read("spike_trains")["rows"]
    }
    share = max(
        ms["bare matmuls", coded] / ms["torch loop", coded]
        for coded in ("image", "spikes")
    )
    return f"{share:.0%}".replace("%", " %")
