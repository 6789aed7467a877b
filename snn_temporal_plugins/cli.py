"""The command `snn-temporal`: wires the rooms together and holds no logic."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        purpose: What it does, for the list of commands.
        function: `module:function`, loaded when the command is used; it takes the list
            of the arguments.
        with_name: Whether that list begins with the name of the command.
    """

    purpose: str
    function: str
    with_name: bool = False


_TRAINING = "snn_temporal_plugins.training.command:run"

COMMANDS: Mapping[str, Command] = {
    "fit": Command("train; makes a new folder runs/NAME/version_N", _TRAINING, True),
    "validate": Command("measure a checkpoint on validation samples", _TRAINING, True),
    "test": Command("measure a checkpoint on test samples", _TRAINING, True),
    "predict": Command(
        "write the answers to the test samples to a CSV file",
        _TRAINING,
        True,
    ),
    "export": Command(
        "write a trained network as a ttfs-bundle, a NIR file or for SANA-FE",
        "snn_temporal_plugins.commands.export:run",
    ),
    "emulate": Command(
        "check a ttfs-bundle and run it on images, bit by bit",
        "snn_temporal_plugins.export.command:run",
    ),
    "verify": Command(
        "check a ttfs-bundle that someone sent; it touches nothing else",
        "snn_temporal_plugins.commands.verify:run",
    ),
    "inspect": Command(
        "show what a ttfs-bundle or a NIR file holds",
        "snn_temporal_plugins.commands.inspect:run",
    ),
    "cosim": Command(
        "run a ttfs-bundle in hardware simulators and compare it with the emulator",
        "snn_temporal_plugins.commands.cosim:run",
    ),
    "report": Command(
        "measure a checkpoint as float, integers and NIR, or compare several; a page",
        "snn_temporal_plugins.commands.report:run",
    ),
}

_HELP = """\
usage: snn-temporal COMMAND [settings]

Train networks on spike timing, test them, and take them to hardware.

commands; `snn-temporal COMMAND --help` lists the settings of one
{commands}

examples
  snn-temporal fit -c examples/configs/digits_stdbp.yaml
      train as the file says
  snn-temporal fit -c examples/configs/digits_stdbp.yaml \\
          --model.network 64-256-10 --trainer.max_epochs 5 --name wide
      any setting of the file can be given in the command line too
  snn-temporal test --ckpt_path runs/digits/version_0/checkpoints/last.ckpt
      without -c the settings are those of the run that made the checkpoint
  snn-temporal fit --ckpt_path runs/digits/version_0/checkpoints/last.ckpt
      go on with an interrupted run, to the same weights as if it had not been
  snn-temporal report --ckpt_path runs/digits/version_0/checkpoints/last.ckpt
      test it as trained, as integers and as NIR; report.html lands beside it
  snn-temporal report --ckpt_path runs/digits/version_0 runs/digits/version_1
      two runs side by side: what differs, who is right where the other is not
  snn-temporal fit --model.help SpikeTrainClassifier
  snn-temporal fit --data.help MNIST
      the settings of one model, of one data module
"""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: The arguments after `snn-temporal`; None: those of the process.

    Raises:
        SystemExit: With a message, if the user gave something that cannot work.
    """
    args = sys.argv[1:] if args is None else list(args)
    if not args or args[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = (f"  {name:<{width}}  {c.purpose}" for name, c in COMMANDS.items())
        sys.stdout.write(_HELP.format(commands="\n".join(lines)))
        return
    name, *settings = args
    if name not in COMMANDS:
        raise SystemExit(
            f"snn-temporal: {name!r} is no command, allowed are {', '.join(COMMANDS)}"
        )
    command = COMMANDS[name]
    module, function = command.function.split(":")
    try:
        getattr(import_module(module), function)(
            args if command.with_name else settings
        )
    except Exception as error:
        message = _for_the_user(error)
        if message is None:
            raise
        raise SystemExit(f"snn-temporal {name}: {message}") from None


def _for_the_user(error: BaseException | None) -> str | None:
    """Return the text of an error that this package raised; None for other faults.

    Its text is enough, where a fault needs its traceback. The parser of the settings
    wraps what a class raises, so what caused the error is looked at too.
    """
    while error is not None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        ours = Path(__file__).parent in Path(place.filename).parents
        if ours and (place.line or "").lstrip().startswith("raise "):
            return str(error)
        error = error.__cause__
    return None


if __name__ == "__main__":
    main()
