"""`snn-temporal export`: the network of a checkpoint, for hardware or simulators."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from snn_temporal_plugins import export
from snn_temporal_plugins.commands.checkpoint import load_model, new_parser
from snn_temporal_plugins.commands.first_spikes import integer_network, num_ticks
from snn_temporal_plugins.export.command import load_images
from snn_temporal_plugins.training import SpikeCountClassifier, SpikeTrainClassifier


def run(arguments: Sequence[str]) -> None:
    """Write the network of a checkpoint as a ttfs-bundle, a NIR file or for SANA-FE."""
    parser = new_parser(
        "export",
        "Write a trained network for hardware (bundle, first spikes alone) or other "
        "simulators (nir; sanafe, first spikes alone).",
        "snn-temporal export --ckpt_path runs/digits/version_0/checkpoints/last.ckpt "
        "--to bundle --out digits.bundle",
    )
    parser.add_argument("--ckpt_path", required=True, help="checkpoint of a run")
    parser.add_argument("--to", required=True, choices=("bundle", "nir", "sanafe"))
    parser.add_argument(
        "--out",
        required=True,
        help="folder (bundle, sanafe), .zip (bundle) or file (nir)",
    )
    parser.add_argument(
        "--chip", help="bundle: JSON description of a chip, adds its memory images"
    )
    parser.add_argument(
        "--images", help="sanafe: its input, .npy of uint8 pixels, (samples, ...)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what is at --out"
    )
    settings = parser.parse_args(arguments)
    model = load_model(settings.ckpt_path)
    if settings.to == "bundle":
        integer, lut = integer_network(model, settings.bits, settings.ticks)
        chip = export.load_chip(settings.chip) if settings.chip else None
        export.write_bundle(
            integer, settings.out, lut=lut, chip=chip, overwrite=settings.overwrite
        )
    elif settings.to == "sanafe":
        if not settings.images:
            raise ValueError("--to sanafe needs --images: its files hold their input")
        integer, lut = integer_network(model, settings.bits, settings.ticks)
        images = load_images(settings.images, integer.input_shape)
        ticks_in = export.encode_pixels(lut, images)
        export.write_sanafe(
            integer, settings.out, ticks=ticks_in, overwrite=settings.overwrite
        )
    elif isinstance(model, SpikeTrainClassifier | SpikeCountClassifier):
        export.write_nir(model.network, settings.out, overwrite=settings.overwrite)
    else:
        ticks = num_ticks(model, settings.ticks)
        uniform = export.quantise_uniform(model.network, num_ticks=ticks)
        export.write_nir(uniform, settings.out, overwrite=settings.overwrite)
    sys.stdout.write(f"{settings.to} is in {settings.out}\n")
