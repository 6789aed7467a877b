"""Run NIR files in Spyx; started by nir_conformance.py with the Python of its own.

python run_spyx.py FOLDER
"""

import sys
from pathlib import Path

import jax.numpy as jnp
import nir
import numpy as np
from jobs import run_all
from spyx.nir import from_nir


def first_ticks(path: Path, ticks: np.ndarray, num_ticks: int) -> np.ndarray:
    """First output spikes; images have their channels last in Spyx."""
    train = ticks == np.arange(num_ticks).reshape(-1, *(1 for _ in ticks.shape))
    if train.ndim == 5:
        train = np.moveaxis(train, 2, -1)
    data = jnp.asarray(train, dtype=jnp.float32)
    _, output = from_nir(nir.read(path), data, dt=1e-4)
    spikes = np.asarray(output) > 0
    return np.where(spikes.any(axis=0), spikes.argmax(axis=0), 65535)


run_all(Path(sys.argv[1]), first_ticks, ("spyx", "jax", "nir"))
