"""The plain reader, loaded from its file as a stranger would start it."""

import importlib.util
from pathlib import Path

from snn_temporal_plugins.export.bundle import read

PROGRAM = Path(read.__file__).with_name("reader.py")


def load():
    spec = importlib.util.spec_from_file_location("plain_reader", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reader = load()
