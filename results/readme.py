"""Write the tables and numbers of README.md from what the measuring scripts left.

    python results/readme.py

What stands between `<!-- name -->` and `<!-- /name -->` is replaced: by a table, which
has its place once, or by a number within a sentence.
"""

import json
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path

import speed

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
# row: network, and what others published for it or for the best of its kind
STDBP = {
    "mnist_stdbp": ("MNIST 784-400-10", "97.4 %, S4NN"),
    "mnist_800_stdbp": ("MNIST 784-800-10", "97.4 %, S4NN"),
    "mnist_paper_cnn_stdbp": (
        "MNIST 16C5-P2-32C5-P2-800-128-10",
        "99.2 %, STiDi-BP; 99.51 %, Che et al.",
    ),
    "yin_yang_stdbp": ("Yin-Yang 4-120-3", "–"),
    "fashion_mnist_stdbp": ("Fashion-MNIST 784-1000-10", "–"),
    "fashion_mnist_cnn_stdbp": (
        "Fashion-MNIST 64C5-P2-400-10",
        "92.8 %, STiDi-BP; 93.14 %, Che et al.",
    ),
}
SSTDP = {
    "mnist_sstdp": ("MNIST 784-400-10", "98.1 %, the authors by their own metric"),
    "mnist_cnn_sstdp": ("MNIST 16C5-P2-3200-10", "–"),
    "fashion_mnist_sstdp": ("Fashion-MNIST 784-400-10", "–"),
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
    "fashion_mnist_st_rsbp": (
        "Fashion-MNIST 784-400-R400-10, T = 400",
        "90.00 ± 0.14 %",
    ),
    "spoken_digits_st_rsbp": ("Spoken digits 128-R200-10, T = 250", "–"),
    "japanese_vowels_st_rsbp": ("Japanese vowels 24-R100-9, T = 290", "–"),
}
ROWS = (*STDBP, *SSTDP, *TSSL_BP, *ST_RSBP)
TIED = "tied, the first class taken"


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


def first_spikes(rule: str, rows: dict[str, tuple[str, str]], table: dict) -> list[str]:
    """One row per trained network of first spikes."""
    lines = [
        f"| {rule} | test accuracy | integers (6 bits, 256 ticks) | published | fit |",
        "|---|---|---|---|---|",
    ]
    for row, (name, published) in rows.items():
        if row not in table:  # not trained yet
            continue
        summary = table[row]["summary"]
        lines.append(
            f"| {name} | **{spread(summary['accuracy, float'])}** "
            f"| {spread(summary['accuracy, integer emulator'])} "
            f"| {published} | {minutes(table[row])} |"
        )
    return [*lines, ""]


def results() -> str:
    """One row per trained network."""
    table = read("results/accuracy.json")
    lines = [
        *first_spikes("STDBP: spike times", STDBP, table),
        *ablation(),
        *first_spikes("SSTDP: ticks", SSTDP, table),
        *additions(),
        *integers(),
        "| TSSL-BP: spike trains | test accuracy | the authors' | fit |",
        "|---|---|---|---|",
    ]
    for row, (name, authors) in TSSL_BP.items():
        accuracy = spread(table[row]["summary"]["accuracy, float"])
        lines.append(f"| {name} | **{accuracy}** | {authors} | {minutes(table[row])} |")
    lines += [
        "",
        "| ST-RSBP: spike counts | test accuracy | the authors' | fit |",
        "|---|---|---|---|",
    ]
    for row, (name, authors) in ST_RSBP.items():
        accuracy = spread(table[row]["summary"]["accuracy, float"])
        lines.append(f"| {name} | **{accuracy}** | {authors} | {minutes(table[row])} |")
        lines += held_out(table, row)
    count = {len(entry["seeds"]) for entry in table.values()}
    lines += [
        "",
        "![Accuracy of every network after each epoch](results/curves.svg)",
        "",
        f"Mean ± standard deviation of {max(count)} seeds, else seed 0 alone, one "
        "core: `python results/train.py --rows ROW`, ROW being a file in "
        "`examples/configs/`: " + ", ".join(f"`{row}`" for row in ROWS) + ".",
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
        f"| – | {minutes(table[rows[0]])} |"
    ]


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
        "the largest potential. Command: `python results/quantisation.py`.",
        "",
        *remarks,
    ]


