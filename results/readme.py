"""Write the tables of README.md from the files that the measuring scripts left.

python results/readme.py
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
STDBP = {
    "mnist_stdbp": "MNIST 784-400-10",
    "yin_yang_stdbp": "Yin-Yang 4-120-3",
    "fashion_mnist_stdbp": "Fashion-MNIST 784-1000-10",
}
SSTDP = {
    "mnist_sstdp": "MNIST 784-400-10",
    "mnist_cnn_sstdp": "MNIST 16C5-P2-1600-10",
    "fashion_mnist_sstdp": "Fashion-MNIST 784-400-10",
}
INTEGERS = {
    "mnist_stdbp": "MNIST 784-400-10",
    "mnist_cnn_stdbp": "MNIST 8C5-P2-16C5-P2-128-10",
}
TSSL_BP = {
    "fashion_mnist_tssl_bp": ("Fashion-MNIST 784-400-400-10, T = 5", "89.75 ± 0.03 %"),
    "mnist_cnn_tssl_bp": ("MNIST 15C5-P2-40C5-P2-300-10, T = 5", "99.50 ± 0.02 %"),
    "nmnist_tssl_bp": ("N-MNIST-small 1000/100, 12C5-P2-64C5-P2-10, T = 30", "–"),
}

ST_RSBP = {
    "fashion_mnist_st_rsbp": "Fashion-MNIST 784-400-R400-10, T = 400",
    "spoken_digits_st_rsbp": "Spoken digits 128-R200-10, T = 250",
    "japanese_vowels_st_rsbp": "Japanese vowels 24-R100-9, T = 290",
}


def read(path: str) -> object:
    """A result file of the repository."""
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def spread(summary: dict) -> str:
    """Mean and standard deviation; one seed has none."""
    if not summary["sd"]:
        return f"{summary['mean']:.2f} %"
    return f"{summary['mean']:.2f} ± {summary['sd']:.2f} %"


def minutes(entry: dict) -> str:
    """Mean wall time of a fit."""
    times = [seed["fit_seconds"] for seed in entry["seeds"]]
    seconds = [int(time) for time in times if time != "unknown"]
    return f"{sum(seconds) / len(seconds) / 60:.1f} min" if seconds else "–"


def first_spikes(rule: str, rows: dict[str, str], table: dict) -> list[str]:
    """One row per trained network of first spikes."""
    lines = [
        f"| {rule} | test accuracy | integers (6 bits, 256 ticks) | fit |",
        "|---|---|---|---|",
    ]
    for row, name in rows.items():
        summary = table[row]["summary"]
        lines.append(
            f"| {name} | **{spread(summary['accuracy, float'])}** "
            f"| {spread(summary['accuracy, integer emulator'])} "
            f"| {minutes(table[row])} |"
        )
    return [*lines, ""]


def results() -> str:
    """One row per trained network."""
    table = read("results/accuracy.json")
    lines = [
        *first_spikes("STDBP: spike times", STDBP, table),
        *first_spikes("SSTDP: ticks", SSTDP, table),
        *additions(),
        *integers(),
        "| TSSL-BP: spike trains | test accuracy | the authors' | fit |",
        "|---|---|---|---|",
    ]
    for row, (name, authors) in TSSL_BP.items():
        accuracy = spread(table[row]["summary"]["accuracy, float"])
        lines.append(f"| {name} | **{accuracy}** | {authors} | {minutes(table[row])} |")
    lines += ["", "| ST-RSBP: spike counts | test accuracy | fit |", "|---|---|---|"]
    for row, name in ST_RSBP.items():
        accuracy = spread(table[row]["summary"]["accuracy, float"])
        lines.append(f"| {name} | **{accuracy}** | {minutes(table[row])} |")
        lines += held_out(table, row)
    count = {len(entry["seeds"]) for entry in table.values()}
    lines += [
        "",
        learning_curve(table["fashion_mnist_st_rsbp"]),
        "",
        f"Mean ± standard deviation of {max(count)} seeds, else seed 0 alone, one "
        "core: `python results/train.py --rows ROW`, ROW being a file in "
        "`examples/configs/`: "
        + ", ".join(f"`{row}`" for row in (*STDBP, *SSTDP, *TSSL_BP, *ST_RSBP))
        + ".",
    ]
    return "\n".join(lines)


def held_out(table: dict, row: str) -> list[str]:
    """The same of speakers the network has never heard, over all speakers, if any."""
    rows = [name for name in table if name.startswith(f"{row}/")]
    mean = [table[name]["summary"]["accuracy, float"]["mean"] for name in rows]
    if not mean:
        return []
    return [
        f"| the same, a speaker held out: mean of {len(rows)} speakers "
        f"| **{sum(mean) / len(mean):.1f} %** ({min(mean):.1f} to {max(mean):.1f} %) "
        f"| {minutes(table[rows[0]])} |"
    ]


def learning_curve(entry: dict) -> str:
    """Accuracy over epochs of a run that held samples out."""
    curve = entry["seeds"][0]["held_out_after_epoch"]
    epochs = [epoch for epoch in (1, 2, 4, 8, 12, 16) if epoch <= len(curve)]
    points = ", ".join(f"{epoch}: {curve[epoch - 1]:.1f}" for epoch in epochs)
    return (
        f"Learning curve of Fashion-MNIST with ST-RSBP (seed 0, per cent of 5,000 "
        f"held-out images after epoch N): {points}."
    )


def integers() -> list[str]:
    """What it costs to become integers, and where it is lost."""
    table = read("results/quantisation.json")
    lines = [
        "| STDBP as integers | float | rounded | fine-tuned | loss (ties wrong) |",
        "|---|---|---|---|---|",
    ]
    remarks = []
    for row, name in INTEGERS.items():
        found, ticks = table[row]["summary"], table[row]["ticks"]
        widths = list(table[row]["seeds"][0]["integers"])
        for width in widths:
            rounded = found[f"integers/{width}/rounded/answer"]
            tuned = found[f"integers/{width}/tuned/answer"]
            strict = found[f"integers/{width}/tuned/strict"]
            lines.append(
                f"| {name}, {width}, {ticks} ticks | {spread(found['float'])} "
                f"| {spread(rounded)} | **{spread(tuned)}** "
                f"| {found['float']['mean'] - tuned['mean']:.2f} "
                f"({found['float']['mean'] - strict['mean']:.2f}) |"
            )
        bits = int(widths[0].split()[0])
        alone = ", ".join(
            f"{found['float']['mean'] - found[f'errors/{part}']['mean']:.2f} by {part}"
            for part in ("ticks", "weights", "thresholds")
        )
        by_bits = [f"sweep/{ticks} ticks/{n} bits" for n in range(2, 9)]
        by_ticks = [f"sweep/{2**k} ticks/{bits} bits" for k in range(4, 11)]
        of_bits, of_ticks = (
            ", ".join(f"{found[path]['mean']:.2f}" for path in paths)
            for paths in (by_bits, by_ticks)
        )
        remarks += [
            f"{name} rounded to {widths[0]} loses, in points, {alone} alone. Without "
            f"fine-tuning it has, from 2 to 8 bits at {ticks} ticks, {of_bits} %, and "
            f"from 16 to 1,024 ticks at {widths[0]} {of_ticks} %. Both count ties as "
            "wrong.",
            "",
        ]
    return [
        *lines,
        "",
        "Integers answer as their bundle says: of several that are first the one with "
        f"the largest potential. Command: `python results/quantisation.py --rows "
        f"{' '.join(INTEGERS)}`.",
        "",
        *remarks,
    ]


def additions() -> list[str]:
    """What an inference costs, SSTDP against a rate code."""
    summary = read("results/additions.json")["summary"]

    def mean(name: str) -> float:
        return summary[name]["mean"]

    lines = [
        "| MNIST 784-400-10, one inference | accuracy | ticks | additions |",
        "|---|---|---|---|",
        f"| **SSTDP**, up to the first output spike | {mean('sstdp/accuracy'):.2f} % "
        f"| {mean('sstdp/latency'):.0f} | {mean('sstdp/additions_to_decision'):,.0f} |",
        f"| **SSTDP**, all spikes | {mean('sstdp/accuracy'):.2f} % "
        f"| {mean('sstdp/ticks'):.0f} | {mean('sstdp/additions'):,.0f} |",
    ]
    windows = {"equal": "until as accurate", "fixed": "fixed window"}
    readings = {"count": "spikes counted", "potential": "potentials read"}
    for reading, said in readings.items():
        for window, until in windows.items():
            start = f"rate/{reading}/{window}"
            if (reading, window) == ("potential", "fixed"):
                continue  # the window and the additions of the other reading
            lines.append(
                f"| rate code, {said}, {until} | {mean(f'{start}/accuracy'):.2f} % "
                f"| {mean(f'{start}/latency'):.0f} "
                f"| {mean(f'{start}/additions'):,.0f} |"
            )
    return [
        *lines,
        "",
        "The rate code is a ReLU network of the same shape "
        f"({mean('relu_accuracy'):.2f} %), converted to integrate-and-fire neurons "
        "that spike many times. The paper claims 1.3 to 37.7 times fewer additions and "
        "25 to 32 times less latency, on networks that it does not give; here the "
        "additions bear it out, the latency does not. Command: "
        "`python results/additions.py`.",
        "",
    ]


def speed() -> str:
    """Ratios to the ReLU MLP of the same shape."""
    lines = [
        "| step of 784-400-400-10 | input | time, ReLU MLP = 1 | peak memory (MLP) |",
        "|---|---|---|---|",
    ]
    inputs = {"mnist": "MNIST", "every": "every input spikes"}
    for row in read("benchmarks/results/step.json"):
        name = f"**{row['name']}**" if row["name"] == "ours" else row["name"]
        lines.append(
            f"| {name} | {inputs[row['inputs']]} | {row['ratio']:,.2f}x "
            f"({row['p10']:,.2f} to {row['p90']:,.2f}) "
            f"| {row['memory_mib']:,.1f} MiB ({row['twin_memory_mib']:.1f}) |"
        )
    epoch = read("benchmarks/results/epoch.json")
    lines += [
        "",
        f"One Lightning epoch of MNIST 784-400-10, data pipe included: "
        f"{epoch['ours_s']:.1f} s, {epoch['ratio']:.2f}x the ReLU MLP's in the same "
        f"harness ({epoch['lowest']:.2f} to {epoch['highest']:.2f}). "
        "Commands: `python benchmarks/step.py`, `python benchmarks/epoch.py`.",
        "",
        *ticks(),
        "",
        *spike_trains(),
        "",
        *spike_counts(),
    ]
    return "\n".join(lines)


def ticks() -> list[str]:
    """SSTDP against a dense loop over ticks."""
    lines = [
        "| SSTDP step, T = 255, released settings | batch | dense loop / **ours** "
        "| peak memory, dense loop (**ours**) |",
        "|---|---|---|---|",
    ]
    for row in read("benchmarks/results/sstdp_step.json")["rows"]:
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
    table = read("benchmarks/results/spike_trains.json")
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
    table = read("benchmarks/results/st_rsbp_step.json")
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


def nir_readers() -> str:
    """What readers make of encodings in NIR."""
    table = read("results/nir_conformance.json")
    lines = [
        f"| encoding | {' | '.join(table)} |",
        f"|---|{'---|' * len(table)}",
    ]
    for encoding in next(iter(table.values()))["encodings"]:
        ours = encoding.startswith("NIR-")
        cells = [reader["encodings"][encoding] for reader in table.values()]
        name = f"**{encoding}**" if ours else encoding
        lines.append(f"| {name} | {' | '.join(map(nir_cell, cells))} |")
    versions = "; ".join(
        f"{name} {', '.join(' '.join(pair) for pair in reader['versions'].items())}"
        for name, reader in table.items()
    )
    return "\n".join(
        [
            *lines,
            "",
            "Per cent of first output spikes with the tick of the integer emulator, a "
            "uniform shift allowed; a word is the error that the reader raises. "
            "snn-mlir only checks whether it would compile a graph. Command: "
            f"`make conformance`. Versions: {versions}.",
        ]
    )


def nir_cell(cell: dict) -> str:
    """Per cent, in bold where all is right, or how a reader refuses."""
    if "percent" in cell:
        text = f"{cell['percent']:g}"
        return f"**{text}**" if cell["percent"] == 100 else text
    return "accepts" if "accepted" in cell else cell["error"]


def cost() -> str:
    """Estimated energy and latency beside the one published point."""
    table = read("results/cost.json")
    row = table["rows"][0]
    core = row["cycles"]["reference core, one PE"]
    assumptions = dict.fromkeys(
        text for entry in row["estimates"].values() for text in entry["assumptions"]
    )
    return "\n".join(
        [
            *cost_table(row, table["published"]),
            "",
            f"The reference core takes {core:,.0f} clock cycles per image with one PE. "
            "Assumptions of the estimates:",
            "",
            *(f"- {text}" for text in assumptions),
            "",
            "Command: `python results/cost.py BUNDLE --root FOLDER`.",
        ]
    )


def cost_table(row: dict, published: dict) -> list[str]:
    """One network of results/cost.json beside the published point."""
    energy = published["power_mw"] * published["latency_ms"]
    lines = [
        f"| MNIST {row['network']}, {row['response']}s, {row['ticks']} ticks | energy "
        "per image | latency |",
        "|---|---|---|",
        f"| published for an accelerator, its network unknown ({published['source']}) "
        f"| {energy:.2f} µJ | {published['latency_ms']} ms |",
    ]
    for entry in row["estimates"].values():
        for extent in ("all ticks", "up to the first output spike"):
            found = entry[extent]
            low, high = found["energy_interval_uj"]
            fast, slow = found["latency_interval_ms"]
            lines.append(
                f"| estimate, not measurement: {entry['profile']}, {extent} "
                f"| {found['energy_uj']:.2f} µJ ({low:.2f} to {high:.2f}) "
                f"| {found['latency_ms']:.2f} ms ({fast:.2f} to {slow:.2f}) |"
            )
    if "sanafe" in row:
        run = row["sanafe"]
        lines.append(
            f"| SANA-FE itself, {run['samples']} images | {run['energy_uj']:.2f} µJ "
            f"| {run['latency_ms']:.2f} ms |"
        )
    return lines


def main() -> None:
    text = README.read_text(encoding="utf-8")
    tables = {
        "results": results(),
        "nir": nir_readers(),
        "cost": cost(),
        "speed": speed(),
    }
    for name, table in tables.items():
        mark = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        filled = f"<!-- {name} -->\n{table}\n<!-- /{name} -->"
        text, found = mark.subn(lambda _, filled=filled: filled, text)
        if found != 1:
            raise SystemExit(f"README.md has {found} places for {name}; expected 1")
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
