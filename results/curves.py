"""Draw accuracy after each epoch of the networks of the README.

    python results/curves.py

One panel per rule, seed 0, from results/accuracy.json; to results/curves.svg.
"""

from readme import SSTDP, ST_RSBP, STDBP, TSSL_BP, read
from train import HERE

from snn_temporal_plugins.viz.style import (
    SERIES,
    head,
    height,
    house_style,
    new_figure,
    stretch,
)

RULES = {"STDBP": STDBP, "SSTDP": SSTDP, "TSSL-BP": TSSL_BP, "ST-RSBP": ST_RSBP}
LOWEST = 0.6  # the first epochs of some lie below
DASHES = ("-", "--")


def panel(axes, rule: str, rows: dict, table: dict) -> None:
    """Curves of one rule: held-out samples where there are some, else training."""
    trained = [row for row in rows if row in table]
    for at, row in enumerate(trained):
        seed = table[row]["seeds"][0]
        held_out = "held_out_after_epoch" in seed
        curve = seed["held_out_after_epoch" if held_out else "train_after_epoch"]
        label = rows[row][0].split(",")[0] + (", held out" if held_out else "")
        axes.plot(
            range(1, len(curve) + 1),
            [height(percent / 100) for percent in curve],
            DASHES[at // len(SERIES)],
            color=SERIES[at % len(SERIES)],
            label=label,
        )
    head(axes, rule)
    axes.set_xlabel("epoch")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("accuracy (%)")
    stretch(axes, [LOWEST, 0.9975])
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=2)


def main() -> None:
    table = read("results/accuracy.json")
    with house_style():
        figure = new_figure(8, "Accuracy after each epoch", width=10)
        panels = figure.subplots(2, 2).flat
        for axes, (rule, rows) in zip(panels, RULES.items(), strict=True):
            panel(axes, rule, rows, table)
        figure.savefig(HERE / "curves.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
