"""Write the tables of README.md from the files that the measuring scripts left.

python results/readme.py
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
NAMES = {
    "mnist": "MNIST 784-400-10",
    "fashion_mnist": "Fashion-MNIST 784-1000-10",
    "yin_yang": "Yin-Yang 4-120-3",
}


def read(path: str) -> object:
    """A result file of the repository."""
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def spread(summary: dict) -> str:
    """Mean and standard deviation."""
    return f"{summary['mean']:.2f} ± {summary['sd']:.2f} %"


def results() -> str:
    """One row per trained network."""
    lines = [
        "| network | test accuracy | integers (6 bits, 256 ticks) | fit | command |",
        "|---|---|---|---|---|",
    ]
    for row, entry in read("results/stdbp.json").items():
        times = [s["fit_seconds"] for s in entry["seeds"]]
        seconds = [int(time) for time in times if time != "unknown"]
        minutes = f"{sum(seconds) / len(seconds) / 60:.1f} min" if seconds else "–"
        summary = entry["summary"]
        lines.append(
            f"| {NAMES[row]} | **{spread(summary['accuracy, float'])}** "
            f"| {spread(summary['accuracy, integer emulator'])} | {minutes} "
            f"| `python results/stdbp.py --rows {row}` |"
        )
    count = {len(entry["seeds"]) for entry in read("results/stdbp.json").values()}
    lines += [
        "",
        f"Mean ± standard deviation of {max(count)} seeds, STDBP, exact single spikes, "
        "one core; epochs and settings are in `examples/configs/`.",
    ]
    return "\n".join(lines)


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
    ]
    return "\n".join(lines)


def main() -> None:
    text = README.read_text(encoding="utf-8")
    for name, table in (("results", results()), ("speed", speed())):
        mark = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        filled = f"<!-- {name} -->\n{table}\n<!-- /{name} -->"
        text, found = mark.subn(lambda _, filled=filled: filled, text)
        if found != 1:
            raise SystemExit(f"README.md has {found} places for {name}; expected 1")
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