def ablation() -> list[str]:
    """What each part of the recipe for first spikes is worth."""
    table = read("results/ablation.json")
    recipe, *others = table["rows"].items()
    seeds = len(recipe[1]["held_out"])
    lines = [
        f"| STDBP, Fashion-MNIST {table['network']}, {table['epochs']} epochs "
        "| held-out accuracy | change |",
        "|---|---|---|",
        f"| {recipe[0]} | {recipe[1]['mean']:.2f} % | |",
    ]
    lines += [
        f"| {name} | {row['mean']:.2f} % | {row['change']:+.2f} |"
        for name, row in others
    ]
    return [
        *lines,
        "",
        f"Means of {seeds} seeds. The recipe is that of "
        "`examples/configs/fashion_mnist_stdbp.yaml`, shortened, so that it wants less "
        "regularisation and a larger learning rate; each row changes one thing. In "
        "the long training of the config small learning rates end highest. Normalised "
        "times, dynamic thresholds and constant slopes are not in the package. "
        "Command: `python results/ablation.py`.",
        "",
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
            "Command: `python results/cost.py`.",
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


def mean_percent(row: str, name: str) -> str:
    """Mean over the seeds of a share in results/accuracy.json."""
    seeds = read("results/accuracy.json")[row]["seeds"]
    return f"{statistics.mean(float(seed[name].split()[0]) for seed in seeds):.1f} %"


def of_sstdp(name: str) -> str:
    """A share of the test samples, SSTDP on MNIST."""
    return f"{read('results/additions.json')['summary'][f'sstdp/{name}']['mean']:.1f} %"


def noise(row: str) -> str:
    """Standard error of an accuracy by the number of test samples alone, in points."""
    entry = read("results/accuracy.json")[row]
    share = entry["summary"]["accuracy, float"]["mean"] / 100
    samples = entry["seeds"][0]["test samples"]
    return f"{100 * math.sqrt(share * (1 - share) / samples):.1f}"


def untrained(metric: str) -> str:
    """What a network scores that has learnt nothing."""
    mean = read("results/released_metric.json")["summary"][metric]["mean"]
    return f"{mean:.1f} %"


TABLES: dict[str, Callable[[], str]] = {
    "results": results,
    "nir": nir_readers,
    "cost": cost,
    "speed": speed.speed,
}
NUMBERS: dict[str, Callable[[], str]] = {
    "images_per_second": speed.images_per_second,
    "shared_products": speed.shared_products,
    "untrained_released": lambda: untrained("released"),
    "untrained_first_index": lambda: untrained("first index"),
    "silent_sstdp": lambda: of_sstdp("silent"),
    "tied_sstdp": lambda: of_sstdp("tied"),
    "noise_nmnist": lambda: noise("nmnist_tssl_bp"),
    "noise_spoken_digits": lambda: noise("spoken_digits_st_rsbp"),
    "tied_mnist_trains": lambda: mean_percent("mnist_cnn_tssl_bp", TIED),
    "tied_fashion_trains": lambda: mean_percent("fashion_mnist_tssl_bp", TIED),
}


def filled(text: str) -> str:
    """The README with every table and number written anew.

    Args:
        text: the README.

    Raises:
        ValueError: a place has no source, or a table not one place.
    """
    mark = re.compile(r"<!-- (\w+) -->.*?<!-- /\1 -->", re.DOTALL)
    places = [found[1] for found in mark.finditer(text)]
    if sorted(name for name in places if name in TABLES) != sorted(TABLES):
        raise ValueError(f"README.md has the tables {places}; expected {[*TABLES]}")

    def fill(found: re.Match) -> str:
        name = found[1]
        if name in TABLES:
            inside = f"\n{TABLES[name]()}\n"
        elif name in NUMBERS:
            inside = NUMBERS[name]()
        else:
            raise ValueError(f"README.md has a place for {name}; nothing writes it")
        return f"<!-- {name} -->{inside}<!-- /{name} -->"

    return mark.sub(fill, text)


def main() -> None:
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
