"""`snn-temporal export`: the network of a checkpoint as a bundle or a NIR file."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from snn_temporal_plugins import export
from snn_temporal_plugins.commands.checkpoint import load_model, new_parser
from snn_temporal_plugins.commands.first_spikes import integer_network, num_ticks
from snn_temporal_plugins.training import SpikeCountClassifier, SpikeTrainClassifier


def run(arguments: Sequence[str]) -> None:
    """Write the network of a checkpoint as a ttfs-bundle or a NIR file."""
    parser = new_parser(
        "export",
        "Write a trained network for hardware (bundle, first spikes alone) or other "
        "simulators (nir).",
        "snn-temporal export --ckpt_path runs/digits/version_0/checkpoints/last.ckpt "
        "--to bundle --out digits.bundle",
    )
    parser.add_argument("--to", required=True, choices=("bundle", "nir"))
    parser.add_argument("--out", required=True, help="folder (bundle) or file (nir)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what is at --out"
    )
    settings = parser.parse_args(arguments)
    model = load_model(settings.ckpt_path)
    if settings.to == "bundle":
        integer, lut = integer_network(model, settings.bits, settings.ticks)
        export.write_bundle(
            integer, settings.out, lut=lut, overwrite=settings.overwrite
        )
    elif isinstance(model, SpikeTrainClassifier | SpikeCountClassifier):
        export.write_nir(model.network, settings.out, overwrite=settings.overwrite)
    else:
        ticks = num_ticks(model, settings.ticks)
        uniform = export.quantise_uniform(model.network, num_ticks=ticks)
        export.write_nir(uniform, settings.out, overwrite=settings.overwrite)
    sys.stdout.write(f"{settings.to} is in {settings.out}\n")
