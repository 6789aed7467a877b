"""Numbers computed by the authors' own programs; each folder says which and how."""

import json
import math
from pathlib import Path

import torch


def load(name):
    """The content of a file, for example "tssl/neuron.json"."""
    return json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))


def time_first(values, dtype=torch.float64):
    """A nested list with time last as a tensor with time first."""
    return torch.tensor(values, dtype=dtype).movedim(-1, 0)


def silence(values, t_max, dtype=torch.float32):
    """A nested list of times in which t_max means "never spiked"; silent = inf here."""
    time = torch.tensor(values, dtype=dtype)
    return time.masked_fill(time >= t_max, math.inf)


def trains(times, steps):
    """A list of spike times per neuron as spikes (time, 1, neuron)."""
    spikes = torch.zeros(steps, 1, len(times), dtype=torch.float64)
    for neuron, at in enumerate(times):
        spikes[at, 0, neuron] = 1
    return spikes
