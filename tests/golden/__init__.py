"""Numbers computed by the authors' own programs; each folder says which and how."""

import json
from pathlib import Path

import torch


def load(name):
    """The content of a file, for example "tssl/neuron.json"."""
    return json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))


def time_first(values, dtype=torch.float64):
    """A nested list with time last as a tensor with time first."""
    return torch.tensor(values, dtype=dtype).movedim(-1, 0)
