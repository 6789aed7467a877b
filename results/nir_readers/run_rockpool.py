"""Run NIR files in Rockpool; started by nir_conformance.py with the Python of its own.

python run_rockpool.py FOLDER

Set PIP_NO_INDEX=1: Rockpool's import of NIR tries to install a driver by pip.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from jobs import run_all
from rockpool.nn.modules.torch.nir import from_nir


@torch.no_grad()
def first_ticks(path: Path, ticks: np.ndarray, num_ticks: int) -> np.ndarray:
    """First output spikes; layers take whole trains, (batch, time, neurons)."""
    train = ticks[:, None] == np.arange(num_ticks).reshape(-1, *(1,) * (ticks.ndim - 1))
    output, _ = from_nir(path)(torch.from_numpy(train).float())
    spikes = output.numpy() > 0
    return np.where(spikes.any(axis=1), spikes.argmax(axis=1), 65535)


run_all(Path(sys.argv[1]), first_ticks, ("rockpool", "torch", "nirtorch", "nir"))
